/* SPDX-License-Identifier: MIT */
/* Far jumps, calls and returns, call gates, IRET. Checks come in the order of the instruction's page; state
 * changes behind the last of them. SDM 2A "CALL", "IRET", "JMP"; SDM 2B "RET"; SDM 3A 5.8; APM 3. */
#include "cpu/far.h"

#include "cpu/event.h"
#include "cpu/mem.h"

static uint64_t offset_of(uint64_t off, uint32_t size)
{
    return size == 2 ? (uint16_t)off : size == 4 ? (uint32_t)off : off;
}

static void enter_code(struct cpu *c, const struct seg_reg *cs, uint64_t rip)
{
    bool was_64bit = in_64bit(c);
    seg_set(c, SEG_CS, cs);
    c->s.gpr[REG_RIP] = rip;
    seg_code_changed(c, was_64bit);
}

static struct seg_reg code_without_descriptor(const struct cpu *c, uint16_t sel)
{
    return in_real(c) ? seg_real(c, SEG_CS, sel) : seg_v86(sel);
}

/* Privilege of a system descriptor met by JMP or CALL: DPL >= max(CPL, RPL). */
static bool check_gate_privilege(struct cpu *c, uint16_t sel, const struct desc *d)
{
    if (desc_dpl(d) < c->s.cpl || desc_dpl(d) < sel_rpl(sel)) return raise_selector(c, VEC_GP, sel);
    return true;
}

static bool switch_task(struct cpu *c, enum task_source source, uint16_t sel, struct desc d, uint64_t next,
                        const struct insn *insn)
{
    unsigned type = desc_type(&d);
    if (!check_gate_privilege(c, sel, &d)) return false;
    if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    if (type == SYS_TASK_GATE) {
        sel = gate_selector(&d);
        if (sel_null(sel) || (sel & 4)) return raise_selector(c, VEC_GP, sel);
        if (!desc_fetch(c, sel, VEC_GP, &d)) return false;
        type = desc_type(&d);
        if (desc_is_segment(&d) || (type != SYS_TSS16 && type != SYS_TSS32))
            return raise_selector(c, VEC_GP, sel);
        if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    } else if (sel & 4) {
        return raise_selector(c, VEC_GP, sel);
    }
    struct task_switch t = {.source = source, .selector = sel, .desc = d, .rip = next, .insn = insn};
    t.rflags = cpu_read_rflags(c) & ~(uint64_t)FL_RF;
    return task_switch(c, &t);
}

/* Code segment behind a call gate. call: an inner level may be entered. */
static bool gate_code(struct cpu *c, const struct desc *gate, bool call, struct seg_reg *cs, unsigned *cpl)
{
    struct desc d;
    uint16_t sel = gate_selector(gate);
    if (sel_null(sel)) return raise_selector(c, VEC_GP, 0);
    if (!desc_fetch(c, sel, VEC_GP, &d)) return false;
    if (!desc_is_code(&d) || desc_dpl(&d) > c->s.cpl) return raise_selector(c, VEC_GP, sel);
    if (in_long_mode(c) && (!desc_long(&d) || desc_big(&d))) return raise_selector(c, VEC_GP, sel);
    if (!call && !desc_conforming(&d) && desc_dpl(&d) != c->s.cpl) return raise_selector(c, VEC_GP, sel);
    if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    *cpl = desc_conforming(&d) ? c->s.cpl : desc_dpl(&d);
    if (!desc_set_accessed(c, &d)) return false;
    desc_to_seg(&d, (uint16_t)((sel & 0xfffc) | *cpl), cs);
    return true;
}

/* Bytes a gate pushes at once and the offset it holds. */
static uint32_t gate_size(const struct cpu *c, const struct desc *gate)
{
    return in_long_mode(c) ? 8 : desc_type(gate) == SYS_CALL32 ? 4 : 2;
}

static bool fetch_target(struct cpu *c, uint16_t sel, struct desc *d)
{
    if (sel_null(sel)) return cpu_raise_error(c, VEC_GP, 0);
    return desc_fetch(c, sel, VEC_GP, d);
}

static bool is_call_gate(const struct cpu *c, const struct desc *d)
{
    return desc_type(d) == SYS_CALL32 || (desc_type(d) == SYS_CALL16 && !in_long_mode(c));
}
static bool is_task(const struct cpu *c, const struct desc *d)
{
    unsigned t = desc_type(d);
    return !in_long_mode(c) && (t == SYS_TASK_GATE || t == SYS_TSS16 || t == SYS_TSS32);
}

/* Common start of far JMP and CALL to a code segment: *cs is the new CS, ready to be loaded. */
static bool direct_code(struct cpu *c, uint16_t sel, struct desc *d, struct seg_reg *cs)
{
    if (!code_check_direct(c, sel, d)) return false;
    if (!desc_set_accessed(c, d)) return false;
    desc_to_seg(d, (uint16_t)((sel & 0xfffc) | c->s.cpl), cs);
    return true;
}

bool far_jump(struct cpu *c, uint16_t sel, uint64_t off, uint32_t size, uint64_t next,
              const struct insn *insn)
{
    struct desc d;
    struct seg_reg cs;
    off = offset_of(off, size);
    if (!in_protected(c)) {
        cs = code_without_descriptor(c, sel);
        if (!code_check_offset(c, &cs, off)) return false;
        enter_code(c, &cs, off);
        return true;
    }
    if (!fetch_target(c, sel, &d)) return false;
    if (desc_is_segment(&d)) {
        if (!direct_code(c, sel, &d, &cs) || !code_check_offset(c, &cs, off)) return false;
    } else if (is_call_gate(c, &d)) {
        unsigned cpl;
        if (!check_gate_privilege(c, sel, &d)) return false;
        if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
        if (!desc_fetch_upper(c, sel, VEC_GP, &d)) return false;
        if (!gate_code(c, &d, false, &cs, &cpl)) return false;
        off = offset_of(gate_offset(&d), gate_size(c, &d));
        if (!code_check_offset(c, &cs, off)) return false;
    } else if (is_task(c, &d)) {
        return switch_task(c, TASK_JMP, sel, d, next, insn);
    } else {
        return raise_selector(c, VEC_GP, sel);
    }
    enter_code(c, &cs, off);
    return true;
}

static bool call_gate(struct cpu *c, uint16_t sel, struct desc *gate, uint64_t next)
{
    struct seg_reg cs, ss = c->s.seg[SEG_SS];
    unsigned cpl;
    if (!check_gate_privilege(c, sel, gate)) return false;
    if (!desc_present(gate)) return raise_selector(c, VEC_NP, sel);
    if (!desc_fetch_upper(c, sel, VEC_GP, gate)) return false;
    if (!gate_code(c, gate, true, &cs, &cpl)) return false;
    uint32_t size = gate_size(c, gate);
    uint64_t off = offset_of(gate_offset(gate), size);
    struct stack st = stack_current(c);
    if (size == 8) st = stack_new(c, &ss, c->s.gpr[RSP], c->s.cpl, true);
    bool inner = cpl < c->s.cpl;
    if (inner) {
        uint64_t sp, v, params[31];
        struct stack old = stack_current(c);
        unsigned count = size == 8 ? 0 : gate->hi & 31;
        if (size == 8) {
            if (!tss_stack64(c, cpl, &sp)) return false;
            if (!lin_canonical(c, sp)) return cpu_raise_error(c, VEC_SS, event_ext_bit(c));
            ss = seg_null(c, SEG_SS, (uint16_t)cpl);
        } else {
            uint16_t ss_sel;
            if (!tss_inner_stack(c, cpl, &ss_sel, &sp)) return false;
            if (!seg_check_stack(c, ss_sel, cpl, VEC_TS, &ss)) return false;
        }
        st = stack_new(c, &ss, sp, cpl, size == 8);
        st.error = ss.selector & 0xfffc;
        for (unsigned i = 0; i < count; i++) {
            if (!stack_pop(c, &old, size, &v)) return false;
            params[i] = v;
        }
        if (!stack_push(c, &st, size, c->s.seg[SEG_SS].selector) || !stack_push(c, &st, size, c->s.gpr[RSP]))
            return false;
        for (unsigned i = count; i-- > 0;)
            if (!stack_push(c, &st, size, params[i])) return false;
    }
    if (!stack_push(c, &st, size, c->s.seg[SEG_CS].selector) || !stack_push(c, &st, size, next)) return false;
    if (!code_check_offset(c, &cs, off)) return false;
    if (inner) {
        seg_set(c, SEG_SS, &ss);
        c->s.cpl = (uint8_t)cpl;
        c->s.gpr[RSP] = size == 8 ? st.sp : st.sp & 0xffffffff;
    } else {
        stack_commit(c, &st);
    }
    enter_code(c, &cs, off);
    return true;
}

bool far_call(struct cpu *c, uint16_t sel, uint64_t off, uint32_t size, uint64_t next,
              const struct insn *insn)
{
    struct desc d;
    struct seg_reg cs;
    off = offset_of(off, size);
    if (!in_protected(c)) {
        cs = code_without_descriptor(c, sel);
    } else {
        if (!fetch_target(c, sel, &d)) return false;
        if (!desc_is_segment(&d)) {
            if (is_call_gate(c, &d)) return call_gate(c, sel, &d, next);
            if (is_task(c, &d)) return switch_task(c, TASK_CALL, sel, d, next, insn);
            return raise_selector(c, VEC_GP, sel);
        }
        if (!direct_code(c, sel, &d, &cs)) return false;
    }
    struct stack st = stack_current(c);
    if (!stack_push(c, &st, size, c->s.seg[SEG_CS].selector) || !stack_push(c, &st, size, next)) return false;
    if (!code_check_offset(c, &cs, off)) return false;
    stack_commit(c, &st);
    enter_code(c, &cs, off);
    return true;
}

/* Code segment that RET or IRET goes back to; the level is the selector's RPL. */
static bool return_code(struct cpu *c, uint16_t sel, struct desc *code, struct seg_reg *cs)
{
    struct desc d;
    unsigned rpl = sel_rpl(sel);
    if (sel_null(sel)) return cpu_raise_error(c, VEC_GP, 0);
    if (!desc_fetch(c, sel, VEC_GP, &d)) return false;
    if (!desc_is_code(&d) || rpl < c->s.cpl) return raise_selector(c, VEC_GP, sel);
    if (in_long_mode(c) && desc_long(&d) && desc_big(&d)) return raise_selector(c, VEC_GP, sel);
    if (desc_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl) return raise_selector(c, VEC_GP, sel);
    if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    *code = d;
    d.hi |= TYPE_ACCESSED << 8;
    desc_to_seg(&d, sel, cs);
    return true;
}

static bool return_stack(struct cpu *c, uint16_t sel, const struct seg_reg *cs, struct seg_reg *ss)
{
    unsigned rpl = sel_rpl(cs->selector);
    if (sel_null(sel)) {
        if (!seg_is_code64(c, cs) || rpl == 3) return cpu_raise_error(c, VEC_GP, 0);
        if (sel_rpl(sel) != rpl) return raise_selector(c, VEC_GP, sel);
        *ss = seg_null(c, SEG_SS, sel);
        return true;
    }
    return seg_check_stack(c, sel, rpl, VEC_GP, ss);
}

/* Outward: data segments the new level may not use become null. SDM 2B "RET" */
static void drop_inner_data(struct cpu *c)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned i = 0; i < 4; i++) {
        const struct seg_reg *s = &c->s.seg[data[i]];
        if (s->ar & AR_UNUSABLE) continue;
        bool conforming =
            (s->ar & (AR_S | TYPE_CODE | TYPE_CONFORMING)) == (AR_S | TYPE_CODE | TYPE_CONFORMING);
        if (!conforming && (s->ar >> AR_DPL_SHIFT & 3) < c->s.cpl) {
            /* Only the selector goes and the register becomes invalid: FS and GS keep the base that 64-bit
             * mode goes on using (a VM entry may have loaded it under a null selector). */
            struct seg_reg invalid = *s;
            invalid.selector = 0;
            invalid.ar |= AR_UNUSABLE;
            seg_set(c, data[i], &invalid);
        }
    }
}

static void load_stack_pointer(struct cpu *c, const struct seg_reg *cs, const struct seg_reg *ss, uint64_t sp)
{
    struct stack st = stack_new(c, ss, sp, 0, seg_is_code64(c, cs));
    stack_commit(c, &st);
}

bool far_return(struct cpu *c, uint32_t size, uint32_t release)
{
    struct stack st = stack_current(c);
    struct seg_reg cs, ss;
    struct desc d;
    uint64_t rip, sel, sp, ss_sel;
    if (!stack_pop(c, &st, size, &rip) || !stack_pop(c, &st, size, &sel)) return false;
    if (!in_protected(c)) {
        cs = code_without_descriptor(c, (uint16_t)sel);
        if (!code_check_offset(c, &cs, rip)) return false;
        st.sp = (st.sp & ~st.mask) | ((st.sp + release) & st.mask);
        stack_commit(c, &st);
        enter_code(c, &cs, rip);
        return true;
    }
    if (!return_code(c, (uint16_t)sel, &d, &cs)) return false;
    st.sp = (st.sp & ~st.mask) | ((st.sp + release) & st.mask);
    if (sel_rpl(cs.selector) == c->s.cpl) {
        if (!code_check_offset(c, &cs, rip) || !desc_set_accessed(c, &d)) return false;
        stack_commit(c, &st);
        enter_code(c, &cs, rip);
        return true;
    }
    if (!stack_pop(c, &st, size, &sp) || !stack_pop(c, &st, size, &ss_sel)) return false;
    if (!return_stack(c, (uint16_t)ss_sel, &cs, &ss) || !code_check_offset(c, &cs, rip)) return false;
    if (!desc_set_accessed(c, &d)) return false;
    c->s.cpl = (uint8_t)sel_rpl(cs.selector);
    load_stack_pointer(c, &cs, &ss, sp + release);
    seg_set(c, SEG_SS, &ss);
    drop_inner_data(c);
    enter_code(c, &cs, rip);
    return true;
}

/* Loads the flags of an IRET through a mask of the bits it may change. */
static void iret_flags(struct cpu *c, uint64_t image, uint64_t mask)
{
    uint64_t old = cpu_read_rflags(c) & ~(uint64_t)FL_RF;
    cpu_write_rflags(c, (old & ~mask) | (image & mask) | FL_FIXED);
    if (c->s.rflags & FL_RF) cpu_keep_rf(c);
}

enum {
    IRET_FLAGS16 = FL_OSZAPC | FL_TF | FL_DF | FL_NT,
    IRET_FLAGS32 = IRET_FLAGS16 | FL_RF | FL_AC | FL_ID
};

static bool iret_no_descriptors(struct cpu *c, uint32_t size)
{
    struct stack st = stack_current(c);
    uint64_t rip, sel, image, mask = size == 2 ? IRET_FLAGS16 : IRET_FLAGS32;
    uint64_t flags = cpu_read_rflags(c);
    bool v86 = in_v86(c), virtual_if = false;
    if (v86 && (flags & FL_IOPL) != FL_IOPL) {
        if (!(c->s.cr4 & CR4_VME) || size != 2) return cpu_raise_error(c, VEC_GP, 0);
        virtual_if = true;
    }
    if (!stack_pop(c, &st, size, &rip) || !stack_pop(c, &st, size, &sel) || !stack_pop(c, &st, size, &image))
        return false;
    struct seg_reg cs = code_without_descriptor(c, (uint16_t)sel);
    if (!code_check_offset(c, &cs, rip)) return false;
    if (virtual_if) {
        if ((image & FL_TF) || ((image & FL_IF) && (flags & FL_VIP))) return cpu_raise_error(c, VEC_GP, 0);
        mask |= FL_VIF;
        image = image & FL_IF ? image | FL_VIF : image & ~(uint64_t)FL_VIF;
    } else {
        mask |= FL_IF | (v86 ? 0 : FL_IOPL);
    }
    stack_commit(c, &st);
    iret_flags(c, image, mask);
    enter_code(c, &cs, rip);
    return true;
}

static bool iret_to_v86(struct cpu *c, struct stack *st, uint64_t rip, uint16_t sel, uint64_t image)
{
    static const uint8_t order[] = {SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    uint64_t sp, v[5];
    if (!stack_pop(c, st, 4, &sp)) return false;
    for (unsigned i = 0; i < 5; i++)
        if (!stack_pop(c, st, 4, &v[i])) return false;
    if (rip > 0xffff) return cpu_raise_error(c, VEC_GP, 0);
    iret_flags(c, image, IRET_FLAGS32 | FL_IF | FL_IOPL | FL_VM | FL_VIF | FL_VIP);
    c->s.cpl = 3;
    for (unsigned i = 0; i < 5; i++) {
        struct seg_reg s = seg_v86((uint16_t)v[i]);
        seg_set(c, order[i], &s);
    }
    c->s.gpr[RSP] = sp;
    struct seg_reg cs = seg_v86(sel);
    enter_code(c, &cs, rip);
    return true;
}

static bool iret_task(struct cpu *c, uint64_t next, const struct insn *insn)
{
    struct desc d;
    uint64_t link;
    if (!lin_read(c, c->s.seg[SEG_TR].base, 2, true, &link)) return false;
    uint16_t sel = (uint16_t)link;
    if (sel_null(sel) || (sel & 4)) return raise_selector(c, VEC_TS, sel);
    if (!desc_fetch(c, sel, VEC_TS, &d)) return false;
    unsigned type = desc_type(&d);
    if (desc_is_segment(&d) || (type != SYS_TSS16_BUSY && type != SYS_TSS32_BUSY))
        return raise_selector(c, VEC_TS, sel);
    if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    struct task_switch t = {.source = TASK_IRET, .selector = sel, .desc = d, .rip = next, .insn = insn};
    t.rflags = cpu_read_rflags(c) & ~(uint64_t)(FL_NT | FL_RF);
    return task_switch(c, &t);
}

static bool iret_protected(struct cpu *c, uint32_t size, uint64_t next, const struct insn *insn)
{
    if (c->s.rflags & FL_NT) {
        if (in_long_mode(c)) return cpu_raise_error(c, VEC_GP, 0);
        return iret_task(c, next, insn);
    }
    struct stack st = stack_current(c);
    struct seg_reg cs, ss;
    struct desc d;
    uint64_t rip, sel, image, sp = 0, ss_sel = 0;
    if (!stack_pop(c, &st, size, &rip) || !stack_pop(c, &st, size, &sel) || !stack_pop(c, &st, size, &image))
        return false;
    if ((image & FL_VM) && size == 4 && c->s.cpl == 0 && !in_long_mode(c))
        return iret_to_v86(c, &st, rip, (uint16_t)sel, image);
    bool from64 = in_64bit(c);
    if (from64 && (!stack_pop(c, &st, size, &sp) || !stack_pop(c, &st, size, &ss_sel))) return false;
    if (!return_code(c, (uint16_t)sel, &d, &cs)) return false;
    bool outer = sel_rpl(cs.selector) != c->s.cpl;
    if (outer && !from64 && (!stack_pop(c, &st, size, &sp) || !stack_pop(c, &st, size, &ss_sel)))
        return false;
    if ((outer || from64) && !return_stack(c, (uint16_t)ss_sel, &cs, &ss)) return false;
    if (!code_check_offset(c, &cs, rip) || !desc_set_accessed(c, &d)) return false;

    uint64_t mask = size == 2 ? IRET_FLAGS16 : IRET_FLAGS32;
    if (c->s.cpl <= (c->s.rflags >> 12 & 3)) mask |= FL_IF;
    if (c->s.cpl == 0) mask |= FL_IOPL | (size == 2 ? 0 : FL_VIF | FL_VIP);
    if (outer || from64) {
        c->s.cpl = (uint8_t)sel_rpl(cs.selector);
        load_stack_pointer(c, &cs, &ss, sp);
        seg_set(c, SEG_SS, &ss);
        if (outer) drop_inner_data(c);
    } else {
        stack_commit(c, &st);
    }
    iret_flags(c, image, mask);
    enter_code(c, &cs, rip);
    return true;
}

bool far_iret(struct cpu *c, uint32_t size, uint64_t next, const struct insn *insn)
{
    /* Blocking of NMIs ends with the attempt, faulting or not. SDM 3A 6.7.1 */
    const struct interruptibility *i = &c->s.intr;
    bool blocked = i->nmi_blocked || i->virtual_nmi_blocked;
    if (c->virt->iret)
        c->virt->iret(c);
    else
        c->s.intr.nmi_blocked = 0;
    if (blocked && !i->nmi_blocked && !i->virtual_nmi_blocked) c->iret_unblocked_nmi = true;
    if (!(in_protected(c) ? iret_protected(c, size, next, insn) : iret_no_descriptors(c, size))) return false;
    c->iret_unblocked_nmi = false;
    return true;
}
