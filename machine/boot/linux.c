/* SPDX-License-Identifier: MIT */
/* Linux/x86 boot protocol: bzImage with the 64-bit entry (xloadflags bit 0) or the 32-bit one, zero
 * page, e820 map, command line, initrd, RSDP address. Linux Documentation/arch/x86/boot.rst and
 * zero-page.rst. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "machine/boot/le.h"
#include "machine/boot/loader.h"

enum {
    HDR_SETUP_SECTS = 0x1f1,
    HDR_BOOT_FLAG = 0x1fe,
    HDR_JUMP = 0x200,
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_TYPE_OF_LOADER = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_CODE32_START = 0x214,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_HEAP_END_PTR = 0x224,
    HDR_CMD_LINE_PTR = 0x228,
    HDR_INITRD_ADDR_MAX = 0x22c,
    HDR_KERNEL_ALIGNMENT = 0x230,
    HDR_RELOCATABLE = 0x234,
    HDR_XLOADFLAGS = 0x236,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_PREF_ADDRESS = 0x258,
    HDR_INIT_SIZE = 0x260,
    ZP_RSDP = 0x070,
    ZP_EXT_RAMDISK_IMAGE = 0x0c0,
    ZP_E820_COUNT = 0x1e8,
    ZP_E820 = 0x2d0,
    ZP_SIZE = 0x1000,
    LOADED_HIGH = 1,
    CAN_USE_HEAP = 0x80,
    XLF_KERNEL_64 = 1,
    ENTRY64_OFFSET = 0x200
};

bool linux_is(const struct boot_file *f)
{
    return f->size >= 0x290 && le16_get(f->data + HDR_BOOT_FLAG) == 0xaa55 &&
           memcmp(f->data + HDR_MAGIC, "HdrS", 4) == 0;
}

/* Several initrd files are handed over as one, each padded to 4 bytes: cpio archives concatenate. */
static enum boot_status put_initrd(struct loader *l, uint64_t max, uint64_t *address, uint64_t *size)
{
    const struct boot_request *rq = l->rq;
    enum boot_status s;
    *address = *size = 0;
    for (uint32_t i = 0; i < rq->module_count; i++) {
        uint64_t padded = (rq->modules[i].size + 3) & ~UINT64_C(3);
        if (padded < rq->modules[i].size || *size + padded < *size)
            return loader_fail(l, BOOT_NO_SPACE, "%s: absurd initrd size", rq->modules[i].name);
        *size += padded;
    }
    if (*size == 0) return BOOT_OK;
    if ((s = loader_find(l, "the initrd", *size, 4096, l->top > 0x100000 ? l->top : 0x100000, max, true,
                         address)) != BOOT_OK)
        return s;
    uint64_t at = *address;
    for (uint32_t i = 0; i < rq->module_count; i++) {
        const struct boot_file *m = &rq->modules[i];
        uint64_t padded = (m->size + 3) & ~UINT64_C(3);
        uint64_t top = l->top;
        if ((s = loader_place(l, "the initrd", at, m->data, m->size, padded)) != BOOT_OK) return s;
        l->top = top;
        at += padded;
    }
    if (rq->module_count == 1) *size = rq->modules[0].size;
    return BOOT_OK;
}

enum boot_status linux_boot_params(struct loader *l, uint8_t *zp, uint64_t initrd_max, uint64_t cmdline_max,
                                   uint64_t *address)
{
    const struct boot_request *rq = l->rq;
    const char *cmdline = rq->cmdline ? rq->cmdline : "";
    uint64_t n = strlen(cmdline), text, initrd, initrd_size;
    enum boot_status s;
    if (n > cmdline_max)
        return loader_fail(l, BOOT_BAD_REQUEST,
                           "the command line has %" PRIu64 " bytes, %s takes at most %" PRIu64, n,
                           rq->kernel.name, cmdline_max);
    if ((s = loader_info(l, "the command line", cmdline, n + 1, 16, &text)) != BOOT_OK) return s;
    if ((s = put_initrd(l, initrd_max, &initrd, &initrd_size)) != BOOT_OK) return s;
    zp[HDR_TYPE_OF_LOADER] = 0xff;
    le32_put(zp + HDR_CMD_LINE_PTR, (uint32_t)text);
    le32_put(zp + HDR_RAMDISK_IMAGE, (uint32_t)initrd);
    le32_put(zp + HDR_RAMDISK_SIZE, (uint32_t)initrd_size);
    le64_put(zp + ZP_RSDP, rq->rsdp);
    /* screen_info stays zero: no text screen, kernels then use the serial console they are told. */
    zp[ZP_E820_COUNT] = (uint8_t)l->mem->map_count;
    for (uint32_t i = 0; i < l->mem->map_count; i++) {
        uint8_t *e = zp + ZP_E820 + i * 20;
        le64_put(e, l->mem->map[i].base);
        le64_put(e + 8, l->mem->map[i].length);
        le32_put(e + 16, l->mem->map[i].type);
    }
    return loader_info(l, "the Linux zero page", zp, ZP_SIZE, 4096, address);
}

/* Where the protected-mode kernel goes: its preferred address when it can be relocated and that is RAM,
 * else the next aligned place; fixed kernels go to their address or 1 MiB. */
static enum boot_status choose_address(struct loader *l, uint32_t version, uint64_t span, uint64_t *address)
{
    const struct boot_file *f = &l->rq->kernel;
    const uint8_t *d = f->data;
    *address = 0x100000;
    if (version < 0x205 || !d[HDR_RELOCATABLE]) {
        if (version >= 0x20a && le64_get(d + HDR_PREF_ADDRESS) != 0)
            *address = le64_get(d + HDR_PREF_ADDRESS);
        return BOOT_OK;
    }
    uint64_t align = le32_get(d + HDR_KERNEL_ALIGNMENT);
    if (align == 0 || (align & (align - 1)) != 0)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: kernel_alignment 0x%" PRIx64 " at offset 0x230, expected a power of two",
                           f->name, align);
    if (align < 4096) align = 4096;
    uint64_t preferred = version >= 0x20a ? le64_get(d + HDR_PREF_ADDRESS) : 0x100000;
    enum boot_status s;
    if ((s = loader_find(l, "the kernel", span, align, preferred, UINT64_C(1) << 32, false, address)) !=
        BOOT_OK)
        s = loader_find(l, "the kernel", span, align, 0x100000, UINT64_C(1) << 32, false, address);
    return s;
}

enum boot_status load_linux(struct loader *l, struct boot_entry *e)
{
    const struct boot_file *f = &l->rq->kernel;
    const uint8_t *d = f->data;
    uint8_t zp[ZP_SIZE] = {0};
    if (!linux_is(f))
        return loader_fail(l, BOOT_BAD_IMAGE, "%s: no Linux setup header at offset 0x1f1", f->name);
    uint32_t version = le16_get(d + HDR_VERSION);
    if (version < 0x204)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: Linux boot protocol %u.%02u at offset 0x206, expected 2.04 or later", f->name,
                           version >> 8, version & 0xff);
    if (!(d[HDR_LOADFLAGS] & LOADED_HIGH))
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: a zImage (loadflags bit 0 clear at offset 0x211), expected a bzImage",
                           f->name);
    uint64_t setup = ((uint64_t)(d[HDR_SETUP_SECTS] ? d[HDR_SETUP_SECTS] : 4) + 1) * 512;
    if (setup >= f->size)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: setup_sects %u at offset 0x1f1 leaves no kernel in a file of 0x%" PRIx64
                           " bytes",
                           f->name, d[HDR_SETUP_SECTS], f->size);
    uint64_t payload = f->size - setup, span = payload, address;
    if (version >= 0x20a && le32_get(d + HDR_INIT_SIZE) > span) span = le32_get(d + HDR_INIT_SIZE);
    bool entry64 = version >= 0x20c && (le16_get(d + HDR_XLOADFLAGS) & XLF_KERNEL_64);
    if (entry64 && payload <= ENTRY64_OFFSET)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: no code at the 64-bit entry (kernel of 0x%" PRIx64 " bytes)", f->name,
                           payload);
    enum boot_status s = choose_address(l, version, span, &address);
    if (s != BOOT_OK) return s;
    if ((s = loader_place(l, "the kernel", address, d + setup, payload, span)) != BOOT_OK) return s;

    /* The header ends at 202h + the displacement of the jump at 200h. */
    uint64_t header_end = HDR_MAGIC + (uint64_t)d[HDR_JUMP + 1];
    if (header_end > 0x290) header_end = 0x290;
    if (header_end < HDR_CMDLINE_SIZE) header_end = HDR_CMDLINE_SIZE;
    memcpy(zp + HDR_SETUP_SECTS, d + HDR_SETUP_SECTS, header_end - HDR_SETUP_SECTS);
    zp[HDR_LOADFLAGS] |= CAN_USE_HEAP;
    le16_put(zp + HDR_HEAP_END_PTR, 0xfe00);
    le32_put(zp + HDR_CODE32_START, (uint32_t)address);
    uint64_t initrd_max = (uint64_t)le32_get(d + HDR_INITRD_ADDR_MAX) + 1;
    uint64_t cmdline_max = version >= 0x206 ? le32_get(d + HDR_CMDLINE_SIZE) : 255;
    if (cmdline_max == 0) cmdline_max = 255;
    if (cmdline_max > 65535) cmdline_max = 65535;
    if ((s = loader_gdt(l, entry64, &e->gdt_base)) != BOOT_OK) return s;
    if (entry64 && (s = loader_identity_map(l, &e->cr3)) != BOOT_OK) return s;
    if ((s = linux_boot_params(l, zp, initrd_max, cmdline_max, &e->rsi)) != BOOT_OK) return s;
    e->mode = entry64 ? BOOT_MODE_LONG64 : BOOT_MODE_PROT32;
    e->rip = address + (entry64 ? ENTRY64_OFFSET : 0);
    e->rsp = e->rsi; /* any mapped address: the kernel sets its own before it pushes */
    return BOOT_OK;
}
