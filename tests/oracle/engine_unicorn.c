/* SPDX-License-Identifier: MIT */
/* Unicorn as an oracle, in a child process because hostile instructions can crash it. Cases and results
 * pass through shared memory; the child is started again after a crash and the case is skipped. */
#include "tests/oracle/oracle.h"

#ifdef UV_HAVE_UNICORN

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unicorn/unicorn.h>
#include <unistd.h>

#include "cpu/state.h"

struct shared {
    volatile unsigned count, at;
    struct ocase cases[BATCH];
    struct oresult results[BATCH];
};
static struct shared *shared;
static int to_child = -1, from_child = -1;
static pid_t child = -1;

static uc_engine *uc[3]; /* 16, 32, 64 */
static int interrupt;

static void on_interrupt(uc_engine *u, uint32_t number, void *user)
{
    (void)user;
    interrupt = (int)number;
    uc_emu_stop(u);
}

static bool open_mode(unsigned i)
{
    static const uc_mode mode[3] = {UC_MODE_16, UC_MODE_32, UC_MODE_64};
    uc_hook hook;
    if (uc_open(UC_ARCH_X86, mode[i], &uc[i]) != UC_ERR_OK) return false;
    if (uc_mem_map(uc[i], CODE_BASE, CODE_SIZE, UC_PROT_ALL) != UC_ERR_OK ||
        uc_mem_map(uc[i], DATA_BASE, DATA_SIZE, UC_PROT_READ | UC_PROT_WRITE) != UC_ERR_OK ||
        uc_mem_map(uc[i], READONLY_BASE, READONLY_SIZE, UC_PROT_READ) != UC_ERR_OK)
        return false;
    uint64_t cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | (i == 2 ? CR4_PAE : 0);
    uc_reg_write(uc[i], UC_X86_REG_CR4, &cr4);
    uc_mem_write(uc[i], READONLY_BASE, readonly_page(), READONLY_SIZE);
    return uc_hook_add(uc[i], &hook, UC_HOOK_INTR, (void *)on_interrupt, NULL, 1, 0) == UC_ERR_OK;
}

static int registers[16 + 1 + 16] = {
    UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX, UC_X86_REG_RSP,   UC_X86_REG_RBP,
    UC_X86_REG_RSI, UC_X86_REG_RDI, UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10,   UC_X86_REG_R11,
    UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15, UC_X86_REG_RFLAGS};
static int registers32[8 + 1 + 8] = {UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX,
                                     UC_X86_REG_EBX, UC_X86_REG_ESP, UC_X86_REG_EBP,
                                     UC_X86_REG_ESI, UC_X86_REG_EDI, UC_X86_REG_EFLAGS};

static void run_one(const struct ocase *t, struct oresult *r)
{
    unsigned i = t->mode == 64 ? 2 : t->mode == 32 ? 1 : 0, n = t->mode == 64 ? 16 : 8;
    int *ids = t->mode == 64 ? registers : registers32;
    void *values[33];
    uint64_t flags = t->in.rflags & (flags_compared() | FL_FIXED), rip;
    uint8_t pages[CODE_SIZE], *code = pages + CODE_AT, memory[DATA_SIZE];
    r->status = RESULT_SKIPPED;
    r->out = t->in;
    if (!uc[i] && !open_mode(i)) return;
    for (unsigned k = 0; k < n; k++) {
        ids[n + 1 + k] = UC_X86_REG_XMM0 + (int)k;
        values[k] = &r->out.gpr[k];
        values[n + 1 + k] = r->out.xmm[k];
    }
    values[n] = &flags;
    memory_from_case(t, memory);
    memset(pages, 0xcc, sizeof pages); /* operands may happen to lie there: the same bytes in every engine */
    memcpy(code, t->code, t->length);
    memset(code + t->length, 0x90, 16);
    uc_mem_write(uc[i], DATA_BASE, memory, DATA_SIZE);
    uc_mem_write(uc[i], CODE_BASE, pages, sizeof pages);
    if (t->mode == 16) {
        uint16_t cs = CODE_BASE >> 4, ds = DATA_BASE >> 4;
        uc_reg_write(uc[i], UC_X86_REG_CS, &cs);
        uc_reg_write(uc[i], UC_X86_REG_DS, &ds);
        uc_reg_write(uc[i], UC_X86_REG_ES, &ds);
        uc_reg_write(uc[i], UC_X86_REG_SS, &ds);
    }
    uint32_t mxcsr = t->in.mxcsr;
    uc_reg_write(uc[i], UC_X86_REG_MXCSR, &mxcsr);
    uc_reg_write_batch(uc[i], ids, values, (int)(2 * n + 1));
    interrupt = -1;
    uint64_t begin = t->mode == 16 ? t->in.rip + CODE_BASE : t->in.rip;
    /* One instruction at a time would be count = 1, which leaves stale code behind after a write. */
    uc_err err = uc_emu_start(uc[i], begin, begin + t->length, 0, 0);
    uc_reg_read_batch(uc[i], ids, values, (int)(2 * n + 1));
    uc_reg_read_batch(uc[i], ids, values, (int)(2 * n + 1));
    uc_reg_read(uc[i], t->mode == 64 ? UC_X86_REG_RIP : UC_X86_REG_EIP, &rip);
    if (t->mode != 64) rip = (uint32_t)rip;
    if (t->mode == 16 && rip >= CODE_BASE) rip -= CODE_BASE;
    r->out.rip = rip;
    r->out.rflags = flags;
    uc_mem_read(uc[i], DATA_BASE, r->memory, DATA_SIZE);
    r->vector = interrupt;
    r->error = 0;
    r->cr2 = 0;
    if (err == UC_ERR_OK && (interrupt >= 0 || rip == t->in.rip + t->length)) {
        r->status = RESULT_OK;
    } else if (err == UC_ERR_INSN_INVALID) {
        r->status = RESULT_OK;
        r->vector = 6;
    }
    if (err != UC_ERR_OK || interrupt >= 0) { /* later runs of this instance could pretend to succeed */
        uc_close(uc[i]);
        uc[i] = NULL;
    }
}

static void child_loop(int in, int out)
{
    char byte;
    while (read(in, &byte, 1) == 1) {
        while (shared->at < shared->count) {
            run_one(&shared->cases[shared->at], &shared->results[shared->at]);
            shared->at++;
        }
        if (write(out, &byte, 1) != 1) break;
    }
    _exit(0);
}

static bool start_child(void)
{
    int a[2], b[2];
    if (to_child >= 0) close(to_child);
    if (from_child >= 0) close(from_child);
    if (pipe(a) != 0 || pipe(b) != 0) return false;
    child = fork();
    if (child < 0) return false;
    if (child == 0) {
        close(a[1]);
        close(b[0]);
        child_loop(a[0], b[1]);
    }
    close(a[0]);
    close(b[1]);
    to_child = a[1];
    from_child = b[0];
    return true;
}

bool unicorn_open(char *why, size_t n)
{
    signal(SIGPIPE, SIG_IGN);
    readonly_page();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !start_child()) {
        snprintf(why, n, "no child process");
        return false;
    }
    return true;
}

void unicorn_run(const struct ocase *t, struct oresult *r, unsigned n)
{
    memcpy(shared->cases, t, n * sizeof *t);
    shared->count = n;
    shared->at = 0;
    while (shared->at < n) {
        char byte = 1;
        if (write(to_child, &byte, 1) == 1 && read(from_child, &byte, 1) == 1) continue;
        waitpid(child, NULL, 0);
        if (shared->at < n) shared->results[shared->at++].status = RESULT_SKIPPED;
        if (!start_child()) {
            for (unsigned i = shared->at; i < n; i++)
                shared->results[i].status = RESULT_SKIPPED;
            break;
        }
    }
    memcpy(r, shared->results, n * sizeof *r);
}

#else

bool unicorn_open(char *why, size_t n)
{
    snprintf(why, n, "built without Unicorn");
    return false;
}
void unicorn_run(const struct ocase *t, struct oresult *r, unsigned n)
{
    (void)t;
    for (unsigned i = 0; i < n; i++)
        r[i].status = RESULT_SKIPPED;
}

#endif
