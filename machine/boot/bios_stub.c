/* SPDX-License-Identifier: MIT */
/* Real-mode interrupt vectors without firmware. Some kernels (Xen) go back to real mode and ask the BIOS
 * for memory map and disks even when a boot loader has told them: every service returns with CF = 1, and
 * they fall back to what the loader said. Hardware interrupts are acknowledged. */
#include "machine/boot/bios_stub.h"

#include <string.h>

#include "machine/boot/le.h"

enum { STUB_IGNORE = 0x00, STUB_REFUSE = 0x08, STUB_MASTER = 0x18, STUB_SLAVE = 0x28, SEGMENT = 0xf000 };

void bios_stub(uint8_t code[BIOS_STUB_SIZE])
{
    static const uint8_t ignore[] = {0xcf}; /* iret */
    static const uint8_t refuse[] = {
        0x55,                   /* push bp */
        0x89, 0xe5,             /* mov bp, sp */
        0x80, 0x4e, 0x06, 0x01, /* or byte [bp+6], 1: CF of the caller */
        0x5d,                   /* pop bp */
        0xcf                    /* iret */
    };
    static const uint8_t master[] = {
        0x50,       /* push ax */
        0xb0, 0x20, /* mov al, 20h: non-specific EOI */
        0xe6, 0x20, /* out 20h, al */
        0x58,       /* pop ax */
        0xcf        /* iret */
    };
    static const uint8_t slave[] = {
        0x50,       /* push ax */
        0xb0, 0x20, /* mov al, 20h */
        0xe6, 0xa0, /* out a0h, al */
        0xe6, 0x20, /* out 20h, al */
        0x58,       /* pop ax */
        0xcf        /* iret */
    };
    memset(code, 0xcf, BIOS_STUB_SIZE);
    memcpy(code + STUB_IGNORE, ignore, sizeof(ignore));
    memcpy(code + STUB_REFUSE, refuse, sizeof(refuse));
    memcpy(code + STUB_MASTER, master, sizeof(master));
    memcpy(code + STUB_SLAVE, slave, sizeof(slave));
}

static uint32_t stub_of(uint32_t vector)
{
    if (vector < 0x08) return STUB_IGNORE;
    if (vector < 0x10) return STUB_MASTER; /* IRQ 0 to 7 */
    if (vector >= 0x70 && vector < 0x78) return STUB_SLAVE;
    return vector < 0x20 ? STUB_REFUSE : STUB_IGNORE;
}

void bios_low_memory(uint32_t serial_ports, uint8_t low[BIOS_LOW_SIZE])
{
    static const uint16_t com[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    memset(low, 0, BIOS_LOW_SIZE);
    for (uint32_t v = 0; v < 256; v++) {
        le16_put(low + v * 4, BIOS_STUB_OFFSET + stub_of(v));
        le16_put(low + v * 4 + 2, SEGMENT);
    }
    for (uint32_t i = 0; i < 4; i++)
        if (serial_ports >> i & 1) le16_put(low + 0x400 + i * 2, com[i]);
    le16_put(low + 0x40e, BIOS_BASE_KIB << 6); /* segment of the extended data area */
    le16_put(low + 0x413, BIOS_BASE_KIB);
}
