/* SPDX-License-Identifier: MIT */
/* A host of a few bytes of machine code in VMX root operation on a flat bus, for tests that enter guests of a
 * few bytes: setup() leaves a valid VMCS current, enter_code() runs a guest until its exit. */
#ifndef UV_TESTS_VMX_HOST_H
#define UV_TESTS_VMX_HOST_H

#include "machine.h"

#include "vmx/explain.h"

enum {
    HOST_AT = 0x1000, /* hlt: where exits arrive */
    LAUNCH = 0x1010,  /* vmlaunch; hlt */
    RESUME = 0x1020,  /* vmresume; hlt */
    SETUP = 0x1030,   /* vmxon; vmclear; vmptrld; hlt */
    POINTERS = 0x1f00,
    VMXON_REGION = 0x2000,
    VMCS_REGION = 0x3000,
    GDT = 0x4000,
    IDT = 0x5000,
    VAPIC = 0x6000,
    MSRS = 0x7000,
    GUEST_AT = 0x8000,
    HANDLER = 0x9000,
    STACK = 0xb000, /* top */
    BITMAP = 0xc000,
    SHADOW_REGION = 0xd000,
    TABLES = 0x100000, /* identity, 2-MByte pages */
    EPT = 0x110000,
    EPT_PT = 0x114000 /* 4-KByte pages for the first 2 MBytes */
};

static const char *host_model = "skylake-server";
static struct board *b;
static struct cpu *c;
static struct vmx_state *x;
static uint64_t *f;

static void tables(uint64_t at, uint64_t dir, uint64_t leaf)
{
    board_poke(b, at, 8, (at + 0x1000) | dir);
    board_poke(b, at + 0x1000, 8, (at + 0x2000) | dir);
    for (unsigned i = 0; i < 512; i++)
        board_poke(b, at + 0x2000 + 8 * i, 8, ((uint64_t)i << 21) | leaf);
}

static struct seg_reg seg(uint16_t selector, uint32_t ar, uint32_t limit)
{
    return (struct seg_reg){.selector = selector, .ar = ar, .limit = limit};
}

static void gate(unsigned vector, uint64_t target)
{
    board_poke(b, IDT + 16 * vector, 8,
               (target & 0xffff) | 8 << 16 | UINT64_C(0x8e00) << 32 | (target >> 16) << 48);
    board_poke(b, IDT + 16 * vector + 8, 8, 0);
}

/* The host runs from `rip` until it halts. */
static void host(uint64_t rip)
{
    c->s.activity = ACTIVITY_ACTIVE;
    *rip_of(c) = rip;
    /* A run may stop early at a deadline of the context. */
    for (int i = 0; i < 4 && (c->s.in_guest || c->s.activity != ACTIVITY_HLT); i++)
        board_run(b, 1000);
    assert_int_equal(c->s.activity, ACTIVITY_HLT);
    assert_false(c->s.in_guest);
}

/* Into the guest and out again; the reason. */
static inline uint32_t enter(void)
{
    host(x->vmcs.launched ? RESUME : LAUNCH);
    if (*rip_of(c) != HOST_AT + 1)
        fail_msg("VMfail %u at %x", (unsigned)f[F_INSN_ERROR], (unsigned)*rip_of(c));
    return (uint32_t)f[F_EXIT_REASON];
}

static inline uint32_t enter_code(const char *hex)
{
    board_put(b, GUEST_AT, hex);
    f[F_GUEST_RIP] = GUEST_AT;
    return enter();
}

static inline void set_control(enum vmcs_field word, uint32_t bits) { f[word] |= bits; }

static void guest_long(void)
{
    f[F_GUEST_CR0] = CR0_PE | CR0_PG | CR0_NE | CR0_ET;
    f[F_GUEST_CR3] = TABLES;
    f[F_GUEST_CR4] = CR4_PAE | CR4_VMXE;
    f[F_GUEST_EFER] = EFER_LMA | EFER_LME;
    f[F_ENTRY_CONTROLS] |= ENT_IA32E_GUEST | ENT_LOAD_EFER;
    for (int s = SEG_ES; s <= SEG_GS; s++) {
        f[F_GUEST_ES_AR + s] = s == SEG_CS ? 0xa09b : 0xc093;
        f[F_GUEST_ES_LIMIT + s] = 0xffffffff;
        f[F_GUEST_ES_SELECTOR + s] = s == SEG_CS ? 8 : 0x10;
        f[F_GUEST_ES_BASE + s] = 0;
    }
    f[F_GUEST_TR_AR] = 0x8b;
    f[F_GUEST_TR_LIMIT] = 0x67;
    f[F_GUEST_TR_SELECTOR] = 0x18;
    f[F_GUEST_LDTR_AR] = AR_UNUSABLE;
    f[F_GUEST_GDTR_BASE] = GDT;
    f[F_GUEST_GDTR_LIMIT] = 0xff;
    f[F_GUEST_IDTR_BASE] = IDT;
    f[F_GUEST_IDTR_LIMIT] = 0xfff;
    f[F_GUEST_RFLAGS] = FL_FIXED;
    f[F_GUEST_RSP] = STACK;
    f[F_GUEST_RIP] = GUEST_AT;
    f[F_GUEST_DR7] = 0x400;
}

static inline void guest_real(void)
{
    guest_long();
    set_control(F_PRIMARY_CONTROLS, PRI_SECONDARY);
    set_control(F_SECONDARY_CONTROLS, SEC_EPT | SEC_UNRESTRICTED);
    f[F_EPTP] = EPT | 0x1e;
    f[F_ENTRY_CONTROLS] &= ~(uint64_t)ENT_IA32E_GUEST;
    f[F_GUEST_CR0] = CR0_NE | CR0_ET;
    f[F_GUEST_CR4] = CR4_VMXE;
    f[F_GUEST_EFER] = 0;
    for (int s = SEG_ES; s <= SEG_GS; s++) {
        f[F_GUEST_ES_AR + s] = s == SEG_CS ? 0x9b : 0x93;
        f[F_GUEST_ES_LIMIT + s] = 0xffff;
        f[F_GUEST_ES_SELECTOR + s] = 0;
    }
    f[F_GUEST_IDTR_BASE] = 0;
    f[F_GUEST_IDTR_LIMIT] = 0x3ff;
}

static inline void use_ept(uint64_t eptp_flags)
{
    set_control(F_PRIMARY_CONTROLS, PRI_SECONDARY);
    set_control(F_SECONDARY_CONTROLS, SEC_EPT);
    f[F_EPTP] = EPT | 0x1e | eptp_flags;
}

static int setup(void **state)
{
    (void)state;
    b = board_create(host_model);
    c = b->cpu;
    assert_true(cpu_attach_extension(c, &vmx_ext));
    x = vmx_of(c);
    f = x->vmcs.f;
    tables(TABLES, 7, 0x87);
    tables(EPT, 7, 0xb7);
    board_poke(b, EPT + 0x2000, 8, EPT_PT | 7);
    for (unsigned i = 0; i < 512; i++)
        board_poke(b, EPT_PT + 8 * i, 8, i << 12 | 0x37);
    board_poke(b, GDT + 8, 8, UINT64_C(0x00af9b000000ffff));
    board_poke(b, GDT + 16, 8, UINT64_C(0x00cf93000000ffff));
    board_poke(b, GDT + 0x18, 8, UINT64_C(0x00008b0000000067));
    for (unsigned v = 0; v < 256; v++)
        gate(v, HANDLER);
    board_put(b, HANDLER, "f4 f4");
    board_put(b, HOST_AT, "f4 eb fd");
    board_put(b, LAUNCH, "0f 01 c2 f4");
    board_put(b, RESUME, "0f 01 c3 f4");
    board_put(b, SETUP, "f3 0f c7 34 25 00 1f 00 00 66 0f c7 34 25 08 1f 00 00 0f c7 34 25 08 1f 00 00 f4");
    board_poke(b, POINTERS, 8, VMXON_REGION);
    board_poke(b, POINTERS + 8, 8, VMCS_REGION);
    board_poke(b, POINTERS + 16, 8, SHADOW_REGION);
    board_poke(b, VMXON_REGION, 4, vmx_revision(&x->cap));
    board_poke(b, VMCS_REGION, 4, vmx_revision(&x->cap));
    board_poke(b, SHADOW_REGION, 4, vmx_revision(&x->cap) | VMCS_SHADOW);

    c->s.cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET;
    c->s.cr3 = TABLES;
    c->s.cr4 = CR4_PAE | CR4_VMXE;
    c->s.efer = EFER_LMA | EFER_LME;
    c->s.feature_control = 5;
    for (int s = SEG_ES; s <= SEG_GS; s++) {
        struct seg_reg r = seg(s == SEG_CS ? 8 : 0x10, s == SEG_CS ? 0xa09b : 0xc093, 0xffffffff);
        cpu_load_segment(c, (enum seg_id)s, &r);
    }
    struct seg_reg tr = seg(0x18, 0x8b, 0x67);
    cpu_load_segment(c, SEG_TR, &tr);
    c->s.gpr[RSP] = STACK;
    host(SETUP);
    assert_int_equal(x->mode, VMX_ROOT);
    assert_int_equal(x->current, VMCS_REGION);

    f[F_PIN_CONTROLS] = x->cap.allowed0[W_PIN];
    f[F_PRIMARY_CONTROLS] = x->cap.allowed0[W_PRI] | PRI_HLT_EXIT;
    f[F_EXIT_CONTROLS] = x->cap.allowed0[W_EXI] | EXI_HOST_64BIT;
    f[F_ENTRY_CONTROLS] = x->cap.allowed0[W_ENT];
    f[F_VMCS_LINK] = VMCS_NONE;
    f[F_HOST_CR0] = c->s.cr0;
    f[F_HOST_CR3] = TABLES;
    f[F_HOST_CR4] = c->s.cr4;
    f[F_HOST_CS_SELECTOR] = 8;
    f[F_HOST_SS_SELECTOR] = f[F_HOST_DS_SELECTOR] = f[F_HOST_ES_SELECTOR] = 0x10;
    f[F_HOST_TR_SELECTOR] = 0x18;
    f[F_HOST_GDTR_BASE] = GDT;
    f[F_HOST_IDTR_BASE] = IDT;
    f[F_HOST_RIP] = HOST_AT;
    f[F_HOST_RSP] = STACK;
    guest_long();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    board_destroy(b);
    return 0;
}

#endif
