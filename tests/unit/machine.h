/* SPDX-License-Identifier: MIT */
/* A processor on a flat bus for unit tests: some RAM, one interrupt line, a port log. Header only: each
 * test program is one file. */
#ifndef UV_TESTS_MACHINE_H
#define UV_TESTS_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/event.h"
#include "cpu/mem.h"

enum { RAM_BYTES = 4 << 20 };

struct board {
    struct bus bus;
    struct cpu *cpu;
    int intr_vector; /* -1: line low */
    uint16_t port;
    uint32_t port_value, port_count;
};

static uint64_t board_mmio_read(void *o, int id, uint64_t a, uint32_t n)
{
    (void)o, (void)id, (void)a;
    return n == 8 ? UINT64_MAX : (UINT64_C(1) << n * 8) - 1;
}
static void board_mmio_write(void *o, int id, uint64_t a, uint32_t n, uint64_t v)
{
    (void)o, (void)id, (void)a, (void)n, (void)v;
}
static uint32_t board_port_read(void *o, int id, uint16_t port, uint32_t n)
{
    struct board *b = o;
    (void)id, (void)n;
    b->port = port;
    return b->port_value + b->port_count++;
}
static void board_port_write(void *o, int id, uint16_t port, uint32_t n, uint32_t v)
{
    struct board *b = o;
    (void)id, (void)n;
    b->port = port;
    b->port_value = v;
    b->port_count++;
}
static bool board_intr_pending(void *o, int id)
{
    (void)id;
    return ((struct board *)o)->intr_vector >= 0;
}
static int board_intr_acknowledge(void *o, int id)
{
    struct board *b = o;
    int v = b->intr_vector;
    (void)id;
    b->intr_vector = -1;
    return v;
}
static uint64_t board_tpr_read(void *o, int id)
{
    (void)o, (void)id;
    return 0;
}
static void board_tpr_write(void *o, int id, uint64_t v) { (void)o, (void)id, (void)v; }
static int board_msr_read(void *o, int id, uint32_t i, uint64_t *v)
{
    (void)o, (void)id, (void)i, (void)v;
    return 0;
}
static int board_msr_write(void *o, int id, uint32_t i, uint64_t v)
{
    (void)o, (void)id, (void)i, (void)v;
    return 0;
}

static struct board *board_create(const char *model)
{
    struct board *b = calloc(1, sizeof *b);
    const struct cpu_model *m;
    uint64_t features[FEATURE_WORDS];
    char err[256];
    assert_non_null(b);
    b->intr_vector = -1;
    b->bus = (struct bus){.ram = calloc(1, RAM_BYTES),
                          .page_flags = malloc(RAM_BYTES >> PAGE_SHIFT),
                          .ram_top = RAM_BYTES,
                          .a20_mask = UINT64_MAX,
                          .opaque = b,
                          .mmio_read = board_mmio_read,
                          .mmio_write = board_mmio_write,
                          .port_read = board_port_read,
                          .port_write = board_port_write,
                          .intr_pending = board_intr_pending,
                          .intr_acknowledge = board_intr_acknowledge,
                          .tpr_read = board_tpr_read,
                          .tpr_write = board_tpr_write,
                          .msr_read = board_msr_read,
                          .msr_write = board_msr_write};
    memset(b->bus.page_flags, PAGE_RAM | PAGE_DIRTY, RAM_BYTES >> PAGE_SHIFT);
    assert_true(cpu_model_parse(model, &m, features, err, sizeof err));
    b->cpu = cpu_create(0, m, features, &b->bus, NULL);
    assert_non_null(b->cpu);
    return b;
}

static void board_destroy(struct board *b)
{
    cpu_destroy(b->cpu);
    free(b->bus.ram);
    free(b->bus.page_flags);
    free(b);
}

/* "8e d0 ..." at a physical address. */
static inline void board_put(struct board *b, uint64_t at, const char *hex)
{
    unsigned v;
    int n;
    for (; sscanf(hex, "%2x%n", &v, &n) == 1; hex += n)
        b->bus.ram[at++] = (uint8_t)v;
}
static void board_poke(struct board *b, uint64_t at, unsigned size, uint64_t v)
{
    for (unsigned i = 0; i < size; i++)
        b->bus.ram[at + i] = (uint8_t)(v >> i * 8);
}
static inline uint64_t board_peek(const struct board *b, uint64_t at, unsigned size)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)b->bus.ram[at + i] << i * 8;
    return v;
}

static inline enum run_stop board_run(struct board *b, uint64_t cycles)
{
    cpu_drop_derived(b->cpu); /* tests change state behind its back */
    cpu_mode_changed(b->cpu);
    return cpu_run(b->cpu, cpu_now(b->cpu) + cycles);
}

#endif
