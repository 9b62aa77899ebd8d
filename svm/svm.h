/* SPDX-License-Identifier: MIT */
/* The SVM room: tables, state of one processor, and what its files call of each other.
 *   capability.c  CPUID 8000000AH of a CPU model     instructions.c  VMRUN .. INVLPGA
 *   vmcb.c        the VMCB in memory, clean bits     vmrun.c, vmrun_checks.c  VMRUN
 *   vmexit.c      #VMEXIT                            intercept.c     instruction intercepts
 *   npt.c         nested paging                      events.c        events at boundaries
 *   msr.c         VM_CR and its neighbours           explain.c       every broken consistency rule
 *   dump.c        printed VMCBs                      judge.c, report.c  verdicts on them
 * APM 2 ch. 15. */
#ifndef UV_SVM_SVM_H
#define UV_SVM_SVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "cpu/virt.h"

/* ---- tables ---- */

enum vmcb_field {
#define FIELD(name, offset, bytes, group) VMCB_##name,
#include "svm/vmcb.def"
#undef FIELD
    VMCB_FIELDS
};

enum vmcb_offset {
#define FIELD(name, offset, bytes, group) OFF_##name = offset,
#include "svm/vmcb.def"
#undef FIELD
    VMCB_SIZE = 4096
};

struct vmcb_field_info {
    const char *name;
    uint16_t offset;
    uint8_t bytes;
    uint8_t group; /* enum vmcb_group */
};
extern const struct vmcb_field_info vmcb_fields[VMCB_FIELDS];

/* Bits of the clean field, APM 2 15.15.3. */
enum vmcb_group {
    CLEAN_I,
    CLEAN_IOPM,
    CLEAN_ASID,
    CLEAN_TPR,
    CLEAN_NP,
    CLEAN_CRX,
    CLEAN_DRX,
    CLEAN_DT,
    CLEAN_SEG,
    CLEAN_CR2,
    CLEAN_LBR,
    CLEAN_AVIC,
    CLEAN_CET,
    CLEAN_NEVER
};

/* Codes below 400h number the bits of the intercept words as well. */
enum svm_exit_code {
#define EXIT_CODE(code, name, nrip, text) SVM_EXIT_##name = code,
#include "svm/exit_codes.def"
#undef EXIT_CODE
};
#define SVM_EXIT_INVALID (~UINT64_C(0))

enum svm_nrip { NRIP_ZERO, NRIP_NEXT, NRIP_SOFT };

/* Rows of vmrun_checks.def, see vmrun_checks.h. */
enum svm_check_id {
#define CHECK(id, section, holds, reads, cure, rule) SVMCHECK_##id,
#include "svm/vmrun_checks.def"
#undef CHECK
    SVMCHECK_COUNT
};

/* ---- fields ---- */

enum vmcb_attrib { ATTR_P = 0x80, ATTR_L = 0x200, ATTR_DB = 0x400 };

enum vintr_bit {
    VINTR_TPR = 0xff,
    VINTR_IRQ = 1 << 8,
    VINTR_GIF = 1 << 9,
    VINTR_NMI = 1 << 11,
    VINTR_NMI_MASK = 1 << 12,
    VINTR_PRIO_SHIFT = 16,
    VINTR_IGN_TPR = 1 << 20,
    VINTR_MASKING = 1 << 24,
    VINTR_GIF_ENABLE = 1 << 25,
    VINTR_NMI_ENABLE = 1 << 26,
    VINTR_VECTOR_SHIFT = 32
};

enum nested_control_bit { NESTED_NP = 1 };
enum virt_ext_bit { VIRT_EXT_LBR = 1, VIRT_EXT_VMSAVE = 2 };
enum tlb_control { TLB_KEEP = 0, TLB_FLUSH_ALL = 1, TLB_FLUSH_ASID = 3, TLB_FLUSH_ASID_LOCAL = 7 };

/* EVENTINJ and EXITINTINFO, APM 2 15.20. */
enum inject_type { INJ_INTR = 0, INJ_NMI = 2, INJ_EXCEPTION = 3, INJ_SOFT = 4 };
enum inject_bit { INJ_VECTOR = 0xff, INJ_TYPE_SHIFT = 8, INJ_ERROR = 1 << 11, INJ_VALID = 0x80000000u };

/* EXITINFO1 of a nested page fault, beside the bits of a #PF error code. */
#define NPF_FINAL (UINT64_C(1) << 32)
#define NPF_WALK (UINT64_C(1) << 33)

enum vm_cr_bit { VM_CR_DPD = 1, VM_CR_R_INIT = 2, VM_CR_DIS_A20M = 4, VM_CR_LOCK = 8, VM_CR_SVMDIS = 16 };

/* ---- state ---- */

#define VMCB_NONE (~UINT64_C(0))

/* What a CPU model offers (capability.c). */
struct svm_cap {
    uint64_t features[8];
    uint64_t cr4_valid, efer_valid;
    uint32_t revision, asids, edx;
    uint8_t phys_bits, lin_bits;
    uint8_t pad[2];
};

/* The host state that #VMEXIT brings back. It never leaves the processor: the format of the area at
 * VM_HSAVE_PA is private, and this processor uses none of it. APM 2 15.30.4 */
struct svm_host {
    struct seg_reg seg[4]; /* ES, CS, SS, DS */
    struct dt_reg gdtr, idtr;
    uint64_t efer, cr0, cr3, cr4, rflags, rip, rsp, rax, pat, spec_ctrl;
    uint64_t debugctl, last_branch[4];
};

/* Lives at cpu->ext_state; part of snapshots and of the state hash, member by member
 * (machine/machine_extension.c). */
struct svm_state {
    struct svm_cap cap;
    uint64_t f[VMCB_FIELDS]; /* of the VMCB being run, or the last one: the copy that clean bits keep */
    uint64_t vmcb;           /* address of the VMCB that f[] is a copy of, VMCB_NONE */
    struct svm_host host;
    uint64_t vm_cr, hsave_pa, ignne, key, tsc_ratio;
    uint64_t pause_last; /* time of the last PAUSE */
    uint32_t pause_left;
    uint8_t guest;         /* between VMRUN and #VMEXIT */
    uint8_t nested;        /* nested paging is on */
    uint8_t nested_levels; /* of the nested tables: 2, 3 (PAE), 4, 5 */
    uint8_t nested_nx;     /* EFER.NXE of the host: bit 63 counts */
    uint8_t nested_fetch;  /* EFER.NXE or CR4.SMEP: fetches show in error codes */
    uint8_t lbr;           /* LBR virtualization is on */
    uint8_t spec_ctrl;     /* SPEC_CTRL is switched */

    /* Derived, not part of the saved state. */
    uint64_t armed[(ICPT_COUNT + 63) / 64]; /* cpu->icpt_armed for armed_words */
    uint32_t armed_words[6];
};

static inline struct svm_state *svm_of(const struct cpu *c) { return (struct svm_state *)c->ext_state; }

static inline bool svm_cap_has(const struct svm_cap *cap, unsigned feature)
{
    return (cap->features[feature / 64] >> (feature % 64) & 1) != 0;
}

/* Is the intercept with this exit code set? The six words are the first fields. */
static inline bool svm_intercepts(const uint64_t *f, unsigned code)
{
    return (f[VMCB_INTERCEPT_CR + code / 32] >> (code % 32) & 1) != 0;
}

static inline bool svm_width_ok(const struct svm_cap *cap, uint64_t address)
{
    return cap->phys_bits >= 64 || address >> cap->phys_bits == 0;
}

/* ---- capability.c ---- */
void svm_cap_init(struct svm_cap *cap, struct cpu *c);
bool svm_cpuid(struct cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);

/* ---- vmcb.c ---- */
/* The 4 KBytes at `address`: host memory where it is plain RAM, else a copy in buf that vmcb_close() writes
 * back. */
uint8_t *vmcb_open(struct cpu *c, uint64_t address, uint8_t buf[VMCB_SIZE], bool write);
void vmcb_close(struct cpu *c, uint64_t address, const uint8_t *page, const uint8_t buf[VMCB_SIZE]);
/* Reads the fields; groups whose bit is set in keep retain their values. */
void vmcb_load(const uint8_t *page, uint64_t *f, uint32_t keep);
struct seg_reg vmcb_segment(uint16_t selector, uint16_t attrib, uint32_t limit, uint64_t base);
uint16_t vmcb_attrib(const struct seg_reg *s);
/* VMLOAD and VMSAVE. */
void vmcb_load_extra(struct cpu *c, uint64_t address);
void vmcb_save_extra(struct cpu *c, uint64_t address);

/* Little-endian values in the page. */
static inline uint64_t vmcb_get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&v, p, bytes);
#else
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
#endif
    return v;
}
static inline void vmcb_put(uint8_t *p, unsigned bytes, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(p, &v, bytes);
#else
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
#endif
}

/* ---- instructions.c ---- */
const struct uop *svm_execute(struct cpu *c, const struct uop *u, const struct insn *insn);

/* ---- vmrun.c ---- */
/* VMRUN behind its legality checks. next_rip: behind the instruction. */
void svm_enter(struct cpu *c, uint64_t vmcb, uint64_t next_rip);
/* Derived controls (armed intercepts, tags) from the state. */
void svm_apply_context(struct cpu *c);

/* ---- vmexit.c ---- */
struct svm_exit {
    uint64_t code, info1, info2;
    uint64_t next_rip;    /* behind the instruction, for codes that save it; 0: none */
    uint8_t bytes;        /* guest instruction bytes are supplied */
    uint8_t no_vectoring; /* not "during event delivery" whatever s.delivering says */
};
/* Always returns VIRT_EXITED. */
enum virt_verdict svm_exit(struct cpu *c, const struct svm_exit *e);
enum virt_verdict svm_exit_simple(struct cpu *c, uint64_t code);
/* Consistency check failed: exit code -1, no guest state is written. */
void svm_exit_invalid(struct cpu *c);
const char *svm_exit_name(uint64_t code); /* never NULL */
uint64_t svm_next_rip(const struct cpu *c, unsigned length);

/* ---- intercept.c ---- */
void svm_arm_intercepts(struct cpu *c);
enum virt_verdict svm_intercept(struct cpu *c, enum icpt id, const struct icpt_info *info);
/* Exit of an SVM instruction executed by the guest, with EXITINFO1. */
void svm_exit_insn(struct cpu *c, uint64_t code, uint64_t info1, const struct insn *insn);

/* ---- npt.c ---- */
bool svm_npt_translate(struct cpu *c, const struct gpa_query *q, struct gpa_result *r);
enum virt_verdict svm_second_stage_fault(struct cpu *c);

/* ---- events.c ---- */
extern const struct virt_ops svm_guest_ops;
extern const struct virt_ops svm_guest_npt_ops; /* the same with nested paging */
uint64_t svm_guest_tsc(struct cpu *c, uint64_t tsc);
/* Virtual GIF is in use by the guest. */
static inline bool svm_vgif(const struct svm_state *x)
{
    return (x->f[VMCB_VINTR] & VINTR_GIF_ENABLE) && svm_cap_has(&x->cap, FEAT_VGIF);
}
static inline bool svm_vnmi(const struct svm_state *x)
{
    return (x->f[VMCB_VINTR] & VINTR_NMI_ENABLE) && svm_cap_has(&x->cap, FEAT_VNMI);
}

/* ---- msr.c ---- */
int svm_msr_read(struct cpu *c, uint32_t index, uint64_t *value);
int svm_msr_write(struct cpu *c, uint32_t index, uint64_t value);
bool svm_efer_write_allowed(struct cpu *c, uint64_t value);

extern const struct virt_ext svm_ext;

#endif
