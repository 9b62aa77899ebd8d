/* SPDX-License-Identifier: MIT */
/* The DSDT: the PCI root with its windows and interrupt routing, the ISA devices behind it, processors
 * and the soft-off state. ACPI 6.5 5.2.11.1, 6.1, 6.2.13 (_PRT), 7.4.2 (\_Sx), 8.4. */
#include <stdio.h>
#include <string.h>

#include "machine/board.h"
#include "machine/boot/acpi.h"
#include "machine/boot/aml.h"
#include "machine/boot/le.h"

/* Interrupts of PIRQA to PIRQD; slots rotate pins by one (i440FX boards). */
static const uint8_t pirq_gsi[4] = {10, 10, 11, 11};

static void pci_routing(struct aml *a)
{
    aml_name(a, "_PRT");
    aml_package(a, 31 * 4);
    for (uint32_t slot = 1; slot < 32; slot++) {
        for (uint32_t pin = 0; pin < 4; pin++) {
            aml_package(a, 4);
            aml_integer(a, slot << 16 | 0xffff);
            aml_integer(a, pin);
            aml_integer(a, 0);
            aml_integer(a, pirq_gsi[(slot + pin - 1) & 3]);
            aml_close(a);
        }
    }
    aml_close(a);
}

static void pci_windows(struct aml *a, uint64_t hole)
{
    aml_crs_begin(a);
    aml_word_space(a, AML_BUS, 0, 0xff);
    aml_io(a, 0xcf8, 8);
    aml_word_space(a, AML_IO, 0, 0xcf7);
    aml_word_space(a, AML_IO, 0xd00, 0xffff);
    aml_dword_memory(a, BOARD_VGA_HOLE, 0xbffff, true);
    aml_dword_memory(a, (uint32_t)hole, (uint32_t)BOARD_IO_APIC - 1, false);
    aml_crs_end(a);
}

static void isa_device(struct aml *a, const char *name, const char *id, uint16_t port, uint8_t ports, int irq)
{
    aml_device(a, name);
    aml_name_eisa(a, "_HID", id);
    aml_crs_begin(a);
    if (ports) aml_io(a, port, ports);
    if (irq >= 0) aml_irq(a, (uint32_t)irq);
    aml_crs_end(a);
    aml_close(a);
}

static void serial_ports(struct aml *a, uint32_t present)
{
    static const struct {
        const char *name;
        uint16_t port;
        uint8_t irq;
    } com[4] = {{"COM1", 0x3f8, BOARD_IRQ_COM1},
                {"COM2", 0x2f8, BOARD_IRQ_COM2},
                {"COM3", 0x3e8, BOARD_IRQ_COM1},
                {"COM4", 0x2e8, BOARD_IRQ_COM2}};
    for (unsigned i = 0; i < 4; i++) {
        if (!(present >> i & 1)) continue;
        aml_device(a, com[i].name);
        aml_name_eisa(a, "_HID", "PNP0501");
        aml_name_integer(a, "_UID", i + 1);
        aml_crs_begin(a);
        aml_io(a, com[i].port, 8);
        aml_irq(a, com[i].irq);
        aml_crs_end(a);
        aml_close(a);
    }
}

static void isa_devices(struct aml *a, const struct firmware_config *c)
{
    aml_device(a, "ISA");
    aml_name_integer(a, "_ADR", 0x10000);
    aml_device(a, "PIC");
    aml_name_eisa(a, "_HID", "PNP0000");
    aml_crs_begin(a);
    aml_io(a, 0x20, 2);
    aml_io(a, 0xa0, 2);
    aml_irq(a, 2);
    aml_crs_end(a);
    aml_close(a);
    isa_device(a, "TMR", "PNP0100", 0x40, 4, c->hpet ? -1 : BOARD_IRQ_PIT);
    isa_device(a, "RTC", "PNP0B00", 0x70, 2, c->hpet ? -1 : BOARD_IRQ_RTC);
    if (c->i8042) {
        aml_device(a, "KBD");
        aml_name_eisa(a, "_HID", "PNP0303");
        aml_crs_begin(a);
        aml_io(a, 0x60, 1);
        aml_io(a, 0x64, 1);
        aml_irq(a, BOARD_IRQ_KEYBOARD);
        aml_crs_end(a);
        aml_close(a);
        isa_device(a, "MOU", "PNP0F13", 0, 0, BOARD_IRQ_MOUSE);
    }
    serial_ports(a, c->serial_ports);
    aml_close(a);
}

static void processors(struct aml *a, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        char name[8];
        snprintf(name, sizeof(name), "C%03X", (unsigned)(i & 0xfff));
        aml_device(a, name);
        aml_name_string(a, "_HID", "ACPI0007");
        aml_name_integer(a, "_UID", i);
        aml_close(a);
    }
}

uint32_t acpi_dsdt(const struct firmware_config *config, uint8_t *table, uint32_t capacity)
{
    enum { HEADER = 36 };
    struct aml a;
    if (capacity < HEADER) return 0;
    aml_begin(&a, table + HEADER, capacity - HEADER);
    aml_scope(&a, "\\_SB");
    aml_device(&a, "PCI0");
    aml_name_eisa(&a, "_HID", "PNP0A03");
    aml_name_integer(&a, "_ADR", 0);
    aml_name_integer(&a, "_UID", 0);
    pci_windows(&a, config->pci_hole);
    pci_routing(&a);
    isa_devices(&a, config);
    aml_close(&a);
    if (config->hpet) {
        aml_device(&a, "HPET");
        aml_name_eisa(&a, "_HID", "PNP0103");
        aml_crs_begin(&a);
        aml_fixed_memory(&a, (uint32_t)BOARD_HPET, 0x400);
        aml_crs_end(&a);
        aml_close(&a);
    }
    processors(&a, config->cpus);
    aml_close(&a);
    aml_name(&a, "\\_S5");
    aml_package(&a, 4);
    aml_integer(&a, BOARD_S5_SLP_TYP);
    aml_integer(&a, BOARD_S5_SLP_TYP);
    aml_integer(&a, 0);
    aml_integer(&a, 0);
    aml_close(&a);
    if (a.overflow || a.depth != 0) return 0;

    memset(table, 0, HEADER);
    memcpy(table, "DSDT", 4);
    le32_put(table + 4, HEADER + a.size);
    table[8] = 2;
    memcpy(table + 10, "UNDERVUNDERVSR", 14);
    le32_put(table + 24, 1);
    memcpy(table + 28, "UVSR", 4);
    le32_put(table + 32, 1);
    table[9] = firmware_checksum(table, HEADER + a.size);
    return HEADER + a.size;
}
