/* SPDX-License-Identifier: MIT */
/* Packed integer arithmetic, comparison, logic and shifts of MMX, SSE2, SSSE3 and SSE4.1. Each
 * operation is one kernel over n bytes that an MMX handler (n = 8) and an SSE handler (n = 16) share.
 * SDM 2A/2B, the P* instructions; SDM 1 ch. 9, 11, 12. */
#include "cpu/vec.h"

/* K(name): d = d op s over n bytes. */
#define K(name) static inline void k_##name(union vec128 *d, const union vec128 *s, int n)
#define FOR_B for (int i = 0; i < n; i++)
#define FOR_W for (int i = 0; i < n / 2; i++)
#define FOR_D for (int i = 0; i < n / 4; i++)
#define FOR_Q for (int i = 0; i < n / 8; i++)

#define MMX_HANDLER(name)                          \
    VEC_HANDLER(name##_m)                          \
    {                                              \
        union vec128 d = {{0, 0}}, s = {{0, 0}};   \
        if (!mmx_src(c, u, &s.q[0])) return false; \
        d.q[0] = mmx_get(c, u->dst);               \
        k_##name(&d, &s, 8);                       \
        mmx_set(c, u->dst, d.q[0]);                \
        return true;                               \
    }
#define XMM_HANDLER(name)                     \
    VEC_HANDLER(name##_x)                     \
    {                                         \
        union vec128 d, s;                    \
        if (!xmm_src(c, u, &s)) return false; \
        d = xmm_get(c, u->dst);               \
        k_##name(&d, &s, 16);                 \
        xmm_set(c, u->dst, d);                \
        return true;                          \
    }
#define BOTH(name) MMX_HANDLER(name) XMM_HANDLER(name)

static inline uint8_t sat_u8(int v) { return (uint8_t)(v < 0 ? 0 : v > 0xff ? 0xff : v); }
static inline uint16_t sat_u16(int v) { return (uint16_t)(v < 0 ? 0 : v > 0xffff ? 0xffff : v); }
static inline uint8_t sat_s8(int v) { return (uint8_t)(v < -0x80 ? -0x80 : v > 0x7f ? 0x7f : v); }
static inline uint16_t sat_s16(int v) { return (uint16_t)(v < -0x8000 ? -0x8000 : v > 0x7fff ? 0x7fff : v); }

/* Addition and subtraction. */
K(paddb) { FOR_B VB(*d, i) = (uint8_t)(VB(*d, i) + VB(*s, i)); }
K(paddw) { FOR_W VW(*d, i) = (uint16_t)(VW(*d, i) + VW(*s, i)); }
K(paddd) { FOR_D VD(*d, i) += VD(*s, i); }
K(paddq) { FOR_Q VQ(*d, i) += VQ(*s, i); }
K(psubb) { FOR_B VB(*d, i) = (uint8_t)(VB(*d, i) - VB(*s, i)); }
K(psubw) { FOR_W VW(*d, i) = (uint16_t)(VW(*d, i) - VW(*s, i)); }
K(psubd) { FOR_D VD(*d, i) -= VD(*s, i); }
K(psubq) { FOR_Q VQ(*d, i) -= VQ(*s, i); }
K(paddsb) { FOR_B VB(*d, i) = sat_s8(VSB(*d, i) + VSB(*s, i)); }
K(paddsw) { FOR_W VW(*d, i) = sat_s16(VSW(*d, i) + VSW(*s, i)); }
K(paddusb) { FOR_B VB(*d, i) = sat_u8(VB(*d, i) + VB(*s, i)); }
K(paddusw) { FOR_W VW(*d, i) = sat_u16(VW(*d, i) + VW(*s, i)); }
K(psubsb) { FOR_B VB(*d, i) = sat_s8(VSB(*d, i) - VSB(*s, i)); }
K(psubsw) { FOR_W VW(*d, i) = sat_s16(VSW(*d, i) - VSW(*s, i)); }
K(psubusb) { FOR_B VB(*d, i) = sat_u8(VB(*d, i) - VB(*s, i)); }
K(psubusw) { FOR_W VW(*d, i) = sat_u16(VW(*d, i) - VW(*s, i)); }
/* clang-format off */
BOTH(paddb) BOTH(paddw) BOTH(paddd) BOTH(paddq) BOTH(psubb) BOTH(psubw) BOTH(psubd) BOTH(psubq)
BOTH(paddsb) BOTH(paddsw) BOTH(paddusb) BOTH(paddusw) BOTH(psubsb) BOTH(psubsw) BOTH(psubusb)
BOTH(psubusw)
/* clang-format on */

/* Horizontal addition and subtraction: pairs of the destination fill the low half of the result. */
#define HORIZONTAL(name, LANE, SLANE, bytes, expr)              \
    K(name)                                                     \
    {                                                           \
        union vec128 r = {{0, 0}};                              \
        int half = n / (bytes) / 2;                             \
        for (int i = 0; i < half; i++) {                        \
            int a = SLANE(*d, 2 * i), b = SLANE(*d, 2 * i + 1); \
            LANE(r, i) = expr;                                  \
            a = SLANE(*s, 2 * i), b = SLANE(*s, 2 * i + 1);     \
            LANE(r, half + i) = expr;                           \
        }                                                       \
        *d = r;                                                 \
    }
    /* clang-format off */
HORIZONTAL(phaddw, VW, VSW, 2, (uint16_t)(a + b))
HORIZONTAL(phsubw, VW, VSW, 2, (uint16_t)(a - b))
HORIZONTAL(phaddsw, VW, VSW, 2, sat_s16(a + b))
HORIZONTAL(phsubsw, VW, VSW, 2, sat_s16(a - b))
HORIZONTAL(phaddd, VD, VSD, 4, (uint32_t)a + (uint32_t)b)
HORIZONTAL(phsubd, VD, VSD, 4, (uint32_t)a - (uint32_t)b)
BOTH(phaddw) BOTH(phsubw) BOTH(phaddsw) BOTH(phsubsw) BOTH(phaddd) BOTH(phsubd)
    /* clang-format on */

    /* Multiplication. */
    K(pmullw)
{
    FOR_W VW(*d, i) = (uint16_t)(VSW(*d, i) * VSW(*s, i));
}
K(pmulhw) { FOR_W VW(*d, i) = (uint16_t)((VSW(*d, i) * VSW(*s, i)) >> 16); }
K(pmulhuw) { FOR_W VW(*d, i) = (uint16_t)(((uint32_t)VW(*d, i) * VW(*s, i)) >> 16); }
K(pmulhrsw) { FOR_W VW(*d, i) = (uint16_t)((((VSW(*d, i) * VSW(*s, i)) >> 14) + 1) >> 1); }
K(pmulld) { FOR_D VD(*d, i) *= VD(*s, i); }
K(pmuludq) { FOR_Q VQ(*d, i) = (uint64_t)(uint32_t)VQ(*d, i) * (uint32_t)VQ(*s, i); }
K(pmuldq) { FOR_Q VQ(*d, i) = (uint64_t)((int64_t)(int32_t)VQ(*d, i) * (int32_t)VQ(*s, i)); }
K(pmaddwd)
{
    FOR_D
    {
        uint32_t lo = (uint32_t)(VSW(*d, 2 * i) * VSW(*s, 2 * i));
        uint32_t hi = (uint32_t)(VSW(*d, 2 * i + 1) * VSW(*s, 2 * i + 1));
        VD(*d, i) = lo + hi; /* 8000h * 8000h twice wraps to 80000000h */
    }
}
K(pmaddubsw)
{
    FOR_W
    {
        int lo = VB(*d, 2 * i) * VSB(*s, 2 * i), hi = VB(*d, 2 * i + 1) * VSB(*s, 2 * i + 1);
        VW(*d, i) = sat_s16(lo + hi);
    }
}
/* clang-format off */
BOTH(pmullw) BOTH(pmulhw) BOTH(pmulhuw) BOTH(pmulhrsw) BOTH(pmuludq) BOTH(pmaddwd) BOTH(pmaddubsw)
XMM_HANDLER(pmulld) XMM_HANDLER(pmuldq)
    /* clang-format on */

    /* Averages, absolute values, signs, sums of differences. */
    K(pavgb)
{
    FOR_B VB(*d, i) = (uint8_t)((VB(*d, i) + VB(*s, i) + 1) >> 1);
}
K(pavgw) { FOR_W VW(*d, i) = (uint16_t)((VW(*d, i) + VW(*s, i) + 1) >> 1); }
K(pabsb) { FOR_B VB(*d, i) = (uint8_t)(VSB(*s, i) < 0 ? -VSB(*s, i) : VSB(*s, i)); }
K(pabsw) { FOR_W VW(*d, i) = (uint16_t)(VSW(*s, i) < 0 ? -VSW(*s, i) : VSW(*s, i)); }
K(pabsd) { FOR_D VD(*d, i) = VSD(*s, i) < 0 ? 0u - VD(*s, i) : VD(*s, i); }
K(psignb) { FOR_B VB(*d, i) = (uint8_t)(VSB(*s, i) < 0 ? -VSB(*d, i) : VSB(*s, i) ? VSB(*d, i) : 0); }
K(psignw) { FOR_W VW(*d, i) = (uint16_t)(VSW(*s, i) < 0 ? -VSW(*d, i) : VSW(*s, i) ? VSW(*d, i) : 0); }
K(psignd) { FOR_D VD(*d, i) = VSD(*s, i) < 0 ? 0u - VD(*d, i) : VD(*s, i) ? VD(*d, i) : 0; }
K(psadbw)
{
    FOR_Q
    {
        unsigned sum = 0;
        for (int k = 8 * i; k < 8 * i + 8; k++) {
            int diff = VB(*d, k) - VB(*s, k);
            sum += (unsigned)(diff < 0 ? -diff : diff);
        }
        VQ(*d, i) = sum;
    }
}
/* clang-format off */
BOTH(pavgb) BOTH(pavgw) BOTH(pabsb) BOTH(pabsw) BOTH(pabsd) BOTH(psignb) BOTH(psignw) BOTH(psignd)
BOTH(psadbw)
/* clang-format on */

/* Minimum and maximum. */
#define MINMAX(name, FOR, LANE, CMPLANE, op) \
    K(name) { FOR LANE(*d, i) = CMPLANE(*d, i) op CMPLANE(*s, i) ? LANE(*d, i) : LANE(*s, i); }
    MINMAX(pminub, FOR_B, VB, VB, <) MINMAX(pmaxub, FOR_B, VB, VB, >) MINMAX(pminsw, FOR_W, VW, VSW, <)
        MINMAX(pmaxsw, FOR_W, VW, VSW, >) MINMAX(pminsb, FOR_B, VB, VSB, <) MINMAX(pmaxsb, FOR_B, VB, VSB, >)
            MINMAX(pminuw, FOR_W, VW, VW, <) MINMAX(pmaxuw, FOR_W, VW, VW, >)
                MINMAX(pminsd, FOR_D, VD, VSD, <) MINMAX(pmaxsd, FOR_D, VD, VSD, >)
                    MINMAX(pminud, FOR_D, VD, VD, <) MINMAX(pmaxud, FOR_D, VD, VD, >) BOTH(pminub)
    /* clang-format off */
BOTH(pmaxub) BOTH(pminsw) BOTH(pmaxsw) XMM_HANDLER(pminsb) XMM_HANDLER(pmaxsb) XMM_HANDLER(pminuw)
XMM_HANDLER(pmaxuw) XMM_HANDLER(pminsd) XMM_HANDLER(pmaxsd) XMM_HANDLER(pminud) XMM_HANDLER(pmaxud)
    /* clang-format on */

    /* Comparison: all ones where true. */
    K(pcmpeqb)
{
    FOR_B VB(*d, i) = VB(*d, i) == VB(*s, i) ? 0xff : 0;
}
K(pcmpeqw) { FOR_W VW(*d, i) = VW(*d, i) == VW(*s, i) ? 0xffff : 0; }
K(pcmpeqd) { FOR_D VD(*d, i) = VD(*d, i) == VD(*s, i) ? UINT32_MAX : 0; }
K(pcmpeqq) { FOR_Q VQ(*d, i) = VQ(*d, i) == VQ(*s, i) ? UINT64_MAX : 0; }
K(pcmpgtb) { FOR_B VB(*d, i) = VSB(*d, i) > VSB(*s, i) ? 0xff : 0; }
K(pcmpgtw) { FOR_W VW(*d, i) = VSW(*d, i) > VSW(*s, i) ? 0xffff : 0; }
K(pcmpgtd) { FOR_D VD(*d, i) = VSD(*d, i) > VSD(*s, i) ? UINT32_MAX : 0; }
K(pcmpgtq) { FOR_Q VQ(*d, i) = VSQ(*d, i) > VSQ(*s, i) ? UINT64_MAX : 0; }
/* clang-format off */
BOTH(pcmpeqb) BOTH(pcmpeqw) BOTH(pcmpeqd) BOTH(pcmpgtb) BOTH(pcmpgtw) BOTH(pcmpgtd)
XMM_HANDLER(pcmpeqq) XMM_HANDLER(pcmpgtq)
    /* clang-format on */

    /* Logic; the floating-point mnemonics (ANDPS, XORPD) share these rows' handlers. */
    K(pand)
{
    FOR_Q VQ(*d, i) &= VQ(*s, i);
}
K(pandn) { FOR_Q VQ(*d, i) = ~VQ(*d, i) & VQ(*s, i); }
K(por) { FOR_Q VQ(*d, i) |= VQ(*s, i); }
K(pxor) { FOR_Q VQ(*d, i) ^= VQ(*s, i); }
/* clang-format off */
BOTH(pand) BOTH(pandn) BOTH(por) BOTH(pxor)
/* clang-format on */

/* Shifts: the count is the whole low quadword of the source, or the immediate. */
#define SHIFT(name, FOR, LANE, bits, in_range, beyond)                      \
    static inline void shift_##name(union vec128 *d, uint64_t count, int n) \
    {                                                                       \
        FOR LANE(*d, i) = count < (bits) ? in_range : beyond;               \
    }                                                                       \
    K(name) { shift_##name(d, s->q[0], n); }                                \
    BOTH(name)                                                              \
    VEC_HANDLER(name##_im)                                                  \
    {                                                                       \
        union vec128 d = {{mmx_get(c, u->dst), 0}};                         \
        shift_##name(&d, u->imm & 0xff, 8);                                 \
        mmx_set(c, u->dst, d.q[0]);                                         \
        return true;                                                        \
    }                                                                       \
    VEC_HANDLER(name##_ix)                                                  \
    {                                                                       \
        union vec128 d = xmm_get(c, u->dst);                                \
        shift_##name(&d, u->imm & 0xff, 16);                                \
        xmm_set(c, u->dst, d);                                              \
        return true;                                                        \
    }
    SHIFT(psllw, FOR_W, VW, 16, (uint16_t)(VW(*d, i) << count), 0)
        SHIFT(pslld, FOR_D, VD, 32, VD(*d, i) << count, 0) SHIFT(psllq, FOR_Q, VQ, 64, VQ(*d, i) << count, 0)
            SHIFT(psrlw, FOR_W, VW, 16, (uint16_t)(VW(*d, i) >> count),
                  0) SHIFT(psrld, FOR_D, VD, 32, VD(*d, i) >> count, 0) SHIFT(psrlq, FOR_Q, VQ, 64,
                                                                              VQ(*d, i) >> count, 0)
                SHIFT(psraw, FOR_W, VW, 16, (uint16_t)(VSW(*d, i) >> count), (uint16_t)(VSW(*d, i) >> 15))
                    SHIFT(psrad, FOR_D, VD, 32, (uint32_t)(VSD(*d, i) >> count), (uint32_t)(VSD(*d, i) >> 31))

                        VEC_HANDLER(pslldq_ix)
{
    union vec128 d = xmm_get(c, u->dst), r = {{0, 0}};
    for (unsigned i = (unsigned)(u->imm & 0xff); i < 16; i++)
        VB(r, i) = VB(d, i - (u->imm & 0xff));
    xmm_set(c, u->dst, r);
    return true;
}
VEC_HANDLER(psrldq_ix)
{
    union vec128 d = xmm_get(c, u->dst), r = {{0, 0}};
    for (unsigned i = (unsigned)(u->imm & 0xff); i < 16; i++)
        VB(r, i - (u->imm & 0xff)) = VB(d, i);
    xmm_set(c, u->dst, r);
    return true;
}
