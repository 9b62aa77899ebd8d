/* SPDX-License-Identifier: MIT */
/* cpu/fpu double-extended arithmetic against the host's x87: result, flags and C1 in every rounding mode and
 * precision, with random masks, so that unmasked responses (bias-adjusted results, operands kept) are
 * compared too. FNSAVE takes the state without waiting for the pending exception. */
#include "fpu_host.h"

#ifdef HOST_X86

static unsigned bad;

struct host_result {
    uint16_t sw;
    struct f80 st0, st1;
};

#define HOST_OP(name, insn)                                                                             \
    static struct host_result host_##name(uint16_t cw, struct f80 a, struct f80 b)                      \
    {                                                                                                   \
        struct x87_image im;                                                                            \
        struct {                                                                                        \
            uint8_t b[10];                                                                              \
        } am, bm;                                                                                       \
        f80_to_mem(a, am.b);                                                                            \
        f80_to_mem(b, bm.b);                                                                            \
        HOST_X87(insn, im, cw, am, bm);                                                                 \
        return (struct host_result){(uint16_t)im.sw, f80_from_mem(im.reg[0]), f80_from_mem(im.reg[1])}; \
    }
HOST_OP(add, "fadd %%st(1), %%st")
HOST_OP(sub, "fsub %%st(1), %%st")
HOST_OP(mul, "fmul %%st(1), %%st")
HOST_OP(div, "fdiv %%st(1), %%st")
HOST_OP(sqrt, "fsqrt")
HOST_OP(rndint, "frndint")
HOST_OP(scale, "fscale")
HOST_OP(prem, "fprem")
HOST_OP(prem1, "fprem1")
HOST_OP(xtract, "fxtract")
HOST_OP(com, "fcom %%st(1)")
HOST_OP(ucom, "fucom %%st(1)")

static uint16_t random_cw(struct fp_env *e)
{
    static const uint8_t prec[4] = {24, 64, 53, 64};
    uint16_t cw = 0x40 | (uint16_t)((rnd() & 3) << 10);
    unsigned pc = (unsigned)rnd() % 3;
    if (pc) pc++;
    cw |= (uint16_t)(pc << 8);
    cw |= rnd() & 1 ? 63 : (uint16_t)(rnd() & 63);
    *e = (struct fp_env){.rc = cw >> 10 & 3, .prec = prec[pc], .masked = cw & 63, .x87 = true};
    return cw;
}

/* What the instruction bodies do with flags and result. */
static uint16_t commit(struct fp_env *e, struct f80 *st0, struct f80 r)
{
    if (fp_unmasked(e, FP_PRE)) {
        e->flags &= FP_PRE;
        e->round_up = false;
    } else {
        *st0 = r;
    }
    return (uint16_t)(e->flags | (e->round_up && (e->flags & FP_PE) ? 0x200 : 0));
}
static void judge(const char *name, uint16_t cw, struct f80 a, struct f80 b, struct host_result h,
                  uint16_t mask, uint16_t sw, struct f80 r)
{
    if ((h.sw & mask) == sw && h.st0.frac == r.frac && h.st0.se == r.se) return;
    if (bad++ < 30)
        printf("%s cw %04x a %04x:%016lx b %04x:%016lx: host %04x:%016lx sw %04x, ours %04x:%016lx sw %04x\n",
               name, cw, a.se, (unsigned long)a.frac, b.se, (unsigned long)b.frac, h.st0.se,
               (unsigned long)h.st0.frac, h.sw & mask, r.se, (unsigned long)r.frac, sw);
}

enum { FLAGS_C1 = 0x23f };

#define TRY2(name, fn)                                \
    do {                                              \
        struct fp_env e;                              \
        uint16_t cw = random_cw(&e);                  \
        struct host_result h = host_##name(cw, a, b); \
        struct f80 st0 = a;                           \
        struct f80 r = fn;                            \
        uint16_t sw = commit(&e, &st0, r);            \
        judge(#name, cw, a, b, h, FLAGS_C1, sw, st0); \
    } while (0)

static void arithmetic(void **state)
{
    (void)state;
    bad = 0;
    for (int i = 0; i < 60000; i++) {
        struct f80 a = rnd_f80(f80_make(0x3fff, 0)), b = rnd_f80(a);
        TRY2(add, f80_add(&e, a, b));
        TRY2(sub, f80_sub(&e, a, b));
        TRY2(mul, f80_mul(&e, a, b));
        TRY2(div, f80_div(&e, a, b));
        TRY2(sqrt, f80_sqrt(&e, a));
        TRY2(rndint, f80_round_int(&e, a));
        if (rnd() & 1) b = int_to_f80((int64_t)(rnd() % 70000) - 35000);
        TRY2(scale, f80_scale(&e, a, b));
    }
    assert_int_equal(bad, 0);
}

static void remainder_and_extract(void **state)
{
    (void)state;
    bad = 0;
    for (int i = 0; i < 40000; i++) {
        struct fp_env e;
        struct f80 a = rnd_f80(f80_make(0x3fff, 0)), b = rnd_f80(a);
        for (int ieee = 0; ieee < 2; ieee++) {
            uint16_t cw = random_cw(&e);
            struct host_result h = ieee ? host_prem1(cw, a, b) : host_prem(cw, a, b);
            struct f80_rem m = f80_remainder(&e, a, b, ieee);
            struct f80 st0 = a;
            bool valid = !(e.flags & FP_IE) && ((m.r.se & 0x7fff) != 0x7fff || m.r.frac << 1 == 0);
            uint16_t sw = commit(&e, &st0, m.r) & 63;
            if (h.sw & 0x400 || m.partial) {
                /* The step of a partial reduction is the implementation's. */
                if (!(h.sw & 0x400) || !m.partial) judge("fprem c2", cw, a, b, h, 0x63f, sw, st0);
                continue;
            }
            if (valid && !(sw & ~cw & FP_PRE))
                sw |= (uint16_t)((m.quotient & 4 ? 0x100 : 0) | (m.quotient & 2 ? 0x4000 : 0) |
                                 (m.quotient & 1 ? 0x200 : 0));
            judge(ieee ? "fprem1" : "fprem", cw, a, b, h, 0x473f | 0x200, sw, st0);
        }
        uint16_t cw = random_cw(&e);
        struct host_result h = host_xtract(cw, a, b);
        struct f80 exponent, sig = f80_extract(&e, a, &exponent), st0 = a, under = b;
        uint16_t sw = commit(&e, &st0, sig);
        if (!(sw & ~cw & FP_PRE)) under = exponent;
        judge("fxtract", cw, a, b, h, FLAGS_C1, sw, st0);
        if (h.st1.frac != under.frac || h.st1.se != under.se) {
            bad++;
            printf("fxtract exponent of %04x:%016lx cw %04x: %04x:%016lx, ours %04x:%016lx\n", a.se,
                   (unsigned long)a.frac, cw, h.st1.se, (unsigned long)h.st1.frac, under.se,
                   (unsigned long)under.frac);
        }
    }
    assert_int_equal(bad, 0);
}

static void comparison(void **state)
{
    (void)state;
    static const uint16_t codes[4] = {0x100, 0x4000, 0, 0x4500};
    bad = 0;
    for (int i = 0; i < 40000; i++) {
        struct fp_env e;
        struct f80 a = rnd_f80(f80_make(0x3fff, 0)), b = rnd() % 4 ? rnd_f80(a) : a;
        for (int quiet = 0; quiet < 2; quiet++) {
            uint16_t cw = random_cw(&e);
            struct host_result h = quiet ? host_ucom(cw, a, b) : host_com(cw, a, b);
            enum fp_relation r = f80_compare(&e, a, b, !quiet);
            judge(quiet ? "fucom" : "fcom", cw, a, b, h, 0x473f, (uint16_t)(e.flags | codes[r + 1]), a);
        }
    }
    assert_int_equal(bad, 0);
}

/* Memory forms: loads and stores in the narrow formats. */
static void loads_and_stores(void **state)
{
    (void)state;
    bad = 0;
    for (int i = 0; i < 40000; i++) {
        struct fp_env e;
        struct x87_image im;
        struct f80 a = rnd_f80(f80_make(0x3fff, 0));
        uint16_t cw = random_cw(&e) | 63;
        e.masked = 63;
        struct {
            uint8_t b[10];
        } am;
        f80_to_mem(a, am.b);
        uint64_t out;
        uint32_t out32;
        uint16_t out16;
        struct host_result h = {.st0 = a};
#define STORE(insn, var, mine)                                                       \
    do {                                                                             \
        __asm__ volatile("fninit\n\tfldt %2\n\tfldcw %3\n\t" insn " %1\n\tfnsave %0" \
                         : "=m"(im), "=m"(var)                                       \
                         : "m"(am), "m"(cw)                                          \
                         : "memory");                                                \
        h.sw = (uint16_t)im.sw;                                                      \
        e.flags = 0;                                                                 \
        e.round_up = false;                                                          \
        uint64_t r = (uint64_t)(mine);                                               \
        h.st0 = f80_make(0, (uint64_t)var);                                          \
        struct f80 unused = a;                                                       \
        uint16_t sw = commit(&e, &unused, a);                                        \
        judge(insn, cw, a, a, h, FLAGS_C1, sw, f80_make(0, r));                      \
    } while (0)
        STORE("fstpl", out, f80_to_f64(&e, a));
        STORE("fstps", out32, f80_to_f32(&e, a));
        if (rnd() & 1) {
            a = f80_make((unsigned)(rnd() & 1) << 15 | (16383 + (unsigned)(rnd() % 66)), rnd() | UINT64_C(1)
                                                                                                     << 63);
            f80_to_mem(a, am.b);
        }
        STORE("fistpll", out, f80_to_int(&e, a, 64, e.rc));
        STORE("fistpl", out32, (uint32_t)f80_to_int(&e, a, 32, e.rc));
        STORE("fistps", out16, (uint16_t)f80_to_int(&e, a, 16, e.rc));
        STORE("fisttpll", out, f80_to_int(&e, a, 64, FP_ZERO_WARDS));
        uint8_t bcd[10];
        struct {
            uint8_t b[10];
        } hb;
        __asm__ volatile("fninit\n\tfldt %2\n\tfldcw %3\n\tfbstp %1\n\tfnsave %0"
                         : "=m"(im), "=m"(hb)
                         : "m"(am), "m"(cw)
                         : "memory");
        e.flags = 0;
        f80_to_bcd(&e, a, bcd);
        struct f80 unused = a;
        h.sw = (uint16_t)im.sw;
        h.st0 = f80_from_mem(hb.b);
        judge("fbstp", cw, a, a, h, FLAGS_C1, commit(&e, &unused, a), f80_from_mem(bcd));
        for (int k = 0; k < 9; k++)
            hb.b[k] = (uint8_t)(rnd() % 10 | rnd() % 10 << 4);
        hb.b[9] = rnd() & 1 ? 0x80 : 0;
        __asm__ volatile("fninit\n\tfbld %1\n\tfnsave %0" : "=m"(im) : "m"(hb) : "memory");
        h.sw = (uint16_t)im.sw;
        h.st0 = f80_from_mem(im.reg[0]);
        judge("fbld", cw, a, a, h, FLAGS_C1, 0, f80_from_bcd(hb.b));

        uint32_t m32 = rnd_f32(0x3f800000);
        uint64_t m64 = rnd_f64(UINT64_C(1023) << 52);
#define LOAD(insn, var, mine)                                                                    \
    do {                                                                                         \
        __asm__ volatile("fninit\n\t" insn " %1\n\tfnsave %0" : "=m"(im) : "m"(var) : "memory"); \
        h.sw = (uint16_t)im.sw;                                                                  \
        h.st0 = f80_from_mem(im.reg[0]);                                                         \
        e.flags = 0;                                                                             \
        struct f80 v = mine;                                                                     \
        judge(insn, 0x37f, v, v, h, FLAGS_C1, e.flags, v);                                       \
    } while (0)
        LOAD("flds", m32, f32_to_f80(&e, m32));
        LOAD("fldl", m64, f64_to_f80(&e, m64));
        LOAD("fildll", m64, int_to_f80((int64_t)m64));
    }
    assert_int_equal(bad, 0);
}

static void constants(void **state)
{
    (void)state;
    bad = 0;
    for (unsigned rc = 0; rc < 4; rc++) {
        uint16_t cw = (uint16_t)(0x37f | rc << 10);
        struct x87_image im[7];
#define CONSTANT(i, insn) \
    __asm__ volatile("fninit\n\tfldcw %1\n\t" insn "\n\tfnsave %0" : "=m"(im[i]) : "m"(cw) : "memory")
        CONSTANT(0, "fld1");
        CONSTANT(1, "fldl2t");
        CONSTANT(2, "fldl2e");
        CONSTANT(3, "fldpi");
        CONSTANT(4, "fldlg2");
        CONSTANT(5, "fldln2");
        CONSTANT(6, "fldz");
        for (unsigned i = 0; i < 7; i++) {
            struct f80 h = f80_from_mem(im[i].reg[0]), r = f80_constant(i, rc);
            if (h.frac != r.frac || h.se != r.se) {
                bad++;
                printf("constant %u rc %u: %04x:%016lx, ours %04x:%016lx\n", i, rc, h.se,
                       (unsigned long)h.frac, r.se, (unsigned long)r.frac);
            }
        }
    }
    assert_int_equal(bad, 0);
}

#define ALL_TESTS                                                                                        \
    cmocka_unit_test(arithmetic), cmocka_unit_test(remainder_and_extract), cmocka_unit_test(comparison), \
        cmocka_unit_test(loads_and_stores), cmocka_unit_test(constants)
#else
static void host_is_not_x86(void **state)
{
    (void)state;
    skip();
}
#define ALL_TESTS cmocka_unit_test(host_is_not_x86)
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {ALL_TESTS};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
