/* SPDX-License-Identifier: MIT */
/* States at the boundary of validity: from a valid VMCS one rule is broken at a time, then two at random,
 * until 100,000 states are judged three times: by a VM entry of the processor, by explain, and by what was
 * broken. SDM 3C 27.2, 27.3.1. */
#include "machine.h"
#include "vmx_states.h"

enum { STATES = 100000, SETS_MAX = 600 };

static struct board *b;
static struct cpu *c;
static struct vmx_state *x;
static struct vmx_state *fresh;
static struct cpu_state fresh_s;

struct side {
    unsigned rule;
    void (*base)(void);
    const struct set *breaking, *passing;
    unsigned breaking_count, passing_count;
};
static struct side sides[SETS_MAX];
static unsigned side_count;
static unsigned judged, refused, agreed_pairs;

static void add(unsigned rule, void (*base)(void), const struct set *breaking, unsigned breaking_count,
                const struct set *passing, unsigned passing_count)
{
    assert_true(side_count < SETS_MAX);
    sides[side_count++] = (struct side){rule, base, breaking, passing, breaking_count, passing_count};
}

static int setup(void **state)
{
    make_cap(state);
    b = board_create("max-intel");
    c = b->cpu;
    assert_true(cpu_attach_extension(c, &vmx_ext));
    x = vmx_of(c);
    x->cap = cap;
    x->mode = VMX_ROOT;
    x->current = 0x6000;
    x->vmxon_pointer = 0x2000;
    x->vmcs.revision = vmx_revision(&cap);
    c->s.cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET;
    c->s.cr4 = CR4_PAE | CR4_VMXE;
    c->s.efer = EFER_LMA | EFER_LME;
    vmx_apply_context(c);
    fresh = malloc(sizeof *fresh);
    assert_non_null(fresh);
    *fresh = *x;
    fresh_s = c->s;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(fresh);
    board_destroy(b);
    return 0;
}

/* What read_memory() of the states answers, as memory. */
static void memory(void)
{
    board_poke(b, 0x5080, 8, 0x50);
    board_poke(b, 0x6000, 4, vmx_revision(&cap));
    board_poke(b, 0x8000, 4, vmx_revision(&cap));
    board_poke(b, 0x7000, 4, vmx_revision(&cap) | VMCS_SHADOW);
    board_poke(b, 0xa008, 8, 3);
}

static bool listed(const struct vmx_check_row *const *rows, unsigned n, unsigned rule)
{
    for (unsigned i = 0; i < n; i++)
        if (rows[i] == &vmx_check_rows[rule]) return true;
    return false;
}

/* The processor enters with field[]; its answer must be that of the first broken rule, and every rule that is
 * meant must be among the broken ones. */
static void judge(const unsigned *meant, unsigned meant_count, bool valid, const char *what)
{
    const struct vmx_check_row *rows[CHECK_COUNT];
    struct vmx_check k;
    memory();
    *x = *fresh;
    c->s = fresh_s;
    c->shutdown = false;
    memcpy(x->vmcs.f, field, sizeof x->vmcs.f);
    memset(x->dirty, 0xff, sizeof x->dirty);
    x->cap.msr[0xc] = field[F_CAP_EPT];
    if (!field[F_LMA]) c->s.efer &= ~(uint64_t)EFER_LMA;
    c->s.intr.smi_blocked = field[F_SMM] != 0;
    c->virt = &vmx_root_ops;

    unsigned n = vmx_explain_cpu(c, &k, rows, CHECK_COUNT);
    for (unsigned i = 0; i < meant_count; i++)
        if (!listed(rows, n, meant[i]))
            fail_msg("%s: explain does not list %s", what, vmx_check_rows[meant[i]].id);
    if (valid && n) fail_msg("%s: explain lists %s", what, rows[0]->id);

    uint32_t error = 0;
    enum vmx_entry_result result = vmx_enter(c, true, &error);
    bool guest = result == ENTRY_DONE &&
                 (uint32_t)x->vmcs.f[F_EXIT_REASON] == (REASON_ENTRY_FAIL_GUEST | REASON_ENTRY_FAILURE);
    if (n == 0) {
        if (result == ENTRY_VMFAIL || guest) fail_msg("%s: refused, but no rule is broken", what);
    } else if (rows[0]->stage == STAGE_GUEST) {
        if (!guest || x->vmcs.f[F_EXIT_QUALIFICATION] != rows[0]->outcome.qualification)
            fail_msg("%s: %s is broken, not exit reason 33 with its qualification", what, rows[0]->id);
    } else if (result != ENTRY_VMFAIL || error != rows[0]->outcome.vmfail) {
        fail_msg("%s: %s is broken, VMfail %u", what, rows[0]->id, error);
    }
    judged++;
    refused += n != 0;
}

static bool touches(const struct set *s, unsigned n, const struct vmx_check_row *row)
{
    for (unsigned i = 0; i < n; i++) {
        if (s[i].field >= F_COUNT) return true;
        if (s[i].field < 0) continue;
        for (unsigned j = 0; j < row->read_count; j++)
            for (int f = row->reads[j]; f >= 0; f = vmx_activation_field(f))
                if (f == s[i].field) return true;
    }
    return false;
}

static bool reads_more(const struct vmx_check_row *row)
{
    return row->read_count == 0 || vmx_reads_memory(row) || strncmp(row->id, "lma", 3) == 0;
}

#define STATE(base, rule, breaking, passing) add(CHECK_##rule, BASE_##base, breaking, passing);

static void processor_explain_and_rule_agree(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252;
#include "vmx_check_states.def"
    for (unsigned i = 0; i < side_count; i++) {
        const struct side *s = &sides[i];
        s->base();
        apply(s->breaking, s->breaking_count);
        judge(&s->rule, 1, false, vmx_check_rows[s->rule].id);
        s->base();
        apply(s->passing, s->passing_count);
        judge(NULL, 0, true, vmx_check_rows[s->rule].id);
    }
    while (judged < STATES) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        const struct side *p = &sides[seed % side_count], *q = &sides[(seed >> 32) % side_count];
        if (p->base != q->base) continue;
        /* One in four takes the passing side of one of them. */
        bool p_broken = (seed >> 20 & 3) != 0, q_broken = (seed >> 22 & 3) != 0;
        const struct set *ps = p_broken ? p->breaking : p->passing, *qs = q_broken ? q->breaking : q->passing;
        unsigned pn = p_broken ? p->breaking_count : p->passing_count;
        unsigned qn = q_broken ? q->breaking_count : q->passing_count;
        unsigned meant[2], n = 0;
        const struct vmx_check_row *pr = &vmx_check_rows[p->rule], *qr = &vmx_check_rows[q->rule];
        p->base();
        apply(ps, pn);
        apply(qs, qn);
        /* A rule whose fields the other change leaves alone is broken still. */
        if (p_broken && !touches(qs, qn, pr) && !reads_more(pr)) meant[n++] = p->rule;
        if (q_broken && !touches(ps, pn, qr) && !reads_more(qr)) meant[n++] = q->rule;
        agreed_pairs += n == 2;
        char what[128];
        snprintf(what, sizeof what, "%s + %s", pr->id, qr->id);
        judge(meant, n, false, what);
    }
    print_message("%u states, %u refused, %u pairs with both rules expected\n", judged, refused,
                  agreed_pairs);
    assert_true(agreed_pairs > STATES / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(processor_explain_and_rule_agree, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
