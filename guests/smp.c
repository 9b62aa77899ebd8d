/* SPDX-License-Identifier: MIT */
/* Several processors: start-up by INIT and SIPI from a real-mode trampoline, IPIs in every destination and
 * delivery mode, locked operations, cross-modifying code, TLB shootdown, waking from MWAIT, UMWAIT and HLT.
 * Runs with 1 to 64 processors. SDM 3A 9.4, 11.6, 9.1.2, 9.1.3, 4.10.5; SDM 2B MONITOR, MWAIT, UMWAIT,
 * TPAUSE. */
#include "smp.h"

enum { MAX = SMP_MAX, SECOND = 0x9000 };
enum { ID = 0x20, TPR = 0x80, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0 };
enum { IPI = 0x51, WAKE = 0x52, SHOOT = 0x53 };

static const uint64_t APIC = 0xfee00000;
static uint32_t cpus;
static volatile uint32_t got[MAX], nmis[MAX], bad[MAX], woken[MAX];
static volatile uint64_t slept[MAX];
static volatile uint32_t stop;

static uint32_t me(void) { return x2 ? (uint32_t)rdmsr(0x802) : mmio_read32(APIC + ID) >> 24; }
static void eoi(void)
{
    if (x2)
        wrmsr(0x80b, 0);
    else
        mmio_write32(APIC + EOI, 0);
}
/* ---- start-up ---- */

/* Everybody does it, this processor too. */
static void everybody(void (*fn)(uint32_t), void (*mine)(uint32_t))
{
    stop = 0;
    begin_round(fn);
    if (mine) mine(0);
    end_round(cpus);
}

static bool started(uint32_t id, uint32_t times)
{
    for (uint64_t end = rdtsc() + 10000000; starts[id] < times && rdtsc() < end;)
        pause();
    return starts[id] == times;
}

static void start_up(void)
{
    put_trampoline(TRAMPOLINE);
    put_trampoline(SECOND);
    if (cpus == 1) return;
    send_ipi(0, 0xc4500); /* INIT to all but self */
    wait_cycles(10000);
    for (uint32_t i = 1; i < cpus; i++)
        send_ipi(i, 0x4600 | TRAMPOLINE >> 12);
    send_ipi(0, 0xc4600 | TRAMPOLINE >> 12); /* once more: they do not wait any longer */
    for (uint32_t i = 1; i < cpus; i++)
        CHECK(started(i, 1));
    wait_cycles(20000);
    for (uint32_t i = 1; i < cpus; i++)
        CHECK_EQ(starts[i], 1);
    /* INIT of one that runs, SIPI to another page */
    uint32_t last = cpus - 1;
    send_ipi(last, 0x4500);
    send_ipi(last, 0x8500); /* level de-assert: nothing */
    wait_cycles(1000);
    send_ipi(last, 0x4600 | SECOND >> 12);
    CHECK(started(last, 2));
    for (uint32_t i = 1; i < last; i++)
        CHECK_EQ(starts[i], 1);
}

/* ---- locked operations ---- */

static volatile uint32_t lock_word, ticket_next, ticket_now, plain, adds, bits_set, races;
static volatile uint16_t words __attribute__((aligned(64)));
static volatile uint64_t quads __attribute__((aligned(64))), split_area[16] __attribute__((aligned(64)));
static volatile uint64_t pair[2] __attribute__((aligned(16)));
enum { TURNS = 200 };

static void count(uint32_t id)
{
    volatile uint64_t *split = (volatile uint64_t *)((uintptr_t)split_area + 60); /* over two lines */
    for (uint32_t i = 0; i < TURNS; i++) {
        if (i & 1) { /* by XCHG, which locks by itself */
            uint32_t v = 1;
            do
                __asm__ volatile("xchgl %0, %1" : "+r"(v), "+m"(lock_word)::"memory");
            while (v != 0 && (pause(), true));
            plain++;
            lock_word = 0;
        }
        uint32_t ticket = locked_add(&ticket_next, 1);
        while (ticket_now != ticket)
            pause();
        races = races + 1;
        ticket_now = ticket + 1;
        __asm__ volatile("lock incw %0; lock addq $3, %1; lock subq $1, %2; lock addl $1, %3"
                         : "+m"(words), "+m"(quads), "+m"(*split), "+m"(adds)::"memory");
        uint8_t carry;
        __asm__ volatile("lock btsl %2, %1; setc %0" : "=r"(carry), "+m"(bits_set) : "r"(id & 31) : "memory");
        if (carry && cpus <= 32) bad[id]++;
        __asm__ volatile("lock btrl %2, %1; setc %0" : "=r"(carry), "+m"(bits_set) : "r"(id & 31) : "memory");
        if (!carry && cpus <= 32) bad[id]++;
        uint64_t lo = pair[0], hi = pair[1];
        uint8_t ok;
        do
            __asm__ volatile("lock cmpxchg16b %0; setz %1"
                             : "+m"(*(volatile __uint128_t *)pair), "=q"(ok), "+a"(lo), "+d"(hi)
                             : "b"(lo + 1), "c"(hi - 1)
                             : "memory");
        while (!ok);
        if (lo + hi != 0) bad[id]++; /* halves always belong together */
    }
}

static void no_bad(void)
{
    for (uint32_t i = 0; i < cpus; i++) {
        CHECK_EQ(bad[i], 0);
        bad[i] = 0;
    }
}

static void locks(void)
{
    everybody(count, count);
    CHECK_EQ(plain, cpus * TURNS / 2);
    CHECK_EQ(races, cpus * TURNS);
    CHECK_EQ(adds, cpus * TURNS);
    CHECK_EQ(words, (uint16_t)(cpus * TURNS));
    CHECK_EQ(quads, cpus * TURNS * UINT64_C(3));
    CHECK_EQ(*(volatile uint64_t *)((uintptr_t)split_area + 60), 0 - (uint64_t)cpus * TURNS);
    CHECK_EQ(bits_set, 0);
    CHECK_EQ(pair[0], cpus * TURNS);
    CHECK_EQ(pair[1], 0 - (uint64_t)cpus * TURNS);
    no_bad();
}

/* ---- code that another processor writes ---- */

static uint8_t code[4096] __attribute__((aligned(4096))) = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov $0, %eax; ret */
static volatile uint32_t seen_step, step;

static uint32_t call_code(void) { return ((uint32_t(*)(void))(uintptr_t)code)(); }

static void run_code(uint32_t id)
{
    /* In step: what was written before `step` is executed after it. */
    for (uint32_t k = 1; k <= 20; k++) {
        while (step != k)
            pause();
        __asm__ volatile("cpuid" : : "a"(0), "c"(0) : "rbx", "rdx", "memory"); /* the manual asks for it */
        if (call_code() != k) bad[id]++;
        locked_add(&seen_step, 1);
    }
    /* Out of step: old or new, and never back. */
    uint32_t last = 20;
    do {
        uint32_t v = call_code();
        if (v < last || v > 60) bad[id]++;
        last = v;
    } while (last != 60);
}

static void write_code(uint32_t id)
{
    (void)id;
    for (uint32_t k = 1; k <= 20; k++) {
        *(volatile uint32_t *)(code + 1) = k;
        step = k;
        while (seen_step != k * (cpus - 1))
            pause();
    }
    for (uint32_t k = 21; k <= 60; k++) {
        code[1] = (uint8_t)k;
        __asm__ volatile("" ::: "memory");
        wait_cycles(300);
    }
}

static void modified_code(void)
{
    everybody(run_code, write_code);
    CHECK_EQ(call_code(), 60);
    no_bad();
}

/* ---- TLB shootdown ---- */

enum { AREA = 0x80000000u, ROUNDS = 10 };
static volatile uint32_t shot, view;

static bool on_shoot(struct exception_frame *f)
{
    (void)f;
    __asm__ volatile("invlpg (%0)" ::"r"((uint64_t)AREA) : "memory");
    locked_add(&shot, 1);
    eoi();
    return true;
}

static void read_area(uint32_t id)
{
    volatile uint32_t *p = (volatile uint32_t *)(uintptr_t)AREA;
    __asm__ volatile("sti");
    while (!stop) {
        uint32_t current = view, v = *p;
        /* After everybody has answered, only the new page is there. */
        if (view == current && current != 0 && v != current) bad[id]++;
        woken[id]++;
    }
    __asm__ volatile("cli");
}

static void remap_area(uint32_t id)
{
    (void)id;
    for (uint32_t k = 0; k < ROUNDS; k++) {
        uint32_t other = k & 1;
        view = 0; /* either page may be seen now */
        for (uint32_t i = 1; i < cpus; i++)
            for (uint32_t before = woken[i]; woken[i] == before;)
                pause();
        boot_pd[AREA >> 21] = (other ? 0x1200000u : 0x1000000u) | 0x87;
        shot = 0;
        __asm__ volatile("invlpg (%0)" ::"r"((uint64_t)AREA) : "memory");
        if (cpus > 1) send_ipi(0, 0xc4000 | SHOOT);
        while (shot != cpus - 1)
            pause();
        view = other ? 0xbbbbbbbb : 0xaaaaaaaa;
        CHECK_EQ(*(volatile uint32_t *)(uintptr_t)AREA, view);
        wait_cycles(2000);
    }
    stop = 1;
}

static void shootdown(void)
{
    *(volatile uint32_t *)(uintptr_t)0x1000000 = 0xaaaaaaaa;
    *(volatile uint32_t *)(uintptr_t)0x1200000 = 0xbbbbbbbb;
    boot_pd[AREA >> 21] = 0x1000087;
    view = 0;
    everybody(read_area, remap_area);
    no_bad();
    for (uint32_t i = 0; i < cpus; i++)
        woken[i] = 0;
}

/* ---- interrupts between processors ---- */

static bool on_ipi(struct exception_frame *f)
{
    (void)f;
    locked_add(&got[me()], 1);
    eoi();
    return true;
}
static bool on_wake(struct exception_frame *f)
{
    (void)f;
    eoi();
    return true;
}
static bool on_nmi(struct exception_frame *f)
{
    (void)f;
    locked_add(&nmis[me()], 1);
    return true;
}

static uint32_t window_tpr[MAX];

/* What is pending is taken now. */
static void drain(void) { __asm__ volatile("sti; nop; nop; nop; nop; cli" ::: "memory"); }

/* Odd ones sleep, even ones spin. */
static void take_interrupts(uint32_t id)
{
    drain(); /* the WAKE of the round before */
    if (x2)
        wrmsr(0x808, window_tpr[id]);
    else
        mmio_write32(APIC + TPR, window_tpr[id]);
    locked_add(&woken[0], 1);
    while (!stop) {
        if (id & 1)
            __asm__ volatile("sti; hlt; cli" ::: "memory");
        else
            __asm__ volatile("sti; pause; cli" ::: "memory");
    }
    if (x2)
        wrmsr(0x808, 0);
    else
        mmio_write32(APIC + TPR, 0);
    drain(); /* it may have seen `stop` first */
}

static uint32_t sent_dest, sent_low;
static void send_and_wait(uint32_t id)
{
    (void)id;
    while (woken[0] != cpus - 1)
        pause();
    send_ipi(sent_dest, sent_low);
    for (int i = 0; i < 200; i++)
        __asm__ volatile("sti; pause; cli" ::: "memory");
    stop = 1;
    if (cpus > 1) send_ipi(0, 0xc4000 | WAKE);
}

static uint64_t received(uint32_t dest, uint32_t low)
{
    uint64_t mask = 0;
    woken[0] = 0;
    sent_dest = dest;
    sent_low = low;
    everybody(take_interrupts, send_and_wait);
    for (uint32_t i = 0; i < cpus; i++) {
        volatile uint32_t *n = (low >> 8 & 7) == 4 ? nmis : got;
        if (n[i] > 1) bad[i]++;
        if (n[i]) mask |= UINT64_C(1) << i;
        n[i] = 0;
    }
    no_bad();
    return mask;
}

static bool one_of(uint64_t mask, uint64_t of) { return mask && !(mask & (mask - 1)) && (mask & ~of) == 0; }

static uint32_t ldr_flat, dfr_wanted;
static void set_logical(uint32_t id)
{
    mmio_write32(APIC + DFR, dfr_wanted);
    mmio_write32(APIC + LDR, (ldr_flat ? 1u << id : (id / 2) << 4 | 1u << (id % 2)) << 24);
}

static void destinations(void)
{
    uint64_t all = cpus == 64 ? ~UINT64_C(0) : (UINT64_C(1) << cpus) - 1;
    for (uint32_t i = 0; i < cpus; i++)
        CHECK_EQ(received(i, 0x4000 | IPI), UINT64_C(1) << i);
    CHECK_EQ(received(cpus, 0x4000 | IPI), 0); /* nobody */
    CHECK_EQ(received(x2 ? 0xffffffff : 0xff, 0x4000 | IPI), all);
    CHECK_EQ(received(0, 0x44000 | IPI), 1);
    CHECK_EQ(received(0, 0x84000 | IPI), all);
    CHECK_EQ(received(0, 0xc4000 | IPI), all & ~UINT64_C(1));
    CHECK_EQ(received(cpus - 1, 0x4400), UINT64_C(1) << (cpus - 1)); /* NMI */
    CHECK_EQ(received(0, 0xc4400), all & ~UINT64_C(1));
    CHECK_EQ(received(0, 0x8000 | IPI), 0); /* level de-assert */
}

static void ipis(void)
{
    destinations();
    if (cpus <= 8) {
        uint32_t all = (1u << cpus) - 1;
        ldr_flat = 1;
        dfr_wanted = 0xffffffff;
        everybody(set_logical, set_logical);
        for (uint32_t mask = 1; mask <= all && mask < 16; mask++)
            CHECK_EQ(received(mask, 0x4800 | IPI), mask);
        CHECK_EQ(received(0xff, 0x4800 | IPI), all);
        /* lowest priority: one of them, the one whose TPR allows most */
        CHECK(one_of(received(all, 0x4900 | IPI), all));
        for (uint32_t k = 0; k < cpus; k++) {
            for (uint32_t i = 0; i < cpus; i++)
                window_tpr[i] = i == k ? 0x10 : 0x40;
            mmio_write32(APIC + TPR, window_tpr[0]);
            CHECK_EQ(received(all, 0x4900 | IPI), 1u << k);
            mmio_write32(APIC + TPR, 0);
        }
        for (uint32_t i = 0; i < cpus; i++)
            window_tpr[i] = 0;
        ldr_flat = 0;
        dfr_wanted = 0x0fffffff;
        everybody(set_logical, set_logical);
        for (uint32_t i = 0; i < cpus; i++)
            CHECK_EQ(received((i / 2) << 4 | 3, 0x4800 | IPI), all & 3u << (i & ~1u));
        CHECK_EQ(received(0xf1, 0x4800 | IPI), all & 0x55); /* first members of all clusters */
    }
}

static void go_x2(uint32_t id)
{
    (void)id;
    wrmsr(0x1b, rdmsr(0x1b) | 0x400);
}

static void ipis_x2(void)
{
    uint32_t r[4];
    cpuid(1, 0, r);
    if (!(r[2] >> 21 & 1)) return;
    everybody(go_x2, go_x2);
    x2 = true;
    destinations();
    uint32_t all = cpus >= 16 ? 0xffff : (1u << cpus) - 1;
    CHECK_EQ(rdmsr(0x80d), 1);
    for (uint32_t mask = 1; mask <= all && mask < 16; mask++)
        CHECK_EQ(received(mask, 0x4800 | IPI), mask);
    CHECK(one_of(received(all, 0x4900 | IPI), all));
    if (cpus > 16) CHECK_EQ(received(0x10003, 0x4800 | IPI), UINT64_C(0x30000));
    got[0] = 0;
    wrmsr(0x83f, IPI);
    __asm__ volatile("sti; nop; cli");
    CHECK_EQ(got[0], 1);
    got[0] = 0;
}

/* ---- waiting for a store ---- */

static volatile struct line {
    uint32_t value, pad[15];
} lines[MAX + 1] __attribute__((aligned(4096)));

static void sleep_on_line(uint32_t id)
{
    uint64_t t0 = rdtsc();
    woken[id] = 0;
    locked_add(&starts[0], 1);
    while (lines[id].value == 0) {
        __asm__ volatile("monitor" ::"a"(&lines[id]), "c"(0), "d"(0) : "memory");
        if (lines[id].value != 0) break;
        __asm__ volatile("mwait" ::"a"(0), "c"(0) : "memory");
        woken[id]++;
    }
    slept[id] = rdtsc() - t0;
}

static uint64_t swap64(uint64_t v) { return __builtin_bswap64(v); }

static void store_to_lines(uint32_t id)
{
    (void)id;
    static volatile struct {
        uint32_t control, length;
        uint64_t address;
    } dma __attribute__((aligned(16)));
    while (starts[0] != cpus - 1)
        pause();
    wait_cycles(5000);
    for (uint32_t k = 0; k < 100; k++)
        lines[MAX].value = k; /* another line of the page */
    wait_cycles(5000);
    for (uint32_t i = 1; i < cpus; i++)
        CHECK_EQ(woken[i], 0);
    for (uint32_t i = 2; i < cpus; i++) {
        if (i & 1)
            __asm__ volatile("lock orl $1, %0" : "+m"(lines[i].value)::"memory");
        else
            *(volatile uint8_t *)&lines[i].value = 1;
        wait_cycles(500);
    }
    /* The first by a device: fw_cfg writes its four signature bytes there. */
    dma.control = __builtin_bswap32(0x0000000a);
    dma.length = __builtin_bswap32(4);
    dma.address = swap64((uint64_t)(uintptr_t)&lines[1]);
    outl(0x514, 0);
    outl(0x518, __builtin_bswap32((uint32_t)(uintptr_t)&dma));
}

static void waits(void)
{
    uint32_t r[4];
    cpuid(1, 0, r);
    if (cpus == 1 || !(r[2] >> 3 & 1)) return;
    starts[0] = 0;
    everybody(sleep_on_line, store_to_lines);
    for (uint32_t i = 1; i < cpus; i++) {
        CHECK_EQ(woken[i], 1);
        CHECK(slept[i] > 9000);
        woken[i] = 0;
    }
    /* A store between MONITOR and MWAIT: no wait. Neither without MONITOR. */
    lines[0].value = 0;
    __asm__ volatile("monitor; movl $1, (%0); mwait" ::"a"(&lines[0]), "c"(0), "d"(0) : "memory");
    __asm__ volatile("mwait" ::"a"(0), "c"(0) : "memory");
    CHECK_EQ(lines[0].value, 1);
}

/* UMWAIT (F2 0F AE /6) and TPAUSE (66 0F AE /6) in ECX. */
static bool tpause(uint64_t until)
{
    uint8_t cf;
    __asm__ volatile(".byte 0x66, 0x0f, 0xae, 0xf1; setc %0"
                     : "=q"(cf)
                     : "a"((uint32_t)until), "d"((uint32_t)(until >> 32)), "c"(0)
                     : "memory", "cc");
    return cf;
}
static bool umwait(volatile void *line, uint64_t until)
{
    uint8_t cf;
    __asm__ volatile(".byte 0xf3, 0x0f, 0xae, 0xf7; .byte 0xf2, 0x0f, 0xae, 0xf1; setc %0"
                     : "=q"(cf)
                     : "a"((uint32_t)until), "d"((uint32_t)(until >> 32)), "c"(0), "D"(line)
                     : "memory", "cc");
    return cf;
}

static void user_sleeper(uint32_t id)
{
    slept[id] = rdtsc();
    locked_add(&starts[0], 1);
    woken[id] = umwait(&lines[id], rdtsc() + 1000000);
    slept[id] = rdtsc() - slept[id];
}
static void user_waker(uint32_t id)
{
    (void)id;
    while (starts[0] != cpus - 1)
        pause();
    wait_cycles(5000);
    for (uint32_t i = 1; i + 1 < cpus; i++)
        lines[i].value = 7; /* all but the last, which sleeps it out */
}

static void user_waits(void)
{
    uint32_t r[4];
    cpuid(7, 0, r);
    if (!(r[2] >> 5 & 1)) return;
    uint64_t limits = rdmsr(0xe1), t = rdtsc();
    wrmsr(0xe1, 0); /* no limit */
    CHECK(!tpause(t + 50000));
    CHECK(rdtsc() - t >= 50000 && rdtsc() - t < 52000);
    CHECK(!tpause(rdtsc() - 1)); /* past */
    wrmsr(0xe1, 10000);          /* the limit comes first: CF */
    t = rdtsc();
    CHECK(tpause(t + 50000));
    CHECK(rdtsc() - t >= 10000 && rdtsc() - t < 12000);
    CHECK(umwait(&lines[0], t + 500000));
    wrmsr(0xe1, 0);
    if (cpus > 1) {
        starts[0] = 0;
        everybody(user_sleeper, user_waker);
        for (uint32_t i = 1; i < cpus; i++) {
            CHECK_EQ(woken[i], 0);
            CHECK(i == cpus - 1 ? slept[i] >= 1000000 : slept[i] < 500000);
            woken[i] = 0;
        }
    }
    wrmsr(0xe1, limits);
}

/* ---- where the processors are ---- */

static uint32_t ids[MAX];
static void note_id(uint32_t id)
{
    uint32_t r[4];
    cpuid(0xb, 0, r);
    ids[id] = r[3] == id ? (uint32_t)id + 1 : 0;
    cpuid(1, 0, r);
    if (r[1] >> 24 != id) ids[id] = 0;
}

int guest_main(void)
{
    cpus = processors();
    mmio_write32(APIC + SVR, 0x1ff);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    set_handler(2, on_nmi);
    set_handler(IPI, on_ipi);
    set_handler(WAKE, on_wake);
    set_handler(SHOOT, on_shoot);
    start_up();
    everybody(note_id, note_id);
    for (uint32_t i = 0; i < cpus; i++)
        CHECK_EQ(ids[i], i + 1);
    locks();
    modified_code();
    shootdown();
    waits();
    user_waits();
    ipis();
    ipis_x2();
    print("%u processors\n", cpus);
    return checks_result("smp");
}
