/* SPDX-License-Identifier: MIT */
/* Warnings about a VMCB, see strict.h. APM 2 15.15 "VMCB State Caching", 15.16 "TLB Control". */
#include "svm/strict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ASIDS = 256, GIVEN = 256 };

struct svm_strict {
    struct {
        uint64_t vmcb;
        uint32_t asid; /* 0: free */
        int cpu;
    } user[ASIDS];
    uint64_t given[GIVEN]; /* VMCB address | what was warned of */
    unsigned users, warnings;
};

struct svm_strict *svm_strict_create(void) { return calloc(1, sizeof(struct svm_strict)); }
void svm_strict_destroy(struct svm_strict *s) { free(s); }
uint64_t svm_strict_mask(void) { return UINT64_C(1) << PROBE_VM_ENTRY | UINT64_C(1) << PROBE_VM_ENTRY_FAIL; }

static bool first_time(struct svm_strict *s, uint64_t key)
{
    for (unsigned i = 0; i < s->warnings; i++)
        if (s->given[i] == key) return false;
    if (s->warnings == GIVEN) return false;
    s->given[s->warnings++] = key;
    return true;
}

/* The processor has its copy in x->f: a field that memory holds otherwise was kept by its clean bit. */
static size_t stale_field(struct svm_strict *s, struct cpu *c, char *text, size_t size)
{
    static const char *const groups[] = {"I",  "IOPM", "ASID", "TPR", "NP",   "CRx", "DRx",
                                         "DT", "SEG",  "CR2",  "LBR", "AVIC", "CET"};
    const struct svm_state *x = svm_of(c);
    uint8_t buf[VMCB_SIZE];
    const uint8_t *page = vmcb_open(c, x->vmcb, buf, false);
    for (unsigned i = 0; i < VMCB_FIELDS; i++) {
        const struct vmcb_field_info *f = &vmcb_fields[i];
        uint64_t now = vmcb_get(page + f->offset, f->bytes);
        if (f->group == CLEAN_NEVER || now == x->f[i] || !first_time(s, x->vmcb | i)) continue;
        int n =
            snprintf(text, size,
                     "VMRUN of the VMCB at %" PRIx64 "h: clean bit %u (%s) is set but %s (%03xh) has changed "
                     "from %" PRIx64 "h to %" PRIx64 "h",
                     x->vmcb, f->group, groups[f->group], f->name, f->offset, x->f[i], now);
        return n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static size_t reused_asid(struct svm_strict *s, struct cpu *c, char *text, size_t size)
{
    const struct svm_state *x = svm_of(c);
    uint32_t asid = (uint32_t)x->f[VMCB_ASID];
    uint8_t control = (uint8_t)x->f[VMCB_TLB_CONTROL];
    unsigned i, n = 0;
    if (control == TLB_FLUSH_ALL) {
        for (i = 0; i < s->users; i++)
            if (s->user[i].cpu != c->id) s->user[n++] = s->user[i];
        s->users = n;
    }
    for (i = 0; i < s->users; i++)
        if (s->user[i].asid == asid && s->user[i].cpu == c->id) break;
    bool known = i < s->users;
    uint64_t before = known ? s->user[i].vmcb : x->vmcb;
    if (!known) {
        if (s->users == ASIDS) return 0;
        s->users++;
    }
    s->user[i].asid = asid;
    s->user[i].cpu = c->id;
    s->user[i].vmcb = x->vmcb;
    if (before == x->vmcb || control == TLB_FLUSH_ASID || control == TLB_FLUSH_ASID_LOCAL) return 0;
    if (!first_time(s, x->vmcb | 0x800 | (asid & 0x7ff))) return 0;
    int length = snprintf(text, size,
                          "VMRUN of the VMCB at %" PRIx64 "h takes ASID %u from the VMCB at %" PRIx64
                          "h without a flush of its translations",
                          x->vmcb, asid, before);
    return length > 0 ? (size_t)length : 0;
}

size_t svm_strict_event(struct svm_strict *s, struct cpu *c, enum probe_point point, char *text, size_t size)
{
    if (size) text[0] = 0;
    size_t n = stale_field(s, c, text, size);
    return n || point != PROBE_VM_ENTRY ? n : reused_asid(s, c, text, size);
}
