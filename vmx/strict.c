/* SPDX-License-Identifier: MIT */
/* Warnings about uses of a VMCS that no processor reports, see strict.h. VMCLEAR leaves the data of a VMCS in
 * its region, so what was written stays written until the region is seen no more. SDM 3C 25.11.3
 * "Initializing a VMCS", 28.2 "Recording VM-Exit Information". */
#include "vmx/strict.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/text.h"
#include "vmx/entry_vocabulary.h"

enum { REGIONS = 256, ENCODINGS = 64, REASONS = 128, LISTED = 64 };

struct region {
    uint64_t address;
    uint64_t used; /* order of use, 0: free */
    uint64_t written[VMCS_DIRTY_WORDS];
    bool exited;
};

struct vmx_strict {
    struct region region[REGIONS];
    uint64_t clock;
    uint64_t encoding[ENCODINGS];
    uint32_t encodings;
    uint64_t read[REASONS][VMCS_DIRTY_WORDS]; /* warned already */
    uint64_t read_before_exit[VMCS_DIRTY_WORDS];
};

struct vmx_strict *vmx_strict_create(void) { return calloc(1, sizeof(struct vmx_strict)); }
void vmx_strict_destroy(struct vmx_strict *s) { free(s); }

uint64_t vmx_strict_mask(void)
{
    return UINT64_C(1) << PROBE_VM_ENTRY | UINT64_C(1) << PROBE_VM_ENTRY_FAIL | UINT64_C(1) << PROBE_VM_EXIT |
           UINT64_C(1) << PROBE_VMCS_READ | UINT64_C(1) << PROBE_VMCS_WRITE |
           UINT64_C(1) << PROBE_VMCS_CLEAR | UINT64_C(1) << PROBE_VMCS_FAULT;
}

static bool get(const uint64_t *set, int field) { return set[field / 64] >> (field % 64) & 1; }
static void put(uint64_t *set, int field) { set[field / 64] |= UINT64_C(1) << (field % 64); }

static struct region *find(struct vmx_strict *s, uint64_t address)
{
    for (unsigned i = 0; i < REGIONS; i++)
        if (s->region[i].used && s->region[i].address == address) {
            s->region[i].used = ++s->clock;
            return &s->region[i];
        }
    return NULL;
}

static struct region *add(struct vmx_strict *s, uint64_t address)
{
    struct region *oldest = &s->region[0];
    for (unsigned i = 1; i < REGIONS; i++)
        if (s->region[i].used < oldest->used) oldest = &s->region[i];
    *oldest = (struct region){.address = address, .used = ++s->clock};
    return oldest;
}

/* A VMCS whose VMCLEAR was not seen: what it holds is not known, so nothing is said about it. */
static struct region *current(struct vmx_strict *s, const struct vmx_state *x)
{
    struct region *r = find(s, x->current);
    if (r) return r;
    r = add(s, x->current);
    memset(r->written, 0xff, sizeof r->written);
    r->exited = true;
    return r;
}

/* ---- exit information ---- */

static bool info_is(uint64_t info, unsigned first, unsigned last)
{
    unsigned type = (unsigned)(info >> INFO_TYPE_SHIFT & 7);
    return (info & INFO_VALID) && type >= first && type <= last;
}
static bool soft_exception(const uint64_t *f)
{
    return info_is(f[F_EXIT_INTR_INFO], EVENT_SW_INT + 1, EVENT_SW_EXCEPTION);
}
static bool soft_event(const uint64_t *f)
{
    return info_is(f[F_IDT_VECTORING_INFO], EVENT_SW_INT, EVENT_SW_EXCEPTION);
}
static bool info_error(uint64_t info) { return (info & INFO_VALID) && (info & INFO_ERROR); }

bool vmx_exit_defines(const uint64_t *f, int field)
{
    uint64_t q = f[F_EXIT_QUALIFICATION];
    bool length = false, info = false, linear = false, physical = false;
    switch (f[F_EXIT_REASON] & 0xffff) {
#define EXIT_FIELDS(reason, length_when, info_when, linear_when, physical_when)                 \
    case REASON_##reason:                                                                       \
        length = length_when, info = info_when, linear = linear_when, physical = physical_when; \
        break;
#include "vmx/exit_fields.def"
#undef EXIT_FIELDS
    default: break;
    }
    switch (field) {
    case F_EXIT_INTR_ERROR: return info_error(f[F_EXIT_INTR_INFO]);
    case F_IDT_VECTORING_ERROR: return info_error(f[F_IDT_VECTORING_INFO]);
    case F_EXIT_INSN_LENGTH: return length;
    case F_EXIT_INSN_INFO: return info;
    case F_GUEST_LINEAR_ADDR: return linear;
    case F_GUEST_PHYSICAL_ADDR: return physical;
    case F_IO_RCX:
    case F_IO_RSI:
    case F_IO_RDI:
    case F_IO_RIP: return false; /* exits to the SMM monitor only */
    default: return true;
    }
}

static void warn_read(struct vmx_strict *s, const struct vmx_state *x, int field, struct text *t)
{
    struct region *r = current(s, x);
    const struct vmcs_field_info *info = &vmcs_fields[field];
    uint32_t reason = (uint32_t)x->vmcs.f[F_EXIT_REASON], basic = reason & 0xffff;
    if (info->class != RODATA || field == F_INSN_ERROR || get(r->written, field)) return;
    if (!r->exited) {
        if (get(s->read_before_exit, field)) return;
        put(s->read_before_exit, field);
        text_put(t, "VMREAD of %s (%04xh) before any VM exit of this VMCS: undefined", info->name,
                 info->encoding);
        return;
    }
    if (basic >= REASONS || vmx_exit_defines(x->vmcs.f, field) || get(s->read[basic], field)) return;
    put(s->read[basic], field);
    text_put(t, "VMREAD of %s (%04xh): undefined after exit reason %u (%s)", info->name, info->encoding,
             basic, vmx_exit_reason_name(reason));
}

/* ---- fields never written ---- */

static void add_unwritten(struct region *r, int field, bool used, unsigned *n, struct text *t)
{
    if (!used || get(r->written, field)) return;
    put(r->written, field); /* said once */
    if (++*n <= LISTED) text_put(t, "%s%s", *n > 1 ? ", " : "", vmcs_fields[field].name);
}

static void warn_entry(struct vmx_strict *s, struct cpu *c, struct text *t)
{
    struct vmx_state *x = vmx_of(c);
    struct region *r = current(s, x);
    struct vmx_check check, *k = &check;
    char names[2048];
    struct text list = {names, sizeof names, 0};
    unsigned n = 0;
    names[0] = 0;
    vmx_check_init(k, &x->cap, x->vmcs.f);
#define USES(field, when) add_unwritten(r, F_##field, when, &n, &list);
#include "vmx/entry_uses.def"
#undef USES
    if (n == 0) return;
    text_put(t, "VM entry uses %u field%s of the VMCS at %" PRIx64 "h never written since VMCLEAR: %s%s", n,
             n == 1 ? "" : "s", x->current, names, n > LISTED ? ", ..." : "");
}

/* ---- accesses that fail ---- */

static void warn_fault(struct vmx_strict *s, uint64_t encoding, uint64_t b, struct text *t)
{
    bool write = b >> 32 & 1;
    uint64_t key = encoding << 1 | write;
    int field = vmcs_lookup(encoding);
    for (uint32_t i = 0; i < s->encodings; i++)
        if (s->encoding[i] == key) return;
    if (s->encodings == ENCODINGS) return;
    s->encoding[s->encodings++] = key;
    text_put(t, "%s %s field %04" PRIx64 "h (%s)", write ? "VMWRITE to" : "VMREAD of",
             (uint32_t)b == VMXERR_READ_ONLY_FIELD ? "read-only" : "unsupported", encoding,
             field >= 0 ? vmcs_fields[field].name : "no such field");
}

static void exited(struct vmx_strict *s, const struct vmx_state *x)
{
    struct region *r = current(s, x);
    r->exited = true;
    for (int field = 0; field < F_COUNT; field++) {
        uint64_t bit = UINT64_C(1) << (field % 64);
        if (vmcs_fields[field].class == RODATA)
            r->written[field / 64] &= ~bit; /* what software wrote is gone */
        if (vmcs_fields[field].class == GUEST) r->written[field / 64] |= bit;
    }
}

size_t vmx_strict_event(struct vmx_strict *s, struct cpu *c, enum probe_point point, uint64_t a, uint64_t b,
                        char *text, size_t size)
{
    struct text t = {text, size, 0};
    struct vmx_state *x = c ? vmx_of(c) : NULL;
    if (size) text[0] = 0;
    if (!x) return 0;
    int field = vmcs_lookup(a);
    bool shadowed = x->mode == VMX_NONROOT; /* VMREAD and VMWRITE of a guest go to another VMCS */
    switch (point) {
    case PROBE_VMCS_CLEAR:
        if (!find(s, a)) add(s, a);
        break;
    case PROBE_VMCS_READ:
        if (field >= 0 && !shadowed) warn_read(s, x, field, &t);
        break;
    case PROBE_VMCS_WRITE:
        if (field >= 0 && !shadowed) put(current(s, x)->written, field);
        break;
    case PROBE_VMCS_FAULT: warn_fault(s, a, b, &t); break;
    case PROBE_VM_EXIT: exited(s, x); break;
    case PROBE_VM_ENTRY_FAIL:
        if (a & REASON_ENTRY_FAILURE) current(s, x)->exited = true;
        warn_entry(s, c, &t);
        break;
    case PROBE_VM_ENTRY: warn_entry(s, c, &t); break;
    default: break;
    }
    return t.length;
}
