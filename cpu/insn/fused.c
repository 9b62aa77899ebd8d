/* SPDX-License-Identifier: MIT */
/* CMP or TEST with the Jcc behind it in one micro-op: the condition comes from the operands, the flags are
 * left as usual for whoever looks next. Only in 64-bit mode, register operands. The Jcc's micro-op stays
 * behind it with its link and displacement; not taken goes on after it. */
#include "cpu/insn/fused.h"

#include "cpu/flags.h"
#include "cpu/insn/branch.h"
#include "cpu/insn/cond.h"

/* Condition cc of a - b. */
#define SUB_CONDITION(bits)                                                                              \
    static inline __attribute__((always_inline)) bool sub_cond##bits(const struct cpu *c, unsigned cc,   \
                                                                     uint##bits##_t a, uint##bits##_t b) \
    {                                                                                                    \
        bool v;                                                                                          \
        switch (cc >> 1) {                                                                               \
        case 1: v = a < b; break;                                                                        \
        case 2: v = a == b; break;                                                                       \
        case 3: v = a <= b; break;                                                                       \
        case 4: v = (int##bits##_t)(a - b) < 0; break;                                                   \
        case 6: v = (int##bits##_t)a < (int##bits##_t)b; break;                                          \
        case 7: v = (int##bits##_t)a <= (int##bits##_t)b; break;                                         \
        default: return condition(c, cc);                                                                \
        }                                                                                                \
        return v != (cc & 1);                                                                            \
    }
/* Of a & b: CF and OF are clear. */
#define AND_CONDITION(bits)                                                                              \
    static inline __attribute__((always_inline)) bool and_cond##bits(const struct cpu *c, unsigned cc,   \
                                                                     uint##bits##_t a, uint##bits##_t b) \
    {                                                                                                    \
        int##bits##_t r = (int##bits##_t)(a & b);                                                        \
        bool v;                                                                                          \
        switch (cc >> 1) {                                                                               \
        case 0:                                                                                          \
        case 1: v = false; break;                                                                        \
        case 2:                                                                                          \
        case 3: v = r == 0; break;                                                                       \
        case 4:                                                                                          \
        case 6: v = r < 0; break;                                                                        \
        case 7: v = r <= 0; break;                                                                       \
        default: return condition(c, cc);                                                                \
        }                                                                                                \
        return v != (cc & 1);                                                                            \
    }

#define CMP_FLAGS(bits, a, b) flags_sub(c, bits, a, b, (uint##bits##_t)(a - b))
#define TEST_FLAGS(bits, a, b) flags_logic(c, bits, (uint##bits##_t)(a & b))

#define FUSED(op, name, cc, bits, form, second, set_flags, cond) \
    static HANDLER(op##_##form##_j##name##bits)                  \
    {                                                            \
        uint##bits##_t a = R##bits(u->dst), b = second;          \
        set_flags(bits, a, b);                                   \
        bool taken = cond##bits(c, cc, a, b);                    \
        u++;                                                     \
        if (taken) TAKE_BRANCH(64);                              \
        NEXT;                                                    \
    }
#define FUSED_CC(cc, name, bits)                                                \
    FUSED(cmp, name, cc, bits, rr, R##bits(u->src), CMP_FLAGS, sub_cond)        \
    FUSED(cmp, name, cc, bits, ri, (uint##bits##_t)u->imm, CMP_FLAGS, sub_cond) \
    FUSED(test, name, cc, bits, rr, R##bits(u->src), TEST_FLAGS, and_cond)      \
    FUSED(test, name, cc, bits, ri, (uint##bits##_t)u->imm, TEST_FLAGS, and_cond)
#define FUSED_8(cc, name) FUSED_CC(cc, name, 8)
#define FUSED_32(cc, name) FUSED_CC(cc, name, 32)
#define FUSED_64(cc, name) FUSED_CC(cc, name, 64)
SUB_CONDITION(8)
SUB_CONDITION(32)
SUB_CONDITION(64)
AND_CONDITION(8)
AND_CONDITION(32)
AND_CONDITION(64)
FOR_CONDITIONS(FUSED_8)
FOR_CONDITIONS(FUSED_32)
FOR_CONDITIONS(FUSED_64)

extern const struct uop_set uset_cmp, uset_test;

uop_fn *fused_handler(const struct uop_set *set, bool imm, unsigned size, unsigned cc)
{
#define PICK(cc, name)                                                         \
    {{{op_cmp_rr_j##name##8, op_cmp_rr_j##name##32, op_cmp_rr_j##name##64},    \
      {op_cmp_ri_j##name##8, op_cmp_ri_j##name##32, op_cmp_ri_j##name##64}},   \
     {{op_test_rr_j##name##8, op_test_rr_j##name##32, op_test_rr_j##name##64}, \
      {op_test_ri_j##name##8, op_test_ri_j##name##32, op_test_ri_j##name##64}}},
    static uop_fn *const pick[16][2][2][3] = {FOR_CONDITIONS(PICK)};
#undef PICK
    unsigned column = size == 1 ? 0 : size == 4 ? 1 : 2;
    if (size == 2 || (set != &uset_cmp && set != &uset_test)) return NULL;
    return pick[cc][set == &uset_test][imm][column];
}
