/* SPDX-License-Identifier: MIT */
/* -stats: exits by reason, events, speed; and the state of the processors for reports of a run that
 * ended badly. Host time is measured by the caller and only shown. */
#include <inttypes.h>

#include "frontends/cli/cli.h"

void cli_stats(uv_machine *machine, double seconds, FILE *out)
{
    struct uv_stats s = {.struct_size = sizeof(s)};
    struct uv_exit_stat row;
    if (uv_stats_read(machine, &s) != UV_OK) return;
    fprintf(out, "\n%-28s %14s %18s %12s\n", "VM exits by reason", "count", "cycles to entry", "mean");
    for (uint32_t i = 0; uv_stats_exit(machine, i, &row) == UV_OK; i++)
        fprintf(out, "%-28s %14" PRIu64 " %18" PRIu64 " %12" PRIu64 "\n", row.name, row.count, row.cycles,
                row.count ? row.cycles / row.count : 0);
    fprintf(out, "%-28s %14" PRIu64 "\n", "total", s.exits);
    fprintf(out, "\n%-28s %14" PRIu64 "\n", "VM entries", s.entries);
    fprintf(out, "%-28s %14" PRIu64 "\n", "failed VM entries", s.failed_entries);
    fprintf(out, "%-28s %14" PRIu64 "\n", "events injected", s.events_injected);
    fprintf(out, "%-28s %14" PRIu64 "\n", "events delivered", s.events_delivered);
    fprintf(out, "%-28s %14" PRIu64 "\n", "  external interrupts", s.interrupts);
    fprintf(out, "%-28s %14" PRIu64 "\n", "exceptions", s.exceptions);
    fprintf(out, "%-28s %14" PRIu64 "\n", "cycles", s.cycles);
    fprintf(out, "%-28s %14" PRIu64 "\n", "  in non-root operation", s.guest_cycles);
    fprintf(out, "%-28s %14" PRIu64 "\n", "instructions", s.instructions);
    fprintf(out, "%-28s %14" PRIu64 "\n", "  in non-root operation", s.guest_instructions);
    fprintf(out, "%-28s %14.2f\n", "host seconds", seconds);
    fprintf(out, "%-28s %14.1f\n", "guest MIPS", seconds > 0 ? (double)s.instructions / seconds / 1e6 : 0.0);
}

static uint64_t reg(uv_machine *machine, uint32_t cpu, const char *name)
{
    uint32_t id;
    uint64_t v = 0;
    if (uv_register_find(name, &id) == UV_OK) uv_register_read(machine, cpu, id, &v);
    return v;
}

void cli_report_cpus(uv_machine *machine, FILE *out)
{
    static const char *const activity[] = {"active", "halted", "shutdown", "wait-for-SIPI", "MWAIT"};
    for (uint32_t n = 0; n < uv_machine_cpus(machine); n++) {
        struct uv_cpu_info i;
        char insn[192];
        if (uv_cpu_inspect(machine, n, &i) != UV_OK) continue;
        cli_disassemble(machine, n, i.linear_rip, i.code_mode, insn, sizeof(insn));
        fprintf(out, "cpu%u %s %s %d-bit cpl %u rip %04" PRIx64 ":%016" PRIx64 "  %s\n", n,
                i.in_guest ? "non-root" : "root", activity[i.activity < 5 ? i.activity : 0], (int)i.code_mode,
                i.cpl, reg(machine, n, "cs"), i.rip, insn);
        static const char *const rows[][4] = {
            {"rax", "rbx", "rcx", "rdx"}, {"rsi", "rdi", "rbp", "rsp"},
            {"r8", "r9", "r10", "r11"},   {"r12", "r13", "r14", "r15"},
            {"cr0", "cr2", "cr3", "cr4"}, {"efer", "rflags", "idtr.base", "gdtr.base"}};
        for (unsigned r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
            fputs("    ", out);
            for (unsigned k = 0; k < 4; k++)
                fprintf(out, " %9s %016" PRIx64, rows[r][k], reg(machine, n, rows[r][k]));
            fputc('\n', out);
        }
    }
}
