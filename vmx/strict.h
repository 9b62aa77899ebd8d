/* SPDX-License-Identifier: MIT */
/* Uses of a VMCS that a processor lets pass and that are mistakes all the same: reads of exit-information
 * fields that the exit left undefined, accesses to fields that do not exist, entries that use fields never
 * written. An observer of the probe bus: it changes nothing and is no part of the state. */
#ifndef UV_VMX_STRICT_H
#define UV_VMX_STRICT_H

#include <stddef.h>

#include "cpu/probe.h"
#include "vmx/vmx.h"

struct vmx_strict;
struct vmx_strict *vmx_strict_create(void); /* NULL: no memory */
void vmx_strict_destroy(struct vmx_strict *s);
/* The points that it wants. */
uint64_t vmx_strict_mask(void);
/* One event; a warning is written to text (at most size bytes). Each is given once: a read for each exit
 * reason and field, an access for each encoding, an unwritten field for each VMCS. Returns the length, 0: no
 * warning. */
size_t vmx_strict_event(struct vmx_strict *s, struct cpu *c, enum probe_point point, uint64_t a, uint64_t b,
                        char *text, size_t size);
/* Does an exit leave this field defined? f: the fields of the VMCS after the exit. */
bool vmx_exit_defines(const uint64_t *f, int field);

#endif
