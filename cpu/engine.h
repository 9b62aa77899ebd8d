/* SPDX-License-Identifier: MIT */
/* Decoded blocks of one processor: built once from the bytes of a physical page, looked up by linear address,
 * chained. Everything here is derived state. docs/architecture.md, "Engine". */
#ifndef UV_CPU_ENGINE_H
#define UV_CPU_ENGINE_H

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "cpu/uop.h"

/* cpu->mode: everything that changes what bytes mean or which handler variant runs. */
enum mode_bit {
    MODE_CODE = DECODE_MASK, /* enum decode_mode */
    MODE_SS32 = 4,           /* stack pointer is ESP (outside 64-bit mode) */
    MODE_USER = 8,           /* CPL 3: execute rights */
    MODE_NOPROT = 16,        /* real or virtual-8086: A_PROT rows are #UD */
    MODE_SINGLE = 32         /* blocks of one instruction for the exact path (not in cpu->mode) */
};

enum {
    BLOCK_MAX_INSNS = 48,
    JUMP_CACHE_BITS = 12,
    BLOCK_HASH_BITS = 15,
    ARENA_BYTES = 24 << 20
};

/* One outgoing chain of a block, a member of the target's list of incoming ones. */
struct block_link {
    struct uop *end; /* its imm holds the target's first uop, or 0 */
    struct block_link *next;
};

struct block {
    uint64_t hpa;      /* of the first byte; ~0: dead */
    uint64_t hpa_next; /* page of the tail when an instruction crosses, else ~0 */
    uint32_t mode;
    uint16_t bytes, insns;
    uint32_t cost;
    uint8_t solo;
    struct block *hash_next;
    struct block *page_next[2]; /* lists of blocks by page: first page, tail page */
    struct block_link *incoming;
    struct block_link link[2];
    struct uop uop[]; /* head, one for each instruction, end */
};

struct jump_entry {
    uint64_t lin;
    uint32_t mode, generation;
    const struct uop *head;
    uint64_t pad;
};

struct code_page {
    uint64_t page; /* hpa >> 12 */
    struct block *first;
    struct code_page *next;
};

struct engine {
    struct cpu *cpu;
    struct engine *bus_next;
    struct jump_entry jump[1 << JUMP_CACHE_BITS];
    struct block *hash[1 << BLOCK_HASH_BITS];
    struct code_page *pages[1 << 12];
    uint8_t *arena;
    uint32_t arena_used;
    uint32_t costs[TIMING_COUNT];
    bool no_peephole; /* tests: compare with the plain form */
    bool no_chain;
    bool drop_pending;
    struct insn current; /* cpu_current_insn */
    uint64_t blocks_built, exact_steps, flushes;
};

struct engine *engine_create(struct cpu *c); /* NULL: no memory. Registers itself with c->bus. */
void engine_destroy(struct engine *e);
void engine_drop(struct engine *e); /* forget every block (at the next instruction boundary when running) */

/* Recomputes c->mode and c->cs_base from CS, SS, CR0.PE, EFER.LMA, RFLAGS.VM and CPL: part of cpu_mode_changed(). */
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

/* build.c */
struct block *block_build(struct cpu *c, uint64_t lin, uint64_t hpa, uint32_t mode);
/* peephole.c */
void block_peephole(struct engine *e, struct block *b, const struct insn *insns);

#endif
