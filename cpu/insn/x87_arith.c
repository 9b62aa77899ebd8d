/* SPDX-License-Identifier: MIT */
/* x87 arithmetic and comparison: FADD, FSUB(R), FMUL, FDIV(R) in all operand forms, FSQRT, FPREM, FPREM1,
 * FSCALE, FXTRACT, FRNDINT, FABS, FCHS, FCOM, FUCOM, FICOM, FCOMI, FTST, FXAM.
 * SDM 1 8.3, 8.5; SDM 2A by mnemonic. */
#include "cpu/flags.h"
#include "cpu/insn/x87.h"

typedef struct f80 binary_fn(struct fp_env *e, struct f80 a, struct f80 b);
static struct f80 sub_reversed(struct fp_env *e, struct f80 a, struct f80 b) { return f80_sub(e, b, a); }
static struct f80 div_reversed(struct fp_env *e, struct f80 a, struct f80 b) { return f80_div(e, b, a); }

/* A memory operand in the x87's own format, exact: a signaling NaN stays one, so that the choice
 * between two NaNs sees it; a denormal becomes a normal number and is remembered. */
struct operand80 {
    struct f80 v;
    bool denormal;
};
static struct operand80 widen(struct f80 converted, bool denormal, bool snan)
{
    if (snan) converted.frac &= ~(UINT64_C(1) << 62);
    return (struct operand80){converted, denormal};
}
static bool read_m32(struct cpu *c, const struct uop *u, struct operand80 *o)
{
    uint32_t v;
    if (!mem_read32(c, u_seg(u), u_ea(c, u), &v)) return false;
    struct fp_env e = {.prec = 64, .masked = FP_ALL, .x87 = true};
    struct f80 w = f32_to_f80(&e, v);
    *o = widen(w, e.flags & FP_DE, e.flags & FP_IE);
    return true;
}
static bool read_m64(struct cpu *c, const struct uop *u, struct operand80 *o)
{
    uint64_t v;
    if (!mem_read64(c, u_seg(u), u_ea(c, u), &v)) return false;
    struct fp_env e = {.prec = 64, .masked = FP_ALL, .x87 = true};
    struct f80 w = f64_to_f80(&e, v);
    *o = widen(w, e.flags & FP_DE, e.flags & FP_IE);
    return true;
}
static bool read_i16(struct cpu *c, const struct uop *u, struct operand80 *o)
{
    uint16_t v;
    if (!mem_read16(c, u_seg(u), u_ea(c, u), &v)) return false;
    *o = (struct operand80){int_to_f80((int16_t)v), false};
    return true;
}
static bool read_i32(struct cpu *c, const struct uop *u, struct operand80 *o)
{
    uint32_t v;
    if (!mem_read32(c, u_seg(u), u_ea(c, u), &v)) return false;
    *o = (struct operand80){int_to_f80((int32_t)v), false};
    return true;
}
static bool is_nan(struct f80 v) { return (v.se & 0x7fff) == 0x7fff && v.frac >> 63 && v.frac << 1; }
/* DE of the memory operand ranks below invalid operation, NaN operand and zero divide. */
static void add_denormal(struct fp_env *e, const struct operand80 *o, struct f80 other)
{
    if (o->denormal && !(e->flags & (FP_IE | FP_ZE)) && !is_nan(other)) e->flags |= FP_DE;
}

static void binary_memory(struct cpu *c, const struct uop *u, binary_fn *fn, const struct operand80 *o)
{
    x87_note(c, u);
    if (x87_empty(c, 0)) {
        if (x87_stack_fault(c, u, false)) x87_set(c, 0, f80_default_nan());
        return;
    }
    struct fp_env e = x87_env(c);
    struct f80 a = *x87_st(c, 0), r = fn(&e, a, o->v);
    add_denormal(&e, o, a);
    if (x87_finish(c, u, &e)) x87_set(c, 0, r);
}
/* dst = dst op src, both stack-relative. */
static void binary_stack(struct cpu *c, const struct uop *u, binary_fn *fn, unsigned dst, unsigned src,
                         bool pop)
{
    x87_note(c, u);
    struct f80 r = f80_default_nan();
    if (x87_empty(c, dst) || x87_empty(c, src)) {
        if (!x87_stack_fault(c, u, false)) return;
    } else {
        struct fp_env e = x87_env(c);
        r = fn(&e, *x87_st(c, dst), *x87_st(c, src));
        if (!x87_finish(c, u, &e)) return;
    }
    x87_set(c, dst, r);
    if (pop) x87_pop(c);
}

#define X87_BINARY(name, iname, fn)               \
    X87_BINARY_MEMORY(name##_m32, read_m32, fn)   \
    X87_BINARY_MEMORY(name##_m64, read_m64, fn)   \
    X87_BINARY_MEMORY(iname##_m16, read_i16, fn)  \
    X87_BINARY_MEMORY(iname##_m32, read_i32, fn)  \
    X87_INSN(name##_st0_sti)                      \
    {                                             \
        binary_stack(c, u, fn, 0, u->dst, false); \
        return true;                              \
    }                                             \
    X87_INSN(name##_sti_st0)                      \
    {                                             \
        binary_stack(c, u, fn, u->dst, 0, false); \
        return true;                              \
    }                                             \
    X87_INSN(name##p)                             \
    {                                             \
        binary_stack(c, u, fn, u->dst, 0, true);  \
        return true;                              \
    }
#define X87_BINARY_MEMORY(handler, read, fn) \
    X87_INSN(handler)                        \
    {                                        \
        struct operand80 o;                  \
        if (!read(c, u, &o)) return false;   \
        binary_memory(c, u, fn, &o);         \
        return true;                         \
    }
X87_BINARY(fadd, fiadd, f80_add)
X87_BINARY(fmul, fimul, f80_mul)
X87_BINARY(fsub, fisub, f80_sub)
X87_BINARY(fsubr, fisubr, sub_reversed)
X87_BINARY(fdiv, fidiv, f80_div)
X87_BINARY(fdivr, fidivr, div_reversed)

/* Comparison. */

static uint16_t relation_codes(enum fp_relation r)
{
    static const uint16_t codes[4] = {SW_C0, SW_C3, 0, SW_C3 | SW_C2 | SW_C0};
    return codes[r + 1];
}
static void set_codes(struct cpu *c, uint16_t codes)
{
    c->s.fpu.sw = (uint16_t)((c->s.fpu.sw & ~(SW_C0 | SW_C2 | SW_C3)) | codes);
}
static void pops(struct cpu *c, unsigned n)
{
    while (n--)
        x87_pop(c);
}
static void compare(struct cpu *c, const struct uop *u, const struct operand80 *o, bool empty, bool signaling,
                    unsigned pop)
{
    x87_note(c, u);
    if (empty) {
        set_codes(c, relation_codes(FP_UNORDERED));
        if (x87_stack_fault(c, u, false)) pops(c, pop);
        return;
    }
    struct fp_env e = x87_env(c);
    struct f80 a = *x87_st(c, 0);
    enum fp_relation r = f80_compare(&e, a, o->v, signaling);
    if (r != FP_UNORDERED) add_denormal(&e, o, a);
    set_codes(c, relation_codes(r));
    if (x87_finish(c, u, &e)) pops(c, pop);
}
#define X87_COMPARE_MEMORY(name, read, pop)            \
    X87_INSN(name)                                     \
    {                                                  \
        struct operand80 o;                            \
        if (!read(c, u, &o)) return false;             \
        compare(c, u, &o, x87_empty(c, 0), true, pop); \
        return true;                                   \
    }
#define X87_COMPARE(name, signaling, pop)                                           \
    X87_INSN(name)                                                                  \
    {                                                                               \
        struct operand80 o = {*x87_st(c, u->dst), false};                           \
        compare(c, u, &o, x87_empty(c, 0) || x87_empty(c, u->dst), signaling, pop); \
        return true;                                                                \
    }
X87_COMPARE_MEMORY(fcom_m32, read_m32, 0)
X87_COMPARE_MEMORY(fcom_m64, read_m64, 0)
X87_COMPARE_MEMORY(fcomp_m32, read_m32, 1)
X87_COMPARE_MEMORY(fcomp_m64, read_m64, 1)
X87_COMPARE_MEMORY(ficom_m16, read_i16, 0)
X87_COMPARE_MEMORY(ficom_m32, read_i32, 0)
X87_COMPARE_MEMORY(ficomp_m16, read_i16, 1)
X87_COMPARE_MEMORY(ficomp_m32, read_i32, 1)
X87_COMPARE(fcom_sti, true, 0)
X87_COMPARE(fcomp_sti, true, 1)
X87_COMPARE(fucom_sti, false, 0)
X87_COMPARE(fucomp_sti, false, 1)
X87_INSN(fcompp)
{
    struct operand80 o = {*x87_st(c, 1), false};
    compare(c, u, &o, x87_empty(c, 0) || x87_empty(c, 1), true, 2);
    return true;
}
X87_INSN(fucompp)
{
    struct operand80 o = {*x87_st(c, 1), false};
    compare(c, u, &o, x87_empty(c, 0) || x87_empty(c, 1), false, 2);
    return true;
}
X87_INSN(ftst)
{
    struct operand80 o = {f80_make(0, 0), false};
    compare(c, u, &o, x87_empty(c, 0), true, 0);
    return true;
}

/* FCOMI and friends answer in ZF, PF, CF; OF, SF, AF are cleared (SDM 2A FCOMI). */
static void compare_flags(struct cpu *c, const struct uop *u, bool signaling, bool pop)
{
    static const uint8_t image[4] = {FL_CF, FL_ZF, 0, FL_ZF | FL_PF | FL_CF};
    x87_note(c, u);
    enum fp_relation r = FP_UNORDERED;
    bool deliver;
    if (x87_empty(c, 0) || x87_empty(c, u->dst)) {
        deliver = x87_stack_fault(c, u, false);
    } else {
        struct fp_env e = x87_env(c);
        r = f80_compare(&e, *x87_st(c, 0), *x87_st(c, u->dst), signaling);
        deliver = x87_finish(c, u, &e);
    }
    flags_load_oszapc(c, image[r + 1]);
    if (deliver && pop) x87_pop(c);
}
#define X87_COMPARE_FLAGS(name, signaling, pop) \
    X87_INSN(name)                              \
    {                                           \
        compare_flags(c, u, signaling, pop);    \
        return true;                            \
    }
X87_COMPARE_FLAGS(fcomi, true, false)
X87_COMPARE_FLAGS(fcomip, true, true)
X87_COMPARE_FLAGS(fucomi, false, false)
X87_COMPARE_FLAGS(fucomip, false, true)

X87_INSN(fxam)
{
    struct f80 v = *x87_st(c, 0);
    unsigned exp = v.se & 0x7fff;
    uint16_t codes;
    if (x87_empty(c, 0))
        codes = SW_C3 | SW_C0;
    else if (exp == 0)
        codes = v.frac ? SW_C3 | SW_C2 : SW_C3;
    else if (!(v.frac >> 63))
        codes = 0;
    else if (exp != 0x7fff)
        codes = SW_C2;
    else
        codes = v.frac << 1 ? SW_C0 : SW_C2 | SW_C0;
    x87_note(c, u);
    set_codes(c, codes);
    x87_set_c1(c, v.se >> 15);
    return true;
}

/* One operand, result in ST(0). */

static void unary(struct cpu *c, const struct uop *u, struct f80 (*fn)(struct fp_env *, struct f80))
{
    x87_note(c, u);
    if (x87_empty(c, 0)) {
        if (x87_stack_fault(c, u, false)) x87_set(c, 0, f80_default_nan());
        return;
    }
    struct fp_env e = x87_env(c);
    struct f80 r = fn(&e, *x87_st(c, 0));
    if (x87_finish(c, u, &e)) x87_set(c, 0, r);
}
static struct f80 change_sign(struct fp_env *e, struct f80 a)
{
    (void)e;
    a.se ^= 0x8000;
    return a;
}
static struct f80 clear_sign(struct fp_env *e, struct f80 a)
{
    (void)e;
    a.se &= 0x7fff;
    return a;
}
#define X87_UNARY(name, fn) \
    X87_INSN(name)          \
    {                       \
        unary(c, u, fn);    \
        return true;        \
    }
X87_UNARY(fchs, change_sign)
X87_UNARY(fabs, clear_sign)
X87_UNARY(fsqrt, f80_sqrt)
X87_UNARY(frndint, f80_round_int)

X87_INSN(fscale)
{
    binary_stack(c, u, f80_scale, 0, 1, false);
    return true;
}

X87_INSN(fxtract)
{
    x87_note(c, u);
    struct f80 r = f80_default_nan(), exponent = r;
    bool underflow = x87_empty(c, 0);
    if (underflow || !x87_empty(c, 7)) {
        if (!x87_stack_fault(c, u, !underflow)) return true;
    } else {
        struct fp_env e = x87_env(c);
        r = f80_extract(&e, *x87_st(c, 0), &exponent);
        if (!x87_finish(c, u, &e)) return true;
    }
    x87_set(c, 0, exponent);
    x87_push(c, r);
    return true;
}

static void partial_remainder(struct cpu *c, const struct uop *u, bool ieee)
{
    x87_note(c, u);
    set_codes(c, c->s.fpu.sw & (SW_C3 | SW_C0));
    if (x87_empty(c, 0) || x87_empty(c, 1)) {
        if (x87_stack_fault(c, u, false)) x87_set(c, 0, f80_default_nan());
        return;
    }
    struct fp_env e = x87_env(c);
    struct f80_rem m = f80_remainder(&e, *x87_st(c, 0), *x87_st(c, 1), ieee);
    bool valid = !(e.flags & FP_IE) && !is_nan(m.r);
    if (!x87_finish(c, u, &e)) return;
    x87_set(c, 0, m.r);
    if (!valid) return;
    /* Quotient bits 2, 1, 0 in C0, C3, C1; all clear while the reduction is partial. */
    x87_set_c1(c, m.quotient & 1);
    set_codes(
        c, (uint16_t)((m.quotient & 4 ? SW_C0 : 0) | (m.quotient & 2 ? SW_C3 : 0) | (m.partial ? SW_C2 : 0)));
}
X87_INSN(fprem)
{
    partial_remainder(c, u, false);
    return true;
}
X87_INSN(fprem1)
{
    partial_remainder(c, u, true);
    return true;
}
