/* SPDX-License-Identifier: MIT */
/* The whole machine: ways a run ends, time, interrupts, input, A20, state walk, firmware configuration.
 * Programs are real-mode code at 0:1000h. */
#include "tests/unit/board_rig.h"

#include "cpu/cpuid.h"
#include "machine/machine_internal.h"
#include "tests/unit/flat_bus.h"

static struct machine *m;
static struct chardev *console;

static struct machine *create(uint32_t smp)
{
    struct machine_config c;
    char error[200];
    machine_config_default(&c);
    c.memory = 8 << 20;
    c.smp = smp;
    c.debug_exit_port = 0xf4;
    c.debug_exit_size = 4;
    c.pc_testdev = true;
    c.serial[0] = console;
    assert_true(cpu_model_parse("max", &c.cpu_model, c.cpu_features, error, sizeof error));
    struct machine *made = machine_create(&c, error, sizeof error);
    if (!made) fail_msg("%s", error);
    return made;
}

static void enter(struct machine *on, uint16_t ip)
{
    struct cpu *c = machine_cpu(on, 0);
    c->s.seg[SEG_CS].selector = 0;
    c->s.seg[SEG_CS].base = 0;
    c->s.gpr[REG_RIP] = ip;
    c->s.gpr[RSP] = 0x8000;
    cpu_mode_changed(c);
}
static void load(struct machine *on, const char *hex)
{
    uint8_t code[256];
    unsigned n = flat_hex(hex, code, sizeof code);
    assert_true(machine_memory_write(on, 0x1000, code, n));
    enter(on, 0x1000);
}
static int setup(void **state)
{
    (void)state;
    console = chardev_memory(4096);
    m = create(1);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    machine_destroy(m);
    chardev_destroy(console);
    return 0;
}

static void endings(void **state)
{
    static const struct {
        const char *code;
        enum machine_stop stop;
        uint32_t value;
    } t[] = {{"B0 12 E6 F4 F4", MACHINE_DEBUG_EXIT, 0x12}, /* out F4h, 12h */
             {"66 B8 78 56 34 12 66 E7 F4 F4", MACHINE_DEBUG_EXIT, 0x12345678},
             {"BA F9 0C B0 06 EE F4", MACHINE_RESET, 0},        /* CF9h */
             {"B0 FE E6 64 F4", MACHINE_RESET, 0},              /* keyboard controller */
             {"B0 03 E6 92 F4", MACHINE_RESET, 0},              /* port 92h */
             {"BA 04 06 B8 00 20 EF F4", MACHINE_POWER_OFF, 0}, /* ACPI S5 */
             {"FA F4", MACHINE_HUNG, 0},                        /* cli, hlt */
             {"FA EB FE", MACHINE_CYCLE_LIMIT, 0},              /* cli, jmp $ */
             {"66 0F 01 1E 00 20 CC", MACHINE_SHUTDOWN, 0}};    /* lidt of zeros, int3 */
    (void)state;
    for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
        machine_reset(m);
        load(m, t[i].code);
        struct machine_exit e = machine_run(m, 100000);
        assert_int_equal(e.stop, t[i].stop);
        assert_int_equal(e.code, t[i].value);
        assert_true(e.cycle < 50 || e.stop == MACHINE_CYCLE_LIMIT);
    }
}

static void exact_limits(void **state)
{
    (void)state;
    load(m, "40 40 40 40 40 EB F9"); /* inc ax, and again */
    uint64_t last = 0;
    for (uint64_t until = 1; until < 500; until += until % 7 + 1) {
        struct machine_exit e = machine_run(m, until);
        assert_int_equal(e.stop, MACHINE_CYCLE_LIMIT);
        assert_true(e.cycle == until);
        assert_true(machine_instructions(m) == until); /* one cycle each in the unit model */
        assert_true(until > last);
        last = until;
    }
}

/* PIT at 1 kHz through the 8259 in virtual wire mode; the processor sleeps between ticks. */
static const char tick_program[] = "B0 34 E6 43 B0 A9 E6 40 B0 04 E6 40 " /* channel 0, mode 2, 1193 */
                                   "B0 FE E6 21 31 C9 FB "                /* only IRQ 0; cx = 0; sti */
                                   "F4 EB FD";                            /* hlt, again */
static const char tick_handler[] = "41 B0 20 E6 20 83 F9 0A 75 04 B0 01 E6 F4 CF";

static void load_ticks(struct machine *on)
{
    uint8_t code[64];
    unsigned n = flat_hex(tick_handler, code, sizeof code);
    machine_memory_write(on, 0x2000, code, n);
    static const uint8_t vector[4] = {0x00, 0x20, 0x00, 0x00};
    machine_memory_write(on, 8 * 4, vector, 4);
    load(on, tick_program);
}

static void sleeping_through_ticks(void **state)
{
    (void)state;
    load_ticks(m);
    struct machine_exit e = machine_run(m, 10 * CLOCK_HZ);
    assert_int_equal(e.stop, MACHINE_DEBUG_EXIT);
    /* Nine periods of 1193 PIT ticks: the edge of the firmware's own programming waits behind the mask. */
    assert_in_range(e.cycle, 8990000, 9010000);
    assert_true(machine_instructions(m) < 200);
}

static void hang_with_the_timer_running(void **state)
{
    (void)state;
    load(m, "B0 FF E6 21 FB F4 EB FD"); /* everything masked, sti, hlt */
    struct machine_exit e = machine_run(m, UINT64_MAX - 1);
    assert_int_equal(e.stop, MACHINE_HUNG);
}

static void typed_input(void **state)
{
    size_t n;
    (void)state;
    /* wait for LSR.DR, read, write back; stop at 'q' */
    load(m, "BA FD 03 EC A8 01 74 FB BA F8 03 EC EE 3C 71 75 EF E6 F4");
    struct machine_exit e = machine_run(m, 1000000);
    assert_int_equal(e.stop, MACHINE_CYCLE_LIMIT);
    assert_true(machine_input(m, 0, 2000000, (const uint8_t *)"echo q", 6));
    assert_false(machine_input(m, 1, 0, (const uint8_t *)"x", 1)); /* no such port */
    e = machine_run(m, CLOCK_HZ);
    assert_int_equal(e.stop, MACHINE_DEBUG_EXIT);
    assert_true(e.cycle > 2000000);
    const uint8_t *out = chardev_memory_data(console, &n);
    assert_true(n >= 6);
    assert_memory_equal(out + n - 6, "echo q", 6);
}

static void a20(void **state)
{
    uint8_t low, high;
    (void)state;
    /* A20 off; FFFF:0010 = 1; A20 on; FFFF:0010 = 2 */
    load(m, "B8 FF FF 8E D8 B0 00 E6 92 C6 06 10 00 01 B0 02 E6 92 C6 06 10 00 02 B0 01 E6 F4");
    assert_int_equal(machine_run(m, 1000).stop, MACHINE_DEBUG_EXIT);
    machine_memory_read(m, 0, &low, 1);
    machine_memory_read(m, 0x100000, &high, 1);
    assert_int_equal(low, 1);
    assert_int_equal(high, 2);
}

static void interrupt_before_the_next_instruction(void **state)
{
    (void)state;
    /* pc-testdev raises IRQ 5 by a port write: the handler has run when the next instruction starts. */
    static const uint8_t vector[4] = {0x00, 0x20, 0x00, 0x00};
    uint8_t code[16];
    machine_memory_write(m, 13 * 4, vector, 4);
    unsigned n = flat_hex("B9 01 00 CF", code, sizeof code); /* cx = 1, iret */
    machine_memory_write(m, 0x2000, code, n);
    load(m, "B0 DF E6 21 31 C9 BA 05 20 B0 01 FB 90 EE 88 C8 E6 F4");
    struct machine_exit e = machine_run(m, 1000);
    assert_int_equal(e.stop, MACHINE_DEBUG_EXIT);
    assert_int_equal(e.code, 1);
}

static void apic_over_ram(void **state)
{
    struct machine *two = create(2);
    struct bus *bus = machine_cpu(two, 0)->bus;
    uint64_t v;
    (void)state;
    assert_int_equal(bus->msr_write(bus->opaque, 1, 0x1b, 0x300800), 1); /* processor 1 moves it onto RAM */
    assert_int_equal(bus->page_flags[0x300] & PAGE_RAM, 0);
    bus->mmio_write(bus->opaque, 0, 0x300080, 4, 0x11223344); /* RAM for processor 0 */
    assert_true(bus->mmio_read(bus->opaque, 0, 0x300080, 4) == 0x11223344);
    bus->mmio_write(bus->opaque, 1, 0x300080, 4, 0x50); /* TPR for processor 1 */
    assert_true(bus->mmio_read(bus->opaque, 1, 0x300080, 4) == 0x50);
    assert_int_equal(bus->msr_read(bus->opaque, 1, 0x1b, &v), 1);
    assert_true(machine_cpu(two, 1)->s.apic_base == v);
    assert_int_equal(bus->msr_write(bus->opaque, 1, 0x1b, 0xfee00800), 1);
    assert_int_not_equal(bus->page_flags[0x300] & PAGE_RAM, 0);
    assert_true(bus->mmio_read(bus->opaque, 0, 0x12345678, 4) == 0xffffffff);
    machine_destroy(two);
}

static void same_run_same_hash(void **state)
{
    (void)state;
    struct machine *other = create(1);
    load_ticks(m);
    load_ticks(other);
    assert_true(machine_state_hash(m) == machine_state_hash(other));
    machine_run(m, 3000000);
    for (uint64_t t = 0; t <= 3000000; t += 99991) { /* in slices, and with derived state dropped */
        machine_run(other, t);
        cpu_drop_derived(machine_cpu(other, 0));
    }
    machine_run(other, 3000000);
    assert_true(machine_state_hash(m) == machine_state_hash(other));
    machine_run(other, 3000001);
    assert_true(machine_state_hash(m) != machine_state_hash(other));
    machine_destroy(other);
}

/* Two processors: the second is started by INIT and SIPI and counts in memory; both interleave by quantum. */
static uint64_t two_processors(uint64_t slice)
{
    struct machine *two = create(2);
    static const uint8_t spin[] = {0xf0, 0xff, 0x06, 0x00, 0x30, 0xeb, 0xf9}; /* lock inc word [3000h], jmp */
    machine_memory_write(two, 0x5000, spin, sizeof spin);
    load(two, "FF 06 00 30 A1 00 30 EB F7"); /* inc [3000h] without lock, read it, again */
    struct bus *bus = machine_cpu(two, 0)->bus;
    bus->mmio_write(bus->opaque, 0, 0xfee00310, 4, 1u << 24);
    bus->mmio_write(bus->opaque, 0, 0xfee00300, 4, 0x4500);
    bus->mmio_write(bus->opaque, 0, 0xfee00300, 4, 0x4605);
    for (uint64_t t = slice; t < 1000000; t += slice)
        assert_int_equal(machine_run(two, t).stop, MACHINE_CYCLE_LIMIT);
    assert_int_equal(machine_run(two, 1000000).stop, MACHINE_CYCLE_LIMIT);
    assert_int_equal(machine_cpu(two, 1)->s.activity, ACTIVITY_ACTIVE);
    assert_true(machine_cpu(two, 1)->s.insns > 100000);
    uint64_t hash = machine_state_hash(two);
    machine_destroy(two);
    return hash;
}

static void interleaving(void **state)
{
    (void)state;
    uint64_t whole = two_processors(1000000);
    assert_true(two_processors(1000000) == whole);
    assert_true(two_processors(2000) == whole);
    assert_true(two_processors(50000) == whole);
}

/* ---- state walk as snapshot ---- */

struct tape {
    uint8_t data[400000];
    size_t at, end;
};
static void tape_save(struct visitor *v, uint8_t *data, size_t n)
{
    struct tape *t = v->opaque;
    assert_true(t->end + n <= sizeof t->data);
    memcpy(t->data + t->end, data, n);
    t->end += n;
}
static void tape_load(struct visitor *v, uint8_t *data, size_t n)
{
    struct tape *t = v->opaque;
    if (t->at + n > t->end) {
        memset(data, 0, n);
        v->failed = true;
        return;
    }
    memcpy(data, t->data + t->at, n);
    t->at += n;
}

static void state_goes_there_and_back(void **state)
{
    static struct tape tape;
    (void)state;
    tape.at = tape.end = 0;
    load_ticks(m);
    machine_run(m, 4000000);
    struct visitor save = {.bytes = tape_save, .opaque = &tape};
    machine_visit(m, &save);
    struct machine_exit e1 = machine_run(m, 100 * CLOCK_HZ);
    uint64_t h1 = machine_state_hash(m);
    struct visitor back = {.bytes = tape_load, .opaque = &tape, .loading = true};
    machine_visit(m, &back);
    assert_false(back.failed);
    assert_true(tape.at == tape.end);
    struct machine_exit e2 = machine_run(m, 100 * CLOCK_HZ);
    assert_int_equal(e1.stop, e2.stop);
    assert_true(e1.cycle == e2.cycle);
    assert_true(machine_state_hash(m) == h1);
    tape.at = 0;
    tape.end -= 5; /* cut off: told, not trusted */
    back.failed = false;
    machine_visit(m, &back);
    assert_true(back.failed);
}

static void firmware_configuration(void **state)
{
    struct bus *bus = machine_cpu(m, 0)->bus;
    char name[8] = {0};
    (void)state;
    bus->port_write(bus->opaque, 0, 0x510, 2, 0);
    for (unsigned i = 0; i < 4; i++)
        name[i] = (char)bus->port_read(bus->opaque, 0, 0x511, 1);
    assert_string_equal(name, "QEMU");
    assert_int_equal(bus->port_read(bus->opaque, 0, 0x511, 1), 0); /* beyond the end */
    bus->port_write(bus->opaque, 0, 0x510, 2, 5);
    assert_int_equal(bus->port_read(bus->opaque, 0, 0x511, 1), 1);
    bus->port_write(bus->opaque, 0, 0x510, 2, 0x7777);
    assert_int_equal(bus->port_read(bus->opaque, 0, 0x511, 1), 0);
    assert_true(bus->port_read(bus->opaque, 0, 0x514, 4) == 0x554d4551);
    assert_true(fw_cfg_add_file(machine_fw_cfg(m), "opt/test", "hello", 5));
    /* DMA: select file key 20h and read 8 bytes to 3000h */
    static const uint8_t command[16] = {0, 0x20, 0, 0x0a, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x30, 0};
    static const uint8_t too_far[16] = {0, 0x20, 0, 0x0a, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x30, 0};
    uint8_t got[8], status[4];
    machine_memory_write(m, 0x4000, command, 16);
    bus->port_write(bus->opaque, 0, 0x518, 4, 0x00400000); /* 4000h, big-endian */
    machine_memory_read(m, 0x3000, got, 8);
    machine_memory_read(m, 0x4000, status, 4);
    assert_memory_equal(got, "hello\0\0\0", 8);
    assert_memory_equal(status, "\0\0\0\0", 4);
    machine_memory_write(m, 0x700000, too_far, 16); /* 4 GiB into 8 MiB of RAM: an error, nothing worse */
    bus->port_write(bus->opaque, 0, 0x518, 4, 0x00007000);
    machine_memory_read(m, 0x700000, status, 4);
    (void)status;
}

static void bad_configurations(void **state)
{
    struct machine_config c;
    char error[200];
    (void)state;
    machine_config_default(&c);
    assert_null(machine_create(&c, error, sizeof error)); /* no model */
    assert_true(cpu_model_parse("max", &c.cpu_model, c.cpu_features, error, sizeof error));
    c.smp = 65;
    assert_null(machine_create(&c, error, sizeof error));
    c.smp = 1;
    c.memory = 12345;
    assert_null(machine_create(&c, error, sizeof error));
    c.memory = 1 << 20;
    c.debug_exit_port = 0x60; /* the keyboard controller is there */
    c.debug_exit_size = 1;
    assert_null(machine_create(&c, error, sizeof error));
    c.debug_exit_port = 0xfffe;
    c.debug_exit_size = 8;
    assert_null(machine_create(&c, error, sizeof error));
}

#define WITH_MACHINE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MACHINE(endings),
        WITH_MACHINE(exact_limits),
        WITH_MACHINE(sleeping_through_ticks),
        WITH_MACHINE(hang_with_the_timer_running),
        WITH_MACHINE(typed_input),
        WITH_MACHINE(a20),
        WITH_MACHINE(interrupt_before_the_next_instruction),
        WITH_MACHINE(apic_over_ram),
        WITH_MACHINE(same_run_same_hash),
        WITH_MACHINE(interleaving),
        WITH_MACHINE(state_goes_there_and_back),
        WITH_MACHINE(firmware_configuration),
        cmocka_unit_test(bad_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
