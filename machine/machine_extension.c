/* SPDX-License-Identifier: MIT */
/* The one place that knows the vendors' extensions (docs/architecture.md). */
#include "machine/machine_extension.h"

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/insn.h"
#include "cpu/mem.h"
#include "cpu/text.h"
#include "machine/machine_internal.h"
#include "svm/explain.h"
#include "svm/svm.h"
#include "vmx/explain.h"

bool machine_attach_extension(struct cpu *c)
{
    if (has_feature(c, FEAT_VMX)) return cpu_attach_extension(c, &vmx_ext);
    if (has_feature(c, FEAT_SVM)) return cpu_attach_extension(c, &svm_ext);
    return true;
}

static void visit_svm(struct svm_state *x, struct visitor *v)
{
    struct svm_host *h = &x->host;
    visit_u64s(v, x->f, VMCB_FIELDS);
    visit_u64(v, &x->vmcb);
    for (unsigned i = 0; i < 4; i++)
        visit_segment(v, &h->seg[i]);
    visit_u64(v, &h->gdtr.base);
    visit_u32(v, &h->gdtr.limit);
    visit_u64(v, &h->idtr.base);
    visit_u32(v, &h->idtr.limit);
    uint64_t *host[] = {&h->efer, &h->cr0, &h->cr3, &h->cr4,       &h->rflags,  &h->rip,
                        &h->rsp,  &h->rax, &h->pat, &h->spec_ctrl, &h->debugctl};
    for (unsigned i = 0; i < sizeof(host) / sizeof(host[0]); i++)
        visit_u64(v, host[i]);
    visit_u64s(v, h->last_branch, 4);
    uint64_t *msr[] = {&x->vm_cr, &x->hsave_pa, &x->ignne, &x->key, &x->tsc_ratio, &x->pause_last};
    for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++)
        visit_u64(v, msr[i]);
    visit_u32(v, &x->pause_left);
    uint8_t *bytes[] = {&x->guest,        &x->nested, &x->nested_levels, &x->nested_nx,
                        &x->nested_fetch, &x->lbr,    &x->spec_ctrl};
    for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++)
        visit_u8(v, bytes[i]);
}

void machine_visit_extension(struct cpu *c, struct visitor *v)
{
    if (c->ext == &svm_ext)
        visit_svm(c->ext_state, v);
    else if (c->ext)
        visit_u64s(v, c->ext_state, c->ext->state_size / 8); /* VMX keeps an array of 64-bit words */
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

static size_t report_vmrun(struct cpu *c, const char *where, bool json, char *text, size_t size)
{
    const struct svm_state *x = c->ext_state;
    struct svm_check k;
    struct svm_report r = {.k = &k,
                           .source = "machine",
                           .processor = c->model ? c->model->name : "any",
                           .where = where,
                           .failed = true};
    svm_check_init(&k, &x->cap, x->f);
    svm_check_live(&k, c);
    return json ? svm_report_json(&r, text, size) : svm_report_text(&r, text, size);
}

size_t machine_explain_report(struct cpu *c, uint64_t code, uint64_t qualification, const char *where,
                              bool json, char *text, size_t size)
{
    if (size) text[0] = 0;
    if (c->ext == &svm_ext) return report_vmrun(c, where, json, text, size);
    if (c->ext != &vmx_ext) return 0;
    const struct vmx_state *x = vmx_of(c);
    struct vmx_check k;
    struct vmx_report r = {.k = &k,
                           .source = "machine",
                           .processor = c->model ? c->model->name : "any",
                           .where = where,
                           .has_code = true,
                           .code = (uint32_t)code,
                           .qualification = qualification};
    vmx_check_init(&k, &x->cap, x->vmcs.f);
    if (code == VMXERR_CONTROLS || code == VMXERR_HOST_STATE ||
        code == (REASON_ENTRY_FAIL_GUEST | REASON_ENTRY_FAILURE)) {
        vmx_check_live(&k, c);
    } else if (code == (REASON_ENTRY_FAIL_MSR | REASON_ENTRY_FAILURE) && qualification) {
        /* Guest state is loaded already; every rule held before that. */
        uint64_t at = x->vmcs.f[F_ENTRY_MSR_LOAD_ADDR] + 16 * (qualification - 1);
        r.has_msr = true;
        r.msr_index = (uint32_t)phys_read(c, at, 4);
        r.msr_value = phys_read(c, at + 8, 8);
    } else {
        return 0;
    }
    return json ? vmx_report_json(&r, text, size) : vmx_report_text(&r, text, size);
}
