/* SPDX-License-Identifier: MIT */
/* Physical memory: one host mapping that spans guest-physical 0 to the top of RAM (at least 4 GiB), with
 * holes left unmapped, and a flag byte for each page (enum page_flag, cpu/bus.h). */
#ifndef UV_MACHINE_MEMORY_MAP_H
#define UV_MACHINE_MEMORY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/bus.h"

struct memory_map {
    uint8_t *ram;
    uint8_t *page_flags;
    uint64_t top;
    uint64_t low, high; /* bytes of RAM below 3 GiB and from 4 GiB */
};

bool memory_map_init(struct memory_map *mm, uint64_t bytes);
void memory_map_free(struct memory_map *mm);
bool memory_map_add_rom(struct memory_map *mm, uint64_t address, uint64_t n);
/* True when all n bytes are host memory (RAM or ROM), overlaid pages included. */
bool memory_map_covers(const struct memory_map *mm, uint64_t address, uint64_t n);
/* A device page on top of RAM (a relocated local APIC): hides the page from the direct path. */
void memory_map_overlay(struct memory_map *mm, uint64_t address, bool on);

#endif
