/* SPDX-License-Identifier: Apache-2.0 */
/* Why it changed, by the judge: a machine that begins to slow itself down has changed, one that always did so now and
 * then has two normal speeds; and a small change is sure only hours later. */
#include "judge_rig.h"

struct told {
    int n_confirmed, n_opened, n_closed;
    struct o3_incident incident;
};

static void on_verdict(void *ctx, const struct o3_verdict *v) {
    struct told *t = ctx;
    t->n_confirmed += v->report.event == O3_DRIFT_EV_CONFIRMED && v->signal == O3_SIGNAL_DECODE_RATE;
}

static void on_incident(void *ctx, const struct o3_incident *i, enum o3_incident_change change) {
    struct told *t = ctx;
    t->n_opened += change == O3_INCIDENT_OPENED;
    t->n_closed += change == O3_INCIDENT_CLOSED;
    t->incident = *i;
}

static struct o3_judge *judge_new(struct told *t) {
    return judge_with(judge_params(), (struct o3_judge_ops){.ctx = t, .verdict = on_verdict, .incident = on_incident});
}

struct source {
    struct o3_rand rand;
    int64_t n;
};

static struct o3_sample sample_of(struct source *w, bool is_throttled, double noise) {
    struct o3_sample s = judge_sample(w->n++);
    s.decode_tps = (is_throttled ? 20 : 45) * judge_noise(&w->rand, noise);
    s.size_bytes = GIB;
    s.vram_bytes = 0;
    s.flags = is_throttled ? O3_SAMPLE_THROTTLED : 0;
    s.around.n_throttled = is_throttled ? 4 : 0;
    return s;
}

static void add(struct o3_judge *j, struct source *w, bool is_throttled) {
    struct o3_sample s = sample_of(w, is_throttled, 0.02);
    o3_judge_add(j, &s);
}

static void a_new_throttle_is_told_with_its_cause(void **state) {
    (void)state;
    struct told t = {0};
    struct source w = {.n = 0};
    o3_rand_seed(&w.rand, o3_test_seed(5));
    struct o3_judge *j = judge_new(&t);
    for (int i = 0; i < 200; i++)
        add(j, &w, false);
    assert_int_equal(t.n_opened, 0);
    for (int i = 0; i < 200; i++)
        add(j, &w, true);
    assert_int_equal(t.n_confirmed, 1);
    assert_int_equal(t.n_opened, 1);
    assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_THROTTLING);
    assert_true(t.incident.is_open); /* the new level got a baseline, and is not absorbed by it */
    for (int i = 0; i < 200; i++)
        add(j, &w, false);
    assert_int_equal(t.n_closed, 1);
    /* It is no less of a change the second time. */
    for (int i = 0; i < 200; i++)
        add(j, &w, true);
    assert_int_equal(t.n_opened, 2);
    assert_true(t.incident.is_open);
    o3_judge_free(j);
}

/* A third of the time, twenty minutes in an hour. */
static void throttling_that_comes_and_goes_is_told(void **state) {
    (void)state;
    struct told t = {0};
    struct source w = {.n = 0};
    o3_rand_seed(&w.rand, o3_test_seed(9));
    struct o3_judge *j = judge_new(&t);
    for (int i = 0; i < 20; i++)
        add(j, &w, i == 11); /* once while it learns: no habit */
    for (int i = 0; i < 300; i++)
        add(j, &w, false);
    assert_int_equal(t.n_opened, 0);
    for (int i = 0; i < 600; i++)
        add(j, &w, i % 60 < 20);
    assert_true(t.n_opened >= 2);
    assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_THROTTLING);
    o3_judge_free(j);
}

/* Stays of five minutes in the mean, three tenths of the time: told while nothing like them is known. */
static void short_stays_are_told_mostly(void **state) {
    (void)state;
    enum { RUNS = 20 };
    int n_told = 0, n_named = 0;
    uint64_t seed = o3_test_seed(30);
    for (uint64_t run = 0; run < RUNS; run++) {
        struct told t = {0};
        struct source w = {.n = 0};
        bool is_throttled = false;
        o3_rand_seed(&w.rand, seed + run);
        struct o3_judge *j = judge_new(&t);
        for (int i = 0; i < 1000; i++)
            add(j, &w, false);
        assert_int_equal(t.n_opened, 0);
        for (int i = 0; i < 480; i++) {
            double change = o3_rand_uniform(&w.rand);
            is_throttled = is_throttled ? change > 1.0 / 5 : change < 0.3 / 0.7 / 5;
            add(j, &w, is_throttled);
        }
        n_told += t.n_opened > 0;
        n_named += t.n_opened > 0 && t.incident.cause[0].cause == O3_CAUSE_THROTTLING;
        o3_judge_free(j);
    }
    print_message("of %d machines %d were told within eight hours, %d of them with the cause\n", RUNS, n_told, n_named);
    assert_true(n_told > RUNS / 2);
    assert_true(n_named >= n_told - 1);
}

/* A container whose quota always runs out knows no other speed; that one is judged. */
static void one_that_always_throttles_is_judged_by_that(void **state) {
    (void)state;
    struct told t = {0};
    struct source w = {.n = 0};
    o3_rand_seed(&w.rand, o3_test_seed(10));
    struct o3_judge *j = judge_new(&t);
    for (int i = 0; i < 300; i++)
        add(j, &w, true);
    assert_false(o3_judge_is_learning(j, MODEL, O3_SIGNAL_DECODE_RATE));
    assert_int_equal(t.n_opened, 0);
    for (int i = 0; i < 60; i++) {
        struct o3_sample s = sample_of(&w, true, 0.02);
        s.decode_tps *= 0.8;
        o3_judge_add(j, &s);
    }
    assert_int_equal(t.n_opened, 1);
    o3_judge_free(j);
}

static void one_that_always_throttles_now_and_then_is_normal(void **state) {
    (void)state;
    struct told t = {0};
    struct source w = {.n = 0};
    o3_rand_seed(&w.rand, o3_test_seed(6));
    struct o3_judge *j = judge_new(&t);
    for (int i = 0; i < 2000; i++)
        add(j, &w, i % 40 >= 20); /* both baselines stand after an hour or so */
    assert_int_equal(t.n_opened, 0);
    o3_judge_free(j);
}

/* Samples from the change until it was told; 0 when that came before it. */
static int small_change(uint64_t seed, enum o3_cause *ret_cause) {
    enum { BEFORE = 1500, MOST = 9000 };
    struct told t = {0};
    struct source w = {.n = 0};
    o3_rand_seed(&w.rand, seed);
    struct o3_judge *j = judge_new(&t);
    int n = 0;
    for (; t.n_opened == 0 && n < MOST; n++) {
        bool is_slow = n >= BEFORE;
        struct o3_sample s = sample_of(&w, false, 0.3);
        if (is_slow) s.decode_tps *= 0.88;
        s.around.pressure_memory = is_slow ? 0.4 : 0;
        o3_judge_add(j, &s);
    }
    *ret_cause = t.n_opened ? t.incident.cause[0].cause : O3_CAUSE_UNKNOWN;
    o3_judge_free(j);
    return n > BEFORE ? n - BEFORE : 0;
}

/* It takes hours until a small change is sure, and what was before it must not be forgotten by then. */
static void causes_of_small_changes_are_found(void **state) {
    (void)state;
    enum { RUNS = 40, LONG = 160, LONGEST = 500 }; /* longer ones are dated too late by a detector that keeps 512 */
    uint64_t seed = o3_test_seed(8);
    int n_long = 0, n_found = 0;
    for (uint64_t i = 0; i < RUNS; i++) {
        enum o3_cause cause;
        int n = small_change(seed + i, &cause);
        bool is_long = n >= LONG && n <= LONGEST;
        n_long += is_long;
        n_found += is_long && cause == O3_CAUSE_HOST_PRESSURE;
    }
    print_message("of %d changes %d were told after %d samples or more, %d of them with their cause\n", RUNS, n_long,
                  LONG, n_found);
    assert_true(n_long >= 5);
    assert_true(n_found >= n_long - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_throttle_is_told_with_its_cause),
        cmocka_unit_test(causes_of_small_changes_are_found),
        cmocka_unit_test(one_that_always_throttles_now_and_then_is_normal),
        cmocka_unit_test(one_that_always_throttles_is_judged_by_that),
        cmocka_unit_test(throttling_that_comes_and_goes_is_told),
        cmocka_unit_test(short_stays_are_told_mostly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
