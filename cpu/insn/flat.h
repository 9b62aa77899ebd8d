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

#define FLAT_ACCESS(bits)                                                                                    \
    MEM_INLINE bool flat_read##bits(struct cpu *c, unsigned seg, uint64_t lin, uint##bits##_t *v)            \
    {                                                                                                        \
        const struct tlb_entry *e = tlb_slot(c, lin);                                                        \
        if (LIKELY(e->read == tlb_want(c, lin + bits / 8 - 1))) {                                            \
            *v = (uint##bits##_t)host_load(tlb_host(e, lin), bits / 8);                                      \
            return true;                                                                                     \
        }                                                                                                    \
        if (!mem_read_slow(c, seg, lin, bits / 8)) return false;                                             \
        *v = (uint##bits##_t)c->mem_value[0];                                                                \
        return true;                                                                                         \
    }                                                                                                        \
    MEM_INLINE bool flat_write##bits(struct cpu *c, unsigned seg, uint64_t lin, uint##bits##_t v)            \
    {                                                                                                        \
        const struct tlb_entry *e = tlb_slot(c, lin);                                                        \
        if (LIKELY(e->write == tlb_want(c, lin + bits / 8 - 1))) {                                           \
            host_store(tlb_host(e, lin), bits / 8, v);                                                       \
            return true;                                                                                     \
        }                                                                                                    \
        return mem_write_slow(c, seg, lin, bits / 8, v);                                                     \
    }
FLAT_ACCESS(8)
FLAT_ACCESS(16)
FLAT_ACCESS(32)
FLAT_ACCESS(64)
#undef FLAT_ACCESS

MEM_INLINE bool flat_rmw_read(struct cpu *c, unsigned seg, uint64_t lin, uint32_t size, uint64_t *v)
{
    const struct tlb_entry *e = tlb_slot(c, lin);
    if (LIKELY(e->write == tlb_want(c, lin + size - 1))) {
        c->rmw.host = tlb_host(e, lin);
        *v = host_load(c->rmw.host, size);
        return true;
    }
    if (!mem_rmw_slow(c, seg, lin, size)) return false;
    *v = c->mem_value[0];
    return true;
}

/* One text for both: X##_READ(bits, &v) and so on with X = MEM or FLAT. */
#define MEM_READ(bits, p) mem_read##bits(c, u_seg(u), u_ea(c, u), p)
#define MEM_WRITE(bits, v) mem_write##bits(c, u_seg(u), u_ea(c, u), v)
#define MEM_RMW(bits, p) mem_rmw_read(c, u_seg(u), u_ea(c, u), bits / 8, p)
#define FLAT_READ(bits, p) flat_read##bits(c, u_seg(u), flat_ea(c, u), p)
#define FLAT_WRITE(bits, v) flat_write##bits(c, u_seg(u), flat_ea(c, u), v)
#define FLAT_RMW(bits, p) flat_rmw_read(c, u_seg(u), flat_ea(c, u), bits / 8, p)

/* Initializer of a form: the four sizes of op_<name>_<form><bits><sfx>. */
#define BY_SIZE(name, sfx) {op_##name##8##sfx, op_##name##16##sfx, op_##name##32##sfx, op_##name##64##sfx}
#define BY_SIZE_V(name, sfx) {NULL, op_##name##16##sfx, op_##name##32##sfx, op_##name##64##sfx}

#endif
