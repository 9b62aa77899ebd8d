/* SPDX-License-Identifier: MIT */
/* A board for tests of cpu/: RAM from address 0, nothing else, and a table-driven way to run a few bytes of
 * code.
 *
 *   T("adc r8, CF in", "10 D8", IN(al = 0xff, ...), OUT(...)) with the states as lists of (place, value). */
#ifndef UV_TESTS_FLAT_BUS_H
#define UV_TESTS_FLAT_BUS_H

#include "cpu/cpu.h"

struct flat_board {
    struct bus bus;
    struct probe_bus probes;
    struct cpu *cpu[8];
    unsigned cpus;
    uint64_t mmio_reads, mmio_writes, last_mmio_address, last_mmio_value;
    uint64_t last_mmio_cycle;
    uint16_t last_port;
    uint32_t last_port_value;
    bool intr;
    int vector; /* what INTA gives */
};

/* ram_bytes: a multiple of 4096. Every feature of the table is advertised except those in `without`
 * (FEAT_ ids, ends with FEAT_BASE; NULL: none). */
struct flat_board *flat_board_create(uint64_t ram_bytes, unsigned cpus, const unsigned *without);
void flat_board_destroy(struct flat_board *b);
void flat_features(uint64_t features[8], const unsigned *without);

/* Puts the processor into a mode with flat segments (base 0, 4 GBytes) and everything mapped one to one. For
 * 64-bit mode page tables for the first GByte are written at 0x8000-0xAFFF. */
enum flat_mode { FLAT_REAL, FLAT_PROT16, FLAT_PROT32, FLAT_LONG64 };
void flat_set_mode(struct cpu *c, enum flat_mode mode);

/* Hex text ("10 D8") to bytes; returns their number. */
unsigned flat_hex(const char *text, uint8_t *bytes, unsigned max);
void flat_write(struct flat_board *b, uint64_t address, const void *bytes, unsigned n);
uint64_t flat_read64(struct flat_board *b, uint64_t address);
/* One instruction as the manual would show it: registers in, registers out; REG_COUNT ends a list. OUT checks
 * only the places it names. */
struct flat_value {
    enum flat_place { F_END, F_GPR, F_FLAGS, F_MEM8, F_MEM16, F_MEM32, F_MEM64, F_VECTOR } place;
    uint64_t index, value;
};
struct flat_case {
    const char *name, *code;
    struct flat_value in[8], out[8];
};
/* Runs the code bytes of the case once, from 0x100000 (0x1000 in real mode), in the mode given; vector -1
 * unless OUT names one. Prints what differs; false: something did. */
bool flat_check(struct flat_board *b, enum flat_mode mode, const struct flat_case *t);

/* Runs n instructions from `rip`; returns why cpu_run() came back. */
enum run_stop flat_run(struct cpu *c, uint64_t rip, uint64_t n);

#endif
