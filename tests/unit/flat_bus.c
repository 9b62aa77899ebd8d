/* SPDX-License-Identifier: MIT */
/* RAM and nothing else, for tests of cpu/ (flat_bus.h). */
#include "flat_bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpuid.h"
#include "cpu/engine.h"
#include "cpu/event.h"
#include "cpu/insn.h"
#include "cpu/mem.h"

static uint64_t mmio_read(void *opaque, int cpu_id, uint64_t address, uint32_t size)
{
    struct flat_board *b = opaque;
    (void)size;
    b->mmio_reads++;
    b->last_mmio_address = address;
    b->last_mmio_cycle = cpu_now(b->cpu[cpu_id]);
    return ~UINT64_C(0);
}
static void mmio_write(void *opaque, int cpu_id, uint64_t address, uint32_t size, uint64_t value)
{
    struct flat_board *b = opaque;
    (void)size;
    b->mmio_writes++;
    b->last_mmio_address = address;
    b->last_mmio_value = value;
    b->last_mmio_cycle = cpu_now(b->cpu[cpu_id]);
}
static uint32_t port_read(void *opaque, int cpu_id, uint16_t port, uint32_t size)
{
    struct flat_board *b = opaque;
    (void)cpu_id;
    (void)size;
    b->last_port = port;
    return b->last_port_value;
}
static void port_write(void *opaque, int cpu_id, uint16_t port, uint32_t size, uint32_t value)
{
    struct flat_board *b = opaque;
    (void)cpu_id;
    (void)size;
    b->last_port = port;
    b->last_port_value = value;
}
static bool intr_pending(void *opaque, int cpu_id)
{
    (void)cpu_id;
    return ((struct flat_board *)opaque)->intr;
}
static int intr_acknowledge(void *opaque, int cpu_id)
{
    struct flat_board *b = opaque;
    (void)cpu_id;
    b->intr = false;
    return b->vector;
}
static uint64_t tpr_read(void *opaque, int cpu_id)
{
    (void)opaque;
    (void)cpu_id;
    return 0;
}
static void tpr_write(void *opaque, int cpu_id, uint64_t value)
{
    (void)opaque;
    (void)cpu_id;
    (void)value;
}
static int msr_read(void *opaque, int cpu_id, uint32_t index, uint64_t *value)
{
    (void)opaque;
    (void)cpu_id;
    (void)index;
    (void)value;
    return 0;
}
static int msr_write(void *opaque, int cpu_id, uint32_t index, uint64_t value)
{
    (void)opaque;
    (void)cpu_id;
    (void)index;
    (void)value;
    return 0;
}

void flat_features(uint64_t features[8], const unsigned *without)
{
    memset(features, 0, 8 * sizeof *features);
    for (unsigned i = 0; i < FEAT_COUNT; i++)
        features[i / 64] |= UINT64_C(1) << (i % 64);
    for (; without && *without; without++)
        features[*without / 64] &= ~(UINT64_C(1) << (*without % 64));
}

struct flat_board *flat_board_create(uint64_t ram_bytes, unsigned cpus, const unsigned *without)
{
    uint64_t features[8];
    struct flat_board *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    flat_features(features, without);
    b->bus = (struct bus){.ram_top = ram_bytes,
                          .a20_mask = ~UINT64_C(0),
                          .opaque = b,
                          .mmio_read = mmio_read,
                          .mmio_write = mmio_write,
                          .port_read = port_read,
                          .port_write = port_write,
                          .intr_pending = intr_pending,
                          .intr_acknowledge = intr_acknowledge,
                          .tpr_read = tpr_read,
                          .tpr_write = tpr_write,
                          .msr_read = msr_read,
                          .msr_write = msr_write};
    b->bus.ram = calloc(1, ram_bytes);
    b->bus.page_flags = calloc(ram_bytes >> PAGE_SHIFT, 1);
    if (!b->bus.ram || !b->bus.page_flags) abort();
    memset(b->bus.page_flags, PAGE_RAM, ram_bytes >> PAGE_SHIFT);
    for (unsigned i = 0; i < cpus; i++, b->cpus++) {
        b->cpu[i] = cpu_create((int)i, &cpu_models[0], features, &b->bus, &b->probes);
        if (!b->cpu[i]) abort();
    }
    return b;
}

void flat_board_destroy(struct flat_board *b)
{
    for (unsigned i = 0; i < b->cpus; i++)
        cpu_destroy(b->cpu[i]);
    free(b->bus.ram);
    free(b->bus.page_flags);
    free(b);
}

void flat_write(struct flat_board *b, uint64_t address, const void *bytes, unsigned n)
{
    memcpy(b->bus.ram + address, bytes, n);
    engine_bus_written(&b->bus, address, n);
}

uint64_t flat_read64(struct flat_board *b, uint64_t address)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | b->bus.ram[address + (unsigned)i];
    return v;
}

static void put64(struct flat_board *b, uint64_t address, uint64_t v)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
    flat_write(b, address, bytes, 8);
}

void flat_set_mode(struct cpu *c, enum flat_mode mode)
{
    struct flat_board *b = c->bus->opaque;
    struct cpu_state *s = &c->s;
    cpu_reset(c);
    s->activity = ACTIVITY_ACTIVE;
    s->cr0 = CR0_ET | CR0_NE;
    uint32_t data = AR_P | AR_S | 3, code = AR_P | AR_S | 11;
    uint64_t limit = 0xffff;
    if (mode != FLAT_REAL) {
        s->cr0 |= CR0_PE;
        s->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
        limit = 0xffffffff;
        data |= AR_G;
        code |= AR_G;
    }
    if (mode == FLAT_PROT32) data |= AR_DB, code |= AR_DB;
    if (mode == FLAT_LONG64) {
        put64(b, 0x8000, 0x9000 | 7);
        put64(b, 0x9000, 0xA000 | 7);
        for (unsigned i = 0; i < 512; i++)
            put64(b, 0xA000 + 8 * i, (uint64_t)i << 21 | 0x87);
        s->cr3 = 0x8000;
        s->cr4 |= CR4_PAE;
        s->cr0 |= CR0_PG;
        s->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
        data |= AR_DB;
        code |= AR_L;
    }
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        s->seg[i] = (struct seg_reg){
            .limit = (uint32_t)limit, .ar = i == SEG_CS ? code : data, .selector = i == SEG_CS ? 8 : 16};
    if (mode == FLAT_REAL)
        for (unsigned i = SEG_ES; i <= SEG_GS; i++)
            s->seg[i].selector = 0;
    tlb_flush_all(c);
    cpu_mode_changed(c);
}

unsigned flat_hex(const char *text, uint8_t *bytes, unsigned max)
{
    unsigned n = 0;
    while (*text && n < max) {
        char *end;
        if (*text == ' ') {
            text++;
            continue;
        }
        char digits[3] = {text[0], text[1], 0};
        bytes[n++] = (uint8_t)strtoul(digits, &end, 16);
        text += 2;
    }
    return n;
}

enum run_stop flat_run(struct cpu *c, uint64_t rip, uint64_t n)
{
    *rip_of(c) = rip;
    return cpu_run(c, cpu_now(c) + n);
}

static int seen_vector;

static enum virt_verdict note_exception(struct cpu *c, const struct event *ev)
{
    (void)c;
    if (seen_vector < 0) seen_vector = ev->vector;
    return VIRT_EXITED; /* stay at the instruction */
}

bool flat_check(struct flat_board *b, enum flat_mode mode, const struct flat_case *t)
{
    struct cpu *c = b->cpu[0];
    struct virt_ops ops = virt_bare;
    uint8_t bytes[64];
    uint64_t at = mode == FLAT_REAL ? 0x1000 : 0x100000, flags = FL_FIXED;
    unsigned n = flat_hex(t->code, bytes, sizeof bytes);
    bool ok = true;
    int vector = -1;
    flat_set_mode(c, mode);
    flat_write(b, at, bytes, n);
    ops.exception = note_exception;
    c->virt = &ops;
    seen_vector = -1;
    for (const struct flat_value *v = t->in; v->place != F_END; v++) {
        uint8_t m[8];
        for (unsigned i = 0; i < 8; i++)
            m[i] = (uint8_t)(v->value >> (8 * i));
        if (v->place == F_GPR) c->s.gpr[v->index] = v->value;
        if (v->place == F_FLAGS) flags |= v->value;
        if (v->place >= F_MEM8 && v->place <= F_MEM64) flat_write(b, v->index, m, 1u << (v->place - F_MEM8));
    }
    cpu_write_rflags(c, flags);
    flat_run(c, at, 1);
    for (const struct flat_value *v = t->out; v->place != F_END; v++) {
        uint64_t got = 0, want = v->value;
        if (v->place == F_GPR) got = c->s.gpr[v->index];
        if (v->place == F_FLAGS) {
            got = c->s.rflags & FL_OSZAPC & v->index;
        }
        if (v->place >= F_MEM8 && v->place <= F_MEM64) {
            unsigned bits = 8u << (v->place - F_MEM8);
            got = flat_read64(b, v->index) & (~UINT64_C(0) >> (64 - bits));
        }
        if (v->place == F_VECTOR) {
            vector = (int)v->value;
            continue;
        }
        if (got == want) continue;
        printf("%s [%s]: place %d.%llx is %llx, wanted %llx\n", t->name, t->code, v->place,
               (unsigned long long)v->index, (unsigned long long)got, (unsigned long long)want);
        ok = false;
    }
    if (seen_vector != vector) {
        printf("%s [%s]: vector %d, wanted %d\n", t->name, t->code, seen_vector, vector);
        ok = false;
    }
    c->virt = &virt_bare;
    return ok;
}
