/* SPDX-License-Identifier: MIT */
/* i8042: controller commands, output port, keyboard protocol. IBM PS/2 Hardware Interface Technical
 * Reference, "Keyboard and Auxiliary Device Controller". */
#include "machine/devices/i8042.h"

#include "machine/board.h"

enum { ST_OBF = 1, ST_SYS = 4, ST_COMMAND = 8, ST_UNLOCKED = 16, ST_AUX = 32 };
enum { CTR_KBD_IRQ = 1, CTR_AUX_IRQ = 2, CTR_SYS = 4, CTR_KBD_OFF = 16, CTR_AUX_OFF = 32, CTR_XLATE = 64 };
enum { OUT_RESET = 1, OUT_A20 = 2, OUT_KBD_OBF = 16, OUT_AUX_OBF = 32 };
enum { KBD_ACK = 0xfa, KBD_RESEND = 0xfe };

static void lines(struct i8042 *k)
{
    bool full = k->s.count != 0, aux = full && k->s.from_aux[k->s.head];
    irq_set(k->irq, BOARD_IRQ_KEYBOARD, IRQ_SRC_KEYBOARD, full && !aux && (k->s.ctr & CTR_KBD_IRQ));
    irq_set(k->irq, BOARD_IRQ_MOUSE, IRQ_SRC_MOUSE, aux && (k->s.ctr & CTR_AUX_IRQ));
}

static void queue(struct i8042 *k, uint8_t byte, bool aux)
{
    if (k->s.count == I8042_QUEUE) return;
    unsigned at = (k->s.head + k->s.count++) % I8042_QUEUE;
    k->s.queue[at] = byte;
    k->s.from_aux[at] = aux;
    lines(k);
}

static uint8_t dequeue(struct i8042 *k)
{
    uint8_t byte = k->s.queue[k->s.head];
    if (!k->s.count) return byte;
    /* The line falls with the read and rises again for the next byte: an edge for each. */
    irq_set(k->irq, BOARD_IRQ_KEYBOARD, IRQ_SRC_KEYBOARD, false);
    irq_set(k->irq, BOARD_IRQ_MOUSE, IRQ_SRC_MOUSE, false);
    k->s.count--;
    if (k->s.count) k->s.head = (uint8_t)((k->s.head + 1) % I8042_QUEUE);
    lines(k);
    return byte;
}

static void set_a20(struct i8042 *k, bool on)
{
    k->s.out_port = on ? k->s.out_port | OUT_A20 : k->s.out_port & (uint8_t)~OUT_A20;
    k->a20(k->opaque, on);
}

void i8042_note_a20(struct i8042 *k, bool on)
{
    k->s.out_port = on ? k->s.out_port | OUT_A20 : k->s.out_port & (uint8_t)~OUT_A20;
}

static void write_out_port(struct i8042 *k, uint8_t value)
{
    k->s.out_port = value;
    set_a20(k, (value & OUT_A20) != 0);
    if (!(value & OUT_RESET)) k->reset_pulse(k->opaque);
}

void i8042_setup(struct i8042 *k, struct irq_board *irq, void (*reset_pulse)(void *),
                 void (*a20)(void *, bool), void *opaque)
{
    *k = (struct i8042){.irq = irq, .reset_pulse = reset_pulse, .a20 = a20, .opaque = opaque};
}

void i8042_reset(struct i8042 *k)
{
    k->s = (struct i8042_state){
        .status = ST_UNLOCKED, .ctr = CTR_KBD_IRQ | CTR_XLATE, .out_port = OUT_RESET | OUT_A20 | 0xcc};
}

static void keyboard(struct i8042 *k, uint8_t byte)
{
    k->s.ctr &= (uint8_t)~CTR_KBD_OFF; /* sending to the device enables its interface */
    if (k->s.kbd_command) {            /* parameter of ED, F0, F3 */
        bool asks_set = k->s.kbd_command == 0xf0 && byte == 0;
        k->s.kbd_command = 0;
        queue(k, KBD_ACK, false);
        if (asks_set) queue(k, k->s.ctr & CTR_XLATE ? 0x41 : 2, false);
        return;
    }
    switch (byte) {
    case 0xed:
    case 0xf0:
    case 0xf3:
        k->s.kbd_command = byte;
        queue(k, KBD_ACK, false);
        break;
    case 0xee: queue(k, 0xee, false); break;
    case 0xf2:
        queue(k, KBD_ACK, false);
        queue(k, 0xab, false);
        queue(k, k->s.ctr & CTR_XLATE ? 0x41 : 0x83, false);
        break;
    case 0xf4:
    case 0xf5:
    case 0xf6: queue(k, KBD_ACK, false); break;
    case 0xff:
        queue(k, KBD_ACK, false);
        queue(k, 0xaa, false);
        break;
    default: queue(k, KBD_RESEND, false); break;
    }
}

static void parameter(struct i8042 *k, uint8_t command, uint8_t byte)
{
    if (command >= 0x60 && command <= 0x7f) {
        k->s.ram[command & 31] = byte;
        if (command == 0x60) {
            k->s.ctr = byte;
            k->s.status = (uint8_t)((k->s.status & ~ST_SYS) | (byte & CTR_SYS));
            lines(k);
        }
        return;
    }
    switch (command) {
    case 0xd1: write_out_port(k, byte); break;
    case 0xd2: queue(k, byte, false); break;
    case 0xd3: queue(k, byte, true); break;
    case 0xd4: queue(k, KBD_RESEND, true); break; /* no auxiliary device takes it: the controller says so */
    default: break;
    }
}

static void controller(struct i8042 *k, uint8_t command)
{
    k->s.command = 0;
    if (command >= 0x20 && command <= 0x3f) {
        queue(k, command == 0x20 ? k->s.ctr : k->s.ram[command & 31], false);
        return;
    }
    if ((command >= 0x60 && command <= 0x7f) || (command >= 0xd1 && command <= 0xd4)) {
        k->s.command = command;
        return;
    }
    if (command >= 0xf0) { /* pulse output lines whose bit is 0; bit 0 is the processor's reset */
        if (!(command & 1)) k->reset_pulse(k->opaque);
        return;
    }
    switch (command) {
    case 0xa7: k->s.ctr |= CTR_AUX_OFF; break;
    case 0xa8: k->s.ctr &= (uint8_t)~CTR_AUX_OFF; break;
    case 0xa9: queue(k, 0x00, false); break;
    case 0xaa:
        k->s.status |= ST_SYS;
        queue(k, 0x55, false);
        break;
    case 0xab: queue(k, 0x00, false); break;
    case 0xad: k->s.ctr |= CTR_KBD_OFF; break;
    case 0xae: k->s.ctr &= (uint8_t)~CTR_KBD_OFF; break;
    case 0xc0: queue(k, 0x80, false); break; /* keyboard not locked */
    case 0xd0: {
        uint8_t out = k->s.out_port & (uint8_t) ~(OUT_KBD_OBF | OUT_AUX_OBF);
        queue(k, out, false);
        break;
    }
    case 0xdd: set_a20(k, false); break;
    case 0xdf: set_a20(k, true); break;
    default: break;
    }
}

uint32_t i8042_read(void *opaque, uint16_t port, uint32_t size)
{
    struct i8042 *k = opaque;
    (void)size;
    if (port == 0x60) return dequeue(k);
    bool full = k->s.count != 0;
    return k->s.status | (full ? ST_OBF : 0u) | (full && k->s.from_aux[k->s.head] ? ST_AUX : 0u);
}

void i8042_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct i8042 *k = opaque;
    uint8_t byte = (uint8_t)value;
    (void)size;
    if (port == 0x64) {
        k->s.status |= ST_COMMAND;
        controller(k, byte);
        return;
    }
    k->s.status &= (uint8_t)~ST_COMMAND;
    if (k->s.command) {
        uint8_t command = k->s.command;
        k->s.command = 0;
        parameter(k, command, byte);
    } else {
        keyboard(k, byte);
    }
}

void i8042_visit(struct i8042 *k, struct visitor *v)
{
    struct i8042_state *s = &k->s;
    visit_u8(v, &s->status);
    visit_u8(v, &s->ctr);
    visit_u8(v, &s->command);
    visit_u8(v, &s->out_port);
    visit_u8(v, &s->kbd_command);
    visit_u8s(v, s->ram, sizeof s->ram);
    visit_u8s(v, s->queue, I8042_QUEUE);
    visit_u8s(v, s->from_aux, I8042_QUEUE);
    visit_u8(v, &s->head);
    visit_check_below(v, s->head, I8042_QUEUE);
    visit_u8(v, &s->count);
    visit_check_below(v, s->count, I8042_QUEUE + 1);
}
