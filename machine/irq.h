/* SPDX-License-Identifier: MIT */
/* Interrupt lines of the board: each may have several sources (wired or); its level goes to the 8259
 * pair and to the I/O APIC. */
#ifndef UV_MACHINE_IRQ_H
#define UV_MACHINE_IRQ_H

#include <stdbool.h>
#include <stdint.h>

#include "apic/i8259.h"
#include "apic/io_apic.h"
#include "cpu/probe.h"
#include "machine/visit.h"

enum { IRQ_LINES = 24 };

/* Sources, one bit each in the state of a line. */
enum irq_source {
    IRQ_SRC_PIT,
    IRQ_SRC_RTC,
    IRQ_SRC_KEYBOARD,
    IRQ_SRC_MOUSE,
    IRQ_SRC_COM1,
    IRQ_SRC_COM2,
    IRQ_SRC_COM3,
    IRQ_SRC_COM4,
    IRQ_SRC_PM,
    IRQ_SRC_HPET,
    IRQ_SRC_TESTDEV,
    IRQ_SRC_PCI, /* and up: one for each PIRQ, 4 */
    IRQ_SRC_FERR = IRQ_SRC_PCI + 4
};

struct irq_state {
    uint32_t sources[IRQ_LINES]; /* bit n: source n asserts; lines 0-15 ISA IRQs, 16-23 I/O APIC only */
    uint8_t legacy_replaced;     /* HPET drives lines 0 and 8 instead of PIT and RTC */
};

struct irq_board {
    struct irq_state s;
    struct i8259 *pic;
    struct io_apic *io_apic;
    struct probe_bus *probes;
};

void irq_reset(struct irq_board *b);
void irq_set(struct irq_board *b, unsigned line, enum irq_source source, bool asserted);
/* HPET legacy replacement: PIT and RTC are cut off from lines 0 and 8. */
void irq_replace_legacy(struct irq_board *b, bool on);
void irq_visit(struct irq_board *b, struct visitor *v);

#endif
