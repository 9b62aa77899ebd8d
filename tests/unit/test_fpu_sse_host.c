/* SPDX-License-Identifier: MIT */
/* cpu/fpu binary32 and binary64 against the host's SSE: value and MXCSR flags, every rounding mode,
 * DAZ and FTZ. Only masked responses: an unmasked one has no result to compare. */
#include "fpu_host.h"

#ifdef HOST_X86

#define OP2(bits, ctype, name, insn)                                                       \
    static ctype host_##name(uint32_t *mxcsr, ctype a, ctype b)                            \
    {                                                                                      \
        uint32_t out, def = 0x1f80;                                                        \
        __asm__ volatile("ldmxcsr %2\n\tmovq %q3, %%xmm0\n\tmovq %q4, %%xmm1\n\t" insn     \
                         " %%xmm1, %%xmm0\n\tstmxcsr %1\n\tldmxcsr %5\n\tmovq %%xmm0, %q0" \
                         : "=&r"(a), "=m"(out)                                             \
                         : "m"(*mxcsr), "r"(a), "r"(b), "m"(def)                           \
                         : "xmm0", "xmm1");                                                \
        *mxcsr = out;                                                                      \
        return a;                                                                          \
    }
OP2(32, uint32_t, f32_add, "addss")
OP2(32, uint32_t, f32_sub, "subss")
OP2(32, uint32_t, f32_mul, "mulss")
OP2(32, uint32_t, f32_div, "divss")
OP2(32, uint32_t, f32_min, "minss")
OP2(32, uint32_t, f32_max, "maxss")
OP2(64, uint64_t, f64_add, "addsd")
OP2(64, uint64_t, f64_sub, "subsd")
OP2(64, uint64_t, f64_mul, "mulsd")
OP2(64, uint64_t, f64_div, "divsd")
OP2(64, uint64_t, f64_min, "minsd")
OP2(64, uint64_t, f64_max, "maxsd")

#define OP1(name, tin, tout, load, insn)                                                  \
    static tout host_##name(uint32_t *mxcsr, tin v)                                       \
    {                                                                                     \
        uint32_t out, def = 0x1f80;                                                       \
        uint64_t in = (uint64_t)v, r;                                                     \
        __asm__ volatile("ldmxcsr %2\n\t" load "\n\t" insn "\n\tstmxcsr %1\n\tldmxcsr %4" \
                         : "=&a"(r), "=m"(out)                                            \
                         : "m"(*mxcsr), "d"(in), "m"(def)                                 \
                         : "xmm0", "xmm1");                                               \
        *mxcsr = out;                                                                     \
        return (tout)r;                                                                   \
    }
#define TO0 "movq %%rdx, %%xmm1\n\tpxor %%xmm0, %%xmm0"
#define FROM0 "\n\tmovq %%xmm0, %%rax"
OP1(f32_sqrt, uint32_t, uint32_t, TO0, "sqrtss %%xmm1, %%xmm0" FROM0)
OP1(f64_sqrt, uint64_t, uint64_t, TO0, "sqrtsd %%xmm1, %%xmm0" FROM0)
OP1(f32_to_f64, uint32_t, uint64_t, TO0, "cvtss2sd %%xmm1, %%xmm0" FROM0)
OP1(f64_to_f32, uint64_t, uint32_t, TO0, "cvtsd2ss %%xmm1, %%xmm0" FROM0)
OP1(int_to_f32, int64_t, uint32_t, TO0, "cvtsi2ssq %%rdx, %%xmm0" FROM0)
OP1(int_to_f64, int64_t, uint64_t, TO0, "cvtsi2sdq %%rdx, %%xmm0" FROM0)
OP1(f32_to_i32, uint32_t, uint32_t, TO0, "cvtss2si %%xmm1, %%eax")
OP1(f32_to_i64, uint32_t, uint64_t, TO0, "cvtss2si %%xmm1, %%rax")
OP1(f64_to_i32, uint64_t, uint32_t, TO0, "cvtsd2si %%xmm1, %%eax")
OP1(f64_to_i64, uint64_t, uint64_t, TO0, "cvtsd2si %%xmm1, %%rax")
OP1(f32_round, uint32_t, uint32_t, TO0, ".byte 0x66,0x0f,0x3a,0x0a,0xc1,4" FROM0) /* roundss xmm0, xmm1, 4 */
OP1(f64_round, uint64_t, uint64_t, TO0, ".byte 0x66,0x0f,0x3a,0x0b,0xc1,4" FROM0)

static uint32_t my_f32_to_i32(struct fp_env *e, uint32_t a) { return (uint32_t)f32_to_int(e, a, 32, e->rc); }
static uint64_t my_f32_to_i64(struct fp_env *e, uint32_t a) { return (uint64_t)f32_to_int(e, a, 64, e->rc); }
static uint32_t my_f64_to_i32(struct fp_env *e, uint64_t a) { return (uint32_t)f64_to_int(e, a, 32, e->rc); }
static uint64_t my_f64_to_i64(struct fp_env *e, uint64_t a) { return (uint64_t)f64_to_int(e, a, 64, e->rc); }
static uint32_t my_f32_round(struct fp_env *e, uint32_t a) { return f32_round_int(e, a, e->rc); }
static uint64_t my_f64_round(struct fp_env *e, uint64_t a) { return f64_round_int(e, a, e->rc); }

static uint32_t random_mxcsr(struct fp_env *e)
{
    uint32_t m = 0x1f80 | (uint32_t)(rnd() & 3) << 13;
    if (rnd() % 4 == 0) m |= 0x40;
    if (rnd() % 4 == 0) m |= 0x8000;
    *e =
        (struct fp_env){.rc = m >> 13 & 3, .prec = 64, .masked = FP_ALL, .daz = m & 0x40, .ftz = m >> 15 & 1};
    return m;
}

static unsigned bad;
static void judge(const char *name, uint32_t m0, uint64_t a, uint64_t b, uint64_t want, uint32_t m,
                  uint64_t got, unsigned flags)
{
    if (want == got && (m & 63) == flags) return;
    if (bad++ < 20)
        printf("%s mxcsr %04x %016lx %016lx: host %016lx %02x, ours %016lx %02x\n", name, m0,
               (unsigned long)a, (unsigned long)b, (unsigned long)want, m & 63, (unsigned long)got, flags);
}
#define TRY2(name, bits)                                           \
    do {                                                           \
        struct fp_env e;                                           \
        uint32_t m0 = random_mxcsr(&e), m = m0;                    \
        uint64_t want = host_##name(&m, a##bits, b##bits);         \
        uint64_t got = name(&e, a##bits, b##bits);                 \
        judge(#name, m0, a##bits, b##bits, want, m, got, e.flags); \
    } while (0)
#define TRY1(name, mine, v)                                        \
    do {                                                           \
        struct fp_env e;                                           \
        uint32_t m0 = random_mxcsr(&e), m = m0;                    \
        uint64_t want = host_##name(&m, v);                        \
        uint64_t got = mine(&e, v);                                \
        judge(#name, m0, (uint64_t)(v), 0, want, m, got, e.flags); \
    } while (0)

static void arithmetic(void **state)
{
    (void)state;
    bad = 0;
    for (int i = 0; i < 60000; i++) {
        uint32_t a32 = rnd_f32(0x3f800000), b32 = rnd_f32(a32);
        uint64_t a64 = rnd_f64(UINT64_C(1023) << 52), b64 = rnd_f64(a64);
        TRY2(f32_add, 32);
        TRY2(f32_sub, 32);
        TRY2(f32_mul, 32);
        TRY2(f32_div, 32);
        TRY2(f32_min, 32);
        TRY2(f32_max, 32);
        TRY2(f64_add, 64);
        TRY2(f64_sub, 64);
        TRY2(f64_mul, 64);
        TRY2(f64_div, 64);
        TRY2(f64_min, 64);
        TRY2(f64_max, 64);
        TRY1(f32_sqrt, f32_sqrt, a32);
        TRY1(f64_sqrt, f64_sqrt, a64);
    }
    assert_int_equal(bad, 0);
}

static void conversions(void **state)
{
    (void)state;
    bad = 0;
    for (int i = 0; i < 60000; i++) {
        uint32_t a = rnd_f32((uint32_t)(127 + rnd() % 66) << 23);
        uint64_t b = rnd_f64(UINT64_C(1048) << 52);
        if (i & 1) b = rnd_f64((1023 - 160 + rnd() % 300) << 52);
        int64_t v = (int64_t)(rnd() >> rnd() % 64) * (rnd() & 1 ? 1 : -1);
        TRY1(f32_to_f64, f32_to_f64, a);
        TRY1(f64_to_f32, f64_to_f32, b);
        TRY1(int_to_f32, int_to_f32, v);
        TRY1(int_to_f64, int_to_f64, v);
        TRY1(f32_to_i32, my_f32_to_i32, a);
        TRY1(f32_to_i64, my_f32_to_i64, a);
        TRY1(f64_to_i32, my_f64_to_i32, b);
        TRY1(f64_to_i64, my_f64_to_i64, b);
        TRY1(f32_round, my_f32_round, a);
        TRY1(f64_round, my_f64_round, b);
    }
    assert_int_equal(bad, 0);
}

static void comparison(void **state)
{
    (void)state;
    bad = 0;
    for (int i = 0; i < 50000; i++) {
        struct fp_env e;
        uint32_t a = rnd_f32(0x3f800000), b = rnd() % 4 ? rnd_f32(a) : a;
        uint32_t m0 = random_mxcsr(&e), m = m0, def = 0x1f80;
        uint64_t rf;
        bool quiet = rnd() & 1;
        __asm__ volatile(
            "ldmxcsr %1\n\tmovd %2, %%xmm0\n\tmovd %3, %%xmm1\n\t"
            "test %k5, %k5\n\tje 1f\n\tucomiss %%xmm1, %%xmm0\n\tjmp 2f\n1:\tcomiss %%xmm1, %%xmm0\n"
            "2:\tpushfq\n\tpop %0\n\tstmxcsr %1\n\tldmxcsr %4"
            : "=&r"(rf), "+m"(m)
            : "r"(a), "r"(b), "m"(def), "r"((uint32_t)quiet)
            : "xmm0", "xmm1", "cc", "memory");
        enum fp_relation r = f32_compare(&e, a, b, !quiet);
        static const uint8_t image[4] = {0x01, 0x40, 0x00, 0x45};
        judge("comiss", m0, a, b, rf & 0x45, m, image[r + 1], e.flags);
    }
    assert_int_equal(bad, 0);
}

static void reciprocals_within_bound(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint32_t a = rnd_f32(0x3f800000);
        float x, r, s;
        memcpy(&x, &a, 4);
        uint32_t ri = f32_rcp(a), si = f32_rsqrt(a);
        memcpy(&r, &ri, 4);
        memcpy(&s, &si, 4);
        uint32_t e = a >> 23 & 0xff;
        if (e > 0 && e < 250) {
            double err = (double)r * (double)x - 1;
            assert_true(err < 0.00036 && err > -0.00036);
        }
        if (e > 0 && e < 255 && !(a >> 31)) {
            double err = (double)s * (double)s * (double)x - 1; /* twice the relative error */
            assert_true(err < 0.00072 && err > -0.00072);
        }
        uint32_t hr, hs;
        __asm__("rcpss %2, %%xmm0\n\tmovd %%xmm0, %0\n\trsqrtss %2, %%xmm0\n\tmovd %%xmm0, %1"
                : "=r"(hr), "=r"(hs)
                : "m"(a)
                : "xmm0");
        if (e == 0 || e == 255) {
            assert_int_equal(hr, ri);
            assert_int_equal(hs, si);
        }
    }
}

#define ALL_TESTS                                                                              \
    cmocka_unit_test(arithmetic), cmocka_unit_test(conversions), cmocka_unit_test(comparison), \
        cmocka_unit_test(reciprocals_within_bound)
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
