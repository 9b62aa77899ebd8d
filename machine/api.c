/* SPDX-License-Identifier: MIT */
/* The public interface: life of a machine, running, input. Configuration is in api_config.c, images in
 * api_boot.c, registers and memory in api_inspect.c, probes in api_probes.c, tables in api_tables.c. */
#include "machine/api.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/event.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

enum { STEP_CYCLES_MAX = 1000000, POLL_BYTES = 256 };

const char *uv_version(void)
{
    return TEXT(UV_VERSION_MAJOR) "." TEXT(UV_VERSION_MINOR) "." TEXT(UV_VERSION_PATCH);
}

const char *uv_status_name(enum uv_status status)
{
    static const char *const names[] = {"UV_OK",      "UV_E_ARGUMENT", "UV_E_MEMORY",
                                        "UV_E_NAME",  "UV_E_VALUE",    "UV_E_IMAGE",
                                        "UV_E_SPACE", "UV_E_RANGE",    "UV_E_HOST"};
    unsigned n = (unsigned)-(int)status;
    return n < sizeof(names) / sizeof(names[0]) ? names[n] : "unknown status";
}

enum uv_status api_fail(char *message, enum uv_status status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, API_MESSAGE, format, ap);
    va_end(ap);
    return status;
}

/* Edit distance with insertion, deletion and substitution at cost 1, letter case at no cost; words
 * longer than the row are not compared. */
static unsigned distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    unsigned row[LONGEST + 1];
    size_t na = strlen(a), nb = strlen(b);
    if (na > LONGEST || nb > LONGEST) return UINT32_MAX;
    for (unsigned j = 0; j <= nb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= na; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= nb; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            unsigned best = diagonal + !same;
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

static bool begins(const char *whole, const char *start)
{
    for (; *start; whole++, start++)
        if (tolower((unsigned char)*whole) != tolower((unsigned char)*start)) return false;
    return true;
}

/* A beginning of a candidate (two letters or more) counts as nearer than any misspelling. */
const char *uv_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    if (!word || !*word) return NULL;
    unsigned least = (unsigned)(strlen(word) / 3 + 2);
    for (size_t i = 0; i < count; i++) {
        if (!candidates[i] || !candidates[i][0]) continue;
        bool prefix = word[1] && begins(candidates[i], word);
        unsigned d = prefix ? 0 : distance(word, candidates[i]);
        if (d < least) {
            least = d;
            best = candidates[i];
        }
    }
    return best;
}

static struct chardev *open_backend(const char *spec)
{
    if (strcmp(spec, "null") == 0) return chardev_null();
    if (strcmp(spec, "stdio") == 0) return chardev_stdio();
    if (strncmp(spec, "file:", 5) == 0) return chardev_file(spec + 5);
    if (strncmp(spec, "pipe:", 5) == 0) return chardev_pipe(spec + 5);
    return NULL;
}

static enum uv_status open_backends(uv_config *c, uv_machine *v)
{
    for (uint32_t i = 0; i < MACHINE_MAX_SERIAL; i++) {
        if (c->output[i])
            v->serial[i] = chardev_callback(c->output[i], c->output_opaque[i]);
        else if (c->serial[i][0])
            v->serial[i] = open_backend(c->serial[i]);
        else
            continue;
        if (!v->serial[i])
            return api_fail(c->message, UV_E_HOST, "serial port %u: cannot open %s", i,
                            c->serial[i][0] ? c->serial[i] : "the callback");
    }
    if (c->debugcon[0] && !(v->debugcon = open_backend(c->debugcon)))
        return api_fail(c->message, UV_E_HOST, "debug console: cannot open %s", c->debugcon);
    return UV_OK;
}

enum uv_status uv_machine_create(uv_config *config, uv_machine **machine)
{
    if (!config || !machine) return UV_E_ARGUMENT;
    *machine = NULL;
    uv_machine *v = calloc(1, sizeof(*v));
    if (!v) return api_fail(config->message, UV_E_MEMORY, "host memory exhausted");
    enum uv_status s = open_backends(config, v);
    if (s != UV_OK) {
        uv_machine_destroy(v);
        return s;
    }
    struct machine_config mc = config->machine;
    for (uint32_t i = 0; i < MACHINE_MAX_SERIAL; i++)
        mc.serial[i] = v->serial[i];
    mc.debugcon = v->debugcon;
    v->m = machine_create(&mc, config->message, sizeof(config->message));
    if (!v->m) {
        uv_machine_destroy(v);
        return UV_E_MEMORY;
    }
    *machine = v;
    return UV_OK;
}

void uv_machine_destroy(uv_machine *v)
{
    if (!v) return;
    uv_strict(v, NULL, NULL);
    if (v->m) machine_destroy(v->m);
    for (uint32_t i = 0; i < MACHINE_MAX_SERIAL; i++)
        chardev_destroy(v->serial[i]);
    chardev_destroy(v->debugcon);
    api_boot_free(v);
    free(v);
}

const char *uv_machine_message(const uv_machine *v) { return v ? v->message : "no machine"; }

enum uv_status uv_machine_reset(uv_machine *v)
{
    if (!v) return UV_E_ARGUMENT;
    machine_reset(v->m);
    return api_boot_again(v);
}

static enum uv_stop_reason stop_reason(enum machine_stop stop)
{
    switch (stop) {
    case MACHINE_CYCLE_LIMIT: return UV_STOP_CYCLE;
    case MACHINE_HUNG: return UV_STOP_HANG;
    case MACHINE_INPUT: return UV_STOP_INPUT;
    case MACHINE_SHUTDOWN: return UV_STOP_SHUTDOWN;
    case MACHINE_RESET: return UV_STOP_RESET;
    case MACHINE_POWER_OFF: return UV_STOP_POWER_OFF;
    case MACHINE_DEBUG_EXIT: return UV_STOP_DEBUG_EXIT;
    case MACHINE_DEBUG: return UV_STOP_DEBUG;
    case MACHINE_REQUEST: return UV_STOP_REQUEST;
    }
    return UV_STOP_REQUEST;
}

const char *uv_stop_name(enum uv_stop_reason reason)
{
    static const char *const names[] = {"cycle limit",  "hang",       "waiting for input",
                                        "triple fault", "reset",      "power off",
                                        "debug exit",   "breakpoint", "stop request"};
    return (unsigned)reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "unknown";
}

enum uv_status uv_machine_run(uv_machine *v, uint64_t until, struct uv_stop *stop)
{
    if (!v || !stop) return UV_E_ARGUMENT;
    /* UINT64_MAX is the cycle of events that never happen. */
    struct machine_exit e = machine_run(v->m, until == UINT64_MAX ? until - 1 : until);
    *stop = (struct uv_stop){stop_reason(e.stop), e.code, e.cpu, e.cycle};
    return UV_OK;
}

enum uv_status uv_machine_step(uv_machine *v, uint32_t cpu, struct uv_stop *stop)
{
    struct cpu *c = v ? machine_cpu(v->m, cpu) : NULL;
    if (!c || !stop) return UV_E_ARGUMENT;
    uint64_t before = c->s.insns;
    for (uint32_t i = 0; i < STEP_CYCLES_MAX && c->s.insns == before; i++) {
        struct machine_exit e = machine_step(v->m);
        *stop = (struct uv_stop){stop_reason(e.stop), e.code, e.cpu, e.cycle};
        if (stop->reason != UV_STOP_CYCLE) return UV_OK;
    }
    return UV_OK;
}

void uv_machine_request_stop(uv_machine *v)
{
    if (v) machine_request_stop(v->m);
}

uint64_t uv_machine_now(const uv_machine *v) { return v ? machine_now(v->m) : 0; }
uint64_t uv_machine_instructions(const uv_machine *v) { return v ? machine_instructions(v->m) : 0; }
uint32_t uv_machine_cpus(const uv_machine *v) { return v ? machine_cpu_count(v->m) : 0; }
uint64_t uv_machine_memory_size(const uv_machine *v)
{
    return v ? machine_memory_low(v->m) + machine_memory_high(v->m) : 0;
}
uint64_t uv_machine_hash(uv_machine *v) { return v ? machine_state_hash(v->m) : 0; }

enum uv_status uv_machine_input(uv_machine *v, uint32_t port, uint64_t cycle, const void *data, size_t size)
{
    if (!v || (!data && size)) return UV_E_ARGUMENT;
    if (!machine_input(v->m, port, cycle, data, size))
        return api_fail(v->message, UV_E_ARGUMENT,
                        "input to serial port %u: no such port, or too much is waiting", port);
    return UV_OK;
}

enum uv_status uv_machine_poll_input(uv_machine *v, int wait_ms, int64_t *taken)
{
    if (!v) return UV_E_ARGUMENT;
    uint8_t data[POLL_BYTES];
    int64_t sum = 0;
    bool more = false;
    for (uint32_t i = 0; i < MACHINE_MAX_SERIAL; i++) {
        if (!v->serial[i] || !chardev_has_input(v->serial[i])) continue;
        chardev_flush(v->serial[i]);
        if (wait_ms > 0) chardev_wait(v->serial[i], wait_ms);
        int n = chardev_poll(v->serial[i], data, sizeof(data));
        if (n >= 0) more = true;
        if (n <= 0) continue;
        enum uv_status s = uv_machine_input(v, i, machine_now(v->m), data, (size_t)n);
        if (s != UV_OK) return s;
        sum += n;
    }
    if (taken) *taken = more ? sum : -1;
    return UV_OK;
}

enum uv_status uv_inject(uv_machine *v, uint32_t cpu, enum uv_injection event, uint8_t vector)
{
    struct cpu *c = v ? machine_cpu(v->m, cpu) : NULL;
    if (!c) return UV_E_ARGUMENT;
    switch (event) {
    case UV_INJECT_NMI: cpu_signal_nmi(c); break;
    case UV_INJECT_SMI: cpu_signal_smi(c); break;
    case UV_INJECT_INIT: cpu_signal_init(c); break;
    case UV_INJECT_SIPI: cpu_signal_sipi(c, vector); break;
    default: return api_fail(v->message, UV_E_ARGUMENT, "unknown injection %d", (int)event);
    }
    return UV_OK;
}
