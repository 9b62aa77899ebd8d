/* SPDX-License-Identifier: MIT */
/* Field visitors: little-endian on every host. */
#include "machine/visit.h"

#include <string.h>

static void visit_le(struct visitor *v, uint64_t *x, size_t n)
{
    uint8_t b[8];
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)(*x >> 8 * i);
    v->bytes(v, b, n);
    if (!v->loading) return;
    *x = 0;
    for (size_t i = 0; i < n; i++)
        *x |= (uint64_t)b[i] << 8 * i;
}

#define VISIT(type, suffix)                                      \
    void visit_##suffix(struct visitor *v, type *x)              \
    {                                                            \
        uint64_t t = *x;                                         \
        visit_le(v, &t, sizeof *x);                              \
        if (v->loading) *x = (type)t;                            \
    }                                                            \
    void visit_##suffix##s(struct visitor *v, type *x, size_t n) \
    {                                                            \
        for (size_t i = 0; i < n; i++)                           \
            visit_##suffix(v, x + i);                            \
    }

VISIT(uint16_t, u16)
VISIT(uint32_t, u32)
VISIT(uint64_t, u64)

void visit_u8(struct visitor *v, uint8_t *x) { v->bytes(v, x, 1); }
void visit_u8s(struct visitor *v, uint8_t *x, size_t n) { v->bytes(v, x, n); }

void visit_bool(struct visitor *v, bool *x)
{
    uint8_t b = *x;
    visit_u8(v, &b);
    if (v->loading) *x = b != 0;
}

void visit_check_below(struct visitor *v, uint64_t value, uint64_t limit)
{
    if (v->loading && value >= limit) v->failed = true;
}
