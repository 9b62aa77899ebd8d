/* SPDX-License-Identifier: MIT */
/* NOP, hints, fences, cache-line instructions, BOUND and the instructions of the virtualization extension.
 * SDM 2A "BOUND", "CLFLUSH"; 2B "NOP", "PAUSE". */
#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/mem.h"
#include "cpu/uop.h"

HANDLER(nop);
const struct uop_set uset_nop = {.fn = {{op_nop, op_nop, op_nop, op_nop},
                                        {op_nop, op_nop, op_nop, op_nop},
                                        {op_nop, op_nop, op_nop, op_nop},
                                        {op_nop, op_nop, op_nop, op_nop},
                                        {op_nop, op_nop, op_nop, op_nop}},
                                 .flags_known = 1};
HANDLER(nop) { NEXT; }
HANDLER_ALL(pause) { NEXT; }

/* CLFLUSH, CLFLUSHOPT, CLWB: caches are not modelled, but the address is translated as for a load. */
HANDLER_ALL(clflush)
{
    TRY(mem_probe_read(c, u_seg(u), u_ea(c, u), 1));
    NEXT;
}

/* BOUND: signed array index against two bounds in memory. */
static bool bound(struct cpu *c, const struct uop *u)
{
    uint64_t ea = u_ea(c, u), mask = u_asize(u) == 1 ? 0xffffffff : 0xffff;
    if (u->size == 4) {
        uint32_t lo, hi;
        if (!mem_read32(c, u_seg(u), ea, &lo) || !mem_read32(c, u_seg(u), (ea + 4) & mask, &hi)) return false;
        int32_t v = (int32_t)R32(u->dst);
        return (v >= (int32_t)lo && v <= (int32_t)hi) || cpu_raise(c, VEC_BR);
    }
    uint16_t lo, hi;
    if (!mem_read16(c, u_seg(u), ea, &lo) || !mem_read16(c, u_seg(u), (ea + 2) & mask, &hi)) return false;
    int16_t v = (int16_t)R16(u->dst);
    return (v >= (int16_t)lo && v <= (int16_t)hi) || cpu_raise(c, VEC_BR);
}
HANDLER_ALL(bound)
{
    TRY(bound(c, u));
    NEXT;
}

HANDLER_ALL(ud) { RAISE(VEC_UD); }

/* The model's extension runs its instructions whole. */
HANDLER_ALL(virt_insn)
{
    if (!c->ext) RAISE(VEC_UD);
    return c->ext->execute(c, u, cpu_current_insn(c, u));
}
