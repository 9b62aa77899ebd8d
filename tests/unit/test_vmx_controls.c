/* SPDX-License-Identifier: MIT */
/* Control bits at more depth than test_vmx_bits, which has every bit: saving and loading of state,
 * CR8, PAUSE loops, execute rights by mode, VPID, instructions that a clear control takes away. SDM 3C 25.6
 * - 25.8. */
#include "vmx_host.h"

static void exits_with(uint32_t pri, uint32_t sec, const char *code, uint32_t reason)
{
    uint64_t p = f[F_PRIMARY_CONTROLS], s = f[F_SECONDARY_CONTROLS];
    f[F_PRIMARY_CONTROLS] |= pri | PRI_SECONDARY;
    f[F_SECONDARY_CONTROLS] |= sec;
    uint32_t got = enter_code(code);
    if (got != reason) fail_msg("%s: exit %u, not %u", code, got, reason);
    f[F_PRIMARY_CONTROLS] = p;
    f[F_SECONDARY_CONTROLS] = s;
    f[F_GUEST_RSP] = STACK;
}

static void cr8_exiting(void **state)
{
    (void)state;
    c->s.gpr[RAX] = 2;
    exits_with(PRI_CR8_LOAD_EXIT, 0, "44 0f 22 c0 f4", REASON_CR_ACCESS);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 8);
    exits_with(0, 0, "44 0f 22 c0 f4", REASON_HLT);
    exits_with(PRI_CR8_STORE_EXIT, 0, "44 0f 20 c0 f4", REASON_CR_ACCESS);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 8 | 1 << 4);
    exits_with(0, 0, "44 0f 20 c0 f4", REASON_HLT);
    /* The exit comes before the shadow is touched. */
    f[F_VIRTUAL_APIC_ADDR] = VAPIC;
    exits_with(PRI_CR8_LOAD_EXIT | PRI_TPR_SHADOW, 0, "44 0f 22 c0 f4", REASON_CR_ACCESS);
    assert_int_equal(board_peek(b, VAPIC + 0x80, 4), 0);
}

static void cr3_targets(void **state)
{
    (void)state;
    c->s.gpr[RAX] = TABLES;
    exits_with(PRI_CR3_LOAD_EXIT, 0, "0f 22 d8 f4", REASON_CR_ACCESS);
    f[F_CR3_TARGET_COUNT] = 2;
    f[F_CR3_TARGET1] = TABLES;
    exits_with(PRI_CR3_LOAD_EXIT, 0, "0f 22 d8 f4", REASON_HLT);
    f[F_CR3_TARGET_COUNT] = 1;
    exits_with(PRI_CR3_LOAD_EXIT, 0, "0f 22 d8 f4", REASON_CR_ACCESS);
}

static void pause_loops(void **state)
{
    (void)state;
    f[F_PLE_GAP] = 10;
    f[F_PLE_WINDOW] = 100;
    exits_with(0, SEC_PAUSE_LOOP, "f3 90 eb fc", REASON_PAUSE); /* a tight loop longer than the window */
    exits_with(0, SEC_PAUSE_LOOP, "f3 90 f3 90 f3 90 f4", REASON_HLT);
    f[F_PLE_GAP] = 0; /* every PAUSE starts a new loop */
    exits_with(0, SEC_PAUSE_LOOP, "b9 40 00 00 00 f3 90 ff c9 75 fa f4", REASON_HLT);
}

static void instructions_taken_away(void **state)
{
    (void)state;
    static const struct {
        uint32_t sec;
        const char *code;
    } rows[] = {{SEC_RDTSCP, "0f 01 f9 f4"},
                {SEC_INVPCID, "31 c0 bb 00 70 00 00 66 0f 38 82 03 f4"},
                {SEC_XSAVES, "31 c0 31 d2 bb 00 00 01 00 0f c7 2b f4"}};
    f[F_GUEST_CR4] |= CR4_OSXSAVE;
    f[F_EXCEPTION_BITMAP] = 1u << VEC_UD;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        exits_with(0, 0, rows[i].code, REASON_EXCEPTION_NMI);
        assert_int_equal(f[F_EXIT_INTR_INFO] & 0xff, VEC_UD);
        exits_with(0, rows[i].sec, rows[i].code, REASON_HLT);
    }
}

/* U/S = 1 in all guest tables: the user-execute bit (10) decides when the control is set, bit 2 otherwise. */
static void execute_by_mode(void **state)
{
    (void)state;
    use_ept(0);
    uint64_t entry = 0x40000 | 0x33;
    board_put(b, 0x40000, "f4");
    board_poke(b, EPT_PT + 8 * 0x40, 8, entry | 4);
    exits_with(0, 0, "b8 00 00 04 00 ff e0", REASON_HLT);
    exits_with(0, SEC_MBEC, "b8 00 00 04 00 ff e0", REASON_EPT_VIOLATION); /* code page itself lacks bit 10 */
    for (unsigned i = 0; i < 512; i++)
        board_poke(b, EPT_PT + 8 * i, 8, i << 12 | 0x437);
    for (unsigned i = 0; i < 3; i++)
        board_poke(b, EPT + 0x1000 * i, 8, board_peek(b, EPT + 0x1000 * i, 8) | 0x400);
    board_poke(b, EPT_PT + 8 * 0x40, 8, entry | 4);
    exits_with(0, SEC_MBEC, "b8 00 00 04 00 ff e0", REASON_EPT_VIOLATION);
    assert_int_equal(f[F_EXIT_QUALIFICATION] & 0x7f, 0x3c); /* fetch; R, W, X; no user X */
    board_poke(b, EPT_PT + 8 * 0x40, 8, entry | 0x400);
    exits_with(0, SEC_MBEC, "b8 00 00 04 00 ff e0", REASON_HLT);
}

static void state_saved_and_loaded(void **state)
{
    (void)state;
    /* Saved or not. */
    f[F_GUEST_EFER] |= EFER_NXE;
    f[F_GUEST_PAT] = 0x0006;
    f[F_GUEST_DR7] = 0x401;
    f[F_ENTRY_CONTROLS] |= ENT_LOAD_PAT | ENT_LOAD_DEBUG;
    const char *code = "b9 77 02 00 00 b8 01 00 00 00 31 d2 0f 30 31 c0 0f 23 f8 f4"; /* PAT = 1, DR7 = 0 */
    f[F_MSR_BITMAP] = BITMAP;
    exits_with(PRI_MSR_BITMAPS, 0, code, REASON_HLT);
    assert_int_equal(f[F_GUEST_PAT], 6);
    assert_int_equal(f[F_GUEST_DR7], 0x401);
    assert_int_equal(c->s.pat, 1); /* neither saved nor loaded by the exit */
    f[F_EXIT_CONTROLS] |= EXI_SAVE_PAT | EXI_SAVE_EFER | EXI_SAVE_DEBUG | EXI_LOAD_PAT | EXI_LOAD_EFER;
    f[F_HOST_PAT] = 4;
    f[F_HOST_EFER] = EFER_LMA | EFER_LME | EFER_SCE;
    f[F_GUEST_EFER] = EFER_LMA | EFER_LME;
    exits_with(PRI_MSR_BITMAPS, 0, code, REASON_HLT);
    assert_int_equal(f[F_GUEST_PAT], 1);
    assert_int_equal(f[F_GUEST_DR7], 0x400);
    assert_int_equal(f[F_GUEST_EFER], EFER_LMA | EFER_LME);
    assert_int_equal(c->s.pat, 4);
    assert_int_equal(c->s.efer, EFER_LMA | EFER_LME | EFER_SCE);
    /* Loaded or not: without the controls the guest runs with what was live. */
    f[F_ENTRY_CONTROLS] &= ~(uint64_t)(ENT_LOAD_PAT | ENT_LOAD_DEBUG);
    f[F_GUEST_PAT] = 5;
    exits_with(0, 0, "f4", REASON_HLT);
    assert_int_equal(f[F_GUEST_PAT], 4);
}

/* Runs the guest without dropping what is cached. */
static uint64_t read_again(void)
{
    f[F_GUEST_RIP] = GUEST_AT;
    c->s.activity = ACTIVITY_ACTIVE;
    *rip_of(c) = RESUME;
    cpu_mode_changed(c);
    cpu_run(c, cpu_now(c) + 500);
    assert_int_equal(c->s.activity, ACTIVITY_HLT);
    return c->s.gpr[RAX];
}

static void vpid_keeps_translations(void **state)
{
    (void)state;
    const char *code = "48 8b 04 25 00 00 20 00 f4";
    board_poke(b, 0x200000, 8, 0x1111);
    board_poke(b, 0, 8, 0x2222);
    set_control(F_PRIMARY_CONTROLS, PRI_SECONDARY);
    set_control(F_SECONDARY_CONTROLS, SEC_VPID);
    f[F_VPID] = 7;
    assert_int_equal(enter_code(code), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 0x1111);
    board_poke(b, TABLES + 0x2000 + 8, 8, 0x87); /* remapped, nothing invalidated */
    assert_int_equal(read_again(), 0x1111);
    f[F_VPID] = 8;
    assert_int_equal(read_again(), 0x2222);
    f[F_VPID] = 7;
    assert_int_equal(read_again(), 0x1111);
    f[F_SECONDARY_CONTROLS] &= ~(uint64_t)SEC_VPID; /* without: flushed at each transition */
    assert_int_equal(read_again(), 0x2222);
}

static int setup_icelake(void **state)
{
    host_model = "icelake-server";
    int failed = setup(state);
    host_model = "skylake-server";
    return failed;
}

/* Writes to a read-only 4-KByte page, block by block. */
static void sub_page_permissions(void **state)
{
    (void)state;
    enum { SPP_TABLES = 0x30000 };
    use_ept(0);
    f[F_SPPTP] = SPP_TABLES;
    const char *write = "48 89 03 f4";
    c->s.gpr[RBX] = 0x40088; /* block 1 */
    c->s.gpr[RAX] = 0x77;
    board_poke(b, EPT_PT + 8 * 0x40, 8, UINT64_C(1) << 61 | 0x40000 | 0x31);
    exits_with(0, 0, write, REASON_EPT_VIOLATION);
    exits_with(0, SEC_SPP, write, REASON_SPP); /* no tables */
    assert_int_equal(f[F_EXIT_QUALIFICATION], 1 << 11);
    assert_int_equal(f[F_GUEST_PHYSICAL_ADDR], 0x40088);
    for (unsigned i = 0; i < 3; i++)
        board_poke(b, SPP_TABLES + 0x1000 * i, 8, (SPP_TABLES + 0x1000 * (i + 1)) | 1);
    exits_with(0, SEC_SPP, write, REASON_EPT_VIOLATION); /* not this block */
    board_poke(b, SPP_TABLES + 0x3000 + 8 * 0x40, 8, 1 << 2);
    exits_with(0, SEC_SPP, write, REASON_HLT);
    assert_int_equal(board_peek(b, 0x40088, 8), 0x77);
    c->s.gpr[RBX] = 0x40108;
    exits_with(0, SEC_SPP, write, REASON_EPT_VIOLATION);
    board_poke(b, SPP_TABLES + 0x3000 + 8 * 0x40, 8, 1 << 3); /* odd bits are reserved */
    exits_with(0, SEC_SPP, write, REASON_SPP);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0);
    board_poke(b, EPT_PT + 8 * 0x40, 8, 0x40000 | 0x31); /* not eligible */
    exits_with(0, SEC_SPP, write, REASON_EPT_VIOLATION);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(cr8_exiting),
        T(cr3_targets),
        T(pause_loops),
        T(instructions_taken_away),
        T(execute_by_mode),
        T(state_saved_and_loaded),
        T(vpid_keeps_translations),
        cmocka_unit_test_setup_teardown(sub_page_permissions, setup_icelake, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
