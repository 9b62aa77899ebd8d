/* SPDX-License-Identifier: MIT */
/* Writes of CR0, CR3, CR4 and EFER with every check and side effect: mode switches, PDPTE loads, TLB
 * invalidation. SDM 3A 2.5, 4.1.2, 4.4.1, 4.10.4.1, 10.8.5; SDM 2B "MOV - Move to/from Control
 * Registers"; APM 2 3.1. */
#include "cpu/control.h"

#include "cpu/insn.h"
#include "cpu/mem.h"

#define CR0_WRITABLE \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | (uint64_t)CR0_PG)

static bool gp(struct cpu *c) { return cpu_raise_error(c, 13, 0); }

uint64_t cpu_cr4_valid(const struct cpu *c)
{
    static const struct {
        uint8_t feature;
        uint32_t bits;
    } rows[] = {
        {FEAT_VME, CR4_VME | CR4_PVI}, {FEAT_TSC, CR4_TSD},           {FEAT_DE, CR4_DE},
        {FEAT_PSE, CR4_PSE},           {FEAT_PAE, CR4_PAE},           {FEAT_MCE, CR4_MCE},
        {FEAT_PGE, CR4_PGE},           {FEAT_BASE, CR4_PCE},          {FEAT_FXSR, CR4_OSFXSR},
        {FEAT_SSE, CR4_OSXMMEXCPT},    {FEAT_UMIP, CR4_UMIP},         {FEAT_LA57, CR4_LA57},
        {FEAT_VMX, CR4_VMXE},          {FEAT_FSGSBASE, CR4_FSGSBASE}, {FEAT_PCID, CR4_PCIDE},
        {FEAT_XSAVE, CR4_OSXSAVE},     {FEAT_SMEP, CR4_SMEP},         {FEAT_SMAP, CR4_SMAP},
        {FEAT_PKU, CR4_PKE},           {FEAT_PKS, CR4_PKS},
    };
    uint64_t bits = 0;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].feature == FEAT_BASE || has_feature(c, rows[i].feature)) bits |= rows[i].bits;
    return bits;
}

bool cpu_nx_available(const struct cpu *c)
{
    return has_feature(c, FEAT_NX) && (c->s.misc_enable >> 34 & 1) == 0;
}

uint64_t cpu_efer_valid(const struct cpu *c)
{
    return (has_feature(c, FEAT_SYSCALL) ? EFER_SCE : 0) |
           (has_feature(c, FEAT_LM) ? EFER_LME | EFER_LMA : 0) | (cpu_nx_available(c) ? EFER_NXE : 0) |
           (has_feature(c, FEAT_SVM) ? EFER_SVME : 0) | (has_feature(c, FEAT_FFXSR) ? EFER_FFXSR : 0);
}

void cpu_update_lma(struct cpu *c)
{
    if ((c->s.cr0 & CR0_PG) != 0 && (c->s.efer & EFER_LME) != 0)
        c->s.efer |= EFER_LMA;
    else
        c->s.efer &= ~(uint64_t)EFER_LMA;
}

static bool tss_is_16bit(const struct cpu *c)
{
    unsigned type = c->s.seg[SEG_TR].ar & AR_TYPE;
    return type == 1 || type == 3;
}

static bool cr0_bits_ok(uint64_t value)
{
    if (value >> 32 != 0 || ((value & CR0_PG) != 0 && (value & CR0_PE) == 0)) return false;
    return (value & CR0_NW) == 0 || (value & CR0_CD) != 0;
}

static bool cr0_ok(const struct cpu *c, uint64_t value)
{
    if (!cr0_bits_ok(value)) return false;
    bool on = (value & ~c->s.cr0 & CR0_PG) != 0, off = (~value & c->s.cr0 & CR0_PG) != 0;
    if (on && (c->s.efer & EFER_LME) != 0 &&
        ((c->s.cr4 & CR4_PAE) == 0 || (c->s.seg[SEG_CS].ar & AR_L) != 0 || tss_is_16bit(c)))
        return false;
    return !off || !(in_64bit(c) || (c->s.cr4 & CR4_PCIDE) != 0);
}

static bool cr3_ok(const struct cpu *c, uint64_t value)
{
    uint64_t cr3 = (c->s.cr4 & CR4_PCIDE) != 0 ? value & (~UINT64_C(0) >> 1) : value;
    return !in_long_mode(c) || cr3 >> c->phys_bits == 0;
}

static bool cr4_ok(const struct cpu *c, uint64_t value)
{
    uint64_t changed = value ^ c->s.cr4;
    if ((value & ~cpu_cr4_valid(c)) != 0) return false;
    if (in_long_mode(c) && ((value & CR4_PAE) == 0 || (changed & CR4_LA57) != 0)) return false;
    return (changed & value & CR4_PCIDE) == 0 || (in_long_mode(c) && (c->s.cr3 & 0xfff) == 0);
}

bool cpu_cr_value_ok(const struct cpu *c, unsigned cr, uint64_t value)
{
    switch (cr) {
    case 0: return cr0_bits_ok(value);
    case 3: return cr3_ok(c, value);
    case 4: return cr4_ok(c, value);
    case 8: return value <= 15;
    default: return true;
    }
}

bool cpu_write_cr0(struct cpu *c, uint64_t value)
{
    uint64_t old = c->s.cr0;
    if (!cr0_ok(c, value)) return gp(c);
    value = (value & CR0_WRITABLE) | CR0_ET;
    bool on = (value & ~old & CR0_PG) != 0, off = (~value & old & CR0_PG) != 0;
    if (c->ext != NULL && c->ext->cr_write_allowed != NULL && !c->ext->cr_write_allowed(c, 0, value))
        return gp(c);
    bool pae = (value & CR0_PG) != 0 && (c->s.cr4 & CR4_PAE) != 0 && (c->s.efer & EFER_LME) == 0;
    if (pae && ((value ^ old) & (CR0_CD | CR0_NW | CR0_PG)) != 0 && !mmu_load_pdpte(c, c->s.cr3))
        return false;

    c->s.cr0 = value;
    cpu_update_lma(c);
    cpu_mode_changed(c);
    if (on || off) tlb_flush_tag(c, c->tlb_tag, false);
    PROBE(c->probes, c, CR_WRITE, 0, value);
    return true;
}

bool cpu_write_cr3(struct cpu *c, uint64_t value)
{
    bool pcide = (c->s.cr4 & CR4_PCIDE) != 0, keep = pcide && value >> 63 != 0;
    uint64_t cr3 = pcide ? value & (~UINT64_C(0) >> 1) : value;
    if (!cr3_ok(c, value)) return gp(c);
    if (c->paging_mode == PAGING_PAE && !mmu_load_pdpte(c, cr3)) return false;

    c->s.cr3 = cr3;
    mmu_update(c);
    if (!keep) tlb_flush_pcid(c, c->tlb_tag, pcide ? (uint32_t)cr3 & 0xfff : 0, true);
    PROBE(c->probes, c, CR_WRITE, 3, value);
    return true;
}

bool cpu_write_cr4(struct cpu *c, uint64_t value)
{
    uint64_t old = c->s.cr4, changed = value ^ old;
    if (!cr4_ok(c, value)) return gp(c);
    if (c->ext != NULL && c->ext->cr_write_allowed != NULL && !c->ext->cr_write_allowed(c, 4, value))
        return gp(c);
    bool pae = (c->s.cr0 & CR0_PG) != 0 && (value & CR4_PAE) != 0 && !in_long_mode(c);
    if (pae && (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) != 0 && !mmu_load_pdpte(c, c->s.cr3))
        return false;

    c->s.cr4 = value;
    cpu_mode_changed(c);
    if ((changed & (CR4_PAE | CR4_PSE | CR4_PGE)) != 0 || (changed & old & CR4_PCIDE) != 0 ||
        (changed & value & CR4_SMEP) != 0)
        tlb_flush_tag(c, c->tlb_tag, false);
    PROBE(c->probes, c, CR_WRITE, 4, value);
    return true;
}

bool cpu_write_efer(struct cpu *c, uint64_t value)
{
    uint64_t changed = value ^ c->s.efer;
    if ((value & ~cpu_efer_valid(c)) != 0) return gp(c);
    if ((changed & EFER_LME) != 0 && (c->s.cr0 & CR0_PG) != 0) return gp(c);
    if (c->ext != NULL && c->ext->efer_write_allowed != NULL && !c->ext->efer_write_allowed(c, value))
        return gp(c);

    c->s.efer = (value & ~(uint64_t)EFER_LMA) | (c->s.efer & EFER_LMA);
    cpu_mode_changed(c);
    return true;
}
