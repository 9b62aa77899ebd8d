/* SPDX-License-Identifier: MIT */
/* Port handlers of the firmware configuration device: 510h-511h and 514h-51Bh. */
#ifndef UV_MACHINE_FW_CFG_PORTS_H
#define UV_MACHINE_FW_CFG_PORTS_H

#include <stdint.h>

uint32_t fw_cfg_port_read(void *opaque, uint16_t port, uint32_t size);
void fw_cfg_port_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
uint32_t fw_cfg_dma_read(void *opaque, uint16_t port, uint32_t size);
void fw_cfg_dma_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);

#endif
