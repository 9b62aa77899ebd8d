/* SPDX-License-Identifier: MIT */
/* Instruction decoder: bytes and mode in, struct insn out; nothing else is read. Prefixes, opcode map, row
 * selection, ModRM/SIB/displacement, immediates, LOCK rule, 15-byte limit.
 * SDM 2A ch. 2 (instruction format), SDM 2D appendix A (opcode maps); APM 3 ch. 1. */
#include "cpu/insn.h"
#include "cpu/isa/decode_operand.h"
#include "cpu/isa/table.h"

enum { INSN_LIMIT = 15 };

struct reader {
    const uint8_t *bytes;
    uint32_t avail, pos;
    enum decode_status status; /* first failure */
};

static uint8_t fetch8(struct reader *r)
{
    if (r->pos >= INSN_LIMIT) {
        if (r->status == DECODE_OK) r->status = DECODE_TOO_LONG;
        return 0;
    }
    if (r->pos >= r->avail) {
        if (r->status == DECODE_OK) r->status = DECODE_MORE;
        return 0;
    }
    return r->bytes[r->pos++];
}

static uint64_t fetch(struct reader *r, uint32_t n)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < n; i++)
        v |= (uint64_t)fetch8(r) << (8 * i);
    return v;
}

static uint64_t sign_extend(uint64_t v, uint32_t bytes)
{
    unsigned sh = 64 - 8 * bytes;
    return (uint64_t)((int64_t)(v << sh) >> sh);
}

/* clang-format off */
const uint8_t operand_kind[O_COUNT] = {
    [O_NONE] = K_NONE,
#define OPERAND(name, kind, size) [O_##name] = K_##kind,
#include "cpu/isa/operands.def"
#undef OPERAND
};
enum { SIZE_V = 0x80, SIZE_Z, SIZE_Y, SIZE_N, SIZE_A };
#define V SIZE_V
#define Z SIZE_Z
#define Y SIZE_Y
#define N SIZE_N
#define A SIZE_A
static const uint8_t operand_size_code[O_COUNT] = {
    [O_NONE] = SIZE_N,
#define OPERAND(name, kind, size) [O_##name] = size,
#include "cpu/isa/operands.def"
#undef OPERAND
};
#undef V
#undef Z
#undef Y
#undef N
#undef A
/* clang-format on */

uint32_t insn_operand_size(enum operand o, uint32_t eff, uint32_t asize)
{
    switch (operand_size_code[o]) {
    case SIZE_V: return eff;
    case SIZE_Z: return eff == 2 ? 2 : 4;
    case SIZE_Y: return eff == 8 ? 8 : 4;
    case SIZE_N: return 0;
    case SIZE_A: return asize;
    default: return operand_size_code[o];
    }
}

static bool kind_uses_modrm(unsigned k) { return k >= K_RM && k <= K_MODRM_LAST; }

/* What mod must be for the row: 0 any, 1 memory, 2 register. */
static unsigned row_mod(const struct insn_row *row)
{
    unsigned need = row->ext_mod;
    for (int i = 0; i < 3; i++) {
        switch (operand_kind[row->operand[i]]) {
        case K_MEM: need |= 1; break;
        case K_RMREG:
        case K_XRMREG:
        case K_MRMREG:
        case K_ST: need |= 2; break;
        default: break;
        }
    }
    return need;
}

static bool row_uses_modrm(const struct insn_row *row)
{
    return row->ext_modrm || kind_uses_modrm(operand_kind[row->operand[0]]) ||
           kind_uses_modrm(operand_kind[row->operand[1]]) || kind_uses_modrm(operand_kind[row->operand[2]]);
}

static bool row_uses_vvvv(const struct insn_row *row)
{
    return operand_kind[row->operand[0]] == K_VEXREG || operand_kind[row->operand[1]] == K_VEXREG ||
           operand_kind[row->operand[2]] == K_VEXREG;
}

/* SDM 2A table 2-1: base and index of the 16-bit forms. */
static const uint8_t base16[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
static const uint8_t index16[8] = {RSI, RDI, RSI, RDI, REG_ZERO, REG_ZERO, REG_ZERO, REG_ZERO};

static void decode_memory(struct reader *r, const struct decode_env *env, struct insn *in)
{
    unsigned mod = in->modrm >> 6, rm = in->modrm & 7, disp_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    bool stack = false;
    in->is_mem = 1;
    in->base = in->index = REG_ZERO;
    if (in->asize == 2) {
        in->base = base16[rm];
        in->index = index16[rm];
        stack = in->base == RBP;
        if (mod == 2) disp_bytes = 2;
        if (mod == 0 && rm == 6) {
            in->base = REG_ZERO;
            stack = false;
            disp_bytes = 2;
        }
    } else if (rm == 4) {
        uint8_t sib = fetch8(r);
        unsigned index = (sib >> 3 & 7) | (in->rex & 2 ? 8 : 0);
        if (index != 4) in->index = (uint8_t)index;
        in->scale = index != 4 ? sib >> 6 : 0;
        if ((sib & 7) == 5 && mod == 0) {
            disp_bytes = 4;
        } else {
            in->base = (uint8_t)((sib & 7) | (in->rex & 1 ? 8 : 0));
            stack = in->base == RSP || in->base == RBP;
        }
    } else if (rm == 5 && mod == 0) {
        disp_bytes = 4;
        if (env->mode == DECODE_64) in->base = REG_RIP;
    } else {
        in->base = (uint8_t)(rm | (in->rex & 1 ? 8 : 0));
        stack = in->base == RBP;
    }
    if (disp_bytes) in->disp = (int32_t)sign_extend(fetch(r, disp_bytes), disp_bytes);
    if (in->seg_override == 0xff) in->seg = stack ? SEG_SS : SEG_DS;
}

struct opcode_state {
    unsigned map;
    unsigned pfx; /* enum mand_prefix in effect */
    bool vex;
    uint8_t vvvv;
};

/* VEX prefix: only the scalar general-register maps exist here, the vector ones need AVX. SDM 2A 2.3. */
static bool decode_vex(struct reader *r, const struct decode_env *env, struct insn *in,
                       struct opcode_state *op)
{
    static const uint8_t pfx_of_pp[4] = {PFX_NP, PFX_P66, PFX_PF3, PFX_PF2};
    uint8_t b1 = fetch8(r), b2;
    if (in->rex || in->lock || in->rep || in->opsize_prefix) return false;
    if (in->opcode == 0xC5) return false; /* map 0F: vector instructions only */
    b2 = fetch8(r);
    in->rex = (uint8_t)(0x40 | (~b1 >> 7 & 1) << 2 | (~b1 >> 6 & 1) << 1 | (~b1 >> 5 & 1) | (b2 >> 7) << 3);
    if (env->mode != DECODE_64) in->rex = 0;
    op->vex = true;
    op->vvvv = (uint8_t)(~b2 >> 3 & 15);
    op->pfx = pfx_of_pp[b2 & 3];
    switch (b1 & 31) {
    case 2: op->map = 4; break;
    case 3: op->map = 5; break;
    default: return false;
    }
    in->opcode = fetch8(r);
    return (b2 & 4) == 0; /* L = 1: #UD */
}

/* Prefix of the row against the prefixes present. F2/F3 take precedence over 66 as mandatory prefix. */
static bool prefix_fits(unsigned want, const struct insn *in, const struct opcode_state *op)
{
    if (op->vex) return want == op->pfx;
    switch (want) {
    case PFX_NP: return !in->rep && !in->opsize_prefix;
    case PFX_P66: return !in->rep && in->opsize_prefix;
    case PFX_PF3: return in->rep == 0xF3;
    case PFX_PF2: return in->rep == 0xF2;
    case PFX_NOREP: return !in->rep;
    default: return true;
    }
}

static bool mode_fits(const struct insn_row *row, const struct decode_env *env)
{
    if (row->attr & A_NO64 && env->mode == DECODE_64) return false;
    if (row->attr & A_ONLY64 && env->mode != DECODE_64) return false;
    if (row->attr & A_PROT && env->real_or_v86) return false;
    return (env->features[row->feature / 64] >> (row->feature % 64) & 1) != 0 || row->feature == FEAT_BASE;
}

/* First row that is legal; *near: first that fits the opcode and ModRM but not mode, prefix or feature. */
static const struct insn_row *find_row(const struct decode_env *env, const struct insn *in,
                                       const struct opcode_state *op, unsigned key,
                                       const struct insn_row **near)
{
    unsigned mod = in->modrm >> 6 == 3 ? 2 : 1;
    for (unsigned i = insn_index[key]; i < insn_index[key + 1]; i++) {
        const struct insn_row *row = &insn_table[insn_order[i]];
        if (row->ext_reg >= 0 && row->ext_reg != (in->modrm >> 3 & 7)) continue;
        if (row->ext_rm >= 0 && row->ext_rm != (in->modrm & 7)) continue;
        if (in->has_modrm && (row_mod(row) & ~mod) != 0) continue;
        /* 41 90 is XCHG R8, not NOP or PAUSE. */
        if (key == 0x90 && !row->plus_r && in->rex & 1) continue;
        if (!prefix_fits(row->pfx, in, op)) continue;
        if (!mode_fits(row, env)) {
            if (!*near) *near = row;
            continue;
        }
        return row;
    }
    return NULL;
}

static void decode_prefixes(struct reader *r, const struct decode_env *env, struct insn *in)
{
    for (;;) {
        uint8_t b = fetch8(r);
        if (r->status != DECODE_OK) return;
        switch (b) {
        case 0x26:
        case 0x2E:
        case 0x36:
        case 0x3E: /* without effect in 64-bit mode, also on an earlier FS or GS */
            if (env->mode != DECODE_64) in->seg_override = b >> 3 & 3;
            break;
        case 0x64: in->seg_override = SEG_FS; break;
        case 0x65: in->seg_override = SEG_GS; break;
        case 0x66: in->opsize_prefix = 1; break;
        case 0x67: in->asize_prefix = 1; break;
        case 0xF0: in->lock = 1; break;
        case 0xF2:
        case 0xF3: in->rep = b; break;
        default:
            if (env->mode == DECODE_64 && (b & 0xF0) == 0x40) {
                in->rex = b;
                continue; /* counts only right before the opcode */
            }
            in->opcode = b;
            return;
        }
        in->rex = 0;
    }
}

static uint32_t effective_size(const struct insn_row *row, const struct decode_env *env,
                               const struct insn *in)
{
    /* A mandatory 66 is not an operand-size prefix. */
    bool p66 = in->opsize_prefix && row->pfx != PFX_P66;
    if (env->mode == DECODE_64) {
        bool shortened = p66 && row->attr & A_BRANCH && env->branch_opsize16 && !(in->rex & 8);
        if (row->attr & A_FORCE64) return shortened ? 2 : 8;
        if (in->rex & 8 && !(row->attr & A_NOREX)) return 8;
        if (p66) return 2;
        return row->attr & A_DEF64 ? 8 : 4;
    }
    return (env->mode == DECODE_32) != p66 ? 4 : 2;
}

static void decode_immediates(struct reader *r, const struct decode_env *env, uint32_t eff, struct insn *in)
{
    bool second = false;
    for (int i = 0; i < 3; i++) {
        enum operand o = in->row->operand[i];
        uint32_t n = insn_operand_size(o, eff, in->asize);
        uint64_t v;
        switch (operand_kind[o]) {
        case K_IMM: v = fetch(r, n); break;
        case K_REL:
        case K_SIMM: v = sign_extend(fetch(r, n), n); break;
        case K_ONE: v = 1; break;
        case K_FARPTR:
            in->imm = fetch(r, n);
            in->imm2 = fetch(r, 2);
            continue;
        case K_MOFFS:
            in->imm = fetch(r, in->asize);
            in->is_mem = 1;
            in->base = in->index = REG_ZERO;
            if (in->seg_override == 0xff) in->seg = SEG_DS;
            continue;
        default: continue;
        }
        if (second)
            in->imm2 = v;
        else
            in->imm = v;
        second = true;
    }
    (void)env;
}

/* SDM 2A "LOCK": a row that allows it, and a memory destination. */
static bool lock_legal(const struct decode_env *env, struct insn *in)
{
    if (!in->lock) return true;
    if (in->row->attr & A_LOCK && in->is_mem) return true;
    /* LOCK MOV CR0 is MOV CR8 where CPUID says so (APM 3 "MOV CRn"). */
    if ((operand_kind[in->row->operand[0]] == K_CREG || operand_kind[in->row->operand[1]] == K_CREG) &&
        in->reg == 0 && env->features[FEAT_CR8LEGACY / 64] >> (FEAT_CR8LEGACY % 64) & 1) {
        in->reg = 8;
        in->lock = 0;
        return true;
    }
    return false;
}

/* The operand that decides the size: the first that is not an immediate, a branch target or DX. */
static uint32_t size_of_operation(const struct insn_row *row, uint32_t eff, uint32_t asize)
{
    for (int i = 0; i < 2; i++) {
        enum operand o = row->operand[i];
        unsigned k = operand_kind[o];
        if (k == K_IMM || k == K_SIMM || k == K_REL || k == K_FARPTR || k == K_ONE || o == O_DX) continue;
        uint32_t n = insn_operand_size(o, eff, asize);
        return n ? n : eff;
    }
    return eff;
}

enum decode_status insn_decode(const struct decode_env *env, const uint8_t *bytes, uint32_t avail,
                               struct insn *in)
{
    struct reader r = {bytes, avail, 0, DECODE_OK};
    struct opcode_state op = {0};
    const struct insn_row *near = NULL;
    bool ud = false;

    *in = (struct insn){.seg_override = 0xff, .base = REG_ZERO, .index = REG_ZERO};
    decode_prefixes(&r, env, in);
    in->asize = env->mode == DECODE_64 ? (in->asize_prefix ? 4 : 8)
                                       : ((env->mode == DECODE_32) != in->asize_prefix ? 4 : 2);
    in->seg = in->seg_override == 0xff ? SEG_DS : in->seg_override;

    if (r.status == DECODE_OK && (in->opcode == 0xC4 || in->opcode == 0xC5 || in->opcode == 0x62) &&
        r.pos < r.avail && r.pos < INSN_LIMIT && (env->mode == DECODE_64 || bytes[r.pos] >= 0xC0)) {
        if (in->opcode == 0x62 || env->real_or_v86)
            ud = true; /* EVEX; no VEX in real and virtual-8086 mode */
        else
            ud = !decode_vex(&r, env, in, &op);
    } else if (in->opcode == 0x0F) {
        op.map = 1;
        in->opcode = fetch8(&r);
        if (r.status == DECODE_OK && (in->opcode == 0x38 || in->opcode == 0x3A)) {
            op.map = in->opcode == 0x38 ? 2 : 3;
            in->opcode = fetch8(&r);
        }
    }
    if (r.status == DECODE_OK && !ud) {
        unsigned key = op.map * 256 + in->opcode, first = insn_index[key], last = insn_index[key + 1];
        for (unsigned i = first; i < last && !in->has_modrm; i++)
            in->has_modrm = row_uses_modrm(&insn_table[insn_order[i]]);
        if (in->has_modrm) in->modrm = fetch8(&r);
        /* MOV CR and MOV DR have no memory form: mod is ignored. */
        if (op.map == 1 && (in->opcode & 0xFC) == 0x20) in->modrm |= 0xC0;
        if (r.status == DECODE_OK) {
            in->row = find_row(env, in, &op, key, &near);
            if (!in->row) {
                ud = true;
                in->row = near;
            }
        }
    }
    if (r.status == DECODE_OK && in->row) {
        const struct insn_row *row = in->row;
        uint32_t eff = effective_size(row, env, in);
        if (row->plus_r)
            in->reg = (uint8_t)((in->opcode & 7) | (in->rex & 1 ? 8 : 0));
        else
            in->reg = (uint8_t)((in->modrm >> 3 & 7) | (in->rex & 4 ? 8 : 0));
        if (in->has_modrm) {
            if (in->modrm >> 6 == 3)
                in->rm = (uint8_t)((in->modrm & 7) | (in->rex & 1 ? 8 : 0));
            else
                decode_memory(&r, env, in);
        }
        decode_immediates(&r, env, eff, in);
        if (op.vex) {
            in->vvvv = env->mode == DECODE_64 ? op.vvvv : op.vvvv & 7;
            if (op.vvvv != 0 && !row_uses_vvvv(row)) ud = true; /* must be 1111b: SDM 2A 2.3.5.6 */
        }
        in->eff_size = (uint8_t)eff;
        in->opsize = (uint8_t)size_of_operation(row, eff, in->asize);
        if (row->attr & A_UNDEF) ud = true;
        if (!lock_legal(env, in)) ud = true;
    }
    in->length = (uint8_t)r.pos;
    if (r.status != DECODE_OK) return r.status;
    return ud ? DECODE_UD : DECODE_OK;
}
