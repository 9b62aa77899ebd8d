/* SPDX-License-Identifier: MIT */
/* Machine time and the event queue. One cycle is one nanosecond. Events are ordered by (cycle, sequence
 * number of arming), so two events of the same cycle fire in the order in which they were armed. Timers
 * are embedded in their devices: arming allocates nothing. Frequencies convert exactly: tick n of a
 * clock of f Hz begins at cycle ceil(n * 10^9 / f), so nothing drifts however long a run is. */
#ifndef UV_MACHINE_CLOCK_H
#define UV_MACHINE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "machine/visit.h"

#define CLOCK_HZ UINT64_C(1000000000)
#define CLOCK_NEVER UINT64_MAX

enum { CLOCK_MAX_TIMERS = 256 };

typedef void timer_fn(void *opaque);

struct timer {
    uint64_t cycle;
    uint64_t sequence;
    timer_fn *fn;
    void *opaque;
    uint32_t slot; /* place in the heap + 1; 0: not armed */
};

struct clock {
    uint64_t now;        /* of the last event or scheduling decision; see clock_now() */
    uint64_t latest;     /* latest time that a device has seen: it never goes back between two vCPUs */
    uint64_t sequence;   /* of the next arming */
    struct cpu *running; /* vCPU inside cpu_run(): its time is the time */
    uint64_t turn_limit; /* where the turn of a vCPU ends (run.c): never beyond the next event */
    uint32_t armed, registered;
    struct timer *heap[CLOCK_MAX_TIMERS];
    struct timer *all[CLOCK_MAX_TIMERS]; /* in order of registration: canonical for snapshots */
};

void clock_init(struct clock *k);
/* Forgets all armed events and sets the time to 0; registrations stay. */
void clock_reset(struct clock *k);
void clock_register(struct clock *k, struct timer *t, timer_fn *fn, void *opaque);
/* (Re)arms: fires once at `cycle`, or as soon as possible when that has passed. CLOCK_NEVER cancels. */
void clock_arm(struct clock *k, struct timer *t, uint64_t cycle);
void clock_cancel(struct clock *k, struct timer *t);
/* The turn under way ends at `cycle` or, when that has passed, at once. */
void clock_limit(struct clock *k, uint64_t cycle);
/* Cycle of the earliest event, CLOCK_NEVER when there is none. */
uint64_t clock_next(const struct clock *k);
/* Fires everything due at or before `until`, in order, each with `now` at its own cycle. */
void clock_run(struct clock *k, uint64_t until);
void clock_visit(struct clock *k, struct visitor *v);

/* Time as a device sees it: of the event being handled, else of the running vCPU. */
static inline uint64_t clock_now(struct clock *k)
{
    if (!k->running) return k->now;
    uint64_t t = cpu_now(k->running);
    if (t > k->latest) k->latest = t;
    return k->latest;
}
static inline bool timer_armed(const struct timer *t) { return t->slot != 0; }

/* Ticks of a clock of `hz` that have begun by `cycle`; first cycle of tick n. hz up to 10^9. */
static inline uint64_t clock_ticks(uint64_t cycle, uint64_t hz)
{
    return cycle / CLOCK_HZ * hz + cycle % CLOCK_HZ * hz / CLOCK_HZ;
}
static inline uint64_t clock_cycle_of(uint64_t tick, uint64_t hz)
{
    return tick / hz * CLOCK_HZ + (tick % hz * CLOCK_HZ + hz - 1) / hz;
}

#endif
