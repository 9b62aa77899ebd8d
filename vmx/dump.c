/* SPDX-License-Identifier: MIT */
/* Reads VMCSs from kernel logs, by the patterns of dump_lines.def, and from JSON. The first value of a field
 * wins. */
#include "vmx/dump.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "cpu/dump_text.h"

enum { NONE = 0xff };

enum section { SECTION_NONE, SECTION_GUEST, SECTION_HOST, SECTION_CONTROL };
enum { MARK_BOTH, MARK_KVM, MARK_XEN };

#define FIELDS(...)       \
    {                     \
        __VA_ARGS__, NONE \
    }
#define SEGMENT(s) FIELDS(F_GUEST_##s##_SELECTOR, F_GUEST_##s##_AR, F_GUEST_##s##_LIMIT, F_GUEST_##s##_BASE)
static const struct {
    uint8_t section, format;
    const char *pattern;
    uint8_t fields[DUMP_VALUES_MAX + 1];
} rows[] = {
#define LINE(section, format, pattern, fields) {SECTION_##section, MARK_##format, pattern, fields},
#include "vmx/dump_lines.def"
#undef LINE
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* What the log says about the failure, wherever it stands. */
static const char *const code_patterns[] = {"hardware error #", "vmentry failure (reason #",
                                            "VMLAUNCH error: #", "VMRESUME error: #",
                                            "VM-entry failed reason #"};

static void set_field(struct vmx_dump *d, unsigned field, uint64_t value)
{
    if (field == NONE || vmx_field_known(d->known, (int)field) || (value & ~vmcs_width_mask((int)field)))
        return;
    d->f[field] = value;
    d->known[field / 64] |= UINT64_C(1) << (field % 64);
    d->fields++;
}

static bool is_failure(uint64_t code)
{
    return code == VMXERR_CONTROLS || code == VMXERR_HOST_STATE ||
           (code >> 32 == 0 && (code & REASON_ENTRY_FAILURE) &&
            ((code & 0xffff) == REASON_ENTRY_FAIL_GUEST || (code & 0xffff) == REASON_ENTRY_FAIL_MSR));
}

struct reader {
    struct vmx_dump *dump;
    unsigned number;
    uint64_t code; /* the last failure that the log spoke of before the structure wanted */
    unsigned section, marks[3];
};

static bool header(struct reader *r, const struct dump_line *l)
{
    if (!dump_line_has(l, "***")) return false;
    if (dump_line_has(l, "Guest State ***")) {
        r->section = SECTION_GUEST;
        r->dump->structures++;
    } else if (dump_line_has(l, "Host State ***")) {
        r->section = SECTION_HOST;
    } else if (dump_line_has(l, "Control State ***")) {
        r->section = SECTION_CONTROL;
    } else {
        return false;
    }
    /* A log that begins inside a structure. */
    if (!r->dump->structures) r->dump->structures = 1;
    return true;
}

static void read_line(void *opaque, struct dump_line *l)
{
    struct reader *r = opaque;
    uint64_t value[DUMP_VALUES_MAX];
    if (header(r, l)) return;
    bool wanted = r->dump->structures == r->number + 1;
    if (r->dump->structures <= r->number + 1)
        for (unsigned i = 0; i < sizeof code_patterns / sizeof code_patterns[0]; i++)
            if (dump_find(l, code_patterns[i], value) && is_failure(value[0]) && !(wanted && r->code))
                r->code = value[0];
    if (!wanted) return;
    for (unsigned i = 0; i < ROWS; i++) {
        if (rows[i].section != r->section) continue;
        unsigned n = dump_find(l, rows[i].pattern, value);
        if (n) r->marks[rows[i].format]++;
        for (unsigned v = 0; v < n && v < DUMP_VALUES_MAX && (v == 0 || rows[i].fields[v - 1] != NONE); v++)
            set_field(r->dump, rows[i].fields[v], value[v]);
    }
}

static void take_code(struct vmx_dump *d, uint64_t code)
{
    uint64_t reason = d->f[F_EXIT_REASON];
    if (is_failure(reason) && (reason & REASON_ENTRY_FAILURE)) code = reason;
    d->has_code = is_failure(code);
    d->code = (uint32_t)code;
}

static bool parse_log(const char *text, size_t size, unsigned number, struct vmx_dump *d, char *message,
                      size_t message_size)
{
    struct reader r = {.dump = d, .number = number};
    static const char none[] =
        "no VMCS found: expected a kernel log with '*** Guest State ***' (Linux KVM, Xen) or "
        "JSON with \"fields\"";
    dump_each_line(text, size, read_line, &r);
    if (!d->structures) return dump_fail(message, message_size, none);
    if (!dump_number_ok(number, d->structures, "VMCS", message, message_size)) return false;
    if (!d->fields) return dump_fail(message, message_size, "the VMCS has no field that can be read");
    d->format = r.marks[MARK_XEN] > r.marks[MARK_KVM] ? DUMP_XEN : DUMP_KVM;
    take_code(d, r.code);
    return true;
}

/* ---- JSON ---- */

static int lookup_name(const char *name)
{
    uint64_t encoding;
    for (int f = 0; f < F_COUNT; f++)
        if (strcmp(vmcs_fields[f].name, name) == 0) return f;
    size_t n = strlen(name);
    if (n < 3 || name[0] != '0' || name[1] != 'x' || dump_hex(name, name + n, &encoding) != name + n)
        return -1;
    return encoding & 1 ? -1 : vmcs_lookup(encoding);
}

static bool json_fields(const cJSON *fields, struct vmx_dump *d, char *message, size_t size)
{
    const cJSON *item;
    uint64_t value;
    cJSON_ArrayForEach(item, fields)
    {
        const char *name = item->string ? item->string : "";
        int field = lookup_name(name);
        if (field < 0) return dump_unknown_field("VMCS", name, message, size);
        if (!dump_json_number(item, &value) || (value & ~vmcs_width_mask(field))) {
            snprintf(message, size, "JSON: field %s: expected \"0x...\" or a number that fits %s", name,
                     vmcs_fields[field].width == W16   ? "16 bits"
                     : vmcs_fields[field].width == W32 ? "32 bits"
                                                       : "64 bits");
            return false;
        }
        set_field(d, (unsigned)field, value);
    }
    return true;
}

struct json_reader {
    struct vmx_dump *dump;
    unsigned number;
    char *message;
    size_t message_size;
};

static bool read_object(void *opaque, const cJSON *o, const cJSON *fields)
{
    struct json_reader *r = opaque;
    struct vmx_dump *d = r->dump;
    uint64_t code = 0;
    if (d->structures++ != r->number) return true;
    const cJSON *failure = cJSON_GetObjectItemCaseSensitive(o, "failure");
    dump_json_number(cJSON_GetObjectItemCaseSensitive(failure, "vm_instruction_error"), &code);
    dump_json_number(cJSON_GetObjectItemCaseSensitive(failure, "exit_reason"), &code);
    if (!json_fields(fields, d, r->message, r->message_size)) return false;
    take_code(d, code);
    if (is_failure(code)) d->has_code = true, d->code = (uint32_t)code;
    if (d->has_code && !vmx_field_known(d->known, F_EXIT_QUALIFICATION)) d->f[F_EXIT_QUALIFICATION] = 0;
    return true;
}

static bool parse_json(const char *text, size_t size, unsigned number, struct vmx_dump *d, char *message,
                       size_t message_size)
{
    struct json_reader r = {d, number, message, message_size};
    d->format = DUMP_JSON;
    if (!dump_each_object(text, size, read_object, &r, message, message_size)) return false;
    if (!dump_number_ok(number, d->structures, "VMCS", message, message_size)) return false;
    if (!d->fields) return dump_fail(message, message_size, "JSON: \"fields\" is empty");
    return true;
}

bool vmx_dump_parse(const char *text, size_t size, unsigned number, struct vmx_dump *d, char *message,
                    size_t message_size)
{
    size_t at = 0;
    memset(d, 0, sizeof *d);
    switch (dump_classify(text, size, &at, message, message_size)) {
    case DUMP_LOG: return parse_log(text, size, number, d, message, message_size);
    case DUMP_OBJECTS: return parse_json(text + at, size - at, number, d, message, message_size);
    case DUMP_NOTHING: break;
    }
    return false;
}

const char *vmx_dump_format_name(const struct vmx_dump *d)
{
    static const char *const names[] = {[DUMP_KVM] = "linux-kvm", [DUMP_XEN] = "xen", [DUMP_JSON] = "json"};
    return d->format <= DUMP_JSON ? names[d->format] : "?";
}
