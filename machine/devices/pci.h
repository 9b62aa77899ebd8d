/* SPDX-License-Identifier: MIT */
/* PCI bus 0 behind configuration mechanism 1. A function is 256 bytes of configuration space, a mask of
 * what software may write, and up to six BARs that appear in the port or memory map when the command
 * register enables them. PCI Local Bus 3.0, ch. 6. */
#ifndef UV_MACHINE_PCI_H
#define UV_MACHINE_PCI_H

#include "apic/message.h"
#include "machine/irq.h"
#include "machine/mmio.h"
#include "machine/ports.h"

enum { PCI_SLOTS = 32, PCI_FUNCTIONS = 8, PCI_BARS = 6, PCI_MAX_DEVICES = 16 };
enum {
    PCI_COMMAND = 4,
    PCI_STATUS = 6,
    PCI_CLASS = 9,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM = 0x2c,
    PCI_CAPABILITIES = 0x34,
    PCI_INT_LINE = 0x3c,
    PCI_INT_PIN = 0x3d
};
enum { PCI_CMD_IO = 1, PCI_CMD_MEMORY = 2, PCI_CMD_MASTER = 4, PCI_CMD_INTX_OFF = 0x400 };

struct pci;
struct system_control;

struct pci_bar {
    uint32_t size; /* power of two; 0: none */
    bool io;
    port_read_fn *port_read; /* io */
    port_write_fn *port_write;
    mmio_read_fn *mmio_read; /* memory; offset relative to the BAR */
    mmio_write_fn *mmio_write;
    uint64_t mapped; /* derived: where it is in the map now, ~0 nowhere */
};

struct pci_function_state {
    uint8_t config[256];
    uint8_t intx; /* interrupt pin asserted */
};

struct pci_function {
    struct pci_function_state s;
    uint8_t reset[256];    /* configuration at reset */
    uint8_t writable[256]; /* bits that software changes */
    uint8_t clear[256];    /* bits that a written 1 clears */
    struct pci_bar bar[PCI_BARS];
    /* After a write of configuration bytes [offset, offset + size); may be NULL. */
    void (*written)(struct pci_function *f, unsigned offset, unsigned size);
    void *opaque;
    struct pci *bus;
    uint8_t slot, function, msi; /* msi: offset of the MSI capability, 0 none */
    const char *name;
};

struct pci_state {
    uint32_t address; /* CF8h */
};

struct pci {
    struct pci_state s;
    struct pci_function *at[PCI_SLOTS * PCI_FUNCTIONS];
    struct ports *ports;
    struct mmio *mmio;
    struct irq_board *irq;
    struct apic_bus *apic;
    struct system_control *system;     /* owner of CF9h */
    struct pci_function host, isa, pm; /* the chipset's own */
};

/* Connects the bus and adds host bridge, ISA bridge (PIRQ routing) and power management function. */
void pci_setup(struct pci *p, struct ports *ports, struct mmio *mmio, struct irq_board *irq,
               struct apic_bus *apic, struct system_control *system);
void pci_reset(struct pci *p);
/* What firmware does for an operating system: gives each BAR an address from these on, upwards, routes
 * interrupt pins, and enables decoding. */
void pci_assign(struct pci *p, uint32_t memory, uint16_t io);
void pci_visit(struct pci *p, struct visitor *v);

/* Fills in identity; class_code is 24 bits, class in the highest. */
void pci_function_setup(struct pci_function *f, const char *name, uint16_t vendor, uint16_t device,
                        uint8_t revision, uint32_t class_code);
/* bar's handlers get f->opaque. Size is rounded up to a legal power of two. */
void pci_function_add_bar(struct pci_function *f, unsigned index, const struct pci_bar *bar);
/* Adds a 64-bit MSI capability with one message. */
void pci_function_add_msi(struct pci_function *f, uint8_t offset);
/* False: slot taken or out of range. */
bool pci_add(struct pci *p, struct pci_function *f, unsigned slot, unsigned function);
void pci_set_intx(struct pci_function *f, bool asserted);
/* Sends the MSI when enabled (true), else leaves it to INTx (false). */
bool pci_send_msi(struct pci_function *f);

uint32_t pci_port_read(void *opaque, uint16_t port, uint32_t size);
void pci_port_write(void *opaque, uint16_t port, uint32_t size, uint32_t value);
uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value);

#endif
