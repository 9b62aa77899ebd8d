/* SPDX-License-Identifier: MIT */
/* FXSAVE, FXRSTOR and the XSAVE family, standard and compacted. The init optimisation is a function of the
 * state alone (a component is in use when it differs from its initial configuration); the modified
 * optimisation is never applied. SDM 1 10.5, 13.4-13.13; SDM 2A FXSAVE, 2D XSAVE..XRSTORS. */
#include <string.h>

#include "cpu/vec.h"
#include "cpu/xstate.h"

enum {
    MXCSR_INIT = 0x1f80,
    FCW_INIT = 0x037f,
    AREA_MAX = 0xa88, /* end of the last component of xstate.def */
    HEADER = 512,     /* offset of the XSAVE header */
    HEADER_COMPACT = 63
};

struct xstate_row {
    uint8_t bit, align64, supervisor;
    uint16_t size, offset, feature;
};
static const struct xstate_row xstate_table[] = {
#define XSTATE(name, bit, size, offset, align64, supervisor, feature) \
    {bit, align64, supervisor, size, offset, feature},
#include "cpu/xstate.def"
#undef XSTATE
};
enum { XSTATE_ROWS = sizeof xstate_table / sizeof xstate_table[0] };

static uint64_t xstate_mask(const struct cpu *c, bool supervisor)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < XSTATE_ROWS; i++)
        if (xstate_table[i].supervisor == supervisor && has_feature(c, xstate_table[i].feature))
            mask |= UINT64_C(1) << xstate_table[i].bit;
    return mask;
}
uint64_t xstate_xcr0_mask(const struct cpu *c) { return xstate_mask(c, false); }
uint64_t xstate_xss_mask(const struct cpu *c) { return xstate_mask(c, true); }

/* Compacted: extended components follow the header in bit order (SDM 1 13.4.3). */
static uint32_t compacted_end(uint64_t mask, unsigned stop_bit)
{
    uint32_t at = XSAVE_AREA_BASE;
    for (unsigned i = 0; i < XSTATE_ROWS; i++) {
        const struct xstate_row *row = &xstate_table[i];
        if (row->bit < 2 || !(mask >> row->bit & 1)) continue;
        if (row->align64) at = (at + 63) & ~63u;
        if (row->bit == stop_bit) return at;
        at += row->size;
    }
    return at;
}
uint32_t xstate_offset(unsigned bit, uint64_t mask, bool compacted)
{
    if (compacted && bit >= 2) return compacted_end(mask, bit);
    for (unsigned i = 0; i < XSTATE_ROWS; i++)
        if (xstate_table[i].bit == bit) return xstate_table[i].offset;
    return 0;
}
uint32_t xstate_area_size(uint64_t mask, bool compacted)
{
    if (compacted) return compacted_end(mask, 64);
    uint32_t end = XSAVE_AREA_BASE;
    for (unsigned i = 0; i < XSTATE_ROWS; i++) {
        const struct xstate_row *row = &xstate_table[i];
        if (row->bit >= 2 && (mask >> row->bit & 1) && (uint32_t)row->offset + row->size > end)
            end = (uint32_t)row->offset + row->size;
    }
    return end;
}

/* Little-endian fields of an image. */
static inline void put(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}
static inline uint64_t get(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/* Outside 64-bit mode only XMM0-7 exist. */
static unsigned xmm_count(const struct cpu *c) { return in_64bit(c) ? 16 : 8; }

/* The legacy region's parts: x87 0-23 and 32-159, MXCSR and its mask 24-31, XMM from 160. */
static void image_put_x87(const struct cpu *c, uint8_t *image, bool wide)
{
    const struct fpu_state *f = &c->s.fpu;
    put(image, 2, f->cw);
    put(image + 2, 2, (uint64_t)((f->sw & ~0x3800) | (f->top & 7) << 11));
    put(image + 4, 2, f->tag);
    put(image + 6, 2, f->fop);
    put(image + 8, 8, wide ? f->fip : (uint32_t)f->fip | (uint64_t)f->fcs << 32);
    put(image + 16, 8, wide ? f->fdp : (uint32_t)f->fdp | (uint64_t)f->fds << 32);
    for (unsigned i = 0; i < 8; i++) {
        const struct f80 *st = &f->st[(f->top + i) & 7];
        put(image + 32 + 16 * i, 8, st->frac);
        put(image + 40 + 16 * i, 8, st->se);
    }
}
static void image_get_x87(struct cpu *c, const uint8_t *image, bool wide)
{
    struct fpu_state *f = &c->s.fpu;
    uint16_t sw = (uint16_t)get(image + 2, 2);
    f->cw = (uint16_t)((get(image, 2) & 0x1f3f) | 0x40);
    f->top = sw >> 11 & 7;
    /* ES and B follow from the flags and masks. */
    f->sw = sw & 0x477f;
    if (sw & ~f->cw & 0x3f) f->sw |= 0x8080;
    f->tag = image[4];
    f->fop = (uint16_t)(get(image + 6, 2) & 0x7ff);
    f->fip = get(image + 8, wide ? 8 : 4);
    f->fdp = get(image + 16, wide ? 8 : 4);
    f->fcs = wide ? 0 : (uint16_t)get(image + 12, 2);
    f->fds = wide ? 0 : (uint16_t)get(image + 20, 2);
    for (unsigned i = 0; i < 8; i++) {
        struct f80 *st = &f->st[(f->top + i) & 7];
        st->frac = get(image + 32 + 16 * i, 8);
        st->se = (uint16_t)get(image + 40 + 16 * i, 2);
    }
}
static void init_x87(struct cpu *c)
{
    struct fpu_state *f = &c->s.fpu;
    uint32_t mxcsr = f->mxcsr;
    memset(f, 0, sizeof *f);
    f->cw = FCW_INIT;
    f->mxcsr = mxcsr;
}
static void image_put_mxcsr(const struct cpu *c, uint8_t *image)
{
    put(image + 24, 4, c->s.fpu.mxcsr);
    put(image + 28, 4, mxcsr_valid_mask(c));
}
static void image_put_xmm(const struct cpu *c, uint8_t *image)
{
    for (unsigned i = 0; i < xmm_count(c); i++) {
        put(image + 160 + 16 * i, 8, c->s.vec[i].q[0]);
        put(image + 168 + 16 * i, 8, c->s.vec[i].q[1]);
    }
}
static void image_get_xmm(struct cpu *c, const uint8_t *image)
{
    for (unsigned i = 0; i < xmm_count(c); i++) {
        c->s.vec[i].q[0] = get(image + 160 + 16 * i, 8);
        c->s.vec[i].q[1] = get(image + 168 + 16 * i, 8);
    }
}
static void init_xmm(struct cpu *c)
{
    for (unsigned i = 0; i < xmm_count(c); i++)
        c->s.vec[i].q[0] = c->s.vec[i].q[1] = 0;
}

static bool x87_in_use(const struct cpu *c)
{
    const struct fpu_state *f = &c->s.fpu;
    if (f->cw != FCW_INIT || f->sw || f->top || f->tag || f->fop || f->fip || f->fdp || f->fcs || f->fds)
        return true;
    for (unsigned i = 0; i < 8; i++)
        if (f->st[i].frac || f->st[i].se) return true;
    return false;
}
static bool xmm_in_use(const struct cpu *c)
{
    for (unsigned i = 0; i < xmm_count(c); i++)
        if (c->s.vec[i].q[0] | c->s.vec[i].q[1]) return true;
    return false;
}
uint64_t xstate_in_use(const struct cpu *c)
{
    return (x87_in_use(c) ? 1u << XSTATE_X87 : 0) | (xmm_in_use(c) ? 1u << XSTATE_SSE : 0) |
           (c->s.pkru ? 1u << XSTATE_PKRU : 0);
}

static bool aligned(struct cpu *c, const struct uop *u, unsigned alignment)
{
    uint64_t ea = u_ea(c, u), base = c->s.seg[u_seg(u)].base;
    if (in_64bit(c) && u_seg(u) != SEG_FS && u_seg(u) != SEG_GS) base = 0;
    if (((ea + base) & (alignment - 1)) == 0) return true;
    return cpu_raise_error(c, VEC_GP, 0);
}
static bool write_part(struct cpu *c, const struct uop *u, const uint8_t *image, uint32_t from, uint32_t n)
{
    return mem_write_bytes(c, u_seg(u), u_ea(c, u) + from, image + from, n);
}

/* FXSAVE leaves the XMM registers out when CR4.OSFXSR is clear (with MXCSR), and with EFER.FFXSR at CPL 0
 * of 64-bit mode (APM 2 3.1.7 "Fast FXSAVE/FXRSTOR"). */
static bool fx_with_xmm(const struct cpu *c)
{
    return (c->s.cr4 & CR4_OSFXSR) && !((c->s.efer & EFER_FFXSR) && c->s.cpl == 0 && in_64bit(c));
}

VEC_HANDLER(fxsave)
{
    uint8_t image[512] = {0};
    if (!aligned(c, u, 16) || !mem_probe_write(c, u_seg(u), u_ea(c, u), sizeof image)) return false;
    image_put_x87(c, image, u->flags & UOP_REXW);
    if (!(c->s.cr4 & CR4_OSFXSR)) return write_part(c, u, image, 0, 24) && write_part(c, u, image, 32, 128);
    image_put_mxcsr(c, image);
    uint32_t end = 160;
    if (fx_with_xmm(c)) {
        image_put_xmm(c, image);
        end += 16 * xmm_count(c);
    }
    return write_part(c, u, image, 0, end);
}

VEC_HANDLER(fxrstor)
{
    uint8_t image[512];
    if (!aligned(c, u, 16) || !mem_read_bytes(c, u_seg(u), u_ea(c, u), image, sizeof image)) return false;
    uint32_t mxcsr = (uint32_t)get(image + 24, 4);
    bool sse = c->s.cr4 & CR4_OSFXSR;
    if (sse && (mxcsr & ~mxcsr_valid_mask(c))) return cpu_raise_error(c, VEC_GP, 0);
    image_get_x87(c, image, u->flags & UOP_REXW);
    if (sse) c->s.fpu.mxcsr = mxcsr;
    if (fx_with_xmm(c)) image_get_xmm(c, image);
    return true;
}

static bool xsave_enabled(struct cpu *c)
{
    if (!(c->s.cr4 & CR4_OSXSAVE)) return cpu_raise(c, VEC_UD);
    if (c->s.cr0 & CR0_TS) return cpu_raise(c, VEC_NM);
    return true;
}
static uint64_t requested(const struct cpu *c, bool supervisor)
{
    uint64_t edx_eax = (uint64_t)R32(RDX) << 32 | R32(RAX);
    return edx_eax & (c->s.xcr0 | (supervisor ? c->s.xss : 0));
}

/* One save for all forms. `store`: components written; `bv`: new XSTATE_BV. */
static bool save_components(struct cpu *c, const struct uop *u, uint64_t rfbm, uint64_t store, bool mxcsr,
                            bool compacted, uint64_t bv)
{
    uint8_t image[AREA_MAX] = {0};
    if (store >> XSTATE_X87 & 1) {
        image_put_x87(c, image, u->flags & UOP_REXW);
        if (!write_part(c, u, image, 0, 24) || !write_part(c, u, image, 32, 128)) return false;
    }
    if (mxcsr) {
        image_put_mxcsr(c, image);
        if (!write_part(c, u, image, 24, 8)) return false;
    }
    if (store >> XSTATE_SSE & 1) {
        image_put_xmm(c, image);
        if (!write_part(c, u, image, 160, 16 * xmm_count(c))) return false;
    }
    if (store >> XSTATE_PKRU & 1) {
        uint32_t at = xstate_offset(XSTATE_PKRU, rfbm, compacted);
        put(image + at, 8, c->s.pkru);
        if (!write_part(c, u, image, at, 8)) return false;
    }
    put(image + HEADER, 8, bv);
    put(image + HEADER + 8, 8, rfbm | UINT64_C(1) << HEADER_COMPACT);
    return write_part(c, u, image, HEADER, compacted ? 16 : 8);
}

static bool xsave_standard(struct cpu *c, const struct uop *u, bool optimise)
{
    if (!xsave_enabled(c) || !aligned(c, u, 64)) return false;
    uint64_t rfbm = requested(c, false), used = xstate_in_use(c), old_bv;
    uint32_t size = xstate_area_size(rfbm, false);
    if (!mem_probe_write(c, u_seg(u), u_ea(c, u), size)) return false;
    if (!mem_read64(c, u_seg(u), u_ea(c, u) + HEADER, &old_bv)) return false;
    return save_components(c, u, rfbm, optimise ? rfbm & used : rfbm, rfbm >> XSTATE_SSE & 1, false,
                           (old_bv & ~rfbm) | (rfbm & used));
}
VEC_HANDLER(xsave) { return xsave_standard(c, u, false); }
VEC_HANDLER(xsaveopt) { return xsave_standard(c, u, true); }

/* MXCSR belongs to the SSE component here: a value other than the initial one makes it in use. */
static bool xsave_compacted(struct cpu *c, const struct uop *u, uint64_t rfbm)
{
    if (!aligned(c, u, 64)) return false;
    uint64_t used = xstate_in_use(c);
    if (c->s.fpu.mxcsr != MXCSR_INIT) used |= 1u << XSTATE_SSE;
    uint64_t store = rfbm & used;
    if (!mem_probe_write(c, u_seg(u), u_ea(c, u), xstate_area_size(rfbm, true))) return false;
    return save_components(c, u, rfbm, store, store >> XSTATE_SSE & 1, true, store);
}
VEC_HANDLER(xsavec) { return xsave_enabled(c) && xsave_compacted(c, u, requested(c, false)); }

/* Loads or initialises every component of rfbm. image holds the legacy region and the header, pkru the
 * PKRU component when bv has it. Nothing here can fault. */
static void restore_components(struct cpu *c, const struct uop *u, const uint8_t *image, uint64_t rfbm,
                               uint64_t bv, uint32_t pkru)
{
    if (rfbm >> XSTATE_X87 & 1) {
        if (bv >> XSTATE_X87 & 1) {
            image_get_x87(c, image, u->flags & UOP_REXW);
        } else {
            init_x87(c);
        }
    }
    if (rfbm >> XSTATE_SSE & 1) {
        if (bv >> XSTATE_SSE & 1) {
            image_get_xmm(c, image);
        } else {
            init_xmm(c);
        }
    }
    if (rfbm >> XSTATE_PKRU & 1) {
        c->s.pkru = bv >> XSTATE_PKRU & 1 ? pkru : 0;
        mmu_update(c);
    }
}

static bool restore(struct cpu *c, const struct uop *u, bool supervisor)
{
    uint8_t image[XSAVE_AREA_BASE], extended[8] = {0};
    if (!aligned(c, u, 64) || !mem_read_bytes(c, u_seg(u), u_ea(c, u), image, sizeof image)) return false;
    uint64_t allowed = c->s.xcr0 | (supervisor ? c->s.xss : 0), rfbm = requested(c, supervisor);
    uint64_t bv = get(image + HEADER, 8), comp = get(image + HEADER + 8, 8);
    bool compacted = comp >> HEADER_COMPACT & 1;
    uint64_t format = comp & ~(UINT64_C(1) << HEADER_COMPACT), reserved = 0;

    /* SDM 1 13.8 and 13.12: malformed headers. */
    bool bad;
    if (compacted) {
        for (unsigned i = 16; i < 64; i += 8)
            reserved |= get(image + HEADER + i, 8);
        bad = !has_feature(c, FEAT_XSAVEC) || (format & ~allowed) || (bv & ~format) || reserved;
    } else {
        reserved = comp | get(image + HEADER + 16, 8);
        bad = supervisor || (bv & ~allowed) || reserved;
    }
    bool load_mxcsr = rfbm >> XSTATE_SSE & 1, mxcsr_init = compacted && !(bv >> XSTATE_SSE & 1);
    uint32_t mxcsr = mxcsr_init ? MXCSR_INIT : (uint32_t)get(image + 24, 4);
    if (bad || (load_mxcsr && (mxcsr & ~mxcsr_valid_mask(c)))) return cpu_raise_error(c, VEC_GP, 0);

    if (rfbm & bv & 1u << XSTATE_PKRU) {
        uint32_t at = xstate_offset(XSTATE_PKRU, format, compacted);
        if (!mem_read_bytes(c, u_seg(u), u_ea(c, u) + at, extended, sizeof extended)) return false;
    }
    if (load_mxcsr) c->s.fpu.mxcsr = mxcsr;
    restore_components(c, u, image, rfbm, bv, (uint32_t)get(extended, 4));
    return true;
}
VEC_HANDLER(xrstor) { return xsave_enabled(c) && restore(c, u, false); }

/* XSAVES and XRSTORS: CPL 0, and the context may intercept by the components asked for. */
static enum virt_verdict supervisor_intercept(struct cpu *c, const struct uop *u, enum icpt id)
{
    if (!icpt_armed(c, id)) return VIRT_CONTINUE;
    cpu_flush_flags(c);
    struct icpt_info info = {.insn = cpu_current_insn(c, u),
                             .value = (uint64_t)R32(RDX) << 32 | R32(RAX),
                             .address = u_ea(c, u),
                             .flags = ICPT_F_MEM};
    return c->virt->insn(c, id, &info);
}
static bool supervisor_allowed(struct cpu *c)
{
    if (!(c->s.cr4 & CR4_OSXSAVE)) return cpu_raise(c, VEC_UD);
    if (c->s.cpl != 0) return cpu_raise_error(c, VEC_GP, 0);
    return true;
}
static bool xsaves_body(struct cpu *c, const struct uop *u)
{
    return xsave_enabled(c) && xsave_compacted(c, u, requested(c, true));
}
HANDLER_ALL(xsaves)
{
    TRY(supervisor_allowed(c));
    if (supervisor_intercept(c, u, ICPT_XSAVES) == VIRT_EXITED) EXITED;
    TRY(xsaves_body(c, u));
    NEXT;
}
static bool xrstors_body(struct cpu *c, const struct uop *u)
{
    return xsave_enabled(c) && restore(c, u, true);
}
HANDLER_ALL(xrstors)
{
    TRY(supervisor_allowed(c));
    if (supervisor_intercept(c, u, ICPT_XRSTORS) == VIRT_EXITED) EXITED;
    TRY(xrstors_body(c, u));
    NEXT;
}
