/* SPDX-License-Identifier: MIT */
/* HPET: counter, comparators, legacy replacement. */
#include "tests/unit/board_rig.h"

#include "machine/devices/hpet.h"
#include "machine/devices/i8254.h"

static struct rig r;
static struct hpet h;
static unsigned edges[24];

static void count_edges(void *opaque, struct cpu *c, enum probe_point point, uint64_t a, uint64_t b)
{
    (void)opaque, (void)c, (void)point;
    if (b) edges[a]++;
}
static void setup(void)
{
    rig_setup(&r, 1);
    hpet_setup(&h, &r.clock, &r.irq);
    hpet_reset(&h);
    memset(edges, 0, sizeof edges);
    assert_true(probe_subscribe(&r.probes, count_edges, NULL, UINT64_C(1) << PROBE_IRQ_LINE));
}
static uint64_t get(uint64_t offset) { return hpet_read(&h, offset, 8); }
static void put(uint64_t offset, uint64_t v) { hpet_write(&h, offset, 8, v); }

static void registers(void **state)
{
    (void)state;
    setup();
    assert_true(get(0) == UINT64_C(0x009896808086a201));
    assert_true(hpet_read(&h, 4, 4) == 0x989680);
    assert_true(get(0x108) == UINT64_MAX);
    put(0x100, UINT64_MAX);
    assert_true(get(0x100) == (UINT64_C(0x00ff0000) << 32 | 0x3f4e | 0x30));
    assert_true(get(0x160) == 0); /* no fourth timer */
    assert_true(get(0x3f8) == 0);
}

static void counter(void **state)
{
    (void)state;
    setup();
    rig_run(&r, 1000);
    assert_true(get(0xf0) == 0); /* halted */
    put(0xf0, 50);
    put(0x10, 1);
    rig_run(&r, 1000);
    assert_true(get(0xf0) == 150);
    assert_true(hpet_read(&h, 0xf0, 4) == 150);
    put(0x10, 0);
    rig_run(&r, 1000);
    assert_true(get(0xf0) == 150);
    put(0x10, 1);
    hpet_write(&h, 0xf4, 4, 1); /* the upper half alone */
    assert_true(get(0xf0) == (UINT64_C(1) << 32 | 150));
}

static void one_shot(void **state)
{
    (void)state;
    setup();
    put(0x10, 1);
    put(0x120, 20 << 9 | 4); /* timer 1, line 20, edge */
    put(0x128, 100);
    rig_run(&r, 999);
    assert_int_equal(edges[20], 0);
    rig_run(&r, 1);
    assert_int_equal(edges[20], 1);
    rig_run(&r, CLOCK_HZ);
    assert_int_equal(edges[20], 1);
    put(0x128, 5); /* behind the counter: only after the counter comes round */
    rig_run(&r, CLOCK_HZ);
    assert_int_equal(edges[20], 1);
    put(0x120, 20 << 9 | 4 | 0x100); /* 32 bits: within 43 s, and again each time */
    rig_run(&r, 100 * CLOCK_HZ);
    assert_in_range(edges[20], 3, 4);
}

static void level(void **state)
{
    (void)state;
    setup();
    put(0x10, 1);
    put(0x140, 21 << 9 | 6);
    put(0x148, 10);
    rig_run(&r, 100);
    assert_true(get(0x20) == 4);
    assert_int_not_equal(r.irq.s.sources[21], 0);
    put(0x20, 4);
    assert_int_equal(r.irq.s.sources[21], 0);
    assert_true(get(0x20) == 0);
}

static void periodic(void **state)
{
    (void)state;
    setup();
    put(0x10, 3);                     /* legacy replacement: timer 0 is IRQ 0 */
    put(0x100, 4 | 8 | 0x40 | 0x100); /* the driver's order: first match, then period */
    hpet_write(&h, 0x108, 4, 1000);
    hpet_write(&h, 0x108, 4, 500);
    rig_run(&r, 9999);
    assert_int_equal(edges[0], 0);
    rig_run(&r, 1);
    assert_int_equal(edges[0], 1);
    rig_run(&r, 1000 * 5000);
    assert_int_equal(edges[0], 1001);
    assert_true(get(0x108) == 1000 + 1001 * 500);
    rig_run(&r, 100 * CLOCK_HZ); /* across the 32-bit wrap */
    assert_int_equal(edges[0], 1001 + 100 * 200000);
}

static void legacy_cuts_off_the_pit(void **state)
{
    static struct i8254 pit;
    (void)state;
    setup();
    i8254_setup(&pit, &r.clock, &r.irq);
    i8254_reset(&pit);
    i8254_write(&pit, 0x43, 1, 0x34);
    i8254_write(&pit, 0x40, 1, 0xa9);
    i8254_write(&pit, 0x40, 1, 0x04);
    rig_run(&r, 10000000);
    assert_int_equal(edges[0], 11); /* the control word's own edge, then one each 1 ms */
    put(0x10, 2);
    edges[0] = 0;
    rig_run(&r, 10000000);
    assert_int_equal(edges[0], 0);
    put(0x10, 0);
    edges[0] = 0;
    rig_run(&r, 10000000);
    assert_in_range(edges[0], 10, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers), cmocka_unit_test(counter),  cmocka_unit_test(one_shot),
        cmocka_unit_test(level),     cmocka_unit_test(periodic), cmocka_unit_test(legacy_cuts_off_the_pit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
