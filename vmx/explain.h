/* SPDX-License-Identifier: MIT */
/* Why a VM entry fails: every broken rule of a VMCS, not only the first, with the fields it reads, the values
 * they may have and the nearest of those. The same rows that decide an entry (entry_checks.def) are
 * evaluated; nothing is judged twice. Fields may be missing: then some rules cannot be judged, and that is
 * said. */
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

/* ---- judge.c: rules with fields missing ---- */

enum vmx_verdict { VERDICT_HOLDS, VERDICT_BROKEN, VERDICT_UNKNOWN };

static inline bool vmx_field_known(const uint64_t *known, int field)
{
    return !known || (known[field / 64] >> (field % 64) & 1);
}
/* `known`: a bit for each field that has a value, NULL: all. Unknown: the missing fields (or memory) decide.
 */
enum vmx_verdict vmx_judge(const struct vmx_check *k, const uint64_t *known, const struct vmx_check_row *row);
/* The fields without a value that the row reads, its activation bits included; at most 16. Returns how many.
 */
enum { MISSING_MAX = 16 };
unsigned vmx_missing_fields(const uint64_t *known, const struct vmx_check_row *row, uint8_t out[MISSING_MAX]);
/* The row looks at memory, too. */
bool vmx_reads_memory(const struct vmx_check_row *row);
/* What every Intel processor with VMX would say at least: all controls allowed, widest addresses. */
void vmx_cap_any(struct vmx_cap *cap);

/* ---- report.c ---- */

struct vmx_report {
    const struct vmx_check *k;
    const uint64_t *known; /* NULL: all fields */
    const char *source;    /* "machine", "linux-kvm", ... */
    const char *processor; /* CPU model, or "any" */
    const char *where;     /* "cpu0, cycle 17, RIP 1000h" or NULL */
    bool has_code;         /* the processor said how the entry failed: */
    uint32_t code;         /* VM-instruction error number, or exit reason with bit 31 */
    uint64_t qualification;
    /* Exit reason 34: the entry of the VM-entry MSR-load list. */
    bool has_msr;
    uint32_t msr_index;
    uint64_t msr_value;
};
/* The whole explanation; both return its length, as snprintf does. JSON is one object on one line. */
size_t vmx_report_text(const struct vmx_report *r, char *buf, size_t size);
size_t vmx_report_json(const struct vmx_report *r, char *buf, size_t size);
/* How many rules have this verdict. */
unsigned vmx_report_count(const struct vmx_report *r, enum vmx_verdict verdict);

#endif
