/* SPDX-License-Identifier: MIT */
/* Firmware configuration: item table, selector and data ports, DMA interface, file directory. The
 * interface is the one that SeaBIOS, OVMF and kvm-unit-tests read. */
#include "machine/devices/fw_cfg.h"

#include <stdlib.h>
#include <string.h>

#include "machine/devices/fw_cfg_ports.h"
#include "machine/dma.h"

enum { ID_TRADITIONAL = 1, ID_DMA = 2 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

static struct fw_cfg_item *find(struct fw_cfg *f, uint16_t key)
{
    for (uint32_t i = 0; i < f->items; i++)
        if (f->item[i].key == key) return &f->item[i];
    return NULL;
}

bool fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, uint32_t size)
{
    struct fw_cfg_item *item = find(f, key);
    if (!item && f->items == FW_CFG_MAX_ITEMS) return false;
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) return false;
    if (size) memcpy(copy, data, size);
    if (item)
        free(item->data);
    else
        item = &f->item[f->items++];
    char name[FW_CFG_NAME];
    memcpy(name, item->name, sizeof name);
    *item = (struct fw_cfg_item){.key = key, .data = copy, .size = size};
    memcpy(item->name, name, sizeof name);
    return true;
}

static bool add_le(struct fw_cfg *f, uint16_t key, uint64_t value, uint32_t size)
{
    uint8_t b[8];
    for (uint32_t i = 0; i < size; i++)
        b[i] = (uint8_t)(value >> 8 * i);
    return fw_cfg_add(f, key, b, size);
}
bool fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t value) { return add_le(f, key, value, 2); }
bool fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t value) { return add_le(f, key, value, 4); }
bool fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t value) { return add_le(f, key, value, 8); }

static void put_be(uint8_t *p, uint32_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(value >> 8 * (n - 1 - i));
}

/* Directory: big-endian count, then size, key, reserved, name for each file. */
static bool rebuild_directory(struct fw_cfg *f)
{
    uint8_t *dir = calloc(1, 4 + FW_CFG_MAX_FILES * 64);
    if (!dir) return false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->items; i++) {
        const struct fw_cfg_item *item = &f->item[i];
        if (!item->name[0] || n == FW_CFG_MAX_FILES) continue;
        uint8_t *entry = dir + 4 + 64 * n++;
        put_be(entry, item->size, 4);
        put_be(entry + 4, item->key, 2);
        memcpy(entry + 8, item->name, FW_CFG_NAME);
    }
    put_be(dir, n, 4);
    bool ok = fw_cfg_add(f, FW_CFG_FILE_DIR, dir, 4 + 64 * n);
    free(dir);
    return ok;
}

bool fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, uint32_t size)
{
    size_t n = strlen(name);
    if (n == 0 || n >= FW_CFG_NAME) return false;
    for (uint32_t i = 0; i < f->items; i++)
        if (strcmp(f->item[i].name, name) == 0)
            return fw_cfg_add(f, f->item[i].key, data, size) && rebuild_directory(f);
    if (f->files == FW_CFG_MAX_FILES) return false;
    uint16_t key = (uint16_t)(FW_CFG_FILE_FIRST + f->files);
    if (!fw_cfg_add(f, key, data, size)) return false;
    f->files++;
    memcpy(find(f, key)->name, name, n + 1);
    return rebuild_directory(f);
}

bool fw_cfg_init(struct fw_cfg *f, struct machine *m)
{
    *f = (struct fw_cfg){.machine = m};
    return fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4) &&
           fw_cfg_add_u32(f, FW_CFG_ID, ID_TRADITIONAL | ID_DMA) && rebuild_directory(f);
}

void fw_cfg_free(struct fw_cfg *f)
{
    for (uint32_t i = 0; i < f->items; i++)
        free(f->item[i].data);
    f->items = 0;
}

void fw_cfg_reset(struct fw_cfg *f) { f->s = (struct fw_cfg_state){0}; }

static uint8_t next_byte(struct fw_cfg *f)
{
    const struct fw_cfg_item *item = find(f, f->s.selected & 0xbfff);
    if (!item || f->s.offset >= item->size) return 0;
    return item->data[f->s.offset++];
}

static void select_item(struct fw_cfg *f, uint16_t key)
{
    f->s.selected = key;
    f->s.offset = 0;
}

/* One transfer described by a 16-byte big-endian structure in guest memory. The length is the guest's
 * and may be 4 GiB: what lies beyond the item is zeros, written in pieces, and stops where RAM stops. */
static void dma_run(struct fw_cfg *f, uint64_t at)
{
    uint8_t d[16], piece[512];
    if (!dma_read_bytes(f->machine, at, d, sizeof d)) return;
    uint32_t control = (uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3];
    uint32_t length = (uint32_t)d[4] << 24 | (uint32_t)d[5] << 16 | (uint32_t)d[6] << 8 | d[7];
    uint64_t address = 0;
    for (unsigned i = 8; i < 16; i++)
        address = address << 8 | d[i];
    uint32_t result = 0;
    if (control & DMA_SELECT) select_item(f, (uint16_t)(control >> 16));
    const struct fw_cfg_item *item = find(f, f->s.selected & 0xbfff);
    uint32_t left = item && f->s.offset < item->size ? item->size - f->s.offset : 0;
    if (control & DMA_READ) {
        while (length && !result) {
            uint32_t n = length < sizeof piece ? length : (uint32_t)sizeof piece;
            uint32_t have = left < n ? left : n;
            if (have) memcpy(piece, item->data + f->s.offset, have);
            memset(piece + have, 0, n - have);
            if (!dma_write_bytes(f->machine, address, piece, n)) result = DMA_ERROR;
            f->s.offset += have;
            left -= have;
            address += n;
            length -= n;
        }
    } else if (control & DMA_WRITE) {
        result = DMA_ERROR; /* every item is read-only */
    } else if (control & DMA_SKIP) {
        f->s.offset += length < left ? length : left;
    }
    put_be(d, result, 4);
    dma_write_bytes(f->machine, at, d, 4);
}

uint32_t fw_cfg_port_read(void *opaque, uint16_t port, uint32_t size)
{
    struct fw_cfg *f = opaque;
    (void)size;
    return (port & 15) == 1 ? next_byte(f) : 0xff;
}

void fw_cfg_port_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    if ((port & 15) == 0 && size == 2) select_item(opaque, (uint16_t)value);
}

uint32_t fw_cfg_dma_read(void *opaque, uint16_t port, uint32_t size)
{
    static const uint8_t signature[8] = {'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};
    (void)opaque;
    uint32_t value = 0;
    for (uint32_t i = 0; i < size; i++)
        value |= (uint32_t)signature[(port - 4u + i) & 7] << 8 * i;
    return value;
}

void fw_cfg_dma_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct fw_cfg *f = opaque;
    if (size != 4) return;
    uint32_t big = __builtin_bswap32(value);
    if ((port & 15) == 4) {
        f->s.dma_address = (uint64_t)big << 32;
    } else if ((port & 15) == 8) {
        uint64_t at = f->s.dma_address | big;
        f->s.dma_address = 0;
        dma_run(f, at);
    }
}

void fw_cfg_visit(struct fw_cfg *f, struct visitor *v)
{
    visit_u32(v, &f->s.offset);
    visit_u16(v, &f->s.selected);
    visit_u64(v, &f->s.dma_address);
}
