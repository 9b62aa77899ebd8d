/* SPDX-License-Identifier: MIT */
/* Shape of a system instruction: the body is a function of its own, so that no address of a local keeps the
 * handler's last call from being a jump; it says how the handler ends. */
#ifndef UV_CPU_INSN_SYSTEM_H
#define UV_CPU_INSN_SYSTEM_H

#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/uop.h"

enum outcome { DONE, FAULTED /* c->fault is set */, LEFT /* a virt op took the processor elsewhere */ };

#define SYSTEM(name)                                                                             \
    static __attribute__((noinline)) enum outcome do_##name(struct cpu *c, const struct uop *u); \
    HANDLER_ALL(name)                                                                            \
    {                                                                                            \
        enum outcome o = do_##name(c, u);                                                        \
        if (UNLIKELY(o == FAULTED)) FAULT;                                                       \
        if (UNLIKELY(o == LEFT)) EXITED;                                                         \
        NEXT;                                                                                    \
    }                                                                                            \
    static enum outcome do_##name(struct cpu *c __attribute__((unused)),                         \
                                  const struct uop *u __attribute__((unused)))

static inline enum outcome raise(struct cpu *c, uint8_t vector)
{
    cpu_raise(c, vector);
    return FAULTED;
}
static inline enum outcome raise_gp(struct cpu *c)
{
    cpu_raise_error(c, VEC_GP, 0);
    return FAULTED;
}
static inline enum outcome outcome_of(bool ok) { return ok ? DONE : FAULTED; }

/* Asks the context; info has everything but the instruction. True: the processor is elsewhere now. */
static inline bool intercepted(struct cpu *c, const struct uop *u, enum icpt id, struct icpt_info *info)
{
    if (LIKELY(!icpt_armed(c, id))) return false;
    info->insn = cpu_current_insn(c, u);
    return c->virt->insn(c, id, info) == VIRT_EXITED;
}
static inline bool intercepted_plain(struct cpu *c, const struct uop *u, enum icpt id)
{
    struct icpt_info info = {.size = u->size};
    return intercepted(c, u, id, &info);
}

/* Linear address without any check: INVLPG, information for intercepts. */
static inline uint64_t linear_unchecked(const struct cpu *c, unsigned seg, uint64_t off)
{
    if (in_64bit(c)) return off + (seg == SEG_FS || seg == SEG_GS ? c->s.seg[seg].base : 0);
    return (uint32_t)(c->s.seg[seg].base + off);
}

/* rAX in the address size of the instruction. */
static inline uint64_t address_in(const struct cpu *c, const struct uop *u, unsigned reg)
{
    uint64_t v = R64(reg);
    return u_asize(u) == 2 ? v : u_asize(u) == 1 ? (uint32_t)v : (uint16_t)v;
}

static inline uint64_t edx_eax(const struct cpu *c) { return (uint64_t)R32(RDX) << 32 | R32(RAX); }
static inline void set_edx_eax(struct cpu *c, uint64_t v)
{
    W32(RAX, v);
    W32(RDX, v >> 32);
}

#endif
