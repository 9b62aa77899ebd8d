/* SPDX-License-Identifier: MIT */
/* oracle: random instructions on our processor and on another one; differences are shrunk and printed.
 * Exit status: 0 no difference, 1 differences, 77 the other engine is not available here, 64 usage. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/oracle/oracle.h"

#include "cpu/state.h"

enum { MAX_PRINTED = 40, MAX_NAMES = 1024 };

static struct {
    const char *engine, *group, *mnemonic, *record, *replay;
    unsigned long count;
    uint64_t seed;
    unsigned mode, block, per_name;
    bool no_peephole, list, in_order, bytes;
} opt = {.engine = "host", .count = 100000, .seed = 1, .block = 1, .per_name = 2};

static struct ocase cases[BATCH];
static struct oresult ours[BATCH], theirs[BATCH];
static bool weak;

static void run_theirs(const struct ocase *t, struct oresult *r, unsigned n)
{
    if (weak) {
        unicorn_run(t, r, n);
    } else {
        host_run(t, r, n);
    }
}

static unsigned judge(const struct ocase *t, struct oresult *a, struct oresult *b)
{
    ours_run(t, a);
    run_theirs(t, b, 1);
    return results_compare(t, a, b, weak, NULL);
}

/* Simplify the state while the difference stays. */
static void shrink(struct ocase *t)
{
    static struct oresult a, b;
    struct ocase best = *t;
#define TRY_CHANGE(change)                                                               \
    do {                                                                                 \
        struct ocase next = best;                                                        \
        change;                                                                          \
        if (memcmp(&next, &best, sizeof next) != 0 && judge(&next, &a, &b)) best = next; \
    } while (0)
    for (unsigned i = 0; i < 16; i++) {
        TRY_CHANGE(next.in.gpr[i] = 0);
        TRY_CHANGE(next.in.gpr[i] &= 0xff);
    }
    TRY_CHANGE(next.in.rflags = FL_FIXED | FL_IF);
    TRY_CHANGE(next.in.cw = 0x37f);
    TRY_CHANGE(next.in.sw &= 0x3800);
    TRY_CHANGE(next.in.sw = 0);
    TRY_CHANGE(next.in.tag = 0xff);
    TRY_CHANGE(next.in.mxcsr = 0x1f80);
    for (unsigned i = 0; i < 8; i++)
        TRY_CHANGE(next.in.st[i] = (struct st_reg){0});
    for (unsigned i = 0; i < 16; i++)
        TRY_CHANGE(next.in.xmm[i][0] = next.in.xmm[i][1] = 0);
    TRY_CHANGE(next.memory_seed = 0);
    *t = best;
}

static struct tally {
    const char *name;
    unsigned long run, skipped, faults, bad;
} tally[MAX_NAMES];
static unsigned tally_count;

static struct tally *tally_of(const char *name)
{
    for (unsigned i = 0; i < tally_count; i++)
        if (strcmp(tally[i].name, name) == 0) return &tally[i];
    if (tally_count == MAX_NAMES) return &tally[MAX_NAMES - 1];
    tally[tally_count].name = name;
    return &tally[tally_count++];
}

static void report(struct ocase *t, unsigned long number)
{
    static struct oresult a, b;
    if (judge(t, &a, &b)) shrink(t);
    judge(t, &a, &b);
    printf("case %lu (seed %llx)\n", number, (unsigned long long)t->seed);
    case_print(t, stdout);
    results_compare(t, &a, &b, weak, stdout);
    fflush(stdout);
}

static int replay(void)
{
    FILE *f = fopen(opt.replay, "r");
    unsigned line = 0, bad = 0, n = 0;
    int got;
    if (!f) {
        fprintf(stderr, "oracle: %s: cannot be opened\n", opt.replay);
        return 66;
    }
    while ((got = vector_read(f, &cases[0], &theirs[0], &line)) > 0) {
        n++;
        ours_run(&cases[0], &ours[0]);
        if (results_compare(&cases[0], &ours[0], &theirs[0], false, NULL) == 0) continue;
        if (bad++ >= MAX_PRINTED) continue;
        printf("%s:%u\n", opt.replay, line);
        case_print(&cases[0], stdout);
        results_compare(&cases[0], &ours[0], &theirs[0], false, stdout);
    }
    fclose(f);
    if (got < 0) {
        fprintf(stderr, "oracle: %s:%u: not a vector line\n", opt.replay, line);
        return 65;
    }
    printf("%s: %u vectors, %u wrong\n", opt.replay, n, bad);
    return bad || n == 0;
}

static int usage(const char *what)
{
    fprintf(stderr,
            "oracle: %s\n"
            "usage: oracle [--engine host|unicorn] [--count N] [--seed S] [--group G] [--mnemonic M]\n"
            "              [--mode 16|32|64] [--block N] [--no-peephole] [--per-name N] [--list] "
            "[--in-order] [--bytes]\n"
            "              [--record FILE] | --replay FILE\n",
            what);
    return 64;
}

static int parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *o = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(o, "--no-peephole") == 0) {
            opt.no_peephole = true;
            continue;
        }
        if (strcmp(o, "--bytes") == 0) {
            opt.bytes = true;
            continue;
        }
        if (strcmp(o, "--in-order") == 0) {
            opt.in_order = true;
            continue;
        }
        if (strcmp(o, "--list") == 0) {
            opt.list = true;
            continue;
        }
        if (!v) return usage("an option lacks its value");
        i++;
        if (strcmp(o, "--engine") == 0) {
            opt.engine = v;
        } else if (strcmp(o, "--count") == 0) {
            opt.count = strtoul(v, NULL, 0);
        } else if (strcmp(o, "--seed") == 0) {
            opt.seed = strtoull(v, NULL, 0);
        } else if (strcmp(o, "--group") == 0) {
            opt.group = v;
        } else if (strcmp(o, "--mnemonic") == 0) {
            opt.mnemonic = v;
        } else if (strcmp(o, "--mode") == 0) {
            opt.mode = (unsigned)strtoul(v, NULL, 0);
        } else if (strcmp(o, "--block") == 0) {
            opt.block = (unsigned)strtoul(v, NULL, 0);
        } else if (strcmp(o, "--per-name") == 0) {
            opt.per_name = (unsigned)strtoul(v, NULL, 0);
        } else if (strcmp(o, "--record") == 0) {
            opt.record = v;
        } else if (strcmp(o, "--replay") == 0) {
            opt.replay = v;
        } else {
            return usage("unknown option");
        }
    }
    weak = strcmp(opt.engine, "unicorn") == 0;
    if (!weak && strcmp(opt.engine, "host") != 0) return usage("--engine is host or unicorn");
    if (opt.mode && opt.mode != 16 && opt.mode != 32 && opt.mode != 64)
        return usage("--mode is 16, 32 or 64");
    if (opt.block < 1 || opt.block > 16) return usage("--block is 1 to 16");
    return 0;
}

static unsigned long compare_all(struct generator *g, FILE *record)
{
    unsigned long done = 0, bad = 0, insns = 0, skipped = 0;
    time_t last = time(NULL);
    while (insns < opt.count) {
        unsigned n = 0;
        while (n < BATCH && insns < opt.count) {
            generate_case(g, &cases[n]);
            insns += cases[n++].insns;
        }
        run_theirs(cases, theirs, n);
        for (unsigned i = 0; i < n; i++) {
            struct tally *y = tally_of(cases[i].row ? cases[i].row->mnemonic : "(no row)");
            if (theirs[i].status == RESULT_SKIPPED) {
                y->skipped++;
                skipped++;
                continue;
            }
            ours_run(&cases[i], &ours[i]);
            y->run++;
            y->faults += ours[i].vector >= 0;
            if (record) vector_write(record, &cases[i], &theirs[i]);
            if (results_compare(&cases[i], &ours[i], &theirs[i], weak, NULL) == 0) continue;
            bad++;
            if (y->bad++ < opt.per_name && bad < 100 * MAX_PRINTED) report(&cases[i], done + i);
        }
        done += n;
        if (time(NULL) != last) {
            last = time(NULL);
            fprintf(stderr, "\roracle: %lu of %lu instructions, %lu differences ", insns, opt.count, bad);
        }
    }
    fprintf(stderr, "\n");
    for (unsigned i = 0; i < tally_count; i++)
        if (tally[i].bad || opt.list)
            printf("%-16s %8lu run %6lu faults %6lu skipped %6lu differ\n", tally[i].name, tally[i].run,
                   tally[i].faults, tally[i].skipped, tally[i].bad);
    printf("oracle: %s, %lu instructions in %lu cases, %lu skipped, %lu differences (seed %llu)\n",
           opt.engine, insns, done, skipped, bad, (unsigned long long)opt.seed);
    return bad;
}

int main(int argc, char **argv)
{
    struct generator g = {.for_unicorn = false};
    FILE *record = NULL;
    char why[128] = "";
    int status = parse(argc, argv);
    if (status) return status;
    for (unsigned i = 0; i < FEAT_COUNT; i++)
        if (i != FEAT_VMX && i != FEAT_SVM) g.features[i / 64] |= UINT64_C(1) << i % 64;
    if (opt.replay) return ours_open(g.features, false) ? replay() : 70;
    if (weak ? !unicorn_open(why, sizeof why) : !host_open(g.features, why, sizeof why)) {
        fprintf(stderr, "oracle: engine %s: %s\n", opt.engine, why);
        return 77;
    }
    g.for_unicorn = weak;
    g.group = opt.group;
    g.mnemonic = opt.mnemonic;
    g.modes = opt.mode == 16 ? 1 : opt.mode == 32 ? 2 : opt.mode == 64 ? 4 : 7;
    g.block = opt.block;
    g.in_order = opt.in_order;
    g.random_bytes = opt.bytes && opt.block == 1;
    if (!generator_start(&g, opt.seed)) return usage("no instruction row fits --group and --mnemonic");
    if (!ours_open(g.features, weak)) return 70;
    if (opt.no_peephole) ours_drop_peephole(true);
    if (opt.record && !(record = fopen(opt.record, "w"))) {
        fprintf(stderr, "oracle: %s: cannot be written\n", opt.record);
        return 73;
    }
    unsigned long bad = compare_all(&g, record);
    if (record && fclose(record) != 0) return 73;
    return bad != 0;
}
