/* SPDX-License-Identifier: MIT */
/* SYSCALL, SYSRET, SYSENTER, SYSEXIT: fixed segments, no descriptor is read. SDM 2B, SDM 3A 5.8.7, 5.8.8;
 * APM 2 6.1. Which modes have them differs between models (quirk.h). */
#include "cpu/event.h"
#include "cpu/far.h"
#include "cpu/mem.h"
#include "cpu/quirk.h"

static struct seg_reg flat_code(uint16_t sel, unsigned dpl, bool code64)
{
    return (struct seg_reg){.selector = sel,
                            .limit = 0xffffffff,
                            .ar = 0x9b | (uint32_t)dpl << AR_DPL_SHIFT | AR_G | (code64 ? AR_L : AR_DB)};
}

static struct seg_reg flat_stack(uint16_t sel, unsigned dpl)
{
    return (struct seg_reg){
        .selector = sel, .limit = 0xffffffff, .ar = 0x93 | (uint32_t)dpl << AR_DPL_SHIFT | AR_G | AR_DB};
}

static void enter(struct cpu *c, const struct seg_reg *cs, const struct seg_reg *ss, unsigned cpl,
                  uint64_t rip)
{
    bool was_64bit = in_64bit(c);
    seg_set(c, SEG_CS, cs);
    seg_set(c, SEG_SS, ss);
    c->s.cpl = (uint8_t)cpl;
    c->s.gpr[REG_RIP] = rip;
    seg_code_changed(c, was_64bit);
}

bool sys_call(struct cpu *c, uint64_t next)
{
    if (!(c->s.efer & EFER_SCE)) return cpu_raise(c, VEC_UD);
    if (!in_64bit(c) && !(cpu_quirk(c, QUIRK_SYSCALL_ANY_MODE) && in_protected(c)))
        return cpu_raise(c, VEC_UD);
    uint16_t sel = (uint16_t)(c->s.star >> 32 & 0xfffc);
    uint64_t flags = cpu_read_rflags(c) & ~(uint64_t)FL_RF, rip;
    bool lm = in_long_mode(c);
    struct seg_reg cs = flat_code(sel, 0, lm), ss = flat_stack((uint16_t)(sel + 8), 0);
    if (lm) {
        rip = in_64bit(c) ? c->s.lstar : c->s.cstar;
        c->s.gpr[RCX] = next;
        c->s.gpr[R11] = flags;
        flags &= ~(c->s.sf_mask & 0xffffffff);
    } else {
        rip = (uint32_t)c->s.star;
        c->s.gpr[RCX] = (uint32_t)next;
        flags &= ~(uint64_t)(FL_VM | FL_IF);
    }
    cpu_write_rflags(c, flags | FL_FIXED);
    /* The trace trap follows the masked flags, not those before the instruction. */
    c->no_step = !(flags & FL_TF);
    enter(c, &cs, &ss, 0, rip);
    return true;
}

bool sys_return(struct cpu *c, bool to64)
{
    if (!(c->s.efer & EFER_SCE)) return cpu_raise(c, VEC_UD);
    if (!in_64bit(c) && !(cpu_quirk(c, QUIRK_SYSCALL_ANY_MODE) && in_protected(c)))
        return cpu_raise(c, VEC_UD);
    if (c->s.cpl != 0) return cpu_raise_error(c, VEC_GP, 0);
    uint64_t rip = c->s.gpr[RCX];
    uint16_t base = (uint16_t)(c->s.star >> 48);
    if (to64 && !lin_canonical(c, rip) && !cpu_quirk(c, QUIRK_SYSRET_LATE_CANON))
        return cpu_raise_error(c, VEC_GP, 0);
    if (!to64) rip = (uint32_t)rip;
    if (in_long_mode(c)) {
        uint64_t mask = FL_OSZAPC | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_VIF | FL_VIP | FL_ID;
        cpu_write_rflags(c, (c->s.gpr[R11] & mask) | FL_FIXED);
    } else {
        cpu_write_rflags(c, cpu_read_rflags(c) | FL_IF);
    }
    struct seg_reg cs = flat_code((uint16_t)((base + (to64 ? 16 : 0)) | 3), 3, to64);
    struct seg_reg ss = flat_stack((uint16_t)((base + 8) | 3), 3);
    if (cpu_quirk(c, QUIRK_SYSRET_KEEPS_SS)) {
        uint16_t sel = ss.selector;
        ss = c->s.seg[SEG_SS];
        ss.selector = sel;
        ss.ar |= AR_DPL;
    }
    enter(c, &cs, &ss, 3, rip);
    return true;
}

bool sys_enter(struct cpu *c)
{
    bool lm = in_long_mode(c);
    if (lm && cpu_quirk(c, QUIRK_NO_SYSENTER_LONG)) return cpu_raise(c, VEC_UD);
    uint16_t sel = (uint16_t)(c->s.sysenter_cs & 0xfffc);
    if (in_real(c) || sel == 0) return cpu_raise_error(c, VEC_GP, 0);
    struct seg_reg cs = flat_code(sel, 0, lm), ss = flat_stack((uint16_t)(sel + 8), 0);
    cpu_write_rflags(c, cpu_read_rflags(c) & ~(uint64_t)(FL_VM | FL_IF | FL_RF));
    c->s.gpr[RSP] = lm ? c->s.sysenter_esp : (uint32_t)c->s.sysenter_esp;
    enter(c, &cs, &ss, 0, lm ? c->s.sysenter_eip : (uint32_t)c->s.sysenter_eip);
    return true;
}

bool sys_exit(struct cpu *c, bool to64)
{
    if (in_long_mode(c) && cpu_quirk(c, QUIRK_NO_SYSENTER_LONG)) return cpu_raise(c, VEC_UD);
    uint16_t sel = (uint16_t)(c->s.sysenter_cs & 0xfffc);
    if (in_real(c) || sel == 0 || c->s.cpl != 0) return cpu_raise_error(c, VEC_GP, 0);
    uint64_t rip = c->s.gpr[RDX], rsp = c->s.gpr[RCX];
    if (to64 && (!lin_canonical(c, rip) || !lin_canonical(c, rsp))) return cpu_raise_error(c, VEC_GP, 0);
    struct seg_reg cs = flat_code((uint16_t)((sel + (to64 ? 32 : 16)) | 3), 3, to64);
    struct seg_reg ss = flat_stack((uint16_t)((sel + (to64 ? 40 : 24)) | 3), 3);
    c->s.gpr[RSP] = to64 ? rsp : (uint32_t)rsp;
    enter(c, &cs, &ss, 3, to64 ? rip : (uint32_t)rip);
    return true;
}
