/* SPDX-License-Identifier: MIT */
/* Interrupt line routing. ISA IRQ 0 is I/O APIC pin 2; pin 0 is the 8259's output (machine.c). */
#include "machine/irq.h"

#include "machine/board.h"

static bool level_of(const struct irq_board *b, unsigned line)
{
    uint32_t cut = 0;
    if (b->s.legacy_replaced) cut = 1u << IRQ_SRC_PIT | 1u << IRQ_SRC_RTC;
    return (b->s.sources[line] & ~cut) != 0;
}

static void drive(struct irq_board *b, unsigned line, bool level)
{
    PROBE(b->probes, NULL, IRQ_LINE, line, level);
    if (line < 16) i8259_set_line(b->pic, line, level);
    unsigned pin = line == BOARD_IRQ_PIT ? BOARD_PIT_PIN : line;
    if (line != BOARD_PIT_PIN) io_apic_set_line(b->io_apic, pin, level);
}

void irq_reset(struct irq_board *b) { b->s = (struct irq_state){0}; }

void irq_set(struct irq_board *b, unsigned line, enum irq_source source, bool asserted)
{
    if (line >= IRQ_LINES) return;
    bool was = level_of(b, line);
    if (asserted)
        b->s.sources[line] |= 1u << source;
    else
        b->s.sources[line] &= ~(1u << source);
    bool is = level_of(b, line);
    if (is != was) drive(b, line, is);
}

void irq_replace_legacy(struct irq_board *b, bool on)
{
    if (b->s.legacy_replaced == on) return;
    bool was0 = level_of(b, BOARD_IRQ_PIT), was8 = level_of(b, BOARD_IRQ_RTC);
    b->s.legacy_replaced = on;
    if (level_of(b, BOARD_IRQ_PIT) != was0) drive(b, BOARD_IRQ_PIT, !was0);
    if (level_of(b, BOARD_IRQ_RTC) != was8) drive(b, BOARD_IRQ_RTC, !was8);
}

void irq_visit(struct irq_board *b, struct visitor *v)
{
    visit_u32s(v, b->s.sources, IRQ_LINES);
    visit_u8(v, &b->s.legacy_replaced);
}
