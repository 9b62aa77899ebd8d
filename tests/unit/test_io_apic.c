/* SPDX-License-Identifier: MIT */
/* I/O APIC: registers, edges, levels, remote IRR, destinations. */
#include "tests/unit/board_rig.h"

static struct rig r;

static uint32_t get(unsigned index)
{
    io_apic_mmio_write(&r.io, 0, 4, index);
    return (uint32_t)io_apic_mmio_read(&r.io, 0x10, 4);
}
static void put(unsigned index, uint32_t v)
{
    io_apic_mmio_write(&r.io, 0, 4, index);
    io_apic_mmio_write(&r.io, 0x10, 4, v);
}
static void setup(void)
{
    rig_setup(&r, 2);
    for (unsigned i = 0; i < 2; i++)
        lapic_put(&r, i, LAPIC_SVR, 0x1ff);
}
static void route(unsigned pin, uint32_t low) { put(0x10 + 2 * pin, low); }

static void registers(void **state)
{
    (void)state;
    setup();
    assert_int_equal(get(1), 0x00170020);
    put(0, UINT32_MAX);
    put(1, UINT32_MAX);
    put(2, 0);
    assert_int_equal(get(0), 0x0f000000);
    assert_int_equal(get(1), 0x00170020);
    assert_int_equal(get(2), 0x0f000000); /* arbitration follows the ID */
    for (unsigned pin = 0; pin < 24; pin++) {
        assert_int_equal(get(0x10 + 2 * pin), 0x10000);
        put(0x10 + 2 * pin, UINT32_MAX);
        put(0x11 + 2 * pin, UINT32_MAX);
        assert_int_equal(get(0x10 + 2 * pin), 0x1afff); /* delivery status and remote IRR are read-only */
        assert_int_equal(get(0x11 + 2 * pin), 0xff000000);
    }
    assert_int_equal(get(0x40), UINT32_MAX);
}

static void edges(void **state)
{
    (void)state;
    setup();
    route(5, 0x55);
    io_apic_set_line(&r.io, 5, true);
    assert_int_equal(local_apic_acknowledge(&r.apic[0]), 0x55);
    lapic_put(&r, 0, LAPIC_EOI, 0);
    io_apic_set_line(&r.io, 5, true); /* no new edge */
    assert_int_equal(local_apic_pending(&r.apic[0]), -1);
    io_apic_set_line(&r.io, 5, false);
    route(5, 0x10055); /* masked: the edge is lost */
    io_apic_set_line(&r.io, 5, true);
    route(5, 0x55);
    assert_int_equal(local_apic_pending(&r.apic[0]), -1);
    io_apic_set_line(&r.io, 5, false);
    io_apic_set_line(&r.io, 5, true);
    assert_int_equal(local_apic_pending(&r.apic[0]), 0x55);
}

static void levels(void **state)
{
    (void)state;
    setup();
    route(9, 0x8066);
    io_apic_set_line(&r.io, 9, true);
    assert_int_equal(get(0x22), 0xc066);
    io_apic_set_line(&r.io, 9, false);
    io_apic_set_line(&r.io, 9, true); /* again while remote IRR: nothing */
    assert_int_equal(local_apic_acknowledge(&r.apic[0]), 0x66);
    assert_int_equal(local_apic_pending(&r.apic[0]), -1);
    put(0x23, 0x01000000); /* a new destination keeps remote IRR; the EOI matches by vector */
    assert_int_equal(get(0x22), 0xc066);
    lapic_put(&r, 0, LAPIC_EOI, 0); /* still asserted: sent again, to the new destination */
    assert_int_equal(local_apic_pending(&r.apic[0]), -1);
    assert_int_equal(local_apic_acknowledge(&r.apic[1]), 0x66);
    io_apic_set_line(&r.io, 9, false);
    lapic_put(&r, 1, LAPIC_EOI, 0);
    assert_int_equal(get(0x22), 0x8066);
    route(9, 0x18066); /* masked level: delivered when unmasked */
    io_apic_set_line(&r.io, 9, true);
    assert_int_equal(local_apic_pending(&r.apic[1]), -1);
    route(9, 0x8066);
    assert_int_equal(local_apic_pending(&r.apic[1]), 0x66);
    route(9, 0x10066); /* made edge: remote IRR is gone */
    assert_int_equal(get(0x22), 0x10066);
}

static void directed_eoi(void **state)
{
    (void)state;
    setup();
    lapic_put(&r, 0, LAPIC_SVR, 0x11ff); /* EOI broadcast suppressed */
    route(9, 0x8066);
    io_apic_set_line(&r.io, 9, true);
    assert_int_equal(local_apic_acknowledge(&r.apic[0]), 0x66);
    io_apic_set_line(&r.io, 9, false);
    lapic_put(&r, 0, LAPIC_EOI, 0);
    assert_int_equal(get(0x22), 0xc066);
    io_apic_mmio_write(&r.io, 0x40, 4, 0x65);
    assert_int_equal(get(0x22), 0xc066);
    io_apic_mmio_write(&r.io, 0x40, 4, 0x66);
    assert_int_equal(get(0x22), 0x8066);
}

static void other_modes(void **state)
{
    (void)state;
    setup();
    route(3, 0x400); /* NMI */
    io_apic_set_line(&r.io, 3, true);
    assert_int_equal(r.nmi[0], 1);
    assert_true(io_apic_can_wake_masked(&r.io));
    /* ExtINT: the vector comes from the 8259. */
    static const uint8_t init[4] = {0x08, 0x04, 0x01, 0x00};
    i8259_write(&r.pic, 0x20, 0x11);
    for (unsigned i = 0; i < 4; i++)
        i8259_write(&r.pic, 0x21, init[i] + (i == 0 ? 0x28 : 0));
    i8259_set_line(&r.pic, 4, true);
    route(0, 0x700);
    io_apic_set_line(&r.io, 0, true);
    assert_int_equal(local_apic_pending(&r.apic[0]), 0x34);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(registers), cmocka_unit_test(edges),
                                       cmocka_unit_test(levels), cmocka_unit_test(directed_eoi),
                                       cmocka_unit_test(other_modes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
