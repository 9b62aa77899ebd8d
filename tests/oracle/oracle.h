/* SPDX-License-Identifier: MIT */
/* Instruction oracle: a test case is a few bytes of code and a full user-visible state; an engine turns
 * it into a result; results of two engines are compared. generate.c makes cases from the instruction
 * table, engine_ours.c, engine_host.c and engine_unicorn.c run them. */
#ifndef UV_TESTS_ORACLE_H
#define UV_TESTS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cpu/insn.h"

/* Linear addresses, the same in every engine. 16-bit code has segments that start at the bases. */
enum {
    CODE_BASE = 0x20000,
    CODE_SIZE = 0x2000,
    CODE_AT = 0x800, /* where a case's code starts */
    DATA_BASE = 0x30000,
    DATA_SIZE = 0x2000,      /* readable and writable, compared */
    READONLY_BASE = 0x32000, /* one page, readable */
    READONLY_SIZE = 0x1000,
    CODE_MAX = 240,
    PATCH_MAX = 64,
    BATCH = 128
};

struct st_reg {
    uint64_t frac;
    uint16_t se;
};
struct oregs {
    uint64_t gpr[16];
    uint64_t rip, rflags;
    uint16_t cw, sw; /* sw with TOP */
    uint8_t tag;     /* abridged */
    uint32_t mxcsr;
    struct st_reg st[8]; /* relative to TOP, as FXSAVE stores them */
    uint64_t xmm[16][2];
};

struct ocase {
    uint64_t seed;
    uint8_t mode; /* 16, 32, 64 */
    uint8_t insns, length;
    bool rep;
    uint8_t code[CODE_MAX];
    const struct insn_row *row; /* NULL: several instructions or unknown bytes */
    uint32_t undefined;         /* RFLAGS bits not compared */
    uint16_t patch_at;          /* bytes laid over the data area */
    uint8_t patch_length;
    uint8_t patch[PATCH_MAX];
    uint64_t memory_seed;
    struct oregs in;
};

enum ostatus { RESULT_OK, RESULT_SKIPPED };
struct oresult {
    enum ostatus status;
    int vector; /* -1: none */
    uint32_t error;
    uint64_t cr2;
    struct oregs out;
    uint8_t memory[DATA_SIZE];
};

/* state.c */
uint64_t rng_next(uint64_t *state);
void state_from_seed(
    struct ocase *t); /* t->seed, t->mode -> t->in, t->memory_seed; frozen: vectors depend on it */
void memory_from_case(const struct ocase *t, uint8_t memory[DATA_SIZE]);
const uint8_t *readonly_page(void);
/* Number of differing items; with out, prints them. */
unsigned results_compare(const struct ocase *t, const struct oresult *ours, const struct oresult *theirs,
                         bool weak, FILE *out);
void case_print(const struct ocase *t, FILE *out);
uint32_t flags_compared(void);

/* generate.c */
enum { FEATURE_MASK_WORDS = 8 };
struct generator {
    uint64_t rng;
    uint64_t features[FEATURE_MASK_WORDS];
    const char *group;    /* NULL: all */
    const char *mnemonic; /* NULL: all */
    unsigned modes;       /* bit 0: 16, 1: 32, 2: 64 */
    unsigned block;       /* instructions a case: 1, or up to 16 in straight-line blocks */
    bool for_unicorn;
    bool random_bytes; /* opcodes at random instead of from rows */
    bool in_order;     /* rows one after the other instead of at random */
    unsigned next;
    const struct insn_row *const *rows;
    unsigned row_count;
};
bool generator_start(struct generator *g, uint64_t seed); /* false: no row is left */
void generate_case(struct generator *g, struct ocase *t);
const char *row_group(const struct insn_row *row);

/* Engines. ours: env 0 long mode at CPL 3 with paging (as a process of the host), 1 as Unicorn sets up. */
bool ours_open(const uint64_t *features, bool like_unicorn);
void ours_run(const struct ocase *t, struct oresult *r);
void ours_drop_peephole(bool off);
bool host_open(uint64_t *features, char *why, size_t n); /* false: cannot judge here */
void host_run(const struct ocase *t, struct oresult *r, unsigned n);
bool unicorn_open(char *why, size_t n);
void unicorn_run(const struct ocase *t, struct oresult *r, unsigned n);

/* vectors.c */
void vector_write(FILE *f, const struct ocase *t, const struct oresult *r);
/* Reads the next case; 0 end of file, -1 bad line. */
int vector_read(FILE *f, struct ocase *t, struct oresult *r, unsigned *line);

#endif
