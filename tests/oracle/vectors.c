/* SPDX-License-Identifier: MIT */
/* Vector files: results of real hardware as text, one case a line, so that every host runs the same test.
 *   MODE SEED CODE [in name=value ...] -> [name=value ...] [@offset=bytes ...] [!vector.error]
 * Inputs not named are state_from_seed(); outputs not named equal the inputs. u= is the mask of undefined
 * flags, p@offset the bytes laid over memory. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/oracle.h"

#include "cpu/isa/table.h"
#include "cpu/state.h"

/* Every item of a register state by name. */
enum { ITEMS = 16 + 2 + 4 + 16 + 32 };
static uint64_t item_get(const struct oregs *r, unsigned i)
{
    if (i < 16) return r->gpr[i];
    if (i == 16) return r->rip;
    if (i == 17) return r->rflags & flags_compared();
    if (i == 18) return r->cw;
    if (i == 19) return r->sw;
    if (i == 20) return r->tag;
    if (i == 21) return r->mxcsr;
    if (i < 38) return i & 1 ? r->st[(i - 22) / 2].se : r->st[(i - 22) / 2].frac;
    return r->xmm[(i - 38) / 2][i & 1];
}
static void item_set(struct oregs *r, unsigned i, uint64_t v)
{
    if (i < 16) {
        r->gpr[i] = v;
    } else if (i == 16) {
        r->rip = v;
    } else if (i == 17) {
        r->rflags = v | FL_FIXED | FL_IF;
    } else if (i == 18) {
        r->cw = (uint16_t)v;
    } else if (i == 19) {
        r->sw = (uint16_t)v;
    } else if (i == 20) {
        r->tag = (uint8_t)v;
    } else if (i == 21) {
        r->mxcsr = (uint32_t)v;
    } else if (i < 38) {
        if (i & 1) {
            r->st[(i - 22) / 2].se = (uint16_t)v;
        } else {
            r->st[(i - 22) / 2].frac = v;
        }
    } else {
        r->xmm[(i - 38) / 2][i & 1] = v;
    }
}
static void item_name(unsigned i, char *s, size_t n)
{
    static const char *const fixed[] = {"ax", "cx", "dx",  "bx",  "sp",  "bp",  "si",  "di",
                                        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                                        "ip", "fl", "cw",  "sw",  "tag", "mx"};
    if (i < 22) {
        snprintf(s, n, "%s", fixed[i]);
    } else if (i < 38) {
        snprintf(s, n, "st%u%c", (i - 22) / 2, i & 1 ? 'e' : 'f');
    } else {
        snprintf(s, n, "x%u%c", (i - 38) / 2, i & 1 ? 'h' : 'l');
    }
}
static void write_bytes(FILE *f, const uint8_t *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        fprintf(f, "%02x", p[i]);
}
static void write_differences(FILE *f, const struct oregs *from, const struct oregs *to)
{
    char name[16];
    for (unsigned i = 0; i < ITEMS; i++) {
        if (item_get(from, i) == item_get(to, i)) continue;
        item_name(i, name, sizeof name);
        fprintf(f, " %s=%" PRIx64, name, item_get(to, i));
    }
}

void vector_write(FILE *f, const struct ocase *t, const struct oresult *r)
{
    struct ocase plain = {.seed = t->seed, .mode = t->mode};
    static uint8_t memory[DATA_SIZE];
    state_from_seed(&plain);
    memory_from_case(t, memory);
    fprintf(f, "%u %" PRIx64 " ", t->mode, t->seed);
    write_bytes(f, t->code, t->length);
    if (t->insns > 1) fprintf(f, " n=%u", t->insns);
    if (t->rep) fprintf(f, " rep=1");
    if (t->undefined) fprintf(f, " u=%x", t->undefined);
    if (t->patch_length) {
        fprintf(f, " p@%x=", t->patch_at);
        write_bytes(f, t->patch, t->patch_length);
    }
    write_differences(f, &plain.in, &t->in);
    fprintf(f, " ->");
    struct oregs out = r->out;
    out.rflags = (out.rflags & ~(uint64_t)t->undefined) | (t->in.rflags & t->undefined);
    if (t->mode != 64)
        for (unsigned i = 0; i < 8; i++)
            out.gpr[i] = (uint32_t)out.gpr[i];
    write_differences(f, &t->in, &out);
    for (unsigned i = 0; i < DATA_SIZE; i++) {
        unsigned n = 0;
        while (i + n < DATA_SIZE && memory[i + n] != r->memory[i + n])
            n++;
        if (!n) continue;
        fprintf(f, " @%x=", i);
        write_bytes(f, r->memory + i, n);
        i += n;
    }
    if (r->vector >= 0)
        fprintf(f, " !%x.%x.%" PRIx64, (unsigned)r->vector, r->error, r->vector == 14 ? r->cr2 : 0);
    fputc('\n', f);
}

static int read_bytes(const char *s, uint8_t *p, unsigned max)
{
    unsigned n = 0;
    for (; s[0] && s[1]; s += 2) {
        unsigned v;
        if (n >= max || sscanf(s, "%2x", &v) != 1) return -1;
        p[n++] = (uint8_t)v;
    }
    return s[0] ? -1 : (int)n;
}
static bool read_item(struct oregs *r, const char *word)
{
    char name[16];
    const char *eq = strchr(word, '=');
    if (!eq) return false;
    for (unsigned i = 0; i < ITEMS; i++) {
        item_name(i, name, sizeof name);
        if (strlen(name) == (size_t)(eq - word) && strncmp(name, word, (size_t)(eq - word)) == 0) {
            item_set(r, i, strtoull(eq + 1, NULL, 16));
            return true;
        }
    }
    return false;
}

static bool read_word(struct ocase *t, struct oresult *r, const char *word, bool output)
{
    unsigned a, b;
    const char *eq = strchr(word, '=');
    int n;
    if (word[0] == '!') {
        char *end;
        r->vector = (int)strtoul(word + 1, &end, 16);
        if (*end != '.') return false;
        r->error = (uint32_t)strtoul(end + 1, &end, 16);
        if (*end != '.') return false;
        r->cr2 = strtoull(end + 1, &end, 16);
        return *end == 0;
    }
    if (word[0] == '@') {
        if (!eq || sscanf(word + 1, "%x", &a) != 1 || a >= DATA_SIZE) return false;
        return read_bytes(eq + 1, r->memory + a, DATA_SIZE - a) >= 0;
    }
    if (output) return read_item(&r->out, word);
    if (strncmp(word, "p@", 2) == 0) {
        if (!eq || sscanf(word + 2, "%x", &a) != 1 || a > DATA_SIZE - PATCH_MAX) return false;
        n = read_bytes(eq + 1, t->patch, PATCH_MAX);
        if (n < 0) return false;
        t->patch_at = (uint16_t)a;
        t->patch_length = (uint8_t)n;
        return true;
    }
    if (sscanf(word, "n=%u", &b) == 1) {
        t->insns = (uint8_t)b;
        return true;
    }
    if (strcmp(word, "rep=1") == 0) {
        t->rep = true;
        return true;
    }
    if (strncmp(word, "u=", 2) == 0) {
        t->undefined = (uint32_t)strtoul(word + 2, NULL, 16);
        return true;
    }
    return read_item(&t->in, word);
}

/* The row, for the accepted differences of known.def. */
static const struct insn_row *decoded_row(const struct ocase *t)
{
    uint64_t all[FEATURE_MASK_WORDS];
    struct insn in;
    memset(all, 0xff, sizeof all);
    struct decode_env env = {.mode = t->mode == 64   ? DECODE_64
                                     : t->mode == 32 ? DECODE_32
                                                     : DECODE_16,
                             .features = all};
    return insn_decode(&env, t->code, t->length, &in) == DECODE_OK ? in.row : NULL;
}

int vector_read(FILE *f, struct ocase *t, struct oresult *r, unsigned *line)
{
    static char text[DATA_SIZE * 2 + 8192];
    for (;;) {
        if (!fgets(text, sizeof text, f)) return 0;
        ++*line;
        if (text[0] != '#' && text[0] != '\n' && text[0] != '/') break;
    }
    memset(t, 0, sizeof *t);
    memset(r, 0, sizeof *r);
    char *save = NULL, *word = strtok_r(text, " \n", &save);
    t->mode = (uint8_t)strtoul(word ? word : "", NULL, 10);
    if (t->mode != 16 && t->mode != 32 && t->mode != 64) return -1;
    if (!(word = strtok_r(NULL, " \n", &save))) return -1;
    t->seed = strtoull(word, NULL, 16);
    state_from_seed(t);
    t->insns = 1;
    if (!(word = strtok_r(NULL, " \n", &save))) return -1;
    int n = read_bytes(word, t->code, CODE_MAX - 16);
    if (n <= 0) return -1;
    t->length = (uint8_t)n;
    if (t->insns == 1) t->row = decoded_row(t);
    bool output = false;
    while ((word = strtok_r(NULL, " \n", &save)) != NULL) {
        if (strcmp(word, "->") == 0) {
            output = true;
            r->out = t->in;
            r->vector = -1;
            memory_from_case(t, r->memory);
        } else if (!read_word(t, r, word, output)) {
            return -1;
        }
    }
    return output ? 1 : -1;
}
