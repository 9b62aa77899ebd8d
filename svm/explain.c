/* SPDX-License-Identifier: MIT */
/* Explanation of VMEXIT_INVALID, see explain.h. APM 2 15.5.1. */
#include "svm/explain.h"

#include <inttypes.h>

#include "cpu/text.h"

unsigned svm_explain(const struct svm_check *k, const struct svm_check_row *out[], unsigned max)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SVMCHECK_COUNT; i++) {
        if (svm_check_rows[i].holds(k)) continue;
        if (n < max) out[n] = &svm_check_rows[i];
        n++;
    }
    return n;
}

unsigned svm_explain_cpu(struct cpu *c, struct svm_check *k, const struct svm_check_row *out[], unsigned max)
{
    const struct svm_state *x = svm_of(c);
    svm_check_init(k, &x->cap, x->f);
    svm_check_live(k, c);
    return svm_explain(k, out, max);
}

size_t svm_explain_row(const struct svm_check *k, const struct svm_check_row *row, bool json, char *buf,
                       size_t size)
{
    struct text t = {buf, size, 0};
    const struct vmcb_field_info *cured = &vmcb_fields[row->cure_field];
    if (json)
        text_put(&t,
                 "{\"id\": \"%s\", \"section\": \"%s\", \"outcome\": \"exit code -1\", \"rule\": \"%s\", "
                 "\"fields\": "
                 "[",
                 row->id, row->section, row->rule);
    else
        text_put(&t, "%s (APM 2 %s, exit code -1): %s", row->id, row->section, row->rule);
    for (unsigned i = 0; i < row->read_count; i++) {
        const struct vmcb_field_info *field = &vmcb_fields[row->reads[i]];
        uint64_t value = k->f[row->reads[i]];
        if (json)
            text_put(&t, "%s{\"field\": \"%s\", \"offset\": \"0x%03x\", \"value\": \"0x%" PRIx64 "\"}",
                     i ? ", " : "", field->name, field->offset, value);
        else
            text_put(&t, "%s %s (%03xh) = %" PRIx64 "h", i ? "," : ";", field->name, field->offset, value);
    }
    if (json)
        text_put(&t, "], \"nearest\": {\"field\": \"%s\", \"value\": \"0x%" PRIx64 "\"}}", cured->name,
                 row->cure(k));
    else
        text_put(&t, "; nearest valid: %s = %" PRIx64 "h", cured->name, row->cure(k));
    return t.length;
}
