/* SPDX-License-Identifier: MIT */
/* High-precision event timers: three comparators on a 64-bit counter of 100 MHz. IA-PC HPET 1.0a. */
#ifndef UV_MACHINE_HPET_H
#define UV_MACHINE_HPET_H

#include "machine/clock.h"
#include "machine/irq.h"

enum { HPET_TIMERS = 3 };

struct hpet_state {
    uint64_t config;
    uint64_t status;
    uint64_t base; /* counter value at tick `start` while enabled, the value while halted */
    uint64_t start;
    struct hpet_timer_state {
        uint64_t config, comparator, period;
        uint64_t due; /* tick of the next match, ~0 none */
    } timer[HPET_TIMERS];
};

struct hpet {
    struct hpet_state s;
    struct clock *clock;
    struct irq_board *irq;
    struct hpet_unit {
        struct timer timer;
        struct hpet *hpet;
        unsigned index;
    } unit[HPET_TIMERS];
};

void hpet_setup(struct hpet *h, struct clock *clock, struct irq_board *irq);
void hpet_reset(struct hpet *h);
uint64_t hpet_read(void *opaque, uint64_t offset, uint32_t size);
void hpet_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value);
void hpet_visit(struct hpet *h, struct visitor *v);

#endif
