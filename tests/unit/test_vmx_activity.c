/* SPDX-License-Identifier: MIT */
/* Which event ends which activity state of a guest, what the exit saves, and what stays pending. SDM 3C 26.2,
 * 27.7.2, 27.7; events that a state holds back are still there afterwards. */
#include "vmx_host.h"

enum event_kind { EV_INIT, EV_SIPI, EV_NMI, EV_INTR, EV_TIMER, EV_NMI_WINDOW, EV_INTR_WINDOW, EVENTS };
enum { ACTIVE, HLT, SHUTDOWN, WAIT, STATES };
enum { STAYS = 0xffff }; /* no exit: the guest goes on as it was (an active one to its HLT) */

static const uint8_t activity[STATES] = {ACTIVITY_ACTIVE, ACTIVITY_HLT, ACTIVITY_SHUTDOWN,
                                         ACTIVITY_WAIT_SIPI};
static const char *const event_names[EVENTS] = {
    "INIT", "SIPI", "NMI", "external interrupt", "timer", "NMI window", "interrupt window"};

#define R(name) REASON_##name
static const uint32_t expected[EVENTS][STATES] = {
    [EV_INIT] = {R(INIT), R(INIT), R(INIT), STAYS},
    [EV_SIPI] = {STAYS, STAYS, STAYS, R(SIPI)},
    [EV_NMI] = {R(EXCEPTION_NMI), R(EXCEPTION_NMI), R(EXCEPTION_NMI), STAYS},
    [EV_INTR] = {R(EXTINT), R(EXTINT), STAYS, STAYS},
    [EV_TIMER] = {R(PREEMPTION_TIMER), R(PREEMPTION_TIMER), R(PREEMPTION_TIMER), STAYS},
    [EV_NMI_WINDOW] = {R(NMI_WINDOW), R(NMI_WINDOW), R(NMI_WINDOW), STAYS},
    [EV_INTR_WINDOW] = {R(INTR_WINDOW), R(INTR_WINDOW), STAYS, STAYS},
};

static void prepare(enum event_kind kind, unsigned state)
{
    f[F_PIN_CONTROLS] |= PIN_EXTINT_EXIT | PIN_NMI_EXIT | PIN_VIRTUAL_NMI;
    f[F_GUEST_ACTIVITY] = activity[state];
    f[F_GUEST_RFLAGS] = FL_FIXED | FL_IF;
    if (kind == EV_TIMER) f[F_PIN_CONTROLS] |= PIN_PREEMPTION_TIMER;
    if (kind == EV_NMI_WINDOW) f[F_PRIMARY_CONTROLS] |= PRI_NMI_WINDOW;
    if (kind == EV_INTR_WINDOW) f[F_PRIMARY_CONTROLS] |= PRI_INTR_WINDOW;
}

static void arrive(enum event_kind kind)
{
    if (kind == EV_INIT) cpu_signal_init(c);
    if (kind == EV_SIPI) cpu_signal_sipi(c, 0x34);
    if (kind == EV_NMI) cpu_signal_nmi(c);
    if (kind == EV_INTR) {
        b->intr_vector = 0x50;
        cpu_signal_intr(c);
    }
}

static void each_event_in_each_state(void **none)
{
    (void)none;
    for (unsigned kind = 0; kind < EVENTS; kind++)
        for (unsigned state = 0; state < STATES; state++) {
            void *unused = NULL;
            setup(&unused);
            prepare((enum event_kind)kind, state);
            board_put(b, GUEST_AT, "eb fe");
            f[F_GUEST_RIP] = GUEST_AT;
            f[F_EXIT_REASON] = STAYS;
            c->s.activity = ACTIVITY_ACTIVE;
            *rip_of(c) = LAUNCH;
            board_run(b, 50);
            bool at_entry = kind == EV_TIMER || kind == EV_NMI_WINDOW || kind == EV_INTR_WINDOW;
            if (!at_entry) {
                assert_true(c->s.in_guest);
                arrive((enum event_kind)kind);
                board_run(b, 50);
            }
            uint32_t reason = (uint32_t)f[F_EXIT_REASON], want = expected[kind][state];
            if (reason != want) fail_msg("%s in state %u: exit %u", event_names[kind], state, reason);
            assert_int_equal(c->s.in_guest, want == STAYS);
            if (want == STAYS) {
                assert_int_equal(c->s.activity, activity[state]);
                /* Held back, but for a SIPI, which is lost. */
                if (kind == EV_INIT) assert_true(c->s.intr.init_pending);
                if (kind == EV_NMI) assert_true(c->s.intr.nmi_pending);
                if (kind == EV_INTR) assert_int_equal(b->intr_vector, 0x50);
                if (kind == EV_SIPI) assert_false(c->s.intr.sipi_pending);
            } else {
                assert_int_equal(f[F_GUEST_ACTIVITY], activity[state]);
                assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
                if (kind == EV_SIPI) assert_int_equal(f[F_EXIT_QUALIFICATION], 0x34);
                if (kind == EV_INIT) assert_false(c->s.intr.init_pending);
            }
            teardown(&unused);
        }
}

/* What waited in wait-for-SIPI is there after its exit; the next entry meets it. */
static void events_wait_for_the_sipi(void **state)
{
    (void)state;
    prepare(EV_SIPI, WAIT);
    board_put(b, GUEST_AT, "eb fe");
    f[F_GUEST_RIP] = GUEST_AT;
    *rip_of(c) = LAUNCH;
    c->s.activity = ACTIVITY_ACTIVE;
    board_run(b, 50);
    cpu_signal_init(c);
    cpu_signal_nmi(c);
    board_run(b, 50);
    assert_true(c->s.in_guest);
    cpu_signal_sipi(c, 0x34);
    c->s.intr.nmi_blocked = 1; /* keeps it from the host's IDT */
    board_run(b, 50);
    assert_int_equal(f[F_EXIT_REASON], REASON_SIPI);
    assert_int_equal(f[F_GUEST_ACTIVITY], ACTIVITY_WAIT_SIPI);
    assert_true(c->s.intr.init_pending && c->s.intr.nmi_pending);
    c->s.intr.nmi_pending = 0;
    f[F_GUEST_ACTIVITY] = ACTIVITY_ACTIVE;
    assert_int_equal(enter_code("90 f4"), REASON_INIT);
}

/* A triple fault exits from each mode of injection, too; RIP is that of the first fault. */
static void triple_faults(void **state)
{
    (void)state;
    f[F_GUEST_IDTR_LIMIT] = 0;
    assert_int_equal(enter_code("90 0f 0b"), REASON_TRIPLE_FAULT);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT + 1);
    assert_int_equal(f[F_GUEST_ACTIVITY], ACTIVITY_ACTIVE);
    assert_int_equal(f[F_IDT_VECTORING_INFO] & INFO_VALID, 0);
    f[F_ENTRY_INTR_INFO] = INFO_VALID | EVENT_HW_EXCEPTION << INFO_TYPE_SHIFT | VEC_UD;
    f[F_GUEST_ACTIVITY] = ACTIVITY_HLT;
    assert_int_equal(enter_code("90 f4"), REASON_TRIPLE_FAULT);
    assert_int_equal(f[F_GUEST_RIP], GUEST_AT);
    f[F_GUEST_ACTIVITY] = ACTIVITY_ACTIVE;
    f[F_GUEST_IDTR_LIMIT] = 0xfff;
    assert_int_equal(enter_code("90 0f 0b"), REASON_HLT); /* with an IDT: its handler */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_event_in_each_state),
                                       T(events_wait_for_the_sipi), T(triple_faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
