/* SPDX-License-Identifier: MIT */
/* Warnings of -strict-vmcs: each mistake gives its warning once, and its neighbour that is none gives
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmx_states.h"

#include "vmx/strict.h"

static struct cpu *c;
static struct vmx_state *x;
static struct vmx_strict *s;
static char text[2560];

static int start(void **state)
{
    (void)state;
    c = calloc(1, sizeof *c);
    x = calloc(1, sizeof *x);
    s = vmx_strict_create();
    if (!c || !x || !s) return -1;
    make_cap(NULL);
    x->cap = cap;
    base_long();
    memcpy(x->vmcs.f, field, sizeof x->vmcs.f);
    x->mode = VMX_ROOT;
    x->current = 0x6000;
    c->ext_state = x;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    vmx_strict_destroy(s);
    free(x);
    free(c);
    return 0;
}

static const char *event(enum probe_point point, uint64_t a, uint64_t b)
{
    size_t n = vmx_strict_event(s, c, point, a, b, text, sizeof text);
    assert_int_equal(n, strlen(text));
    return text;
}

static void exit_with(uint32_t reason, uint64_t qualification)
{
    x->vmcs.f[F_EXIT_REASON] = reason;
    x->vmcs.f[F_EXIT_QUALIFICATION] = qualification;
    x->vmcs.f[F_EXIT_INTR_INFO] = x->vmcs.f[F_IDT_VECTORING_INFO] = 0;
    assert_string_equal(event(PROBE_VM_EXIT, reason, qualification), "");
}

static void undefined_exit_fields(void **state)
{
    (void)state;
    exit_with(REASON_CPUID, 0);
    assert_string_equal(event(PROBE_VMCS_READ, ENC_EXIT_INSN_LENGTH, 2), "");
    assert_string_equal(event(PROBE_VMCS_READ, ENC_EXIT_INTR_INFO, 0), "");
    assert_string_equal(event(PROBE_VMCS_READ, ENC_GUEST_RIP, 0), "");
    assert_string_equal(event(PROBE_VMCS_READ, ENC_GUEST_LINEAR_ADDR, 0),
                        "VMREAD of GUEST_LINEAR_ADDR (640ah): undefined after exit reason 10 (CPUID)");
    assert_string_equal(event(PROBE_VMCS_READ, ENC_GUEST_LINEAR_ADDR, 0), ""); /* once */
    exit_with(REASON_EPT_VIOLATION, 0x81);
    assert_string_equal(event(PROBE_VMCS_READ, ENC_GUEST_LINEAR_ADDR, 0), "");
    assert_string_equal(event(PROBE_VMCS_READ, ENC_GUEST_PHYSICAL_ADDR, 0), "");
    exit_with(REASON_EPT_VIOLATION, 1);
    assert_non_null(strstr(event(PROBE_VMCS_READ, ENC_GUEST_LINEAR_ADDR, 0), "exit reason 48"));
    exit_with(REASON_EPT_MISCONFIG, 0);
    assert_non_null(strstr(event(PROBE_VMCS_READ, ENC_EXIT_INSN_LENGTH, 0), "EPT misconfiguration"));
    exit_with(REASON_IO, 0x10);
    assert_string_equal(event(PROBE_VMCS_READ, ENC_EXIT_INSN_INFO, 0), "");
    exit_with(REASON_IO, 0);
    assert_non_null(strstr(event(PROBE_VMCS_READ, ENC_EXIT_INSN_INFO, 0), "undefined"));
    /* Error codes follow bit 11 of their information field. */
    exit_with(REASON_EXCEPTION_NMI, 0);
    x->vmcs.f[F_EXIT_INTR_INFO] = INFO_VALID | 3 << INFO_TYPE_SHIFT | INFO_ERROR | 14;
    assert_string_equal(event(PROBE_VMCS_READ, ENC_EXIT_INTR_ERROR, 0), "");
    x->vmcs.f[F_EXIT_INTR_INFO] = INFO_VALID | 3 << INFO_TYPE_SHIFT | 6;
    assert_non_null(strstr(event(PROBE_VMCS_READ, ENC_EXIT_INTR_ERROR, 0), "EXIT_INTR_ERROR"));
    /* A field that software wrote itself is its own. */
    exit_with(REASON_HLT, 0);
    assert_string_equal(event(PROBE_VMCS_WRITE, ENC_GUEST_PHYSICAL_ADDR, 5), "");
    assert_string_equal(event(PROBE_VMCS_READ, ENC_GUEST_PHYSICAL_ADDR, 5), "");
    /* A guest's VMREAD goes to another VMCS. */
    x->mode = VMX_NONROOT;
    assert_string_equal(event(PROBE_VMCS_READ, ENC_EXIT_INSN_INFO, 5), "");
}

static void reads_before_the_first_exit(void **state)
{
    (void)state;
    event(PROBE_VMCS_CLEAR, 0x6000, 0);
    assert_non_null(strstr(event(PROBE_VMCS_READ, ENC_EXIT_REASON, 0), "before any VM exit"));
    assert_string_equal(event(PROBE_VMCS_READ, ENC_INSN_ERROR, 0), "");
}

static void accesses_that_fail(void **state)
{
    (void)state;
    assert_string_equal(event(PROBE_VMCS_FAULT, 0x7ffe, UINT64_C(1) << 32 | VMXERR_UNSUPPORTED_FIELD),
                        "VMWRITE to unsupported field 7ffeh (no such field)");
    assert_string_equal(event(PROBE_VMCS_FAULT, 0x7ffe, UINT64_C(1) << 32 | VMXERR_UNSUPPORTED_FIELD), "");
    assert_string_equal(event(PROBE_VMCS_FAULT, 0x2034, VMXERR_UNSUPPORTED_FIELD),
                        "VMREAD of unsupported field 2034h (TERTIARY_CONTROLS)");
    assert_string_equal(event(PROBE_VMCS_FAULT, 0x4402, UINT64_C(1) << 32 | VMXERR_READ_ONLY_FIELD),
                        "VMWRITE to read-only field 4402h (EXIT_REASON)");
}

static void write_all_but(int left_out)
{
    for (int f = 0; f < F_COUNT; f++)
        if (f != left_out) event(PROBE_VMCS_WRITE, vmcs_fields[f].encoding, 0);
}

static void fields_never_written(void **state)
{
    (void)state;
    event(PROBE_VMCS_CLEAR, 0x6000, 0);
    write_all_but(F_HOST_RSP);
    assert_string_equal(event(PROBE_VM_ENTRY, 1, 0x6000),
                        "VM entry uses 1 field of the VMCS at 6000h never written since VMCLEAR: HOST_RSP");
    assert_string_equal(event(PROBE_VM_ENTRY, 0, 0x6000), "");
    /* Cleared again, the VMCS keeps its data. */
    event(PROBE_VMCS_CLEAR, 0x6000, 0);
    assert_string_equal(event(PROBE_VM_ENTRY, 1, 0x6000), "");
    /* A field that this entry does not use, and one that it does. */
    x->current = 0x7000;
    event(PROBE_VMCS_CLEAR, 0x7000, 0);
    write_all_but(F_VPID);
    assert_string_equal(event(PROBE_VM_ENTRY, 1, 0x7000), "");
    x->current = 0x8000;
    event(PROBE_VMCS_CLEAR, 0x8000, 0);
    x->vmcs.f[F_SECONDARY_CONTROLS] |= SEC_VPID;
    write_all_but(F_VPID);
    assert_non_null(strstr(event(PROBE_VM_ENTRY_FAIL, 7, 0), "VPID"));
    /* Nothing is known of a VMCS that was there before. */
    x->current = 0x9000;
    assert_string_equal(event(PROBE_VM_ENTRY, 1, 0x9000), "");
}

/* More VMCSs than are remembered: the oldest is forgotten, and then nothing is claimed about it. */
static void many_regions(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 5000; i++)
        event(PROBE_VMCS_CLEAR, i << 12, 0);
    x->current = 0x1000;
    assert_string_equal(event(PROBE_VM_ENTRY, 1, 0x1000), "");
    x->current = 5000 << 12;
    assert_true(strlen(event(PROBE_VM_ENTRY, 1, 0)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(undefined_exit_fields, start, stop),
        cmocka_unit_test_setup_teardown(reads_before_the_first_exit, start, stop),
        cmocka_unit_test_setup_teardown(accesses_that_fail, start, stop),
        cmocka_unit_test_setup_teardown(fields_never_written, start, stop),
        cmocka_unit_test_setup_teardown(many_regions, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
