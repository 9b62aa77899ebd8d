/* SPDX-License-Identifier: MIT */
/* 8254: six modes, latch and read-back commands. 8254 data sheet, "Mode definitions". */
#include "machine/devices/i8254.h"

#include "machine/board.h"

static uint64_t now_tick(const struct i8254 *p) { return clock_ticks(clock_now(p->clock), BOARD_PIT_HZ); }

static uint32_t from_bcd(uint32_t v)
{
    return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000;
}
static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint32_t modulus(const struct i8254_channel *c) { return c->bcd ? 10000 : 65536; }

static uint32_t count_of(const struct i8254_channel *c, uint16_t reload)
{
    uint32_t n = c->bcd ? from_bcd(reload) : reload;
    return n ? n : modulus(c);
}

static bool is_periodic(const struct i8254_channel *c) { return c->mode == 2 || c->mode == 3; }

static uint64_t elapsed(const struct i8254_channel *c, uint64_t tick)
{
    if (!c->running) return c->held;
    return tick > c->start ? tick - c->start : 0;
}

/* A count written in mode 2 or 3 takes over when the period then running ends. */
static void settle(struct i8254_channel *c, uint64_t tick)
{
    if (!c->next_valid || !c->running) return;
    uint64_t n = count_of(c, c->reload), gone = elapsed(c, tick);
    uint64_t mark = c->held; /* ticks into the count when the new one was written */
    uint64_t end = (mark / n + 1) * n;
    if (gone < end) return;
    c->start += end;
    c->reload = c->next_reload;
    c->next_valid = 0;
    c->held = 0;
    c->null_count = 0;
}

static bool out_at(const struct i8254_channel *c, uint64_t gone)
{
    if (!c->loaded) return c->mode != 0;
    uint64_t n = count_of(c, c->reload);
    switch (c->mode) {
    case 0: return gone >= n;
    case 1: return !c->running || gone >= n;
    case 2: return !c->gate || gone % n != n - 1 || n == 1;
    case 3: return !c->gate || gone % n < (n + 1) / 2;
    default: return !c->running || gone != n;
    }
}

static uint16_t count_at(const struct i8254_channel *c, uint64_t gone)
{
    if (!c->loaded) return c->reload;
    uint32_t n = count_of(c, c->reload), value;
    if (c->mode == 2) {
        value = n - (uint32_t)(gone % n);
    } else if (c->mode == 3) {
        uint32_t phase = (uint32_t)(gone % n), high = (n + 1) / 2;
        value = (n & ~1u) - 2 * (phase < high ? phase : phase - high);
    } else {
        value = (n + modulus(c) - (uint32_t)(gone % modulus(c))) % modulus(c);
    }
    value %= modulus(c);
    return c->bcd ? to_bcd(value) : (uint16_t)value;
}

/* Ticks into the count at which OUT changes next, ~0: never. */
static uint64_t next_change(const struct i8254_channel *c, uint64_t gone)
{
    if (!c->loaded || !c->running) return UINT64_MAX;
    uint64_t n = count_of(c, c->reload), base = gone - gone % n, phase = gone % n;
    switch (c->mode) {
    case 0:
    case 1: return gone < n ? n : UINT64_MAX;
    case 2: return n == 1 ? UINT64_MAX : phase < n - 1 ? base + n - 1 : base + n;
    case 3: return n == 1 ? UINT64_MAX : phase < (n + 1) / 2 ? base + (n + 1) / 2 : base + n;
    default: return gone < n ? n : gone == n ? n + 1 : UINT64_MAX;
    }
}

static void update(struct i8254 *p)
{
    struct i8254_channel *c = &p->s.channel[0];
    uint64_t tick = now_tick(p);
    settle(c, tick);
    uint64_t gone = elapsed(c, tick);
    irq_set(p->irq, BOARD_IRQ_PIT, IRQ_SRC_PIT, out_at(c, gone));
    uint64_t change = next_change(c, gone);
    clock_arm(p->clock, &p->timer,
              change == UINT64_MAX ? CLOCK_NEVER : clock_cycle_of(c->start + change, BOARD_PIT_HZ));
}

static void on_timer(void *opaque) { update(opaque); }

void i8254_setup(struct i8254 *p, struct clock *clock, struct irq_board *irq)
{
    *p = (struct i8254){.clock = clock, .irq = irq};
    clock_register(clock, &p->timer, on_timer, p);
}

void i8254_reset(struct i8254 *p)
{
    p->s = (struct i8254_state){0};
    for (unsigned i = 0; i < 3; i++) {
        p->s.channel[i].mode = 3;
        p->s.channel[i].access = 3;
        p->s.channel[i].gate = i != 2;
        p->s.channel[i].null_count = 1;
    }
    clock_cancel(p->clock, &p->timer);
}

/* The count written last is loaded with the next tick. */
static void load(struct i8254 *p, struct i8254_channel *c, uint16_t value)
{
    uint64_t tick = now_tick(p);
    settle(c, tick);
    if (is_periodic(c) && c->loaded && c->running) {
        if (!c->next_valid) c->held = elapsed(c, tick);
        c->next_reload = value;
        c->next_valid = 1;
        c->null_count = 1;
        return;
    }
    c->reload = value;
    if ((c->mode == 1 || c->mode == 5) && c->loaded) return; /* in force from the next trigger */
    c->loaded = 1;
    c->held = 0;
    c->null_count = 0;
    c->running = c->mode == 1 || c->mode == 5 ? 0 : c->gate;
    c->start = tick + 1;
}

static void write_count(struct i8254 *p, unsigned channel, uint8_t value)
{
    struct i8254_channel *c = &p->s.channel[channel];
    if (c->access == 1) {
        load(p, c, value);
    } else if (c->access == 2) {
        load(p, c, (uint16_t)(value << 8));
    } else if (!c->write_high) {
        c->write_low = value;
        c->write_high = 1;
        if (c->mode == 0) { /* the first byte stops a count in mode 0 */
            c->held = elapsed(c, now_tick(p));
            c->running = 0;
            c->loaded = 0;
        }
    } else {
        c->write_high = 0;
        load(p, c, (uint16_t)(value << 8 | c->write_low));
    }
    if (channel == 0) update(p);
}

static void latch_count(struct i8254 *p, struct i8254_channel *c)
{
    if (c->count_latched) return;
    uint64_t tick = now_tick(p);
    settle(c, tick);
    c->latch = count_at(c, elapsed(c, tick));
    c->count_latched = c->access == 3 ? 2 : 1;
}

static void latch_status(struct i8254 *p, struct i8254_channel *c)
{
    if (c->status_latched) return;
    uint64_t tick = now_tick(p);
    settle(c, tick);
    bool null = c->null_count || (c->running && tick < c->start);
    c->status =
        (uint8_t)(out_at(c, elapsed(c, tick)) << 7 | null << 6 | c->access << 4 | c->mode << 1 | c->bcd);
    c->status_latched = 1;
}

static void write_control(struct i8254 *p, uint8_t value)
{
    unsigned select = value >> 6;
    if (select == 3) {
        for (unsigned i = 0; i < 3; i++) {
            if (!(value >> (1 + i) & 1)) continue;
            if (!(value & 0x20)) latch_count(p, &p->s.channel[i]);
            if (!(value & 0x10)) latch_status(p, &p->s.channel[i]);
        }
        return;
    }
    struct i8254_channel *c = &p->s.channel[select];
    uint8_t access = value >> 4 & 3;
    if (access == 0) {
        latch_count(p, c);
        return;
    }
    uint8_t mode = value >> 1 & 7;
    *c = (struct i8254_channel){.mode = mode > 5 ? mode - 4 : mode,
                                .access = access,
                                .bcd = value & 1,
                                .gate = c->gate,
                                .null_count = 1};
    if (select == 0) update(p);
}

static uint8_t read_count(struct i8254 *p, struct i8254_channel *c)
{
    if (c->status_latched) {
        c->status_latched = 0;
        return c->status;
    }
    uint16_t value;
    if (c->count_latched) {
        value = c->latch;
        c->count_latched--;
    } else {
        uint64_t tick = now_tick(p);
        settle(c, tick);
        value = count_at(c, elapsed(c, tick));
    }
    bool high = c->access == 2 || (c->access == 3 && c->read_high);
    if (c->access == 3) c->read_high ^= 1;
    return (uint8_t)(high ? value >> 8 : value);
}

uint32_t i8254_read(void *opaque, uint16_t port, uint32_t size)
{
    struct i8254 *p = opaque;
    (void)size;
    unsigned channel = port & 3;
    return channel == 3 ? 0xff : read_count(p, &p->s.channel[channel]);
}

void i8254_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct i8254 *p = opaque;
    (void)size;
    unsigned channel = port & 3;
    if (channel == 3)
        write_control(p, (uint8_t)value);
    else
        write_count(p, channel, (uint8_t)value);
}

void i8254_set_gate(struct i8254 *p, unsigned channel, bool gate)
{
    struct i8254_channel *c = &p->s.channel[channel];
    if (c->gate == gate) return;
    uint64_t tick = now_tick(p);
    settle(c, tick);
    c->gate = gate;
    if (!c->loaded) return;
    if (c->mode == 1 || c->mode == 5) {
        if (gate) { /* trigger */
            c->running = 1;
            c->held = 0;
            c->start = tick + 1;
            c->null_count = 0;
        }
    } else if (!gate) {
        c->held = elapsed(c, tick);
        c->running = 0;
    } else {
        if (is_periodic(c)) { /* a rising gate starts the period afresh */
            if (c->next_valid) c->reload = c->next_reload;
            c->next_valid = 0;
            c->held = 0;
        }
        c->start = tick + (c->held ? 0 : 1) - c->held;
        c->held = 0;
        c->running = 1;
    }
    if (channel == 0) update(p);
}

bool i8254_out(struct i8254 *p, unsigned channel)
{
    struct i8254_channel *c = &p->s.channel[channel];
    uint64_t tick = now_tick(p);
    settle(c, tick);
    return out_at(c, elapsed(c, tick));
}

void i8254_visit(struct i8254 *p, struct visitor *v)
{
    for (unsigned i = 0; i < 3; i++) {
        struct i8254_channel *c = &p->s.channel[i];
        visit_u64(v, &c->start);
        visit_u64(v, &c->held);
        visit_u16(v, &c->reload);
        visit_u16(v, &c->next_reload);
        visit_u16(v, &c->latch);
        visit_u8(v, &c->mode);
        visit_check_below(v, c->mode, 6);
        visit_u8(v, &c->access);
        visit_u8(v, &c->bcd);
        visit_u8(v, &c->gate);
        visit_u8(v, &c->loaded);
        visit_u8(v, &c->running);
        visit_u8(v, &c->next_valid);
        visit_u8(v, &c->write_low);
        visit_u8(v, &c->write_high);
        visit_u8(v, &c->read_high);
        visit_u8(v, &c->count_latched);
        visit_u8(v, &c->status_latched);
        visit_u8(v, &c->status);
        visit_u8(v, &c->null_count);
    }
}
