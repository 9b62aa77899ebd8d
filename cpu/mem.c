/* SPDX-License-Identifier: MIT */
/* Slow paths of memory access: full segment checks, alignment check, accesses that cross a page, MMIO, ROM,
 * pages with decoded code, the APIC-access page, data breakpoints; block transfers; linear and physical
 * accesses. Nothing moves before every page of an access is translated.
 * SDM 3A 5.3 (limits), 5.5 (types), 6.15 (#AC), SDM 3B 17.2.5 (data breakpoints). */
#include "cpu/mem.h"

#include "cpu/engine.h"
#include "cpu/event.h"
#include "cpu/monitor.h"

enum piece_kind {
    PIECE_RAM,
    PIECE_NOTED /* code, monitored */,
    PIECE_DROP /* ROM, read as RAM */,
    PIECE_MMIO,
    PIECE_APIC
};

/* --- Physical memory --- */

static uint8_t page_flags(const struct cpu *c, uint64_t hpa)
{
    return hpa < c->bus->ram_top ? c->bus->page_flags[hpa >> PAGE_SHIFT] : 0;
}

bool phys_holds_code(const struct cpu *c, uint64_t hpa, uint32_t n)
{
    return (page_flags(c, hpa) & PAGE_CODE) != 0 && engine_line_has_code(c->bus, hpa, n);
}

bool phys_write_noted(const struct cpu *c, uint64_t hpa, uint32_t n)
{
    return phys_holds_code(c, hpa, n) ||
           ((page_flags(c, hpa) & PAGE_WATCH) != 0 && monitor_watches(c->bus, hpa, n));
}

static uint64_t mmio_read(struct cpu *c, uint64_t hpa, uint32_t size)
{
    uint64_t v = 0;
    for (uint32_t done = 0; done < size;) {
        /* Split at 8-byte alignment, then into powers of two. */
        uint32_t room = 8 - ((uint32_t)(hpa + done) & 7), left = size - done;
        uint32_t n = left < room ? left : room;
        n = n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
        uint64_t part = c->bus->mmio_read(c->bus->opaque, c->id, hpa + done, n);
        if (n < 8) part &= (UINT64_C(1) << (8 * n)) - 1;
        v |= part << (8 * done);
        done += n;
    }
    PROBE(c->probes, c, MMIO_READ, hpa, v);
    return v;
}

static void mmio_write(struct cpu *c, uint64_t hpa, uint32_t size, uint64_t v)
{
    PROBE(c->probes, c, MMIO_WRITE, hpa, v);
    for (uint32_t done = 0; done < size;) {
        uint32_t room = 8 - ((uint32_t)(hpa + done) & 7), left = size - done;
        uint32_t n = left < room ? left : room;
        n = n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
        uint64_t part = v >> (8 * done);
        if (n < 8) part &= (UINT64_C(1) << (8 * n)) - 1;
        c->bus->mmio_write(c->bus->opaque, c->id, hpa + done, n, part);
        done += n;
    }
}

/* Bytes of any number up to 8. */
static uint64_t load_bytes(const uint8_t *p, uint32_t n)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}
static void store_bytes(uint8_t *p, uint32_t n, uint64_t v)
{
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void ram_written(struct cpu *c, uint64_t hpa, uint32_t n)
{
    uint8_t *flags = &c->bus->page_flags[hpa >> PAGE_SHIFT];
    *flags |= PAGE_DIRTY;
    if ((*flags & PAGE_CODE) != 0 && engine_line_has_code(c->bus, hpa, n)) engine_code_written(c, hpa, n);
    if ((*flags & PAGE_WATCH) != 0) monitor_written(c->bus, hpa, n);
}

void phys_read_bytes(struct cpu *c, uint64_t hpa, void *buf, uint32_t n)
{
    uint8_t *out = buf;
    hpa &= c->bus->a20_mask;
    while (n != 0) {
        uint32_t room = PAGE_SIZE - ((uint32_t)hpa & (PAGE_SIZE - 1)), len = n < room ? n : room;
        if (page_flags(c, hpa) & PAGE_RAM) {
            memcpy(out, c->bus->ram + hpa, len);
        } else {
            if (len > 8) len = 8;
            store_bytes(out, len, mmio_read(c, hpa, len));
        }
        out += len;
        hpa += len;
        n -= len;
    }
}

void phys_write_bytes(struct cpu *c, uint64_t hpa, const void *buf, uint32_t n)
{
    const uint8_t *in = buf;
    hpa &= c->bus->a20_mask;
    while (n != 0) {
        uint32_t room = PAGE_SIZE - ((uint32_t)hpa & (PAGE_SIZE - 1)), len = n < room ? n : room;
        uint8_t flags = page_flags(c, hpa);
        if ((flags & (PAGE_RAM | PAGE_ROM)) == PAGE_RAM) {
            memcpy(c->bus->ram + hpa, in, len);
            ram_written(c, hpa, len);
        } else if ((flags & PAGE_RAM) == 0) {
            if (len > 8) len = 8;
            mmio_write(c, hpa, len, load_bytes(in, len));
        }
        in += len;
        hpa += len;
        n -= len;
    }
}

uint64_t phys_read(struct cpu *c, uint64_t hpa, uint32_t size)
{
    hpa &= c->bus->a20_mask;
    if (LIKELY((page_flags(c, hpa) & PAGE_RAM) != 0 && (hpa & (PAGE_SIZE - 1)) + size <= PAGE_SIZE))
        return host_load(c->bus->ram + hpa, size);
    uint8_t b[8] = {0};
    phys_read_bytes(c, hpa, b, size);
    return load_bytes(b, size);
}

void phys_write(struct cpu *c, uint64_t hpa, uint32_t size, uint64_t v)
{
    uint8_t b[8] = {0};
    store_bytes(b, size, v);
    phys_write_bytes(c, hpa, b, size);
}

/* --- Linear accesses in pieces --- */

static bool want_exact(struct cpu *c)
{
    if (c->exact) return true;
    c->fault.kind = FAULT_EXACT;
    return false;
}

/* One piece, inside one page. acc: MEM_R, MEM_W or both. */
static bool locate(struct cpu *c, uint64_t lin, uint32_t size, unsigned index, unsigned acc,
                   struct mem_piece *p)
{
    const struct tlb_entry *e = tlb_slot_of(c, index, lin);
    p->lin = lin;
    p->size = size;
    p->kind = PIECE_RAM;
    if (LIKELY((acc & MEM_W ? e->write : e->read) == tlb_want(c, lin))) {
        p->host = tlb_host(e, lin);
        p->hpa = (uint64_t)(p->host - c->bus->ram);
        return true;
    }
    if (!mmu_translate(c, lin, index, acc, &p->hpa)) return false;
    if (UNLIKELY(c->write_granule_shift != 0) && (acc & MEM_W) != 0) {
        /* Each block that the write touches must allow it. */
        uint64_t block = UINT64_C(1) << c->write_granule_shift, ignored;
        for (uint64_t at = (lin | (block - 1)) + 1; at - lin < size; at += block)
            if (!mmu_translate(c, at, index, acc, &ignored)) return false;
    }
    uint8_t flags = page_flags(c, p->hpa);
    p->host = flags & PAGE_RAM ? c->bus->ram + p->hpa : NULL;
    if ((p->hpa & ~UINT64_C(0xfff)) == c->apic_access_page && c->virt->apic_access != NULL)
        p->kind = PIECE_APIC;
    else if ((flags & PAGE_RAM) == 0)
        p->kind = PIECE_MMIO;
    else if (flags & PAGE_ROM)
        p->kind = PIECE_DROP;
    else if ((acc & MEM_W) != 0 && phys_write_noted(c, p->hpa, size))
        p->kind = PIECE_NOTED;
    else
        return true;
    return p->kind == PIECE_DROP || want_exact(c);
}

static uint64_t next_page(const struct cpu *c, uint64_t lin)
{
    uint64_t next = (lin | 0xfff) + 1;
    return in_long_mode(c) ? next : (uint32_t)next;
}

/* All pieces of an access of at most a page: one or two. */
static bool locate_all(struct cpu *c, uint64_t lin, uint32_t n, unsigned index, unsigned acc,
                       struct mem_piece p[2])
{
    uint32_t room = PAGE_SIZE - ((uint32_t)lin & (PAGE_SIZE - 1)), first = n < room ? n : room;
    p[1].size = 0;
    if (!locate(c, lin, first, index, acc, &p[0])) return false;
    return first == n || locate(c, next_page(c, lin), n - first, index, acc, &p[1]);
}

static bool piece_read(struct cpu *c, const struct mem_piece *p, uint8_t *out)
{
    if (LIKELY(p->host != NULL && p->kind != PIECE_APIC)) {
        memcpy(out, p->host, p->size);
        return true;
    }
    for (uint32_t done = 0; done < p->size;) {
        uint32_t n = p->size - done < 8 ? p->size - done : 8;
        uint64_t v = 0;
        if (p->kind == PIECE_APIC) {
            uint32_t at = (uint32_t)(p->hpa + done) & 0xfff;
            if (!c->virt->apic_access(c, APIC_ACCESS_READ, at, n, &v)) return false;
        } else {
            v = mmio_read(c, p->hpa + done, n);
        }
        store_bytes(out + done, n, v);
        done += n;
    }
    return true;
}

static bool piece_write(struct cpu *c, const struct mem_piece *p, const uint8_t *in)
{
    switch ((enum piece_kind)p->kind) {
    case PIECE_RAM:
        /* Beside decoded code or a monitored line in its page: no write tag, so the dirty mark is set here.
         */
        c->bus->page_flags[p->hpa >> PAGE_SHIFT] |= PAGE_DIRTY;
        memcpy(p->host, in, p->size);
        break;
    case PIECE_NOTED: phys_write_bytes(c, p->hpa, in, p->size); break;
    case PIECE_DROP: break;
    case PIECE_MMIO:
        for (uint32_t done = 0; done < p->size; done += 8) {
            uint32_t n = p->size - done < 8 ? p->size - done : 8;
            mmio_write(c, p->hpa + done, n, load_bytes(in + done, n));
        }
        break;
    case PIECE_APIC:
        for (uint32_t done = 0; done < p->size; done += 8) {
            uint32_t n = p->size - done < 8 ? p->size - done : 8;
            uint64_t v = load_bytes(in + done, n);
            uint32_t at = (uint32_t)(p->hpa + done) & 0xfff;
            if (!c->virt->apic_access(c, APIC_ACCESS_WRITE, at, n, &v)) return false;
        }
        break;
    }
    return true;
}

/* Does the access touch an armed data breakpoint? Its #DB is a trap: the access happens first. */
static bool breakpoint_hit(const struct cpu *c, uint64_t lin, uint32_t n, bool write)
{
    for (int i = 0; i < 4; i++) {
        unsigned rw = (unsigned)(c->s.dr7 >> (16 + 4 * i)) & 3;
        unsigned code = (unsigned)(c->s.dr7 >> (18 + 4 * i)) & 3;
        uint32_t len = code == 2 ? 8 : code + 1;
        if ((c->s.dr7 >> (2 * i) & 3) == 0 || !(rw == 3 || (rw == 1 && write))) continue;
        uint64_t at = c->s.dr[i] & ~(uint64_t)(len - 1);
        if (lin < at + len && at < lin + n) return true;
    }
    return false;
}

static bool watch(struct cpu *c, uint64_t lin, uint32_t n, bool write, bool *hit)
{
    *hit = c->mem_checked && breakpoint_hit(c, lin, n, write);
    return !*hit || want_exact(c);
}

static bool read_pieces(struct cpu *c, const struct mem_piece p[2], void *buf)
{
    return piece_read(c, &p[0], buf) && (p[1].size == 0 || piece_read(c, &p[1], (uint8_t *)buf + p[0].size));
}

static bool write_pieces(struct cpu *c, const struct mem_piece p[2], const void *buf)
{
    return piece_write(c, &p[0], buf) &&
           (p[1].size == 0 || piece_write(c, &p[1], (const uint8_t *)buf + p[0].size));
}

static bool lin_read_bytes(struct cpu *c, uint64_t lin, uint32_t n, unsigned index, void *buf)
{
    struct mem_piece p[2];
    bool hit;
    if (!watch(c, lin, n, false, &hit) || !locate_all(c, lin, n, index, MEM_R, p)) return false;
    if (!read_pieces(c, p, buf)) return false;
    if (hit) debug_data_access(c, lin, n, false);
    return true;
}

static bool lin_write_bytes(struct cpu *c, uint64_t lin, uint32_t n, unsigned index, const void *buf)
{
    struct mem_piece p[2];
    bool hit;
    if (!watch(c, lin, n, true, &hit) || !locate_all(c, lin, n, index, MEM_W, p)) return false;
    if (!write_pieces(c, p, buf)) return false;
    if (hit) debug_data_access(c, lin, n, true);
    return true;
}

/* --- Segmentation --- */

static bool segment_fault(struct cpu *c, unsigned seg)
{
    cpu_raise_error(c, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
    return false;
}

static bool is_code(uint32_t ar) { return (ar & AR_S) != 0 && (ar & 8) != 0; }

/* SDM 3A table 3-1: read, write permission of a type; expand-down. */
static bool type_allows(uint32_t ar, enum access acc)
{
    if (acc == ACC_EXEC) return true;
    if (is_code(ar)) return acc == ACC_READ && (ar & 2) != 0;
    return acc == ACC_READ || (ar & 2) != 0;
}

void mem_update_window(struct cpu *c, unsigned seg)
{
    const struct seg_reg *s = &c->s.seg[seg];
    struct seg_window *w = &c->win[seg];
    if (in_64bit(c)) {
        w->base = seg == SEG_FS || seg == SEG_GS ? s->base : 0;
        w->read_top = w->write_top = UINT64_MAX;
        return;
    }
    w->base = s->base;
    w->read_top = w->write_top = 0;
    bool typed = in_protected(c);
    if (typed && ((s->ar & AR_UNUSABLE) != 0 || (s->ar & AR_P) == 0)) return;
    if (!is_code(s->ar) && (s->ar & 4) != 0 && typed) return; /* expand-down */
    uint64_t top = (uint64_t)s->limit + 1;
    uint64_t wrap = (UINT64_C(1) << 32) - (uint32_t)s->base;
    if (top > wrap) top = wrap;
    if (!typed || type_allows(s->ar, ACC_READ)) w->read_top = top;
    if (!typed || type_allows(s->ar, ACC_RMW)) w->write_top = top;
}

void mem_update_windows(struct cpu *c)
{
    for (unsigned seg = 0; seg < SEG_COUNT; seg++)
        mem_update_window(c, seg);
}

bool seg_linear(struct cpu *c, unsigned seg, uint64_t off, uint32_t n, enum access acc, uint64_t *lin)
{
    const struct seg_reg *s = &c->s.seg[seg];
    uint64_t last = off + (n != 0 ? n - 1 : 0);
    if (in_64bit(c)) {
        uint64_t base = seg == SEG_FS || seg == SEG_GS ? s->base : 0;
        *lin = base + off;
        if (!mem_canonical(c, *lin) || !mem_canonical(c, base + last)) return segment_fault(c, seg);
        return true;
    }
    bool typed = in_protected(c);
    if (typed && ((s->ar & AR_UNUSABLE) != 0 || (s->ar & AR_P) == 0 || !type_allows(s->ar, acc)))
        return segment_fault(c, seg);
    if (typed && !is_code(s->ar) && (s->ar & 4) != 0) {
        uint64_t top = s->ar & AR_DB ? UINT32_MAX : UINT16_MAX;
        if (off <= s->limit || last > top) return segment_fault(c, seg);
    } else if (last > s->limit || last < off) {
        return segment_fault(c, seg);
    }
    *lin = (uint32_t)(s->base + off);
    return true;
}

/* SDM 3A table 6-7; only natural sizes are checked here. */
static bool alignment_ok(struct cpu *c, uint64_t lin, uint32_t size)
{
    if (!c->mem_checked || (lin & (size - 1)) == 0) return true;
    if (c->s.cpl != 3 || (c->s.rflags & FL_AC) == 0 || (c->s.cr0 & CR0_AM) == 0) return true;
    return cpu_raise_error(c, VEC_AC, 0);
}

static bool checked_linear(struct cpu *c, unsigned seg, uint64_t off, uint32_t n, enum access acc)
{
    return seg_linear(c, seg, off, n, acc, &c->mem_lin) && alignment_ok(c, c->mem_lin, n);
}

/* --- Slow halves of the inline accesses --- */

bool mem_read_slow(struct cpu *c, unsigned seg, uint64_t off, uint32_t size)
{
    uint8_t b[8] = {0};
    if (!checked_linear(c, seg, off, size, ACC_READ)) return false;
    if (!lin_read_bytes(c, c->mem_lin, size, c->mmu_index, b)) return false;
    c->mem_value[0] = load_bytes(b, size);
    return true;
}

bool mem_write_slow(struct cpu *c, unsigned seg, uint64_t off, uint32_t size, uint64_t v)
{
    uint8_t b[8] = {0};
    store_bytes(b, size, v);
    return checked_linear(c, seg, off, size, ACC_WRITE) &&
           lin_write_bytes(c, c->mem_lin, size, c->mmu_index, b);
}

bool mem_rmw_slow(struct cpu *c, unsigned seg, uint64_t off, uint32_t size)
{
    uint8_t b[8] = {0};
    bool hit;
    if (!checked_linear(c, seg, off, size, ACC_RMW)) return false;
    if (!watch(c, c->mem_lin, size, true, &hit)) return false;
    if (!locate_all(c, c->mem_lin, size, c->mmu_index, MEM_R | MEM_W, c->rmw.piece)) return false;
    if (!read_pieces(c, c->rmw.piece, b)) return false;
    /* The commit cannot fail: a context that would refuse the write says so now, when the old value comes
     * back. */
    if (c->rmw.piece[0].kind == PIECE_APIC && !piece_write(c, &c->rmw.piece[0], b)) return false;
    if (c->rmw.piece[1].size != 0 && c->rmw.piece[1].kind == PIECE_APIC &&
        !piece_write(c, &c->rmw.piece[1], b + c->rmw.piece[0].size))
        return false;
    c->rmw.host = NULL;
    c->mem_value[0] = load_bytes(b, size);
    return true;
}

void mem_rmw_commit_slow(struct cpu *c, uint32_t size, uint64_t v)
{
    uint8_t b[8] = {0};
    uint64_t lin = c->rmw.piece[0].lin;
    store_bytes(b, size, v);
    (void)write_pieces(c, c->rmw.piece, b);
    if (c->mem_checked && breakpoint_hit(c, lin, size, true)) debug_data_access(c, lin, size, true);
}

static bool linear128(struct cpu *c, unsigned seg, uint64_t off, bool align16, enum access acc)
{
    if (!seg_linear(c, seg, off, 16, acc, &c->mem_lin)) return false;
    if (align16 && (c->mem_lin & 15) != 0) return cpu_raise_error(c, VEC_GP, 0);
    return alignment_ok(c, c->mem_lin, align16 ? 16 : 1);
}

bool mem_read128_slow(struct cpu *c, unsigned seg, uint64_t off, bool align16)
{
    uint8_t b[16] = {0};
    if (!linear128(c, seg, off, align16, ACC_READ)) return false;
    if (!lin_read_bytes(c, c->mem_lin, 16, c->mmu_index, b)) return false;
    c->mem_value[0] = load_bytes(b, 8);
    c->mem_value[1] = load_bytes(b + 8, 8);
    return true;
}

bool mem_write128_slow(struct cpu *c, unsigned seg, uint64_t off, bool align16, uint64_t lo, uint64_t hi)
{
    uint8_t b[16] = {0};
    store_bytes(b, 8, lo);
    store_bytes(b + 8, 8, hi);
    return linear128(c, seg, off, align16, ACC_WRITE) && lin_write_bytes(c, c->mem_lin, 16, c->mmu_index, b);
}

bool mem_read_bytes(struct cpu *c, unsigned seg, uint64_t off, void *buf, uint32_t n)
{
    uint64_t lin;
    return seg_linear(c, seg, off, n, ACC_READ, &lin) && lin_read_bytes(c, lin, n, c->mmu_index, buf);
}

bool mem_write_bytes(struct cpu *c, unsigned seg, uint64_t off, const void *buf, uint32_t n)
{
    uint64_t lin;
    return seg_linear(c, seg, off, n, ACC_WRITE, &lin) && lin_write_bytes(c, lin, n, c->mmu_index, buf);
}

static bool probe(struct cpu *c, uint64_t lin, uint32_t n, unsigned index, unsigned acc)
{
    struct mem_piece p[2];
    return n == 0 || locate_all(c, lin, n, index, acc, p);
}

bool mem_probe_write(struct cpu *c, unsigned seg, uint64_t off, uint32_t n)
{
    uint64_t lin;
    return seg_linear(c, seg, off, n, ACC_WRITE, &lin) && probe(c, lin, n, c->mmu_index, MEM_W);
}

bool mem_probe_read(struct cpu *c, unsigned seg, uint64_t off, uint32_t n)
{
    uint64_t lin;
    return seg_linear(c, seg, off, n, ACC_READ, &lin) && probe(c, lin, n, c->mmu_index, MEM_R);
}

/* --- Linear addresses with explicit rights --- */

static unsigned index_of_cpl(const struct cpu *c, unsigned cpl)
{
    return cpl == 3 ? MMU_USER : c->s.rflags & FL_AC ? MMU_SUPERVISOR_AC : MMU_SUPERVISOR;
}

static unsigned index_of(const struct cpu *c, bool supervisor)
{
    return supervisor ? MMU_SUPERVISOR : c->mmu_index;
}

static bool linear_read(struct cpu *c, uint64_t lin, uint32_t size, unsigned index, uint64_t *v)
{
    uint8_t b[8] = {0};
    if (!lin_read_bytes(c, lin, size, index, b)) return false;
    *v = load_bytes(b, size);
    return true;
}

static bool linear_write(struct cpu *c, uint64_t lin, uint32_t size, unsigned index, uint64_t v)
{
    uint8_t b[8] = {0};
    store_bytes(b, size, v);
    return lin_write_bytes(c, lin, size, index, b);
}

bool lin_read(struct cpu *c, uint64_t lin, uint32_t size, bool supervisor, uint64_t *v)
{
    return linear_read(c, lin, size, index_of(c, supervisor), v);
}

bool lin_write(struct cpu *c, uint64_t lin, uint32_t size, bool supervisor, uint64_t v)
{
    return linear_write(c, lin, size, index_of(c, supervisor), v);
}

bool lin_probe_write(struct cpu *c, uint64_t lin, uint32_t n, bool supervisor)
{
    return probe(c, lin, n, index_of(c, supervisor), MEM_W);
}

bool lin_read_cpl(struct cpu *c, uint64_t lin, uint32_t size, unsigned cpl, uint64_t *v)
{
    return linear_read(c, lin, size, index_of_cpl(c, cpl), v);
}

bool lin_write_cpl(struct cpu *c, uint64_t lin, uint32_t size, unsigned cpl, uint64_t v)
{
    return linear_write(c, lin, size, index_of_cpl(c, cpl), v);
}

bool lin_probe_write_cpl(struct cpu *c, uint64_t lin, uint32_t n, unsigned cpl)
{
    return probe(c, lin, n, index_of_cpl(c, cpl), MEM_W);
}
