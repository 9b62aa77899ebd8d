/* SPDX-License-Identifier: MIT */
/* ELF32 and ELF64 images for x86: program headers with physical load addresses, and the Xen note that
 * marks a PVH kernel. System V gABI ch. 4 and 5; Xen ELF notes (PHYS32_ENTRY, type 18). */
#include <inttypes.h>
#include <string.h>

#include "machine/boot/le.h"
#include "machine/boot/loader.h"

enum { PT_LOAD = 1, PT_NOTE = 4, ET_EXEC = 2, ET_DYN = 3, EM_386 = 3, EM_X86_64 = 62, XEN_PHYS32_ENTRY = 18 };

bool elf_is(const struct boot_file *f) { return f->size >= 52 && memcmp(f->data, "\177ELF", 4) == 0; }

static uint64_t word(const struct elf_image *img, const uint8_t *p)
{
    return img->is64 ? le64_get(p) : le32_get(p);
}

static bool inside(const struct boot_file *f, uint64_t offset, uint64_t size)
{
    return offset <= f->size && size <= f->size - offset;
}

/* Notes: namesz, descsz, type, then name and descriptor, each padded to 4 bytes. */
static void read_notes(const struct boot_file *f, uint64_t offset, uint64_t size, struct elf_image *img)
{
    uint64_t at = offset, end = offset + size;
    while (end - at >= 12) {
        uint64_t namesz = le32_get(f->data + at), descsz = le32_get(f->data + at + 4);
        uint32_t type = le32_get(f->data + at + 8);
        uint64_t name = at + 12, desc = name + ((namesz + 3) & ~UINT64_C(3));
        uint64_t next = desc + ((descsz + 3) & ~UINT64_C(3));
        if (desc > end || descsz > end - desc) return;
        if (type == XEN_PHYS32_ENTRY && namesz == 4 && memcmp(f->data + name, "Xen", 4) == 0 &&
            (descsz == 4 || descsz == 8)) {
            img->has_pvh = true;
            img->pvh_entry = descsz == 8 ? le64_get(f->data + desc) : le32_get(f->data + desc);
        }
        if (next > end) return;
        at = next;
    }
}

/* Entry points of kernels linked to a virtual address are translated by the segment that holds them. */
static void translate_entry(struct elf_image *img)
{
    for (uint32_t i = 0; i < img->count; i++)
        if (img->entry >= img->seg[i].paddr && img->entry - img->seg[i].paddr < img->seg[i].memsz) return;
    for (uint32_t i = 0; i < img->count; i++) {
        const struct elf_segment *s = &img->seg[i];
        if (img->entry >= s->vaddr && img->entry - s->vaddr < s->memsz) {
            img->entry = img->entry - s->vaddr + s->paddr;
            return;
        }
    }
}

enum boot_status elf_parse(struct loader *l, const struct boot_file *f, struct elf_image *img)
{
    const uint8_t *d = f->data;
    memset(img, 0, sizeof(*img));
    if (!elf_is(f)) return loader_fail(l, BOOT_BAD_IMAGE, "%s: no ELF header", f->name);
    if (d[4] != 1 && d[4] != 2)
        return loader_fail(l, BOOT_BAD_IMAGE, "%s: ELF class %u at offset 4, expected 1 or 2", f->name, d[4]);
    img->is64 = d[4] == 2;
    if (d[5] != 1)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: ELF data encoding %u at offset 5, expected 1 (little-endian)", f->name, d[5]);
    if (img->is64 && f->size < 64) return loader_fail(l, BOOT_BAD_IMAGE, "%s: ELF header cut short", f->name);
    uint16_t type = le16_get(d + 16), machine = le16_get(d + 18);
    if (machine != EM_386 && machine != EM_X86_64)
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: ELF machine %u at offset 18, expected 3 (i386) or 62 (x86-64)", f->name,
                           machine);
    if (type != ET_EXEC && type != ET_DYN)
        return loader_fail(l, BOOT_BAD_IMAGE, "%s: ELF type %u at offset 16, expected 2 (executable)",
                           f->name, type);
    img->x86_64 = machine == EM_X86_64;
    img->entry = word(img, d + 24);
    uint64_t phoff = word(img, d + (img->is64 ? 32 : 28));
    uint64_t phentsize = le16_get(d + (img->is64 ? 54 : 42)), phnum = le16_get(d + (img->is64 ? 56 : 44));
    if (phnum == 0) return loader_fail(l, BOOT_BAD_IMAGE, "%s: ELF file without program headers", f->name);
    if (phentsize < (img->is64 ? 56u : 32u) || !inside(f, phoff, phnum * phentsize))
        return loader_fail(l, BOOT_BAD_IMAGE,
                           "%s: %" PRIu64 " ELF program headers of %" PRIu64 " bytes at offset 0x%" PRIx64
                           " are not inside the file (0x%" PRIx64 " bytes)",
                           f->name, phnum, phentsize, phoff, f->size);
    for (uint64_t i = 0; i < phnum; i++) {
        const uint8_t *p = d + phoff + i * phentsize;
        uint32_t kind = le32_get(p);
        struct elf_segment s;
        if (img->is64)
            s = (struct elf_segment){le64_get(p + 8), le64_get(p + 16), le64_get(p + 24), le64_get(p + 32),
                                     le64_get(p + 40)};
        else
            s = (struct elf_segment){le32_get(p + 4), le32_get(p + 8), le32_get(p + 12), le32_get(p + 16),
                                     le32_get(p + 20)};
        if (kind != PT_LOAD && kind != PT_NOTE) continue;
        if (!inside(f, s.offset, s.filesz))
            return loader_fail(l, BOOT_BAD_IMAGE,
                               "%s: ELF segment %" PRIu64 " (offset 0x%" PRIx64 ", 0x%" PRIx64
                               " bytes) is not inside the file (0x%" PRIx64 " bytes)",
                               f->name, i, s.offset, s.filesz, f->size);
        if (kind == PT_NOTE) {
            read_notes(f, s.offset, s.filesz, img);
            continue;
        }
        if (s.filesz > s.memsz || s.paddr + s.memsz < s.paddr)
            return loader_fail(l, BOOT_BAD_IMAGE,
                               "%s: ELF segment %" PRIu64 " has file size 0x%" PRIx64
                               ", memory size 0x%" PRIx64 " at 0x%" PRIx64,
                               f->name, i, s.filesz, s.memsz, s.paddr);
        if (s.memsz == 0) continue;
        if (img->count == ELF_SEGMENTS_MAX)
            return loader_fail(l, BOOT_BAD_IMAGE, "%s: more than %d ELF segments to load", f->name,
                               ELF_SEGMENTS_MAX);
        img->seg[img->count++] = s;
    }
    if (img->count == 0) return loader_fail(l, BOOT_BAD_IMAGE, "%s: no ELF segment to load", f->name);
    translate_entry(img);
    return BOOT_OK;
}

enum boot_status elf_place(struct loader *l, const struct boot_file *f, const struct elf_image *img)
{
    for (uint32_t i = 0; i < img->count; i++) {
        const struct elf_segment *s = &img->seg[i];
        enum boot_status st =
            loader_place(l, "an ELF segment", s->paddr, f->data + s->offset, s->filesz, s->memsz);
        if (st != BOOT_OK) return st;
    }
    return BOOT_OK;
}

bool elf_has_pvh(const struct boot_file *f)
{
    struct boot_error ignored;
    struct boot_request rq = {.kernel = *f};
    struct loader l = {.rq = &rq, .error = &ignored};
    struct elf_image img;
    return elf_is(f) && elf_parse(&l, f, &img) == BOOT_OK && img.has_pvh;
}

/* A plain ELF executable: 32-bit ones start in flat protected mode, 64-bit ones in long mode with RSI
 * at a Linux zero page, which is what an uncompressed kernel expects. */
enum boot_status load_elf(struct loader *l, struct boot_entry *e)
{
    const struct boot_file *f = &l->rq->kernel;
    struct elf_image img;
    uint8_t header[4096] = {0};
    enum boot_status s = elf_parse(l, f, &img);
    if (s != BOOT_OK || (s = elf_place(l, f, &img)) != BOOT_OK) return s;
    e->mode = img.x86_64 ? BOOT_MODE_LONG64 : BOOT_MODE_PROT32;
    e->rip = img.entry;
    if (!img.x86_64 && e->rip > UINT32_MAX)
        return loader_fail(l, BOOT_BAD_IMAGE, "%s: entry 0x%" PRIx64 " of an i386 image", f->name, e->rip);
    if ((s = loader_gdt(l, img.x86_64, &e->gdt_base)) != BOOT_OK) return s;
    if (img.x86_64 && (s = loader_identity_map(l, &e->cr3)) != BOOT_OK) return s;
    return linux_boot_params(l, header, UINT64_C(0x7fffffff), 2047, &e->rsi);
}
