/* SPDX-License-Identifier: MIT */
/* One pipeline for every event: recognise -> intercept? -> deliver through the IDT -> nested fault ->
 * double fault -> triple fault. cpu_boundary() is the only place that decides what happens between two
 * instructions, from the priority table in event.c. SDM 3A ch. 6; APM 2 ch. 8. */
#ifndef UV_CPU_EVENT_H
#define UV_CPU_EVENT_H

#include "cpu/cpu.h"

enum vector {
    VEC_DE = 0,
    VEC_DB = 1,
    VEC_NMI = 2,
    VEC_BP = 3,
    VEC_OF = 4,
    VEC_BR = 5,
    VEC_UD = 6,
    VEC_NM = 7,
    VEC_DF = 8,
    VEC_CSO = 9,
    VEC_TS = 10,
    VEC_NP = 11,
    VEC_SS = 12,
    VEC_GP = 13,
    VEC_PF = 14,
    VEC_MF = 16,
    VEC_AC = 17,
    VEC_MC = 18,
    VEC_XM = 19,
    VEC_VE = 20,
    VEC_CP = 21
};

/* Called by the run loop when cpu->attention is set: delivers at most one event, or takes one exit, or
 * changes activity, and then returns false: look at budget, stop and attention again. True: nothing
 * stands before the next instruction; execute exactly one on the exact path, then cpu_insn_done(). */
bool cpu_boundary(struct cpu *c);

/* One instruction has ended on the exact path (run loop): ages interrupt shadows and RF that it did not
 * itself load and turns TF, sampled at its start, into pending_dbg.BS. Not called after a fault or an exit.
 */
void cpu_insn_done(struct cpu *c, bool tf_at_start);

/* The interrupt shadow and RF as an instruction (or VM entry, RSM) loads them: last one instruction more. */
void cpu_set_shadow(struct cpu *c, bool sti, bool movss);
void cpu_keep_rf(struct cpu *c);

/* Recomputes cpu->attention from state: pending events not blocked now, shadows, TF, armed code
 * breakpoints, activity, virt boundary points. Call after any change of these. */
void cpu_update_attention(struct cpu *c);

/* Sends an event through the intercept question and the IDT (or task gate, or real-mode vector table),
 * with all nested-fault rules. Leaves the processor in the handler (VIRT_CONTINUE; shutdown included), or in
 * another context (VIRT_EXITED). Hardware exceptions, INT1, INT3 and INTO are put to virt->exception;
 * external interrupts, NMIs, INT n and injected events are not: who recognised them asked before. For
 * software events RIP is still at the instruction and event.insn_length says how far to step. While delivery
 * is under way s.delivering is the event; it is not valid when virt->exception is asked about a first event
 * or a double fault, and holds the earlier event when asked about a nested one. */
enum virt_verdict cpu_deliver(struct cpu *c, const struct event *ev);

/* What bare hardware does with an asynchronous event, for the ops of contexts that let it pass. The
 * event leaves its pending place; false when there was nothing to acknowledge. */
bool cpu_take_extint(struct cpu *c);
bool cpu_take_nmi(struct cpu *c);
bool cpu_take_init(struct cpu *c);
bool cpu_take_sipi(struct cpu *c, uint8_t vector);

/* Does the RFLAGS image pushed (or saved by an exit) for this exception have RF = 1? SDM 3B 18.3.1.1 */
bool event_is_fault(const struct event *ev);

/* The fault recorded in c->fault by a handler, taken to its end (run loop only). */
void cpu_handle_fault(struct cpu *c);

/* VM entry: deliver an injected event (never itself intercepted, nested faults are). */
enum virt_verdict cpu_inject(struct cpu *c, const struct event *ev);

/* Lines from outside (machine/, apic/). */
void cpu_signal_nmi(struct cpu *c);
void cpu_signal_smi(struct cpu *c);
void cpu_signal_init(struct cpu *c);
void cpu_signal_sipi(struct cpu *c, uint8_t vector);
void cpu_signal_intr(struct cpu *c); /* INTR may have changed: look at bus->intr_pending again */

/* Debug exceptions, SDM 3B 18. Trap-class conditions are merged into s.pending_dbg. */
void debug_data_access(struct cpu *c, uint64_t lin, uint32_t size, bool write);
void debug_io_access(struct cpu *c, uint16_t port, uint32_t size);
/* B bits of the instruction breakpoints that match and are enabled for the next instruction; 0: none. */
uint64_t debug_code_match(struct cpu *c);
/* DR7 has an enabled breakpoint of the kind: instruction, data or I/O. */
bool debug_code_armed(const struct cpu *c);
bool debug_data_armed(const struct cpu *c);
bool debug_io_armed(const struct cpu *c);

/* DEBUGCTL.BTF: before and after an instruction, was it a taken branch? */
void debug_note_step(struct cpu *c);
bool debug_step_traps(struct cpu *c);

/* s.pending_dbg has the layout of the pending-debug-exceptions field of a VM exit: DR6 bits, plus
 * PENDING_BP when an enabled data or I/O breakpoint matched. B bits alone cause no #DB. */
enum dr6_bit { DR6_B = 0xf, PENDING_BP = 1 << 12, DR6_BD = 1 << 13, DR6_BS = 1 << 14, DR6_BT = 1 << 15 };

#endif
