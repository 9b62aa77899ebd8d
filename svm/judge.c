/* SPDX-License-Identifier: MIT */
/* Rules of VMRUN over a VMCB with missing fields: a rule is judged when its verdict is the same whatever the
 * missing bits hold, which is tried with values that the rules tell apart. And the processor that a dump is
 * judged by. APM 2 15.5.1. */
#include <stdlib.h>

#include "svm/explain.h"

/* All, nothing, and what makes one clause alone true: CR0.NW or CR0.PG without the bits they need, an event
 * of a bad type, an NMI or #BR as an exception. */
static const uint64_t telling[] = {0,          ~UINT64_C(0), 1u << 29,  UINT64_C(1) << 31,
                                   0x80000100, 0x80000302,   0x80000305};
enum { TELLING = sizeof telling / sizeof telling[0], INPUTS_MAX = 9 };

unsigned svm_missing_fields(const uint64_t *have, const struct svm_check_row *row, uint8_t out[8])
{
    unsigned n = 0;
    for (unsigned i = 0; have && i < row->read_count; i++)
        if (!svm_field_known(have, row->reads[i])) out[n++] = row->reads[i];
    return n;
}

bool svm_reads_memory(const struct svm_check_row *row)
{
    return row == &svm_check_rows[SVMCHECK_pdpte_reserved];
}

static uint64_t sample_memory(void *opaque, uint64_t address, uint32_t size)
{
    (void)address, (void)size;
    return *(const uint64_t *)opaque;
}

enum svm_verdict svm_judge(const struct svm_check *k, const uint64_t *have, const struct svm_check_row *row)
{
    uint8_t missing[8];
    unsigned n = svm_missing_fields(have, row, missing), digit[INPUTS_MAX] = {0};
    bool memory = !k->read && svm_reads_memory(row), seen[2] = {false, false};
    unsigned inputs = n + memory;
    if (inputs == 0) return row->holds(k) ? SVM_HOLDS : SVM_BROKEN;
    uint64_t f[VMCB_FIELDS], value = 0;
    struct svm_check t = *k;
    memcpy(f, k->f, sizeof f);
    t.f = f;
    if (memory) {
        t.read = sample_memory;
        t.opaque = &value;
    }
    /* Each missing input takes each value with each of the others: at most 7^6 for the rows there are. */
    for (unsigned i = 0; i < inputs;) {
        for (unsigned j = 0; j < n; j++) {
            uint64_t known = have[missing[j]];
            f[missing[j]] =
                (k->f[missing[j]] & known) | (telling[digit[j]] & ~known & vmcb_field_mask(missing[j]));
        }
        if (memory) value = telling[digit[n]];
        seen[row->holds(&t)] = true;
        if (seen[0] && seen[1]) return SVM_UNKNOWN;
        for (i = 0; i < inputs && ++digit[i] == TELLING; i++)
            digit[i] = 0;
    }
    return seen[0] ? SVM_BROKEN : SVM_HOLDS;
}

bool svm_cap_model(struct svm_cap *cap, const uint64_t features[8], unsigned phys_bits)
{
    struct cpu *c = calloc(1, sizeof *c);
    if (!c) return false;
    memcpy(c->features, features, sizeof c->features);
    c->phys_bits = (uint8_t)phys_bits;
    c->lin_bits = features[FEAT_LA57 / 64] >> (FEAT_LA57 % 64) & 1 ? 57 : 48;
    svm_cap_init(cap, c);
    free(c);
    return true;
}

bool svm_cap_any(struct svm_cap *cap)
{
    uint64_t features[8];
    memset(features, 0xff, sizeof features);
    if (!svm_cap_model(cap, features, 52)) return false;
    cap->asids = UINT32_MAX;
    cap->cr4_valid |= UINT64_C(0xf71fff);  /* CET (bit 23) and all below but 13 to 15, 19 */
    cap->efer_valid |= UINT64_C(0x36fd01); /* up to AIBRSE (bit 21), APM 2 3.1.7 */
    return true;
}
