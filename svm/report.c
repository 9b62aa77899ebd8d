/* SPDX-License-Identifier: MIT */
/* The explanation of a VMCB as text and as JSON: broken rules with fields, values and the nearest valid one;
 * rules that could not be judged and the fields that are missing for it. APM 2 15.5.1. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>

#include "cpu/dump_text.h"
#include "cpu/text.h"
#include "svm/explain.h"

unsigned svm_report_count(const struct svm_report *r, enum svm_verdict verdict)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SVMCHECK_COUNT; i++)
        n += svm_judge(r->k, r->have, &svm_check_rows[i]) == verdict;
    return n;
}

static bool has_code(const struct svm_report *r) { return svm_field_known(r->have, VMCB_EXITCODE); }
static bool is_invalid(uint64_t code) { return code == SVM_EXIT_INVALID; }

/* "bit 1 to 1, bit 7 to 0" when few bits differ. */
static void put_changes(struct text *t, uint64_t seen, uint64_t nearest)
{
    uint64_t changed = seen ^ nearest;
    if (!changed || __builtin_popcountll(changed) > 4) return;
    const char *before = " (";
    for (unsigned bit = 0; bit < 64; bit++) {
        if (!(changed >> bit & 1)) continue;
        text_put(t, "%sbit %u to %u", before, bit, (unsigned)(nearest >> bit & 1));
        before = ", ";
    }
    text_put(t, ")");
}

static void put_row(struct text *t, const struct svm_report *r, const struct svm_check_row *row)
{
    text_put(t, "  %s (APM 2 %s): %s\n", row->id, row->section, row->rule);
    for (unsigned i = 0; i < row->read_count; i++) {
        unsigned field = row->reads[i];
        text_put(t, "     %-20s %03xh  ", vmcb_fields[field].name, vmcb_fields[field].offset);
        if (!svm_field_known(r->have, field)) {
            text_put(t, "not in the dump\n");
            continue;
        }
        text_put(t, "= %" PRIx64 "h", r->k->f[field]);
        if (field == row->cure_field) {
            uint64_t nearest = row->cure(r->k);
            text_put(t, "; nearest: %" PRIx64 "h", nearest);
            put_changes(t, r->k->f[field], nearest);
        }
        text_put(t, "\n");
    }
}

static void put_unjudged(struct text *t, const struct svm_report *r, const uint8_t *verdict, unsigned count)
{
    bool missing[VMCB_FIELDS] = {false}, memory = false, any = false;
    text_put(t, "%u rule%s could not be judged:", count, count == 1 ? "" : "s");
    for (unsigned i = 0; i < SVMCHECK_COUNT; i++) {
        const struct svm_check_row *row = &svm_check_rows[i];
        uint8_t fields[8];
        if (verdict[i] != SVM_UNKNOWN) continue;
        unsigned n = svm_missing_fields(r->have, row, fields);
        for (unsigned j = 0; j < n; j++)
            any = missing[fields[j]] = true;
        memory |= !r->k->read && svm_reads_memory(row);
        text_put(t, " %s", row->id);
    }
    text_put(t, "\n  missing:");
    for (unsigned field = 0; field < VMCB_FIELDS; field++)
        if (missing[field]) text_put(t, " %s", vmcb_fields[field].name);
    text_put(t, "%s\n", !memory ? "" : any ? " and memory" : " memory");
}

size_t svm_report_text(const struct svm_report *r, char *buf, size_t size)
{
    struct text t = {buf, size, 0};
    unsigned broken = 0, unknown = 0;
    uint8_t verdict[SVMCHECK_COUNT];
    for (unsigned i = 0; i < SVMCHECK_COUNT; i++) {
        verdict[i] = (uint8_t)svm_judge(r->k, r->have, &svm_check_rows[i]);
        broken += verdict[i] == SVM_BROKEN;
        unknown += verdict[i] == SVM_UNKNOWN;
    }
    if (size) buf[0] = 0;
    if (r->failed || (has_code(r) && is_invalid(r->k->f[VMCB_EXITCODE])))
        text_put(&t, "VMRUN failed: VMEXIT_INVALID, exit code -1%s%s\n", r->where ? "; " : "",
                 r->where ? r->where : "");
    else if (has_code(r))
        text_put(&t, "VMRUN did not fail: exit code %" PRIx64 "h (%s)\n", r->k->f[VMCB_EXITCODE],
                 svm_exit_name(r->k->f[VMCB_EXITCODE]));
    if (broken)
        text_put(&t, "%u broken rule%s:\n", broken, broken == 1 ? "" : "s");
    else
        text_put(&t, "no broken rule%s (processor: %s)\n", unknown ? " among those that can be judged" : "",
                 r->processor);
    for (unsigned i = 0; i < SVMCHECK_COUNT; i++)
        if (verdict[i] == SVM_BROKEN) put_row(&t, r, &svm_check_rows[i]);
    if (unknown) put_unjudged(&t, r, verdict, unknown);
    return t.length;
}

/* ---- JSON ---- */

static cJSON *add_field(cJSON *array, const struct svm_report *r, unsigned field)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "field", vmcb_fields[field].name);
    dump_json_add(o, "offset", vmcb_fields[field].offset);
    if (svm_field_known(r->have, field)) dump_json_add(o, "value", r->k->f[field]);
    cJSON_AddItemToArray(array, o);
    return o;
}

static cJSON *row_json(const struct svm_check_row *row)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", row->id);
    cJSON_AddStringToObject(o, "section", row->section);
    cJSON_AddStringToObject(o, "rule", row->rule);
    return o;
}

static cJSON *broken_json(const struct svm_report *r, const struct svm_check_row *row)
{
    cJSON *o = row_json(row);
    cJSON_AddStringToObject(o, "outcome", "exit code -1");
    cJSON *reads = cJSON_AddArrayToObject(o, "reads"), *wrong = cJSON_AddArrayToObject(o, "wrong");
    for (unsigned i = 0; i < row->read_count; i++)
        add_field(reads, r, row->reads[i]);
    cJSON *field = add_field(wrong, r, row->cure_field);
    if (svm_field_known(r->have, row->cure_field)) dump_json_add(field, "nearest", row->cure(r->k));
    return o;
}

static cJSON *unjudged_json(const struct svm_report *r, const struct svm_check_row *row)
{
    uint8_t fields[8];
    cJSON *o = row_json(row), *missing = cJSON_AddArrayToObject(o, "missing");
    unsigned n = svm_missing_fields(r->have, row, fields);
    for (unsigned i = 0; i < n; i++)
        cJSON_AddItemToArray(missing, cJSON_CreateString(vmcb_fields[fields[i]].name));
    if (!r->k->read && svm_reads_memory(row)) cJSON_AddItemToArray(missing, cJSON_CreateString("memory"));
    return o;
}

static cJSON *report_json(const struct svm_report *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "format", "undervisor-vmcb");
    cJSON_AddStringToObject(o, "source", r->source);
    cJSON_AddStringToObject(o, "processor", r->processor);
    if (r->where) cJSON_AddStringToObject(o, "where", r->where);
    cJSON_AddBoolToObject(o, "host_paging", r->k->host_paging);
    if (r->failed || has_code(r)) {
        uint64_t code = r->failed ? SVM_EXIT_INVALID : r->k->f[VMCB_EXITCODE];
        cJSON *exit = cJSON_AddObjectToObject(o, is_invalid(code) ? "failure" : "exit");
        dump_json_add(exit, "exit_code", code);
        cJSON_AddStringToObject(exit, "text", is_invalid(code) ? "VMEXIT_INVALID" : svm_exit_name(code));
    }
    cJSON *broken = cJSON_AddArrayToObject(o, "broken"), *unjudged = cJSON_AddArrayToObject(o, "unjudged");
    for (unsigned i = 0; i < SVMCHECK_COUNT; i++)
        switch (svm_judge(r->k, r->have, &svm_check_rows[i])) {
        case SVM_BROKEN: cJSON_AddItemToArray(broken, broken_json(r, &svm_check_rows[i])); break;
        case SVM_UNKNOWN: cJSON_AddItemToArray(unjudged, unjudged_json(r, &svm_check_rows[i])); break;
        case SVM_HOLDS: break;
        }
    cJSON *fields = cJSON_AddObjectToObject(o, "fields");
    for (unsigned field = 0; field < VMCB_FIELDS; field++)
        if (svm_field_known(r->have, field))
            dump_json_add(fields, vmcb_fields[field].name,
                          r->failed && field == VMCB_EXITCODE ? SVM_EXIT_INVALID : r->k->f[field]);
    return o;
}

size_t svm_report_json(const struct svm_report *r, char *buf, size_t size)
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
