/* SPDX-License-Identifier: MIT */
/* Codes of #VMEXIT row by row: for each code that these models can produce a guest that exits with it, with
 * all exit information, and a neighbour that does not. A row of exit_codes.def with neither a case here nor a
 * reason to be absent fails. APM 2 15.7-15.14, appendix C. */
#include "svm_host.h"

/* How a guest of the table starts beside its code. */
enum situation {
    PLAIN,
    LEGACY, /* 32-bit, no paging */
    INTR,   /* the line is high, IF = 1 */
    NMI,
    SMI,
    INIT,
    R_INIT, /* INIT to become #SX */
    VIRQ,   /* virtual interrupt pending, IF = 1 */
    NO_IDT,
    STEP,  /* TF */
    TASKS, /* legacy with a second TSS at 20h */
    SMALL_TSS,
    FLAGS_OF, /* legacy, OF = 1 */
    NO_FPU,   /* CR0.TS */
    X87,      /* unmasked */
    SSE,      /* unmasked */
    ALIGN,    /* CPL 3, alignment check on */
    MAPS,     /* every bit of the permission maps */
    XSAVE,
    NPT_ON,
    NPT_ABSENT
};

/* What makes the neighbour: the intercept off, the situation gone, or other code. */
enum neighbour { OFF, CALM, OTHER };

struct row_case {
    unsigned code;
    enum situation situation;
    const char *hex;
    uint64_t rbx; /* and rAX for the rows that name it there */
    uint64_t rax;
    uint64_t info1, info2;
    unsigned length; /* instruction length when nRIP is saved, 0: nRIP is 0 */
    unsigned before; /* bytes of code executed before the exit */
    uint64_t vectoring;
    enum neighbour neighbour;
    const char *other;
    const char *model;
};

#define MOV_CR (UINT64_C(1) << 63)
#define X(name) .code = SVM_EXIT_##name
#define GUEST_CR0 (CR0_PE | (uint64_t)CR0_PG | CR0_NE | CR0_ET)
#define VMMCALL "0f 01 d9"

/* clang-format off */
static const struct row_case cases[] = {
    {X(READ_CR0), .hex = "0f 20 c3", .info1 = MOV_CR | 3, .length = 3},
    {X(READ_CR0), .hex = "0f 01 e3", .length = 3}, /* smsw ebx */
    {X(READ_CR2), .hex = "0f 20 d3", .info1 = MOV_CR | 3, .length = 3},
    {X(READ_CR3), .hex = "0f 20 db", .info1 = MOV_CR | 3, .length = 3},
    {X(READ_CR4), .hex = "0f 20 e3", .info1 = MOV_CR | 3, .length = 3},
    {X(READ_CR8), .hex = "44 0f 20 c3", .info1 = MOV_CR | 3, .length = 4},
    {X(WRITE_CR0), .hex = "0f 22 c3", .rbx = GUEST_CR0, .info1 = MOV_CR | 3, .length = 3},
    {X(WRITE_CR0), .hex = "0f 06", .length = 2},    /* clts */
    {X(WRITE_CR0), .hex = "0f 01 f3", .rbx = 0x31, .length = 3}, /* lmsw bx */
    {X(WRITE_CR2), .hex = "0f 22 d3", .info1 = MOV_CR | 3, .length = 3},
    {X(WRITE_CR3), .hex = "0f 22 db", .rbx = TABLES, .info1 = MOV_CR | 3, .length = 3},
    {X(WRITE_CR4), .hex = "0f 22 e3", .rbx = CR4_PAE, .info1 = MOV_CR | 3, .length = 3},
    {X(WRITE_CR8), .hex = "44 0f 22 c3", .rbx = 1, .info1 = MOV_CR | 3, .length = 4},
#define DR(n, read, write) \
    {X(READ_DR##n), .hex = "0f 21 " read, .info1 = 3, .length = 3}, \
    {X(WRITE_DR##n), .hex = "0f 23 " write, .info1 = 3, .length = 3}
    DR(0, "c3", "c3"), DR(1, "cb", "cb"), DR(2, "d3", "d3"), DR(3, "db", "db"),
    DR(4, "e3", "e3"), DR(5, "eb", "eb"), DR(6, "f3", "f3"), DR(7, "fb", "fb"),
    {X(EXCP_DE), .hex = "31 c9 f7 f1", .before = 2},
    {X(EXCP_DB), .situation = STEP, .hex = "90 90", .before = 1},
    {X(EXCP_BP), .hex = "cc", .length = 1},
    {X(EXCP_OF), .situation = FLAGS_OF, .hex = "ce", .length = 1},
    {X(EXCP_BR), .situation = LEGACY, .hex = "62 03", .rbx = DATA, .rax = 5, .length = 2},
    {X(EXCP_UD), .hex = "0f 0b"},
    {X(EXCP_NM), .situation = NO_FPU, .hex = "d9 c0"},
    {X(EXCP_DF), .situation = NO_IDT, .hex = "0f 0b"},
    {X(EXCP_TS), .situation = SMALL_TSS, .hex = "cd 41", .info1 = 0x18, .vectoring = 0x80000441},
    {X(EXCP_NP), .hex = "cd 42", .info1 = 0x42 << 3 | 2, .vectoring = 0x80000442},
    {X(EXCP_SS), .hex = "48 bc 00 00 00 00 00 00 00 80 50", .before = 10},
    {X(EXCP_GP), .hex = "b9 ff ff ff 7f 0f 32", .before = 5},
    {X(EXCP_PF), .hex = "48 8b 04 25 00 00 f0 3f", .info2 = 0x3ff00000},
    {X(EXCP_PF), .hex = "ff 34 25 00 00 f0 3f", .info2 = 0x3ff00000},
    {X(EXCP_MF), .situation = X87, .hex = "d9 ee d8 f0 9b", .before = 4},
    {X(EXCP_AC), .situation = ALIGN, .hex = "8b 04 25 01 c0 00 00"},
    {X(EXCP_XM), .situation = SSE, .hex = "0f 57 c0 0f 5e c0", .before = 3},
    {X(EXCP_SX), .situation = R_INIT, .hex = "90", .info1 = 1, .neighbour = CALM},
    {X(INTR), .situation = INTR, .hex = "90"},
    {X(NMI), .situation = NMI, .hex = "90"},
    {X(SMI), .situation = SMI, .hex = "90"},
    {X(INIT), .situation = INIT, .hex = "90", .neighbour = CALM},
    {X(VINTR), .situation = VIRQ, .hex = "90"},
    {X(CR0_SEL_WRITE), .hex = "0f 22 c3", .rbx = GUEST_CR0 | CR0_AM, .info1 = MOV_CR | 3, .length = 3},
    {X(CR0_SEL_WRITE), .hex = "0f 01 f3", .rbx = 0x31, .length = 3},
    {X(IDTR_READ), .hex = "0f 01 0b", .rbx = DATA, .length = 3},
    {X(GDTR_READ), .hex = "0f 01 03", .rbx = DATA, .length = 3},
    {X(LDTR_READ), .hex = "0f 00 03", .rbx = DATA, .length = 3},
    {X(TR_READ), .hex = "0f 00 0b", .rbx = DATA, .length = 3},
    {X(IDTR_WRITE), .hex = "0f 01 1b", .rbx = DATA, .length = 3},
    {X(GDTR_WRITE), .hex = "0f 01 13", .rbx = DATA, .length = 3},
    {X(LDTR_WRITE), .hex = "0f 00 d0", .length = 3},
    {X(TR_WRITE), .hex = "0f 00 d8", .length = 3},
    {X(RDTSC), .hex = "0f 31", .length = 2},
    {X(RDPMC), .hex = "0f 33", .length = 2},
    {X(PUSHF), .hex = "9c", .length = 1},
    {X(POPF), .hex = "9d", .length = 1},
    {X(CPUID), .hex = "0f a2", .length = 2},
    {X(RSM), .hex = "0f aa", .length = 2},
    {X(IRET), .hex = "48 cf", .length = 2},
    {X(SWINT), .hex = "cd 43", .info1 = 0x43, .length = 2},
    {X(INVD), .hex = "0f 08", .length = 2},
    {X(PAUSE), .hex = "f3 90", .length = 2},
    {X(HLT), .hex = "f4", .length = 1, .neighbour = OTHER, .other = VMMCALL},
    {X(INVLPG), .hex = "0f 01 3b", .rbx = DATA, .info1 = DATA, .length = 3},
    {X(INVLPGA), .hex = "0f 01 df", .rax = DATA, .info1 = DATA, .length = 3},
    {X(IOIO), .situation = MAPS, .hex = "e6 80", .info1 = 0x800210, .info2 = GUEST_AT + 2, .length = 2},
    {X(IOIO), .situation = MAPS, .hex = "67 66 ed", .info1 = 0x121, .info2 = GUEST_AT + 3, .length = 3},
    {X(MSR), .situation = MAPS, .hex = "0f 32", .length = 2},
    {X(MSR), .situation = MAPS, .hex = "0f 30", .info1 = 1, .length = 2},
    {X(TASK_SWITCH), .situation = TASKS, .hex = "ea 00 00 00 00 20 00", .info1 = 0x20, .info2 = UINT64_C(1) << 38},
    {X(SHUTDOWN), .situation = NO_IDT, .hex = "0f 0b", .neighbour = CALM},
    {X(VMRUN), .hex = "0f 01 d8", .rax = VMCB2_AT, .length = 3, .neighbour = OTHER, .other = VMMCALL},
    {X(VMMCALL), .hex = VMMCALL, .length = 3},
    {X(VMLOAD), .hex = "0f 01 da", .rax = VMCB2_AT, .length = 3},
    {X(VMSAVE), .hex = "0f 01 db", .rax = VMCB2_AT, .length = 3},
    {X(STGI), .hex = "0f 01 dc", .length = 3},
    {X(CLGI), .hex = "0f 01 dd", .length = 3},
    {X(RDTSCP), .hex = "0f 01 f9", .length = 3},
    {X(ICEBP), .hex = "f1", .length = 1},
    {X(WBINVD), .hex = "0f 09", .length = 2},
    {X(WBINVD), .hex = "f3 0f 09", .length = 3},
    {X(MONITOR), .hex = "0f 01 c8", .rax = DATA, .length = 3},
    {X(MWAIT), .hex = "0f 01 c9", .length = 3},
    {X(MWAIT_ARMED), .hex = "0f 01 c8 0f 01 c9", .rax = DATA, .before = 3, .length = 3, .neighbour = OTHER,
     .other = "0f 01 c9 f4"},
    {X(XSETBV), .situation = XSAVE, .hex = "0f 01 d1", .rax = 1, .length = 3},
    {X(INVPCID), .hex = "66 0f 38 82 03", .rbx = DATA, .rax = 2, .info1 = DATA, .info2 = 2, .length = 5},
    {X(IDLE_HLT), .hex = "f4", .length = 1, .neighbour = OTHER, .other = VMMCALL, .model = "max-amd"},
    {X(NPF), .situation = NPT_ABSENT, .hex = "48 8b 03", .rbx = DATA, .info1 = UINT64_C(0x100000004), .info2 = DATA,
     .neighbour = CALM},
};

/* Codes that no guest of these models can cause. */
static const struct {
    unsigned first, last;
    const char *why;
} absent[] = {
    {SVM_EXIT_READ_CR1, SVM_EXIT_READ_CR1, "no such register"},
    {SVM_EXIT_READ_CR5, SVM_EXIT_READ_CR7, "no such register"},
    {SVM_EXIT_READ_CR9, SVM_EXIT_READ_CR15, "no such register"},
    {SVM_EXIT_WRITE_CR1, SVM_EXIT_WRITE_CR1, "no such register"},
    {SVM_EXIT_WRITE_CR5, SVM_EXIT_WRITE_CR7, "no such register"},
    {SVM_EXIT_WRITE_CR9, SVM_EXIT_WRITE_CR15, "no such register"},
    {SVM_EXIT_READ_DR8, SVM_EXIT_READ_DR15, "no such register"},
    {SVM_EXIT_WRITE_DR8, SVM_EXIT_WRITE_DR15, "no such register"},
    {SVM_EXIT_EXCP_NMI, SVM_EXIT_EXCP_NMI, "an NMI is no exception"},
    {SVM_EXIT_EXCP_CSO, SVM_EXIT_EXCP_CSO, "never generated"},
    {SVM_EXIT_EXCP_V15, SVM_EXIT_EXCP_V15, "reserved vector"},
    {SVM_EXIT_EXCP_MC, SVM_EXIT_EXCP_MC, "the machine has no hardware errors"},
    {SVM_EXIT_EXCP_V20, SVM_EXIT_EXCP_VC, "features that no model has, and reserved vectors"},
    {SVM_EXIT_EXCP_V31, SVM_EXIT_EXCP_V31, "reserved vector"},
    {SVM_EXIT_FERR_FREEZE, SVM_EXIT_FERR_FREEZE, "the processor never freezes on FERR#"},
    {SVM_EXIT_SKINIT, SVM_EXIT_SKINIT, "no model has SKINIT: #UD comes first"},
    {SVM_EXIT_RDPRU, SVM_EXIT_CR15_TRAP, "no model has RDPRU, nor SEV-ES and its traps"},
    {SVM_EXIT_INVLPGB, SVM_EXIT_INVLPGB_ILLEGAL, "no model has INVLPGB"},
    {SVM_EXIT_MCOMMIT, SVM_EXIT_BUS_LOCK, "no model has MCOMMIT, TLBSYNC, the bus-lock threshold"},
    {SVM_EXIT_AVIC_INCOMPLETE_IPI, SVM_EXIT_VMGEXIT, "no model has AVIC or SEV-ES"},
};
/* clang-format on */

static const unsigned codes[] = {
#define EXIT_CODE(code, name, nrip, text) code,
#include "svm/exit_codes.def"
#undef EXIT_CODE
};

static void legacy(void)
{
    set(VMCB_CR0, CR0_PE | CR0_NE | CR0_ET);
    set(VMCB_CR4, 0);
    set(VMCB_EFER, EFER_SVME);
    segment(OFF_CS_SELECTOR, 8, 0xc9b, 0xffffffff, 0);
}

static void situate(const struct row_case *k, enum situation s)
{
    guest_long();
    c->s.gpr[RBX] = k->rbx;
    c->s.gpr[RCX] = c->s.gpr[RDX] = 0;
    set(VMCB_RAX, k->rax);
    board_poke(b, TABLES + 0x2000 + 8 * 511, 8, 0);
    board_poke(b, IDT + 16 * 0x41 + 4, 1, 1);    /* gate 41h: IST 1 */
    board_poke(b, IDT + 16 * 0x42 + 5, 1, 0x0e); /* gate 42h: not present */
    c->s.intr.gif = 0;
    switch (s) {
    case LEGACY: legacy(); break;
    case FLAGS_OF:
        legacy();
        set(VMCB_RFLAGS, FL_FIXED | FL_OF);
        break;
    case TASKS:
        legacy();
        board_poke(b, GDT + 0x20, 8, UINT64_C(0x0000890000000067) | (TSS + 0x100) << 16);
        break;
    case INTR:
        set(VMCB_RFLAGS, FL_FIXED | FL_IF);
        b->intr_vector = 0x50;
        break;
    case NMI: c->s.intr.nmi_pending = 1; break;
    case SMI: c->s.intr.smi_pending = 1; break;
    case INIT: c->s.intr.init_pending = 1; break;
    case R_INIT:
        c->s.intr.init_pending = 1;
        x->vm_cr = VM_CR_R_INIT;
        break;
    case VIRQ:
        set(VMCB_RFLAGS, FL_FIXED | FL_IF);
        set(VMCB_VINTR, VINTR_IRQ | VINTR_IGN_TPR | UINT64_C(0x50) << VINTR_VECTOR_SHIFT);
        break;
    case NO_IDT: set(VMCB_IDTR_LIMIT, 0); break;
    case STEP: set(VMCB_RFLAGS, FL_FIXED | FL_TF); break;
    case SMALL_TSS: c->s.seg[SEG_TR].limit = 0x10; break;
    case NO_FPU: set_bits(VMCB_CR0, CR0_TS); break;
    case X87:
        c->s.fpu.cw = 0x300;
        c->s.fpu.tag = 0;
        break;
    case SSE:
        set_bits(VMCB_CR4, CR4_OSFXSR | CR4_OSXMMEXCPT);
        c->s.fpu.mxcsr = 0;
        break;
    case ALIGN:
        set(VMCB_CPL, 3);
        set_bits(VMCB_CR0, CR0_AM);
        set(VMCB_RFLAGS, FL_FIXED | FL_AC);
        segment(OFF_CS_SELECTOR, 0xb, 0xafb, 0xffffffff, 0);
        segment(OFF_SS_SELECTOR, 0x13, 0xcf3, 0xffffffff, 0);
        break;
    case MAPS:
        memset(b->bus.ram + IOPM, 0xff, 0x3000);
        memset(b->bus.ram + MSRPM, 0xff, 0x2000);
        break;
    case XSAVE: set_bits(VMCB_CR4, CR4_OSXSAVE); break;
    case NPT_ON: use_npt(); break;
    case NPT_ABSENT:
        use_npt();
        board_poke(b, NPT_PT + 8 * (DATA >> 12), 8, 0);
        break;
    default: break;
    }
}

static void run_case(const struct row_case *k)
{
    char hex[80];
    host_model = k->model ? k->model : "epyc-milan";
    void *state = NULL;

    setup(&state);
    situate(k, k->situation);
    if (k->code == SVM_EXIT_IDLE_HLT) intercept(SVM_EXIT_HLT, false);
    if (k->code < SVM_EXIT_NPF) intercept(k->code, true);
    snprintf(hex, sizeof hex, "%s f4", k->hex);
    uint64_t code = run_code(hex);
    if (code != k->code) fail_msg("%s: exit %x, not %x", k->hex, (unsigned)code, k->code);
    uint64_t rip = GUEST_AT + k->before;
    if (get(VMCB_RIP) != rip || get(VMCB_EXITINFO1) != k->info1 || get(VMCB_EXITINFO2) != k->info2 ||
        get(VMCB_EXITINTINFO) != k->vectoring || get(VMCB_NRIP) != (k->length ? rip + k->length : 0))
        fail_msg("%s: exit %x at %llx, EXITINFO %llx %llx, EXITINTINFO %llx, nRIP %llx", k->hex, k->code,
                 (unsigned long long)get(VMCB_RIP), (unsigned long long)get(VMCB_EXITINFO1),
                 (unsigned long long)get(VMCB_EXITINFO2), (unsigned long long)get(VMCB_EXITINTINFO),
                 (unsigned long long)get(VMCB_NRIP));
    bool bytes = k->code == SVM_EXIT_EXCP_PF || k->code == SVM_EXIT_NPF;
    assert_int_equal(get(VMCB_INSN_LENGTH), bytes ? 15 : 0);
    assert_int_equal(get(VMCB_EVENTINJ), 0);
    teardown(&state);

    setup(&state);
    situate(k, k->neighbour == CALM ? (k->situation == NPT_ABSENT ? NPT_ON : PLAIN) : k->situation);
    if (k->code < SVM_EXIT_NPF && k->neighbour != OFF) intercept(k->code, true);
    if (k->neighbour == OTHER) intercept(SVM_EXIT_VMMCALL, true);
    code = run_code(k->neighbour == OTHER ? k->other : hex);
    if (code == k->code || code == SVM_EXIT_INVALID)
        fail_msg("neighbour of %s: exit %x", k->hex, (unsigned)code);
    teardown(&state);
}

static void each_case(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(&cases[i]);
}

static void every_row_has_its_case(void **state)
{
    (void)state;
    for (unsigned r = 0; r < sizeof codes / sizeof codes[0]; r++) {
        unsigned n = 0;
        for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
            n += cases[i].code == codes[r];
        for (unsigned i = 0; i < sizeof absent / sizeof absent[0]; i++) {
            bool in = codes[r] >= absent[i].first && codes[r] <= absent[i].last;
            if (in && n) fail_msg("code %x is not absent", codes[r]);
            n += in;
        }
        if (n == 0) fail_msg("no case for code %x", codes[r]);
    }
}

/* Checks of the value come before the intercept of a control-register write. */
static void bad_values_fault_first(void **state)
{
    static const struct {
        unsigned code;
        const char *hex;
        uint64_t rbx;
    } rows[] = {{SVM_EXIT_WRITE_CR0, "0f 22 c3", CR0_PG | CR0_NE},
                {SVM_EXIT_WRITE_CR0, "0f 22 c3", GUEST_CR0 | CR0_NW},
                {SVM_EXIT_CR0_SEL_WRITE, "0f 22 c3", GUEST_CR0 | UINT64_C(1) << 32},
                {SVM_EXIT_WRITE_CR3, "0f 22 db", UINT64_C(1) << 60},
                {SVM_EXIT_WRITE_CR4, "0f 22 e3", CR4_PAE | 1 << 15},
                {SVM_EXIT_WRITE_CR4, "0f 22 e3", 0},
                {SVM_EXIT_WRITE_CR8, "44 0f 22 c3", 16}};
    void *s = NULL;
    (void)state;
    host_model = "epyc-milan";
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setup(&s);
        guest_long();
        c->s.gpr[RBX] = rows[i].rbx;
        intercept(rows[i].code, true);
        intercept(SVM_EXIT_EXCP_GP, true);
        assert_int_equal(run_code(rows[i].hex), SVM_EXIT_EXCP_GP);
        teardown(&s);
    }
}

/* Without the features behind them the fields stay empty. */
static void no_assists(void **state)
{
    void *s = NULL;
    (void)state;
    host_model = "epyc-milan,-nrip-save,-decodeassists";
    setup(&s);
    situate(&cases[0], PLAIN);
    set(VMCB_NRIP, 0x1234);
    set(VMCB_INSN_LENGTH, 7);
    intercept(SVM_EXIT_READ_CR0, true);
    assert_int_equal(run_code("0f 20 c3 f4"), SVM_EXIT_READ_CR0);
    assert_int_equal(get(VMCB_EXITINFO1), 0);
    assert_int_equal(get(VMCB_NRIP), 0x1234);
    assert_int_equal(get(VMCB_INSN_LENGTH), 7);
    intercept(SVM_EXIT_EXCP_PF, true);
    assert_int_equal(run_code("48 8b 04 25 00 00 f0 3f"), SVM_EXIT_EXCP_PF);
    assert_int_equal(get(VMCB_INSN_LENGTH), 7);
    teardown(&s);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(svm_exit_name(SVM_EXIT_IDLE_HLT), "HLT with no virtual event pending");
    assert_string_equal(svm_exit_name(SVM_EXIT_NPF), "nested page fault");
    assert_string_equal(svm_exit_name(SVM_EXIT_VMGEXIT), "VMGEXIT");
    assert_string_equal(svm_exit_name(SVM_EXIT_INVALID), "invalid guest state");
    assert_string_equal(svm_exit_name(0x300), "reserved");
    for (unsigned r = 0; r < sizeof codes / sizeof codes[0]; r++)
        assert_string_not_equal(svm_exit_name(codes[r]), "reserved");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_case),
        cmocka_unit_test(each_case),
        cmocka_unit_test(bad_values_fault_first),
        cmocka_unit_test(no_assists),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
