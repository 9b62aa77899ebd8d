/* SPDX-License-Identifier: MIT */
/* The MP configuration table, for systems that do without ACPI: floating pointer, processors, ISA bus,
 * I/O APIC, interrupt assignment. MultiProcessor Specification 1.4, 4.1 to 4.3. */
#include <string.h>

#include "machine/board.h"
#include "machine/boot/acpi.h"
#include "machine/boot/le.h"

enum { POINTER = 16, HEADER = 44, CPU_ENTRY = 20, ENTRY = 8, ISA_IRQS = 16, INT = 0, NMI = 1, EXTINT = 3 };

static uint8_t *interrupt(uint8_t *e, uint8_t type, uint8_t kind, uint16_t flags, uint8_t irq, uint8_t apic,
                          uint8_t pin)
{
    e[0] = type;
    e[1] = kind;
    le16_put(e + 2, flags);
    e[4] = 0; /* bus: ISA */
    e[5] = irq;
    e[6] = apic;
    e[7] = pin;
    return e + ENTRY;
}

uint32_t mp_table(const struct firmware_config *c, uint32_t address, uint8_t *table, uint32_t capacity)
{
    uint32_t cpus = 0;
    for (uint32_t i = 0; i < c->cpus; i++)
        cpus += (c->apic_id ? c->apic_id[i] : i) < 0xff;
    uint32_t entries = cpus + 1 + 1 + (ISA_IRQS - 1) + 2;
    uint32_t length = HEADER + cpus * CPU_ENTRY + (entries - cpus) * ENTRY;
    if (capacity < POINTER + length) return 0;
    memset(table, 0, POINTER + length);
    memcpy(table, "_MP_", 4);
    le32_put(table + 4, address + POINTER);
    table[8] = 1; /* in paragraphs */
    table[9] = 4; /* specification 1.4 */
    table[10] = firmware_checksum(table, POINTER);

    uint8_t *t = table + POINTER, *e = t + HEADER;
    memcpy(t, "PCMP", 4);
    le16_put(t + 4, length);
    t[6] = 4;
    memcpy(t + 8, "UNDERV  UNDERVISOR  ", 20);
    le16_put(t + 34, entries);
    le32_put(t + 36, (uint32_t)BOARD_LOCAL_APIC);
    for (uint32_t i = 0; i < c->cpus; i++) {
        uint32_t id = c->apic_id ? c->apic_id[i] : i;
        if (id >= 0xff) continue;
        e[1] = (uint8_t)id;
        e[2] = 0x14;
        e[3] = (uint8_t)(1 | (i == 0 ? 2 : 0)); /* enabled, bootstrap */
        le32_put(e + 4, c->cpu_signature);
        le32_put(e + 8, c->cpu_features);
        e += CPU_ENTRY;
    }
    e[0] = 1;
    memcpy(e + 2, "ISA   ", 6);
    e += ENTRY;
    e[0] = 2;
    e[1] = BOARD_IO_APIC_ID;
    e[2] = 0x11;
    e[3] = 1;
    le32_put(e + 4, (uint32_t)BOARD_IO_APIC);
    e += ENTRY;
    for (uint8_t irq = 0; irq < ISA_IRQS; irq++) {
        bool level = irq == BOARD_IRQ_SCI || irq == 5 || irq == 10 || irq == 11;
        if (irq == 2) continue; /* the cascade */
        e = interrupt(e, 3, INT, level ? 0x0d : 0, irq, BOARD_IO_APIC_ID,
                      irq == BOARD_IRQ_PIT ? BOARD_PIT_PIN : irq);
    }
    e = interrupt(e, 4, EXTINT, 0, 0, 0xff, 0);
    e = interrupt(e, 4, NMI, 0, 0, 0xff, 1);
    t[7] = 0;
    t[7] = firmware_checksum(t, length);
    return (uint32_t)(e - table);
}
