/* SPDX-License-Identifier: MIT */
/* What an SVM processor offers: CPUID 8000000AH from the features of the model, and the registers' valid
 * bits. APM 3 E.4.9 "Function 8000_000Ah - SVM Features"; APM 2 15.4. */
#include <string.h>

#include "cpu/control.h"
#include "svm/svm.h"

enum { LEAF_SVM = 0x8000000a, SVM_REVISION = 1, SVM_ASIDS = 0x8000 };

static const struct {
    uint32_t leaf;
    uint8_t bit, feature;
} feature_bits[] = {
#define FEATURE(name, leaf, sub, reg, bit, option) {leaf, bit, FEAT_##name},
#include "cpu/feature.def"
#undef FEATURE
};

void svm_cap_init(struct svm_cap *cap, struct cpu *c)
{
    memset(cap, 0, sizeof *cap);
    memcpy(cap->features, c->features, sizeof cap->features);
    cap->revision = SVM_REVISION;
    cap->asids = SVM_ASIDS;
    for (unsigned i = 0; i < sizeof feature_bits / sizeof feature_bits[0]; i++)
        if (feature_bits[i].leaf == LEAF_SVM && svm_cap_has(cap, feature_bits[i].feature))
            cap->edx |= 1u << feature_bits[i].bit;
    cap->cr4_valid = cpu_cr4_valid(c);
    cap->efer_valid = cpu_efer_valid(c);
    cap->phys_bits = c->phys_bits;
    cap->lin_bits = c->lin_bits;
}

bool svm_cpuid(struct cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    const struct svm_cap *cap = &svm_of(c)->cap;
    (void)subleaf;
    if (leaf != LEAF_SVM) return false;
    regs[0] = cap->revision;
    regs[1] = cap->asids;
    regs[2] = 0;
    regs[3] = cap->edx;
    return true;
}
