/* SPDX-License-Identifier: MIT */
/* NOP, hints, fences and the instructions of the virtualization extension.
 * SDM 2B "NOP", "PAUSE". */
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
                                 .flags_known = 1,
                                 .address_only = 1};
HANDLER(nop) { NEXT; }
HANDLER_ALL(pause) { NEXT; }

HANDLER_ALL(ud) { RAISE(VEC_UD); }

/* The model's extension runs its instructions whole. */
HANDLER_ALL(virt_insn)
{
    if (!c->ext) RAISE(VEC_UD);
    return c->ext->execute(c, u, cpu_current_insn(c, u));
}
