/* SPDX-License-Identifier: MIT */
/* The I/O port space: 65536 byte ports, each claimed by at most one region. */
#ifndef UV_MACHINE_PORTS_H
#define UV_MACHINE_PORTS_H

#include <stdbool.h>
#include <stdint.h>

enum { PORTS_MAX_REGIONS = 96 };

typedef uint32_t port_read_fn(void *opaque, uint16_t port, uint32_t size);
typedef void port_write_fn(void *opaque, uint16_t port, uint32_t size, uint32_t value);

struct port_region {
    const char *name;
    uint16_t first, last;
    uint8_t max_size;     /* wider accesses arrive as several accesses of half the width, low port first */
    port_read_fn *read;   /* NULL: reads all ones */
    port_write_fn *write; /* NULL: drops */
    void *opaque;
};

struct ports {
    uint32_t count; /* region[0] stays unused: 0 means unclaimed */
    struct port_region region[PORTS_MAX_REGIONS];
    uint8_t owner[65536];
};

void ports_init(struct ports *p);
/* False: no place left, or a port of the range is taken. */
bool ports_add(struct ports *p, const struct port_region *region);
/* Moves or removes (count 0) a region added before: chipset windows that software relocates. */
void ports_remove(struct ports *p, const void *opaque, uint16_t first);
uint32_t ports_read(struct ports *p, uint16_t port, uint32_t size);
void ports_write(struct ports *p, uint16_t port, uint32_t size, uint32_t value);

#endif
