/* SPDX-License-Identifier: MIT */
/* Work for bench/smp, which patches `job` in the image: 0: every processor computes; 1: the first computes,
 * the others sleep; 2: all sleep, the first through timer interrupts a millisecond apart; 3: all add to one
 * locked counter. */
#include "smp.h"

struct {
    char magic[8];
    uint64_t kind, rounds;
} job = {"UVSMP", 0, 1};
static uint64_t data[SMP_MAX][512] __attribute__((aligned(4096)));
static volatile uint64_t shared;
static volatile uint32_t ticks;

/* A million instructions a round: arithmetic, loads, stores, a branch. */
static void compute(uint32_t id)
{
    for (uint64_t i = 0; i < job.rounds; i++) {
        uint64_t turns = 100000, at = 0, sum = id;
        __asm__ volatile("1: mov (%3,%1,8), %%rax; add %%rax, %2; rol $5, %2; lea 7(%2,%%rax,2), %%rsi;"
                         "mov %%rsi, (%3,%1,8); inc %k1; and $511, %k1; xor %%rsi, %2; dec %0; jnz 1b"
                         : "+r"(turns), "+r"(at), "+r"(sum)
                         : "r"(data[id])
                         : "rax", "rsi", "cc", "memory");
    }
}
static void add(uint32_t id)
{
    (void)id;
    uint64_t turns = job.rounds * 250000;
    __asm__ volatile("1: lock incq %1; pause; dec %0; jnz 1b" : "+r"(turns), "+m"(shared)::"cc", "memory");
}
static void sleep_for_good(uint32_t id)
{
    (void)id;
    for (;;)
        __asm__ volatile("cli; hlt");
}
static bool on_tick(struct exception_frame *f)
{
    (void)f;
    ticks++;
    mmio_write32(0xfee000b0, 0);
    return true;
}

int guest_main(void)
{
    uint32_t cpus = processors();
    mmio_write32(0xfee000f0, 0x1ff);
    put_trampoline(TRAMPOLINE);
    for (uint32_t i = 1; i < cpus; i++) {
        send_ipi(i, 0x4500);
        wait_cycles(1000);
        send_ipi(i, 0x4600 | TRAMPOLINE >> 12);
        while (starts[i] == 0)
            pause();
    }
    void (*work)(uint32_t) = job.kind == 3 ? add : compute;
    bool all = job.kind == 0 || job.kind == 3;
    begin_round(all ? work : sleep_for_good);
    if (job.kind == 2) {
        set_handler(0x40, on_tick);
        mmio_write32(0xfee003e0, 0xb);
        mmio_write32(0xfee00320, 0x20040);
        mmio_write32(0xfee00380, 1000000);
        while (ticks < job.rounds * 100)
            __asm__ volatile("sti; hlt; cli");
    } else {
        work(0);
    }
    if (all) end_round(cpus);
    print("done\n");
    return 0;
}
