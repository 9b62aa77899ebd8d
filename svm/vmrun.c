/* SPDX-License-Identifier: MIT */
/* VMRUN: the VMCB is read, checked and loaded, the host state kept, the TLB flushed as asked, an event
 * injected. APM 2 15.5.1 "Basic Operation", 15.15, 15.16, 15.20, 15.25. */
#include <string.h>

#include "cpu/control.h"
#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/msr.h"
#include "svm/vmrun_checks.h"

#define CR0_DEFINED \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | (uint64_t)CR0_PG)
#define RFLAGS_DEFINED \
    (FL_OSZAPC | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID)

static const uint8_t switched[4] = {SEG_ES, SEG_CS, SEG_SS, SEG_DS};

static void keep_host(struct cpu *c, uint64_t next_rip)
{
    struct svm_host *h = &svm_of(c)->host;
    const struct cpu_state *s = &c->s;
    for (unsigned i = 0; i < 4; i++)
        h->seg[i] = s->seg[switched[i]];
    h->gdtr = s->gdtr;
    h->idtr = s->idtr;
    h->efer = s->efer;
    h->cr0 = s->cr0;
    h->cr3 = s->cr3;
    h->cr4 = s->cr4;
    h->rflags = cpu_read_rflags(c) & ~(uint64_t)FL_RF;
    h->rip = next_rip;
    h->rsp = s->gpr[RSP];
    h->rax = s->gpr[RAX];
    h->pat = s->pat;
    h->spec_ctrl = s->msr_file[MSR_SLOT_SPEC_CTRL];
    h->debugctl = s->debugctl;
    for (unsigned i = 0; i < 4; i++)
        h->last_branch[i] = s->msr_file[MSR_SLOT_LAST_BRANCH + i];
}

/* Groups that VMRUN may take from its copy. APM 2 15.15.1 */
static uint32_t kept_groups(const struct svm_state *x, uint64_t vmcb, const uint8_t *page)
{
    if (vmcb != x->vmcb || !svm_cap_has(&x->cap, FEAT_VMCBCLEAN)) return 0;
    return (uint32_t)vmcb_get(page + OFF_CLEAN, 4) & ((1u << CLEAN_NEVER) - 1);
}

static void load_segments(struct cpu *c, const uint64_t *f)
{
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t *g = &f[VMCB_ES_SELECTOR + 4 * i];
        struct seg_reg r = vmcb_segment((uint16_t)g[0], (uint16_t)g[1], (uint32_t)g[2], g[3]);
        if (switched[i] == SEG_CS) r.ar &= ~(uint32_t)AR_UNUSABLE;
        if (switched[i] == SEG_SS) r.ar = (r.ar & ~(uint32_t)AR_DPL) | (uint32_t)c->s.cpl << AR_DPL_SHIFT;
        cpu_load_segment(c, (enum seg_id)switched[i], &r);
    }
    c->s.gdtr = (struct dt_reg){.base = f[VMCB_GDTR_BASE], .limit = (uint16_t)f[VMCB_GDTR_LIMIT]};
    c->s.idtr = (struct dt_reg){.base = f[VMCB_IDTR_BASE], .limit = (uint16_t)f[VMCB_IDTR_LIMIT]};
}

static void load_guest(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    const uint64_t *f = x->f;
    struct cpu_state *s = &c->s;
    s->cr0 = (f[VMCB_CR0] & CR0_DEFINED) | CR0_ET;
    s->cr2 = f[VMCB_CR2];
    s->cr3 = f[VMCB_CR3];
    s->cr4 = f[VMCB_CR4];
    s->efer = f[VMCB_EFER];
    cpu_update_lma(c);
    s->dr6 = (f[VMCB_DR6] & 0xe00f) | 0xffff0ff0;
    s->dr7 = (f[VMCB_DR7] & 0xffff23ff) | 0x400;
    s->gpr[RAX] = f[VMCB_RAX];
    s->gpr[RSP] = f[VMCB_RSP];
    s->gpr[REG_RIP] = f[VMCB_RIP];
    cpu_write_rflags(c, (f[VMCB_RFLAGS] & RFLAGS_DEFINED) | FL_FIXED);
    s->cpl = !(s->cr0 & CR0_PE) ? 0 : s->rflags & FL_VM ? 3 : (uint8_t)(f[VMCB_CPL] & 3);
    load_segments(c, f);
    if (x->nested) s->pat = f[VMCB_G_PAT];
    if (x->lbr) {
        s->debugctl = f[VMCB_DBGCTL] & 0x3f;
        for (unsigned i = 0; i < 4; i++)
            s->msr_file[MSR_SLOT_LAST_BRANCH + i] = f[VMCB_BR_FROM + i];
    }
    if (x->spec_ctrl) s->msr_file[MSR_SLOT_SPEC_CTRL] = f[VMCB_SPEC_CTRL];
    if (!x->nested && svm_check_guest_pae(f))
        for (unsigned i = 0; i < 4; i++)
            s->pdpte[i] = phys_read(c, (s->cr3 & 0xffffffe0) + 8 * i, 8);
    s->activity = ACTIVITY_ACTIVE;
    s->pending_dbg = 0;
    s->delivering.valid = 0;
    s->monitor.armed = 0;
}

/* The nested tables have the format of the host's paging mode at VMRUN. APM 2 15.25.3 */
static void select_nested(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    const struct svm_host *h = &x->host;
    x->nested = svm_cap_has(&x->cap, FEAT_NPT) && (x->f[VMCB_NESTED_CONTROL] & NESTED_NP);
    x->nested_levels = h->efer & EFER_LMA ? (h->cr4 & CR4_LA57 ? 5 : 4) : h->cr4 & CR4_PAE ? 3 : 2;
    x->nested_nx = (h->efer & EFER_NXE) != 0;
    x->nested_fetch = x->nested_nx || (h->cr4 & CR4_SMEP);
}

static void flush(struct cpu *c)
{
    const struct svm_state *x = svm_of(c);
    bool by_asid = svm_cap_has(&x->cap, FEAT_FLUSHBYASID);
    switch (x->f[VMCB_TLB_CONTROL]) {
    case TLB_FLUSH_ALL: tlb_flush_all(c); break;
    case TLB_FLUSH_ASID:
        if (by_asid) tlb_flush_tag(c, (uint32_t)x->f[VMCB_ASID], false);
        break;
    case TLB_FLUSH_ASID_LOCAL:
        if (by_asid) tlb_flush_tag(c, (uint32_t)x->f[VMCB_ASID], true);
        break;
    default: break;
    }
}

/* Return address of a software event: nRIP, on a processor that saves it. APM 2 15.20 */
static void inject(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    uint32_t info = (uint32_t)x->f[VMCB_EVENTINJ];
    if (!(info & INJ_VALID)) return;
    struct event ev = {.valid = 1, .vector = (uint8_t)info, .type = (uint8_t)(info >> INJ_TYPE_SHIFT & 7)};
    if (info & INJ_ERROR) {
        ev.has_error = 1;
        ev.error_code = (uint32_t)x->f[VMCB_EVENTINJ_ERROR];
    }
    if (ev.type == EVENT_NMI) {
        ev.vector = VEC_NMI;
        if (svm_vnmi(x)) x->f[VMCB_VINTR] |= VINTR_NMI_MASK;
    }
    if (ev.type == EVENT_HW_EXCEPTION && (ev.vector == VEC_BP || ev.vector == VEC_OF))
        ev.type = EVENT_SW_EXCEPTION;
    if ((ev.type == EVENT_SW_INT || ev.type == EVENT_SW_EXCEPTION) && svm_cap_has(&x->cap, FEAT_NRIPS)) {
        ev.has_next_rip = 1;
        ev.next_rip = x->f[VMCB_NRIP];
    }
    cpu_inject(c, &ev);
}

void svm_apply_context(struct cpu *c)
{
    const struct svm_state *x = svm_of(c);
    c->s.in_guest = x->guest;
    c->virt = !x->guest ? &virt_bare : x->nested ? &svm_guest_npt_ops : &svm_guest_ops;
    c->tlb_tag = x->guest ? (uint32_t)x->f[VMCB_ASID] : 0;
    c->second_stage_root =
        x->guest && x->nested ? x->f[VMCB_N_CR3] & UINT64_C(0xfffffffffffe0) : ~UINT64_C(0);
    svm_arm_intercepts(c);
    cpu_mode_changed(c);
}

void svm_enter(struct cpu *c, uint64_t vmcb, uint64_t next_rip)
{
    struct svm_state *x = svm_of(c);
    struct svm_check k;
    uint8_t buf[VMCB_SIZE];
    keep_host(c, next_rip);
    const uint8_t *page = vmcb_open(c, vmcb, buf, false);
    vmcb_load(page, x->f, kept_groups(x, vmcb, page));
    x->vmcb = vmcb;
    select_nested(c);
    x->lbr = svm_cap_has(&x->cap, FEAT_LBRVIRT) && (x->f[VMCB_VIRT_EXT] & VIRT_EXT_LBR);
    x->spec_ctrl = svm_cap_has(&x->cap, FEAT_V_SPEC_CTRL);
    svm_check_init(&k, &x->cap, x->f);
    svm_check_live(&k, c);
    if (svm_check_first(&k) != NULL) {
        svm_exit_invalid(c);
        return;
    }
    PROBE(c->probes, c, VM_ENTRY, 1, vmcb);
    x->guest = 1;
    flush(c);
    load_guest(c);
    x->pause_left = (uint32_t)x->f[VMCB_PAUSE_COUNT];
    x->pause_last = cpu_now(c);
    c->s.intr.gif = 1;
    c->iret_unblocked_nmi = c->no_step = false;
    cpu_set_shadow(c, (x->f[VMCB_INTERRUPT_STATE] & 1) != 0, false);
    cpu_keep_rf(c);
    svm_apply_context(c);
    inject(c);
    cpu_update_attention(c);
}
