/* SPDX-License-Identifier: MIT */
/* One decoded instruction and the table row it came from. The rows are in cpu/isa/<group>.def, one line
 * an instruction form:
 *
 *   INSN(MAP, PFX, OP, EXT, "mnemonic", o1, o2, o3, handler, attributes, feature, timing, icpt)
 *
 *   MAP   0 one-byte, 1 0Fxx, 2 0F38xx, 3 0F3Axx, 4 VEX 0F38xx, 5 VEX 0F3Axx (scalar, L = 0)
 *   PFX   ANY, NP, P66, PF3, PF2: mandatory prefix; NOREP: no F2/F3, 66 is the operand-size prefix
 *   OP    opcode byte; PLUS_R(op) covers op..op+7 with the register in the low 3 bits
 *   EXT   NOEXT (no ModRM constraint; ModRM exists when an operand needs it), R(d) reg digit,
 *         M(d) digit and memory, RG(d) digit and register, RM(d, rm) digit, register, rm exactly,
 *         MEM any digit and memory, REG any digit and register
 *   o1..3 enum operand without its prefix (E, G, I ... and size letter, the notation of SDM 2D app. A)
 *   handler   names `const struct uop_set uset_<handler>` (uop.h)
 *   attributes  A_ bits or-ed, 0 for none
 *   feature   FEAT_ id that must be advertised (FEAT_BASE: always), else #UD
 *   timing    latency class, T(name)
 *   icpt      ICPT_ id or ICPT_NONE
 *
 * NONE as operand: no operand. Example:
 *   INSN(0, ANY, 0xF4, NOEXT, "hlt", NONE, NONE, NONE, hlt, A_SOLO | A_CPL0, FEAT_BASE, T(system), ICPT_HLT)
 * Several rows may fit the same bytes: the first that is legal (prefix, ModRM, mode, feature) wins, so LZCNT
 * stands before BSR. Operand 1 decides the operand size (insn.opsize, uop.size), operand 2 when operand 1 is
 * an immediate or DX; when both are absent or without size (M, branch targets) it is the effective operand
 * size of the instruction (2, 4, 8). A memory operand of a row without a register form (M operands, EXT M(d))
 * makes the register form #UD. Flags that the manuals leave undefined: cpu/isa/undefined_flags.def, by
 * mnemonic.
 */
#ifndef UV_CPU_INSN_H
#define UV_CPU_INSN_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/state.h"

enum operand {
    O_NONE,
#define OPERAND(name, kind, size) O_##name,
#include "cpu/isa/operands.def"
#undef OPERAND
    O_COUNT
};

enum insn_attr {
    A_LOCK = 1 << 0,   /* LOCK prefix legal with a memory destination, else LOCK is #UD */
    A_REP = 1 << 1,    /* REP / REPE / REPNE meaningful (string instructions) */
    A_NO64 = 1 << 2,   /* #UD in 64-bit mode */
    A_ONLY64 = 1 << 3, /* #UD outside 64-bit mode */
    A_DEF64 = 1 << 4,  /* operand size defaults to 64 in 64-bit mode (66 gives 16) */
    A_FORCE64 =
        1 << 5, /* operand size is 64 in 64-bit mode whatever the prefixes; near branches: see decode_env */
    A_PROT = 1 << 6,    /* #UD in real and virtual-8086 mode */
    A_CPL0 = 1 << 7,    /* #GP(0) unless CPL 0, checked before the intercept */
    A_SOLO = 1 << 8,    /* a block of its own: exact RIP and time, boundary check after it */
    A_END = 1 << 9,     /* last of its block (control transfer: handler sets RIP) */
    A_BRANCH = 1 << 10, /* near branch: engine may chain */
    /* The builder puts a gate micro-op before rows with A_FPU, A_MMX, A_SSE: handlers need not check. */
    A_FPU = 1 << 11,     /* x87: #NM if CR0.EM or TS, then pending exception (#MF) unless A_NOWAIT */
    A_NOWAIT = 1 << 12,  /* x87 control instruction that does not check for #MF */
    A_MMX = 1 << 13,     /* #UD if CR0.EM, #NM if TS, #MF if pending */
    A_SSE = 1 << 14,     /* #UD if CR0.EM or !CR4.OSFXSR, #NM if TS */
    A_ALIGN16 = 1 << 15, /* 16-byte memory operand must be aligned: #GP(0) */
    A_IOPL = 1 << 16,    /* body checks IOPL itself; documentation only */
    A_UNDEF = 1 << 17,   /* always #UD (UD0, UD1, UD2) */
    A_NOREX = 1 << 18,   /* REX.W ignored */
    A_SHADOW = 1 << 19   /* may start an interrupt shadow (STI, MOV SS, POP SS) */
};

enum mand_prefix { PFX_ANY, PFX_NP, PFX_P66, PFX_PF3, PFX_PF2, PFX_NOREP };

enum feature {
#define FEATURE(name, leaf, sub, reg, bit, qemu) FEAT_##name,
#include "cpu/feature.def"
#undef FEATURE
    FEAT_COUNT
};

enum timing_class {
#define TIMING(name, what) TIMING_##name,
#include "cpu/timing.def"
#undef TIMING
    TIMING_COUNT
};

struct uop_set;

struct insn_row {
    const char *mnemonic;
    const struct uop_set *set;
    uint32_t attr;
    uint8_t map, pfx, opcode, plus_r;
    int8_t ext_reg, ext_rm; /* -1: any */
    uint8_t ext_mod;        /* 0 any, 1 memory only, 2 register only */
    uint8_t ext_modrm;      /* EXT asks for a ModRM byte even without an operand in it */
    uint8_t operand[3];     /* enum operand */
    uint8_t feature, timing, icpt;
};
/* OSZAPC bits that the instruction leaves undefined; oracles mask exactly these. */
uint32_t insn_undefined_flags(const struct insn_row *row);

/* Result of decoding; a pure function of the bytes and the mode. */
struct insn {
    const struct insn_row *row;
    uint64_t imm; /* sign-extended as the operand says */
    uint64_t imm2;
    int32_t disp;
    uint8_t length;
    uint8_t opsize;             /* 1, 2, 4, 8, 10, 16: of operand 1, see above */
    uint8_t eff_size;           /* effective operand size: 2, 4, 8 */
    uint8_t vvvv;               /* VEX.vvvv */
    uint8_t asize;              /* 2, 4, 8 */
    uint8_t reg;                /* ModRM.reg with REX.R, or the opcode's register */
    uint8_t rm;                 /* ModRM.rm with REX.B when is_mem is 0 */
    uint8_t base, index, scale; /* gpr or REG_ZERO / REG_RIP; scale is a shift */
    uint8_t seg;                /* enum seg_id in effect */
    uint8_t is_mem, has_modrm, modrm;
    uint8_t lock, rep;                                      /* rep: 0, 0xF2, 0xF3 */
    uint8_t rex, opsize_prefix, asize_prefix, seg_override; /* seg_override: 0xFF none */
    uint8_t opcode;
};

/* Mode bits that change decoding; part of the block key. */
enum decode_mode { DECODE_16 = 0, DECODE_32 = 1, DECODE_64 = 2, DECODE_MASK = 3 };

enum decode_status {
    DECODE_OK,
    DECODE_MORE,     /* bytes ran out before the instruction ended (page or limit boundary) */
    DECODE_TOO_LONG, /* over 15 bytes: #GP(0) */
    DECODE_UD
};

/* Decodes at most `avail` bytes. Feature and mode legality (A_NO64, A_PROT, LOCK) are judged too, so a
 * DECODE_UD carries whatever was decoded (length included where known) for display. features is a bit
 * array of FEAT_COUNT bits. */
struct decode_env {
    uint32_t mode; /* enum decode_mode */
    bool real_or_v86;
    bool branch_opsize16; /* 66 shortens near branches in 64-bit mode (quirk.h) */
    const uint64_t *features;
};
enum decode_status insn_decode(const struct decode_env *env, const uint8_t *bytes, uint32_t avail,
                               struct insn *out);

#endif
