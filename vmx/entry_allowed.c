/* SPDX-License-Identifier: MIT */
/* Allowed values of the fields that a rule of VM entry reads, see entry_allowed.h; the rows are
 * entry_allowed.def. SDM 3C 27.2, 27.3.1; 3D app. A for the capability MSRs that bound them. */
#include "vmx/entry_allowed.h"

#include <inttypes.h>
#include <string.h>

#include "cpu/text.h"
#include "vmx/entry_vocabulary.h"

#define ALL (~UINT64_C(0))
#define HIGH UINT64_C(0xffffffff00000000)
#define MSR(index) vmx_cap_msr(k->cap, index)
#define EPTVPID(bit) (vmx_cap_msr(k->cap, 0x48c) >> (bit)&1)
#define MEMORY_TYPE_SET 0xf3 /* 0, 1, 4, 5, 6, 7 */

static uint64_t beyond_width(const struct vmx_check *k)
{
    return k->cap->phys_bits >= 64 ? 0 : ALL << k->cap->phys_bits;
}

/* Elements of `size` bytes that fit between an address and the end of physical addresses. */
static uint64_t room(const struct vmx_check *k, uint64_t address, uint64_t size)
{
    return vmx_width_ok(k->cap, address) ? (~beyond_width(k) - address + 1) / size : 0;
}

#define SET(kind, mask, a, b) ((struct vmx_allowed){ALLOWED_##kind, 0, mask, a, b})
#define BITS(ones, zeros) SET(BITS, ALL, ones, zeros)
#define WORD(word) SET(BITS, ALL, k->cap->allowed0[word], ~k->cap->allowed1[word])
#define FIXED(index, free) SET(BITS, ALL, MSR(index) & ~(uint64_t)(free), ~(MSR((index) + 1) | (free)))
#define ADDRESS(low) SET(BITS, ALL, 0, (low) | beyond_width(k))
#define RANGE(mask, low, high) SET(RANGE, mask, low, high)
#define EQUAL(mask, value) SET(RANGE, mask, value, value)
#define SAME(bits, on) SET(BITS, ALL, (on) ? (uint64_t)(bits) : 0, (on) ? 0 : (uint64_t)(bits))
#define ONE_OF(mask, set) SET(ONE_OF, mask, set, 0)
#define CANONICAL SET(CANONICAL, ALL, k->cap->lin_bits, 0)
#define CANONICAL_AT(width) SET(CANONICAL, ALL, width, 0)
#define EQUAL_ABOVE(width) SET(ABOVE, ALL, width, 0)
#define MEMORY_TYPES SET(BYTES, ALL, MEMORY_TYPE_SET, 0)
#define IN_MEMORY(value) SET(IN_MEMORY, ALL, value, 0)

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define ALLOW(rule, field, set)                                                   \
    static struct vmx_allowed JOIN(allowed_, __LINE__)(const struct vmx_check *k) \
    {                                                                             \
        (void)k;                                                                  \
        return set;                                                               \
    }
#include "vmx/entry_allowed.def"
#undef ALLOW

static const struct {
    uint16_t rule;
    uint8_t field;
    struct vmx_allowed (*set)(const struct vmx_check *k);
} rows[] = {
#define ALLOW(rule, field, set) {CHECK_##rule, F_##field, JOIN(allowed_, __LINE__)},
#include "vmx/entry_allowed.def"
#undef ALLOW
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static unsigned shift_of(uint64_t mask) { return mask ? (unsigned)__builtin_ctzll(mask) : 0; }

static bool in_set(uint64_t set, uint64_t n) { return n < 64 && (set >> n & 1); }

static uint64_t sign_extend(unsigned bits, uint64_t value)
{
    unsigned up = 64 - bits;
    return (uint64_t)((int64_t)(value << up) >> up);
}

bool vmx_allowed_contains(const struct vmx_allowed *s, uint64_t value)
{
    uint64_t part = (value & s->mask) >> shift_of(s->mask), top;
    switch ((enum vmx_allowed_kind)s->kind) {
    case ALLOWED_BITS: return (value & s->a) == s->a && !(value & s->b);
    case ALLOWED_RANGE: return part >= s->a && part <= s->b;
    case ALLOWED_ONE_OF: return in_set(s->a, part);
    case ALLOWED_CANONICAL: return s->a >= 64 || value == sign_extend((unsigned)s->a, value);
    case ALLOWED_ABOVE: top = value >> s->a; return top == 0 || top == ALL >> s->a;
    case ALLOWED_BYTES:
        for (int i = 0; i < 64; i += 8)
            if (!in_set(s->a, value >> i & 0xff)) return false;
        return true;
    case ALLOWED_IN_MEMORY: return false;
    }
    return false;
}

/* The member of a set of small numbers with the fewest bits different, the smallest of several. */
static bool nearest_member(uint64_t set, uint64_t value, uint64_t *nearest)
{
    int best = 65;
    for (uint64_t n = 0; n < 64; n++) {
        int distance = __builtin_popcountll(n ^ value);
        if (in_set(set, n) && distance < best) best = distance, *nearest = n;
    }
    return best < 65;
}

bool vmx_allowed_nearest(const struct vmx_allowed *s, uint64_t value, uint64_t *nearest)
{
    unsigned shift = shift_of(s->mask);
    uint64_t part = (value & s->mask) >> shift, found = 0;
    *nearest = value;
    if (vmx_allowed_contains(s, value)) return true;
    switch ((enum vmx_allowed_kind)s->kind) {
    case ALLOWED_BITS: *nearest = (value | s->a) & ~s->b; return (s->a & s->b) == 0;
    case ALLOWED_RANGE:
        found = part < s->a ? s->a : s->b;
        *nearest = (value & ~s->mask) | found << shift;
        return s->a <= s->b;
    case ALLOWED_ONE_OF:
        if (!nearest_member(s->a, part, &found)) return false;
        *nearest = (value & ~s->mask) | found << shift;
        return true;
    case ALLOWED_CANONICAL: *nearest = sign_extend((unsigned)s->a, value); return true;
    case ALLOWED_ABOVE:
        found = ALL << s->a;
        *nearest = __builtin_popcountll(value & found) * 2 > __builtin_popcountll(found) ? value | found
                                                                                         : value & ~found;
        return true;
    case ALLOWED_BYTES:
        for (int i = 0; i < 64; i += 8) {
            if (in_set(s->a, value >> i & 0xff)) continue;
            if (!nearest_member(s->a, value >> i & 0xff, &found)) return false;
            *nearest = (*nearest & ~(UINT64_C(0xff) << i)) | found << i;
        }
        return true;
    case ALLOWED_IN_MEMORY: *nearest = s->a; return s->a != value;
    }
    return false;
}

/* ---- in words ---- */

/* "bits 63:32, 7 are 0". */
static void put_bits(struct text *t, uint64_t bits, const char *state)
{
    bool several = (bits & (bits - 1)) != 0;
    const char *before = several ? "bits " : "bit ";
    for (int high = 63; high >= 0; high--) {
        if (!(bits >> high & 1)) continue;
        int low = high;
        while (low > 0 && (bits >> (low - 1) & 1))
            low--;
        if (low == high)
            text_put(t, "%s%d", before, high);
        else
            text_put(t, "%s%d:%d", before, high, low);
        before = ", ";
        high = low;
    }
    text_put(t, " %s %s", several ? "are" : "is", state);
}

static void put_part(struct text *t, const struct vmx_allowed *s)
{
    uint64_t width = vmcs_width_mask(s->field);
    if ((s->mask & width) == width) {
        text_put(t, "the value is ");
        return;
    }
    unsigned low = shift_of(s->mask), high = 63 - (unsigned)__builtin_clzll(s->mask);
    if (low == high)
        text_put(t, "bit %u is ", low);
    else
        text_put(t, "bits %u:%u are ", high, low);
}

static void put_set(struct text *t, uint64_t set)
{
    if (!set) text_put(t, "nothing that this processor has");
    for (unsigned n = 0; n < 64; n++) {
        if (!in_set(set, n)) continue;
        text_put(t, "%x%s", n, n < 10 ? "" : "h");
        set &= set - 1;
        if (set) text_put(t, set & (set - 1) ? ", " : " or ");
    }
}

size_t vmx_allowed_text(const struct vmx_allowed *s, char *buf, size_t size)
{
    struct text t = {buf, size, 0};
    uint64_t width = vmcs_width_mask(s->field);
    if (size) buf[0] = 0;
    switch ((enum vmx_allowed_kind)s->kind) {
    case ALLOWED_BITS:
        if (s->a & width) put_bits(&t, s->a & width, "1");
        if ((s->a & width) && (s->b & width)) text_put(&t, ", ");
        if (s->b & width) put_bits(&t, s->b & width, "0");
        break;
    case ALLOWED_RANGE:
        put_part(&t, s);
        if (s->a == s->b)
            text_put(&t, "%" PRIx64 "h", s->a);
        else
            text_put(&t, "%" PRIx64 "h to %" PRIx64 "h", s->a, s->b & width);
        break;
    case ALLOWED_ONE_OF:
        put_part(&t, s);
        put_set(&t, s->a);
        break;
    case ALLOWED_CANONICAL:
        text_put(&t, "bits 63:%u equal bit %u", (unsigned)s->a, (unsigned)s->a - 1);
        break;
    case ALLOWED_ABOVE: text_put(&t, "bits 63:%u are all equal", (unsigned)s->a); break;
    case ALLOWED_BYTES:
        text_put(&t, "each byte is ");
        put_set(&t, s->a);
        break;
    case ALLOWED_IN_MEMORY: text_put(&t, "memory at the address decides"); break;
    }
    return t.length;
}

/* ---- advice ---- */

unsigned vmx_advise(const struct vmx_check *k, const struct vmx_check_row *row,
                    struct vmx_advice out[ADVICE_MAX])
{
    uint64_t f[F_COUNT];
    struct vmx_check changed = *k;
    unsigned n = 0, rule = (unsigned)(row - vmx_check_rows);
    memcpy(f, k->f, sizeof f);
    changed.f = f;
    for (unsigned i = 0; i < ROWS; i++) {
        if (rows[i].rule != rule) continue;
        vmx_effective_controls(f, &changed.e);
        struct vmx_allowed set = rows[i].set(&changed);
        set.field = rows[i].field;
        if (vmx_allowed_contains(&set, f[set.field])) continue;
        unsigned at = 0;
        while (at < n && out[at].field != set.field)
            at++;
        if (at == n) {
            if (n == ADVICE_MAX) break;
            out[n++] = (struct vmx_advice){.field = set.field, .has_nearest = true, .seen = f[set.field]};
        }
        struct vmx_advice *a = &out[at];
        if (a->allowed_count < ALLOWED_MAX) a->allowed[a->allowed_count++] = set;
        a->has_nearest &= vmx_allowed_nearest(&set, f[set.field], &a->nearest);
        a->nearest &= vmcs_width_mask(set.field);
        f[set.field] = a->nearest;
    }
    return n;
}
