/* SPDX-License-Identifier: MIT */
/* Port accesses: found by table, split where a device is narrower than the access or the access leaves
 * its region, as an ISA bridge does. Unclaimed ports read all ones and drop writes. */
#include "machine/ports.h"

#include <string.h>

_Static_assert(PORTS_MAX_REGIONS <= 256, "owner[] holds a byte");

void ports_init(struct ports *p)
{
    memset(p, 0, sizeof *p);
    p->count = 1;
}

bool ports_add(struct ports *p, const struct port_region *region)
{
    uint32_t slot = 0;
    for (uint32_t i = 1; i < p->count && !slot; i++)
        if (!p->region[i].name) slot = i;
    if (!slot) {
        if (p->count == PORTS_MAX_REGIONS) return false;
        slot = p->count++;
    }
    for (uint32_t port = region->first; port <= region->last; port++)
        if (p->owner[port]) return false;
    p->region[slot] = *region;
    memset(p->owner + region->first, (int)slot, region->last - region->first + 1u);
    return true;
}

void ports_remove(struct ports *p, const void *opaque, uint16_t first)
{
    struct port_region *r = &p->region[p->owner[first]];
    if (!p->owner[first] || r->opaque != opaque || r->first != first) return;
    memset(p->owner + r->first, 0, r->last - r->first + 1u);
    *r = (struct port_region){0};
}

static const struct port_region *find(const struct ports *p, uint16_t port, uint32_t size)
{
    uint8_t owner = p->owner[port];
    if (!owner) return NULL;
    const struct port_region *r = &p->region[owner];
    return size <= r->max_size && (uint32_t)port + size - 1 <= r->last ? r : NULL;
}

uint32_t ports_read(struct ports *p, uint16_t port, uint32_t size)
{
    const struct port_region *r = find(p, port, size);
    if (r) return r->read ? r->read(r->opaque, port, size) : UINT32_MAX >> (32 - 8 * size);
    if (size == 1) return 0xff;
    uint32_t half = size / 2;
    uint32_t low = ports_read(p, port, half);
    return low | ports_read(p, (uint16_t)(port + half), half) << 8 * half;
}

void ports_write(struct ports *p, uint16_t port, uint32_t size, uint32_t value)
{
    const struct port_region *r = find(p, port, size);
    if (r) {
        if (r->write) r->write(r->opaque, port, size, value);
        return;
    }
    if (size == 1) return;
    uint32_t half = size / 2;
    ports_write(p, port, half, value & UINT32_MAX >> (32 - 8 * half));
    ports_write(p, (uint16_t)(port + half), half, value >> 8 * half);
}
