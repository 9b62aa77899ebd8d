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

/* ---- judge.c: rules with fields missing ---- */

enum svm_verdict { SVM_HOLDS, SVM_BROKEN, SVM_UNKNOWN };

static inline uint64_t vmcb_field_mask(unsigned field)
{
    return ~UINT64_C(0) >> (64 - 8 * vmcb_fields[field].bytes);
}
/* `have`: the bits of each field that have a value; NULL: all. */
static inline bool svm_field_known(const uint64_t *have, unsigned field)
{
    return !have || have[field] == vmcb_field_mask(field);
}
/* Unknown: the missing fields (or memory) decide. */
enum svm_verdict svm_judge(const struct svm_check *k, const uint64_t *have, const struct svm_check_row *row);
/* The fields that the row reads and that do not have a value in all bits. Returns how many. */
unsigned svm_missing_fields(const uint64_t *have, const struct svm_check_row *row, uint8_t out[8]);
/* The row looks at memory, too. */
bool svm_reads_memory(const struct svm_check_row *row);
/* What a model offers, and what every AMD processor would say at least: all features, widest addresses.
 * False: host memory exhausted. */
bool svm_cap_model(struct svm_cap *cap, const uint64_t features[8], unsigned phys_bits);
bool svm_cap_any(struct svm_cap *cap);

/* ---- report.c ---- */

struct svm_report {
    const struct svm_check *k;
    const uint64_t *have;  /* NULL: all fields */
    const char *source;    /* "machine", "linux-kvm", ... */
    const char *processor; /* CPU model, or "any" */
    const char *where;     /* "cpu0, cycle 17, RIP 1000h" or NULL */
    bool failed;           /* VMEXIT_INVALID, whatever EXITCODE says */
};
/* The whole explanation; both return its length, as snprintf does. JSON is one object on one line. */
size_t svm_report_text(const struct svm_report *r, char *buf, size_t size);
size_t svm_report_json(const struct svm_report *r, char *buf, size_t size);
/* How many rules have this verdict. */
unsigned svm_report_count(const struct svm_report *r, enum svm_verdict verdict);

#endif
