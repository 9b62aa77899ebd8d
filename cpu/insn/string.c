/* SPDX-License-Identifier: MIT */
/* String instructions with REP: one cycle an iteration, a legal stop after each. The first iteration is paid
 * by the block; a stop leaves RIP at the instruction, the counters advanced and RF set, so that whoever
 * slices time sees the same run. REP MOVS and REP STOS in plain RAM go in page-sized pieces with the same
 * result. SDM 1 7.3.9, SDM 2B "REP"; APM 3 1.3. */
#include <string.h>

#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/insn/io.h"
#include "cpu/mem.h"

enum str_end { STR_DONE, STR_MORE, STR_FAULT, STR_EXIT };

#define NOINLINE __attribute__((noinline))

static inline uint64_t address_mask(const struct uop *u)
{
    unsigned as = u_asize(u);
    return as == 2 ? ~UINT64_C(0) : as == 1 ? 0xffffffff : 0xffff;
}
static inline void set_address(struct cpu *c, unsigned n, uint64_t mask, uint64_t v)
{
    if (mask == 0xffff)
        W16(n, v);
    else
        W64(n, v & mask);
}
static inline void advance(struct cpu *c, unsigned n, uint64_t mask, uint64_t bytes)
{
    set_address(c, n, mask, c->s.rflags & FL_DF ? R64(n) - bytes : R64(n) + bytes);
}

static bool read_mem(struct cpu *c, unsigned seg, uint64_t off, unsigned size, uint64_t *v)
{
    uint8_t b = 0;
    uint16_t w = 0;
    uint32_t d = 0;
    bool ok;
    switch (size) {
    case 1:
        ok = mem_read8(c, seg, off, &b);
        *v = b;
        return ok;
    case 2:
        ok = mem_read16(c, seg, off, &w);
        *v = w;
        return ok;
    case 4:
        ok = mem_read32(c, seg, off, &d);
        *v = d;
        return ok;
    default: return mem_read64(c, seg, off, v);
    }
}
static bool write_mem(struct cpu *c, unsigned seg, uint64_t off, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: return mem_write8(c, seg, off, (uint8_t)v);
    case 2: return mem_write16(c, seg, off, (uint16_t)v);
    case 4: return mem_write32(c, seg, off, (uint32_t)v);
    default: return mem_write64(c, seg, off, v);
    }
}
static uint64_t accumulator(const struct cpu *c, unsigned size)
{
    return size == 8 ? R64(RAX) : R64(RAX) & ((UINT64_C(1) << size * 8) - 1);
}

/* --- One iteration ---------------------------------------------------------------------------------- */

typedef enum str_end iteration(struct cpu *c, const struct uop *u, unsigned size);

static enum str_end movs_once(struct cpu *c, const struct uop *u, unsigned size)
{
    uint64_t mask = address_mask(u), v;
    if (!read_mem(c, u_seg(u), R64(RSI) & mask, size, &v)) return STR_FAULT;
    if (!write_mem(c, SEG_ES, R64(RDI) & mask, size, v)) return STR_FAULT;
    advance(c, RSI, mask, size);
    advance(c, RDI, mask, size);
    return STR_DONE;
}

static enum str_end stos_once(struct cpu *c, const struct uop *u, unsigned size)
{
    uint64_t mask = address_mask(u);
    if (!write_mem(c, SEG_ES, R64(RDI) & mask, size, R64(RAX))) return STR_FAULT;
    advance(c, RDI, mask, size);
    return STR_DONE;
}

static enum str_end lods_once(struct cpu *c, const struct uop *u, unsigned size)
{
    uint64_t mask = address_mask(u), v;
    if (!read_mem(c, u_seg(u), R64(RSI) & mask, size, &v)) return STR_FAULT;
    switch (size) {
    case 1: W8(RAX, v); break;
    case 2: W16(RAX, v); break;
    default: W64(RAX, v); break;
    }
    advance(c, RSI, mask, size);
    return STR_DONE;
}

static enum str_end scas_once(struct cpu *c, const struct uop *u, unsigned size)
{
    uint64_t mask = address_mask(u), v, a = accumulator(c, size);
    if (!read_mem(c, SEG_ES, R64(RDI) & mask, size, &v)) return STR_FAULT;
    flags_sub(c, size * 8, a, v, a - v);
    advance(c, RDI, mask, size);
    return STR_DONE;
}

static enum str_end cmps_once(struct cpu *c, const struct uop *u, unsigned size)
{
    uint64_t mask = address_mask(u), a, b;
    if (!read_mem(c, u_seg(u), R64(RSI) & mask, size, &a)) return STR_FAULT;
    if (!read_mem(c, SEG_ES, R64(RDI) & mask, size, &b)) return STR_FAULT;
    flags_sub(c, size * 8, a, b, a - b);
    advance(c, RSI, mask, size);
    advance(c, RDI, mask, size);
    return STR_DONE;
}

static uint64_t linear_of(const struct cpu *c, unsigned seg, uint64_t off)
{
    if (in_64bit(c)) return seg == SEG_FS || seg == SEG_GS ? off + c->s.seg[seg].base : off;
    return (uint32_t)(off + c->s.seg[seg].base);
}

static enum str_end port_verdict(enum io_verdict v) { return v == IO_FAULT ? STR_FAULT : STR_EXIT; }

static unsigned string_flags(const struct uop *u)
{
    return ICPT_F_STRING | ICPT_F_MEM | (u->flags & (UOP_REPE | UOP_REPNE) ? ICPT_F_REP : 0);
}

static enum str_end ins_once(struct cpu *c, const struct uop *u, unsigned size)
{
    uint64_t mask = address_mask(u), off = R64(RDI) & mask;
    uint16_t port = R16(RDX);
    bool exact = c->exact, ok;
    enum io_verdict v = io_check(c, u, port, size, string_flags(u) | ICPT_F_IN, linear_of(c, SEG_ES, off));
    if (v != IO_GO) return port_verdict(v);
    /* The port is read once only: everything that could stop the store comes before. */
    c->exact = true;
    ok = mem_probe_write(c, SEG_ES, off, size) && write_mem(c, SEG_ES, off, size, io_read(c, port, size));
    c->exact = exact;
    if (!ok) return STR_FAULT;
    advance(c, RDI, mask, size);
    return STR_DONE;
}

static enum str_end outs_once(struct cpu *c, const struct uop *u, unsigned size)
{
    uint64_t mask = address_mask(u), off = R64(RSI) & mask, value;
    uint16_t port = R16(RDX);
    enum io_verdict v = io_check(c, u, port, size, string_flags(u), linear_of(c, u_seg(u), off));
    if (v != IO_GO) return port_verdict(v);
    if (!read_mem(c, u_seg(u), off, size, &value)) return STR_FAULT;
    io_write(c, port, size, (uint32_t)value);
    advance(c, RSI, mask, size);
    return STR_DONE;
}

/* --- Many at once ----------------------------------------------------------------------------------- */

/* Host place of [off, off + bytes) when it lies in one page of RAM that the fast path may touch, and how
 * many elements from there on do; NULL otherwise. */
static uint8_t *plain_ram(struct cpu *c, unsigned seg, uint64_t off, uint64_t mask, unsigned size, bool write,
                          uint64_t *elements)
{
    const struct seg_window *w = &c->win[seg];
    uint64_t top = write ? w->write_top : w->read_top, lin = w->base + off;
    const struct tlb_entry *e = tlb_slot(c, lin);
    uint64_t bytes = PAGE_SIZE - (lin & (PAGE_SIZE - 1));
    if (off >= top || bytes < size || (write ? e->write : e->read) != tlb_want(c, lin)) return NULL;
    if (bytes > top - off) bytes = top - off;
    if (bytes > mask - off) bytes = mask - off; /* the last byte before a wrap goes the slow way */
    if (bytes / size < *elements) *elements = bytes / size;
    return *elements ? tlb_host(e, lin) : NULL;
}

static uint64_t movs_many(struct cpu *c, const struct uop *u, unsigned size, uint64_t n)
{
    uint64_t mask = address_mask(u);
    const uint8_t *src = plain_ram(c, u_seg(u), R64(RSI) & mask, mask, size, false, &n);
    uint8_t *dst = src ? plain_ram(c, SEG_ES, R64(RDI) & mask, mask, size, true, &n) : NULL;
    if (!dst) return 0;
    /* Forward element by element is what the instruction does; it shows when the pieces overlap. */
    if (dst <= src || dst >= src + n * size)
        memmove(dst, src, n * size);
    else
        for (uint64_t i = 0; i < n; i++)
            host_store(dst + i * size, size, host_load(src + i * size, size));
    advance(c, RSI, mask, n * size);
    advance(c, RDI, mask, n * size);
    return n;
}

static uint64_t stos_many(struct cpu *c, const struct uop *u, unsigned size, uint64_t n)
{
    uint64_t mask = address_mask(u), v = R64(RAX);
    uint8_t *dst = plain_ram(c, SEG_ES, R64(RDI) & mask, mask, size, true, &n);
    if (!dst) return 0;
    if (size == 1)
        memset(dst, (int)(v & 0xff), n);
    else
        for (uint64_t i = 0; i < n; i++)
            host_store(dst + i * size, size, v);
    advance(c, RDI, mask, n * size);
    return n;
}

typedef uint64_t many(struct cpu *c, const struct uop *u, unsigned size, uint64_t n);

/* --- REP -------------------------------------------------------------------------------------------- */

enum rep_kind { REP_PLAIN, REP_COMPARE };

/* Must the instruction stop at this iteration boundary? An RF left by an earlier stop is no reason. */
static bool stop_here(const struct cpu *c)
{
    return c->budget <= 0 || (c->attention & ~(uint32_t)(ATT_SHADOW | ATT_EXACT)) != 0 ||
           c->s.intr.sti_shadow || c->s.intr.movss_shadow;
}

static NOINLINE enum str_end repeat(struct cpu *c, const struct uop *u, unsigned size, iteration *once,
                                    many *lots, enum rep_kind kind)
{
    uint64_t mask = address_mask(u), count = R64(RCX) & mask;
    if (!(u->flags & (UOP_REPE | UOP_REPNE))) return once(c, u, size);
    if (count == 0) return STR_DONE;
    for (;;) {
        uint64_t n = 0;
        if (lots && !(c->s.rflags & FL_DF) && count > 1 && !stop_here(c)) {
            uint64_t paid = (uint64_t)c->budget + 1;
            n = lots(c, u, size, count < paid ? count : paid);
            if (n) c->budget -= (int64_t)(n - 1);
        }
        if (n == 0) {
            enum str_end end = once(c, u, size);
            if (end != STR_DONE) return end;
            n = 1;
        }
        count -= n;
        set_address(c, RCX, mask, count);
        if (count == 0) return STR_DONE;
        if (kind == REP_COMPARE && flag_zf(c) != ((u->flags & UOP_REPE) != 0)) return STR_DONE;
        if (stop_here(c)) return STR_MORE;
        c->budget--;
    }
}

/* The instruction is not over: it is executed again from here. */
static void pause_here(struct cpu *c)
{
    c->s.insns--;
    c->s.rflags |= FL_RF;
    cpu_keep_rf(c);
    cpu_flush_flags(c);
    cpu_update_attention(c);
}

#define STRING(name, size, once, lots, kind)                     \
    HANDLER_ALL(name)                                            \
    {                                                            \
        enum str_end end = repeat(c, u, size, once, lots, kind); \
        if (UNLIKELY(end != STR_DONE)) {                         \
            if (end == STR_FAULT) FAULT;                         \
            if (end == STR_EXIT) EXITED;                         \
            pause_here(c);                                       \
            END_BLOCK;                                           \
        }                                                        \
        NEXT;                                                    \
    }
#define IO_SIZE (u->size > 4 ? 4u : u->size)
STRING(movs_b, 1, movs_once, movs_many, REP_PLAIN)
STRING(movs_v, u->size, movs_once, movs_many, REP_PLAIN)
STRING(stos_b, 1, stos_once, stos_many, REP_PLAIN)
STRING(stos_v, u->size, stos_once, stos_many, REP_PLAIN)
STRING(lods_b, 1, lods_once, NULL, REP_PLAIN)
STRING(lods_v, u->size, lods_once, NULL, REP_PLAIN)
STRING(scas_b, 1, scas_once, NULL, REP_COMPARE)
STRING(scas_v, u->size, scas_once, NULL, REP_COMPARE)
STRING(cmps_b, 1, cmps_once, NULL, REP_COMPARE)
STRING(cmps_v, u->size, cmps_once, NULL, REP_COMPARE)
STRING(ins_b, 1, ins_once, NULL, REP_PLAIN)
STRING(ins_v, IO_SIZE, ins_once, NULL, REP_PLAIN)
STRING(outs_b, 1, outs_once, NULL, REP_PLAIN)
STRING(outs_v, IO_SIZE, outs_once, NULL, REP_PLAIN)
