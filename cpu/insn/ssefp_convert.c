/* SPDX-License-Identifier: MIT */
/* SSE conversions: CVTxx2xx between binary32, binary64, doubleword and quadword integers, and MMX
 * registers. SDM 1 11.4.1.6, 11.6.7 (MMX state); SDM 2A by mnemonic. */
#include "cpu/insn/ssefp.h"

/* General register or memory, 32 or 64 bits by REX.W, as a signed value. */
static bool integer_src(struct cpu *c, const struct uop *u, int64_t *v)
{
    bool wide = u->flags & UOP_REXW;
    if (!(u->flags & UOP_MEM)) {
        *v = wide ? (int64_t)R64(u->src) : (int32_t)R32(u->src);
        return true;
    }
    if (wide) {
        uint64_t m;
        if (!mem_read64(c, u_seg(u), u_ea(c, u), &m)) return false;
        *v = (int64_t)m;
    } else {
        uint32_t m;
        if (!mem_read32(c, u_seg(u), u_ea(c, u), &m)) return false;
        *v = (int32_t)m;
    }
    return true;
}

VEC_HANDLER(cvtsi2ss)
{
    int64_t v;
    if (!integer_src(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    uint32_t r = int_to_f32(&e, v);
    if (!sse_finish(c, &e)) return false;
    xmm_set32(c, u->dst, r);
    return true;
}
VEC_HANDLER(cvtsi2sd)
{
    int64_t v;
    if (!integer_src(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    uint64_t r = int_to_f64(&e, v);
    if (!sse_finish(c, &e)) return false;
    c->s.vec[u->dst].q[0] = r;
    return true;
}

static bool to_integer32(struct cpu *c, const struct uop *u, bool truncate)
{
    uint32_t v;
    if (!xmm_src32(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    bool wide = u->flags & UOP_REXW;
    int64_t r = f32_to_int(&e, v, wide ? 64 : 32, truncate ? FP_ZERO_WARDS : e.rc);
    if (!sse_finish(c, &e)) return false;
    W64(u->dst, wide ? (uint64_t)r : (uint32_t)r);
    return true;
}
static bool to_integer64(struct cpu *c, const struct uop *u, bool truncate)
{
    uint64_t v;
    if (!xmm_src64(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    bool wide = u->flags & UOP_REXW;
    int64_t r = f64_to_int(&e, v, wide ? 64 : 32, truncate ? FP_ZERO_WARDS : e.rc);
    if (!sse_finish(c, &e)) return false;
    W64(u->dst, wide ? (uint64_t)r : (uint32_t)r);
    return true;
}
VEC_HANDLER(cvtss2si) { return to_integer32(c, u, false); }
VEC_HANDLER(cvttss2si) { return to_integer32(c, u, true); }
VEC_HANDLER(cvtsd2si) { return to_integer64(c, u, false); }
VEC_HANDLER(cvttsd2si) { return to_integer64(c, u, true); }

VEC_HANDLER(cvtss2sd)
{
    uint32_t v;
    if (!xmm_src32(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    uint64_t r = f32_to_f64(&e, v);
    if (!sse_finish(c, &e)) return false;
    c->s.vec[u->dst].q[0] = r;
    return true;
}
VEC_HANDLER(cvtsd2ss)
{
    uint64_t v;
    if (!xmm_src64(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    uint32_t r = f64_to_f32(&e, v);
    if (!sse_finish(c, &e)) return false;
    xmm_set32(c, u->dst, r);
    return true;
}
VEC_HANDLER(cvtps2pd)
{
    uint64_t v;
    if (!xmm_src64(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    union vec128 r = {.q = {f32_to_f64(&e, (uint32_t)v), f32_to_f64(&e, (uint32_t)(v >> 32))}};
    if (!sse_finish(c, &e)) return false;
    xmm_set(c, u->dst, r);
    return true;
}
VEC_HANDLER(cvtpd2ps)
{
    union vec128 v;
    if (!xmm_src(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    uint64_t low = f64_to_f32(&e, v.q[0]), high = f64_to_f32(&e, v.q[1]);
    if (!sse_finish(c, &e)) return false;
    xmm_set(c, u->dst, (union vec128){.q = {low | high << 32, 0}});
    return true;
}

VEC_HANDLER(cvtdq2ps)
{
    union vec128 v;
    if (!xmm_src(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    for (int i = 0; i < 4; i++)
        VD(v, i) = int_to_f32(&e, VSD(v, i));
    if (!sse_finish(c, &e)) return false;
    xmm_set(c, u->dst, v);
    return true;
}
static bool packed_singles_to_integers(struct cpu *c, const struct uop *u, bool truncate)
{
    union vec128 v;
    if (!xmm_src(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    for (int i = 0; i < 4; i++)
        VD(v, i) = (uint32_t)f32_to_int(&e, VD(v, i), 32, truncate ? FP_ZERO_WARDS : e.rc);
    if (!sse_finish(c, &e)) return false;
    xmm_set(c, u->dst, v);
    return true;
}
VEC_HANDLER(cvtps2dq) { return packed_singles_to_integers(c, u, false); }
VEC_HANDLER(cvttps2dq) { return packed_singles_to_integers(c, u, true); }

/* Exact: no exceptions. */
VEC_HANDLER(cvtdq2pd)
{
    uint64_t v;
    if (!xmm_src64(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    union vec128 r = {.q = {int_to_f64(&e, (int32_t)v), int_to_f64(&e, (int32_t)(v >> 32))}};
    xmm_set(c, u->dst, r);
    return true;
}

/* Two integers of 32 bits in one quadword. */
static bool doubles_to_integers(struct cpu *c, const union vec128 *v, bool truncate, uint64_t *r)
{
    struct fp_env e = sse_env(c);
    unsigned rc = truncate ? FP_ZERO_WARDS : e.rc;
    uint64_t low = (uint32_t)f64_to_int(&e, v->q[0], 32, rc),
             high = (uint32_t)f64_to_int(&e, v->q[1], 32, rc);
    *r = low | high << 32;
    return sse_finish(c, &e);
}
static bool packed_doubles_to_integers(struct cpu *c, const struct uop *u, bool truncate)
{
    union vec128 v;
    uint64_t r;
    if (!xmm_src(c, u, &v) || !doubles_to_integers(c, &v, truncate, &r)) return false;
    xmm_set(c, u->dst, (union vec128){.q = {r, 0}});
    return true;
}
VEC_HANDLER(cvtpd2dq) { return packed_doubles_to_integers(c, u, false); }
VEC_HANDLER(cvttpd2dq) { return packed_doubles_to_integers(c, u, true); }

/* MMX: a register operand enters MMX state, a memory source does not. */
VEC_HANDLER(cvtpi2ps)
{
    uint64_t v;
    if (!mmx_src(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    uint64_t low = int_to_f32(&e, (int32_t)v), high = int_to_f32(&e, (int32_t)(v >> 32));
    if (!sse_finish(c, &e)) return false;
    if (!(u->flags & UOP_MEM)) mmx_enter(c);
    c->s.vec[u->dst].q[0] = low | high << 32;
    return true;
}
VEC_HANDLER(cvtpi2pd)
{
    uint64_t v;
    if (!mmx_src(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    union vec128 r = {.q = {int_to_f64(&e, (int32_t)v), int_to_f64(&e, (int32_t)(v >> 32))}};
    if (!(u->flags & UOP_MEM)) mmx_enter(c);
    xmm_set(c, u->dst, r);
    return true;
}
static bool singles_to_mmx(struct cpu *c, const struct uop *u, bool truncate)
{
    uint64_t v;
    if (!xmm_src64(c, u, &v)) return false;
    struct fp_env e = sse_env(c);
    unsigned rc = truncate ? FP_ZERO_WARDS : e.rc;
    uint64_t low = (uint32_t)f32_to_int(&e, (uint32_t)v, 32, rc);
    uint64_t high = (uint32_t)f32_to_int(&e, (uint32_t)(v >> 32), 32, rc);
    if (!sse_finish(c, &e)) return false;
    mmx_set(c, u->dst, low | high << 32);
    return true;
}
VEC_HANDLER(cvtps2pi) { return singles_to_mmx(c, u, false); }
VEC_HANDLER(cvttps2pi) { return singles_to_mmx(c, u, true); }
static bool doubles_to_mmx(struct cpu *c, const struct uop *u, bool truncate)
{
    union vec128 v;
    uint64_t r;
    if (!xmm_src(c, u, &v) || !doubles_to_integers(c, &v, truncate, &r)) return false;
    mmx_set(c, u->dst, r);
    return true;
}
VEC_HANDLER(cvtpd2pi) { return doubles_to_mmx(c, u, false); }
VEC_HANDLER(cvttpd2pi) { return doubles_to_mmx(c, u, true); }
