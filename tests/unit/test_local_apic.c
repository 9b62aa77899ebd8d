/* SPDX-License-Identifier: MIT */
/* Local APIC by register and by behaviour. */
#include "tests/unit/board_rig.h"

enum { NO = 0, RO = 1, WO = 2, RW = 3 };

static const struct {
    unsigned index;
    const char *name;
    int x, x2;
} rows[] = {
#define LAPIC_REG(index, name, x, x2) {index, #name, x, x2},
#include "apic/local_apic.def"
#undef LAPIC_REG
};
enum { ROWS = sizeof rows / sizeof *rows };

static struct rig r;

static int wr(unsigned i, uint32_t msr, uint64_t v) { return local_apic_msr_write(&r.apic[i], msr, v); }
static int rd(unsigned i, uint32_t msr, uint64_t *v) { return local_apic_msr_read(&r.apic[i], msr, v); }
static void enable(unsigned i) { lapic_put(&r, i, LAPIC_SVR, 0x1ff); }
static void to_x2(unsigned i) { assert_int_equal(wr(i, 0x1b, r.apic[i].s.base | APIC_BASE_EXTD), 1); }

static int x_access(unsigned index)
{
    for (unsigned k = 0; k < ROWS; k++)
        if (rows[k].index == index) return index == LAPIC_LVT_CMCI ? NO : rows[k].x;
    return NO;
}
static int x2_access(unsigned index)
{
    for (unsigned k = 0; k < ROWS; k++)
        if (rows[k].index == index) return index == LAPIC_LVT_CMCI ? NO : rows[k].x2;
    return NO;
}

static void every_register_x(void **state)
{
    (void)state;
    for (unsigned reg = 0; reg < 0x100; reg++) {
        rig_setup(&r, 1);
        lapic_get(&r, 0, reg);
        assert_int_equal((r.apic[0].s.errors & ESR_REGISTER) != 0, x_access(reg) == NO);
        rig_setup(&r, 1);
        uint32_t before = lapic_get(&r, 0, reg);
        r.apic[0].s.errors = 0;
        lapic_put(&r, 0, reg, 0);
        assert_int_equal((r.apic[0].s.errors & ESR_REGISTER) != 0, x_access(reg) == NO);
        if (x_access(reg) == RO) assert_int_equal(lapic_get(&r, 0, reg), before);
    }
}

static void every_register_x2(void **state)
{
    (void)state;
    rig_setup(&r, 1);
    uint64_t v;
    assert_int_equal(rd(0, 0x802, &v), -1); /* not in x2APIC mode: all of them #GP */
    assert_int_equal(wr(0, 0x808, 0), -1);
    to_x2(0);
    for (unsigned reg = 0; reg < 0x100; reg++) {
        assert_int_equal(rd(0, 0x800 + reg, &v), x2_access(reg) & RO ? 1 : -1);
        assert_int_equal(wr(0, 0x800 + reg, reg == LAPIC_SVR ? 0x1ff : 0), x2_access(reg) & WO ? 1 : -1);
    }
    assert_int_equal(rd(0, 0x7ff, &v), 0);
    assert_int_equal(rd(0, 0x900, &v), 0);
    /* The page is ordinary address space. */
    assert_true(local_apic_page(&r.apic[0]) == ~UINT64_C(0));
}

static void reset_values(void **state)
{
    static const struct {
        unsigned reg;
        uint32_t value;
    } want[] = {{LAPIC_ID, 0},
                {LAPIC_VERSION, 0x01050014},
                {LAPIC_TPR, 0},
                {LAPIC_DFR, UINT32_MAX},
                {LAPIC_SVR, 0xff},
                {LAPIC_LVT_TIMER, 0x10000},
                {LAPIC_LVT_LINT0, 0x10000},
                {LAPIC_LVT_ERROR, 0x10000},
                {LAPIC_INITIAL_COUNT, 0},
                {LAPIC_DIVIDE, 0}};
    (void)state;
    rig_setup(&r, 2);
    for (unsigned k = 0; k < sizeof want / sizeof *want; k++)
        assert_int_equal(lapic_get(&r, 0, want[k].reg), want[k].value);
    assert_true(r.apic[0].s.base == 0xfee00900);
    assert_true(r.apic[1].s.base == 0xfee00800);
    assert_int_equal(lapic_get(&r, 1, LAPIC_ID), 1u << 24);
}

/* Which bits stick in xAPIC mode, and which are #GP in x2APIC mode. */
static void reserved_bits(void **state)
{
    static const struct {
        unsigned reg;
        uint32_t sticks;  /* software-enabled */
        uint64_t allowed; /* x2APIC */
    } t[] = {{LAPIC_TPR, 0xff, 0xff},
             {LAPIC_SVR, 0x13ff, 0x13ff},
             {LAPIC_LVT_TIMER, 0x700ff, 0x710ff},
             {LAPIC_LVT_THERMAL, 0x107ff, 0x117ff},
             {LAPIC_LVT_PERF, 0x107ff, 0x117ff},
             {LAPIC_LVT_LINT0, 0x1a7ff, 0x1f7ff},
             {LAPIC_LVT_LINT1, 0x1a7ff, 0x1f7ff},
             {LAPIC_LVT_ERROR, 0x100ff, 0x110ff},
             {LAPIC_DIVIDE, 0xb, 0xb},
             {LAPIC_INITIAL_COUNT, 0xffffffff, 0xffffffff},
             {LAPIC_EOI, 0, 0},
             {LAPIC_ESR, 0, 0},
             {LAPIC_SELF_IPI, 0, 0xff},
             {LAPIC_ICR, 0, 0xfffffffffff | ~UINT64_C(0xffffffff)}};
    (void)state;
    for (unsigned k = 0; k < sizeof t / sizeof *t; k++) {
        rig_setup(&r, 1);
        enable(0);
        if (t[k].sticks && t[k].reg != LAPIC_INITIAL_COUNT) {
            lapic_put(&r, 0, t[k].reg, UINT32_MAX);
            assert_int_equal(lapic_get(&r, 0, t[k].reg), t[k].sticks);
        }
        to_x2(0);
        for (unsigned bit = 0; bit < 64; bit++) {
            uint64_t allowed = t[k].reg == LAPIC_ICR ? ~UINT64_C(0xfff32000) : t[k].allowed;
            int want = allowed >> bit & 1 ? 1 : -1;
            assert_int_equal(wr(0, 0x800 + t[k].reg, UINT64_C(1) << bit), want);
        }
    }
}

static void base_transitions(void **state)
{
    enum { DIS = 0, X = 1, X2 = 3, BAD = 2 };
    static const struct {
        int from, to, result;
    } t[] = {{DIS, DIS, 1}, {DIS, X, 1},  {DIS, X2, -1}, {DIS, BAD, -1}, {X, DIS, 1}, {X, X, 1},
             {X, X2, 1},    {X, BAD, -1}, {X2, DIS, 1},  {X2, X, -1},    {X2, X2, 1}, {X2, BAD, -1}};
    (void)state;
    for (unsigned k = 0; k < sizeof t / sizeof *t; k++) {
        rig_setup(&r, 1);
        r.apic[0].s.base = 0xfee00100 | (uint64_t)(t[k].from & 1) << 11 | (uint64_t)(t[k].from >> 1) << 10;
        uint64_t to = 0xfee00100 | (uint64_t)(t[k].to & 1) << 11 | (uint64_t)(t[k].to >> 1) << 10;
        uint64_t old = r.apic[0].s.base;
        assert_int_equal(wr(0, 0x1b, to), t[k].result);
        assert_true(r.apic[0].s.base == (t[k].result == 1 ? to : old));
    }
    rig_setup(&r, 1);
    for (unsigned bit = 0; bit < 64; bit++) { /* reserved bits: 7:0, 9, beyond the physical width */
        bool ok = bit == 8 || bit == 10 || (bit >= 11 && bit < r.apic[0].phys_bits);
        uint64_t v = bit == 11 ? 0xfee00000 : 0xfee00800 ^ UINT64_C(1) << bit;
        rig_setup(&r, 1);
        assert_int_equal(wr(0, 0x1b, v), ok ? 1 : -1);
    }
    rig_setup(&r, 1);
    r.apic[0].has_x2apic = false;
    assert_int_equal(wr(0, 0x1b, 0xfee00c00), -1);
}

static void disable_resets(void **state)
{
    (void)state;
    rig_setup(&r, 2);
    enable(1);
    lapic_put(&r, 1, LAPIC_ID, 0x55000000);
    lapic_put(&r, 1, LAPIC_TPR, 0x20);
    assert_int_equal(wr(1, 0x1b, 0xfee00000), 1);
    assert_int_equal(wr(1, 0x1b, 0xfed40800), 1);
    assert_true(local_apic_page(&r.apic[1]) == 0xfed40000);
    assert_int_equal(lapic_get(&r, 1, LAPIC_ID), 0x01000000);
    assert_int_equal(lapic_get(&r, 1, LAPIC_SVR), 0xff);
}

static void accept(unsigned i, uint8_t vector, bool level)
{
    struct apic_message m = {.vector = vector, .level = level};
    assert_true(local_apic_accept(&r.apic[i], &m));
}

static void priorities(void **state)
{
    static const struct {
        uint8_t tpr, isr; /* 0: none */
        uint8_t ppr;
    } t[] = {{0x00, 0x00, 0x00}, {0x35, 0x00, 0x35}, {0x35, 0x31, 0x35}, {0x35, 0x41, 0x40},
             {0x30, 0x3f, 0x30}, {0x2f, 0x31, 0x30}, {0xff, 0xfe, 0xff}};
    (void)state;
    for (unsigned k = 0; k < sizeof t / sizeof *t; k++) {
        rig_setup(&r, 1);
        enable(0);
        if (t[k].isr) {
            accept(0, t[k].isr, false);
            assert_int_equal(local_apic_acknowledge(&r.apic[0]), t[k].isr);
        }
        lapic_put(&r, 0, LAPIC_TPR, t[k].tpr);
        assert_int_equal(lapic_get(&r, 0, LAPIC_PPR), t[k].ppr);
        for (unsigned v = 16; v < 256; v++) { /* pending exactly when the class is above the PPR's */
            memset(r.apic[0].s.irr, 0, sizeof r.apic[0].s.irr);
            accept(0, (uint8_t)v, false);
            int want = (v & 0xf0) > (t[k].ppr & 0xf0) ? (int)v : -1;
            assert_int_equal(local_apic_pending(&r.apic[0]), want);
        }
    }
}

static void irr_isr_eoi(void **state)
{
    (void)state;
    rig_setup(&r, 1);
    enable(0);
    accept(0, 0x41, false);
    accept(0, 0x41, false); /* merges */
    accept(0, 0x82, true);
    assert_int_equal(lapic_get(&r, 0, LAPIC_TMR4), 4);
    assert_int_equal(local_apic_acknowledge(&r.apic[0]), 0x82);
    assert_int_equal(local_apic_acknowledge(&r.apic[0]), -1); /* 41h waits for the EOI */
    accept(0, 0x82, false);                                   /* one in service, one requested */
    lapic_put(&r, 0, LAPIC_EOI, 0);
    assert_int_equal(local_apic_acknowledge(&r.apic[0]), 0x82);
    lapic_put(&r, 0, LAPIC_EOI, 0);
    assert_int_equal(local_apic_acknowledge(&r.apic[0]), 0x41);
    lapic_put(&r, 0, LAPIC_EOI, 0);
    lapic_put(&r, 0, LAPIC_EOI, 0); /* without anything in service: nothing */
    assert_int_equal(local_apic_pending(&r.apic[0]), -1);
    /* CR8 is the upper half of TPR and clears the lower. */
    lapic_put(&r, 0, LAPIC_TPR, 0x5a);
    assert_int_equal(local_apic_cr8_read(&r.apic[0]), 5);
    local_apic_cr8_write(&r.apic[0], 9);
    assert_int_equal(lapic_get(&r, 0, LAPIC_TPR), 0x90);
}

static void software_disable(void **state)
{
    (void)state;
    rig_setup(&r, 1);
    enable(0);
    lapic_put(&r, 0, LAPIC_LVT_TIMER, 0x40);
    accept(0, 0x50, false);
    lapic_put(&r, 0, LAPIC_SVR, 0xff);
    assert_int_equal(lapic_get(&r, 0, LAPIC_LVT_TIMER), 0x10040);
    lapic_put(&r, 0, LAPIC_LVT_TIMER, 0x40); /* the mask cannot be cleared */
    assert_int_equal(lapic_get(&r, 0, LAPIC_LVT_TIMER), 0x10040);
    struct apic_message fixed = {.vector = 0x60}, nmi = {.delivery = APIC_NMI};
    assert_false(local_apic_accept(&r.apic[0], &fixed));
    assert_true(local_apic_accept(&r.apic[0], &nmi));
    assert_int_equal(r.nmi[0], 1);
    assert_int_equal(local_apic_acknowledge(&r.apic[0]), 0x50); /* what was accepted before stays */
}

/* Destinations: which of four xAPICs take the message. */
static void destinations_x(void **state)
{
    static const struct {
        uint32_t dfr, icr_low, icr_high;
        unsigned taken; /* bit mask */
    } t[] = {
        {0xf0000000, 0x00040, 0x02000000, 4},  /* physical */
        {0xf0000000, 0x00040, 0xff000000, 15}, /* physical broadcast */
        {0xf0000000, 0x00040, 0x09000000, 0},  /* nobody */
        {0xf0000000, 0x00840, 0x05000000, 5},  /* logical flat: LDR of n is 1 << n */
        {0xf0000000, 0x00840, 0xff000000, 15},
        {0x00000000, 0x00840, 0x12000000, 0}, /* cluster 1: nobody there */
        {0x00000000, 0x00840, 0x06000000, 6}, /* cluster 0, members 1 and 2 */
        {0x10000000, 0x00840, 0x0f000000, 0}, /* a model that does not exist matches nothing */
        {0xf0000000, 0x40040, 0, 1},          /* self */
        {0xf0000000, 0x80040, 0, 15},         /* all */
        {0xf0000000, 0xc0040, 0, 14},         /* all but self */
    };
    (void)state;
    for (unsigned k = 0; k < sizeof t / sizeof *t; k++) {
        rig_setup(&r, 4);
        for (unsigned i = 0; i < 4; i++) {
            enable(i);
            lapic_put(&r, i, LAPIC_LDR, 1u << (24 + i));
            lapic_put(&r, i, LAPIC_DFR, t[k].dfr);
        }
        lapic_put(&r, 0, LAPIC_ICR_HIGH, t[k].icr_high);
        lapic_put(&r, 0, LAPIC_ICR, t[k].icr_low);
        unsigned taken = 0;
        for (unsigned i = 0; i < 4; i++)
            taken |= (unsigned)lapic_irr(&r, i, 0x40) << i;
        assert_int_equal(taken, t[k].taken);
        assert_int_equal(lapic_get(&r, 0, LAPIC_ICR), t[k].icr_low);
    }
}

static void destinations_x2(void **state)
{
    static const struct {
        uint64_t icr;
        unsigned taken;
    } t[] = {{UINT64_C(0x0000000200000040), 4},  {UINT64_C(0xffffffff00000040), 15},
             {UINT64_C(0x000000ff00000040), 0}, /* an ordinary ID */
             {UINT64_C(0x0000000a00000840), 10}, {UINT64_C(0x0001000f00000840), 0},
             {UINT64_C(0x0000000000040040), 1},  {UINT64_C(0x00000000000c0040), 14}};
    (void)state;
    for (unsigned k = 0; k < sizeof t / sizeof *t; k++) {
        rig_setup(&r, 4);
        for (unsigned i = 0; i < 4; i++) {
            enable(i);
            to_x2(i);
        }
        assert_int_equal(wr(0, 0x830, t[k].icr | 0x1000), 1); /* delivery status is ignored */
        unsigned taken = 0;
        uint64_t back;
        for (unsigned i = 0; i < 4; i++)
            taken |= (unsigned)lapic_irr(&r, i, 0x40) << i;
        assert_int_equal(taken, t[k].taken);
        assert_int_equal(rd(0, 0x830, &back), 1);
        assert_true(back == t[k].icr);
    }
    uint64_t ldr;
    r.apic[3].id = 0x25;
    assert_int_equal(rd(3, 0x80d, &ldr), 1);
    assert_int_equal(ldr, 0x20020);
}

static void delivery_modes(void **state)
{
    (void)state;
    rig_setup(&r, 2);
    enable(0);
    lapic_put(&r, 0, LAPIC_ICR_HIGH, 1u << 24);
    lapic_put(&r, 0, LAPIC_ICR, 0x4400); /* NMI: taken although software-disabled there */
    lapic_put(&r, 0, LAPIC_ICR, 0x4200); /* SMI */
    lapic_put(&r, 0, LAPIC_ICR, 0x4500); /* INIT */
    lapic_put(&r, 0, LAPIC_ICR, 0x8500); /* INIT level de-assert: nothing */
    lapic_put(&r, 0, LAPIC_ICR, 0x469a); /* SIPI */
    lapic_put(&r, 0, LAPIC_ICR, 0x4300); /* reserved */
    assert_int_equal(r.nmi[1], 1);
    assert_int_equal(r.smi[1], 1);
    assert_int_equal(r.init[1], 1);
    assert_int_equal(r.sipi[1], 1);
    assert_int_equal(r.sipi_vector[1], 0x9a);
    assert_int_equal(r.nmi[0] + r.smi[0] + r.init[0] + r.sipi[0], 0);
    lapic_put(&r, 0, LAPIC_ICR, 0x44400); /* NMI to oneself by shorthand */
    assert_int_equal(r.nmi[0], 1);
}

static void lowest_priority(void **state)
{
    (void)state;
    rig_setup(&r, 4);
    for (unsigned i = 0; i < 4; i++) {
        if (i != 2) enable(i); /* 2 does not take part */
        lapic_put(&r, i, LAPIC_LDR, 1u << (24 + i));
    }
    lapic_put(&r, 0, LAPIC_TPR, 0x80);
    lapic_put(&r, 1, LAPIC_TPR, 0x40);
    lapic_put(&r, 3, LAPIC_TPR, 0x40);
    unsigned got[4] = {0};
    for (unsigned k = 0; k < 6; k++) {
        struct apic_message m = {.dest = 0xf, .logical = true, .vector = 0x90, .delivery = APIC_LOWEST};
        assert_int_equal(apic_bus_send(&r.bus, &m), 1);
        for (unsigned i = 0; i < 4; i++) {
            got[i] += lapic_irr(&r, i, 0x90);
            memset(r.apic[i].s.irr, 0, sizeof r.apic[i].s.irr);
        }
    }
    assert_int_equal(got[0] + got[2], 0);
    assert_int_equal(got[1], 3); /* ties rotate */
    assert_int_equal(got[3], 3);
}

static void errors(void **state)
{
    (void)state;
    rig_setup(&r, 1);
    enable(0);
    lapic_put(&r, 0, LAPIC_LVT_ERROR, 0x33);
    lapic_put(&r, 0, LAPIC_ICR, 0x40005); /* vector 5 to oneself: illegal to send */
    assert_int_equal(lapic_get(&r, 0, LAPIC_ESR), 0);
    assert_true(lapic_irr(&r, 0, 0x33));
    lapic_put(&r, 0, LAPIC_ESR, 0);
    assert_int_equal(lapic_get(&r, 0, LAPIC_ESR), ESR_SEND_VECTOR);
    lapic_put(&r, 0, LAPIC_ESR, 0);
    assert_int_equal(lapic_get(&r, 0, LAPIC_ESR), 0);
    struct apic_message m = {.vector = 3};
    assert_false(local_apic_accept(&r.apic[0], &m));
    lapic_put(&r, 0, LAPIC_LVT_ERROR, 0x05); /* an illegal vector of its own must not recurse */
    lapic_get(&r, 0, 0x11 + 0x40);
    lapic_put(&r, 0, LAPIC_ESR, 0);
    assert_int_equal(lapic_get(&r, 0, LAPIC_ESR), ESR_RECEIVE_VECTOR | ESR_REGISTER);
}

static void access_widths(void **state)
{
    (void)state;
    rig_setup(&r, 1);
    assert_int_equal(local_apic_mmio_read(&r.apic[0], 0x32, 1), 0x05);
    assert_int_equal(local_apic_mmio_read(&r.apic[0], 0x32, 2), 0x0105);
    assert_int_equal(local_apic_mmio_read(&r.apic[0], 0x33, 2), 0); /* leaves the register */
    local_apic_mmio_write(&r.apic[0], 0x80, 1, 0x40);
    local_apic_mmio_write(&r.apic[0], 0x84, 4, 0x40);
    assert_int_equal(lapic_get(&r, 0, LAPIC_TPR), 0);
}

static void lint(void **state)
{
    (void)state;
    rig_setup(&r, 1);
    enable(0);
    struct local_apic *l = &r.apic[0];
    lapic_put(&r, 0, LAPIC_LVT_LINT0, 0x700); /* ExtINT */
    local_apic_set_lint(l, 0, true);
    assert_true(local_apic_extint(l));
    lapic_put(&r, 0, LAPIC_LVT_LINT0, 0x10700);
    assert_false(local_apic_extint(l));
    local_apic_set_lint(l, 0, false);
    lapic_put(&r, 0, LAPIC_LVT_LINT1, 0x400); /* NMI on the edge */
    local_apic_set_lint(l, 1, true);
    local_apic_set_lint(l, 1, true);
    assert_int_equal(r.nmi[0], 1);
    local_apic_set_lint(l, 1, false);
    lapic_put(&r, 0, LAPIC_LVT_LINT1, 0x8045); /* fixed, level: remote IRR until EOI */
    local_apic_set_lint(l, 1, true);
    assert_int_equal(lapic_get(&r, 0, LAPIC_LVT_LINT1), 0xc045);
    assert_int_equal(local_apic_acknowledge(l), 0x45);
    assert_int_equal(local_apic_pending(l), -1);
    lapic_put(&r, 0, LAPIC_EOI, 0); /* still asserted: comes again */
    assert_int_equal(local_apic_acknowledge(l), 0x45);
    local_apic_set_lint(l, 1, false);
    lapic_put(&r, 0, LAPIC_EOI, 0);
    assert_int_equal(local_apic_pending(l), -1);
    assert_int_equal(lapic_get(&r, 0, LAPIC_LVT_LINT1), 0x8045);
}

static void timer_divides(void **state)
{
    static const struct {
        uint32_t code, divide;
    } t[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};
    (void)state;
    for (unsigned k = 0; k < 8; k++) {
        rig_setup(&r, 1);
        enable(0);
        rig_run(&r, 12345);
        lapic_put(&r, 0, LAPIC_LVT_TIMER, 0x40);
        lapic_put(&r, 0, LAPIC_DIVIDE, t[k].code);
        lapic_put(&r, 0, LAPIC_INITIAL_COUNT, 10);
        uint64_t step = t[k].divide * LAPIC_TIMER_CYCLES;
        rig_run(&r, step - 1);
        assert_int_equal(lapic_get(&r, 0, LAPIC_CURRENT_COUNT), 10);
        rig_run(&r, 1);
        assert_int_equal(lapic_get(&r, 0, LAPIC_CURRENT_COUNT), 9);
        rig_run(&r, step * 9 - 1);
        assert_false(lapic_irr(&r, 0, 0x40));
        rig_run(&r, 1);
        assert_true(lapic_irr(&r, 0, 0x40));
        assert_int_equal(lapic_get(&r, 0, LAPIC_CURRENT_COUNT), 0);
        assert_false(timer_armed(&r.timer[0]));
    }
}

static unsigned fired_in(uint64_t cycles, uint64_t step)
{
    unsigned n = 0;
    for (uint64_t t = 0; t < cycles; t += step) {
        rig_run(&r, step);
        n += lapic_irr(&r, 0, 0x40);
        memset(r.apic[0].s.irr, 0, sizeof r.apic[0].s.irr);
    }
    return n;
}

static void timer_modes(void **state)
{
    (void)state;
    rig_setup(&r, 1);
    enable(0);
    lapic_put(&r, 0, LAPIC_DIVIDE, 11);
    lapic_put(&r, 0, LAPIC_LVT_TIMER, 0x20040);
    lapic_put(&r, 0, LAPIC_INITIAL_COUNT, 25); /* 1000 cycles */
    assert_int_equal(fired_in(100000, 500), 100);
    lapic_put(&r, 0, LAPIC_LVT_TIMER, 0x40); /* to one-shot: the running count ends and stops */
    assert_int_equal(fired_in(10000, 500), 1);
    lapic_put(&r, 0, LAPIC_LVT_TIMER, 0x20040); /* back to periodic: does not start again by itself */
    assert_int_equal(fired_in(10000, 500), 0);
    lapic_put(&r, 0, LAPIC_INITIAL_COUNT, 25);
    assert_int_equal(fired_in(10000, 500), 10);
    lapic_put(&r, 0, LAPIC_INITIAL_COUNT, 0);
    assert_int_equal(fired_in(10000, 500), 0);
    /* The divide value changes: the count stays, the pace is new. */
    lapic_put(&r, 0, LAPIC_INITIAL_COUNT, 100);
    rig_run(&r, 50 * LAPIC_TIMER_CYCLES);
    lapic_put(&r, 0, LAPIC_DIVIDE, 0);
    assert_int_equal(lapic_get(&r, 0, LAPIC_CURRENT_COUNT), 50);
    rig_run(&r, 2 * LAPIC_TIMER_CYCLES);
    assert_int_equal(lapic_get(&r, 0, LAPIC_CURRENT_COUNT), 49);
}

static void timer_deadline(void **state)
{
    uint64_t v;
    (void)state;
    rig_setup(&r, 1);
    enable(0);
    r.tsc_base = 5000;
    assert_int_equal(wr(0, 0x6e0, 6000), 1); /* not in deadline mode: ignored */
    assert_int_equal(rd(0, 0x6e0, &v), 1);
    assert_true(v == 0);
    lapic_put(&r, 0, LAPIC_LVT_TIMER, 0x40040);
    lapic_put(&r, 0, LAPIC_INITIAL_COUNT, 77); /* ignored in deadline mode */
    assert_int_equal(lapic_get(&r, 0, LAPIC_INITIAL_COUNT), 0);
    assert_int_equal(wr(0, 0x6e0, 6000), 1);
    rig_run_to(&r, 999);
    assert_false(lapic_irr(&r, 0, 0x40));
    rig_run_to(&r, 1000);
    assert_true(lapic_irr(&r, 0, 0x40));
    assert_int_equal(rd(0, 0x6e0, &v), 1);
    assert_true(v == 0);
    memset(r.apic[0].s.irr, 0, sizeof r.apic[0].s.irr);
    assert_int_equal(wr(0, 0x6e0, 10), 1); /* in the past: at once */
    rig_run(&r, 0);
    assert_true(lapic_irr(&r, 0, 0x40));
    memset(r.apic[0].s.irr, 0, sizeof r.apic[0].s.irr);
    assert_int_equal(wr(0, 0x6e0, 50000), 1);
    r.tsc_base = 45000; /* the TSC jumps: the deadline comes earlier */
    local_apic_tsc_changed(&r.apic[0]);
    rig_run_to(&r, 5000);
    assert_true(lapic_irr(&r, 0, 0x40));
    assert_int_equal(wr(0, 0x6e0, 90000), 1);
    lapic_put(&r, 0, LAPIC_LVT_TIMER, 0x40); /* leaving the mode disarms */
    assert_false(timer_armed(&r.timer[0]));
    r.apic[0].has_deadline = false;
    assert_int_equal(wr(0, 0x6e0, 1), -1);
    assert_int_equal(rd(0, 0x6e0, &v), -1);
}

static void self_ipi(void **state)
{
    (void)state;
    rig_setup(&r, 1);
    enable(0);
    to_x2(0);
    assert_int_equal(wr(0, 0x83f, 0x77), 1);
    assert_int_equal(local_apic_acknowledge(&r.apic[0]), 0x77);
    assert_int_equal(wr(0, 0x83f, 0x0f), 1);
    assert_int_equal(r.apic[0].s.errors, ESR_SEND_VECTOR);
}

static void init_keeps(void **state)
{
    (void)state;
    rig_setup(&r, 2);
    enable(1);
    to_x2(1);
    accept(1, 0x66, false);
    local_apic_init_reset(&r.apic[1]);
    assert_true(local_apic_x2(&r.apic[1]));
    assert_int_equal(r.apic[1].s.svr, 0xff);
    assert_int_equal(local_apic_pending(&r.apic[1]), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_register_x), cmocka_unit_test(every_register_x2),
        cmocka_unit_test(reset_values),     cmocka_unit_test(reserved_bits),
        cmocka_unit_test(base_transitions), cmocka_unit_test(disable_resets),
        cmocka_unit_test(priorities),       cmocka_unit_test(irr_isr_eoi),
        cmocka_unit_test(software_disable), cmocka_unit_test(destinations_x),
        cmocka_unit_test(destinations_x2),  cmocka_unit_test(delivery_modes),
        cmocka_unit_test(lowest_priority),  cmocka_unit_test(errors),
        cmocka_unit_test(access_widths),    cmocka_unit_test(lint),
        cmocka_unit_test(timer_divides),    cmocka_unit_test(timer_modes),
        cmocka_unit_test(timer_deadline),   cmocka_unit_test(self_ipi),
        cmocka_unit_test(init_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
