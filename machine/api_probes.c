/* SPDX-License-Identifier: MIT */
/* Subscriptions to the probe bus, events in words, and statistics, which are one more subscriber. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/event.h"
#include "machine/api.h"

enum { NAME_MAX_LENGTH = 64 };

static const struct {
    const char *name, *category, *text;
} points[PROBE_COUNT] = {
#define PROBE_POINT(name, category, what) {#name, #category, what},
#include "cpu/probe.def"
#undef PROBE_POINT
};

const char *uv_probe_name(uint32_t point) { return point < PROBE_COUNT ? points[point].name : NULL; }

static bool same_word(const char *a, size_t n, const char *b)
{
    if (strlen(b) != n) return false;
    for (size_t i = 0; i < n; i++) {
        char x = a[i] >= 'A' && a[i] <= 'Z' ? (char)(a[i] | 0x20) : a[i];
        char y = b[i] >= 'A' && b[i] <= 'Z' ? (char)(b[i] | 0x20) : b[i];
        if (x != y) return false;
    }
    return true;
}

enum uv_status uv_probe_mask(const char *names, uint64_t *mask, char *message, size_t size)
{
    if (!names || !mask) return UV_E_ARGUMENT;
    uint64_t sum = 0;
    for (const char *p = names;; p++) {
        size_t n = strcspn(p, ",");
        uint64_t found = 0;
        for (uint32_t i = 0; i < PROBE_COUNT; i++)
            if (same_word(p, n, "all") || same_word(p, n, points[i].category) ||
                same_word(p, n, points[i].name))
                found |= UINT64_C(1) << i;
        if (!found) {
            const char *candidates[2 * PROBE_COUNT];
            char word[NAME_MAX_LENGTH];
            snprintf(word, sizeof(word), "%.*s", (int)n, p);
            for (uint32_t i = 0; i < PROBE_COUNT; i++) {
                candidates[2 * i] = points[i].category;
                candidates[2 * i + 1] = points[i].name;
            }
            const char *near = uv_nearest(word, candidates, 2 * PROBE_COUNT);
            if (message)
                snprintf(message, size, "unknown trace category '%s'%s%s%s", word,
                         near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
            return UV_E_NAME;
        }
        sum |= found;
        p += n;
        if (*p == 0) break;
    }
    *mask = sum;
    return UV_OK;
}

static void forward(void *opaque, struct cpu *c, enum probe_point point, uint64_t a, uint64_t b)
{
    struct api_subscription *s = opaque;
    struct uv_event e = {.point = point, .cpu = -1, .a = a, .b = b, .cycle = machine_now(s->machine->m)};
    if (c) {
        bool wide = in_64bit(c);
        e.cpu = c->id;
        e.cycle = cpu_now(c);
        e.rip = point == PROBE_INSN ? a : c->s.gpr[REG_RIP];
        e.linear_rip = wide ? e.rip : (uint32_t)(c->s.seg[SEG_CS].base + e.rip);
        e.in_guest = c->s.in_guest;
        e.code_mode = wide ? UV_CODE_64 : c->s.seg[SEG_CS].ar & AR_DB ? UV_CODE_32 : UV_CODE_16;
    }
    s->fn(s->opaque, s->machine, &e);
}

/* The point before each instruction is reached only by processors that look out for it. */
static void mask_changed(uv_machine *v)
{
    for (uint32_t i = 0; i < machine_cpu_count(v->m); i++)
        cpu_update_attention(machine_cpu(v->m, i));
}

enum uv_status uv_subscribe(uv_machine *v, uint64_t mask, uv_event_fn *fn, void *opaque)
{
    if (!v || !fn) return UV_E_ARGUMENT;
    for (uint32_t i = 0; i < API_SUBSCRIBERS; i++) {
        struct api_subscription *s = &v->subscription[i];
        if (s->fn) continue;
        *s = (struct api_subscription){v, fn, opaque};
        if (probe_subscribe(machine_probes(v->m), forward, s, mask)) {
            mask_changed(v);
            return UV_OK;
        }
        s->fn = NULL;
        break;
    }
    return api_fail(v->message, UV_E_VALUE, "more than %d subscriptions", API_SUBSCRIBERS);
}

enum uv_status uv_unsubscribe(uv_machine *v, uv_event_fn *fn, void *opaque)
{
    if (!v || !fn) return UV_E_ARGUMENT;
    for (uint32_t i = 0; i < API_SUBSCRIBERS; i++) {
        struct api_subscription *s = &v->subscription[i];
        if (s->fn != fn || s->opaque != opaque) continue;
        probe_unsubscribe(machine_probes(v->m), forward, s);
        s->fn = NULL;
        mask_changed(v);
        return UV_OK;
    }
    return UV_E_ARGUMENT;
}

/* ---- Words ---- */

static const char *exception_name(uint64_t vector)
{
    static const char *const names[] = {"#DE", "#DB",  "NMI", "#BP", "#OF", "#BR", "#UD", "#NM",
                                        "#DF", "#CSO", "#TS", "#NP", "#SS", "#GP", "#PF", NULL,
                                        "#MF", "#AC",  "#MC", "#XM", "#VE", "#CP"};
    return vector < sizeof(names) / sizeof(names[0]) ? names[vector] : NULL;
}

static int event_words(const char *what, uint64_t a, uint64_t b, char *text, size_t size)
{
    static const char *const types[] = {"external interrupt", "",      "NMI", "exception", "INT n", "INT1",
                                        "software exception", "type 7"};
    unsigned vector = (unsigned)(a & 0xff), type = (unsigned)(a >> 8 & 7);
    const char *name = type == EVENT_EXTINT || type == EVENT_SW_INT ? NULL : exception_name(vector);
    return snprintf(text, size, "%s: %s%s%s vector %u error 0x%" PRIx64, what, types[type], name ? " " : "",
                    name ? name : "", vector, b);
}

int uv_event_text(const uv_machine *v, const struct uv_event *e, char *text, size_t size)
{
    char reason[NAME_MAX_LENGTH];
    const struct cpu *c = v ? machine_cpu(v->m, 0) : NULL;
    if (!e || e->point >= PROBE_COUNT) return snprintf(text, size, "?");
    switch ((enum probe_point)e->point) {
    case PROBE_VM_ENTRY: return snprintf(text, size, "VM entry: control structure 0x%" PRIx64, e->b);
    case PROBE_VM_EXIT:
        return snprintf(text, size, "VM exit: %s, qualification 0x%" PRIx64,
                        api_exit_name(c, (uint32_t)e->a, reason, sizeof(reason)), e->b);
    case PROBE_VM_ENTRY_FAIL:
        return snprintf(text, size, "VM entry failed: 0x%" PRIx64 ", qualification 0x%" PRIx64, e->a, e->b);
    case PROBE_EVENT_RECOGNISED: return event_words("recognised", e->a, e->b, text, size);
    case PROBE_EVENT_INJECTED: return event_words("injected", e->a, e->b, text, size);
    case PROBE_EVENT_DELIVERED: return event_words("delivered", e->a, e->b, text, size);
    case PROBE_EVENT_LOST: return event_words("lost", e->a, e->b, text, size);
    case PROBE_EXCEPTION: {
        const char *name = exception_name(e->a);
        return snprintf(text, size, "exception %s vector %u error 0x%" PRIx64, name ? name : "",
                        (unsigned)e->a, e->b);
    }
    case PROBE_PORT_READ:
    case PROBE_PORT_WRITE:
        return snprintf(text, size, "%s port 0x%x size %u value 0x%" PRIx64,
                        e->point == PROBE_PORT_READ ? "read" : "write", (unsigned)(e->a & 0xffff),
                        (unsigned)(e->a >> 16), e->b);
    default: return snprintf(text, size, "%s 0x%" PRIx64 " 0x%" PRIx64, points[e->point].name, e->a, e->b);
    }
}

/* ---- Statistics ---- */

static void count_exit(struct api_stats *st, struct cpu *c, uint32_t reason)
{
    uint32_t r = 0;
    while (r < st->rows && st->row[r].reason != reason)
        r++;
    if (r == st->rows) {
        if (st->rows == API_EXIT_ROWS) return;
        st->row[st->rows++] = (struct api_exit_row){.reason = reason};
    }
    st->row[r].count++;
    st->cpu[c->id].row = r;
    st->cpu[c->id].exit_cycle = cpu_now(c);
}

static void count(void *opaque, struct cpu *c, enum probe_point point, uint64_t a, uint64_t b)
{
    struct api_stats *st = opaque;
    (void)b;
    if (!c || c->id >= MACHINE_MAX_CPUS) return;
    uint64_t now = cpu_now(c);
    switch (point) {
    case PROBE_VM_ENTRY:
        st->total.entries++;
        if (st->cpu[c->id].row < st->rows)
            st->row[st->cpu[c->id].row].cycles += now - st->cpu[c->id].exit_cycle;
        st->cpu[c->id].row = API_EXIT_ROWS;
        st->cpu[c->id].entry_cycle = now;
        st->cpu[c->id].entry_insns = c->s.insns;
        st->cpu[c->id].in_guest = true;
        break;
    case PROBE_VM_ENTRY_FAIL: st->total.failed_entries++; break;
    case PROBE_VM_EXIT:
        st->total.exits++;
        if (st->cpu[c->id].in_guest) {
            st->total.guest_cycles += now - st->cpu[c->id].entry_cycle;
            st->total.guest_instructions += c->s.insns - st->cpu[c->id].entry_insns;
        }
        st->cpu[c->id].in_guest = false;
        count_exit(st, c, (uint32_t)a);
        break;
    case PROBE_EVENT_DELIVERED:
        st->total.events_delivered++;
        if ((a >> 8 & 7) == EVENT_EXTINT) st->total.interrupts++;
        break;
    case PROBE_EVENT_INJECTED: st->total.events_injected++; break;
    case PROBE_EXCEPTION: st->total.exceptions++; break;
    default: break;
    }
}

enum uv_status uv_stats_enable(uv_machine *v)
{
    if (!v) return UV_E_ARGUMENT;
    if (v->stats.enabled) return UV_OK;
    for (uint32_t i = 0; i < MACHINE_MAX_CPUS; i++)
        v->stats.cpu[i].row = API_EXIT_ROWS;
    static const uint64_t mask = UINT64_C(1) << PROBE_VM_ENTRY | UINT64_C(1) << PROBE_VM_ENTRY_FAIL |
                                 UINT64_C(1) << PROBE_VM_EXIT | UINT64_C(1) << PROBE_EVENT_DELIVERED |
                                 UINT64_C(1) << PROBE_EVENT_INJECTED | UINT64_C(1) << PROBE_EXCEPTION;
    v->stats.enabled = probe_subscribe(machine_probes(v->m), count, &v->stats, mask);
    return v->stats.enabled ? UV_OK
                            : api_fail(v->message, UV_E_VALUE, "no probe subscription left for statistics");
}

enum uv_status uv_stats_read(const uv_machine *v, struct uv_stats *stats)
{
    if (!v || !stats || stats->struct_size < sizeof(size_t)) return UV_E_ARGUMENT;
    struct uv_stats s = v->stats.total;
    size_t n = stats->struct_size < sizeof(s) ? stats->struct_size : sizeof(s);
    s.struct_size = stats->struct_size;
    s.cycles = machine_now(v->m);
    s.instructions = machine_instructions(v->m);
    memcpy(stats, &s, n);
    return UV_OK;
}

/* Rank by count, then by first occurrence: the row that exactly `index` rows come before. */
enum uv_status uv_stats_exit(const uv_machine *v, uint32_t index, struct uv_exit_stat *out)
{
    if (!v || !out) return UV_E_ARGUMENT;
    const struct api_stats *st = &v->stats;
    for (uint32_t i = 0; i < st->rows; i++) {
        uint32_t before = 0;
        for (uint32_t j = 0; j < st->rows; j++)
            before += st->row[j].count > st->row[i].count || (st->row[j].count == st->row[i].count && j < i);
        if (before != index) continue;
        *out = (struct uv_exit_stat){.reason = st->row[i].reason,
                                     .name = uv_exit_reason_name(v, st->row[i].reason),
                                     .count = st->row[i].count,
                                     .cycles = st->row[i].cycles};
        return UV_OK;
    }
    return UV_E_RANGE;
}
