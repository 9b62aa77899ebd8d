/* SPDX-License-Identifier: MIT */
/* Translation caches. Level 1 is what the inline fast path looks at: direct-mapped 4-KByte slots, one table
 * for each kind of rights, tags that carry the address space and the paging rights in force, a host addend.
 * Level 2 (tlb.c) holds translations as a processor does: by page size, PCID, VPID or ASID, second-stage
 * root and global bit, with the rights of the tables; it keeps an entry until an architectural
 * invalidation or eviction. SDM 3A 4.10, SDM 3C 28.4, APM 2 15.16. */
#ifndef UV_CPU_TLB_H
#define UV_CPU_TLB_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;

/* Rights under which an access is made. */
enum mmu_index {
    MMU_SUPERVISOR,    /* CPL 0-2 or implicit supervisor access: SMAP in force when CR4.SMAP is set */
    MMU_USER,          /* CPL 3 */
    MMU_SUPERVISOR_AC, /* CPL 0-2 with RFLAGS.AC: SMAP suspended */
    MMU_INDEXES
};

enum { TLB_L1_BITS = 10, TLB_L1_SIZE = 1 << TLB_L1_BITS };

/* A tag is the page address with the address-space number in its low 12 bits; no tag equals TLB_INVALID. */
#define TLB_INVALID UINT64_MAX
struct tlb_entry {
    uint64_t read, write, exec;
    uint64_t addend; /* host address minus linear address */
};

/* Rights of a level-2 entry: those of the paging structures combined, and of the second stage. */
enum page_right {
    PR_WRITE = 1,
    PR_USER = 2,
    PR_NX = 4,
    PR_DIRTY = 8,
    PR_GLOBAL = 16,
    PR_S2_READ = 32,
    PR_S2_WRITE = 64,
    PR_S2_EXEC = 128,
    PR_S2_USER_EXEC = 256
};

struct tlb_page {
    uint64_t lin; /* first linear address of the page; TLB_INVALID: free */
    uint64_t hpa;
    uint32_t space; /* number of the address space, tlb.c */
    uint32_t tag;
    uint16_t pcid, rights;
    uint8_t shift, pkey;
};

/* Kinds of paging, SDM 3A 4.1.1. */
enum paging_mode { PAGING_NONE, PAGING_32, PAGING_PAE, PAGING_4LEVEL, PAGING_5LEVEL };

/* Bits of an access as the walker sees it. */
enum { MEM_R = 1, MEM_W = 2, MEM_X = 4 };

enum pf_error { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };

struct tlb *tlb_create(void);
void tlb_destroy(struct tlb *t);

/* The level-1 slot that holds lin for the rights `index`. */
struct tlb_entry *tlb_slot_of(struct cpu *c, unsigned index, uint64_t lin);
/* Table of slots that never hit: every access takes the checked path. */
struct tlb_entry *tlb_table(struct cpu *c, unsigned index, bool checked);

/* Level 2. */
struct tlb_page *tlb_find(struct cpu *c, uint64_t lin);
struct tlb_page *tlb_insert(struct cpu *c, const struct tlb_page *p);
/* A piece of this page goes into level 1. */
void tlb_mark(struct cpu *c, const struct tlb_page *p);

/* Address space numbers after CR3, tag, root or paging rights changed: sets c->tlb_ctx and friends. */
void tlb_select(struct cpu *c);

/* Translation for an access of kind acc (MEM_ bits) with the rights `index`: level 2, else a page walk
 * (paging.c). Sets A and D. False: c->fault is set. */
bool mmu_translate(struct cpu *c, uint64_t lin, unsigned index, unsigned acc, uint64_t *hpa);

/* Snapshot cleared PAGE_DIRTY: drop all write tags. */
void tlb_protect_all(struct cpu *c);
/* Drops level 1 only (page flags changed). */
void tlb_drop_l1(struct cpu *c);

/* INVLPG: the page in the current PCID and its global mappings. */
void tlb_invlpg(struct cpu *c, uint64_t lin);

#endif
