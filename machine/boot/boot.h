/* SPDX-License-Identifier: MIT */
/* Direct boot: puts kernel, modules and boot information into guest memory and says in which state the
 * first processor starts. Multiboot specification 0.6.96 (version 1), Xen PVH start_info, Linux x86
 * boot protocol 2.15, System V ELF. Images are hostile input: every size is checked before use, and a
 * refusal is one sentence that names the file and what was expected. */
#ifndef UV_MACHINE_BOOT_BOOT_H
#define UV_MACHINE_BOOT_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;

enum boot_status {
    BOOT_OK = 0,
    BOOT_BAD_IMAGE = -1, /* the file is not what it claims to be */
    BOOT_NO_SPACE = -2,  /* does not fit into guest memory */
    BOOT_BAD_REQUEST = -3
};

enum boot_protocol { BOOT_AUTO, BOOT_LINUX, BOOT_MULTIBOOT, BOOT_PVH, BOOT_ELF, BOOT_RAW };

/* INT 15h E820h range types, used by Linux, Multiboot and PVH alike. */
enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };

enum { BOOT_MAP_MAX = 16, BOOT_CLAIMS_MAX = 192, BOOT_MODULES_MAX = 64, BOOT_MESSAGE_MAX = 320 };

struct boot_range {
    uint64_t base, length;
    uint32_t type; /* enum e820_type */
};

/* Guest memory as the loaders see it. `write` copies n bytes (src NULL: zeros) to RAM, firmware area
 * included; false when some byte is not RAM. */
struct boot_memory {
    bool (*write)(void *opaque, uint64_t address, const void *src, uint64_t n);
    void *opaque;
    struct boot_range map[BOOT_MAP_MAX]; /* what the guest is told, ascending */
    uint32_t map_count;
};

struct boot_file {
    const char *name; /* for messages and for the first word of a Multiboot command line */
    const uint8_t *data;
    uint64_t size;
    const char *args; /* modules: string handed to the kernel; may be NULL */
};

enum boot_mode { BOOT_MODE_REAL, BOOT_MODE_PROT32, BOOT_MODE_LONG64 };

struct boot_request {
    enum boot_protocol protocol;
    struct boot_file kernel;
    const char *cmdline; /* may be NULL */
    const struct boot_file *modules;
    uint32_t module_count;
    uint64_t rsdp; /* physical address of the ACPI RSDP, 0: none */
    /* BOOT_RAW only */
    uint64_t raw_address, raw_entry;
    enum boot_mode raw_mode;
};

/* Start state of the bootstrap processor; everything else is as after RESET. */
struct boot_entry {
    enum boot_mode mode;
    enum boot_protocol protocol; /* the one found */
    uint64_t rip, rsp;
    uint32_t eax, ebx;
    uint64_t rsi;
    uint64_t cr3;      /* long mode: identity map of the low 4 GiB */
    uint64_t gdt_base; /* flat GDT: 10h code, 18h data, 20h TSS */
};

struct boot_error {
    char text[BOOT_MESSAGE_MAX];
};

/* The memory map of the board: `below_4g` bytes of RAM from address 0 (with the PC's hole at 640 KiB),
 * `above_4g` bytes from 4 GiB. */
void boot_map_build(struct boot_memory *m, uint64_t below_4g, uint64_t above_4g);

/* Loads everything. On failure guest memory may hold parts of the images; the entry is untouched. */
enum boot_status boot_load(const struct boot_request *rq, const struct boot_memory *m,
                           struct boot_entry *entry, struct boot_error *error);
/* A further raw image (a generic loader device), no claim on the processor. */
enum boot_status boot_load_raw(const struct boot_file *file, uint64_t address, const struct boot_memory *m,
                               struct boot_error *error);
/* BOOT_AUTO when none is recognised. */
enum boot_protocol boot_detect(const struct boot_file *kernel);
const char *boot_protocol_name(enum boot_protocol p);

/* Puts a processor that has just been reset into the entry state (boot/entry.c). */
void boot_enter(struct cpu *c, const struct boot_entry *entry);

#endif
