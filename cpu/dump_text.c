/* SPDX-License-Identifier: MIT */
/* Reads printed structures, see dump_text.h. A log is taken line by line; patterns are looked for at every
 * beginning of a word, so that time stamps, level marks and host names in front do not matter. Work is
 * bounded: size of the input, length of a line, numbers of a pattern. */
#include "cpu/dump_text.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SIZE_MAX_BYTES = 64 << 20, JSON_MAX_BYTES = 4 << 20 };

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == ','; }
static bool is_space(char c) { return is_blank(c) || c == '\n' || c == '\r'; }
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

static const char *read_hex(const char *s, const char *end, uint64_t *value, uint8_t *digits)
{
    *digits = 0;
    *value = 0;
    if (end - s > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) s += 2;
    for (; s < end && hex_digit(*s) >= 0; s++) {
        if (++*digits > 16) return NULL;
        *value = *value << 4 | (uint64_t)hex_digit(*s);
    }
    return *digits && (s == end || !is_word(*s)) ? s : NULL;
}

const char *dump_hex(const char *s, const char *end, uint64_t *value)
{
    uint8_t digits;
    return read_hex(s, end, value, &digits);
}

static const char *read_decimal(const char *s, const char *end, uint64_t *value, uint8_t *digits)
{
    bool negative = s < end && *s == '-';
    *digits = 0;
    *value = 0;
    for (s += negative; s < end && *s >= '0' && *s <= '9'; s++) {
        uint64_t digit = (uint64_t)(*s - '0');
        if (*value > (UINT64_MAX - digit) / 10 || *digits == 20) return NULL;
        *value = *value * 10 + digit;
        ++*digits;
    }
    if (negative) *value = ~*value + 1;
    return *digits && (s == end || !is_word(*s)) ? s : NULL;
}

static const char *skip_blanks(const char *s, const char *end)
{
    while (s < end && is_blank(*s))
        s++;
    return s;
}

/* Matches a pattern as far as it goes: *count numbers were read, the result is where the last of them ends.
 */
static const char *match(const char *s, const char *end, const char *pattern, uint64_t *value,
                         uint8_t *digits, unsigned *count)
{
    const char *last = s;
    *count = 0;
    for (; *pattern; pattern++) {
        if (*pattern == ' ') {
            s = skip_blanks(s, end);
        } else if (*pattern == '#' || *pattern == '$') {
            if (*count == DUMP_VALUES_MAX) return last;
            s = skip_blanks(s, end);
            s = *pattern == '#' ? read_hex(s, end, &value[*count], &digits[*count])
                                : read_decimal(s, end, &value[*count], &digits[*count]);
            if (!s) return last;
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

unsigned dump_find(struct dump_line *l, const char *pattern, uint64_t value[DUMP_VALUES_MAX])
{
    unsigned count;
    for (const char *s = l->s; s < l->end; s++) {
        if (*s != *pattern || (s > l->s && is_word(s[-1])) || l->taken[s - l->s]) continue;
        const char *last = match(s, l->end, pattern, value, l->digits, &count);
        bool free = count > 0;
        for (const char *p = s; p < last; p++)
            free &= !l->taken[p - l->s];
        if (!free) continue;
        memset(l->taken + (s - l->s), 1, (size_t)(last - s));
        return count;
    }
    return 0;
}

bool dump_line_has(const struct dump_line *l, const char *text)
{
    size_t n = strlen(text);
    for (const char *s = l->s; (size_t)(l->end - s) >= n; s++)
        if (memcmp(s, text, n) == 0) return true;
    return false;
}

void dump_each_line(const char *text, size_t size, dump_line_fn *fn, void *opaque)
{
    for (size_t at = 0; at < size;) {
        const char *s = text + at, *newline = memchr(s, '\n', size - at);
        size_t length = newline ? (size_t)(newline - s) : size - at;
        struct dump_line l;
        at += length + 1;
        if (length && s[length - 1] == '\r') length--;
        /* A last line without its end may stop in the middle of a number. */
        if (!newline)
            while (length && is_word(s[length - 1]))
                length--;
        if (length > DUMP_LINE_MAX) length = DUMP_LINE_MAX;
        l.s = s;
        l.end = s + length;
        memset(l.taken, 0, length);
        if (length) fn(opaque, &l);
    }
}

bool dump_fail(char *message, size_t size, const char *text)
{
    snprintf(message, size, "%s", text);
    return false;
}

enum dump_kind dump_classify(const char *text, size_t size, size_t *begin, char *message, size_t message_size)
{
    size_t at = 0;
    if (message_size) message[0] = 0;
    if (size > SIZE_MAX_BYTES)
        return dump_fail(message, message_size, "the file is larger than 64 MiB"), DUMP_NOTHING;
    while (at < size && is_space(text[at]))
        at++;
    *begin = at;
    if (at == size) return dump_fail(message, message_size, "the file is empty"), DUMP_NOTHING;
    return text[at] == '{' ? DUMP_OBJECTS : DUMP_LOG;
}

bool dump_number_ok(unsigned number, unsigned count, const char *name, char *message, size_t message_size)
{
    if (number < count) return true;
    snprintf(message, message_size, "the file has %u %s%s, so there is no number %u", count, name,
             count == 1 ? "" : "s", number + 1);
    return false;
}

bool dump_unknown_field(const char *structure, const char *name, char *message, size_t message_size)
{
    char shown[41];
    size_t n = 0;
    for (; name[n] && n < sizeof shown - 1; n++)
        shown[n] = name[n] >= ' ' && name[n] <= '~' ? name[n] : '?';
    shown[n] = 0;
    snprintf(message, message_size, "JSON: unknown %s field '%s'", structure, shown);
    return false;
}

bool dump_json_number(const cJSON *item, uint64_t *value)
{
    if (cJSON_IsString(item)) {
        const char *s = item->valuestring;
        size_t n = strlen(s);
        uint8_t digits;
        bool hex = n > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
        if (hex) return dump_hex(s, s + n, value) == s + n;
        return n > 0 && s[0] != '-' && read_decimal(s, s + n, value, &digits) == s + n;
    }
    /* JSON numbers are exact up to 2^53. */
    double v = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(v >= 0 && v <= 9007199254740992.0) || v != (double)(uint64_t)v) return false;
    *value = (uint64_t)v;
    return true;
}

void dump_json_add(struct cJSON *object, const char *name, uint64_t value)
{
    char hex[24];
    snprintf(hex, sizeof hex, "0x%" PRIx64, value);
    cJSON_AddStringToObject(object, name, hex);
}

bool dump_each_object(const char *text, size_t size, dump_object_fn *fn, void *opaque, char *message,
                      size_t message_size)
{
    if (size > JSON_MAX_BYTES)
        return dump_fail(message, message_size, "the file is larger than 4 MiB of JSON");
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
        bool good = fn(opaque, o, fields);
        cJSON_Delete(o);
        if (!good) return false;
        at = (size_t)(rest - text);
        while (at < size && is_space(text[at]))
            at++;
    }
    return true;
}
