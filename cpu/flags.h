/* SPDX-License-Identifier: MIT */
/* Lazy arithmetic flags: 16 bytes, no record of which instruction set them.
 *   result  the result, sign-extended from the operand size: ZF = result is 0, SF = bit 63
 *   aux     bit 63 CF, bit 62 carry into the top bit (OF = 63 xor 62), bit 3 AF,
 *           bits 15:8 xor-ed into the low result byte before PF, bit 16 xor-ed into SF
 * The last two let any combination be represented (POPF, shifts, compares). */
#ifndef UV_CPU_FLAGS_H
#define UV_CPU_FLAGS_H

#include "cpu/cpu.h"

#define LF_CF (UINT64_C(1) << 63)
#define LF_CIN (UINT64_C(1) << 62)
#define LF_AF (UINT64_C(1) << 3)
#define LF_SD (UINT64_C(1) << 16)

static inline bool flag_cf(const struct cpu *c) { return (int64_t)c->fl.aux < 0; }
static inline bool flag_of(const struct cpu *c) { return (int64_t)(c->fl.aux ^ c->fl.aux << 1) < 0; }
static inline bool flag_zf(const struct cpu *c) { return c->fl.result == 0; }
static inline bool flag_sf(const struct cpu *c) { return (c->fl.result >> 63 ^ (c->fl.aux >> 16 & 1)) != 0; }
static inline bool flag_pf(const struct cpu *c)
{
    return !__builtin_parity((uint8_t)(c->fl.result ^ c->fl.aux >> 8));
}
static inline bool flag_af(const struct cpu *c) { return (c->fl.aux & LF_AF) != 0; }

/* bits: 8, 16, 32, 64. a, b and r need not be truncated. */
static inline uint64_t flags_sext(unsigned bits, uint64_t v)
{
    return (uint64_t)((int64_t)(v << (64 - bits)) >> (64 - bits));
}
static inline void flags_add(struct cpu *c, unsigned bits, uint64_t a, uint64_t b, uint64_t r)
{
    uint64_t cv = (a & b) | ((a | b) & ~r);
    c->fl.result = flags_sext(bits, r);
    c->fl.aux = (cv << (64 - bits) & (LF_CF | LF_CIN)) | (cv & LF_AF);
}
static inline void flags_sub(struct cpu *c, unsigned bits, uint64_t a, uint64_t b, uint64_t r)
{
    uint64_t cv = (~a & b) | (~(a ^ b) & r);
    c->fl.result = flags_sext(bits, r);
    c->fl.aux = (cv << (64 - bits) & (LF_CF | LF_CIN)) | (cv & LF_AF);
}
static inline void flags_logic(struct cpu *c, unsigned bits, uint64_t r)
{
    c->fl.result = flags_sext(bits, r);
    c->fl.aux = 0;
}
static inline void flags_inc(struct cpu *c, unsigned bits, uint64_t a, uint64_t r)
{
    uint64_t cf = c->fl.aux & LF_CF;
    flags_add(c, bits, a, 1, r);
    cf ^= c->fl.aux & LF_CF; /* flip CF back and its neighbour with it: OF stays */
    c->fl.aux ^= cf | cf >> 1;
}
static inline void flags_dec(struct cpu *c, unsigned bits, uint64_t a, uint64_t r)
{
    uint64_t cf = c->fl.aux & LF_CF;
    flags_sub(c, bits, a, 1, r);
    cf ^= c->fl.aux & LF_CF; /* flip CF back and its neighbour with it: OF stays */
    c->fl.aux ^= cf | cf >> 1;
}

/* Single flags, others kept. */
static inline void flag_set_cf(struct cpu *c, bool v)
{
    bool of = flag_of(c);
    c->fl.aux &= ~(LF_CF | LF_CIN);
    c->fl.aux |= (v ? LF_CF : 0) | (v != of ? LF_CIN : 0);
}
static inline void flag_set_of(struct cpu *c, bool v)
{
    c->fl.aux = (c->fl.aux & ~LF_CIN) | (flag_cf(c) != v ? LF_CIN : 0);
}

/* From and to the OSZAPC bits of RFLAGS. */
static inline uint32_t flags_oszapc(const struct cpu *c)
{
    return (flag_cf(c) ? FL_CF : 0) | (flag_pf(c) ? FL_PF : 0) | (flag_af(c) ? FL_AF : 0) |
           (flag_zf(c) ? FL_ZF : 0) | (flag_sf(c) ? FL_SF : 0) | (flag_of(c) ? FL_OF : 0);
}
static inline void flags_load_oszapc(struct cpu *c, uint64_t f)
{
    bool cf = f & FL_CF, of = f & FL_OF;
    c->fl.result = f & FL_ZF ? 0 : 0x100;
    c->fl.aux = (cf ? LF_CF : 0) | (cf != of ? LF_CIN : 0) | (f & FL_AF ? LF_AF : 0) |
                (f & FL_PF ? 0 : 0x100) | (f & FL_SF ? LF_SD : 0);
}

#endif
