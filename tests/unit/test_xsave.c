/* SPDX-License-Identifier: MIT */
/* XSAVE family: headers, compacted format, PKRU, supervisor forms and malformed areas, which a lockstep with
 * a host process cannot reach. SDM 1 13.7-13.12. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/event.h"
#include "cpu/insn.h"
#include "cpu/mem.h"
#include "cpu/xstate.h"
#include "flat_bus.h"

enum { CODE = 0x5000, AREA = 0x10000, AREA_BYTES = 0x1000, NO_FAULT = -1 };
enum { HEADER_AT = AREA + 512, PKRU_AT = AREA + 0xa80 };

static struct flat_board *b;
static struct cpu *c;
static struct virt_ops ops;
static int caught;

static enum virt_verdict catch_exception(struct cpu *cpu, const struct event *ev)
{
    (void)cpu;
    caught = ev->vector; /* the exception used up the one cycle of the run */
    return VIRT_EXITED;
}

static int setup(void **state)
{
    (void)state;
    b = flat_board_create(1 << 20, 1, NULL);
    if (!b) return -1;
    c = b->cpu[0];
    flat_set_mode(c, FLAT_LONG64);
    ops = virt_bare;
    ops.exception = catch_exception;
    c->virt = &ops;
    c->s.cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
    c->s.xcr0 = xstate_xcr0_mask(c);
    c->s.gpr[RBX] = AREA;
    c->s.gpr[RSP] = 0x7000;
    memset(&c->s.fpu, 0, sizeof c->s.fpu);
    c->s.fpu.cw = 0x37f;
    c->s.fpu.mxcsr = 0x1f80;
    cpu_mode_changed(c);
    for (unsigned i = 0; i < AREA_BYTES; i += 8)
        flat_write(b, AREA + i, "\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a", 8);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    flat_board_destroy(b);
    return 0;
}
static void put64(uint64_t at, uint64_t v)
{
    uint8_t p[8];
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    flat_write(b, at, p, 8);
}
/* One instruction on [rbx] with EDX:EAX; the vector it raised. */
static int run(const char *hex, uint64_t components)
{
    uint8_t bytes[16];
    unsigned n = flat_hex(hex, bytes, sizeof bytes);
    flat_write(b, CODE, bytes, n);
    c->s.gpr[RAX] = (uint32_t)components;
    c->s.gpr[RDX] = components >> 32;
    caught = NO_FAULT;
    flat_run(c, CODE, 1);
    return caught;
}
#define XSAVE "0F AE 23"
#define XRSTOR "0F AE 2B"
#define XSAVEOPT "0F AE 33"
#define XSAVEC "0F C7 23"
#define XSAVES "0F C7 2B"
#define XRSTORS "0F C7 1B"

static void empty_header(void)
{
    for (unsigned i = 0; i < 64; i += 8)
        put64(HEADER_AT + i, 0);
}

static void standard_format(void **state)
{
    (void)state;
    c->s.vec[3].q[1] = 0x1234;
    c->s.pkru = 0x55;
    put64(HEADER_AT, 0x8000000000000005u);
    assert_int_equal(run(XSAVE, 0x203), NO_FAULT);
    /* XSTATE_BV: requested bits say what is in use, the others stay; the rest of the header is not written.
     */
    assert_int_equal(flat_read64(b, HEADER_AT), 0x8000000000000206u);
    assert_int_equal(flat_read64(b, HEADER_AT + 8), 0x5a5a5a5a5a5a5a5au);
    assert_int_equal(flat_read64(b, AREA + 160 + 3 * 16 + 8), 0x1234);
    assert_int_equal(flat_read64(b, PKRU_AT), 0x55);
    /* Not requested: not written. */
    put64(PKRU_AT, 7);
    assert_int_equal(run(XSAVE, 0x3), NO_FAULT);
    assert_int_equal(flat_read64(b, PKRU_AT), 7);
}

static void in_use(void **state)
{
    (void)state;
    assert_int_equal(xstate_in_use(c), 0);
    c->s.gpr[RCX] = 1;
    c->s.fpu.mxcsr = 0x1f81;
    assert_int_equal(run("0F 01 D0", 0), NO_FAULT); /* XGETBV: MXCSR counts for bit 1 there (SDM 1 13.2) */
    assert_int_equal(c->s.gpr[RAX], 2);
    put64(HEADER_AT, 0);
    assert_int_equal(run(XSAVE, 3), NO_FAULT);
    assert_int_equal(flat_read64(b, HEADER_AT), 0); /* but not for XSAVE */
}

static void init_optimisation(void **state)
{
    (void)state;
    put64(HEADER_AT, 0);
    c->s.pkru = 1;
    assert_int_equal(run(XSAVEOPT, 0x203), NO_FAULT);
    assert_int_equal(flat_read64(b, HEADER_AT), 0x200);
    assert_int_equal(flat_read64(b, AREA + 160), 0x5a5a5a5a5a5a5a5au); /* XMM0 in its initial state */
    assert_int_equal(flat_read64(b, AREA), 0x5a5a5a5a5a5a5a5au);
    assert_int_equal(flat_read64(b, AREA + 24) & 0xffffffff, 0x1f80); /* MXCSR always */
}

static void compacted_format(void **state)
{
    (void)state;
    c->s.pkru = 0x77;
    c->s.fpu.mxcsr = 0x1f81;
    assert_int_equal(run(XSAVEC, 0x203), NO_FAULT);
    /* MXCSR alone brings the SSE component in. */
    assert_int_equal(flat_read64(b, HEADER_AT), 0x202);
    assert_int_equal(flat_read64(b, HEADER_AT + 8), 0x8000000000000203u);
    assert_int_equal(flat_read64(b, HEADER_AT + 16), 0x5a5a5a5a5a5a5a5au);
    assert_int_equal(flat_read64(b, AREA + 576), 0x77);
    assert_int_equal(flat_read64(b, AREA + 24) & 0xffffffff, 0x1f81);
    assert_int_equal(flat_read64(b, AREA), 0x5a5a5a5a5a5a5a5au);
    /* And back: x87 is initialised, as its bit in XSTATE_BV is clear. */
    for (unsigned i = 16; i < 64; i += 8)
        put64(HEADER_AT + i, 0);
    c->s.pkru = 0;
    c->s.fpu.mxcsr = 0x1f80;
    c->s.fpu.cw = 0x27f;
    c->s.fpu.tag = 3;
    assert_int_equal(run(XRSTOR, 0x203), NO_FAULT);
    assert_int_equal(c->s.pkru, 0x77);
    assert_int_equal(c->s.fpu.mxcsr, 0x1f81);
    assert_int_equal(c->s.fpu.cw, 0x37f);
    assert_int_equal(c->s.fpu.tag, 0);
}

static void compacted_offset_follows_mask(void **state)
{
    (void)state;
    assert_int_equal(xstate_area_size(0x3, false), 576);
    assert_int_equal(xstate_area_size(0x203, false), 0xa88);
    assert_int_equal(xstate_area_size(0x203, true), 584);
    assert_int_equal(xstate_offset(XSTATE_PKRU, 0x201, true), 576);
}

static void initial_state_from_clear_bits(void **state)
{
    (void)state;
    empty_header();
    put64(AREA + 24, 0x1f80 | (uint64_t)0xffff << 32);
    c->s.vec[2].q[0] = 9;
    c->s.pkru = 9;
    c->s.fpu.cw = 0x27f;
    assert_int_equal(run(XRSTOR, 0x2), NO_FAULT);
    assert_int_equal(c->s.vec[2].q[0], 0);
    assert_int_equal(c->s.pkru, 9); /* not requested */
    assert_int_equal(c->s.fpu.cw, 0x27f);
}

/* One malformed header a row: bytes at header + at. */
static const struct {
    const char *what, *code;
    unsigned at;
    uint64_t value;
    uint64_t components;
    int vector;
} headers[] = {
    {"well formed", XRSTOR, 0, 0, 3, NO_FAULT},
    {"XSTATE_BV bit not in XCR0", XRSTOR, 0, 4, 1, VEC_GP},
    {"XCOMP_BV without bit 63", XRSTOR, 8, 1, 1, VEC_GP},
    {"standard: bytes 23:16", XRSTOR, 16, 1, 1, VEC_GP},
    {"standard: bytes 63:24 are not checked", XRSTOR, 24, 1, 1, NO_FAULT},
    {"compacted", XRSTOR, 8, 0x8000000000000001u, 1, NO_FAULT},
    {"compacted: XCOMP_BV bit not in XCR0", XRSTOR, 8, 0x8000000000000005u, 1, VEC_GP},
    {"XRSTORS wants the compacted format", XRSTORS, 0, 0, 1, VEC_GP},
    {"XRSTORS compacted", XRSTORS, 8, 0x8000000000000003u, 3, NO_FAULT},
};
static void malformed_headers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        empty_header();
        put64(AREA + 24, 0x1f80);
        put64(HEADER_AT + headers[i].at, headers[i].value);
        if (run(headers[i].code, headers[i].components) != headers[i].vector) fail_msg("%s", headers[i].what);
    }
    /* Compacted: bit in XSTATE_BV but not in XCOMP_BV, and bytes behind XCOMP_BV. */
    empty_header();
    put64(HEADER_AT, 2);
    put64(HEADER_AT + 8, 0x8000000000000001u);
    assert_int_equal(run(XRSTOR, 1), VEC_GP);
    put64(HEADER_AT, 1);
    put64(HEADER_AT + 56, 1);
    assert_int_equal(run(XRSTOR, 1), VEC_GP);
}

static void mxcsr_reserved(void **state)
{
    (void)state;
    empty_header();
    put64(AREA + 24, 0x40000);
    assert_int_equal(run(XRSTOR, 2), VEC_GP); /* even though XSTATE_BV[1] is 0 */
    assert_int_equal(run(XRSTOR, 1), NO_FAULT);
    put64(HEADER_AT + 8, 0x8000000000000003u);
    assert_int_equal(run(XRSTOR, 2), NO_FAULT); /* compacted: MXCSR is initialised, not read */
    assert_int_equal(c->s.fpu.mxcsr, 0x1f80);
}

static void availability(void **state)
{
    (void)state;
    c->s.gpr[RBX] = AREA + 32;
    assert_int_equal(run(XSAVE, 3), VEC_GP); /* 64-byte alignment */
    c->s.gpr[RBX] = AREA;
    c->s.cr0 |= CR0_TS;
    assert_int_equal(run(XSAVE, 3), VEC_NM);
    assert_int_equal(run(XSAVES, 3), VEC_NM);
    c->s.cr4 &= ~(uint64_t)CR4_OSXSAVE;
    assert_int_equal(run(XSAVE, 3), VEC_UD);
    assert_int_equal(run(XRSTORS, 3), VEC_UD);
}

static void not_in_64_bit_mode(void **state)
{
    (void)state;
    c->s.vec[9].q[0] = 1;
    assert_int_equal(xstate_in_use(c) & 2, 2);
    flat_set_mode(c, FLAT_PROT32);
    c->s.cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
    assert_int_equal(xstate_in_use(c) & 2, 0); /* XMM8-15 do not count */
    put64(HEADER_AT, 0);
    assert_int_equal(run(XSAVE, 2), NO_FAULT);
    assert_int_equal(flat_read64(b, AREA + 160 + 9 * 16), 0x5a5a5a5a5a5a5a5au);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(standard_format, setup, teardown),
        cmocka_unit_test_setup_teardown(in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(init_optimisation, setup, teardown),
        cmocka_unit_test_setup_teardown(compacted_format, setup, teardown),
        cmocka_unit_test_setup_teardown(compacted_offset_follows_mask, setup, teardown),
        cmocka_unit_test_setup_teardown(initial_state_from_clear_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(mxcsr_reserved, setup, teardown),
        cmocka_unit_test_setup_teardown(availability, setup, teardown),
        cmocka_unit_test_setup_teardown(not_in_64_bit_mode, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
