/* SPDX-License-Identifier: MIT */
/* ACPI tables of the board: RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET (ACPI 6.5 5.2); the DSDT is in
 * dsdt.c. Addresses, ports and interrupts come from machine/board.h. */
#include "machine/boot/acpi.h"

#include <string.h>

#include "machine/board.h"
#include "machine/boot/le.h"

enum {
    HEADER = 36,
    RSDP_SIZE = 36,
    FADT_SIZE = 244, /* revision 3 */
    FACS_SIZE = 64,
    HPET_SIZE = 56,
    MADT_PCAT_COMPAT = 1,
    /* FADT flags. */
    FADT_WBINVD = 1 << 0,
    FADT_PROC_C1 = 1 << 2,
    FADT_PWR_BUTTON = 1 << 4,
    FADT_SLP_BUTTON = 1 << 5,
    FADT_RESET_REG_SUP = 1 << 10,
    /* IA-PC boot flags. */
    BOOT_LEGACY_DEVICES = 1,
    BOOT_8042 = 2,
    BOOT_NO_VGA = 4,
    /* Interrupt source override and NMI flags. */
    MPS_CONFORMING = 0,
    MPS_HIGH_LEVEL = 0x0d,
    APIC_ID_XAPIC_MAX = 254
};

struct tables {
    const struct firmware_config *config;
    uint8_t *image;
    uint32_t size;
    bool overflow;
};

uint8_t firmware_checksum(const uint8_t *p, uint32_t n)
{
    uint8_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + p[i]);
    return (uint8_t)-sum;
}

static void sdt_header(uint8_t *t, const char *signature, uint32_t size, uint8_t revision)
{
    memcpy(t, signature, 4);
    le32_put(t + 4, size);
    t[8] = revision;
    t[9] = 0;
    memcpy(t + 10, "UNDERV", 6);
    memcpy(t + 16, "UNDERVSR", 8);
    le32_put(t + 24, 1);
    memcpy(t + 28, "UVSR", 4);
    le32_put(t + 32, 1);
}

static void sdt_finish(uint8_t *t)
{
    t[9] = 0;
    t[9] = firmware_checksum(t, le32_get(t + 4));
}

/* Zeroed room of `size` bytes; NULL when the area is full. */
static uint8_t *take(struct tables *t, uint32_t size, uint32_t align, uint32_t *address)
{
    uint32_t at = (t->size + align - 1) & ~(align - 1);
    if (at > FIRMWARE_TABLES_MAX || size > FIRMWARE_TABLES_MAX - at) {
        t->overflow = true;
        return NULL;
    }
    t->size = at + size;
    *address = FIRMWARE_TABLES_BASE + at;
    memset(t->image + at, 0, size);
    return t->image + at;
}

/* Generic address structure in I/O space. */
static void gas_io(uint8_t *p, uint32_t port, uint8_t bits)
{
    if (port == 0) return;
    p[0] = 1;
    p[1] = bits;
    p[3] = (uint8_t)(bits == 8 ? 1 : bits == 16 ? 2 : 3);
    le64_put(p + 4, port);
}

static uint32_t fadt(struct tables *t, uint32_t facs, uint32_t dsdt)
{
    uint32_t address = 0;
    uint8_t *p = take(t, FADT_SIZE, 8, &address);
    if (!p) return 0;
    sdt_header(p, "FACP", FADT_SIZE, 3);
    le32_put(p + 36, facs);
    le32_put(p + 40, dsdt);
    p[45] = 1; /* desktop */
    le16_put(p + 46, BOARD_IRQ_SCI);
    le32_put(p + 48, BOARD_SMI_CMD);
    p[52] = BOARD_ACPI_ENABLE;
    p[53] = BOARD_ACPI_DISABLE;
    le32_put(p + 56, BOARD_PM_BASE);
    le32_put(p + 64, BOARD_PM_BASE + 4);
    le32_put(p + 76, BOARD_PM_BASE + 8);
    le32_put(p + 80, BOARD_GPE0_BASE);
    p[88] = 4;
    p[89] = 2;
    p[91] = 4;
    p[92] = 4;
    le16_put(p + 96, 0xfff); /* no C2 */
    le16_put(p + 98, 0xfff); /* no C3 */
    p[108] = 0x32;           /* RTC century */
    le16_put(p + 109, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | (t->config->i8042 ? BOOT_8042 : 0));
    le32_put(p + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG_SUP |
                          (BOARD_PM_TIMER_BITS == 32 ? 1u << 8 : 0));
    gas_io(p + 116, BOARD_RESET_PORT, 8);
    p[128] = 0x06; /* hard reset */
    le64_put(p + 132, facs);
    le64_put(p + 140, dsdt);
    gas_io(p + 148, BOARD_PM_BASE, 32);
    gas_io(p + 172, BOARD_PM_BASE + 4, 16);
    gas_io(p + 208, BOARD_PM_BASE + 8, 32);
    gas_io(p + 220, BOARD_GPE0_BASE, 32);
    sdt_finish(p);
    return address;
}

static uint32_t apic_id(const struct firmware_config *c, uint32_t n)
{
    return c->apic_id ? c->apic_id[n] : n;
}

static uint8_t *madt_override(uint8_t *e, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    e[0] = 2;
    e[1] = 10;
    e[3] = irq;
    le32_put(e + 4, gsi);
    le16_put(e + 8, flags);
    return e + 10;
}

/* ACPI 6.5 5.2.12: processors first, in the order of their numbers; ids beyond 254 as x2APIC entries. */
static uint32_t madt(struct tables *t)
{
    static const uint8_t pci_irqs[] = {5, 10, 11};
    uint32_t address = 0, size = HEADER + 8 + 12 + 5 * 10 + 6 + 12;
    for (uint32_t i = 0; i < t->config->cpus; i++)
        size += apic_id(t->config, i) <= APIC_ID_XAPIC_MAX ? 8 : 16;
    uint8_t *p = take(t, size, 8, &address);
    if (!p) return 0;
    sdt_header(p, "APIC", size, 3);
    le32_put(p + 36, (uint32_t)BOARD_LOCAL_APIC);
    le32_put(p + 40, MADT_PCAT_COMPAT);
    uint8_t *e = p + 44;
    for (uint32_t i = 0; i < t->config->cpus; i++) {
        uint32_t id = apic_id(t->config, i);
        if (id <= APIC_ID_XAPIC_MAX) {
            e[0] = 0;
            e[1] = 8;
            e[2] = (uint8_t)i;
            e[3] = (uint8_t)id;
            le32_put(e + 4, 1);
            e += 8;
        } else {
            e[0] = 9;
            e[1] = 16;
            le32_put(e + 4, id);
            le32_put(e + 8, 1);
            le32_put(e + 12, i);
            e += 16;
        }
    }
    e[0] = 1;
    e[1] = 12;
    e[2] = BOARD_IO_APIC_ID;
    le32_put(e + 4, (uint32_t)BOARD_IO_APIC);
    e = madt_override(e + 12, BOARD_IRQ_PIT, BOARD_PIT_PIN, MPS_CONFORMING);
    e = madt_override(e, BOARD_IRQ_SCI, BOARD_IRQ_SCI, MPS_HIGH_LEVEL);
    for (unsigned i = 0; i < sizeof(pci_irqs); i++)
        e = madt_override(e, pci_irqs[i], pci_irqs[i], MPS_HIGH_LEVEL);
    e[0] = 4; /* LINT1 of every processor is NMI */
    e[1] = 6;
    e[2] = 0xff;
    e[5] = 1;
    e += 6;
    e[0] = 0x0a; /* the same for x2APIC entries */
    e[1] = 12;
    le32_put(e + 4, UINT32_MAX);
    e[8] = 1;
    sdt_finish(p);
    return address;
}

static uint32_t hpet(struct tables *t)
{
    uint32_t address = 0;
    uint8_t *p = take(t, HPET_SIZE, 8, &address);
    if (!p) return 0;
    sdt_header(p, "HPET", HPET_SIZE, 1);
    le32_put(p + 36, 0x8086a201); /* revision 1, three timers, 64-bit, legacy route, vendor 8086 */
    p[41] = 64;                   /* GAS: memory, 64 bits */
    le64_put(p + 44, BOARD_HPET);
    le16_put(p + 53, 100); /* least ticks in periodic mode without loss */
    sdt_finish(p);
    return address;
}

static uint32_t root_table(struct tables *t, const char *signature, const uint32_t *entry, uint32_t n,
                           uint32_t width)
{
    uint32_t address = 0;
    uint8_t *p = take(t, HEADER + n * width, 8, &address);
    if (!p) return 0;
    sdt_header(p, signature, HEADER + n * width, 1);
    for (uint32_t i = 0; i < n; i++)
        le32_put(p + HEADER + i * width, entry[i]); /* the upper half of a u64 entry stays 0 */
    sdt_finish(p);
    return address;
}

bool firmware_tables(const struct firmware_config *config, uint8_t *image, uint32_t *size, uint64_t *rsdp)
{
    struct tables t = {.config = config, .image = image};
    uint32_t entry[3], n = 0, at = 0, rsdp_at = 0;
    memset(image, 0, FIRMWARE_TABLES_MAX);
    if (config->cpus == 0 || config->cpus > FIRMWARE_CPUS_MAX) return false;
    uint8_t *root = take(&t, RSDP_SIZE, 16, &rsdp_at);
    uint32_t facs_at = 0;
    uint8_t *facs = take(&t, FACS_SIZE, 64, &facs_at);
    if (!root || !facs) return false;
    memcpy(facs, "FACS", 4);
    le32_put(facs + 4, FACS_SIZE);
    facs[32] = 1; /* version */

    uint32_t dsdt_at = (t.size + 15) & ~15u;
    uint32_t dsdt_size = acpi_dsdt(config, image + dsdt_at, FIRMWARE_TABLES_MAX - dsdt_at);
    if (dsdt_size == 0) return false;
    t.size = dsdt_at + dsdt_size;
    entry[n++] = fadt(&t, facs_at, FIRMWARE_TABLES_BASE + dsdt_at);
    entry[n++] = madt(&t);
    if (config->hpet) entry[n++] = hpet(&t);

    uint32_t rsdt = root_table(&t, "RSDT", entry, n, 4), xsdt = root_table(&t, "XSDT", entry, n, 8);
    if (t.overflow) return false;
    memcpy(root, "RSD PTR ", 8);
    memcpy(root + 9, "UNDERV", 6);
    root[15] = 2;
    le32_put(root + 16, rsdt);
    le32_put(root + 20, RSDP_SIZE);
    le64_put(root + 24, xsdt);
    root[8] = firmware_checksum(root, 20);
    root[32] = firmware_checksum(root, RSDP_SIZE);
    *rsdp = rsdp_at;

    at = (t.size + 15) & ~15u;
    if (at >= FIRMWARE_TABLES_MAX) return false;
    uint32_t mp = mp_table(config, FIRMWARE_TABLES_BASE + at, image + at, FIRMWARE_TABLES_MAX - at);
    if (mp == 0) return false;
    *size = at + mp;
    return true;
}
