/* SPDX-License-Identifier: MIT */
/* Flag instructions, PUSHF and POPF, software interrupts, BOUND, far transfers, system calls.
 * SDM 2A-2B, in virtual-8086 mode SDM 3B ch. 21; APM 3. */
#include "cpu/event.h"
#include "cpu/far.h"
#include "cpu/flags.h"
#include "cpu/mem.h"
#include "cpu/quirk.h"
#include "cpu/uop.h"

/* Bodies whose locals have addresses stay out of the handlers, which end in tail calls (engine.h). */
#define NOINLINE __attribute__((noinline))

/* --- Single flags --------------------------------------------------------------------------------- */

HANDLER_ALL(clc)
{
    flag_set_cf(c, false);
    NEXT;
}
HANDLER_ALL(stc)
{
    flag_set_cf(c, true);
    NEXT;
}
HANDLER_ALL(cmc)
{
    flag_set_cf(c, !flag_cf(c));
    NEXT;
}
HANDLER_ALL(cld)
{
    c->s.rflags &= ~(uint64_t)FL_DF;
    NEXT;
}
HANDLER_ALL(std)
{
    c->s.rflags |= FL_DF;
    NEXT;
}
HANDLER_ALL(lahf)
{
    W8(1, (flags_oszapc(c) & 0xd5) | FL_FIXED); /* AH */
    NEXT;
}
HANDLER_ALL(sahf)
{
    flags_load_oszapc(c, (R8(1) & 0xd5u) | (flag_of(c) ? FL_OF : 0));
    NEXT;
}

/* --- IF ----------------------------------------------------------------------------------------------- */

static bool iopl_allows(const struct cpu *c) { return c->s.cpl <= (c->s.rflags >> 12 & 3); }

/* CLI and STI act on VIF: virtual-8086 mode with VME, or CPL 3 with PVI. SDM 2A "CLI" */
static bool virtual_if(const struct cpu *c)
{
    return in_v86(c) ? (c->s.cr4 & CR4_VME) != 0 : c->s.cpl == 3 && (c->s.cr4 & CR4_PVI) != 0;
}

HANDLER_ALL(cli)
{
    if (in_real(c) || iopl_allows(c))
        c->s.rflags &= ~(uint64_t)FL_IF;
    else if (virtual_if(c))
        c->s.rflags &= ~(uint64_t)FL_VIF;
    else
        RAISE_ERR(VEC_GP, 0);
    NEXT;
}

HANDLER_ALL(sti)
{
    if (in_real(c) || iopl_allows(c)) {
        bool was = (c->s.rflags & FL_IF) != 0;
        c->s.rflags |= FL_IF;
        if (!was)
            cpu_set_shadow(c, true, false);
        else
            cpu_update_attention(c);
    } else if (virtual_if(c) && !(c->s.rflags & FL_VIP)) {
        c->s.rflags |= FL_VIF;
    } else {
        RAISE_ERR(VEC_GP, 0);
    }
    NEXT;
}

/* --- PUSHF, POPF -------------------------------------------------------------------------------------- */

static bool push_value(struct cpu *c, uint32_t size, uint64_t v)
{
    struct stack st;
    uint64_t mask = in_64bit(c) ? ~UINT64_C(0) : c->s.seg[SEG_SS].ar & AR_DB ? 0xffffffff : 0xffff;
    uint64_t sp = (R64(RSP) - size) & mask;
    bool ok = size == 8   ? mem_write64(c, SEG_SS, sp, v)
              : size == 4 ? mem_write32(c, SEG_SS, sp, (uint32_t)v)
                          : mem_write16(c, SEG_SS, sp, (uint16_t)v);
    if (!ok) return false;
    st.sp = sp;
    st.mask = mask;
    stack_commit(c, &st);
    return true;
}

static bool pop_value(struct cpu *c, uint32_t size, uint64_t *v, struct stack *st)
{
    uint32_t d = 0;
    uint16_t w = 0;
    st->mask = in_64bit(c) ? ~UINT64_C(0) : c->s.seg[SEG_SS].ar & AR_DB ? 0xffffffff : 0xffff;
    uint64_t sp = R64(RSP) & st->mask;
    st->sp = sp + size;
    if (size == 8) return mem_read64(c, SEG_SS, sp, v);
    if (size == 4) {
        if (!mem_read32(c, SEG_SS, sp, &d)) return false;
        *v = d;
        return true;
    }
    if (!mem_read16(c, SEG_SS, sp, &w)) return false;
    *v = w;
    return true;
}

static NOINLINE bool do_pushf(struct cpu *c, uint32_t size)
{
    uint64_t image = cpu_read_rflags(c) & ~(uint64_t)(FL_RF | FL_VM);
    if (in_v86(c) && (image & FL_IOPL) != FL_IOPL) {
        if (!(c->s.cr4 & CR4_VME) || size != 2) return cpu_raise_error(c, VEC_GP, 0);
        image = (image & ~(uint64_t)FL_IF) | FL_IOPL | (image & FL_VIF ? FL_IF : 0);
    }
    return push_value(c, size, image);
}

HANDLER_ALL(pushf)
{
    TRY(do_pushf(c, u->size));
    NEXT;
}

static NOINLINE bool do_popf(struct cpu *c, uint32_t size)
{
    uint64_t image, flags = cpu_read_rflags(c);
    uint64_t mask = FL_OSZAPC | FL_TF | FL_DF | FL_NT | (size == 2 ? 0 : FL_AC | FL_ID);
    struct stack st;
    if (in_v86(c) && (flags & FL_IOPL) != FL_IOPL) {
        if (!(c->s.cr4 & CR4_VME) || size != 2) return cpu_raise_error(c, VEC_GP, 0);
        if (!pop_value(c, size, &image, &st)) return false;
        if ((image & FL_TF) || ((image & FL_IF) && (flags & FL_VIP))) return cpu_raise_error(c, VEC_GP, 0);
        image = image & FL_IF ? image | FL_VIF : image & ~(uint64_t)FL_VIF;
        mask |= FL_VIF;
    } else {
        if (!pop_value(c, size, &image, &st)) return false;
        if (in_real(c) || iopl_allows(c)) mask |= FL_IF;
        if (c->s.cpl == 0 && !in_v86(c)) mask |= FL_IOPL;
    }
    stack_commit(c, &st);
    cpu_write_rflags(c, (flags & ~mask & ~(uint64_t)FL_RF) | (image & mask));
    if ((image ^ flags) & mask & FL_AC) mmu_update_rights(c);
    cpu_update_attention(c);
    return true;
}

HANDLER_ALL(popf)
{
    TRY(do_popf(c, u->size));
    NEXT;
}

/* --- Software interrupts ------------------------------------------------------------------------------ */

static NOINLINE bool soft_event(struct cpu *c, const struct uop *u, uint8_t vector, enum event_type type)
{
    struct event ev = {.valid = 1, .vector = vector, .type = (uint8_t)type, .insn_length = u->len};
    return cpu_deliver(c, &ev) == VIRT_EXITED;
}

/* INT n in virtual-8086 mode, SDM 3B table 21-2: below IOPL 3 only the redirected way is open. */
static NOINLINE bool int_n_allowed(struct cpu *c, uint8_t vector)
{
    bool redirected = false;
    if (!in_v86(c) || (c->s.rflags & FL_IOPL) == FL_IOPL) return true;
    if ((c->s.cr4 & CR4_VME) && !v86_int_redirected(c, vector, &redirected)) return false;
    return redirected || cpu_raise_error(c, VEC_GP, 0);
}

HANDLER_ALL(int_n)
{
    TRY(int_n_allowed(c, (uint8_t)u->imm));
    if (soft_event(c, u, (uint8_t)u->imm, EVENT_SW_INT)) EXITED;
    END_BLOCK;
}
HANDLER_ALL(int3)
{
    if (soft_event(c, u, VEC_BP, EVENT_SW_EXCEPTION)) EXITED;
    END_BLOCK;
}
HANDLER_ALL(into)
{
    if (!flag_of(c)) {
        c->s.gpr[REG_RIP] = u_next_rip(c, u);
        END_BLOCK;
    }
    if (soft_event(c, u, VEC_OF, EVENT_SW_EXCEPTION)) EXITED;
    END_BLOCK;
}
HANDLER_ALL(int1)
{
    if (soft_event(c, u, VEC_DB, EVENT_PRIV_SW_EXC)) EXITED;
    END_BLOCK;
}

static NOINLINE bool do_bound(struct cpu *c, const struct uop *u)
{
    uint64_t ea = u_ea(c, u), mask = u_asize(u) == 0 ? 0xffff : 0xffffffff;
    int64_t index, low, high;
    if (u->size == 2) {
        uint16_t a, b;
        if (!mem_read16(c, u_seg(u), ea, &a) || !mem_read16(c, u_seg(u), (ea + 2) & mask, &b)) return false;
        index = (int16_t)R16(u->dst), low = (int16_t)a, high = (int16_t)b;
    } else {
        uint32_t a, b;
        if (!mem_read32(c, u_seg(u), ea, &a) || !mem_read32(c, u_seg(u), (ea + 4) & mask, &b)) return false;
        index = (int32_t)R32(u->dst), low = (int32_t)a, high = (int32_t)b;
    }
    return (index >= low && index <= high) || cpu_raise(c, VEC_BR);
}

HANDLER_ALL(bound)
{
    TRY(do_bound(c, u));
    NEXT;
}

/* --- Far transfers ------------------------------------------------------------------------------------ */

/* False with no fault recorded: a task switch left for another context. */
#define TRANSFER(ok)                                 \
    do {                                             \
        if (!(ok)) {                                 \
            if (c->fault.kind == FAULT_NONE) EXITED; \
            FAULT;                                   \
        }                                            \
        END_BLOCK;                                   \
    } while (0)

/* Tasks cannot be switched in IA-32e mode: nobody needs the instruction there. */
static const struct insn *insn_for_task(struct cpu *c, const struct uop *u)
{
    return in_long_mode(c) ? NULL : cpu_current_insn(c, u);
}

/* Some models do not know far pointers with 64-bit offsets (quirk.h). */
static uint32_t far_size(const struct cpu *c, const struct uop *u)
{
    return u->size == 8 && cpu_quirk(c, QUIRK_FAR_NO_OFFSET64) ? 4 : u->size;
}

/* The memory operand of a far transfer. */
static bool far_pointer(struct cpu *c, const struct uop *u, uint64_t *off, uint16_t *sel)
{
    unsigned as = u_asize(u);
    uint64_t mask = as == 2 ? ~UINT64_C(0) : as == 1 ? 0xffffffff : 0xffff;
    uint64_t ea = u_ea(c, u);
    uint32_t size = far_size(c, u);
    uint32_t d;
    uint16_t w;
    if (size == 8) {
        if (!mem_read64(c, u_seg(u), ea, off)) return false;
    } else if (size == 4) {
        if (!mem_read32(c, u_seg(u), ea, &d)) return false;
        *off = d;
    } else {
        if (!mem_read16(c, u_seg(u), ea, &w)) return false;
        *off = w;
    }
    return mem_read16(c, u_seg(u), (ea + size) & mask, sel);
}

static bool far_target(struct cpu *c, const struct uop *u, uint64_t *off, uint16_t *sel)
{
    if (u->flags & UOP_MEM) return far_pointer(c, u, off, sel);
    *off = u->imm;
    *sel = (uint16_t)(u->src | u->dst << 8);
    return true;
}

static NOINLINE bool do_jmp_far(struct cpu *c, const struct uop *u)
{
    uint64_t off;
    uint16_t sel;
    if (!far_target(c, u, &off, &sel)) return false;
    return far_jump(c, sel, off, far_size(c, u), u_next_rip(c, u), insn_for_task(c, u));
}
static NOINLINE bool do_call_far(struct cpu *c, const struct uop *u)
{
    uint64_t off;
    uint16_t sel;
    if (!far_target(c, u, &off, &sel)) return false;
    return far_call(c, sel, off, far_size(c, u), u_next_rip(c, u), insn_for_task(c, u));
}

HANDLER_ALL(jmp_far) { TRANSFER(do_jmp_far(c, u)); }
HANDLER_ALL(call_far) { TRANSFER(do_call_far(c, u)); }
HANDLER_ALL(ret_far) { TRANSFER(far_return(c, u->size, 0)); }

/* The immediate decides u->size in this row: the operand size comes from the decoded instruction. */
static NOINLINE bool do_ret_far_n(struct cpu *c, const struct uop *u)
{
    const struct insn *in = cpu_current_insn(c, u);
    uint32_t size = in_64bit(c) ? 4 : c->s.seg[SEG_CS].ar & AR_DB ? 4 : 2;
    if (in->opsize_prefix) size ^= 6;
    if (in->rex & 8) size = 8;
    return far_return(c, size, (uint16_t)u->imm);
}
HANDLER_ALL(ret_far_n) { TRANSFER(do_ret_far_n(c, u)); }

HANDLER_ALL(iret) { TRANSFER(far_iret(c, u->size, u_next_rip(c, u), insn_for_task(c, u))); }
HANDLER_ALL(syscall) { TRANSFER(sys_call(c, u_next_rip(c, u))); }
HANDLER_ALL(sysret) { TRANSFER(sys_return(c, u->size == 8)); }
HANDLER_ALL(sysenter) { TRANSFER(sys_enter(c)); }
HANDLER_ALL(sysexit) { TRANSFER(sys_exit(c, u->size == 8)); }

/* Outside system-management mode. */
HANDLER_ALL(rsm) { RAISE(VEC_UD); }
