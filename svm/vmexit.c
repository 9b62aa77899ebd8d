/* SPDX-License-Identifier: MIT */
/* #VMEXIT: exit information and guest state into the VMCB, host state back. APM 2 15.6 "#VMEXIT", 15.7.1
 * "State Saved on Exit" (EXITINTINFO, nRIP), 15.8.4 (guest instruction bytes), 15.20. */
#include <string.h>

#include "cpu/event.h"
#include "cpu/insn.h"
#include "cpu/mem.h"
#include "cpu/msr.h"
#include "cpu/quirk.h"
#include "svm/svm.h"

static const struct {
    uint16_t code;
    uint8_t nrip;
    const char *text;
} codes[] = {
#define EXIT_CODE(code, name, nrip, text) {code, NRIP_##nrip, text},
#include "svm/exit_codes.def"
#undef EXIT_CODE
};
enum { CODES = sizeof codes / sizeof codes[0] };

/* The rows up to IDLE_HLT stand at their own number. */
static int row_of(uint64_t code)
{
    if (code <= SVM_EXIT_IDLE_HLT) return (int)code;
    if (code >= SVM_EXIT_NPF && code <= SVM_EXIT_VMGEXIT)
        return (int)(code - SVM_EXIT_NPF + SVM_EXIT_IDLE_HLT + 1);
    return -1;
}

const char *svm_exit_name(uint64_t code)
{
    int row = row_of(code);
    if (row >= 0) return codes[row].text;
    return code == SVM_EXIT_INVALID ? "invalid guest state" : "reserved";
}

uint64_t svm_next_rip(const struct cpu *c, unsigned length)
{
    uint64_t rip = c->s.gpr[REG_RIP] + length;
    return in_64bit(c) ? rip : (uint32_t)rip;
}

/* --- Guest instruction bytes --- */

enum { INSN_BYTES = 15 };

/* Up to 15 bytes at CS:RIP as far as they are in mapped memory. */
static unsigned fetch_bytes(struct cpu *c, uint8_t *bytes)
{
    uint64_t rip = c->s.gpr[REG_RIP], gpa, hpa;
    uint64_t lin = in_64bit(c) ? rip : (uint32_t)(c->s.seg[SEG_CS].base + rip);
    unsigned n = 0;
    while (n < INSN_BYTES) {
        unsigned here = PAGE_SIZE - (unsigned)(lin & (PAGE_SIZE - 1));
        if (here > INSN_BYTES - n) here = INSN_BYTES - n;
        if (!lin_debug_translate(c, lin, &gpa, &hpa) || hpa >= c->bus->ram_top ||
            !(c->bus->page_flags[hpa >> PAGE_SHIFT] & PAGE_RAM))
            break;
        phys_read_bytes(c, hpa, bytes + n, here);
        n += here;
        lin += here;
        if (!in_64bit(c)) lin = (uint32_t)lin;
    }
    return n;
}

/* --- Control area --- */

static uint64_t vectoring(const struct event *ev)
{
    static const uint8_t type[8] = {[EVENT_EXTINT] = INJ_INTR,
                                    [EVENT_NMI] = INJ_NMI,
                                    [EVENT_HW_EXCEPTION] = INJ_EXCEPTION,
                                    [EVENT_SW_INT] = INJ_SOFT,
                                    [EVENT_PRIV_SW_EXC] = INJ_EXCEPTION,
                                    [EVENT_SW_EXCEPTION] = INJ_EXCEPTION};
    uint64_t v = ev->vector | (uint64_t)type[ev->type & 7] << INJ_TYPE_SHIFT | INJ_VALID;
    if (ev->has_error) v |= INJ_ERROR | (uint64_t)ev->error_code << 32;
    return v;
}

static void put(struct svm_state *x, uint8_t *page, enum vmcb_field field, uint64_t value)
{
    x->f[field] = value;
    vmcb_put(page + vmcb_fields[field].offset, vmcb_fields[field].bytes, value);
}
/* The same where the field is known at compile time. */
#define PUT(name, value)                                              \
    do {                                                              \
        x->f[VMCB_##name] = (value);                                  \
        vmcb_put(page + OFF_##name, BYTES_##name, x->f[VMCB_##name]); \
    } while (0)
enum vmcb_bytes {
#define FIELD(name, offset, bytes, group) BYTES_##name = bytes,
#include "svm/vmcb.def"
#undef FIELD
};

static void put_code(struct svm_state *x, uint8_t *page, uint64_t code, uint64_t info1, uint64_t info2)
{
    PUT(EXITCODE, code);
    PUT(EXITINFO1, info1);
    PUT(EXITINFO2, info2);
}

/* V_TPR, V_IRQ and, where enabled, virtual GIF and NMI flags; the rest of the word is software's. */
static void put_vintr(struct svm_state *x, uint8_t *page)
{
    uint32_t mask = VINTR_TPR | VINTR_IRQ;
    if (svm_vgif(x)) mask |= VINTR_GIF;
    if (svm_vnmi(x)) mask |= VINTR_NMI | VINTR_NMI_MASK;
    uint32_t old = (uint32_t)vmcb_get(page + OFF_VINTR, 4);
    vmcb_put(page + OFF_VINTR, 4, (old & ~mask) | ((uint32_t)x->f[VMCB_VINTR] & mask));
}

/* Length of the instruction at RIP, 0 when it cannot be read. */
static unsigned length_at_rip(struct cpu *c)
{
    uint8_t bytes[INSN_BYTES];
    struct insn insn = {0};
    const struct decode_env env = {.mode = c->mode & DECODE_MASK,
                                   .real_or_v86 = !in_protected(c),
                                   .branch_opsize16 = cpu_quirk(c, QUIRK_BRANCH_OPSIZE16_64),
                                   .features = c->features};
    return insn_decode(&env, bytes, fetch_bytes(c, bytes), &insn) == DECODE_OK ? insn.length : 0;
}

/* INT3 and INTO tell their length, BOUND does not. */
static uint64_t saved_nrip(struct cpu *c, const struct svm_exit *e)
{
    int row = row_of(e->code);
    if (row < 0 || codes[row].nrip == NRIP_ZERO) return 0;
    if (codes[row].nrip == NRIP_SOFT && e->code == SVM_EXIT_EXCP_BR) return svm_next_rip(c, length_at_rip(c));
    return e->next_rip;
}

static void save_control(struct cpu *c, uint8_t *page, const struct svm_exit *e, const struct event *original)
{
    struct svm_state *x = svm_of(c);
    bool shadow = c->s.intr.sti_shadow || c->s.intr.movss_shadow;
    put_code(x, page, e->code, e->info1, e->info2);
    PUT(EXITINTINFO, original ? vectoring(original) : 0);
    put_vintr(x, page);
    PUT(INTERRUPT_STATE, (x->f[VMCB_INTERRUPT_STATE] & ~UINT64_C(1)) | shadow);
    PUT(EVENTINJ, x->f[VMCB_EVENTINJ] & ~(uint64_t)INJ_VALID);
    if (svm_cap_has(&x->cap, FEAT_NRIPS)) PUT(NRIP, saved_nrip(c, e));
    if (svm_cap_has(&x->cap, FEAT_DECODEASSISTS)) {
        memset(page + OFF_INSN_LENGTH, 0, 1 + INSN_BYTES);
        if (e->bytes && !original) PUT(INSN_LENGTH, fetch_bytes(c, page + OFF_INSN_LENGTH + 1));
    }
}

/* --- Save area --- */

static const uint8_t switched[4] = {SEG_ES, SEG_CS, SEG_SS, SEG_DS};

static void save_segments(struct cpu *c, uint8_t *page)
{
    struct svm_state *x = svm_of(c);
    for (unsigned i = 0; i < 4; i++) {
        const struct seg_reg *r = &c->s.seg[switched[i]];
        uint64_t *g = &x->f[VMCB_ES_SELECTOR + 4 * i];
        uint8_t *p = page + OFF_ES_SELECTOR + 16 * i;
        g[0] = r->selector;
        g[1] = vmcb_attrib(r);
        g[2] = r->limit;
        g[3] = r->base;
        if (switched[i] == SEG_SS) g[1] = (g[1] & ~(uint64_t)AR_DPL) | (uint64_t)c->s.cpl << AR_DPL_SHIFT;
        vmcb_put(p, 2, g[0]);
        vmcb_put(p + 2, 2, g[1]);
        vmcb_put(p + 4, 4, g[2]);
        vmcb_put(p + 8, 8, g[3]);
    }
}

static void save_guest(struct cpu *c, uint8_t *page)
{
    struct svm_state *x = svm_of(c);
    const struct cpu_state *s = &c->s;
    save_segments(c, page);
    PUT(GDTR_LIMIT, s->gdtr.limit);
    PUT(GDTR_BASE, s->gdtr.base);
    PUT(IDTR_LIMIT, s->idtr.limit);
    PUT(IDTR_BASE, s->idtr.base);
    PUT(CPL, s->cpl);
    PUT(EFER, s->efer);
    PUT(CR4, s->cr4);
    PUT(CR3, s->cr3);
    PUT(CR0, s->cr0);
    PUT(DR7, s->dr7);
    PUT(DR6, s->dr6);
    PUT(RFLAGS, cpu_read_rflags(c));
    PUT(RIP, s->gpr[REG_RIP]);
    PUT(RSP, s->gpr[RSP]);
    PUT(RAX, s->gpr[RAX]);
    PUT(CR2, s->cr2);
    if (x->nested) PUT(G_PAT, s->pat);
    if (x->lbr) {
        PUT(DBGCTL, s->debugctl);
        for (unsigned i = 0; i < 4; i++)
            put(x, page, (enum vmcb_field)(VMCB_BR_FROM + i), s->msr_file[MSR_SLOT_LAST_BRANCH + i]);
    }
    if (x->spec_ctrl) PUT(SPEC_CTRL, s->msr_file[MSR_SLOT_SPEC_CTRL]);
}

/* --- Host --- */

static void load_host(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    const struct svm_host *h = &x->host;
    struct cpu_state *s = &c->s;
    s->cr0 = h->cr0 | CR0_PE;
    s->cr3 = h->cr3;
    s->cr4 = h->cr4;
    s->efer = h->efer;
    s->dr7 = 0x400;
    s->gpr[RAX] = h->rax;
    s->gpr[RSP] = h->rsp;
    s->gpr[REG_RIP] = h->rip;
    cpu_write_rflags(c, h->rflags & ~(uint64_t)FL_VM);
    s->cpl = 0;
    s->gdtr = h->gdtr;
    s->idtr = h->idtr;
    for (unsigned i = 0; i < 4; i++)
        cpu_load_segment(c, (enum seg_id)switched[i], &h->seg[i]);
    if (x->nested) s->pat = h->pat;
    if (x->lbr) {
        s->debugctl = h->debugctl;
        for (unsigned i = 0; i < 4; i++)
            s->msr_file[MSR_SLOT_LAST_BRANCH + i] = h->last_branch[i];
    }
    if (x->spec_ctrl) s->msr_file[MSR_SLOT_SPEC_CTRL] = h->spec_ctrl;
    s->activity = ACTIVITY_ACTIVE;
    s->delivering.valid = 0;
    s->monitor.armed = 0;
    s->intr.gif = 0;
    /* A single step of the host over VMRUN traps behind it, whatever GIF. */
    s->pending_dbg = h->rflags & FL_TF ? DR6_BS : 0;
    c->iret_unblocked_nmi = false;
    cpu_set_shadow(c, false, false);
}

static bool host_pdptes(struct cpu *c)
{
    struct cpu_state *s = &c->s;
    if (!(s->cr0 & CR0_PG) || !(s->cr4 & CR4_PAE) || in_long_mode(c)) return true;
    uint64_t high = ~((UINT64_C(1) << c->phys_bits) - 1);
    for (unsigned i = 0; i < 4; i++) {
        s->pdpte[i] = phys_read(c, (s->cr3 & 0xffffffe0) + 8 * i, 8);
        if ((s->pdpte[i] & 1) && (s->pdpte[i] & (0x1e6 | high))) return false;
    }
    return true;
}

static void enter_host(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    load_host(c);
    x->guest = 0;
    bool ok = host_pdptes(c);
    svm_apply_context(c);
    if (!ok) virt_bare.triple_fault(c);
}

enum virt_verdict svm_exit(struct cpu *c, const struct svm_exit *e)
{
    struct event delivering = c->s.delivering;
    const struct event *original = delivering.valid && !e->no_vectoring ? &delivering : NULL;
    struct svm_state *x = svm_of(c);
    cpu_flush_flags(c);
    PROBE(c->probes, c, VM_EXIT, e->code, e->info1);
    /* An NMI whose delivery is interrupted is injected again, so it does not mask. APM 2 15.21.10 */
    if (original && original->type == EVENT_NMI && svm_vnmi(x)) x->f[VMCB_VINTR] &= ~(uint64_t)VINTR_NMI_MASK;
    uint8_t buf[VMCB_SIZE], *page = vmcb_open(c, x->vmcb, buf, true);
    save_control(c, page, e, original);
    save_guest(c, page);
    vmcb_close(c, x->vmcb, page, buf);
    enter_host(c);
    return VIRT_EXITED;
}

enum virt_verdict svm_exit_simple(struct cpu *c, uint64_t code)
{
    const struct svm_exit e = {.code = code};
    return svm_exit(c, &e);
}

void svm_exit_invalid(struct cpu *c)
{
    PROBE(c->probes, c, VM_ENTRY_FAIL, SVM_EXIT_INVALID, 0);
    struct svm_state *x = svm_of(c);
    uint8_t buf[VMCB_SIZE], *page = vmcb_open(c, x->vmcb, buf, true);
    put_code(x, page, SVM_EXIT_INVALID, 0, 0);
    vmcb_close(c, x->vmcb, page, buf);
    /* Nothing of the guest was loaded: the switches back must not happen either. */
    x->nested = x->lbr = x->spec_ctrl = 0;
    enter_host(c);
}
