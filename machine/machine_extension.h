/* SPDX-License-Identifier: MIT */
/* Which virtualization extension a processor carries. */
#ifndef UV_MACHINE_EXTENSION_H
#define UV_MACHINE_EXTENSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;
struct visitor;

/* By the features it advertises; none is fine. False: no memory. */
bool machine_attach_extension(struct cpu *c);

/* Its state, in canonical order. */
void machine_visit_extension(struct cpu *c, struct visitor *v);

/* A VM entry has just failed with this code (arguments of PROBE_VM_ENTRY_FAIL): the index-th broken rule of
 * the current control structure in words, or as JSON. Returns the length as snprintf does, 0 when there are
 * no more. */
size_t machine_explain_entry(struct cpu *c, uint64_t code, uint32_t index, bool json, char *text,
                             size_t size);

/* The whole report about it, see uv_explain_report(); `where` in words. */
size_t machine_explain_report(struct cpu *c, uint64_t code, uint64_t qualification, const char *where,
                              bool json, char *text, size_t size);

#endif
