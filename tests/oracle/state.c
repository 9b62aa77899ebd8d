/* SPDX-License-Identifier: MIT */
/* States of oracle cases: made from a seed, compared, printed. */
#include <string.h>
#ifdef UV_HAVE_CAPSTONE
#include <capstone/capstone.h>
#endif

#include "tests/oracle/known.h"
#include "tests/oracle/oracle.h"

#include "cpu/state.h"

uint64_t rng_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t integer_value(uint64_t *r)
{
    static const uint64_t edge[] = {0,      1,      0x7f,       0x80,       0xff,
                                    0x7fff, 0x8000, 0x7fffffff, 0x80000000, UINT64_C(0x7fffffffffffffff)};
    uint64_t v = rng_next(r);
    switch (v >> 60) {
    case 0:
    case 1: return edge[v % 10];
    case 2: return ~edge[v % 10];
    case 3: return (uint64_t)((int64_t)(v << 56) >> 56);
    case 4: return edge[v % 10] << (v >> 8 & 63);
    case 5: return DATA_BASE + (v & 0x1ff8);
    case 6: return (uint32_t)v;
    default: return rng_next(r);
    }
}
static uint32_t float_bits(uint64_t *r)
{
    static const uint32_t edge[] = {0,          0x00000001, 0x007fffff, 0x00800000, 0x3f800000, 0x7f7fffff,
                                    0x7f800000, 0x7fc00000, 0x7f800001, 0x4f000000, 0x5f000000, 0x3f000000};
    uint64_t v = rng_next(r);
    uint32_t sign = (uint32_t)(v >> 63) << 31;
    switch (v >> 58 & 7) {
    case 0:
    case 1: return sign | edge[v % 12];
    case 2: return sign | ((120 + (v >> 24 & 15)) << 23) | ((uint32_t)v & 0x7fffff);
    case 3: return sign | ((uint32_t)v & 0x7fffff);
    default: return (uint32_t)v;
    }
}
static uint64_t double_bits(uint64_t *r)
{
    static const uint64_t edge[] = {0,
                                    1,
                                    UINT64_C(0x000fffffffffffff),
                                    UINT64_C(0x0010000000000000),
                                    UINT64_C(0x3ff0000000000000),
                                    UINT64_C(0x7fefffffffffffff),
                                    UINT64_C(0x7ff0000000000000),
                                    UINT64_C(0x7ff8000000000000),
                                    UINT64_C(0x7ff0000000000001),
                                    UINT64_C(0x41e0000000000000),
                                    UINT64_C(0x43e0000000000000),
                                    UINT64_C(0x3fe0000000000000)};
    uint64_t v = rng_next(r), sign = v >> 63 << 63, frac = rng_next(r) & UINT64_C(0xfffffffffffff);
    switch (v >> 58 & 7) {
    case 0:
    case 1: return sign | edge[v % 12];
    case 2: return sign | (1015 + (v & 15)) << 52 | frac;
    case 3: return sign | frac;
    default: return rng_next(r);
    }
}
static struct st_reg x87_value(uint64_t *r)
{
    uint64_t v = rng_next(r), frac = rng_next(r) | UINT64_C(1) << 63;
    uint16_t sign = (uint16_t)(v >> 63 << 15);
    switch (v >> 56 & 15) {
    case 0: return (struct st_reg){0, sign};
    case 1: return (struct st_reg){UINT64_C(1) << 63, sign | 0x3fff};
    case 2: return (struct st_reg){UINT64_C(1) << 63, sign | 0x7fff};
    case 3: return (struct st_reg){frac, sign | 0x7fff};
    case 4: return (struct st_reg){frac & ~(UINT64_C(1) << 63), sign};
    case 5: return (struct st_reg){frac, sign};
    case 6: return (struct st_reg){rng_next(r), (uint16_t)v};
    case 7: return (struct st_reg){frac & ~UINT64_C(0xffffffff), (uint16_t)(sign | (0x3fff + (v & 31)))};
    case 8: return (struct st_reg){frac & (UINT64_C(0xffff) << 48), (uint16_t)(sign | (0x3fff + (v & 15)))};
    case 9: return (struct st_reg){frac, (uint16_t)(sign | (v & 0x7fff))};
    default: return (struct st_reg){frac, (uint16_t)(sign | (0x3fff - 16 + (v & 63)))};
    }
}

void state_from_seed(struct ocase *t)
{
    uint64_t s = t->seed, v;
    struct oregs *in = &t->in;
    memset(in, 0, sizeof *in);
    for (unsigned i = 0; i < 16; i++) {
        in->gpr[i] = integer_value(&s);
        if (t->mode != 64) in->gpr[i] = i < 8 ? (uint32_t)in->gpr[i] : 0;
    }
    uint64_t stack = DATA_BASE + 0x1000 + (rng_next(&s) & 0x3f8);
    in->gpr[RSP] = t->mode == 16 ? stack - DATA_BASE : stack;
    in->rip = t->mode == 16 ? CODE_AT : CODE_BASE + CODE_AT;
    v = rng_next(&s);
    in->rflags = FL_FIXED | FL_IF | (v & FL_OSZAPC) | (v >> 61 == 0 ? FL_DF : 0);
    v = rng_next(&s);
    in->cw = 0x037f;
    if (v & 1) in->cw = (uint16_t)(0x7f | (v & 0xf00));
    if ((v >> 16 & 15) == 0) in->cw = (uint16_t)(0x40 | (v & 0xf3f));
    in->sw = (uint16_t)(v >> 32 & 0x7800);
    if ((v >> 20 & 3) == 0) in->sw |= v >> 32 & 0x477f;
    if (in->sw & ~in->cw & 0x3f) {
        if ((v >> 24 & 7) == 0) {
            in->sw |= 0x8080;
        } else {
            in->sw &= ~0x3f;
        }
    }
    in->tag = (v >> 28 & 3) == 0   ? (uint8_t)(v >> 48)
              : (v >> 28 & 3) == 1 ? 0xff
                                   : (uint8_t)(v >> 48 | v >> 56);
    for (unsigned i = 0; i < 8; i++)
        in->st[i] = x87_value(&s);
    v = rng_next(&s);
    in->mxcsr = 0x1f80;
    if (v & 1) in->mxcsr |= (uint32_t)(v >> 8 & 0xe07f);
    if ((v >> 1 & 15) == 0) in->mxcsr &= ~(uint32_t)(v >> 32 & 0x1f80);
    for (unsigned i = 0; i < (t->mode == 64 ? 16u : 8u); i++) {
        v = rng_next(&s);
        for (unsigned k = 0; k < 2; k++) {
            switch (v & 3) {
            case 0: in->xmm[i][k] = double_bits(&s); break;
            case 1: in->xmm[i][k] = float_bits(&s) | (uint64_t)float_bits(&s) << 32; break;
            case 2: in->xmm[i][k] = integer_value(&s); break;
            default: in->xmm[i][k] = rng_next(&s); break;
            }
        }
    }
    t->memory_seed = rng_next(&s);
}

/* A pool of interesting values; a case's memory is a window into it. */
enum { POOL_SIZE = 1 << 17 };
static uint8_t pool[POOL_SIZE];
static uint8_t readonly[READONLY_SIZE];
static bool pool_ready;

static void put_le(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}
static void pool_fill(void)
{
    uint64_t s = 0x5eed;
    for (unsigned at = 0; at < POOL_SIZE; at += 16) {
        struct st_reg st;
        switch (rng_next(&s) & 7) {
        case 0:
            st = x87_value(&s);
            put_le(pool + at, 8, st.frac);
            put_le(pool + at + 8, 8, st.se);
            break;
        case 1:
        case 2:
            put_le(pool + at, 8, double_bits(&s));
            put_le(pool + at + 8, 8, double_bits(&s));
            break;
        case 3:
        case 4:
            for (unsigned i = 0; i < 16; i += 4)
                put_le(pool + at + i, 4, float_bits(&s));
            break;
        default:
            put_le(pool + at, 8, integer_value(&s));
            put_le(pool + at + 8, 8, integer_value(&s));
            break;
        }
    }
    memcpy(readonly, pool + 0x3000, sizeof readonly);
    pool_ready = true;
}
const uint8_t *readonly_page(void)
{
    if (!pool_ready) pool_fill();
    return readonly;
}
void memory_from_case(const struct ocase *t, uint8_t memory[DATA_SIZE])
{
    if (!pool_ready) pool_fill();
    memcpy(memory, pool + t->memory_seed % ((POOL_SIZE - DATA_SIZE) / 16) * 16, DATA_SIZE);
    if (t->patch_length) memcpy(memory + t->patch_at, t->patch, t->patch_length);
}

uint32_t flags_compared(void) { return FL_OSZAPC | FL_DF | FL_NT | FL_AC | FL_ID; }

static const char *const gpr_name[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static unsigned differ(FILE *out, const char *what, int index, uint64_t ours, uint64_t theirs)
{
    if (ours == theirs) return 0;
    if (out) {
        fprintf(out, "    %s", what);
        if (index >= 0) fprintf(out, "%d", index);
        fprintf(out, ": ours %016llx theirs %016llx\n", (unsigned long long)ours, (unsigned long long)theirs);
    }
    return 1;
}

/* weak: Unicorn, where only the fact of a fault, general registers, XMM and memory are meaningful. */
unsigned results_compare(const struct ocase *t, const struct oresult *a, const struct oresult *theirs,
                         bool weak, FILE *out)
{
    static struct oresult reconciled;
    const struct oresult *b = theirs;
    unsigned n = 0;
    uint64_t wide = t->mode == 64 ? UINT64_MAX : UINT32_MAX;
    if (a->status != RESULT_OK || b->status != RESULT_OK) return 0;
    if (known_rules(t)) {
        reconciled = *theirs;
        b = &reconciled;
        if (!known_reconcile(t, a, &reconciled)) return 0;
    }
    /* Unicorn checks no alignment. */
    if (weak && a->vector == 13 && b->vector < 0 && t->row && t->row->attr & A_ALIGN16) return 0;
    n += differ(out, "vector", -1, (uint64_t)(int64_t)a->vector, (uint64_t)(int64_t)b->vector);
    if (weak && (a->vector >= 0 || n)) return n;
    if (a->vector >= 0 && a->vector == b->vector) {
        /* Whether a supervisor page is present is the operating system's affair. */
        uint32_t hidden = a->vector == 14 && b->cr2 >> 63 ? 1 : 0;
        n += differ(out, "error code", -1, a->error | hidden, b->error | hidden);
        if (a->vector == 14) n += differ(out, "cr2", -1, a->cr2, b->cr2);
    }
    for (unsigned i = 0; i < (t->mode == 64 ? 16u : 8u); i++)
        n += differ(out, gpr_name[i], -1, a->out.gpr[i] & wide, b->out.gpr[i] & wide);
    n += differ(out, "rip", -1, a->out.rip & wide, b->out.rip & wide);
    uint32_t mask = flags_compared() & ~t->undefined;
    n += differ(out, "rflags", -1, a->out.rflags & mask, b->out.rflags & mask);
    for (int i = 0; i < (t->mode == 64 ? 16 : 8); i++) {
        if (a->out.xmm[i][0] != b->out.xmm[i][0] || a->out.xmm[i][1] != b->out.xmm[i][1]) {
            n += differ(out, "xmm.low ", i, a->out.xmm[i][0], b->out.xmm[i][0]);
            n += differ(out, "xmm.high ", i, a->out.xmm[i][1], b->out.xmm[i][1]);
        }
    }
    if (!weak) {
        n += differ(out, "mxcsr", -1, a->out.mxcsr, b->out.mxcsr);
        n += differ(out, "fcw", -1, a->out.cw, b->out.cw);
        n += differ(out, "fsw", -1, a->out.sw, b->out.sw);
        n += differ(out, "ftag", -1, a->out.tag, b->out.tag);
        for (int i = 0; i < 8; i++) {
            n += differ(out, "st.frac ", i, a->out.st[i].frac, b->out.st[i].frac);
            n += differ(out, "st.se ", i, a->out.st[i].se, b->out.st[i].se);
        }
    }
    if (memcmp(a->memory, b->memory, DATA_SIZE) != 0) {
        unsigned shown = 0;
        for (unsigned i = 0; i < DATA_SIZE; i++) {
            if (a->memory[i] == b->memory[i]) continue;
            n++;
            if (out && shown++ < 16)
                fprintf(out, "    memory %05x: ours %02x theirs %02x\n", DATA_BASE + i, a->memory[i],
                        b->memory[i]);
        }
    }
    return n;
}

/* The tree's own table names the row; Capstone shows the operands where it is there. */
static void disassemble(const struct ocase *t, FILE *out)
{
#ifdef UV_HAVE_CAPSTONE
    csh cs;
    cs_insn *insn = NULL;
    cs_mode mode = t->mode == 64 ? CS_MODE_64 : t->mode == 32 ? CS_MODE_32 : CS_MODE_16;
    size_t count = 0;
    if (cs_open(CS_ARCH_X86, mode, &cs) == CS_ERR_OK) {
        count = cs_disasm(cs, t->code, t->length, t->in.rip, 0, &insn);
        for (size_t i = 0; i < count; i++)
            fprintf(out, "    %s %s\n", insn[i].mnemonic, insn[i].op_str);
        if (count) cs_free(insn, count);
        cs_close(&cs);
    }
#else
    (void)t, (void)out;
#endif
}

void case_print(const struct ocase *t, FILE *out)
{
    fprintf(out, "  %u-bit ", t->mode);
    for (unsigned i = 0; i < t->length; i++)
        fprintf(out, "%02x", t->code[i]);
    if (t->row) fprintf(out, "  (row %s)", t->row->mnemonic);
    fputc('\n', out);
    disassemble(t, out);
    for (unsigned i = 0; i < (t->mode == 64 ? 16u : 8u); i++)
        fprintf(out, "    %-3s %016llx%s", gpr_name[i], (unsigned long long)t->in.gpr[i],
                i % 4 == 3 ? "\n" : "");
    fprintf(out, "    rflags %llx cw %x sw %x tag %x mxcsr %x memory %llx\n",
            (unsigned long long)t->in.rflags, t->in.cw, t->in.sw, t->in.tag, t->in.mxcsr,
            (unsigned long long)t->memory_seed);
    if (t->row && (t->row->attr & (A_FPU | A_MMX)))
        for (unsigned i = 0; i < 8; i++)
            fprintf(out, "    st%u %04x:%016llx%s", i, t->in.st[i].se, (unsigned long long)t->in.st[i].frac,
                    i % 2 ? "\n" : "");
    if (t->row && (t->row->attr & A_SSE))
        for (unsigned i = 0; i < (t->mode == 64 ? 16u : 8u); i++)
            fprintf(out, "    xmm%-2u %016llx:%016llx%s", i, (unsigned long long)t->in.xmm[i][1],
                    (unsigned long long)t->in.xmm[i][0], i % 2 ? "\n" : "");
}
