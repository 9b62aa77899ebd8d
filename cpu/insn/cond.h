/* SPDX-License-Identifier: MIT */
/* The sixteen conditions of Jcc, SETcc and CMOVcc. SDM 1 appendix B. */
#ifndef UV_CPU_INSN_COND_H
#define UV_CPU_INSN_COND_H

#include "cpu/flags.h"

static inline __attribute__((always_inline)) bool condition(const struct cpu *c, unsigned cc)
{
    bool v;
    switch (cc >> 1) {
    case 0: v = flag_of(c); break;
    case 1: v = flag_cf(c); break;
    case 2: v = flag_zf(c); break;
    case 3: v = flag_cf(c) || flag_zf(c); break;
    case 4: v = flag_sf(c); break;
    case 5: v = flag_pf(c); break;
    case 6: v = flag_sf(c) != flag_of(c); break;
    default: v = flag_zf(c) || flag_sf(c) != flag_of(c); break;
    }
    return v != (cc & 1);
}

/* X(condition code, mnemonic suffix) */
/* clang-format off */
#define FOR_CONDITIONS(X)                                                                  \
    X(0, o) X(1, no) X(2, b) X(3, ae) X(4, e) X(5, ne) X(6, be) X(7, a)                    \
    X(8, s) X(9, ns) X(10, p) X(11, np) X(12, l) X(13, ge) X(14, le) X(15, g)
/* clang-format on */

/* Flags that a condition reads. */
#define CONDITION_FLAGS(cc)      \
    ((cc) < 2    ? FL_OF         \
     : (cc) < 4  ? FL_CF         \
     : (cc) < 6  ? FL_ZF         \
     : (cc) < 8  ? FL_CF | FL_ZF \
     : (cc) < 10 ? FL_SF         \
     : (cc) < 12 ? FL_PF         \
     : (cc) < 14 ? FL_SF | FL_OF \
                 : FL_SF | FL_OF | FL_ZF)

#endif
