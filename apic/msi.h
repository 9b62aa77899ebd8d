/* SPDX-License-Identifier: MIT */
/* Message signalled interrupts in compatibility format: a write of `data` to FEExxxxxh.
 * SDM 3A 11.11.1, 11.11.2. */
#ifndef UV_APIC_MSI_H
#define UV_APIC_MSI_H

#include "apic/message.h"

static inline bool msi_address_valid(uint64_t address)
{
    return (address >> 20) == 0xfee && (address & 0x10) == 0; /* bit 4: remappable format */
}

/* False: nothing to send (a level message that de-asserts). */
static inline bool msi_decode(uint64_t address, uint32_t data, struct apic_message *msg)
{
    bool hint = (address >> 3 & 1) != 0;
    *msg = (struct apic_message){.dest = (uint32_t)(address >> 12 & 0xff),
                                 .vector = (uint8_t)data,
                                 .delivery = (uint8_t)(data >> 8 & 7),
                                 .logical = hint && (address >> 2 & 1) != 0,
                                 .level = (data >> 15 & 1) != 0};
    return !msg->level || (data >> 14 & 1) != 0;
}

#endif
