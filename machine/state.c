/* SPDX-License-Identifier: MIT */
/* All state of a machine, field by field, in canonical order: the base of snapshot files and of the
 * state hash. Processors first, then interrupt controllers, then devices. */
#include <xxhash.h>

#include "machine/machine_extension.h"
#include "machine/machine_internal.h"

void visit_segment(struct visitor *v, struct seg_reg *s)
{
    visit_u64(v, &s->base);
    visit_u32(v, &s->limit);
    visit_u32(v, &s->ar);
    visit_u16(v, &s->selector);
}

static void visit_event(struct visitor *v, struct event *e)
{
    visit_u8(v, &e->valid);
    visit_u8(v, &e->vector);
    visit_u8(v, &e->type);
    visit_u8(v, &e->has_error);
    visit_u8(v, &e->insn_length);
    visit_u8(v, &e->injected);
    visit_u8(v, &e->has_next_rip);
    visit_u32(v, &e->error_code);
    visit_u64(v, &e->payload);
    visit_u64(v, &e->next_rip);
}

static void visit_fpu(struct visitor *v, struct fpu_state *f)
{
    for (unsigned i = 0; i < 8; i++) {
        visit_u64(v, &f->st[i].frac);
        visit_u16(v, &f->st[i].se);
    }
    visit_u16(v, &f->cw);
    visit_u16(v, &f->sw);
    visit_u8(v, &f->top);
    visit_u8(v, &f->tag);
    visit_u16(v, &f->fop);
    visit_u64(v, &f->fip);
    visit_u64(v, &f->fdp);
    visit_u16(v, &f->fcs);
    visit_u16(v, &f->fds);
    visit_u32(v, &f->mxcsr);
}

static void visit_interruptibility(struct visitor *v, struct interruptibility *i)
{
    visit_u8(v, &i->sti_shadow);
    visit_u8(v, &i->movss_shadow);
    visit_u8(v, &i->smi_blocked);
    visit_u8(v, &i->nmi_blocked);
    visit_u8(v, &i->gif);
    visit_u8(v, &i->virtual_nmi_blocked);
    visit_u8(v, &i->nmi_pending);
    visit_u8(v, &i->smi_pending);
    visit_u8(v, &i->init_pending);
    visit_u8(v, &i->sipi_pending);
    visit_u8(v, &i->sipi_vector);
    visit_u8(v, &i->mce_pending);
}

static void visit_cpu_state(struct visitor *v, struct cpu_state *s)
{
    visit_u64s(v, s->gpr, REG_COUNT);
    visit_u64(v, &s->rflags);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        visit_segment(v, &s->seg[i]);
    visit_u64(v, &s->gdtr.base);
    visit_u32(v, &s->gdtr.limit);
    visit_u64(v, &s->idtr.base);
    visit_u32(v, &s->idtr.limit);
    uint64_t *const words[] = {&s->cr0,
                               &s->cr2,
                               &s->cr3,
                               &s->cr4,
                               &s->xcr0,
                               &s->dr6,
                               &s->dr7,
                               &s->efer,
                               &s->star,
                               &s->lstar,
                               &s->cstar,
                               &s->sf_mask,
                               &s->sysenter_cs,
                               &s->sysenter_esp,
                               &s->sysenter_eip,
                               &s->tsc_base,
                               &s->tsc_adjust,
                               &s->tsc_aux,
                               &s->tsc_deadline,
                               &s->pat,
                               &s->apic_base,
                               &s->misc_enable,
                               &s->debugctl,
                               &s->smbase,
                               &s->feature_control,
                               &s->xss,
                               &s->pkrs,
                               &s->kernel_gs_base,
                               &s->pending_dbg,
                               &s->random,
                               &s->insns};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        visit_u64(v, words[i]);
    visit_u64s(v, s->dr, 4);
    visit_u64s(v, s->pdpte, 4);
    visit_u32(v, &s->pkru);
    visit_u64s(v, s->msr_file, sizeof s->msr_file / sizeof *s->msr_file);
    visit_fpu(v, &s->fpu);
    for (unsigned i = 0; i < 32; i++)
        visit_u64s(v, s->vec[i].q, 8);
    visit_interruptibility(v, &s->intr);
    visit_event(v, &s->delivering);
    visit_u64(v, &s->monitor.address);
    visit_u32(v, &s->monitor.length);
    visit_u8(v, &s->monitor.armed);
    visit_u8(v, &s->monitor.wake_on_if0);
    visit_u8(v, &s->monitor.expiry_cf);
    visit_u64(v, &s->monitor.deadline);
    visit_u8(v, &s->activity);
    visit_u8(v, &s->cpl);
    visit_u8(v, &s->in_guest);
}

static void visit_local_apic(struct visitor *v, struct local_apic_state *s)
{
    visit_u64(v, &s->base);
    visit_u32(v, &s->xapic_id);
    visit_u32(v, &s->tpr);
    visit_u32(v, &s->ldr);
    visit_u32(v, &s->dfr);
    visit_u32(v, &s->svr);
    visit_u32(v, &s->esr);
    visit_u32(v, &s->errors);
    visit_u32s(v, s->isr, 8);
    visit_u32s(v, s->tmr, 8);
    visit_u32s(v, s->irr, 8);
    visit_u32s(v, s->lvt, LVT_COUNT);
    visit_u64(v, &s->icr);
    visit_u32(v, &s->initial_count);
    visit_u32(v, &s->divide);
    visit_u32(v, &s->timer_count);
    visit_u64(v, &s->timer_start);
    visit_u64(v, &s->tsc_deadline);
    visit_u8s(v, s->lint, 2);
}

static void visit_io_apic(struct visitor *v, struct io_apic_state *s)
{
    visit_u32(v, &s->id);
    visit_u8(v, &s->select);
    visit_u32(v, &s->lines);
    visit_u64s(v, s->rte, IO_APIC_PINS);
}

static void visit_i8259(struct visitor *v, struct i8259_state *s)
{
    for (unsigned i = 0; i < 2; i++) {
        struct i8259_chip *c = &s->chip[i];
        uint8_t *const bytes[] = {&c->irr,
                                  &c->imr,
                                  &c->isr,
                                  &c->lines,
                                  &c->elcr,
                                  &c->base,
                                  &c->icw3,
                                  &c->lowest,
                                  &c->icw_step,
                                  &c->needs_icw4,
                                  &c->single,
                                  &c->auto_eoi,
                                  &c->rotate_on_auto_eoi,
                                  &c->special_mask,
                                  &c->special_nested,
                                  &c->read_isr,
                                  &c->poll};
        for (unsigned k = 0; k < sizeof bytes / sizeof *bytes; k++)
            visit_u8(v, bytes[k]);
    }
    visit_u8(v, &s->intr);
}

static void visit_vcpu(struct visitor *v, struct vcpu *p)
{
    struct cpu *c = p->cpu;
    uint64_t now = cpu_now(c);
    cpu_flush_flags(c);
    visit_u64(v, &now);
    visit_bool(v, &p->idle);
    visit_cpu_state(v, &c->s);
    visit_local_apic(v, &p->apic.s);
    machine_visit_extension(c, v);
    if (!v->loading) return;
    c->cycle_limit = now;
    c->budget = 0;
    cpu_write_rflags(c, c->s.rflags);
    if (c->ext && c->ext->restored) c->ext->restored(c);
}

/* Quantum and order belong to the state: a run goes on as it was begun. */
static void visit_schedule(struct visitor *v, struct machine *m)
{
    uint32_t turn = (uint32_t)(m->turn + 1);
    uint64_t limit = m->turn < 0 ? 0 : m->clock.turn_limit;
    visit_u32(v, &turn);
    visit_u64(v, &limit);
    visit_u64(v, &m->config.quantum);
    visit_u64(v, &m->config.order_seed);
    if (!v->loading) return;
    m->turn = turn > m->cpus ? -1 : (int32_t)turn - 1;
    m->clock.turn_limit = limit;
    m->stopped_at = 0;
}

void machine_visit(struct machine *m, struct visitor *v)
{
    for (uint32_t i = 0; i < m->cpus; i++)
        visit_vcpu(v, &m->vcpu[i]);
    visit_u32(v, &m->apic_bus.rotate);
    visit_io_apic(v, &m->io_apic.s);
    visit_i8259(v, &m->pic.s);
    irq_visit(&m->irq, v);
    i8254_visit(&m->pit, v);
    rtc_visit(&m->rtc, v);
    hpet_visit(&m->hpet, v);
    i8042_visit(&m->i8042, v);
    system_control_visit(&m->system, v);
    acpi_pm_visit(&m->pm, v);
    pci_visit(&m->pci, v);
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL; i++)
        if (m->config.serial[i]) uart_visit(&m->uart[i], v);
    debug_devices_visit(&m->debug, v);
    pci_testdev_visit(&m->pci_testdev, v);
    fw_cfg_visit(&m->fw_cfg, v);
    clock_visit(&m->clock, v);
    visit_schedule(v, m);
    if (!v->loading) return;
    machine_set_a20(m, (m->i8042.s.out_port & 2) != 0);
    for (uint32_t i = 0; i < m->cpus; i++)
        cpu_drop_derived(m->vcpu[i].cpu);
    machine_run_restored(m);
}

static void hash_bytes(struct visitor *v, uint8_t *data, size_t n) { XXH3_64bits_update(v->opaque, data, n); }

uint64_t machine_state_hash(struct machine *m)
{
    XXH3_state_t *x = XXH3_createState();
    if (!x) return 0;
    XXH3_64bits_reset(x);
    struct visitor v = {.bytes = hash_bytes, .opaque = x};
    machine_visit(m, &v);
    const uint64_t after_hole = 0xC0000;
    uint64_t first = m->memory.low < BOARD_VGA_HOLE ? m->memory.low : BOARD_VGA_HOLE;
    XXH3_64bits_update(x, m->memory.ram, first);
    if (m->memory.low > after_hole)
        XXH3_64bits_update(x, m->memory.ram + after_hole, m->memory.low - after_hole);
    if (m->memory.high) XXH3_64bits_update(x, m->memory.ram + BOARD_HIGH_RAM, m->memory.high);
    uint64_t hash = XXH3_64bits_digest(x);
    XXH3_freeState(x);
    return hash;
}
