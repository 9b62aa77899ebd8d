/* SPDX-License-Identifier: MIT */
/* MUL, IMUL, DIV, IDIV. CF and OF say that the upper half is significant; the undefined flags of MUL and IMUL
 * follow the low half of the result as on Intel processors, DIV leaves all flags alone. SDM 2A. */
#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/insn/flat.h"

static inline void mul_flags(struct cpu *c, unsigned bits, uint64_t low, bool wide)
{
    flags_logic(c, bits, low);
    c->fl.aux = wide ? LF_CF : 0; /* CF = OF = wide */
}

/* Accumulator times operand, double width. */
MEM_INLINE void do_mul8(struct cpu *c, uint8_t v)
{
    uint16_t p = (uint16_t)(R8(0) * v);
    W16(RAX, p);
    mul_flags(c, 8, p, p >> 8 != 0);
}
MEM_INLINE void do_mul16(struct cpu *c, uint16_t v)
{
    uint32_t p = (uint32_t)R16(RAX) * v;
    W16(RAX, p);
    W16(RDX, p >> 16);
    mul_flags(c, 16, p, p >> 16 != 0);
}
MEM_INLINE void do_mul32(struct cpu *c, uint32_t v)
{
    uint64_t p = (uint64_t)R32(RAX) * v;
    W32(RAX, p);
    W32(RDX, p >> 32);
    mul_flags(c, 32, p, p >> 32 != 0);
}
MEM_INLINE void do_mul64(struct cpu *c, uint64_t v)
{
    unsigned __int128 p = (unsigned __int128)R64(RAX) * v;
    W64(RAX, (uint64_t)p);
    W64(RDX, (uint64_t)(p >> 64));
    mul_flags(c, 64, (uint64_t)p, p >> 64 != 0);
}
MEM_INLINE void do_imul8(struct cpu *c, uint8_t v)
{
    int16_t p = (int16_t)((int8_t)R8(0) * (int8_t)v);
    W16(RAX, p);
    mul_flags(c, 8, (uint16_t)p, p != (int8_t)p);
}
MEM_INLINE void do_imul16(struct cpu *c, uint16_t v)
{
    int32_t p = (int16_t)R16(RAX) * (int16_t)v;
    W16(RAX, p);
    W16(RDX, p >> 16);
    mul_flags(c, 16, (uint32_t)p, p != (int16_t)p);
}
MEM_INLINE void do_imul32(struct cpu *c, uint32_t v)
{
    int64_t p = (int64_t)(int32_t)R32(RAX) * (int32_t)v;
    W32(RAX, p);
    W32(RDX, p >> 32);
    mul_flags(c, 32, (uint64_t)p, p != (int32_t)p);
}
MEM_INLINE void do_imul64(struct cpu *c, uint64_t v)
{
    __int128 p = (__int128)(int64_t)R64(RAX) * (int64_t)v;
    W64(RAX, (uint64_t)p);
    W64(RDX, (uint64_t)(p >> 64));
    mul_flags(c, 64, (uint64_t)p, p != (int64_t)p);
}

/* False: #DE. */
MEM_INLINE bool do_div8(struct cpu *c, uint8_t v)
{
    uint16_t a = R16(RAX);
    if (v == 0 || a / v > 0xff) return false;
    W16(RAX, (uint16_t)(a / v | (a % v) << 8));
    return true;
}
MEM_INLINE bool do_div16(struct cpu *c, uint16_t v)
{
    uint32_t a = (uint32_t)R16(RDX) << 16 | R16(RAX);
    if (v == 0 || a / v > 0xffff) return false;
    W16(RAX, a / v);
    W16(RDX, a % v);
    return true;
}
MEM_INLINE bool do_div32(struct cpu *c, uint32_t v)
{
    uint64_t a = (uint64_t)R32(RDX) << 32 | R32(RAX);
    if (v == 0 || a / v > 0xffffffff) return false;
    W32(RAX, a / v);
    W32(RDX, a % v);
    return true;
}
MEM_INLINE bool do_div64(struct cpu *c, uint64_t v)
{
    if (v <= R64(RDX)) return false; /* zero included */
    if (R64(RDX) == 0) {
        uint64_t a = R64(RAX);
        W64(RAX, a / v);
        W64(RDX, a % v);
        return true;
    }
    unsigned __int128 a = (unsigned __int128)R64(RDX) << 64 | R64(RAX);
    W64(RAX, (uint64_t)(a / v));
    W64(RDX, (uint64_t)(a % v));
    return true;
}
MEM_INLINE bool do_idiv8(struct cpu *c, uint8_t v)
{
    int32_t a = (int16_t)R16(RAX), b = (int8_t)v;
    if (b == 0 || a / b != (int8_t)(a / b)) return false;
    W16(RAX, (uint16_t)((uint8_t)(a / b) | (uint8_t)(a % b) << 8));
    return true;
}
MEM_INLINE bool do_idiv16(struct cpu *c, uint16_t v)
{
    int64_t a = (int32_t)((uint32_t)R16(RDX) << 16 | R16(RAX)), b = (int16_t)v;
    if (b == 0 || a / b != (int16_t)(a / b)) return false;
    W16(RAX, a / b);
    W16(RDX, a % b);
    return true;
}
MEM_INLINE bool do_idiv32(struct cpu *c, uint32_t v)
{
    int64_t a = (int64_t)((uint64_t)R32(RDX) << 32 | R32(RAX)), b = (int32_t)v;
    if (b == 0 || (a == INT64_MIN && b == -1) || a / b != (int32_t)(a / b)) return false;
    W32(RAX, a / b);
    W32(RDX, a % b);
    return true;
}
/* By magnitudes: the host's signed 128-bit division traps on overflow. */
MEM_INLINE bool do_idiv64(struct cpu *c, uint64_t v)
{
    unsigned __int128 a = (unsigned __int128)R64(RDX) << 64 | R64(RAX);
    bool neg_a = (int64_t)R64(RDX) < 0, neg_b = (int64_t)v < 0;
    uint64_t b = neg_b ? 0 - v : v, q, r;
    if (neg_a) a = 0 - a;
    if (b == 0 || (uint64_t)(a >> 64) >= b) return false;
    if ((uint64_t)(a >> 64) == 0) {
        q = (uint64_t)a / b;
        r = (uint64_t)a % b;
    } else {
        q = (uint64_t)(a / b);
        r = (uint64_t)(a % b);
    }
    if (neg_a != neg_b ? q > UINT64_C(1) << 63 : q > INT64_MAX) return false;
    W64(RAX, neg_a != neg_b ? 0 - q : q);
    W64(RDX, neg_a ? 0 - r : r);
    return true;
}

#define MULDIV(bits)                                           \
    static HANDLER(mul_r##bits)                                \
    {                                                          \
        do_mul##bits(c, R##bits(u->dst));                      \
        NEXT;                                                  \
    }                                                          \
    static HANDLER(mul_m##bits)                                \
    {                                                          \
        uint##bits##_t v;                                      \
        TRY(MEM_READ(bits, &v));                               \
        do_mul##bits(c, v);                                    \
        NEXT;                                                  \
    }                                                          \
    static HANDLER(imul_r##bits)                               \
    {                                                          \
        do_imul##bits(c, R##bits(u->dst));                     \
        NEXT;                                                  \
    }                                                          \
    static HANDLER(imul_m##bits)                               \
    {                                                          \
        uint##bits##_t v;                                      \
        TRY(MEM_READ(bits, &v));                               \
        do_imul##bits(c, v);                                   \
        NEXT;                                                  \
    }                                                          \
    static HANDLER(div_r##bits)                                \
    {                                                          \
        if (!do_div##bits(c, R##bits(u->dst))) RAISE(VEC_DE);  \
        NEXT;                                                  \
    }                                                          \
    static HANDLER(div_m##bits)                                \
    {                                                          \
        uint##bits##_t v;                                      \
        TRY(MEM_READ(bits, &v));                               \
        if (!do_div##bits(c, v)) RAISE(VEC_DE);                \
        NEXT;                                                  \
    }                                                          \
    static HANDLER(idiv_r##bits)                               \
    {                                                          \
        if (!do_idiv##bits(c, R##bits(u->dst))) RAISE(VEC_DE); \
        NEXT;                                                  \
    }                                                          \
    static HANDLER(idiv_m##bits)                               \
    {                                                          \
        uint##bits##_t v;                                      \
        TRY(MEM_READ(bits, &v));                               \
        if (!do_idiv##bits(c, v)) RAISE(VEC_DE);               \
        NEXT;                                                  \
    }
MULDIV(8)
MULDIV(16)
MULDIV(32)
MULDIV(64)
#define MULDIV_SET(name)                                                    \
    const struct uop_set uset_##name = {.fn[FORM_RR] = BY_SIZE(name##_r, ), \
                                        .fn[FORM_MR] = BY_SIZE(name##_m, )};
MULDIV_SET(mul)
MULDIV_SET(imul)
MULDIV_SET(div)
MULDIV_SET(idiv)

/* IMUL with two and three operands: low half only. */
#define IMUL2(bits, twice, wider)                                                                           \
    MEM_INLINE void do_imul2_##bits(struct cpu *c, const struct uop *u, uint##bits##_t a, uint##bits##_t b) \
    {                                                                                                       \
        wider p = (wider)(int##bits##_t)a * (int##bits##_t)b;                                               \
        W##bits(u->dst, (uint##bits##_t)p);                                                                 \
        mul_flags(c, bits, (uint##bits##_t)p, p != (int##bits##_t)p);                                       \
    }                                                                                                       \
    static HANDLER(imul2_rr##bits)                                                                          \
    {                                                                                                       \
        do_imul2_##bits(c, u, R##bits(u->dst), R##bits(u->src));                                            \
        NEXT;                                                                                               \
    }                                                                                                       \
    static HANDLER(imul2_rm##bits)                                                                          \
    {                                                                                                       \
        uint##bits##_t v;                                                                                   \
        TRY(MEM_READ(bits, &v));                                                                            \
        do_imul2_##bits(c, u, R##bits(u->dst), v);                                                          \
        NEXT;                                                                                               \
    }                                                                                                       \
    static HANDLER(imul3_rr##bits)                                                                          \
    {                                                                                                       \
        do_imul2_##bits(c, u, R##bits(u->src), (uint##bits##_t)u->imm);                                     \
        NEXT;                                                                                               \
    }                                                                                                       \
    static HANDLER(imul3_rm##bits)                                                                          \
    {                                                                                                       \
        uint##bits##_t v;                                                                                   \
        TRY(MEM_READ(bits, &v));                                                                            \
        do_imul2_##bits(c, u, v, (uint##bits##_t)u->imm);                                                   \
        NEXT;                                                                                               \
    }
IMUL2(16, 32, int32_t)
IMUL2(32, 64, int64_t)
IMUL2(64, 128, __int128)
/* Dead flags. */
#define IMUL2_PLAIN(bits)                                          \
    static HANDLER(imul2_rrn##bits)                                \
    {                                                              \
        W##bits(u->dst, R##bits(u->dst) * R##bits(u->src));        \
        NEXT;                                                      \
    }                                                              \
    static HANDLER(imul3_rrn##bits)                                \
    {                                                              \
        W##bits(u->dst, R##bits(u->src) * (uint##bits##_t)u->imm); \
        NEXT;                                                      \
    }
IMUL2_PLAIN(32)
IMUL2_PLAIN(64)
static const struct uop_set uset_imul2_n = {.fn[FORM_RR] = {NULL, NULL, op_imul2_rrn32, op_imul2_rrn64}};
static const struct uop_set uset_imul3_n = {.fn[FORM_RR] = {NULL, NULL, op_imul3_rrn32, op_imul3_rrn64}};
const struct uop_set uset_imul2 = {.fn[FORM_RR] = BY_SIZE_V(imul2_rr, ),
                                   .fn[FORM_RM] = BY_SIZE_V(imul2_rm, ),
                                   .noflags = &uset_imul2_n,
                                   .writes = FL_OSZAPC,
                                   .flags_known = 1};
const struct uop_set uset_imul3 = {.fn[FORM_RR] = BY_SIZE_V(imul3_rr, ),
                                   .fn[FORM_RM] = BY_SIZE_V(imul3_rm, ),
                                   .noflags = &uset_imul3_n,
                                   .writes = FL_OSZAPC,
                                   .flags_known = 1};
