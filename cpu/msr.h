/* SPDX-License-Identifier: MIT */
/* Model-specific registers: rows in msr.def, behaviour in msr.c, the calls in cpu.h. SDM 4 ch. 2. */
#ifndef UV_CPU_MSR_H
#define UV_CPU_MSR_H

#include "cpu/cpu.h"

/* Slots of msr_file. */
enum msr_slot {
#define MSR(name, first, count, vendor, feature, kind, reset, mask) \
    MSR_SLOT_##name, MSR_SLOT_LAST_##name = MSR_SLOT_##name + (count)-1,
#include "cpu/msr.def"
#undef MSR
    MSR_SLOTS
};

/* Power-on values of every row. */
void msr_reset(struct cpu *c);

/* What firmware programs before an operating system runs: MTRRs (everything write-back but the video and ROM
 * areas and the hole from 3 to 4 GiB), the top of memory where the family has such registers. low, high:
 * bytes of RAM below 4 GiB and above. */
void msr_firmware_setup(struct cpu *c, uint64_t low, uint64_t high);

/* For listings and tests: row i, false beyond the last. */
struct msr_info {
    const char *name;
    uint32_t first, count;
};
bool msr_row_info(unsigned i, struct msr_info *info);

/* The memory type that MTRRs and PAT rules would give is not modelled; types are only checked. */
bool msr_memory_type_valid(unsigned type);

#endif
