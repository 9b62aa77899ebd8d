/* SPDX-License-Identifier: MIT */
/* Scenario soft-inject: a hypervisor injects software interrupts, #BP and #OF with a return address of its
 * own choice, and the delivery itself exits: #PF (intercepted, as with shadow page tables) and nested page
 * faults on the IDT and on the stack. EXITINTINFO then holds the event, but next_rip is gone. Variants are
 * what a hypervisor may do next: reinject  keeps next_rip from the injection and restores it when the saved
 * rIP matches forget    injects again without restoring next_rip retry     goes back to the instruction
 * instead of injecting again Each also as the lower of two hypervisors, the upper one injecting. APM
 * 2 15.7.2, 15.20. */
#include "svm.h"

#define V32(v, o) (*(volatile uint32_t *)((v) + (o)))
#define V64(v, o) (*(volatile uint64_t *)((v) + (o)))
void run_guest(uint64_t vmcb_address, uint64_t host);

enum variant { REINJECT, FORGET, RETRY, VARIANTS };
static const char *const variant_names[VARIANTS] = {"reinject", "forget", "retry"};

/* The guest's IDT and stack: linear pages at 512 GiB, guest-physical pages at 1 GiB, so that either stage can
 * lack them. */
#define IDT_LINEAR UINT64_C(0x8000000000)
#define STACK_LINEAR (IDT_LINEAR + 0x1000)
#define PAGES_PHYSICAL UINT64_C(0x40000000)
enum obstacle { PF_IDT = 1, NPF_IDT = 2, PF_STACK = 4, NPF_STACK = 8, PF_ALL = 5, ALL = 15 };
static uint64_t guest_pml4[512] __attribute__((aligned(4096)));
static uint64_t guest_pdpt[512] __attribute__((aligned(4096)));
static uint64_t guest_pd[512] __attribute__((aligned(4096)));
static uint64_t guest_pt[512] __attribute__((aligned(4096)));
static uint8_t pages[2][4096] __attribute__((aligned(4096)));

static uint8_t lower_vmcb[4096] __attribute__((aligned(4096)));  /* the upper hypervisor itself */
static uint8_t merged_vmcb[4096] __attribute__((aligned(4096))); /* the upper hypervisor's guest */
static uint8_t upper_host[4096] __attribute__((aligned(4096)));
static bool nrips;

/* Nothing but UD2, except where a test puts an instruction. */
static uint8_t code[256];
#define AT ((uintptr_t)code + 128)

struct seen {
    uint32_t events, debug, undefined;
    uint64_t rip;
};
static volatile struct seen seen;

static bool on_event(struct exception_frame *f)
{
    seen.events++;
    seen.rip = f->rip;
    f->rip = (uintptr_t)vmmcall;
    return true;
}
static bool on_debug(struct exception_frame *f)
{
    seen.debug++;
    f->rflags |= 1 << 16; /* RF: the instruction itself next */
    return true;
}
static bool on_undefined(struct exception_frame *f)
{
    seen.undefined++;
    f->rip = (uintptr_t)vmmcall;
    return true;
}

struct test {
    const char *text;
    uint32_t event;  /* EVENTINJ; with `own` what EXITINTINFO must say */
    int64_t next;    /* next_rip - rIP */
    uint8_t insn[2]; /* what stands at rIP; 0: nothing but UD2 */
    bool own;        /* the guest executes it, nothing is injected at first */
    bool breakpoint; /* DR0 on rIP */
    bool deep;       /* only for one level: next_rip is not mapped */
};
static const struct test tests[] = {
    {"INT 48h, no instruction, next_rip + 100", 0x80000448, 100, {0}, 0, 0, 0},
    {"INT 48h, no instruction, next_rip before rIP", 0x80000448, -6, {0}, 0, 0, 0},
    {"INT 48h on its instruction", 0x80000448, 2, {0xcd, 0x48}, 0, 0, 0},
    {"#BP, no instruction, next_rip = rIP + 2", 0x80000303, 2, {0}, 0, 0, 0},
    {"#BP, no instruction, next_rip not mapped", 0x80000303, 0x700000000000, {0}, 0, 0, 1},
    {"#OF, no instruction, next_rip + 50", 0x80000304, 50, {0}, 0, 0, 0},
    {"#BP on its INT3", 0x80000303, 1, {0xcc}, 0, 0, 0},
    {"#BP on its INT3, code breakpoint there", 0x80000303, 1, {0xcc}, 0, 1, 0},
    {"the guest's own INT3", 0x80000303, 1, {0xcc}, 1, 0, 0},
};
enum { TESTS = sizeof tests / sizeof tests[0] };

static bool is_soft(uint64_t event)
{
    unsigned type = event >> 8 & 7, vector = event & 255;
    return type == 4 || (type == 3 && (vector == 3 || vector == 4));
}

/* What a hypervisor remembers of an injection. */
struct soft {
    bool injected;
    uint64_t old_rip, next_rip;
};

static void inject(uint8_t *v, struct soft *s, uint64_t event, uint64_t rip, uint64_t next)
{
    *s = (struct soft){true, rip, next};
    V64(v, EVENTINJ) = event;
    V64(v, G_RIP) = nrips ? rip : next; /* without NRIPS the processor pushes rIP */
    if (nrips) V64(v, NRIP) = next;
}

/* After an exit that the hypervisor has dealt with: the interrupted event. */
static void complete(uint8_t *v, struct soft *s, enum variant how)
{
    uint64_t event = V64(v, INTINFO), rip = V64(v, G_RIP);
    V64(v, EVENTINJ) = 0;
    if (!(event >> 31 & 1)) {
        s->injected = false;
        return;
    }
    bool match = s->injected && rip == (nrips ? s->old_rip : s->next_rip);
    if (is_soft(event) && how == RETRY) {
        if (match) V64(v, G_RIP) = s->old_rip;
        s->injected = false;
        return;
    }
    V64(v, EVENTINJ) = event;
    if (!is_soft(event) || how == FORGET) return;
    if (match)
        inject(v, s, event, s->old_rip, s->next_rip);
    else /* an instruction of the guest: its length is to be found out */
        inject(v, s, event, rip, rip + (*(uint8_t *)rip == 0xcd ? 2 : 1));
}

/* A fault on one of the two pages: the page appears. False: some other exit. */
static bool repair(uint8_t *v)
{
    uint64_t at = V64(v, INFO2);
    if (V64(v, CODE) == X_PF && at - IDT_LINEAR < 0x2000)
        guest_pt[at >> 12 & 1] = (PAGES_PHYSICAL + (at & 0x1000)) | 7;
    else if (V64(v, CODE) == X_NPF && at - PAGES_PHYSICAL < 0x2000)
        npt_pt[at >> 12 & 1] = (uintptr_t)pages[at >> 12 & 1] | 7;
    else
        return false;
    return true;
}

/* Says what an exit in the middle of a delivery left; with `expected`, checks it. */
static void tell_exit(uint8_t *v, const struct test *t, const struct soft *s, bool expected)
{
    bool pf = V64(v, CODE) == X_PF, stack = V64(v, INFO2) >> 12 & 1;
    print("  exit %lx at the %s page: EXITINTINFO %lx, next_rip %lx\n", V64(v, CODE), stack ? "stack" : "IDT",
          V64(v, INTINFO), V64(v, NRIP));
    if (!expected) return;
    CHECK_EQ(V64(v, INTINFO), t->event);
    if (nrips) CHECK_EQ(V64(v, NRIP), 0);
    CHECK_EQ(V64(v, G_RIP), nrips || (t->own && !s->injected) ? AT : AT + (uint64_t)t->next);
    CHECK_EQ(V64(v, INFO1), (pf ? 0 : UINT64_C(0x100000004)) | (stack ? 2 : 0));
    uint64_t offset = stack ? 0x1ff0 - 8 : (t->event & 255) * 16;
    CHECK_EQ(V64(v, INFO2), (pf ? IDT_LINEAR : PAGES_PHYSICAL) + offset);
    CHECK_EQ(V32(v, EVENTINJ) >> 31, 0);
    CHECK_EQ(V64(v, G_CR2), 0);
    CHECK_EQ(V64(v, G_RSP), STACK_LINEAR + 0xff0);
}

/* The VMCB of the guest of a test, in `vmcb`. */
static void prepare(const struct test *t)
{
    svm_prepare((void (*)(void))AT);
    V64(vmcb, G_CR3) = (uintptr_t)guest_pml4;
    V64(vmcb, G_IDTR + 8) = IDT_LINEAR;
    V64(vmcb, G_RSP) = STACK_LINEAR + 0xff0;
    if (t->breakpoint) V64(vmcb, G_DR7) = 0x402; /* G0, execute */
}

/* Everything in place, except the obstacles. DR0 is not switched by VMRUN. */
static void place(const struct test *t, unsigned obstacles)
{
    for (unsigned i = 0; i < sizeof code; i += 2)
        code[i] = 0x0f, code[i + 1] = 0x0b;
    for (unsigned i = 0; i < 2; i++) {
        if (t->insn[i]) code[128 + i] = t->insn[i];
        guest_pt[i] = obstacles >> 2 * i & PF_IDT ? 0 : (PAGES_PHYSICAL + i * 4096) | 7;
        npt_pt[i] = obstacles >> 2 * i & NPF_IDT ? 0 : (uintptr_t)pages[i] | 7;
    }
    if (t->insn[0] == 0xcc) code[129] = 0x0f, code[130] = 0x0b;
    memcpy(pages[0], idt, 4096);
    seen = (struct seen){0};
    __asm__ volatile("mov %0, %%dr0" ::"r"((uint64_t)AT));
}

static void start(uint8_t *v, struct soft *s, const struct test *t)
{
    *s = (struct soft){0};
    if (!t->own) inject(v, s, t->event, AT, AT + (uint64_t)t->next);
}

/* One hypervisor. */
static void one_level(const struct test *t, enum variant how)
{
    struct soft s;
    prepare(t);
    V32(vmcb, EXCEPTIONS) = 1 << 14;
    start(vmcb, &s, t);
    for (unsigned n = 0; n < 8; n++) {
        if (svm_run() == X_VMMCALL) return;
        V32(vmcb, TLB) = 0;
        CHECK_EQ(W64(CODE) == X_PF || W64(CODE) == X_NPF, 1);
        tell_exit(vmcb, t, &s, how != RETRY || n == 0);
        if (!repair(vmcb)) return;
        complete(vmcb, &s, how);
    }
    CHECK(!"the guest makes progress");
}

/* The upper of two hypervisors: a guest of the lower one. It always restores next_rip; with `shadowed` it
 * intercepts #PF too, and so sees the faults of its guest's pages first. */
static const struct test *upper_test;
static bool upper_shadowed;
static void upper_hypervisor(void)
{
    struct soft s;
    prepare(upper_test);
    V64(vmcb, NP) = 0;
    if (upper_shadowed) V32(vmcb, EXCEPTIONS) = 1 << 14;
    start(vmcb, &s, upper_test);
    for (unsigned n = 0; n < 8; n++) {
        clgi();
        run_guest((uintptr_t)vmcb, (uintptr_t)upper_host);
        stgi();
        if (V64(vmcb, CODE) == X_VMMCALL) break;
        CHECK_EQ(V64(vmcb, CODE), X_PF);
        CHECK(upper_shadowed);
        if (nrips) CHECK_EQ(V64(vmcb, NRIP), 0);
        if (!repair(vmcb)) break;
        complete(vmcb, &s, REINJECT);
    }
    vmmcall();
}

/* The lower hypervisor's VMRUN of the upper one's guest: intercepts joined, nested paging its own. */
static void merged_run(uint8_t *upper, const struct test *t, enum variant how)
{
    struct soft s = {0};
    uint8_t *v = merged_vmcb;
    memcpy(v, upper, sizeof merged_vmcb);
    V32(v, EXCEPTIONS) |= 1 << 14;
    V64(v, NP) = 1;
    V64(v, NCR3) = (uintptr_t)npt_pml4;
    V64(v, G_PAT) = rdmsr(0x277);
    V32(v, ASID) = 2;
    V32(v, TLB) = 1;
    uint64_t event = V64(v, EVENTINJ), rip = V64(v, G_RIP);
    if ((event >> 31 & 1) && is_soft(event)) inject(v, &s, event, rip, nrips ? V64(v, NRIP) : rip);
    for (unsigned n = 0; n < 8; n++) {
        clgi();
        run_guest((uintptr_t)v, (uintptr_t)host_vmcb);
        stgi();
        V32(v, TLB) = 0;
        bool pf = V64(v, CODE) == X_PF;
        if ((pf && !(V32(upper, EXCEPTIONS) >> 14 & 1)) || V64(v, CODE) == X_NPF) {
            tell_exit(v, t, &s, how == REINJECT);
            if (!repair(v)) break;
            complete(v, &s, how);
            continue;
        }
        if (pf) print("  (the next exit is the upper hypervisor's)\n");
        if (pf) tell_exit(v, t, &s, how == REINJECT);
        break;
    }
    memcpy(upper + 0x400, v + 0x400, 0x400);
    V64(upper, CODE) = V64(v, CODE);
    V64(upper, INFO1) = V64(v, INFO1);
    V64(upper, INFO2) = V64(v, INFO2);
    V64(upper, INTINFO) = V64(v, INTINFO);
    V64(upper, SHADOW) = V64(v, SHADOW);
    V32(upper, EVENTINJ) = 0;
    if (nrips) V64(upper, NRIP) = V64(v, NRIP);
}

static void two_levels(const struct test *t, enum variant how, bool shadowed)
{
    upper_test = t;
    upper_shadowed = shadowed;
    svm_prepare(upper_hypervisor);
    memcpy(lower_vmcb, vmcb, sizeof vmcb);
    for (unsigned n = 0; n < 8; n++) {
        clgi();
        run_guest((uintptr_t)lower_vmcb, (uintptr_t)host_vmcb);
        stgi();
        if (V64(lower_vmcb, CODE) == X_VMMCALL) return;
        CHECK_EQ(V64(lower_vmcb, CODE), 0x80); /* VMRUN */
        if (V64(lower_vmcb, CODE) != 0x80) return;
        merged_run((uint8_t *)V64(lower_vmcb, G_RAX), t, how);
        V64(lower_vmcb, G_RIP) += 3;
        V32(lower_vmcb, TLB) = 0;
    }
    CHECK(!"the upper hypervisor makes progress");
}

/* What the variant must show. The lower hypervisor meets an obstacle: `met`. levels: 1, 2, or 3: two, of
 * which the upper one deals with the first fault. */
static struct seen predict(const struct test *t, enum variant how, bool met, unsigned levels)
{
    struct seen p = {.events = 1, .debug = t->own && t->breakpoint, .rip = AT + (uint64_t)t->next};
    if (how == REINJECT || !met) return p;
    if (how == FORGET) {
        if (nrips)
            p.rip = 0;
        else if (t->own && levels < 3)
            p.rip = AT;
        return p;
    }
    /* Without NRIPS the upper hypervisor has moved rIP already: the lower one goes back to that place. */
    bool moved = !nrips && (t->own ? levels == 3 : levels > 1);
    if (!t->insn[0] || moved) return (struct seen){.undefined = 1};
    p.debug = t->breakpoint;
    return p;
}

static bool once = true, address = true, quiet = true; /* the rules, over all tests of a variant */

static void judge(const struct test *t, struct seen p)
{
    bool right = seen.events == 1 && seen.rip == AT + (uint64_t)t->next && seen.debug == 0;
    print("  %s: handler entered %u times, return address %lx, #DB %u, #UD %u\n", right ? "right" : "WRONG",
          seen.events, seen.rip, seen.debug, seen.undefined);
    CHECK_EQ(seen.events, p.events);
    CHECK_EQ(seen.debug, p.debug);
    CHECK_EQ(seen.undefined, p.undefined);
    CHECK_EQ(seen.rip, p.rip);
    once = once && seen.events == 1;
    address = address && (seen.events != 1 || seen.rip == AT + (uint64_t)t->next);
    quiet = quiet && seen.debug == 0;
}

static void play(enum variant how)
{
    static const struct {
        unsigned obstacles;
        const char *text;
    } roads[] = {{0, "nothing in the way"},
                 {PF_IDT | NPF_STACK, "#PF at the IDT, then NPF at the stack"},
                 {ALL, "#PF and NPF at both"}};
    once = address = quiet = true;
    print("== variant %s%s\n", variant_names[how], nrips ? "" : ", no NRIPS");
    for (unsigned i = 0; i < TESTS; i++) {
        const struct test *t = &tests[i];
        for (unsigned r = 0; r < sizeof roads / sizeof roads[0]; r++) {
            print("%s; %s\n", t->text, roads[r].text);
            place(t, roads[r].obstacles);
            one_level(t, how);
            judge(t, predict(t, how, roads[r].obstacles != 0, 1));
        }
        if (t->deep) continue;
        for (unsigned shadowed = 0; shadowed < 2; shadowed++) {
            print("%s; one level deeper, %s\n", t->text,
                  shadowed ? "the upper hypervisor intercepts #PF"
                           : "the lower hypervisor alone intercepts #PF");
            place(t, ALL);
            two_levels(t, how, shadowed);
            judge(t, predict(t, how, true, 2 + shadowed));
        }
    }
    rule(once, how != RETRY, "an injected event arrives exactly once");
    rule(address, how == REINJECT || (how == RETRY), "its return address is the next_rip of the injection");
    rule(quiet, how != RETRY, "no #DB from a breakpoint on an instruction that is not executed");
}

/* Exits that supply next_rip: exceptions of INT3, INTO and BOUND; no other exception. */
static void software_exceptions(void)
{
    static const struct {
        uint8_t insn[2], length, vector;
    } row[] = {{{0xcc, 0x0b}, 1, 3}, {{0xce, 0x0b}, 1, 4}, {{0x62, 0x03}, 2, 5}, {{0x0f, 0x0b}, 0, 6}};
    static const uint32_t bounds[2] = {5, 10};
    for (unsigned i = 0; i < 4; i++) {
        const struct test t = {"", 0, 0, {row[i].insn[0], row[i].insn[1]}, 1, 0, 0};
        place(&t, 0);
        prepare(&t);
        V64(vmcb, G_CS) = UINT64_C(0xffffffff0c9b0018); /* 32-bit code */
        V32(vmcb, EXCEPTIONS) = 0x78;
        V64(vmcb, G_RFLAGS) = 0x802; /* OF */
        V64(vmcb, G_RAX) = 20;
        V64(vmcb, NRIP) = 0x1234;
        svm_regs.rbx = (uintptr_t)bounds;
        CHECK_EQ(svm_run(), 0x40 + row[i].vector);
        CHECK_EQ(V64(vmcb, G_RIP), AT);
        CHECK_EQ(V64(vmcb, NRIP), !nrips ? 0x1234 : row[i].length ? AT + row[i].length : 0);
        print("exit %lx by the instruction: rIP %lx, next_rip %lx\n", V64(vmcb, CODE), V64(vmcb, G_RIP),
              V64(vmcb, NRIP));
    }
}

int guest_main(void)
{
    if (!svm_on()) {
        print("SKIP soft_inject: the processor has no SVM\n");
        return 0;
    }
    nrips = svm_features & FEAT_NRIPS;
    guest_pml4[0] = boot_pml4[0];
    guest_pml4[1] = (uintptr_t)guest_pdpt | 7;
    guest_pdpt[0] = (uintptr_t)guest_pd | 7;
    guest_pd[0] = (uintptr_t)guest_pt | 7;
    set_handler(1, on_debug);
    set_handler(3, on_event);
    set_handler(4, on_event);
    set_handler(6, on_undefined);
    set_handler(0x48, on_event);
    const char *wanted = guest_variant();
    bool found = false;
    software_exceptions();
    for (unsigned how = 0; how < VARIANTS; how++) {
        if (*wanted && !text_equal(wanted, variant_names[how])) continue;
        found = true;
        play(how);
    }
    CHECK(found);
    return checks_result("soft_inject");
}
