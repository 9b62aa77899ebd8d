/* SPDX-License-Identifier: MIT */
/* The bundled hypervisor: turns VMX on, builds a VMCS and an EPT, runs a 64-bit guest through the exits that
 * a hypervisor author meets first, injects an interrupt, breaks an entry on purpose, and tells the story.
 * Every exit's reason, qualification and length is checked. SDM 3C ch. 24-29 (31.5 for the outline). */
#include "vmx.h"

static const struct {
    uint32_t number;
    const char *name;
} reasons[] = {
    {0, "exception or NMI"},
    {10, "CPUID"},
    {12, "HLT"},
    {18, "VMCALL"},
    {28, "control-register access"},
    {30, "I/O instruction"},
    {31, "RDMSR"},
    {32, "WRMSR"},
    {33, "entry failure: invalid guest state"},
    {48, "EPT violation"},
};

/* The guest. It shares the runtime's page tables and IDT, but lives in its own physical memory view. */
static volatile uint32_t irq_seen;
static bool guest_irq(struct exception_frame *f)
{
    (void)f;
    irq_seen++;
    return true;
}
static void guest_code(void)
{
    uint32_t r[4];
    cpuid(0x40000000, 0, r);
    CHECK_EQ(r[1], 0x65646e55); /* "Unde" */
    outb(0x80, 0x42);
    CHECK_EQ(inb(0x81), 0x24);
    CHECK_EQ(rdmsr(0x1b), 0xfee00900);
    volatile uint32_t *unmapped = (uint32_t *)0x40000000; /* in the EPT only after its first violation */
    *unmapped = 0x600df00d;
    CHECK_EQ(*unmapped, 0x600df00d);
    __asm__ volatile("mov %0, %%cr4" ::"r"(READ_CR(4)) : "memory");
    __asm__ volatile("sti; hlt; cli" ::: "memory"); /* the hypervisor answers with interrupt 40h */
    CHECK_EQ(irq_seen, 1);
    __asm__ volatile("ud2a"); /* intercepted by the exception bitmap */
    __asm__ volatile("vmcall" ::"a"(0x600d) : "memory");
    print("guest: still running after the last VMCALL\n");
    guest_exit(1);
}

static const char *reason_name(uint32_t reason)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].number == (reason & 0xffff)) return reasons[i].name;
    return "?";
}

static void skip_instruction(void)
{
    vmwrite(G_RIP, vmread(G_RIP) + vmread(EXIT_LENGTH));
    vmwrite(G_INTERRUPTIBILITY, vmread(G_INTERRUPTIBILITY) & ~UINT64_C(3));
}

/* What must come, in this order: reason, qualification (or ~0), instruction length (or 0). */
static const struct {
    uint32_t reason;
    uint64_t qualification;
    uint32_t length;
} script[] = {
    {10, 0, 2},
    {30, 0x80 << 16 | 0x40, 2},
    {30, 0x81 << 16 | 0x48, 2},
    {31, 0, 2},
    {48, ~UINT64_C(0), 0},
    {12, 0, 1},
    {0, 0, 0},
    {18, 0, 3},
};

/* Answers one exit; false when the guest is done. */
static bool handle_exit(uint32_t reason)
{
    switch (reason) {
    case 10: /* CPUID: our own hypervisor leaf */
        regs.rax = 0x40000000;
        regs.rbx = 0x65646e55;
        regs.rcx = regs.rdx = 0;
        skip_instruction();
        return true;
    case 30:
        if (vmread(EXIT_QUALIFICATION) & 8)
            regs.rax = (regs.rax & ~UINT64_C(255)) | 0x24;
        else
            CHECK_EQ(regs.rax & 255, 0x42);
        skip_instruction();
        return true;
    case 31:
        CHECK_EQ(regs.rcx, 0x1b);
        regs.rax = 0xfee00900;
        regs.rdx = 0;
        skip_instruction();
        return true;
    case 48:
        CHECK_EQ(vmread(GUEST_PHYSICAL), 0x40000000);
        CHECK_EQ(vmread(GUEST_LINEAR), 0x40000000);
        CHECK_EQ(vmread(EXIT_QUALIFICATION) & 0x1bf,
                 0x182);                             /* a write, nothing there, linear address valid */
        ept_pd[1][0] = 0x200000 | 0x80 | 6 << 3 | 7; /* back it with the 2 MiB at 2 MiB; no INVEPT needed */
        return true;
    case 12:
        skip_instruction();
        vmwrite(ENTRY_INTR_INFO, 0x80000040);
        return true;
    case 0:
        CHECK_EQ(vmread(EXIT_INTR_INFO), 0x80000306);
        vmwrite(G_RIP, vmread(G_RIP) + 2);
        return true;
    case 18: CHECK_EQ(regs.rax, 0x600d); return false;
    default: return false;
    }
}

static void broken_entries(void)
{
    print("-- entries that must fail\n");
    CHECK_EQ(enter(1), 2); /* VMLAUNCH of a launched VMCS */
    CHECK_EQ(vmread(INSTRUCTION_ERROR), 4);
    uint64_t rflags = vmread(G_RFLAGS);
    vmwrite(G_RFLAGS, rflags & ~UINT64_C(2)); /* bit 1 must be 1 */
    CHECK_EQ(enter(0), 0);
    CHECK_EQ(vmread(EXIT_REASON), 0x80000021);
    print("   entry with RFLAGS bit 1 clear: reason %lx\n", vmread(EXIT_REASON));
    vmwrite(G_RFLAGS, rflags);
    vmwrite(H_TR_SEL, 0);
    CHECK_EQ(enter(0), 2);
    CHECK_EQ(vmread(INSTRUCTION_ERROR), 8);
    print("   entry with host TR = 0: VMfail %lu\n", vmread(INSTRUCTION_ERROR));
    vmwrite(H_TR_SEL, 0x28);
    uint64_t controls = vmread(PIN_CONTROLS);
    vmwrite(PIN_CONTROLS, 0);
    CHECK_EQ(enter(0), 2);
    CHECK_EQ(vmread(INSTRUCTION_ERROR), 7);
    print("   entry with pin-based controls 0: VMfail %lu\n", vmread(INSTRUCTION_ERROR));
    vmwrite(PIN_CONTROLS, controls);
    vmwrite(G_RFLAGS, rflags & ~UINT64_C(0x200));
    vmwrite(ENTRY_INTR_INFO, 0x80000040); /* an interrupt into a guest that has them off */
    CHECK_EQ(enter(0), 0);
    CHECK_EQ(vmread(EXIT_REASON), 0x80000021);
    CHECK_EQ(vmread(EXIT_QUALIFICATION), 0);
    CHECK_EQ(vmread(ENTRY_INTR_INFO), 0x80000040); /* a failed entry leaves the field as it was */
    print("   injection with RFLAGS.IF = 0: reason %lx\n", vmread(EXIT_REASON));
    vmwrite(ENTRY_INTR_INFO, 0);
    vmwrite(G_RFLAGS, rflags);
}

int guest_main(void)
{
    if (!vmx_on()) return 0;
    build_ept();
    ept_pd[1][0] = 0; /* guest-physical 1 GiB: absent until asked for */
    build_vmcs(guest_code);
    set_handler(0x40, guest_irq);
    bool launch = true, more = true;
    for (uint32_t n = 0; more; n++) {
        int failed = enter(launch);
        if (failed) {
            print("entry %u: VMfail, error %lu\n", n, vmread(INSTRUCTION_ERROR));
            CHECK(!failed);
            break;
        }
        launch = false;
        uint32_t reason = (uint32_t)vmread(EXIT_REASON);
        print("entry %u: out at %lx by exit %u (%s), qualification %lx\n", n, vmread(G_RIP), reason & 0xffff,
              reason_name(reason), vmread(EXIT_QUALIFICATION));
        if (n >= sizeof script / sizeof script[0]) {
            CHECK(!"more exits than expected");
            break;
        }
        CHECK_EQ(reason, script[n].reason);
        if (script[n].qualification != ~UINT64_C(0))
            CHECK_EQ(vmread(EXIT_QUALIFICATION), script[n].qualification);
        if (script[n].length) CHECK_EQ(vmread(EXIT_LENGTH), script[n].length);
        CHECK_EQ(vmread(IDT_VECTORING) & 0x80000000, 0);
        more = reason == script[n].reason && handle_exit(reason);
    }
    broken_entries();
    __asm__ volatile("vmxoff" ::: "cc");
    return checks_result("hypervisor");
}
