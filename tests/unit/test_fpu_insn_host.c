/* SPDX-License-Identifier: MIT */
/* x87 and SSE floating-point instructions in lockstep with an x86-64 host: random state, one random
 * instruction, everything compared. x87: FRSTOR, instruction, FNSAVE, so that control, status and tag words,
 * all registers, EFLAGS and memory count; masks are random. SSE: XMM registers, MXCSR, EFLAGS and a general
 * register; an unmasked exception must leave the same MXCSR and nothing else (SIGFPE on the host, shutdown
 * here: no IDT).
 *
 * Left out, with reason:
 *   FPREM, FPREM1 with a large exponent difference: the step of a partial reduction is the implementation's
 *   transcendentals: the last place differs between makers; test_fpu_trans.c has them
 *   FNSTENV, FLDENV, FNSAVE, FRSTOR as the random instruction: they are the frame of the test
 *   RCPSS, RSQRTSS and packed forms: approximations are the maker's (test_fpu_sse_host.c bounds ours) */
#include "fpu_host.h"

#if defined(__x86_64__) && defined(__linux__)
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "cpu/cpu.h"
#include "cpu/event.h"
#include "flat_bus.h"

enum { CODE = 0x20000, IMAGE = 0x30000, OUT = 0x31000, DATA = 0x32000 };

static struct flat_board *board;
static struct cpu *cpu;
static uint8_t *code_page;
static unsigned bad;
static sigjmp_buf on_fpe;
static uint32_t fpe_mxcsr;

static void fpe_handler(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    fpe_mxcsr = ((ucontext_t *)context)->uc_mcontext.fpregs->mxcsr;
    siglongjmp(on_fpe, 1);
}

/* The frames of the two runs: state in, call of the generated instruction, state out. */
struct general {
    uint64_t rax, flags;
};
void host_run_x87(const struct x87_image *in, struct x87_image *out, void *data, const void *code,
                  struct general *g);
struct sse_frame {
    uint64_t xmm[2][2], data[2];
    struct general g;
    uint32_t mxcsr, pad[3];
} __attribute__((aligned(16)));
void host_run_sse(struct sse_frame *f, const void *code);
__asm__(
    ".text\n"
    "host_run_x87:\n\tpush %rbx\n\tmov %r8, %rbx\n\tfrstor (%rdi)\n\tpush 8(%rbx)\n\tpopfq\n\tmov (%rbx), "
    "%rax\n\t"
    "call *%rcx\n\tpushfq\n\tpop 8(%rbx)\n\tmov %rax, (%rbx)\n\tfnsave (%rsi)\n\tpop %rbx\n\tret\n"
    "host_run_sse:\n\tpush %rbx\n\tmov %rdi, %rbx\n\tmovaps (%rbx), %xmm0\n\tmovaps 16(%rbx), %xmm1\n\t"
    "lea 32(%rbx), %rdx\n\tmov 48(%rbx), %rax\n\tldmxcsr 64(%rbx)\n\tpush 56(%rbx)\n\tpopfq\n\tcall *%rsi\n\t"
    "pushfq\n\tpop 56(%rbx)\n\tstmxcsr 64(%rbx)\n\tmov %rax, 48(%rbx)\n\tmovaps %xmm0, (%rbx)\n\t"
    "movaps %xmm1, 16(%rbx)\n\tpush $0x1f80\n\tldmxcsr (%rsp)\n\tpop %rdx\n\tpop %rbx\n\tret\n");

enum { FLAGS_OSZAPC = 0x8d5 };

static int setup(void **state)
{
    (void)state;
    code_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    board = flat_board_create(1 << 20, 1, NULL);
    if (code_page == MAP_FAILED || !board) return -1;
    cpu = board->cpu[0];
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    flat_board_destroy(board);
    munmap(code_page, 4096);
    return 0;
}

/* --- x87 ----------------------------------------------------------------------------------------- */

static bool skipped_x87(uint8_t op, uint8_t modrm)
{
    unsigned reg = modrm >> 3 & 7;
    if (modrm < 0xc0)
        return (op == 0xd9 && (reg == 4 || reg == 6 || reg == 1)) || (op == 0xdd && reg >= 4 && reg != 7) ||
               (op == 0xdb && (reg == 4 || reg == 6));
    switch (op) {
    case 0xd9:
        if (modrm == 0xf5 || modrm == 0xf8) return true; /* FPREM1, FPREM */
        if ((modrm >= 0xf0 && modrm <= 0xf3) || modrm == 0xf9 || modrm == 0xfb || modrm >= 0xfe) return true;
        return (modrm >= 0xd1 && modrm <= 0xd7) || modrm == 0xe2 || modrm == 0xe3 || modrm == 0xe6 ||
               modrm == 0xe7 || modrm == 0xef;
    case 0xda: return modrm >= 0xe0 && modrm != 0xe9;
    case 0xdb: return (modrm >= 0xe0 && modrm <= 0xe7 && modrm != 0xe2 && modrm != 0xe3) || modrm >= 0xf8;
    case 0xdd: return modrm >= 0xf0;
    case 0xde: return modrm >= 0xd8 && modrm <= 0xdf && modrm != 0xd9;
    case 0xdf: return (modrm >= 0xe1 && modrm <= 0xe7) || modrm >= 0xf8;
    default: return false;
    }
}

static void random_image(struct x87_image *im)
{
    memset(im, 0, sizeof *im);
    im->cw = 0xffff0040 | (uint32_t)(rnd() & 0x0f3f);
    if (rnd() & 1) im->cw |= 63;
    if ((im->cw >> 8 & 3) == 1) im->cw |= 0x300;
    /* Sticky flags only where masked: a pending exception would be reported first. */
    im->sw = 0xffff0000 | (uint32_t)(rnd() & 0x7f00) | (uint32_t)(rnd() & 63 & im->cw);
    unsigned kind = (unsigned)rnd() % 4, tags = 0;
    for (unsigned i = 0; i < 8; i++)
        if (kind == 0 ? rnd() & 1 : rnd() % 16 == 0) tags |= 3u << 2 * i;
    if (rnd() & 1) tags |= 3u << 2 * (((im->sw >> 11) + 7) & 7); /* room to push */
    im->tw = 0xffff0000 | tags;
    struct f80 near = f80_make(0x3fff, 0);
    for (unsigned i = 0; i < 8; i++)
        f80_to_mem(near = rnd_f80(near), im->reg[i]);
}
static void random_data(uint8_t data[16])
{
    uint64_t v[2] = {rnd(), rnd()};
    memcpy(data, v, 16);
    switch (rnd() % 5) {
    case 0: f80_to_mem(rnd_f80(f80_make(0x3fff, 0)), data); return;
    case 1: v[0] = rnd_f64(UINT64_C(1023) << 52); break;
    case 2: v[0] = rnd_f32(0x3f800000); break;
    case 3: v[0] = (uint64_t)((int64_t)v[0] >> rnd() % 64); break;
    }
    memcpy(data, v, 8);
}

static void x87_lockstep(void **state)
{
    (void)state;
    bad = 0;
    flat_set_mode(cpu, FLAT_LONG64);
    for (int n = 0; n < 40000; n++) {
        uint8_t op = (uint8_t)(0xd8 + rnd() % 8), modrm = (uint8_t)rnd();
        modrm = rnd() % 3 == 0 ? (modrm & 0x38) | 2 : modrm | 0xc0; /* [rdx], or a register form */
        if (skipped_x87(op, modrm)) continue;
        struct x87_image in, host, mine;
        uint8_t data[16], host_data[16];
        random_image(&in);
        random_data(data);
        if (op == 0xdf && modrm == 0x22)
            for (int i = 0; i < 9; i++)
                data[i] = (uint8_t)(rnd() % 10 | rnd() % 10 << 4); /* FBLD: digits */
        if (op == 0xd9 && modrm == 0x2a) { /* FLDCW: nothing may become pending, PC 01 is reserved */
            data[0] |= 0x3f;
            data[1] &= 0xfe;
        }
        struct general g = {rnd(), 0x202 | (rnd() & FLAGS_OSZAPC)}, hg = g;
        memcpy(host_data, data, 16);
        const uint8_t call[] = {op, modrm, 0xc3}, code[] = {0xdd, 0x27, op, modrm, 0xdd, 0x36};
        memcpy(code_page, call, sizeof call);
        host_run_x87(&in, &host, host_data, code_page, &hg);

        flat_write(board, CODE, code, sizeof code); /* frstor [rdi]; the instruction; fnsave [rsi] */
        flat_write(board, IMAGE, &in, sizeof in);
        flat_write(board, DATA, data, 16);
        cpu->s.gpr[RAX] = g.rax;
        cpu->s.gpr[RDI] = IMAGE;
        cpu->s.gpr[RSI] = OUT;
        cpu->s.gpr[RDX] = DATA;
        cpu_write_rflags(cpu, g.flags & ~UINT64_C(0x200));
        flat_run(cpu, CODE, 3);
        memcpy(&mine, board->bus.ram + OUT, sizeof mine);
        struct general mg = {cpu->s.gpr[RAX], cpu_read_rflags(cpu)};
        /* FCOMI and friends clear C1 (SDM 2A FCOMI); some processors leave it. */
        bool fcomi = (op == 0xdb || op == 0xdf) && modrm >= 0xe8;
        if (memcmp(board->bus.ram + DATA, host_data, 16) == 0 && mine.cw == host.cw &&
            ((mine.sw ^ host.sw) & (fcomi ? ~0x200u : ~0u)) == 0 && mine.tw == host.tw &&
            memcmp(mine.reg, host.reg, 80) == 0 && ((mg.flags ^ hg.flags) & FLAGS_OSZAPC) == 0 &&
            mg.rax == hg.rax)
            continue;
        if (bad++ >= 12) continue;
        printf("%02x %02x: cw %04x sw %04x tw %04x -> host cw %04x sw %04x tw %04x fl %03x ax %04x, ours cw "
               "%04x sw %04x "
               "tw %04x fl %03x ax %04x memory %s\n",
               op, modrm, in.cw & 0xffff, in.sw & 0xffff, in.tw & 0xffff, host.cw & 0xffff, host.sw & 0xffff,
               host.tw & 0xffff, (unsigned)hg.flags & FLAGS_OSZAPC, (unsigned)hg.rax & 0xffff,
               mine.cw & 0xffff, mine.sw & 0xffff, mine.tw & 0xffff, (unsigned)mg.flags & FLAGS_OSZAPC,
               (unsigned)mg.rax & 0xffff, memcmp(board->bus.ram + DATA, host_data, 16) ? "differs" : "same");
        for (int i = 0; i < 8; i++) {
            struct f80 a = f80_from_mem(in.reg[i]), h = f80_from_mem(host.reg[i]),
                       m = f80_from_mem(mine.reg[i]);
            if (h.frac != m.frac || h.se != m.se)
                printf("   st%d %04x:%016lx -> host %04x:%016lx ours %04x:%016lx\n", i, a.se,
                       (unsigned long)a.frac, h.se, (unsigned long)h.frac, m.se, (unsigned long)m.frac);
        }
    }
    assert_int_equal(bad, 0);
}

/* --- SSE ----------------------------------------------------------------------------------------- */

/* imm: bits of a random immediate byte, 0 none. */
static const struct {
    uint8_t prefix, map, op, imm;
} sse_rows[] = {
    {0, 1, 0x51, 0},      {0x66, 1, 0x51, 0},   {0xf3, 1, 0x51, 0},   {0xf2, 1, 0x51, 0},
    {0, 1, 0x58, 0},      {0x66, 1, 0x58, 0},   {0xf3, 1, 0x58, 0},   {0xf2, 1, 0x58, 0},
    {0, 1, 0x59, 0},      {0x66, 1, 0x59, 0},   {0xf3, 1, 0x59, 0},   {0xf2, 1, 0x59, 0},
    {0, 1, 0x5a, 0},      {0x66, 1, 0x5a, 0},   {0xf3, 1, 0x5a, 0},   {0xf2, 1, 0x5a, 0},
    {0, 1, 0x5c, 0},      {0x66, 1, 0x5c, 0},   {0xf3, 1, 0x5c, 0},   {0xf2, 1, 0x5c, 0},
    {0, 1, 0x5d, 0},      {0x66, 1, 0x5d, 0},   {0xf3, 1, 0x5d, 0},   {0xf2, 1, 0x5d, 0},
    {0, 1, 0x5e, 0},      {0x66, 1, 0x5e, 0},   {0xf3, 1, 0x5e, 0},   {0xf2, 1, 0x5e, 0},
    {0, 1, 0x5f, 0},      {0x66, 1, 0x5f, 0},   {0xf3, 1, 0x5f, 0},   {0xf2, 1, 0x5f, 0},
    {0, 1, 0xc2, 7},      {0x66, 1, 0xc2, 7},   {0xf3, 1, 0xc2, 7},   {0xf2, 1, 0xc2, 7},
    {0, 1, 0x2e, 0},      {0x66, 1, 0x2e, 0},   {0, 1, 0x2f, 0},      {0x66, 1, 0x2f, 0},
    {0, 1, 0x5b, 0},      {0x66, 1, 0x5b, 0},   {0xf3, 1, 0x5b, 0},   {0xf3, 1, 0xe6, 0},
    {0xf2, 1, 0xe6, 0},   {0x66, 1, 0xe6, 0},   {0x66, 1, 0x7c, 0},   {0xf2, 1, 0x7c, 0},
    {0x66, 1, 0x7d, 0},   {0xf2, 1, 0x7d, 0},   {0x66, 1, 0xd0, 0},   {0xf2, 1, 0xd0, 0},
    {0x66, 3, 0x08, 255}, {0x66, 3, 0x09, 255}, {0x66, 3, 0x0a, 255}, {0x66, 3, 0x0b, 255},
    {0x66, 3, 0x40, 255}, {0x66, 3, 0x41, 255}, {0xf3, 1, 0x2a, 0},   {0xf2, 1, 0x2a, 0},
    {0xf3, 1, 0x2c, 0},   {0xf2, 1, 0x2c, 0},   {0xf3, 1, 0x2d, 0},   {0xf2, 1, 0x2d, 0},
};

static void random_lanes(uint64_t q[2], bool single, uint64_t near)
{
    for (int i = 0; i < 2; i++)
        q[i] = rnd() % 12 == 0 ? rnd()
               : single        ? rnd_f32((uint32_t)near) | (uint64_t)rnd_f32((uint32_t)(near >> 32)) << 32
                               : rnd_f64(near);
}

static __attribute__((noinline)) bool host_faults(struct sse_frame *f)
{
    if (sigsetjmp(on_fpe, 1) == 0) {
        host_run_sse(f, code_page);
        return false;
    }
    f->mxcsr = fpe_mxcsr;
    return true;
}

static void sse_lockstep(void **state)
{
    (void)state;
    unsigned faults = 0;
    bad = 0;
    struct sigaction sa = {.sa_sigaction = fpe_handler, .sa_flags = SA_SIGINFO}, old;
    sigaction(SIGFPE, &sa, &old); /* cmocka has its own */
    for (int n = 0; n < 40000; n++) {
        unsigned row = (unsigned)(rnd() % (sizeof sse_rows / sizeof sse_rows[0])), k = 0;
        uint8_t insn[12];
        bool single = sse_rows[row].prefix == 0 || sse_rows[row].prefix == 0xf3, mem = rnd() % 3 == 0;
        bool from_gpr = sse_rows[row].op == 0x2a;
        if (rnd() % 8 == 0) single = !single;
        if (sse_rows[row].prefix) insn[k++] = sse_rows[row].prefix;
        if (rnd() & 1) insn[k++] = 0x48;
        insn[k++] = 0x0f;
        if (sse_rows[row].map == 3) insn[k++] = 0x3a;
        insn[k++] = sse_rows[row].op;
        insn[k++] = mem ? 0x02 : from_gpr ? 0xc0 : 0xc1; /* from [rdx], RAX or XMM1 */
        if (sse_rows[row].imm) insn[k++] = (uint8_t)(rnd() & sse_rows[row].imm);

        struct sse_frame in, host;
        memset(&in, 0, sizeof in);
        for (int i = 0; i < 2; i++)
            random_lanes(in.xmm[i], single, i ? in.xmm[0][0] : UINT64_C(0x3ff000003f800000));
        random_lanes(in.data, single, in.xmm[0][0]);
        if (from_gpr && mem) in.data[0] = (uint64_t)((int64_t)rnd() >> rnd() % 64);
        in.g.rax = (uint64_t)((int64_t)rnd() >> rnd() % 64);
        in.g.flags = 0x202 | (rnd() & FLAGS_OSZAPC);
        in.mxcsr = 0x1f80 | (uint32_t)(rnd() & 0xe07f);
        if (rnd() % 8 == 0) in.mxcsr = (in.mxcsr ^ (uint32_t)(rnd() & 0x1f80)) & ~63u;
        host = in;
        memcpy(code_page, insn, k);
        code_page[k] = 0xc3;
        bool host_fault = host_faults(&host);
        faults += host_fault;

        flat_write(board, CODE, insn, k);
        flat_write(board, DATA, in.data, 16);
        flat_set_mode(cpu, FLAT_LONG64);
        for (int i = 0; i < 2; i++)
            cpu->s.vec[i].q[0] = in.xmm[i][0], cpu->s.vec[i].q[1] = in.xmm[i][1];
        cpu->s.gpr[RAX] = in.g.rax;
        cpu->s.gpr[RDX] = DATA;
        cpu->s.fpu.mxcsr = in.mxcsr;
        cpu->s.idtr.limit = 0; /* a fault ends in shutdown */
        cpu_write_rflags(cpu, in.g.flags & ~UINT64_C(0x200));
        flat_run(cpu, CODE, 1);
        bool my_fault = cpu->s.gpr[REG_RIP] == CODE;
        uint64_t my_flags = my_fault ? in.g.flags : cpu_read_rflags(cpu);
        if (my_fault == host_fault && cpu->s.fpu.mxcsr == host.mxcsr && cpu->s.gpr[RAX] == host.g.rax &&
            ((my_flags ^ host.g.flags) & FLAGS_OSZAPC) == 0 && cpu->s.vec[0].q[0] == host.xmm[0][0] &&
            cpu->s.vec[0].q[1] == host.xmm[0][1])
            continue;
        if (bad++ >= 12) continue;
        for (unsigned i = 0; i < k; i++)
            printf("%02x ", insn[i]);
        printf("mxcsr %04x xmm0 %016lx%016lx src %016lx%016lx rax %lx\n  host %s %04x %016lx%016lx rax %lx "
               "fl %03x\n  ours "
               "%s %04x %016lx%016lx rax %lx fl %03x\n",
               in.mxcsr, (unsigned long)in.xmm[0][1], (unsigned long)in.xmm[0][0],
               (unsigned long)(mem ? in.data[1] : in.xmm[1][1]),
               (unsigned long)(mem ? in.data[0] : in.xmm[1][0]), (unsigned long)in.g.rax,
               host_fault ? "fault" : "", host.mxcsr, (unsigned long)host.xmm[0][1],
               (unsigned long)host.xmm[0][0], (unsigned long)host.g.rax,
               (unsigned)host.g.flags & FLAGS_OSZAPC, my_fault ? "fault" : "", cpu->s.fpu.mxcsr,
               (unsigned long)cpu->s.vec[0].q[1], (unsigned long)cpu->s.vec[0].q[0],
               (unsigned long)cpu->s.gpr[RAX], (unsigned)my_flags & FLAGS_OSZAPC);
    }
    sigaction(SIGFPE, &old, NULL);
    assert_true(faults > 300);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(x87_lockstep), cmocka_unit_test(sse_lockstep)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
#else
static void host_is_not_x86(void **state)
{
    (void)state;
    skip();
}
int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(host_is_not_x86)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
