/* SPDX-License-Identifier: MIT */
/* NOP, hints, fences, cache-line instructions and the instructions of the virtualization extension.
 * SDM 2A "CLFLUSH"; 2B "NOP", "PAUSE". */
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

HANDLER_ALL(ud) { RAISE(VEC_UD); }

/* The model's extension runs its instructions whole. */
HANDLER_ALL(virt_insn)
{
    if (!c->ext) RAISE(VEC_UD);
    return c->ext->execute(c, u, cpu_current_insn(c, u));
}
