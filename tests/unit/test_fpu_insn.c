/* SPDX-License-Identifier: MIT */
/* What the lockstep with a host cannot see: availability checks and their order, pending exceptions, the
 * formats of the x87 environment, MMX state of the conversions, MXCSR. Real mode, so that the vector of a
 * fault shows in RIP: vector v has its handler at 0:6000 + 16 v. */
#include "fpu_host.h"

#include "cpu/event.h"
#include "flat_bus.h"

enum { CODE = 0x5000, DATA = 0x3000, HANDLERS = 0x6000 };
enum { NO_FAULT = -1 };

static struct flat_board *b;
static struct cpu *c;
static unsigned ferr_calls;

static void ferr(void *opaque, int id)
{
    (void)opaque;
    (void)id;
    ferr_calls++;
}

static int setup(void **state)
{
    (void)state;
    b = flat_board_create(1 << 20, 1, NULL);
    if (!b) return -1;
    b->bus.ferr = ferr;
    c = b->cpu[0];
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    flat_board_destroy(b);
    return 0;
}

static void begin(enum flat_mode mode)
{
    flat_set_mode(c, mode);
    c->s.gpr[RSP] = 0x7000;
    c->s.gpr[RBX] = DATA;
    c->s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    c->s.fpu.mxcsr = 0x1f80;
    c->s.fpu.cw = 0x37f;
    c->s.fpu.sw = 0;
    c->s.fpu.top = 0;
    c->s.fpu.tag = 0;
    cpu_mode_changed(c);
    for (unsigned v = 0; v < 32; v++) {
        uint8_t entry[4] = {(uint8_t)(HANDLERS + 16 * v), (uint8_t)((HANDLERS + 16 * v) >> 8), 0, 0};
        flat_write(b, 4 * v, entry, 4);
    }
}
/* Runs n instructions; the vector of the fault that stopped them, or NO_FAULT. */
static int run(const char *hex, unsigned n)
{
    uint8_t bytes[64];
    unsigned len = flat_hex(hex, bytes, sizeof bytes);
    flat_write(b, CODE, bytes, len);
    flat_run(c, CODE, n);
    uint64_t rip = c->s.gpr[REG_RIP];
    return rip >= HANDLERS && rip < HANDLERS + 16 * 32 ? (int)(rip - HANDLERS) / 16 : NO_FAULT;
}

static const struct {
    const char *what, *code; /* [bx] addresses DATA */
    uint32_t cr0, cr4_clear;
    uint16_t sw;
    int vector;
} gates[] = {
    {"x87, EM", "D9 E8", CR0_EM, 0, 0, VEC_NM},
    {"x87, TS", "D9 E8", CR0_TS, 0, 0, VEC_NM},
    {"x87, pending", "D9 E8", 0, 0, 0x81, VEC_MF},
    {"TS before pending", "D9 E8", CR0_TS, 0, 0x81, VEC_NM},
    {"FNINIT does not wait", "DB E3", 0, 0, 0x81, NO_FAULT},
    {"FNINIT, TS", "DB E3", CR0_TS, 0, 0, VEC_NM},
    {"FNSTSW AX does not wait", "DF E0", 0, 0, 0x81, NO_FAULT},
    {"FNCLEX does not wait", "DB E2", 0, 0, 0x81, NO_FAULT},
    {"FNSAVE does not wait", "DD 37", 0, 0, 0x81, NO_FAULT},
    {"FLDCW waits", "D9 2F", 0, 0, 0x81, VEC_MF},
    {"FWAIT, TS alone", "9B", CR0_TS, 0, 0, NO_FAULT},
    {"FWAIT, MP alone", "9B", CR0_MP, 0, 0, NO_FAULT},
    {"FWAIT, MP and TS", "9B", CR0_MP | CR0_TS, 0, 0, VEC_NM},
    {"FWAIT, EM", "9B", CR0_EM, 0, 0, NO_FAULT},
    {"FWAIT, pending", "9B", 0, 0, 0x81, VEC_MF},
    {"SSE, EM", "0F 58 C1", CR0_EM, 0, 0, VEC_UD},
    {"SSE, no OSFXSR", "0F 58 C1", 0, CR4_OSFXSR, 0, VEC_UD},
    {"SSE, TS", "0F 58 C1", CR0_TS, 0, 0, VEC_NM},
    {"SSE, TS and no OSFXSR", "0F 58 C1", CR0_TS, CR4_OSFXSR, 0, VEC_UD},
    {"SSE does not look at x87", "0F 58 C1", 0, 0, 0x81, NO_FAULT},
    {"CVTPI2PS from MM, pending", "0F 2A C1", 0, 0, 0x81, VEC_MF},
    {"CVTPI2PS from memory, pending", "0F 2A 07", 0, 0, 0x81, NO_FAULT},
    {"CVTPI2PS from MM, no OSFXSR", "0F 2A C1", 0, CR4_OSFXSR, 0, VEC_UD},
    {"ADDPS unaligned", "0F 58 47 04", 0, 0, 0, VEC_GP},
    {"ADDPS aligned", "0F 58 47 10", 0, 0, 0, NO_FAULT},
    {"ADDSS unaligned", "F3 0F 58 47 04", 0, 0, 0, NO_FAULT},
    {"CVTPS2PD unaligned", "0F 5A 47 04", 0, 0, 0, NO_FAULT},
    {"CVTTPD2PI unaligned", "66 0F 2C 47 04", 0, 0, 0, VEC_GP},
    {"66 0F 52 is not RSQRTPS", "66 0F 52 C1", 0, 0, 0, VEC_UD},
    {"LOCK FADD", "F0 D8 07", 0, 0, 0, VEC_UD},
    {"D9 08", "D9 0F", 0, 0, 0, VEC_UD},
    {"DB /4 memory", "DB 27", 0, 0, 0, VEC_UD},
    {"LDMXCSR", "0F AE 17", 0, 0, 0, NO_FAULT},
};
static void availability(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof gates / sizeof gates[0]; i++) {
        begin(FLAT_REAL);
        flat_write(b, DATA, (uint8_t[32]){0}, 32);
        c->s.cr0 |= gates[i].cr0;
        c->s.cr4 &= ~(uint64_t)gates[i].cr4_clear;
        c->s.fpu.sw = gates[i].sw;
        if (gates[i].sw) c->s.fpu.cw = 0x37e;
        cpu_mode_changed(c);
        int v = run(gates[i].code, 1);
        if (v != gates[i].vector) printf("%s: vector %d, expected %d\n", gates[i].what, v, gates[i].vector);
        assert_int_equal(v, gates[i].vector);
    }
}

static void pending_exception(void **state)
{
    (void)state;
    /* FLDCW 37B (ZE unmasked); FLD1; FLDZ; FDIVP: ZE, nothing popped; FNOP reports it. */
    begin(FLAT_REAL);
    flat_write(b, DATA, (uint8_t[2]){0x7b, 0x03}, 2);
    assert_int_equal(run("D9 2F D9 E8 D9 EE DE F9", 4), NO_FAULT);
    assert_int_equal(c->s.fpu.sw, 0x8084);
    assert_int_equal(c->s.fpu.top, 6);
    assert_int_equal(c->s.fpu.fop, 0x6f9);
    assert_int_equal(c->s.fpu.fip, CODE + 6);
    assert_int_equal(run("D9 D0", 1), VEC_MF);
    /* Without CR0.NE the pin is asked for instead. */
    c->s.cr0 &= ~(uint64_t)CR0_NE;
    ferr_calls = 0;
    assert_int_equal(run("9B", 1), NO_FAULT);
    assert_int_equal(ferr_calls, 1);
    /* FNCLEX ends it; loading a control word that masks it does too, and unmasking brings it back. */
    c->s.cr0 |= CR0_NE;
    assert_int_equal(run("DB E2 D9 D0", 2), NO_FAULT);
    c->s.fpu.sw = 0x0004;
    c->s.fpu.cw = 0x37f;
    assert_int_equal(run("D9 2F", 1), NO_FAULT);
    assert_int_equal(c->s.fpu.sw, 0x8084);
}

static void unmasked_sse(void **state)
{
    (void)state;
    begin(FLAT_REAL);
    c->s.fpu.mxcsr = 0x1d80; /* ZE unmasked */
    c->s.vec[0].q[0] = 0x3f800000;
    c->s.vec[0].q[1] = 0x1111;
    c->s.vec[1].q[0] = 0;
    assert_int_equal(run("F3 0F 5E C1", 1), VEC_XM);
    assert_int_equal(c->s.fpu.mxcsr, 0x1d84);
    assert_int_equal(c->s.vec[0].q[0], 0x3f800000);
    c->s.cr4 &= ~(uint64_t)CR4_OSXMMEXCPT;
    assert_int_equal(run("F3 0F 5E C1", 1), VEC_UD);
    /* MXCSR reserved bits */
    flat_write(b, DATA, (uint8_t[4]){0, 0, 4, 0}, 4);
    assert_int_equal(run("0F AE 17", 1), VEC_GP);
    assert_int_equal(c->s.fpu.mxcsr, 0x1d84);
    flat_write(b, DATA, (uint8_t[4]){0xc0, 0xff, 0, 0}, 4);
    assert_int_equal(run("0F AE 17 0F AE 5F 04", 2), NO_FAULT);
    assert_int_equal(flat_read64(b, DATA + 4) & 0xffffffff, 0xffc0);
}

static void mmx_state(void **state)
{
    (void)state;
    begin(FLAT_REAL);
    c->s.fpu.top = 3;
    c->s.fpu.st[1].frac = UINT64_C(0x0000000200000003);
    assert_int_equal(run("0F 2A C1", 1), NO_FAULT); /* CVTPI2PS XMM0, MM1 */
    assert_true(c->s.vec[0].q[0] == UINT64_C(0x4000000040400000));
    assert_int_equal(c->s.fpu.top, 0);
    assert_int_equal(c->s.fpu.tag, 0xff);
    begin(FLAT_REAL);
    c->s.fpu.top = 3;
    flat_write(b, DATA, (uint8_t[8]){1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 8);
    assert_int_equal(run("66 0F 2A 07", 1), NO_FAULT); /* CVTPI2PD XMM0, m64 */
    assert_true(c->s.vec[0].q[0] == UINT64_C(0x3ff0000000000000) &&
                c->s.vec[0].q[1] == UINT64_C(0xbff0000000000000));
    assert_int_equal(c->s.fpu.top, 3);
    assert_int_equal(c->s.fpu.tag, 0);
    assert_int_equal(run("66 0F 2C D0", 1), NO_FAULT); /* CVTTPD2PI MM2, XMM0 */
    assert_true(c->s.fpu.st[2].frac == UINT64_C(0xffffffff00000001) && c->s.fpu.st[2].se == 0xffff);
    assert_int_equal(c->s.fpu.tag, 0xff);
}

/* FLD m32, then the environment, in each format. */
static void environments(void **state)
{
    (void)state;
    static const struct {
        enum flat_mode mode;
        const char *code, *back; /* FLD m32, FNSTENV +16; FLDENV +16, FNSTENV +48 */
        unsigned n;
        uint8_t want[28];
    } rows[] = {
        {FLAT_REAL,
         "D9 07 D9 77 10",
         "D9 67 10 D9 77 30",
         14, /* CS:IP 0100:4000, DS 0200: linear addresses */
         {0x7f, 0x03, 0x00, 0x38, 0xff, 0x3f, 0x00, 0x50, 0x07, 0x01, 0x00, 0x50, 0x00, 0x00}},
        {FLAT_REAL, "D9 07 66 D9 77 10", "66 D9 67 10 66 D9 77 30", 28, {0x7f, 0x03, 0xff, 0xff, 0x00, 0x38,
                                                                         0xff, 0xff, 0xff, 0x3f, 0xff, 0xff,
                                                                         0x00, 0x50, 0xff, 0xff, 0x07, 0x01,
                                                                         0x00, 0x00, 0x00, 0x50, 0xff, 0xff,
                                                                         0x00, 0x00, 0x00, 0x00}},
        {FLAT_PROT16,
         "D9 07 D9 77 10",
         "D9 67 10 D9 77 30",
         14,
         {0x7f, 0x03, 0x00, 0x38, 0xff, 0x3f, 0x00, 0x50, 0x08, 0x00, 0x00, 0x30, 0x10, 0x00}},
        {FLAT_PROT16, "D9 07 66 D9 77 10", "66 D9 67 10 66 D9 77 30", 28, {0x7f, 0x03, 0xff, 0xff, 0x00, 0x38,
                                                                           0xff, 0xff, 0xff, 0x3f, 0xff, 0xff,
                                                                           0x00, 0x50, 0x00, 0x00, 0x08, 0x00,
                                                                           0x07, 0x01, 0x00, 0x30, 0x00, 0x00,
                                                                           0x10, 0x00, 0xff, 0xff}},
        {FLAT_LONG64, "D9 03 D9 73 10", "D9 63 10 D9 73 30", 28, {0x7f, 0x03, 0xff, 0xff, 0x00, 0x38, 0xff,
                                                                  0xff, 0xff, 0x3f, 0xff, 0xff, 0x00, 0x50,
                                                                  0x00, 0x00, 0x08, 0x00, 0x03, 0x01, 0x00,
                                                                  0x30, 0x00, 0x00, 0x10, 0x00, 0xff, 0xff}},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(rows[i].mode);
        if (rows[i].mode == FLAT_REAL) { /* bases and addresses that make the linear ones below */
            c->s.seg[SEG_DS].selector = 0x200;
            c->s.seg[SEG_DS].base = 0x2000;
        }
        uint64_t base = c->s.seg[SEG_DS].base;
        flat_write(b, base + DATA, (uint8_t[64]){0, 0, 0x80, 0x3f}, 64);
        c->s.fpu.fop =
            rows[i].want[rows[i].n == 28 ? 18 : 8] | 0x100; /* written by exceptions only: put it there */
        if (rows[i].mode == FLAT_REAL) c->s.fpu.fop = 0x107;
        run(rows[i].code, 2);
        uint8_t got[28];
        memcpy(got, b->bus.ram + base + DATA + 16, 28);
        if (memcmp(got, rows[i].want, rows[i].n) != 0) {
            printf("row %u:", i);
            for (unsigned k = 0; k < rows[i].n; k++)
                printf(" %02x", got[k]);
            printf("\n");
        }
        assert_memory_equal(got, rows[i].want, rows[i].n);
        assert_int_equal(b->bus.ram[base + DATA + 16 + rows[i].n], 0);
        /* And back: FLDENV of it, then FNSTENV again, gives the same image. */
        c->s.fpu.top = 0;
        c->s.fpu.tag = 0;
        c->s.fpu.cw = 0x40;
        c->s.fpu.fip = c->s.fpu.fdp = c->s.fpu.fcs = c->s.fpu.fds = c->s.fpu.fop = 0;
        run(rows[i].back, 2);
        assert_memory_equal(b->bus.ram + base + DATA + 48, got, rows[i].n);
    }
}

static void save_and_restore(void **state)
{
    (void)state;
    begin(FLAT_LONG64);
    c->s.gpr[RBX] = DATA;
    /* FLDPI; FLD1; FNSAVE [rbx]; FRSTOR [rbx] */
    run("D9 EB D9 E8 DD 33", 3);
    assert_int_equal(c->s.fpu.tag, 0);
    assert_int_equal(c->s.fpu.top, 0);
    assert_int_equal(c->s.fpu.cw, 0x37f);
    run("DD 23", 1);
    assert_int_equal(c->s.fpu.top, 6);
    assert_int_equal(c->s.fpu.tag, 0xc0);
    assert_int_equal(c->s.fpu.st[6].se, 0x3fff);
    assert_true(c->s.fpu.st[7].frac == UINT64_C(0xc90fdaa22168c235));
    /* A store that faults changes nothing: FSTP m64 beyond the mapped first GByte. */
    c->s.gpr[RBX] = UINT64_C(0x8000000000);
    c->s.idtr.limit = 0;
    run("DD 1B", 1);
    assert_int_equal(c->s.fpu.top, 6);
    assert_int_equal(c->s.fpu.tag, 0xc0);
}

static void transcendental_stack(void **state)
{
    (void)state;
    begin(FLAT_REAL);
    run("D9 EB D9 FB", 2); /* FLDPI; FSINCOS */
    assert_int_equal(c->s.fpu.top, 6);
    assert_int_equal(c->s.fpu.st[6].se, 0xbfff); /* cos = -1 */
    assert_int_equal(c->s.fpu.st[7].se, 0xbfbf); /* sin of FLDPI by the 66-bit pi: -2^-64 */
    assert_true(c->s.fpu.st[7].frac == UINT64_C(1) << 63);
    run("D9 F3", 1); /* FPATAN */
    assert_int_equal(c->s.fpu.top, 7);
    begin(FLAT_REAL);
    c->s.fpu.st[7] = f80_make(16383 + 63, UINT64_C(1) << 63);
    c->s.fpu.top = 7;
    c->s.fpu.tag = 0x80;
    run("D9 F2", 1); /* FPTAN out of range */
    assert_int_equal(c->s.fpu.sw, 0x400);
    assert_int_equal(c->s.fpu.top, 7);
    c->s.fpu.tag = 0xff;
    c->s.fpu.st[7] = f80_make(0x3fff, UINT64_C(1) << 63);
    run("D9 F2", 1); /* stack overflow */
    assert_int_equal(c->s.fpu.sw, 0x241);
    assert_int_equal(c->s.fpu.st[6].se, 0xffff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(availability),        cmocka_unit_test(pending_exception),
        cmocka_unit_test(unmasked_sse),        cmocka_unit_test(mmx_state),
        cmocka_unit_test(environments),        cmocka_unit_test(save_and_restore),
        cmocka_unit_test(transcendental_stack)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
