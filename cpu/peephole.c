/* SPDX-License-Identifier: MIT */
/* One pass over a new block: flag results that nobody can see are dropped, CMP or TEST and the Jcc behind it
 * become one micro-op. A flag write is dead when later instructions of the block write all of its flags and
 * nothing from there back to it reads them, faults, exits or ends the block (docs/architecture.md, "Engine").
 */
#include "cpu/engine.h"
#include "cpu/insn/fused.h"
#include "cpu/isa/decode_operand.h"

static bool is_jcc(const struct insn *in)
{
    const struct insn_row *row = in->row;
    return (row->map == 0 && (row->opcode & 0xF0) == 0x70) || (row->map == 1 && (row->opcode & 0xF0) == 0x80);
}

/* Gates and bias_rip stand between the micro-ops of two instructions: such a pair is left alone. */
static void fuse(const struct block *b, const struct insn *insns, struct uop *const *pos, unsigned n)
{
    if ((b->mode & MODE_CODE) != DECODE_64 || n < 2) return;
    const struct insn *cmp = &insns[n - 2], *jcc = &insns[n - 1];
    struct uop *u = pos[n - 2];
    if (!is_jcc(jcc) || jcc->eff_size != 8 || cmp->is_mem || pos[n - 1] != u + 1) return;
    uop_fn *fn = fused_handler(cmp->row->set, (u->flags & UOP_IMM) != 0, u->size, jcc->row->opcode & 15);
    if (fn) u->fn = fn;
}

static void drop_dead_flags(const struct block *b, const struct insn *insns, struct uop *const *pos,
                            unsigned n)
{
    uint32_t live = FL_OSZAPC; /* the next block may look at all of them */
    for (unsigned i = n; i-- > 0;) {
        const struct uop_set *set = insns[i].row->set;
        struct uop *u = pos[i];
        bool faults =
            insns[i].is_mem || !set->flags_known || (insns[i].row->attr & (A_SOLO | A_END | A_BRANCH)) != 0;
        uint32_t writes = set->writes;
        if (!set->flags_known || (set->shift && (!(u->flags & UOP_IMM) || (u->imm & 31) == 0))) writes = 0;
        /* LEA has a memory operand that it does not touch. */
        if (insns[i].is_mem && set->address_only) faults = false;
        if (writes != 0 && (live & writes) == 0 && set->noflags &&
            u->fn == uop_select(set, &insns[i], DECODE_64)) {
            uop_fn *fn = uop_select(set->noflags, &insns[i], b->mode);
            if (fn) u->fn = fn;
        }
        live &= ~writes;
        if (faults)
            live = FL_OSZAPC;
        else
            live |= set->reads;
    }
}

void block_peephole(struct block *b, const struct insn *insns, struct uop *const *pos, unsigned n)
{
    drop_dead_flags(b, insns, pos, n);
    fuse(b, insns, pos, n);
}
