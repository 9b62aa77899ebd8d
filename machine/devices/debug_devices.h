/* SPDX-License-Identifier: MIT */
/* Devices for tests and firmware logs: isa-debug-exit, debug console, and the pc-testdev of
 * kvm-unit-tests (latches, interrupt lines, a buffer behind MMIO). */
#ifndef UV_MACHINE_DEBUG_DEVICES_H
#define UV_MACHINE_DEBUG_DEVICES_H

#include <stdint.h>

#include "machine/chardev.h"
#include "machine/irq.h"
#include "machine/visit.h"

enum { TESTDEV_BUFFER = 0x10000 };

struct debug_devices_state {
    uint32_t latch;
    uint8_t shutdown_match; /* bytes of "Shutdown" seen at port 8900h */
    uint8_t buffer[TESTDEV_BUFFER];
};

struct debug_devices {
    struct debug_devices_state s;
    struct irq_board *irq;
    struct chardev *console;
    void (*debug_exit)(void *opaque, uint32_t value);
    void (*power_off)(void *opaque);
    void (*flush_page)(void *opaque, uint64_t address);
    void *opaque;
};

void debug_devices_reset(struct debug_devices *d);
void debug_exit_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
uint32_t debugcon_read(void *opaque, uint16_t port, uint32_t size);
void debugcon_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
void shutdown_port_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
uint32_t testdev_latch_read(void *opaque, uint16_t port, uint32_t size); /* E0h-E3h, E8h-EBh */
void testdev_latch_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
void testdev_flush_write(void *opaque, uint16_t port, uint32_t size, uint32_t value); /* E4h */
void testdev_irq_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);   /* 2000h-2017h */
uint64_t testdev_mmio_read(void *opaque, uint64_t offset, uint32_t size);
void testdev_mmio_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value);
void debug_devices_visit(struct debug_devices *d, struct visitor *v);

#endif
