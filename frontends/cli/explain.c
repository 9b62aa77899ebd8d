/* SPDX-License-Identifier: MIT */
/* -explain: a report for each failed VM entry of the run. `undervisor explain vmcs|vmcb FILE`: the same for
 * a VMCS or VMCB that Linux KVM or Xen printed into a log, or for one of our own JSON reports. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/cli/cli.h"

struct cli_explain {
    FILE *out;
    uv_machine *machine;
    bool json;
};

bool cli_explain_spec(const char *spec, bool *json, const char **path)
{
    size_t n = strcspn(spec, ",");
    *json = n == 4 && strncmp(spec, "json", n) == 0;
    *path = NULL;
    if (strncmp(spec, "file=", 5) == 0) {
        *path = spec + 5;
        return **path != 0;
    }
    if (!*json && !(n == 4 && strncmp(spec, "text", n) == 0)) return false;
    if (!spec[n]) return true;
    if (strncmp(spec + n, ",file=", 6) != 0) return false;
    *path = spec + n + 6;
    return **path != 0;
}

static void print_report(void *opaque, uv_machine *machine, const struct uv_event *event)
{
    struct cli_explain *x = opaque;
    size_t n = uv_explain_report(machine, event, x->json, NULL, 0);
    char *text = n ? malloc(n + 1) : NULL;
    if (!text) return;
    uv_explain_report(machine, event, x->json, text, n + 1);
    fflush(stdout);
    fputs(text, x->out);
    fflush(x->out);
    free(text);
}

int cli_explain_open(struct cli_explain **explain, uv_machine *machine, const char *spec)
{
    const char *path;
    uint64_t mask;
    struct cli_explain *x = calloc(1, sizeof(*x));
    if (!x) return cli_fail(CLI_HOST, "host memory exhausted");
    cli_explain_spec(spec, &x->json, &path);
    x->machine = machine;
    x->out = path ? fopen(path, "w") : stderr;
    if (!x->out) {
        free(x);
        return cli_fail(CLI_HOST, "-explain: %s: %s", path, strerror(errno));
    }
    if (uv_probe_mask("VM_ENTRY_FAIL", &mask, NULL, 0) != UV_OK ||
        uv_subscribe(machine, mask, print_report, x) != UV_OK) {
        cli_explain_close(x);
        return cli_fail(CLI_HOST, "-explain: %s", uv_machine_message(machine));
    }
    *explain = x;
    return 0;
}

void cli_explain_close(struct cli_explain *x)
{
    if (!x) return;
    uv_unsubscribe(x->machine, print_report, x);
    if (x->out != stderr) fclose(x->out);
    free(x);
}

/* ---- -strict-vmcs ---- */

static void print_warning(void *opaque, uv_machine *machine, const struct uv_event *e, const char *warning)
{
    (void)opaque;
    (void)machine;
    fflush(stdout);
    fprintf(stderr, "undervisor: warning: cpu%d, cycle %" PRIu64 ", RIP %" PRIx64 "h: %s\n", e->cpu, e->cycle,
            e->rip, warning);
}

enum uv_status cli_strict(uv_machine *machine) { return uv_strict(machine, print_warning, NULL); }

/* ---- the command ---- */

static int usage(FILE *out)
{
    fputs(
        "usage: undervisor explain vmcs|vmcb FILE [-cpu MODEL] [-number N] [-json]\n"
        "  FILE       a kernel log with a VMCS (Intel) or VMCB (AMD) that Linux KVM or Xen printed, or JSON\n"
        "             of -explain json; - is standard input\n"
        "  -cpu       judge by what this model allows, too (undervisor list cpus)\n"
        "  -number N  the N-th structure of the file (default 1)\n"
        "  -json      one JSON object instead of text\n"
        "exit status: 0 no rule is broken, 1 at least one is, 64 and up as usual\n",
        out);
    return out == stdout ? 0 : CLI_USAGE;
}

enum { STDIN_MAX = 64 << 20 };

static int read_stdin(struct cli_file *file)
{
    size_t room = 0;
    *file = (struct cli_file){0};
    for (;;) {
        if (file->size == room) {
            room = room ? room * 2 : 65536;
            uint8_t *more = room <= STDIN_MAX ? realloc(file->data, room) : NULL;
            if (!more) {
                free(file->data);
                return cli_fail(CLI_HOST, "standard input: too large");
            }
            file->data = more;
        }
        size_t n = fread(file->data + file->size, 1, room - (size_t)file->size, stdin);
        if (n == 0) return 0;
        file->size += n;
    }
}

static int explain_file(const char *kind, const char *path, const char *cpu, uint32_t number, bool json)
{
    struct cli_file file = {0};
    uv_dump *dump = NULL;
    char message[400];
    int status = strcmp(path, "-") == 0 ? read_stdin(&file) : cli_read_file(path, true, &file);
    if (status) return status;
    enum uv_status s =
        uv_dump_create(kind, cpu, number, file.data, (size_t)file.size, &dump, message, sizeof(message));
    free(file.data);
    if (s == UV_E_NAME) return cli_fail(CLI_USAGE, "%s", message);
    if (s == UV_E_MEMORY) return cli_fail(CLI_HOST, "host memory exhausted");
    if (s != UV_OK) return cli_fail(s == UV_E_RANGE ? CLI_USAGE : CLI_BAD_IMAGE, "%s: %s", path, message);
    size_t n = uv_dump_report(dump, json, NULL, 0);
    char *text = malloc(n + 1);
    uint32_t structures = uv_dump_count(dump, UV_DUMP_STRUCTURES);
    if (text) {
        uv_dump_report(dump, json, text, n + 1);
        if (!json) {
            printf("%s: %s %u of %u, %u fields, processor: %s\n", path,
                   strcmp(kind, "vmcb") == 0 ? "VMCB" : "VMCS", number + 1, structures,
                   uv_dump_count(dump, UV_DUMP_FIELDS), cpu ? cpu : "any");
        }
        fputs(text, stdout);
    }
    status = !text                                 ? cli_fail(CLI_HOST, "host memory exhausted")
             : uv_dump_count(dump, UV_DUMP_BROKEN) ? 1
                                                   : 0;
    free(text);
    uv_dump_destroy(dump);
    return status;
}

static const char *option_name(const char *word)
{
    return word[0] == '-' && word[1] ? word + 1 + (word[1] == '-') : NULL;
}

int cli_explain(int argc, char **argv)
{
    static const char *const names[] = {"cpu", "number", "json", "help"};
    const char *words[2] = {NULL, NULL}, *cpu = NULL;
    uint64_t number = 1;
    bool json = false;
    unsigned n = 0;
    for (int i = 1; i < argc; i++) {
        const char *option = option_name(argv[i]);
        if (!option) {
            if (n == 2) return cli_fail(CLI_USAGE, "explain: unexpected argument '%s'", argv[i]);
            words[n++] = argv[i];
        } else if (strcmp(option, "json") == 0) {
            json = true;
        } else if (strcmp(option, "help") == 0) {
            return usage(stdout);
        } else if (strcmp(option, "cpu") == 0 || strcmp(option, "number") == 0) {
            if (i + 1 == argc) return cli_fail(CLI_USAGE, "option '%s' needs a value", argv[i]);
            const char *value = argv[++i];
            if (option[0] == 'c')
                cpu = value;
            else if (!cli_number(value, &number) || number == 0 || number > UINT32_MAX)
                return cli_fail(CLI_USAGE, "-number %s: expected a number from 1", value);
        } else {
            const char *near = uv_nearest(option, names, 4);
            return cli_fail(CLI_USAGE, "explain: unknown option '%s'%s%s%s", argv[i],
                            near ? ", did you mean '-" : "", near ? near : "", near ? "'?" : "");
        }
    }
    if (n < 2) return usage(stderr);
    return explain_file(words[0], words[1], cpu, (uint32_t)(number - 1), json);
}
