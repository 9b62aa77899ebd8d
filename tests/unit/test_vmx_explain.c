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
        cmocka_unit_test(words_for_allowed_values),
    };
    return cmocka_run_group_tests(tests, make_cap, NULL);
}
