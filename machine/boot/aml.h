/* SPDX-License-Identifier: MIT */
/* A small AML encoder: appends terms to a bounded buffer; packages, scopes and devices are opened and
 * closed, and get their length when closed. ACPI 6.5 ch. 20. */
#ifndef UV_MACHINE_BOOT_AML_H
#define UV_MACHINE_BOOT_AML_H

#include <stdbool.h>
#include <stdint.h>

struct aml {
    uint8_t *data;
    uint32_t size, capacity;
    bool overflow;
    uint32_t open[8]; /* offsets of the bytes after the opcode of what is open */
    uint32_t depth;
};

void aml_begin(struct aml *a, uint8_t *buffer, uint32_t capacity);
void aml_byte(struct aml *a, uint8_t v);
/* "\\_SB.PCI0", "_HID": root and parent prefixes, one to many segments of up to 4 characters. */
void aml_path(struct aml *a, const char *path);
void aml_integer(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_name(struct aml *a, const char *path); /* Name (path, ... next term */
void aml_name_integer(struct aml *a, const char *path, uint64_t v);
void aml_name_string(struct aml *a, const char *path, const char *s);
void aml_name_eisa(struct aml *a, const char *path, const char *id); /* "PNP0A03" */

void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *name);
void aml_package(struct aml *a, uint8_t elements);
void aml_close(struct aml *a);

/* Resource templates: Name (_CRS, ResourceTemplate () { ... }). */
void aml_crs_begin(struct aml *a);
void aml_crs_end(struct aml *a);
void aml_io(struct aml *a, uint16_t from, uint8_t length);
void aml_irq(struct aml *a, uint32_t irq);
void aml_fixed_memory(struct aml *a, uint32_t base, uint32_t length);
enum aml_space { AML_MEMORY = 0, AML_IO = 1, AML_BUS = 2 };
void aml_word_space(struct aml *a, enum aml_space space, uint16_t from, uint16_t to);
void aml_dword_memory(struct aml *a, uint32_t from, uint32_t to, bool cacheable);

#endif
