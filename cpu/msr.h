/* SPDX-License-Identifier: MIT */
/* Model-specific registers: rows in msr.def, behaviour in msr.c. SDM 4 ch. 2, APM 2 app. A. */
#ifndef UV_CPU_MSR_H
#define UV_CPU_MSR_H

#include "cpu/cpu.h"

/* Power-on values of every row. */
void msr_reset(struct cpu *c);

/* Without the checks of the instruction (intercepts are the instruction's), but with those of the register. */
enum msr_result { MSR_OK, MSR_GP };

#endif
