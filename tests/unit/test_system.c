/* SPDX-License-Identifier: MIT */
/* System instructions, one line a case: what they leave in registers, which fault comes first, and whether
 * the intercept of a context comes before it (SDM 3C 26.1.1; SDM 2A-2D under each name). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/mem.h"
#include "cpu/quirk.h"
#include "flat_bus.h"

enum { CODE = 0x10000, NONE = -1, EXIT = -2 };

static struct flat_board *board;
static struct cpu *c;
static int seen_vector;
static uint64_t seen_error;

static void on_exception(void *opaque, struct cpu *cpu, enum probe_point point, uint64_t a, uint64_t b)
{
    (void)opaque, (void)cpu, (void)point;
    if (seen_vector != NONE) return;
    seen_vector = (int)a;
    seen_error = b;
}

static int setup(void **state)
{
    (void)state;
    board = flat_board_create(16 << 20, 1, NULL);
    c = board->cpu[0];
    probe_subscribe(&board->probes, on_exception, NULL, UINT64_C(1) << PROBE_EXCEPTION);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    flat_board_destroy(board);
    return 0;
}

static struct virt_ops ops;
static int exit_id;
static struct icpt_info exit_info;
static enum virt_verdict record_exit(struct cpu *cpu, enum icpt id, const struct icpt_info *info)
{
    (void)cpu;
    exit_id = (int)id;
    exit_info = *info;
    assert_non_null(info->insn);
    return VIRT_EXITED;
}

struct row {
    const char *what, *bytes;
    unsigned cpl;
    uint64_t cr4; /* added to PAE, OSFXSR, OSXMMEXCPT */
    uint64_t rax, rcx, rdx, rbx;
    int vector; /* NONE, EXIT or the fault */
    int id;     /* intercept armed, 0: none */
    int reg;    /* to look at afterwards */
    uint64_t value;
};

static void prepare(enum flat_mode mode, const struct row *r)
{
    uint8_t code[16];
    unsigned n = flat_hex(r->bytes, code, sizeof code);
    flat_set_mode(c, mode);
    flat_write(board, CODE, code, n);
    c->s.cr4 |= r->cr4;
    c->s.cpl = (uint8_t)r->cpl;
    c->s.gpr[RAX] = r->rax;
    c->s.gpr[RCX] = r->rcx;
    c->s.gpr[RDX] = r->rdx;
    c->s.gpr[RBX] = r->rbx;
    c->s.gpr[RSP] = 0x20000;
    c->s.random = 1;
    ops = virt_bare;
    ops.insn = record_exit;
    memset(c->icpt_armed, 0, sizeof c->icpt_armed);
    exit_id = 0;
    if (r->id != 0) {
        c->virt = &ops;
        c->icpt_armed[r->id / 64] |= UINT64_C(1) << (r->id % 64);
    }
    cpu_mode_changed(c);
    seen_vector = NONE;
    seen_error = 0;
}

static void run_rows(enum flat_mode mode, const struct row *rows, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct row *r = &rows[i];
        prepare(mode, r);
        flat_run(c, CODE, 1);
        int vector = exit_id != 0 ? EXIT : seen_vector;
        if (vector != r->vector) fail_msg("%s: outcome %d, not %d", r->what, vector, r->vector);
        if (vector == EXIT && exit_id != r->id) fail_msg("%s: intercept %d", r->what, exit_id);
        if (vector == VEC_GP) assert_int_equal(seen_error, 0);
        if (vector == NONE && c->s.gpr[r->reg] != r->value)
            fail_msg("%s: register %d is %llx", r->what, r->reg, (unsigned long long)c->s.gpr[r->reg]);
    }
}
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define LONG_CR4 (CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT)
#define NONCANON UINT64_C(0x800000000000)

static const struct row long_rows[] = {
    {"mov rax, cr4", "0F 20 E0", 0, 0, 1, 0, 0, 0, NONE, 0, RAX, LONG_CR4},
    {"mov rax, cr8", "44 0F 20 C0", 0, 0, 1, 0, 0, 0, NONE, 0, RAX, 0},
    {"mov ignores mod", "0F 20 20", 0, 0, 1, 0, 0, 0, NONE, 0, RAX, LONG_CR4},
    {"cr1 does not exist", "0F 20 C8", 0, 0, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"cr1 at CPL 3 neither", "0F 20 C8", 3, 0, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"mov from cr0 at CPL 3", "0F 20 C0", 3, 0, 0, 0, 0, 0, VEC_GP, ICPT_CR_READ, 0, 0},
    {"mov from cr3 exits", "0F 20 D8", 0, 0, 0, 0, 0, 0, EXIT, ICPT_CR_READ, 0, 0},
    {"bad cr4 exits first", "0F 22 E0", 0, 0, ~UINT64_C(0), 0, 0, 0, EXIT, ICPT_CR_WRITE, 0, 0},
    {"bad cr4", "0F 22 E0", 0, 0, ~UINT64_C(0), 0, 0, 0, VEC_GP, 0, 0, 0},
    {"cr8 above 15", "44 0F 22 C0", 0, 0, 16, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"lock mov is #UD", "F0 0F 20 E0", 0, 0, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"clts at CPL 3", "0F 06", 3, 0, 0, 0, 0, 0, VEC_GP, ICPT_CLTS, 0, 0},
    {"smsw eax", "0F 01 E0", 3, 0, 0, 0, 0, 0, NONE, 0, RAX, CR0_PG | CR0_NE | CR0_ET | CR0_PE},
    {"smsw ax keeps the rest", "66 0F 01 E0", 3, 0, 0x1234567800000000, 0, 0, 0, NONE, 0, RAX,
     0x1234567800000031},
    {"smsw with UMIP", "0F 01 E0", 3, CR4_UMIP, 0, 0, 0, 0, VEC_GP, ICPT_SMSW, 0, 0},
    {"lmsw cannot clear PE", "0F 01 F0", 0, 0, 0, 0, 0, 0, NONE, 0, RAX, 0},
    {"lmsw exits", "0F 01 F0", 0, 0, 8, 0, 0, 0, EXIT, ICPT_LMSW, 0, 0},
    {"mov dr7 exits before CPL", "0F 21 F8", 3, 0, 0, 0, 0, 0, EXIT, ICPT_DR_READ, 0, 0},
    {"mov dr7 at CPL 3", "0F 21 F8", 3, 0, 0, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"mov rax, dr7", "0F 21 F8", 0, 0, 0, 0, 0, 0, NONE, 0, RAX, 0x400},
    {"mov rax, dr4", "0F 21 E0", 0, 0, 0, 0, 0, 0, NONE, 0, RAX, 0xffff0ff0},
    {"mov rax, dr4 with DE", "0F 21 E0", 0, CR4_DE, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"mov dr4 with DE at CPL 3", "0F 21 E0", 3, CR4_DE, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"dr8 does not exist", "44 0F 21 C0", 0, 0, 0, 0, 0, 0, VEC_UD, ICPT_DR_READ, 0, 0},
    {"mov dr6, high half", "0F 23 F0", 0, 0, UINT64_C(1) << 32, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"rdmsr at CPL 3", "0F 32", 3, 0, 0, 0x10a, 0, 0, VEC_GP, ICPT_RDMSR, 0, 0},
    {"unknown MSR exits first", "0F 32", 0, 0, 0, 0x12345, 0, 0, EXIT, ICPT_RDMSR, 0, 0},
    {"unknown MSR", "0F 32", 0, 0, 0, 0x12345, 0, 0, VEC_GP, 0, 0, 0},
    {"rdmsr PAT", "0F 32", 0, 0, ~UINT64_C(0), 0x277, ~UINT64_C(0), 0, NONE, 0, RDX, 0x00070406},
    {"wrmsr non-canonical", "0F 30", 0, 0, 0, 0xc0000082, 0x80000000, 0, VEC_GP, 0, 0, 0},
    {"rdtsc", "0F 31", 3, 0, 0, 0, 5, 0, NONE, 0, RDX, 0},
    {"rdtsc with TSD at CPL 3", "0F 31", 3, CR4_TSD, 0, 0, 0, 0, VEC_GP, ICPT_RDTSC, 0, 0},
    {"rdtscp", "0F 01 F9", 3, 0, 0, 77, 0, 0, NONE, 0, RCX, 0},
    {"rdtscp with TSD at CPL 3", "0F 01 F9", 3, CR4_TSD, 0, 0, 0, 0, VEC_GP, ICPT_RDTSCP, 0, 0},
    {"rdpmc at CPL 3", "0F 33", 3, 0, 0, 0, 0, 0, VEC_GP, ICPT_RDPMC, 0, 0},
    {"rdpmc exits", "0F 33", 0, 0, 0, 0, 0, 0, EXIT, ICPT_RDPMC, 0, 0},
    {"rdpmc of no counter", "0F 33", 0, 0, 0, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"rdpid rax", "F3 0F C7 F8", 3, 0, 9, 0, 0, 0, NONE, 0, RAX, 0},
    {"cpuid", "0F A2", 3, 0, 0, 0, 0, 0, NONE, 0, RBX, 0x756e6547},
    {"cpuid exits at CPL 3", "0F A2", 3, 0, 0, 0, 0, 0, EXIT, ICPT_CPUID, 0, 0},
    {"hlt at CPL 3", "F4", 3, 0, 0, 0, 0, 0, VEC_GP, ICPT_HLT, 0, 0},
    {"hlt exits", "F4", 0, 0, 0, 0, 0, 0, EXIT, ICPT_HLT, 0, 0},
    {"monitor at CPL 3", "0F 01 C8", 3, 0, 0, 0, 0, 0, VEC_UD, ICPT_MONITOR, 0, 0},
    {"monitor with ECX", "0F 01 C8", 0, 0, 0x1000, 1, 0, 0, VEC_GP, 0, 0, 0},
    {"monitor of nothing", "0F 01 C8", 0, 0, 0x7f00000000, 0, 0, 0, VEC_PF, 0, 0, 0},
    {"mwait at CPL 3", "0F 01 C9", 3, 0, 0, 0, 0, 0, VEC_UD, ICPT_MWAIT, 0, 0},
    {"mwait exits before ECX", "0F 01 C9", 0, 0, 0, 2, 0, 0, EXIT, ICPT_MWAIT, 0, 0},
    {"mwait with ECX", "0F 01 C9", 0, 0, 0, 2, 0, 0, VEC_GP, 0, 0, 0},
    {"xgetbv without OSXSAVE", "0F 01 D0", 3, 0, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"xgetbv", "0F 01 D0", 3, CR4_OSXSAVE, 0, 0, 7, 0, NONE, 0, RAX, 1},
    {"xgetbv of 2", "0F 01 D0", 3, CR4_OSXSAVE, 0, 2, 0, 0, VEC_GP, 0, 0, 0},
    {"xsetbv at CPL 3", "0F 01 D1", 3, CR4_OSXSAVE, 3, 0, 0, 0, VEC_GP, ICPT_XSETBV, 0, 0},
    {"xsetbv exits", "0F 01 D1", 0, CR4_OSXSAVE, 0, 0, 0, 0, EXIT, ICPT_XSETBV, 0, 0},
    {"xsetbv without x87", "0F 01 D1", 0, CR4_OSXSAVE, 2, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"xsetbv AVX", "0F 01 D1", 0, CR4_OSXSAVE, 7, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"rdpkru without PKE", "0F 01 EE", 3, 0, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"rdpkru", "0F 01 EE", 3, CR4_PKE, 9, 0, 9, 0, NONE, 0, RDX, 0},
    {"wrpkru with ECX", "0F 01 EF", 3, CR4_PKE, 0, 1, 0, 0, VEC_GP, 0, 0, 0},
    {"clac at CPL 3", "0F 01 CA", 3, 0, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"swapgs at CPL 3", "0F 01 F8", 3, 0, 0, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"rdfsbase without FSGSBASE", "F3 48 0F AE C0", 3, 0, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"rdfsbase", "F3 48 0F AE C0", 3, CR4_FSGSBASE, 5, 0, 0, 0, NONE, 0, RAX, 0},
    {"wrgsbase non-canonical", "F3 48 0F AE D8", 3, CR4_FSGSBASE, NONCANON, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"rdrand ax keeps the rest", "66 0F C7 F1", 3, 0, 0, UINT64_C(0x1111000000000000), 0, 0, EXIT,
     ICPT_RDRAND, 0, 0},
    {"invlpg non-canonical", "0F 01 38", 0, 0, NONCANON, 0, 0, 0, NONE, 0, RAX, NONCANON},
    {"invlpg at CPL 3", "0F 01 38", 3, 0, 0, 0, 0, 0, VEC_GP, ICPT_INVLPG, 0, 0},
    {"invlpg of a register", "0F 01 FF", 0, 0, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"invpcid exits before type", "66 0F 38 82 03", 0, 0, 9, 0, 0, 0x2000, EXIT, ICPT_INVPCID, 0, 0},
    {"invpcid of type 4", "66 0F 38 82 03", 0, 0, 4, 0, 0, 0x2000, VEC_GP, 0, 0, 0},
    {"invpcid of all", "66 0F 38 82 03", 0, 0, 2, 0, 0, 0x2000, NONE, 0, RAX, 2},
    {"invpcid at CPL 3", "66 0F 38 82 03", 3, 0, 2, 0, 0, 0x2000, VEC_GP, ICPT_INVPCID, 0, 0},
    {"wbinvd at CPL 3", "0F 09", 3, 0, 0, 0, 0, 0, VEC_GP, ICPT_WBINVD, 0, 0},
    {"wbnoinvd exits", "F3 0F 09", 0, 0, 0, 0, 0, 0, EXIT, ICPT_WBINVD, 0, 0},
    {"clflush of nothing", "0F AE 38", 3, 0, 0x7f00000000, 0, 0, 0, VEC_PF, 0, 0, 0},
    {"clflush", "0F AE 38", 3, 0, 0x3000, 0, 0, 0, NONE, 0, RAX, 0x3000},
    {"tpause reserved", "66 0F AE F0", 3, 0, 2, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"umwait", "F2 0F AE F0", 3, 0, 1, 0, 0, 0, NONE, 0, RAX, 1},
    {"serialize", "0F 01 E8", 3, 0, 5, 0, 0, 0, NONE, 0, RAX, 5},
};

static void in_64bit_mode(void **state)
{
    (void)state;
    run_rows(FLAT_LONG64, long_rows, COUNT(long_rows));
}

static const struct row protected_rows[] = {
    {"mov eax, cr0", "0F 20 C0", 0, 0, UINT64_C(0xffffffff00000000), 0, 0, 0, NONE, 0, RAX, 0x31},
    {"swapgs outside 64-bit mode", "0F 01 F8", 0, 0, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"rdfsbase outside 64-bit mode", "F3 0F AE C0", 0, CR4_FSGSBASE, 0, 0, 0, 0, VEC_UD, 0, 0, 0},
    {"lmsw sets TS", "0F 01 F0", 0, 0, 9, 0, 0, 0, NONE, 0, RAX, 9},
    {"cr0 PG without PE", "0F 22 C0", 0, 0, 0x80000000, 0, 0, 0, VEC_GP, 0, 0, 0},
    {"rdtsc in 32-bit", "0F 31", 0, 0, 0, 0, 9, 0, NONE, 0, RDX, 0},
};

static void in_protected_mode(void **state)
{
    (void)state;
    run_rows(FLAT_PROT32, protected_rows, COUNT(protected_rows));
}

/* What the table cannot say. */
static void effects(void **state)
{
    (void)state;
    prepare(FLAT_LONG64, &(struct row){"", "0F 23 F8", 0, 0, 0xffffffff, 0, 0, 0, 0, 0, 0, 0});
    flat_run(c, CODE, 1);
    assert_true(c->s.dr7 == 0xffff27ff);
    /* General detect: #DB with BD, before the access. */
    prepare(FLAT_LONG64, &(struct row){"", "0F 23 C0", 0, 0, 5, 0, 0, 0, 0, 0, 0, 0});
    c->s.dr7 = 0x2400;
    flat_run(c, CODE, 1);
    assert_int_equal(seen_vector, VEC_DB);
    assert_int_equal(c->s.dr[0], 0);
    prepare(FLAT_LONG64, &(struct row){"", "0F 23 F0", 0, 0, 0xffffffff, 0, 0, 0, 0, 0, 0, 0});
    flat_run(c, CODE, 1);
    assert_true(c->s.dr6 == 0xffffefff);
    /* The second family looks at privilege and DE first. */
    prepare(FLAT_LONG64, &(struct row){"", "0F 21 F8", 3, 0, 0, 0, 0, 0, 0, ICPT_DR_READ, 0, 0});
    c->quirks = 1u << QUIRK_LATE_EXITS;
    flat_run(c, CODE, 1);
    assert_int_equal(seen_vector, VEC_GP);
    c->quirks = 0;
    /* SWAPGS exchanges, WRFSBASE takes effect for the next access. */
    prepare(FLAT_LONG64,
            &(struct row){"", "0F 01 F8 65 48 8B 04 25 00 00 00 00", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    c->s.seg[SEG_GS].base = 0x111;
    c->s.kernel_gs_base = 0x30000;
    flat_write(board, 0x30000, "\x21\x43\0\0\0\0\0\0", 8);
    cpu_mode_changed(c);
    flat_run(c, CODE, 2);
    assert_int_equal(c->s.gpr[RAX], 0x4321);
    assert_int_equal(c->s.kernel_gs_base, 0x111);
    /* STAC lets the supervisor into user pages, CLAC ends that. */
    prepare(FLAT_LONG64,
            &(struct row){"", "0F 01 CB 8A 03 0F 01 CA 8A 03", 0, 0, 0, 0, 0, 0x40000, 0, 0, 0, 0});
    flat_write(board, 0x9000, "\x07\xa0\0\0\0\0\0\0", 8);
    flat_write(board, 0xa000, "\x83\0\0\0\0\0\0\0", 8); /* code page: supervisor */
    flat_write(board, 0xa000 + 8, "\x87\0\x20\0\0\0\0\0", 8);
    c->s.gpr[RBX] = 0x200000;
    c->s.cr4 |= CR4_SMAP;
    tlb_flush_all(c);
    cpu_mode_changed(c);
    flat_run(c, CODE, 3);
    assert_int_equal(seen_vector, NONE);
    flat_run(c, CODE + 8, 1);
    assert_int_equal(seen_vector, VEC_PF);
    assert_int_equal(seen_error, 1);
    /* HLT sleeps behind itself. */
    prepare(FLAT_LONG64, &(struct row){"", "F4", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    flat_run(c, CODE, 1);
    assert_int_equal(c->s.activity, ACTIVITY_HLT);
    assert_int_equal(c->s.gpr[REG_RIP], CODE + 1);
    /* Intercept information. */
    prepare(FLAT_LONG64, &(struct row){"", "0F 22 D9", 0, 0, 0, 0x1234000, 0, 0, 0, ICPT_CR_WRITE, 0, 0});
    flat_run(c, CODE, 1);
    assert_int_equal(exit_info.number, 3);
    assert_int_equal(exit_info.gpr, RCX);
    assert_int_equal(exit_info.value, 0x1234000);
    prepare(FLAT_LONG64, &(struct row){"", "0F 30", 0, 0, 2, 0x1b, 1, 0, 0, ICPT_WRMSR, 0, 0});
    flat_run(c, CODE, 1);
    assert_int_equal(exit_info.number, 0x1b);
    assert_true(exit_info.value == UINT64_C(0x100000002));
    /* RDRAND sets CF, clears the rest, and is a function of the state. */
    prepare(FLAT_LONG64, &(struct row){"", "48 0F C7 F0", 3, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    flat_run(c, CODE, 1);
    uint64_t first = c->s.gpr[RAX];
    assert_int_equal(cpu_read_rflags(c) & FL_OSZAPC, FL_CF);
    prepare(FLAT_LONG64, &(struct row){"", "48 0F C7 F0", 3, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    flat_run(c, CODE, 1);
    assert_true(c->s.gpr[RAX] == first && first != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_64bit_mode, setup, teardown),
        cmocka_unit_test_setup_teardown(in_protected_mode, setup, teardown),
        cmocka_unit_test_setup_teardown(effects, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
