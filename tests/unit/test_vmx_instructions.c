/* SPDX-License-Identifier: MIT */
/* Outcomes of the VMX instructions, row by row: a state in which the instruction succeeds (or, where it never
 * does, its plainest failure) and beside it one changed thing that gives another outcome. An outcome of the
 * manual's ladders without a row fails. SDM 3C ch. 31. */
#include "vmx_host.h"

enum { CODE = 0x1100, OPERAND = 0x1f00, OTHER_REGION = 0x30000, TSS = 0x14000, IVT = 0x15000 };

enum insn_id {
    VMXON,
    VMXOFF,
    VMCLEAR,
    VMPTRLD,
    VMPTRST,
    VMREAD,
    VMWRITE,
    VMLAUNCH,
    VMRESUME,
    VMCALL,
    VMFUNC,
    INVEPT,
    INVVPID,
    INSNS
};

enum outcome_kind { SUCCEED, INVALID, VALID = 0x100, FAULT = 0x200, EXITS = 0x300, ENTERED = 0x10000 };

enum change {
    NOTHING,
    OUTSIDE,
    REAL,
    COMPAT,
    USER,
    NO_VMXE,
    BAD_CR0,
    UNLOCKED,
    DISABLED,
    NONCANONICAL,
    STACK_SEGMENT,
    ABSENT,
    MISALIGNED,
    WIDE_ADDRESS,
    IS_VMXON,
    REVISION,
    SHADOW_BIT,
    IN_ROOT,
    NO_CURRENT,
    IN_ROOT_NO_CURRENT,
    SHADOW_CURRENT,
    BLOCKED,
    LAUNCHED,
    CLEAR,
    BAD_CONTROL,
    BAD_HOST,
    BAD_GUEST,
    BAD_LIST,
    UNKNOWN,
    READ_ONLY,
    TYPE_ZERO,
    TYPE_BIG,
    BAD_EPTP,
    NO_VPID,
    RESERVED,
    NOT_CANONICAL_VPID,
    REGISTER,
    GUEST_MODE,
    GUEST_USER,
    SHADOWED,
    SHADOWED_BIT,
    SHADOWED_HIGH,
    SHADOWED_NO_LINK,
    SHADOWED_UNKNOWN,
    SHADOWED_USER,
    LEAF_BIG,
    LEAF_OFF,
    INDEX_BIG,
    LIST_BAD,
    NO_CONTROL,
    UNKNOWN_ABSENT,
    TYPE_BAD_ABSENT
};

static const struct {
    const char *name, *code;
} insns[INSNS] = {
    [VMXON] = {"VMXON", "f3 0f c7 33"},        [VMXOFF] = {"VMXOFF", "0f 01 c4"},
    [VMCLEAR] = {"VMCLEAR", "66 0f c7 33"},    [VMPTRLD] = {"VMPTRLD", "0f c7 33"},
    [VMPTRST] = {"VMPTRST", "0f c7 3b"},       [VMREAD] = {"VMREAD", "0f 78 03"},
    [VMWRITE] = {"VMWRITE", "0f 79 03"},       [VMLAUNCH] = {"VMLAUNCH", "0f 01 c2"},
    [VMRESUME] = {"VMRESUME", "0f 01 c3"},     [VMCALL] = {"VMCALL", "0f 01 c1"},
    [VMFUNC] = {"VMFUNC", "0f 01 d4"},         [INVEPT] = {"INVEPT", "66 0f 38 80 03"},
    [INVVPID] = {"INVVPID", "66 0f 38 81 03"},
};

struct row {
    enum insn_id insn;
    enum change change;
    uint32_t outcome;
};

/* What nearly all have in common: #UD outside VMX operation, in real-address and compatibility mode; the exit
 * in non-root operation at any CPL; #GP at CPL 3. */
#define COMMON(insn)        \
    {                       \
        insn, REAL, FAULT   \
        +VEC_UD             \
    }                       \
    ,                       \
    {                       \
        insn, COMPAT, FAULT \
        +VEC_UD             \
    }                       \
    ,                       \
    {                       \
        insn, USER, FAULT   \
        +VEC_GP             \
    }                       \
    , {insn, GUEST_MODE, EXITS + REASON_##insn}, { insn, GUEST_USER, EXITS + REASON_##insn }
#define COMMON_IN_VMX(insn)  \
    {                        \
        insn, OUTSIDE, FAULT \
        +VEC_UD              \
    }                        \
    , COMMON(insn)
#define MEMORY(insn)               \
    {                              \
        insn, NONCANONICAL, FAULT  \
        +VEC_GP                    \
    }                              \
    ,                              \
    {                              \
        insn, STACK_SEGMENT, FAULT \
        +VEC_SS                    \
    }                              \
    ,                              \
    {                              \
        insn, ABSENT, FAULT        \
        +VEC_PF                    \
    }

static const struct row rows[] = {
    COMMON(VMXON),
    MEMORY(VMXON),
    {VMXON, NO_VMXE, FAULT + VEC_UD},
    {VMXON, BAD_CR0, FAULT + VEC_GP},
    {VMXON, UNLOCKED, FAULT + VEC_GP},
    {VMXON, DISABLED, FAULT + VEC_GP},
    {VMXON, MISALIGNED, INVALID},
    {VMXON, WIDE_ADDRESS, INVALID},
    {VMXON, REVISION, INVALID},
    {VMXON, SHADOW_BIT, INVALID},
    {VMXON, IN_ROOT, VALID + 15},
    {VMXON, IN_ROOT_NO_CURRENT, INVALID},
    COMMON_IN_VMX(VMXOFF),
    COMMON_IN_VMX(VMCLEAR),
    MEMORY(VMCLEAR),
    {VMCLEAR, MISALIGNED, VALID + 2},
    {VMCLEAR, WIDE_ADDRESS, VALID + 2},
    {VMCLEAR, IS_VMXON, VALID + 3},
    {VMCLEAR, IN_ROOT_NO_CURRENT, INVALID}, /* misaligned, with nowhere to put the number */
    {VMCLEAR, REVISION, SUCCEED},           /* not looked at */
    COMMON_IN_VMX(VMPTRLD),
    MEMORY(VMPTRLD),
    {VMPTRLD, MISALIGNED, VALID + 9},
    {VMPTRLD, WIDE_ADDRESS, VALID + 9},
    {VMPTRLD, IS_VMXON, VALID + 10},
    {VMPTRLD, REVISION, VALID + 11},
    {VMPTRLD, SHADOW_BIT, SUCCEED},
    {VMPTRLD, IN_ROOT_NO_CURRENT, INVALID},
    COMMON_IN_VMX(VMPTRST),
    MEMORY(VMPTRST),
    {VMPTRST, NO_CURRENT, SUCCEED},
    COMMON_IN_VMX(VMREAD),
    MEMORY(VMREAD),
    {VMREAD, NO_CURRENT, INVALID},
    {VMREAD, UNKNOWN, VALID + 12},
    {VMREAD, UNKNOWN_ABSENT, VALID + 12}, /* before the memory operand */
    {VMREAD, SHADOWED, SUCCEED},
    {VMREAD, SHADOWED_BIT, EXITS + REASON_VMREAD},
    {VMREAD, SHADOWED_HIGH, EXITS + REASON_VMREAD},
    {VMREAD, SHADOWED_NO_LINK, INVALID},
    {VMREAD, SHADOWED_UNKNOWN, VALID + 12},
    {VMREAD, SHADOWED_USER, FAULT + VEC_GP},
    COMMON_IN_VMX(VMWRITE),
    MEMORY(VMWRITE),
    {VMWRITE, NO_CURRENT, INVALID},
    {VMWRITE, UNKNOWN, VALID + 12},
    {VMWRITE, UNKNOWN_ABSENT, FAULT + VEC_PF}, /* after the memory operand */
    {VMWRITE, READ_ONLY, VALID + 13},
    {VMWRITE, SHADOWED, SUCCEED},
    {VMWRITE, SHADOWED_BIT, EXITS + REASON_VMWRITE},
    {VMWRITE, SHADOWED_HIGH, EXITS + REASON_VMWRITE},
    {VMWRITE, SHADOWED_NO_LINK, INVALID},
    {VMWRITE, SHADOWED_UNKNOWN, VALID + 12},
    {VMWRITE, SHADOWED_USER, FAULT + VEC_GP},
    COMMON_IN_VMX(VMLAUNCH),
    {VMLAUNCH, NO_CURRENT, INVALID},
    {VMLAUNCH, SHADOW_CURRENT, INVALID},
    {VMLAUNCH, BLOCKED, VALID + 26},
    {VMLAUNCH, LAUNCHED, VALID + 4},
    {VMLAUNCH, BAD_CONTROL, VALID + 7},
    {VMLAUNCH, BAD_HOST, VALID + 8},
    {VMLAUNCH, BAD_GUEST, EXITS + REASON_ENTRY_FAIL_GUEST},
    {VMLAUNCH, BAD_LIST, EXITS + REASON_ENTRY_FAIL_MSR},
    COMMON_IN_VMX(VMRESUME),
    {VMRESUME, NO_CURRENT, INVALID},
    {VMRESUME, SHADOW_CURRENT, INVALID},
    {VMRESUME, BLOCKED, VALID + 26},
    {VMRESUME, CLEAR, VALID + 5},
    {VMRESUME, BAD_CONTROL, VALID + 7},
    {VMRESUME, BAD_HOST, VALID + 8},
    {VMRESUME, BAD_GUEST, EXITS + REASON_ENTRY_FAIL_GUEST},
    {VMRESUME, BAD_LIST, EXITS + REASON_ENTRY_FAIL_MSR},
    COMMON_IN_VMX(VMCALL), /* in root: VMfail, there being no dual-monitor treatment */
    {VMCALL, NO_CURRENT, INVALID},
    {VMFUNC, OUTSIDE, FAULT + VEC_UD}, /* in root, too */
    {VMFUNC, GUEST_MODE, SUCCEED},
    {VMFUNC, GUEST_USER, SUCCEED},
    {VMFUNC, NO_CONTROL, FAULT + VEC_UD},
    {VMFUNC, LEAF_BIG, FAULT + VEC_UD},
    {VMFUNC, LEAF_OFF, EXITS + REASON_VMFUNC},
    {VMFUNC, INDEX_BIG, EXITS + REASON_VMFUNC},
    {VMFUNC, LIST_BAD, EXITS + REASON_VMFUNC},
    COMMON_IN_VMX(INVEPT),
    MEMORY(INVEPT),
    {INVEPT, REGISTER, FAULT + VEC_UD},
    {INVEPT, TYPE_ZERO, VALID + 28},
    {INVEPT, TYPE_BIG, VALID + 28},
    {INVEPT, TYPE_BAD_ABSENT, VALID + 28}, /* before the descriptor */
    {INVEPT, BAD_EPTP, VALID + 28},
    {INVEPT, IN_ROOT_NO_CURRENT, INVALID},
    COMMON_IN_VMX(INVVPID),
    MEMORY(INVVPID),
    {INVVPID, REGISTER, FAULT + VEC_UD},
    {INVVPID, TYPE_BIG, VALID + 28},
    {INVVPID, TYPE_BAD_ABSENT, VALID + 28},
    {INVVPID, NO_VPID, VALID + 28},
    {INVVPID, RESERVED, VALID + 28},
    {INVVPID, NOT_CANONICAL_VPID, VALID + 28},
    {INVVPID, IN_ROOT_NO_CURRENT, INVALID},
};

/* Every outcome that the manual gives an instruction; those with a reason cannot happen here. */
static const struct {
    enum insn_id insn;
    uint32_t outcome;
    const char *absent;
} ladder[] = {
#define L(insn, outcome)    \
    {                       \
        insn, outcome, NULL \
    }
#define LADDER(insn) L(insn, FAULT + VEC_UD), L(insn, FAULT + VEC_GP), L(insn, EXITS + REASON_##insn)
#define LADDER_MEMORY(insn) LADDER(insn), L(insn, FAULT + VEC_SS), L(insn, FAULT + VEC_PF)
    LADDER_MEMORY(VMXON),
    L(VMXON, SUCCEED),
    L(VMXON, INVALID),
    L(VMXON, VALID + 15),
    LADDER(VMXOFF),
    L(VMXOFF, SUCCEED),
    {VMXOFF, VALID + 23, "no dual-monitor treatment"},
    LADDER_MEMORY(VMCLEAR),
    L(VMCLEAR, SUCCEED),
    L(VMCLEAR, INVALID),
    L(VMCLEAR, VALID + 2),
    L(VMCLEAR, VALID + 3),
    LADDER_MEMORY(VMPTRLD),
    L(VMPTRLD, SUCCEED),
    L(VMPTRLD, INVALID),
    L(VMPTRLD, VALID + 9),
    L(VMPTRLD, VALID + 10),
    L(VMPTRLD, VALID + 11),
    LADDER_MEMORY(VMPTRST),
    L(VMPTRST, SUCCEED),
    LADDER_MEMORY(VMREAD),
    L(VMREAD, SUCCEED),
    L(VMREAD, INVALID),
    L(VMREAD, VALID + 12),
    LADDER_MEMORY(VMWRITE),
    L(VMWRITE, SUCCEED),
    L(VMWRITE, INVALID),
    L(VMWRITE, VALID + 12),
    L(VMWRITE, VALID + 13),
    LADDER(VMLAUNCH),
    L(VMLAUNCH, ENTERED),
    L(VMLAUNCH, INVALID),
    L(VMLAUNCH, VALID + 4),
    L(VMLAUNCH, VALID + 7),
    L(VMLAUNCH, VALID + 8),
    L(VMLAUNCH, VALID + 26),
    L(VMLAUNCH, EXITS + REASON_ENTRY_FAIL_GUEST),
    L(VMLAUNCH, EXITS + REASON_ENTRY_FAIL_MSR),
    {VMLAUNCH, VALID + 16, "no dual-monitor treatment"},
    {VMLAUNCH, VALID + 17, "no dual-monitor treatment"},
    {VMLAUNCH, VALID + 18, "no dual-monitor treatment"},
    {VMLAUNCH, VALID + 25, "no dual-monitor treatment"},
    {VMLAUNCH, EXITS + REASON_ENTRY_FAIL_MC, "no machine checks"},
    LADDER(VMRESUME),
    L(VMRESUME, ENTERED),
    L(VMRESUME, INVALID),
    L(VMRESUME, VALID + 5),
    L(VMRESUME, VALID + 7),
    L(VMRESUME, VALID + 8),
    L(VMRESUME, VALID + 26),
    L(VMRESUME, EXITS + REASON_ENTRY_FAIL_GUEST),
    L(VMRESUME, EXITS + REASON_ENTRY_FAIL_MSR),
    {VMRESUME, VALID + 6, "5 is reported"},
    LADDER(VMCALL),
    L(VMCALL, VALID + 1),
    L(VMCALL, INVALID),
    {VMCALL, VALID + 19, "no dual-monitor treatment"},
    {VMCALL, VALID + 20, "no dual-monitor treatment"},
    {VMCALL, VALID + 22, "no dual-monitor treatment"},
    {VMCALL, VALID + 24, "no dual-monitor treatment"},
    L(VMFUNC, FAULT + VEC_UD),
    L(VMFUNC, SUCCEED),
    L(VMFUNC, EXITS + REASON_VMFUNC),
    LADDER_MEMORY(INVEPT),
    L(INVEPT, SUCCEED),
    L(INVEPT, INVALID),
    L(INVEPT, VALID + 28),
    LADDER_MEMORY(INVVPID),
    L(INVVPID, SUCCEED),
    L(INVVPID, INVALID),
    L(INVVPID, VALID + 28),
};

/* The state in which the instruction does its work. */
static void base(enum insn_id insn)
{
    for (unsigned v = 0; v < 32; v++) {
        gate(v, HANDLER + 16 * v);
        board_put(b, HANDLER + 16 * v, "f4");
        board_poke(b, IVT + 4 * v, 4, HANDLER + 16 * v);
    }
    c->s.idtr = (struct dt_reg){.base = IDT, .limit = 0xfff};
    c->s.gdtr = (struct dt_reg){.base = GDT, .limit = 0xff};
    board_poke(b, TSS + 4, 8, STACK);
    c->s.seg[SEG_TR].base = TSS;
    board_poke(b, OTHER_REGION, 4, vmx_revision(&x->cap));
    board_poke(b, OPERAND, 8, insn == VMXON ? VMXON_REGION : OTHER_REGION);
    board_poke(b, OPERAND + 8, 8, 0);
    c->s.gpr[RBX] = c->s.gpr[RBP] = OPERAND;
    c->s.gpr[RAX] = c->s.gpr[RCX] = 0;
    board_put(b, GUEST_AT, "f4");
    f[F_GUEST_RIP] = GUEST_AT;
    f[F_GUEST_TR_BASE] = TSS;
    f[F_HOST_TR_BASE] = TSS;
    switch (insn) {
    case VMXON: x->mode = VMX_OFF; break;
    case VMREAD:
    case VMWRITE: c->s.gpr[RAX] = ENC_TSC_OFFSET; break;
    case VMRESUME: x->vmcs.launched = 1; break;
    case INVEPT:
        c->s.gpr[RAX] = 1;
        board_poke(b, OPERAND, 8, EPT | 0x1e);
        break;
    case INVVPID: board_poke(b, OPERAND, 8, 1); break;
    default: break;
    }
}

static bool in_guest(enum insn_id insn, enum change change)
{
    return insn == VMFUNC ? change != NOTHING && change != OUTSIDE
                          : change == GUEST_MODE || change == GUEST_USER ||
                                (change >= SHADOWED && change <= SHADOWED_USER);
}

static void user(void)
{
    struct seg_reg cs = seg(0x2b, 0xa0fb, 0xffffffff), ss = seg(0x23, 0xc0f3, 0xffffffff);
    cpu_load_segment(c, SEG_CS, &cs);
    cpu_load_segment(c, SEG_SS, &ss);
    c->s.cpl = 3;
}

static void shadowing(enum insn_id insn, enum change change)
{
    set_control(F_SECONDARY_CONTROLS, SEC_VMCS_SHADOWING);
    f[F_VMREAD_BITMAP] = f[F_VMWRITE_BITMAP] = BITMAP;
    f[F_VMCS_LINK] = change == SHADOWED_NO_LINK ? VMCS_NONE : SHADOW_REGION;
    if (change == SHADOWED_BIT) board_poke(b, BITMAP + ENC_TSC_OFFSET / 8, 1, 1 << ENC_TSC_OFFSET % 8);
    if (change == SHADOWED_HIGH) c->s.gpr[RAX] |= 0x8000;
    if (change == SHADOWED_UNKNOWN) c->s.gpr[RAX] = 0x5000;
    (void)insn;
}

/* The one thing. Returns the code to run. */
static const char *apply(enum insn_id insn, enum change change)
{
    const char *code = insns[insn].code;
    struct seg_reg cs;
    switch (change) {
    case OUTSIDE: x->mode = VMX_OFF; break;
    case REAL:
        c->s.cr0 = CR0_NE | CR0_ET;
        c->s.efer = 0;
        cs = seg(0, 0x9b, 0xffff);
        cpu_load_segment(c, SEG_CS, &cs);
        c->s.idtr = (struct dt_reg){.base = IVT, .limit = 0x3ff};
        break;
    case COMPAT:
        cs = seg(8, 0xc09b, 0xffffffff);
        cpu_load_segment(c, SEG_CS, &cs);
        break;
    case USER: user(); break;
    case NO_VMXE: c->s.cr4 &= ~(uint64_t)CR4_VMXE; break;
    case BAD_CR0: c->s.cr0 &= ~(uint64_t)CR0_NE; break;
    case UNLOCKED: c->s.feature_control = 4; break;
    case DISABLED: c->s.feature_control = 1; break;
    case NONCANONICAL: c->s.gpr[RBX] = UINT64_C(0x8000000000000000); break;
    case STACK_SEGMENT: {
        static char by_rbp[40];
        size_t n = strlen(code);
        unsigned modrm = (unsigned)strtoul(code + n - 2, NULL, 16);
        c->s.gpr[RBP] = UINT64_C(0x8000000000000000);
        snprintf(by_rbp, sizeof by_rbp, "%.*s%02x 00", (int)n - 2, code, (modrm & 0x38) | 0x45);
        return by_rbp;
    }
    case ABSENT: c->s.gpr[RBX] = UINT64_C(1) << 40; break;
    case MISALIGNED: board_poke(b, OPERAND, 8, (insn == VMXON ? VMXON_REGION : OTHER_REGION) + 8); break;
    case WIDE_ADDRESS: board_poke(b, OPERAND, 8, UINT64_C(1) << 46); break;
    case IS_VMXON: board_poke(b, OPERAND, 8, VMXON_REGION); break;
    case REVISION:
        board_poke(b, VMXON_REGION, 4, 0x123);
        board_poke(b, OTHER_REGION, 4, 0x123);
        break;
    case SHADOW_BIT:
        board_poke(b, VMXON_REGION, 4, vmx_revision(&x->cap) | VMCS_SHADOW);
        board_poke(b, OTHER_REGION, 4, vmx_revision(&x->cap) | VMCS_SHADOW);
        break;
    case IN_ROOT: x->mode = VMX_ROOT; break;
    case IN_ROOT_NO_CURRENT:
        x->mode = VMX_ROOT;
        x->current = VMCS_NONE;
        if (insn == INVEPT || insn == INVVPID)
            c->s.gpr[RAX] = 9;
        else if (insn != VMXON)
            board_poke(b, OPERAND, 8, OTHER_REGION + 8);
        break;
    case NO_CURRENT: x->current = VMCS_NONE; break;
    case SHADOW_CURRENT: x->vmcs.revision |= VMCS_SHADOW; break;
    case BLOCKED: cpu_set_shadow(c, false, true); break;
    case LAUNCHED: x->vmcs.launched = 1; break;
    case CLEAR: x->vmcs.launched = 0; break;
    case BAD_CONTROL: f[F_CR3_TARGET_COUNT] = 5; break;
    case BAD_HOST: f[F_HOST_CS_SELECTOR] = 0; break;
    case BAD_GUEST: f[F_GUEST_RFLAGS] = 0; break;
    case BAD_LIST:
        f[F_ENTRY_MSR_LOAD_COUNT] = 1;
        f[F_ENTRY_MSR_LOAD_ADDR] = MSRS;
        board_poke(b, MSRS, 8, 0xc0000100);
        break;
    case UNKNOWN: c->s.gpr[RAX] = 0x5000; break;
    case UNKNOWN_ABSENT:
        c->s.gpr[RAX] = 0x5000;
        c->s.gpr[RBX] = UINT64_C(1) << 40;
        break;
    case READ_ONLY:
        c->s.gpr[RAX] = ENC_EXIT_REASON;
        x->cap.msr[5] &= ~(UINT64_C(1) << 29);
        break;
    case TYPE_ZERO: c->s.gpr[RAX] = 0; break;
    case TYPE_BIG: c->s.gpr[RAX] = UINT64_C(1) << 32 | 1; break;
    case TYPE_BAD_ABSENT:
        c->s.gpr[RAX] = 9;
        c->s.gpr[RBX] = UINT64_C(1) << 40;
        break;
    case BAD_EPTP: board_poke(b, OPERAND, 8, EPT | 0x1d); break;
    case NO_VPID: board_poke(b, OPERAND, 8, 0); break;
    case RESERVED: board_poke(b, OPERAND, 8, 0x10001); break;
    case NOT_CANONICAL_VPID: board_poke(b, OPERAND + 8, 8, UINT64_C(1) << 62); break;
    case REGISTER: return insn == INVEPT ? "66 0f 38 80 c3" : "66 0f 38 81 c3";
    default: break;
    }
    if (in_guest(insn, change)) {
        f[F_EXCEPTION_BITMAP] = 0xffffffff;
        x->mode = VMX_ROOT;
        x->vmcs.launched = 0;
        if (change == GUEST_USER || change == SHADOWED_USER) {
            f[F_GUEST_CS_SELECTOR] = 0x2b;
            f[F_GUEST_CS_AR] = 0xa0fb;
            f[F_GUEST_SS_SELECTOR] = 0x23;
            f[F_GUEST_SS_AR] = 0xc0f3;
        }
        set_control(F_PRIMARY_CONTROLS, PRI_SECONDARY);
        if (insn == VMFUNC) {
            use_ept(0);
            set_control(F_SECONDARY_CONTROLS, change == NO_CONTROL ? 0 : SEC_VMFUNC);
            f[F_VMFUNC_CONTROLS] = change == LEAF_OFF ? 0 : VMFUNC_EPTP_SWITCHING;
            f[F_EPTP_LIST_ADDR] = BITMAP;
            board_poke(b, BITMAP, 8, EPT | (change == LIST_BAD ? 0x1d : 0x1e));
            if (change == LEAF_BIG) c->s.gpr[RAX] = 64;
            if (change == INDEX_BIG) c->s.gpr[RCX] = 512;
        }
        if (change >= SHADOWED && change <= SHADOWED_USER) shadowing(insn, change);
    }
    return code;
}

static uint32_t flags_outcome(uint64_t rflags)
{
    switch (rflags & FL_OSZAPC) {
    case 0: return SUCCEED;
    case FL_CF: return INVALID;
    case FL_ZF: return VALID + (uint32_t)f[F_INSN_ERROR];
    default: return 0xffff;
    }
}

static uint32_t outcome_of(enum insn_id insn, enum change change)
{
    char bytes[64];
    base(insn);
    const char *code = apply(insn, change);
    vmx_apply_context(c);
    cpu_write_rflags(c, cpu_read_rflags(c) | FL_OF | FL_AF);
    if (in_guest(insn, change)) {
        /* CPL 3 cannot halt: a privileged instruction's #GP ends a guest that went on. */
        snprintf(bytes, sizeof bytes, "%s f4", code);
        f[F_GUEST_RFLAGS] = FL_FIXED | FL_OF;
        uint32_t reason = enter_code(bytes), length = (uint32_t)(strlen(code) + 1) / 3;
        bool on = f[F_GUEST_RIP] == GUEST_AT + length;
        if (insn == VMFUNC && on) return SUCCEED; /* no flags */
        if (on) return flags_outcome(f[F_GUEST_RFLAGS]);
        if (reason == REASON_EXCEPTION_NMI) return FAULT
        +(f[F_EXIT_INTR_INFO] & 0xff);
        return EXITS + reason;
    }
    snprintf(bytes, sizeof bytes, "%s f4", code);
    board_put(b, CODE, bytes);
    if (change == USER) board_put(b, CODE, code);
    c->s.activity = ACTIVITY_ACTIVE;
    *rip_of(c) = CODE;
    if (change == BLOCKED) cpu_set_shadow(c, false, true);
    for (int i = 0; i < 4 && (c->s.in_guest || c->s.activity != ACTIVITY_HLT); i++)
        board_run(b, 1000);
    uint64_t rip = *rip_of(c);
    if (rip >= HANDLER && rip < HANDLER + 0x200) return FAULT
    +(uint32_t)(rip - HANDLER) / 16;
    if (rip == HOST_AT + 1) {
        uint32_t reason = (uint32_t)f[F_EXIT_REASON];
        return reason & REASON_ENTRY_FAILURE ? EXITS + (reason & 0xffff) : ENTERED;
    }
    return flags_outcome(cpu_read_rflags(c));
}

static uint32_t plain_outcome(enum insn_id insn)
{
    switch (insn) {
    case VMLAUNCH:
    case VMRESUME: return ENTERED;
    case VMCALL: return VALID + 1;
    case VMFUNC: return FAULT +VEC_UD;
    default: return SUCCEED;
    }
}

static void check(enum insn_id insn, enum change change, uint32_t want)
{
    void *none = NULL;
    setup(&none);
    uint32_t got = outcome_of(insn, change);
    if (got != want) fail_msg("%s, change %d: outcome %x, not %x", insns[insn].name, change, got, want);
    teardown(&none);
}

static void each_outcome_and_its_neighbour(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(rows[i].insn, NOTHING, plain_outcome(rows[i].insn));
        check(rows[i].insn, rows[i].change, rows[i].outcome);
    }
}

static void no_outcome_is_forgotten(void **state)
{
    (void)state;
    unsigned proven = 0, missing = 0;
    for (unsigned i = 0; i < sizeof ladder / sizeof ladder[0]; i++) {
        bool found = plain_outcome(ladder[i].insn) == ladder[i].outcome;
        for (unsigned j = 0; j < sizeof rows / sizeof rows[0]; j++)
            found |= rows[j].insn == ladder[i].insn && rows[j].outcome == ladder[i].outcome;
        proven += found;
        if (found != (ladder[i].absent == NULL)) {
            print_message("%s, outcome %x: %s\n", insns[ladder[i].insn].name, ladder[i].outcome,
                          found ? "said to be absent" : "no row");
            missing++;
        }
    }
    print_message("%u outcomes proven by %u rows\n", proven, (unsigned)(sizeof rows / sizeof rows[0]));
    assert_int_equal(missing, 0);
}

int main(void)
{
    host_model = "max-intel";
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_outcome_and_its_neighbour),
                                       cmocka_unit_test(no_outcome_is_forgotten)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
