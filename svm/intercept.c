/* SPDX-License-Identifier: MIT */
/* Instructions that cause #VMEXIT: one table from neutral intercept id to intercept bits, exit code and the
 * builder that decides finally and fills EXITINFO1 and EXITINFO2. Below 400h an exit code is the number of
 * its intercept bit. APM 2 15.7-15.13 "Intercept Operation" to "Miscellaneous Intercepts", appendix C. */
#include <string.h>

#include "cpu/event.h"
#include "cpu/mem.h"
#include "svm/svm.h"

/* What is left to decide after the bit, and what the exit reports. False: no exit. */
typedef bool build_fn(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e);

static bool decode_assists(const struct cpu *c) { return svm_cap_has(&svm_of(c)->cap, FEAT_DECODEASSISTS); }
static bool set_in(const struct cpu *c, unsigned code) { return svm_intercepts(svm_of(c)->f, code); }

static bool build_plain(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)c, (void)id, (void)info, (void)e;
    return true;
}

/* ---- control and debug registers, APM 2 15.8 ---- */

#define INFO_MOV_CR (UINT64_C(1) << 63)

static bool build_cr_read(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)id;
    e->code = SVM_EXIT_READ_CR0 + info->number;
    if (decode_assists(c)) e->info1 = INFO_MOV_CR | info->gpr;
    return set_in(c, (unsigned)e->code);
}

static bool build_smsw(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)id, (void)info, (void)e;
    return set_in(c, SVM_EXIT_READ_CR0);
}

static bool build_cr_write(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)id;
    e->code = SVM_EXIT_WRITE_CR0 + info->number;
    if (decode_assists(c)) e->info1 = INFO_MOV_CR | info->gpr;
    if (set_in(c, (unsigned)e->code)) return true;
    /* The selective intercept looks at everything but TS and MP. */
    e->code = SVM_EXIT_CR0_SEL_WRITE;
    return info->number == 0 && set_in(c, SVM_EXIT_CR0_SEL_WRITE) &&
           ((info->value ^ c->s.cr0) & ~(uint64_t)(CR0_TS | CR0_MP)) != 0;
}

/* CLTS changes nothing that the selective intercept looks at; LMSW always trips it. */
static bool build_clts(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)id, (void)info, (void)e;
    return set_in(c, SVM_EXIT_WRITE_CR0);
}

static bool build_lmsw(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)id, (void)info;
    if (set_in(c, SVM_EXIT_WRITE_CR0)) return true;
    e->code = SVM_EXIT_CR0_SEL_WRITE;
    return set_in(c, SVM_EXIT_CR0_SEL_WRITE);
}

static bool build_dr(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    e->code = (id == ICPT_DR_READ ? SVM_EXIT_READ_DR0 : SVM_EXIT_WRITE_DR0) + info->number;
    if (decode_assists(c)) e->info1 = info->gpr;
    return set_in(c, (unsigned)e->code);
}

/* ---- permission maps ---- */

enum io_info {
    IO_IN = 1,
    IO_STRING = 4,
    IO_REP = 8,
    IO_SIZE_SHIFT = 4,
    IO_ASIZE_SHIFT = 7,
    IO_SEG_SHIFT = 10
};

/* One bit a port; an access that runs over FFFFh goes on in the third page. APM 2 15.10 */
static bool build_io(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    const struct svm_state *x = svm_of(c);
    uint64_t map = x->f[VMCB_IOPM_BASE] & ~UINT64_C(0xfff);
    uint32_t port = info->number & 0xffff;
    bool hit = false;
    (void)id;
    for (uint32_t p = port; p < port + info->size; p++)
        hit |= (phys_read(c, map + (p >> 3), 1) >> (p & 7) & 1) != 0;
    if (!hit) return false;
    e->info1 = (uint64_t)port << 16 | (uint32_t)info->size << IO_SIZE_SHIFT;
    if (info->flags & ICPT_F_IN) e->info1 |= IO_IN;
    if (info->flags & ICPT_F_STRING) e->info1 |= IO_STRING;
    if (info->flags & ICPT_F_REP) e->info1 |= IO_REP;
    if (info->insn) {
        const struct insn *i = info->insn;
        e->info1 |= (uint64_t)(i->asize >> 1) << IO_ASIZE_SHIFT;
        if ((info->flags & ICPT_F_STRING) && !(info->flags & ICPT_F_IN) && decode_assists(c))
            e->info1 |= (uint64_t)i->seg << IO_SEG_SHIFT;
        e->info2 = svm_next_rip(c, i->length);
    }
    return true;
}

/* Two bits a register in three ranges; registers outside them always exit. APM 2 15.11 */
static bool build_msr(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    const struct svm_state *x = svm_of(c);
    static const struct {
        uint32_t first, offset;
    } ranges[] = {{0, 0}, {0xc0000000, 0x800}, {0xc0010000, 0x1000}};
    bool write = id == ICPT_WRMSR;
    e->info1 = write;
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        uint32_t n = info->number - ranges[i].first;
        if (n > 0x1fff) continue;
        uint64_t map = x->f[VMCB_MSRPM_BASE] & ~UINT64_C(0xfff);
        return (phys_read(c, map + ranges[i].offset + n / 4, 1) >> (n % 4 * 2 + write) & 1) != 0;
    }
    return true;
}

/* ---- others ---- */

/* The counter runs down by one a PAUSE and starts anew after a pause between them. APM 2 15.14.4 */
static bool build_pause(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    struct svm_state *x = svm_of(c);
    (void)id, (void)info, (void)e;
    if (!svm_cap_has(&x->cap, FEAT_PAUSEFILTER)) return true;
    uint64_t now = cpu_now(c), gap = now - x->pause_last, threshold = x->f[VMCB_PAUSE_THRESHOLD];
    x->pause_last = now;
    if (svm_cap_has(&x->cap, FEAT_PFTHRESHOLD) && threshold && gap > threshold) {
        x->pause_left = (uint32_t)x->f[VMCB_PAUSE_COUNT];
        return false;
    }
    if (x->pause_left == 0) return true;
    x->pause_left--;
    return false;
}

static bool build_swint(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)id;
    if (info->insn && decode_assists(c)) e->info1 = info->insn->imm & 0xff;
    return true;
}

static bool build_invlpg(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)id;
    if (decode_assists(c)) e->info1 = info->address;
    return true;
}

static bool build_invpcid(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)c, (void)id;
    e->info1 = info->address;
    e->info2 = info->value;
    return true;
}

static bool build_mwait(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    (void)id, (void)info;
    if (c->s.monitor.armed && set_in(c, SVM_EXIT_MWAIT_ARMED)) {
        e->code = SVM_EXIT_MWAIT_ARMED;
        return true;
    }
    return set_in(c, SVM_EXIT_MWAIT);
}

static bool build_hlt(struct cpu *c, enum icpt id, const struct icpt_info *info, struct svm_exit *e)
{
    const struct svm_state *x = svm_of(c);
    (void)id, (void)info;
    if (set_in(c, SVM_EXIT_HLT)) return true;
    e->code = SVM_EXIT_IDLE_HLT;
    bool pending = (x->f[VMCB_VINTR] & VINTR_IRQ) || (svm_vnmi(x) && (x->f[VMCB_VINTR] & VINTR_NMI));
    return svm_cap_has(&x->cap, FEAT_IDLE_HLT) && set_in(c, SVM_EXIT_IDLE_HLT) && !pending;
}

/* ---- the table ---- */

#define BIT_OF(code) (UINT32_C(1) << (SVM_EXIT_##code % 32))

static const struct {
    uint8_t word[2]; /* intercept words whose bits arm the id */
    uint32_t bits[2];
    uint16_t code;
    build_fn *build;
} table[ICPT_COUNT] = {
#define PLAIN(code)                                                                \
    {                                                                              \
        {SVM_EXIT_##code / 32, 0}, {BIT_OF(code), 0}, SVM_EXIT_##code, build_plain \
    }
#define BUILT(code, builder)                                                   \
    {                                                                          \
        {SVM_EXIT_##code / 32, 0}, {BIT_OF(code), 0}, SVM_EXIT_##code, builder \
    }
    [ICPT_CR_READ] = {{0, 0}, {0xffff, 0}, 0, build_cr_read},
    [ICPT_CR_WRITE] = {{0, 3}, {0xffff0000, BIT_OF(CR0_SEL_WRITE)}, 0, build_cr_write},
    [ICPT_CLTS] = BUILT(WRITE_CR0, build_clts),
    [ICPT_LMSW] = {{0, 3}, {BIT_OF(WRITE_CR0), BIT_OF(CR0_SEL_WRITE)}, SVM_EXIT_WRITE_CR0, build_lmsw},
    [ICPT_SMSW] = BUILT(READ_CR0, build_smsw),
    [ICPT_DR_READ] = {{1, 0}, {0xffff, 0}, 0, build_dr},
    [ICPT_DR_WRITE] = {{1, 0}, {0xffff0000, 0}, 0, build_dr},
    [ICPT_IO] = BUILT(IOIO, build_io),
    [ICPT_RDMSR] = BUILT(MSR, build_msr),
    [ICPT_WRMSR] = BUILT(MSR, build_msr),
    [ICPT_CPUID] = PLAIN(CPUID),
    [ICPT_HLT] = {{3, 5}, {BIT_OF(HLT), BIT_OF(IDLE_HLT)}, SVM_EXIT_HLT, build_hlt},
    [ICPT_PAUSE] = BUILT(PAUSE, build_pause),
    [ICPT_INVD] = PLAIN(INVD),
    [ICPT_WBINVD] = PLAIN(WBINVD),
    [ICPT_INVLPG] = BUILT(INVLPG, build_invlpg),
    [ICPT_INVPCID] = BUILT(INVPCID, build_invpcid),
    [ICPT_RDPMC] = PLAIN(RDPMC),
    [ICPT_RDTSC] = PLAIN(RDTSC),
    [ICPT_RDTSCP] = PLAIN(RDTSCP),
    [ICPT_MONITOR] = PLAIN(MONITOR),
    [ICPT_MWAIT] = {{4, 0}, {BIT_OF(MWAIT) | BIT_OF(MWAIT_ARMED), 0}, SVM_EXIT_MWAIT, build_mwait},
    [ICPT_RSM] = PLAIN(RSM),
    [ICPT_XSETBV] = PLAIN(XSETBV),
    [ICPT_SGDT] = PLAIN(GDTR_READ),
    [ICPT_SIDT] = PLAIN(IDTR_READ),
    [ICPT_LGDT] = PLAIN(GDTR_WRITE),
    [ICPT_LIDT] = PLAIN(IDTR_WRITE),
    [ICPT_SLDT] = PLAIN(LDTR_READ),
    [ICPT_STR] = PLAIN(TR_READ),
    [ICPT_LLDT] = PLAIN(LDTR_WRITE),
    [ICPT_LTR] = PLAIN(TR_WRITE),
    [ICPT_PUSHF] = PLAIN(PUSHF),
    [ICPT_POPF] = PLAIN(POPF),
    [ICPT_IRET] = PLAIN(IRET),
    [ICPT_INTN] = BUILT(SWINT, build_swint),
    [ICPT_ICEBP] = PLAIN(ICEBP),
};

static void compute_armed(struct svm_state *x)
{
    memset(x->armed, 0, sizeof x->armed);
    for (unsigned id = 0; id < ICPT_COUNT; id++)
        for (unsigned k = 0; k < 2; k++)
            if (table[id].build && (x->f[VMCB_INTERCEPT_CR + table[id].word[k]] & table[id].bits[k]))
                x->armed[id / 64] |= UINT64_C(1) << (id % 64);
    for (unsigned w = 0; w < 6; w++)
        x->armed_words[w] = (uint32_t)x->f[VMCB_INTERCEPT_CR + w];
}

void svm_arm_intercepts(struct cpu *c)
{
    struct svm_state *x = svm_of(c);
    if (!x->guest) {
        memset(c->icpt_armed, 0, sizeof c->icpt_armed);
        return;
    }
    bool same = true;
    for (unsigned w = 0; w < 6; w++)
        same &= x->armed_words[w] == (uint32_t)x->f[VMCB_INTERCEPT_CR + w];
    if (!same) compute_armed(x);
    memcpy(c->icpt_armed, x->armed, sizeof c->icpt_armed);
}

enum virt_verdict svm_intercept(struct cpu *c, enum icpt id, const struct icpt_info *info)
{
    struct svm_exit e = {.code = table[id].code};
    if (!table[id].build || !table[id].build(c, id, info, &e)) return VIRT_CONTINUE;
    if (info->insn) e.next_rip = svm_next_rip(c, info->insn->length);
    return svm_exit(c, &e);
}

void svm_exit_insn(struct cpu *c, uint64_t code, uint64_t info1, const struct insn *insn)
{
    const struct svm_exit e = {.code = code, .info1 = info1, .next_rip = svm_next_rip(c, insn->length)};
    svm_exit(c, &e);
}
