/* SPDX-License-Identifier: MIT */
/* Real-time clock: calendar, formats, update cycle, interrupts, CMOS bytes. */
#include "tests/unit/board_rig.h"

#include "machine/devices/rtc_cmos.h"

static struct rig r;
static struct rtc c;

static void setup(int64_t base)
{
    rig_setup(&r, 1);
    rtc_setup(&c, &r.clock, &r.irq, base);
    rtc_reset(&c);
}
static uint8_t get(uint8_t reg)
{
    rtc_write(&c, 0x70, 1, reg);
    return (uint8_t)rtc_read(&c, 0x71, 1);
}
static void put(uint8_t reg, uint8_t v)
{
    rtc_write(&c, 0x70, 1, reg);
    rtc_write(&c, 0x71, 1, v);
}
static bool line(void) { return r.irq.s.sources[BOARD_IRQ_RTC] != 0; }

static void calendar(void **state)
{
    static const struct {
        int64_t seconds;
        uint8_t century, year, month, day, weekday, hour, minute, second;
    } t[] = {{0, 0x19, 0x70, 1, 1, 5, 0, 0, 0},
             {946684800, 0x20, 0x00, 1, 1, 7, 0, 0, 0},
             {951782399, 0x20, 0x00, 2, 0x28, 2, 0x23, 0x59, 0x59},
             {951782400, 0x20, 0x00, 2, 0x29, 3, 0, 0, 0},
             {1709164800, 0x20, 0x24, 2, 0x29, 5, 0, 0, 0},
             {4107542400, 0x21, 0x00, 3, 1, 2, 0, 0, 0}, /* 2100 is no leap year */
             {1735689599, 0x20, 0x24, 0x12, 0x31, 3, 0x23, 0x59, 0x59}};
    (void)state;
    for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
        setup(t[i].seconds);
        assert_int_equal(get(0x32), t[i].century);
        assert_int_equal(get(9), t[i].year);
        assert_int_equal(get(8), t[i].month);
        assert_int_equal(get(7), t[i].day);
        assert_int_equal(get(6), t[i].weekday);
        assert_int_equal(get(4), t[i].hour);
        assert_int_equal(get(2), t[i].minute);
        assert_int_equal(get(0), t[i].second);
    }
    setup(946684800);
    rig_run(&r, UINT64_C(86400) * 366 * CLOCK_HZ + 90 * CLOCK_HZ);
    assert_int_equal(get(9), 1);
    assert_int_equal(get(2), 1);
    assert_int_equal(get(0), 0x30);
}

static void formats(void **state)
{
    (void)state;
    setup(946684800 + 13 * 3600 + 45 * 60);
    put(0x0b, 0x06); /* binary, 24 hours */
    assert_int_equal(get(4), 13);
    assert_int_equal(get(2), 45);
    put(0x0b, 0x04); /* 12 hours */
    assert_int_equal(get(4), 0x81);
    put(0x0b, 0x00); /* BCD, 12 hours */
    assert_int_equal(get(4), 0x81);
    assert_int_equal(get(2), 0x45);
    rig_run(&r, UINT64_C(11) * 3600 * CLOCK_HZ);
    assert_int_equal(get(4), 0x12); /* midnight */
}

static void setting(void **state)
{
    (void)state;
    setup(946684800);
    rig_run(&r, 300000000);
    put(0x0b, 0x82);
    put(9, 0x26);
    put(8, 0x11);
    put(7, 0x20);
    put(4, 0x13);
    put(2, 0x59);
    put(0, 0x58);
    rig_run(&r, 5 * CLOCK_HZ); /* stands still */
    assert_int_equal(get(0), 0x58);
    assert_int_equal(get(0x0a), 0x26);
    put(0x0b, 0x02);
    assert_int_equal(get(0), 0x58);
    rig_run(&r, 2 * CLOCK_HZ);
    assert_int_equal(get(4), 0x14);
    assert_int_equal(get(2), 0);
    assert_int_equal(get(0), 0);
    assert_int_equal(get(7), 0x20);
    put(0, 0x30); /* while running */
    assert_int_equal(get(0), 0x30);
    put(0x0a, 0x70); /* divider held: the first update comes half a second after the release */
    rig_run(&r, 3 * CLOCK_HZ);
    put(0x0a, 0x26);
    rig_run(&r, CLOCK_HZ / 2 - 1);
    assert_int_equal(get(0), 0x30);
    rig_run(&r, 1);
    assert_int_equal(get(0), 0x31);
}

static void update_in_progress(void **state)
{
    (void)state;
    setup(946684800);
    assert_int_equal(get(0x0a) & 0x80, 0);
    rig_run_to(&r, CLOCK_HZ - 2228000 - 1);
    assert_int_equal(get(0x0a) & 0x80, 0);
    rig_run(&r, 1);
    assert_int_equal(get(0x0a) & 0x80, 0x80);
    assert_int_equal(get(0), 0);
    rig_run_to(&r, CLOCK_HZ);
    assert_int_equal(get(0x0a) & 0x80, 0);
    assert_int_equal(get(0), 1);
}

static void interrupts(void **state)
{
    (void)state;
    setup(946684800);
    assert_int_equal(get(0x0c), 0);
    rig_run(&r, CLOCK_HZ);
    assert_int_equal(get(0x0c), 0x50); /* flags come up without interrupts, too */
    put(0x0b, 0x12);
    rig_run(&r, CLOCK_HZ - 1);
    assert_false(line());
    rig_run(&r, 1);
    assert_true(line());
    assert_int_equal(get(0x0c) & 0xb0, 0x90);
    assert_false(line());
    put(0x0b, 0x22); /* alarm at 00:00:10 */
    put(1, 0x10);
    put(3, 0x00);
    put(5, 0x00);
    rig_run_to(&r, 10 * CLOCK_HZ - 1);
    assert_false(line());
    rig_run(&r, 1);
    assert_true(line());
    assert_int_equal(get(0x0c) & 0xa0, 0xa0);
    put(1, 0xff); /* don't care: each second */
    rig_run(&r, CLOCK_HZ);
    assert_true(line());
    get(0x0c);
    put(0x0b, 0x42); /* 1024 Hz */
    unsigned n = 0;
    for (unsigned i = 0; i < 10240; i++) {
        rig_run_to(&r, clock_cycle_of(UINT64_C(32) * (32 * 1024 + i), BOARD_RTC_HZ));
        if (line()) {
            n++;
            assert_int_equal(get(0x0c) & 0xc0, 0xc0);
        }
    }
    assert_in_range(n, 10238, 10240);
}

static void rates(void **state)
{
    static const struct {
        uint8_t rate;
        uint32_t hz;
    } t[] = {{1, 256}, {2, 128}, {3, 8192}, {6, 1024}, {13, 8}, {15, 2}};
    (void)state;
    for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
        setup(946684800);
        put(0x0a, 0x20 | t[i].rate);
        put(0x0b, 0x42);
        unsigned n = 0;
        while (r.clock.now < CLOCK_HZ) {
            uint64_t next = clock_next(&r.clock);
            rig_run_to(&r, next);
            if (line()) n++;
            get(0x0c);
        }
        assert_int_equal(n, t[i].hz);
    }
}

static void memory(void **state)
{
    (void)state;
    setup(946684800);
    rtc_describe(&c, UINT64_C(512) << 20, UINT64_C(1) << 30, 4);
    assert_int_equal(get(0x15) | get(0x16) << 8, 640);
    assert_int_equal(get(0x34) | get(0x35) << 8, (512 - 16) * 16);
    assert_int_equal(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 1024 * 16);
    assert_int_equal(get(0x5f), 3);
    assert_int_equal(get(0x0d), 0x80);
    put(0x50, 0xa5);
    assert_int_equal(get(0x50), 0xa5);
    put(0x8f, 0x12); /* bit 7 of the index is the NMI mask */
    assert_int_equal(get(0x0f), 0x12);
    assert_int_equal(rtc_read(&c, 0x70, 1), 0xff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(calendar),   cmocka_unit_test(formats),
                                       cmocka_unit_test(setting),    cmocka_unit_test(update_in_progress),
                                       cmocka_unit_test(interrupts), cmocka_unit_test(rates),
                                       cmocka_unit_test(memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
