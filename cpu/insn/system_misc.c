/* SPDX-License-Identifier: MIT */
/* System instructions beside the control registers: MSRs, time, CPUID, idle, TLB and cache control, XCR0,
 * protection keys, FS/GS bases, random numbers. Order of checks: #UD, privilege, intercept, values, memory
 * (SDM 3C 26.1.1); where a family differs there is a quirk. SDM 2A-2D under each name; APM 3. */
#include "cpu/flags.h"
#include "cpu/insn.h"
#include "cpu/insn/system.h"
#include "cpu/monitor.h"
#include "cpu/msr.h"
#include "cpu/quirk.h"
#include "cpu/xstate.h"

enum { MSR_IA32_TSC = 0x10, MISC_ENABLE_MWAIT = 1 << 18, LINE = MONITOR_LINE };

static bool time_stamp_denied(const struct cpu *c) { return (c->s.cr4 & CR4_TSD) != 0 && c->s.cpl != 0; }

/* --- MSRs and time --- */

SYSTEM(rdmsr)
{
    struct icpt_info info = {.number = R32(RCX)};
    if (intercepted(c, u, ICPT_RDMSR, &info)) return LEFT;
    uint64_t v;
    if (!cpu_read_msr(c, info.number, &v)) return FAULTED;
    if (info.number == MSR_IA32_TSC) v = c->virt->tsc_view(c, v);
    set_edx_eax(c, v);
    return DONE;
}

SYSTEM(wrmsr)
{
    struct icpt_info info = {.number = R32(RCX), .value = edx_eax(c)};
    if (intercepted(c, u, ICPT_WRMSR, &info)) return LEFT;
    return outcome_of(cpu_write_msr(c, info.number, info.value));
}

SYSTEM(rdtsc)
{
    if (time_stamp_denied(c)) return raise_gp(c);
    if (intercepted_plain(c, u, ICPT_RDTSC)) return LEFT;
    set_edx_eax(c, c->virt->tsc_view(c, cpu_sample_tsc(c)));
    return DONE;
}

SYSTEM(rdtscp)
{
    if (time_stamp_denied(c)) return raise_gp(c);
    if (intercepted_plain(c, u, ICPT_RDTSCP)) return LEFT;
    set_edx_eax(c, c->virt->tsc_view(c, cpu_sample_tsc(c)));
    W32(RCX, c->s.tsc_aux);
    return DONE;
}

/* No counter exists: every index is invalid. */
SYSTEM(rdpmc)
{
    if ((c->s.cr4 & CR4_PCE) == 0 && c->s.cpl != 0) return raise_gp(c);
    struct icpt_info info = {.number = R32(RCX)};
    if (intercepted(c, u, ICPT_RDPMC, &info)) return LEFT;
    return raise_gp(c);
}

SYSTEM(rdpid)
{
    W64(u->dst, c->s.tsc_aux);
    return DONE;
}

SYSTEM(cpuid)
{
    uint32_t r[4];
    if (c->s.cpl != 0 && (c->s.msr_file[MSR_SLOT_MISC_FEATURES_ENABLES] & 1) != 0) return raise_gp(c);
    cpu_cpuid(c, R32(RAX), R32(RCX), r);
    W32(RAX, r[0]);
    W32(RBX, r[1]);
    W32(RCX, r[2]);
    W32(RDX, r[3]);
    return DONE;
}

/* --- Idle --- */

SYSTEM(hlt)
{
    c->s.activity = ACTIVITY_HLT;
    cpu_update_attention(c);
    return DONE;
}

static bool mwait_exists(const struct cpu *c)
{
    if (c->model->vendor == VENDOR_INTEL && (c->s.misc_enable & MISC_ENABLE_MWAIT) == 0) return false;
    return c->s.cpl == 0;
}

/* Arms the monitor on the line of an address that is checked like a byte load. */
static bool arm_monitor(struct cpu *c, unsigned seg, uint64_t off)
{
    uint64_t lin, hpa;
    if (!seg_linear(c, seg, off, 1, ACC_READ, &lin)) return false;
    if (!mmu_translate(c, lin, c->mmu_index, MEM_R, &hpa)) return false;
    monitor_arm(c, hpa);
    return true;
}

SYSTEM(monitor)
{
    bool late = cpu_quirk(c, QUIRK_LATE_EXITS);
    if (!mwait_exists(c)) return raise(c, VEC_UD);
    if (!late && intercepted_plain(c, u, ICPT_MONITOR)) return LEFT;
    if (R32(RCX) != 0) return raise_gp(c);
    struct monitor_state before = c->s.monitor;
    if (!arm_monitor(c, u_seg(u), address_in(c, u, RAX))) return FAULTED;
    if (late) {
        struct monitor_state armed = c->s.monitor;
        c->s.monitor = before;
        if (intercepted_plain(c, u, ICPT_MONITOR)) return LEFT;
        c->s.monitor = armed;
    }
    return DONE;
}

/* Without an armed monitor it is a NOP; a store since MONITOR has disarmed it. */
SYSTEM(mwait)
{
    bool late = cpu_quirk(c, QUIRK_LATE_EXITS);
    struct icpt_info info = {.value = c->s.monitor.armed};
    if (!mwait_exists(c)) return raise(c, VEC_UD);
    if (!late && intercepted(c, u, ICPT_MWAIT, &info)) return LEFT;
    if ((R32(RCX) & ~1u) != 0) return raise_gp(c);
    if (late && intercepted(c, u, ICPT_MWAIT, &info)) return LEFT;
    if (c->s.monitor.armed) monitor_wait(c, true, (R32(RCX) & 1) != 0, 0, false);
    return DONE;
}

SYSTEM(umonitor) { return outcome_of(arm_monitor(c, u_seg(u), address_in(c, u, u->dst))); }

/* Machine cycles until the time-stamp counter as the program sees it reaches `tsc`; 0: it has. The view
 * may run faster or slower than the counter. */
static uint64_t cycles_until(struct cpu *c, uint64_t tsc)
{
    const uint64_t span = UINT64_C(1) << 32;
    uint64_t counter = cpu_read_tsc(c), view = c->virt->tsc_view(c, counter);
    uint64_t rate = c->virt->tsc_view(c, counter + span) - view;
    if (tsc <= view || rate == 0) return 0;
    unsigned __int128 cycles = ((unsigned __int128)(tsc - view) * span + rate - 1) / rate;
    return cycles < UINT64_C(1) << 62 ? (uint64_t)cycles : UINT64_C(1) << 62;
}

/* UMWAIT and TPAUSE: until a deadline in EDX:EAX or, with CF = 1, the operating system's limit. An external
 * interrupt ends the wait whatever IF is. */
static enum outcome timed_wait(struct cpu *c, const struct uop *u, bool line)
{
    if (time_stamp_denied(c)) return raise_gp(c);
    struct icpt_info info = {.gpr = u->dst, .value = edx_eax(c)};
    if (intercepted(c, u, ICPT_UMWAIT, &info)) return LEFT;
    if ((R32(u->dst) & ~1u) != 0) return raise_gp(c);
    uint64_t cycles = cycles_until(c, info.value);
    uint64_t limit = c->s.msr_file[MSR_SLOT_UMWAIT_CONTROL] & 0xfffffffc;
    bool limited = limit != 0 && limit < cycles;
    flags_load_oszapc(c, 0);
    if (cycles != 0 && (!line || c->s.monitor.armed))
        monitor_wait(c, line, true, cpu_now(c) + (limited ? limit : cycles), limited);
    else
        c->s.monitor.armed = 0;
    return DONE;
}

SYSTEM(umwait) { return timed_wait(c, u, true); }
SYSTEM(tpause) { return timed_wait(c, u, false); }

/* --- TLB and caches --- */

/* No segment fault; a non-canonical address does nothing. */
SYSTEM(invlpg)
{
    struct icpt_info info = {.address = linear_unchecked(c, u_seg(u), u_ea(c, u)), .flags = ICPT_F_MEM};
    if (intercepted(c, u, ICPT_INVLPG, &info)) return LEFT;
    if (mem_canonical(c, info.address)) tlb_invlpg(c, info.address);
    return DONE;
}

SYSTEM(invpcid)
{
    uint64_t type = u->size == 8 ? R64(u->dst) : R32(u->dst), d[2];
    struct icpt_info info = {.gpr = u->dst, .value = type, .flags = ICPT_F_MEM};
    info.address = linear_unchecked(c, u_seg(u), u_ea(c, u));
    if (intercepted(c, u, ICPT_INVPCID, &info)) return LEFT;
    if (type > 3) return raise_gp(c);
    if (!mem_read128(c, u_seg(u), u_ea(c, u), false, d)) return FAULTED;
    bool pcide = (c->s.cr4 & CR4_PCIDE) != 0;
    if (d[0] > 0xfff || (type < 2 && !pcide && d[0] != 0)) return raise_gp(c);
    if (type == 0 && !mem_canonical(c, d[1])) return raise_gp(c);
    switch (type) {
    case 0: tlb_flush_page(c, c->tlb_tag, d[1], (int)d[0]); break;
    case 1: tlb_flush_pcid(c, c->tlb_tag, (uint32_t)d[0], true); break;
    case 2: tlb_flush_tag(c, c->tlb_tag, false); break;
    default: tlb_flush_tag(c, c->tlb_tag, true); break;
    }
    return DONE;
}

/* Memory is always coherent here. */
SYSTEM(cache_flush) { return DONE; }
SYSTEM(serialize) { return DONE; }
SYSTEM(cache_line) { return outcome_of(mem_probe_read(c, u_seg(u), u_ea(c, u), 1)); }

SYSTEM(clzero)
{
    static const uint8_t zero[LINE];
    return outcome_of(
        mem_write_bytes(c, u_seg(u), address_in(c, u, RAX) & ~(uint64_t)(LINE - 1), zero, LINE));
}

/* --- XCR0 and protection keys --- */

SYSTEM(xgetbv)
{
    if ((c->s.cr4 & CR4_OSXSAVE) == 0) return raise(c, VEC_UD);
    uint32_t n = R32(RCX);
    if (n > 1 || (n == 1 && !has_feature(c, FEAT_XGETBV1))) return raise_gp(c);
    /* MXCSR other than its initial value counts as SSE state in use here (SDM 1 13.2). */
    uint64_t in_use = xstate_in_use(c) | (c->s.fpu.mxcsr != 0x1f80 ? 1u << XSTATE_SSE : 0);
    set_edx_eax(c, n == 0 ? c->s.xcr0 : c->s.xcr0 & in_use);
    return DONE;
}

SYSTEM(xsetbv)
{
    if ((c->s.cr4 & CR4_OSXSAVE) == 0) return raise(c, VEC_UD);
    if (c->s.cpl != 0) return raise_gp(c);
    struct icpt_info info = {.number = R32(RCX), .value = edx_eax(c)};
    if (intercepted(c, u, ICPT_XSETBV, &info)) return LEFT;
    if (info.number != 0 || (info.value & ~xstate_xcr0_mask(c)) != 0 || (info.value & 1) == 0)
        return raise_gp(c);
    c->s.xcr0 = info.value;
    return DONE;
}

SYSTEM(rdpkru)
{
    if ((c->s.cr4 & CR4_PKE) == 0) return raise(c, VEC_UD);
    if (R32(RCX) != 0) return raise_gp(c);
    W32(RAX, c->s.pkru);
    W32(RDX, 0);
    return DONE;
}

SYSTEM(wrpkru)
{
    if ((c->s.cr4 & CR4_PKE) == 0) return raise(c, VEC_UD);
    if (R32(RCX) != 0 || R32(RDX) != 0) return raise_gp(c);
    c->s.pkru = R32(RAX);
    mmu_update(c);
    return DONE;
}

/* --- SMAP override, FS and GS --- */

SYSTEM(clac)
{
    if (c->s.cpl != 0) return raise(c, VEC_UD);
    c->s.rflags &= ~(uint64_t)FL_AC;
    mmu_update_rights(c);
    return DONE;
}

SYSTEM(stac)
{
    if (c->s.cpl != 0) return raise(c, VEC_UD);
    c->s.rflags |= FL_AC;
    mmu_update_rights(c);
    return DONE;
}

SYSTEM(swapgs)
{
    if (c->s.cpl != 0) return raise_gp(c);
    uint64_t base = c->s.seg[SEG_GS].base;
    c->s.seg[SEG_GS].base = c->s.kernel_gs_base;
    c->s.kernel_gs_base = base;
    mem_update_window(c, SEG_GS);
    return DONE;
}

static enum outcome read_base(struct cpu *c, const struct uop *u, unsigned seg)
{
    if ((c->s.cr4 & CR4_FSGSBASE) == 0) return raise(c, VEC_UD);
    W64(u->dst, u->size == 8 ? c->s.seg[seg].base : (uint32_t)c->s.seg[seg].base);
    return DONE;
}

static enum outcome write_base(struct cpu *c, const struct uop *u, unsigned seg)
{
    if ((c->s.cr4 & CR4_FSGSBASE) == 0) return raise(c, VEC_UD);
    uint64_t v = u->size == 8 ? R64(u->dst) : R32(u->dst);
    if (!mem_canonical(c, v)) return raise_gp(c);
    c->s.seg[seg].base = v;
    mem_update_window(c, seg);
    return DONE;
}

SYSTEM(rdfsbase) { return read_base(c, u, SEG_FS); }
SYSTEM(rdgsbase) { return read_base(c, u, SEG_GS); }
SYSTEM(wrfsbase) { return write_base(c, u, SEG_FS); }
SYSTEM(wrgsbase) { return write_base(c, u, SEG_GS); }

/* --- Random numbers: a deterministic generator (xorshift with a multiplied output) --- */

static enum outcome random_number(struct cpu *c, const struct uop *u, enum icpt id)
{
    struct icpt_info info = {.gpr = u->dst, .size = u->size};
    if (intercepted(c, u, id, &info)) return LEFT;
    uint64_t x = c->s.random != 0 ? c->s.random : 1;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    c->s.random = x;
    x *= UINT64_C(0x2545f4914f6cdd1d);
    if (u->size == 2)
        W16(u->dst, x);
    else
        W64(u->dst, u->size == 8 ? x : (uint32_t)x);
    flags_load_oszapc(c, FL_CF);
    return DONE;
}

SYSTEM(rdrand) { return random_number(c, u, ICPT_RDRAND); }
SYSTEM(rdseed) { return random_number(c, u, ICPT_RDSEED); }
