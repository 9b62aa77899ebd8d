/* SPDX-License-Identifier: MIT */
/* Optional fast path through the host's binary32/binary64 arithmetic (build switch UV_HOST_FP).
 * Taken only where IEEE 754 leaves nothing to the implementation: round to nearest, operands and result
 * normal and well inside the range, and PE already sticky, so that no flag can change. The rest, and
 * every other build, goes through arith.c; the tests compare the two. */
#ifndef UV_CPU_FPU_HOST_H
#define UV_CPU_FPU_HOST_H

#include "cpu/fpu/fp.h"

#ifdef UV_HOST_FP
#if __FLT_EVAL_METHOD__ != 0
#error "UV_HOST_FP needs a host that rounds each operation to its own type"
#endif
/* Exponents a quarter of the range around 1: no sum, product or quotient can leave the normal range. */
static inline bool fp_host_usable32(const struct fp_env *e, uint32_t a, uint32_t b)
{
    uint32_t ea = (a >> 23 & 0xff) - 0x60, eb = (b >> 23 & 0xff) - 0x60;
    return e->rc == FP_NEAREST && (e->flags & FP_PE) && (e->masked & FP_PE) && ea < 0x3e && eb < 0x3e;
}
static inline bool fp_host_usable64(const struct fp_env *e, uint64_t a, uint64_t b)
{
    uint64_t ea = (a >> 52 & 0x7ff) - 0x300, eb = (b >> 52 & 0x7ff) - 0x300;
    return e->rc == FP_NEAREST && (e->flags & FP_PE) && (e->masked & FP_PE) && ea < 0x1fe && eb < 0x1fe;
}
#define FP_HOST_OP(name, op)                                                                           \
    static inline bool fp_host_##name##32(const struct fp_env *e, uint32_t a, uint32_t b, uint32_t *r) \
    {                                                                                                  \
        union {                                                                                        \
            uint32_t i;                                                                                \
            float f;                                                                                   \
        } x = {a}, y = {b};                                                                            \
        if (!fp_host_usable32(e, a, b)) return false;                                                  \
        x.f = x.f op y.f;                                                                              \
        *r = x.i;                                                                                      \
        return true;                                                                                   \
    }                                                                                                  \
    static inline bool fp_host_##name##64(const struct fp_env *e, uint64_t a, uint64_t b, uint64_t *r) \
    {                                                                                                  \
        union {                                                                                        \
            uint64_t i;                                                                                \
            double f;                                                                                  \
        } x = {a}, y = {b};                                                                            \
        if (!fp_host_usable64(e, a, b)) return false;                                                  \
        x.f = x.f op y.f;                                                                              \
        *r = x.i;                                                                                      \
        return true;                                                                                   \
    }
#else
#define FP_HOST_OP(name, op)                                                                           \
    static inline bool fp_host_##name##32(const struct fp_env *e, uint32_t a, uint32_t b, uint32_t *r) \
    {                                                                                                  \
        (void)e, (void)a, (void)b, (void)r;                                                            \
        return false;                                                                                  \
    }                                                                                                  \
    static inline bool fp_host_##name##64(const struct fp_env *e, uint64_t a, uint64_t b, uint64_t *r) \
    {                                                                                                  \
        (void)e, (void)a, (void)b, (void)r;                                                            \
        return false;                                                                                  \
    }
#endif
FP_HOST_OP(add, +)
FP_HOST_OP(sub, -)
FP_HOST_OP(mul, *)
FP_HOST_OP(div, /)
#undef FP_HOST_OP

#endif
