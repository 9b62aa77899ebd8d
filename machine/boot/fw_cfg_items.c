/* SPDX-License-Identifier: MIT */
/* Firmware-configuration items of a direct boot. The board adds RAM size and processor counts itself;
 * here come the memory map and the words about kernel, initrd and command line. */
#include "machine/boot/fw_cfg_items.h"

#include <string.h>

#include "machine/boot/le.h"

enum { E820_ENTRY = 20 };

bool boot_fw_cfg_items(struct fw_cfg *f, const struct boot_memory *mem, const struct boot_request *rq)
{
    uint8_t map[BOOT_MAP_MAX * E820_ENTRY];
    const char *cmdline = rq->cmdline ? rq->cmdline : "";
    size_t n = strlen(cmdline) + 1;
    uint64_t initrd = 0;
    for (uint32_t i = 0; i < mem->map_count; i++) {
        le64_put(map + i * E820_ENTRY, mem->map[i].base);
        le64_put(map + i * E820_ENTRY + 8, mem->map[i].length);
        le32_put(map + i * E820_ENTRY + 16, mem->map[i].type);
    }
    for (uint32_t i = 0; i < rq->module_count; i++)
        initrd += rq->modules[i].size;
    return n <= UINT32_MAX && fw_cfg_add_u32(f, FW_CFG_KERNEL_SIZE, (uint32_t)rq->kernel.size) &&
           fw_cfg_add_u32(f, FW_CFG_INITRD_SIZE, (uint32_t)initrd) &&
           fw_cfg_add_u32(f, FW_CFG_CMDLINE_SIZE, (uint32_t)n) &&
           fw_cfg_add(f, FW_CFG_CMDLINE_DATA, cmdline, (uint32_t)n) &&
           fw_cfg_add_file(f, "etc/e820", map, mem->map_count * E820_ENTRY);
}
