/* SPDX-License-Identifier: MIT */
/* VMRUN + #VMEXIT round trips for bench/run, patched like bench_loops.c: loop 0 exits by CPUID, 1 by a nested
 * page fault, 2 by an external interrupt (a self-IPI that waits when the guest is entered). A round is 1000.
 */
#include "bench_exits.h"
#include "svm.h"

enum { ROUND = 1000, VECTOR = 0x41 };

int guest_main(void)
{
    static void (*const code[])(void) = {guest_cpuid, guest_touch, guest_spin};
    static const uint32_t expected[] = {X_CPUID, X_NPF, X_INTR};
    uint64_t loop = job.loop % 3;
    if (!svm_on()) return 1;
    svm_prepare(code[loop]);
    npt_pt[0] = 0; /* what guest_touch touches stays absent */
    W32(WORD3) |= I_CPUID | I_INTR;
    W64(VINTR) = 1 << 24;
    set_handler(VECTOR, on_interrupt);
    mmio_write32(0xfee000f0, 0x1ff);
    for (uint64_t i = 0; i < job.rounds * ROUND; i++) {
        clgi();
        if (loop == 2) mmio_write32(0xfee00300, 0x40000 | VECTOR);
        __asm__ volatile("sti" ::: "memory");
        svm_vmrun();
        if (W64(CODE) != expected[loop]) {
            print("bench_svm: exit %lx, wanted %x\n", W64(CODE), expected[loop]);
            return 1;
        }
        W8(TLB) = 0;
        W32(CLEAN) = svm_features & FEAT_CLEAN ? 0x7ff : 0;
        if (loop == 0) W64(G_RIP) += 2;
        stgi();
        __asm__ volatile("nop; cli" ::: "memory");
    }
    if (loop == 2 && interrupts != job.rounds * ROUND) return 1;
    return bench_done();
}
