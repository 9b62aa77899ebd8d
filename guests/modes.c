/* SPDX-License-Identifier: MIT */
/* A tour of the processor's modes, from 64-bit mode down to real mode and back: compatibility mode, 32-bit
 * protected mode without paging, 32-bit paging with PSE, PAE paging, real mode (with its interrupt table and
 * segment limits), virtual-8086 mode, a 32-bit task switch, a call gate, SYSCALL, SYSENTER. The 16/32-bit
 * part is one piece of assembly that leaves one word a check in `result`. SDM 3A 9.8, 9.9, ch. 7, 20. */
#include "guest.h"

enum {
    R_PROTECTED,
    R_PSE,
    R_PAE,
    R_PAE_NX,
    R_REAL,
    R_REAL_INT,
    R_REAL_LIMIT,
    R_UNREAL,
    R_V86,
    R_V86_INT,
    R_V86_GP,
    R_TASK,
    R_GATE,
    R_BCD,
    R_COUNT
};
volatile uint32_t result[32];
uint32_t pd32[1024] __attribute__((aligned(4096)));
uint64_t pae_pdpt[4] __attribute__((aligned(32)));
uint64_t pae_pd[4][512] __attribute__((aligned(4096)));
uint8_t tss_a[128] __attribute__((aligned(128))), tss_b[128] __attribute__((aligned(128)));
uint8_t small_stack[3][4096] __attribute__((aligned(16)));
uint64_t legacy_idt[64] __attribute__((aligned(16)));
struct __attribute__((packed)) {
    uint16_t limit;
    uint32_t base;
} legacy_idtr = {sizeof legacy_idt - 1, 0};

void legacy_tour(void);
/* The real-mode part is copied to 8000h; its symbols are relative to real_start. */
__asm__(
    ".pushsection .text\n"
    ".code64\n"
    ".globl legacy_tour\n"
    "legacy_tour:\n"
    "    push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; pushfq\n"
    "    mov %rsp, saved_rsp\n"
    "    mov $real_start, %esi; mov $0x8000, %edi; mov $(real_end - real_start), %ecx; rep movsb\n"
    "    pushq $0x18; mov $1f, %eax; push %rax; lretq\n"
    ".code32\n"
    "1:  mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n" /* paging off */
    "    mov $0xc0000080, %ecx; rdmsr; and $~0x100, %eax; wrmsr\n"
    "    mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss\n"
    "    movl $0x11, result + 4 * 0\n" /* R_PROTECTED */
    /* 32-bit paging with 4 MiB pages */
    "    mov %cr4, %eax; mov %eax, saved_cr4; and $~0x20, %eax; or $0x10, %eax; mov %eax, %cr4\n"
    "    mov $pd32, %eax; mov %eax, %cr3\n"
    "    mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0; jmp 2f\n"
    "2:  movl $0x5a5a1234, pse_word\n"
    "    mov pse_word + 0x40000000, %eax\n" /* alias through a second 4 MiB entry */
    "    mov %eax, result + 4 * 1\n"
    "    mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0; jmp 2f\n"
    "2:\n"
    /* PAE */
    "    mov saved_cr4, %eax; or $0x20, %eax; mov %eax, %cr4\n"
    "    mov $pae_pdpt, %eax; mov %eax, %cr3\n"
    "    mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0; jmp 2f\n"
    "2:  movl $0x7654, pse_word\n"
    "    mov pse_word + 0x40000000, %eax; mov %eax, result + 4 * 2\n"
    /* 32-bit IDT: #PF, #GP, #UD */
    "    sidtl saved_idtr\n"
    "    mov $on_pf32, %eax; mov $0x18, %ecx; mov $legacy_idt + 14 * 8, %edi; call set_gate\n"
    "    mov $on_gp32, %eax; mov $legacy_idt + 13 * 8, %edi; call set_gate\n"
    "    mov $on_int32, %eax; mov $legacy_idt + 0x20 * 8, %edi; call set_gate\n"
    "    movb $0xee, legacy_idt + 0x20 * 8 + 5\n" /* DPL 3 */
    "    movl $legacy_idt, legacy_idtr + 2; lidtl legacy_idtr\n"
    "    mov %esp, %ebx; movl $2f, pf_resume\n"
    "    mov $0x40000000, %eax; add $pse_code, %eax; call *%eax\n" /* the alias is no-execute */
    "2:  mov %ebx, %esp\n"
    "    mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0; jmp 2f\n"
    "2:\n"
    /* decimal arithmetic exists only here */
    "    mov $0x38, %al; add $0x45, %al; daa; movzbl %al, %ebx\n"
    "    mov $0x0105, %eax; aad; shl $8, %ebx; mov %al, %bl; mov %ebx, result + 4 * 13\n"
    /* call gate (5Bh is free: selector 60h) to a 32-bit routine with two parameters, CPL 0 to 0 */
    "    mov $gate_target, %eax; mov %ax, gdt + 0x60; movw $0x18, gdt + 0x62; movw $0x8c00, gdt + 0x64\n"
    "    shr $16, %eax; mov %ax, gdt + 0x66\n"
    "    lcall $0x60, $0\n"
    /* task switch by far call: tss_a (current) to tss_b and back by IRET */
    "    mov $tss_a, %eax; mov $gdt + 0x68, %edi; call set_tss\n"
    "    mov $tss_b, %eax; mov $gdt + 0x70, %edi; call set_tss\n"
    "    movl $task_b, tss_b + 32; movl $2, tss_b + 36; movl $(small_stack + 4096), tss_b + 56\n"
    "    movl $0x10, tss_b + 72; movl $0x18, tss_b + 76; movl $0x10, tss_b + 80; movl $0x10, tss_b + 84\n"
    "    movl $0x10, tss_b + 88; movl $0x10, tss_b + 92; movl $0x77, tss_b + 40; movl $0x680000, tss_b + "
    "100\n"
    "    mov $0x68, %eax; ltr %ax\n"
    "    mov $0x1111, %eax; lcall $0x70, $0\n"
    "    cmp $0x1111, %eax; jne 3f\n"
    "    mov task_word, %eax; mov %eax, result + 4 * 11\n"
    "3:\n"
    /* virtual-8086 mode: ring-0 stack from tss_a */
    "    movl $(small_stack + 8192), tss_a + 4; movl $0x10, tss_a + 8; movw $104, tss_a + 102\n"
    "    mov %esp, v86_esp\n"
    "    pushl $0; pushl $0; pushl $0x800; pushl $0x800; pushl $0x800; pushl $0x7000\n" /* GS FS DS ES SS SP
                                                                                         */
    "    pushl $0x23002\n"                                                              /* VM, IOPL 3 */
    "    pushl $0x800; pushl $(v86_start - real_start); iret\n"
    "v86_done:\n"
    "    mov v86_esp, %esp; mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss\n"
    /* real mode */
    "    ljmp $0x20, $(0x8000 + real16 - real_start)\n"
    "back32:\n"
    "    mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov $(small_stack + 12288), %esp\n"
    /* up again */
    "    mov saved_cr4, %eax; mov %eax, %cr4; mov $boot_pml4, %eax; mov %eax, %cr3\n"
    "    mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr\n"
    "    mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
    "    ljmp $0x08, $1f\n"
    ".code64\n"
    "1:  lidt idt_pointer\n"
    "    andb $0xfd, gdt + 0x2d; mov $0x28, %eax; ltr %ax\n" /* not busy, load the 64-bit TSS again */
    "    mov saved_rsp, %rsp; popfq; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "    ret\n"
    ".code32\n"
    "set_gate: mov %ax, (%edi); mov %cx, 2(%edi); movw $0x8e00, 4(%edi); shr $16, %eax; mov %ax, 6(%edi); "
    "ret\n"
    "set_tss: movw $103, (%edi); mov %ax, 2(%edi); shr $16, %eax; mov %al, 4(%edi); movb $0x89, 5(%edi);\n"
    "    movb $0, 6(%edi); mov %ah, 7(%edi); ret\n"
    "gate_target: movl $0x6a7e, result + 4 * 12; lret\n"
    "task_b: add $1, %eax; mov %eax, task_word; pushf; pop %eax; shl $16, %eax; or %eax, task_word; iret; "
    "jmp task_b\n"
    "on_pf32: pop %eax; mov %eax, result + 4 * 3; mov pf_resume, %eax; mov %eax, (%esp); iret\n"
    "on_int32: movl $0x20, %ss:result + 4 * 9; iret\n"
    "on_gp32:\n" /* from virtual-8086 mode: HLT there, error code 0; the way out */
    "    mov $0x10, %eax; mov %eax, %ds; pop %eax; or $0x1d0000, %eax; mov %eax, result + 4 * 10\n"
    "    mov 8(%esp), %eax; shr $17, %eax; and $1, %eax; or $0x860, %eax; mov %eax, result + 4 * 8\n"
    "    jmp v86_done\n"
    "pse_code: ret\n"
    ".code16\n"
    "real_start:\n"
    "real16:\n" /* 16-bit protected first: load real-mode-like segments, then PE off */
    "    mov $0x50, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss\n"
    "    mov %cr0, %eax; and $~1, %eax; mov %eax, %cr0\n"
    "    ljmp $0, $(0x8000 + 1f - real_start)\n"
    "1:  xor %ax, %ax; mov %ax, %ds; mov %ax, %ss; mov $0x7000, %sp; mov $0x10, %ax; mov %ax, %es\n"
    "    lidtl %cs:(0x8000 + ivt_ptr - real_start)\n"
    "    movw $(0x8000 + real_int - real_start), 0x30 * 4; movw $0, 0x30 * 4 + 2\n"
    "    movw $(0x8000 + real_gp - real_start), 13 * 4; movw $0, 13 * 4 + 2\n"
    "    movw $0x1234, %es:0x7100 - 0x100\n" /* 10h:7000h is 7100h */
    "    mov 0x7100, %ax; mov %ax, %bx\n"
    "    int $0x30\n"                               /* CX = 55h */
    "    xor %edx, %edx; mov $0xffff, %si; lodsw\n" /* a word at the segment's last byte: #GP */
    "    mov %edx, %edi\n"
    /* unreal mode: a 4 GiB limit loaded in protected mode stays in real mode */
    "    mov %cr0, %eax; or $1, %al; mov %eax, %cr0; mov $0x10, %cx; mov %cx, %fs; and $~1, %al; mov %eax, "
    "%cr0\n"
    "    xor %cx, %cx; mov %cx, %fs\n"
    "    mov $0x100000, %eax; mov %fs:(%eax), %ebp\n"
    "    mov %cr0, %eax; or $1, %al; mov %eax, %cr0; ljmpl $0x18, $1f\n"
    ".code32\n"
    "1:  mov $0x10, %eax; mov %eax, %ds\n"
    "    movzwl %bx, %ebx; mov %ebx, result + 4 * 4\n"
    "    mov 0x7200, %eax; mov %eax, result + 4 * 5; mov %edi, result + 4 * 6; mov %ebp, result + 4 * 7\n"
    "    jmp back32\n"
    ".code16\n"
    "real_int: movl $0x55, 0x7200; iret\n"
    "real_gp: mov $0xd, %edx; push %bp; mov %sp, %bp; addw $1, 2(%bp); pop %bp; iret\n"
    "ivt_ptr: .word 0x3ff; .long 0\n"
    "v86_start:\n" /* CS = 800h */
    "    int $0x20\n"
    "    cli; sti\n" /* IOPL 3: allowed */
    "    hlt\n"      /* #GP(0) */
    "real_end:\n"
    ".code64\n"
    ".popsection\n"
    ".pushsection .data\n"
    "saved_rsp: .quad 0\nsaved_cr4: .long 0\npse_word: .long 0\npf_resume: .long 0\ntask_word: .long 0\n"
    "v86_esp: .long 0\nsaved_idtr: .quad 0, 0\n"
    ".popsection\n");

static volatile uint64_t syscall_seen;
static void system_calls(void)
{
    /* SYSCALL from CPL 3; R11 and RCX carry RFLAGS and RIP. */
    wrmsr(0xc0000081, UINT64_C(0x08) << 32);
    wrmsr(0xc0000084, 0x200);
    uint64_t efer = rdmsr(0xc0000080);
    CATCH("syscall" ::: "rcx", "r11");
    CHECK_EQ(caught.vector, 6); /* EFER.SCE = 0 */
    wrmsr(0xc0000080, efer | 1);
    uint64_t flags;
    __asm__ volatile(
        "lea 1f(%%rip), %%rax; mov %%eax, %%ecx; xor %%edx, %%edx; mov %%rsp, %%r8;"
        "push %%rcx; mov $0xc0000082, %%ecx; wrmsr; pop %%rcx;"
        "pushq $0x43; push %%r8; pushq $0x202; pushq $0x3b; lea 2f(%%rip), %%rax; push %%rax; iretq;"
        "2: syscall; nop;"
        "1: mov %%r11, %0; mov %%rcx, syscall_rip; mov %%r8, %%rsp; lea 2b(%%rip), %%rax; add $2, %%rax;"
        "sub %%rax, %%rcx; mov %%rcx, syscall_rip"
        : "=r"(flags)::"rax", "rcx", "rdx", "r8", "r11", "memory", "cc");
    extern uint64_t syscall_rip;
    CHECK_EQ(flags & 0x200, 0x200);
    CHECK_EQ(syscall_rip, 0);
    CHECK_EQ(read_rflags() & 0x200, 0);
    uint16_t cs, ss;
    __asm__ volatile("mov %%cs, %0; mov %%ss, %1" : "=r"(cs), "=r"(ss));
    CHECK_EQ(cs, 0x08);
    CHECK_EQ(ss, 0x10);
    wrmsr(0xc0000080, efer);
}
uint64_t syscall_rip;

static void compatibility_mode(void)
{
    /* A far call to 32-bit code in long mode: 32-bit operand size, no REX, and back. */
    uint32_t eax;
    __asm__ volatile(
        "lea 2f(%%rip), %%rax; push %%rax; pushq $0x18; lea 1f(%%rip), %%rax; movl %%eax, 0x7300;"
        "movw $0x18, 0x7304; add $8, %%rsp; lcall *0x7300; jmp 3f;"
        ".code32; 1: mov $0x12345678, %%eax; inc %%eax; .byte 0x40; lret; .code64; 2: 3: add $8, %%rsp"
        : "=a"(eax)::"memory", "cc");
    CHECK_EQ(eax, 0x1234567a); /* INC twice: 40h is INC EAX here, not REX */
}

int guest_main(void)
{
    for (int i = 0; i < 1024; i++)
        pd32[i] = (uint32_t)i << 22 | 0x87;
    pd32[256] = 0x87; /* 1 GiB maps to 0 */
    for (int i = 0; i < 4; i++) {
        pae_pdpt[i] = (uintptr_t)pae_pd[i] | 1;
        for (int j = 0; j < 512; j++)
            pae_pd[i][j] = ((uint64_t)i << 30 | (uint64_t)j << 21) | 0x87;
    }
    pae_pd[1][0] = UINT64_C(1) << 63 | 0x87; /* 1 GiB maps to 0, no-execute */
    compatibility_mode();
    system_calls();
    legacy_tour();
    CHECK_EQ(result[R_PROTECTED], 0x11);
    CHECK_EQ(result[R_PSE], 0x5a5a1234);
    CHECK_EQ(result[R_PAE], 0x7654);
    CHECK_EQ(result[R_PAE_NX], 0x11); /* P and I/D */
    CHECK_EQ(result[R_REAL], 0x1234);
    CHECK_EQ(result[R_REAL_INT], 0x55);
    CHECK_EQ(result[R_REAL_LIMIT], 0xd);
    CHECK_EQ(result[R_UNREAL], 0x1badb002); /* the Multiboot header at 1 MiB */
    CHECK_EQ(result[R_V86_INT], 0x20);
    CHECK_EQ(result[R_V86_GP], 0x1d0000);
    CHECK_EQ(result[R_V86], 0x861);
    CHECK_EQ(result[R_TASK], 0x40060078); /* NT set in the called task, EAX came from its TSS */
    CHECK_EQ(result[R_GATE], 0x6a7e);
    CHECK_EQ(result[R_BCD], 0x830f);
    return checks_result("modes");
}
