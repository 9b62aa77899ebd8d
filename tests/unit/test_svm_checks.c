/* SPDX-License-Identifier: MIT */
/* Consistency checks of VMRUN row by row: for each row of vmrun_checks.def a state that breaks it alone and a
 * neighbour that does not, judged by the processor and by explain; and 100,000 states with one or two rules
 * broken, on which the processor, explain and the expected rules agree. A row with no pair fails. */
#include "svm_host.h"

/* One change of a valid VMCB. word: bits to flip (KEEP 0) or the value to set. */
struct change {
    int field; /* enum vmcb_field; -1: none */
    enum how { SET, OR, CLEAR } how;
    uint64_t value;
};
struct pair {
    enum svm_check_id row;
    struct change broken[3], good[3];
};
#define NONE       \
    {              \
        -1, SET, 0 \
    }
#define TO(field, value)         \
    {                            \
        VMCB_##field, SET, value \
    }
#define PLUS(field, bits)      \
    {                          \
        VMCB_##field, OR, bits \
    }
#define LESS(field, bits)         \
    {                             \
        VMCB_##field, CLEAR, bits \
    }
#define ONE(a)        \
    {                 \
        a, NONE, NONE \
    }
#define TWO(a, b)  \
    {              \
        a, b, NONE \
    }
#define THREE(a, b, c) \
    {                  \
        a, b, c        \
    }
#define ROW(row, broken, good)       \
    {                                \
        SVMCHECK_##row, broken, good \
    }
#define BIT64(n) (UINT64_C(1) << (n))
#define NP_ON PLUS(NESTED_CONTROL, NESTED_NP)
#define NO_PAGING LESS(CR0, CR0_PG)
#define LEGACY LESS(EFER, EFER_LME)
#define WITH(name) PLUS(INTERCEPT_3, UINT32_C(1) << (SVM_EXIT_##name % 32))

/* epyc-genoa: 52 physical bits, vNMI. */
#define TOP BIT64(52)
/* clang-format off */
static const struct pair pairs[] = {
    ROW(efer_svme, ONE(LESS(EFER, EFER_SVME)), ONE(LESS(EFER, EFER_LMA))),
    ROW(cr0_cd_nw, ONE(PLUS(CR0, CR0_NW)), ONE(PLUS(CR0, CR0_NW | CR0_CD))),
    ROW(cr0_high, ONE(PLUS(CR0, BIT64(32))), ONE(PLUS(CR0, CR0_WP))),
    ROW(cr3_reserved, ONE(PLUS(CR3, TOP)), ONE(PLUS(CR3, 0x18))),
    ROW(cr4_reserved, ONE(PLUS(CR4, BIT64(15))), ONE(PLUS(CR4, CR4_PGE))),
    ROW(dr6_high, ONE(PLUS(DR6, BIT64(40))), ONE(PLUS(DR6, BIT64(14)))),
    ROW(dr7_high, ONE(PLUS(DR7, BIT64(63))), ONE(PLUS(DR7, BIT64(31)))),
    ROW(efer_reserved, ONE(PLUS(EFER, BIT64(20))), ONE(PLUS(EFER, EFER_NXE))),
    ROW(long_pae, ONE(LESS(CR4, CR4_PAE)), THREE(LESS(CR4, CR4_PAE), LEGACY, NONE)),
    ROW(long_pe, ONE(LESS(CR0, CR0_PE)), THREE(LESS(CR0, CR0_PE), LEGACY, NP_ON)),
    ROW(long_cs, ONE(PLUS(CS_ATTRIB, ATTR_DB)), TWO(PLUS(CS_ATTRIB, ATTR_DB), LESS(CS_ATTRIB, ATTR_L))),
    ROW(pcide_long, THREE(PLUS(CR4, CR4_PCIDE), LEGACY, NP_ON), ONE(PLUS(CR4, CR4_PCIDE))),
    ROW(vmrun_intercept, ONE(LESS(INTERCEPT_4, 1)), ONE(PLUS(INTERCEPT_4, 2))),
    ROW(iopm_range, TWO(WITH(IOIO), TO(IOPM_BASE, TOP - 0x2000)), TWO(WITH(IOIO), TO(IOPM_BASE, TOP - 0x2002))),
    ROW(msrpm_range, TWO(WITH(MSR), TO(MSRPM_BASE, TOP - 0x1fff)), TWO(WITH(MSR), TO(MSRPM_BASE, TOP - 0x2001))),
    ROW(inject_type, ONE(TO(EVENTINJ, 0x80000140)), ONE(TO(EVENTINJ, 0x140))),
    ROW(inject_vector, ONE(TO(EVENTINJ, 0x80000302)), ONE(TO(EVENTINJ, 0x80000301))),
    ROW(inject_bound, ONE(TO(EVENTINJ, 0x80000305)), TWO(TO(EVENTINJ, 0x80000305), LESS(CS_ATTRIB, ATTR_L))),
    ROW(asid_zero, ONE(TO(ASID, 0)), ONE(TO(ASID, 2))),
    ROW(asid_limit, ONE(TO(ASID, 0x8000)), ONE(TO(ASID, 0x7fff))),
    ROW(np_host_paging, ONE(NONE), ONE(NP_ON)), /* below: needs another host */
    ROW(np_root, TWO(NP_ON, PLUS(N_CR3, TOP)), ONE(PLUS(N_CR3, TOP))),
    ROW(np_pat, TWO(NP_ON, TO(G_PAT, 2)), ONE(TO(G_PAT, 2))),
    ROW(pdpte_reserved, THREE(LEGACY, TO(CR3, PDPT), LESS(CS_ATTRIB, ATTR_L)), THREE(LEGACY, TO(CR3, PDPT), NP_ON)),
    ROW(vnmi_intercept, ONE(PLUS(VINTR, VINTR_NMI_ENABLE)), TWO(PLUS(VINTR, VINTR_NMI_ENABLE), WITH(NMI))),
};
/* clang-format on */
enum { PAIRS = sizeof pairs / sizeof pairs[0] };

static void apply(const struct change *list)
{
    for (unsigned i = 0; i < 3; i++) {
        if (list[i].field < 0) continue;
        enum vmcb_field f = (enum vmcb_field)list[i].field;
        uint64_t old = get(f), v = list[i].value;
        set(f, list[i].how == SET ? v : list[i].how == OR ? old | v : old & ~v);
    }
}

static bool broken_in(const struct svm_check_row *const *rows, unsigned n, enum svm_check_id id)
{
    for (unsigned i = 0; i < n; i++)
        if (rows[i] == &svm_check_rows[id]) return true;
    return false;
}

/* Runs the VMCB as it is. The processor's verdict is explain's; the broken rows in out[]. */
static unsigned judge(const struct svm_check_row *out[SVMCHECK_COUNT])
{
    struct svm_check k;
    uint64_t code = run_vmcb();
    unsigned n = svm_explain_cpu(c, &k, out, SVMCHECK_COUNT);
    assert_int_equal(code == SVM_EXIT_INVALID, n != 0);
    return n;
}

static void prepare(void)
{
    guest_long();
    board_put(b, GUEST_AT, "f4");
    board_poke(b, PDPT, 8, 0x1e1); /* reserved bits of a present pointer */
}

static void every_row_has_its_pair(void **state)
{
    (void)state;
    for (unsigned row = 0; row < SVMCHECK_COUNT; row++) {
        unsigned n = 0;
        for (unsigned i = 0; i < PAIRS; i++)
            n += pairs[i].row == row;
        if (n == 0) fail_msg("no pair for %s", svm_check_rows[row].id);
    }
}

static void each_pair(void **state)
{
    const struct svm_check_row *rows[SVMCHECK_COUNT];
    (void)state;
    for (unsigned i = 0; i < PAIRS; i++) {
        if (pairs[i].row != SVMCHECK_np_host_paging) {
            prepare();
            apply(pairs[i].broken);
            unsigned n = judge(rows);
            if (n != 1 || !broken_in(rows, n, pairs[i].row))
                fail_msg("%s: %u broken, first %s", svm_check_rows[pairs[i].row].id, n,
                         n ? rows[0]->id : "none");
            assert_int_equal(get(VMCB_EXITINFO1), 0);
            assert_int_equal(get(VMCB_RIP), GUEST_AT);
        }
        prepare();
        apply(pairs[i].good);
        unsigned n = judge(rows);
        if (n != 0) fail_msg("%s: the neighbour breaks %s", svm_check_rows[pairs[i].row].id, rows[0]->id);
    }
}

static void nested_paging_needs_host_paging(void **state)
{
    const struct svm_check_row *rows[SVMCHECK_COUNT];
    (void)state;
    prepare();
    use_npt();
    c->s.cr0 &= ~(uint64_t)CR0_PG;
    c->s.efer &= ~(uint64_t)(EFER_LMA | EFER_LME);
    struct seg_reg cs = {.selector = 8, .ar = 0xc09b, .limit = 0xffffffff};
    cpu_load_segment(c, SEG_CS, &cs);
    assert_int_equal(judge(rows), 1);
    assert_true(broken_in(rows, 1, SVMCHECK_np_host_paging));
}

/* The value that explain offers makes the rule hold. */
static void cures_cure(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PAIRS; i++) {
        struct svm_check k;
        uint64_t f[VMCB_FIELDS];
        prepare();
        apply(pairs[i].broken);
        vmcb_load(b->bus.ram + VMCB_AT, f, 0);
        svm_check_init(&k, &x->cap, f);
        svm_check_live(&k, c);
        const struct svm_check_row *row = &svm_check_rows[pairs[i].row];
        if (row->holds(&k)) continue;
        bool read = false;
        for (unsigned j = 0; j < row->read_count; j++)
            read |= row->reads[j] == row->cure_field;
        assert_true(read);
        f[row->cure_field] = row->cure(&k);
        if (!row->holds(&k)) fail_msg("%s is not cured", row->id);
        assert_int_equal(
            f[row->cure_field] & ~((UINT64_C(2) << (8 * vmcb_fields[row->cure_field].bytes - 1)) - 1), 0);
    }
    uint64_t type = 0;
    for (; type < 8; type++) {
        struct svm_check k;
        uint64_t f[VMCB_FIELDS] = {0};
        f[VMCB_EVENTINJ] = INJ_VALID | type << 8 | 6;
        svm_check_init(&k, &x->cap, f);
        const struct svm_check_row *row = &svm_check_rows[SVMCHECK_inject_type];
        assert_int_equal(row->holds(&k), type == 0 || (type >= 2 && type <= 4));
        f[VMCB_EVENTINJ] = row->cure(&k);
        assert_true(row->holds(&k));
    }
}

/* Which rows two changes break is known when neither touches what the other's row reads. */
static bool independent(const struct pair *p, const struct pair *q)
{
    const struct svm_check_row *a = &svm_check_rows[p->row], *z = &svm_check_rows[q->row];
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < z->read_count; j++)
            if (p->broken[i].field == z->reads[j]) return false;
        for (unsigned j = 0; j < a->read_count; j++)
            if (q->broken[i].field == a->reads[j]) return false;
    }
    return true;
}

enum { STATES = 100000 };
static void boundary_states(void **state)
{
    const struct svm_check_row *rows[SVMCHECK_COUNT];
    uint64_t random = 1;
    uint8_t valid[4096];
    unsigned counted[SVMCHECK_COUNT] = {0}, pairs_judged = 0;
    (void)state;
    prepare();
    memcpy(valid, b->bus.ram + VMCB_AT, sizeof valid);
    for (unsigned n = 0; n < STATES; n++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        const struct pair *p = &pairs[random % PAIRS], *q = &pairs[random / PAIRS % PAIRS];
        memcpy(b->bus.ram + VMCB_AT, valid, sizeof valid);
        apply(p->broken);
        unsigned kind = random >> 40 & 3;
        if (kind == 3) apply(q->broken);
        /* A bit of an arbitrary field more: the rows that read it decide. */
        if (kind == 2) {
            unsigned field = (random >> 44) % VMCB_FIELDS;
            if (vmcb_fields[field].offset < OFF_EXITCODE || vmcb_fields[field].offset > OFF_EXITINTINFO)
                set((enum vmcb_field)field,
                    get((enum vmcb_field)field) ^ BIT64((random >> 50) % (vmcb_fields[field].bytes * 8u)));
        }
        x->vmcb = VMCB_NONE; /* no group is taken from the copy */
        struct svm_check k;
        uint64_t f[VMCB_FIELDS];
        vmcb_load(b->bus.ram + VMCB_AT, f, 0);
        svm_check_init(&k, &x->cap, f);
        svm_check_live(&k, c);
        unsigned broken = svm_explain(&k, rows, SVMCHECK_COUNT);
        bool expect_p = p->row != SVMCHECK_np_host_paging;
        if (kind < 2) {
            assert_int_equal(broken, expect_p);
            if (expect_p) assert_true(broken_in(rows, broken, p->row));
        } else if (kind == 3 && independent(p, q)) {
            bool expect_q = q->row != SVMCHECK_np_host_paging;
            pairs_judged++;
            assert_int_equal(broken_in(rows, broken, p->row), expect_p);
            assert_int_equal(broken_in(rows, broken, q->row), expect_q);
        }
        /* The processor itself: VMRUN up to the verdict. */
        if (broken) {
            c->s.gpr[RAX] = VMCB_AT;
            svm_enter(c, VMCB_AT, VMRUN_AT + 3);
            assert_int_equal(get(VMCB_EXITCODE), SVM_EXIT_INVALID);
            assert_false(c->s.in_guest);
            for (unsigned i = 0; i < broken; i++)
                counted[rows[i] - svm_check_rows]++;
        } else {
            svm_enter(c, VMCB_AT, VMRUN_AT + 3);
            if (get(VMCB_EXITCODE) == SVM_EXIT_INVALID) fail_msg("state %u: only the processor refuses", n);
            if (c->s.in_guest) svm_exit_simple(c, SVM_EXIT_HLT);
        }
    }
    for (unsigned i = 0; i < SVMCHECK_COUNT; i++)
        if (i != SVMCHECK_np_host_paging && counted[i] < 100)
            fail_msg("%s broken %u times", svm_check_rows[i].id, counted[i]);
    assert_true(pairs_judged > 10000);
}

static void explanations(void **state)
{
    const struct svm_check_row *rows[SVMCHECK_COUNT];
    struct svm_check k;
    char text[1024], small[8];
    (void)state;
    prepare();
    set(VMCB_ASID, 0);
    set_bits(VMCB_CR0, CR0_NW);
    assert_int_equal(run_vmcb(), SVM_EXIT_INVALID);
    assert_int_equal(svm_explain_cpu(c, &k, rows, SVMCHECK_COUNT), 2);
    size_t n = svm_explain_row(&k, rows[1], false, text, sizeof text);
    assert_string_equal(
        text, "asid_zero (APM 2 15.5.1, exit code -1): the ASID must not be 0; ASID (058h) = 0h; nearest "
              "valid: ASID = 1h");
    assert_int_equal(n, strlen(text));
    assert_int_equal(svm_explain_row(&k, rows[1], false, small, sizeof small), n);
    svm_explain_row(&k, rows[0], true, text, sizeof text);
    assert_string_equal(
        text, "{\"id\": \"cr0_cd_nw\", \"section\": \"15.5.1\", \"outcome\": \"exit code -1\", \"rule\": "
              "\"CR0.NW needs CR0.CD\", \"fields\": [{\"field\": \"CR0\", \"offset\": \"0x558\", "
              "\"value\": \"0xa0000031\"}], \"nearest\": {\"field\": \"CR0\", \"value\": \"0x80000031\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_pair),
        cmocka_unit_test_setup_teardown(each_pair, setup, teardown),
        cmocka_unit_test_setup_teardown(nested_paging_needs_host_paging, setup, teardown),
        cmocka_unit_test_setup_teardown(cures_cure, setup, teardown),
        cmocka_unit_test_setup_teardown(boundary_states, setup, teardown),
        cmocka_unit_test_setup_teardown(explanations, setup, teardown),
    };
    host_model = "epyc-genoa";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
