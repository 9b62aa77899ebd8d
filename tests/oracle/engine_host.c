/* SPDX-License-Identifier: MIT */
/* The host processor as an oracle (x86-64 Linux). Each case runs inside signal handling: the handler
 * writes the case's whole state into the signal frame with RFLAGS.TF set and returns; the instruction runs
 * in place, and the next signal (single step or fault) delivers everything it did. 32- and 16-bit code runs
 * in compatibility mode through descriptors of the process's LDT. */
#define _GNU_SOURCE
#define REG_RIP CPU_REG_RIP /* <ucontext.h> has one too */
#include "tests/oracle/oracle.h"

#include "cpu/state.h"
#undef REG_RIP

#if defined(__x86_64__) && defined(__linux__)

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { SEL_CODE32 = 7, SEL_CODE16 = 15, SEL_DATA16 = 23, SEL_CODE64 = 0x33, SEL_DATA = 0x2b };

static struct {
    const struct ocase *cases;
    struct oresult *results;
    unsigned count, at;
    bool active, started;
    greg_t gregs[NGREG];
    struct _libc_fpstate fp;
} run;

/* Frame image behind the legacy area: bytes 512.. are the XSAVE header when the kernel says so. */
enum { XSTATE_BV_AT = 512 };

static void load_case(ucontext_t *u, const struct ocase *t)
{
    static const int slot[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    greg_t *g = u->uc_mcontext.gregs;
    uint16_t cs = t->mode == 64 ? SEL_CODE64 : t->mode == 32 ? SEL_CODE32 : SEL_CODE16;
    uint16_t ss = t->mode == 16 ? SEL_DATA16 : SEL_DATA;
    for (unsigned i = 0; i < 16; i++)
        g[slot[i]] = (greg_t)t->in.gpr[i];
    g[REG_RIP] = (greg_t)t->in.rip;
    g[REG_EFL] =
        (greg_t)((t->in.rflags & (flags_compared() | FL_FIXED | FL_IF)) | (t->insns == 1 ? FL_TF : 0));
    g[REG_CSGSFS] = (greg_t)((uint64_t)ss << 48 | cs);
    __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"((uint32_t)ss));

    struct _libc_fpstate *f = u->uc_mcontext.fpregs;
    f->cwd = t->in.cw;
    f->swd = t->in.sw;
    f->ftw = t->in.tag;
    f->fop = 0;
    f->rip = f->rdp = 0;
    f->mxcsr = t->in.mxcsr;
    for (unsigned i = 0; i < 8; i++) {
        memcpy(f->_st[i].significand, &t->in.st[i].frac, 8);
        f->_st[i].exponent = t->in.st[i].se;
    }
    memcpy(f->_xmm, t->in.xmm, sizeof t->in.xmm);
    uint64_t bv;
    memcpy(&bv, (uint8_t *)f + XSTATE_BV_AT, 8);
    bv |= 3;
    memcpy((uint8_t *)f + XSTATE_BV_AT, &bv, 8);

    memory_from_case(t, (uint8_t *)(uintptr_t)DATA_BASE);
    uint8_t *code = (uint8_t *)(uintptr_t)(CODE_BASE + CODE_AT);
    memset((void *)(uintptr_t)CODE_BASE, 0xcc,
           CODE_SIZE); /* INT3 ends a block; also undoes an earlier case's write */
    memcpy(code, t->code, t->length);
}

static void store_result(ucontext_t *u, struct oresult *r, int vector)
{
    static const int slot[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    const greg_t *g = u->uc_mcontext.gregs;
    const struct _libc_fpstate *f = u->uc_mcontext.fpregs;
    r->status = RESULT_OK;
    r->vector = vector;
    r->error = vector >= 0 ? (uint32_t)g[REG_ERR] : 0;
    r->cr2 = (uint64_t)g[REG_CR2];
    for (unsigned i = 0; i < 16; i++)
        r->out.gpr[i] = (uint64_t)g[slot[i]];
    r->out.rip = (uint64_t)g[REG_RIP];
    r->out.rflags = (uint64_t)g[REG_EFL];
    r->out.cw = f->cwd;
    r->out.sw = f->swd;
    r->out.tag = (uint8_t)f->ftw;
    r->out.mxcsr = f->mxcsr;
    for (unsigned i = 0; i < 8; i++) {
        memcpy(&r->out.st[i].frac, f->_st[i].significand, 8);
        r->out.st[i].se = f->_st[i].exponent;
    }
    memcpy(r->out.xmm, f->_xmm, sizeof r->out.xmm);
    memcpy(r->memory, (const uint8_t *)(uintptr_t)DATA_BASE, DATA_SIZE);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    greg_t *g = u->uc_mcontext.gregs;
    (void)info;
    if (!run.active) {
        static const char text[] = "oracle: fault outside a case\n";
        (void)!write(2, text, sizeof text - 1);
        signal(sig, SIG_DFL);
        return;
    }
    if (!run.started) {
        run.started = true;
        memcpy(run.gregs, g, sizeof run.gregs);
        run.fp = *u->uc_mcontext.fpregs;
    } else {
        const struct ocase *t = &run.cases[run.at];
        int vector = (int)g[REG_TRAPNO];
        if (sig == SIGTRAP && vector == 1 && t->insns == 1) {
            vector = -1;
            if (t->rep && (uint64_t)g[REG_RIP] == t->in.rip) return; /* one iteration done */
        }
        /* An end mark behind the block, which a branch at its end may have jumped over a few of. */
        if (t->insns > 1 && vector == 3 && (uint64_t)g[REG_RIP] > t->in.rip + t->length) {
            vector = -1;
            g[REG_RIP]--;
        }
        store_result(u, &run.results[run.at], vector);
        run.at++;
    }
    if (run.at < run.count) {
        load_case(u, &run.cases[run.at]);
        return;
    }
    run.active = false;
    memcpy(g, run.gregs, sizeof run.gregs);
    *u->uc_mcontext.fpregs = run.fp;
    __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(0));
}

void host_run(const struct ocase *t, struct oresult *r, unsigned n)
{
    run.cases = t;
    run.results = r;
    run.count = n;
    run.at = 0;
    run.started = false;
    run.active = true;
    raise(SIGUSR1);
}

static bool host_has(unsigned leaf, unsigned sub, char reg, unsigned bit)
{
    uint32_t a, b, c, d;
    if (leaf == 0) return true;
    if (!__get_cpuid_count(leaf, sub, &a, &b, &c, &d)) return false;
    uint32_t v = reg == 'A' ? a : reg == 'B' ? b : reg == 'C' ? c : d;
    return v >> bit & 1;
}

static bool map_at(uintptr_t base, size_t size, int rights)
{
    void *p = mmap((void *)base, size, rights, MAP_FIXED_NOREPLACE | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == (void *)base;
}

bool host_open(uint64_t *features, char *why, size_t n)
{
#define FEATURE(name, leaf, sub, reg, bit, text) \
    if (!host_has(leaf, sub, #reg[0], bit)) features[FEAT_##name / 64] &= ~(UINT64_C(1) << FEAT_##name % 64);
#include "cpu/feature.def"
#undef FEATURE
    if (!map_at(CODE_BASE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC) ||
        !map_at(DATA_BASE, DATA_SIZE, PROT_READ | PROT_WRITE) ||
        !map_at(READONLY_BASE, READONLY_SIZE, PROT_READ | PROT_WRITE)) {
        snprintf(why, n, "low addresses cannot be mapped (vm.mmap_min_addr)");
        return false;
    }
    memcpy((void *)(uintptr_t)READONLY_BASE, readonly_page(), READONLY_SIZE);
    memset((void *)(uintptr_t)DATA_BASE, 0, DATA_SIZE);
    memset((void *)(uintptr_t)CODE_BASE, 0xcc, CODE_SIZE);
    mprotect((void *)(uintptr_t)READONLY_BASE, READONLY_SIZE, PROT_READ);
    struct user_desc d[3] = {
        {.entry_number = 0, .limit = 0xfffff, .seg_32bit = 1, .contents = 2, .limit_in_pages = 1},
        {.entry_number = 1, .base_addr = CODE_BASE, .limit = 0xffff, .contents = 2},
        {.entry_number = 2, .base_addr = DATA_BASE, .limit = 0xffff}};
    for (unsigned i = 0; i < 3; i++) {
        if (syscall(SYS_modify_ldt, 1, &d[i], sizeof d[i]) != 0) {
            snprintf(why, n, "modify_ldt is refused");
            return false;
        }
    }
    static uint8_t handler_stack[1 << 18];
    stack_t stack = {.ss_size = sizeof handler_stack, .ss_sp = handler_stack};
    if (sigaltstack(&stack, NULL) != 0) {
        snprintf(why, n, "no alternate signal stack");
        return false;
    }
    static const int signals[] = {SIGUSR1, SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&sa.sa_mask);
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &sa, NULL);
    return true;
}

#else

bool host_open(uint64_t *features, char *why, size_t n)
{
    (void)features;
    snprintf(why, n, "the host is not an x86-64 Linux system");
    return false;
}
void host_run(const struct ocase *t, struct oresult *r, unsigned n)
{
    (void)t;
    for (unsigned i = 0; i < n; i++)
        r[i].status = RESULT_SKIPPED;
}

#endif
