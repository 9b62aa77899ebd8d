/* SPDX-License-Identifier: MIT */
/* SSE4.1 and SSE4.2: sign and zero extensions, blends, element inserts and extracts, PTEST, MPSADBW,
 * PHMINPOSUW and the string comparisons PCMPESTRI/M, PCMPISTRI/M.
 * SDM 2A/2B; SDM 2B 4.1 "Imm8 control byte operation for PCMPESTRI ..." for the comparisons. */
#include "cpu/flags.h"
#include "cpu/vec.h"

/* Extensions: the low half, quarter or eighth of the source; memory forms read only that much. */
static inline bool xmm_src16(struct cpu *c, const struct uop *u, uint16_t *v)
{
    if (u->flags & UOP_MEM) return mem_read16(c, u_seg(u), u_ea(c, u), v);
    *v = (uint16_t)c->s.vec[u->src].q[0];
    return true;
}
#define EXTEND(name, read, type, TO, FROM, count)        \
    VEC_HANDLER(name)                                    \
    {                                                    \
        type low;                                        \
        union vec128 r;                                  \
        if (!read(c, u, &low)) return false;             \
        union vec128 s = {{low, 0}};                     \
        for (int i = 0; i < (count); i++)                \
            TO(r, i) = (__typeof__(TO(r, 0)))FROM(s, i); \
        xmm_set(c, u->dst, r);                           \
        return true;                                     \
    }
EXTEND(pmovsxbw, xmm_src64, uint64_t, VW, VSB, 8)
EXTEND(pmovsxbd, xmm_src32, uint32_t, VD, VSB, 4)
EXTEND(pmovsxbq, xmm_src16, uint16_t, VQ, VSB, 2)
EXTEND(pmovsxwd, xmm_src64, uint64_t, VD, VSW, 4)
EXTEND(pmovsxwq, xmm_src32, uint32_t, VQ, VSW, 2)
EXTEND(pmovsxdq, xmm_src64, uint64_t, VQ, VSD, 2)
EXTEND(pmovzxbw, xmm_src64, uint64_t, VW, VB, 8)
EXTEND(pmovzxbd, xmm_src32, uint32_t, VD, VB, 4)
EXTEND(pmovzxbq, xmm_src16, uint16_t, VQ, VB, 2)
EXTEND(pmovzxwd, xmm_src64, uint64_t, VD, VW, 4)
EXTEND(pmovzxwq, xmm_src32, uint32_t, VQ, VW, 2)
EXTEND(pmovzxdq, xmm_src64, uint64_t, VQ, VD, 2)

/* Blends: element i comes from the source where the selector bit is set. */
#define BLEND(name, LANE, count, select)                           \
    VEC_HANDLER(name)                                              \
    {                                                              \
        union vec128 s;                                            \
        if (!xmm_src(c, u, &s)) return false;                      \
        union vec128 d = xmm_get(c, u->dst), mask = xmm_get(c, 0); \
        (void)mask;                                                \
        for (int i = 0; i < (count); i++)                          \
            if (select) LANE(d, i) = LANE(s, i);                   \
        xmm_set(c, u->dst, d);                                     \
        return true;                                               \
    }
BLEND(pblendw, VW, 8, u->imm >> i & 1)
BLEND(blendps, VD, 4, u->imm >> i & 1)
BLEND(blendpd, VQ, 2, u->imm >> i & 1)
BLEND(pblendvb, VB, 16, VB(mask, i) & 0x80)
BLEND(blendvps, VD, 4, VD(mask, i) >> 31)
BLEND(blendvpd, VQ, 2, VQ(mask, i) >> 63)

/* Element extracts: dst is a general register or memory of the element's size. */
VEC_HANDLER(pextrb)
{
    union vec128 s = xmm_get(c, u->src);
    uint8_t v = VB(s, u->imm & 15);
    if (u->flags & UOP_MEM) return mem_write8(c, u_seg(u), u_ea(c, u), v);
    W64(u->dst, v);
    return true;
}
VEC_HANDLER(pextrw_rm)
{
    union vec128 s = xmm_get(c, u->src);
    uint16_t v = VW(s, u->imm & 7);
    if (u->flags & UOP_MEM) return mem_write16(c, u_seg(u), u_ea(c, u), v);
    W64(u->dst, v);
    return true;
}
static inline bool store_dword(struct cpu *c, const struct uop *u)
{
    union vec128 s = xmm_get(c, u->src);
    uint32_t v = VD(s, u->imm & 3);
    if (u->flags & UOP_MEM) return mem_write32(c, u_seg(u), u_ea(c, u), v);
    W64(u->dst, v);
    return true;
}
VEC_HANDLER(pextrd)
{
    if (!(u->flags & UOP_REXW)) return store_dword(c, u);
    uint64_t v = c->s.vec[u->src].q[u->imm & 1];
    if (u->flags & UOP_MEM) return mem_write64(c, u_seg(u), u_ea(c, u), v);
    W64(u->dst, v);
    return true;
}
VEC_HANDLER(extractps) { return store_dword(c, u); }

/* Element inserts. */
VEC_HANDLER(pinsrb)
{
    uint8_t v;
    if (!(u->flags & UOP_MEM)) {
        v = (uint8_t)R64(u->src);
    } else if (!mem_read8(c, u_seg(u), u_ea(c, u), &v)) {
        return false;
    }
    union vec128 d = xmm_get(c, u->dst);
    VB(d, u->imm & 15) = v;
    xmm_set(c, u->dst, d);
    return true;
}
VEC_HANDLER(pinsrd)
{
    if (u->flags & UOP_REXW) {
        uint64_t v;
        if (!(u->flags & UOP_MEM)) {
            v = R64(u->src);
        } else if (!mem_read64(c, u_seg(u), u_ea(c, u), &v)) {
            return false;
        }
        c->s.vec[u->dst].q[u->imm & 1] = v;
        return true;
    }
    uint32_t v;
    if (!(u->flags & UOP_MEM)) {
        v = R32(u->src);
    } else if (!mem_read32(c, u_seg(u), u_ea(c, u), &v)) {
        return false;
    }
    union vec128 d = xmm_get(c, u->dst);
    VD(d, u->imm & 3) = v;
    xmm_set(c, u->dst, d);
    return true;
}
VEC_HANDLER(insertps)
{
    uint32_t v;
    if (u->flags & UOP_MEM) {
        if (!mem_read32(c, u_seg(u), u_ea(c, u), &v)) return false;
    } else {
        union vec128 s = xmm_get(c, u->src);
        v = VD(s, u->imm >> 6 & 3);
    }
    union vec128 d = xmm_get(c, u->dst);
    VD(d, u->imm >> 4 & 3) = v;
    for (int i = 0; i < 4; i++)
        if (u->imm >> i & 1) VD(d, i) = 0;
    xmm_set(c, u->dst, d);
    return true;
}

VEC_HANDLER(ptest)
{
    union vec128 s;
    if (!xmm_src(c, u, &s)) return false;
    const uint64_t *d = c->s.vec[u->dst].q;
    bool zf = ((s.q[0] & d[0]) | (s.q[1] & d[1])) == 0;
    bool cf = ((s.q[0] & ~d[0]) | (s.q[1] & ~d[1])) == 0;
    flags_load_oszapc(c, (zf ? FL_ZF : 0) | (cf ? FL_CF : 0));
    return true;
}

VEC_HANDLER(mpsadbw)
{
    union vec128 s, r;
    if (!xmm_src(c, u, &s)) return false;
    union vec128 d = xmm_get(c, u->dst);
    unsigned from = (unsigned)(u->imm & 3) * 4, at = (unsigned)(u->imm >> 2 & 1) * 4;
    for (unsigned i = 0; i < 8; i++) {
        unsigned sum = 0;
        for (unsigned k = 0; k < 4; k++) {
            int diff = VB(d, at + i + k) - VB(s, from + k);
            sum += (unsigned)(diff < 0 ? -diff : diff);
        }
        VW(r, i) = (uint16_t)sum;
    }
    xmm_set(c, u->dst, r);
    return true;
}

VEC_HANDLER(phminposuw)
{
    union vec128 s;
    if (!xmm_src(c, u, &s)) return false;
    unsigned best = 0;
    for (unsigned i = 1; i < 8; i++)
        if (VW(s, i) < VW(s, best)) best = i;
    xmm_set(c, u->dst, (union vec128){{VW(s, best) | best << 16, 0}});
    return true;
}

/* String comparison. Control byte: 1:0 element format, 3:2 aggregation, 5:4 polarity, 6 output. */
enum aggregation { AGG_EQUAL_ANY, AGG_RANGES, AGG_EQUAL_EACH, AGG_EQUAL_ORDERED };

static int string_element(const union vec128 *v, unsigned format, unsigned i)
{
    switch (format) {
    case 0: return VB(*v, i);
    case 1: return VW(*v, i);
    case 2: return VSB(*v, i);
    default: return VSW(*v, i);
    }
}

/* IntRes2 of the manual. a: first operand (set, ranges or needle) of la valid elements; b: second
 * operand of lb. Elements beyond a string's end compare as SDM 2B table "Comparison result for each
 * element pair" says. */
static uint32_t string_compare(const union vec128 *a, unsigned la, const union vec128 *b, unsigned lb,
                               unsigned control)
{
    unsigned format = control & 3, n = control & 1 ? 8 : 16;
    uint32_t res = 0;
    switch (control >> 2 & 3) {
    case AGG_EQUAL_ANY:
        for (unsigned j = 0; j < lb; j++)
            for (unsigned i = 0; i < la; i++)
                if (string_element(a, format, i) == string_element(b, format, j)) res |= 1u << j;
        break;
    case AGG_RANGES:
        for (unsigned j = 0; j < lb; j++)
            for (unsigned i = 0; i + 1 < la; i += 2) {
                int v = string_element(b, format, j);
                if (v >= string_element(a, format, i) && v <= string_element(a, format, i + 1))
                    res |= 1u << j;
            }
        break;
    case AGG_EQUAL_EACH:
        for (unsigned j = 0; j < n; j++) {
            bool va = j < la, vb = j < lb;
            if (va && vb ? string_element(a, format, j) == string_element(b, format, j) : va == vb)
                res |= 1u << j;
        }
        break;
    default:
        for (unsigned j = 0; j < n; j++) {
            bool match = true;
            for (unsigned i = 0; i < la && i + j < n; i++)
                if (i + j >= lb || string_element(a, format, i) != string_element(b, format, i + j))
                    match = false;
            if (match) res |= 1u << j;
        }
        break;
    }
    if (control & 0x10) res ^= control & 0x20 ? (1u << lb) - 1 : (1u << n) - 1;
    return res;
}

static unsigned explicit_length(const struct cpu *c, const struct uop *u, unsigned reg, unsigned n)
{
    int64_t v = u->flags & UOP_REXW ? (int64_t)R64(reg) : (int32_t)R32(reg);
    return v > (int64_t)n || v < -(int64_t)n ? n : (unsigned)(v < 0 ? -v : v);
}
static unsigned implicit_length(const union vec128 *v, unsigned format, unsigned n)
{
    unsigned i = 0;
    while (i < n && string_element(v, format & 1, i) != 0)
        i++;
    return i;
}

static bool string_instruction(struct cpu *c, const struct uop *u, bool is_explicit, bool to_index)
{
    unsigned control = (uint8_t)u->imm, n = control & 1 ? 8 : 16;
    union vec128 b;
    if (!xmm_load(c, u, u->src, false, &b)) return false;
    union vec128 a = xmm_get(c, u->dst);
    unsigned la = is_explicit ? explicit_length(c, u, RAX, n) : implicit_length(&a, control, n);
    unsigned lb = is_explicit ? explicit_length(c, u, RDX, n) : implicit_length(&b, control, n);
    uint32_t res = string_compare(&a, la, &b, lb, control);

    if (to_index) {
        unsigned index = n;
        if (res) index = control & 0x40 ? 31 - (unsigned)__builtin_clz(res) : (unsigned)__builtin_ctz(res);
        W64(RCX, index);
    } else {
        union vec128 r = {{res, 0}};
        if (control & 0x40) {
            for (unsigned i = 0; i < 16; i++)
                VB(r, i) = res >> (n == 16 ? i : i / 2) & 1 ? 0xff : 0;
        }
        xmm_set(c, 0, r);
    }
    flags_load_oszapc(c, (res ? FL_CF : 0) | (lb < n ? FL_ZF : 0) | (la < n ? FL_SF : 0) |
                             (res & 1 ? FL_OF : 0));
    return true;
}
VEC_HANDLER(pcmpestri) { return string_instruction(c, u, true, true); }
VEC_HANDLER(pcmpestrm) { return string_instruction(c, u, true, false); }
VEC_HANDLER(pcmpistri) { return string_instruction(c, u, false, true); }
VEC_HANDLER(pcmpistrm) { return string_instruction(c, u, false, false); }
