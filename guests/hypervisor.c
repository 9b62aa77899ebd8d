/* SPDX-License-Identifier: MIT */
/* The bundled hypervisor: turns VMX on, builds a VMCS and an EPT, runs a 64-bit guest through the exits that
 * a hypervisor author meets first, injects an interrupt, breaks an entry on purpose, and tells the story.
 * Every exit's reason, qualification and length is checked. SDM 3C ch. 24-29 (31.5 for the outline). */
#include "guest.h"

enum field {
    VPID = 0x0000,
    G_ES_SEL = 0x0800, G_TR_SEL = 0x080e,
    H_ES_SEL = 0x0c00, H_CS_SEL = 0x0c02, H_SS_SEL = 0x0c04, H_DS_SEL = 0x0c06, H_FS_SEL = 0x0c08, H_GS_SEL = 0x0c0a,
    H_TR_SEL = 0x0c0c,
    EPT_POINTER = 0x201a, GUEST_PHYSICAL = 0x2400,
    LINK_POINTER = 0x2800, G_EFER = 0x2806, G_PAT = 0x2804, H_PAT = 0x2c00, H_EFER = 0x2c02,
    PIN_CONTROLS = 0x4000, PROC_CONTROLS = 0x4002, EXCEPTION_BITMAP = 0x4004, EXIT_CONTROLS = 0x400c,
    ENTRY_CONTROLS = 0x4012, ENTRY_INTR_INFO = 0x4016, PROC_CONTROLS2 = 0x401e,
    INSTRUCTION_ERROR = 0x4400, EXIT_REASON = 0x4402, EXIT_INTR_INFO = 0x4404, EXIT_INTR_ERROR = 0x4406,
    IDT_VECTORING = 0x4408, EXIT_LENGTH = 0x440c,
    G_ES_LIMIT = 0x4800, G_GDTR_LIMIT = 0x4810, G_IDTR_LIMIT = 0x4812, G_ES_AR = 0x4814,
    G_INTERRUPTIBILITY = 0x4824, G_ACTIVITY = 0x4826,
    EXIT_QUALIFICATION = 0x6400, GUEST_LINEAR = 0x640a,
    G_CR0 = 0x6800, G_CR3 = 0x6802, G_CR4 = 0x6804, G_ES_BASE = 0x6806, G_LDTR_BASE = 0x6812, G_TR_BASE = 0x6814,
    G_GDTR_BASE = 0x6816, G_IDTR_BASE = 0x6818, G_DR7 = 0x681a, G_RSP = 0x681c, G_RIP = 0x681e, G_RFLAGS = 0x6820,
    H_CR0 = 0x6c00, H_CR3 = 0x6c02, H_CR4 = 0x6c04, H_TR_BASE = 0x6c0a, H_GDTR_BASE = 0x6c0c, H_IDTR_BASE = 0x6c0e,
    H_RSP = 0x6c14, H_RIP = 0x6c16
};

static const struct { uint32_t number; const char *name; } reasons[] = {
    {0, "exception or NMI"}, {10, "CPUID"}, {12, "HLT"}, {18, "VMCALL"}, {28, "control-register access"},
    {30, "I/O instruction"}, {31, "RDMSR"}, {32, "WRMSR"}, {33, "entry failure: invalid guest state"},
    {48, "EPT violation"},
};

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs[4096] __attribute__((aligned(4096)));
static uint64_t ept_pml4[512] __attribute__((aligned(4096)));
static uint64_t ept_pdpt[512] __attribute__((aligned(4096)));
static uint64_t ept_pd[4][512] __attribute__((aligned(4096)));
static uint8_t guest_stack[8192] __attribute__((aligned(16)));
struct guest_regs { uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15; } regs;

static uint64_t vmread(uint64_t f)
{
    uint64_t v;
    __asm__ volatile("vmread %1, %0" : "=r"(v) : "r"(f) : "cc");
    return v;
}
static void vmwrite(uint64_t f, uint64_t v)
{
    uint8_t failed;
    __asm__ volatile("vmwrite %2, %1; setbe %0" : "=qm"(failed) : "r"(f), "r"(v) : "cc");
    if (failed) print("vmwrite %lx failed, error %lu\n", f, vmread(INSTRUCTION_ERROR));
    CHECK(!failed);
}
static uint64_t adjust(uint32_t msr, uint32_t wanted)
{
    uint64_t cap = rdmsr(msr);
    return (wanted | (uint32_t)cap) & (uint32_t)(cap >> 32);
}

/* Enters the guest; returns 0 after an exit, 1 for VMfailInvalid, 2 for VMfailValid. Guest registers travel
 * through `regs`. */
int enter(int launch);
__asm__(".globl enter\n"
        "enter:\n"
        "    push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "    mov $0x6c14, %eax\n" /* HOST_RSP */
        "    vmwrite %rsp, %rax\n"
        "    test %edi, %edi\n"
        "    mov regs+8, %rcx; mov regs+16, %rdx; mov regs+24, %rbx; mov regs+32, %rbp; mov regs+40, %rsi\n"
        "    mov regs+48, %rdi; mov regs+56, %r8; mov regs+64, %r9; mov regs+72, %r10; mov regs+80, %r11\n"
        "    mov regs+88, %r12; mov regs+96, %r13; mov regs+104, %r14; mov regs+112, %r15; mov regs, %rax\n"
        "    jz 1f\n"
        "    vmlaunch\n"
        "    jmp 2f\n"
        "1:  vmresume\n"
        "2:  mov $1, %eax\n" /* no entry: CF VMfailInvalid, ZF VMfailValid */
        "    jc 3f\n"
        "    mov $2, %eax\n"
        "    jmp 3f\n"
        ".globl exited\n"
        "exited:\n"
        "    mov %rax, regs; mov %rcx, regs+8; mov %rdx, regs+16; mov %rbx, regs+24; mov %rbp, regs+32\n"
        "    mov %rsi, regs+40; mov %rdi, regs+48; mov %r8, regs+56; mov %r9, regs+64; mov %r10, regs+72\n"
        "    mov %r11, regs+80; mov %r12, regs+88; mov %r13, regs+96; mov %r14, regs+104; mov %r15, regs+112\n"
        "    xor %eax, %eax\n"
        "3:  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "    ret\n");
extern uint8_t exited[];

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

static void build_ept(void)
{
    ept_pml4[0] = (uint64_t)(uintptr_t)ept_pdpt | 7;
    for (int i = 0; i < 4; i++) {
        ept_pdpt[i] = (uint64_t)(uintptr_t)ept_pd[i] | 7;
        for (int j = 0; j < 512; j++)
            ept_pd[i][j] = ((uint64_t)i << 30 | (uint64_t)j << 21) | 0x80 | 6 << 3 | 7;
    }
    ept_pd[1][0] = 0; /* guest-physical 1 GiB: absent until asked for */
}

static bool vmx_on(void)
{
    uint32_t r[4];
    cpuid(1, 0, r);
    if (!(r[2] >> 5 & 1)) {
        print("SKIP hypervisor: the processor has no VMX\n");
        return false;
    }
    uint64_t feature_control = rdmsr(0x3a);
    if (!(feature_control & 1)) wrmsr(0x3a, feature_control | 5);
    CHECK_EQ(rdmsr(0x3a) & 5, 5);
    WRITE_CR(0, (READ_CR(0) | rdmsr(0x486)) & rdmsr(0x487));
    WRITE_CR(4, (READ_CR(4) | rdmsr(0x488) | 1 << 13) & rdmsr(0x489));
    *(uint32_t *)vmxon_region = (uint32_t)rdmsr(0x480) & 0x7fffffff;
    *(uint32_t *)vmcs = (uint32_t)rdmsr(0x480) & 0x7fffffff;
    uint64_t on = (uintptr_t)vmxon_region, region = (uintptr_t)vmcs;
    uint8_t failed;
    __asm__ volatile("vmxon %1; setbe %0" : "=qm"(failed) : "m"(on) : "cc", "memory");
    CHECK(!failed);
    __asm__ volatile("vmclear %1; setbe %0" : "=qm"(failed) : "m"(region) : "cc", "memory");
    CHECK(!failed);
    __asm__ volatile("vmptrld %1; setbe %0" : "=qm"(failed) : "m"(region) : "cc", "memory");
    CHECK(!failed);
    print("VMX is on, revision %x\n", (unsigned)rdmsr(0x480) & 0x7fffffff);
    return true;
}

static void build_vmcs(void)
{
    bool t = rdmsr(0x480) >> 55 & 1; /* the TRUE capability MSRs */
    vmwrite(PIN_CONTROLS, adjust(t ? 0x48d : 0x481, 1));
    vmwrite(PROC_CONTROLS, adjust(t ? 0x48e : 0x482, 1 << 7 | 1 << 24 | 1u << 31)); /* HLT, I/O, secondary */
    vmwrite(PROC_CONTROLS2, adjust(0x48b, 1 << 1));                                  /* EPT */
    vmwrite(EXIT_CONTROLS, adjust(t ? 0x48f : 0x483, 1 << 9 | 1 << 21));             /* 64-bit host, load EFER */
    vmwrite(ENTRY_CONTROLS, adjust(t ? 0x490 : 0x484, 1 << 9 | 1 << 15));
    vmwrite(EXCEPTION_BITMAP, 1 << 6);
    vmwrite(EPT_POINTER, (uintptr_t)ept_pml4 | 3 << 3 | 6);
    vmwrite(LINK_POINTER, ~UINT64_C(0));
    vmwrite(0x6002, 1 << 13); /* CR4 read shadow */
    vmwrite(0x6000, 0);
    vmwrite(0x6006, 0);

    static const struct { uint16_t sel; uint32_t ar; } seg[8] = {
        {0x10, 0xc093}, {0x08, 0xa09b}, {0x10, 0xc093}, {0x10, 0xc093}, {0, 0x10000}, {0, 0x10000}, {0, 0x10000},
        {0x28, 0x8b}};
    for (int i = 0; i < 8; i++) {
        vmwrite(G_ES_SEL + 2 * i, seg[i].sel);
        vmwrite(G_ES_LIMIT + 2 * i, i == 7 ? 0x67 : 0xffffffff);
        vmwrite(G_ES_AR + 2 * i, seg[i].ar);
        vmwrite(G_ES_BASE + 2 * i, i == 7 ? (uintptr_t)tss : 0);
    }
    vmwrite(G_GDTR_BASE, gdt_pointer.base);
    vmwrite(G_GDTR_LIMIT, gdt_pointer.limit);
    vmwrite(G_IDTR_BASE, idt_pointer.base);
    vmwrite(G_IDTR_LIMIT, idt_pointer.limit);
    vmwrite(G_CR0, READ_CR(0));
    vmwrite(G_CR3, READ_CR(3));
    vmwrite(G_CR4, READ_CR(4));
    vmwrite(G_DR7, 0x400);
    vmwrite(G_EFER, rdmsr(0xc0000080));
    vmwrite(G_RFLAGS, 2);
    vmwrite(G_RSP, (uintptr_t)guest_stack + sizeof guest_stack - 8);
    vmwrite(G_RIP, (uintptr_t)guest_code);
    vmwrite(G_INTERRUPTIBILITY, 0);
    vmwrite(G_ACTIVITY, 0);

    vmwrite(H_CR0, READ_CR(0));
    vmwrite(H_CR3, READ_CR(3));
    vmwrite(H_CR4, READ_CR(4));
    vmwrite(H_EFER, rdmsr(0xc0000080));
    vmwrite(H_CS_SEL, 0x08);
    vmwrite(H_SS_SEL, 0x10);
    vmwrite(H_DS_SEL, 0x10);
    vmwrite(H_ES_SEL, 0x10);
    vmwrite(H_FS_SEL, 0);
    vmwrite(H_GS_SEL, 0);
    vmwrite(H_TR_SEL, 0x28);
    vmwrite(H_TR_BASE, (uintptr_t)tss);
    vmwrite(H_GDTR_BASE, gdt_pointer.base);
    vmwrite(H_IDTR_BASE, idt_pointer.base);
    vmwrite(H_RIP, (uintptr_t)exited);
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
static const struct { uint32_t reason; uint64_t qualification; uint32_t length; } script[] = {
    {10, 0, 2}, {30, 0x80 << 16 | 0x40, 2}, {30, 0x81 << 16 | 0x48, 2}, {31, 0, 2}, {48, ~UINT64_C(0), 0}, {12, 0, 1},
    {0, 0, 0}, {18, 0, 3},
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
        CHECK_EQ(vmread(EXIT_QUALIFICATION) & 0x1bf, 0x182); /* a write, nothing there, linear address valid */
        ept_pd[1][0] = 0x200000 | 0x80 | 6 << 3 | 7;         /* back it with the 2 MiB at 2 MiB; no INVEPT needed */
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
}

int guest_main(void)
{
    if (!vmx_on()) return 0;
    build_ept();
    build_vmcs();
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
        if (script[n].qualification != ~UINT64_C(0)) CHECK_EQ(vmread(EXIT_QUALIFICATION), script[n].qualification);
        if (script[n].length) CHECK_EQ(vmread(EXIT_LENGTH), script[n].length);
        CHECK_EQ(vmread(IDT_VECTORING) & 0x80000000, 0);
        more = reason == script[n].reason && handle_exit(reason);
    }
    broken_entries();
    __asm__ volatile("vmxoff" ::: "cc");
    return checks_result("hypervisor");
}
