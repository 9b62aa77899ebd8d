/* SPDX-License-Identifier: MIT */
/* CPU model specifications: any text gives a model or one line that says why not. */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpuid.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct cpu_model *model = NULL;
    uint64_t features[FEATURE_WORDS];
    char error[128] = "", *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    if (cpu_model_parse(text, &model, features, error, sizeof(error)))
        FUZZ_CHECK(model != NULL);
    else
        FUZZ_CHECK(error[0] != 0 && memchr(error, 0, sizeof(error)));
    free(text);
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *out)
{
    static const char *const seeds[] = {"skylake-server,+vmx,-smap", "max,+vmx", "EPYC-Rome,svm=on,npt=off",
                                        "qemu64,-x2apic,+,-,,", "nothing"};
    if (n >= sizeof(seeds) / sizeof(seeds[0])) return 0;
    memcpy(out, seeds[n], strlen(seeds[n]));
    return strlen(seeds[n]);
}
