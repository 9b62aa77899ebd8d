/* SPDX-License-Identifier: MIT */
/* Paging in every mode against a plain restatement of SDM 3A 4.6 and 4.7, accessed and dirty flags, reserved
 * bits, what stays in the TLB and what does not (4.10), accesses across pages, segments, exact mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/control.h"
#include "cpu/event.h"
#include "cpu/insn.h"
#include "cpu/mem.h"

enum { RAM = 16 << 20, TOP = 0x1000, L4 = 0x2000, L3 = 0x3000, L2 = 0x4000, L1 = 0x5000, DATA = 0x100000 };
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (UINT64_C(1) << 63)
#define FULL (P | W | U)

static struct {
    struct bus bus;
    struct cpu *c;
    unsigned mmio_reads, mmio_writes;
    uint64_t mmio_address[8], mmio_value;
    uint32_t mmio_size[8];
} board;

static uint64_t mmio_read(void *o, int id, uint64_t address, uint32_t size)
{
    (void)o, (void)id;
    board.mmio_address[board.mmio_reads & 7] = address;
    board.mmio_size[board.mmio_reads++ & 7] = size;
    return UINT64_C(0x8877665544332211) >> (8 * (address & 7));
}
static void mmio_write(void *o, int id, uint64_t address, uint32_t size, uint64_t value)
{
    (void)o, (void)id;
    board.mmio_address[board.mmio_writes & 7] = address;
    board.mmio_size[board.mmio_writes++ & 7] = size;
    board.mmio_value = value;
}
static bool no_intr(void *o, int id)
{
    (void)o, (void)id;
    return false;
}

static int setup_with(const char *model)
{
    const struct cpu_model *m;
    uint64_t features[FEATURE_WORDS];
    char err[128];
    memset(&board, 0, sizeof board);
    board.bus.ram = calloc(1, RAM);
    board.bus.page_flags = malloc(RAM >> PAGE_SHIFT);
    memset(board.bus.page_flags, PAGE_RAM, RAM >> PAGE_SHIFT);
    board.bus.ram_top = RAM;
    board.bus.a20_mask = ~UINT64_C(0);
    board.bus.mmio_read = mmio_read;
    board.bus.mmio_write = mmio_write;
    board.bus.intr_pending = no_intr;
    if (!cpu_model_parse(model, &m, features, err, sizeof err)) return -1;
    board.c = cpu_create(0, m, features, &board.bus, NULL);
    board.c->exact = true;
    return board.c == NULL;
}
static int setup(void **state)
{
    (void)state;
    return setup_with("max");
}
static int teardown(void **state)
{
    (void)state;
    cpu_destroy(board.c);
    free(board.bus.ram);
    free(board.bus.page_flags);
    return 0;
}

static void poke64(uint64_t at, uint64_t v) { host_store(board.bus.ram + at, 8, v); }
static void poke32(uint64_t at, uint32_t v) { host_store(board.bus.ram + at, 4, v); }
static uint64_t peek64(uint64_t at) { return host_load(board.bus.ram + at, 8); }
static uint32_t peek32(uint64_t at) { return (uint32_t)host_load(board.bus.ram + at, 4); }

static void set_state(uint64_t cr0, uint64_t cr4, uint64_t efer, uint64_t cr3)
{
    struct cpu *c = board.c;
    c->s.cr0 = cr0 | CR0_PE | CR0_ET;
    c->s.cr4 = cr4;
    c->s.efer = efer;
    c->s.cr3 = cr3;
    for (int i = 0; i < 6; i++)
        c->s.seg[i] = (struct seg_reg){.limit = 0xffffffff, .ar = AR_P | AR_S | AR_G | AR_DB | 3};
    c->s.seg[SEG_CS].ar = AR_P | AR_S | AR_G | 11 | (efer & EFER_LMA ? AR_L : AR_DB);
    tlb_flush_all(c);
    cpu_mode_changed(c);
}

static void long_mode(uint64_t cr4)
{
    set_state(CR0_PG | CR0_WP, CR4_PAE | cr4, EFER_LME | EFER_LMA | EFER_NXE, TOP);
}
static void set_cpl(unsigned cpl)
{
    board.c->s.cpl = (uint8_t)cpl;
    mmu_update_rights(board.c);
}

/* One 4-KByte page at linear 0x7000 (and its neighbour 0x8000) through four levels. */
static const uint64_t LIN = 0x7000;
static void map4(uint64_t upper, uint64_t leaf)
{
    poke64(TOP, L3 | upper);
    poke64(L3, L2 | FULL);
    poke64(L2, L1 | FULL);
    poke64(L1 + 8 * 7, DATA | leaf);
    poke64(L1 + 8 * 8, (DATA + 0x1000) | leaf);
    tlb_flush_all(board.c);
}

enum kind { READ, WRITE, FETCH };
static bool try(enum kind kind, uint64_t lin)
{
    struct cpu *c = board.c;
    uint64_t v = 0;
    c->fault.kind = FAULT_NONE;
    if (kind == FETCH) return mem_fetch_page(c, lin, &v);
    unsigned cpl = c->s.cpl;
    return kind == READ ? lin_read_cpl(c, lin, 4, cpl, &v) : lin_write_cpl(c, lin, 4, cpl, 0x12345678);
}
static void expect_pf(uint64_t lin, uint32_t error)
{
    assert_int_equal(board.c->fault.kind, FAULT_EXCEPTION);
    assert_int_equal(board.c->fault.event.vector, VEC_PF);
    assert_int_equal(board.c->fault.event.payload, lin);
    assert_int_equal(board.c->fault.event.error_code, error);
}
static void expect_gp(void)
{
    assert_int_equal(board.c->fault.kind, FAULT_EXCEPTION);
    assert_int_equal(board.c->fault.event.vector, VEC_GP);
    assert_int_equal(board.c->fault.event.error_code, 0);
}

/* SDM 3A 4.6.1 and 4.6.2, said once more in the manual's order. ~0: allowed. */
static uint32_t manual_error(uint64_t entries[2], enum kind kind, bool user, bool ac, bool wp, bool smep,
                             bool smap, bool nxe, uint32_t pkru, bool pke)
{
    uint32_t e = (kind == WRITE ? 2 : 0) | (user ? 4 : 0) | (kind == FETCH && (nxe || smep) ? 16 : 0);
    for (int i = 0; i < 2; i++) {
        if (!(entries[i] & P)) return e;
        if ((entries[i] & NX) && !nxe) return e | 1 | 8;
    }
    bool user_page = entries[0] & entries[1] & U, writable = entries[0] & entries[1] & W;
    bool nx = (entries[0] | entries[1]) & NX;
    bool ok, key = false;
    if (kind == FETCH) {
        ok = user ? user_page && !nx : !(user_page && smep) && !nx;
    } else {
        if (pke && user_page) key = (pkru & 1) || ((pkru & 2) && kind == WRITE && (user || wp));
        if (user)
            ok = user_page && (kind == READ || writable);
        else
            ok = !(user_page && smap && !ac) && (kind == READ || writable || !wp);
    }
    return ok && !key ? ~0u : e | 1 | (key ? 32 : 0);
}

static void rights_follow_the_manual(void **state)
{
    (void)state;
    static const uint64_t leaves[] = {0, P, P | W, P | U, FULL, P | NX, FULL | NX, P | W | NX, P | U | NX};
    for (unsigned bits = 0; bits < 128; bits++) {
        bool wp = bits & 1, smep = bits & 2, smap = bits & 4, nxe = bits & 8, pke = bits & 16, ac = bits & 32;
        bool deny = bits & 64;
        set_state(CR0_PG | (wp ? CR0_WP : 0),
                  CR4_PAE | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0) | (pke ? CR4_PKE : 0),
                  EFER_LME | EFER_LMA | (nxe ? EFER_NXE : 0), TOP);
        board.c->s.rflags = FL_FIXED | (ac ? FL_AC : 0);
        board.c->s.pkru = deny ? 1 : 2;
        for (unsigned up = 0; up < 9; up++) {
            for (unsigned low = 0; low < 9; low++) {
                map4(leaves[up], leaves[low]);
                for (int cpl = 0; cpl <= 3; cpl += 3) {
                    set_cpl((unsigned)cpl);
                    mmu_update(board.c);
                    for (int kind = READ; kind <= FETCH; kind++) {
                        uint64_t e[2] = {leaves[up], leaves[low]};
                        uint32_t want =
                            manual_error(e, kind, cpl == 3, ac, wp, smep, smap, nxe, board.c->s.pkru, pke);
                        bool ok = try(kind, LIN);
                        assert_int_equal(ok, want == ~0u);
                        if (!ok) expect_pf(LIN, want);
                        /* And once more, from whatever is cached now. */
                        assert_int_equal(try(kind, LIN), ok);
                    }
                }
            }
        }
    }
    board.c->s.pkru = 0;
}

static void supervisor_keys(void **state)
{
    (void)state;
    long_mode(CR4_PKS);
    set_cpl(0);
    map4(P | W, P | W | (UINT64_C(5) << 59));
    board.c->s.pkrs = UINT64_C(1) << 10;
    mmu_update(board.c);
    assert_false(try(READ, LIN));
    expect_pf(LIN, 1 | 32);
    assert_true(try(FETCH, LIN));
    board.c->s.pkrs = UINT64_C(2) << 10;
    mmu_update(board.c);
    assert_true(try(READ, LIN));
    assert_false(try(WRITE, LIN));
    expect_pf(LIN, 1 | 2 | 32);
}

static void accessed_and_dirty(void **state)
{
    (void)state;
    long_mode(0);
    set_cpl(0);
    map4(FULL, FULL);
    assert_true(try(READ, LIN));
    assert_int_equal(peek64(TOP), L3 | FULL | A);
    assert_int_equal(peek64(L2), L1 | FULL | A);
    assert_int_equal(peek64(L1 + 56), DATA | FULL | A);
    assert_true(try(WRITE, LIN));
    assert_int_equal(peek64(L1 + 56), DATA | FULL | A | D);
    assert_int_equal(peek64(L2), L1 | FULL | A);
    map4(FULL, P);
    set_cpl(3);
    assert_false(try(READ, LIN));
    assert_int_equal(peek64(L1 + 56), DATA | P);
}

static void reserved_bits(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    long_mode(0);
    set_cpl(0);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t v = UINT64_C(1) << bit;
        bool reserved = bit >= c->phys_bits && bit < 52;
        map4(FULL, FULL);
        if (bit > 5 && bit != 63) {
            poke64(L1 + 56, DATA | FULL | v);
            tlb_flush_all(c);
            assert_int_equal(try(READ, LIN), !reserved);
            if (reserved) expect_pf(LIN, 1 | 8);
        }
        /* 2-MByte page: bits 20:13 too; bit 7 in a PML4 entry. */
        map4(FULL, FULL);
        poke64(L2, (UINT64_C(0x400000) | FULL | PS) | (bit > 12 && bit < 63 ? v : 0));
        tlb_flush_all(c);
        bool large_ok = !(bit > 12 && bit < 63) || (bit > 20 && !reserved);
        assert_int_equal(try(READ, LIN), large_ok);
        poke64(TOP, L3 | FULL | PS);
        tlb_flush_all(c);
        assert_false(try(READ, LIN));
        expect_pf(LIN, 1 | 8);
    }
}

static void large_pages_and_five_levels(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    uint64_t gpa, hpa;
    long_mode(0);
    set_cpl(0);
    map4(FULL, FULL);
    poke64(L3 + 8, UINT64_C(0) | FULL | PS); /* 1 GByte at 1 GByte, to 0 */
    poke64(L2 + 8, UINT64_C(0x200000) | FULL | PS);
    assert_true(lin_debug_translate(c, 0x40000000 + DATA + 5, &gpa, &hpa));
    assert_int_equal(hpa, DATA + 5);
    poke64(DATA, 0x55);
    uint64_t v = 0;
    assert_true(lin_read(c, 0x40000000 + DATA, 8, true, &v));
    assert_int_equal(v, 0x55);
    assert_true(lin_write(c, 0x200000 + 0x1234, 8, true, 0x77));
    assert_int_equal(peek64(0x201234), 0x77);

    long_mode(CR4_LA57);
    poke64(L4, TOP | FULL);
    c->s.cr3 = L4;
    tlb_flush_all(c);
    assert_true(lin_read(c, 0x40000000 + DATA, 8, true, &v));
    assert_int_equal(v, 0x55);
    assert_false(lin_read(c, UINT64_C(0x0100000000000000), 8, true, &v));
    expect_gp();
    assert_false(lin_read(c, UINT64_C(0x0080000000000000), 8, true, &v));
    expect_pf(UINT64_C(0x0080000000000000), 0);
    long_mode(0);
    assert_false(lin_read(c, UINT64_C(0x0080000000000000), 8, true, &v));
    expect_gp();
}

static void legacy_paging(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    uint64_t v = 0;
    set_state(CR0_PG, CR4_PSE, 0, TOP);
    set_cpl(3);
    memset(board.bus.ram, 0, 0x10000);
    poke32(TOP, L1 | FULL);
    poke32(L1 + 4 * 7, DATA | FULL);
    poke32(DATA + 0x10, 0xabcd);
    assert_true(lin_read_cpl(c, LIN + 0x10, 4, 3, &v));
    assert_int_equal(v, 0xabcd);
    assert_int_equal(peek32(TOP), L1 | FULL | A);
    assert_int_equal(peek32(L1 + 28), DATA | FULL | A);
    /* NX and fetch bit do not exist without PAE and SMEP. */
    assert_false(try(FETCH, 0x9000));
    expect_pf(0x9000, 4);
    /* 4 MBytes; PSE-36 takes bits 20:13 as far as 40 bits of address. */
    poke32(TOP + 4 * 1, 0x400000 | FULL | PS);
    assert_true(lin_write_cpl(c, 0x400000 + 0x300000, 4, 3, 0x99));
    assert_int_equal(peek32(0x700000), 0x99);
    poke32(TOP + 4 * 2, 0x400000 | FULL | PS | 1 << 21);
    assert_false(lin_read_cpl(c, 0x800000, 4, 3, &v));
    expect_pf(0x800000, 1 | 4 | 8);
    /* Without PSE the bit is ignored. */
    set_state(CR0_PG, 0, 0, TOP);
    set_cpl(3);
    poke32(TOP + 4 * 1, L1 | FULL | PS);
    assert_true(lin_read_cpl(c, 0x400000 + LIN + 0x10, 4, 3, &v));
    assert_int_equal(v, 0xabcd);
}

static void pae_paging(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    uint64_t v = 0;
    set_state(0, CR4_PAE, EFER_NXE, 0x1020);
    set_cpl(0);
    memset(board.bus.ram, 0, 0x10000);
    poke64(0x1020, L2 | P);
    poke64(0x1020 + 24, L2 | P | 2);
    assert_false(cpu_write_cr0(c, CR0_PE | CR0_PG));
    expect_gp();
    poke64(0x1020 + 24, 0);
    assert_true(cpu_write_cr0(c, CR0_PE | CR0_PG));
    assert_int_equal(c->s.pdpte[0], L2 | P);
    poke64(L2, L1 | FULL);
    poke64(L1 + 56, DATA | FULL | NX);
    poke64(DATA, 0x1111);
    assert_true(lin_read(c, LIN, 8, true, &v));
    assert_int_equal(v, 0x1111);
    assert_int_equal(peek64(0x1020), L2 | P); /* no accessed flag in a PDPTE */
    assert_false(try(FETCH, LIN));
    expect_pf(LIN, 1 | 16);
    assert_false(try(READ, 0xc0000000));
    expect_pf(0xc0000000, 0);
    poke64(L1 + 64, DATA | FULL | UINT64_C(1) << 62);
    assert_false(try(READ, 0x8000));
    expect_pf(0x8000, 1 | 8);
    /* The registers stay until CR3 is loaded. */
    poke64(0x1020, 0);
    tlb_flush_all(c);
    assert_true(try(READ, LIN));
    assert_true(cpu_write_cr3(c, 0x1020));
    assert_false(try(READ, LIN));
}

/* --- What is cached --- */

static uint64_t read_lin(uint64_t lin)
{
    uint64_t v = 0;
    assert_true(lin_read(board.c, lin, 8, true, &v));
    return v;
}

static void stale_until_invalidated(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    long_mode(CR4_PGE);
    set_cpl(0);
    poke64(DATA, 1);
    poke64(DATA + 0x1000, 2);
    poke64(DATA + 0x2000, 3);
    map4(P | W, P | W);
    assert_int_equal(read_lin(LIN), 1);
    poke64(L1 + 56, (DATA + 0x2000) | P | W);
    assert_int_equal(read_lin(LIN), 1);
    tlb_invlpg(c, LIN);
    assert_int_equal(read_lin(LIN), 3);
    /* MOV CR3 drops it, unless global; MOV CR4 with PGE drops both. */
    poke64(L1 + 56, DATA | P | W);
    poke64(L1 + 64, (DATA + 0x1000) | P | W | G);
    assert_int_equal(read_lin(0x8000), 2);
    poke64(L1 + 64, (DATA + 0x2000) | P | W | G);
    assert_int_equal(read_lin(LIN), 3);
    assert_true(cpu_write_cr3(c, TOP));
    assert_int_equal(read_lin(LIN), 1);
    assert_int_equal(read_lin(0x8000), 2);
    assert_true(cpu_write_cr4(c, CR4_PAE));
    assert_int_equal(read_lin(0x8000), 3);
}

static void process_context_identifiers(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    long_mode(0);
    set_cpl(0);
    poke64(DATA, 1);
    poke64(DATA + 0x2000, 3);
    map4(P | W, P | W);
    assert_true(cpu_write_cr4(c, CR4_PAE | CR4_PCIDE));
    assert_true(cpu_write_cr3(c, TOP | 5));
    assert_int_equal(read_lin(LIN), 1);
    poke64(L1 + 56, (DATA + 0x2000) | P | W);
    assert_true(cpu_write_cr3(c, TOP | 6));
    assert_int_equal(read_lin(LIN), 3); /* another PCID: walked anew */
    assert_true(cpu_write_cr3(c, TOP | 5 | UINT64_C(1) << 63));
    assert_int_equal(c->s.cr3, TOP | 5);
    assert_int_equal(read_lin(LIN), 1); /* kept */
    tlb_flush_pcid(c, 0, 6, true);
    assert_int_equal(read_lin(LIN), 1);
    tlb_flush_page(c, 0, LIN, 6);
    assert_int_equal(read_lin(LIN), 1);
    tlb_flush_page(c, 0, LIN, 5);
    assert_int_equal(read_lin(LIN), 3);
    poke64(L1 + 56, DATA | P | W);
    assert_true(cpu_write_cr3(c, TOP | 5));
    assert_int_equal(read_lin(LIN), 1);
    /* PCIDE needs IA-32e mode and PCID 0; clearing it drops everything. */
    poke64(L1 + 56, (DATA + 0x2000) | P | W);
    assert_true(cpu_write_cr4(c, CR4_PAE));
    assert_int_equal(read_lin(LIN), 3);
    c->s.cr3 = TOP | 8;
    assert_false(cpu_write_cr4(c, CR4_PAE | CR4_PCIDE));
    expect_gp();
}

static void invlpg_drops_large_pages_whole(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    long_mode(0);
    set_cpl(0);
    map4(P | W, P | W);
    poke64(L2 + 8, UINT64_C(0x200000) | P | W | PS);
    poke64(0x200000, 1);
    poke64(0x3ff000, 2);
    poke64(0x400000, 3);
    poke64(0x5ff000, 4);
    assert_int_equal(read_lin(0x200000), 1);
    assert_int_equal(read_lin(0x3ff000), 2);
    poke64(L2 + 8, UINT64_C(0x400000) | P | W | PS);
    assert_int_equal(read_lin(0x200000), 1);
    assert_int_equal(read_lin(0x3ff000), 2);
    tlb_invlpg(c, 0x345678);
    assert_int_equal(read_lin(0x200000), 3);
    assert_int_equal(read_lin(0x3ff000), 4);
}

static void rights_changes_need_no_invalidation_to_be_safe(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    long_mode(0);
    set_cpl(0);
    map4(FULL, P | U);
    assert_true(try(READ, LIN));
    assert_false(try(WRITE, LIN));
    expect_pf(LIN, 1 | 2);
    poke64(L1 + 56, DATA | FULL); /* more rights: a fault looks at the tables again */
    assert_true(try(WRITE, LIN));
    poke64(L1 + 56, DATA | P);
    assert_true(cpu_write_cr0(c, CR0_PE | CR0_PG));
    assert_true(try(WRITE, LIN));
    /* CPL 3 does not use what CPL 0 filled. */
    map4(FULL, P | W);
    assert_true(try(WRITE, LIN));
    set_cpl(3);
    assert_false(try(READ, LIN));
    expect_pf(LIN, 1 | 4);
    /* An implicit supervisor access has supervisor rights at CPL 3 and SMAP in force whatever AC says. */
    uint64_t v = 0;
    assert_true(lin_read(c, LIN, 8, true, &v));
    long_mode(CR4_SMAP);
    c->s.rflags |= FL_AC;
    mmu_update(c);
    map4(FULL, FULL);
    assert_false(lin_read(c, LIN, 8, true, &v));
    expect_pf(LIN, 1);
}

/* --- Second stage --- */

/* Guest-physical page n is host-physical page n + SHIFT; perms by page. */
enum { SHIFT = 0x200 };
static struct {
    uint8_t perms[0x200];
    unsigned queries;
    struct gpa_query log[16];
} stage2;

static bool stage2_translate(struct cpu *c, const struct gpa_query *q, struct gpa_result *r)
{
    stage2.log[stage2.queries++ & 15] = *q;
    uint8_t p = stage2.perms[q->gpa >> 12 & 0x1ff];
    if ((q->flags & (GPA_READ | GPA_WRITE | GPA_EXEC) & ~(uint32_t)p) != 0) {
        c->fault.kind = FAULT_SECOND_STAGE;
        c->fault.gpa = *q;
        return false;
    }
    *r = (struct gpa_result){
        .hpa = q->gpa + (SHIFT << 12), .page_shift = 12, .perms = p, .user_exec = p & GPA_EXEC};
    return true;
}

static void second_stage(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    struct virt_ops ops = virt_bare;
    uint64_t v;
    ops.translate = stage2_translate;
    memset(stage2.perms, GPA_READ | GPA_WRITE | GPA_EXEC, sizeof stage2.perms);
    c->virt = &ops;
    c->tlb_tag = 7;
    c->second_stage_root = 0x9000;
    long_mode(0);
    set_cpl(3);
    uint64_t base = (uint64_t)SHIFT << 12;
    poke64(base + TOP, L3 | FULL);
    poke64(base + L3, L2 | FULL);
    poke64(base + L2, L1 | FULL);
    poke64(base + L1 + 56, DATA | FULL);
    poke64(base + DATA, 0x77);
    assert_true(lin_read_cpl(c, LIN, 8, 3, &v));
    assert_int_equal(v, 0x77);
    /* Four entries, four accessed flags, the page. */
    assert_int_equal(stage2.queries, 9);
    assert_int_equal(stage2.log[0].flags, GPA_READ | GPA_WALK | GPA_LIN_VALID);
    assert_int_equal(stage2.log[0].gpa, TOP);
    assert_int_equal(stage2.log[4].flags, GPA_READ | GPA_WRITE | GPA_WALK | GPA_WALK_AD | GPA_LIN_VALID);
    assert_int_equal(stage2.log[8].flags,
                     GPA_READ | GPA_USER | GPA_LIN_VALID | GPA_LEAF_USER | GPA_LEAF_WRITE);
    assert_int_equal(stage2.log[8].gpa, DATA);
    assert_int_equal(stage2.log[8].linear, LIN);
    /* Cached until the second stage is invalidated, for other permissions too. */
    stage2.queries = 0;
    stage2.perms[DATA >> 12] = GPA_READ;
    assert_true(lin_read_cpl(c, LIN, 8, 3, &v));
    assert_int_equal(stage2.queries, 0);
    assert_false(lin_write_cpl(c, LIN, 8, 3, 1));
    assert_int_equal(c->fault.kind, FAULT_SECOND_STAGE);
    assert_int_equal(c->fault.gpa.gpa, DATA);
    assert_true(c->fault.gpa.flags & GPA_WRITE);
    assert_true(lin_read_cpl(c, LIN, 8, 3, &v));
    stage2.perms[DATA >> 12] = 0;
    assert_true(lin_read_cpl(c, LIN, 8, 3, &v));
    tlb_flush_second_stage(c, 0x8000);
    assert_true(lin_read_cpl(c, LIN, 8, 3, &v));
    tlb_flush_second_stage(c, 0x9000);
    assert_false(lin_read_cpl(c, LIN, 8, 3, &v));
    stage2.perms[DATA >> 12] = GPA_READ | GPA_WRITE | GPA_EXEC;
    assert_true(lin_read_cpl(c, LIN, 8, 3, &v));
    /* A guest #PF comes before a fault of the page itself, after one of a paging structure. */
    poke64(base + L1 + 56, DATA | P);
    stage2.perms[DATA >> 12] = 0;
    tlb_flush_tag(c, 7, false);
    assert_false(lin_read_cpl(c, LIN, 8, 3, &v));
    expect_pf(LIN, 5);
    stage2.perms[L1 >> 12] = 0;
    assert_false(lin_read_cpl(c, LIN, 8, 3, &v));
    assert_int_equal(c->fault.kind, FAULT_SECOND_STAGE);
    assert_int_equal(c->fault.gpa.gpa, L1 + 56);
    assert_true(c->fault.gpa.flags & GPA_WALK);
    /* Another tag and no second stage: another address space, and back without a flush. */
    stage2.perms[L1 >> 12] = stage2.perms[DATA >> 12] = GPA_READ | GPA_WRITE | GPA_EXEC;
    poke64(base + L1 + 56, DATA | FULL);
    assert_true(lin_read_cpl(c, LIN, 8, 3, &v));
    stage2.queries = 0;
    c->virt = &virt_bare;
    c->tlb_tag = 0;
    mmu_update(c);
    map4(FULL, FULL);
    poke64(DATA, 0x11);
    assert_true(lin_read_cpl(c, LIN, 8, 3, &v));
    assert_int_equal(v, 0x11);
    c->virt = &ops;
    c->tlb_tag = 7;
    mmu_update(c);
    tlb_flush_pcid(c, 0, 0, false); /* of the other tag */
    assert_true(lin_read_cpl(c, LIN, 8, 3, &v));
    assert_int_equal(v, 0x77);
    c->virt = &virt_bare;
    c->tlb_tag = 0;
    c->second_stage_root = ~UINT64_C(0);
    mmu_update(c);
}

static void pdpte_in_memory(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    struct virt_ops ops = virt_bare;
    ops.pdpte_in_memory = true;
    c->virt = &ops;
    set_state(0, CR4_PAE, EFER_NXE, 0x1020);
    set_cpl(0);
    poke64(0x1020, L2 | P | 2);
    poke64(L2, L1 | FULL);
    poke64(L1 + 56, DATA | FULL);
    assert_true(cpu_write_cr0(c, CR0_PE | CR0_PG));
    assert_false(try(READ, LIN));
    expect_pf(LIN, 1 | 8);
    poke64(0x1020, L2 | P);
    assert_true(try(READ, LIN));
    assert_int_equal(peek64(0x1020), L2 | P);
    c->virt = &virt_bare;
    mmu_update(c);
}

/* --- Accesses --- */

static void crossing_a_page(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    uint64_t v = 0;
    long_mode(0);
    set_cpl(0);
    map4(FULL, FULL);
    poke64(L1 + 64, (DATA + 0x3000) | FULL);
    tlb_flush_all(c);
    assert_true(mem_write64(c, SEG_DS, LIN + 0xffd, UINT64_C(0x8877665544332211)));
    assert_int_equal(peek64(DATA + 0xff8) >> 40, 0x332211);
    assert_int_equal(peek64(DATA + 0x3000) & UINT64_C(0xffffffffff), UINT64_C(0x8877665544));
    assert_true(mem_read64(c, SEG_DS, LIN + 0xffd, &v));
    assert_true(v == UINT64_C(0x8877665544332211));
    assert_true(mem_rmw_read(c, SEG_DS, LIN + 0xffd, 8, &v));
    mem_rmw_commit(c, 8, v + 1);
    assert_int_equal(peek64(DATA + 0xff8) >> 40, 0x332212);
    /* The second page may not be written: the first stays. */
    poke64(L1 + 64, (DATA + 0x3000) | P);
    tlb_flush_all(c);
    assert_false(mem_write64(c, SEG_DS, LIN + 0xffd, 0));
    expect_pf(0x8000, 1 | 2);
    assert_int_equal(peek64(DATA + 0xff8) >> 40, 0x332212);
    assert_false(mem_rmw_read(c, SEG_DS, LIN + 0xffd, 8, &v));
    expect_pf(0x8000, 1 | 2);
}

static void devices_rom_and_nothing(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    uint64_t v = 0;
    uint32_t d;
    long_mode(0);
    set_cpl(0);
    map4(FULL, FULL);
    poke64(L1 + 56, UINT64_C(0xfee00000) | FULL);
    tlb_flush_all(c);
    c->exact = false;
    assert_false(mem_read32(c, SEG_DS, LIN, &d));
    assert_int_equal(c->fault.kind, FAULT_EXACT);
    assert_int_equal(board.mmio_reads, 0);
    c->exact = true;
    assert_true(mem_read32(c, SEG_DS, LIN + 0x30, &d));
    assert_int_equal(d, 0x44332211);
    assert_int_equal(board.mmio_address[0], 0xfee00030);
    /* Never across 8 bytes. */
    board.mmio_reads = 0;
    assert_true(mem_read64(c, SEG_DS, LIN + 6, &v));
    assert_int_equal(board.mmio_reads, 3);
    assert_int_equal(board.mmio_size[0], 2);
    assert_int_equal(board.mmio_size[1], 4);
    assert_int_equal(board.mmio_size[2], 2);
    assert_true(v == UINT64_C(0x6655443322118877));
    assert_true(mem_rmw_read(c, SEG_DS, LIN, 4, &v));
    mem_rmw_commit(c, 4, v ^ 1);
    assert_int_equal(board.mmio_writes, 1);
    assert_int_equal(board.mmio_value, 0x44332210);
    /* ROM: writes vanish, reads do not. */
    board.bus.page_flags[DATA >> 12] |= PAGE_ROM;
    map4(FULL, FULL);
    poke64(DATA, 0x5a);
    assert_true(mem_write64(c, SEG_DS, LIN, 1));
    assert_true(mem_read64(c, SEG_DS, LIN, &v));
    assert_int_equal(v, 0x5a);
    board.bus.page_flags[DATA >> 12] = PAGE_RAM;
}

static void dirty_pages_and_snapshots(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    long_mode(0);
    set_cpl(0);
    map4(FULL, FULL);
    board.bus.page_flags[DATA >> 12] = PAGE_RAM;
    uint64_t v = 0;
    assert_true(mem_read64(c, SEG_DS, LIN, &v));
    assert_int_equal(board.bus.page_flags[DATA >> 12], PAGE_RAM);
    assert_true(mem_write64(c, SEG_DS, LIN, 1));
    assert_int_equal(board.bus.page_flags[DATA >> 12], PAGE_RAM | PAGE_DIRTY);
    board.bus.page_flags[DATA >> 12] = PAGE_RAM;
    tlb_protect_all(c);
    assert_true(mem_write64(c, SEG_DS, LIN, 2));
    assert_int_equal(board.bus.page_flags[DATA >> 12], PAGE_RAM | PAGE_DIRTY);
}

static void expect_fault(unsigned vector)
{
    assert_int_equal(board.c->fault.kind, FAULT_EXCEPTION);
    assert_int_equal(board.c->fault.event.vector, vector);
}

static void segments(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    uint32_t v = 0;
    set_state(0, 0, 0, 0);
    set_cpl(0);
    c->s.seg[SEG_DS] = (struct seg_reg){.base = 0x1000, .limit = 0xfff, .ar = AR_P | AR_S | AR_DB | 3};
    c->s.seg[SEG_ES] =
        (struct seg_reg){.base = 0x1000, .limit = 0xfff, .ar = AR_P | AR_S | AR_DB | 7}; /* down */
    c->s.seg[SEG_FS] =
        (struct seg_reg){.base = 0, .limit = 0xffffffff, .ar = AR_P | AR_S | AR_DB | 1}; /* read-only */
    c->s.seg[SEG_GS] = (struct seg_reg){.ar = AR_UNUSABLE};
    c->s.seg[SEG_SS] = (struct seg_reg){.base = 0xfffff000, .limit = 0xffff, .ar = AR_P | AR_S | 3};
    mem_update_windows(c);
    assert_true(mem_read32(c, SEG_DS, 0xffc, &v));
    assert_false(mem_read32(c, SEG_DS, 0xffd, &v));
    expect_fault(VEC_GP);
    assert_false(mem_read32(c, SEG_DS, 0xffffffff, &v));
    assert_false(mem_read32(c, SEG_ES, 0xfff, &v));
    assert_true(mem_read32(c, SEG_ES, 0x1000, &v));
    assert_false(mem_read32(c, SEG_ES, 0xfffffffe, &v));
    assert_true(mem_read32(c, SEG_FS, 0, &v));
    assert_false(mem_write32(c, SEG_FS, 0, 1));
    expect_fault(VEC_GP);
    assert_false(mem_read32(c, SEG_GS, 0, &v));
    assert_false(mem_read32(c, SEG_CS, 0xffffffff, &v));
    assert_false(mem_write32(c, SEG_CS, 0, 1));
    poke32(0x500, 0x1234);
    assert_true(mem_read32(c, SEG_SS, 0x1500, &v)); /* base + offset wraps at 4 GBytes */
    assert_int_equal(v, 0x1234);
    assert_false(mem_read32(c, SEG_SS, 0xfffe, &v));
    expect_fault(VEC_SS);
    long_mode(0);
    set_cpl(0);
    assert_false(mem_read32(c, SEG_DS, UINT64_C(0x800000000000), &v));
    expect_gp();
    assert_false(mem_read32(c, SEG_SS, UINT64_C(0x7ffffffffffe), &v));
    expect_fault(VEC_SS);
}

static void alignment_check(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    uint32_t v = 0;
    set_state(CR0_PG | CR0_WP | CR0_AM, CR4_PAE, EFER_LME | EFER_LMA | EFER_NXE, TOP);
    map4(FULL, FULL);
    c->s.rflags |= FL_AC;
    set_cpl(3);
    assert_true(mem_read32(c, SEG_DS, LIN + 4, &v));
    assert_false(mem_read32(c, SEG_DS, LIN + 2, &v));
    expect_fault(VEC_AC);
    set_cpl(0);
    assert_true(mem_read32(c, SEG_DS, LIN + 2, &v));
    c->s.rflags &= ~(uint64_t)FL_AC;
}

static void data_breakpoints(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    uint32_t v = 0;
    long_mode(0);
    set_cpl(0);
    map4(FULL, FULL);
    c->s.dr[1] = LIN + 8;
    c->s.dr7 = 0x400 | 2 << 2 | 1 << 20 | 3 << 22; /* G1, write, 4 bytes */
    mmu_update_rights(c);
    c->exact = false;
    assert_true(mem_write32(c, SEG_DS, LIN + 4, 1));
    assert_true(mem_read32(c, SEG_DS, LIN + 8, &v));
    assert_false(mem_write32(c, SEG_DS, LIN + 10, 1));
    assert_int_equal(c->fault.kind, FAULT_EXACT);
    c->exact = true;
    assert_true(mem_write32(c, SEG_DS, LIN + 10, 1));
    assert_int_equal(c->s.pending_dbg & 0xf, 2);
    c->s.pending_dbg = 0;
    c->s.dr7 = 0x400;
    mmu_update_rights(c);
}

/* --- Control registers --- */

static void control_register_rules(void **state)
{
    (void)state;
    struct cpu *c = board.c;
    long_mode(0);
    set_cpl(0);
    static const struct {
        uint64_t value;
        bool ok;
    } cr0[] = {
        {CR0_PE | CR0_PG | CR0_WP, true},
        {UINT64_C(1) << 32 | CR0_PE | CR0_PG, false},
        {CR0_PG, false},
        {CR0_PE | CR0_PG | CR0_NW, false},
        {CR0_PE | CR0_PG | CR0_NW | CR0_CD, true},
        {CR0_PE, false},                  /* paging off in 64-bit mode */
        {CR0_PE | CR0_PG | 1 << 6, true}, /* reserved bits of the low half are ignored */
    };
    for (unsigned i = 0; i < sizeof cr0 / sizeof cr0[0]; i++) {
        uint64_t before = c->s.cr0;
        c->fault.kind = FAULT_NONE;
        assert_int_equal(cpu_write_cr0(c, cr0[i].value), cr0[i].ok);
        if (!cr0[i].ok) {
            expect_gp();
            assert_int_equal(c->s.cr0, before);
        }
    }
    assert_int_equal(c->s.cr0, CR0_PE | CR0_PG | CR0_ET);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t v = UINT64_C(1) << bit | CR4_PAE;
        bool valid = (v & ~cpu_cr4_valid(c)) == 0 && v != (CR4_LA57 | CR4_PAE);
        if (v == (CR4_PCIDE | CR4_PAE)) valid = true;
        assert_int_equal(cpu_write_cr4(c, v), valid);
        assert_true(cpu_write_cr4(c, CR4_PAE));
    }
    assert_false(cpu_write_cr4(c, 0));
    assert_false(cpu_write_cr3(c, UINT64_C(1) << c->phys_bits));
    assert_false(cpu_write_cr3(c, UINT64_C(1) << 63));
    assert_false(cpu_write_efer(c, EFER_NXE)); /* LME with paging on */
    assert_true(cpu_write_efer(c, EFER_NXE | EFER_LME | EFER_SCE));
    assert_int_equal(c->s.efer, EFER_NXE | EFER_LME | EFER_SCE | EFER_LMA);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t v = UINT64_C(1) << bit | EFER_LME;
        assert_int_equal(cpu_write_efer(c, v), (v & ~cpu_efer_valid(c)) == 0);
    }
    /* Leaving and entering IA-32e mode: from compatibility mode. */
    c->s.seg[SEG_CS].ar = AR_P | AR_S | AR_G | AR_DB | 11;
    cpu_mode_changed(c);
    assert_true(cpu_write_cr0(c, CR0_PE));
    assert_int_equal(c->s.efer & EFER_LMA, 0);
    assert_true(cpu_write_cr4(c, 0));
    assert_false(cpu_write_cr0(c, CR0_PE | CR0_PG)); /* LME without PAE */
    assert_true(cpu_write_cr4(c, CR4_PAE));
    c->s.seg[SEG_TR].ar = AR_P | 11;
    assert_true(cpu_write_cr0(c, CR0_PE | CR0_PG));
    assert_true(c->s.efer & EFER_LMA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rights_follow_the_manual, setup, teardown),
        cmocka_unit_test_setup_teardown(supervisor_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(accessed_and_dirty, setup, teardown),
        cmocka_unit_test_setup_teardown(reserved_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(large_pages_and_five_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(legacy_paging, setup, teardown),
        cmocka_unit_test_setup_teardown(pae_paging, setup, teardown),
        cmocka_unit_test_setup_teardown(stale_until_invalidated, setup, teardown),
        cmocka_unit_test_setup_teardown(process_context_identifiers, setup, teardown),
        cmocka_unit_test_setup_teardown(invlpg_drops_large_pages_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(rights_changes_need_no_invalidation_to_be_safe, setup, teardown),
        cmocka_unit_test_setup_teardown(second_stage, setup, teardown),
        cmocka_unit_test_setup_teardown(pdpte_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(crossing_a_page, setup, teardown),
        cmocka_unit_test_setup_teardown(devices_rom_and_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(dirty_pages_and_snapshots, setup, teardown),
        cmocka_unit_test_setup_teardown(segments, setup, teardown),
        cmocka_unit_test_setup_teardown(alignment_check, setup, teardown),
        cmocka_unit_test_setup_teardown(data_breakpoints, setup, teardown),
        cmocka_unit_test_setup_teardown(control_register_rules, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
