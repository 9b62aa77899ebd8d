/* SPDX-License-Identifier: MIT */
/* APIC virtualization: every register of the APIC-access page under each setting of the controls, x2APIC
 * MSRs, virtual-interrupt delivery, EOI, self-IPI, posted interrupts; virtualization exceptions. SDM 3C
 * ch. 30. */
#include "vmx_host.h"

enum { APIC_PAGE = 0x10000, PID = 0x11000, NOTIFICATION = 0xf2, VE_AREA = 0x12000 };

enum { TS = 1, ARV = 2, VID = 4 };

static void use_apic(unsigned what)
{
    f[F_PRIMARY_CONTROLS] |= PRI_SECONDARY | (what & TS ? PRI_TPR_SHADOW : 0);
    f[F_SECONDARY_CONTROLS] =
        SEC_APIC_ACCESS | (what & ARV ? SEC_APIC_REGISTER : 0) | (what & VID ? SEC_VIRTUAL_INTR : 0);
    f[F_PIN_CONTROLS] |= PIN_EXTINT_EXIT;
    f[F_APIC_ACCESS_ADDR] = APIC_PAGE;
    f[F_VIRTUAL_APIC_ADDR] = VAPIC;
}

/* One 32-bit access at RBX; 0 when it went through. */
static uint32_t access_page(uint32_t offset, bool write)
{
    c->s.gpr[RBX] = APIC_PAGE + offset;
    c->s.gpr[RAX] = 0;
    f[F_GUEST_INTR_STATUS] = 0;
    for (unsigned at = 0; at < 4096; at += 4)
        board_poke(b, VAPIC + at, 4, 0);
    uint32_t reason = enter_code(write ? "89 03 f4" : "8b 03 f4");
    return reason == REASON_HLT ? 0 : reason;
}

/* R virtualized read, W virtualized write, A exit 44, X exit 56: columns of "ARV VID" 00, 01, 10, 11. */
static const struct {
    uint16_t offset;
    const char *read, *write;
} quick[] = {
    {0x020, "AARR", "AAXX"}, {0x030, "AARR", "AAAA"}, {0x080, "RRRR", "WWWW"}, {0x090, "AAAA", "AAAA"},
    {0x0a0, "AAAA", "AAAA"}, {0x0b0, "ARRR", "AWXW"}, {0x0c0, "AAAA", "AAAA"}, {0x0d0, "AARR", "AAXX"},
    {0x0e0, "AARR", "AAXX"}, {0x0f0, "AARR", "AAXX"}, {0x100, "AARR", "AAAA"}, {0x170, "AARR", "AAAA"},
    {0x180, "AARR", "AAAA"}, {0x1f0, "AARR", "AAAA"}, {0x200, "AARR", "AAAA"}, {0x270, "AARR", "AAAA"},
    {0x280, "AARR", "AAXX"}, {0x2f0, "AAAA", "AAAA"}, {0x300, "ARRR", "AXXX"}, {0x310, "AARR", "AAWW"},
    {0x320, "AARR", "AAXX"}, {0x370, "AARR", "AAXX"}, {0x380, "AARR", "AAXX"}, {0x390, "AAAA", "AAAA"},
    {0x3e0, "AARR", "AAXX"}, {0x3f0, "AAAA", "AAAA"},
};

static uint32_t reason_of(char letter)
{
    return letter == 'A' ? REASON_APIC_ACCESS : letter == 'X' ? REASON_APIC_WRITE : 0;
}

static void access_page_by_register(void **state)
{
    (void)state;
    for (unsigned column = 0; column < 4; column++) {
        use_apic(TS | (column & 2 ? ARV : 0) | (column & 1 ? VID : 0));
        for (unsigned i = 0; i < sizeof quick / sizeof quick[0]; i++)
            for (int write = 0; write < 2; write++) {
                char letter = (write ? quick[i].write : quick[i].read)[column];
                uint32_t reason = access_page(quick[i].offset, write);
                if (reason != reason_of(letter))
                    fail_msg("offset %x write %d column %u: exit %u", quick[i].offset, write, column, reason);
                if (letter == 'A')
                    assert_int_equal(f[F_EXIT_QUALIFICATION], quick[i].offset | (uint32_t)write << 12);
                if (letter == 'X') assert_int_equal(f[F_EXIT_QUALIFICATION], quick[i].offset);
                /* An access exit is a fault, an APIC-write exit a trap. */
                assert_int_equal(f[F_GUEST_RIP], GUEST_AT + (letter == 'A' ? 0 : 2));
            }
    }
}

static void access_page_shapes(void **state)
{
    (void)state;
    use_apic(TS | ARV);
    c->s.gpr[RBX] = APIC_PAGE + 0x81;
    assert_int_equal(enter_code("8a 03 f4"), REASON_HLT); /* one byte inside the register */
    assert_int_equal(enter_code("8b 03 f4"), REASON_APIC_ACCESS);
    c->s.gpr[RBX] = APIC_PAGE + 0x80;
    assert_int_equal(enter_code("48 8b 03 f4"), REASON_APIC_ACCESS); /* 64 bits */
    assert_int_equal(enter_code("ff e3"), REASON_APIC_ACCESS);       /* fetch */
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0x80 | 2 << 12);
    use_apic(0);
    f[F_PRIMARY_CONTROLS] &= ~(uint64_t)PRI_TPR_SHADOW;
    assert_int_equal(enter_code("8b 03 f4"), REASON_APIC_ACCESS);
}

/* Guest paging structures on the page: an access to guest-physical memory exits whatever is virtualized. */
static void page_tables_on_the_access_page(void **state)
{
    (void)state;
    use_apic(TS | ARV);
    f[F_SECONDARY_CONTROLS] |= SEC_EPT;
    f[F_EPTP] = EPT | 0x1e;
    f[F_GUEST_CR3] = APIC_PAGE;
    assert_int_equal(enter_code("90"), REASON_APIC_ACCESS);
    assert_int_equal(f[F_EXIT_QUALIFICATION] & 0xf000, 15 << 12);
    f[F_GUEST_CR3] = TABLES;
    assert_int_equal(enter_code("90 f4"), REASON_HLT);
}

static void set_vector(uint32_t reg, unsigned vector)
{
    uint64_t at = VAPIC + reg + (vector >> 5) * 16;
    board_poke(b, at, 4, board_peek(b, at, 4) | 1u << (vector & 31));
}
static bool has_vector(uint32_t reg, unsigned vector)
{
    return board_peek(b, VAPIC + reg + (vector >> 5) * 16, 4) >> (vector & 31) & 1;
}

static void virtual_interrupt_delivery(void **state)
{
    (void)state;
    use_apic(TS | VID);
    set_vector(0x200, 0x61);
    set_vector(0x200, 0x45);
    f[F_GUEST_INTR_STATUS] = 0x61;
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    assert_int_equal(enter_code("90 90"), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
    assert_int_equal(f[F_GUEST_INTR_STATUS], 0x6145); /* SVI 61H, RVI 45H */
    assert_true(has_vector(0x100, 0x61) && !has_vector(0x200, 0x61));
    assert_int_equal(board_peek(b, VAPIC + 0xa0, 4), 0x60);
    /* The lower class waits for the EOI. */
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    f[F_GUEST_RSP] = STACK;
    c->s.gpr[RBX] = APIC_PAGE + 0xb0;
    board_put(b, HANDLER, "f4");
    assert_int_equal(enter_code("90 89 03 90 f4"), REASON_HLT);
    assert_int_equal(board_peek(b, STACK - 40, 8), GUEST_AT + 3);
    assert_int_equal(f[F_GUEST_INTR_STATUS], 0x4500);
    /* EOI-exit bitmap. */
    f[F_EOI_EXIT1] = 1u << (0x45 - 0x40);
    f[F_GUEST_RFLAGS] = FL_FIXED;
    assert_int_equal(enter_code("89 03 f4"), REASON_VIRTUALIZED_EOI);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0x45);
    assert_int_equal(f[F_GUEST_INTR_STATUS], 0);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 2);
}

static void interrupt_blocked_by_tpr_and_window(void **state)
{
    (void)state;
    use_apic(TS | VID);
    set_vector(0x200, 0x61);
    f[F_GUEST_INTR_STATUS] = 0x61;
    board_poke(b, VAPIC + 0x80, 4, 0x70);
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    c->s.gpr[RAX] = 5;
    assert_int_equal(enter_code("90 44 0f 22 c0 90 f4"), REASON_HLT); /* mov cr8, rax opens it */
    assert_int_equal(board_peek(b, STACK - 40, 8), GUEST_AT + 5);
    set_vector(0x200, 0x71);
    f[F_GUEST_INTR_STATUS] = 0x71;
    f[F_GUEST_RSP] = STACK;
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    set_control(F_PRIMARY_CONTROLS, PRI_INTR_WINDOW);
    assert_int_equal(enter_code("90 f4"), REASON_INTR_WINDOW);
    assert_int_equal(f[F_GUEST_INTR_STATUS], 0x71);
}

static void halted_guest_wakes(void **state)
{
    (void)state;
    use_apic(TS | VID);
    set_vector(0x200, 0x61);
    f[F_GUEST_INTR_STATUS] = 0x61;
    f[F_GUEST_ACTIVITY] = ACTIVITY_HLT;
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    assert_int_equal(enter_code("90"), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
}

static void self_ipi(void **state)
{
    (void)state;
    use_apic(TS | VID);
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    c->s.gpr[RBX] = APIC_PAGE + 0x300;
    c->s.gpr[RAX] = 0x40041;
    assert_int_equal(enter_code("89 03 90 f4"), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
    assert_int_equal(f[F_GUEST_INTR_STATUS], 0x4100);
    c->s.gpr[RAX] = 0x441; /* NMI delivery mode: the hypervisor's business */
    f[F_GUEST_RSP] = STACK;
    assert_int_equal(enter_code("89 03 90 f4"), REASON_APIC_WRITE);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0x300);
}

static void x2apic_msrs(void **state)
{
    (void)state;
    use_apic(TS | VID | ARV);
    f[F_SECONDARY_CONTROLS] = SEC_X2APIC_MODE | SEC_APIC_REGISTER | SEC_VIRTUAL_INTR;
    set_control(F_PRIMARY_CONTROLS, PRI_MSR_BITMAPS);
    f[F_MSR_BITMAP] = BITMAP;
    board_poke(b, VAPIC + 0x20, 8, UINT64_C(0x1122334455667788));
    assert_int_equal(enter_code("b9 02 08 00 00 0f 32 f4"), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 0x55667788);
    assert_int_equal(c->s.gpr[RDX], 0x11223344);
    c->s.gpr[RAX] = 0x30;
    c->s.gpr[RDX] = 0;
    assert_int_equal(enter_code("b9 08 08 00 00 0f 30 f4"), REASON_HLT);
    assert_int_equal(board_peek(b, VAPIC + 0x80, 4), 0x30);
    f[F_EXCEPTION_BITMAP] = 1u << VEC_GP;
    c->s.gpr[RAX] = 0x100;
    assert_int_equal(enter_code("b9 08 08 00 00 0f 30 f4"), REASON_EXCEPTION_NMI);
    c->s.gpr[RAX] = 0x41;
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    assert_int_equal(enter_code("b9 3f 08 00 00 0f 30 90 f4"), REASON_HLT); /* self-IPI 41H */
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
    c->s.gpr[RAX] = 5;
    assert_int_equal(enter_code("b9 3f 08 00 00 0f 30 90 f4"), REASON_APIC_WRITE);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0x3f0);
}

static void posted_interrupts(void **state)
{
    (void)state;
    use_apic(TS | VID);
    set_control(F_PIN_CONTROLS, PIN_POSTED_INTR);
    set_control(F_EXIT_CONTROLS, EXI_ACK_INTR);
    f[F_POSTED_NV] = NOTIFICATION;
    f[F_PID_ADDR] = PID;
    board_poke(b, PID + 0x61 / 8, 1, 1 << (0x61 % 8));
    board_poke(b, PID + 0x35 / 8, 1, 1 << (0x35 % 8));
    board_poke(b, PID + 32, 1, 3); /* ON and SN */
    b->intr_vector = NOTIFICATION;
    assert_int_equal(enter_code("90 90 fb 90 90 f4"), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
    assert_int_equal(board_peek(b, STACK - 40, 8), GUEST_AT + 4); /* held back until STI's shadow ended */
    assert_int_equal(f[F_GUEST_INTR_STATUS], 0x6135);
    assert_int_equal(board_peek(b, PID, 8) | board_peek(b, PID + 8, 8), 0);
    assert_int_equal(board_peek(b, PID + 32, 1), 2);
    b->intr_vector = 0x50; /* another vector exits */
    assert_int_equal(enter_code("eb fe"), REASON_EXTINT);
    assert_int_equal(f[F_EXIT_INTR_INFO], INFO_VALID | 0x50);
}

static void virtualization_exception(void **state)
{
    (void)state;
    use_ept(0);
    set_control(F_SECONDARY_CONTROLS, SEC_EPT_VE);
    f[F_VE_INFO_ADDR] = VE_AREA;
    f[F_EPTP_INDEX] = 7;
    board_poke(b, EPT_PT + 8 * 0x40, 8, 0);
    assert_int_equal(enter_code("48 89 04 25 08 00 04 00 f4"), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
    assert_int_equal(board_peek(b, STACK - 40, 8), GUEST_AT);
    assert_int_equal(board_peek(b, VE_AREA, 4), 48);
    assert_int_equal(board_peek(b, VE_AREA + 4, 4), 0xffffffff);
    assert_int_equal(board_peek(b, VE_AREA + 8, 8) & 0x1ff, 0x182);
    assert_int_equal(board_peek(b, VE_AREA + 16, 8), 0x40008);
    assert_int_equal(board_peek(b, VE_AREA + 24, 8), 0x40008);
    assert_int_equal(board_peek(b, VE_AREA + 32, 2), 7);
    f[F_GUEST_RSP] = STACK; /* the area is busy: an ordinary violation */
    assert_int_equal(enter_code("48 89 04 25 08 00 04 00 f4"), REASON_EPT_VIOLATION);
    board_poke(b, VE_AREA + 4, 4, 0);
    board_poke(b, EPT_PT + 8 * 0x40, 8, UINT64_C(1) << 63); /* suppressed */
    assert_int_equal(enter(), REASON_EPT_VIOLATION);
    board_poke(b, EPT_PT + 8 * 0x40, 8, 0);
    f[F_EXCEPTION_BITMAP] = 1u << VEC_VE;
    assert_int_equal(enter(), REASON_EXCEPTION_NMI);
    assert_int_equal(f[F_EXIT_INTR_INFO], INFO_VALID | EVENT_HW_EXCEPTION << 8 | VEC_VE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(access_page_by_register),
        T(access_page_shapes),
        T(page_tables_on_the_access_page),
        T(virtual_interrupt_delivery),
        T(interrupt_blocked_by_tpr_and_window),
        T(halted_guest_wakes),
        T(self_ipi),
        T(x2apic_msrs),
        T(posted_interrupts),
        T(virtualization_exception),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
