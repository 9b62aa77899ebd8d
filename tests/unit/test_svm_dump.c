/* SPDX-License-Identifier: MIT */
/* Printed VMCBs are read as they stand in logs: parts of fields on several lines, decimal numbers, both forms
 * of the intercepts, several VMCBs; rules are open exactly when missing bits or memory decide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "svm/dump.h"

static struct svm_dump dump;
static char message[200];

static bool parse_number(const char *text, unsigned number)
{
    return svm_dump_parse(text, strlen(text), number, &dump, message, sizeof message);
}
static bool parse(const char *text) { return parse_number(text, 0); }

#define CONTROL "VMCB Control Area:\n"
#define STATE "VMCB State Save Area:\n"
#define XEN "Dumping guest's current state at x...\nSize of VMCB = 4096, paddr = 0, vaddr = 0\n"

static void lines_give_fields(void **state)
{
    static const struct {
        const char *section, *line;
        unsigned field;
        uint64_t value, have;
    } cases[] = {
        {CONTROL, "cr_read:            0110", VMCB_INTERCEPT_CR, 0x110, 0xffff},
        {CONTROL, "[ 1.5] SVM: cr_write:           0110", VMCB_INTERCEPT_CR, 0x1100000, 0xffff0000},
        {CONTROL, "intercepts:         bc4c8027 0000624f", VMCB_INTERCEPT_3, 0xbc4c8027, 0xffffffff},
        {CONTROL, "intercepts:         bc4c8027 0000624f", VMCB_INTERCEPT_4, 0x624f, 0xffffffff},
        {CONTROL, "intercepts:         0000624fbc4c8027", VMCB_INTERCEPT_3, 0xbc4c8027, 0xffffffff},
        {CONTROL, "intercepts:         0000624fbc4c8027", VMCB_INTERCEPT_4, 0x624f, 0xffffffff},
        {CONTROL, "pause filter count: 3000", VMCB_PAUSE_COUNT, 3000, 0xffff},
        {CONTROL, "pause filter threshold:128", VMCB_PAUSE_THRESHOLD, 128, 0xffff},
        {CONTROL, "asid:               27", VMCB_ASID, 27, 0xffffffff},
        {CONTROL, "asid:               -1", VMCB_ASID, 0xffffffff, 0xffffffff},
        {CONTROL, "int_ctl:            07000200", VMCB_VINTR, 0x7000200, 0xffffffff},
        {CONTROL, "int_vector:         00000021", VMCB_VINTR, UINT64_C(0x21) << 32,
         UINT64_C(0xffffffff) << 32},
        {CONTROL, "exit_code:          ffffffff", VMCB_EXITCODE, ~UINT64_C(0), ~UINT64_C(0)},
        {CONTROL, "exit_code:          0000007b", VMCB_EXITCODE, 0x7b, ~UINT64_C(0)},
        {CONTROL, "nested_ctl:         -2", VMCB_NESTED_CONTROL, ~UINT64_C(1), ~UINT64_C(0)},
        {CONTROL, "event_inj_err:      00000010", VMCB_EVENTINJ_ERROR, 0x10, 0xffffffff},
        {STATE, "kvm_amd: cs:   s: f000 a: 009b l: 0000ffff b: 00000000ffff0000", VMCB_CS_BASE, 0xffff0000,
         ~UINT64_C(0)},
        {STATE, "gdtr: s: 0000 a: 0000 l: 0000007f b: fffffe0000001000", VMCB_GDTR_LIMIT, 0x7f, 0xffffffff},
        {STATE, "cpl:            3                efer:         0000000000001d01", VMCB_EFER, 0x1d01,
         ~UINT64_C(0)},
        {STATE, "vmpl: 0   cpl:  3               efer:          0000000000001000", VMCB_CPL, 3, 0xff},
        {STATE, "cr0:            0000000060000010 cr2:          0000000000000123", VMCB_CR2, 0x123,
         ~UINT64_C(0)},
        {XEN, "(XEN) [2026-01-01 10:00:00]   SS: 002b 0cf3 ffffffff 0000000000000000", VMCB_SS_ATTRIB, 0xcf3,
         0xffff},
        {XEN, "(XEN) event_inj 0000001080000b0e, valid? 1, ec? 1", VMCB_EVENTINJ, 0x80000b0e, 0xffffffff},
        {XEN, "(XEN) event_inj 0000001080000b0e, valid? 1, ec? 1", VMCB_EVENTINJ_ERROR, 0x10, 0xffffffff},
        {XEN, "np_ctrl = 0x1 guest_asid = 0x1b", VMCB_ASID, 0x1b, 0xffffffff},
        {XEN, "asid = 0x1b np_ctrl = 0x1: NP", VMCB_NESTED_CONTROL, 1, ~UINT64_C(0)},
        {XEN, "DR6 = 0x00000000ffff0ff0, DR7 = 0x0000000000000400", VMCB_DR7, 0x400, ~UINT64_C(0)},
        {XEN, "H_CR3 = 0x0000000000001000 CleanBits = 0x3ff", VMCB_N_CR3, 0x1000, ~UINT64_C(0)},
    };
    char text[512];
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* Another field, so that parts alone are a VMCB, too. */
        const char *other = cases[i].section[0] == 'D'             ? "RAX = 0x1\n"
                            : strcmp(cases[i].section, STATE) == 0 ? "rax: 0000000000000001\n"
                                                                   : "virt_ext: 0\n";
        snprintf(text, sizeof text, "%s%s\n%s", cases[i].section, cases[i].line, other);
        if (!parse(text)) fail_msg("%s: %s", cases[i].line, message);
        if (dump.f[cases[i].field] != cases[i].value || dump.have[cases[i].field] != cases[i].have)
            fail_msg("%s: %llx, bits %llx", cases[i].line, (unsigned long long)dump.f[cases[i].field],
                     (unsigned long long)dump.have[cases[i].field]);
    }
}

static void wrong_lines_give_nothing(void **state)
{
    static const char *const lines[] = {CONTROL "asid: 99999999999\n",
                                        CONTROL "asid: 1b\n",
                                        CONTROL "cr_read: 10000\n",
                                        CONTROL "next_asid: 1\n",
                                        STATE "asid: 1\n",
                                        CONTROL "cr0: 0000000000000001\n",
                                        CONTROL "asid: 12",
                                        XEN "CR0 = zero\n",
                                        CONTROL "iopm_base_pa: 00000000000000000\n",
                                        CONTROL "exceptions: 1ffffffff\n"};
    (void)state;
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_false(parse(lines[i]));
        assert_string_equal(message, "the VMCB has no field that can be read");
    }
}

static void several_structures(void **state)
{
    static const char log[] = CONTROL "asid: 1\n" STATE "cr0: 11\n" CONTROL "asid: 2\n" STATE "cr0: 12\n" XEN
                                      "asid = 0x3\n" STATE "cr0: 14\n";
    static const uint64_t asid[] = {1, 2, 3, 0}, cr0[] = {0x11, 0x12, 0, 0x14};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_true(parse_number(log, i));
        assert_int_equal(dump.structures, 4);
        assert_int_equal(dump.f[VMCB_ASID], asid[i]);
        assert_int_equal(dump.f[VMCB_CR0], cr0[i]);
    }
    assert_false(parse_number(log, 4));
    assert_string_equal(message, "the file has 4 VMCBs, so there is no number 5");
}

/* The first value counts; state of SEV-ES guests counts where it was decrypted. */
static void first_and_protected(void **state)
{
    (void)state;
    assert_true(parse(CONTROL "asid: 1\nasid: 2\n"));
    assert_int_equal(dump.f[VMCB_ASID], 1);
    assert_true(parse("VMCB 1, last attempted VMRUN on CPU 7\n" CONTROL "nested_ctl: 7\n" STATE "cr0: 11\n"));
    assert_int_equal(dump.have[VMCB_CR0], 0);
    assert_int_equal(dump.fields, 1);
    assert_true(parse("SEV-ES vCPU1 VMCB 1, last attempted VMRUN on CPU 7\n" CONTROL "nested_ctl: 7\n" STATE
                      "cr0: 11\n"));
    assert_int_equal(dump.f[VMCB_CR0], 0x11);
}

static void json_values(void **state)
{
    (void)state;
    assert_true(parse("{\"fields\":{\"EFER\":\"0xd01\",\"0x058\":\"7\",\"CPL\":3},\"host_paging\":false}"));
    assert_int_equal(dump.f[VMCB_EFER], 0xd01);
    assert_int_equal(dump.f[VMCB_ASID], 7);
    assert_int_equal(dump.f[VMCB_CPL], 3);
    assert_false(dump.host_paging);
    assert_false(parse("{\"fields\":{\"CPL\":256}}"));
    assert_false(parse("{\"fields\":{\"CPL\":\"-1\"}}"));
    assert_false(parse("{\"fields\":{\"GUEST_CR0\":1}}"));
    assert_string_equal(message, "JSON: unknown VMCB field 'GUEST_CR0'");
    assert_false(parse("{\"fields\":{\"A\\u001b\\n\":1}}"));
    assert_string_equal(message, "JSON: unknown VMCB field 'A?\?'");
}

/* With nothing known every rule is open but the one that only looks at the host; with all fields known only
 * the rule that looks at memory may be. */
static void judging(void **state)
{
    struct svm_cap cap;
    struct svm_check k;
    uint64_t f[VMCB_FIELDS] = {0}, have[VMCB_FIELDS] = {0};
    (void)state;
    assert_true(svm_cap_any(&cap));
    svm_check_init(&k, &cap, f);
    for (unsigned i = 0; i < SVMCHECK_COUNT; i++) {
        enum svm_verdict v = svm_judge(&k, have, &svm_check_rows[i]);
        if (v != (i == SVMCHECK_np_host_paging ? SVM_HOLDS : SVM_UNKNOWN))
            fail_msg("%s: verdict %d with no field known", svm_check_rows[i].id, v);
    }
    for (unsigned n = 0; n < 2; n++) {
        memset(f, n ? 0xff : 0, sizeof f);
        for (unsigned i = 0; i < VMCB_FIELDS; i++)
            f[i] &= vmcb_field_mask(i);
        for (unsigned i = 0; i < SVMCHECK_COUNT; i++)
            assert_int_equal(svm_judge(&k, NULL, &svm_check_rows[i]),
                             svm_check_rows[i].holds(&k) ? SVM_HOLDS : SVM_BROKEN);
    }
    /* PAE paging without nested paging: memory decides. */
    memset(f, 0, sizeof f);
    f[VMCB_CR0] = CR0_PG | CR0_PE;
    f[VMCB_CR4] = CR4_PAE;
    assert_int_equal(svm_judge(&k, NULL, &svm_check_rows[SVMCHECK_pdpte_reserved]), SVM_UNKNOWN);
    f[VMCB_NESTED_CONTROL] = NESTED_NP;
    assert_int_equal(svm_judge(&k, NULL, &svm_check_rows[SVMCHECK_pdpte_reserved]), SVM_HOLDS);
    /* One known field is enough for some verdicts. */
    have[VMCB_CR4] = ~UINT64_C(0);
    assert_int_equal(svm_judge(&k, have, &svm_check_rows[SVMCHECK_pcide_long]), SVM_HOLDS);
    assert_int_equal(svm_judge(&k, have, &svm_check_rows[SVMCHECK_long_pae]), SVM_HOLDS);
    f[VMCB_CR4] = 0;
    assert_int_equal(svm_judge(&k, have, &svm_check_rows[SVMCHECK_long_pae]), SVM_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_give_fields),  cmocka_unit_test(wrong_lines_give_nothing),
        cmocka_unit_test(several_structures), cmocka_unit_test(first_and_protected),
        cmocka_unit_test(json_values),        cmocka_unit_test(judging),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
