/* SPDX-License-Identifier: MIT */
/* Items of the firmware configuration device that describe what is booted. */
#ifndef UV_MACHINE_BOOT_FW_CFG_ITEMS_H
#define UV_MACHINE_BOOT_FW_CFG_ITEMS_H

#include "machine/boot/boot.h"
#include "machine/devices/fw_cfg.h"

/* Memory map ("etc/e820"), command line and sizes of kernel and initrd. False: no room. */
bool boot_fw_cfg_items(struct fw_cfg *f, const struct boot_memory *mem, const struct boot_request *rq);

#endif
