/* SPDX-License-Identifier: MIT */
/* The guests whose exits bench_vmx and bench_svm count, and the hypervisor's interrupt handler. */
#ifndef BENCH_EXITS_H
#define BENCH_EXITS_H

#include "bench.h"

static void guest_cpuid(void)
{
    for (;;) {
        uint32_t r[4];
        cpuid(0, 0, r);
    }
}
static void guest_touch(void)
{
    for (;;)
        *(volatile uint32_t *)0x40000000 = 1;
}
static void guest_spin(void)
{
    for (;;)
        __asm__ volatile("nop");
}

static volatile uint64_t interrupts;
static bool on_interrupt(struct exception_frame *f)
{
    (void)f;
    interrupts++;
    mmio_write32(0xfee000b0, 0);
    return true;
}

#endif
