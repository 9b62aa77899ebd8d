/* SPDX-License-Identifier: MIT */
/* The SVM instructions: each one's ladder of #UD, privilege, intercept and #GP in the manual's order, then
 * its effect. APM 3 ch. 4 (CLGI, INVLPGA, SKINIT, STGI, VMLOAD, VMMCALL, VMRUN, VMSAVE); APM 2 15.5, 15.17,
 * 15.33 "Nested Virtualization" (virtualized VMLOAD and VMSAVE, virtual GIF). */
#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/uop.h"
#include "svm/svm.h"

/* ModRM bytes behind 0F 01. */
enum svm_opcode {
    OP_VMRUN = 0xd8,
    OP_VMMCALL = 0xd9,
    OP_VMLOAD = 0xda,
    OP_VMSAVE = 0xdb,
    OP_STGI = 0xdc,
    OP_CLGI = 0xdd,
    OP_SKINIT = 0xde,
    OP_INVLPGA = 0xdf
};

/* execute() has one argument more than a handler, so it cannot chain by a jump: the run loop goes on. */
#define DONE return u + 1
#define UNDEFINED_UNLESS(ok)      \
    do {                          \
        if (!(ok)) RAISE(VEC_UD); \
    } while (0)
#define REQUIRE_CPL0                             \
    do {                                         \
        if (c->s.cpl != 0) RAISE_ERR(VEC_GP, 0); \
    } while (0)
#define EXIT_IF_INTERCEPTED(code, info1)         \
    do {                                         \
        if (guest_intercepts(c, code)) {         \
            svm_exit_insn(c, code, info1, insn); \
            EXITED;                              \
        }                                        \
    } while (0)

static bool enabled(const struct cpu *c) { return (c->s.efer & EFER_SVME) && in_protected(c); }

static bool guest_intercepts(const struct cpu *c, unsigned code)
{
    const struct svm_state *x = svm_of(c);
    return x->guest && svm_intercepts(x->f, code);
}

/* rAX in the address size of the instruction. */
static uint64_t operand_address(const struct cpu *c, const struct insn *insn)
{
    uint64_t v = c->s.gpr[RAX];
    return insn->asize == 8 ? v : insn->asize == 4 ? (uint32_t)v : (uint16_t)v;
}

static bool vmcb_address_ok(const struct cpu *c, uint64_t address)
{
    return (address & (VMCB_SIZE - 1)) == 0 && svm_width_ok(&svm_of(c)->cap, address);
}

static const struct uop *op_vmrun(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    UNDEFINED_UNLESS(enabled(c));
    REQUIRE_CPL0;
    EXIT_IF_INTERCEPTED(SVM_EXIT_VMRUN, 0);
    uint64_t address = operand_address(c, insn);
    if (!vmcb_address_ok(c, address)) RAISE_ERR(VEC_GP, 0);
    svm_enter(c, address, svm_next_rip(c, insn->length));
    EXITED;
}

/* Without its intercept there is nobody to call. */
static const struct uop *op_vmmcall(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    UNDEFINED_UNLESS(c->s.efer & EFER_SVME);
    EXIT_IF_INTERCEPTED(SVM_EXIT_VMMCALL, 0);
    RAISE(VEC_UD);
}

/* A guest whose VMLOAD and VMSAVE are virtualized gives a guest-physical address. */
static bool virtualized(const struct cpu *c)
{
    const struct svm_state *x = svm_of(c);
    return x->guest && x->nested && svm_cap_has(&x->cap, FEAT_VMLOADSAVE) &&
           (x->f[VMCB_VIRT_EXT] & VIRT_EXT_VMSAVE);
}

static const struct uop *op_vmload_vmsave(struct cpu *c, const struct uop *u, const struct insn *insn,
                                          bool load)
{
    unsigned code = load ? SVM_EXIT_VMLOAD : SVM_EXIT_VMSAVE;
    UNDEFINED_UNLESS(enabled(c));
    REQUIRE_CPL0;
    EXIT_IF_INTERCEPTED(code, 0);
    if (virtualized(c) && !in_long_mode(c)) {
        svm_exit_insn(c, code, 0, insn);
        EXITED;
    }
    uint64_t address = operand_address(c, insn);
    if (!vmcb_address_ok(c, address)) RAISE_ERR(VEC_GP, 0);
    if (virtualized(c)) TRY(gpa_translate(c, address, load ? GPA_READ : GPA_READ | GPA_WRITE, &address));
    if (load)
        vmcb_load_extra(c, address);
    else
        vmcb_save_extra(c, address);
    DONE;
}

static const struct uop *op_gif(struct cpu *c, const struct uop *u, const struct insn *insn, bool set)
{
    struct svm_state *x = svm_of(c);
    UNDEFINED_UNLESS(enabled(c));
    REQUIRE_CPL0;
    EXIT_IF_INTERCEPTED(set ? SVM_EXIT_STGI : SVM_EXIT_CLGI, 0);
    if (x->guest && svm_vgif(x))
        x->f[VMCB_VINTR] = set ? x->f[VMCB_VINTR] | VINTR_GIF : x->f[VMCB_VINTR] & ~(uint64_t)VINTR_GIF;
    else
        c->s.intr.gif = set;
    cpu_update_attention(c);
    DONE;
}

static const struct uop *op_invlpga(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    UNDEFINED_UNLESS(enabled(c));
    REQUIRE_CPL0;
    uint64_t linear = operand_address(c, insn);
    EXIT_IF_INTERCEPTED(SVM_EXIT_INVLPGA, svm_cap_has(&svm_of(c)->cap, FEAT_DECODEASSISTS) ? linear : 0);
    if (mem_canonical(c, linear)) tlb_flush_page(c, R32(RCX), linear, -1);
    DONE;
}

const struct uop *svm_execute(struct cpu *c, const struct uop *u, const struct insn *insn)
{
    cpu_flush_flags(c);
    switch (insn->modrm) {
    case OP_VMRUN: return op_vmrun(c, u, insn);
    case OP_VMMCALL: return op_vmmcall(c, u, insn);
    case OP_VMLOAD: return op_vmload_vmsave(c, u, insn, true);
    case OP_VMSAVE: return op_vmload_vmsave(c, u, insn, false);
    case OP_STGI: return op_gif(c, u, insn, true);
    case OP_CLGI: return op_gif(c, u, insn, false);
    case OP_INVLPGA: return op_invlpga(c, u, insn);
    case OP_SKINIT: /* not among the features of any model */
    default: RAISE(VEC_UD);
    }
}
