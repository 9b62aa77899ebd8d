/* SPDX-License-Identifier: MIT */
/* The local APIC of one processor, xAPIC and x2APIC. SDM 3A ch. 11; APM 2 ch. 16. */
#ifndef UV_APIC_LOCAL_APIC_H
#define UV_APIC_LOCAL_APIC_H

#include <stdbool.h>
#include <stdint.h>

#include "apic/message.h"

enum lapic_reg {
#define LAPIC_REG(index, name, x, x2) LAPIC_##name = (index),
#include "apic/local_apic.def"
#undef LAPIC_REG
};

enum lapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_CMCI, LVT_COUNT };

enum lapic_lvt_bit {
    LVT_REMOTE_IRR = 1u << 14,
    LVT_LEVEL = 1u << 15,
    LVT_MASKED = 1u << 16,
    LVT_PERIODIC = 1u << 17,
    LVT_DEADLINE = 1u << 18
};

#define APIC_BASE_BSP (UINT64_C(1) << 8)
#define APIC_BASE_EXTD (UINT64_C(1) << 10)
#define APIC_BASE_EN (UINT64_C(1) << 11)

enum lapic_svr_bit { SVR_ENABLE = 1u << 8, SVR_NO_FOCUS = 1u << 9, SVR_NO_EOI_BROADCAST = 1u << 12 };

enum lapic_esr_bit { ESR_SEND_VECTOR = 1u << 5, ESR_RECEIVE_VECTOR = 1u << 6, ESR_REGISTER = 1u << 7 };

/* Input clock of the timer: the core crystal of CPUID leaf 15h, 25 MHz, in cycles of 1 ns a tick. */
enum { LAPIC_TIMER_CYCLES = 40 };

#define LAPIC_NEVER UINT64_MAX

struct local_apic_state {
    uint64_t base;     /* IA32_APIC_BASE */
    uint32_t xapic_id; /* writable 8-bit ID of xAPIC mode, in bits 31:24 */
    uint32_t tpr;
    uint32_t ldr, dfr; /* of xAPIC mode; the x2APIC LDR follows from the ID */
    uint32_t svr;
    uint32_t esr, errors; /* visible register; errors gathered since the last write */
    uint32_t isr[8], tmr[8], irr[8];
    uint32_t lvt[LVT_COUNT];
    uint64_t icr;
    uint32_t initial_count, divide;
    uint32_t timer_count; /* count at cycle timer_start; 0: stopped */
    uint64_t timer_start;
    uint64_t tsc_deadline; /* IA32_TSC_DEADLINE; 0: disarmed */
    uint8_t lint[2];       /* pins asserted */
};

/* What the local APIC does to the outside. */
struct local_apic_ops {
    uint64_t (*now)(void *opaque, int cpu_id);
    uint64_t (*tsc)(void *opaque, int cpu_id); /* the processor's own TSC */
    /* Call local_apic_timer() at this cycle; LAPIC_NEVER: not any more. */
    void (*arm)(void *opaque, int cpu_id, uint64_t cycle);
    void (*intr)(void *opaque, int cpu_id); /* the answer of local_apic_pending() may have changed */
    void (*nmi)(void *opaque, int cpu_id);
    void (*smi)(void *opaque, int cpu_id);
    void (*init)(void *opaque, int cpu_id);
    void (*sipi)(void *opaque, int cpu_id, uint8_t vector);
    void (*base_changed)(void *opaque, int cpu_id, uint64_t old); /* MMIO page moved or mode changed */
};

struct local_apic {
    struct local_apic_state s;

    /* Constant after local_apic_setup(). */
    const struct local_apic_ops *ops;
    void *opaque;
    struct apic_bus *bus;
    int cpu_id;
    uint32_t id;      /* x2APIC ID; the initial xAPIC ID is its low byte */
    uint32_t version; /* version register */
    uint8_t phys_bits;
    bool bsp, has_x2apic, has_deadline;
};

void local_apic_setup(struct local_apic *l, const struct local_apic_ops *ops, void *opaque,
                      struct apic_bus *bus, int cpu_id, uint32_t id);
void local_apic_reset(struct local_apic *l);      /* RESET# */
void local_apic_init_reset(struct local_apic *l); /* INIT: base, mode and ID stay */

static inline bool local_apic_enabled(const struct local_apic *l) { return (l->s.base & APIC_BASE_EN) != 0; }
static inline bool local_apic_x2(const struct local_apic *l) { return (l->s.base & APIC_BASE_EXTD) != 0; }
/* Page that answers to MMIO, or ~0. */
static inline uint64_t local_apic_page(const struct local_apic *l)
{
    return local_apic_enabled(l) && !local_apic_x2(l) ? l->s.base & ~UINT64_C(0xfff) : ~UINT64_C(0);
}

/* MMIO within the page. Reads of 1, 2 and 4 bytes inside one register give its bytes; writes count only
 * when aligned and 4 bytes wide (SDM 3A 11.4.1 demands that of software). */
uint64_t local_apic_mmio_read(struct local_apic *l, uint32_t offset, uint32_t size);
void local_apic_mmio_write(struct local_apic *l, uint32_t offset, uint32_t size, uint64_t value);
/* IA32_APIC_BASE, IA32_TSC_DEADLINE, 800h-8FFh. 1 handled, 0 not mine, -1 #GP(0). */
int local_apic_msr_read(struct local_apic *l, uint32_t index, uint64_t *value);
int local_apic_msr_write(struct local_apic *l, uint32_t index, uint64_t value);
/* One register as the MMIO page shows it, without side effects (debuggers, virtualization). */
uint32_t local_apic_peek(const struct local_apic *l, unsigned reg);

uint64_t local_apic_cr8_read(const struct local_apic *l);
void local_apic_cr8_write(struct local_apic *l, uint64_t value);

/* Processor priority, SDM 3A 11.8.3.1. */
uint8_t local_apic_ppr(const struct local_apic *l);
/* Vector that would be delivered now, or -1. */
int local_apic_pending(const struct local_apic *l);
/* INTA: moves it from IRR to ISR and returns it; -1 when there is none. */
int local_apic_acknowledge(struct local_apic *l);
void local_apic_eoi(struct local_apic *l);
/* LINT0 carries an external controller's request through to the processor. */
bool local_apic_extint(const struct local_apic *l);

/* Is this APIC among those that the message names? */
bool local_apic_match(const struct local_apic *l, const struct apic_message *msg);
/* A message addressed to this APIC; false when it is not accepted (software-disabled, bad vector). */
bool local_apic_accept(struct local_apic *l, const struct apic_message *msg);
void local_apic_set_lint(struct local_apic *l, unsigned pin, bool asserted);
/* A local source fires: thermal sensor, performance counter, CMCI. */
void local_apic_raise(struct local_apic *l, enum lapic_lvt which);
void local_apic_timer(struct local_apic *l);       /* the armed cycle has come */
void local_apic_tsc_changed(struct local_apic *l); /* re-arms a TSC deadline */
void local_apic_rearm(struct local_apic *l);       /* after loading state */

#endif
