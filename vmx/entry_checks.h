/* SPDX-License-Identifier: MIT */
/* VM-entry checks as data: rows of entry_checks.def, each a pure predicate over the fields of a VMCS, what
 * the processor offers and the little live state that the manual lets a check look at. The fast path
 * stops at the first broken row; explain evaluates all. SDM 3C 27.2, 27.3. */
#ifndef UV_VMX_ENTRY_CHECKS_H
#define UV_VMX_ENTRY_CHECKS_H

#include "vmx/vmx.h"

enum check_stage { STAGE_CONTROL, STAGE_HOST, STAGE_GUEST, STAGE_COUNT };
/* Outcome: VMfailValid number, or failed entry with reason 33 and a qualification. */
struct check_outcome {
    uint8_t vmfail; /* 0: failed entry */
    uint8_t qualification;
};

struct vmx_check {
    const struct vmx_cap *cap;
    const uint64_t *f; /* the fields, enum vmcs_field */
    struct vmx_effective e;
    /* Live state. */
    bool lma;          /* IA32_EFER.LMA at entry */
    bool lma_inferred; /* ... taken from the VM-exit controls, which must agree with it */
    bool smm;          /* in SMM */
    uint64_t current;  /* current-VMCS pointer */
    /* Host-physical memory (VTPR, link-pointer region, PDPTEs); NULL: rows that need it cannot be judged and
     * hold. */
    uint64_t (*read)(void *opaque, uint64_t address, uint32_t size);
    void *opaque;
};

struct vmx_check_row {
    const char *id, *ref, *section, *rule;
    bool (*holds)(const struct vmx_check *k);
    uint8_t stage;
    struct check_outcome outcome;
    uint8_t read_count;
    uint8_t reads[8]; /* enum vmcs_field */
};
extern const struct vmx_check_row vmx_check_rows[];
extern const unsigned vmx_check_row_count;

/* The first broken row of a stage, or NULL. */
const struct vmx_check_row *vmx_check_stage(const struct vmx_check *k, enum check_stage stage);
/* The rows whose outcome may differ from the last successful entry: those that read a field of `dirty` (a bit
 * for each field) or anything else than fields. */
void vmx_check_select(const struct vmx_cap *cap, const uint64_t dirty[VMCS_DIRTY_WORDS],
                      uint64_t rows[VMX_CHECK_WORDS]);
/* The first broken one of the selected rows, in the order of stages. */
const struct vmx_check_row *vmx_check_selected(const struct vmx_check *k,
                                               const uint64_t rows[VMX_CHECK_WORDS]);
/* The field with the activation bit of a control word, -1 for other fields. */
int vmx_activation_field(int field);
/* Fills cap->rows_of_field and rows_always. */
void vmx_check_index(struct vmx_cap *cap);
void vmx_check_init(struct vmx_check *k, const struct vmx_cap *cap, const uint64_t *fields);
/* For the processor itself: live state and physical memory of c. */
void vmx_check_live(struct vmx_check *k, struct cpu *c);
/* PAE paging of the guest in the fields: PDPTEs count. */
bool vmx_check_guest_pae(const struct vmx_check *k);
bool vmx_pdpte_ok(const struct vmx_cap *cap, uint64_t pdpte);

#endif
