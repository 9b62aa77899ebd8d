/* SPDX-License-Identifier: MIT */
/* x87 loads, stores, exchanges, conditional moves and constants: FLD, FST(P), FILD, FIST(P), FISTTP, FBLD,
 * FBSTP, FXCH, FCMOVcc, FLD1 ... FLDZ, FFREE, FINCSTP, FDECSTP, FNOP. SDM 1 8.3.1-8.3.3; SDM 2A. */
#include "cpu/flags.h"
#include "cpu/insn/x87.h"

/* Loads: memory is read first, then the stack is looked at. */

static void load(struct cpu *c, const struct uop *u, struct fp_env *e, struct f80 v)
{
    x87_note(c, u);
    if (!x87_empty(c, 7)) {
        if (x87_stack_fault(c, u, true)) x87_push(c, f80_default_nan());
        return;
    }
    /* An unmasked denormal operand is reported but the load completes, unlike in arithmetic. */
    bool stop = fp_unmasked(e, FP_IE);
    x87_set_c1(c, false);
    x87_raise(c, u, e->flags);
    if (!stop) x87_push(c, v);
}
X87_INSN(fld_m32)
{
    uint32_t m;
    if (!mem_read32(c, u_seg(u), u_ea(c, u), &m)) return false;
    struct fp_env e = x87_env(c);
    load(c, u, &e, f32_to_f80(&e, m));
    return true;
}
X87_INSN(fld_m64)
{
    uint64_t m;
    if (!mem_read64(c, u_seg(u), u_ea(c, u), &m)) return false;
    struct fp_env e = x87_env(c);
    load(c, u, &e, f64_to_f80(&e, m));
    return true;
}
X87_INSN(fld_m80)
{
    struct f80 m;
    if (!x87_read_f80(c, u, &m)) return false;
    struct fp_env e = x87_env(c);
    load(c, u, &e, m);
    return true;
}
X87_INSN(fild_m16)
{
    uint16_t m;
    if (!mem_read16(c, u_seg(u), u_ea(c, u), &m)) return false;
    struct fp_env e = x87_env(c);
    load(c, u, &e, int_to_f80((int16_t)m));
    return true;
}
X87_INSN(fild_m32)
{
    uint32_t m;
    if (!mem_read32(c, u_seg(u), u_ea(c, u), &m)) return false;
    struct fp_env e = x87_env(c);
    load(c, u, &e, int_to_f80((int32_t)m));
    return true;
}
X87_INSN(fild_m64)
{
    uint64_t m;
    if (!mem_read64(c, u_seg(u), u_ea(c, u), &m)) return false;
    struct fp_env e = x87_env(c);
    load(c, u, &e, int_to_f80((int64_t)m));
    return true;
}
X87_INSN(fbld)
{
    uint8_t m[10];
    if (!mem_read_bytes(c, u_seg(u), u_ea(c, u), m, 10)) return false;
    struct fp_env e = x87_env(c);
    load(c, u, &e, f80_from_bcd(m));
    return true;
}
#define X87_CONSTANT(name, which)                  \
    X87_INSN(name)                                 \
    {                                              \
        struct fp_env e = x87_env(c);              \
        load(c, u, &e, f80_constant(which, e.rc)); \
        return true;                               \
    }
X87_CONSTANT(fld1, 0)
X87_CONSTANT(fldl2t, 1)
X87_CONSTANT(fldl2e, 2)
X87_CONSTANT(fldpi, 3)
X87_CONSTANT(fldlg2, 4)
X87_CONSTANT(fldln2, 5)
X87_CONSTANT(fldz, 6)

X87_INSN(fld_sti)
{
    x87_note(c, u);
    struct f80 v = *x87_st(c, u->dst);
    bool underflow = x87_empty(c, u->dst);
    if (underflow || !x87_empty(c, 7)) {
        if (x87_stack_fault(c, u, !underflow)) x87_push(c, f80_default_nan());
        return true;
    }
    x87_set_c1(c, false);
    x87_push(c, v);
    return true;
}

/* Stores: convert, write memory (may fault), then commit flags and pop. An unmasked overflow or underflow
 * of a memory destination stores nothing (SDM 1 8.5.4, 8.5.5); an unmasked inexact result is stored. The
 * destination is checked either way: its faults come before the floating-point exception. */
struct store {
    struct fp_env e;
    bool underflow; /* of the stack: ST(0) is empty */
    bool write;
};
static struct store store_begin(struct cpu *c)
{
    struct store s = {.e = x87_env(c), .underflow = x87_empty(c, 0)};
    s.write = !s.underflow || (s.e.masked & FP_IE);
    return s;
}
static void store_judge(struct store *s)
{
    if (!fp_unmasked(&s->e, FP_IE | FP_OE | FP_UE)) return;
    s->write = false;
    s->e.flags &= (uint8_t)~FP_PE; /* nothing was rounded: P is not reported, C1 is clear (SDM 1 8.5.6) */
    s->e.round_up = false;
}
static void store_end(struct cpu *c, const struct uop *u, struct store *s, bool pop)
{
    x87_note(c, u);
    if (s->underflow)
        x87_stack_fault(c, u, false);
    else
        x87_finish(c, u, &s->e);
    if (s->write && pop) x87_pop(c);
}
#define X87_STORE(name, type, convert, indefinite, write_fn, pop)          \
    X87_INSN(name)                                                         \
    {                                                                      \
        struct store s = store_begin(c);                                   \
        type v = indefinite;                                               \
        if (!s.underflow) v = convert;                                     \
        store_judge(&s);                                                   \
        if (s.write ? !write_fn(c, u_seg(u), u_ea(c, u), v)                \
                    : !mem_probe_write(c, u_seg(u), u_ea(c, u), sizeof v)) \
            return false;                                                  \
        store_end(c, u, &s, pop);                                          \
        return true;                                                       \
    }
#define ST0 (*x87_st(c, 0))
X87_STORE(fst_m32, uint32_t, f80_to_f32(&s.e, ST0), F32_DEFAULT_NAN, mem_write32, false)
X87_STORE(fstp_m32, uint32_t, f80_to_f32(&s.e, ST0), F32_DEFAULT_NAN, mem_write32, true)
X87_STORE(fst_m64, uint64_t, f80_to_f64(&s.e, ST0), F64_DEFAULT_NAN, mem_write64, false)
X87_STORE(fstp_m64, uint64_t, f80_to_f64(&s.e, ST0), F64_DEFAULT_NAN, mem_write64, true)
X87_STORE(fist_m16, uint16_t, (uint16_t)f80_to_int(&s.e, ST0, 16, s.e.rc), 0x8000, mem_write16, false)
X87_STORE(fistp_m16, uint16_t, (uint16_t)f80_to_int(&s.e, ST0, 16, s.e.rc), 0x8000, mem_write16, true)
X87_STORE(fisttp_m16, uint16_t, (uint16_t)f80_to_int(&s.e, ST0, 16, FP_ZERO_WARDS), 0x8000, mem_write16, true)
X87_STORE(fist_m32, uint32_t, (uint32_t)f80_to_int(&s.e, ST0, 32, s.e.rc), 0x80000000, mem_write32, false)
X87_STORE(fistp_m32, uint32_t, (uint32_t)f80_to_int(&s.e, ST0, 32, s.e.rc), 0x80000000, mem_write32, true)
X87_STORE(fisttp_m32, uint32_t, (uint32_t)f80_to_int(&s.e, ST0, 32, FP_ZERO_WARDS), 0x80000000, mem_write32,
          true)
X87_STORE(fistp_m64, uint64_t, (uint64_t)f80_to_int(&s.e, ST0, 64, s.e.rc), UINT64_C(1) << 63, mem_write64,
          true)
X87_STORE(fisttp_m64, uint64_t, (uint64_t)f80_to_int(&s.e, ST0, 64, FP_ZERO_WARDS), UINT64_C(1) << 63,
          mem_write64, true)

X87_INSN(fstp_m80)
{
    struct store s = store_begin(c);
    uint8_t m[10];
    x87_put_f80(m, s.underflow ? f80_default_nan() : ST0);
    if (s.write ? !mem_write_bytes(c, u_seg(u), u_ea(c, u), m, 10)
                : !mem_probe_write(c, u_seg(u), u_ea(c, u), 10))
        return false;
    store_end(c, u, &s, true);
    return true;
}
X87_INSN(fbstp)
{
    struct store s = store_begin(c);
    uint8_t m[10] = {0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff};
    if (!s.underflow) f80_to_bcd(&s.e, ST0, m);
    store_judge(&s);
    if (s.write ? !mem_write_bytes(c, u_seg(u), u_ea(c, u), m, 10)
                : !mem_probe_write(c, u_seg(u), u_ea(c, u), 10))
        return false;
    store_end(c, u, &s, true);
    return true;
}

static void store_register(struct cpu *c, const struct uop *u, bool pop)
{
    x87_note(c, u);
    struct f80 v = ST0;
    if (x87_empty(c, 0)) {
        if (!x87_stack_fault(c, u, false)) return;
        v = f80_default_nan();
    } else {
        x87_set_c1(c, false);
    }
    x87_set(c, u->dst, v);
    if (pop) x87_pop(c);
}
X87_INSN(fst_sti)
{
    store_register(c, u, false);
    return true;
}
X87_INSN(fstp_sti)
{
    store_register(c, u, true);
    return true;
}

/* D9 D8+i: an empty ST(0) is popped without an exception and without a copy. */
X87_INSN(fstpnce)
{
    x87_note(c, u);
    x87_set_c1(c, false);
    if (!x87_empty(c, 0)) x87_set(c, u->dst, ST0);
    x87_pop(c);
    return true;
}

X87_INSN(fxch)
{
    x87_note(c, u);
    bool e0 = x87_empty(c, 0), ei = x87_empty(c, u->dst);
    if (e0 || ei) {
        if (!x87_stack_fault(c, u, false)) return true;
        if (e0) x87_set(c, 0, f80_default_nan());
        if (ei) x87_set(c, u->dst, f80_default_nan());
    } else {
        x87_set_c1(c, false);
    }
    struct f80 t = ST0;
    x87_set(c, 0, *x87_st(c, u->dst));
    x87_set(c, u->dst, t);
    return true;
}

static void conditional_move(struct cpu *c, const struct uop *u, bool take)
{
    x87_note(c, u);
    if (x87_empty(c, 0) || x87_empty(c, u->dst)) {
        if (x87_stack_fault(c, u, false)) x87_set(c, 0, f80_default_nan());
        return;
    }
    if (take) x87_set(c, 0, *x87_st(c, u->dst));
}
#define X87_CMOV(name, condition)          \
    X87_INSN(name)                         \
    {                                      \
        conditional_move(c, u, condition); \
        return true;                       \
    }
X87_CMOV(fcmovb, flag_cf(c))
X87_CMOV(fcmove, flag_zf(c))
X87_CMOV(fcmovbe, flag_cf(c) || flag_zf(c))
X87_CMOV(fcmovu, flag_pf(c))
X87_CMOV(fcmovnb, !flag_cf(c))
X87_CMOV(fcmovne, !flag_zf(c))
X87_CMOV(fcmovnbe, !flag_cf(c) && !flag_zf(c))
X87_CMOV(fcmovnu, !flag_pf(c))

X87_INSN(fincstp)
{
    x87_note(c, u);
    x87_set_c1(c, false);
    c->s.fpu.top = (c->s.fpu.top + 1) & 7;
    return true;
}
X87_INSN(fdecstp)
{
    x87_note(c, u);
    x87_set_c1(c, false);
    c->s.fpu.top = (c->s.fpu.top - 1) & 7;
    return true;
}
X87_INSN(ffree)
{
    x87_note(c, u);
    x87_set_c1(c, false);
    c->s.fpu.tag &= (uint8_t) ~(1u << x87_phys(c, u->dst));
    return true;
}
X87_INSN(ffreep)
{
    x87_note(c, u);
    x87_set_c1(c, false);
    c->s.fpu.tag &= (uint8_t) ~(1u << x87_phys(c, u->dst));
    x87_pop(c);
    return true;
}
X87_INSN(fnop)
{
    x87_note(c, u);
    return true;
}
