/* SPDX-License-Identifier: MIT */
/* Control ports. PIIX4 data sheet 4.2 (61h, 92h, CF9h, APM), 8237A data sheet (register model only: no
 * device of this board transfers by ISA DMA). */
#include "machine/devices/system_control.h"

enum { P61_GATE2 = 1, P61_SPEAKER = 2, P61_REFRESH = 16, P61_OUT2 = 32 };
enum { P92_RESET = 1, P92_A20 = 2 };
enum { CF9_CPU_RESET = 4 };

/* The refresh request toggles every 15.085 us (channel 1 at count 18). */
#define REFRESH_CYCLES UINT64_C(15085)

void system_control_reset(struct system_control *c)
{
    c->s = (struct system_control_state){.port92 = P92_A20};
}

uint32_t port61_read(void *opaque, uint16_t port, uint32_t size)
{
    struct system_control *c = opaque;
    (void)port, (void)size;
    uint32_t value = c->s.port61 & 15;
    if (clock_now(c->clock) / REFRESH_CYCLES & 1) value |= P61_REFRESH;
    if (i8254_out(c->pit, 2)) value |= P61_OUT2;
    return value;
}

void port61_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct system_control *c = opaque;
    (void)port, (void)size;
    c->s.port61 = value & 15;
    i8254_set_gate(c->pit, 2, (value & P61_GATE2) != 0);
}

uint32_t port92_read(void *opaque, uint16_t port, uint32_t size)
{
    struct system_control *c = opaque;
    (void)port, (void)size;
    return c->s.port92;
}

void port92_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct system_control *c = opaque;
    (void)port, (void)size;
    bool pulse = (value & P92_RESET) && !(c->s.port92 & P92_RESET);
    c->s.port92 = (uint8_t)value;
    c->a20(c->opaque, (value & P92_A20) != 0);
    if (pulse) c->reset(c->opaque);
}

uint32_t apm_read(void *opaque, uint16_t port, uint32_t size)
{
    struct system_control *c = opaque;
    (void)size;
    return port & 1 ? c->s.apm_status : c->s.apm_control;
}

void apm_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct system_control *c = opaque;
    (void)size;
    if (port & 1) {
        c->s.apm_status = (uint8_t)value;
    } else {
        c->s.apm_control = (uint8_t)value;
        c->apm(c->opaque, (uint8_t)value);
    }
}

uint8_t reset_control_read(struct system_control *c) { return c->s.reset_control; }

void reset_control_write(struct system_control *c, uint8_t value)
{
    bool pulse = (value & CF9_CPU_RESET) && !(c->s.reset_control & CF9_CPU_RESET);
    c->s.reset_control = value & 0x0e;
    if (pulse) c->reset(c->opaque);
}

/* 00-0F: controller 0 at stride 1; C0-DF: controller 1 at stride 2; 80-8F: page registers. */
uint32_t dma_read(void *opaque, uint16_t port, uint32_t size)
{
    struct system_control *c = opaque;
    (void)size;
    if (port >= 0x80 && port <= 0x8f) return c->s.page[port & 15];
    unsigned which = port >= 0xc0, reg = which ? (port - 0xc0u) / 2 : port & 15u;
    if (reg < 8) {
        uint8_t flip = c->s.dma_flip[which];
        c->s.dma_flip[which] ^= 1;
        return c->s.dma_word[which][reg] >> (flip ? 8 : 0) & 0xff;
    }
    if (reg == 8) return 0; /* status: no request, no terminal count */
    return reg == 15 ? c->s.dma[which][15] : 0xff;
}

void dma_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct system_control *c = opaque;
    (void)size;
    if (port >= 0x80 && port <= 0x8f) {
        c->s.page[port & 15] = (uint8_t)value;
        return;
    }
    unsigned which = port >= 0xc0, reg = which ? (port - 0xc0u) / 2 : port & 15u;
    if (reg < 8) {
        uint16_t *w = &c->s.dma_word[which][reg];
        *w = c->s.dma_flip[which] ? (uint16_t)((*w & 0xff) | (value & 0xff) << 8)
                                  : (uint16_t)((*w & 0xff00) | (value & 0xff));
        c->s.dma_flip[which] ^= 1;
        return;
    }
    c->s.dma[which][reg] = (uint8_t)value;
    switch (reg) {
    case 12: c->s.dma_flip[which] = 0; break; /* clear byte pointer */
    case 13:                                  /* master clear */
        c->s.dma_flip[which] = 0;
        c->s.dma[which][15] = 15;
        break;
    case 14: c->s.dma[which][15] = 0; break; /* clear mask */
    case 10: {                               /* single mask bit */
        uint8_t bit = (uint8_t)(1u << (value & 3));
        c->s.dma[which][15] = value & 4 ? c->s.dma[which][15] | bit : c->s.dma[which][15] & (uint8_t)~bit;
        break;
    }
    default: break;
    }
}

void system_control_visit(struct system_control *c, struct visitor *v)
{
    struct system_control_state *s = &c->s;
    visit_u8(v, &s->port61);
    visit_u8(v, &s->port92);
    visit_u8(v, &s->reset_control);
    visit_u8(v, &s->apm_control);
    visit_u8(v, &s->apm_status);
    visit_u8s(v, s->page, sizeof s->page);
    for (unsigned i = 0; i < 2; i++) {
        visit_u8s(v, s->dma[i], sizeof s->dma[i]);
        visit_u8(v, &s->dma_flip[i]);
        visit_u16s(v, s->dma_word[i], 8);
    }
}
