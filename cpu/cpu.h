/* SPDX-License-Identifier: MIT */
/* One logical processor: architectural state (`s`), everything derived from it, and its connections.
 * Derived members can be dropped at any moment (cpu_drop_derived) without changing behaviour. */
#ifndef UV_CPU_CPU_H
#define UV_CPU_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/bus.h"
#include "cpu/cpuid.h"
#include "cpu/probe.h"
#include "cpu/state.h"
#include "cpu/virt.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

struct engine; /* decoded blocks, engine.c */
struct block;
struct tlb; /* tlb.h */
struct tlb_entry;

/* Lazy flags: result sign-extended to 64 bits plus a vector (flags.h). Canonical RFLAGS are in
 * s.rflags after cpu_flush_flags(); the system bits of s.rflags are always current. */
struct lazy_flags {
    uint64_t result;
    uint64_t aux;
};

enum fault_class {
    FAULT_NONE,
    FAULT_EXCEPTION,    /* fault.event */
    FAULT_SECOND_STAGE, /* fault.gpa: EPT violation / misconfiguration, nested page fault */
    FAULT_VIRT,         /* an exit decided inside a memory access (APIC page); the context knows */
    FAULT_EXACT         /* not a fault: redo this one instruction alone, exactly timed: MMIO, code write */
};

struct fault {
    enum fault_class kind;
    struct event event;
    struct gpa_query gpa;
    uint32_t virt_reason; /* for the context's own use */
    uint64_t virt_info;
};

/* Why cpu_run() came back. */
enum run_stop {
    STOP_BUDGET,   /* reached the cycle asked for */
    STOP_IDLE,     /* HLT, MWAIT, shutdown or wait-for-SIPI with nothing pending */
    STOP_SHUTDOWN, /* triple fault outside any guest */
    STOP_DEBUG,    /* breakpoint or step for a debugger */
    STOP_REQUEST   /* cpu_request_stop() */
};

enum attention {
    ATT_INTR = 1,
    ATT_NMI = 2,
    ATT_SMI = 4,
    ATT_INIT = 8,
    ATT_SIPI = 16,
    ATT_SHADOW = 32,   /* an interrupt shadow is open and must be closed after one instruction */
    ATT_TRAP = 64,     /* TF or pending debug exceptions */
    ATT_CODE_BP = 128, /* an enabled instruction breakpoint: exact path */
    ATT_VIRT = 256,    /* a boundary point of the context is wanted */
    ATT_IDLE = 512,    /* activity is not ACTIVE */
    ATT_STOP = 1024,
    ATT_INSN_PROBE = 2048,
    ATT_EXACT = 4096 /* one instruction runs on the exact path: no block may be entered */
};

/* What segmentation allows of one segment without looking closer: an access of n bytes at `off` is good
 * when off + n <= top. 0 sends every access to the full check (seg_linear). */
struct seg_window {
    uint64_t base;
    uint64_t read_top, write_top;
};

/* Where an open read-modify-write goes. host NULL: one or two pieces, each RAM, MMIO or dropped. */
struct mem_piece {
    uint8_t *host;
    uint64_t hpa;
    uint64_t lin;
    uint32_t size;
    uint32_t kind; /* mem.c */
};
struct rmw_place {
    uint8_t *host;
    struct mem_piece piece[2];
};

struct cpu {
    struct cpu_state s; /* first: handlers index gpr[] from the struct's address */

    /* Hot derived state. */
    struct lazy_flags fl;
    int64_t budget; /* cycles left before cycle_limit; now = cycle_limit - budget */
    uint64_t cycle_limit;
    uint32_t attention;       /* enum attention; 0: run blocks */
    uint32_t mode;            /* decode mode, stack size and further block-key bits (engine.h) */
    uint32_t exec_generation; /* counts changes of linear-to-physical execute mappings (mem.h) */
    uint64_t cs_base;         /* added to RIP to fetch: CS base, 0 in 64-bit mode */
    struct tlb *tlb;
    uint32_t tlb_tag;                 /* VPID/ASID tag of the current context; 0 outside */
    uint32_t mmu_index;               /* enum mmu_index (tlb.h) */
    struct tlb_entry *tlb_l1;         /* slots that the fast path looks at */
    uint64_t tlb_ctx;                 /* low tag bits: address space and paging rights in force */
    struct seg_window win[SEG_COUNT]; /* mem_update_window() */
    uint64_t mem_value[2];            /* result of a slow read */
    uint64_t mem_lin;                 /* linear address of the last slow access */
    struct rmw_place rmw;
    uint8_t paging_mode; /* enum paging_mode (tlb.h) */
    uint8_t mem_checked; /* #AC or data breakpoints armed: every access takes the slow path */
    bool exact;          /* executing one instruction alone: MMIO and code writes allowed */
    bool stop_requested;
    bool high_root_used; /* paging.c: a second root for linear addresses that start with high_prefix ones */
    uint8_t write_granule_shift; /* the second stage may allow writes by smaller blocks than a page; 0: no */
    uint32_t high_prefix;
    uint64_t high_root;
    bool watch_locks;             /* the context wants to know of bus locks (virt_ops.bus_lock) */
    bool bus_lock;                /* engine.c: the instruction of this step asserts one */
    bool shadow_fresh;            /* event.c: the instruction just executed opened the interrupt shadow */
    bool rf_fresh;                /* it loaded RF */
    bool no_step;                 /* it delivered an event: its own TF makes no single-step trap */
    uint64_t step_rip, step_next; /* DEBUGCTL.BTF: the instruction under way and its successor */
    bool iret_unblocked_nmi;      /* an IRET under way (or faulted just now) ended blocking of NMIs */
    bool shutdown;                /* triple fault outside any guest: cpu_run() returns STOP_SHUTDOWN */
    uint8_t id;
    uint8_t phys_bits, lin_bits;

    struct fault fault;
    struct engine *engine;
    const struct block *block; /* being executed */

    /* Configuration and connections, constant after cpu_create. */
    const struct cpu_model *model;
    uint64_t features[8];         /* bit FEAT_x: advertised */
    struct cpu_topology topology; /* set by the board after cpu_create; zero: one of each */
    uint32_t apic_id;             /* initial APIC ID; set by the board, else the processor's number */
    uint32_t quirks;              /* bit of enum cpu_quirk (quirk.h): properties of the model */
    struct bus *bus;
    struct probe_bus *probes;

    /* Virtualization. */
    const struct virt_ops *virt; /* current context, never NULL */
    const struct virt_ext *ext;  /* NULL: the model has none */
    void *ext_state;
    uint64_t icpt_armed[(ICPT_COUNT + 63) / 64];
    /* Instructions that the context takes away although the model advertises them (RDTSCP, INVPCID, XSAVES
     * ... with their control clear): #UD before any other check of theirs. */
    uint64_t icpt_undefined[(ICPT_COUNT + 63) / 64];
    uint64_t apic_access_page;  /* host-physical, ~0 none */
    uint64_t second_stage_root; /* distinguishes translations; ~0 none */

    /* Derived caches of the cold kind, owned by the file named. */
    void *mmu_cache;   /* paging.c */
    void *debug_hooks; /* gdb breakpoints and watchpoints, debug_stub.c */
};

static inline bool icpt_armed(const struct cpu *c, enum icpt id)
{
    return (c->icpt_armed[id / 64] >> (id % 64) & 1) != 0;
}
static inline bool icpt_undefined(const struct cpu *c, enum icpt id)
{
    return (c->icpt_undefined[id / 64] >> (id % 64) & 1) != 0;
}
static inline bool has_feature(const struct cpu *c, unsigned feat)
{
    return (c->features[feat / 64] >> (feat % 64) & 1) != 0;
}
static inline uint64_t *rip_of(struct cpu *c) { return &c->s.gpr[REG_RIP]; }

/* Time now: machine cycles, all vCPUs on one scale. Inside a SOLO instruction or the exact path this
 * includes that instruction's own cost. */
static inline uint64_t cpu_now(const struct cpu *c) { return c->cycle_limit - (uint64_t)c->budget; }

/* Mode predicates. */
static inline bool in_long_mode(const struct cpu *c) { return (c->s.efer & EFER_LMA) != 0; }
static inline bool in_64bit(const struct cpu *c)
{
    return in_long_mode(c) && (c->s.seg[SEG_CS].ar & AR_L) != 0;
}
static inline bool in_v86(const struct cpu *c) { return (c->s.rflags & FL_VM) != 0; }
static inline bool in_real(const struct cpu *c) { return (c->s.cr0 & CR0_PE) == 0; }
static inline bool in_protected(const struct cpu *c) { return !in_real(c) && !in_v86(c); }

/* features: FEAT_ bits wanted (already reduced to what the model and the build offer). NULL on
 * exhausted memory. */
struct cpu *cpu_create(int id, const struct cpu_model *model, const uint64_t *features, struct bus *bus,
                       struct probe_bus *probes);
void cpu_destroy(struct cpu *c);
/* Gives the processor its virtualization extension (state zeroed and reset). False: no memory. */
bool cpu_attach_extension(struct cpu *c, const struct virt_ext *ext);
void cpu_reset(struct cpu *c);      /* power-on / RESET#: SDM 3A 10.1 */
void cpu_init_reset(struct cpu *c); /* INIT: keeps FPU, MSRs, caches */
void cpu_drop_derived(struct cpu *c);

/* Runs until machine cycle `until` or an earlier stop. Resumes exactly where it stopped. */
enum run_stop cpu_run(struct cpu *c, uint64_t until);
/* A device scheduled something earlier than the current limit: stop there instead. */
void cpu_limit(struct cpu *c, uint64_t cycle);
void cpu_request_stop(struct cpu *c);

/* Records a fault for the FAULT exit of a handler. Always returns false, so `return cpu_raise(...)`
 * reads well in memory code. */
bool cpu_raise(struct cpu *c, uint8_t vector);
bool cpu_raise_error(struct cpu *c, uint8_t vector, uint32_t error);
bool cpu_raise_pf(struct cpu *c, uint64_t linear, uint32_t error);

/* Canonical RFLAGS. */
void cpu_flush_flags(struct cpu *c);
uint64_t cpu_read_rflags(struct cpu *c);
void cpu_write_rflags(struct cpu *c, uint64_t value); /* all bits, reloads the lazy form */

/* CS/SS/EFER/CR0/RFLAGS.VM/CPL changed by other means than the far-transfer code: recompute mode, key,
 * translation state and attention. */
void cpu_mode_changed(struct cpu *c);

/* Control registers and MSRs with all checks of the instruction (SDM 2B MOV CR, WRMSR): false with
 * fault #GP(0) set. The context's masks are applied by the instruction body, not here. */
bool cpu_write_cr0(struct cpu *c, uint64_t value);
bool cpu_write_cr3(struct cpu *c, uint64_t value); /* bit 63: no flush, when PCIDE */
bool cpu_write_cr4(struct cpu *c, uint64_t value);
bool cpu_write_efer(struct cpu *c, uint64_t value);
bool cpu_read_msr(struct cpu *c, uint32_t index, uint64_t *value);
bool cpu_write_msr(struct cpu *c, uint32_t index, uint64_t value);
uint64_t cpu_read_tsc(struct cpu *c);
uint64_t
cpu_sample_tsc(struct cpu *c); /* for software to see: the other processors catch up before it goes on */
void cpu_cpuid(struct cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);

/* Segment loads for contexts (VM entry/exit, RSM): no checks, hidden part given. */
void cpu_load_segment(struct cpu *c, enum seg_id seg, const struct seg_reg *value);

#endif
