/* SPDX-License-Identifier: MIT */
/* The public interface end to end with guests of a few bytes: output, stops, registers, memory, stepping,
 * subscriptions, reset, equal hashes of equal runs, and guests that misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "include/undervisor.h"

static char output[256];
static size_t output_size;

static void collect(void *opaque, const uint8_t *data, size_t n)
{
    (void)opaque;
    for (size_t i = 0; i < n && output_size + 1 < sizeof(output); i++)
        output[output_size++] = (char)data[i];
    output[output_size] = 0;
}

static uv_machine *machine(const char *memory)
{
    uv_config *c;
    uv_machine *m;
    output_size = 0;
    output[0] = 0;
    assert_int_equal(uv_config_create(&c), UV_OK);
    assert_int_equal(uv_config_set(c, "memory", memory), UV_OK);
    assert_int_equal(uv_config_add_device(c, "isa-debug-exit,iobase=0xf4,iosize=4"), UV_OK);
    assert_int_equal(uv_config_serial_callback(c, 0, collect, NULL), UV_OK);
    assert_int_equal(uv_machine_create(c, &m), UV_OK);
    uv_config_destroy(c);
    return m;
}

static uv_machine *boot(const void *code, size_t n, uint64_t address, enum uv_raw_mode mode)
{
    uv_machine *m = machine("16M");
    struct uv_boot b = {.struct_size = sizeof(b),
                        .protocol = UV_BOOT_RAW,
                        .kernel = {"code", code, n, NULL},
                        .raw_address = address,
                        .raw_entry = address,
                        .raw_mode = mode};
    assert_int_equal(uv_machine_boot(m, &b), UV_OK);
    return m;
}

static uint64_t reg(uv_machine *m, const char *name)
{
    uint32_t id;
    uint64_t v;
    assert_int_equal(uv_register_find(name, &id), UV_OK);
    assert_int_equal(uv_register_read(m, 0, id, &v), UV_OK);
    return v;
}

/* mov al,'A'; mov dx,3f8h; out dx,al; mov cx,1000; loop $; mov dx,f4h; mov al,15h; out dx,al; hlt */
static const uint8_t hello[] = {0xb0, 'A',  0xba, 0xf8, 0x03, 0xee, 0xb9, 0xe8, 0x03,
                                0xe2, 0xfe, 0xba, 0xf4, 0x00, 0xb0, 0x15, 0xee, 0xf4};

static void test_run(void **state)
{
    (void)state;
    struct uv_stop stop;
    uv_machine *m = boot(hello, sizeof(hello), 0x7c00, UV_RAW_REAL);
    assert_string_equal(uv_machine_protocol(m), "raw");
    assert_int_equal(uv_machine_run(m, UINT64_MAX, &stop), UV_OK);
    assert_int_equal(stop.reason, UV_STOP_DEBUG_EXIT);
    assert_int_equal(stop.code, 0x15);
    assert_string_equal(output, "A");
    assert_int_equal(reg(m, "rcx") & 0xffff, 0);
    assert_int_equal(reg(m, "rdx") & 0xffff, 0xf4);
    assert_true(uv_machine_instructions(m) >= 1006);
    uint8_t byte;
    assert_int_equal(uv_memory_read(m, 0x7c01, &byte, 1), UV_OK);
    assert_int_equal(byte, 'A');
    assert_int_equal(uv_memory_read(m, 0xfffffffff000, &byte, 1), UV_E_RANGE);
    uv_machine_destroy(m);
}

static uint64_t hash_after(uint64_t slice, bool reset)
{
    struct uv_stop stop;
    uv_machine *m = boot(hello, sizeof(hello), 0x7c00, UV_RAW_REAL);
    if (reset) {
        assert_int_equal(uv_machine_run(m, 100, &stop), UV_OK);
        assert_int_equal(stop.reason, UV_STOP_CYCLE);
        assert_int_equal(stop.cycle, 100);
        assert_int_equal(uv_machine_reset(m), UV_OK);
        assert_int_equal(uv_machine_now(m), 0);
    }
    uint64_t until = 0;
    do {
        until = slice == UINT64_MAX ? slice : until + slice;
        assert_int_equal(uv_machine_run(m, until, &stop), UV_OK);
    } while (stop.reason == UV_STOP_CYCLE);
    assert_int_equal(stop.reason, UV_STOP_DEBUG_EXIT);
    uint64_t h = uv_machine_hash(m);
    uv_machine_destroy(m);
    return h;
}

static void test_same_hash(void **state)
{
    (void)state;
    uint64_t h = hash_after(UINT64_MAX, false);
    assert_int_equal(hash_after(UINT64_MAX, false), h);
    assert_int_equal(hash_after(1, false), h);
    assert_int_equal(hash_after(7, false), h);
    assert_int_equal(hash_after(UINT64_MAX, true), h);
}

static void test_step_and_registers(void **state)
{
    (void)state;
    struct uv_stop stop;
    struct uv_cpu_info info;
    uint32_t id;
    uv_machine *m = boot(hello, sizeof(hello), 0x7c00, UV_RAW_REAL);
    assert_int_equal(uv_cpu_inspect(m, 0, &info), UV_OK);
    assert_int_equal(info.code_mode, UV_CODE_16);
    assert_int_equal(info.linear_rip, 0x7c00);
    static const uint16_t at[] = {0x7c02, 0x7c05, 0x7c06, 0x7c09, 0x7c09};
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(uv_machine_step(m, 0, &stop), UV_OK);
        assert_int_equal(uv_cpu_inspect(m, 0, &info), UV_OK);
        assert_int_equal(info.linear_rip, at[i]);
        assert_int_equal(info.instructions, i + 1);
    }
    assert_int_equal(uv_register_find("rcx", &id), UV_OK);
    assert_int_equal(uv_register_write(m, 0, id, 1), UV_OK);
    assert_int_equal(uv_machine_step(m, 0, &stop), UV_OK);
    assert_int_equal(uv_cpu_inspect(m, 0, &info), UV_OK);
    assert_int_equal(info.linear_rip, 0x7c0b); /* LOOP fell through */
    uint8_t out_value = 0x33;
    assert_int_equal(uv_memory_write(m, 0x7c0f, &out_value, 1), UV_OK);
    assert_int_equal(uv_machine_run(m, UINT64_MAX, &stop), UV_OK);
    assert_int_equal(stop.code, 0x33);
    for (uint32_t i = 0; i < uv_register_count(); i++) {
        uint32_t found;
        assert_int_equal(uv_register_find(uv_register_name(i), &found), UV_OK);
        assert_int_equal(found, i);
    }
    assert_null(uv_register_name(uv_register_count()));
    assert_int_equal(uv_register_find("eflagz", &id), UV_E_NAME);
    assert_int_equal(uv_register_read(m, 1, 0, &(uint64_t){0}), UV_E_ARGUMENT);
    uv_machine_destroy(m);
}

static void count_event(void *opaque, uv_machine *m, const struct uv_event *e)
{
    char text[128];
    uv_event_text(m, e, text, sizeof(text));
    assert_true(text[0] != 0);
    ++*(unsigned *)opaque;
}

static void test_subscription(void **state)
{
    (void)state;
    struct uv_stop stop;
    uint64_t mask;
    unsigned io = 0, insns = 0;
    char message[128];
    uv_machine *m = boot(hello, sizeof(hello), 0x7c00, UV_RAW_REAL);
    assert_int_equal(uv_probe_mask("io", &mask, message, sizeof(message)), UV_OK);
    assert_int_equal(uv_subscribe(m, mask, count_event, &io), UV_OK);
    assert_int_equal(uv_probe_mask("INSN", &mask, message, sizeof(message)), UV_OK);
    assert_int_equal(uv_subscribe(m, mask, count_event, &insns), UV_OK);
    assert_int_equal(uv_machine_run(m, 100, &stop), UV_OK);
    assert_int_equal(io, 1);
    assert_int_equal(insns, 100);
    assert_int_equal(uv_unsubscribe(m, count_event, &insns), UV_OK);
    assert_int_equal(uv_machine_run(m, UINT64_MAX, &stop), UV_OK);
    assert_int_equal(io, 2);
    assert_int_equal(insns, 100);
    assert_int_equal(uv_probe_mask("exitz", &mask, message, sizeof(message)), UV_E_NAME);
    assert_non_null(strstr(message, "exits"));
    uv_machine_destroy(m);
}

static void test_modes(void **state)
{
    (void)state;
    static const uint8_t code[] = {0x90, 0xfa, 0xf4};
    static const enum uv_code_mode modes[] = {UV_CODE_16, UV_CODE_32, UV_CODE_64};
    for (unsigned i = 0; i < 3; i++) {
        struct uv_stop stop;
        struct uv_cpu_info info;
        uv_machine *m = boot(code, sizeof(code), 0x8000, (enum uv_raw_mode)i);
        assert_int_equal(uv_cpu_inspect(m, 0, &info), UV_OK);
        assert_int_equal(info.code_mode, modes[i]);
        assert_int_equal(uv_machine_run(m, UINT64_MAX, &stop), UV_OK);
        assert_int_equal(stop.reason, UV_STOP_HANG); /* CLI; HLT */
        uv_machine_destroy(m);
    }
}

static enum uv_stop_reason end_of(const void *code, size_t n, uint64_t address, uint64_t until)
{
    struct uv_stop stop;
    uv_machine *m = boot(code, n, address, UV_RAW_PROTECTED);
    assert_int_equal(uv_machine_run(m, until, &stop), UV_OK);
    uv_machine_destroy(m);
    return stop.reason;
}

static void test_misbehaving_guests(void **state)
{
    (void)state;
    static const uint8_t int3[] = {0xcc}, nop[] = {0x90}, spin[] = {0xfa, 0xeb, 0xfe};
    static const uint8_t jump_hole[] = {0xb8, 0, 0, 0, 0xd0, 0xff, 0xe0}; /* mov eax, d0000000h; jmp eax */
    static const uint8_t jump_mmio[] = {0xb8, 0, 0, 0xe0, 0xfe, 0xff, 0xe0};
    assert_int_equal(end_of(int3, sizeof(int3), 0x8000, UINT64_MAX), UV_STOP_SHUTDOWN);
    assert_int_equal(end_of(jump_hole, sizeof(jump_hole), 0x8000, 1000000), UV_STOP_SHUTDOWN);
    assert_int_not_equal(end_of(jump_mmio, sizeof(jump_mmio), 0x8000, 1000000), UV_STOP_HANG);
    /* The last byte of RAM, then FFFF.. of unclaimed addresses: #UD without an IDT. */
    assert_int_equal(end_of(nop, sizeof(nop), (16 << 20) - 1, UINT64_MAX), UV_STOP_SHUTDOWN);
    assert_int_equal(end_of(spin, sizeof(spin), 0x8000, 1000000), UV_STOP_CYCLE);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    uv_config *c;
    assert_int_equal(uv_config_create(&c), UV_OK);
    assert_int_equal(uv_config_set(c, "memori", "1G"), UV_E_NAME);
    assert_non_null(strstr(uv_config_message(c), "'memory'"));
    assert_int_equal(uv_config_set(c, "memory", "99999999999999999999G"), UV_E_VALUE);
    assert_int_equal(uv_config_set(c, "memory", "1000"), UV_E_VALUE);
    assert_int_equal(uv_config_set(c, "cpus", "0"), UV_E_VALUE);
    assert_int_equal(uv_config_set(c, "cpu", "no-such-model"), UV_E_NAME);
    assert_int_equal(uv_config_add_device(c, "isa-debug-exit,iobase=0x12345"), UV_E_VALUE);
    assert_int_equal(uv_config_set(NULL, "memory", "1G"), UV_E_ARGUMENT);
    assert_int_equal(uv_machine_create(NULL, NULL), UV_E_ARGUMENT);
    uv_config_destroy(c);
    uv_machine_destroy(NULL);
    uv_machine *m = machine("16M");
    struct uv_boot b = {.struct_size = sizeof(b), .kernel = {"text", "no kernel", 9, NULL}};
    assert_int_equal(uv_machine_boot(m, &b), UV_E_IMAGE);
    assert_non_null(strstr(uv_machine_message(m), "not a kernel image"));
    assert_int_equal(uv_machine_load(m, &(struct uv_image){"x", "abc", 3, NULL}, UINT64_C(1) << 40),
                     UV_E_SPACE);
    assert_int_equal(uv_machine_load(m, &(struct uv_image){"x", "\xfa\xf4", 2, NULL}, 0x9000), UV_OK);
    assert_int_equal(uv_machine_entry(m, 0x9000, UV_RAW_LONG), UV_OK);
    struct uv_stop stop;
    assert_int_equal(uv_machine_run(m, 1000, &stop), UV_OK);
    assert_int_equal(stop.reason, UV_STOP_HANG);
    assert_int_equal(uv_machine_input(m, 3, 0, "x", 1), UV_E_ARGUMENT);
    uv_machine_destroy(m);
}

static void test_tables(void **state)
{
    (void)state;
    struct uv_row row;
    for (unsigned t = 0; t < UV_TABLE_COUNT; t++) {
        uint32_t n = 0;
        assert_non_null(uv_table_name((enum uv_table)t));
        while (uv_table_row((enum uv_table)t, n, &row) == UV_OK) {
            assert_true(row.name && row.group && row.text);
            n++;
        }
        assert_true(n > 0);
    }
    assert_null(uv_table_name(UV_TABLE_COUNT));
    static const char *const words[] = {"kernel", "append", "initrd"};
    assert_string_equal(uv_nearest("kernl", words, 3), "kernel");
    assert_string_equal(uv_nearest("app", words, 3), "append");
    assert_null(uv_nearest("zzzzzz", words, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_same_hash),
        cmocka_unit_test(test_step_and_registers),
        cmocka_unit_test(test_subscription),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_misbehaving_guests),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
