/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include "drift/success_parts.h"
#include "o3/rand.h"

#define START_MS INT64_C(1700000000000)
#define STEP_MS 60000

struct rig {
    struct o3_success *s;
    struct o3_rand rand;
    int64_t fed, step_ms;
    struct o3_drift_report last; /* of the last event other than NONE */
};

static void rig_init(struct rig *rig, uint64_t seed) {
    struct o3_success_params p = o3_success_params_default();
    *rig = (struct rig){.s = o3_success_new(&p), .step_ms = STEP_MS};
    assert_non_null(rig->s);
    o3_rand_seed(&rig->rand, seed);
}

static int64_t wall_of(int64_t index) {
    return START_MS + STEP_MS * index;
}

static enum o3_drift_event feed(struct rig *rig, bool success) {
    struct o3_drift_report report;
    enum o3_drift_event ev = o3_success_add(rig->s, success, START_MS + rig->step_ms * rig->fed++, &report);
    assert_int_equal(ev, report.event);
    if (ev) rig->last = report;
    return ev;
}

/* n attempts of the same outcome; how many of them gave the event. */
static int feed_same(struct rig *rig, bool success, int n, enum o3_drift_event what) {
    int count = 0;
    for (int i = 0; i < n; i++)
        count += feed(rig, success) == what;
    return count;
}

/* Number of the attempt that gives the event, or 0. */
static int feed_until(struct rig *rig, double failures, int n, enum o3_drift_event want) {
    for (int i = 1; i <= n; i++)
        if (feed(rig, o3_rand_uniform(&rig->rand) >= failures) == want) return i;
    return 0;
}

static enum o3_drift_state state_of(const struct rig *rig) {
    struct o3_drift_view view;
    o3_success_view(rig->s, &view);
    return view.state;
}

/* ---- walks ---- */

/* The equations of the run length, solved as they stand. */
static double solve_arl(struct o3_walk w, double p) {
    static double a[64][65];
    int n = w.limit;
    assert_true(n <= 64);
    memset(a, 0, sizeof a);
    for (int x = 0; x < n; x++) {
        int below = x - w.down < 0 ? 0 : x - w.down;
        a[x][x] += 1;
        a[x][below] -= 1 - p;
        if (x + w.up < n) a[x][x + w.up] -= p;
        a[x][n] = 1;
    }
    for (int i = n - 1; i >= 0; i--) /* from the top down to 0; the matrix is diagonally dominant */
        for (int r = 0; r < n; r++) {
            if (r == i) continue;
            double f = a[r][i] / a[i][i];
            for (int c = 0; c <= n; c++)
                a[r][c] -= f * a[i][c];
        }
    return a[0][n] / a[0][0];
}

static void run_length_solves_its_equations(void **state) {
    (void)state;
    static const struct {
        struct o3_walk w;
        double p;
    } CASES[] = {{{1, 1, 7}, 0.4},  {{4, 1, 20}, 0.1}, {{1, 9, 6}, 0.85}, {{9, 11, 40}, 0.5}, {{44, 1, 60}, 0.01},
                 {{1, 44, 9}, 0.9}, {{5, 3, 1}, 0.3},  {{2, 7, 13}, 0.6}, {{3, 2, 50}, 0.35}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        double want = solve_arl(CASES[i].w, CASES[i].p);
        O3_ASSERT_NEAR(o3_walk_arl(CASES[i].w, CASES[i].p), want, 1e-9 * want);
    }
}

/* Symmetric steps of 1: ARL = sum over 0..limit-1 of 2 (x + 1) at p = 1/2 with a floor that reflects in place. */
static void run_length_of_the_plain_walk_is_known(void **state) {
    (void)state;
    for (int limit = 1; limit < 200; limit++)
        O3_ASSERT_NEAR(o3_walk_arl((struct o3_walk){1, 1, limit}, 0.5), limit * (limit + 1.0), 1e-6);
}

static double simulate_arl(struct o3_walk w, double p, int runs, uint64_t seed) {
    struct o3_rand r;
    int64_t samples = 0;
    o3_rand_seed(&r, o3_test_seed(seed));
    for (int i = 0; i < runs; i++)
        for (int sum = 0; sum < w.limit; samples++) {
            sum += o3_rand_uniform(&r) < p ? w.up : -w.down;
            if (sum < 0) sum = 0;
        }
    return (double)samples / runs;
}

static void limits_keep_their_run_length(void **state) {
    (void)state;
    static const double SHARES[] = {0.001, 0.01, 0.05, 0.2, 0.5, 0.8};
    for (size_t i = 0; i < sizeof SHARES / sizeof *SHARES; i++) {
        double p = SHARES[i];
        struct o3_walk w = o3_walk_steps(p, p + 0.1);
        w.limit = o3_walk_limit(w, p, 1440);
        double arl = o3_walk_arl(w, p);
        assert_true(arl >= 1440);
        O3_ASSERT_NEAR(simulate_arl(w, p, 4000, i), arl, 0.06 * arl);
        w.limit--;
        assert_true(o3_walk_arl(w, p) < 1440);
    }
}

static void steps_fit_the_likelihoods(void **state) {
    (void)state;
    for (double p0 = 0.001; p0 < 0.94; p0 += 0.007) {
        struct o3_walk w = o3_walk_steps(p0, p0 + 0.05);
        double still = (double)w.down / (w.up + w.down);
        double absence = log((1 - p0) / (0.95 - p0)), both = log((p0 + 0.05) / p0) + absence;
        assert_true(w.up + w.down <= O3_WALK_STEPS_MAX);
        O3_ASSERT_NEAR(still, absence / both, 0.1 * 0.05);
    }
}

/* ---- verdicts ---- */

static void an_outage_is_suspect_after_three_and_confirmed_after_ten(void **state) {
    (void)state;
    struct rig rig;
    for (int healthy = 60; healthy <= 5000; healthy += 494) {
        rig_init(&rig, 1);
        assert_int_equal(feed_same(&rig, true, healthy, O3_DRIFT_EV_BASELINE), 1);
        int suspect = feed_until(&rig, 1, 20, O3_DRIFT_EV_SUSPECT);
        assert_in_range(suspect, 3, 4);
        assert_int_equal(rig.last.direction, -1);
        assert_int_equal(suspect + feed_until(&rig, 1, 20, O3_DRIFT_EV_CONFIRMED), 10);
        assert_int_equal(rig.last.change_index, healthy);
        assert_int_equal(rig.last.change_wall_ms, wall_of(healthy));
        assert_true(rig.last.change_lo_ms <= wall_of(healthy) && wall_of(healthy) <= rig.last.change_hi_ms);
        O3_ASSERT_NEAR(rig.last.level, 0, 0);
        assert_true(rig.last.change_lo >= -1 && rig.last.change_lo <= rig.last.change_ratio);
        assert_true(rig.last.change_ratio <= rig.last.change_hi && rig.last.change_hi < -0.1);
        o3_success_free(rig.s);
    }
}

static void single_failures_among_many_do_not_alarm(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    feed_same(&rig, true, 3000, O3_DRIFT_EV_NONE);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(feed(&rig, false), O3_DRIFT_EV_NONE);
        assert_int_equal(feed_same(&rig, true, 200, O3_DRIFT_EV_NONE), 200);
    }
    feed(&rig, false);
    assert_int_equal(feed(&rig, false), O3_DRIFT_EV_NONE);
    assert_int_equal(feed_same(&rig, true, 200, O3_DRIFT_EV_NONE), 200);
    o3_success_free(rig.s);
}

static void a_short_outage_goes_away(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    feed_same(&rig, true, 500, O3_DRIFT_EV_NONE);
    assert_int_equal(feed_same(&rig, false, 5, O3_DRIFT_EV_SUSPECT), 1);
    assert_int_equal(feed_same(&rig, true, 8, O3_DRIFT_EV_WENT_AWAY), 1);
    assert_int_equal(state_of(&rig), O3_DRIFT_STABLE);
    assert_int_equal(feed_same(&rig, true, 500, O3_DRIFT_EV_NONE), 500);
    o3_success_free(rig.s);
}

/* The prior is the statistic's own: people are told what was seen. */
static void the_reference_is_the_share_that_was_seen(void **state) {
    (void)state;
    struct rig rig;
    struct o3_drift_view view;
    rig_init(&rig, 1);
    assert_true(feed_until(&rig, 0, 60, O3_DRIFT_EV_BASELINE) > 0);
    O3_ASSERT_NEAR(rig.last.reference, 1, 0);
    feed_same(&rig, true, 200, O3_DRIFT_EV_NONE);
    o3_success_view(rig.s, &view);
    O3_ASSERT_NEAR(view.baseline, 1, 0);
    assert_true(view.baseline_sd > 0); /* of the statistic */
    assert_true(feed_until(&rig, 1, 20, O3_DRIFT_EV_CONFIRMED) > 0);
    O3_ASSERT_NEAR(rig.last.reference, 1, 0);
    O3_ASSERT_NEAR(rig.last.change_ratio, -1, 0);
    o3_success_view(rig.s, &view);
    O3_ASSERT_NEAR(view.change_ratio, -1, 0);
    o3_success_free(rig.s);
}

static void an_outage_recovers_to_the_old_reference(void **state) {
    (void)state;
    struct rig rig;
    struct o3_drift_view view;
    rig_init(&rig, 1);
    feed_same(&rig, true, 500, O3_DRIFT_EV_NONE);
    feed_same(&rig, false, 10, O3_DRIFT_EV_NONE);
    o3_success_view(rig.s, &view);
    double reference = view.baseline;
    feed_same(&rig, false, 1990, O3_DRIFT_EV_NONE);
    assert_int_equal(state_of(&rig), O3_DRIFT_CONFIRMED);
    o3_success_view(rig.s, &view);
    O3_ASSERT_NEAR(view.baseline, reference, 0); /* a lasting outage is not absorbed */
    O3_ASSERT_NEAR(view.change_ratio, -reference, 1e-12);
    assert_in_range(feed_until(&rig, 0, 30, O3_DRIFT_EV_RECOVERED), 10, 12);
    assert_int_equal(rig.last.change_index, 2500);
    assert_int_equal(rig.last.direction, -1);
    O3_ASSERT_NEAR(rig.last.level, 1, 0);
    assert_int_equal(state_of(&rig), O3_DRIFT_STABLE);
    o3_success_free(rig.s);
}

static void a_partial_outage_is_confirmed_and_does_not_flap(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 7);
    feed_same(&rig, true, 500, O3_DRIFT_EV_NONE);
    assert_true(feed_until(&rig, 0.3, 200, O3_DRIFT_EV_CONFIRMED) > 0);
    assert_int_equal(feed_until(&rig, 0.3, 2000, O3_DRIFT_EV_RECOVERED), 0);
    assert_true(feed_until(&rig, 0, 200, O3_DRIFT_EV_RECOVERED) > 10);
    o3_success_free(rig.s);
}

/* Learned while it was down: getting better is the change. */
static void successes_after_a_reference_of_failures_are_a_rise(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    feed_same(&rig, false, 300, O3_DRIFT_EV_NONE);
    assert_in_range(feed_until(&rig, 0, 20, O3_DRIFT_EV_SUSPECT), 3, 4);
    assert_int_equal(rig.last.direction, 1);
    assert_true(feed_until(&rig, 0, 20, O3_DRIFT_EV_CONFIRMED) > 0);
    O3_ASSERT_NEAR(rig.last.level, 1, 0);
    assert_true(rig.last.change_lo > 0.1);
    o3_success_free(rig.s);
}

/* Five attempts in half an hour are enough; five in five minutes are not. */
static void a_long_outage_with_few_attempts_is_confirmed(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    rig.step_ms = 6 * STEP_MS;
    feed_same(&rig, true, 500, O3_DRIFT_EV_NONE);
    assert_in_range(feed_until(&rig, 1, 20, O3_DRIFT_EV_SUSPECT), 3, 4);
    assert_int_equal(rig.last.n_since + feed_until(&rig, 1, 20, O3_DRIFT_EV_CONFIRMED), 5);
    o3_success_free(rig.s);
}

/* One failure in twenty is not 0.1 worse than one in fifty; the odd cluster of failures passes for it. */
static void small_changes_raise_few_alerts(void **state) {
    (void)state;
    int confirmed = 0, lost = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rig rig;
        rig_init(&rig, 100 + seed);
        lost += feed_until(&rig, 0.02, 1000, O3_DRIFT_EV_CONFIRMED) > 0;
        confirmed += feed_until(&rig, 0.05, 500, O3_DRIFT_EV_CONFIRMED) > 0;
        o3_success_free(rig.s);
    }
    assert_int_equal(lost, 0);
    assert_in_range(confirmed, 0, 5);
}

static void an_acknowledged_outage_is_the_new_reference(void **state) {
    (void)state;
    struct rig rig;
    struct o3_drift_view view;
    rig_init(&rig, 1);
    feed_same(&rig, true, 500, O3_DRIFT_EV_NONE);
    feed_same(&rig, false, 40, O3_DRIFT_EV_NONE);
    o3_success_acknowledge(rig.s);
    o3_success_view(rig.s, &view);
    assert_int_equal(view.state, O3_DRIFT_STABLE);
    assert_int_equal(view.baseline_n, 40);
    O3_ASSERT_NEAR(view.baseline, 0, 0);
    assert_int_equal(feed_same(&rig, false, 500, O3_DRIFT_EV_NONE), 500);
    /* with fewer attempts than a reference needs, it goes on learning from the change */
    assert_true(feed_until(&rig, 0, 30, O3_DRIFT_EV_CONFIRMED) > 0);
    int64_t since = rig.last.n_since;
    o3_success_acknowledge(rig.s);
    assert_int_equal(state_of(&rig), O3_DRIFT_LEARNING);
    assert_int_equal(since + feed_until(&rig, 0, 30, O3_DRIFT_EV_BASELINE), 30);
    o3_success_free(rig.s);
}

static void a_reset_forgets_all_but_the_counter(void **state) {
    (void)state;
    struct rig rig;
    struct o3_drift_view view;
    rig_init(&rig, 1);
    feed_same(&rig, true, 500, O3_DRIFT_EV_NONE);
    feed_same(&rig, false, 40, O3_DRIFT_EV_NONE);
    o3_success_reset(rig.s);
    o3_success_view(rig.s, &view);
    assert_int_equal(view.state, O3_DRIFT_LEARNING);
    assert_int_equal(view.n_samples, 540);
    assert_int_equal(view.baseline_n, 0);
    assert_int_equal(view.n_recent, 0);
    assert_true(isnan(view.baseline) && isnan(view.recent_median));
    assert_int_equal(feed_same(&rig, false, 100, O3_DRIFT_EV_BASELINE), 1);
    o3_success_free(rig.s);
}

/* At 1,440 instead of a number that takes minutes; tests/bench/calibrate_success.c measures the others. */
static void false_alarms_stay_within_the_budget(void **state) {
    (void)state;
    static const double SHARES[] = {0.001, 0.01, 0.05, 0.2, 0.5};
    struct o3_success_params p = o3_success_params_default();
    p.arl0_samples = 1440;
    p.min_change = 0;
    for (size_t i = 0; i < sizeof SHARES / sizeof *SHARES; i++) {
        struct o3_success *s = o3_success_new(&p);
        struct o3_rand r;
        int alarms = 0, samples = 300000;
        o3_rand_seed(&r, o3_test_seed(i));
        for (int n = 0; n < samples; n++) {
            enum o3_drift_event ev = o3_success_add(s, o3_rand_uniform(&r) >= SHARES[i], wall_of(n), NULL);
            if (ev != O3_DRIFT_EV_SUSPECT && ev != O3_DRIFT_EV_CONFIRMED) continue;
            alarms++;
            o3_success_reset(s);
        }
        assert_true(alarms <= samples / 1440);
        o3_success_free(s);
    }
}

/* ---- state ---- */

/* Healthy, an outage, back, a partial one, worse, back: every state and event. */
static bool script(int i, struct o3_rand *r) {
    double u = o3_rand_uniform(r);
    if (i >= 200 && i < 230) return false;
    if (i >= 300 && i < 500) return u >= 0.4;
    if (i >= 900 && i < 905) return false;
    return u >= 0.01;
}

static void encode(const struct o3_success *s, struct o3_buf *out) {
    o3_buf_init(out, 8 * 1024);
    assert_int_equal(o3_success_encode(s, out), 0);
}

static void restart_anywhere_changes_nothing(void **state) {
    (void)state;
    enum { N = 1100 };
    struct o3_success_params p = o3_success_params_default();
    struct o3_success *straight = o3_success_new(&p), *restarted = o3_success_new(&p);
    struct o3_rand r;
    int seen[O3_DRIFT_EV_RECOVERED + 1] = {0};
    o3_rand_seed(&r, o3_test_seed(11));
    for (int i = 0; i < N; i++) {
        struct o3_drift_report a, b;
        bool success = script(i, &r);
        int64_t wall_ms = wall_of(i) + (i % 97 == 0 ? -3600000 : i % 41);
        enum o3_drift_event ev = o3_success_add(straight, success, wall_ms, &a);
        assert_int_equal(o3_success_add(restarted, success, wall_ms, &b), ev);
        assert_memory_equal(&a, &b, sizeof a);
        seen[ev]++;
        struct o3_buf x, y;
        encode(straight, &x);
        encode(restarted, &y);
        assert_string_equal(o3_buf_str(&x), o3_buf_str(&y));
        o3_success_free(restarted);
        struct o3_err e;
        assert_int_equal(o3_success_decode(o3_buf_str(&y), y.len, &restarted, &e), 0);
        o3_buf_done(&x);
        o3_buf_done(&y);
    }
    for (int ev = 0; ev <= O3_DRIFT_EV_RECOVERED; ev++)
        assert_true(seen[ev] > 0);
    o3_success_free(straight);
    o3_success_free(restarted);
}

static void damaged_states_are_refused(void **state) {
    (void)state;
    struct rig rig;
    struct o3_buf good;
    rig_init(&rig, 2);
    feed_until(&rig, 0.02, 100, O3_DRIFT_EV_CONFIRMED);
    feed_same(&rig, false, 30, O3_DRIFT_EV_NONE);
    encode(rig.s, &good);
    struct o3_success *s;
    struct o3_err e;
    for (size_t n = 0; n + 1 < good.len; n++) { /* the last byte is a newline */
        assert_int_equal(o3_success_decode(good.p, n, &s, &e), O3_E_PARSE);
        assert_null(s);
    }
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(12));
    for (int i = 0; i < 3000; i++) { /* whatever passes must work */
        char *bad = strdup(good.p);
        bad[o3_rand_below(&r, good.len)] = (char)('-' + (char)o3_rand_below(&r, 75));
        if (o3_success_decode(bad, good.len, &s, &e) == 0) {
            for (int k = 0; k < 50; k++)
                o3_success_add(s, k % 3, wall_of(k), NULL);
            o3_success_free(s);
        }
        free(bad);
    }
    assert_int_equal(o3_success_decode("o3success 2\n", 12, &s, &e), O3_E_STORE_NEWER);
    o3_buf_done(&good);
    o3_success_free(rig.s);
}

static void extreme_times_and_parameters_are_survived(void **state) {
    (void)state;
    struct o3_success_params p = {
        .arl0_samples = (double)NAN, .n0 = -5, .confirm_samples = 1 << 30, .min_change = HUGE_VAL, .confirm_ms = -1};
    struct o3_success *s = o3_success_new(&p);
    for (int i = 0; i < 2000; i++)
        o3_success_add(s, i % 500 < 250, i % 2 ? INT64_MAX : INT64_MIN, NULL);
    o3_success_free(s);
    assert_true(o3_success_size() < 2048);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_length_solves_its_equations),
        cmocka_unit_test(run_length_of_the_plain_walk_is_known),
        cmocka_unit_test(limits_keep_their_run_length),
        cmocka_unit_test(steps_fit_the_likelihoods),
        cmocka_unit_test(an_outage_is_suspect_after_three_and_confirmed_after_ten),
        cmocka_unit_test(single_failures_among_many_do_not_alarm),
        cmocka_unit_test(a_short_outage_goes_away),
        cmocka_unit_test(the_reference_is_the_share_that_was_seen),
        cmocka_unit_test(an_outage_recovers_to_the_old_reference),
        cmocka_unit_test(a_partial_outage_is_confirmed_and_does_not_flap),
        cmocka_unit_test(successes_after_a_reference_of_failures_are_a_rise),
        cmocka_unit_test(a_long_outage_with_few_attempts_is_confirmed),
        cmocka_unit_test(small_changes_raise_few_alerts),
        cmocka_unit_test(an_acknowledged_outage_is_the_new_reference),
        cmocka_unit_test(a_reset_forgets_all_but_the_counter),
        cmocka_unit_test(false_alarms_stay_within_the_budget),
        cmocka_unit_test(restart_anywhere_changes_nothing),
        cmocka_unit_test(damaged_states_are_refused),
        cmocka_unit_test(extreme_times_and_parameters_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
