/* SPDX-License-Identifier: MIT */
/* The _F forms: 64-bit mode, 64-bit address, a segment without base. What is left of a load is the address,
 * one tag compare and the host access. SDM 1 3.3.7.1. */
#ifndef UV_CPU_INSN_FLAT_H
#define UV_CPU_INSN_FLAT_H

#include "cpu/mem.h"
#include "cpu/uop.h"

MEM_INLINE uint64_t flat_ea(const struct cpu *c, const struct uop *u)
{
    return c->s.gpr[u->base] + (c->s.gpr[u->index] << u_scale(u)) + (uint64_t)(int64_t)u->disp;
}

#define FLAT_ACCESS(bits)                                                                         \
    MEM_INLINE bool flat_read##bits(struct cpu *c, unsigned seg, uint64_t lin, uint##bits##_t *v) \
    {                                                                                             \
        const struct tlb_entry *e = tlb_slot(c, lin);                                             \
        if (LIKELY(e->read == tlb_want(c, lin + bits / 8 - 1))) {                                 \
            *v = (uint##bits##_t)host_load(tlb_host(e, lin), bits / 8);                           \
            return true;                                                                          \
        }                                                                                         \
        if (!mem_read_slow(c, seg, lin, bits / 8)) return false;                                  \
        *v = (uint##bits##_t)c->mem_value[0];                                                     \
        return true;                                                                              \
    }                                                                                             \
    MEM_INLINE bool flat_write##bits(struct cpu *c, unsigned seg, uint64_t lin, uint##bits##_t v) \
    {                                                                                             \
        const struct tlb_entry *e = tlb_slot(c, lin);                                             \
        if (LIKELY(e->write == tlb_want(c, lin + bits / 8 - 1))) {                                \
            host_store(tlb_host(e, lin), bits / 8, v);                                            \
            return true;                                                                          \
        }                                                                                         \
        return mem_write_slow(c, seg, lin, bits / 8, v);                                          \
    }
FLAT_ACCESS(8)
FLAT_ACCESS(16)
FLAT_ACCESS(32)
FLAT_ACCESS(64)
#undef FLAT_ACCESS

MEM_INLINE uint64_t base_ea(const struct cpu *c, const struct uop *u)
{
    return c->s.gpr[u->base] + (uint64_t)(int64_t)u->disp;
}

#define MEM_READ(bits, p) mem_read##bits(c, u_seg(u), u_ea(c, u), p)
#define MEM_WRITE(bits, v) mem_write##bits(c, u_seg(u), u_ea(c, u), v)
#define MEM_RMW(bits, p) mem_rmw_read(c, u_seg(u), u_ea(c, u), bits / 8, p)

/* One text for all addressing forms: LOAD, STORE, RMW and COMMIT with how = MEM, FLAT (base, index,
 * displacement) or BASE. The fast forms have no call in them and so no stack frame: on a miss they go to
 * `general`, the same instruction's MEM form, which starts over. */
#define LOAD(how, bits, var, general) LOAD_##how(bits, var, general)
#define STORE(how, bits, v, general) STORE_##how(bits, v, general)
#define RMW(how, bits, var, general) RMW_##how(bits, var, general)
#define COMMIT(how, bits, v) COMMIT_##how(bits, v)

#define LOAD_MEM(bits, var, general) \
    uint##bits##_t var;              \
    TRY(MEM_READ(bits, &var))
#define STORE_MEM(bits, v, general) TRY(MEM_WRITE(bits, v))
#define RMW_MEM(bits, var, general) \
    uint64_t var;                   \
    TRY(MEM_RMW(bits, &var))
#define COMMIT_MEM(bits, v) mem_rmw_commit(c, bits / 8, v)

#define HIT_OR(tag, ea, bits, general)              \
    uint64_t lin_ = ea(c, u);                       \
    const struct tlb_entry *e_ = tlb_slot(c, lin_); \
    if (UNLIKELY(e_->tag != tlb_want(c, lin_ + bits / 8 - 1))) UV_MUSTTAIL return general(c, u)
#define LOAD_FLAT(bits, var, general)     \
    HIT_OR(read, flat_ea, bits, general); \
    uint##bits##_t var = (uint##bits##_t)host_load(tlb_host(e_, lin_), bits / 8)
#define LOAD_BASE(bits, var, general)     \
    HIT_OR(read, base_ea, bits, general); \
    uint##bits##_t var = (uint##bits##_t)host_load(tlb_host(e_, lin_), bits / 8)
#define STORE_FLAT(bits, v, general)       \
    HIT_OR(write, flat_ea, bits, general); \
    host_store(tlb_host(e_, lin_), bits / 8, v)
#define STORE_BASE(bits, v, general)       \
    HIT_OR(write, base_ea, bits, general); \
    host_store(tlb_host(e_, lin_), bits / 8, v)
#define RMW_FLAT(bits, var, general)       \
    HIT_OR(write, flat_ea, bits, general); \
    uint8_t *host_ = tlb_host(e_, lin_);   \
    uint64_t var = host_load(host_, bits / 8)
#define RMW_BASE(bits, var, general)       \
    HIT_OR(write, base_ea, bits, general); \
    uint8_t *host_ = tlb_host(e_, lin_);   \
    uint64_t var = host_load(host_, bits / 8)
#define COMMIT_FLAT(bits, v) host_store(host_, bits / 8, v)
#define COMMIT_BASE(bits, v) host_store(host_, bits / 8, v)

/* Initializer of a form: the four sizes of op_<name>_<form><bits><sfx>. */
#define BY_SIZE(name, sfx)                                                            \
    {                                                                                 \
        op_##name##8##sfx, op_##name##16##sfx, op_##name##32##sfx, op_##name##64##sfx \
    }
#define BY_SIZE_V(name, sfx)                                             \
    {                                                                    \
        NULL, op_##name##16##sfx, op_##name##32##sfx, op_##name##64##sfx \
    }

#endif
