/* SPDX-License-Identifier: MIT */
/* The processor state in which a boot protocol starts the kernel, set directly on the bootstrap
 * processor after RESET. Multiboot 0.6.96 3.2; PVH; Linux boot.rst "32-bit" and "64-bit boot protocol". */
#include "cpu/cpu.h"
#include "machine/boot/boot.h"

enum { SEL_CODE = 0x10, SEL_DATA = 0x18, SEL_TSS = 0x20, GDT_LIMIT = 0x2f };

static struct seg_reg flat(uint16_t selector, uint32_t type, uint32_t size_bits)
{
    return (struct seg_reg){
        .limit = UINT32_MAX, .ar = AR_P | AR_S | AR_G | size_bits | type, .selector = selector};
}

static void enter_real(struct cpu *c, const struct boot_entry *e)
{
    uint32_t segment = (uint32_t)(e->rip >> 4) & 0xf000;
    struct seg_reg cs = c->s.seg[SEG_CS];
    cs.base = (uint64_t)segment << 4;
    cs.selector = (uint16_t)segment;
    cpu_load_segment(c, SEG_CS, &cs);
    *rip_of(c) = e->rip & 0xffff;
}

void boot_enter(struct cpu *c, const struct boot_entry *e)
{
    c->s.gpr[RAX] = e->eax;
    c->s.gpr[RBX] = e->ebx;
    c->s.gpr[RSI] = e->rsi;
    c->s.gpr[RSP] = e->rsp;
    c->s.gpr[RCX] = c->s.gpr[RDX] = c->s.gpr[RDI] = c->s.gpr[RBP] = 0;
    if (e->mode == BOOT_MODE_REAL) {
        enter_real(c, e);
        cpu_mode_changed(c);
        return;
    }
    bool wide = e->mode == BOOT_MODE_LONG64;
    c->s.cr0 = CR0_PE | CR0_ET | (wide ? CR0_PG : 0);
    c->s.cr3 = wide ? e->cr3 : 0;
    c->s.cr4 = wide ? CR4_PAE : 0;
    c->s.efer = wide ? EFER_LME | EFER_LMA : 0;
    c->s.gdtr = (struct dt_reg){.base = e->gdt_base, .limit = GDT_LIMIT};
    c->s.cpl = 0;
    struct seg_reg code = flat(SEL_CODE, 0xb, wide ? AR_L : AR_DB), data = flat(SEL_DATA, 0x3, AR_DB);
    cpu_load_segment(c, SEG_CS, &code);
    static const enum seg_id data_segments[] = {SEG_DS, SEG_ES, SEG_SS, SEG_FS, SEG_GS};
    for (unsigned i = 0; i < sizeof(data_segments) / sizeof(data_segments[0]); i++)
        cpu_load_segment(c, data_segments[i], &data);
    struct seg_reg tr = {.base = e->gdt_base + 0x30, .limit = 0x67, .ar = AR_P | 0xb, .selector = SEL_TSS};
    cpu_load_segment(c, SEG_TR, &tr);
    *rip_of(c) = e->rip;
    cpu_mode_changed(c);
}
