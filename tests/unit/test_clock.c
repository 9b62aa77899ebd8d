/* SPDX-License-Identifier: MIT */
/* Event queue and exact conversions; port and MMIO tables. */
#include "tests/unit/board_rig.h"

#include "machine/memory_map.h"
#include "machine/mmio.h"
#include "machine/ports.h"

static char trail[256];
static unsigned trail_length;
static struct clock k;
static struct timer timers[100];

static void mark(void *opaque) { trail[trail_length++] = *(char *)opaque; }

static void order(void **state)
{
    static char names[] = "abcdef";
    (void)state;
    clock_init(&k);
    trail_length = 0;
    for (unsigned i = 0; i < 6; i++)
        clock_register(&k, &timers[i], mark, &names[i]);
    clock_arm(&k, &timers[0], 30);
    clock_arm(&k, &timers[1], 10);
    clock_arm(&k, &timers[2], 20);
    clock_arm(&k, &timers[3], 10); /* the same cycle: in order of arming */
    clock_arm(&k, &timers[4], 10);
    clock_arm(&k, &timers[5], 5);
    clock_arm(&k, &timers[1], 10); /* armed again: goes behind */
    clock_cancel(&k, &timers[5]);
    assert_true(clock_next(&k) == 10);
    clock_run(&k, 20);
    assert_memory_equal(trail, "debc", 4);
    assert_true(k.now == 20);
    assert_true(clock_next(&k) == 30);
    clock_run(&k, 100);
    assert_int_equal(trail_length, 5);
    assert_true(clock_next(&k) == CLOCK_NEVER);
}

static uint64_t fired_at[1000];
static unsigned fired;
static void note(void *opaque)
{
    (void)opaque;
    fired_at[fired++] = k.now;
}

static void many(void **state)
{
    (void)state;
    clock_init(&k);
    fired = 0;
    for (unsigned i = 0; i < 100; i++)
        clock_register(&k, &timers[i], note, NULL);
    for (unsigned i = 0; i < 100; i++)
        clock_arm(&k, &timers[i], (i * 7919) % 1009);
    for (unsigned i = 0; i < 100; i += 3)
        clock_arm(&k, &timers[i], 2000 - i);
    for (unsigned i = 1; i < 100; i += 3)
        clock_cancel(&k, &timers[i]);
    clock_run(&k, 5000);
    assert_int_equal(fired, 67);
    for (unsigned i = 1; i < fired; i++)
        assert_true(fired_at[i - 1] <= fired_at[i]);
}

static void conversions(void **state)
{
    static const uint64_t hz[] = {BOARD_PIT_HZ, BOARD_PM_TIMER_HZ, BOARD_HPET_HZ, BOARD_RTC_HZ, CLOCK_HZ, 1};
    (void)state;
    for (unsigned i = 0; i < sizeof hz / sizeof *hz; i++) {
        for (uint64_t t = 0; t < 3000; t++) {
            uint64_t tick = t < 1500 ? t : t * UINT64_C(1234567891);
            if (tick / hz[i] > UINT64_C(15000000000)) continue; /* beyond 64 bits of cycles */
            uint64_t c = clock_cycle_of(tick, hz[i]);
            assert_true(clock_ticks(c, hz[i]) == tick); /* begins exactly there */
            if (c) assert_true(clock_ticks(c - 1, hz[i]) == tick - 1 || tick == 0);
        }
        /* After a year nothing has drifted. */
        uint64_t year = UINT64_C(31536000);
        assert_true(clock_ticks(year * CLOCK_HZ, hz[i]) == year * hz[i]);
    }
}

/* ---- ports ---- */

static struct ports ports;
static uint8_t regs[16];
static uint32_t last_size;

static uint32_t read_bytes(void *o, uint16_t port, uint32_t size)
{
    (void)o;
    last_size = size;
    uint32_t v = 0;
    for (uint32_t i = 0; i < size; i++)
        v |= (uint32_t)regs[(port + i) & 15] << 8 * i;
    return v;
}
static void write_bytes(void *o, uint16_t port, uint32_t size, uint32_t value)
{
    (void)o;
    last_size = size;
    for (uint32_t i = 0; i < size; i++)
        regs[(port + i) & 15] = (uint8_t)(value >> 8 * i);
}

static void port_table(void **state)
{
    (void)state;
    ports_init(&ports);
    const struct port_region byte = {"byte", 0x100, 0x103, 1, read_bytes, write_bytes, regs};
    const struct port_region wide = {"wide", 0x104, 0x10b, 4, read_bytes, write_bytes, regs};
    const struct port_region clash = {"clash", 0x10b, 0x10c, 4, read_bytes, write_bytes, regs};
    const struct port_region top = {"top", 0xffff, 0xffff, 1, read_bytes, write_bytes, regs};
    assert_true(ports_add(&ports, &byte) && ports_add(&ports, &wide) && ports_add(&ports, &top));
    assert_false(ports_add(&ports, &clash));
    ports_write(&ports, 0x100, 4, 0x44332211); /* four byte accesses */
    assert_int_equal(last_size, 1);
    ports_write(&ports, 0x104, 4, 0x88776655);
    assert_int_equal(last_size, 4);
    assert_true(ports_read(&ports, 0x100, 4) == 0x44332211);
    assert_true(ports_read(&ports, 0x102, 4) == 0x66554433); /* across two devices */
    assert_true(ports_read(&ports, 0x10a, 4) == (0xffff0000u | regs[11] << 8 | regs[10]));
    assert_true(ports_read(&ports, 0x200, 4) == 0xffffffff);
    assert_true(ports_read(&ports, 0x200, 2) == 0xffff);
    regs[15] = 0x5a;
    assert_true(ports_read(&ports, 0xffff, 2) == 0xff5a); /* wraps to port 0 */
    ports_remove(&ports, regs, 0x104);
    assert_true(ports_read(&ports, 0x104, 1) == 0xff);
    assert_true(ports_add(&ports, &clash));
}

/* ---- MMIO ---- */

static uint64_t read_offset(void *o, uint64_t offset, uint32_t size)
{
    (void)o;
    last_size = size;
    return offset;
}
static void write_offset(void *o, uint64_t offset, uint32_t size, uint64_t value)
{
    (void)o, (void)offset, (void)size, (void)value;
    last_size = size;
}

static void mmio_table(void **state)
{
    static struct mmio m;
    (void)state;
    mmio_init(&m);
    const struct mmio_region r = {"r", 0xf0000000, 0x100, 4, read_offset, write_offset, &m};
    const struct mmio_region over = {"over", 0xf00000ff, 1, 4, read_offset, write_offset, &m};
    assert_true(mmio_add(&m, &r));
    assert_false(mmio_add(&m, &over));
    assert_true(mmio_read(&m, 0xf0000010, 4) == 0x10);
    assert_true(mmio_read(&m, 0xf0000010, 8) == UINT64_C(0x0000001400000010)); /* in halves */
    assert_true(mmio_read(&m, 0xf0000100, 4) == 0xffffffff);
    assert_true(mmio_read(&m, 0xefffffff, 1) == 0xff);
    mmio_remove(&m, &m, 0xf0000000);
    assert_true(mmio_read(&m, 0xf0000010, 8) == UINT64_MAX);
}

static void memory_layout(void **state)
{
    struct memory_map mm;
    (void)state;
    assert_true(memory_map_init(&mm, UINT64_C(5) << 30));
    assert_true(mm.low == BOARD_LOW_RAM_MAX && mm.high == UINT64_C(2) << 30);
    assert_true(memory_map_covers(&mm, 0, 0xA0000));
    assert_false(memory_map_covers(&mm, 0x9ffff, 2)); /* the video hole */
    assert_true(memory_map_covers(&mm, 0xC0000, BOARD_LOW_RAM_MAX - 0xC0000));
    assert_false(memory_map_covers(&mm, BOARD_LOW_RAM_MAX - 1, 2));
    assert_true(memory_map_covers(&mm, BOARD_HIGH_RAM, mm.high));
    assert_false(memory_map_covers(&mm, BOARD_HIGH_RAM, mm.high + 1));
    assert_false(memory_map_covers(&mm, UINT64_MAX - 1, 16));
    assert_true(memory_map_add_rom(&mm, 0xffff0000, 0x10000));
    assert_int_equal(mm.page_flags[0xffff0], PAGE_RAM | PAGE_ROM);
    assert_false(memory_map_add_rom(&mm, 0xffff0001, 0x1000));
    memory_map_overlay(&mm, 0x5000, true); /* a device page hides RAM and gives it back */
    assert_int_equal(mm.page_flags[5] & PAGE_RAM, 0);
    assert_true(memory_map_covers(&mm, 0x5000, 0x1000));
    memory_map_overlay(&mm, 0x5000, false);
    assert_int_equal(mm.page_flags[5], PAGE_RAM);
    memory_map_overlay(&mm, 0xfee00000, true); /* nothing underneath */
    assert_int_equal(mm.page_flags[0xfee00], 0);
    memory_map_free(&mm);
    assert_true(memory_map_init(&mm, 1 << 20));
    assert_true(mm.top == BOARD_HIGH_RAM);
    memory_map_free(&mm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(order),       cmocka_unit_test(many),
                                       cmocka_unit_test(conversions), cmocka_unit_test(port_table),
                                       cmocka_unit_test(mmio_table),  cmocka_unit_test(memory_layout)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
