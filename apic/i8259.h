/* SPDX-License-Identifier: MIT */
/* The pair of cascaded 8259A interrupt controllers of a PC, with the edge/level control registers of
 * the chipset. 8259A data sheet; PIIX4 data sheet 4.2.3 (ELCR). */
#ifndef UV_APIC_I8259_H
#define UV_APIC_I8259_H

#include <stdbool.h>
#include <stdint.h>

struct i8259_chip {
    uint8_t irr, imr, isr;
    uint8_t lines;    /* inputs as they stand */
    uint8_t elcr;     /* bit n: input n is level-triggered */
    uint8_t base;     /* vector bits 7:3 (ICW2) */
    uint8_t icw3;     /* master: inputs with a slave; slave: identity */
    uint8_t lowest;   /* input with the lowest priority */
    uint8_t icw_step; /* 0 ready, else the ICW expected next */
    uint8_t needs_icw4, single;
    uint8_t auto_eoi, rotate_on_auto_eoi;
    uint8_t special_mask, special_nested;
    uint8_t read_isr, poll;
};

struct i8259_state {
    struct i8259_chip chip[2]; /* master, slave */
    uint8_t intr;              /* output of the master */
};

struct i8259 {
    struct i8259_state s;
    void (*output)(void *opaque, bool asserted); /* INTR of the master changed */
    void *opaque;
};

void i8259_setup(struct i8259 *p, void (*output)(void *, bool), void *opaque);
void i8259_reset(struct i8259 *p);
void i8259_set_line(struct i8259 *p, unsigned irq, bool asserted);
/* INTA cycles: always a vector (a spurious IRQ 7 or 15 when the request is gone). */
int i8259_acknowledge(struct i8259 *p);
/* Ports 20h, 21h, A0h, A1h, 4D0h, 4D1h; byte-wide. */
uint8_t i8259_read(struct i8259 *p, uint16_t port);
void i8259_write(struct i8259 *p, uint16_t port, uint8_t value);

#endif
