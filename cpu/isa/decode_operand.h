/* SPDX-License-Identifier: MIT */
/* Kinds of operands (operands.def) for the decoder, the builder and the disassembler. */
#ifndef UV_CPU_ISA_DECODE_OPERAND_H
#define UV_CPU_ISA_DECODE_OPERAND_H

#include "cpu/insn.h"

enum operand_kind_id {
    K_NONE,
    /* in the ModRM byte */
    K_RM,
    K_REG,
    K_RMREG,
    K_MEM,
    K_SREG,
    K_CREG,
    K_DREG,
    K_XREG,
    K_XRM,
    K_XRMREG,
    K_MREG,
    K_MRM,
    K_MRMREG,
    K_ST,
    K_VEXREG, /* VEX.vvvv: needs a ModRM byte beside it */
    K_MODRM_LAST = K_VEXREG,
    /* elsewhere */
    K_OPREG,
    K_IMM,
    K_SIMM,
    K_REL,
    K_MOFFS,
    K_FARPTR,
    K_FIX,
    K_ONE
};

extern const uint8_t operand_kind[O_COUNT];
/* Bytes of an operand; 0: no size. */
uint32_t insn_operand_size(enum operand o, uint32_t eff, uint32_t asize);

#endif
