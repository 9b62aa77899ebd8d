/* SPDX-License-Identifier: MIT */
/* What the later models add, each with the control and without: IPI virtualization, IA32_SPEC_CTRL,
 * IA32_PERF_GLOBAL_CTRL, IA32_PKRS, bus locks, instruction timeout, user wait, hypervisor-managed paging; and
 * hosts without 64-bit mode, INIT in root operation, the interrupt shadow. SDM 3C 25.6 - 25.8, 30.1.6. */
#include "vmx_host.h"

#include "cpu/msr.h"

enum { APIC_PAGE = 0x10000, PID = 0x11000, PID_TABLE = 0x13000, DIRECTORY = 0x120000, MANAGED = 0x130000 };

static uint32_t run(uint32_t pri, uint32_t sec, uint32_t ter, const char *code)
{
    uint64_t p = f[F_PRIMARY_CONTROLS], s = f[F_SECONDARY_CONTROLS];
    f[F_PRIMARY_CONTROLS] |= pri | PRI_SECONDARY | PRI_TERTIARY;
    f[F_SECONDARY_CONTROLS] |= sec;
    f[F_TERTIARY_CONTROLS] = ter;
    uint32_t reason = enter_code(code);
    f[F_PRIMARY_CONTROLS] = p;
    f[F_SECONDARY_CONTROLS] = s;
    f[F_GUEST_RSP] = STACK;
    return reason;
}

/* ---- IPI virtualization ---- */

static uint64_t sent[8];
static unsigned sent_count;

static int record_msr(void *o, int id, uint32_t index, uint64_t v)
{
    (void)o, (void)id;
    if (index != 0x830) return 0;
    sent[sent_count++ % 8] = v;
    return 1;
}
static void record_mmio(void *o, int id, uint64_t a, uint32_t n, uint64_t v)
{
    (void)o, (void)id, (void)n;
    sent[sent_count++ % 8] = (a & 0xfff) << 32 | v;
}

static void target(uint64_t entry, uint64_t state)
{
    board_poke(b, PID_TABLE + 8, 8, entry);
    for (unsigned i = 0; i < 64; i += 8)
        board_poke(b, PID + i, 8, 0);
    board_poke(b, PID + 32, 8, state);
    board_poke(b, VAPIC + 0x310, 4, 1u << 24);
    sent_count = 0;
}

static uint32_t write_icr(uint32_t ter, uint32_t icr)
{
    char code[64];
    snprintf(code, sizeof code, "c7 83 00 03 00 00 %02x %02x %02x %02x f4", icr & 255, icr >> 8 & 255,
             icr >> 16 & 255, icr >> 24);
    c->s.gpr[RBX] = APIC_PAGE;
    return run(PRI_TPR_SHADOW, SEC_APIC_ACCESS, ter, code);
}

static void ipi_virtualization(void **state)
{
    (void)state;
    const uint64_t idle = UINT64_C(0x00000007) << 32 | 0xf2u << 16; /* NDST 7, NV F2H */
    f[F_APIC_ACCESS_ADDR] = APIC_PAGE;
    f[F_VIRTUAL_APIC_ADDR] = VAPIC;
    f[F_PID_TABLE_ADDR] = PID_TABLE;
    f[F_LAST_PID_INDEX] = 1;
    b->bus.msr_write = record_msr;
    c->s.apic_base |= 0x400;
    target(PID | 1, idle);
    assert_int_equal(write_icr(TER_IPI_VIRTUALIZATION, 0x41), REASON_HLT);
    assert_int_equal(board_peek(b, PID + 8, 8), 2); /* PIR bit 41H */
    assert_int_equal(board_peek(b, PID + 32, 8), idle | 1);
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0], UINT64_C(7) << 32 | 0xf2);
    assert_int_equal(write_icr(TER_IPI_VIRTUALIZATION, 0x4050), REASON_HLT); /* outstanding: posted only */
    assert_int_equal(board_peek(b, PID + 8, 8), 2 | 1 << 16);
    assert_int_equal(sent_count, 1);
    target(PID | 1, idle | 2); /* suppressed */
    assert_int_equal(write_icr(TER_IPI_VIRTUALIZATION, 0x41), REASON_HLT);
    assert_int_equal(board_peek(b, PID + 32, 8), idle | 2);
    assert_int_equal(sent_count, 0);
    /* Everything else is the hypervisor's. */
    static const uint32_t not_taken[] = {0x0f,   0x141,   0x841,   0x1041,  0x2041,
                                         0x8041, 0x10041, 0x20041, 0x40041, 0x80041};
    for (unsigned i = 0; i < sizeof not_taken / sizeof not_taken[0]; i++) {
        target(PID | 1, idle);
        assert_int_equal(write_icr(TER_IPI_VIRTUALIZATION, not_taken[i]), REASON_APIC_WRITE);
        assert_int_equal(f[F_EXIT_QUALIFICATION], 0x300);
        assert_int_equal(board_peek(b, VAPIC + 0x300, 4), not_taken[i]);
        assert_int_equal(board_peek(b, PID + 8, 8), 0);
    }
    static const uint64_t bad_entries[] = {PID, PID | 3, PID | 1 | UINT64_C(1) << 50};
    for (unsigned i = 0; i < 3; i++) {
        target(bad_entries[i], idle);
        assert_int_equal(write_icr(TER_IPI_VIRTUALIZATION, 0x41), REASON_APIC_WRITE);
    }
    target(PID | 1, idle);
    f[F_LAST_PID_INDEX] = 0;
    assert_int_equal(write_icr(TER_IPI_VIRTUALIZATION, 0x41), REASON_APIC_WRITE);
    f[F_LAST_PID_INDEX] = 1;
    assert_int_equal(write_icr(0, 0x41), REASON_APIC_ACCESS); /* without the control */
    /* Through a local APIC in xAPIC mode: its own ICR-high is put back. */
    c->s.apic_base &= ~UINT64_C(0x400);
    c->s.apic_base = (c->s.apic_base & 0xfff) | 0xfee00000;
    b->bus.mmio_write = record_mmio;
    target(PID | 1, UINT64_C(0x0300) << 32 | 0xf2u << 16);
    assert_int_equal(write_icr(TER_IPI_VIRTUALIZATION, 0x41), REASON_HLT);
    assert_int_equal(sent_count, 3);
    assert_int_equal(sent[0], UINT64_C(0x310) << 32 | 3u << 24);
    assert_int_equal(sent[1], UINT64_C(0x300) << 32 | 0xf2);
    assert_int_equal(sent[2], UINT64_C(0x310) << 32 | 0xffffffff);
}

static void ipi_virtualization_x2apic(void **state)
{
    (void)state;
    f[F_VIRTUAL_APIC_ADDR] = VAPIC;
    f[F_PID_TABLE_ADDR] = PID_TABLE;
    f[F_LAST_PID_INDEX] = 1;
    f[F_MSR_BITMAP] = BITMAP;
    f[F_EXCEPTION_BITMAP] = 1u << VEC_GP;
    b->bus.msr_write = record_msr;
    c->s.apic_base |= 0x400;
    const uint32_t pri = PRI_TPR_SHADOW | PRI_MSR_BITMAPS;
    const char *write = "b9 30 08 00 00 b8 41 00 00 00 ba 01 00 00 00 0f 30 f4";
    target(PID | 1, UINT64_C(5) << 32 | 0xf2u << 16);
    assert_int_equal(run(pri, SEC_X2APIC_MODE, TER_IPI_VIRTUALIZATION, write), REASON_HLT);
    assert_int_equal(board_peek(b, PID + 8, 8), 2);
    assert_int_equal(sent[0], UINT64_C(5) << 32 | 0xf2);
    /* NMI: the page has the value, the hypervisor the rest. */
    assert_int_equal(run(pri, SEC_X2APIC_MODE, TER_IPI_VIRTUALIZATION,
                         "b9 30 08 00 00 b8 00 04 00 00 ba 01 00 00 00 0f 30 f4"),
                     REASON_APIC_WRITE);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0x300);
    assert_int_equal(board_peek(b, VAPIC + 0x300, 8), UINT64_C(1) << 32 | 0x400);
    assert_int_equal(run(pri, SEC_X2APIC_MODE, TER_IPI_VIRTUALIZATION,
                         "b9 30 08 00 00 b8 41 20 00 00 ba 01 00 00 00 0f 30 f4"),
                     REASON_EXCEPTION_NMI); /* reserved bit 13 */
    sent_count = 0;
    target(PID | 1, UINT64_C(5) << 32 | 0xf2u << 16);
    assert_int_equal(run(pri, SEC_X2APIC_MODE, 0, write), REASON_HLT); /* native */
    assert_int_equal(sent[0], UINT64_C(1) << 32 | 0x41);
    assert_int_equal(board_peek(b, PID + 8, 8), 0);
}

/* ---- state ---- */

static void spec_ctrl_virtualized(void **state)
{
    (void)state;
    uint64_t *real = &c->s.msr_file[MSR_SLOT_SPEC_CTRL];
    f[F_MSR_BITMAP] = BITMAP;
    f[F_SPEC_CTRL_MASK] = 1;
    f[F_SPEC_CTRL_SHADOW] = 2;
    f[F_EXCEPTION_BITMAP] = 1u << VEC_GP;
    *real = 1;
    const char *read = "b9 48 00 00 00 0f 32 f4", *write = "b9 48 00 00 00 b8 04 00 00 00 31 d2 0f 30 f4";
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, TER_SPEC_CTRL, read), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 2);
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, TER_SPEC_CTRL, write), REASON_HLT);
    assert_int_equal(*real, 5); /* bit 0 stays the hypervisor's */
    assert_int_equal(f[F_SPEC_CTRL_SHADOW], 4);
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, TER_SPEC_CTRL, "b9 48 00 00 00 b8 08 00 00 00 31 d2 0f 30 f4"),
                     REASON_EXCEPTION_NMI);
    assert_int_equal(run(0, 0, TER_SPEC_CTRL, read), REASON_RDMSR); /* interception comes first */
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, 0, read), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 5);
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, 0, write), REASON_HLT);
    assert_int_equal(*real, 4);
    assert_int_equal(f[F_SPEC_CTRL_SHADOW], 4);
}

static void spec_ctrl_loaded(void **state)
{
    (void)state;
    uint64_t *real = &c->s.msr_file[MSR_SLOT_SPEC_CTRL];
    f[F_MSR_BITMAP] = BITMAP;
    f[F_GUEST_SPEC_CTRL] = 1;
    f[F_HOST_SPEC_CTRL] = 2;
    *real = 4;
    const char *read = "b9 48 00 00 00 0f 32 f4";
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, 0, read), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 4);
    assert_int_equal(f[F_GUEST_SPEC_CTRL], 4); /* saved whatever the controls */
    assert_int_equal(*real, 4);
    f[F_GUEST_SPEC_CTRL] = 1;
    f[F_ENTRY_CONTROLS] |= ENT_LOAD_SPEC_CTRL;
    f[F_EXIT_CONTROLS] |= EXI_SECONDARY;
    f[F_EXIT_CONTROLS2] = EXI2_LOAD_SPEC_CTRL;
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, 0, read), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 1);
    assert_int_equal(f[F_GUEST_SPEC_CTRL], 1);
    assert_int_equal(*real, 2);
    f[F_EXIT_CONTROLS] &= ~(uint64_t)EXI_SECONDARY; /* the word has no effect */
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, 0, read), REASON_HLT);
    assert_int_equal(*real, 1);
}

static void perf_global_ctrl(void **state)
{
    (void)state;
    uint64_t *real = &c->s.msr_file[MSR_SLOT_PERF_GLOBAL_CTRL];
    f[F_MSR_BITMAP] = BITMAP;
    f[F_GUEST_PERF_GLOBAL_CTRL] = 1;
    f[F_HOST_PERF_GLOBAL_CTRL] = 2;
    *real = 4;
    const char *code = "b9 8f 03 00 00 0f 32 89 c3 b8 08 00 00 00 31 d2 0f 30 f4"; /* EBX = old, new 8 */
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, 0, code), REASON_HLT);
    assert_int_equal(c->s.gpr[RBX], 4);
    assert_int_equal(*real, 8);
    assert_int_equal(f[F_GUEST_PERF_GLOBAL_CTRL], 1);
    f[F_ENTRY_CONTROLS] |= ENT_LOAD_PERF_GLOBAL;
    f[F_EXIT_CONTROLS] |= EXI_LOAD_PERF_GLOBAL | EXI_SAVE_PERF_GLOBAL;
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, 0, code), REASON_HLT);
    assert_int_equal(c->s.gpr[RBX], 1);
    assert_int_equal(*real, 2);
    assert_int_equal(f[F_GUEST_PERF_GLOBAL_CTRL], 8);
}

static void pkrs(void **state)
{
    (void)state;
    f[F_MSR_BITMAP] = BITMAP;
    f[F_GUEST_PKRS] = 1;
    f[F_HOST_PKRS] = 2;
    c->s.pkrs = 4;
    const char *read = "b9 e1 06 00 00 0f 32 f4";
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, 0, read), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 4);
    assert_int_equal(f[F_GUEST_PKRS], 4);
    assert_int_equal(c->s.pkrs, 4);
    f[F_GUEST_PKRS] = 1;
    f[F_ENTRY_CONTROLS] |= ENT_LOAD_PKRS;
    f[F_EXIT_CONTROLS] |= EXI_LOAD_PKRS;
    assert_int_equal(run(PRI_MSR_BITMAPS, 0, 0, read), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 1);
    assert_int_equal(c->s.pkrs, 2);
}

/* ---- exits ---- */

static void bus_locks(void **state)
{
    (void)state;
    static const char *const locked[] = {"f0 ff 03 f4", "87 03 90 f4", "f0 0f c1 03 f4", "f0 48 0f c7 0b f4"};
    for (unsigned i = 0; i < sizeof locked / sizeof locked[0]; i++) {
        c->s.gpr[RBX] = i == 3 ? 0x40070 : 0x4003e; /* CMPXCHG16B is aligned: never across */
        uint32_t want = i == 3 ? REASON_HLT : REASON_BUS_LOCK;
        assert_int_equal(run(0, SEC_BUS_LOCK, 0, locked[i]), want);
        if (i < 3) assert_int_equal(f[F_GUEST_RIP], GUEST_AT + (i == 0 ? 3 : i == 1 ? 2 : 4)); /* a trap */
        c->s.gpr[RBX] = 0x4003e + (i == 3 ? 2 : 0);
        assert_int_equal(run(0, 0, 0, locked[i]), REASON_HLT);
        c->s.gpr[RBX] = 0x40040;
        assert_int_equal(run(0, SEC_BUS_LOCK, 0, locked[i]), REASON_HLT);
    }
    c->s.gpr[RBX] = 0x4003e;
    assert_int_equal(run(0, SEC_BUS_LOCK, 0, "ff 03 f4"), REASON_HLT); /* not locked */
    c->s.gpr[RBX] = UINT64_C(0x800000000000003e);
    assert_int_equal(run(0, SEC_BUS_LOCK, 0, "f0 ff 03 f4"), REASON_HLT); /* faults: no bus lock */
    /* Above a single-step trap, which stays pending. */
    c->s.gpr[RBX] = 0x4003e;
    f[F_GUEST_RFLAGS] |= FL_TF;
    assert_int_equal(run(0, SEC_BUS_LOCK, 0, "f0 ff 03 f4"), REASON_BUS_LOCK);
    assert_int_equal(f[F_GUEST_PENDING_DBG], PDBG_BS);
    f[F_GUEST_RFLAGS] = FL_FIXED;
    f[F_GUEST_PENDING_DBG] = 0;
    /* Relative to RIP: the dword at 803EH. */
    assert_int_equal(run(0, SEC_BUS_LOCK, 0, "f0 ff 05 37 00 00 00 f4"), REASON_BUS_LOCK);
    assert_int_equal(run(0, SEC_BUS_LOCK, 0, "f0 ff 05 3b 00 00 00 f4"), REASON_HLT);
}

static int still_asserted(void *o, int id)
{
    static int turn;
    (void)o, (void)id;
    return 0x50 + (turn++ & 1);
}

static void instruction_timeout(void **state)
{
    (void)state;
    /* Interrupts through a trap gate: each delivery is followed by the next, no instruction between. */
    f[F_INSN_TIMEOUT] = 20;
    assert_int_equal(run(0, SEC_INSN_TIMEOUT, 0, "b9 40 00 00 00 ff c9 75 fc f4"), REASON_HLT);
    gate(0x51, HANDLER + 0x10);
    board_poke(b, IDT + 16 * 0x50 + 5, 1, 0x8f);
    board_poke(b, IDT + 16 * 0x51 + 5, 1, 0x8f);
    b->bus.intr_acknowledge = still_asserted;
    b->intr_vector = 0x50;
    f[F_GUEST_RFLAGS] |= FL_IF;
    assert_int_equal(run(0, SEC_INSN_TIMEOUT, 0, "90 f4"), REASON_INSN_TIMEOUT);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0);
    assert_int_equal(f[F_GUEST_RIP] & ~UINT64_C(0x10), HANDLER);
    assert_true(f[F_GUEST_RFLAGS] & FL_RF);
    /* Without the control only something else ends it. */
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    f[F_PIN_CONTROLS] |= PIN_PREEMPTION_TIMER;
    f[F_PREEMPTION_TIMER] = 4;
    assert_int_equal(run(0, 0, 0, "90 f4"), REASON_PREEMPTION_TIMER);
}

static void user_wait(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        uint32_t reason;
    } rows[] = {{"f2 0f ae f1 f4", REASON_UMWAIT}, {"66 0f ae f1 f4", REASON_TPAUSE}};
    f[F_EXCEPTION_BITMAP] = 1u << VEC_UD;
    c->s.gpr[RAX] = c->s.gpr[RCX] = c->s.gpr[RDX] = 0;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(run(PRI_RDTSC_EXIT, SEC_USER_WAIT, 0, rows[i].code), rows[i].reason);
        assert_int_equal(f[F_EXIT_INSN_INFO], RCX << 3);
        assert_int_equal(f[F_EXIT_INSN_LENGTH], 4);
        assert_int_equal(run(0, SEC_USER_WAIT, 0, rows[i].code), REASON_HLT);
        assert_int_equal(run(PRI_RDTSC_EXIT, 0, 0, rows[i].code), REASON_EXCEPTION_NMI);
        assert_int_equal(f[F_EXIT_INTR_INFO] & 0xff, VEC_UD);
    }
    assert_int_equal(run(0, SEC_USER_WAIT, 0, "f3 0f ae f1 f4"), REASON_HLT); /* UMONITOR */
}

/* ---- paging ---- */

static void managed_paging(void **state)
{
    (void)state;
    const char *read = "48 8b 04 25 00 00 20 00 f4";
    use_ept(0);
    f[F_HLATP] = MANAGED;
    board_poke(b, 0x200000, 8, 0x1111);
    board_poke(b, 0, 8, 0x2222);
    board_poke(b, MANAGED, 8, (MANAGED + 0x1000) | 7);
    board_poke(b, MANAGED + 0x1000, 8, (MANAGED + 0x2000) | 7);
    board_poke(b, MANAGED + 0x2000, 8, 0x801); /* bit 11: the tables of CR3 */
    board_poke(b, MANAGED + 0x2008, 8, 0x87);
    assert_int_equal(run(0, 0, 0, read), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 0x1111);
    assert_int_equal(run(0, 0, TER_HLAT, read), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 0x2222);
    assert_int_equal(board_peek(b, MANAGED + 0x2008, 8), 0xa7); /* accessed */
    f[F_HLAT_PREFIX] = 1;                                       /* the upper half only */
    assert_int_equal(run(0, 0, TER_HLAT, read), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 0x1111);
    board_poke(b, MANAGED + 0xff8, 8, (MANAGED + 0x1000) | 7);
    const char *high = "48 b8 00 00 20 00 80 ff ff ff 48 8b 00 f4"; /* FFFFFF8000200000H */
    assert_int_equal(run(0, 0, TER_HLAT, high), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 0x2222);
    f[F_EXCEPTION_BITMAP] = 1u << VEC_PF;
    assert_int_equal(run(0, 0, 0, high), REASON_EXCEPTION_NMI);
}

static void paging_structures_rights(uint64_t bits)
{
    for (unsigned page = 0x100; page < 0x103; page++)
        board_poke(b, EPT_PT + 8 * page, 8, (uint64_t)page << 12 | bits);
}

static void paging_write_and_verification(void **state)
{
    (void)state;
    const uint64_t paging_write = UINT64_C(1) << 58;
    c->s.gpr[RBX] = 0x40000;
    use_ept(0x40);
    paging_structures_rights(0x35);
    assert_int_equal(run(0, 0, 0, "8b 03 f4"), REASON_EPT_VIOLATION);
    assert_int_equal(run(0, 0, TER_PAGING_WRITE, "8b 03 f4"), REASON_EPT_VIOLATION);
    paging_structures_rights(0x35 | paging_write);
    assert_int_equal(run(0, 0, 0, "8b 03 f4"), REASON_EPT_VIOLATION);
    assert_int_equal(run(0, 0, TER_PAGING_WRITE, "8b 03 f4"), REASON_HLT);
    c->s.gpr[RBX] = TABLES + 0x800; /* the guest itself still may not write there */
    assert_int_equal(run(0, 0, TER_PAGING_WRITE, "89 03 f4"), REASON_EPT_VIOLATION);
    assert_int_equal(f[F_GUEST_PHYSICAL_ADDR], TABLES + 0x800);
    paging_structures_rights(0x34 | paging_write); /* without R */
    assert_int_equal(run(0, 0, TER_PAGING_WRITE, "8b 03 f4"), REASON_EPT_MISCONFIG);

    c->s.gpr[RBX] = 0x40000;
    const uint32_t both = TER_PAGING_WRITE | TER_GUEST_PAGING_VERIFY;
    board_poke(b, EPT_PT + 8 * 0x40, 8, UINT64_C(1) << 57 | 0x40000 | 0x37);
    paging_structures_rights(0x35 | paging_write);
    assert_int_equal(run(0, 0, both, "8b 03 f4"), REASON_HLT);
    board_poke(b, EPT_PT + 8 * 0x101, 8, 0x101037); /* one table elsewhere */
    assert_int_equal(run(0, 0, both, "8b 03 f4"), REASON_EPT_VIOLATION);
    assert_int_equal(f[F_EXIT_QUALIFICATION] >> 15 & 1, 1);
    assert_int_equal(f[F_GUEST_PHYSICAL_ADDR], 0x40000);
    assert_int_equal(run(0, 0, TER_PAGING_WRITE, "8b 03 f4"), REASON_HLT);
}

/* A write over two blocks of 128 bytes needs both. */
static void sub_page_writes_across_blocks(void **state)
{
    (void)state;
    enum { SPP_TABLES = 0x30000 };
    use_ept(0);
    f[F_SPPTP] = SPP_TABLES;
    for (unsigned i = 0; i < 3; i++)
        board_poke(b, SPP_TABLES + 0x1000 * i, 8, (SPP_TABLES + 0x1000 * (i + 1)) | 1);
    board_poke(b, EPT_PT + 8 * 0x40, 8, UINT64_C(1) << 61 | 0x40000 | 0x31);
    c->s.gpr[RBX] = 0x4007c;
    c->s.gpr[RAX] = UINT64_C(0x1122334455667788);
    board_poke(b, SPP_TABLES + 0x3000 + 8 * 0x40, 8, 1);
    assert_int_equal(run(0, SEC_SPP, 0, "48 89 03 f4"), REASON_EPT_VIOLATION);
    assert_int_equal(f[F_GUEST_PHYSICAL_ADDR], 0x40080);
    assert_int_equal(board_peek(b, 0x4007c, 8), 0);
    board_poke(b, SPP_TABLES + 0x3000 + 8 * 0x40, 8, 4);
    assert_int_equal(run(0, SEC_SPP, 0, "48 89 03 f4"), REASON_EPT_VIOLATION);
    assert_int_equal(f[F_GUEST_PHYSICAL_ADDR], 0x4007c);
    board_poke(b, SPP_TABLES + 0x3000 + 8 * 0x40, 8, 5);
    assert_int_equal(run(0, SEC_SPP, 0, "48 89 03 f4"), REASON_HLT);
    assert_int_equal(board_peek(b, 0x4007c, 8), UINT64_C(0x1122334455667788));
}

/* ---- hosts and events ---- */

/* Host and guest in 32-bit mode; PAE or not. */
static void enter_32bit(bool pae)
{
    c->s.efer = 0;
    c->s.cr3 = DIRECTORY;
    c->s.cr4 = (pae ? CR4_PAE : CR4_PSE) | CR4_VMXE;
    for (unsigned i = 0; i < 4; i++) {
        board_poke(b, DIRECTORY + 8 * i, 8, 0);
        c->s.pdpte[i] = 0;
    }
    board_poke(b, DIRECTORY, 8, pae ? (TABLES + 0x2000) | 1 : 0x83);
    c->s.pdpte[0] = (TABLES + 0x2000) | 1;
    struct seg_reg cs = seg(8, 0xc09b, 0xffffffff);
    cpu_load_segment(c, SEG_CS, &cs);
    f[F_HOST_CR3] = f[F_GUEST_CR3] = DIRECTORY;
    f[F_HOST_CR4] = f[F_GUEST_CR4] = c->s.cr4;
    f[F_EXIT_CONTROLS] &= ~(uint64_t)EXI_HOST_64BIT;
    f[F_ENTRY_CONTROLS] &= ~(uint64_t)(ENT_IA32E_GUEST | ENT_LOAD_EFER);
    f[F_GUEST_CS_AR] = 0xc09b;
}

static void host_of_32_bits(void **state)
{
    (void)state;
    for (int pae = 0; pae < 2; pae++) {
        enter_32bit(pae != 0);
        assert_int_equal(enter_code("0f a2"), REASON_CPUID);
        assert_int_equal(c->s.efer & (EFER_LMA | EFER_LME), 0);
        assert_int_equal(c->s.seg[SEG_CS].ar, 0xc09b); /* D, not L */
        assert_int_equal(c->s.cr4 & CR4_PAE, pae ? CR4_PAE : 0);
        if (pae) assert_int_equal(c->s.pdpte[0], (TABLES + 0x2000) | 1);
        /* VMREAD reads 32 bits: the link pointer in two halves. */
        board_put(b, 0x1100, "b8 00 28 00 00 0f 78 c3 f4");
        f[F_VMCS_LINK] = UINT64_C(0xffffffffffffffff);
        c->s.gpr[RBX] = 0;
        host(0x1100);
        assert_int_equal(c->s.gpr[RBX], 0xffffffff);
    }
    /* CR4.PCIDE of the field is not for a 32-bit host; a host PDPTE with reserved bits aborts. */
    f[F_HOST_CR4] |= CR4_PCIDE;
    assert_int_equal(enter_code("0f a2"), REASON_CPUID);
    assert_int_equal(c->s.cr4 & CR4_PCIDE, 0);
    board_poke(b, DIRECTORY + 8, 8, 3);
    f[F_GUEST_CR3] = DIRECTORY + 0x1000;
    board_poke(b, DIRECTORY + 0x1000, 8, (TABLES + 0x2000) | 1);
    board_put(b, GUEST_AT, "0f a2");
    f[F_GUEST_RIP] = GUEST_AT;
    c->s.activity = ACTIVITY_ACTIVE;
    *rip_of(c) = RESUME;
    board_run(b, 1000);
    assert_true(x->aborted);
    assert_true(c->shutdown);
    assert_int_equal(board_peek(b, VMCS_REGION + 4, 4), ABORT_HOST_PDPTE);
}

/* A guest that enters long mode leaves a 32-bit host no way back. */
static void exit_from_long_mode_to_32_bits(void **state)
{
    (void)state;
    enter_32bit(true);
    use_ept(0);
    set_control(F_SECONDARY_CONTROLS, SEC_UNRESTRICTED);
    f[F_MSR_BITMAP] = BITMAP;
    set_control(F_PRIMARY_CONTROLS, PRI_MSR_BITMAPS);
    f[F_GUEST_CR0] = CR0_PE | CR0_NE | CR0_ET;
    board_put(b, GUEST_AT,
              "b9 80 00 00 c0 b8 00 01 00 00 31 d2 0f 30 b8 00 00 10 00 0f 22 d8 0f 20 c0 0d 00 00 00 80 "
              "0f 22 c0 0f a2");
    f[F_GUEST_RIP] = GUEST_AT;
    c->s.activity = ACTIVITY_ACTIVE;
    *rip_of(c) = LAUNCH;
    board_run(b, 1000);
    assert_true(x->aborted);
    assert_int_equal(board_peek(b, VMCS_REGION + 4, 4), ABORT_MODE);
}

static void init_waits_in_root(void **state)
{
    (void)state;
    cpu_signal_init(c);
    assert_int_equal(c->attention, ATT_IDLE); /* nothing that would slow the host down */
    board_put(b, 0x1100, "b9 40 00 00 00 ff c9 75 fc f4");
    host(0x1100);
    assert_true(c->s.intr.init_pending);
    assert_int_equal(enter_code("90 f4"), REASON_INIT);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
    assert_false(c->s.intr.init_pending);
    assert_int_equal(enter_code("90 f4"), REASON_HLT);
    cpu_signal_init(c);
    board_put(b, 0x1100, "0f 01 c4 f4"); /* VMXOFF */
    c->s.activity = ACTIVITY_ACTIVE;
    *rip_of(c) = 0x1100;
    board_run(b, 1);
    board_run(b, 1);
    assert_false(c->s.intr.init_pending);
    assert_int_equal(x->mode, VMX_OFF);
    assert_int_equal(c->s.cr0 & CR0_PE, 0);
}

/* The shadow holds back an external interrupt or NMI that would exit, as it does outside VMX. */
static void shadow_holds_exits_back(void **state)
{
    (void)state;
    f[F_PIN_CONTROLS] |= PIN_EXTINT_EXIT | PIN_NMI_EXIT;
    for (int kind = 0; kind < 3; kind++) {
        f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
        f[F_GUEST_INTERRUPTIBILITY] = kind == 1 ? INTR_STI : kind == 2 ? INTR_MOVSS : 0;
        b->intr_vector = 0x50;
        assert_int_equal(enter_code("90 f4"), REASON_EXTINT);
        assert_int_equal(f[F_GUEST_RIP], GUEST_AT + (kind != 0));
        assert_int_equal(f[F_GUEST_INTERRUPTIBILITY], 0);
        b->intr_vector = -1;
        f[F_GUEST_INTERRUPTIBILITY] = kind == 1 ? INTR_STI : kind == 2 ? INTR_MOVSS : 0;
        c->s.intr.nmi_pending = c->s.intr.nmi_blocked = 1;
        assert_int_equal(enter_code("90 f4"), REASON_EXCEPTION_NMI);
        assert_int_equal(f[F_GUEST_RIP], GUEST_AT + (kind != 0));
        c->s.intr.nmi_blocked = 0;
    }
}

static int setup_max(void **state)
{
    host_model = "max-intel";
    return setup(state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup_max, teardown)
    const struct CMUnitTest tests[] = {
        T(ipi_virtualization),
        T(ipi_virtualization_x2apic),
        T(spec_ctrl_virtualized),
        T(spec_ctrl_loaded),
        T(perf_global_ctrl),
        T(pkrs),
        T(bus_locks),
        T(instruction_timeout),
        T(user_wait),
        T(managed_paging),
        T(paging_write_and_verification),
        T(sub_page_writes_across_blocks),
        T(host_of_32_bits),
        T(exit_from_long_mode_to_32_bits),
        T(init_waits_in_root),
        T(shadow_holds_exits_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
