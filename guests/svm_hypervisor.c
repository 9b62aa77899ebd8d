/* SPDX-License-Identifier: MIT */
/* The bundled hypervisor for SVM: turns it on, builds a VMCB and nested tables, runs 64-bit guests through
 * the exits that a hypervisor author meets, injects events of every type, plays with virtual interrupts and
 * the global interrupt flag, and breaks VMRUN on purpose. Every code, EXITINFO and nRIP is checked. APM 2
 * ch. 15. */
#include "svm.h"

static uint8_t vmcb2[4096] __attribute__((aligned(4096)));
static uint32_t physical_bits;
static uint64_t run(void) { return svm_run(); }
static void prepare(void (*code)(void)) { svm_prepare(code); }

static void expect(uint64_t code, uint64_t info1, uint64_t info2, unsigned length)
{
    CHECK_EQ(W64(CODE), code);
    CHECK_EQ(W64(INFO1), info1);
    CHECK_EQ(W64(INFO2), info2);
    CHECK_EQ(W64(INTINFO) >> 31 & 1, 0);
    if (svm_features & FEAT_NRIPS) CHECK_EQ(W64(NRIP), length ? W64(G_RIP) + length : 0);
    if (length) W64(G_RIP) += length;
}

/* --- The first guest: one exit of each common kind --- */

static volatile uint32_t irq_seen, nmi_seen;
static volatile uint64_t irq_rip;
static bool on_irq(struct exception_frame *f)
{
    irq_seen++;
    irq_rip = f->rip;
    return true;
}
static bool on_apic_irq(struct exception_frame *f)
{
    on_irq(f);
    mmio_write32(0xfee000b0, 0);
    return true;
}
static bool on_nmi(struct exception_frame *f)
{
    (void)f;
    nmi_seen++;
    return true;
}

static void story_guest(void)
{
    uint32_t r[4];
    cpuid(0x40000000, 0, r);
    CHECK_EQ(r[1], 0x65646e55); /* "Unde" */
    outb(0x80, 0x42);
    CHECK_EQ(inb(0x81), 0x24);
    CHECK_EQ(rdmsr(0x1b), 0xfee00900);
    volatile uint32_t *unmapped =
        (uint32_t *)0x40000000; /* in the nested tables only after its first fault */
    *unmapped = 0x600df00d;
    CHECK_EQ(*unmapped, 0x600df00d);
    __asm__ volatile("mov %%cr3, %%rbx" ::: "rbx");
    __asm__ volatile("sti; hlt; cli" ::: "memory"); /* the hypervisor answers with interrupt 40h */
    CHECK_EQ(irq_seen, 1);
    __asm__ volatile("ud2a"); /* intercepted */
    __asm__ volatile("vmmcall" ::"a"(0x600d) : "memory");
}

static void story(void)
{
    prepare(story_guest);
    W16(CR_READ) = 1 << 3;
    W32(WORD3) |= I_CPUID | I_IO | I_MSR | I_HLT;
    W32(EXCEPTIONS) = 1 << 6;
    iopm[0x10] = 0x03; /* ports 80h and 81h */
    msrpm[0x1b / 4] = 1 << 6;
    npt_pt[0] = 0;
    uint64_t in = svm_features & FEAT_DECODE ? UINT64_C(1) << 63 | 3 : 0; /* MOV CR, RBX */
    uint64_t n;

    n = run();
    print("CPUID: exit %lx\n", n);
    expect(X_CPUID, 0, 0, 2);
    W64(G_RAX) = 0x40000000;
    svm_regs.rbx = 0x65646e55;
    print("OUT: exit %lx\n", run());
    expect(X_IO, 0x800210, W64(G_RIP) + 2, 2);
    CHECK_EQ(W64(G_RAX) & 255, 0x42);
    print("IN: exit %lx\n", run());
    expect(X_IO, 0x810211, W64(G_RIP) + 2, 2);
    W64(G_RAX) = 0x24;
    print("RDMSR: exit %lx\n", run());
    expect(X_MSR, 0, 0, 2);
    CHECK_EQ(svm_regs.rcx, 0x1b);
    W64(G_RAX) = 0xfee00900;
    svm_regs.rdx = 0;
    n = run();
    print("nested page fault: exit %lx, EXITINFO1 %lx\n", n, W64(INFO1));
    expect(X_NPF, 0x100000006, 0x40000000, 0);
    if (svm_features & FEAT_DECODE) {
        CHECK_EQ(W8(BYTES), 15);
        for (int i = 0; i < 15; i++)
            CHECK_EQ(W8(BYTES + 1 + i), ((uint8_t *)W64(G_RIP))[i]);
    }
    npt_pt[0] = 0x200000 | 7; /* backed by the page at 2 MiB; absent translations are not cached */
    W8(TLB) = 0;
    n = run();
    print("MOV CR3: exit %lx, EXITINFO1 %lx\n", n, W64(INFO1));
    expect(X_READ_CR3, in, 0, 3);
    CHECK_EQ(*(uint32_t *)0x200000, 0x600df00d);
    print("HLT: exit %lx\n", run());
    CHECK_EQ(W64(SHADOW), 1); /* of STI */
    expect(X_HLT, 0, 0, 1);
    W64(SHADOW) = 0;
    W32(EVENTINJ) = 0x80000040;
    print("interrupt 40h injected; UD2: exit %lx\n", run());
    CHECK_EQ(irq_seen, 1);
    expect(X_UD, 0, 0, 0);
    W64(G_RIP) += 2;
    n = run();
    print("VMMCALL: exit %lx, rAX %lx\n", n, W64(G_RAX));
    expect(X_VMMCALL, 0, 0, 3);
    CHECK_EQ(W64(G_RAX), 0x600d);
}

/* --- Control registers, debug registers, software interrupts, ports, MSRs --- */

static void cr_guest(void)
{
    uint64_t v = READ_CR(0);
    WRITE_CR(0, v | 2 | 8); /* MP, TS: only these are not looked at by the selective intercept */
    WRITE_CR(0, v);
    WRITE_CR(0, v ^ 1 << 18); /* AM */
    __asm__ volatile("lmsw %w0" ::"r"(v) : "memory");
    __asm__ volatile("clts");
    WRITE_CR(0, v);
    __asm__ volatile("mov %%dr3, %%rcx; mov %%rdx, %%dr2" ::: "rcx");
    __asm__ volatile("int $0x47");
    vmmcall();
}
static void control_registers(void)
{
    prepare(cr_guest);
    uint64_t mov = svm_features & FEAT_DECODE ? UINT64_C(1) << 63 : 0;
    W32(WORD3) |= I_CR0_SEL | I_SWINT;
    W16(DR_READ) = 1 << 3;
    W16(DR_WRITE) = 1 << 2;
    run();
    CHECK_EQ(W64(CODE), X_CR0_SEL); /* AM changes */
    CHECK_EQ(W64(INFO1) & ~UINT64_C(15), mov);
    W64(G_RIP) += 3;
    run();
    expect(X_CR0_SEL, 0, 0, 3); /* LMSW always */
    W16(CR_WRITE) = 1;
    run();
    expect(X_WRITE_CR0, 0, 0, 2); /* CLTS */
    run();
    CHECK_EQ(W64(CODE), X_WRITE_CR0);
    CHECK_EQ(W64(INFO1) & ~UINT64_C(15), mov);
    W64(G_RIP) += 3;
    run();
    expect(0x23, mov ? 1 : 0, 0, 3);
    run();
    expect(0x32, mov ? 2 : 0, 0, 3);
    run();
    expect(X_SWINT, mov ? 0x47 : 0, 0, 2);
    CHECK_EQ(run(), X_VMMCALL);
}

static uint8_t buffer[16];
static void io_guest(void)
{
    __asm__ volatile("in %%dx, %%eax" ::"d"(0xffff) : "eax");
    __asm__ volatile("in %%dx, %%ax" ::"d"(0xfffe) : "eax");
    __asm__ volatile("outsb" ::"d"(0x1ff0), "S"(buffer) : "memory");
    __asm__ volatile("rep insw" ::"d"(0x1ff1), "D"(buffer), "c"(2) : "memory");
    rdmsr(0x2000);
    wrmsr(0xc0001fff, 0);
    rdmsr(0xc0011fff);
    vmmcall();
}
static void maps(void)
{
    prepare(io_guest);
    W32(WORD3) |= I_IO | I_MSR;
    iopm[0x2000] = 1; /* the bit behind port FFFFh */
    iopm[0x3fe] = 3;  /* 1FF0h, 1FF1h */
    msrpm[0xfff] = 0x80;
    msrpm[0x17ff] = 0x40;
    run();
    CHECK_EQ(W64(CODE), X_IO);
    CHECK_EQ(W64(INFO1), 0xffff0241);
    W64(G_RIP) = W64(INFO2);
    run(); /* FFFEh, two bytes: both bits clear, so it goes through */
    CHECK_EQ(W64(CODE), X_IO);
    CHECK_EQ(W64(INFO1), 0x1ff00214 | (svm_features & FEAT_DECODE ? 3 << 10 : 0));
    W64(G_RIP) = W64(INFO2);
    run();
    CHECK_EQ(W64(CODE), X_IO);
    CHECK_EQ(W64(INFO1), 0x1ff1022d);
    CHECK_EQ(svm_regs.rcx, 2);
    W64(G_RIP) = W64(INFO2);
    run(); /* outside the ranges */
    expect(X_MSR, 0, 0, 2);
    run();
    expect(X_MSR, 1, 0, 2);
    run();
    expect(X_MSR, 0, 0, 2);
    CHECK_EQ(run(), X_VMMCALL);
}

/* --- Injection --- */

static volatile uint64_t soft_rip;
static bool on_soft(struct exception_frame *f)
{
    soft_rip = f->rip;
    f->rip = (uintptr_t)vmmcall;
    return true;
}
static void ud_guest(void) { __asm__ volatile("ud2a"); }

static void inject(uint64_t event, uint64_t nrip, uint64_t expected_rip)
{
    prepare(ud_guest);
    W64(EVENTINJ) = event;
    W64(NRIP) = nrip;
    soft_rip = 0;
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(soft_rip, expected_rip);
}
static void injection(void)
{
    set_handler(3, on_soft);
    set_handler(4, on_soft);
    set_handler(0, on_soft);
    set_handler(13, on_soft);
    set_handler(0x48, on_soft);
    uint64_t rip = (uintptr_t)ud_guest;
    if (svm_features & FEAT_NRIPS) {
        inject(0x80000448, rip, rip); /* INT n */
        inject(0x80000448, rip + 100, rip + 100);
        inject(0x80000303, rip + 2, rip + 2); /* INT3 */
        inject(0x80000304, 0, 0);             /* INTO */
    }
    inject(0x80000048, rip + 7, rip); /* external interrupt: nRIP plays no part */
    inject(0x80000300, rip + 7, rip);
    inject(UINT64_C(0x1234) << 32 | 0x80000b0d, rip + 7, rip);

    /* A fault during the delivery: the gate is not there. */
    prepare(ud_guest);
    W16(G_IDTR + 4) = 0x2f * 16 + 15; /* up to vector 2Fh */
    W32(EXCEPTIONS) = 1 << 13;
    W32(EVENTINJ) = 0x80000048;
    run();
    CHECK_EQ(W64(CODE), X_GP);
    CHECK_EQ(W64(INFO1), 0x48 << 3 | 2 | 1); /* EXT: an external event */
    CHECK_EQ(W64(INTINFO), 0x80000048);
    CHECK_EQ(W64(G_RIP), rip);
    prepare(ud_guest);
    W16(G_IDTR + 4) = 0;
    run(); /* #UD, #GP, #DF, shutdown */
    CHECK_EQ(W64(CODE), X_SHUTDOWN);
    prepare(ud_guest);
    W16(G_IDTR + 4) = 0;
    W32(EXCEPTIONS) = 1 << 8;
    run(); /* #UD is benign: #GP is delivered, fails with #GP: #DF */
    CHECK_EQ(W64(CODE), 0x48);
    CHECK_EQ(W64(INTINFO) >> 31, 0);
    set_handler(0, NULL);
    set_handler(3, NULL);
    set_handler(4, NULL);
    set_handler(13, NULL);
}

/* --- Nested paging --- */

static void touch_guest(void)
{
    volatile uint64_t *p = (uint64_t *)0x40001000;
    (void)*p;
    *p = 1;
    vmmcall();
}
static void jump_guest(void) { ((void (*)(void))0x40001000)(); }
static void npf(void (*code)(void), uint64_t entry, uint64_t info1)
{
    prepare(code);
    npt_pt[1] = entry;
    run();
    CHECK_EQ(W64(CODE), X_NPF);
    CHECK_EQ(W64(INFO1), info1);
    CHECK_EQ(W64(INFO2), 0x40001000);
    CHECK_EQ(W8(BYTES) != 0, (svm_features & FEAT_DECODE) && code != jump_guest);
}
static void nested_paging(void)
{
    npf(touch_guest, 0, 0x100000004);
    npf(touch_guest, 0x200000 | 3, 0x100000005); /* not for users */
    npf(touch_guest, 0x200000 | 5, 0x100000007); /* the write */
    if (physical_bits < 52)
        npf(touch_guest, 0x200000 | 7 | UINT64_C(1) << 51, 0x10000000d); /* reserved bit */
    npf(jump_guest, 0, 0x100000014);
    npf(jump_guest, 0x200000 | 7 | UINT64_C(1) << 63, 0x100000015);
    *(uint32_t *)0x200000 = 0x00d9010f; /* VMMCALL */
    prepare(jump_guest);
    npt_pt[1] = 0x200000 | 7;
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(npt_pt[1], 0x200000 | 0x27); /* accessed, not dirty */
    prepare(touch_guest);
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(npt_pt[1], 0x200000 | 0x67);

    /* A page table of the guest that is read-only or absent in the nested tables: the tables at 40002000h. */
    uint64_t *pml4 = (uint64_t *)0x201000;
    memcpy(pml4, boot_pml4, 4096);
    prepare(touch_guest);
    W64(G_CR3) = 0x40002000;
    npt_pt[2] = 0x201000 | 5;
    run();
    CHECK_EQ(W64(CODE), X_NPF);
    CHECK_EQ(W64(INFO1), 0x200000007);
    CHECK_EQ(W64(INFO2), 0x40002000);
    npt_pt[2] = 0;
    run();
    CHECK_EQ(W64(INFO1), 0x200000006);
    npt_pt[2] = 0x201000 | 7;
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(npt_pt[2], 0x201000 | 0x67); /* a walk counts as a write */
}

/* --- Interrupts --- */

static void apic_self_ipi(uint32_t v) { mmio_write32(0xfee00300, 0x40000 | v); }
static void apic_nmi(void) { mmio_write32(0xfee00300, 0x40400); }

static void nop_guest(void)
{
    __asm__ volatile("nop; nop; nop" ::: "memory");
    vmmcall();
}
static void sti_guest(void)
{
    __asm__ volatile("sti; nop" ::: "memory");
    __asm__ volatile("cli" ::: "memory");
    vmmcall();
}
static void stgi_guest(void)
{
    __asm__ volatile("clgi; sti; nop; nop" ::: "memory");
    __asm__ volatile("stgi; nop; cli" ::: "memory");
    vmmcall();
}

static void interrupts(void)
{
    mmio_write32(0xfee000f0, 0x1ff);
    set_handler(0x50, on_apic_irq);
    irq_seen = 0;

    /* Pending at VMRUN with V_INTR_MASKING: the host's IF counts; the guest does not execute. */
    prepare(nop_guest);
    W32(WORD3) |= I_INTR;
    W64(VINTR) = 1 << 24;
    clgi();
    apic_self_ipi(0x50);
    __asm__ volatile("sti");
    svm_vmrun();
    CHECK_EQ(W64(CODE), X_INTR);
    CHECK_EQ(W64(G_RIP), (uintptr_t)nop_guest);
    CHECK_EQ(irq_seen, 0);
    stgi(); /* taken now */
    __asm__ volatile("nop; cli" ::: "memory");
    CHECK_EQ(irq_seen, 1);

    /* Host IF = 0: it stays out. */
    clgi();
    apic_self_ipi(0x50);
    svm_vmrun();
    CHECK_EQ(W64(CODE), X_VMMCALL);
    stgi();
    CHECK_EQ(irq_seen, 1);

    /* Without masking and intercept the guest takes it, after STI and one instruction. */
    prepare(sti_guest);
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(irq_seen, 2);

    /* Without masking but with the intercept: when the guest's IF opens. */
    prepare(sti_guest);
    W32(WORD3) |= I_INTR;
    apic_self_ipi(0x50);
    CHECK_EQ(run(), X_INTR);
    CHECK_EQ(W64(G_RFLAGS) >> 9 & 1, 1);
    __asm__ volatile("sti; nop; cli" ::: "memory");
    CHECK_EQ(irq_seen, 3);

    /* NMI: its intercept looks at GIF alone. */
    set_handler(2, on_nmi);
    prepare(nop_guest);
    W32(WORD3) |= I_NMI;
    clgi();
    apic_nmi();
    svm_vmrun();
    CHECK_EQ(W64(CODE), X_NMI);
    CHECK_EQ(nmi_seen, 0);
    stgi();
    __asm__ volatile("nop" ::: "memory");
    CHECK_EQ(nmi_seen, 1);
}

static void virtual_interrupts(void)
{
    const uint64_t irq = UINT64_C(0x41) << 32 | 1 << 24 | 1 << 8 | 5 << 16;
    set_handler(0x41, on_irq);
    irq_seen = 0;
    prepare(nop_guest); /* IF = 0 */
    W64(VINTR) = irq;
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(irq_seen, 0);
    CHECK_EQ(W64(VINTR), irq);
    prepare(sti_guest);
    W64(VINTR) = irq;
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(irq_seen, 1);
    CHECK_EQ(W64(VINTR), irq & ~UINT64_C(0x100));
    prepare(sti_guest);
    W64(VINTR) = irq | 5; /* V_TPR holds it back */
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(irq_seen, 1);
    prepare(sti_guest);
    W64(VINTR) = irq | 5 | 1 << 20; /* unless ignored */
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(irq_seen, 2);
    prepare(sti_guest);
    W32(WORD3) |= I_VINTR;
    W64(VINTR) = irq;
    CHECK_EQ(run(), X_VINTR);
    CHECK_EQ(W64(VINTR), irq);
    CHECK_EQ(irq_seen, 2);
    /* The shadow lasts for one instruction. */
    prepare(nop_guest);
    W64(VINTR) = irq;
    W64(SHADOW) = 1;
    W64(G_RFLAGS) = 0x202;
    CHECK_EQ(run(), X_VMMCALL);
    CHECK_EQ(irq_seen, 3);
    CHECK_EQ(irq_rip, *(uint8_t *)(uintptr_t)nop_guest == 0x90 ? (uintptr_t)nop_guest + 1 : irq_rip);
    CHECK_EQ(W64(SHADOW), 0);

    if (svm_features & FEAT_VGIF) {
        prepare(stgi_guest);
        W64(VINTR) = irq | 1 << 25 | 1 << 9;
        W64(G_RFLAGS) = 2;
        CHECK_EQ(run(), X_VMMCALL);
        CHECK_EQ(irq_seen, 4);
        CHECK_EQ(W64(VINTR) >> 9 & 1, 1);
        prepare(nop_guest);
        W64(VINTR) = irq | 1 << 25; /* closed */
        W64(G_RFLAGS) = 0x202;
        CHECK_EQ(run(), X_VMMCALL);
        CHECK_EQ(irq_seen, 4);
    }
    if (svm_features & FEAT_VNMI) {
        nmi_seen = 0;
        prepare(nop_guest);
        W32(WORD3) |= I_NMI;
        W64(VINTR) = 1 << 26 | 1 << 11;
        CHECK_EQ(run(), X_VMMCALL);
        CHECK_EQ(nmi_seen, 1);
        CHECK_EQ(W64(VINTR), 1 << 26); /* not pending, and IRET took the mask away */
        prepare(nop_guest);
        W32(WORD3) |= I_NMI;
        W64(VINTR) = 1 << 26 | 1 << 12 | 1 << 11;
        CHECK_EQ(run(), X_VMMCALL);
        CHECK_EQ(nmi_seen, 1); /* masked */
        W32(WORD3) &= ~(uint32_t)I_NMI;
        CHECK_EQ(run(), X_INVALID);
    }
}

/* --- The rest --- */

static volatile uint64_t guest_tsc;
static void tsc_guest(void)
{
    guest_tsc = rdtsc();
    vmmcall();
}
static void vls_guest(void)
{
    __asm__ volatile("vmload %%rax; vmsave %%rax" ::"a"(vmcb2) : "memory");
    vmmcall();
}
static void pause_guest(void)
{
    for (int i = 0; i < 10; i++)
        __asm__ volatile("pause");
    vmmcall();
}
static void others(void)
{
    prepare(tsc_guest);
    W64(TSC_OFFSET) = UINT64_C(1) << 40;
    uint64_t before = rdtsc();
    CHECK_EQ(run(), X_VMMCALL);
    uint64_t after = rdtsc();
    CHECK(guest_tsc - (UINT64_C(1) << 40) >= before && guest_tsc - (UINT64_C(1) << 40) <= after);

    if (svm_features & FEAT_VLS) {
        prepare(vls_guest);
        *(uint64_t *)(vmcb2 + G_LSTAR) = UINT64_C(0x0000800012345678); /* becomes canonical */
        memcpy(vmcb2 + G_TR, vmcb + G_TR, 16);
        W64(EXT) = 2;
        CHECK_EQ(run(), X_VMMCALL);
        CHECK_EQ(*(uint64_t *)(vmcb2 + G_LSTAR), UINT64_C(0xffff800012345678));
        prepare(vls_guest);
        W64(EXT) = 2;
        W32(WORD4) |= I_VMLOAD;
        CHECK_EQ(run(), X_VMLOAD);
    }
    if (svm_features & FEAT_PAUSE) {
        prepare(pause_guest);
        W32(WORD3) |= I_PAUSE;
        W16(PAUSE_COUNT) = 9;
        CHECK_EQ(run(), X_PAUSE);
        W16(PAUSE_COUNT) = 20;
        CHECK_EQ(run(), X_VMMCALL);
    }
    if (svm_features & FEAT_CLEAN) {
        /* The intercepts stay as they were at the last VMRUN while their clean bit is set. */
        prepare(nop_guest);
        CHECK_EQ(run(), X_VMMCALL);
        prepare(tsc_guest);
        W32(WORD3) |= I_RDTSC;
        W32(CLEAN) = 1;
        CHECK_EQ(run(), X_VMMCALL);
        W64(G_RIP) = (uintptr_t)tsc_guest;
        W32(CLEAN) = 0;
        CHECK_EQ(run(), X_RDTSC);
    }
}

#define BROKEN(statement)             \
    do {                              \
        prepare(nop_guest);           \
        CHECK_EQ(run(), X_VMMCALL);   \
        W64(G_RIP) = 0x1234;          \
        statement;                    \
        CHECK_EQ(run(), X_INVALID);   \
        CHECK_EQ(W64(G_RIP), 0x1234); \
    } while (0)

static void broken_runs(void)
{
    print("-- VMRUNs that must fail\n");
    BROKEN(W32(WORD4) = 0);
    BROKEN(W32(ASID) = 0);
    BROKEN(W64(G_EFER) &= ~UINT64_C(0x1000));
    BROKEN(W64(G_EFER) |= 1 << 9);
    BROKEN(W64(G_CR0) |= 1 << 29);
    BROKEN(W64(G_CR0) |= UINT64_C(1) << 32);
    BROKEN(W64(G_CR3) |= UINT64_C(1) << 52);
    BROKEN(W64(G_CR4) |= 1 << 15);
    BROKEN(W64(G_CR4) &= ~UINT64_C(0x20));
    BROKEN(W64(G_DR6) |= UINT64_C(1) << 32);
    BROKEN(W64(G_DR7) |= UINT64_C(1) << 63);
    BROKEN(W16(G_CS + 2) |= 0x400);
    BROKEN(W32(EVENTINJ) = 0x80000140);
    BROKEN(W32(EVENTINJ) = 0x80000302);
    BROKEN(W32(EVENTINJ) = 0x80000320);
    BROKEN(W64(G_PAT) = 2);
    BROKEN((W32(WORD3) |= I_IO, W64(IOPM) = ~UINT64_C(0xfff)));
    BROKEN((W32(WORD3) |= I_MSR, W64(MSRPM) = ~UINT64_C(0xfff)));
}

static void legality(void)
{
    wrmsr(0xc0000080, rdmsr(0xc0000080) & ~UINT64_C(0x1000));
    CATCH("vmrun %%rax" ::"a"(0) : "memory");
    CHECK_EQ(caught.vector, 6);
    CATCH("clgi" ::: "rax", "memory");
    CHECK_EQ(caught.vector, 6);
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x1000);
    CATCH("vmmcall" ::: "rax", "memory");
    CHECK_EQ(caught.vector, 6);
    CATCH("mov $1, %%eax; vmrun %%rax" ::: "rax", "memory");
    CHECK_EQ(caught.vector, 13);
    CATCH("mov $0x1008, %%eax; vmload %%rax" ::: "rax", "memory");
    CHECK_EQ(caught.vector, 13);
    CATCH("mov $-4096, %%rax; vmsave %%rax" ::: "rax", "memory");
    CHECK_EQ(caught.vector, 13);
    CATCH("skinit %%eax" ::: "rax", "memory");
    CHECK_EQ(caught.vector, 6);
    CHECK_EQ(rdmsr(0xc0010114), 0);
    CATCH("mov $0xc0010114, %%ecx; xor %%edx, %%edx; mov $0x10, %%eax; wrmsr" ::
              : "rax", "rcx", "rdx", "memory");
    CHECK_EQ(caught.vector, 13); /* SVMDIS while SVME is set */
    CATCH("mov $0xc0010117, %%ecx; xor %%edx, %%edx; mov $0x10, %%eax; wrmsr" ::
              : "rax", "rcx", "rdx", "memory");
    CHECK_EQ(caught.vector, 13);
}

int guest_main(void)
{
    uint32_t r[4];
    if (!svm_on()) {
        print("SKIP svm_hypervisor: the processor has no SVM\n");
        return 0;
    }
    cpuid(0x80000008, 0, r);
    physical_bits = r[0] & 255;
    cpuid(0x8000000a, 0, r);
    print("SVM revision %u, %x ASIDs, features %x\n", r[0], r[1], r[3]);
    set_handler(0x40, on_irq);
    story();
    control_registers();
    maps();
    injection();
    nested_paging();
    interrupts();
    virtual_interrupts();
    others();
    broken_runs();
    legality();
    return checks_result("svm_hypervisor");
}
