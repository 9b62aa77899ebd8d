/* SPDX-License-Identifier: MIT */
/* The engine: time, chaining, faults in the middle of a block, code that changes, MMIO at exact time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/engine.h"
#include "cpu/event.h"
#include "flat_bus.h"

static struct flat_board *board(enum flat_mode mode)
{
    struct flat_board *b = flat_board_create(4 << 20, 1, NULL);
    flat_set_mode(b->cpu[0], mode);
    b->cpu[0]->s.gpr[RSP] = 0x7000;
    return b;
}

static void put(struct flat_board *b, uint64_t at, const char *hex)
{
    uint8_t bytes[256];
    unsigned n = flat_hex(hex, bytes, sizeof bytes);
    flat_write(b, at, bytes, n);
}

static void counts_time_and_instructions(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    /* 100000: mov eax, 0; L: add eax, 3; sub ecx, 1; jnz L; jmp $ */
    put(b, 0x100000, "B8 00 00 00 00 83 C0 03 83 E9 01 75 F8 EB FE");
    c->s.gpr[RCX] = 1000;
    assert_int_equal(flat_run(c, 0x100000, 1 + 3000), STOP_BUDGET);
    assert_int_equal(c->s.gpr[RAX], 3000);
    assert_int_equal(c->s.gpr[REG_RIP], 0x10000D);
    assert_int_equal(c->s.insns, 3001);
    assert_int_equal(c->s.rflags & FL_ZF, FL_ZF);
    /* stop at every single cycle of the same loop */
    for (unsigned n = 0; n < 40; n++) {
        c->s.gpr[RCX] = 1000;
        assert_int_equal(flat_run(c, 0x100000, n), STOP_BUDGET);
        if (n) assert_int_equal(c->s.gpr[RAX], (n + 1) / 3 * 3);
    }
    flat_board_destroy(b);
}

static void fault_in_block_gives_back(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    /* mov eax,1; mov ebx,2; div ecx (ecx 0); mov eax,9; IDT empty -> triple fault */
    put(b, 0x100000, "B8 01 00 00 00 BB 02 00 00 00 F7 F1 B8 09 00 00 00 EB FE");
    c->s.gpr[RCX] = 0;
    c->s.idtr.limit = 0;
    uint64_t insns = c->s.insns;
    assert_int_equal(flat_run(c, 0x100000, 100), STOP_SHUTDOWN);
    assert_int_equal(c->s.gpr[RAX], 1);
    assert_int_equal(c->s.gpr[REG_RIP], 0x10000A);
    assert_int_equal(c->s.insns - insns, 2);
    flat_board_destroy(b);
}

static void self_modifying_code(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    /* mov byte [rip+1], 7 ; mov al, 0  -> the immediate is replaced by the instruction before it */
    put(b, 0x100000, "C6 05 01 00 00 00 07 B0 00 EB FE");
    flat_run(c, 0x100000, 3);
    assert_int_equal(c->s.gpr[RAX] & 0xff, 7);
    /* loop that increments an immediate in itself */
    put(b, 0x100100, "FE 05 01 00 00 00 B0 00 FF C9 75 F4 EB FE");
    c->s.gpr[RCX] = 50;
    flat_run(c, 0x100100, 4 * 50);
    assert_int_equal(c->s.gpr[RAX] & 0xff, 50);
    assert_int_equal(c->s.gpr[REG_RIP], 0x10010C);
    flat_board_destroy(b);
}

static void mmio_at_exact_time(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    /* nop; nop; mov [rdi], eax; nop; jmp $ */
    put(b, 0x100000, "90 90 89 07 90 EB FE");
    c->s.gpr[RDI] = 0x3000000;
    c->s.gpr[RAX] = 0x12345678;
    uint64_t start = cpu_now(c);
    flat_run(c, 0x100000, 20);
    assert_int_equal(b->mmio_writes, 1);
    assert_int_equal(b->last_mmio_value, 0x12345678);
    assert_int_equal(b->last_mmio_cycle - start, 3);
    assert_int_equal(cpu_now(c) - start, 20);
    flat_board_destroy(b);
}

static void crosses_pages(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    put(b, 0x100FFD, "B8 11 22 33 44 05 01 00 00 00 EB FE");
    flat_run(c, 0x100FFD, 2);
    assert_int_equal(c->s.gpr[RAX], 0x44332212);
    put(b, 0x101000, "99"); /* its tail changes */
    flat_run(c, 0x100FFD, 2);
    assert_int_equal(c->s.gpr[RAX], 0x44992212);
    flat_board_destroy(b);
}

static void calls_and_returns(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    put(b, 0x100000, "E8 FB 1F 00 00 FF C9 75 F7 EB FE"); /* call 102000; dec ecx; jnz; jmp $ */
    put(b, 0x102000, "83 C0 02 C3");
    c->s.gpr[RAX] = 0;
    c->s.gpr[RCX] = 10;
    c->s.gpr[RSP] = 0x7000;
    flat_run(c, 0x100000, 50);
    assert_int_equal(c->s.gpr[RAX], 20);
    assert_int_equal(c->s.gpr[RSP], 0x7000);
    flat_board_destroy(b);
}

/* The same program with and without peephole and chaining, and with everything dropped now and then. */
static void switches_change_nothing(void **state)
{
    (void)state;
    uint64_t want[4] = {0};
    for (int variant = 0; variant < 4; variant++) {
        struct flat_board *b = board(FLAT_LONG64);
        struct cpu *c = b->cpu[0];
        c->engine->no_peephole = variant & 1;
        c->engine->no_chain = variant >> 1;
        /* L: imul eax,eax,1664525; add eax,1013904223; mov ebx,eax; shr ebx,7; xor edx,ebx; cmp edx,ebx; jb
         * M; add rsi,rdx; adc rdi,0; M: test bl,4; jz N; inc r8; sub r9, r8; N: dec ecx; jnz L */
        put(b, 0x100000,
            "69 C0 0D 66 19 00 05 5F F3 6E 3C 89 C3 C1 EB 07 31 DA 39 DA 72 07 48 01 D6 48 83 D7 00 "
            "F6 C3 04 74 06 49 FF C0 4D 29 C1 FF C9 75 D3 EB FE");
        c->s.gpr[RCX] = 5000;
        c->s.gpr[RAX] = 1;
        *rip_of(c) = 0x100000;
        for (int i = 0; i < 50; i++) {
            cpu_run(c, cpu_now(c) + 1537);
            if (variant == 3) cpu_drop_derived(c);
        }
        uint64_t got[4] = {c->s.gpr[RSI] ^ c->s.gpr[RDI] << 32, c->s.gpr[R9] ^ c->s.gpr[RDX] << 20,
                           c->s.gpr[REG_RIP] ^ c->s.rflags << 32, c->s.insns};
        if (variant == 0) memcpy(want, got, sizeof want);
        assert_memory_equal(want, got, sizeof want);
        flat_board_destroy(b);
    }
}

/* Code fetched from where there is no memory reads FF FF: #UD (FF /7). */
static void runs_into_mmio(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    c->s.idtr.limit = 0;
    put(b, 0x3FFFFE, "90 90"); /* the last bytes of RAM */
    assert_int_equal(flat_run(c, 0x3FFFFE, 100), STOP_SHUTDOWN);
    assert_int_equal(c->s.gpr[REG_RIP], 0x400000);
    flat_board_destroy(b);
}

/* An instruction that runs over the CS limit is #GP(0) when it is reached, not before. */
static void stops_at_the_segment_limit(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_PROT32);
    struct cpu *c = b->cpu[0];
    c->s.seg[SEG_CS].limit = 0x100005;
    cpu_mode_changed(c);
    c->s.idtr.limit = 0;
    put(b, 0x100000,
        "40 40 40 B8 01 02 03 04"); /* inc eax three times; mov eax, ... needs 5 bytes, 3 are there */
    c->s.gpr[RAX] = 0;
    assert_int_equal(flat_run(c, 0x100000, 100), STOP_SHUTDOWN);
    assert_int_equal(c->s.gpr[RAX], 3);
    assert_int_equal(c->s.gpr[REG_RIP], 0x100003);
    flat_board_destroy(b);
}

/* One processor changes what another one runs. */
static void cross_modifying_code(void **state)
{
    (void)state;
    struct flat_board *b = flat_board_create(4 << 20, 2, NULL);
    struct cpu *c = b->cpu[0], *d = b->cpu[1];
    flat_set_mode(c, FLAT_LONG64);
    flat_set_mode(d, FLAT_LONG64);
    put(b, 0x100000, "B0 01 EB FC");                /* mov al, 1; jmp to it */
    put(b, 0x200000, "C6 05 FA FF EF FF 05 EB FE"); /* mov byte [100001], 5 */
    flat_run(c, 0x100000, 1000);
    assert_int_equal(c->s.gpr[RAX] & 0xff, 1);
    flat_run(d, 0x200000, 10);
    cpu_run(c, cpu_now(c) + 1000);
    assert_int_equal(c->s.gpr[RAX] & 0xff, 5);
    flat_board_destroy(b);
}

/* Two linear pages lead to the same code; the mapping of one changes under a warm jump cache. */
static void follows_the_mapping(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    put(b, 0x200000, "B0 02 EB FC");
    put(b, 0x000000, "B0 01 EB FC");
    flat_run(c, 0x200000, 100);
    assert_int_equal(c->s.gpr[RAX] & 0xff, 2);
    put(b, 0xA008, "87 00 00 00 00 00 00 00"); /* 2 MBytes at 200000 -> 0 */
    cpu_run(c, cpu_now(c) + 100);
    assert_int_equal(c->s.gpr[RAX] & 0xff, 2); /* not invalidated: the old translation stays */
    assert_true(cpu_write_cr3(c, 0x8000));
    cpu_run(c, cpu_now(c) + 100);
    assert_int_equal(c->s.gpr[RAX] & 0xff, 1);
    flat_board_destroy(b);
}

/* Data beside code in one page: cheap, and right. */
static void data_beside_code(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    /* L: inc dword [100800]; dec ecx; jnz L; jmp $ */
    put(b, 0x100000, "FF 05 FA 07 00 00 FF C9 75 F6 EB FE");
    c->s.gpr[RCX] = 1000;
    flat_run(c, 0x100000, 3000);
    assert_int_equal(flat_read64(b, 0x100800), 1000);
    assert_true(c->engine->exact_steps < 20);
    flat_board_destroy(b);
}

/* A cycle limit set by a device in the middle of a run is kept. */
static void limit_is_kept(void **state)
{
    (void)state;
    struct flat_board *b = board(FLAT_LONG64);
    struct cpu *c = b->cpu[0];
    put(b, 0x100000, "FF C0 EB FC");
    *rip_of(c) = 0x100000;
    uint64_t start = cpu_now(c);
    cpu_run(c, start + 10);
    c->cycle_limit = start + 10;
    assert_int_equal(cpu_run(c, start + 501), STOP_BUDGET);
    assert_int_equal(cpu_now(c), start + 501);
    assert_int_equal(c->s.gpr[RAX], 251);
    cpu_request_stop(c);
    assert_int_equal(cpu_run(c, start + 1000), STOP_REQUEST);
    assert_int_equal(cpu_now(c), start + 501);
    assert_int_equal(cpu_run(c, start + 1000), STOP_BUDGET);
    flat_board_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_time_and_instructions),
        cmocka_unit_test(fault_in_block_gives_back),
        cmocka_unit_test(self_modifying_code),
        cmocka_unit_test(mmio_at_exact_time),
        cmocka_unit_test(crosses_pages),
        cmocka_unit_test(calls_and_returns),
        cmocka_unit_test(switches_change_nothing),
        cmocka_unit_test(runs_into_mmio),
        cmocka_unit_test(stops_at_the_segment_limit),
        cmocka_unit_test(cross_modifying_code),
        cmocka_unit_test(follows_the_mapping),
        cmocka_unit_test(data_beside_code),
        cmocka_unit_test(limit_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
