/* SPDX-License-Identifier: MIT */
/* 8259A pair: initialization, priorities, EOI commands, masks, polling, ELCR. */
#include "tests/unit/board_rig.h"

static struct i8259 p;

static void init(uint8_t icw4)
{
    static const uint16_t base[2] = {0x20, 0xa0};
    i8259_setup(&p, NULL, NULL);
    for (unsigned i = 0; i < 2; i++) {
        i8259_write(&p, base[i], 0x11);
        i8259_write(&p, base[i] + 1, i ? 0x70 : 0x08);
        i8259_write(&p, base[i] + 1, i ? 0x02 : 0x04);
        i8259_write(&p, base[i] + 1, icw4);
    }
}
static void pulse(unsigned irq)
{
    i8259_set_line(&p, irq, true);
    i8259_set_line(&p, irq, false);
}
static uint8_t isr(unsigned chip)
{
    i8259_write(&p, chip ? 0xa0 : 0x20, 0x0b);
    return i8259_read(&p, chip ? 0xa0 : 0x20);
}
static uint8_t irr(unsigned chip)
{
    i8259_write(&p, chip ? 0xa0 : 0x20, 0x0a);
    return i8259_read(&p, chip ? 0xa0 : 0x20);
}

static void vectors(void **state)
{
    (void)state;
    for (unsigned irq = 0; irq < 16; irq++) {
        if (irq == 2) continue;
        init(0x01);
        pulse(irq); /* an edge request stays when the line falls */
        assert_true(p.s.intr);
        assert_int_equal(i8259_acknowledge(&p), irq < 8 ? 0x08 + irq : 0x70 + irq - 8);
        assert_int_equal(isr(0), irq < 8 ? 1u << irq : 4);
        assert_int_equal(isr(1), irq < 8 ? 0 : 1u << (irq - 8));
        assert_false(p.s.intr);
    }
}

static void nesting(void **state)
{
    (void)state;
    init(0x01);
    pulse(5);
    assert_int_equal(i8259_acknowledge(&p), 0x0d);
    pulse(6); /* lower: waits */
    assert_false(p.s.intr);
    pulse(3); /* higher: nests */
    assert_true(p.s.intr);
    assert_int_equal(i8259_acknowledge(&p), 0x0b);
    i8259_write(&p, 0x20, 0x20); /* non-specific EOI ends the highest */
    assert_int_equal(isr(0), 0x20);
    i8259_write(&p, 0x20, 0x65); /* specific EOI */
    assert_int_equal(isr(0), 0);
    assert_int_equal(i8259_acknowledge(&p), 0x0e);
}

static void spurious(void **state)
{
    (void)state;
    init(0x01);
    assert_int_equal(i8259_acknowledge(&p), 0x0f);
    assert_int_equal(isr(0), 0);
    i8259_write(&p, 0x4d1, 0x08); /* IRQ 11 level */
    i8259_set_line(&p, 11, true);
    assert_true(p.s.intr);
    i8259_set_line(&p, 11, false);
    assert_false(p.s.intr);
}

static void masks(void **state)
{
    (void)state;
    init(0x01);
    i8259_write(&p, 0x21, 0x10);
    pulse(4);
    assert_false(p.s.intr);
    assert_int_equal(irr(0), 0x10);
    i8259_write(&p, 0x21, 0);
    assert_true(p.s.intr);
    assert_int_equal(i8259_acknowledge(&p), 0x0c);
    /* Special mask: a masked level in service holds nothing back. */
    pulse(6);
    i8259_write(&p, 0x21, 0x10);
    assert_false(p.s.intr);
    i8259_write(&p, 0x20, 0x68);
    assert_true(p.s.intr);
    i8259_write(&p, 0x20, 0x48);
    assert_false(p.s.intr);
}

static void automatic_eoi_and_rotation(void **state)
{
    (void)state;
    init(0x03);
    pulse(1);
    assert_int_equal(i8259_acknowledge(&p), 0x09);
    assert_int_equal(isr(0), 0);
    i8259_write(&p, 0x20, 0x80); /* rotate on automatic EOI */
    pulse(1);
    pulse(5);
    assert_int_equal(i8259_acknowledge(&p), 0x09);
    pulse(1);
    assert_int_equal(i8259_acknowledge(&p), 0x0d); /* IRQ 1 is lowest now */
    init(0x01);
    i8259_write(&p, 0x20, 0xc0 | 3); /* set priority: 3 lowest, 4 highest */
    pulse(0);
    pulse(4);
    assert_int_equal(i8259_acknowledge(&p), 0x0c);
    i8259_write(&p, 0x20, 0xa0); /* rotate on non-specific EOI */
    pulse(4);
    assert_int_equal(i8259_acknowledge(&p), 0x08);
}

static void polling(void **state)
{
    (void)state;
    init(0x01);
    i8259_write(&p, 0x20, 0x0c);
    assert_int_equal(i8259_read(&p, 0x20), 0);
    pulse(5);
    i8259_write(&p, 0x20, 0x0c);
    assert_int_equal(i8259_read(&p, 0x20), 0x85);
    assert_int_equal(isr(0), 0x20);
}

static void elcr(void **state)
{
    (void)state;
    init(0x01);
    i8259_write(&p, 0x4d0, 0xff);
    i8259_write(&p, 0x4d1, 0xff);
    assert_int_equal(i8259_read(&p, 0x4d0), 0xf8);
    assert_int_equal(i8259_read(&p, 0x4d1), 0xde);
    i8259_set_line(&p, 5, true);
    assert_int_equal(i8259_acknowledge(&p), 0x0d);
    i8259_write(&p, 0x20, 0x20);
    assert_true(p.s.intr); /* still asserted */
    i8259_set_line(&p, 5, false);
    assert_false(p.s.intr);
}

static void special_fully_nested(void **state)
{
    (void)state;
    for (unsigned sfnm = 0; sfnm < 2; sfnm++) {
        init((uint8_t)(0x01 | sfnm << 4));
        pulse(12);
        assert_int_equal(i8259_acknowledge(&p), 0x74);
        pulse(9); /* of higher priority within the slave */
        assert_int_equal(p.s.intr, sfnm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors),
                                       cmocka_unit_test(nesting),
                                       cmocka_unit_test(spurious),
                                       cmocka_unit_test(masks),
                                       cmocka_unit_test(automatic_eoi_and_rotation),
                                       cmocka_unit_test(polling),
                                       cmocka_unit_test(elcr),
                                       cmocka_unit_test(special_fully_nested)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
