/* SPDX-License-Identifier: MIT */
/* SSE to SSE4.1 floating-point: arithmetic, minimum and maximum, square root, reciprocals, comparison,
 * rounding, horizontal operations and dot products, LDMXCSR, STMXCSR. Conversions: ssefp_convert.c. SDM
 * 1 11.4, 11.5 (exceptions), SDM 2A/2B by mnemonic. */
#include "cpu/insn/ssefp.h"

bool sse_finish(struct cpu *c, struct fp_env *e)
{
    if (fp_unmasked(e, FP_PRE)) e->flags &= FP_PRE;
    c->s.fpu.mxcsr |= e->flags;
    if (LIKELY(!fp_unmasked(e, FP_ALL))) return true;
    return cpu_raise(c, c->s.cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
}

/* Two operands, lane by lane. */
#define SSE_BINARY(name, op32, op64)                               \
    VEC_HANDLER(name##ps)                                          \
    {                                                              \
        union vec128 a = xmm_get(c, u->dst), b;                    \
        if (!xmm_src(c, u, &b)) return false;                      \
        struct fp_env e = sse_env(c);                              \
        for (int i = 0; i < 4; i++)                                \
            VD(a, i) = op32(&e, VD(a, i), VD(b, i));               \
        if (!sse_finish(c, &e)) return false;                      \
        xmm_set(c, u->dst, a);                                     \
        return true;                                               \
    }                                                              \
    VEC_HANDLER(name##pd)                                          \
    {                                                              \
        union vec128 a = xmm_get(c, u->dst), b;                    \
        if (!xmm_src(c, u, &b)) return false;                      \
        struct fp_env e = sse_env(c);                              \
        for (int i = 0; i < 2; i++)                                \
            a.q[i] = op64(&e, a.q[i], b.q[i]);                     \
        if (!sse_finish(c, &e)) return false;                      \
        xmm_set(c, u->dst, a);                                     \
        return true;                                               \
    }                                                              \
    VEC_HANDLER(name##ss)                                          \
    {                                                              \
        uint32_t b;                                                \
        if (!xmm_src32(c, u, &b)) return false;                    \
        struct fp_env e = sse_env(c);                              \
        uint32_t r = op32(&e, (uint32_t)c->s.vec[u->dst].q[0], b); \
        if (!sse_finish(c, &e)) return false;                      \
        xmm_set32(c, u->dst, r);                                   \
        return true;                                               \
    }                                                              \
    VEC_HANDLER(name##sd)                                          \
    {                                                              \
        uint64_t b;                                                \
        if (!xmm_src64(c, u, &b)) return false;                    \
        struct fp_env e = sse_env(c);                              \
        uint64_t r = op64(&e, c->s.vec[u->dst].q[0], b);           \
        if (!sse_finish(c, &e)) return false;                      \
        c->s.vec[u->dst].q[0] = r;                                 \
        return true;                                               \
    }
#define SQRT32(e, a, b) ((void)(a), f32_sqrt(e, b))
#define SQRT64(e, a, b) ((void)(a), f64_sqrt(e, b))
SSE_BINARY(add, f32_add, f64_add)
SSE_BINARY(sub, f32_sub, f64_sub)
SSE_BINARY(mul, f32_mul, f64_mul)
SSE_BINARY(div, f32_div, f64_div)
SSE_BINARY(min, f32_min, f64_min)
SSE_BINARY(max, f32_max, f64_max)
SSE_BINARY(sqrt, SQRT32, SQRT64)

/* CMPxx: predicate in imm8[2:0], bit 2 negates (SDM 2A CMPPS, table 3-1). */
static bool predicate_holds(unsigned imm, enum fp_relation r)
{
    bool v;
    switch (imm & 3) {
    case 0: v = r == FP_EQUAL; break;
    case 1: v = r == FP_LESS; break;
    case 2: v = r == FP_LESS || r == FP_EQUAL; break;
    default: v = r == FP_UNORDERED;
    }
    return v != ((imm & 4) != 0);
}
static bool predicate_signals(unsigned imm) { return (imm & 3) == 1 || (imm & 3) == 2; }

VEC_HANDLER(cmpps)
{
    union vec128 a = xmm_get(c, u->dst), b;
    unsigned p = (unsigned)u->imm & 7;
    if (!xmm_src(c, u, &b)) return false;
    struct fp_env e = sse_env(c);
    for (int i = 0; i < 4; i++)
        VD(a, i) = predicate_holds(p, f32_compare(&e, VD(a, i), VD(b, i), predicate_signals(p))) ? ~0u : 0;
    if (!sse_finish(c, &e)) return false;
    xmm_set(c, u->dst, a);
    return true;
}
VEC_HANDLER(cmppd)
{
    union vec128 a = xmm_get(c, u->dst), b;
    unsigned p = (unsigned)u->imm & 7;
    if (!xmm_src(c, u, &b)) return false;
    struct fp_env e = sse_env(c);
    for (int i = 0; i < 2; i++)
        a.q[i] = predicate_holds(p, f64_compare(&e, a.q[i], b.q[i], predicate_signals(p))) ? ~UINT64_C(0) : 0;
    if (!sse_finish(c, &e)) return false;
    xmm_set(c, u->dst, a);
    return true;
}
VEC_HANDLER(cmpss)
{
    uint32_t b;
    unsigned p = (unsigned)u->imm & 7;
    if (!xmm_src32(c, u, &b)) return false;
    struct fp_env e = sse_env(c);
    enum fp_relation r = f32_compare(&e, (uint32_t)c->s.vec[u->dst].q[0], b, predicate_signals(p));
    if (!sse_finish(c, &e)) return false;
    xmm_set32(c, u->dst, predicate_holds(p, r) ? ~0u : 0);
    return true;
}
VEC_HANDLER(cmpsd)
{
    uint64_t b;
    unsigned p = (unsigned)u->imm & 7;
    if (!xmm_src64(c, u, &b)) return false;
    struct fp_env e = sse_env(c);
    enum fp_relation r = f64_compare(&e, c->s.vec[u->dst].q[0], b, predicate_signals(p));
    if (!sse_finish(c, &e)) return false;
    c->s.vec[u->dst].q[0] = predicate_holds(p, r) ? ~UINT64_C(0) : 0;
    return true;
}

/* ZF PF CF; OF SF AF cleared, nothing written when an exception is unmasked. */
static void set_relation(struct cpu *c, enum fp_relation r)
{
    static const uint8_t image[4] = {FL_CF, FL_ZF, 0, FL_ZF | FL_PF | FL_CF};
    flags_load_oszapc(c, image[r + 1]);
}
#define SSE_COMPARE(name, signaling)                                                         \
    VEC_HANDLER(name##ss)                                                                    \
    {                                                                                        \
        uint32_t b;                                                                          \
        if (!xmm_src32(c, u, &b)) return false;                                              \
        struct fp_env e = sse_env(c);                                                        \
        enum fp_relation r = f32_compare(&e, (uint32_t)c->s.vec[u->dst].q[0], b, signaling); \
        if (!sse_finish(c, &e)) return false;                                                \
        set_relation(c, r);                                                                  \
        return true;                                                                         \
    }                                                                                        \
    VEC_HANDLER(name##sd)                                                                    \
    {                                                                                        \
        uint64_t b;                                                                          \
        if (!xmm_src64(c, u, &b)) return false;                                              \
        struct fp_env e = sse_env(c);                                                        \
        enum fp_relation r = f64_compare(&e, c->s.vec[u->dst].q[0], b, signaling);           \
        if (!sse_finish(c, &e)) return false;                                                \
        set_relation(c, r);                                                                  \
        return true;                                                                         \
    }
SSE_COMPARE(comi, true)
SSE_COMPARE(ucomi, false)

/* Approximations raise nothing. */
#define SSE_APPROXIMATE(name, fn)               \
    VEC_HANDLER(name##ps)                       \
    {                                           \
        union vec128 v;                         \
        if (!xmm_src(c, u, &v)) return false;   \
        for (int i = 0; i < 4; i++)             \
            VD(v, i) = fn(VD(v, i));            \
        xmm_set(c, u->dst, v);                  \
        return true;                            \
    }                                           \
    VEC_HANDLER(name##ss)                       \
    {                                           \
        uint32_t v;                             \
        if (!xmm_src32(c, u, &v)) return false; \
        xmm_set32(c, u->dst, fn(v));            \
        return true;                            \
    }
SSE_APPROXIMATE(rcp, f32_rcp)
SSE_APPROXIMATE(rsqrt, f32_rsqrt)

/* ROUNDxx: imm8[2] MXCSR.RC instead of imm8[1:0], imm8[3] no precision exception. */
static unsigned round_control(const struct uop *u, const struct fp_env *e)
{
    return u->imm & 4 ? e->rc : u->imm & 3;
}
static bool round_finish(struct cpu *c, const struct uop *u, struct fp_env *e)
{
    if (u->imm & 8) e->flags &= (uint8_t)~FP_PE;
    return sse_finish(c, e);
}
VEC_HANDLER(roundps)
{
    union vec128 v;
    if (!xmm_src(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    for (int i = 0; i < 4; i++)
        VD(v, i) = f32_round_int(&e, VD(v, i), round_control(u, &e));
    if (!round_finish(c, u, &e)) return false;
    xmm_set(c, u->dst, v);
    return true;
}
VEC_HANDLER(roundpd)
{
    union vec128 v;
    if (!xmm_src(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    for (int i = 0; i < 2; i++)
        v.q[i] = f64_round_int(&e, v.q[i], round_control(u, &e));
    if (!round_finish(c, u, &e)) return false;
    xmm_set(c, u->dst, v);
    return true;
}
VEC_HANDLER(roundss)
{
    uint32_t v;
    if (!xmm_src32(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    v = f32_round_int(&e, v, round_control(u, &e));
    if (!round_finish(c, u, &e)) return false;
    xmm_set32(c, u->dst, v);
    return true;
}
VEC_HANDLER(roundsd)
{
    uint64_t v;
    if (!xmm_src64(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    v = f64_round_int(&e, v, round_control(u, &e));
    if (!round_finish(c, u, &e)) return false;
    c->s.vec[u->dst].q[0] = v;
    return true;
}

/* Horizontal and alternating operations (SSE3). */
#define SSE_HORIZONTAL(name, op32, op64)                             \
    VEC_HANDLER(name##ps)                                            \
    {                                                                \
        union vec128 a = xmm_get(c, u->dst), b, r;                   \
        if (!xmm_src(c, u, &b)) return false;                        \
        struct fp_env e = sse_env(c);                                \
        for (int i = 0; i < 2; i++) {                                \
            VD(r, i) = op32(&e, VD(a, 2 * i), VD(a, 2 * i + 1));     \
            VD(r, i + 2) = op32(&e, VD(b, 2 * i), VD(b, 2 * i + 1)); \
        }                                                            \
        if (!sse_finish(c, &e)) return false;                        \
        xmm_set(c, u->dst, r);                                       \
        return true;                                                 \
    }                                                                \
    VEC_HANDLER(name##pd)                                            \
    {                                                                \
        union vec128 a = xmm_get(c, u->dst), b, r;                   \
        if (!xmm_src(c, u, &b)) return false;                        \
        struct fp_env e = sse_env(c);                                \
        r.q[0] = op64(&e, a.q[0], a.q[1]);                           \
        r.q[1] = op64(&e, b.q[0], b.q[1]);                           \
        if (!sse_finish(c, &e)) return false;                        \
        xmm_set(c, u->dst, r);                                       \
        return true;                                                 \
    }
SSE_HORIZONTAL(hadd, f32_add, f64_add)
SSE_HORIZONTAL(hsub, f32_sub, f64_sub)

VEC_HANDLER(addsubps)
{
    union vec128 a = xmm_get(c, u->dst), b;
    if (!xmm_src(c, u, &b)) return false;
    struct fp_env e = sse_env(c);
    for (int i = 0; i < 4; i++)
        VD(a, i) = (i & 1 ? f32_add : f32_sub)(&e, VD(a, i), VD(b, i));
    if (!sse_finish(c, &e)) return false;
    xmm_set(c, u->dst, a);
    return true;
}
VEC_HANDLER(addsubpd)
{
    union vec128 a = xmm_get(c, u->dst), b;
    if (!xmm_src(c, u, &b)) return false;
    struct fp_env e = sse_env(c);
    a.q[0] = f64_sub(&e, a.q[0], b.q[0]);
    a.q[1] = f64_add(&e, a.q[1], b.q[1]);
    if (!sse_finish(c, &e)) return false;
    xmm_set(c, u->dst, a);
    return true;
}

/* Dot products: the products, then the sums, exceptions judged after each step. */
VEC_HANDLER(dpps)
{
    union vec128 a = xmm_get(c, u->dst), b, r = {.q = {0, 0}};
    uint32_t s[2], sum;
    if (!xmm_src(c, u, &b)) return false;
    struct fp_env e = sse_env(c);
    for (int i = 0; i < 4; i++)
        VD(a, i) = u->imm >> (4 + i) & 1 ? f32_mul(&e, VD(a, i), VD(b, i)) : 0;
    if (!sse_finish(c, &e)) return false;
    e = sse_env(c);
    for (int i = 0; i < 2; i++)
        s[i] = f32_add(&e, VD(a, 2 * i), VD(a, 2 * i + 1));
    if (!sse_finish(c, &e)) return false;
    e = sse_env(c);
    sum = f32_add(&e, s[0], s[1]);
    if (!sse_finish(c, &e)) return false;
    for (int i = 0; i < 4; i++)
        VD(r, i) = u->imm >> i & 1 ? sum : 0;
    xmm_set(c, u->dst, r);
    return true;
}
VEC_HANDLER(dppd)
{
    union vec128 a = xmm_get(c, u->dst), b;
    if (!xmm_src(c, u, &b)) return false;
    struct fp_env e = sse_env(c);
    for (int i = 0; i < 2; i++)
        a.q[i] = u->imm >> (4 + i) & 1 ? f64_mul(&e, a.q[i], b.q[i]) : 0;
    if (!sse_finish(c, &e)) return false;
    e = sse_env(c);
    uint64_t sum = f64_add(&e, a.q[0], a.q[1]);
    if (!sse_finish(c, &e)) return false;
    for (int i = 0; i < 2; i++)
        a.q[i] = u->imm >> i & 1 ? sum : 0;
    xmm_set(c, u->dst, a);
    return true;
}

VEC_HANDLER(ldmxcsr)
{
    uint32_t v;
    if (!mem_read32(c, u_seg(u), u_ea(c, u), &v)) return false;
    if (v & ~mxcsr_valid_mask(c)) return cpu_raise_error(c, VEC_GP, 0);
    c->s.fpu.mxcsr = v;
    return true;
}
VEC_HANDLER(stmxcsr) { return mem_write32(c, u_seg(u), u_ea(c, u), c->s.fpu.mxcsr); }
