/* SPDX-License-Identifier: MIT */
/* Packed decimal of FBLD and FBSTP: 18 digits, sign in bit 79. SDM 1 4.7, 8.1.2; 2A FBLD, FBSTP. */
#include "cpu/fpu/fp_core.h"

struct f80 f80_from_bcd(const uint8_t bcd[10])
{
    uint64_t v = 0;
    for (int i = 8; i >= 0; i--)
        v = v * 100 + (bcd[i] >> 4) * 10u + (bcd[i] & 15);
    struct f80 r = int_to_f80((int64_t)v); /* at most 15 * (10^18 - 1) / 9: below 2^63 */
    r.se |= (uint16_t)((bcd[9] & 0x80) << 8);
    return r;
}

void f80_to_bcd(struct fp_env *e, struct f80 a, uint8_t bcd[10])
{
    struct fp_env t = *e;
    t.flags = 0;
    int64_t i = f80_to_int(&t, a, 64, e->rc);
    uint64_t v = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    if ((t.flags & FP_IE) || v >= UINT64_C(1000000000000000000)) {
        /* packed decimal indefinite */
        e->flags |= FP_IE;
        e->round_up = false;
        for (int k = 0; k < 7; k++)
            bcd[k] = 0;
        bcd[7] = 0xc0;
        bcd[8] = bcd[9] = 0xff;
        return;
    }
    e->flags |= t.flags;
    e->round_up = t.round_up;
    for (int k = 0; k < 9; k++, v /= 100)
        bcd[k] = (uint8_t)((v / 10 % 10) << 4 | v % 10);
    bcd[9] = a.se >> 15 ? 0x80 : 0;
}
