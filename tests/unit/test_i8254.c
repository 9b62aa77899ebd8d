/* SPDX-License-Identifier: MIT */
/* 8254: modes, counts, latches, read-back, gate, IRQ 0. */
#include "tests/unit/board_rig.h"

#include "machine/devices/i8254.h"

static struct rig r;
static struct i8254 p;

static void setup(void)
{
    rig_setup(&r, 1);
    i8254_setup(&p, &r.clock, &r.irq);
    i8254_reset(&p);
    rig_run(&r, 1000003);
}
static void out(unsigned port, uint8_t v) { i8254_write(&p, (uint16_t)(0x40 + port), 1, v); }
static uint8_t in(unsigned port) { return (uint8_t)i8254_read(&p, (uint16_t)(0x40 + port), 1); }
static uint64_t tick(void) { return clock_ticks(r.clock.now, BOARD_PIT_HZ); }
static void run_ticks(uint64_t n) { rig_run_to(&r, clock_cycle_of(tick() + n, BOARD_PIT_HZ)); }
static void program(unsigned channel, unsigned mode, uint16_t count)
{
    out(3, (uint8_t)(channel << 6 | 0x30 | mode << 1));
    out(channel, (uint8_t)count);
    out(channel, (uint8_t)(count >> 8));
}
static uint16_t latched(unsigned channel)
{
    out(3, (uint8_t)(channel << 6));
    uint16_t low = in(channel);
    return (uint16_t)(low | in(channel) << 8);
}
static bool line(void) { return p.irq->s.sources[0] != 0; }

static void waveforms(void **state)
{
    /* mode, count, OUT for the ticks from the load on (load takes one tick) */
    static const struct {
        unsigned mode, count;
        const char *out;
    } t[] = {{0, 4, "000001111"},     {2, 4, "1111011101110"},  {2, 3, "1110110110"},
             {3, 4, "1110011001100"}, {3, 5, "11110011100111"}, {4, 3, "1111011111"}};
    (void)state;
    for (unsigned k = 0; k < sizeof t / sizeof *t; k++) {
        setup();
        program(0, t[k].mode, (uint16_t)t[k].count);
        for (unsigned i = 0; t[k].out[i]; i++) {
            assert_int_equal(i8254_out(&p, 0), t[k].out[i] == '1');
            assert_int_equal(line(), t[k].out[i] == '1'); /* the events keep IRQ 0 in step */
            run_ticks(1);
        }
    }
}

static void gate_modes(void **state)
{
    (void)state;
    setup();
    program(2, 1, 3); /* one-shot by gate */
    run_ticks(10);
    assert_true(i8254_out(&p, 2));
    i8254_set_gate(&p, 2, true);
    run_ticks(1);
    assert_false(i8254_out(&p, 2));
    run_ticks(3);
    assert_true(i8254_out(&p, 2));
    setup();
    i8254_set_gate(&p, 2, true);
    program(2, 0, 100);
    run_ticks(41);
    assert_int_equal(latched(2), 60);
    i8254_set_gate(&p, 2, false); /* holds */
    run_ticks(50);
    assert_int_equal(latched(2), 60);
    assert_false(i8254_out(&p, 2));
    i8254_set_gate(&p, 2, true);
    run_ticks(60);
    assert_true(i8254_out(&p, 2));
    setup();
    i8254_set_gate(&p, 2, true);
    program(2, 3, 100);
    run_ticks(60);
    assert_false(i8254_out(&p, 2));
    i8254_set_gate(&p, 2, false);
    assert_true(i8254_out(&p, 2));
    i8254_set_gate(&p, 2, true); /* restarts the period */
    run_ticks(1);
    assert_int_equal(latched(2), 100);
}

static void counts(void **state)
{
    (void)state;
    setup();
    program(0, 2, 1000);
    run_ticks(1);
    assert_int_equal(latched(0), 1000);
    run_ticks(999);
    assert_int_equal(latched(0), 1);
    run_ticks(1);
    assert_int_equal(latched(0), 1000);
    program(0, 3, 1000); /* counts by two */
    run_ticks(11);
    assert_int_equal(latched(0), 980);
    program(0, 0, 5); /* past the end it goes on from FFFFh */
    run_ticks(1 + 5 + 1);
    assert_int_equal(latched(0), 0xffff);
    program(0, 2, 0); /* 65536 */
    run_ticks(2);
    assert_int_equal(latched(0), 0xffff);
    out(3, 0x35); /* BCD, mode 2 */
    out(0, 0x00);
    out(0, 0x10);
    run_ticks(2);
    assert_int_equal(latched(0), 0x0999);
    out(3, 0x14); /* low byte only */
    out(0, 50);
    run_ticks(11);
    assert_int_equal(in(0), 40);
    out(3, 0x24); /* high byte only */
    out(0, 2);
    run_ticks(1 + 256);
    assert_int_equal(in(0), 1);
}

static void latches(void **state)
{
    (void)state;
    setup();
    program(0, 2, 5000);
    run_ticks(1 + 100);
    out(3, 0x00);
    run_ticks(500);
    out(3, 0x00); /* a second latch before the read is ignored */
    assert_int_equal(in(0), 4900 & 255);
    run_ticks(100);
    assert_int_equal(in(0), 4900 >> 8);
    out(3, 0xc2); /* read-back: status and count of channel 0 */
    assert_int_equal(in(0), 0x80 | 0x34);
    uint16_t low = in(0);
    assert_int_equal(low | in(0) << 8, 5000 - 700);
    out(3, 0x34); /* control word: null count until loaded */
    out(3, 0xe2);
    assert_int_equal(in(0), 0x80 | 0x40 | 0x34);
}

static void new_count_waits_for_the_period(void **state)
{
    (void)state;
    setup();
    program(0, 2, 1000);
    run_ticks(1 + 400);
    out(0, 100);
    out(0, 0);
    run_ticks(100);
    assert_int_equal(latched(0), 500);
    run_ticks(500);
    assert_int_equal(latched(0), 100);
    run_ticks(101);
    assert_int_equal(latched(0), 99);
}

static unsigned edges;
static void count_edges(void *opaque, struct cpu *c, enum probe_point point, uint64_t a, uint64_t b)
{
    (void)opaque, (void)c, (void)point;
    if (a == 0 && b == 1) edges++;
}

static void rate(void **state)
{
    (void)state;
    setup();
    edges = 0;
    assert_true(probe_subscribe(&r.probes, count_edges, NULL, UINT64_C(1) << PROBE_IRQ_LINE));
    program(0, 2, 11932); /* 99.998 Hz */
    rig_run(&r, 10 * CLOCK_HZ);
    assert_in_range(edges, 999, 1000);
    edges = 0;
    rig_run(&r, 11932 * CLOCK_HZ / 1193182 * 1000);
    assert_in_range(edges, 999, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waveforms), cmocka_unit_test(gate_modes),
        cmocka_unit_test(counts),    cmocka_unit_test(latches),
        cmocka_unit_test(rate),      cmocka_unit_test(new_count_waits_for_the_period)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
