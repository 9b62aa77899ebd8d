/* SPDX-License-Identifier: MIT */
/* The local APIC timer: one-shot, periodic, TSC-deadline. SDM 3A 11.5.4. The count is a function of
 * time: `timer_count` at cycle `timer_start`, one less every LAPIC_TIMER_CYCLES * divisor. */
#include "apic/local_apic_timer.h"

static bool is_deadline(const struct local_apic *l) { return (l->s.lvt[LVT_TIMER] & LVT_DEADLINE) != 0; }

/* Cycles of one count. Bits 3, 1, 0 of the divide register: 2, 4, ... 128, then 1. */
static uint64_t count_cycles(const struct local_apic *l)
{
    uint32_t code = (l->s.divide & 3) | (l->s.divide >> 1 & 4);
    return (uint64_t)LAPIC_TIMER_CYCLES << ((code + 1) & 7);
}

uint32_t local_apic_timer_current(const struct local_apic *l)
{
    if (is_deadline(l) || l->s.timer_count == 0) return 0;
    uint64_t now = l->ops->now(l->opaque, l->cpu_id);
    uint64_t gone = now > l->s.timer_start ? (now - l->s.timer_start) / count_cycles(l) : 0;
    return gone >= l->s.timer_count ? 0 : l->s.timer_count - (uint32_t)gone;
}

void local_apic_rearm(struct local_apic *l)
{
    uint64_t due = LAPIC_NEVER;
    if (is_deadline(l)) {
        if (l->s.tsc_deadline) {
            uint64_t now = l->ops->now(l->opaque, l->cpu_id), tsc = l->ops->tsc(l->opaque, l->cpu_id);
            uint64_t wait = l->s.tsc_deadline > tsc ? l->s.tsc_deadline - tsc : 0;
            if (wait < LAPIC_NEVER - now) due = now + wait;
        }
    } else if (l->s.timer_count) {
        due = l->s.timer_start + l->s.timer_count * count_cycles(l);
    }
    l->ops->arm(l->opaque, l->cpu_id, due);
}

void local_apic_timer(struct local_apic *l)
{
    struct local_apic_state *s = &l->s;
    uint64_t now = l->ops->now(l->opaque, l->cpu_id);
    if (is_deadline(l)) {
        if (s->tsc_deadline == 0) return;
        if (l->ops->tsc(l->opaque, l->cpu_id) >= s->tsc_deadline) {
            s->tsc_deadline = 0;
            local_apic_raise(l, LVT_TIMER);
        }
    } else {
        uint64_t due = s->timer_start + s->timer_count * count_cycles(l);
        if (s->timer_count == 0) return;
        if (now >= due) {
            /* The next period starts where this one ended, however late we were called. */
            s->timer_start = due;
            s->timer_count = s->lvt[LVT_TIMER] & LVT_PERIODIC ? s->initial_count : 0;
            local_apic_raise(l, LVT_TIMER);
        }
    }
    local_apic_rearm(l);
}

void local_apic_tsc_changed(struct local_apic *l)
{
    if (is_deadline(l) && l->s.tsc_deadline) local_apic_rearm(l);
}

void local_apic_timer_mode(struct local_apic *l, uint32_t old_lvt)
{
    if (((old_lvt ^ l->s.lvt[LVT_TIMER]) & LVT_DEADLINE) == 0) return;
    l->s.timer_count = 0;
    l->s.initial_count = 0;
    l->s.tsc_deadline = 0;
    local_apic_rearm(l);
}

void local_apic_timer_write_initial(struct local_apic *l, uint32_t value)
{
    if (is_deadline(l)) return;
    l->s.initial_count = value;
    l->s.timer_count = value;
    l->s.timer_start = l->ops->now(l->opaque, l->cpu_id);
    local_apic_rearm(l);
}

/* A running count keeps its value and goes on at the new pace. */
void local_apic_timer_write_divide(struct local_apic *l, uint32_t value)
{
    if (value == l->s.divide) return;
    local_apic_timer(l); /* a count that ends in this very cycle has ended */
    l->s.timer_count = local_apic_timer_current(l);
    l->s.timer_start = l->ops->now(l->opaque, l->cpu_id);
    l->s.divide = value;
    local_apic_rearm(l);
}

void local_apic_timer_write_deadline(struct local_apic *l, uint64_t value)
{
    if (!is_deadline(l)) return;
    l->s.tsc_deadline = value;
    local_apic_rearm(l);
}
