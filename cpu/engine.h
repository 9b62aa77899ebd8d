/* SPDX-License-Identifier: MIT */
/* Decoded blocks of one processor: built once from the bytes of a physical page, looked up by linear address,
 * chained. Everything here is derived state. docs/architecture.md, "Engine". */
#ifndef UV_CPU_ENGINE_H
#define UV_CPU_ENGINE_H

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "cpu/uop.h"
#include "cpu/virt.h"

/* cpu->mode: everything that changes what bytes mean or which handler variant runs. */
enum mode_bit {
    MODE_CODE = DECODE_MASK, /* enum decode_mode */
    MODE_SS32 = 4,           /* stack pointer is ESP (outside 64-bit mode) */
    MODE_USER = 8,           /* CPL 3: execute rights */
    MODE_NOPROT = 16,        /* real or virtual-8086: A_PROT rows are #UD */
    MODE_CS_FLAT = 32,       /* CS base 0, limit 4 GBytes, or 64-bit mode: blocks may be linked */
    MODE_SINGLE = 64,        /* blocks of one instruction for the exact path (not in cpu->mode) */
    MODE_LOCKS = 128         /* locked accesses are watched (cpu->watch_locks) */
};

enum {
    BLOCK_MAX_INSNS = 40,
    BLOCK_MAX_UOPS = 2 + 3 * BLOCK_MAX_INSNS,
    JUMP_CACHE_BITS = 12,
    BLOCK_HASH_BITS = 15,
    CODE_PAGE_BITS = 12,
    ARENA_BYTES = 24 << 20
};

struct block_link {
    struct uop *from;        /* uop whose imm holds the target's head, NULL: not linked */
    struct block_link *next; /* further links into the same target */
};

struct block {
    uint64_t hpa;      /* of the first byte; ~0: dead */
    uint64_t hpa_next; /* first byte of the second page when an instruction crosses, else ~0 */
    uint32_t mode;
    uint16_t bytes, insns;
    uint32_t cost;
    struct block *hash_next;
    struct block *page_next[2]; /* blocks of a page: by first page, by second page */
    struct block_link *incoming;
    struct block_link link[2]; /* taken branch, fall-through */
    struct uop uop[];          /* head, instructions with their gates, end */
};

struct jump_entry {
    uint64_t lin;
    uint32_t mode, generation;
    const struct uop *head;
    uint64_t pad;
};

struct code_page {
    uint64_t number; /* hpa >> PAGE_SHIFT */
    struct block *first;
    struct code_page *next;
};

struct engine {
    struct cpu *cpu;
    struct engine *bus_next;
    struct jump_entry jump[1 << JUMP_CACHE_BITS];
    struct block *hash[1 << BLOCK_HASH_BITS];
    struct code_page *pages[1 << CODE_PAGE_BITS];
    uint8_t *arena;
    uint32_t arena_used;
    bool running, drop_wanted;  /* a drop asked for while blocks run waits for the next boundary */
    bool exited;                /* the last instruction changed the virtualization context */
    bool no_peephole, no_chain; /* tests compare both forms */
    uint16_t costs[TIMING_COUNT];
    const struct uop *pending_link; /* ended without a target: link it when the target is found */
    struct block *scratch;          /* not cached: code outside RAM or at the segment limit */
    struct insn current;            /* cpu_current_insn */
    struct icpt_info gate_info;
    uint64_t last_cs_base, last_cs_limit;
    uint64_t blocks_built, exact_steps, lookups, drops;
};

struct engine *engine_create(struct cpu *c); /* NULL: no memory. Joins c->bus, which must have ram_top set. */
void engine_destroy(struct engine *e);
/* Forget every block; while an instruction runs, at its end. */
void engine_drop(struct engine *e);

/* Recomputes c->mode and c->cs_base from CS, SS, CR0.PE, EFER.LMA, RFLAGS.VM and CPL: part of
 * cpu_mode_changed(). */
void engine_update_mode(struct cpu *c);

/* RAM changed behind the blocks: every processor on the bus forgets blocks made from these bytes. Called
 * by the memory slow path (exact mode only) and for DMA. */
void engine_bus_written(struct bus *bus, uint64_t hpa, uint64_t n);
static inline void engine_code_written(struct cpu *c, uint64_t hpa, uint32_t n)
{
    engine_bus_written(c->bus, hpa, n);
}
/* May blocks have been made from one of these bytes (inside one page)? When false on a PAGE_CODE page, a
 * write needs no exact time and no engine_code_written(). */
static inline bool engine_line_has_code(const struct bus *bus, uint64_t hpa, uint32_t n)
{
    unsigned first = hpa >> 6 & 63, last = (hpa + n - 1) >> 6 & 63;
    uint64_t mask = (~UINT64_C(0) >> (63 - last)) & (~UINT64_C(0) << first);
    return bus->code_lines && (bus->code_lines[hpa >> PAGE_SHIFT] & mask) != 0;
}

/* First uop of the block at `rip` when it was executed lately under the same translations. */
static inline struct jump_entry *jump_slot(struct engine *e, uint64_t lin)
{
    return &e->jump[(lin ^ lin >> JUMP_CACHE_BITS) & ((1 << JUMP_CACHE_BITS) - 1)];
}
static inline const struct uop *engine_jump(struct cpu *c, uint64_t rip)
{
    uint64_t lin = c->cs_base + rip;
    const struct jump_entry *j = jump_slot(c->engine, lin);
    return j->lin == lin && j->mode == c->mode && j->generation == c->exec_generation ? j->head : NULL;
}

#ifdef UV_TAIL_CALLS
#define JUMP_TO(target) UV_MUSTTAIL return (target)->fn(c, target)
#else
#define JUMP_TO(target) return target
#endif

static inline const struct uop *u_link(const struct uop *u) { return (const struct uop *)(uintptr_t)u->imm; }

/* build.c: the block at lin/hpa, not yet entered anywhere, in e->arena or e->scratch. NULL: fault set, or
 * no room (c->fault.kind is FAULT_NONE): drop and try again. */
struct block *block_build(struct cpu *c, uint64_t lin, uint64_t hpa, uint32_t mode, bool cached);
/* The handler of a set for this instruction's operands. */
uop_fn *uop_select(const struct uop_set *set, const struct insn *in, uint32_t mode);
/* peephole.c: pos[i] is the uop of insns[i]. */
void block_peephole(struct block *b, const struct insn *insns, struct uop *const *pos, unsigned n);

/* Pseudo micro-ops of engine.c that the builder places. */
HANDLER(block_head);
HANDLER(single_head);
HANDLER(block_end); /* to the next instruction in the same page */
HANDLER(block_end64);
HANDLER(block_end_far);  /* ... in another page, or not to be linked */
HANDLER(block_end_solo); /* after a SOLO instruction */
HANDLER(single_end);
HANDLER(gate_solo); /* imm: ICPT_ id; flags UOP_LOCK: A_CPL0 */
HANDLER(gate_lock); /* a locked access that may cross a cache line */
HANDLER(gate_x87);
HANDLER(gate_x87_nowait);
HANDLER(gate_mmx);
HANDLER(gate_sse);
HANDLER(bias_rip);
HANDLER(raise_ud);
HANDLER(raise_gp);

#endif
