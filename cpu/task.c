/* SPDX-License-Identifier: MIT */
/* Hardware task switch (16- and 32-bit TSS), the I/O permission map and the interrupt redirection map of a
 * TSS. SDM 3A ch. 7, SDM 1 19.5, SDM 3B 21.3; APM 2 ch. 12. */
#include <string.h>

#include "cpu/event.h"
#include "cpu/far.h"
#include "cpu/mem.h"

/* Offsets in the two formats, SDM 3A figures 7-2 and 7-10. */
struct tss_layout {
    uint8_t word;      /* bytes of a general register */
    uint8_t ip, flags; /* both as wide as a register */
    uint8_t gpr;       /* EAX ... EDI in order */
    uint8_t seg;       /* ES CS SS DS [FS GS] */
    uint8_t seg_step, seg_count;
    uint8_t ldt;
    uint8_t end; /* bytes used */
};
static const struct tss_layout layout16 = {2, 0x0e, 0x10, 0x12, 0x22, 2, 4, 0x2a, 0x2c};
static const struct tss_layout layout32 = {4, 0x20, 0x24, 0x28, 0x48, 4, 6, 0x60, 0x68};

static const struct tss_layout *layout_of(unsigned type) { return type & 8 ? &layout32 : &layout16; }

struct tss_image {
    uint64_t cr3, ip, flags, gpr[8];
    uint16_t seg[6], ldt;
    bool trap;
};

static bool tss_read(struct cpu *c, uint64_t base, uint32_t at, uint32_t size, uint64_t *v)
{
    return lin_read(c, (uint32_t)(base + at), size, true, v);
}
static bool tss_write(struct cpu *c, uint64_t base, uint32_t at, uint32_t size, uint64_t v)
{
    return lin_write(c, (uint32_t)(base + at), size, true, v);
}

static bool read_image(struct cpu *c, uint64_t base, const struct tss_layout *l, struct tss_image *t)
{
    uint64_t v = 0;
    memset(t, 0, sizeof *t);
    if (l->word == 4 && !tss_read(c, base, 0x1c, 4, &t->cr3)) return false;
    if (!tss_read(c, base, l->ip, l->word, &t->ip) || !tss_read(c, base, l->flags, l->word, &t->flags))
        return false;
    for (unsigned i = 0; i < 8; i++)
        if (!tss_read(c, base, l->gpr + i * l->word, l->word, &t->gpr[i])) return false;
    for (unsigned i = 0; i < l->seg_count; i++) {
        if (!tss_read(c, base, l->seg + i * l->seg_step, 2, &v)) return false;
        t->seg[i] = (uint16_t)v;
    }
    if (!tss_read(c, base, l->ldt, 2, &v)) return false;
    t->ldt = (uint16_t)v;
    if (l->word == 4 && !tss_read(c, base, 0x64, 2, &v)) return false;
    t->trap = l->word == 4 && (v & 1);
    return true;
}

static bool save_old(struct cpu *c, const struct tss_layout *l, const struct task_switch *t)
{
    uint64_t base = c->s.seg[SEG_TR].base;
    if (!tss_write(c, base, l->ip, l->word, t->rip) || !tss_write(c, base, l->flags, l->word, t->rflags))
        return false;
    for (unsigned i = 0; i < 8; i++)
        if (!tss_write(c, base, l->gpr + i * l->word, l->word, c->s.gpr[i])) return false;
    for (unsigned i = 0; i < l->seg_count; i++)
        if (!tss_write(c, base, l->seg + i * l->seg_step, 2, c->s.seg[i].selector)) return false;
    return true;
}

/* Selectors first, as unusable registers: a fault while one of them is checked finds the others loaded
 * with their selectors only. */
static void load_selectors(struct cpu *c, const struct tss_image *t, bool v86)
{
    for (unsigned i = 0; i < 6; i++) {
        struct seg_reg s =
            v86 ? seg_v86(t->seg[i]) : (struct seg_reg){.selector = t->seg[i], .ar = AR_UNUSABLE};
        if (i == SEG_CS && !v86) s.ar = c->s.seg[SEG_CS].ar;
        if (i == SEG_SS && !v86) s.ar |= (uint32_t)sel_rpl(t->seg[SEG_CS]) << AR_DPL_SHIFT;
        seg_set(c, i, &s);
    }
    struct seg_reg ldt = {.selector = t->ldt, .ar = AR_UNUSABLE | AR_P | SYS_LDT};
    seg_set(c, SEG_LDTR, &ldt);
}

static bool load_code(struct cpu *c, uint16_t sel)
{
    struct desc d;
    struct seg_reg cs;
    if (sel_null(sel)) return raise_selector(c, VEC_TS, sel);
    if (!desc_fetch(c, sel, VEC_TS, &d)) return false;
    if (!desc_is_code(&d)) return raise_selector(c, VEC_TS, sel);
    if (desc_conforming(&d) ? desc_dpl(&d) > sel_rpl(sel) : desc_dpl(&d) != sel_rpl(sel))
        return raise_selector(c, VEC_TS, sel);
    if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    if (!desc_set_accessed(c, &d)) return false;
    desc_to_seg(&d, sel, &cs);
    seg_set(c, SEG_CS, &cs);
    return true;
}

/* The part of a switch that runs in the new task. */
static bool enter_task(struct cpu *c, const struct task_switch *t, const struct tss_image *image,
                       uint32_t word)
{
    bool v86 = in_v86(c);
    if (!seg_load_ldtr(c, image->ldt, VEC_TS)) return false;
    if (!v86) {
        struct seg_reg s;
        static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
        if (!load_code(c, image->seg[SEG_CS])) return false;
        if (!seg_check_stack(c, image->seg[SEG_SS], c->s.cpl, VEC_TS, &s)) return false;
        seg_set(c, SEG_SS, &s);
        cpu_mode_changed(c);
        for (unsigned i = 0; i < 4; i++) {
            if (!seg_check_data(c, data[i], image->seg[data[i]], c->s.cpl, VEC_TS, &s)) return false;
            seg_set(c, data[i], &s);
        }
    }
    if (t->event && t->event->has_error) {
        struct stack st = stack_current(c);
        if (!stack_push(c, &st, word, t->event->error_code)) return false;
        stack_commit(c, &st);
    }
    return code_check_offset(c, &c->s.seg[SEG_CS], c->s.gpr[REG_RIP]);
}

static bool switch_now(struct cpu *c, const struct task_switch *t)
{
    struct desc d = t->desc, old;
    struct tss_image image;
    const struct tss_layout *l = layout_of(desc_type(&d)), *ol = layout_of(c->s.seg[SEG_TR].ar & AR_TYPE);
    uint64_t base = desc_base(&d), old_base = c->s.seg[SEG_TR].base;
    uint16_t old_sel = c->s.seg[SEG_TR].selector;
    bool nested = t->source == TASK_CALL || t->source == TASK_GATE;

    if (desc_limit(&d) < l->end - 1u) return raise_selector(c, VEC_TS, t->selector);
    if (c->virt->task_switch(c, t->selector, t->source, t->event, t->insn) == VIRT_EXITED) {
        c->fault.kind = FAULT_NONE;
        return false;
    }
    if (c->s.seg[SEG_TR].limit < ol->end - 1u) return raise_selector(c, VEC_TS, old_sel);
    if (!lin_probe_write(c, (uint32_t)old_base, ol->end, true)) return false;
    if (!read_image(c, base, l, &image)) return false;
    if (nested && !lin_probe_write(c, (uint32_t)base, 2, true)) return false;
    if (!nested && !desc_fetch(c, old_sel, VEC_TS, &old)) return false;

    if (!save_old(c, ol, t)) return false;
    if (!nested && !desc_set_busy(c, &old, false)) return false;
    if (nested && !tss_write(c, base, 0, 2, old_sel)) return false;
    if (t->source != TASK_IRET && !desc_set_busy(c, &d, true)) return false;

    struct seg_reg tr;
    desc_to_seg(&d, t->selector, &tr);
    tr.ar |= 2; /* busy */
    seg_set(c, SEG_TR, &tr);
    c->s.cr0 |= CR0_TS;
    if (l->word == 4 && (c->s.cr0 & CR0_PG) && !cpu_write_cr3(c, image.cr3)) return false;
    uint64_t flags = image.flags;
    if (l->word == 2) flags &= 0xffff;
    flags = (flags & (FL_OSZAPC | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF |
                      FL_VIP | FL_ID)) |
            FL_FIXED;
    if (nested) flags |= FL_NT;
    cpu_write_rflags(c, flags);
    if (flags & FL_RF) cpu_keep_rf(c);
    c->s.gpr[REG_RIP] = image.ip;
    for (unsigned i = 0; i < 8; i++)
        c->s.gpr[i] = l->word == 4 ? image.gpr[i] : (c->s.gpr[i] & ~UINT64_C(0xffff)) | image.gpr[i];
    c->s.dr7 &= ~UINT64_C(0x155); /* L0-L3, LE */
    c->s.cpl = flags & FL_VM ? 3 : (uint8_t)sel_rpl(image.seg[SEG_CS]);
    load_selectors(c, &image, (flags & FL_VM) != 0);
    cpu_mode_changed(c);
    c->no_step = true;
    bool ok = enter_task(c, t, &image, l->word);
    if (ok && image.trap) c->s.pending_dbg |= DR6_BT;
    cpu_mode_changed(c);
    return ok;
}

bool task_switch(struct cpu *c, const struct task_switch *t)
{
    bool exact = c->exact;
    c->exact = true;
    bool ok = switch_now(c, t);
    c->exact = exact;
    return ok;
}

/* A byte pair of one of the two maps. false: fault; *inside: the TSS has it. */
static bool map_read(struct cpu *c, int64_t back, uint32_t index, uint32_t n, bool *inside, uint64_t *v)
{
    const struct seg_reg *tr = &c->s.seg[SEG_TR];
    uint64_t base;
    *inside = false;
    if (!(tr->ar & 8) || (tr->ar & AR_UNUSABLE) || tr->limit < 103) return true;
    uint64_t lin = tr->base + 102;
    if (!lin_read(c, in_long_mode(c) ? lin : (uint32_t)lin, 2, true, &base)) return false;
    int64_t at = (int64_t)base - back + index;
    if (at < 0 || (uint64_t)at + n - 1 > tr->limit) return true;
    *inside = true;
    lin = tr->base + (uint64_t)at;
    return lin_read(c, in_long_mode(c) ? lin : (uint32_t)lin, n, true, v);
}

bool v86_int_redirected(struct cpu *c, uint8_t vector, bool *redirected)
{
    bool inside;
    uint64_t v = 0;
    if (!map_read(c, 32, vector / 8u, 1, &inside, &v)) return false;
    if (!inside) return cpu_raise_error(c, VEC_GP, event_ext_bit(c));
    *redirected = !(v >> (vector & 7) & 1);
    return true;
}

bool io_check_permission(struct cpu *c, uint16_t port, uint32_t size)
{
    bool inside;
    uint64_t v = 0;
    if (in_real(c) || (!in_v86(c) && c->s.cpl <= (c->s.rflags >> 12 & 3))) return true;
    if (!map_read(c, 0, port / 8u, 2, &inside, &v)) return false;
    if (!inside || (v >> (port & 7) & ((1u << size) - 1)) != 0) return cpu_raise_error(c, VEC_GP, 0);
    return true;
}
