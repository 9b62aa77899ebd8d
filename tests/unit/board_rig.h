/* SPDX-License-Identifier: MIT */
/* A board without processors for tests of devices: clock, interrupt lines, 8259 pair, I/O APIC and as many
 * local APICs as a test wants, whose signals are counted. */
#ifndef UV_TESTS_BOARD_RIG_H
#define UV_TESTS_BOARD_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "apic/i8259.h"
#include "apic/io_apic.h"
#include "apic/local_apic.h"
#include "machine/board.h"
#include "machine/clock.h"
#include "machine/irq.h"

enum { RIG_APICS = 4 };

struct rig {
    struct clock clock;
    struct probe_bus probes;
    struct irq_board irq;
    struct i8259 pic;
    struct io_apic io;
    struct apic_bus bus;
    struct local_apic apic[RIG_APICS];
    struct timer timer[RIG_APICS];
    uint64_t tsc_base;
    unsigned nmi[RIG_APICS], smi[RIG_APICS], init[RIG_APICS], sipi[RIG_APICS];
    uint8_t sipi_vector[RIG_APICS];
    unsigned base_changes;
};

static inline uint64_t rig_now(void *o, int id)
{
    (void)id;
    return clock_now(&((struct rig *)o)->clock);
}
static inline uint64_t rig_tsc(void *o, int id) { return rig_now(o, id) + ((struct rig *)o)->tsc_base; }
static inline void rig_arm(void *o, int id, uint64_t cycle)
{
    struct rig *r = o;
    clock_arm(&r->clock, &r->timer[id], cycle);
}
static inline void rig_intr(void *o, int id) { (void)o, (void)id; }
static inline void rig_nmi(void *o, int id) { ((struct rig *)o)->nmi[id]++; }
static inline void rig_smi(void *o, int id) { ((struct rig *)o)->smi[id]++; }
static inline void rig_init_(void *o, int id) { ((struct rig *)o)->init[id]++; }
static inline void rig_sipi(void *o, int id, uint8_t vector)
{
    ((struct rig *)o)->sipi[id]++;
    ((struct rig *)o)->sipi_vector[id] = vector;
}
static inline void rig_base(void *o, int id, uint64_t old)
{
    (void)id, (void)old;
    ((struct rig *)o)->base_changes++;
}
static const struct local_apic_ops rig_ops = {rig_now, rig_tsc,   rig_arm,  rig_intr, rig_nmi,
                                              rig_smi, rig_init_, rig_sipi, rig_base};

static inline void rig_timer(void *o) { local_apic_timer(o); }
static inline int rig_extint(void *o) { return i8259_acknowledge(&((struct rig *)o)->pic); }

static inline void rig_setup(struct rig *r, unsigned apics)
{
    memset(r, 0, sizeof *r);
    clock_init(&r->clock);
    i8259_setup(&r->pic, NULL, NULL);
    io_apic_setup(&r->io, &r->bus, rig_extint, r);
    r->irq = (struct irq_board){.pic = &r->pic, .io_apic = &r->io, .probes = &r->probes};
    r->bus.count = apics;
    for (unsigned i = 0; i < apics; i++) {
        local_apic_setup(&r->apic[i], &rig_ops, r, &r->bus, (int)i, i);
        clock_register(&r->clock, &r->timer[i], rig_timer, &r->apic[i]);
        r->bus.apic[i] = &r->apic[i];
        local_apic_reset(&r->apic[i]);
    }
}

/* Lets machine time pass, with everything that falls due. */
static inline void rig_run(struct rig *r, uint64_t cycles) { clock_run(&r->clock, r->clock.now + cycles); }
static inline void rig_run_to(struct rig *r, uint64_t cycle) { clock_run(&r->clock, cycle); }

static inline uint32_t lapic_get(struct rig *r, unsigned i, unsigned reg)
{
    return (uint32_t)local_apic_mmio_read(&r->apic[i], reg << 4, 4);
}
static inline void lapic_put(struct rig *r, unsigned i, unsigned reg, uint32_t v)
{
    local_apic_mmio_write(&r->apic[i], reg << 4, 4, v);
}
static inline bool lapic_irr(struct rig *r, unsigned i, unsigned vector)
{
    return r->apic[i].s.irr[vector / 32] >> (vector % 32) & 1;
}

#endif
