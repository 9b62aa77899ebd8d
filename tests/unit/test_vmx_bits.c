/* SPDX-License-Identifier: MIT */
/* Every control bit that a model offers, run with the bit and without: the one guest, the one situation, two
 * different observations. An offered bit without a row fails. SDM 3C 25.6 - 25.8. */
#include "vmx_host.h"

#include "cpu/msr.h"

enum { PAGE = 0x40000, PID = 0x11000, PID_TABLE = 0x13000, MANAGED = 0x130000, SPP_TABLES = 0x30000 };
enum { VMFAILED = 0x10000 }; /* observation: VMfail with the number in the low bits */

typedef void prepare_fn(void);
typedef uint64_t look_fn(void);

/* ---- situations ---- */

static void nothing(void) {}
static void interrupt(void) { b->intr_vector = 0x50, f[F_GUEST_RFLAGS] |= FL_IF; }
static void posted(void)
{
    interrupt();
    f[F_GUEST_RFLAGS] = FL_FIXED;
    f[F_POSTED_NV] = 0x50;
    f[F_PID_ADDR] = PID;
}
static void nmi(void) { c->s.intr.nmi_pending = c->s.intr.nmi_blocked = 1; }
static void nmi_in_blocking(void)
{
    nmi();
    f[F_GUEST_INTERRUPTIBILITY] = INTR_NMI;
}
static void open_to_interrupts(void) { f[F_GUEST_RFLAGS] |= FL_IF; }
static void timer(void) { f[F_PREEMPTION_TIMER] = 3; }
static void long_timer(void) { f[F_PREEMPTION_TIMER] = 100; }
static void tsc_offset(void) { f[F_TSC_OFFSET] = UINT64_C(1) << 44; }
static void tsc_multiplier(void)
{
    f[F_TSC_MULTIPLIER] = UINT64_C(1) << 63; /* 32768 times */
    f[F_TSC_OFFSET] = 0;
    c->s.tsc_base = UINT64_C(1) << 30;
}
static void undefined_exits(void) { f[F_EXCEPTION_BITMAP] = 1u << VEC_UD; }
static void xsave_state(void)
{
    undefined_exits();
    f[F_GUEST_CR4] |= CR4_OSXSAVE;
    c->s.gpr[RBX] = 0x10000;
}
static void ept_absent(void) { board_poke(b, EPT_PT + 8 * 0x40, 8, 0); }
static void ve(void)
{
    ept_absent();
    f[F_EXCEPTION_BITMAP] = 1u << VEC_VE;
    f[F_VE_INFO_ADDR] = BITMAP;
}
static void log_full(void)
{
    f[F_EPTP] |= 0x40;
    f[F_PML_ADDR] = BITMAP;
    f[F_PML_INDEX] = 0xffff;
}
static void user_execute_missing(void)
{
    for (unsigned i = 0; i < 512; i++)
        board_poke(b, EPT_PT + 8 * i, 8, i << 12 | 0x37);
}
static void sub_pages(void)
{
    f[F_SPPTP] = SPP_TABLES;
    board_poke(b, EPT_PT + 8 * 0x40, 8, UINT64_C(1) << 61 | 0x40000 | 0x31);
}
static void real_mode(void)
{
    guest_real();
    f[F_SECONDARY_CONTROLS] &= ~(uint64_t)SEC_UNRESTRICTED;
}
static void shadow_vmcs(void)
{
    f[F_VMCS_LINK] = SHADOW_REGION;
    f[F_VMREAD_BITMAP] = f[F_VMWRITE_BITMAP] = BITMAP;
    c->s.gpr[RAX] = ENC_TSC_OFFSET;
    /* The link pointer's region has the type that the control asks for. */
    if (!(f[F_SECONDARY_CONTROLS] & SEC_VMCS_SHADOWING))
        board_poke(b, SHADOW_REGION, 4, vmx_revision(&x->cap));
}
static void pause_window(void)
{
    f[F_PLE_GAP] = 10;
    f[F_PLE_WINDOW] = 20;
    f[F_PREEMPTION_TIMER] = 40;
}
static void split(void) { c->s.gpr[RBX] = PAGE + 62; }
static void self_ipi(void) { board_poke(b, VAPIC + 0x80, 4, 0x30); }
static void ipi(void)
{
    f[F_PID_TABLE_ADDR] = PID_TABLE;
    board_poke(b, PID_TABLE, 8, PID | 1);
    board_poke(b, PID + 32, 8, 3); /* outstanding: nothing is sent */
}
static void spec_ctrl(void)
{
    f[F_SPEC_CTRL_SHADOW] = 2;
    f[F_GUEST_SPEC_CTRL] = 3;
    f[F_HOST_SPEC_CTRL] = 5;
    c->s.msr_file[MSR_SLOT_SPEC_CTRL] = 1;
}
static void tertiary_word(void)
{
    spec_ctrl();
    f[F_TERTIARY_CONTROLS] = TER_SPEC_CTRL;
}
static void secondary_word(void) { f[F_SECONDARY_CONTROLS] = SEC_WBINVD_EXIT; }
static void exit_word(void)
{
    spec_ctrl();
    f[F_EXIT_CONTROLS2] = EXI2_LOAD_SPEC_CTRL;
}
static void managed(void)
{
    f[F_HLATP] = MANAGED;
    board_poke(b, PAGE, 8, 0x11);
    board_poke(b, PAGE + 0x1000, 8, 0x22);
    board_poke(b, MANAGED, 8, (MANAGED + 0x1000) | 7);
    board_poke(b, MANAGED + 0x1000, 8, (MANAGED + 0x2000) | 7);
    board_poke(b, MANAGED + 0x2000, 8, (MANAGED + 0x3000) | 7);
    for (unsigned i = 0; i < 512; i++)
        board_poke(b, MANAGED + 0x3000 + 8 * i, 8, i << 12 | 7);
    board_poke(b, MANAGED + 0x3000 + 8 * 0x40, 8, (PAGE + 0x1000) | 7);
}
static void tables_read_only(void)
{
    f[F_EPTP] |= 0x40;
    for (unsigned i = 0x100; i < 0x103; i++)
        board_poke(b, EPT_PT + 8 * i, 8, (uint64_t)i << 12 | 0x35 | UINT64_C(1) << 58);
}
static void verified_page(void)
{
    f[F_EPTP] |= 0x40;
    board_poke(b, EPT_PT + 8 * 0x40, 8, UINT64_C(1) << 57 | 0x40000 | 0x37);
}
static int alternate(void *o, int id)
{
    static int turn;
    (void)o, (void)id;
    return 0x50 + (turn++ & 1);
}
static void deliveries(void)
{
    gate(0x51, HANDLER + 0x10);
    board_poke(b, IDT + 16 * 0x50 + 5, 1, 0x8f);
    board_poke(b, IDT + 16 * 0x51 + 5, 1, 0x8f);
    b->bus.intr_acknowledge = alternate;
    interrupt();
    f[F_INSN_TIMEOUT] = 10;
    f[F_PREEMPTION_TIMER] = 4;
}
static void pat(void)
{
    f[F_GUEST_PAT] = 5;
    f[F_HOST_PAT] = 4;
    c->s.pat = 6;
}
static void efer(void)
{
    f[F_GUEST_EFER] = EFER_LMA | EFER_LME | EFER_NXE;
    f[F_HOST_EFER] = EFER_LMA | EFER_LME | EFER_SCE;
}
static void efer_of_host(void)
{
    efer();
    f[F_ENTRY_CONTROLS] &= ~(uint64_t)ENT_LOAD_EFER;
}
static void debug(void)
{
    f[F_GUEST_DR7] = 0x401;
    c->s.dr7 = 0x402;
}
static void perf(void)
{
    f[F_GUEST_PERF_GLOBAL_CTRL] = 1;
    f[F_HOST_PERF_GLOBAL_CTRL] = 2;
    c->s.msr_file[MSR_SLOT_PERF_GLOBAL_CTRL] = 4;
}
static void keys(void)
{
    f[F_GUEST_PKRS] = 1;
    f[F_HOST_PKRS] = 2;
    c->s.pkrs = 4;
}
static void functions(void)
{
    f[F_EPTP_LIST_ADDR] = BITMAP;
    board_poke(b, BITMAP, 8, EPT | 0x1e);
}
static void bitmaps(void) { f[F_IO_BITMAP_A] = f[F_IO_BITMAP_B] = BITMAP; }
static void threshold(void)
{
    board_poke(b, VAPIC + 0x80, 4, 0x20);
    f[F_TPR_THRESHOLD] = 2;
}

/* ---- observations ---- */

static uint64_t reason(void) { return f[F_EXIT_REASON]; }
static uint64_t rax(void) { return c->s.gpr[RAX]; }
static uint64_t rdx(void) { return c->s.gpr[RDX] >> 8; }
static uint64_t vector(void) { return f[F_EXIT_INTR_INFO] & 0xff; }
static uint64_t saved_pat(void) { return f[F_GUEST_PAT]; }
static uint64_t saved_dr7(void) { return f[F_GUEST_DR7]; }
static uint64_t saved_nxe(void) { return f[F_GUEST_EFER] & EFER_NXE ? 1 : 0; }
static uint64_t saved_timer(void) { return f[F_PREEMPTION_TIMER] == 100; }
static uint64_t saved_perf(void) { return f[F_GUEST_PERF_GLOBAL_CTRL]; }
static uint64_t live_pat(void) { return c->s.pat; }
static uint64_t live_sce(void) { return c->s.efer & EFER_SCE; }
static uint64_t live_perf(void) { return c->s.msr_file[MSR_SLOT_PERF_GLOBAL_CTRL]; }
static uint64_t live_spec(void) { return c->s.msr_file[MSR_SLOT_SPEC_CTRL]; }
static uint64_t live_pkrs(void) { return c->s.pkrs; }
static uint64_t info_valid(void) { return f[F_EXIT_INTR_INFO] >> 31; }
static uint64_t halted(void) { return c->s.in_guest && c->s.activity == ACTIVITY_HLT; }
static uint64_t tag(void) { return c->tlb_tag; }
static uint64_t guest_efer_nxe(void) { return c->s.gpr[RAX] >> 11 & 1; }

/* ---- rows ---- */

struct row {
    uint8_t word;
    uint64_t bit;
    uint64_t also[VMX_WORDS]; /* set on both sides, by word */
    prepare_fn *prepare;
    const char *code;
    look_fn *look;
    uint64_t with, without;
};

#define R(name) REASON_##name
#define ROW(word, name, prepare, code, look, with, without, ...)                   \
    {                                                                              \
        W_##word, word##_##name, {__VA_ARGS__}, prepare, code, look, with, without \
    }
#define PIN_(bits) [W_PIN] = bits
#define PRI_(bits) [W_PRI] = bits
#define SEC_(bits) [W_SEC] = bits
#define TER_(bits) [W_TER] = bits
#define EXI_(bits) [W_EXI] = bits
#define ENT_(bits) [W_ENT] = bits
#define NONE_ [W_PIN] = 0

#define VAPIC_ PRI_(PRI_TPR_SHADOW)
#define RDMSR_SPEC "b9 48 00 00 00 0f 32 f4"
#define RDMSR_PAT "b9 77 02 00 00 0f 32 f4"
#define RDMSR_PERF "b9 8f 03 00 00 0f 32 f4"
#define WRMSR_PERF "b9 8f 03 00 00 b8 08 00 00 00 31 d2 0f 30 f4"
#define WRMSR_PAT "b9 77 02 00 00 b8 01 00 00 00 31 d2 0f 30 f4"

static const struct row rows[] = {
    ROW(PIN, EXTINT_EXIT, interrupt, "90 f4", reason, R(EXTINT), R(HLT), NONE_),
    ROW(PIN, NMI_EXIT, nmi, "90 f4", reason, R(EXCEPTION_NMI), R(HLT), NONE_),
    ROW(PIN, VIRTUAL_NMI, nmi_in_blocking, "90 f4", reason, R(EXCEPTION_NMI), R(HLT), PIN_(PIN_NMI_EXIT)),
    ROW(PIN, PREEMPTION_TIMER, timer, "b9 00 01 00 00 ff c9 75 fc f4", reason, R(PREEMPTION_TIMER), R(HLT),
        NONE_),
    ROW(PIN, POSTED_INTR, posted, "90 f4", reason, R(HLT), R(EXTINT), PIN_(PIN_EXTINT_EXIT), VAPIC_,
        SEC_(SEC_VIRTUAL_INTR), EXI_(EXI_ACK_INTR)),
    ROW(PRI, INTR_WINDOW, open_to_interrupts, "90 f4", reason, R(INTR_WINDOW), R(HLT), NONE_),
    ROW(PRI, TSC_OFFSET, tsc_offset, "0f 31 f4", rdx, 0x10, 0, NONE_),
    ROW(PRI, HLT_EXIT, nothing, "f4", halted, 0, 1, NONE_),
    ROW(PRI, INVLPG_EXIT, nothing, "0f 01 3b f4", reason, R(INVLPG), R(HLT), NONE_),
    ROW(PRI, MWAIT_EXIT, nothing, "0f 01 c9 f4", reason, R(MWAIT), R(HLT), NONE_),
    ROW(PRI, RDPMC_EXIT, nothing, "0f 33 f4", reason, R(RDPMC), R(HLT), NONE_),
    ROW(PRI, RDTSC_EXIT, nothing, "0f 31 f4", reason, R(RDTSC), R(HLT), NONE_),
    ROW(PRI, CR3_LOAD_EXIT, nothing, "b8 00 00 10 00 0f 22 d8 f4", reason, R(CR_ACCESS), R(HLT), NONE_),
    ROW(PRI, CR3_STORE_EXIT, nothing, "0f 20 d8 f4", reason, R(CR_ACCESS), R(HLT), NONE_),
    ROW(PRI, TERTIARY, tertiary_word, RDMSR_SPEC, rax, 2, 1, PRI_(PRI_MSR_BITMAPS)),
    ROW(PRI, CR8_LOAD_EXIT, nothing, "44 0f 22 c0 f4", reason, R(CR_ACCESS), R(HLT), NONE_),
    ROW(PRI, CR8_STORE_EXIT, nothing, "44 0f 20 c0 f4", reason, R(CR_ACCESS), R(HLT), NONE_),
    ROW(PRI, TPR_SHADOW, threshold, "b0 01 44 0f 22 c0 f4", reason, R(TPR_THRESHOLD), R(HLT), NONE_),
    ROW(PRI, NMI_WINDOW, nothing, "90 f4", reason, R(NMI_WINDOW), R(HLT),
        PIN_(PIN_NMI_EXIT | PIN_VIRTUAL_NMI)),
    ROW(PRI, MOV_DR_EXIT, nothing, "0f 21 c0 f4", reason, R(MOV_DR), R(HLT), NONE_),
    ROW(PRI, IO_EXIT, nothing, "e6 80 f4", reason, R(IO), R(HLT), NONE_),
    ROW(PRI, IO_BITMAPS, bitmaps, "e6 80 f4", reason, R(HLT), R(IO), PRI_(PRI_IO_EXIT)),
    ROW(PRI, MTF, nothing, "90 f4", reason, R(MTF), R(HLT), NONE_),
    ROW(PRI, MSR_BITMAPS, nothing, RDMSR_PAT, reason, R(HLT), R(RDMSR), NONE_),
    ROW(PRI, MONITOR_EXIT, nothing, "48 89 d8 31 c9 31 d2 0f 01 c8 f4", reason, R(MONITOR), R(HLT), NONE_),
    ROW(PRI, PAUSE_EXIT, nothing, "f3 90 f4", reason, R(PAUSE), R(HLT), NONE_),
    ROW(PRI, SECONDARY, secondary_word, "0f 09 f4", reason, R(WBINVD), R(HLT), NONE_),
    ROW(SEC, APIC_ACCESS, nothing, "8b 43 20 f4", reason, R(APIC_ACCESS), R(HLT), VAPIC_),
    ROW(SEC, EPT, ept_absent, "8b 03 f4", reason, R(EPT_VIOLATION), R(HLT), NONE_),
    ROW(SEC, DESC_TABLE_EXIT, nothing, "0f 01 03 f4", reason, R(GDTR_IDTR), R(HLT), NONE_),
    ROW(SEC, RDTSCP, undefined_exits, "0f 01 f9 f4", reason, R(HLT), R(EXCEPTION_NMI), NONE_),
    ROW(SEC, X2APIC_MODE, self_ipi, "b9 08 08 00 00 0f 32 f4", rax, 0x30, 0,
        PRI_(PRI_TPR_SHADOW | PRI_MSR_BITMAPS)),
    ROW(SEC, VPID, nothing, "f4", tag, 7, 0, NONE_),
    ROW(SEC, WBINVD_EXIT, nothing, "0f 09 f4", reason, R(WBINVD), R(HLT), NONE_),
    ROW(SEC, UNRESTRICTED, real_mode, "f4", reason, R(HLT), R(ENTRY_FAIL_GUEST) | 0x80000000u, NONE_),
    ROW(SEC, APIC_REGISTER, nothing, "8b 43 20 f4", reason, R(HLT), R(APIC_ACCESS), VAPIC_,
        SEC_(SEC_APIC_ACCESS)),
    ROW(SEC, VIRTUAL_INTR, nothing, "89 83 b0 00 00 00 f4", reason, R(HLT), R(APIC_ACCESS), VAPIC_,
        SEC_(SEC_APIC_ACCESS), PIN_(PIN_EXTINT_EXIT)),
    ROW(SEC, PAUSE_LOOP, pause_window, "f3 90 eb fc", reason, R(PAUSE), R(PREEMPTION_TIMER),
        PIN_(PIN_PREEMPTION_TIMER)),
    ROW(SEC, RDRAND_EXIT, nothing, "0f c7 f0 f4", reason, R(RDRAND), R(HLT), NONE_),
    ROW(SEC, INVPCID, undefined_exits, "31 c0 66 0f 38 82 03 f4", reason, R(HLT), R(EXCEPTION_NMI), NONE_),
    ROW(SEC, VMFUNC, undefined_exits, "31 c0 0f 01 d4 f4", reason, R(VMFUNC), R(EXCEPTION_NMI), NONE_),
    ROW(SEC, VMCS_SHADOWING, shadow_vmcs, "0f 78 c3 f4", reason, R(HLT), R(VMREAD), NONE_),
    ROW(SEC, RDSEED_EXIT, nothing, "0f c7 f8 f4", reason, R(RDSEED), R(HLT), NONE_),
    ROW(SEC, PML, log_full, "89 03 f4", reason, R(PML_FULL), R(HLT), SEC_(SEC_EPT)),
    ROW(SEC, EPT_VE, ve, "8b 03 f4", vector, VEC_VE, 0, SEC_(SEC_EPT)),
    ROW(SEC, XSAVES, xsave_state, "31 c0 31 d2 0f c7 2b f4", reason, R(HLT), R(EXCEPTION_NMI), NONE_),
    ROW(SEC, MBEC, user_execute_missing, "f4", reason, R(EPT_VIOLATION), R(HLT), SEC_(SEC_EPT)),
    ROW(SEC, SPP, sub_pages, "89 03 f4", reason, R(SPP), R(EPT_VIOLATION), SEC_(SEC_EPT)),
    ROW(SEC, TSC_SCALING, tsc_multiplier, "0f 31 f4", rdx, 0x20, 0, PRI_(PRI_TSC_OFFSET)),
    ROW(SEC, USER_WAIT, undefined_exits, "66 0f ae f1 f4", reason, R(TPAUSE), R(EXCEPTION_NMI),
        PRI_(PRI_RDTSC_EXIT)),
    ROW(SEC, BUS_LOCK, split, "f0 ff 03 f4", reason, R(BUS_LOCK), R(HLT), NONE_),
    ROW(SEC, INSN_TIMEOUT, deliveries, "90 f4", reason, R(INSN_TIMEOUT), R(PREEMPTION_TIMER),
        PIN_(PIN_PREEMPTION_TIMER)),
    ROW(TER, HLAT, managed, "8b 03 f4", rax, 0x22, 0x11, SEC_(SEC_EPT)),
    ROW(TER, PAGING_WRITE, tables_read_only, "8b 03 f4", reason, R(HLT), R(EPT_VIOLATION), SEC_(SEC_EPT)),
    ROW(TER, GUEST_PAGING_VERIFY, verified_page, "8b 03 f4", reason, R(EPT_VIOLATION), R(HLT), SEC_(SEC_EPT)),
    ROW(TER, IPI_VIRTUALIZATION, ipi, "c7 83 00 03 00 00 41 00 00 00 f4", reason, R(HLT), R(APIC_ACCESS),
        VAPIC_, SEC_(SEC_APIC_ACCESS)),
    ROW(TER, SPEC_CTRL, spec_ctrl, RDMSR_SPEC, rax, 2, 1, PRI_(PRI_MSR_BITMAPS)),
    ROW(EXI, SAVE_DEBUG, debug, "31 c0 0f 23 f8 f4", saved_dr7, 0x400, 0x401, ENT_(ENT_LOAD_DEBUG)),
    ROW(EXI, HOST_64BIT, nothing, "f4", reason, R(HLT), VMFAILED + 8, NONE_),
    ROW(EXI, LOAD_PERF_GLOBAL, perf, "f4", live_perf, 2, 4, NONE_),
    ROW(EXI, ACK_INTR, interrupt, "90 f4", info_valid, 1, 0, PIN_(PIN_EXTINT_EXIT)),
    ROW(EXI, SAVE_PAT, pat, WRMSR_PAT, saved_pat, 1, 5, PRI_(PRI_MSR_BITMAPS)),
    ROW(EXI, LOAD_PAT, pat, "f4", live_pat, 4, 6, NONE_),
    ROW(EXI, SAVE_EFER, efer_of_host, "f4", saved_nxe, 0, 1, NONE_),
    ROW(EXI, LOAD_EFER, efer, "f4", live_sce, EFER_SCE, 0, NONE_),
    ROW(EXI, SAVE_TIMER, long_timer, "b9 00 02 00 00 ff c9 75 fc 0f a2", saved_timer, 0, 1,
        PIN_(PIN_PREEMPTION_TIMER)),
    ROW(EXI, LOAD_PKRS, keys, "f4", live_pkrs, 2, 4, NONE_),
    ROW(EXI, SAVE_PERF_GLOBAL, perf, WRMSR_PERF, saved_perf, 8, 1, PRI_(PRI_MSR_BITMAPS)),
    ROW(EXI, SECONDARY, exit_word, "f4", live_spec, 5, 1, NONE_),
    ROW(EXI2, LOAD_SPEC_CTRL, spec_ctrl, "f4", live_spec, 5, 1, EXI_(EXI_SECONDARY)),
    ROW(ENT, LOAD_DEBUG, debug, "0f 21 f8 f4", rax, 0x401, 0x402, NONE_),
    ROW(ENT, IA32E_GUEST, nothing, "f4", reason, R(HLT), R(ENTRY_FAIL_GUEST) | 0x80000000u, NONE_),
    ROW(ENT, LOAD_PERF_GLOBAL, perf, RDMSR_PERF, rax, 1, 4, PRI_(PRI_MSR_BITMAPS)),
    ROW(ENT, LOAD_PAT, pat, RDMSR_PAT, rax, 5, 6, PRI_(PRI_MSR_BITMAPS)),
    ROW(ENT, LOAD_EFER, efer, "b9 80 00 00 c0 0f 32 f4", guest_efer_nxe, 1, 0, PRI_(PRI_MSR_BITMAPS)),
    ROW(ENT, LOAD_PKRS, keys, "b9 e1 06 00 00 0f 32 f4", rax, 1, 4, PRI_(PRI_MSR_BITMAPS)),
    ROW(ENT, LOAD_SPEC_CTRL, spec_ctrl, RDMSR_SPEC, rax, 3, 1, PRI_(PRI_MSR_BITMAPS)),
    ROW(VMFUNC, EPTP_SWITCHING, functions, "31 c0 31 c9 0f 01 d4 f4", reason, R(HLT), R(VMFUNC),
        SEC_(SEC_EPT | SEC_VMFUNC)),
};

static const int field_of_word[VMX_WORDS] = {
    [W_PIN] = F_PIN_CONTROLS,      [W_PRI] = F_PRIMARY_CONTROLS,  [W_SEC] = F_SECONDARY_CONTROLS,
    [W_TER] = F_TERTIARY_CONTROLS, [W_EXI] = F_EXIT_CONTROLS,     [W_EXI2] = F_EXIT_CONTROLS2,
    [W_ENT] = F_ENTRY_CONTROLS,    [W_VMFUNC] = F_VMFUNC_CONTROLS};

static uint64_t tag_seen;

static uint64_t observe(const struct row *r, bool on)
{
    void *none = NULL;
    setup(&none);
    c->s.gpr[RBX] = PAGE;
    c->s.gpr[RAX] = c->s.gpr[RCX] = c->s.gpr[RDX] = 0;
    f[F_EPTP] = EPT | 0x1e;
    f[F_MSR_BITMAP] = BITMAP;
    f[F_VIRTUAL_APIC_ADDR] = VAPIC;
    f[F_APIC_ACCESS_ADDR] = PAGE;
    f[F_VPID] = 7;
    f[F_TSC_MULTIPLIER] = UINT64_C(1) << 48;
    f[F_PRIMARY_CONTROLS] |= PRI_SECONDARY | PRI_TERTIARY;
    for (unsigned w = 0; w < VMX_WORDS; w++)
        f[field_of_word[w]] |= r->also[w];
    if (on)
        f[field_of_word[r->word]] |= r->bit;
    else
        f[field_of_word[r->word]] &= ~r->bit;
    r->prepare();
    if (on) f[field_of_word[r->word]] |= r->bit; /* a situation may have cleared it */
    board_put(b, GUEST_AT, r->code);
    f[F_GUEST_RIP] = GUEST_AT;
    c->s.activity = ACTIVITY_ACTIVE;
    *rip_of(c) = LAUNCH;
    tag_seen = 0;
    for (int i = 0; i < 4 && (c->s.in_guest || c->s.activity != ACTIVITY_HLT); i++) {
        board_run(b, i == 0 && r->look == tag ? 1 : 1000);
        if (c->s.in_guest && c->tlb_tag) tag_seen = c->tlb_tag;
    }
    uint64_t seen = *rip_of(c) == LAUNCH + 4 ? VMFAILED + f[F_INSN_ERROR]
                    : r->look == tag         ? tag_seen
                                             : r->look();
    teardown(&none);
    return seen;
}

static void with_and_without(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        assert_true(r->with != r->without);
        for (int on = 0; on < 2; on++) {
            uint64_t got = observe(r, on), want = on ? r->with : r->without;
            if (got == want) continue;
            print_message("word %u bit mask %llx, %s: %llx, not %llx\n", r->word, (unsigned long long)r->bit,
                          on ? "with" : "without", (unsigned long long)got, (unsigned long long)want);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void no_offered_bit_is_forgotten(void **state)
{
    unsigned offered = 0, missing = 0;
    (void)state;
    for (unsigned i = 0; i < vmx_control_count; i++) {
        const struct vmx_control_info *k = &vmx_controls[i];
        uint64_t bit = UINT64_C(1) << k->bit;
        if (!(x->cap.allowed1[k->word] & bit)) continue;
        bool found = false;
        for (unsigned j = 0; j < sizeof rows / sizeof rows[0]; j++)
            found |= rows[j].word == k->word && rows[j].bit == bit;
        if (!found) print_message("%s (word %u bit %u) has no row\n", k->name, k->word, k->bit);
        offered++;
        missing += !found;
    }
    print_message("%u bits offered, %u rows\n", offered, (unsigned)(sizeof rows / sizeof rows[0]));
    assert_int_equal(missing, 0);
}

int main(void)
{
    host_model = "max-intel";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_and_without),
        cmocka_unit_test_setup_teardown(no_offered_bit_is_forgotten, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
