/* SPDX-License-Identifier: MIT */
/* Running: one host thread, the vCPU furthest behind runs next until its quantum, the next event or the
 * limit; when all sleep, time jumps to the next event. Which vCPU runs and for how long follows from
 * machine state alone, so every run of a configuration takes the same steps. A turn that a call of
 * machine_run() cuts off is state too: the next call goes on with it. */
#include "cpu/event.h"
#include "cpu/monitor.h"
#include "machine/machine_internal.h"

/* Cycles a vCPU may be ahead of another: short enough that spinning on another's store costs little, long
 * enough that changing over costs little (bench/README.md). */
#define QUANTUM_DEFAULT UINT64_C(2000)
/* A vCPU alone runs this long between two looks at the stop flag. */
#define STRETCH UINT64_C(10000000)
/* All asleep for so much machine time although interrupts keep coming: nothing will wake them. */
#define HANG_CYCLES (UINT64_C(300) * CLOCK_HZ)

static uint64_t quantum_of(const struct machine *m)
{
    return m->config.quantum ? m->config.quantum : QUANTUM_DEFAULT;
}

/* Turns end on multiples of the quantum, so that cutting a run there changes no interleaving. */
static uint64_t turn_end(const struct machine *m, uint64_t now)
{
    uint64_t q = quantum_of(m);
    return now - now % q + q;
}

/* Moves a sleeping processor's clock forward. */
static void advance(struct cpu *c, uint64_t cycle)
{
    if (cpu_now(c) >= cycle) return;
    c->cycle_limit = cycle;
    c->budget = 0;
}

/* Ends the turn under way in time for another processor that can run again. */
static void share_turn(struct machine *m, const struct vcpu *with)
{
    struct vcpu *v = m->turn >= 0 ? &m->vcpu[m->turn] : NULL;
    if (v && v != with) clock_limit(&m->clock, turn_end(m, cpu_now(v->cpu)));
}

void machine_wake(struct machine *m, uint32_t index)
{
    struct vcpu *v = &m->vcpu[index];
    if (!v->idle) return;
    v->idle = false;
    m->awake |= UINT64_C(1) << index;
    m->timed &= ~(UINT64_C(1) << index);
    struct cpu *running = m->clock.running;
    advance(v->cpu, running ? cpu_now(running) : m->clock.now);
    share_turn(m, v);
}

/* A processor that has seen its time does not go on, and cannot tell anybody, before every other one is as
 * far: so no processor ever sees a time stamp that is behind one stored by another, whatever the quantum. The
 * turn ends here; the vCPU furthest behind is next. (A seeded order keeps its own turns: it is there to show
 * such cases.) */
void machine_time_seen(struct machine *m, uint32_t index)
{
    struct cpu *c = m->vcpu[index].cpu;
    if (m->clock.running != c || m->config.order_seed != 0) return;
    for (uint64_t set = m->awake; set; set &= set - 1) {
        if (cpu_now(m->vcpu[__builtin_ctzll(set)].cpu) >= cpu_now(c)) continue;
        clock_limit(&m->clock, cpu_now(c));
        return;
    }
}

/* Cycle at which a sleeper may want to act: its context's, or the end of a timed wait. */
static uint64_t deadline_of(struct cpu *c)
{
    uint64_t context = c->virt->next_deadline ? c->virt->next_deadline(c) : CLOCK_NEVER;
    uint64_t wait = monitor_deadline(c);
    return context < wait ? context : wait;
}

/* What is known of a sleeper is noted when it falls asleep: looking at one costs nothing afterwards. */
static void fall_asleep(struct machine *m, uint32_t index)
{
    struct vcpu *v = &m->vcpu[index];
    uint64_t now = cpu_now(v->cpu), bit = UINT64_C(1) << index;
    v->idle = true;
    v->idle_attention = v->cpu->attention;
    v->deadline = deadline_of(v->cpu);
    m->awake &= ~bit;
    /* A deadline that it slept through already is none. */
    m->timed = v->deadline != CLOCK_NEVER && v->deadline > now ? m->timed | bit : m->timed & ~bit;
    if (now > m->asleep_at) m->asleep_at = now;
}

void machine_run_restored(struct machine *m)
{
    m->awake = m->timed = m->asleep_at = 0;
    for (uint32_t i = 0; i < m->cpus; i++) {
        m->awake |= (uint64_t)!m->vcpu[i].idle << i;
        if (m->vcpu[i].idle) fall_asleep(m, i);
    }
}

/* Somebody changed a sleeping processor from outside (debugger, loader). */
static void look_at_sleepers(struct machine *m)
{
    for (uint32_t i = 0; i < m->cpus; i++)
        if (m->vcpu[i].idle && m->vcpu[i].cpu->attention != m->vcpu[i].idle_attention) machine_wake(m, i);
}

struct choice {
    struct vcpu
        *next; /* runnable vCPU furthest behind, of equals the lowest or highest number; NULL: all sleep */
    bool alone;
    uint64_t now;      /* its time */
    uint64_t deadline; /* earliest cycle at which a sleeper's context may want to act */
    struct vcpu *sleeper;
};

static struct choice choose(struct machine *m)
{
    struct choice c = {.now = CLOCK_NEVER, .deadline = CLOCK_NEVER};
    uint64_t quantum = quantum_of(m);
    c.alone = (m->awake & (m->awake - 1)) == 0;
    for (uint64_t set = m->timed; set; set &= set - 1) {
        struct vcpu *v = &m->vcpu[__builtin_ctzll(set)];
        if (v->deadline >= c.deadline) continue;
        c.deadline = v->deadline;
        c.sleeper = v;
    }
    for (uint64_t set = m->awake; set; set &= set - 1) {
        struct vcpu *v = &m->vcpu[__builtin_ctzll(set)];
        uint64_t now = cpu_now(v->cpu);
        /* Of equals the first and the last take turns at going first: a turn that always ends with a lock
         * held (machine_time_seen) must not keep the others from the lock for ever. */
        if (now > c.now || (now == c.now && (now / quantum & 1) == 0)) continue;
        c.now = now;
        c.next = v;
    }
    return c;
}

/* Place in a random order of all vCPUs, another one for each quantum (splitmix64). */
static uint64_t lot(uint64_t seed, uint64_t slot, uint32_t index)
{
    uint64_t z = seed + (slot * MACHINE_MAX_CPUS + index + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* With an order seed: whose turn it is among those that have not reached `limit`. */
static struct vcpu *draw(struct machine *m, const struct choice *c, uint64_t limit)
{
    struct vcpu *best = c->next;
    if (m->config.order_seed == 0 || c->alone) return best;
    uint64_t slot = c->now / quantum_of(m), least = UINT64_MAX;
    for (uint64_t set = m->awake; set; set &= set - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(set);
        struct vcpu *v = &m->vcpu[i];
        if (cpu_now(v->cpu) >= limit) continue;
        uint64_t l = lot(m->config.order_seed, slot, i);
        if (l <= least) {
            least = l;
            best = v;
        }
    }
    return best;
}

/* ---- hang detection ---- */

/* Could a maskable interrupt end this processor's sleep? */
static bool takes_interrupts(struct cpu *c)
{
    if (c->s.activity == ACTIVITY_WAIT_SIPI || c->s.activity == ACTIVITY_SHUTDOWN) return false;
    if (c->s.activity == ACTIVITY_MWAIT && c->s.monitor.wake_on_if0) return true;
    return c->virt->extint_allowed(c);
}

/* Could a board event deliver an NMI, SMI or INIT? */
static bool unmaskable_source(const struct machine *m)
{
    if (io_apic_can_wake_masked(&m->io_apic)) return true;
    for (uint32_t i = 0; i < m->cpus; i++) {
        uint32_t e = m->vcpu[i].apic.s.lvt[LVT_LINT0], mode = e >> 8 & 7;
        if (!(e & LVT_MASKED) && mode != APIC_FIXED && mode != APIC_EXTINT) return true;
    }
    return false;
}

static bool apic_timer_waits(const struct machine *m)
{
    for (uint32_t i = 0; i < m->cpus; i++)
        if (timer_armed(&m->vcpu[i].apic_timer) && !(m->vcpu[i].apic.s.lvt[LVT_TIMER] & LVT_MASKED))
            return true;
    return false;
}

static bool input_possible(const struct machine *m)
{
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL; i++)
        if (chardev_has_input(m->config.serial[i])) return true;
    return false;
}

/* All sleep and nothing on the board will wake one; `stop` says as what to report it. */
static bool is_hung(struct machine *m, uint64_t next, uint64_t deadline, enum machine_stop *stop)
{
    *stop = MACHINE_HUNG;
    if (deadline != CLOCK_NEVER) return false;
    bool maskable = false;
    for (uint32_t i = 0; i < m->cpus && !maskable; i++)
        maskable = takes_interrupts(m->vcpu[i].cpu);
    if (next != CLOCK_NEVER && !maskable && unmaskable_source(m)) return false;
    if (!maskable) return true;
    if (input_possible(m)) *stop = MACHINE_INPUT;
    if (next == CLOCK_NEVER) return true;
    if (m->input_count || apic_timer_waits(m)) return false;
    return m->clock.now > m->idle_since && m->clock.now - m->idle_since > HANG_CYCLES;
}

/* ---- the loop ---- */

static struct machine_exit leave(struct machine *m, enum machine_stop stop, uint32_t code, int cpu,
                                 uint64_t cycle)
{
    if (cpu >= 0 && cpu_now(m->vcpu[cpu].cpu) > cycle) cycle = cpu_now(m->vcpu[cpu].cpu);
    if (m->clock.now > cycle) cycle = m->clock.now;
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL; i++)
        chardev_flush(m->config.serial[i]);
    chardev_flush(m->config.debugcon);
    m->stopped_at = cycle;
    return (struct machine_exit){.stop = stop, .code = code, .cpu = cpu, .cycle = cycle};
}

/* config.debug: drops what is derived now and then, and says after how many cycles to cut the turn. The
 * lengths spread over the powers of two up to 64 Ki cycles, so that runs are cut everywhere. */
static uint64_t debug_cut(struct machine *m, struct cpu *c)
{
    m->debug_random ^= m->debug_random << 13; /* xorshift64: never 0 from a seed that is not */
    m->debug_random ^= m->debug_random >> 7;
    m->debug_random ^= m->debug_random << 17;
    if (m->debug_random >> 40 & 1) cpu_drop_derived(c);
    return 1 + (m->debug_random >> 41 & ((UINT64_C(1) << (m->debug_random >> 60)) * 2 - 1));
}

/* The vCPU whose turn it is, until the turn's end or `until`. */
static enum run_stop run_turn(struct machine *m, uint64_t until)
{
    struct vcpu *v = &m->vcpu[m->turn];
    struct cpu *c = v->cpu;
    uint64_t before = cpu_now(c);
    uint32_t attention = c->attention;
    m->clock.running = c;
    enum run_stop stop = cpu_run(c, m->clock.turn_limit < until ? m->clock.turn_limit : until);
    m->clock.running = NULL;
    if (cpu_now(c) > before || stop != STOP_IDLE) m->idle_since = CLOCK_NEVER;
    /* Asleep once a look changes nothing any more (an INIT may have left a SIPI to look at). */
    if (stop == STOP_IDLE && (!(c->attention & ~(uint32_t)ATT_IDLE) || c->attention == attention))
        fall_asleep(m, (uint32_t)m->turn);
    return stop;
}

static bool turn_is_over(const struct machine *m)
{
    const struct vcpu *v = &m->vcpu[m->turn];
    return v->idle || cpu_now(v->cpu) >= m->clock.turn_limit;
}

/* Between two turns: events that are due, wake-ups, then the next turn. True: it cannot go on; `stop` says
 * why and `cycle` when. */
static bool next_turn(struct machine *m, uint64_t until, enum machine_stop *stop, uint64_t *cycle)
{
    while (!m->stop_pending && !m->stop_request) {
        struct choice c = choose(m);
        uint64_t next = clock_next(&m->clock);
        uint64_t bound = c.now < until ? c.now : until;

        if (!c.next) {
            uint64_t t = m->asleep_at < next ? m->asleep_at : next; /* the last one slept at its own time */
            if (t > m->clock.now) m->clock.now = t;
            if (m->idle_since == CLOCK_NEVER) m->idle_since = m->clock.now;
            *cycle = m->clock.now;
            if (is_hung(m, next, c.deadline, stop)) return true;
        }

        /* What is due before the slowest processor's time happens first. */
        if (next <= bound && next <= c.deadline) {
            clock_run(&m->clock, next);
            continue;
        }
        if (c.deadline <= bound) {
            if (c.deadline > m->clock.now) m->clock.now = c.deadline;
            machine_wake(m, (uint32_t)(c.sleeper - m->vcpu));
            continue;
        }
        if (c.now >= until) {
            if (!c.next && until > m->clock.now) m->clock.now = until;
            *stop = MACHINE_CYCLE_LIMIT;
            *cycle = until;
            return true;
        }

        uint64_t limit = c.alone ? c.now + STRETCH : turn_end(m, c.now);
        if (next < limit) limit = next;
        if (c.deadline < limit) limit = c.deadline;
        if (c.now > m->clock.now) m->clock.now = c.now;
        m->turn = (int32_t)(draw(m, &c, limit) - m->vcpu);
        m->clock.turn_limit = limit;
        break;
    }
    return false;
}

/* single: leave as soon as whose turn it is has had one cycle. */
static struct machine_exit run(struct machine *m, uint64_t until, bool single)
{
    int last = -1;
    m->stopped_at = 0;
    look_at_sleepers(m);
    for (;;) {
        enum machine_stop stop;
        uint64_t cycle;
        if (m->stop_pending) {
            m->stop_pending = false;
            return leave(m, m->stop, m->stop_code, last, 0);
        }
        if (m->stop_request) {
            m->stop_request = 0;
            return leave(m, MACHINE_REQUEST, 0, last, 0);
        }
        if (m->turn >= 0 && turn_is_over(m)) m->turn = -1;
        if (m->turn < 0) {
            if (next_turn(m, until, &stop, &cycle)) return leave(m, stop, 0, -1, cycle);
            continue;
        }
        if (cpu_now(m->vcpu[m->turn].cpu) >= until) return leave(m, MACHINE_CYCLE_LIMIT, 0, -1, until);
        last = m->turn;
        uint64_t cut = until;
        if (m->config.debug.drop_derived) {
            struct cpu *c = m->vcpu[last].cpu;
            uint64_t drop = cpu_now(c) + debug_cut(m, c);
            if (drop < cut) cut = drop;
        }
        if (single) cut = cpu_now(m->vcpu[last].cpu) + 1;
        switch (run_turn(m, cut)) {
        case STOP_SHUTDOWN:
            if (!m->stop_pending) return leave(m, MACHINE_SHUTDOWN, 0, last, 0);
            break;
        case STOP_DEBUG: return leave(m, MACHINE_DEBUG, 0, last, 0);
        default: break;
        }
        if (single && !m->stop_pending) return leave(m, MACHINE_CYCLE_LIMIT, 0, last, 0);
    }
}

struct machine_exit machine_run(struct machine *m, uint64_t until) { return run(m, until, false); }
struct machine_exit machine_step(struct machine *m) { return run(m, CLOCK_NEVER - 1, true); }
