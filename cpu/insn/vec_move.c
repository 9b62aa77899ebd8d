/* SPDX-License-Identifier: MIT */
/* Moves between vector, MMX and general registers and memory, masks and non-temporal stores (memory is
 * coherent and ordered here, so the hints change nothing), EMMS, and the bit fields of SSE4a.
 * SDM 2A/2B: MOVAPS .. MOVUPS, MOVD, MOVQ, MASKMOV*, MOVMSK*; APM 4: EXTRQ, INSERTQ, MOVNTSS. */
#include "cpu/vec.h"

/* Whole registers. A_ALIGN16 moves fault on an unaligned operand whatever MXCSR.MM says. */
#define LOAD128(name, align)                                  \
    VEC_HANDLER(name)                                         \
    {                                                         \
        union vec128 v;                                       \
        if (!xmm_load(c, u, u->src, align, &v)) return false; \
        xmm_set(c, u->dst, v);                                \
        return true;                                          \
    }
#define STORE128(name, align)                                                             \
    VEC_HANDLER(name)                                                                     \
    {                                                                                     \
        union vec128 v = xmm_get(c, u->src);                                              \
        if (u->flags & UOP_MEM) return mem_write128(c, u_seg(u), u_ea(c, u), align, v.q); \
        xmm_set(c, u->dst, v);                                                            \
        return true;                                                                      \
    }
LOAD128(movaps_load, true)
LOAD128(movups_load, false)
STORE128(movaps_store, true)
STORE128(movups_store, false)

/* Scalars: a load from memory clears the rest of the register, a register move keeps it. */
VEC_HANDLER(movss_load)
{
    uint32_t low;
    if (!xmm_src32(c, u, &low)) return false;
    uint64_t *q = c->s.vec[u->dst].q;
    if (u->flags & UOP_MEM) {
        q[0] = low;
        q[1] = 0;
    } else {
        q[0] = (q[0] & ~UINT64_C(0xffffffff)) | low;
    }
    return true;
}
VEC_HANDLER(movsd_load)
{
    uint64_t low;
    if (!xmm_src64(c, u, &low)) return false;
    c->s.vec[u->dst].q[0] = low;
    if (u->flags & UOP_MEM) c->s.vec[u->dst].q[1] = 0;
    return true;
}
VEC_HANDLER(movss_store)
{
    uint32_t low = (uint32_t)c->s.vec[u->src].q[0];
    if (u->flags & UOP_MEM) return mem_write32(c, u_seg(u), u_ea(c, u), low);
    uint64_t *q = &c->s.vec[u->dst].q[0];
    *q = (*q & ~UINT64_C(0xffffffff)) | low;
    return true;
}
VEC_HANDLER(movsd_store)
{
    uint64_t low = c->s.vec[u->src].q[0];
    if (u->flags & UOP_MEM) return mem_write64(c, u_seg(u), u_ea(c, u), low);
    c->s.vec[u->dst].q[0] = low;
    return true;
}
/* MOVQ zero-extends to the whole register in both directions. */
VEC_HANDLER(movq_load)
{
    uint64_t low;
    if (!xmm_src64(c, u, &low)) return false;
    c->s.vec[u->dst].q[0] = low;
    c->s.vec[u->dst].q[1] = 0;
    return true;
}
VEC_HANDLER(movq_store)
{
    uint64_t low = c->s.vec[u->src].q[0];
    if (u->flags & UOP_MEM) return mem_write64(c, u_seg(u), u_ea(c, u), low);
    c->s.vec[u->dst].q[0] = low;
    c->s.vec[u->dst].q[1] = 0;
    return true;
}

/* Halves. The memory forms are MOVLPS/MOVHPS, the register forms MOVHLPS/MOVLHPS. */
VEC_HANDLER(movlps_load)
{
    uint64_t low;
    if (!mem_read64(c, u_seg(u), u_ea(c, u), &low)) return false;
    c->s.vec[u->dst].q[0] = low;
    return true;
}
VEC_HANDLER(movhps_load)
{
    uint64_t high;
    if (!mem_read64(c, u_seg(u), u_ea(c, u), &high)) return false;
    c->s.vec[u->dst].q[1] = high;
    return true;
}
VEC_HANDLER(movhps_store) { return mem_write64(c, u_seg(u), u_ea(c, u), c->s.vec[u->src].q[1]); }
VEC_HANDLER(movhlps)
{
    c->s.vec[u->dst].q[0] = c->s.vec[u->src].q[1];
    return true;
}
VEC_HANDLER(movlhps)
{
    c->s.vec[u->dst].q[1] = c->s.vec[u->src].q[0];
    return true;
}
VEC_HANDLER(movddup)
{
    uint64_t low;
    if (!xmm_src64(c, u, &low)) return false;
    c->s.vec[u->dst].q[0] = c->s.vec[u->dst].q[1] = low;
    return true;
}
VEC_HANDLER(movsldup)
{
    union vec128 s;
    if (!xmm_src(c, u, &s)) return false;
    VD(s, 1) = VD(s, 0);
    VD(s, 3) = VD(s, 2);
    xmm_set(c, u->dst, s);
    return true;
}
VEC_HANDLER(movshdup)
{
    union vec128 s;
    if (!xmm_src(c, u, &s)) return false;
    VD(s, 0) = VD(s, 1);
    VD(s, 2) = VD(s, 3);
    xmm_set(c, u->dst, s);
    return true;
}

/* MOVD / MOVQ with a general register or 32/64 bits of memory. */
static inline bool read_gpr_or_mem(struct cpu *c, const struct uop *u, uint64_t *v)
{
    if (u->flags & UOP_REXW) {
        if (u->flags & UOP_MEM) return mem_read64(c, u_seg(u), u_ea(c, u), v);
        *v = R64(u->src);
        return true;
    }
    uint32_t low;
    if (!(u->flags & UOP_MEM)) {
        low = R32(u->src);
    } else if (!mem_read32(c, u_seg(u), u_ea(c, u), &low)) {
        return false;
    }
    *v = low;
    return true;
}
static inline bool write_gpr_or_mem(struct cpu *c, const struct uop *u, uint64_t v)
{
    if (u->flags & UOP_MEM)
        return u->flags & UOP_REXW ? mem_write64(c, u_seg(u), u_ea(c, u), v)
                                   : mem_write32(c, u_seg(u), u_ea(c, u), (uint32_t)v);
    W64(u->dst, u->flags & UOP_REXW ? v : (uint32_t)v);
    return true;
}
VEC_HANDLER(movd_to_xmm)
{
    uint64_t v;
    if (!read_gpr_or_mem(c, u, &v)) return false;
    c->s.vec[u->dst].q[0] = v;
    c->s.vec[u->dst].q[1] = 0;
    return true;
}
VEC_HANDLER(movd_from_xmm) { return write_gpr_or_mem(c, u, c->s.vec[u->src].q[0]); }
VEC_HANDLER(movd_to_mmx)
{
    uint64_t v;
    if (!read_gpr_or_mem(c, u, &v)) return false;
    mmx_set(c, u->dst, v);
    return true;
}
VEC_HANDLER(movd_from_mmx)
{
    if (!write_gpr_or_mem(c, u, mmx_get(c, u->src))) return false;
    mmx_enter(c);
    return true;
}
VEC_HANDLER(movq_load_mmx)
{
    uint64_t v;
    if (!mmx_src(c, u, &v)) return false;
    mmx_set(c, u->dst, v);
    return true;
}
VEC_HANDLER(movq_store_mmx)
{
    uint64_t v = mmx_get(c, u->src);
    if (u->flags & UOP_MEM) {
        if (!mem_write64(c, u_seg(u), u_ea(c, u), v)) return false;
        mmx_enter(c);
        return true;
    }
    mmx_set(c, u->dst, v);
    return true;
}
VEC_HANDLER(movq2dq)
{
    c->s.vec[u->dst].q[0] = mmx_get(c, u->src);
    c->s.vec[u->dst].q[1] = 0;
    mmx_enter(c);
    return true;
}
VEC_HANDLER(movdq2q)
{
    mmx_set(c, u->dst, c->s.vec[u->src].q[0]);
    return true;
}
VEC_HANDLER(emms)
{
    (void)u;
    c->s.fpu.tag = 0;
    c->s.fpu.top = 0;
    return true;
}

/* Sign masks. */
VEC_HANDLER(pmovmskb_x)
{
    union vec128 s = xmm_get(c, u->src);
    uint32_t mask = 0;
    for (int i = 0; i < 16; i++)
        mask |= (uint32_t)(VB(s, i) >> 7) << i;
    W64(u->dst, mask);
    return true;
}
VEC_HANDLER(pmovmskb_m)
{
    union vec128 s = {{mmx_get(c, u->src), 0}};
    uint32_t mask = 0;
    for (int i = 0; i < 8; i++)
        mask |= (uint32_t)(VB(s, i) >> 7) << i;
    mmx_enter(c);
    W64(u->dst, mask);
    return true;
}
VEC_HANDLER(movmskps)
{
    const uint64_t *q = c->s.vec[u->src].q;
    W64(u->dst, (q[0] >> 31 & 1) | (q[0] >> 62 & 2) | (q[1] >> 29 & 4) | (q[1] >> 60 & 8));
    return true;
}
VEC_HANDLER(movmskpd)
{
    W64(u->dst, (c->s.vec[u->src].q[0] >> 63) | (c->s.vec[u->src].q[1] >> 62 & 2));
    return true;
}

/* MASKMOVQ, MASKMOVDQU: bytes of dst whose mask byte has bit 7 set go to DS:[rDI]. The whole operand is
 * checked before any byte is written, an empty mask included (SDM 2B leaves that to the implementation). */
static bool masked_store(struct cpu *c, const struct uop *u, union vec128 v, union vec128 mask, unsigned n)
{
    unsigned as = u_asize(u);
    uint64_t wrap = as == 2 ? UINT64_MAX : as == 1 ? UINT32_MAX : 0xffff, at = R64(RDI) & wrap;
    if (!mem_probe_write(c, u_seg(u), at, n)) return false;
    for (unsigned i = 0; i < n; i++)
        if (VB(mask, i) & 0x80 && !mem_write8(c, u_seg(u), (at + i) & wrap, VB(v, i))) return false;
    return true;
}
VEC_HANDLER(maskmovdqu) { return masked_store(c, u, xmm_get(c, u->dst), xmm_get(c, u->src), 16); }
VEC_HANDLER(maskmovq)
{
    union vec128 v = {{mmx_get(c, u->dst), 0}}, mask = {{mmx_get(c, u->src), 0}};
    if (!masked_store(c, u, v, mask, 8)) return false;
    mmx_enter(c);
    return true;
}

/* SSE4a bit fields: length 0 means 64; a field that runs past bit 63 is cut there. The upper half of the
 * destination, undefined in the manual, is cleared as Zen processors do. The immediate forms carry length
 * and index as the low and high byte of a 16-bit immediate. */
static inline uint64_t field_mask(unsigned length)
{
    return length ? (UINT64_C(1) << length) - 1 : UINT64_MAX;
}
static inline uint64_t extract_field(uint64_t v, unsigned length, unsigned index)
{
    return (v >> index) & field_mask(length);
}
static inline uint64_t insert_field(uint64_t v, uint64_t field, unsigned length, unsigned index)
{
    uint64_t mask = field_mask(length);
    return (v & ~(mask << index)) | (field & mask) << index;
}
VEC_HANDLER(extrq_imm)
{
    uint64_t *q = &c->s.vec[u->dst].q[0];
    q[1] = 0;
    *q = extract_field(*q, u->imm & 63, u->imm >> 8 & 63);
    return true;
}
VEC_HANDLER(extrq_reg)
{
    uint64_t *q = &c->s.vec[u->dst].q[0], control = c->s.vec[u->src].q[0];
    q[1] = 0;
    *q = extract_field(*q, control & 63, control >> 8 & 63);
    return true;
}
VEC_HANDLER(insertq_imm)
{
    uint64_t *q = &c->s.vec[u->dst].q[0];
    q[1] = 0;
    *q = insert_field(*q, c->s.vec[u->src].q[0], u->imm & 63, u->imm >> 8 & 63);
    return true;
}
VEC_HANDLER(insertq_reg)
{
    uint64_t *q = &c->s.vec[u->dst].q[0], control = c->s.vec[u->src].q[1];
    q[1] = 0;
    *q = insert_field(*q, c->s.vec[u->src].q[0], control & 63, control >> 8 & 63);
    return true;
}
