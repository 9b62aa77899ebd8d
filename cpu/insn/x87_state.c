/* SPDX-License-Identifier: MIT */
/* x87 control: FNINIT, FNCLEX, FLDCW, FNSTCW, FNSTSW, FLDENV, FNSTENV, FRSTOR, FNSAVE, FWAIT.
 * The environment has four formats: 16/32-bit operand size, and real/virtual-8086 or protected mode
 * (SDM 1 8.1.10, figures 8-9 to 8-12); 64-bit mode uses the 32-bit protected one. */
#include "cpu/insn/x87.h"

void x87_init(struct cpu *c)
{
    struct fpu_state *f = &c->s.fpu;
    f->cw = CW_INIT;
    f->sw = 0;
    f->top = 0;
    f->tag = 0;
    f->fop = f->fcs = f->fds = 0;
    f->fip = f->fdp = 0;
}

static uint16_t status_word(const struct cpu *c) { return (uint16_t)(c->s.fpu.sw | c->s.fpu.top << 11); }
static void load_status(struct cpu *c, uint16_t v)
{
    c->s.fpu.sw = v & (uint16_t)~SW_TOP;
    c->s.fpu.top = v >> 11 & 7;
    x87_update_es(c);
}
static void load_control(struct cpu *c, uint16_t v)
{
    c->s.fpu.cw = (v & CW_WRITABLE) | CW_FIXED;
    x87_update_es(c);
}

/* Two bits a physical register: valid 0, zero 1, special 2, empty 3 (SDM 1 8.1.7). */
static uint16_t tag_word(const struct cpu *c)
{
    const struct fpu_state *f = &c->s.fpu;
    unsigned w = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned exp = f->st[i].se & 0x7fff, t;
        if (!(f->tag >> i & 1))
            t = 3;
        else if (exp == 0 && f->st[i].frac == 0)
            t = 1;
        else if (exp == 0 || exp == 0x7fff || !(f->st[i].frac >> 63))
            t = 2;
        else
            t = 0;
        w |= t << 2 * i;
    }
    return (uint16_t)w;
}
static void load_tags(struct cpu *c, uint16_t w)
{
    c->s.fpu.tag = 0;
    for (unsigned i = 0; i < 8; i++)
        if ((w >> 2 * i & 3) != 3) c->s.fpu.tag |= (uint8_t)(1u << i);
}

static void put(uint8_t *b, unsigned n, uint32_t v)
{
    for (unsigned i = 0; i < n; i++)
        b[i] = (uint8_t)(v >> 8 * i);
}
static uint32_t get(const uint8_t *b, unsigned n)
{
    uint32_t v = 0;
    for (unsigned i = n; i-- > 0;)
        v = v << 8 | b[i];
    return v;
}

/* Returns the size of the image. */
static unsigned environment_put(const struct cpu *c, bool wide, uint8_t b[28])
{
    const struct fpu_state *f = &c->s.fpu;
    uint32_t ip = (uint32_t)f->fip, dp = (uint32_t)f->fdp;
    unsigned w = wide ? 4 : 2;
    uint32_t ones = wide ? 0xffff0000 : 0;
    put(b, w, ones | f->cw);
    put(b + w, w, ones | status_word(c));
    put(b + 2 * w, w, ones | tag_word(c));
    if (in_protected(c)) {
        put(b + 3 * w, w, ip);
        put(b + 4 * w, w, f->fcs | (wide ? (uint32_t)f->fop << 16 : 0));
        put(b + 5 * w, w, dp);
        put(b + 6 * w, w, ones | f->fds);
    } else {
        ip += (uint32_t)f->fcs << 4;
        dp += (uint32_t)f->fds << 4;
        uint32_t high = wide ? 0xffff : 0xf; /* 32-bit or 20-bit linear address */
        put(b + 3 * w, w, ones | (ip & 0xffff));
        put(b + 4 * w, w, (ip >> 16 & high) << 12 | f->fop);
        put(b + 5 * w, w, ones | (dp & 0xffff));
        put(b + 6 * w, w, (dp >> 16 & high) << 12);
    }
    return 7 * w;
}
static void environment_get(struct cpu *c, bool wide, const uint8_t b[28])
{
    struct fpu_state *f = &c->s.fpu;
    unsigned w = wide ? 4 : 2;
    load_tags(c, (uint16_t)get(b + 2 * w, 2));
    uint32_t i0 = get(b + 3 * w, w), i1 = get(b + 4 * w, w), d0 = get(b + 5 * w, w), d1 = get(b + 6 * w, w);
    if (in_protected(c)) {
        f->fip = i0;
        f->fcs = (uint16_t)i1;
        f->fop = wide ? i1 >> 16 & 0x7ff : 0;
        f->fdp = d0;
        f->fds = (uint16_t)d1;
    } else {
        f->fip = (i0 & 0xffff) | (i1 >> 12 & 0xffff) << 16;
        f->fdp = (d0 & 0xffff) | (d1 >> 12 & 0xffff) << 16;
        f->fop = i1 & 0x7ff;
        f->fcs = f->fds = 0;
    }
    c->s.fpu.cw = ((uint16_t)get(b, 2) & CW_WRITABLE) | CW_FIXED;
    load_status(c, (uint16_t)get(b + w, 2));
}

X87_INSN(fninit)
{
    x87_init(c);
    return true;
}
X87_INSN(fnclex)
{
    c->s.fpu.sw &= (uint16_t) ~(FP_ALL | SW_SF | SW_ES | SW_B);
    return true;
}
X87_INSN(fldcw)
{
    uint16_t v;
    if (!mem_read16(c, u_seg(u), u_ea(c, u), &v)) return false;
    load_control(c, v);
    return true;
}
X87_INSN(fnstcw)
{
    if (!mem_write16(c, u_seg(u), u_ea(c, u), c->s.fpu.cw)) return false;
    return true;
}
X87_INSN(fnstsw_m16)
{
    if (!mem_write16(c, u_seg(u), u_ea(c, u), status_word(c))) return false;
    return true;
}
X87_INSN(fnstsw_ax)
{
    W16(RAX, status_word(c));
    return true;
}
X87_INSN(fldenv)
{
    uint8_t b[28];
    bool wide = u->size != 2;
    if (!mem_read_bytes(c, u_seg(u), u_ea(c, u), b, wide ? 28 : 14)) return false;
    environment_get(c, wide, b);
    return true;
}
X87_INSN(fnstenv)
{
    uint8_t b[28];
    unsigned n = environment_put(c, u->size != 2, b);
    if (!mem_write_bytes(c, u_seg(u), u_ea(c, u), b, n)) return false;
    c->s.fpu.cw |= FP_ALL; /* the handler that saves the environment must not fault again */
    x87_update_es(c);
    return true;
}
X87_INSN(frstor)
{
    uint8_t b[108];
    bool wide = u->size != 2;
    unsigned n = wide ? 28 : 14;
    if (!mem_read_bytes(c, u_seg(u), u_ea(c, u), b, n + 80)) return false;
    environment_get(c, wide, b);
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *r = b + n + 10 * i;
        *x87_st(c, i) = f80_make(get(r + 8, 2), get(r, 4) | (uint64_t)get(r + 4, 4) << 32);
    }
    return true;
}
X87_INSN(fnsave)
{
    uint8_t b[108];
    unsigned n = environment_put(c, u->size != 2, b);
    for (unsigned i = 0; i < 8; i++)
        x87_put_f80(b + n + 10 * i, *x87_st(c, i));
    if (!mem_write_bytes(c, u_seg(u), u_ea(c, u), b, n + 80)) return false;
    x87_init(c);
    return true;
}
/* Asks CR0.MP and TS instead of EM and TS, then waits for the pending exception (SDM 2A WAIT). With CR0.NE
 * clear the exception is FERR#'s business and the instruction completes. */
X87_INSN(fwait)
{
    if ((c->s.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) return cpu_raise(c, VEC_NM);
    if (c->s.fpu.sw & SW_ES) {
        if (c->s.cr0 & CR0_NE) return cpu_raise(c, VEC_MF);
        if (c->bus->ferr) c->bus->ferr(c->bus->opaque, c->id);
    }
    return true;
}
