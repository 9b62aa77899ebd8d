/* SPDX-License-Identifier: MIT */
/* PM1 registers, 24-bit PM timer at 3.579545 MHz, SCI, S5. ACPI 6.3, 4.8.3; PIIX4 data sheet 7.2. */
#include "machine/devices/acpi_pm.h"

#include "machine/board.h"

enum { STS_TMROF = 1 << 0, STS_WRITABLE = 0x8d31 };
enum { EN_WRITABLE = 0x0521 };
enum { CNT_SCI_EN = 1, CNT_SLP_TYP = 7 << 10, CNT_SLP_EN = 1 << 13 };

static uint64_t ticks(const struct acpi_pm *p) { return clock_ticks(clock_now(p->clock), BOARD_PM_TIMER_HZ); }
/* TMROF is set each time the top bit of the counter toggles. */
static uint64_t toggles(const struct acpi_pm *p) { return ticks(p) >> (BOARD_PM_TIMER_BITS - 1); }

static uint16_t status(const struct acpi_pm *p)
{
    return p->s.status | (toggles(p) != p->s.overflow_seen ? STS_TMROF : 0);
}

static void update(struct acpi_pm *p)
{
    uint16_t pending = status(p) & p->s.enable;
    irq_set(p->irq, BOARD_IRQ_SCI, IRQ_SRC_PM, (p->s.control & CNT_SCI_EN) && pending);
    uint64_t next = CLOCK_NEVER;
    if ((p->s.enable & STS_TMROF) && !(pending & STS_TMROF))
        next = clock_cycle_of((toggles(p) + 1) << (BOARD_PM_TIMER_BITS - 1), BOARD_PM_TIMER_HZ);
    clock_arm(p->clock, &p->timer, next);
}

static void on_timer(void *opaque) { update(opaque); }

void acpi_pm_setup(struct acpi_pm *p, struct clock *clock, struct irq_board *irq, void (*power_off)(void *),
                   void *opaque)
{
    *p = (struct acpi_pm){.clock = clock, .irq = irq, .power_off = power_off, .opaque = opaque};
    clock_register(clock, &p->timer, on_timer, p);
}

void acpi_pm_reset(struct acpi_pm *p)
{
    p->s = (struct acpi_pm_state){0};
    clock_cancel(p->clock, &p->timer);
}

void acpi_pm_command(struct acpi_pm *p, uint8_t command)
{
    if (command == BOARD_ACPI_ENABLE) p->s.control |= CNT_SCI_EN;
    if (command == BOARD_ACPI_DISABLE) p->s.control &= (uint16_t)~CNT_SCI_EN;
    update(p);
}

static uint8_t read_byte(struct acpi_pm *p, unsigned offset)
{
    switch (offset) {
    case 0:
    case 1: return (uint8_t)(status(p) >> (offset & 1) * 8);
    case 2:
    case 3: return (uint8_t)(p->s.enable >> (offset & 1) * 8);
    case 4:
    case 5: return (uint8_t)(p->s.control >> (offset & 1) * 8);
    case 8:
    case 9:
    case 10:
    case 11: return (uint8_t)((ticks(p) & ((1u << BOARD_PM_TIMER_BITS) - 1)) >> (offset & 3) * 8);
    default: return p->s.other[offset];
    }
}

static void write_byte(struct acpi_pm *p, unsigned offset, uint8_t value)
{
    unsigned shift = (offset & 1) * 8;
    uint16_t wide = (uint16_t)(value << shift), lane = (uint16_t)(0xff << shift);
    switch (offset) {
    case 0:
    case 1:
        if (wide & STS_TMROF) p->s.overflow_seen = toggles(p);
        p->s.status &= (uint16_t) ~(wide & STS_WRITABLE);
        break;
    case 2:
    case 3: p->s.enable = (uint16_t)((p->s.enable & ~lane) | (wide & EN_WRITABLE)); break;
    case 4:
    case 5:
        p->s.control = (uint16_t)((p->s.control & ~lane) | (wide & ~CNT_SLP_EN));
        if (wide & CNT_SLP_EN && (p->s.control & CNT_SLP_TYP) >> 10 == BOARD_S5_SLP_TYP)
            p->power_off(p->opaque);
        break;
    case 8:
    case 9:
    case 10:
    case 11: break;
    default: p->s.other[offset] = value; break;
    }
}

uint32_t acpi_pm_read(void *opaque, uint16_t port, uint32_t size)
{
    struct acpi_pm *p = opaque;
    uint32_t value = 0;
    for (uint32_t i = 0; i < size; i++)
        value |= (uint32_t)read_byte(p, (port + i) & 63) << 8 * i;
    return value;
}

void acpi_pm_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct acpi_pm *p = opaque;
    for (uint32_t i = 0; i < size; i++)
        write_byte(p, (port + i) & 63, (uint8_t)(value >> 8 * i));
    update(p);
}

uint32_t acpi_gpe_read(void *opaque, uint16_t port, uint32_t size)
{
    struct acpi_pm *p = opaque;
    (void)size;
    unsigned offset = port & 3;
    return (offset < 2 ? p->s.gpe_status : p->s.gpe_enable) >> (offset & 1) * 8 & 0xff;
}

void acpi_gpe_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct acpi_pm *p = opaque;
    (void)size;
    unsigned offset = port & 3, shift = (offset & 1) * 8;
    if (offset < 2)
        p->s.gpe_status &= (uint16_t) ~(value << shift);
    else
        p->s.gpe_enable = (uint16_t)((p->s.gpe_enable & ~(0xffu << shift)) | (value & 0xff) << shift);
}

void acpi_pm_visit(struct acpi_pm *p, struct visitor *v)
{
    visit_u16(v, &p->s.status);
    visit_u16(v, &p->s.enable);
    visit_u16(v, &p->s.control);
    visit_u64(v, &p->s.overflow_seen);
    visit_u16(v, &p->s.gpe_status);
    visit_u16(v, &p->s.gpe_enable);
    visit_u8s(v, p->s.other, sizeof p->s.other);
}
