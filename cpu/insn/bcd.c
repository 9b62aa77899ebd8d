/* SPDX-License-Identifier: MIT */
/* AAA AAS AAM AAD DAA DAS. SDM 2A; undefined flags as the Intel processors leave them. */
#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/uop.h"

static void bcd_flags(struct cpu *c, bool cf, bool af)
{
    flags_logic(c, 8, R8(0));
    c->fl.aux = (cf ? LF_CF | LF_CIN : 0) | (af ? LF_AF : 0);
}

HANDLER_ALL(aaa)
{
    bool adjust = (R8(0) & 15) > 9 || flag_af(c);
    if (adjust) W16(RAX, R16(RAX) + 0x106);
    W8(0, R8(0) & 15);
    bcd_flags(c, adjust, adjust);
    NEXT;
}
HANDLER_ALL(aas)
{
    bool adjust = (R8(0) & 15) > 9 || flag_af(c);
    if (adjust) W16(RAX, R16(RAX) - 0x106);
    W8(0, R8(0) & 15);
    bcd_flags(c, adjust, adjust);
    NEXT;
}
HANDLER_ALL(daa)
{
    uint8_t al = R8(0);
    bool af = (al & 15) > 9 || flag_af(c), cf = al > 0x99 || flag_cf(c);
    W8(0, (uint8_t)(al + (af ? 6 : 0) + (cf ? 0x60 : 0)));
    bcd_flags(c, cf, af);
    NEXT;
}
HANDLER_ALL(das)
{
    uint8_t al = R8(0);
    bool af = (al & 15) > 9 || flag_af(c), cf = al > 0x99 || flag_cf(c);
    bool borrow = af && al < 6; /* of the low adjustment alone */
    W8(0, (uint8_t)(al - (af ? 6 : 0) - (cf ? 0x60 : 0)));
    bcd_flags(c, cf || borrow, af);
    NEXT;
}
HANDLER_ALL(aam)
{
    uint8_t base = (uint8_t)u->imm, al = R8(0);
    if (base == 0) RAISE(VEC_DE);
    W16(RAX, (uint16_t)(al / base << 8 | al % base));
    bcd_flags(c, false, false);
    NEXT;
}
HANDLER_ALL(aad)
{
    W16(RAX, (uint8_t)(R8(0) + R8(1) * (uint8_t)u->imm));
    bcd_flags(c, false, false);
    NEXT;
}
