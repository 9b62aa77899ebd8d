/* SPDX-License-Identifier: MIT */
/* 16550A serial port. Transmission takes no time; received bytes come from the machine's input schedule
 * only. PC16550D data sheet. */
#ifndef UV_MACHINE_UART16550_H
#define UV_MACHINE_UART16550_H

#include "machine/chardev.h"
#include "machine/clock.h"
#include "machine/irq.h"

enum { UART_FIFO = 16 };

struct uart_state {
    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
    uint16_t divisor;
    uint8_t fifo[UART_FIFO];
    uint8_t head, count;
    uint8_t thre_pending; /* transmitter-empty interrupt not yet acknowledged */
    uint8_t timeout;      /* received bytes have been waiting for four character times */
};

struct uart {
    struct uart_state s;
    struct clock *clock;
    struct irq_board *irq;
    struct timer timer; /* character time-out */
    struct chardev *backend;
    uint8_t line;   /* ISA interrupt */
    uint8_t source; /* enum irq_source */
};

void uart_setup(struct uart *u, struct clock *clock, struct irq_board *irq, struct chardev *backend,
                uint8_t line, uint8_t source);
void uart_reset(struct uart *u);
uint32_t uart_read(void *opaque, uint16_t port, uint32_t size);
void uart_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
/* Room for one more received byte (the sender holds back instead of overrunning). */
bool uart_can_receive(const struct uart *u);
void uart_receive(struct uart *u, uint8_t byte);
uint64_t uart_character_cycles(const struct uart *u);
void uart_visit(struct uart *u, struct visitor *v);

#endif
