/* SPDX-License-Identifier: MIT */
/* ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NEG NOT ADCX ADOX SALC. SDM 2A, 2B. */
#include "cpu/flags.h"
#include "cpu/insn/flat.h"

/* The operation itself: flags only when `fl` (a constant at every use). */
#define OPERATION(op, bits, result, set_flags)                                                          \
    MEM_INLINE uint##bits##_t do_##op##bits(struct cpu *c, uint##bits##_t a, uint##bits##_t b, bool fl) \
    {                                                                                                   \
        uint##bits##_t r = (uint##bits##_t)(result);                                                    \
        if (fl) set_flags(c, bits, a, b, r);                                                            \
        return r;                                                                                       \
    }
#define OPERATION4(op, result, set_flags) \
    OPERATION(op, 8, result, set_flags)   \
    OPERATION(op, 16, result, set_flags)  \
    OPERATION(op, 32, result, set_flags)  \
    OPERATION(op, 64, result, set_flags)

#define LOGIC(c, bits, a, b, r) flags_logic(c, bits, r)
OPERATION4(add, a + b, flags_add)
OPERATION4(adc, a + b + flag_cf(c), flags_add)
OPERATION4(sub, a - b, flags_sub)
OPERATION4(sbb, a - b - flag_cf(c), flags_sub)
OPERATION4(and, a &b, LOGIC)
OPERATION4(or, a | b, LOGIC)
OPERATION4(xor, a ^ b, LOGIC)

/* Two operands, result written back. */
#define FORMS_WB(op, bits, sfx, fl)                                                     \
    static HANDLER(op##_rr##bits##sfx)                                                  \
    {                                                                                   \
        W##bits(u->dst, do_##op##bits(c, R##bits(u->dst), R##bits(u->src), fl));        \
        NEXT;                                                                           \
    }                                                                                   \
    static HANDLER(op##_ri##bits##sfx)                                                  \
    {                                                                                   \
        W##bits(u->dst, do_##op##bits(c, R##bits(u->dst), (uint##bits##_t)u->imm, fl)); \
        NEXT;                                                                           \
    }                                                                                   \
    MEMORY_WB(op, bits, sfx, fl, MEM, )                                                 \
    MEMORY_WB(op, bits, sfx, fl, FLAT, f)                                               \
    MEMORY_WB(op, bits, sfx, fl, BASE, b)
#define MEMORY_WB(op, bits, sfx, fl, how, f)                                                \
    static HANDLER(op##_rm##f##bits##sfx)                                                   \
    {                                                                                       \
        LOAD(how, bits, b, op_##op##_rm##bits##sfx);                                        \
        W##bits(u->dst, do_##op##bits(c, R##bits(u->dst), b, fl));                          \
        NEXT;                                                                               \
    }                                                                                       \
    static HANDLER(op##_mr##f##bits##sfx)                                                   \
    {                                                                                       \
        RMW(how, bits, a, op_##op##_mr##bits##sfx);                                         \
        COMMIT(how, bits, do_##op##bits(c, (uint##bits##_t)a, R##bits(u->src), fl));        \
        NEXT;                                                                               \
    }                                                                                       \
    static HANDLER(op##_mi##f##bits##sfx)                                                   \
    {                                                                                       \
        RMW(how, bits, a, op_##op##_mi##bits##sfx);                                         \
        COMMIT(how, bits, do_##op##bits(c, (uint##bits##_t)a, (uint##bits##_t)u->imm, fl)); \
        NEXT;                                                                               \
    }
#define SET_FORMS(op, sfx)                                                                                 \
    .fn = {BY_SIZE(op##_rr, sfx),  BY_SIZE(op##_ri, sfx),  BY_SIZE(op##_rm, sfx),  BY_SIZE(op##_mr, sfx),  \
           BY_SIZE(op##_mi, sfx),  BY_SIZE(op##_rmf, sfx), BY_SIZE(op##_mrf, sfx), BY_SIZE(op##_mif, sfx), \
           BY_SIZE(op##_rmb, sfx), BY_SIZE(op##_mrb, sfx), BY_SIZE(op##_mib, sfx)}

#define BINARY(op, in)                                                                             \
    FORMS_WB(op, 8, , true)                                                                        \
    FORMS_WB(op, 16, , true)                                                                       \
    FORMS_WB(op, 32, , true)                                                                       \
    FORMS_WB(op, 64, , true)                                                                       \
    FORMS_WB(op, 8, n, false)                                                                      \
    FORMS_WB(op, 16, n, false)                                                                     \
    FORMS_WB(op, 32, n, false)                                                                     \
    FORMS_WB(op, 64, n, false)                                                                     \
    static const struct uop_set uset_##op##_n = {SET_FORMS(op, n), .reads = in, .flags_known = 1}; \
    const struct uop_set uset_##op = {SET_FORMS(op, ), .noflags = &uset_##op##_n, .reads = in,     \
                                      .writes = FL_OSZAPC, .flags_known = 1};

BINARY(add, 0)
BINARY(adc, FL_CF)
BINARY(sub, 0)
BINARY(sbb, FL_CF)
BINARY(and, 0)
BINARY(or, 0)
BINARY(xor, 0)

/* Flags only. */
#define FORMS_CMP(op, via, bits)                                          \
    static HANDLER(op##_rr##bits)                                         \
    {                                                                     \
        do_##via##bits(c, R##bits(u->dst), R##bits(u->src), true);        \
        NEXT;                                                             \
    }                                                                     \
    static HANDLER(op##_ri##bits)                                         \
    {                                                                     \
        do_##via##bits(c, R##bits(u->dst), (uint##bits##_t)u->imm, true); \
        NEXT;                                                             \
    }                                                                     \
    MEMORY_CMP(op, via, bits, MEM, )                                      \
    MEMORY_CMP(op, via, bits, FLAT, f)                                    \
    MEMORY_CMP(op, via, bits, BASE, b)
#define MEMORY_CMP(op, via, bits, how, f)                   \
    static HANDLER(op##_rm##f##bits)                        \
    {                                                       \
        LOAD(how, bits, b, op_##op##_rm##bits);             \
        do_##via##bits(c, R##bits(u->dst), b, true);        \
        NEXT;                                               \
    }                                                       \
    static HANDLER(op##_mr##f##bits)                        \
    {                                                       \
        LOAD(how, bits, a, op_##op##_mr##bits);             \
        do_##via##bits(c, a, R##bits(u->src), true);        \
        NEXT;                                               \
    }                                                       \
    static HANDLER(op##_mi##f##bits)                        \
    {                                                       \
        LOAD(how, bits, a, op_##op##_mi##bits);             \
        do_##via##bits(c, a, (uint##bits##_t)u->imm, true); \
        NEXT;                                               \
    }
#define COMPARE(op, via)   \
    FORMS_CMP(op, via, 8)  \
    FORMS_CMP(op, via, 16) \
    FORMS_CMP(op, via, 32) \
    FORMS_CMP(op, via, 64) \
    const struct uop_set uset_##op = {SET_FORMS(op, ), .writes = FL_OSZAPC, .flags_known = 1};
COMPARE(cmp, sub)
COMPARE(test, and)

/* One operand. */
#define FLAGS_NEG(c, bits, a, r) flags_sub(c, bits, 0, a, r)
#define NO_FLAGS(c, bits, a, r) (void)0
#define FORMS_UNARY(op, bits, sfx, result, set_flags)                     \
    static HANDLER(op##_r##bits##sfx)                                     \
    {                                                                     \
        uint##bits##_t a = R##bits(u->dst), r = (uint##bits##_t)(result); \
        set_flags(c, bits, a, r);                                         \
        W##bits(u->dst, r);                                               \
        NEXT;                                                             \
    }                                                                     \
    MEMORY_UNARY(op, bits, sfx, result, set_flags, MEM, )                 \
    MEMORY_UNARY(op, bits, sfx, result, set_flags, FLAT, f)               \
    MEMORY_UNARY(op, bits, sfx, result, set_flags, BASE, b)
#define MEMORY_UNARY(op, bits, sfx, result, set_flags, how, f)              \
    static HANDLER(op##_m##f##bits##sfx)                                    \
    {                                                                       \
        RMW(how, bits, v, op_##op##_m##bits##sfx);                          \
        uint##bits##_t a = (uint##bits##_t)v, r = (uint##bits##_t)(result); \
        set_flags(c, bits, a, r);                                           \
        COMMIT(how, bits, r);                                               \
        NEXT;                                                               \
    }
#define UNARY_FORMS(op, sfx)                                                  \
    .fn[FORM_RR] = BY_SIZE(op##_r, sfx), .fn[FORM_MR] = BY_SIZE(op##_m, sfx), \
    .fn[FORM_MR_F] = BY_SIZE(op##_mf, sfx), .fn[FORM_MR_B] = BY_SIZE(op##_mb, sfx)
#define UNARY4(op, sfx, result, set_flags)      \
    FORMS_UNARY(op, 8, sfx, result, set_flags)  \
    FORMS_UNARY(op, 16, sfx, result, set_flags) \
    FORMS_UNARY(op, 32, sfx, result, set_flags) \
    FORMS_UNARY(op, 64, sfx, result, set_flags)
#define UNARY(op, result, set_flags, out)                                                          \
    UNARY4(op, , result, set_flags)                                                                \
    UNARY4(op, n, result, NO_FLAGS)                                                                \
    static const struct uop_set uset_##op##_n = {UNARY_FORMS(op, n), .flags_known = 1};            \
    const struct uop_set uset_##op = {UNARY_FORMS(op, ), .noflags = &uset_##op##_n, .writes = out, \
                                      .flags_known = 1};

UNARY(inc, a + 1, flags_inc, FL_OSZAPC & ~FL_CF)
UNARY(dec, a - 1, flags_dec, FL_OSZAPC & ~FL_CF)
UNARY(neg, 0 - a, FLAGS_NEG, FL_OSZAPC)
UNARY4(not, , ~a, NO_FLAGS)
const struct uop_set uset_not = {UNARY_FORMS(not, ), .flags_known = 1};

/* ADCX, ADOX: one flag as carry, the others kept. SDM 2A. */
static bool adx_operand(struct cpu *c, const struct uop *u, uint64_t *v)
{
    if (!(u->flags & UOP_MEM)) {
        *v = u->size == 8 ? R64(u->src) : R32(u->src);
        return true;
    }
    if (u->size == 8) return mem_read64(c, u_seg(u), u_ea(c, u), v);
    uint32_t d;
    if (!mem_read32(c, u_seg(u), u_ea(c, u), &d)) return false;
    *v = d;
    return true;
}
static bool adx_body(struct cpu *c, const struct uop *u, bool carry, bool *out)
{
    uint64_t b, a, r;
    if (!adx_operand(c, u, &b)) return false;
    if (u->size == 8) {
        a = R64(u->dst);
        r = a + b + carry;
        *out = r < a || (carry && r == a);
        W64(u->dst, r);
    } else {
        r = (uint64_t)R32(u->dst) + b + carry;
        *out = r >> 32 != 0;
        W32(u->dst, r);
    }
    return true;
}
static bool adcx(struct cpu *c, const struct uop *u)
{
    bool out;
    if (!adx_body(c, u, flag_cf(c), &out)) return false;
    flag_set_cf(c, out);
    return true;
}
static bool adox(struct cpu *c, const struct uop *u)
{
    bool out;
    if (!adx_body(c, u, flag_of(c), &out)) return false;
    flag_set_of(c, out);
    return true;
}
HANDLER_ALL(adcx)
{
    TRY(adcx(c, u));
    NEXT;
}
HANDLER_ALL(adox)
{
    TRY(adox(c, u));
    NEXT;
}

/* Undocumented: AL = CF ? FF : 0. */
HANDLER_ALL(salc)
{
    W8(0, flag_cf(c) ? 0xff : 0);
    NEXT;
}
