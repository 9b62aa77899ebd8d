/* SPDX-License-Identifier: MIT */
/* Why a VMRUN ended in VMEXIT_INVALID: every broken rule of a VMCB, not only the first, with the fields it
 * reads and the nearest value that it would have accepted. The rows that decide VMRUN (vmrun_checks.def) are
 * evaluated; nothing is judged twice. */
#ifndef UV_SVM_EXPLAIN_H
#define UV_SVM_EXPLAIN_H

#include "svm/vmrun_checks.h"

/* Fills out[] with the broken rows in the order of the table, at most max; returns how many there are. */
unsigned svm_explain(const struct svm_check *k, const struct svm_check_row *out[], unsigned max);
/* The VMCB that the processor ran last, with its live state. */
unsigned svm_explain_cpu(struct cpu *c, struct svm_check *k, const struct svm_check_row *out[], unsigned max);
/* One row as a line of text (json false) or as a JSON object. Returns the length that the whole would have,
 * like snprintf. */
size_t svm_explain_row(const struct svm_check *k, const struct svm_check_row *row, bool json, char *buf,
                       size_t size);

#endif
