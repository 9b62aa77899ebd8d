/* SPDX-License-Identifier: MIT */
/* Cases from the instruction table: a row gives prefixes, opcode, ModRM constraints and operands; the rest
 * is random. The decoder then tells where the memory operand is, and registers or displacement are set so
 * that it falls into the data area (now and then outside it). */
#include <string.h>

#include "tests/oracle/known.h"
#include "tests/oracle/oracle.h"

#include "cpu/isa/decode_operand.h"
#include "cpu/isa/table.h"
#include "cpu/state.h"

static const struct {
    const char *mnemonic, *reason;
} deny[] = {
#define DENY(mn, reason) {mn, reason},
#include "tests/oracle/deny.def"
#undef DENY
};
static const struct {
    const char *mnemonic, *reason;
} unicorn_deny[] = {
#define DENY(mn, reason) {mn, reason},
#include "tests/oracle/unicorn_deny.def"
#undef DENY
};

static const struct {
    uint8_t before, opcode;
    const char *reason;
} host_opcodes[] = {
#define HOST_OPCODE(before, opcode, reason) {before, opcode, reason},
#include "tests/oracle/host_opcodes.def"
#undef HOST_OPCODE
};

static bool begins(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

const char *row_group(const struct insn_row *row)
{
    if (row->attr & (A_CPL0 | A_UNDEF)) return NULL;
    for (unsigned i = 0; i < sizeof deny / sizeof deny[0]; i++)
        if (strcmp(deny[i].mnemonic, row->mnemonic) == 0) return NULL;
    switch (row->timing) {
    case TIMING_alu:
    case TIMING_mov:
    case TIMING_mul:
    case TIMING_div:
    case TIMING_bcd:
    case TIMING_atomic:
    case TIMING_hint:
        if (row->attr & A_SOLO && row->timing == TIMING_hint) return NULL;
        for (unsigned i = 0; i < 3; i++) {
            unsigned k = operand_kind[row->operand[i]];
            if (k == K_CREG || k == K_DREG || k == K_SREG || k == K_FARPTR) return NULL;
        }
        return "integer";
    case TIMING_shift: return "shift";
    case TIMING_bit: return "bit";
    case TIMING_string:
        return begins(row->mnemonic, "ins") || begins(row->mnemonic, "outs") ? NULL : "string";
    case TIMING_stack: return "stack";
    case TIMING_branch: return "branch";
    case TIMING_x87_move:
    case TIMING_x87_arith:
    case TIMING_x87_div:
    case TIMING_x87_trans:
    case TIMING_x87_state: return row->attr & A_MMX ? "mmx" : "x87";
    case TIMING_vec_move:
    case TIMING_vec_int: return row->attr & A_MMX ? "mmx" : "sse";
    case TIMING_vec_fp:
    case TIMING_vec_div: return "ssefp";
    case TIMING_vec_crypto: return "crypto";
    case TIMING_xsave: return "xsave";
    default: return NULL;
    }
}

static const struct insn_row *chosen[4096];

static bool wanted(const struct generator *g, const struct insn_row *row)
{
    const char *group = row_group(row);
    if (!group || row->map > 5) return false;
    if (g->group && strcmp(g->group, group) != 0) return false;
    if (g->mnemonic && strcmp(g->mnemonic, row->mnemonic) != 0) return false;
    if (row->feature != FEAT_BASE && !(g->features[row->feature / 64] >> row->feature % 64 & 1)) return false;
    if (g->for_unicorn) {
        /* x87 status and SSE floating-point flags and NaN choice are wrong there altogether. */
        if (row->attr & (A_FPU | A_MMX) || strcmp(group, "ssefp") == 0 || strcmp(group, "xsave") == 0 ||
            row->timing == TIMING_branch) /* a branch back would run on */
            return false;
        for (unsigned i = 0; i < sizeof unicorn_deny / sizeof unicorn_deny[0]; i++)
            if (strcmp(unicorn_deny[i].mnemonic, row->mnemonic) == 0) return false;
    }
    if (g->block > 1) {
        struct ocase probe = {.row = row};
        if (known_rules(&probe) & ~(unsigned)(KNOWN_SS_OR_GP | KNOWN_SHORT)) return false;
        if (insn_undefined_flags(row) & ~(uint32_t)FL_AF) return false;
        if (strcmp(group, "string") == 0 || strcmp(group, "branch") == 0 || strcmp(group, "stack") == 0 ||
            strcmp(group, "x87") == 0 || strcmp(group, "xsave") == 0 || strcmp(group, "ssefp") == 0 ||
            row->timing == TIMING_div || row->timing == TIMING_bcd || strcmp(row->mnemonic, "lahf") == 0)
            return false;
    }
    return true;
}

bool generator_start(struct generator *g, uint64_t seed)
{
    unsigned n = 0;
    g->rng = seed;
    for (uint32_t i = 0; i < insn_table_rows; i++)
        if (wanted(g, &insn_table[i])) chosen[n++] = &insn_table[i];
    g->rows = chosen;
    g->row_count = n;
    return n > 0;
}

static unsigned pick(struct generator *g, unsigned n) { return (unsigned)(rng_next(&g->rng) >> 33) % n; }

struct draft {
    uint8_t bytes[16];
    unsigned length, modrm_at;
    bool has_modrm;
};

static bool kind_is_modrm(unsigned k) { return k >= K_RM && k <= K_MODRM_LAST; }

/* Prefixes, opcode, ModRM and random rest. absolute: memory operands without registers. */
static void draft_row(struct generator *g, const struct insn_row *row, unsigned mode, bool absolute,
                      struct draft *d)
{
    unsigned n = 0;
    bool vex = row->map >= 4;
    uint8_t *b = d->bytes;
    if (!vex) {
        /* Near branches of 64-bit mode: Intel ignores 66, AMD takes it; we are Intel here. */
        bool no66 = mode == 64 && row->timing == TIMING_branch;
        if (row->pfx == PFX_P66 || (row->pfx == PFX_ANY && !no66 && pick(g, 4) == 0)) b[n++] = 0x66;
        if (pick(g, 16) == 0) b[n++] = 0x67;
        if (pick(g, 24) == 0) {
            static const uint8_t seg[4] = {0x26, 0x2e, 0x36, 0x3e};
            b[n++] = seg[pick(g, 4)];
        }
        if (row->attr & A_LOCK ? pick(g, 4) == 0 : pick(g, 200) == 0 && !g->for_unicorn) b[n++] = 0xf0;
        if (row->pfx == PFX_PF3) b[n++] = 0xf3;
        if (row->pfx == PFX_PF2) b[n++] = 0xf2;
        if (row->attr & A_REP && pick(g, 2)) b[n++] = pick(g, 2) ? 0xf2 : 0xf3;
        if (mode == 64 && pick(g, 2)) b[n++] = (uint8_t)(0x40 | pick(g, 16));
        if (row->map == 1 || row->map == 2 || row->map == 3) b[n++] = 0x0f;
        if (row->map == 2) b[n++] = 0x38;
        if (row->map == 3) b[n++] = 0x3a;
    } else {
        static const uint8_t pp[] = {[PFX_NP] = 0, [PFX_P66] = 1, [PFX_PF3] = 2, [PFX_PF2] = 3};
        unsigned high = mode == 64 ? pick(g, 8) << 5 : 0xe0;
        b[n++] = 0xc4;
        b[n++] = (uint8_t)(high | (row->map - 2));
        b[n++] = (uint8_t)(pick(g, 32) << 3 | pp[row->pfx]);
        if (mode == 64) b[n - 1] |= (uint8_t)(pick(g, 2) << 7);
        b[n - 1] &= (uint8_t)~4;
        if (mode != 64) b[n - 1] |= 0x40;
    }
    b[n++] = (uint8_t)(row->opcode + (row->plus_r ? pick(g, 8) : 0));
    d->has_modrm = row->ext_modrm;
    unsigned mod_need = row->ext_mod;
    for (unsigned i = 0; i < 3; i++) {
        unsigned k = operand_kind[row->operand[i]];
        if (kind_is_modrm(k)) d->has_modrm = true;
        if (k == K_MEM) mod_need = 1;
        if (k == K_RMREG || k == K_XRMREG || k == K_MRMREG || k == K_ST) mod_need = 2;
    }
    d->modrm_at = n;
    if (d->has_modrm) {
        unsigned reg = row->ext_reg >= 0 ? (unsigned)row->ext_reg : pick(g, 8);
        unsigned rm = row->ext_rm >= 0 ? (unsigned)row->ext_rm : pick(g, 8);
        unsigned mod = mod_need == 2 ? 3 : mod_need == 1 ? pick(g, 3) : pick(g, 2) ? 3 : pick(g, 3);
        if (mod != 3 && absolute) {
            bool a16 = (mode == 16) != (memchr(b, 0x67, n) != NULL) && mode != 64;
            mod = 0;
            rm = a16 ? 6 : 5;
        }
        b[n++] = (uint8_t)(mod << 6 | reg << 3 | rm);
    }
    while (n < 16)
        b[n++] = (uint8_t)rng_next(&g->rng);
    d->length = n;
}

/* Any opcode of the legacy maps with random prefixes: what is not an instruction must be #UD. */
static void draft_bytes(struct generator *g, unsigned mode, struct draft *d)
{
    static const uint8_t prefix[] = {0x66, 0xf2, 0xf3, 0x67, 0xf0, 0x66, 0xf2, 0xf3};
    unsigned n = 0, map = pick(g, 4);
    uint8_t *b = d->bytes;
    for (unsigned i = pick(g, 3); i > 0; i--)
        b[n++] = prefix[pick(g, 8)];
    if (mode == 64 && pick(g, 2)) b[n++] = (uint8_t)(0x40 | pick(g, 16));
    if (map) b[n++] = 0x0f;
    if (map == 2) b[n++] = 0x38;
    if (map == 3) b[n++] = 0x3a;
    b[n++] = (uint8_t)rng_next(&g->rng);
    d->modrm_at = n;
    while (n < 16)
        b[n++] = (uint8_t)rng_next(&g->rng);
    d->length = n;
}

/* Encodings that the host may have and no model of ours has, or that are not safe to try. */
static bool host_only(const struct ocase *t, const struct insn *in, const struct draft *d)
{
    const uint8_t *b = d->bytes;
    unsigned at = 0;
    if (in->row) return row_group(in->row) == NULL;
    while (at < 12 &&
           ((b[at] != 0 && strchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", b[at]) != NULL) ||
            (t->mode == 64 && (b[at] & 0xf0) == 0x40)))
        at++;
    if (b[at] != 0x0f) /* VEX, EVEX, XOP, REX2 */
        return b[at] == 0xc4 || b[at] == 0xc5 || b[at] == 0x62 || b[at] == 0x8f || b[at] == 0xd5;
    uint8_t map = b[at + 1] == 0x38 || b[at + 1] == 0x3a ? b[at + 1] : 0x0f;
    uint8_t opcode = map == 0x0f ? b[at + 1] : b[at + 2];
    for (unsigned i = 0; i < sizeof host_opcodes / sizeof host_opcodes[0]; i++)
        if (host_opcodes[i].before == map && host_opcodes[i].opcode == opcode) return true;
    return false;
}

/* Where the memory operand should be. */
static uint64_t pick_target(struct generator *g, bool aligned)
{
    uint64_t at = DATA_BASE + 0x200 + pick(g, 0x1a00);
    if (pick(g, 8) || (g->for_unicorn && aligned)) at &= ~UINT64_C(15); /* Unicorn checks no alignment */
    if (g->for_unicorn) return at;
    switch (pick(g, 96)) {
    case 0: return READONLY_BASE + pick(g, 0xf00);
    case 1: return READONLY_BASE - pick(g, 24);          /* crosses into the read-only page */
    case 2: return READONLY_BASE + 0x1000 - pick(g, 24); /* crosses into nothing */
    case 3: return 0x70000 + pick(g, 0x1000);            /* not mapped */
    case 4: return UINT64_C(0x8000000000000000) | at;    /* not canonical */
    default: return at;
    }
}

static void put_le(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* Registers are inputs of the whole case: only the first instruction may set them. */
static void aim_memory(struct generator *g, struct ocase *t, const struct insn *in, struct draft *d,
                       uint64_t rip)
{
    uint64_t target = pick_target(g, in->row->attr & A_ALIGN16), *gpr = t->in.gpr;
    if (t->mode == 16) target = (target - DATA_BASE) & (in->asize == 2 ? 0xffff : UINT64_MAX);
    if (t->mode != 64) target = (uint32_t)target;
    unsigned kind = operand_kind[in->row->operand[0]];
    unsigned kind1 = operand_kind[in->row->operand[1]];
    if (kind == K_MOFFS || kind1 == K_MOFFS) {
        put_le(d->bytes + in->length - in->asize, in->asize, target);
        return;
    }
    uint64_t index = in->index < 16 ? gpr[in->index] << in->scale : 0;
    if (in->base < 16) {
        uint64_t want = target - index - (uint64_t)(int64_t)in->disp;
        if (in->base == in->index)
            want = (target - (uint64_t)(int64_t)in->disp) / ((UINT64_C(1) << in->scale) + 1);
        if (in->asize == 2) want = (gpr[in->base] & ~UINT64_C(0xffff)) | (want & 0xffff);
        if (in->asize == 4) want = (uint32_t)want;
        gpr[in->base] = want;
    } else {
        uint64_t disp = in->base == REG_RIP ? target - rip - in->length : target - index;
        unsigned size = in->asize == 2 ? 2 : 4, at = d->modrm_at + 1;
        if (in->asize != 2 && (in->modrm & 7) == 4) at++;
        if (in->index < 16) {
            uint64_t want = (target - (uint64_t)(int64_t)in->disp) >> in->scale;
            gpr[in->index] = in->asize == 4 ? (uint32_t)want : want;
        } else {
            put_le(d->bytes + at, size, disp);
        }
    }
}

static void aim_implicit(struct generator *g, struct ocase *t, const struct insn *in)
{
    const char *mn = in->row->mnemonic;
    uint64_t *gpr = t->in.gpr, base = t->mode == 16 ? 0 : DATA_BASE;
    if (in->row->timing == TIMING_string) {
        gpr[RSI] = base + 0x400 + pick(g, 0xe00);
        gpr[RDI] = base + 0x400 + pick(g, 0xe00);
        if (in->rep) gpr[RCX] = pick(g, 12);
        if (pick(g, 3) == 0) gpr[RDI] = gpr[RSI] + pick(g, 8);
        if (begins(mn, "cmps") || begins(mn, "scas")) {
            t->patch_at = (uint16_t)(0x400 + pick(g, 0xe00));
            t->patch_length = 64;
            memset(t->patch, (int)pick(g, 256), 64);
            if (pick(g, 2)) gpr[RSI] = base + t->patch_at + pick(g, 40);
            if (pick(g, 4)) gpr[RDI] = base + t->patch_at + pick(g, 40);
            if (pick(g, 2)) gpr[RAX] = t->patch[0] * UINT64_C(0x0101010101010101);
            if (t->mode != 64) gpr[RAX] = (uint32_t)gpr[RAX];
        }
    } else if (begins(mn, "maskmov")) {
        gpr[RDI] = base + 0x400 + pick(g, 0x1000);
    } else if (strcmp(mn, "xlat") == 0 || strcmp(mn, "xlatb") == 0) {
        gpr[RBX] = base + 0x400 + pick(g, 0x1000);
    } else if (strcmp(mn, "enter") == 0 || strcmp(mn, "leave") == 0) {
        gpr[RBP] = base + 0x800 + (pick(g, 0x800) & ~7u);
    } else if ((strcmp(mn, "div") == 0 || strcmp(mn, "idiv") == 0) && pick(g, 4)) {
        unsigned n = in->opsize;
        if (n == 1) {
            gpr[RAX] &= ~UINT64_C(0xff80);
        } else {
            bool negative = mn[0] == 'i' && (gpr[RAX] >> (8 * n - 1) & 1);
            gpr[RDX] = negative ? UINT64_MAX : pick(g, 3);
            if (t->mode != 64) gpr[RDX] = (uint32_t)gpr[RDX];
        }
    } else if (begins(mn, "bt") && in->is_mem && operand_kind[in->row->operand[1]] == K_REG) {
        if (in->reg != in->base && in->reg != in->index)
            gpr[in->reg] = (gpr[in->reg] & ~UINT64_C(0xffffffff)) | pick(g, 2048);
        if (t->mode == 64 && in->reg != in->base && in->reg != in->index)
            gpr[in->reg] = in->opsize == 8 ? pick(g, 2048) : gpr[in->reg];
    } else if (begins(mn, "pcmpestr") && pick(g, 2)) {
        gpr[RAX] = pick(g, 40);
        gpr[RDX] = pick(g, 40);
        if (pick(g, 2)) gpr[RAX] = (uint32_t)-gpr[RAX];
    } else if (begins(mn, "cmpxchg") && pick(g, 2) && !in->is_mem) {
        gpr[RAX] = in->rm < 16 ? gpr[in->rm] : 0;
    }
}

/* Images that XRSTOR, FXRSTOR and LDMXCSR accept: MXCSR and header laid into the data area. */
static void aim_image(struct generator *g, struct ocase *t, const struct insn *in)
{
    const char *mn = in->row->mnemonic;
    if (!in->is_mem) return;
    uint64_t ea = (in->base < 16 ? t->in.gpr[in->base] : 0) +
                  (in->index < 16 ? t->in.gpr[in->index] << in->scale : 0) + (uint64_t)(int64_t)in->disp;
    if (in->base == REG_RIP) ea += t->in.rip + in->length;
    if (in->asize == 4) ea = (uint32_t)ea;
    if (in->asize == 2) ea = (uint16_t)ea;
    uint64_t at = t->mode == 16 ? ea : ea - DATA_BASE;
    uint32_t mxcsr = 0x1f80 | (pick(g, 2) ? pick(g, 0x10000) & 0xe07f : 0);
    if (begins(mn, "x")) {
        /* RFBM: legacy components only, so that both sides have them; the area is 64-byte aligned. */
        t->in.gpr[RAX] = pick(g, 4);
        t->in.gpr[RDX] = 0;
    }
    if (begins(mn, "xrstor") && at + 576 <= DATA_SIZE) {
        t->patch_at = (uint16_t)(at + 512);
        t->patch_length = 64;
        memset(t->patch, 0, 64);
        t->patch[0] = (uint8_t)pick(g, 4);
        if (pick(g, 4) == 0) t->patch[15] = 0x80, t->patch[8] = (uint8_t)pick(g, 4);
        if (pick(g, 16) == 0) t->patch[pick(g, 64)] = 1;
    } else if (begins(mn, "fxrstor") && at + 512 <= DATA_SIZE && pick(g, 4)) {
        t->patch_at = (uint16_t)(at + 24);
        t->patch_length = 4;
        put_le(t->patch, 4, mxcsr);
    } else if (begins(mn, "ldmxcsr") && at + 4 <= DATA_SIZE && pick(g, 4)) {
        t->patch_at = (uint16_t)at;
        t->patch_length = 4;
        put_le(t->patch, 4, mxcsr);
    }
}

/* Results that the manuals leave undefined altogether. */
static bool unpredictable(const struct ocase *t, const struct insn *in)
{
    const char *mn = in->row->mnemonic;
    if ((begins(mn, "shld") || begins(mn, "shrd")) && in->opsize == 2) {
        unsigned count = operand_kind[in->row->operand[2]] == K_IMM ? (unsigned)in->imm & 31
                                                                    : (unsigned)t->in.gpr[RCX] & 31;
        if (count > 16) return true;
    }
    if (begins(mn, "bswap") && in->opsize == 2) return true;
    /* Source operands outside the range that SDM 2A gives for the instruction. */
    unsigned exponent = t->in.st[0].se & 0x7fff;
    bool one = t->in.st[0].frac == UINT64_C(1) << 63 && exponent == 0x3fff;
    if (strcmp(mn, "fyl2xp1") == 0 && exponent >= 0x3ffd && exponent != 0x7fff) return true;
    if (strcmp(mn, "f2xm1") == 0 && exponent >= 0x3fff && exponent != 0x7fff && !one) return true;
    if (begins(mn, "extrq") || begins(mn, "insertq")) {
        unsigned length = in->imm & 63, index = in->imm >> 8 & 63;
        const uint64_t *q = in->rm < 16 ? t->in.xmm[in->rm] : t->in.xmm[0];
        if (operand_kind[in->row->operand[1]] != K_IMM && operand_kind[in->row->operand[2]] != K_IMM) {
            uint64_t control = q[begins(mn, "insertq") ? 1 : 0];
            length = control & 63;
            index = control >> 8 & 63;
        }
        if (length == 0 ? index != 0 : length + index > 64) return true;
    }
    return false;
}

static bool add_instruction(struct generator *g, struct ocase *t, const struct insn_row *row)
{
    struct decode_env env = {.mode = t->mode == 64   ? DECODE_64
                                     : t->mode == 32 ? DECODE_32
                                                     : DECODE_16,
                             .real_or_v86 = g->for_unicorn && t->mode == 16,
                             .features = g->features};
    struct draft d;
    struct insn in;
    bool single = g->block <= 1;
    if (g->random_bytes) {
        draft_bytes(g, t->mode, &d);
    } else {
        draft_row(g, row, t->mode, !single, &d);
    }
    enum decode_status status = insn_decode(&env, d.bytes, 16, &in);
    if (status == DECODE_TOO_LONG || status == DECODE_MORE) return false;
    if (g->random_bytes && host_only(t, &in, &d)) return false;
    if (g->random_bytes && !in.row) {
        memcpy(t->code, d.bytes, 16);
        t->length = 16;
        t->insns = 1;
        return true;
    }
    if (!in.row) return false;
    /* Unicorn looks at REX.R where ModRM.reg extends the opcode, takes LOCK where it is not allowed, and its
     * code segment is writable. */
    if (g->for_unicorn && ((in.row->ext_reg >= 0 && in.rex & 4) || in.lock || in.seg == SEG_CS)) return false;
    if (status == DECODE_OK) {
        if (single && !g->for_unicorn && in.row->attr & A_ALIGN16 && pick(g, 12) == 0 &&
            g->features[FEAT_MISALIGNSSE / 64] >> FEAT_MISALIGNSSE % 64 & 1)
            t->in.mxcsr |= 1 << 17; /* MM */
        if (in.row->attr & A_SOLO && row != in.row && !g->random_bytes) return false;
        if (!row_group(in.row)) return false;
        if (in.seg == SEG_FS || in.seg == SEG_GS || (t->mode == 16 && in.seg == SEG_CS)) return false;
        if (strcmp(in.row->mnemonic, "enter") == 0 && pick(g, 16)) { /* frames that fit the data area */
            d.bytes[in.length - 2] &= 1;
            d.bytes[in.length - 1] &= 0xe3;
        }
        if (single) aim_implicit(g, t, &in);
        if (in.is_mem) {
            aim_memory(g, t, &in, &d, t->in.rip + t->length);
            const struct insn_row *meant = in.row;
            if (insn_decode(&env, d.bytes, 16, &in) != DECODE_OK || in.row != meant) return false;
            if (single) aim_image(g, t, &in);
        }
        if (single && unpredictable(t, &in)) return false;
        /* MOVSXD r16 reads 16 bits on Intel, 32 on AMD. PREFETCH with a register: NOP on Intel, #UD on AMD.
         */
        if (strcmp(in.row->mnemonic, "movsxd") == 0 && in.opsize == 2) return false;
        /* Zen takes the condition of LOOPE and LOOPNE from a repeat prefix. */
        if (begins(in.row->mnemonic, "loop") && in.rep) return false;
        if (in.row->map == 1 && in.opcode == 0x0d && !in.is_mem) return false;
        t->undefined |= insn_undefined_flags(in.row);
        if (single) t->rep = in.rep && in.row->attr & A_REP;
    } else if (!single) {
        return false;
    }
    if (t->length + in.length > CODE_MAX - 16) return false;
    memcpy(t->code + t->length, d.bytes, in.length);
    t->length = (uint8_t)(t->length + in.length);
    t->insns++;
    if (single) t->row = status == DECODE_OK || g->random_bytes ? in.row : row;
    return true;
}

/* The end of a block: mostly something that sets flags, then a short forward branch into the end marks. */
static void add_branch(struct generator *g, struct ocase *t)
{
    for (unsigned tries = 0; tries < 40; tries++) {
        const struct insn_row *row = g->rows[pick(g, g->row_count)];
        if (row->timing != TIMING_alu || (row->attr & A_NO64 && t->mode == 64)) continue;
        if (add_instruction(g, t, row)) break;
    }
    t->code[t->length++] = (uint8_t)(0x70 | pick(g, 16));
    t->code[t->length++] = (uint8_t)pick(g, 16);
    t->insns++;
}

void generate_case(struct generator *g, struct ocase *t)
{
    for (;;) {
        unsigned mode = pick(g, 8);
        memset(t, 0, offsetof(struct ocase, in));
        t->mode = mode == 0 ? 16 : mode < 3 ? 32 : 64;
        if (!(g->modes >> (t->mode == 16 ? 0 : t->mode == 32 ? 1 : 2) & 1)) continue;
        t->seed = rng_next(&g->rng);
        state_from_seed(t);
        unsigned want = g->block > 1 ? 2 + pick(g, g->block - 1) : 1;
        for (unsigned tries = 0; t->insns < want && tries < 100; tries++) {
            const struct insn_row *row =
                g->rows[g->in_order ? g->next % g->row_count : pick(g, g->row_count)];
            if (tries & 1) g->next++; /* a row gets a second chance, then the next one its turn */
            if ((row->attr & A_NO64 && t->mode == 64) || (row->attr & A_ONLY64 && t->mode != 64)) continue;
            /* Unicorn's 16-bit mode has no SSE and none of the later opcode maps. */
            if (g->for_unicorn && t->mode == 16 && (row->attr & (A_PROT | A_SSE) || row->map > 1)) continue;
            add_instruction(g, t, row);
        }
        if (t->insns == want && want > 1 && pick(g, 2) && !g->for_unicorn) {
            add_branch(g, t);
            want = t->insns;
        }
        if (t->insns == want) {
            g->next++;
            return;
        }
    }
}
