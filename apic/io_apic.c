/* SPDX-License-Identifier: MIT */
/* I/O APIC: redirection table, edge and level requests, remote IRR. 82093AA data sheet 3.2, 3.4. */
#include "apic/io_apic.h"

enum { REG_ID = 0, REG_VERSION = 1, REG_ARBITRATION = 2, REG_RTE = 0x10 };
enum { WINDOW_SELECT = 0x00, WINDOW_DATA = 0x10, WINDOW_EOI = 0x40 };

/* Low half: vector, delivery, destination mode, polarity, trigger, mask. */
static const uint32_t rte_low_writable = 0x1afff;
static const uint32_t rte_high_writable = 0xff000000;

void io_apic_setup(struct io_apic *io, struct apic_bus *bus, int (*extint)(void *), void *opaque)
{
    *io = (struct io_apic){.bus = bus, .extint = extint, .opaque = opaque};
    io->version = 0x20 | (uint32_t)(IO_APIC_PINS - 1) << 16;
    bus->io_apic = io;
    io_apic_reset(io);
}

void io_apic_reset(struct io_apic *io)
{
    io->s = (struct io_apic_state){0};
    for (unsigned i = 0; i < IO_APIC_PINS; i++)
        io->s.rte[i] = RTE_MASKED;
}

static unsigned delivery_of(uint64_t rte) { return (unsigned)(rte >> 8 & 7); }

/* Level counts for fixed and lowest-priority entries only; the others must be programmed as edge. */
static bool is_level(uint64_t rte) { return (rte & RTE_LEVEL) && delivery_of(rte) <= APIC_LOWEST; }

static void send(struct io_apic *io, unsigned pin)
{
    uint64_t rte = io->s.rte[pin];
    struct apic_message msg = {.dest = (uint32_t)(rte >> 56),
                               .vector = (uint8_t)rte,
                               .delivery = (uint8_t)delivery_of(rte),
                               .logical = (rte & RTE_LOGICAL) != 0,
                               .level = is_level(rte)};
    if (msg.delivery == APIC_EXTINT) {
        int vector = io->extint ? io->extint(io->opaque) : -1;
        if (vector < 0) return;
        msg.vector = (uint8_t)vector;
        msg.delivery = APIC_FIXED;
    }
    if (msg.level) io->s.rte[pin] |= RTE_REMOTE_IRR;
    if (!apic_bus_send(io->bus, &msg) && msg.level) io->s.rte[pin] &= ~(uint64_t)RTE_REMOTE_IRR;
}

static void service_level(struct io_apic *io, unsigned pin)
{
    uint64_t rte = io->s.rte[pin];
    if ((io->s.lines >> pin & 1) && is_level(rte) && !(rte & (RTE_MASKED | RTE_REMOTE_IRR))) send(io, pin);
}

void io_apic_set_line(struct io_apic *io, unsigned pin, bool asserted)
{
    if (pin >= IO_APIC_PINS || (io->s.lines >> pin & 1) == asserted) return;
    io->s.lines ^= 1u << pin;
    if (!asserted) return;
    uint64_t rte = io->s.rte[pin];
    if (is_level(rte))
        service_level(io, pin);
    else if (!(rte & RTE_MASKED)) /* an edge that comes while masked is lost */
        send(io, pin);
}

void io_apic_eoi(struct io_apic *io, uint8_t vector)
{
    for (unsigned pin = 0; pin < IO_APIC_PINS; pin++) {
        uint64_t rte = io->s.rte[pin];
        if (!(rte & RTE_LEVEL) || !(rte & RTE_REMOTE_IRR) || (uint8_t)rte != vector) continue;
        io->s.rte[pin] &= ~(uint64_t)RTE_REMOTE_IRR;
        service_level(io, pin);
    }
}

static uint32_t reg_read(const struct io_apic *io)
{
    unsigned reg = io->s.select;
    switch (reg) {
    case REG_ID:
    case REG_ARBITRATION: return io->s.id;
    case REG_VERSION: return io->version;
    default: break;
    }
    unsigned pin = (reg - REG_RTE) / 2;
    if (reg < REG_RTE || pin >= IO_APIC_PINS) return UINT32_MAX;
    return (uint32_t)(io->s.rte[pin] >> (reg & 1) * 32);
}

static void reg_write(struct io_apic *io, uint32_t value)
{
    unsigned reg = io->s.select;
    if (reg == REG_ID) io->s.id = value & 0x0f000000;
    unsigned pin = (reg - REG_RTE) / 2;
    if (reg < REG_RTE || pin >= IO_APIC_PINS) return;
    uint64_t *rte = &io->s.rte[pin];
    if (reg & 1) {
        *rte = (*rte & 0xffffffff) | (uint64_t)(value & rte_high_writable) << 32;
        return;
    }
    *rte = (*rte & ~(uint64_t)rte_low_writable) | (value & rte_low_writable);
    /* An edge entry has no remote IRR: operating systems clear a stuck one this way. */
    if (!(*rte & RTE_LEVEL)) *rte &= ~(uint64_t)RTE_REMOTE_IRR;
    service_level(io, pin);
}

/* Bytes of the 32-bit register at `reg`, accessed at any size inside it. */
static uint64_t slice(uint32_t value, uint32_t offset, uint32_t size)
{
    uint32_t byte = offset & 15;
    if (byte + size > 4) return size >= 8 && byte == 0 ? value : 0;
    return value >> byte * 8 & ((UINT64_C(1) << size * 8) - 1);
}

uint64_t io_apic_mmio_read(struct io_apic *io, uint32_t offset, uint32_t size)
{
    switch (offset & 0xf0) {
    case WINDOW_SELECT: return slice(io->s.select, offset, size);
    case WINDOW_DATA: return slice(reg_read(io), offset, size);
    default: return 0;
    }
}

void io_apic_mmio_write(struct io_apic *io, uint32_t offset, uint32_t size, uint64_t value)
{
    if (offset & 15) return;
    switch (offset & 0xf0) {
    case WINDOW_SELECT: io->s.select = (uint8_t)value; break;
    case WINDOW_DATA:
        if (size >= 4) reg_write(io, (uint32_t)value);
        break;
    case WINDOW_EOI: io_apic_eoi(io, (uint8_t)value); break;
    default: break;
    }
}

bool io_apic_can_wake_masked(const struct io_apic *io)
{
    for (unsigned pin = 0; pin < IO_APIC_PINS; pin++) {
        unsigned d = delivery_of(io->s.rte[pin]);
        if (!(io->s.rte[pin] & RTE_MASKED) && (d == APIC_SMI || d == APIC_NMI || d == APIC_INIT)) return true;
    }
    return false;
}
