/* SPDX-License-Identifier: MIT */
/* PCI configuration mechanism 1, BAR mapping, INTx through the PIRQ router, MSI. PCI Local Bus 3.0
 * 3.2.2.3.2, 6.2.5, 6.8; 82371AB (PIIX4) data sheet 4.1.10 (PIRQRC). */
#include "machine/devices/pci.h"

#include <string.h>

#include "apic/msi.h"
#include "machine/board.h"
#include "machine/devices/system_control.h"

enum { MSI_CONTROL = 2, MSI_ADDRESS = 4, MSI_ADDRESS_HIGH = 8, MSI_DATA = 12 };
enum { PIRQ_ROUTE = 0x60, PIRQ_OFF = 0x80 };

static void put(uint8_t *p, uint32_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}
static uint32_t get(const uint8_t *p, unsigned n)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value |= (uint32_t)p[i] << 8 * i;
    return value;
}

/* ---- functions ---- */

void pci_function_setup(struct pci_function *f, const char *name, uint16_t vendor, uint16_t device,
                        uint8_t revision, uint32_t class_code)
{
    *f = (struct pci_function){.name = name};
    put(f->reset, vendor, 2);
    put(f->reset + 2, device, 2);
    f->reset[8] = revision;
    put(f->reset + PCI_CLASS, class_code, 3);
    put(f->reset + PCI_SUBSYSTEM, 0x11001af4, 4);
    put(f->writable + PCI_COMMAND, PCI_CMD_IO | PCI_CMD_MEMORY | PCI_CMD_MASTER | PCI_CMD_INTX_OFF | 0x140,
        2);
    put(f->clear + PCI_STATUS, 0xf900, 2);
    f->writable[0x0c] = f->writable[0x0d] = 0xff; /* cache line size, latency timer */
    f->writable[PCI_INT_LINE] = 0xff;
    for (unsigned i = 0; i < PCI_BARS; i++)
        f->bar[i].mapped = ~UINT64_C(0);
}

void pci_function_add_bar(struct pci_function *f, unsigned index, const struct pci_bar *bar)
{
    struct pci_bar *b = &f->bar[index];
    *b = *bar;
    uint32_t size = bar->io ? 4 : 16;
    while (size < bar->size && size < 0x80000000u)
        size <<= 1;
    b->size = size;
    b->mapped = ~UINT64_C(0);
    put(f->reset + PCI_BAR0 + 4 * index, bar->io ? 1 : 0, 4);
    put(f->writable + PCI_BAR0 + 4 * index, ~(size - 1), 4);
}

void pci_function_add_msi(struct pci_function *f, uint8_t offset)
{
    uint8_t *c = f->reset + offset, *w = f->writable + offset;
    c[0] = 0x05;
    c[1] = f->reset[PCI_CAPABILITIES];
    put(c + MSI_CONTROL, 0x80, 2); /* 64-bit address, one message */
    w[MSI_CONTROL] = 1;
    put(w + MSI_ADDRESS, 0xfffffffc, 4);
    put(w + MSI_ADDRESS_HIGH, 0xffffffff, 4);
    put(w + MSI_DATA, 0xffff, 2);
    f->reset[PCI_CAPABILITIES] = offset;
    f->reset[PCI_STATUS] |= 0x10;
    f->msi = offset;
}

bool pci_add(struct pci *p, struct pci_function *f, unsigned slot, unsigned function)
{
    if (slot >= PCI_SLOTS || function >= PCI_FUNCTIONS || p->at[slot * PCI_FUNCTIONS + function])
        return false;
    p->at[slot * PCI_FUNCTIONS + function] = f;
    f->bus = p;
    f->slot = (uint8_t)slot;
    f->function = (uint8_t)function;
    memcpy(f->s.config, f->reset, sizeof f->reset);
    return true;
}

/* ---- BARs ---- */

static uint64_t bar_wanted(const struct pci_function *f, unsigned i)
{
    const struct pci_bar *b = &f->bar[i];
    uint32_t base = get(f->s.config + PCI_BAR0 + 4 * i, 4) & ~(b->io ? 3u : 15u);
    uint32_t command = get(f->s.config + PCI_COMMAND, 2);
    if (!b->size || base == 0 || !(command & (b->io ? PCI_CMD_IO : PCI_CMD_MEMORY))) return ~UINT64_C(0);
    if (base > UINT32_MAX - (b->size - 1)) return ~UINT64_C(0);
    if (b->io && base + b->size > 0x10000) return ~UINT64_C(0);
    return base;
}

static void map_bars(struct pci_function *f)
{
    struct pci *p = f->bus;
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *b = &f->bar[i];
        uint64_t want = bar_wanted(f, i);
        if (want == b->mapped) continue;
        if (b->mapped != ~UINT64_C(0)) {
            if (b->io)
                ports_remove(p->ports, f->opaque, (uint16_t)b->mapped);
            else
                mmio_remove(p->mmio, f->opaque, b->mapped);
        }
        b->mapped = ~UINT64_C(0);
        if (want == ~UINT64_C(0)) continue;
        bool ok = b->io ? ports_add(p->ports, &(struct port_region){.name = f->name,
                                                                    .first = (uint16_t)want,
                                                                    .last = (uint16_t)(want + b->size - 1),
                                                                    .max_size = 4,
                                                                    .read = b->port_read,
                                                                    .write = b->port_write,
                                                                    .opaque = f->opaque})
                        : mmio_add(p->mmio, &(struct mmio_region){.name = f->name,
                                                                  .base = want,
                                                                  .length = b->size,
                                                                  .max_size = 8,
                                                                  .read = b->mmio_read,
                                                                  .write = b->mmio_write,
                                                                  .opaque = f->opaque});
        /* On top of another region the other one answers, as in a race of decoders. */
        if (ok) b->mapped = want;
    }
}

/* ---- interrupts ---- */

/* Level of the four PIRQ lines, to the ISA interrupts that the bridge's routing registers name. */
static void route_intx(struct pci *p)
{
    bool pirq[4] = {false};
    for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCTIONS; i++) {
        const struct pci_function *f = p->at[i];
        if (!f || !f->s.intx || !f->s.config[PCI_INT_PIN]) continue;
        if (get(f->s.config + PCI_COMMAND, 2) & PCI_CMD_INTX_OFF) continue;
        pirq[(f->slot + f->s.config[PCI_INT_PIN] - 1u - 1u) & 3] = true;
    }
    for (unsigned i = 0; i < 4; i++) {
        uint8_t route = p->isa.s.config[PIRQ_ROUTE + i];
        for (unsigned line = 3; line < 16; line++)
            irq_set(p->irq, line, (enum irq_source)(IRQ_SRC_PCI + i),
                    pirq[i] && !(route & PIRQ_OFF) && (route & 15) == line);
    }
}

void pci_set_intx(struct pci_function *f, bool asserted)
{
    if (f->s.intx == asserted) return;
    f->s.intx = asserted;
    if (asserted)
        f->s.config[PCI_STATUS] |= 8;
    else
        f->s.config[PCI_STATUS] &= (uint8_t)~8;
    route_intx(f->bus);
}

bool pci_send_msi(struct pci_function *f)
{
    const uint8_t *c = f->s.config + f->msi;
    if (!f->msi || !(c[MSI_CONTROL] & 1)) return false;
    if (!(f->s.config[PCI_COMMAND] & PCI_CMD_MASTER)) return true;
    uint64_t address = get(c + MSI_ADDRESS, 4) | (uint64_t)get(c + MSI_ADDRESS_HIGH, 4) << 32;
    struct apic_message msg;
    if (msi_address_valid(address) && msi_decode(address, get(c + MSI_DATA, 2), &msg))
        apic_bus_send(f->bus->apic, &msg);
    return true;
}

/* ---- configuration space ---- */

uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size)
{
    return get(f->s.config + offset, size);
}

void pci_config_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i), *c = &f->s.config[offset + i];
        uint8_t w = f->writable[offset + i];
        *c = (uint8_t)((*c & ~w) | (byte & w));
        *c &= (uint8_t) ~(byte & f->clear[offset + i]);
    }
    map_bars(f);
    if (f->written) f->written(f, offset, size);
    route_intx(f->bus);
}

static struct pci_function *addressed(const struct pci *p)
{
    uint32_t a = p->s.address;
    if (!(a & 0x80000000u) || (a >> 16 & 0xff)) return NULL;
    return p->at[a >> 8 & 0xff];
}

/* CF8h is a register for 32-bit accesses only; byte CF9h in its middle is the reset control. */
uint32_t pci_port_read(void *opaque, uint16_t port, uint32_t size)
{
    struct pci *p = opaque;
    uint32_t ones = UINT32_MAX >> (32 - 8 * size);
    if (port < 0xcfc) {
        if (port == 0xcf8 && size == 4) return p->s.address;
        return port == 0xcf9 && size == 1 ? reset_control_read(p->system) : ones;
    }
    struct pci_function *f = addressed(p);
    unsigned byte = port & 3;
    if (!f || byte + size > 4) return ones;
    return pci_config_read(f, (p->s.address & 0xfc) + byte, size);
}

void pci_port_write(void *opaque, uint16_t port, uint32_t size, uint32_t value)
{
    struct pci *p = opaque;
    if (port < 0xcfc) {
        if (port == 0xcf8 && size == 4) p->s.address = value & 0x80fffffc;
        if (port == 0xcf9 && size == 1) reset_control_write(p->system, (uint8_t)value);
        return;
    }
    struct pci_function *f = addressed(p);
    unsigned byte = port & 3;
    if (f && byte + size <= 4) pci_config_write(f, (p->s.address & 0xfc) + byte, size, value);
}

/* ---- the board's own functions ---- */

static void chipset(struct pci *p)
{
    struct pci_function *f = &p->host; /* 440FX host bridge: PAM and SMRAM registers are latches here */
    pci_function_setup(f, "host-bridge", 0x8086, 0x1237, 2, 0x060000);
    memset(f->writable + 0x50, 0xff, 0x28);
    f->reset[0x72] = 0x02;
    pci_add(p, f, 0, 0);

    f = &p->isa; /* PIIX3 ISA bridge */
    pci_function_setup(f, "isa-bridge", 0x8086, 0x7000, 0, 0x060100);
    f->reset[PCI_COMMAND] = 0x07;
    f->reset[0x0e] = 0x80; /* multi-function */
    for (unsigned i = 0; i < 4; i++) {
        f->reset[PIRQ_ROUTE + i] = PIRQ_OFF;
        f->writable[PIRQ_ROUTE + i] = 0x8f;
    }
    memset(f->writable + 0x40, 0xff, 0x20);
    memset(f->writable + 0x64, 0xff, 0x30);
    pci_add(p, f, 1, 0);

    f = &p->pm; /* PIIX4 power management: the I/O window stays where board.h says */
    pci_function_setup(f, "power-management", 0x8086, 0x7113, 3, 0x068000);
    put(f->reset + PCI_STATUS, 0x0280, 2);
    f->reset[PCI_INT_LINE] = BOARD_IRQ_SCI;
    f->reset[PCI_INT_PIN] = 1;
    put(f->reset + 0x40, BOARD_PM_BASE | 1, 4);
    f->reset[0x5b] = 0x02; /* SMI on APM: already set up */
    f->reset[0x80] = 0x01; /* PM I/O space enabled */
    put(f->reset + 0x90, 0x701, 4);
    memset(f->writable + 0x44, 0xff, 0x14);
    pci_add(p, f, 1, 3);
}

void pci_setup(struct pci *p, struct ports *ports, struct mmio *mmio, struct irq_board *irq,
               struct apic_bus *apic, struct system_control *system)
{
    *p = (struct pci){.ports = ports, .mmio = mmio, .irq = irq, .apic = apic, .system = system};
    chipset(p);
}

void pci_reset(struct pci *p)
{
    p->s.address = 0;
    for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCTIONS; i++) {
        struct pci_function *f = p->at[i];
        if (!f) continue;
        memcpy(f->s.config, f->reset, sizeof f->reset);
        f->s.intx = 0;
        map_bars(f);
    }
    route_intx(p);
}

void pci_assign(struct pci *p, uint32_t memory, uint16_t io)
{
    uint64_t next_memory = memory, next_io = io;
    for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCTIONS; i++) {
        struct pci_function *f = p->at[i];
        if (!f) continue;
        uint32_t command = get(f->s.config + PCI_COMMAND, 2);
        for (unsigned b = 0; b < PCI_BARS; b++) {
            const struct pci_bar *bar = &f->bar[b];
            uint64_t *next = bar->io ? &next_io : &next_memory;
            uint64_t limit = bar->io ? 0x10000 : BOARD_IO_APIC;
            if (!bar->size) continue;
            uint64_t at = (*next + bar->size - 1) & ~(uint64_t)(bar->size - 1);
            if (at + bar->size > limit) continue; /* no room: stays unassigned */
            pci_config_write(f, PCI_BAR0 + 4 * b, 4, (uint32_t)at);
            *next = at + bar->size;
            command |= bar->io ? PCI_CMD_IO : PCI_CMD_MEMORY;
        }
        pci_config_write(f, PCI_COMMAND, 2, command);
        uint8_t pin = f->s.config[PCI_INT_PIN];
        if (pin && f != &p->pm)
            pci_config_write(f, PCI_INT_LINE, 1,
                             p->isa.s.config[PIRQ_ROUTE + ((f->slot + pin - 2u) & 3)] & 15);
    }
}

void pci_visit(struct pci *p, struct visitor *v)
{
    visit_u32(v, &p->s.address);
    for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCTIONS; i++) {
        struct pci_function *f = p->at[i];
        if (!f) continue;
        visit_u8s(v, f->s.config, sizeof f->s.config);
        visit_u8(v, &f->s.intx);
        if (v->loading) map_bars(f);
    }
}
