/* SPDX-License-Identifier: MIT */
/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE. SDM 2A, 2B. */
#include "cpu/insn/stack.h"

#include "cpu/event.h"

/* --- PUSH, POP --- */

#define PUSH(bits)                                                               \
    static HANDLER(push_r##bits)                                                 \
    {                                                                            \
        TRY(stack_push##bits(c, R##bits(u->dst)));                               \
        NEXT;                                                                    \
    }                                                                            \
    static HANDLER(push_i##bits)                                                 \
    {                                                                            \
        TRY(stack_push##bits(c, (uint##bits##_t)u->imm));                        \
        NEXT;                                                                    \
    }                                                                            \
    static HANDLER(push_m##bits)                                                 \
    {                                                                            \
        uint##bits##_t v;                                                        \
        TRY(MEM_READ(bits, &v));                                                 \
        TRY(stack_push##bits(c, v));                                             \
        NEXT;                                                                    \
    }                                                                            \
    static HANDLER(pop_r##bits)                                                  \
    {                                                                            \
        uint##bits##_t v;                                                        \
        TRY(stack_top##bits(c, &v));                                             \
        stack_add##bits(c, bits / 8);                                            \
        W##bits(u->dst, v);                                                      \
        NEXT;                                                                    \
    }                                                                            \
    /* An address based on RSP is that of the incremented RSP (SDM 2B "POP"). */ \
    static HANDLER(pop_m##bits)                                                  \
    {                                                                            \
        uint##bits##_t v;                                                        \
        uint64_t rsp = R64(RSP);                                                 \
        TRY(stack_top##bits(c, &v));                                             \
        stack_add##bits(c, bits / 8);                                            \
        uint64_t ea = u_ea(c, u);                                                \
        uint64_t after = R64(RSP);                                               \
        W64(RSP, rsp);                                                           \
        TRY(mem_write##bits(c, u_seg(u), ea, v));                                \
        W64(RSP, after);                                                         \
        NEXT;                                                                    \
    }
PUSH(16)
PUSH(32)
PUSH(64)
static HANDLER(push_rf)
{
    STACK_PUSH64(R64(u->dst), op_push_r64);
    NEXT;
}
static HANDLER(push_if)
{
    STACK_PUSH64(u->imm, op_push_i64);
    NEXT;
}
static HANDLER(pop_rf)
{
    STACK_TOP64(v, op_pop_r64);
    W64(RSP, sp_ + 8);
    W64(u->dst, v);
    NEXT;
}
const struct uop_set uset_push = {.fn[FORM_RR] = {NULL, op_push_r16, op_push_r32, op_push_rf},
                                  .fn[FORM_RI] = {NULL, op_push_i16, op_push_i32, op_push_if},
                                  .fn[FORM_MR] = BY_SIZE_V(push_m, )};
const struct uop_set uset_pop = {.fn[FORM_RR] = {NULL, op_pop_r16, op_pop_r32, op_pop_rf},
                                 .fn[FORM_MR] = BY_SIZE_V(pop_m, )};

/* --- PUSHA, POPA, ENTER, LEAVE: any size, not hot --- */

static bool stack_read(struct cpu *c, uint64_t sp, uint32_t size, uint64_t *v)
{
    uint16_t w;
    uint32_t d;
    bool ok;
    sp &= stack_mask(c);
    if (size == 8) return mem_read64(c, SEG_SS, sp, v);
    if (size == 4) {
        ok = mem_read32(c, SEG_SS, sp, &d);
        if (ok) *v = d;
        return ok;
    }
    ok = mem_read16(c, SEG_SS, sp, &w);
    if (ok) *v = w;
    return ok;
}

static bool stack_write(struct cpu *c, uint64_t sp, uint32_t size, uint64_t v)
{
    sp &= stack_mask(c);
    if (size == 8) return mem_write64(c, SEG_SS, sp, v);
    if (size == 4) return mem_write32(c, SEG_SS, sp, (uint32_t)v);
    return mem_write16(c, SEG_SS, sp, (uint16_t)v);
}

static void write_gpr(struct cpu *c, unsigned n, uint32_t size, uint64_t v)
{
    if (size == 8)
        W64(n, v);
    else if (size == 4)
        W32(n, v);
    else
        W16(n, v);
}

/* Every slot is probed before the first is written; a stack that wraps needs two looks per slot only. */
static bool probe_slots(struct cpu *c, uint64_t sp, uint32_t size, unsigned n)
{
    for (unsigned i = 1; i <= n; i++)
        if (!mem_probe_write(c, SEG_SS, (sp - i * size) & stack_mask(c), size)) return false;
    return true;
}

static bool pusha(struct cpu *c, const struct uop *u)
{
    uint64_t sp = R64(RSP), old = sp;
    if (!probe_slots(c, sp, u->size, 8)) return false;
    for (unsigned n = 0; n < 8; n++) {
        sp -= u->size;
        if (!stack_write(c, sp, u->size, n == RSP ? old : R64(n))) return false;
    }
    stack_set(c, sp);
    return true;
}

static bool popa(struct cpu *c, const struct uop *u)
{
    uint64_t v[8], sp = R64(RSP);
    for (unsigned n = 0; n < 8; n++, sp += u->size)
        if (!stack_read(c, sp, u->size, &v[7 - n])) return false;
    for (unsigned n = 0; n < 8; n++)
        if (n != RSP) write_gpr(c, n, u->size, v[n]);
    stack_set(c, sp);
    return true;
}

/* SDM 2A "ENTER". imm: frame size, nesting level in bits 16-20. */
static bool enter(struct cpu *c, const struct uop *u)
{
    uint32_t size = u->size, frame = (uint32_t)u->imm & 0xffff, level = (uint32_t)(u->imm >> 16) & 31;
    uint64_t sp = R64(RSP), bp = R64(RBP), links[32];
    uint64_t frame_temp = (sp - size) & stack_mask(c);
    for (uint32_t i = 1; i < level; i++)
        if (!stack_read(c, bp - i * size, size, &links[i])) return false;
    if (!probe_slots(c, sp, size, 1 + level)) return false;
    /* The new top must be writable, although nothing is written there. */
    uint64_t top = sp - size * (1 + level) - frame;
    if (!mem_probe_write(c, SEG_SS, top & stack_mask(c), size == 2 ? 2 : size)) return false;
    if (!stack_write(c, sp -= size, size, bp)) return false;
    for (uint32_t i = 1; i < level; i++)
        if (!stack_write(c, sp -= size, size, links[i])) return false;
    if (level > 0 && !stack_write(c, sp -= size, size, frame_temp)) return false;
    if (size == 2)
        W16(RBP, frame_temp);
    else if (size == 4)
        W32(RBP, frame_temp);
    else
        W64(RBP, frame_temp);
    stack_set(c, top);
    return true;
}

static bool leave(struct cpu *c, const struct uop *u)
{
    uint64_t v, bp = R64(RBP) & stack_mask(c);
    if (!stack_read(c, bp, u->size, &v)) return false;
    stack_set(c, bp + u->size);
    write_gpr(c, RBP, u->size, v);
    return true;
}

HANDLER_ALL(pusha)
{
    TRY(pusha(c, u));
    NEXT;
}
HANDLER_ALL(popa)
{
    TRY(popa(c, u));
    NEXT;
}
HANDLER_ALL(enter)
{
    TRY(enter(c, u));
    NEXT;
}
HANDLER_ALL(leave)
{
    TRY(leave(c, u));
    NEXT;
}
