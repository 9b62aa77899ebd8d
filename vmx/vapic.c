/* SPDX-License-Identifier: MIT */
/* The virtual-APIC page: TPR shadow, TPR virtualization and the TPR threshold. SDM 3C 30.1 - 30.3. */
#include "cpu/event.h"
#include "cpu/mem.h"
#include "vmx/vmx.h"

enum { VAPIC_TPR = 0x80 };

uint32_t vmx_vapic_read(struct cpu *c, uint32_t offset)
{
    return (uint32_t)phys_read(c, vmx_of(c)->vmcs.f[F_VIRTUAL_APIC_ADDR] + offset, 4);
}

void vmx_vapic_write(struct cpu *c, uint32_t offset, uint32_t value)
{
    phys_write(c, vmx_of(c)->vmcs.f[F_VIRTUAL_APIC_ADDR] + offset, 4, value);
}

static bool below_threshold(struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    return (vmx_vapic_read(c, VAPIC_TPR) >> 4 & 15) < (x->vmcs.f[F_TPR_THRESHOLD] & 15);
}

/* After any write of VTPR; the exit is trap-like: at the next boundary. */
void vmx_tpr_virtualization(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    if (!(x->eff.sec & SEC_VIRTUAL_INTR) && below_threshold(c)) x->tpr_exit = 1;
    cpu_update_attention(c);
}

/* With APIC accesses virtualized the threshold is not an entry check but an exit right after entry. */
void vmx_vapic_entry(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    if ((x->eff.pri & PRI_TPR_SHADOW) && (x->eff.sec & SEC_APIC_ACCESS) && !(x->eff.sec & SEC_VIRTUAL_INTR) &&
        below_threshold(c))
        x->tpr_exit = 1;
}

uint64_t vmx_cr8_read(struct cpu *c)
{
    if (!(vmx_of(c)->eff.pri & PRI_TPR_SHADOW)) return virt_bare.cr_view(c, 8);
    return vmx_vapic_read(c, VAPIC_TPR) >> 4 & 15;
}

enum virt_verdict vmx_cr8_write(struct cpu *c, uint64_t value)
{
    if (!(vmx_of(c)->eff.pri & PRI_TPR_SHADOW)) return virt_bare.cr8_write(c, value);
    vmx_vapic_write(c, VAPIC_TPR, (uint32_t)(value & 15) << 4);
    vmx_tpr_virtualization(c);
    return VIRT_CONTINUE;
}
