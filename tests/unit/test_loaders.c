/* SPDX-License-Identifier: MIT */
/* The boot loaders on good images and on hostile ones: truncated at every length, absurd sizes, overlap,
 * wrap-around, mutated bytes. Run under AddressSanitizer by the sanitizer build; guest memory here is a
 * small flat array whose edges are checked by every write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/boot/acpi.h"
#include "machine/boot/boot.h"
#include "machine/boot/le.h"

#define RAM_SIZE UINT64_C(0x4000000) /* 64 MiB */

static uint8_t *ram;
static struct boot_error error;
static struct boot_entry entry;

static bool write_ram(void *opaque, uint64_t address, const void *src, uint64_t n)
{
    (void)opaque;
    if (address > RAM_SIZE || n > RAM_SIZE - address) return false;
    if (src)
        memcpy(ram + address, src, n);
    else
        memset(ram + address, 0, n);
    return true;
}

static enum boot_status load_request(struct boot_request *rq)
{
    struct boot_memory mem = {.write = write_ram};
    boot_map_build(&mem, RAM_SIZE, 0);
    memset(&entry, 0xee, sizeof(entry));
    return boot_load(rq, &mem, &entry, &error);
}

static enum boot_status load_bytes(const uint8_t *data, uint64_t size)
{
    /* An exact heap copy: one byte too far is a sanitizer error. */
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    struct boot_request rq = {.kernel = {"test.img", copy, size, NULL}, .cmdline = "quiet"};
    enum boot_status s = load_request(&rq);
    free(copy);
    if (s != BOOT_OK) {
        assert_true(error.text[0] != 0);
        assert_null(strchr(error.text, '\n'));
    }
    return s;
}

/* ---- Image builders ---- */

struct image {
    uint8_t data[0x3000];
    uint64_t size;
};

enum { EHDR32 = 52, EHDR64 = 64, PHDR32 = 32, PHDR64 = 56 };

static struct image elf32(uint32_t entry_point, unsigned segments)
{
    struct image im = {.size = 0x2000};
    uint8_t *d = im.data;
    memcpy(d, "\177ELF\1\1\1", 7);
    le16_put(d + 16, 2);
    le16_put(d + 18, 3);
    le32_put(d + 24, entry_point);
    le32_put(d + 28, EHDR32);
    le16_put(d + 42, PHDR32);
    le16_put(d + 44, segments);
    return im;
}

static void segment32(struct image *im, unsigned i, uint32_t type, uint32_t offset, uint32_t paddr,
                      uint32_t filesz, uint32_t memsz)
{
    uint8_t *p = im->data + EHDR32 + i * PHDR32;
    le32_put(p, type);
    le32_put(p + 4, offset);
    le32_put(p + 8, paddr);
    le32_put(p + 12, paddr);
    le32_put(p + 16, filesz);
    le32_put(p + 20, memsz);
}

static struct image elf64(uint64_t entry_point)
{
    struct image im = {.size = 0x2000};
    uint8_t *d = im.data;
    memcpy(d, "\177ELF\2\1\1", 7);
    le16_put(d + 16, 2);
    le16_put(d + 18, 62);
    le64_put(d + 24, entry_point);
    le64_put(d + 32, EHDR64);
    le16_put(d + 54, PHDR64);
    le16_put(d + 56, 2);
    return im;
}

static void segment64(struct image *im, unsigned i, uint32_t type, uint64_t offset, uint64_t vaddr,
                      uint64_t paddr, uint64_t filesz, uint64_t memsz)
{
    uint8_t *p = im->data + EHDR64 + i * PHDR64;
    le32_put(p, type);
    le64_put(p + 8, offset);
    le64_put(p + 16, vaddr);
    le64_put(p + 24, paddr);
    le64_put(p + 32, filesz);
    le64_put(p + 40, memsz);
}

static void multiboot_header(struct image *im, uint64_t at, uint32_t flags)
{
    le32_put(im->data + at, 0x1badb002);
    le32_put(im->data + at + 4, flags);
    le32_put(im->data + at + 8, 0u - 0x1badb002 - flags);
}

static struct image multiboot(void)
{
    struct image im = elf32(0x400010, 1);
    segment32(&im, 0, 1, 0x1000, 0x400000, 0x800, 0x2000);
    multiboot_header(&im, 0x200, 3);
    memset(im.data + 0x1000, 0x5a, 0x800);
    return im;
}

static struct image pvh(void)
{
    struct image im = elf64(0x1000000);
    segment64(&im, 0, 1, 0x1000, 0xffffffff81000000, 0x1000000, 0x800, 0x1000);
    segment64(&im, 1, 4, 0x1900, 0, 0, 20, 20);
    uint8_t *n = im.data + 0x1900;
    le32_put(n, 4);
    le32_put(n + 4, 4);
    le32_put(n + 8, 18);
    memcpy(n + 12, "Xen", 4);
    le32_put(n + 16, 0x1000020);
    return im;
}

static struct image bzimage(void)
{
    struct image im = {.size = 0x2400};
    uint8_t *d = im.data;
    d[0x1f1] = 1;
    le16_put(d + 0x1fe, 0xaa55);
    d[0x200] = 0xeb;
    d[0x201] = 0x66;
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
    memset(d + 0x400, 0x90, 0x2000);
    return im;
}

/* ---- Good images ---- */

static void test_multiboot(void **state)
{
    (void)state;
    struct image im = multiboot();
    static const uint8_t env[] = "NR_CPUS=2\n";
    struct boot_file mods[2] = {{"env", env, sizeof(env), "env arg"}, {"empty", NULL, 0, NULL}};
    struct boot_request rq = {
        .kernel = {"x.flat", im.data, im.size, NULL}, .cmdline = "a b", .modules = mods, .module_count = 2};
    memset(ram, 0xff, RAM_SIZE);
    assert_int_equal(load_request(&rq), BOOT_OK);
    assert_int_equal(entry.protocol, BOOT_MULTIBOOT);
    assert_int_equal(entry.mode, BOOT_MODE_PROT32);
    assert_int_equal(entry.rip, 0x400010);
    assert_int_equal(entry.eax, 0x2badb002);
    assert_int_equal(ram[0x4007ff], 0x5a);
    assert_int_equal(ram[0x400800], 0);
    assert_int_equal(ram[0x401fff], 0);
    const uint8_t *mbi = ram + entry.ebx;
    assert_int_equal(le32_get(mbi), 0x24f);
    assert_int_equal(le32_get(mbi + 4), 639);
    assert_int_equal(le32_get(mbi + 8), (RAM_SIZE >> 10) - 1024);
    assert_string_equal((const char *)ram + le32_get(mbi + 0x10), "x.flat a b");
    assert_int_equal(le32_get(mbi + 0x14), 2);
    const uint8_t *mod = ram + le32_get(mbi + 0x18);
    assert_int_equal(le32_get(mod) & 0xfff, 0);
    assert_true(le32_get(mod) >= 0x402000);
    assert_int_equal(le32_get(mod + 4) - le32_get(mod), sizeof(env));
    assert_memory_equal(ram + le32_get(mod), env, sizeof(env));
    assert_string_equal((const char *)ram + le32_get(mod + 8), "env arg");
    assert_int_equal(le32_get(mod + 16), le32_get(mod + 20));
    const uint8_t *map = ram + le32_get(mbi + 0x30);
    assert_int_equal(le32_get(map), 20);
    assert_int_equal(le32_get(map + 20), E820_RAM);
}

static void test_multiboot_addresses(void **state)
{
    (void)state;
    struct image im = {.size = 0x1800};
    multiboot_header(&im, 0x40, 0x10000);
    le32_put(im.data + 0x4c, 0x200040);
    le32_put(im.data + 0x50, 0x200000);
    le32_put(im.data + 0x54, 0x201000);
    le32_put(im.data + 0x58, 0x203000);
    le32_put(im.data + 0x5c, 0x200123);
    im.data[0xfff] = 0x77;
    im.data[0x1000] = 0x78;
    memset(ram, 0xff, RAM_SIZE);
    assert_int_equal(load_bytes(im.data, im.size), BOOT_OK);
    assert_int_equal(entry.rip, 0x200123);
    assert_int_equal(ram[0x200fff], 0x77);
    assert_int_equal(ram[0x201000], 0);
    assert_int_equal(ram[0x203000], 0xff);
    le32_put(im.data + 0x54, 0); /* to the end of the file */
    le32_put(im.data + 0x58, 0); /* no BSS */
    assert_int_equal(load_bytes(im.data, im.size), BOOT_OK);
    assert_int_equal(ram[0x201000], 0x78);
    le32_put(im.data + 0x50, 0x100000); /* header offset smaller than its distance to load_addr */
    assert_int_equal(load_bytes(im.data, im.size), BOOT_BAD_IMAGE);
}

static void test_pvh(void **state)
{
    (void)state;
    struct image im = pvh();
    static const uint8_t initrd[5000];
    struct boot_file mod = {"initrd", initrd, sizeof(initrd), NULL};
    struct boot_request rq = {.kernel = {"vmlinux", im.data, im.size, NULL},
                              .cmdline = "console=ttyS0",
                              .modules = &mod,
                              .module_count = 1,
                              .rsdp = 0xf0000};
    assert_int_equal(load_request(&rq), BOOT_OK);
    assert_int_equal(entry.protocol, BOOT_PVH);
    assert_int_equal(entry.rip, 0x1000020);
    const uint8_t *info = ram + entry.ebx;
    assert_int_equal(le32_get(info), 0x336ec578);
    assert_int_equal(le32_get(info + 4), 1);
    assert_int_equal(le32_get(info + 12), 1);
    assert_int_equal(le64_get(ram + le64_get(info + 0x10) + 8), sizeof(initrd));
    assert_string_equal((const char *)ram + le64_get(info + 0x18), "console=ttyS0");
    assert_int_equal(le64_get(info + 0x20), 0xf0000);
    assert_true(le32_get(info + 0x30) >= 4);
}

static void test_linux(void **state)
{
    (void)state;
    struct image im = bzimage();
    static const uint8_t a[] = "one", b[] = "second";
    struct boot_file mods[2] = {{"a", a, 3, NULL}, {"b", b, 6, NULL}};
    struct boot_request rq = {.kernel = {"vmlinuz", im.data, im.size, NULL},
                              .cmdline = "root=/dev/ram0",
                              .modules = mods,
                              .module_count = 2,
                              .rsdp = 0xf0000};
    assert_int_equal(load_request(&rq), BOOT_OK);
    assert_int_equal(entry.mode, BOOT_MODE_LONG64);
    assert_int_equal(entry.rip, 0x1000200);
    const uint8_t *zp = ram + entry.rsi;
    assert_string_equal((const char *)ram + le32_get(zp + 0x228), "root=/dev/ram0");
    uint32_t initrd = le32_get(zp + 0x218);
    assert_int_equal(le32_get(zp + 0x21c), 12);
    assert_memory_equal(ram + initrd, "one\0second\0\0", 12);
    assert_int_equal(le64_get(zp + 0x70), 0xf0000);
    assert_int_equal(zp[0x210], 0xff);
    /* Identity map: last 2 MiB of the low 4 GiB. */
    uint64_t pdpt = le64_get(ram + entry.cr3) & ~UINT64_C(0xfff),
             pd = le64_get(ram + pdpt + 24) & ~UINT64_C(0xfff);
    assert_int_equal(le64_get(ram + pd + 511 * 8), UINT64_C(0xffe00083));
    /* Without XLF_KERNEL_64: the 32-bit entry. */
    le16_put(im.data + 0x236, 0);
    assert_int_equal(load_request(&rq), BOOT_OK);
    assert_int_equal(entry.mode, BOOT_MODE_PROT32);
    assert_int_equal(entry.rip, 0x1000000);
    /* Not relocatable: at 1 MiB or its preferred address. */
    im.data[0x234] = 0;
    le64_put(im.data + 0x258, 0);
    assert_int_equal(load_request(&rq), BOOT_OK);
    assert_int_equal(entry.rip, 0x100000);
}

static void test_linux_cmdline_limit(void **state)
{
    (void)state;
    struct image im = bzimage();
    char line[2049];
    memset(line, 'x', sizeof(line));
    line[2048] = 0;
    struct boot_request rq = {.kernel = {"vmlinuz", im.data, im.size, NULL}, .cmdline = line};
    assert_int_equal(load_request(&rq), BOOT_BAD_REQUEST);
    line[2047] = 0;
    assert_int_equal(load_request(&rq), BOOT_OK);
}

static void test_elf64_plain(void **state)
{
    (void)state;
    struct image im = elf64(0xffffffff81000010);
    segment64(&im, 0, 1, 0x1000, 0xffffffff81000000, 0x200000, 0x800, 0x1000);
    assert_int_equal(load_bytes(im.data, im.size), BOOT_OK);
    assert_int_equal(entry.mode, BOOT_MODE_LONG64);
    assert_int_equal(entry.rip, 0x200010); /* translated by the segment */
}

static void test_raw(void **state)
{
    (void)state;
    static const uint8_t code[16] = {0xf4};
    struct boot_request rq = {.protocol = BOOT_RAW,
                              .kernel = {"boot.bin", code, sizeof(code), NULL},
                              .raw_address = 0x7c00,
                              .raw_entry = 0x7c00};
    assert_int_equal(load_request(&rq), BOOT_OK);
    assert_int_equal(ram[0x7c00], 0xf4);
    rq.raw_mode = BOOT_MODE_LONG64;
    assert_int_equal(load_request(&rq), BOOT_OK);
    rq.raw_mode = BOOT_MODE_REAL;
    rq.raw_entry = 0x100000;
    assert_int_equal(load_request(&rq), BOOT_BAD_REQUEST);
    rq.raw_address = RAM_SIZE - 15;
    assert_int_equal(load_request(&rq), BOOT_NO_SPACE);
    rq.raw_address = UINT64_MAX - 7;
    assert_int_equal(load_request(&rq), BOOT_BAD_IMAGE);
}

/* ---- Hostile images ---- */

static void test_truncated(void **state)
{
    (void)state;
    struct image good[4] = {multiboot(), pvh(), bzimage(), elf64(0x200000)};
    segment64(&good[3], 0, 1, 0x1000, 0x200000, 0x200000, 0x800, 0x1000);
    for (unsigned i = 0; i < 4; i++)
        for (uint64_t n = 0; n < good[i].size; n += n < 0x400 ? 1 : 61)
            load_bytes(good[i].data, n);
}

static void refuse(const char *what, const struct image *im)
{
    enum boot_status s = load_bytes(im->data, im->size);
    if (s == BOOT_OK) fail_msg("accepted: %s", what);
}

static void test_hostile_elf(void **state)
{
    (void)state;
    struct image im = multiboot();
    segment32(&im, 0, 1, 0x1000, 0x400000, 0x2000, 0x2000);
    refuse("segment past the end of the file", &im);
    segment32(&im, 0, 1, 0xfffff000, 0x400000, 0x2000, 0x2000);
    refuse("segment offset wraps", &im);
    segment32(&im, 0, 1, 0x1000, 0x400000, 0x800, 0x100);
    refuse("file size above memory size", &im);
    segment32(&im, 0, 1, 0x1000, 0xfffff000, 0x800, 0x2000);
    refuse("address wraps 4 GiB", &im);
    segment32(&im, 0, 1, 0x1000, 0x400000, 0x800, 0xffffffff);
    refuse("absurd memory size", &im);
    segment32(&im, 0, 1, 0x1000, 0x9f000, 0x800, 0x2000);
    refuse("segment over the hole below 1 MiB", &im);
    segment32(&im, 0, 1, 0x1000, RAM_SIZE - 0x1000, 0x800, 0x2000);
    refuse("segment over the end of RAM", &im);
    im = multiboot();
    le16_put(im.data + 44, 0xffff);
    refuse("65535 program headers", &im);
    le16_put(im.data + 44, 0);
    refuse("no program headers", &im);
    im = multiboot();
    le32_put(im.data + 28, 0xffffffff);
    refuse("program headers past the end", &im);
    im = multiboot();
    le16_put(im.data + 42, 1);
    refuse("program header size 1", &im);
    im = elf32(0x400000, 2);
    segment32(&im, 0, 1, 0x1000, 0x400000, 0x800, 0x1000);
    segment32(&im, 1, 1, 0x1000, 0x400fff, 0x800, 0x1000);
    refuse("overlapping segments", &im);
    segment32(&im, 1, 1, 0x1000, 0x401000, 0x800, 0x1000);
    assert_int_equal(load_bytes(im.data, im.size), BOOT_OK);
    im.data[5] = 2;
    refuse("big-endian", &im);
    im = elf64(0x200000);
    segment64(&im, 0, 1, 0x1000, 0, UINT64_MAX - 0x10, 0x800, 0x1000);
    refuse("64-bit address wraps", &im);
    segment64(&im, 0, 1, UINT64_MAX - 0x10, 0, 0x200000, 0x800, 0x1000);
    refuse("64-bit offset wraps", &im);
    segment64(&im, 0, 1, 0x1000, 0, UINT64_C(0x100000000), 0x800, 0x1000);
    refuse("above all RAM", &im);
}

static void test_hostile_notes(void **state)
{
    (void)state;
    struct image im = pvh();
    static const uint32_t sizes[] = {0, 5, 0xffff, 0x7fffffff, 0xfffffffc, 0xffffffff};
    for (unsigned i = 0; i < 6; i++) {
        le32_put(im.data + 0x1900, sizes[i]);
        load_bytes(im.data, im.size);
        le32_put(im.data + 0x1900, 4);
        le32_put(im.data + 0x1904, sizes[i]);
        load_bytes(im.data, im.size);
        le32_put(im.data + 0x1904, 4);
    }
}

static void test_hostile_linux(void **state)
{
    (void)state;
    struct image im = bzimage();
    im.data[0x1f1] = 0xff;
    refuse("setup larger than the file", &im);
    im = bzimage();
    le32_put(im.data + 0x260, 0xffffffff);
    refuse("init_size of 4 GiB", &im);
    im = bzimage();
    le32_put(im.data + 0x230, 3);
    refuse("alignment 3", &im);
    le32_put(im.data + 0x230, 0);
    refuse("alignment 0", &im);
    im = bzimage();
    le64_put(im.data + 0x258, UINT64_MAX);
    load_bytes(im.data, im.size); /* falls back to another place */
    im = bzimage();
    im.data[0x234] = 0;
    le64_put(im.data + 0x258, UINT64_MAX - 0xfff);
    refuse("fixed address wraps", &im);
    im = bzimage();
    le16_put(im.data + 0x206, 0x203);
    refuse("old protocol", &im);
    im = bzimage();
    im.data[0x211] = 0;
    refuse("zImage", &im);
    im = bzimage();
    im.data[0x201] = 0xff; /* header end past the zero-page fields */
    assert_int_equal(load_bytes(im.data, im.size), BOOT_OK);
    im.data[0x201] = 0;
    assert_int_equal(load_bytes(im.data, im.size), BOOT_OK);
}

static void test_hostile_initrd(void **state)
{
    (void)state;
    struct image im = bzimage();
    struct boot_file mods[2] = {{"a", im.data, UINT64_MAX, NULL}, {"b", im.data, 100, NULL}};
    struct boot_request rq = {
        .kernel = {"vmlinuz", im.data, im.size, NULL}, .modules = mods, .module_count = 2};
    assert_int_not_equal(load_request(&rq), BOOT_OK);
    mods[0].size = RAM_SIZE;
    assert_int_equal(load_request(&rq), BOOT_NO_SPACE);
    rq.module_count = BOOT_MODULES_MAX + 1;
    assert_int_equal(load_request(&rq), BOOT_BAD_REQUEST);
    mods[0].size = 100;
    rq.module_count = 1;
    le32_put(im.data + 0x22c, 0x1000); /* initrd_addr_max below the kernel */
    assert_int_equal(load_request(&rq), BOOT_NO_SPACE);
}

/* Deterministic mutations of each good image: nothing but a status and a message may come of them. */
static void test_mutated(void **state)
{
    (void)state;
    struct image good[3] = {multiboot(), pvh(), bzimage()};
    uint64_t x = 0x9e3779b97f4a7c15;
    for (unsigned round = 0; round < 3000; round++) {
        struct image im = good[round % 3];
        for (unsigned k = 0; k < 1 + round % 4; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            uint64_t span = round % 3 == 2 ? 0x270 : x & 1 ? 0x100 : 0x1a00;
            im.data[(x >> 8) % span] = (uint8_t)(x >> 40);
        }
        load_bytes(im.data, im.size);
    }
}

/* ---- Firmware tables ---- */

static void test_firmware_tables(void **state)
{
    (void)state;
    static uint8_t image[FIRMWARE_TABLES_MAX];
    static const uint32_t counts[] = {1, 2, 64, 255};
    for (unsigned i = 0; i < 4; i++) {
        struct firmware_config fc = {
            .cpus = counts[i], .hpet = true, .i8042 = i & 1, .serial_ports = 3, .pci_hole = 0xc0000000};
        uint32_t size;
        uint64_t rsdp;
        assert_true(firmware_tables(&fc, image, &size, &rsdp));
        const uint8_t *r = image + (rsdp - FIRMWARE_TABLES_BASE);
        assert_memory_equal(r, "RSD PTR ", 8);
        assert_int_equal(firmware_checksum(r, 20), 0);
        assert_int_equal(firmware_checksum(r, 36), 0);
        const uint8_t *xsdt = image + (le64_get(r + 24) - FIRMWARE_TABLES_BASE);
        assert_int_equal(firmware_checksum(xsdt, le32_get(xsdt + 4)), 0);
        for (uint32_t at = 36; at < le32_get(xsdt + 4); at += 8) {
            const uint8_t *t = image + (le64_get(xsdt + at) - FIRMWARE_TABLES_BASE);
            assert_true(t + le32_get(t + 4) <= image + size);
            assert_int_equal(firmware_checksum(t, le32_get(t + 4)), 0);
            if (memcmp(t, "FACP", 4) != 0) continue;
            const uint8_t *dsdt = image + (le32_get(t + 40) - FIRMWARE_TABLES_BASE);
            assert_memory_equal(dsdt, "DSDT", 4);
            assert_int_equal(firmware_checksum(dsdt, le32_get(dsdt + 4)), 0);
        }
    }
}

static void test_tables_capacity(void **state)
{
    (void)state;
    struct firmware_config fc = {.cpus = 64, .hpet = true, .serial_ports = 15, .pci_hole = 0xc0000000};
    static uint8_t all[FIRMWARE_TABLES_MAX];
    uint32_t full = acpi_dsdt(&fc, all, sizeof(all));
    assert_true(full > 0);
    for (uint32_t n = 0; n < full; n += 7) {
        uint8_t *small = malloc(n + 1);
        assert_int_equal(acpi_dsdt(&fc, small, n), 0);
        free(small);
    }
    assert_int_equal(mp_table(&fc, 0, all, 100), 0);
}

static int setup(void **state)
{
    (void)state;
    ram = malloc(RAM_SIZE);
    return ram ? 0 : -1;
}
static int teardown(void **state)
{
    (void)state;
    free(ram);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multiboot),
        cmocka_unit_test(test_multiboot_addresses),
        cmocka_unit_test(test_pvh),
        cmocka_unit_test(test_linux),
        cmocka_unit_test(test_linux_cmdline_limit),
        cmocka_unit_test(test_elf64_plain),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_hostile_elf),
        cmocka_unit_test(test_hostile_notes),
        cmocka_unit_test(test_hostile_linux),
        cmocka_unit_test(test_hostile_initrd),
        cmocka_unit_test(test_mutated),
        cmocka_unit_test(test_firmware_tables),
        cmocka_unit_test(test_tables_capacity),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
