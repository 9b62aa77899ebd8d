/* SPDX-License-Identifier: MIT */
/* VMX for guests/ that are hypervisors, see vmx.h. */
#include "vmx.h"

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs[4096] __attribute__((aligned(4096)));
uint64_t ept_pml4[512] __attribute__((aligned(4096)));
uint64_t ept_pdpt[512] __attribute__((aligned(4096)));
uint64_t ept_pd[4][512] __attribute__((aligned(4096)));
static uint8_t guest_stack[8192] __attribute__((aligned(16)));
struct guest_regs regs;

uint64_t vmread(uint64_t f)
{
    uint64_t v;
    __asm__ volatile("vmread %1, %0" : "=r"(v) : "r"(f) : "cc");
    return v;
}
void vmwrite(uint64_t f, uint64_t v)
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

__asm__(
    ".globl enter\n"
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

void build_ept(void)
{
    ept_pml4[0] = (uint64_t)(uintptr_t)ept_pdpt | 7;
    for (int i = 0; i < 4; i++) {
        ept_pdpt[i] = (uint64_t)(uintptr_t)ept_pd[i] | 7;
        for (int j = 0; j < 512; j++)
            ept_pd[i][j] = ((uint64_t)i << 30 | (uint64_t)j << 21) | 0x80 | 6 << 3 | 7;
    }
}

bool vmx_on(void)
{
    uint32_t r[4];
    cpuid(1, 0, r);
    if (!(r[2] >> 5 & 1)) {
        print("SKIP: the processor has no VMX\n");
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

void build_vmcs(void (*entry)(void))
{
    bool t = rdmsr(0x480) >> 55 & 1; /* the TRUE capability MSRs */
    vmwrite(PIN_CONTROLS, adjust(t ? 0x48d : 0x481, 1));
    vmwrite(PROC_CONTROLS, adjust(t ? 0x48e : 0x482, 1 << 7 | 1 << 24 | 1u << 31)); /* HLT, I/O, secondary */
    uint64_t secondary = adjust(0x48b, 1 << 1 | 1 << 5); /* EPT, VPID where there is one */
    vmwrite(PROC_CONTROLS2, secondary);
    if (secondary & 1 << 5) vmwrite(VPID, 1);
    vmwrite(EXIT_CONTROLS, adjust(t ? 0x48f : 0x483, 1 << 9 | 1 << 21)); /* 64-bit host, load EFER */
    vmwrite(ENTRY_CONTROLS, adjust(t ? 0x490 : 0x484, 1 << 9 | 1 << 15));
    vmwrite(EXCEPTION_BITMAP, 1 << 6);
    vmwrite(EPT_POINTER, (uintptr_t)ept_pml4 | 3 << 3 | 6);
    vmwrite(LINK_POINTER, ~UINT64_C(0));
    vmwrite(0x6002, 1 << 13); /* CR4 read shadow */
    vmwrite(0x6000, 0);
    vmwrite(0x6006, 0);

    static const struct {
        uint16_t sel;
        uint32_t ar;
    } seg[8] = {{0x10, 0xc093}, {0x08, 0xa09b}, {0x10, 0xc093}, {0x10, 0xc093},
                {0, 0x10000},   {0, 0x10000},   {0, 0x10000},   {0x28, 0x8b}};
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
    vmwrite(G_RIP, (uintptr_t)entry);
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
