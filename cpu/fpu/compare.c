/* SPDX-License-Identifier: MIT */
/* Ordered comparison and the SSE minimum and maximum. SDM 1 8.3.6, 11.5.2; 2A COMISS, MINSS. */
#include "cpu/fpu/fp_core.h"

FP_INLINE enum fp_relation core_compare(struct fp_env *e, struct fp_num a, struct fp_num b, bool signaling)
{
    if (__builtin_expect(a.cls >= FPC_NAN || b.cls >= FPC_NAN, 0)) {
        if (signaling || a.cls == FPC_UNSUPPORTED || b.cls == FPC_UNSUPPORTED || fp_is_snan(&a) ||
            fp_is_snan(&b))
            e->flags |= FP_IE;
        return FP_UNORDERED;
    }
    fp_note_denormal(e, a.denormal | b.denormal);
    if (a.cls == FPC_ZERO && b.cls == FPC_ZERO) return FP_EQUAL;
    bool sign = a.cls == FPC_ZERO ? !b.sign : a.sign; /* of a, seen from b */
    if (a.cls != FPC_ZERO && b.cls != FPC_ZERO && a.sign == b.sign) {
        int m = a.cls == FPC_INF || b.cls == FPC_INF ? (a.cls == FPC_INF) - (b.cls == FPC_INF)
                                                     : fp_compare_magnitude(&a, &b);
        return (enum fp_relation)(a.sign ? -m : m);
    }
    return sign ? FP_LESS : FP_GREATER;
}

enum fp_relation f32_compare(struct fp_env *e, uint32_t a, uint32_t b, bool signaling)
{
    return core_compare(e, fp_unpack_f32(e, a), fp_unpack_f32(e, b), signaling);
}
enum fp_relation f64_compare(struct fp_env *e, uint64_t a, uint64_t b, bool signaling)
{
    return core_compare(e, fp_unpack_f64(e, a), fp_unpack_f64(e, b), signaling);
}
enum fp_relation f80_compare(struct fp_env *e, struct f80 a, struct f80 b, bool signaling)
{
    return core_compare(e, fp_unpack_f80(a), fp_unpack_f80(b), signaling);
}

static uint32_t flush32(const struct fp_env *e, uint32_t v)
{
    return e->daz && !(v & 0x7f800000) ? v & 0x80000000 : v;
}
static uint64_t flush64(const struct fp_env *e, uint64_t v)
{
    return e->daz && !(v & UINT64_C(0x7ff0000000000000)) ? v & FP_TOP : v;
}
uint32_t f32_min(struct fp_env *e, uint32_t a, uint32_t b)
{
    return f32_compare(e, a, b, true) == FP_LESS ? flush32(e, a) : flush32(e, b);
}
uint32_t f32_max(struct fp_env *e, uint32_t a, uint32_t b)
{
    return f32_compare(e, a, b, true) == FP_GREATER ? flush32(e, a) : flush32(e, b);
}
uint64_t f64_min(struct fp_env *e, uint64_t a, uint64_t b)
{
    return f64_compare(e, a, b, true) == FP_LESS ? flush64(e, a) : flush64(e, b);
}
uint64_t f64_max(struct fp_env *e, uint64_t a, uint64_t b)
{
    return f64_compare(e, a, b, true) == FP_GREATER ? flush64(e, a) : flush64(e, b);
}
