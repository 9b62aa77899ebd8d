/* SPDX-License-Identifier: MIT */
/* What the loaders share: placement of pieces in guest memory without overlap, and messages. */
#ifndef UV_MACHINE_BOOT_LOADER_H
#define UV_MACHINE_BOOT_LOADER_H

#include "machine/boot/boot.h"

struct boot_claim {
    uint64_t base, end;
    const char *what; /* a literal */
};

struct loader {
    const struct boot_request *rq;
    const struct boot_memory *mem;
    struct boot_error *error;
    struct boot_claim claim[BOOT_CLAIMS_MAX];
    uint32_t claim_count;
    uint64_t top; /* end of the highest kernel piece */
};

/* Low memory that boot information is put in where the kernel leaves it free. */
enum { BOOT_LOW_START = 0x10000, BOOT_LOW_END = 0x90000 };

__attribute__((format(printf, 3, 4))) enum boot_status loader_fail(struct loader *l, enum boot_status status,
                                                                   const char *format, ...);

/* Copies filesz bytes and zeroes up to memsz at a fixed address; refuses what is not RAM of the map or
 * overlaps an earlier piece. */
enum boot_status loader_place(struct loader *l, const char *what, uint64_t address, const uint8_t *data,
                              uint64_t filesz, uint64_t memsz);
/* Finds a free place: lowest (or highest) aligned address in [from, to). */
enum boot_status loader_find(struct loader *l, const char *what, uint64_t size, uint64_t align, uint64_t from,
                             uint64_t to, bool highest, uint64_t *address);
/* loader_find + loader_place, low memory first, then above the kernel below 4 GiB. */
enum boot_status loader_info(struct loader *l, const char *what, const void *data, uint64_t size,
                             uint64_t align, uint64_t *address);
/* GDT with flat 32-bit code (10h; 64-bit when `long_mode`), data (18h) and a TSS (20h). */
enum boot_status loader_gdt(struct loader *l, bool long_mode, uint64_t *base);
/* Identity map of the low 4 GiB with 2-MiB pages. */
enum boot_status loader_identity_map(struct loader *l, uint64_t *cr3);

enum boot_status load_elf(struct loader *l, struct boot_entry *e);
enum boot_status load_multiboot(struct loader *l, struct boot_entry *e);
enum boot_status load_pvh(struct loader *l, struct boot_entry *e);
enum boot_status load_linux(struct loader *l, struct boot_entry *e);

/* linux.c: a zero page with memory map, command line and initrd, for an uncompressed kernel. */
enum boot_status linux_boot_params(struct loader *l, uint8_t *header, uint64_t initrd_max,
                                   uint64_t cmdline_max, uint64_t *address);

/* elf.c */
enum { ELF_SEGMENTS_MAX = 64 };
struct elf_segment {
    uint64_t offset, vaddr, paddr, filesz, memsz;
};
struct elf_image {
    bool is64, x86_64;
    uint64_t entry; /* physical */
    uint32_t count;
    struct elf_segment seg[ELF_SEGMENTS_MAX];
    bool has_pvh;
    uint64_t pvh_entry;
};
bool elf_is(const struct boot_file *f);
enum boot_status elf_parse(struct loader *l, const struct boot_file *f, struct elf_image *img);
enum boot_status elf_place(struct loader *l, const struct boot_file *f, const struct elf_image *img);
/* multiboot.c: offset of the header, or -1. */
int64_t multiboot_find(const struct boot_file *f);
bool linux_is(const struct boot_file *f);
bool elf_has_pvh(const struct boot_file *f);

#endif
