/* SPDX-License-Identifier: MIT */
/* The rows of entry_checks.def as predicates, and the walk over them. SDM 3C 27.2 "Checks on VMX Controls and
 * Host-State Area", 27.3.1 "Checks on the Guest-State Area". */
#include <string.h>

#include "cpu/mem.h"
#include "vmx/entry_vocabulary.h"

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

/* The field whose bit brings a control word into effect, or -1: rows that read the word depend on it. */
int vmx_activation_field(int field)
{
    switch (field) {
    case F_SECONDARY_CONTROLS:
    case F_TERTIARY_CONTROLS: return F_PRIMARY_CONTROLS;
    case F_EXIT_CONTROLS2: return F_EXIT_CONTROLS;
    case F_VMFUNC_CONTROLS: return F_SECONDARY_CONTROLS;
    default: return -1;
    }
}

void vmx_check_index(struct vmx_cap *cap)
{
    memset(cap->rows_of_field, 0, sizeof cap->rows_of_field);
    memset(cap->rows_always, 0, sizeof cap->rows_always);
    for (unsigned i = 0; i < vmx_check_row_count; i++)
        for (unsigned j = 0; j < vmx_check_rows[i].read_count; j++)
            for (int field = vmx_check_rows[i].reads[j]; field >= 0; field = vmx_activation_field(field))
                set_row(cap->rows_of_field[field], i);
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
    k->lma_inferred = true;
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
    k->lma_inferred = false;
    k->smm = c->s.intr.smi_blocked != 0;
    k->current = vmx_of(c)->current;
    k->read = read_physical;
    k->opaque = c;
}
