/* SPDX-License-Identifier: MIT */
/* The stack as PUSH, POP, CALL and RET use it. Size 8 exists in 64-bit mode only, where SS has no base; the
 * other sizes look at the stack-address size. SDM 1 6.2. */
#ifndef UV_CPU_INSN_STACK_H
#define UV_CPU_INSN_STACK_H

#include "cpu/engine.h"
#include "cpu/insn/flat.h"

/* Width of the stack pointer as a mask. */
static inline uint64_t stack_mask(const struct cpu *c)
{
    return (c->mode & MODE_CODE) == DECODE_64 ? ~UINT64_C(0) : c->mode & MODE_SS32 ? 0xffffffff : 0xffff;
}
static inline void stack_set(struct cpu *c, uint64_t sp)
{
    uint64_t mask = stack_mask(c);
    if (mask == 0xffff)
        W16(RSP, sp);
    else
        W64(RSP, sp & mask);
}

#define STACK_OPS(bits)                                                \
    MEM_INLINE bool stack_push##bits(struct cpu *c, uint##bits##_t v)  \
    {                                                                  \
        uint64_t sp = (R64(RSP) - bits / 8) & stack_mask(c);           \
        if (!mem_write##bits(c, SEG_SS, sp, v)) return false;          \
        stack_set(c, sp);                                              \
        return true;                                                   \
    }                                                                  \
    MEM_INLINE bool stack_top##bits(struct cpu *c, uint##bits##_t *v)  \
    {                                                                  \
        return mem_read##bits(c, SEG_SS, R64(RSP) & stack_mask(c), v); \
    }                                                                  \
    MEM_INLINE void stack_add##bits(struct cpu *c, uint64_t n) { stack_set(c, R64(RSP) + n); }
STACK_OPS(16)
STACK_OPS(32)
#undef STACK_OPS

MEM_INLINE bool stack_push64(struct cpu *c, uint64_t v)
{
    uint64_t sp = R64(RSP) - 8;
    if (!flat_write64(c, SEG_SS, sp, v)) return false;
    W64(RSP, sp);
    return true;
}
MEM_INLINE bool stack_top64(struct cpu *c, uint64_t *v) { return flat_read64(c, SEG_SS, R64(RSP), v); }
MEM_INLINE void stack_add64(struct cpu *c, uint64_t n) { W64(RSP, R64(RSP) + n); }

/* Fast forms: a miss starts the instruction over in its general form, as in flat.h. */
#define STACK_TOP64(var, general)                                                     \
    uint64_t sp_ = R64(RSP);                                                          \
    const struct tlb_entry *e_ = tlb_slot(c, sp_);                                    \
    if (UNLIKELY(e_->read != tlb_want(c, sp_ + 7))) UV_MUSTTAIL return general(c, u); \
    uint64_t var = host_load(tlb_host(e_, sp_), 8)
#define STACK_PUSH64(v, general)                                                       \
    uint64_t sp_ = R64(RSP) - 8;                                                       \
    const struct tlb_entry *e_ = tlb_slot(c, sp_);                                     \
    if (UNLIKELY(e_->write != tlb_want(c, sp_ + 7))) UV_MUSTTAIL return general(c, u); \
    host_store(tlb_host(e_, sp_), 8, v);                                               \
    W64(RSP, sp_)

#endif
