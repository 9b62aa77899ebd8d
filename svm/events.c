/* SPDX-License-Identifier: MIT */
/* Events while a guest runs: the ops that the processor calls, which of them exit, and virtual interrupts and
 * NMIs; reset. The order at a boundary is cpu/event.c; a physical interrupt that is due goes before a virtual
 * one. APM 2 15.12 "Exception Intercepts", 15.13 "Interrupt Intercepts", 15.17 "Global Interrupt Flag",
 * 15.21 "Interrupt and Local APIC Support". */
#include <string.h>

#include "cpu/event.h"
#include "cpu/mem.h"
#include "svm/svm.h"

enum { VEC_SX = 30, DR7_GD = 1 << 13 };

static bool intercepts(const struct cpu *c, unsigned code) { return svm_intercepts(svm_of(c)->f, code); }
static bool in_shadow(const struct cpu *c) { return c->s.intr.sti_shadow || c->s.intr.movss_shadow; }

/* ---- exceptions ---- */

/* DR6 and DR7 of a #DB change before the intercept, CR2 of a #PF does not. APM 2 15.12.2, 15.12.15 */
static enum virt_verdict guest_exception(struct cpu *c, const struct event *ev)
{
    bool hardware = ev->type == EVENT_HW_EXCEPTION;
    if (ev->type == EVENT_PRIV_SW_EXC || ev->vector > 31 || !intercepts(c, SVM_EXIT_EXCP_DE + ev->vector))
        return VIRT_CONTINUE;
    struct svm_exit e = {.code = SVM_EXIT_EXCP_DE + ev->vector};
    if (ev->has_error) e.info1 = ev->error_code;
    if (hardware && ev->vector == VEC_DB) {
        c->s.dr6 = (c->s.dr6 & ~(uint64_t)DR6_B) | (ev->payload & (DR6_B | DR6_BD | DR6_BS | DR6_BT));
        c->s.dr7 &= ~(uint64_t)DR7_GD;
    }
    if (hardware && ev->vector == VEC_PF) {
        e.info2 = ev->payload;
        e.bytes = !(ev->error_code & PF_I) && ev->payload != c->s.gpr[REG_RIP];
    }
    if (hardware && ev->vector == VEC_DF) e.no_vectoring = 1;
    if (!hardware) e.next_rip = svm_next_rip(c, ev->insn_length);
    return svm_exit(c, &e);
}

static enum virt_verdict guest_triple_fault(struct cpu *c)
{
    if (!intercepts(c, SVM_EXIT_SHUTDOWN)) return virt_bare.triple_fault(c);
    const struct svm_exit e = {.code = SVM_EXIT_SHUTDOWN, .no_vectoring = 1};
    return svm_exit(c, &e);
}

enum task_info_bit { TASK_INFO_IRET = 36, TASK_INFO_JMP = 38, TASK_INFO_ERROR = 44, TASK_INFO_RF = 48 };

static enum virt_verdict guest_task_switch(struct cpu *c, uint16_t selector, int source,
                                           const struct event *ev, const struct insn *insn)
{
    (void)insn;
    if (!intercepts(c, SVM_EXIT_TASK_SWITCH)) return VIRT_CONTINUE;
    struct svm_exit e = {.code = SVM_EXIT_TASK_SWITCH, .info1 = selector};
    if (source == 1) e.info2 |= UINT64_C(1) << TASK_INFO_IRET;
    if (source == 2) e.info2 |= UINT64_C(1) << TASK_INFO_JMP;
    if (ev && ev->has_error) e.info2 |= ev->error_code | UINT64_C(1) << TASK_INFO_ERROR;
    bool rf = (cpu_read_rflags(c) & FL_RF) != 0 || (ev && event_is_fault(ev));
    if (rf) e.info2 |= UINT64_C(1) << TASK_INFO_RF;
    return svm_exit(c, &e);
}

/* ---- physical events ---- */

/* An intercepted event stays pending in the processor or its interrupt controller. */
static enum virt_verdict guest_nmi(struct cpu *c)
{
    if (intercepts(c, SVM_EXIT_NMI)) return svm_exit_simple(c, SVM_EXIT_NMI);
    return virt_bare.nmi(c);
}

static enum virt_verdict guest_smi(struct cpu *c)
{
    if (intercepts(c, SVM_EXIT_SMI)) return svm_exit_simple(c, SVM_EXIT_SMI);
    return virt_bare.smi(c);
}

/* Redirected INIT is #SX with error code 1. APM 2 15.21.8, 15.28 */
static enum virt_verdict guest_init(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    if (intercepts(c, SVM_EXIT_INIT)) return svm_exit_simple(c, SVM_EXIT_INIT);
    if (x->vm_cr & VM_CR_R_INIT) {
        const struct event sx = {
            .valid = 1, .vector = VEC_SX, .type = EVENT_HW_EXCEPTION, .has_error = 1, .error_code = 1};
        c->s.intr.init_pending = 0;
        return cpu_deliver(c, &sx);
    }
    x->guest = 0;
    svm_apply_context(c);
    virt_bare.init(c);
    return VIRT_EXITED;
}

static enum virt_verdict guest_extint(struct cpu *c)
{
    if (intercepts(c, SVM_EXIT_INTR)) return svm_exit_simple(c, SVM_EXIT_INTR);
    return virt_bare.extint(c);
}

/* With V_INTR_MASKING the host's IF masks physical interrupts. APM 2 15.21.1 */
static bool guest_extint_allowed(struct cpu *c)
{
    const struct svm_state *x = svm_of(c);
    uint64_t flags = x->f[VMCB_VINTR] & VINTR_MASKING ? x->host.rflags : c->s.rflags;
    return (flags & FL_IF) != 0;
}

static bool guest_nmi_allowed(struct cpu *c) { return virt_bare.nmi_allowed(c); }

/* The guest's interrupt shadow holds back what goes through its IDT, not an exit. */
static bool guest_shadow_ignored(struct cpu *c, bool nmi)
{
    return intercepts(c, nmi ? SVM_EXIT_NMI : SVM_EXIT_INTR);
}

static enum virt_verdict guest_sipi(struct cpu *c, uint8_t vector) { return virt_bare.sipi(c, vector); }

/* ---- virtual events ---- */

static bool virtual_gif(const struct cpu *c)
{
    const struct svm_state *x = svm_of(c);
    return svm_vgif(x) ? (x->f[VMCB_VINTR] & VINTR_GIF) != 0 : c->s.intr.gif != 0;
}

static bool virtual_intr_ready(const struct cpu *c)
{
    uint64_t v = svm_of(c)->f[VMCB_VINTR];
    if (!(v & VINTR_IRQ) || !(c->s.rflags & FL_IF) || in_shadow(c) || !virtual_gif(c)) return false;
    return (v & VINTR_IGN_TPR) || (v >> VINTR_PRIO_SHIFT & 15) > (v & 15);
}

static bool virtual_nmi_ready(const struct cpu *c)
{
    const struct svm_state *x = svm_of(c);
    uint64_t v = x->f[VMCB_VINTR];
    return svm_vnmi(x) && (v & VINTR_NMI) && !(v & VINTR_NMI_MASK) && !in_shadow(c) && virtual_gif(c);
}

static bool physical_due(struct cpu *c)
{
    return c->s.intr.gif && guest_extint_allowed(c) && (!in_shadow(c) || guest_shadow_ignored(c, false)) &&
           c->bus->intr_pending(c->bus->opaque, c->id);
}

/* Like GIF outside a guest. APM 2 15.33.2 */
static bool guest_breakpoints_ignored(struct cpu *c)
{
    const struct svm_state *x = svm_of(c);
    return svm_vgif(x) && !(x->f[VMCB_VINTR] & VINTR_GIF);
}

static uint32_t guest_boundary_wanted(struct cpu *c)
{
    uint32_t wanted = 0;
    if (virtual_nmi_ready(c)) wanted |= 1u << VIRT_B_NMI_WINDOW;
    if (virtual_intr_ready(c) && !physical_due(c))
        wanted |= 1u << (intercepts(c, SVM_EXIT_VINTR) ? VIRT_B_INTR_WINDOW : VIRT_B_VIRTUAL_INTR);
    return wanted;
}

static enum virt_verdict guest_boundary(struct cpu *c, enum virt_boundary point)
{
    uint64_t *v = &svm_of(c)->f[VMCB_VINTR];
    struct event ev = {.valid = 1};
    switch (point) {
    case VIRT_B_INTR_WINDOW: return svm_exit_simple(c, SVM_EXIT_VINTR);
    case VIRT_B_NMI_WINDOW:
        *v = (*v & ~(uint64_t)VINTR_NMI) | VINTR_NMI_MASK;
        ev.vector = VEC_NMI;
        ev.type = EVENT_NMI;
        return cpu_deliver(c, &ev);
    case VIRT_B_VIRTUAL_INTR:
        *v &= ~(uint64_t)VINTR_IRQ;
        ev.vector = (uint8_t)(*v >> VINTR_VECTOR_SHIFT);
        ev.type = EVENT_EXTINT;
        return cpu_deliver(c, &ev);
    default: return VIRT_CONTINUE;
    }
}

static uint64_t guest_next_deadline(struct cpu *c)
{
    (void)c;
    return UINT64_MAX;
}

static void guest_iret(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    if (svm_vnmi(x))
        x->f[VMCB_VINTR] &= ~(uint64_t)VINTR_NMI_MASK;
    else
        c->s.intr.nmi_blocked = 0;
}

/* ---- views ---- */

static uint64_t guest_cr_view(struct cpu *c, int cr)
{
    const struct svm_state *x = svm_of(c);
    if (cr == 8 && (x->f[VMCB_VINTR] & VINTR_MASKING)) return x->f[VMCB_VINTR] & 15;
    return virt_bare.cr_view(c, cr);
}

/* Without V_INTR_MASKING both the virtual and the physical register change. APM 2 15.21.2 */
static enum virt_verdict guest_cr8_write(struct cpu *c, uint64_t value)
{
    uint64_t *v = &svm_of(c)->f[VMCB_VINTR];
    *v = (*v & ~(uint64_t)VINTR_TPR) | (value & 15);
    if (!(*v & VINTR_MASKING)) virt_bare.cr8_write(c, value);
    cpu_update_attention(c);
    return VIRT_CONTINUE;
}

/* The ratio is an 8.32 fixed-point number. APM 2 15.30.5 */
uint64_t svm_guest_tsc(struct cpu *c, uint64_t tsc)
{
    const struct svm_state *x = svm_of(c);
    if (svm_cap_has(&x->cap, FEAT_TSCRATE)) tsc = (uint64_t)((unsigned __int128)tsc * x->tsc_ratio >> 32);
    return tsc + x->f[VMCB_TSC_OFFSET];
}

static enum virt_verdict guest_virt_fault(struct cpu *c)
{
    (void)c;
    return VIRT_CONTINUE;
}

#define GUEST_OPS                                                                                           \
    .insn = svm_intercept, .exception = guest_exception, .triple_fault = guest_triple_fault,                \
    .task_switch = guest_task_switch, .nmi = guest_nmi, .smi = guest_smi, .init = guest_init,               \
    .sipi = guest_sipi, .extint = guest_extint, .extint_allowed = guest_extint_allowed,                     \
    .nmi_allowed = guest_nmi_allowed, .boundary = guest_boundary, .boundary_wanted = guest_boundary_wanted, \
    .next_deadline = guest_next_deadline, .second_stage_fault = svm_second_stage_fault,                     \
    .virt_fault = guest_virt_fault, .cr_view = guest_cr_view, .cr8_write = guest_cr8_write,                 \
    .shadow_ignored = guest_shadow_ignored, .breakpoints_ignored = guest_breakpoints_ignored,               \
    .iret = guest_iret, .tsc_view = svm_guest_tsc

const struct virt_ops svm_guest_ops = {.name = "guest", GUEST_OPS};
const struct virt_ops svm_guest_npt_ops = {
    .name = "guest", GUEST_OPS, .translate = svm_npt_translate, .pdpte_in_memory = true};

/* ---- the extension ---- */

static void svm_reset(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    struct svm_cap cap;
    svm_cap_init(&cap, c);
    memset(x, 0, sizeof *x);
    x->cap = cap;
    x->vmcb = VMCB_NONE;
    x->tsc_ratio = UINT64_C(1) << 32;
}

/* A snapshot's numbers are anybody's. */
static void svm_restored(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    x->guest = x->guest != 0;
    if (x->nested_levels < 2 || x->nested_levels > 5) x->nested_levels = 4;
    svm_apply_context(c);
}

const struct virt_ext svm_ext = {
    .name = "svm",
    .state_size = sizeof(struct svm_state),
    .reset = svm_reset,
    .execute = svm_execute,
    .msr_read = svm_msr_read,
    .msr_write = svm_msr_write,
    .efer_write_allowed = svm_efer_write_allowed,
    .cpuid = svm_cpuid,
    .restored = svm_restored,
};
