/* SPDX-License-Identifier: MIT */
/* Inside of the machine: what its own files share. Others use machine.h. */
#ifndef UV_MACHINE_INTERNAL_H
#define UV_MACHINE_INTERNAL_H

#include <signal.h>

#include "apic/i8259.h"
#include "apic/io_apic.h"
#include "apic/local_apic.h"
#include "machine/devices/acpi_pm.h"
#include "machine/devices/debug_devices.h"
#include "machine/devices/hpet.h"
#include "machine/devices/i8042.h"
#include "machine/devices/i8254.h"
#include "machine/devices/pci.h"
#include "machine/devices/pci_testdev.h"
#include "machine/devices/rtc_cmos.h"
#include "machine/devices/system_control.h"
#include "machine/devices/uart16550.h"
#include "machine/irq.h"
#include "machine/machine.h"
#include "machine/mmio.h"
#include "machine/ports.h"

struct machine;

struct vcpu {
    struct cpu *cpu;
    struct local_apic apic;
    struct timer apic_timer;
    struct machine *machine;
    bool idle; /* cpu_run() found nothing to do; waits for a signal */
    uint32_t idle_attention;
    uint64_t deadline; /* while idle: cycle at which it wakes by itself */
};

struct input_event {
    uint64_t cycle;
    uint32_t port;
    uint8_t byte;
};

struct machine {
    struct machine_config config;
    struct bus bus;
    struct probe_bus probes;
    struct clock clock;
    struct memory_map memory;
    struct ports ports;
    struct mmio mmio;
    struct irq_board irq;

    struct vcpu vcpu[MACHINE_MAX_CPUS];
    uint32_t cpus;
    /* run.c, following from the vCPUs' state: who is not idle, who of the idle has a deadline, and when the
     * last one fell asleep. */
    uint64_t awake, timed, asleep_at;
    int32_t turn; /* vCPU whose turn it is, until clock.turn_limit; -1: the next is to be chosen */
    struct apic_bus apic_bus;
    struct io_apic io_apic;
    struct i8259 pic;

    struct i8254 pit;
    struct rtc rtc;
    struct hpet hpet;
    struct i8042 i8042;
    struct system_control system;
    struct acpi_pm pm;
    struct pci pci;
    struct pci_testdev pci_testdev;
    struct uart uart[MACHINE_MAX_SERIAL];
    struct debug_devices debug;
    struct fw_cfg fw_cfg;

    /* Input schedule: what has not been taken by the guest yet, in order of cycle. */
    struct input_event *input;
    uint32_t input_count, input_room;
    struct timer input_timer;

    /* Stop asked for by a device or from outside. */
    bool stop_pending;
    enum machine_stop stop;
    uint32_t stop_code;
    volatile sig_atomic_t stop_request;
    uint64_t debug_random; /* config.debug.drop_derived: where its sequence stands */
    uint64_t stopped_at;   /* cycle that the last machine_run() returned; 0 while running */
    uint64_t idle_since;   /* cycle from which no processor has run; CLOCK_NEVER: one runs */
};

/* A device ends the run: the first reason of a run wins. */
void machine_stop_with(struct machine *m, enum machine_stop stop, uint32_t code);
void machine_set_a20(struct machine *m, bool enabled);
/* machine.c: RAM changed by other means than a processor's store. */
void machine_memory_written(struct machine *m, uint64_t address, uint64_t n);
/* board.c: connects and claims everything; false: no memory or a conflict of addresses. */
bool board_setup(struct machine *m);
void board_reset(struct machine *m);
struct cpu_topology board_topology(const struct machine *m);
/* run.c */
void machine_run_restored(struct machine *m); /* after RESET and when state was loaded */
void machine_wake(struct machine *m, uint32_t index);
void machine_time_seen(struct machine *m, uint32_t index); /* software reads this vCPU's TSC */
/* state.c: every field of the machine but RAM, in canonical order. */
void machine_visit(struct machine *m, struct visitor *v);
void visit_segment(struct visitor *v, struct seg_reg *s);

#endif
