/* SPDX-License-Identifier: MIT */
/* The guest of the small KVM program beside it (vmm.c): starts in real mode at 0:1000h and climbs
 * through protected to long mode, checking itself on the way. SDM 3A 9.9, 9.8.5.
 *   port E9h  one character of text for the VMM's console
 *   port 10h  read: the VMM answers 5Ah (byte), BEEFh (word), CAFEF00Dh (dword)
 *   D0000000h MMIO: reads give what was last written, inverted
 *   port F4h  write: verdict, 0 is success, otherwise the number of the step that failed */

.set MMIO, 0xd0000000
.set PML4, 0x10000
.set PDPT, 0x11000
.set PD,   0x12000 /* four pages: 0..4 GiB in 2 MiB pages */
.set IDT,  0x17000

.macro SAY text
    .pushsection .rodata.text, "a"
771: .asciz "\text\n"
    .popsection
    mov $771b, %esi
    call say
.endm

.section .text
.code16
.globl guest_start
guest_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0xf000, %sp
    mov $real_text, %si
1:  lodsb
    test %al, %al
    jz 2f
    out %al, $0xe9
    jmp 1b
2:  /* step 1: port input in three sizes */
    mov $1, %ebp
    in $0x10, %al
    cmp $0x5a, %al
    jne fail16
    in $0x10, %ax
    cmp $0xbeef, %ax
    jne fail16
    in $0x10, %eax
    cmp $0xcafef00d, %eax
    jne fail16
    /* step 2: an interrupt through the real-mode vector table */
    mov $2, %ebp
    movw $real_handler, 0x21 * 4
    movw $0, 0x21 * 4 + 2
    mov $0x1234, %ax
    int $0x21
    cmp $0x4321, %ax
    jne fail16
    lgdtl gdt_ptr
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $0x08, $protected

real_handler:
    mov $0x4321, %ax
    iret
fail16:
    mov %bp, %ax
    out %al, $0xf4
    hlt
    jmp fail16
real_text: .asciz "real mode\n"

.code32
protected:
    mov $0x10, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0xf000, %esp
    SAY "protected mode"
    /* step 3: MMIO in all sizes */
    mov $3, %ebp
    movl $0x12345678, MMIO
    mov MMIO, %eax
    cmp $~0x12345678, %eax
    jne fail32
    movw $0xa55a, MMIO + 8
    movzwl MMIO + 8, %eax
    cmp $0x5aa5, %eax
    jne fail32
    movb $0x0f, MMIO + 16
    movzbl MMIO + 16, %eax
    cmp $0xf0, %eax
    jne fail32
    SAY "MMIO answers"
    /* page tables */
    mov $PML4, %edi
    xor %eax, %eax
    mov $(0x6000 / 4), %ecx
    rep stosl
    movl $(PDPT + 3), PML4
    mov $(PD + 3), %eax
    mov $PDPT, %edi
    mov $4, %ecx
1:  mov %eax, (%edi)
    add $0x1000, %eax
    add $8, %edi
    loop 1b
    mov $PD, %edi
    mov $0x83, %eax
    mov $2048, %ecx
1:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 1b
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    mov $PML4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    ljmp $0x18, $long_mode

fail32:
    mov %ebp, %eax
    out %al, $0xf4
    hlt
    jmp fail32
say:
1:  lodsb
    test %al, %al
    jz 2f
    out %al, $0xe9
    jmp 1b
2:  ret

.code64
.macro SAY64 text
    .pushsection .rodata.text, "a"
772: .asciz "\text\n"
    .popsection
    mov $772b, %esi
    call say64
.endm
.macro GATE vector, handler
    mov $\handler, %eax
    mov %ax, IDT + \vector * 16
    movw $0x18, IDT + \vector * 16 + 2
    movw $0x8e00, IDT + \vector * 16 + 4
    shr $16, %eax
    mov %ax, IDT + \vector * 16 + 6
    movq $0, IDT + \vector * 16 + 8
.endm
long_mode:
    mov $0x10, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0xf000, %esp
    SAY64 "long mode"
    GATE 6, on_ud
    GATE 14, on_pf
    GATE 0x30, on_irq
    lidt idt_ptr
    /* step 4: CPUID exits and answers */
    mov $4, %ebp
    xor %eax, %eax
    cpuid
    test %eax, %eax
    jz fail64
    mov $1, %eax
    cpuid
    test $1, %edx /* FPU */
    jz fail64
    SAY64 "CPUID answers"
    /* step 5: the guest's own exceptions */
    mov $5, %ebp
    xor %r12d, %r12d
    ud2
    cmp $6, %r12d
    jne fail64
    mov $0x7f0000000000, %rbx
    mov (%rbx), %rax
    cmp $14, %r12d
    jne fail64
    mov %cr2, %rax
    cmp %rbx, %rax
    jne fail64
    SAY64 "exceptions handled"
    /* step 6: MMIO by string instruction, and a read-modify-write */
    mov $6, %ebp
    mov $MMIO, %edi
    movq $0, (%rdi)
    notl (%rdi) /* reads ~0, writes 0 */
    mov (%rdi), %eax
    cmp $-1, %eax
    jne fail64
    /* step 7: HLT, and the interrupt that the VMM injects then */
    mov $7, %ebp
    xor %r13d, %r13d
    SAY64 "halting for interrupt 30h"
    sti
    hlt
    cli
    cmp $1, %r13d
    jne fail64
    SAY64 "interrupt 30h arrived"
    xor %ebp, %ebp
fail64:
    mov %ebp, %eax
    out %al, $0xf4
    hlt
    jmp fail64
say64:
1:  lodsb
    test %al, %al
    jz 2f
    out %al, $0xe9
    jmp 1b
2:  ret
on_ud:
    mov $6, %r12d
    addq $2, (%rsp)
    iretq
on_pf:
    mov $14, %r12d
    add $8, %rsp
    addq $3, (%rsp)
    iretq
on_irq:
    inc %r13d
    iretq

.balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff /* 08h: 32-bit code */
    .quad 0x00cf93000000ffff /* 10h: data */
    .quad 0x00af9b000000ffff /* 18h: 64-bit code */
gdt_ptr:
    .word . - gdt - 1
    .long gdt
idt_ptr:
    .word 0x31 * 16 - 1
    .quad IDT
