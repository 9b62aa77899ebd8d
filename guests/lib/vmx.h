/* SPDX-License-Identifier: MIT */
/* VMX for guests/ that are hypervisors: field encodings, VMX operation, one VMCS whose guest shares the
 * runtime's page tables, GDT and IDT behind an identity EPT. SDM 3C ch. 24-31, appendix B. */
#ifndef VMX_H
#define VMX_H

#include "guest.h"

enum field {
    VPID = 0x0000,
    G_ES_SEL = 0x0800,
    G_TR_SEL = 0x080e,
    H_ES_SEL = 0x0c00,
    H_CS_SEL = 0x0c02,
    H_SS_SEL = 0x0c04,
    H_DS_SEL = 0x0c06,
    H_FS_SEL = 0x0c08,
    H_GS_SEL = 0x0c0a,
    H_TR_SEL = 0x0c0c,
    EPT_POINTER = 0x201a,
    GUEST_PHYSICAL = 0x2400,
    LINK_POINTER = 0x2800,
    G_EFER = 0x2806,
    G_PAT = 0x2804,
    H_PAT = 0x2c00,
    H_EFER = 0x2c02,
    PIN_CONTROLS = 0x4000,
    PROC_CONTROLS = 0x4002,
    EXCEPTION_BITMAP = 0x4004,
    EXIT_CONTROLS = 0x400c,
    ENTRY_CONTROLS = 0x4012,
    ENTRY_INTR_INFO = 0x4016,
    PROC_CONTROLS2 = 0x401e,
    INSTRUCTION_ERROR = 0x4400,
    EXIT_REASON = 0x4402,
    EXIT_INTR_INFO = 0x4404,
    EXIT_INTR_ERROR = 0x4406,
    IDT_VECTORING = 0x4408,
    EXIT_LENGTH = 0x440c,
    G_ES_LIMIT = 0x4800,
    G_GDTR_LIMIT = 0x4810,
    G_IDTR_LIMIT = 0x4812,
    G_ES_AR = 0x4814,
    G_INTERRUPTIBILITY = 0x4824,
    G_ACTIVITY = 0x4826,
    EXIT_QUALIFICATION = 0x6400,
    GUEST_LINEAR = 0x640a,
    G_CR0 = 0x6800,
    G_CR3 = 0x6802,
    G_CR4 = 0x6804,
    G_ES_BASE = 0x6806,
    G_LDTR_BASE = 0x6812,
    G_TR_BASE = 0x6814,
    G_GDTR_BASE = 0x6816,
    G_IDTR_BASE = 0x6818,
    G_DR7 = 0x681a,
    G_RSP = 0x681c,
    G_RIP = 0x681e,
    G_RFLAGS = 0x6820,
    H_CR0 = 0x6c00,
    H_CR3 = 0x6c02,
    H_CR4 = 0x6c04,
    H_TR_BASE = 0x6c0a,
    H_GDTR_BASE = 0x6c0c,
    H_IDTR_BASE = 0x6c0e,
    H_RSP = 0x6c14,
    H_RIP = 0x6c16
};

/* The guest's registers while it is out; RSP is in the VMCS. */
struct guest_regs {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
};
extern struct guest_regs regs;
extern uint64_t ept_pml4[512], ept_pdpt[512], ept_pd[4][512]; /* identity, 2 MiB pages */

uint64_t vmread(uint64_t field);
void vmwrite(uint64_t field, uint64_t v); /* a VMfail fails a check */

/* VMXON and a current, clear VMCS; false, with a SKIP line, when the processor has no VMX. */
bool vmx_on(void);
void build_ept(void);
/* Fills the VMCS for a guest that starts at entry: HLT and I/O exiting, EPT, #UD intercepted. */
void build_vmcs(void (*entry)(void));

/* Enters the guest; returns 0 after an exit, 1 for VMfailInvalid, 2 for VMfailValid. */
int enter(int launch);

#endif
