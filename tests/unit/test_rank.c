/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include "drift_state.h"
#include "drift/parts.h"
#include "o3/drift.h"
#include "o3/num.h"
#include "o3/rand.h"

#define LEVEL 40.0
#define START_MS INT64_C(1700000000000)
#define STEP_MS 60000

static struct o3_drift_params params(enum o3_drift_detector detector) {
    struct o3_drift_params p = o3_drift_params_default();
    p.detector = detector;
    return p;
}

static bool is_alarm(enum o3_drift_event ev) {
    return ev == O3_DRIFT_EV_SUSPECT || ev == O3_DRIFT_EV_CONFIRMED;
}

/* ---- e-values ---- */

/* All ranks are equally likely: the mean over them is the expectation. */
static void e_values_have_mean_one_for_every_window(void **state) {
    (void)state;
    for (int n = 1; n <= O3_RANK_WINDOW + 1; n++)
        for (int i = 0; i < 2 * O3_RANK_SHIFTS; i++) {
            double shift = i % 2 ? -o3_rank_shifts[i / 2] : o3_rank_shifts[i / 2], sum = 0;
            for (int k = 0; k < n; k++)
                sum += o3_rank_e_value(k, k + 1, n, shift);
            O3_ASSERT_NEAR(sum / n, 1, 1e-12);
        }
}

/* A group of t equal values is met t times as often. */
static void ties_keep_the_mean(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(3));
    for (int run = 0; run < 2000; run++) {
        int n = 1 + (int)o3_rand_below(&r, O3_RANK_WINDOW + 1), most = 1 + (int)o3_rand_below(&r, (uint64_t)n);
        double shift = o3_rank_shifts[o3_rand_below(&r, O3_RANK_SHIFTS)], sum = 0;
        for (int k = 0; k < n;) {
            int ties = 1 + (int)o3_rand_below(&r, (uint64_t)most);
            if (ties > n - k) ties = n - k;
            sum += ties * o3_rank_e_value(k, k + ties, n, shift);
            k += ties;
        }
        O3_ASSERT_NEAR(sum / n, 1, 1e-12);
    }
}

static void e_values_follow_the_rank(void **state) {
    (void)state;
    for (int n = 2; n <= O3_RANK_WINDOW + 1; n++)
        for (int i = 0; i < O3_RANK_SHIFTS; i++)
            for (int k = 0; k < n; k++) {
                double e = o3_rank_e_value(k, k + 1, n, o3_rank_shifts[i]);
                assert_true(e > 0);
                if (k > 0) assert_true(e > o3_rank_e_value(k - 1, k, n, o3_rank_shifts[i]));
                O3_ASSERT_NEAR(o3_rank_e_value(n - k - 1, n - k, n, -o3_rank_shifts[i]), e, 0);
            }
    /* N(2, 1) against N(0, 1), for a score above its 400 / 401 quantile of 2.807 */
    O3_ASSERT_NEAR(o3_rank_e_value(400, 401, 401, 2), 401 * 0.20987, 0.5);
}

/* The mean over all sequences of ranks, which are equally likely: M grows by 1 a sample. */
static void sums_grow_by_one_a_sample(void **state) {
    (void)state;
    enum { N = 7, SAMPLES = 5, SEQUENCES = 7 * 7 * 7 * 7 * 7 };
    double up = 0, down = 0;
    for (int sequence = 0; sequence < SEQUENCES; sequence++) {
        struct o3_rank rank;
        o3_rank_clear(&rank, 0);
        for (int i = 0, rest = sequence; i < SAMPLES; i++, rest /= N)
            o3_rank_add(&rank, rest % N, rest % N + 1, N, HUGE_VAL, i);
        up += o3_rank_sum(&rank, 1);
        down += o3_rank_sum(&rank, -1);
    }
    O3_ASSERT_NEAR(up / (double)SEQUENCES, SAMPLES, 1e-9);
    O3_ASSERT_NEAR(down / (double)SEQUENCES, SAMPLES, 1e-9);
}

/* ---- the detector ---- */

enum noise { GAUSS, T3, LOGNORMAL, OUTLIER, NOISES };

static double draw(enum noise kind, struct o3_rand *r) {
    double z = o3_rand_normal(r), sum = 0;
    if (kind == LOGNORMAL) return o3_exp(0.05 * z);
    if (kind == OUTLIER) return o3_exp(0.05 * z) * (o3_rand_uniform(r) < 0.03 ? 0.4 + 0.4 * o3_rand_uniform(r) : 1);
    if (kind == GAUSS) return 1 + 0.05 * z;
    for (int i = 0; i < 3; i++) {
        double x = o3_rand_normal(r);
        sum += x * x;
    }
    return fmax(0.01, 1 + 0.05 * z / sqrt(sum));
}

/* The proof is for infinitely many samples; tests/bench/rank_detector.c measures more of them, and larger budgets. */
static void false_alarms_stay_within_the_budget(void **state) {
    (void)state;
    enum { SAMPLES = 150000, ARL0 = 1440 };
    for (enum noise kind = 0; kind < NOISES; kind++) {
        struct o3_drift_params p = params(O3_DRIFT_BY_RANK);
        struct o3_rand r;
        p.arl0_samples = ARL0;
        p.min_effect = 0;
        struct o3_drift *d = o3_drift_new(&p);
        int alarms = 0;
        o3_rand_seed(&r, o3_test_seed(20 + (uint64_t)kind));
        for (int i = 0; i < SAMPLES; i++) {
            if (!is_alarm(o3_drift_add(d, LEVEL * draw(kind, &r), START_MS + STEP_MS * (int64_t)i, NULL))) continue;
            alarms++;
            o3_drift_reset(d);
        }
        assert_true(alarms > 0); /* 0 would be a test that watches nothing */
        assert_true(alarms <= SAMPLES / ARL0);
        o3_drift_free(d);
    }
}

struct found {
    int confirmed; /* number of confirmed changes */
    int64_t alarm, change, direction;
};

/* 300 quiet samples, 200 after a step. */
static struct found run_series(enum o3_drift_detector detector, double step, uint64_t seed) {
    struct o3_drift_params p = params(detector);
    struct o3_drift *d = o3_drift_new(&p);
    struct found f = {0};
    struct o3_rand r;
    o3_rand_seed(&r, seed);
    for (int i = 0; i < 500; i++) {
        struct o3_drift_report report;
        double value = LEVEL * draw(GAUSS, &r) * (i < 300 ? 1 : 1 + step);
        if (o3_drift_add(d, value, START_MS + STEP_MS * (int64_t)i, &report) != O3_DRIFT_EV_CONFIRMED) continue;
        f.confirmed++;
        f.alarm = i;
        f.change = report.change_index;
        f.direction = report.direction;
    }
    o3_drift_free(d);
    return f;
}

static bool agree(struct found a, struct found b, double step) {
    return a.confirmed == 1 && b.confirmed == 1 && a.direction == (step > 0 ? 1 : -1) && b.direction == a.direction &&
           llabs(b.change - a.change) <= 3 && llabs(b.alarm - a.alarm) <= 10;
}

static void both_detectors_find_the_same_changes(void **state) {
    (void)state;
    static const double STEPS[] = {-0.3, -0.2, -0.1, 0.1, 0.2, 0.3, 0, 0};
    enum { CASES = sizeof STEPS / sizeof *STEPS, SEEDS = 10 };
    uint64_t first = o3_test_seed(50);
    int n_agree = 0, by_chance = 0;
    for (uint64_t run = 0; run < CASES * SEEDS; run++) {
        double step = STEPS[run % CASES];
        struct found a = run_series(O3_DRIFT_BY_CUSUM, step, first + run);
        struct found b = run_series(O3_DRIFT_BY_RANK, step, first + run);
        if (step == 0)
            by_chance += a.confirmed + b.confirmed;
        else
            n_agree += agree(a, b, step);
    }
    /* a false alarm of one of them before the step may spoil a series */
    assert_in_range(n_agree, 58, 60);
    assert_in_range(by_chance, 0, 1); /* in 20,000 samples without a change, at one in 43,200 */
}

/* A quiet series with a fall, a return, a dip and a lasting rise. */
static double script(int i, struct o3_rand *r) {
    double level = i >= 250 && i < 300 ? 0.85 : i >= 400 && i < 405 ? 0.7 : i >= 500 ? 1.15 : 1;
    return LEVEL * level * (1 + 0.03 * o3_rand_normal(r));
}

static void scale_and_inversion_change_nothing(void **state) {
    (void)state;
    struct o3_drift_params p = params(O3_DRIFT_BY_RANK);
    struct o3_drift *d = o3_drift_new(&p), *scaled = o3_drift_new(&p), *inverse = o3_drift_new(&p);
    struct o3_rand r;
    int alarms = 0;
    o3_rand_seed(&r, o3_test_seed(7));
    for (int i = 0; i < 800; i++) {
        struct o3_drift_report a, b, c;
        double x = script(i, &r);
        int64_t wall_ms = START_MS + STEP_MS * (int64_t)i;
        enum o3_drift_event ev = o3_drift_add(d, x, wall_ms, &a);
        assert_int_equal(o3_drift_add(scaled, 3 * x, wall_ms, &b), ev);
        assert_int_equal(o3_drift_add(inverse, 1 / x, wall_ms, &c), ev);
        assert_int_equal(b.direction, a.direction);
        assert_int_equal(c.direction, -a.direction);
        assert_int_equal(b.change_index, a.change_index);
        assert_int_equal(c.change_index, a.change_index);
        alarms += is_alarm(ev);
    }
    assert_true(alarms >= 3);
    o3_drift_free(d);
    o3_drift_free(scaled);
    o3_drift_free(inverse);
}

static void restart_anywhere_changes_nothing(void **state) {
    (void)state;
    struct o3_drift_params p = params(O3_DRIFT_BY_RANK);
    struct o3_drift *whole = o3_drift_new(&p), *restarted = o3_drift_new(&p);
    struct o3_rand r;
    int seen[O3_DRIFT_EV_RECOVERED + 1] = {0};
    o3_rand_seed(&r, o3_test_seed(8));
    for (int i = 0; i < 800; i++) {
        struct o3_drift_report a, b;
        struct o3_err e;
        size_t n, m;
        double x = script(i, &r);
        int64_t wall_ms = START_MS + STEP_MS * (int64_t)i + (i * 7919) % 20000;
        if (i % 100 == 99) {
            o3_drift_mark_gap(whole);
            o3_drift_mark_gap(restarted);
        }
        if (i == 540) {
            o3_drift_acknowledge(whole);
            o3_drift_acknowledge(restarted);
        }
        enum o3_drift_event ev = o3_drift_add(whole, x, wall_ms, &a);
        assert_int_equal(o3_drift_add(restarted, x, wall_ms, &b), ev);
        assert_memory_equal(&a, &b, sizeof a);
        seen[ev]++;
        char *text = encoded(restarted, &n), *want = encoded(whole, &m);
        assert_string_equal(text, want);
        o3_drift_free(restarted);
        assert_int_equal(o3_drift_decode(text, n, &restarted, &e), 0);
        free(text);
        free(want);
    }
    for (int ev = 0; ev <= O3_DRIFT_EV_RECOVERED; ev++)
        assert_true(seen[ev] > 0);
    o3_drift_free(whole);
    o3_drift_free(restarted);
}

static double statistic_of(const struct o3_drift *d) {
    struct o3_drift_view view;
    o3_drift_view(d, &view);
    assert_true(view.statistic >= 0 && view.statistic <= O3_DRIFT_CAP);
    return view.statistic;
}

/* A change is compared with what was before it, not with itself; the samples of one that healed are no reference. */
static void samples_of_a_change_are_no_reference(void **state) {
    (void)state;
    struct o3_drift_params p = params(O3_DRIFT_BY_RANK);
    struct o3_drift *d = o3_drift_new(&p);
    struct o3_rand r;
    int recovered = 0, confirmed = 0;
    o3_rand_seed(&r, o3_test_seed(9));
    for (int i = 0; i < 900; i++) { /* 100 samples lower, 100 as before, and again */
        bool lower = i >= 300 && i / 100 % 2;
        enum o3_drift_event ev = o3_drift_add(d, LEVEL * (lower ? 0.85 : 1) * draw(GAUSS, &r),
                                              START_MS + STEP_MS * (int64_t)i, NULL);
        confirmed += ev == O3_DRIFT_EV_CONFIRMED;
        recovered += ev == O3_DRIFT_EV_RECOVERED;
    }
    assert_int_equal(confirmed, 3);
    assert_int_equal(recovered, 3);
    o3_drift_free(d);
}

/* A lasting change below the minimum effect is shown, not alerted. */
static void small_changes_are_shown(void **state) {
    (void)state;
    struct o3_drift_params p = params(O3_DRIFT_BY_RANK);
    struct o3_drift *d = o3_drift_new(&p);
    struct o3_rand r;
    int confirmed = 0, above = 0;
    o3_rand_seed(&r, o3_test_seed(10));
    for (int i = 0; i < 600; i++) {
        double value = LEVEL * (i < 300 ? 1 : 1.02) * (1 + 0.012 * o3_rand_normal(&r));
        confirmed += o3_drift_add(d, value, START_MS + STEP_MS * (int64_t)i, NULL) == O3_DRIFT_EV_CONFIRMED;
        above += i >= 400 && statistic_of(d) >= 1;
    }
    assert_int_equal(confirmed, 0);
    assert_in_range(above, 180, 200);
    o3_drift_free(d);
}

static int feed_level(struct o3_drift *d, struct o3_rand *r, double level, int n, enum o3_drift_event what) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        struct o3_drift_view view;
        o3_drift_view(d, &view);
        double value = LEVEL * level * (1 + 0.012 * o3_rand_normal(r));
        count += o3_drift_add(d, value, START_MS + STEP_MS * view.n_samples, NULL) == what;
    }
    return count;
}

/* Not even when it lasts longer than the ring; and when it is over, ranks judge again. */
static void small_changes_are_not_absorbed(void **state) {
    (void)state;
    struct o3_drift_params p = params(O3_DRIFT_BY_RANK);
    struct o3_drift *d = o3_drift_new(&p);
    struct o3_drift_view view;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(13));
    feed_level(d, &r, 1, 300, O3_DRIFT_EV_NONE);
    assert_int_equal(feed_level(d, &r, 1.02, 2000, O3_DRIFT_EV_CONFIRMED), 0);
    o3_drift_view(d, &view);
    O3_ASSERT_NEAR(view.baseline, LEVEL, 0.2);
    assert_true(view.statistic >= 1 && d->rank.is_worn);
    feed_level(d, &r, 1, 300, O3_DRIFT_EV_NONE);
    assert_true(statistic_of(d) < 1 && !d->rank.is_worn);
    assert_int_equal(feed_level(d, &r, 0.93, 30, O3_DRIFT_EV_CONFIRMED), 1);
    o3_drift_free(d);
}

static void odd_values_are_survived(void **state) {
    (void)state;
    static const double ODD[] = {40, 40, 44, 1e-300, 1e300, 40, 5e-324, (double)NAN, 0, -1, 40.0001};
    struct o3_drift_params p = params(O3_DRIFT_BY_RANK);
    p.arl0_samples = 1e9;
    p.min_effect = 0;
    struct o3_drift *d = o3_drift_new(&p);
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(11));
    for (int i = 0; i < 3000; i++) {
        double value = i < 1000 ? 40 : i < 2000 ? ODD[o3_rand_below(&r, 3)] : ODD[o3_rand_below(&r, 11)];
        enum o3_drift_event ev = o3_drift_add(d, value, i % 50 ? START_MS + STEP_MS * (int64_t)i : INT64_MIN, NULL);
        assert_false(i < 2000 && is_alarm(ev)); /* a constant, and two values at random */
        if (i < 1000) O3_ASSERT_NEAR(statistic_of(d), 0, 0);
        statistic_of(d);
    }
    o3_drift_free(d);
}

static void damaged_states_are_refused(void **state) {
    (void)state;
    struct o3_drift_params p = params(O3_DRIFT_BY_RANK);
    struct o3_drift *d = o3_drift_new(&p), *bad;
    struct o3_rand r;
    struct o3_err e;
    size_t n;
    o3_rand_seed(&r, o3_test_seed(12));
    for (int i = 0; i < 60; i++)
        o3_drift_add(d, script(i, &r), START_MS + STEP_MS * (int64_t)i, NULL);
    char *text = encoded(d, &n);
    for (int i = 0; i < 2000; i++) { /* whatever passes must work */
        char *copy = strdup(text);
        copy[o3_rand_below(&r, n)] = (char)('-' + (char)o3_rand_below(&r, 75));
        if (o3_drift_decode(copy, n, &bad, &e) == 0) {
            for (int k = 0; k < 20; k++)
                o3_drift_add(bad, LEVEL + k, START_MS + STEP_MS * (int64_t)k, NULL);
            o3_drift_free(bad);
        }
        free(copy);
    }
    char *rank = strstr(text, "rank");
    memcpy(rank, "rang", 4);
    assert_int_equal(o3_drift_decode(text, n, &bad, &e), O3_E_PARSE);
    free(text);
    o3_drift_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(e_values_have_mean_one_for_every_window),
        cmocka_unit_test(ties_keep_the_mean),
        cmocka_unit_test(e_values_follow_the_rank),
        cmocka_unit_test(sums_grow_by_one_a_sample),
        cmocka_unit_test(false_alarms_stay_within_the_budget),
        cmocka_unit_test(both_detectors_find_the_same_changes),
        cmocka_unit_test(scale_and_inversion_change_nothing),
        cmocka_unit_test(restart_anywhere_changes_nothing),
        cmocka_unit_test(samples_of_a_change_are_no_reference),
        cmocka_unit_test(small_changes_are_shown),
        cmocka_unit_test(small_changes_are_not_absorbed),
        cmocka_unit_test(odd_values_are_survived),
        cmocka_unit_test(damaged_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
