/* SPDX-License-Identifier: MIT */
/* AML encoding: names (ACPI 6.5 20.2.2), data objects (20.2.3), package length (20.2.4), named objects
 * (20.2.5.2), resource descriptors (6.4). */
#include "machine/boot/aml.h"

#include <string.h>

#include "machine/boot/le.h"

void aml_begin(struct aml *a, uint8_t *buffer, uint32_t capacity)
{
    *a = (struct aml){.data = buffer, .capacity = capacity};
}

void aml_byte(struct aml *a, uint8_t v)
{
    if (a->size == a->capacity)
        a->overflow = true;
    else
        a->data[a->size++] = v;
}

static void aml_le(struct aml *a, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        aml_byte(a, (uint8_t)(v >> 8 * i));
}

static void segment(struct aml *a, const char *s, size_t n)
{
    for (size_t i = 0; i < 4; i++)
        aml_byte(a, (uint8_t)(i < n ? s[i] : '_'));
}

void aml_path(struct aml *a, const char *path)
{
    if (*path == '\\') aml_byte(a, (uint8_t)*path++);
    while (*path == '^')
        aml_byte(a, (uint8_t)*path++);
    unsigned count = *path != 0;
    for (const char *p = path; *p; p++)
        count += *p == '.';
    if (count == 0) aml_byte(a, 0);
    if (count == 2) aml_byte(a, 0x2e);
    if (count > 2) {
        aml_byte(a, 0x2f);
        aml_byte(a, (uint8_t)count);
    }
    while (*path) {
        size_t n = strcspn(path, ".");
        segment(a, path, n);
        path += n + (path[n] == '.');
    }
}

void aml_integer(struct aml *a, uint64_t v)
{
    if (v < 2) {
        aml_byte(a, (uint8_t)v);
        return;
    }
    unsigned bytes = v <= 0xff ? 1 : v <= 0xffff ? 2 : v <= 0xffffffff ? 4 : 8;
    aml_byte(a, bytes == 1 ? 0x0a : bytes == 2 ? 0x0b : bytes == 4 ? 0x0c : 0x0e);
    aml_le(a, v, bytes);
}

void aml_string(struct aml *a, const char *s)
{
    aml_byte(a, 0x0d);
    do
        aml_byte(a, (uint8_t)*s);
    while (*s++);
}

void aml_name(struct aml *a, const char *path)
{
    aml_byte(a, 0x08);
    aml_path(a, path);
}

void aml_name_integer(struct aml *a, const char *path, uint64_t v)
{
    aml_name(a, path);
    aml_integer(a, v);
}

void aml_name_string(struct aml *a, const char *path, const char *s)
{
    aml_name(a, path);
    aml_string(a, s);
}

static unsigned hex(char c) { return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10); }

/* EISAID: three letters of 5 bits and four hexadecimal digits, most significant byte first. */
void aml_name_eisa(struct aml *a, const char *path, const char *id)
{
    uint32_t letters = (uint32_t)(id[0] - '@') << 10 | (uint32_t)(id[1] - '@') << 5 | (uint32_t)(id[2] - '@');
    uint32_t product = hex(id[3]) << 12 | hex(id[4]) << 8 | hex(id[5]) << 4 | hex(id[6]);
    aml_name(a, path);
    aml_byte(a, 0x0c);
    aml_byte(a, (uint8_t)(letters >> 8));
    aml_byte(a, (uint8_t)letters);
    aml_byte(a, (uint8_t)(product >> 8));
    aml_byte(a, (uint8_t)product);
}

static void open_here(struct aml *a)
{
    if (a->depth == sizeof(a->open) / sizeof(a->open[0]))
        a->overflow = true;
    else
        a->open[a->depth++] = a->size;
}

void aml_scope(struct aml *a, const char *path)
{
    aml_byte(a, 0x10);
    open_here(a);
    aml_path(a, path);
}

void aml_device(struct aml *a, const char *name)
{
    aml_byte(a, 0x5b);
    aml_byte(a, 0x82);
    open_here(a);
    aml_path(a, name);
}

void aml_package(struct aml *a, uint8_t elements)
{
    aml_byte(a, 0x12);
    open_here(a);
    aml_byte(a, elements);
}

/* The length counts its own bytes: 1 byte up to 63, then 4 + 8n bits in the lead byte's format. */
void aml_close(struct aml *a)
{
    if (a->depth == 0 || a->overflow) return;
    uint32_t start = a->open[--a->depth], content = a->size - start, extra = 0;
    while (content + 1 + extra > (extra == 0 ? 0x3fu : (1u << (4 + 8 * extra)) - 1))
        extra++;
    if (a->capacity - a->size < 1 + extra) {
        a->overflow = true;
        return;
    }
    uint32_t length = content + 1 + extra;
    uint8_t *p = a->data + start;
    memmove(p + 1 + extra, p, content);
    p[0] = (uint8_t)(extra == 0 ? length : extra << 6 | (length & 0xf));
    for (uint32_t i = 0; i < extra; i++)
        p[1 + i] = (uint8_t)(length >> (4 + 8 * i));
    a->size += 1 + extra;
}

/* A Buffer whose size is known only at the end: written as a word constant and patched. */
void aml_crs_begin(struct aml *a)
{
    aml_name(a, "_CRS");
    aml_byte(a, 0x11);
    open_here(a);
    aml_byte(a, 0x0b);
    aml_le(a, 0, 2);
}

void aml_crs_end(struct aml *a)
{
    aml_byte(a, 0x79); /* end tag, checksum 0: not checked */
    aml_byte(a, 0);
    if (a->depth == 0 || a->overflow) return;
    uint32_t start = a->open[a->depth - 1];
    le16_put(a->data + start + 1, a->size - start - 3);
    aml_close(a);
}

void aml_io(struct aml *a, uint16_t from, uint8_t length)
{
    aml_byte(a, 0x47);
    aml_byte(a, 1); /* 16-bit decode */
    aml_le(a, from, 2);
    aml_le(a, from, 2);
    aml_byte(a, 1);
    aml_byte(a, length);
}

void aml_irq(struct aml *a, uint32_t irq)
{
    aml_byte(a, 0x22); /* edge, active high, exclusive */
    aml_le(a, 1u << irq, 2);
}

void aml_fixed_memory(struct aml *a, uint32_t base, uint32_t length)
{
    aml_byte(a, 0x86);
    aml_le(a, 9, 2);
    aml_byte(a, 1); /* writable */
    aml_le(a, base, 4);
    aml_le(a, length, 4);
}

enum { SPACE_MIN_FIXED = 4, SPACE_MAX_FIXED = 8, IO_WHOLE_RANGE = 3, MEMORY_WRITE = 1, MEMORY_CACHEABLE = 2 };

void aml_word_space(struct aml *a, enum aml_space space, uint16_t from, uint16_t to)
{
    aml_byte(a, 0x88);
    aml_le(a, 13, 2);
    aml_byte(a, (uint8_t)space);
    aml_byte(a, SPACE_MIN_FIXED | SPACE_MAX_FIXED);
    aml_byte(a, space == AML_IO ? IO_WHOLE_RANGE : 0);
    aml_le(a, 0, 2);
    aml_le(a, from, 2);
    aml_le(a, to, 2);
    aml_le(a, 0, 2);
    aml_le(a, (uint64_t)to - from + 1, 2); /* 0..FFFF would be 0: no caller asks for it */
}

void aml_dword_memory(struct aml *a, uint32_t from, uint32_t to, bool cacheable)
{
    aml_byte(a, 0x87);
    aml_le(a, 23, 2);
    aml_byte(a, AML_MEMORY);
    aml_byte(a, SPACE_MIN_FIXED | SPACE_MAX_FIXED);
    aml_byte(a, (uint8_t)(MEMORY_WRITE | (cacheable ? MEMORY_CACHEABLE : 0)));
    aml_le(a, 0, 4);
    aml_le(a, from, 4);
    aml_le(a, to, 4);
    aml_le(a, 0, 4);
    aml_le(a, (uint64_t)to - from + 1, 4);
}
