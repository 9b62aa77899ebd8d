/* SPDX-License-Identifier: MIT */
/* VM exit: exit information, guest state into the VMCS, MSR-store list, host state, MSR-load list; the
 * loading of host state by a failed entry; VMX abort. SDM 3C ch. 28 "VM Exits". */
#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/msr.h"
#include "vmx/entry_checks.h"
#include "vmx/vmx.h"

static const char *const reason_names[] = {
#define EXIT_REASON(number, name, text) [number] = text,
#include "vmx/exit_reasons.def"
#undef EXIT_REASON
};

const char *vmx_exit_reason_name(uint32_t reason)
{
    unsigned basic = reason & 0xffff;
    if (basic >= sizeof reason_names / sizeof reason_names[0] || !reason_names[basic]) return "reserved";
    return reason_names[basic];
}

void vmx_abort(struct cpu *c, enum vmx_abort code)
{
    struct vmx_state *x = vmx_of(c);
    phys_write(c, x->current + VMCS_OFF_ABORT, 4, code);
    x->aborted = 1;
    x->mode = VMX_ROOT;
    c->s.activity = ACTIVITY_SHUTDOWN;
    c->shutdown = true; /* only RESET leaves this */
    vmx_apply_context(c);
}

/* ---- exit information ---- */

static void save_information(struct cpu *c, const struct vmx_exit *e, const struct event *original)
{
    struct vmx_state *x = vmx_of(c);
    uint32_t vectoring = 0, vectoring_error = 0, length = e->insn_length;
    if (original) {
        vectoring = original->vector | (uint32_t)original->type << INFO_TYPE_SHIFT | INFO_VALID;
        if (original->has_error) vectoring |= INFO_ERROR, vectoring_error = original->error_code;
        if (original->type >= EVENT_SW_INT) length = original->insn_length;
    }
    vmcs_set(x, F_EXIT_REASON, e->reason);
    vmcs_set(x, F_EXIT_QUALIFICATION, e->qualification);
    vmcs_set(x, F_EXIT_INTR_INFO, e->intr_info);
    vmcs_set(x, F_EXIT_INTR_ERROR, e->intr_error);
    vmcs_set(x, F_IDT_VECTORING_INFO, vectoring);
    vmcs_set(x, F_IDT_VECTORING_ERROR, vectoring_error);
    vmcs_set(x, F_EXIT_INSN_LENGTH, length);
    vmcs_set(x, F_EXIT_INSN_INFO, e->insn_info);
    vmcs_set(x, F_GUEST_LINEAR_ADDR, e->linear);
    vmcs_set(x, F_GUEST_PHYSICAL_ADDR, e->gpa);
    vmcs_set(x, F_ENTRY_INTR_INFO, x->vmcs.f[F_ENTRY_INTR_INFO] & ~(uint64_t)INFO_VALID);
    uint64_t ent = x->vmcs.f[F_ENTRY_CONTROLS] & ~(uint64_t)ENT_IA32E_GUEST;
    vmcs_set(x, F_ENTRY_CONTROLS, ent | (in_long_mode(c) ? ENT_IA32E_GUEST : 0));
}

/* ---- guest state ---- */

static void save_segments(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    for (unsigned s = 0; s < SEG_COUNT; s++) {
        const struct seg_reg *r = &c->s.seg[s];
        uint32_t ar = r->ar & 0x1f0ff;
        if (s == SEG_SS) ar = (ar & ~(uint32_t)AR_DPL) | (uint32_t)c->s.cpl << AR_DPL_SHIFT;
        vmcs_set(x, F_GUEST_ES_SELECTOR + (int)s, r->selector);
        vmcs_set(x, F_GUEST_ES_BASE + (int)s, r->base);
        vmcs_set(x, F_GUEST_ES_LIMIT + (int)s, r->limit);
        vmcs_set(x, F_GUEST_ES_AR + (int)s, ar);
    }
    vmcs_set(x, F_GUEST_GDTR_BASE, c->s.gdtr.base);
    vmcs_set(x, F_GUEST_GDTR_LIMIT, c->s.gdtr.limit);
    vmcs_set(x, F_GUEST_IDTR_BASE, c->s.idtr.base);
    vmcs_set(x, F_GUEST_IDTR_LIMIT, c->s.idtr.limit);
}

static void save_timer(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    if (!(x->eff.exi & EXI_SAVE_TIMER) || x->timer_deadline == ~UINT64_C(0)) return;
    unsigned rate = vmx_cap_msr(&x->cap, 0x485) & 31;
    uint64_t now = vmx_physical_tsc(c) >> rate, end = x->timer_deadline >> rate;
    vmcs_set(x, F_PREEMPTION_TIMER, end > now ? end - now : 0);
}

static void save_non_register(struct cpu *c, const struct vmx_exit *e, const struct event *original)
{
    struct vmx_state *x = vmx_of(c);
    const struct interruptibility *i = &c->s.intr;
    uint32_t state = 0;
    bool held = false;
    if (!original) {
        if (i->sti_shadow) state |= INTR_STI;
        if (i->movss_shadow) state |= INTR_MOVSS;
        held = i->movss_shadow != 0;
    }
    if (x->eff.pin & PIN_VIRTUAL_NMI ? i->virtual_nmi_blocked : i->nmi_blocked) state |= INTR_NMI;
    if (i->smi_blocked) state |= INTR_SMI;
    uint8_t activity = original || c->s.activity == ACTIVITY_MWAIT ? (uint8_t)ACTIVITY_ACTIVE : c->s.activity;
    bool debug_exit = (e->intr_info & (INFO_VALID | INFO_TYPE | INFO_VECTOR)) ==
                      (INFO_VALID | EVENT_HW_EXCEPTION << INFO_TYPE_SHIFT | VEC_DB);
    bool keep = e->keep_pending_dbg || (held && !debug_exit);
    vmcs_set(x, F_GUEST_INTERRUPTIBILITY, state);
    vmcs_set(x, F_GUEST_ACTIVITY, activity);
    vmcs_set(x, F_GUEST_PENDING_DBG, keep ? c->s.pending_dbg & (PDBG_B | PDBG_ENABLED | PDBG_BS) : 0);
}

static void save_guest(struct cpu *c, const struct vmx_exit *e, const struct event *original)
{
    struct vmx_state *x = vmx_of(c);
    const struct cpu_state *s = &c->s;
    uint64_t rflags = cpu_read_rflags(c);
    if (e->rf == RF_SET) rflags |= FL_RF;
    if (e->rf == RF_CLEAR) rflags &= ~(uint64_t)FL_RF;
    vmcs_set(x, F_GUEST_CR0, s->cr0);
    vmcs_set(x, F_GUEST_CR3, s->cr3);
    vmcs_set(x, F_GUEST_CR4, s->cr4);
    vmcs_set(x, F_GUEST_SYSENTER_CS, (uint32_t)s->sysenter_cs);
    vmcs_set(x, F_GUEST_SYSENTER_ESP, s->sysenter_esp);
    vmcs_set(x, F_GUEST_SYSENTER_EIP, s->sysenter_eip);
    if (x->eff.exi & EXI_SAVE_DEBUG) {
        vmcs_set(x, F_GUEST_DR7, s->dr7);
        vmcs_set(x, F_GUEST_DEBUGCTL, s->debugctl);
    }
    if (x->eff.exi & EXI_SAVE_PAT) vmcs_set(x, F_GUEST_PAT, s->pat);
    if (x->eff.exi & EXI_SAVE_EFER) vmcs_set(x, F_GUEST_EFER, s->efer);
    if (vmcs_field_exists(&x->cap, F_GUEST_PKRS)) vmcs_set(x, F_GUEST_PKRS, s->pkrs);
    if (x->eff.exi & EXI_SAVE_PERF_GLOBAL)
        vmcs_set(x, F_GUEST_PERF_GLOBAL_CTRL, s->msr_file[MSR_SLOT_PERF_GLOBAL_CTRL]);
    if (vmcs_field_exists(&x->cap, F_GUEST_SPEC_CTRL))
        vmcs_set(x, F_GUEST_SPEC_CTRL, s->msr_file[MSR_SLOT_SPEC_CTRL]);
    save_segments(c);
    vmcs_set(x, F_GUEST_RSP, s->gpr[RSP]);
    vmcs_set(x, F_GUEST_RIP, s->gpr[REG_RIP]);
    vmcs_set(x, F_GUEST_RFLAGS, rflags);
    save_non_register(c, e, original);
    save_timer(c);
    if (x->eff.sec & SEC_VIRTUAL_INTR) vmcs_set(x, F_GUEST_INTR_STATUS, (uint64_t)x->svi << 8 | x->rvi);
    if ((x->eff.sec & SEC_EPT) && (s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !in_long_mode(c))
        for (int i = 0; i < 4; i++)
            vmcs_set(x, F_GUEST_PDPTE0 + i, s->pdpte[i]);
}

/* ---- host state ---- */

static void load_host_segments(struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    const uint64_t *f = x->vmcs.f;
    bool wide = (x->eff.exi & EXI_HOST_64BIT) != 0;
    const struct {
        uint8_t seg;
        int selector, base;
    } map[] = {{SEG_ES, F_HOST_ES_SELECTOR, -1},
               {SEG_CS, F_HOST_CS_SELECTOR, -1},
               {SEG_SS, F_HOST_SS_SELECTOR, -1},
               {SEG_DS, F_HOST_DS_SELECTOR, -1},
               {SEG_FS, F_HOST_FS_SELECTOR, F_HOST_FS_BASE},
               {SEG_GS, F_HOST_GS_SELECTOR, F_HOST_GS_BASE},
               {SEG_TR, F_HOST_TR_SELECTOR, F_HOST_TR_BASE}};
    for (unsigned i = 0; i < sizeof map / sizeof map[0]; i++) {
        struct seg_reg r = {.selector = (uint16_t)f[map[i].selector],
                            .base = map[i].base < 0 ? 0 : f[map[i].base],
                            .limit = 0xffffffff,
                            .ar = AR_P | AR_S | AR_G | AR_DB | 3};
        if (map[i].seg == SEG_CS) {
            r.ar = AR_P | AR_S | AR_G | 11 | (wide ? AR_L : AR_DB);
        } else if (map[i].seg == SEG_TR) {
            r.ar = AR_P | 11;
            r.limit = 0x67;
        } else if (r.selector == 0) {
            r.ar = AR_UNUSABLE | (map[i].seg == SEG_SS ? AR_DB : 0);
        }
        cpu_load_segment(c, (enum seg_id)map[i].seg, &r);
    }
    const struct seg_reg null = {.ar = AR_UNUSABLE};
    cpu_load_segment(c, SEG_LDTR, &null);
    c->s.gdtr = (struct dt_reg){.base = f[F_HOST_GDTR_BASE], .limit = 0xffff};
    c->s.idtr = (struct dt_reg){.base = f[F_HOST_IDTR_BASE], .limit = 0xffff};
    c->s.cpl = 0;
}

/* False: VMX abort, a host PDPTE with reserved bits. */
static bool load_host(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    const uint64_t *f = x->vmcs.f;
    struct cpu_state *s = &c->s;
    bool wide = (x->eff.exi & EXI_HOST_64BIT) != 0;
    const uint64_t kept = UINT64_C(0x7ffaffd0); /* ET, CD, NW, 28:19, 17, 15:6 */
    s->cr0 = (s->cr0 & kept) | (f[F_HOST_CR0] & ~kept & 0xffffffff);
    s->cr3 = f[F_HOST_CR3];
    s->cr4 = f[F_HOST_CR4];
    if (wide)
        s->cr4 |= CR4_PAE;
    else
        s->cr4 &= ~(uint64_t)CR4_PCIDE;
    s->dr7 = 0x400;
    s->debugctl = 0;
    s->sysenter_cs = f[F_HOST_SYSENTER_CS];
    s->sysenter_esp = f[F_HOST_SYSENTER_ESP];
    s->sysenter_eip = f[F_HOST_SYSENTER_EIP];
    if (x->eff.exi & EXI_LOAD_EFER)
        s->efer = f[F_HOST_EFER];
    else
        s->efer = (s->efer & ~(uint64_t)(EFER_LMA | EFER_LME)) | (wide ? EFER_LMA | EFER_LME : 0);
    if (x->eff.exi & EXI_LOAD_PAT) s->pat = f[F_HOST_PAT];
    if (x->eff.exi & EXI_LOAD_PKRS) s->pkrs = f[F_HOST_PKRS];
    if (x->eff.exi & EXI_LOAD_PERF_GLOBAL)
        s->msr_file[MSR_SLOT_PERF_GLOBAL_CTRL] = f[F_HOST_PERF_GLOBAL_CTRL];
    if (x->eff.exi2 & EXI2_LOAD_SPEC_CTRL) s->msr_file[MSR_SLOT_SPEC_CTRL] = f[F_HOST_SPEC_CTRL];
    load_host_segments(c);
    s->gpr[RSP] = f[F_HOST_RSP];
    s->gpr[REG_RIP] = f[F_HOST_RIP];
    cpu_write_rflags(c, FL_FIXED);

    cpu_set_shadow(c, false, false);
    s->intr.virtual_nmi_blocked = 0;
    s->activity = ACTIVITY_ACTIVE;
    s->pending_dbg = 0;
    s->monitor.armed = 0;
    s->delivering.valid = 0;
    c->iret_unblocked_nmi = false;
    if (!wide && (s->cr4 & CR4_PAE) && (s->cr0 & CR0_PG))
        for (unsigned i = 0; i < 4; i++) {
            s->pdpte[i] = phys_read(c, (s->cr3 & 0xffffffe0) + 8 * i, 8);
            if (!vmx_pdpte_ok(&x->cap, s->pdpte[i])) return false;
        }
    return true;
}

/* ---- MSR lists ---- */

static bool store_msrs(struct cpu *c)
{
    const uint64_t *f = vmx_of(c)->vmcs.f;
    uint64_t at = f[F_EXIT_MSR_STORE_ADDR], value;
    for (uint32_t i = 0; i < (uint32_t)f[F_EXIT_MSR_STORE_COUNT]; i++, at += 16) {
        uint64_t head = phys_read(c, at, 8);
        uint32_t index = (uint32_t)head;
        if (i == MSR_LIST_MAX || head >> 32 || (index >> 8) == 8 || index == 0x9e) return false;
        if (!cpu_read_msr(c, index, &value)) {
            c->fault.kind = FAULT_NONE;
            return false;
        }
        phys_write(c, at + 8, 8, value);
    }
    return true;
}

static bool load_msrs(struct cpu *c)
{
    const uint64_t *f = vmx_of(c)->vmcs.f;
    uint64_t at = f[F_EXIT_MSR_LOAD_ADDR];
    for (uint32_t i = 0; i < (uint32_t)f[F_EXIT_MSR_LOAD_COUNT]; i++, at += 16) {
        uint64_t head = phys_read(c, at, 8), value = phys_read(c, at + 8, 8);
        if (i == MSR_LIST_MAX || !vmx_load_msr(c, (uint32_t)head, (uint32_t)(head >> 32), value))
            return false;
    }
    return true;
}

/* Host state, MSR-load list, root operation. */
static void enter_host(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    bool was_long = in_long_mode(c);
    x->mode = VMX_ROOT;
    x->timer_deadline = ~UINT64_C(0);
    x->mtf_pending = x->mtf_armed = x->tpr_exit = x->virtual_intr = x->apic_write = x->apic_write_exit =
        x->eoi_exit = x->bus_lock = 0;
    if (was_long && !(x->eff.exi & EXI_HOST_64BIT)) {
        vmx_abort(c, ABORT_MODE);
        return;
    }
    if (!load_host(c)) {
        vmx_abort(c, ABORT_HOST_PDPTE);
        return;
    }
    if (!(x->eff.sec & SEC_VPID)) tlb_flush_tag(c, 0, false);
    vmx_apply_context(c);
    if (!x->vmcs.f[F_EXIT_MSR_LOAD_COUNT]) return;
    if (!load_msrs(c)) {
        vmx_abort(c, ABORT_MSR_LOAD);
        return;
    }
    vmx_apply_context(c);
}

enum virt_verdict vmx_exit(struct cpu *c, const struct vmx_exit *e)
{
    struct event delivering = c->s.delivering;
    const struct event *original = delivering.valid && !e->no_vectoring ? &delivering : NULL;
    cpu_flush_flags(c);
    PROBE(c->probes, c, VM_EXIT, e->reason, e->qualification);
    save_information(c, e, original);
    save_guest(c, e, original);
    c->virt = &vmx_root_ops; /* MSR lists see the machine's registers (IA32_TIME_STAMP_COUNTER) */
    if (!store_msrs(c)) {
        vmx_abort(c, ABORT_MSR_STORE);
        return VIRT_EXITED;
    }
    enter_host(c);
    return VIRT_EXITED;
}

enum virt_verdict vmx_exit_simple(struct cpu *c, uint32_t reason, uint64_t qualification, uint8_t rf)
{
    const struct vmx_exit e = {.reason = reason, .qualification = qualification, .rf = rf};
    return vmx_exit(c, &e);
}

/* Exit reason and qualification are the only exit information written. SDM 3C 27.8 */
void vmx_entry_failed(struct cpu *c, uint32_t reason, uint64_t qualification)
{
    struct vmx_state *x = vmx_of(c);
    uint8_t nmi_blocked = c->s.intr.nmi_blocked;
    PROBE(c->probes, c, VM_ENTRY_FAIL, reason, qualification);
    vmcs_set(x, F_EXIT_REASON, reason);
    vmcs_set(x, F_EXIT_QUALIFICATION, qualification);
    enter_host(c);
    c->s.intr.nmi_blocked = nmi_blocked;
}
