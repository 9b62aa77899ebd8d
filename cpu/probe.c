/* SPDX-License-Identifier: MIT */
/* The probe bus: subscribers in the order of their subscription. Without one, a probe costs the test of a
 * mask (probe.h). */
#include <stdbool.h>
#include <stddef.h>

#include "cpu/probe.h"

static void update_mask(struct probe_bus *bus)
{
    bus->mask = 0;
    for (uint32_t i = 0; i < bus->count; i++)
        bus->mask |= bus->sub[i].mask;
}

bool probe_subscribe(struct probe_bus *bus, probe_fn *fn, void *opaque, uint64_t mask)
{
    if (bus->count == PROBE_MAX_SUBSCRIBERS) return false;
    bus->sub[bus->count++] = (struct probe_subscriber){.fn = fn, .opaque = opaque, .mask = mask};
    update_mask(bus);
    return true;
}

void probe_unsubscribe(struct probe_bus *bus, probe_fn *fn, void *opaque)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < bus->count; i++)
        if (bus->sub[i].fn != fn || bus->sub[i].opaque != opaque) bus->sub[kept++] = bus->sub[i];
    bus->count = kept;
    update_mask(bus);
}

void probe_emit(struct probe_bus *bus, struct cpu *c, enum probe_point point, uint64_t a, uint64_t b)
{
    for (uint32_t i = 0; i < bus->count; i++)
        if (bus->sub[i].mask >> point & 1) bus->sub[i].fn(bus->sub[i].opaque, c, point, a, b);
}
