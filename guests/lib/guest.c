/* SPDX-License-Identifier: MIT */
/* Runtime of the self-checking guests, see guest.h. */
#include "guest.h"

#include <stdarg.h>

struct caught caught = {.vector = -1};
uint64_t catch_rip, catch_rsp;
int checks_done, checks_failed;
static handler_fn *handlers[256];

void *memset(void *d, int c, size_t n)
{
    void *r = d;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return r;
}

void *memcpy(void *d, const void *s, size_t n)
{
    void *r = d;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
    return r;
}

static void put(char ch) { outb(0x3f8, (uint8_t)ch); }

static void put_number(uint64_t v, unsigned base)
{
    char buf[24];
    int n = 0;
    do {
        buf[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    while (n)
        put(buf[--n]);
}

void print(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    for (const char *p = format; *p; p++) {
        if (*p != '%') {
            put(*p);
            continue;
        }
        bool is_long = *++p == 'l';
        if (is_long) p++;
        switch (*p) {
        case 's':
            for (const char *s = va_arg(ap, const char *); *s; s++)
                put(*s);
            break;
        case 'c': put((char)va_arg(ap, int)); break;
        case 'd': {
            int64_t v = is_long ? va_arg(ap, int64_t) : va_arg(ap, int);
            if (v < 0) put('-');
            put_number(v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10);
            break;
        }
        case 'u': put_number(is_long ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), 10); break;
        case 'x': put_number(is_long ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), 16); break;
        default: put(*p);
        }
    }
    va_end(ap);
}

_Noreturn void guest_exit(int code)
{
    outb(0xf4, (uint8_t)code);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void set_handler(int vector, handler_fn *fn) { handlers[vector & 255] = fn; }

void guest_exception(struct exception_frame *f)
{
    if (handlers[f->vector & 255] && handlers[f->vector & 255](f)) return;
    if (catch_rip) {
        caught = (struct caught){(int)f->vector, f->error, f->rip, READ_CR(2), f->rflags};
        f->rip = catch_rip;
        f->rsp = catch_rsp;
        f->cs = 0x08;
        f->ss = 0x10;
        f->rflags &= ~UINT64_C(0x40100); /* TF, AC */
        catch_rip = 0;
        return;
    }
    print("unexpected exception %lu, error %lx, rip %lx, cr2 %lx\n", f->vector, f->error, f->rip, READ_CR(2));
    guest_exit(0x7f);
}

void check_at(bool ok, const char *file, int line, const char *text)
{
    checks_done++;
    if (ok) return;
    checks_failed++;
    print("FAIL %s:%d: %s\n", file, line, text);
}

int checks_result(const char *name)
{
    print("%s %s: %d checks, %d failed\n", checks_failed ? "FAIL" : "PASS", name, checks_done, checks_failed);
    return checks_failed != 0;
}

bool text_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* Multiboot information: bit 2 of the flags says that offset 16 is the command line. */
extern uint32_t multiboot_info;
const char *guest_variant(void)
{
    static const char name[] = "variant=";
    static char value[32];
    const uint32_t *info = (const uint32_t *)(uintptr_t)multiboot_info;
    const char *p = info && (info[0] & 4) ? (const char *)(uintptr_t)info[4] : "";
    for (; *p; p++) {
        size_t i = 0, n = 0;
        while (name[i] && p[i] == name[i])
            i++;
        if (name[i]) continue;
        for (p += i; *p && *p != ' ' && n + 1 < sizeof value; p++)
            value[n++] = *p;
        value[n] = 0;
        break;
    }
    return value;
}

void rule(bool held, bool expected, const char *text)
{
    print("rule %s: %s\n", held ? "held" : "broken", text);
    checks_done++;
    if (held == expected) return;
    checks_failed++;
    print("FAIL the variant must show it %s\n", expected ? "held" : "broken");
}
