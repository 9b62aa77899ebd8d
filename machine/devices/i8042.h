/* SPDX-License-Identifier: MIT */
/* i8042 keyboard controller with a keyboard that answers commands and no mouse. */
#ifndef UV_MACHINE_I8042_H
#define UV_MACHINE_I8042_H

#include "machine/irq.h"
#include "machine/visit.h"

enum { I8042_QUEUE = 16 };

struct i8042_state {
    uint8_t status;      /* SYS and command/data bits; the rest is computed */
    uint8_t ctr;         /* controller command byte */
    uint8_t command;     /* waiting for its parameter at port 60h; 0: none */
    uint8_t out_port;    /* bit 0 reset (active low), bit 1 A20 */
    uint8_t kbd_command; /* keyboard command waiting for its parameter */
    uint8_t ram[32];
    uint8_t queue[I8042_QUEUE];
    uint8_t from_aux[I8042_QUEUE];
    uint8_t head, count;
};

struct i8042 {
    struct i8042_state s;
    struct irq_board *irq;
    void (*reset_pulse)(void *opaque);
    void (*a20)(void *opaque, bool enabled);
    void *opaque;
};

void i8042_setup(struct i8042 *k, struct irq_board *irq, void (*reset_pulse)(void *),
                 void (*a20)(void *, bool), void *opaque);
void i8042_reset(struct i8042 *k);
uint32_t i8042_read(void *opaque, uint16_t port, uint32_t size);
void i8042_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
/* Port 92h and firmware change A20 too: the output port shows it. */
void i8042_note_a20(struct i8042 *k, bool enabled);
void i8042_visit(struct i8042 *k, struct visitor *v);

#endif
