/* SPDX-License-Identifier: MIT */
/* MC146818 real-time clock with 128 bytes of CMOS memory. Its time is the configured base plus machine
 * cycles, never the host's. MC146818A data sheet. */
#ifndef UV_MACHINE_RTC_CMOS_H
#define UV_MACHINE_RTC_CMOS_H

#include "machine/clock.h"
#include "machine/irq.h"

struct rtc_state {
    uint8_t index; /* port 70h, bit 7 (NMI disable) apart */
    uint8_t nmi_disabled;
    uint8_t cmos[128];     /* 00-09: alarm bytes, and the time while it stands still */
    uint64_t base_seconds; /* since 1970, at cycle base_cycle */
    uint64_t base_cycle;
    uint64_t flags_seen; /* cycle up to which register C is accounted for */
};

struct rtc {
    struct rtc_state s;
    struct clock *clock;
    struct irq_board *irq;
    struct timer timer;
    uint64_t configured; /* seconds since 1970 at power-on */
};

void rtc_setup(struct rtc *r, struct clock *clock, struct irq_board *irq, int64_t base);
void rtc_reset(struct rtc *r);
/* CMOS bytes that describe the machine: RAM sizes, processors. */
void rtc_describe(struct rtc *r, uint64_t low_ram, uint64_t high_ram, uint32_t cpus);
uint32_t rtc_read(void *opaque, uint16_t port, uint32_t size);
void rtc_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
void rtc_visit(struct rtc *r, struct visitor *v);

#endif
