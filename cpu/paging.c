/* SPDX-License-Identifier: MIT */
/* Linear to guest-physical: no paging, 32-bit with PSE and PSE-36, PAE, 4-level and 5-level, with every
 * access-rights rule, accessed and dirty flags, protection keys and the exact page-fault error code; each
 * access to a paging structure goes through the second stage of the current context, if it has one.
 * SDM 3A 4.3-4.8 (tables 4-4 to 4-20), 4.7 (error code); APM 2 ch. 5. */
#include "cpu/event.h"
#include "cpu/insn.h"
#include "cpu/mem.h"

enum pte_bit {
    PTE_P = 1,
    PTE_W = 2,
    PTE_U = 4,
    PTE_A = 0x20,
    PTE_D = 0x40,
    PTE_PS = 0x80,
    PTE_G = 0x100,
    PTE_RESTART = 0x800
};
#define PTE_NX (UINT64_C(1) << 63)
#define BITS(hi, lo) ((~UINT64_C(0) >> (63 - (hi))) & ~((UINT64_C(1) << (lo)) - 1))

enum { MAX_LEVELS = 5 };

struct walk {
    uint64_t gpa; /* of the page */
    uint16_t rights;
    uint8_t shift, pkey;
    uint8_t levels, entry_size;
    uint32_t error; /* PF_ bits when the walk found no translation */
    bool debug;
    bool untrusted; /* an entry was read from a page that the second stage does not trust */
    struct {
        uint64_t gpa, hpa, value;
    } used[MAX_LEVELS]; /* entries whose accessed flag counts, from the top */
};

enum walk_end {
    WALK_OK,
    WALK_FAULT,
    WALK_STOP,   /* c->fault is set */
    WALK_RESTART /* from CR3 */
};

static void paging_mode_update(struct cpu *c)
{
    if ((c->s.cr0 & CR0_PG) == 0)
        c->paging_mode = PAGING_NONE;
    else if (c->s.efer & EFER_LMA)
        c->paging_mode = c->s.cr4 & CR4_LA57 ? PAGING_5LEVEL : PAGING_4LEVEL;
    else
        c->paging_mode = c->s.cr4 & CR4_PAE ? PAGING_PAE : PAGING_32;
}

void mmu_update_rights(struct cpu *c)
{
    c->mmu_index = c->s.cpl == 3 ? MMU_USER : c->s.rflags & FL_AC ? MMU_SUPERVISOR_AC : MMU_SUPERVISOR;
    bool align = c->s.cpl == 3 && (c->s.rflags & FL_AC) != 0 && (c->s.cr0 & CR0_AM) != 0;
    c->mem_checked = align || ((c->s.dr7 & 0xff) != 0 && debug_data_armed(c));
    c->tlb_l1 = tlb_table(c, c->mmu_index, c->mem_checked);
}

void mmu_update(struct cpu *c)
{
    paging_mode_update(c);
    mmu_update_rights(c);
    tlb_select(c);
}

/* --- Second stage --- */

static bool second_stage(struct cpu *c, uint64_t gpa, uint64_t lin, uint32_t flags, struct gpa_result *r)
{
    if (LIKELY(c->virt->translate == NULL)) {
        r->hpa = gpa & c->bus->a20_mask;
        r->page_shift = 30;
        r->perms = GPA_READ | GPA_WRITE | GPA_EXEC;
        r->user_exec = GPA_EXEC;
        r->flags = 0;
        return true;
    }
    struct gpa_query q = {.gpa = gpa, .linear = lin, .flags = flags};
    if (!c->virt->translate(c, &q, r)) return false;
    r->hpa &= c->bus->a20_mask;
    return true;
}

bool gpa_translate(struct cpu *c, uint64_t gpa, uint32_t flags, uint64_t *hpa)
{
    struct gpa_result r;
    if (!second_stage(c, gpa, 0, flags, &r)) return false;
    *hpa = r.hpa;
    return true;
}

/* --- The walk --- */

static enum walk_end read_entry(struct cpu *c, struct walk *w, uint64_t lin, uint64_t gpa, uint64_t *value)
{
    struct gpa_result r;
    uint32_t flags = GPA_READ | GPA_WALK | GPA_LIN_VALID | (w->debug ? GPA_DEBUG : 0);
    if (!second_stage(c, gpa, lin, flags, &r)) return WALK_STOP;
    *value = phys_read(c, r.hpa, w->entry_size);
    w->untrusted |= (r.flags & GPA_R_TRUSTED) == 0;
    w->used[w->levels].gpa = gpa;
    w->used[w->levels].hpa = r.hpa;
    w->used[w->levels].value = *value;
    w->levels++;
    return WALK_OK;
}

static enum walk_end not_present(struct walk *w)
{
    w->error = 0;
    return WALK_FAULT;
}
static enum walk_end reserved(struct walk *w)
{
    w->error = PF_P | PF_RSVD;
    return WALK_FAULT;
}

static void combine(struct walk *w, uint64_t entry)
{
    if ((entry & PTE_W) == 0) w->rights &= (uint16_t)~PR_WRITE;
    if ((entry & PTE_U) == 0) w->rights &= (uint16_t)~PR_USER;
    if (entry & PTE_NX) w->rights |= PR_NX;
}

static void leaf(const struct cpu *c, struct walk *w, uint64_t entry)
{
    if (entry & PTE_D) w->rights |= PR_DIRTY;
    if ((entry & PTE_G) != 0 && (c->s.cr4 & CR4_PGE) != 0) w->rights |= PR_GLOBAL;
}

static enum walk_end walk_32(struct cpu *c, uint64_t lin, struct walk *w)
{
    uint64_t e;
    w->entry_size = 4;
    enum walk_end end = read_entry(c, w, lin, (c->s.cr3 & BITS(31, 12)) | (lin >> 20 & 0xffc), &e);
    if (end != WALK_OK) return end;
    if ((e & PTE_P) == 0) return not_present(w);
    combine(w, e);
    if ((e & PTE_PS) != 0 && (c->s.cr4 & CR4_PSE) != 0) {
        /* PSE-36: bits 20:13 are address bits 39:32 as far as MAXPHYADDR goes; bit 21 is reserved. */
        unsigned top = !has_feature(c, FEAT_PSE36) ? 32 : c->phys_bits < 40 ? c->phys_bits : 40;
        if (e & BITS(21, 13) & ~(top > 32 ? BITS(top - 20, 13) : 0)) return reserved(w);
        leaf(c, w, e);
        w->gpa = (e & BITS(31, 22)) | (e & BITS(20, 13)) << 19;
        w->shift = 22;
        return WALK_OK;
    }
    end = read_entry(c, w, lin, (e & BITS(31, 12)) | (lin >> 10 & 0xffc), &e);
    if (end != WALK_OK) return end;
    if ((e & PTE_P) == 0) return not_present(w);
    combine(w, e);
    leaf(c, w, e);
    w->gpa = e & BITS(31, 12);
    w->shift = 12;
    return WALK_OK;
}

/* 64-bit entries from `level` (1 is the page table) down. `managed`: the tables are those of c->high_root,
 * where bit 11 gives the address back to the tables of CR3. */
static enum walk_end walk_64(struct cpu *c, uint64_t lin, struct walk *w, uint64_t table, int level,
                             bool managed)
{
    uint64_t address = BITS(51, 12) & (BITS(c->phys_bits - 1, 0));
    uint64_t high = BITS(51, 0) & ~BITS(c->phys_bits - 1, 0);
    if (c->paging_mode == PAGING_PAE) high |= BITS(62, 52);
    if ((c->s.efer & EFER_NXE) == 0) high |= PTE_NX;
    w->entry_size = 8;
    for (;; level--) {
        unsigned shift = 12 + 9 * (unsigned)(level - 1);
        uint64_t e;
        enum walk_end end = read_entry(c, w, lin, table | (lin >> shift & 0x1ff) << 3, &e);
        if (end != WALK_OK) return end;
        if ((e & PTE_P) == 0) return not_present(w);
        if (managed && (e & PTE_RESTART) != 0) return WALK_RESTART;
        if ((e & high) != 0) return reserved(w);
        bool large = level > 1 && (e & PTE_PS) != 0;
        if (large && (level > 3 || (level == 3 && !has_feature(c, FEAT_PDPE1GB)))) return reserved(w);
        if (large && (e & BITS(shift - 1, 13)) != 0) return reserved(w);
        combine(w, e);
        if (level == 1 || large) {
            leaf(c, w, e);
            w->pkey = c->paging_mode == PAGING_PAE ? 0 : (uint8_t)(e >> 59 & 15);
            w->gpa = e & address & ~(BITS(shift - 1, 0));
            w->shift = (uint8_t)shift;
            return WALK_OK;
        }
        table = e & address;
    }
}

/* Linear addresses that start with `high_prefix` ones are translated from a root that the hypervisor manages.
 * SDM 3A 4.5.1 "HLAT paging" */
static enum walk_end walk_long(struct cpu *c, uint64_t lin, struct walk *w, uint64_t table, int levels)
{
    if (UNLIKELY(c->high_root_used) &&
        (c->high_prefix == 0 || ~lin >> (64 - (c->high_prefix < 64 ? c->high_prefix : 63)) == 0)) {
        uint64_t root = c->high_root & BITS(51, 12) & BITS(c->phys_bits - 1, 0);
        enum walk_end end = walk_64(c, lin, w, root, levels, true);
        if (end != WALK_RESTART) return end;
        w->rights = PR_WRITE | PR_USER;
        w->levels = 0;
        w->untrusted = false;
    }
    return walk_64(c, lin, w, table, levels, false);
}

/* SDM 3A table 4-8 */
static uint64_t pdpte_reserved(const struct cpu *c)
{
    return BITS(2, 1) | BITS(8, 5) | ~BITS(c->phys_bits - 1, 0);
}

static enum walk_end walk(struct cpu *c, uint64_t lin, struct walk *w)
{
    w->rights = PR_WRITE | PR_USER;
    w->pkey = 0;
    w->levels = 0;
    uint64_t table = c->s.cr3 & BITS(51, 12) & BITS(c->phys_bits - 1, 0);
    switch ((enum paging_mode)c->paging_mode) {
    case PAGING_NONE:
        w->gpa = lin & ~UINT64_C(0xfff);
        w->rights |= PR_DIRTY;
        w->shift = 12;
        return WALK_OK;
    case PAGING_32: return walk_32(c, lin, w);
    case PAGING_PAE: {
        uint64_t pdpte = c->s.pdpte[lin >> 30 & 3];
        if (c->virt->pdpte_in_memory) {
            w->entry_size = 8;
            enum walk_end end = read_entry(c, w, lin, (c->s.cr3 & BITS(31, 5)) + (lin >> 27 & 0x18), &pdpte);
            if (end != WALK_OK) return end;
            w->levels = 0; /* no accessed flag here */
        }
        if ((pdpte & PTE_P) == 0) return not_present(w);
        if (c->virt->pdpte_in_memory && (pdpte & pdpte_reserved(c)) != 0) return reserved(w);
        return walk_64(c, lin, w, pdpte & BITS(51, 12) & BITS(c->phys_bits - 1, 0), 2, false);
    }
    case PAGING_4LEVEL: return walk_long(c, lin, w, table, 4);
    default: return walk_long(c, lin, w, table, 5);
    }
}

/* Sets A in every entry used and D in the leaf. Nothing is written when all are set already. */
static bool set_accessed(struct cpu *c, uint64_t lin, struct walk *w, bool dirty)
{
    for (int i = 0; i < w->levels; i++) {
        uint64_t want = w->used[i].value | PTE_A | (dirty && i == w->levels - 1 ? PTE_D : 0);
        if (want == w->used[i].value) continue;
        struct gpa_result r;
        uint32_t flags = GPA_READ | GPA_WRITE | GPA_WALK | GPA_WALK_AD | GPA_LIN_VALID;
        if (!second_stage(c, w->used[i].gpa, lin, flags, &r)) return false;
        if (!c->exact && phys_write_noted(c, r.hpa, w->entry_size)) {
            c->fault.kind = FAULT_EXACT;
            return false;
        }
        phys_write(c, r.hpa, w->entry_size, want);
        w->used[i].value = want;
    }
    if (dirty) w->rights |= PR_DIRTY;
    return true;
}

/* --- Access rights, SDM 3A 4.6 --- */

/* 0 when the access is allowed, else PF_P and the protection-key bit. */
static uint32_t refused(const struct cpu *c, uint32_t rights, unsigned pkey, unsigned index, unsigned acc)
{
    if (c->paging_mode == PAGING_NONE) return 0;
    bool user = index == MMU_USER, wp = (c->s.cr0 & CR0_WP) != 0;
    uint32_t e = 0;
    if (user && (rights & PR_USER) == 0) e = PF_P;
    if ((acc & MEM_W) != 0 && (rights & PR_WRITE) == 0 && (user || wp)) e = PF_P;
    if ((acc & MEM_X) != 0) {
        if (rights & PR_NX) e = PF_P;
        if (!user && (rights & PR_USER) != 0 && (c->s.cr4 & CR4_SMEP) != 0) e = PF_P;
        return e;
    }
    if (index == MMU_SUPERVISOR && (rights & PR_USER) != 0 && (c->s.cr4 & CR4_SMAP) != 0) e = PF_P;
    if (c->paging_mode >= PAGING_4LEVEL) {
        uint32_t keys = 0;
        if ((rights & PR_USER) != 0 && (c->s.cr4 & CR4_PKE) != 0) keys = c->s.pkru >> (2 * pkey);
        if ((rights & PR_USER) == 0 && (c->s.cr4 & CR4_PKS) != 0) keys = (uint32_t)(c->s.pkrs >> (2 * pkey));
        if ((keys & 1) != 0 || ((keys & 2) != 0 && (acc & MEM_W) != 0 && (user || wp))) e = PF_P | PF_PK;
    }
    return e;
}

static bool page_fault(struct cpu *c, uint64_t lin, unsigned index, unsigned acc, uint32_t error)
{
    if (acc & MEM_W) error |= PF_W;
    if (index == MMU_USER) error |= PF_U;
    if ((acc & MEM_X) != 0 && ((c->s.efer & EFER_NXE) != 0 || (c->s.cr4 & CR4_SMEP) != 0)) {
        /* Outside PAE and 4-level paging only SMEP makes a fetch distinguishable. */
        if ((c->s.cr4 & CR4_SMEP) != 0 || c->paging_mode >= PAGING_PAE) error |= PF_I;
    }
    return cpu_raise_pf(c, lin, error);
}

static bool second_stage_allows(uint32_t rights, unsigned acc)
{
    if ((acc & MEM_R) != 0 && (rights & PR_S2_READ) == 0) return false;
    if ((acc & MEM_W) != 0 && (rights & PR_S2_WRITE) == 0) return false;
    return (acc & MEM_X) == 0 || (rights & (rights & PR_USER ? PR_S2_USER_EXEC : PR_S2_EXEC)) != 0;
}

/* Level 1 gets what these rights allow; the write tag only for a write (it marks the page dirty for the
 * snapshot) or when that mark is there already. */
static void fill_l1(struct cpu *c, uint64_t lin, unsigned index, unsigned acc, const struct tlb_page *p,
                    uint64_t hpa)
{
    uint64_t frame = hpa >> PAGE_SHIFT;
    if (hpa >= c->bus->ram_top || (hpa & ~UINT64_C(0xfff)) == c->apic_access_page) return;
    uint8_t flags = c->bus->page_flags[frame];
    if ((flags & PAGE_RAM) == 0) return;
    struct tlb_entry *e = tlb_slot_of(c, index, lin);
    uint64_t tag = (lin & ~UINT64_C(0xfff)) | c->tlb_ctx;
    uint64_t addend =
        (uint64_t)(uintptr_t)(c->bus->ram + (hpa & ~UINT64_C(0xfff))) - (lin & ~UINT64_C(0xfff));
    uint32_t r = p->rights;
    e->read = e->write = e->exec = TLB_INVALID;
    e->addend = addend;
    if (second_stage_allows(r, MEM_R) && refused(c, r, p->pkey, index, MEM_R) == 0) e->read = tag;
    if (second_stage_allows(r, MEM_X) && refused(c, r, p->pkey, index, MEM_X) == 0) e->exec = tag;
    bool writable = (flags & (PAGE_ROM | PAGE_CODE | PAGE_WATCH)) == 0 && (r & PR_DIRTY) != 0 &&
                    second_stage_allows(r, MEM_R | MEM_W) &&
                    refused(c, r, p->pkey, index, MEM_R | MEM_W) == 0;
    if (writable && ((acc & MEM_W) != 0 || (flags & PAGE_DIRTY) != 0)) {
        c->bus->page_flags[frame] |= PAGE_DIRTY;
        e->write = tag;
    }
    tlb_mark(c, p);
}

bool mem_canonical(const struct cpu *c, uint64_t lin)
{
    unsigned bits = c->s.cr4 & CR4_LA57 ? 57 : 48;
    return (uint64_t)((int64_t)(lin << (64 - bits)) >> (64 - bits)) == lin;
}

bool mmu_translate(struct cpu *c, uint64_t lin, unsigned index, unsigned acc, uint64_t *hpa)
{
    struct tlb_page *p = tlb_find(c, lin);
    if (p != NULL) {
        if (((acc & MEM_W) == 0 || (p->rights & PR_DIRTY) != 0) && second_stage_allows(p->rights, acc) &&
            refused(c, p->rights, p->pkey, index, acc) == 0) {
            *hpa = p->hpa + (lin - p->lin);
            fill_l1(c, lin, index, acc, p, *hpa);
            return true;
        }
        /* A fault invalidates what is cached for the address, and no fault is reported from a stale
         * entry (SDM 3A 4.10.4.1, 4.10.4.3): look at the tables again. */
        p->lin = TLB_INVALID;
    }
    if (c->paging_mode >= PAGING_4LEVEL && !mem_canonical(c, lin)) return cpu_raise_error(c, 13, 0);

    struct walk w = {.debug = false};
    enum walk_end end = walk(c, lin, &w);
    if (end == WALK_STOP) return false;
    if (end == WALK_FAULT) return page_fault(c, lin, index, acc, w.error);
    uint32_t error = refused(c, w.rights, w.pkey, index, acc);
    if (error != 0) return page_fault(c, lin, index, acc, error);
    if (!set_accessed(c, lin, &w, (acc & MEM_W) != 0)) return false;

    uint64_t gpa = w.gpa | (lin & ((UINT64_C(1) << w.shift) - 1));
    uint32_t flags = GPA_LIN_VALID | (acc & MEM_R ? GPA_READ : 0) | (acc & MEM_W ? GPA_WRITE : 0) |
                     (acc & MEM_X ? GPA_EXEC : 0) | (index == MMU_USER ? GPA_USER : 0) |
                     (w.rights & PR_USER ? GPA_LEAF_USER : 0) | (w.rights & PR_WRITE ? GPA_LEAF_WRITE : 0) |
                     (w.rights & PR_NX ? GPA_LEAF_NX : 0) | (w.untrusted ? 0 : GPA_TRUSTED);
    struct gpa_result r;
    if (!second_stage(c, gpa, lin, flags, &r)) return false;

    struct tlb_page page = {.rights = w.rights, .pkey = w.pkey};
    unsigned shift = w.shift < r.page_shift ? w.shift : r.page_shift;
    if (c->bus->a20_mask != ~UINT64_C(0)) shift = 12; /* with A20M# the low half of an even MByte repeats */
    page.shift = shift >= 30 ? 30 : shift >= 21 ? 21 : 12;
    uint64_t offset = lin & ((UINT64_C(1) << page.shift) - 1);
    page.lin = lin - offset;
    page.hpa = r.hpa - offset;
    page.rights |= (r.perms & GPA_READ ? PR_S2_READ : 0) | (r.perms & GPA_WRITE ? PR_S2_WRITE : 0) |
                   (r.perms & GPA_EXEC ? PR_S2_EXEC : 0) | (r.user_exec ? PR_S2_USER_EXEC : 0);
    PROBE(c->probes, c, TLB_FILL, lin, r.hpa);
    *hpa = r.hpa;
    fill_l1(c, lin, index, acc, tlb_insert(c, &page), r.hpa);
    return true;
}

bool mem_fetch_page(struct cpu *c, uint64_t lin, uint64_t *hpa)
{
    const struct tlb_entry *e = tlb_slot_of(c, c->mmu_index, lin);
    if (LIKELY(e->exec == tlb_want(c, lin))) {
        *hpa = (uint64_t)(tlb_host(e, lin) - c->bus->ram);
        return true;
    }
    if (!mmu_translate(c, lin, c->mmu_index, MEM_X, hpa)) return false;
    if ((*hpa & ~UINT64_C(0xfff)) == c->apic_access_page && c->virt->apic_access != NULL) {
        uint64_t v;
        return c->virt->apic_access(c, APIC_ACCESS_FETCH, (uint32_t)*hpa & 0xfff, 1, &v);
    }
    return true;
}

bool lin_debug_translate(struct cpu *c, uint64_t lin, uint64_t *gpa, uint64_t *hpa)
{
    struct fault saved = c->fault;
    struct walk w = {.debug = true};
    struct gpa_result r = {0};
    bool ok = (c->paging_mode < PAGING_4LEVEL || mem_canonical(c, lin)) && walk(c, lin, &w) == WALK_OK;
    if (ok) {
        *gpa = w.gpa | (lin & ((UINT64_C(1) << w.shift) - 1));
        ok = second_stage(c, *gpa, lin, GPA_READ | GPA_DEBUG | GPA_LIN_VALID, &r);
        *hpa = r.hpa;
    }
    c->fault = saved;
    return ok;
}

/* SDM 3A 4.4.1. */
bool mmu_load_pdpte(struct cpu *c, uint64_t cr3)
{
    uint64_t pdpte[4];
    if (c->virt->pdpte_in_memory) return true;
    for (unsigned i = 0; i < 4; i++) {
        struct gpa_result r;
        if (!second_stage(c, (cr3 & BITS(31, 5)) + 8 * i, 0, GPA_READ | GPA_WALK, &r)) return false;
        pdpte[i] = phys_read(c, r.hpa, 8);
        if ((pdpte[i] & PTE_P) != 0 && (pdpte[i] & pdpte_reserved(c)) != 0) return cpu_raise_error(c, 13, 0);
    }
    memcpy(c->s.pdpte, pdpte, sizeof pdpte);
    return true;
}
