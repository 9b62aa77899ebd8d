/* SPDX-License-Identifier: MIT */
/* Port access common to IN, OUT, INS and OUTS: permission, intercept, access, I/O breakpoint, in that order.
 * SDM 1 ch. 19, SDM 3C 25.1.3, APM 2 15.10. */
#ifndef UV_CPU_INSN_IO_H
#define UV_CPU_INSN_IO_H

#include "cpu/cpu.h"
#include "cpu/uop.h"

enum io_verdict { IO_GO, IO_FAULT, IO_EXIT };

/* May the instruction at u access the port? flags: enum icpt_flag. */
enum io_verdict io_check(struct cpu *c, const struct uop *u, uint16_t port, uint32_t size, unsigned flags,
                         uint64_t linear);
uint32_t io_read(struct cpu *c, uint16_t port, uint32_t size);
void io_write(struct cpu *c, uint16_t port, uint32_t size, uint32_t v);

#endif
