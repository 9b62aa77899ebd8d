/* SPDX-License-Identifier: MIT */
/* One walk over a state struct serves snapshot save, snapshot load and state hash: a visitor is told
 * each field in a fixed order, as little-endian bytes on every host. */
#ifndef UV_MACHINE_VISIT_H
#define UV_MACHINE_VISIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct visitor {
    /* Saving or hashing: takes n bytes. Loading: fills n bytes (zeros after the end, and sets failed). */
    void (*bytes)(struct visitor *v, uint8_t *data, size_t n);
    bool loading;
    bool failed; /* loading: the input was too short or held a value out of range */
    void *opaque;
};

void visit_u8(struct visitor *v, uint8_t *x);
void visit_u16(struct visitor *v, uint16_t *x);
void visit_u32(struct visitor *v, uint32_t *x);
void visit_u64(struct visitor *v, uint64_t *x);
void visit_bool(struct visitor *v, bool *x);
void visit_u8s(struct visitor *v, uint8_t *x, size_t n);
void visit_u16s(struct visitor *v, uint16_t *x, size_t n);
void visit_u32s(struct visitor *v, uint32_t *x, size_t n);
void visit_u64s(struct visitor *v, uint64_t *x, size_t n);
/* Loading: a value that must stay below `limit`; otherwise the visit fails. */
void visit_check_below(struct visitor *v, uint64_t value, uint64_t limit);

#endif
