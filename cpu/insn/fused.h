/* SPDX-License-Identifier: MIT */
/* CMP/TEST and Jcc as one micro-op (fused.c). */
#ifndef UV_CPU_INSN_FUSED_H
#define UV_CPU_INSN_FUSED_H

#include "cpu/uop.h"

/* Handler for a register CMP or TEST followed by a Jcc with condition cc; NULL: no such pair. */
uop_fn *fused_handler(const struct uop_set *set, bool imm, unsigned size, unsigned cc);

#endif
