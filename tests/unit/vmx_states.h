/* SPDX-License-Identifier: MIT */
/* Valid VMCS contents to change, and a processor that allows every control: what the tests of the entry
 * checks and of their explanation start from. */
#ifndef UV_TESTS_UNIT_VMX_STATES_H
#define UV_TESTS_UNIT_VMX_STATES_H

#include <string.h>

#include "vmx/explain.h"

enum { PHYS_BITS = 46 };
#define WIDE (UINT64_C(1) << PHYS_BITS)
#define CAP_EPT0 (UINT64_C(0xf0106734141) | 1u << 7)

/* Pseudo fields of the states below. */
enum { F_SMM = F_COUNT, F_LMA, F_CAP_EPT, F_END };

static struct vmx_cap cap;
static uint64_t field[F_END];
static uint32_t PIN0, PRI0, EXI0, ENT0;

static inline uint64_t read_memory(void *opaque, uint64_t address, uint32_t size)
{
    (void)opaque, (void)size;
    switch (address) {
    case 0x5080: return 0x50; /* VTPR */
    case 0x6000:
    case 0x8000: return vmx_revision(&cap);
    case 0x7000: return vmx_revision(&cap) | VMCS_SHADOW;
    case 0xa008: return 3; /* PDPTE with a reserved bit */
    default: return 0;
    }
}

/* A processor that allows every control, so that a rule is broken for its own sake. */
static inline int make_cap(void **state)
{
    uint64_t features[8];
    (void)state;
    memset(features, 0xff, sizeof features);
    vmx_cap_init(&cap, "max-intel", features, PHYS_BITS, 48);
    cap.msr[0] &= ~(UINT64_C(1) << 56);
    cap.msr[9] = 0x1ffffff;
    cap.msr[0xc] = CAP_EPT0;
    PIN0 = (uint32_t)cap.allowed0[W_PIN];
    PRI0 = (uint32_t)cap.allowed0[W_PRI] | PRI_SECONDARY | PRI_TERTIARY;
    EXI0 = (uint32_t)cap.allowed0[W_EXI] | EXI_HOST_64BIT | EXI_SECONDARY;
    ENT0 = (uint32_t)cap.allowed0[W_ENT] | ENT_IA32E_GUEST;
    for (int w = 0; w < VMX_WORDS; w++)
        cap.allowed1[w] = w == W_SEC ? 0xdfffffff : 0xffffffff;
    cap.allowed1[W_VMFUNC] = 1;
    return 0;
}

static inline void base_long(void)
{
    uint64_t *f = field;
    memset(field, 0, sizeof field);
    f[F_PIN_CONTROLS] = PIN0;
    f[F_PRIMARY_CONTROLS] = PRI0;
    f[F_EXIT_CONTROLS] = EXI0;
    f[F_ENTRY_CONTROLS] = ENT0;
    f[F_VIRTUAL_APIC_ADDR] = 0x5000;
    f[F_VMCS_LINK] = VMCS_NONE;
    f[F_HOST_CR0] = f[F_GUEST_CR0] = 0x80000031;
    f[F_HOST_CR4] = f[F_GUEST_CR4] = CR4_PAE | CR4_VMXE;
    f[F_GUEST_CR3] = 0x9000;
    f[F_HOST_CS_SELECTOR] = 8;
    f[F_HOST_SS_SELECTOR] = 0x10;
    f[F_HOST_TR_SELECTOR] = 0x18;
    f[F_GUEST_CS_SELECTOR] = 8;
    f[F_GUEST_TR_SELECTOR] = 0x18;
    for (int s = SEG_ES; s <= SEG_GS; s++) {
        f[F_GUEST_ES_AR + s] = s == SEG_CS ? 0xa09b : 0xc093;
        f[F_GUEST_ES_LIMIT + s] = 0xffffffff;
        if (s != SEG_CS) f[F_GUEST_ES_SELECTOR + s] = 0x10;
    }
    f[F_GUEST_TR_AR] = 0x8b;
    f[F_GUEST_TR_LIMIT] = 0x67;
    f[F_GUEST_LDTR_AR] = AR_UNUSABLE;
    f[F_GUEST_RFLAGS] = FL_FIXED;
    f[F_LMA] = 1;
    f[F_CAP_EPT] = CAP_EPT0;
}

static inline void base_v86(void)
{
    base_long();
    field[F_ENTRY_CONTROLS] &= ~(uint64_t)ENT_IA32E_GUEST;
    field[F_GUEST_RFLAGS] |= FL_VM;
    for (int s = SEG_ES; s <= SEG_GS; s++) {
        field[F_GUEST_ES_AR + s] = 0xf3;
        field[F_GUEST_ES_LIMIT + s] = 0xffff;
        field[F_GUEST_ES_SELECTOR + s] = 0x1000;
        field[F_GUEST_ES_BASE + s] = 0x10000;
    }
}

static inline void make_check(struct vmx_check *k)
{
    cap.msr[0xc] = field[F_CAP_EPT];
    vmx_check_init(k, &cap, field);
    k->lma = field[F_LMA] != 0;
    k->lma_inferred = false;
    k->smm = field[F_SMM] != 0;
    k->current = 0x6000;
    k->read = read_memory;
}

struct set {
    int field;
    uint64_t value;
};

static inline void apply(const struct set *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (s[i].field >= 0) field[s[i].field] = s[i].value;
}

#define BASE_LONG base_long
#define BASE_V86 base_v86
#define S(name, value)  \
    {                   \
        F_##name, value \
    }
#define SETS(...)                                 \
    ((const struct set[]){{-1, 0}, __VA_ARGS__}), \
        sizeof((const struct set[]){{-1, 0}, __VA_ARGS__}) / sizeof(struct set)

/* One to three fields of a valid state changed. */
static inline void random_state(uint64_t round)
{
    static const uint64_t values[] = {
        0, 1, 3, 0x10, 0xffff, 0x8008, 0x1000, UINT64_C(1) << 32, ~UINT64_C(0), WIDE};
    uint64_t seed = round * UINT64_C(0x9e3779b97f4a7c15);
    if (round & 1)
        base_v86();
    else
        base_long();
    for (uint64_t n = 0; n <= round % 3; n++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        unsigned changed = (unsigned)(seed % F_COUNT);
        uint64_t value = values[seed / F_COUNT % (sizeof values / sizeof values[0])];
        field[changed] = seed >> 60 & 1 ? field[changed] ^ (UINT64_C(1) << (seed >> 40 & 31)) : value;
        field[changed] &= vmcs_width_mask((int)changed);
    }
}

#endif
