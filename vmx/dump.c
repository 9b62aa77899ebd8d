/* SPDX-License-Identifier: MIT */
/* Reads VMCSs from kernel logs and from JSON. A log is taken line by line; in each, the patterns of
 * dump_lines.def are looked for at every beginning of a word, so that time stamps, level marks and host names
 * in front do not matter. Work is bounded: size of the input, length of a line, first value of a field wins.
 */
#include "vmx/dump.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

enum {
    SIZE_MAX_BYTES = 64 << 20,
    JSON_MAX_BYTES = 4 << 20,
    LINE_MAX_BYTES = 1024,
    VALUES_MAX = 4,
    NONE = 0xff
};

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
    uint8_t fields[VALUES_MAX + 1];
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

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == ','; }
static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* 1 to 16 digits that end with their word. NULL: there is no such number. */
static const char *read_hex(const char *s, const char *end, uint64_t *value)
{
    int digits = 0;
    *value = 0;
    if (end - s > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) s += 2;
    for (; s < end && hex_digit(*s) >= 0; s++) {
        if (++digits > 16) return NULL;
        *value = *value << 4 | (uint64_t)hex_digit(*s);
    }
    return digits && (s == end || !is_word(*s)) ? s : NULL;
}

static const char *skip_blanks(const char *s, const char *end)
{
    while (s < end && is_blank(*s))
        s++;
    return s;
}

/* Matches a pattern as far as it goes: *count numbers were read, the result is where the last of them ends.
 */
static const char *match(const char *s, const char *end, const char *pattern, uint64_t value[VALUES_MAX],
                         unsigned *count)
{
    const char *last = s;
    *count = 0;
    for (; *pattern; pattern++) {
        if (*pattern == ' ') {
            s = skip_blanks(s, end);
        } else if (*pattern == '#') {
            s = read_hex(skip_blanks(s, end), end, &value[*count]);
            if (!s || *count == VALUES_MAX) return last;
            ++*count;
            last = s;
        } else {
            if (*pattern == '=') s = skip_blanks(s, end);
            if (s == end || *s != *pattern) return last;
            s++;
        }
    }
    return last;
}

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

struct line {
    const char *s, *end;
    bool taken[LINE_MAX_BYTES];
};

/* The first match of a pattern that has at least one number and touches nothing taken. */
static unsigned find(struct line *l, const char *pattern, uint64_t value[VALUES_MAX])
{
    unsigned count;
    for (const char *s = l->s; s < l->end; s++) {
        if (*s != *pattern || (s > l->s && is_word(s[-1])) || l->taken[s - l->s]) continue;
        const char *last = match(s, l->end, pattern, value, &count);
        bool free = count > 0;
        for (const char *p = s; p < last; p++)
            free &= !l->taken[p - l->s];
        if (!free) continue;
        memset(l->taken + (s - l->s), 1, (size_t)(last - s));
        return count;
    }
    return 0;
}

struct reader {
    struct vmx_dump *dump;
    unsigned number;
    uint64_t code; /* the last failure that the log spoke of before the structure wanted */
    unsigned section, marks[3];
};

static bool has(const struct line *l, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = l->s; (size_t)(l->end - s) >= n; s++)
        if (memcmp(s, word, n) == 0) return true;
    return false;
}

static bool header(struct reader *r, const struct line *l)
{
    if (!has(l, "***")) return false;
    if (has(l, "Guest State ***")) {
        r->section = SECTION_GUEST;
        r->dump->structures++;
    } else if (has(l, "Host State ***")) {
        r->section = SECTION_HOST;
    } else if (has(l, "Control State ***")) {
        r->section = SECTION_CONTROL;
    } else {
        return false;
    }
    /* A log that begins inside a structure. */
    if (!r->dump->structures) r->dump->structures = 1;
    return true;
}

static void read_line(struct reader *r, struct line *l)
{
    uint64_t value[VALUES_MAX];
    if (header(r, l)) return;
    memset(l->taken, 0, (size_t)(l->end - l->s));
    bool wanted = r->dump->structures == r->number + 1;
    if (r->dump->structures <= r->number + 1)
        for (unsigned i = 0; i < sizeof code_patterns / sizeof code_patterns[0]; i++)
            if (find(l, code_patterns[i], value) && is_failure(value[0]) && !(wanted && r->code))
                r->code = value[0];
    if (!wanted) return;
    for (unsigned i = 0; i < ROWS; i++) {
        if (rows[i].section != r->section) continue;
        unsigned n = find(l, rows[i].pattern, value);
        if (n) r->marks[rows[i].format]++;
        for (unsigned v = 0; v < n && v < VALUES_MAX && (v == 0 || rows[i].fields[v - 1] != NONE); v++)
            set_field(r->dump, rows[i].fields[v], value[v]);
    }
}

static bool fail(char *message, size_t size, const char *text)
{
    snprintf(message, size, "%s", text);
    return false;
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
    for (size_t at = 0; at < size;) {
        const char *s = text + at, *newline = memchr(s, '\n', size - at);
        size_t length = newline ? (size_t)(newline - s) : size - at;
        struct line l = {.s = s};
        at += length + 1;
        if (length && s[length - 1] == '\r') length--;
        /* A last line without its end may stop in the middle of a number. */
        if (!newline)
            while (length && is_word(s[length - 1]))
                length--;
        l.end = s + (length < LINE_MAX_BYTES ? length : LINE_MAX_BYTES);
        read_line(&r, &l);
    }
    if (!d->structures) return fail(message, message_size, none);
    if (number >= d->structures) {
        snprintf(message, message_size, "the file has %u VMCS%s, so there is no number %u", d->structures,
                 d->structures == 1 ? "" : "s", number + 1);
        return false;
    }
    if (!d->fields) return fail(message, message_size, "the VMCS has no field that can be read");
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
    if (n < 3 || name[0] != '0' || name[1] != 'x' || read_hex(name, name + n, &encoding) != name + n)
        return -1;
    return encoding & 1 ? -1 : vmcs_lookup(encoding);
}

static bool json_number(const cJSON *item, uint64_t *value)
{
    if (cJSON_IsString(item)) {
        const char *s = item->valuestring;
        size_t n = strlen(s);
        bool hex = n > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
        if (hex) return read_hex(s, s + n, value) == s + n;
        *value = 0;
        for (size_t i = 0; i < n; i++) {
            if (s[i] < '0' || s[i] > '9' || *value > UINT64_MAX / 10 ||
                *value * 10 > UINT64_MAX - (uint64_t)(s[i] - '0'))
                return false;
            *value = *value * 10 + (uint64_t)(s[i] - '0');
        }
        return n > 0;
    }
    /* JSON numbers are exact up to 2^53. */
    double v = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(v >= 0 && v <= 9007199254740992.0) || v != (double)(uint64_t)v) return false;
    *value = (uint64_t)v;
    return true;
}

static bool json_fields(const cJSON *fields, struct vmx_dump *d, char *message, size_t size)
{
    const cJSON *item;
    uint64_t value;
    cJSON_ArrayForEach(item, fields)
    {
        const char *name = item->string ? item->string : "";
        int field = lookup_name(name);
        if (field < 0) {
            snprintf(message, size, "JSON: unknown VMCS field '%.40s'", name);
            return false;
        }
        if (!json_number(item, &value) || (value & ~vmcs_width_mask(field))) {
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

/* Objects one after the other, as -explain json writes them; each with "fields" is a structure. */
static bool parse_json(const char *text, size_t size, unsigned number, struct vmx_dump *d, char *message,
                       size_t message_size)
{
    d->format = DUMP_JSON;
    if (size > JSON_MAX_BYTES) return fail(message, message_size, "the file is larger than 4 MiB of JSON");
    for (size_t at = 0; at < size;) {
        const char *rest = NULL;
        cJSON *o = cJSON_ParseWithLengthOpts(text + at, size - at, &rest, 0);
        const cJSON *fields = cJSON_GetObjectItemCaseSensitive(o, "fields");
        if (!cJSON_IsObject(o) || !cJSON_IsObject(fields) || !rest) {
            size_t where = rest ? (size_t)(rest - text) : at;
            cJSON_Delete(o);
            snprintf(message, message_size, "JSON: byte %zu: expected an object with \"fields\"", where);
            return false;
        }
        if (d->structures++ == number) {
            uint64_t code = 0;
            const cJSON *failure = cJSON_GetObjectItemCaseSensitive(o, "failure");
            json_number(cJSON_GetObjectItemCaseSensitive(failure, "vm_instruction_error"), &code);
            json_number(cJSON_GetObjectItemCaseSensitive(failure, "exit_reason"), &code);
            if (!json_fields(fields, d, message, message_size)) {
                cJSON_Delete(o);
                return false;
            }
            take_code(d, code);
            if (is_failure(code)) d->has_code = true, d->code = (uint32_t)code;
            if (d->has_code && !vmx_field_known(d->known, F_EXIT_QUALIFICATION))
                d->f[F_EXIT_QUALIFICATION] = 0;
        }
        cJSON_Delete(o);
        at = (size_t)(rest - text);
        while (at < size && (is_blank(text[at]) || text[at] == '\n' || text[at] == '\r'))
            at++;
    }
    if (number >= d->structures) {
        snprintf(message, message_size, "the file has %u VMCS%s, so there is no number %u", d->structures,
                 d->structures == 1 ? "" : "s", number + 1);
        return false;
    }
    if (!d->fields) return fail(message, message_size, "JSON: \"fields\" is empty");
    return true;
}

bool vmx_dump_parse(const char *text, size_t size, unsigned number, struct vmx_dump *d, char *message,
                    size_t message_size)
{
    size_t at = 0;
    memset(d, 0, sizeof *d);
    if (message_size) message[0] = 0;
    if (size > SIZE_MAX_BYTES) return fail(message, message_size, "the file is larger than 64 MiB");
    while (at < size && (is_blank(text[at]) || text[at] == '\n' || text[at] == '\r'))
        at++;
    if (at == size) return fail(message, message_size, "the file is empty");
    if (text[at] == '{') return parse_json(text + at, size - at, number, d, message, message_size);
    return parse_log(text, size, number, d, message, message_size);
}

const char *vmx_dump_format_name(const struct vmx_dump *d)
{
    static const char *const names[] = {[DUMP_KVM] = "linux-kvm", [DUMP_XEN] = "xen", [DUMP_JSON] = "json"};
    return d->format <= DUMP_JSON ? names[d->format] : "?";
}
