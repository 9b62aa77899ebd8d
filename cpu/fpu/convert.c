/* SPDX-License-Identifier: MIT */
/* Conversions between the formats and to and from integers, rounding to an integral value, and the x87
 * constants. SDM 1 4.8.4, 8.1.6, 8.3.4, 11.4.1.6; 2A CVTxx, FIST, FRNDINT, FLD1; 2B ROUNDSS. */
#include "cpu/fpu/fp_core.h"

/* Magnitude of a finite number rounded to an integer; false: 2^64 or more. */
FP_INLINE bool round_magnitude(const struct fp_num *a, unsigned rc, uint64_t *v, bool *inexact, bool *up)
{
    *inexact = *up = false;
    if (a->exp >= 64) return false;
    if (a->exp == 63) {
        *v = a->frac;
        return true;
    }
    uint64_t hi = a->frac, lo = 0;
    fp_shift_right_jam(&hi, &lo, 63 - a->exp);
    struct fp_rounded r = fp_round_at(hi, lo, 0, rc, a->sign);
    *v = r.frac;
    *inexact = r.inexact;
    *up = r.up;
    return !r.carry;
}

FP_INLINE int64_t core_to_int(struct fp_env *e, struct fp_num a, unsigned bits, unsigned rc)
{
    uint64_t limit = UINT64_C(1) << (bits - 1), v = 0;
    bool inexact = false, up = false;
    e->round_up = false;
    if (a.cls == FPC_ZERO) return 0;
    if (a.cls != FPC_FINITE || !round_magnitude(&a, rc, &v, &inexact, &up) || v > limit - !a.sign) {
        e->flags |= FP_IE;
        return (int64_t)(0 - limit);
    }
    if (inexact) e->flags |= FP_PE;
    e->round_up = up;
    return (int64_t)(a.sign ? 0 - v : v);
}
int64_t f32_to_int(struct fp_env *e, uint32_t a, unsigned bits, unsigned rc)
{
    return core_to_int(e, fp_unpack_f32(e, a), bits, rc);
}
int64_t f64_to_int(struct fp_env *e, uint64_t a, unsigned bits, unsigned rc)
{
    return core_to_int(e, fp_unpack_f64(e, a), bits, rc);
}
int64_t f80_to_int(struct fp_env *e, struct f80 a, unsigned bits, unsigned rc)
{
    return core_to_int(e, fp_unpack_f80(a), bits, rc);
}

FP_INLINE struct fp_num core_from_int(int64_t v)
{
    if (v == 0) return fp_zero(false);
    uint64_t m = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    int z = __builtin_clzll(m);
    return (struct fp_num){.frac = m << z, .exp = 63 - z, .cls = FPC_FINITE, .sign = v < 0};
}
uint32_t int_to_f32(struct fp_env *e, int64_t v)
{
    struct fp_num n = core_from_int(v);
    if (n.cls == FPC_FINITE) n = fp_round_pack(e, &fp_f32, n.sign, n.exp, n.frac, 0);
    return fp_pack_f32(n);
}
uint64_t int_to_f64(struct fp_env *e, int64_t v)
{
    struct fp_num n = core_from_int(v);
    if (n.cls == FPC_FINITE) n = fp_round_pack(e, &fp_f64, n.sign, n.exp, n.frac, 0);
    return fp_pack_f64(n);
}
struct f80 int_to_f80(int64_t v) { return fp_pack_f80(core_from_int(v)); }

/* note: is a denormal operand DE? FST of a double-extended denormal is not (SDM 2A FST). */
FP_INLINE struct fp_num core_to_format(struct fp_env *e, const struct fp_format *f, struct fp_num a,
                                       bool note)
{
    struct fp_num r;
    e->round_up = false;
    if (fp_special1(e, &a, &r)) {
        r.frac &= ~UINT64_C(0) << (64 - f->prec);
        return r;
    }
    if (note) fp_note_denormal(e, a.denormal);
    if (a.cls != FPC_FINITE) return a;
    return fp_round_pack(e, f, a.sign, a.exp, a.frac, 0);
}
uint64_t f32_to_f64(struct fp_env *e, uint32_t a)
{
    return fp_pack_f64(core_to_format(e, &fp_f64, fp_unpack_f32(e, a), true));
}
uint32_t f64_to_f32(struct fp_env *e, uint64_t a)
{
    return fp_pack_f32(core_to_format(e, &fp_f32, fp_unpack_f64(e, a), true));
}
struct f80 f32_to_f80(struct fp_env *e, uint32_t a)
{
    return fp_pack_f80(core_to_format(e, &fp_f80, fp_unpack_f32(e, a), true));
}
struct f80 f64_to_f80(struct fp_env *e, uint64_t a)
{
    return fp_pack_f80(core_to_format(e, &fp_f80, fp_unpack_f64(e, a), true));
}
uint32_t f80_to_f32(struct fp_env *e, struct f80 a)
{
    return fp_pack_f32(core_to_format(e, &fp_f32, fp_unpack_f80(a), false));
}
uint64_t f80_to_f64(struct fp_env *e, struct f80 a)
{
    return fp_pack_f64(core_to_format(e, &fp_f64, fp_unpack_f80(a), false));
}

FP_INLINE struct fp_num core_round_int(struct fp_env *e, const struct fp_format *f, struct fp_num a,
                                       unsigned rc)
{
    struct fp_num r;
    e->round_up = false;
    if (fp_special1(e, &a, &r)) return r;
    if (e->x87) fp_note_denormal(e, a.denormal);
    if (a.cls != FPC_FINITE || a.exp >= f->prec - 1) return a;
    uint64_t v;
    bool inexact;
    round_magnitude(&a, rc, &v, &inexact, &e->round_up);
    if (inexact) e->flags |= FP_PE;
    if (v == 0) return fp_zero(a.sign);
    int z = __builtin_clzll(v);
    return (struct fp_num){.frac = v << z, .exp = 63 - z, .cls = FPC_FINITE, .sign = a.sign};
}
uint32_t f32_round_int(struct fp_env *e, uint32_t a, unsigned rc)
{
    return fp_pack_f32(core_round_int(e, &fp_f32, fp_unpack_f32(e, a), rc));
}
uint64_t f64_round_int(struct fp_env *e, uint64_t a, unsigned rc)
{
    return fp_pack_f64(core_round_int(e, &fp_f64, fp_unpack_f64(e, a), rc));
}
struct f80 f80_round_int(struct fp_env *e, struct f80 a)
{
    return fp_pack_f80(core_round_int(e, &fp_f80, fp_unpack_f80(a), e->rc));
}

/* Truncated significands and what follows them: the tail is never a tie, so rounding needs only
 * whether it is above one half. SDM 2A FLD1/FLDL2T/FLDL2E/FLDPI/FLDLG2/FLDLN2/FLDZ. */
static const struct {
    uint64_t frac;
    uint16_t exp;
    uint8_t exact, above_half;
} constants[7] = {
    {UINT64_C(0x8000000000000000), 0x3fff, 1, 0}, /* 1 */
    {UINT64_C(0xd49a784bcd1b8afe), 0x4000, 0, 0}, /* log2(10) = ...8afe|492b */
    {UINT64_C(0xb8aa3b295c17f0bb), 0x3fff, 0, 1}, /* log2(e) = ...f0bb|be87 */
    {UINT64_C(0xc90fdaa22168c234), 0x4000, 0, 1}, /* pi = ...c234|c4c6 */
    {UINT64_C(0x9a209a84fbcff798), 0x3ffd, 0, 1}, /* log10(2) = ...f798|8f89 */
    {UINT64_C(0xb17217f7d1cf79ab), 0x3ffe, 0, 1}, /* ln(2) = ...79ab|c9e3 */
    {0, 0, 1, 0},                                 /* 0 */
};
struct f80 f80_constant(unsigned which, unsigned rc)
{
    uint64_t frac = constants[which].frac;
    if (!constants[which].exact) frac += rc == FP_UP || (rc == FP_NEAREST && constants[which].above_half);
    return f80_make(constants[which].exp, frac);
}
