/* SPDX-License-Identifier: MIT */
/* Multiboot 1 entry (32-bit, flat, paging off) to 64-bit C: 4 GiB identity-mapped with 2 MiB pages, an
 * IDT whose 256 stubs call guest_exception(), a TSS. SDM 3A 9.8.5; Multiboot 0.6.96. */

.set MB_MAGIC, 0x1badb002
.set MB_FLAGS, 0x3 /* page-aligned modules, memory map */

.section .multiboot, "a"
.balign 4
    .long MB_MAGIC, MB_FLAGS, -(MB_MAGIC + MB_FLAGS)

.section .boot, "ax"
.code32
.globl _start
_start:
    cli
    mov $stack_top, %esp
    mov %ebx, multiboot_info
    mov %eax, multiboot_magic
    /* page tables */
    movl $(boot_pdpt + 7), boot_pml4
    mov $boot_pdpt, %edi
    mov $(boot_pd + 7), %eax
    mov $4, %ecx
1:  mov %eax, (%edi)
    add $4096, %eax
    add $8, %edi
    loop 1b
    mov $boot_pd, %edi
    mov $0x87, %eax
    mov $2048, %ecx
1:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 1b
    mov %cr4, %eax
    or $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    rdmsr
    or $0x900, %eax /* LME, NXE */
    wrmsr
    mov %cr0, %eax
    or $0x80010003, %eax /* PG, WP, MP, PE */
    and $~0x4, %eax
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $0x08, $start64

.code64
start64:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $stack_top, %esp
    /* TSS descriptor base, then its stacks */
    mov $tss, %eax
    mov %ax, gdt + 0x28 + 2
    shr $16, %eax
    mov %al, gdt + 0x28 + 4
    mov %ah, gdt + 0x28 + 7
    movq $irq_stack_top, tss + 4  /* RSP0 */
    movq $ist_stack_top, tss + 36 /* IST1 */
    mov $0x28, %eax
    ltr %ax
    /* IDT */
    mov $stub_0, %eax
    mov $idt, %edi
    mov $256, %ecx
1:  mov %ax, (%rdi)
    movw $0x08, 2(%rdi)
    movw $0x8e00, 4(%rdi)
    mov %eax, %edx
    shr $16, %edx
    mov %dx, 6(%rdi)
    movq $0, 8(%rdi)
    add $16, %rdi
    add $16, %eax
    loop 1b
    lidt idt_pointer
    call guest_main
    mov %eax, %edi
    call guest_exit

/* One 16-byte stub a vector: an error code (or 0) and the vector on the stack. */
.balign 16
stub_0:
.set v, 0
.rept 256
    .balign 16
    .if !((v == 8) || (v >= 10 && v <= 14) || (v == 17) || (v == 21))
    push $0
    .endif
    push $v
    jmp stub_common
    .set v, v + 1
.endr

/* struct exception_frame of guest.h, low addresses first: r15..rax, vector, error, rip, cs, rflags, rsp, ss */
stub_common:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %rdi
    cld
    call guest_exception
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

.globl gdt, gdt_pointer, idt, idt_pointer, tss, boot_pml4, boot_pdpt, boot_pd, multiboot_info, multiboot_magic
.globl stack_top, irq_stack_top, ist_stack_top
.data
.balign 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 08h: 64-bit code, CPL 0 */
    .quad 0x00cf93000000ffff /* 10h: data, CPL 0 */
    .quad 0x00cf9b000000ffff /* 18h: 32-bit code, CPL 0 */
    .quad 0x00009b000000ffff /* 20h: 16-bit code, base 0 */
    .quad 0x0000890000000067 /* 28h: TSS (16 bytes) */
    .quad 0
    .quad 0x00affb000000ffff /* 38h: 64-bit code, CPL 3 */
    .quad 0x00cff3000000ffff /* 40h: data, CPL 3 */
    .quad 0x00cffb000000ffff /* 48h: 32-bit code, CPL 3 */
    .quad 0x000093000000ffff /* 50h: 16-bit data, base 0 */
    .fill 8, 8, 0            /* 58h..: for the tests' own descriptors */
gdt_pointer:
    .word . - gdt - 1
    .quad gdt
idt_pointer:
    .word 256 * 16 - 1
    .quad idt
multiboot_info: .long 0
multiboot_magic: .long 0
.bss
.balign 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd: .skip 4 * 4096
idt: .skip 4096
tss: .skip 256
.balign 4096
    .skip 16384
stack_top:
    .skip 8192
irq_stack_top:
    .skip 8192
ist_stack_top:
