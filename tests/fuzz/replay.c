/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over its seeds, every truncation of them and a fixed series of mutations, or over the
 * files named: the regression form of a fuzz target. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { MUTATIONS = 4000 };

static uint64_t state = 0x9e3779b97f4a7c15;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* An exact heap copy: reading one byte too far is a sanitizer error. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) exit(1);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int run_file(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t n = fread(data, 1, sizeof(data), f);
    fclose(f);
    run(data, n);
    return 0;
}

static void mutate(uint8_t *data, size_t *size)
{
    for (uint64_t k = next() % 6 + 1; k && *size; k--) {
        /* Headers are at the beginning: half of the changes go there. */
        size_t at = (size_t)(next() % (next() & 1 && *size > 0x300 ? 0x300 : *size));
        static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff};
        switch (next() % 5) {
        case 0: data[at] = (uint8_t)next(); break;
        case 1: data[at] ^= (uint8_t)(1u << (next() & 7)); break;
        case 2: data[at] = edges[next() % 5]; break;
        case 3: memset(data + at, (int)edges[next() % 5], *size - at < 8 ? *size - at : 8); break;
        default: *size = at; break;
        }
    }
}

int main(int argc, char **argv)
{
    static uint8_t seed[FUZZ_SEED_MAX], data[FUZZ_SEED_MAX];
    unsigned runs = 0;
    for (int i = 1; i < argc; i++)
        if (run_file(argv[i])) return 1;
    for (unsigned n = 0; argc == 1; n++) {
        size_t size = fuzz_seed(n, seed);
        if (size == 0) break;
        for (size_t cut = 0; cut <= size; cut += cut < 0x400 ? 1 : 97, runs++)
            run(seed, cut);
        run(seed, size);
        for (unsigned k = 0; k < MUTATIONS; k++, runs++) {
            size_t m = size;
            memcpy(data, seed, size);
            mutate(data, &m);
            run(data, m);
        }
    }
    printf("%u inputs\n", runs);
    return 0;
}
