/* SPDX-License-Identifier: MIT */
/* Images of a machine: kept for the next reset, loaded with firmware tables and BIOS data area, and the
 * bootstrap processor put at the entry (boot/boot.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "machine/api.h"
#include "machine/boot/acpi.h"
#include "machine/boot/bios_stub.h"
#include "machine/boot/fw_cfg_items.h"

static bool memory_write(void *opaque, uint64_t address, const void *src, uint64_t n)
{
    struct machine *m = opaque;
    return src ? machine_memory_write(m, address, src, n) : machine_memory_fill(m, address, 0, n);
}

static bool keep(struct boot_file *to, const struct uv_image *from, bool borrow)
{
    *to = (struct boot_file){.size = from->size};
    to->name = strdup(from->name ? from->name : "image");
    to->args = from->arguments ? strdup(from->arguments) : NULL;
    if (borrow) {
        to->data = from->data;
    } else {
        uint8_t *copy = malloc(from->size ? from->size : 1);
        if (copy && from->size) memcpy(copy, from->data, from->size);
        to->data = copy;
    }
    return to->name && (to->args || !from->arguments) && (to->data || borrow);
}

static void drop(struct boot_file *f, bool borrowed)
{
    free((char *)(uintptr_t)f->name);
    free((char *)(uintptr_t)f->args);
    if (!borrowed) free((uint8_t *)(uintptr_t)f->data);
    *f = (struct boot_file){0};
}

static void boot_drop(uv_machine *v)
{
    drop(&v->boot.kernel, v->borrowed);
    for (uint32_t i = 0; i < BOOT_MODULES_MAX; i++)
        drop(&v->modules[i], v->borrowed);
    free(v->command_line);
    v->command_line = NULL;
    v->has_boot = false;
}

void api_boot_free(uv_machine *v)
{
    boot_drop(v);
    for (uint32_t i = 0; i < v->loads; i++)
        drop(&v->load[i].file, false);
    v->loads = 0;
}

/* ACPI and MP tables, interrupt vectors and BIOS data area. */
static enum uv_status put_firmware(uv_machine *v, uint64_t *rsdp)
{
    const struct machine_config *mc = machine_configuration(v->m);
    uint32_t regs[4] = {0}, size;
    cpu_cpuid(machine_cpu(v->m, 0), 1, 0, regs);
    uint32_t ids[MACHINE_MAX_CPUS] = {0};
    for (uint32_t i = 0; i < machine_cpu_count(v->m); i++)
        ids[i] = machine_cpu(v->m, i)->apic_id;
    struct firmware_config fc = {.cpus = machine_cpu_count(v->m),
                                 .apic_id = ids,
                                 .cpu_signature = regs[0],
                                 .cpu_features = regs[3],
                                 .hpet = !mc->no_hpet,
                                 .i8042 = !mc->no_i8042,
                                 .pci_hole = BOARD_PCI_HOLE};
    for (uint32_t i = 0; i < MACHINE_MAX_SERIAL; i++)
        fc.serial_ports |= mc->serial[i] ? 1u << i : 0;
    uint8_t *image = calloc(1, FIRMWARE_TABLES_MAX), low[BIOS_LOW_SIZE];
    if (!image) return api_fail(v->message, UV_E_MEMORY, "host memory exhausted");
    bool ok = firmware_tables(&fc, image, &size, rsdp) && size <= BIOS_STUB_OFFSET;
    bios_stub(image + BIOS_STUB_OFFSET);
    bios_low_memory(fc.serial_ports, low);
    ok = ok && machine_memory_write(v->m, FIRMWARE_TABLES_BASE, image, FIRMWARE_TABLES_MAX) &&
         machine_memory_write(v->m, 0, low, sizeof(low));
    free(image);
    return ok ? UV_OK : api_fail(v->message, UV_E_SPACE, "the firmware tables do not fit");
}

static enum uv_status status_of(enum boot_status s)
{
    switch (s) {
    case BOOT_OK: return UV_OK;
    case BOOT_NO_SPACE: return UV_E_SPACE;
    case BOOT_BAD_REQUEST: return UV_E_VALUE;
    default: return UV_E_IMAGE;
    }
}

enum uv_status api_boot_again(uv_machine *v)
{
    struct boot_memory mem = {.write = memory_write, .opaque = v->m};
    struct boot_error error = {{0}};
    struct boot_entry entry;
    boot_map_build(&mem, machine_memory_low(v->m), machine_memory_high(v->m));
    enum uv_status s;
    uint64_t rsdp = 0;
    if (v->has_boot && v->boot.protocol != BOOT_RAW && (s = put_firmware(v, &rsdp)) != UV_OK) return s;
    for (uint32_t i = 0; i < v->loads; i++) {
        s = status_of(boot_load_raw(&v->load[i].file, v->load[i].address, &mem, &error));
        if (s != UV_OK) return api_fail(v->message, s, "%s", error.text);
    }
    if (v->has_boot) {
        v->boot.rsdp = rsdp;
        s = status_of(boot_load(&v->boot, &mem, &entry, &error));
        if (s != UV_OK) return api_fail(v->message, s, "%s", error.text);
        if (!boot_fw_cfg_items(machine_fw_cfg(v->m), &mem, &v->boot))
            return api_fail(v->message, UV_E_MEMORY, "no room for firmware configuration items");
        v->protocol = entry.protocol;
        boot_enter(machine_cpu(v->m, 0), &entry);
    } else if (v->has_entry) {
        /* A raw image of no bytes: only the descriptor table and page tables of the mode. */
        struct boot_request rq = {.protocol = BOOT_RAW,
                                  .kernel = {.name = "entry", .data = (const uint8_t *)""},
                                  .raw_entry = v->entry.rip,
                                  .raw_mode = v->entry.mode};
        s = status_of(boot_load(&rq, &mem, &entry, &error));
        if (s != UV_OK) return api_fail(v->message, s, "%s", error.text);
        v->protocol = BOOT_RAW;
        boot_enter(machine_cpu(v->m, 0), &entry);
    }
    return UV_OK;
}

enum uv_status uv_machine_boot(uv_machine *v, const struct uv_boot *b)
{
    if (!v || !b || b->struct_size < offsetof(struct uv_boot, borrow) || (!b->kernel.data && b->kernel.size))
        return v ? api_fail(v->message, UV_E_ARGUMENT, "boot request without a kernel") : UV_E_ARGUMENT;
    if (b->module_count > BOOT_MODULES_MAX)
        return api_fail(v->message, UV_E_VALUE, "%u modules, at most %d are possible", b->module_count,
                        BOOT_MODULES_MAX);
    boot_drop(v);
    v->has_entry = false;
    v->borrowed = b->struct_size >= sizeof(*b) && b->borrow;
    bool ok = keep(&v->boot.kernel, &b->kernel, v->borrowed);
    for (uint32_t i = 0; i < b->module_count; i++)
        ok = keep(&v->modules[i], &b->modules[i], v->borrowed) && ok;
    if (b->command_line) ok = (v->command_line = strdup(b->command_line)) != NULL && ok;
    v->boot.protocol = (enum boot_protocol)b->protocol;
    v->boot.cmdline = v->command_line;
    v->boot.modules = v->modules;
    v->boot.module_count = b->module_count;
    v->boot.raw_address = b->raw_address;
    v->boot.raw_entry = b->raw_entry;
    v->boot.raw_mode = (enum boot_mode)b->raw_mode;
    if (!ok) {
        boot_drop(v);
        return api_fail(v->message, UV_E_MEMORY, "host memory exhausted");
    }
    v->has_boot = true;
    enum uv_status s = uv_machine_reset(v);
    if (s != UV_OK) boot_drop(v);
    return s;
}

enum uv_status uv_machine_load(uv_machine *v, const struct uv_image *image, uint64_t address)
{
    if (!v || !image || (!image->data && image->size)) return UV_E_ARGUMENT;
    if (v->loads == API_LOADS)
        return api_fail(v->message, UV_E_VALUE, "more than %d images to load", API_LOADS);
    struct api_load *l = &v->load[v->loads];
    if (!keep(&l->file, image, false)) {
        drop(&l->file, false);
        return api_fail(v->message, UV_E_MEMORY, "host memory exhausted");
    }
    l->address = address;
    v->loads++;
    enum uv_status s = uv_machine_reset(v);
    if (s != UV_OK) drop(&v->load[--v->loads].file, false);
    return s;
}

enum uv_status uv_machine_entry(uv_machine *v, uint64_t entry, enum uv_raw_mode mode)
{
    if (!v || (unsigned)mode > UV_RAW_LONG) return UV_E_ARGUMENT;
    boot_drop(v);
    v->has_entry = true;
    v->entry = (struct boot_entry){.rip = entry, .mode = (enum boot_mode)mode};
    enum uv_status s = uv_machine_reset(v);
    if (s != UV_OK) v->has_entry = false;
    return s;
}

const char *uv_machine_protocol(const uv_machine *v) { return v ? boot_protocol_name(v->protocol) : ""; }
