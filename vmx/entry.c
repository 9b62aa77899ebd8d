/* SPDX-License-Identifier: MIT */
/* VM entry: checks, load of guest state, MSR list, the switch to non-root operation, event injection.
 * A failed check of controls or host state is a VMfail; of guest state or the MSR list a failed entry
 * that loads host state. SDM 3C ch. 27 "VM Entries". */
#include <string.h>

#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/msr.h"
#include "vmx/entry_checks.h"
#include "vmx/vmx.h"

/* CR0 bits that VM entry leaves alone: ET, 15:6, 17, 28:19, NW, CD. SDM 3C 27.3.2.1 */
#define CR0_KEPT UINT64_C(0x7ffaffd0)

static bool injects_vectored(const uint64_t *f)
{
    uint32_t info = (uint32_t)f[F_ENTRY_INTR_INFO];
    return (info & INFO_VALID) && (info >> INFO_TYPE_SHIFT & 7) != EVENT_OTHER;
}

static void load_segments(struct cpu *c, const uint64_t *f)
{
    for (unsigned s = 0; s < SEG_COUNT; s++) {
        struct seg_reg r = {.base = f[F_GUEST_ES_BASE + s],
                            .limit = (uint32_t)f[F_GUEST_ES_LIMIT + s],
                            .ar = (uint32_t)f[F_GUEST_ES_AR + s],
                            .selector = (uint16_t)f[F_GUEST_ES_SELECTOR + s]};
        r.ar &= 0x1f0ff;
        if (s == SEG_CS) r.ar &= ~(uint32_t)AR_UNUSABLE;
        if (r.ar & AR_UNUSABLE) {
            if (s == SEG_SS) r.base &= ~UINT64_C(15), r.ar |= AR_DB;
            if (s == SEG_SS || s == SEG_DS || s == SEG_ES) r.base &= 0xffffffff;
        }
        cpu_load_segment(c, (enum seg_id)s, &r);
    }
    c->s.gdtr = (struct dt_reg){.base = f[F_GUEST_GDTR_BASE], .limit = (uint32_t)f[F_GUEST_GDTR_LIMIT]};
    c->s.idtr = (struct dt_reg){.base = f[F_GUEST_IDTR_BASE], .limit = (uint32_t)f[F_GUEST_IDTR_LIMIT]};
    c->s.cpl = (uint8_t)(f[F_GUEST_SS_AR] >> AR_DPL_SHIFT & 3);
}

static void load_registers(struct cpu *c, const struct vmx_effective *e, const uint64_t *f)
{
    struct cpu_state *s = &c->s;
    s->cr0 = (s->cr0 & CR0_KEPT) | (f[F_GUEST_CR0] & ~CR0_KEPT & 0xffffffff);
    s->cr3 = f[F_GUEST_CR3];
    s->cr4 = f[F_GUEST_CR4];
    if (e->ent & ENT_LOAD_DEBUG) {
        s->dr7 = (f[F_GUEST_DR7] & 0xffff2fff) | 0x400;
        s->debugctl = f[F_GUEST_DEBUGCTL];
    }
    s->sysenter_cs = f[F_GUEST_SYSENTER_CS];
    s->sysenter_esp = f[F_GUEST_SYSENTER_ESP];
    s->sysenter_eip = f[F_GUEST_SYSENTER_EIP];
    bool long_mode = (e->ent & ENT_IA32E_GUEST) != 0;
    if (e->ent & ENT_LOAD_EFER) {
        s->efer = f[F_GUEST_EFER];
    } else {
        s->efer = (s->efer & ~(uint64_t)EFER_LMA) | (long_mode ? EFER_LMA : 0);
        if (s->cr0 & CR0_PG) s->efer = (s->efer & ~(uint64_t)EFER_LME) | (long_mode ? EFER_LME : 0);
    }
    if (e->ent & ENT_LOAD_PAT) s->pat = f[F_GUEST_PAT];
    if (e->ent & ENT_LOAD_PKRS) s->pkrs = f[F_GUEST_PKRS];
    if (e->ent & ENT_LOAD_PERF_GLOBAL) s->msr_file[MSR_SLOT_PERF_GLOBAL_CTRL] = f[F_GUEST_PERF_GLOBAL_CTRL];
    if (e->ent & ENT_LOAD_SPEC_CTRL) s->msr_file[MSR_SLOT_SPEC_CTRL] = f[F_GUEST_SPEC_CTRL];
    s->gpr[RSP] = f[F_GUEST_RSP];
    s->gpr[REG_RIP] = f[F_GUEST_RIP];
    cpu_write_rflags(c, f[F_GUEST_RFLAGS]);
    load_segments(c, f);
}

static void load_pdptes(struct cpu *c, const struct vmx_check *k)
{
    if (!vmx_check_guest_pae(k)) return;
    for (unsigned i = 0; i < 4; i++)
        c->s.pdpte[i] =
            k->e.sec & SEC_EPT ? k->f[F_GUEST_PDPTE0 + i] : phys_read(c, (c->s.cr3 & 0xffffffe0) + 8 * i, 8);
}

/* Blocking, activity, pending debug exceptions. SDM 3C 27.7.1 - 27.7.3 */
static void load_non_register(struct cpu *c, const struct vmx_effective *e, const uint64_t *f)
{
    struct interruptibility *i = &c->s.intr;
    uint32_t state = (uint32_t)f[F_GUEST_INTERRUPTIBILITY], info = (uint32_t)f[F_ENTRY_INTR_INFO];
    bool vectored = injects_vectored(f);
    unsigned type = info >> INFO_TYPE_SHIFT & 7;
    bool nmi = (state & INTR_NMI) != 0 || (vectored && type == EVENT_NMI);
    cpu_set_shadow(c, !vectored && (state & INTR_STI), !vectored && (state & INTR_MOVSS));
    cpu_keep_rf(c);
    i->virtual_nmi_blocked = (e->pin & PIN_VIRTUAL_NMI) && nmi;
    i->nmi_blocked = !(e->pin & PIN_VIRTUAL_NMI) && nmi;
    c->s.activity = vectored ? ACTIVITY_ACTIVE : (uint8_t)f[F_GUEST_ACTIVITY];
    c->s.monitor.armed = 0;

    bool soft_movss = (type == EVENT_SW_INT || type == EVENT_SW_EXCEPTION) && (state & INTR_MOVSS);
    bool lost =
        vectored ? !soft_movss : c->s.activity == ACTIVITY_SHUTDOWN || c->s.activity == ACTIVITY_WAIT_SIPI;
    c->s.pending_dbg = lost ? 0 : f[F_GUEST_PENDING_DBG];
    c->s.delivering.valid = 0;
    c->iret_unblocked_nmi = false;
    c->no_step = false;
}

/* Must this MSR not be in a VM-entry (or VM-exit) MSR-load list? SDM 3C 27.4 */
static bool load_forbidden(uint32_t index)
{
    return index == 0xc0000100 || index == 0xc0000101 || (index >> 8) == 8 || index == 0x9b ||
           index == 0x9e || index == 0x79 || index == 0x8b;
}

bool vmx_load_msr(struct cpu *c, uint32_t index, uint32_t reserved, uint64_t value)
{
    if (reserved || load_forbidden(index)) return false;
    if (index == 0xc0000080) value = (value & ~(uint64_t)EFER_LMA) | (c->s.efer & EFER_LMA);
    if (cpu_write_msr(c, index, value)) return true;
    c->fault.kind = FAULT_NONE;
    return false;
}

/* 0: all loaded; else the 1-based number of the entry that failed. */
static uint32_t load_msr_list(struct cpu *c, const uint64_t *f)
{
    uint64_t at = f[F_ENTRY_MSR_LOAD_ADDR];
    for (uint32_t i = 0; i < (uint32_t)f[F_ENTRY_MSR_LOAD_COUNT]; i++, at += 16) {
        uint64_t head = phys_read(c, at, 8), value = phys_read(c, at + 8, 8);
        if (i == MSR_LIST_MAX || !vmx_load_msr(c, (uint32_t)head, (uint32_t)(head >> 32), value))
            return i + 1;
    }
    return 0;
}

static void start_timer(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    unsigned rate = vmx_cap_msr(&x->cap, 0x485) & 31;
    x->timer_deadline = ~UINT64_C(0);
    if (!(x->eff.pin & PIN_PREEMPTION_TIMER)) return;
    x->timer_deadline = ((vmx_physical_tsc(c) >> rate) + x->vmcs.f[F_PREEMPTION_TIMER]) << rate;
    uint64_t cycle = x->timer_deadline - c->s.tsc_base;
    if (cycle > cpu_now(c)) cpu_limit(c, cycle);
}

static void inject(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    const uint64_t *f = x->vmcs.f;
    uint32_t info = (uint32_t)f[F_ENTRY_INTR_INFO];
    if (!(info & INFO_VALID)) return;
    unsigned type = info >> INFO_TYPE_SHIFT & 7;
    if (type == EVENT_OTHER) {
        x->mtf_pending = 1;
        return;
    }
    struct event ev = {.valid = 1,
                       .vector = (uint8_t)info,
                       .type = (uint8_t)type,
                       .has_error = (info & INFO_ERROR) != 0,
                       .error_code = (uint32_t)f[F_ENTRY_ERROR_CODE]};
    if (type >= EVENT_SW_INT) ev.insn_length = (uint8_t)f[F_ENTRY_INSN_LENGTH];
    if (cpu_inject(c, &ev) == VIRT_CONTINUE && (x->eff.pri & PRI_MTF)) x->mtf_pending = 1;
}

void vmx_apply_context(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    bool guest = x->mode == VMX_NONROOT, ept = guest && (x->eff.sec & SEC_EPT);
    c->s.in_guest = guest;
    c->virt = x->mode == VMX_OFF ? &virt_bare
              : !guest           ? &vmx_root_ops
              : ept              ? &vmx_guest_ept_ops
                                 : &vmx_guest_ops;
    c->tlb_tag = guest && (x->eff.sec & SEC_VPID) ? (uint32_t)x->vmcs.f[F_VPID] : 0;
    c->second_stage_root = ept ? vmx_ept_root(x->vmcs.f[F_EPTP]) : ~UINT64_C(0);
    c->apic_access_page =
        guest && (x->eff.sec & SEC_APIC_ACCESS) ? x->vmcs.f[F_APIC_ACCESS_ADDR] : ~UINT64_C(0);
    c->write_granule_shift = ept && (x->eff.sec & SEC_SPP) ? 7 : 0;
    c->high_root_used = ept && (x->eff.ter & TER_HLAT) != 0;
    c->high_root = x->vmcs.f[F_HLATP];
    c->high_prefix = (uint32_t)x->vmcs.f[F_HLAT_PREFIX];
    c->watch_locks = guest && (x->eff.sec & SEC_BUS_LOCK) != 0;
    vmx_arm_intercepts(c);
    cpu_mode_changed(c);
    cpu_update_attention(c);
}

enum vmx_entry_result vmx_enter(struct cpu *c, bool launch, uint32_t *error)
{
    struct vmx_state *x = vmx_of(c);
    struct vmx_check k;
    uint64_t rows[VMX_CHECK_WORDS];
    vmx_check_init(&k, &x->cap, x->vmcs.f);
    vmx_check_live(&k, c);
    vmx_check_select(&x->cap, x->dirty, rows);
    const struct vmx_check_row *broken = vmx_check_selected(&k, rows);
    if (broken && broken->stage != STAGE_GUEST) {
        *error = broken->outcome.vmfail;
        return ENTRY_VMFAIL;
    }
    x->eff = k.e;
    x->mtf_pending = x->mtf_armed = x->tpr_exit = x->virtual_intr = x->apic_write = x->apic_write_exit =
        x->eoi_exit = x->bus_lock = 0;
    if (x->eff.pri & PRI_TPR_SHADOW) vmx_vapic_write(c, 0x80, vmx_vapic_read(c, 0x80) & 0xff);
    if (broken) {
        vmx_entry_failed(c, REASON_ENTRY_FAIL_GUEST | REASON_ENTRY_FAILURE, broken->outcome.qualification);
        return ENTRY_DONE;
    }
    load_registers(c, &x->eff, x->vmcs.f);
    load_pdptes(c, &k);
    uint32_t failed = load_msr_list(c, x->vmcs.f);
    if (failed) {
        vmx_entry_failed(c, REASON_ENTRY_FAIL_MSR | REASON_ENTRY_FAILURE, failed);
        return ENTRY_DONE;
    }
    if (launch) x->vmcs.launched = 1;
    memset(x->dirty, 0, sizeof x->dirty);
    PROBE(c->probes, c, VM_ENTRY, launch, x->current);

    x->mode = VMX_NONROOT;
    load_non_register(c, &x->eff, x->vmcs.f);
    if (!(x->eff.sec & SEC_VPID)) tlb_flush_tag(c, 0, false);
    start_timer(c);
    x->ple_last = x->ple_first = 0;
    x->window_insns = ~UINT64_C(0);
    vmx_apply_context(c);
    vmx_vapic_entry(c);
    inject(c);
    if (x->mode == VMX_NONROOT && (x->eff.pri & PRI_MTF) && !x->mtf_pending) {
        x->mtf_armed = 1;
        x->mtf_insns = c->s.insns;
        x->mtf_rip = c->s.gpr[REG_RIP];
        x->mtf_rcx = c->s.gpr[RCX];
    }
    cpu_update_attention(c);
    return ENTRY_DONE;
}
