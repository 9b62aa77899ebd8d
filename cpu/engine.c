/* SPDX-License-Identifier: MIT */
/* The run loop: blocks by linear address, chaining, exact path, time, faults, code that is written to.
 * Time is charged at block heads and given back on the way out, so it is exact at every instruction that
 * can be observed (docs/architecture.md, "Engine"). SDM 3A 8.1.3 (self-modifying code). */
#include "cpu/engine.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/mem.h"

/* --- Block heads and ends ------------------------------------------------------------------------ */

/* imm: the block, cost: of the whole block, disp: instructions in it. */
HANDLER(block_head)
{
    int64_t left = c->budget - u->cost;
    if (UNLIKELY(left < 0 || c->attention != 0)) return NULL;
    c->budget = left;
    c->s.insns += (uint32_t)u->disp;
    c->block = (const struct block *)(uintptr_t)u->imm;
    NEXT;
}

HANDLER(single_head)
{
    c->budget -= u->cost;
    c->s.insns += (uint32_t)u->disp;
    c->block = (const struct block *)(uintptr_t)u->imm;
    NEXT;
}

/* A block that was invalidated: its head sends everybody back to the loop. */
static HANDLER(block_dead)
{
    (void)c;
    (void)u;
    return NULL;
}

HANDLER(block_end)
{
    c->s.gpr[REG_RIP] = rip_mask(c, c->s.gpr[REG_RIP] + (uint64_t)(int64_t)u->off);
    if (LIKELY(u->imm != 0)) JUMP_TO(u_link(u));
    c->engine->pending_link = u;
    return NULL;
}

HANDLER(block_end64)
{
    c->s.gpr[REG_RIP] += (uint64_t)(int64_t)u->off;
    if (LIKELY(u->imm != 0)) JUMP_TO(u_link(u));
    c->engine->pending_link = u;
    return NULL;
}

HANDLER(block_end_far)
{
    uint64_t rip = rip_mask(c, c->s.gpr[REG_RIP] + (uint64_t)(int64_t)u->off);
    const struct uop *target = engine_jump(c, rip);
    c->s.gpr[REG_RIP] = rip;
    if (LIKELY(target != NULL)) JUMP_TO(target);
    return NULL;
}

HANDLER(block_end_solo)
{
    uint64_t rip = rip_mask(c, c->s.gpr[REG_RIP] + (uint64_t)(int64_t)u->off);
    c->s.gpr[REG_RIP] = rip;
    if (c->attention) return NULL;
    const struct uop *target = engine_jump(c, rip);
    if (LIKELY(target != NULL)) JUMP_TO(target);
    return NULL;
}

HANDLER(single_end)
{
    c->s.gpr[REG_RIP] = rip_mask(c, c->s.gpr[REG_RIP] + (uint64_t)(int64_t)u->off);
    return NULL;
}

const struct uop *cpu_end_block(struct cpu *c, const struct uop *u)
{
    (void)u;
    if (c->attention || c->exact || c->engine->drop_wanted) return NULL;
    return engine_jump(c, c->s.gpr[REG_RIP]);
}

/* --- Gates: checks that the table asks for, before the instruction's own body --------------------- */

/* Contract of virt.h: RIP exact (SOLO), RFLAGS flushed. */
HANDLER(gate_solo)
{
    enum icpt id = (enum icpt)u->imm;
    cpu_flush_flags(c);
    if (id != ICPT_NONE && UNLIKELY(icpt_undefined(c, id))) RAISE(VEC_UD);
    if (u->flags & UOP_LOCK && c->s.cpl != 0) RAISE_ERR(VEC_GP, 0);
    if (u->flags & UOP_IMM && UNLIKELY(icpt_armed(c, id))) {
        static const struct icpt_info none;
        struct icpt_info *info = &c->engine->gate_info;
        *info = none;
        info->insn = cpu_current_insn(c, u);
        if (c->virt->insn(c, id, info) == VIRT_EXITED) EXITED;
    }
    NEXT;
}

/* A locked access across two cache lines asserts the bus lock: noted when the instruction runs alone, told
 * to the context when it completes. SDM 3A 8.1.2.3, 17.3.1.6 */
HANDLER(gate_lock)
{
    enum { CACHE_LINE = 64 };
    const struct insn *in = cpu_current_insn(c, u);
    uint64_t ea = (uint64_t)(int64_t)in->disp;
    if (in->base == REG_RIP)
        ea += u_rip(c, u) + in->length;
    else if (in->base < REG_RIP)
        ea += c->s.gpr[in->base];
    if (in->index < REG_RIP) ea += c->s.gpr[in->index] << in->scale;
    if (in->asize < 8) ea &= (UINT64_C(1) << in->asize * 8) - 1;
    uint64_t lin = c->win[in->seg].base + ea;
    if ((lin & (CACHE_LINE - 1)) + u->size > CACHE_LINE) {
        if (!c->exact) {
            c->fault.kind = FAULT_EXACT;
            return cpu_fault_exit(c, u);
        }
        c->bus_lock = true;
    }
    NEXT;
}

/* SDM 3A 6.15 "#NM", "#MF"; 13.1. */
HANDLER(gate_x87_nowait)
{
    if (UNLIKELY((c->s.cr0 & (CR0_EM | CR0_TS)) != 0)) RAISE(VEC_NM);
    NEXT;
}
HANDLER(gate_x87)
{
    if (UNLIKELY((c->s.cr0 & (CR0_EM | CR0_TS)) != 0)) RAISE(VEC_NM);
    if (UNLIKELY((c->s.fpu.sw & 0x80) != 0)) {
        if (c->s.cr0 & CR0_NE) RAISE(VEC_MF);
        if (c->bus->ferr) c->bus->ferr(c->bus->opaque, c->id);
    }
    NEXT;
}
HANDLER(gate_mmx)
{
    if (UNLIKELY((c->s.cr0 & CR0_EM) != 0)) RAISE(VEC_UD);
    if (UNLIKELY((c->s.cr0 & CR0_TS) != 0)) RAISE(VEC_NM);
    if (UNLIKELY((c->s.fpu.sw & 0x80) != 0)) {
        if (c->s.cr0 & CR0_NE) RAISE(VEC_MF);
        if (c->bus->ferr) c->bus->ferr(c->bus->opaque, c->id);
    }
    NEXT;
}
HANDLER(gate_sse)
{
    if (UNLIKELY((c->s.cr0 & CR0_EM) != 0 || (c->s.cr4 & CR4_OSFXSR) == 0)) RAISE(VEC_UD);
    if (UNLIKELY((c->s.cr0 & CR0_TS) != 0)) RAISE(VEC_NM);
    NEXT;
}

/* RIP-relative displacements that do not fit once the instruction's length is added: the block's RIP is
 * moved behind the instruction instead, whose off is then negative. */
HANDLER(bias_rip)
{
    c->s.gpr[REG_RIP] += u->imm;
    NEXT;
}

HANDLER(raise_ud) { RAISE(VEC_UD); }
HANDLER(raise_gp) { RAISE_ERR(VEC_GP, 0); }

/* --- Leaving a block early -------------------------------------------------------------------------- */

/* Gives back the instruction count from u on, and the time except `keep` cycles. */
static void refund(struct cpu *c, const struct uop *u, uint32_t keep)
{
    const struct block *b = c->block;
    uint32_t before = 0, count = 0; /* cost and number of instructions before u's */
    const struct uop *p;
    int last = INT32_MIN;
    for (p = b->uop + 1; p < u && p->off != u->off; p++) {
        if (p->len == 0) continue;
        if (p->off != last) count++;
        last = p->off;
        before = p->cost;
    }
    c->budget += (int64_t)b->cost - before - keep;
    c->s.insns -= (uint32_t)b->insns - count;
}

const struct uop *cpu_fault_exit(struct cpu *c, const struct uop *u)
{
    refund(c, u, c->fault.kind != FAULT_EXACT); /* a fault costs one cycle */
    c->s.gpr[REG_RIP] = u_rip(c, u);
    cpu_flush_flags(c);
    return NULL;
}

const struct uop *cpu_exited(struct cpu *c, const struct uop *u)
{
    (void)u; /* SOLO: nothing of the block is left to give back */
    c->engine->exited = true;
    return NULL;
}

bool cpu_raise(struct cpu *c, uint8_t vector)
{
    c->fault.kind = FAULT_EXCEPTION;
    c->fault.event = (struct event){.valid = 1, .vector = vector, .type = EVENT_HW_EXCEPTION};
    return false;
}
bool cpu_raise_error(struct cpu *c, uint8_t vector, uint32_t error)
{
    cpu_raise(c, vector);
    c->fault.event.has_error = 1;
    c->fault.event.error_code = error;
    return false;
}
bool cpu_raise_pf(struct cpu *c, uint64_t linear, uint32_t error)
{
    cpu_raise_error(c, VEC_PF, error);
    c->fault.event.payload = linear;
    return false;
}

void cpu_flush_flags(struct cpu *c)
{
    c->s.rflags = (c->s.rflags & ~(uint64_t)FL_OSZAPC) | flags_oszapc(c) | FL_FIXED;
}
uint64_t cpu_read_rflags(struct cpu *c)
{
    cpu_flush_flags(c);
    return c->s.rflags;
}
void cpu_write_rflags(struct cpu *c, uint64_t value)
{
    c->s.rflags = value | FL_FIXED;
    flags_load_oszapc(c, value);
}

/* --- Block cache ------------------------------------------------------------------------------------ */

static unsigned block_hash(uint64_t hpa, uint32_t mode)
{
    uint64_t h = (hpa ^ (uint64_t)mode << 40) * UINT64_C(0x9E3779B97F4A7C15);
    return (unsigned)(h >> (64 - BLOCK_HASH_BITS));
}

static struct code_page **page_slot(struct engine *e, uint64_t number)
{
    struct code_page **p = &e->pages[number & ((1 << CODE_PAGE_BITS) - 1)];
    while (*p && (*p)->number != number)
        p = &(*p)->next;
    return p;
}

/* Arena memory; the caller of block_build made room for this. */
static void *arena_take(struct engine *e, uint32_t n)
{
    void *p = e->arena + e->arena_used;
    e->arena_used += (n + 31) & ~31u;
    return p;
}

static void enter_page(struct engine *e, struct block *b, unsigned which, uint64_t hpa, uint32_t n)
{
    struct bus *bus = e->cpu->bus;
    uint64_t number = hpa >> PAGE_SHIFT;
    unsigned first = hpa >> 6 & 63, last = (hpa + n - 1) >> 6 & 63;
    struct code_page **slot = page_slot(e, number);
    if (!*slot) {
        struct code_page *page = arena_take(e, sizeof *page);
        *page = (struct code_page){.number = number};
        *slot = page;
    }
    b->page_next[which] = (*slot)->first;
    (*slot)->first = b;
    bus->code_lines[number] |= (~UINT64_C(0) >> (63 - last)) & (~UINT64_C(0) << first);
    if (!(bus->page_flags[number] & PAGE_CODE)) {
        bus->page_flags[number] |= PAGE_CODE;
        for (struct engine *o = bus->engines; o; o = o->bus_next)
            tlb_protect_code_page(o->cpu, number << PAGE_SHIFT);
    }
}

static void enter_block(struct engine *e, struct block *b)
{
    struct block **h = &e->hash[block_hash(b->hpa, b->mode)];
    uint32_t in_first = PAGE_SIZE - (uint32_t)(b->hpa & (PAGE_SIZE - 1));
    b->hash_next = *h;
    *h = b;
    enter_page(e, b, 0, b->hpa, b->bytes < in_first ? b->bytes : in_first);
    if (b->hpa_next != ~UINT64_C(0)) enter_page(e, b, 1, b->hpa_next, b->bytes - in_first);
}

static void remove_incoming(struct block_link *list)
{
    while (list) {
        struct block_link *next = list->next;
        list->from->imm = 0;
        list->from = NULL;
        list->next = NULL;
        list = next;
    }
}

static void take_off_page(struct engine *e, struct block *b, unsigned which, uint64_t hpa)
{
    struct code_page *page = *page_slot(e, hpa >> PAGE_SHIFT);
    if (!page) return;
    for (struct block **p = &page->first; *p;) {
        unsigned k = (*p)->hpa >> PAGE_SHIFT == page->number ? 0 : 1;
        if (*p == b) {
            *p = b->page_next[which];
            return;
        }
        p = &(*p)->page_next[k];
    }
}

static void unlink_block(struct engine *e, struct block *b)
{
    for (struct block **p = &e->hash[block_hash(b->hpa, b->mode)]; *p; p = &(*p)->hash_next) {
        if (*p == b) {
            *p = b->hash_next;
            break;
        }
    }
    take_off_page(e, b, 0, b->hpa);
    if (b->hpa_next != ~UINT64_C(0)) take_off_page(e, b, 1, b->hpa_next);
    remove_incoming(b->incoming);
    b->incoming = NULL;
    b->uop[0].fn = op_block_dead;
    b->hpa = ~UINT64_C(0);
}

/* Bytes [hpa, hpa + n) lie in one page. */
static void forget_range(struct engine *e, uint64_t hpa, uint32_t n)
{
    struct code_page *page = *page_slot(e, hpa >> PAGE_SHIFT);
    struct block *b = page ? page->first : NULL;
    while (b) {
        unsigned k = b->hpa >> PAGE_SHIFT == page->number ? 0 : 1;
        struct block *next = b->page_next[k];
        uint64_t lo = k == 0 ? b->hpa : b->hpa_next;
        uint64_t len = b->bytes;
        uint64_t in_first = PAGE_SIZE - (b->hpa & (PAGE_SIZE - 1));
        if (k == 1)
            len -= in_first;
        else if (len > in_first)
            len = in_first;
        /* Whole lines are forgotten, because the bitmap knows lines only. */
        if ((lo & ~UINT64_C(63)) < hpa + n && ((lo + len + 63) & ~UINT64_C(63)) > hpa) unlink_block(e, b);
        b = next;
    }
}

void engine_bus_written(struct bus *bus, uint64_t hpa, uint64_t n)
{
    if (!bus->code_lines) return;
    while (n > 0) {
        uint64_t number = hpa >> PAGE_SHIFT;
        uint64_t here = PAGE_SIZE - (hpa & (PAGE_SIZE - 1));
        if (here > n) here = n;
        if (hpa >= bus->ram_top) return;
        if (engine_line_has_code(bus, hpa, (uint32_t)here)) {
            uint64_t lo = hpa & ~UINT64_C(63), hi = (hpa + here + 63) & ~UINT64_C(63);
            unsigned first = lo >> 6 & 63, last = (hi - 1) >> 6 & 63;
            for (struct engine *e = bus->engines; e; e = e->bus_next)
                forget_range(e, lo, (uint32_t)(hi - lo));
            bus->code_lines[number] &= ~((~UINT64_C(0) >> (63 - last)) & (~UINT64_C(0) << first));
            if (bus->code_lines[number] == 0) bus->page_flags[number] &= (uint8_t)~PAGE_CODE;
        }
        hpa += here;
        n -= here;
    }
}

static void drop_now(struct engine *e)
{
    struct bus *bus = e->cpu->bus;
    for (unsigned i = 0; i < 1 << CODE_PAGE_BITS; i++) {
        for (struct code_page *p = e->pages[i]; p; p = p->next) {
            bool shared = false;
            for (struct engine *o = bus->engines; o; o = o->bus_next)
                if (o != e && *page_slot(o, p->number)) shared = true;
            if (shared) continue;
            bus->code_lines[p->number] = 0;
            bus->page_flags[p->number] &= (uint8_t)~PAGE_CODE;
        }
        e->pages[i] = NULL;
    }
    memset(e->hash, 0, sizeof e->hash);
    for (unsigned i = 0; i < 1 << JUMP_CACHE_BITS; i++)
        e->jump[i] = (struct jump_entry){.lin = ~UINT64_C(0)};
    e->arena_used = 0;
    e->pending_link = NULL;
    e->cpu->block = NULL;
    e->drop_wanted = false;
    e->drops++;
}

void engine_drop(struct engine *e)
{
    if (e->running)
        e->drop_wanted = true;
    else
        drop_now(e);
}

struct engine *engine_create(struct cpu *c)
{
    struct bus *bus = c->bus;
    struct engine *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->cpu = c;
    e->arena = malloc(ARENA_BYTES);
    e->scratch = calloc(1, sizeof *e->scratch + BLOCK_MAX_UOPS * sizeof(struct uop));
    if (!bus->code_lines) bus->code_lines = calloc((bus->ram_top >> PAGE_SHIFT) + 1, sizeof *bus->code_lines);
    if (!e->arena || !e->scratch || !bus->code_lines) {
        free(e->arena);
        free(e->scratch);
        free(e);
        return NULL;
    }
    for (unsigned i = 0; i < TIMING_COUNT; i++)
        e->costs[i] = 1; /* the unit model */
    e->bus_next = bus->engines;
    bus->engines = e;
    drop_now(e);
    return e;
}

void engine_destroy(struct engine *e)
{
    if (!e) return;
    struct bus *bus = e->cpu->bus;
    drop_now(e);
    for (struct engine **p = &bus->engines; *p; p = &(*p)->bus_next) {
        if (*p == e) {
            *p = e->bus_next;
            break;
        }
    }
    if (!bus->engines) {
        free(bus->code_lines);
        bus->code_lines = NULL;
    }
    free(e->arena);
    free(e->scratch);
    free(e);
}

void engine_update_mode(struct cpu *c)
{
    const struct seg_reg *cs = &c->s.seg[SEG_CS];
    struct engine *e = c->engine;
    uint32_t mode;
    if (in_64bit(c)) {
        mode = DECODE_64 | MODE_CS_FLAT;
        c->cs_base = 0;
    } else {
        mode = cs->ar & AR_DB ? DECODE_32 : DECODE_16;
        if (cs->base == 0 && cs->limit == 0xffffffff) mode |= MODE_CS_FLAT;
        c->cs_base = cs->base;
        /* The limit is checked when a block is looked up, and jump entries remember the answer. */
        if (e && (cs->base != e->last_cs_base || cs->limit != e->last_cs_limit)) {
            e->last_cs_base = cs->base;
            e->last_cs_limit = cs->limit;
            tlb_new_generation(c);
        }
    }
    if (c->s.seg[SEG_SS].ar & AR_DB) mode |= MODE_SS32;
    if (c->s.cpl == 3) mode |= MODE_USER;
    if (!in_protected(c)) mode |= MODE_NOPROT;
    if (c->watch_locks) mode |= MODE_LOCKS;
    c->mode = mode;
}

/* --- Finding blocks --------------------------------------------------------------------------------- */

static bool canonical(const struct cpu *c, uint64_t lin)
{
    unsigned sh = c->s.cr4 & CR4_LA57 ? 7 : 16;
    return (uint64_t)((int64_t)(lin << sh) >> sh) == lin;
}

/* RIP -> linear, with the limit and canonical checks of a fetch. *near_limit: within one page of it. */
static bool fetch_linear(struct cpu *c, uint64_t *lin, bool *near_limit)
{
    uint64_t rip = c->s.gpr[REG_RIP];
    *near_limit = false;
    if ((c->mode & MODE_CODE) == DECODE_64) {
        *lin = rip;
        return canonical(c, rip) || cpu_raise_error(c, VEC_GP, 0);
    }
    *lin = (uint32_t)(c->cs_base + rip);
    if (rip > c->s.seg[SEG_CS].limit) return cpu_raise_error(c, VEC_GP, 0);
    *near_limit = rip + PAGE_SIZE + 16 > c->s.seg[SEG_CS].limit;
    return true;
}

static struct block *lookup(struct cpu *c, uint64_t lin, uint64_t hpa, uint32_t mode)
{
    struct engine *e = c->engine;
    for (struct block *b = e->hash[block_hash(hpa, mode)]; b; b = b->hash_next) {
        if (b->hpa != hpa || b->mode != mode) continue;
        if (b->hpa_next != ~UINT64_C(0)) {
            uint64_t second;
            if (!mem_fetch_page(c, (lin | (PAGE_SIZE - 1)) + 1, &second)) return NULL;
            if (second != b->hpa_next) continue;
        }
        return b;
    }
    return NULL;
}

/* The block at RIP. NULL: fault set. */
static struct block *find_block(struct cpu *c, bool single)
{
    struct engine *e = c->engine;
    uint64_t lin, hpa;
    bool near_limit, cached;
    uint32_t mode = c->mode | (single ? MODE_SINGLE : 0);
    struct block *b = NULL;

    e->lookups++;
    if (!fetch_linear(c, &lin, &near_limit) || !mem_fetch_page(c, lin, &hpa)) return NULL;
    cached = !near_limit && hpa < c->bus->ram_top && (c->bus->page_flags[hpa >> PAGE_SHIFT] & PAGE_RAM) != 0;
    if (cached) {
        b = lookup(c, lin, hpa, mode);
        if (!b && c->fault.kind != FAULT_NONE) return NULL;
    }
    if (!b) {
        b = block_build(c, lin, hpa, cached ? mode : mode | MODE_SINGLE, cached);
        if (!b && c->fault.kind == FAULT_NONE) {
            drop_now(e);
            b = block_build(c, lin, hpa, cached ? mode : mode | MODE_SINGLE, cached);
        }
        if (!b) return NULL;
        e->blocks_built++;
        if (b != e->scratch) enter_block(e, b);
    }
    if (b != e->scratch && !single) {
        *jump_slot(e, c->cs_base + c->s.gpr[REG_RIP]) =
            (struct jump_entry){c->cs_base + c->s.gpr[REG_RIP], c->mode, c->exec_generation, b->uop, 0};
    }
    return b;
}

/* The block just left wanted to go to b, in its own page. */
static void link_block(struct cpu *c, const struct uop *from, struct block *b)
{
    struct engine *e = c->engine;
    struct block *a = (struct block *)(uintptr_t)c->block;
    if (!a || e->no_chain || a->hpa == ~UINT64_C(0) || a->mode != b->mode || b->hpa_next != ~UINT64_C(0) ||
        a->hpa >> PAGE_SHIFT != b->hpa >> PAGE_SHIFT || !(a->mode & MODE_CS_FLAT) || b == e->scratch)
        return;
    struct uop *slot = a->uop + (from - a->uop);
    struct block_link *l = &a->link[from->fn == op_block_end || from->fn == op_block_end64];
    if (l->from) return;
    slot->imm = (uint64_t)(uintptr_t)b->uop;
    l->from = slot;
    l->next = b->incoming;
    b->incoming = l;
}

/* --- Running ------------------------------------------------------------------------------------------ */

static void run_from(struct cpu *c, const struct uop *u)
{
    do {
        u = u->fn(c, u);
    } while (u);
}

/* One instruction alone. Returns with c->fault.kind telling how it went. */
static void step_exact(struct cpu *c)
{
    struct engine *e = c->engine;
    bool tf = (c->s.rflags & FL_TF) != 0;
    bool watched = c->attention != 0 || tf;
    PROBE(c->probes, c, INSN, c->s.gpr[REG_RIP], 0);
    e->exited = false;
    e->exact_steps++;
    c->exact = true;
    c->bus_lock = false;
    const uint64_t from = c->s.gpr[REG_RIP];
    struct block *b = find_block(c, true);
    if (b) {
        const uint64_t next = rip_mask(c, from + b->bytes);
        c->attention |= ATT_EXACT;
        run_from(c, b->uop);
        c->attention &= ~ATT_EXACT;
        /* A string instruction that goes on stays where it is: no branch. */
        const uint64_t to = c->s.gpr[REG_RIP];
        if (c->fault.kind == FAULT_NONE && !e->exited && to != next && to != from)
            PROBE(c->probes, c, BRANCH, from, to);
    } else {
        c->budget--; /* an instruction that cannot be fetched costs one cycle */
    }
    c->exact = false;
    e->pending_link = NULL;
    if (c->fault.kind != FAULT_NONE || e->exited) return;
    if (c->bus_lock && c->virt->bus_lock != NULL) c->virt->bus_lock(c);
    if (watched) cpu_insn_done(c, tf);
}

static void take_fault(struct cpu *c)
{
    cpu_flush_flags(c);
    cpu_handle_fault(c);
    c->fault.kind = FAULT_NONE;
}

/* Everything between two instructions. Several events may be due at one boundary (a delivered one is
 * followed by the next before the first instruction of its handler); an event without end costs a cycle
 * now and then, so that the loop ends. */
static bool boundary(struct cpu *c, enum run_stop *stop)
{
    for (int i = 0; c->attention & ~(uint32_t)ATT_STOP; i++) {
        if (cpu_boundary(c)) return true;
        if (c->fault.kind != FAULT_NONE) take_fault(c);
        if (c->attention & ATT_IDLE) {
            *stop = c->shutdown ? STOP_SHUTDOWN : STOP_IDLE; /* a guest's shutdown is only a deep HLT */
            return false;
        }
        if (i >= 16) c->budget--;
        if (c->budget <= 0) break;
    }
    return true;
}

enum run_stop cpu_run(struct cpu *c, uint64_t until)
{
    struct engine *e = c->engine;
    enum run_stop stop = STOP_BUDGET;
    /* The context may have something to do at a certain cycle (preemption timer): stop there and look. */
    uint64_t now = cpu_now(c), deadline = c->virt->next_deadline(c);
    if (deadline <= now)
        cpu_update_attention(c);
    else if (deadline < until)
        until = deadline;
    c->budget = (int64_t)(until - now);
    c->cycle_limit = until;
    c->fault.kind = FAULT_NONE;
    flags_load_oszapc(c, c->s.rflags);
    e->pending_link = NULL;
    e->running = true;

    while (c->budget > 0) {
        if (c->shutdown) {
            stop = STOP_SHUTDOWN;
            break;
        }
        if (c->stop_requested) {
            c->stop_requested = false;
            c->attention &= ~(uint32_t)ATT_STOP;
            stop = STOP_REQUEST;
            break;
        }
        if (UNLIKELY(e->drop_wanted)) drop_now(e);
        if (UNLIKELY(c->attention != 0)) {
            e->pending_link = NULL;
            if (!boundary(c, &stop)) break;
            if (c->budget <= 0) break;
        }
        const struct uop *from = e->pending_link;
        e->pending_link = NULL;
        if (UNLIKELY(c->attention != 0)) {
            step_exact(c);
        } else {
            struct block *b = find_block(c, false);
            if (!b) {
                if (c->fault.kind != FAULT_EXACT) c->budget--;
            } else if (b->mode & MODE_SINGLE || b->cost > (uint64_t)c->budget) {
                step_exact(c);
            } else {
                if (from) link_block(c, from, b);
                run_from(c, b->uop);
            }
            if (c->fault.kind == FAULT_EXACT) {
                c->fault.kind = FAULT_NONE;
                step_exact(c);
            }
        }
        if (UNLIKELY(c->fault.kind != FAULT_NONE)) take_fault(c);
    }

    e->running = false;
    if (e->drop_wanted) drop_now(e);
    cpu_flush_flags(c);
    return stop;
}

void cpu_limit(struct cpu *c, uint64_t cycle)
{
    if (cycle >= c->cycle_limit) return;
    c->budget -= (int64_t)(c->cycle_limit - cycle);
    c->cycle_limit = cycle;
}

void cpu_request_stop(struct cpu *c)
{
    c->stop_requested = true;
    c->attention |= ATT_STOP;
}
