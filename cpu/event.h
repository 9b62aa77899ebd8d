/* SPDX-License-Identifier: MIT */
/* One pipeline for every event: recognise -> intercept? -> deliver through the IDT -> nested fault ->
 * double fault -> triple fault. cpu_boundary() is the only place that decides what happens between two
 * instructions, from the priority table in event.c. SDM 3A ch. 6; APM 2 ch. 8. */
#ifndef UV_CPU_EVENT_H
#define UV_CPU_EVENT_H

#include "cpu/cpu.h"

enum vector {
    VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6, VEC_NM = 7,
    VEC_DF = 8, VEC_CSO = 9, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14,
    VEC_MF = 16, VEC_AC = 17, VEC_MC = 18, VEC_XM = 19, VEC_VE = 20, VEC_CP = 21
};

/* Called by the run loop when cpu->attention is set: delivers at most one event, or takes one exit, or
 * changes activity. Returns with attention recomputed. */
void cpu_boundary(struct cpu *c);

/* One instruction has ended on the exact path (run loop): ages interrupt shadows that it did not itself
 * start and turns TF, sampled at its start, into pending_dbg.BS. Not called after a fault. */
void cpu_insn_done(struct cpu *c, bool tf_at_start);

/* Recomputes cpu->attention from state: pending events not blocked now, shadows, TF, armed code
 * breakpoints, activity, virt boundary points. Call after any change of these. */
void cpu_update_attention(struct cpu *c);

/* Sends an event through the intercept question and the IDT (or task gate, or real-mode vector table),
 * with all nested-fault rules. Leaves the processor in the handler, in an exited context, in
 * shutdown, or with FAULT_SECOND_STAGE handled. For software events RIP is still at the
 * instruction and event.insn_length says how far to step. */
void cpu_deliver(struct cpu *c, const struct event *ev);

/* The fault recorded in c->fault by a handler, taken to its end (run loop only). */
void cpu_handle_fault(struct cpu *c);

/* VM entry: deliver an injected event (never itself intercepted, nested faults are). */
void cpu_inject(struct cpu *c, const struct event *ev);

/* Lines from outside (machine/, apic/). */
void cpu_signal_nmi(struct cpu *c);
void cpu_signal_smi(struct cpu *c);
void cpu_signal_init(struct cpu *c);
void cpu_signal_sipi(struct cpu *c, uint8_t vector);
void cpu_signal_intr(struct cpu *c); /* INTR may have changed: look at bus->intr_pending again */

/* Debug exceptions, SDM 3B 18. Trap-class conditions are merged into s.pending_dbg. */
void debug_data_access(struct cpu *c, uint64_t lin, uint32_t size, bool write);
void debug_io_access(struct cpu *c, uint16_t port, uint32_t size);

#endif
