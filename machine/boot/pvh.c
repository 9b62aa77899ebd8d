/* SPDX-License-Identifier: MIT */
/* PVH: 32-bit entry named by a Xen ELF note, EBX at an hvm_start_info (version 1) with modules, memory
 * map, command line and RSDP. Xen public interface arch-x86/hvm/start_info.h; Linux Documentation on
 * PVH boot. */
#include <inttypes.h>
#include <string.h>

#include "machine/boot/le.h"
#include "machine/boot/loader.h"

enum { START_INFO_SIZE = 56, START_INFO_MAGIC = 0x336ec578, MODULE_SIZE = 32, MEMMAP_SIZE = 24 };

static enum boot_status put_text(struct loader *l, const char *what, const char *text, uint64_t *address)
{
    *address = 0;
    return text && *text ? loader_info(l, what, text, strlen(text) + 1, 8, address) : BOOT_OK;
}

enum boot_status load_pvh(struct loader *l, struct boot_entry *e)
{
    const struct boot_request *rq = l->rq;
    uint8_t info[START_INFO_SIZE] = {0}, list[BOOT_MODULES_MAX * MODULE_SIZE] = {0};
    uint8_t map[BOOT_MAP_MAX * MEMMAP_SIZE] = {0};
    struct elf_image img;
    uint64_t address, text;
    enum boot_status s = elf_parse(l, &rq->kernel, &img);
    if (s != BOOT_OK) return s;
    if (!img.has_pvh)
        return loader_fail(l, BOOT_BAD_IMAGE, "%s: no Xen PHYS32_ENTRY note, so not a PVH kernel",
                           rq->kernel.name);
    if (img.pvh_entry > UINT32_MAX)
        return loader_fail(l, BOOT_BAD_IMAGE, "%s: PVH entry 0x%" PRIx64 " is above 4 GiB", rq->kernel.name,
                           img.pvh_entry);
    if ((s = elf_place(l, &rq->kernel, &img)) != BOOT_OK) return s;
    for (uint32_t i = 0; i < rq->module_count; i++) {
        const struct boot_file *m = &rq->modules[i];
        uint64_t room = m->size ? m->size : 1;
        if ((s = loader_find(l, "a module", room, 4096, 0x100000, UINT64_C(1) << 32, true, &address)) !=
                BOOT_OK ||
            (s = loader_place(l, "a module", address, m->data, m->size, room)) != BOOT_OK ||
            (s = put_text(l, "a module command line", m->args, &text)) != BOOT_OK)
            return s;
        le64_put(list + i * MODULE_SIZE, address);
        le64_put(list + i * MODULE_SIZE + 8, m->size);
        le64_put(list + i * MODULE_SIZE + 16, text);
    }
    if (rq->module_count) {
        if ((s = loader_info(l, "the module list", list, (uint64_t)rq->module_count * MODULE_SIZE, 8,
                             &address)) != BOOT_OK)
            return s;
        le32_put(info + 0x0c, rq->module_count);
        le64_put(info + 0x10, address);
    }
    for (uint32_t i = 0; i < l->mem->map_count; i++) {
        le64_put(map + i * MEMMAP_SIZE, l->mem->map[i].base);
        le64_put(map + i * MEMMAP_SIZE + 8, l->mem->map[i].length);
        le32_put(map + i * MEMMAP_SIZE + 16, l->mem->map[i].type);
    }
    if ((s = loader_info(l, "the memory map", map, (uint64_t)l->mem->map_count * MEMMAP_SIZE, 8, &address)) !=
        BOOT_OK)
        return s;
    le64_put(info + 0x28, address);
    le32_put(info + 0x30, l->mem->map_count);
    if ((s = put_text(l, "the command line", rq->cmdline, &text)) != BOOT_OK) return s;
    le64_put(info + 0x18, text);
    le32_put(info, START_INFO_MAGIC);
    le32_put(info + 4, 1);
    le64_put(info + 0x20, rq->rsdp);
    if ((s = loader_info(l, "the PVH start information", info, sizeof(info), 8, &address)) != BOOT_OK)
        return s;
    e->mode = BOOT_MODE_PROT32;
    e->rip = img.pvh_entry;
    e->ebx = (uint32_t)address;
    return loader_gdt(l, false, &e->gdt_base);
}
