/* SPDX-License-Identifier: MIT */
/* Random traffic on every port, register page and APIC MSR, with time passing: the board survives (this test
 * is for the sanitizer builds) and does the same twice. */
#include "tests/unit/board_rig.h"

#include "cpu/cpuid.h"
#include "machine/machine_internal.h"

enum { STEPS = 400000 };

static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static uint16_t some_port(uint64_t r)
{
    uint16_t n = (uint16_t)(r >> 8);
    switch (r & 15) {
    case 0: return (uint16_t)(0xcf8 + (n & 7));
    case 1: return (uint16_t)(0x510 + (n & 15));
    case 2: return (uint16_t)(BOARD_PM_BASE + (n & 63));
    case 3: return (uint16_t)(0x2000 + (n & 31));
    case 4: return (uint16_t)(0x4d0 + (n & 1));
    case 5: return n;
    default: return n & 0x3ff;
    }
}

static void one_step(struct machine *m)
{
    static const uint64_t base[] = {BOARD_LOCAL_APIC, BOARD_IO_APIC, BOARD_HPET, BOARD_TESTDEV_MMIO,
                                    BOARD_PCI_HOLE};
    struct bus *b = &m->bus;
    uint64_t r = next_random(), value = next_random();
    uint32_t size = 1u << (r >> 8) % 3;
    int cpu = r >> 16 & 1;
    uint64_t address = base[(r >> 20) % 5] + ((r >> 24) & 0x3ff & ~(uint64_t)(size - 1));
    switch (r & 15) {
    case 0:
    case 1:
    case 2:
        b->port_write(m, cpu, some_port(r >> 20), size, (uint32_t)value & UINT32_MAX >> (32 - 8 * size));
        break;
    case 3:
    case 4:
    case 5: b->port_read(m, cpu, some_port(r >> 20), size); break;
    case 6:
    case 7:
    case 8: b->mmio_write(m, cpu, address, size, value & ((UINT64_C(1) << 8 * size) - 1)); break;
    case 9:
    case 10:
    case 11: b->mmio_read(m, cpu, address, size); break;
    case 12: b->msr_write(m, cpu, 0x800 + (r >> 20 & 0x3f), value & 0xfff); break;
    case 13:
        b->msr_write(m, cpu, r >> 20 & 1 ? 0x1b : 0x6e0, r >> 21 & 1 ? value : 0xfee00800 | (value & 0x500));
        break;
    case 14: b->intr_acknowledge(m, cpu); break;
    default: clock_run(&m->clock, m->clock.now + (r >> 20 & 0xff ? value % 20000 : value % 100000000)); break;
    }
}

static uint64_t noise(uint64_t from)
{
    struct machine_config c;
    char error[200];
    struct chardev *d = chardev_memory(100);
    machine_config_default(&c);
    c.memory = 2 << 20;
    c.smp = 2;
    c.pc_testdev = c.pci_testdev = true;
    c.debug_exit_port = 0xf4;
    c.debug_exit_size = 4;
    c.serial[0] = c.serial[1] = d;
    assert_true(cpu_model_parse("max", &c.cpu_model, c.cpu_features, error, sizeof error));
    struct machine *m = machine_create(&c, error, sizeof error);
    if (!m) fail_msg("%s", error);
    seed = from;
    for (unsigned i = 0; i < STEPS; i++) {
        one_step(m);
        if (i % 5000 == 0) assert_true(machine_input(m, i / 5000 % 2, 0, (const uint8_t *)"abc", 3));
        if (i % 100000 == 99999) machine_reset(m);
    }
    for (unsigned i = 0; i < 10000; i++)
        one_step(m);
    uint64_t hash = machine_state_hash(m);
    machine_destroy(m);
    chardev_destroy(d);
    return hash;
}

static void survives_and_repeats(void **state)
{
    (void)state;
    uint64_t h = noise(UINT64_C(88172645463325252));
    assert_true(noise(UINT64_C(88172645463325252)) == h);
    assert_true(noise(UINT64_C(1234567891234567)) != h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(survives_and_repeats)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
