/* SPDX-License-Identifier: MIT */
/* The three loops of bench/run. The harness patches `job` in the image: which loop, how many rounds; guest
 * instructions a round are fixed and stated here, so rates come from two runs of different length. */
#include "bench.h"

static uint8_t area[65536] __attribute__((aligned(4096)));

/* 8 instructions a turn, 1,000,000 turns a round. */
static void register_loop(uint64_t turns)
{
    __asm__ volatile("1: add %%rbx, %%rax; xor %%rax, %%rdx; lea 7(%%rdx,%%rax,2), %%rsi; sub $3, %%rbx;"
                     "rol $5, %%rdx; and %%rsi, %%rbx; dec %0; jnz 1b"
                     : "+r"(turns)::"rax", "rbx", "rdx", "rsi", "cc");
}
/* 8 instructions a turn, 64 KiB walked in steps of 8 bytes. */
static void memory_loop(uint64_t turns)
{
    __asm__ volatile("xor %%ecx, %%ecx;"
                     "1: mov (%1,%%rcx), %%rax; add $1, %%rax; mov %%rax, (%1,%%rcx);"
                     "add $8, %%ecx; and $0xffff, %%ecx; nop; dec %0; jnz 1b"
                     : "+r"(turns)
                     : "r"(area)
                     : "rax", "rcx", "cc", "memory");
}
/* 6 instructions a turn: call, push, pop, return, dec, jnz. */
static void call_loop(uint64_t turns)
{
    __asm__ volatile("jmp 1f; 2: push %%rbx; pop %%rbx; ret; 1: call 2b; dec %0; jnz 1b"
                     : "+r"(turns)::"cc", "memory");
}

int guest_main(void)
{
    static void (*const loops[])(uint64_t) = {register_loop, memory_loop, call_loop};
    for (uint64_t i = 0; i < job.rounds; i++)
        loops[job.loop % 3](1000000);
    return bench_done();
}
