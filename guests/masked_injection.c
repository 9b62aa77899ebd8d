/* SPDX-License-Identifier: MIT */
/* Scenario masked-injection: external interrupts and a guest with RFLAGS.IF = 0. What VM entry refuses; what
 * an exit in the middle of an interrupt's delivery leaves (IDT-vectoring information, IF as before the
 * delivery); what an interrupt for the host leaves while the guest's handler runs. Then a hypervisor that
 * passes such an interrupt on, in variants: reinject  injects at the next VM entry without a look at IF
 *   window    waits with interrupt-window exiting until the guest can take it
 * SDM 3C 25.2, 26.2, 27.3.1.4, 27.6.1, 28.2.4. */
#include "vmx.h"

enum variant { REINJECT, WINDOW, VARIANTS };
static const char *const variant_names[VARIANTS] = {"reinject", "window"};

enum more_field {
    INTR_STATUS = 0x0810,
    VIRTUAL_APIC = 0x2012,
    EOI_EXIT0 = 0x201c,
    ENTRY_ERROR = 0x4018,
    ENTRY_LENGTH = 0x401a,
    TPR_THRESHOLD = 0x401c
};
enum { A = 0x40, B = 0x50, VALID = 1u << 31, FL_IF = 1 << 9, WINDOW_EXIT = 1 << 2 };
enum reason { X_EXCEPTION = 0, X_EXTINT = 1, X_WINDOW = 7, X_VMCALL = 18, X_EPT = 48 };
#define X_BAD_GUEST 0x80000021u

/* IDT, stack and TSS of the guest: pages at 1 GiB, small ones in the EPT. */
#define PAGES UINT64_C(0x40000000)
enum page { IDT_PAGE, STACK_PAGE, TSS_PAGE, PAGE_COUNT };
static const char *const page_names[PAGE_COUNT] = {"IDT", "stack", "TSS"};
static uint8_t pages[PAGE_COUNT][4096] __attribute__((aligned(4096)));
static uint8_t virtual_apic[4096] __attribute__((aligned(4096)));
static uint64_t ept_pt[512] __attribute__((aligned(4096)));

static bool launched;
static bool masked_vectoring; /* an exit left IDT-vectoring type 0 with IF = 0 */
static volatile uint32_t a_seen, b_seen, other_seen, send_at;

static void map(enum page p) { ept_pt[p] = (uintptr_t)pages[p] | 6 << 3 | 7; }
static void unmap(unsigned set)
{
    const uint64_t descriptor[2] = {0, 0};
    for (unsigned p = 0; p < PAGE_COUNT; p++)
        if (set >> p & 1) ept_pt[p] = 0;
    __asm__ volatile("invept %0, %1" ::"m"(descriptor), "r"(UINT64_C(2)) : "cc", "memory");
}

/* Enters and returns the exit reason. */
static uint32_t go(void)
{
    CHECK_EQ(enter(!launched), 0);
    uint32_t reason = (uint32_t)vmread(EXIT_REASON);
    if (reason >> 31) return reason;
    launched = true;
    if ((vmread(IDT_VECTORING) & (VALID | 0x700)) == VALID && !(vmread(G_RFLAGS) & FL_IF))
        masked_vectoring = true;
    return reason;
}

/* A guest with interrupts open; interrupts for the host exit and are acknowledged by the exit. */
static void prepare(void (*code)(void))
{
    build_vmcs(code);
    vmwrite(PROC_CONTROLS, vmread(PROC_CONTROLS) & ~UINT64_C(0x1000080)); /* neither I/O nor HLT */
    vmwrite(PIN_CONTROLS, vmread(PIN_CONTROLS) | 1);
    vmwrite(EXIT_CONTROLS, vmread(EXIT_CONTROLS) | 1 << 15);
    vmwrite(EXCEPTION_BITMAP, 0);
    vmwrite(ENTRY_INTR_INFO, 0);
    vmwrite(G_IDTR_BASE, PAGES);
    vmwrite(G_TR_BASE, PAGES + TSS_PAGE * 0x1000);
    vmwrite(G_RFLAGS, 2 | FL_IF);
    memcpy(pages[IDT_PAGE], idt, 4096);
    memcpy(pages[TSS_PAGE], tss, 256);
    pages[IDT_PAGE][A * 16 + 4] = 1; /* IST 1: delivery of A reads the TSS */
    *(uint64_t *)(pages[TSS_PAGE] + 36) = PAGES + STACK_PAGE * 0x1000 + 0x1000;
    for (unsigned p = 0; p < PAGE_COUNT; p++)
        map((enum page)p);
    a_seen = b_seen = other_seen = 0;
    send_at = ~0u;
}

/* --- 1: what VM entry refuses --- */

static bool on_other(struct exception_frame *f)
{
    (void)f;
    other_seen++;
    return true;
}
static void nop_guest(void) { __asm__ volatile("nop; nop; vmcall" ::: "memory"); }

static bool entry_rules(void)
{
    static const struct {
        uint32_t info, length;
        const char *text;
    } others[] = {
        {VALID | 2 << 8 | 2, 0, "NMI"},
        {VALID | 3 << 8 | 6, 0, "hardware exception #UD"},
        {VALID | 4 << 8 | 0x41, 2, "software interrupt 41h"},
        {VALID | 6 << 8 | 3, 1, "software exception #BP"},
    };
    int before = checks_failed;
    prepare(nop_guest);
    vmwrite(G_RFLAGS, 2);
    vmwrite(ENTRY_INTR_INFO, VALID | A);
    uint64_t vectoring = vmread(IDT_VECTORING), information = vmread(EXIT_INTR_INFO);
    CHECK_EQ(go(), X_BAD_GUEST);
    print("entry with external interrupt %x and IF = 0: exit reason %lx, qualification %lx\n", A,
          vmread(EXIT_REASON), vmread(EXIT_QUALIFICATION));
    CHECK_EQ(vmread(EXIT_QUALIFICATION), 0);
    CHECK_EQ(vmread(ENTRY_INTR_INFO), VALID | A); /* still valid */
    CHECK_EQ(vmread(G_RFLAGS), 2);
    CHECK_EQ(vmread(G_RIP), (uintptr_t)nop_guest);
    CHECK_EQ(vmread(IDT_VECTORING), vectoring);
    CHECK_EQ(vmread(EXIT_INTR_INFO), information);
    CHECK_EQ(a_seen, 0);
    for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++) {
        prepare(nop_guest);
        vmwrite(G_RFLAGS, 2);
        vmwrite(ENTRY_INTR_INFO, others[i].info);
        vmwrite(ENTRY_LENGTH, others[i].length);
        CHECK_EQ(go(), X_VMCALL);
        print("entry with %s and IF = 0: the guest's handler ran %u time\n", others[i].text, other_seen);
        CHECK_EQ(other_seen, 1);
        CHECK_EQ(vmread(ENTRY_INTR_INFO) & VALID, 0);
    }
    prepare(nop_guest);
    vmwrite(ENTRY_INTR_INFO, VALID | A);
    CHECK_EQ(go(), X_VMCALL);
    CHECK_EQ(a_seen, 1);
    return before == checks_failed;
}

/* --- 2: an exit in the middle of A's delivery --- */

/* Pages appear one by one; A is injected again each time. */
static void interrupted_delivery(unsigned absent, bool virtual_delivery)
{
    static const enum page order[PAGE_COUNT] = {IDT_PAGE, TSS_PAGE,
                                                STACK_PAGE}; /* as delivery reaches them */
    prepare(nop_guest);
    unmap(absent);
    if (virtual_delivery) {
        memset(virtual_apic, 0, sizeof virtual_apic);
        *(uint32_t *)(virtual_apic + 0x200 + A / 32 * 16) = 1u << A % 32; /* VIRR */
        vmwrite(PROC_CONTROLS, vmread(PROC_CONTROLS) | 1 << 21);          /* TPR shadow */
        vmwrite(PROC_CONTROLS2, vmread(PROC_CONTROLS2) | 1 << 9);
        vmwrite(VIRTUAL_APIC, (uintptr_t)virtual_apic);
        vmwrite(TPR_THRESHOLD, 0);
        for (unsigned i = 0; i < 4; i++)
            vmwrite(EOI_EXIT0 + 2 * i, 0);
        vmwrite(INTR_STATUS, A);
    } else {
        vmwrite(ENTRY_INTR_INFO, VALID | A);
    }
    print("interrupt %x %s\n", A, virtual_delivery ? "by virtual-interrupt delivery" : "injected");
    for (unsigned i = 0; i < PAGE_COUNT; i++) {
        enum page p = order[i];
        if (!(absent >> p & 1)) continue;
        CHECK_EQ(go(), X_EPT);
        print("  EPT violation at the %s page: IDT-vectoring %lx, interruption information %lx, IF %lu\n",
              page_names[p], vmread(IDT_VECTORING), vmread(EXIT_INTR_INFO), vmread(G_RFLAGS) >> 9 & 1);
        CHECK_EQ(vmread(GUEST_PHYSICAL) >> 12, (PAGES >> 12) + p);
        CHECK_EQ(vmread(EXIT_QUALIFICATION) & 0x1ff, p == STACK_PAGE ? 0x182 : 0x181);
        CHECK_EQ(vmread(IDT_VECTORING), VALID | A);
        CHECK_EQ(vmread(EXIT_INTR_INFO) & VALID, 0);
        CHECK_EQ(vmread(G_RFLAGS), 2 | FL_IF);
        CHECK_EQ(vmread(G_RIP), (uintptr_t)nop_guest);
        CHECK_EQ(vmread(ENTRY_INTR_INFO) & VALID, 0);
        if (virtual_delivery) CHECK_EQ(vmread(INTR_STATUS), A << 8); /* in service, nothing requested */
        map(p);
        vmwrite(ENTRY_INTR_INFO, vmread(IDT_VECTORING));
    }
    CHECK_EQ(go(), X_VMCALL);
    CHECK_EQ(a_seen, 1);
}

static bool deliveries(void)
{
    int before = checks_failed;
    for (unsigned absent = 1; absent < 1 << PAGE_COUNT; absent++)
        interrupted_delivery(absent, false);
    uint64_t allowed = rdmsr(0x48b) >> 32;
    for (unsigned absent = 1; (allowed >> 9 & 1) && absent < 1 << PAGE_COUNT; absent++)
        interrupted_delivery(absent, true);

    prepare(nop_guest); /* #PF instead: both informations */
    vmwrite(EXCEPTION_BITMAP, 1 << 14);
    vmwrite(G_IDTR_BASE, UINT64_C(0x8000000000)); /* not mapped */
    vmwrite(ENTRY_INTR_INFO, VALID | A);
    CHECK_EQ(go(), X_EXCEPTION);
    print("#PF at the IDT: interruption information %lx, IDT-vectoring %lx\n", vmread(EXIT_INTR_INFO),
          vmread(IDT_VECTORING));
    CHECK_EQ(vmread(EXIT_INTR_INFO), 0x80000b0e);
    CHECK_EQ(vmread(EXIT_INTR_ERROR), 0);
    CHECK_EQ(vmread(EXIT_QUALIFICATION), UINT64_C(0x8000000000) + A * 16);
    CHECK_EQ(vmread(IDT_VECTORING), VALID | A);
    CHECK_EQ(vmread(G_RFLAGS) & FL_IF, FL_IF);
    return before == checks_failed;
}

/* --- 3 and the variants: interrupt B for the host, at six places of the guest --- */

enum { PLACES = 6 };
static const struct {
    const char *text;
    bool open;
} places[PLACES] = {{"in A's handler, IF = 0 since its delivery", false},
                    {"in A's handler, behind its STI", true},
                    {"in A's handler, behind its CLI", false},
                    {"in A's handler, behind its second STI", true},
                    {"behind A's handler", true},
                    {"behind A's handler and a CLI", false}};

static void place(uint32_t n)
{
    if (send_at == n) mmio_write32(0xfee00300, 0x40000 | B); /* to ourselves: the interrupt is the host's */
    __asm__ volatile("nop" ::: "memory");
}
static bool on_a(struct exception_frame *f)
{
    (void)f;
    a_seen++;
    place(0);
    __asm__ volatile("sti; nop" ::: "memory");
    place(1);
    __asm__ volatile("cli" ::: "memory");
    place(2);
    __asm__ volatile("sti; nop" ::: "memory");
    place(3);
    return true;
}
static bool on_b(struct exception_frame *f)
{
    (void)f;
    b_seen++;
    return true;
}
static void interrupted_guest(void)
{
    __asm__ volatile("nop" ::: "memory");
    place(4);
    __asm__ volatile("cli" ::: "memory");
    place(5);
    __asm__ volatile("sti; nop; nop; vmcall" ::: "memory");
}

static bool lost, failed_entry;

static void one_place(uint32_t n, enum variant how)
{
    bool masked = !places[n].open, pending = false, failed = false;
    prepare(interrupted_guest);
    vmwrite(ENTRY_INTR_INFO, VALID | A);
    send_at = n;
    print("B %s\n", places[n].text);
    for (unsigned i = 0; i < 8; i++) {
        bool open = (vmread(G_RFLAGS) & FL_IF) && !(vmread(G_INTERRUPTIBILITY) & 3);
        uint64_t controls = vmread(PROC_CONTROLS) & ~(uint64_t)WINDOW_EXIT;
        if (pending && (open || how == REINJECT)) {
            vmwrite(ENTRY_INTR_INFO, VALID | B);
            pending = false;
        }
        vmwrite(PROC_CONTROLS, controls | (pending ? WINDOW_EXIT : 0));
        uint32_t reason = go();
        if (reason == X_VMCALL) break;
        if (reason == X_EXTINT) {
            print("  exit 1: interruption information %lx, IDT-vectoring %lx, IF %lu\n",
                  vmread(EXIT_INTR_INFO), vmread(IDT_VECTORING), vmread(G_RFLAGS) >> 9 & 1);
            CHECK_EQ(vmread(EXIT_INTR_INFO), VALID | B);
            CHECK_EQ(vmread(IDT_VECTORING) & VALID, 0);
            CHECK_EQ(vmread(G_RFLAGS) >> 9 & 1, !masked);
            CHECK_EQ(a_seen, 1);
            mmio_write32(0xfee000b0, 0); /* EOI */
            pending = true;
        } else if (reason == X_WINDOW) {
            print("  exit 7: the window is open\n");
            CHECK(how == WINDOW && pending);
        } else if (reason == X_BAD_GUEST) {
            print("  the entry that injects B fails: exit reason %x\n", reason);
            CHECK_EQ(vmread(ENTRY_INTR_INFO), VALID | B);
            vmwrite(ENTRY_INTR_INFO, 0); /* a hypervisor has nothing better to do now */
            failed = true;
        } else {
            CHECK(!"an exit that belongs to the scenario");
            break;
        }
    }
    print("  %s: B's handler ran %u time(s)\n", b_seen == 1 && !failed ? "right" : "WRONG", b_seen);
    CHECK_EQ(failed, how == REINJECT && masked);
    CHECK_EQ(b_seen, failed ? 0 : 1);
    CHECK_EQ(a_seen, 1);
    lost = lost || b_seen != 1;
    failed_entry = failed_entry || failed;
}

int guest_main(void)
{
    if (!vmx_on()) return 0;
    const char *wanted = guest_variant();
    bool found = false;
    build_ept();
    ept_pd[1][0] = (uintptr_t)ept_pt | 7;
    mmio_write32(0xfee000f0, 0x1ff);
    set_handler(A, on_a);
    set_handler(B, on_b);
    set_handler(2, on_other);
    set_handler(3, on_other);
    set_handler(6, on_other);
    set_handler(0x41, on_other);
    bool entries = entry_rules(), informations = deliveries();
    for (unsigned how = 0; how < VARIANTS; how++) {
        if (*wanted && !text_equal(wanted, variant_names[how])) continue;
        found = true;
        print("== variant %s\n", variant_names[how]);
        lost = failed_entry = false;
        for (uint32_t n = 0; n < PLACES; n++)
            one_place(n, (enum variant)how);
        rule(entries, true, "VM entry refuses an external interrupt, and nothing else, because IF = 0");
        rule(informations, true,
             "an exit during delivery leaves the event in IDT-vectoring and IF as before");
        rule(!masked_vectoring, true, "no exit leaves IDT-vectoring type 0 with saved IF = 0");
        rule(!failed_entry, how == WINDOW, "an external interrupt is injected only where IF = 1");
        rule(!lost, how == WINDOW, "every interrupt reaches the guest once");
    }
    CHECK(found);
    __asm__ volatile("vmxoff" ::: "cc");
    return checks_result("masked_injection");
}
