/* SPDX-License-Identifier: MIT */
/* The host fast path (UV_HOST_FP) equals the integer path wherever it says it is usable. The path is built
 * into this program whatever the library was built with. */
#ifndef UV_HOST_FP
#define UV_HOST_FP
#endif
#include "fpu_host.h"

#include "cpu/fpu/fp_host.h"

static struct fp_env env(void)
{
    return (struct fp_env){.rc = FP_NEAREST, .prec = 64, .masked = FP_ALL, .flags = FP_PE};
}

#define COMPARE(bits, name, a, b)                                                           \
    do {                                                                                    \
        struct fp_env fast = env(), slow = env();                                           \
        uint##bits##_t r;                                                                   \
        if (fp_host_##name##bits(&fast, a, b, &r)) {                                        \
            used++;                                                                         \
            slow.flags = 0; /* keeps a library built with UV_HOST_FP on the integer path */ \
            assert_true(f##bits##_##name(&slow, a, b) == r);                                \
            assert_int_equal(slow.flags | FP_PE, fast.flags);                               \
        }                                                                                   \
    } while (0)

static void equal_where_usable(void **state)
{
    (void)state;
    unsigned used = 0;
    for (int i = 0; i < 200000; i++) {
        uint32_t a = rnd_f32(0x3f800000), b = rnd_f32(a);
        uint64_t c = rnd_f64(UINT64_C(1023) << 52), d = rnd_f64(c);
        if (i & 1) {
            a = (a & 0x807fffff) | (uint32_t)(0x5f + rnd() % 0x41) << 23;
            b = (b & 0x807fffff) | (uint32_t)(0x5f + rnd() % 0x41) << 23;
            c = (c & UINT64_C(0x800fffffffffffff)) | (0x2ff + rnd() % 0x201) << 52;
            d = (d & UINT64_C(0x800fffffffffffff)) | (0x2ff + rnd() % 0x201) << 52;
        }
        COMPARE(32, add, a, b);
        COMPARE(32, sub, a, b);
        COMPARE(32, mul, a, b);
        COMPARE(32, div, a, b);
        COMPARE(64, add, c, d);
        COMPARE(64, sub, c, d);
        COMPARE(64, mul, c, d);
        COMPARE(64, div, c, d);
    }
    assert_true(used > 100000);
}

static void refuses_what_could_differ(void **state)
{
    (void)state;
    uint32_t r;
    struct fp_env e = env();
    uint32_t one = 0x3f800000;
    assert_true(fp_host_add32(&e, one, one, &r));
    e.rc = FP_UP;
    assert_false(fp_host_add32(&e, one, one, &r));
    e = env();
    e.flags = 0;
    assert_false(fp_host_add32(&e, one, one, &r));
    e = env();
    e.masked = FP_ALL & ~FP_PE;
    assert_false(fp_host_add32(&e, one, one, &r));
    e = env();
    static const uint32_t edge[] = {0, 1, 0x00800000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc00000};
    for (unsigned i = 0; i < sizeof edge / sizeof edge[0]; i++) {
        assert_false(fp_host_mul32(&e, one, edge[i], &r));
        assert_false(fp_host_mul32(&e, edge[i] | 0x80000000, one, &r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equal_where_usable),
                                       cmocka_unit_test(refuses_what_could_differ)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
