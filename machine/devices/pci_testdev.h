/* SPDX-License-Identifier: MIT */
/* PCI test device 1B36:0005: a memory BAR and an I/O BAR, each with a header that describes a test and counts
 * the writes that hit its target. */
#ifndef UV_MACHINE_PCI_TESTDEV_H
#define UV_MACHINE_PCI_TESTDEV_H

#include "machine/devices/pci.h"

struct pci_testdev_side {
    uint8_t test;   /* selected test; beyond the last the header reads zero */
    uint32_t count; /* writes that matched since it was selected */
};

struct pci_testdev {
    struct pci_testdev_side side[2]; /* memory, I/O */
    struct pci_function function;
};

bool pci_testdev_add(struct pci_testdev *t, struct pci *p, unsigned slot);
void pci_testdev_reset(struct pci_testdev *t);
void pci_testdev_visit(struct pci_testdev *t, struct visitor *v);

#endif
