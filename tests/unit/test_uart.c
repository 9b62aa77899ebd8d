/* SPDX-License-Identifier: MIT */
/* 16550A: what drivers probe for, interrupts, FIFO, loopback. */
#include "tests/unit/board_rig.h"

#include "machine/devices/uart16550.h"

static struct rig r;
static struct uart u;
static struct chardev *sink;

static void setup(void)
{
    rig_setup(&r, 1);
    chardev_destroy(sink);
    sink = chardev_memory(1000);
    uart_setup(&u, &r.clock, &r.irq, sink, BOARD_IRQ_COM1, IRQ_SRC_COM1);
    uart_reset(&u);
}
static uint8_t in(unsigned reg) { return (uint8_t)uart_read(&u, (uint16_t)(0x3f8 + reg), 1); }
static void out(unsigned reg, uint8_t v) { uart_write(&u, (uint16_t)(0x3f8 + reg), 1, v); }
static bool line(void) { return r.irq.s.sources[BOARD_IRQ_COM1] != 0; }

static void reset_values(void **state)
{
    static const uint8_t want[8] = {0, 0, 1, 0, 0, 0x60, 0xb0, 0};
    (void)state;
    setup();
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(in(i), want[i]);
}

/* The steps of a driver's autoconfiguration. */
static void probing(void **state)
{
    (void)state;
    setup();
    out(1, 0xff);
    assert_int_equal(in(1), 0x0f);
    out(1, 0);
    assert_int_equal(in(1), 0);
    out(4, 0x1a);
    assert_int_equal(in(6) & 0xf0, 0x90);
    out(4, 0x15);
    assert_int_equal(in(6) & 0xf0, 0x60);
    out(4, 0xff);
    assert_int_equal(in(4), 0x1f);
    out(4, 0);
    out(7, 0x5a);
    assert_int_equal(in(7), 0x5a);
    out(2, 1);
    assert_int_equal(in(2), 0xc1);
    out(3, 0x80); /* divisor latch */
    out(0, 0x34);
    out(1, 0x12);
    assert_int_equal(in(0), 0x34);
    assert_int_equal(in(1), 0x12);
    assert_int_equal(in(2), 0xc1); /* an enhanced register would read 0 here */
    out(3, 3);
    assert_int_equal(in(1), 0);
    out(2, 0);
    assert_int_equal(in(2), 1);
}

static void transmit(void **state)
{
    size_t n;
    (void)state;
    setup();
    out(0, 'h');
    out(0, 'i');
    assert_memory_equal(chardev_memory_data(sink, &n), "hi", 2);
    assert_int_equal(n, 2);
    assert_int_equal(in(5), 0x60);
    out(4, 0x08);
    assert_false(line());
    out(1, 2); /* enabling with an empty transmitter raises the interrupt */
    assert_true(line());
    assert_int_equal(in(2), 2); /* reading it clears it */
    assert_false(line());
    assert_int_equal(in(2), 1);
    out(0, 'x');
    assert_true(line());
    out(1, 0);
    assert_false(line());
    out(4, 0); /* OUT2 gates the line */
    out(1, 2);
    assert_false(line());
}

static void receive_fifo(void **state)
{
    (void)state;
    setup();
    out(4, 8);
    out(2, 0x41); /* FIFO, trigger 4 */
    out(1, 1);
    out(3, 0x80);
    out(0, 1);
    out(1, 0);
    out(3, 3);
    for (unsigned i = 0; i < 3; i++)
        uart_receive(&u, (uint8_t)('a' + i));
    assert_int_equal(in(5) & 1, 1);
    assert_false(line());
    rig_run(&r, 4 * uart_character_cycles(&u)); /* four character times: time-out */
    assert_true(line());
    assert_int_equal(in(2), 0xcc);
    assert_int_equal(in(0), 'a'); /* a read ends it */
    assert_false(line());
    uart_receive(&u, 'd');
    uart_receive(&u, 'e');
    assert_int_equal(in(2), 0xc4);
    for (unsigned i = 1; i < 5; i++)
        assert_int_equal(in(0), 'a' + i);
    assert_int_equal(in(5) & 1, 0);
    for (unsigned i = 0; i < 16; i++) {
        assert_true(uart_can_receive(&u));
        uart_receive(&u, (uint8_t)i);
    }
    assert_false(uart_can_receive(&u));
    uart_receive(&u, 99); /* overrun */
    out(1, 4);
    assert_int_equal(in(2), 0xc6);
    assert_int_equal(in(5) & 2, 2);
    assert_int_equal(in(5) & 2, 0);
    out(2, 3); /* clear */
    assert_int_equal(in(5) & 1, 0);
}

static void loopback(void **state)
{
    size_t n;
    (void)state;
    setup();
    out(4, 0x10);
    out(0, 0x77);
    assert_int_equal(in(5) & 1, 1);
    assert_int_equal(in(0), 0x77);
    chardev_memory_data(sink, &n);
    assert_int_equal(n, 0);
    in(6);
    out(4, 0x12); /* RTS to CTS: a delta */
    assert_int_equal(in(6), 0x11);
    assert_int_equal(in(6), 0x10);
}

static void speed(void **state)
{
    (void)state;
    setup();
    out(3, 0x83);
    out(0, 1);
    out(1, 0);
    assert_int_equal(uart_character_cycles(&u), 10 * CLOCK_HZ / 115200);
    out(0, 12);
    assert_int_equal(uart_character_cycles(&u), 120 * CLOCK_HZ / 115200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reset_values), cmocka_unit_test(probing),
                                       cmocka_unit_test(transmit),     cmocka_unit_test(receive_fifo),
                                       cmocka_unit_test(loopback),     cmocka_unit_test(speed)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    chardev_destroy(sink);
    return failed;
}
