/* SPDX-License-Identifier: MIT */
/* Small control ports of the chipset: 61h (timer gate and refresh), 92h (A20, fast reset), CF9h (reset
 * control), B2h/B3h (APM), 80h and the 8237 registers (latches), F0h/F1h (coprocessor error). */
#ifndef UV_MACHINE_SYSTEM_CONTROL_H
#define UV_MACHINE_SYSTEM_CONTROL_H

#include "machine/clock.h"
#include "machine/devices/i8254.h"

struct system_control_state {
    uint8_t port61, port92, reset_control, apm_control, apm_status;
    uint8_t page[16];    /* 80h-8Fh: DMA page registers and the diagnostic port */
    uint8_t dma[2][16];  /* 8237 registers as last written */
    uint8_t dma_flip[2]; /* byte pointer of each controller */
    uint16_t dma_word[2][8];
};

struct system_control {
    struct system_control_state s;
    struct clock *clock;
    struct i8254 *pit;
    void (*reset)(void *opaque);
    void (*a20)(void *opaque, bool enabled);
    void (*apm)(void *opaque, uint8_t command);
    void *opaque;
};

void system_control_reset(struct system_control *c);
uint32_t port61_read(void *opaque, uint16_t port, uint32_t size);
void port61_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
uint32_t port92_read(void *opaque, uint16_t port, uint32_t size);
void port92_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
uint32_t apm_read(void *opaque, uint16_t port, uint32_t size);
void apm_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
uint32_t dma_read(void *opaque, uint16_t port, uint32_t size);
void dma_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
/* CF9h, called by the PCI configuration ports that surround it. */
uint8_t reset_control_read(struct system_control *c);
void reset_control_write(struct system_control *c, uint8_t value);
void system_control_visit(struct system_control *c, struct visitor *v);

#endif
