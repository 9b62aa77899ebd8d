/* SPDX-License-Identifier: MIT */
/* Several processors in a guest: starting the others, giving all of them work. */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#include "guest.h"

enum { SMP_MAX = 64, TRAMPOLINE = 0x8000 };

extern bool x2;                           /* the local APICs are in x2APIC mode */
extern volatile uint32_t starts[SMP_MAX]; /* by APIC ID: how often a processor has come up */

static inline void pause(void) { __asm__ volatile("pause" ::: "memory"); }
uint32_t locked_add(volatile uint32_t *p, uint32_t v);
void send_ipi(uint32_t dest, uint32_t low); /* low half of the ICR */
void wait_cycles(uint64_t n);
uint32_t processors(void);
/* The first copy must be at TRAMPOLINE. A processor that a SIPI sends there comes up and waits for a round.
 */
void put_trampoline(uint32_t address);
/* All processors that are up do fn, each with its number, but the caller; end_round() waits for them. */
void begin_round(void (*fn)(uint32_t));
void end_round(uint32_t cpus);

#endif
