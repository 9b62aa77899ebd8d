/* SPDX-License-Identifier: MIT */
/* The VMX instructions: each one's ladder of #UD, VM exit, #GP, operand faults and VMfail in the manual's
 * order, then its effect. In non-root operation the exit comes after #UD and before the CPL check.
 * SDM 3C ch. 31 "VMX Instruction Reference", 26.5.6 "VM Functions". */
#include "cpu/event.h"
#include "cpu/flags.h"
#include "cpu/mem.h"
#include "cpu/uop.h"
#include "vmx/vmx.h"

enum vmx_opcode {
    OP_VMCALL,
    OP_VMLAUNCH,
    OP_VMRESUME,
    OP_VMXOFF,
    OP_VMFUNC,
    OP_VMPTRLD,
    OP_VMCLEAR,
    OP_VMXON,
    OP_VMPTRST,
    OP_VMREAD,
    OP_VMWRITE,
    OP_INVEPT,
    OP_INVVPID,
    OP_NONE
};

static enum vmx_opcode identify(const struct insn *insn)
{
    const struct insn_row *row = insn->row;
    if (row->map == 2) return row->opcode == 0x80 ? OP_INVEPT : OP_INVVPID;
    switch (row->opcode) {
    case 0x78: return OP_VMREAD;
    case 0x79: return OP_VMWRITE;
    case 0xc7:
        if ((insn->modrm >> 3 & 7) == 7) return OP_VMPTRST;
        return row->pfx == PFX_P66 ? OP_VMCLEAR : row->pfx == PFX_PF3 ? OP_VMXON : OP_VMPTRLD;
    case 0x01:
        switch (insn->modrm) {
        case 0xc1: return OP_VMCALL;
        case 0xc2: return OP_VMLAUNCH;
        case 0xc3: return OP_VMRESUME;
        case 0xc4: return OP_VMXOFF;
        case 0xd4: return OP_VMFUNC;
        default: return OP_NONE;
        }
    default: return OP_NONE;
    }
}

/* Result conventions, SDM 3C 31.2. */
static void vm_succeed(struct cpu *c) { flags_load_oszapc(c, 0); }
static void vm_fail_invalid(struct cpu *c) { flags_load_oszapc(c, FL_CF); }
static void vm_fail_valid(struct cpu *c, uint32_t error)
{
    vmcs_set(vmx_of(c), F_INSN_ERROR, error);
    flags_load_oszapc(c, FL_ZF);
}
static void vm_fail(struct cpu *c, uint32_t error)
{
    if (vmx_of(c)->current != VMCS_NONE)
        vm_fail_valid(c, error);
    else
        vm_fail_invalid(c);
}

static bool mode_undefined(const struct cpu *c)
{
    return in_real(c) || in_v86(c) || (in_long_mode(c) && !in_64bit(c));
}
static bool undefined(const struct cpu *c) { return vmx_of(c)->mode == VMX_OFF || mode_undefined(c); }
static bool nonroot(const struct cpu *c) { return vmx_of(c)->mode == VMX_NONROOT; }

/* execute() has one argument more than a handler, so it cannot chain by a jump: the run loop goes on. */
#define DONE return u + 1
#define UNDEFINED_UNLESS(ok)      \
    do {                          \
        if (!(ok)) RAISE(VEC_UD); \
    } while (0)
#define EXIT_IN_NONROOT(reason)             \
    do {                                    \
        if (nonroot(c)) {                   \
            vmx_exit_insn(c, reason, insn); \
            EXITED;                         \
        }                                   \
    } while (0)
#define REQUIRE_CPL0                             \
    do {                                         \
        if (c->s.cpl != 0) RAISE_ERR(VEC_GP, 0); \
    } while (0)

static bool read_operand64(struct cpu *c, const struct uop *u, uint64_t *v)
{
    return mem_read64(c, u_seg(u), u_ea(c, u), v);
}

static bool page_address_ok(const struct vmx_cap *cap, uint64_t address)
{
    return (address & 0xfff) == 0 && vmx_width_ok(cap, address);
}

static bool fixed_bits_ok(const struct vmx_cap *cap, const struct cpu *c)
{
    uint64_t cr0 = c->s.cr0, cr4 = c->s.cr4;
    return (cr0 & vmx_cap_msr(cap, 0x486)) == vmx_cap_msr(cap, 0x486) && !(cr0 & ~vmx_cap_msr(cap, 0x487)) &&
           (cr4 & vmx_cap_msr(cap, 0x488)) == vmx_cap_msr(cap, 0x488) && !(cr4 & ~vmx_cap_msr(cap, 0x489));
}

static const struct uop *op_vmxon(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    struct vmx_state *x = vmx_of(c);
    UNDEFINED_UNLESS(!mode_undefined(c) && (c->s.cr4 & CR4_VMXE));
    EXIT_IN_NONROOT(REASON_VMXON);
    REQUIRE_CPL0;
    if (x->mode == VMX_ROOT) {
        vm_fail(c, VMXERR_VMXON_ROOT);
        DONE;
    }
    /* Lock and "VMX outside SMX" of IA32_FEATURE_CONTROL. */
    if (!fixed_bits_ok(&x->cap, c) || (c->s.feature_control & 5) != 5) RAISE_ERR(VEC_GP, 0);
    uint64_t address;
    TRY(read_operand64(c, u, &address));
    if (!page_address_ok(&x->cap, address) || (uint32_t)phys_read(c, address, 4) != vmx_revision(&x->cap)) {
        vm_fail_invalid(c);
        DONE;
    }
    x->vmxon_pointer = address;
    x->current = VMCS_NONE;
    x->mode = VMX_ROOT;
    c->virt = &vmx_root_ops;
    c->s.monitor.armed = 0;
    vm_succeed(c);
    vmx_apply_context(c);
    DONE;
}

static const struct uop *op_vmxoff(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    struct vmx_state *x = vmx_of(c);
    UNDEFINED_UNLESS(!undefined(c));
    EXIT_IN_NONROOT(REASON_VMXOFF);
    REQUIRE_CPL0;
    vmcs_make_current(c, VMCS_NONE);
    x->vmxon_pointer = VMCS_NONE;
    x->mode = VMX_OFF;
    c->virt = &virt_bare;
    c->s.monitor.armed = 0;
    vm_succeed(c);
    vmx_apply_context(c);
    DONE;
}

static const struct uop *op_vmclear(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    struct vmx_state *x = vmx_of(c);
    UNDEFINED_UNLESS(!undefined(c));
    EXIT_IN_NONROOT(REASON_VMCLEAR);
    REQUIRE_CPL0;
    uint64_t address;
    TRY(read_operand64(c, u, &address));
    if (!page_address_ok(&x->cap, address)) {
        vm_fail(c, VMXERR_VMCLEAR_ADDRESS);
    } else if (address == x->vmxon_pointer) {
        vm_fail(c, VMXERR_VMCLEAR_VMXON);
    } else {
        if (address == x->current) vmcs_make_current(c, VMCS_NONE);
        phys_write(c, address + VMCS_OFF_LAUNCH, 4, 0);
        PROBE(c->probes, c, VMCS_CLEAR, address, 0);
        vm_succeed(c);
    }
    DONE;
}

static const struct uop *op_vmptrld(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    struct vmx_state *x = vmx_of(c);
    UNDEFINED_UNLESS(!undefined(c));
    EXIT_IN_NONROOT(REASON_VMPTRLD);
    REQUIRE_CPL0;
    uint64_t address;
    TRY(read_operand64(c, u, &address));
    if (!page_address_ok(&x->cap, address)) {
        vm_fail(c, VMXERR_VMPTRLD_ADDRESS);
        DONE;
    }
    if (address == x->vmxon_pointer) {
        vm_fail(c, VMXERR_VMPTRLD_VMXON);
        DONE;
    }
    uint32_t revision = (uint32_t)phys_read(c, address, 4);
    bool shadow_ok = vmx_cap_allows(&x->cap, W_SEC, SEC_VMCS_SHADOWING);
    if ((revision & ~VMCS_SHADOW) != vmx_revision(&x->cap) || ((revision & VMCS_SHADOW) && !shadow_ok)) {
        vm_fail(c, VMXERR_VMPTRLD_REVISION);
        DONE;
    }
    vmcs_make_current(c, address);
    x->vmcs.revision = revision;
    vm_succeed(c);
    DONE;
}

static const struct uop *op_vmptrst(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    UNDEFINED_UNLESS(!undefined(c));
    EXIT_IN_NONROOT(REASON_VMPTRST);
    REQUIRE_CPL0;
    TRY(mem_write64(c, u_seg(u), u_ea(c, u), vmx_of(c)->current));
    vm_succeed(c);
    DONE;
}

/* Does this VMREAD/VMWRITE of non-root operation exit? SDM 3C 26.1.3 (VMCS shadowing). */
static bool shadow_access_exits(struct cpu *c, uint64_t encoding, int bitmap_field)
{
    const struct vmx_state *x = vmx_of(c);
    if (!(x->eff.sec & SEC_VMCS_SHADOWING) || encoding >> 15) return true;
    uint64_t byte = phys_read(c, x->vmcs.f[bitmap_field] + (encoding >> 3), 1);
    return (byte >> (encoding & 7) & 1) != 0;
}

/* The VMCS that VMREAD/VMWRITE address: the current one in root, the link pointer's in non-root. */
static uint64_t accessed_vmcs(const struct cpu *c)
{
    const struct vmx_state *x = vmx_of(c);
    return x->mode == VMX_NONROOT ? x->vmcs.f[F_VMCS_LINK] : x->current;
}

static const struct uop *op_vmread(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    struct vmx_state *x = vmx_of(c);
    bool wide = in_64bit(c);
    UNDEFINED_UNLESS(!undefined(c));
    uint64_t encoding = wide ? R64(insn->reg) : R32(insn->reg);
    if (nonroot(c) && shadow_access_exits(c, encoding, F_VMREAD_BITMAP)) {
        vmx_exit_insn(c, REASON_VMREAD, insn);
        EXITED;
    }
    REQUIRE_CPL0;
    uint64_t region = accessed_vmcs(c);
    if (region == VMCS_NONE) {
        vm_fail_invalid(c);
        DONE;
    }
    int field = vmcs_lookup(encoding);
    if (field < 0 || !vmcs_field_exists(&x->cap, field)) {
        PROBE(c->probes, c, VMCS_FAULT, encoding, VMXERR_UNSUPPORTED_FIELD);
        vm_fail_valid(c, VMXERR_UNSUPPORTED_FIELD);
        DONE;
    }
    uint64_t stored = nonroot(c) ? vmcs_peek(c, region, field) : x->vmcs.f[field];
    uint64_t value = vmcs_extract(field, encoding, stored);
    if (!insn->is_mem) {
        if (wide)
            W64(insn->rm, value);
        else
            W32(insn->rm, value);
    } else if (wide) {
        TRY(mem_write64(c, u_seg(u), u_ea(c, u), value));
    } else {
        TRY(mem_write32(c, u_seg(u), u_ea(c, u), (uint32_t)value));
    }
    PROBE(c->probes, c, VMCS_READ, encoding, value);
    vm_succeed(c);
    DONE;
}

static const struct uop *op_vmwrite(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    struct vmx_state *x = vmx_of(c);
    bool wide = in_64bit(c);
    UNDEFINED_UNLESS(!undefined(c));
    uint64_t encoding = wide ? R64(insn->reg) : R32(insn->reg);
    if (nonroot(c) && shadow_access_exits(c, encoding, F_VMWRITE_BITMAP)) {
        vmx_exit_insn(c, REASON_VMWRITE, insn);
        EXITED;
    }
    REQUIRE_CPL0;
    uint64_t region = accessed_vmcs(c), value;
    if (region == VMCS_NONE) {
        vm_fail_invalid(c);
        DONE;
    }
    if (!insn->is_mem) {
        value = wide ? R64(insn->rm) : R32(insn->rm);
    } else if (wide) {
        TRY(mem_read64(c, u_seg(u), u_ea(c, u), &value));
    } else {
        uint32_t narrow;
        TRY(mem_read32(c, u_seg(u), u_ea(c, u), &narrow));
        value = narrow;
    }
    int field = vmcs_lookup(encoding);
    if (field < 0 || !vmcs_field_exists(&x->cap, field)) {
        PROBE(c->probes, c, VMCS_FAULT, encoding, VMXERR_UNSUPPORTED_FIELD | UINT64_C(1) << 32);
        vm_fail_valid(c, VMXERR_UNSUPPORTED_FIELD);
        DONE;
    }
    if (vmcs_fields[field].class == RODATA && !(vmx_cap_msr(&x->cap, 0x485) >> 29 & 1)) {
        PROBE(c->probes, c, VMCS_FAULT, encoding, VMXERR_READ_ONLY_FIELD | UINT64_C(1) << 32);
        vm_fail_valid(c, VMXERR_READ_ONLY_FIELD);
        DONE;
    }
    if (nonroot(c))
        vmcs_poke(c, region, field, vmcs_merge(field, encoding, vmcs_peek(c, region, field), value));
    else
        vmcs_set(x, field, vmcs_merge(field, encoding, x->vmcs.f[field], value));
    PROBE(c->probes, c, VMCS_WRITE, encoding, value);
    vm_succeed(c);
    DONE;
}

static const struct uop *op_vmentry(struct cpu *c, const struct uop *u, const struct insn *insn, bool launch)
{
    struct vmx_state *x = vmx_of(c);
    UNDEFINED_UNLESS(!undefined(c));
    EXIT_IN_NONROOT(launch ? REASON_VMLAUNCH : REASON_VMRESUME);
    REQUIRE_CPL0;
    uint32_t error = 0;
    if (x->current == VMCS_NONE || (x->vmcs.revision & VMCS_SHADOW)) {
        vm_fail_invalid(c);
        DONE;
    }
    if (c->s.intr.movss_shadow)
        error = VMXERR_MOV_SS;
    else if (launch && x->vmcs.launched)
        error = VMXERR_VMLAUNCH_NOT_CLEAR;
    else if (!launch && !x->vmcs.launched)
        error = VMXERR_VMRESUME_NOT_LAUNCHED;
    else if (vmx_enter(c, launch, &error) == ENTRY_DONE)
        EXITED;
    PROBE(c->probes, c, VM_ENTRY_FAIL, error, 0);
    vm_fail_valid(c, error);
    DONE;
}

static const struct uop *op_vmcall(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    UNDEFINED_UNLESS(vmx_of(c)->mode != VMX_OFF);
    EXIT_IN_NONROOT(REASON_VMCALL);
    UNDEFINED_UNLESS(!mode_undefined(c));
    REQUIRE_CPL0;
    vm_fail(c, VMXERR_VMCALL_ROOT); /* no dual-monitor treatment here */
    DONE;
}

bool vmx_eptp_valid(const struct vmx_cap *cap, uint64_t eptp)
{
    uint64_t ev = vmx_cap_msr(cap, 0x48c);
    unsigned type = eptp & 7, levels = (eptp >> 3 & 7) + 1;
    bool type_ok = (type == 0 && (ev >> 8 & 1)) || (type == 6 && (ev >> 14 & 1));
    bool levels_ok = (levels == 4 && (ev >> 6 & 1)) || (levels == 5 && (ev >> 7 & 1));
    bool flags_ok =
        (!(eptp & 0x40) || (ev >> 21 & 1)) && (!(eptp & 0x80) || (ev >> 23 & 1)) && !(eptp & 0xf00);
    return type_ok && levels_ok && flags_ok && vmx_width_ok(cap, eptp);
}

static const struct uop *op_vmfunc(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    struct vmx_state *x = vmx_of(c);
    uint32_t leaf = R32(RAX), index = R32(RCX);
    UNDEFINED_UNLESS(nonroot(c) && (x->eff.sec & SEC_VMFUNC) && leaf <= 63);
    uint64_t eptp = 0;
    bool ok = leaf == 0 && (x->eff.vmfunc >> leaf & 1) && index < 512;
    if (ok) {
        eptp = phys_read(c, x->vmcs.f[F_EPTP_LIST_ADDR] + 8 * (uint64_t)index, 8);
        ok = vmx_eptp_valid(&x->cap, eptp) && (eptp >> 3 & 7) == (x->vmcs.f[F_EPTP] >> 3 & 7);
    }
    if (!ok) {
        vmx_exit_insn(c, REASON_VMFUNC, insn);
        EXITED;
    }
    vmcs_set(x, F_EPTP, eptp);
    if (vmx_cap_allows(&x->cap, W_SEC, SEC_EPT_VE)) vmcs_set(x, F_EPTP_INDEX, index & 0xffff);
    if (!(x->eff.sec & SEC_VPID)) tlb_flush_tag(c, 0, false);
    vmx_apply_context(c);
    DONE;
}

static bool read_descriptor(struct cpu *c, const struct uop *u, uint64_t v[2])
{
    return mem_read128(c, u_seg(u), u_ea(c, u), false, v);
}

static const struct uop *op_invept(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    const struct vmx_cap *cap = &vmx_of(c)->cap;
    UNDEFINED_UNLESS(!undefined(c) && insn->is_mem && (vmx_cap_msr(cap, 0x48c) >> 20 & 1));
    EXIT_IN_NONROOT(REASON_INVEPT);
    REQUIRE_CPL0;
    uint64_t type = in_64bit(c) ? R64(insn->reg) : R32(insn->reg), d[2];
    if (type < 1 || type > 2 || !(vmx_cap_msr(cap, 0x48c) >> (24 + type) & 1)) {
        vm_fail(c, VMXERR_INVALIDATE_OPERAND);
        DONE;
    }
    TRY(read_descriptor(c, u, d));
    if (type == 1 && !vmx_eptp_valid(cap, d[0])) {
        vm_fail(c, VMXERR_INVALIDATE_OPERAND);
        DONE;
    }
    tlb_flush_second_stage(c, type == 1 ? vmx_ept_root(d[0]) : ~UINT64_C(0));
    vm_succeed(c);
    DONE;
}

static const struct uop *op_invvpid(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    const struct vmx_cap *cap = &vmx_of(c)->cap;
    UNDEFINED_UNLESS(!undefined(c) && insn->is_mem && (vmx_cap_msr(cap, 0x48c) >> 32 & 1));
    EXIT_IN_NONROOT(REASON_INVVPID);
    REQUIRE_CPL0;
    uint64_t type = in_64bit(c) ? R64(insn->reg) : R32(insn->reg), d[2];
    if (type > 3 || !(vmx_cap_msr(cap, 0x48c) >> (40 + type) & 1)) {
        vm_fail(c, VMXERR_INVALIDATE_OPERAND);
        DONE;
    }
    TRY(read_descriptor(c, u, d));
    uint32_t vpid = (uint32_t)(d[0] & 0xffff);
    if (d[0] >> 16 || (type != 2 && vpid == 0) || (type == 0 && !vmx_canonical(cap->lin_bits, d[1]))) {
        vm_fail(c, VMXERR_INVALIDATE_OPERAND);
        DONE;
    }
    switch (type) {
    case 0: tlb_flush_page(c, vpid, d[1], -1); break;
    case 1: tlb_flush_tag(c, vpid, false); break;
    case 2: tlb_flush_all(c); break; /* VPID 0 as well: more than asked is allowed */
    default: tlb_flush_tag(c, vpid, true); break;
    }
    vm_succeed(c);
    DONE;
}

const struct uop *vmx_execute(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    switch (identify(insn)) {
    case OP_VMCALL: return op_vmcall(c, u, insn);
    case OP_VMLAUNCH: return op_vmentry(c, u, insn, true);
    case OP_VMRESUME: return op_vmentry(c, u, insn, false);
    case OP_VMXOFF: return op_vmxoff(c, u, insn);
    case OP_VMFUNC: return op_vmfunc(c, u, insn);
    case OP_VMPTRLD: return op_vmptrld(c, u, insn);
    case OP_VMCLEAR: return op_vmclear(c, u, insn);
    case OP_VMXON: return op_vmxon(c, u, insn);
    case OP_VMPTRST: return op_vmptrst(c, u, insn);
    case OP_VMREAD: return op_vmread(c, u, insn);
    case OP_VMWRITE: return op_vmwrite(c, u, insn);
    case OP_INVEPT: return op_invept(c, u, insn);
    case OP_INVVPID: return op_invvpid(c, u, insn);
    case OP_NONE: break;
    }
    RAISE(VEC_UD);
}
