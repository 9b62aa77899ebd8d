/* SPDX-License-Identifier: MIT */
/* Settings and device strings of the public interface, as a command line hands them over. Input:
 * "name=value" or "device,property=value". */
#include <stdlib.h>
#include <string.h>

#include "include/undervisor.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uv_config *config;
    uint64_t mask;
    char message[64], *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    if (uv_config_create(&config) == UV_OK) {
        uv_probe_mask(text, &mask, message, sizeof(message));
        enum uv_status s = uv_config_add_device(config, text);
        FUZZ_CHECK(s == UV_OK || uv_config_message(config)[0]);
        char *equals = strchr(text, '=');
        if (equals) {
            *equals = 0;
            s = uv_config_set(config, text, equals + 1);
            FUZZ_CHECK(s == UV_OK || uv_config_message(config)[0]);
        }
        uv_config_destroy(config);
    }
    free(text);
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *out)
{
    static const char *const seeds[] = {"memory=256M",      "cpus=4",
                                        "serial0=file:out", "cpu=max,+vmx",
                                        "quantum=100",      "rtc=1000",
                                        "hpet=off",         "isa-debug-exit,iobase=0xf4,iosize=4",
                                        "pc-testdev",       "isa-debugcon,iobase=0x402,chardev=stdio",
                                        "exits,events,all"};
    if (n >= sizeof(seeds) / sizeof(seeds[0])) return 0;
    memcpy(out, seeds[n], strlen(seeds[n]));
    return strlen(seeds[n]);
}
