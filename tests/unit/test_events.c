/* SPDX-License-Identifier: MIT */
/* Delivery, far transfers, IRET, task switches, shadows, breakpoints, string instructions: small programs on
 * a flat bus. Code at 4000h, handlers at 5000h + vector * 10h, GDT 1000h, TSS 2000h and 2400h, IDT 3000h. */
#include "machine.h"

#include "cpu/segment.h"

enum {
    GDT = 0x1000,
    TSS_A = 0x2000,
    TSS_B = 0x2400,
    IDT = 0x3000,
    CODE = 0x4000,
    HANDLERS = 0x5000,
    STACK0 = 0x9000,
    STACK3 = 0xa000,
    DATA = 0x10000,
    CS0 = 0x08,
    SS0 = 0x10,
    CS3 = 0x1b,
    SS3 = 0x23,
    TR_A = 0x28,
    TR_B = 0x30,
    GATE = 0x38,
    CS64 = 0x48,
    CS64_3 = 0x53,
    CS16 = 0x58,
    TR64 = 0x60
};

static void set_seg(struct board *b, unsigned seg, uint16_t sel)
{
    uint64_t at = GDT + (sel & ~7u);
    struct desc d = {.lo = (uint32_t)board_peek(b, at, 4), .hi = (uint32_t)board_peek(b, at + 4, 4)};
    if (sel == TR64) d.ext = board_peek(b, at + 8, 8);
    struct seg_reg s;
    desc_to_seg(&d, sel, &s);
    s.ar |= seg < SEG_LDTR ? 1 : 0;
    b->cpu->s.seg[seg] = s;
}

static void gate(struct board *b, unsigned vector, unsigned type, unsigned dpl, uint16_t sel, uint32_t off)
{
    uint64_t at = IDT + vector * 8;
    board_poke(b, at, 4, (off & 0xffff) | (uint32_t)sel << 16);
    board_poke(b, at + 4, 4, (off & 0xffff0000) | 0x8000 | dpl << 13 | type << 8);
}

static void gate64(struct board *b, unsigned vector, unsigned type, unsigned dpl, unsigned ist)
{
    uint64_t at = IDT + vector * 16;
    uint32_t off = HANDLERS + vector * 16;
    board_poke(b, at, 4, (off & 0xffff) | (uint32_t)CS64 << 16);
    board_poke(b, at + 4, 4, (off & 0xffff0000) | 0x8000 | dpl << 13 | type << 8 | ist);
    board_poke(b, at + 8, 8, 0);
}

static struct board *protected_board(unsigned cpl)
{
    static const uint64_t gdt[] = {0,
                                   0x00cf9b000000ffff, /* 08 code, DPL 0 */
                                   0x00cf93000000ffff, /* 10 data, DPL 0 */
                                   0x00cffb000000ffff, /* 18 code, DPL 3 */
                                   0x00cff3000000ffff, /* 20 data, DPL 3 */
                                   0x00008900200003ff, /* 28 TSS A */
                                   0x0000890024000067, /* 30 TSS B */
                                   0x0000ec0100085000, /* 38 call gate to 08:5000, DPL 3, one parameter */
                                   0,
                                   0x00209b0000000000, /* 48 64-bit code, DPL 0 */
                                   0x0020fb0000000000, /* 50 64-bit code, DPL 3 */
                                   0x00009b000000ffff, /* 58 16-bit code, DPL 0 */
                                   0x00008b00200003ff,
                                   0 /* 60 64-bit TSS */};
    struct board *b = board_create("max-intel");
    struct cpu *c = b->cpu;
    for (unsigned i = 0; i < sizeof gdt / sizeof gdt[0]; i++)
        board_poke(b, GDT + i * 8, 8, gdt[i]);
    for (unsigned v = 0; v < 64; v++)
        gate(b, v, SYS_INT32, v == 0x20 || v == 3 ? 3 : 0, CS0, HANDLERS + v * 16);
    memset(b->bus.ram + HANDLERS, 0x90, 0x1000);
    memset(b->bus.ram + CODE, 0x90, 0x1000);
    c->s.cr0 |= CR0_PE;
    c->s.gdtr = (struct dt_reg){.base = GDT, .limit = 0xff};
    c->s.idtr = (struct dt_reg){.base = IDT, .limit = 0x7ff};
    c->s.cpl = (uint8_t)cpl;
    set_seg(b, SEG_CS, cpl ? CS3 : CS0);
    for (unsigned s = 0; s <= SEG_GS; s++)
        if (s != SEG_CS) set_seg(b, s, cpl ? SS3 : SS0);
    set_seg(b, SEG_TR, TR_A);
    c->s.seg[SEG_TR].ar |= 2;
    board_poke(b, GDT + TR_A + 5, 1, 0x8b);
    board_poke(b, TSS_A + 4, 4, STACK0);
    board_poke(b, TSS_A + 8, 2, SS0);
    board_poke(b, TSS_A + 102, 2, 0x100); /* I/O map */
    c->s.gpr[REG_RIP] = CODE;
    c->s.gpr[RSP] = cpl ? STACK3 : STACK0;
    return b;
}

/* Identity paging with 2-MByte pages, tables at 20000h. */
static struct board *long_board(unsigned cpl)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    for (unsigned v = 0; v < 64; v++)
        gate64(b, v, SYS_INT32, v == 0x20 ? 3 : 0, v == 8 ? 1 : 0);
    board_poke(b, 0x20000, 8, 0x21007);
    board_poke(b, 0x21000, 8, 0x22007);
    for (unsigned i = 0; i < 2; i++)
        board_poke(b, 0x22000 + i * 8, 8, i << 21 | 0x87);
    c->s.cr3 = 0x20000;
    c->s.cr4 |= CR4_PAE;
    c->s.efer |= EFER_LME | EFER_LMA | EFER_SCE;
    c->s.cr0 |= CR0_PG;
    c->s.cpl = (uint8_t)cpl;
    set_seg(b, SEG_CS, cpl ? CS64_3 : CS64);
    set_seg(b, SEG_SS, cpl ? SS3 : SS0);
    set_seg(b, SEG_TR, TR64);
    board_poke(b, TSS_A + 4, 8, STACK0);
    board_poke(b, TSS_A + 0x24, 8, 0x8000); /* IST1 */
    c->s.gpr[RSP] = cpl ? STACK3 : STACK0;
    return b;
}

#define ASSERT_RIP(x) assert_int_equal(b->cpu->s.gpr[REG_RIP], x)
#define ASSERT_HEX(a, x) assert_int_equal(a, x)

/* --- Real mode ------------------------------------------------------------------------------------- */

static void real_int_iret(void **state)
{
    struct board *b = board_create("max-intel");
    struct cpu *c = b->cpu;
    (void)state;
    c->s.seg[SEG_CS].base = 0, c->s.seg[SEG_CS].selector = 0;
    c->s.gpr[REG_RIP] = CODE;
    c->s.gpr[RSP] = 0x8000;
    board_poke(b, 0x21 * 4, 4, 0x01005000); /* 0100:5000 */
    board_put(b, CODE, "fb cd 21 90");
    board_put(b, 0x6000, "cf");
    board_run(b, 2);
    ASSERT_RIP(0x5000);
    ASSERT_HEX(c->s.seg[SEG_CS].selector, 0x100);
    ASSERT_HEX(c->s.rflags & FL_IF, 0);
    ASSERT_HEX(c->s.gpr[RSP], 0x7ffa);
    ASSERT_HEX(board_peek(b, 0x7ffa, 2), CODE + 3);
    ASSERT_HEX(board_peek(b, 0x7ffe, 2), FL_IF | FL_FIXED);
    board_run(b, 1);
    ASSERT_RIP(CODE + 3);
    ASSERT_HEX(c->s.rflags & FL_IF, FL_IF);
    ASSERT_HEX(c->s.gpr[RSP], 0x8000);
    board_destroy(b);
}

/* --- Protected mode: gates and levels ---------------------------------------------------------------- */

static void int_from_user(void **state)
{
    struct board *b = protected_board(3);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.rflags |= FL_IF;
    board_put(b, CODE, "cd 20 90");
    board_put(b, HANDLERS + 0x200, "cf");
    board_run(b, 1);
    ASSERT_RIP(HANDLERS + 0x200);
    ASSERT_HEX(c->s.cpl, 0);
    ASSERT_HEX(c->s.seg[SEG_SS].selector, SS0);
    ASSERT_HEX(c->s.gpr[RSP], STACK0 - 20);
    ASSERT_HEX(board_peek(b, STACK0 - 20, 4), CODE + 2);
    ASSERT_HEX(board_peek(b, STACK0 - 16, 4), CS3);
    ASSERT_HEX(board_peek(b, STACK0 - 12, 4), FL_IF | FL_FIXED);
    ASSERT_HEX(board_peek(b, STACK0 - 8, 4), STACK3);
    ASSERT_HEX(board_peek(b, STACK0 - 4, 4), SS3);
    board_run(b, 1);
    ASSERT_RIP(CODE + 2);
    ASSERT_HEX(c->s.cpl, 3);
    ASSERT_HEX(c->s.gpr[RSP], STACK3);
    ASSERT_HEX(c->s.rflags & FL_IF, FL_IF);
    board_destroy(b);
}

static void int_gate_dpl(void **state)
{
    struct board *b = protected_board(3);
    (void)state;
    board_put(b, CODE, "cd 21");
    board_run(b, 1);
    ASSERT_RIP(HANDLERS + VEC_GP * 16);
    ASSERT_HEX(board_peek(b, STACK0 - 24, 4), 0x21 * 8 + 2); /* IDT, not EXT */
    ASSERT_HEX(board_peek(b, STACK0 - 20, 4), CODE);
    ASSERT_HEX(board_peek(b, STACK0 - 12, 4) & FL_RF, FL_RF);
    board_destroy(b);
}

static void double_and_triple_fault(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    /* #GP whose gate is not present: #NP while delivering #GP is contributory on contributory. */
    board_poke(b, IDT + VEC_GP * 8 + 5, 1, 0x0e);
    board_put(b, CODE, "cd ff");
    board_run(b, 1);
    ASSERT_RIP(HANDLERS + VEC_DF * 16);
    ASSERT_HEX(board_peek(b, STACK0 - 16, 4), 0);
    ASSERT_HEX(c->s.delivering.valid, 0);
    c->s.gpr[REG_RIP] = CODE;
    c->s.idtr.limit = 7;
    assert_int_equal(board_run(b, 10), STOP_SHUTDOWN);
    ASSERT_HEX(c->s.activity, ACTIVITY_SHUTDOWN);
    board_destroy(b);
}

static void call_gate_and_return(void **state)
{
    struct board *b = protected_board(3);
    struct cpu *c = b->cpu;
    (void)state;
    board_put(b, CODE, "9a 00 00 00 00 3b 00 90"); /* lcall 3b:0 */
    board_put(b, 0x5000, "ca 04 00");              /* lret 4 */
    board_poke(b, STACK3, 4, 0x11223344);
    board_run(b, 1);
    ASSERT_RIP(0x5000);
    ASSERT_HEX(c->s.cpl, 0);
    ASSERT_HEX(c->s.seg[SEG_CS].selector, CS0);
    ASSERT_HEX(c->s.gpr[RSP], STACK0 - 20);
    ASSERT_HEX(board_peek(b, STACK0 - 12, 4), 0x11223344);
    ASSERT_HEX(board_peek(b, STACK0 - 8, 4), STACK3);
    board_run(b, 1);
    ASSERT_RIP(CODE + 7);
    ASSERT_HEX(c->s.cpl, 3);
    ASSERT_HEX(c->s.gpr[RSP], STACK3 + 4);
    ASSERT_HEX(c->s.seg[SEG_SS].selector, SS3);
    board_destroy(b);
}

static void inner_data_is_dropped(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    set_seg(b, SEG_ES, SS3);
    board_put(b, CODE, "cb");
    c->s.gpr[RSP] = STACK0 - 16;
    board_poke(b, STACK0 - 16, 4, CODE + 0x20);
    board_poke(b, STACK0 - 12, 4, CS3);
    board_poke(b, STACK0 - 8, 4, STACK3);
    board_poke(b, STACK0 - 4, 4, SS3);
    board_run(b, 1);
    ASSERT_RIP(CODE + 0x20);
    ASSERT_HEX(c->s.cpl, 3);
    ASSERT_HEX(c->s.seg[SEG_DS].ar & AR_UNUSABLE, AR_UNUSABLE);
    ASSERT_HEX(c->s.seg[SEG_ES].selector, SS3);
    board_destroy(b);
}

static void selector_faults(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    /* mov ds, ax with a code selector that is not readable, beyond the limit, not present */
    static const struct {
        uint64_t desc;
        uint16_t sel;
        uint8_t vector;
    } t[] = {{0x00cf99000000ffff, 0x40, VEC_GP}, {0, 0x100, VEC_GP}, {0x00cf13000000ffff, 0x40, VEC_NP}};
    for (unsigned i = 0; i < sizeof t / sizeof t[0]; i++) {
        if (t[i].sel == 0x40) board_poke(b, GDT + 0x40, 8, t[i].desc);
        board_put(b, CODE, "8e d8");
        c->s.gpr[RAX] = t[i].sel;
        c->s.gpr[REG_RIP] = CODE;
        c->s.gpr[RSP] = STACK0;
        board_run(b, 1);
        ASSERT_RIP(HANDLERS + t[i].vector * 16);
        ASSERT_HEX(board_peek(b, STACK0 - 16, 4), t[i].sel);
    }
    /* accessed bit */
    board_poke(b, GDT + 0x40, 8, 0x00cf92000000ffff);
    c->s.gpr[RAX] = 0x40;
    c->s.gpr[REG_RIP] = CODE;
    board_run(b, 1);
    ASSERT_RIP(CODE + 2);
    ASSERT_HEX(board_peek(b, GDT + 0x45, 1), 0x93);
    board_destroy(b);
}

static void task_switch_and_back(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    board_put(b, CODE, "9a 00 00 00 00 30 00 90"); /* lcall 30:0 */
    board_put(b, CODE + 0x100, "cf");
    board_poke(b, TSS_B + 0x20, 4, CODE + 0x100);
    board_poke(b, TSS_B + 0x24, 4, FL_FIXED);
    board_poke(b, TSS_B + 0x28, 4, 0x1234);
    board_poke(b, TSS_B + 0x38, 4, 0x8800); /* ESP */
    for (unsigned i = 0; i < 6; i++)
        board_poke(b, TSS_B + 0x48 + i * 4, 2, i == 1 ? CS0 : SS0);
    c->s.gpr[RAX] = 0x55;
    board_run(b, 1);
    ASSERT_RIP(CODE + 0x100);
    ASSERT_HEX(c->s.gpr[RAX], 0x1234);
    ASSERT_HEX(c->s.gpr[RSP], 0x8800);
    ASSERT_HEX(c->s.seg[SEG_TR].selector, TR_B);
    ASSERT_HEX(c->s.rflags & FL_NT, FL_NT);
    ASSERT_HEX(c->s.cr0 & CR0_TS, CR0_TS);
    ASSERT_HEX(board_peek(b, TSS_B, 2), TR_A);
    ASSERT_HEX(board_peek(b, TSS_A + 0x20, 4), CODE + 7);
    ASSERT_HEX(board_peek(b, TSS_A + 0x28, 4), 0x55);
    ASSERT_HEX(board_peek(b, GDT + TR_A + 5, 1), 0x8b);
    ASSERT_HEX(board_peek(b, GDT + TR_B + 5, 1), 0x8b);
    board_run(b, 1);
    ASSERT_RIP(CODE + 7);
    ASSERT_HEX(c->s.gpr[RAX], 0x55);
    ASSERT_HEX(c->s.seg[SEG_TR].selector, TR_A);
    ASSERT_HEX(board_peek(b, GDT + TR_B + 5, 1), 0x89);
    ASSERT_HEX(c->s.rflags & FL_NT, 0);
    board_destroy(b);
}

static void v86_round_trip(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    static const uint32_t frame[] = {0x10, 0x600, FL_VM | FL_FIXED | FL_IF, 0x7000, 0x900, 0x11, 0x22,
                                     0x33, 0x44};
    for (unsigned i = 0; i < 9; i++)
        board_poke(b, STACK0 - 36 + i * 4, 4, frame[i]);
    c->s.gpr[RSP] = STACK0 - 36;
    board_put(b, CODE, "cf");
    board_put(b, 0x6010, "cc");
    board_run(b, 1);
    ASSERT_RIP(0x10);
    ASSERT_HEX(c->s.cpl, 3);
    ASSERT_HEX(c->s.seg[SEG_CS].base, 0x6000);
    ASSERT_HEX(c->s.seg[SEG_SS].base, 0x9000);
    ASSERT_HEX(c->s.seg[SEG_GS].selector, 0x44);
    ASSERT_HEX(c->s.seg[SEG_DS].ar, 0xf3);
    board_run(b, 1);
    ASSERT_RIP(HANDLERS + 3 * 16);
    ASSERT_HEX(c->s.cpl, 0);
    ASSERT_HEX(c->s.rflags & FL_VM, 0);
    ASSERT_HEX(c->s.gpr[RSP], STACK0 - 36);
    ASSERT_HEX(board_peek(b, STACK0 - 36, 4), 0x11);
    ASSERT_HEX(board_peek(b, STACK0 - 4, 4), 0x44);
    ASSERT_HEX(board_peek(b, STACK0 - 28, 4) & FL_VM, FL_VM);
    ASSERT_HEX(c->s.seg[SEG_DS].ar & AR_UNUSABLE, AR_UNUSABLE);
    board_destroy(b);
}

/* CR4.VME with IOPL 0: INT n by the redirection map, STI and IRET on VIF. SDM 3B 21.3.3 */
static void v86_redirection(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.cr4 |= CR4_VME;
    c->s.rflags |= FL_VM;
    c->s.cpl = 3;
    for (unsigned s = 0; s <= SEG_GS; s++)
        c->s.seg[s] = (struct seg_reg){.selector = 0x600, .base = 0x6000, .limit = 0xffff, .ar = 0xf3};
    c->s.gpr[REG_RIP] = 0x10;
    c->s.gpr[RSP] = 0x800;
    board_put(b, 0x6010, "fb cd 21 cd 22");
    board_put(b, 0x6050, "cf");
    board_poke(b, 0x21 * 4, 4, 0x06000050);
    board_poke(b, TSS_A + 0x100 - 32 + 0x22 / 8, 1, 1 << (0x22 & 7)); /* 22h goes to the monitor */
    board_run(b, 1);
    ASSERT_HEX(c->s.rflags & (FL_IF | FL_VIF), FL_VIF);
    board_run(b, 1);
    ASSERT_RIP(0x50);
    ASSERT_HEX(board_peek(b, 0x6000 + 0x7fa, 2), 0x13);
    ASSERT_HEX(board_peek(b, 0x6000 + 0x7fe, 2), FL_IOPL | FL_IF | FL_FIXED);
    ASSERT_HEX(c->s.rflags & (FL_VIF | FL_VM), FL_VM);
    board_run(b, 1);
    ASSERT_RIP(0x13);
    ASSERT_HEX(c->s.rflags & (FL_IF | FL_VIF | FL_IOPL), FL_VIF);
    board_run(b, 1);
    ASSERT_RIP(HANDLERS + VEC_GP * 16);
    ASSERT_HEX(c->s.rflags & FL_VM, 0);
    board_destroy(b);
}

/* --- IA-32e mode ----------------------------------------------------------------------------------- */

static void long_int_iretq(void **state)
{
    struct board *b = long_board(3);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.gpr[RSP] = STACK3 - 3;
    board_put(b, CODE, "cd 20 90");
    board_put(b, HANDLERS + 0x200, "48 cf");
    board_run(b, 1);
    ASSERT_RIP(HANDLERS + 0x200);
    ASSERT_HEX(c->s.cpl, 0);
    ASSERT_HEX(c->s.gpr[RSP], STACK0 - 40);
    ASSERT_HEX(c->s.seg[SEG_SS].selector, 0);
    ASSERT_HEX(board_peek(b, STACK0 - 8, 8), SS3);
    ASSERT_HEX(board_peek(b, STACK0 - 16, 8), STACK3 - 3);
    ASSERT_HEX(board_peek(b, STACK0 - 40, 8), CODE + 2);
    board_run(b, 1);
    ASSERT_RIP(CODE + 2);
    ASSERT_HEX(c->s.gpr[RSP], STACK3 - 3);
    ASSERT_HEX(c->s.cpl, 3);
    board_destroy(b);
}

static void long_ist_double_fault(void **state)
{
    struct board *b = long_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.gpr[RSP] = UINT64_C(0x0000900000000000); /* not canonical */
    board_put(b, CODE, "cd 20");
    board_run(b, 1);
    /* INT: #SS while pushing, #SS again while delivering #SS: #DF on its IST stack. */
    ASSERT_RIP(HANDLERS + VEC_DF * 16);
    ASSERT_HEX(c->s.gpr[RSP], 0x8000 - 48);
    board_destroy(b);
}

static void syscall_sysret(void **state)
{
    struct board *b = long_board(3);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.star = UINT64_C(0x0040000800000000); /* SYSRET base 40h: CS 53h; SYSCALL CS 08h */
    c->s.lstar = HANDLERS;
    c->s.sf_mask = FL_IF | FL_TF;
    c->s.rflags |= FL_IF;
    board_put(b, CODE, "0f 05 90");
    board_put(b, HANDLERS, "48 0f 07");
    board_run(b, 1);
    ASSERT_RIP(HANDLERS);
    ASSERT_HEX(c->s.cpl, 0);
    ASSERT_HEX(c->s.gpr[RCX], CODE + 2);
    ASSERT_HEX(c->s.gpr[R11], FL_IF | FL_FIXED);
    ASSERT_HEX(c->s.rflags & FL_IF, 0);
    ASSERT_HEX(c->s.seg[SEG_CS].ar & AR_L, AR_L);
    board_run(b, 1);
    ASSERT_RIP(CODE + 2);
    ASSERT_HEX(c->s.cpl, 3);
    ASSERT_HEX(c->s.seg[SEG_CS].selector, 0x53);
    ASSERT_HEX(c->s.seg[SEG_SS].selector, 0x4b);
    ASSERT_HEX(c->s.rflags & FL_IF, FL_IF);
    board_destroy(b);
}

/* --- Boundaries -------------------------------------------------------------------------------------- */

static void sti_shadow(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    b->intr_vector = 0x30;
    board_put(b, CODE, "90 fb 90 90");
    board_run(b, 1);
    ASSERT_RIP(CODE + 1);
    board_run(b, 1);
    ASSERT_RIP(CODE + 2);
    ASSERT_HEX(c->s.intr.sti_shadow, 1);
    board_run(b, 1);
    ASSERT_RIP(CODE + 3);
    ASSERT_HEX(c->s.intr.sti_shadow, 0);
    board_run(b, 1);
    ASSERT_HEX(board_peek(b, STACK0 - 12, 4), CODE + 3);
    ASSERT_HEX(b->intr_vector, -1);
    board_destroy(b);
}

static void nmi_blocks_until_iret(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    board_put(b, HANDLERS + 0x20, "90 90 cf");
    cpu_signal_nmi(c);
    board_run(b, 2);
    ASSERT_RIP(HANDLERS + 0x21);
    cpu_signal_nmi(c);
    board_run(b, 1);
    ASSERT_RIP(HANDLERS + 0x22);
    ASSERT_HEX(c->s.intr.nmi_blocked, 1);
    board_run(b, 1);
    ASSERT_RIP(CODE);
    ASSERT_HEX(c->s.intr.nmi_blocked, 0);
    board_run(b, 2);
    ASSERT_RIP(HANDLERS + 0x21);
    board_destroy(b);
}

static void single_step(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.rflags |= FL_TF;
    board_run(b, 2);
    ASSERT_RIP(HANDLERS + 16);
    ASSERT_HEX(board_peek(b, STACK0 - 12, 4), CODE + 1);
    ASSERT_HEX(c->s.dr6 & DR6_BS, DR6_BS);
    ASSERT_HEX(c->s.rflags & FL_TF, 0);
    board_destroy(b);
}

static void branch_step(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.rflags |= FL_TF;
    c->s.debugctl = 2;
    board_put(b, CODE, "90 90 ea 40 40 00 00 08 00"); /* ljmp 8:4040 */
    board_run(b, 4);
    ASSERT_RIP(HANDLERS + 16);
    ASSERT_HEX(board_peek(b, STACK0 - 12, 4), CODE + 0x40);
    ASSERT_HEX(c->s.debugctl, 0);
    board_destroy(b);
}

/* The trap of an instruction that ends in a software interrupt is lost, as the interrupt clears TF. */
static void step_over_int(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.rflags |= FL_TF;
    board_put(b, CODE, "cd 20");
    board_run(b, 1);
    board_run(b, 2);
    ASSERT_RIP(HANDLERS + 0x200 + 2);
    ASSERT_HEX(board_peek(b, STACK0 - 4, 4) & FL_TF, FL_TF);
    board_destroy(b);
}

static void code_breakpoint_and_rf(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.dr[1] = CODE + 1;
    c->s.dr7 = 0x400 | 0x8;
    board_put(b, HANDLERS + 16, "cf");
    board_run(b, 2);
    ASSERT_RIP(HANDLERS + 16);
    ASSERT_HEX(c->s.dr6 & 15, 2);
    ASSERT_HEX(board_peek(b, STACK0 - 12, 4), CODE + 1);
    board_poke(b, STACK0 - 4, 4, FL_FIXED | FL_RF);
    board_run(b, 2);
    ASSERT_RIP(CODE + 2);
    ASSERT_HEX(c->s.rflags & FL_RF, 0);
    board_destroy(b);
}

static void mov_ss_holds_debug_trap(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.dr[0] = DATA;
    c->s.dr7 = 0x400 | 2 | 3u << 16; /* data access */
    board_poke(b, DATA, 2, SS0);
    board_put(b, CODE, "8e 15 00 00 01 00 90 90"); /* mov ss, [10000h] */
    board_run(b, 1);
    ASSERT_RIP(CODE + 6);
    ASSERT_HEX(c->s.intr.movss_shadow, 1);
    ASSERT_HEX(c->s.pending_dbg & 1, 1);
    board_run(b, 1);
    ASSERT_RIP(CODE + 7);
    board_run(b, 1);
    ASSERT_HEX(board_peek(b, STACK0 - 12, 4), CODE + 7);
    ASSERT_HEX(c->s.dr6 & 15, 1);
    board_destroy(b);
}

/* --- Ports and strings --------------------------------------------------------------------------------- */

static void io_permission(void **state)
{
    struct board *b = protected_board(3);
    struct cpu *c = b->cpu;
    (void)state;
    board_poke(b, TSS_A + 0x100 + 0x60 / 8, 2, 0xfffe); /* port 60h only */
    memset(b->bus.ram + TSS_A + 0x110, 0xff, 0x20);
    c->s.gpr[RAX] = 0x5a;
    board_put(b, CODE, "e6 60 e6 61");
    board_run(b, 1);
    ASSERT_RIP(CODE + 2);
    ASSERT_HEX(b->port, 0x60);
    ASSERT_HEX(b->port_value, 0x5a);
    board_run(b, 1);
    ASSERT_RIP(HANDLERS + VEC_GP * 16);
    board_destroy(b);
}

/* The same copy in one run, cycle by cycle, and overlapping; the time is the number of elements. */
static void rep_movs(void **state)
{
    (void)state;
    for (unsigned slice = 1; slice <= 9000; slice = slice == 1 ? 777 : slice == 777 ? 9000 : 9001) {
        struct board *b = protected_board(0);
        struct cpu *c = b->cpu;
        for (unsigned i = 0; i < 8192; i++)
            board_poke(b, DATA + i, 1, i * 7 + (i >> 8));
        board_put(b, CODE, "f3 a5 90 90");
        c->s.gpr[RSI] = DATA + 2;
        c->s.gpr[RDI] = DATA + 10; /* overlaps: a pattern of 8 bytes spreads */
        c->s.gpr[RCX] = 2000;
        uint64_t start = cpu_now(c);
        while (c->s.gpr[RCX] != 0) {
            cpu_mode_changed(c);
            cpu_run(c, cpu_now(c) + slice);
            assert_true(cpu_now(c) - start <= 9000);
            if (c->s.gpr[RCX] != 0) ASSERT_RIP(CODE);
        }
        if (slice == 1) ASSERT_HEX(cpu_now(c) - start, 2000);
        ASSERT_HEX(c->s.gpr[RDI], DATA + 10 + 8000);
        for (unsigned i = 0; i < 8000; i++)
            ASSERT_HEX(b->bus.ram[DATA + 10 + i], (uint8_t)((2 + (i & 7)) * 7));
        board_destroy(b);
    }
}

static void repe_cmps_and_scas(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    memcpy(b->bus.ram + DATA, "hello world", 12);
    memcpy(b->bus.ram + DATA + 0x100, "hello_world", 12);
    board_put(b, CODE, "f3 a6");
    c->s.gpr[RSI] = DATA, c->s.gpr[RDI] = DATA + 0x100, c->s.gpr[RCX] = 11;
    board_run(b, 6);
    ASSERT_RIP(CODE + 2);
    ASSERT_HEX(c->s.gpr[RCX], 5);
    ASSERT_HEX(cpu_read_rflags(c) & (FL_ZF | FL_CF), FL_CF);
    board_put(b, CODE, "f2 ae");
    c->s.gpr[REG_RIP] = CODE;
    c->s.gpr[RAX] = 0, c->s.gpr[RDI] = DATA, c->s.gpr[RCX] = 100;
    board_run(b, 12);
    ASSERT_RIP(CODE + 2);
    ASSERT_HEX(c->s.gpr[RDI], DATA + 12);
    board_destroy(b);
}

static void rep_is_interruptible(void **state)
{
    struct board *b = protected_board(0);
    struct cpu *c = b->cpu;
    (void)state;
    c->s.rflags |= FL_IF;
    board_put(b, CODE, "f3 aa 90");
    board_put(b, HANDLERS + 0x300, "cf");
    c->s.gpr[RDI] = DATA, c->s.gpr[RCX] = 100, c->s.gpr[RAX] = 0x77;
    board_run(b, 40);
    ASSERT_HEX(c->s.gpr[RCX], 60);
    b->intr_vector = 0x30;
    board_run(b, 1);
    ASSERT_HEX(board_peek(b, STACK0 - 12, 4), CODE);
    ASSERT_HEX(board_peek(b, STACK0 - 4, 4) & FL_RF, FL_RF);
    board_run(b, 70);
    ASSERT_HEX(c->s.gpr[RCX], 0);
    ASSERT_HEX(b->bus.ram[DATA + 99], 0x77);
    ASSERT_HEX(b->bus.ram[DATA + 100], 0);
    ASSERT_HEX(c->s.rflags & FL_RF, 0);
    board_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(real_int_iret),
                                       cmocka_unit_test(int_from_user),
                                       cmocka_unit_test(int_gate_dpl),
                                       cmocka_unit_test(double_and_triple_fault),
                                       cmocka_unit_test(call_gate_and_return),
                                       cmocka_unit_test(inner_data_is_dropped),
                                       cmocka_unit_test(selector_faults),
                                       cmocka_unit_test(task_switch_and_back),
                                       cmocka_unit_test(v86_round_trip),
                                       cmocka_unit_test(v86_redirection),
                                       cmocka_unit_test(branch_step),
                                       cmocka_unit_test(step_over_int),
                                       cmocka_unit_test(long_int_iretq),
                                       cmocka_unit_test(long_ist_double_fault),
                                       cmocka_unit_test(syscall_sysret),
                                       cmocka_unit_test(sti_shadow),
                                       cmocka_unit_test(nmi_blocks_until_iret),
                                       cmocka_unit_test(single_step),
                                       cmocka_unit_test(code_breakpoint_and_rf),
                                       cmocka_unit_test(mov_ss_holds_debug_trap),
                                       cmocka_unit_test(io_permission),
                                       cmocka_unit_test(rep_movs),
                                       cmocka_unit_test(repe_cmps_and_scas),
                                       cmocka_unit_test(rep_is_interruptible)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
