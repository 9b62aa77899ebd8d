/* SPDX-License-Identifier: MIT */
/* The tables the machine is built from, as rows of text: settings, devices, CPU models, features,
 * instructions, probes, exit reasons, registers. */
#include <stdio.h>
#include <string.h>

#include "cpu/cpuid.h"
#include "cpu/insn.h"
#include "cpu/isa/table.h"
#include "cpu/probe.h"
#include "machine/api.h"

static const char *const table_names[UV_TABLE_COUNT][2] = {
    [UV_TABLE_SETTINGS] = {"settings", "settings of the library interface"},
    [UV_TABLE_DEVICES] = {"devices", "devices for -device"},
    [UV_TABLE_CPUS] = {"cpus", "CPU models for -cpu"},
    [UV_TABLE_FEATURES] = {"features", "CPU features for -cpu MODEL,+feature,-feature"},
    [UV_TABLE_INSNS] = {"insns", "instruction forms that the decoder knows"},
    [UV_TABLE_PROBES] = {"traces", "trace categories and points for -trace"},
    [UV_TABLE_EXITS] = {"exits", "VM-exit reasons"},
    [UV_TABLE_REGISTERS] = {"registers", "registers of the library interface"},
};

static const struct uv_row settings[] = {
#define SETTING(name, setter, text) {name, "", text},
#include "machine/settings.def"
#undef SETTING
};

static const struct uv_row devices[] = {
#define DEVICE_OPTION(name, setter, properties, text) {name, properties, text},
#include "machine/device_options.def"
#undef DEVICE_OPTION
};

static const struct uv_row features[] = {
#define FEATURE(name, leaf, sub, reg, bit, qemu) {qemu, #name, "CPUID." #leaf "." #sub " " #reg " bit " #bit},
#include "cpu/feature.def"
#undef FEATURE
};

static const struct uv_row probes[] = {
#define PROBE_POINT(name, category, what) {#name, #category, what},
#include "cpu/probe.def"
#undef PROBE_POINT
};

struct exit_name {
    uint32_t reason;
    struct uv_row row;
};

static const struct exit_name vmx_exits[] = {
#define EXIT_REASON(number, name, text) {number, {#name, "vmx", text}},
#include "vmx/exit_reasons.def"
#undef EXIT_REASON
};
enum { VMX_EXITS = sizeof(vmx_exits) / sizeof(vmx_exits[0]) };

static const struct exit_name svm_exits[] = {
#define EXIT_CODE(code, name, nrip, text) {code, {#name, "svm", text}},
#include "svm/exit_codes.def"
#undef EXIT_CODE
    {UINT32_MAX, {"INVALID", "svm", "invalid guest state"}},
};
enum { SVM_EXITS = sizeof(svm_exits) / sizeof(svm_exits[0]) };

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* Reasons of the one extension have flags above bit 15, codes of the other are whole. NULL: no such row. */
static const char *exit_name(const struct cpu *c, uint32_t reason)
{
    bool svm = c && has_feature(c, FEAT_SVM);
    const struct exit_name *rows = svm ? svm_exits : vmx_exits;
    for (uint32_t i = 0; i < (uint32_t)(svm ? SVM_EXITS : VMX_EXITS); i++)
        if (rows[i].reason == (svm ? reason : reason & 0xffff)) return rows[i].row.name;
    return NULL;
}

const char *api_exit_name(const struct cpu *c, uint32_t reason, char *buffer, size_t size)
{
    const char *name = exit_name(c, reason);
    if (name) return name;
    snprintf(buffer, size, "reason 0x%x", reason);
    return buffer;
}

const char *uv_exit_reason_name(const uv_machine *v, uint32_t reason)
{
    const char *name = exit_name(v && v->m ? machine_cpu(v->m, 0) : NULL, reason);
    return name ? name : "unknown";
}

const char *uv_table_name(enum uv_table table)
{
    return (unsigned)table < UV_TABLE_COUNT ? table_names[table][0] : NULL;
}
const char *uv_table_text(enum uv_table table)
{
    return (unsigned)table < UV_TABLE_COUNT ? table_names[table][1] : NULL;
}

static enum uv_status from(const struct uv_row *rows, size_t n, uint32_t index, struct uv_row *row)
{
    if (index >= n) return UV_E_RANGE;
    *row = rows[index];
    return UV_OK;
}

static enum uv_status cpu_row(uint32_t index, struct uv_row *row)
{
    const char *alias, *name;
    if (index < cpu_model_count) {
        *row = (struct uv_row){cpu_models[index].name, "", cpu_models[index].brand};
        return UV_OK;
    }
    if (!cpu_model_alias(index - cpu_model_count, &alias, &name)) return UV_E_RANGE;
    *row = (struct uv_row){alias, "alias", name};
    return UV_OK;
}

/* Handlers and operands have no text of their own: the feature stands in the group column. */
static enum uv_status insn_row(uint32_t index, struct uv_row *row)
{
    static const char *const maps[] = {"one-byte map", "0F map",       "0F38 map",
                                       "0F3A map",     "VEX 0F38 map", "VEX 0F3A map"};
    if (index >= insn_table_rows) return UV_E_RANGE;
    const struct insn_row *r = &insn_table[index];
    const char *feature = r->feature < FEAT_COUNT ? features[r->feature].name : "";
    *row = (struct uv_row){r->mnemonic, feature, r->map < ROWS(maps) ? maps[r->map] : ""};
    return UV_OK;
}

enum uv_status uv_table_row(enum uv_table table, uint32_t index, struct uv_row *row)
{
    if (!row) return UV_E_ARGUMENT;
    switch (table) {
    case UV_TABLE_SETTINGS: return from(settings, ROWS(settings), index, row);
    case UV_TABLE_DEVICES: return from(devices, ROWS(devices), index, row);
    case UV_TABLE_CPUS: return cpu_row(index, row);
    case UV_TABLE_FEATURES: return from(features + 1, ROWS(features) - 1, index, row); /* without BASE */
    case UV_TABLE_INSNS: return insn_row(index, row);
    case UV_TABLE_PROBES: return from(probes, ROWS(probes), index, row);
    case UV_TABLE_EXITS:
        if (index >= VMX_EXITS + SVM_EXITS) return UV_E_RANGE;
        *row = index < VMX_EXITS ? vmx_exits[index].row : svm_exits[index - VMX_EXITS].row;
        return UV_OK;
    case UV_TABLE_REGISTERS:
        if (!uv_register_name(index)) return UV_E_RANGE;
        *row = (struct uv_row){uv_register_name(index), "", ""};
        return UV_OK;
    default: return UV_E_ARGUMENT;
    }
}

const char *api_nearest_in_table(const char *word, enum uv_table table)
{
    const char *names[256];
    struct uv_row row;
    uint32_t n = 0;
    while (n < ROWS(names) && uv_table_row(table, n, &row) == UV_OK)
        names[n++] = row.name;
    return uv_nearest(word, names, n);
}
