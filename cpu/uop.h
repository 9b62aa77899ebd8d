/* SPDX-License-Identifier: MIT */
/* Micro-ops and what a handler may do. One instruction becomes one micro-op (plus block head and end);
 * a handler has three paragraphs: check, compute, commit. Nothing is changed before the last thing
 * that can fault, so a fault, an MMIO access or a write to code can always re-execute it.
 *
 *   HANDLER(add_rm_r32) {
 *       uint32_t a, b = R32(u->src);
 *       TRY(mem_rmw32(c, u, &a));          -- check (may leave through cpu_fault_exit)
 *       ...                                 -- compute
 *       mem_rmw_commit32(c, r);             -- commit
 *       NEXT;
 *   }
 */
#ifndef UV_CPU_UOP_H
#define UV_CPU_UOP_H

#include "cpu/cpu.h"
#include "cpu/insn.h"

struct uop;
typedef const struct uop *uop_fn(struct cpu *c, const struct uop *u);

enum uop_flag {
    UOP_MEM = 1, /* the E/M/W operand is in memory */
    UOP_LOCK = 2,
    UOP_REPE = 4,  /* F3 */
    UOP_REPNE = 8, /* F2 */
    UOP_REX = 16,
    UOP_FLAGS_DEAD = 32, /* the peephole pass proved the flag results unused */
    UOP_IMM = 64,        /* second operand is imm */
    UOP_LOCAL = 64,      /* near branch: the target is in the same page, may be linked */
    UOP_REXW = 128       /* REX.W: 64-bit general register or image (MOVQ, PEXTRQ, PCMPESTRI, FXSAVE64) */
};

/* 32 bytes; every field an emitter would need. */
struct uop {
    uop_fn *fn;
    uint64_t imm; /* immediate, branch target displacement, or link to the chained block */
    int32_t disp;
    uint8_t dst, src;    /* operand 1 and 2 as register numbers (byte registers: see R8) */
    uint8_t base, index; /* gpr, REG_ZERO or REG_RIP */
    uint8_t scale_seg;   /* scale shift in bits 0-1, asize (0:16 1:32 2:64) bits 2-3, seg bits 4-7 */
    uint8_t flags;       /* enum uop_flag */
    uint8_t size;        /* operand size in bytes */
    uint8_t len;         /* instruction length */
    int16_t off;         /* instruction start relative to the block's RIP (REG_RIP slot) */
    uint16_t cost;       /* cumulative cycles in the block, this instruction included */
};

/* How the decoder's operands reach a handler (build.c):
 *   dst   register of operand 1, src register of operand 2 (of operand 1 when there is no second). Byte
 *         registers are offsets (R8/W8); segment, control, debug, x87, MMX and XMM registers plain numbers.
 *   imm   immediate operand, sign-extended as its notation says; a second one (ENTER) in bits 16 and up; near
 *         branch: disp is the target relative to the block's RIP, imm is the link to the target; far pointer:
 * offset in imm, selector in src | dst << 8; VEX.vvvv of a B_y operand is in src (operand 2) or in imm
 * (operand 3); MOFFS: the whole address; x87 rows (A_FPU): the 11-bit opcode for FOP. base, index, scale_seg,
 * disp   the memory operand (u_ea, u_seg), whichever operand it is. size  bytes of operand 1, see insn.h;
 * sizes 10 and 16 select column 3 of the set. flags UOP_MEM when the ModRM operand is memory: one handler for
 * both looks there.
 *
 * Handler variants of a row, by form and by log2(size): register (and register), register and
 * immediate (or immediate alone), register and memory (or memory as second operand), memory (and register),
 * memory and immediate. The _F forms are optional (NULL: not there): the same with a 64-bit address and a
 * segment of base 0 in 64-bit mode; the _B forms are _F forms without index. Rows whose handler reads u->size
 * and u->flags itself use USET_ALL. */
enum uop_form {
    FORM_RR,
    FORM_RI,
    FORM_RM,
    FORM_MR,
    FORM_MI,
    FORM_RM_F,
    FORM_MR_F,
    FORM_MI_F,
    FORM_RM_B,
    FORM_MR_B,
    FORM_MI_B,
    FORM_COUNT
};
struct uop_set {
    uop_fn *fn[FORM_COUNT][4];
    /* For the peephole pass. Unless flags_known, a set counts as reading every flag and as able to fault. */
    const struct uop_set *noflags; /* the same with dead flag results, NULL where there is none */
    uint16_t reads, writes;        /* OSZAPC bits; writes: replaced whatever the operands */
    uint8_t flags_known;           /* and: faults only through a memory operand */
    uint8_t address_only;          /* does not touch its memory operand (LEA, NOP) */
    uint8_t shift;                 /* writes only with an immediate count that is not 0 */
};
#define HANDLER(name) const struct uop *op_##name(struct cpu *c, const struct uop *u)
#define USET_ALL(name)                                                                       \
    const struct uop_set uset_##name = {.fn = {{op_##name, op_##name, op_##name, op_##name}, \
                                               {op_##name, op_##name, op_##name, op_##name}, \
                                               {op_##name, op_##name, op_##name, op_##name}, \
                                               {op_##name, op_##name, op_##name, op_##name}, \
                                               {op_##name, op_##name, op_##name, op_##name}}}
/* HANDLER + USET_ALL in one: the common case for system, x87 and vector instructions. */
#define HANDLER_ALL(name) \
    HANDLER(name);        \
    USET_ALL(name);       \
    HANDLER(name)

/* How a handler ends. NEXT is a tail call in release builds, a return to the driver loop elsewhere. */
#ifdef UV_TAIL_CALLS
#if defined(__clang__)
#define UV_MUSTTAIL __attribute__((musttail))
#else
#define UV_MUSTTAIL
#endif
#define NEXT UV_MUSTTAIL return (u + 1)->fn(c, u + 1)
#else
#define UV_MUSTTAIL
#define NEXT return (void)c, u + 1
#endif
/* The handler has set gpr[REG_RIP] itself: leave the block (control transfer, mode change). */
#define END_BLOCK return cpu_end_block(c, u)
/* A fault was recorded in c->fault; RIP, time and the rest of the block are put right there. */
#define FAULT return cpu_fault_exit(c, u)
/* A virt op returned VIRT_EXITED. */
#define EXITED return cpu_exited(c, u)
#define TRY(ok)                                \
    do {                                       \
        if (__builtin_expect(!(ok), 0)) FAULT; \
    } while (0)
#define RAISE(vec)         \
    do {                   \
        cpu_raise(c, vec); \
        FAULT;             \
    } while (0)
#define RAISE_ERR(vec, err)           \
    do {                              \
        cpu_raise_error(c, vec, err); \
        FAULT;                        \
    } while (0)

const struct uop *cpu_end_block(struct cpu *c, const struct uop *u);
const struct uop *cpu_fault_exit(struct cpu *c, const struct uop *u);
const struct uop *cpu_exited(struct cpu *c, const struct uop *u);
/* The instruction behind u decoded again in full, for intercept information (slow, SOLO rows only).
 * Valid until the next call. */
const struct insn *cpu_current_insn(struct cpu *c, const struct uop *u);

/* Registers. 32-bit writes zero-extend. Byte registers are numbered by byte offset into gpr[] as on a
 * little-endian host: AL 0, AH 1, CL 8, ... */
#define R64(n) (c->s.gpr[n])
#define R32(n) ((uint32_t)c->s.gpr[n])
#define R16(n) ((uint16_t)c->s.gpr[n])
#define W64(n, v) (c->s.gpr[n] = (v))
#define W32(n, v) (c->s.gpr[n] = (uint32_t)(v))
static inline void reg_write16(struct cpu *c, unsigned n, uint16_t v)
{
    c->s.gpr[n] = (c->s.gpr[n] & ~UINT64_C(0xffff)) | v;
}
static inline uint8_t reg_read8(const struct cpu *c, unsigned off)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return ((const uint8_t *)c->s.gpr)[off];
#else
    return (uint8_t)(c->s.gpr[off >> 3] >> ((off & 7) * 8));
#endif
}
static inline void reg_write8(struct cpu *c, unsigned off, uint8_t v)
{
    unsigned sh = (off & 7) * 8;
    c->s.gpr[off >> 3] = (c->s.gpr[off >> 3] & ~(UINT64_C(0xff) << sh)) | ((uint64_t)v << sh);
}
#define W16(n, v) reg_write16(c, n, (uint16_t)(v))
#define R8(n) reg_read8(c, n)
#define W8(n, v) reg_write8(c, n, (uint8_t)(v))

static inline unsigned u_scale(const struct uop *u) { return u->scale_seg & 3; }
static inline unsigned u_asize(const struct uop *u) { return u->scale_seg >> 2 & 3; }
static inline unsigned u_seg(const struct uop *u) { return u->scale_seg >> 4; }

/* Effective address (offset in the segment), truncated to the address size. */
static inline uint64_t u_ea(const struct cpu *c, const struct uop *u)
{
    uint64_t ea = c->s.gpr[u->base] + (c->s.gpr[u->index] << u_scale(u)) + (uint64_t)(int64_t)u->disp;
    unsigned as = u_asize(u);
    return as == 2 ? ea : as == 1 ? (uint32_t)ea : (uint16_t)ea;
}

/* RIP of this instruction and of the next one (exact while the block runs). Only branches with a 16-bit
 * operand size truncate to 16 bits: running past FFFFh in 16-bit code meets the segment limit. */
static inline uint64_t rip_mask(const struct cpu *c, uint64_t rip)
{
    return (c->mode & DECODE_MASK) == DECODE_64 ? rip : (uint32_t)rip;
}
static inline uint64_t u_rip(const struct cpu *c, const struct uop *u)
{
    return rip_mask(c, c->s.gpr[REG_RIP] + (uint64_t)(int64_t)u->off);
}
static inline uint64_t u_next_rip(const struct cpu *c, const struct uop *u)
{
    return rip_mask(c, c->s.gpr[REG_RIP] + (uint64_t)(int64_t)(u->off + u->len));
}

#endif
