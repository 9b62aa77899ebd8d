/* SPDX-License-Identifier: MIT */
/* RCPSS and RSQRTSS. The architecture only bounds the relative error by 1.5 * 2^-12; processors differ in
 * the bits. Ours is the exact value rounded to nearest at 12 significant bits (error below 2^-12), the
 * same on every host. Denormals count as zero, tiny results as zero, no flags. SDM 2B RCPPS, RSQRTPS. */
#include "cpu/fpu/fp.h"

uint32_t f32_rcp(uint32_t a)
{
    uint32_t s = a & 0x80000000, m = a & 0x7fffff;
    int exp = (int)(a >> 23 & 0xff);
    if (exp == 0xff) return m ? a | 0x400000 : s;
    if (exp == 0) return s | 0x7f800000;
    uint32_t d = m | 0x800000;
    uint32_t q = (uint32_t)(((UINT64_C(1) << 36) / d + 1) >> 1); /* 2^35 / d in (2^11, 2^12] */
    int rexp = 253 - exp;
    if (q >> 12) {
        q >>= 1;
        rexp++;
    }
    if (rexp <= 0) return s;
    return s | (uint32_t)rexp << 23 | (q & 0x7ff) << 12;
}

uint32_t f32_rsqrt(uint32_t a)
{
    uint32_t m = a & 0x7fffff;
    int exp = (int)(a >> 23 & 0xff);
    if (exp == 0xff && m) return a | 0x400000;
    if (exp == 0) return (a & 0x80000000) | 0x7f800000;
    if (a >> 31) return F32_DEFAULT_NAN;
    if (exp == 0xff) return 0;
    uint64_t d = m | 0x800000;
    int e = exp - 127;
    if (e & 1) d <<= 1; /* d / 2^23 in [1, 4) */
    /* The largest t with (2t - 1)^2 d <= 2^49 is 2^12 / sqrt(d / 2^23), rounded. */
    uint64_t t = 0;
    for (int b = 12; b >= 0; b--) {
        uint64_t k = t | UINT64_C(1) << b, o = 2 * k - 1;
        if (k <= 4096 && o * o * d <= UINT64_C(1) << 49) t = k;
    }
    int rexp = 126 - (e - (e & 1)) / 2;
    if (t >> 12) {
        t >>= 1;
        rexp++;
    }
    return (uint32_t)rexp << 23 | (uint32_t)(t & 0x7ff) << 12;
}
