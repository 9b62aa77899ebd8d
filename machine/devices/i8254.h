/* SPDX-License-Identifier: MIT */
/* 8254 programmable interval timer: channel 0 drives IRQ 0, channel 2 the speaker and port 61h. 8254
 * data sheet. Counts are functions of time: ticks of 1.193182 MHz since the count was loaded. */
#ifndef UV_MACHINE_I8254_H
#define UV_MACHINE_I8254_H

#include "machine/clock.h"
#include "machine/irq.h"

struct i8254_channel {
    uint64_t start;       /* tick at which the count was loaded (running) */
    uint64_t held;        /* ticks counted so far (stopped by the gate) */
    uint16_t reload;      /* as written; 0 is the largest count */
    uint16_t next_reload; /* modes 2 and 3: in force from the next period */
    uint16_t latch;
    uint8_t mode;   /* 0-5 */
    uint8_t access; /* 1 low, 2 high, 3 low then high */
    uint8_t bcd, gate;
    uint8_t loaded; /* a count has been written since the control word */
    uint8_t running;
    uint8_t next_valid;
    uint8_t write_low, write_high; /* low byte waiting for its high byte */
    uint8_t read_high;             /* the next read gives the high byte */
    uint8_t count_latched, status_latched, status;
    uint8_t null_count;
};

struct i8254_state {
    struct i8254_channel channel[3];
};

struct i8254 {
    struct i8254_state s;
    struct clock *clock;
    struct irq_board *irq;
    struct timer timer;
};

void i8254_setup(struct i8254 *p, struct clock *clock, struct irq_board *irq);
void i8254_reset(struct i8254 *p);
uint32_t i8254_read(void *opaque, uint16_t port, uint32_t size);
void i8254_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
void i8254_set_gate(struct i8254 *p, unsigned channel, bool gate);
bool i8254_out(struct i8254 *p, unsigned channel);
void i8254_visit(struct i8254 *p, struct visitor *v);

#endif
