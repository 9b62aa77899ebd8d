/* SPDX-License-Identifier: MIT */
/* The registers of the extension: VM_CR with its lock, IGNNE, VM_HSAVE_PA, SVM_KEY, the TSC ratio, and
 * EFER.SVME under VM_CR.SVMDIS. APM 2 15.30 "SVM Related MSRs", 15.31 "SVM-Lock". */
#include "svm/svm.h"

enum svm_msr {
    MSR_TSC_RATIO = 0xc0000104,
    MSR_VM_CR = 0xc0010114,
    MSR_IGNNE = 0xc0010115,
    MSR_SMM_CTL = 0xc0010116,
    MSR_VM_HSAVE_PA = 0xc0010117,
    MSR_SVM_KEY = 0xc0010118
};

#define TSC_RATIO_DEFINED UINT64_C(0xffffffffff)

int svm_msr_read(struct cpu *c, uint32_t index, uint64_t *value)
{
    const struct svm_state *x = svm_of(c);
    switch (index) {
    case MSR_TSC_RATIO:
        if (!svm_cap_has(&x->cap, FEAT_TSCRATE)) return 0;
        *value = x->tsc_ratio;
        return 1;
    case MSR_VM_CR: *value = x->vm_cr; return 1;
    case MSR_IGNNE: *value = x->ignne; return 1;
    case MSR_VM_HSAVE_PA: *value = x->hsave_pa; return 1;
    case MSR_SVM_KEY: *value = 0; return svm_cap_has(&x->cap, FEAT_SVML) ? 1 : 0;
    default: return 0;
    }
}

static int write_vm_cr(struct cpu *c, uint64_t value)
{
    struct svm_state *x = svm_of(c);
    const uint64_t locked = VM_CR_LOCK | VM_CR_SVMDIS;
    if (value >> 5) return -1;
    if (x->vm_cr & VM_CR_LOCK) value = (value & ~locked) | (x->vm_cr & locked);
    if ((value & ~x->vm_cr & VM_CR_SVMDIS) && (c->s.efer & EFER_SVME)) return -1;
    x->vm_cr = value;
    return 1;
}

/* The first key written while unlocked opens the lock later; 0 never does. */
static void write_key(struct svm_state *x, uint64_t value)
{
    if (!(x->vm_cr & VM_CR_LOCK))
        x->key = value;
    else if (value != 0 && value == x->key)
        x->vm_cr &= ~(uint64_t)VM_CR_LOCK;
}

int svm_msr_write(struct cpu *c, uint32_t index, uint64_t value)
{
    struct svm_state *x = svm_of(c);
    switch (index) {
    case MSR_TSC_RATIO:
        if (!svm_cap_has(&x->cap, FEAT_TSCRATE)) return 0;
        if (value & ~TSC_RATIO_DEFINED) return -1;
        x->tsc_ratio = value;
        return 1;
    case MSR_VM_CR: return write_vm_cr(c, value);
    case MSR_IGNNE:
        if (value >> 1) return -1;
        x->ignne = value;
        return 1;
    case MSR_VM_HSAVE_PA:
        if ((value & 0xfff) || !svm_width_ok(&x->cap, value)) return -1;
        x->hsave_pa = value;
        return 1;
    case MSR_SVM_KEY:
        if (!svm_cap_has(&x->cap, FEAT_SVML)) return 0;
        write_key(x, value);
        return 1;
    case MSR_SMM_CTL: return -1;
    default: return 0;
    }
}

bool svm_efer_write_allowed(struct cpu *c, uint64_t value)
{
    return !(value & EFER_SVME) || !(svm_of(c)->vm_cr & VM_CR_SVMDIS);
}
