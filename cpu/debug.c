/* SPDX-License-Identifier: MIT */
/* Breakpoints of the debug registers: which match, which are enabled. Instruction breakpoints are faults
 * (event.c asks before the instruction), data and I/O breakpoints traps collected in s.pending_dbg.
 * SDM 3B 18.2, 18.3; APM 2 13.1. */
#include "cpu/event.h"
#include "cpu/uop.h"

/* R/W field of DR7. */
enum { BP_EXECUTE = 0, BP_WRITE = 1, BP_IO = 2, BP_ACCESS = 3 };

static unsigned bp_kind(const struct cpu *c, unsigned n) { return c->s.dr7 >> (16 + n * 4) & 3; }
static bool bp_enabled(const struct cpu *c, unsigned n) { return (c->s.dr7 >> (n * 2) & 3) != 0; }
static uint64_t bp_length(const struct cpu *c, unsigned n)
{
    static const uint8_t bytes[] = {1, 2, 8, 4};
    return bytes[c->s.dr7 >> (18 + n * 4) & 3];
}

static bool bp_fits(const struct cpu *c, unsigned n, unsigned kinds)
{
    unsigned kind = bp_kind(c, n);
    if (kind == BP_IO && !(c->s.cr4 & CR4_DE)) return false;
    return (kinds >> kind & 1) != 0;
}

static bool armed(const struct cpu *c, unsigned kinds)
{
    if (!(c->s.dr7 & 0xff)) return false;
    for (unsigned n = 0; n < 4; n++)
        if (bp_enabled(c, n) && bp_fits(c, n, kinds)) return true;
    return false;
}

bool debug_code_armed(const struct cpu *c) { return armed(c, 1 << BP_EXECUTE); }
bool debug_data_armed(const struct cpu *c) { return armed(c, 1 << BP_WRITE | 1 << BP_ACCESS); }
bool debug_io_armed(const struct cpu *c) { return armed(c, 1 << BP_IO); }

/* B bits of all breakpoints of these kinds that the access touches; *enabled: one of them is enabled.
 * A match that DR7 does not enable shows in DR6 only together with an enabled one. SDM 3B 18.2.3 */
static uint64_t matches(const struct cpu *c, unsigned kinds, uint64_t at, uint64_t size, bool *enabled)
{
    uint64_t b = 0;
    *enabled = false;
    for (unsigned n = 0; n < 4; n++) {
        if (!bp_fits(c, n, kinds)) continue;
        uint64_t len = bp_length(c, n), from = c->s.dr[n] & ~(len - 1);
        if (at + size - 1 < from || at > from + len - 1) continue;
        b |= UINT64_C(1) << n;
        if (bp_enabled(c, n)) *enabled = true;
    }
    return b;
}

static void collect(struct cpu *c, unsigned kinds, uint64_t at, uint64_t size)
{
    bool enabled;
    if (!c->s.intr.gif || (c->virt->breakpoints_ignored && c->virt->breakpoints_ignored(c))) return;
    uint64_t b = matches(c, kinds, at, size, &enabled);
    if (!enabled) return;
    c->s.pending_dbg |= b | PENDING_BP;
    c->attention |= ATT_TRAP;
}

void debug_data_access(struct cpu *c, uint64_t lin, uint32_t size, bool write)
{
    collect(c, 1 << BP_ACCESS | (write ? 1 << BP_WRITE : 0), lin, size);
}

void debug_io_access(struct cpu *c, uint16_t port, uint32_t size)
{
    if (!debug_io_armed(c)) return;
    collect(c, 1 << BP_IO, port, size);
}

uint64_t debug_code_match(struct cpu *c)
{
    bool enabled;
    uint64_t lin = c->s.gpr[REG_RIP];
    if (!in_64bit(c)) lin = (uint32_t)(lin + c->s.seg[SEG_CS].base);
    uint64_t b = matches(c, 1 << BP_EXECUTE, lin, 1, &enabled);
    if (enabled && c->virt->breakpoints_ignored && c->virt->breakpoints_ignored(c)) return 0;
    return enabled ? b : 0;
}

/* TF with BTF traps taken branches only. SDM 3B 18.4.3 */
enum { DEBUGCTL_BTF = 2 };

void debug_note_step(struct cpu *c)
{
    static const struct uop here = {.base = REG_ZERO, .index = REG_ZERO, .len = 15};
    if (!(c->s.debugctl & DEBUGCTL_BTF)) return;
    struct fault kept = c->fault;
    c->step_rip = c->s.gpr[REG_RIP];
    c->step_next = rip_mask(c, c->step_rip + cpu_current_insn(c, &here)->length);
    c->fault = kept;
}

bool debug_step_traps(struct cpu *c)
{
    if (!(c->s.debugctl & DEBUGCTL_BTF)) return true;
    return c->s.gpr[REG_RIP] != c->step_next && c->s.gpr[REG_RIP] != c->step_rip;
}
