/* SPDX-License-Identifier: MIT */
/* MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc, MOVBE, BSWAP, XLAT, sign-extending conversions, CMPXCHG, XADD,
 * CMPXCHG8B/16B, MOVNTI. SDM 2A, 2B. */
#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/insn/cond.h"
#include "cpu/insn/flat.h"

/* --- MOV --- */

#define MOV(bits)                                \
    static HANDLER(mov_rr##bits)                 \
    {                                            \
        W##bits(u->dst, R##bits(u->src));        \
        NEXT;                                    \
    }                                            \
    static HANDLER(mov_ri##bits)                 \
    {                                            \
        W##bits(u->dst, (uint##bits##_t)u->imm); \
        NEXT;                                    \
    }                                            \
    MOV_MEMORY(bits, MEM, )                      \
    MOV_MEMORY(bits, FLAT, f)                    \
    MOV_MEMORY(bits, BASE, b)
#define MOV_MEMORY(bits, how, f)                                   \
    static HANDLER(mov_rm##f##bits)                                \
    {                                                              \
        LOAD(how, bits, v, op_mov_rm##bits);                       \
        W##bits(u->dst, v);                                        \
        NEXT;                                                      \
    }                                                              \
    static HANDLER(mov_mr##f##bits)                                \
    {                                                              \
        STORE(how, bits, R##bits(u->src), op_mov_mr##bits);        \
        NEXT;                                                      \
    }                                                              \
    static HANDLER(mov_mi##f##bits)                                \
    {                                                              \
        STORE(how, bits, (uint##bits##_t)u->imm, op_mov_mi##bits); \
        NEXT;                                                      \
    }
MOV(8)
MOV(16)
MOV(32)
MOV(64)
const struct uop_set uset_mov = {.fn = {BY_SIZE(mov_rr, ), BY_SIZE(mov_ri, ), BY_SIZE(mov_rm, ),
                                        BY_SIZE(mov_mr, ), BY_SIZE(mov_mi, ), BY_SIZE(mov_rmf, ),
                                        BY_SIZE(mov_mrf, ), BY_SIZE(mov_mif, ), BY_SIZE(mov_rmb, ),
                                        BY_SIZE(mov_mrb, ), BY_SIZE(mov_mib, )},
                                 .flags_known = 1};

/* MOV between the accumulator and an address in the instruction. */
#define MOFFS_EA (u_asize(u) == 2 ? u->imm : u_asize(u) == 1 ? (uint32_t)u->imm : (uint16_t)u->imm)
#define MOV_MOFFS(bits)                                            \
    static HANDLER(mov_al_o##bits)                                 \
    {                                                              \
        uint##bits##_t v;                                          \
        TRY(mem_read##bits(c, u_seg(u), MOFFS_EA, &v));            \
        W##bits(RAX, v);                                           \
        NEXT;                                                      \
    }                                                              \
    static HANDLER(mov_o_al##bits)                                 \
    {                                                              \
        TRY(mem_write##bits(c, u_seg(u), MOFFS_EA, R##bits(RAX))); \
        NEXT;                                                      \
    }
MOV_MOFFS(8)
MOV_MOFFS(16)
MOV_MOFFS(32)
MOV_MOFFS(64)
const struct uop_set uset_mov_moffs = {
    .fn[FORM_RM] = BY_SIZE(mov_al_o, ), .fn[FORM_MR] = BY_SIZE(mov_o_al, ), .flags_known = 1};

/* --- MOVZX, MOVSX, MOVSXD: from `from` bits to the operand size --- */

#define EXTEND(name, type, from, bits)                          \
    static HANDLER(name##_rr##bits)                             \
    {                                                           \
        W##bits(u->dst, (uint##bits##_t)(type)R##from(u->src)); \
        NEXT;                                                   \
    }                                                           \
    static HANDLER(name##_rm##bits)                             \
    {                                                           \
        uint##from##_t v;                                       \
        TRY(MEM_READ(from, &v));                                \
        W##bits(u->dst, (uint##bits##_t)(type)v);               \
        NEXT;                                                   \
    }                                                           \
    static HANDLER(name##_rmf##bits)                            \
    {                                                           \
        LOAD(FLAT, from, v, op_##name##_rm##bits);              \
        W##bits(u->dst, (uint##bits##_t)(type)v);               \
        NEXT;                                                   \
    }                                                           \
    static HANDLER(name##_rmb##bits)                            \
    {                                                           \
        LOAD(BASE, from, v, op_##name##_rm##bits);              \
        W##bits(u->dst, (uint##bits##_t)(type)v);               \
        NEXT;                                                   \
    }
#define EXTEND_SET(name, type, from)                                              \
    EXTEND(name, type, from, 16)                                                  \
    EXTEND(name, type, from, 32)                                                  \
    EXTEND(name, type, from, 64)                                                  \
    const struct uop_set uset_##name = {.fn[FORM_RR] = BY_SIZE_V(name##_rr, ),    \
                                        .fn[FORM_RM] = BY_SIZE_V(name##_rm, ),    \
                                        .fn[FORM_RM_F] = BY_SIZE_V(name##_rmf, ), \
                                        .fn[FORM_RM_B] = BY_SIZE_V(name##_rmb, ), \
                                        .flags_known = 1};
EXTEND_SET(movzx_b, uint8_t, 8)
EXTEND_SET(movzx_w, uint16_t, 16)
EXTEND_SET(movsx_b, int8_t, 8)
EXTEND_SET(movsx_w, int16_t, 16)
EXTEND(movsxd, int32_t, 32, 32)
EXTEND(movsxd, int32_t, 32, 64)
/* With a 16-bit operand size MOVSXD is a move of 16 bits. */
const struct uop_set uset_movsxd = {.fn[FORM_RR] = {NULL, op_mov_rr16, op_movsxd_rr32, op_movsxd_rr64},
                                    .fn[FORM_RM] = {NULL, op_mov_rm16, op_movsxd_rm32, op_movsxd_rm64},
                                    .fn[FORM_RM_F] = {NULL, op_mov_rmf16, op_movsxd_rmf32, op_movsxd_rmf64},
                                    .fn[FORM_RM_B] = {NULL, op_mov_rmb16, op_movsxd_rmb32, op_movsxd_rmb64},
                                    .flags_known = 1};

/* --- LEA --- */

#define LEA(bits)                       \
    static HANDLER(lea##bits)           \
    {                                   \
        W##bits(u->dst, u_ea(c, u));    \
        NEXT;                           \
    }                                   \
    static HANDLER(leaf##bits)          \
    {                                   \
        W##bits(u->dst, flat_ea(c, u)); \
        NEXT;                           \
    }                                   \
    static HANDLER(leab##bits)          \
    {                                   \
        W##bits(u->dst, base_ea(c, u)); \
        NEXT;                           \
    }
LEA(16)
LEA(32)
LEA(64)
const struct uop_set uset_lea = {.fn[FORM_RM] = BY_SIZE_V(lea, ),
                                 .fn[FORM_RM_F] = BY_SIZE_V(leaf, ),
                                 .fn[FORM_RM_B] = BY_SIZE_V(leab, ),
                                 .flags_known = 1,
                                 .address_only = 1};

/* --- XCHG, XADD, CMPXCHG --- */

#define XCHG(bits)                                                                              \
    static HANDLER(xchg_rr##bits)                                                               \
    {                                                                                           \
        uint##bits##_t a = R##bits(u->dst), b = R##bits(u->src);                                \
        W##bits(u->dst, b);                                                                     \
        W##bits(u->src, a);                                                                     \
        NEXT;                                                                                   \
    }                                                                                           \
    static HANDLER(xchg_mr##bits)                                                               \
    {                                                                                           \
        uint64_t a;                                                                             \
        TRY(MEM_RMW(bits, &a));                                                                 \
        mem_rmw_commit(c, bits / 8, R##bits(u->src));                                           \
        W##bits(u->src, (uint##bits##_t)a);                                                     \
        NEXT;                                                                                   \
    }                                                                                           \
    static HANDLER(xadd_rr##bits)                                                               \
    {                                                                                           \
        uint##bits##_t a = R##bits(u->dst), b = R##bits(u->src), r = (uint##bits##_t)(a + b);   \
        flags_add(c, bits, a, b, r);                                                            \
        W##bits(u->src, a);                                                                     \
        W##bits(u->dst, r);                                                                     \
        NEXT;                                                                                   \
    }                                                                                           \
    static HANDLER(xadd_mr##bits)                                                               \
    {                                                                                           \
        uint64_t v;                                                                             \
        TRY(MEM_RMW(bits, &v));                                                                 \
        uint##bits##_t a = (uint##bits##_t)v, b = R##bits(u->src), r = (uint##bits##_t)(a + b); \
        mem_rmw_commit(c, bits / 8, r);                                                         \
        flags_add(c, bits, a, b, r);                                                            \
        W##bits(u->src, a);                                                                     \
        NEXT;                                                                                   \
    }                                                                                           \
    /* On a mismatch only the accumulator is written. SDM 2A "CMPXCHG". */                      \
    static HANDLER(cmpxchg_rr##bits)                                                            \
    {                                                                                           \
        uint##bits##_t a = R##bits(u->dst), acc = R##bits(RAX);                                 \
        flags_sub(c, bits, acc, a, (uint##bits##_t)(acc - a));                                  \
        if (acc == a) {                                                                         \
            W##bits(u->dst, R##bits(u->src));                                                   \
        } else {                                                                                \
            W##bits(RAX, a);                                                                    \
        }                                                                                       \
        NEXT;                                                                                   \
    }                                                                                           \
    static HANDLER(cmpxchg_mr##bits)                                                            \
    {                                                                                           \
        uint64_t v;                                                                             \
        TRY(MEM_RMW(bits, &v));                                                                 \
        uint##bits##_t a = (uint##bits##_t)v, acc = R##bits(RAX);                               \
        mem_rmw_commit(c, bits / 8, acc == a ? R##bits(u->src) : a);                            \
        flags_sub(c, bits, acc, a, (uint##bits##_t)(acc - a));                                  \
        if (acc != a) W##bits(RAX, a);                                                          \
        NEXT;                                                                                   \
    }
XCHG(8)
XCHG(16)
XCHG(32)
XCHG(64)
const struct uop_set uset_xchg = {
    .fn[FORM_RR] = BY_SIZE(xchg_rr, ), .fn[FORM_MR] = BY_SIZE(xchg_mr, ), .flags_known = 1};
const struct uop_set uset_xadd = {.fn[FORM_RR] = BY_SIZE(xadd_rr, ), .fn[FORM_MR] = BY_SIZE(xadd_mr, )};
const struct uop_set uset_cmpxchg = {.fn[FORM_RR] = BY_SIZE(cmpxchg_rr, ),
                                     .fn[FORM_MR] = BY_SIZE(cmpxchg_mr, )};

/* CMPXCHG8B, CMPXCHG16B: ZF only; memory is written in either case (SDM 2A). */
static void set_zf(struct cpu *c, bool zf)
{
    flags_load_oszapc(c, (flags_oszapc(c) & ~(uint32_t)FL_ZF) | (zf ? FL_ZF : 0));
}
static bool cmpxchg16b(struct cpu *c, const struct uop *u)
{
    uint64_t ea = u_ea(c, u), v[2], w[2], lin;
    if (!seg_linear(c, u_seg(u), ea, 16, ACC_WRITE, &lin)) return false;
    if (lin & 15) return cpu_raise_error(c, VEC_GP, 0);
    if (!mem_probe_write(c, u_seg(u), ea, 16) || !mem_read128(c, u_seg(u), ea, true, v)) return false;
    bool equal = v[0] == R64(RAX) && v[1] == R64(RDX);
    w[0] = equal ? R64(RBX) : v[0];
    w[1] = equal ? R64(RCX) : v[1];
    if (!mem_write128(c, u_seg(u), ea, true, w)) return false;
    if (!equal) {
        W64(RAX, v[0]);
        W64(RDX, v[1]);
    }
    set_zf(c, equal);
    return true;
}
/* REX.W makes it CMPXCHG16B, with a feature bit of its own. */
HANDLER_ALL(cmpxchg8b)
{
    if (u->flags & UOP_REXW) {
        if (!has_feature(c, FEAT_CX16)) RAISE(VEC_UD);
        TRY(cmpxchg16b(c, u));
        NEXT;
    }
    uint64_t v, want = (uint64_t)R32(RDX) << 32 | R32(RAX);
    TRY(mem_rmw_read(c, u_seg(u), u_ea(c, u), 8, &v));
    mem_rmw_commit(c, 8, v == want ? (uint64_t)R32(RCX) << 32 | R32(RBX) : v);
    if (v != want) {
        W32(RAX, v);
        W32(RDX, v >> 32);
    }
    set_zf(c, v == want);
    NEXT;
}
/* --- CMOVcc, SETcc --- */

/* The source is read, and a 32-bit destination zero-extended, whatever the condition. */
#define CMOV_ONE(cc, name, bits)                                               \
    static HANDLER(cmov##name##_rr##bits)                                      \
    {                                                                          \
        W##bits(u->dst, condition(c, cc) ? R##bits(u->src) : R##bits(u->dst)); \
        NEXT;                                                                  \
    }                                                                          \
    static HANDLER(cmov##name##_rm##bits)                                      \
    {                                                                          \
        uint##bits##_t v;                                                      \
        TRY(MEM_READ(bits, &v));                                               \
        W##bits(u->dst, condition(c, cc) ? v : R##bits(u->dst));               \
        NEXT;                                                                  \
    }
#define CMOV_SET(cc, name)                                                               \
    CMOV_ONE(cc, name, 16)                                                               \
    CMOV_ONE(cc, name, 32)                                                               \
    CMOV_ONE(cc, name, 64)                                                               \
    const struct uop_set uset_cmov##name = {.fn[FORM_RR] = BY_SIZE_V(cmov##name##_rr, ), \
                                            .fn[FORM_RM] = BY_SIZE_V(cmov##name##_rm, ), \
                                            .reads = CONDITION_FLAGS(cc),                \
                                            .flags_known = 1};                           \
    static HANDLER(set##name##_r)                                                        \
    {                                                                                    \
        W8(u->dst, condition(c, cc));                                                    \
        NEXT;                                                                            \
    }                                                                                    \
    static HANDLER(set##name##_m)                                                        \
    {                                                                                    \
        TRY(MEM_WRITE(8, condition(c, cc)));                                             \
        NEXT;                                                                            \
    }                                                                                    \
    const struct uop_set uset_set##name = {.fn[FORM_RR] = {op_set##name##_r},            \
                                           .fn[FORM_MR] = {op_set##name##_m},            \
                                           .reads = CONDITION_FLAGS(cc),                 \
                                           .flags_known = 1};
FOR_CONDITIONS(CMOV_SET)

/* --- Byte order --- */

#define MOVBE(bits)                                                   \
    static HANDLER(movbe_rm##bits)                                    \
    {                                                                 \
        uint##bits##_t v;                                             \
        TRY(MEM_READ(bits, &v));                                      \
        W##bits(u->dst, __builtin_bswap##bits(v));                    \
        NEXT;                                                         \
    }                                                                 \
    static HANDLER(movbe_mr##bits)                                    \
    {                                                                 \
        TRY(MEM_WRITE(bits, __builtin_bswap##bits(R##bits(u->src)))); \
        NEXT;                                                         \
    }
MOVBE(16)
MOVBE(32)
MOVBE(64)
const struct uop_set uset_movbe = {
    .fn[FORM_RM] = BY_SIZE_V(movbe_rm, ), .fn[FORM_MR] = BY_SIZE_V(movbe_mr, ), .flags_known = 1};

/* BSWAP of a 16-bit register is undefined; processors clear it. */
HANDLER_ALL(bswap)
{
    if (u->size == 8)
        W64(u->dst, __builtin_bswap64(R64(u->dst)));
    else if (u->size == 4)
        W32(u->dst, __builtin_bswap32(R32(u->dst)));
    else
        W16(u->dst, 0);
    NEXT;
}

/* --- Conversions, XLAT --- */

HANDLER_ALL(cbw) /* CBW, CWDE, CDQE */
{
    if (u->size == 8)
        W64(RAX, (uint64_t)(int64_t)(int32_t)R32(RAX));
    else if (u->size == 4)
        W32(RAX, (uint32_t)(int32_t)(int16_t)R16(RAX));
    else
        W16(RAX, (uint16_t)(int16_t)(int8_t)R8(0));
    NEXT;
}
HANDLER_ALL(cwd) /* CWD, CDQ, CQO */
{
    if (u->size == 8)
        W64(RDX, (uint64_t)((int64_t)R64(RAX) >> 63));
    else if (u->size == 4)
        W32(RDX, (uint32_t)((int32_t)R32(RAX) >> 31));
    else
        W16(RDX, (uint16_t)((int16_t)R16(RAX) >> 15));
    NEXT;
}
HANDLER_ALL(xlat)
{
    uint64_t ea = R64(RBX) + R8(0);
    uint8_t v;
    ea = u_asize(u) == 2 ? ea : u_asize(u) == 1 ? (uint32_t)ea : (uint16_t)ea;
    TRY(mem_read8(c, u_seg(u), ea, &v));
    W8(0, v);
    NEXT;
}

/* --- Direct stores --- */

HANDLER_ALL(movnti)
{
    if (u->size == 8) {
        TRY(MEM_WRITE(64, R64(u->src)));
    } else {
        TRY(MEM_WRITE(32, R32(u->src)));
    }
    NEXT;
}
