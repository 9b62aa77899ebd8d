/* SPDX-License-Identifier: MIT */
/* The vocabulary of vmrun_checks.def and the walk over its rows. APM 2 15.5.1. */
#include "svm/vmrun_checks.h"

#include <string.h>

#include "cpu/mem.h"

#define V(name) (k->f[VMCB_##name])
#define BIT(value, bit) (((value) & (bit)) != 0)
#define INTERCEPTED(name) svm_intercepts(k->f, SVM_EXIT_##name)
#define FEATURE(name) svm_cap_has(k->cap, FEAT_##name)

static bool width_ok(const struct svm_check *k, uint64_t address) { return svm_width_ok(k->cap, address); }

/* The last byte of a permission map at base, low 12 bits ignored, is below the limit. */
static bool map_ok(const struct svm_check *k, uint64_t base, uint64_t size)
{
    uint64_t end = (base & ~UINT64_C(0xfff)) + size;
    return end > base && (k->cap->phys_bits >= 64 || end < UINT64_C(1) << k->cap->phys_bits);
}

static bool pat_ok(uint64_t pat)
{
    for (int i = 0; i < 8; i++) {
        uint8_t type = (uint8_t)(pat >> (8 * i));
        if (type > 7 || type == 2 || type == 3) return false;
    }
    return true;
}

static bool long_active(const struct svm_check *k) { return BIT(V(EFER), EFER_LME) && BIT(V(CR0), CR0_PG); }
static bool code64(const struct svm_check *k) { return long_active(k) && BIT(V(CS_ATTRIB), ATTR_L); }

/* A processor without nested paging ignores the bit. */
static bool nested(const struct svm_check *k) { return FEATURE(NPT) && BIT(V(NESTED_CONTROL), NESTED_NP); }

static bool inj(const struct svm_check *k) { return BIT(V(EVENTINJ), INJ_VALID); }
static unsigned inj_type(const struct svm_check *k) { return (unsigned)(V(EVENTINJ) >> INJ_TYPE_SHIFT & 7); }
static unsigned inj_vector(const struct svm_check *k) { return (unsigned)(V(EVENTINJ) & INJ_VECTOR); }

bool svm_check_guest_pae(const uint64_t *f)
{
    return BIT(f[VMCB_CR0], CR0_PG) && BIT(f[VMCB_CR4], CR4_PAE) && !BIT(f[VMCB_EFER], EFER_LME);
}
static bool guest_pae(const struct svm_check *k) { return svm_check_guest_pae(k->f); }

static bool pdptes_ok(const struct svm_check *k)
{
    if (k->read == NULL) return true;
    uint64_t high = k->cap->phys_bits >= 64 ? 0 : ~((UINT64_C(1) << k->cap->phys_bits) - 1);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t e = k->read(k->opaque, (V(CR3) & 0xffffffe0) + 8 * i, 8);
        if ((e & 1) && (e & (0x1e6 | high))) return false;
    }
    return true;
}

#define CHECK(id, section, predicate, reads, cure, rule) \
    static bool holds_##id(const struct svm_check *k) { return predicate; }
#include "svm/vmrun_checks.def"
#undef CHECK

/* --- Nearest values: fewest changed bits --- */

static uint64_t width_mask(const struct svm_check *k)
{
    return k->cap->phys_bits >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << k->cap->phys_bits) - 1;
}

static uint64_t nearest_type(uint64_t info)
{
    static const uint8_t type[8] = {0, 0, 2, 3, 4, 4, 2, 3};
    unsigned t = (unsigned)(info >> INJ_TYPE_SHIFT & 7);
    return (info & ~UINT64_C(0x700)) | (uint64_t)type[t] << INJ_TYPE_SHIFT;
}

static uint64_t nearest_vector(uint64_t info)
{
    info &= ~UINT64_C(0xe0);
    return (info & INJ_VECTOR) == 2 ? info | 1 : info;
}

static uint64_t nearest_pat(uint64_t pat)
{
    static const uint8_t type[8] = {0, 1, 6, 7, 4, 5, 6, 7};
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v |= (uint64_t)type[pat >> (8 * i) & 7] << (8 * i);
    return v;
}

#define CURE(field, value) value
#define CHECK(id, section, predicate, reads, cure, rule) \
    static uint64_t cure_##id(const struct svm_check *k __attribute__((unused))) { return cure; }
#include "svm/vmrun_checks.def"
#undef CHECK
#undef CURE

#define CURE(field, value) VMCB_##field
#define READS(...) \
    sizeof((const uint8_t[]){__VA_ARGS__}), { __VA_ARGS__ }
const struct svm_check_row svm_check_rows[SVMCHECK_COUNT] = {
#define CHECK(id, section, predicate, reads, cure, rule) \
    {#id, section, rule, holds_##id, cure_##id, cure, reads},
#include "svm/vmrun_checks.def"
#undef CHECK
};

const struct svm_check_row *svm_check_first(const struct svm_check *k)
{
#define CHECK(id, section, predicate, reads, cure, rule) \
    if (!holds_##id(k)) return &svm_check_rows[SVMCHECK_##id];
#include "svm/vmrun_checks.def"
#undef CHECK
    return NULL;
}

void svm_check_init(struct svm_check *k, const struct svm_cap *cap, const uint64_t *fields)
{
    memset(k, 0, sizeof *k);
    k->cap = cap;
    k->f = fields;
    k->host_paging = true;
}

static uint64_t read_physical(void *opaque, uint64_t address, uint32_t size)
{
    return phys_read((struct cpu *)opaque, address, size);
}

void svm_check_live(struct svm_check *k, struct cpu *c)
{
    k->host_paging = (c->s.cr0 & CR0_PG) != 0;
    k->read = read_physical;
    k->opaque = c;
}
