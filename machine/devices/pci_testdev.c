/* SPDX-License-Identifier: MIT */
/* PCI test device. Header: +0 test (write selects), +1 width, +4 offset of the target in the BAR, +8 data to
 * write, +12 count, +16 name. The interface is the one that kvm-unit-tests drives. */
#include "machine/devices/pci_testdev.h"

#include <string.h>

enum { MEMORY = 0, IO = 1 };
enum { TESTS = 3, NAME = 16, TARGET = 0x80, DATA = 0xfa, MEMORY_SIZE = 0x1000, IO_SIZE = 0x100 };

static const char *const names[2][TESTS] = {
    {"mmio-no-eventfd", "mmio-wildcard-eventfd", "mmio-datamatch-eventfd"},
    {"portio-no-eventfd", "portio-wildcard-eventfd", "portio-datamatch-eventfd"},
};

static uint32_t target_of(uint8_t test) { return TARGET + 8u * test; }

static uint8_t header_byte(const struct pci_testdev *t, unsigned which, uint32_t offset)
{
    const struct pci_testdev_side *s = &t->side[which];
    if (offset == 0) return s->test;
    if (s->test >= TESTS) return 0;
    const char *name = names[which][s->test];
    switch (offset) {
    case 1: return 1; /* byte-wide */
    case 4: return (uint8_t)target_of(s->test);
    case 8: return DATA;
    case 12:
    case 13:
    case 14:
    case 15: return (uint8_t)(s->count >> (offset - 12) * 8);
    default: return offset >= NAME && offset - NAME < strlen(name) ? (uint8_t)name[offset - NAME] : 0;
    }
}

static uint32_t side_read(const struct pci_testdev *t, unsigned which, uint32_t offset, uint32_t size)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < size && i < 4; i++)
        value |= (uint32_t)header_byte(t, which, offset + i) << 8 * i;
    return value;
}

static void side_write(struct pci_testdev *t, unsigned which, uint32_t offset, uint32_t size, uint32_t value)
{
    struct pci_testdev_side *s = &t->side[which];
    if (offset == 0) {
        s->test = (uint8_t)value;
        s->count = 0;
    } else if (s->test < TESTS && offset == target_of(s->test) && size == 1 && (uint8_t)value == DATA) {
        s->count++;
    }
}

static uint64_t memory_read(void *opaque, uint64_t offset, uint32_t size)
{
    return side_read(opaque, MEMORY, (uint32_t)offset, size);
}
static void memory_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    side_write(opaque, MEMORY, (uint32_t)offset, size, (uint32_t)value);
}
/* Ports arrive absolute; BARs are aligned to their size. */
static uint32_t io_read(void *opaque, uint16_t port, uint32_t size)
{
    return side_read(opaque, IO, port & (IO_SIZE - 1), size);
}
static void io_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    side_write(opaque, IO, port & (IO_SIZE - 1), size, value);
}

bool pci_testdev_add(struct pci_testdev *t, struct pci *p, unsigned slot)
{
    struct pci_function *f = &t->function;
    pci_function_setup(f, "pci-testdev", 0x1b36, 0x0005, 0, 0x00ff00);
    f->opaque = t;
    pci_function_add_bar(
        f, 0, &(struct pci_bar){.size = MEMORY_SIZE, .mmio_read = memory_read, .mmio_write = memory_write});
    pci_function_add_bar(
        f, 1, &(struct pci_bar){.size = IO_SIZE, .io = true, .port_read = io_read, .port_write = io_write});
    return pci_add(p, f, slot, 0);
}

void pci_testdev_reset(struct pci_testdev *t) { memset(t->side, 0, sizeof t->side); }

void pci_testdev_visit(struct pci_testdev *t, struct visitor *v)
{
    for (unsigned i = 0; i < 2; i++) {
        visit_u8(v, &t->side[i].test);
        visit_u32(v, &t->side[i].count);
    }
}
