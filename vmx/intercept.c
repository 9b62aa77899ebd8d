/* SPDX-License-Identifier: MIT */
/* Instructions that cause VM exits: one table from neutral intercept id to control bit, exit reason and the
 * builder that decides finally and fills qualification and instruction information. Control-register
 * views and masks. SDM 3C 26.1, 26.2, 26.3; 28.2.1, 28.2.5. */
#include <string.h>

#include "cpu/event.h"
#include "cpu/mem.h"
#include "vmx/vmx.h"

/* What is left to decide after the control bit, and what the exit reports. False: no exit. */
typedef bool build_fn(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e);

/* ---- instruction information (SDM 3C 28.2.5) ---- */

static uint32_t address_size_code(const struct insn *i) { return i->asize == 2 ? 0 : i->asize == 4 ? 1 : 2; }

static uint32_t memory_info(const struct insn *i)
{
    uint32_t v = address_size_code(i) << 7 | (uint32_t)i->seg << 15;
    if (i->index < REG_ZERO)
        v |= (uint32_t)i->scale | (uint32_t)i->index << 18;
    else
        v |= 1u << 22;
    if (i->base < REG_ZERO)
        v |= (uint32_t)i->base << 23;
    else
        v |= 1u << 27;
    return v;
}

uint64_t vmx_displacement(struct cpu *c, const struct insn *i)
{
    if (!i->is_mem) return 0;
    uint64_t disp = (uint64_t)(int64_t)i->disp;
    return i->base == REG_RIP ? disp + c->s.gpr[REG_RIP] + i->length : disp;
}

/* ---- builders ---- */

static bool build_plain(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    (void)c, (void)id, (void)info, (void)e;
    return true;
}

static bool build_cr_read(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    uint32_t pri = vmx_of(c)->eff.pri;
    (void)id;
    if (!(info->number == 3 && (pri & PRI_CR3_STORE_EXIT)) &&
        !(info->number == 8 && (pri & PRI_CR8_STORE_EXIT)))
        return false;
    e->qualification = info->number | 1u << 4 | info->gpr << 8;
    return true;
}

static bool build_cr_write(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    const struct vmx_state *x = vmx_of(c);
    const uint64_t *f = x->vmcs.f;
    bool hit = false;
    (void)id;
    switch (info->number) {
    case 0: hit = ((info->value ^ f[F_CR0_SHADOW]) & f[F_CR0_MASK]) != 0; break;
    case 4: hit = ((info->value ^ f[F_CR4_SHADOW]) & f[F_CR4_MASK]) != 0; break;
    case 3:
        hit = (x->eff.pri & PRI_CR3_LOAD_EXIT) != 0;
        for (unsigned i = 0; i < f[F_CR3_TARGET_COUNT] && i < 4; i++)
            if (info->value == f[F_CR3_TARGET0 + i]) hit = false;
        break;
    case 8: hit = (x->eff.pri & PRI_CR8_LOAD_EXIT) != 0; break;
    default: break;
    }
    e->qualification = info->number | info->gpr << 8;
    return hit;
}

static bool build_clts(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    const uint64_t *f = vmx_of(c)->vmcs.f;
    (void)id, (void)info;
    e->qualification = 2u << 4;
    return (f[F_CR0_MASK] & f[F_CR0_SHADOW] & CR0_TS) != 0;
}

static bool build_lmsw(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    const uint64_t *f = vmx_of(c)->vmcs.f;
    uint64_t mask = f[F_CR0_MASK], shadow = f[F_CR0_SHADOW];
    bool memory = (info->flags & ICPT_F_MEM) != 0;
    (void)id;
    e->qualification = 3u << 4 | (uint32_t)memory << 6 | (info->value & 0xffff) << 16;
    if (memory) e->linear = info->address;
    return (mask & info->value & ~shadow & CR0_PE) || (mask & (info->value ^ shadow) & 0xe);
}

static bool build_dr(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    (void)c;
    e->qualification = info->number | (id == ICPT_DR_READ ? 1u << 4 : 0) | info->gpr << 8;
    return true;
}

static bool build_io(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    const struct vmx_state *x = vmx_of(c);
    uint32_t port = info->number & 0xffff, size = info->size;
    (void)id;
    if (x->eff.pri & PRI_IO_BITMAPS) {
        bool hit = port + size > 0x10000; /* wraps */
        for (uint32_t p = port; !hit && p < port + size; p++) {
            uint64_t page = x->vmcs.f[p & 0x8000 ? F_IO_BITMAP_B : F_IO_BITMAP_A];
            hit = (phys_read(c, page + ((p & 0x7fff) >> 3), 1) >> (p & 7) & 1) != 0;
        }
        if (!hit) return false;
    }
    e->qualification = (size - 1) | (info->flags & ICPT_F_IN ? 8u : 0) |
                       (info->flags & ICPT_F_STRING ? 16u : 0) | (info->flags & ICPT_F_REP ? 32u : 0) |
                       (info->flags & ICPT_F_IMM ? 64u : 0) | port << 16;
    if (info->flags & ICPT_F_STRING) {
        e->linear = info->address;
        if (info->insn) {
            e->insn_info = address_size_code(info->insn) << 7;
            if (!(info->flags & ICPT_F_IN)) e->insn_info |= (uint32_t)info->insn->seg << 15;
        }
    }
    return true;
}

static bool build_msr(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    const struct vmx_state *x = vmx_of(c);
    uint32_t msr = info->number, at = id == ICPT_WRMSR ? 0x800 : 0;
    (void)e;
    if (!(x->eff.pri & PRI_MSR_BITMAPS)) return true;
    if (msr >= 0xc0000000 && msr <= 0xc0001fff)
        at += 0x400;
    else if (msr > 0x1fff)
        return true;
    uint64_t byte = phys_read(c, x->vmcs.f[F_MSR_BITMAP] + at + ((msr & 0x1fff) >> 3), 1);
    return (byte >> (msr & 7) & 1) != 0;
}

/* PAUSE exiting at any CPL, else PAUSE-loop exiting at CPL 0. SDM 3C 26.1.3 */
static bool build_pause(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    struct vmx_state *x = vmx_of(c);
    (void)id, (void)info, (void)e;
    if (x->eff.pri & PRI_PAUSE_EXIT) return true;
    if (!(x->eff.sec & SEC_PAUSE_LOOP) || c->s.cpl != 0) return false;
    uint64_t now = vmx_physical_tsc(c), last = x->ple_last;
    x->ple_last = now;
    if (last == 0 || now - last > x->vmcs.f[F_PLE_GAP]) {
        x->ple_first = now;
        return false;
    }
    return now - x->ple_first > x->vmcs.f[F_PLE_WINDOW];
}

static bool build_wbinvd(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    (void)c, (void)id;
    e->qualification = info->insn && info->insn->rep == 0xf3 && has_feature(c, FEAT_WBNOINVD);
    return true;
}

static bool build_invlpg(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    (void)c, (void)id;
    e->qualification = info->address;
    return true;
}

static bool build_invpcid(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    (void)id;
    if (!info->insn) return true;
    e->qualification = vmx_displacement(c, info->insn);
    e->insn_info = memory_info(info->insn) | (uint32_t)info->insn->reg << 28;
    return true;
}

static bool build_mwait(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    (void)id, (void)info;
    e->qualification = c->s.monitor.armed != 0;
    return true;
}

static bool build_random(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    (void)c, (void)id;
    const struct insn *i = info->insn;
    if (i) e->insn_info = (uint32_t)i->rm << 3 | (i->opsize == 2 ? 0u : i->opsize == 4 ? 1u : 2u) << 11;
    return true;
}

static bool build_xsaves(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    (void)id;
    if (!(info->value & c->s.xss & vmx_of(c)->vmcs.f[F_XSS_EXIT_BITMAP])) return false;
    if (!info->insn) return true;
    e->qualification = vmx_displacement(c, info->insn);
    e->insn_info = memory_info(info->insn);
    return true;
}

static bool build_gdtr_idtr(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    if (!info->insn) return true;
    const struct insn *i = info->insn;
    uint32_t identity = id == ICPT_SGDT ? 0 : id == ICPT_SIDT ? 1 : id == ICPT_LGDT ? 2 : 3;
    bool wide = in_64bit(c) || ((c->s.seg[SEG_CS].ar & AR_DB) != 0) != (i->opsize_prefix != 0);
    e->qualification = vmx_displacement(c, i);
    e->insn_info = memory_info(i) | (wide ? 1u << 11 : 0) | identity << 28;
    return true;
}

static bool build_ldtr_tr(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    if (!info->insn) return true;
    const struct insn *i = info->insn;
    uint32_t identity = id == ICPT_SLDT ? 0 : id == ICPT_STR ? 1 : id == ICPT_LLDT ? 2 : 3;
    e->qualification = vmx_displacement(c, i);
    e->insn_info = (i->is_mem ? memory_info(i) : 1u << 10 | (uint32_t)i->rm << 3) | identity << 28;
    return true;
}

static bool build_umwait(struct cpu *c, enum icpt id, const struct icpt_info *info, struct vmx_exit *e)
{
    (void)c, (void)id;
    if (!info->insn) return true;
    if (info->insn->row->pfx == PFX_P66) e->reason = REASON_TPAUSE;
    e->insn_info = (uint32_t)info->insn->rm << 3;
    return true;
}

/* ---- the table ---- */

enum condition { NEVER, ALWAYS, IF_PRI, IF_SEC };

static const struct {
    uint8_t when;
    uint32_t control;   /* PRI_ or SEC_ bits, any of which arms the id */
    uint32_t needs_sec; /* the instruction is #UD in non-root without this secondary control */
    uint16_t reason;
    build_fn *build;
} table[ICPT_COUNT] = {
    [ICPT_CR_READ] = {IF_PRI, PRI_CR3_STORE_EXIT | PRI_CR8_STORE_EXIT, 0, REASON_CR_ACCESS, build_cr_read},
    [ICPT_CR_WRITE] = {ALWAYS, 0, 0, REASON_CR_ACCESS, build_cr_write},
    [ICPT_CLTS] = {ALWAYS, 0, 0, REASON_CR_ACCESS, build_clts},
    [ICPT_LMSW] = {ALWAYS, 0, 0, REASON_CR_ACCESS, build_lmsw},
    [ICPT_DR_READ] = {IF_PRI, PRI_MOV_DR_EXIT, 0, REASON_MOV_DR, build_dr},
    [ICPT_DR_WRITE] = {IF_PRI, PRI_MOV_DR_EXIT, 0, REASON_MOV_DR, build_dr},
    [ICPT_IO] = {IF_PRI, PRI_IO_EXIT | PRI_IO_BITMAPS, 0, REASON_IO, build_io},
    [ICPT_RDMSR] = {ALWAYS, 0, 0, REASON_RDMSR, build_msr},
    [ICPT_WRMSR] = {ALWAYS, 0, 0, REASON_WRMSR, build_msr},
    [ICPT_CPUID] = {ALWAYS, 0, 0, REASON_CPUID, build_plain},
    [ICPT_HLT] = {IF_PRI, PRI_HLT_EXIT, 0, REASON_HLT, build_plain},
    [ICPT_INVD] = {ALWAYS, 0, 0, REASON_INVD, build_plain},
    [ICPT_WBINVD] = {IF_SEC, SEC_WBINVD_EXIT, 0, REASON_WBINVD, build_wbinvd},
    [ICPT_INVLPG] = {IF_PRI, PRI_INVLPG_EXIT, 0, REASON_INVLPG, build_invlpg},
    [ICPT_INVPCID] = {IF_PRI, PRI_INVLPG_EXIT, SEC_INVPCID, REASON_INVPCID, build_invpcid},
    [ICPT_RDPMC] = {IF_PRI, PRI_RDPMC_EXIT, 0, REASON_RDPMC, build_plain},
    [ICPT_RDTSC] = {IF_PRI, PRI_RDTSC_EXIT, 0, REASON_RDTSC, build_plain},
    [ICPT_RDTSCP] = {IF_PRI, PRI_RDTSC_EXIT, SEC_RDTSCP, REASON_RDTSCP, build_plain},
    [ICPT_RDPID] = {NEVER, 0, SEC_RDTSCP, 0, NULL},
    [ICPT_MONITOR] = {IF_PRI, PRI_MONITOR_EXIT, 0, REASON_MONITOR, build_plain},
    [ICPT_MWAIT] = {IF_PRI, PRI_MWAIT_EXIT, 0, REASON_MWAIT, build_mwait},
    [ICPT_RDRAND] = {IF_SEC, SEC_RDRAND_EXIT, 0, REASON_RDRAND, build_random},
    [ICPT_RDSEED] = {IF_SEC, SEC_RDSEED_EXIT, 0, REASON_RDSEED, build_random},
    [ICPT_XSETBV] = {ALWAYS, 0, 0, REASON_XSETBV, build_plain},
    [ICPT_XSAVES] = {ALWAYS, 0, SEC_XSAVES, REASON_XSAVES, build_xsaves},
    [ICPT_XRSTORS] = {ALWAYS, 0, SEC_XSAVES, REASON_XRSTORS, build_xsaves},
    [ICPT_SGDT] = {IF_SEC, SEC_DESC_TABLE_EXIT, 0, REASON_GDTR_IDTR, build_gdtr_idtr},
    [ICPT_SIDT] = {IF_SEC, SEC_DESC_TABLE_EXIT, 0, REASON_GDTR_IDTR, build_gdtr_idtr},
    [ICPT_LGDT] = {IF_SEC, SEC_DESC_TABLE_EXIT, 0, REASON_GDTR_IDTR, build_gdtr_idtr},
    [ICPT_LIDT] = {IF_SEC, SEC_DESC_TABLE_EXIT, 0, REASON_GDTR_IDTR, build_gdtr_idtr},
    [ICPT_SLDT] = {IF_SEC, SEC_DESC_TABLE_EXIT, 0, REASON_LDTR_TR, build_ldtr_tr},
    [ICPT_STR] = {IF_SEC, SEC_DESC_TABLE_EXIT, 0, REASON_LDTR_TR, build_ldtr_tr},
    [ICPT_LLDT] = {IF_SEC, SEC_DESC_TABLE_EXIT, 0, REASON_LDTR_TR, build_ldtr_tr},
    [ICPT_LTR] = {IF_SEC, SEC_DESC_TABLE_EXIT, 0, REASON_LDTR_TR, build_ldtr_tr},
    [ICPT_GETSEC] = {ALWAYS, 0, 0, REASON_GETSEC, build_plain},
    [ICPT_UMWAIT] = {IF_PRI, PRI_RDTSC_EXIT, SEC_USER_WAIT, REASON_UMWAIT, build_umwait},
    /* PAUSE: two controls in two words, see vmx_arm_intercepts. */
    [ICPT_PAUSE] = {IF_PRI, PRI_PAUSE_EXIT, 0, REASON_PAUSE, build_pause},
};

static void set_bit(uint64_t *words, unsigned bit) { words[bit / 64] |= UINT64_C(1) << (bit % 64); }

static void compute_armed(struct vmx_state *x)
{
    memset(x->armed, 0, sizeof x->armed);
    for (unsigned id = 0; id < ICPT_COUNT; id++) {
        bool armed = table[id].when == ALWAYS ||
                     (table[id].when == IF_PRI && (x->eff.pri & table[id].control)) ||
                     (table[id].when == IF_SEC && (x->eff.sec & table[id].control));
        if (id == ICPT_PAUSE && (x->eff.sec & SEC_PAUSE_LOOP)) armed = true;
        if (armed) set_bit(x->armed[0], id);
        if (table[id].needs_sec && !(x->eff.sec & table[id].needs_sec)) set_bit(x->armed[1], id);
    }
    x->armed_pri = x->eff.pri;
    x->armed_sec = x->eff.sec;
}

void vmx_arm_intercepts(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    if (x->mode != VMX_NONROOT) {
        memset(c->icpt_armed, 0, sizeof c->icpt_armed);
        memset(c->icpt_undefined, 0, sizeof c->icpt_undefined);
        return;
    }
    if (x->armed_pri != x->eff.pri || x->armed_sec != x->eff.sec) compute_armed(x);
    memcpy(c->icpt_armed, x->armed[0], sizeof c->icpt_armed);
    memcpy(c->icpt_undefined, x->armed[1], sizeof c->icpt_undefined);
}

enum virt_verdict vmx_intercept(struct cpu *c, enum icpt id, const struct icpt_info *info)
{
    struct vmx_exit e = {.reason = table[id].reason, .rf = RF_CLEAR};
    if (!table[id].build || !table[id].build(c, id, info, &e)) return VIRT_CONTINUE;
    if (info->insn) e.insn_length = info->insn->length;
    return vmx_exit(c, &e);
}

enum virt_verdict vmx_exit_insn(struct cpu *c, uint32_t reason, const struct insn *i)
{
    struct vmx_exit e = {.reason = reason, .rf = RF_CLEAR, .insn_length = i->length};
    switch (reason) {
    case REASON_VMREAD:
    case REASON_VMWRITE:
        e.insn_info = (i->is_mem ? memory_info(i) : 1u << 10 | (uint32_t)i->rm << 3) | (uint32_t)i->reg << 28;
        e.qualification = vmx_displacement(c, i);
        break;
    case REASON_INVEPT:
    case REASON_INVVPID:
        e.insn_info = memory_info(i) | (uint32_t)i->reg << 28;
        e.qualification = vmx_displacement(c, i);
        break;
    case REASON_VMCLEAR:
    case REASON_VMPTRLD:
    case REASON_VMPTRST:
    case REASON_VMXON:
        e.insn_info = memory_info(i);
        e.qualification = vmx_displacement(c, i);
        break;
    default: break;
    }
    return vmx_exit(c, &e);
}

/* ---- control registers ---- */

uint64_t vmx_cr_view(struct cpu *c, int cr)
{
    const uint64_t *f = vmx_of(c)->vmcs.f;
    switch (cr) {
    case 0: return (c->s.cr0 & ~f[F_CR0_MASK]) | (f[F_CR0_SHADOW] & f[F_CR0_MASK]);
    case 4: return (c->s.cr4 & ~f[F_CR4_MASK]) | (f[F_CR4_SHADOW] & f[F_CR4_MASK]);
    default: return vmx_cr8_read(c);
    }
}

uint64_t vmx_cr_merge(struct cpu *c, int cr, uint64_t value)
{
    const uint64_t *f = vmx_of(c)->vmcs.f;
    if (cr == 0) return (c->s.cr0 & f[F_CR0_MASK]) | (value & ~f[F_CR0_MASK]);
    return (c->s.cr4 & f[F_CR4_MASK]) | (value & ~f[F_CR4_MASK]);
}
