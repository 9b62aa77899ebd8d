/* SPDX-License-Identifier: MIT */
/* The one place that knows the vendors' extensions (docs/architecture.md). */
#include "machine/machine_extension.h"

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "vmx/vmx.h"

bool machine_attach_extension(struct cpu *c)
{
    if (has_feature(c, FEAT_VMX)) return cpu_attach_extension(c, &vmx_ext);
    return true;
}
