/* SPDX-License-Identifier: MIT */
/* Memory-mapped device regions above and between RAM. */
#ifndef UV_MACHINE_MMIO_H
#define UV_MACHINE_MMIO_H

#include <stdbool.h>
#include <stdint.h>

enum { MMIO_MAX_REGIONS = 64 };

/* offset is relative to the region; size 1, 2, 4 or 8. */
typedef uint64_t mmio_read_fn(void *opaque, uint64_t offset, uint32_t size);
typedef void mmio_write_fn(void *opaque, uint64_t offset, uint32_t size, uint64_t value);

struct mmio_region {
    const char *name;
    uint64_t base, length;
    uint8_t max_size; /* wider accesses arrive in halves */
    mmio_read_fn *read;
    mmio_write_fn *write;
    void *opaque;
};

struct mmio {
    uint32_t count;
    struct mmio_region region[MMIO_MAX_REGIONS];
};

void mmio_init(struct mmio *m);
bool mmio_add(struct mmio *m, const struct mmio_region *region);
void mmio_remove(struct mmio *m, const void *opaque, uint64_t base);
uint64_t mmio_read(struct mmio *m, uint64_t address, uint32_t size);
void mmio_write(struct mmio *m, uint64_t address, uint32_t size, uint64_t value);

#endif
