/* SPDX-License-Identifier: MIT */
/* Memory-mapped accesses. Unclaimed addresses read all ones and drop writes. */
#include "machine/mmio.h"

#include <stddef.h>

void mmio_init(struct mmio *m) { *m = (struct mmio){0}; }

bool mmio_add(struct mmio *m, const struct mmio_region *region)
{
    if (m->count == MMIO_MAX_REGIONS || region->length == 0) return false;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct mmio_region *r = &m->region[i];
        if (region->base < r->base + r->length && r->base < region->base + region->length) return false;
    }
    m->region[m->count++] = *region;
    return true;
}

void mmio_remove(struct mmio *m, const void *opaque, uint64_t base)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->region[i].opaque == opaque && m->region[i].base == base) {
            m->region[i] = m->region[--m->count];
            return;
        }
}

static const struct mmio_region *find(const struct mmio *m, uint64_t address, uint32_t size)
{
    for (uint32_t i = 0; i < m->count; i++) {
        const struct mmio_region *r = &m->region[i];
        if (address >= r->base && address - r->base < r->length)
            return r->length - (address - r->base) >= size ? r : NULL;
    }
    return NULL;
}

static uint64_t low_mask(uint32_t size) { return ~UINT64_C(0) >> (64 - 8 * size); }

uint64_t mmio_read(struct mmio *m, uint64_t address, uint32_t size)
{
    const struct mmio_region *r = find(m, address, size);
    if (!r) return low_mask(size);
    if (size <= r->max_size) return r->read(r->opaque, address - r->base, size) & low_mask(size);
    uint32_t half = size / 2;
    uint64_t low = mmio_read(m, address, half);
    return low | mmio_read(m, address + half, half) << 8 * half;
}

void mmio_write(struct mmio *m, uint64_t address, uint32_t size, uint64_t value)
{
    const struct mmio_region *r = find(m, address, size);
    if (!r) return;
    if (size <= r->max_size) {
        r->write(r->opaque, address - r->base, size, value & low_mask(size));
        return;
    }
    uint32_t half = size / 2;
    mmio_write(m, address, half, value & low_mask(half));
    mmio_write(m, address + half, half, value >> 8 * half & low_mask(half));
}
