/* SPDX-License-Identifier: MIT */
/* Scenario eptp-switch: VMFUNC leaf 0. What it refuses (exit 59, nothing changed) is exactly what VM entry
 * would refuse; an EPTP whose tables are in memory that nobody has is accepted, by VMFUNC as by VM entry, and
 * the next access meets all-ones entries. Index and #VE follow the switch, and no view shows the pages of
 * another. SDM 3C 26.5.6.3 "EPTP Switching", 26.5.7 "Virtualization Exceptions", 29.3.3.1 "EPT
 * Misconfigurations". */
#include "vmx.h"

enum more_field { EPTP_INDEX = 0x0004, VMFUNC_CONTROLS = 0x2018, EPTP_LIST = 0x2024, VE_ADDRESS = 0x202a };
enum reason { X_VMCALL = 18, X_EPT = 48, X_MISCONFIG = 49, X_VMFUNC = 59 };
enum { VPID_ON = 1 << 5, VMFUNC_ON = 1 << 13, VE_ON = 1 << 18 };

#define VIEW_LINEAR UINT64_C(0x40000000) /* the 2 MiB that differ between the views */
#define NOWHERE (UINT64_C(1) << 40)      /* no memory there */
static uint64_t list[1024]
    __attribute__((aligned(4096))); /* 512 entries; good ones behind them, not to be read */
static uint64_t pt_a[512] __attribute__((aligned(4096)));
static uint64_t pt_b[512] __attribute__((aligned(4096)));
static uint64_t pml4_b[512] __attribute__((aligned(4096)));
static uint64_t pdpt_b[512] __attribute__((aligned(4096)));
static uint64_t pd_b[512] __attribute__((aligned(4096)));
static uint64_t zeros[512] __attribute__((aligned(4096)));
static uint8_t page_a[4096] __attribute__((aligned(4096)));
static uint8_t page_b[4096] __attribute__((aligned(4096)));
static uint8_t page_c[4096] __attribute__((aligned(4096)));
static uint32_t ve_area[1024] __attribute__((aligned(4096)));
static bool launched, has_ve;

static uint64_t eptp(const uint64_t *pml4) { return (uintptr_t)pml4 | 3 << 3 | 6; }
static uint64_t leaf(const void *page) { return (uintptr_t)page | 6 << 3 | 7; }

/* The list: what each entry is for, and whether VM entry would take it. */
static const struct {
    const char *text;
    uint64_t set;
    bool valid;
} entries[] = {
    {"view A", 0, true},
    {"view B", 0, true},
    {"reserved bit 8", 1 << 8, false},
    {"reserved bit 11", 1 << 11, false},
    {"memory type 2", 2, false},
    {"walk of three levels", 2 << 3, false},
    {"bit 50, beyond the physical-address width", UINT64_C(1) << 50, false},
    {"tables in memory that nobody has (bit 40)", NOWHERE, true},
    {"tables of zeros", 0, true},
};
enum { VIEW_A, VIEW_B, MEMORY_TYPE = 4, LEVELS = 5, UNBACKED = 7, EMPTY = 8, ENTRIES = 9 };

static uint32_t go(void)
{
    CHECK_EQ(enter(!launched), 0);
    launched = true;
    return (uint32_t)vmread(EXIT_REASON);
}

static void prepare(void (*code)(void), bool vpid)
{
    build_vmcs(code);
    vmwrite(PROC_CONTROLS, vmread(PROC_CONTROLS) & ~UINT64_C(0x1000080)); /* neither I/O nor HLT */
    vmwrite(EXCEPTION_BITMAP, 0);
    uint64_t secondary = (vmread(PROC_CONTROLS2) & ~(uint64_t)VPID_ON) | VMFUNC_ON;
    if (vpid) secondary |= VPID_ON;
    vmwrite(PROC_CONTROLS2, secondary | (has_ve ? VE_ON : 0));
    vmwrite(VMFUNC_CONTROLS, 1);
    vmwrite(EPTP_LIST, (uintptr_t)list);
    if (has_ve) {
        vmwrite(VE_ADDRESS, (uintptr_t)ve_area);
        vmwrite(EPTP_INDEX, 0);
    }
}

/* --- 1: what VMFUNC refuses, and VM entry too --- */

static volatile uint32_t function, argument;
static void switch_guest(void)
{
    __asm__ volatile("vmfunc; vmcall" ::"a"(function), "c"(argument), "b"(0x1111) : "memory");
}

static uint32_t try_switch(uint32_t f, uint32_t index)
{
    prepare(switch_guest, true);
    function = f;
    argument = index;
    return go();
}

static void expect_refusal(const char *text)
{
    const uint8_t *at = (const uint8_t *)vmread(G_RIP);
    print("VMFUNC, %s: exit %lu, length %lu, qualification %lx\n", text, vmread(EXIT_REASON),
          vmread(EXIT_LENGTH), vmread(EXIT_QUALIFICATION));
    CHECK_EQ(vmread(EXIT_REASON), X_VMFUNC);
    CHECK_EQ(vmread(EXIT_LENGTH), 3);
    CHECK_EQ(vmread(EXIT_QUALIFICATION), 0);
    CHECK_EQ(vmread(EXIT_INTR_INFO) >> 31, 0);
    CHECK_EQ(vmread(IDT_VECTORING) >> 31, 0);
    CHECK_EQ(vmread(EPT_POINTER), eptp(ept_pml4));
    if (has_ve) CHECK_EQ(vmread(EPTP_INDEX), 0);
    CHECK(at[0] == 0x0f && at[1] == 0x01 && at[2] == 0xd4); /* still at the instruction */
    CHECK_EQ(regs.rax, function);
    CHECK_EQ(regs.rcx, argument);
    CHECK_EQ(regs.rbx, 0x1111);
}

static bool refusals(void)
{
    int before = checks_failed;
    static const uint32_t beyond[] = {512, 513, 0x10000, 0xffffffff};
    for (unsigned i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        try_switch(0, beyond[i]);
        expect_refusal("ECX beyond the list");
    }
    try_switch(1, 0);
    expect_refusal("a function that is not enabled");
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint32_t reason = try_switch(0, i);
        CHECK_EQ(reason == X_VMFUNC, !entries[i].valid);
        if (!entries[i].valid) expect_refusal(entries[i].text);
        /* The same value at VM entry: refused there means refused here. */
        prepare(switch_guest, true);
        function = argument = 0;
        vmwrite(EPT_POINTER, list[i]);
        int failed = enter(!launched);
        CHECK_EQ(failed, entries[i].valid ? 0 : 2);
        if (failed) CHECK_EQ(vmread(INSTRUCTION_ERROR), 7);
    }
    return before == checks_failed;
}

/* --- 2: well-formed, but nothing there --- */

static bool unbacked(void)
{
    int before = checks_failed;
    static const struct {
        unsigned entry, reason;
    } rows[] = {{UNBACKED, X_MISCONFIG}, {EMPTY, X_EPT}};
    for (unsigned i = 0; i < 2; i++) {
        unsigned n = rows[i].entry;
        /* No #VE: a violation while the IDT cannot be read would end in shutdown. */
        prepare(switch_guest, true);
        vmwrite(PROC_CONTROLS2, vmread(PROC_CONTROLS2) & ~(uint64_t)VE_ON);
        function = 0;
        argument = n;
        CHECK_EQ(go(), rows[i].reason);
        print("VMFUNC, %s: succeeds; the next fetch exits %lu\n", entries[n].text, vmread(EXIT_REASON));
        CHECK_EQ(vmread(EPT_POINTER), list[n]);
        if (has_ve) CHECK_EQ(vmread(EPTP_INDEX), n);
        uint64_t rip = vmread(G_RIP);
        CHECK(*(uint8_t *)(rip - 3) == 0x0f && *(uint8_t *)(rip - 1) == 0xd4); /* behind it */
        CHECK_EQ(vmread(GUEST_PHYSICAL) >> 12, (uintptr_t)boot_pml4 >> 12);    /* the walk begins */

        prepare(switch_guest, true);
        vmwrite(PROC_CONTROLS2, vmread(PROC_CONTROLS2) & ~(uint64_t)VE_ON);
        vmwrite(EPT_POINTER, list[n]);
        CHECK_EQ(go(), rows[i].reason);
        print("VM entry with it: succeeds; the first fetch exits %lu\n", vmread(EXIT_REASON));
        CHECK_EQ(vmread(G_RIP), (uintptr_t)switch_guest);
        CHECK_EQ(vmread(GUEST_PHYSICAL) >> 12, (uintptr_t)boot_pml4 >> 12);
    }
    return before == checks_failed;
}

/* --- 3: views --- */

static volatile uint32_t ve_seen;
static bool on_ve(struct exception_frame *f)
{
    (void)f;
    ve_seen++;
    print("  #VE: reason %u, linear %lx, EPTP index %u\n", ve_area[0], *(uint64_t *)(ve_area + 4),
          ve_area[8] & 0xffff);
    CHECK_EQ(ve_area[0], X_EPT);
    CHECK_EQ(ve_area[1], 0xffffffff);
    CHECK_EQ(*(uint64_t *)(ve_area + 2) & 0x1bf, 0x181);
    CHECK_EQ(*(uint64_t *)(ve_area + 4), VIEW_LINEAR + 0x1000);
    CHECK_EQ(*(uint64_t *)(ve_area + 6), VIEW_LINEAR + 0x1000);
    CHECK_EQ(ve_area[8] & 0xffff, VIEW_B);
    ve_area[1] = 0;
    pt_b[1] = leaf(page_c); /* the guest is its own hypervisor here: the page appears */
    return true;
}

static void vmfunc(uint32_t index) { __asm__ volatile("vmfunc" ::"a"(0), "c"(index) : "memory"); }
static void views_guest(void)
{
    volatile uint8_t *p = (uint8_t *)VIEW_LINEAR;
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(p[0], 0xa0);
        vmfunc(VIEW_B);
        CHECK_EQ(p[0], 0xb0 + i); /* not A's page, whatever is cached */
        p[0] = (uint8_t)(0xb1 + i);
        vmfunc(VIEW_A);
        CHECK_EQ(p[0x1000], 0xc0);
    }
    vmfunc(VIEW_B);
    CHECK_EQ(p[0x1000], has_ve ? 0xc0 : 0xb2); /* not in view B at first: #VE */
    CHECK_EQ(ve_seen, has_ve);
    __asm__ volatile("vmcall" ::: "memory");
    CHECK_EQ(p[0], 0xb3); /* another entry goes on in the same view */
    vmfunc(VIEW_A);
    CHECK_EQ(p[0], 0xa0);
    __asm__ volatile("vmcall" ::: "memory");
}

static bool views(bool vpid)
{
    int before = checks_failed;
    print("views, %s\n", vpid ? "with a VPID" : "without VPID");
    page_a[0] = 0xa0;
    page_b[0] = 0xb0;
    page_c[0] = 0xc0;
    pt_b[1] = has_ve ? 0 : leaf(page_b);
    ve_seen = 0;
    ve_area[1] = 0;
    const uint64_t descriptor[2] = {0, 0};
    __asm__ volatile("invept %0, %1" ::"m"(descriptor), "r"(UINT64_C(2)) : "cc", "memory");
    prepare(views_guest, vpid);
    CHECK_EQ(go(), X_VMCALL);
    CHECK_EQ(vmread(EPT_POINTER), eptp(pml4_b));
    if (has_ve) CHECK_EQ(vmread(EPTP_INDEX), VIEW_B);
    vmwrite(G_RIP, vmread(G_RIP) + 3);
    CHECK_EQ(go(), X_VMCALL);
    CHECK_EQ(vmread(EPT_POINTER), eptp(ept_pml4));
    if (has_ve) CHECK_EQ(vmread(EPTP_INDEX), VIEW_A);
    CHECK_EQ(page_b[0], 0xb3);
    CHECK_EQ(page_a[0], 0xa0);
    return before == checks_failed;
}

int guest_main(void)
{
    if (!vmx_on()) return 0;
    uint64_t allowed = rdmsr(0x48b) >> 32;
    if (!(allowed & VMFUNC_ON) || !(rdmsr(0x491) & 1)) {
        print("SKIP eptp_switch: the processor has no EPTP switching\n");
        return 0;
    }
    has_ve = allowed & VE_ON;
    set_handler(20, on_ve);
    build_ept();
    for (unsigned i = 0; i < 512; i++) {
        pml4_b[i] = ept_pml4[i];
        pdpt_b[i] = ept_pdpt[i];
        pd_b[i] = ept_pd[1][i];
    }
    pml4_b[0] = (uintptr_t)pdpt_b | 7;
    pdpt_b[1] = (uintptr_t)pd_b | 7;
    ept_pd[1][0] = (uintptr_t)pt_a | 7;
    pd_b[0] = (uintptr_t)pt_b | 7;
    pt_a[0] = leaf(page_a);
    pt_a[1] = leaf(page_c);
    pt_b[0] = leaf(page_b);
    for (unsigned i = 0; i < ENTRIES; i++)
        list[i] = eptp(ept_pml4) | entries[i].set;
    for (unsigned i = 512; i < 1024; i++)
        list[i] = eptp(ept_pml4);
    list[VIEW_B] = eptp(pml4_b);
    list[MEMORY_TYPE] = (uintptr_t)ept_pml4 | 3 << 3 | 2;
    list[LEVELS] = (uintptr_t)ept_pml4 | 2 << 3 | 6;
    list[EMPTY] = eptp(zeros);
    rule(refusals(), true,
         "VMFUNC exits with reason 59 for what VM entry would refuse, and for nothing else");
    rule(unbacked(), true, "a well-formed EPTP is taken; the access behind it meets what is there");
    bool with = views(true), without = views(false);
    rule(with && without, true, "index and #VE follow the switch, and each view has its own translations");
    __asm__ volatile("vmxoff" ::: "cc");
    return checks_result("eptp_switch");
}
