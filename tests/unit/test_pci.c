/* SPDX-License-Identifier: MIT */
/* PCI: configuration mechanism 1, BARs, INTx routing, MSI, reset control port. */
#include "tests/unit/board_rig.h"

#include "machine/devices/pci.h"
#include "machine/devices/pci_testdev.h"
#include "machine/devices/system_control.h"

static struct rig r;
static struct ports ports;
static struct mmio mmio;
static struct pci p;
static struct system_control sys;
static struct pci_function dev;
static unsigned resets;

static void on_reset(void *o) { (void)o, resets++; }
static uint32_t dev_in(void *o, uint16_t port, uint32_t size)
{
    (void)o, (void)size;
    return port & 0xff;
}
static void dev_out(void *o, uint16_t port, uint32_t size, uint32_t v)
{
    (void)o, (void)port, (void)size, (void)v;
}
static uint64_t dev_read(void *o, uint64_t offset, uint32_t size)
{
    (void)o, (void)size;
    return offset ^ 0xa5;
}
static void dev_write(void *o, uint64_t offset, uint32_t size, uint64_t v)
{
    (void)o, (void)offset, (void)size, (void)v;
}

static void setup(void)
{
    rig_setup(&r, 1);
    ports_init(&ports);
    mmio_init(&mmio);
    resets = 0;
    sys = (struct system_control){.reset = on_reset};
    system_control_reset(&sys);
    pci_setup(&p, &ports, &mmio, &r.irq, &r.bus, &sys);
    pci_function_setup(&dev, "dev", 0x1af4, 0x10ff, 1, 0x00ff00);
    dev.reset[PCI_INT_PIN] = 1;
    dev.opaque = &dev;
    pci_function_add_bar(&dev, 0,
                         &(struct pci_bar){.size = 0x1000, .mmio_read = dev_read, .mmio_write = dev_write});
    pci_function_add_bar(
        &dev, 1, &(struct pci_bar){.size = 8, .io = true, .port_read = dev_in, .port_write = dev_out});
    pci_function_add_msi(&dev, 0x40);
    assert_true(pci_add(&p, &dev, 3, 0));
    assert_false(pci_add(&p, &dev, 3, 0));
    pci_reset(&p);
}
static void select_(unsigned slot, unsigned fn, unsigned reg)
{
    pci_port_write(&p, 0xcf8, 4, 0x80000000u | slot << 11 | fn << 8 | (reg & 0xfc));
}
static uint32_t get(unsigned slot, unsigned fn, unsigned reg, unsigned size)
{
    select_(slot, fn, reg);
    return pci_port_read(&p, (uint16_t)(0xcfc + (reg & 3)), size);
}
static void put(unsigned slot, unsigned fn, unsigned reg, unsigned size, uint32_t v)
{
    select_(slot, fn, reg);
    pci_port_write(&p, (uint16_t)(0xcfc + (reg & 3)), size, v);
}

static void mechanism(void **state)
{
    (void)state;
    setup();
    pci_port_write(&p, 0xcfb, 1, 1); /* the operating system's check */
    pci_port_write(&p, 0xcf8, 4, 0x80000000u);
    assert_true(pci_port_read(&p, 0xcf8, 4) == 0x80000000u);
    assert_true(pci_port_read(&p, 0xcfc, 4) == 0x12378086);
    assert_int_equal(get(0, 0, 0x0a, 2), 0x0600);
    assert_int_equal(get(1, 0, 0, 4), 0x70008086);
    assert_int_equal(get(1, 0, 0x0e, 1), 0x80);
    assert_true(get(5, 0, 0, 4) == 0xffffffff);
    assert_int_equal(get(5, 0, 2, 2), 0xffff);
    pci_port_write(&p, 0xcf8, 4, 0x80010000u); /* bus 1 */
    assert_true(pci_port_read(&p, 0xcfc, 4) == 0xffffffff);
    pci_port_write(&p, 0xcf8, 4, 0); /* disabled */
    assert_true(pci_port_read(&p, 0xcfc, 4) == 0xffffffff);
    put(0, 0, 0, 4, 0); /* identity is read-only */
    assert_int_equal(get(0, 0, 0, 4), 0x12378086);
}

static void reset_control(void **state)
{
    (void)state;
    setup();
    pci_port_write(&p, 0xcf9, 1, 2);
    assert_int_equal(resets, 0);
    pci_port_write(&p, 0xcf9, 1, 6);
    pci_port_write(&p, 0xcf9, 1, 6); /* only the rising bit resets */
    assert_int_equal(resets, 1);
    assert_int_equal(pci_port_read(&p, 0xcf9, 1), 6);
}

static void bars(void **state)
{
    (void)state;
    setup();
    put(3, 0, 0x10, 4, UINT32_MAX);
    put(3, 0, 0x14, 4, UINT32_MAX);
    put(3, 0, 0x18, 4, UINT32_MAX);
    assert_true(get(3, 0, 0x10, 4) == 0xfffff000);
    assert_true(get(3, 0, 0x14, 4) == 0xfffffff9);
    assert_true(get(3, 0, 0x18, 4) == 0);
    put(3, 0, 0x10, 4, 0xc0000000);
    put(3, 0, 0x14, 4, 0xc100);
    assert_true(mmio_read(&mmio, 0xc0000004, 4) == 0xffffffff);
    put(3, 0, 4, 2, 3);
    assert_true(mmio_read(&mmio, 0xc0000004, 4) == (4 ^ 0xa5));
    assert_int_equal(ports_read(&ports, 0xc105, 1), 5);
    put(3, 0, 0x10, 4, 0xc0010000); /* moves */
    assert_true(mmio_read(&mmio, 0xc0000004, 4) == 0xffffffff);
    assert_true(mmio_read(&mmio, 0xc0010000, 1) == 0xa5);
    put(3, 0, 4, 2, 0);
    assert_true(mmio_read(&mmio, 0xc0010000, 4) == 0xffffffff);
    assert_int_equal(ports_read(&ports, 0xc105, 1), 0xff);
}

static void intx(void **state)
{
    (void)state;
    setup();
    pci_set_intx(&dev, true); /* slot 3, INTA: PIRQ C; not routed yet */
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(r.irq.s.sources[i], 0);
    assert_int_equal(get(3, 0, 6, 2) & 8, 8);
    put(1, 0, 0x62, 1, 11);
    assert_int_not_equal(r.irq.s.sources[11], 0);
    put(3, 0, 4, 2, PCI_CMD_INTX_OFF);
    assert_int_equal(r.irq.s.sources[11], 0);
    put(3, 0, 4, 2, 0);
    assert_int_not_equal(r.irq.s.sources[11], 0);
    put(1, 0, 0x62, 1, 0x8b);
    assert_int_equal(r.irq.s.sources[11], 0);
    put(1, 0, 0x62, 1, 10);
    pci_set_intx(&dev, false);
    assert_int_equal(r.irq.s.sources[10], 0);
}

static void msi(void **state)
{
    (void)state;
    setup();
    lapic_put(&r, 0, LAPIC_SVR, 0x1ff);
    assert_int_equal(get(3, 0, 0x34, 1), 0x40);
    assert_int_equal(get(3, 0, 6, 2) & 0x10, 0x10);
    assert_false(pci_send_msi(&dev));
    put(3, 0, 0x44, 4, 0xfee00000);
    put(3, 0, 0x4c, 2, 0x4055);
    put(3, 0, 0x42, 2, 1);
    put(3, 0, 4, 2, PCI_CMD_MASTER);
    assert_true(pci_send_msi(&dev));
    assert_true(lapic_irr(&r, 0, 0x55));
}

static void test_device(void **state)
{
    static struct pci_testdev t;
    (void)state;
    setup();
    assert_true(pci_testdev_add(&t, &p, 4));
    pci_testdev_reset(&t);
    pci_assign(&p, 0xc0000000, 0xc000);
    uint32_t memory = get(4, 0, 0x10, 4), io = get(4, 0, 0x14, 4);
    assert_int_equal(get(4, 0, 4, 2) & 3, 3);
    assert_true(memory >= 0xc0001000 && (memory & 0xfff) == 0); /* behind the other device's */
    assert_int_equal(io & 0xff, 1);
    for (unsigned test = 0; test < 4; test++) {
        mmio_write(&mmio, memory, 1, test);
        assert_int_equal(mmio_read(&mmio, memory + 1, 1), test < 3);
        if (test == 3) break;
        uint32_t target = (uint32_t)mmio_read(&mmio, memory + 4, 4),
                 data = (uint32_t)mmio_read(&mmio, memory + 8, 4);
        assert_int_equal(mmio_read(&mmio, memory + 16, 1), 'm');
        for (unsigned i = 0; i < 300; i++)
            mmio_write(&mmio, memory + target, 1, data);
        mmio_write(&mmio, memory + target, 1, data ^ 1);
        assert_int_equal(mmio_read(&mmio, memory + 12, 4), 300);
    }
    uint16_t port = (uint16_t)(io & ~3u);
    ports_write(&ports, port, 1, 1);
    ports_write(&ports, (uint16_t)(port + ports_read(&ports, port + 4, 4)), 1, 0xfa);
    assert_int_equal(ports_read(&ports, port + 12, 4), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(mechanism), cmocka_unit_test(reset_control),
                                       cmocka_unit_test(bars),      cmocka_unit_test(intx),
                                       cmocka_unit_test(msi),       cmocka_unit_test(test_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
