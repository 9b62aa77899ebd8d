/* SPDX-License-Identifier: MIT */
/* What real-mode code of a kernel finds when no firmware has run: an interrupt vector table whose services
 * answer "not supported", and the BIOS data area. */
#ifndef UV_MACHINE_BOOT_BIOS_STUB_H
#define UV_MACHINE_BOOT_BIOS_STUB_H

#include <stdint.h>

enum {
    BIOS_LOW_SIZE = 0x500,     /* vector table and data area, from address 0 */
    BIOS_STUB_OFFSET = 0xff00, /* of the handlers in segment F000h */
    BIOS_STUB_SIZE = 0x40,
    BIOS_BASE_KIB = 639 /* conventional memory; the extended data area follows it */
};

/* serial_ports: bit n, COMn+1 exists. */
void bios_low_memory(uint32_t serial_ports, uint8_t low[BIOS_LOW_SIZE]);
void bios_stub(uint8_t code[BIOS_STUB_SIZE]);

#endif
