/* SPDX-License-Identifier: MIT */
/* MONITOR, MWAIT, UMONITOR, UMWAIT, TPAUSE: a processor watches one line of physical memory, and a store to
 * it by any processor or device ends its wait. Pages with a watched line carry PAGE_WATCH, so that only
 * stores to such pages take the slow path. SDM 2B MONITOR, MWAIT; 2B UMONITOR, UMWAIT, TPAUSE. */
#ifndef UV_CPU_MONITOR_H
#define UV_CPU_MONITOR_H

#include "cpu/cpu.h"

enum { MONITOR_LINE = 64 };

/* The processor watches the line of hpa from now on. */
void monitor_arm(struct cpu *c, uint64_t hpa);
/* Sleeps until an event, a store when `line`, or machine cycle `deadline` (0: none), after which CF = `cf`.
 * The monitor is disarmed whichever ends the wait. */
void monitor_wait(struct cpu *c, bool line, bool wake_on_if0, uint64_t deadline, bool cf);
/* Machine cycle at which the wait ends by itself, ~0: never. */
static inline uint64_t monitor_deadline(const struct cpu *c)
{
    return c->s.activity == ACTIVITY_MWAIT && c->s.monitor.deadline != 0 ? c->s.monitor.deadline : UINT64_MAX;
}
/* The wait ends by itself now, when its cycle has come. */
bool monitor_expire(struct cpu *c);

/* Does some processor watch one of these bytes, all in one page? Asked for pages with PAGE_WATCH only, by
 * who is about to write there; a page that nobody watches any more loses the flag after a while. */
bool monitor_watches(struct bus *bus, uint64_t hpa, uint32_t n);
/* Bytes of RAM have been written: ends the waits on them. A processor calls it in exact mode only (mem.h). */
void monitor_written(struct bus *bus, uint64_t hpa, uint64_t n);
/* Flags the page again that the processor's state watches, after the state was loaded. */
void monitor_restore(struct cpu *c);

#endif
