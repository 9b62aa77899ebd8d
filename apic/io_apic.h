/* SPDX-License-Identifier: MIT */
/* I/O APIC with 24 redirection entries. 82093AA data sheet ch. 3; EOI register of version 20h. */
#ifndef UV_APIC_IO_APIC_H
#define UV_APIC_IO_APIC_H

#include <stdbool.h>
#include <stdint.h>

#include "apic/message.h"

enum { IO_APIC_PINS = 24 };

enum io_apic_rte_bit {
    RTE_LOGICAL = 1u << 11,
    RTE_STATUS = 1u << 12,
    RTE_LOW_ACTIVE = 1u << 13,
    RTE_REMOTE_IRR = 1u << 14,
    RTE_LEVEL = 1u << 15,
    RTE_MASKED = 1u << 16
};

struct io_apic_state {
    uint32_t id;
    uint8_t select;
    uint32_t lines; /* bit n: pin n is asserted */
    uint64_t rte[IO_APIC_PINS];
};

struct io_apic {
    struct io_apic_state s;
    struct apic_bus *bus;
    uint32_t version;
    /* INTA to the external controller for an ExtINT entry: vector, or -1. */
    int (*extint)(void *opaque);
    void *opaque;
};

void io_apic_setup(struct io_apic *io, struct apic_bus *bus, int (*extint)(void *), void *opaque);
void io_apic_reset(struct io_apic *io);
/* An input line is asserted or not; the polarity bit of the entry is recorded and otherwise ignored, as
 * the board already tells assertion and not voltage. */
void io_apic_set_line(struct io_apic *io, unsigned pin, bool asserted);
void io_apic_eoi(struct io_apic *io, uint8_t vector);
uint64_t io_apic_mmio_read(struct io_apic *io, uint32_t offset, uint32_t size);
void io_apic_mmio_write(struct io_apic *io, uint32_t offset, uint32_t size, uint64_t value);
/* An unmasked entry could deliver something else than a maskable interrupt (hang detection). */
bool io_apic_can_wake_masked(const struct io_apic *io);

#endif
