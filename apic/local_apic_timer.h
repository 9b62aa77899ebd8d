/* SPDX-License-Identifier: MIT */
/* Inside of the local APIC: its timer. SDM 3A 11.5.4. */
#ifndef UV_APIC_LOCAL_APIC_TIMER_H
#define UV_APIC_LOCAL_APIC_TIMER_H

#include "apic/local_apic.h"

uint32_t local_apic_timer_current(const struct local_apic *l);
void local_apic_timer_mode(struct local_apic *l, uint32_t old_lvt);
void local_apic_timer_write_initial(struct local_apic *l, uint32_t value);
void local_apic_timer_write_divide(struct local_apic *l, uint32_t value);
void local_apic_timer_write_deadline(struct local_apic *l, uint64_t value);

#endif
