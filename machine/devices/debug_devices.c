/* SPDX-License-Identifier: MIT */
/* Test devices. Their interfaces are those that kvm-unit-tests, Xen's tests and firmware expect. */
#include "machine/devices/debug_devices.h"

#include <string.h>

void debug_devices_reset(struct debug_devices *d) { memset(&d->s, 0, sizeof d->s); }

void debug_exit_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct debug_devices *d = opaque;
    (void)port, (void)size;
    d->debug_exit(d->opaque, value);
}

uint32_t debugcon_read(void *opaque, uint16_t port, uint32_t size)
{
    (void)opaque, (void)port, (void)size;
    return 0xe9;
}

void debugcon_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct debug_devices *d = opaque;
    (void)port, (void)size;
    chardev_write(d->console, (uint8_t)value);
}

void shutdown_port_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    static const char word[] = "Shutdown";
    struct debug_devices *d = opaque;
    (void)port, (void)size;
    if ((uint8_t)value == (uint8_t)word[d->s.shutdown_match])
        d->s.shutdown_match++;
    else
        d->s.shutdown_match = (uint8_t)value == (uint8_t)word[0];
    if (d->s.shutdown_match == sizeof word - 1) {
        d->s.shutdown_match = 0;
        d->power_off(d->opaque);
    }
}

uint32_t testdev_latch_read(void *opaque, uint16_t port, uint32_t size)
{
    struct debug_devices *d = opaque;
    uint32_t value = d->s.latch >> (port & 3) * 8;
    return size == 4 ? value : value & ((1u << size * 8) - 1);
}

void testdev_latch_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct debug_devices *d = opaque;
    unsigned shift = (port & 3) * 8;
    uint32_t lane = (uint32_t)((UINT64_C(1) << size * 8) - 1) << shift;
    d->s.latch = (d->s.latch & ~lane) | (value << shift & lane);
}

void testdev_flush_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct debug_devices *d = opaque;
    (void)port;
    if (size == 4) d->flush_page(d->opaque, value);
}

void testdev_irq_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct debug_devices *d = opaque;
    (void)size;
    irq_set(d->irq, port - 0x2000u, IRQ_SRC_TESTDEV, (uint8_t)value != 0);
}

uint64_t testdev_mmio_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct debug_devices *d = opaque;
    uint64_t value = 0;
    for (uint32_t i = 0; i < size; i++)
        value |= (uint64_t)d->s.buffer[(offset + i) % TESTDEV_BUFFER] << 8 * i;
    return value;
}

void testdev_mmio_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct debug_devices *d = opaque;
    for (uint32_t i = 0; i < size; i++)
        d->s.buffer[(offset + i) % TESTDEV_BUFFER] = (uint8_t)(value >> 8 * i);
}

void debug_devices_visit(struct debug_devices *d, struct visitor *v)
{
    visit_u32(v, &d->s.latch);
    visit_u8(v, &d->s.shutdown_match);
    visit_check_below(v, d->s.shutdown_match, 8);
    visit_u8s(v, d->s.buffer, TESTDEV_BUFFER);
}
