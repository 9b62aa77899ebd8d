/* SPDX-License-Identifier: MIT */
/* Near JMP, CALL, RET, Jcc, LOOP, JCXZ. A target inside the page is linked directly, any other goes through
 * the jump cache; whoever is in there passed the limit and canonical checks before. SDM 2A, 2B. */
#include "cpu/insn/branch.h"

#include "cpu/event.h"
#include "cpu/insn/cond.h"
#include "cpu/insn/flat.h"
#include "cpu/insn/stack.h"

bool branch_target_legal(struct cpu *c, uint64_t target)
{
    if ((c->mode & MODE_CODE) == DECODE_64) {
        unsigned sh = c->s.cr4 & CR4_LA57 ? 7 : 16;
        if ((uint64_t)((int64_t)(target << sh) >> sh) == target) return true;
    } else if (target <= c->s.seg[SEG_CS].limit) {
        return true;
    }
    return cpu_raise_error(c, VEC_GP, 0);
}

static uint64_t relative_target(const struct cpu *c, const struct uop *u)
{
    return u->size == 8 ? REL_TARGET(64) : u->size == 4 ? REL_TARGET(32) : REL_TARGET(16);
}

const struct uop *branch_unlinked(struct cpu *c, const struct uop *u)
{
    uint64_t target = relative_target(c, u);
    if (u->flags & UOP_LOCAL) {
        c->engine->pending_link = u;
        c->s.gpr[REG_RIP] = target;
        return NULL;
    }
    const struct uop *head = engine_jump(c, target);
    if (LIKELY(head != NULL)) {
        c->s.gpr[REG_RIP] = target;
        JUMP_TO(head);
    }
    TRY(branch_target_legal(c, target));
    c->s.gpr[REG_RIP] = target;
    return NULL;
}

#define JMP_REL(bits) \
    static HANDLER(jmp_rel##bits) { TAKE_BRANCH(bits); }
JMP_REL(16)
JMP_REL(32)
JMP_REL(64)
const struct uop_set uset_jmp_rel = {.fn[FORM_RI] = BY_SIZE_V(jmp_rel, )};

#define JCC_ONE(cc, name, bits)                  \
    static HANDLER(j##name##bits)                \
    {                                            \
        if (condition(c, cc)) TAKE_BRANCH(bits); \
        NEXT;                                    \
    }
#define JCC(cc, name)     \
    JCC_ONE(cc, name, 16) \
    JCC_ONE(cc, name, 32) \
    JCC_ONE(cc, name, 64) \
    const struct uop_set uset_j##name = {.fn[FORM_RI] = BY_SIZE_V(j##name, )};
FOR_CONDITIONS(JCC)

/* LOOP, LOOPE, LOOPNE, JCXZ: the counter has the address size. */
static uint64_t loop_count(const struct cpu *c, const struct uop *u)
{
    return u_asize(u) == 2 ? R64(RCX) : u_asize(u) == 1 ? R32(RCX) : R16(RCX);
}
static void loop_count_set(struct cpu *c, const struct uop *u, uint64_t v)
{
    if (u_asize(u) == 2)
        W64(RCX, v);
    else if (u_asize(u) == 1)
        W32(RCX, v);
    else
        W16(RCX, v);
}
/* The counter changes only if the branch does not fault. */
static const struct uop *loop_taken(struct cpu *c, const struct uop *u)
{
    uint64_t target = relative_target(c, u);
    TRY(branch_target_legal(c, target));
    loop_count_set(c, u, loop_count(c, u) - 1);
    if (u->imm != 0) {
        c->s.gpr[REG_RIP] = target;
        JUMP_TO(u_link(u));
    }
    UV_MUSTTAIL return branch_unlinked(c, u);
}
#define LOOP(name, cond)                                                                        \
    HANDLER_ALL(name)                                                                           \
    {                                                                                           \
        uint64_t mask = u_asize(u) == 2 ? ~UINT64_C(0) : u_asize(u) == 1 ? 0xffffffff : 0xffff; \
        if (((loop_count(c, u) - 1) & mask) != 0 && (cond)) return loop_taken(c, u);            \
        loop_count_set(c, u, loop_count(c, u) - 1);                                             \
        NEXT;                                                                                   \
    }
LOOP(loop, true)
LOOP(loope, flag_zf(c))
LOOP(loopne, !flag_zf(c))
HANDLER_ALL(jcxz)
{
    if (loop_count(c, u) != 0) NEXT;
    if (u->size == 8) TAKE_BRANCH(64);
    if (u->size == 4) TAKE_BRANCH(32);
    TAKE_BRANCH(16);
}

/* Indirect jump. */
#define GO_TO(target)                                     \
    do {                                                  \
        const struct uop *head_ = engine_jump(c, target); \
        if (UNLIKELY(head_ == NULL)) {                    \
            TRY(branch_target_legal(c, target));          \
            c->s.gpr[REG_RIP] = target;                   \
            return NULL;                                  \
        }                                                 \
        c->s.gpr[REG_RIP] = target;                       \
        JUMP_TO(head_);                                   \
    } while (0)
#define JMP_INDIRECT(bits)                 \
    static HANDLER(jmp_r##bits)            \
    {                                      \
        uint64_t target = R##bits(u->dst); \
        GO_TO(target);                     \
    }                                      \
    static HANDLER(jmp_m##bits)            \
    {                                      \
        uint##bits##_t target;             \
        TRY(MEM_READ(bits, &target));      \
        GO_TO(target);                     \
    }
JMP_INDIRECT(16)
JMP_INDIRECT(32)
JMP_INDIRECT(64)
const struct uop_set uset_jmp_ind = {.fn[FORM_RR] = BY_SIZE_V(jmp_r, ), .fn[FORM_MR] = BY_SIZE_V(jmp_m, )};

/* CALL: the target is checked before the push, RSP and RIP change after it. */
#define CALL_TO(bits, target)                                             \
    do {                                                                  \
        const struct uop *head_ = engine_jump(c, target);                 \
        if (UNLIKELY(head_ == NULL)) TRY(branch_target_legal(c, target)); \
        TRY(stack_push##bits(c, (uint##bits##_t)u_next_rip(c, u)));       \
        c->s.gpr[REG_RIP] = target;                                       \
        if (LIKELY(head_ != NULL)) JUMP_TO(head_);                        \
        return NULL;                                                      \
    } while (0)
#define CALL(bits)                                                      \
    static HANDLER(call_rel##bits)                                      \
    {                                                                   \
        uint64_t target = REL_TARGET(bits);                             \
        if (u->imm != 0) {                                              \
            TRY(stack_push##bits(c, (uint##bits##_t)u_next_rip(c, u))); \
            c->s.gpr[REG_RIP] = target;                                 \
            JUMP_TO(u_link(u));                                         \
        }                                                               \
        if (u->flags & UOP_LOCAL) {                                     \
            TRY(stack_push##bits(c, (uint##bits##_t)u_next_rip(c, u))); \
            UV_MUSTTAIL return branch_unlinked(c, u);                   \
        }                                                               \
        CALL_TO(bits, target);                                          \
    }                                                                   \
    static HANDLER(call_r##bits)                                        \
    {                                                                   \
        uint64_t target = R##bits(u->dst);                              \
        CALL_TO(bits, target);                                          \
    }                                                                   \
    static HANDLER(call_m##bits)                                        \
    {                                                                   \
        uint##bits##_t target;                                          \
        TRY(MEM_READ(bits, &target));                                   \
        CALL_TO(bits, target);                                          \
    }
CALL(16)
CALL(32)
CALL(64)
/* Linked or seen before, stack in the TLB; anything else starts over in the general form. */
static HANDLER(call_relf)
{
    uint64_t target = REL_TARGET(64);
    const struct uop *head = u_link(u);
    if (head == NULL) {
        if (u->flags & UOP_LOCAL) UV_MUSTTAIL return op_call_rel64(c, u);
        head = engine_jump(c, target);
        if (UNLIKELY(head == NULL)) UV_MUSTTAIL return op_call_rel64(c, u);
    }
    STACK_PUSH64(c->s.gpr[REG_RIP] + (uint64_t)(int64_t)(u->off + u->len), op_call_rel64);
    c->s.gpr[REG_RIP] = target;
    JUMP_TO(head);
}
const struct uop_set uset_call_rel = {.fn[FORM_RI] = {NULL, op_call_rel16, op_call_rel32, op_call_relf}};
const struct uop_set uset_call_ind = {.fn[FORM_RR] = BY_SIZE_V(call_r, ), .fn[FORM_MR] = BY_SIZE_V(call_m, )};

/* RET, RET imm16: RSP moves after the target is known to be legal. */
#define RET(bits)                                                        \
    static HANDLER(ret##bits)                                            \
    {                                                                    \
        uint##bits##_t target;                                           \
        TRY(stack_top##bits(c, &target));                                \
        const struct uop *head = engine_jump(c, target);                 \
        if (UNLIKELY(head == NULL)) TRY(branch_target_legal(c, target)); \
        stack_add##bits(c, bits / 8 + u->imm);                           \
        c->s.gpr[REG_RIP] = target;                                      \
        if (LIKELY(head != NULL)) JUMP_TO(head);                         \
        return NULL;                                                     \
    }
RET(16)
RET(32)
RET(64)
static HANDLER(retf)
{
    STACK_TOP64(target, op_ret64);
    const struct uop *head = engine_jump(c, target);
    if (UNLIKELY(head == NULL)) UV_MUSTTAIL return op_ret64(c, u);
    W64(RSP, sp_ + 8 + u->imm);
    c->s.gpr[REG_RIP] = target;
    JUMP_TO(head);
}
const struct uop_set uset_ret = {.fn[FORM_RR] = {NULL, op_ret16, op_ret32, op_retf},
                                 .fn[FORM_RI] = {NULL, op_ret16, op_ret32, op_retf}};
