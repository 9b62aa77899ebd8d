/* SPDX-License-Identifier: MIT */
/* Keyboard controller, control ports, DMA registers, ACPI power management. */
#include "tests/unit/board_rig.h"

#include "machine/devices/acpi_pm.h"
#include "machine/devices/i8042.h"
#include "machine/devices/system_control.h"

static struct rig r;
static struct i8042 k;
static struct system_control s;
static struct i8254 pit;
static struct acpi_pm pm;
static unsigned resets, offs;
static int a20;

static void on_reset(void *o) { (void)o, resets++; }
static void on_off(void *o) { (void)o, offs++; }
static void on_a20(void *o, bool on) { (void)o, a20 = on; }
static void on_apm(void *o, uint8_t v) { (void)o, acpi_pm_command(&pm, v); }

static void setup(void)
{
    rig_setup(&r, 1);
    resets = offs = 0;
    a20 = -1;
    i8042_setup(&k, &r.irq, on_reset, on_a20, NULL);
    i8042_reset(&k);
    i8254_setup(&pit, &r.clock, &r.irq);
    i8254_reset(&pit);
    s = (struct system_control){
        .clock = &r.clock, .pit = &pit, .reset = on_reset, .a20 = on_a20, .apm = on_apm};
    system_control_reset(&s);
    acpi_pm_setup(&pm, &r.clock, &r.irq, on_off, NULL);
    acpi_pm_reset(&pm);
}
static uint8_t in(uint16_t port) { return (uint8_t)i8042_read(&k, port, 1); }
static void out(uint16_t port, uint8_t v) { i8042_write(&k, port, 1, v); }

static void controller(void **state)
{
    /* command, parameter (-1 none), answers (-1 end) */
    static const struct {
        int command, parameter, answer[2];
    } t[] = {{0xaa, -1, {0x55, -1}}, {0xab, -1, {0x00, -1}},   {0xa9, -1, {0x00, -1}},
             {0x20, -1, {0x41, -1}}, {0xd2, 0x12, {0x12, -1}}, {0xd3, 0x5a, {0x5a, -1}},
             {0xd0, -1, {0xcf, -1}}, {0xc0, -1, {0x80, -1}}};
    (void)state;
    for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
        setup();
        assert_int_equal(in(0x64) & 1, 0);
        out(0x64, (uint8_t)t[i].command);
        if (t[i].parameter >= 0) out(0x60, (uint8_t)t[i].parameter);
        for (unsigned n = 0; t[i].answer[n] >= 0 && n < 2; n++) {
            assert_int_equal(in(0x64) & 1, 1);
            assert_int_equal((in(0x64) & 0x20) != 0, t[i].command == 0xd3);
            assert_int_equal(in(0x60), t[i].answer[n]);
        }
        assert_int_equal(in(0x64) & 1, 0);
    }
    setup();
    out(0x64, 0x60);
    out(0x60, 0x65);
    out(0x64, 0x20);
    assert_int_equal(in(0x60), 0x65);
    assert_int_equal(in(0x64) & 4, 4);
}

static void keyboard(void **state)
{
    static const struct {
        uint8_t command, answer[3], n;
    } t[] = {{0xff, {0xfa, 0xaa}, 2},
             {0xf2, {0xfa, 0xab, 0x41}, 3},
             {0xee, {0xee}, 1},
             {0xf4, {0xfa}, 1},
             {0x01, {0xfe}, 1}};
    (void)state;
    for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
        setup();
        out(0x60, t[i].command);
        for (unsigned n = 0; n < t[i].n; n++) {
            assert_int_not_equal(r.irq.s.sources[1], 0); /* an edge for each byte */
            assert_int_equal(in(0x60), t[i].answer[n]);
        }
        assert_int_equal(r.irq.s.sources[1], 0);
    }
    setup();
    out(0x60, 0xed);
    assert_int_equal(in(0x60), 0xfa);
    out(0x60, 0x07);
    assert_int_equal(in(0x60), 0xfa);
    for (unsigned i = 0; i < 100; i++)
        out(0x60, 0xff); /* a full buffer loses bytes, nothing else */
    for (unsigned i = 0; i < 16; i++)
        in(0x60);
    assert_int_equal(in(0x64) & 1, 0);
}

static void resets_and_a20(void **state)
{
    (void)state;
    setup();
    out(0x64, 0xfe);
    assert_int_equal(resets, 1);
    out(0x64, 0xff);
    assert_int_equal(resets, 1);
    out(0x64, 0xdd);
    assert_int_equal(a20, 0);
    out(0x64, 0xd1);
    out(0x60, 0xdf);
    assert_int_equal(a20, 1);
    port92_write(&s, 0x92, 1, 0);
    assert_int_equal(a20, 0);
    port92_write(&s, 0x92, 1, 3);
    assert_int_equal(a20, 1);
    assert_int_equal(resets, 2);
    port92_write(&s, 0x92, 1, 3);
    assert_int_equal(resets, 2);
}

static void port61(void **state)
{
    (void)state;
    setup();
    port61_write(&s, 0x61, 1, 0x01);
    i8254_write(&pit, 0x43, 1, 0xb0); /* the firmware's calibration: channel 2, mode 0 */
    i8254_write(&pit, 0x42, 1, 0x00);
    i8254_write(&pit, 0x42, 1, 0x08);
    assert_int_equal(port61_read(&s, 0x61, 1) & 0x2f, 0x01);
    uint64_t end = clock_cycle_of(0x800 + 1, BOARD_PIT_HZ);
    rig_run_to(&r, end - 1);
    assert_int_equal(port61_read(&s, 0x61, 1) & 0x20, 0);
    rig_run_to(&r, end);
    assert_int_equal(port61_read(&s, 0x61, 1) & 0x20, 0x20);
    unsigned toggles = 0, last = port61_read(&s, 0x61, 1) & 16;
    for (unsigned i = 0; i < 1000; i++) {
        rig_run(&r, 1000);
        unsigned now = port61_read(&s, 0x61, 1) & 16;
        toggles += now != last;
        last = now;
    }
    assert_in_range(toggles, 66, 67);
}

static void dma(void **state)
{
    (void)state;
    setup();
    dma_write(&s, 0x80, 1, 0x5a);
    assert_int_equal(dma_read(&s, 0x80, 1), 0x5a);
    dma_write(&s, 0x0c, 1, 0);
    dma_write(&s, 0x02, 1, 0x34);
    dma_write(&s, 0x02, 1, 0x12);
    dma_write(&s, 0x0c, 1, 0);
    assert_int_equal(dma_read(&s, 0x02, 1), 0x34);
    assert_int_equal(dma_read(&s, 0x02, 1), 0x12);
    dma_write(&s, 0xda, 1, 0);
    assert_int_equal(dma_read(&s, 0xde, 1), 0x0f);
    dma_write(&s, 0xd4, 1, 2);
    assert_int_equal(dma_read(&s, 0xde, 1), 0x0b);
}

static void pm_timer(void **state)
{
    (void)state;
    setup();
    rig_run(&r, CLOCK_HZ);
    assert_int_equal(acpi_pm_read(&pm, 0x608, 4), 3579545);
    rig_run(&r, 4 * CLOCK_HZ);
    assert_int_equal(acpi_pm_read(&pm, 0x608, 4), 5 * 3579545 & 0xffffff);
    assert_int_equal(acpi_pm_read(&pm, 0x600, 2) & 1, 1); /* bit 23 has toggled */
    acpi_pm_write(&pm, 0x600, 2, 1);
    assert_int_equal(acpi_pm_read(&pm, 0x600, 2) & 1, 0);
    acpi_pm_write(&pm, 0x602, 2, 1);
    acpi_pm_command(&pm, BOARD_ACPI_ENABLE);
    assert_int_equal(r.irq.s.sources[9], 0);
    uint64_t half = UINT64_C(1) << 23;
    uint64_t next =
        clock_cycle_of((clock_ticks(r.clock.now, BOARD_PM_TIMER_HZ) / half + 1) * half, BOARD_PM_TIMER_HZ);
    rig_run_to(&r, next - 1);
    assert_int_equal(r.irq.s.sources[9], 0);
    rig_run_to(&r, next);
    assert_int_not_equal(r.irq.s.sources[9], 0);
    acpi_pm_write(&pm, 0x600, 2, 1);
    assert_int_equal(r.irq.s.sources[9], 0);
}

static void power(void **state)
{
    (void)state;
    setup();
    apm_write(&s, 0xb2, 1, BOARD_ACPI_ENABLE);
    assert_int_equal(acpi_pm_read(&pm, 0x604, 2), 1);
    apm_write(&s, 0xb2, 1, BOARD_ACPI_DISABLE);
    assert_int_equal(acpi_pm_read(&pm, 0x604, 2), 0);
    acpi_pm_write(&pm, 0x604, 2, 1u << 13 | 1u << 10); /* S3 is not S5 */
    assert_int_equal(offs, 0);
    acpi_pm_write(&pm, 0x604, 2, BOARD_S5_SLP_TYP << 10); /* without SLP_EN nothing happens */
    assert_int_equal(offs, 0);
    acpi_pm_write(&pm, 0x604, 2, 1u << 13 | BOARD_S5_SLP_TYP << 10);
    assert_int_equal(offs, 1);
    assert_int_equal(acpi_pm_read(&pm, 0x604, 2) & 1u << 13, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controller), cmocka_unit_test(keyboard), cmocka_unit_test(resets_and_a20),
        cmocka_unit_test(port61),     cmocka_unit_test(dma),      cmocka_unit_test(pm_timer),
        cmocka_unit_test(power)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
