/* SPDX-License-Identifier: MIT */
/* XSAVE-managed state: which components a processor has and how large an area is. SDM 1 ch. 13. */
#ifndef UV_CPU_XSTATE_H
#define UV_CPU_XSTATE_H

#include "cpu/cpu.h"

enum xstate_bit {
#define XSTATE(name, bit, size, offset, align64, supervisor, feature) XSTATE_##name = bit,
#include "cpu/xstate.def"
#undef XSTATE
};

enum { XSAVE_LEGACY_SIZE = 512, XSAVE_HEADER_SIZE = 64, XSAVE_AREA_BASE = 576 };

/* Bits that XCR0 / IA32_XSS may hold on this processor. */
uint64_t xstate_xcr0_mask(const struct cpu *c);
uint64_t xstate_xss_mask(const struct cpu *c);
/* XINUSE: components that are not in their initial configuration. */
uint64_t xstate_in_use(const struct cpu *c);
/* Bytes of an area for the components in `mask`, standard or compacted format. */
uint32_t xstate_area_size(uint64_t mask, bool compacted);
/* Offset of component `bit` in an area: standard, or compacted with the components of `mask`. */
uint32_t xstate_offset(unsigned bit, uint64_t mask, bool compacted);

#endif
