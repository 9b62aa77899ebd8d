/* SPDX-License-Identifier: MIT */
/* Uses of a VMCB that a processor lets pass and that are mistakes all the same: a clean bit over a field that
 * software has changed, an ASID that goes to another VMCB without a flush. An observer of the probe bus: it
 * changes nothing and is no part of the state. */
#ifndef UV_SVM_STRICT_H
#define UV_SVM_STRICT_H

#include "cpu/probe.h"
#include "svm/svm.h"

struct svm_strict;
struct svm_strict *svm_strict_create(void); /* NULL: no memory */
void svm_strict_destroy(struct svm_strict *s);
/* The points that it wants. */
uint64_t svm_strict_mask(void);
/* One event; a warning is written to text (at most size bytes). Each is given once for a field or an ASID of
 * a VMCB. Returns the length, 0: no warning. */
size_t svm_strict_event(struct svm_strict *s, struct cpu *c, enum probe_point point, char *text, size_t size);

#endif
