/* SPDX-License-Identifier: MIT */
/* The two levels of translation caches and their invalidation. An address space is (tag, PCID,
 * second-stage root); it has a number that changes when it is flushed, so that flushing costs nothing.
 * SDM 3A 4.10.4 (invalidation), SDM 3C 28.4.3 (VPID, EP4TA), APM 2 15.16 (ASID). */
#include <stdlib.h>

#include "cpu/engine.h"
#include "cpu/mem.h"

enum {
    L2_SETS = 1024,
    L2_WAYS = 4,
    SPACE_SETS = 64,
    SPACE_WAYS = 4,
    VIEWS = 64,           /* level-1 numbers kept at once */
    VIEW_NUMBERS = 0xfff, /* 12 tag bits; 0xfff would make a tag look like TLB_INVALID */
    PCID_GLOBAL = 0x1000, /* pseudo-PCIDs behind the 12-bit ones */
    PCID_UNPAGED = 0x1001,
    MARKS = 64 /* words of a level-1 large-page filter */
};

struct space {
    uint64_t root;
    uint32_t tag, number; /* number 0: free */
    uint16_t pcid;
};

/* What makes the tags of level 1: the address space and everything else that decides about rights. */
struct view {
    uint32_t space, global, pkru, pkrs, rights;
    uint32_t generation, flushes; /* exec_generation of this view, and tlb.flushes when it got it */
    uint16_t number;              /* 0: free */
};

struct tlb {
    struct tlb_entry l1[MMU_INDEXES][TLB_L1_SIZE];
    struct tlb_entry none[TLB_L1_SIZE]; /* never filled */
    struct tlb_page l2[L2_SETS][L2_WAYS];
    struct space space[SPACE_SETS][SPACE_WAYS];
    struct view view[VIEWS];
    /* Filters: may level 1 hold pieces of a 2-MByte or 1-GByte page here? */
    uint64_t mark_2m[MARKS], mark_1g[MARKS];
    uint32_t flushes, generation;
    uint32_t next_space, current, current_global;
    uint16_t next_view;
    uint8_t space_victim, have_2m, have_1g, have_global;
};

static uint32_t hash64(uint64_t v) { return (uint32_t)((v * UINT64_C(0x9e3779b97f4a7c15)) >> 32); }

static void l1_clear(struct tlb *t)
{
    memset(t->l1, 0xff, sizeof t->l1);
    memset(t->mark_2m, 0, sizeof t->mark_2m);
    memset(t->mark_1g, 0, sizeof t->mark_1g);
}

static void clear_all(struct tlb *t)
{
    l1_clear(t);
    memset(t->l2, 0xff, sizeof t->l2);
    memset(t->space, 0, sizeof t->space);
    memset(t->view, 0, sizeof t->view);
    t->next_space = 1;
    t->next_view = 1;
    t->have_2m = t->have_1g = t->have_global = 0;
    t->flushes++;
}

struct tlb *tlb_create(void)
{
    struct tlb *t = calloc(1, sizeof *t);
    if (t != NULL) {
        memset(t->none, 0xff, sizeof t->none);
        clear_all(t);
    }
    return t;
}

void tlb_destroy(struct tlb *t) { free(t); }

struct tlb_entry *tlb_slot_of(struct cpu *c, unsigned index, uint64_t lin)
{
    return &c->tlb->l1[index][lin >> 12 & (TLB_L1_SIZE - 1)];
}

struct tlb_entry *tlb_table(struct cpu *c, unsigned index, bool checked)
{
    return checked ? c->tlb->none : c->tlb->l1[index];
}

/* --- Address spaces --- */

static struct space *space_set(struct tlb *t, uint32_t tag, uint32_t pcid)
{
    return t->space[hash64((uint64_t)tag << 16 | pcid) % SPACE_SETS];
}

static uint32_t space_number(struct tlb *t, uint32_t tag, uint32_t pcid, uint64_t root)
{
    struct space *set = space_set(t, tag, pcid), *s = NULL;
    for (int i = 0; i < SPACE_WAYS; i++) {
        if (set[i].number != 0 && set[i].tag == tag && set[i].pcid == pcid && set[i].root == root)
            return set[i].number;
        if (set[i].number == 0) s = &set[i];
    }
    if (s == NULL) s = &set[t->space_victim++ % SPACE_WAYS];
    if (t->next_space == UINT32_MAX) clear_all(t);
    *s = (struct space){.root = root, .tag = tag, .pcid = (uint16_t)pcid, .number = t->next_space++};
    return s->number;
}

static uint32_t current_pcid(const struct cpu *c)
{
    if (c->paging_mode == PAGING_NONE) return PCID_UNPAGED;
    return c->s.cr4 & CR4_PCIDE ? (uint32_t)(c->s.cr3 & 0xfff) : 0;
}

void tlb_select(struct cpu *c)
{
    struct tlb *t = c->tlb;
    uint64_t root = c->virt != NULL && c->virt->translate != NULL ? c->second_stage_root : ~UINT64_C(0);
    struct view want = {
        .pkru = c->s.cr4 & CR4_PKE ? c->s.pkru : 0,
        .pkrs = c->s.cr4 & CR4_PKS ? (uint32_t)c->s.pkrs : 0,
        .rights = (uint32_t)(c->s.cr0 & (CR0_WP | CR0_PG)) |
                  (uint32_t)(c->s.cr4 & (CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS | CR4_LA57 | CR4_PAE)) |
                  (c->s.efer & EFER_NXE ? 1u << 1 : 0) | (c->s.efer & EFER_LMA ? 1u << 0 : 0),
    };
    if (t->next_view == VIEW_NUMBERS) clear_all(t);
    want.space = t->current = space_number(t, c->tlb_tag, current_pcid(c), root);
    want.global = t->current_global = space_number(t, c->tlb_tag, PCID_GLOBAL, root);
    struct view *v = &t->view[(want.space ^ want.rights >> 16 ^ hash64(want.rights)) % VIEWS];
    if (v->number == 0 || v->space != want.space || v->global != want.global || v->pkru != want.pkru ||
        v->pkrs != want.pkrs || v->rights != want.rights) {
        want.number = t->next_view++;
        want.flushes = t->flushes - 1;
        *v = want;
    }
    if (v->flushes != t->flushes) {
        v->flushes = t->flushes;
        v->generation = ++t->generation;
        if (t->generation == 0 && c->engine != NULL)
            engine_drop(c->engine); /* wrapped: no old number may match again */
    }
    c->tlb_ctx = v->number;
    c->exec_generation = v->generation;
}

/* After an invalidation: new numbers for what lost its own, and the engine's jump cache is stale. */
static void invalidated(struct cpu *c, uint64_t lin, uint32_t tag)
{
    c->tlb->flushes++;
    tlb_select(c);
    PROBE(c->probes, c, TLB_INVALIDATE, lin, tag);
}

void tlb_new_generation(struct cpu *c)
{
    c->tlb->flushes++;
    tlb_select(c);
}

/* --- Level 2 --- */

static struct tlb_page *l2_set(struct tlb *t, uint64_t lin, unsigned shift)
{
    return t->l2[hash64(lin >> shift << 8 | shift) % L2_SETS];
}

static struct tlb_page *l2_probe(struct tlb *t, uint64_t lin, unsigned shift)
{
    uint64_t page = lin >> shift << shift;
    struct tlb_page *set = l2_set(t, lin, shift);
    for (int i = 0; i < L2_WAYS; i++) {
        struct tlb_page *p = &set[i];
        if (p->lin == page && p->shift == shift && (p->space == t->current || p->space == t->current_global))
            return p;
    }
    return NULL;
}

struct tlb_page *tlb_find(struct cpu *c, uint64_t lin)
{
    struct tlb *t = c->tlb;
    struct tlb_page *p = l2_probe(t, lin, 12);
    if (p == NULL && t->have_2m) p = l2_probe(t, lin, 21);
    if (p == NULL && t->have_1g) p = l2_probe(t, lin, 30);
    return p;
}

struct tlb_page *tlb_insert(struct cpu *c, const struct tlb_page *page)
{
    struct tlb *t = c->tlb;
    struct tlb_page p = *page;
    bool global = (p.rights & PR_GLOBAL) != 0;
    p.space = global ? t->current_global : t->current;
    p.tag = c->tlb_tag;
    p.pcid = (uint16_t)(global ? PCID_GLOBAL : current_pcid(c));
    t->have_2m |= p.shift == 21;
    t->have_1g |= p.shift == 30;
    t->have_global |= global;
    struct tlb_page *set = l2_set(t, p.lin, p.shift);
    int way = L2_WAYS - 1;
    for (int i = 0; i < L2_WAYS; i++) {
        if (set[i].lin == TLB_INVALID ||
            (set[i].lin == p.lin && set[i].shift == p.shift && set[i].space == p.space)) {
            way = i;
            break;
        }
    }
    memmove(&set[1], &set[0], (size_t)way * sizeof set[0]);
    set[0] = p;
    return &set[0];
}

void tlb_mark(struct cpu *c, const struct tlb_page *p)
{
    struct tlb *t = c->tlb;
    if (p->shift == 21) t->mark_2m[hash64(p->lin >> 21) % MARKS] |= UINT64_C(1) << (p->lin >> 21 & 63);
    if (p->shift == 30) t->mark_1g[hash64(p->lin >> 30) % MARKS] |= UINT64_C(1) << (p->lin >> 30 & 63);
}

/* --- Invalidation --- */

static void l1_kill(struct tlb_entry *e) { e->read = e->write = e->exec = TLB_INVALID; }

static bool tag_in(uint64_t tag, uint64_t page, unsigned shift)
{
    return tag != TLB_INVALID && tag >> shift == page >> shift;
}

static void l1_kill_range(struct tlb *t, uint64_t lin, unsigned shift)
{
    uint64_t first = lin >> shift << shift;
    unsigned n = shift >= 12 + TLB_L1_BITS ? TLB_L1_SIZE : 1u << (shift - 12);
    for (int index = 0; index < MMU_INDEXES; index++) {
        for (unsigned i = 0; i < n; i++) {
            struct tlb_entry *e = &t->l1[index][((first >> 12) + i) & (TLB_L1_SIZE - 1)];
            if (tag_in(e->read, first, shift) || tag_in(e->write, first, shift) ||
                tag_in(e->exec, first, shift))
                l1_kill(e);
        }
    }
}

static void l1_kill_page(struct tlb *t, uint64_t lin)
{
    if (t->mark_1g[hash64(lin >> 30) % MARKS] >> (lin >> 30 & 63) & 1) l1_kill_range(t, lin, 30);
    if (t->mark_2m[hash64(lin >> 21) % MARKS] >> (lin >> 21 & 63) & 1) l1_kill_range(t, lin, 21);
    l1_kill_range(t, lin, 12);
}

/* pcid -1: every PCID. */
static void flush_page(struct cpu *c, uint32_t tag, uint64_t lin, int pcid, bool global)
{
    static const uint8_t shifts[] = {12, 21, 30};
    struct tlb *t = c->tlb;
    l1_kill_page(t, lin);
    for (unsigned k = 0; k < 3; k++) {
        /* A 4-MByte page is two entries of 2 MBytes. */
        for (unsigned half = 0; half < (shifts[k] == 21 ? 2u : 1u); half++) {
            uint64_t at = half != 0 ? lin ^ (UINT64_C(1) << 21) : lin;
            uint64_t page = at >> shifts[k] << shifts[k];
            struct tlb_page *set = l2_set(t, at, shifts[k]);
            if (half != 0 && (c->paging_mode != PAGING_32 || !t->have_2m)) continue;
            if (half != 0) l1_kill_page(t, at);
            for (int i = 0; i < L2_WAYS; i++) {
                struct tlb_page *p = &set[i];
                if (p->lin != page || p->shift != shifts[k] || p->tag != tag) continue;
                if (p->pcid == PCID_GLOBAL ? global : pcid < 0 || p->pcid == pcid) p->lin = TLB_INVALID;
            }
        }
    }
    invalidated(c, lin, tag);
}

void tlb_flush_page(struct cpu *c, uint32_t tag, uint64_t lin, int pcid)
{
    flush_page(c, tag, lin, pcid, pcid < 0);
}

void tlb_invlpg(struct cpu *c, uint64_t lin) { flush_page(c, c->tlb_tag, lin, (int)current_pcid(c), true); }

void tlb_flush_all(struct cpu *c)
{
    clear_all(c->tlb);
    invalidated(c, ~UINT64_C(0), 0);
}

void tlb_flush_tag(struct cpu *c, uint32_t tag, bool keep_global)
{
    struct tlb *t = c->tlb;
    for (int i = 0; i < SPACE_SETS * SPACE_WAYS; i++) {
        struct space *s = &t->space[i / SPACE_WAYS][i % SPACE_WAYS];
        if (s->tag == tag && !(keep_global && s->pcid == PCID_GLOBAL)) s->number = 0;
    }
    invalidated(c, ~UINT64_C(0), tag);
}

void tlb_flush_pcid(struct cpu *c, uint32_t tag, uint32_t pcid, bool keep_global)
{
    for (int pass = 0; pass < (keep_global ? 1 : 2); pass++) {
        uint32_t id = pass != 0 ? PCID_GLOBAL : pcid;
        struct space *set = space_set(c->tlb, tag, id);
        for (int i = 0; i < SPACE_WAYS; i++) {
            if (set[i].tag == tag && set[i].pcid == id) set[i].number = 0;
        }
    }
    /* A new space number is a new view: what the jump cache knows of the old one can never match again. */
    tlb_select(c);
    PROBE(c->probes, c, TLB_INVALIDATE, ~UINT64_C(0), tag);
}

void tlb_flush_second_stage(struct cpu *c, uint64_t root)
{
    struct tlb *t = c->tlb;
    for (int i = 0; i < SPACE_SETS * SPACE_WAYS; i++) {
        struct space *s = &t->space[i / SPACE_WAYS][i % SPACE_WAYS];
        if (s->root != ~UINT64_C(0) && (root == ~UINT64_C(0) || s->root == root)) s->number = 0;
    }
    invalidated(c, ~UINT64_C(0), ~UINT32_C(0));
}

void tlb_drop_l1(struct cpu *c)
{
    l1_clear(c->tlb);
    c->tlb->flushes++;
    tlb_select(c);
}

/* --- Write tags --- */

void tlb_protect_all(struct cpu *c)
{
    for (int index = 0; index < MMU_INDEXES; index++)
        for (int i = 0; i < TLB_L1_SIZE; i++)
            c->tlb->l1[index][i].write = TLB_INVALID;
}

void tlb_protect_code_page(struct cpu *c, uint64_t hpa)
{
    uint64_t host = (uint64_t)(uintptr_t)(c->bus->ram + (hpa & ~UINT64_C(0xfff)));
    for (int index = 0; index < MMU_INDEXES; index++) {
        for (int i = 0; i < TLB_L1_SIZE; i++) {
            struct tlb_entry *e = &c->tlb->l1[index][i];
            if (e->write != TLB_INVALID && (e->write & ~UINT64_C(0xfff)) + e->addend == host)
                e->write = TLB_INVALID;
        }
    }
}
