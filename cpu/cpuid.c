/* SPDX-License-Identifier: MIT */
/* CPUID: feature bits from feature.def, the rest from the model, the topology and the live state (OSXSAVE,
 * OSPKE, APIC, XCR0). A leaf above the highest basic one answers like the highest basic one (first
 * vendor) or zero (second). SDM 2A CPUID, APM 3 appendix E. */
#include "cpu/cpuid.h"

#include <string.h>

#include "cpu/control.h"
#include "cpu/insn.h"
#include "cpu/xstate.h"

enum { A, B, C, D };

enum { MISC_ENABLE_LIMIT_CPUID = 1 << 22, MISC_ENABLE_MWAIT = 1 << 18 };
enum { TSC_MHZ = 1000, CRYSTAL_HZ = 25000000 };

static const struct {
    uint32_t leaf;
    uint8_t sub, reg, bit, feature;
} feature_bits[] = {
#define FEATURE(name, leaf, sub, reg, bit, option) {leaf, sub, reg, bit, FEAT_##name},
#include "cpu/feature.def"
#undef FEATURE
};

static void add_features(const struct cpu *c, uint32_t leaf, uint32_t sub, uint32_t regs[4])
{
    for (unsigned i = FEAT_BASE + 1; i < FEAT_COUNT; i++)
        if (feature_bits[i].leaf == leaf && feature_bits[i].sub == sub &&
            has_feature(c, feature_bits[i].feature))
            regs[feature_bits[i].reg] |= 1u << feature_bits[i].bit;
}

static unsigned at_least_1(unsigned n) { return n != 0 ? n : 1; }
static unsigned threads_of(const struct cpu *c) { return at_least_1(c->topology.threads); }
static unsigned cores_of(const struct cpu *c) { return at_least_1(c->topology.cores); }

/* Bits that number n things. */
static unsigned width(unsigned n)
{
    unsigned w = 0;
    while ((1u << w) < n)
        w++;
    return w;
}

uint32_t cpu_topology_apic_id(const struct cpu_topology *t, unsigned n)
{
    unsigned threads = at_least_1(t->threads), cores = at_least_1(t->cores);
    unsigned smt = width(threads), package = smt + width(cores);
    return (n / (threads * cores)) << package | (n / threads % cores) << smt | n % threads;
}

static bool intel(const struct cpu *c) { return c->model->vendor == VENDOR_INTEL; }

static void set(uint32_t regs[4], uint32_t a, uint32_t b, uint32_t cx, uint32_t d)
{
    regs[A] = a;
    regs[B] = b;
    regs[C] = cx;
    regs[D] = d;
}

static void leaf_0(const struct cpu *c, uint32_t regs[4])
{
    uint32_t max = c->model->max_leaf;
    if (intel(c) && (c->s.misc_enable & MISC_ENABLE_LIMIT_CPUID) != 0) max = 2;
    if (intel(c))
        set(regs, max, 0x756e6547, 0x6c65746e, 0x49656e69);
    else
        set(regs, max, 0x68747541, 0x444d4163, 0x69746e65);
}

static bool apic_enabled(const struct cpu *c)
{
    uint64_t base = c->s.apic_base;
    if (c->bus->msr_read != NULL && c->bus->msr_read(c->bus->opaque, c->id, 0x1b, &base) != 1)
        base = c->s.apic_base;
    return (base >> 11 & 1) != 0;
}

static void leaf_1(const struct cpu *c, uint32_t regs[4])
{
    /* One vendor counts the addressable IDs of a package, the other its logical processors. */
    unsigned logical = threads_of(c) * cores_of(c);
    if (intel(c)) logical = 1u << (width(threads_of(c)) + width(cores_of(c)));
    regs[A] = c->model->signature;
    regs[B] = 8u << 8 | (logical & 0xff) << 16 | (c->apic_id & 0xff) << 24;
    if (logical > 1) regs[D] |= 1u << 28;
    if (c->s.cr4 & CR4_OSXSAVE) regs[C] |= 1u << 27;
    if (intel(c) && (c->s.misc_enable & MISC_ENABLE_MWAIT) == 0) regs[C] &= ~(1u << 3);
    if (!apic_enabled(c)) regs[D] &= ~(1u << 9);
}

/* Leaf 4, and 8000001Dh in the other vendor's numbering of the same thing. */
static void leaf_caches(const struct cpu *c, uint32_t sub, uint32_t regs[4])
{
    if (sub >= sizeof c->model->cache / sizeof c->model->cache[0]) return;
    const struct cache_info *i = &c->model->cache[sub];
    if (i->type == 0) return;
    unsigned cores = 1u << width(cores_of(c)), threads = 1u << width(threads_of(c));
    unsigned sharing = i->shared ? cores * threads : threads;
    regs[A] = i->type | (uint32_t)i->level << 5 | 1u << 8 | ((sharing - 1) & 0xfff) << 14;
    if (intel(c)) regs[A] |= ((cores - 1) & 0x3f) << 26;
    regs[B] = 63 | (uint32_t)(i->ways - 1) << 22;
    regs[C] = i->sets - 1;
    regs[D] = i->edx;
}

static void leaf_7(const struct cpu *c, uint32_t sub, uint32_t regs[4])
{
    if (sub != 0) return;
    if (c->s.cr4 & CR4_PKE) regs[C] |= 1u << 4;
}

static void leaf_topology(const struct cpu *c, uint32_t sub, uint32_t regs[4])
{
    unsigned smt = width(threads_of(c)), package = smt + width(cores_of(c));
    uint32_t level = (sub & 0xff) | (sub == 0 ? 1u << 8 : sub == 1 ? 2u << 8 : 0);
    if (sub == 0)
        set(regs, smt, threads_of(c), level, c->apic_id);
    else if (sub == 1)
        set(regs, package, threads_of(c) * cores_of(c), level, c->apic_id);
    else
        set(regs, 0, 0, level, c->apic_id);
}

static void leaf_xsave(const struct cpu *c, uint32_t sub, uint32_t regs[4])
{
    if (!has_feature(c, FEAT_XSAVE)) {
        set(regs, 0, 0, 0, 0);
        return;
    }
    uint64_t xcr0 = xstate_xcr0_mask(c), xss = xstate_xss_mask(c);
    if (sub == 0) {
        set(regs, (uint32_t)xcr0, xstate_area_size(c->s.xcr0, false), xstate_area_size(xcr0, false),
            (uint32_t)(xcr0 >> 32));
    } else if (sub == 1) {
        if (regs[A] & 0xa) regs[B] = xstate_area_size(c->s.xcr0 | c->s.xss, true);
        regs[C] = (uint32_t)xss;
        regs[D] = (uint32_t)(xss >> 32);
    }
#define XSTATE(name, bit, bytes, offset, align64, supervisor, feature) \
    if (bit >= 2 && sub == bit && has_feature(c, feature))             \
        set(regs, bytes, supervisor ? 0 : offset, (supervisor) | (align64) << 1, 0);
#include "cpu/xstate.def"
#undef XSTATE
}

static void leaf_brand(const struct cpu *c, uint32_t index, uint32_t regs[4])
{
    char text[48] = {0};
    strncpy(text, c->model->brand, sizeof text - 1);
    for (unsigned r = 0; r < 4; r++)
        for (unsigned i = 0; i < 4; i++)
            regs[r] |= (uint32_t)(uint8_t)text[index * 16 + r * 4 + i] << (8 * i);
}

static uint32_t cache_kbytes(const struct cache_info *i) { return i->sets * i->ways / 16; }

/* Associativity code of leaf 80000006h. */
static uint32_t ways_code(unsigned ways)
{
    static const uint8_t code[][2] = {{1, 1}, {2, 2}, {4, 4}, {8, 6}, {16, 8}, {32, 10}, {48, 11}, {64, 12}};
    for (unsigned i = 0; i < sizeof code / sizeof code[0]; i++)
        if (ways <= code[i][0]) return code[i][1];
    return 15;
}

static void leaf_extended(const struct cpu *c, uint32_t leaf, uint32_t sub, uint32_t regs[4])
{
    const struct cpu_model *m = c->model;
    bool amd = !intel(c);
    unsigned logical = threads_of(c) * cores_of(c);
    switch (leaf) {
    case 0x80000000:
        regs[A] = m->max_ext_leaf;
        if (amd) set(regs, m->max_ext_leaf, 0x68747541, 0x444d4163, 0x69746e65);
        break;
    case 0x80000001:
        if (!cpu_nx_available(c)) regs[D] &= ~(1u << 20);
        if (amd) {
            uint32_t basic[4] = {0};
            add_features(c, 1, 0, basic);
            leaf_1(c, basic);
            regs[D] |= basic[D] & 0x0183f3ff; /* the bits shared with leaf 1 */
            regs[A] = m->signature;
            if (logical == 1) regs[C] &= ~(1u << 1);
        } else if (!in_64bit(c)) {
            regs[D] &= ~(1u << 11);
        }
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: leaf_brand(c, leaf - 0x80000002, regs); break;
    case 0x80000005:
        if (amd) {
            set(regs, 0xff40ff40, 0xff40ff40,
                cache_kbytes(&m->cache[0]) << 24 | (uint32_t)m->cache[0].ways << 16 | 0x140,
                cache_kbytes(&m->cache[1]) << 24 | (uint32_t)m->cache[1].ways << 16 | 0x140);
        }
        break;
    case 0x80000006:
        regs[C] = cache_kbytes(&m->cache[2]) << 16 | ways_code(m->cache[2].ways) << 12 | (amd ? 0x140 : 0x40);
        if (amd) {
            regs[A] = 0x48006400;
            regs[B] = 0x68006400;
            regs[D] = cache_kbytes(&m->cache[3]) / 512 << 18 | ways_code(m->cache[3].ways) << 12 | 0x140;
        }
        break;
    case 0x80000008:
        regs[A] = c->phys_bits | (uint32_t)c->lin_bits << 8;
        if (amd) regs[C] = (logical - 1) | (width(threads_of(c)) + width(cores_of(c))) << 12;
        break;
    case 0x80000019:
        if (amd) set(regs, 0xf040f040, 0xf0400000, 0, 0);
        break;
    case 0x8000001a:
        if (amd) regs[A] = 2;
        break;
    case 0x8000001d:
        if (amd && has_feature(c, FEAT_TOPOEXT)) leaf_caches(c, sub, regs);
        break;
    case 0x8000001e:
        if (amd && has_feature(c, FEAT_TOPOEXT)) {
            unsigned smt = width(threads_of(c)), package = smt + width(cores_of(c));
            uint32_t in_package = c->apic_id & ((1u << package) - 1);
            set(regs, c->apic_id, in_package >> smt | (threads_of(c) - 1) << 8, c->apic_id >> package & 0xff,
                0);
        }
        break;
    default: break;
    }
}

void cpu_cpuid(struct cpu *c, uint32_t leaf, uint32_t sub, uint32_t regs[4])
{
    set(regs, 0, 0, 0, 0);
    uint32_t basic[4] = {0};
    leaf_0(c, basic);
    bool extended = leaf >> 31 != 0;
    if (extended ? leaf > c->model->max_ext_leaf : leaf > basic[A]) {
        if (!intel(c)) return;
        leaf = basic[A];
        extended = false;
    }
    if (c->ext != NULL && c->ext->cpuid != NULL && c->ext->cpuid(c, leaf, sub, regs)) return;
    set(regs, 0, 0, 0, 0);
    bool has_subleaves = leaf == 7 || leaf == 0xd;
    add_features(c, leaf, has_subleaves ? sub : 0, regs);
    if (extended) {
        leaf_extended(c, leaf, sub, regs);
        return;
    }
    switch (leaf) {
    case 0: leaf_0(c, regs); break;
    case 1: leaf_1(c, regs); break;
    case 2:
        if (intel(c)) set(regs, 0x00feff01, 0xf0, 0, 0);
        break;
    case 4:
        if (intel(c)) leaf_caches(c, sub, regs);
        break;
    case 5:
        /* Lines of 64 bytes; ECX[0] of MWAIT; C1 with its substates and nothing deeper. */
        if (has_feature(c, FEAT_MONITOR)) set(regs, 0x40, 0x40, 3, intel(c) ? 0x20 : 0x11);
        break;
    case 7: leaf_7(c, sub, regs); break;
    case 0xb: leaf_topology(c, sub, regs); break;
    case 0x1f: leaf_topology(c, sub, regs); break;
    case 0xd: leaf_xsave(c, sub, regs); break;
    case 0x15: set(regs, 1, TSC_MHZ * 1000000 / CRYSTAL_HZ, CRYSTAL_HZ, 0); break;
    case 0x16: set(regs, TSC_MHZ, TSC_MHZ, 100, 0); break;
    default: break;
    }
}
