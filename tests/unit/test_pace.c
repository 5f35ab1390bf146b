/* SPDX-License-Identifier: Apache-2.0 */
/* How often a place is written, and when again after a failure: on a clock of our own. */
#include "o3_test.h"
#include <errno.h>
#include "o3/err.h"
#include "o3/pace.h"
#include "o3/text.h"

#define S O3_NS_PER_S
#define HOUR (3600 * S)
#define WRITES_MAX 1000

/* A place whose writes take a tenth of a second, and what came to be there when. */
struct place {
    struct o3_paced p;
    int64_t now_ns, written_ns[WRITES_MAX];
    int wanted, writing, there, n_written, n_failed;
    bool is_broken;
};

static void turn(struct place *x) {
    if (!o3_paced_begin(&x->p, x->now_ns)) return;
    x->writing = x->wanted;
    x->now_ns += S / 10;
    if (x->is_broken) {
        x->n_failed++;
        o3_paced_end(&x->p, O3_PUBLISH_FAILED, x->now_ns);
        return;
    }
    bool is_new = x->there != x->writing;
    x->there = x->writing;
    if (is_new) {
        assert_true(x->n_written < WRITES_MAX);
        x->written_ns[x->n_written++] = x->now_ns;
    }
    o3_paced_end(&x->p, is_new ? O3_PUBLISH_WRITTEN : O3_PUBLISH_UNCHANGED, x->now_ns);
}

static void run_until(struct place *x, int64_t end_ns) {
    for (int64_t at; (at = o3_paced_deadline_ns(&x->p)) <= end_ns;) {
        if (at > x->now_ns) x->now_ns = at;
        turn(x);
    }
    if (x->now_ns < end_ns) x->now_ns = end_ns;
}

static void want(struct place *x, int value) {
    x->wanted = value;
    o3_paced_want(&x->p, x->now_ns);
}

static int most_in_an_hour(const struct place *x) {
    int most = 0;
    for (int i = 0, first = 0; i < x->n_written; i++) {
        while (x->written_ns[i] - x->written_ns[first] >= HOUR)
            first++;
        if (i - first + 1 > most) most = i - first + 1;
    }
    return most;
}

static void several_changes_are_one_write(void **state) {
    (void)state;
    struct place x = {.now_ns = S};
    o3_paced_init(&x.p, 6, 1);
    assert_true(o3_paced_deadline_ns(&x.p) == INT64_MAX);
    for (int i = 1; i <= 5; i++) {
        want(&x, i);
        run_until(&x, x.now_ns + S / 20);
    }
    assert_int_equal(x.n_written, 0);
    run_until(&x, 60 * S);
    assert_int_equal(x.n_written, 1);
    assert_int_equal(x.there, 5);
    assert_true(o3_paced_deadline_ns(&x.p) == INT64_MAX);
}

static void changes_without_an_end_do_not_hold_the_first_one_up(void **state) {
    (void)state;
    struct place x = {.now_ns = S};
    o3_paced_init(&x.p, 6, 1);
    for (int i = 1; i <= 100; i++) { /* one each tenth of a second */
        want(&x, i);
        run_until(&x, x.now_ns + S / 10);
    }
    assert_true(x.n_written >= 1);
}

/* However they come, there are never more writes in any hour than the budget says, and the last value arrives. */
static void a_burst_is_within_the_budget_and_its_last_value_arrives(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(7);
    struct o3_rand rand;
    o3_rand_seed(&rand, seed);
    for (int round = 0; round < 200; round++) {
        struct place x = {.now_ns = S};
        int per_hour = 1 + (int)(o3_rand_u64(&rand) % 12), n = 1 + (int)(o3_rand_u64(&rand) % 300);
        o3_paced_init(&x.p, per_hour, o3_rand_u64(&rand));
        for (int i = 1; i <= n; i++) {
            x.is_broken = o3_rand_uniform(&rand) < 0.1;
            want(&x, i);
            run_until(&x, x.now_ns + (int64_t)(o3_rand_uniform(&rand) * 120 * (double)S));
        }
        x.is_broken = false;
        assert_true(most_in_an_hour(&x) <= per_hour);
        run_until(&x, x.now_ns + 2 * HOUR);
        if (most_in_an_hour(&x) > per_hour)
            fail_msg("%d writes in an hour, seed %llu", per_hour, (unsigned long long)seed);
        assert_int_equal(x.there, n);
        assert_true(o3_paced_deadline_ns(&x.p) == INT64_MAX);
    }
}

static void what_fails_is_tried_with_growing_jittered_waits(void **state) {
    (void)state;
    int64_t first_wait[2];
    for (int seed = 0; seed < 2; seed++) {
        struct place x = {.now_ns = S, .is_broken = true};
        o3_paced_init(&x.p, 6, (uint64_t)seed + 1);
        want(&x, 1);
        run_until(&x, 2 * S);
        assert_int_equal(x.n_failed, 1);
        first_wait[seed] = o3_paced_deadline_ns(&x.p) - x.now_ns;
        int64_t longest = 0;
        for (int i = 0; i < 20; i++) {
            int64_t wait = o3_paced_deadline_ns(&x.p) - x.now_ns;
            assert_true(wait > 0 && wait <= 600 * S);
            if (wait > longest) longest = wait;
            want(&x, i + 2); /* more to write does not bring it forward */
            assert_true(o3_paced_deadline_ns(&x.p) == x.now_ns + wait);
            run_until(&x, x.now_ns + wait);
        }
        assert_true(longest > 300 * S);
        x.is_broken = false;
        run_until(&x, x.now_ns + 600 * S);
        assert_int_equal(x.there, x.wanted);
        assert_int_equal(x.n_written, 1); /* failures cost nothing of the budget */
    }
    assert_true(first_wait[0] != first_wait[1]); /* of two sidecars */
}

static void a_place_that_is_not_wanted_any_more_is_left_alone(void **state) {
    (void)state;
    struct place x = {.now_ns = S};
    o3_paced_init(&x.p, 1, 1);
    want(&x, 1);
    run_until(&x, 10 * S);
    want(&x, 2);
    o3_paced_forget(&x.p);
    run_until(&x, 3 * HOUR);
    assert_int_equal(x.there, 1);
    want(&x, 3);
    assert_true(o3_paced_begin(&x.p, x.now_ns + S));
    o3_paced_not_now(&x.p, x.now_ns + S); /* no room for the job */
    run_until(&x, 4 * HOUR);
    assert_int_equal(x.there, 3);
}

static void troubles_of_a_disk_have_names(void **state) {
    (void)state;
    const struct {
        int code, sys;
        const char *name;
    } CASES[] = {{O3_E_DISK_FULL, ENOSPC, "disk_full"},
                 {O3_E_READ_ONLY, EROFS, "read_only"},
                 {O3_E_READ_ONLY, EACCES, "denied"},
                 {O3_E_IO, EPERM, "denied"},
                 {O3_E_NOT_FOUND, ENOENT, "not_found"},
                 {O3_E_LIMIT, 0, "too_large"},
                 {O3_E_IO, EIO, "io"},
                 {O3_E_CHANGED, 0, "io"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_string_equal(o3_publish_error_name(o3_publish_error_of_file(CASES[i].code, CASES[i].sys)),
                            CASES[i].name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_changes_are_one_write),
        cmocka_unit_test(changes_without_an_end_do_not_hold_the_first_one_up),
        cmocka_unit_test(a_burst_is_within_the_budget_and_its_last_value_arrives),
        cmocka_unit_test(what_fails_is_tried_with_growing_jittered_waits),
        cmocka_unit_test(a_place_that_is_not_wanted_any_more_is_left_alone),
        cmocka_unit_test(troubles_of_a_disk_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
