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
    if (!t->row) return 0;
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

static bool st_near(struct st_reg a, struct st_reg b)
{
    uint64_t d = a.frac > b.frac ? a.frac - b.frac : b.frac - a.frac;
    return a.se == b.se && d <= 2;
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
    if (rules & KNOWN_CR2) b->cr2 = a->cr2;
    if (rules & KNOWN_C1) sw_free |= 0x200;
    if (rules & KNOWN_CODES) sw_free |= 0x4700;
    if (rules & KNOWN_NEAR) {
        sw_free |= 0x220;
        for (unsigned i = 0; i < 8; i++)
            if (st_near(a->out.st[i], b->out.st[i])) b->out.st[i] = a->out.st[i];
    }
    b->out.sw = (uint16_t)((b->out.sw & ~sw_free) | (a->out.sw & sw_free));
    return true;
}
