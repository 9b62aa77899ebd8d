/* SPDX-License-Identifier: MIT */
/* Watched lines. What is watched is architectural state of each processor (s.monitor, s.activity); the page
 * flag and the count of idle writes are derived and change nothing but speed. A line is watched while the
 * monitor is armed or the processor waits in MWAIT or UMWAIT. Stores of the watching processor itself count
 * too: the manuals exempt none. SDM 2B MONITOR, MWAIT, UMONITOR, UMWAIT. */
#include "cpu/monitor.h"

#include "cpu/engine.h"
#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/mem.h"

/* Slow writes to flagged pages that hit no watched page before the flag goes: flagging again costs a scan
 * of every processor's TLB. */
enum { COLD_WRITES = 256 };

static bool watching(const struct cpu *c)
{
    return c->s.monitor.length != 0 && (c->s.monitor.armed || c->s.activity == ACTIVITY_MWAIT);
}

static bool overlaps(const struct cpu *c, uint64_t hpa, uint64_t n)
{
    return watching(c) && hpa < c->s.monitor.address + c->s.monitor.length && c->s.monitor.address < hpa + n;
}

static void flag_page(struct bus *bus, uint64_t hpa)
{
    if (hpa >= bus->ram_top) return; /* device memory is not monitored: only events end the wait */
    uint8_t *flags = &bus->page_flags[hpa >> PAGE_SHIFT];
    if ((*flags & (PAGE_RAM | PAGE_WATCH)) != PAGE_RAM) return;
    *flags |= PAGE_WATCH;
    for (struct engine *e = bus->engines; e; e = e->bus_next)
        tlb_protect_code_page(e->cpu, hpa & ~UINT64_C(0xfff));
}

void monitor_arm(struct cpu *c, uint64_t hpa)
{
    c->s.monitor.address = hpa & ~(uint64_t)(MONITOR_LINE - 1);
    c->s.monitor.length = MONITOR_LINE;
    c->s.monitor.armed = 1;
    flag_page(c->bus, hpa);
}

void monitor_restore(struct cpu *c)
{
    if (watching(c)) flag_page(c->bus, c->s.monitor.address);
}

void monitor_wait(struct cpu *c, bool line, bool wake_on_if0, uint64_t deadline, bool cf)
{
    c->s.monitor.armed = 0;
    if (!line) c->s.monitor.length = 0;
    c->s.monitor.wake_on_if0 = wake_on_if0;
    c->s.monitor.deadline = deadline;
    c->s.monitor.expiry_cf = cf;
    c->s.activity = ACTIVITY_MWAIT;
    cpu_update_attention(c);
}

bool monitor_expire(struct cpu *c)
{
    if (monitor_deadline(c) > cpu_now(c)) return false;
    c->s.activity = ACTIVITY_ACTIVE;
    if (c->s.monitor.expiry_cf) flags_load_oszapc(c, FL_CF);
    return true;
}

bool monitor_watches(struct bus *bus, uint64_t hpa, uint32_t n)
{
    bool page = false;
    for (struct engine *e = bus->engines; e; e = e->bus_next) {
        if (overlaps(e->cpu, hpa, n)) return true;
        page |= overlaps(e->cpu, hpa & ~UINT64_C(0xfff), PAGE_SIZE);
    }
    if (page || ++bus->cold_writes < COLD_WRITES) return false;
    bus->cold_writes = 0;
    bus->page_flags[hpa >> PAGE_SHIFT] &= (uint8_t)~PAGE_WATCH;
    return false;
}

void monitor_written(struct bus *bus, uint64_t hpa, uint64_t n)
{
    for (struct engine *e = bus->engines; e; e = e->bus_next) {
        struct cpu *c = e->cpu;
        if (!overlaps(c, hpa, n)) continue;
        c->s.monitor.armed = 0;
        if (c->s.activity != ACTIVITY_MWAIT) continue;
        c->s.activity = ACTIVITY_ACTIVE;
        cpu_update_attention(c);
        if (bus->wake != NULL) bus->wake(bus->opaque, c->id);
    }
}
