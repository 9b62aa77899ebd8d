/* SPDX-License-Identifier: MIT */
/* Exit reasons row by row: for each reason that these models can produce, a guest that exits with it and a
 * neighbour that does not. A row of exit_reasons.def with neither a pair here nor a reason to be absent
 * fails. SDM 3C 26.1, app. C. */
#include "vmx_host.h"

/* How a guest of the table starts beside its code. */
enum situation {
    PLAIN,
    INTR,
    NMI,
    HALTED,
    TIMER,
    MTF_SET,
    INJECT,
    EPT_ABSENT,
    EPT_WRONG,
    OPEN,
    NMI_OPEN,
    APIC,
    INIT_SIGNAL,
    SIPI,
    BAD_GUEST,
    BAD_MSR,
    LOG_FULL,
    NO_IDT,
    TPR
};

struct half {
    uint32_t pin, pri, sec;
    enum situation situation;
    const char *code;
    uint32_t reason;
};

/* CASE(reason, exits, does not): the second half must give another reason than the first. */
struct pair {
    uint32_t reason;
    struct half exits, neighbour;
};

#define EXITS(pin, pri, sec, situation, code) \
    {                                         \
        pin, pri, sec, situation, code, 0     \
    }
#define BUT(pin, pri, sec, situation, code, reason)     \
    {                                                   \
        pin, pri, sec, situation, code, REASON_##reason \
    }
#define CASE(reason, exits, neighbour)    \
    {                                     \
        REASON_##reason, exits, neighbour \
    }
/* An instruction that exits whatever the controls say: its neighbour is a NOP. */
#define ALWAYS_EXITS(reason, code) \
    CASE(reason, EXITS(0, 0, 0, PLAIN, code), BUT(0, 0, 0, PLAIN, "90 f4", HLT))
/* Exits with a primary or secondary control, runs on to HLT without. */
#define WITH_PRI(reason, control, code) \
    CASE(reason, EXITS(0, control, 0, PLAIN, code), BUT(0, 0, 0, PLAIN, code, HLT))
#define WITH_SEC(reason, control, code) \
    CASE(reason, EXITS(0, 0, control, PLAIN, code), BUT(0, 0, 0, PLAIN, code, HLT))

static const struct pair pairs[] = {
    CASE(EXCEPTION_NMI, EXITS(PIN_NMI_EXIT, 0, 0, NMI, "90 f4"), BUT(0, 0, 0, NMI, "90 f4", HLT)),
    CASE(EXTINT, EXITS(PIN_EXTINT_EXIT, 0, 0, INTR, "90 f4"), BUT(0, 0, 0, INTR, "90 f4", HLT)),
    CASE(TRIPLE_FAULT, EXITS(0, 0, 0, NO_IDT, "0f 0b"), BUT(0, 0, 0, PLAIN, "0f 0b", HLT)),
    CASE(INIT, EXITS(0, 0, 0, INIT_SIGNAL, "90 f4"), BUT(0, 0, 0, PLAIN, "90 f4", HLT)),
    CASE(INTR_WINDOW, EXITS(0, PRI_INTR_WINDOW, 0, OPEN, "90 f4"),
         BUT(0, PRI_INTR_WINDOW, 0, PLAIN, "90 f4", HLT)),
    CASE(NMI_WINDOW, EXITS(PIN_NMI_EXIT | PIN_VIRTUAL_NMI, PRI_NMI_WINDOW, 0, PLAIN, "90 f4"),
         BUT(PIN_NMI_EXIT | PIN_VIRTUAL_NMI, PRI_NMI_WINDOW, 0, NMI_OPEN, "90 f4", HLT)),
    ALWAYS_EXITS(CPUID, "0f a2"),
    CASE(HLT, EXITS(0, 0, 0, PLAIN, "f4"), BUT(0, 0, 0, PLAIN, "0f a2", CPUID)),
    ALWAYS_EXITS(INVD, "0f 08"),
    WITH_PRI(INVLPG, PRI_INVLPG_EXIT, "0f 01 3b f4"),
    WITH_PRI(RDPMC, PRI_RDPMC_EXIT, "0f 33 f4"),
    WITH_PRI(RDTSC, PRI_RDTSC_EXIT, "0f 31 f4"),
    ALWAYS_EXITS(VMCALL, "0f 01 c1"),
    ALWAYS_EXITS(VMCLEAR, "66 0f c7 33"),
    ALWAYS_EXITS(VMLAUNCH, "0f 01 c2"),
    ALWAYS_EXITS(VMPTRLD, "0f c7 33"),
    ALWAYS_EXITS(VMPTRST, "0f c7 3b"),
    ALWAYS_EXITS(VMREAD, "0f 78 d8"),
    ALWAYS_EXITS(VMRESUME, "0f 01 c3"),
    ALWAYS_EXITS(VMWRITE, "0f 79 d8"),
    ALWAYS_EXITS(VMXOFF, "0f 01 c4"),
    ALWAYS_EXITS(VMXON, "f3 0f c7 33"),
    WITH_PRI(CR_ACCESS, PRI_CR3_STORE_EXIT, "0f 20 d8 f4"),
    WITH_PRI(MOV_DR, PRI_MOV_DR_EXIT, "0f 21 c0 f4"),
    WITH_PRI(IO, PRI_IO_EXIT, "e6 80 f4"),
    CASE(RDMSR, EXITS(0, 0, 0, PLAIN, "b9 74 01 00 00 0f 32 f4"),
         BUT(0, PRI_MSR_BITMAPS, 0, PLAIN, "b9 74 01 00 00 0f 32 f4", HLT)),
    CASE(WRMSR, EXITS(0, 0, 0, PLAIN, "b9 74 01 00 00 0f 30 f4"),
         BUT(0, PRI_MSR_BITMAPS, 0, PLAIN, "b9 74 01 00 00 0f 30 f4", HLT)),
    CASE(ENTRY_FAIL_GUEST, EXITS(0, 0, 0, BAD_GUEST, "f4"), BUT(0, 0, 0, PLAIN, "f4", HLT)),
    CASE(ENTRY_FAIL_MSR, EXITS(0, 0, 0, BAD_MSR, "f4"), BUT(0, 0, 0, PLAIN, "f4", HLT)),
    WITH_PRI(MWAIT, PRI_MWAIT_EXIT, "0f 01 c9 f4"),
    CASE(MTF, EXITS(0, PRI_MTF, 0, PLAIN, "90 f4"), BUT(0, 0, 0, PLAIN, "90 f4", HLT)),
    WITH_PRI(MONITOR, PRI_MONITOR_EXIT, "48 89 d8 31 c9 31 d2 0f 01 c8 f4"),
    WITH_PRI(PAUSE, PRI_PAUSE_EXIT, "f3 90 f4"),
    CASE(TPR_THRESHOLD, EXITS(0, PRI_TPR_SHADOW, 0, TPR, "b0 01 44 0f 22 c0 f4"),
         BUT(0, PRI_TPR_SHADOW, 0, TPR, "b0 02 44 0f 22 c0 f4", HLT)),
    CASE(APIC_ACCESS, EXITS(0, PRI_TPR_SHADOW, SEC_APIC_ACCESS, APIC, "8b 43 20 f4"),
         BUT(0, PRI_TPR_SHADOW, SEC_APIC_ACCESS | SEC_APIC_REGISTER, APIC, "8b 43 20 f4", HLT)),
    CASE(VIRTUALIZED_EOI,
         EXITS(PIN_EXTINT_EXIT, PRI_TPR_SHADOW, SEC_APIC_ACCESS | SEC_VIRTUAL_INTR, APIC,
               "89 83 b0 00 00 00 f4"),
         BUT(0, PRI_TPR_SHADOW, SEC_APIC_ACCESS, APIC, "89 83 b0 00 00 00 f4", APIC_ACCESS)),
    WITH_SEC(GDTR_IDTR, SEC_DESC_TABLE_EXIT, "0f 01 03 f4"),
    WITH_SEC(LDTR_TR, SEC_DESC_TABLE_EXIT, "0f 00 c0 f4"),
    CASE(EPT_VIOLATION, EXITS(0, 0, SEC_EPT, EPT_ABSENT, "8b 03 f4"),
         BUT(0, 0, SEC_EPT, PLAIN, "8b 03 f4", HLT)),
    CASE(EPT_MISCONFIG, EXITS(0, 0, SEC_EPT, EPT_WRONG, "8b 03 f4"),
         BUT(0, 0, SEC_EPT, PLAIN, "8b 03 f4", HLT)),
    ALWAYS_EXITS(INVEPT, "66 0f 38 80 03"),
    CASE(RDTSCP, EXITS(0, PRI_RDTSC_EXIT, SEC_RDTSCP, PLAIN, "0f 01 f9 f4"),
         BUT(0, 0, SEC_RDTSCP, PLAIN, "0f 01 f9 f4", HLT)),
    CASE(PREEMPTION_TIMER, EXITS(PIN_PREEMPTION_TIMER, 0, 0, PLAIN, "eb fe"), BUT(0, 0, 0, PLAIN, "f4", HLT)),
    ALWAYS_EXITS(INVVPID, "66 0f 38 81 03"),
    WITH_SEC(WBINVD, SEC_WBINVD_EXIT, "0f 09 f4"),
    CASE(XSETBV, EXITS(0, 0, 0, PLAIN, "0f 01 d1"), BUT(0, 0, 0, PLAIN, "31 c9 0f 01 d0 f4", HLT)),
    CASE(APIC_WRITE, EXITS(0, PRI_TPR_SHADOW, SEC_APIC_ACCESS | SEC_APIC_REGISTER, APIC, "89 43 20 f4"),
         BUT(0, PRI_TPR_SHADOW, SEC_APIC_ACCESS, APIC, "89 43 20 f4", APIC_ACCESS)),
    WITH_SEC(RDRAND, SEC_RDRAND_EXIT, "0f c7 f0 f4"),
    CASE(INVPCID, EXITS(0, PRI_INVLPG_EXIT, SEC_INVPCID, PLAIN, "31 c0 66 0f 38 82 03 f4"),
         BUT(0, 0, SEC_INVPCID, PLAIN, "31 c0 66 0f 38 82 03 f4", HLT)),
    CASE(VMFUNC, EXITS(0, 0, SEC_VMFUNC, PLAIN, "31 c0 0f 01 d4 f4"),
         BUT(0, 0, 0, PLAIN, "31 c0 0f 01 d4 f4", HLT)),
    WITH_SEC(RDSEED, SEC_RDSEED_EXIT, "0f c7 f8 f4"),
    CASE(PML_FULL, EXITS(0, 0, SEC_EPT | SEC_PML, LOG_FULL, "89 03 f4"),
         BUT(0, 0, SEC_EPT, LOG_FULL, "89 03 f4", HLT)),
    CASE(SIPI, EXITS(0, 0, 0, SIPI, "90 f4"), BUT(0, 0, 0, PLAIN, "90 f4", HLT)),
};

/* Reasons that no guest of these models can meet here, and why; TASK_SWITCH needs a 32-bit guest and has its
 * own test. */
static const struct {
    uint32_t reason;
    const char *why;
} absent[] = {
    {REASON_IO_SMI, "no dual-monitor treatment"},
    {REASON_OTHER_SMI, "no dual-monitor treatment"},
    {REASON_TASK_SWITCH, "task_switches"},
    {REASON_GETSEC, "no SMX"},
    {REASON_RSM, "no system-management mode"},
    {REASON_ENTRY_FAIL_MC, "no machine checks"},
    {REASON_ENCLS, "no SGX"},
    {REASON_XSAVES, "IA32_XSS has no bits"},
    {REASON_XRSTORS, "IA32_XSS has no bits"},
    {REASON_PCONFIG, "no PCONFIG"},
    {REASON_SPP, "test_vmx_controls sub_page_permissions"},
    {REASON_UMWAIT, "test_vmx_newer user_wait"},
    {REASON_TPAUSE, "test_vmx_newer user_wait"},
    {REASON_LOADIWKEY, "no key locker"},
    {REASON_ENCLV, "no SGX"},
    {REASON_ENQCMD, "control not offered"},
    {REASON_ENQCMDS, "control not offered"},
    {REASON_BUS_LOCK, "test_vmx_newer bus_locks"},
    {REASON_INSN_TIMEOUT, "test_vmx_newer instruction_timeout"},
    {REASON_SEAMCALL, "no SEAM"},
    {REASON_TDCALL, "no SEAM"},
    {REASON_RDMSRLIST, "control not offered"},
    {REASON_WRMSRLIST, "control not offered"},
    {REASON_URDMSR, "no user MSRs"},
    {REASON_UWRMSR, "no user MSRs"},
    {REASON_RDMSR_IMM, "no immediate forms"},
    {REASON_WRMSRNS_IMM, "no immediate forms"},
};

static uint32_t run_half(const struct half *h)
{
    struct vmcs saved = x->vmcs;
    c->s.gpr[RBX] = 0x40000;
    c->s.gpr[RAX] = c->s.gpr[RCX] = c->s.gpr[RDX] = 0;
    f[F_PIN_CONTROLS] |= h->pin;
    f[F_PRIMARY_CONTROLS] |= h->pri | PRI_SECONDARY;
    f[F_SECONDARY_CONTROLS] |= h->sec;
    f[F_EPTP] = EPT | 0x1e;
    f[F_MSR_BITMAP] = BITMAP;
    f[F_GUEST_CR4] |= CR4_OSXSAVE;
    f[F_VIRTUAL_APIC_ADDR] = VAPIC;
    f[F_APIC_ACCESS_ADDR] = 0x40000;
    f[F_PREEMPTION_TIMER] = 2;
    board_poke(b, EPT_PT + 8 * 0x40, 8, 0x40000 | 0x37);
    switch (h->situation) {
    case INTR:
        b->intr_vector = 0x50;
        f[F_GUEST_RFLAGS] |= FL_IF;
        break;
    case NMI: /* blocked in the host, not in the guest */
        c->s.intr.nmi_pending = c->s.intr.nmi_blocked = 1;
        break;
    case OPEN: f[F_GUEST_RFLAGS] |= FL_IF; break;
    case NMI_OPEN: f[F_GUEST_INTERRUPTIBILITY] = INTR_NMI; break;
    case EPT_ABSENT: board_poke(b, EPT_PT + 8 * 0x40, 8, 0); break;
    case EPT_WRONG: board_poke(b, EPT_PT + 8 * 0x40, 8, 0x40000 | 2); break;
    case LOG_FULL:
        f[F_EPTP] |= 0x40;
        f[F_PML_ADDR] = BITMAP;
        f[F_PML_INDEX] = 0xffff;
        break;
    case APIC: f[F_EOI_EXIT0] = 1; break; /* EOI with nothing in service is vector 0 */
    case NO_IDT: f[F_GUEST_IDTR_LIMIT] = 0; break;
    case INIT_SIGNAL: c->s.intr.init_pending = 1; break;
    case SIPI: f[F_GUEST_ACTIVITY] = ACTIVITY_WAIT_SIPI; break;
    case BAD_GUEST: f[F_GUEST_RFLAGS] = 0; break;
    case BAD_MSR:
        f[F_ENTRY_MSR_LOAD_COUNT] = 1;
        f[F_ENTRY_MSR_LOAD_ADDR] = MSRS;
        board_poke(b, MSRS, 8, 0xc0000100);
        break;
    case TPR:
        board_poke(b, VAPIC + 0x80, 4, 0x20);
        f[F_TPR_THRESHOLD] = 2;
        break;
    default: break;
    }
    uint32_t reason;
    if (h->situation == SIPI) {
        c->s.activity = ACTIVITY_ACTIVE;
        *rip_of(c) = x->vmcs.launched ? RESUME : LAUNCH;
        board_put(b, GUEST_AT, h->code);
        board_run(b, 100);
        assert_true(c->s.in_guest);
        cpu_signal_sipi(c, 0x12);
        board_run(b, 100);
        reason = (uint32_t)f[F_EXIT_REASON];
        assert_int_equal(f[F_EXIT_QUALIFICATION], 0x12);
    } else {
        reason = enter_code(h->code);
    }
    uint32_t launched = x->vmcs.launched;
    x->vmcs = saved;
    x->vmcs.launched = launched;
    memset(x->dirty, 0xff, sizeof x->dirty);
    b->intr_vector = -1;
    c->s.intr.nmi_pending = c->s.intr.nmi_blocked = c->s.intr.init_pending = 0;
    return reason & 0xffff;
}

static void each_reason_and_its_neighbour(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const struct pair *p = &pairs[i];
        uint32_t reason = run_half(&p->exits);
        if (reason != p->reason) fail_msg("%s: exit %u", vmx_exit_reason_name(p->reason), reason);
        reason = run_half(&p->neighbour);
        if (reason != p->neighbour.reason)
            fail_msg("neighbour of %s: exit %u", vmx_exit_reason_name(p->reason), reason);
    }
}

static void no_row_is_forgotten(void **state)
{
    (void)state;
    static const uint32_t rows[] = {
#define EXIT_REASON(number, name, text) number,
#include "vmx/exit_reasons.def"
#undef EXIT_REASON
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned found = 0;
        for (unsigned j = 0; j < sizeof pairs / sizeof pairs[0]; j++)
            found += pairs[j].reason == rows[i];
        for (unsigned j = 0; j < sizeof absent / sizeof absent[0]; j++)
            found += absent[j].reason == rows[i];
        if (found != 1)
            fail_msg("exit reason %u (%s) stands in %u lists", rows[i], vmx_exit_reason_name(rows[i]), found);
    }
}

/* A far jump to a TSS in a 32-bit guest; the same jump to a code segment does not exit. */
static void task_switches(void **state)
{
    (void)state;
    use_ept(0);
    set_control(F_SECONDARY_CONTROLS, SEC_UNRESTRICTED);
    f[F_ENTRY_CONTROLS] &= ~(uint64_t)ENT_IA32E_GUEST;
    f[F_GUEST_CR0] = CR0_PE | CR0_NE | CR0_ET;
    f[F_GUEST_EFER] = 0;
    f[F_GUEST_CS_AR] = 0xc09b;
    board_poke(b, GDT + 0x20, 8, UINT64_C(0x0000890100000067)); /* available TSS at 10000H */
    board_poke(b, GDT + 0x28, 8, UINT64_C(0x00cf9b000000ffff));
    assert_int_equal(enter_code("ea 00 00 00 00 20 00"), REASON_TASK_SWITCH);
    assert_int_equal(f[F_EXIT_QUALIFICATION], UINT64_C(2) << 30 | 0x20);
    assert_int_equal(f[F_EXIT_INSN_LENGTH], 7);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
    assert_int_equal(enter_code("ea 07 80 00 00 28 00 f4"), REASON_HLT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(each_reason_and_its_neighbour), T(task_switches),
                                       cmocka_unit_test(no_row_is_forgotten)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
