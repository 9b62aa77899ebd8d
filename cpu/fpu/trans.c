/* SPDX-License-Identifier: MIT */
/* x87 transcendentals: F2XM1, FYL2X, FYL2XP1, FPATAN, FPTAN, FSIN, FCOS, FSINCOS.
 *
 * Evaluated in a binary floating-point format of 192 significand bits built from integers, relative error
 * below 2^-180, then rounded once by RC to 64 bits. An inexact result therefore differs from the correctly
 * rounded one only if the true value lies within 2^-115 of an ulp of a rounding boundary; no such
 * operand is known. Results are the same on every host. Hardware is allowed one ulp (SDM 1 8.3.10) and
 * makers differ in it.
 *
 * FSIN, FCOS, FSINCOS, FPTAN reduce by the 66-bit value of pi that SDM 1 8.3.8 documents, so sin(FLDPI) has
 * the value that software observes on hardware; FPATAN returns multiples of the true pi.
 *
 * Special operands: tables of SDM 2A by mnemonic. Operands outside a documented range (F2XM1 beyond +-1,
 * FYL2XP1 beyond +-(1 - sqrt(2)/2)) have no defined result: F2XM1 gives its operand back, FYL2XP1 the
 * mathematical value. */
#include "cpu/fpu/fp_core.h"

#define BF_TOP (UINT64_C(1) << 63)

/* m / 2^191 * 2^exp, least significant limb first; top bit set, or all zero for 0. */
struct bf {
    uint64_t m[3];
    int32_t exp;
    bool sign;
};

static const struct bf ONE = {{0, 0, BF_TOP}, 0, false};
static const struct bf LN2 = {
    {UINT64_C(0x40f343267298b62d), UINT64_C(0xc9e3b39803f2f6af), UINT64_C(0xb17217f7d1cf79ab)}, -1, false};
static const struct bf LOG2E = {
    {UINT64_C(0xeb577aa8dd695a58), UINT64_C(0xbe87fed0691d3e88), UINT64_C(0xb8aa3b295c17f0bb)}, 0, false};
static const struct bf PI = {
    {UINT64_C(0x29024e088a67cc74), UINT64_C(0xc4c6628b80dc1cd1), UINT64_C(0xc90fdaa22168c234)}, 1, false};
/* atan(k / 8) */
static const struct bf ATAN_EIGHTHS[9] = {
    {{0, 0, 0}, 0, false},
    {{UINT64_C(0x8b3957d95d9ad922), UINT64_C(0xc897989f3e888ef7), UINT64_C(0xfeadd4d5617b6e32)}, -4, false},
    {{UINT64_C(0xaa7fa90388b3836b), UINT64_C(0x6dc79ef5f7a217e5), UINT64_C(0xfadbafc96406eb15)}, -3, false},
    {{UINT64_C(0x3d843977ae5455cc), UINT64_C(0x8aa32122dcfe4483), UINT64_C(0xb7b0ca0f26f78473)}, -2, false},
    {{UINT64_C(0x6e141587261cdf00), UINT64_C(0x6fe445ecbc3a8d03), UINT64_C(0xed63382b0dda7b45)}, -2, false},
    {{UINT64_C(0x918a67e0652b375c), UINT64_C(0x5c835e1665c43747), UINT64_C(0x8f005d5ef7f59f9b)}, -1, false},
    {{UINT64_C(0xe3f08689eeb2b9e7), UINT64_C(0x19a87f2a457dac9e), UINT64_C(0xa4bc7d1934f70924)}, -1, false},
    {{UINT64_C(0x3d7aecc114c79a80), UINT64_C(0xcb2da55210a4443d), UINT64_C(0xb8053e2bc2319e73)}, -1, false},
    {{UINT64_C(0x29024e088a67cc74), UINT64_C(0xc4c6628b80dc1cd1), UINT64_C(0xc90fdaa22168c234)}, -1, false},
};

static bool bf_is_zero(const struct bf *a) { return a->m[2] == 0; }
static struct bf bf_negate(struct bf a)
{
    a.sign = !a.sign;
    return a;
}

/* Left by less than 64; `in` supplies the bits that enter. */
static void shift_left(struct bf *a, int n, uint64_t in)
{
    if (n == 0) return;
    a->m[2] = a->m[2] << n | a->m[1] >> (64 - n);
    a->m[1] = a->m[1] << n | a->m[0] >> (64 - n);
    a->m[0] = a->m[0] << n | in >> (64 - n);
    a->exp -= n;
}
static void normalize(struct bf *a)
{
    for (int i = 0; i < 2 && a->m[2] == 0; i++) {
        a->m[2] = a->m[1];
        a->m[1] = a->m[0];
        a->m[0] = 0;
        a->exp -= 64;
    }
    if (a->m[2]) shift_left(a, __builtin_clzll(a->m[2]), 0);
}
/* Right by any amount, lost bits remembered in the lowest. */
static void shift_right(struct bf *a, int64_t n)
{
    uint64_t lost = 0;
    if (n >= 192) {
        a->m[0] = 1;
        a->m[1] = a->m[2] = 0;
        return;
    }
    for (; n >= 64; n -= 64) {
        lost |= a->m[0];
        a->m[0] = a->m[1];
        a->m[1] = a->m[2];
        a->m[2] = 0;
    }
    if (n) {
        lost |= a->m[0] << (64 - n);
        a->m[0] = a->m[0] >> n | a->m[1] << (64 - n);
        a->m[1] = a->m[1] >> n | a->m[2] << (64 - n);
        a->m[2] >>= n;
    }
    a->m[0] |= lost != 0;
}

static int magnitude(const struct bf *a, const struct bf *b)
{
    if (a->exp != b->exp) return a->exp < b->exp ? -1 : 1;
    for (int i = 2; i >= 0; i--)
        if (a->m[i] != b->m[i]) return a->m[i] < b->m[i] ? -1 : 1;
    return 0;
}

/* A difference of a number and something too small for its last place is one place away, on the right
 * side: what directed rounding and C1 need. */
static struct bf bf_add(struct bf a, struct bf b)
{
    if (bf_is_zero(&a)) return b;
    if (bf_is_zero(&b)) return a;
    if (magnitude(&a, &b) < 0) {
        struct bf t = a;
        a = b;
        b = t;
    }
    shift_right(&b, (int64_t)a.exp - b.exp);
    if (a.sign == b.sign) {
        u128 t = 0;
        for (int i = 0; i < 3; i++) {
            t += (u128)a.m[i] + b.m[i];
            a.m[i] = (uint64_t)t;
            t >>= 64;
        }
        if (t) {
            shift_right(&a, 1);
            a.m[2] |= BF_TOP;
            a.exp++;
        }
        return a;
    }
    uint64_t borrow = 0;
    for (int i = 0; i < 3; i++) {
        u128 t = (u128)a.m[i] - b.m[i] - borrow;
        a.m[i] = (uint64_t)t;
        borrow = (uint64_t)(t >> 64) & 1;
    }
    normalize(&a);
    return a;
}
static struct bf bf_sub(struct bf a, struct bf b) { return bf_add(a, bf_negate(b)); }

static struct bf bf_mul(struct bf a, struct bf b)
{
    uint64_t p[6] = {0};
    for (int i = 0; i < 3; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < 3; j++) {
            u128 t = (u128)a.m[i] * b.m[j] + p[i + j] + carry;
            p[i + j] = (uint64_t)t;
            carry = (uint64_t)(t >> 64);
        }
        p[i + 3] = carry;
    }
    struct bf r = {{p[3], p[4], p[5]}, a.exp + b.exp + 1, a.sign != b.sign};
    if (bf_is_zero(&a) || bf_is_zero(&b)) return (struct bf){{0, 0, 0}, 0, r.sign};
    if (!(r.m[2] & BF_TOP)) shift_left(&r, 1, p[2]);
    return r;
}

static struct bf bf_div_small(struct bf a, uint64_t n)
{
    uint64_t q[4], rem = 0;
    if (bf_is_zero(&a)) return a;
    for (int i = 3; i >= 0; i--) {
        u128 t = (u128)rem << 64 | (i ? a.m[i - 1] : 0);
        q[i] = (uint64_t)(t / n);
        rem = (uint64_t)(t % n);
    }
    struct bf r = {{q[1], q[2], q[3]}, a.exp, a.sign};
    shift_left(&r, __builtin_clzll(r.m[2]), q[0]);
    return r;
}

/* Quotient of two 64-bit significands: exact when it fits, else with a sticky last bit. */
static struct bf bf_ratio(const struct fp_num *a, const struct fp_num *b)
{
    struct bf r = {.exp = a->exp - b->exp};
    u128 n = (u128)a->frac << 63;
    if (a->frac < b->frac) {
        n <<= 1;
        r.exp--;
    }
    for (int i = 2; i >= 0; i--) {
        r.m[i] = (uint64_t)(n / b->frac);
        n = n % b->frac << 64;
    }
    r.m[0] |= n != 0;
    return r;
}

/* a / b: reciprocal to 62 bits by division, then Newton. */
static struct bf bf_div(struct bf a, struct bf b)
{
    static const struct bf two = {{0, 0, BF_TOP}, 1, false};
    struct bf x = {.exp = -b.exp - 1}, t;
    u128 n = ~(u128)0 / b.m[2]; /* 2^128 / m, in (2^64, 2^65] */
    x.m[2] = n >> 65 ? ~UINT64_C(0) : (uint64_t)(n >> 1);
    x.sign = b.sign;
    for (int i = 0; i < 2; i++) {
        t = bf_sub(two, bf_mul(b, x));
        x = bf_mul(x, t);
    }
    return bf_mul(a, x);
}

static struct bf bf_from(const struct fp_num *n) { return (struct bf){{0, 0, n->frac}, n->exp, n->sign}; }
static struct bf bf_from_int(int32_t v)
{
    struct bf r = {{0, 0, (uint64_t)(v < 0 ? -(int64_t)v : v)}, 63, v < 0};
    normalize(&r);
    return r;
}

/* The value is irrational (or the caller says exact): rounding sees a sticky bit. */
static struct fp_num bf_round(struct fp_env *e, const struct bf *a, bool exact)
{
    return fp_round_pack(e, &fp_f80, a->sign, a->exp, a->m[2], a->m[1] | (a->m[0] != 0) | !exact);
}

/* Terms of a power series whose variable is below 2^(exp + 1), at most `most`. */
static int terms(int32_t exp, int most)
{
    if (exp >= -1) return most;
    int n = 200 / -(exp + 1) + 2;
    return n < most ? n : most;
}

/* sin(r) and cos(r), |r| <= pi/4. */
static struct bf series_sin(struct bf r)
{
    struct bf z = bf_mul(r, r), s = ONE;
    for (uint64_t k = (uint64_t)terms(z.exp, 22); k > 0; k--)
        s = bf_sub(ONE, bf_div_small(bf_mul(z, s), 2 * k * (2 * k + 1)));
    return bf_mul(r, s);
}
static struct bf series_cos(struct bf r)
{
    struct bf z = bf_mul(r, r), s = ONE;
    for (uint64_t k = (uint64_t)terms(z.exp, 22); k > 0; k--)
        s = bf_sub(ONE, bf_div_small(bf_mul(z, s), 2 * k * (2 * k - 1)));
    return s;
}
/* atan(t) or atanh(t), |t| <= 1/16 or 0.172. */
static struct bf series_atan(struct bf t, bool hyperbolic)
{
    struct bf z = bf_mul(t, t);
    int k = terms(z.exp, 40);
    struct bf s = bf_div_small(ONE, 2 * (uint64_t)k + 1);
    while (k-- > 0) {
        struct bf p = bf_mul(z, s), c = bf_div_small(ONE, 2 * (uint64_t)k + 1);
        s = hyperbolic ? bf_add(c, p) : bf_sub(c, p);
    }
    return bf_mul(t, s);
}
static struct bf series_expm1(struct bf t)
{
    struct bf s = ONE;
    for (uint64_t k = (uint64_t)terms(t.exp, 42) + 1; k > 1; k--)
        s = bf_add(ONE, bf_div_small(bf_mul(t, s), k));
    return bf_mul(t, s);
}

/* F2XM1 */

struct f80 f80_f2xm1(struct fp_env *e, struct f80 a80)
{
    struct fp_num a = fp_unpack_f80(a80), n;
    e->round_up = false;
    if (fp_special1(e, &a, &n)) return fp_pack_f80(n);
    if (a.cls == FPC_ZERO) return a80;
    if (a.cls == FPC_INF) return a.sign ? f80_make(0xbfff, FP_TOP) : a80;
    fp_note_denormal(e, a.denormal);
    if (a.exp >= 0) return a.sign && a.exp == 0 && a.frac == FP_TOP ? f80_make(0xbffe, FP_TOP) : a80;
    struct bf r = series_expm1(bf_mul(bf_from(&a), LN2));
    return fp_pack_f80(bf_round(e, &r, false));
}

/* FYL2X, FYL2XP1 */

/* 2^exp * m with m in [1, 2) a bf of exponent 0. */
static struct bf log2_of(struct bf m, int32_t exp)
{
    if (m.m[2] > UINT64_C(0xb504f333f9de6484)) { /* sqrt(2): keep |log2(m)| <= 1/2 */
        m.exp--;
        exp++;
    }
    struct bf l = bf_sub(m, ONE);
    if (!bf_is_zero(&l)) {
        l = series_atan(bf_div(l, bf_add(m, ONE)), true);
        l.exp++;
        l = bf_mul(l, LOG2E);
    }
    return bf_add(bf_from_int(exp), l);
}

struct f80 f80_fyl2x(struct fp_env *e, struct f80 x80, struct f80 y80)
{
    struct fp_num x = fp_unpack_f80(x80), y = fp_unpack_f80(y80), n;
    e->round_up = false;
    if (fp_special2(e, &x, &y, &n)) return fp_pack_f80(n);
    if (x.cls != FPC_ZERO && x.sign) return fp_pack_f80(fp_invalid(e));
    if (x.cls == FPC_ZERO) {
        if (y.cls == FPC_ZERO) return fp_pack_f80(fp_invalid(e));
        if (y.cls == FPC_FINITE) e->flags |= FP_ZE;
        return fp_pack_f80(fp_inf(!y.sign));
    }
    if (x.cls == FPC_INF) {
        if (y.cls == FPC_ZERO) return fp_pack_f80(fp_invalid(e));
        fp_note_denormal(e, y.denormal);
        return fp_pack_f80(fp_inf(y.sign));
    }
    bool is_one = x.exp == 0 && x.frac == FP_TOP, below = x.exp < 0;
    if (y.cls == FPC_INF && is_one) return fp_pack_f80(fp_invalid(e));
    fp_note_denormal(e, x.denormal | y.denormal);
    if (y.cls == FPC_INF) return fp_pack_f80(fp_inf(y.sign != below));
    if (y.cls == FPC_ZERO || is_one) return fp_pack_f80(fp_zero(y.sign != below));
    struct bf l = log2_of((struct bf){{0, 0, x.frac}, 0, false}, x.exp);
    struct bf r = bf_mul(bf_from(&y), l);
    return fp_pack_f80(bf_round(e, &r, x.frac == FP_TOP));
}

struct f80 f80_fyl2xp1(struct fp_env *e, struct f80 x80, struct f80 y80)
{
    struct fp_num x = fp_unpack_f80(x80), y = fp_unpack_f80(y80), n;
    e->round_up = false;
    if (fp_special2(e, &x, &y, &n)) return fp_pack_f80(n);
    bool minus_one = x.cls == FPC_FINITE && x.sign && x.exp == 0 && x.frac == FP_TOP;
    if (x.sign && (x.cls == FPC_INF || (x.cls == FPC_FINITE && x.exp >= 0 && !minus_one)))
        return fp_pack_f80(fp_invalid(e));
    if (x.cls == FPC_ZERO && y.cls == FPC_INF) return fp_pack_f80(fp_invalid(e));
    if (y.cls == FPC_ZERO && (x.cls == FPC_INF || minus_one)) return fp_pack_f80(fp_invalid(e));
    if (minus_one) {
        if (y.cls == FPC_FINITE) e->flags |= FP_ZE;
        return fp_pack_f80(fp_inf(!y.sign));
    }
    fp_note_denormal(e, x.denormal | y.denormal);
    bool sign = x.sign != y.sign;
    if (x.cls == FPC_INF || y.cls == FPC_INF) return fp_pack_f80(fp_inf(sign));
    if (x.cls == FPC_ZERO || y.cls == FPC_ZERO) return fp_pack_f80(fp_zero(sign));
    struct bf xb = bf_from(&x), l;
    bool exact = false;
    if (x.exp <= -3) {
        l = series_atan(bf_div(xb, bf_add(xb, (struct bf){{0, 0, BF_TOP}, 1, false})), true);
        l.exp++;
        l = bf_mul(l, LOG2E);
    } else {
        struct bf m = bf_add(ONE, xb);
        int32_t exp = m.exp;
        exact = x.exp < 128 && m.m[2] == BF_TOP && !(m.m[1] | m.m[0]);
        m.exp = 0;
        l = log2_of(m, exp);
    }
    struct bf r = bf_mul(bf_from(&y), l);
    return fp_pack_f80(bf_round(e, &r, exact));
}

/* FPATAN */

static struct f80 round_pi(struct fp_env *e, bool sign, int eighths)
{
    struct bf r = bf_mul(bf_from_int(eighths), PI); /* eighths of pi */
    r.exp -= 3;
    r.sign = sign;
    return fp_pack_f80(bf_round(e, &r, false));
}

struct f80 f80_fpatan(struct fp_env *e, struct f80 x80, struct f80 y80)
{
    struct fp_num x = fp_unpack_f80(x80), y = fp_unpack_f80(y80), n;
    e->round_up = false;
    if (fp_special2(e, &x, &y, &n)) return fp_pack_f80(n);
    fp_note_denormal(e, x.denormal | y.denormal);
    if (y.cls == FPC_INF) return round_pi(e, y.sign, x.cls != FPC_INF ? 4 : x.sign ? 6 : 2);
    if (y.cls == FPC_ZERO || x.cls == FPC_INF)
        return x.sign ? round_pi(e, y.sign, 8) : fp_pack_f80(fp_zero(y.sign));
    if (x.cls == FPC_ZERO) return round_pi(e, y.sign, 4);

    bool steep = fp_compare_magnitude(&y, &x) > 0;
    struct bf t = steep ? bf_ratio(&x, &y) : bf_ratio(&y, &x), r;
    /* Nearest eighth: atan(t) = atan(c) + atan((t - c) / (1 + t c)). */
    unsigned k = t.exp >= 0   ? 8
                 : t.exp < -5 ? 0
                              : (unsigned)(((t.m[2] >> (-t.exp)) + (UINT64_C(1) << 59)) >> 60);
    if (k == 0) {
        r = series_atan(t, false);
    } else {
        struct bf c = bf_from_int((int32_t)k);
        c.exp -= 3;
        struct bf d = bf_sub(t, c);
        r = ATAN_EIGHTHS[k];
        if (!bf_is_zero(&d)) r = bf_add(r, series_atan(bf_div(d, bf_add(ONE, bf_mul(t, c))), false));
    }
    if (steep || x.sign) {
        struct bf base = PI;
        if (steep) base.exp--;
        r = steep == x.sign ? bf_add(base, r) : bf_sub(base, r);
    }
    r.sign = y.sign;
    return fp_pack_f80(bf_round(e, &r, false));
}

/* FSIN, FCOS, FSINCOS, FPTAN */

/* r = |a| - quadrant * pi/2 with the 66-bit pi, exact; |a| < 2^63. */
static struct bf reduce(const struct fp_num *a, unsigned *quadrant)
{
    struct fp_num m = *a;
    m.sign = false;
    *quadrant = 0;
    if (a->exp < -1) return bf_from(&m);
    /* Units of 2^-65: pi/2 is this odd 66-bit integer, so the remainder is never zero. */
    const u128 half_pi = (u128)3 << 64 | UINT64_C(0x243f6a8885a308d3);
    u128 v = (u128)a->frac << (a->exp + 2);
    u128 k = v / half_pi, r = v % half_pi;
    struct bf b = {.exp = 127 - 65};
    if (r > half_pi / 2) {
        k++;
        r = half_pi - r;
        b.sign = true;
    }
    *quadrant = (unsigned)k & 3;
    b.m[2] = (uint64_t)(r >> 64);
    b.m[1] = (uint64_t)r;
    normalize(&b);
    return b;
}

/* Common head: true when *out (and the flags) are final. */
static bool trig_special(struct fp_env *e, const struct fp_num *a, struct fp_num *out)
{
    if (fp_special1(e, a, out)) return true;
    if (a->cls == FPC_INF) {
        *out = fp_invalid(e);
        return true;
    }
    fp_note_denormal(e, a->denormal);
    return false;
}

bool f80_sincos(struct fp_env *e, struct f80 a80, struct f80 *sine, struct f80 *cosine)
{
    struct fp_num a = fp_unpack_f80(a80), n;
    e->round_up = false;
    if (a.cls == FPC_FINITE && a.exp >= 63) return false;
    if (trig_special(e, &a, &n)) {
        if (sine) *sine = fp_pack_f80(n);
        if (cosine) *cosine = fp_pack_f80(n);
        return true;
    }
    if (a.cls == FPC_ZERO) {
        if (sine) *sine = a80;
        if (cosine) *cosine = f80_make(0x3fff, FP_TOP);
        return true;
    }
    unsigned q;
    struct bf r = reduce(&a, &q), v;
    if (sine) {
        v = q & 1 ? series_cos(r) : series_sin(r);
        v.sign ^= (q >> 1) ^ a.sign;
        *sine = fp_pack_f80(bf_round(e, &v, false));
    }
    if (cosine) {
        v = q & 1 ? series_sin(r) : series_cos(r);
        v.sign ^= (q >> 1) ^ (q & 1);
        *cosine = fp_pack_f80(bf_round(e, &v, false));
    }
    return true;
}

bool f80_tan(struct fp_env *e, struct f80 a80, struct f80 *tangent)
{
    struct fp_num a = fp_unpack_f80(a80), n;
    e->round_up = false;
    if (a.cls == FPC_FINITE && a.exp >= 63) return false;
    if (trig_special(e, &a, &n)) {
        *tangent = fp_pack_f80(n);
        return true;
    }
    if (a.cls == FPC_ZERO) {
        *tangent = a80;
        return true;
    }
    if (a.exp < -40) { /* a + a^3/3: nothing but a sticky bit */
        *tangent = fp_pack_f80(fp_round_pack(e, &fp_f80, a.sign, a.exp, a.frac, 1));
        return true;
    }
    unsigned q;
    struct bf r = reduce(&a, &q), s = series_sin(r), c = series_cos(r);
    struct bf v = q & 1 ? bf_negate(bf_div(c, s)) : bf_div(s, c);
    v.sign ^= a.sign;
    *tangent = fp_pack_f80(bf_round(e, &v, false));
    return true;
}
