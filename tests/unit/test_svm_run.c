/* SPDX-License-Identifier: MIT */
/* SVM at work beside its tables: formats of the nested tables by the host's paging, ASIDs and TLB control,
 * clean bits, the global interrupt flag, the registers of the extension, CPUID. APM
 * 2 15.15, 15.16, 15.17, 15.25, 15.30, 15.31. */
#include "cpu/cpuid.h"
#include "cpu/msr.h"
#include "svm/strict.h"
#include "svm_host.h"

static const char *const LOAD = "48 8b 04 25 00 c0 00 00 f4"; /* mov rax, [DATA]; hlt */

static void host_legacy(uint64_t cr4, uint64_t root, bool paging)
{
    c->s.efer = EFER_SVME | EFER_NXE;
    c->s.cr0 = CR0_PE | CR0_NE | CR0_ET | (paging ? (uint64_t)CR0_PG : 0);
    c->s.cr4 = cr4;
    c->s.cr3 = root;
    struct seg_reg cs = {.selector = 8, .ar = 0xc09b, .limit = 0xffffffff};
    cpu_load_segment(c, SEG_CS, &cs);
    if (cr4 & CR4_PAE)
        for (unsigned i = 0; i < 4; i++)
            c->s.pdpte[i] = board_peek(b, root + 8 * i, 8);
}

static void nested_tables_of_a_pae_host(void **state)
{
    (void)state;
    board_poke(b, PDPT, 8, (TABLES + 0x2000) | 1);
    host_legacy(CR4_PAE, PDPT, true);
    board_poke(b, PDPT + 0x40, 8, (NPT + 0x2000) | 1);
    use_npt();
    set(VMCB_N_CR3, PDPT + 0x40);
    board_poke(b, DATA, 8, 0x1122334455667788);
    assert_int_equal(run_code(LOAD), SVM_EXIT_HLT);
    assert_int_equal(get(VMCB_RAX), 0x1122334455667788);
    assert_int_equal(board_peek(b, NPT_PT + 8 * (DATA >> 12), 8), DATA | 0x27);
    board_poke(b, PDPT + 0x40, 8, (NPT + 0x2000) | 0x81); /* a reserved bit of a pointer */
    assert_int_equal(run_code(LOAD), SVM_EXIT_NPF);
    assert_int_equal(get(VMCB_EXITINFO1), UINT64_C(0x20000000f));
    board_poke(b, PDPT + 0x40, 8, 0);
    assert_int_equal(run_code(LOAD), SVM_EXIT_NPF);
    assert_int_equal(get(VMCB_EXITINFO1), UINT64_C(0x200000006));
}

static void nested_tables_of_a_32bit_host(void **state)
{
    (void)state;
    uint64_t dir = NPT + 0x8000, table = NPT + 0x9000, host = NPT + 0xa000;
    board_poke(b, host, 4, 0x87); /* 4 MBytes one to one */
    host_legacy(CR4_PSE, host, true);
    board_poke(b, dir, 4, table | 7);
    for (unsigned i = 0; i < 1024; i++)
        board_poke(b, table + 4 * i, 4, i << 12 | 7);
    use_npt();
    set(VMCB_N_CR3, dir);
    assert_int_equal(run_code(LOAD), SVM_EXIT_HLT);
    board_poke(b, table + 4 * (DATA >> 12), 4, 0);
    assert_int_equal(run_code(LOAD), SVM_EXIT_NPF);
    assert_int_equal(get(VMCB_EXITINFO1), UINT64_C(0x100000004));
    assert_int_equal(get(VMCB_EXITINFO2), DATA);
    board_poke(b, dir, 4, 0x87);
    assert_int_equal(run_code(LOAD), SVM_EXIT_HLT);
    board_poke(b, dir, 4, 0x87 | 1 << 21);
    assert_int_equal(run_code(LOAD), SVM_EXIT_NPF);
    assert_int_equal(get(VMCB_EXITINFO1), UINT64_C(0x20000000f));
}

/* A host whose PDPTEs have gone bad meanwhile shuts down. */
static void bad_host_pdptes(void **state)
{
    (void)state;
    board_poke(b, PDPT, 8, (TABLES + 0x2000) | 1);
    host_legacy(CR4_PAE, PDPT, true);
    board_poke(b, PDPT + 8, 8, 0x1e7);
    board_put(b, GUEST_AT, "f4");
    c->s.gpr[RAX] = VMCB_AT;
    *rip_of(c) = VMRUN_AT;
    assert_int_equal(board_run(b, 100), STOP_SHUTDOWN);
    assert_int_equal(get(VMCB_EXITCODE), SVM_EXIT_HLT);
}

/* The guest reads DATA; between two runs its nested page is taken away behind the TLB's back. */
static uint64_t stale(uint32_t asid, uint8_t control)
{
    c->s.activity = ACTIVITY_ACTIVE;
    set(VMCB_ASID, asid);
    set(VMCB_TLB_CONTROL, control);
    set(VMCB_RIP, GUEST_AT);
    c->s.gpr[RAX] = VMCB_AT;
    *rip_of(c) = VMRUN_AT;
    cpu_mode_changed(c);
    for (int i = 0; i < 8 && (c->s.in_guest || c->s.activity != ACTIVITY_HLT); i++)
        cpu_run(c, cpu_now(c) + 1000);
    return get(VMCB_EXITCODE);
}

static void translations_stay_until_flushed(void **state)
{
    static const struct {
        uint32_t asid;
        uint8_t control;
        uint64_t code;
    } rows[] = {{1, TLB_KEEP, SVM_EXIT_HLT},       {2, TLB_KEEP, SVM_EXIT_NPF},
                {1, TLB_FLUSH_ASID, SVM_EXIT_NPF}, {1, TLB_FLUSH_ASID_LOCAL, SVM_EXIT_NPF},
                {1, TLB_FLUSH_ALL, SVM_EXIT_NPF},  {1, 2, SVM_EXIT_HLT}};
    (void)state;
    board_put(b, GUEST_AT, LOAD);
    use_npt();
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        board_poke(b, NPT_PT + 8 * (DATA >> 12), 8, DATA | 7);
        assert_int_equal(stale(1, TLB_FLUSH_ALL), SVM_EXIT_HLT);
        board_poke(b, NPT_PT + 8 * (DATA >> 12), 8, 0);
        uint64_t code = stale(rows[i].asid, rows[i].control);
        if (code != rows[i].code) fail_msg("row %u: exit %x", i, (unsigned)code);
    }
}

static void clean_groups(void **state)
{
    static const struct {
        enum vmcb_field field;
        unsigned group;
        uint64_t changed;
    } rows[] = {{VMCB_INTERCEPT_3, CLEAN_I, 1},
                {VMCB_TSC_OFFSET, CLEAN_I, 5},
                {VMCB_MSRPM_BASE, CLEAN_IOPM, 0x1000},
                {VMCB_ASID, CLEAN_ASID, 7},
                {VMCB_VINTR, CLEAN_TPR, 3},
                {VMCB_N_CR3, CLEAN_NP, 0x2000},
                {VMCB_CR3, CLEAN_CRX, 0x5000},
                {VMCB_DR7, CLEAN_DRX, 0x401},
                {VMCB_IDTR_BASE, CLEAN_DT, 0x77},
                {VMCB_SS_LIMIT, CLEAN_SEG, 0x99},
                {VMCB_CR2, CLEAN_CR2, 0x1234},
                {VMCB_DBGCTL, CLEAN_LBR, 1},
                {VMCB_RIP, CLEAN_NEVER, 0x8001},
                {VMCB_VIRT_EXT, CLEAN_NEVER, 2}};
    (void)state;
    assert_int_equal(run_code("f4"), SVM_EXIT_HLT);
    const uint8_t *page = b->bus.ram + VMCB_AT;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t f[VMCB_FIELDS], kept = 0xdead;
        assert_int_equal(vmcb_fields[rows[i].field].group, rows[i].group);
        set(rows[i].field, rows[i].changed);
        f[rows[i].field] = kept;
        vmcb_load(page, f, 1u << rows[i].group & ((1u << CLEAN_NEVER) - 1));
        assert_int_equal(f[rows[i].field], rows[i].group == CLEAN_NEVER ? rows[i].changed : kept);
        vmcb_load(page, f, ((1u << CLEAN_NEVER) - 1) & ~(1u << rows[i].group));
        assert_int_equal(f[rows[i].field], rows[i].changed);
    }
}

/* A closed virtual GIF hides the breakpoints of the guest; TF still traps. */
static void breakpoints_and_virtual_gif(void **state)
{
    (void)state;
    for (unsigned gif = 0; gif < 2; gif++)
        for (unsigned data = 0; data < 2; data++) {
            intercept(SVM_EXIT_EXCP_DB, true);
            set(VMCB_VINTR, VINTR_GIF_ENABLE | (gif ? VINTR_GIF : 0));
            c->s.dr[0] = data ? DATA : GUEST_AT + 1;
            set(VMCB_DR7, data ? 0x30402 : 0x402);
            assert_int_equal(run_code("90 90 48 8b 04 25 00 c0 00 00 f4"),
                             gif ? SVM_EXIT_EXCP_DB : SVM_EXIT_HLT);
        }
    set(VMCB_VINTR, VINTR_GIF_ENABLE);
    set(VMCB_RFLAGS, FL_FIXED | FL_TF);
    assert_int_equal(run_code("90 90 f4"), SVM_EXIT_EXCP_DB);
}

static struct svm_strict *watcher;
static char warning[512];
static void on_entry(void *opaque, struct cpu *cpu, enum probe_point point, uint64_t a, uint64_t v)
{
    char text[512];
    (void)opaque, (void)a, (void)v;
    if (svm_strict_event(watcher, cpu, point, text, sizeof text)) strcpy(warning, text);
}

static void warnings(void **state)
{
    struct probe_bus probes = {0}, *before = c->probes;
    (void)state;
    watcher = svm_strict_create();
    assert_non_null(watcher);
    assert_true(probe_subscribe(&probes, on_entry, NULL, svm_strict_mask()));
    c->probes = &probes;
    warning[0] = 0;
    assert_int_equal(run_code("f4"), SVM_EXIT_HLT);
    set(VMCB_CLEAN, 1u << CLEAN_I | 1u << CLEAN_CR2);
    set(VMCB_TLB_CONTROL, TLB_KEEP);
    assert_int_equal(run_code("f4"), SVM_EXIT_HLT);
    assert_string_equal(warning, "");
    set(VMCB_TSC_OFFSET, 5);
    assert_int_equal(run_code("f4"), SVM_EXIT_HLT);
    assert_string_equal(
        warning, "VMRUN of the VMCB at 3000h: clean bit 0 (I) is set but TSC_OFFSET (050h) has changed "
                 "from 0h to 5h");
    warning[0] = 0;
    assert_int_equal(run_code("f4"), SVM_EXIT_HLT); /* once is enough */
    assert_string_equal(warning, "");
    /* Another VMCB with the same ASID. */
    memcpy(b->bus.ram + VMCB2_AT, b->bus.ram + VMCB_AT, 4096);
    board_poke(b, VMCB2_AT + OFF_CLEAN, 4, 0);
    board_poke(b, VMCB2_AT + OFF_RIP, 8, GUEST_AT);
    svm_enter(c, VMCB2_AT, VMRUN_AT + 3);
    svm_exit_simple(c, SVM_EXIT_HLT);
    assert_string_equal(
        warning, "VMRUN of the VMCB at 2000h takes ASID 1 from the VMCB at 3000h without a flush of its "
                 "translations");
    warning[0] = 0;
    set(VMCB_CLEAN, 0);
    set(VMCB_TLB_CONTROL, TLB_FLUSH_ASID);
    assert_int_equal(run_code("f4"), SVM_EXIT_HLT);
    assert_string_equal(warning, "");
    c->probes = before;
    svm_strict_destroy(watcher);
}

static void interrupts_wait_for_gif(void **state)
{
    (void)state;
    assert_int_equal(run_code("f4"), SVM_EXIT_HLT);
    board_put(b, VMRUN_AT + 4, "0f 01 dd 90 90 0f 01 dc 90 f4"); /* clgi ... stgi */
    board_put(b, HANDLER, "f4");
    c->s.idtr = (struct dt_reg){.base = IDT, .limit = 0xfff};
    c->s.gdtr = (struct dt_reg){.base = GDT, .limit = 0xff};
    cpu_write_rflags(c, FL_FIXED | FL_IF);
    c->s.activity = ACTIVITY_ACTIVE;
    c->s.intr.gif = 0;
    b->intr_vector = 0x50;
    *rip_of(c) = VMRUN_AT + 4;
    board_run(b, 100);
    assert_int_equal(*rip_of(c), HANDLER + 1);
    assert_int_equal(board_peek(b, c->s.gpr[RSP], 8), VMRUN_AT + 4 + 8); /* right behind STGI */
}

static bool write_msr(uint32_t index, uint64_t v)
{
    bool ok = cpu_write_msr(c, index, v);
    c->fault.kind = FAULT_NONE;
    return ok;
}
static uint64_t read_msr(uint32_t index)
{
    uint64_t v = 0x5a5a;
    bool ok = cpu_read_msr(c, index, &v);
    c->fault.kind = FAULT_NONE;
    return ok ? v : 0xbad;
}

static void registers(void **state)
{
    (void)state;
    enum { RATIO = 0xc0000104, VM_CR = 0xc0010114, IGNNE = 0xc0010115, HSAVE = 0xc0010117, KEY = 0xc0010118 };
    assert_int_equal(read_msr(RATIO), UINT64_C(1) << 32);
    assert_true(write_msr(RATIO, UINT64_C(0xffffffffff)));
    assert_false(write_msr(RATIO, UINT64_C(1) << 40));
    assert_true(write_msr(HSAVE, 0x2000));
    assert_false(write_msr(HSAVE, 0x2001));
    assert_false(write_msr(HSAVE, UINT64_C(1) << 48));
    assert_int_equal(read_msr(HSAVE), 0x2000);
    assert_true(write_msr(IGNNE, 1));
    assert_false(write_msr(IGNNE, 2));
    assert_false(write_msr(VM_CR, 0x20));
    assert_false(write_msr(VM_CR, VM_CR_SVMDIS)); /* SVME is set */
    c->s.efer &= ~(uint64_t)EFER_SVME;
    assert_true(write_msr(KEY, 0x1234));
    assert_int_equal(read_msr(KEY), 0);
    assert_true(write_msr(VM_CR, VM_CR_SVMDIS | VM_CR_LOCK));
    assert_true(write_msr(VM_CR, VM_CR_DPD)); /* locked: LOCK and SVMDIS stay */
    assert_int_equal(read_msr(VM_CR), VM_CR_SVMDIS | VM_CR_LOCK | VM_CR_DPD);
    assert_false(write_msr(0xc0000080, c->s.efer | EFER_SVME));
    assert_true(write_msr(KEY, 0x4321));
    assert_int_equal(read_msr(VM_CR) & VM_CR_LOCK, VM_CR_LOCK);
    assert_true(write_msr(KEY, 0x1234));
    assert_int_equal(read_msr(VM_CR), VM_CR_SVMDIS | VM_CR_DPD);
    assert_true(write_msr(VM_CR, 0));
    assert_true(write_msr(0xc0000080, c->s.efer | EFER_SVME));
}

static void cpuid_of(const char *spec, uint32_t edx, bool svm)
{
    void *s = NULL;
    uint32_t r[4];
    host_model = spec;
    setup(&s);
    cpu_cpuid(c, 0x8000000a, 0, r);
    if (svm) assert_int_equal(r[0], 1);
    if (svm) assert_int_equal(r[1], 0x8000);
    if (r[3] != edx) fail_msg("%s: %x", spec, r[3]);
    teardown(&s);
}

static void capabilities(void **state)
{
    (void)state;
    cpuid_of("epyc-rome", 0x000194fd, true);
    cpuid_of("epyc-milan", 0x101194fd, true);
    cpuid_of("epyc-genoa", 0x121194fd, true);
    cpuid_of("max-amd", 0x521194fd, true);
    cpuid_of("epyc-milan,-npt,-vgif", 0x101094fc, true);
    cpuid_of("epyc-milan,-svm", 0, false);
    host_model = "epyc-rome";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nested_tables_of_a_pae_host, setup, teardown),
        cmocka_unit_test_setup_teardown(nested_tables_of_a_32bit_host, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_host_pdptes, setup, teardown),
        cmocka_unit_test_setup_teardown(translations_stay_until_flushed, setup, teardown),
        cmocka_unit_test_setup_teardown(clean_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(breakpoints_and_virtual_gif, setup, teardown),
        cmocka_unit_test_setup_teardown(warnings, setup, teardown),
        cmocka_unit_test_setup_teardown(interrupts_wait_for_gif, setup, teardown),
        cmocka_unit_test_setup_teardown(registers, setup, teardown),
        cmocka_unit_test(capabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
