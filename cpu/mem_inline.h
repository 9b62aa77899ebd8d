/* SPDX-License-Identifier: MIT */
/* The fast path of every load and store: segment window, one tag compare, host access. The slow path
 * (mem.c) leaves its value in the cpu, because no address of a local may escape from a handler that ends
 * in a tail call. Included by mem.h only. SDM 3A 3.4, 4.10.2. */
#ifndef UV_CPU_MEM_INLINE_H
#define UV_CPU_MEM_INLINE_H

#include <string.h>

#include "cpu/tlb.h"

#define MEM_INLINE static inline __attribute__((always_inline))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LE16(v) (v)
#define LE32(v) (v)
#define LE64(v) (v)
#else
#define LE16(v) __builtin_bswap16(v)
#define LE32(v) __builtin_bswap32(v)
#define LE64(v) __builtin_bswap64(v)
#endif
#define LE8(v) (v)

/* Guest memory is little-endian bytes on every host. */
MEM_INLINE uint64_t host_load(const uint8_t *p, uint32_t size)
{
    uint16_t w;
    uint32_t d;
    uint64_t q;
    switch (size) {
    case 1: return *p;
    case 2: memcpy(&w, p, 2); return LE16(w);
    case 4: memcpy(&d, p, 4); return LE32(d);
    default: memcpy(&q, p, 8); return LE64(q);
    }
}

MEM_INLINE void host_store(uint8_t *p, uint32_t size, uint64_t v)
{
    uint16_t w = LE16((uint16_t)v);
    uint32_t d = LE32((uint32_t)v);
    uint64_t q = LE64(v);
    switch (size) {
    case 1: *p = (uint8_t)v; break;
    case 2: memcpy(p, &w, 2); break;
    case 4: memcpy(p, &d, 4); break;
    default: memcpy(p, &q, 8); break;
    }
}

MEM_INLINE struct tlb_entry *tlb_slot(struct cpu *c, uint64_t lin)
{
    return &c->tlb_l1[lin >> 12 & (TLB_L1_SIZE - 1)];
}
/* `last` is the last byte of the access: an access that crosses a page cannot match the slot of its first
 * byte, so alignment needs no test of its own. */
MEM_INLINE uint64_t tlb_want(const struct cpu *c, uint64_t last)
{
    return (last & ~UINT64_C(0xfff)) | c->tlb_ctx;
}
MEM_INLINE uint8_t *tlb_host(const struct tlb_entry *e, uint64_t lin)
{
    return (uint8_t *)(uintptr_t)(lin + e->addend);
}

/* Slow paths: segment checks, #AC, translation, page crossing, MMIO, data breakpoints. */
bool mem_read_slow(struct cpu *c, unsigned seg, uint64_t off, uint32_t size); /* value in c->mem_value[0] */
bool mem_write_slow(struct cpu *c, unsigned seg, uint64_t off, uint32_t size, uint64_t v);
bool mem_rmw_slow(struct cpu *c, unsigned seg, uint64_t off, uint32_t size);
void mem_rmw_commit_slow(struct cpu *c, uint32_t size, uint64_t v);
bool mem_read128_slow(struct cpu *c, unsigned seg, uint64_t off, bool align16); /* c->mem_value[0..1] */
bool mem_write128_slow(struct cpu *c, unsigned seg, uint64_t off, bool align16, uint64_t lo, uint64_t hi);

#define MEM_ACCESS(bits)                                                                             \
    MEM_INLINE bool mem_read##bits(struct cpu *c, unsigned seg, uint64_t off, uint##bits##_t *v)     \
    {                                                                                                \
        const struct seg_window *w = &c->win[seg];                                                   \
        uint64_t lin = w->base + off;                                                                \
        const struct tlb_entry *e = tlb_slot(c, lin);                                                \
        if (LIKELY(off + bits / 8 <= w->read_top && e->read == tlb_want(c, lin + bits / 8 - 1))) {   \
            *v = (uint##bits##_t)host_load(tlb_host(e, lin), bits / 8);                              \
            return true;                                                                             \
        }                                                                                            \
        if (!mem_read_slow(c, seg, off, bits / 8)) return false;                                     \
        *v = (uint##bits##_t)c->mem_value[0];                                                        \
        return true;                                                                                 \
    }                                                                                                \
    MEM_INLINE bool mem_write##bits(struct cpu *c, unsigned seg, uint64_t off, uint##bits##_t v)     \
    {                                                                                                \
        const struct seg_window *w = &c->win[seg];                                                   \
        uint64_t lin = w->base + off;                                                                \
        const struct tlb_entry *e = tlb_slot(c, lin);                                                \
        if (LIKELY(off + bits / 8 <= w->write_top && e->write == tlb_want(c, lin + bits / 8 - 1))) { \
            host_store(tlb_host(e, lin), bits / 8, v);                                               \
            return true;                                                                             \
        }                                                                                            \
        return mem_write_slow(c, seg, off, bits / 8, v);                                             \
    }
MEM_ACCESS(8)
MEM_ACCESS(16)
MEM_ACCESS(32)
MEM_ACCESS(64)
#undef MEM_ACCESS

MEM_INLINE bool mem_rmw_read(struct cpu *c, unsigned seg, uint64_t off, uint32_t size, uint64_t *v)
{
    const struct seg_window *w = &c->win[seg];
    uint64_t lin = w->base + off;
    const struct tlb_entry *e = tlb_slot(c, lin);
    if (LIKELY(off + size <= w->write_top && e->write == tlb_want(c, lin + size - 1))) {
        c->rmw.host = tlb_host(e, lin);
        *v = host_load(c->rmw.host, size);
        return true;
    }
    if (!mem_rmw_slow(c, seg, off, size)) return false;
    *v = c->mem_value[0];
    return true;
}

MEM_INLINE void mem_rmw_commit(struct cpu *c, uint32_t size, uint64_t v)
{
    if (LIKELY(c->rmw.host != NULL))
        host_store(c->rmw.host, size, v);
    else
        mem_rmw_commit_slow(c, size, v);
}

MEM_INLINE bool mem_read128(struct cpu *c, unsigned seg, uint64_t off, bool align16, uint64_t v[2])
{
    const struct seg_window *w = &c->win[seg];
    uint64_t lin = w->base + off;
    const struct tlb_entry *e = tlb_slot(c, lin);
    if (LIKELY(off + 16 <= w->read_top && e->read == tlb_want(c, lin + 15) &&
               !(align16 && (lin & 15) != 0))) {
        v[0] = host_load(tlb_host(e, lin), 8);
        v[1] = host_load(tlb_host(e, lin) + 8, 8);
        return true;
    }
    if (!mem_read128_slow(c, seg, off, align16)) return false;
    v[0] = c->mem_value[0];
    v[1] = c->mem_value[1];
    return true;
}

MEM_INLINE bool mem_write128(struct cpu *c, unsigned seg, uint64_t off, bool align16, const uint64_t v[2])
{
    const struct seg_window *w = &c->win[seg];
    uint64_t lin = w->base + off;
    const struct tlb_entry *e = tlb_slot(c, lin);
    if (LIKELY(off + 16 <= w->write_top && e->write == tlb_want(c, lin + 15) &&
               !(align16 && (lin & 15) != 0))) {
        host_store(tlb_host(e, lin), 8, v[0]);
        host_store(tlb_host(e, lin) + 8, 8, v[1]);
        return true;
    }
    return mem_write128_slow(c, seg, off, align16, v[0], v[1]);
}

#endif
