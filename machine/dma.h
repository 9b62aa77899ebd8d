/* SPDX-License-Identifier: MIT */
/* Memory accesses by devices. Unlike machine_memory_write() they may happen in the middle of an
 * instruction, so code that was decoded from the bytes is invalidated the way a store does it. */
#ifndef UV_MACHINE_DMA_H
#define UV_MACHINE_DMA_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

/* False: a byte of the range is not RAM; nothing has moved. Writes to ROM are dropped. */
bool dma_read_bytes(struct machine *m, uint64_t address, void *data, uint32_t n);
bool dma_write_bytes(struct machine *m, uint64_t address, const void *data, uint32_t n);

#endif
