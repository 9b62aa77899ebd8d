/* SPDX-License-Identifier: MIT */
/* Every exception that software can raise in 64-bit mode: vector, error code, return address, CR2, DR6; the
 * interrupt shadow; single step; instruction and data breakpoints; the order of #UD, #GP and others.
 * SDM 3A ch. 6, 3B ch. 18. */
#include "guest.h"

static uint8_t page[8192] __attribute__((aligned(4096)));
static volatile uint64_t word;

static void faults(void)
{
    CATCH("ud2");
    CHECK_EQ(caught.vector, 6);
    CATCH("xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx" ::: "rax", "rcx", "rdx");
    CHECK_EQ(caught.vector, 0);
    CATCH("mov $0x80000000, %%eax; cltd; mov $-1, %%ecx; idiv %%ecx" ::: "rax", "rcx", "rdx");
    CHECK_EQ(caught.vector, 0);
    CATCH("int3");
    CHECK_EQ(caught.vector, 3);
    CATCH("int $0x80");
    CHECK_EQ(caught.vector, 0x80);
    CATCH("mov %0, %%ds" ::"r"(0x1000));
    CHECK_EQ(caught.vector, 13);
    CHECK_EQ(caught.error, 0x1000);
    CATCH("mov (%0), %%rax" ::"r"(UINT64_C(0x800000000000)) : "rax");
    CHECK_EQ(caught.vector, 13);
    CHECK_EQ(caught.error, 0);
    caught.vector = -1;
    __asm__ volatile("lea 2f(%%rip), %%rax; mov %%rax, catch_rip; mov %%rsp, catch_rsp; mov %%rbp, %%r11;"
                     "mov %0, %%rbp; mov (%%rbp), %%rax; 2: mov %%r11, %%rbp; movq $0, catch_rip" ::"r"(
                         UINT64_C(0x800000000000))
                     : "rax", "r11", "memory");
    CHECK_EQ(caught.vector, 12);
    CATCH("mov %0, %%cr3" ::"r"(UINT64_C(1) << 63));
    CHECK_EQ(caught.vector, 13);
    CATCH("wrmsr" ::"c"(0x12345), "a"(0), "d"(0));
    CHECK_EQ(caught.vector, 13);
    CATCH("mov %0, %%cr8" ::"r"(UINT64_C(16)));
    CHECK_EQ(caught.vector, 13);
    CATCH(".byte 0xf0, 0x90"); /* LOCK NOP */
    CHECK_EQ(caught.vector, 6);
    CATCH(".byte 0x06"); /* PUSH ES is not in 64-bit mode */
    CHECK_EQ(caught.vector, 6);
    CATCH("movaps (%0), %%xmm0" ::"r"(page + 1));
    CHECK_EQ(caught.vector, 13);
    CATCH(".rept 14; .byte 0x66; .endr; nop");
    CHECK_EQ(caught.vector, -1);
    CATCH(".rept 15; .byte 0x66; .endr; nop");
    CHECK_EQ(caught.vector, 13);
    /* #NM by CR0.TS, #UD by CR0.EM for SSE */
    uint64_t cr0 = READ_CR(0);
    WRITE_CR(0, cr0 | 8);
    CATCH("fnop");
    CHECK_EQ(caught.vector, 7);
    CATCH("movups (%0), %%xmm0" ::"r"(page));
    CHECK_EQ(caught.vector, 7);
    WRITE_CR(0, (cr0 | 4) & ~UINT64_C(8));
    CATCH("movups (%0), %%xmm0" ::"r"(page));
    CHECK_EQ(caught.vector, 6);
    WRITE_CR(0, cr0);
}

static void page_faults(void)
{
    uint64_t *pd = boot_pd;
    uint64_t a = 0x40000000; /* 1 GiB: use its 2 MiB entry */
    uint64_t old = pd[512];
    pd[512] = 0;
    __asm__ volatile("invlpg (%0)" ::"r"(a) : "memory");
    CATCH("mov (%0), %%rax" ::"r"(a + 0x123) : "rax");
    CHECK_EQ(caught.vector, 14);
    CHECK_EQ(caught.error, 0);
    CHECK_EQ(caught.cr2, a + 0x123);
    CATCH("movb $1, (%0)" ::"r"(a + 0x456));
    CHECK_EQ(caught.error, 2);
    pd[512] = (uint64_t)(uintptr_t)0x200000 | 0x81; /* read-only */
    __asm__ volatile("invlpg (%0)" ::"r"(a) : "memory");
    CATCH("movb $1, (%0)" ::"r"(a));
    CHECK_EQ(caught.error, 3);
    pd[512] |= UINT64_C(1) << 63;
    __asm__ volatile("invlpg (%0)" ::"r"(a) : "memory");
    CATCH("call *%0" ::"r"(a));
    CHECK_EQ(caught.vector, 14);
    CHECK_EQ(caught.error, 0x11);
    pd[512] = 0x200081 | UINT64_C(1) << 51; /* reserved: beyond MAXPHYADDR where it is below 52 */
    __asm__ volatile("invlpg (%0)" ::"r"(a) : "memory");
    uint32_t r[4];
    cpuid(0x80000008, 0, r);
    if ((r[0] & 255) < 52) {
        CATCH("mov (%0), %%rax" ::"r"(a) : "rax");
        CHECK_EQ(caught.vector, 14);
        CHECK_EQ(caught.error, 9);
    }
    pd[512] = old;
    __asm__ volatile("invlpg (%0)" ::"r"(a) : "memory");
}

static volatile int db_count;
static volatile uint64_t db_rip[8], db_dr6[8];
static bool on_db(struct exception_frame *f)
{
    uint64_t dr6;
    __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
    if (db_count < 8) {
        db_rip[db_count] = f->rip;
        db_dr6[db_count] = dr6;
    }
    db_count++;
    __asm__ volatile("mov %0, %%dr6" ::"r"(UINT64_C(0xffff0ff0)));
    f->rflags |= 0x10000; /* RF: past an instruction breakpoint */
    if (db_count >= 4) f->rflags &= ~UINT64_C(0x100);
    return true;
}

static void debug(void)
{
    set_handler(1, on_db);
    db_count = 0;
    uint64_t start;
    __asm__ volatile("lea 1f(%%rip), %0; pushfq; orq $0x100, (%%rsp); popfq; 1: nop; nop; nop; nop; nop"
                     : "=&r"(start)::"memory", "cc");
    CHECK_EQ(db_count, 4);
    CHECK_EQ(db_rip[0], start + 1);
    CHECK_EQ(db_rip[3], start + 4);
    CHECK_EQ(db_dr6[0] & 0x4000, 0x4000);
    /* data breakpoint: a trap behind the write */
    db_count = 0;
    __asm__ volatile("mov %0, %%dr0" ::"r"(&word));
    __asm__ volatile("mov %0, %%dr7" ::"r"(UINT64_C(0x400) | 1 | 1 << 16 | 2 << 18));
    __asm__ volatile("lea 1f(%%rip), %0; movq $5, %1; 1: nop" : "=&r"(start), "=m"(word)::"memory");
    CHECK_EQ(db_count, 1);
    CHECK_EQ(db_rip[0], start);
    CHECK_EQ(db_dr6[0] & 15, 1);
    /* instruction breakpoint: a fault before it */
    db_count = 0;
    __asm__ volatile("lea 1f(%%rip), %0; mov %0, %%dr1; mov %1, %%dr7; nop; 1: nop; nop"
                     : "=&r"(start)
                     : "r"(UINT64_C(0x400) | 4)
                     : "memory");
    CHECK_EQ(db_count, 1);
    CHECK_EQ(db_rip[0], start);
    CHECK_EQ(db_dr6[0] & 15, 2);
    /* general detect */
    db_count = 0;
    __asm__ volatile("mov %0, %%dr7" ::"r"(UINT64_C(0x2400)));
    __asm__ volatile("mov %%dr7, %%rax" ::: "rax", "memory");
    CHECK_EQ(db_count, 1);
    CHECK_EQ(db_dr6[0] & 0x2000, 0x2000);
    __asm__ volatile("mov %0, %%dr7" ::"r"(UINT64_C(0x400)));
    /* ICEBP */
    db_count = 0;
    __asm__ volatile(".byte 0xf1");
    CHECK_EQ(db_count, 1);
    set_handler(1, NULL);
}

/* MOV SS holds a single-step trap back until the instruction after the next. */
static void shadow(void)
{
    set_handler(1, on_db);
    db_count = 3; /* the next #DB clears TF */
    uint64_t start;
    __asm__ volatile("mov %%ss, %%ecx; lea 1f(%%rip), %0; pushfq; orq $0x100, (%%rsp); popfq;"
                     "1: mov %%ecx, %%ss; nop; nop"
                     : "=&r"(start)::"memory", "cc", "rcx");
    CHECK_EQ(db_count, 4);
    CHECK_EQ(db_rip[3], start + 3);
    set_handler(1, NULL);
}

static void user_mode(void)
{
    /* CPL 3 by IRET; CLI there is #GP(0), and the stack comes from the TSS. */
    static uint8_t user_stack[4096] __attribute__((aligned(16)));
    uint64_t kernel_rsp;
    caught.vector = -1;
    __asm__ volatile("lea 2f(%%rip), %%rax; mov %%rax, catch_rip; mov %%rsp, catch_rsp; mov %%rsp, %0;"
                     "pushq $0x43; pushq %1; pushfq; pushq $0x3b; lea 1f(%%rip), %%rax; pushq %%rax; iretq;"
                     "1: cli; 2: movq $0, catch_rip"
                     : "=m"(kernel_rsp)
                     : "r"(user_stack + sizeof user_stack)
                     : "rax", "memory", "cc");
    CHECK_EQ(caught.vector, 13);
    CHECK_EQ(caught.error, 0);
    (void)kernel_rsp;
}

int guest_main(void)
{
    faults();
    page_faults();
    debug();
    shadow();
    user_mode();
    return checks_result("exceptions");
}
