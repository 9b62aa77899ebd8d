/* SPDX-License-Identifier: MIT */
/* NOP, hints, fences and the always-undefined opcodes. SDM 2B "NOP", "PAUSE", "UD". */
#include "cpu/event.h"
#include "cpu/uop.h"

HANDLER_ALL(nop) { NEXT; }
HANDLER_ALL(pause) { NEXT; }

/* Instructions of the virtualization extension: the model's extension runs them whole. */
HANDLER_ALL(virt_insn)
{
    if (!c->ext) RAISE(VEC_UD);
    return c->ext->execute(c, u, cpu_current_insn(c, u));
}
