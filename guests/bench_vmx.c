/* SPDX-License-Identifier: MIT */
/* VM entry + exit round trips for bench/run, patched like bench_loops.c: loop 0 exits by CPUID, 1 by an EPT
 * violation, 2 by an external interrupt (a self-IPI that waits when the guest is entered). A round is 1000.
 */
#include "bench_exits.h"
#include "vmx.h"

enum { ROUND = 1000, VECTOR = 0x40 };

int guest_main(void)
{
    static void (*const code[])(void) = {guest_cpuid, guest_touch, guest_spin};
    static const uint32_t expected[] = {10, 48, 1};
    uint64_t loop = job.loop % 3;
    if (!vmx_on()) return 1;
    build_ept();
    ept_pd[1][0] = 0; /* what guest_touch touches stays absent */
    build_vmcs(code[loop]);
    if (loop == 2)
        vmwrite(G_RFLAGS, 0x202); /* one peer never delivers when host and guest both have IF = 0 */
    set_handler(VECTOR, on_interrupt);
    mmio_write32(0xfee000f0, 0x1ff);
    bool launch = true;
    for (uint64_t i = 0; i < job.rounds * ROUND; i++) {
        if (loop == 2) mmio_write32(0xfee00300, 0x40000 | VECTOR); /* pending, RFLAGS.IF is 0 here */
        if (enter(launch) || vmread(EXIT_REASON) != expected[loop]) {
            print("bench_vmx: exit %lu, wanted %u\n", vmread(EXIT_REASON), expected[loop]);
            return 1;
        }
        launch = false;
        if (loop == 0)
            vmwrite(G_RIP, vmread(G_RIP) + vmread(EXIT_LENGTH));
        else if (loop == 2)
            __asm__ volatile("sti; nop; cli" ::: "memory");
    }
    if (loop == 2 && interrupts != job.rounds * ROUND) return 1;
    return bench_done();
}
