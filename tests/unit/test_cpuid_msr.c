/* SPDX-License-Identifier: MIT */
/* CPU models, CPUID leaves and model-specific registers: the tables' own consistency, the values that
 * software checks first, and the rules of each register (SDM 2A CPUID, SDM 4; APM 3 app. E, APM 2 app. A). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/control.h"
#include "cpu/event.h"
#include "cpu/insn.h"
#include "cpu/mem.h"
#include "cpu/msr.h"
#include "cpu/xstate.h"

static struct bus bus;
static struct cpu *cpu;

static bool no_intr(void *o, int id)
{
    (void)o, (void)id;
    return false;
}

static void open_cpu(const char *spec)
{
    const struct cpu_model *m;
    uint64_t features[FEATURE_WORDS];
    char err[160] = "";
    memset(&bus, 0, sizeof bus);
    bus.ram_top = 1 << 20;
    bus.ram = calloc(1, bus.ram_top);
    bus.page_flags = calloc(1, bus.ram_top >> PAGE_SHIFT);
    memset(bus.page_flags, PAGE_RAM, bus.ram_top >> PAGE_SHIFT);
    bus.a20_mask = ~UINT64_C(0);
    bus.intr_pending = no_intr;
    if (!cpu_model_parse(spec, &m, features, err, sizeof err)) fail_msg("%s", err);
    cpu = cpu_create(0, m, features, &bus, NULL);
    assert_non_null(cpu);
}
static void close_cpu(void)
{
    cpu_destroy(cpu);
    free(bus.ram);
    free(bus.page_flags);
}

static uint32_t leaf(uint32_t n, uint32_t sub, int reg)
{
    uint32_t r[4];
    cpu_cpuid(cpu, n, sub, r);
    return r[reg];
}

static bool feature_in(const uint64_t *f, unsigned id) { return (f[id / 64] >> (id % 64) & 1) != 0; }

static bool model_has_leaf(uint32_t n)
{
    return n <= (n >> 31 ? cpu->model->max_ext_leaf : cpu->model->max_leaf);
}

/* Every feature of a model shows in its CPUID bit, and no other bit of the leaf does. */
static void features_show_in_their_bits(void **state)
{
    (void)state;
    for (unsigned i = 0; i < cpu_model_count; i++) {
        open_cpu(cpu_models[i].name);
        cpu->s.seg[SEG_CS].ar |= AR_L; /* SYSCALL shows in 64-bit mode only, on one vendor */
        cpu->s.efer = EFER_LME | EFER_LMA;
#define FEATURE(name, l, sub, reg, bit, option)                                                     \
    if (FEAT_##name != FEAT_BASE && model_has_leaf(l)) {                                            \
        enum { A, B, C, D };                                                                        \
        bool shown = leaf(l, sub, reg) >> bit & 1;                                                  \
        if (FEAT_##name != FEAT_CMP_LEGACY) assert_int_equal(shown, has_feature(cpu, FEAT_##name)); \
    }
#include "cpu/feature.def"
#undef FEATURE
        close_cpu();
    }
}

static void leaves_of_the_first_vendor(void **state)
{
    (void)state;
    open_cpu("skylake-server");
    assert_int_equal(leaf(0, 0, 1), 0x756e6547);
    assert_int_equal(leaf(0, 0, 3), 0x49656e69);
    assert_int_equal(leaf(0, 0, 2), 0x6c65746e);
    assert_int_equal(leaf(1, 0, 0), 0x50654);
    assert_int_equal(leaf(1, 0, 1), 0x00010800);
    assert_int_equal(leaf(1, 0, 2) & (1u << 28 | 1u << 12 | 1u << 27), 0);
    assert_int_equal(leaf(7, 0, 1) & (1u << 5 | 1u << 16), 0);
    cpu->s.cr4 = CR4_OSXSAVE | CR4_PKE;
    assert_int_equal(leaf(1, 0, 2) >> 27 & 1, 1);
    assert_int_equal(leaf(7, 0, 2) >> 4 & 1, 1);
    assert_int_equal(leaf(4, 0, 0), 0x121);
    assert_int_equal(leaf(4, 0, 1), 0x01c0003f);
    assert_int_equal(leaf(4, 2, 2), 0x3ff);
    assert_int_equal(leaf(4, 4, 0), 0);
    /* TSC = crystal * EBX / EAX = 1 GHz */
    assert_int_equal((uint64_t)leaf(0x15, 0, 2) * leaf(0x15, 0, 1) / leaf(0x15, 0, 0), 1000000000);
    assert_int_equal(leaf(0x16, 0, 0), 1000);
    assert_int_equal(leaf(0xd, 0, 0), 0x203);
    assert_int_equal(leaf(0xd, 0, 1), 576); /* XCR0 = 1 */
    assert_int_equal(leaf(0xd, 0, 2), 0xa88);
    assert_int_equal(leaf(0xd, 9, 0), 8);
    assert_int_equal(leaf(0xd, 9, 1), 0xa80);
    assert_int_equal(leaf(0x80000008, 0, 0), 46 | 48 << 8);
    assert_int_equal(leaf(0x80000001, 0, 3) >> 11 & 1, 0);
    /* Beyond the last leaf: the last one again. */
    for (int r = 0; r < 4; r++) {
        assert_int_equal(leaf(0x40000000, 0, r), leaf(0x16, 0, r));
        assert_int_equal(leaf(0x80000009, 0, r), leaf(0x16, 0, r));
    }
    cpu->s.misc_enable |= 1 << 22;
    assert_int_equal(leaf(0, 0, 0), 2);
    close_cpu();
    open_cpu("icelake-server");
    assert_int_equal(leaf(0x80000008, 0, 0), 46 | 57 << 8);
    close_cpu();
    open_cpu("icelake-server,-la57");
    assert_int_equal(leaf(0x80000008, 0, 0), 46 | 48 << 8);
    close_cpu();
}

static void leaves_of_the_second_vendor(void **state)
{
    (void)state;
    open_cpu("epyc-milan");
    assert_int_equal(leaf(0, 0, 1), 0x68747541);
    assert_int_equal(leaf(0, 0, 3), 0x69746e65);
    assert_int_equal(leaf(0, 0, 2), 0x444d4163);
    assert_int_equal(leaf(0x80000001, 0, 0), 0xa00f11);
    assert_int_equal(leaf(0x80000001, 0, 3) >> 11 & 1, 1);
    assert_int_equal(leaf(0x80000001, 0, 3) & 0x1ff, leaf(1, 0, 3) & 0x1ff);
    assert_int_equal(leaf(4, 0, 0), 0);
    assert_int_equal(leaf(0x8000001d, 0, 0), 0x121);
    assert_int_equal(leaf(0x40000000, 0, 0), 0);
    assert_int_equal(leaf(0x80000099, 0, 0), 0);
    close_cpu();
}

static void topology(void **state)
{
    (void)state;
    open_cpu("max");
    cpu->topology = (struct cpu_topology){2, 4, 2};
    cpu->apic_id = 11;
    assert_int_equal(leaf(1, 0, 1) >> 24, 11);
    assert_int_equal(leaf(1, 0, 1) >> 16 & 0xff, 8);
    assert_int_equal(leaf(1, 0, 3) >> 28 & 1, 1);
    assert_int_equal(leaf(0xb, 0, 0), 1);
    assert_int_equal(leaf(0xb, 0, 1), 2);
    assert_int_equal(leaf(0xb, 0, 2), 0x100);
    assert_int_equal(leaf(0xb, 1, 0), 3);
    assert_int_equal(leaf(0xb, 1, 1), 8);
    assert_int_equal(leaf(0xb, 1, 2), 0x201);
    assert_int_equal(leaf(0xb, 2, 2), 2);
    assert_int_equal(leaf(0xb, 2, 3), 11);
    close_cpu();
}

static void models_parse(void **state)
{
    (void)state;
    const struct cpu_model *m;
    uint64_t f[FEATURE_WORDS];
    char err[160];
    assert_true(cpu_model_parse("Skylake-Server,-pku,+la57", &m, f, err, sizeof err));
    assert_string_equal(m->name, "skylake-server");
    assert_false(feature_in(f, FEAT_PKU));
    assert_true(feature_in(f, FEAT_LA57));
    assert_true(cpu_model_parse("EPYC-Rome-v2,svm=off", &m, f, err, sizeof err));
    assert_string_equal(m->name, "epyc-rome");
    assert_false(feature_in(f, FEAT_SVM));
    assert_true(cpu_model_parse("qemu64,-avx,sse4_1=off,-sse42", &m, f, err, sizeof err));
    assert_false(feature_in(f, FEAT_SSE41));
    static const struct {
        const char *spec, *says;
    } bad[] = {
        {"skylake-sever", "skylake-server"},
        {"max,+smep2", "smep"},
        {"max,+avx", "avx"},
        {"max,smep=maybe", "on or off"},
        {"max,", "empty"},
        {"max,+", "empty"},
        {"", "unknown"},
        {"max,-pae", "needs"},
        {"max,+svm", "svm"},
        {"epyc-rome,+vmx", "vmx"},
        {"max,vendor=AuthenticAMD", "vendor"},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(cpu_model_parse(bad[i].spec, &m, f, err, sizeof err));
        if (strstr(err, bad[i].says) == NULL) fail_msg("'%s': %s", bad[i].spec, err);
    }
    const char *alias, *name;
    for (unsigned i = 0; cpu_model_alias(i, &alias, &name); i++)
        assert_non_null(cpu_model_find(alias));
    for (unsigned i = 0; i < cpu_model_count; i++)
        assert_true(cpu_model_parse(cpu_models[i].name, &m, f, err, sizeof err));
}

/* --- MSRs --- */

static bool read_msr(uint32_t n, uint64_t *v)
{
    cpu->fault.kind = FAULT_NONE;
    bool ok = cpu_read_msr(cpu, n, v);
    if (!ok) {
        assert_int_equal(cpu->fault.event.vector, VEC_GP);
        assert_int_equal(cpu->fault.event.error_code, 0);
    }
    return ok;
}
static bool write_msr(uint32_t n, uint64_t v)
{
    cpu->fault.kind = FAULT_NONE;
    return cpu_write_msr(cpu, n, v);
}
static uint64_t get(uint32_t n)
{
    uint64_t v = 0;
    assert_true(read_msr(n, &v));
    return v;
}

static void rows_ascend_and_do_not_overlap(void **state)
{
    (void)state;
    struct msr_info a, b;
    for (unsigned i = 0; msr_row_info(i, &a); i++) {
        assert_true(a.count > 0);
        if (msr_row_info(i + 1, &b) && a.first + a.count > b.first) fail_msg("%s and %s", a.name, b.name);
    }
}

enum { GPF = 1 };
static const struct {
    const char *model;
    uint32_t index;
    uint64_t value;
    int fault;
} writes[] = {
    {"max", 0x174, 0x1234, 0},
    {"max", 0x175, UINT64_C(0xffff800000000000), 0},
    {"max", 0x175, UINT64_C(0x0800000000000000), GPF},
    {"epyc-rome", 0x175, UINT64_C(0x0800000000000000), 0},
    {"max", 0x277, UINT64_C(0x0007040600070406), 0},
    {"max", 0x277, UINT64_C(0x0707070707070707), 0},
    {"max", 0x277, 0x02, GPF},
    {"max", 0x277, UINT64_C(0x0300000000000000), GPF},
    {"max", 0x200, 0x06, 0},
    {"max", 0x200, 0x02, GPF},
    {"max", 0x200, 0x106, GPF},
    {"max", 0x201, UINT64_C(0x3fffff800800), 0},
    {"max", 0x201, UINT64_C(0x7fffff800800), GPF},
    {"max", 0x20f, 0x800, 0},
    {"max", 0x210, 0, GPF},
    {"max", 0x250, UINT64_C(0x0606060606060606), 0},
    {"max", 0x268, 0x07, GPF},
    {"max", 0x2ff, 0xc06, 0},
    {"max", 0x2ff, 0x1006, GPF},
    {"max", 0xfe, 0, GPF},
    {"max", 0x179, 0, GPF},
    {"max", 0x17b, 0, 0},
    {"max", 0x17b, 1, GPF},
    {"max", 0x400, ~UINT64_C(0), 0},
    {"max", 0x400, 5, GPF},
    {"max", 0x401, 0, 0},
    {"max", 0x401, 1, GPF},
    {"max", 0x402, UINT64_C(0x1234567812345678), 0},
    {"max", 0x428, 0, GPF},
    {"max", 0xc0000082, UINT64_C(0xffffffff81000000), 0},
    {"max", 0xc0000082, UINT64_C(0x8000000000000000), GPF},
    {"max", 0xc0000084, 0x47700, 0},
    {"max", 0xc0000084, UINT64_C(0x100000000), GPF},
    {"max", 0xc0000100, UINT64_C(0x8000000000000000), GPF},
    {"max", 0xc0000103, 7, 0},
    {"max", 0xc0000103, UINT64_C(0x100000007), GPF},
    {"max", 0x48, 7, 0},
    {"max", 0x48, 8, GPF},
    {"max", 0x140, 1, 0},
    {"max", 0x140, 2, GPF},
    {"max", 0xda0, 0, 0},
    {"max", 0xda0, 0x100, GPF},
    {"max", 0x3a, 5, 0},
    {"max", 0x10a, 0, GPF},
    {"max", 0x1d9, 3, 0},
    {"max", 0x1d9, 0x10000, GPF},
    {"max", 0xc0010015, 0, GPF}, /* the other vendor's */
    {"epyc-milan", 0xc0010015, 1 << 24, 0},
    {"epyc-milan", 0x3a, 0, GPF},
    {"max", 0x12345, 0, GPF},
    {"max", 0xc1, 0, GPF},
};

static void writes_follow_their_rules(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        uint64_t v = 0, before = 0;
        open_cpu(writes[i].model);
        bool readable = read_msr(writes[i].index, &before);
        bool ok = write_msr(writes[i].index, writes[i].value);
        if (ok != !writes[i].fault) fail_msg("%s %x", writes[i].model, writes[i].index);
        if (readable) {
            assert_true(read_msr(writes[i].index, &v));
            assert_true(v == (ok ? writes[i].value : before));
        }
        close_cpu();
    }
}

static void special_registers(void **state)
{
    (void)state;
    uint64_t v;
    open_cpu("max");
    /* Write-only. */
    assert_false(read_msr(0x49, &v));
    assert_true(write_msr(0x49, 1));
    assert_false(write_msr(0x49, 2));
    assert_false(read_msr(0x10b, &v));
    assert_true(write_msr(0x10b, 1));
    assert_true(write_msr(0x79, 0x1234));
    /* TSC and its adjustment move together. */
    assert_int_equal(get(0x10), 0);
    assert_true(write_msr(0x10, 1000));
    assert_int_equal(get(0x10), 1000);
    assert_int_equal(get(0x3b), 1000);
    assert_true(write_msr(0x3b, 400));
    assert_int_equal(get(0x10), 400);
    /* FEATURE_CONTROL locks itself. */
    assert_true(write_msr(0x3a, 1));
    assert_false(write_msr(0x3a, 5));
    assert_false(write_msr(0x3a, 1));
    assert_int_equal(get(0x8b) >> 32, cpu->model->microcode);
    assert_true(write_msr(0x8b, 0));
    /* MISC_ENABLE: read-only bits stay. MWAIT bit shows in CPUID. */
    uint64_t enable = get(0x1a0);
    assert_true(write_msr(0x1a0, UINT64_C(0x400c50809)));
    assert_true((get(0x1a0) & UINT64_C(0x400c50009)) == UINT64_C(0x400c50009));
    assert_int_equal(get(0x1a0) & 0x1880, enable & 0x1880);
    assert_int_equal(leaf(1, 0, 2) >> 3 & 1, 1);
    assert_true(write_msr(0x1a0, 1));
    assert_int_equal(leaf(1, 0, 2) >> 3 & 1, 0);
    /* Segment bases are the segment registers'. */
    assert_true(write_msr(0xc0000101, 0x1234));
    assert_int_equal(cpu->s.seg[SEG_GS].base, 0x1234);
    assert_int_equal(get(0xc0000080), 0);
    assert_true(write_msr(0xc0000080, EFER_NXE));
    assert_int_equal(cpu->s.efer, EFER_NXE);
    close_cpu();
    open_cpu("skylake-server,-rdtscp");
    assert_false(read_msr(0xc0000103, &v));
    close_cpu();
    open_cpu("epyc-genoa");
    assert_int_equal(get(0x8b), cpu->model->microcode);
    assert_false(write_msr(0x8b, 0));
    assert_true(write_msr(0xc0000103, UINT64_C(0x100000007)));
    assert_int_equal(get(0xc0000103), 7);
    assert_true(write_msr(0xc0010015, 1 << 18));
    assert_true(write_msr(0x401, 5));
    close_cpu();
}

/* SDM 3A table 10-1. */
static void reset_and_init(void **state)
{
    (void)state;
    open_cpu("sapphire-rapids");
    struct cpu_state *s = &cpu->s;
    for (int init = 0; init < 2; init++) {
        assert_int_equal(s->gpr[REG_RIP], 0xfff0);
        assert_int_equal(s->seg[SEG_CS].selector, 0xf000);
        assert_true(s->seg[SEG_CS].base == 0xffff0000);
        assert_int_equal(s->gpr[RDX], 0x806f8);
        assert_int_equal(s->gpr[RAX], 0);
        assert_true(s->dr6 == 0xffff0ff0);
        assert_int_equal(s->dr7, 0x400);
        assert_int_equal(cpu_read_rflags(cpu), 2);
        assert_true(s->cr0 == (init ? CR0_CD | CR0_ET : CR0_CD | CR0_NW | CR0_ET));
        assert_int_equal(s->cr4 | s->cr3 | s->cr2 | s->efer, 0);
        assert_int_equal(s->idtr.limit, 0xffff);
        assert_int_equal(s->xcr0, init ? 0x203 : 1);
        assert_true(get(0x2ff) == (init ? 0xc06 : 0));
        assert_int_equal(s->fpu.cw, init ? 0x37f : 0x40);
        s->gpr[RAX] = s->gpr[RDX] = 5;
        s->cr0 = CR0_CD | CR0_PE | CR0_ET | CR0_TS;
        s->cr2 = s->cr3 = 0x1000;
        s->xcr0 = 0x203;
        s->fpu.cw = 0x37f;
        s->efer = EFER_NXE;
        assert_true(write_msr(0x2ff, 0xc06));
        s->gpr[REG_RIP] = 7;
        if (!init) cpu_init_reset(cpu);
    }
    close_cpu();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_show_in_their_bits),
        cmocka_unit_test(leaves_of_the_first_vendor),
        cmocka_unit_test(leaves_of_the_second_vendor),
        cmocka_unit_test(topology),
        cmocka_unit_test(models_parse),
        cmocka_unit_test(rows_ascend_and_do_not_overlap),
        cmocka_unit_test(writes_follow_their_rules),
        cmocka_unit_test(special_registers),
        cmocka_unit_test(reset_and_init),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
