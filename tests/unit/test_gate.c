/* SPDX-License-Identifier: Apache-2.0 */
/* The idle gate: what counts as a user at work, and when a silent server has to be tested. */
#include "o3/gate.h"
#include "o3_test.h"

#define S 1000000000LL
#define IDLE_FOR (2 * S)
#define MAX_BUSY (600 * S)

static bool idle_at(const struct o3_gate *g, int64_t s) {
    return o3_gate_is_idle(g, s * S, IDLE_FOR);
}

static void test_nobody_connected_is_idle(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    assert_true(idle_at(&g, 0));
    o3_gate_sockets(&g, true, 0, 0, 1 * S);
    assert_true(idle_at(&g, 1));
}

static void test_new_connection_is_busy_until_it_goes(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, true, 0, 0, 0);
    o3_gate_sockets(&g, true, 1, 0, 10 * S);
    assert_false(idle_at(&g, 10));
    o3_gate_sockets(&g, true, 0, 0, 20 * S);
    assert_false(idle_at(&g, 11));
    assert_true(idle_at(&g, 22));
}

static void test_connection_that_stays_after_a_finished_request_is_pooled(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, true, 0, 0, 0);
    o3_gate_sockets(&g, true, 1, 0, 10 * S);
    o3_gate_request_finished(&g, 15 * S, 15 * S);
    o3_gate_sockets(&g, true, 1, 0, 17 * S);
    assert_true(idle_at(&g, 20));
    assert_int_equal(g.idle_count, 1);
    o3_gate_sockets(&g, true, 2, 0, 30 * S); /* one more than at the last known idle */
    assert_false(idle_at(&g, 30));
}

static void test_bytes_in_a_queue_are_work(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, true, 1, 0, 0);
    o3_gate_sockets(&g, true, 1, 0, 25 * S);
    assert_true(idle_at(&g, 40));
    o3_gate_sockets(&g, true, 1, 1, 50 * S);
    assert_false(idle_at(&g, 50));
    o3_gate_sockets(&g, true, 1, 0, 60 * S);
    assert_true(idle_at(&g, 63));
}

static void test_connections_older_than_we_settle(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, true, 3, 0, 0);
    assert_false(idle_at(&g, 0));
    o3_gate_sockets(&g, true, 3, 0, 10 * S);
    assert_false(idle_at(&g, 10));
    o3_gate_sockets(&g, true, 3, 0, 20 * S);
    assert_true(idle_at(&g, 23));
}

static void test_fewer_pooled_connections_lower_the_mark(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, true, 3, 0, 0);
    o3_gate_sockets(&g, true, 3, 0, 20 * S);
    o3_gate_sockets(&g, true, 1, 0, 30 * S);
    assert_int_equal(g.idle_count, 1);
    o3_gate_sockets(&g, true, 2, 0, 40 * S);
    assert_false(idle_at(&g, 40));
}

static void test_unreadable_sockets_leave_the_other_signs(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, false, 0, 0, 0);
    assert_true(idle_at(&g, 0));
    o3_gate_request_finished(&g, 9 * S, 10 * S);
    assert_false(idle_at(&g, 10));
    assert_true(idle_at(&g, 11));
    o3_gate_own_finished(&g, 5 * S, true, 20 * S); /* we waited behind somebody */
    assert_false(idle_at(&g, 21));
    assert_true(idle_at(&g, 22));
}

static void test_silent_business_asks_for_a_test(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, true, 0, 0, 0);
    o3_gate_sockets(&g, true, 1, 0, 10 * S);
    for (int64_t t = 15; t < 610; t += 5)
        o3_gate_sockets(&g, true, 1, 0, t * S);
    assert_false(o3_gate_needs_test(&g, 609 * S, MAX_BUSY));
    assert_true(o3_gate_needs_test(&g, 610 * S, MAX_BUSY));
    o3_gate_tested(&g, 611 * S);
    assert_false(o3_gate_needs_test(&g, 700 * S, MAX_BUSY));
    assert_true(o3_gate_needs_test(&g, 1211 * S, MAX_BUSY));
    o3_gate_own_finished(&g, 0, true, 1212 * S); /* the test was answered at once: those sockets are pooled */
    assert_true(idle_at(&g, 1215));
    assert_int_equal(g.idle_count, 1);
}

static void test_progress_of_users_is_no_hang(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, true, 0, 0, 0);
    for (int64_t t = 5; t < 7200; t += 5) {
        o3_gate_sockets(&g, true, 2, 1, t * S);
        if (t % 300 == 0) o3_gate_request_finished(&g, t * S, t * S);
        assert_false(o3_gate_needs_test(&g, t * S, MAX_BUSY));
        assert_false(idle_at(&g, t));
    }
}

static void test_next_request_after_a_finished_one_is_seen(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, true, 0, 0, 0);
    o3_gate_request_finished(&g, 10 * S, 10 * S);
    o3_gate_sockets(&g, true, 1, 0, 10 * S); /* the connection of that request */
    o3_gate_sockets(&g, true, 2, 0, 15 * S); /* and another user's */
    o3_gate_sockets(&g, true, 2, 0, 20 * S);
    assert_false(idle_at(&g, 30));
}

static void test_user_who_came_during_our_probe_is_not_idle(void **state) {
    (void)state;
    struct o3_gate g;
    o3_gate_init(&g);
    o3_gate_sockets(&g, true, 0, 0, 0);
    o3_gate_sockets(&g, true, 1, 0, 10 * S);
    o3_gate_own_finished(&g, 0, false, 10 * S);
    assert_false(idle_at(&g, 20));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_request_after_a_finished_one_is_seen),
        cmocka_unit_test(test_user_who_came_during_our_probe_is_not_idle),
        cmocka_unit_test(test_nobody_connected_is_idle),
        cmocka_unit_test(test_new_connection_is_busy_until_it_goes),
        cmocka_unit_test(test_connection_that_stays_after_a_finished_request_is_pooled),
        cmocka_unit_test(test_bytes_in_a_queue_are_work),
        cmocka_unit_test(test_connections_older_than_we_settle),
        cmocka_unit_test(test_fewer_pooled_connections_lower_the_mark),
        cmocka_unit_test(test_unreadable_sockets_leave_the_other_signs),
        cmocka_unit_test(test_silent_business_asks_for_a_test),
        cmocka_unit_test(test_progress_of_users_is_no_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
