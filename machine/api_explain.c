/* SPDX-License-Identifier: MIT */
/* Explanations of failed VM entries: of the machine's own, and of control structures that were printed by a
 * hypervisor elsewhere. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/insn.h"
#include "machine/api.h"
#include "machine/machine_extension.h"
#include "svm/strict.h"
#include "vmx/dump.h"
#include "vmx/strict.h"

size_t uv_explain_entry(uv_machine *v, const struct uv_event *e, uint32_t index, int json, char *text,
                        size_t size)
{
    if (text && size) text[0] = 0;
    if (!v || !e || e->point != PROBE_VM_ENTRY_FAIL || e->cpu < 0) return 0;
    struct cpu *c = machine_cpu(v->m, (uint32_t)e->cpu);
    return c ? machine_explain_entry(c, e->a, index, json != 0, text, size) : 0;
}

size_t uv_explain_report(uv_machine *v, const struct uv_event *e, int json, char *text, size_t size)
{
    char where[96];
    if (text && size) text[0] = 0;
    if (!v || !e || e->point != PROBE_VM_ENTRY_FAIL || e->cpu < 0) return 0;
    struct cpu *c = machine_cpu(v->m, (uint32_t)e->cpu);
    snprintf(where, sizeof(where), "cpu%d, cycle %" PRIu64 ", RIP %" PRIx64 "h", e->cpu, e->cycle, e->rip);
    return c ? machine_explain_report(c, e->a, e->b, where, json != 0, text, size) : 0;
}

struct uv_dump {
    struct vmx_dump dump;
    struct vmx_cap cap;
    struct vmx_check check;
    char processor[API_SPEC];
};

/* The capabilities of a model, with the extension that it may have been given without. */
static enum uv_status set_processor(uv_dump *d, const char *cpu, char *message, size_t size)
{
    const struct cpu_model *model = NULL;
    uint64_t features[FEATURE_WORDS] = {0};
    if (!cpu || !cpu[0]) {
        vmx_cap_any(&d->cap);
        snprintf(d->processor, sizeof(d->processor), "any");
        return UV_OK;
    }
    if (!cpu_model_parse(cpu, &model, features, message, size)) return UV_E_NAME;
    if (model->vendor != VENDOR_INTEL) {
        snprintf(message, size, "CPU model '%s' has no VMX", model->name);
        return UV_E_NAME;
    }
    bool la57 = features[FEAT_LA57 / 64] >> (FEAT_LA57 % 64) & 1;
    vmx_cap_init(&d->cap, model->name, features, model->phys_bits, la57 ? 57 : 48);
    snprintf(d->processor, sizeof(d->processor), "%s", cpu);
    return UV_OK;
}

enum uv_status uv_dump_create(const char *kind, const char *cpu, uint32_t number, const void *data,
                              size_t size, uv_dump **dump, char *message, size_t message_size)
{
    static const char *const kinds[] = {"vmcs"};
    char none[1];
    if (!message || !message_size) message = none, message_size = sizeof(none);
    message[0] = 0;
    if (!kind || !dump || (!data && size)) return UV_E_ARGUMENT;
    *dump = NULL;
    if (strcmp(kind, "vmcs") != 0) {
        const char *near = uv_nearest(kind, kinds, 1);
        snprintf(message, message_size, "unknown kind '%s' of control structure%s", kind,
                 near ? ", did you mean 'vmcs'?" : "; expected vmcs");
        return UV_E_NAME;
    }
    uv_dump *d = calloc(1, sizeof(*d));
    if (!d) return UV_E_MEMORY;
    enum uv_status s = set_processor(d, cpu, message, message_size);
    if (s == UV_OK && !vmx_dump_parse(data, size, number, &d->dump, message, message_size))
        s = d->dump.structures && number >= d->dump.structures ? UV_E_RANGE : UV_E_IMAGE;
    if (s != UV_OK) {
        free(d);
        return s;
    }
    vmx_check_init(&d->check, &d->cap, d->dump.f);
    *dump = d;
    return UV_OK;
}

void uv_dump_destroy(uv_dump *d) { free(d); }

static struct vmx_report report(const uv_dump *d)
{
    return (struct vmx_report){.k = &d->check,
                               .known = d->dump.known,
                               .source = vmx_dump_format_name(&d->dump),
                               .processor = d->processor,
                               .has_code = d->dump.has_code,
                               .code = d->dump.code,
                               .qualification = d->dump.f[F_EXIT_QUALIFICATION]};
}

uint32_t uv_dump_count(const uv_dump *d, enum uv_dump_count what)
{
    if (!d) return 0;
    struct vmx_report r = report(d);
    switch (what) {
    case UV_DUMP_BROKEN: return vmx_report_count(&r, VERDICT_BROKEN);
    case UV_DUMP_UNJUDGED: return vmx_report_count(&r, VERDICT_UNKNOWN);
    case UV_DUMP_FIELDS: return d->dump.fields;
    case UV_DUMP_STRUCTURES: return d->dump.structures;
    }
    return 0;
}

size_t uv_dump_report(const uv_dump *d, int json, char *text, size_t size)
{
    if (text && size) text[0] = 0;
    if (!d) return 0;
    struct vmx_report r = report(d);
    return json ? vmx_report_json(&r, text, size) : vmx_report_text(&r, text, size);
}

static void watch(void *opaque, uv_machine *v, const struct uv_event *e)
{
    char text[2560];
    struct cpu *c = e->cpu >= 0 ? machine_cpu(v->m, (uint32_t)e->cpu) : NULL;
    enum probe_point point = (enum probe_point)e->point;
    size_t n = 0;
    (void)opaque;
    if (c && c->ext == &vmx_ext) n = vmx_strict_event(v->strict, c, point, e->a, e->b, text, sizeof(text));
    if (c && c->ext == &svm_ext && (svm_strict_mask() >> point & 1))
        n = svm_strict_event(v->strict_svm, c, point, text, sizeof(text));
    if (n) v->warning(v->warning_opaque, v, e, text);
}

static void drop_strict(uv_machine *v)
{
    vmx_strict_destroy(v->strict);
    svm_strict_destroy(v->strict_svm);
    v->strict = NULL;
    v->strict_svm = NULL;
}

enum uv_status uv_strict(uv_machine *v, uv_warning_fn *fn, void *opaque)
{
    if (!v) return UV_E_ARGUMENT;
    if (v->strict) {
        uv_unsubscribe(v, watch, NULL);
        drop_strict(v);
    }
    if (!fn) return UV_OK;
    v->strict = vmx_strict_create();
    v->strict_svm = svm_strict_create();
    if (!v->strict || !v->strict_svm) {
        drop_strict(v);
        return api_fail(v->message, UV_E_MEMORY, "host memory exhausted");
    }
    v->warning = fn;
    v->warning_opaque = opaque;
    enum uv_status s = uv_subscribe(v, vmx_strict_mask() | svm_strict_mask(), watch, NULL);
    if (s != UV_OK) drop_strict(v);
    return s;
}
