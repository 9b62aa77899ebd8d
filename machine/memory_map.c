/* SPDX-License-Identifier: MIT */
/* Physical memory of the machine. The whole span is reserved once; only RAM and ROM are accessible, so a
 * stray host access to a hole ends in a host fault instead of a silent wrong value. */
#include "machine/memory_map.h"

#include <string.h>
#include <sys/mman.h>

#include "machine/board.h"

static void *reserve(uint64_t bytes, int protection)
{
    void *p = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static bool add(struct memory_map *mm, uint64_t address, uint64_t n, uint8_t flags)
{
    if (n == 0) return true;
    if (mprotect(mm->ram + address, n, PROT_READ | PROT_WRITE) != 0) return false;
    memset(mm->page_flags + (address >> PAGE_SHIFT), flags, n >> PAGE_SHIFT);
    return true;
}

bool memory_map_init(struct memory_map *mm, uint64_t bytes)
{
    *mm = (struct memory_map){0};
    mm->low = bytes < BOARD_LOW_RAM_MAX ? bytes : BOARD_LOW_RAM_MAX;
    mm->high = bytes - mm->low;
    mm->top = BOARD_HIGH_RAM + mm->high;
    mm->ram = reserve(mm->top, PROT_NONE);
    mm->page_flags = reserve(mm->top >> PAGE_SHIFT, PROT_READ | PROT_WRITE);
    if (!mm->ram || !mm->page_flags) goto fail;
    uint64_t hole = BOARD_VGA_HOLE, after = 0xC0000;
    uint64_t first = mm->low < hole ? mm->low : hole;
    if (!add(mm, 0, first, PAGE_RAM)) goto fail;
    if (mm->low > after && !add(mm, after, mm->low - after, PAGE_RAM)) goto fail;
    if (!add(mm, BOARD_HIGH_RAM, mm->high, PAGE_RAM)) goto fail;
    return true;
fail:
    memory_map_free(mm);
    return false;
}

void memory_map_free(struct memory_map *mm)
{
    if (mm->ram) munmap(mm->ram, mm->top);
    if (mm->page_flags) munmap(mm->page_flags, mm->top >> PAGE_SHIFT);
    *mm = (struct memory_map){0};
}

bool memory_map_add_rom(struct memory_map *mm, uint64_t address, uint64_t n)
{
    if ((address | n) & (PAGE_SIZE - 1) || address > mm->top || n > mm->top - address) return false;
    return add(mm, address, n, PAGE_RAM | PAGE_ROM);
}

/* Host memory stands behind a page even while an overlay hides it: the flag byte keeps PAGE_HIDDEN. */
enum { PAGE_HIDDEN = 128 };

bool memory_map_covers(const struct memory_map *mm, uint64_t address, uint64_t n)
{
    if (address > mm->top || n > mm->top - address) return false;
    if (n == 0) return true;
    for (uint64_t p = address >> PAGE_SHIFT; p <= (address + n - 1) >> PAGE_SHIFT; p++)
        if (!(mm->page_flags[p] & (PAGE_RAM | PAGE_HIDDEN))) return false;
    return true;
}

void memory_map_overlay(struct memory_map *mm, uint64_t address, bool on)
{
    if (address >= mm->top) return;
    uint8_t *f = &mm->page_flags[address >> PAGE_SHIFT];
    if (on && (*f & PAGE_RAM))
        *f = (uint8_t)((*f & ~PAGE_RAM) | PAGE_HIDDEN);
    else if (!on && (*f & PAGE_HIDDEN))
        *f = (uint8_t)((*f & ~PAGE_HIDDEN) | PAGE_RAM);
}
