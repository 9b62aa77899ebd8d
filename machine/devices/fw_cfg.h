/* SPDX-License-Identifier: MIT */
/* Firmware configuration device: numbered items and named files that firmware and small kernels read
 * through ports 510h/511h or by the DMA interface at 514h. */
#ifndef UV_MACHINE_FW_CFG_H
#define UV_MACHINE_FW_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/visit.h"

struct machine;

enum { FW_CFG_MAX_ITEMS = 96, FW_CFG_FILE_FIRST = 0x20, FW_CFG_MAX_FILES = 64, FW_CFG_NAME = 56 };

enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_KERNEL_CMDLINE = 0x09,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_DEVICE = 0x0c,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_FILE_DIR = 0x19
};

struct fw_cfg_item {
    uint16_t key;
    uint8_t *data;
    uint32_t size;
    char name[FW_CFG_NAME];
};

struct fw_cfg_state {
    uint32_t offset;
    uint16_t selected;
    uint64_t dma_address;
};

struct fw_cfg {
    struct fw_cfg_state s;
    struct machine *machine;
    uint32_t items, files;
    struct fw_cfg_item item[FW_CFG_MAX_ITEMS];
};

/* Adds or replaces an item; the bytes are copied. False: no room or no memory. machine_create() has
 * already added signature, id, RAM size and CPU counts. */
bool fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, uint32_t size);
bool fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t value);
bool fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t value);
bool fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t value);
/* Adds a named file under the next free key from 20h. */
bool fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, uint32_t size);

bool fw_cfg_init(struct fw_cfg *f, struct machine *m);
void fw_cfg_free(struct fw_cfg *f);
void fw_cfg_reset(struct fw_cfg *f);
void fw_cfg_visit(struct fw_cfg *f, struct visitor *v);

#endif
