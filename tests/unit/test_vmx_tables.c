/* SPDX-License-Identifier: MIT */
/* The VMX tables against their own rules: encodings, existence of fields, capability MSRs of every model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "cpu/cpuid.h"
#include "vmx/explain.h"

static const char *const models[] = {"skylake-server", "icelake-server", "sapphire-rapids", "max-intel"};

static void cap_of(struct vmx_cap *cap, const char *model)
{
    uint64_t features[8];
    memset(features, 0xff, sizeof features);
    vmx_cap_init(cap, model, features, 46, 48);
}

static void encodings_agree_with_width_and_class(void **state)
{
    (void)state;
    for (int i = 0; i < F_COUNT; i++) {
        const struct vmcs_field_info *f = &vmcs_fields[i];
        assert_int_equal(f->encoding >> 13 & 3, f->width);
        assert_int_equal(f->encoding >> 10 & 3, f->class);
        assert_int_equal(f->encoding & 0x9001, 0);
        assert_int_equal(vmcs_lookup(f->encoding), i);
        assert_int_equal(vmcs_lookup(f->encoding | 1u), f->width == W64 ? i : -1);
        assert_int_equal(vmcs_lookup(f->encoding | 0x1000u), -1);
        assert_int_equal(vmcs_lookup(f->encoding | UINT64_C(1) << 32), -1);
    }
    assert_int_equal(vmcs_lookup(ENC_PREEMPTION_TIMER - 2), -1);
    assert_int_equal(vmcs_lookup(ENC_GUEST_CS_SELECTOR | 0x200), -1); /* index beyond every field */
}

/* entry_checks.c and the segment code index fields by enum seg_id. */
static void guest_segments_stand_in_register_order(void **state)
{
    (void)state;
    assert_int_equal(F_GUEST_ES_SELECTOR + SEG_TR, F_GUEST_TR_SELECTOR);
    assert_int_equal(F_GUEST_ES_LIMIT + SEG_TR, F_GUEST_TR_LIMIT);
    assert_int_equal(F_GUEST_ES_AR + SEG_LDTR, F_GUEST_LDTR_AR);
    assert_int_equal(F_GUEST_ES_BASE + SEG_GS, F_GUEST_GS_BASE);
}

static void access_types(void **state)
{
    (void)state;
    uint64_t v = UINT64_C(0x1122334455667788);
    assert_int_equal(vmcs_extract(F_TSC_OFFSET, ENC_TSC_OFFSET, v), v);
    assert_int_equal(vmcs_extract(F_TSC_OFFSET, ENC_TSC_OFFSET + 1, v), 0x11223344);
    assert_int_equal(vmcs_merge(F_TSC_OFFSET, ENC_TSC_OFFSET + 1, v, UINT64_C(0xffffffffaabbccdd)),
                     UINT64_C(0xaabbccdd55667788));
    assert_int_equal(vmcs_merge(F_TSC_OFFSET, ENC_TSC_OFFSET, v, 5), 5);
    assert_int_equal(vmcs_merge(F_VPID, ENC_VPID, 0, 0x12345), 0x2345);
}

static void control_rows_are_unique_and_named_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < vmx_control_count; i++)
        for (unsigned j = 0; j < i; j++)
            assert_false(vmx_controls[i].word == vmx_controls[j].word &&
                         vmx_controls[i].bit == vmx_controls[j].bit);
}

static void capability_msrs_are_consistent(void **state)
{
    (void)state;
    static const struct {
        uint16_t plain, precise;
    } pair[] = {{0x481, 0x48d}, {0x482, 0x48e}, {0x483, 0x48f}, {0x484, 0x490}};
    for (unsigned m = 0; m < 4; m++) {
        struct vmx_cap cap;
        cap_of(&cap, models[m]);
        for (unsigned i = 0; i < 4; i++) {
            uint64_t p = vmx_cap_msr(&cap, pair[i].plain), t = vmx_cap_msr(&cap, pair[i].precise);
            assert_int_equal(p >> 32, t >> 32);
            assert_int_equal(t & p & 0xffffffff, t & 0xffffffff);    /* TRUE must-be-1 is a subset */
            assert_int_equal((uint32_t)p & ~(uint32_t)(p >> 32), 0); /* must-be-1 may be 1 */
        }
        assert_int_equal((uint32_t)vmx_cap_msr(&cap, 0x481), 0x16);
        assert_int_equal((uint32_t)vmx_cap_msr(&cap, 0x482), 0x0401e172);
        assert_int_equal((uint32_t)vmx_cap_msr(&cap, 0x48e), 0x04006172);
        assert_int_equal((uint32_t)vmx_cap_msr(&cap, 0x483), 0x00036dff);
        assert_int_equal((uint32_t)vmx_cap_msr(&cap, 0x48f), 0x00036dfb);
        assert_int_equal((uint32_t)vmx_cap_msr(&cap, 0x484), 0x000011ff);
        assert_int_equal((uint32_t)vmx_cap_msr(&cap, 0x490), 0x000011fb);
        assert_int_equal((uint32_t)vmx_cap_msr(&cap, 0x48b), 0);
        assert_int_equal(vmx_cap_msr(&cap, 0x486), 0x80000021);
        assert_int_equal(vmx_cap_msr(&cap, 0x488), 0x2000);
        assert_int_equal(vmx_cap_msr(&cap, 0x480) >> 50 & 15, 6);
        assert_int_equal((cap.present >> 0x11 & 1), (vmx_cap_msr(&cap, 0x48b) >> 45 & 1));
        unsigned highest = 0;
        for (unsigned index = 0; index < 512; index++)
            for (unsigned kind = 0; kind < 16; kind++) {
                int f = vmcs_lookup((kind & 3) << 13 | (kind >> 2) << 10 | index << 1);
                if (f >= 0 && vmcs_field_exists(&cap, f)) highest = index;
            }
        assert_int_equal(vmx_cap_msr(&cap, 0x48a), highest << 1);
    }
}

/* What Linux 6.1 demands of a VMX processor before it loads kvm-intel, and the options it then uses. */
static void linux_kvm_finds_what_it_needs(void **state)
{
    (void)state;
    struct vmx_cap cap;
    cap_of(&cap, "skylake-server");
    assert_true(
        vmx_cap_allows(&cap, W_PIN, PIN_EXTINT_EXIT | PIN_NMI_EXIT | PIN_VIRTUAL_NMI | PIN_PREEMPTION_TIMER));
    assert_true(vmx_cap_allows(&cap, W_PRI,
                               PRI_HLT_EXIT | PRI_CR3_LOAD_EXIT | PRI_CR3_STORE_EXIT | PRI_IO_EXIT |
                                   PRI_MOV_DR_EXIT | PRI_TSC_OFFSET | PRI_MWAIT_EXIT | PRI_MONITOR_EXIT |
                                   PRI_INVLPG_EXIT | PRI_RDPMC_EXIT | PRI_INTR_WINDOW | PRI_CR8_LOAD_EXIT |
                                   PRI_CR8_STORE_EXIT | PRI_TPR_SHADOW | PRI_MSR_BITMAPS | PRI_SECONDARY));
    assert_true(vmx_cap_allows(
        &cap, W_SEC, SEC_EPT | SEC_VPID | SEC_UNRESTRICTED | SEC_RDTSCP | SEC_INVPCID | SEC_XSAVES));
    assert_true(vmx_cap_allows(
        &cap, W_EXI, EXI_SAVE_DEBUG | EXI_ACK_INTR | EXI_HOST_64BIT | EXI_LOAD_EFER | EXI_LOAD_PAT));
    assert_true(vmx_cap_allows(&cap, W_ENT, ENT_LOAD_DEBUG | ENT_IA32E_GUEST | ENT_LOAD_EFER | ENT_LOAD_PAT));
    assert_int_equal(cap.allowed0[W_PRI] & (PRI_CR3_LOAD_EXIT | PRI_CR3_STORE_EXIT), 0);
}

static void a_control_without_its_feature_is_not_offered(void **state)
{
    (void)state;
    struct vmx_cap cap;
    uint64_t features[8];
    memset(features, 0xff, sizeof features);
    features[FEAT_INVPCID / 64] &= ~(UINT64_C(1) << (FEAT_INVPCID % 64));
    vmx_cap_init(&cap, "skylake-server", features, 46, 48);
    assert_false(vmx_cap_allows(&cap, W_SEC, SEC_INVPCID));
    assert_true(vmx_cap_allows(&cap, W_SEC, SEC_RDTSCP));
    assert_int_equal(vmcs_field_exists(&cap, F_GUEST_PKRS), 0);
}

/* The capability MSRs of each model as it stands in the table of CPU models. Like the real processors: 48CH
 * has the five-level walk from Ice Lake on, 48BH sub-page permissions from there, user wait, bus locks and
 * the instruction timeout from Sapphire Rapids on, which also brings tertiary controls (482H, 492H: IPI
 * virtualization), saving IA32_PERF_GLOBAL_CTRL (483H) and bit 56 of 480H. Only max-intel has HLAT, the
 * paging-write controls, PKRS and the IA32_SPEC_CTRL controls. Unlike them: nothing of processor trace, SGX,
 * MPX, CET, user interrupts, LBR, PASIDs, SMM transfer, because the processor has none of it. */
static void models_differ_as_listed(void **state)
{
    (void)state;
    static const uint64_t expected[4][20] = {{0x00d8100000000016,
                                              0x000000ff00000016,
                                              0xfff9fffe0401e172,
                                              0x007fffff00036dff,
                                              0x0000f3ff000011ff,
                                              0x600401e5,
                                              0x80000021,
                                              0xffffffff,
                                              0x2000,
                                              0x7727ff,
                                              0x32,
                                              0x02577fff00000000,
                                              0x00000f0106734141,
                                              0x000000ff00000016,
                                              0xfff9fffe04006172,
                                              0x007fffff00036dfb,
                                              0x0000f3ff000011fb,
                                              1,
                                              0,
                                              0},
                                             {0x00d8100000000017,
                                              0x000000ff00000016,
                                              0xfff9fffe0401e172,
                                              0x007fffff00036dff,
                                              0x0000f3ff000011ff,
                                              0x600401e5,
                                              0x80000021,
                                              0xffffffff,
                                              0x2000,
                                              0x773fff,
                                              0x32,
                                              0x02d77fff00000000,
                                              0x00000f01067341c1,
                                              0x000000ff00000016,
                                              0xfff9fffe04006172,
                                              0x007fffff00036dfb,
                                              0x0000f3ff000011fb,
                                              1,
                                              0,
                                              0},
                                             {0x01d8100000000019,
                                              0x000000ff00000016,
                                              0xfffbfffe0401e172,
                                              0x407fffff00036dff,
                                              0x0000f3ff000011ff,
                                              0x600401e5,
                                              0x80000021,
                                              0xffffffff,
                                              0x2000,
                                              0x773fff,
                                              0x42,
                                              0xc6d77fff00000000,
                                              0x00000f01067341c1,
                                              0x000000ff00000016,
                                              0xfffbfffe04006172,
                                              0x407fffff00036dfb,
                                              0x0000f3ff000011fb,
                                              1,
                                              0x10,
                                              0},
                                             {0x01d810000000001d,
                                              0x000000ff00000016,
                                              0xfffbfffe0401e172,
                                              0xe07fffff00036dff,
                                              0x0140f3ff000011ff,
                                              0x600401e5,
                                              0x80000021,
                                              0xffffffff,
                                              0x2000,
                                              0x1773fff,
                                              0x4c,
                                              0xc6d77fff00000000,
                                              0x00340f01067341c1,
                                              0x000000ff00000016,
                                              0xfffbfffe04006172,
                                              0xe07fffff00036dfb,
                                              0x0140f3ff000011fb,
                                              1,
                                              0x9e,
                                              4}};
    for (unsigned m = 0; m < 4; m++) {
        const struct cpu_model *model;
        uint64_t features[FEATURE_WORDS];
        char err[200];
        struct vmx_cap cap;
        assert_true(cpu_model_parse(models[m], &model, features, err, sizeof err));
        vmx_cap_init(&cap, models[m], features, 46, 57);
        for (unsigned i = 0; i < 20; i++)
            if (cap.msr[i] != expected[m][i])
                fail_msg("%s: MSR %xh is %llx", models[m], 0x480 + i, (unsigned long long)cap.msr[i]);
        /* Each bit of a lesser model is a bit of max-intel, on which test_vmx_bits runs them. */
        for (unsigned i = 1; i < 20; i++)
            if (i != 5 && i != 9 && i != 10) assert_int_equal(expected[m][i] & ~expected[3][i], 0);
        assert_int_equal(cap.present >> 0x12 & 1, m >= 2); /* 492H */
        assert_int_equal(cap.present >> 0x13 & 1, m == 3); /* 493H */
    }
}

static void canonical_addresses(void **state)
{
    (void)state;
    assert_true(vmx_canonical(48, UINT64_C(0x00007fffffffffff)));
    assert_false(vmx_canonical(48, UINT64_C(0x0000800000000000)));
    assert_true(vmx_canonical(48, UINT64_C(0xffff800000000000)));
    assert_true(vmx_canonical(57, UINT64_C(0x0000800000000000)));
    assert_false(vmx_canonical(57, UINT64_C(0x0100000000000000)));
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(vmx_exit_reason_name(0x80000021), "VM-entry failure: invalid guest state");
    assert_string_equal(vmx_exit_reason_name(48), "EPT violation");
    assert_string_equal(vmx_exit_reason_name(35), "reserved");
    assert_string_equal(vmx_exit_reason_name(0xffff), "reserved");
    assert_string_equal(vmx_error_name(7), "VM entry with invalid control field(s)");
    assert_string_equal(vmx_error_name(1000), "reserved");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodings_agree_with_width_and_class),
        cmocka_unit_test(guest_segments_stand_in_register_order),
        cmocka_unit_test(access_types),
        cmocka_unit_test(control_rows_are_unique_and_named_once),
        cmocka_unit_test(capability_msrs_are_consistent),
        cmocka_unit_test(linux_kvm_finds_what_it_needs),
        cmocka_unit_test(a_control_without_its_feature_is_not_offered),
        cmocka_unit_test(models_differ_as_listed),
        cmocka_unit_test(canonical_addresses),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
