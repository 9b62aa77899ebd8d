/* SPDX-License-Identifier: MIT */
/* x87 transcendental instructions: stack discipline and C2; the functions are in cpu/fpu/trans.c.
 * SDM 1 8.3.7, 8.3.9; SDM 2A F2XM1, FCOS, FPATAN, FPTAN, FSIN, FSINCOS, FYL2X, FYL2XP1. */
#include "cpu/insn/x87.h"

static void set_c2(struct cpu *c, bool v)
{
    c->s.fpu.sw = (uint16_t)((c->s.fpu.sw & ~SW_C2) | (v ? SW_C2 : 0));
}

X87_INSN(f2xm1)
{
    x87_note(c, u);
    struct f80 r = f80_default_nan();
    if (x87_empty(c, 0)) {
        if (!x87_stack_fault(c, u, false)) return true;
    } else {
        struct fp_env e = x87_env(c);
        r = f80_f2xm1(&e, *x87_st(c, 0));
        if (!x87_finish(c, u, &e)) return true;
    }
    x87_set(c, 0, r);
    return true;
}

/* ST(1) = fn(ST(0), ST(1)), then pop. */
static void combine(struct cpu *c, const struct uop *u,
                    struct f80 (*fn)(struct fp_env *, struct f80, struct f80))
{
    x87_note(c, u);
    struct f80 r = f80_default_nan();
    if (x87_empty(c, 0) || x87_empty(c, 1)) {
        if (!x87_stack_fault(c, u, false)) return;
    } else {
        struct fp_env e = x87_env(c);
        r = fn(&e, *x87_st(c, 0), *x87_st(c, 1));
        if (!x87_finish(c, u, &e)) return;
    }
    x87_set(c, 1, r);
    x87_pop(c);
}
X87_INSN(fyl2x)
{
    combine(c, u, f80_fyl2x);
    return true;
}
X87_INSN(fyl2xp1)
{
    combine(c, u, f80_fyl2xp1);
    return true;
}
X87_INSN(fpatan)
{
    combine(c, u, f80_fpatan);
    return true;
}

static void sine_or_cosine(struct cpu *c, const struct uop *u, bool cosine)
{
    x87_note(c, u);
    struct f80 r = f80_default_nan();
    set_c2(c, false);
    if (x87_empty(c, 0)) {
        if (!x87_stack_fault(c, u, false)) return;
    } else {
        struct fp_env e = x87_env(c);
        if (!f80_sincos(&e, *x87_st(c, 0), cosine ? NULL : &r, cosine ? &r : NULL)) {
            x87_set_c1(c, false);
            set_c2(c, true);
            return;
        }
        if (!x87_finish(c, u, &e)) return;
    }
    x87_set(c, 0, r);
}
X87_INSN(fsin)
{
    sine_or_cosine(c, u, false);
    return true;
}
X87_INSN(fcos)
{
    sine_or_cosine(c, u, true);
    return true;
}

/* FSINCOS leaves the sine and pushes the cosine, FPTAN leaves the tangent and pushes 1 (a NaN operand
 * is pushed instead of the 1). */
static void two_results(struct cpu *c, const struct uop *u, bool tangent)
{
    x87_note(c, u);
    struct f80 below = f80_default_nan(), top = below;
    bool underflow = x87_empty(c, 0);
    set_c2(c, false);
    if (underflow || !x87_empty(c, 7)) {
        if (!x87_stack_fault(c, u, !underflow)) return;
    } else {
        struct fp_env e = x87_env(c);
        struct f80 a = *x87_st(c, 0);
        bool in_range = tangent ? f80_tan(&e, a, &below) : f80_sincos(&e, a, &below, &top);
        if (!in_range) {
            x87_set_c1(c, false);
            set_c2(c, true);
            return;
        }
        if (tangent) top = (below.se & 0x7fff) == 0x7fff ? below : f80_constant(0, 0);
        if (!x87_finish(c, u, &e)) return;
    }
    x87_set(c, 0, below);
    x87_push(c, top);
}
X87_INSN(fsincos)
{
    two_results(c, u, false);
    return true;
}
X87_INSN(fptan)
{
    two_results(c, u, true);
    return true;
}
