/* SPDX-License-Identifier: MIT */
/* The probe bus: typed points (probe.def), any number of subscribers, one predictable branch when there
 * is none. Observers never call into the machine from a probe. */
#ifndef UV_CPU_PROBE_H
#define UV_CPU_PROBE_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;

enum probe_point {
#define PROBE_POINT(name, category, what) PROBE_##name,
#include "cpu/probe.def"
#undef PROBE_POINT
    PROBE_COUNT
};

typedef void probe_fn(void *opaque, struct cpu *c, enum probe_point point, uint64_t a, uint64_t b);

enum { PROBE_MAX_SUBSCRIBERS = 16 };

struct probe_subscriber {
    probe_fn *fn;
    void *opaque;
    uint64_t mask; /* bit n: point n wanted */
};

struct probe_bus {
    uint64_t mask; /* union of the subscribers' masks */
    struct probe_subscriber sub[PROBE_MAX_SUBSCRIBERS];
    uint32_t count;
};

/* Returns false when all places are taken. */
bool probe_subscribe(struct probe_bus *bus, probe_fn *fn, void *opaque, uint64_t mask);
void probe_unsubscribe(struct probe_bus *bus, probe_fn *fn, void *opaque);
void probe_emit(struct probe_bus *bus, struct cpu *c, enum probe_point point, uint64_t a, uint64_t b);

#define PROBE(bus, c, point, a, b)                                        \
    do {                                                                  \
        if (__builtin_expect(((bus)->mask >> PROBE_##point & 1) != 0, 0)) \
            probe_emit(bus, c, PROBE_##point, a, b);                      \
    } while (0)

#endif
