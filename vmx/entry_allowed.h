/* SPDX-License-Identifier: MIT */
/* The values that a broken rule of VM entry would have accepted, and the nearest of them, from the rows of
 * entry_allowed.def. Nearest means fewest changed bits for bit and code fields, smallest difference for
 * ranges. */
#ifndef UV_VMX_ENTRY_ALLOWED_H
#define UV_VMX_ENTRY_ALLOWED_H

#include "vmx/entry_checks.h"

enum vmx_allowed_kind {
    ALLOWED_BITS,      /* a: bits that must be 1; b: bits that must be 0 */
    ALLOWED_RANGE,     /* the bits of mask hold a number from a to b */
    ALLOWED_ONE_OF,    /* the bits of mask hold a number n with bit n of a set */
    ALLOWED_CANONICAL, /* bits 63:a equal bit a-1 */
    ALLOWED_ABOVE,     /* bits 63:a are all equal */
    ALLOWED_BYTES,     /* each byte holds a number n with bit n of a set */
    ALLOWED_IN_MEMORY  /* memory decides; the value a is always right, unless it is the present one */
};

struct vmx_allowed {
    uint8_t kind, field;
    uint64_t mask, a, b;
};

/* One field of a broken rule: what it holds, what it should. */
enum { ADVICE_MAX = 6, ALLOWED_MAX = 4 };
struct vmx_advice {
    uint8_t field;
    uint8_t allowed_count;
    bool has_nearest;
    uint64_t seen, nearest;
    struct vmx_allowed allowed[ALLOWED_MAX]; /* the sets that `seen` is not in; all are wanted */
};

bool vmx_allowed_contains(const struct vmx_allowed *set, uint64_t value);
/* False: the set is empty or not known. */
bool vmx_allowed_nearest(const struct vmx_allowed *set, uint64_t value, uint64_t *nearest);
/* "bits 11:0 are 0", like snprintf. */
size_t vmx_allowed_text(const struct vmx_allowed *set, char *buf, size_t size);
/* The fields to change so that a broken row holds. Returns how many (at most ADVICE_MAX). */
unsigned vmx_advise(const struct vmx_check *k, const struct vmx_check_row *row,
                    struct vmx_advice out[ADVICE_MAX]);

#endif
