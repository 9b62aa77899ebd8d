/* SPDX-License-Identifier: MIT */
/* Accepted differences between processors, known.def. */
#include <string.h>

#include "tests/oracle/known.h"

static const struct {
    const char *mnemonic;
    enum known_rule rule;
    const char *reason;
} known[] = {
#define KNOWN(mn, rule, reason) {mn, KNOWN_##rule, reason},
#include "tests/oracle/known.def"
#undef KNOWN
};

unsigned known_rules(const struct ocase *t)
{
    unsigned rules = 0;
    if (!t->row) return KNOWN_SS_OR_GP;
    if (t->row->attr & A_ALIGN16) rules |= KNOWN_SS_OR_GP;
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t n = strlen(known[i].mnemonic);
        if (known[i].mnemonic[n - 1] == '*' ? strncmp(known[i].mnemonic, t->row->mnemonic, n - 1) == 0
                                            : strcmp(known[i].mnemonic, t->row->mnemonic) == 0)
            rules |= known[i].rule;
    }
    return rules;
}

static bool memory_fault(int vector) { return vector == 12 || vector == 13 || vector == 14; }

/* Distance in places of the last bit, across binades too; the integer bit is implied by the exponent. */
static bool st_near(struct st_reg a, struct st_reg b)
{
    const uint64_t low = UINT64_MAX >> 1;
    unsigned ea = a.se & 0x7fff, eb = b.se & 0x7fff;
    if ((a.se ^ b.se) & 0x8000 || ea > eb + 1 || eb > ea + 1) return false;
    uint64_t d = (a.frac & low) - (b.frac & low) + ((uint64_t)(ea - eb) << 63);
    return d <= 2 || 0 - d <= 2;
}

static bool lane_near(uint32_t a, uint32_t b)
{
    uint32_t d = a > b ? a - b : b - a;
    return d <= 0x2000;
}
static void xmm_approximate(uint64_t ours, uint64_t *theirs)
{
    uint64_t r = 0;
    for (unsigned sh = 0; sh < 64; sh += 32) {
        uint32_t a = (uint32_t)(ours >> sh), b = (uint32_t)(*theirs >> sh);
        r |= (uint64_t)(lane_near(a, b) ? a : b) << sh;
    }
    *theirs = r;
}

/* Makes what a rule covers equal on both sides. False: the case cannot be judged. */
bool known_reconcile(const struct ocase *t, const struct oresult *a, struct oresult *b)
{
    unsigned rules = known_rules(t);
    uint16_t sw_free = 0;
    if (!rules) return true;
    if (rules & KNOWN_ALIGN && a->vector == 13) return false;
    if (rules & KNOWN_SS_OR_GP && a->vector != b->vector && memory_fault(a->vector) &&
        memory_fault(b->vector))
        return false;
    if (rules & KNOWN_SHORT && memory_fault(a->vector) && b->vector < 0 && t->in.mxcsr >> 17 & 1)
        return false;
    if (rules & KNOWN_CR2 && a->vector == 14) b->cr2 = a->cr2, b->error = a->error;
    if (rules & KNOWN_PARTIAL && a->vector >= 0 && a->vector == b->vector)
        memcpy(b->memory, a->memory, DATA_SIZE);
    if (rules & KNOWN_APPROX)
        for (unsigned i = 0; i < 16; i++)
            for (unsigned k = 0; k < 2; k++)
                xmm_approximate(a->out.xmm[i][k], &b->out.xmm[i][k]);
    if (rules & KNOWN_MMX_FAULT && t->row->attr & A_MMX && a->vector >= 0 && a->vector == b->vector) {
        b->out.sw = a->out.sw;
        b->out.tag = a->out.tag;
        memcpy(b->out.st, a->out.st, sizeof b->out.st);
    }
    if (rules & KNOWN_C1) sw_free |= 0x200;
    if (rules & KNOWN_CODES) sw_free |= 0x4700;
    if (rules & KNOWN_NEAR) {
        sw_free |= 0x82a0; /* ES and B follow PE */
        for (unsigned i = 0; i < 8; i++)
            if (st_near(a->out.st[i], b->out.st[i])) b->out.st[i] = a->out.st[i];
    }
    b->out.sw = (uint16_t)((b->out.sw & ~sw_free) | (a->out.sw & sw_free));
    return true;
}
