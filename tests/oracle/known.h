/* SPDX-License-Identifier: MIT */
/* Accepted differences between processors (known.def). */
#ifndef UV_TESTS_ORACLE_KNOWN_H
#define UV_TESTS_ORACLE_KNOWN_H

#include "tests/oracle/oracle.h"

enum known_rule {
    KNOWN_C1 = 1,
    KNOWN_CODES = 2,
    KNOWN_CR2 = 4,
    KNOWN_NEAR = 8,
    KNOWN_ALIGN = 16,
    KNOWN_SS_OR_GP = 32,
    KNOWN_APPROX = 64,
    KNOWN_MMX_FAULT = 128,
    KNOWN_PARTIAL = 256,
    KNOWN_SHORT = 512
};

unsigned known_rules(const struct ocase *t);
bool known_reconcile(const struct ocase *t, const struct oresult *ours, struct oresult *theirs);

#endif
