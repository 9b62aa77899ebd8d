/* SPDX-License-Identifier: MIT */
/* Architectural state of one logical processor: plain fixed-width data, no pointers, so that a
 * snapshot is a copy and a hash means something. Whatever can be derived from it (lazy flags, TLB,
 * decoded blocks) lives in struct cpu (cpu.h) and may be dropped at any moment.
 * SDM 3A ch. 2 (system registers), SDM 1 ch. 3, 8, 10; APM 2 ch. 3, 4. */
#ifndef UV_CPU_STATE_H
#define UV_CPU_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum gpr_id { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

/* Two slots behind the 16 registers let address generation use one indexed load: REG_ZERO always
 * reads 0, REG_RIP is the instruction pointer (at the start of the block being executed). */
enum { REG_ZERO = 16, REG_RIP = 17, REG_COUNT = 18 };

enum seg_id { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/* Access rights in the 32-bit format of SDM 3C "Guest Register State". */
enum seg_ar {
    AR_TYPE = 0x000f,
    AR_S = 0x0010, /* 1: code or data */
    AR_DPL_SHIFT = 5,
    AR_DPL = 0x0060,
    AR_P = 0x0080,
    AR_AVL = 0x1000,
    AR_L = 0x2000,
    AR_DB = 0x4000,
    AR_G = 0x8000,
    AR_UNUSABLE = 0x10000 /* null selector was loaded */
};

struct seg_reg {
    uint64_t base;
    uint32_t limit; /* in bytes, granularity already applied */
    uint32_t ar;    /* enum seg_ar */
    uint16_t selector;
    uint16_t pad[3];
};

struct dt_reg {
    uint64_t base;
    uint32_t limit;
    uint32_t pad;
};

enum rflags_bit {
    FL_CF = 1u << 0,
    FL_FIXED = 1u << 1,
    FL_PF = 1u << 2,
    FL_AF = 1u << 4,
    FL_ZF = 1u << 6,
    FL_SF = 1u << 7,
    FL_TF = 1u << 8,
    FL_IF = 1u << 9,
    FL_DF = 1u << 10,
    FL_OF = 1u << 11,
    FL_IOPL = 3u << 12,
    FL_NT = 1u << 14,
    FL_RF = 1u << 16,
    FL_VM = 1u << 17,
    FL_AC = 1u << 18,
    FL_VIF = 1u << 19,
    FL_VIP = 1u << 20,
    FL_ID = 1u << 21,
    FL_OSZAPC = FL_OF | FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF
};

enum cr0_bit {
    CR0_PE = 1u << 0,
    CR0_MP = 1u << 1,
    CR0_EM = 1u << 2,
    CR0_TS = 1u << 3,
    CR0_ET = 1u << 4,
    CR0_NE = 1u << 5,
    CR0_WP = 1u << 16,
    CR0_AM = 1u << 18,
    CR0_NW = 1u << 29,
    CR0_CD = 1u << 30,
    CR0_PG = 1u << 31
};

enum cr4_bit {
    CR4_VME = 1u << 0,
    CR4_PVI = 1u << 1,
    CR4_TSD = 1u << 2,
    CR4_DE = 1u << 3,
    CR4_PSE = 1u << 4,
    CR4_PAE = 1u << 5,
    CR4_MCE = 1u << 6,
    CR4_PGE = 1u << 7,
    CR4_PCE = 1u << 8,
    CR4_OSFXSR = 1u << 9,
    CR4_OSXMMEXCPT = 1u << 10,
    CR4_UMIP = 1u << 11,
    CR4_LA57 = 1u << 12,
    CR4_VMXE = 1u << 13, /* owned by the virtualization extension (virt.h), stored here */
    CR4_SMXE = 1u << 14,
    CR4_FSGSBASE = 1u << 16,
    CR4_PCIDE = 1u << 17,
    CR4_OSXSAVE = 1u << 18,
    CR4_SMEP = 1u << 20,
    CR4_SMAP = 1u << 21,
    CR4_PKE = 1u << 22,
    CR4_CET = 1u << 23,
    CR4_PKS = 1u << 24
};

enum efer_bit {
    EFER_SCE = 1u << 0,
    EFER_LME = 1u << 8,
    EFER_LMA = 1u << 10,
    EFER_NXE = 1u << 11,
    EFER_SVME = 1u << 12, /* owned by the virtualization extension */
    EFER_LMSLE = 1u << 13,
    EFER_FFXSR = 1u << 14
};

/* One 80-bit x87 register. */
struct f80 {
    uint64_t frac; /* explicit integer bit is bit 63 */
    uint16_t se;   /* sign and biased exponent */
    uint16_t pad[3];
};

/* Vector register; xmm is q[0..1]. Sized for the widest extension so that wider vectors need no new
 * layout. q[] is in value order on every host: never alias it with bytes (use vec.h accessors). */
struct vec_reg {
    uint64_t q[8];
};

struct fpu_state {
    struct f80 st[8]; /* physical registers R0..R7, not top-relative; MMX aliases .frac */
    uint16_t cw, sw;  /* sw without TOP, see top */
    uint8_t top;
    uint8_t tag; /* abridged: bit n = 1 when physical register n is not empty */
    uint16_t fop;
    uint64_t fip, fdp;
    uint16_t fcs, fds;
    uint32_t mxcsr;
};

/* SDM 3A 6.8, SDM 3C "Guest Non-Register State"; everything that blocks or holds back an event. */
struct interruptibility {
    uint8_t sti_shadow;   /* blocking by STI, until the end of the next instruction */
    uint8_t movss_shadow; /* blocking by MOV SS / POP SS */
    uint8_t smi_blocked;  /* in SMM */
    uint8_t nmi_blocked;  /* until IRET */
    uint8_t gif;          /* global interrupt flag; 1 where the CPU has none */
    uint8_t virtual_nmi_blocked;
    uint8_t nmi_pending; /* 0..2: one in service blocks, one more is latched */
    uint8_t smi_pending;
    uint8_t init_pending;
    uint8_t sipi_pending;
    uint8_t sipi_vector;
    uint8_t mce_pending;
};

enum activity {
    ACTIVITY_ACTIVE = 0, /* numbers of SDM 3C "Guest Non-Register State" */
    ACTIVITY_HLT = 1,
    ACTIVITY_SHUTDOWN = 2,
    ACTIVITY_WAIT_SIPI = 3,
    ACTIVITY_MWAIT = 4 /* no number in the manuals: MWAIT, UMWAIT or TPAUSE (monitor.h) */
};

/* Event types in the numbering of the VM-entry interruption-information field. */
enum event_type {
    EVENT_EXTINT = 0,
    EVENT_NMI = 2,
    EVENT_HW_EXCEPTION = 3,
    EVENT_SW_INT = 4,      /* INT n */
    EVENT_PRIV_SW_EXC = 5, /* INT1 */
    EVENT_SW_EXCEPTION = 6 /* INT3, INTO */
};

/* An event on its way through the IDT. While delivery is under way it is state (`delivering`): the
 * source of IDT-vectoring information and EXITINTINFO when an exit interrupts it. */
struct event {
    uint8_t valid;
    uint8_t vector;
    uint8_t type; /* enum event_type */
    uint8_t has_error;
    uint8_t insn_length;  /* software events: bytes to add to RIP for the return address */
    uint8_t injected;     /* came from a VM entry, never intercepted itself */
    uint8_t has_next_rip; /* software events injected with an explicit return address */
    uint8_t pad;
    uint32_t error_code;
    uint32_t pad2;
    uint64_t payload;  /* #PF: faulting linear address; #DB: DR6 bits to merge */
    uint64_t next_rip; /* the return address when has_next_rip */
};

struct monitor_state {
    uint64_t address; /* physical */
    uint32_t length;
    uint8_t armed;
    uint8_t wake_on_if0; /* MWAIT ECX[0] */
    uint8_t expiry_cf;   /* UMWAIT, TPAUSE: CF when the wait ends at its deadline */
    uint8_t pad[1];
    uint64_t deadline; /* machine cycle at which a wait under way ends; 0: none */
};

struct cpu_state {
    uint64_t gpr[REG_COUNT]; /* [REG_RIP] is RIP, see rip_of() in cpu.h */
    uint64_t rflags;         /* valid after cpu_flush_flags() */
    struct seg_reg seg[SEG_COUNT];
    struct dt_reg gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, xcr0;
    uint64_t dr[4], dr6, dr7;
    uint64_t pdpte[4]; /* PAE paging: loaded by MOV CR3 and friends, SDM 3A 4.4.1 */

    /* MSRs with behaviour in cpu/; the rest is in msr_file, indexed by msr.def row. */
    uint64_t efer, star, lstar, cstar, sf_mask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t tsc_base; /* TSC = cycle + tsc_base, modulo 2^64 */
    uint64_t tsc_adjust, tsc_aux, tsc_deadline;
    uint64_t pat, apic_base, misc_enable, debugctl, smbase, feature_control;
    uint64_t xss, pkrs;
    uint32_t pkru;
    uint32_t pad0;
    uint64_t msr_file[256];

    struct fpu_state fpu;
    struct vec_reg vec[32];

    struct interruptibility intr;
    uint64_t pending_dbg; /* DR6 image of trap-class #DB conditions not yet delivered */
    struct event delivering;
    struct monitor_state monitor;
    uint8_t activity; /* enum activity */
    uint8_t cpl;
    uint8_t in_guest; /* a virtualization context other than bare/root is current (for traces) */
    uint8_t pad1[5];
    uint64_t random; /* RDRAND/RDSEED generator, seeded by configuration */
    uint64_t insns;  /* instructions retired */
};

#endif
