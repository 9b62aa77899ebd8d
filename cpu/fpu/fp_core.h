/* SPDX-License-Identifier: MIT */
/* The inner form of a floating-point number and the two ends of every operation: unpack and
 * round-and-pack. Included by cpu/fpu/ only; everything is inline so that each format gets its own
 * specialized copy. SDM 1 4.2.2 (formats), 4.8.3 (special values), 4.9.1 (exceptions). */
#ifndef UV_CPU_FPU_CORE_H
#define UV_CPU_FPU_CORE_H

#include "cpu/fpu/fp.h"

typedef unsigned __int128 u128;

#define FP_INLINE static inline __attribute__((always_inline))
#define FP_TOP (UINT64_C(1) << 63)
#define FP_QUIET (UINT64_C(1) << 62)

enum fp_class { FPC_ZERO, FPC_FINITE, FPC_INF, FPC_NAN, FPC_UNSUPPORTED };

/* A finite value is frac / 2^63 * 2^exp. Unpacked operands have bit 63 of frac set; a packed-ready
 * subnormal has it clear at exp = emin. A NaN keeps its payload left-justified below bit 63. */
struct fp_num {
    uint64_t frac;
    int32_t exp;
    uint8_t cls;
    bool sign;
    bool denormal; /* the operand was a denormal: DE */
};

struct fp_format {
    int prec; /* significand bits, integer bit included */
    int emin, emax;
    int bias_adjust; /* exponent wrap of an unmasked overflow or underflow; 0: result not delivered */
};
static const struct fp_format fp_f32 = {24, -126, 127, 0};
static const struct fp_format fp_f64 = {53, -1022, 1023, 0};
static const struct fp_format fp_f80 = {64, -16382, 16383, 24576};
static const struct fp_format fp_f80_p53 = {53, -16382, 16383, 24576};
static const struct fp_format fp_f80_p24 = {24, -16382, 16383, 24576};

FP_INLINE struct fp_num fp_zero(bool sign) { return (struct fp_num){.cls = FPC_ZERO, .sign = sign}; }
FP_INLINE struct fp_num fp_inf(bool sign)
{
    return (struct fp_num){.frac = FP_TOP, .cls = FPC_INF, .sign = sign};
}
FP_INLINE struct fp_num fp_default_nan(void)
{
    return (struct fp_num){.frac = FP_TOP | FP_QUIET, .cls = FPC_NAN, .sign = true};
}
FP_INLINE struct fp_num fp_invalid(struct fp_env *e)
{
    e->flags |= FP_IE;
    return fp_default_nan();
}
FP_INLINE bool fp_is_snan(const struct fp_num *n) { return n->cls == FPC_NAN && !(n->frac & FP_QUIET); }

FP_INLINE struct fp_num fp_unpack(const struct fp_env *e, bool sign, unsigned biased, unsigned max,
                                  uint64_t frac, int bias)
{
    struct fp_num n = {.sign = sign, .cls = FPC_FINITE};
    if (biased == 0) {
        if (frac == 0 || e->daz) return fp_zero(sign);
        int z = __builtin_clzll(frac);
        n.frac = frac << z;
        n.exp = 1 - bias - z; /* the fraction lies below bit 63 */
        n.denormal = true;
        return n;
    }
    n.frac = frac | FP_TOP;
    n.exp = (int32_t)biased - bias;
    if (biased == max) n.cls = frac << 1 ? FPC_NAN : FPC_INF;
    return n;
}
FP_INLINE struct fp_num fp_unpack_f32(const struct fp_env *e, uint32_t v)
{
    return fp_unpack(e, v >> 31, v >> 23 & 0xff, 0xff, (uint64_t)(v & 0x7fffff) << 40, 127);
}
FP_INLINE struct fp_num fp_unpack_f64(const struct fp_env *e, uint64_t v)
{
    return fp_unpack(e, v >> 63, v >> 52 & 0x7ff, 0x7ff, (v & 0xfffffffffffff) << 11, 1023);
}
FP_INLINE struct fp_num fp_unpack_f80(struct f80 v)
{
    struct fp_num n = {.sign = v.se >> 15, .cls = FPC_FINITE, .frac = v.frac};
    unsigned biased = v.se & 0x7fff;
    if (biased == 0) {
        if (v.frac == 0) return fp_zero(n.sign);
        int z = __builtin_clzll(v.frac); /* 0: a pseudo-denormal, valued as with exponent 1 */
        n.frac = v.frac << z;
        n.exp = -16382 - z;
        n.denormal = true;
    } else if (!(v.frac & FP_TOP)) {
        n.cls = FPC_UNSUPPORTED;
    } else if (biased == 0x7fff) {
        n.cls = v.frac << 1 ? FPC_NAN : FPC_INF;
    } else {
        n.exp = (int32_t)biased - 16383;
    }
    return n;
}

FP_INLINE uint32_t fp_pack_f32(struct fp_num n)
{
    uint32_t s = (uint32_t)n.sign << 31;
    switch (n.cls) {
    case FPC_ZERO: return s;
    case FPC_FINITE:
        return s | (n.frac & FP_TOP ? (uint32_t)(n.exp + 127) << 23 : 0) |
               ((uint32_t)(n.frac >> 40) & 0x7fffff);
    default: return s | 0x7f800000 | ((uint32_t)(n.frac >> 40) & 0x7fffff);
    }
}
FP_INLINE uint64_t fp_pack_f64(struct fp_num n)
{
    uint64_t s = (uint64_t)n.sign << 63, m = n.frac >> 11 & 0xfffffffffffff;
    switch (n.cls) {
    case FPC_ZERO: return s;
    case FPC_FINITE: return s | (n.frac & FP_TOP ? (uint64_t)(n.exp + 1023) << 52 : 0) | m;
    default: return s | UINT64_C(0x7ff0000000000000) | m;
    }
}
FP_INLINE struct f80 fp_pack_f80(struct fp_num n)
{
    unsigned s = (unsigned)n.sign << 15;
    switch (n.cls) {
    case FPC_ZERO: return f80_make(s, 0);
    case FPC_FINITE: return f80_make(s | (n.frac & FP_TOP ? (unsigned)(n.exp + 16383) : 0), n.frac);
    default: return f80_make(s | 0x7fff, n.frac);
    }
}

/* Drops the low n bits of hi (n < 64) and all of lo. */
struct fp_rounded {
    uint64_t frac;
    bool inexact, up, carry; /* carry: frac wrapped to 0, the value is 2^64 */
};
FP_INLINE struct fp_rounded fp_round_at(uint64_t hi, uint64_t lo, int n, unsigned rc, bool sign)
{
    struct fp_rounded r = {0};
    uint64_t half, rest, ulp = UINT64_C(1) << n;
    if (n == 0) {
        half = lo >> 63;
        rest = lo << 1;
    } else {
        half = hi >> (n - 1) & 1;
        rest = (hi & ((ulp - 1) >> 1)) | lo;
    }
    r.frac = hi & ~(ulp - 1);
    r.inexact = half || rest;
    switch (rc) {
    case FP_NEAREST: r.up = half && (rest || (r.frac & ulp)); break;
    case FP_DOWN: r.up = sign && r.inexact; break;
    case FP_UP: r.up = !sign && r.inexact; break;
    default: r.up = false;
    }
    if (r.up) {
        r.frac += ulp;
        r.carry = r.frac == 0;
    }
    return r;
}

FP_INLINE void fp_shift_right_jam(uint64_t *hi, uint64_t *lo, int n)
{
    if (n == 0) return;
    if (n < 64) {
        uint64_t out = *lo << (64 - n);
        *lo = *lo >> n | *hi << (64 - n) | (out != 0);
        *hi >>= n;
    } else if (n == 64) {
        *lo = *hi | (*lo != 0);
        *hi = 0;
    } else if (n < 128) {
        uint64_t out = *lo | *hi << (128 - n);
        *lo = *hi >> (n - 64) | (out != 0);
        *hi = 0;
    } else {
        *lo = (*hi | *lo) != 0;
        *hi = 0;
    }
}

/* The one place where results are rounded. Value (hi + lo/2^64) / 2^63 * 2^exp, bit 63 of hi set; lo
 * may hold sticky information in any of its bits. Tininess is judged after rounding. */
FP_INLINE struct fp_num fp_round_pack(struct fp_env *e, const struct fp_format *f, bool sign, int32_t exp,
                                      uint64_t hi, uint64_t lo)
{
    int n = 64 - f->prec;
    struct fp_rounded r = fp_round_at(hi, lo, n, e->rc, sign);
    int32_t rexp = exp;
    if (r.carry) {
        r.frac = FP_TOP;
        rexp++;
    }
    if (__builtin_expect(rexp > f->emax, 0)) {
        e->flags |= FP_OE;
        if (f->bias_adjust && !(e->masked & FP_OE)) {
            rexp -= f->bias_adjust;
            if (rexp > f->emax) { /* FSCALE alone reaches this */
                e->flags |= FP_PE;
                e->round_up = true;
                return fp_inf(sign);
            }
        } else if (e->masked & FP_OE) {
            bool to_inf = e->rc == FP_NEAREST || (e->rc == FP_DOWN && sign) || (e->rc == FP_UP && !sign);
            e->flags |= FP_PE;
            e->round_up = to_inf;
            if (to_inf) return fp_inf(sign);
            return (struct fp_num){
                .frac = ~UINT64_C(0) << n, .exp = f->emax, .cls = FPC_FINITE, .sign = sign};
        }
    } else if (__builtin_expect(rexp < f->emin, 0)) {
        if (!(e->masked & FP_UE)) {
            e->flags |= FP_UE;
            rexp += f->bias_adjust;
            if (rexp < f->emin && f->bias_adjust) {
                e->flags |= FP_PE;
                e->round_up = false;
                return fp_zero(sign);
            }
        } else if (e->ftz) {
            e->flags |= FP_UE | FP_PE;
            return fp_zero(sign);
        } else {
            fp_shift_right_jam(&hi, &lo, f->emin - exp);
            r = fp_round_at(hi, lo, n, e->rc, sign);
            rexp = f->emin;
            if (r.inexact) e->flags |= FP_UE;
        }
    }
    if (r.inexact) e->flags |= FP_PE;
    e->round_up = r.up;
    if (r.frac == 0) return fp_zero(sign);
    return (struct fp_num){.frac = r.frac, .exp = rexp, .cls = FPC_FINITE, .sign = sign};
}

FP_INLINE const struct fp_format *fp_f80_format(const struct fp_env *e)
{
    return e->prec == 64 ? &fp_f80 : e->prec == 53 ? &fp_f80_p53 : &fp_f80_p24;
}

/* NaN operands. x87: of two NaNs a quiet one beats a signaling one, else the larger significand, then
 * the positive sign (SDM 1 table 4-7). SSE: the first operand if it is a NaN, else the second. */
FP_INLINE struct fp_num fp_propagate_nan(struct fp_env *e, struct fp_num a, struct fp_num b)
{
    bool sa = fp_is_snan(&a), sb = fp_is_snan(&b);
    if (sa || sb) e->flags |= FP_IE;
    bool take_a;
    if (a.cls != FPC_NAN || b.cls != FPC_NAN)
        take_a = a.cls == FPC_NAN;
    else if (!e->x87)
        take_a = true;
    else if (sa != sb)
        take_a = sb;
    else if (a.frac != b.frac)
        take_a = a.frac > b.frac;
    else
        take_a = !a.sign;
    struct fp_num r = take_a ? a : b;
    r.frac |= FP_QUIET;
    return r;
}

/* First paragraph of every operation: unsupported encodings, NaNs. True: *r is the result. */
FP_INLINE bool fp_special2(struct fp_env *e, const struct fp_num *a, const struct fp_num *b, struct fp_num *r)
{
    if (__builtin_expect(a->cls < FPC_NAN && b->cls < FPC_NAN, 1)) return false;
    if (a->cls == FPC_UNSUPPORTED || b->cls == FPC_UNSUPPORTED)
        *r = fp_invalid(e);
    else
        *r = fp_propagate_nan(e, *a, *b);
    return true;
}
FP_INLINE bool fp_special1(struct fp_env *e, const struct fp_num *a, struct fp_num *r)
{
    if (__builtin_expect(a->cls < FPC_NAN, 1)) return false;
    if (a->cls == FPC_UNSUPPORTED) {
        *r = fp_invalid(e);
    } else {
        if (fp_is_snan(a)) e->flags |= FP_IE;
        *r = *a;
        r->frac |= FP_QUIET;
    }
    return true;
}
FP_INLINE void fp_note_denormal(struct fp_env *e, bool denormal)
{
    if (__builtin_expect(denormal, 0)) e->flags |= FP_DE;
}

/* |a| against |b|, both finite and not zero. */
FP_INLINE int fp_compare_magnitude(const struct fp_num *a, const struct fp_num *b)
{
    if (a->exp != b->exp) return a->exp < b->exp ? -1 : 1;
    return a->frac < b->frac ? -1 : a->frac > b->frac;
}

#endif
