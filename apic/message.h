/* SPDX-License-Identifier: MIT */
/* Interrupt messages: what travels between local APICs, I/O APICs and MSI-capable devices.
 * SDM 3A 11.6.1 (ICR), 11.11 (MSI); 82093AA data sheet 3.2.4. */
#ifndef UV_APIC_MESSAGE_H
#define UV_APIC_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

enum apic_delivery {
    APIC_FIXED = 0,
    APIC_LOWEST = 1,
    APIC_SMI = 2,
    APIC_REMOTE_READ = 3, /* reserved on Intel */
    APIC_NMI = 4,
    APIC_INIT = 5,
    APIC_STARTUP = 6,
    APIC_EXTINT = 7
};

struct apic_message {
    uint32_t dest;
    uint8_t vector;
    uint8_t delivery; /* enum apic_delivery */
    bool logical;     /* destination mode */
    bool level;       /* trigger mode, recorded in TMR */
    bool wide;        /* dest has 32 bits (x2APIC ICR); else 8, and FFh is the broadcast */
};

struct local_apic;
struct io_apic;

enum { APIC_BUS_MAX = 64 };

/* Connects the local APICs with each other and with the I/O APIC. */
struct apic_bus {
    struct local_apic *apic[APIC_BUS_MAX];
    uint32_t count;
    struct io_apic *io_apic;
    uint32_t rotate; /* state: where the next search for the lowest priority starts */
};

/* Delivers to every processor the destination names, or to the least busy one of them for
 * APIC_LOWEST. Returns how many accepted. */
unsigned apic_bus_send(struct apic_bus *b, const struct apic_message *msg);
/* The same for all processors but `except` (NULL: none), whatever the destination: broadcast shorthands. */
unsigned apic_bus_broadcast(struct apic_bus *b, const struct apic_message *msg, struct local_apic *except);
/* EOI message of a level-triggered vector. */
void apic_bus_eoi(struct apic_bus *b, uint8_t vector);

#endif
