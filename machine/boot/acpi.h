/* SPDX-License-Identifier: MIT */
/* Firmware tables for an operating system that is booted without firmware: ACPI (RSDP to DSDT) and the
 * MP table. ACPI 6.5 ch. 5; MultiProcessor Specification 1.4 ch. 4. */
#ifndef UV_MACHINE_BOOT_ACPI_H
#define UV_MACHINE_BOOT_ACPI_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FIRMWARE_TABLES_MAX = 0x10000,
    FIRMWARE_TABLES_BASE = 0xf0000, /* the RSDP and the MP floating pointer are searched for here */
    FIRMWARE_CPUS_MAX = 256
};

struct firmware_config {
    uint32_t cpus;
    const uint32_t *apic_id; /* of each processor; NULL: 0, 1, 2, ... */
    uint32_t cpu_signature;  /* CPUID.1:EAX and EDX, for the MP table */
    uint32_t cpu_features;
    bool hpet;
    bool i8042;
    uint32_t serial_ports; /* bit n: COMn+1 exists */
    uint64_t pci_hole;     /* first address of the PCI window below the I/O APIC */
};

/* Fills `image` (FIRMWARE_TABLES_MAX bytes, to be put at FIRMWARE_TABLES_BASE); *rsdp becomes the
 * physical address of the RSDP. False when the tables do not fit. */
bool firmware_tables(const struct firmware_config *config, uint8_t *image, uint32_t *size, uint64_t *rsdp);

/* Parts, each a whole table with its checksum; return the size, 0 when it does not fit. */
uint32_t acpi_dsdt(const struct firmware_config *config, uint8_t *table, uint32_t capacity);
uint32_t mp_table(const struct firmware_config *config, uint32_t address, uint8_t *table, uint32_t capacity);
uint8_t firmware_checksum(const uint8_t *p, uint32_t n);

#endif
