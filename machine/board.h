/* SPDX-License-Identifier: MIT */
/* The board's fixed map: addresses, ports, interrupt numbers and frequencies, in one place for the
 * devices and for the tables that describe them to an operating system (ACPI, MP, fw_cfg). */
#ifndef UV_MACHINE_BOARD_H
#define UV_MACHINE_BOARD_H

#include <stdint.h>

/* Physical memory. RAM ends at BOARD_LOW_RAM_MAX at the latest, the rest starts at 4 GiB. */
#define BOARD_LOW_RAM_MAX UINT64_C(0xC0000000)
#define BOARD_PCI_HOLE UINT64_C(0xC0000000) /* to BOARD_IO_APIC: for PCI BARs */
#define BOARD_HIGH_RAM UINT64_C(0x100000000)
#define BOARD_VGA_HOLE 0xA0000u /* to C0000: unclaimed */
#define BOARD_LOCAL_APIC UINT64_C(0xFEE00000)
#define BOARD_IO_APIC UINT64_C(0xFEC00000)
#define BOARD_HPET UINT64_C(0xFED00000)
#define BOARD_TESTDEV_MMIO UINT64_C(0xFF000000)

enum {
    BOARD_IO_APIC_PINS = 24,
    BOARD_IO_APIC_ID = 0, /* what the ID register resets to; firmware tables say the same */

    /* Ports. */
    BOARD_PM_BASE = 0x600,    /* PM1a_EVT +0 (4), PM1a_CNT +4 (2), PM_TMR +8 (4) */
    BOARD_GPE0_BASE = 0xAFE0, /* STS u16, EN u16 */
    BOARD_RESET_PORT = 0xCF9, /* FADT RESET_REG; value 0Fh and 06h reset */
    BOARD_SMI_CMD = 0xB2,
    BOARD_ACPI_ENABLE = 0xF1,
    BOARD_ACPI_DISABLE = 0xF0,
    BOARD_FW_CFG = 0x510,
    BOARD_PCI_IO = 0xC000,    /* from here up: for PCI I/O BARs */
    BOARD_PM_TIMER_BITS = 24, /* FADT TMR_VAL_EXT clear */
    BOARD_S5_SLP_TYP = 0,     /* \_S5 package: power off */

    /* ISA interrupts. IRQ n is I/O APIC pin n, except IRQ 0 on pin 2. All active high. */
    BOARD_IRQ_PIT = 0,
    BOARD_IRQ_KEYBOARD = 1,
    BOARD_IRQ_COM2 = 3,
    BOARD_IRQ_COM1 = 4,
    BOARD_IRQ_RTC = 8,
    BOARD_IRQ_SCI = 9, /* level */
    BOARD_IRQ_MOUSE = 12,
    BOARD_IRQ_FPU = 13,
    BOARD_PIT_PIN = 2
};

/* Frequencies in Hz; time itself is 1 GHz (clock.h). */
#define BOARD_PIT_HZ UINT64_C(1193182)
#define BOARD_PM_TIMER_HZ UINT64_C(3579545)
#define BOARD_HPET_PERIOD_FS UINT64_C(10000000) /* 100 MHz */
#define BOARD_HPET_HZ UINT64_C(100000000)
#define BOARD_RTC_HZ UINT64_C(32768)

#define BOARD_RTC_DEFAULT INT64_C(946684800) /* 2000-01-01 00:00:00 UTC */

#endif
