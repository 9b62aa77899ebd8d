/* SPDX-License-Identifier: MIT */
/* Life of a logical processor: creation, RESET, INIT, and the derived state that may be dropped and rebuilt
 * at any moment. SDM 3A 10.1.1 (table 10-1), 10.1.4, 9.4; APM 2 14.1. */
#include "cpu/cpu.h"

#include <stdlib.h>

#include "cpu/control.h"
#include "cpu/cpuid.h"
#include "cpu/engine.h"
#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/monitor.h"
#include "cpu/msr.h"
#include "cpu/quirk.h"

static struct probe_bus no_probes;

struct cpu *cpu_create(int id, const struct cpu_model *model, const uint64_t *features, struct bus *bus,
                       struct probe_bus *probes)
{
    struct cpu *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->id = (uint8_t)id;
    c->apic_id = (uint32_t)id;
    c->model = model;
    memcpy(c->features, features, sizeof c->features);
    c->bus = bus;
    c->probes = probes != NULL ? probes : &no_probes;
    c->quirks = model->vendor == VENDOR_AMD ? QUIRKS_ALL : 0;
    c->phys_bits = model->phys_bits;
    c->lin_bits = has_feature(c, FEAT_LA57) ? 57 : 48;
    c->quirks = model->vendor == VENDOR_AMD ? QUIRKS_ALL : 0;
    c->virt = &virt_bare;
    c->apic_access_page = ~UINT64_C(0);
    c->second_stage_root = ~UINT64_C(0);
    c->tlb = tlb_create();
    if (c->tlb != NULL) c->tlb_l1 = tlb_table(c, MMU_SUPERVISOR, true);
    c->engine = c->tlb != NULL ? engine_create(c) : NULL;
    if (c->engine == NULL) {
        cpu_destroy(c);
        return NULL;
    }
    cpu_reset(c);
    return c;
}

bool cpu_attach_extension(struct cpu *c, const struct virt_ext *ext)
{
    size_t size = ext->state_size + ext->derived_size;
    void *state = calloc(1, size != 0 ? size : 1);
    if (state == NULL) return false;
    free(c->ext_state);
    c->ext = ext;
    c->ext_state = state;
    ext->reset(c);
    return true;
}

void cpu_destroy(struct cpu *c)
{
    if (c == NULL) return;
    if (c->engine != NULL) engine_destroy(c->engine);
    tlb_destroy(c->tlb);
    free(c->ext_state);
    free(c);
}

void cpu_mode_changed(struct cpu *c)
{
    mem_update_windows(c);
    engine_update_mode(c);
    mmu_update(c);
    cpu_update_attention(c);
}

void cpu_drop_derived(struct cpu *c)
{
    cpu_flush_flags(c);
    if (c->engine != NULL) engine_drop(c->engine);
    tlb_flush_all(c);
    monitor_restore(c);
    cpu_mode_changed(c);
}

/* What RESET and INIT have in common. */
static void reset_common(struct cpu *c)
{
    struct cpu_state *s = &c->s;
    cpu_flush_flags(c);
    memset(s->gpr, 0, sizeof s->gpr);
    s->gpr[RDX] = c->model->signature;
    s->gpr[REG_RIP] = 0xfff0;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->seg[i] = (struct seg_reg){.limit = 0xffff, .ar = AR_P | AR_S | 3};
    s->seg[SEG_CS].selector = 0xf000;
    s->seg[SEG_CS].base = 0xffff0000;
    s->seg[SEG_LDTR].ar = AR_P | 2;
    s->seg[SEG_TR].ar = AR_P | 11;
    s->gdtr = s->idtr = (struct dt_reg){.limit = 0xffff};
    s->cr2 = s->cr3 = s->cr4 = 0;
    s->efer = 0;
    memset(s->dr, 0, sizeof s->dr);
    memset(s->pdpte, 0, sizeof s->pdpte);
    s->dr6 = 0xffff0ff0;
    s->dr7 = 0x400;
    s->pending_dbg = 0;
    s->delivering.valid = 0;
    s->monitor = (struct monitor_state){0};
    s->cpl = 0;
    s->intr.sti_shadow = s->intr.movss_shadow = s->intr.nmi_blocked = 0;
    s->intr.gif = 1;
    bool bsp = (s->apic_base >> 8 & 1) != 0;
    s->activity = bsp ? ACTIVITY_ACTIVE : ACTIVITY_WAIT_SIPI;
    cpu_write_rflags(c, FL_FIXED);
    c->fault.kind = FAULT_NONE;
    c->shutdown = false;
}

void cpu_reset(struct cpu *c)
{
    struct cpu_state *s = &c->s;
    s->apic_base = 0xfee00800 | (c->id == 0 ? 0x100 : 0);
    s->cr0 = CR0_CD | CR0_NW | CR0_ET;
    memset(&s->intr, 0, sizeof s->intr);
    reset_common(c);
    s->random = UINT64_C(0x2545f4914f6cdd1d) + (uint64_t)(unsigned)c->id;
    s->insns = 0;
    s->xcr0 = 1;
    s->xss = s->pkrs = 0;
    s->pkru = 0;
    s->star = s->lstar = s->cstar = s->sf_mask = s->kernel_gs_base = 0;
    s->sysenter_cs = s->sysenter_esp = s->sysenter_eip = 0;
    s->tsc_base = 0 - cpu_now(c);
    s->tsc_adjust = s->tsc_aux = s->tsc_deadline = 0;
    s->debugctl = s->feature_control = 0;
    s->smbase = 0x30000;
    msr_reset(c);
    memset(&s->fpu, 0, sizeof s->fpu);
    s->fpu.cw = 0x40;
    s->fpu.tag = 0xff; /* 5555H in full form: all zero */
    s->fpu.mxcsr = 0x1f80;
    memset(s->vec, 0, sizeof s->vec);
    s->in_guest = 0;
    c->virt = &virt_bare;
    c->tlb_tag = 0;
    c->second_stage_root = c->apic_access_page = ~UINT64_C(0);
    memset(c->icpt_armed, 0, sizeof c->icpt_armed);
    memset(c->icpt_undefined, 0, sizeof c->icpt_undefined);
    if (c->ext != NULL && c->ext->reset != NULL) c->ext->reset(c);
    tlb_flush_all(c);
    cpu_mode_changed(c);
}

void cpu_init_reset(struct cpu *c)
{
    c->s.cr0 = (c->s.cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
    reset_common(c);
    tlb_flush_all(c);
    cpu_mode_changed(c);
}

uint64_t cpu_read_tsc(struct cpu *c) { return cpu_now(c) + c->s.tsc_base; }

uint64_t cpu_sample_tsc(struct cpu *c)
{
    uint64_t tsc = cpu_read_tsc(c);
    if (c->bus->tsc_sampled != NULL) c->bus->tsc_sampled(c->bus->opaque, c->id);
    return tsc;
}
