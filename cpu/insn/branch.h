/* SPDX-License-Identifier: MIT */
/* Near control transfers: target legality and the way to the next block. */
#ifndef UV_CPU_INSN_BRANCH_H
#define UV_CPU_INSN_BRANCH_H

#include "cpu/engine.h"

/* Operand size truncates the target: SDM 2A "JMP". */
#define TARGET_16(v) ((uint16_t)(v))
#define TARGET_32(v) ((uint32_t)(v))
#define TARGET_64(v) (v)

#define REL_TARGET(bits) TARGET_##bits(c->s.gpr[REG_RIP] + (uint64_t)(int64_t)u->disp)

/* Within the CS limit, canonical in 64-bit mode; false: #GP(0) set. */
bool branch_target_legal(struct cpu *c, uint64_t target);
/* A taken relative branch without a link: jump cache, or back to the loop. */
const struct uop *branch_unlinked(struct cpu *c, const struct uop *u);

#define TAKE_BRANCH(bits)                         \
    do {                                          \
        if (LIKELY(u->imm != 0)) {                \
            c->s.gpr[REG_RIP] = REL_TARGET(bits); \
            JUMP_TO(u_link(u));                   \
        }                                         \
        UV_MUSTTAIL return branch_unlinked(c, u); \
    } while (0)

#endif
