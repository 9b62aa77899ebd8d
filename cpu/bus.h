/* SPDX-License-Identifier: MIT */
/* What the processor sees of the board: RAM as one host range with a flag byte a page, everything else
 * by calls. machine/ implements it; tests in cpu/ use the flat one of tests/unit/flat_bus.c. */
#ifndef UV_CPU_BUS_H
#define UV_CPU_BUS_H

#include <stdbool.h>
#include <stdint.h>

enum { PAGE_SHIFT = 12, PAGE_SIZE = 4096 };

enum page_flag {
    PAGE_RAM = 1,    /* host memory at ram + physical address, readable */
    PAGE_ROM = 2,    /* with PAGE_RAM: writes are dropped */
    PAGE_CODE = 4,   /* decoded blocks exist: writes take the slow path (engine.c) */
    PAGE_DIRTY = 8,  /* written since the last snapshot */
    PAGE_TABLE = 16, /* reserved for the paging-structure cache */
    PAGE_WATCH = 32  /* a line of it is or was monitored: writes take the slow path (monitor.c) */
};

struct engine;

struct bus {
    uint8_t *ram;        /* host address of guest-physical 0; holes are unmapped */
    uint8_t *page_flags; /* enum page_flag, one byte for each page below ram_top */
    uint64_t ram_top;    /* bytes covered by ram/page_flags, holes included */
    uint64_t a20_mask;   /* every physical address is ANDed with it where it leaves the processor (TLB
                          * fill, phys_*): ~0, or without bit 20 while A20M# is asserted. The board
                          * flushes all TLBs when it changes. */
    void *opaque;

    /* Kept by engine.c, zero at first: one bit for each 64-byte line that decoded blocks were made from
     * (a word a page), and the block caches of all processors on this bus. */
    uint64_t *code_lines;
    struct engine *engines;
    uint32_t cold_writes; /* monitor.c */

    /* Access to anything that is not PAGE_RAM; size 1, 2, 4 or 8 (never crosses 8-byte alignment).
     * Unclaimed addresses read all ones and drop writes. cpu_id tells which local APIC answers. */
    uint64_t (*mmio_read)(void *opaque, int cpu_id, uint64_t address, uint32_t size);
    void (*mmio_write)(void *opaque, int cpu_id, uint64_t address, uint32_t size, uint64_t value);
    uint32_t (*port_read)(void *opaque, int cpu_id, uint16_t port, uint32_t size);
    void (*port_write)(void *opaque, int cpu_id, uint16_t port, uint32_t size, uint32_t value);

    /* External interrupts: is INTR asserted for this processor, and INTA: returns the vector, or -1
     * when nothing is pending any more. */
    bool (*intr_pending)(void *opaque, int cpu_id);
    int (*intr_acknowledge)(void *opaque, int cpu_id);

    /* CR8 / x2APIC MSRs / IA32_APIC_BASE belong to the local APIC. MSR calls: 1 handled, 0 not mine,
     * -1 #GP(0). */
    uint64_t (*tpr_read)(void *opaque, int cpu_id);
    void (*tpr_write)(void *opaque, int cpu_id, uint64_t value);
    int (*msr_read)(void *opaque, int cpu_id, uint32_t index, uint64_t *value);
    int (*msr_write)(void *opaque, int cpu_id, uint32_t index, uint64_t value);

    /* FERR#/IGNNE#: an unmasked x87 exception with CR0.NE = 0. */
    void (*ferr)(void *opaque, int cpu_id);

    /* Told by the processor, each may be NULL: an INIT has been taken (the local APIC goes to its INIT
     * state, SDM 3A 11.4.7.3); s.tsc_base changed (WRMSR TSC, TSC_ADJUST: the deadline timer moves). */
    void (*init_taken)(void *opaque, int cpu_id);
    void (*tsc_changed)(void *opaque, int cpu_id);
    /* ... software is about to see the time-stamp counter. */
    void (*tsc_sampled)(void *opaque, int cpu_id);
    /* ... a store ended this processor's wait in MWAIT or UMWAIT. */
    void (*wake)(void *opaque, int cpu_id);
};

#endif
