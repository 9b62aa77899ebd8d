/* SPDX-License-Identifier: MIT */
/* Registers, MSRs and memory of the public interface. Reads have no side effects on the machine; writes
 * drop what was derived from the old state. */
#include <stddef.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/mem.h"
#include "machine/api.h"

struct reg_place {
    const char *name;
    uint32_t offset, size;
};

static const struct reg_place registers[] = {
#define PLACE(text, member) \
    {text, offsetof(struct cpu_state, member), sizeof(((struct cpu_state *)0)->member)},
#define REGISTER(text, member) PLACE(text, member)
#define SEGMENT(text, id)         \
    PLACE(text, seg[id].selector) \
    PLACE(text ".base", seg[id].base) PLACE(text ".limit", seg[id].limit) PLACE(text ".rights", seg[id].ar)
#include "machine/registers.def"
#undef REGISTER
#undef SEGMENT
#undef PLACE
};
enum { REGISTERS = sizeof(registers) / sizeof(registers[0]) };

static struct cpu *cpu_of(uv_machine *v, uint32_t cpu) { return v ? machine_cpu(v->m, cpu) : NULL; }

uint32_t uv_register_count(void) { return REGISTERS; }
const char *uv_register_name(uint32_t id) { return id < REGISTERS ? registers[id].name : NULL; }

enum uv_status uv_register_find(const char *name, uint32_t *id)
{
    if (!name || !id) return UV_E_ARGUMENT;
    for (uint32_t i = 0; i < REGISTERS; i++) {
        if (strcmp(name, registers[i].name) != 0) continue;
        *id = i;
        return UV_OK;
    }
    return UV_E_NAME;
}

enum uv_status uv_register_read(uv_machine *v, uint32_t cpu, uint32_t id, uint64_t *value)
{
    struct cpu *c = cpu_of(v, cpu);
    if (!c || !value || id >= REGISTERS) return UV_E_ARGUMENT;
    const struct reg_place *r = &registers[id];
    const void *p = (const char *)&c->s + r->offset;
    if (r->offset == offsetof(struct cpu_state, rflags)) {
        *value = cpu_read_rflags(c);
        return UV_OK;
    }
    switch (r->size) {
    case 1: *value = *(const uint8_t *)p; break;
    case 2: *value = *(const uint16_t *)p; break;
    case 4: *value = *(const uint32_t *)p; break;
    default: *value = *(const uint64_t *)p; break;
    }
    return UV_OK;
}

enum uv_status uv_register_write(uv_machine *v, uint32_t cpu, uint32_t id, uint64_t value)
{
    struct cpu *c = cpu_of(v, cpu);
    if (!c || id >= REGISTERS) return UV_E_ARGUMENT;
    const struct reg_place *r = &registers[id];
    void *p = (char *)&c->s + r->offset;
    if (r->offset == offsetof(struct cpu_state, rflags)) {
        cpu_write_rflags(c, value);
        return UV_OK;
    }
    switch (r->size) {
    case 1: *(uint8_t *)p = (uint8_t)value; break;
    case 2: *(uint16_t *)p = (uint16_t)value; break;
    case 4: *(uint32_t *)p = (uint32_t)value; break;
    default: *(uint64_t *)p = value; break;
    }
    if (r->offset >= offsetof(struct cpu_state, rflags)) {
        cpu_flush_flags(c);
        cpu_drop_derived(c);
        cpu_mode_changed(c);
    }
    return UV_OK;
}

/* A read or write that would fault leaves no trace of the fault. */
enum uv_status uv_msr_read(uv_machine *v, uint32_t cpu, uint32_t index, uint64_t *value)
{
    struct cpu *c = cpu_of(v, cpu);
    if (!c || !value) return UV_E_ARGUMENT;
    struct fault kept = c->fault;
    bool ok = cpu_read_msr(c, index, value);
    c->fault = kept;
    return ok ? UV_OK : api_fail(v->message, UV_E_RANGE, "MSR 0x%x: #GP", index);
}

enum uv_status uv_msr_write(uv_machine *v, uint32_t cpu, uint32_t index, uint64_t value)
{
    struct cpu *c = cpu_of(v, cpu);
    if (!c) return UV_E_ARGUMENT;
    struct fault kept = c->fault;
    bool ok = cpu_write_msr(c, index, value);
    c->fault = kept;
    return ok ? UV_OK : api_fail(v->message, UV_E_RANGE, "MSR 0x%x: #GP", index);
}

enum { VECTORS = sizeof(((struct cpu_state *)0)->vec) / sizeof(struct vec_reg) };

enum uv_status uv_vector_read(uv_machine *v, uint32_t cpu, uint32_t n, uint64_t value[2])
{
    struct cpu *c = cpu_of(v, cpu);
    if (!c || n >= VECTORS || !value) return UV_E_ARGUMENT;
    value[0] = c->s.vec[n].q[0];
    value[1] = c->s.vec[n].q[1];
    return UV_OK;
}

enum uv_status uv_vector_write(uv_machine *v, uint32_t cpu, uint32_t n, const uint64_t value[2])
{
    struct cpu *c = cpu_of(v, cpu);
    if (!c || n >= VECTORS || !value) return UV_E_ARGUMENT;
    c->s.vec[n].q[0] = value[0];
    c->s.vec[n].q[1] = value[1];
    return UV_OK;
}

static enum uv_code_mode code_mode(const struct cpu *c)
{
    if (in_64bit(c)) return UV_CODE_64;
    return c->s.seg[SEG_CS].ar & AR_DB ? UV_CODE_32 : UV_CODE_16;
}

enum uv_status uv_cpu_inspect(uv_machine *v, uint32_t cpu, struct uv_cpu_info *info)
{
    struct cpu *c = cpu_of(v, cpu);
    if (!c || !info) return UV_E_ARGUMENT;
    uint64_t rip = c->s.gpr[REG_RIP];
    *info = (struct uv_cpu_info){.rip = rip,
                                 .linear_rip = in_64bit(c) ? rip : (uint32_t)(c->s.seg[SEG_CS].base + rip),
                                 .instructions = c->s.insns,
                                 .code_mode = code_mode(c),
                                 .cpl = c->s.cpl,
                                 .in_guest = c->s.in_guest,
                                 .activity = c->s.activity};
    return UV_OK;
}

enum uv_status uv_memory_read(uv_machine *v, uint64_t address, void *data, size_t size)
{
    if (!v || (!data && size)) return UV_E_ARGUMENT;
    return machine_memory_read(v->m, address, data, size) ? UV_OK : UV_E_RANGE;
}

enum uv_status uv_memory_write(uv_machine *v, uint64_t address, const void *data, size_t size)
{
    if (!v || (!data && size)) return UV_E_ARGUMENT;
    if (!machine_memory_write(v->m, address, data, size)) return UV_E_RANGE;
    for (uint32_t i = 0; i < machine_cpu_count(v->m); i++)
        cpu_drop_derived(machine_cpu(v->m, i));
    return UV_OK;
}

/* Page by page; `write` NULL: read. */
static enum uv_status linear_move(uv_machine *v, uint32_t cpu, uint64_t linear, void *read, const void *write,
                                  size_t size, size_t *done)
{
    struct cpu *c = cpu_of(v, cpu);
    size_t at = 0;
    enum uv_status s = UV_OK;
    if (!c || (!read && !write && size)) return UV_E_ARGUMENT;
    while (at < size && s == UV_OK) {
        uint64_t gpa, hpa, left = PAGE_SIZE - ((linear + at) & (PAGE_SIZE - 1));
        size_t n = size - at < left ? size - at : (size_t)left;
        if (!lin_debug_translate(c, linear + at, &gpa, &hpa))
            s = UV_E_RANGE;
        else if (write)
            s = uv_memory_write(v, hpa, (const char *)write + at, n);
        else
            s = uv_memory_read(v, hpa, (char *)read + at, n);
        if (s == UV_OK) at += n;
    }
    if (done) *done = at;
    return s;
}

enum uv_status uv_linear_read(uv_machine *v, uint32_t cpu, uint64_t linear, void *data, size_t size,
                              size_t *done)
{
    return linear_move(v, cpu, linear, data, NULL, size, done);
}

enum uv_status uv_linear_write(uv_machine *v, uint32_t cpu, uint64_t linear, const void *data, size_t size,
                               size_t *done)
{
    return linear_move(v, cpu, linear, NULL, data, size, done);
}

enum uv_status uv_translate(uv_machine *v, uint32_t cpu, uint64_t linear, uint64_t *guest_physical,
                            uint64_t *physical)
{
    struct cpu *c = cpu_of(v, cpu);
    uint64_t gpa, hpa;
    if (!c) return UV_E_ARGUMENT;
    if (!lin_debug_translate(c, linear, &gpa, &hpa))
        return api_fail(v->message, UV_E_RANGE, "linear address 0x%llx is not mapped",
                        (unsigned long long)linear);
    if (guest_physical) *guest_physical = gpa;
    if (physical) *physical = hpa;
    return UV_OK;
}
