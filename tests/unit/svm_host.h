/* SPDX-License-Identifier: MIT */
/* A host of a few bytes of machine code with EFER.SVME on a flat bus, for tests that run guests of a few
 * bytes: setup() leaves a valid VMCB in memory, run_code() runs a guest until its exit. */
#ifndef UV_TESTS_SVM_HOST_H
#define UV_TESTS_SVM_HOST_H

#include "machine.h"

#include "svm/explain.h"

enum {
    VMRUN_AT = 0x1000, /* vmrun; hlt */
    VMCB_AT = 0x3000,
    VMCB2_AT = 0x2000,
    GDT = 0x4000,
    IDT = 0x5000,
    IOPM = 0x60000,
    MSRPM = 0x64000,
    TSS = 0x7000,
    GUEST_AT = 0x8000,
    HANDLER = 0x9000,
    STACK = 0xb000, /* top */
    DATA = 0xc000,
    PDPT = 0xd000,
    TABLES = 0x100000, /* identity, 2-MByte pages */
    NPT = 0x110000,
    NPT_PT = 0x114000 /* 4-KByte pages for the first 2 MBytes */
};

static const char *host_model = "epyc-rome";
static struct board *b;
static struct cpu *c;
static struct svm_state *x;

static void tables(uint64_t at)
{
    board_poke(b, at, 8, (at + 0x1000) | 7);
    board_poke(b, at + 0x1000, 8, (at + 0x2000) | 7);
    for (unsigned i = 0; i < 512; i++)
        board_poke(b, at + 0x2000 + 8 * i, 8, ((uint64_t)i << 21) | 0x87);
}

static inline void gate(unsigned vector, uint64_t target)
{
    board_poke(b, IDT + 16 * vector, 8,
               (target & 0xffff) | 8 << 16 | UINT64_C(0x8e00) << 32 | (target >> 16) << 48);
    board_poke(b, IDT + 16 * vector + 8, 8, 0);
}

static inline uint64_t get(enum vmcb_field field)
{
    return board_peek(b, VMCB_AT + vmcb_fields[field].offset, vmcb_fields[field].bytes);
}
static inline void set(enum vmcb_field field, uint64_t v)
{
    board_poke(b, VMCB_AT + vmcb_fields[field].offset, vmcb_fields[field].bytes, v);
}
static inline void set_bits(enum vmcb_field field, uint64_t bits) { set(field, get(field) | bits); }
static inline void clear_bits(enum vmcb_field field, uint64_t bits) { set(field, get(field) & ~bits); }
static inline void intercept(unsigned code, bool on)
{
    enum vmcb_field field = (enum vmcb_field)(VMCB_INTERCEPT_CR + code / 32);
    uint64_t bit = UINT64_C(1) << (code % 32);
    set(field, on ? get(field) | bit : get(field) & ~bit);
}

/* The host runs VMRUN and halts behind it; the exit code. */
static inline uint64_t run_vmcb(void)
{
    c->s.activity = ACTIVITY_ACTIVE;
    c->s.gpr[RAX] = VMCB_AT;
    *rip_of(c) = VMRUN_AT;
    for (int i = 0; i < 4 && (c->s.in_guest || c->s.activity != ACTIVITY_HLT); i++)
        board_run(b, 1000);
    assert_int_equal(c->s.activity, ACTIVITY_HLT);
    assert_false(c->s.in_guest);
    assert_int_equal(*rip_of(c), VMRUN_AT + 4);
    assert_int_equal(c->s.intr.gif, 0);
    assert_int_equal(c->s.gpr[RAX], VMCB_AT);
    return get(VMCB_EXITCODE);
}

static inline uint64_t run_code(const char *hex)
{
    board_put(b, GUEST_AT, hex);
    set(VMCB_RIP, GUEST_AT);
    return run_vmcb();
}

static void segment(uint64_t at, uint16_t selector, uint16_t attrib, uint32_t limit, uint64_t base)
{
    board_poke(b, VMCB_AT + at, 2, selector);
    board_poke(b, VMCB_AT + at + 2, 2, attrib);
    board_poke(b, VMCB_AT + at + 4, 4, limit);
    board_poke(b, VMCB_AT + at + 8, 8, base);
}

static void guest_long(void)
{
    memset(b->bus.ram + VMCB_AT, 0, 4096);
    intercept(SVM_EXIT_VMRUN, true);
    intercept(SVM_EXIT_HLT, true);
    intercept(SVM_EXIT_SHUTDOWN, true);
    set(VMCB_IOPM_BASE, IOPM);
    set(VMCB_MSRPM_BASE, MSRPM);
    set(VMCB_ASID, 1);
    set(VMCB_TLB_CONTROL, TLB_FLUSH_ALL);
    set(VMCB_N_CR3, NPT);
    set(VMCB_G_PAT, UINT64_C(0x0007040600070406));
    segment(OFF_ES_SELECTOR, 0x10, 0xc93, 0xffffffff, 0);
    segment(OFF_CS_SELECTOR, 8, 0xa9b, 0xffffffff, 0);
    segment(OFF_SS_SELECTOR, 0x10, 0xc93, 0xffffffff, 0);
    segment(OFF_DS_SELECTOR, 0x10, 0xc93, 0xffffffff, 0);
    segment(OFF_GDTR_LIMIT - 4, 0, 0, 0xff, GDT);
    segment(OFF_IDTR_LIMIT - 4, 0, 0, 0xfff, IDT);
    set(VMCB_EFER, EFER_SVME | EFER_LMA | EFER_LME);
    set(VMCB_CR0, CR0_PE | CR0_PG | CR0_NE | CR0_ET);
    set(VMCB_CR3, TABLES);
    set(VMCB_CR4, CR4_PAE);
    set(VMCB_DR6, 0xffff0ff0);
    set(VMCB_DR7, 0x400);
    set(VMCB_RFLAGS, FL_FIXED);
    set(VMCB_RSP, STACK);
    set(VMCB_RIP, GUEST_AT);
}

static inline void use_npt(void) { set(VMCB_NESTED_CONTROL, NESTED_NP); }

static int setup(void **state)
{
    (void)state;
    b = board_create(host_model);
    c = b->cpu;
    assert_true(cpu_attach_extension(c, &svm_ext));
    x = svm_of(c);
    tables(TABLES);
    tables(NPT);
    board_poke(b, NPT + 0x2000, 8, NPT_PT | 7);
    for (unsigned i = 0; i < 512; i++)
        board_poke(b, NPT_PT + 8 * i, 8, i << 12 | 7);
    board_poke(b, GDT + 8, 8, UINT64_C(0x00af9b000000ffff));
    board_poke(b, GDT + 16, 8, UINT64_C(0x00cf93000000ffff));
    board_poke(b, GDT + 0x18, 8, UINT64_C(0x0000890000000067) | TSS << 16);
    for (unsigned v = 0; v < 256; v++)
        gate(v, HANDLER);
    board_put(b, HANDLER, "f4 f4");
    board_put(b, VMRUN_AT, "0f 01 d8 f4");
    guest_long();

    c->s.cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET;
    c->s.cr3 = TABLES;
    c->s.cr4 = CR4_PAE;
    c->s.efer = EFER_LMA | EFER_LME | EFER_SVME | EFER_NXE;
    for (int s = SEG_ES; s <= SEG_GS; s++) {
        struct seg_reg r = {
            .selector = s == SEG_CS ? 8 : 0x10, .ar = s == SEG_CS ? 0xa09b : 0xc093, .limit = 0xffffffff};
        cpu_load_segment(c, (enum seg_id)s, &r);
    }
    struct seg_reg tr = {.selector = 0x18, .ar = 0x8b, .limit = 0x67, .base = TSS};
    cpu_load_segment(c, SEG_TR, &tr);
    c->s.gpr[RSP] = STACK;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    board_destroy(b);
    return 0;
}

#endif
