/* SPDX-License-Identifier: MIT */
/* Reads VMCBs from kernel logs, by the patterns of dump_lines.def, and from JSON. Several lines may print
 * parts of one field; the first value of each bit wins. APM 2 appendix B. */
#include "svm/dump.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "cpu/dump_text.h"

enum section { SECTION_NONE, SECTION_CONTROL, SECTION_STATE, SECTION_XEN };
enum target_kind { TARGET_SKIP, TARGET_PART, TARGET_LOW, TARGET_PAIR };

struct target {
    uint8_t kind, field, shift, bits; /* bits 0: all of the field */
};

#define SKIP                 \
    {                        \
        TARGET_SKIP, 0, 0, 0 \
    }
#define WHOLE(f)                    \
    {                               \
        TARGET_PART, VMCB_##f, 0, 0 \
    }
#define PART(f, shift, bits)               \
    {                                      \
        TARGET_PART, VMCB_##f, shift, bits \
    }
#define LOW(f)                     \
    {                              \
        TARGET_LOW, VMCB_##f, 0, 0 \
    }
#define PAIR(f)                     \
    {                               \
        TARGET_PAIR, VMCB_##f, 0, 0 \
    }
#define SEGMENT(s) WHOLE(s##_SELECTOR), WHOLE(s##_ATTRIB), WHOLE(s##_LIMIT), WHOLE(s##_BASE)
static const struct {
    uint8_t section;
    const char *pattern;
    struct target targets[DUMP_VALUES_MAX];
} rows[] = {
#define LINE(section, pattern, ...) {SECTION_##section, pattern, {__VA_ARGS__}},
#include "svm/dump_lines.def"
#undef LINE
};
enum { ROWS = sizeof rows / sizeof rows[0] };

enum { NESTED_SEV_ES = 4, OFF_STATE = 0x400 };

static void set_bits(struct svm_dump *d, unsigned field, unsigned shift, unsigned bits, uint64_t value)
{
    uint64_t mask = vmcb_field_mask(field), part = bits ? ((UINT64_C(1) << bits) - 1) << shift : mask;
    value <<= shift;
    /* %d of a 32-bit field: a negative number. */
    if (bits == 0 && (value | mask >> 1) == ~UINT64_C(0)) value &= mask;
    if ((d->have[field] & part) || (value & ~part)) return;
    d->f[field] |= value;
    d->have[field] |= part;
    d->fields += d->have[field] == mask;
}

static void set_target(struct svm_dump *d, const struct target *t, uint64_t value, unsigned digits)
{
    switch (t->kind) {
    case TARGET_PART: set_bits(d, t->field, t->shift, t->bits, value); break;
    case TARGET_LOW:
        /* VMEXIT_INVALID is -1 in 64 bits. */
        set_bits(d, t->field, 0, 0, t->field == VMCB_EXITCODE && value == 0xffffffff ? ~UINT64_C(0) : value);
        break;
    case TARGET_PAIR:
        set_bits(d, t->field, 0, 0, value & 0xffffffff);
        if (digits == 16) set_bits(d, t->field + 1u, 0, 0, value >> 32);
        break;
    default: break;
    }
}

struct reader {
    struct svm_dump *dump;
    unsigned number, section, xen_lines;
    bool announced; /* Xen: the line before the first of a VMCB has been seen */
    bool opened;    /* the wanted one is of a protected guest whose state the hypervisor has decrypted */
};

static bool header(struct reader *r, const struct dump_line *l)
{
    struct svm_dump *d = r->dump;
    if (dump_line_has(l, "VMCB Control Area:")) {
        r->section = SECTION_CONTROL;
        d->structures++;
    } else if (dump_line_has(l, "VMCB State Save Area:")) {
        /* Linux, in a log that begins inside a VMCB or has lost lines. */
        if (r->section != SECTION_CONTROL) d->structures++;
        r->section = SECTION_STATE;
    } else if (dump_line_has(l, "Dumping guest's current state at")) {
        r->section = SECTION_XEN;
        r->announced = true;
        d->structures++;
    } else if (dump_line_has(l, "Size of VMCB =")) {
        if (!r->announced) d->structures++;
        r->section = SECTION_XEN;
        r->announced = false;
    } else if (dump_line_has(l, "last attempted VMRUN on CPU")) {
        if (dump_line_has(l, "SEV-") && d->structures == r->number) r->opened = true;
        r->section = SECTION_NONE;
    } else {
        return false;
    }
    return true;
}

static void read_line(void *opaque, struct dump_line *l)
{
    struct reader *r = opaque;
    uint64_t value[DUMP_VALUES_MAX];
    if (header(r, l) || r->dump->structures != r->number + 1) return;
    for (unsigned i = 0; i < ROWS; i++) {
        if (rows[i].section != r->section) continue;
        unsigned n = dump_find(l, rows[i].pattern, value);
        if (n) r->xen_lines += r->section == SECTION_XEN;
        for (unsigned v = 0; v < n; v++)
            set_target(r->dump, &rows[i].targets[v], value[v], l->digits[v]);
    }
}

/* The state of an SEV-ES guest is not in the VMCB: what stands there says nothing. APM 2 15.35. */
static void forget_state(struct svm_dump *d)
{
    for (unsigned i = 0; i < VMCB_FIELDS; i++) {
        if (vmcb_fields[i].offset < OFF_STATE) continue;
        d->fields -= d->have[i] == vmcb_field_mask(i);
        d->have[i] = d->f[i] = 0;
    }
}

static bool parse_log(const char *text, size_t size, struct reader *r, char *message, size_t message_size)
{
    struct svm_dump *d = r->dump;
    static const char none[] = "no VMCB found: expected a kernel log with 'VMCB Control Area:' (Linux KVM), "
                               "'Size of VMCB =' (Xen) or JSON with \"fields\"";
    dump_each_line(text, size, read_line, r);
    if (!d->structures) return dump_fail(message, message_size, none);
    if (!dump_number_ok(r->number, d->structures, "VMCB", message, message_size)) return false;
    if ((d->f[VMCB_NESTED_CONTROL] & NESTED_SEV_ES) && !r->opened) forget_state(d);
    if (!d->fields) return dump_fail(message, message_size, "the VMCB has no field that can be read");
    d->format = r->xen_lines ? SVM_DUMP_XEN : SVM_DUMP_KVM;
    return true;
}

/* ---- JSON ---- */

static int lookup_name(const char *name)
{
    uint64_t offset;
    size_t n = strlen(name);
    for (unsigned i = 0; i < VMCB_FIELDS; i++)
        if (strcmp(vmcb_fields[i].name, name) == 0) return (int)i;
    if (n < 3 || name[0] != '0' || name[1] != 'x' || dump_hex(name, name + n, &offset) != name + n) return -1;
    for (unsigned i = 0; i < VMCB_FIELDS; i++)
        if (vmcb_fields[i].offset == offset) return (int)i;
    return -1;
}

struct json_reader {
    struct svm_dump *dump;
    unsigned number;
    char *message;
    size_t message_size;
};

static bool read_object(void *opaque, const cJSON *o, const cJSON *fields)
{
    struct json_reader *r = opaque;
    const cJSON *item, *paging = cJSON_GetObjectItemCaseSensitive(o, "host_paging");
    uint64_t value;
    if (r->dump->structures++ != r->number) return true;
    if (cJSON_IsBool(paging)) r->dump->host_paging = cJSON_IsTrue(paging);
    cJSON_ArrayForEach(item, fields)
    {
        const char *name = item->string ? item->string : "";
        int field = lookup_name(name);
        if (field < 0) return dump_unknown_field("VMCB", name, r->message, r->message_size);
        if (!dump_json_number(item, &value) || (value & ~vmcb_field_mask((unsigned)field))) {
            snprintf(r->message, r->message_size,
                     "JSON: field %s: expected \"0x...\" or a number that fits %u bits", name,
                     8u * vmcb_fields[field].bytes);
            return false;
        }
        set_bits(r->dump, (unsigned)field, 0, 0, value);
    }
    item = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(o, "failure"), "exit_code");
    if (dump_json_number(item, &value)) set_bits(r->dump, VMCB_EXITCODE, 0, 0, value);
    return true;
}

static bool parse_json(const char *text, size_t size, unsigned number, struct svm_dump *d, char *message,
                       size_t message_size)
{
    struct json_reader r = {d, number, message, message_size};
    d->format = SVM_DUMP_JSON;
    if (!dump_each_object(text, size, read_object, &r, message, message_size)) return false;
    if (!dump_number_ok(number, d->structures, "VMCB", message, message_size)) return false;
    if (!d->fields) return dump_fail(message, message_size, "JSON: \"fields\" is empty");
    return true;
}

bool svm_dump_parse(const char *text, size_t size, unsigned number, struct svm_dump *d, char *message,
                    size_t message_size)
{
    size_t at = 0;
    memset(d, 0, sizeof *d);
    d->host_paging = true;
    struct reader r = {.dump = d, .number = number};
    switch (dump_classify(text, size, &at, message, message_size)) {
    case DUMP_LOG: return parse_log(text, size, &r, message, message_size);
    case DUMP_OBJECTS: return parse_json(text + at, size - at, number, d, message, message_size);
    case DUMP_NOTHING: break;
    }
    return false;
}

const char *svm_dump_format_name(const struct svm_dump *d)
{
    static const char *const names[] = {
        [SVM_DUMP_KVM] = "linux-kvm", [SVM_DUMP_XEN] = "xen", [SVM_DUMP_JSON] = "json"};
    return d->format <= SVM_DUMP_JSON ? names[d->format] : "?";
}
