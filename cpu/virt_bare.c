/* SPDX-License-Identifier: MIT */
/* The virtualization context outside any virtualization: nothing is intercepted, events do what they do on
 * bare hardware. SDM 3A ch. 6, 9.4, 35. */
#include "cpu/event.h"

static enum virt_verdict bare_insn(struct cpu *c, enum icpt id, const struct icpt_info *info)
{
    (void)c, (void)id, (void)info;
    return VIRT_CONTINUE;
}

static enum virt_verdict bare_exception(struct cpu *c, const struct event *ev)
{
    (void)c, (void)ev;
    return VIRT_CONTINUE;
}

static enum virt_verdict bare_triple_fault(struct cpu *c)
{
    c->s.activity = ACTIVITY_SHUTDOWN;
    c->shutdown = true;
    return VIRT_CONTINUE;
}

static enum virt_verdict bare_task_switch(struct cpu *c, uint16_t selector, int source,
                                          const struct event *ev, const struct insn *insn)
{
    (void)c, (void)selector, (void)source, (void)ev, (void)insn;
    return VIRT_CONTINUE;
}

static enum virt_verdict bare_nmi(struct cpu *c)
{
    cpu_take_nmi(c);
    return VIRT_CONTINUE;
}

/* No system-management mode: the request is consumed, and the probe tells. */
static enum virt_verdict bare_smi(struct cpu *c)
{
    c->s.intr.smi_pending = 0;
    PROBE(c->probes, c, SMI, 0, 0);
    return VIRT_CONTINUE;
}

static enum virt_verdict bare_init(struct cpu *c)
{
    cpu_take_init(c);
    return VIRT_CONTINUE;
}

static enum virt_verdict bare_sipi(struct cpu *c, uint8_t vector)
{
    cpu_take_sipi(c, vector);
    return VIRT_CONTINUE;
}

static enum virt_verdict bare_extint(struct cpu *c)
{
    cpu_take_extint(c);
    return VIRT_CONTINUE;
}

static bool bare_extint_allowed(struct cpu *c) { return (c->s.rflags & FL_IF) != 0; }
static bool bare_nmi_allowed(struct cpu *c) { return !c->s.intr.nmi_blocked; }

static enum virt_verdict bare_boundary(struct cpu *c, enum virt_boundary point)
{
    (void)c, (void)point;
    return VIRT_CONTINUE;
}

static uint32_t bare_boundary_wanted(struct cpu *c)
{
    (void)c;
    return 0;
}

static uint64_t bare_next_deadline(struct cpu *c)
{
    (void)c;
    return UINT64_MAX;
}

static enum virt_verdict bare_fault(struct cpu *c)
{
    (void)c;
    return VIRT_CONTINUE;
}

static uint64_t bare_cr_view(struct cpu *c, int cr)
{
    switch (cr) {
    case 0: return c->s.cr0;
    case 4: return c->s.cr4;
    default: return c->bus->tpr_read(c->bus->opaque, c->id) >> 4;
    }
}

static enum virt_verdict bare_cr8_write(struct cpu *c, uint64_t value)
{
    c->bus->tpr_write(c->bus->opaque, c->id, value << 4);
    return VIRT_CONTINUE;
}

static uint64_t bare_tsc_view(struct cpu *c, uint64_t tsc)
{
    (void)c;
    return tsc;
}

const struct virt_ops virt_bare = {
    .name = "bare",
    .insn = bare_insn,
    .exception = bare_exception,
    .triple_fault = bare_triple_fault,
    .task_switch = bare_task_switch,
    .nmi = bare_nmi,
    .smi = bare_smi,
    .init = bare_init,
    .sipi = bare_sipi,
    .extint = bare_extint,
    .extint_allowed = bare_extint_allowed,
    .nmi_allowed = bare_nmi_allowed,
    .boundary = bare_boundary,
    .boundary_wanted = bare_boundary_wanted,
    .next_deadline = bare_next_deadline,
    .second_stage_fault = bare_fault,
    .virt_fault = bare_fault,
    .cr_view = bare_cr_view,
    .cr8_write = bare_cr8_write,
    .tsc_view = bare_tsc_view,
};
