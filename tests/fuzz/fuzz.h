/* SPDX-License-Identifier: MIT */
/* A fuzz target is one file with the libFuzzer entry point and its seeds; replay.c drives the same entry
 * over the seeds, their truncations and deterministic mutations where libFuzzer is not there. */
#ifndef UV_TESTS_FUZZ_FUZZ_H
#define UV_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_SEED_MAX = 0x4000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Writes seed n (at most FUZZ_SEED_MAX bytes), returns its size; 0: there is none. */
size_t fuzz_seed(unsigned n, uint8_t *out);
/* Stops with a message: the property named does not hold. */
#define FUZZ_CHECK(condition)               \
    do {                                    \
        if (!(condition)) __builtin_trap(); \
    } while (0)

#endif
