/* SPDX-License-Identifier: MIT */
/* Sum, product, quotient and square root in the three formats.
 * The bodies are generic over the inner form; each format's function is unpack, body, round, pack.
 * Order of findings: NaN and unsupported operands, invalid operations, zero divide, denormal operand,
 * then what rounding finds. SDM 1 4.9.2 (priority), 8.5, 11.5.2; tables of 2A FADD, FMUL, FDIV. */
#include "cpu/fpu/fp_core.h"
#include "cpu/fpu/fp_host.h"

FP_INLINE struct fp_num core_add(struct fp_env *e, const struct fp_format *f, struct fp_num a,
                                 struct fp_num b, bool subtract)
{
    struct fp_num r;
    if (fp_special2(e, &a, &b, &r)) return r;
    if (subtract) b.sign = !b.sign;
    if (a.cls == FPC_INF && b.cls == FPC_INF && a.sign != b.sign) return fp_invalid(e);
    fp_note_denormal(e, a.denormal | b.denormal);
    if (a.cls == FPC_INF) return a;
    if (b.cls == FPC_INF) return b;
    if (a.cls == FPC_ZERO || b.cls == FPC_ZERO) {
        if (a.cls == b.cls) return fp_zero(a.sign == b.sign ? a.sign : e->rc == FP_DOWN);
        if (a.cls == FPC_ZERO) a = b;
        return fp_round_pack(e, f, a.sign, a.exp, a.frac, 0);
    }
    if (fp_compare_magnitude(&a, &b) < 0) {
        struct fp_num t = a;
        a = b;
        b = t;
    }
    /* a is the larger: 128-bit significands with the integer bit at 126. */
    int d = a.exp - b.exp;
    u128 x = (u128)a.frac << 63, y = (u128)b.frac << 63;
    if (d > 126)
        y = 1;
    else if (d)
        y = y >> d | ((y & (((u128)1 << d) - 1)) != 0);
    int32_t exp = a.exp;
    if (a.sign == b.sign) {
        x += y;
    } else {
        x -= y;
        if (x == 0) return fp_zero(e->rc == FP_DOWN);
    }
    uint64_t hi = (uint64_t)(x >> 64);
    int z = hi ? __builtin_clzll(hi) : 64 + __builtin_clzll((uint64_t)x);
    x <<= z;
    return fp_round_pack(e, f, a.sign, exp + 1 - z, (uint64_t)(x >> 64), (uint64_t)x);
}

FP_INLINE struct fp_num core_mul(struct fp_env *e, const struct fp_format *f, struct fp_num a,
                                 struct fp_num b)
{
    struct fp_num r;
    if (fp_special2(e, &a, &b, &r)) return r;
    bool sign = a.sign != b.sign;
    if ((a.cls == FPC_INF && b.cls == FPC_ZERO) || (a.cls == FPC_ZERO && b.cls == FPC_INF))
        return fp_invalid(e);
    fp_note_denormal(e, a.denormal | b.denormal);
    if (a.cls == FPC_INF || b.cls == FPC_INF) return fp_inf(sign);
    if (a.cls == FPC_ZERO || b.cls == FPC_ZERO) return fp_zero(sign);
    u128 p = (u128)a.frac * b.frac;
    int32_t exp = a.exp + b.exp + 1;
    if (!(p >> 127)) {
        p <<= 1;
        exp--;
    }
    return fp_round_pack(e, f, sign, exp, (uint64_t)(p >> 64), (uint64_t)p);
}

FP_INLINE struct fp_num core_div(struct fp_env *e, const struct fp_format *f, struct fp_num a,
                                 struct fp_num b)
{
    struct fp_num r;
    if (fp_special2(e, &a, &b, &r)) return r;
    bool sign = a.sign != b.sign;
    if (a.cls == b.cls && (a.cls == FPC_INF || a.cls == FPC_ZERO)) return fp_invalid(e);
    if (b.cls == FPC_ZERO && a.cls == FPC_FINITE) {
        e->flags |= FP_ZE;
        return fp_inf(sign);
    }
    fp_note_denormal(e, a.denormal | b.denormal);
    if (a.cls == FPC_INF) return fp_inf(sign);
    if (a.cls == FPC_ZERO || b.cls == FPC_INF) return fp_zero(sign);
    int32_t exp = a.exp - b.exp;
    uint64_t q, lo;
    if (f->prec == 24) {
        /* 24 by 24 bits fit a plain 64-bit division when both came from binary32; precision control 24
         * does not shorten its operands. */
        if (!((a.frac | b.frac) & UINT64_C(0xffffffffff))) {
            uint64_t n = a.frac >> 1, d = b.frac >> 40;
            q = n / d;
            lo = n % d != 0;
            int z = __builtin_clzll(q);
            return fp_round_pack(e, f, sign, exp + 24 - z, q << z, lo);
        }
    }
    u128 n = (u128)a.frac << 63;
    if (a.frac < b.frac) {
        n <<= 1;
        exp--;
    }
    q = (uint64_t)(n / b.frac);
    uint64_t rem = (uint64_t)n - q * b.frac;
    if (rem >= b.frac - rem)
        lo = FP_TOP | (rem != b.frac - rem);
    else
        lo = rem != 0;
    return fp_round_pack(e, f, sign, exp, q, lo);
}

/* floor(sqrt(n)) for n >= 2^126: reciprocal root by Newton in 2.62 fixed point, one Heron step, then
 * exact correction by at most a few units. */
static uint64_t root128(u128 n, bool *exact)
{
    uint64_t m = (uint64_t)(n >> 64); /* m / 2^64 in [1/4, 1) */
    uint64_t y = (UINT64_C(9) << 60) - (uint64_t)(((u128)m * (UINT64_C(5) << 60)) >> 64); /* 2.25 - 1.25 m */
    for (int i = 0; i < 4; i++) {
        uint64_t yy = (uint64_t)((u128)y * y >> 64);  /* y^2 in 4.60 */
        uint64_t my = (uint64_t)((u128)m * yy >> 64); /* m y^2 in 4.60 */
        uint64_t t = (UINT64_C(3) << 60) - my;        /* 3 - m y^2 in 4.60 */
        y = (uint64_t)((u128)y * t >> 61);            /* halved: 2.62 */
    }
    u128 g = (u128)m * y >> 62;
    uint64_t r = g >> 64 ? ~UINT64_C(0) : (uint64_t)g;
    if (r < FP_TOP) r = FP_TOP;
    u128 q = n / r;
    q = (q + r) >> 1;
    r = q >> 64 ? ~UINT64_C(0) : (uint64_t)q;
    while ((u128)r * r > n)
        r--;
    while (r != ~UINT64_C(0) && (u128)(r + 1) * (r + 1) <= n)
        r++;
    *exact = (u128)r * r == n;
    return r;
}

FP_INLINE struct fp_num core_sqrt(struct fp_env *e, const struct fp_format *f, struct fp_num a)
{
    struct fp_num r;
    if (fp_special1(e, &a, &r)) return r;
    if (a.cls == FPC_ZERO) return a;
    if (a.sign) return fp_invalid(e);
    fp_note_denormal(e, a.denormal);
    if (a.cls == FPC_INF) return a;
    bool odd = a.exp & 1, exact;
    u128 n = (u128)a.frac << (odd ? 64 : 63);
    uint64_t q = root128(n, &exact);
    /* The remainder decides the half: root > q + 1/2 iff n - q^2 > q. */
    u128 rem = n - (u128)q * q;
    uint64_t lo = exact ? 0 : rem > q ? FP_TOP | 1 : 1;
    return fp_round_pack(e, f, false, (a.exp - odd) / 2, q, lo);
}

uint32_t f32_add(struct fp_env *e, uint32_t a, uint32_t b)
{
    uint32_t r;
    if (fp_host_add32(e, a, b, &r)) return r;
    return fp_pack_f32(core_add(e, &fp_f32, fp_unpack_f32(e, a), fp_unpack_f32(e, b), false));
}
uint32_t f32_sub(struct fp_env *e, uint32_t a, uint32_t b)
{
    uint32_t r;
    if (fp_host_sub32(e, a, b, &r)) return r;
    return fp_pack_f32(core_add(e, &fp_f32, fp_unpack_f32(e, a), fp_unpack_f32(e, b), true));
}
uint32_t f32_mul(struct fp_env *e, uint32_t a, uint32_t b)
{
    uint32_t r;
    if (fp_host_mul32(e, a, b, &r)) return r;
    return fp_pack_f32(core_mul(e, &fp_f32, fp_unpack_f32(e, a), fp_unpack_f32(e, b)));
}
uint32_t f32_div(struct fp_env *e, uint32_t a, uint32_t b)
{
    uint32_t r;
    if (fp_host_div32(e, a, b, &r)) return r;
    return fp_pack_f32(core_div(e, &fp_f32, fp_unpack_f32(e, a), fp_unpack_f32(e, b)));
}
uint32_t f32_sqrt(struct fp_env *e, uint32_t a)
{
    return fp_pack_f32(core_sqrt(e, &fp_f32, fp_unpack_f32(e, a)));
}

uint64_t f64_add(struct fp_env *e, uint64_t a, uint64_t b)
{
    uint64_t r;
    if (fp_host_add64(e, a, b, &r)) return r;
    return fp_pack_f64(core_add(e, &fp_f64, fp_unpack_f64(e, a), fp_unpack_f64(e, b), false));
}
uint64_t f64_sub(struct fp_env *e, uint64_t a, uint64_t b)
{
    uint64_t r;
    if (fp_host_sub64(e, a, b, &r)) return r;
    return fp_pack_f64(core_add(e, &fp_f64, fp_unpack_f64(e, a), fp_unpack_f64(e, b), true));
}
uint64_t f64_mul(struct fp_env *e, uint64_t a, uint64_t b)
{
    uint64_t r;
    if (fp_host_mul64(e, a, b, &r)) return r;
    return fp_pack_f64(core_mul(e, &fp_f64, fp_unpack_f64(e, a), fp_unpack_f64(e, b)));
}
uint64_t f64_div(struct fp_env *e, uint64_t a, uint64_t b)
{
    uint64_t r;
    if (fp_host_div64(e, a, b, &r)) return r;
    return fp_pack_f64(core_div(e, &fp_f64, fp_unpack_f64(e, a), fp_unpack_f64(e, b)));
}
uint64_t f64_sqrt(struct fp_env *e, uint64_t a)
{
    return fp_pack_f64(core_sqrt(e, &fp_f64, fp_unpack_f64(e, a)));
}

struct f80 f80_add(struct fp_env *e, struct f80 a, struct f80 b)
{
    return fp_pack_f80(core_add(e, fp_f80_format(e), fp_unpack_f80(a), fp_unpack_f80(b), false));
}
struct f80 f80_sub(struct fp_env *e, struct f80 a, struct f80 b)
{
    return fp_pack_f80(core_add(e, fp_f80_format(e), fp_unpack_f80(a), fp_unpack_f80(b), true));
}
struct f80 f80_mul(struct fp_env *e, struct f80 a, struct f80 b)
{
    return fp_pack_f80(core_mul(e, fp_f80_format(e), fp_unpack_f80(a), fp_unpack_f80(b)));
}
struct f80 f80_div(struct fp_env *e, struct f80 a, struct f80 b)
{
    return fp_pack_f80(core_div(e, fp_f80_format(e), fp_unpack_f80(a), fp_unpack_f80(b)));
}
struct f80 f80_sqrt(struct fp_env *e, struct f80 a)
{
    return fp_pack_f80(core_sqrt(e, fp_f80_format(e), fp_unpack_f80(a)));
}
