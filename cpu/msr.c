/* SPDX-License-Identifier: MIT */
/* RDMSR and WRMSR behind the instruction: which registers exist on this model, what they hold, which values
 * are #GP(0). SDM 4 ch. 2, SDM 3A 12.11 (MTRRs), 12.12 (PAT), 16.3 (machine check), 18.17 (TSC); APM 2 app.
 * A. */
#include "cpu/msr.h"

#include "cpu/control.h"
#include "cpu/event.h"
#include "cpu/insn.h"
#include "cpu/mem.h"
#include "cpu/xstate.h"

enum { MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800, MSR_X2APIC_LAST = 0x8ff };
enum { HWCR_MC_STATUS_WR = 1 << 18, HWCR_SMM_LOCK = 1 };

struct msr_row;
/* i: index relative to the row's first register. False: #GP(0). */
typedef bool msr_read_fn(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t *v);
typedef bool msr_write_fn(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t v);

struct msr_row {
    const char *name;
    uint32_t first, count;
    uint16_t slot;
    uint8_t vendor, feature;
    uint64_t reset, mask;
    msr_read_fn *read;
    msr_write_fn *write;
};

static bool intel(const struct cpu *c) { return c->model->vendor == VENDOR_INTEL; }
static uint64_t *slot(struct cpu *c, const struct msr_row *row, uint32_t i)
{
    return &c->s.msr_file[row->slot + i];
}

/* --- Kinds --- */

static bool read_STORE(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t *v)
{
    *v = *slot(c, row, i);
    return true;
}
static bool write_STORE(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t v)
{
    if ((v & ~row->mask) != 0) return false;
    *slot(c, row, i) = v;
    return true;
}
#define read_CANON read_STORE
static bool write_CANON(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t v)
{
    return mem_canonical(c, v) && write_STORE(c, row, i, v);
}
static bool read_CONST(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t *v)
{
    (void)c, (void)i;
    *v = row->reset;
    return true;
}
static bool write_CONST(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t v)
{
    (void)c, (void)row, (void)i, (void)v;
    return false;
}
#define read_DROP read_CONST
static bool write_DROP(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t v)
{
    (void)c, (void)row, (void)i, (void)v;
    return true;
}
static bool read_WONLY(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t *v)
{
    (void)c, (void)row, (void)i, (void)v;
    return false;
}
static bool write_WONLY(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t v)
{
    (void)c, (void)i;
    return (v & ~row->mask) == 0;
}

#define READ(name)                                                                            \
    static bool read_##name(struct cpu *c, const struct msr_row *row __attribute__((unused)), \
                            uint32_t i __attribute__((unused)), uint64_t *v)
#define WRITE(name)                                                                            \
    static bool write_##name(struct cpu *c, const struct msr_row *row __attribute__((unused)), \
                             uint32_t i __attribute__((unused)), uint64_t v)
/* A register that is a member of struct cpu_state and takes the values for which `ok` holds. */
#define FIELD(name, member, ok)  \
    READ(name)                   \
    {                            \
        *v = c->s.member;        \
        return true;             \
    }                            \
    WRITE(name)                  \
    {                            \
        if (!(ok)) return false; \
        c->s.member = v;         \
        return true;             \
    }

/* --- Time --- */

static void tsc_changed(struct cpu *c)
{
    if (c->bus->tsc_changed != NULL) c->bus->tsc_changed(c->bus->opaque, c->id);
}
READ(TSC)
{
    *v = cpu_sample_tsc(c);
    return true;
}
WRITE(TSC)
{
    uint64_t step = v - cpu_read_tsc(c);
    c->s.tsc_base += step;
    if (has_feature(c, FEAT_TSC_ADJUST)) c->s.tsc_adjust += step;
    tsc_changed(c);
    return true;
}
READ(TSC_ADJUST)
{
    *v = c->s.tsc_adjust;
    return true;
}
WRITE(TSC_ADJUST)
{
    c->s.tsc_base += v - c->s.tsc_adjust;
    c->s.tsc_adjust = v;
    tsc_changed(c);
    return true;
}

/* --- Features and speculation control --- */

enum { FC_LOCK = 1, FC_VMX_IN_SMX = 2, FC_VMX = 4 };

READ(FEATURE_CONTROL)
{
    *v = c->s.feature_control;
    return true;
}
WRITE(FEATURE_CONTROL)
{
    uint64_t valid = FC_LOCK | (has_feature(c, FEAT_VMX) ? FC_VMX : 0);
    if ((c->s.feature_control & FC_LOCK) != 0 || (v & ~valid) != 0) return false;
    c->s.feature_control = v;
    return true;
}

static bool has_ibpb(const struct cpu *c)
{
    return has_feature(c, FEAT_SPEC_CTRL) || has_feature(c, FEAT_IBPB);
}

static uint64_t spec_ctrl_valid(const struct cpu *c)
{
    return (has_feature(c, FEAT_SPEC_CTRL) || has_feature(c, FEAT_AMD_IBRS) ? 1 : 0) |
           (has_feature(c, FEAT_STIBP) || has_feature(c, FEAT_AMD_STIBP) ? 2 : 0) |
           (has_feature(c, FEAT_SSBD) || has_feature(c, FEAT_AMD_SSBD) ? 4 : 0);
}
READ(SPEC_CTRL) { return spec_ctrl_valid(c) != 0 && read_STORE(c, row, i, v); }
WRITE(SPEC_CTRL)
{
    uint64_t valid = spec_ctrl_valid(c);
    if (valid == 0 || (v & ~valid) != 0) return false;
    return write_STORE(c, row, i, v);
}
READ(PRED_CMD)
{
    (void)c, (void)v;
    return false;
}
WRITE(PRED_CMD) { return has_ibpb(c) && (v & ~row->mask) == 0; }

READ(UCODE_REV)
{
    *v = intel(c) ? (uint64_t)c->model->microcode << 32 : c->model->microcode;
    return true;
}
WRITE(UCODE_REV)
{
    (void)v;
    return intel(c);
}

/* --- System calls, segments, paging --- */

FIELD(SYSENTER_CS, sysenter_cs, true)
FIELD(SYSENTER_ESP, sysenter_esp, !intel(c) || mem_canonical(c, v))
FIELD(SYSENTER_EIP, sysenter_eip, !intel(c) || mem_canonical(c, v))
FIELD(STAR, star, true)
FIELD(LSTAR, lstar, mem_canonical(c, v))
FIELD(CSTAR, cstar, mem_canonical(c, v))
FIELD(KERNEL_GS_BASE, kernel_gs_base, mem_canonical(c, v))

READ(SFMASK)
{
    *v = c->s.sf_mask;
    return true;
}
WRITE(SFMASK)
{
    if (intel(c) && v >> 32 != 0) return false;
    c->s.sf_mask = (uint32_t)v;
    return true;
}
READ(TSC_AUX)
{
    if (!has_feature(c, FEAT_RDTSCP) && !has_feature(c, FEAT_RDPID)) return false;
    *v = c->s.tsc_aux;
    return true;
}
WRITE(TSC_AUX)
{
    if (!has_feature(c, FEAT_RDTSCP) && !has_feature(c, FEAT_RDPID)) return false;
    if (intel(c) && v >> 32 != 0) return false;
    c->s.tsc_aux = (uint32_t)v;
    return true;
}
static bool write_segment_base(struct cpu *c, unsigned seg, uint64_t v)
{
    if (!mem_canonical(c, v)) return false;
    c->s.seg[seg].base = v;
    mem_update_window(c, seg);
    return true;
}
READ(FS_BASE)
{
    *v = c->s.seg[SEG_FS].base;
    return true;
}
WRITE(FS_BASE) { return write_segment_base(c, SEG_FS, v); }
READ(GS_BASE)
{
    *v = c->s.seg[SEG_GS].base;
    return true;
}
WRITE(GS_BASE) { return write_segment_base(c, SEG_GS, v); }

READ(EFER)
{
    if (cpu_efer_valid(c) == 0) return false;
    *v = c->s.efer;
    return true;
}
WRITE(EFER) { return cpu_efer_valid(c) != 0 && cpu_write_efer(c, v); }

READ(PKRS)
{
    *v = c->s.pkrs;
    return true;
}
WRITE(PKRS)
{
    if ((v & ~row->mask) != 0) return false;
    c->s.pkrs = v;
    mmu_update(c);
    return true;
}
FIELD(XSS, xss, (v & ~xstate_xss_mask(c)) == 0)

/* --- Memory types --- */

bool msr_memory_type_valid(unsigned type) { return type == 0 || type == 1 || (type >= 4 && type <= 6); }

static bool all_types_valid(uint64_t v, bool uc_minus)
{
    for (int i = 0; i < 64; i += 8) {
        unsigned type = v >> i & 0xff;
        if (!msr_memory_type_valid(type) && !(uc_minus && type == 7)) return false;
    }
    return true;
}
FIELD(PAT, pat, all_types_valid(v, true))

static uint64_t address_bits(const struct cpu *c)
{
    return ((UINT64_C(1) << c->phys_bits) - 1) & ~UINT64_C(0xfff);
}

#define read_MTRR_VARIABLE read_STORE
WRITE(MTRR_VARIABLE)
{
    bool mask = (i & 1) != 0;
    if ((v & ~(address_bits(c) | (mask ? 0x800 : 0xff))) != 0) return false;
    if (!mask && !msr_memory_type_valid(v & 0xff)) return false;
    *slot(c, row, i) = v;
    return true;
}
static bool write_fixed(struct cpu *c, const struct msr_row *row, uint32_t i, uint64_t v)
{
    if (!all_types_valid(v, false)) return false;
    *slot(c, row, i) = v;
    return true;
}
#define read_MTRR_FIX64K read_STORE
#define read_MTRR_FIX16K read_STORE
#define read_MTRR_FIX4K read_STORE
#define write_MTRR_FIX64K write_fixed
#define write_MTRR_FIX16K write_fixed
#define write_MTRR_FIX4K write_fixed
#define read_MTRR_DEF_TYPE read_STORE
WRITE(MTRR_DEF_TYPE)
{
    if ((v & ~UINT64_C(0xcff)) != 0 || !msr_memory_type_valid(v & 0xff)) return false;
    *slot(c, row, i) = v;
    return true;
}

/* --- Machine check --- */

#define read_MCG_CTL read_STORE
WRITE(MCG_CTL)
{
    if (v != 0 && v != ~UINT64_C(0)) return false;
    *slot(c, row, i) = v;
    return true;
}
#define read_MC_BANKS read_STORE
WRITE(MC_BANKS)
{
    if (i % 4 == 0 && v != 0 && v != ~UINT64_C(0)) return false; /* MCi_CTL */
    if (i % 4 == 1 && v != 0 && (intel(c) || (c->s.msr_file[MSR_SLOT_HWCR] & HWCR_MC_STATUS_WR) == 0))
        return false;
    *slot(c, row, i) = v;
    return true;
}

/* --- Model-specific --- */

READ(MISC_ENABLE)
{
    *v = c->s.misc_enable;
    return true;
}
WRITE(MISC_ENABLE)
{
    const uint64_t writable = UINT64_C(0x400c50009), kept = 0x1880;
    if ((v & ~(writable | kept)) != 0) return false;
    c->s.misc_enable = (c->s.misc_enable & kept) | (v & writable);
    return true;
}

READ(DEBUGCTL)
{
    *v = c->s.debugctl;
    return true;
}
WRITE(DEBUGCTL)
{
    if ((v & ~(uint64_t)(intel(c) ? 0x3 : 0x3f)) != 0) return false;
    c->s.debugctl = v;
    cpu_update_attention(c);
    return true;
}

#define read_HWCR read_STORE
WRITE(HWCR)
{
    if ((v & ~row->mask) != 0) return false;
    uint64_t *p = slot(c, row, i);
    *p = v | (*p & HWCR_SMM_LOCK);
    return true;
}
READ(SMM_BASE)
{
    *v = c->s.smbase;
    return true;
}
WRITE(SMM_BASE)
{
    if ((c->s.msr_file[MSR_SLOT_HWCR] & HWCR_SMM_LOCK) != 0 || v >> 32 != 0) return false;
    c->s.smbase = v;
    return true;
}

/* --- The table --- */

enum { V_ANY, V_INTEL, V_AMD };

/* FN rows use the functions of their own name. */
#define PICK_STORE(name, rw) rw##_STORE
#define PICK_CANON(name, rw) rw##_CANON
#define PICK_CONST(name, rw) rw##_CONST
#define PICK_DROP(name, rw) rw##_DROP
#define PICK_WONLY(name, rw) rw##_WONLY
#define PICK_FN(name, rw) rw##_##name

static const struct msr_row rows[] = {
#define MSR(name, first, count, vendor, feature, kind, reset, mask)     \
    {#name,          first, count, MSR_SLOT_##name,         V_##vendor, \
     FEAT_##feature, reset, mask,  PICK_##kind(name, read), PICK_##kind(name, write)},
#include "cpu/msr.def"
#undef MSR
};
enum { ROWS = sizeof rows / sizeof rows[0] };
_Static_assert((int)MSR_SLOTS <= 256, "msr_file of struct cpu_state");

bool msr_row_info(unsigned i, struct msr_info *info)
{
    if (i >= ROWS) return false;
    *info = (struct msr_info){rows[i].name, rows[i].first, rows[i].count};
    return true;
}

static const struct msr_row *find(const struct cpu *c, uint32_t index)
{
    unsigned low = 0, high = ROWS;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (index < rows[mid].first)
            high = mid;
        else if (index >= rows[mid].first + rows[mid].count)
            low = mid + 1;
        else {
            const struct msr_row *r = &rows[mid];
            if (r->vendor != V_ANY && (r->vendor == V_INTEL) != intel(c)) return NULL;
            return r->feature == FEAT_BASE || has_feature(c, r->feature) ? r : NULL;
        }
    }
    return NULL;
}

void msr_reset(struct cpu *c)
{
    memset(c->s.msr_file, 0, sizeof c->s.msr_file);
    for (unsigned k = 0; k < ROWS; k++)
        for (uint32_t i = 0; i < rows[k].count; i++)
            c->s.msr_file[rows[k].slot + i] = rows[k].reset;
    c->s.pat = UINT64_C(0x0007040600070406);
    c->s.misc_enable = c->s.msr_file[MSR_SLOT_MISC_ENABLE];
}

void msr_firmware_setup(struct cpu *c, uint64_t low, uint64_t high)
{
    static const uint64_t wb = 0x0606060606060606, uc = 0, wp = 0x0505050505050505;
    uint64_t *file = c->s.msr_file;
    if (has_feature(c, FEAT_MTRR)) {
        file[MSR_SLOT_MTRR_FIX64K] = file[MSR_SLOT_MTRR_FIX16K] = wb;
        file[MSR_SLOT_MTRR_FIX16K + 1] = uc;
        for (unsigned i = 0; i < 8; i++)
            file[MSR_SLOT_MTRR_FIX4K + i] = wp;
        file[MSR_SLOT_MTRR_VARIABLE] = 0xc0000000;
        file[MSR_SLOT_MTRR_VARIABLE + 1] = (address_bits(c) & ~UINT64_C(0x3fffffff)) | 0x800;
        file[MSR_SLOT_MTRR_DEF_TYPE] = 0xc06;
    }
    if (!intel(c)) {
        /* MtrrVarDramEn; with memory above 4 GiB also Tom2En and Tom2ForceMemTypeWB. */
        file[MSR_SLOT_TOP_MEM] = (low + 0x7fffff) & ~UINT64_C(0x7fffff);
        file[MSR_SLOT_TOP_MEM2] = high != 0 ? (UINT64_C(1) << 32) + high : 0;
        file[MSR_SLOT_SYSCFG] = 1 << 20 | (high != 0 ? 3 << 21 : 0);
    }
}

static bool is_apic(uint32_t index)
{
    return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
           (index >= MSR_X2APIC && index <= MSR_X2APIC_LAST);
}

static bool gp(struct cpu *c) { return cpu_raise_error(c, VEC_GP, 0); }

bool cpu_read_msr(struct cpu *c, uint32_t index, uint64_t *value)
{
    int done = 0;
    if (c->ext != NULL && c->ext->msr_read != NULL) done = c->ext->msr_read(c, index, value);
    if (done == 0 && is_apic(index) && c->bus->msr_read != NULL)
        done = c->bus->msr_read(c->bus->opaque, c->id, index, value);
    if (done == 0) {
        const struct msr_row *row = find(c, index);
        done = row != NULL && row->read(c, row, index - row->first, value) ? 1 : -1;
    }
    if (done < 0) return gp(c);
    PROBE(c->probes, c, MSR_READ, index, *value);
    return true;
}

bool cpu_write_msr(struct cpu *c, uint32_t index, uint64_t value)
{
    int done = 0;
    if (c->ext != NULL && c->ext->msr_write != NULL) done = c->ext->msr_write(c, index, value);
    if (done == 0 && is_apic(index) && c->bus->msr_write != NULL)
        done = c->bus->msr_write(c->bus->opaque, c->id, index, value);
    if (done == 0) {
        const struct msr_row *row = find(c, index);
        done = row != NULL && row->write(c, row, index - row->first, value) ? 1 : -1;
    }
    if (done < 0) return gp(c);
    PROBE(c->probes, c, MSR_WRITE, index, value);
    return true;
}
