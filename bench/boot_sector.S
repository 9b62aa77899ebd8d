/* SPDX-License-Identifier: MIT */
/* Boot sector for peers that cannot load a Multiboot image themselves: reads the flat image behind it (sectors 1..)
 * by INT 13h to 1 MiB and enters it at `entry` as a Multiboot loader would. bench/run fills in sectors and entry. */
.code16
.globl _start
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    mov %dl, drive
    mov $0x2401, %ax
    int $0x15 /* A20 */
    sti
next:
    cmpl $0, sectors
    je done
    mov $packet, %si
    mov $0x42, %ah
    mov drive, %dl
    int $0x13
    jc fail
    /* copy 32 KiB from 1000h:0 up, in protected mode */
    cli
    lgdtl gdtr
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $copy
back16:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    sti
    addl $64, lba
    subl $64, sectors
    jns next
    movl $0, sectors
    jmp next
done:
    cli
    lgdtl gdtr
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $go
fail: hlt
    jmp fail
.code32
copy:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov $0x10000, %esi
    mov target, %edi
    mov $8192, %ecx
    rep movsl
    mov %edi, target
    ljmpl $24, $leave
.code16
leave:
    mov $32, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $0, $back16
.code32
go:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x2badb002, %eax
    xor %ebx, %ebx
    jmp *entry
.balign 4
gdtr: .word 39
    .long gdt
.balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00009b000000ffff, 0x000093000000ffff
packet: .byte 16, 0
    .word 64, 0, 0x1000
lba: .long 1, 0
target: .long 0x100000
drive: .byte 0
.org 500
sectors: .long 0
entry: .long 0
    .word 0
    .word 0xaa55
