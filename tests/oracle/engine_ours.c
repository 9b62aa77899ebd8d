/* SPDX-License-Identifier: MIT */
/* Our processor as an oracle engine: one cpu on a flat bus of 1 MiB of RAM. Exceptions are caught at the
 * door of the virtualization context, before they reach the IDT, with the state as the fault left it. */
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/oracle.h"

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/engine.h"
#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/quirk.h"

enum { RAM_SIZE = 1 << 20, TABLES = 0x80000 };

static struct {
    struct cpu *cpu;
    struct bus bus;
    struct virt_ops ops;
    bool like_unicorn;
    unsigned mode; /* segments loaded for it; 0 none */
    int vector;
    uint32_t error;
    uint64_t cr2;
} our;

static uint64_t no_read(void *o, int id, uint64_t a, uint32_t n)
{
    (void)o, (void)id, (void)a, (void)n;
    return UINT64_MAX;
}
static void no_write(void *o, int id, uint64_t a, uint32_t n, uint64_t v)
{
    (void)o, (void)id, (void)a, (void)n, (void)v;
}
static uint32_t no_in(void *o, int id, uint16_t p, uint32_t n)
{
    (void)o, (void)id, (void)p, (void)n;
    return UINT32_MAX;
}
static void no_out(void *o, int id, uint16_t p, uint32_t n, uint32_t v)
{
    (void)o, (void)id, (void)p, (void)n, (void)v;
}
static bool no_intr(void *o, int id)
{
    (void)o, (void)id;
    return false;
}
static int no_ack(void *o, int id)
{
    (void)o, (void)id;
    return -1;
}
static uint64_t no_tpr(void *o, int id)
{
    (void)o, (void)id;
    return 0;
}
static void set_tpr(void *o, int id, uint64_t v) { (void)o, (void)id, (void)v; }
static int no_rdmsr(void *o, int id, uint32_t i, uint64_t *v)
{
    (void)o, (void)id, (void)i, (void)v;
    return 0;
}
static int no_wrmsr(void *o, int id, uint32_t i, uint64_t v)
{
    (void)o, (void)id, (void)i, (void)v;
    return 0;
}

static enum virt_verdict catch_exception(struct cpu *c, const struct event *ev)
{
    our.vector = ev->vector;
    our.error = ev->has_error ? ev->error_code : 0;
    our.cr2 = ev->vector == VEC_PF ? ev->payload : 0;
    cpu_request_stop(c);
    return VIRT_EXITED;
}

static void put_entry(unsigned at, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        our.bus.ram[at + i] = (uint8_t)(v >> 8 * i);
}
static void build_tables(void)
{
    put_entry(TABLES, (TABLES + 0x1000) | 7);
    put_entry(TABLES + 0x1000, (TABLES + 0x2000) | 7);
    put_entry(TABLES + 0x2000, (TABLES + 0x3000) | 7);
    for (unsigned a = CODE_BASE; a < CODE_BASE + CODE_SIZE; a += 0x1000)
        put_entry(TABLES + 0x3000 + (a >> 12) * 8, a | 0x67);
    for (unsigned a = DATA_BASE; a < DATA_BASE + DATA_SIZE; a += 0x1000)
        put_entry(TABLES + 0x3000 + (a >> 12) * 8, a | 0x67);
    put_entry(TABLES + 0x3000 + (READONLY_BASE >> 12) * 8, READONLY_BASE | 0x65);
}

static const struct cpu_model oracle_model = {.name = "oracle",
                                              .brand = "oracle",
                                              .signature = 0x506e3,
                                              .max_leaf = 0x16,
                                              .phys_bits = 40,
                                              .lin_bits = 48};

bool ours_open(const uint64_t *features, bool like_unicorn)
{
    our.bus.ram = aligned_alloc(4096, RAM_SIZE);
    our.bus.page_flags = malloc(RAM_SIZE >> PAGE_SHIFT);
    if (!our.bus.ram || !our.bus.page_flags) return false;
    memset(our.bus.ram, 0, RAM_SIZE);
    memset(our.bus.page_flags, PAGE_RAM | PAGE_DIRTY, RAM_SIZE >> PAGE_SHIFT);
    our.bus.ram_top = RAM_SIZE;
    our.bus.a20_mask = UINT64_MAX;
    our.bus.mmio_read = no_read;
    our.bus.mmio_write = no_write;
    our.bus.port_read = no_in;
    our.bus.port_write = no_out;
    our.bus.intr_pending = no_intr;
    our.bus.intr_acknowledge = no_ack;
    our.bus.tpr_read = no_tpr;
    our.bus.tpr_write = set_tpr;
    our.bus.msr_read = no_rdmsr;
    our.bus.msr_write = no_wrmsr;
    memset(our.bus.ram + CODE_BASE, 0xcc, CODE_SIZE);
    memcpy(our.bus.ram + READONLY_BASE, readonly_page(), READONLY_SIZE);
    build_tables();
    our.cpu = cpu_create(0, &oracle_model, features, &our.bus, NULL);
    if (!our.cpu) return false;
#if defined(__x86_64__)
    /* The host engine compares with a processor of one family or the other. */
    if (!like_unicorn && __builtin_cpu_is("amd")) our.cpu->quirks = QUIRKS_ALL;
#endif
    our.ops = virt_bare;
    our.ops.exception = catch_exception;
    our.cpu->virt = &our.ops;
    our.like_unicorn = like_unicorn;
    return true;
}

void ours_drop_peephole(bool off)
{
    our.cpu->engine->no_peephole = off;
    engine_drop(our.cpu->engine);
}

/* Segments and control registers of the mode. */
static void enter_mode(unsigned mode)
{
    struct cpu *c = our.cpu;
    struct cpu_state *s = &c->s;
    bool real = our.like_unicorn && mode == 16, legacy = our.like_unicorn && mode != 64;
    unsigned cpl = our.like_unicorn ? 0 : 3;
    uint16_t cs = mode == 64 ? 0x33 : mode == 32 ? 7 : 15, ds = mode == 16 ? 23 : 0x2b;
    uint32_t dpl = cpl << AR_DPL_SHIFT;
    struct seg_reg code = {.limit = mode == 16 ? 0xffff : 0xffffffff,
                           .ar = AR_P | AR_S | 0xb | dpl |
                                 (mode == 64   ? AR_L | AR_G
                                  : mode == 32 ? AR_DB | AR_G
                                               : 0),
                           .base = mode == 16 ? CODE_BASE : 0,
                           .selector = cs};
    struct seg_reg data = {.limit = mode == 16 ? 0xffff : 0xffffffff,
                           .ar = AR_P | AR_S | 3 | dpl | (mode == 16 ? 0 : AR_DB | AR_G),
                           .base = mode == 16 ? DATA_BASE : 0,
                           .selector = ds};
    struct seg_reg null = {.ar = AR_UNUSABLE};
    if (real) {
        code.selector = CODE_BASE >> 4;
        data.selector = DATA_BASE >> 4;
        code.ar = AR_P | AR_S | 3;
        null = (struct seg_reg){.limit = 0xffff, .ar = AR_P | AR_S | 3};
    }
    s->cr0 = CR0_ET | CR0_NE | CR0_MP | CR0_AM | CR0_WP | (real ? 0 : CR0_PE) | (legacy ? 0 : CR0_PG);
    s->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | (legacy ? 0 : CR4_PAE);
    s->cr3 = TABLES;
    s->efer = legacy ? EFER_NXE : EFER_NXE | EFER_LME | EFER_LMA | EFER_SCE;
    s->xcr0 = 3;
    s->seg[SEG_CS] = code;
    s->seg[SEG_SS] = s->seg[SEG_DS] = s->seg[SEG_ES] = data;
    s->seg[SEG_FS] = s->seg[SEG_GS] = null;
    s->cpl = (uint8_t)cpl;
    cpu_mode_changed(c);
    our.mode = mode;
}

void ours_run(const struct ocase *t, struct oresult *r)
{
    struct cpu *c = our.cpu;
    struct cpu_state *s = &c->s;
    if (our.mode != t->mode) enter_mode(t->mode);
    memory_from_case(t, our.bus.ram + DATA_BASE);
    uint8_t *code = our.bus.ram + CODE_BASE + CODE_AT;
    memset(our.bus.ram + CODE_BASE, 0xcc, CODE_SIZE); /* a case before this one may have written there */
    memcpy(code, t->code, t->length);
    /* INT3 ends the block behind the instruction; now and then NOPs let it go on: block and exact path. */
    if ((t->seed & 7) == 0) memset(code + t->length, 0x90, 16);
    engine_bus_written(&our.bus, CODE_BASE, CODE_SIZE);

    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = t->in.gpr[i];
    *rip_of(c) = t->in.rip;
    s->fpu.cw = t->in.cw;
    s->fpu.sw = t->in.sw & (uint16_t)~0x3800;
    s->fpu.top = t->in.sw >> 11 & 7;
    s->fpu.tag = t->in.tag;
    s->fpu.mxcsr = t->in.mxcsr;
    s->fpu.fip = s->fpu.fdp = s->fpu.fop = s->fpu.fcs = s->fpu.fds = 0;
    for (unsigned i = 0; i < 8; i++) {
        s->fpu.st[(s->fpu.top + i) & 7].frac = t->in.st[i].frac;
        s->fpu.st[(s->fpu.top + i) & 7].se = t->in.st[i].se;
    }
    for (unsigned i = 0; i < 16; i++) {
        s->vec[i].q[0] = t->in.xmm[i][0];
        s->vec[i].q[1] = t->in.xmm[i][1];
    }
    cpu_write_rflags(c, t->in.rflags);
    s->activity = ACTIVITY_ACTIVE;
    memset(&s->intr, 0, sizeof s->intr);
    s->intr.gif = 1;
    s->pending_dbg = 0;
    c->shutdown = false;
    c->stop_requested = false;
    cpu_update_attention(c);

    our.vector = -1;
    our.error = 0;
    our.cr2 = 0;
    cpu_run(c, cpu_now(c) + t->insns);
    for (unsigned i = 0; t->rep && our.vector < 0 && *rip_of(c) == t->in.rip && i < 4096; i++)
        cpu_run(c, cpu_now(c) + 1);

    r->status = RESULT_OK;
    r->vector = our.vector;
    r->error = our.error;
    r->cr2 = our.cr2;
    memcpy(r->out.gpr, s->gpr, sizeof r->out.gpr);
    r->out.rip = *rip_of(c);
    r->out.rflags = cpu_read_rflags(c);
    r->out.cw = s->fpu.cw;
    r->out.sw = (uint16_t)((s->fpu.sw & ~0x3800) | (s->fpu.top & 7) << 11);
    r->out.tag = s->fpu.tag;
    r->out.mxcsr = s->fpu.mxcsr;
    for (unsigned i = 0; i < 8; i++) {
        r->out.st[i].frac = s->fpu.st[(s->fpu.top + i) & 7].frac;
        r->out.st[i].se = s->fpu.st[(s->fpu.top + i) & 7].se;
    }
    for (unsigned i = 0; i < 16; i++) {
        r->out.xmm[i][0] = s->vec[i].q[0];
        r->out.xmm[i][1] = s->vec[i].q[1];
    }
    memcpy(r->memory, our.bus.ram + DATA_BASE, DATA_SIZE);
}
