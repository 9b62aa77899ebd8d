/* SPDX-License-Identifier: MIT */
/* CPU models and what CPUID says of them. A model is a named set of features (feature.def) with its
 * signature, address widths and cache geometry; models.def has one row a model. SDM 2A CPUID, APM 3 app. E.
 */
#ifndef UV_CPU_CPUID_H
#define UV_CPU_CPUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;

enum cpu_vendor { VENDOR_INTEL, VENDOR_AMD };

enum { FEATURE_WORDS = 8 };

/* One cache as CPUID leaf 4 (8000001Dh) tells it. type: 1 data, 2 instruction, 3 unified; 0 ends. */
struct cache_info {
    uint8_t level, type, ways, shared; /* shared: by 0 the core, 1 the package */
    uint32_t sets;
    uint32_t edx;
};

struct cpu_model {
    const char *name;
    const char *brand;
    enum cpu_vendor vendor;
    uint32_t signature; /* leaf 1 EAX */
    uint32_t max_leaf, max_ext_leaf;
    uint32_t microcode;
    uint8_t phys_bits, lin_bits;
    uint64_t features[FEATURE_WORDS];
    struct cache_info cache[5];
};

/* Sockets, cores of each, threads of each core, for topology leaves. */
struct cpu_topology {
    uint16_t sockets, cores, threads; /* 0 counts as 1 */
};
/* Initial APIC ID of logical processor n: fields of whole bits for thread, core and socket, so that IDs have
 * gaps where a count is no power of two. SDM 3A 9.9.1. */
uint32_t cpu_topology_apic_id(const struct cpu_topology *t, unsigned n);

extern const struct cpu_model cpu_models[];
extern const unsigned cpu_model_count;

/* "NAME[,+feature|,-feature|,feature=on|off]...": the model and its features as changed. False: err says
 * what was wrong and what comes nearest. */
bool cpu_model_parse(const char *spec, const struct cpu_model **model, uint64_t features[FEATURE_WORDS],
                     char *err, size_t errlen);
const struct cpu_model *cpu_model_find(const char *name);
/* Names for `list` commands: feature number to command-line name (NULL beyond the last). */
const char *cpu_feature_name(unsigned feature);
/* The other name under which a model is known, by index; NULL at the end. */
bool cpu_model_alias(unsigned index, const char **alias, const char **name);

#endif
