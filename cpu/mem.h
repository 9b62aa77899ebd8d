/* SPDX-License-Identifier: MIT */
/* Memory as instructions see it: segment -> linear -> (TLB | page walk | second stage) -> RAM or bus.
 * All calls return false with cpu->fault set and nothing changed; the value then stays undefined.
 * Little-endian on every host. Accesses may cross pages: both pages are translated (and for writes
 * checked) before the first byte moves. SDM 3A ch. 3, 4, 5; alignment check 6.15 "#AC". */
#ifndef UV_CPU_MEM_H
#define UV_CPU_MEM_H

#include "cpu/cpu.h"

enum access { ACC_READ, ACC_WRITE, ACC_RMW, ACC_EXEC };

/* Segmented, with the rights of the current CPL. `seg` is an enum seg_id; `off` an effective address.
 * Defined inline in mem_inline.h (TLB hit path), which this header includes at its end. */
static inline bool mem_read8(struct cpu *c, unsigned seg, uint64_t off, uint8_t *v);
static inline bool mem_read16(struct cpu *c, unsigned seg, uint64_t off, uint16_t *v);
static inline bool mem_read32(struct cpu *c, unsigned seg, uint64_t off, uint32_t *v);
static inline bool mem_read64(struct cpu *c, unsigned seg, uint64_t off, uint64_t *v);
static inline bool mem_write8(struct cpu *c, unsigned seg, uint64_t off, uint8_t v);
static inline bool mem_write16(struct cpu *c, unsigned seg, uint64_t off, uint16_t v);
static inline bool mem_write32(struct cpu *c, unsigned seg, uint64_t off, uint32_t v);
static inline bool mem_write64(struct cpu *c, unsigned seg, uint64_t off, uint64_t v);

/* 16 bytes as two quadwords in value order (FXSAVE, SSE). align16: #GP(0) when unaligned. */
static inline bool mem_read128(struct cpu *c, unsigned seg, uint64_t off, bool align16, uint64_t v[2]);
static inline bool mem_write128(struct cpu *c, unsigned seg, uint64_t off, bool align16, const uint64_t v[2]);
/* Any length up to 4096 (x87 images, XSAVE area, task segments): all or nothing for writes. */
bool mem_read_bytes(struct cpu *c, unsigned seg, uint64_t off, void *buf, uint32_t n);
bool mem_write_bytes(struct cpu *c, unsigned seg, uint64_t off, const void *buf, uint32_t n);

/* Read-modify-write: the read half checks write permission too and remembers the place; commit cannot
 * fail. Exactly one may be open at a time. size 1, 2, 4, 8. */
static inline bool mem_rmw_read(struct cpu *c, unsigned seg, uint64_t off, uint32_t size, uint64_t *v);
static inline void mem_rmw_commit(struct cpu *c, uint32_t size, uint64_t v);

/* Checks that a later write of n bytes cannot fault (PUSHA, ENTER, INS, far calls). */
bool mem_probe_write(struct cpu *c, unsigned seg, uint64_t off, uint32_t n);
bool mem_probe_read(struct cpu *c, unsigned seg, uint64_t off, uint32_t n);

/* Linear addresses with explicit rights, for descriptor tables, TSS, event delivery. supervisor: an
 * implicit supervisor access (SDM 3A 4.6), whatever the CPL; else the rights of `cpl_user`. */
bool lin_read(struct cpu *c, uint64_t lin, uint32_t size, bool supervisor, uint64_t *v);
bool lin_write(struct cpu *c, uint64_t lin, uint32_t size, bool supervisor, uint64_t v);
bool lin_probe_write(struct cpu *c, uint64_t lin, uint32_t n, bool supervisor);
/* Same with the rights of an explicit privilege level (stack of an outer/inner ring). */
bool lin_read_cpl(struct cpu *c, uint64_t lin, uint32_t size, unsigned cpl, uint64_t *v);
bool lin_write_cpl(struct cpu *c, uint64_t lin, uint32_t size, unsigned cpl, uint64_t v);
bool lin_probe_write_cpl(struct cpu *c, uint64_t lin, uint32_t n, unsigned cpl);

/* An access to non-RAM, to decoded code, to a monitored line or to an armed data breakpoint outside exact
 * mode (cpu->exact) records FAULT_EXACT and returns false: run the instruction again alone. Event delivery
 * and other code outside blocks sets cpu->exact around its accesses. */

/* Segment half alone: offset -> linear with limit, type, canonical checks (#GP/#SS/#GP(0)). */
bool seg_linear(struct cpu *c, unsigned seg, uint64_t off, uint32_t n, enum access acc, uint64_t *lin);

/* Host-physical memory, no translation, never faults: MMIO included; unclaimed reads all ones. */
uint64_t phys_read(struct cpu *c, uint64_t hpa, uint32_t size);
void phys_write(struct cpu *c, uint64_t hpa, uint32_t size, uint64_t v);
void phys_read_bytes(struct cpu *c, uint64_t hpa, void *buf, uint32_t n);
void phys_write_bytes(struct cpu *c, uint64_t hpa, const void *buf, uint32_t n);

/* Decoded blocks may have been made from one of these n bytes, all in one page. */
bool phys_holds_code(const struct cpu *c, uint64_t hpa, uint32_t n);
/* Somebody must be told of a write to these bytes at its exact cycle: blocks were made from them, or a
 * processor monitors them. All in one page. */
bool phys_write_noted(const struct cpu *c, uint64_t hpa, uint32_t n);
/* Canonical for the paging mode in force (48 or, with CR4.LA57, 57 bits). */
bool mem_canonical(const struct cpu *c, uint64_t lin);

/* Guest-physical -> host-physical through the current second stage only. */
bool gpa_translate(struct cpu *c, uint64_t gpa, uint32_t flags, uint64_t *hpa);
/* Linear -> guest-physical and host-physical as a debugger sees it: no fault, no A/D update. */
bool lin_debug_translate(struct cpu *c, uint64_t lin, uint64_t *gpa, uint64_t *hpa);

/* Invalidation. Tags: the TLB is tagged by (vpid/asid tag, PCID, second-stage root); `tag` is
 * cpu->tlb_tag. Stale entries stay exactly until an architectural invalidation (or eviction). */
void tlb_flush_all(struct cpu *c); /* every tag, global pages too */
void tlb_flush_tag(struct cpu *c, uint32_t tag, bool keep_global);
void tlb_flush_pcid(struct cpu *c, uint32_t tag, uint32_t pcid, bool keep_global);
void tlb_flush_page(struct cpu *c, uint32_t tag, uint64_t lin, int pcid); /* pcid -1: all and global */
void tlb_flush_second_stage(struct cpu *c,
                            uint64_t root); /* guest-physical and combined mappings; root ~0: all */
/* CR0/CR3/CR4/EFER/PKRU/PKRS/CPL/RFLAGS.AC/DR7/second-stage/tag changed: recompute derived translation
 * state. Invalidates nothing architectural. */
void mmu_update(struct cpu *c);
/* Code fetch: host-physical address of `lin` with execute rights of the current CPL. False: fault set
 * (#PF with I/D, second stage). Whatever may change an earlier answer (flushes, mmu_update) increments
 * c->exec_generation. */
bool mem_fetch_page(struct cpu *c, uint64_t lin, uint64_t *hpa);
/* The physical page has PAGE_CODE or PAGE_WATCH now: no fast write entry for it may stay or be made. */
void tlb_protect_code_page(struct cpu *c, uint64_t hpa_page);
/* What a fetch address means changed otherwise (CS base or limit): a new c->exec_generation. */
void tlb_new_generation(struct cpu *c);
/* Only CPL, RFLAGS.AC or DR7 changed. */
void mmu_update_rights(struct cpu *c);
/* The hidden part of a segment register, CR0.PE, RFLAGS.VM or 64-bit mode changed. */
void mem_update_window(struct cpu *c, unsigned seg);
void mem_update_windows(struct cpu *c);
/* PAE: load PDPTEs for this CR3 with reserved-bit checks; false: #GP(0) set (or second-stage fault). */
bool mmu_load_pdpte(struct cpu *c, uint64_t cr3);

#include "cpu/mem_inline.h"

#endif
