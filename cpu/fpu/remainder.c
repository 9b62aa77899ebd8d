/* SPDX-License-Identifier: MIT */
/* FPREM, FPREM1, FSCALE and FXTRACT: exact operations of the x87 on exponents and quotients.
 * SDM 2A FPREM, FPREM1, FSCALE, FXTRACT with their tables of special operands. */
#include "cpu/fpu/fp_core.h"

struct f80_rem f80_remainder(struct fp_env *e, struct f80 a80, struct f80 b80, bool ieee)
{
    struct fp_num a = fp_unpack_f80(a80), b = fp_unpack_f80(b80), n;
    struct f80_rem out = {0};
    e->round_up = false;
    if (fp_special2(e, &a, &b, &n)) {
        out.r = fp_pack_f80(n);
        return out;
    }
    if (a.cls == FPC_INF || b.cls == FPC_ZERO) {
        out.r = fp_pack_f80(fp_invalid(e));
        return out;
    }
    fp_note_denormal(e, a.denormal | b.denormal);
    if (a.cls == FPC_ZERO) {
        out.r = fp_pack_f80(a);
        return out;
    }
    int d = a.exp - b.exp;
    u128 r = a.frac, step = b.frac; /* both in units of 2^(exp - 63) */
    uint64_t q = 0;
    int32_t exp = a.exp;
    bool sign = a.sign;
    if (b.cls == FPC_INF || d < -1 || (d < 0 && !ieee)) {
        out.r = fp_pack_f80(fp_round_pack(e, &fp_f80, sign, exp, a.frac, 0));
        return out;
    }
    if (d >= 64) {
        /* The number of quotient bits a partial step takes is the implementation's, 32 to 63: one that
         * brings the difference down to a multiple of 32. */
        int take = 32 + d % 32;
        r = (r << take) % step;
        exp = b.exp + d - take;
        out.partial = true;
    } else {
        if (d < 0) {
            step <<= 1;
        } else {
            r <<= d;
            q = (uint64_t)(r / step);
            r %= step;
            exp = b.exp;
        }
        if (ieee && (2 * r > step || (2 * r == step && (q & 1)))) {
            r = step - r;
            sign = !sign;
            q++;
        }
        out.quotient = q & 7;
    }
    if (r == 0) {
        out.r = fp_pack_f80(fp_zero(a.sign));
        return out;
    }
    int z = __builtin_clzll((uint64_t)r);
    out.r = fp_pack_f80(fp_round_pack(e, &fp_f80, sign, exp - z, (uint64_t)r << z, 0));
    return out;
}

struct f80 f80_scale(struct fp_env *e, struct f80 a80, struct f80 b80)
{
    struct fp_num a = fp_unpack_f80(a80), b = fp_unpack_f80(b80), n;
    e->round_up = false;
    if (fp_special2(e, &a, &b, &n)) return fp_pack_f80(n);
    if (b.cls == FPC_INF && (b.sign ? a.cls == FPC_INF : a.cls == FPC_ZERO))
        return fp_pack_f80(fp_invalid(e));
    fp_note_denormal(e, a.denormal | b.denormal);
    if (b.cls == FPC_INF) return fp_pack_f80(b.sign ? fp_zero(a.sign) : fp_inf(a.sign));
    if (a.cls != FPC_FINITE) return fp_pack_f80(a);
    int32_t by = 0;
    if (b.cls == FPC_FINITE && b.exp >= 0) by = b.exp > 16 ? 0x10000 : (int32_t)(b.frac >> (63 - b.exp));
    return fp_pack_f80(fp_round_pack(e, &fp_f80, a.sign, a.exp + (b.sign ? -by : by), a.frac, 0));
}

struct f80 f80_extract(struct fp_env *e, struct f80 a80, struct f80 *exponent)
{
    struct fp_num a = fp_unpack_f80(a80), n;
    e->round_up = false;
    if (fp_special1(e, &a, &n)) return *exponent = fp_pack_f80(n);
    switch (a.cls) {
    case FPC_ZERO:
        e->flags |= FP_ZE;
        *exponent = fp_pack_f80(fp_inf(true));
        return a80;
    case FPC_INF: *exponent = fp_pack_f80(fp_inf(false)); return a80;
    default:
        fp_note_denormal(e, a.denormal);
        *exponent = int_to_f80(a.exp);
        a.exp = 0;
        return fp_pack_f80(a);
    }
}
