/* SPDX-License-Identifier: MIT */
/* The explanation of a failed VM entry as text and as JSON: broken rules with fields, values, allowed values
 * and the nearest of them; rules that could not be judged and the fields that are missing for it. SDM
 * 3C 27.2, 27.3, 27.4 (MSR loading); 31.4 "VM Instruction Error Numbers". */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/dump_text.h"
#include "cpu/text.h"
#include "vmx/explain.h"

enum { WORDS_MAX = 320 };

unsigned vmx_report_count(const struct vmx_report *r, enum vmx_verdict verdict)
{
    unsigned n = 0;
    for (unsigned i = 0; i < vmx_check_row_count; i++)
        n += vmx_judge(r->k, r->known, &vmx_check_rows[i]) == verdict;
    return n;
}

static void code_text(const struct vmx_report *r, char *buf, size_t size)
{
    if (r->code & REASON_ENTRY_FAILURE)
        snprintf(buf, size, "exit reason %u (%s), qualification %" PRIu64, r->code & 0xffff,
                 vmx_exit_reason_name(r->code), r->qualification);
    else
        snprintf(buf, size, "VM-instruction error %u (%s)", r->code, vmx_error_name(r->code));
}

/* Does the code of the processor come from the rules of this stage? */
static bool reports_stage(const struct vmx_report *r, unsigned stage)
{
    switch (stage) {
    case STAGE_CONTROL: return r->code == VMXERR_CONTROLS;
    case STAGE_HOST: return r->code == VMXERR_HOST_STATE;
    default: return r->code == (REASON_ENTRY_FAILURE | REASON_ENTRY_FAIL_GUEST);
    }
}

/* The word of controls.def that a field is, or -1. */
static int control_word(int field)
{
    switch (field) {
    case F_PIN_CONTROLS: return W_PIN;
    case F_PRIMARY_CONTROLS: return W_PRI;
    case F_SECONDARY_CONTROLS: return W_SEC;
    case F_TERTIARY_CONTROLS: return W_TER;
    case F_EXIT_CONTROLS: return W_EXI;
    case F_EXIT_CONTROLS2: return W_EXI2;
    case F_ENTRY_CONTROLS: return W_ENT;
    case F_VMFUNC_CONTROLS: return W_VMFUNC;
    default: return -1;
    }
}

/* "bit 1 to 1, bit 7 (UNRESTRICTED) to 0" when few bits differ. */
static void put_changes(struct text *t, const struct vmx_advice *a)
{
    uint64_t changed = a->seen ^ a->nearest;
    int word = control_word(a->field);
    if (!changed || __builtin_popcountll(changed) > 4) return;
    const char *before = " (";
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = NULL;
        if (!(changed >> bit & 1)) continue;
        for (unsigned i = 0; word >= 0 && i < vmx_control_count; i++)
            if (vmx_controls[i].word == word && vmx_controls[i].bit == bit) name = vmx_controls[i].name;
        text_put(t, "%sbit %u%s%s%s to %u", before, bit, name ? " " : "", name ? name : "", "",
                 (unsigned)(a->nearest >> bit & 1));
        before = ", ";
    }
    text_put(t, ")");
}

static void put_field(struct text *t, const struct vmx_report *r, int field)
{
    const struct vmcs_field_info *info = &vmcs_fields[field];
    text_put(t, "     %-24s %04xh  ", info->name, info->encoding);
    if (vmx_field_known(r->known, field))
        text_put(t, "= %" PRIx64 "h", r->k->f[field]);
    else
        text_put(t, "not in the dump");
}

static void put_advice(struct text *t, const struct vmx_report *r, const struct vmx_advice *a)
{
    char words[WORDS_MAX];
    put_field(t, r, a->field);
    for (unsigned i = 0; i < a->allowed_count; i++) {
        vmx_allowed_text(&a->allowed[i], words, sizeof words);
        text_put(t, "%s%s", i ? "; " : "; allowed: ", words);
    }
    if (a->has_nearest && vmx_field_known(r->known, a->field)) {
        text_put(t, "; nearest: %" PRIx64 "h", a->nearest);
        put_changes(t, a);
    }
    text_put(t, "\n");
}

static void put_row(struct text *t, const struct vmx_report *r, const struct vmx_check_row *row)
{
    struct vmx_advice advice[ADVICE_MAX];
    char outcome[64];
    unsigned n = vmx_advise(r->k, row, advice);
    vmx_explain_outcome(row, outcome, sizeof outcome);
    text_put(t, "  %s (SDM 3C %s): %s\n     gives %s\n", row->id, row->section, row->rule, outcome);
    for (unsigned i = 0; i < n; i++)
        put_advice(t, r, &advice[i]);
    for (unsigned i = 0; i < row->read_count; i++) {
        bool shown = false;
        for (unsigned j = 0; j < n; j++)
            shown |= advice[j].field == row->reads[i];
        if (shown) continue;
        put_field(t, r, row->reads[i]);
        text_put(t, "\n");
    }
}

/* With a code of the processor, the rules of other stages were passed or not reached: they are only counted.
 */
static void put_unjudged(struct text *t, const struct vmx_report *r, const uint8_t *verdict, unsigned count)
{
    uint64_t missing[VMCS_DIRTY_WORDS] = {0};
    bool memory = false;
    unsigned others = 0;
    text_put(t, "%u rule%s could not be judged:", count, count == 1 ? "" : "s");
    for (unsigned i = 0; i < vmx_check_row_count; i++) {
        const struct vmx_check_row *row = &vmx_check_rows[i];
        uint8_t fields[MISSING_MAX];
        if (verdict[i] != VERDICT_UNKNOWN) continue;
        if (r->has_code && !reports_stage(r, row->stage)) {
            others++;
            continue;
        }
        unsigned n = vmx_missing_fields(r->known, row, fields);
        for (unsigned j = 0; j < n; j++)
            missing[fields[j] / 64] |= UINT64_C(1) << (fields[j] % 64);
        memory |= n == 0;
        text_put(t, " %s", row->id);
    }
    if (others == count)
        text_put(t, " all of stages that the processor passed or did not reach\n");
    else if (others)
        text_put(t, " and %u of stages that the processor passed or did not reach\n", others);
    else
        text_put(t, "\n");
    if (others == count) return;
    text_put(t, "  missing:");
    for (int field = 0; field < F_COUNT; field++)
        if (missing[field / 64] >> (field % 64) & 1) text_put(t, " %s", vmcs_fields[field].name);
    text_put(t, "%s\n", memory ? " (and memory)" : "");
}

static void put_msr(struct text *t, const struct vmx_report *r)
{
    text_put(t,
             "  entry %" PRIu64 " of the VM-entry MSR-load list cannot be loaded: MSR %xh, value %" PRIx64
             "h\n"
             "  (SDM 3C 27.4: not an MSR of such a list, or a value that WRMSR refuses)\n",
             r->qualification, r->msr_index, r->msr_value);
}

size_t vmx_report_text(const struct vmx_report *r, char *buf, size_t size)
{
    static const char *const stages[] = {
        [STAGE_CONTROL] = "control fields", [STAGE_HOST] = "host state", [STAGE_GUEST] = "guest state"};
    struct text t = {buf, size, 0};
    char code[160];
    unsigned broken = 0, unknown = 0, heading = STAGE_COUNT;
    uint8_t verdict[CHECK_COUNT];
    for (unsigned i = 0; i < vmx_check_row_count; i++) {
        verdict[i] = (uint8_t)vmx_judge(r->k, r->known, &vmx_check_rows[i]);
        broken += verdict[i] == VERDICT_BROKEN;
        unknown += verdict[i] == VERDICT_UNKNOWN;
    }
    if (size) buf[0] = 0;
    if (r->has_code) {
        code_text(r, code, sizeof code);
        text_put(&t, "VM entry failed: %s%s%s\n", code, r->where ? "; " : "", r->where ? r->where : "");
    }
    if (r->has_msr) put_msr(&t, r);
    if (broken)
        text_put(&t, "%u broken rule%s:\n", broken, broken == 1 ? "" : "s");
    else if (!r->has_msr)
        text_put(&t, "no broken rule%s (processor: %s)\n", unknown ? " among those that can be judged" : "",
                 r->processor);
    for (unsigned stage = 0; stage < STAGE_COUNT; stage++)
        for (unsigned i = 0; i < vmx_check_row_count; i++) {
            if (vmx_check_rows[i].stage != stage || verdict[i] != VERDICT_BROKEN) continue;
            if (heading != stage) {
                text_put(&t, " %s%s\n", stages[stage],
                         r->has_code && !reports_stage(r, stage) ? " (not what the processor reported)" : "");
                heading = stage;
            }
            put_row(&t, r, &vmx_check_rows[i]);
        }
    if (unknown) put_unjudged(&t, r, verdict, unknown);
    return t.length;
}

/* ---- JSON ---- */

static cJSON *add_field(cJSON *array, const struct vmx_report *r, int field)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "field", vmcs_fields[field].name);
    dump_json_add(o, "encoding", vmcs_fields[field].encoding);
    if (vmx_field_known(r->known, field)) dump_json_add(o, "value", r->k->f[field]);
    cJSON_AddItemToArray(array, o);
    return o;
}

static cJSON *row_json(const struct vmx_check_row *row)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", row->id);
    cJSON_AddStringToObject(o, "section", row->section);
    cJSON_AddStringToObject(o, "rule", row->rule);
    return o;
}

static cJSON *broken_json(const struct vmx_report *r, const struct vmx_check_row *row)
{
    struct vmx_advice advice[ADVICE_MAX];
    char words[WORDS_MAX];
    cJSON *o = row_json(row);
    vmx_explain_outcome(row, words, sizeof words);
    cJSON_AddStringToObject(o, "outcome", words);
    cJSON *reads = cJSON_AddArrayToObject(o, "reads");
    for (unsigned i = 0; i < row->read_count; i++)
        add_field(reads, r, row->reads[i]);
    cJSON *wrong = cJSON_AddArrayToObject(o, "wrong");
    unsigned n = vmx_advise(r->k, row, advice);
    for (unsigned i = 0; i < n; i++) {
        cJSON *field = add_field(wrong, r, advice[i].field),
              *allowed = cJSON_AddArrayToObject(field, "allowed");
        for (unsigned j = 0; j < advice[i].allowed_count; j++) {
            vmx_allowed_text(&advice[i].allowed[j], words, sizeof words);
            cJSON_AddItemToArray(allowed, cJSON_CreateString(words));
        }
        if (advice[i].has_nearest && vmx_field_known(r->known, advice[i].field))
            dump_json_add(field, "nearest", advice[i].nearest);
    }
    return o;
}

static cJSON *unjudged_json(const struct vmx_report *r, const struct vmx_check_row *row)
{
    uint8_t fields[MISSING_MAX];
    cJSON *o = row_json(row), *missing = cJSON_AddArrayToObject(o, "missing");
    unsigned n = vmx_missing_fields(r->known, row, fields);
    for (unsigned i = 0; i < n; i++)
        cJSON_AddItemToArray(missing, cJSON_CreateString(vmcs_fields[fields[i]].name));
    if (n == 0) cJSON_AddItemToArray(missing, cJSON_CreateString("memory"));
    return o;
}

static cJSON *report_json(const struct vmx_report *r)
{
    char words[160];
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "format", "undervisor-vmcs");
    cJSON_AddStringToObject(o, "source", r->source);
    cJSON_AddStringToObject(o, "processor", r->processor);
    if (r->where) cJSON_AddStringToObject(o, "where", r->where);
    if (r->has_code) {
        cJSON *failure = cJSON_AddObjectToObject(o, "failure");
        code_text(r, words, sizeof words);
        dump_json_add(failure, r->code & REASON_ENTRY_FAILURE ? "exit_reason" : "vm_instruction_error",
                      r->code);
        if (r->code & REASON_ENTRY_FAILURE) dump_json_add(failure, "qualification", r->qualification);
        cJSON_AddStringToObject(failure, "text", words);
    }
    if (r->has_msr) {
        cJSON *msr = cJSON_AddObjectToObject(o, "msr");
        dump_json_add(msr, "index", r->msr_index);
        dump_json_add(msr, "value", r->msr_value);
    }
    cJSON *broken = cJSON_AddArrayToObject(o, "broken"), *unjudged = cJSON_AddArrayToObject(o, "unjudged");
    for (unsigned i = 0; i < vmx_check_row_count; i++)
        switch (vmx_judge(r->k, r->known, &vmx_check_rows[i])) {
        case VERDICT_BROKEN: cJSON_AddItemToArray(broken, broken_json(r, &vmx_check_rows[i])); break;
        case VERDICT_UNKNOWN: cJSON_AddItemToArray(unjudged, unjudged_json(r, &vmx_check_rows[i])); break;
        case VERDICT_HOLDS: break;
        }
    cJSON *fields = cJSON_AddObjectToObject(o, "fields");
    for (int field = 0; field < F_COUNT; field++)
        if (vmx_field_known(r->known, field)) dump_json_add(fields, vmcs_fields[field].name, r->k->f[field]);
    return o;
}

size_t vmx_report_json(const struct vmx_report *r, char *buf, size_t size)
{
    cJSON *o = report_json(r);
    char *printed = cJSON_PrintUnformatted(o);
    struct text t = {buf, size, 0};
    if (size) buf[0] = 0;
    if (printed) text_put(&t, "%s\n", printed);
    cJSON_free(printed);
    cJSON_Delete(o);
    return t.length;
}
