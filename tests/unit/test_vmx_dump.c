/* SPDX-License-Identifier: MIT */
/* Printed VMCSs are read as they stand in logs: time stamps, prefixes, noise between the lines, lines that
 * end early, several VMCSs; what cannot be read gives one sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "include/undervisor.h"
#include "vmx/dump.h"

static struct vmx_dump dump;
static char message[200];

static bool parse(const char *text)
{
    return vmx_dump_parse(text, strlen(text), 0, &dump, message, sizeof message);
}

static void expect(int field, uint64_t value)
{
    if (!vmx_field_known(dump.known, field)) fail_msg("%s was not read", vmcs_fields[field].name);
    if (dump.f[field] != value)
        fail_msg("%s is %llx", vmcs_fields[field].name, (unsigned long long)dump.f[field]);
}

#define GUEST "*** Guest State ***\n"
#define HOST "*** Host State ***\n"
#define CONTROL_STATE "*** Control State ***\n"

/* One line: section, text, field, value. */
static void lines_give_fields(void **state)
{
    static const struct {
        const char *section, *line;
        int field;
        uint64_t value;
    } cases[] = {
        {GUEST, "CR0: actual=0x0000000080050033, shadow=0x31, gh_mask=fffffffffffffff7", F_CR0_MASK,
         UINT64_C(0xfffffffffffffff7)},
        {GUEST, "[ 1.5] kvm_intel: CR3 = 0x000000001a02f000", F_GUEST_CR3, 0x1a02f000},
        {GUEST, "Nov 20 10:00:01 host kernel: [ 9.1] RSP = 0x1000  RIP = 0xfff0", F_GUEST_RIP, 0xfff0},
        {GUEST, "(XEN) RSP = 0x1000 (0x2000)  RIP = 0xfff0 (0x3000)", F_GUEST_RIP, 0xfff0},
        {GUEST, "(XEN) RFLAGS=0x00000082 (0x00000096)  DR7 = 0x0000000000000400", F_GUEST_RFLAGS, 0x82},
        {GUEST, "Sysenter RSP=0000000000000001 CS:RIP=0010:ffffffff81851f60", F_GUEST_SYSENTER_EIP,
         UINT64_C(0xffffffff81851f60)},
        {GUEST, "CS:   sel=0xf000, attr=0x0009b, limit=0x0000ffff, base=0x00000000ffff0000", F_GUEST_CS_BASE,
         0xffff0000},
        {GUEST, "(XEN) [2026-01-01 10:00:00]   SS: 0018 0c093 ffffffff 0000000000000000", F_GUEST_SS_AR,
         0xc093},
        {GUEST, "GDTR:                           limit=0x0000007f, base=0xfffffe0000001000",
         F_GUEST_GDTR_LIMIT, 0x7f},
        {GUEST, "(XEN) GDTR:            0000007f ffff88001f40c000", F_GUEST_GDTR_BASE,
         UINT64_C(0xffff88001f40c000)},
        {GUEST, "(XEN) LDTR: 0000 1c000 ffffffff 0000000000000000", F_GUEST_LDTR_AR, 0x1c000},
        {GUEST, "EFER =     0x0000000000000d01  PAT = 0x0007040600070406", F_GUEST_PAT,
         UINT64_C(0x7040600070406)},
        {GUEST, "EFER(VMCS) = 0x0000000000000500  PAT = 0x0000050100070406", F_GUEST_EFER, 0x500},
        {GUEST, "Interruptibility = 00000008  ActivityState = 00000001", F_GUEST_ACTIVITY, 1},
        {HOST, "RIP = 0xffff82d0402a5f10 (vmx_asm_vmexit_handler)  RSP = 0xffff83007bc7ff70", F_HOST_RSP,
         UINT64_C(0xffff83007bc7ff70)},
        {HOST, "CS=0010 SS=0018 DS=0000 ES=0000 FS=0000 GS=0000 TR=0040", F_HOST_TR_SELECTOR, 0x40},
        {HOST, "CR0=0000000080050033 CR3=000000010b2d4002 CR4=00000000007726e0", F_HOST_CR4, 0x7726e0},
        {CONTROL_STATE, "PinBased=0000003f CPUBased=b6a1edfa SecondaryExec=000014eb", F_SECONDARY_CONTROLS,
         0x14eb},
        {CONTROL_STATE, "PinBased=0x0000007f EntryControls=0000d3ff ExitControls=002befff", F_EXIT_CONTROLS,
         0x2befff},
        {CONTROL_STATE, "CPUBased=0xb5a06dfa SecondaryExec=0x021214ea TertiaryExec=0x0000000000000010",
         F_TERTIARY_CONTROLS, 0x10},
        {CONTROL_STATE, "VMEntry: intr_info=800000ec errcode=00000000 ilen=00000000", F_ENTRY_INTR_INFO,
         0x800000ec},
        {CONTROL_STATE, "        reason=80000021 qualification=0000000000000004", F_EXIT_QUALIFICATION, 4},
        {CONTROL_STATE, "TSC Offset = 0xffff  TSC Multiplier = 0x0001000000000000", F_TSC_MULTIPLIER,
         UINT64_C(1) << 48},
        {CONTROL_STATE, "APIC-access addr = 0x00000000fee00000 virt-APIC addr = 0x000000010a9bd000",
         F_VIRTUAL_APIC_ADDR, 0x10a9bd000},
        {CONTROL_STATE, "EPT pointer = 0x000000003c8e505e  EPTP index = 0x0000", F_EPTP, 0x3c8e505e},
        {CONTROL_STATE, "Virtual processor ID = 0x0003 VMfunc controls = 0000000000000000", F_VPID, 3},
        {CONTROL_STATE, "CR3 target0=0000000000001000 target1=0000000000002000", F_CR3_TARGET1, 0x2000},
    };
    char text[400];
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(text, sizeof text, "%s%s\r\n", cases[i].section, cases[i].line);
        if (!parse(text)) fail_msg("%s: %s", cases[i].line, message);
        expect(cases[i].field, cases[i].value);
    }
}

static void noise_is_no_field(void **state)
{
    (void)state;
    assert_true(parse(GUEST "CR3 = 0x1000\nSysenter RSP=0000000000000001 CS:RIP=0010:0000000000000002\n"));
    assert_false(vmx_field_known(dump.known, F_GUEST_RSP));
    assert_false(vmx_field_known(dump.known, F_GUEST_RIP));
    expect(F_GUEST_CR3, 0x1000);
    /* The first value counts; too wide, too long and broken numbers do not. */
    assert_true(parse(GUEST "CR3 = 0x1000\nCR3 = 0x2000\nRFLAGS=0x000000000000000000002\nDR7 = 0xzz\n"
                            "Interruptibility = 123456789 ActivityState = 0\n"));
    expect(F_GUEST_CR3, 0x1000);
    expect(F_GUEST_ACTIVITY, 0);
    assert_int_equal(dump.fields, 2);
    /* A file that ends in a number: its last digits may be missing. */
    assert_true(parse(GUEST "CR3 = 0x1000\nRFLAGS=0x0000"));
    assert_int_equal(dump.fields, 1);
    /* Sections do not leak into each other. */
    assert_true(parse(HOST "CR3=0000000000001000\n" CONTROL_STATE "CR3=0000000000002000 PinBased=3f\n"));
    expect(F_HOST_CR3, 0x1000);
    assert_false(vmx_field_known(dump.known, F_GUEST_CR3));
}

static void several_structures(void **state)
{
    static const char text[] = GUEST "CR3 = 0x1000\n" GUEST "CR3 = 0x2000\n";
    (void)state;
    assert_true(vmx_dump_parse(text, strlen(text), 1, &dump, message, sizeof message));
    expect(F_GUEST_CR3, 0x2000);
    assert_int_equal(dump.structures, 2);
    assert_false(vmx_dump_parse(text, strlen(text), 2, &dump, message, sizeof message));
    assert_string_equal(message, "the file has 2 VMCSs, so there is no number 3");
}

static void failure_codes(void **state)
{
    (void)state;
    assert_true(parse("KVM: entry failed, hardware error 0x80000021\n" GUEST "CR3 = 0x1000\n"));
    assert_true(dump.has_code && dump.code == 0x80000021);
    assert_true(parse("(XEN) VMRESUME error: 0x7\n" GUEST "CR3 = 0x1000\n"));
    assert_true(dump.has_code && dump.code == 7);
    assert_true(parse(GUEST "CR3 = 0x1000\nhardware error 0x12345\n"));
    assert_false(dump.has_code);
    assert_true(
        parse(GUEST "CR3 = 0x1000\n" CONTROL_STATE "reason=80000022 qualification=0000000000000003\n"));
    assert_true(dump.has_code && dump.code == 0x80000022);
}

static void bad_input_is_one_sentence(void **state)
{
    static const char *const cases[][2] = {
        {"", "the file is empty"},
        {"\n \n", "the file is empty"},
        {"hello\n", "no VMCS found: expected a kernel log with '*** Guest State ***' (Linux KVM, Xen) or "
                    "JSON with \"fields\""},
        {GUEST, "the VMCS has no field that can be read"},
        {"{", "JSON: byte 0: expected an object with \"fields\""},
        {"{\"fields\":3}", "JSON: byte 12: expected an object with \"fields\""},
        {"{\"fields\":{}}", "JSON: \"fields\" is empty"},
        {"{\"fields\":{\"GUEST_CRO\":1}}", "JSON: unknown VMCS field 'GUEST_CRO'"},
        {"{\"fields\":{\"VPID\":65536}}",
         "JSON: field VPID: expected \"0x...\" or a number that fits 16 bits"},
        {"{\"fields\":{\"VPID\":-1}}", "JSON: field VPID: expected \"0x...\" or a number that fits 16 bits"},
        {"{\"fields\":{\"VPID\":\"1x\"}}",
         "JSON: field VPID: expected \"0x...\" or a number that fits 16 bits"},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (parse(cases[i][0])) fail_msg("%s was read", cases[i][0]);
        assert_string_equal(message, cases[i][1]);
    }
}

static void json_is_read_back(void **state)
{
    static const char text[] =
        "{\"fields\":{\"GUEST_CR0\":\"0x80000031\",\"0x6820\":2,\"ENTRY_INTR_INFO\":\"2147483696\"},"
        "\"failure\":{\"exit_reason\":\"0x80000021\"}}\n{\"fields\":{\"GUEST_CR3\":4096}}\n";
    (void)state;
    assert_true(parse(text));
    expect(F_GUEST_CR0, 0x80000031);
    expect(F_GUEST_RFLAGS, 2);
    expect(F_ENTRY_INTR_INFO, 0x80000030);
    assert_true(dump.has_code && dump.code == 0x80000021 && dump.structures == 2);
}

/* The report as JSON is input again, and says the same. */
static void report_of_a_report(void **state)
{
    static const char text[] = GUEST "RFLAGS=0x00000002  DR7 = 0x0000000000000400\n" CONTROL_STATE
                                     "VMEntry: intr_info=80000030 errcode=00000000 ilen=00000000\n";
    static char first[1 << 16], second[1 << 16];
    uv_dump *d;
    (void)state;
    assert_int_equal(uv_dump_create("vmcs", NULL, 0, text, strlen(text), &d, message, sizeof message), UV_OK);
    assert_int_equal(uv_dump_count(d, UV_DUMP_BROKEN), 1);
    size_t n = uv_dump_report(d, 1, first, sizeof first);
    assert_true(n < sizeof first && strstr(first, "\"id\":\"rflags_if_extint\""));
    uv_dump_destroy(d);
    assert_int_equal(uv_dump_create("vmcs", NULL, 0, first, n, &d, message, sizeof message), UV_OK);
    assert_int_equal(uv_dump_count(d, UV_DUMP_BROKEN), 1);
    uv_dump_report(d, 1, second, sizeof second);
    assert_string_equal(strstr(first, "\"broken\""), strstr(second, "\"broken\""));
    uv_dump_destroy(d);
    assert_int_equal(uv_dump_create("vmcb", NULL, 0, text, strlen(text), &d, message, sizeof message),
                     UV_E_IMAGE);
    assert_int_equal(uv_dump_create("vmc", NULL, 0, text, strlen(text), &d, message, sizeof message),
                     UV_E_NAME);
    assert_int_equal(uv_dump_create("vmcs", "epyc-rome", 0, text, strlen(text), &d, message, sizeof message),
                     UV_E_NAME);
    assert_string_equal(message, "CPU model 'epyc-rome' has no VMX");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_give_fields),         cmocka_unit_test(noise_is_no_field),
        cmocka_unit_test(several_structures),        cmocka_unit_test(failure_codes),
        cmocka_unit_test(bad_input_is_one_sentence), cmocka_unit_test(json_is_read_back),
        cmocka_unit_test(report_of_a_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
