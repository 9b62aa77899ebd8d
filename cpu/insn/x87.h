/* SPDX-License-Identifier: MIT */
/* The x87 register stack, status word and exception responses as the instruction bodies use them.
 * SDM 1 ch. 8. The gate micro-op has already taken #NM and pending #MF. */
#ifndef UV_CPU_INSN_X87_H
#define UV_CPU_INSN_X87_H

#include "cpu/event.h"
#include "cpu/fpu/fp.h"
#include "cpu/mem.h"
#include "cpu/quirk.h"
#include "cpu/uop.h"

enum x87_status {
    SW_SF = 0x40, /* stack fault, with IE */
    SW_ES = 0x80, /* an unmasked exception is pending */
    SW_C0 = 0x100,
    SW_C1 = 0x200,
    SW_C2 = 0x400,
    SW_TOP = 0x3800, /* kept in fpu.top, always 0 in fpu.sw */
    SW_C3 = 0x4000,
    SW_B = 0x8000 /* copy of ES since the 80387 */
};
enum { CW_WRITABLE = 0x1f3f, CW_FIXED = 0x40, CW_INIT = 0x37f };

/* A handler whose work is one function that returns false on a fault: its locals are gone before NEXT, which
 * stays a jump. */
#define X87_INSN(name)                                                \
    static inline bool do_##name(struct cpu *c, const struct uop *u); \
    HANDLER_ALL(name)                                                 \
    {                                                                 \
        TRY(do_##name(c, u));                                         \
        NEXT;                                                         \
    }                                                                 \
    static inline bool do_##name(struct cpu *c, __attribute__((unused)) const struct uop *u)

static inline unsigned x87_phys(const struct cpu *c, unsigned i) { return (c->s.fpu.top + i) & 7; }
static inline struct f80 *x87_st(struct cpu *c, unsigned i) { return &c->s.fpu.st[x87_phys(c, i)]; }
static inline bool x87_empty(const struct cpu *c, unsigned i)
{
    return !(c->s.fpu.tag >> x87_phys(c, i) & 1);
}
static inline void x87_set(struct cpu *c, unsigned i, struct f80 v)
{
    c->s.fpu.st[x87_phys(c, i)] = v;
    c->s.fpu.tag |= (uint8_t)(1u << x87_phys(c, i));
}
static inline void x87_pop(struct cpu *c)
{
    c->s.fpu.tag &= (uint8_t) ~(1u << c->s.fpu.top);
    c->s.fpu.top = (c->s.fpu.top + 1) & 7;
}
static inline void x87_push(struct cpu *c, struct f80 v)
{
    c->s.fpu.top = (c->s.fpu.top - 1) & 7;
    x87_set(c, 0, v);
}

static inline struct fp_env x87_env(const struct cpu *c)
{
    static const uint8_t precision[4] = {24, 64, 53, 64}; /* CW.PC; 1 is reserved */
    return (struct fp_env){.rc = c->s.fpu.cw >> 10 & 3,
                           .prec = precision[c->s.fpu.cw >> 8 & 3],
                           .masked = c->s.fpu.cw & FP_ALL,
                           .x87 = true};
}

/* Instruction and operand pointers of a non-control instruction (SDM 1 8.1.8). By default FOP is written only
 * when an unmasked exception occurs (fopcode compatibility mode off). uop.imm of an x87 row is the 11-bit
 * FOP. */
static inline void x87_note(struct cpu *c, const struct uop *u)
{
    struct fpu_state *f = &c->s.fpu;
    f->fip = u_rip(c, u);
    f->fcs = c->s.seg[SEG_CS].selector;
    if (cpu_quirk(c, QUIRK_FOP_ALWAYS)) f->fop = (uint16_t)u->imm & 0x7ff;
    if (u->flags & UOP_MEM) {
        f->fdp = u_ea(c, u);
        f->fds = c->s.seg[u_seg(u)].selector;
    }
}

/* ES and B follow from flags and masks whenever either changes. */
static inline void x87_update_es(struct cpu *c)
{
    struct fpu_state *f = &c->s.fpu;
    f->sw &= (uint16_t) ~(SW_ES | SW_B);
    if (f->sw & ~f->cw & FP_ALL) f->sw |= SW_ES | SW_B;
}
static inline void x87_raise(struct cpu *c, const struct uop *u, unsigned flags)
{
    struct fpu_state *f = &c->s.fpu;
    f->sw |= (uint16_t)flags;
    if (flags & ~f->cw & FP_ALL) {
        f->sw |= SW_ES | SW_B;
        f->fop = (uint16_t)u->imm & 0x7ff;
    }
}
static inline void x87_set_c1(struct cpu *c, bool v)
{
    c->s.fpu.sw = (uint16_t)((c->s.fpu.sw & ~SW_C1) | (v ? SW_C1 : 0));
}

/* Commits what an operation raised. False: an unmasked invalid, denormal or zero-divide exception, the
 * operands stay and nothing is delivered (SDM 1 8.5). */
static inline bool x87_finish(struct cpu *c, const struct uop *u, struct fp_env *e)
{
    bool stop = fp_unmasked(e, FP_PRE);
    if (stop) {
        e->flags &= FP_PRE;
        e->round_up = false;
    }
    x87_set_c1(c, e->round_up && (e->flags & FP_PE));
    x87_raise(c, u, e->flags);
    return !stop;
}
/* Stack overflow or underflow: IE, SF, C1 tells which. True: masked, the indefinite goes on. */
static inline bool x87_stack_fault(struct cpu *c, const struct uop *u, bool overflow)
{
    x87_set_c1(c, overflow);
    x87_raise(c, u, FP_IE | SW_SF);
    return (c->s.fpu.cw & FP_IE) != 0;
}

static inline bool x87_read_f80(struct cpu *c, const struct uop *u, struct f80 *v)
{
    uint8_t b[10];
    if (!mem_read_bytes(c, u_seg(u), u_ea(c, u), b, 10)) return false;
    uint64_t m = 0;
    for (int i = 7; i >= 0; i--)
        m = m << 8 | b[i];
    *v = f80_make((unsigned)b[8] | (unsigned)b[9] << 8, m);
    return true;
}
static inline void x87_put_f80(uint8_t b[10], struct f80 v)
{
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(v.frac >> 8 * i);
    b[8] = (uint8_t)v.se;
    b[9] = (uint8_t)(v.se >> 8);
}

void x87_init(struct cpu *c); /* FNINIT */

#endif
