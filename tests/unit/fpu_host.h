/* SPDX-License-Identifier: MIT */
/* Operand generator and host-instruction wrappers of the floating-point tests. On x86-64 hosts the
 * processor itself is the reference; elsewhere those tests skip. */
#ifndef UV_TESTS_FPU_HOST_H
#define UV_TESTS_FPU_HOST_H

/* clang-format off: cmocka.h wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h> /* needs the above */
/* clang-format on */

#include "cpu/fpu/fp.h"

static uint64_t rng_state = UINT64_C(0x9e3779b97f4a7c15);
static inline uint64_t rnd(void)
{
    uint64_t z = rng_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A significand of `bits` with structure: random, few ones, runs, all ones, zero. */
static inline uint64_t rnd_frac(unsigned bits)
{
    uint64_t m = bits == 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1, v = rnd();
    switch (rnd() % 8) {
    case 0: return 0;
    case 1: return m;
    case 2: return (UINT64_C(1) << rnd() % bits) & m;
    case 3: return (m << rnd() % bits) & m;
    case 4: return m >> rnd() % bits;
    case 5: return (v & v << 1 & rnd()) & m;
    default: return v & m;
    }
}
/* Biased exponent: often near the middle, near an end, or equal to `near` give or take a few. */
static inline unsigned rnd_exp(unsigned max, unsigned near)
{
    switch (rnd() % 8) {
    case 0: return 0;
    case 1: return max - (unsigned)(rnd() % 3);
    case 2: return (unsigned)(rnd() % 4);
    case 3:
    case 4: return (near + (unsigned)(rnd() % 9) - 4) & max;
    case 5: return (max / 2 + (unsigned)(rnd() % 70) - 35) & max;
    case 6: return (max / 2 + max / 4) & max;
    default: return (unsigned)rnd() & max;
    }
}
static inline uint32_t rnd_f32(uint32_t near)
{
    return (uint32_t)(rnd() & 1) << 31 | rnd_exp(0xff, near >> 23 & 0xff) << 23 | (uint32_t)rnd_frac(23);
}
static inline uint64_t rnd_f64(uint64_t near)
{
    return (rnd() & 1) << 63 | (uint64_t)rnd_exp(0x7ff, near >> 52 & 0x7ff) << 52 | rnd_frac(52);
}
static inline struct f80 rnd_f80(struct f80 near)
{
    unsigned e = rnd_exp(0x7fff, near.se & 0x7fff);
    uint64_t m = rnd_frac(63);
    if (rnd() % 64 != 0 && e) m |= UINT64_C(1) << 63;
    if (rnd() % 64 == 0) m ^= UINT64_C(1) << 63;
    /* values that are exact in the narrower formats are interesting too */
    if (rnd() % 4 == 0) m &= rnd() & 1 ? UINT64_C(0xfffffffffffff800) : UINT64_C(0xffffff0000000000);
    if (rnd() % 4 == 0) e = 16383 + (unsigned)(rnd() % 140) - 70;
    return f80_make((unsigned)(rnd() & 1) << 15 | e, m);
}

#if defined(__x86_64__)
#define HOST_X86 1
struct x87_image {
    uint32_t cw, sw, tw, ip, cs_op, dp, ds;
    uint8_t reg[8][10];
} __attribute__((packed));

static inline void f80_to_mem(struct f80 v, uint8_t m[10])
{
    memcpy(m, &v.frac, 8);
    memcpy(m + 8, &v.se, 2);
}
static inline struct f80 f80_from_mem(const uint8_t m[10])
{
    struct f80 v = {0};
    memcpy(&v.frac, m, 8);
    memcpy(&v.se, m + 8, 2);
    return v;
}
/* ST1 = b, ST0 = a, then the instruction; the image is taken without waiting, unmasked or not. */
#define HOST_X87(insn, image, control, a_mem, b_mem)                                     \
    __asm__ volatile("fninit\n\tfldt %2\n\tfldt %1\n\tfldcw %3\n\t" insn "\n\tfnsave %0" \
                     : "=m"(image)                                                       \
                     : "m"(a_mem), "m"(b_mem), "m"(control)                              \
                     : "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)")
#endif

#endif
