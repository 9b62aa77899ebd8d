/* SPDX-License-Identifier: MIT */
/* HPET: main counter, one-shot and periodic comparators, legacy replacement. IA-PC HPET 1.0a, 2.3. */
#include "machine/devices/hpet.h"

#include "machine/board.h"

enum { CONF_ENABLE = 1, CONF_LEGACY = 2 };
enum {
    TN_LEVEL = 1 << 1,
    TN_INT_ENABLE = 1 << 2,
    TN_PERIODIC = 1 << 3,
    TN_PERIODIC_CAP = 1 << 4,
    TN_SIZE_CAP = 1 << 5,
    TN_VALUE_SET = 1 << 6,
    TN_32BIT = 1 << 8,
    TN_ROUTE_SHIFT = 9
};
#define TN_WRITABLE UINT64_C(0x3f4e)              /* level, enable, periodic, value set, 32-bit, route */
#define TN_ROUTE_CAP (UINT64_C(0x00ff0000) << 32) /* I/O APIC pins 16 to 23 */

static uint64_t tick_now(const struct hpet *h) { return clock_ticks(clock_now(h->clock), BOARD_HPET_HZ); }
static bool enabled(const struct hpet *h) { return (h->s.config & CONF_ENABLE) != 0; }

static uint64_t counter(const struct hpet *h)
{
    uint64_t now = tick_now(h);
    return enabled(h) && now > h->s.start ? h->s.base + (now - h->s.start) : h->s.base;
}

static unsigned line_of(const struct hpet *h, unsigned i)
{
    if ((h->s.config & CONF_LEGACY) && i < 2) return i == 0 ? BOARD_IRQ_PIT : BOARD_IRQ_RTC;
    unsigned route = (unsigned)(h->s.timer[i].config >> TN_ROUTE_SHIFT & 31);
    return TN_ROUTE_CAP >> 32 >> route & 1 ? route : IRQ_LINES; /* elsewhere: not connected */
}

/* Several timers may share a line; the source is one, so the level is the union over them. */
static void drive_line(struct hpet *h, unsigned line)
{
    bool level = false;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        const struct hpet_timer_state *t = &h->s.timer[i];
        if (line_of(h, i) == line && (t->config & TN_LEVEL) && (t->config & TN_INT_ENABLE) &&
            (h->s.status >> i & 1))
            level = true;
    }
    irq_set(h->irq, line, IRQ_SRC_HPET, level);
}

static void drive_all(struct hpet *h)
{
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        drive_line(h, line_of(h, i));
}

/* Arms the next match of a comparator as seen from the counter now. */
static void arm(struct hpet *h, unsigned i)
{
    struct hpet_timer_state *t = &h->s.timer[i];
    t->due = UINT64_MAX;
    if (enabled(h)) {
        uint64_t distance = t->comparator - counter(h);
        if (t->config & TN_32BIT) distance &= 0xffffffff;
        uint64_t tick = tick_now(h);
        /* Beyond about 290 years of machine time nothing happens any more. */
        if (distance < UINT64_C(1) << 60) t->due = tick + distance;
    }
    clock_arm(h->clock, &h->unit[i].timer,
              t->due == UINT64_MAX ? CLOCK_NEVER : clock_cycle_of(t->due, BOARD_HPET_HZ));
}

static void match(void *opaque)
{
    struct hpet_unit *u = opaque;
    struct hpet *h = u->hpet;
    struct hpet_timer_state *t = &h->s.timer[u->index];
    if (t->config & TN_INT_ENABLE) {
        unsigned line = line_of(h, u->index);
        if (t->config & TN_LEVEL)
            h->s.status |= UINT64_C(1) << u->index;
        else
            irq_set(h->irq, line, IRQ_SRC_HPET, true); /* a pulse: drive_line() takes it back */
        drive_line(h, line);
    } else if (t->config & TN_LEVEL) {
        h->s.status |= UINT64_C(1) << u->index;
    }
    uint64_t step = 0;
    if ((t->config & TN_PERIODIC) && t->period) {
        step = t->config & TN_32BIT ? t->period & 0xffffffff : t->period;
        t->comparator += step;
        if (t->config & TN_32BIT) t->comparator &= 0xffffffff;
    } else if (t->config & TN_32BIT) {
        step = UINT64_C(1) << 32; /* the counter comes round */
    }
    t->due = step && step < UINT64_C(1) << 60 ? t->due + step : UINT64_MAX;
    clock_arm(h->clock, &u->timer,
              t->due == UINT64_MAX ? CLOCK_NEVER : clock_cycle_of(t->due, BOARD_HPET_HZ));
}

void hpet_setup(struct hpet *h, struct clock *clock, struct irq_board *irq)
{
    *h = (struct hpet){.clock = clock, .irq = irq};
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        h->unit[i].hpet = h;
        h->unit[i].index = i;
        clock_register(clock, &h->unit[i].timer, match, &h->unit[i]);
    }
}

void hpet_reset(struct hpet *h)
{
    h->s = (struct hpet_state){0};
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        h->s.timer[i].comparator = UINT64_MAX;
        h->s.timer[i].due = UINT64_MAX;
        clock_cancel(h->clock, &h->unit[i].timer);
    }
}

static uint64_t read64(struct hpet *h, uint64_t offset)
{
    switch (offset) {
    case 0x000:
        return BOARD_HPET_PERIOD_FS << 32 | UINT64_C(0x80860000) | 1u << 15 | 1u << 13 |
               (HPET_TIMERS - 1) << 8 | 1;
    case 0x010: return h->s.config;
    case 0x020: return h->s.status;
    case 0x0f0: return counter(h);
    default: break;
    }
    if (offset < 0x100 || offset >= 0x100 + HPET_TIMERS * 0x20) return 0;
    unsigned i = (unsigned)(offset - 0x100) / 0x20;
    switch (offset & 0x1f) {
    case 0x00: return h->s.timer[i].config | TN_ROUTE_CAP | TN_PERIODIC_CAP | TN_SIZE_CAP;
    case 0x08: return h->s.timer[i].comparator;
    default: return 0;
    }
}

uint64_t hpet_read(void *opaque, uint64_t offset, uint32_t size)
{
    uint64_t value = read64(opaque, offset & ~UINT64_C(7));
    value >>= (offset & 7) * 8;
    return size >= 8 ? value : value & ((UINT64_C(1) << size * 8) - 1);
}

static void write_config(struct hpet *h, uint64_t value)
{
    uint64_t old = h->s.config;
    if ((value & CONF_ENABLE) && !(old & CONF_ENABLE)) h->s.start = tick_now(h);
    if (!(value & CONF_ENABLE) && (old & CONF_ENABLE)) h->s.base = counter(h);
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        irq_set(h->irq, line_of(h, i), IRQ_SRC_HPET, false);
    h->s.config = value & (CONF_ENABLE | CONF_LEGACY);
    irq_replace_legacy(h->irq, (h->s.config & CONF_LEGACY) != 0);
    drive_all(h);
    if ((old ^ value) & CONF_ENABLE)
        for (unsigned i = 0; i < HPET_TIMERS; i++)
            arm(h, i);
}

static void write_timer_config(struct hpet *h, unsigned i, uint64_t value)
{
    struct hpet_timer_state *t = &h->s.timer[i];
    irq_set(h->irq, line_of(h, i), IRQ_SRC_HPET, false);
    t->config = value & TN_WRITABLE;
    if (t->config & TN_32BIT) t->comparator &= 0xffffffff;
    if (!(t->config & TN_LEVEL)) h->s.status &= ~(UINT64_C(1) << i);
    drive_all(h);
    arm(h, i);
}

/* With value-set or in one-shot mode the comparator itself is written. In periodic mode the last value
 * written is the period (IA-PC HPET 2.3.9.2.2: set the accumulator, then the period). */
static void write_comparator(struct hpet *h, unsigned i, uint64_t value)
{
    struct hpet_timer_state *t = &h->s.timer[i];
    if (t->config & TN_32BIT) value &= 0xffffffff;
    bool periodic = (t->config & TN_PERIODIC) != 0;
    if (!periodic || (t->config & TN_VALUE_SET)) t->comparator = value;
    if (periodic) t->period = value;
    t->config &= ~(uint64_t)TN_VALUE_SET;
    arm(h, i);
}

static void write64(struct hpet *h, uint64_t offset, uint64_t value)
{
    switch (offset) {
    case 0x010: write_config(h, value); return;
    case 0x020:
        h->s.status &= ~value;
        drive_all(h);
        return;
    case 0x0f0:
        h->s.base = value;
        h->s.start = tick_now(h);
        for (unsigned i = 0; i < HPET_TIMERS; i++)
            arm(h, i);
        return;
    default: break;
    }
    if (offset < 0x100 || offset >= 0x100 + HPET_TIMERS * 0x20) return;
    unsigned i = (unsigned)(offset - 0x100) / 0x20;
    if ((offset & 0x1f) == 0x00) write_timer_config(h, i, value);
    if ((offset & 0x1f) == 0x08) write_comparator(h, i, value);
}

void hpet_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct hpet *h = opaque;
    uint64_t aligned = offset & ~UINT64_C(7), shift = (offset & 7) * 8;
    if (size < 8) { /* the other bytes keep their value; status bits are written as 0 */
        uint64_t lane = ((UINT64_C(1) << size * 8) - 1) << shift;
        uint64_t old = aligned == 0x020 ? 0 : read64(h, aligned);
        value = (old & ~lane) | (value << shift & lane);
        /* The upper half of a timer's configuration is read-only. */
        if ((aligned & 0x1f) == 0 && aligned >= 0x100 && shift >= 32) return;
    }
    write64(h, aligned, value);
}

void hpet_visit(struct hpet *h, struct visitor *v)
{
    visit_u64(v, &h->s.config);
    visit_u64(v, &h->s.status);
    visit_u64(v, &h->s.base);
    visit_u64(v, &h->s.start);
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        visit_u64(v, &h->s.timer[i].config);
        visit_u64(v, &h->s.timer[i].comparator);
        visit_u64(v, &h->s.timer[i].period);
        visit_u64(v, &h->s.timer[i].due);
    }
}
