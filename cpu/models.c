/* SPDX-License-Identifier: MIT */
/* CPU models by name, and the option that selects one and changes its features:
 * NAME[,+feature][,-feature][,feature=on|off].... models.def, feature.def. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpuid.h"
#include "cpu/insn.h"

#define IN_WORD(w, f) | (FEAT_##f / 64 == (w) ? UINT64_C(1) << (FEAT_##f % 64) : 0)
#define IN0(f) IN_WORD(0, f)
#define IN1(f) IN_WORD(1, f)
#define IN2(f) IN_WORD(2, f)
_Static_assert(FEAT_COUNT <= 192, "another word in models.c");

#define MODEL(name, vendor, signature, leaf, ext, ucode, phys, set, caches, brand) \
    {name,                                                                         \
     brand,                                                                        \
     VENDOR_##vendor,                                                              \
     signature,                                                                    \
     leaf,                                                                         \
     ext,                                                                          \
     ucode,                                                                        \
     phys,                                                                         \
     57,                                                                           \
     {0 set(IN0), 0 set(IN1), 0 set(IN2)},                                         \
     {caches}},
const struct cpu_model cpu_models[] = {
#include "cpu/models.def"
};
#undef MODEL
const unsigned cpu_model_count = sizeof cpu_models / sizeof cpu_models[0];

static const char *const feature_names[] = {
#define FEATURE(name, leaf, sub, reg, bit, option) option,
#include "cpu/feature.def"
#undef FEATURE
};

static const struct {
    const char *alias, *name;
} aliases[] = {
#define ALIAS(alias, name) {alias, name},
#include "cpu/models.def"
#undef ALIAS
};
enum { ALIASES = sizeof aliases / sizeof aliases[0] };

static const char *const absent[] = {
#define ABSENT(name) name,
#include "cpu/models.def"
#undef ABSENT
};

const char *cpu_feature_name(unsigned feature)
{
    return feature < FEAT_COUNT ? feature_names[feature] : NULL;
}

bool cpu_model_alias(unsigned index, const char **alias, const char **name)
{
    if (index >= ALIASES) return false;
    *alias = aliases[index].alias;
    *name = aliases[index].name;
    return true;
}

/* Names are compared without case and without the separators that vary between programs. */
static size_t squeeze(const char *s, size_t n, char out[64])
{
    size_t k = 0;
    for (size_t i = 0; i < n && k < 63; i++)
        if (strchr("-_. ", s[i]) == NULL) out[k++] = (char)tolower((unsigned char)s[i]);
    out[k] = 0;
    return k;
}

static bool same_name(const char *a, const char *b, size_t b_len)
{
    char x[64], y[64];
    squeeze(a, strlen(a), x);
    squeeze(b, b_len, y);
    return x[0] != 0 && strcmp(x, y) == 0;
}

static unsigned edit_distance(const char *a, const char *b)
{
    unsigned row[64], n = (unsigned)strlen(b);
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1] != 0; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            unsigned other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < other ? change : other;
        }
    }
    return row[n];
}

struct nearest {
    char want[64];
    const char *name;
    unsigned distance;
};

static void nearest_try(struct nearest *n, const char *name)
{
    char x[64];
    if (squeeze(name, strlen(name), x) == 0) return;
    size_t typed = strlen(n->want); /* the beginning of a name is nearer than any misspelling */
    unsigned d = typed > 1 && strncmp(x, n->want, typed) == 0 ? 0 : edit_distance(n->want, x);
    if (n->name == NULL || d < n->distance) {
        n->name = name;
        n->distance = d;
    }
}

static const struct cpu_model *find(const char *name, size_t len)
{
    for (unsigned i = 0; i < cpu_model_count; i++)
        if (same_name(cpu_models[i].name, name, len)) return &cpu_models[i];
    /* QEMU's version suffixes (-v2, -IBRS, -noTSX ...) name the same model here. */
    for (unsigned i = 0; i < ALIASES; i++) {
        size_t n = strlen(aliases[i].alias);
        bool suffix = len > n && (strncmp(name + n, "-v", 2) == 0 || strncmp(name + n, "-IBRS", 5) == 0 ||
                                  strncmp(name + n, "-IBPB", 5) == 0 || strncmp(name + n, "-noTSX", 6) == 0);
        if (same_name(aliases[i].alias, name, suffix ? n : len))
            return find(aliases[i].name, strlen(aliases[i].name));
    }
    return NULL;
}

const struct cpu_model *cpu_model_find(const char *name) { return find(name, strlen(name)); }

static int find_feature(const char *name, size_t len)
{
    for (unsigned i = 0; i < FEAT_COUNT; i++)
        if (same_name(feature_names[i], name, len)) return (int)i;
    return -1;
}

static bool is_absent(const char *name, size_t len)
{
    for (unsigned i = 0; i < sizeof absent / sizeof absent[0]; i++)
        if (same_name(absent[i], name, len)) return true;
    return false;
}

/* Options of other programs that change nothing here. */
static bool is_neutral(const char *name, size_t len)
{
    static const char *const names[] = {"check",          "enforce", "migratable",
                                        "host-phys-bits", "kvm",     "l3-cache"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (same_name(names[i], name, len)) return true;
    return false;
}

static bool fail_nearest(char *err, size_t errlen, const char *what, const char *name, size_t len, bool model)
{
    struct nearest n = {.name = NULL};
    squeeze(name, len, n.want);
    if (model) {
        for (unsigned i = 0; i < cpu_model_count; i++)
            nearest_try(&n, cpu_models[i].name);
        for (unsigned i = 0; i < ALIASES; i++)
            nearest_try(&n, aliases[i].alias);
    } else {
        for (unsigned i = 0; i < FEAT_COUNT; i++)
            nearest_try(&n, feature_names[i]);
    }
    snprintf(err, errlen, "unknown CPU %s '%.*s', nearest is '%s'", what, (int)(len < 80 ? len : 80), name,
             n.name != NULL ? n.name : "");
    return false;
}

static bool apply(const struct cpu_model *m, uint64_t *features, const char *at, size_t len, char *err,
                  size_t errlen)
{
    bool on = true;
    if (len != 0 && (*at == '+' || *at == '-')) {
        on = *at == '+';
        at++;
        len--;
    } else {
        const char *eq = memchr(at, '=', len);
        if (eq != NULL) {
            const char *value = eq + 1;
            size_t n = len - (size_t)(value - at);
            len = (size_t)(eq - at);
            if (same_name("vendor", at, len)) {
                const char *vendor = m->vendor == VENDOR_INTEL ? "GenuineIntel" : "AuthenticAMD";
                if (same_name(vendor, value, n)) return true;
                snprintf(err, errlen, "CPU model '%s' has vendor %s and no other", m->name, vendor);
                return false;
            }
            if (same_name("on", value, n) || same_name("true", value, n) || same_name("yes", value, n)) {
                on = true;
            } else if (same_name("off", value, n) || same_name("false", value, n) ||
                       same_name("no", value, n)) {
                on = false;
            } else {
                snprintf(err, errlen, "CPU feature '%.*s': expected on or off, not '%.*s'", (int)len, at,
                         (int)n, value);
                return false;
            }
        }
    }
    if (len == 0) {
        snprintf(err, errlen, "empty CPU feature: expected +name, -name or name=on|off");
        return false;
    }
    int f = find_feature(at, len);
    if (f > FEAT_BASE) {
        if (on)
            features[f / 64] |= UINT64_C(1) << (f % 64);
        else
            features[f / 64] &= ~(UINT64_C(1) << (f % 64));
        return true;
    }
    if (is_neutral(at, len)) return true;
    if (is_absent(at, len)) {
        if (!on) return true;
        snprintf(err, errlen, "CPU feature '%.*s' does not exist in this machine", (int)len, at);
        return false;
    }
    return fail_nearest(err, errlen, "feature", at, len, false);
}

/* The features of the extension's own leaf go with the extension. */
static void drop_orphans(uint64_t *features)
{
    static const struct {
        uint32_t leaf;
        uint16_t feature;
    } rows[] = {
#define FEATURE(name, leaf, sub, reg, bit, option) {leaf, FEAT_##name},
#include "cpu/feature.def"
#undef FEATURE
    };
    if (features[FEAT_SVM / 64] >> (FEAT_SVM % 64) & 1) return;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].leaf == 0x8000000a)
            features[rows[i].feature / 64] &= ~(UINT64_C(1) << (rows[i].feature % 64));
}

/* What cannot be: one extension of the other vendor, long mode without what it stands on. */
static bool consistent(const struct cpu_model *m, const uint64_t *features, char *err, size_t errlen)
{
    static const struct {
        uint16_t feature, needs;
    } rules[] = {
        {FEAT_LM, FEAT_PAE},    {FEAT_LA57, FEAT_LM},        {FEAT_SSE, FEAT_FXSR},
        {FEAT_SSE2, FEAT_SSE},  {FEAT_PKU, FEAT_LM},         {FEAT_PKS, FEAT_LM},
        {FEAT_PCID, FEAT_LM},   {FEAT_XSAVEOPT, FEAT_XSAVE}, {FEAT_VMX, FEAT_LM},
        {FEAT_SVM, FEAT_LM},    {FEAT_XSAVEC, FEAT_XSAVE},   {FEAT_XSAVES, FEAT_XSAVEC},
        {FEAT_LM, FEAT_MSR},    {FEAT_X2APIC, FEAT_APIC},    {FEAT_TSC_DEADLINE, FEAT_APIC},
        {FEAT_PKU, FEAT_XSAVE},
    };
    for (unsigned i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        unsigned f = rules[i].feature, n = rules[i].needs;
        if ((features[f / 64] >> (f % 64) & 1) != 0 && (features[n / 64] >> (n % 64) & 1) == 0) {
            snprintf(err, errlen, "CPU feature '%s' needs '%s'", feature_names[f], feature_names[n]);
            return false;
        }
    }
    unsigned wrong = m->vendor == VENDOR_INTEL ? FEAT_SVM : FEAT_VMX;
    if ((features[wrong / 64] >> (wrong % 64) & 1) != 0) {
        snprintf(err, errlen, "CPU model '%s' cannot have '%s'", m->name, feature_names[wrong]);
        return false;
    }
    return true;
}

bool cpu_model_parse(const char *spec, const struct cpu_model **model, uint64_t features[FEATURE_WORDS],
                     char *err, size_t errlen)
{
    size_t len = strcspn(spec, ",");
    const struct cpu_model *m = find(spec, len);
    if (m == NULL) return fail_nearest(err, errlen, "model", spec, len, true);
    memcpy(features, m->features, sizeof m->features);
    for (const char *at = spec + len; *at == ',';) {
        at++;
        len = strcspn(at, ",");
        if (!apply(m, features, at, len, err, errlen)) return false;
        at += len;
    }
    drop_orphans(features);
    if (!consistent(m, features, err, errlen)) return false;
    *model = m;
    return true;
}
