/* SPDX-License-Identifier: MIT */
/* Kernel format detection and the placement of images in guest memory. The order of detection is that
 * of the usual PC loaders: a Linux setup header first, then a Multiboot header, then the Xen note of a
 * PVH kernel, then plain ELF. */
#include "machine/boot/boot.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "machine/boot/le.h"
#include "machine/boot/loader.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

enum boot_status loader_fail(struct loader *l, enum boot_status status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(l->error->text, sizeof(l->error->text), format, ap);
    va_end(ap);
    return status;
}

static void map_add(struct boot_memory *m, uint64_t base, uint64_t end, uint32_t type)
{
    if (end > base && m->map_count < BOOT_MAP_MAX)
        m->map[m->map_count++] = (struct boot_range){base, end - base, type};
}

void boot_map_build(struct boot_memory *m, uint64_t below_4g, uint64_t above_4g)
{
    uint64_t low = below_4g < 640 * KIB ? below_4g : 640 * KIB;
    uint64_t ebda = low < 639 * KIB ? low : 639 * KIB;
    m->map_count = 0;
    map_add(m, 0, ebda, E820_RAM);
    map_add(m, ebda, low, E820_RESERVED);
    map_add(m, 0xe0000, 0x100000, E820_RESERVED); /* firmware tables */
    map_add(m, MIB, below_4g, E820_RAM);
    map_add(m, 0xfec00000, 0xfec01000, E820_RESERVED); /* I/O APIC */
    map_add(m, 0xfed00000, 0xfed00400, E820_RESERVED); /* HPET */
    map_add(m, 0xfee00000, 0xfee01000, E820_RESERVED); /* local APIC */
    map_add(m, 4 * GIB, 4 * GIB + above_4g, E820_RAM);
}

static bool range_is_ram(const struct boot_memory *m, uint64_t base, uint64_t end)
{
    for (uint32_t i = 0; i < m->map_count; i++) {
        const struct boot_range *r = &m->map[i];
        if (r->type == E820_RAM && base >= r->base && end <= r->base + r->length) return true;
    }
    return false;
}

static const struct boot_claim *claim_overlapping(const struct loader *l, uint64_t base, uint64_t end)
{
    for (uint32_t i = 0; i < l->claim_count; i++)
        if (base < l->claim[i].end && end > l->claim[i].base) return &l->claim[i];
    return NULL;
}

enum boot_status loader_place(struct loader *l, const char *what, uint64_t address, const uint8_t *data,
                              uint64_t filesz, uint64_t memsz)
{
    const char *name = l->rq->kernel.name;
    if (memsz == 0) return BOOT_OK;
    uint64_t end = address + memsz;
    if (end < address || filesz > memsz)
        return loader_fail(l, BOOT_BAD_IMAGE, "%s: %s at 0x%" PRIx64 " with 0x%" PRIx64 " bytes wraps around",
                           name, what, address, memsz);
    if (!range_is_ram(l->mem, address, end))
        return loader_fail(l, BOOT_NO_SPACE,
                           "%s: %s needs 0x%" PRIx64 "..0x%" PRIx64 ", which is not all RAM%s", name, what,
                           address, end - 1, address < MIB ? "" : "; give more memory (-m)");
    const struct boot_claim *other = claim_overlapping(l, address, end);
    if (other)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: %s at 0x%" PRIx64 "..0x%" PRIx64 " overlaps %s at 0x%" PRIx64 "..0x%" PRIx64,
                           name, what, address, end - 1, other->what, other->base, other->end - 1);
    if (l->claim_count == BOOT_CLAIMS_MAX)
        return loader_fail(l, BOOT_BAD_IMAGE, "%s: more than %d pieces", name, BOOT_CLAIMS_MAX);
    l->claim[l->claim_count++] = (struct boot_claim){address, end, what};
    if ((filesz != 0 && !l->mem->write(l->mem->opaque, address, data, filesz)) ||
        (memsz != filesz && !l->mem->write(l->mem->opaque, address + filesz, NULL, memsz - filesz)))
        return loader_fail(l, BOOT_NO_SPACE, "%s: %s at 0x%" PRIx64 " cannot be written", name, what,
                           address);
    if (end > l->top) l->top = end;
    return BOOT_OK;
}

static bool find_in_range(const struct loader *l, uint64_t base, uint64_t end, uint64_t size, uint64_t align,
                          bool highest, uint64_t *address)
{
    if (end < base || end - base < size) return false;
    if (highest) {
        uint64_t at = (end - size) & ~(align - 1);
        while (at >= base && at <= end - size) {
            const struct boot_claim *c = claim_overlapping(l, at, at + size);
            if (!c) {
                *address = at;
                return true;
            }
            if (c->base < size || c->base - size < base) return false;
            at = (c->base - size) & ~(align - 1);
        }
        return false;
    }
    uint64_t at = (base + align - 1) & ~(align - 1);
    while (at >= base && at <= end - size) {
        const struct boot_claim *c = claim_overlapping(l, at, at + size);
        if (!c) {
            *address = at;
            return true;
        }
        at = (c->end + align - 1) & ~(align - 1);
    }
    return false;
}

enum boot_status loader_find(struct loader *l, const char *what, uint64_t size, uint64_t align, uint64_t from,
                             uint64_t to, bool highest, uint64_t *address)
{
    const struct boot_memory *m = l->mem;
    for (uint32_t n = 0; n < m->map_count; n++) {
        const struct boot_range *r = &m->map[highest ? m->map_count - 1 - n : n];
        if (r->type != E820_RAM) continue;
        uint64_t base = r->base > from ? r->base : from;
        uint64_t end = r->base + r->length < to ? r->base + r->length : to;
        if (find_in_range(l, base, end, size, align, highest, address)) return BOOT_OK;
    }
    return loader_fail(l, BOOT_NO_SPACE,
                       "%s: no room for %s (0x%" PRIx64 " bytes) between 0x%" PRIx64 " and 0x%" PRIx64
                       "; give more memory (-m)",
                       l->rq->kernel.name, what, size, from, to - 1);
}

enum boot_status loader_info(struct loader *l, const char *what, const void *data, uint64_t size,
                             uint64_t align, uint64_t *address)
{
    uint64_t top = l->top;
    if (loader_find(l, what, size, align, BOOT_LOW_START, BOOT_LOW_END, false, address) != BOOT_OK) {
        enum boot_status s =
            loader_find(l, what, size, align, l->top > MIB ? l->top : MIB, 4 * GIB, false, address);
        if (s != BOOT_OK) return s;
    }
    enum boot_status s = loader_place(l, what, *address, data, size, size);
    if (*address < MIB) l->top = top;
    return s;
}

/* SDM 3A 3.4.5: flat descriptors; the TSS is 32-bit (64-bit in long mode), not used by any kernel that
 * follows the protocols but valid. */
enum boot_status loader_gdt(struct loader *l, bool long_mode, uint64_t *base)
{
    uint8_t gdt[0x30 + 0x68] = {0};
    enum boot_status s = loader_info(l, "the boot descriptor table", gdt, sizeof(gdt), 16, base);
    if (s != BOOT_OK) return s;
    uint64_t tss = *base + 0x30;
    le64_put(gdt + 0x10, long_mode ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff));
    le64_put(gdt + 0x18, UINT64_C(0x00cf93000000ffff));
    le64_put(gdt + 0x20, UINT64_C(0x00008b0000000067) | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56);
    return l->mem->write(l->mem->opaque, *base, gdt, sizeof(gdt))
               ? BOOT_OK
               : loader_fail(l, BOOT_NO_SPACE, "%s: the boot descriptor table cannot be written",
                             l->rq->kernel.name);
}

enum boot_status loader_identity_map(struct loader *l, uint64_t *cr3)
{
    static const uint64_t present_write = 3, large = 0x80;
    uint8_t page[6][4096];
    memset(page, 0, sizeof(page));
    enum boot_status s = loader_info(l, "the boot page tables", page, sizeof(page), 4096, cr3);
    if (s != BOOT_OK) return s;
    le64_put(page[0], (*cr3 + 0x1000) | present_write);
    for (uint64_t i = 0; i < 4; i++) {
        le64_put(page[1] + i * 8, (*cr3 + 0x2000 + i * 0x1000) | present_write);
        for (uint64_t j = 0; j < 512; j++)
            le64_put(page[2 + i] + j * 8, (i * GIB + j * 2 * MIB) | large | present_write);
    }
    return l->mem->write(l->mem->opaque, *cr3, page, sizeof(page))
               ? BOOT_OK
               : loader_fail(l, BOOT_NO_SPACE, "%s: the boot page tables cannot be written",
                             l->rq->kernel.name);
}

enum boot_protocol boot_detect(const struct boot_file *kernel)
{
    if (linux_is(kernel)) return BOOT_LINUX;
    if (multiboot_find(kernel) >= 0) return BOOT_MULTIBOOT;
    if (elf_has_pvh(kernel)) return BOOT_PVH;
    if (elf_is(kernel)) return BOOT_ELF;
    return BOOT_AUTO;
}

const char *boot_protocol_name(enum boot_protocol p)
{
    static const char *const names[] = {"auto", "linux", "multiboot", "pvh", "elf", "raw"};
    return (unsigned)p < sizeof(names) / sizeof(names[0]) ? names[p] : "?";
}

static enum boot_status load_raw(struct loader *l, struct boot_entry *e)
{
    const struct boot_request *rq = l->rq;
    enum boot_status s =
        loader_place(l, "the image", rq->raw_address, rq->kernel.data, rq->kernel.size, rq->kernel.size);
    if (s != BOOT_OK) return s;
    if (rq->raw_mode == BOOT_MODE_REAL && rq->raw_entry > 0xfffff)
        return loader_fail(l, BOOT_BAD_REQUEST, "%s: entry 0x%" PRIx64 " is above the first MiB of real mode",
                           rq->kernel.name, rq->raw_entry);
    if (rq->raw_mode == BOOT_MODE_PROT32 && rq->raw_entry > UINT32_MAX)
        return loader_fail(l, BOOT_BAD_REQUEST, "%s: entry 0x%" PRIx64 " is above 4 GiB", rq->kernel.name,
                           rq->raw_entry);
    e->mode = rq->raw_mode;
    e->rip = rq->raw_entry;
    e->rsp = 0x7c00;
    if (e->mode != BOOT_MODE_REAL &&
        (s = loader_gdt(l, e->mode == BOOT_MODE_LONG64, &e->gdt_base)) != BOOT_OK)
        return s;
    return e->mode == BOOT_MODE_LONG64 ? loader_identity_map(l, &e->cr3) : BOOT_OK;
}

enum boot_status boot_load_raw(const struct boot_file *file, uint64_t address, const struct boot_memory *m,
                               struct boot_error *error)
{
    struct boot_request rq = {.kernel = *file};
    struct loader l = {.rq = &rq, .mem = m, .error = error};
    return loader_place(&l, "the image", address, file->data, file->size, file->size);
}

enum boot_status boot_load(const struct boot_request *rq, const struct boot_memory *m,
                           struct boot_entry *entry, struct boot_error *error)
{
    struct loader l = {.rq = rq, .mem = m, .error = error};
    struct boot_entry e = {.protocol = rq->protocol};
    enum boot_status s;
    error->text[0] = 0;
    if (rq->module_count > BOOT_MODULES_MAX)
        return loader_fail(&l, BOOT_BAD_REQUEST, "%u modules, at most %d are possible", rq->module_count,
                           BOOT_MODULES_MAX);
    if (rq->kernel.size == 0 && e.protocol != BOOT_RAW)
        return loader_fail(&l, BOOT_BAD_IMAGE, "%s: the file is empty", rq->kernel.name);
    if (e.protocol == BOOT_AUTO) e.protocol = boot_detect(&rq->kernel);
    switch (e.protocol) {
    case BOOT_LINUX: s = load_linux(&l, &e); break;
    case BOOT_MULTIBOOT: s = load_multiboot(&l, &e); break;
    case BOOT_PVH: s = load_pvh(&l, &e); break;
    case BOOT_ELF: s = load_elf(&l, &e); break;
    case BOOT_RAW: s = load_raw(&l, &e); break;
    default:
        return loader_fail(
            &l, BOOT_BAD_IMAGE,
            "%s: not a kernel image: no Linux setup header, no Multiboot header in the first 8 KiB, "
            "no ELF header",
            rq->kernel.name);
    }
    if (s != BOOT_OK) return s;
    error->text[0] = 0; /* a first choice of place may have failed before the second one fitted */
    *entry = e;
    return BOOT_OK;
}
