/* SPDX-License-Identifier: MIT */
/* Start-up of application processors: a trampoline copied below 1 MiB that goes from real mode to long mode
 * in one step. APIC IDs count from 0 without gaps here. SDM 3A 9.4.4 (start-up by INIT and SIPI), 10.8.5
 * (long mode). */
#include "smp.h"

enum { SVR = 0xf0, ICR = 0x300, ICR_HI = 0x310 };
static const uint64_t APIC = 0xfee00000;

bool x2;
volatile uint32_t starts[SMP_MAX];
static void (*volatile job)(uint32_t);
static volatile uint32_t round_number, done;
uint8_t ap_stacks[SMP_MAX][8192] __attribute__((aligned(16)));

/* The GDTR image stays in the first copy. */
extern const uint8_t trampoline[], trampoline_end[];
__asm__(
    ".pushsection .rodata\n.code16\n.globl trampoline, trampoline_end\n"
    "trampoline: cli; xor %ax, %ax; mov %ax, %ds\n"
    "lgdtl trampoline_gdtr - trampoline + 0x8000\n"
    "mov $0x620, %eax; mov %eax, %cr4; mov $boot_pml4, %eax; mov %eax, %cr3\n"
    "mov $0xc0000080, %ecx; rdmsr; or $0x900, %eax; wrmsr\n"
    "mov %cr0, %eax; and $0x1ffffff3, %eax; or $0x80010023, %eax; mov %eax, %cr0\n"
    "ljmpl $0x08, $ap_start\n"
    "trampoline_gdtr: .word 0x5f; .long gdt\n"
    "trampoline_end:\n.popsection\n"
    ".pushsection .text\n.code64\n"
    "ap_start: mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss; xor %eax, %eax; mov %eax, %fs\n"
    "mov %eax, %gs; mov $0xfee00020, %ecx; mov (%rcx), %edi; shr $24, %edi\n"
    "mov %edi, %esp; inc %esp; shl $13, %esp; add $ap_stacks, %esp; lidt idt_pointer; call ap_main; hlt\n"
    ".popsection\n");

uint32_t locked_add(volatile uint32_t *p, uint32_t v)
{
    __asm__ volatile("lock xaddl %0, %1" : "+r"(v), "+m"(*p)::"memory");
    return v;
}

void send_ipi(uint32_t dest, uint32_t low)
{
    if (x2) {
        wrmsr(0x830, (uint64_t)dest << 32 | low);
        return;
    }
    mmio_write32(APIC + ICR_HI, dest << 24);
    mmio_write32(APIC + ICR, low);
}

void wait_cycles(uint64_t n)
{
    for (uint64_t end = rdtsc() + n; rdtsc() < end;)
        pause();
}

uint32_t processors(void)
{
    __asm__ volatile("outw %0, %1" ::"a"((uint16_t)5), "d"((uint16_t)0x510)); /* fw_cfg */
    uint32_t n = inb(0x511);
    return n | (uint32_t)inb(0x511) << 8;
}

_Noreturn void ap_main(uint32_t id);
_Noreturn void ap_main(uint32_t id)
{
    mmio_write32(APIC + SVR, 0x1ff);
    uint32_t round = round_number;
    locked_add(&starts[id], 1);
    for (;;) {
        while (round_number == round)
            pause();
        round++;
        job(id);
        locked_add(&done, 1);
    }
}

void put_trampoline(uint32_t address)
{
    memcpy((void *)(uintptr_t)address, trampoline, (size_t)(trampoline_end - trampoline));
}

void begin_round(void (*fn)(uint32_t))
{
    job = fn;
    done = 0;
    round_number++;
}

void end_round(uint32_t cpus)
{
    while (done != cpus - 1)
        pause();
}
