/* SPDX-License-Identifier: MIT */
/* Delivery of an event: intercept question, CR2/DR6 rules, then the real-mode vector table, an interrupt or
 * trap gate of protected or IA-32e mode, a task gate, or 8086 redirection in virtual-8086 mode; nested
 * faults, double fault, triple fault. Everything architectural changes at the very end of a delivery, so a
 * fault or an exit in its middle leaves the interrupted state.
 * SDM 3A ch. 6 (tables 6-4, 6-5), SDM 2A "INT n", SDM 3B 18.3, 21.3; APM 2 ch. 8. */
#include "cpu/event.h"
#include "cpu/far.h"
#include "cpu/mem.h"
#include "cpu/segment.h"

/* Exception classes of SDM 3A table 6-4. */
enum exc_class { EXC_BENIGN, EXC_CONTRIBUTORY, EXC_PAGE_FAULT, EXC_DOUBLE_FAULT };

static enum exc_class class_of(const struct event *ev)
{
    if (ev->type != EVENT_HW_EXCEPTION) return EXC_BENIGN;
    switch (ev->vector) {
    case VEC_DE:
    case VEC_TS:
    case VEC_NP:
    case VEC_SS:
    case VEC_GP:
    case VEC_CP: return EXC_CONTRIBUTORY;
    case VEC_PF:
    case VEC_VE: return EXC_PAGE_FAULT;
    case VEC_DF: return EXC_DOUBLE_FAULT;
    default: return EXC_BENIGN;
    }
}

bool event_is_fault(const struct event *ev)
{
    if (ev->type != EVENT_HW_EXCEPTION) return false;
    switch (ev->vector) {
    case VEC_DB: return (ev->payload & DR6_BD) != 0;
    case VEC_NMI:
    case VEC_DF:
    case VEC_MC: return false;
    default: return true;
    }
}

/* INT n, INT3, INTO: the gate's DPL is checked and no EXT bit is set. */
static bool is_software(const struct event *ev)
{
    return ev->type == EVENT_SW_INT || ev->type == EVENT_SW_EXCEPTION;
}

static uint64_t code_mask(const struct cpu *c, uint64_t rip) { return in_64bit(c) ? rip : (uint32_t)rip; }

/* What a delivery pushes. */
struct frame {
    uint64_t rip, rflags;
};

static struct frame frame_of(struct cpu *c, const struct event *ev)
{
    struct frame f = {.rip = c->s.gpr[REG_RIP], .rflags = cpu_read_rflags(c)};
    if (ev->has_next_rip)
        f.rip = code_mask(c, ev->next_rip);
    else if (is_software(ev) || ev->type == EVENT_PRIV_SW_EXC)
        f.rip = code_mask(c, f.rip + ev->insn_length);
    if (ev->injected) return f;
    if (event_is_fault(ev))
        f.rflags |= FL_RF;
    else if (is_software(ev) || ev->type == EVENT_PRIV_SW_EXC)
        f.rflags &= ~(uint64_t)FL_RF;
    return f;
}

static bool raise_vector(struct cpu *c, uint8_t fault, uint8_t vector)
{
    return cpu_raise_error(c, fault, vector * 8u | 2 | event_ext_bit(c));
}

static bool deliver_real(struct cpu *c, const struct event *ev)
{
    uint64_t entry;
    if (ev->vector * 4u + 3 > c->s.idtr.limit) return cpu_raise_error(c, VEC_GP, 0);
    uint64_t at = c->s.idtr.base + ev->vector * 4u;
    if (!lin_read(c, in_long_mode(c) ? at : (uint32_t)at, 4, true, &entry)) return false;
    struct frame f = frame_of(c, ev);
    struct stack st = stack_current(c);
    if (!stack_push(c, &st, 2, f.rflags) || !stack_push(c, &st, 2, c->s.seg[SEG_CS].selector) ||
        !stack_push(c, &st, 2, f.rip))
        return false;
    struct seg_reg cs = seg_real(c, SEG_CS, (uint16_t)(entry >> 16));
    if (!code_check_offset(c, &cs, entry & 0xffff)) return false;
    stack_commit(c, &st);
    seg_set(c, SEG_CS, &cs);
    c->s.gpr[REG_RIP] = entry & 0xffff;
    cpu_write_rflags(c, cpu_read_rflags(c) & ~(uint64_t)(FL_IF | FL_TF | FL_AC | FL_RF));
    return true;
}

/* INT n in virtual-8086 mode with CR4.VME and a clear bit in the redirection map: the 8086 way, through
 * the vector table at linear 0. SDM 3B 21.3.3.2 */
static bool deliver_redirected(struct cpu *c, const struct event *ev)
{
    uint64_t entry;
    if (!lin_read(c, ev->vector * 4u, 4, false, &entry)) return false;
    struct frame f = frame_of(c, ev);
    bool iopl3 = (f.rflags & FL_IOPL) == FL_IOPL;
    uint64_t flags = f.rflags;
    if (!iopl3) {
        flags |= FL_IOPL;
        flags = (flags & ~(uint64_t)FL_IF) | (f.rflags & FL_VIF ? FL_IF : 0);
    }
    struct stack st = stack_current(c);
    if (!stack_push(c, &st, 2, flags) || !stack_push(c, &st, 2, c->s.seg[SEG_CS].selector) ||
        !stack_push(c, &st, 2, f.rip))
        return false;
    struct seg_reg cs = seg_v86((uint16_t)(entry >> 16));
    stack_commit(c, &st);
    seg_set(c, SEG_CS, &cs);
    c->s.gpr[REG_RIP] = entry & 0xffff;
    uint64_t clear = FL_TF | FL_NT | FL_RF | (iopl3 ? FL_IF : FL_VIF);
    cpu_write_rflags(c, cpu_read_rflags(c) & ~clear);
    return true;
}

/* Stack pointer and segment of an inner level from the TSS. SDM 3A 7.2.1 */
bool tss_inner_stack(struct cpu *c, unsigned level, uint16_t *ss, uint64_t *sp)
{
    const struct seg_reg *tr = &c->s.seg[SEG_TR];
    bool wide = (tr->ar & 8) != 0;
    uint32_t at = wide ? 4 + level * 8 : 2 + level * 4;
    uint64_t v;
    if (at + (wide ? 5 : 3) > tr->limit) return raise_selector(c, VEC_TS, tr->selector);
    if (!lin_read(c, (uint32_t)(tr->base + at), wide ? 4 : 2, true, sp)) return false;
    if (!lin_read(c, (uint32_t)(tr->base + at + (wide ? 4 : 2)), 2, true, &v)) return false;
    *ss = (uint16_t)v;
    return true;
}

/* RSPn (slot 0..2) or ISTn (slot 3 + n) of a 64-bit TSS. SDM 3A 7.7 */
bool tss_stack64(struct cpu *c, unsigned slot, uint64_t *sp)
{
    const struct seg_reg *tr = &c->s.seg[SEG_TR];
    uint32_t at = slot < 3 ? 4 + slot * 8 : 0x24 + (slot - 4) * 8;
    if (at + 7 > tr->limit) return raise_selector(c, VEC_TS, tr->selector);
    return lin_read(c, tr->base + at, 8, true, sp);
}

static void enter_handler(struct cpu *c, const struct seg_reg *cs, unsigned cpl, uint64_t rip, bool clear_if)
{
    uint64_t clear = FL_TF | FL_NT | FL_RF | FL_VM | (clear_if ? FL_IF : 0);
    c->s.cpl = (uint8_t)cpl;
    seg_set(c, SEG_CS, cs);
    c->s.gpr[REG_RIP] = rip;
    cpu_write_rflags(c, cpu_read_rflags(c) & ~clear);
}

/* Target code segment of a gate: *cpl is the level of the handler. */
static bool gate_target(struct cpu *c, uint16_t sel, struct seg_reg *cs, unsigned *cpl)
{
    struct desc d;
    if (sel_null(sel)) return raise_selector(c, VEC_GP, 0);
    if (!desc_fetch(c, sel, VEC_GP, &d)) return false;
    if (!desc_is_code(&d) || desc_dpl(&d) > c->s.cpl) return raise_selector(c, VEC_GP, sel);
    if (in_long_mode(c) && (!desc_long(&d) || desc_big(&d))) return raise_selector(c, VEC_GP, sel);
    if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    *cpl = desc_conforming(&d) ? c->s.cpl : desc_dpl(&d);
    if (in_v86(c) && (desc_conforming(&d) || *cpl != 0)) return raise_selector(c, VEC_GP, sel);
    if (!desc_set_accessed(c, &d)) return false;
    desc_to_seg(&d, (uint16_t)((sel & 0xfffc) | *cpl), cs);
    return true;
}

static bool deliver_long(struct cpu *c, const struct event *ev)
{
    struct desc gate;
    uint64_t lo;
    uint32_t off = ev->vector * 16u;
    if (off + 15 > c->s.idtr.limit) return raise_vector(c, VEC_GP, ev->vector);
    if (!lin_read(c, c->s.idtr.base + off, 8, true, &lo)) return false;
    if (!lin_read(c, c->s.idtr.base + off + 8, 8, true, &gate.ext)) return false;
    gate.lo = (uint32_t)lo;
    gate.hi = (uint32_t)(lo >> 32);
    unsigned type = desc_type(&gate);
    if (desc_is_segment(&gate) || (type != SYS_INT32 && type != SYS_TRAP32))
        return raise_vector(c, VEC_GP, ev->vector);
    if (is_software(ev) && desc_dpl(&gate) < c->s.cpl) return raise_vector(c, VEC_GP, ev->vector);
    if (!desc_present(&gate)) return raise_vector(c, VEC_NP, ev->vector);

    struct seg_reg cs;
    unsigned cpl, ist = gate.hi & 7;
    if (!gate_target(c, gate_selector(&gate), &cs, &cpl)) return false;
    bool inner = cpl != c->s.cpl;
    uint64_t sp = c->s.gpr[RSP];
    if (ist != 0) {
        if (!tss_stack64(c, 3 + ist, &sp)) return false;
    } else if (inner) {
        if (!tss_stack64(c, cpl, &sp)) return false;
    }
    if (!lin_canonical(c, sp)) return cpu_raise_error(c, VEC_SS, event_ext_bit(c));
    if (!code_check_offset(c, &cs, gate_offset(&gate))) return false;

    struct frame f = frame_of(c, ev);
    struct seg_reg ss = inner ? seg_null(c, SEG_SS, (uint16_t)cpl) : c->s.seg[SEG_SS];
    struct stack st = stack_new(c, &ss, sp & ~UINT64_C(15), cpl, true);
    if (!stack_push(c, &st, 8, c->s.seg[SEG_SS].selector) || !stack_push(c, &st, 8, c->s.gpr[RSP]) ||
        !stack_push(c, &st, 8, f.rflags) || !stack_push(c, &st, 8, c->s.seg[SEG_CS].selector) ||
        !stack_push(c, &st, 8, f.rip) || (ev->has_error && !stack_push(c, &st, 8, ev->error_code)))
        return false;
    if (inner) seg_set(c, SEG_SS, &ss);
    c->s.gpr[RSP] = st.sp;
    enter_handler(c, &cs, cpl, gate_offset(&gate), type == SYS_INT32);
    return true;
}

static bool deliver_task(struct cpu *c, const struct event *ev, uint16_t sel)
{
    struct desc d;
    if (sel_null(sel) || (sel & 4)) return raise_selector(c, VEC_GP, sel);
    if (!desc_fetch(c, sel, VEC_GP, &d)) return false;
    unsigned type = desc_type(&d);
    if (desc_is_segment(&d) || (type != SYS_TSS32 && type != SYS_TSS16))
        return raise_selector(c, VEC_GP, sel);
    if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    struct frame f = frame_of(c, ev);
    struct task_switch t = {
        .source = TASK_GATE, .selector = sel, .desc = d, .event = ev, .rip = f.rip, .rflags = f.rflags};
    return task_switch(c, &t);
}

static bool deliver_protected(struct cpu *c, const struct event *ev)
{
    struct desc gate = {0};
    uint64_t v;
    uint32_t off = ev->vector * 8u;
    if (in_v86(c) && ev->type == EVENT_SW_INT && (c->s.cr4 & CR4_VME)) {
        bool redirect;
        if (!v86_int_redirected(c, ev->vector, &redirect)) return false;
        if (redirect) return deliver_redirected(c, ev);
    }
    if (off + 7 > c->s.idtr.limit) return raise_vector(c, VEC_GP, ev->vector);
    if (!lin_read(c, (uint32_t)(c->s.idtr.base + off), 8, true, &v)) return false;
    gate.lo = (uint32_t)v;
    gate.hi = (uint32_t)(v >> 32);
    unsigned type = desc_type(&gate);
    if (desc_is_segment(&gate) || (type != SYS_TASK_GATE && (type & 6) != 6))
        return raise_vector(c, VEC_GP, ev->vector);
    if (is_software(ev) && desc_dpl(&gate) < c->s.cpl) return raise_vector(c, VEC_GP, ev->vector);
    if (!desc_present(&gate)) return raise_vector(c, VEC_NP, ev->vector);
    if (type == SYS_TASK_GATE) return deliver_task(c, ev, gate_selector(&gate));

    struct seg_reg cs, ss = c->s.seg[SEG_SS];
    unsigned cpl;
    uint32_t size = type & 8 ? 4 : 2;
    uint64_t target = type & 8 ? gate_offset(&gate) & 0xffffffff : gate.lo & 0xffff;
    if (!gate_target(c, gate_selector(&gate), &cs, &cpl)) return false;
    bool inner = cpl != c->s.cpl, v86 = in_v86(c);
    struct frame f = frame_of(c, ev);
    struct stack st = stack_current(c);
    if (inner) {
        uint16_t sel;
        uint64_t sp;
        if (!tss_inner_stack(c, cpl, &sel, &sp)) return false;
        if (!seg_check_stack(c, sel, cpl, VEC_TS, &ss)) return false;
        st = stack_new(c, &ss, sp, cpl, false);
        st.error = sel & 0xfffc;
        static const uint8_t order[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};
        for (unsigned i = 0; v86 && i < 4; i++)
            if (!stack_push(c, &st, size, c->s.seg[order[i]].selector)) return false;
        if (!stack_push(c, &st, size, c->s.seg[SEG_SS].selector) || !stack_push(c, &st, size, c->s.gpr[RSP]))
            return false;
    }
    if (!stack_push(c, &st, size, f.rflags) || !stack_push(c, &st, size, c->s.seg[SEG_CS].selector) ||
        !stack_push(c, &st, size, f.rip) || (ev->has_error && !stack_push(c, &st, size, ev->error_code)))
        return false;
    if (!code_check_offset(c, &cs, target)) return false;

    if (v86) {
        static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
        for (unsigned i = 0; i < 4; i++) {
            struct seg_reg null = {.ar = AR_UNUSABLE};
            seg_set(c, data[i], &null);
        }
    }
    if (inner) {
        seg_set(c, SEG_SS, &ss);
        c->s.gpr[RSP] = st.sp & 0xffffffff;
    } else {
        stack_commit(c, &st);
    }
    enter_handler(c, &cs, cpl, target, (type & 1) == 0);
    return true;
}

static bool deliver_once(struct cpu *c, const struct event *ev)
{
    if (in_real(c)) return deliver_real(c, ev);
    if (in_long_mode(c)) return deliver_long(c, ev);
    return deliver_protected(c, ev);
}

/* State that changes when an exception is taken and not intercepted, before its gate is read. */
static void exception_effects(struct cpu *c, const struct event *ev)
{
    if (ev->injected || ev->type != EVENT_HW_EXCEPTION) {
        if (ev->type == EVENT_PRIV_SW_EXC && !ev->injected) c->s.dr7 &= ~UINT64_C(0x2000);
        return;
    }
    if (ev->vector == VEC_PF) c->s.cr2 = ev->payload;
    if (ev->vector == VEC_DB) {
        /* B0-B3 tell about this exception only; the other bits accumulate. SDM 3B 18.2.3 */
        c->s.dr6 = (c->s.dr6 & ~(uint64_t)DR6_B) | (ev->payload & (DR6_B | DR6_BD | DR6_BS | DR6_BT));
        c->s.dr7 &= ~UINT64_C(0x2000); /* GD */
        c->s.debugctl &= ~UINT64_C(3); /* LBR, BTF */
    }
}

static bool asked(const struct event *ev)
{
    return !ev->injected && (ev->type == EVENT_HW_EXCEPTION || ev->type == EVENT_SW_EXCEPTION ||
                             ev->type == EVENT_PRIV_SW_EXC);
}

static enum virt_verdict triple_fault(struct cpu *c)
{
    PROBE(c->probes, c, TRIPLE_FAULT, 0, 0);
    c->s.delivering.valid = 0;
    return c->virt->triple_fault(c);
}

static uint64_t probe_event(const struct event *ev) { return ev->vector | (uint64_t)ev->type << 8; }

static enum virt_verdict deliver(struct cpu *c, const struct event *first)
{
    struct event ev = *first;
    bool was_64bit = in_64bit(c);
    cpu_flush_flags(c);
    c->no_step = true;
    c->fault.kind = FAULT_NONE;
    ev.valid = 1;
    if (in_real(c)) ev.has_error = 0;
    PROBE(c->probes, c, EVENT_RECOGNISED, probe_event(&ev), ev.error_code);
    c->s.delivering.valid = 0;
    if (asked(&ev) && c->virt->exception(c, &ev) == VIRT_EXITED) return VIRT_EXITED;
    for (;;) {
        if (ev.type == EVENT_HW_EXCEPTION) PROBE(c->probes, c, EXCEPTION, ev.vector, ev.error_code);
        exception_effects(c, &ev);
        c->s.delivering = ev;
        c->s.activity = ACTIVITY_ACTIVE;
        c->s.intr.sti_shadow = c->s.intr.movss_shadow = 0;
        /* INT n in a MOV SS shadow lets a held debug exception come at its handler's first instruction;
         * events from outside and faults lose it (SDM 3C 26.7.3 has the same rule for injection). */
        if (ev.type != EVENT_SW_INT && ev.type != EVENT_SW_EXCEPTION) c->s.pending_dbg = 0;
        c->fault.kind = FAULT_NONE;
        if (deliver_once(c, &ev)) break;

        struct event next = c->fault.event;
        switch (c->fault.kind) {
        case FAULT_SECOND_STAGE: c->fault.kind = FAULT_NONE; return c->virt->second_stage_fault(c);
        case FAULT_VIRT: c->fault.kind = FAULT_NONE; return c->virt->virt_fault(c);
        case FAULT_EXCEPTION: break;
        default: return VIRT_EXITED; /* a task switch was intercepted */
        }
        c->fault.kind = FAULT_NONE;
        if (in_real(c)) next.has_error = 0;
        if (c->virt->exception(c, &next) == VIRT_EXITED) return VIRT_EXITED;
        enum exc_class a = class_of(&ev), b = class_of(&next);
        bool doubled = (a == EXC_CONTRIBUTORY && b == EXC_CONTRIBUTORY) ||
                       (a == EXC_PAGE_FAULT && (b == EXC_CONTRIBUTORY || b == EXC_PAGE_FAULT));
        if (a == EXC_DOUBLE_FAULT) return triple_fault(c);
        if (doubled) {
            if (next.vector == VEC_PF) c->s.cr2 = next.payload;
            c->s.delivering.valid = 0;
            next = (struct event){
                .valid = 1, .vector = VEC_DF, .type = EVENT_HW_EXCEPTION, .has_error = !in_real(c)};
            if (c->virt->exception(c, &next) == VIRT_EXITED) return VIRT_EXITED;
        }
        ev = next;
    }
    PROBE(c->probes, c, EVENT_DELIVERED, probe_event(&ev), ev.error_code);
    c->s.delivering.valid = 0;
    c->iret_unblocked_nmi = false;
    c->budget--; /* delivery takes time: no endless chain of events at one cycle */
    seg_code_changed(c, was_64bit);
    return VIRT_CONTINUE;
}

enum virt_verdict cpu_deliver(struct cpu *c, const struct event *ev)
{
    bool exact = c->exact;
    c->exact = true;
    enum virt_verdict v = deliver(c, ev);
    c->exact = exact;
    cpu_update_attention(c);
    return v;
}

enum virt_verdict cpu_inject(struct cpu *c, const struct event *ev)
{
    struct event e = *ev;
    e.injected = 1;
    PROBE(c->probes, c, EVENT_INJECTED, probe_event(&e), e.error_code);
    return cpu_deliver(c, &e);
}

void cpu_handle_fault(struct cpu *c)
{
    enum fault_class kind = c->fault.kind;
    struct event ev = c->fault.event;
    c->fault.kind = FAULT_NONE;
    cpu_flush_flags(c);
    switch (kind) {
    case FAULT_EXCEPTION: cpu_deliver(c, &ev); break;
    case FAULT_SECOND_STAGE: c->virt->second_stage_fault(c); break;
    case FAULT_VIRT: c->virt->virt_fault(c); break;
    default: break;
    }
    cpu_update_attention(c);
}
