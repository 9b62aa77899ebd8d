/* SPDX-License-Identifier: MIT */
/* ROL ROR RCL RCR SHL SHR SAR, SHLD SHRD. Counts are masked to 5 (6 with 64-bit operands) bits; a count of
 * zero changes no flag. Undefined flags follow what Intel processors do: OF of a multi-bit shift as for
 * the last bit shifted. SDM 2B. */
#include "cpu/flags.h"
#include "cpu/insn/flat.h"

struct shifted {
    uint64_t r;
    bool cf, of, set; /* set: SF ZF PF from the result, AF cleared */
    bool none;        /* count zero: flags stay */
};

/* a is truncated to bits; count already masked. */
static inline struct shifted shift_value(unsigned op, unsigned bits, uint64_t a, unsigned count, bool cf_in)
{
    struct shifted s = {.r = a, .cf = cf_in};
    const unsigned top = bits - 1;
    const uint64_t mask = ~UINT64_C(0) >> (64 - bits);
    unsigned n;
    if (count == 0) {
        s.none = true;
        return s;
    }
    switch (op) {
    case 0: /* ROL */
        n = count & top;
        if (n) s.r = (a << n | a >> (bits - n)) & mask;
        s.cf = s.r & 1;
        s.of = (s.r >> top & 1) != s.cf;
        break;
    case 1: /* ROR */
        n = count & top;
        if (n) s.r = (a >> n | a << (bits - n)) & mask;
        s.cf = s.r >> top & 1;
        s.of = (s.r >> top & 1) != (s.r >> (top - 1) & 1);
        break;
    case 2: /* RCL: through CF, modulo bits + 1 */
        for (n = count % (bits + 1); n; n--) {
            bool out = s.r >> top & 1;
            s.r = (s.r << 1 | s.cf) & mask;
            s.cf = out;
        }
        s.of = (s.r >> top & 1) != s.cf;
        break;
    case 3: /* RCR */
        for (n = count % (bits + 1); n; n--) {
            bool out = s.r & 1;
            s.r = s.r >> 1 | (uint64_t)s.cf << top;
            s.cf = out;
        }
        s.of = (s.r >> top & 1) != (s.r >> (top - 1) & 1);
        break;
    case 4:
    case 6: /* SHL, and its undocumented alias */
        s.cf = count <= bits ? a >> (bits - count) & 1 : 0;
        s.r = count < bits ? a << count & mask : 0;
        s.of = (s.r >> top & 1) != s.cf;
        s.set = true;
        break;
    case 5: /* SHR */
        s.cf = count <= bits ? a >> (count - 1) & 1 : 0;
        s.r = count < bits ? a >> count : 0;
        s.of = count == 1 ? a >> top & 1 : (s.r << 1 ^ s.r) >> top & 1;
        s.set = true;
        break;
    default: { /* SAR */
        int64_t v = (int64_t)(a << (64 - bits)) >> (64 - bits);
        n = count < bits ? count : top;
        s.cf = count <= top ? v >> (count - 1) & 1 : v < 0;
        s.r = (uint64_t)(v >> n) & mask;
        s.of = false;
        s.set = true;
        break;
    }
    }
    return s;
}

static inline void shift_flags(struct cpu *c, unsigned bits, struct shifted s)
{
    if (s.none) return;
    if (s.set) {
        flags_logic(c, bits, s.r);
        c->fl.aux = (s.cf ? LF_CF : 0) | (s.cf != s.of ? LF_CIN : 0);
    } else {
        c->fl.aux = (c->fl.aux & ~(LF_CF | LF_CIN)) | (s.cf ? LF_CF : 0) | (s.cf != s.of ? LF_CIN : 0);
    }
}

#define COUNT(bits, v) ((unsigned)(v) & (bits == 64 ? 63 : 31))
#define SHIFT_FORMS(name, op, bits, count, via)                                                    \
    static HANDLER(name##_r##via##bits)                                                            \
    {                                                                                              \
        struct shifted s = shift_value(op, bits, R##bits(u->dst), COUNT(bits, count), flag_cf(c)); \
        shift_flags(c, bits, s);                                                                   \
        W##bits(u->dst, (uint##bits##_t)s.r);                                                      \
        NEXT;                                                                                      \
    }                                                                                              \
    static HANDLER(name##_m##via##bits)                                                            \
    {                                                                                              \
        uint64_t a;                                                                                \
        TRY(MEM_RMW(bits, &a));                                                                    \
        struct shifted s = shift_value(op, bits, a, COUNT(bits, count), flag_cf(c));               \
        shift_flags(c, bits, s);                                                                   \
        mem_rmw_commit(c, bits / 8, s.r);                                                          \
        NEXT;                                                                                      \
    }
/* By CL (second operand CL) and by an immediate or 1. */
#define SHIFT4(name, op, count, via)      \
    SHIFT_FORMS(name, op, 8, count, via)  \
    SHIFT_FORMS(name, op, 16, count, via) \
    SHIFT_FORMS(name, op, 32, count, via) \
    SHIFT_FORMS(name, op, 64, count, via)
#define SHIFT_SET(name, in, out, n)                                   \
    const struct uop_set uset_##name = {.fn = {BY_SIZE(name##_rcl, ), \
                                               BY_SIZE(name##_ri, ),  \
                                               {NULL},                \
                                               BY_SIZE(name##_mcl, ), \
                                               BY_SIZE(name##_mi, )}, \
                                        .noflags = n,                 \
                                        .reads = in,                  \
                                        .writes = out,                \
                                        .shift = 1,                   \
                                        .flags_known = 1};
#define SHIFT(name, op, in)     \
    SHIFT4(name, op, R8(8), cl) \
    SHIFT4(name, op, u->imm, i) \
    SHIFT_SET(name, in, 0, NULL)
SHIFT(rol, 0, 0)
SHIFT(ror, 1, 0)
SHIFT(rcl, 2, FL_CF)
SHIFT(rcr, 3, FL_CF)

/* Dead flags: register by an immediate count that is not 0 and below the operand size. */
#define SHIFT_PLAIN(name, bits, expr)            \
    static HANDLER(name##_n##bits)               \
    {                                            \
        uint##bits##_t a = R##bits(u->dst);      \
        unsigned n = COUNT(bits, u->imm);        \
        W##bits(u->dst, (uint##bits##_t)(expr)); \
        NEXT;                                    \
    }
#define SHIFT_LOGIC(name, op, expr32, expr64)                           \
    SHIFT4(name, op, R8(8), cl)                                         \
    SHIFT4(name, op, u->imm, i)                                         \
    SHIFT_PLAIN(name, 32, expr32)                                       \
    SHIFT_PLAIN(name, 64, expr64)                                       \
    static const struct uop_set uset_##name##_n = {                     \
        .fn[FORM_RI] = {NULL, NULL, op_##name##_n32, op_##name##_n64}}; \
    SHIFT_SET(name, 0, FL_OSZAPC, &uset_##name##_n)
SHIFT_LOGIC(shr, 5, a >> n, a >> n)
SHIFT_LOGIC(sar, 7, (int32_t)a >> n, (int64_t)a >> n)
SHIFT_LOGIC(shl, 4, a << n, a << n)

/* SHLD, SHRD. With 16-bit operands and a count over 16 the result is undefined; processors shift the
 * three words dst:src:dst (SHLD) as one. */
static inline struct shifted double_shift(bool left, unsigned bits, uint64_t a, uint64_t b, unsigned count)
{
    struct shifted s = {.r = a};
    const unsigned top = bits - 1;
    const uint64_t mask = ~UINT64_C(0) >> (64 - bits);
    if (count == 0) {
        s.none = true;
        return s;
    }
    s.set = true;
    if (bits == 16) {
        uint64_t wide;
        if (left) {
            wide = a << 32 | b << 16 | a;
            s.r = wide >> (32 - count) & mask;
            s.cf = wide >> (48 - count) & 1;
        } else {
            wide = a << 32 | b << 16 | a;
            s.r = wide >> count & mask;
            s.cf = wide >> (count - 1) & 1;
        }
    } else if (left) {
        s.r = (a << count | b >> (bits - count)) & mask;
        s.cf = a >> (bits - count) & 1;
    } else {
        s.r = (a >> count | b << (bits - count)) & mask;
        s.cf = a >> (count - 1) & 1;
    }
    /* Sign change of the last single-bit step. */
    s.of = left ? (s.r >> top & 1) != s.cf : (s.r >> top & 1) != (s.r >> (top - 1) & 1);
    return s;
}

#define DOUBLE(name, left, bits, count, via)                                                               \
    static HANDLER(name##_r##via##bits)                                                                    \
    {                                                                                                      \
        struct shifted s = double_shift(left, bits, R##bits(u->dst), R##bits(u->src), COUNT(bits, count)); \
        shift_flags(c, bits, s);                                                                           \
        W##bits(u->dst, (uint##bits##_t)s.r);                                                              \
        NEXT;                                                                                              \
    }                                                                                                      \
    static HANDLER(name##_m##via##bits)                                                                    \
    {                                                                                                      \
        uint64_t a;                                                                                        \
        TRY(MEM_RMW(bits, &a));                                                                            \
        struct shifted s = double_shift(left, bits, a, R##bits(u->src), COUNT(bits, count));               \
        shift_flags(c, bits, s);                                                                           \
        mem_rmw_commit(c, bits / 8, s.r);                                                                  \
        NEXT;                                                                                              \
    }
#define DOUBLE_SET(name, left)                                                        \
    DOUBLE(name, left, 16, R8(8), cl)                                                 \
    DOUBLE(name, left, 32, R8(8), cl)                                                 \
    DOUBLE(name, left, 64, R8(8), cl)                                                 \
    DOUBLE(name, left, 16, u->imm, i)                                                 \
    DOUBLE(name, left, 32, u->imm, i)                                                 \
    DOUBLE(name, left, 64, u->imm, i)                                                 \
    const struct uop_set uset_##name##_cl = {.fn[FORM_RR] = BY_SIZE_V(name##_rcl, ),  \
                                             .fn[FORM_MR] = BY_SIZE_V(name##_mcl, )}; \
    const struct uop_set uset_##name##_i = {.fn[FORM_RR] = BY_SIZE_V(name##_ri, ),    \
                                            .fn[FORM_MR] = BY_SIZE_V(name##_mi, )};
DOUBLE_SET(shld, true)
DOUBLE_SET(shrd, false)
