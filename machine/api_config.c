/* SPDX-License-Identifier: MIT */
/* Configuration by named settings and device strings (settings.def, device_options.def), the forms that
 * command lines use. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpuid.h"
#include "machine/api.h"

enum { MEMORY_DEFAULT_MIB = 128 };

typedef enum uv_status setting_fn(uv_config *c, const char *value);

bool api_number(const char *text, bool sizes, uint64_t *value)
{
    uint64_t v = 0, base = 10;
    const char *p = text;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
        base = 16;
        p += 2;
    }
    const char *first = p;
    for (;; p++) {
        unsigned digit;
        if (*p >= '0' && *p <= '9')
            digit = (unsigned)(*p - '0');
        else if (base == 16 && ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'f'))
            digit = (unsigned)((*p | 0x20) - 'a' + 10);
        else
            break;
        if (v > (UINT64_MAX - digit) / base) return false;
        v = v * base + digit;
    }
    if (p == first) return false;
    if (sizes && *p) {
        const char *unit = strchr("kmgt", *p | 0x20);
        if (!unit) return false;
        unsigned shift = (unsigned)(unit - "kmgt") + 1;
        static const unsigned bits[] = {0, 10, 20, 30, 40};
        if (v > UINT64_MAX >> bits[shift]) return false;
        v <<= bits[shift];
        p++;
        if (*p == 'B' || *p == 'b') p++;
    }
    *value = v;
    return *p == 0;
}

static enum uv_status copy_text(uv_config *c, char *to, const char *what, const char *value)
{
    if (strlen(value) >= API_SPEC)
        return api_fail(c->message, UV_E_VALUE, "%s: value longer than %d bytes", what, API_SPEC - 1);
    memcpy(to, value, strlen(value) + 1);
    return UV_OK;
}

static enum uv_status set_cpu(uv_config *c, const char *value)
{
    const struct cpu_model *model;
    uint64_t features[8] = {0};
    if (!cpu_model_parse(value, &model, features, c->message, sizeof(c->message))) return UV_E_NAME;
    c->machine.cpu_model = model;
    memcpy(c->machine.cpu_features, features, sizeof(features));
    return copy_text(c, c->cpu, "cpu", value);
}

static enum uv_status set_memory(uv_config *c, const char *value)
{
    uint64_t v;
    if (!api_number(value, true, &v))
        return api_fail(c->message, UV_E_VALUE, "memory size '%s': expected a number with k, M, G or T",
                        value);
    if (v < UINT64_C(1) << 20 || v > UINT64_C(1) << 40 || v % (1 << 20))
        return api_fail(c->message, UV_E_VALUE, "memory size '%s': expected whole MiB from 1M to 1T", value);
    c->machine.memory = v;
    return UV_OK;
}

static enum uv_status number(uv_config *c, const char *what, const char *value, uint64_t least, uint64_t most,
                             uint64_t *v)
{
    if (api_number(value, false, v) && *v >= least && *v <= most) return UV_OK;
    return api_fail(c->message, UV_E_VALUE, "%s '%s': expected a number from %llu to %llu", what, value,
                    (unsigned long long)least, (unsigned long long)most);
}

static enum uv_status set_cpus(uv_config *c, const char *value)
{
    uint64_t v;
    enum uv_status s = number(c, "processors", value, 1, MACHINE_MAX_CPUS, &v);
    if (s == UV_OK) c->machine.smp = (uint32_t)v;
    return s;
}

static enum uv_status set_part(uv_config *c, const char *what, const char *value, uint32_t *part)
{
    uint64_t v;
    enum uv_status s = number(c, what, value, 1, MACHINE_MAX_CPUS, &v);
    if (s != UV_OK) return s;
    /* The parts not named yet count as one. */
    if (c->machine.sockets == 0) c->machine.sockets = c->machine.cores = c->machine.threads = 1;
    *part = (uint32_t)v;
    return UV_OK;
}
static enum uv_status set_sockets(uv_config *c, const char *value)
{
    return set_part(c, "sockets", value, &c->machine.sockets);
}
static enum uv_status set_cores(uv_config *c, const char *value)
{
    return set_part(c, "cores", value, &c->machine.cores);
}
static enum uv_status set_threads(uv_config *c, const char *value)
{
    return set_part(c, "threads", value, &c->machine.threads);
}

static enum uv_status set_order_seed(uv_config *c, const char *value)
{
    uint64_t v;
    enum uv_status s = number(c, "order-seed", value, 0, UINT64_MAX, &v);
    if (s == UV_OK) c->machine.order_seed = v;
    return s;
}

static enum uv_status set_quantum(uv_config *c, const char *value)
{
    uint64_t v;
    enum uv_status s = number(c, "quantum", value, 0, UINT64_C(1) << 32, &v);
    if (s == UV_OK) c->machine.quantum = v;
    return s;
}

static enum uv_status set_rtc(uv_config *c, const char *value)
{
    uint64_t v;
    enum uv_status s = number(c, "rtc", value, 0, UINT64_C(253402300799), &v);
    if (s == UV_OK) c->machine.rtc_base = (int64_t)v;
    return s;
}

static enum uv_status set_debug(uv_config *c, const char *value)
{
    struct machine_debug d = {0};
    for (const char *p = value; *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] == ',')) {
        char word[40];
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(p, ","), p);
        if (strcmp(word, "no-peephole") == 0) {
            d.no_peephole = true;
        } else if (strcmp(word, "no-chain") == 0) {
            d.no_chain = true;
        } else if (strncmp(word, "drop-derived=", 13) == 0) {
            enum uv_status s = number(c, "drop-derived", word + 13, 1, UINT64_MAX, &d.drop_derived);
            if (s != UV_OK) return s;
        } else {
            return api_fail(c->message, UV_E_VALUE,
                            "debug '%s': expected drop-derived=SEED, no-peephole or no-chain", word);
        }
    }
    c->machine.debug = d;
    return UV_OK;
}

static enum uv_status on_off(uv_config *c, const char *what, const char *value, bool *off)
{
    bool on = strcmp(value, "on") == 0;
    if (!on && strcmp(value, "off") != 0)
        return api_fail(c->message, UV_E_VALUE, "%s '%s': expected on or off", what, value);
    *off = !on;
    return UV_OK;
}

static enum uv_status set_hpet(uv_config *c, const char *value)
{
    return on_off(c, "hpet", value, &c->machine.no_hpet);
}
static enum uv_status set_i8042(uv_config *c, const char *value)
{
    return on_off(c, "i8042", value, &c->machine.no_i8042);
}

static enum uv_status set_backend(uv_config *c, char *to, const char *what, const char *value)
{
    static const char *const kinds[] = {"stdio", "null", "none", "file:", "pipe:"};
    if (strcmp(value, "none") == 0) value = "";
    bool plain = strcmp(value, "") == 0 || strcmp(value, "stdio") == 0 || strcmp(value, "null") == 0;
    bool path = (strncmp(value, "file:", 5) == 0 || strncmp(value, "pipe:", 5) == 0) && value[5];
    if (!plain && !path) {
        const char *near = uv_nearest(value, kinds, sizeof(kinds) / sizeof(kinds[0]));
        return api_fail(c->message, UV_E_VALUE,
                        "%s: unknown backend '%s'%s%s%s; expected stdio, file:PATH, pipe:PATH, null or none",
                        what, value, near ? ", did you mean '" : "", near ? near : "", near ? "'" : "");
    }
    return copy_text(c, to, what, value);
}

static enum uv_status set_serial0(uv_config *c, const char *v)
{
    return set_backend(c, c->serial[0], "serial0", v);
}
static enum uv_status set_serial1(uv_config *c, const char *v)
{
    return set_backend(c, c->serial[1], "serial1", v);
}
static enum uv_status set_serial2(uv_config *c, const char *v)
{
    return set_backend(c, c->serial[2], "serial2", v);
}
static enum uv_status set_serial3(uv_config *c, const char *v)
{
    return set_backend(c, c->serial[3], "serial3", v);
}

static enum uv_status set_debugcon(uv_config *c, const char *value)
{
    enum uv_status s = set_backend(c, c->debugcon, "debugcon", value);
    if (s == UV_OK && c->machine.debugcon_port == 0) c->machine.debugcon_port = 0xe9;
    return s;
}

static enum uv_status set_debugcon_port(uv_config *c, const char *value)
{
    uint64_t v;
    enum uv_status s = number(c, "debugcon-port", value, 1, 0xffff, &v);
    if (s == UV_OK) c->machine.debugcon_port = (uint16_t)v;
    return s;
}

enum uv_status uv_config_create(uv_config **config)
{
    if (!config) return UV_E_ARGUMENT;
    uv_config *c = calloc(1, sizeof(*c));
    *config = c;
    if (!c) return UV_E_MEMORY;
    machine_config_default(&c->machine);
    if (c->machine.memory == 0) c->machine.memory = (uint64_t)MEMORY_DEFAULT_MIB << 20;
    if (c->machine.smp == 0) c->machine.smp = 1;
    enum uv_status s = c->machine.cpu_model ? UV_OK : set_cpu(c, "max");
    if (s != UV_OK) {
        uv_config_destroy(c);
        *config = NULL;
    }
    return s;
}

void uv_config_destroy(uv_config *c) { free(c); }
const char *uv_config_message(const uv_config *c) { return c ? c->message : "host memory exhausted"; }

static const char *did_you_mean(char *buffer, size_t size, const char *word, enum uv_table table)
{
    const char *near = api_nearest_in_table(word, table);
    if (!near) return "";
    snprintf(buffer, size, ", did you mean '%s'?", near);
    return buffer;
}

enum uv_status uv_config_set(uv_config *c, const char *name, const char *value)
{
    static const struct {
        const char *name;
        setting_fn *set;
    } settings[] = {
#define SETTING(name, setter, text) {name, setter},
#include "machine/settings.def"
#undef SETTING
    };
    char hint[96];
    if (!c || !name || !value) return UV_E_ARGUMENT;
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (strcmp(name, settings[i].name) == 0) return settings[i].set(c, value);
    return api_fail(c->message, UV_E_NAME, "unknown setting '%s'%s", name,
                    did_you_mean(hint, sizeof(hint), name, UV_TABLE_SETTINGS));
}

enum uv_status uv_config_serial_callback(uv_config *c, uint32_t port, uv_output_fn *fn, void *opaque)
{
    if (!c || port >= MACHINE_MAX_SERIAL) return UV_E_ARGUMENT;
    c->output[port] = fn;
    c->output_opaque[port] = opaque;
    return UV_OK;
}

/* Value of property `name` in "device,name=value,...": its length, or -1. */
static int property(const char *text, const char *name, const char **value)
{
    size_t n = strlen(name);
    for (const char *p = strchr(text, ','); p; p = strchr(p, ',')) {
        p++;
        if (strncmp(p, name, n) == 0 && p[n] == '=') {
            *value = p + n + 1;
            return (int)strcspn(*value, ",");
        }
    }
    return -1;
}

static enum uv_status port_property(uv_config *c, const char *text, const char *name, uint64_t fallback,
                                    uint64_t most, uint64_t *v)
{
    const char *value;
    char word[32];
    int n = property(text, name, &value);
    *v = fallback;
    if (n < 0) return UV_OK;
    snprintf(word, sizeof(word), "%.*s", n, value);
    return number(c, name, word, 1, most, v);
}

static enum uv_status add_debug_exit(uv_config *c, const char *text)
{
    uint64_t base, size;
    enum uv_status s = port_property(c, text, "iobase", 0x501, 0xffff, &base);
    if (s == UV_OK) s = port_property(c, text, "iosize", 2, 16, &size);
    if (s != UV_OK) return s;
    c->machine.debug_exit_port = (uint16_t)base;
    c->machine.debug_exit_size = (uint16_t)size;
    return UV_OK;
}

static enum uv_status add_pc_testdev(uv_config *c, const char *text)
{
    (void)text;
    c->machine.pc_testdev = true;
    return UV_OK;
}

static enum uv_status add_pci_testdev(uv_config *c, const char *text)
{
    (void)text;
    c->machine.pci_testdev = true;
    return UV_OK;
}

static enum uv_status add_debugcon(uv_config *c, const char *text)
{
    const char *value;
    char backend[API_SPEC] = "stdio";
    uint64_t port;
    enum uv_status s = port_property(c, text, "iobase", 0xe9, 0xffff, &port);
    if (s != UV_OK) return s;
    int n = property(text, "chardev", &value);
    if (n >= 0) snprintf(backend, sizeof(backend), "%.*s", n, value);
    if ((s = set_debugcon(c, backend)) == UV_OK) c->machine.debugcon_port = (uint16_t)port;
    return s;
}

/* Every property given must be one the row knows. */
static enum uv_status check_properties(uv_config *c, const char *device, const char *text, const char *known)
{
    for (const char *p = strchr(text, ','); p; p = strchr(p, ',')) {
        p++;
        size_t n = strcspn(p, "=,");
        bool found = false;
        for (const char *k = known; *k && !found; k += strcspn(k, ",") + (k[strcspn(k, ",")] == ','))
            found = strcspn(k, ",") == n && strncmp(k, p, n) == 0;
        if (strncmp(p, "id=", 3) == 0 || strncmp(p, "bus=", 4) == 0 || strncmp(p, "addr=", 5) == 0)
            found = true;
        if (!found)
            return api_fail(c->message, UV_E_NAME, "device %s has no property '%.*s'%s%s", device, (int)n, p,
                            *known ? "; it has " : "", known);
    }
    return UV_OK;
}

enum uv_status uv_config_add_device(uv_config *c, const char *device)
{
    static const struct {
        const char *name;
        setting_fn *add;
        const char *properties;
    } devices[] = {
#define DEVICE_OPTION(name, setter, properties, text) {name, setter, properties},
#include "machine/device_options.def"
#undef DEVICE_OPTION
    };
    char hint[96], name[64];
    if (!c || !device) return UV_E_ARGUMENT;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(device, ","), device);
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        if (strcmp(name, devices[i].name) != 0) continue;
        enum uv_status s = check_properties(c, name, device, devices[i].properties);
        return s == UV_OK ? devices[i].add(c, device) : s;
    }
    return api_fail(c->message, UV_E_NAME, "unknown device '%s'%s", name,
                    did_you_mean(hint, sizeof(hint), name, UV_TABLE_DEVICES));
}
