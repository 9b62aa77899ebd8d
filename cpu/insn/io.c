/* SPDX-License-Identifier: MIT */
/* IN and OUT. SDM 2A "IN", SDM 2B "OUT", SDM 1 ch. 19; APM 3. */
#include "cpu/insn/io.h"

#include "cpu/event.h"
#include "cpu/far.h"

enum io_verdict io_check(struct cpu *c, const struct uop *u, uint16_t port, uint32_t size, unsigned flags,
                         uint64_t linear)
{
    if (!io_check_permission(c, port, size)) return IO_FAULT;
    if (!icpt_armed(c, ICPT_IO)) return IO_GO;
    struct icpt_info info = {
        .number = port, .size = (uint8_t)size, .flags = (uint8_t)flags, .address = linear};
    info.insn = cpu_current_insn(c, u);
    info.value = flags & (ICPT_F_IN | ICPT_F_STRING) ? 0 : c->s.gpr[RAX];
    cpu_flush_flags(c);
    return c->virt->insn(c, ICPT_IO, &info) == VIRT_EXITED ? IO_EXIT : IO_GO;
}

uint32_t io_read(struct cpu *c, uint16_t port, uint32_t size)
{
    uint32_t v = c->bus->port_read(c->bus->opaque, c->id, port, size);
    if (size < 4) v &= (1u << size * 8) - 1;
    PROBE(c->probes, c, PORT_READ, port | (uint64_t)size << 16, v);
    debug_io_access(c, port, size);
    return v;
}

void io_write(struct cpu *c, uint16_t port, uint32_t size, uint32_t v)
{
    if (size < 4) v &= (1u << size * 8) - 1;
    PROBE(c->probes, c, PORT_WRITE, port | (uint64_t)size << 16, v);
    c->bus->port_write(c->bus->opaque, c->id, port, size, v);
    debug_io_access(c, port, size);
}

static uint32_t port_size(const struct uop *u) { return u->size > 4 ? 4 : u->size; }

static __attribute__((noinline)) enum io_verdict do_in(struct cpu *c, const struct uop *u, uint16_t port,
                                                       unsigned flags)
{
    uint32_t size = port_size(u);
    enum io_verdict v = io_check(c, u, port, size, flags | ICPT_F_IN, 0);
    if (v != IO_GO) return v;
    uint32_t value = io_read(c, port, size);
    if (size == 1)
        W8(RAX, value);
    else if (size == 2)
        W16(RAX, value);
    else
        W32(RAX, value);
    return IO_GO;
}

static __attribute__((noinline)) enum io_verdict do_out(struct cpu *c, const struct uop *u, uint16_t port,
                                                        unsigned flags)
{
    uint32_t size = port_size(u);
    enum io_verdict v = io_check(c, u, port, size, flags, 0);
    if (v == IO_GO) io_write(c, port, size, R32(RAX));
    return v;
}

#define PORT_HANDLER(name, body)  \
    HANDLER_ALL(name)             \
    {                             \
        enum io_verdict v = body; \
        if (v == IO_FAULT) FAULT; \
        if (v == IO_EXIT) EXITED; \
        NEXT;                     \
    }
PORT_HANDLER(in_imm, do_in(c, u, (uint8_t)u->imm, ICPT_F_IMM))
PORT_HANDLER(in_dx, do_in(c, u, R16(RDX), 0))
PORT_HANDLER(out_imm, do_out(c, u, (uint8_t)u->imm, ICPT_F_IMM))
PORT_HANDLER(out_dx, do_out(c, u, R16(RDX), 0))
