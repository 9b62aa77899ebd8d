/* SPDX-License-Identifier: MIT */
/* What happens between two instructions. One table gives the priority of everything that can: traps of
 * the finished instruction, asynchronous events, the boundary points of the virtualization context, the
 * instruction breakpoint of the next instruction. Each row is judged from state when its turn comes, nothing
 * is remembered. SDM 3A table 6-2, SDM 3C 25.2, 26.7; APM 2 8.5, 15.21. */
#include "cpu/event.h"

#include "cpu/mem.h"
#include "cpu/monitor.h"

/* What a row answers: not now, or something was done and the boundary is over. */
enum rank_result { RANK_NOTHING, RANK_DONE };

enum {
    IN_ACTIVE = 1 << ACTIVITY_ACTIVE,
    IN_HLT = 1 << ACTIVITY_HLT | 1 << ACTIVITY_MWAIT,
    IN_SHUTDOWN = 1 << ACTIVITY_SHUTDOWN,
    IN_WAIT_SIPI = 1 << ACTIVITY_WAIT_SIPI
};

static bool in_shadow(const struct cpu *c) { return c->s.intr.sti_shadow || c->s.intr.movss_shadow; }

static enum rank_result virt_point(struct cpu *c, enum virt_boundary point)
{
    if (!(c->virt->boundary_wanted(c) >> point & 1)) return RANK_NOTHING;
    uint64_t before = c->s.gpr[REG_RIP];
    const struct virt_ops *context = c->virt;
    if (c->virt->boundary(c, point) == VIRT_EXITED) return RANK_DONE;
    /* A point may do its work without an exit and without an event; then lower ranks still count. */
    return c->virt != context || c->s.gpr[REG_RIP] != before ? RANK_DONE : RANK_NOTHING;
}

static enum rank_result rank_trap_like(struct cpu *c) { return virt_point(c, VIRT_B_TRAP_LIKE); }
static enum rank_result rank_mtf(struct cpu *c) { return virt_point(c, VIRT_B_MTF); }
static enum rank_result rank_timer(struct cpu *c) { return virt_point(c, VIRT_B_TIMER); }
static enum rank_result rank_nmi_window(struct cpu *c) { return virt_point(c, VIRT_B_NMI_WINDOW); }
static enum rank_result rank_intr_window(struct cpu *c) { return virt_point(c, VIRT_B_INTR_WINDOW); }
static enum rank_result rank_virtual_intr(struct cpu *c) { return virt_point(c, VIRT_B_VIRTUAL_INTR); }

/* Debug exceptions held in pending_dbg are due unless MOV SS holds them back. */
static bool debug_trap_due(const struct cpu *c)
{
    return (c->s.pending_dbg & (PENDING_BP | DR6_BS | DR6_BT)) != 0 && !c->s.intr.movss_shadow;
}

static enum rank_result take_debug_trap(struct cpu *c)
{
    struct event ev = {.valid = 1, .vector = VEC_DB, .type = EVENT_HW_EXCEPTION};
    ev.payload = c->s.pending_dbg & (DR6_B | DR6_BS | DR6_BT);
    c->s.pending_dbg = 0;
    cpu_deliver(c, &ev);
    return RANK_DONE;
}

static enum rank_result rank_task_trap(struct cpu *c)
{
    return debug_trap_due(c) && (c->s.pending_dbg & DR6_BT) ? take_debug_trap(c) : RANK_NOTHING;
}

static enum rank_result rank_debug_trap(struct cpu *c)
{
    return debug_trap_due(c) ? take_debug_trap(c) : RANK_NOTHING;
}

/* The ops below may leave their event pending (blocked in the context): then it is not done. */
static enum rank_result rank_smi(struct cpu *c)
{
    if (!c->s.intr.smi_pending || c->s.intr.smi_blocked || !c->s.intr.gif) return RANK_NOTHING;
    if (c->virt->smi(c) == VIRT_EXITED) return RANK_DONE;
    return c->s.intr.smi_pending ? RANK_NOTHING : RANK_DONE;
}

static bool init_due(struct cpu *c)
{
    /* A processor that waits for a SIPI starts its wait again; a guest in that state holds INIT back. */
    if (c->s.activity == ACTIVITY_WAIT_SIPI && c->s.in_guest) return false;
    if (!c->s.intr.init_pending || c->s.intr.smi_blocked || !c->s.intr.gif) return false;
    return c->virt->init_blocked == NULL || !c->virt->init_blocked(c);
}

static enum rank_result rank_init(struct cpu *c)
{
    if (!init_due(c)) return RANK_NOTHING;
    if (c->virt->init(c) == VIRT_EXITED) return RANK_DONE;
    return c->s.intr.init_pending ? RANK_NOTHING : RANK_DONE;
}

static bool held_by_shadow(struct cpu *c, bool nmi)
{
    return in_shadow(c) && (c->virt->shadow_ignored == NULL || !c->virt->shadow_ignored(c, nmi));
}

static bool nmi_due(struct cpu *c)
{
    return c->s.intr.nmi_pending && c->s.intr.gif && !held_by_shadow(c, true) && c->virt->nmi_allowed(c);
}

static enum rank_result rank_nmi(struct cpu *c)
{
    if (!nmi_due(c)) return RANK_NOTHING;
    c->virt->nmi(c);
    return RANK_DONE;
}

static bool extint_due(struct cpu *c)
{
    return c->s.intr.gif && !held_by_shadow(c, false) && c->virt->extint_allowed(c) &&
           c->bus->intr_pending(c->bus->opaque, c->id);
}

static enum rank_result rank_extint(struct cpu *c)
{
    if (!extint_due(c)) return RANK_NOTHING;
    const struct virt_ops *context = c->virt;
    uint64_t before = c->s.gpr[REG_RIP];
    uint8_t activity = c->s.activity;
    if (c->virt->extint(c) == VIRT_EXITED) return RANK_DONE;
    /* Nothing to acknowledge any more: not an event. */
    return c->virt != context || c->s.gpr[REG_RIP] != before || c->s.activity != activity || !extint_due(c)
               ? RANK_DONE
               : RANK_NOTHING;
}

/* MWAIT with the break-on-interrupt extension ends without delivery when IF is 0. SDM 2B "MWAIT" */
static enum rank_result rank_mwait_break(struct cpu *c)
{
    if (c->s.activity != ACTIVITY_MWAIT || !c->s.monitor.wake_on_if0) return RANK_NOTHING;
    if (!c->bus->intr_pending(c->bus->opaque, c->id)) return RANK_NOTHING;
    c->s.activity = ACTIVITY_ACTIVE;
    return RANK_DONE;
}

/* UMWAIT and TPAUSE end at their deadline. SDM 2B "UMWAIT" */
static enum rank_result rank_wait_over(struct cpu *c) { return monitor_expire(c) ? RANK_DONE : RANK_NOTHING; }

static enum rank_result rank_sipi(struct cpu *c)
{
    if (!c->s.intr.sipi_pending) return RANK_NOTHING;
    uint8_t vector = c->s.intr.sipi_vector;
    c->s.intr.sipi_pending = 0;
    c->virt->sipi(c, vector);
    return RANK_DONE;
}

static enum rank_result rank_code_breakpoint(struct cpu *c)
{
    if ((c->s.rflags & FL_RF) || !c->s.intr.gif || c->s.intr.movss_shadow || !debug_code_armed(c))
        return RANK_NOTHING;
    uint64_t hit = debug_code_match(c);
    if (!hit) return RANK_NOTHING;
    struct event ev = {.valid = 1, .vector = VEC_DB, .type = EVENT_HW_EXCEPTION};
    ev.payload = hit | (c->s.pending_dbg & DR6_B);
    cpu_deliver(c, &ev);
    return RANK_DONE;
}

/* Highest first. `in`: activity states in which the row is looked at. */
static const struct {
    enum rank_result (*judge)(struct cpu *c);
    uint8_t in;
} priority[] = {
    {rank_trap_like, IN_ACTIVE | IN_HLT},
    {rank_task_trap, IN_ACTIVE},
    {rank_smi, IN_ACTIVE | IN_HLT | IN_SHUTDOWN},
    {rank_init, IN_ACTIVE | IN_HLT | IN_SHUTDOWN | IN_WAIT_SIPI},
    {rank_mtf, IN_ACTIVE | IN_HLT},
    {rank_debug_trap, IN_ACTIVE | IN_HLT},
    {rank_timer, IN_ACTIVE | IN_HLT | IN_SHUTDOWN},
    {rank_nmi_window, IN_ACTIVE | IN_HLT | IN_SHUTDOWN},
    {rank_nmi, IN_ACTIVE | IN_HLT | IN_SHUTDOWN},
    {rank_intr_window, IN_ACTIVE | IN_HLT},
    {rank_virtual_intr, IN_ACTIVE | IN_HLT},
    {rank_extint, IN_ACTIVE | IN_HLT},
    {rank_mwait_break, IN_HLT},
    {rank_wait_over, IN_HLT},
    {rank_sipi, IN_WAIT_SIPI},
    {rank_code_breakpoint, IN_ACTIVE},
};

bool cpu_boundary(struct cpu *c)
{
    cpu_flush_flags(c);
    /* SIPIs reach only a processor that waits for one. */
    if (c->s.activity != ACTIVITY_WAIT_SIPI && !c->s.intr.init_pending) c->s.intr.sipi_pending = 0;
    for (unsigned i = 0; i < sizeof priority / sizeof priority[0]; i++) {
        if (!(priority[i].in >> c->s.activity & 1)) continue;
        if (priority[i].judge(c) == RANK_DONE) {
            cpu_update_attention(c);
            return false;
        }
    }
    c->shadow_fresh = c->rf_fresh = c->no_step = false;
    if (c->s.rflags & FL_TF) debug_note_step(c);
    cpu_update_attention(c);
    return c->s.activity == ACTIVITY_ACTIVE;
}

void cpu_insn_done(struct cpu *c, bool tf_at_start)
{
    if (!c->shadow_fresh) c->s.intr.sti_shadow = c->s.intr.movss_shadow = 0;
    if (!c->rf_fresh) c->s.rflags &= ~(uint64_t)FL_RF;
    if (tf_at_start && !c->no_step && debug_step_traps(c)) c->s.pending_dbg |= DR6_BS;
    c->shadow_fresh = c->rf_fresh = c->no_step = false;
    cpu_update_attention(c);
}

void cpu_set_shadow(struct cpu *c, bool sti, bool movss)
{
    c->s.intr.sti_shadow = sti;
    c->s.intr.movss_shadow = movss;
    c->shadow_fresh = sti || movss;
    cpu_update_attention(c);
}

void cpu_keep_rf(struct cpu *c) { c->rf_fresh = true; }

void cpu_update_attention(struct cpu *c)
{
    const struct interruptibility *i = &c->s.intr;
    uint32_t a = c->attention & ATT_EXACT;
    if (c->s.activity != ACTIVITY_ACTIVE) a |= ATT_IDLE;
    if (i->sti_shadow || i->movss_shadow || (c->s.rflags & FL_RF)) a |= ATT_SHADOW;
    if ((c->s.rflags & FL_TF) || c->s.pending_dbg) a |= ATT_TRAP;
    if ((c->s.dr7 & 0xff) && debug_code_armed(c)) a |= ATT_CODE_BP;
    if (i->gif) {
        if (i->nmi_pending && nmi_due(c)) a |= ATT_NMI;
        if (i->smi_pending && !i->smi_blocked) a |= ATT_SMI;
        if (i->init_pending && init_due(c)) a |= ATT_INIT;
        if (extint_due(c)) a |= ATT_INTR;
    }
    if (i->sipi_pending) a |= ATT_SIPI;
    if (c->virt->boundary_wanted(c)) a |= ATT_VIRT;
    if (c->stop_requested) a |= ATT_STOP;
    if ((c->probes->mask >> PROBE_INSN | c->probes->mask >> PROBE_BRANCH) & 1) a |= ATT_INSN_PROBE;
    c->attention = a;
}

void cpu_signal_nmi(struct cpu *c)
{
    c->s.intr.nmi_pending = 1; /* one in service blocks, one more is latched */
    cpu_update_attention(c);
}

void cpu_signal_smi(struct cpu *c)
{
    c->s.intr.smi_pending = 1;
    cpu_update_attention(c);
}

void cpu_signal_init(struct cpu *c)
{
    c->s.intr.init_pending = 1;
    cpu_update_attention(c);
}

void cpu_signal_sipi(struct cpu *c, uint8_t vector)
{
    /* An INIT still on its way to the processor comes first. */
    if (c->s.activity != ACTIVITY_WAIT_SIPI && !c->s.intr.init_pending) return;
    c->s.intr.sipi_pending = 1;
    c->s.intr.sipi_vector = vector;
    cpu_update_attention(c);
}

void cpu_signal_intr(struct cpu *c) { cpu_update_attention(c); }

bool cpu_take_extint(struct cpu *c)
{
    int vector = c->bus->intr_acknowledge(c->bus->opaque, c->id);
    if (vector < 0) return false;
    struct event ev = {.valid = 1, .vector = (uint8_t)vector, .type = EVENT_EXTINT};
    cpu_deliver(c, &ev);
    return true;
}

bool cpu_take_nmi(struct cpu *c)
{
    struct event ev = {.valid = 1, .vector = VEC_NMI, .type = EVENT_NMI};
    c->s.intr.nmi_pending = 0;
    c->s.intr.nmi_blocked = 1;
    cpu_deliver(c, &ev);
    return true;
}

bool cpu_take_init(struct cpu *c)
{
    c->s.intr.init_pending = 0;
    bool bsp = (c->s.apic_base & 0x100) != 0;
    cpu_init_reset(c);
    /* The bootstrap processor starts at the reset vector, others wait. SDM 3A 9.4.1 */
    if (!bsp) c->s.activity = ACTIVITY_WAIT_SIPI;
    if (c->bus->init_taken != NULL) c->bus->init_taken(c->bus->opaque, c->id);
    cpu_update_attention(c);
    return true;
}

bool cpu_take_sipi(struct cpu *c, uint8_t vector)
{
    struct seg_reg cs = c->s.seg[SEG_CS];
    cs.selector = (uint16_t)(vector << 8);
    cs.base = (uint64_t)vector << 12;
    cpu_load_segment(c, SEG_CS, &cs);
    c->s.gpr[REG_RIP] = 0;
    c->s.activity = ACTIVITY_ACTIVE;
    cpu_mode_changed(c);
    cpu_update_attention(c);
    return true;
}
