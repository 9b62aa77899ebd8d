/* SPDX-License-Identifier: MIT */
/* The VMCB in memory: fields by the table, segment formats, and the part that VMLOAD and VMSAVE move.
 * APM 2 appendix B "Layout of VMCB", 15.5.2 "VMSAVE and VMLOAD Instructions", 15.15. */
#include "svm/svm.h"

#include "cpu/mem.h"

#define FIELD(name, offset, bytes, group) {#name, offset, bytes, CLEAN_##group},
const struct vmcb_field_info vmcb_fields[VMCB_FIELDS] = {
#include "svm/vmcb.def"
};
#undef FIELD

uint8_t *vmcb_open(struct cpu *c, uint64_t address, uint8_t buf[VMCB_SIZE], bool write)
{
    uint64_t at = address & c->bus->a20_mask;
    uint8_t *flags = at < c->bus->ram_top ? &c->bus->page_flags[at >> PAGE_SHIFT] : NULL;
    if (flags && !(at & (PAGE_SIZE - 1)) && (*flags & PAGE_RAM) &&
        !(write && (*flags & (PAGE_ROM | PAGE_CODE)))) {
        if (write) *flags |= PAGE_DIRTY;
        return c->bus->ram + at;
    }
    phys_read_bytes(c, address, buf, VMCB_SIZE);
    return buf;
}

void vmcb_close(struct cpu *c, uint64_t address, const uint8_t *page, const uint8_t buf[VMCB_SIZE])
{
    if (page == buf) phys_write_bytes(c, address, buf, VMCB_SIZE);
}

void vmcb_load(const uint8_t *page, uint64_t *f, uint32_t keep)
{
#define FIELD(name, offset, bytes, group) \
    if (!(keep >> CLEAN_##group & 1)) f[VMCB_##name] = vmcb_get(page + (offset), bytes);
#include "svm/vmcb.def"
#undef FIELD
}

/* Attributes are descriptor bits 55:52 and 47:40; the processor keeps them at bits 15:12 and 7:0. */
struct seg_reg vmcb_segment(uint16_t selector, uint16_t attrib, uint32_t limit, uint64_t base)
{
    struct seg_reg s = {.base = base, .limit = limit, .selector = selector};
    s.ar = (attrib & 0xffu) | (attrib & 0xf00u) << 4;
    if (!(attrib & ATTR_P)) s.ar |= AR_UNUSABLE;
    return s;
}

uint16_t vmcb_attrib(const struct seg_reg *s)
{
    uint32_t a = (s->ar & 0xff) | (s->ar >> 4 & 0xf00);
    return (uint16_t)(s->ar & AR_UNUSABLE ? a & ~(uint32_t)ATTR_P : a);
}

/* --- VMLOAD, VMSAVE --- */

static uint64_t canonical(const struct cpu *c, uint64_t v)
{
    unsigned shift = 64u - (c->s.cr4 & CR4_LA57 ? 57 : 48);
    return (uint64_t)((int64_t)(v << shift) >> shift);
}

static const struct {
    uint16_t offset;
    uint8_t seg;
} extra_segments[] = {{0x440, SEG_FS}, {0x450, SEG_GS}, {0x470, SEG_LDTR}, {0x490, SEG_TR}};

enum { OFF_EXTRA_MSR = 0x600 };

void vmcb_load_extra(struct cpu *c, uint64_t address)
{
    uint8_t buf[VMCB_SIZE];
    const uint8_t *page = vmcb_open(c, address, buf, false), *msr = page + OFF_EXTRA_MSR;
    for (unsigned i = 0; i < sizeof extra_segments / sizeof extra_segments[0]; i++) {
        const uint8_t *p = page + extra_segments[i].offset;
        struct seg_reg s = vmcb_segment((uint16_t)vmcb_get(p, 2), (uint16_t)vmcb_get(p + 2, 2),
                                        (uint32_t)vmcb_get(p + 4, 4), canonical(c, vmcb_get(p + 8, 8)));
        cpu_load_segment(c, (enum seg_id)extra_segments[i].seg, &s);
    }
    struct cpu_state *s = &c->s;
    s->star = vmcb_get(msr, 8);
    s->lstar = canonical(c, vmcb_get(msr + 8, 8));
    s->cstar = canonical(c, vmcb_get(msr + 16, 8));
    s->sf_mask = (uint32_t)vmcb_get(msr + 24, 8);
    s->kernel_gs_base = canonical(c, vmcb_get(msr + 32, 8));
    s->sysenter_cs = vmcb_get(msr + 40, 8);
    s->sysenter_esp = vmcb_get(msr + 48, 8);
    s->sysenter_eip = vmcb_get(msr + 56, 8);
    mem_update_window(c, SEG_FS);
    mem_update_window(c, SEG_GS);
}

void vmcb_save_extra(struct cpu *c, uint64_t address)
{
    uint8_t buf[VMCB_SIZE];
    uint8_t *page = vmcb_open(c, address, buf, true);
    const struct cpu_state *s = &c->s;
    for (unsigned i = 0; i < sizeof extra_segments / sizeof extra_segments[0]; i++) {
        const struct seg_reg *r = &s->seg[extra_segments[i].seg];
        uint8_t *p = page + extra_segments[i].offset;
        vmcb_put(p, 2, r->selector);
        vmcb_put(p + 2, 2, vmcb_attrib(r));
        vmcb_put(p + 4, 4, r->limit);
        vmcb_put(p + 8, 8, r->base);
    }
    const uint64_t values[] = {s->star,           s->lstar,       s->cstar,        s->sf_mask,
                               s->kernel_gs_base, s->sysenter_cs, s->sysenter_esp, s->sysenter_eip};
    for (unsigned i = 0; i < 8; i++)
        vmcb_put(page + OFF_EXTRA_MSR + 8 * i, 8, values[i]);
    vmcb_close(c, address, page, buf);
}
