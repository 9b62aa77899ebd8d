/* SPDX-License-Identifier: MIT */
/* The consistency checks of VMRUN as data: rows of vmrun_checks.def, each a pure predicate over the fields of
 * a VMCB, what the processor offers and the little of the host that counts. VMRUN stops at the first broken
 * row; explain evaluates all. APM 2 15.5.1. */
#ifndef UV_SVM_VMRUN_CHECKS_H
#define UV_SVM_VMRUN_CHECKS_H

#include "svm/svm.h"

struct svm_check {
    const struct svm_cap *cap;
    const uint64_t *f; /* enum vmcb_field */
    bool host_paging;  /* CR0.PG of the host */
    /* Physical memory (PDPTEs); NULL: rows that need it cannot be judged and hold. */
    uint64_t (*read)(void *opaque, uint64_t address, uint32_t size);
    void *opaque;
};

struct svm_check_row {
    const char *id, *section, *rule;
    bool (*holds)(const struct svm_check *k);
    uint64_t (*cure)(const struct svm_check *k); /* nearest value of cure_field that makes it hold */
    uint8_t cure_field;
    uint8_t read_count;
    uint8_t reads[8]; /* enum vmcb_field */
};
extern const struct svm_check_row svm_check_rows[SVMCHECK_COUNT];

/* The first broken row, or NULL. */
const struct svm_check_row *svm_check_first(const struct svm_check *k);
void svm_check_init(struct svm_check *k, const struct svm_cap *cap, const uint64_t *fields);
/* For the processor itself, about to run a guest. */
void svm_check_live(struct svm_check *k, struct cpu *c);
/* The guest has PAE paging without long mode. */
bool svm_check_guest_pae(const uint64_t *f);

#endif
