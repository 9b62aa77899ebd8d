/* SPDX-License-Identifier: MIT */
/* Runtime of the self-checking guests: 64-bit freestanding C, identity-mapped, no interrupts unless asked.
 * A guest prints to COM1 and port E9h, and leaves through isa-debug-exit (port F4h): 0 when every check
 * held. Where no such device exists it halts. */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exception_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* What the last caught exception was; see TRY. */
struct caught {
    int vector; /* -1: none */
    uint64_t error, rip, cr2, rflags;
};
extern struct caught caught;

int guest_main(void); /* each program's own; the return value is the exit code */
_Noreturn void guest_exit(int code);
void guest_exception(struct exception_frame *f);

/* Handler for a vector; NULL takes it back. Returns true: handled, resume at f. */
typedef bool handler_fn(struct exception_frame *f);
void set_handler(int vector, handler_fn *fn);

void print(const char *format, ...) __attribute__((format(printf, 1, 2))); /* %s %c %d %u %x %lx %% */

/* CHECK counts, prints the failing line, and goes on; checks_result() is the exit code. */
extern int checks_done, checks_failed;
void check_at(bool ok, const char *file, int line, const char *text);
#define CHECK(x) check_at((x), __FILE__, __LINE__, #x)
#define CHECK_EQ(a, b)                                        \
    do {                                                      \
        uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b);      \
        check_at(a_ == b_, __FILE__, __LINE__, #a " == " #b); \
        if (a_ != b_) print("    %lx is not %lx\n", a_, b_);  \
    } while (0)
int checks_result(const char *name);

/* The value of "variant=" on the command line, "" without it. */
const char *guest_variant(void);
/* One line "rule held: ..." or "rule broken: ..." for `undervisor scenario`, and a check that it is as the
 * variant must show it. */
void rule(bool held, bool expected, const char *text);
bool text_equal(const char *a, const char *b);

/* Runs one asm statement (a string and its operands); afterwards caught.vector tells what it raised. The
 * handler resumes behind the statement. */
#define CATCH(...)                                                                               \
    do {                                                                                         \
        caught.vector = -1;                                                                      \
        __asm__ volatile("lea 771f(%%rip), %%rax; mov %%rax, catch_rip; mov %%rsp, catch_rsp" :: \
                             : "rax", "memory");                                                 \
        __asm__ volatile(__VA_ARGS__);                                                           \
        __asm__ volatile("771: movq $0, catch_rip" ::: "memory", "cc");                          \
    } while (0)
extern uint64_t catch_rip, catch_rsp;

static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port)); }
static inline uint64_t rdmsr(uint32_t index)
{
    uint32_t lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(index));
    return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t index, uint64_t v)
{
    __asm__ volatile("wrmsr" ::"c"(index), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}
static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}
#define READ_CR(n)                                         \
    ({                                                     \
        uint64_t v_;                                       \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_)); \
        v_;                                                \
    })
#define WRITE_CR(n, v) __asm__ volatile("mov %0, %%cr" #n ::"r"((uint64_t)(v)) : "memory")
static inline uint64_t read_rflags(void)
{
    uint64_t f;
    __asm__ volatile("pushfq; pop %0" : "=r"(f));
    return f;
}
static inline void mmio_write32(uint64_t a, uint32_t v) { *(volatile uint32_t *)a = v; }
static inline uint32_t mmio_read32(uint64_t a) { return *(volatile uint32_t *)a; }

extern uint64_t gdt[], boot_pml4[], boot_pdpt[], boot_pd[], idt[];
extern uint8_t tss[], stack_top[], irq_stack_top[], ist_stack_top[];
extern struct __attribute__((packed)) dt_pointer {
    uint16_t limit;
    uint64_t base;
} gdt_pointer, idt_pointer;

void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);

#endif
