/* SPDX-License-Identifier: MIT */
/* SVM for guests/ that are hypervisors, see svm.h. */
#include "svm.h"

uint8_t vmcb[4096] __attribute__((aligned(4096)));
uint8_t host_vmcb[4096] __attribute__((aligned(4096)));
static uint8_t hsave[4096] __attribute__((aligned(4096)));
uint8_t iopm[3 * 4096] __attribute__((aligned(4096)));
uint8_t msrpm[2 * 4096] __attribute__((aligned(4096)));
uint64_t npt_pml4[512] __attribute__((aligned(4096)));
static uint64_t npt_pdpt[512] __attribute__((aligned(4096)));
uint64_t npt_pd[4][512] __attribute__((aligned(4096)));
uint64_t npt_pt[512] __attribute__((aligned(4096)));
static uint8_t guest_stack[8192] __attribute__((aligned(16)));
struct svm_guest_regs svm_regs;
uint32_t svm_features;

void run_guest(uint64_t vmcb_address, uint64_t host);
__asm__(".globl run_guest\n"
        "run_guest:\n"
        "    push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rsi; push %rdi\n"
        "    mov svm_regs, %rcx; mov svm_regs+8, %rdx; mov svm_regs+16, %rbx; mov svm_regs+24, %rbp; mov "
        "svm_regs+32, %rsi\n"
        "    mov svm_regs+48, %r8; mov svm_regs+56, %r9; mov svm_regs+64, %r10; mov svm_regs+72, %r11; mov "
        "svm_regs+80, %r12\n"
        "    mov svm_regs+88, %r13; mov svm_regs+96, %r14; mov svm_regs+104, %r15\n"
        "    mov 8(%rsp), %rax\n"
        "    vmsave %rax\n"
        "    mov %rdi, %rax; mov svm_regs+40, %rdi\n"
        "    vmload %rax; vmrun %rax; vmsave %rax\n"
        "    mov %rcx, svm_regs; mov %rdx, svm_regs+8; mov %rbx, svm_regs+16; mov %rbp, svm_regs+24; mov "
        "%rsi, svm_regs+32\n"
        "    mov %rdi, svm_regs+40; mov %r8, svm_regs+48; mov %r9, svm_regs+56; mov %r10, svm_regs+64; mov "
        "%r11, svm_regs+72\n"
        "    mov %r12, svm_regs+80; mov %r13, svm_regs+88; mov %r14, svm_regs+96; mov %r15, svm_regs+104\n"
        "    mov 8(%rsp), %rax\n"
        "    vmload %rax\n"
        "    pop %rdi; pop %rsi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "    ret\n");

void svm_vmrun(void) { run_guest((uintptr_t)vmcb, (uintptr_t)host_vmcb); }
uint64_t svm_run(void)
{
    clgi();
    svm_vmrun();
    stgi();
    CHECK_EQ(W32(EVENTINJ) >> 31 & (W64(CODE) != X_INVALID), 0);
    return W64(CODE);
}

static void segment(int at, uint16_t selector, uint16_t attributes, uint32_t limit, uint64_t base)
{
    W16(at) = selector;
    W16(at + 2) = attributes;
    W32(at + 4) = limit;
    W64(at + 8) = base;
}

void svm_prepare(void (*code)(void))
{
    memset(vmcb, 0, sizeof vmcb);
    memset(&svm_regs, 0, sizeof svm_regs);
    memset(iopm, 0, sizeof iopm);
    memset(msrpm, 0, sizeof msrpm);
    W32(WORD3) = I_SHUTDOWN;
    W32(WORD4) = I_VMRUN | I_VMMCALL;
    W64(IOPM) = (uintptr_t)iopm;
    W64(MSRPM) = (uintptr_t)msrpm;
    W32(ASID) = 1;
    W8(TLB) = 1;
    W64(NP) = 1;
    W64(NCR3) = (uintptr_t)npt_pml4;
    W64(G_PAT) = rdmsr(0x277);
    segment(G_ES, 0x10, 0xc93, 0xffffffff, 0);
    segment(G_CS, 0x08, 0xa9b, 0xffffffff, 0);
    segment(G_SS, 0x10, 0xc93, 0xffffffff, 0);
    segment(G_DS, 0x10, 0xc93, 0xffffffff, 0);
    segment(G_GDTR, 0, 0, gdt_pointer.limit, gdt_pointer.base);
    segment(G_IDTR, 0, 0, idt_pointer.limit, idt_pointer.base);
    segment(G_TR, 0x28, 0x08b, 0x67, (uintptr_t)tss);
    W64(G_EFER) = rdmsr(0xc0000080);
    W64(G_CR0) = READ_CR(0);
    W64(G_CR3) = READ_CR(3);
    W64(G_CR4) = READ_CR(4);
    W64(G_DR6) = 0xffff0ff0;
    W64(G_DR7) = 0x400;
    W64(G_RFLAGS) = 2;
    W64(G_RIP) = (uintptr_t)code;
    W64(G_RSP) = (uintptr_t)guest_stack + sizeof guest_stack - 8;
}

static void build_npt(void)
{
    npt_pml4[0] = (uintptr_t)npt_pdpt | 7;
    for (int i = 0; i < 4; i++) {
        npt_pdpt[i] = (uintptr_t)npt_pd[i] | 7;
        for (int j = 0; j < 512; j++)
            npt_pd[i][j] = ((uint64_t)i << 30 | (uint64_t)j << 21) | 0x80 | 7;
    }
    npt_pd[1][0] = (uintptr_t)npt_pt | 7;
}

bool svm_on(void)
{
    uint32_t r[4];
    cpuid(0x80000001, 0, r);
    if (!(r[2] >> 2 & 1)) return false;
    cpuid(0x8000000a, 0, r);
    svm_features = r[3];
    outb(0x21, 0xff); /* firmware may have left the 8259s open */
    outb(0xa1, 0xff);
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x1000);
    wrmsr(0xc0010117, (uintptr_t)hsave);
    build_npt();
    return true;
}
