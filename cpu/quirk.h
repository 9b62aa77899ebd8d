/* SPDX-License-Identifier: MIT */
/* Points where the architecture leaves processors free and the two families of models differ. Each is a
 * property by its own name; a model has a set of them. */
#ifndef UV_CPU_QUIRK_H
#define UV_CPU_QUIRK_H

#include "cpu/cpu.h"

enum cpu_quirk {
    QUIRK_EXT_ONLY_EXTERNAL,  /* EXT is set only while an interrupt or NMI is delivered */
    QUIRK_NULL_KEEPS_BASE,    /* a null selector leaves base and limit of the hidden part */
    QUIRK_SYSCALL_ANY_MODE,   /* SYSCALL and SYSRET exist outside 64-bit mode too */
    QUIRK_NO_SYSENTER_LONG,   /* SYSENTER and SYSEXIT are #UD in IA-32e mode */
    QUIRK_SYSRET_LATE_CANON,  /* a non-canonical RCX faults at the fetch after SYSRET, not in it */
    QUIRK_SYSRET_KEEPS_SS,    /* SYSRET changes only selector and DPL of SS */
    QUIRK_FAR_NO_OFFSET64,    /* REX.W does not make far pointers 64-bit */
    QUIRK_BRANCH_OPSIZE16_64, /* 66 prefix shortens near branches in 64-bit mode */
    QUIRK_FOP_ALWAYS, /* each non-control x87 instruction writes FOP, not only one with an unmasked exception
                       */
    QUIRK_LATE_EXITS /* MOV CR, MOV DR, MONITOR, MWAIT: the intercept comes after the instruction's own checks
                      */
};

/* All of them together: the models whose extension is the one with a global interrupt flag. */
enum { QUIRKS_ALL = (1 << (QUIRK_LATE_EXITS + 1)) - 1 };

static inline bool cpu_quirk(const struct cpu *c, enum cpu_quirk q) { return (c->quirks >> q & 1) != 0; }

#endif
