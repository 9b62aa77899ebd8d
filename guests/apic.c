/* SPDX-License-Identifier: MIT */
/* Local APIC, I/O APIC, 8259, PIT, RTC and HPET as an operating system uses them: delivery, priorities,
 * masking, every timer mode, time that is consistent between the clocks. SDM 3A ch. 10; 8254, 8259A data
 * sheets. */
#include "guest.h"

static const uint64_t APIC = 0xfee00000, IOAPIC = 0xfec00000, HPET = 0xfed00000;
enum {
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    SVR = 0xf0,
    ISR = 0x100,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HI = 0x310,
    LVT_TIMER = 0x320,
    LVT0 = 0x350,
    TICR = 0x380,
    TCCR = 0x390,
    TDCR = 0x3e0
};

static volatile uint32_t seen[256], order[16], order_n;
static uint32_t rd(uint32_t r) { return mmio_read32(APIC + r); }
static void wr(uint32_t r, uint32_t v) { mmio_write32(APIC + r, v); }
static bool bit(uint32_t base, uint32_t v) { return rd(base + v / 32 * 16) >> (v % 32) & 1; }

static bool on_apic(struct exception_frame *f)
{
    seen[f->vector]++;
    if (order_n < 16) order[order_n++] = (uint32_t)f->vector;
    CHECK(bit(ISR, (uint32_t)f->vector));
    wr(EOI, 0);
    return true;
}
static bool on_x2apic(struct exception_frame *f)
{
    seen[f->vector]++;
    CHECK(rdmsr(0x812) >> 17 & 1); /* ISR */
    wrmsr(0x80b, 0);
    return true;
}
static bool on_pic(struct exception_frame *f)
{
    seen[f->vector]++;
    outb(0x20, 0x20);
    return true;
}
static bool on_spurious(struct exception_frame *f)
{
    seen[f->vector]++;
    return true;
}
static void window(void) { __asm__ volatile("sti; nop; nop; cli" ::: "memory"); }
static void self_ipi(uint32_t v) { wr(ICR, 0x40000 | v); }
static bool wait_for(volatile uint32_t *p, uint32_t n, uint64_t cycles)
{
    uint64_t end = rdtsc() + cycles;
    while (*p < n && rdtsc() < end)
        window();
    return *p >= n;
}

static void local_apic(void)
{
    CHECK_EQ(rdmsr(0x1b) & ~UINT64_C(0x500), 0xfee00800);
    CHECK_EQ(rd(VERSION) & 0xff, 0x14 | (rd(VERSION) & 1));
    wr(SVR, 0x1ff);
    CHECK_EQ(rd(SVR), 0x1ff);
    wr(TPR, 0);
    self_ipi(0x51);
    CHECK(bit(IRR, 0x51));
    CHECK_EQ(seen[0x51], 0);
    window();
    CHECK_EQ(seen[0x51], 1);
    CHECK(!bit(IRR, 0x51) && !bit(ISR, 0x51));
    /* priority: the higher vector first, TPR holds a class back */
    order_n = 0;
    self_ipi(0x51);
    self_ipi(0x71);
    self_ipi(0x61);
    wr(TPR, 0x60);
    CHECK_EQ(rd(PPR), 0x60);
    window();
    CHECK_EQ(order_n, 1);
    CHECK_EQ(order[0], 0x71);
    wr(TPR, 0);
    window();
    window();
    CHECK_EQ(order_n, 3);
    CHECK_EQ(order[1], 0x61);
    CHECK_EQ(order[2], 0x51);
    /* CR8 is TPR bits 7:4 */
    WRITE_CR(8, 9);
    CHECK_EQ(rd(TPR), 0x90);
    self_ipi(0x81);
    window();
    CHECK_EQ(seen[0x81], 0);
    WRITE_CR(8, 0);
    window();
    CHECK_EQ(seen[0x81], 1);
    /* an illegal vector sets ESR bits on a write of ESR */
    wr(ESR, 0);
    self_ipi(5);
    wr(ESR, 0);
    CHECK(rd(ESR) & 0x60);
    wr(ESR, 0);
    /* HLT wakes up by an interrupt; the shadow of STI covers HLT */
    self_ipi(0x51);
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    CHECK_EQ(seen[0x51], 3);
}

static void timers(void)
{
    wr(TDCR, 0xb); /* divide by 1 */
    wr(LVT_TIMER, 0x41);
    wr(TICR, 1000);
    CHECK(rd(TCCR) <= 1000);
    CHECK(wait_for(&seen[0x41], 1, 100000000));
    CHECK_EQ(rd(TCCR), 0);
    uint32_t before = seen[0x41];
    wr(TICR, 1000);
    wr(TICR, 0); /* stops it */
    CHECK(!wait_for(&seen[0x41], before + 1, 300000));
    wr(LVT_TIMER, 0x20000 | 0x42);
    wr(TICR, 2000);
    CHECK(wait_for(&seen[0x42], 5, 100000000));
    wr(LVT_TIMER, 0x10000 | 0x42); /* masked */
    window();
    before = seen[0x42];
    CHECK(!wait_for(&seen[0x42], before + 1, 300000));
    wr(TICR, 0);
    uint32_t r[4];
    cpuid(1, 0, r);
    if (r[2] >> 24 & 1) {
        wr(LVT_TIMER, 0x40000 | 0x43);
        uint64_t start = rdtsc(), deadline = start + 200000;
        wrmsr(0x6e0, deadline);
        CHECK_EQ(rdmsr(0x6e0), deadline);
        CHECK(wait_for(&seen[0x43], 1, 100000000));
        CHECK(rdtsc() >= deadline);
        CHECK_EQ(rdmsr(0x6e0), 0);
        wrmsr(0x6e0, rdtsc() - 1); /* already past: fires at once */
        window();
        window();
        CHECK_EQ(seen[0x43], 2);
    }
    wr(LVT_TIMER, 0x10000);
}

static void x2apic(void)
{
    uint32_t r[4];
    cpuid(1, 0, r);
    if (!(r[2] >> 21 & 1)) return;
    uint64_t base = rdmsr(0x1b);
    CATCH("rdmsr" ::"c"(0x802) : "rax", "rdx");
    CHECK_EQ(caught.vector, 13);
    wrmsr(0x1b, base | 0x400);
    CHECK_EQ(rdmsr(0x802), 0); /* the boot processor */
    CHECK_EQ(rdmsr(0x80f), 0x1ff);
    wrmsr(0x83f, 0x51);            /* SELF IPI */
    CHECK(rdmsr(0x822) >> 17 & 1); /* IRR */
    set_handler(0x51, on_x2apic);
    uint32_t before = seen[0x51];
    window();
    set_handler(0x51, on_apic);
    CHECK_EQ(seen[0x51], before + 1);
    CHECK_EQ(rdmsr(0x812), 0);
    CATCH("wrmsr" ::"c"(0x802), "a"(0), "d"(0)); /* read-only */
    CHECK_EQ(caught.vector, 13);
    CATCH("wrmsr" ::"c"(0x80b), "a"(1), "d"(0)); /* EOI takes only 0 */
    CHECK_EQ(caught.vector, 13);
    CATCH("wrmsr" ::"c"(0x1b), "a"((uint32_t)base), "d"(0)); /* x2APIC to xAPIC is illegal */
    CHECK_EQ(caught.vector, 13);
    wrmsr(0x1b, base & ~UINT64_C(0xc00));
    wrmsr(0x1b, base);
    CHECK_EQ(rdmsr(0x1b), base);
}

static void pic_and_pit(void)
{
    wr(SVR, 0x1ff);
    wr(LVT0, 0x700); /* ExtINT: the 8259 through LINT0 */
    static const uint8_t icw[2][4] = {{0x11, 0x20, 4, 1}, {0x11, 0x28, 2, 1}};
    for (int i = 0; i < 2; i++) {
        outb(i ? 0xa0 : 0x20, icw[i][0]);
        for (int j = 1; j < 4; j++)
            outb(i ? 0xa1 : 0x21, icw[i][j]);
    }
    outb(0xa1, 0xff);
    outb(0x21, 0xfe);
    CHECK_EQ(inb(0x21), 0xfe);
    outb(0x43, 0x34); /* channel 0, mode 2 */
    outb(0x40, 0xe8);
    outb(0x40, 0x03); /* 1000 ticks: 838 us */
    CHECK(wait_for(&seen[0x20], 1, 100000000));
    uint64_t t0 = rdtsc();
    uint32_t n = seen[0x20];
    CHECK(wait_for(&seen[0x20], n + 10, 1000000000));
    uint64_t cycles = rdtsc() - t0;
    print("10 PIT periods of 838 us took %lu TSC cycles\n", cycles);
    CHECK(cycles > 1000000);
    outb(0x21, 0xff);
    window();
    n = seen[0x20];
    CHECK(!wait_for(&seen[0x20], n + 1, 3000000));
    /* latch */
    outb(0x43, 0x00);
    uint32_t a = inb(0x40);
    a |= (uint32_t)inb(0x40) << 8;
    CHECK(a <= 1000);
    wr(LVT0, 0x10000);
}

static void io_apic(void)
{
    mmio_write32(IOAPIC, 1);
    CHECK(((mmio_read32(IOAPIC + 0x10) >> 16) & 0xff) >= 23);
    mmio_write32(IOAPIC, 0x10 + 2 * 2 + 1);
    mmio_write32(IOAPIC + 0x10, 0);
    mmio_write32(IOAPIC, 0x10 + 2 * 2);
    mmio_write32(IOAPIC + 0x10, 0x55); /* the PIT's pin 2: edge, fixed, physical 0 */
    CHECK(wait_for(&seen[0x55], 3, 100000000));
    mmio_write32(IOAPIC, 0x10 + 2 * 2);
    mmio_write32(IOAPIC + 0x10, 0x10055);
}

static void clocks(void)
{
    outb(0x70, 0x0d);
    CHECK_EQ(inb(0x71), 0x80);
    outb(0x70, 0x0a);
    CHECK_EQ(inb(0x71) & 0x7f, 0x26);
    uint32_t cap = mmio_read32(HPET), period = mmio_read32(HPET + 4);
    CHECK(cap != 0xffffffff && period > 0 && period <= 100000000);
    mmio_write32(HPET + 0x10, 1);
    uint32_t c0 = mmio_read32(HPET + 0xf0);
    uint64_t t0 = rdtsc();
    while (rdtsc() - t0 < 1000000) {
    }
    uint32_t ticks = mmio_read32(HPET + 0xf0) - c0;
    print("%u HPET ticks of %u fs in 1000000 TSC cycles\n", ticks, period);
    CHECK(ticks > 0);
    uint32_t p0 = inl(0x608);
    t0 = rdtsc();
    while (rdtsc() - t0 < 1000000) {
    }
    CHECK(((inl(0x608) - p0) & 0xffffff) > 0);
}

int guest_main(void)
{
    for (int v = 0x30; v < 0xff; v++)
        set_handler(v, on_apic);
    for (int v = 0x20; v < 0x30; v++)
        set_handler(v, on_pic);
    set_handler(0xff, on_spurious);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    local_apic();
    timers();
    pic_and_pit();
    io_apic();
    x2apic();
    clocks();
    return checks_result("apic");
}
