/* SPDX-License-Identifier: MIT */
/* Events in VMX operation: the ops that the processor calls in root and non-root operation, and which of
 * them exit. SDM 3C 26.2 "Other Causes of VM Exits", 26.3 "Changes to Instruction Behavior", 26.5.1,
 * 26.5.2, 28.2.2, 28.2.3; events-at-boundaries order is cpu/event.c. */
#include <string.h>

#include "cpu/cpuid.h"
#include "cpu/event.h"
#include "cpu/mem.h"
#include "vmx/vmx.h"

/* Defined when IRET may unblock NMIs at all and no event delivery was interrupted. SDM 3C 28.2.3 */
bool vmx_iret_unblocked(struct cpu *c)
{
    uint32_t pin = vmx_of(c)->eff.pin;
    return c->iret_unblocked_nmi && !c->s.delivering.valid &&
           (!(pin & PIN_NMI_EXIT) || (pin & PIN_VIRTUAL_NMI));
}

/* ---- non-root ---- */

static bool exception_exits(struct cpu *c, const struct event *ev)
{
    const uint64_t *f = vmx_of(c)->vmcs.f;
    bool bit = (f[F_EXCEPTION_BITMAP] >> (ev->vector & 31) & 1) != 0;
    if (ev->vector != VEC_PF || ev->type != EVENT_HW_EXCEPTION) return bit;
    bool equal = (ev->error_code & f[F_PF_ERROR_MASK]) == f[F_PF_ERROR_MATCH];
    return bit == equal;
}

enum virt_verdict vmx_guest_exception(struct cpu *c, const struct event *ev)
{
    if (!exception_exits(c, ev)) return VIRT_CONTINUE;
    struct vmx_exit e = {.reason = REASON_EXCEPTION_NMI, .rf = event_is_fault(ev) ? RF_SET : RF_KEEP};
    e.intr_info = ev->vector | (uint32_t)ev->type << INFO_TYPE_SHIFT | INFO_VALID;
    if (ev->has_error) {
        e.intr_info |= INFO_ERROR;
        e.intr_error = ev->error_code;
    }
    bool hardware = ev->type == EVENT_HW_EXCEPTION;
    if (hardware && ev->vector == VEC_DF)
        e.no_vectoring = 1;
    else if (hardware && vmx_iret_unblocked(c) && !(ev->vector == VEC_DB && !(ev->payload & DR6_BD)))
        e.intr_info |= INFO_NMI_UNBLOCK;
    if (hardware && ev->vector == VEC_PF) e.qualification = ev->payload;
    if (hardware && ev->vector == VEC_DB) e.qualification = ev->payload & (DR6_B | DR6_BD | DR6_BS);
    if (!hardware) e.insn_length = ev->insn_length;
    /* The linear and combined mappings of a faulting address go, as when the fault is delivered. */
    if (hardware && ev->vector == VEC_PF) tlb_flush_page(c, c->tlb_tag, ev->payload, -1);
    return vmx_exit(c, &e);
}

static enum virt_verdict guest_triple_fault(struct cpu *c)
{
    const struct vmx_exit e = {.reason = REASON_TRIPLE_FAULT, .rf = RF_KEEP, .no_vectoring = 1};
    return vmx_exit(c, &e);
}

static enum virt_verdict guest_task_switch(struct cpu *c, uint16_t selector, int source,
                                           const struct event *ev, const struct insn *insn)
{
    struct vmx_exit e = {.reason = REASON_TASK_SWITCH, .rf = RF_KEEP};
    e.qualification = selector | (uint64_t)(unsigned)source << 30;
    if (insn) e.insn_length = insn->length;
    if (ev && event_is_fault(ev)) e.rf = RF_SET;
    return vmx_exit(c, &e);
}

static enum virt_verdict guest_nmi(struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    if (!(x->eff.pin & PIN_NMI_EXIT)) {
        cpu_take_nmi(c);
        return VIRT_CONTINUE;
    }
    c->s.intr.nmi_pending = 0;
    const struct vmx_exit e = {.reason = REASON_EXCEPTION_NMI,
                               .rf = RF_KEEP,
                               .intr_info = VEC_NMI | EVENT_NMI << INFO_TYPE_SHIFT | INFO_VALID};
    vmx_exit(c, &e);
    c->s.intr.nmi_blocked = 1;
    cpu_update_attention(c);
    return VIRT_EXITED;
}

static bool guest_nmi_allowed(struct cpu *c)
{
    return (vmx_of(c)->eff.pin & PIN_VIRTUAL_NMI) || !c->s.intr.nmi_blocked;
}

static enum virt_verdict guest_init(struct cpu *c)
{
    c->s.intr.init_pending = 0;
    const struct vmx_exit e = {.reason = REASON_INIT, .rf = RF_KEEP, .keep_pending_dbg = 1};
    return vmx_exit(c, &e);
}

static enum virt_verdict guest_sipi(struct cpu *c, uint8_t vector)
{
    return vmx_exit_simple(c, REASON_SIPI, vector, RF_KEEP);
}

static enum virt_verdict guest_extint(struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    if (!(x->eff.pin & PIN_EXTINT_EXIT)) {
        cpu_take_extint(c);
        return VIRT_CONTINUE;
    }
    struct vmx_exit e = {.reason = REASON_EXTINT, .rf = RF_KEEP};
    if (x->eff.exi & EXI_ACK_INTR) {
        int vector = c->bus->intr_acknowledge(c->bus->opaque, c->id);
        if (vector < 0) return VIRT_CONTINUE;
        if ((x->eff.pin & PIN_POSTED_INTR) && (uint64_t)vector == x->vmcs.f[F_POSTED_NV]) {
            vmx_posted_processing(c);
            return VIRT_CONTINUE;
        }
        e.intr_info = (uint32_t)vector | EVENT_EXTINT << INFO_TYPE_SHIFT | INFO_VALID;
    }
    return vmx_exit(c, &e);
}

/* The interrupt shadow holds external interrupts and NMIs back although they would exit (no shadow_ignored
 * op): the manual leaves it to the processor, and so it behaves as outside VMX operation. SDM 3C 26.2 */
static bool guest_extint_allowed(struct cpu *c)
{
    return (vmx_of(c)->eff.pin & PIN_EXTINT_EXIT) || (c->s.rflags & FL_IF);
}

/* One step since entry: an instruction, an iteration of a string instruction, or a delivered event. */
static bool mtf_stepped(const struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    return x->mtf_insns != c->s.insns || x->mtf_rip != c->s.gpr[REG_RIP] || x->mtf_rcx != c->s.gpr[RCX];
}

static bool timer_expired(const struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    return x->timer_deadline != ~UINT64_C(0) && vmx_physical_tsc(c) >= x->timer_deadline;
}

static uint32_t guest_boundary_wanted(struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    const struct interruptibility *i = &c->s.intr;
    uint32_t wanted = 0;
    if (vmx_trap_like_wanted(c)) wanted |= 1u << VIRT_B_TRAP_LIKE;
    /* Armed alone is wanted too: it keeps the processor on the path that stops after one instruction. */
    if (x->mtf_pending || x->mtf_armed) wanted |= 1u << VIRT_B_MTF;
    if (timer_expired(c)) wanted |= 1u << VIRT_B_TIMER;
    if ((x->eff.pri & PRI_NMI_WINDOW) && !i->virtual_nmi_blocked && !i->movss_shadow && !i->sti_shadow)
        wanted |= 1u << VIRT_B_NMI_WINDOW;
    if ((x->eff.pri & PRI_INTR_WINDOW) && (c->s.rflags & FL_IF) && !i->sti_shadow && !i->movss_shadow)
        wanted |= 1u << VIRT_B_INTR_WINDOW;
    if (x->virtual_intr && (c->s.rflags & FL_IF) && !i->sti_shadow && !i->movss_shadow)
        wanted |= 1u << VIRT_B_VIRTUAL_INTR;
    return wanted;
}

static enum virt_verdict guest_boundary(struct cpu *c, enum virt_boundary point)
{
    struct vmx_state *x = vmx_of(c);
    struct vmx_exit e = {.rf = RF_KEEP};
    switch (point) {
    case VIRT_B_TRAP_LIKE: return vmx_trap_like(c);
    case VIRT_B_VIRTUAL_INTR: return vmx_deliver_virtual(c);
    case VIRT_B_MTF:
        if (!x->mtf_pending && !mtf_stepped(c)) return VIRT_CONTINUE;
        e.reason = REASON_MTF;
        e.keep_pending_dbg = 1;
        break;
    case VIRT_B_TIMER: e.reason = REASON_PREEMPTION_TIMER; break;
    case VIRT_B_NMI_WINDOW: e.reason = REASON_NMI_WINDOW; break;
    case VIRT_B_INTR_WINDOW: e.reason = REASON_INTR_WINDOW; break;
    default: return VIRT_CONTINUE;
    }
    return vmx_exit(c, &e);
}

static uint64_t guest_next_deadline(struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    if (x->timer_deadline == ~UINT64_C(0)) return UINT64_MAX;
    return timer_expired(c) ? cpu_now(c) : x->timer_deadline - c->s.tsc_base;
}

/* Real NMIs without NMI exiting, virtual NMIs with them, nothing with NMI exiting alone. SDM 3C 26.3 "IRET"
 */
static void guest_iret(struct cpu *c)
{
    uint32_t pin = vmx_of(c)->eff.pin;
    uint8_t *blocked = NULL;
    if (pin & PIN_VIRTUAL_NMI)
        blocked = &c->s.intr.virtual_nmi_blocked;
    else if (!(pin & PIN_NMI_EXIT))
        blocked = &c->s.intr.nmi_blocked;
    c->iret_unblocked_nmi = blocked && *blocked;
    if (blocked) *blocked = 0;
}

/* Offset after scaling by the 48-bit fixed-point multiplier. SDM 3C 26.3 "RDTSC" */
uint64_t vmx_guest_tsc(struct cpu *c, uint64_t tsc)
{
    const struct vmx_state *x = vmx_of(c);
    if (!(x->eff.pri & PRI_TSC_OFFSET)) return tsc;
    if (x->eff.sec & SEC_TSC_SCALING)
        tsc = (uint64_t)((unsigned __int128)tsc * x->vmcs.f[F_TSC_MULTIPLIER] >> 48);
    return tsc + x->vmcs.f[F_TSC_OFFSET];
}

static enum virt_verdict guest_virt_fault(struct cpu *c)
{
    uint8_t rf = c->s.delivering.valid && !event_is_fault(&c->s.delivering) ? RF_KEEP : RF_SET;
    return vmx_exit_simple(c, c->fault.virt_reason, c->fault.virt_info, rf);
}

/* Trap-like exit after the instruction. SDM 3C 26.2 "bus lock" */
static void guest_bus_lock(struct cpu *c)
{
    vmx_of(c)->bus_lock = 1;
    cpu_update_attention(c);
}

static enum virt_verdict guest_smi(struct cpu *c) { return virt_bare.smi(c); }

#define GUEST_OPS                                                                                           \
    .insn = vmx_intercept, .exception = vmx_guest_exception, .triple_fault = guest_triple_fault,            \
    .task_switch = guest_task_switch, .nmi = guest_nmi, .smi = guest_smi, .init = guest_init,               \
    .sipi = guest_sipi, .extint = guest_extint, .extint_allowed = guest_extint_allowed,                     \
    .nmi_allowed = guest_nmi_allowed, .boundary = guest_boundary, .boundary_wanted = guest_boundary_wanted, \
    .next_deadline = guest_next_deadline, .second_stage_fault = vmx_second_stage_fault,                     \
    .virt_fault = guest_virt_fault, .cr_view = vmx_cr_view, .cr8_write = vmx_cr8_write,                     \
    .bus_lock = guest_bus_lock, .apic_access = vmx_apic_access, .cr_merge = vmx_cr_merge,                   \
    .iret = guest_iret, .tsc_view = vmx_guest_tsc

const struct virt_ops vmx_guest_ops = {.name = "guest", GUEST_OPS};
const struct virt_ops vmx_guest_ept_ops = {.name = "guest", GUEST_OPS, .translate = vmx_ept_translate};

/* ---- root ---- */

static enum virt_verdict root_insn(struct cpu *c, enum icpt id, const struct icpt_info *info)
{
    (void)c, (void)id, (void)info;
    return VIRT_CONTINUE;
}
static enum virt_verdict root_exception(struct cpu *c, const struct event *ev)
{
    return virt_bare.exception(c, ev);
}
static enum virt_verdict root_triple_fault(struct cpu *c) { return virt_bare.triple_fault(c); }
static enum virt_verdict root_task_switch(struct cpu *c, uint16_t selector, int source,
                                          const struct event *ev, const struct insn *insn)
{
    return virt_bare.task_switch(c, selector, source, ev, insn);
}
static enum virt_verdict root_nmi(struct cpu *c) { return virt_bare.nmi(c); }
static enum virt_verdict root_smi(struct cpu *c) { return virt_bare.smi(c); }
/* INIT is blocked in root operation: it stays pending, and the processor runs at full speed with it. SDM
 * 3C 24.8 */
static bool root_init_blocked(struct cpu *c)
{
    (void)c;
    return true;
}
static enum virt_verdict root_init(struct cpu *c)
{
    (void)c;
    return VIRT_CONTINUE;
}
static enum virt_verdict root_sipi(struct cpu *c, uint8_t vector)
{
    (void)c, (void)vector;
    return VIRT_CONTINUE;
}
static enum virt_verdict root_extint(struct cpu *c) { return virt_bare.extint(c); }
static bool root_extint_allowed(struct cpu *c) { return virt_bare.extint_allowed(c); }
static bool root_nmi_allowed(struct cpu *c) { return virt_bare.nmi_allowed(c); }
static enum virt_verdict root_boundary(struct cpu *c, enum virt_boundary point)
{
    (void)c, (void)point;
    return VIRT_CONTINUE;
}
static uint32_t root_boundary_wanted(struct cpu *c)
{
    (void)c;
    return 0;
}
static uint64_t root_next_deadline(struct cpu *c)
{
    (void)c;
    return UINT64_MAX;
}
static enum virt_verdict root_fault(struct cpu *c)
{
    (void)c;
    return VIRT_CONTINUE;
}
static uint64_t root_cr_view(struct cpu *c, int cr) { return virt_bare.cr_view(c, cr); }
static enum virt_verdict root_cr8_write(struct cpu *c, uint64_t value)
{
    return virt_bare.cr8_write(c, value);
}
static uint64_t root_tsc_view(struct cpu *c, uint64_t tsc)
{
    (void)c;
    return tsc;
}

const struct virt_ops vmx_root_ops = {
    .name = "root",
    .insn = root_insn,
    .exception = root_exception,
    .triple_fault = root_triple_fault,
    .task_switch = root_task_switch,
    .nmi = root_nmi,
    .smi = root_smi,
    .init = root_init,
    .init_blocked = root_init_blocked,
    .sipi = root_sipi,
    .extint = root_extint,
    .extint_allowed = root_extint_allowed,
    .nmi_allowed = root_nmi_allowed,
    .boundary = root_boundary,
    .boundary_wanted = root_boundary_wanted,
    .next_deadline = root_next_deadline,
    .second_stage_fault = root_fault,
    .virt_fault = root_fault,
    .cr_view = root_cr_view,
    .cr8_write = root_cr8_write,
    .tsc_view = root_tsc_view,
};

/* ---- the extension ---- */

static void vmx_reset(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    struct vmx_cap cap;
    vmx_cap_init(&cap, c->model ? c->model->name : NULL, c->features, c->phys_bits, c->lin_bits);
    memset(x, 0, sizeof *x);
    x->cap = cap;
    x->vmxon_pointer = x->current = VMCS_NONE;
    x->timer_deadline = ~UINT64_C(0);
}

static void vmx_restored(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    vmx_cap_init(&x->cap, c->model ? c->model->name : NULL, c->features, c->phys_bits, c->lin_bits);
    for (int field = 0; field < F_COUNT; field++)
        x->vmcs.f[field] &= vmcs_width_mask(field);
    if (x->mode > VMX_NONROOT) x->mode = VMX_OFF;
    memset(x->dirty, 0xff, sizeof x->dirty);
    x->armed_pri = x->armed_sec = ~UINT64_C(0); /* no control words: computed anew */
    vmx_apply_context(c);
}

/* SMM with VMX: default treatment leaves VMX operation and remembers it. SDM 3C 32.14.1, 32.14.2 */
static void vmx_smm_enter(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    x->smm_mode = x->mode;
    x->mode = VMX_OFF;
    c->s.cr4 &= ~(uint64_t)CR4_VMXE;
    vmx_apply_context(c);
}
static void vmx_smm_leave(struct cpu *c)
{
    struct vmx_state *x = vmx_of(c);
    x->mode = x->smm_mode;
    if (x->mode != VMX_OFF) c->s.cr4 |= CR4_VMXE;
    vmx_apply_context(c);
}

static bool vmx_efer_write_allowed(struct cpu *c, uint64_t value)
{
    (void)c, (void)value;
    return true;
}
static bool vmx_cpuid(struct cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    (void)c, (void)leaf, (void)subleaf, (void)regs;
    return false; /* CPUID.1:ECX[5] is a feature of the model; VMX has no leaf of its own */
}

const struct virt_ext vmx_ext = {
    .name = "vmx",
    .state_size = offsetof(struct vmx_state, dirty),
    .derived_size = sizeof(struct vmx_state) - offsetof(struct vmx_state, dirty),
    .reset = vmx_reset,
    .execute = vmx_execute,
    .msr_read = vmx_msr_read,
    .msr_write = vmx_msr_write,
    .cr_write_allowed = vmx_cr_write_allowed,
    .efer_write_allowed = vmx_efer_write_allowed,
    .cpuid = vmx_cpuid,
    .restored = vmx_restored,
    .smm_enter = vmx_smm_enter,
    .smm_leave = vmx_smm_leave,
};
