/* SPDX-License-Identifier: MIT */
/* Rules of VM entry over a VMCS with missing fields: a rule is judged when its verdict is the same whatever
 * the missing fields hold, which is tried with values that rules tell apart: each bit alone, its complement,
 * relations to the known fields. SDM 3C 27.2, 27.3.1. */
#include <string.h>

#include "vmx/explain.h"

bool vmx_reads_memory(const struct vmx_check_row *row)
{
    unsigned rule = (unsigned)(row - vmx_check_rows);
    return rule == CHECK_tpr_threshold_vtpr || rule == CHECK_link_region || rule == CHECK_pdpte_memory;
}

static void add_missing(const uint64_t *known, int field, uint8_t *out, unsigned *n)
{
    for (; field >= 0; field = vmx_activation_field(field)) {
        bool there = vmx_field_known(known, field);
        for (unsigned i = 0; i < *n; i++)
            there |= out[i] == field;
        if (!there && *n < MISSING_MAX) out[(*n)++] = (uint8_t)field;
    }
}

unsigned vmx_missing_fields(const uint64_t *known, const struct vmx_check_row *row, uint8_t out[MISSING_MAX])
{
    unsigned n = 0;
    for (unsigned i = 0; i < row->read_count; i++)
        add_missing(known, row->reads[i], out, &n);
    return n;
}

static uint64_t sample_memory(void *opaque, uint64_t address, uint32_t size)
{
    (void)address, (void)size;
    return *(const uint64_t *)opaque;
}

enum { SINGLE_BITS = 64, EVENTS = 32, MIXED_ROUNDS = 1024, CURED_ROUNDS = 48 };

static uint64_t sample(unsigned n)
{
    static const uint64_t values[] = {
        0, ~UINT64_C(0), 1, 2, 3, 6, 8, 0x10, 0x1000, 0x101e, 0xffff, 0xfff, 0x80000033, 0x0606060606060606,
        /* access rights */
        0x9b, 0xfb, 0xa09b, 0xa0fb, 0x9f, 0xff, 0x93, 0xf3, 0xc093, 0xc0f3, 0x82, 0x8b, 0x83, 0x1c000};
    enum { VALUES = sizeof values / sizeof values[0] };
    if (n < VALUES) return values[n];
    n -= VALUES;
    /* Events to inject, each type with four vectors. */
    static const uint16_t vectors[] = {0, 2, 0xff, 13 | INFO_ERROR};
    if (n < EVENTS) return INFO_VALID | (n & 7) << INFO_TYPE_SHIFT | vectors[n >> 3];
    n -= EVENTS;
    if (n < SINGLE_BITS) return UINT64_C(1) << n;
    return ~(UINT64_C(1) << (n - SINGLE_BITS) % 64);
}
enum { SAMPLES = 28 + EVENTS + 2 * SINGLE_BITS };

struct trial {
    struct vmx_check k;
    uint64_t f[F_COUNT];
    uint64_t memory;
    bool seen[2];
};

/* False: both verdicts have been seen, no more is to be learned. */
static bool try(struct trial *t, const struct vmx_check_row *row, bool lma_inferred)
{
    vmx_effective_controls(t->f, &t->k.e);
    if (lma_inferred) t->k.lma = (t->k.e.exi & EXI_HOST_64BIT) != 0;
    t->k.read = sample_memory; /* which bytes of memory count is open as well */
    t->k.opaque = &t->memory;
    t->seen[row->holds(&t->k)] = true;
    return !(t->seen[0] && t->seen[1]);
}

/* A broken state that the nearest allowed values of missing fields alone would cure. */
static bool try_cured(struct trial *t, const struct vmx_check_row *row, const uint64_t *known,
                      bool lma_inferred)
{
    struct vmx_advice advice[ADVICE_MAX];
    if (!t->seen[0] || t->seen[1]) return true;
    unsigned n = vmx_advise(&t->k, row, advice);
    for (unsigned i = 0; i < n; i++)
        if (!vmx_field_known(known, advice[i].field) && advice[i].has_nearest)
            t->f[advice[i].field] = advice[i].nearest;
    return try(t, row, lma_inferred);
}

enum vmx_verdict vmx_judge(const struct vmx_check *k, const uint64_t *known, const struct vmx_check_row *row)
{
    uint8_t missing[MISSING_MAX];
    unsigned n = vmx_missing_fields(known, row, missing);
    bool memory = !k->read && vmx_reads_memory(row);
    if (n == 0 && !memory) return row->holds(k) ? VERDICT_HOLDS : VERDICT_BROKEN;
    struct trial t = {.k = *k};
    bool lma_inferred = k->lma_inferred && !vmx_field_known(known, F_EXIT_CONTROLS);
    memcpy(t.f, k->f, sizeof t.f);
    t.k.f = t.f;
    for (unsigned s = 0; s < SAMPLES; s++) {
        for (unsigned i = 0; i < n; i++)
            t.f[missing[i]] = sample(s) & vmcs_width_mask(missing[i]);
        t.memory = sample(s);
        if (!try(&t, row, lma_inferred)) return VERDICT_UNKNOWN;
        if (s < CURED_ROUNDS && !try_cured(&t, row, known, lma_inferred)) return VERDICT_UNKNOWN;
    }
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
    for (unsigned round = 0; round < MIXED_ROUNDS * (n > 1 || memory ? 2u : 1u); round++) {
        for (unsigned i = 0; i <= n; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            uint64_t v = sample((unsigned)(seed >> 16) % (seed >> 60 ? SAMPLES - 2 * SINGLE_BITS : SAMPLES));
            if (seed & 1) {
                static const uint8_t shifts[] = {0, 0, 4, 28};
                uint64_t related = k->f[row->reads[(seed >> 8) % row->read_count]];
                v = (seed & 2 ? related << shifts[seed >> 2 & 3] : related >> shifts[seed >> 2 & 3]);
            }
            if (seed >> 56 == 0) v = k->current;
            if (i == n)
                t.memory = v;
            else
                t.f[missing[i]] = v & vmcs_width_mask(missing[i]);
        }
        if (!try(&t, row, lma_inferred)) return VERDICT_UNKNOWN;
    }
    if (t.seen[0] && vmx_reads_memory(row)) return VERDICT_UNKNOWN; /* some memory might do */
    return t.seen[0] ? VERDICT_BROKEN : VERDICT_HOLDS;
}

void vmx_cap_any(struct vmx_cap *cap)
{
    uint64_t features[8];
    memset(features, 0xff, sizeof features);
    vmx_cap_init(cap, "max-intel", features, 52, 57);
    for (unsigned i = 0; i < vmx_control_count; i++)
        cap->allowed1[vmx_controls[i].word] |= UINT64_C(1) << vmx_controls[i].bit;
    cap->perf_global = cap->debugctl = ~UINT64_C(0);
    cap->sgx = cap->rtm = 1;
    cap->msr[0x0] |= UINT64_C(1) << 56;             /* any error-code choice of injected exceptions */
    cap->msr[0x5] |= 0x1e0 | 0x1ff << 16 | 3 << 29; /* activity states, CR3 targets, length 0 */
    cap->msr[0x9] = UINT64_C(0x11bff7fff);          /* CR4: all but 15, 26, 29-31 */
    cap->msr[0xc] |= 1u << 6 | 1u << 7 | 1u << 8 | 1u << 14 | 1u << 21 | 1u << 23;
}
