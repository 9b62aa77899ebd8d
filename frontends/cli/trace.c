/* SPDX-License-Identifier: MIT */
/* -trace: one line an event with cycle, processor, mode, RIP, the event in words and the instruction at
 * RIP (Capstone; bytes read through the processor's own paging). */
#include <capstone/capstone.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/cli/cli.h"

struct cli_trace {
    FILE *out;
    uv_machine *machine;
};

enum { INSN_MAX = 15 };

void cli_disassemble(uv_machine *machine, uint32_t cpu, uint64_t linear, enum uv_code_mode mode, char *text,
                     size_t size)
{
    static csh handle[3]; /* opened once; they hold no state of a machine */
    unsigned slot = mode == UV_CODE_64 ? 2 : mode == UV_CODE_32 ? 1 : 0;
    uint8_t bytes[INSN_MAX];
    size_t n = 0;
    cs_insn *insn;
    text[0] = 0;
    uv_linear_read(machine, cpu, linear, bytes, sizeof(bytes), &n);
    if (n == 0) return;
    if (!handle[slot] && cs_open(CS_ARCH_X86,
                                 slot == 2   ? CS_MODE_64
                                 : slot == 1 ? CS_MODE_32
                                             : CS_MODE_16,
                                 &handle[slot]) != CS_ERR_OK)
        return;
    if (cs_disasm(handle[slot], bytes, n, linear, 1, &insn) == 1) {
        snprintf(text, size, "%s%s%s", insn->mnemonic, insn->op_str[0] ? " " : "", insn->op_str);
        cs_free(insn, 1);
    } else {
        snprintf(text, size, "(bytes %02x %02x %02x)", bytes[0], n > 1 ? bytes[1] : 0, n > 2 ? bytes[2] : 0);
    }
}

static void print_event(void *opaque, uv_machine *machine, const struct uv_event *e)
{
    struct cli_trace *t = opaque;
    char words[256], insn[192] = "";
    uv_event_text(machine, e, words, sizeof(words));
    if (e->cpu < 0) {
        fprintf(t->out, "%14" PRIu64 " -    -        %18s  %s\n", e->cycle, "", words);
        return;
    }
    cli_disassemble(machine, (uint32_t)e->cpu, e->linear_rip, e->code_mode, insn, sizeof(insn));
    fprintf(t->out, "%14" PRIu64 " cpu%d %-8s 0x%016" PRIx64 "  %-56s %s\n", e->cycle, e->cpu,
            e->in_guest ? "non-root" : "root", e->rip, words, insn);
    char rule[1024];
    for (uint32_t i = 0; uv_explain_entry(machine, e, i, 0, rule, sizeof(rule)); i++)
        fprintf(t->out, "%14s broken rule: %s\n", "", rule);
}

/* "CATEGORY,...[,file=PATH]": a path may hold commas, so it comes last. */
bool cli_trace_spec(const char *spec, uint64_t *mask, const char **path, char *message, size_t size)
{
    char names[CLI_SPEC_MAX] = "";
    *path = NULL;
    for (const char *p = spec; *p && !*path;) {
        size_t n = strcspn(p, ",");
        if (strncmp(p, "file=", 5) == 0) {
            *path = p + 5;
            break;
        }
        if (strlen(names) + n + 2 > sizeof(names)) {
            snprintf(message, size, "list too long");
            return false;
        }
        if (names[0]) strcat(names, ",");
        strncat(names, p, n);
        p += n + (p[n] == ',');
    }
    return uv_probe_mask(names, mask, message, size) == UV_OK;
}

int cli_trace_open(struct cli_trace **trace, uv_machine *machine, const char *spec)
{
    char message[256];
    const char *path;
    uint64_t mask;
    if (!cli_trace_spec(spec, &mask, &path, message, sizeof(message)))
        return cli_fail(CLI_USAGE, "-trace: %s", message);
    struct cli_trace *t = calloc(1, sizeof(*t));
    if (!t) return cli_fail(CLI_HOST, "host memory exhausted");
    t->machine = machine;
    t->out = path ? fopen(path, "w") : stderr;
    if (!t->out) {
        free(t);
        return cli_fail(CLI_HOST, "-trace: %s: %s", path, strerror(errno));
    }
    if (uv_subscribe(machine, mask, print_event, t) != UV_OK) {
        cli_trace_close(t);
        return cli_fail(CLI_HOST, "-trace: %s", uv_machine_message(machine));
    }
    *trace = t;
    return 0;
}

void cli_trace_close(struct cli_trace *t)
{
    if (!t) return;
    uv_unsubscribe(t->machine, print_event, t);
    if (t->out != stderr) fclose(t->out);
    free(t);
}
