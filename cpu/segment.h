/* SPDX-License-Identifier: MIT */
/* Descriptors and segment registers: fetching a descriptor, the checks of each kind of load, the accessed
 * and busy bits, and the stack as far transfers and event delivery see it (explicit segment, pointer and
 * privilege level, so that a new stack can be used before it is loaded).
 * SDM 3A 3.4, 3.5, 5.4-5.8, 6.14; APM 2 ch. 4. */
#ifndef UV_CPU_SEGMENT_H
#define UV_CPU_SEGMENT_H

#include "cpu/cpu.h"

/* System descriptor types, SDM 3A table 3-2. */
enum sys_type {
    SYS_TSS16 = 1,
    SYS_LDT = 2,
    SYS_TSS16_BUSY = 3,
    SYS_CALL16 = 4,
    SYS_TASK_GATE = 5,
    SYS_INT16 = 6,
    SYS_TRAP16 = 7,
    SYS_TSS32 = 9,
    SYS_TSS32_BUSY = 11,
    SYS_CALL32 = 12,
    SYS_INT32 = 14,
    SYS_TRAP32 = 15
};

/* Code and data type bits. */
enum {
    TYPE_ACCESSED = 1,
    TYPE_WRITABLE = 2,
    TYPE_READABLE = 2,
    TYPE_EXPAND_DOWN = 4,
    TYPE_CONFORMING = 4,
    TYPE_CODE = 8
};

struct desc {
    uint64_t lin; /* where it was read */
    uint32_t lo, hi;
    uint64_t ext; /* second half of a 16-byte descriptor, else 0 */
};

static inline unsigned sel_rpl(uint16_t sel) { return sel & 3; }
static inline bool sel_null(uint16_t sel) { return (sel & 0xfffc) == 0; }
static inline unsigned desc_type(const struct desc *d) { return d->hi >> 8 & 15; }
static inline bool desc_is_segment(const struct desc *d) { return (d->hi >> 12 & 1) != 0; }
static inline unsigned desc_dpl(const struct desc *d) { return d->hi >> 13 & 3; }
static inline bool desc_present(const struct desc *d) { return (d->hi >> 15 & 1) != 0; }
static inline bool desc_is_code(const struct desc *d) { return (d->hi >> 11 & 3) == 3; }
static inline bool desc_conforming(const struct desc *d) { return (d->hi >> 10 & 1) != 0; }
static inline bool desc_long(const struct desc *d) { return (d->hi >> 21 & 1) != 0; }
static inline bool desc_big(const struct desc *d) { return (d->hi >> 22 & 1) != 0; }
static inline bool desc_writable_data(const struct desc *d)
{
    return desc_is_segment(d) && (desc_type(d) & (TYPE_CODE | TYPE_WRITABLE)) == TYPE_WRITABLE;
}
uint32_t desc_limit(const struct desc *d);
uint64_t desc_base(const struct desc *d);
/* Gates. */
static inline uint16_t gate_selector(const struct desc *d) { return (uint16_t)(d->lo >> 16); }
static inline uint64_t gate_offset(const struct desc *d)
{
    return (d->lo & 0xffff) | (d->hi & 0xffff0000) | (d->ext & 0xffffffff) << 32;
}

static inline bool lin_canonical(const struct cpu *c, uint64_t lin)
{
    unsigned shift = (c->s.cr4 & CR4_LA57) != 0 ? 64 - 57 : 64 - 48;
    return (uint64_t)((int64_t)(lin << shift) >> shift) == lin;
}

/* Fault with a selector error code; EXT comes from the event being delivered. Returns false. */
bool raise_selector(struct cpu *c, uint8_t vector, uint16_t sel);
/* EXT bit for a fault raised now, SDM 3A 6.13. */
uint32_t event_ext_bit(const struct cpu *c);

/* Reads the 8 bytes of a descriptor; beyond the table: fault `vector`(sel). The selector is not null. */
bool desc_fetch(struct cpu *c, uint16_t sel, uint8_t vector, struct desc *d);
/* The same for LAR, LSL, VERR, VERW: *found is false for a null selector or one beyond its table. */
bool desc_probe(struct cpu *c, uint16_t sel, struct desc *d, bool *found);
/* The second half, in IA-32e mode, of LDT, TSS and call-gate descriptors (upper type must be 0). */
bool desc_fetch_upper(struct cpu *c, uint16_t sel, uint8_t vector, struct desc *d);
/* Sets the accessed bit in memory (and in *d) unless it is set. */
bool desc_set_accessed(struct cpu *c, struct desc *d);
/* Sets or clears the busy bit of a TSS descriptor in memory. */
bool desc_set_busy(struct cpu *c, struct desc *d, bool busy);

void desc_to_seg(const struct desc *d, uint16_t sel, struct seg_reg *out);
struct seg_reg seg_null(const struct cpu *c, unsigned seg, uint16_t sel);
struct seg_reg seg_v86(uint16_t sel);
/* Real-address mode: base and selector change, the limit and most of the rights stay. */
struct seg_reg seg_real(const struct cpu *c, unsigned seg, uint16_t sel);
/* Stores a segment register and refreshes what depends on it alone; CS, SS and CPL changes are followed by
 * cpu_mode_changed(). */
void seg_set(struct cpu *c, unsigned seg, const struct seg_reg *value);

/* CS, SS, CPL or flags were changed by a transfer: cpu_mode_changed(), or the small part of it that is left
 * when the processor was in 64-bit mode before and is after. */
void seg_code_changed(struct cpu *c, bool was_64bit);

/* MOV, POP and LDS-type loads of ES, SS, DS, FS, GS in every mode, with all checks. */
bool seg_load(struct cpu *c, unsigned seg, uint16_t sel);
/* Stack segment for a privilege level: checks and (unless null) the accessed bit. bad: vector of all faults
 * but not-present, which is #SS. */
bool seg_check_stack(struct cpu *c, uint16_t sel, unsigned cpl, uint8_t bad, struct seg_reg *out);
/* Data segment for a privilege level. Null gives an unusable register. */
bool seg_check_data(struct cpu *c, unsigned seg, uint16_t sel, unsigned cpl, uint8_t bad,
                    struct seg_reg *out);
bool seg_load_ldtr(struct cpu *c, uint16_t sel, uint8_t bad);
bool seg_load_tr(struct cpu *c, uint16_t sel);

/* Is [off, off + n) inside the segment? Only the limit question. */
bool seg_inside(const struct seg_reg *s, uint64_t off, uint32_t n);

/* A stack in use or about to be used. */
struct stack {
    struct seg_reg ss;
    uint64_t sp, mask; /* mask: 16, 32 or 64 bits of stack pointer */
    uint32_t error;    /* error code of #SS, without EXT */
    uint8_t cpl;
};
struct stack stack_current(const struct cpu *c);
struct stack stack_new(const struct cpu *c, const struct seg_reg *ss, uint64_t sp, unsigned cpl, bool code64);
bool stack_push(struct cpu *c, struct stack *st, uint32_t size, uint64_t v);
bool stack_pop(struct cpu *c, struct stack *st, uint32_t size, uint64_t *v);
/* New value of RSP after the pushes and pops. */
void stack_commit(struct cpu *c, const struct stack *st);

/* Descriptor of the target code segment of a same-level transfer (far JMP and CALL without gate; RPL in
 * sel): type, privilege, present. SDM 3A 5.8.1 */
bool code_check_direct(struct cpu *c, uint16_t sel, struct desc *d);
/* Offset inside the target segment (or canonical when it is 64-bit code): else #GP(0 | EXT). */
bool code_check_offset(struct cpu *c, const struct seg_reg *cs, uint64_t off);
static inline bool seg_is_code64(const struct cpu *c, const struct seg_reg *cs)
{
    return in_long_mode(c) && (cs->ar & AR_L) != 0;
}

#endif
