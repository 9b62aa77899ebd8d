/* SPDX-License-Identifier: MIT */
/* The one place that knows the vendors' extensions (docs/architecture.md). */
#include "machine/machine_extension.h"

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "svm/explain.h"
#include "vmx/explain.h"

bool machine_attach_extension(struct cpu *c)
{
    if (has_feature(c, FEAT_VMX)) return cpu_attach_extension(c, &vmx_ext);
    if (has_feature(c, FEAT_SVM)) return cpu_attach_extension(c, &svm_ext);
    return true;
}

static size_t explain_vmrun(struct cpu *c, uint32_t index, bool json, char *text, size_t size)
{
    const struct svm_check_row *rows[SVMCHECK_COUNT];
    struct svm_check k;
    if (index >= svm_explain_cpu(c, &k, rows, SVMCHECK_COUNT)) return 0;
    return svm_explain_row(&k, rows[index], json, text, size);
}

size_t machine_explain_entry(struct cpu *c, uint64_t code, uint32_t index, bool json, char *text, size_t size)
{
    const struct vmx_check_row *rows[CHECK_COUNT];
    struct vmx_check k;
    if (size) text[0] = 0;
    if (c->ext == &svm_ext) return explain_vmrun(c, index, json, text, size);
    if (c->ext != &vmx_ext) return 0;
    bool judged =
        code == VMXERR_CONTROLS || code == VMXERR_HOST_STATE || (code & 0xffff) == REASON_ENTRY_FAIL_GUEST;
    if (!judged || index >= vmx_explain_cpu(c, &k, rows, CHECK_COUNT)) return 0;
    return vmx_explain_row(&k, rows[index], json, text, size);
}
