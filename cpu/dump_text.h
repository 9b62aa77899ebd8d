/* SPDX-License-Identifier: MIT */
/* Reading what others printed: lines of a log by patterns, with time stamps and noise around them, and JSON
 * objects one after the other. The input is hostile: bounded work, no assumption about its bytes. What the
 * lines mean is the business of the callers. */
#ifndef UV_CPU_DUMP_TEXT_H
#define UV_CPU_DUMP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;

enum { DUMP_LINE_MAX = 1024, DUMP_VALUES_MAX = 4 };

struct dump_line {
    const char *s, *end;
    bool taken[DUMP_LINE_MAX];       /* characters that a pattern has matched */
    uint8_t digits[DUMP_VALUES_MAX]; /* of the numbers that dump_find() read last */
};

/* The first match of a pattern that has at least one number, begins at the beginning of a word and touches
 * nothing taken; it is taken then. In a pattern # is a hexadecimal number with or without 0x, $ a decimal one
 * (negative: two's complement), a blank any run of blanks and commas (also none), and = may stand among
 * blanks. The result is how many numbers there are: the line may end early. */
unsigned dump_find(struct dump_line *l, const char *pattern, uint64_t value[DUMP_VALUES_MAX]);
bool dump_line_has(const struct dump_line *l, const char *text);
/* 1 to 16 hexadecimal digits that end with their word; the result is their end, NULL: no such number. */
const char *dump_hex(const char *s, const char *end, uint64_t *value);

typedef void dump_line_fn(void *opaque, struct dump_line *line);
/* Lines that are not empty, each up to DUMP_LINE_MAX characters. */
void dump_each_line(const char *text, size_t size, dump_line_fn *fn, void *opaque);

/* "0x..." or decimal in a string, or an exact number. */
bool dump_json_number(const struct cJSON *item, uint64_t *value);
/* A member as dump_json_number() reads it back: "0x...". */
void dump_json_add(struct cJSON *object, const char *name, uint64_t value);

/* fn is called for each object of the text; false from it ends the work. Each needs an object "fields". */
typedef bool dump_object_fn(void *opaque, const struct cJSON *object, const struct cJSON *fields);
bool dump_each_object(const char *text, size_t size, dump_object_fn *fn, void *opaque, char *message,
                      size_t message_size);

/* What an input is; DUMP_NOTHING: `message` says why it is none. *begin: behind blanks. */
enum dump_kind { DUMP_NOTHING, DUMP_LOG, DUMP_OBJECTS };
enum dump_kind dump_classify(const char *text, size_t size, size_t *begin, char *message,
                             size_t message_size);
/* False: a file with `count` structures of that name has no such number (from 0). */
bool dump_number_ok(unsigned number, unsigned count, const char *name, char *message, size_t message_size);
/* The input has a field that no `structure` has; of its name only what can be shown. Always false. */
bool dump_unknown_field(const char *structure, const char *name, char *message, size_t message_size);
bool dump_fail(char *message, size_t size, const char *text); /* always false */

#endif
