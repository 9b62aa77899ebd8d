/* SPDX-License-Identifier: MIT */
/* From bytes to a block of micro-ops: decode, choose the handler variant by operand form and size, place
 * gates, end the block. The conversion of operands is documented at struct uop (uop.h). */
#include "cpu/engine.h"
#include "cpu/isa/decode_operand.h"
#include "cpu/isa/table.h"
#include "cpu/mem.h"
#include "cpu/quirk.h"

static bool is_gpr_kind(unsigned k) { return k == K_RM || k == K_REG || k == K_RMREG || k == K_OPREG; }

static bool is_memory_kind(unsigned k)
{
    return k == K_RM || k == K_MEM || k == K_XRM || k == K_MRM || k == K_MOFFS;
}

static bool is_imm_kind(unsigned k)
{
    return k == K_IMM || k == K_SIMM || k == K_ONE || k == K_REL || k == K_FARPTR;
}

/* Byte registers are offsets into gpr[]: without REX, 4-7 are AH CH DH BH. SDM 1 3.4.1.1. */
static uint8_t byte_register(const struct insn *in, unsigned n)
{
    return (uint8_t)(in->rex || n < 4 ? n * 8 : (n - 4) * 8 + 1);
}

/* Register number of an operand, 0xff when it is none. */
static uint8_t register_of(const struct insn *in, enum operand o)
{
    unsigned k = operand_kind[o], n;
    switch (k) {
    case K_REG:
    case K_OPREG:
    case K_SREG:
    case K_CREG:
    case K_DREG:
    case K_XREG: n = in->reg; break;
    case K_MREG: n = in->reg & 7; break;
    case K_RM:
    case K_XRM:
        if (in->is_mem) return 0xff;
        n = in->rm;
        break;
    case K_RMREG:
    case K_XRMREG: n = in->rm; break;
    case K_MRM:
        if (in->is_mem) return 0xff;
        n = in->rm & 7;
        break;
    case K_MRMREG:
    case K_ST: n = in->rm & 7; break;
    case K_VEXREG: n = in->vvvv; break;
    case K_FIX: return o == O_CL ? 8 : o == O_DX ? 2 : 0;
    default: return 0xff;
    }
    if (is_gpr_kind(k) && insn_operand_size(o, in->eff_size, in->asize) == 1) return byte_register(in, n);
    return (uint8_t)n;
}

static enum uop_form form_of(const struct insn *in)
{
    const uint8_t *o = in->row->operand;
    unsigned k1 = operand_kind[o[0]], k2 = operand_kind[o[1]];
    if (in->is_mem) {
        if (!is_memory_kind(k1)) return k1 == K_NONE ? FORM_MR : FORM_RM;
        return is_imm_kind(k2) ? FORM_MI : FORM_MR;
    }
    return is_imm_kind(k1) || is_imm_kind(k2) ? FORM_RI : FORM_RR;
}

static unsigned size_column(unsigned size) { return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3; }

/* In 64-bit mode only FS and GS have a base. */
static bool is_flat(const struct insn *in, uint32_t mode)
{
    return in->is_mem && (mode & MODE_CODE) == DECODE_64 && in->asize == 8 && in->seg != SEG_FS &&
           in->seg != SEG_GS;
}

uop_fn *uop_select(const struct uop_set *set, const struct insn *in, uint32_t mode)
{
    enum uop_form form = form_of(in);
    unsigned col = size_column(in->opsize);
    if (form >= FORM_RM && is_flat(in, mode)) {
        uop_fn *fn = in->index == REG_ZERO ? set->fn[form - FORM_RM + FORM_RM_B][col] : NULL;
        if (!fn) fn = set->fn[form - FORM_RM + FORM_RM_F][col];
        if (fn) return fn;
    }
    return set->fn[form][col];
}

static void uop_from_insn(const struct insn *in, uint32_t mode, struct uop *u)
{
    const struct insn_row *row = in->row;
    enum operand o1 = row->operand[0], o2 = row->operand[1], o3 = row->operand[2];
    uint8_t r1 = register_of(in, o1), r2 = register_of(in, o2), r3 = register_of(in, o3);
    uop_fn *fn = uop_select(row->set, in, mode);
    u->fn = fn ? fn : op_raise_ud;
    u->imm = in->imm | in->imm2 << 16;
    u->dst = r1 == 0xff ? 0 : r1;
    u->src = r2 != 0xff ? r2 : u->dst;
    u->base = u->index = REG_ZERO;
    u->scale_seg = (uint8_t)(in->scale | (in->asize == 2 ? 0 : in->asize == 4 ? 1 : 2) << 2 | in->seg << 4);
    u->flags = (uint8_t)((in->is_mem ? UOP_MEM : 0) | (in->lock ? UOP_LOCK : 0) | (in->rex ? UOP_REX : 0) |
                         (in->rep == 0xF3   ? UOP_REPE
                          : in->rep == 0xF2 ? UOP_REPNE
                                            : 0) |
                         (in->rex & 8 ? UOP_REXW : 0) | (is_imm_kind(operand_kind[o2]) ? UOP_IMM : 0));
    u->size = in->opsize;
    u->disp = in->disp;
    if (in->is_mem) {
        u->base = in->base;
        u->index = in->index;
    } else if (r3 != 0xff) {
        u->base = r3;
    }
    if (row->attr & A_FPU) u->imm = (uint64_t)(in->opcode & 7) << 8 | in->modrm; /* FOP, SDM 1 8.1.9 */
    if (operand_kind[o3] == K_VEXREG) u->imm = r3;
    if (operand_kind[o1] == K_REL) {
        u->disp = (int32_t)in->imm;
        u->imm = 0;
    }
    if (operand_kind[o1] == K_FARPTR) {
        u->imm = in->imm;
        u->src = (uint8_t)in->imm2;
        u->dst = (uint8_t)(in->imm2 >> 8);
    }
}

struct builder {
    struct cpu *c;
    struct block *b;
    struct uop *next;
    uint32_t off, cost;
    int last_gate; /* attribute of the gate in force, MMX/SSE: once while nothing else comes between */
};

static struct uop *put(struct builder *w, uop_fn *fn, uint8_t len)
{
    struct uop *u = w->next++;
    *u = (struct uop){.fn = fn, .base = REG_ZERO, .index = REG_ZERO};
    u->off = (int16_t)w->off;
    u->cost = (uint16_t)w->cost;
    u->len = len;
    return u;
}

static void put_gates(struct builder *w, const struct insn *in)
{
    const struct insn_row *row = in->row;
    uint32_t a = row->attr;
    uop_fn *fn = NULL;
    if (a & A_SOLO) {
        static const uint8_t by_gate[ICPT_COUNT] = {
#define GATE 1
#define BODY 0
#define ICPT(name, checked, what) [ICPT_##name] = checked,
#include "cpu/icpt.def"
#undef ICPT
#undef GATE
#undef BODY
        };
        struct uop *u = put(w, op_gate_solo, in->length);
        u->imm = row->icpt;
        u->flags = (uint8_t)((a & A_CPL0 ? UOP_LOCK : 0) | (by_gate[row->icpt] ? UOP_IMM : 0));
    }
    if (a & A_FPU)
        fn = a & A_NOWAIT ? op_gate_x87_nowait : op_gate_x87;
    else if (a & A_MMX)
        fn = w->last_gate == A_MMX ? NULL : op_gate_mmx;
    else if (a & A_SSE)
        fn = w->last_gate == A_SSE ? NULL : op_gate_sse;
    if ((a & A_MMX) && (a & A_SSE)) put(w, op_gate_sse, in->length);
    if (fn) put(w, fn, in->length);
    /* An x87 instruction may leave an exception pending for the next MMX instruction. */
    if (a & (A_FPU | A_MMX | A_SSE)) w->last_gate = a & A_MMX ? A_MMX : (int)(a & A_SSE);
}

/* RIP-relative operands and branch targets: from the block's RIP. False: does not fit in 32 bits. */
static bool rebase(struct builder *w, struct uop *u, const struct insn *in)
{
    bool branch = operand_kind[in->row->operand[0]] == K_REL;
    int64_t d = (branch ? (int64_t)in->imm : in->disp) + w->off + in->length;
    if (!branch && (!in->is_mem || in->base != REG_RIP)) return true;
    if (d != (int32_t)d) return false;
    u->disp = (int32_t)d;
    return true;
}

static void put_insn(struct builder *w, const struct insn *in, struct uop **pos)
{
    const uint32_t start = w->off;
    w->cost += w->c->engine->costs[in->row->timing];
    put_gates(w, in);
    /* XCHG with memory is locked without the prefix. */
    bool xchg = in->row->map == 0 && (in->row->opcode | 1) == 0x87;
    if ((w->b->mode & MODE_LOCKS) && in->is_mem && (in->lock || xchg)) {
        struct uop copy, *gate = put(w, op_gate_lock, in->length);
        uop_from_insn(in, w->b->mode, &copy);
        gate->size = copy.size;
    }
    struct uop *u = put(w, NULL, in->length);
    uop_from_insn(in, w->b->mode, u);
    if (!rebase(w, u, in)) {
        /* bias_rip in front; RIP then is the next instruction's. */
        struct uop real = *u;
        w->next--;
        u = put(w, op_bias_rip, 0);
        u->imm = w->off + in->length;
        u = put(w, NULL, in->length);
        real.off = (int16_t)-in->length;
        *u = real;
        w->off = 0u - in->length;
    }
    /* Same page: the low bits of linear and physical addresses agree. 16-bit targets may wrap. */
    if (operand_kind[in->row->operand[0]] == K_REL && !(w->b->mode & MODE_SINGLE)) {
        int64_t target = (int64_t)(w->b->hpa & (PAGE_SIZE - 1)) + start + in->length + (int64_t)in->imm;
        if (w->b->mode & MODE_CS_FLAT && in->eff_size != 2 && target >= 0 && target < PAGE_SIZE)
            u->flags |= UOP_LOCAL;
    }
    *pos = u;
    w->off += in->length;
}

/* Source of instruction bytes: the page, then for an instruction that crosses, the next one. */
struct source {
    uint8_t bytes[16];
    const uint8_t *host;
    uint32_t avail;
};

/* Up to 16 bytes at an address outside RAM, or the tail of a page joined with the next page. */
static bool fill_source(struct cpu *c, struct source *s, uint64_t lin, uint64_t hpa, uint32_t limit_bytes,
                        uint64_t *second)
{
    uint32_t in_page = PAGE_SIZE - (uint32_t)(hpa & (PAGE_SIZE - 1));
    uint32_t want = limit_bytes < 16 ? limit_bytes : 16;
    uint32_t n = in_page < want ? in_page : want;
    phys_read_bytes(c, hpa, s->bytes, n);
    *second = ~UINT64_C(0);
    if (n < want) {
        uint64_t next = (lin | (PAGE_SIZE - 1)) + 1;
        if ((c->mode & MODE_CODE) != DECODE_64) next = (uint32_t)next;
        if (!mem_fetch_page(c, next, second)) return false;
        phys_read_bytes(c, *second, s->bytes + n, want - n);
        n = want;
    }
    s->host = s->bytes;
    s->avail = n;
    return true;
}

static void decode_env_of(const struct cpu *c, uint32_t mode, struct decode_env *env)
{
    env->mode = mode & MODE_CODE;
    env->real_or_v86 = (mode & MODE_NOPROT) != 0;
    env->branch_opsize16 = cpu_quirk(c, QUIRK_BRANCH_OPSIZE16_64);
    env->features = c->features;
}

static void finish(struct builder *w, uop_fn *end, unsigned n)
{
    struct uop *u = put(w, end, 0);
    struct block *b = w->b;
    b->cost = w->cost;
    b->insns = (uint16_t)n;
    u->len = 0;
    b->uop[0].cost = (uint16_t)w->cost;
    b->uop[0].disp = (int32_t)n;
}

/* Bytes left below the CS limit, for code near it. */
static uint32_t bytes_to_limit(const struct cpu *c, uint32_t mode)
{
    uint64_t rip = c->s.gpr[REG_RIP];
    if ((mode & MODE_CODE) == DECODE_64) return 16;
    uint64_t left = (uint64_t)c->s.seg[SEG_CS].limit + 1 - rip;
    return left < 16 ? (uint32_t)left : 16;
}

/* An instruction that crosses a page, lies outside RAM or near the segment limit: a block of its own. */
static struct block *build_one(struct cpu *c, struct builder *w, uint64_t lin, uint64_t hpa)
{
    struct block *b = w->b;
    struct decode_env env;
    struct insn in;
    struct source s;
    struct uop *pos;
    uint64_t second = ~UINT64_C(0);
    enum decode_status st = DECODE_MORE;
    uint32_t limit = bytes_to_limit(c, b->mode);
    uint32_t in_page = PAGE_SIZE - (uint32_t)(hpa & (PAGE_SIZE - 1));
    uint32_t first = limit < in_page ? limit : in_page;
    decode_env_of(c, b->mode, &env);
    /* The second page is touched only by an instruction that needs it. */
    if (!fill_source(c, &s, lin, hpa, first, &second)) return NULL;
    st = insn_decode(&env, s.host, s.avail, &in);
    if (st == DECODE_MORE && first < limit) {
        if (!fill_source(c, &s, lin, hpa, limit, &second)) return NULL;
        st = insn_decode(&env, s.host, s.avail, &in);
    }
    if (st == DECODE_MORE || st == DECODE_TOO_LONG) { /* beyond the limit, or over 15 bytes */
        w->cost += 1;
        put(w, op_raise_gp, 1);
        in.length = (uint8_t)s.avail;
    } else if (st == DECODE_UD) {
        w->cost += 1;
        put(w, op_raise_ud, in.length);
    } else {
        put_insn(w, &in, &pos);
    }
    b->bytes = in.length > 0 ? in.length : 1;
    b->hpa_next = b->bytes > in_page ? second : ~UINT64_C(0);
    finish(w, b->mode & MODE_SINGLE ? op_single_end : op_block_end_solo, 1);
    return b;
}

struct block *block_build(struct cpu *c, uint64_t lin, uint64_t hpa, uint32_t mode, bool cached)
{
    struct engine *e = c->engine;
    uint32_t room =
        sizeof(struct block) + BLOCK_MAX_UOPS * sizeof(struct uop) + 2 * sizeof(struct code_page) + 96;
    struct block *b = e->scratch;
    if (cached) {
        if (ARENA_BYTES - e->arena_used < room) return NULL;
        b = (struct block *)(void *)(e->arena + e->arena_used);
    }
    *b = (struct block){.hpa = hpa, .hpa_next = ~UINT64_C(0), .mode = mode};
    struct builder w = {c, b, b->uop, 0, 0, 0};
    struct uop *head = put(&w, mode & MODE_SINGLE ? op_single_head : op_block_head, 0);
    head->imm = (uint64_t)(uintptr_t)b;

    struct insn insns[BLOCK_MAX_INSNS];
    struct uop *pos[BLOCK_MAX_INSNS];
    uint32_t in_page = PAGE_SIZE - (uint32_t)(hpa & (PAGE_SIZE - 1));
    unsigned n = 0, max = mode & MODE_SINGLE ? 1 : BLOCK_MAX_INSNS;
    enum decode_status st = DECODE_OK;
    bool ended = false;
    uop_fn *end = (mode & MODE_CODE) == DECODE_64 ? op_block_end64 : op_block_end;
    if (!cached) return build_one(c, &w, lin, hpa);

    struct decode_env env;
    decode_env_of(c, mode, &env);
    const uint8_t *bytes = c->bus->ram + hpa;
    uint32_t at = 0;
    while (n < max && at < in_page && !ended) {
        struct insn *in = &insns[n];
        st = insn_decode(&env, bytes + at, in_page - at, in);
        if (st != DECODE_OK) break;
        if (in->row->attr & A_SOLO && n > 0) break;
        if (w.off != at && n > 0) break; /* after bias_rip */
        put_insn(&w, in, &pos[n]);
        at += in->length;
        n++;
        ended = (in->row->attr & (A_SOLO | A_END | A_BRANCH)) != 0;
        if (w.off != at) ended = true;
        if (in->row->attr & A_SOLO) end = op_block_end_solo;
    }
    if (n == 0) {
        if (st == DECODE_MORE) {
            b = build_one(c, &w, lin, hpa);
            if (!b) return NULL;
        } else {
            w.cost = 1;
            put(&w, st == DECODE_UD ? op_raise_ud : op_raise_gp, insns[0].length ? insns[0].length : 1);
            b->bytes = insns[0].length ? insns[0].length : 1;
            finish(&w, op_single_end, 1);
        }
    } else {
        b->bytes = (uint16_t)at;
        if (mode & MODE_SINGLE)
            end = op_single_end;
        else if (end != op_block_end_solo &&
                 (at >= in_page || !(mode & MODE_CS_FLAT) || (mode & MODE_CODE) == DECODE_16))
            end = op_block_end_far;
        finish(&w, end, n);
        if (!e->no_peephole && !(mode & MODE_SINGLE)) block_peephole(b, insns, pos, n);
    }
    e->arena_used += (uint32_t)((uint8_t *)w.next - (uint8_t *)b + 31) & ~31u;
    return b;
}

const struct insn *cpu_current_insn(struct cpu *c, const struct uop *u)
{
    struct engine *e = c->engine;
    uint64_t lin = c->cs_base + u_rip(c, u), hpa, second;
    struct decode_env env;
    struct source s;
    (void)u;
    if ((c->mode & MODE_CODE) != DECODE_64) lin = (uint32_t)lin;
    decode_env_of(c, c->mode, &env);
    e->current = (struct insn){0};
    /* The translations were made when the block was entered: no fault can come of it. */
    struct fault kept = c->fault;
    if (mem_fetch_page(c, lin, &hpa)) {
        uint32_t in_page = PAGE_SIZE - (uint32_t)(hpa & (PAGE_SIZE - 1));
        uint32_t first = u->len < in_page ? u->len : in_page;
        if (fill_source(c, &s, lin, hpa, first == in_page ? u->len : first, &second))
            insn_decode(&env, s.host, s.avail, &e->current);
    }
    c->fault = kept;
    return &e->current;
}
