/* SPDX-License-Identifier: MIT */
/* IEEE 754 arithmetic in integers for x87 and SSE: unpack -> exact operation -> one round-and-pack.
 * Binary32 and binary64 are passed as bit patterns, double-extended as struct f80. Nothing here knows of
 * the processor: the environment carries rounding, precision and masks in, flags and C1 out.
 * SDM 1 ch. 4.8, 4.9, 8.5, 11.5; APM 1 ch. 4, 6. */
#ifndef UV_CPU_FPU_FP_H
#define UV_CPU_FPU_FP_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/state.h"

/* The flag positions of the x87 status word and of MXCSR; masks use the same positions. */
enum fp_flag {
    FP_IE = 1,
    FP_DE = 2,
    FP_ZE = 4,
    FP_OE = 8,
    FP_UE = 16,
    FP_PE = 32,
    FP_ALL = 63,
    FP_PRE = FP_IE | FP_DE | FP_ZE /* found before the result exists: unmasked, there is no result */
};

enum fp_round { FP_NEAREST, FP_DOWN, FP_UP, FP_ZERO_WARDS };

struct fp_env {
    uint8_t rc;     /* enum fp_round: the encoding of CW.RC and MXCSR.RC */
    uint8_t prec;   /* significand bits of f80 sums, products, quotients, roots: 24, 53 or 64 */
    uint8_t masked; /* enum fp_flag; an unmasked overflow or underflow changes the value (SDM 1 8.5.4) */
    uint8_t flags;  /* raised, accumulated */
    bool x87;       /* NaN rules and FTZ/DAZ do not mix: SDM 1 table 4-7 and 4.8.3.5 */
    bool daz, ftz;
    bool round_up; /* the last rounding increased the magnitude: C1 */
};

enum fp_relation { FP_LESS = -1, FP_EQUAL = 0, FP_GREATER = 1, FP_UNORDERED = 2 };

static inline bool fp_unmasked(const struct fp_env *e, unsigned which)
{
    return (e->flags & ~e->masked & which) != 0;
}

#define F32_DEFAULT_NAN UINT32_C(0xffc00000)
#define F64_DEFAULT_NAN UINT64_C(0xfff8000000000000)
static inline struct f80 f80_make(unsigned se, uint64_t frac)
{
    return (struct f80){.frac = frac, .se = (uint16_t)se, .pad = {0}};
}
static inline struct f80 f80_default_nan(void) { return f80_make(0xffff, UINT64_C(0xc000000000000000)); }

/* arith.c */
uint32_t f32_add(struct fp_env *e, uint32_t a, uint32_t b);
uint32_t f32_sub(struct fp_env *e, uint32_t a, uint32_t b);
uint32_t f32_mul(struct fp_env *e, uint32_t a, uint32_t b);
uint32_t f32_div(struct fp_env *e, uint32_t a, uint32_t b);
uint32_t f32_sqrt(struct fp_env *e, uint32_t a);
uint64_t f64_add(struct fp_env *e, uint64_t a, uint64_t b);
uint64_t f64_sub(struct fp_env *e, uint64_t a, uint64_t b);
uint64_t f64_mul(struct fp_env *e, uint64_t a, uint64_t b);
uint64_t f64_div(struct fp_env *e, uint64_t a, uint64_t b);
uint64_t f64_sqrt(struct fp_env *e, uint64_t a);
struct f80 f80_add(struct fp_env *e, struct f80 a, struct f80 b);
struct f80 f80_sub(struct fp_env *e, struct f80 a, struct f80 b);
struct f80 f80_mul(struct fp_env *e, struct f80 a, struct f80 b);
struct f80 f80_div(struct fp_env *e, struct f80 a, struct f80 b);
struct f80 f80_sqrt(struct fp_env *e, struct f80 a);

/* compare.c. signaling: a quiet NaN raises IE too. */
enum fp_relation f32_compare(struct fp_env *e, uint32_t a, uint32_t b, bool signaling);
enum fp_relation f64_compare(struct fp_env *e, uint64_t a, uint64_t b, bool signaling);
enum fp_relation f80_compare(struct fp_env *e, struct f80 a, struct f80 b, bool signaling);
uint32_t f32_min(struct fp_env *e, uint32_t a, uint32_t b); /* MINSS: b when unordered or equal */
uint32_t f32_max(struct fp_env *e, uint32_t a, uint32_t b);
uint64_t f64_min(struct fp_env *e, uint64_t a, uint64_t b);
uint64_t f64_max(struct fp_env *e, uint64_t a, uint64_t b);

/* convert.c. bits: 16, 32 or 64, the result sign-extended; out of range is IE and -2^(bits-1). */
int64_t f32_to_int(struct fp_env *e, uint32_t a, unsigned bits, unsigned rc);
int64_t f64_to_int(struct fp_env *e, uint64_t a, unsigned bits, unsigned rc);
int64_t f80_to_int(struct fp_env *e, struct f80 a, unsigned bits, unsigned rc);
uint32_t int_to_f32(struct fp_env *e, int64_t v);
uint64_t int_to_f64(struct fp_env *e, int64_t v);
struct f80 int_to_f80(int64_t v);
uint64_t f32_to_f64(struct fp_env *e, uint32_t a);
uint32_t f64_to_f32(struct fp_env *e, uint64_t a);
struct f80 f32_to_f80(struct fp_env *e, uint32_t a);
struct f80 f64_to_f80(struct fp_env *e, uint64_t a);
uint32_t f80_to_f32(struct fp_env *e, struct f80 a);
uint64_t f80_to_f64(struct fp_env *e, struct f80 a);
uint32_t f32_round_int(struct fp_env *e, uint32_t a, unsigned rc); /* ROUNDSS; the caller drops PE */
uint64_t f64_round_int(struct fp_env *e, uint64_t a, unsigned rc);
struct f80 f80_round_int(struct fp_env *e, struct f80 a); /* FRNDINT */

/* x87 only: remainder.c */
struct f80_rem {
    struct f80 r;
    uint8_t quotient; /* low three bits, when complete */
    bool partial;     /* C2 */
};
struct f80_rem f80_remainder(struct fp_env *e, struct f80 a, struct f80 b, bool ieee); /* FPREM, FPREM1 */
struct f80 f80_scale(struct fp_env *e, struct f80 a, struct f80 b);                    /* FSCALE */
/* FXTRACT: returns the significand, *exponent the unbiased exponent as a value. */
struct f80 f80_extract(struct fp_env *e, struct f80 a, struct f80 *exponent);

/* bcd.c: packed decimal as 10 bytes in memory order. */
struct f80 f80_from_bcd(const uint8_t bcd[10]);
void f80_to_bcd(struct fp_env *e, struct f80 a, uint8_t bcd[10]);

/* approx.c: RCPSS, RSQRTSS. No flags, no rounding control. */
uint32_t f32_rcp(uint32_t a);
uint32_t f32_rsqrt(uint32_t a);

/* trans.c: correctly directed from a 192-bit fixed-point value, see the head of that file. */
struct f80 f80_f2xm1(struct fp_env *e, struct f80 a);
struct f80 f80_fyl2x(struct fp_env *e, struct f80 x, struct f80 y);
struct f80 f80_fyl2xp1(struct fp_env *e, struct f80 x, struct f80 y);
struct f80 f80_fpatan(struct fp_env *e, struct f80 x, struct f80 y); /* atan(y/x) */
/* Each returns false when |a| >= 2^63: C2 is set and nothing happens. NULL: not wanted. */
bool f80_sincos(struct fp_env *e, struct f80 a, struct f80 *sine, struct f80 *cosine);
bool f80_tan(struct fp_env *e, struct f80 a, struct f80 *tangent);

/* FLDPI and friends: which is the low opcode byte minus 0xE8 (SDM 2A FLD1...), rounded by rc. */
struct f80 f80_constant(unsigned which, unsigned rc);

#endif
