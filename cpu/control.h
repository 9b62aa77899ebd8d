/* SPDX-License-Identifier: MIT */
/* What the control registers of this processor may hold, for those who load them by other means. */
#ifndef UV_CPU_CONTROL_H
#define UV_CPU_CONTROL_H

#include "cpu/cpu.h"

/* Bits that may be 1. */
uint64_t cpu_cr4_valid(const struct cpu *c);
uint64_t cpu_efer_valid(const struct cpu *c);

/* Is a value for CRn free of reserved bits and illegal combinations? What else stands against a write (mode
 * switches, CS and TSS, PDPTEs, a virtualization extension) is not judged. */
bool cpu_cr_value_ok(const struct cpu *c, unsigned cr, uint64_t value);

/* The model has it and IA32_MISC_ENABLE[34] does not hide it. */
bool cpu_nx_available(const struct cpu *c);

/* Recomputes EFER.LMA from CR0.PG and EFER.LME. */
void cpu_update_lma(struct cpu *c);

#endif
