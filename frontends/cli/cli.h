/* SPDX-License-Identifier: MIT */
/* The command line: `undervisor [COMMAND] [OPTIONS]`. Each file is one subject; the machine is reached
 * through include/undervisor.h alone. */
#ifndef UV_FRONTENDS_CLI_CLI_H
#define UV_FRONTENDS_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "include/undervisor.h"

/* Exit statuses from 64 up are ours; below, the guest's (isa-debug-exit: (value << 1) | 1). */
enum cli_exit {
#define EXIT_STATUS(number, name, text) CLI_##name = number,
#include "frontends/cli/exit_status.def"
#undef EXIT_STATUS
};

enum { CLI_LIST_MAX = 32, CLI_SPEC_MAX = 512 };

struct cli_load {
    const char *file;
    uint64_t address;
    uint8_t data[8]; /* without a file: a value of `data_size` bytes */
    uint32_t data_size;
};

struct cli_chardev {
    char id[64];
    char backend[CLI_SPEC_MAX];
};

/* What the options said. Strings are those of argv. */
struct cli {
    uv_config *config;
    const char *kernel, *initrd, *append;
    enum uv_boot_protocol protocol;
    const char *raw_file;
    uint64_t raw_address, raw_entry;
    enum uv_raw_mode raw_mode;
    bool has_entry; /* a loader device with cpu-num */
    struct cli_load load[CLI_LIST_MAX];
    uint32_t loads;
    const char *serial[4];
    uint32_t serials;
    const char *debugcon;
    const char *device[CLI_LIST_MAX];
    uint32_t devices;
    struct cli_chardev chardev[CLI_LIST_MAX];
    uint32_t chardevs;
    bool nodefaults, nographic, no_reboot, reset_on_shutdown, stats, strict, hash;
    const char *trace, *explain;
    uint64_t max_cycles;
    uint64_t slice; /* -debug slice=N: cycles between two returns of the machine; 0: as input wants it */
    bool done;      /* an option answered by itself (help forms): leave with status 0 */
};

struct cli_command {
    const char *name, *arguments, *text;
    int (*run)(int argc, char **argv);
};
extern const struct cli_command cli_commands[];

/* One line "undervisor: ..." on standard error; returns `status`. */
__attribute__((format(printf, 2, 3))) int cli_fail(int status, const char *format, ...);
int cli_status(enum uv_status status); /* the exit status that says the same */

/* options.c: 0, or an exit status after the message. */
int cli_parse(struct cli *cli, int argc, char **argv);
void cli_help(FILE *out);
/* machine_options.c: -machine, -accel, -global, -rtc, -chardev; help lists. */
int cli_machine(struct cli *cli, const char *arg);
int cli_accel(struct cli *cli, const char *arg);
int cli_global(struct cli *cli, const char *arg);
int cli_rtc(struct cli *cli, const char *arg);
int cli_chardev(struct cli *cli, const char *arg);
int cli_device(struct cli *cli, const char *arg);
int cli_raw(struct cli *cli, const char *arg);
/* Applies what had to wait until all options were read: serial ports, debug console, devices. */
int cli_apply(struct cli *cli);
/* "name=value" lists: copies the value of `name` (NULL: the first word without '='), doubled commas
 * undone; false when it is not there. */
bool cli_property(const char *list, const char *name, char *value, size_t size);
bool cli_number(const char *text, uint64_t *value);

/* list.c */
int cli_list(int argc, char **argv);
void cli_list_cpus(FILE *out);
void cli_list_devices(FILE *out);

/* files.c: whole files, with a clear line on failure. Kernels may be gzip-compressed. */
struct cli_file {
    uint8_t *data;
    uint64_t size;
};
int cli_read_file(const char *path, bool decompress, struct cli_file *file);
/* "-initrd a args,b args": images (data to be freed); Linux takes them one after the other. */
int cli_read_modules(const char *list, struct uv_image *images, uint32_t *count);

/* scenario.c */
int cli_scenario(int argc, char **argv);

/* run.c */
int cli_run(int argc, char **argv);

/* trace.c */
struct cli_trace;
bool cli_trace_spec(const char *spec, uint64_t *mask, const char **path, char *message, size_t size);
int cli_trace_open(struct cli_trace **trace, uv_machine *machine, const char *spec);
void cli_trace_close(struct cli_trace *trace);
/* "mov eax, ebx" at a linear address, "" when it cannot be read. */
void cli_disassemble(uv_machine *machine, uint32_t cpu, uint64_t linear, enum uv_code_mode mode, char *text,
                     size_t size);

/* explain.c: -explain, and the command over control structures in files. */
struct cli_explain;
bool cli_explain_spec(const char *spec, bool *json, const char **path);
int cli_explain_open(struct cli_explain **explain, uv_machine *machine, const char *spec);
void cli_explain_close(struct cli_explain *explain);
enum uv_status cli_strict(uv_machine *machine);
int cli_explain(int argc, char **argv);

/* stats.c */
void cli_stats(uv_machine *machine, double seconds, FILE *out);
void cli_report_cpus(uv_machine *machine, FILE *out);

/* terminal.c: character-wise input without echo while a machine owns the terminal. */
void terminal_raw(void);
void terminal_restore(void);

#endif
