/* SPDX-License-Identifier: MIT */
/* MOV to and from control and debug registers, CLTS, LMSW, SMSW. The intercept of a control-register write
 * comes after #UD and the privilege check and before every check of the value (after them with
 * QUIRK_LATE_EXITS); bits that the context owns
 * keep their value (virt_ops.cr_merge). SDM 2B "MOV - Move to/from Control Registers", "... Debug
 * Registers", SDM 3A 2.5, SDM 3B 18.2, SDM 3C 26.1.1; APM 2 15.9. */
#include "cpu/control.h"
#include "cpu/insn.h"
#include "cpu/insn/system.h"
#include "cpu/quirk.h"

static uint64_t merged(struct cpu *c, int cr, uint64_t value)
{
    return c->virt->cr_merge != NULL ? c->virt->cr_merge(c, cr, value) : value;
}

static bool cr_exists(unsigned n) { return n == 0 || (n >= 2 && n <= 4) || n == 8; }

SYSTEM(mov_from_cr)
{
    unsigned n = u->src;
    if (!cr_exists(n)) return raise(c, VEC_UD);
    if (c->s.cpl != 0) return raise_gp(c);
    struct icpt_info info = {.number = n, .gpr = u->dst, .size = u->size};
    if (intercepted(c, u, ICPT_CR_READ, &info)) return LEFT;
    uint64_t v = n == 2 ? c->s.cr2 : n == 3 ? c->s.cr3 : c->virt->cr_view(c, (int)n);
    W64(u->dst, u->size == 8 ? v : (uint32_t)v);
    return DONE;
}

SYSTEM(mov_to_cr)
{
    unsigned n = u->dst;
    uint64_t v = u->size == 8 ? R64(u->src) : R32(u->src);
    if (!cr_exists(n)) return raise(c, VEC_UD);
    if (c->s.cpl != 0) return raise_gp(c);
    struct icpt_info info = {.number = n, .gpr = u->src, .size = u->size, .value = v};
    if (cpu_quirk(c, QUIRK_LATE_EXITS) && !cpu_cr_value_ok(c, n, v)) return raise_gp(c);
    if (intercepted(c, u, ICPT_CR_WRITE, &info)) return LEFT;
    switch (n) {
    case 0: return outcome_of(cpu_write_cr0(c, merged(c, 0, v)));
    case 2: c->s.cr2 = v; return DONE;
    case 3: return outcome_of(cpu_write_cr3(c, v));
    case 4: return outcome_of(cpu_write_cr4(c, merged(c, 4, v)));
    default:
        if (v > 15) return raise_gp(c);
        return c->virt->cr8_write(c, v) == VIRT_EXITED ? LEFT : DONE;
    }
}

SYSTEM(clts)
{
    if (intercepted_plain(c, u, ICPT_CLTS)) return LEFT;
    c->s.cr0 = merged(c, 0, c->s.cr0 & ~(uint64_t)CR0_TS);
    PROBE(c->probes, c, CR_WRITE, 0, c->s.cr0);
    return DONE;
}

/* Writes PE, MP, EM and TS; PE is never cleared. */
SYSTEM(lmsw)
{
    uint16_t v;
    struct icpt_info info = {.gpr = u->dst, .size = 2};
    if (u->flags & UOP_MEM) {
        info.flags = ICPT_F_MEM;
        info.address = linear_unchecked(c, u_seg(u), u_ea(c, u));
        if (!mem_read16(c, u_seg(u), u_ea(c, u), &v)) return FAULTED;
    } else {
        v = R16(u->dst);
    }
    info.value = v;
    if (intercepted(c, u, ICPT_LMSW, &info)) return LEFT;
    uint64_t cr0 = c->s.cr0;
    uint64_t value = (cr0 & ~UINT64_C(0xe)) | (v & 0xf);
    return outcome_of(cpu_write_cr0(c, merged(c, 0, value)));
}

SYSTEM(smsw)
{
    if ((c->s.cr4 & CR4_UMIP) != 0 && c->s.cpl != 0) return raise_gp(c);
    struct icpt_info info = {.gpr = u->dst, .size = u->size};
    if (u->flags & UOP_MEM) {
        info.flags = ICPT_F_MEM;
        info.address = linear_unchecked(c, u_seg(u), u_ea(c, u));
    }
    if (intercepted(c, u, ICPT_SMSW, &info)) return LEFT;
    uint64_t v = c->virt->cr_view(c, 0);
    if (u->flags & UOP_MEM) return outcome_of(mem_write16(c, u_seg(u), u_ea(c, u), (uint16_t)v));
    if (u->size == 2)
        W16(u->dst, v);
    else
        W64(u->dst, u->size == 8 ? v : (uint32_t)v);
    return DONE;
}

/* --- Debug registers --- */

enum { DR7_GD = 1 << 13, DR7_FIXED = 0x400 };
#define DR7_WRITABLE UINT64_C(0xffff23ff)
#define DR6_FIXED UINT64_C(0xffff0ff0)
#define DR6_WRITABLE UINT64_C(0xe00f)

/* #UD, privilege and general-detect checks with the intercept at the place that the model has for it. */
static enum outcome debug_register_checks(struct cpu *c, const struct uop *u, enum icpt id,
                                          struct icpt_info *info)
{
    unsigned n = info->number;
    if (n > 7) return raise(c, VEC_UD);
    bool late = cpu_quirk(c, QUIRK_LATE_EXITS);
    if (!late && intercepted(c, u, id, info)) return LEFT;
    if ((n == 4 || n == 5) && (c->s.cr4 & CR4_DE) != 0) return raise(c, VEC_UD);
    if (c->s.cpl != 0) return raise_gp(c);
    if (c->s.dr7 & DR7_GD) {
        cpu_raise(c, VEC_DB);
        c->fault.event.payload = DR6_BD;
        return FAULTED;
    }
    return late && intercepted(c, u, id, info) ? LEFT : DONE;
}

SYSTEM(mov_from_dr)
{
    struct icpt_info info = {.number = u->src, .gpr = u->dst, .size = u->size};
    enum outcome o = debug_register_checks(c, u, ICPT_DR_READ, &info);
    if (o != DONE) return o;
    unsigned n = u->src;
    uint64_t v = n < 4 ? c->s.dr[n] : n == 4 || n == 6 ? c->s.dr6 : c->s.dr7;
    W64(u->dst, u->size == 8 ? v : (uint32_t)v);
    return DONE;
}

SYSTEM(mov_to_dr)
{
    uint64_t v = u->size == 8 ? R64(u->src) : R32(u->src);
    struct icpt_info info = {.number = u->dst, .gpr = u->src, .size = u->size, .value = v};
    enum outcome o = debug_register_checks(c, u, ICPT_DR_WRITE, &info);
    if (o != DONE) return o;
    unsigned n = u->dst;
    if (n >= 4 && v >> 32 != 0) return raise_gp(c);
    if (n < 4)
        c->s.dr[n] = v;
    else if (n == 4 || n == 6)
        c->s.dr6 = (v & DR6_WRITABLE) | DR6_FIXED;
    else
        c->s.dr7 = (v & DR7_WRITABLE) | DR7_FIXED;
    mmu_update_rights(c);
    cpu_update_attention(c);
    return DONE;
}
