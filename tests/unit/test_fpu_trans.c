/* SPDX-License-Identifier: MIT */
/* x87 transcendentals against MPFR (reference only, 400 bits): our result must be the exactly rounded one,
 * inexact flag and C1 included, in every rounding mode. On x86 hosts also within one ulp of the host's. */
#include <stdio.h>

#include "fpu_host.h"

#include <mpfr.h>

static unsigned bad;
static mpfr_t x, y, r, pi66, t;
static bool truncated; /* r is the value cut off: what is missing must count in directed rounding */

static void to_mpfr(mpfr_t v, struct f80 a)
{
    int e = (a.se & 0x7fff) ? a.se & 0x7fff : 1;
    mpfr_set_uj_2exp(v, a.frac, e - 16383 - 63, MPFR_RNDN);
    if (a.se >> 15) mpfr_neg(v, v, MPFR_RNDN);
}

/* r, correctly rounded, as f80; *up: magnitude grew. Subnormals by hand. */
static struct f80 from_mpfr(unsigned rc, bool *up)
{
    static const mpfr_rnd_t rnd_of[4] = {MPFR_RNDN, MPFR_RNDD, MPFR_RNDU, MPFR_RNDZ};
    if (mpfr_zero_p(r)) {
        *up = false;
        return f80_make(mpfr_signbit(r) ? 0x8000 : 0, 0);
    }
    mpfr_exp_t e = mpfr_get_exp(r) - 1; /* 1.x * 2^e */
    int lsb = (int)(e < -16382 ? -16382 - 63 : e - 63);
    mpfr_t i;
    mpfr_init2(i, 420);
    mpfr_set(i, r, MPFR_RNDN);
    if (truncated) {
        if (mpfr_signbit(i))
            mpfr_nextbelow(i);
        else
            mpfr_nextabove(i);
    }
    truncated = false;
    mpfr_mul_2si(i, i, -lsb, MPFR_RNDN);
    mpfr_t n;
    mpfr_init2(n, 420);
    mpfr_rint(n, i, rnd_of[rc]);
    *up = mpfr_cmpabs(n, i) > 0;
    bool sign = mpfr_signbit(n);
    mpfr_abs(n, n, MPFR_RNDN);
    mpfr_set_ui_2exp(i, 1, 64, MPFR_RNDN);
    if (mpfr_cmp(n, i) >= 0) {
        mpfr_div_2ui(n, n, 1, MPFR_RNDN);
        lsb++;
    }
    uint64_t frac = mpfr_get_uj(n, MPFR_RNDN);
    mpfr_clear(i);
    mpfr_clear(n);
    unsigned se = frac >> 63 ? (unsigned)(lsb + 63 + 16383) : 0;
    return f80_make(se | (sign ? 0x8000 : 0), frac);
}

static void judge(const char *name, unsigned rc, struct f80 a, struct f80 b, struct f80 got,
                  const struct fp_env *e)
{
    bool up;
    struct f80 want = from_mpfr(rc, &up);
    if (want.se == got.se && want.frac == got.frac && (e->flags & FP_PE) && e->round_up == up) return;
    if (bad++ < 20)
        printf("%s rc %u %04x:%016lx %04x:%016lx: %04x:%016lx up %d, ours %04x:%016lx up %d flags %02x\n",
               name, rc, a.se, (unsigned long)a.frac, b.se, (unsigned long)b.frac, want.se,
               (unsigned long)want.frac, up, got.se, (unsigned long)got.frac, e->round_up, e->flags);
}

static struct f80 rnd_in(int emin, int emax, bool may_be_negative)
{
    unsigned e = (unsigned)(16383 + emin + (int)(rnd() % (unsigned)(emax - emin + 1)));
    return f80_make(e | (may_be_negative ? (unsigned)(rnd() & 1) << 15 : 0), rnd_frac(63) | UINT64_C(1)
                                                                                                << 63);
}
static struct fp_env env(unsigned rc)
{
    return (struct fp_env){.rc = (uint8_t)rc, .prec = 64, .masked = FP_ALL, .x87 = true};
}

/* t = a - k * pi66 / 2; returns k mod 4. */
static unsigned reduce66(void)
{
    mpfr_t q;
    mpfr_init2(q, 400);
    mpfr_div(q, x, pi66, MPFR_RNDN);
    mpfr_mul_2ui(q, q, 1, MPFR_RNDN);
    mpfr_rint(q, q, MPFR_RNDN);
    mpfr_mul(t, q, pi66, MPFR_RNDN);
    mpfr_div_2ui(t, t, 1, MPFR_RNDN);
    mpfr_sub(t, x, t, MPFR_RNDN);
    mpfr_set_ui(r, 4, MPFR_RNDN);
    mpfr_fmod(q, q, r, MPFR_RNDN);
    long k = mpfr_get_si(q, MPFR_RNDN);
    mpfr_clear(q);
    return (unsigned)(k & 3);
}
static void set_sin(unsigned k)
{
    if (k & 1)
        truncated = mpfr_cos(r, t, MPFR_RNDZ) != 0;
    else
        truncated = mpfr_sin(r, t, MPFR_RNDZ) != 0;
    if (k & 2) mpfr_neg(r, r, MPFR_RNDN);
}

static void sine_cosine_tangent(void **state)
{
    (void)state;
    bad = 0;
    for (int i = 0; i < 12000; i++) {
        struct f80 a = i % 3 == 0   ? rnd_in(-80, 62, true)
                       : i % 3 == 1 ? rnd_in(-3, 5, true)
                                    : rnd_in(-40, 1, true),
                   s, c;
        if (i % 16 == 0) a = f80_constant(3, 0); /* close to a multiple of pi */
        if (i % 64 == 1) a = rnd_in(-16382, -16300, true);
        unsigned rc = (unsigned)i & 3;
        struct fp_env e = env(rc);
        to_mpfr(x, a);
        unsigned k = reduce66();
        assert_true(f80_sincos(&e, a, &s, NULL));
        set_sin(k);
        judge("sin", rc, a, a, s, &e);
        e = env(rc);
        assert_true(f80_sincos(&e, a, NULL, &c));
        set_sin(k + 1);
        judge("cos", rc, a, a, c, &e);
        e = env(rc);
        assert_true(f80_tan(&e, a, &s));
        truncated = mpfr_tan(r, t, MPFR_RNDZ) != 0;
        if (k & 1) {
            truncated = false;
            mpfr_ui_div(r, 1, r, MPFR_RNDN);
            mpfr_neg(r, r, MPFR_RNDN);
        }
        judge("tan", rc, a, a, s, &e);
    }
    struct fp_env e = env(0);
    struct f80 v;
    assert_false(f80_sincos(&e, f80_make(16383 + 63, UINT64_C(1) << 63), &v, NULL));
    assert_false(f80_tan(&e, f80_make(16383 + 63, UINT64_C(1) << 63), &v));
    assert_int_equal(bad, 0);
}

static void exponential_and_logarithm(void **state)
{
    (void)state;
    bad = 0;
    for (int i = 0; i < 12000; i++) {
        unsigned rc = (unsigned)i & 3;
        struct fp_env e = env(rc);
        struct f80 a = i & 4 ? rnd_in(-8, -1, true) : rnd_in(-120, -1, true), b = rnd_in(-40, 40, true);
        if (i % 50 == 0) a = rnd_in(-16382, -16300, true);
        to_mpfr(x, a);
        mpfr_const_log2(t, MPFR_RNDN);
        mpfr_mul(t, t, x, MPFR_RNDN);
        mpfr_expm1(r, t, MPFR_RNDN);
        judge("f2xm1", rc, a, a, f80_f2xm1(&e, a), &e);

        a = i & 4 ? rnd_in(-16382, 16383, false) : rnd_in(-2, 2, false);
        if (i % 8 == 0) a = f80_make(0x3fff, (UINT64_C(1) << 63) + rnd() % 1000 + 1);
        if ((a.frac << 1) != 0) { /* powers of two are exact: below */
            e = env(rc);
            to_mpfr(x, a);
            to_mpfr(y, b);
            mpfr_log2(r, x, MPFR_RNDN);
            mpfr_mul(r, r, y, MPFR_RNDN);
            judge("fyl2x", rc, a, b, f80_fyl2x(&e, a, b), &e);
        }
        a = i & 4 ? rnd_in(-6, -3, true) : rnd_in(-200, -3, true);
        e = env(rc);
        to_mpfr(x, a);
        to_mpfr(y, b);
        mpfr_log1p(r, x, MPFR_RNDN);
        mpfr_const_log2(t, MPFR_RNDN);
        mpfr_div(r, r, t, MPFR_RNDN);
        mpfr_mul(r, r, y, MPFR_RNDN);
        judge("fyl2xp1", rc, a, b, f80_fyl2xp1(&e, a, b), &e);
    }
    struct fp_env e = env(0);
    struct f80 v = f80_fyl2x(&e, f80_make(0x3fff + 5, UINT64_C(1) << 63), int_to_f80(-3));
    assert_int_equal(v.se, int_to_f80(-15).se);
    assert_true(v.frac == int_to_f80(-15).frac);
    assert_int_equal(e.flags, 0);
    assert_int_equal(bad, 0);
}

static void arctangent(void **state)
{
    (void)state;
    bad = 0;
    for (int i = 0; i < 12000; i++) {
        unsigned rc = (unsigned)i & 3;
        struct fp_env e = env(rc);
        struct f80 a = rnd_in(-30, 30, true), b = rnd_in(-30, 30, true);
        if (i % 5 == 0) b = rnd_in(-4, 4, true), a = rnd_in(-4, 4, true);
        if (i % 50 == 1) a = rnd_in(300, 400, false); /* exact small quotients */
        if (i % 50 == 2) a = f80_make(0x3fff, UINT64_C(1) << 63), b = rnd_in(-200, 0, true);
        if (i % 50 == 3) a = rnd_in(200, 10000, false), b = rnd_in(-6400, 0, true);
        to_mpfr(x, a);
        to_mpfr(y, b);
        truncated = mpfr_atan2(r, y, x, MPFR_RNDZ) != 0;
        judge("fpatan", rc, b, a, f80_fpatan(&e, a, b), &e);
    }
    assert_int_equal(bad, 0);
}

#ifdef HOST_X86
/* Distance in units of the last place, same binade assumed or adjacent. */
static bool close(struct f80 a, struct f80 b)
{
    if (a.se == b.se) return a.frac - b.frac + 1 <= 2;
    return (a.frac << 1) + 2 <= 4 || (b.frac << 1) + 2 <= 4;
}
#define HOST1(insn, a, b)               \
    (__extension__({                    \
        struct x87_image im;            \
        struct {                        \
            uint8_t m[10];              \
        } am, bm;                       \
        uint16_t cw = 0x37f;            \
        f80_to_mem(a, am.m);            \
        f80_to_mem(b, bm.m);            \
        HOST_X87(insn, im, cw, am, bm); \
        f80_from_mem(im.reg[0]);        \
    }))
static void near_the_host(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct fp_env e = env(0);
        struct f80 a = rnd_in(-20, 20, true), b = rnd_in(-20, 20, true), s;
        f80_sincos(&e, a, &s, NULL);
        assert_true(close(HOST1("fsin", a, b), s));
        f80_sincos(&e, a, NULL, &s);
        assert_true(close(HOST1("fcos", a, b), s));
        f80_tan(&e, a, &s);
        assert_true(close(HOST1("fptan\n\tfstp %%st", a, b), s));
        assert_true(close(HOST1("fpatan", a, b), f80_fpatan(&e, a, b)));
        a.se &= 0x7fff;
        assert_true(close(HOST1("fyl2x", a, b), f80_fyl2x(&e, a, b)));
        a = rnd_in(-30, -3, true);
        assert_true(close(HOST1("fyl2xp1", a, b), f80_fyl2xp1(&e, a, b)));
        assert_true(close(HOST1("f2xm1", a, b), f80_f2xm1(&e, a)));
    }
}
/* Special operands: result, IE, DE and ZE as on the host (which calls exact denormal products inexact). */
static void specials_as_on_the_host(void **state)
{
    (void)state;
    static const struct {
        uint16_t se;
        uint64_t frac;
    } values[] = {{0, 0},
                  {0x8000, 0},
                  {0x3fff, UINT64_C(1) << 63},
                  {0xbfff, UINT64_C(1) << 63},
                  {0x7fff, UINT64_C(1) << 63},
                  {0xffff, UINT64_C(1) << 63},
                  {0x7fff, UINT64_C(0xc000000000000001)},
                  {0x7fff, UINT64_C(0x8000000000000001)},
                  {0, 1},
                  {0x8000, 5},
                  {0x4000, UINT64_C(0xc000000000000000)},
                  {0xc000, UINT64_C(0xc000000000000000)},
                  {0x3ffe, UINT64_C(0xc000000000000000)},
                  {0x4001, 1}};
    enum { N = sizeof values / sizeof values[0] };
    bad = 0;
    for (unsigned i = 0; i < N; i++) {
        for (unsigned j = 0; j < N; j++) {
            struct f80 a = f80_make(values[i].se, values[i].frac), b = f80_make(values[j].se, values[j].frac);
            for (int op = 0; op < 6; op++) {
                struct x87_image im;
                struct {
                    uint8_t m[10];
                } am, bm;
                uint16_t cw = 0x37f;
                struct fp_env e = env(0);
                struct f80 mine;
                f80_to_mem(a, am.m);
                f80_to_mem(b, bm.m);
                switch (op) {
                case 0:
                    HOST_X87("fpatan", im, cw, am, bm);
                    mine = f80_fpatan(&e, a, b);
                    break;
                case 1:
                    HOST_X87("fyl2x", im, cw, am, bm);
                    mine = f80_fyl2x(&e, a, b);
                    break;
                case 2:
                    if ((a.se & 0x7fff) >= 0x3ffe && (a.se & 0x7fff) != 0x7fff) continue; /* out of range */
                    HOST_X87("fyl2xp1", im, cw, am, bm);
                    mine = f80_fyl2xp1(&e, a, b);
                    break;
                case 3:
                    if ((a.se & 0x7fff) >= 0x4000 && (a.se & 0x7fff) != 0x7fff) continue;
                    HOST_X87("f2xm1", im, cw, am, bm);
                    mine = f80_f2xm1(&e, a);
                    break;
                case 4:
                    HOST_X87("fsin", im, cw, am, bm);
                    f80_sincos(&e, a, &mine, NULL);
                    break;
                default: HOST_X87("fcos", im, cw, am, bm); f80_sincos(&e, a, NULL, &mine);
                }
                struct f80 h = f80_from_mem(im.reg[0]);
                if (close(h, mine) && (h.se & 0x7fff ? h.frac >> 63 : 1) &&
                    (im.sw & FP_PRE) == (e.flags & FP_PRE))
                    continue;
                if (bad++ < 40)
                    printf(
                        "op %d a %04x:%016lx b %04x:%016lx: host %04x:%016lx %02x, ours %04x:%016lx %02x\n",
                        op, a.se, (unsigned long)a.frac, b.se, (unsigned long)b.frac, h.se,
                        (unsigned long)h.frac, im.sw & 63, mine.se, (unsigned long)mine.frac, e.flags);
            }
        }
    }
    assert_int_equal(bad, 0);
}
#define HOST_TESTS , cmocka_unit_test(near_the_host), cmocka_unit_test(specials_as_on_the_host)
#else
#define HOST_TESTS
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sine_cosine_tangent),
                                       cmocka_unit_test(exponential_and_logarithm),
                                       cmocka_unit_test(arctangent) HOST_TESTS};
    mpfr_inits2(400, x, y, r, pi66, t, (mpfr_ptr)NULL);
    mpfr_set_str(pi66, "3243F6A8885A308D3", 16, MPFR_RNDN);
    mpfr_div_2ui(pi66, pi66, 64, MPFR_RNDN);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mpfr_clears(x, y, r, pi66, t, (mpfr_ptr)NULL);
    mpfr_free_cache();
    return failed;
}
