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
#include "svm/dump.h"
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

struct dump_vmcs {
    struct vmx_dump dump;
    struct vmx_cap cap;
    struct vmx_check check;
};
struct dump_vmcb {
    struct svm_dump dump;
    struct svm_cap cap;
    struct svm_check check;
};

struct uv_dump {
    bool vmcb;
    union {
        struct dump_vmcs vmx;
        struct dump_vmcb svm;
    };
    char processor[API_SPEC];
};

/* The capabilities of a model, with the extension that it may have been given without. */
static enum uv_status set_processor(uv_dump *d, const char *cpu, char *message, size_t size)
{
    const struct cpu_model *model = NULL;
    uint64_t features[FEATURE_WORDS] = {0};
    if (!cpu || !cpu[0]) {
        snprintf(d->processor, sizeof(d->processor), "any");
        if (d->vmcb) return svm_cap_any(&d->svm.cap) ? UV_OK : UV_E_MEMORY;
        vmx_cap_any(&d->vmx.cap);
        return UV_OK;
    }
    if (!cpu_model_parse(cpu, &model, features, message, size)) return UV_E_NAME;
    if (model->vendor != (d->vmcb ? VENDOR_AMD : VENDOR_INTEL)) {
        snprintf(message, size, "CPU model '%s' has no %s", model->name, d->vmcb ? "SVM" : "VMX");
        return UV_E_NAME;
    }
    snprintf(d->processor, sizeof(d->processor), "%s", cpu);
    if (d->vmcb) {
        features[FEAT_SVM / 64] |= UINT64_C(1) << (FEAT_SVM % 64);
        return svm_cap_model(&d->svm.cap, features, model->phys_bits) ? UV_OK : UV_E_MEMORY;
    }
    bool la57 = features[FEAT_LA57 / 64] >> (FEAT_LA57 % 64) & 1;
    vmx_cap_init(&d->vmx.cap, model->name, features, model->phys_bits, la57 ? 57 : 48);
    return UV_OK;
}

static bool parse_dump(uv_dump *d, const char *data, size_t size, uint32_t number, char *message,
                       size_t message_size)
{
    if (d->vmcb) {
        if (!svm_dump_parse(data, size, number, &d->svm.dump, message, message_size)) return false;
        svm_check_init(&d->svm.check, &d->svm.cap, d->svm.dump.f);
        d->svm.check.host_paging = d->svm.dump.host_paging;
        return true;
    }
    if (!vmx_dump_parse(data, size, number, &d->vmx.dump, message, message_size)) return false;
    vmx_check_init(&d->vmx.check, &d->vmx.cap, d->vmx.dump.f);
    return true;
}

static uint32_t structures(const uv_dump *d)
{
    return d->vmcb ? d->svm.dump.structures : d->vmx.dump.structures;
}

enum uv_status uv_dump_create(const char *kind, const char *cpu, uint32_t number, const void *data,
                              size_t size, uv_dump **dump, char *message, size_t message_size)
{
    static const char *const kinds[] = {"vmcs", "vmcb"};
    char none[1];
    if (!message || !message_size) message = none, message_size = sizeof(none);
    message[0] = 0;
    if (!kind || !dump || (!data && size)) return UV_E_ARGUMENT;
    *dump = NULL;
    bool vmcb = strcmp(kind, "vmcb") == 0;
    if (!vmcb && strcmp(kind, "vmcs") != 0) {
        const char *near = uv_nearest(kind, kinds, 2);
        snprintf(message, message_size, "unknown kind '%s' of control structure%s%s%s", kind,
                 near ? ", did you mean '" : "; expected vmcs or vmcb", near ? near : "", near ? "'?" : "");
        return UV_E_NAME;
    }
    uv_dump *d = calloc(1, sizeof(*d));
    if (!d) return UV_E_MEMORY;
    d->vmcb = vmcb;
    enum uv_status s = set_processor(d, cpu, message, message_size);
    if (s == UV_OK && !parse_dump(d, data, size, number, message, message_size))
        s = structures(d) && number >= structures(d) ? UV_E_RANGE : UV_E_IMAGE;
    if (s != UV_OK) {
        free(d);
        return s;
    }
    *dump = d;
    return UV_OK;
}

void uv_dump_destroy(uv_dump *d) { free(d); }

static struct vmx_report vmx_report(const uv_dump *d)
{
    return (struct vmx_report){.k = &d->vmx.check,
                               .known = d->vmx.dump.known,
                               .source = vmx_dump_format_name(&d->vmx.dump),
                               .processor = d->processor,
                               .has_code = d->vmx.dump.has_code,
                               .code = d->vmx.dump.code,
                               .qualification = d->vmx.dump.f[F_EXIT_QUALIFICATION]};
}

static struct svm_report svm_report(const uv_dump *d)
{
    return (struct svm_report){.k = &d->svm.check,
                               .have = d->svm.dump.have,
                               .source = svm_dump_format_name(&d->svm.dump),
                               .processor = d->processor};
}

static uint32_t count(const uv_dump *d, bool broken)
{
    if (d->vmcb) {
        struct svm_report r = svm_report(d);
        return svm_report_count(&r, broken ? SVM_BROKEN : SVM_UNKNOWN);
    }
    struct vmx_report r = vmx_report(d);
    return vmx_report_count(&r, broken ? VERDICT_BROKEN : VERDICT_UNKNOWN);
}

uint32_t uv_dump_count(const uv_dump *d, enum uv_dump_count what)
{
    if (!d) return 0;
    switch (what) {
    case UV_DUMP_BROKEN: return count(d, true);
    case UV_DUMP_UNJUDGED: return count(d, false);
    case UV_DUMP_FIELDS: return d->vmcb ? d->svm.dump.fields : d->vmx.dump.fields;
    case UV_DUMP_STRUCTURES: return structures(d);
    }
    return 0;
}

size_t uv_dump_report(const uv_dump *d, int json, char *text, size_t size)
{
    if (text && size) text[0] = 0;
    if (!d) return 0;
    if (d->vmcb) {
        struct svm_report r = svm_report(d);
        return json ? svm_report_json(&r, text, size) : svm_report_text(&r, text, size);
    }
    struct vmx_report r = vmx_report(d);
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
