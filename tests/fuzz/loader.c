/* SPDX-License-Identifier: MIT */
/* Boot loaders on hostile kernels and modules. FUZZ_PROTOCOL chooses the loader, so that mutations cannot
 * leave it. Input: the kernel image. */
#include <stdlib.h>
#include <string.h>

#include "machine/boot/boot.h"
#include "machine/boot/le.h"
#include "tests/fuzz/fuzz.h"

#define RAM_SIZE UINT64_C(0x2000000) /* 32 MiB, only bounds are kept */

static bool write_nothing(void *opaque, uint64_t address, const void *src, uint64_t n)
{
    const uint8_t *p = src;
    (void)opaque;
    FUZZ_CHECK(address <= RAM_SIZE && n <= RAM_SIZE - address);
    /* Touch the source at both ends. */
    volatile uint8_t sink = p && n ? (uint8_t)(p[0] ^ p[n - 1]) : 0;
    (void)sink;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t initrd[100] = {1};
    struct boot_memory mem = {.write = write_nothing};
    struct boot_file module = {"module", initrd, sizeof(initrd), "module argument"};
    struct boot_request rq = {.protocol = FUZZ_PROTOCOL,
                              .kernel = {"fuzz", data, size, NULL},
                              .cmdline = "command line",
                              .modules = &module,
                              .module_count = 1,
                              .rsdp = 0xf0000};
    struct boot_entry entry;
    struct boot_error error = {{0}};
    boot_map_build(&mem, RAM_SIZE, 0);
    boot_detect(&rq.kernel);
    enum boot_status s = boot_load(&rq, &mem, &entry, &error);
    FUZZ_CHECK((s == BOOT_OK) == (error.text[0] == 0));
    return 0;
}

static size_t elf(uint8_t *d, bool wide, bool multiboot)
{
    unsigned ehdr = wide ? 64 : 52, phdr = wide ? 56 : 32;
    memset(d, 0, 0x2000);
    memcpy(d, wide ? "\177ELF\2\1\1" : "\177ELF\1\1\1", 7);
    le16_put(d + 16, 2);
    le16_put(d + 18, wide ? 62 : 3);
    le32_put(d + 24, 0x400010);
    le32_put(d + (wide ? 32 : 28), ehdr);
    le16_put(d + (wide ? 54 : 42), phdr);
    le16_put(d + (wide ? 56 : 44), 2);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *p = d + ehdr + i * phdr;
        uint32_t offset = i ? 0x1900 : 0x1000, size = i ? 20 : 0x800, at = i ? 0 : 0x400000;
        le32_put(p, i ? 4 : 1);
        if (wide) {
            le64_put(p + 8, offset);
            le64_put(p + 24, at);
            le64_put(p + 32, size);
            le64_put(p + 40, size);
        } else {
            le32_put(p + 4, offset);
            le32_put(p + 12, at);
            le32_put(p + 16, size);
            le32_put(p + 20, size);
        }
    }
    uint8_t *note = d + 0x1900;
    le32_put(note, 4);
    le32_put(note + 4, 4);
    le32_put(note + 8, 18);
    memcpy(note + 12, "Xen", 4);
    le32_put(note + 16, 0x400020);
    if (multiboot) {
        le32_put(d + 0x100, 0x1badb002);
        le32_put(d + 0x104, 3);
        le32_put(d + 0x108, 0u - 0x1badb002 - 3);
    }
    return 0x2000;
}

static size_t address_fields(uint8_t *d)
{
    memset(d, 0, 0x800);
    le32_put(d + 0x20, 0x1badb002);
    le32_put(d + 0x24, 0x10000);
    le32_put(d + 0x28, 0u - 0x1badb002 - 0x10000);
    le32_put(d + 0x2c, 0x200020);
    le32_put(d + 0x30, 0x200000);
    le32_put(d + 0x38, 0x201000);
    le32_put(d + 0x3c, 0x200100);
    return 0x800;
}

static size_t bzimage(uint8_t *d)
{
    memset(d, 0, 0x1400);
    d[0x1f1] = 1;
    le16_put(d + 0x1fe, 0xaa55);
    le16_put(d + 0x200, 0x66eb);
    memcpy(d + 0x202, "HdrS", 4);
    le16_put(d + 0x206, 0x20f);
    d[0x211] = 1;
    le32_put(d + 0x22c, 0x7fffffff);
    le32_put(d + 0x230, 0x200000);
    d[0x234] = 1;
    le16_put(d + 0x236, 1);
    le32_put(d + 0x238, 2047);
    le64_put(d + 0x258, 0x1000000);
    le32_put(d + 0x260, 0x100000);
    return 0x1400;
}

size_t fuzz_seed(unsigned n, uint8_t *out)
{
    switch (n) {
    case 0: return FUZZ_PROTOCOL == BOOT_LINUX ? bzimage(out) : elf(out, false, true);
    case 1: return FUZZ_PROTOCOL == BOOT_LINUX ? 0 : elf(out, true, true);
    case 2: return FUZZ_PROTOCOL == BOOT_MULTIBOOT ? address_fields(out) : 0;
    default: return 0;
    }
}
