/* SPDX-License-Identifier: MIT */
/* Explanation of failed VM entries, see explain.h. SDM 3C 27.2, 27.3; 31.4 "VM Instruction Error Numbers". */
#include "vmx/explain.h"

#include <inttypes.h>
#include <stdio.h>

#include "cpu/text.h"

unsigned vmx_explain(const struct vmx_check *k, const struct vmx_check_row *out[], unsigned max)
{
    unsigned n = 0;
    for (unsigned stage = 0; stage < STAGE_COUNT; stage++)
        for (unsigned i = 0; i < vmx_check_row_count; i++) {
            const struct vmx_check_row *row = &vmx_check_rows[i];
            if (row->stage != stage || row->holds(k)) continue;
            if (n < max) out[n] = row;
            n++;
        }
    return n;
}

unsigned vmx_explain_cpu(struct cpu *c, struct vmx_check *k, const struct vmx_check_row *out[], unsigned max)
{
    const struct vmx_state *x = vmx_of(c);
    vmx_check_init(k, &x->cap, x->vmcs.f);
    vmx_check_live(k, c);
    return vmx_explain(k, out, max);
}

size_t vmx_explain_outcome(const struct vmx_check_row *row, char *buf, size_t size)
{
    struct text t = {buf, size, 0};
    if (row->outcome.vmfail)
        text_put(&t, "VMfailValid %u", row->outcome.vmfail);
    else
        text_put(&t, "exit reason 33, qualification %u", row->outcome.qualification);
    return t.length;
}

size_t vmx_explain_row(const struct vmx_check *k, const struct vmx_check_row *row, bool json, char *buf,
                       size_t size)
{
    struct text t = {buf, size, 0};
    char outcome[64];
    vmx_explain_outcome(row, outcome, sizeof outcome);
    if (json)
        text_put(&t,
                 "{\"id\": \"%s\", \"section\": \"%s\", \"outcome\": \"%s\", \"rule\": \"%s\", \"fields\": [",
                 row->id, row->section, outcome, row->rule);
    else
        text_put(&t, "%s (SDM 3C %s, %s): %s", row->id, row->section, outcome, row->rule);
    for (unsigned i = 0; i < row->read_count; i++) {
        const struct vmcs_field_info *field = &vmcs_fields[row->reads[i]];
        uint64_t value = k->f[row->reads[i]];
        if (json)
            text_put(&t, "%s{\"field\": \"%s\", \"encoding\": \"0x%04x\", \"value\": \"0x%" PRIx64 "\"}",
                     i ? ", " : "", field->name, field->encoding, value);
        else
            text_put(&t, "%s %s (%04xh) = %" PRIx64 "h", i ? "," : ";", field->name, field->encoding, value);
    }
    if (json) text_put(&t, "]}");
    return t.length;
}

const char *vmx_error_name(uint32_t error)
{
    static const char *const names[] = {
        [1] = "VMCALL executed in VMX root operation",
        [2] = "VMCLEAR with invalid physical address",
        [3] = "VMCLEAR with VMXON pointer",
        [4] = "VMLAUNCH with non-clear VMCS",
        [5] = "VMRESUME with non-launched VMCS",
        [6] = "VMRESUME after VMXOFF",
        [7] = "VM entry with invalid control field(s)",
        [8] = "VM entry with invalid host-state field(s)",
        [9] = "VMPTRLD with invalid physical address",
        [10] = "VMPTRLD with VMXON pointer",
        [11] = "VMPTRLD with incorrect VMCS revision identifier",
        [12] = "VMREAD/VMWRITE from/to unsupported VMCS component",
        [13] = "VMWRITE to read-only VMCS component",
        [15] = "VMXON executed in VMX root operation",
        [16] = "VM entry with invalid executive-VMCS pointer",
        [17] = "VM entry with non-launched executive VMCS",
        [18] = "VM entry with executive-VMCS pointer not VMXON pointer",
        [19] = "VMCALL with non-clear VMCS",
        [20] = "VMCALL with invalid VM-exit control fields",
        [22] = "VMCALL with incorrect MSEG revision identifier",
        [23] = "VMXOFF under dual-monitor treatment",
        [24] = "VMCALL with invalid SMM-monitor features",
        [25] = "VM entry with invalid VM-execution control fields in executive VMCS",
        [26] = "VM entry with events blocked by MOV SS",
        [28] = "invalid operand to INVEPT/INVVPID",
    };
    if (error >= sizeof names / sizeof names[0] || !names[error]) return "reserved";
    return names[error];
}
