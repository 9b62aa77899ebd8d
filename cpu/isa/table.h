/* SPDX-License-Identifier: MIT */
/* The instruction table and its index (table.c). */
#ifndef UV_CPU_ISA_TABLE_H
#define UV_CPU_ISA_TABLE_H

#include "cpu/insn.h"
#include "cpu/uop.h"

/* Opcode maps: one-byte, 0F, 0F38, 0F3A, VEX 0F38, VEX 0F3A. */
enum { INSN_MAPS = 6 };

extern const struct insn_row insn_table[];
extern const uint32_t insn_table_rows;
extern uint16_t insn_index[INSN_MAPS * 256 + 1];
extern uint16_t insn_order[];

#endif
