/* SPDX-License-Identifier: MIT */
/* The instruction table: every cpu/isa/<group>.def in one array, plus an index by opcode map and byte.
 * SDM 2D appendix A (opcode maps), APM 3 appendix A. */
#include "cpu/isa/table.h"

#include <string.h>

/* clang-format off */
#define PLUS_R(op) (0x100 | (op))
#define T(name) TIMING_##name

/* First pass: declare the handler sets. */
#define INSN(map, pfx, op, ext, mn, o1, o2, o3, handler, attr, feat, timing, icpt)                 \
    extern const struct uop_set uset_##handler;
#include "cpu/isa/all.h"
#undef INSN

#define EXT_NOEXT -1, -1, 0, 0
#define EXT_R(d) (d), -1, 0, 1
#define EXT_M(d) (d), -1, 1, 1
#define EXT_RG(d) (d), -1, 2, 1
#define EXT_RM(d, r) (d), (r), 2, 1
#define EXT_MEM -1, -1, 1, 1
#define EXT_REG -1, -1, 2, 1

#define INSN(map, pfx, op, ext, mn, o1, o2, o3, handler, attr, feat, timing, icpt)                 \
    {mn, &uset_##handler, attr, map, PFX_##pfx, (uint8_t)(op), (op) >> 8, EXT_##ext,               \
     {O_##o1, O_##o2, O_##o3}, feat, timing, icpt},
const struct insn_row insn_table[] = {
#include "cpu/isa/all.h"
};
#undef INSN

static const struct {
    const char *mnemonic;
    uint32_t flags;
} undefined_flags[] = {
#define UNDEFINED(mn, flags) {mn, flags},
#include "cpu/isa/undefined_flags.def"
#undef UNDEFINED
};
/* clang-format on */

enum {
    ROWS = sizeof insn_table / sizeof insn_table[0],
    KEYS = INSN_MAPS * 256,
#define INSN(map, pfx, op, ...) +((op) >> 8 ? 8 : 1)
    ENTRIES = 0
#include "cpu/isa/all.h"
#undef INSN
};

const uint32_t insn_table_rows = ROWS;
uint16_t insn_index[KEYS + 1];
uint16_t insn_order[ENTRIES];

/* Rows sorted by opcode, table order kept within one: insn_order[insn_index[k] .. insn_index[k + 1]).
 * A PLUS_R row is entered under its eight opcodes. */
__attribute__((constructor)) static void index_rows(void)
{
    uint32_t n = 0;
    static uint16_t count[KEYS + 1];
    memset(count, 0, sizeof count);
    for (uint32_t i = 0; i < ROWS; i++)
        for (uint32_t r = 0; r < (insn_table[i].plus_r ? 8u : 1u); r++)
            count[insn_table[i].map * 256 + insn_table[i].opcode + r]++;
    for (uint32_t k = 0; k < KEYS; k++) {
        insn_index[k] = (uint16_t)n;
        n += count[k];
        count[k] = insn_index[k];
    }
    insn_index[KEYS] = (uint16_t)n;
    for (uint32_t i = 0; i < ROWS; i++)
        for (uint32_t r = 0; r < (insn_table[i].plus_r ? 8u : 1u); r++)
            insn_order[count[insn_table[i].map * 256 + insn_table[i].opcode + r]++] = (uint16_t)i;
}

uint32_t insn_undefined_flags(const struct insn_row *row)
{
    for (uint32_t i = 0; i < sizeof undefined_flags / sizeof undefined_flags[0]; i++)
        if (strcmp(undefined_flags[i].mnemonic, row->mnemonic) == 0) return undefined_flags[i].flags;
    return 0;
}
