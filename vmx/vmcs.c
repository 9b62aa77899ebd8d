/* SPDX-License-Identifier: MIT */
/* The VMCS region in memory and the encoding of its fields. Layout of the region, private to this processor:
 * dword 0 revision identifier and shadow indicator, dword 4 VMX-abort indicator, dword 8 launch state,
 * from byte 16 eight bytes a field in the order of vmcs.def. The current VMCS is held decoded in
 * vmx_state and is written back when it stops being current, so a cleared region can be copied.
 * SDM 3C 25.2 "Format of the VMCS Region", 25.11; 3D app. B. */
#include <string.h>

#include "cpu/mem.h"
#include "vmx/vmx.h"

#define GATE(word, bit) ((word) << 5 | (bit))
#define ALWAYS 0xffff
#define PIN(b) (0xff00 | GATE(W_PIN, b))
#define PRI(b) (0xff00 | GATE(W_PRI, b))
#define SEC(b) (0xff00 | GATE(W_SEC, b))
#define TER(b) (0xff00 | GATE(W_TER, b))
#define EXI(b) (0xff00 | GATE(W_EXI, b))
#define EXI2(b) (0xff00 | GATE(W_EXI2, b))
#define ENT(b) (0xff00 | GATE(W_ENT, b))
#define VMFUNC(b) (0xff00 | GATE(W_VMFUNC, b))
#define OR(a, b) (((a)&0xff) | ((b)&0xff) << 8)

const struct vmcs_field_info vmcs_fields[F_COUNT] = {
#define FIELD(name, encoding, width, class, gate) {#name, encoding, width, class, gate},
#include "vmx/vmcs.def"
#undef FIELD
};

_Static_assert(VMCS_OFF_DATA + 8 * F_COUNT <= VMCS_REGION_SIZE, "the fields fit the region");

/* Encodings as a dense key: width, class, low six bits of the index. */
enum { KEY_COUNT = 4 * 4 * 64 };
#define KEY(e) (((e) >> 13 & 3) << 8 | ((e) >> 10 & 3) << 6 | ((e) >> 1 & 63))
static const uint8_t field_of_key[KEY_COUNT] = {
#define FIELD(name, encoding, width, class, gate) [KEY(encoding)] = F_##name + 1,
#include "vmx/vmcs.def"
#undef FIELD
};
_Static_assert(F_COUNT < 255, "field numbers fit a byte");

int vmcs_lookup(uint64_t encoding)
{
    if (encoding >> 15 || (encoding & 0x1000) || (encoding >> 7 & 7)) return -1;
    if ((encoding & 1) && (encoding >> 13 & 3) != W64) return -1;
    return (int)field_of_key[KEY(encoding)] - 1;
}

static bool gate_open(const struct vmx_cap *cap, unsigned gate)
{
    return gate != 0xff && (cap->allowed1[gate >> 5] >> (gate & 31) & 1) != 0;
}

bool vmcs_field_exists(const struct vmx_cap *cap, int field)
{
    unsigned g = vmcs_fields[field].gate;
    return g == ALWAYS || gate_open(cap, g & 0xff) || gate_open(cap, g >> 8);
}

uint64_t vmcs_width_mask(int field)
{
    switch (vmcs_fields[field].width) {
    case W16: return 0xffff;
    case W32: return 0xffffffff;
    default: return ~UINT64_C(0);
    }
}

uint64_t vmcs_extract(int field, uint64_t encoding, uint64_t stored)
{
    return encoding & 1 ? stored >> 32 : stored & vmcs_width_mask(field);
}

uint64_t vmcs_merge(int field, uint64_t encoding, uint64_t stored, uint64_t value)
{
    if (encoding & 1) return (stored & 0xffffffff) | value << 32;
    return value & vmcs_width_mask(field);
}

static void put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

void vmcs_load(struct cpu *c, uint64_t address, struct vmcs *v)
{
    uint8_t raw[VMCS_OFF_DATA + 8 * F_COUNT];
    phys_read_bytes(c, address, raw, sizeof raw);
    v->revision = (uint32_t)get64(raw);
    v->launched = (uint32_t)get64(raw + VMCS_OFF_LAUNCH) == 1;
    for (int f = 0; f < F_COUNT; f++)
        v->f[f] = get64(raw + VMCS_OFF_DATA + 8 * f) & vmcs_width_mask(f);
}

void vmcs_store(struct cpu *c, uint64_t address, const struct vmcs *v)
{
    uint8_t raw[VMCS_OFF_DATA + 8 * F_COUNT - VMCS_OFF_LAUNCH];
    put64(raw, v->launched);
    for (int f = 0; f < F_COUNT; f++)
        put64(raw + VMCS_OFF_DATA - VMCS_OFF_LAUNCH + 8 * f, v->f[f]);
    phys_write_bytes(c, address + VMCS_OFF_LAUNCH, raw, sizeof raw); /* dwords 0 and 4 belong to software */
}

uint64_t vmcs_peek(struct cpu *c, uint64_t address, int field)
{
    return phys_read(c, address + VMCS_OFF_DATA + 8 * (unsigned)field, 8) & vmcs_width_mask(field);
}

void vmcs_poke(struct cpu *c, uint64_t address, int field, uint64_t value)
{
    phys_write(c, address + VMCS_OFF_DATA + 8 * (unsigned)field, 8, value & vmcs_width_mask(field));
}

void vmcs_make_current(struct cpu *c, uint64_t address)
{
    struct vmx_state *x = vmx_of(c);
    if (address == x->current) return;
    if (x->current != VMCS_NONE) vmcs_store(c, x->current, &x->vmcs);
    x->current = address;
    memset(x->dirty, 0xff, sizeof x->dirty);
    if (address != VMCS_NONE)
        vmcs_load(c, address, &x->vmcs);
    else
        memset(&x->vmcs, 0, sizeof x->vmcs);
}

void vmx_effective_controls(const uint64_t *f, struct vmx_effective *e)
{
    memset(e, 0, sizeof *e);
    e->pin = (uint32_t)f[F_PIN_CONTROLS];
    e->pri = (uint32_t)f[F_PRIMARY_CONTROLS];
    e->exi = (uint32_t)f[F_EXIT_CONTROLS];
    e->ent = (uint32_t)f[F_ENTRY_CONTROLS];
    if (e->pri & PRI_SECONDARY) e->sec = (uint32_t)f[F_SECONDARY_CONTROLS];
    if (e->pri & PRI_TERTIARY) e->ter = f[F_TERTIARY_CONTROLS];
    if (e->exi & EXI_SECONDARY) e->exi2 = f[F_EXIT_CONTROLS2];
    if (e->sec & SEC_VMFUNC) e->vmfunc = f[F_VMFUNC_CONTROLS];
}
