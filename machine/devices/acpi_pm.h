/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware: PM1a event and control blocks, PM timer, an empty GPE0 block. ACPI 6.3 ch. 4.8. */
#ifndef UV_MACHINE_ACPI_PM_H
#define UV_MACHINE_ACPI_PM_H

#include "machine/clock.h"
#include "machine/irq.h"

struct acpi_pm_state {
    uint16_t status; /* TMROF apart, see overflow_seen */
    uint16_t enable, control;
    uint64_t overflow_seen; /* half-periods of the timer accounted for by the last clear of TMROF */
    uint16_t gpe_status, gpe_enable;
    uint8_t other[64]; /* the rest of the PIIX4 block: latched */
};

struct acpi_pm {
    struct acpi_pm_state s;
    struct clock *clock;
    struct irq_board *irq;
    struct timer timer;
    void (*power_off)(void *opaque);
    void *opaque;
};

void acpi_pm_setup(struct acpi_pm *p, struct clock *clock, struct irq_board *irq, void (*power_off)(void *),
                   void *opaque);
void acpi_pm_reset(struct acpi_pm *p);
uint32_t acpi_pm_read(void *opaque, uint16_t port, uint32_t size);
void acpi_pm_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
uint32_t acpi_gpe_read(void *opaque, uint16_t port, uint32_t size);
void acpi_gpe_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
/* ACPI_ENABLE / ACPI_DISABLE written to the SMI command port. */
void acpi_pm_command(struct acpi_pm *p, uint8_t command);
void acpi_pm_visit(struct acpi_pm *p, struct visitor *v);

#endif
