/* SPDX-License-Identifier: MIT */
/* Life of a machine, guest memory for loaders and debuggers, and the input schedule. The board is put
 * together in board.c, time runs in run.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/engine.h"
#include "cpu/insn.h"
#include "cpu/mem.h"
#include "cpu/monitor.h"
#include "machine/dma.h"
#include "machine/machine_extension.h"
#include "machine/machine_internal.h"

#define MEMORY_MAX (UINT64_C(1) << 40)

enum { INPUT_MAX = 1 << 24, MEMORY_UNIT = 1 << 20 };

void machine_config_default(struct machine_config *config)
{
    *config = (struct machine_config){
        .memory = UINT64_C(128) << 20, .smp = 1, .rtc_base = BOARD_RTC_DEFAULT, .debugcon_port = 0xe9};
}

static const char *config_error(const struct machine_config *c)
{
    if (!c->cpu_model) return "no CPU model chosen";
    if (c->smp < 1 || c->smp > MACHINE_MAX_CPUS) return "number of processors must be 1 to 64";
    uint64_t product = (uint64_t)c->sockets * c->cores * c->threads;
    if ((c->sockets | c->cores | c->threads) != 0 && product != c->smp)
        return "number of processors must be sockets x cores x threads";
    if (c->memory < MEMORY_UNIT || c->memory > MEMORY_MAX || c->memory % MEMORY_UNIT)
        return "memory must be 1 MiB to 1 TiB, in whole MiB";
    return NULL;
}

/* ---- input schedule ---- */

static bool input_insert(struct machine *m, const struct input_event *e)
{
    if (m->input_count == m->input_room) {
        uint32_t room = m->input_room ? m->input_room * 2 : 256;
        if (room > INPUT_MAX) return false;
        struct input_event *more = realloc(m->input, room * sizeof *more);
        if (!more) return false;
        m->input = more;
        m->input_room = room;
    }
    uint32_t at = m->input_count++;
    for (; at > 0 && m->input[at - 1].cycle > e->cycle; at--)
        m->input[at] = m->input[at - 1];
    m->input[at] = *e;
    return true;
}

static void input_arm(struct machine *m)
{
    clock_arm(&m->clock, &m->input_timer, m->input_count ? m->input[0].cycle : CLOCK_NEVER);
}

/* One byte for each port that has one due; the next comes a character time later, and a full receiver
 * makes its sender wait. */
static void input_due(void *opaque)
{
    struct machine *m = opaque;
    uint64_t now = clock_now(&m->clock);
    uint32_t served = 0, kept = 0;
    for (uint32_t i = 0; i < m->input_count; i++) {
        struct input_event e = m->input[i];
        if (e.cycle <= now) {
            struct uart *u = &m->uart[e.port];
            bool first = !(served >> e.port & 1);
            served |= 1u << e.port;
            if (first && uart_can_receive(u)) {
                uart_receive(u, e.byte);
                continue;
            }
            e.cycle = now + uart_character_cycles(u);
        }
        m->input[kept++] = e;
    }
    m->input_count = kept;
    input_arm(m);
}

bool machine_input(struct machine *m, uint32_t port, uint64_t cycle, const uint8_t *data, size_t n)
{
    if (port >= MACHINE_MAX_SERIAL || !m->config.serial[port]) return false;
    if (n > INPUT_MAX - m->input_count) return false;
    uint64_t now = machine_now(m);
    for (size_t i = 0; i < n; i++) {
        struct input_event e = {.cycle = cycle < now ? now : cycle, .port = port, .byte = data[i]};
        if (!input_insert(m, &e)) return false;
    }
    input_arm(m);
    return true;
}

/* ---- life ---- */

static bool create_cpus(struct machine *m)
{
    for (uint32_t i = 0; i < m->config.smp; i++) {
        struct vcpu *v = &m->vcpu[i];
        v->cpu = cpu_create((int)i, m->config.cpu_model, m->config.cpu_features, &m->bus, &m->probes);
        if (!v->cpu) return false;
        m->cpus++;
        v->cpu->topology = board_topology(m);
        v->cpu->apic_id = v->apic.id;
        v->apic.phys_bits = v->cpu->phys_bits;
        v->apic.has_x2apic = has_feature(v->cpu, FEAT_X2APIC);
        v->apic.has_deadline = has_feature(v->cpu, FEAT_TSC_DEADLINE);
        if (!machine_attach_extension(v->cpu)) return false;
    }
    return true;
}

static bool describe(struct machine *m)
{
    struct fw_cfg *f = &m->fw_cfg;
    uint16_t cpus = (uint16_t)m->config.smp, ids = (uint16_t)(m->vcpu[cpus - 1].apic.id + 1);
    return fw_cfg_init(f, m) && fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, m->config.memory) &&
           fw_cfg_add_u16(f, FW_CFG_NB_CPUS, cpus) && fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, ids) &&
           fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, 1);
}

struct machine *machine_create(const struct machine_config *config, char *error, size_t error_size)
{
    const char *wrong = config_error(config);
    if (wrong) {
        snprintf(error, error_size, "%s", wrong);
        return NULL;
    }
    struct machine *m = calloc(1, sizeof *m);
    if (!m) {
        snprintf(error, error_size, "host memory exhausted");
        return NULL;
    }
    m->config = *config;
    clock_init(&m->clock);
    ports_init(&m->ports);
    mmio_init(&m->mmio);
    if (!memory_map_init(&m->memory, config->memory)) {
        snprintf(error, error_size, "cannot reserve %llu MiB of guest memory",
                 (unsigned long long)(config->memory >> 20));
    } else if (!board_setup(m)) {
        snprintf(error, error_size, "two devices claim the same ports");
    } else if (!create_cpus(m) || !describe(m)) {
        snprintf(error, error_size, "host memory exhausted");
    } else {
        clock_register(&m->clock, &m->input_timer, input_due, m);
        machine_reset(m);
        return m;
    }
    machine_destroy(m);
    return NULL;
}

void machine_destroy(struct machine *m)
{
    if (!m) return;
    for (uint32_t i = 0; i < m->cpus; i++)
        cpu_destroy(m->vcpu[i].cpu);
    fw_cfg_free(&m->fw_cfg);
    memory_map_free(&m->memory);
    free(m->input);
    free(m);
}

void machine_reset(struct machine *m)
{
    clock_reset(&m->clock);
    m->input_count = 0;
    m->stop_pending = false;
    m->idle_since = CLOCK_NEVER;
    m->debug_random = m->config.debug.drop_derived;
    m->turn = -1;
    m->stopped_at = 0;
    for (uint32_t i = 0; i < m->cpus; i++) {
        struct vcpu *v = &m->vcpu[i];
        v->idle = false;
        v->cpu->engine->no_peephole = m->config.debug.no_peephole;
        v->cpu->engine->no_chain = m->config.debug.no_chain;
        v->cpu->cycle_limit = 0;
        v->cpu->budget = 0;
        v->cpu->stop_requested = false;
        cpu_reset(v->cpu);
        if (v->cpu->ext) v->cpu->ext->reset(v->cpu);
    }
    board_reset(m);
    for (uint32_t i = 0; i < m->cpus; i++)
        cpu_drop_derived(m->vcpu[i].cpu);
    machine_run_restored(m);
}

void machine_stop_with(struct machine *m, enum machine_stop stop, uint32_t code)
{
    if (!m->stop_pending) {
        m->stop_pending = true;
        m->stop = stop;
        m->stop_code = code;
    }
    if (m->clock.running) cpu_request_stop(m->clock.running);
}

void machine_request_stop(struct machine *m)
{
    m->stop_request = 1;
    /* Only a flag: the loop looks at it at each event and quantum (run.c). */
}

void machine_set_a20(struct machine *m, bool enabled)
{
    uint64_t mask = enabled ? ~UINT64_C(0) : ~(UINT64_C(1) << 20);
    if (m->bus.a20_mask == mask) return;
    m->bus.a20_mask = mask;
    for (uint32_t i = 0; i < m->cpus; i++)
        tlb_flush_all(m->vcpu[i].cpu);
}

/* ---- questions ---- */

struct cpu *machine_cpu(struct machine *m, uint32_t index)
{
    return index < m->cpus ? m->vcpu[index].cpu : NULL;
}
uint32_t machine_cpu_count(const struct machine *m) { return m->cpus; }
struct probe_bus *machine_probes(struct machine *m) { return &m->probes; }
struct fw_cfg *machine_fw_cfg(struct machine *m) { return &m->fw_cfg; }
const struct machine_config *machine_configuration(const struct machine *m) { return &m->config; }

uint64_t machine_now(const struct machine *m)
{
    if (m->clock.running) return cpu_now(m->clock.running);
    return m->stopped_at > m->clock.now ? m->stopped_at : m->clock.now;
}

uint64_t machine_instructions(const struct machine *m)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < m->cpus; i++)
        n += m->vcpu[i].cpu->s.insns;
    return n;
}

/* ---- memory ---- */

void machine_memory_written(struct machine *m, uint64_t address, uint64_t n)
{
    if (n == 0) return;
    for (uint64_t p = address >> PAGE_SHIFT; p <= (address + n - 1) >> PAGE_SHIFT; p++)
        m->memory.page_flags[p] |= PAGE_DIRTY;
    engine_bus_written(&m->bus, address, n);
    monitor_written(&m->bus, address, n);
}

bool machine_memory_write(struct machine *m, uint64_t address, const void *data, uint64_t n)
{
    if (!memory_map_covers(&m->memory, address, n)) return false;
    if (n) memcpy(m->memory.ram + address, data, n);
    machine_memory_written(m, address, n);
    return true;
}

bool machine_memory_read(const struct machine *m, uint64_t address, void *data, uint64_t n)
{
    if (!memory_map_covers(&m->memory, address, n)) return false;
    if (n) memcpy(data, m->memory.ram + address, n);
    return true;
}

bool machine_memory_fill(struct machine *m, uint64_t address, uint8_t value, uint64_t n)
{
    if (!memory_map_covers(&m->memory, address, n)) return false;
    if (n) memset(m->memory.ram + address, value, n);
    machine_memory_written(m, address, n);
    return true;
}

uint8_t *machine_memory_pointer(struct machine *m, uint64_t address, uint64_t n)
{
    return memory_map_covers(&m->memory, address, n) ? m->memory.ram + address : NULL;
}

uint64_t machine_memory_low(const struct machine *m) { return m->memory.low; }
uint64_t machine_memory_high(const struct machine *m) { return m->memory.high; }

bool machine_memory_add_rom(struct machine *m, uint64_t address, uint64_t n)
{
    if (!memory_map_add_rom(&m->memory, address, n)) return false;
    for (uint32_t i = 0; i < m->cpus; i++)
        tlb_flush_all(m->vcpu[i].cpu);
    return true;
}

bool dma_read_bytes(struct machine *m, uint64_t address, void *data, uint32_t n)
{
    return machine_memory_read(m, address, data, n);
}

bool dma_write_bytes(struct machine *m, uint64_t address, const void *data, uint32_t n)
{
    if (!memory_map_covers(&m->memory, address, n)) return false;
    const uint8_t *from = data;
    while (n > 0) { /* ROM is left alone, page by page */
        uint32_t here = PAGE_SIZE - (uint32_t)(address & (PAGE_SIZE - 1));
        if (here > n) here = n;
        if (!(m->memory.page_flags[address >> PAGE_SHIFT] & PAGE_ROM)) {
            memcpy(m->memory.ram + address, from, here);
            machine_memory_written(m, address, here);
        }
        address += here;
        from += here;
        n -= here;
    }
    return true;
}
