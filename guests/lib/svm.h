/* SPDX-License-Identifier: MIT */
/* SVM for guests that are hypervisors: a VMCB whose guest runs C functions with the runtime's own tables,
 * nested tables that map 4 GiB one to one, VMRUN with the registers that the VMCB does not hold. APM 2
 * ch. 15. */
#ifndef GUEST_SVM_H
#define GUEST_SVM_H

#include "guest.h"

enum offset {
    CR_READ = 0x000,
    CR_WRITE = 0x002,
    DR_READ = 0x004,
    DR_WRITE = 0x006,
    EXCEPTIONS = 0x008,
    WORD3 = 0x00c,
    WORD4 = 0x010,
    WORD5 = 0x014,
    PAUSE_COUNT = 0x03e,
    IOPM = 0x040,
    MSRPM = 0x048,
    TSC_OFFSET = 0x050,
    ASID = 0x058,
    TLB = 0x05c,
    VINTR = 0x060,
    SHADOW = 0x068,
    CODE = 0x070,
    INFO1 = 0x078,
    INFO2 = 0x080,
    INTINFO = 0x088,
    NP = 0x090,
    EVENTINJ = 0x0a8,
    NCR3 = 0x0b0,
    EXT = 0x0b8,
    CLEAN = 0x0c0,
    NRIP = 0x0c8,
    BYTES = 0x0d0,
    G_ES = 0x400,
    G_CS = 0x410,
    G_SS = 0x420,
    G_DS = 0x430,
    G_FS = 0x440,
    G_GDTR = 0x460,
    G_IDTR = 0x480,
    G_TR = 0x490,
    G_CPL = 0x4cb,
    G_EFER = 0x4d0,
    G_CR4 = 0x548,
    G_CR3 = 0x550,
    G_CR0 = 0x558,
    G_DR7 = 0x560,
    G_DR6 = 0x568,
    G_RFLAGS = 0x570,
    G_RIP = 0x578,
    G_RSP = 0x5d8,
    G_RAX = 0x5f8,
    G_LSTAR = 0x608,
    G_CR2 = 0x640,
    G_PAT = 0x668
};
enum word3 {
    I_INTR = 1 << 0,
    I_NMI = 1 << 1,
    I_VINTR = 1 << 4,
    I_CR0_SEL = 1 << 5,
    I_RDTSC = 1 << 14,
    I_CPUID = 1 << 18,
    I_SWINT = 1 << 21,
    I_PAUSE = 1 << 23,
    I_HLT = 1 << 24,
    I_IO = 1 << 27,
    I_MSR = 1 << 28,
    I_SHUTDOWN = 1 << 31
};
enum word4 { I_VMRUN = 1 << 0, I_VMMCALL = 1 << 1, I_VMLOAD = 1 << 2, I_VMSAVE = 1 << 3 };
enum code {
    X_READ_CR3 = 0x03,
    X_WRITE_CR0 = 0x10,
    X_UD = 0x46,
    X_GP = 0x4d,
    X_PF = 0x4e,
    X_INTR = 0x60,
    X_NMI = 0x61,
    X_VINTR = 0x64,
    X_CR0_SEL = 0x65,
    X_RDTSC = 0x6e,
    X_CPUID = 0x72,
    X_SWINT = 0x75,
    X_PAUSE = 0x77,
    X_HLT = 0x78,
    X_IO = 0x7b,
    X_MSR = 0x7c,
    X_SHUTDOWN = 0x7f,
    X_VMMCALL = 0x81,
    X_VMLOAD = 0x82,
    X_NPF = 0x400
};
#define X_INVALID (~UINT64_C(0))
enum {
    FEAT_NRIPS = 1 << 3,
    FEAT_CLEAN = 1 << 5,
    FEAT_DECODE = 1 << 7,
    FEAT_PAUSE = 1 << 10,
    FEAT_VLS = 1 << 15,
    FEAT_VGIF = 1 << 16,
    FEAT_VNMI = 1 << 25
};

extern uint8_t vmcb[4096], host_vmcb[4096], iopm[3 * 4096], msrpm[2 * 4096];
extern uint64_t npt_pml4[512], npt_pd[4][512];
extern uint64_t npt_pt[512]; /* guest-physical 1 GiB, in small pages */
extern struct svm_guest_regs {
    uint64_t rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
} svm_regs;
extern uint32_t svm_features; /* CPUID 8000000AH EDX */

#define W8(o) (*(volatile uint8_t *)(vmcb + (o)))
#define W16(o) (*(volatile uint16_t *)(vmcb + (o)))
#define W32(o) (*(volatile uint32_t *)(vmcb + (o)))
#define W64(o) (*(volatile uint64_t *)(vmcb + (o)))

/* Sets EFER.SVME and the host save area and builds the nested tables; false: no SVM. */
bool svm_on(void);
/* A fresh VMCB whose guest starts at `code` with the runtime's tables, its own stack and no registers. */
void svm_prepare(void (*code)(void));
/* VMSAVE of the host, VMLOAD, VMRUN, VMSAVE, VMLOAD of the host; GIF is the caller's business. */
void svm_vmrun(void);
/* The same between CLGI and STGI; the exit code. */
uint64_t svm_run(void);
static inline void clgi(void) { __asm__ volatile("clgi" ::: "memory"); }
static inline void stgi(void) { __asm__ volatile("stgi" ::: "memory"); }
static inline void vmmcall(void) { __asm__ volatile("vmmcall" ::: "memory"); }

#endif
