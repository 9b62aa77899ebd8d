/* SPDX-License-Identifier: MIT */
/* 16550A: registers, FIFO, interrupt identification, loopback. PC16550D data sheet, section 8. */
#include "machine/devices/uart16550.h"

enum { IER_RX = 1, IER_THRE = 2, IER_LINE = 4, IER_MODEM = 8 };
enum {
    IIR_NONE = 1,
    IIR_MODEM = 0,
    IIR_THRE = 2,
    IIR_RX = 4,
    IIR_LINE = 6,
    IIR_TIMEOUT = 12,
    IIR_FIFO = 0xc0
};
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4 };
enum { LCR_DLAB = 0x80 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_ERRORS = 0x1e, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

/* Crystal of 1.8432 MHz, divided by 16 and the divisor. */
#define UART_BASE_BAUD UINT64_C(115200)

static unsigned trigger_level(const struct uart *u)
{
    static const uint8_t level[4] = {1, 4, 8, 14};
    return u->s.fcr & FCR_ENABLE ? level[u->s.fcr >> 6] : 1;
}

static uint8_t identify(const struct uart *u)
{
    const struct uart_state *s = &u->s;
    if ((s->ier & IER_LINE) && (s->lsr & LSR_ERRORS)) return IIR_LINE;
    if (s->ier & IER_RX) {
        if (s->count >= trigger_level(u)) return IIR_RX;
        if (s->timeout) return IIR_TIMEOUT;
    }
    if ((s->ier & IER_THRE) && s->thre_pending) return IIR_THRE;
    if ((s->ier & IER_MODEM) && (s->msr & 15)) return IIR_MODEM;
    return IIR_NONE;
}

static void update(struct uart *u)
{
    bool wanted = identify(u) != IIR_NONE;
    /* OUT2 gates the interrupt line on a PC; in loopback it is disconnected. */
    bool gate = (u->s.mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
    irq_set(u->irq, u->line, (enum irq_source)u->source, wanted && gate);
}

uint64_t uart_character_cycles(const struct uart *u)
{
    unsigned bits = 1 + 5 + (u->s.lcr & 3) + 1 + (u->s.lcr >> 2 & 1) + (u->s.lcr >> 3 & 1);
    uint64_t divisor = u->s.divisor ? u->s.divisor : 65536;
    return bits * divisor * CLOCK_HZ / UART_BASE_BAUD;
}

static void restart_timeout(struct uart *u)
{
    u->s.timeout = 0;
    bool wait = u->s.count > 0 && (u->s.fcr & FCR_ENABLE);
    clock_arm(u->clock, &u->timer, wait ? clock_now(u->clock) + 4 * uart_character_cycles(u) : CLOCK_NEVER);
}

static void on_timeout(void *opaque)
{
    struct uart *u = opaque;
    u->s.timeout = u->s.count > 0;
    update(u);
}

void uart_setup(struct uart *u, struct clock *clock, struct irq_board *irq, struct chardev *backend,
                uint8_t line, uint8_t source)
{
    *u = (struct uart){.clock = clock, .irq = irq, .backend = backend, .line = line, .source = source};
    clock_register(clock, &u->timer, on_timeout, u);
}

void uart_reset(struct uart *u)
{
    u->s = (struct uart_state){.lsr = LSR_THRE | LSR_TEMT, .msr = MSR_CTS | MSR_DSR | MSR_DCD, .divisor = 12};
    clock_cancel(u->clock, &u->timer);
}

bool uart_can_receive(const struct uart *u)
{
    if (u->s.mcr & MCR_LOOP) return false;
    return u->s.count < (u->s.fcr & FCR_ENABLE ? UART_FIFO : 1);
}

static void push(struct uart *u, uint8_t byte)
{
    struct uart_state *s = &u->s;
    unsigned room = s->fcr & FCR_ENABLE ? UART_FIFO : 1;
    if (s->count >= room) {
        s->lsr |= LSR_OE;
        if (room == 1) s->fifo[s->head] = byte; /* the shift register overwrites RBR */
    } else {
        s->fifo[(s->head + s->count++) % UART_FIFO] = byte;
    }
    s->lsr |= LSR_DR;
    restart_timeout(u);
}

void uart_receive(struct uart *u, uint8_t byte)
{
    push(u, byte);
    update(u);
}

static uint8_t pop(struct uart *u)
{
    struct uart_state *s = &u->s;
    if (!s->count) return 0;
    uint8_t byte = s->fifo[s->head];
    s->head = (uint8_t)((s->head + 1) % UART_FIFO);
    if (--s->count == 0) s->lsr &= (uint8_t)~LSR_DR;
    restart_timeout(u);
    return byte;
}

/* Modem inputs: in loopback the outputs come back, else a terminal is always ready. */
static void modem_lines(struct uart *u)
{
    uint8_t m = u->s.mcr, lines = MSR_CTS | MSR_DSR | MSR_DCD;
    if (m & MCR_LOOP)
        lines = (uint8_t)((m & MCR_DTR ? MSR_DSR : 0) | (m & MCR_RTS ? MSR_CTS : 0) |
                          (m & MCR_OUT1 ? MSR_RI : 0) | (m & MCR_OUT2 ? MSR_DCD : 0));
    uint8_t changed = (u->s.msr ^ lines) & 0xf0;
    uint8_t delta = changed >> 4;
    if ((changed & MSR_RI) && (lines & MSR_RI)) delta &= (uint8_t)~4u; /* only the trailing edge counts */
    u->s.msr = lines | (u->s.msr & 15) | delta;
}

static void write_fcr(struct uart *u, uint8_t value)
{
    struct uart_state *s = &u->s;
    if ((s->fcr ^ value) & FCR_ENABLE) value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    if (value & FCR_CLEAR_RX) {
        s->head = s->count = 0;
        s->lsr &= (uint8_t)~LSR_DR;
    }
    s->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
    restart_timeout(u);
}

uint32_t uart_read(void *opaque, uint16_t port, uint32_t size)
{
    struct uart *u = opaque;
    struct uart_state *s = &u->s;
    uint8_t value = 0xff;
    (void)size;
    switch (port & 7) {
    case 0: value = s->lcr & LCR_DLAB ? (uint8_t)s->divisor : pop(u); break;
    case 1: value = s->lcr & LCR_DLAB ? (uint8_t)(s->divisor >> 8) : s->ier; break;
    case 2:
        value = identify(u);
        if (value == IIR_THRE) s->thre_pending = 0;
        if (s->fcr & FCR_ENABLE) value |= IIR_FIFO;
        break;
    case 3: value = s->lcr; break;
    case 4: value = s->mcr; break;
    case 5:
        value = s->lsr;
        s->lsr &= (uint8_t)~LSR_ERRORS;
        break;
    case 6:
        value = s->msr;
        s->msr &= 0xf0;
        break;
    default: value = s->scr; break;
    }
    update(u);
    return value;
}

static void transmit(struct uart *u, uint8_t value)
{
    /* The holding register empties at once: the interrupt is asked for again. */
    u->s.thre_pending = 1;
    if (u->s.mcr & MCR_LOOP)
        push(u, value);
    else if (u->backend)
        chardev_write(u->backend, value);
}

void uart_write(void *opaque, uint16_t port, uint32_t size, uint32_t value32)
{
    struct uart *u = opaque;
    struct uart_state *s = &u->s;
    uint8_t value = (uint8_t)value32;
    (void)size;
    switch (port & 7) {
    case 0:
        if (s->lcr & LCR_DLAB)
            s->divisor = (uint16_t)((s->divisor & 0xff00) | value);
        else
            transmit(u, value);
        break;
    case 1:
        if (s->lcr & LCR_DLAB) {
            s->divisor = (uint16_t)((s->divisor & 0xff) | value << 8);
        } else {
            /* Enabling the interrupt while the transmitter is empty raises it. */
            if ((value & IER_THRE) && !(s->ier & IER_THRE)) s->thre_pending = 1;
            s->ier = value & 15;
        }
        break;
    case 2: write_fcr(u, value); break;
    case 3: s->lcr = value; break;
    case 4:
        s->mcr = value & 0x1f;
        modem_lines(u);
        break;
    case 7: s->scr = value; break;
    default: break;
    }
    update(u);
}

void uart_visit(struct uart *u, struct visitor *v)
{
    struct uart_state *s = &u->s;
    visit_u8(v, &s->ier);
    visit_u8(v, &s->fcr);
    visit_u8(v, &s->lcr);
    visit_u8(v, &s->mcr);
    visit_u8(v, &s->lsr);
    visit_u8(v, &s->msr);
    visit_u8(v, &s->scr);
    visit_u16(v, &s->divisor);
    visit_u8s(v, s->fifo, UART_FIFO);
    visit_u8(v, &s->head);
    visit_check_below(v, s->head, UART_FIFO);
    visit_u8(v, &s->count);
    visit_check_below(v, s->count, UART_FIFO + 1);
    visit_u8(v, &s->thre_pending);
    visit_u8(v, &s->timeout);
}
