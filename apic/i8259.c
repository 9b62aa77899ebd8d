/* SPDX-License-Identifier: MIT */
/* 8259A pair: initialization and operation commands, fully nested, special nested, special mask,
 * rotating priorities, automatic EOI, polling. 8259A data sheet, "Programming the 8259A". */
#include "apic/i8259.h"

enum { CASCADE = 2 };
/* IRQ 0, 1, 2 and 8, 13 are edge-triggered by their wiring. */
static const uint8_t elcr_writable[2] = {0xf8, 0xde};

/* Distance from the highest priority: 0 is served first. */
static unsigned rank(const struct i8259_chip *c, unsigned input) { return (input - c->lowest - 1u) & 7; }

/* Input of the best rank in a set, or -1. */
static int best(const struct i8259_chip *c, uint8_t set)
{
    for (unsigned r = 0; r < 8; r++) {
        unsigned input = (c->lowest + 1u + r) & 7;
        if (set >> input & 1) return (int)input;
    }
    return -1;
}

/* The request that the chip would present, or -1. */
static int request(const struct i8259_chip *c, bool master)
{
    int want = best(c, c->irr & (uint8_t)~c->imr);
    if (want < 0) return -1;
    uint8_t in_service = c->isr;
    if (c->special_mask) in_service &= (uint8_t)~c->imr;
    /* A slave in service lets its own further requests through in special fully nested mode. */
    if (master && c->special_nested && want == CASCADE) in_service &= (uint8_t) ~(1u << CASCADE);
    int serving = best(c, in_service);
    return serving < 0 || rank(c, (unsigned)want) < rank(c, (unsigned)serving) ? want : -1;
}

static void chip_line(struct i8259_chip *c, unsigned input, bool asserted)
{
    uint8_t bit = (uint8_t)(1u << input);
    bool was = (c->lines & bit) != 0;
    c->lines = asserted ? c->lines | bit : c->lines & (uint8_t)~bit;
    if (c->elcr & bit)
        c->irr = asserted ? c->irr | bit : c->irr & (uint8_t)~bit;
    else if (asserted && !was)
        c->irr |= bit;
}

/* Recomputes the cascade and the output after any change. */
static void update(struct i8259 *p)
{
    struct i8259_chip *m = &p->s.chip[0];
    bool slave = request(&p->s.chip[1], false) >= 0;
    /* The slave's INT stays up while it has anything to say: the master sees it as a level. */
    if (slave)
        m->irr |= 1u << CASCADE;
    else
        m->irr &= (uint8_t) ~(1u << CASCADE);
    bool intr = request(m, true) >= 0;
    if (intr != p->s.intr) {
        p->s.intr = intr;
        if (p->output) p->output(p->opaque, intr);
    }
}

void i8259_setup(struct i8259 *p, void (*output)(void *, bool), void *opaque)
{
    *p = (struct i8259){.output = output, .opaque = opaque};
    i8259_reset(p);
}

void i8259_reset(struct i8259 *p)
{
    bool intr = p->s.intr;
    p->s = (struct i8259_state){0};
    for (unsigned i = 0; i < 2; i++)
        p->s.chip[i].lowest = 7;
    if (intr && p->output) p->output(p->opaque, false);
}

void i8259_set_line(struct i8259 *p, unsigned irq, bool asserted)
{
    if (irq > 15 || irq == CASCADE) return;
    chip_line(&p->s.chip[irq >> 3], irq & 7, asserted);
    update(p);
}

static void end_of_interrupt(struct i8259_chip *c, int input, bool rotate)
{
    if (input < 0) return;
    c->isr &= (uint8_t) ~(1u << input);
    if (rotate) c->lowest = (uint8_t)input;
}

/* One chip's part of INTA: the input taken, or -1 for a spurious one. */
static int take(struct i8259_chip *c, bool master)
{
    int input = request(c, master);
    if (input < 0) return -1;
    uint8_t bit = (uint8_t)(1u << input);
    if (!(c->elcr & bit)) c->irr &= (uint8_t)~bit;
    if (c->auto_eoi) {
        if (c->rotate_on_auto_eoi) c->lowest = (uint8_t)input;
    } else {
        c->isr |= bit;
    }
    return input;
}

int i8259_acknowledge(struct i8259 *p)
{
    int input = take(&p->s.chip[0], true);
    int vector;
    if (input == CASCADE) {
        int slave = take(&p->s.chip[1], false);
        vector = p->s.chip[1].base + (slave < 0 ? 7 : slave);
    } else {
        vector = p->s.chip[0].base + (input < 0 ? 7 : input);
    }
    update(p);
    return vector;
}

/* ICW1: starts initialization. Requests of level inputs that are still up stay. */
static void icw1(struct i8259_chip *c, uint8_t value)
{
    c->imr = 0;
    c->isr = 0;
    c->irr = c->lines & c->elcr;
    c->lowest = 7;
    c->special_mask = 0;
    c->read_isr = 0;
    c->poll = 0;
    c->rotate_on_auto_eoi = 0;
    c->needs_icw4 = value & 1;
    c->single = value >> 1 & 1;
    if (!c->needs_icw4) c->auto_eoi = c->special_nested = 0;
    c->icw_step = 2;
}

static void icw_next(struct i8259_chip *c, uint8_t value)
{
    switch (c->icw_step) {
    case 2:
        c->base = value & 0xf8;
        c->icw_step = !c->single ? 3 : c->needs_icw4 ? 4 : 0;
        break;
    case 3:
        c->icw3 = value;
        c->icw_step = c->needs_icw4 ? 4 : 0;
        break;
    default:
        c->auto_eoi = value >> 1 & 1;
        c->special_nested = value >> 4 & 1;
        c->icw_step = 0;
        break;
    }
}

static void ocw2(struct i8259_chip *c, uint8_t value)
{
    unsigned input = value & 7;
    switch (value >> 5) {
    case 0: c->rotate_on_auto_eoi = 0; break;
    case 4: c->rotate_on_auto_eoi = 1; break;
    case 1:
    case 5: {
        uint8_t served = c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr;
        end_of_interrupt(c, best(c, served), value >> 5 == 5);
        break;
    }
    case 3:
    case 7: end_of_interrupt(c, (int)input, value >> 5 == 7); break;
    case 6: c->lowest = (uint8_t)input; break;
    default: break;
    }
}

static void ocw3(struct i8259_chip *c, uint8_t value)
{
    if (value & 0x04) c->poll = 1;
    if (value & 0x02) c->read_isr = value & 1;
    if (value & 0x40) c->special_mask = value >> 5 & 1;
}

static uint8_t poll_read(struct i8259 *p, unsigned which)
{
    struct i8259_chip *c = &p->s.chip[which];
    c->poll = 0;
    int input = take(c, which == 0);
    update(p);
    return input < 0 ? 0 : (uint8_t)(0x80 | input);
}

uint8_t i8259_read(struct i8259 *p, uint16_t port)
{
    if (port == 0x4d0 || port == 0x4d1) return p->s.chip[port & 1].elcr;
    unsigned which = port >= 0xa0;
    struct i8259_chip *c = &p->s.chip[which];
    if (c->poll) return poll_read(p, which);
    if (port & 1) return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

void i8259_write(struct i8259 *p, uint16_t port, uint8_t value)
{
    if (port == 0x4d0 || port == 0x4d1) {
        struct i8259_chip *c = &p->s.chip[port & 1];
        c->elcr = value & elcr_writable[port & 1];
        /* An input that has become level-triggered asks exactly while it is asserted. */
        c->irr = (c->irr & (uint8_t)~c->elcr) | (c->lines & c->elcr);
        update(p);
        return;
    }
    struct i8259_chip *c = &p->s.chip[port >= 0xa0];
    if (port & 1) {
        if (c->icw_step)
            icw_next(c, value);
        else
            c->imr = value;
    } else if (value & 0x10) {
        icw1(c, value);
    } else if (value & 0x08) {
        ocw3(c, value);
    } else {
        ocw2(c, value);
    }
    update(p);
}
