/* SPDX-License-Identifier: MIT */
/* BT BTS BTR BTC, BSF BSR, POPCNT LZCNT TZCNT, BMI1, BMI2, CRC32. SDM 2A, 2B. */
#include "cpu/flags.h"
#include "cpu/insn/flat.h"

/* --- Bit tests: CF only. A register bit number addresses memory beyond the operand (SDM 2A "BT"). --- */

static inline uint64_t bit_ea(const struct cpu *c, const struct uop *u, int64_t bit, unsigned bits)
{
    uint64_t ea = u_ea(c, u) + (uint64_t)((bit >> (bits == 64 ? 6 : bits == 32 ? 5 : 4)) * (bits / 8));
    unsigned as = u_asize(u);
    return as == 2 ? ea : as == 1 ? (uint32_t)ea : (uint16_t)ea;
}

#define BIT_READ(bits, p, ea) mem_read##bits(c, u_seg(u), ea, p)
#define SIGNED_16(v) ((int16_t)(v))
#define SIGNED_32(v) ((int32_t)(v))
#define SIGNED_64(v) ((int64_t)(v))
#define BT(bits)                                                               \
    static HANDLER(bt_rr##bits)                                                \
    {                                                                          \
        flag_set_cf(c, R##bits(u->dst) >> (R##bits(u->src) & (bits - 1)) & 1); \
        NEXT;                                                                  \
    }                                                                          \
    static HANDLER(bt_ri##bits)                                                \
    {                                                                          \
        flag_set_cf(c, R##bits(u->dst) >> (u->imm & (bits - 1)) & 1);          \
        NEXT;                                                                  \
    }                                                                          \
    static HANDLER(bt_mr##bits)                                                \
    {                                                                          \
        uint##bits##_t v;                                                      \
        int64_t bit = SIGNED_##bits(R##bits(u->src));                          \
        TRY(BIT_READ(bits, &v, bit_ea(c, u, bit, bits)));                      \
        flag_set_cf(c, v >> (bit & (bits - 1)) & 1);                           \
        NEXT;                                                                  \
    }                                                                          \
    static HANDLER(bt_mi##bits)                                                \
    {                                                                          \
        uint##bits##_t v;                                                      \
        TRY(MEM_READ(bits, &v));                                               \
        flag_set_cf(c, v >> (u->imm & (bits - 1)) & 1);                        \
        NEXT;                                                                  \
    }
#define BT_CHANGE(name, bits, expr)                                                                     \
    static HANDLER(name##_rr##bits)                                                                     \
    {                                                                                                   \
        uint##bits##_t v = R##bits(u->dst),                                                             \
                       m = (uint##bits##_t)((uint64_t)1 << (R##bits(u->src) & (bits - 1)));             \
        flag_set_cf(c, (v & m) != 0);                                                                   \
        W##bits(u->dst, (uint##bits##_t)(expr));                                                        \
        NEXT;                                                                                           \
    }                                                                                                   \
    static HANDLER(name##_ri##bits)                                                                     \
    {                                                                                                   \
        uint##bits##_t v = R##bits(u->dst), m = (uint##bits##_t)((uint64_t)1 << (u->imm & (bits - 1))); \
        flag_set_cf(c, (v & m) != 0);                                                                   \
        W##bits(u->dst, (uint##bits##_t)(expr));                                                        \
        NEXT;                                                                                           \
    }                                                                                                   \
    static HANDLER(name##_mr##bits)                                                                     \
    {                                                                                                   \
        uint64_t v;                                                                                     \
        int64_t bit = SIGNED_##bits(R##bits(u->src));                                                   \
        uint64_t m = (uint64_t)1 << (bit & (bits - 1));                                                 \
        TRY(mem_rmw_read(c, u_seg(u), bit_ea(c, u, bit, bits), bits / 8, &v));                          \
        mem_rmw_commit(c, bits / 8, (expr));                                                            \
        flag_set_cf(c, (v & m) != 0);                                                                   \
        NEXT;                                                                                           \
    }                                                                                                   \
    static HANDLER(name##_mi##bits)                                                                     \
    {                                                                                                   \
        uint64_t v, m = (uint64_t)1 << (u->imm & (bits - 1));                                           \
        TRY(MEM_RMW(bits, &v));                                                                         \
        mem_rmw_commit(c, bits / 8, (expr));                                                            \
        flag_set_cf(c, (v & m) != 0);                                                                   \
        NEXT;                                                                                           \
    }
#define BT_SET(name)                                                   \
    const struct uop_set uset_##name = {.fn = {BY_SIZE_V(name##_rr, ), \
                                               BY_SIZE_V(name##_ri, ), \
                                               {NULL},                 \
                                               BY_SIZE_V(name##_mr, ), \
                                               BY_SIZE_V(name##_mi, )}};
#define BT_OP(name, expr)     \
    BT_CHANGE(name, 16, expr) \
    BT_CHANGE(name, 32, expr) \
    BT_CHANGE(name, 64, expr) \
    BT_SET(name)
BT(16)
BT(32)
BT(64)
BT_SET(bt)
BT_OP(bts, v | m)
BT_OP(btr, v & ~m)
BT_OP(btc, v ^ m)

/* --- Scans and counts. The operand of 16, 32 or 64 bits, from either place. --- */

static inline void flags_zc(struct cpu *c, bool zf, bool cf)
{
    flags_load_oszapc(c, (zf ? FL_ZF : 0u) | (cf ? FL_CF : 0u));
}

/* A zero source leaves the destination of BSF and BSR as it was (with a 32-bit operand the upper half
 * too), sets ZF and, like processors do, PF and no other flag of the result 0. */
#define SCAN(name, bits, index)                                                           \
    MEM_INLINE void do_##name##bits(struct cpu *c, const struct uop *u, uint##bits##_t v) \
    {                                                                                     \
        flags_logic(c, bits, v);                                                          \
        if (v) W##bits(u->dst, (uint##bits##_t)(index));                                  \
    }
#define COUNTER(name, bits, value, zf, cf)                                                \
    MEM_INLINE void do_##name##bits(struct cpu *c, const struct uop *u, uint##bits##_t v) \
    {                                                                                     \
        uint##bits##_t r = (uint##bits##_t)(value);                                       \
        flags_zc(c, zf, cf);                                                              \
        W##bits(u->dst, r);                                                               \
    }
#define FROM_BOTH(name, bits)                   \
    static HANDLER(name##_rr##bits)             \
    {                                           \
        do_##name##bits(c, u, R##bits(u->src)); \
        NEXT;                                   \
    }                                           \
    static HANDLER(name##_rm##bits)             \
    {                                           \
        uint##bits##_t v;                       \
        TRY(MEM_READ(bits, &v));                \
        do_##name##bits(c, u, v);               \
        NEXT;                                   \
    }
#define FROM_BOTH_SET(name)                                                    \
    FROM_BOTH(name, 16)                                                        \
    FROM_BOTH(name, 32)                                                        \
    FROM_BOTH(name, 64)                                                        \
    const struct uop_set uset_##name = {.fn[FORM_RR] = BY_SIZE_V(name##_rr, ), \
                                        .fn[FORM_RM] = BY_SIZE_V(name##_rm, )};
SCAN(bsf, 16, __builtin_ctz(v))
SCAN(bsf, 32, __builtin_ctz(v))
SCAN(bsf, 64, __builtin_ctzll(v))
SCAN(bsr, 16, 31 - __builtin_clz(v))
SCAN(bsr, 32, 31 - __builtin_clz(v))
SCAN(bsr, 64, 63 - __builtin_clzll(v))
COUNTER(popcnt, 16, __builtin_popcount(v), v == 0, false)
COUNTER(popcnt, 32, __builtin_popcount(v), v == 0, false)
COUNTER(popcnt, 64, __builtin_popcountll(v), v == 0, false)
COUNTER(lzcnt, 16, v ? __builtin_clz(v) - 16 : 16, r == 0, v == 0)
COUNTER(lzcnt, 32, v ? __builtin_clz(v) : 32, r == 0, v == 0)
COUNTER(lzcnt, 64, v ? __builtin_clzll(v) : 64, r == 0, v == 0)
COUNTER(tzcnt, 16, v ? __builtin_ctz(v) : 16, r == 0, v == 0)
COUNTER(tzcnt, 32, v ? __builtin_ctz(v) : 32, r == 0, v == 0)
COUNTER(tzcnt, 64, v ? __builtin_ctzll(v) : 64, r == 0, v == 0)
FROM_BOTH_SET(bsf)
FROM_BOTH_SET(bsr)
FROM_BOTH_SET(popcnt)
FROM_BOTH_SET(lzcnt)
FROM_BOTH_SET(tzcnt)

/* --- BMI1, BMI2: operands of 4 or 8 bytes (u->size) --- */

/* The E operand: register `reg` or memory. */
static bool bmi_e(struct cpu *c, const struct uop *u, unsigned reg, uint64_t *v)
{
    if (!(u->flags & UOP_MEM)) {
        *v = u->size == 8 ? R64(reg) : R32(reg);
        return true;
    }
    if (u->size == 8) return mem_read64(c, u_seg(u), u_ea(c, u), v);
    uint32_t d;
    if (!mem_read32(c, u_seg(u), u_ea(c, u), &d)) return false;
    *v = d;
    return true;
}
static uint64_t bmi_reg(const struct cpu *c, const struct uop *u, unsigned reg)
{
    return u->size == 8 ? R64(reg) : R32(reg);
}
static void bmi_result(struct cpu *c, const struct uop *u, unsigned reg, uint64_t r)
{
    if (u->size == 8)
        W64(reg, r);
    else
        W32(reg, r);
}
static void bmi_flags(struct cpu *c, const struct uop *u, uint64_t r, bool cf)
{
    if (u->size == 8)
        flags_logic(c, 64, r);
    else
        flags_logic(c, 32, r);
    c->fl.aux = cf ? LF_CF | LF_CIN : 0;
}
#define BMI_BITS(u) ((u)->size * 8u)

static bool andn(struct cpu *c, const struct uop *u)
{
    uint64_t v, r;
    if (!bmi_e(c, u, u->base, &v)) return false;
    r = ~bmi_reg(c, u, u->src) & v;
    bmi_result(c, u, u->dst, r);
    bmi_flags(c, u, r, false);
    return true;
}
static bool bextr(struct cpu *c, const struct uop *u)
{
    uint64_t v, ctl = bmi_reg(c, u, (unsigned)u->imm), r;
    if (!bmi_e(c, u, u->src, &v)) return false;
    unsigned start = ctl & 0xff, len = ctl >> 8 & 0xff;
    r = start < 64 ? v >> start : 0;
    if (len < 64) r &= (UINT64_C(1) << len) - 1;
    bmi_result(c, u, u->dst, r);
    bmi_flags(c, u, r, false);
    return true;
}
static bool bzhi(struct cpu *c, const struct uop *u)
{
    uint64_t v, r;
    unsigned n = (unsigned)bmi_reg(c, u, (unsigned)u->imm) & 0xff;
    if (!bmi_e(c, u, u->src, &v)) return false;
    r = n < BMI_BITS(u) ? v & ((UINT64_C(1) << n) - 1) : v;
    bmi_result(c, u, u->dst, r);
    bmi_flags(c, u, r, n > BMI_BITS(u) - 1);
    return true;
}
/* BLSR, BLSMSK, BLSI: destination in vvvv (operand 1), source E. */
static bool bls(struct cpu *c, const struct uop *u, unsigned op)
{
    uint64_t v, r;
    if (!bmi_e(c, u, u->src, &v)) return false;
    bool cf = v == 0;
    if (op == 1)
        r = v & (v - 1);
    else if (op == 2)
        r = v ^ (v - 1);
    else {
        r = v & (0 - v);
        cf = v != 0;
    }
    if (u->size == 4) r = (uint32_t)r;
    bmi_result(c, u, u->dst, r);
    bmi_flags(c, u, r, cf);
    return true;
}
static bool blsr(struct cpu *c, const struct uop *u) { return bls(c, u, 1); }
static bool blsmsk(struct cpu *c, const struct uop *u) { return bls(c, u, 2); }
static bool blsi(struct cpu *c, const struct uop *u) { return bls(c, u, 3); }

static bool pdep(struct cpu *c, const struct uop *u)
{
    uint64_t mask, v = bmi_reg(c, u, u->src), r = 0;
    if (!bmi_e(c, u, u->base, &mask)) return false;
    for (; mask; mask &= mask - 1, v >>= 1)
        if (v & 1) r |= mask & (0 - mask);
    bmi_result(c, u, u->dst, r);
    return true;
}
static bool pext(struct cpu *c, const struct uop *u)
{
    uint64_t mask, v = bmi_reg(c, u, u->src), r = 0;
    if (!bmi_e(c, u, u->base, &mask)) return false;
    for (unsigned k = 0; mask; mask &= mask - 1, k++)
        if (v & mask & (0 - mask)) r |= UINT64_C(1) << k;
    bmi_result(c, u, u->dst, r);
    return true;
}
/* MULX: operand 1 the high half, operand 2 (vvvv) the low half; equal: the high half stays. */
static bool mulx(struct cpu *c, const struct uop *u)
{
    uint64_t v;
    if (!bmi_e(c, u, u->base, &v)) return false;
    if (u->size == 8) {
        unsigned __int128 p = (unsigned __int128)R64(RDX) * v;
        W64(u->src, (uint64_t)p);
        W64(u->dst, (uint64_t)(p >> 64));
    } else {
        uint64_t p = (uint64_t)R32(RDX) * v;
        W32(u->src, p);
        W32(u->dst, p >> 32);
    }
    return true;
}
static bool rorx(struct cpu *c, const struct uop *u)
{
    uint64_t v;
    unsigned n = (unsigned)u->imm & (BMI_BITS(u) - 1);
    if (!bmi_e(c, u, u->src, &v)) return false;
    if (n) v = v >> n | v << (BMI_BITS(u) - n);
    bmi_result(c, u, u->dst, v);
    return true;
}
static bool shiftx(struct cpu *c, const struct uop *u, unsigned op)
{
    uint64_t v;
    unsigned n = (unsigned)R64(u->imm & 15) & (BMI_BITS(u) - 1);
    if (!bmi_e(c, u, u->src, &v)) return false;
    if (op == 0)
        v <<= n;
    else if (op == 1)
        v >>= n;
    else
        v = u->size == 8 ? (uint64_t)((int64_t)v >> n) : (uint32_t)((int32_t)v >> n);
    bmi_result(c, u, u->dst, v);
    return true;
}
static bool shlx(struct cpu *c, const struct uop *u) { return shiftx(c, u, 0); }
static bool shrx(struct cpu *c, const struct uop *u) { return shiftx(c, u, 1); }
static bool sarx(struct cpu *c, const struct uop *u) { return shiftx(c, u, 2); }

/* CRC-32C, reflected polynomial 11EDC6F41. */
static uint32_t crc32c(uint32_t crc, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        crc ^= (uint8_t)(v >> (8 * i));
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return crc;
}
static bool crc32_bytes(struct cpu *c, const struct uop *u, unsigned bytes)
{
    uint64_t v;
    uint8_t b;
    uint16_t w;
    uint32_t d;
    if (!(u->flags & UOP_MEM)) {
        v = bytes == 1 ? R8(u->src) : R64(u->src);
    } else if (bytes == 1) {
        if (!mem_read8(c, u_seg(u), u_ea(c, u), &b)) return false;
        v = b;
    } else if (bytes == 2) {
        if (!mem_read16(c, u_seg(u), u_ea(c, u), &w)) return false;
        v = w;
    } else if (bytes == 4) {
        if (!mem_read32(c, u_seg(u), u_ea(c, u), &d)) return false;
        v = d;
    } else if (!mem_read64(c, u_seg(u), u_ea(c, u), &v)) {
        return false;
    }
    W32(u->dst, crc32c(R32(u->dst), v, bytes));
    return true;
}
static bool crc32_b(struct cpu *c, const struct uop *u) { return crc32_bytes(c, u, 1); }
static bool crc32_w(struct cpu *c, const struct uop *u) { return crc32_bytes(c, u, 2); }
static bool crc32_d(struct cpu *c, const struct uop *u) { return crc32_bytes(c, u, 4); }
static bool crc32_q(struct cpu *c, const struct uop *u) { return crc32_bytes(c, u, 8); }

#define BODY(name)       \
    HANDLER_ALL(name)    \
    {                    \
        TRY(name(c, u)); \
        NEXT;            \
    }
BODY(andn)
BODY(bextr)
BODY(bzhi)
BODY(blsr)
BODY(blsmsk)
BODY(blsi)
BODY(pdep)
BODY(pext)
BODY(mulx)
BODY(rorx)
BODY(shlx)
BODY(shrx)
BODY(sarx)
BODY(crc32_b)
#define CRC_SIZE(name)   \
    static HANDLER(name) \
    {                    \
        TRY(name(c, u)); \
        NEXT;            \
    }
CRC_SIZE(crc32_w)
CRC_SIZE(crc32_d)
CRC_SIZE(crc32_q)
const struct uop_set uset_crc32_v = {.fn[FORM_RR] = {NULL, op_crc32_w, op_crc32_d, op_crc32_q},
                                     .fn[FORM_RM] = {NULL, op_crc32_w, op_crc32_d, op_crc32_q}};
