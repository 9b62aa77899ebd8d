/* SPDX-License-Identifier: MIT */
/* Allowed and nearest values: each rule has a row, and a state that breaks the rule obeys it after the fields
 * took their nearest allowed values; also for random states. Judging with missing fields never claims too
 * much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "vmx_states.h"

static void advise_and_retry(const struct vmx_check_row *row, uint64_t round)
{
    struct vmx_check k;
    struct vmx_advice advice[ADVICE_MAX];
    uint64_t before[F_END];
    make_check(&k);
    unsigned n = vmx_advise(&k, row, advice);
    if (n == 0) fail_msg("%s: no field is wrong (round %llu)", row->id, (unsigned long long)round);
    memcpy(before, field, sizeof before);
    for (unsigned i = 0; i < n; i++) {
        if (!advice[i].has_nearest) {
            /* Only memory can cure this one. */
            assert_ptr_equal(row, &vmx_check_rows[CHECK_pdpte_memory]);
            return;
        }
        assert_true(advice[i].seen == field[advice[i].field]);
        assert_true(advice[i].nearest != advice[i].seen);
        field[advice[i].field] = advice[i].nearest;
    }
    make_check(&k);
    if (!row->holds(&k)) {
        for (unsigned i = 0; i < n; i++)
            print_message("%s: %llx -> %llx\n", vmcs_fields[advice[i].field].name,
                          (unsigned long long)advice[i].seen, (unsigned long long)advice[i].nearest);
        fail_msg("%s: still broken with the nearest values (round %llu)", row->id, (unsigned long long)round);
    }
    memcpy(field, before, sizeof before);
}

#define STATE(base, rule, breaking, passing) nearest_of_state(CHECK_##rule, BASE_##base, breaking, passing);
static void nearest_of_state(unsigned rule, void (*base)(void), const struct set *breaking,
                             unsigned breaking_count, const struct set *passing, unsigned passing_count)
{
    (void)passing, (void)passing_count;
    base();
    apply(breaking, breaking_count);
    advise_and_retry(&vmx_check_rows[rule], 0);
}

static void nearest_value_cures_every_rule(void **state)
{
    (void)state;
#include "vmx_check_states.def"
}

static void nearest_value_cures_random_states(void **state)
{
    (void)state;
    unsigned broken = 0;
    for (uint64_t round = 1; round <= 20000; round++) {
        random_state(round);
        struct vmx_check k;
        const struct vmx_check_row *row[CHECK_COUNT];
        make_check(&k);
        unsigned n = vmx_explain(&k, row, CHECK_COUNT);
        for (unsigned i = 0; i < n; i++)
            advise_and_retry(row[i], round);
        broken += n;
    }
    print_message("%u broken rules cured\n", broken);
}

/* A field that is missing makes a rule open or leaves its verdict as it is; never the opposite. */
static void hide_each_field(unsigned rule, bool breaking)
{
    const struct vmx_check_row *row = &vmx_check_rows[rule];
    uint64_t known[VMCS_DIRTY_WORDS], before[F_END];
    uint8_t reads[MISSING_MAX], none[MISSING_MAX];
    struct vmx_check k;
    memset(known, 0, sizeof known);
    unsigned n = vmx_missing_fields(known, row, reads);
    memcpy(before, field, sizeof before);
    for (unsigned hidden = 0; hidden <= n; hidden++) {
        memset(known, 0xff, sizeof known);
        for (unsigned i = 0; i < n; i++) {
            if (hidden < n && i != hidden) continue; /* the last round hides all */
            known[reads[i] / 64] &= ~(UINT64_C(1) << (reads[i] % 64));
            field[reads[i]] = 0;
        }
        make_check(&k);
        assert_int_equal(vmx_missing_fields(known, row, none), hidden < n ? 1 : n);
        enum vmx_verdict verdict = vmx_judge(&k, known, row);
        if (verdict == (breaking ? VERDICT_HOLDS : VERDICT_BROKEN))
            fail_msg("%s, %s state: wrong verdict without %s", row->id, breaking ? "breaking" : "passing",
                     hidden < n ? vmcs_fields[reads[hidden]].name : "any field");
        memcpy(field, before, sizeof before);
    }
    make_check(&k);
    assert_int_equal(vmx_judge(&k, NULL, row), breaking ? VERDICT_BROKEN : VERDICT_HOLDS);
}

#undef STATE
#define STATE(base, rule, breaking, passing) hide_in_state(CHECK_##rule, BASE_##base, breaking, passing);
static void hide_in_state(unsigned rule, void (*base)(void), const struct set *breaking,
                          unsigned breaking_count, const struct set *passing, unsigned passing_count)
{
    base();
    apply(breaking, breaking_count);
    hide_each_field(rule, true);
    base();
    apply(passing, passing_count);
    hide_each_field(rule, false);
}

static void missing_fields_never_claim_too_much(void **state)
{
    (void)state;
#include "vmx_check_states.def"
}

/* External interrupt injected with RFLAGS.IF = 0: one rule, one field, one bit. */
static void injection_with_interrupts_off(void **state)
{
    struct vmx_check k;
    struct vmx_advice advice[ADVICE_MAX];
    const struct vmx_check_row *row[2];
    char text[2000];
    (void)state;
    base_long();
    field[F_ENTRY_INTR_INFO] = INFO_VALID | 0x30;
    make_check(&k);
    assert_int_equal(vmx_explain(&k, row, 2), 1);
    assert_string_equal(row[0]->id, "rflags_if_extint");
    assert_int_equal(vmx_advise(&k, row[0], advice), 1);
    assert_int_equal(advice[0].field, F_GUEST_RFLAGS);
    assert_int_equal(advice[0].nearest, 0x202);
    struct vmx_report r = {
        .k = &k, .source = "test", .processor = "any", .has_code = true, .code = 0x80000021};
    size_t length = vmx_report_text(&r, text, sizeof text);
    assert_int_equal(length, strlen(text));
    assert_non_null(strstr(text, "1 broken rule:\n"));
    assert_non_null(strstr(text, "GUEST_RFLAGS             6820h  = 2h; allowed: bit 9 is 1; nearest: 202h"));
    assert_int_equal(vmx_report_text(&r, NULL, 0), length);
    length = vmx_report_json(&r, text, sizeof text);
    assert_true(length > sizeof text && strlen(text) == sizeof text - 1);
    assert_non_null(strstr(text, "\"nearest\":\"0x202\""));
}

/* Exit reason 34: no rule is broken, the MSR is named. */
static void failed_msr_loading(void **state)
{
    struct vmx_check k;
    char text[1000];
    (void)state;
    base_long();
    make_check(&k);
    struct vmx_report r = {.k = &k,
                           .source = "test",
                           .processor = "any",
                           .has_code = true,
                           .code = 0x80000022,
                           .qualification = 2,
                           .has_msr = true,
                           .msr_index = 0xc0000100,
                           .msr_value = 0x1234};
    vmx_report_text(&r, text, sizeof text);
    assert_non_null(strstr(text, "exit reason 34 (VM-entry failure: MSR loading), qualification 2"));
    assert_non_null(
        strstr(text, "entry 2 of the VM-entry MSR-load list cannot be loaded: MSR c0000100h, value 1234h"));
    assert_null(strstr(text, "broken rule"));
    vmx_report_json(&r, text, sizeof text);
    assert_non_null(strstr(text, "\"msr\":{\"index\":\"0xc0000100\",\"value\":\"0x1234\"}"));
}

static void words_for_allowed_values(void **state)
{
    static const struct {
        struct vmx_allowed set;
        const char *text;
    } cases[] = {
        {{ALLOWED_BITS, F_GUEST_RFLAGS, ~UINT64_C(0), 0x200, 0}, "bit 9 is 1"},
        {{ALLOWED_BITS, F_GUEST_RFLAGS, ~UINT64_C(0), 2, ~UINT64_C(0x3f7fd7)},
         "bit 1 is 1, bits 63:22, 15, 5, 3 are 0"},
        {{ALLOWED_BITS, F_GUEST_TR_AR, ~UINT64_C(0), 0, ~UINT64_C(0xffff)}, "bits 31:16 are 0"},
        {{ALLOWED_RANGE, F_CR3_TARGET_COUNT, ~UINT64_C(0), 0, 4}, "the value is 0h to 4h"},
        {{ALLOWED_RANGE, F_ENTRY_INTR_INFO, 0xff, 2, 2}, "bits 7:0 are 2h"},
        {{ALLOWED_ONE_OF, F_GUEST_CS_AR, 15, 0xaa00, 0}, "bits 3:0 are 9, bh, dh or fh"},
        {{ALLOWED_CANONICAL, F_GUEST_FS_BASE, ~UINT64_C(0), 48, 0}, "bits 63:48 equal bit 47"},
        {{ALLOWED_BYTES, F_GUEST_PAT, ~UINT64_C(0), 0xf3, 0}, "each byte is 0, 1, 4, 5, 6 or 7"},
    };
    char text[200], cut[8];
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(vmx_allowed_text(&cases[i].set, text, sizeof text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
        assert_int_equal(vmx_allowed_text(&cases[i].set, cut, sizeof cut), strlen(cases[i].text));
        assert_int_equal(strlen(cut), 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nearest_value_cures_every_rule),
        cmocka_unit_test(nearest_value_cures_random_states),
        cmocka_unit_test(missing_fields_never_claim_too_much),
        cmocka_unit_test(injection_with_interrupts_off),
        cmocka_unit_test(failed_msr_loading),
        cmocka_unit_test(words_for_allowed_values),
    };
    return cmocka_run_group_tests(tests, make_cap, NULL);
}
