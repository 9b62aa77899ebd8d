/* SPDX-License-Identifier: MIT */
/* Lanes of vector and MMX registers, and how vector handlers reach their operands. Registers hold
 * quadwords in value order; a lane is reached through an index that is turned round on big-endian
 * hosts, so lane i is the same bits everywhere. SDM 1 ch. 9-12 (MMX and SSE programming), APM 1 ch. 4, 5. */
#ifndef UV_CPU_VEC_H
#define UV_CPU_VEC_H

#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/uop.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { LANE_B = 0, LANE_W = 0, LANE_D = 0 };
#else
enum { LANE_B = 7, LANE_W = 3, LANE_D = 1 };
#endif

union vec128 {
    uint64_t q[2];
    uint32_t d[4];
    uint16_t w[8];
    uint8_t b[16];
};

/* Lane i of v, unsigned or signed; also assignable (VB, VW, VD, VQ). */
#define VB(v, i) ((v).b[(i) ^ LANE_B])
#define VW(v, i) ((v).w[(i) ^ LANE_W])
#define VD(v, i) ((v).d[(i) ^ LANE_D])
#define VQ(v, i) ((v).q[i])
#define VSB(v, i) ((int8_t)VB(v, i))
#define VSW(v, i) ((int16_t)VW(v, i))
#define VSD(v, i) ((int32_t)VD(v, i))
#define VSQ(v, i) ((int64_t)VQ(v, i))

/* A handler whose work is one function that returns false on a fault. Operand buffers live in that
 * function's frame only, so that NEXT stays a jump. */
#define VEC_HANDLER(name)                                             \
    static inline bool do_##name(struct cpu *c, const struct uop *u); \
    HANDLER_ALL(name)                                                 \
    {                                                                 \
        TRY(do_##name(c, u));                                         \
        NEXT;                                                         \
    }                                                                 \
    static inline bool do_##name(struct cpu *c, const struct uop *u)

static inline union vec128 xmm_get(const struct cpu *c, unsigned n)
{
    return (union vec128){.q = {c->s.vec[n].q[0], c->s.vec[n].q[1]}};
}
static inline void xmm_set(struct cpu *c, unsigned n, union vec128 v)
{
    c->s.vec[n].q[0] = v.q[0];
    c->s.vec[n].q[1] = v.q[1];
}

/* MXCSR.MM lifts the alignment rule of load-execute forms where the CPU has it (APM 1 4.3.2). */
enum { MXCSR_MM = 1 << 17 };
static inline uint32_t mxcsr_valid_mask(const struct cpu *c)
{
    return has_feature(c, FEAT_MISALIGNSSE) ? 0x2ffff : 0xffff;
}
static inline bool vec_must_align(const struct cpu *c) { return !(c->s.fpu.mxcsr & MXCSR_MM); }

/* The r/m operand: register `n` or the memory operand of u. */
static inline bool xmm_load(struct cpu *c, const struct uop *u, unsigned n, bool align, union vec128 *v)
{
    if (!(u->flags & UOP_MEM)) {
        *v = xmm_get(c, n);
        return true;
    }
    return mem_read128(c, u_seg(u), u_ea(c, u), align, v->q);
}
/* Second operand of a load-execute form. */
static inline bool xmm_src(struct cpu *c, const struct uop *u, union vec128 *v)
{
    return xmm_load(c, u, u->src, vec_must_align(c), v);
}
static inline bool xmm_src64(struct cpu *c, const struct uop *u, uint64_t *v)
{
    if (u->flags & UOP_MEM) return mem_read64(c, u_seg(u), u_ea(c, u), v);
    *v = c->s.vec[u->src].q[0];
    return true;
}
static inline bool xmm_src32(struct cpu *c, const struct uop *u, uint32_t *v)
{
    if (u->flags & UOP_MEM) return mem_read32(c, u_seg(u), u_ea(c, u), v);
    *v = (uint32_t)c->s.vec[u->src].q[0];
    return true;
}

/* MMX registers are the fractions of the physical x87 registers. Each MMX instruction except EMMS
 * sets TOP to 0 and all tags to valid; a write sets the sign and exponent to ones (SDM 1 9.5). */
static inline void mmx_enter(struct cpu *c)
{
    c->s.fpu.top = 0;
    c->s.fpu.tag = 0xff;
}
static inline uint64_t mmx_get(const struct cpu *c, unsigned n) { return c->s.fpu.st[n & 7].frac; }
static inline void mmx_set(struct cpu *c, unsigned n, uint64_t v)
{
    mmx_enter(c);
    c->s.fpu.st[n & 7].frac = v;
    c->s.fpu.st[n & 7].se = 0xffff;
}
static inline bool mmx_src(struct cpu *c, const struct uop *u, uint64_t *v)
{
    if (u->flags & UOP_MEM) return mem_read64(c, u_seg(u), u_ea(c, u), v);
    *v = mmx_get(c, u->src);
    return true;
}

#endif
