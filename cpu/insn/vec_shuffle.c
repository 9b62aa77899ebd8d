/* SPDX-License-Identifier: MIT */
/* Shuffles, unpacks, packs, word inserts and extracts of MMX, SSE, SSE2 and SSSE3.
 * SDM 2A/2B: PSHUF*, SHUFPS/PD, PUNPCK*, UNPCK*, PACK*, PALIGNR, PINSRW, PEXTRW. */
#include "cpu/vec.h"

/* r = f(d, s, immediate) over n bytes. */
#define K(name) static inline union vec128 k_##name(union vec128 d, union vec128 s, unsigned imm, int n)
#define UNUSED_IMM ((void)imm)
#define MMX_HANDLER(name)                                            \
    VEC_HANDLER(name##_m)                                            \
    {                                                                \
        union vec128 d = {{0, 0}}, s = {{0, 0}};                     \
        if (!mmx_src(c, u, &s.q[0])) return false;                   \
        d.q[0] = mmx_get(c, u->dst);                                 \
        mmx_set(c, u->dst, k_##name(d, s, (uint8_t)u->imm, 8).q[0]); \
        return true;                                                 \
    }
#define XMM_HANDLER(name)                                                         \
    VEC_HANDLER(name##_x)                                                         \
    {                                                                             \
        union vec128 s;                                                           \
        if (!xmm_src(c, u, &s)) return false;                                     \
        xmm_set(c, u->dst, k_##name(xmm_get(c, u->dst), s, (uint8_t)u->imm, 16)); \
        return true;                                                              \
    }
#define BOTH(name) MMX_HANDLER(name) XMM_HANDLER(name)

/* Interleave the low or high halves: element i of d goes to 2i, of s to 2i + 1. */
#define UNPACK(name, LANE, bytes, high)                       \
    K(name)                                                   \
    {                                                         \
        union vec128 r = {{0, 0}};                            \
        int half = n / (bytes) / 2, from = (high) ? half : 0; \
        UNUSED_IMM;                                           \
        for (int i = 0; i < half; i++) {                      \
            LANE(r, 2 * i) = LANE(d, from + i);               \
            LANE(r, 2 * i + 1) = LANE(s, from + i);           \
        }                                                     \
        return r;                                             \
    }
UNPACK(punpcklbw, VB, 1, false)
UNPACK(punpcklwd, VW, 2, false)
UNPACK(punpckldq, VD, 4, false)
UNPACK(punpcklqdq, VQ, 8, false)
UNPACK(punpckhbw, VB, 1, true)
UNPACK(punpckhwd, VW, 2, true)
UNPACK(punpckhdq, VD, 4, true)
UNPACK(punpckhqdq, VQ, 8, true)

/* The MMX low unpacks read 32 bits of memory only (SDM 2B: PUNPCKLBW). */
#define MMX_UNPACK_LOW(name)                                              \
    VEC_HANDLER(name##_m)                                                 \
    {                                                                     \
        union vec128 d = {{0, 0}}, s = {{0, 0}};                          \
        if (u->flags & UOP_MEM) {                                         \
            uint32_t low;                                                 \
            if (!mem_read32(c, u_seg(u), u_ea(c, u), &low)) return false; \
            s.q[0] = low;                                                 \
        } else {                                                          \
            s.q[0] = mmx_get(c, u->src);                                  \
        }                                                                 \
        d.q[0] = mmx_get(c, u->dst);                                      \
        mmx_set(c, u->dst, k_##name(d, s, 0, 8).q[0]);                    \
        return true;                                                      \
    }
/* clang-format off */
MMX_UNPACK_LOW(punpcklbw) MMX_UNPACK_LOW(punpcklwd) MMX_UNPACK_LOW(punpckldq) BOTH(punpckhbw)
BOTH(punpckhwd) BOTH(punpckhdq) XMM_HANDLER(punpcklbw) XMM_HANDLER(punpcklwd) XMM_HANDLER(punpckldq)
XMM_HANDLER(punpcklqdq) XMM_HANDLER(punpckhqdq)
/* clang-format on */

/* Pack with saturation: d fills the low half, s the high half. */
#define PACK(name, TO, FROM, bytes, lo, hi)             \
    K(name)                                             \
    {                                                   \
        union vec128 r = {{0, 0}};                      \
        int count = n / (bytes);                        \
        UNUSED_IMM;                                     \
        for (int i = 0; i < count; i++) {               \
            int a = FROM(d, i), b = FROM(s, i);         \
            a = a < (lo) ? (lo) : a > (hi) ? (hi) : a;  \
            b = b < (lo) ? (lo) : b > (hi) ? (hi) : b;  \
            TO(r, i) = (__typeof__(TO(r, 0)))a;         \
            TO(r, count + i) = (__typeof__(TO(r, 0)))b; \
        }                                               \
        return r;                                       \
    }
            PACK(packsswb, VB, VSW, 2, -0x80, 0x7f) PACK(packuswb, VB, VSW, 2, 0, 0xff)
                PACK(packssdw, VW, VSD, 4, -0x8000, 0x7fff) PACK(packusdw, VW, VSD, 4, 0, 0xffff)
    /* clang-format off */
BOTH(packsswb) BOTH(packuswb) BOTH(packssdw) XMM_HANDLER(packusdw)
    /* clang-format on */

    /* Shuffles by an immediate. */
    K(pshufw)
{
    union vec128 r = d;
    (void)n;
    for (int i = 0; i < 4; i++)
        VW(r, i) = VW(s, imm >> 2 * i & 3);
    return r;
}
/* clang-format off */
MMX_HANDLER(pshufw)
/* clang-format on */
K(pshufd)
{
    union vec128 r = d;
    (void)n;
    for (int i = 0; i < 4; i++)
        VD(r, i) = VD(s, imm >> 2 * i & 3);
    return r;
}
K(pshuflw)
{
    union vec128 r = s;
    (void)d, (void)n;
    for (int i = 0; i < 4; i++)
        VW(r, i) = VW(s, imm >> 2 * i & 3);
    return r;
}
K(pshufhw)
{
    union vec128 r = s;
    (void)d, (void)n;
    for (int i = 0; i < 4; i++)
        VW(r, 4 + i) = VW(s, 4 + (imm >> 2 * i & 3));
    return r;
}
K(shufps)
{
    union vec128 r;
    (void)n;
    VD(r, 0) = VD(d, imm & 3);
    VD(r, 1) = VD(d, imm >> 2 & 3);
    VD(r, 2) = VD(s, imm >> 4 & 3);
    VD(r, 3) = VD(s, imm >> 6 & 3);
    return r;
}
K(shufpd)
{
    (void)n;
    return (union vec128){{d.q[imm & 1], s.q[imm >> 1 & 1]}};
}
/* clang-format off */
XMM_HANDLER(pshufd) XMM_HANDLER(pshuflw) XMM_HANDLER(pshufhw) XMM_HANDLER(shufps)
XMM_HANDLER(shufpd)
    /* clang-format on */

    /* Shuffle by bytes of the source: bit 7 of a selector clears its byte. */
    K(pshufb)
{
    union vec128 r = {{0, 0}};
    UNUSED_IMM;
    for (int i = 0; i < n; i++)
        VB(r, i) = VB(s, i) & 0x80 ? 0 : VB(d, VB(s, i) & (n - 1));
    return r;
}
/* Bytes imm..imm+n-1 of the double-length value d:s. */
K(palignr)
{
    union vec128 r = {{0, 0}};
    for (unsigned i = 0; i < (unsigned)n; i++) {
        unsigned at = i + imm;
        VB(r, i) = at < (unsigned)n ? VB(s, at) : at < 2 * (unsigned)n ? VB(d, at - (unsigned)n) : 0;
    }
    return r;
}
/* clang-format off */
BOTH(pshufb) BOTH(palignr)
    /* clang-format on */

    /* One word in, one word out. */
    static inline bool word_source(struct cpu *c, const struct uop *u, uint16_t *v)
{
    if (u->flags & UOP_MEM) return mem_read16(c, u_seg(u), u_ea(c, u), v);
    *v = R16(u->src);
    return true;
}
VEC_HANDLER(pinsrw_m)
{
    uint16_t w;
    if (!word_source(c, u, &w)) return false;
    union vec128 d = {{mmx_get(c, u->dst), 0}};
    VW(d, u->imm & 3) = w;
    mmx_set(c, u->dst, d.q[0]);
    return true;
}
VEC_HANDLER(pinsrw_x)
{
    uint16_t w;
    if (!word_source(c, u, &w)) return false;
    union vec128 d = xmm_get(c, u->dst);
    VW(d, u->imm & 7) = w;
    xmm_set(c, u->dst, d);
    return true;
}
VEC_HANDLER(pextrw_m)
{
    union vec128 s = {{mmx_get(c, u->src), 0}};
    W64(u->dst, VW(s, u->imm & 3));
    mmx_enter(c);
    return true;
}
VEC_HANDLER(pextrw_x)
{
    union vec128 s = xmm_get(c, u->src);
    W64(u->dst, VW(s, u->imm & 7));
    return true;
}
