/* SPDX-License-Identifier: MIT */
/* The vocabulary of entry_checks.def and the walk over its rows. SDM 3C 27.2 "Checks on VMX Controls and
 * Host-State Area", 27.3.1 "Checks on the Guest-State Area". */
#include <string.h>

#include "cpu/mem.h"
#include "vmx/entry_checks.h"

#define V(name) (k->f[F_##name])
#define PIN(name) ((k->e.pin & PIN_##name) != 0)
#define PRI(name) ((k->e.pri & PRI_##name) != 0)
#define SEC(name) ((k->e.sec & SEC_##name) != 0)
#define TER(name) ((k->e.ter & TER_##name) != 0)
#define EXI(name) ((k->e.exi & EXI_##name) != 0)
#define ENT(name) ((k->e.ent & ENT_##name) != 0)
#define FUNC(name) ((k->e.vmfunc & VMFUNC_##name) != 0)
#define BIT(value, bit) (((value) & (bit)) != 0)

/* IA32_DEBUGCTL bits of these models: LBR, BTF, TR .. FREEZE_PERFMON, FREEZE_WHILE_SMM. */
enum { DEBUGCTL_DEFINED = 0x5fc3, DEBUGCTL_BTF = 2 };

static bool word_ok(const struct vmx_check *k, enum vmx_word word, uint64_t value)
{
    uint64_t must = k->cap->allowed0[word];
    return (value & must) == must && (value & ~k->cap->allowed1[word]) == 0;
}

static bool page_ok(const struct vmx_check *k, uint64_t address)
{
    return (address & 0xfff) == 0 && vmx_width_ok(k->cap, address);
}

/* Last byte of an MSR area, computed without wrap. */
static bool area_ok(const struct vmx_check *k, uint64_t address, uint64_t count)
{
    uint64_t last = address + 16 * count - 1;
    return count == 0 || (last >= address && vmx_width_ok(k->cap, last));
}

static bool canonical(const struct vmx_check *k, uint64_t address)
{
    return vmx_canonical(k->cap->lin_bits, address);
}

/* index: 486H or 488H. `ignored` bits are not looked at, `relaxed` need not be 1. */
static bool fixed_ok(const struct vmx_check *k, uint32_t index, uint64_t value, uint64_t ignored,
                     uint64_t relaxed)
{
    uint64_t fixed0 = vmx_cap_msr(k->cap, index) & ~(ignored | relaxed);
    uint64_t fixed1 = vmx_cap_msr(k->cap, index + 1) | ignored;
    return (value & fixed0) == fixed0 && (value & ~fixed1) == 0;
}

static bool pat_ok(uint64_t pat)
{
    for (int i = 0; i < 8; i++) {
        uint8_t type = (uint8_t)(pat >> (8 * i));
        if (type > 7 || type == 2 || type == 3) return false;
    }
    return true;
}

static bool cap_feature(const struct vmx_check *k, unsigned feature)
{
    return (k->cap->features[feature / 64] >> (feature % 64) & 1) != 0;
}

static bool efer_ok(const struct vmx_check *k, uint64_t efer)
{
    uint64_t defined = 0;
    if (cap_feature(k, FEAT_SYSCALL)) defined |= EFER_SCE;
    if (cap_feature(k, FEAT_LM)) defined |= EFER_LME | EFER_LMA;
    if (cap_feature(k, FEAT_NX)) defined |= EFER_NXE;
    return (efer & ~defined) == 0;
}

static unsigned vtpr_class(const struct vmx_check *k)
{
    if (!k->read) return 15;
    return (unsigned)(k->read(k->opaque, V(VIRTUAL_APIC_ADDR) + 0x80, 1) >> 4 & 15);
}

/* The event to inject. */
static bool inj(const struct vmx_check *k) { return (V(ENTRY_INTR_INFO) & INFO_VALID) != 0; }
static unsigned inj_type(const struct vmx_check *k)
{
    return (unsigned)(V(ENTRY_INTR_INFO) >> INFO_TYPE_SHIFT & 7);
}
static unsigned inj_vector(const struct vmx_check *k) { return (unsigned)(V(ENTRY_INTR_INFO) & INFO_VECTOR); }
static bool inj_is(const struct vmx_check *k, unsigned type) { return inj(k) && inj_type(k) == type; }
static bool inj_error(const struct vmx_check *k) { return inj(k) && (V(ENTRY_INTR_INFO) & INFO_ERROR); }
static bool inj_soft(const struct vmx_check *k)
{
    return inj(k) && inj_type(k) >= EVENT_SW_INT && inj_type(k) <= EVENT_SW_EXCEPTION;
}
static bool vector_has_error(unsigned vector)
{
    return vector < 32 && (UINT32_C(0x27d00) >> vector & 1) != 0;
}
/* Protected mode as the injection checks see it: PE counts only with unrestricted guest. */
static bool guest_pe(const struct vmx_check *k) { return !SEC(UNRESTRICTED) || (V(GUEST_CR0) & CR0_PE); }
static bool hlt_event(const struct vmx_check *k)
{
    unsigned type = inj_type(k), vector = inj_vector(k);
    return type == EVENT_EXTINT || type == EVENT_NMI || (type == EVENT_OTHER && vector == 0) ||
           (type == EVENT_HW_EXCEPTION && (vector == 1 || vector == 18));
}

/* Guest segments: the fields stand in the order of enum seg_id. */
static uint64_t sel(const struct vmx_check *k, unsigned s) { return k->f[F_GUEST_ES_SELECTOR + s]; }
static uint64_t base_of(const struct vmx_check *k, unsigned s) { return k->f[F_GUEST_ES_BASE + s]; }
static uint64_t lim(const struct vmx_check *k, unsigned s) { return k->f[F_GUEST_ES_LIMIT + s]; }
static uint64_t ar(const struct vmx_check *k, unsigned s) { return k->f[F_GUEST_ES_AR + s]; }
static bool usable(const struct vmx_check *k, unsigned s) { return !(ar(k, s) & AR_UNUSABLE); }
static unsigned type(const struct vmx_check *k, unsigned s) { return (unsigned)(ar(k, s) & AR_TYPE); }
static unsigned dpl(const struct vmx_check *k, unsigned s)
{
    return (unsigned)(ar(k, s) >> AR_DPL_SHIFT & 3);
}
static bool v86(const struct vmx_check *k) { return (V(GUEST_RFLAGS) & FL_VM) != 0; }
static bool g0_ok(const struct vmx_check *k, unsigned s)
{
    return (lim(k, s) & 0xfff) == 0xfff || !(ar(k, s) & AR_G);
}
static bool g1_ok(const struct vmx_check *k, unsigned s)
{
    return (lim(k, s) >> 20) == 0 || (ar(k, s) & AR_G);
}

/* RIP[63:N] all equal, N the widest linear address: bit N-1 may differ (SDM 3C 27.3.1.4). */
static bool rip_bits_ok(const struct vmx_check *k)
{
    uint64_t top = V(GUEST_RIP) >> k->cap->lin_bits;
    return top == 0 || top == ~UINT64_C(0) >> k->cap->lin_bits;
}

static bool bs_rule(const struct vmx_check *k)
{
    return (V(GUEST_INTERRUPTIBILITY) & (INTR_STI | INTR_MOVSS)) || V(GUEST_ACTIVITY) == ACTIVITY_HLT;
}
static bool single_step(const struct vmx_check *k)
{
    return (V(GUEST_RFLAGS) & FL_TF) && !(V(GUEST_DEBUGCTL) & DEBUGCTL_BTF);
}

static bool has_link(const struct vmx_check *k) { return V(VMCS_LINK) != VMCS_NONE; }
static bool link_region_ok(const struct vmx_check *k)
{
    if (!k->read || !page_ok(k, V(VMCS_LINK))) return true; /* the rows before speak of the address */
    uint32_t first = (uint32_t)k->read(k->opaque, V(VMCS_LINK), 4);
    return (first & ~VMCS_SHADOW) == vmx_revision(k->cap) &&
           ((first & VMCS_SHADOW) != 0) == SEC(VMCS_SHADOWING);
}

bool vmx_check_guest_pae(const struct vmx_check *k)
{
    return (V(GUEST_CR0) & CR0_PG) && (V(GUEST_CR4) & CR4_PAE) && !ENT(IA32E_GUEST);
}

bool vmx_pdpte_ok(const struct vmx_cap *cap, uint64_t pdpte)
{
    return !(pdpte & 1) || (!(pdpte & 0x1e6) && vmx_width_ok(cap, pdpte));
}

static bool memory_pdptes_ok(const struct vmx_check *k)
{
    if (!k->read || !vmx_width_ok(k->cap, V(GUEST_CR3))) return true;
    for (unsigned i = 0; i < 4; i++)
        if (!vmx_pdpte_ok(k->cap, k->read(k->opaque, (V(GUEST_CR3) & ~UINT64_C(31)) + 8 * i, 8)))
            return false;
    return true;
}

#define CHECK(id, ref, section, stage, outcome, holds, reads, rule) \
    static bool holds_##id(const struct vmx_check *k) { return (holds); }
#include "vmx/entry_checks.def"
#undef CHECK

#define VMFAIL(number) \
    {                  \
        (number), 0    \
    }
#define ENTRY_FAIL(qualification) \
    {                             \
        0, (qualification)        \
    }
#define READS(...) \
    sizeof((const uint8_t[]){__VA_ARGS__}), { __VA_ARGS__ }
const struct vmx_check_row vmx_check_rows[] = {
#define CHECK(id, ref, section, stage, outcome, holds, reads, rule) \
    {#id, ref, section, rule, holds_##id, STAGE_##stage, outcome, reads},
#include "vmx/entry_checks.def"
#undef CHECK
};
const unsigned vmx_check_row_count = sizeof vmx_check_rows / sizeof vmx_check_rows[0];

const struct vmx_check_row *vmx_check_stage(const struct vmx_check *k, enum check_stage stage)
{
    for (unsigned i = 0; i < vmx_check_row_count; i++)
        if (vmx_check_rows[i].stage == stage && !vmx_check_rows[i].holds(k)) return &vmx_check_rows[i];
    return NULL;
}

/* Rows that look at more than fields: memory, EFER.LMA, SMM, the current-VMCS pointer. */
static const uint16_t always[] = {CHECK_tpr_threshold_vtpr, CHECK_link_region, CHECK_pdpte_memory,
                                  CHECK_lma0_guest64,       CHECK_lma0_host64, CHECK_lma1_host64,
                                  CHECK_entry_smm,          CHECK_intr_smi,    CHECK_link_current};

static void set_row(uint64_t *rows, unsigned row) { rows[row / 64] |= UINT64_C(1) << (row % 64); }

void vmx_check_index(struct vmx_cap *cap)
{
    memset(cap->rows_of_field, 0, sizeof cap->rows_of_field);
    memset(cap->rows_always, 0, sizeof cap->rows_always);
    for (unsigned i = 0; i < vmx_check_row_count; i++)
        for (unsigned j = 0; j < vmx_check_rows[i].read_count; j++)
            set_row(cap->rows_of_field[vmx_check_rows[i].reads[j]], i);
    for (unsigned i = 0; i < sizeof always / sizeof always[0]; i++)
        set_row(cap->rows_always, always[i]);
}

void vmx_check_select(const struct vmx_cap *cap, const uint64_t dirty[VMCS_DIRTY_WORDS],
                      uint64_t rows[VMX_CHECK_WORDS])
{
    memcpy(rows, cap->rows_always, sizeof cap->rows_always);
    for (unsigned w = 0; w < VMCS_DIRTY_WORDS; w++)
        for (uint64_t left = dirty[w]; left; left &= left - 1) {
            unsigned field = w * 64 + (unsigned)__builtin_ctzll(left);
            if (field >= F_COUNT) break;
            for (unsigned i = 0; i < VMX_CHECK_WORDS; i++)
                rows[i] |= cap->rows_of_field[field][i];
        }
}

/* The table lists the stages one after the other, so its order is the order of the checks (a test looks). */
const struct vmx_check_row *vmx_check_selected(const struct vmx_check *k,
                                               const uint64_t rows[VMX_CHECK_WORDS])
{
    for (unsigned w = 0; w < VMX_CHECK_WORDS; w++)
        for (uint64_t left = rows[w]; left; left &= left - 1) {
            const struct vmx_check_row *row = &vmx_check_rows[w * 64 + (unsigned)__builtin_ctzll(left)];
            if (!row->holds(k)) return row;
        }
    return NULL;
}

void vmx_check_init(struct vmx_check *k, const struct vmx_cap *cap, const uint64_t *fields)
{
    memset(k, 0, sizeof *k);
    k->cap = cap;
    k->f = fields;
    k->lma = (fields[F_EXIT_CONTROLS] & EXI_HOST_64BIT) != 0;
    k->current = VMCS_NONE;
    vmx_effective_controls(fields, &k->e);
}

static uint64_t read_physical(void *opaque, uint64_t address, uint32_t size)
{
    return phys_read((struct cpu *)opaque, address, size);
}

void vmx_check_live(struct vmx_check *k, struct cpu *c)
{
    k->lma = in_long_mode(c);
    k->smm = c->s.intr.smi_blocked != 0;
    k->current = vmx_of(c)->current;
    k->read = read_physical;
    k->opaque = c;
}
