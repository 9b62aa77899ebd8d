/* SPDX-License-Identifier: MIT */
/* Instructions on segment registers, descriptor-table registers and selectors: MOV, PUSH, POP, LDS-type
 * loads, LGDT to STR, LAR, LSL, VERR, VERW, ARPL. SDM 2A-2B; APM 3. */
#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/mem.h"
#include "cpu/segment.h"
#include "cpu/uop.h"

/* Bodies whose locals have addresses stay out of the handlers, which end in tail calls (engine.h). */
#define NOINLINE __attribute__((noinline))

/* Zero-extending write of a general register by operand size. */
static void write_gpr(struct cpu *c, unsigned n, uint32_t size, uint64_t v)
{
    if (size == 2)
        W16(n, v);
    else if (size == 4)
        W32(n, v);
    else
        W64(n, v);
}

/* A 16-bit selector operand, register or memory. */
static bool read_selector(struct cpu *c, const struct uop *u, uint16_t *sel)
{
    if (u->flags & UOP_MEM) return mem_read16(c, u_seg(u), u_ea(c, u), sel);
    *sel = R16(u->src);
    return true;
}

/* Selectors are stored as words; a register destination takes the operand size. */
static NOINLINE bool write_selector(struct cpu *c, const struct uop *u, uint16_t sel)
{
    if (u->flags & UOP_MEM) return mem_write16(c, u_seg(u), u_ea(c, u), sel);
    write_gpr(c, u->dst, u->size, sel);
    return true;
}

HANDLER_ALL(mov_from_sreg)
{
    if (u->src > SEG_GS) RAISE(VEC_UD);
    TRY(write_selector(c, u, c->s.seg[u->src].selector));
    NEXT;
}

/* MOV SS and POP SS hold events back for one instruction; of two in a row only the first does. */
static void shadow_after_ss(struct cpu *c)
{
    if (c->s.intr.movss_shadow)
        cpu_update_attention(c);
    else
        cpu_set_shadow(c, false, true);
}

static NOINLINE bool do_mov_to_sreg(struct cpu *c, const struct uop *u)
{
    uint16_t sel;
    if (u->dst > SEG_GS || u->dst == SEG_CS) return cpu_raise(c, VEC_UD);
    if (!read_selector(c, u, &sel) || !seg_load(c, u->dst, sel)) return false;
    if (u->dst == SEG_SS) shadow_after_ss(c);
    return true;
}
HANDLER_ALL(mov_to_sreg)
{
    TRY(do_mov_to_sreg(c, u));
    NEXT;
}

static NOINLINE bool push_selector(struct cpu *c, unsigned seg, uint32_t size)
{
    struct stack st = stack_current(c);
    if (!stack_push(c, &st, size, c->s.seg[seg].selector)) return false;
    stack_commit(c, &st);
    return true;
}
static NOINLINE bool pop_selector(struct cpu *c, unsigned seg, uint32_t size)
{
    struct stack st = stack_current(c);
    uint64_t v;
    if (!stack_pop(c, &st, size, &v) || !seg_load(c, seg, (uint16_t)v)) return false;
    stack_commit(c, &st);
    if (seg == SEG_SS) shadow_after_ss(c);
    return true;
}
#define PUSH_SEG(name, seg)                  \
    HANDLER_ALL(push_##name)                 \
    {                                        \
        TRY(push_selector(c, seg, u->size)); \
        NEXT;                                \
    }
#define POP_SEG(name, seg)                  \
    HANDLER_ALL(pop_##name)                 \
    {                                       \
        TRY(pop_selector(c, seg, u->size)); \
        NEXT;                               \
    }
PUSH_SEG(es, SEG_ES)
PUSH_SEG(cs, SEG_CS)
PUSH_SEG(ss, SEG_SS)
PUSH_SEG(ds, SEG_DS)
PUSH_SEG(fs, SEG_FS)
PUSH_SEG(gs, SEG_GS)
POP_SEG(es, SEG_ES)
POP_SEG(ss, SEG_SS)
POP_SEG(ds, SEG_DS)
POP_SEG(fs, SEG_FS)
POP_SEG(gs, SEG_GS)

static NOINLINE bool load_far_pointer(struct cpu *c, const struct uop *u, unsigned seg)
{
    unsigned as = u_asize(u);
    uint64_t mask = as == 2 ? ~UINT64_C(0) : as == 1 ? 0xffffffff : 0xffff;
    uint64_t off = 0, ea = u_ea(c, u);
    uint32_t d;
    uint16_t w, sel;
    if (u->size == 8) {
        if (!mem_read64(c, u_seg(u), ea, &off)) return false;
    } else if (u->size == 4) {
        if (!mem_read32(c, u_seg(u), ea, &d)) return false;
        off = d;
    } else {
        if (!mem_read16(c, u_seg(u), ea, &w)) return false;
        off = w;
    }
    if (!mem_read16(c, u_seg(u), (ea + u->size) & mask, &sel)) return false;
    if (!seg_load(c, seg, sel)) return false;
    write_gpr(c, u->dst, u->size, off);
    return true;
}
#define LOAD_POINTER(name, seg)           \
    HANDLER_ALL(name)                     \
    {                                     \
        TRY(load_far_pointer(c, u, seg)); \
        NEXT;                             \
    }
LOAD_POINTER(les, SEG_ES)
LOAD_POINTER(lds, SEG_DS)
LOAD_POINTER(lss, SEG_SS)
LOAD_POINTER(lfs, SEG_FS)
LOAD_POINTER(lgs, SEG_GS)

/* --- Descriptor-table registers ------------------------------------------------------------------------ */

/* #UD and CPL have been judged; UMIP comes before the intercept, memory faults after it. */
static NOINLINE bool intercepted(struct cpu *c, const struct uop *u, enum icpt id)
{
    struct icpt_info info = {0};
    if (!icpt_armed(c, id)) return false;
    info.insn = cpu_current_insn(c, u);
    info.size = u->size;
    if (u->flags & UOP_MEM) {
        info.flags = ICPT_F_MEM;
        info.address = u_ea(c, u);
        if (!in_64bit(c))
            info.address = (uint32_t)(info.address + c->s.seg[u_seg(u)].base);
        else if (u_seg(u) == SEG_FS || u_seg(u) == SEG_GS)
            info.address += c->s.seg[u_seg(u)].base;
    } else {
        info.gpr = u->dst;
    }
    cpu_flush_flags(c);
    return c->virt->insn(c, id, &info) == VIRT_EXITED;
}

static bool umip_denied(const struct cpu *c) { return (c->s.cr4 & CR4_UMIP) != 0 && c->s.cpl != 0; }

static uint64_t address_mask(const struct uop *u)
{
    unsigned as = u_asize(u);
    return as == 2 ? ~UINT64_C(0) : as == 1 ? 0xffffffff : 0xffff;
}

static NOINLINE bool store_table(struct cpu *c, const struct uop *u, const struct dt_reg *dt)
{
    uint64_t ea = u_ea(c, u), second = (ea + 2) & address_mask(u);
    uint32_t n = in_64bit(c) ? 8 : 4;
    if (!mem_probe_write(c, u_seg(u), ea, 2) || !mem_probe_write(c, u_seg(u), second, n)) return false;
    if (!mem_write16(c, u_seg(u), ea, (uint16_t)dt->limit)) return false;
    return n == 8 ? mem_write64(c, u_seg(u), second, dt->base)
                  : mem_write32(c, u_seg(u), second, (uint32_t)dt->base);
}

static NOINLINE bool load_table(struct cpu *c, const struct uop *u, struct dt_reg *dt)
{
    uint64_t ea = u_ea(c, u), second = (ea + 2) & address_mask(u), base;
    uint16_t limit;
    if (!mem_read16(c, u_seg(u), ea, &limit)) return false;
    if (in_64bit(c)) {
        if (!mem_read64(c, u_seg(u), second, &base)) return false;
        if (!lin_canonical(c, base)) return cpu_raise_error(c, VEC_GP, 0);
    } else {
        uint32_t d;
        if (!mem_read32(c, u_seg(u), second, &d)) return false;
        base = u->size == 2 ? d & 0xffffff : d;
    }
    dt->limit = limit;
    dt->base = base;
    return true;
}

#define STORE_TABLE(name, id, reg)                \
    HANDLER_ALL(name)                             \
    {                                             \
        if (umip_denied(c)) RAISE_ERR(VEC_GP, 0); \
        if (intercepted(c, u, ICPT_##id)) EXITED; \
        TRY(store_table(c, u, &c->s.reg));        \
        NEXT;                                     \
    }
#define LOAD_TABLE(name, id, reg)                 \
    HANDLER_ALL(name)                             \
    {                                             \
        if (intercepted(c, u, ICPT_##id)) EXITED; \
        TRY(load_table(c, u, &c->s.reg));         \
        NEXT;                                     \
    }
STORE_TABLE(sgdt, SGDT, gdtr)
STORE_TABLE(sidt, SIDT, idtr)
LOAD_TABLE(lgdt, LGDT, gdtr)
LOAD_TABLE(lidt, LIDT, idtr)

#define STORE_SELECTOR(name, id, seg_)                      \
    HANDLER_ALL(name)                                       \
    {                                                       \
        if (umip_denied(c)) RAISE_ERR(VEC_GP, 0);           \
        if (intercepted(c, u, ICPT_##id)) EXITED;           \
        TRY(write_selector(c, u, c->s.seg[seg_].selector)); \
        NEXT;                                               \
    }
STORE_SELECTOR(sldt, SLDT, SEG_LDTR)
STORE_SELECTOR(str, STR, SEG_TR)

static NOINLINE bool do_lldt(struct cpu *c, const struct uop *u)
{
    uint16_t sel;
    return read_selector(c, u, &sel) && seg_load_ldtr(c, sel, VEC_GP);
}
static NOINLINE bool do_ltr(struct cpu *c, const struct uop *u)
{
    uint16_t sel;
    return read_selector(c, u, &sel) && seg_load_tr(c, sel);
}
HANDLER_ALL(lldt)
{
    if (intercepted(c, u, ICPT_LLDT)) EXITED;
    TRY(do_lldt(c, u));
    NEXT;
}
HANDLER_ALL(ltr)
{
    if (intercepted(c, u, ICPT_LTR)) EXITED;
    TRY(do_ltr(c, u));
    NEXT;
}

/* --- Questions about selectors -------------------------------------------------------------------------- */

static void set_zf(struct cpu *c, bool zf)
{
    flags_load_oszapc(c, (flags_oszapc(c) & ~(uint32_t)FL_ZF) | (zf ? FL_ZF : 0));
}

/* System types that LAR and LSL accept, by bit; IA-32e mode knows fewer. SDM 2A tables 3-53 and 3-56 */
enum {
    LAR_TYPES = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 9 | 1 << 11 | 1 << 12,
    LAR_TYPES_LONG = 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12,
    LSL_TYPES = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 11,
    LSL_TYPES_LONG = 1 << 2 | 1 << 9 | 1 << 11
};

static bool visible(const struct cpu *c, uint16_t sel, const struct desc *d)
{
    if (desc_is_code(d) && desc_conforming(d)) return true;
    return desc_dpl(d) >= c->s.cpl && desc_dpl(d) >= sel_rpl(sel);
}

/* d: descriptor when *good. */
static bool examine(struct cpu *c, const struct uop *u, unsigned types, struct desc *d, bool *good)
{
    uint16_t sel;
    if (!read_selector(c, u, &sel) || !desc_probe(c, sel, d, good)) return false;
    if (*good && !desc_is_segment(d)) *good = (types >> desc_type(d) & 1) != 0;
    *good = *good && visible(c, sel, d);
    return true;
}

static NOINLINE bool do_lar(struct cpu *c, const struct uop *u)
{
    struct desc d;
    bool good;
    if (!examine(c, u, in_long_mode(c) ? LAR_TYPES_LONG : LAR_TYPES, &d, &good)) return false;
    if (good) write_gpr(c, u->dst, u->size, d.hi & 0xf0ff00);
    set_zf(c, good);
    return true;
}
static NOINLINE bool do_lsl(struct cpu *c, const struct uop *u)
{
    struct desc d;
    bool good;
    if (!examine(c, u, in_long_mode(c) ? LSL_TYPES_LONG : LSL_TYPES, &d, &good)) return false;
    if (good) write_gpr(c, u->dst, u->size, desc_limit(&d));
    set_zf(c, good);
    return true;
}
static NOINLINE bool do_ver(struct cpu *c, const struct uop *u, bool write)
{
    struct desc d;
    bool good;
    if (!examine(c, u, 0, &d, &good)) return false;
    if (good && write) good = desc_writable_data(&d);
    if (good && !write) good = !desc_is_code(&d) || (desc_type(&d) & TYPE_READABLE);
    set_zf(c, good);
    return true;
}
HANDLER_ALL(lar)
{
    TRY(do_lar(c, u));
    NEXT;
}
HANDLER_ALL(lsl)
{
    TRY(do_lsl(c, u));
    NEXT;
}
HANDLER_ALL(verr)
{
    TRY(do_ver(c, u, false));
    NEXT;
}
HANDLER_ALL(verw)
{
    TRY(do_ver(c, u, true));
    NEXT;
}

static NOINLINE bool do_arpl(struct cpu *c, const struct uop *u)
{
    uint64_t dst = R16(u->dst), src = R16(u->src);
    if ((u->flags & UOP_MEM) && !mem_rmw_read(c, u_seg(u), u_ea(c, u), 2, &dst)) return false;
    bool adjust = (dst & 3) < (src & 3);
    if (adjust) dst = (dst & ~UINT64_C(3)) | (src & 3);
    if (u->flags & UOP_MEM)
        mem_rmw_commit(c, 2, dst);
    else if (adjust)
        W16(u->dst, dst);
    set_zf(c, adjust);
    return true;
}
HANDLER_ALL(arpl)
{
    TRY(do_arpl(c, u));
    NEXT;
}
