/* SPDX-License-Identifier: MIT */
/* MXCSR in and out of a floating-point operation. SDM 1 10.2.3, 11.5. */
#ifndef UV_CPU_INSN_SSEFP_H
#define UV_CPU_INSN_SSEFP_H

#include "cpu/flags.h"
#include "cpu/fpu/fp.h"
#include "cpu/vec.h"

/* A sticky and masked PE goes in already raised: nothing can come of raising it again, and that is what the
 * host path of cpu/fpu/fp_host.h asks for. */
static inline struct fp_env sse_env(const struct cpu *c)
{
    uint32_t m = c->s.fpu.mxcsr;
    uint8_t masked = m >> 7 & FP_ALL;
    return (struct fp_env){.rc = m >> 13 & 3,
                           .prec = 64,
                           .masked = masked,
                           .flags = m & masked & FP_PE,
                           .daz = m >> 6 & 1,
                           .ftz = m >> 15 & 1};
}
/* Flags into MXCSR. False: one is unmasked, #XM (or #UD without CR4.OSXMMEXCPT) is set and nothing may be
 * written. An unmasked invalid, denormal or zero-divide in any lane keeps the flags found by rounding out. */
bool sse_finish(struct cpu *c, struct fp_env *e);

static inline void xmm_set32(struct cpu *c, unsigned n, uint32_t v)
{
    c->s.vec[n].q[0] = (c->s.vec[n].q[0] & ~UINT64_C(0xffffffff)) | v;
}

#endif
