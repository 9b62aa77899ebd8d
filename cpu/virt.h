/* SPDX-License-Identifier: MIT */
/* The only door between the processor and a virtualization extension. cpu/ names no vendor: it calls
 * the ops of the current context at the points below. `virt_bare` answers outside any context.
 *
 * Contract for every call: s.gpr[REG_RIP] is the exact RIP of the instruction concerned (handlers
 * that may call are SOLO rows), RFLAGS are flushed, time is exact. A call that returns
 * VIRT_EXITED has switched the processor to another context (VM exit or entry failure): the caller
 * returns cpu_exited() at once and touches nothing more. SDM 3C ch. 24-29, APM 2 ch. 15. */
#ifndef UV_CPU_VIRT_H
#define UV_CPU_VIRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/state.h"

struct cpu;
struct uop;
struct insn;

enum icpt {
    ICPT_NONE,
#define ICPT(name, checked, what) ICPT_##name,
#include "cpu/icpt.def"
#undef ICPT
    ICPT_COUNT
};

enum virt_verdict { VIRT_CONTINUE, VIRT_EXITED };

/* What an instruction body tells about itself; only the members its icpt.def row names are set. */
struct icpt_info {
    const struct insn *insn; /* full decode of the instruction (operands, sizes, prefixes, length) */
    uint32_t number;         /* CR/DR number, port, MSR index, selector */
    uint32_t gpr;            /* register operand */
    uint64_t value;          /* value to be written */
    uint64_t address;        /* linear address of the memory operand */
    uint8_t size;            /* operand size in bytes */
    uint8_t flags;           /* enum icpt_flag */
};

enum icpt_flag {
    ICPT_F_MEM = 1,
    ICPT_F_IN = 2,
    ICPT_F_STRING = 4,
    ICPT_F_REP = 8,
    ICPT_F_IMM = 16 /* port in the immediate */
};

/* Second-stage (nested) translation of one guest-physical access. */
enum gpa_access_flag {
    GPA_READ = 1,
    GPA_WRITE = 2,
    GPA_EXEC = 4,
    GPA_USER = 8,        /* linear access had user rights */
    GPA_WALK = 16,       /* access to a paging structure, not the final address */
    GPA_LIN_VALID = 32,  /* linear address below is meaningful */
    GPA_WALK_AD = 64,    /* paging-structure access that sets A or D */
    GPA_LEAF_USER = 128, /* final access: U/S, R/W, XD of the guest's own translation */
    GPA_LEAF_WRITE = 256,
    GPA_LEAF_NX = 512,
    GPA_SHADOW_STACK = 1024,
    GPA_TRUSTED = 4096, /* final access: every entry of the walk was on a trusted page */
    GPA_DEBUG = 2048    /* no accessed/dirty update, no fault recorded: only the answer */
};

enum gpa_result_flag { GPA_R_TRUSTED = 1 /* paging structures on this page are trusted */ };

struct gpa_query {
    uint64_t gpa;
    uint64_t linear;
    uint32_t flags;
};

struct gpa_result {
    uint64_t hpa;       /* of the queried address */
    uint8_t page_shift; /* size of the second-stage page: 12, 21, 30 */
    uint8_t perms;      /* GPA_READ|GPA_WRITE|GPA_EXEC that a TLB entry may cache */
    uint8_t user_exec;  /* mode-based execute: perms for user fetches (else equals GPA_EXEC bit) */
    uint8_t flags;      /* enum gpa_result_flag */
};

/* Interrupt acknowledge and everything else that happens at an instruction boundary on behalf of the
 * virtualization context. Ranks are those of the priority table in event.c. */
enum virt_boundary {
    VIRT_B_TRAP_LIKE,   /* above SMI: APIC-write emulation, TPR below threshold, EOI */
    VIRT_B_MTF,         /* below INIT, above debug traps */
    VIRT_B_TIMER,       /* preemption timer, below debug traps */
    VIRT_B_NMI_WINDOW,  /* above NMI */
    VIRT_B_INTR_WINDOW, /* above virtual and external interrupts */
    VIRT_B_VIRTUAL_INTR /* deliver a virtual interrupt if one is recognized */
};

enum apic_access_kind { APIC_ACCESS_READ, APIC_ACCESS_WRITE, APIC_ACCESS_FETCH };

struct virt_ops {
    const char *name; /* "bare", "root", "guest": for traces */

    /* Instruction intercept (id armed in cpu->icpt_armed). */
    enum virt_verdict (*insn)(struct cpu *c, enum icpt id, const struct icpt_info *info);

    /* An exception, software interrupt or injected event is about to go through the IDT, before any
     * change of state other than CR2/DR6 rules that the op itself applies. */
    enum virt_verdict (*exception)(struct cpu *c, const struct event *ev);
    enum virt_verdict (*triple_fault)(struct cpu *c);
    enum virt_verdict (*task_switch)(struct cpu *c, uint16_t selector, int source, const struct event *ev,
                                     const struct insn *insn);

    /* Asynchronous events, called at a boundary when the event is pending and not held back by SMM,
     * shadow or activity. The op decides masking by IF as well, because virtualization changes it. */
    enum virt_verdict (*nmi)(struct cpu *c);
    enum virt_verdict (*smi)(struct cpu *c);
    enum virt_verdict (*init)(struct cpu *c);
    enum virt_verdict (*sipi)(struct cpu *c, uint8_t vector);
    enum virt_verdict (*extint)(struct cpu *c); /* may acknowledge through cpu->bus */
    bool (*extint_allowed)(struct cpu *c);      /* would an external interrupt be taken now? */
    bool (*nmi_allowed)(struct cpu *c);
    enum virt_verdict (*boundary)(struct cpu *c, enum virt_boundary point);
    /* Which VIRT_B_ points are wanted at the next boundary: bit mask. Evaluated from state. */
    uint32_t (*boundary_wanted)(struct cpu *c);
    /* Earliest cycle at which boundary_wanted() could change by time alone (preemption timer). */
    uint64_t (*next_deadline)(struct cpu *c);

    /* Second stage; NULL: guest-physical = host-physical. False: cpu->fault is set. */
    bool (*translate)(struct cpu *c, const struct gpa_query *q, struct gpa_result *r);
    /* Fault of class FAULT_SECOND_STAGE reached the run loop: take the exit. */
    enum virt_verdict (*second_stage_fault)(struct cpu *c);

    /* Virtual-APIC page; called when the final host-physical page equals cpu->apic_access_page.
     * Returns false with cpu->fault set (class FAULT_VIRT) when the access exits. */
    bool (*apic_access)(struct cpu *c, enum apic_access_kind kind, uint32_t offset, uint32_t size,
                        uint64_t *value);
    enum virt_verdict (*virt_fault)(struct cpu *c); /* FAULT_VIRT reached the run loop */

    /* Control-register and TPR views of the context. cr is 0, 4 or 8. */
    uint64_t (*cr_view)(struct cpu *c, int cr);
    /* Writes that the context changes (masks and shadows), VIRT_EXITED when intercepted,
     * *value replaced by what the real register receives. */
    enum virt_verdict (*cr8_write)(struct cpu *c, uint64_t value);

    /* What the real CR0/CR4 receives when a write of `value` is not intercepted: bits that the context owns
     * keep their present value. Called after insn(ICPT_CR_WRITE), before the checks of cpu_write_cr*().
     * NULL: the value itself. */
    uint64_t (*cr_merge)(struct cpu *c, int cr, uint64_t value);
    /* IRET begins: ends blocking of NMIs (real, virtual or not at all), even if the IRET faults later.
     * NULL: s.intr.nmi_blocked = 0. */
    void (*iret)(struct cpu *c);

    /* Would this NMI or external interrupt leave the context, so that the interrupt shadow does not hold it
     * back? NULL: the shadow holds all of them. */
    bool (*shadow_ignored)(struct cpu *c, bool nmi);
    /* With cpu->watch_locks: an instruction completed whose locked access crossed cache lines. */
    void (*bus_lock)(struct cpu *c);
    /* Is INIT held back for as long as this context lasts? NULL: no. */
    bool (*init_blocked)(struct cpu *c);

    /* Are matches of the breakpoint registers ignored now, beside GIF? NULL: no. */
    bool (*breakpoints_ignored)(struct cpu *c);

    /* PAE paging reads the page-directory-pointer entries from memory at each walk instead of keeping them
     * in registers (APM 2 15.25.10). */
    bool pdpte_in_memory;

    /* TSC as RDTSC sees it, given the machine TSC. */
    uint64_t (*tsc_view)(struct cpu *c, uint64_t tsc);
};

extern const struct virt_ops virt_bare;

/* The extension a CPU model carries, or NULL: instructions, MSRs, reset. One object per vendor. */
struct virt_ext {
    const char *name;
    size_t state_size;   /* bytes of its serializable state at cpu->ext_state, an array of uint64_t */
    size_t derived_size; /* bytes after it that restored() fills from the state */
    void (*reset)(struct cpu *c);
    /* Instruction rows with handler `virt_insn` (VMXON, VMRUN, INVEPT, ...): the whole instruction,
     * #UD and privilege ladder included. Returns what a handler returns (uop.h). */
    const struct uop *(*execute)(struct cpu *c, const struct uop *u, const struct insn *insn);
    /* MSRs of the extension: 1 handled, 0 not mine, -1 #GP(0). */
    int (*msr_read)(struct cpu *c, uint32_t index, uint64_t *value);
    int (*msr_write)(struct cpu *c, uint32_t index, uint64_t value);
    /* Bits of CR0/CR4/EFER that the extension forbids changing now: false is #GP(0). */
    bool (*cr_write_allowed)(struct cpu *c, int cr, uint64_t value);
    bool (*efer_write_allowed)(struct cpu *c, uint64_t value);
    /* CPUID leaves of the extension: fills regs[4] (EAX EBX ECX EDX), false: not mine. */
    bool (*cpuid)(struct cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
    /* A snapshot was loaded into s and ext_state, contents not to be trusted: make them safe and rebuild what
     * is derived from them (current ops, armed intercepts, tags). */
    void (*restored)(struct cpu *c);
    /* After RSM / on SMI entry: save and restore what is outside the state-save map. */
    void (*smm_enter)(struct cpu *c);
    void (*smm_leave)(struct cpu *c);
};

#endif
