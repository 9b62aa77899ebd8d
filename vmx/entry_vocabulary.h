/* SPDX-License-Identifier: MIT */
/* The words in which entry_checks.def and entry_allowed.def are written: fields, effective controls, the
 * event to inject, guest segments. `k` is the struct vmx_check at hand. SDM 3C 27.2, 27.3.1. */
#ifndef UV_VMX_ENTRY_VOCABULARY_H
#define UV_VMX_ENTRY_VOCABULARY_H

#include "vmx/entry_checks.h"

#define V(name) (k->f[F_##name])
#define PIN(name) ((k->e.pin & PIN_##name) != 0)
#define PRI(name) ((k->e.pri & PRI_##name) != 0)
#define SEC(name) ((k->e.sec & SEC_##name) != 0)
#define TER(name) ((k->e.ter & TER_##name) != 0)
#define EXI(name) ((k->e.exi & EXI_##name) != 0)
#define EXI2(name) ((k->e.exi2 & EXI2_##name) != 0)
#define ENT(name) ((k->e.ent & ENT_##name) != 0)
#define FUNC(name) ((k->e.vmfunc & VMFUNC_##name) != 0)
#define BIT(value, bit) (((value) & (bit)) != 0)

enum { DEBUGCTL_BTF = 2 };

static inline bool word_ok(const struct vmx_check *k, enum vmx_word word, uint64_t value)
{
    uint64_t must = k->cap->allowed0[word];
    return (value & must) == must && (value & ~k->cap->allowed1[word]) == 0;
}

static inline bool page_ok(const struct vmx_check *k, uint64_t address)
{
    return (address & 0xfff) == 0 && vmx_width_ok(k->cap, address);
}

/* Last byte of an MSR area, computed without wrap. */
static inline bool area_ok(const struct vmx_check *k, uint64_t address, uint64_t count)
{
    uint64_t last = address + 16 * count - 1;
    return count == 0 || (last >= address && vmx_width_ok(k->cap, last));
}

static inline bool canonical(const struct vmx_check *k, uint64_t address)
{
    return vmx_canonical(k->cap->lin_bits, address);
}

/* index: 486H or 488H. `ignored` bits are not looked at, `relaxed` need not be 1. */
static inline bool fixed_ok(const struct vmx_check *k, uint32_t index, uint64_t value, uint64_t ignored,
                            uint64_t relaxed)
{
    uint64_t fixed0 = vmx_cap_msr(k->cap, index) & ~(ignored | relaxed);
    uint64_t fixed1 = vmx_cap_msr(k->cap, index + 1) | ignored;
    return (value & fixed0) == fixed0 && (value & ~fixed1) == 0;
}

static inline bool pat_ok(uint64_t pat)
{
    for (int i = 0; i < 8; i++) {
        uint8_t type = (uint8_t)(pat >> (8 * i));
        if (type > 7 || type == 2 || type == 3) return false;
    }
    return true;
}

static inline bool cap_feature(const struct vmx_check *k, unsigned feature)
{
    return (k->cap->features[feature / 64] >> (feature % 64) & 1) != 0;
}

static inline uint64_t efer_defined(const struct vmx_check *k)
{
    uint64_t defined = 0;
    if (cap_feature(k, FEAT_SYSCALL)) defined |= EFER_SCE;
    if (cap_feature(k, FEAT_LM)) defined |= EFER_LME | EFER_LMA;
    if (cap_feature(k, FEAT_NX)) defined |= EFER_NXE;
    return defined;
}
static inline bool efer_ok(const struct vmx_check *k, uint64_t efer)
{
    return (efer & ~efer_defined(k)) == 0;
}

static inline unsigned vtpr_class(const struct vmx_check *k)
{
    if (!k->read) return 15;
    return (unsigned)(k->read(k->opaque, V(VIRTUAL_APIC_ADDR) + 0x80, 1) >> 4 & 15);
}

/* The event to inject. */
static inline bool inj(const struct vmx_check *k) { return (V(ENTRY_INTR_INFO) & INFO_VALID) != 0; }
static inline unsigned inj_type(const struct vmx_check *k)
{
    return (unsigned)(V(ENTRY_INTR_INFO) >> INFO_TYPE_SHIFT & 7);
}
static inline unsigned inj_vector(const struct vmx_check *k)
{
    return (unsigned)(V(ENTRY_INTR_INFO) & INFO_VECTOR);
}
static inline bool inj_is(const struct vmx_check *k, unsigned type) { return inj(k) && inj_type(k) == type; }
static inline bool inj_error(const struct vmx_check *k)
{
    return inj(k) && (V(ENTRY_INTR_INFO) & INFO_ERROR);
}
static inline bool inj_soft(const struct vmx_check *k)
{
    return inj(k) && inj_type(k) >= EVENT_SW_INT && inj_type(k) <= EVENT_SW_EXCEPTION;
}
static inline bool vector_has_error(unsigned vector)
{
    return vector < 32 && (UINT32_C(0x27d00) >> vector & 1) != 0;
}
/* Protected mode as the injection checks see it: PE counts only with unrestricted guest. */
static inline bool guest_pe(const struct vmx_check *k)
{
    return !SEC(UNRESTRICTED) || (V(GUEST_CR0) & CR0_PE);
}
static inline bool hlt_event(const struct vmx_check *k)
{
    unsigned type = inj_type(k), vector = inj_vector(k);
    return type == EVENT_EXTINT || type == EVENT_NMI || (type == EVENT_OTHER && vector == 0) ||
           (type == EVENT_HW_EXCEPTION && (vector == 1 || vector == 18));
}

/* Guest segments: the fields stand in the order of enum seg_id. */
static inline uint64_t sel(const struct vmx_check *k, unsigned s) { return k->f[F_GUEST_ES_SELECTOR + s]; }
static inline uint64_t base_of(const struct vmx_check *k, unsigned s) { return k->f[F_GUEST_ES_BASE + s]; }
static inline uint64_t lim(const struct vmx_check *k, unsigned s) { return k->f[F_GUEST_ES_LIMIT + s]; }
static inline uint64_t ar(const struct vmx_check *k, unsigned s) { return k->f[F_GUEST_ES_AR + s]; }
static inline bool usable(const struct vmx_check *k, unsigned s) { return !(ar(k, s) & AR_UNUSABLE); }
static inline unsigned type(const struct vmx_check *k, unsigned s) { return (unsigned)(ar(k, s) & AR_TYPE); }
static inline unsigned dpl(const struct vmx_check *k, unsigned s)
{
    return (unsigned)(ar(k, s) >> AR_DPL_SHIFT & 3);
}
static inline bool v86(const struct vmx_check *k) { return (V(GUEST_RFLAGS) & FL_VM) != 0; }
static inline bool g0_ok(const struct vmx_check *k, unsigned s)
{
    return (lim(k, s) & 0xfff) == 0xfff || !(ar(k, s) & AR_G);
}
static inline bool g1_ok(const struct vmx_check *k, unsigned s)
{
    return (lim(k, s) >> 20) == 0 || (ar(k, s) & AR_G);
}

/* RIP[63:N] all equal, N the widest linear address: bit N-1 may differ (SDM 3C 27.3.1.4). */
static inline bool rip_bits_ok(const struct vmx_check *k)
{
    uint64_t top = V(GUEST_RIP) >> k->cap->lin_bits;
    return top == 0 || top == ~UINT64_C(0) >> k->cap->lin_bits;
}

static inline bool bs_rule(const struct vmx_check *k)
{
    return (V(GUEST_INTERRUPTIBILITY) & (INTR_STI | INTR_MOVSS)) || V(GUEST_ACTIVITY) == ACTIVITY_HLT;
}
static inline bool single_step(const struct vmx_check *k)
{
    return (V(GUEST_RFLAGS) & FL_TF) && !(V(GUEST_DEBUGCTL) & DEBUGCTL_BTF);
}

static inline bool has_link(const struct vmx_check *k) { return V(VMCS_LINK) != VMCS_NONE; }
static inline bool link_region_ok(const struct vmx_check *k)
{
    if (!k->read || !page_ok(k, V(VMCS_LINK))) return true; /* the rows before speak of the address */
    uint32_t first = (uint32_t)k->read(k->opaque, V(VMCS_LINK), 4);
    return (first & ~VMCS_SHADOW) == vmx_revision(k->cap) &&
           ((first & VMCS_SHADOW) != 0) == SEC(VMCS_SHADOWING);
}

#endif
