/* SPDX-License-Identifier: MIT */
/* Which virtualization extension a processor carries. */
#ifndef UV_MACHINE_EXTENSION_H
#define UV_MACHINE_EXTENSION_H

#include <stdbool.h>

struct cpu;

/* By the features it advertises; none is fine. False: no memory. */
bool machine_attach_extension(struct cpu *c);

#endif
