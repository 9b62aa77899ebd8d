/* SPDX-License-Identifier: MIT */
/* Options with lists of properties: -machine, -accel, -global, -rtc, -chardev, -device, -raw. What says
 * how this machine is anyway is accepted; what asks for something else is refused in one line. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frontends/cli/cli.h"

bool cli_number(const char *text, uint64_t *value)
{
    char *end;
    if (*text < '0' || *text > '9') return false;
    *value = strtoull(text, &end, 0);
    switch (*end) {
    case 'k':
    case 'K':
        *value <<= 10;
        end++;
        break;
    case 'm':
    case 'M':
        *value <<= 20;
        end++;
        break;
    case 'g':
    case 'G':
        *value <<= 30;
        end++;
        break;
    default: break;
    }
    return *end == 0;
}

/* Next element of a comma list into `word` (",," is a comma); NULL when there is none. */
static const char *next_word(const char *p, char *word, size_t size)
{
    size_t n = 0;
    if (!p || !*p) return NULL;
    for (; *p; p++) {
        if (*p == ',') {
            if (p[1] != ',') break;
            p++;
        }
        if (n + 1 < size) word[n++] = *p;
    }
    word[n] = 0;
    return *p ? p + 1 : p;
}

bool cli_property(const char *list, const char *name, char *value, size_t size)
{
    char word[CLI_SPEC_MAX];
    while ((list = next_word(list, word, sizeof(word)))) {
        char *equals = strchr(word, '=');
        if (!name && !equals) {
            snprintf(value, size, "%.*s", (int)size - 1, word);
            return true;
        }
        if (!name || !equals || strlen(name) != (size_t)(equals - word) ||
            strncmp(word, name, strlen(name)) != 0)
            continue;
        snprintf(value, size, "%.*s", (int)size - 1, equals + 1);
        return true;
    }
    return false;
}

static bool asks_help(const char *arg) { return strcmp(arg, "help") == 0 || strcmp(arg, "?") == 0; }

static int no_such(const char *what, const char *word, const char *const *names, size_t n)
{
    const char *near = uv_nearest(word, names, n);
    if (near) return cli_fail(CLI_USAGE, "unknown %s '%s', did you mean '%s'?", what, word, near);
    char all[400] = "";
    for (size_t i = 0; i < n; i++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "", names[i]);
    return cli_fail(CLI_USAGE, "unknown %s '%s'; known: %s", what, word, all);
}

static bool in_list(const char *word, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, names[i]) == 0) return true;
    return false;
}

int cli_accel(struct cli *cli, const char *arg)
{
    static const char *const names[] = {"tcg"};
    char word[64];
    if (asks_help(arg)) {
        puts("Accelerators supported by undervisor (the processor is always emulated):\ntcg");
        cli->done = true;
        return 0;
    }
    next_word(arg, word, sizeof(word));
    char *rest = strchr(word, ':'); /* a list of preferences */
    if (rest) *rest = 0;
    if (strncmp(word, "accel=", 6) == 0) memmove(word, word + 6, strlen(word + 6) + 1);
    if (strcmp(word, "kvm") == 0 || strcmp(word, "hvf") == 0 || strcmp(word, "whpx") == 0 ||
        strcmp(word, "xen") == 0) {
        if (rest && strstr(arg, "tcg")) return 0;
        return cli_fail(CLI_USAGE, "accelerator %s: the processor is emulated on every host; use tcg", word);
    }
    return strcmp(word, "tcg") == 0 ? 0 : no_such("accelerator", word, names, 1);
}

/* Properties of other PC emulators that change nothing here. */
static const char *const machine_ignored[] = {
    "kernel_irqchip",  "kernel-irqchip",  "vmport", "usb",   "smm", "graphics",
    "dump-guest-core", "mem-merge",       "sata",   "smbus", "pit", "acpi",
    "nvdimm",          "suppress-vmdesc", "i8042"};

int cli_machine(struct cli *cli, const char *arg)
{
    static const char *const types[] = {"pc", "pc-i440fx", "accel", "hpet", "type"};
    char word[CLI_SPEC_MAX];
    if (asks_help(arg)) {
        puts("Supported machines are:\npc                   i440FX-like PC (default)");
        cli->done = true;
        return 0;
    }
    for (const char *p = arg; (p = next_word(p, word, sizeof(word)));) {
        char *equals = strchr(word, '=');
        const char *value = equals ? equals + 1 : word;
        if (equals) *equals = 0;
        if (!equals || strcmp(word, "type") == 0) {
            if (strcmp(value, "pc") != 0 && strncmp(value, "pc-i440fx", 9) != 0)
                return no_such("machine", value, types, 2);
        } else if (strcmp(word, "accel") == 0) {
            int status = cli_accel(cli, value);
            if (status) return status;
        } else if (strcmp(word, "hpet") == 0 || strcmp(word, "i8042") == 0) {
            enum uv_status s = uv_config_set(cli->config, word, value);
            if (s != UV_OK) return cli_fail(cli_status(s), "-machine: %s", uv_config_message(cli->config));
        } else if (!in_list(word, machine_ignored, sizeof(machine_ignored) / sizeof(machine_ignored[0]))) {
            return no_such("machine property", word, types, sizeof(types) / sizeof(types[0]));
        }
    }
    return 0;
}

int cli_global(struct cli *cli, const char *arg)
{
    static const char *const known[] = {"kvm-pit.lost_tick_policy", "mc146818rtc.lost_tick_policy",
                                        "PIIX4_PM.disable_s3", "PIIX4_PM.disable_s4", "isa-debugcon.iobase"};
    char word[CLI_SPEC_MAX];
    snprintf(word, sizeof(word), "%s", arg);
    char *equals = strchr(word, '=');
    if (!equals) return cli_fail(CLI_USAGE, "-global %s: expected DRIVER.PROPERTY=VALUE", arg);
    *equals = 0;
    if (!in_list(word, known, sizeof(known) / sizeof(known[0])))
        return no_such("global property", word, known, sizeof(known) / sizeof(known[0]));
    if (strcmp(word, "isa-debugcon.iobase") != 0) return 0;
    enum uv_status s = uv_config_set(cli->config, "debugcon-port", equals + 1);
    return s == UV_OK ? 0 : cli_fail(cli_status(s), "-global: %s", uv_config_message(cli->config));
}

/* Days from 1970-01-01 in the proleptic Gregorian calendar; March-based years make leap days last. */
static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400, yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

int cli_rtc(struct cli *cli, const char *arg)
{
    char value[64], text[32];
    if (cli_property(arg, "clock", value, sizeof(value)) && strcmp(value, "vm") != 0)
        return cli_fail(CLI_USAGE, "-rtc clock=%s: the clock follows the machine's time; use clock=vm",
                        value);
    if (!cli_property(arg, "base", value, sizeof(value))) return 0;
    int64_t seconds;
    if (strcmp(value, "utc") == 0) {
        seconds = (int64_t)time(NULL); /* becomes part of the configuration */
    } else {
        int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0, used = 0;
        int n = sscanf(value, "%4d-%2d-%2d%n", &y, &mo, &d, &used);
        if (n == 3 && value[used] == 'T') {
            const char *clock = value + used + 1;
            n = sscanf(clock, "%2d:%2d:%2d%n", &h, &mi, &s, &used) == 3 && clock[used] == 0 ? 3 : 0;
        } else if (n == 3 && value[used] != 0) {
            n = 0;
        }
        if (n != 3 || y < 1970 || y > 9999 || mo < 1 || mo > 12 || d < 1 || d > 31 || h < 0 || h > 23 ||
            mi < 0 || mi > 59 || s < 0 || s > 59)
            return cli_fail(CLI_USAGE, "-rtc base=%s: expected utc or YYYY-MM-DD[THH:MM:SS]", value);
        seconds = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + s;
    }
    snprintf(text, sizeof(text), "%lld", (long long)seconds);
    enum uv_status st = uv_config_set(cli->config, "rtc", text);
    return st == UV_OK ? 0 : cli_fail(cli_status(st), "-rtc: %s", uv_config_message(cli->config));
}

int cli_chardev(struct cli *cli, const char *arg)
{
    static const char *const kinds[] = {"stdio", "file", "pipe", "null"};
    char kind[32] = "", path[CLI_SPEC_MAX] = "";
    if (cli->chardevs == CLI_LIST_MAX)
        return cli_fail(CLI_USAGE, "more than %d -chardev options", CLI_LIST_MAX);
    struct cli_chardev *d = &cli->chardev[cli->chardevs];
    if (!cli_property(arg, NULL, kind, sizeof(kind)) && !cli_property(arg, "backend", kind, sizeof(kind)))
        return cli_fail(CLI_USAGE, "-chardev %s: expected KIND,id=ID", arg);
    if (!in_list(kind, kinds, 4)) return no_such("character device", kind, kinds, 4);
    if (!cli_property(arg, "id", d->id, sizeof(d->id)))
        return cli_fail(CLI_USAGE, "-chardev %s: no id=", arg);
    bool wants_path = strcmp(kind, "file") == 0 || strcmp(kind, "pipe") == 0;
    if (wants_path && !cli_property(arg, "path", path, sizeof(path)))
        return cli_fail(CLI_USAGE, "-chardev %s: no path=", arg);
    if ((size_t)snprintf(d->backend, sizeof(d->backend), wants_path ? "%s:%s" : "%s", kind, path) >=
        sizeof(d->backend))
        return cli_fail(CLI_USAGE, "-chardev %s: path too long", kind);
    cli->chardevs++;
    return 0;
}

/* loader,file=F,addr=A[,cpu-num=N][,force-raw=on] or loader,data=V,data-len=N,addr=A. */
static int loader_device(struct cli *cli, const char *arg)
{
    char value[CLI_SPEC_MAX];
    uint64_t v;
    if (cli->loads == CLI_LIST_MAX) return cli_fail(CLI_USAGE, "more than %d loader devices", CLI_LIST_MAX);
    struct cli_load *l = &cli->load[cli->loads];
    if (!cli_property(arg, "addr", value, sizeof(value)) || !cli_number(value, &l->address))
        return cli_fail(CLI_USAGE, "-device %s: expected addr=ADDRESS", arg);
    if (cli_property(arg, "file", value, sizeof(value))) {
        l->file = strdup(value);
        if (!l->file) return cli_fail(CLI_HOST, "host memory exhausted");
    } else if (cli_property(arg, "data", value, sizeof(value)) && cli_number(value, &v)) {
        uint64_t n;
        if (!cli_property(arg, "data-len", value, sizeof(value)) || !cli_number(value, &n) || n < 1 || n > 8)
            return cli_fail(CLI_USAGE, "-device %s: expected data-len=1 to 8", arg);
        l->data_size = (uint32_t)n;
        for (uint32_t i = 0; i < n; i++)
            l->data[i] = (uint8_t)(v >> 8 * i);
    } else {
        return cli_fail(CLI_USAGE, "-device %s: expected file=PATH or data=VALUE", arg);
    }
    if (cli_property(arg, "cpu-num", value, sizeof(value))) {
        if (!cli_number(value, &v) || v != 0)
            return cli_fail(CLI_USAGE, "-device %s: only processor 0 can be started", arg);
        cli->has_entry = true;
        cli->raw_entry = l->address;
        cli->raw_mode = l->address < 0x100000 ? UV_RAW_REAL : UV_RAW_PROTECTED;
    }
    cli->loads++;
    return 0;
}

int cli_device(struct cli *cli, const char *arg)
{
    if (strncmp(arg, "loader,", 7) == 0) return loader_device(cli, arg + 7);
    if (cli->devices == CLI_LIST_MAX)
        return cli_fail(CLI_USAGE, "more than %d -device options", CLI_LIST_MAX);
    cli->device[cli->devices++] = arg;
    return 0;
}

int cli_raw(struct cli *cli, const char *arg)
{
    static const char *const modes[] = {"real", "prot", "long"};
    char file[CLI_SPEC_MAX], value[64];
    if (!cli_property(arg, NULL, file, sizeof(file)) || !cli_property(arg, "addr", value, sizeof(value)) ||
        !cli_number(value, &cli->raw_address))
        return cli_fail(CLI_USAGE, "-raw %s: expected FILE,addr=ADDRESS", arg);
    cli->raw_entry = cli->raw_address;
    if (cli_property(arg, "entry", value, sizeof(value)) && !cli_number(value, &cli->raw_entry))
        return cli_fail(CLI_USAGE, "-raw %s: entry=%s is not a number", arg, value);
    cli->raw_mode = cli->raw_entry < 0x100000 ? UV_RAW_REAL : UV_RAW_PROTECTED;
    if (cli_property(arg, "mode", value, sizeof(value))) {
        unsigned i = 0;
        while (i < 3 && strcmp(value, modes[i]) != 0)
            i++;
        if (i == 3) return no_such("mode", value, modes, 3);
        cli->raw_mode = (enum uv_raw_mode)i;
    }
    cli->raw_file = strdup(file);
    return cli->raw_file ? 0 : cli_fail(CLI_HOST, "host memory exhausted");
}

/* What a -serial argument means as a backend of the library; NULL after a message. */
static const char *backend(const struct cli *cli, const char *option, const char *arg)
{
    const char *id = strncmp(arg, "chardev:", 8) == 0 ? arg + 8 : NULL;
    if (strcmp(arg, "mon:stdio") == 0) return "stdio";
    if (strcmp(arg, "vc") == 0) return "null";
    if (!id) return arg;
    for (uint32_t i = 0; i < cli->chardevs; i++)
        if (strcmp(id, cli->chardev[i].id) == 0) return cli->chardev[i].backend;
    cli_fail(CLI_USAGE, "%s %s: no -chardev has this id", option, arg);
    return NULL;
}

static int set_backend(struct cli *cli, const char *setting, const char *option, const char *arg)
{
    const char *spec = backend(cli, option, arg);
    if (!spec) return CLI_USAGE;
    enum uv_status s = uv_config_set(cli->config, setting, spec);
    return s == UV_OK ? 0 : cli_fail(cli_status(s), "%s: %s", option, uv_config_message(cli->config));
}

int cli_apply(struct cli *cli)
{
    int status;
    if (cli->serials == 0 && (cli->nographic || !cli->nodefaults)) cli->serial[cli->serials++] = "stdio";
    for (uint32_t i = 0; i < cli->serials; i++) {
        char name[32];
        snprintf(name, sizeof(name), "serial%u", i);
        if ((status = set_backend(cli, name, "-serial", cli->serial[i]))) return status;
    }
    if (cli->debugcon && (status = set_backend(cli, "debugcon", "-debugcon", cli->debugcon))) return status;
    for (uint32_t i = 0; i < cli->devices; i++) {
        char text[2 * CLI_SPEC_MAX], id[CLI_SPEC_MAX], spec[CLI_SPEC_MAX + 8];
        snprintf(text, sizeof(text), "%s", cli->device[i]);
        /* The library knows backends, not ids. */
        char *place = strstr(text, ",chardev=");
        if (place && cli_property(text, "chardev", id, sizeof(id))) {
            snprintf(spec, sizeof(spec), "chardev:%s", id);
            const char *real = backend(cli, "-device", spec);
            if (!real) return CLI_USAGE;
            char rest[CLI_SPEC_MAX];
            snprintf(rest, sizeof(rest), "%s", place + 9 + strlen(id));
            snprintf(place, sizeof(text) - (size_t)(place - text), ",chardev=%s%s", real, rest);
        }
        enum uv_status s = uv_config_add_device(cli->config, text);
        if (s != UV_OK) return cli_fail(cli_status(s), "-device: %s", uv_config_message(cli->config));
    }
    return 0;
}
