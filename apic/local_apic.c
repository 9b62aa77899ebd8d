/* SPDX-License-Identifier: MIT */
/* The local APIC: registers, acceptance and priority of interrupts, IPIs, local vector table.
 * SDM 3A 11.4 (registers), 11.5 (LVT), 11.6 (ICR), 11.8 (handling), 11.12 (x2APIC).
 * The timer is in local_apic_timer.c. */
#include "apic/local_apic.h"

#include <string.h>

#include "apic/local_apic_timer.h"

enum access { NO = 0, RO = 1, WO = 2, RW = 3 };

static const struct {
    uint8_t x, x2;
} reg_access[0x40] = {
#define LAPIC_REG(index, name, x, x2) [index] = {x, x2},
#include "apic/local_apic.def"
#undef LAPIC_REG
};

/* LVT entries: bits that software writes, and bits that may be 1 in an x2APIC write (the read-only
 * delivery status and remote IRR are tolerated, so that a value just read can be written back). */
static const struct {
    uint8_t reg;
    uint32_t writable, allowed;
} lvt_row[LVT_COUNT] = {
    [LVT_TIMER] = {LAPIC_LVT_TIMER, 0x700ff, 0x710ff}, [LVT_THERMAL] = {LAPIC_LVT_THERMAL, 0x107ff, 0x117ff},
    [LVT_PERF] = {LAPIC_LVT_PERF, 0x107ff, 0x117ff},   [LVT_LINT0] = {LAPIC_LVT_LINT0, 0x1a7ff, 0x1f7ff},
    [LVT_LINT1] = {LAPIC_LVT_LINT1, 0x1a7ff, 0x1f7ff}, [LVT_ERROR] = {LAPIC_LVT_ERROR, 0x100ff, 0x110ff},
    [LVT_CMCI] = {LAPIC_LVT_CMCI, 0x107ff, 0x117ff},
};

enum { ICR_X_WRITABLE = 0x000ccfff, ICR_TRIGGER = 1u << 15, ICR_LEVEL = 1u << 14, ICR_LOGICAL = 1u << 11 };
#define ICR_X2_RESERVED UINT64_C(0xfff32000)
#define ICR_STATUS UINT64_C(0x1000)

static bool bit_get(const uint32_t *set, unsigned v) { return (set[v >> 5] >> (v & 31) & 1) != 0; }
static void bit_set(uint32_t *set, unsigned v) { set[v >> 5] |= 1u << (v & 31); }
static void bit_clear(uint32_t *set, unsigned v) { set[v >> 5] &= ~(1u << (v & 31)); }

static int bit_highest(const uint32_t *set)
{
    for (int i = 7; i >= 0; i--)
        if (set[i]) return i * 32 + 31 - __builtin_clz(set[i]);
    return -1;
}

static bool has_reg(const struct local_apic *l, unsigned reg, enum access wanted)
{
    if (reg >= 0x40) return false;
    if (reg == LAPIC_LVT_CMCI && (l->version >> 16 & 0xff) < 6) return false;
    uint8_t have = local_apic_x2(l) ? reg_access[reg].x2 : reg_access[reg].x;
    return (have & wanted) != 0;
}

static bool reg_exists(const struct local_apic *l, unsigned reg) { return has_reg(l, reg, RW); }

/* ---- errors ---- */

static void lapic_error(struct local_apic *l, uint32_t bit)
{
    bool fresh = !(l->s.errors & bit);
    l->s.errors |= bit;
    if (fresh) local_apic_raise(l, LVT_ERROR);
}

/* ---- reset ---- */

static void registers_reset(struct local_apic *l)
{
    struct local_apic_state *s = &l->s;
    uint64_t base = s->base;
    uint32_t xapic_id = s->xapic_id;
    uint8_t lint[2] = {s->lint[0], s->lint[1]};
    memset(s, 0, sizeof *s);
    s->base = base;
    s->xapic_id = xapic_id;
    s->lint[0] = lint[0];
    s->lint[1] = lint[1];
    s->dfr = UINT32_MAX;
    s->svr = 0xff;
    for (unsigned i = 0; i < LVT_COUNT; i++)
        s->lvt[i] = LVT_MASKED;
    local_apic_rearm(l);
}

void local_apic_setup(struct local_apic *l, const struct local_apic_ops *ops, void *opaque,
                      struct apic_bus *bus, int cpu_id, uint32_t id)
{
    *l = (struct local_apic){.ops = ops,
                             .opaque = opaque,
                             .bus = bus,
                             .cpu_id = cpu_id,
                             .id = id,
                             .version = 0x01050014, /* directed EOI, six LVT entries, integrated APIC */
                             .phys_bits = 46,
                             .bsp = cpu_id == 0,
                             .has_x2apic = true,
                             .has_deadline = true};
}

void local_apic_reset(struct local_apic *l)
{
    uint64_t old = l->s.base;
    l->s.base = UINT64_C(0xfee00000) | APIC_BASE_EN | (l->bsp ? APIC_BASE_BSP : 0);
    l->s.xapic_id = l->id << 24;
    l->s.lint[0] = l->s.lint[1] = 0;
    registers_reset(l);
    l->ops->base_changed(l->opaque, l->cpu_id, old);
    l->ops->intr(l->opaque, l->cpu_id);
}

void local_apic_init_reset(struct local_apic *l)
{
    registers_reset(l);
    l->ops->intr(l->opaque, l->cpu_id);
}

/* ---- priority ---- */

uint8_t local_apic_ppr(const struct local_apic *l)
{
    int isrv = bit_highest(l->s.isr);
    uint8_t isr_class = isrv < 0 ? 0 : (uint8_t)(isrv & 0xf0);
    return (l->s.tpr & 0xf0) >= isr_class ? (uint8_t)l->s.tpr : isr_class;
}

static uint8_t arbitration_priority(const struct local_apic *l)
{
    int irrv = bit_highest(l->s.irr), isrv = bit_highest(l->s.isr);
    uint8_t irr_class = irrv < 0 ? 0 : (uint8_t)(irrv & 0xf0);
    uint8_t isr_class = isrv < 0 ? 0 : (uint8_t)(isrv & 0xf0);
    uint8_t tpr_class = l->s.tpr & 0xf0;
    if (tpr_class >= irr_class && tpr_class > isr_class) return (uint8_t)l->s.tpr;
    return irr_class > isr_class ? irr_class : isr_class;
}

int local_apic_pending(const struct local_apic *l)
{
    if (!local_apic_enabled(l)) return -1;
    int v = bit_highest(l->s.irr);
    return v >= 0 && (v & 0xf0) > (local_apic_ppr(l) & 0xf0) ? v : -1;
}

int local_apic_acknowledge(struct local_apic *l)
{
    int v = local_apic_pending(l);
    if (v < 0) return -1;
    bit_clear(l->s.irr, (unsigned)v);
    bit_set(l->s.isr, (unsigned)v);
    l->ops->intr(l->opaque, l->cpu_id);
    return v;
}

bool local_apic_extint(const struct local_apic *l)
{
    uint32_t e = l->s.lvt[LVT_LINT0];
    return local_apic_enabled(l) && l->s.lint[0] && !(e & LVT_MASKED) && (e >> 8 & 7) == APIC_EXTINT;
}

/* ---- acceptance ---- */

static bool accept_vector(struct local_apic *l, uint8_t vector, bool level)
{
    if (!local_apic_enabled(l) || !(l->s.svr & SVR_ENABLE)) return false;
    if (vector < 16) {
        lapic_error(l, ESR_RECEIVE_VECTOR);
        return false;
    }
    bit_set(l->s.irr, vector);
    if (level)
        bit_set(l->s.tmr, vector);
    else
        bit_clear(l->s.tmr, vector);
    l->ops->intr(l->opaque, l->cpu_id);
    return true;
}

bool local_apic_accept(struct local_apic *l, const struct apic_message *msg)
{
    if (!local_apic_enabled(l)) return false;
    switch (msg->delivery) {
    case APIC_FIXED:
    case APIC_LOWEST: return accept_vector(l, msg->vector, msg->level);
    case APIC_SMI: l->ops->smi(l->opaque, l->cpu_id); return true;
    case APIC_NMI: l->ops->nmi(l->opaque, l->cpu_id); return true;
    case APIC_INIT: l->ops->init(l->opaque, l->cpu_id); return true;
    case APIC_STARTUP: l->ops->sipi(l->opaque, l->cpu_id, msg->vector); return true;
    default: return false;
    }
}

static uint32_t x2_ldr(const struct local_apic *l) { return (l->id >> 4) << 16 | 1u << (l->id & 15); }

bool local_apic_match(const struct local_apic *l, const struct apic_message *msg)
{
    uint32_t dest = msg->dest;
    if (dest == (msg->wide ? UINT32_MAX : 0xff)) return true;
    if (!msg->logical) return dest == (local_apic_x2(l) ? l->id : l->s.xapic_id >> 24);
    if (local_apic_x2(l)) {
        uint32_t ldr = x2_ldr(l);
        return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff) != 0;
    }
    if (dest > 0xff) return false;
    uint32_t ldr = l->s.ldr >> 24;
    switch (l->s.dfr >> 28) {
    case 0xf: return (ldr & dest) != 0;
    case 0x0: return (ldr >> 4 == dest >> 4 || dest >> 4 == 0xf) && (ldr & dest & 0xf) != 0;
    default: return false;
    }
}

/* ---- local vector table ---- */

/* The event of an unmasked entry. */
static void lvt_deliver(struct local_apic *l, enum lapic_lvt which)
{
    uint32_t e = l->s.lvt[which];
    bool fixed_only = which == LVT_TIMER || which == LVT_ERROR;
    bool is_lint = which == LVT_LINT0 || which == LVT_LINT1;
    switch (fixed_only ? APIC_FIXED : e >> 8 & 7) {
    case APIC_FIXED: {
        bool level = is_lint && (e & LVT_LEVEL);
        if (accept_vector(l, (uint8_t)e, level) && level) l->s.lvt[which] |= LVT_REMOTE_IRR;
        break;
    }
    case APIC_SMI: l->ops->smi(l->opaque, l->cpu_id); break;
    case APIC_NMI: l->ops->nmi(l->opaque, l->cpu_id); break;
    case APIC_INIT:
        if (is_lint) l->ops->init(l->opaque, l->cpu_id);
        break;
    default: break; /* ExtINT is a level, see local_apic_extint() */
    }
    /* SDM 3A 11.5.1: the processor masks the entry when a counter's interrupt is delivered. */
    if (which == LVT_PERF) l->s.lvt[which] |= LVT_MASKED;
}

void local_apic_raise(struct local_apic *l, enum lapic_lvt which)
{
    if (local_apic_enabled(l) && !(l->s.lvt[which] & LVT_MASKED)) lvt_deliver(l, which);
}

/* A level-triggered fixed LINT asks again for as long as it is asserted and not in service. */
static void lint_level(struct local_apic *l, unsigned pin)
{
    enum lapic_lvt which = pin ? LVT_LINT1 : LVT_LINT0;
    uint32_t e = l->s.lvt[which];
    if (l->s.lint[pin] && (e >> 8 & 7) == APIC_FIXED && (e & LVT_LEVEL) && !(e & LVT_REMOTE_IRR))
        local_apic_raise(l, which);
}

void local_apic_set_lint(struct local_apic *l, unsigned pin, bool asserted)
{
    if (l->s.lint[pin] == asserted) return;
    enum lapic_lvt which = pin ? LVT_LINT1 : LVT_LINT0;
    uint32_t e = l->s.lvt[which];
    uint32_t mode = e >> 8 & 7;
    l->s.lint[pin] = asserted;
    if (mode == APIC_EXTINT)
        l->ops->intr(l->opaque, l->cpu_id);
    else if (mode == APIC_FIXED && (e & LVT_LEVEL))
        lint_level(l, pin);
    else if (asserted) /* everything else counts edges, whatever the trigger bit says */
        local_apic_raise(l, which);
}

static void lvt_write(struct local_apic *l, enum lapic_lvt which, uint32_t value)
{
    uint32_t old = l->s.lvt[which];
    uint32_t writable = lvt_row[which].writable;
    if (which == LVT_TIMER && !l->has_deadline) writable &= ~(uint32_t)LVT_DEADLINE;
    uint32_t e = value & writable;
    if (!(l->s.svr & SVR_ENABLE)) e |= LVT_MASKED;
    if (e & LVT_LEVEL) e |= old & LVT_REMOTE_IRR;
    l->s.lvt[which] = e;
    if (which == LVT_TIMER) local_apic_timer_mode(l, old);
    if (which == LVT_LINT0 || which == LVT_LINT1) {
        lint_level(l, which == LVT_LINT1);
        l->ops->intr(l->opaque, l->cpu_id);
    }
}

static void svr_write(struct local_apic *l, uint32_t value)
{
    uint32_t eoi_bit = (l->version >> 24 & 1) ? SVR_NO_EOI_BROADCAST : 0;
    l->s.svr = value & (0x3ff | eoi_bit);
    if (!(l->s.svr & SVR_ENABLE))
        for (unsigned i = 0; i < LVT_COUNT; i++)
            l->s.lvt[i] |= LVT_MASKED;
    l->ops->intr(l->opaque, l->cpu_id);
}

void local_apic_eoi(struct local_apic *l)
{
    int v = bit_highest(l->s.isr);
    if (v < 0) return;
    bit_clear(l->s.isr, (unsigned)v);
    if (bit_get(l->s.tmr, (unsigned)v)) {
        for (unsigned pin = 0; pin < 2; pin++) {
            uint32_t *e = &l->s.lvt[pin ? LVT_LINT1 : LVT_LINT0];
            if ((*e & LVT_REMOTE_IRR) && (int)(*e & 0xff) == v) {
                *e &= ~(uint32_t)LVT_REMOTE_IRR;
                lint_level(l, pin);
            }
        }
        if (!(l->s.svr & SVR_NO_EOI_BROADCAST)) apic_bus_eoi(l->bus, (uint8_t)v);
    }
    l->ops->intr(l->opaque, l->cpu_id);
}

/* ---- interprocessor interrupts ---- */

static void send_self(struct local_apic *l, uint8_t vector)
{
    if (vector < 16)
        lapic_error(l, ESR_SEND_VECTOR);
    else
        accept_vector(l, vector, false);
}

static void icr_send(struct local_apic *l)
{
    uint32_t low = (uint32_t)l->s.icr;
    bool wide = local_apic_x2(l);
    struct apic_message msg = {.dest = (uint32_t)(wide ? l->s.icr >> 32 : l->s.icr >> 56),
                               .vector = (uint8_t)low,
                               .delivery = (uint8_t)(low >> 8 & 7),
                               .logical = (low & ICR_LOGICAL) != 0,
                               .wide = wide};
    if (msg.delivery == APIC_REMOTE_READ || msg.delivery == APIC_EXTINT) return;
    /* A level de-assert is a message of older buses: it does nothing. */
    if ((low & ICR_TRIGGER) && !(low & ICR_LEVEL)) return;
    if ((msg.delivery == APIC_FIXED || msg.delivery == APIC_LOWEST) && msg.vector < 16) {
        lapic_error(l, ESR_SEND_VECTOR);
        return;
    }
    struct apic_bus *b = l->bus;
    switch (low >> 18 & 3) {
    case 0: apic_bus_send(b, &msg); break;
    case 1: local_apic_accept(l, &msg); break;
    case 2: apic_bus_broadcast(b, &msg, NULL); break;
    default: apic_bus_broadcast(b, &msg, l); break;
    }
}

/* ---- registers ---- */

static int lvt_of(unsigned reg)
{
    for (int i = 0; i < LVT_COUNT; i++)
        if (lvt_row[i].reg == reg) return i;
    return -1;
}

uint32_t local_apic_peek(const struct local_apic *l, unsigned reg)
{
    const struct local_apic_state *s = &l->s;
    if (reg >= LAPIC_ISR0 && reg <= LAPIC_ISR7) return s->isr[reg - LAPIC_ISR0];
    if (reg >= LAPIC_TMR0 && reg <= LAPIC_TMR7) return s->tmr[reg - LAPIC_TMR0];
    if (reg >= LAPIC_IRR0 && reg <= LAPIC_IRR7) return s->irr[reg - LAPIC_IRR0];
    switch (reg) {
    case LAPIC_ID: return local_apic_x2(l) ? l->id : s->xapic_id;
    case LAPIC_VERSION: return l->version;
    case LAPIC_TPR: return s->tpr;
    case LAPIC_APR: return arbitration_priority(l);
    case LAPIC_PPR: return local_apic_ppr(l);
    case LAPIC_LDR: return local_apic_x2(l) ? x2_ldr(l) : s->ldr;
    case LAPIC_DFR: return s->dfr;
    case LAPIC_SVR: return s->svr;
    case LAPIC_ESR: return s->esr;
    case LAPIC_ICR: return (uint32_t)s->icr;
    case LAPIC_ICR_HIGH: return (uint32_t)(s->icr >> 32);
    case LAPIC_INITIAL_COUNT: return s->lvt[LVT_TIMER] & LVT_DEADLINE ? 0 : s->initial_count;
    case LAPIC_CURRENT_COUNT: return local_apic_timer_current(l);
    case LAPIC_DIVIDE: return s->divide;
    default: {
        int which = lvt_of(reg);
        return which >= 0 ? s->lvt[which] : 0;
    }
    }
}

/* A write whose reserved bits have been judged. value is 64 bits wide for the x2APIC ICR only. */
static void reg_write(struct local_apic *l, unsigned reg, uint64_t value)
{
    struct local_apic_state *s = &l->s;
    uint32_t v = (uint32_t)value;
    switch (reg) {
    case LAPIC_ID: s->xapic_id = v & 0xff000000; break;
    case LAPIC_TPR:
        s->tpr = v & 0xff;
        l->ops->intr(l->opaque, l->cpu_id);
        break;
    case LAPIC_EOI: local_apic_eoi(l); break;
    case LAPIC_LDR: s->ldr = v & 0xff000000; break;
    case LAPIC_DFR: s->dfr = v | 0x0fffffff; break;
    case LAPIC_SVR: svr_write(l, v); break;
    case LAPIC_ESR:
        s->esr = s->errors;
        s->errors = 0;
        break;
    case LAPIC_ICR:
        if (local_apic_x2(l))
            s->icr = value & ~ICR_STATUS;
        else
            s->icr = (s->icr & ~UINT64_C(0xffffffff)) | (v & ICR_X_WRITABLE);
        icr_send(l);
        break;
    case LAPIC_ICR_HIGH: s->icr = (uint64_t)(v & 0xff000000) << 32 | (uint32_t)s->icr; break;
    case LAPIC_INITIAL_COUNT: local_apic_timer_write_initial(l, v); break;
    case LAPIC_DIVIDE: local_apic_timer_write_divide(l, v & 0xb); break;
    case LAPIC_SELF_IPI: send_self(l, (uint8_t)v); break;
    default: {
        int which = lvt_of(reg);
        if (which >= 0) lvt_write(l, (enum lapic_lvt)which, v);
    }
    }
}

uint64_t local_apic_mmio_read(struct local_apic *l, uint32_t offset, uint32_t size)
{
    unsigned reg = offset >> 4 & 0xff, byte = offset & 15;
    if (!reg_exists(l, reg)) {
        lapic_error(l, ESR_REGISTER);
        return 0;
    }
    if (byte + size > 4 || !has_reg(l, reg, RO)) return 0;
    uint64_t mask = (UINT64_C(1) << size * 8) - 1;
    return local_apic_peek(l, reg) >> byte * 8 & mask;
}

void local_apic_mmio_write(struct local_apic *l, uint32_t offset, uint32_t size, uint64_t value)
{
    unsigned reg = offset >> 4 & 0xff;
    if ((offset & 15) || size != 4) return;
    if (!reg_exists(l, reg)) {
        lapic_error(l, ESR_REGISTER);
        return;
    }
    if (has_reg(l, reg, WO)) reg_write(l, reg, (uint32_t)value);
}

/* Bits that must be 0 in an x2APIC WRMSR. */
static uint64_t x2_reserved(const struct local_apic *l, unsigned reg)
{
    uint64_t upper = ~UINT64_C(0xffffffff);
    switch (reg) {
    case LAPIC_TPR:
    case LAPIC_SELF_IPI: return ~UINT64_C(0xff);
    case LAPIC_EOI:
    case LAPIC_ESR: return ~UINT64_C(0);
    case LAPIC_SVR: return upper | ~(UINT64_C(0x3ff) | ((l->version >> 24 & 1) ? SVR_NO_EOI_BROADCAST : 0));
    case LAPIC_ICR: return ICR_X2_RESERVED;
    case LAPIC_DIVIDE: return ~UINT64_C(0xb);
    case LAPIC_LVT_TIMER:
        return ~(uint64_t)(l->has_deadline ? lvt_row[LVT_TIMER].allowed
                                           : lvt_row[LVT_TIMER].allowed & ~(uint32_t)LVT_DEADLINE);
    default: {
        int which = lvt_of(reg);
        return which >= 0 ? ~(uint64_t)lvt_row[which].allowed : upper;
    }
    }
}

/* ---- MSRs ---- */

static int base_write(struct local_apic *l, uint64_t value)
{
    uint64_t old = l->s.base;
    uint64_t reserved = 0x2ff | (l->phys_bits < 64 ? ~UINT64_C(0) << l->phys_bits : 0);
    if (!l->has_x2apic) reserved |= APIC_BASE_EXTD;
    if (value & reserved) return -1;
    /* SDM 3A figure 11-27: x2APIC is entered from xAPIC only and left to disabled only. */
    bool en = (value & APIC_BASE_EN) != 0, extd = (value & APIC_BASE_EXTD) != 0;
    bool was_en = (old & APIC_BASE_EN) != 0, was_extd = (old & APIC_BASE_EXTD) != 0;
    if (extd && !en) return -1;
    if (was_extd && en && !extd) return -1;
    if (!was_en && extd) return -1;
    l->s.base = value;
    if (was_en && !en) {
        l->s.xapic_id = l->id << 24;
        registers_reset(l);
    } else if (extd && !was_extd) {
        l->s.icr &= 0xffffffff;
        l->s.xapic_id = l->id << 24;
    }
    if (value != old) {
        l->ops->base_changed(l->opaque, l->cpu_id, old);
        l->ops->intr(l->opaque, l->cpu_id);
    }
    return 1;
}

enum { MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800 };

int local_apic_msr_read(struct local_apic *l, uint32_t index, uint64_t *value)
{
    if (index == MSR_APIC_BASE) {
        *value = l->s.base;
        return 1;
    }
    if (index == MSR_TSC_DEADLINE) {
        if (!l->has_deadline) return -1;
        *value = l->s.tsc_deadline;
        return 1;
    }
    if (index < MSR_X2APIC || index > MSR_X2APIC + 0xff) return 0;
    unsigned reg = index - MSR_X2APIC;
    if (!local_apic_x2(l) || !has_reg(l, reg, RO)) return -1;
    *value = reg == LAPIC_ICR ? l->s.icr : local_apic_peek(l, reg);
    return 1;
}

int local_apic_msr_write(struct local_apic *l, uint32_t index, uint64_t value)
{
    if (index == MSR_APIC_BASE) return base_write(l, value);
    if (index == MSR_TSC_DEADLINE) {
        if (!l->has_deadline) return -1;
        local_apic_timer_write_deadline(l, value);
        return 1;
    }
    if (index < MSR_X2APIC || index > MSR_X2APIC + 0xff) return 0;
    unsigned reg = index - MSR_X2APIC;
    if (!local_apic_x2(l) || !has_reg(l, reg, WO)) return -1;
    if (value & x2_reserved(l, reg)) return -1;
    reg_write(l, reg, value);
    return 1;
}

uint64_t local_apic_cr8_read(const struct local_apic *l) { return l->s.tpr >> 4; }

void local_apic_cr8_write(struct local_apic *l, uint64_t value)
{
    l->s.tpr = (uint32_t)(value & 0xf) << 4;
    l->ops->intr(l->opaque, l->cpu_id);
}
