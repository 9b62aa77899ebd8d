/* SPDX-License-Identifier: MIT */
/* Options of the run command: QEMU's names with one dash or two, exact names only. The table is
 * options.def; getopt_long_only walks the words. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/cli/cli.h"

/* OPT_ARG: the next word is the value unless it begins with a dash. */
enum { NO_ARG = no_argument, ARG = required_argument, OPT_ARG = optional_argument };

typedef int option_fn(struct cli *cli, const char *name, const char *arg);

static int set(struct cli *cli, const char *setting, const char *value)
{
    enum uv_status s = uv_config_set(cli->config, setting, value);
    return s == UV_OK ? 0 : cli_fail(cli_status(s), "%s", uv_config_message(cli->config));
}

static bool asks_help(const char *arg) { return strcmp(arg, "help") == 0 || strcmp(arg, "?") == 0; }

static int opt_kernel(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    cli->kernel = arg;
    return 0;
}
static int opt_initrd(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    cli->initrd = arg;
    return 0;
}
static int opt_append(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    cli->append = arg;
    return 0;
}

static int opt_protocol(struct cli *cli, const char *name, const char *arg)
{
    static const char *const names[] = {"auto", "linux", "multiboot", "pvh", "elf"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(arg, names[i]) != 0) continue;
        cli->protocol = (enum uv_boot_protocol)i;
        return 0;
    }
    return cli_fail(CLI_USAGE, "-%s %s: expected auto, linux, multiboot, pvh or elf", name, arg);
}

static int opt_raw(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    return cli_raw(cli, arg);
}

/* MiB unless there is a unit; "size=4G,slots=..." as QEMU has it. */
static int opt_memory(struct cli *cli, const char *name, const char *arg)
{
    char text[72], size[64];
    (void)name;
    if (!cli_property(arg, "size", size, sizeof(size)) && !cli_property(arg, NULL, size, sizeof(size)))
        return cli_fail(CLI_USAGE, "-m %s: expected a size", arg);
    size_t n = strlen(size);
    bool bare = n && size[n - 1] >= '0' && size[n - 1] <= '9' && strncmp(size, "0x", 2) != 0;
    snprintf(text, sizeof(text), "%s%s", size, bare ? "M" : "");
    return set(cli, "memory", text);
}

/* One number of -smp: 0 when it is not given. */
static int smp_part(const char *arg, const char *name, uint64_t *v)
{
    char part[64];
    *v = 0;
    bool given =
        name ? cli_property(arg, name, part, sizeof(part)) : cli_property(arg, NULL, part, sizeof(part));
    if (!given) return 0;
    if (cli_number(part, v) && *v >= 1 && *v <= 64) return 0;
    return cli_fail(CLI_USAGE, "-smp %s: %s '%s': expected a number from 1 to 64", arg,
                    name ? name : "processors", part);
}

/* [cpus=]N[,sockets=S][,cores=C][,threads=T]: parts left out follow from N, cores first, and N from them.
 * Dies, modules and clusters can only be one; maxcpus only N, as no processor is plugged in later. */
static int opt_smp(struct cli *cli, const char *name, const char *arg)
{
    static const char *const parts[] = {"sockets", "cores", "threads"};
    static const char *const known[] = {"cpus", "sockets",  "cores",   "threads", "maxcpus",
                                        "dies", "clusters", "modules", "drawers", "books"};
    uint64_t n, plain, most, part[3];
    int status;
    (void)name;
    for (const char *p = arg; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        size_t length = strcspn(p, "=,");
        bool found = p[length] != '=';
        for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            found |= strlen(known[i]) == length && strncmp(p, known[i], length) == 0;
        if (!found)
            return cli_fail(CLI_USAGE,
                            "-smp %s: unknown property '%.*s'; known: cpus, sockets, cores, threads", arg,
                            (int)length, p);
    }
    for (unsigned i = 5; i < sizeof(known) / sizeof(known[0]); i++) {
        if ((status = smp_part(arg, known[i], &n))) return status;
        if (n > 1) return cli_fail(CLI_USAGE, "-smp %s: %s must be 1", arg, known[i]);
    }
    if ((status = smp_part(arg, NULL, &plain)) || (status = smp_part(arg, "cpus", &n)) ||
        (status = smp_part(arg, "maxcpus", &most)))
        return status;
    for (unsigned i = 0; i < 3; i++)
        if ((status = smp_part(arg, parts[i], &part[i]))) return status;
    if (n == 0) n = plain;
    uint64_t given = (part[0] ? part[0] : 1) * (part[1] ? part[1] : 1) * (part[2] ? part[2] : 1);
    if (n == 0) n = given;
    unsigned fill = part[1] == 0 ? 1 : part[0] == 0 ? 0 : 2;
    if (part[fill] == 0 && n % given == 0) part[fill] = n / given;
    uint64_t product = 1;
    for (unsigned i = 0; i < 3; i++)
        product *= part[i] ? part[i] : (part[i] = 1);
    if (product != n || (most != 0 && most != n))
        return cli_fail(CLI_USAGE, "-smp %s: %llu processors are not sockets x cores x threads = %llu%s", arg,
                        (unsigned long long)n, (unsigned long long)product,
                        most != 0 && most != n ? ", and maxcpus is another number" : "");
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
    status = set(cli, "cpus", text);
    for (unsigned i = 0; i < 3 && status == 0; i++) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)part[i]);
        status = set(cli, parts[i], text);
    }
    return status;
}

static int opt_cpu(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    if (!asks_help(arg)) return set(cli, "cpu", arg);
    cli_list_cpus(stdout);
    cli->done = true;
    return 0;
}

static int opt_machine(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    return cli_machine(cli, arg);
}
static int opt_accel(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    return cli_accel(cli, arg);
}
static int opt_device(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    if (!asks_help(arg)) return cli_device(cli, arg);
    cli_list_devices(stdout);
    cli->done = true;
    return 0;
}
static int opt_global(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    return cli_global(cli, arg);
}
static int opt_rtc(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    return cli_rtc(cli, arg);
}
static int opt_chardev(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    return cli_chardev(cli, arg);
}

static int opt_nodefaults(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    (void)arg;
    cli->nodefaults = true;
    return 0;
}
static int opt_no_hpet(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    (void)arg;
    return set(cli, "hpet", "off");
}
static int opt_no_reboot(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    (void)arg;
    cli->no_reboot = true;
    return 0;
}

static int opt_action(struct cli *cli, const char *name, const char *arg)
{
    char value[32];
    bool known = false;
    if (cli_property(arg, "reboot", value, sizeof(value))) {
        if (strcmp(value, "shutdown") != 0 && strcmp(value, "reset") != 0)
            return cli_fail(CLI_USAGE, "-%s reboot=%s: expected shutdown or reset", name, value);
        cli->no_reboot = strcmp(value, "shutdown") == 0;
        cli->reset_on_shutdown = !cli->no_reboot;
        known = true;
    }
    if (cli_property(arg, "shutdown", value, sizeof(value))) {
        if (strcmp(value, "poweroff") != 0)
            return cli_fail(CLI_USAGE, "-%s shutdown=%s: expected poweroff", name, value);
        known = true;
    }
    return known ? 0
                 : cli_fail(CLI_USAGE, "-%s %s: expected reboot=shutdown|reset or shutdown=poweroff", name,
                            arg);
}

static int opt_quantum(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    return set(cli, "quantum", arg);
}

static int opt_order_seed(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    return set(cli, "order-seed", arg);
}

static int opt_serial(struct cli *cli, const char *name, const char *arg)
{
    if (cli->serials == 4) return cli_fail(CLI_USAGE, "-%s %s: there are four serial ports", name, arg);
    cli->serial[cli->serials++] = arg;
    return 0;
}
static int opt_debugcon(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    cli->debugcon = arg;
    return 0;
}
static int opt_nographic(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    (void)arg;
    cli->nographic = true;
    return 0;
}

static int opt_display(struct cli *cli, const char *name, const char *arg)
{
    if (asks_help(arg)) {
        puts("none");
        cli->done = true;
        return 0;
    }
    return strcmp(arg, "none") == 0
               ? 0
               : cli_fail(CLI_USAGE, "-%s %s: there is no display in this version; use none", name, arg);
}

static int opt_none(struct cli *cli, const char *name, const char *arg)
{
    (void)cli;
    return strcmp(arg, "none") == 0 ? 0 : cli_fail(CLI_USAGE, "-%s %s: only none is possible", name, arg);
}
static int opt_ignore(struct cli *cli, const char *name, const char *arg)
{
    (void)cli;
    (void)name;
    (void)arg;
    return 0;
}

static int opt_trace(struct cli *cli, const char *name, const char *arg)
{
    char message[256];
    const char *path;
    uint64_t mask;
    (void)name;
    if (asks_help(arg)) {
        char *argv[] = {(char *)(uintptr_t) "list", (char *)(uintptr_t) "traces", NULL};
        cli->done = true;
        return cli_list(2, argv);
    }
    cli->trace = arg;
    return cli_trace_spec(arg, &mask, &path, message, sizeof(message))
               ? 0
               : cli_fail(CLI_USAGE, "-trace: %s", message);
}
static int opt_explain(struct cli *cli, const char *name, const char *arg)
{
    bool json;
    const char *path;
    cli->explain = arg ? arg : "text";
    return cli_explain_spec(cli->explain, &json, &path)
               ? 0
               : cli_fail(CLI_USAGE, "-%s %s: expected text or json, then ,file=PATH", name, arg);
}
static int opt_strict(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    (void)arg;
    cli->strict = true;
    return 0;
}
static int opt_stats(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    (void)arg;
    cli->stats = true;
    return 0;
}
static int opt_hash(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    (void)arg;
    cli->hash = true;
    return 0;
}
static int opt_max_cycles(struct cli *cli, const char *name, const char *arg)
{
    if (cli_number(arg, &cli->max_cycles) && cli->max_cycles) return 0;
    return cli_fail(CLI_USAGE, "-%s %s: expected a number of cycles", name, arg);
}
/* For tests: setting "debug", or the length of the slices that the run is cut into. */
static int opt_debug(struct cli *cli, const char *name, const char *arg)
{
    if (strncmp(arg, "slice=", 6) != 0) return set(cli, "debug", arg);
    if (cli_number(arg + 6, &cli->slice) && cli->slice) return 0;
    return cli_fail(CLI_USAGE, "-%s %s: expected a number of cycles", name, arg);
}
static int opt_help(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    (void)arg;
    cli_help(stdout);
    cli->done = true;
    return 0;
}
static int opt_version(struct cli *cli, const char *name, const char *arg)
{
    (void)name;
    (void)arg;
    printf("undervisor %s\n", uv_version());
    cli->done = true;
    return 0;
}

static const struct {
    const char *name;
    int argument;
    option_fn *handler; /* NULL: refused, or a group when name is NULL */
    const char *text;
} options[] = {
#define GROUP(text) {NULL, 0, NULL, text},
#define OPTION(name, argument, handler, text) {name, argument, handler, text},
#define ALIAS(name, argument, handler) {name, argument, handler, ""},
#define REFUSED(name, argument, reason) {name, argument, NULL, reason},
#include "frontends/cli/options.def"
#undef GROUP
#undef OPTION
#undef ALIAS
#undef REFUSED
};
enum { OPTIONS = sizeof(options) / sizeof(options[0]) };

void cli_help(FILE *out)
{
    fprintf(out, "undervisor %s: a software x86 machine whose processor implements Intel VMX and AMD SVM\n\n",
            uv_version());
    for (const struct cli_command *c = cli_commands; c->name; c++)
        fprintf(out, "%s undervisor %-5s %-10s %s\n", c == cli_commands ? "usage:" : "      ", c->name,
                c->arguments, c->text);
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (!options[i].name)
            fprintf(out, "\n%s:\n", options[i].text);
        else if (options[i].handler && options[i].text[0])
            fprintf(out, "  -%-14s %s\n", options[i].name, options[i].text);
    }
    fputs("\nExit status: 0 power-off or reset with -no-reboot; (value << 1) | 1 from isa-debug-exit; "
          "otherwise\n",
          out);
#define EXIT_STATUS(number, name, text) fprintf(out, "  %-4d %s\n", number, text);
#include "frontends/cli/exit_status.def"
#undef EXIT_STATUS
}

static int unknown(const char *word)
{
    const char *names[OPTIONS];
    char name[64];
    size_t n = 0;
    while (*word == '-')
        word++;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
    for (unsigned i = 0; i < OPTIONS; i++)
        if (options[i].name && options[i].handler) names[n++] = options[i].name;
    const char *near = uv_nearest(name, names, n);
    if (near) return cli_fail(CLI_USAGE, "unknown option '-%s', did you mean '-%s'?", name, near);
    return cli_fail(CLI_USAGE, "unknown option '-%s' (undervisor --help lists them)", name);
}

/* getopt takes unambiguous beginnings for the whole name; we do not. */
static bool exact(const char *word, const char *name)
{
    word += word[1] == '-' ? 2 : 1;
    size_t n = strcspn(word, "=");
    return strlen(name) == n && strncmp(word, name, n) == 0;
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
    struct option table[OPTIONS + 1];
    unsigned row[OPTIONS], n = 0;
    memset(table, 0, sizeof(table));
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (!options[i].name) continue;
        row[n] = i;
        table[n++] = (struct option){options[i].name, options[i].argument, NULL, 0};
    }
    opterr = 0;
    optind = 1;
    for (;;) {
        int at = optind, index = -1;
        int c = getopt_long_only(argc, argv, "+:", table, &index);
        if (c == -1) break;
        if (c == ':') return cli_fail(CLI_USAGE, "option '%s' needs a value", argv[at]);
        if (c != 0 || index < 0 || !exact(argv[at], table[index].name)) {
            for (unsigned i = 0; i < n; i++)
                if (exact(argv[at], table[i].name) && strchr(argv[at], '='))
                    return cli_fail(CLI_USAGE, "option '-%s' takes no value", table[i].name);
            return unknown(argv[at]);
        }
        unsigned i = row[index];
        if (!options[i].handler) return cli_fail(CLI_USAGE, "-%s: %s", options[i].name, options[i].text);
        if (options[i].argument == OPT_ARG && !optarg && optind < argc && argv[optind][0] != '-')
            optarg = argv[optind++];
        int status = options[i].handler(cli, options[i].name, optarg);
        if (status || cli->done) return status;
    }
    if (optind < argc)
        return cli_fail(CLI_USAGE, "unexpected argument '%s' (a kernel is given with -kernel)", argv[optind]);
    return cli_apply(cli);
}
