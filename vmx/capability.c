/* SPDX-License-Identifier: MIT */
/* Capability MSRs 480H-493H as a function of the CPU model: the control bits of controls.def that the model
 * has and that work here, the fixed bits of CR0 and CR4, and the EPT/VPID features; and the MSR and
 * control-register hooks of the extension that depend on them. SDM 3D app. A "VMX Capability
 * Reporting Facility"; SDM 3C 24.8 "Restrictions on VMX Operation". */
#include <string.h>

#include "cpu/msr.h"
#include "vmx/entry_checks.h"

enum { M_SKX = 1, M_ICX_BIT = 2, M_SPR_BIT = 4, M_MAX_BIT = 8 };
#define M_ALL (M_SKX | M_ICX_BIT | M_SPR_BIT | M_MAX_BIT)
#define M_ICX (M_ICX_BIT | M_SPR_BIT | M_MAX_BIT)
#define M_SPR (M_SPR_BIT | M_MAX_BIT)
#define M_MAX (M_MAX_BIT)
#define M_OLD (M_SKX | M_MAX_BIT)

const struct vmx_control_info vmx_controls[] = {
#define CONTROL(word, bit, name, models, feature, works) {W_##word, bit, models, works, feature, #name},
#include "vmx/controls.def"
#undef CONTROL
};
const unsigned vmx_control_count = sizeof vmx_controls / sizeof vmx_controls[0];

/* Bits that the plain capability MSRs report as must-be-1 (SDM 3D A.2), and which of them the TRUE MSRs
 * relax. */
static const struct {
    uint8_t word;
    uint32_t default1, relaxed;
} default1_classes[] = {
    {W_PIN, 0x00000016, 0},
    {W_PRI, 0x0401e172, PRI_CR3_LOAD_EXIT | PRI_CR3_STORE_EXIT},
    {W_EXI, 0x00036dff, EXI_SAVE_DEBUG},
    {W_ENT, 0x000011ff, ENT_LOAD_DEBUG},
};

static unsigned model_bit(const char *model)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = {{"skylake-server", M_SKX},
                 {"icelake-server", M_ICX_BIT},
                 {"sapphire-rapids", M_SPR_BIT},
                 {"max-intel", M_MAX_BIT}};
    for (unsigned i = 0; model && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i].name, model) == 0) return names[i].bit;
    return M_SKX;
}

static bool feature_set(const struct vmx_cap *cap, unsigned feature)
{
    return feature == FEAT_BASE || (cap->features[feature / 64] >> (feature % 64) & 1) != 0;
}

/* CR4_FIXED1: every bit that the processor defines. */
static uint64_t cr4_supported(const struct vmx_cap *cap)
{
    static const struct {
        uint32_t bits;
        uint16_t feature;
    } map[] = {{CR4_VME | CR4_PVI, FEAT_VME},
               {CR4_TSD, FEAT_TSC},
               {CR4_DE, FEAT_DE},
               {CR4_PSE, FEAT_PSE},
               {CR4_PAE, FEAT_PAE},
               {CR4_MCE, FEAT_MCE},
               {CR4_PGE, FEAT_PGE},
               {CR4_PCE, FEAT_BASE},
               {CR4_OSFXSR, FEAT_FXSR},
               {CR4_OSXMMEXCPT, FEAT_SSE},
               {CR4_UMIP, FEAT_UMIP},
               {CR4_LA57, FEAT_LA57},
               {CR4_VMXE, FEAT_BASE},
               {CR4_FSGSBASE, FEAT_FSGSBASE},
               {CR4_PCIDE, FEAT_PCID},
               {CR4_OSXSAVE, FEAT_XSAVE},
               {CR4_SMEP, FEAT_SMEP},
               {CR4_SMAP, FEAT_SMAP},
               {CR4_PKE, FEAT_PKU},
               {CR4_PKS, FEAT_PKS}};
    uint64_t v = 0;
    for (unsigned i = 0; i < sizeof map / sizeof map[0]; i++)
        if (feature_set(cap, map[i].feature)) v |= map[i].bits;
    return v;
}

static void set_msr(struct vmx_cap *cap, uint32_t index, uint64_t value)
{
    cap->msr[index - 0x480] = value;
    cap->present |= 1u << (index - 0x480);
}

void vmx_cap_init(struct vmx_cap *cap, const char *model, const uint64_t *features, unsigned phys_bits,
                  unsigned lin_bits)
{
    unsigned m = model_bit(model);
    memset(cap, 0, sizeof *cap);
    memcpy(cap->features, features, sizeof cap->features);
    cap->phys_bits = (uint8_t)phys_bits;
    cap->lin_bits = (uint8_t)lin_bits;
    cap->perf_global = 0x7000000ff; /* eight general, three fixed counters: state without counting */
    cap->spec_ctrl = (feature_set(cap, FEAT_SPEC_CTRL) ? 1 : 0) | (feature_set(cap, FEAT_STIBP) ? 2 : 0) |
                     (feature_set(cap, FEAT_SSBD) ? 4 : 0);
    cap->debugctl = 0x5fc3; /* LBR, BTF, TR .. FREEZE_PERFMON, FREEZE_WHILE_SMM */

    for (unsigned i = 0; i < vmx_control_count; i++) {
        const struct vmx_control_info *k = &vmx_controls[i];
        if ((k->models & m) && k->works && feature_set(cap, k->feature))
            cap->allowed1[k->word] |= UINT64_C(1) << k->bit;
    }
    /* A word whose activation bit is not there does not exist. */
    if (!(cap->allowed1[W_PRI] & PRI_SECONDARY)) cap->allowed1[W_SEC] = 0;
    if (!(cap->allowed1[W_PRI] & PRI_TERTIARY)) cap->allowed1[W_TER] = 0;
    if (!(cap->allowed1[W_EXI] & EXI_SECONDARY)) cap->allowed1[W_EXI2] = 0;
    if (!(cap->allowed1[W_SEC] & SEC_VMFUNC)) cap->allowed1[W_VMFUNC] = 0;

    static const uint16_t plain[] = {[W_PIN] = 0x481, [W_PRI] = 0x482, [W_EXI] = 0x483, [W_ENT] = 0x484};
    static const uint16_t precise[] = {[W_PIN] = 0x48d, [W_PRI] = 0x48e, [W_EXI] = 0x48f, [W_ENT] = 0x490};
    for (unsigned i = 0; i < sizeof default1_classes / sizeof default1_classes[0]; i++) {
        unsigned w = default1_classes[i].word;
        uint32_t d1 = default1_classes[i].default1;
        cap->allowed1[w] |= d1;
        cap->allowed0[w] = d1 & ~default1_classes[i].relaxed;
        set_msr(cap, plain[w], cap->allowed1[w] << 32 | d1);
        set_msr(cap, precise[w], cap->allowed1[w] << 32 | cap->allowed0[w]);
    }

    /* 480H: revision, 4096-byte regions, write-back, INS/OUTS information, TRUE MSRs; from Sapphire Rapids on
     * any error-code choice is accepted for injected hardware exceptions (bit 56). */
    uint64_t basic = (UINT64_C(0x15) + m) | (uint64_t)VMCS_REGION_SIZE << 32 | UINT64_C(6) << 50 |
                     UINT64_C(1) << 54 | UINT64_C(1) << 55;
    if (m & M_SPR) basic |= UINT64_C(1) << 56;
    set_msr(cap, 0x480, basic);
    /* 485H: timer rate 2^5, EFER.LMA stored, HLT / shutdown / wait-for-SIPI, 4 CR3 targets, VMWRITE to any
     * field, injection with length 0. */
    set_msr(cap, 0x485, 5 | 0x1e0 | 4u << 16 | 1u << 29 | 1u << 30);
    set_msr(cap, 0x486, CR0_PG | CR0_NE | CR0_PE);
    set_msr(cap, 0x487, 0xffffffff);
    set_msr(cap, 0x488, CR4_VMXE);
    set_msr(cap, 0x489, cr4_supported(cap));
    if (cap->allowed1[W_PRI] & PRI_SECONDARY) set_msr(cap, 0x48b, cap->allowed1[W_SEC] << 32);
    if (cap->allowed1[W_SEC] & (SEC_EPT | SEC_VPID)) {
        uint64_t v = 0;
        if (cap->allowed1[W_SEC] & SEC_EPT) {
            v |= 0x06734141; /* execute-only, 4 levels, UC and WB, 2M, 1G, INVEPT, A/D, exit info */
            if (m & M_ICX) v |= 1u << 7; /* 5 levels */
        }
        if (cap->allowed1[W_TER] & TER_HLAT) v |= UINT64_C(52) << 48; /* longest prefix */
        if (cap->allowed1[W_SEC] & SEC_VPID) v |= UINT64_C(0xf01) << 32;
        set_msr(cap, 0x48c, v);
    }
    if (cap->allowed1[W_SEC] & SEC_VMFUNC) set_msr(cap, 0x491, cap->allowed1[W_VMFUNC]);
    if (cap->allowed1[W_PRI] & PRI_TERTIARY) set_msr(cap, 0x492, cap->allowed1[W_TER]);
    if (cap->allowed1[W_EXI] & EXI_SECONDARY) set_msr(cap, 0x493, cap->allowed1[W_EXI2]);

    /* 48AH: the highest index of any field that VMREAD accepts. */
    unsigned highest = 0;
    for (int f = 0; f < F_COUNT; f++) {
        unsigned index = vmcs_fields[f].encoding >> 1 & 0x1ff;
        if (vmcs_field_exists(cap, f) && index > highest) highest = index;
    }
    set_msr(cap, 0x48a, (uint64_t)highest << 1);
    vmx_check_index(cap);
}

bool vmx_cap_allows(const struct vmx_cap *cap, enum vmx_word word, uint64_t bit_mask)
{
    return (cap->allowed1[word] & bit_mask) == bit_mask;
}

bool vmx_canonical(unsigned bits, uint64_t address)
{
    uint64_t top = (uint64_t)((int64_t)address >> (bits - 1));
    return top == 0 || top == ~UINT64_C(0);
}

/* IA32_SPEC_CTRL with "virtualize IA32_SPEC_CTRL": the guest sees the shadow and changes only the bits of the
 * register that the mask leaves to it. MSR lists see the register. SDM 3C 26.3 */
enum { MSR_IA32_SPEC_CTRL = 0x48 };
static bool spec_ctrl_virtual(const struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    return x->mode == VMX_NONROOT && c->virt != &vmx_root_ops && (x->eff.ter & TER_SPEC_CTRL);
}
static int spec_ctrl_read(struct cpu *c, uint64_t *value)
{
    if (!spec_ctrl_virtual(c)) return 0;
    *value = vmx_of(c)->vmcs.f[F_SPEC_CTRL_SHADOW];
    return 1;
}
static int spec_ctrl_write(struct cpu *c, uint64_t value)
{
    struct vmx_state *x = vmx_of(c);
    if (!spec_ctrl_virtual(c)) return 0;
    if (value & ~x->cap.spec_ctrl) return -1;
    uint64_t mask = x->vmcs.f[F_SPEC_CTRL_MASK], *msr = &c->s.msr_file[MSR_SLOT_SPEC_CTRL];
    *msr = (*msr & mask) | (value & ~mask);
    vmcs_set(x, F_SPEC_CTRL_SHADOW, value);
    return 1;
}

int vmx_msr_read(struct cpu *c, uint32_t index, uint64_t *value)
{
    const struct vmx_cap *cap = &vmx_of(c)->cap;
    if (!has_feature(c, FEAT_VMX)) return 0;
    if ((index >> 8) == 8) return vmx_x2apic_read(c, index, value);
    if (index == MSR_IA32_SPEC_CTRL) return spec_ctrl_read(c, value);
    if (index < 0x480 || index > 0x493) return 0;
    if (!(cap->present >> (index - 0x480) & 1)) return -1;
    *value = cap->msr[index - 0x480];
    return 1;
}

int vmx_msr_write(struct cpu *c, uint32_t index, uint64_t value)
{
    if (!has_feature(c, FEAT_VMX)) return 0;
    if ((index >> 8) == 8) return vmx_x2apic_write(c, index, value);
    if (index == MSR_IA32_SPEC_CTRL) return spec_ctrl_write(c, value);
    return index >= 0x480 && index <= 0x493 ? -1 : 0;
}

/* Fixed bits while in VMX operation, and VMXE itself. SDM 3C 24.8. */
bool vmx_cr_write_allowed(struct cpu *c, int cr, uint64_t value)
{
    const struct vmx_state *x = vmx_of(c);
    if (x->mode == VMX_OFF) return cr != 4 || !(value & CR4_VMXE) || has_feature(c, FEAT_VMX);
    uint64_t fixed0 = vmx_cap_msr(&x->cap, cr == 0 ? 0x486 : 0x488);
    uint64_t fixed1 = vmx_cap_msr(&x->cap, cr == 0 ? 0x487 : 0x489);
    if (cr == 0 && x->mode == VMX_NONROOT && (x->eff.sec & SEC_UNRESTRICTED))
        fixed0 &= ~(uint64_t)(CR0_PE | CR0_PG);
    return cr != 0 && cr != 4 ? true : (value & fixed0) == fixed0 && (value & ~fixed1) == 0;
}
