/* SPDX-License-Identifier: MIT */
/* Several processors on the board: what each IPI does to whom, waits that stores end, turns that may be cut
 * anywhere, orders, numbers of sockets, cores and threads. Programs are real-mode code. */
#include "tests/unit/board_rig.h"

#include "cpu/cpuid.h"
#include "cpu/monitor.h"
#include "machine/dma.h"
#include "machine/machine_internal.h"
#include "tests/unit/flat_bus.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct machine *create(const struct machine_config *wanted, const char *model)
{
    struct machine_config c = *wanted;
    char error[200];
    c.memory = 8 << 20;
    c.rtc_base = BOARD_RTC_DEFAULT;
    c.debugcon_port = 0xe9;
    assert_true(cpu_model_parse(model, &c.cpu_model, c.cpu_features, error, sizeof error));
    struct machine *m = machine_create(&c, error, sizeof error);
    if (!m) fail_msg("%s", error);
    return m;
}

static void put(struct machine *m, uint64_t address, const char *hex)
{
    uint8_t code[256];
    unsigned n = flat_hex(hex, code, sizeof code);
    assert_true(machine_memory_write(m, address, code, n));
}

static void enter(struct machine *m, uint16_t ip)
{
    struct cpu *c = machine_cpu(m, 0);
    c->s.seg[SEG_CS].selector = 0;
    c->s.seg[SEG_CS].base = 0;
    c->s.gpr[REG_RIP] = ip;
    c->s.gpr[RSP] = 0x7000;
    cpu_mode_changed(c);
}

static void apic_put(struct machine *m, unsigned cpu, unsigned reg, uint32_t value)
{
    struct bus *bus = machine_cpu(m, 0)->bus;
    bus->mmio_write(bus->opaque, (int)cpu, 0xfee00000 + (reg << 4), 4, value);
}

static void ipi(struct machine *m, unsigned from, uint32_t high, uint32_t low)
{
    apic_put(m, from, LAPIC_ICR_HIGH, high);
    apic_put(m, from, LAPIC_ICR, low);
}

/* ---- who gets which IPI ---- */

enum what { VECTOR, NMI, SMI, INIT, SIPI, WHATS };

static bool has(struct machine *m, unsigned cpu, enum what what)
{
    const struct vcpu *v = &m->vcpu[cpu];
    const struct interruptibility *i = &v->cpu->s.intr;
    switch (what) {
    case VECTOR: return v->apic.s.irr[0x40 / 32] & 1;
    case NMI: return i->nmi_pending;
    case SMI: return i->smi_pending;
    case INIT: return i->init_pending;
    default: return i->sipi_pending;
    }
}

static void destinations(void **state)
{
    /* Eight processors; 7 has its APIC software-disabled, 6 has TPR 0, the others 20h. flat: LDR 1 << n;
     * cluster: two in each. Processors 1 to 7 wait for a SIPI. */
    enum { FLAT = 0xffffffff, CLUSTER = 0x0fffffff };
    static const struct {
        const char *name;
        uint32_t dfr, from, high, low;
        enum what what;
        unsigned who;
    } t[] = {
        {"physical", FLAT, 0, 3u << 24, 0x4040, VECTOR, 0x08},
        {"physical, oneself", FLAT, 2, 2u << 24, 0x4040, VECTOR, 0x04},
        {"physical, software-disabled", FLAT, 0, 7u << 24, 0x4040, VECTOR, 0},
        {"physical, nobody", FLAT, 0, 9u << 24, 0x4040, VECTOR, 0},
        {"physical, broadcast", FLAT, 0, 0xffu << 24, 0x4040, VECTOR, 0x7f},
        {"physical, level triggered", FLAT, 0, 3u << 24, 0xc040, VECTOR, 0x08},
        {"level de-assert", FLAT, 0, 3u << 24, 0x8040, VECTOR, 0},
        {"flat", FLAT, 0, 0x25u << 24, 0x4840, VECTOR, 0x25},
        {"flat, broadcast", FLAT, 0, 0xffu << 24, 0x4840, VECTOR, 0x7f},
        {"flat, nobody", FLAT, 0, 0, 0x4840, VECTOR, 0},
        {"cluster", CLUSTER, 0, 0x13u << 24, 0x4840, VECTOR, 0x0c},
        {"cluster, one member", CLUSTER, 0, 0x22u << 24, 0x4840, VECTOR, 0x20},
        {"cluster, member of all clusters", CLUSTER, 0, 0xf1u << 24, 0x4840, VECTOR, 0x55},
        {"cluster, broadcast", CLUSTER, 0, 0xffu << 24, 0x4840, VECTOR, 0x7f},
        {"self", FLAT, 4, 1u << 24, 0x44040, VECTOR, 0x10},
        {"all including self", FLAT, 4, 0, 0x84040, VECTOR, 0x7f},
        {"all excluding self", FLAT, 4, 0, 0xc4040, VECTOR, 0x6f},
        {"lowest priority, physical", FLAT, 0, 3u << 24, 0x4140, VECTOR, 0x08},
        {"lowest priority, flat", FLAT, 0, 0xffu << 24, 0x4940, VECTOR, 0x40},
        {"lowest priority, one bit", FLAT, 0, 2u << 24, 0x4940, VECTOR, 0x02},
        {"lowest priority, all excluding self", FLAT, 1, 0, 0xc4140, VECTOR, 0x40},
        {"lowest priority, all including self", FLAT, 6, 0, 0x84140, VECTOR, 0x40},
        {"lowest priority, only the disabled one", FLAT, 0, 0x80u << 24, 0x4940, VECTOR, 0},
        {"reserved mode", FLAT, 0, 0xffu << 24, 0x4340, VECTOR, 0},
        {"remote read", FLAT, 0, 0xffu << 24, 0x4340, NMI, 0},
        {"ExtINT", FLAT, 0, 0xffu << 24, 0x4740, VECTOR, 0},
        {"NMI", FLAT, 0, 5u << 24, 0x4400, NMI, 0x20},
        {"NMI, software-disabled", FLAT, 0, 7u << 24, 0x4400, NMI, 0x80},
        {"NMI, all excluding self", FLAT, 0, 0, 0xc4400, NMI, 0xfe},
        {"NMI, flat", FLAT, 3, 0x83u << 24, 0x4c00, NMI, 0x83},
        {"SMI", FLAT, 0, 1u << 24, 0x4200, SMI, 0x02},
        {"SMI, all including self", FLAT, 0, 0, 0x84200, SMI, 0xff},
        {"INIT", FLAT, 0, 1u << 24, 0x4500, INIT, 0x02},
        {"INIT, all excluding self", FLAT, 0, 0, 0xc4500, INIT, 0xfe},
        {"INIT, level de-assert", FLAT, 0, 1u << 24, 0x8500, INIT, 0},
        {"SIPI", FLAT, 0, 2u << 24, 0x4612, SIPI, 0x04},
        {"SIPI, to one that runs", FLAT, 1, 0, 0x4612, SIPI, 0},
        {"SIPI, all excluding self", FLAT, 0, 0, 0xc4612, SIPI, 0xfe},
    };
    (void)state;
    for (unsigned k = 0; k < COUNT(t); k++) {
        struct machine *m = create(&(struct machine_config){.smp = 8}, "max");
        for (unsigned i = 0; i < 8; i++) {
            if (i != 7) apic_put(m, i, LAPIC_SVR, 0x1ff);
            apic_put(m, i, LAPIC_DFR, t[k].dfr);
            apic_put(m, i, LAPIC_LDR, t[k].dfr == FLAT ? 1u << (24 + i) : (i / 2 << 4 | 1u << i % 2) << 24);
            apic_put(m, i, LAPIC_TPR, i == 6 ? 0 : 0x20);
        }
        apic_put(m, t[k].from, LAPIC_ICR_HIGH, t[k].high);
        apic_put(m, t[k].from, LAPIC_ICR, t[k].low);
        for (enum what what = 0; what < WHATS; what++) {
            unsigned who = 0;
            for (unsigned i = 0; i < 8; i++)
                who |= (unsigned)has(m, i, what) << i;
            unsigned wanted = what == t[k].what ? t[k].who : 0;
            if (who != wanted) fail_msg("%s: %d reached %02x, not %02x", t[k].name, what, who, wanted);
        }
        machine_destroy(m);
    }
}

static void start_up(void **state)
{
    struct machine *m = create(&(struct machine_config){.smp = 3}, "max");
    (void)state;
    put(m, 0x1000, "EB FE");
    put(m, 0x5000, "FF 06 00 30 EB FE"); /* inc word [3000h], loop */
    put(m, 0x6000, "FF 06 02 30 EB FE");
    enter(m, 0x1000);
    uint16_t n[2];
    ipi(m, 0, 1u << 24, 0x4605); /* SIPI with no INIT: RESET left it waiting */
    machine_run(m, 10000);
    machine_memory_read(m, 0x3000, n, 4);
    assert_int_equal(n[0], 1);
    assert_int_equal(machine_cpu(m, 1)->s.seg[SEG_CS].selector, 0x500);
    assert_int_equal(machine_cpu(m, 2)->s.activity, ACTIVITY_WAIT_SIPI);
    ipi(m, 0, 1u << 24, 0x4606); /* runs already: nothing */
    machine_run(m, 20000);
    machine_memory_read(m, 0x3000, n, 4);
    assert_int_equal(n[1], 0);
    apic_put(m, 1, LAPIC_TPR, 0x30);
    machine_cpu(m, 1)->s.gpr[RBX] = 7;
    ipi(m, 0, 0xffu << 24, 0xc4500); /* INIT to all others */
    machine_run(m, 30000);
    assert_int_equal(machine_cpu(m, 1)->s.activity, ACTIVITY_WAIT_SIPI);
    assert_int_equal(machine_cpu(m, 1)->s.gpr[RBX], 0);
    assert_int_equal(m->vcpu[1].apic.s.tpr, 0);
    ipi(m, 0, 0, 0xc4606);
    machine_run(m, 40000);
    machine_memory_read(m, 0x3000, n, 4);
    assert_int_equal(n[0], 1);
    assert_int_equal(n[1], 2);
    machine_destroy(m);
}

/* ---- waits that stores end ---- */

static void stores_end_waits(void **state)
{
    /* Processor 1 monitors 4040h and waits; processor 0 runs `store` 1000 cycles later. */
    static const struct {
        const char *name, *store;
        bool wakes;
    } t[] = {
        {"nothing", "90", false},
        {"a byte", "C6 06 40 40 01", true},
        {"the last byte", "C6 06 7F 40 01", true},
        {"the byte before", "C6 06 3F 40 01", false},
        {"the byte behind", "C6 06 80 40 01", false},
        {"a word into the line", "C7 06 3F 40 01 01", true},
        {"a word out of the line", "C7 06 7F 40 01 01", true},
        {"the same value", "C6 06 40 40 00", true},
        {"inc", "FF 06 50 40", true},
        {"lock add", "F0 83 06 50 40 01", true},
        {"lock add elsewhere in the page", "F0 83 06 50 41 01", false},
        {"xchg", "87 06 50 40", true},
        {"a load", "A1 50 40", false},
        {"cmp", "83 3E 50 40 00", false},
        {"rep stosb over it", "BF 00 40 B9 00 01 F3 AA", true},
        {"push", "BC 52 40 50", true},
        {"call pushes", "BC 42 40 E8 00 00", true},
        {"16 bytes", "0F 20 E0 80 CC 02 0F 22 E0 0F 11 06 38 40", true}, /* CR4.OSFXSR, MOVUPS */
    };
    (void)state;
    for (unsigned k = 0; k < COUNT(t); k++) {
        struct machine *m = create(&(struct machine_config){.smp = 2, .quantum = 50}, "max");
        uint8_t woken;
        /* eax = 4040h, ecx = edx = 0; monitor; mwait; inc byte [3000h]; hlt */
        put(m, 0x5000, "66 B8 40 40 00 00 66 31 C9 66 31 D2 0F 01 C8 0F 01 C9 FE 06 00 30 F4");
        put(m, 0x1000, "B9 E8 03 E2 FE"); /* mov cx, 1000; loop */
        put(m, 0x1005, t[k].store);
        uint8_t code[32];
        put(m, 0x1005 + flat_hex(t[k].store, code, sizeof code), "EB FE");
        enter(m, 0x1000);
        ipi(m, 0, 1u << 24, 0x4605);
        machine_run(m, 900);
        assert_int_equal(machine_cpu(m, 1)->s.activity, ACTIVITY_MWAIT);
        machine_run(m, 10000);
        machine_memory_read(m, 0x3000, &woken, 1);
        if (woken != t[k].wakes) fail_msg("%s: %d", t[k].name, woken);
        /* The waker's time, not its own: between the end of the loop and the end of the store. */
        if (woken) assert_int_equal(m->vcpu[1].cpu->s.insns, 7);
        uint64_t slept_until = cpu_now(machine_cpu(m, 1));
        if (woken) assert_in_range(slept_until, 1001, 1300);
        machine_destroy(m);
    }
}

static void devices_end_waits(void **state)
{
    struct machine *m = create(&(struct machine_config){.smp = 1}, "max");
    struct cpu *c = machine_cpu(m, 0);
    static const uint8_t byte = 1;
    (void)state;
    /* cli; eax = 4040h; monitor; mwait; jmp $ */
    put(m, 0x1000, "FA 66 B8 40 40 00 00 66 31 C9 66 31 D2 0F 01 C8 0F 01 C9 EB FE");
    enter(m, 0x1000);
    assert_int_equal(machine_run(m, 1000).stop, MACHINE_HUNG); /* interrupts off, nobody to store */
    assert_true(dma_write_bytes(m, 0x4000, &byte, 1));
    assert_int_equal(c->s.activity, ACTIVITY_MWAIT);
    assert_true(dma_write_bytes(m, 0x4041, &byte, 1));
    assert_int_equal(c->s.activity, ACTIVITY_ACTIVE);
    assert_int_equal(machine_run(m, 2000).stop, MACHINE_CYCLE_LIMIT);
    /* A store before MWAIT: it does not wait. An NMI ends a wait with interrupts off. */
    put(m, 0x1000, "0F 01 C8 C6 06 41 40 01 0F 01 C9 EB FE");
    c->s.gpr[RAX] = 0x4040;
    enter(m, 0x1000);
    machine_run(m, 3000);
    assert_int_equal(c->s.gpr[REG_RIP], 0x100b);
    assert_int_equal(c->s.monitor.armed, 0);
    put(m, 0x1000, "0F 01 C8 0F 01 C9 EB FE");
    put(m, 0x2000, "43 CF"); /* inc bx; iret */
    put(m, 2 * 4, "00 20 00 00");
    c->s.gpr[RBX] = 0;
    enter(m, 0x1000);
    machine_run(m, 4000);
    assert_int_equal(c->s.activity, ACTIVITY_MWAIT);
    ipi(m, 0, 0, 0x4400);
    machine_run(m, 5000);
    assert_int_equal(c->s.gpr[RBX], 1);
    assert_int_equal(c->s.gpr[REG_RIP], 0x1006);
    machine_destroy(m);
}

/* A page loses its flag when nobody watches it for a while; that is speed only. */
static void flags_of_pages(void **state)
{
    struct machine *m = create(&(struct machine_config){.smp = 2}, "max");
    struct bus *bus = machine_cpu(m, 0)->bus;
    (void)state;
    monitor_arm(machine_cpu(m, 1), 0x4050);
    assert_int_equal(machine_cpu(m, 1)->s.monitor.address, 0x4040);
    assert_true(bus->page_flags[4] & PAGE_WATCH);
    assert_true(monitor_watches(bus, 0x407f, 1));
    assert_false(monitor_watches(bus, 0x4080, 1));
    for (unsigned i = 0; i < 1000; i++)
        monitor_watches(bus, 0x4100, 8);
    assert_true(bus->page_flags[4] & PAGE_WATCH);
    monitor_written(bus, 0x4000, 0x100);
    assert_int_equal(machine_cpu(m, 1)->s.monitor.armed, 0);
    for (unsigned i = 0; i < 1000; i++)
        monitor_watches(bus, 0x4100, 8);
    assert_false(bus->page_flags[4] & PAGE_WATCH);
    monitor_arm(machine_cpu(m, 1), UINT64_C(1) << 45); /* no memory there: only events end the wait */
    monitor_arm(machine_cpu(m, 0), 0xfee00000);
    machine_destroy(m);
}

/* ---- turns ---- */

/* Four processors count without lock and with, send each other interrupts; run in slices of `slice` cycles.
 */
static uint64_t busy(uint64_t quantum, uint64_t seed, uint64_t slice)
{
    struct machine *m =
        create(&(struct machine_config){.smp = 4, .quantum = quantum, .order_seed = seed}, "max");
    put(m, 0x5000, "F0 FF 06 00 30 FF 06 02 30 A1 02 30 EB F3"); /* lock inc [3000], inc [3002], ax = it */
    put(m, 0x1000, "FF 06 02 30 A1 00 30 01 06 04 30 EB F3");
    enter(m, 0x1000);
    ipi(m, 0, 0, 0xc4500);
    ipi(m, 0, 0, 0xc4605);
    enum { END = 60000 };
    for (uint64_t at = slice; at < END; at += slice) {
        struct machine_exit e = machine_run(m, at);
        assert_int_equal(e.stop, MACHINE_CYCLE_LIMIT);
        assert_true(e.cycle == at && machine_now(m) == at);
    }
    machine_run(m, END);
    uint64_t hash = machine_state_hash(m), most = 0, least = UINT64_MAX;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t now = cpu_now(machine_cpu(m, i));
        if (now > most) most = now;
        if (now < least) least = now;
    }
    assert_true(most == END);
    assert_true(most - least <= quantum);
    machine_destroy(m);
    return hash;
}

static void cut_anywhere(void **state)
{
    static const uint64_t quanta[] = {1, 7, 2000, 50000}, seeds[] = {0, 1, 99}, slices[] = {2000, 997, 13};
    uint64_t seen[COUNT(quanta) * COUNT(seeds)];
    unsigned n = 0;
    (void)state;
    for (unsigned q = 0; q < COUNT(quanta); q++) {
        for (unsigned s = 0; s < COUNT(seeds); s++) {
            uint64_t whole = busy(quanta[q], seeds[s], 1000000);
            for (unsigned k = 0; k < COUNT(slices); k++)
                assert_true(busy(quanta[q], seeds[s], slices[k]) == whole);
            for (unsigned k = 0; k < n; k++)
                assert_true(seen[k] != whole); /* quantum and order are part of the run's identity */
            seen[n++] = whole;
        }
    }
}

/* One cycle of one processor at a time is the same run, too. */
static void single_steps(void **state)
{
    struct machine *m = create(&(struct machine_config){.smp = 2, .quantum = 20}, "max");
    uint64_t before[2] = {0}, most = 0;
    (void)state;
    put(m, 0x5000, "FF 06 02 30 EB FA");
    put(m, 0x1000, "FF 06 00 30 EB FA");
    enter(m, 0x1000);
    ipi(m, 0, 1u << 24, 0x4605);
    for (unsigned k = 0; k < 1000; k++) {
        assert_int_equal(machine_step(m).stop, MACHINE_CYCLE_LIMIT);
        uint64_t steps = 0;
        for (unsigned i = 0; i < 2; i++) {
            steps += machine_cpu(m, i)->s.insns - before[i];
            before[i] = machine_cpu(m, i)->s.insns;
        }
        if (steps > most) most = steps;
    }
    assert_int_equal(most, 1);
    assert_int_equal(before[0], 500);
    assert_true(before[1] >= 498);
    machine_destroy(m);
}

/* ---- one time ---- */

static void time_stamps(void **state)
{
    /* Both: lock; count if RDTSC < the stamp in memory; store RDTSC there; unlock; count a round; wait. */
    static const char program[] =
        "B0 01 86 06 00 05 84 C0 75 F8 66 8B 1E 10 05 0F 31 66 39 D8 73 04 FF 06 20 05 66 A3 10 05 "
        "C6 06 00 05 00 FF 06 22 05 B9 14 00 E2 FE EB D2";
    static const uint64_t quanta[] = {1, 100, 2000, 100000};
    (void)state;
    for (unsigned q = 0; q < COUNT(quanta); q++) {
        struct machine *m = create(&(struct machine_config){.smp = 2, .quantum = quanta[q]}, "max");
        uint16_t backwards, rounds;
        put(m, 0x1000, program);
        enter(m, 0x1000);
        ipi(m, 0, 1u << 24, 0x4601); /* the other one at 100h:0 */
        machine_run(m, 300000);
        assert_true(machine_memory_read(m, 0x520, &backwards, 2) &&
                    machine_memory_read(m, 0x522, &rounds, 2));
        assert_int_equal(backwards, 0);
        assert_true(rounds > 1000);
        assert_true(machine_cpu(m, 1)->s.gpr[RBX] != 0);
        machine_destroy(m);
    }
}

/* ---- numbers ---- */

static void topologies(void **state)
{
    /* Processor n: its APIC ID, and what CPUID says there. package: IDs in a socket, as bits. */
    static const struct {
        uint32_t sockets, cores, threads, n, id, smt, package;
    } t[] = {
        {0, 0, 0, 7, 7, 0, 3},   {1, 8, 1, 5, 5, 0, 3},    {2, 2, 2, 7, 7, 1, 2},    {2, 2, 2, 4, 4, 1, 2},
        {2, 3, 1, 3, 4, 0, 2},   {2, 3, 1, 5, 6, 0, 2},    {1, 3, 2, 5, 5, 1, 3},    {3, 1, 1, 2, 2, 0, 0},
        {2, 3, 3, 17, 26, 2, 4}, {1, 1, 64, 63, 63, 6, 6}, {64, 1, 1, 63, 63, 0, 0}, {2, 16, 2, 33, 33, 1, 5},
    };
    (void)state;
    for (unsigned k = 0; k < COUNT(t); k++) {
        static const char *const models[] = {"max", "epyc-rome"};
        for (unsigned a = 0; a < 2; a++) {
            uint32_t per_socket = t[k].cores * t[k].threads, smp = t[k].sockets * per_socket;
            if (smp == 0) per_socket = smp = 8;
            struct machine *m = create(
                &(struct machine_config){
                    .smp = smp, .sockets = t[k].sockets, .cores = t[k].cores, .threads = t[k].threads},
                models[a]);
            struct cpu *c = machine_cpu(m, t[k].n);
            uint32_t r[4], threads = t[k].threads ? t[k].threads : 1;
            assert_int_equal(c->apic_id, t[k].id);
            assert_int_equal(m->vcpu[t[k].n].apic.s.xapic_id >> 24, t[k].id);
            cpu_cpuid(c, 1, 0, r);
            assert_int_equal(r[1] >> 24, t[k].id);
            assert_int_equal(r[1] >> 16 & 0xff, a ? per_socket : 1u << t[k].package);
            assert_int_equal(r[3] >> 28 & 1, per_socket > 1);
            for (unsigned leaf = 0xb; leaf <= 0x1f; leaf += 0x14) {
                if (leaf > c->model->max_leaf) continue;
                cpu_cpuid(c, leaf, 0, r);
                assert_int_equal(r[0], t[k].smt);
                assert_int_equal(r[1], threads);
                assert_int_equal(r[3], t[k].id);
                cpu_cpuid(c, leaf, 1, r);
                assert_int_equal(r[0], t[k].package);
                assert_int_equal(r[1], per_socket);
                assert_int_equal(r[2], 0x201);
            }
            if (a == 0) {
                cpu_cpuid(c, 4, 3, r); /* the cache of the package */
                assert_int_equal(r[0] >> 14 & 0xfff, (1u << t[k].package) - 1);
                assert_int_equal(r[0] >> 26, (1u << (t[k].package - t[k].smt)) - 1);
            } else {
                cpu_cpuid(c, 0x80000008, 0, r);
                assert_int_equal(r[2], (per_socket - 1) | t[k].package << 12);
                cpu_cpuid(c, 0x8000001e, 0, r);
                assert_int_equal(r[0], t[k].id);
                assert_int_equal(r[1], (t[k].id & ((1u << t[k].package) - 1)) >> t[k].smt | (threads - 1)
                                                                                                << 8);
                assert_int_equal(r[2], t[k].id >> t[k].package);
            }
            machine_destroy(m);
        }
    }
    struct machine_config bad = {.smp = 8, .sockets = 2, .cores = 2, .threads = 1, .memory = 8 << 20};
    char error[200];
    assert_true(cpu_model_parse("max", &bad.cpu_model, bad.cpu_features, error, sizeof error));
    assert_null(machine_create(&bad, error, sizeof error));
    assert_non_null(strstr(error, "sockets x cores x threads"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(destinations),     cmocka_unit_test(start_up),
        cmocka_unit_test(stores_end_waits), cmocka_unit_test(devices_end_waits),
        cmocka_unit_test(flags_of_pages),   cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(single_steps),     cmocka_unit_test(time_stamps),
        cmocka_unit_test(topologies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
