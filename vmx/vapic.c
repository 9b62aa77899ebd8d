/* SPDX-License-Identifier: MIT */
/* The virtual-APIC page: TPR shadow, accesses to the APIC-access page and to the x2APIC MSRs, APIC-write
 * emulation, virtual-interrupt delivery, posted interrupts. SDM 3C ch. 30 "APIC Virtualization and
 * Virtual Interrupts". */
#include "cpu/event.h"
#include "cpu/mem.h"
#include "vmx/vmx.h"

enum vapic_offset {
    VAPIC_TPR = 0x80,
    VAPIC_PPR = 0xa0,
    VAPIC_EOI = 0xb0,
    VAPIC_ISR = 0x100,
    VAPIC_IRR = 0x200,
    VAPIC_ICR_LO = 0x300,
    VAPIC_ICR_HI = 0x310,
    VAPIC_SELF_IPI = 0x3f0
};

/* Qualification of an APIC-access exit, bits 15:12. SDM 3C table 28-6 */
enum access_type { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH, ACCESS_DELIVERY };

/* What APIC-register virtualization lets through, by 16-byte register. SDM 3C 30.4.2, 30.4.3.1 */
static const struct {
    uint16_t first, last;
    bool write;
} registers[] = {{0x020, 0x020, true}, {0x030, 0x030, false}, {0x080, 0x080, true}, {0x0b0, 0x0b0, true},
                 {0x0d0, 0x0f0, true}, {0x100, 0x270, false}, {0x280, 0x280, true}, {0x300, 0x310, true},
                 {0x320, 0x370, true}, {0x380, 0x380, true},  {0x3e0, 0x3e0, true}};

uint32_t vmx_vapic_read(struct cpu *c, uint32_t offset)
{
    return (uint32_t)phys_read(c, vmx_of(c)->vmcs.f[F_VIRTUAL_APIC_ADDR] + offset, 4);
}

void vmx_vapic_write(struct cpu *c, uint32_t offset, uint32_t value)
{
    phys_write(c, vmx_of(c)->vmcs.f[F_VIRTUAL_APIC_ADDR] + offset, 4, value);
}

static bool vid(const struct vmx_state *x) { return (x->eff.sec & SEC_VIRTUAL_INTR) != 0; }
static bool ipiv(const struct vmx_state *x) { return (x->eff.ter & TER_IPI_VIRTUALIZATION) != 0; }
static bool arv(const struct vmx_state *x) { return (x->eff.sec & SEC_APIC_REGISTER) != 0; }

/* ---- the 256-bit registers VISR and VIRR ---- */

static void bit_change(struct cpu *c, uint32_t reg, unsigned vector, bool set)
{
    uint32_t at = reg + (vector >> 5) * 16, bit = 1u << (vector & 31), old = vmx_vapic_read(c, at);
    vmx_vapic_write(c, at, set ? old | bit : old & ~bit);
}

static uint8_t highest(struct cpu *c, uint32_t reg)
{
    for (unsigned i = 8; i-- > 0;) {
        uint32_t v = vmx_vapic_read(c, reg + i * 16);
        if (v) return (uint8_t)(i * 32 + 31 - (unsigned)__builtin_clz(v));
    }
    return 0;
}

/* ---- SDM 3C 30.1: PPR virtualization, evaluation, EOI, self-IPI, delivery ---- */

static void ppr_virtualization(struct cpu *c)
{
    uint32_t tpr = vmx_vapic_read(c, VAPIC_TPR) & 0xff, svi = vmx_of(c)->svi;
    vmx_vapic_write(c, VAPIC_PPR, tpr >> 4 >= svi >> 4 ? tpr : svi & 0xf0);
}

static void evaluate(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    unsigned ppr = vmx_vapic_read(c, VAPIC_PPR) >> 4 & 15;
    x->virtual_intr = !(x->eff.pri & PRI_INTR_WINDOW) && (unsigned)x->rvi >> 4 > ppr;
    cpu_update_attention(c);
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
    if (vid(x)) {
        ppr_virtualization(c);
        evaluate(c);
    } else if (below_threshold(c)) {
        x->tpr_exit = 1;
        cpu_update_attention(c);
    }
}

static void eoi_virtualization(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    uint8_t vector = x->svi;
    bit_change(c, VAPIC_ISR, vector, false);
    x->svi = highest(c, VAPIC_ISR);
    ppr_virtualization(c);
    if (x->vmcs.f[F_EOI_EXIT0 + (vector >> 6)] >> (vector & 63) & 1) {
        x->eoi_exit = 1;
        x->eoi_vector = vector;
        x->virtual_intr = 0; /* evaluated again at the next entry only */
        cpu_update_attention(c);
    } else {
        evaluate(c);
    }
}

static void self_ipi_virtualization(struct cpu *c, uint8_t vector)
{
    struct vmx_state *x = vmx_of(c);
    bit_change(c, VAPIC_IRR, vector, true);
    if (vector > x->rvi) x->rvi = vector;
    evaluate(c);
}

enum virt_verdict vmx_deliver_virtual(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    uint8_t vector = x->rvi;
    bit_change(c, VAPIC_ISR, vector, true);
    x->svi = vector;
    vmx_vapic_write(c, VAPIC_PPR, vector & 0xf0);
    bit_change(c, VAPIC_IRR, vector, false);
    x->rvi = highest(c, VAPIC_IRR);
    x->virtual_intr = 0;
    PROBE(c->probes, c, POSTED, 2, vector);
    const struct event ev = {.valid = 1, .vector = vector, .type = EVENT_EXTINT};
    return cpu_deliver(c, &ev);
}

/* At VM entry, after the guest state is loaded. SDM 3C 27.3.2.5, 27.7.7 */
void vmx_vapic_entry(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    if (!(x->eff.pri & PRI_TPR_SHADOW)) return;
    if (vid(x)) {
        x->rvi = (uint8_t)x->vmcs.f[F_GUEST_INTR_STATUS];
        x->svi = (uint8_t)(x->vmcs.f[F_GUEST_INTR_STATUS] >> 8);
        ppr_virtualization(c);
        evaluate(c);
    } else if ((x->eff.sec & SEC_APIC_ACCESS) && below_threshold(c)) {
        x->tpr_exit = 1; /* without that control it is an entry check instead */
    }
}

/* ---- CR8 ---- */

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

/* ---- the APIC-access page ---- */

static bool register_listed(uint32_t reg, bool write)
{
    for (unsigned i = 0; i < sizeof registers / sizeof registers[0]; i++)
        if (reg >= registers[i].first && reg <= registers[i].last) return !write || registers[i].write;
    return false;
}

static bool access_virtualized(const struct vmx_state *x, uint32_t offset, uint32_t size, bool write)
{
    uint32_t reg = offset & 0xff0;
    if (!(x->eff.pri & PRI_TPR_SHADOW) || (offset & 15) + size > 4) return false;
    if (reg == VAPIC_TPR) return true;
    if (vid(x) && (reg == VAPIC_EOI || reg == VAPIC_ICR_LO)) return true;
    if (write && ipiv(x) && reg == VAPIC_ICR_LO) return true;
    return arv(x) && register_listed(reg, write);
}

static bool access_exit(struct cpu *c, uint32_t offset, enum access_type type)
{
    c->fault.kind = FAULT_VIRT;
    c->fault.virt_reason = REASON_APIC_ACCESS;
    c->fault.virt_info = offset | (uint64_t)(c->s.delivering.valid ? ACCESS_DELIVERY : type) << 12;
    return false;
}

bool vmx_apic_access(struct cpu *c, enum apic_access_kind kind, uint32_t offset, uint32_t size,
                     uint64_t *value)
{
    struct vmx_state *x = vmx_of(c);
    uint64_t at = x->vmcs.f[F_VIRTUAL_APIC_ADDR] + offset;
    switch (kind) {
    case APIC_ACCESS_READ:
        if (x->apic_write || !access_virtualized(x, offset, size, false))
            return access_exit(c, offset, ACCESS_READ);
        *value = phys_read(c, at, size);
        return true;
    case APIC_ACCESS_WRITE:
        if (!access_virtualized(x, offset, size, true)) return access_exit(c, offset, ACCESS_WRITE);
        if (x->apic_write && x->apic_write_offset != offset) return access_exit(c, offset, ACCESS_WRITE);
        phys_write(c, at, size, *value);
        x->apic_write = 1;
        x->apic_write_offset = (uint16_t)offset;
        cpu_update_attention(c);
        return true;
    default: return access_exit(c, offset, ACCESS_FETCH);
    }
}

static enum virt_verdict apic_write_exit(struct cpu *c, uint32_t offset)
{
    const struct vmx_exit e = {
        .reason = REASON_APIC_WRITE, .qualification = offset, .rf = RF_KEEP, .keep_pending_dbg = 1};
    return vmx_exit(c, &e);
}

/* Self-IPI written to the interrupt-command register: fixed, edge, physical, idle, vector 16 and up. */
static bool icr_is_self_ipi(uint32_t icr)
{
    return !(icr & 0xfff33700) && (icr >> 18 & 3) == 1 && !(icr & 0x8000) && (icr & 0xf0);
}

/* ---- IPI virtualization (SDM 3C 30.1.6) ---- */

/* A fixed, edge-triggered IPI to one physical destination: what IPI virtualization takes. */
static bool icr_is_unicast(uint32_t icr) { return (icr & 0xffffbf00) == 0; }

/* The notification leaves by the processor's own local APIC, whose interrupt-command register stays as the
 * host wrote it. */
static void notify(struct cpu *c, uint8_t vector, uint32_t destination)
{
    if (c->s.apic_base & 0x400) {
        c->bus->msr_write(c->bus->opaque, c->id, 0x830, (uint64_t)destination << 32 | vector);
        return;
    }
    uint64_t apic = c->s.apic_base & ~UINT64_C(0xfff), high = phys_read(c, apic + VAPIC_ICR_HI, 4);
    phys_write(c, apic + VAPIC_ICR_HI, 4, (destination >> 8 & 0xff) << 24);
    phys_write(c, apic + VAPIC_ICR_LO, 4, vector);
    phys_write(c, apic + VAPIC_ICR_HI, 4, high);
}

/* Posts the vector to the virtual processor `target`; false: an APIC-write exit is due instead. */
static bool ipi_virtualization(struct cpu *c, uint8_t vector, uint32_t target)
{
    const struct vmx_state *x = vmx_of(c);
    if (vector < 16 || target > x->vmcs.f[F_LAST_PID_INDEX]) return false;
    uint64_t entry = phys_read(c, x->vmcs.f[F_PID_TABLE_ADDR] + 8 * (uint64_t)target, 8);
    if ((entry & 0x3f) != 1 || !vmx_width_ok(&x->cap, entry)) return false;
    uint64_t pid = entry & ~UINT64_C(0x3f), at = pid + 4 * (vector >> 5);
    phys_write(c, at, 4, phys_read(c, at, 4) | UINT64_C(1) << (vector & 31));
    uint64_t state = phys_read(c, pid + 32, 8);
    if (state & 3) return true; /* outstanding already, or suppressed */
    phys_write(c, pid + 32, 8, state | 1);
    notify(c, (uint8_t)(state >> 16), (uint32_t)(state >> 32));
    return true;
}

/* SDM 3C 30.4.3.2, 30.4.3.3. VIRT_EXITED or emulated. */
static enum virt_verdict emulate_write(struct cpu *c, uint32_t offset)
{
    const struct vmx_state *x = vmx_of(c);
    switch (offset & 0xff0) {
    case VAPIC_TPR:
        vmx_vapic_write(c, VAPIC_TPR, vmx_vapic_read(c, VAPIC_TPR) & 0xff);
        vmx_tpr_virtualization(c);
        return VIRT_CONTINUE;
    case VAPIC_EOI:
        if (!vid(x)) return apic_write_exit(c, offset);
        vmx_vapic_write(c, VAPIC_EOI, 0);
        eoi_virtualization(c);
        return VIRT_CONTINUE;
    case VAPIC_ICR_LO: {
        uint32_t icr = vmx_vapic_read(c, VAPIC_ICR_LO);
        if (vid(x) && icr_is_self_ipi(icr))
            self_ipi_virtualization(c, (uint8_t)icr);
        else if (!ipiv(x) || !icr_is_unicast(icr) ||
                 !ipi_virtualization(c, (uint8_t)icr, vmx_vapic_read(c, VAPIC_ICR_HI) >> 24))
            return apic_write_exit(c, offset);
        return VIRT_CONTINUE;
    }
    case VAPIC_ICR_HI:
        vmx_vapic_write(c, VAPIC_ICR_HI, vmx_vapic_read(c, VAPIC_ICR_HI) & 0xff000000);
        return VIRT_CONTINUE;
    default: return apic_write_exit(c, offset);
    }
}

/* "Instruction timeout": deliveries that follow each other without an instruction between them are one
 * uninterruptible stretch, which the window of the control bounds (in cycles of this machine). An iteration
 * of a string instruction ends it as an instruction does, sleep does not count. SDM 3C 26.2 */
static bool window_overrun(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    if (!(x->eff.sec & SEC_INSN_TIMEOUT)) return false;
    if (x->window_insns != c->s.insns || x->window_rcx != c->s.gpr[RCX] || c->s.activity != ACTIVITY_ACTIVE) {
        x->window_insns = c->s.insns;
        x->window_rcx = c->s.gpr[RCX];
        x->window_start = cpu_now(c);
        return false;
    }
    return cpu_now(c) - x->window_start > x->vmcs.f[F_INSN_TIMEOUT];
}

bool vmx_trap_like_wanted(struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    return x->apic_write || x->tpr_exit || x->eoi_exit || x->apic_write_exit || x->bus_lock ||
           window_overrun(c);
}

/* What the previous operation left to do, above every other event of the boundary. */
enum virt_verdict vmx_trap_like(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    if (x->apic_write) {
        x->apic_write = 0;
        if (emulate_write(c, x->apic_write_offset) == VIRT_EXITED) return VIRT_EXITED;
    }
    struct vmx_exit e = {.rf = RF_KEEP, .keep_pending_dbg = 1};
    if (x->apic_write_exit) return apic_write_exit(c, x->apic_write_offset);
    if (x->eoi_exit) {
        e.reason = REASON_VIRTUALIZED_EOI;
        e.qualification = x->eoi_vector;
    } else if (x->tpr_exit) {
        e.reason = REASON_TPR_THRESHOLD;
    } else if (x->bus_lock) {
        e.reason = REASON_BUS_LOCK;
    } else if (window_overrun(c)) {
        e.reason = REASON_INSN_TIMEOUT;
        e.rf = RF_SET;
        e.keep_pending_dbg = 0;
        e.qualification = vmx_iret_unblocked(c) ? 1u << 12 : 0;
    } else {
        cpu_update_attention(c);
        return VIRT_CONTINUE;
    }
    return vmx_exit(c, &e);
}

/* ---- x2APIC MSRs (SDM 3C 30.5) ---- */

static bool x2apic_virtual(const struct vmx_state *x, uint32_t index)
{
    return x->mode == VMX_NONROOT && (x->eff.sec & SEC_X2APIC_MODE) && (index >> 8) == 8;
}

int vmx_x2apic_read(struct cpu *c, uint32_t index, uint64_t *value)
{
    const struct vmx_state *x = vmx_of(c);
    if (!x2apic_virtual(x, index)) return 0;
    uint32_t offset = (index & 0xff) << 4;
    if (!arv(x) && offset != VAPIC_TPR) return 0;
    *value = phys_read(c, x->vmcs.f[F_VIRTUAL_APIC_ADDR] + offset, 8);
    return 1;
}

int vmx_x2apic_write(struct cpu *c, uint32_t index, uint64_t value)
{
    struct vmx_state *x = vmx_of(c);
    if (!x2apic_virtual(x, index)) return 0;
    uint32_t offset = (index & 0xff) << 4;
    bool self_ipi = offset == VAPIC_SELF_IPI;
    if (offset == VAPIC_ICR_LO && ipiv(x)) {
        uint32_t icr = (uint32_t)value;
        if (icr & 0xfff32000) return -1;
        phys_write(c, x->vmcs.f[F_VIRTUAL_APIC_ADDR] + offset, 8, value);
        if (icr_is_unicast(icr) && ipi_virtualization(c, (uint8_t)icr, (uint32_t)(value >> 32))) return 1;
        x->apic_write_exit = 1;
        x->apic_write_offset = VAPIC_ICR_LO;
        cpu_update_attention(c);
        return 1;
    }
    if (offset != VAPIC_TPR && !(vid(x) && (offset == VAPIC_EOI || self_ipi))) return 0;
    if (offset == VAPIC_EOI ? value != 0 : value >> 8 != 0) return -1;
    phys_write(c, x->vmcs.f[F_VIRTUAL_APIC_ADDR] + offset, 8, value);
    if (offset == VAPIC_TPR) {
        vmx_tpr_virtualization(c);
    } else if (offset == VAPIC_EOI) {
        eoi_virtualization(c);
    } else if (value & 0xf0) {
        self_ipi_virtualization(c, (uint8_t)value);
    } else {
        x->apic_write_exit = 1;
        x->apic_write_offset = VAPIC_SELF_IPI;
        cpu_update_attention(c);
    }
    return 1;
}

/* ---- posted interrupts (SDM 3C 30.6) ---- */

static void physical_eoi(struct cpu *c)
{
    if (c->s.apic_base & 0x400)
        c->bus->msr_write(c->bus->opaque, c->id, 0x80b, 0);
    else
        phys_write(c, (c->s.apic_base & ~UINT64_C(0xfff)) + VAPIC_EOI, 4, 0);
}

/* The notification vector arrived and is acknowledged. */
void vmx_posted_processing(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    uint64_t pid = x->vmcs.f[F_PID_ADDR];
    PROBE(c->probes, c, POSTED, 0, x->vmcs.f[F_POSTED_NV]);
    phys_write(c, pid + 32, 4, phys_read(c, pid + 32, 4) & ~UINT64_C(1)); /* ON */
    physical_eoi(c);
    for (unsigned i = 0; i < 8; i++) {
        uint32_t pir = (uint32_t)phys_read(c, pid + 4 * i, 4);
        if (!pir) continue;
        phys_write(c, pid + 4 * i, 4, 0);
        vmx_vapic_write(c, VAPIC_IRR + 16 * i, vmx_vapic_read(c, VAPIC_IRR + 16 * i) | pir);
        uint8_t top = (uint8_t)(i * 32 + 31 - (unsigned)__builtin_clz(pir));
        if (top > x->rvi) x->rvi = top;
    }
    PROBE(c->probes, c, POSTED, 1, x->rvi);
    if (c->s.activity == ACTIVITY_MWAIT) c->s.activity = ACTIVITY_ACTIVE;
    evaluate(c);
}
