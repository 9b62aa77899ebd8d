/* SPDX-License-Identifier: MIT */
/* The board: which device answers where, and how lines and signals run between devices and processors. */
#include <string.h>

#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/msr.h"
#include "machine/devices/fw_cfg_ports.h"
#include "machine/machine_internal.h"

/* ---- signals from the local APICs ---- */

static struct vcpu *vcpu_of(void *opaque, int id) { return &((struct machine *)opaque)->vcpu[id]; }

/* A processor lives in its own time while it runs; in an event, time is the event's. */
static uint64_t apic_now(void *opaque, int id)
{
    struct machine *m = opaque;
    return m->clock.running == m->vcpu[id].cpu ? cpu_now(m->vcpu[id].cpu) : clock_now(&m->clock);
}
static uint64_t apic_tsc(void *opaque, int id)
{
    return apic_now(opaque, id) + vcpu_of(opaque, id)->cpu->s.tsc_base;
}
static void apic_arm(void *opaque, int id, uint64_t cycle)
{
    struct machine *m = opaque;
    clock_arm(&m->clock, &m->vcpu[id].apic_timer, cycle);
}
static void apic_intr(void *opaque, int id)
{
    cpu_signal_intr(vcpu_of(opaque, id)->cpu);
    machine_wake(opaque, (uint32_t)id);
}
static void apic_nmi(void *opaque, int id)
{
    cpu_signal_nmi(vcpu_of(opaque, id)->cpu);
    machine_wake(opaque, (uint32_t)id);
}
static void apic_smi(void *opaque, int id)
{
    cpu_signal_smi(vcpu_of(opaque, id)->cpu);
    machine_wake(opaque, (uint32_t)id);
}
static void apic_init(void *opaque, int id)
{
    cpu_signal_init(vcpu_of(opaque, id)->cpu);
    machine_wake(opaque, (uint32_t)id);
}
static void apic_sipi(void *opaque, int id, uint8_t vector)
{
    cpu_signal_sipi(vcpu_of(opaque, id)->cpu, vector);
    machine_wake(opaque, (uint32_t)id);
}

/* The register page moved: it hides RAM for as long as some processor's APIC is there. */
static void apic_base_changed(void *opaque, int id, uint64_t old)
{
    struct machine *m = opaque;
    struct vcpu *v = &m->vcpu[id];
    v->cpu->s.apic_base = v->apic.s.base;
    uint64_t pages[2] = {(old & (APIC_BASE_EN | APIC_BASE_EXTD)) == APIC_BASE_EN ? old & ~UINT64_C(0xfff)
                                                                                 : ~UINT64_C(0),
                         local_apic_page(&v->apic)};
    bool changed = false;
    for (unsigned k = 0; k < 2; k++) {
        if (pages[k] >= m->memory.top) continue;
        bool used = false;
        for (uint32_t i = 0; i < m->cpus; i++)
            used |= local_apic_page(&m->vcpu[i].apic) == pages[k];
        uint8_t before = m->memory.page_flags[pages[k] >> PAGE_SHIFT];
        memory_map_overlay(&m->memory, pages[k], used);
        changed |= before != m->memory.page_flags[pages[k] >> PAGE_SHIFT];
    }
    for (uint32_t i = 0; changed && i < m->cpus; i++)
        tlb_flush_all(m->vcpu[i].cpu);
}

static const struct local_apic_ops apic_ops = {
    .now = apic_now,
    .tsc = apic_tsc,
    .arm = apic_arm,
    .intr = apic_intr,
    .nmi = apic_nmi,
    .smi = apic_smi,
    .init = apic_init,
    .sipi = apic_sipi,
    .base_changed = apic_base_changed,
};

static void apic_timer(void *opaque) { local_apic_timer(&((struct vcpu *)opaque)->apic); }

/* ---- 8259 output: LINT0 of every processor, I/O APIC pin 0, the bare INTR pin without an APIC ---- */

static void pic_output(void *opaque, bool asserted)
{
    struct machine *m = opaque;
    for (uint32_t i = 0; i < m->cpus; i++)
        local_apic_set_lint(&m->vcpu[i].apic, 0, asserted);
    if (!local_apic_enabled(&m->vcpu[0].apic)) apic_intr(m, 0);
    io_apic_set_line(&m->io_apic, 0, asserted);
}

static int pic_acknowledge(void *opaque) { return i8259_acknowledge(&((struct machine *)opaque)->pic); }

/* ---- what processors see ---- */

static bool bus_intr_pending(void *opaque, int id)
{
    struct machine *m = opaque;
    const struct local_apic *l = &m->vcpu[id].apic;
    if (!local_apic_enabled(l)) return id == 0 && m->pic.s.intr;
    return local_apic_extint(l) || local_apic_pending(l) >= 0;
}

static int bus_intr_acknowledge(void *opaque, int id)
{
    struct machine *m = opaque;
    struct vcpu *v = &m->vcpu[id];
    int vector;
    if (!local_apic_enabled(&v->apic))
        vector = id == 0 && m->pic.s.intr ? i8259_acknowledge(&m->pic) : -1;
    else if (local_apic_extint(&v->apic))
        vector = i8259_acknowledge(&m->pic);
    else
        vector = local_apic_acknowledge(&v->apic);
    if (vector >= 0) PROBE(&m->probes, v->cpu, INTR_ACK, (uint64_t)vector, 0);
    return vector;
}

static uint64_t bus_tpr_read(void *opaque, int id) { return vcpu_of(opaque, id)->apic.s.tpr; }
static void bus_tpr_write(void *opaque, int id, uint64_t value)
{
    local_apic_cr8_write(&vcpu_of(opaque, id)->apic, value >> 4);
}
static int bus_msr_read(void *opaque, int id, uint32_t index, uint64_t *value)
{
    return local_apic_msr_read(&vcpu_of(opaque, id)->apic, index, value);
}
static int bus_msr_write(void *opaque, int id, uint32_t index, uint64_t value)
{
    return local_apic_msr_write(&vcpu_of(opaque, id)->apic, index, value);
}
static void bus_ferr(void *opaque, int id)
{
    struct machine *m = opaque;
    (void)id;
    irq_set(&m->irq, BOARD_IRQ_FPU, IRQ_SRC_FERR, true);
}
static void bus_init_taken(void *opaque, int id) { local_apic_init_reset(&vcpu_of(opaque, id)->apic); }
static void bus_tsc_changed(void *opaque, int id) { local_apic_tsc_changed(&vcpu_of(opaque, id)->apic); }

static void bus_tsc_sampled(void *opaque, int id) { machine_time_seen(opaque, (uint32_t)id); }

static void bus_wake(void *opaque, int id) { machine_wake(opaque, (uint32_t)id); }

static uint64_t ram_load(const struct machine *m, uint64_t address, uint32_t size)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < size; i++)
        value |= (uint64_t)m->memory.ram[address + i] << 8 * i;
    return value;
}

static uint64_t bus_mmio_read(void *opaque, int id, uint64_t address, uint32_t size)
{
    struct machine *m = opaque;
    struct local_apic *l = &m->vcpu[id].apic;
    uint64_t value;
    if ((address & ~UINT64_C(0xfff)) == local_apic_page(l))
        value = local_apic_mmio_read(l, address & 0xfff, size);
    else if (memory_map_covers(&m->memory, address, size)) /* RAM under another processor's APIC page */
        value = ram_load(m, address, size);
    else
        value = mmio_read(&m->mmio, address, size);
    PROBE(&m->probes, m->vcpu[id].cpu, MMIO_READ, address, value);
    return value;
}

static void bus_mmio_write(void *opaque, int id, uint64_t address, uint32_t size, uint64_t value)
{
    struct machine *m = opaque;
    struct local_apic *l = &m->vcpu[id].apic;
    PROBE(&m->probes, m->vcpu[id].cpu, MMIO_WRITE, address, value);
    if ((address & ~UINT64_C(0xfff)) == local_apic_page(l)) {
        local_apic_mmio_write(l, address & 0xfff, size, value);
    } else if (memory_map_covers(&m->memory, address, size)) {
        if (m->memory.page_flags[address >> PAGE_SHIFT] & PAGE_ROM) return;
        for (uint32_t i = 0; i < size; i++)
            m->memory.ram[address + i] = (uint8_t)(value >> 8 * i);
        machine_memory_written(m, address, size);
    } else {
        mmio_write(&m->mmio, address, size, value);
    }
}

static uint32_t bus_port_read(void *opaque, int id, uint16_t port, uint32_t size)
{
    struct machine *m = opaque;
    (void)id;
    return ports_read(&m->ports, port, size);
}
static void bus_port_write(void *opaque, int id, uint16_t port, uint32_t size, uint32_t value)
{
    struct machine *m = opaque;
    (void)id;
    ports_write(&m->ports, port, size, value);
}

/* ---- board signals ---- */

static void signal_reset(void *opaque) { machine_stop_with(opaque, MACHINE_RESET, 0); }
static void signal_power_off(void *opaque) { machine_stop_with(opaque, MACHINE_POWER_OFF, 0); }
static void signal_debug_exit(void *opaque, uint32_t value)
{
    machine_stop_with(opaque, MACHINE_DEBUG_EXIT, value);
}

static void signal_a20(void *opaque, bool enabled)
{
    struct machine *m = opaque;
    i8042_note_a20(&m->i8042, enabled);
    m->system.s.port92 = (uint8_t)((m->system.s.port92 & ~2) | (enabled ? 2 : 0));
    machine_set_a20(m, enabled);
}

static void signal_apm(void *opaque, uint8_t command)
{
    struct machine *m = opaque;
    acpi_pm_command(&m->pm, command);
}

static void signal_flush_page(void *opaque, uint64_t address)
{
    struct machine *m = opaque;
    (void)address;
    for (uint32_t i = 0; i < m->cpus; i++)
        tlb_flush_all(m->vcpu[i].cpu);
}

static uint32_t pic_read(void *opaque, uint16_t port, uint32_t size)
{
    (void)size;
    return i8259_read(opaque, port);
}
static void pic_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    (void)size;
    i8259_write(opaque, port, (uint8_t)value);
}
static uint64_t io_apic_read_region(void *opaque, uint64_t offset, uint32_t size)
{
    return io_apic_mmio_read(opaque, (uint32_t)offset & 0xff, size);
}
static void io_apic_write_region(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    io_apic_mmio_write(opaque, (uint32_t)offset & 0xff, size, value);
}
static void ferr_clear(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct machine *m = opaque;
    (void)port, (void)size, (void)value;
    irq_set(&m->irq, BOARD_IRQ_FPU, IRQ_SRC_FERR, false);
}

/* ---- claims ---- */

static bool claim_ports(struct machine *m)
{
    static const struct {
        uint16_t base;
        uint8_t line, source;
    } com[MACHINE_MAX_SERIAL] = {{0x3f8, BOARD_IRQ_COM1, IRQ_SRC_COM1},
                                 {0x2f8, BOARD_IRQ_COM2, IRQ_SRC_COM2},
                                 {0x3e8, BOARD_IRQ_COM1, IRQ_SRC_COM3},
                                 {0x2e8, BOARD_IRQ_COM2, IRQ_SRC_COM4}};
    const struct machine_config *c = &m->config;
    /* name, first, last, widest access, read, write, device */
    const struct port_region fixed[] = {
        {"dma1", 0x00, 0x0f, 1, dma_read, dma_write, &m->system},
        {"pic1", 0x20, 0x21, 1, pic_read, pic_write, &m->pic},
        {"pit", 0x40, 0x43, 1, i8254_read, i8254_write, &m->pit},
        {"port61", 0x61, 0x61, 1, port61_read, port61_write, &m->system},
        {"rtc", 0x70, 0x71, 1, rtc_read, rtc_write, &m->rtc},
        {"dma-page", 0x80, 0x8f, 1, dma_read, dma_write, &m->system},
        {"port92", 0x92, 0x92, 1, port92_read, port92_write, &m->system},
        {"pic2", 0xa0, 0xa1, 1, pic_read, pic_write, &m->pic},
        {"apm", 0xb2, 0xb3, 1, apm_read, apm_write, &m->system},
        {"dma2", 0xc0, 0xdf, 1, dma_read, dma_write, &m->system},
        {"ferr", 0xf0, 0xf1, 1, NULL, ferr_clear, m},
        {"elcr", 0x4d0, 0x4d1, 1, pic_read, pic_write, &m->pic},
        {"fw-cfg", BOARD_FW_CFG, BOARD_FW_CFG + 1, 2, fw_cfg_port_read, fw_cfg_port_write, &m->fw_cfg},
        {"fw-cfg-dma", BOARD_FW_CFG + 4, BOARD_FW_CFG + 11, 4, fw_cfg_dma_read, fw_cfg_dma_write, &m->fw_cfg},
        {"acpi-pm", BOARD_PM_BASE, BOARD_PM_BASE + 63, 4, acpi_pm_read, acpi_pm_write, &m->pm},
        {"acpi-gpe", BOARD_GPE0_BASE, BOARD_GPE0_BASE + 3, 1, acpi_gpe_read, acpi_gpe_write, &m->pm},
        {"pci", 0xcf8, 0xcff, 4, pci_port_read, pci_port_write, &m->pci},
        {"shutdown", 0x8900, 0x8900, 1, NULL, shutdown_port_write, &m->debug},
    };
    for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (!ports_add(&m->ports, &fixed[i])) return false;
    if (!c->no_i8042) {
        const struct port_region kbc[] = {{"i8042", 0x60, 0x60, 1, i8042_read, i8042_write, &m->i8042},
                                          {"i8042", 0x64, 0x64, 1, i8042_read, i8042_write, &m->i8042}};
        if (!ports_add(&m->ports, &kbc[0]) || !ports_add(&m->ports, &kbc[1])) return false;
    }
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL; i++) {
        if (!c->serial[i]) continue;
        uart_setup(&m->uart[i], &m->clock, &m->irq, c->serial[i], com[i].line, com[i].source);
        const struct port_region r = {"uart",     com[i].base, (uint16_t)(com[i].base + 7), 1, uart_read,
                                      uart_write, &m->uart[i]};
        if (!ports_add(&m->ports, &r)) return false;
    }
    if (c->pc_testdev) {
        const struct port_region test[] = {
            {"testdev", 0xe0, 0xe3, 4, testdev_latch_read, testdev_latch_write, &m->debug},
            {"testdev", 0xe4, 0xe7, 4, NULL, testdev_flush_write, &m->debug},
            {"testdev", 0xe8, 0xeb, 1, testdev_latch_read, testdev_latch_write, &m->debug},
            {"testdev", 0x2000, 0x2017, 1, NULL, testdev_irq_write, &m->debug}};
        for (unsigned i = 0; i < 4; i++)
            if (!ports_add(&m->ports, &test[i])) return false;
    }
    if (c->debugcon) {
        const struct port_region r = {"debugcon",    c->debugcon_port, c->debugcon_port, 1,
                                      debugcon_read, debugcon_write,   &m->debug};
        if (!ports_add(&m->ports, &r)) return false;
    }
    if (c->debug_exit_port) {
        uint32_t last = c->debug_exit_port + (c->debug_exit_size ? c->debug_exit_size : 1u) - 1;
        if (last > 0xffff) return false;
        const struct port_region r = {"isa-debug-exit", c->debug_exit_port, (uint16_t)last, 4, NULL,
                                      debug_exit_write, &m->debug};
        if (!ports_add(&m->ports, &r)) return false;
    }
    return true;
}

static bool claim_mmio(struct machine *m)
{
    const struct mmio_region io_apic = {"io-apic",           BOARD_IO_APIC,        0x1000,     8,
                                        io_apic_read_region, io_apic_write_region, &m->io_apic};
    const struct mmio_region hpet = {"hpet", BOARD_HPET, 0x400, 8, hpet_read, hpet_write, &m->hpet};
    const struct mmio_region test = {"testdev",         BOARD_TESTDEV_MMIO, TESTDEV_BUFFER, 8,
                                     testdev_mmio_read, testdev_mmio_write, &m->debug};
    if (!mmio_add(&m->mmio, &io_apic)) return false;
    if (!m->config.no_hpet && !mmio_add(&m->mmio, &hpet)) return false;
    return !m->config.pc_testdev || mmio_add(&m->mmio, &test);
}

struct cpu_topology board_topology(const struct machine *m)
{
    const struct machine_config *c = &m->config;
    if (c->sockets == 0) return (struct cpu_topology){1, (uint16_t)c->smp, 1};
    return (struct cpu_topology){(uint16_t)c->sockets, (uint16_t)c->cores, (uint16_t)c->threads};
}

bool board_setup(struct machine *m)
{
    m->bus = (struct bus){.ram = m->memory.ram,
                          .page_flags = m->memory.page_flags,
                          .ram_top = m->memory.top,
                          .a20_mask = ~UINT64_C(0),
                          .opaque = m,
                          .mmio_read = bus_mmio_read,
                          .mmio_write = bus_mmio_write,
                          .port_read = bus_port_read,
                          .port_write = bus_port_write,
                          .intr_pending = bus_intr_pending,
                          .intr_acknowledge = bus_intr_acknowledge,
                          .tpr_read = bus_tpr_read,
                          .tpr_write = bus_tpr_write,
                          .msr_read = bus_msr_read,
                          .msr_write = bus_msr_write,
                          .ferr = bus_ferr,
                          .init_taken = bus_init_taken,
                          .tsc_changed = bus_tsc_changed,
                          .tsc_sampled = bus_tsc_sampled,
                          .wake = bus_wake};
    const struct cpu_topology topology = board_topology(m);
    for (uint32_t i = 0; i < m->config.smp; i++) {
        struct vcpu *v = &m->vcpu[i];
        v->machine = m;
        local_apic_setup(&v->apic, &apic_ops, m, &m->apic_bus, (int)i, cpu_topology_apic_id(&topology, i));
        clock_register(&m->clock, &v->apic_timer, apic_timer, v);
        m->apic_bus.apic[i] = &v->apic;
    }
    m->apic_bus.count = m->config.smp;
    i8259_setup(&m->pic, pic_output, m);
    io_apic_setup(&m->io_apic, &m->apic_bus, pic_acknowledge, m);
    m->irq = (struct irq_board){.pic = &m->pic, .io_apic = &m->io_apic, .probes = &m->probes};
    i8254_setup(&m->pit, &m->clock, &m->irq);
    rtc_setup(&m->rtc, &m->clock, &m->irq, m->config.rtc_base);
    hpet_setup(&m->hpet, &m->clock, &m->irq);
    i8042_setup(&m->i8042, &m->irq, signal_reset, signal_a20, m);
    m->system = (struct system_control){.clock = &m->clock,
                                        .pit = &m->pit,
                                        .reset = signal_reset,
                                        .a20 = signal_a20,
                                        .apm = signal_apm,
                                        .opaque = m};
    acpi_pm_setup(&m->pm, &m->clock, &m->irq, signal_power_off, m);
    pci_setup(&m->pci, &m->ports, &m->mmio, &m->irq, &m->apic_bus, &m->system);
    if (m->config.pci_testdev && !pci_testdev_add(&m->pci_testdev, &m->pci, 2)) return false;
    m->debug.irq = &m->irq;
    m->debug.console = m->config.debugcon;
    m->debug.debug_exit = signal_debug_exit;
    m->debug.power_off = signal_power_off;
    m->debug.flush_page = signal_flush_page;
    m->debug.opaque = m;
    return claim_ports(m) && claim_mmio(m);
}

/* What firmware leaves behind for an operating system that is entered directly: virtual wire mode. */
static void firmware_leftovers(struct machine *m)
{
    static const struct {
        uint16_t port;
        uint8_t value;
    } pic[] = {{0x20, 0x11}, {0x21, 0x08}, {0x21, 0x04}, {0x21, 0x01}, {0x21, 0xfb},
               {0xa0, 0x11}, {0xa1, 0x70}, {0xa1, 0x02}, {0xa1, 0x01}, {0xa1, 0xff}};
    for (unsigned i = 0; i < sizeof pic / sizeof *pic; i++)
        i8259_write(&m->pic, pic[i].port, pic[i].value);
    i8254_write(&m->pit, 0x43, 1, 0x34); /* channel 0: rate generator, 65536 */
    i8254_write(&m->pit, 0x40, 1, 0);
    i8254_write(&m->pit, 0x40, 1, 0);
    struct local_apic *l = &m->vcpu[0].apic;
    local_apic_mmio_write(l, LAPIC_SVR << 4, 4, 0x1ff);
    local_apic_mmio_write(l, LAPIC_LVT_LINT0 << 4, 4, 0x8700);
    local_apic_mmio_write(l, LAPIC_LVT_LINT1 << 4, 4, 0x8400);
    acpi_pm_command(&m->pm, BOARD_ACPI_ENABLE);
    /* PIRQ A to D on IRQ 10, 10, 11, 11, level-triggered, as PC firmware assigns them. */
    static const uint8_t route[4] = {10, 10, 11, 11};
    for (unsigned i = 0; i < 4; i++)
        pci_config_write(&m->pci.isa, 0x60 + i, 1, route[i]);
    i8259_write(&m->pic, 0x4d1, 0x0c);
    for (uint32_t i = 0; i < m->cpus; i++)
        msr_firmware_setup(m->vcpu[i].cpu, m->memory.low, m->memory.high);
    pci_assign(&m->pci, (uint32_t)BOARD_PCI_HOLE, BOARD_PCI_IO);
}

void board_reset(struct machine *m)
{
    irq_reset(&m->irq);
    io_apic_reset(&m->io_apic);
    i8259_reset(&m->pic);
    m->apic_bus.rotate = 0;
    for (uint32_t i = 0; i < m->cpus; i++)
        local_apic_reset(&m->vcpu[i].apic);
    i8254_reset(&m->pit);
    rtc_reset(&m->rtc);
    rtc_describe(&m->rtc, m->memory.low, m->memory.high, m->config.smp);
    hpet_reset(&m->hpet);
    i8042_reset(&m->i8042);
    system_control_reset(&m->system);
    acpi_pm_reset(&m->pm);
    pci_reset(&m->pci);
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL; i++)
        if (m->config.serial[i]) uart_reset(&m->uart[i]);
    debug_devices_reset(&m->debug);
    pci_testdev_reset(&m->pci_testdev);
    fw_cfg_reset(&m->fw_cfg);
    machine_set_a20(m, true);
    if (!m->config.firmware) firmware_leftovers(m);
}
