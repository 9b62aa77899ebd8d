/* SPDX-License-Identifier: MIT */
/* Multiboot 1: header search, ELF or address-field ("a.out kludge") load, modules, memory map, command
 * line. Multiboot specification 0.6.96, 3.1 (header), 3.2 (machine state), 3.3 (information). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "machine/boot/le.h"
#include "machine/boot/loader.h"

enum { MB_MAGIC = 0x1badb002, MB_LOADER_MAGIC = 0x2badb002, MB_SEARCH = 8192, MB_ADDRESSES = 1 << 16 };
/* Flags of the information structure that are filled in: memory, boot device, command line, modules,
 * memory map, loader name. */
enum { MBI_FLAGS = 1 | 2 | 4 | 8 | 64 | 512, MBI_SIZE = 88 };

int64_t multiboot_find(const struct boot_file *f)
{
    uint64_t end = f->size < MB_SEARCH ? f->size : MB_SEARCH;
    for (uint64_t at = 0; at + 12 <= end; at += 4) {
        const uint8_t *h = f->data + at;
        if (le32_get(h) == MB_MAGIC && (uint32_t)(le32_get(h) + le32_get(h + 4) + le32_get(h + 8)) == 0)
            return (int64_t)at;
    }
    return -1;
}

/* Address fields: load_addr .. load_end_addr from the file, zeros up to bss_end_addr. */
static enum boot_status load_addresses(struct loader *l, uint64_t at, struct boot_entry *e)
{
    const struct boot_file *f = &l->rq->kernel;
    if (at + 32 > f->size)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: Multiboot address fields at offset 0x%" PRIx64 " cut short", f->name, at);
    const uint8_t *h = f->data + at;
    uint64_t header = le32_get(h + 12), load = le32_get(h + 16), load_end = le32_get(h + 20);
    uint64_t bss_end = le32_get(h + 24);
    if (header < load || header - load > at)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: Multiboot header_addr 0x%" PRIx64 " does not fit load_addr 0x%" PRIx64
                           " and header offset 0x%" PRIx64,
                           f->name, header, load, at);
    uint64_t start = at - (header - load), filesz = f->size - start;
    if (load_end != 0) {
        if (load_end < load || load_end - load > filesz)
            return loader_fail(l, BOOT_BAD_IMAGE,
                               "%s: Multiboot load_end_addr 0x%" PRIx64
                               " is not inside the file (load_addr 0x%" PRIx64 ", 0x%" PRIx64 " bytes)",
                               f->name, load_end, load, filesz);
        filesz = load_end - load;
    }
    uint64_t memsz = filesz;
    if (bss_end != 0) {
        if (bss_end < load + filesz)
            return loader_fail(l, BOOT_BAD_IMAGE,
                               "%s: Multiboot bss_end_addr 0x%" PRIx64 " is below the loaded image", f->name,
                               bss_end);
        memsz = bss_end - load;
    }
    e->rip = le32_get(h + 28);
    return loader_place(l, "the image", load, f->data + start, filesz, memsz);
}

static enum boot_status load_image(struct loader *l, uint64_t at, struct boot_entry *e)
{
    const struct boot_file *f = &l->rq->kernel;
    struct elf_image img;
    if (le32_get(f->data + at + 4) & MB_ADDRESSES) return load_addresses(l, at, e);
    enum boot_status s = elf_parse(l, f, &img);
    if (s != BOOT_OK || (s = elf_place(l, f, &img)) != BOOT_OK) return s;
    if (img.entry > UINT32_MAX)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: entry 0x%" PRIx64 " is above 4 GiB, Multiboot starts in 32-bit mode", f->name,
                           img.entry);
    e->rip = img.entry;
    return BOOT_OK;
}

static enum boot_status put_string(struct loader *l, const char *what, const char *a, const char *b,
                                   uint64_t *address)
{
    size_t na = strlen(a), nb = b && *b ? strlen(b) : 0;
    char *text = malloc(na + nb + 2);
    if (!text) return loader_fail(l, BOOT_NO_SPACE, "host memory exhausted");
    memcpy(text, a, na);
    if (nb) {
        text[na++] = ' ';
        memcpy(text + na, b, nb);
    }
    text[na + nb] = 0;
    enum boot_status s = loader_info(l, what, text, na + nb + 1, 4, address);
    free(text);
    return s;
}

static enum boot_status put_modules(struct loader *l, uint8_t *mbi)
{
    uint8_t list[BOOT_MODULES_MAX * 16] = {0};
    const struct boot_request *rq = l->rq;
    uint64_t address, string;
    enum boot_status s;
    for (uint32_t i = 0; i < rq->module_count; i++) {
        const struct boot_file *m = &rq->modules[i];
        uint64_t room = m->size ? m->size : 1; /* an empty module still has an address */
        if ((s = loader_find(l, "a module", room, 4096, l->top, UINT64_C(1) << 32, false, &address)) !=
                BOOT_OK ||
            (s = loader_place(l, "a module", address, m->data, m->size, room)) != BOOT_OK ||
            (s = put_string(l, "a module command line", m->args ? m->args : m->name, NULL, &string)) !=
                BOOT_OK)
            return s;
        le32_put(list + i * 16, (uint32_t)address);
        le32_put(list + i * 16 + 4, (uint32_t)(address + m->size));
        le32_put(list + i * 16 + 8, (uint32_t)string);
    }
    if ((s = loader_info(l, "the module list", list, sizeof(list), 16, &address)) != BOOT_OK) return s;
    le32_put(mbi + 0x14, rq->module_count);
    le32_put(mbi + 0x18, (uint32_t)address);
    return BOOT_OK;
}

static enum boot_status put_memory_map(struct loader *l, uint8_t *mbi)
{
    const struct boot_memory *m = l->mem;
    uint8_t map[BOOT_MAP_MAX * 24] = {0};
    uint64_t address;
    for (uint32_t i = 0; i < m->map_count; i++) {
        uint8_t *e = map + i * 24;
        le32_put(e, 20);
        le64_put(e + 4, m->map[i].base);
        le64_put(e + 12, m->map[i].length);
        le32_put(e + 20, m->map[i].type);
        if (m->map[i].type != E820_RAM) continue;
        if (m->map[i].base == 0) le32_put(mbi + 4, (uint32_t)(m->map[i].length >> 10));
        if (m->map[i].base == 0x100000) le32_put(mbi + 8, (uint32_t)(m->map[i].length >> 10));
    }
    enum boot_status s = loader_info(l, "the memory map", map, m->map_count * 24u, 4, &address);
    le32_put(mbi + 0x2c, m->map_count * 24);
    le32_put(mbi + 0x30, (uint32_t)address);
    return s;
}

enum boot_status load_multiboot(struct loader *l, struct boot_entry *e)
{
    const struct boot_request *rq = l->rq;
    uint8_t mbi[MBI_SIZE] = {0};
    uint64_t address;
    enum boot_status s;
    int64_t at = multiboot_find(&rq->kernel);
    if (at < 0)
        return loader_fail(l, BOOT_BAD_IMAGE, "%s: no Multiboot header in the first 8 KiB", rq->kernel.name);
    if (le32_get(rq->kernel.data + at + 4) & 0xfff8)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: Multiboot flags 0x%x at offset 0x%" PRIx64 " require unknown features",
                           rq->kernel.name, (unsigned)le32_get(rq->kernel.data + at + 4), (uint64_t)at + 4);
    if ((s = load_image(l, (uint64_t)at, e)) != BOOT_OK) return s;
    if ((s = put_string(l, "the command line", rq->kernel.name, rq->cmdline, &address)) != BOOT_OK) return s;
    le32_put(mbi + 0x10, (uint32_t)address);
    if ((s = put_string(l, "the loader name", "undervisor", NULL, &address)) != BOOT_OK) return s;
    le32_put(mbi + 0x40, (uint32_t)address);
    if ((s = put_modules(l, mbi)) != BOOT_OK || (s = put_memory_map(l, mbi)) != BOOT_OK) return s;
    le32_put(mbi, MBI_FLAGS);
    le32_put(mbi + 0xc, 0x8000ffff); /* first disk, no partition */
    if ((s = loader_info(l, "the Multiboot information", mbi, sizeof(mbi), 16, &address)) != BOOT_OK)
        return s;
    e->mode = BOOT_MODE_PROT32;
    e->eax = MB_LOADER_MAGIC;
    e->ebx = (uint32_t)address;
    return loader_gdt(l, false, &e->gdt_base);
}
