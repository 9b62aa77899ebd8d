/* SPDX-License-Identifier: MIT */
/* A PC: processors, physical memory, buses, chipset and devices under one clock. A run is a function of
 * the configuration, the images loaded and the input schedule; nothing here reads host time. */
#ifndef UV_MACHINE_MACHINE_H
#define UV_MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "cpu/probe.h"
#include "machine/board.h"
#include "machine/chardev.h"
#include "machine/clock.h"
#include "machine/devices/fw_cfg.h"
#include "machine/memory_map.h"

enum { MACHINE_MAX_CPUS = 64, MACHINE_MAX_SERIAL = 4 };

/* For tests: other ways to the same result. Nothing here may change what a run does. */
struct machine_debug {
    uint64_t drop_derived; /* seed of pseudo-random turns before which all derived state goes; 0: never */
    bool no_peephole;      /* blocks without fused micro-operations */
    bool no_chain;         /* blocks never linked to their successors */
};

struct machine_config {
    uint64_t memory; /* bytes of RAM, a multiple of 1 MiB */
    const struct cpu_model *cpu_model;
    uint64_t cpu_features[8];         /* FEAT_ bits as cpu_model_parse() left them */
    uint32_t smp;                     /* logical processors, 1 to MACHINE_MAX_CPUS */
    uint32_t sockets, cores, threads; /* their product is smp; all 0: one socket of smp cores */
    uint64_t quantum;                 /* cycles a vCPU runs before the next one's turn; 0: default */
    uint64_t order_seed; /* 0: the vCPU furthest behind runs next; else an order drawn for each quantum */
    int64_t rtc_base;    /* seconds since 1970 (UTC) shown by the RTC at cycle 0 */

    /* Backends are borrowed, not owned. NULL: the port does not exist. */
    struct chardev *serial[MACHINE_MAX_SERIAL];
    struct chardev *debugcon;
    uint16_t debugcon_port;   /* E9h or 402h */
    uint16_t debug_exit_port; /* 0: none */
    uint16_t debug_exit_size;
    bool pc_testdev;
    bool pci_testdev;
    bool no_hpet;
    bool no_i8042;
    bool firmware; /* a firmware image runs first: leave the chipset at its hardware reset state */
    struct machine_debug debug;
};

void machine_config_default(struct machine_config *config);

enum machine_stop {
    MACHINE_CYCLE_LIMIT, /* reached the cycle asked for */
    MACHINE_HUNG,        /* every processor sleeps and nothing can ever wake one */
    MACHINE_INPUT,       /* the same, but typed input could (chardev_wait(), then machine_input()) */
    MACHINE_SHUTDOWN,    /* triple fault: the caller resets or gives up */
    MACHINE_RESET,       /* reset asked for by the guest: the caller calls machine_reset() or gives up */
    MACHINE_POWER_OFF,   /* ACPI S5 */
    MACHINE_DEBUG_EXIT,  /* isa-debug-exit: code is the value written */
    MACHINE_DEBUG,       /* a processor stopped for a debugger */
    MACHINE_REQUEST      /* machine_request_stop() */
};

struct machine_exit {
    enum machine_stop stop;
    uint32_t code;  /* MACHINE_DEBUG_EXIT: value written */
    int32_t cpu;    /* processor concerned, -1: none in particular */
    uint64_t cycle; /* machine time */
};

struct machine;

/* NULL on failure, with one line in `error`. */
struct machine *machine_create(const struct machine_config *config, char *error, size_t error_size);
void machine_destroy(struct machine *m);
/* Power-on state of everything but RAM contents, ROM, fw_cfg items and chardevs; time starts at 0 again.
 * machine_create() has done it once. Without config.firmware the chipset is left as firmware leaves it
 * for an operating system: 8259 initialised and masked, LINT0 ExtINT and LINT1 NMI on processor 0, A20
 * on, PIT channel 0 at 18.2 Hz. The loader then sets processor 0. */
void machine_reset(struct machine *m);

/* Runs until a processor reaches machine cycle `until` (the others may be up to a quantum behind) or an
 * earlier stop. Can always be called again to continue: a turn that was cut goes on, so it makes no
 * difference how a run is cut into calls. */
struct machine_exit machine_run(struct machine *m, uint64_t until);
/* Runs the processor whose turn it is for one cycle (MACHINE_CYCLE_LIMIT) or to an earlier stop. */
struct machine_exit machine_step(struct machine *m);
/* Makes machine_run() return MACHINE_REQUEST soon; the only call allowed from a signal handler. */
void machine_request_stop(struct machine *m);

struct cpu *machine_cpu(struct machine *m, uint32_t index); /* NULL: no such processor */
uint32_t machine_cpu_count(const struct machine *m);
struct probe_bus *machine_probes(struct machine *m); /* probe_subscribe() here */
struct fw_cfg *machine_fw_cfg(struct machine *m);
const struct machine_config *machine_configuration(const struct machine *m);
uint64_t machine_now(const struct machine *m);          /* between runs: where the last one stopped */
uint64_t machine_instructions(const struct machine *m); /* retired by all processors */
uint64_t machine_state_hash(struct machine *m);         /* all state and RAM, equal on all hosts */

/* Guest-physical memory for loaders and debuggers: RAM and ROM, ROM writable. False when a byte of the
 * range is neither; nothing is written then. */
bool machine_memory_write(struct machine *m, uint64_t address, const void *data, uint64_t n);
bool machine_memory_read(const struct machine *m, uint64_t address, void *data, uint64_t n);
bool machine_memory_fill(struct machine *m, uint64_t address, uint8_t value, uint64_t n);
/* Host address of n bytes of RAM or ROM in one piece, NULL when the range is not. For loaders only. */
uint8_t *machine_memory_pointer(struct machine *m, uint64_t address, uint64_t n);
/* The RAM ranges: how many bytes below 3 GiB (from 0) and from 4 GiB. Holes below 1 MiB: A0000-BFFFF. */
uint64_t machine_memory_low(const struct machine *m);
uint64_t machine_memory_high(const struct machine *m);
/* Makes a range (4 KiB granules, below 4 GiB) ROM: readable, executable, writes dropped. */
bool machine_memory_add_rom(struct machine *m, uint64_t address, uint64_t n);

/* The input schedule: bytes typed into serial port `port`, offered to the guest at `cycle` (in the past:
 * now) at line speed. The schedule with its cycle stamps is what a replay feeds again. */
bool machine_input(struct machine *m, uint32_t port, uint64_t cycle, const uint8_t *data, size_t n);

#endif
