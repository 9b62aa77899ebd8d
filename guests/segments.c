/* SPDX-License-Identifier: MIT */
/* Every descriptor type, privilege level, RPL and present bit through everything that reads a descriptor, at
 * CPL 0 and 3 in IA-32e mode: LAR, LSL, VERR, VERW, segment loads, far JMP and CALL, RET, IRET, LLDT, LTR,
 * interrupt gates. What each of the 60,000 attempts did (vector, error code, CS, SS, data segments, flags,
 * stack, accessed and busy bits) is folded into one number for each instruction. The numbers are those of SDM
 * 2 and 3A ch. 5; another implementation agreed attempt by attempt, except where it omits checks. */
#include "guest.h"

uint64_t seg_save_rsp, seg_rax, seg_rdx, seg_rsi, seg_stub, seg_cpl;
static struct exception_frame last;
static uint64_t data_selectors;
extern char seg_recover[], seg_land[], user_top[], stub_ds[], stub_ss[], stub_lar[], stub_lsl[], stub_verr[],
    stub_verw[], stub_lcall[], stub_lcallq[], stub_ljmp[], stub_iretq[], stub_iretl[], stub_lretq[],
    stub_lldt[], stub_ltr[], stub_int[], stub_popfq[];
void seg_attempt(void);

__asm__(".data\n.balign 16\n.skip 4096\nuser_top: .skip 64\n.text\n"
        "seg_attempt: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "  mov %rsp, seg_save_rsp; and $-16, %rsp; mov seg_rax, %rax; mov $0x1111, %ecx; mov seg_rdx, %rdx; "
        "mov seg_rsi, %rsi\n"
        "  cmpq $0, seg_cpl; jne 1f; jmp *seg_stub\n"
        "1: push $0x43; push $user_top; push $2; push $0x3b; push seg_stub; iretq\n"
        "seg_recover: pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
        "stub_ds: mov %eax, %ds; int $0x82\n"
        "stub_ss: mov %eax, %ss; nop; int $0x82\n"
        "stub_lar: lar %eax, %ecx; int $0x82\n"
        "stub_lsl: lsl %eax, %ecx; int $0x82\n"
        "stub_verr: verr %ax; int $0x82\n"
        "stub_verw: verw %ax; int $0x82\n"
        "stub_lcall: lcall *(%rdx); int $0x82\n"
        "stub_lcallq: rex.w lcall *(%rdx); int $0x82\n"
        "stub_ljmp: ljmp *(%rdx); int $0x82\n"
        "stub_iretq: mov %rsi, %rsp; iretq; int $0x82\n"
        "stub_iretl: mov %rsi, %rsp; iretl; int $0x82\n"
        "stub_lretq: mov %rsi, %rsp; lretq; int $0x82\n"
        "stub_lldt: lldt %ax; int $0x82\n"
        "stub_ltr: ltr %ax; int $0x82\n"
        "stub_int: int $0x90; int $0x82\n"
        "stub_popfq: push %rax; popfq; nop; int $0x82\n"
        ".balign 64\nseg_land: int $0x81; int $0x81\n");

static bool on_any(struct exception_frame *f)
{
    uint64_t ds, es, fs;
    __asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2" : "=r"(ds), "=r"(es), "=r"(fs));
    last = *f;
    data_selectors = ds | es << 16 | fs << 32;
    f->rip = (uint64_t)seg_recover;
    f->cs = 0x08;
    f->ss = 0x10;
    f->rsp = seg_save_rsp;
    f->rflags = 2;
    return true;
}

enum { TEST = 0x60, TEST_INDEX = TEST / 8 };

static uint64_t hash;
static void fold(uint64_t v)
{
    for (int i = 0; i < 8; i++)
        hash = (hash ^ (v >> i * 8 & 0xff)) * UINT64_C(0x100000001b3);
}

static int attempts;
static void attempt(uint64_t *sum, char *stub, unsigned cpl, uint64_t rax, const void *rdx, const void *rsi)
{
    seg_stub = (uint64_t)stub;
    seg_cpl = cpl;
    seg_rax = rax;
    seg_rdx = (uint64_t)rdx;
    seg_rsi = (uint64_t)rsi;
    seg_attempt();
    attempts++;
    hash = *sum;
    fold(last.vector);
    fold(last.error);
    fold(last.cs | last.ss << 16);
    fold(data_selectors);
    fold(last.rip == (uint64_t)seg_land + 2 ? 1 : last.rip - seg_stub);
    uint64_t stack = cpl == 0      ? seg_save_rsp & ~UINT64_C(15)
                     : last.cs & 3 ? (uint64_t)user_top
                                   : (uint64_t)irq_stack_top;
    fold(last.rsp - (rsi ? seg_rsi : stack));
    fold(last.rflags & (last.vector < 32 ? 0x3ff700 : 0x3f7740)); /* IF, TF, ZF ..., not what is undefined */
    fold(last.rcx);
    fold(gdt[TEST_INDEX] >> 40 & 0xff);
    *sum = hash;
    __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; mov %1, %%fs" ::"r"(0x10), "r"(0));
}

static void descriptor(unsigned rights, unsigned flags)
{
    gdt[TEST_INDEX] = 0xffff | (uint64_t)rights << 40 | UINT64_C(0xf) << 48 | (uint64_t)flags << 52;
    gdt[TEST_INDEX + 1] = 0;
}

static struct sums {
    uint64_t lar, lsl, verr, verw, ds, ss, lcall, ljmp, lcallq, iretq, lretq, iretl, lldt, ltr, intn, popf;
} sum;
static uint64_t frame_space[2048];

static void code_targets(unsigned cpl, unsigned rights, unsigned flags, uint16_t sel)
{
    uint64_t land = (uint64_t)seg_land, *frame = frame_space + 1500;
    struct __attribute__((packed)) {
        uint32_t off;
        uint16_t sel;
    } p32 = {(uint32_t)land, sel};
    struct __attribute__((packed)) {
        uint64_t off;
        uint16_t sel;
    } p64 = {land, sel};
    descriptor(rights, flags);
    if ((rights & 0x1f) == 12) { /* a call gate to 08:land */
        gdt[TEST_INDEX] =
            (land & 0xffff) | UINT64_C(8) << 16 | (uint64_t)rights << 40 | (land >> 16 & 0xffff) << 48;
        gdt[TEST_INDEX + 1] = land >> 32;
    }
    uint64_t lo = gdt[TEST_INDEX];
    attempt(&sum.lcall, stub_lcall, cpl, sel, &p32, NULL);
    gdt[TEST_INDEX] = lo;
    attempt(&sum.ljmp, stub_ljmp, cpl, sel, &p32, NULL);
    gdt[TEST_INDEX] = lo;
    attempt(&sum.lcallq, stub_lcallq, cpl, sel, &p64, NULL);
    static const uint16_t stacks[] = {0x40, 0x10, 0};
    for (unsigned s = 0; s < 3; s++) {
        uint64_t ss = stacks[s] | (sel & 3);
        gdt[TEST_INDEX] = lo;
        frame[0] = land, frame[1] = sel, frame[2] = 2, frame[3] = (uint64_t)(frame + 8), frame[4] = ss;
        attempt(&sum.iretq, stub_iretq, cpl, ss, NULL, frame);
        gdt[TEST_INDEX] = lo;
        frame[0] = land, frame[1] = sel, frame[2] = (uint64_t)(frame + 8), frame[3] = ss;
        attempt(&sum.lretq, stub_lretq, cpl, ss, NULL, frame);
    }
    gdt[TEST_INDEX] = lo;
    uint32_t *narrow = (uint32_t *)frame;
    narrow[0] = (uint32_t)land, narrow[1] = sel, narrow[2] = 0x3202;
    narrow[3] = (uint32_t)(uint64_t)(frame + 8), narrow[4] = 0x40 | (sel & 3);
    attempt(&sum.iretl, stub_iretl, cpl, sel, NULL, frame);
}

static void gates(unsigned cpl, unsigned rights)
{
    static const uint16_t targets[] = {0x08, 0x18, 0x3b, 0, 0x28};
    uint64_t land = (uint64_t)seg_land;
    for (unsigned i = 0; i < 5; i++) {
        idt[0x90 * 2] = (land & 0xffff) | (uint64_t)targets[i] << 16 | (uint64_t)rights << 40 |
                        (land >> 16 & 0xffff) << 48;
        idt[0x90 * 2 + 1] = land >> 32;
        attempt(&sum.intn, stub_int, cpl, targets[i], NULL, NULL);
    }
}

static void one_descriptor(unsigned cpl, unsigned rights, uint16_t sel)
{
    static const struct {
        uint64_t *sum;
        char *stub;
    } plain[] = {{&sum.lar, stub_lar},   {&sum.lsl, stub_lsl}, {&sum.verr, stub_verr},
                 {&sum.verw, stub_verw}, {&sum.ds, stub_ds},   {&sum.ss, stub_ss}};
    for (unsigned i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        descriptor(rights, i == 1 ? 4 : 12);
        attempt(plain[i].sum, plain[i].stub, cpl, sel, NULL, NULL);
    }
    for (unsigned flags = 8; flags < 16; flags += 2)
        if ((rights & 16) || flags == 10) code_targets(cpl, rights, flags, sel);
    if (cpl == 0) {
        descriptor(rights, 0);
        attempt(&sum.lldt, stub_lldt, 0, sel, NULL, NULL);
        descriptor(rights, 0);
        attempt(&sum.ltr, stub_ltr, 0, sel, NULL, NULL);
        ((uint8_t *)gdt)[0x2d] = 0x89;
        __asm__ volatile("lldt %w0; ltr %w1" ::"r"(0), "r"(0x28));
    }
    if ((sel & 3) == 0) gates(cpl, rights);
}

int guest_main(void)
{
    for (int v = 0; v < 256; v++)
        set_handler(v, on_any);
    ((uint8_t *)idt)[0x81 * 16 + 5] = ((uint8_t *)idt)[0x82 * 16 + 5] = 0xee;
    for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
        for (unsigned i = 0; i < 32 * 4 * 2 * 4; i++) {
            unsigned type = i >> 5, dpl = i >> 3 & 3, present = i >> 2 & 1, rpl = i & 3;
            one_descriptor(cpl, type | dpl << 5 | present << 7, (uint16_t)(TEST | rpl));
        }
        for (unsigned bit = 0; bit < 22; bit++) {
            if (bit == 8) continue; /* TF has its own tests */
            attempt(&sum.popf, stub_popfq, cpl, UINT64_C(2) | UINT64_C(1) << bit, NULL, NULL);
            attempt(&sum.popf, stub_popfq, cpl, UINT64_C(0x202) | UINT64_C(1) << bit, NULL, NULL);
        }
    }
    print("%d attempts\n", attempts);
    uint32_t r[4];
    cpuid(0, 0, r); /* "Auth...": far pointers have no 64-bit offset there, whatever REX.W says */
    CHECK_EQ(sum.lar, UINT64_C(0x459dce06dc3ee08));
    CHECK_EQ(sum.lsl, UINT64_C(0xea0b436f3da3b0));
    CHECK_EQ(sum.verr, UINT64_C(0x18ba65b0c7d6ea00));
    CHECK_EQ(sum.verw, UINT64_C(0xf256ba89c0ac3780));
    CHECK_EQ(sum.ds, UINT64_C(0x385c692b2d1fe360));
    CHECK_EQ(sum.ss, UINT64_C(0xbccfbeee30311940));
    CHECK_EQ(sum.lcall, UINT64_C(0x3de6fab3b05e1570));
    CHECK_EQ(sum.ljmp, UINT64_C(0xf7a5b6fbe4cf5990));
    CHECK_EQ(sum.lcallq, r[1] == 0x68747541 ? UINT64_C(0x754be885f4bb0400) : UINT64_C(0x7b8ab4e8e5dc94a0));
    CHECK_EQ(sum.iretq, UINT64_C(0x3413caf800cd3050));
    CHECK_EQ(sum.lretq, UINT64_C(0xa85446992749a430));
    CHECK_EQ(sum.iretl, UINT64_C(0x15502827a8d04e10));
    CHECK_EQ(sum.lldt, UINT64_C(0xa144f8bab4aa2460));
    CHECK_EQ(sum.ltr, UINT64_C(0x855ecf47d44a6ec0));
    CHECK_EQ(sum.intn, UINT64_C(0xe44a2e3b3eb30240));
    CHECK_EQ(sum.popf, UINT64_C(0xd332bbe7ef4dd3fc));
    return checks_result("segments");
}
