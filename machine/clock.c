/* SPDX-License-Identifier: MIT */
/* The event queue: a binary heap over timers embedded in their owners. */
#include "machine/clock.h"

static bool before(const struct timer *a, const struct timer *b)
{
    return a->cycle != b->cycle ? a->cycle < b->cycle : a->sequence < b->sequence;
}

static void place(struct clock *k, uint32_t at, struct timer *t)
{
    k->heap[at] = t;
    t->slot = at + 1;
}

static void sift_up(struct clock *k, uint32_t at, struct timer *t)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (!before(t, k->heap[parent])) break;
        place(k, at, k->heap[parent]);
        at = parent;
    }
    place(k, at, t);
}

static void sift_down(struct clock *k, uint32_t at, struct timer *t)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= k->armed) break;
        if (child + 1 < k->armed && before(k->heap[child + 1], k->heap[child])) child++;
        if (!before(k->heap[child], t)) break;
        place(k, at, k->heap[child]);
        at = child;
    }
    place(k, at, t);
}

static void remove_timer(struct clock *k, struct timer *t)
{
    uint32_t at = t->slot - 1;
    struct timer *last = k->heap[--k->armed];
    t->slot = 0;
    if (last == t) return;
    if (at > 0 && before(last, k->heap[(at - 1) / 2]))
        sift_up(k, at, last);
    else
        sift_down(k, at, last);
}

void clock_init(struct clock *k) { *k = (struct clock){0}; }

void clock_reset(struct clock *k)
{
    for (uint32_t i = 0; i < k->registered; i++)
        k->all[i]->slot = 0;
    k->armed = 0;
    k->now = k->latest = k->turn_limit = 0;
    k->sequence = 0;
}

void clock_register(struct clock *k, struct timer *t, timer_fn *fn, void *opaque)
{
    *t = (struct timer){.fn = fn, .opaque = opaque};
    if (k->registered < CLOCK_MAX_TIMERS) k->all[k->registered++] = t;
}

void clock_arm(struct clock *k, struct timer *t, uint64_t cycle)
{
    if (t->slot) remove_timer(k, t);
    if (cycle == CLOCK_NEVER) return;
    t->cycle = cycle;
    t->sequence = k->sequence++;
    sift_up(k, k->armed++, t);
    clock_limit(k, cycle); /* the vCPU that is running must not run past it */
}

void clock_limit(struct clock *k, uint64_t cycle)
{
    if (k->running && cycle < cpu_now(k->running)) cycle = cpu_now(k->running);
    if (cycle < k->turn_limit) k->turn_limit = cycle;
    if (k->running) cpu_limit(k->running, cycle);
}

void clock_cancel(struct clock *k, struct timer *t)
{
    if (t->slot) remove_timer(k, t);
}

uint64_t clock_next(const struct clock *k) { return k->armed ? k->heap[0]->cycle : CLOCK_NEVER; }

void clock_run(struct clock *k, uint64_t until)
{
    while (k->armed && k->heap[0]->cycle <= until) {
        struct timer *t = k->heap[0];
        remove_timer(k, t);
        if (t->cycle > k->now) k->now = t->cycle;
        t->fn(t->opaque);
    }
    if (until > k->now) k->now = until;
}

void clock_visit(struct clock *k, struct visitor *v)
{
    visit_u64(v, &k->now);
    visit_u64(v, &k->latest);
    visit_u64(v, &k->sequence);
    uint32_t registered = k->registered;
    visit_u32(v, &registered);
    if (registered != k->registered) {
        v->failed = true;
        return;
    }
    if (v->loading) k->armed = 0;
    for (uint32_t i = 0; i < k->registered; i++) {
        struct timer *t = k->all[i];
        bool armed = t->slot != 0;
        visit_bool(v, &armed);
        if (v->loading) t->slot = 0;
        if (!armed) continue;
        visit_u64(v, &t->cycle);
        visit_u64(v, &t->sequence);
        if (v->loading) sift_up(k, k->armed++, t);
    }
}
