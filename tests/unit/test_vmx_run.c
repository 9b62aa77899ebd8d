/* SPDX-License-Identifier: MIT */
/* VMX at work on a flat bus: a host of a few bytes of machine code enters guests of a few bytes, and the exit
 * information is compared with what the manual says. SDM 3C ch. 26-28. */
#include "vmx_host.h"

/* ---- instructions ---- */

static void instruction_exits(void **state)
{
    (void)state;
    assert_int_equal(enter_code("0f a2"), REASON_CPUID);
    assert_int_equal(f[F_EXIT_INSN_LENGTH], 2);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
    assert_int_equal(x->vmcs.launched, 1);
    assert_int_equal(enter_code("90 90 f4"), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 2);
    assert_int_equal(enter_code("0f 01 c1"), REASON_VMCALL);
    set_control(F_PRIMARY_CONTROLS, PRI_IO_EXIT);
    assert_int_equal(enter_code("e6 80"), REASON_IO); /* out 80h, al */
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0x80 << 16 | 0x40);
    assert_int_equal(enter_code("66 ed"), REASON_IO); /* in ax, dx */
    assert_int_equal(f[F_EXIT_QUALIFICATION] & 0xffff, 8 | 1);
    assert_int_equal(enter_code("b9 1b 00 00 00 0f 32"), REASON_RDMSR);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 5);
    assert_int_equal(enter_code("0f c7 34 25 00 10 00 00"), REASON_VMPTRLD);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0x1000);
    assert_int_equal(enter_code("0f 78 d8"), REASON_VMREAD); /* vmread rax, rbx */
    assert_int_equal(f[F_EXIT_INSN_INFO], 1u << 10 | 3u << 28);
}

static void control_register_masks(void **state)
{
    (void)state;
    set_control(F_PRIMARY_CONTROLS, PRI_CR3_LOAD_EXIT);
    f[F_CR0_MASK] = CR0_PE | CR0_PG | CR0_TS;
    f[F_CR0_SHADOW] = CR0_PE | CR0_PG | CR0_TS;
    f[F_CR4_MASK] = CR4_VMXE;
    assert_int_equal(enter_code("0f 20 c0 f4"), REASON_HLT); /* mov rax, cr0 */
    assert_int_equal(c->s.gpr[RAX], CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_TS);
    assert_int_equal(enter_code("0f 20 e0 f4"), REASON_HLT); /* mov rax, cr4 */
    assert_int_equal(c->s.gpr[RAX], CR4_PAE);
    c->s.gpr[RAX] = CR4_PAE | CR4_PGE;
    assert_int_equal(enter_code("0f 22 e0 f4"), REASON_HLT); /* mov cr4, rax: VMXE is the host's */
    assert_int_equal(f[F_GUEST_CR4], CR4_PAE | CR4_PGE | CR4_VMXE);
    c->s.gpr[RAX] = CR4_PAE | CR4_VMXE;
    assert_int_equal(enter_code("0f 22 e0 f4"), REASON_CR_ACCESS);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 4);
    assert_int_equal(enter_code("0f 22 d9"), REASON_CR_ACCESS); /* mov cr3, rcx */
    assert_int_equal(f[F_EXIT_QUALIFICATION], 3 | 1 << 8);
    assert_int_equal(enter_code("0f 06"), REASON_CR_ACCESS); /* clts, TS owned and 1 in the shadow */
    assert_int_equal(f[F_EXIT_QUALIFICATION], 2 << 4);
    f[F_CR0_SHADOW] &= ~(uint64_t)CR0_TS;
    f[F_GUEST_CR0] |= CR0_TS;
    assert_int_equal(enter_code("0f 06 f4"), REASON_HLT); /* no-op: the bit is the host's */
    assert_int_equal(f[F_GUEST_CR0] & CR0_TS, CR0_TS);
}

static void msr_and_io_bitmaps(void **state)
{
    (void)state;
    set_control(F_PRIMARY_CONTROLS, PRI_MSR_BITMAPS | PRI_IO_BITMAPS);
    f[F_MSR_BITMAP] = BITMAP;
    f[F_IO_BITMAP_A] = BITMAP + 0x2000; /* zero */
    f[F_IO_BITMAP_B] = BITMAP + 0x2000;
    board_poke(b, BITMAP + 0x800 + (0x174 >> 3), 1, 1 << (0x174 & 7)); /* write of 174H */
    assert_int_equal(enter_code("b9 74 01 00 00 0f 32 f4"), REASON_HLT);
    assert_int_equal(enter_code("b9 74 01 00 00 0f 30 f4"), REASON_WRMSR);
    assert_int_equal(enter_code("b9 00 00 00 40 0f 32 f4"), REASON_RDMSR); /* outside both ranges */
    assert_int_equal(enter_code("e6 80 f4"), REASON_HLT);
    assert_int_equal(b->port, 0x80);
}

static void missing_control_is_undefined_opcode(void **state)
{
    (void)state;
    f[F_EXCEPTION_BITMAP] = 1u << VEC_UD;
    assert_int_equal(enter_code("0f 01 f9"), REASON_EXCEPTION_NMI); /* rdtscp */
    assert_int_equal(f[F_EXIT_INTR_INFO], INFO_VALID | 3 << 8 | VEC_UD);
    set_control(F_PRIMARY_CONTROLS, PRI_SECONDARY);
    set_control(F_SECONDARY_CONTROLS, SEC_RDTSCP);
    assert_int_equal(enter_code("0f 01 f9 f4"), REASON_HLT);
    set_control(F_PRIMARY_CONTROLS, PRI_RDTSC_EXIT);
    assert_int_equal(enter_code("0f 01 f9"), REASON_RDTSCP);
}

static void tsc_offset_and_scaling(void **state)
{
    (void)state;
    set_control(F_PRIMARY_CONTROLS, PRI_TSC_OFFSET | PRI_SECONDARY);
    f[F_TSC_OFFSET] = UINT64_C(0x1000000000);
    assert_int_equal(enter_code("0f 31 f4"), REASON_HLT);
    assert_int_equal(c->s.gpr[RDX], 0x10);
    set_control(F_SECONDARY_CONTROLS, SEC_TSC_SCALING);
    f[F_TSC_MULTIPLIER] = 1; /* nearly nothing left of the TSC */
    assert_int_equal(enter_code("0f 31 f4"), REASON_HLT);
    assert_int_equal(c->s.gpr[RAX], 0);
}

/* ---- exceptions and events ---- */

static void exceptions_exit_by_bitmap(void **state)
{
    (void)state;
    f[F_EXCEPTION_BITMAP] = 1u << VEC_UD | 1u << VEC_PF | 1u << VEC_BP | 1u << VEC_DB;
    assert_int_equal(enter_code("0f 0b"), REASON_EXCEPTION_NMI);
    assert_int_equal(f[F_EXIT_INTR_INFO], INFO_VALID | EVENT_HW_EXCEPTION << 8 | VEC_UD);
    assert_int_equal(f[F_GUEST_RFLAGS] & FL_RF, FL_RF);
    uint64_t cr2 = c->s.cr2;
    f[F_GUEST_RFLAGS] = FL_FIXED;
    assert_int_equal(enter_code("48 8b 04 25 00 00 00 7f"),
                     f[F_EXIT_REASON]); /* mapped by 2-MByte pages: all ones */
    board_poke(b, TABLES + 0x2000 + 8 * 511, 8, 0);
    assert_int_equal(enter_code("48 8b 04 25 00 00 f0 3f"), REASON_EXCEPTION_NMI);
    assert_int_equal(f[F_EXIT_INTR_INFO], INFO_VALID | INFO_ERROR | EVENT_HW_EXCEPTION << 8 | VEC_PF);
    assert_int_equal(f[F_EXIT_INTR_ERROR], 0);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0x3ff00000);
    assert_int_equal(c->s.cr2, cr2);
    f[F_PF_ERROR_MASK] = f[F_PF_ERROR_MATCH] = 2; /* writes only */
    assert_int_equal(enter_code("48 8b 04 25 00 00 f0 3f"), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
    assert_int_equal(c->s.cr2, 0x3ff00000);
    f[F_GUEST_RSP] = STACK;
    assert_int_equal(enter_code("cc"), REASON_EXCEPTION_NMI);
    assert_int_equal(f[F_EXIT_INTR_INFO], INFO_VALID | EVENT_SW_EXCEPTION << 8 | VEC_BP);
    assert_int_equal(f[F_EXIT_INSN_LENGTH], 1);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_TF;
    assert_int_equal(enter_code("90 90"), REASON_EXCEPTION_NMI);
    assert_int_equal(f[F_EXIT_QUALIFICATION], PDBG_BS);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 1);
    assert_int_equal(f[F_GUEST_PENDING_DBG], 0);
}

static void injection_and_vectoring(void **state)
{
    (void)state;
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    f[F_ENTRY_INTR_INFO] = INFO_VALID | 0x40;
    assert_int_equal(enter_code("90"), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
    assert_int_equal(f[F_GUEST_RSP], STACK - 40);
    assert_int_equal(board_peek(b, STACK - 40, 8), GUEST_AT);
    assert_int_equal(f[F_ENTRY_INTR_INFO], 0x40);
    assert_int_equal(f[F_IDT_VECTORING_INFO], 0);
    /* A software interrupt returns behind the instruction. */
    f[F_GUEST_RSP] = STACK;
    f[F_ENTRY_INTR_INFO] = INFO_VALID | EVENT_SW_INT << 8 | 0x40;
    f[F_ENTRY_INSN_LENGTH] = 2;
    assert_int_equal(enter_code("90"), REASON_HLT);
    assert_int_equal(board_peek(b, STACK - 40, 8), GUEST_AT + 2);
    /* The stack is not there: the page fault of the delivery exits and names the injected event. */
    board_poke(b, TABLES + 0x2000 + 8 * 511, 8, 0);
    f[F_EXCEPTION_BITMAP] = 1u << VEC_PF;
    f[F_GUEST_RSP] = 0x3ff00000;
    f[F_ENTRY_INTR_INFO] = INFO_VALID | EVENT_HW_EXCEPTION << 8 | INFO_ERROR | VEC_GP;
    f[F_ENTRY_ERROR_CODE] = 0x18;
    assert_int_equal(enter_code("90"), REASON_EXCEPTION_NMI);
    assert_int_equal(f[F_EXIT_INTR_INFO] & 0xff, VEC_PF);
    assert_int_equal(f[F_IDT_VECTORING_INFO], INFO_VALID | EVENT_HW_EXCEPTION << 8 | INFO_ERROR | VEC_GP);
    assert_int_equal(f[F_IDT_VECTORING_ERROR], 0x18);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
    /* With nothing intercepted the same ends in a triple fault. */
    f[F_EXCEPTION_BITMAP] = 0;
    f[F_ENTRY_INTR_INFO] |= INFO_VALID;
    assert_int_equal(enter_code("90"), REASON_TRIPLE_FAULT);
    assert_int_equal(f[F_IDT_VECTORING_INFO], 0);
}

static void external_interrupts(void **state)
{
    (void)state;
    set_control(F_PIN_CONTROLS, PIN_EXTINT_EXIT);
    b->intr_vector = 0x51;
    assert_int_equal(enter_code("eb fe"), REASON_EXTINT);
    assert_int_equal(f[F_EXIT_INTR_INFO] & INFO_VALID, 0);
    assert_int_equal(b->intr_vector, 0x51);
    set_control(F_EXIT_CONTROLS, EXI_ACK_INTR);
    assert_int_equal(enter_code("eb fe"), REASON_EXTINT);
    assert_int_equal(f[F_EXIT_INTR_INFO], INFO_VALID | 0x51);
    assert_int_equal(b->intr_vector, -1);
    /* Into HLT activity: the interrupt ends it and the state is saved as HLT. */
    b->intr_vector = 0x52;
    f[F_GUEST_ACTIVITY] = ACTIVITY_HLT;
    assert_int_equal(enter_code("90"), REASON_EXTINT);
    assert_int_equal(f[F_GUEST_ACTIVITY], ACTIVITY_HLT);
    f[F_GUEST_ACTIVITY] = 0;
    /* Without the control it goes to the guest when IF is 1. */
    f[F_PIN_CONTROLS] &= ~(uint64_t)PIN_EXTINT_EXIT;
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    b->intr_vector = 0x53;
    assert_int_equal(enter_code("eb fe"), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
}

static void windows(void **state)
{
    (void)state;
    set_control(F_PRIMARY_CONTROLS, PRI_INTR_WINDOW);
    assert_int_equal(enter_code("90 fb 90 90 f4"),
                     REASON_INTR_WINDOW); /* sti opens it one instruction later */
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 3);
    f[F_PRIMARY_CONTROLS] &= ~(uint64_t)PRI_INTR_WINDOW;
    set_control(F_PIN_CONTROLS, PIN_NMI_EXIT | PIN_VIRTUAL_NMI);
    set_control(F_PRIMARY_CONTROLS, PRI_NMI_WINDOW);
    assert_int_equal(enter_code("90"), REASON_NMI_WINDOW);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
    f[F_PRIMARY_CONTROLS] &= ~(uint64_t)PRI_NMI_WINDOW;
    c->s.intr.nmi_pending = c->s.intr.nmi_blocked = 1; /* pending, blocked in the host, not in the guest */
    assert_int_equal(enter_code("eb fe"), REASON_EXCEPTION_NMI);
    assert_int_equal(f[F_EXIT_INTR_INFO], INFO_VALID | EVENT_NMI << 8 | 2);
    assert_int_equal(c->s.intr.nmi_blocked, 1);
    c->s.intr.nmi_blocked = 0;
    f[F_ENTRY_INTR_INFO] = INFO_VALID | EVENT_NMI << 8 | 2;
    assert_int_equal(enter_code("90"), REASON_HLT);
    assert_int_equal(f[F_GUEST_INTERRUPTIBILITY], INTR_NMI);
}

static void preemption_timer(void **state)
{
    (void)state;
    set_control(F_PIN_CONTROLS, PIN_PREEMPTION_TIMER);
    f[F_PREEMPTION_TIMER] = 0;
    assert_int_equal(enter_code("90 eb fd"), REASON_PREEMPTION_TIMER);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
    set_control(F_EXIT_CONTROLS, EXI_SAVE_TIMER);
    f[F_PREEMPTION_TIMER] = 3;
    uint64_t before = cpu_now(c);
    assert_int_equal(enter_code("90 eb fd"), REASON_PREEMPTION_TIMER);
    assert_int_equal(f[F_PREEMPTION_TIMER], 0);
    assert_in_range(cpu_now(c) - before, 64, 140);
    f[F_PREEMPTION_TIMER] = 1000;
    assert_int_equal(enter_code("0f a2"), REASON_CPUID);
    assert_in_range(f[F_PREEMPTION_TIMER], 998, 1000);
}

static void monitor_trap_flag(void **state)
{
    (void)state;
    set_control(F_PRIMARY_CONTROLS, PRI_MTF);
    assert_int_equal(enter_code("90 90 90"), REASON_MTF);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 1);
    assert_int_equal(enter_code("eb fe"), REASON_MTF);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
    assert_int_equal(enter_code("0f 0b"), REASON_MTF); /* after delivery of the fault */
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
    f[F_GUEST_RSP] = STACK;
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_TF;
    assert_int_equal(enter_code("90 90"), REASON_MTF); /* the single-step trap stays pending */
    assert_int_equal(f[F_GUEST_PENDING_DBG], PDBG_BS);
    f[F_PRIMARY_CONTROLS] &= ~(uint64_t)PRI_MTF;
    f[F_EXCEPTION_BITMAP] = 1u << VEC_DB;
    assert_int_equal(enter(), REASON_EXCEPTION_NMI); /* and comes before the next instruction */
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 1);
    f[F_GUEST_RFLAGS] = FL_FIXED;
    f[F_ENTRY_INTR_INFO] = INFO_VALID | EVENT_OTHER << 8;
    assert_int_equal(enter_code("90"), REASON_MTF);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
}

static void tpr_shadow(void **state)
{
    (void)state;
    set_control(F_PRIMARY_CONTROLS, PRI_TPR_SHADOW);
    f[F_VIRTUAL_APIC_ADDR] = VAPIC;
    f[F_TPR_THRESHOLD] = 4;
    board_poke(b, VAPIC + 0x80, 4, 0x60);
    assert_int_equal(enter_code("44 0f 20 c0 f4"), REASON_HLT); /* mov rax, cr8 */
    assert_int_equal(c->s.gpr[RAX], 6);
    c->s.gpr[RAX] = 4;
    assert_int_equal(enter_code("44 0f 22 c0 f4"), REASON_HLT);
    assert_int_equal(board_peek(b, VAPIC + 0x80, 4), 0x40);
    c->s.gpr[RAX] = 3;
    assert_int_equal(enter_code("44 0f 22 c0 f4"), REASON_TPR_THRESHOLD);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 4);
    host(RESUME); /* threshold above VTPR: an invalid control field */
    assert_int_equal(f[F_INSN_ERROR], VMXERR_CONTROLS);
}

/* ---- EPT ---- */

static void ept_violations(void **state)
{
    (void)state;
    use_ept(0);
    board_poke(b, EPT_PT + 8 * 0x40, 8, 0x40000 | 0x31); /* read-only */
    assert_int_equal(enter_code("48 8b 04 25 08 00 04 00 f4"), REASON_HLT);
    assert_int_equal(enter_code("48 89 04 25 08 00 04 00 f4"), REASON_EPT_VIOLATION);
    assert_int_equal(f[F_EXIT_QUALIFICATION] & 0x1ff, 0x18a);
    assert_int_equal(f[F_GUEST_PHYSICAL_ADDR], 0x40008);
    assert_int_equal(f[F_GUEST_LINEAR_ADDR], 0x40008);
    assert_int_equal(f[F_GUEST_RFLAGS] & FL_RF, FL_RF);
    board_poke(b, EPT_PT + 8 * 0x40, 8, 0x40000 | 0x37); /* rights added: no INVEPT needed */
    assert_int_equal(enter(), REASON_HLT);
    board_poke(b, EPT_PT + 8 * 0x41, 8, 0);
    assert_int_equal(enter_code("48 8b 04 25 00 10 04 00 f4"), REASON_EPT_VIOLATION);
    assert_int_equal(f[F_EXIT_QUALIFICATION] & 0x1ff, 0x181);
    board_poke(b, EPT_PT + 8 * 0x42, 8, 0x42000 | 0x32); /* write without read */
    assert_int_equal(enter_code("48 8b 04 25 00 20 04 00 f4"), REASON_EPT_MISCONFIG);
    assert_int_equal(f[F_GUEST_PHYSICAL_ADDR], 0x42000);
    board_poke(b, EPT_PT + 8 * 0x43, 8, 0x43000 | 0x33); /* no execute */
    assert_int_equal(enter_code("48 c7 c0 00 30 04 00 ff e0"), REASON_EPT_VIOLATION);
    assert_int_equal(f[F_EXIT_QUALIFICATION] & 0x1ff, 0x19c);
    assert_int_equal(f[F_GUEST_RIP], 0x43000);
    /* A guest page table on a page that is not there. */
    board_poke(b, EPT_PT + 8 * 0x50, 8, 0);
    f[F_GUEST_CR3] = 0x50000;
    assert_int_equal(enter_code("90"), REASON_EPT_VIOLATION);
    assert_int_equal(f[F_EXIT_QUALIFICATION] & 0x1ff, 0x81);
    assert_int_equal(f[F_GUEST_PHYSICAL_ADDR], 0x50000);
}

static void ept_accessed_dirty_and_log(void **state)
{
    (void)state;
    use_ept(0x40);
    set_control(F_SECONDARY_CONTROLS, SEC_PML);
    f[F_PML_ADDR] = BITMAP;
    f[F_PML_INDEX] = 511;
    assert_int_equal(enter_code("48 8b 04 25 00 00 04 00 f4"), REASON_HLT);
    assert_int_equal(board_peek(b, EPT_PT + 8 * 0x40, 8) & 0x300, 0x100);
    uint64_t index = f[F_PML_INDEX];
    assert_int_equal(enter_code("48 89 04 25 00 00 04 00 f4"), REASON_HLT);
    assert_int_equal(board_peek(b, EPT_PT + 8 * 0x40, 8) & 0x300, 0x300);
    assert_int_equal(f[F_PML_INDEX], index - 1);
    assert_int_equal(board_peek(b, BITMAP + 8 * index, 8), 0x40000);
    f[F_PML_INDEX] = 0xffff;
    assert_int_equal(enter_code("48 89 04 25 00 10 04 00 f4"), REASON_PML_FULL);
    assert_int_equal(board_peek(b, EPT_PT + 8 * 0x41, 8) & 0x200, 0);
}

static void ept_violation_in_delivery(void **state)
{
    (void)state;
    use_ept(0);
    board_poke(b, EPT_PT + 8 * (STACK / 4096 - 1), 8, 0);
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    f[F_ENTRY_INTR_INFO] = INFO_VALID | 0x40;
    assert_int_equal(enter_code("90"), REASON_EPT_VIOLATION);
    assert_int_equal(f[F_IDT_VECTORING_INFO], INFO_VALID | 0x40);
    assert_int_equal(f[F_EXIT_QUALIFICATION] & 0x1ff, 0x182);
    assert_int_equal(f[F_GUEST_RFLAGS] & FL_RF, 0);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
}

static void real_mode_guest(void **state)
{
    (void)state;
    guest_real();
    set_control(F_PRIMARY_CONTROLS, PRI_IO_EXIT);
    assert_int_equal(enter_code("b0 2a e6 70 f4"), REASON_IO);
    assert_int_equal(c->s.gpr[RAX] & 0xff, 0x2a);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 2);
    board_poke(b, 4 * 0x20, 4, HANDLER);
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    f[F_ENTRY_INTR_INFO] = INFO_VALID | 0x20;
    assert_int_equal(enter(), REASON_HLT);
    assert_int_equal(f[F_GUEST_RIP], HANDLER);
    assert_int_equal(f[F_GUEST_CS_BASE], 0);
    /* To protected mode and on. */
    f[F_GUEST_RFLAGS] = FL_FIXED;
    assert_int_equal(enter_code("0f 20 c0 0c 01 0f 22 c0 f4"), REASON_HLT);
    assert_int_equal(f[F_GUEST_CR0] & CR0_PE, CR0_PE);
}

/* ---- VPID ---- */

static void vpid_keeps_stale_translations(void **state)
{
    (void)state;
    set_control(F_PRIMARY_CONTROLS, PRI_SECONDARY);
    set_control(F_SECONDARY_CONTROLS, SEC_VPID);
    f[F_VPID] = 7;
    assert_int_equal(enter_code("48 8b 04 25 00 00 20 00 f4"), REASON_HLT);
    assert_int_equal(c->tlb_tag, 0);
    assert_int_equal(x->eff.sec & SEC_VPID, SEC_VPID);
}

/* ---- entries and exits ---- */

static void failed_entries(void **state)
{
    (void)state;
    f[F_GUEST_RFLAGS] = 0;
    assert_int_equal(enter(), REASON_ENTRY_FAILURE | REASON_ENTRY_FAIL_GUEST);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 0);
    assert_int_equal(x->vmcs.launched, 0);
    f[F_GUEST_RFLAGS] = FL_FIXED;
    f[F_VMCS_LINK] = 1;
    assert_int_equal(enter(), REASON_ENTRY_FAILURE | REASON_ENTRY_FAIL_GUEST);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 4);
    f[F_VMCS_LINK] = VMCS_NONE;
    f[F_HOST_TR_SELECTOR] = 0;
    host(LAUNCH);
    assert_int_equal(*rip_of(c), LAUNCH + 4);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_HOST_STATE);
    assert_int_equal(cpu_read_rflags(c) & FL_OSZAPC, FL_ZF);
    f[F_HOST_TR_SELECTOR] = 0x18;
    host(RESUME);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_VMRESUME_NOT_LAUNCHED);
    f[F_ENTRY_MSR_LOAD_COUNT] = 2;
    f[F_ENTRY_MSR_LOAD_ADDR] = MSRS;
    board_poke(b, MSRS, 8, 0x174);
    board_poke(b, MSRS + 8, 8, 0x33);
    board_poke(b, MSRS + 16, 8, 0xc0000100); /* FS base is not for this list */
    assert_int_equal(enter(), REASON_ENTRY_FAILURE | REASON_ENTRY_FAIL_MSR);
    assert_int_equal(f[F_EXIT_QUALIFICATION], 2);
}

static void msr_areas(void **state)
{
    (void)state;
    f[F_ENTRY_MSR_LOAD_COUNT] = f[F_EXIT_MSR_STORE_COUNT] = f[F_EXIT_MSR_LOAD_COUNT] = 1;
    f[F_ENTRY_MSR_LOAD_ADDR] = MSRS;
    f[F_EXIT_MSR_STORE_ADDR] = MSRS + 16;
    f[F_EXIT_MSR_LOAD_ADDR] = MSRS + 32;
    for (int i = 0; i < 3; i++)
        board_poke(b, MSRS + 16 * i, 8, 0xc0000102); /* KERNEL_GS_BASE */
    board_poke(b, MSRS + 8, 8, 0x1111);
    board_poke(b, MSRS + 40, 8, 0x3333);
    assert_int_equal(enter_code("f4"), REASON_HLT);
    assert_int_equal(board_peek(b, MSRS + 24, 8), 0x1111);
    assert_int_equal(c->s.kernel_gs_base, 0x3333);
    board_poke(b, MSRS + 36, 4, 1); /* reserved bits: VMX abort */
    *rip_of(c) = RESUME;
    c->s.activity = ACTIVITY_ACTIVE;
    board_run(b, 2000);
    assert_int_equal(c->s.activity, ACTIVITY_SHUTDOWN);
    assert_int_equal(board_peek(b, VMCS_REGION + 4, 4), ABORT_MSR_LOAD);
}

static void host_state_after_exit(void **state)
{
    (void)state;
    f[F_HOST_FS_BASE] = 0x123000;
    f[F_HOST_FS_SELECTOR] = 0;
    f[F_HOST_SYSENTER_EIP] = 0x77;
    assert_int_equal(enter_code("fd f9 f4"), REASON_HLT); /* std; stc */
    assert_int_equal(f[F_GUEST_RFLAGS] & (FL_DF | FL_CF), FL_DF | FL_CF);
    assert_int_equal(cpu_read_rflags(c), FL_FIXED);
    assert_int_equal(c->s.seg[SEG_FS].base, 0x123000);
    assert_int_equal(c->s.seg[SEG_FS].ar & AR_UNUSABLE, AR_UNUSABLE);
    assert_int_equal(c->s.seg[SEG_CS].ar, 0xa09b);
    assert_int_equal(c->s.seg[SEG_TR].limit, 0x67);
    assert_int_equal(c->s.gdtr.limit, 0xffff);
    assert_int_equal(c->s.dr7, 0x400);
    assert_int_equal(c->s.sysenter_eip, 0x77);
    assert_int_equal(c->s.gpr[RSP], STACK);
}

static void vmcs_lives_in_memory(void **state)
{
    (void)state;
    assert_int_equal(enter_code("f4"), REASON_HLT);
    f[F_TSC_OFFSET] = UINT64_C(0x123456789abcdef0);
    board_put(b, 0x1100, "66 0f c7 34 25 08 1f 00 00 f4"); /* vmclear */
    host(0x1100);
    assert_int_equal(x->current, VMCS_NONE);
    memcpy(b->bus.ram + 0x20000, b->bus.ram + VMCS_REGION, 4096);
    board_poke(b, POINTERS + 8, 8, 0x20000);
    board_put(b, 0x1100, "0f c7 34 25 08 1f 00 00 f4"); /* vmptrld of the copy */
    host(0x1100);
    assert_int_equal(x->current, 0x20000);
    assert_int_equal(x->vmcs.launched, 0);
    assert_int_equal(f[F_TSC_OFFSET], UINT64_C(0x123456789abcdef0));
    assert_int_equal(enter_code("f4"), REASON_HLT);
}

static void vmcs_shadowing(void **state)
{
    (void)state;
    set_control(F_PRIMARY_CONTROLS, PRI_SECONDARY);
    set_control(F_SECONDARY_CONTROLS, SEC_VMCS_SHADOWING);
    f[F_VMREAD_BITMAP] = f[F_VMWRITE_BITMAP] = BITMAP;
    f[F_VMCS_LINK] = SHADOW_REGION;
    board_poke(b, BITMAP + (ENC_GUEST_RIP >> 3), 1, 1 << (ENC_GUEST_RIP & 7));
    c->s.gpr[RBX] = ENC_GUEST_RSP;
    c->s.gpr[RAX] = 0x4444;
    assert_int_equal(enter_code("0f 79 d8 f4"), REASON_HLT); /* vmwrite rbx, rax */
    assert_int_equal(vmcs_peek(c, SHADOW_REGION, F_GUEST_RSP), 0x4444);
    assert_int_equal(enter_code("0f 78 d9 f4"), REASON_HLT); /* vmread rcx, rbx */
    assert_int_equal(c->s.gpr[RCX], 0x4444);
    c->s.gpr[RBX] = ENC_GUEST_RIP;
    assert_int_equal(enter_code("0f 78 d9 f4"), REASON_VMREAD);
}

static void vmfunc_switches_eptp(void **state)
{
    (void)state;
    use_ept(0);
    set_control(F_SECONDARY_CONTROLS, SEC_VMFUNC);
    f[F_VMFUNC_CONTROLS] = VMFUNC_EPTP_SWITCHING;
    f[F_EPTP_LIST_ADDR] = BITMAP;
    board_poke(b, BITMAP + 8, 8, EPT | 0x1e);
    c->s.gpr[RAX] = 0;
    c->s.gpr[RCX] = 1;
    assert_int_equal(enter_code("0f 01 d4 f4"), REASON_HLT);
    c->s.gpr[RCX] = 2; /* zero: not an EPTP */
    assert_int_equal(enter_code("0f 01 d4 f4"), REASON_VMFUNC);
    assert_int_equal(f[F_EXIT_INSN_LENGTH], 3);
}

/* ---- root operation ---- */

static void instruction_ladders_in_root(void **state)
{
    (void)state;
    board_put(b, 0x1100, "f3 0f c7 34 25 00 1f 00 00 f4"); /* vmxon again */
    host(0x1100);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_VMXON_ROOT);
    board_poke(b, POINTERS, 8, VMXON_REGION + 8);
    board_put(b, 0x1100, "66 0f c7 34 25 00 1f 00 00 f4");
    host(0x1100);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_VMCLEAR_ADDRESS);
    board_poke(b, POINTERS, 8, VMXON_REGION);
    host(0x1100);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_VMCLEAR_VMXON);
    board_put(b, 0x1100, "0f c7 34 25 00 1f 00 00 f4");
    host(0x1100);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_VMPTRLD_VMXON);
    board_poke(b, POINTERS, 8, 0x30000);
    host(0x1100);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_VMPTRLD_REVISION);
    c->s.gpr[RBX] = 0x4880;
    board_put(b, 0x1100, "0f 78 d9 f4");
    host(0x1100);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_UNSUPPORTED_FIELD);
    c->s.gpr[RBX] = ENC_INSN_ERROR;
    host(0x1100);
    assert_int_equal(c->s.gpr[RCX], VMXERR_UNSUPPORTED_FIELD);
    assert_int_equal(cpu_read_rflags(c) & FL_OSZAPC, 0);
    board_put(b, 0x1100, "0f 01 c1 f4");
    host(0x1100);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_VMCALL_ROOT);
    board_put(b, 0x1100, "66 0f 38 80 04 25 00 1f 00 00 f4"); /* invept rax = 0 */
    c->s.gpr[RAX] = 0;
    host(0x1100);
    assert_int_equal(f[F_INSN_ERROR], VMXERR_INVALIDATE_OPERAND);
    c->s.gpr[RAX] = 2;
    host(0x1100);
    assert_int_equal(cpu_read_rflags(c) & FL_OSZAPC, 0);
    board_put(b, 0x1100, "0f 01 c4 f4"); /* vmxoff */
    host(0x1100);
    assert_int_equal(x->mode, VMX_OFF);
    assert_ptr_equal(c->virt, &virt_bare);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(instruction_exits),
        T(control_register_masks),
        T(msr_and_io_bitmaps),
        T(missing_control_is_undefined_opcode),
        T(tsc_offset_and_scaling),
        T(exceptions_exit_by_bitmap),
        T(injection_and_vectoring),
        T(external_interrupts),
        T(windows),
        T(preemption_timer),
        T(monitor_trap_flag),
        T(tpr_shadow),
        T(ept_violations),
        T(ept_accessed_dirty_and_log),
        T(ept_violation_in_delivery),
        T(real_mode_guest),
        T(vpid_keeps_stale_translations),
        T(failed_entries),
        T(msr_areas),
        T(host_state_after_exit),
        T(vmcs_lives_in_memory),
        T(vmcs_shadowing),
        T(vmfunc_switches_eptp),
        T(instruction_ladders_in_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
