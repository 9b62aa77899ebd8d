/* SPDX-License-Identifier: MIT */
/* `undervisor run`: builds the machine that the options ask for, runs it in slices between which typed
 * input is taken, and turns the way it ended into an exit status. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frontends/cli/cli.h"

/* Machine cycles between two looks at standard input: 10 ms of the guest's time. Fixed, so that input
 * from a file enters at the same cycles in every run. */
enum { SLICE_CYCLES = 10000000, WAIT_MS = 100 };

static uv_machine *volatile running; /* for the signal handler alone */
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
    if (running) uv_machine_request_stop(running);
}

static double host_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int fail_machine(uv_machine *m, enum uv_status s)
{
    return cli_fail(cli_status(s), "%s", uv_machine_message(m));
}

struct images {
    struct cli_file kernel;
    struct uv_image module[CLI_LIST_MAX];
    uint32_t modules;
};

static void free_images(struct images *im)
{
    free(im->kernel.data);
    for (uint32_t i = 0; i < im->modules; i++) {
        free((void *)(uintptr_t)im->module[i].name);
        free((void *)(uintptr_t)im->module[i].data);
        free((void *)(uintptr_t)im->module[i].arguments);
    }
}

static int load_extra(const struct cli *cli, uv_machine *m)
{
    for (uint32_t i = 0; i < cli->loads; i++) {
        const struct cli_load *l = &cli->load[i];
        struct cli_file f = {0};
        int status = l->file ? cli_read_file(l->file, false, &f) : 0;
        if (status) return status;
        struct uv_image image = {.name = l->file ? l->file : "loader data",
                                 .data = l->file ? f.data : l->data,
                                 .size = l->file ? f.size : l->data_size};
        enum uv_status s = uv_machine_load(m, &image, l->address);
        free(f.data);
        if (s != UV_OK) return fail_machine(m, s);
    }
    return 0;
}

static int load(const struct cli *cli, uv_machine *m, struct images *im)
{
    int status = load_extra(cli, m);
    if (status) return status;
    struct uv_boot boot = {
        .struct_size = sizeof(boot), .protocol = cli->protocol, .command_line = cli->append, .borrow = 1};
    const char *path = cli->kernel;
    if (cli->raw_file) {
        path = cli->raw_file;
        boot.protocol = UV_BOOT_RAW;
        boot.raw_address = cli->raw_address;
        boot.raw_entry = cli->raw_entry;
        boot.raw_mode = cli->raw_mode;
    }
    if (!path) {
        enum uv_status s = uv_machine_entry(m, cli->raw_entry, cli->raw_mode);
        return s == UV_OK ? 0 : fail_machine(m, s);
    }
    if ((status = cli_read_file(path, !cli->raw_file, &im->kernel))) return status;
    if (cli->initrd && (status = cli_read_modules(cli->initrd, im->module, &im->modules))) return status;
    boot.kernel = (struct uv_image){.name = path, .data = im->kernel.data, .size = im->kernel.size};
    boot.modules = im->module;
    boot.module_count = im->modules;
    enum uv_status s = uv_machine_boot(m, &boot);
    return s == UV_OK ? 0 : fail_machine(m, s);
}

/* Runs to the end; *status is the exit status. Returns false to run on after a reset. */
static bool ended(const struct cli *cli, uv_machine *m, const struct uv_stop *stop, int *status)
{
    switch (stop->reason) {
    case UV_STOP_POWER_OFF: *status = 0; return true;
    case UV_STOP_DEBUG_EXIT: *status = (int)(stop->code << 1 | 1) & 0xff; return true;
    case UV_STOP_RESET:
        if (cli->no_reboot) {
            *status = 0;
            return true;
        }
        break;
    case UV_STOP_SHUTDOWN:
        fflush(stdout);
        fprintf(stderr, "\nundervisor: triple fault on cpu%d at cycle %llu\n", stop->cpu,
                (unsigned long long)stop->cycle);
        cli_report_cpus(m, stderr);
        if (!cli->reset_on_shutdown) {
            *status = CLI_TRIPLE_FAULT;
            return true;
        }
        break;
    case UV_STOP_HANG:
        fflush(stdout);
        fprintf(stderr, "\nundervisor: hang at cycle %llu: every processor sleeps and nothing can wake one\n",
                (unsigned long long)stop->cycle);
        cli_report_cpus(m, stderr);
        *status = CLI_HANG;
        return true;
    case UV_STOP_REQUEST: *status = CLI_INTERRUPTED; return true;
    default: *status = CLI_HOST; return true;
    }
    enum uv_status s = uv_machine_reset(m);
    *status = s == UV_OK ? 0 : fail_machine(m, s);
    return s != UV_OK;
}

static int run(const struct cli *cli, uv_machine *m)
{
    uint64_t limit = cli->max_cycles ? cli->max_cycles : UINT64_MAX;
    uint64_t slice = cli->slice ? cli->slice : SLICE_CYCLES;
    bool input = true;
    int status = 0;
    struct uv_stop stop;
    for (;;) {
        if (interrupted) return CLI_INTERRUPTED;
        uint64_t now = uv_machine_now(m), until = limit;
        if (now >= limit)
            return cli_fail(CLI_CYCLES, "-max-cycles %llu reached", (unsigned long long)cli->max_cycles);
        if ((input || cli->slice) && limit - now > slice) until = now - now % slice + slice;
        enum uv_status s = uv_machine_run(m, until, &stop);
        if (s != UV_OK) return fail_machine(m, s);
        if (stop.reason != UV_STOP_CYCLE && stop.reason != UV_STOP_INPUT) {
            if (ended(cli, m, &stop, &status)) return status;
            continue;
        }
        if ((!input || cli->slice) && stop.reason == UV_STOP_CYCLE) continue;
        int64_t taken;
        fflush(stdout);
        s = uv_machine_poll_input(m, stop.reason == UV_STOP_INPUT ? WAIT_MS : 0, &taken);
        if (s != UV_OK) return fail_machine(m, s);
        input = taken >= 0;
    }
}

static int run_machine(const struct cli *cli)
{
    uv_machine *m = NULL;
    struct images im = {0};
    struct cli_trace *trace = NULL;
    struct cli_explain *explain = NULL;
    enum uv_status s = uv_machine_create(cli->config, &m);
    if (s != UV_OK) return cli_fail(cli_status(s), "%s", uv_config_message(cli->config));
    int status = load(cli, m, &im);
    if (!status && cli->trace) status = cli_trace_open(&trace, m, cli->trace);
    if (!status && cli->explain) status = cli_explain_open(&explain, m, cli->explain);
    if (!status && cli->strict && (s = cli_strict(m)) != UV_OK) status = fail_machine(m, s);
    if (!status && cli->stats && (s = uv_stats_enable(m)) != UV_OK) status = fail_machine(m, s);
    if (!status) {
        struct sigaction action = {.sa_handler = on_signal};
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        running = m;
        terminal_raw();
        double start = host_seconds();
        status = run(cli, m);
        double seconds = host_seconds() - start;
        terminal_restore();
        running = NULL;
        fflush(stdout);
        if (cli->hash) printf("state hash %016llx\n", (unsigned long long)uv_machine_hash(m));
        fflush(stdout);
        if (cli->stats) cli_stats(m, seconds, stderr);
    }
    cli_trace_close(trace);
    cli_explain_close(explain);
    uv_machine_destroy(m);
    free_images(&im);
    return status;
}

int cli_run(int argc, char **argv)
{
    struct cli cli = {0};
    enum uv_status s = uv_config_create(&cli.config);
    if (s != UV_OK) return cli_fail(CLI_HOST, "%s", uv_config_message(cli.config));
    int status = cli_parse(&cli, argc, argv);
    if (!status && !cli.done) {
        bool something = cli.kernel || cli.raw_file || cli.has_entry;
        if (!something)
            status = cli_fail(
                CLI_USAGE,
                "nothing to run: give -kernel FILE, -raw FILE,addr=A or -device loader,...,cpu-num=0");
        else if (cli.kernel && cli.raw_file)
            status = cli_fail(CLI_USAGE, "-kernel and -raw exclude each other");
        else
            status = run_machine(&cli);
    }
    for (uint32_t i = 0; i < cli.loads; i++)
        free((void *)(uintptr_t)cli.load[i].file);
    free((void *)(uintptr_t)cli.raw_file);
    uv_config_destroy(cli.config);
    return status;
}
