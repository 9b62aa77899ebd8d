/* SPDX-License-Identifier: MIT */
/* Every VM-entry check from both sides: a state that breaks exactly that rule's predicate, and a neighbour
 * that passes all rules. A row without such a pair fails the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "vmx_states.h"

/* Broken rows, printed when there are more than expected. */
static const struct vmx_check_row *first_broken(const struct vmx_check *k)
{
    const struct vmx_check_row *row[1];
    return vmx_explain(k, row, 1) ? row[0] : NULL;
}

static void both_bases_are_valid(void **state)
{
    struct vmx_check k;
    (void)state;
    base_long();
    make_check(&k);
    assert_null(first_broken(&k));
    base_v86();
    make_check(&k);
    assert_null(first_broken(&k));
}

#define STATE(base, rule, breaking, passing) both_sides(CHECK_##rule, BASE_##base, breaking, passing);

static bool seen[CHECK_COUNT];
static unsigned exact; /* breaking states whose first broken rule of the stage is the one meant */

static void both_sides(unsigned rule, void (*base)(void), const struct set *breaking, unsigned breaking_count,
                       const struct set *passing, unsigned passing_count)
{
    const struct vmx_check_row *meant = &vmx_check_rows[rule];
    struct vmx_check k;
    seen[rule] = true;
    base();
    apply(breaking, breaking_count);
    make_check(&k);
    if (meant->holds(&k)) fail_msg("%s: the breaking state passes", meant->id);
    exact += vmx_check_stage(&k, (enum check_stage)meant->stage) == meant;
    base();
    apply(passing, passing_count);
    make_check(&k);
    const struct vmx_check_row *broken = first_broken(&k);
    if (broken) fail_msg("%s: the passing state breaks %s", meant->id, broken->id);
}

static void every_rule_from_both_sides(void **state)
{
    unsigned missing = 0;
    (void)state;
#include "vmx_check_states.def"
    for (int i = 0; i < CHECK_COUNT; i++)
        if (!seen[i]) {
            print_message("no state for %s\n", vmx_check_rows[i].id);
            missing++;
        }
    assert_int_equal(missing, 0);
    print_message("%u rules, %u of them first in their stage when broken\n", (unsigned)CHECK_COUNT, exact);
}

static void rows_are_well_formed(void **state)
{
    (void)state;
    assert_int_equal(vmx_check_row_count, CHECK_COUNT);
    for (unsigned i = 0; i < vmx_check_row_count; i++) {
        const struct vmx_check_row *row = &vmx_check_rows[i];
        assert_true(row->read_count > 0 && row->read_count <= 8);
        assert_true((row->stage == STAGE_CONTROL) == (row->outcome.vmfail == 7));
        assert_true((row->stage == STAGE_HOST) == (row->outcome.vmfail == 8));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(row->id, vmx_check_rows[j].id);
    }
}

/* Entries judge only the rows whose inputs changed: the verdict must be that of all rows. */
static void selected_rows_decide_like_all(void **state)
{
    static const uint64_t values[] = {
        0, 1, 3, 0x10, 0xffff, 0x8008, 0x1000, UINT64_C(1) << 32, ~UINT64_C(0), WIDE};
    uint64_t seed = 88172645463325252, rows[VMX_CHECK_WORDS];
    struct vmx_check k;
    (void)state;
    for (unsigned i = 1; i < vmx_check_row_count; i++)
        assert_true(vmx_check_rows[i - 1].stage <= vmx_check_rows[i].stage);
    for (int round = 0; round < 100000; round++) {
        uint64_t dirty[VMCS_DIRTY_WORDS] = {0};
        if (round & 1)
            base_v86();
        else
            base_long();
        for (int n = 0; n < 2; n++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            unsigned changed = (unsigned)(seed % F_COUNT);
            uint64_t value = values[seed / F_COUNT % (sizeof values / sizeof values[0])];
            field[changed] = seed >> 60 & 1 ? field[changed] ^ (UINT64_C(1) << (seed >> 40 & 31)) : value;
            field[changed] &= vmcs_width_mask((int)changed);
            dirty[changed / 64] |= UINT64_C(1) << (changed % 64);
        }
        make_check(&k);
        vmx_check_select(&cap, dirty, rows);
        const struct vmx_check_row *some = vmx_check_selected(&k, rows), *all = first_broken(&k);
        if (some != all)
            fail_msg("selected rows say %s, all say %s", some ? some->id : "valid", all ? all->id : "valid");
    }
}

/* A word comes into effect by its activation bit: rows that read it look at that bit too. */
static void activation_bit_selects_rows_of_its_word(void **state)
{
    uint64_t dirty[VMCS_DIRTY_WORDS] = {0}, rows[VMX_CHECK_WORDS];
    struct vmx_check k;
    (void)state;
    base_long();
    field[F_SECONDARY_CONTROLS] = SEC_VPID;
    field[F_PRIMARY_CONTROLS] &= ~(uint64_t)PRI_SECONDARY;
    make_check(&k);
    assert_null(first_broken(&k));
    field[F_PRIMARY_CONTROLS] |= PRI_SECONDARY;
    make_check(&k);
    dirty[F_PRIMARY_CONTROLS / 64] |= UINT64_C(1) << (F_PRIMARY_CONTROLS % 64);
    vmx_check_select(&cap, dirty, rows);
    assert_ptr_equal(vmx_check_selected(&k, rows), &vmx_check_rows[CHECK_vpid_zero]);
}

static void explanation_names_rule_and_fields(void **state)
{
    struct vmx_check k;
    char text[512];
    (void)state;
    base_long();
    field[F_VMCS_LINK] = 0x8008;
    field[F_GUEST_RFLAGS] = 0;
    make_check(&k);
    const struct vmx_check_row *rows[8];
    assert_int_equal(vmx_explain(&k, rows, 8), 2);
    vmx_explain_row(&k, rows[1], false, text, sizeof text);
    assert_string_equal(
        text, "link_align (SDM 3C 27.3.1.5, exit reason 33, qualification 4): the VMCS link pointer must be "
              "4-KByte aligned; VMCS_LINK (2800h) = 8008h");
    vmx_explain_row(&k, rows[0], true, text, sizeof text);
    assert_non_null(
        strstr(text, "{\"field\": \"GUEST_RFLAGS\", \"encoding\": \"0x6820\", \"value\": \"0x0\"}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_well_formed),
        cmocka_unit_test(both_bases_are_valid),
        cmocka_unit_test(every_rule_from_both_sides),
        cmocka_unit_test(selected_rows_decide_like_all),
        cmocka_unit_test(activation_bit_selects_rows_of_its_word),
        cmocka_unit_test(explanation_names_rule_and_fields),
    };
    return cmocka_run_group_tests(tests, make_cap, NULL);
}
