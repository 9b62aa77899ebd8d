/* SPDX-License-Identifier: MIT */
/* Why a VM entry fails: every broken rule of a VMCS, not only the first, with the fields it reads. The same
 * rows that decide an entry (entry_checks.def) are evaluated; nothing is judged twice. */
#ifndef UV_VMX_EXPLAIN_H
#define UV_VMX_EXPLAIN_H

#include <stddef.h>

#include "vmx/entry_allowed.h"

/* Fills out[] with the broken rows in the order of the table, at most max; returns how many there are. */
unsigned vmx_explain(const struct vmx_check *k, const struct vmx_check_row *out[], unsigned max);
/* The current VMCS of a processor, with its live state. */
unsigned vmx_explain_cpu(struct cpu *c, struct vmx_check *k, const struct vmx_check_row *out[], unsigned max);
/* One row as a line of text (json false) or as a JSON object, with the values of the fields it reads. Returns
 * the length that the whole would have, like snprintf. */
size_t vmx_explain_row(const struct vmx_check *k, const struct vmx_check_row *row, bool json, char *buf,
                       size_t size);
/* "VMfailValid 7" or "exit reason 33, qualification 4". */
size_t vmx_explain_outcome(const struct vmx_check_row *row, char *buf, size_t size);
/* Words for a VM-instruction error number; never NULL. */
const char *vmx_error_name(uint32_t error);

#endif
