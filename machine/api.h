/* SPDX-License-Identifier: MIT */
/* What the files behind include/undervisor.h share: the two handles and their helpers. */
#ifndef UV_MACHINE_API_H
#define UV_MACHINE_API_H

#include "include/undervisor.h"
#include "machine/boot/boot.h"
#include "machine/machine.h"

enum { API_MESSAGE = 400, API_SPEC = 512, API_SUBSCRIBERS = 8, API_LOADS = 32, API_EXIT_ROWS = 128 };

struct uv_config {
    struct machine_config machine;
    char cpu[API_SPEC];
    char serial[MACHINE_MAX_SERIAL][API_SPEC]; /* backend, "": none */
    char debugcon[API_SPEC];
    uv_output_fn *output[MACHINE_MAX_SERIAL];
    void *output_opaque[MACHINE_MAX_SERIAL];
    char message[API_MESSAGE];
};

struct api_subscription {
    uv_machine *machine;
    uv_event_fn *fn;
    void *opaque;
};

struct api_load {
    struct boot_file file;
    uint64_t address;
};

struct api_exit_row {
    uint32_t reason;
    uint64_t count, cycles;
};

struct api_stats {
    bool enabled;
    struct uv_stats total;
    struct api_exit_row row[API_EXIT_ROWS];
    uint32_t rows;
    struct {
        uint64_t exit_cycle, entry_cycle, entry_insns;
        uint32_t row; /* of the last exit, API_EXIT_ROWS: none */
        bool in_guest;
    } cpu[MACHINE_MAX_CPUS];
};

struct uv_machine {
    struct machine *m;
    struct chardev *serial[MACHINE_MAX_SERIAL], *debugcon;
    char message[API_MESSAGE];

    bool has_boot;
    struct boot_request boot;
    struct boot_file modules[BOOT_MODULES_MAX];
    bool borrowed;
    char *command_line;
    bool has_entry;
    struct boot_entry entry; /* of uv_machine_entry() */
    enum boot_protocol protocol;
    struct api_load load[API_LOADS];
    uint32_t loads;

    struct api_subscription subscription[API_SUBSCRIBERS];
    struct api_stats stats;
    struct vmx_strict *strict; /* NULL: no warnings are wanted */
    struct svm_strict *strict_svm;
    uv_warning_fn *warning;
    void *warning_opaque;
};

__attribute__((format(printf, 3, 4))) enum uv_status api_fail(char *message, enum uv_status status,
                                                              const char *format, ...);
/* Numbers as command lines write them: decimal or 0x, with k, M, G, T (binary) when `sizes`. */
bool api_number(const char *text, bool sizes, uint64_t *value);
const char *api_nearest_in_table(const char *word, enum uv_table table);
void api_boot_free(uv_machine *machine);
enum uv_status api_boot_again(uv_machine *machine);
const char *api_exit_name(const struct cpu *c, uint32_t reason, char *buffer, size_t size);

#endif
