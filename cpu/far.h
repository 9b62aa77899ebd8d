/* SPDX-License-Identifier: MIT */
/* Far transfers, returns from interrupts, task switches and system calls: the bodies behind the rows of
 * isa/control.def. All return false with cpu->fault set and nothing changed (but see task_switch), and
 * true with CS, RIP, stack and flags in their new state. A false with FAULT_NONE: another
 * context took over (an intercepted task switch). SDM 3A ch. 5, 7; SDM 2 CALL, JMP, RET, IRET. */
#ifndef UV_CPU_FAR_H
#define UV_CPU_FAR_H

#include "cpu/insn.h"
#include "cpu/segment.h"

/* size: operand size in bytes. next: RIP behind the instruction. insn is for task-switch intercepts. */
bool far_jump(struct cpu *c, uint16_t sel, uint64_t off, uint32_t size, uint64_t next,
              const struct insn *insn);
bool far_call(struct cpu *c, uint16_t sel, uint64_t off, uint32_t size, uint64_t next,
              const struct insn *insn);
bool far_return(struct cpu *c, uint32_t size, uint32_t release);
bool far_iret(struct cpu *c, uint32_t size, uint64_t next, const struct insn *insn);

/* Numbers of the task-switch exit qualification. */
enum task_source { TASK_CALL, TASK_IRET, TASK_JMP, TASK_GATE };

struct task_switch {
    enum task_source source;
    uint16_t selector;
    struct desc desc;          /* of the new TSS: type and presence are checked by the caller */
    const struct event *event; /* TASK_GATE: what is delivered */
    uint64_t rip, rflags;      /* what the old TSS receives */
    const struct insn *insn;
};
/* SDM 3A 7.3. Faults after the new TR is loaded belong to the new task: its state is then in place. */
bool task_switch(struct cpu *c, const struct task_switch *t);

/* Stacks of inner levels in the current TSS. */
bool tss_inner_stack(struct cpu *c, unsigned level, uint16_t *ss, uint64_t *sp);
bool tss_stack64(struct cpu *c, unsigned slot, uint64_t *sp); /* 0-2 RSPn, 3 + n ISTn */

/* Software-interrupt redirection map of the TSS: clear bit = handled by the 8086 program. SDM 3B 21.3.3 */
bool v86_int_redirected(struct cpu *c, uint8_t vector, bool *redirected);
/* May the current code touch these ports? #GP(0) if not. SDM 1 19.5 */
bool io_check_permission(struct cpu *c, uint16_t port, uint32_t size);

bool sys_call(struct cpu *c, uint64_t next);
bool sys_return(struct cpu *c, bool to64);
bool sys_enter(struct cpu *c);
bool sys_exit(struct cpu *c, bool to64);

#endif
