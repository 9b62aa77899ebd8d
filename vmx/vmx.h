/* SPDX-License-Identifier: MIT */
/* The VMX room: tables, state of one processor, and what its files call of each other.
 *   capability.c  IA32_VMX_* of a CPU model          instructions.c  VMXON .. INVVPID
 *   vmcs.c        the VMCS region and its fields     entry.c, entry_checks.c  VM entries
 *   exit.c        VM exits, VMX abort                intercept.c     instruction exits
 *   ept.c         EPT walks, VPID, VMFUNC, PML       events.c        events at boundaries
 *   vapic.c       virtual-APIC page                  explain.c       every broken entry rule
 * SDM 3C ch. 24-31 (all section numbers here: 2022-24 editions). */
#ifndef UV_VMX_VMX_H
#define UV_VMX_VMX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "cpu/virt.h"

/* ---- tables ---- */

/* Control words; the capability MSRs and the gates of vmcs.def name bits of these. */
enum vmx_word { W_PIN, W_PRI, W_SEC, W_TER, W_EXI, W_EXI2, W_ENT, W_VMFUNC, VMX_WORDS };

enum vmx_control {
#define CONTROL(word, bit, name, models, feature, works) word##_##name = 1u << (bit),
#include "vmx/controls.def"
#undef CONTROL
};

enum vmcs_field {
#define FIELD(name, encoding, width, class, gate) F_##name,
#include "vmx/vmcs.def"
#undef FIELD
    F_COUNT
};

enum vmcs_encoding {
#define FIELD(name, encoding, width, class, gate) ENC_##name = encoding,
#include "vmx/vmcs.def"
#undef FIELD
};

enum vmcs_width { W16, W64, W32, WN };            /* encoding bits 14:13 */
enum vmcs_class { CONTROL, RODATA, GUEST, HOST }; /* encoding bits 11:10 */
enum { VMCS_DIRTY_WORDS = (F_COUNT + 63) / 64 };

/* Rows of entry_checks.def, see entry_checks.h. */
enum vmx_check_id {
#define CHECK(id, ref, section, stage, outcome, holds, reads, rule) CHECK_##id,
#include "vmx/entry_checks.def"
#undef CHECK
    CHECK_COUNT
};
enum { VMX_CHECK_WORDS = (CHECK_COUNT + 63) / 64 };

struct vmcs_field_info {
    const char *name;
    uint16_t encoding;
    uint8_t width, class;
    uint16_t gate; /* two control bits (word << 5 | bit), 0xff none; 0xffff: always there */
};
extern const struct vmcs_field_info vmcs_fields[F_COUNT];

struct vmx_control_info {
    uint8_t word, bit;
    uint8_t models;
    uint8_t works;
    uint16_t feature;
    const char *name;
};
extern const struct vmx_control_info vmx_controls[];
extern const unsigned vmx_control_count;

enum vmx_exit_reason {
#define EXIT_REASON(number, name, text) REASON_##name = number,
#include "vmx/exit_reasons.def"
#undef EXIT_REASON
    REASON_ENTRY_FAILURE = 0x80000000u /* bit 31 */
};

/* VM-instruction error numbers, SDM 3C 31.4. */
enum vmx_error {
    VMXERR_VMCALL_ROOT = 1,
    VMXERR_VMCLEAR_ADDRESS = 2,
    VMXERR_VMCLEAR_VMXON = 3,
    VMXERR_VMLAUNCH_NOT_CLEAR = 4,
    VMXERR_VMRESUME_NOT_LAUNCHED = 5,
    VMXERR_CONTROLS = 7,
    VMXERR_HOST_STATE = 8,
    VMXERR_VMPTRLD_ADDRESS = 9,
    VMXERR_VMPTRLD_VMXON = 10,
    VMXERR_VMPTRLD_REVISION = 11,
    VMXERR_UNSUPPORTED_FIELD = 12,
    VMXERR_READ_ONLY_FIELD = 13,
    VMXERR_VMXON_ROOT = 15,
    VMXERR_MOV_SS = 26,
    VMXERR_INVALIDATE_OPERAND = 28
};

/* Fields of the three interruption-information formats, SDM 3C 25.8.3. */
enum intr_info {
    INFO_VECTOR = 0xff,
    INFO_TYPE_SHIFT = 8,
    INFO_TYPE = 0x700,
    INFO_ERROR = 1 << 11,
    INFO_NMI_UNBLOCK = 1 << 12,
    INFO_VALID = 0x80000000u
};
enum { EVENT_OTHER = 7 }; /* VM entry only: pending MTF */

enum interruptibility_bit { INTR_STI = 1, INTR_MOVSS = 2, INTR_SMI = 4, INTR_NMI = 8, INTR_ENCLAVE = 16 };
enum pending_dbg_bit { PDBG_B = 0xf, PDBG_ENABLED = 1 << 12, PDBG_BS = 1 << 14, PDBG_RTM = 1 << 16 };

/* VMX-abort indicators, SDM 3C 28.7. */
enum vmx_abort {
    ABORT_MSR_STORE = 1,
    ABORT_HOST_PDPTE = 2,
    ABORT_VMCS = 3,
    ABORT_MSR_LOAD = 4,
    ABORT_MC = 5,
    ABORT_MODE = 6
};

/* ---- state ---- */

#define VMCS_NONE (~UINT64_C(0))
#define VMCS_SHADOW 0x80000000u

/* One VMCS, decoded. The region in memory holds the same data (vmcs.c); the current VMCS lives here from
 * VMPTRLD until another becomes current or it is cleared. */
struct vmcs {
    uint64_t revision; /* first dword, shadow indicator included */
    uint64_t launched;
    uint64_t f[F_COUNT]; /* each field in its own width, zero-extended */
};

/* Control words in effect: a word that its activation bit switches off is zero. */
struct vmx_effective {
    uint64_t pin, pri, sec, exi, ent;
    uint64_t ter, exi2, vmfunc;
};

/* What a CPU model offers: a pure function of its name and features (capability.c). */
struct vmx_cap {
    uint64_t msr[0x14];           /* IA32_VMX_BASIC (480H) .. IA32_VMX_EXIT_CTLS2 (493H) */
    uint64_t present;             /* bit n: msr[n] exists */
    uint64_t phys_bits, lin_bits; /* lin_bits: the widest this processor can use */
    uint64_t allowed0[VMX_WORDS], allowed1[VMX_WORDS]; /* what VM entry checks against */
    uint64_t perf_global, debugctl, spec_ctrl;         /* defined bits of these MSRs */
    uint64_t sgx, rtm;                                 /* 1: the processor has them */
    uint64_t features[8];
    uint64_t rows_of_field[F_COUNT][VMX_CHECK_WORDS]; /* entry checks that read the field */
    uint64_t rows_always[VMX_CHECK_WORDS];            /* ... that also read live state or memory */
};

enum vmx_mode { VMX_OFF, VMX_ROOT, VMX_NONROOT };

/* Lives at cpu->ext_state: plain data, part of snapshots and of the state hash, which see an array of
 * uint64_t. */
struct vmx_state {
    struct vmx_cap cap;
    uint64_t vmxon_pointer;
    uint64_t current;                     /* current-VMCS pointer, VMCS_NONE */
    struct vmcs vmcs;                     /* contents of the current VMCS */
    struct vmx_effective eff;             /* latched at VM entry */
    uint64_t timer_deadline;              /* preemption timer: expires when TSC >= this; ~0 not running */
    uint64_t mtf_insns, mtf_rip, mtf_rcx; /* where MTF was armed: any difference is one step done */
    uint64_t ple_last, ple_first; /* PAUSE-loop exiting: time of the last and first PAUSE of the loop */
    uint64_t mode;                /* enum vmx_mode */
    uint64_t aborted;             /* VMX abort: shutdown until RESET */
    uint64_t mtf_pending;         /* an MTF VM exit is due at the next boundary */
    uint64_t mtf_armed;           /* ... after the next instruction or event */
    uint64_t tpr_exit;            /* TPR below threshold: exit at the next boundary */
    uint64_t virtual_intr;        /* a virtual interrupt is recognized */
    uint64_t apic_write;          /* a virtualized write awaits its emulation */
    uint64_t eoi_exit;            /* virtualized EOI: exit at the next boundary */
    uint64_t apic_write_offset;
    uint64_t eoi_vector;
    uint64_t apic_write_exit; /* a virtualized MSR write ends in an APIC-write exit */
    uint64_t bus_lock;        /* exit at the next boundary */
    uint64_t rvi, svi;        /* guest interrupt status while in non-root operation */
    uint64_t smm_mode;        /* mode to return to at RSM */

    /* From here on derived: not part of the saved state, vmx_restored() fills it. */
    uint64_t dirty[VMCS_DIRTY_WORDS]; /* fields written since the last successful entry of this VMCS */
    uint64_t armed[2]
                  [(ICPT_COUNT + 63) / 64]; /* cpu->icpt_armed and icpt_undefined for armed_pri, armed_sec */
    uint64_t armed_pri, armed_sec;
    /* Instruction timeout: what the last boundary that counts saw, and when. */
    uint64_t window_insns, window_rcx, window_start;
};

_Static_assert(sizeof(struct vmx_state) % 8 == 0, "an array of uint64_t");
static inline struct vmx_state *vmx_of(const struct cpu *c) { return (struct vmx_state *)c->ext_state; }

/* ---- capability.c ---- */
void vmx_cap_init(struct vmx_cap *cap, const char *model, const uint64_t *features, unsigned phys_bits,
                  unsigned lin_bits);
bool vmx_cap_allows(const struct vmx_cap *cap, enum vmx_word word, uint64_t bit_mask);
static inline uint64_t vmx_cap_msr(const struct vmx_cap *cap, uint32_t index)
{
    return cap->msr[index - 0x480];
}
static inline uint32_t vmx_revision(const struct vmx_cap *cap) { return (uint32_t)cap->msr[0] & 0x7fffffff; }
static inline bool vmx_width_ok(const struct vmx_cap *cap, uint64_t address)
{
    return cap->phys_bits >= 64 || address >> cap->phys_bits == 0;
}
bool vmx_canonical(unsigned bits, uint64_t address);
int vmx_msr_read(struct cpu *c, uint32_t index, uint64_t *value);
int vmx_msr_write(struct cpu *c, uint32_t index, uint64_t value);
bool vmx_cr_write_allowed(struct cpu *c, int cr, uint64_t value);

/* ---- vmcs.c ---- */
enum { VMCS_REGION_SIZE = 4096, VMCS_OFF_ABORT = 4, VMCS_OFF_LAUNCH = 8, VMCS_OFF_DATA = 16 };
int vmcs_lookup(uint64_t encoding); /* enum vmcs_field (full or high access), or -1 */
bool vmcs_field_exists(const struct vmx_cap *cap, int field);
uint64_t vmcs_width_mask(int field);
void vmcs_load(struct cpu *c, uint64_t address, struct vmcs *v);
void vmcs_store(struct cpu *c, uint64_t address, const struct vmcs *v);
uint64_t vmcs_peek(struct cpu *c, uint64_t address, int field);
void vmcs_poke(struct cpu *c, uint64_t address, int field, uint64_t value);
void vmcs_make_current(struct cpu *c, uint64_t address); /* VMCS_NONE: no current VMCS */
/* Value by the encoding's access type; the caller has looked the field up. */
uint64_t vmcs_extract(int field, uint64_t encoding, uint64_t stored);
uint64_t vmcs_merge(int field, uint64_t encoding, uint64_t stored, uint64_t value);
static inline void vmcs_touch(struct vmx_state *x, int field)
{
    x->dirty[field / 64] |= UINT64_C(1) << (field % 64);
}
static inline void vmcs_set(struct vmx_state *x, int field, uint64_t value)
{
    if (x->vmcs.f[field] == value) return;
    x->vmcs.f[field] = value;
    vmcs_touch(x, field);
}
void vmx_effective_controls(const uint64_t *f, struct vmx_effective *e);

/* ---- instructions.c ---- */
const struct uop *vmx_execute(struct cpu *c, const struct uop *u, const struct insn *insn);
bool vmx_eptp_valid(const struct vmx_cap *cap, uint64_t eptp);

/* ---- entry.c ---- */
enum vmx_entry_result {
    ENTRY_VMFAIL,
    ENTRY_DONE
}; /* DONE: in non-root, or back in the host by a failed entry */
enum vmx_entry_result vmx_enter(struct cpu *c, bool launch, uint32_t *error);
/* MSR lists longer than IA32_VMX_MISC recommends have no defined result: processing stops there as a failure.
 */
enum { MSR_LIST_MAX = 512 };
/* One entry of an MSR-load list; false: it must not or cannot be loaded. */
bool vmx_load_msr(struct cpu *c, uint32_t index, uint32_t reserved, uint64_t value);
/* Derived controls (armed intercepts, tags, APIC page) from the state: after entry, exit, snapshot load. */
void vmx_apply_context(struct cpu *c);

/* ---- exit.c ---- */
struct vmx_exit {
    uint32_t reason;
    uint32_t intr_info, intr_error;
    uint32_t insn_length, insn_info;
    uint64_t qualification;
    uint64_t linear, gpa;
    uint8_t rf;               /* saved RFLAGS.RF: RF_ below */
    uint8_t keep_pending_dbg; /* pending debug exceptions stay pending */
    uint8_t no_vectoring;     /* not "during event delivery" whatever s.delivering says */
};
enum { RF_CLEAR, RF_SET, RF_KEEP };
/* Always returns VIRT_EXITED. */
enum virt_verdict vmx_exit(struct cpu *c, const struct vmx_exit *e);
enum virt_verdict vmx_exit_simple(struct cpu *c, uint32_t reason, uint64_t qualification, uint8_t rf);
/* Failed entry: reason 33 or 34 with bit 31; loads host state only. */
void vmx_entry_failed(struct cpu *c, uint32_t reason, uint64_t qualification);
void vmx_abort(struct cpu *c, enum vmx_abort code);
const char *vmx_exit_reason_name(uint32_t reason); /* never NULL */

/* ---- intercept.c ---- */
void vmx_arm_intercepts(struct cpu *c);
enum virt_verdict vmx_intercept(struct cpu *c, enum icpt id, const struct icpt_info *info);
/* Exit of a VMX instruction executed in non-root operation. */
enum virt_verdict vmx_exit_insn(struct cpu *c, uint32_t reason, const struct insn *insn);
uint64_t vmx_cr_view(struct cpu *c, int cr);
uint64_t vmx_cr_merge(struct cpu *c, int cr, uint64_t value);
uint64_t vmx_displacement(struct cpu *c, const struct insn *insn);

/* ---- ept.c ---- */
static inline uint64_t vmx_ept_root(uint64_t eptp) { return eptp & UINT64_C(0xffffffffff000); }
bool vmx_ept_translate(struct cpu *c, const struct gpa_query *q, struct gpa_result *r);
enum virt_verdict vmx_second_stage_fault(struct cpu *c);

/* ---- events.c ---- */
extern const struct virt_ops vmx_root_ops, vmx_guest_ops;
extern const struct virt_ops vmx_guest_ept_ops; /* the same with a second stage */
bool vmx_iret_unblocked(struct cpu *c);         /* NMI unblocking due to IRET, SDM 3C 28.2.3 */
enum virt_verdict vmx_guest_exception(struct cpu *c, const struct event *ev);
uint64_t vmx_guest_tsc(struct cpu *c, uint64_t tsc);
static inline uint64_t vmx_physical_tsc(const struct cpu *c) { return cpu_now(c) + c->s.tsc_base; }

/* ---- vapic.c ---- */
enum virt_verdict vmx_cr8_write(struct cpu *c, uint64_t value);
uint64_t vmx_cr8_read(struct cpu *c);
uint32_t vmx_vapic_read(struct cpu *c, uint32_t offset);
void vmx_vapic_write(struct cpu *c, uint32_t offset, uint32_t value);
void vmx_tpr_virtualization(struct cpu *c);
void vmx_vapic_entry(struct cpu *c); /* guest interrupt status, PPR, TPR threshold right after entry */
bool vmx_apic_access(struct cpu *c, enum apic_access_kind kind, uint32_t offset, uint32_t size,
                     uint64_t *value);
bool vmx_trap_like_wanted(struct cpu *c);
enum virt_verdict vmx_trap_like(struct cpu *c);
enum virt_verdict vmx_deliver_virtual(struct cpu *c);
void vmx_posted_processing(struct cpu *c);
/* MSRs 800H-8FFH in non-root operation: 1 handled, 0 native, -1 #GP(0). */
int vmx_x2apic_read(struct cpu *c, uint32_t index, uint64_t *value);
int vmx_x2apic_write(struct cpu *c, uint32_t index, uint64_t value);

extern const struct virt_ext vmx_ext;

#endif
