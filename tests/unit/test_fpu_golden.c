/* SPDX-License-Identifier: MIT */
/* The same bits on every host: a hash over results and flags of all of cpu/fpu, whose value is fixed here. It
 * was compared with hardware and MPFR by the other test_fpu programs when it was recorded. */
#include "fpu_host.h"

#define GOLDEN UINT64_C(0x92b353bb9502ea42)
static uint64_t hash;
static void add(uint64_t v) { hash = ((hash ^ v) * UINT64_C(0x100000001b3)) ^ hash >> 29; }
static void add80(struct f80 v)
{
    add(v.frac);
    add(v.se);
}

static void hash_is_fixed(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t r[8], x, y;
        for (int k = 0; k < 8; k++)
            r[k] = rnd();
        struct fp_env e = {.rc = r[0] & 3, .masked = r[0] >> 8 & 63, .x87 = true};
        e.prec = i % 5 == 0 ? 24 : i % 5 == 1 ? 53 : 64;
        struct f80 a = f80_make((unsigned)(0x3fff - 20 + r[1] % 40), r[2] | UINT64_C(1) << 63), b, t, u;
        b = f80_make((unsigned)(0xbfff - 20 + r[3] % 40), r[4] | UINT64_C(1) << 63);
        if (i % 7 == 0) a = f80_make((uint16_t)r[5], r[6]);
        x = r[5];
        y = r[6];
        add80(f80_add(&e, a, b));
        add80(f80_sub(&e, a, b));
        add80(f80_mul(&e, a, b));
        add80(f80_div(&e, a, b));
        add80(f80_sqrt(&e, a));
        add80(f80_round_int(&e, a));
        add80(f80_scale(&e, a, b));
        add80(f80_remainder(&e, a, b, i & 1).r);
        add80(f80_extract(&e, a, &t));
        add80(t);
        add((uint64_t)f80_to_int(&e, a, 64, e.rc));
        add(f80_to_f32(&e, a));
        add(f80_to_f64(&e, a));
        uint8_t bcd[10];
        f80_to_bcd(&e, a, bcd);
        for (int k = 0; k < 10; k++)
            add(bcd[k]);
        add80(f80_fpatan(&e, a, b));
        add80(f80_fyl2x(&e, a, b));
        add80(f80_fyl2xp1(&e, b, a));
        add80(f80_f2xm1(&e, a));
        if (f80_tan(&e, a, &t)) add80(t);
        if (f80_sincos(&e, a, &t, &u)) add80(t), add80(u);
        e.x87 = false;
        e.daz = r[7] & 1;
        e.ftz = r[7] >> 1 & 1;
        add(f64_add(&e, x, y));
        add(f64_sub(&e, x, y));
        add(f64_mul(&e, x, y));
        add(f64_div(&e, x, y));
        add(f64_sqrt(&e, x));
        add(f64_min(&e, x, y));
        add(f64_to_f32(&e, x));
        add((uint64_t)f64_to_int(&e, x, 32, e.rc));
        add(f32_add(&e, (uint32_t)x, (uint32_t)y));
        add(f32_mul(&e, (uint32_t)x, (uint32_t)y));
        add(f32_div(&e, (uint32_t)x, (uint32_t)y));
        add(f32_sqrt(&e, (uint32_t)x));
        add(f32_max(&e, (uint32_t)x, (uint32_t)y));
        add(f32_to_f64(&e, (uint32_t)x));
        add(f32_round_int(&e, (uint32_t)x, e.rc));
        add(f32_rcp((uint32_t)x));
        add(f32_rsqrt((uint32_t)x));
        add(e.flags);
    }
    if (hash != GOLDEN) printf("hash %016llx\n", (unsigned long long)hash);
    assert_true(hash == GOLDEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hash_is_fixed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
