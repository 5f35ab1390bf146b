/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include "drift_state.h"
#include "drift/parts.h"
#include "o3/drift.h"
#include "o3/rand.h"
#include "o3/stat.h"

#define LEVEL 40.0
#define START_MS INT64_C(1700000000000)
#define STEP_MS 60000
#define REPEATS 60

/* A detector fed with Gaussian noise around a level, one sample a minute. */
struct rig {
    struct o3_drift *d;
    struct o3_rand rand;
    int64_t fed;
    struct o3_drift_report last; /* of the last event other than NONE */
};

static void rig_init(struct rig *rig, const struct o3_drift_params *p, uint64_t seed) {
    struct o3_drift_params plain = o3_drift_params_default();
    *rig = (struct rig){.d = o3_drift_new(p ? p : &plain)};
    assert_non_null(rig->d);
    o3_rand_seed(&rig->rand, seed);
}

static void rig_done(struct rig *rig) {
    o3_drift_free(rig->d);
}

static enum o3_drift_event feed_value(struct rig *rig, double value) {
    struct o3_drift_report report;
    enum o3_drift_event ev = o3_drift_add(rig->d, value, START_MS + STEP_MS * rig->fed++, &report);
    assert_int_equal(ev, report.event);
    if (ev) rig->last = report;
    return ev;
}

static enum o3_drift_event feed(struct rig *rig, double level, double cv) {
    return feed_value(rig, level * (1 + cv * o3_rand_normal(&rig->rand)));
}

/* Counts the samples up to the first event `want`; 0 when it does not come within n. */
static int feed_until(struct rig *rig, double level, double cv, int n, enum o3_drift_event want) {
    for (int i = 1; i <= n; i++)
        if (feed(rig, level, cv) == want) return i;
    return 0;
}

static int feed_and_count(struct rig *rig, double level, double cv, int n, enum o3_drift_event what) {
    int count = 0;
    for (int i = 0; i < n; i++)
        count += feed(rig, level, cv) == what;
    return count;
}

static enum o3_drift_state state_of(const struct rig *rig) {
    struct o3_drift_view view;
    o3_drift_view(rig->d, &view);
    return view.state;
}

/* n quiet samples that end STABLE: the rare false alarm of a seed starts the series over. */
static void feed_quiet(struct rig *rig, double cv, int n) {
    do {
        o3_drift_reset(rig->d);
        feed_and_count(rig, LEVEL, cv, n, O3_DRIFT_EV_NONE);
    } while (state_of(rig) != O3_DRIFT_STABLE);
}

/* ---- parts ---- */

static void siegmund_is_inverted(void **state) {
    (void)state;
    /* b = 2 x 0.5 x (5 + 1.166): (e^b - b - 1) / 0.5 */
    double arl0 = (exp(6.166) - 6.166 - 1) / 0.5;
    O3_ASSERT_NEAR(o3_drift_siegmund_h(0.5, arl0), 5, 1e-9);
}

static void thresholds_grow_with_arl0(void **state) {
    (void)state;
    double before[O3_DRIFT_BANK] = {0}, h[O3_DRIFT_BANK];
    for (double arl0 = 100; arl0 < 1e9; arl0 *= 1.3) {
        o3_drift_thresholds(o3_drift_nominal_arl0(arl0), h);
        for (int i = 0; i < O3_DRIFT_BANK; i++) {
            assert_true(h[i] > before[i] || h[i] == 2);
            before[i] = h[i];
        }
        assert_true(h[0] >= h[1] && h[1] >= h[2]);
    }
}

/* Mean run length of the textbook two-sided CUSUM, k 0.5, h 5, on N(shift, 1). */
static double plain_run_length(struct o3_rand *r, double shift, int runs) {
    int64_t samples = 0;
    for (int i = 0; i < runs; i++) {
        struct o3_cusum up = {0}, down = {0};
        while (up.sum <= 5 && down.sum <= 5) {
            double z = shift + o3_rand_normal(r);
            o3_cusum_add(&up, z, 0.5, samples);
            o3_cusum_add(&down, -z, 0.5, samples);
            samples++;
        }
    }
    return (double)samples / runs;
}

static void plain_cusum_has_textbook_run_lengths(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(465));
    O3_ASSERT_NEAR(plain_run_length(&r, 0, 20000), 465.4, 0.03 * 465.4);
    O3_ASSERT_NEAR(plain_run_length(&r, 1, 20000), 10.38, 0.03 * 10.38);
}

static void cusum_dates_its_last_zero(void **state) {
    (void)state;
    struct o3_cusum c = {0};
    o3_cusum_add(&c, -3, 0.5, 0);
    assert_int_equal(c.start, 1);
    o3_cusum_add(&c, 2, 0.5, 1);
    o3_cusum_add(&c, 1, 0.5, 2);
    O3_ASSERT_NEAR(c.sum, 2, 1e-12);
    assert_int_equal(c.start, 1);
    o3_cusum_add(&c, -9, 0.5, 3);
    O3_ASSERT_NEAR(c.sum, 0, 0);
    assert_int_equal(c.start, 4);
}

static void baseline_fit_resists_outliers(void **state) {
    (void)state;
    struct o3_drift_pair y[100];
    struct o3_drift_baseline b;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(5));
    for (int i = 0; i < 100; i++)
        y[i] = (struct o3_drift_pair){.now = i % 20 ? 3 + 0.05 * o3_rand_normal(&r) : 1, .dt = 1, .has_before = i > 0};
    for (int i = 1; i < 100; i++)
        y[i].before = y[i - 1].now;
    o3_drift_baseline_fit(&b, y, 100);
    O3_ASSERT_NEAR(b.mean, 3, 0.025);
    O3_ASSERT_NEAR(sqrt(b.var), 0.06, 0.025);
    assert_int_equal(b.n, 100);
}

static void baseline_learns_autocorrelation(void **state) {
    (void)state;
    struct o3_drift_baseline b = {.mean = 0.1, .var = 0.01, .n = 30};
    struct o3_drift_pair y = {.dt = 1, .has_before = true};
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(6));
    for (int i = 0; i < 20000; i++) {
        y.before = y.now;
        y.now = 0.5 * y.before + sqrt(0.75) * 0.2 * o3_rand_normal(&r);
        o3_drift_baseline_learn(&b, y);
    }
    O3_ASSERT_NEAR(b.mean, 0, 0.04);
    O3_ASSERT_NEAR(sqrt(b.var), 0.2, 0.02);
    O3_ASSERT_NEAR(o3_drift_baseline_rho(&b), 0.5 + 1 / sqrt(1000), 0.08);
}

static void score_is_clipped_and_odd(void **state) {
    (void)state;
    struct o3_drift_baseline b = {.mean = 2, .var = 0.01, .cov = 0, .spacing = 1, .n = 100, .n_pairs = 100};
    struct o3_drift_pair up = {.now = 2.1, .dt = 1}, down = {.now = 1.9, .dt = 1}, far = {.now = 700, .dt = 1};
    O3_ASSERT_NEAR(o3_drift_score(&b, up, 0), 0.99, 0.02);
    O3_ASSERT_NEAR(o3_drift_score(&b, up, 0) + o3_drift_score(&b, down, 0), 0, 1e-12);
    O3_ASSERT_NEAR(o3_drift_score(&b, up, 0.1), 0, 1e-12);
    O3_ASSERT_NEAR(o3_drift_score(&b, far, 0), O3_DRIFT_CLIP, 0);
}

/* ---- events ---- */

static void baseline_after_n0(void **state) {
    (void)state;
    struct o3_drift_params p = o3_drift_params_default();
    struct o3_drift_view view;
    struct rig rig;
    p.n0 = 12;
    rig_init(&rig, &p, o3_test_seed(7));
    o3_drift_view(rig.d, &view);
    assert_true(isnan(view.baseline) && isnan(view.recent_median) && view.baseline_n == 0);
    assert_int_equal(feed_until(&rig, LEVEL, 0.02, 50, O3_DRIFT_EV_BASELINE), 12);
    o3_drift_view(rig.d, &view);
    assert_int_equal(view.state, O3_DRIFT_STABLE);
    assert_int_equal(view.baseline_n, 12);
    assert_int_equal(view.established_wall_ms, START_MS + 11 * STEP_MS);
    O3_ASSERT_NEAR(view.baseline, LEVEL, 1);
    O3_ASSERT_NEAR(rig.last.reference, view.baseline, 0);
    O3_ASSERT_NEAR(view.recent_median, LEVEL, 1.5);
    assert_int_equal(view.n_recent, 12);
    rig_done(&rig);
}

static int compare_int(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

static int median_int(int *v, size_t n) {
    qsort(v, n, sizeof *v, compare_int);
    return v[n / 2];
}

static void step_of_10_percent_is_found_and_dated(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(8);
    int suspect[REPEATS], confirmed[REPEATS], date_error[REPEATS], covered = 0, late = 0;
    for (int i = 0; i < REPEATS; i++) {
        struct rig rig;
        rig_init(&rig, NULL, seed + (uint64_t)i);
        feed_quiet(&rig, 0.05, 300);
        int64_t changed = rig.fed;
        suspect[i] = confirmed[i] = 0;
        for (int j = 1; j <= 100 && !confirmed[i]; j++) {
            enum o3_drift_event ev = feed(&rig, 0.9 * LEVEL, 0.05);
            if (ev == O3_DRIFT_EV_CONFIRMED) confirmed[i] = j;
            if (!suspect[i] && (ev == O3_DRIFT_EV_SUSPECT || confirmed[i])) suspect[i] = j;
        }
        date_error[i] = abs((int)(rig.last.change_index - changed));
        covered += rig.last.change_lo <= -0.1 && rig.last.change_hi >= -0.1;
        late += confirmed[i] > 20;
        assert_int_equal(rig.last.direction, -1);
        assert_int_equal(rig.last.change_wall_ms, START_MS + STEP_MS * rig.last.change_index);
        assert_true(rig.last.n_since == rig.last.index - rig.last.change_index + 1);
        rig_done(&rig);
    }
    assert_in_range(median_int(suspect, REPEATS), 3, 8);
    assert_in_range(median_int(confirmed, REPEATS), 8, 10);
    assert_in_range(median_int(date_error, REPEATS), 0, 1);
    assert_in_range(late, 0, REPEATS / 10);
    assert_in_range(covered, REPEATS * 85 / 100, REPEATS);
}

static void large_fall_right_after_the_baseline(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(9);
    for (int i = 0; i < REPEATS; i++) {
        struct rig rig;
        int quiet = 3 + i % 3;
        rig_init(&rig, NULL, seed + (uint64_t)i);
        assert_int_equal(feed_until(&rig, LEVEL, 0.03, 30, O3_DRIFT_EV_BASELINE), 30);
        feed_and_count(&rig, LEVEL, 0.03, quiet, O3_DRIFT_EV_NONE);
        assert_in_range(feed_until(&rig, 0.6 * LEVEL, 0.03, 40, O3_DRIFT_EV_CONFIRMED), 3, 20);
        assert_in_range(rig.last.change_index, 30 + quiet - 8, 30 + quiet); /* it may take low quiet samples along */
        assert_true(rig.last.change_ratio < -0.05);
        feed_and_count(&rig, 0.6 * LEVEL, 0.03, 20, O3_DRIFT_EV_NONE);
        struct o3_drift_view view;
        o3_drift_view(rig.d, &view);
        O3_ASSERT_NEAR(view.change_ratio, -0.4, 0.05);
        rig_done(&rig);
    }
}

struct recovery {
    int took[REPEATS], date_error[REPEATS];
    int odd; /* runs with a false alarm besides */
};

/* One change, its return, and quiet afterwards. */
static void recover(struct recovery *ret, int run, uint64_t seed, double ratio, double cv) {
    struct rig rig;
    int direction = ratio > 1 ? 1 : -1;
    rig_init(&rig, NULL, seed);
    feed_quiet(&rig, cv, 200);
    bool odd = !feed_until(&rig, ratio * LEVEL, cv, 100, O3_DRIFT_EV_CONFIRMED) || rig.last.direction != direction;
    int recovered = feed_and_count(&rig, ratio * LEVEL, cv, 50, O3_DRIFT_EV_RECOVERED);
    int64_t returned = rig.fed;
    ret->took[run] = feed_until(&rig, LEVEL, cv, 300, O3_DRIFT_EV_RECOVERED);
    ret->date_error[run] = abs((int)(rig.last.change_index - returned));
    O3_ASSERT_NEAR(rig.last.change_ratio, 0, 0.026); /* half the minimum effect */
    odd |= rig.last.direction != direction;
    recovered += feed_and_count(&rig, LEVEL, cv, 100, O3_DRIFT_EV_RECOVERED);
    ret->odd += odd || recovered > 0 || state_of(&rig) != O3_DRIFT_STABLE;
    rig_done(&rig);
}

static void recovery_is_reported_once(void **state) {
    (void)state;
    static const struct {
        double ratio, cv;
        int median_max;
    } rows[] = {{0.6, 0.03, 10}, {0.8, 0.05, 12}, {1.3, 0.05, 12}, {0.88, 0.05, 20}, {0.5, 0.001, 8}};
    uint64_t seed = o3_test_seed(10);
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        struct recovery all = {.odd = 0};
        for (int i = 0; i < REPEATS; i++)
            recover(&all, i, seed + (uint64_t)i, rows[row].ratio, rows[row].cv);
        assert_in_range(median_int(all.took, REPEATS), 4, rows[row].median_max);
        assert_in_range(median_int(all.date_error, REPEATS), 0, 4);
        assert_in_range(all.odd, 0, 3);
    }
}

static void recovery_next_to_the_reference_counts(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, o3_test_seed(11));
    feed_and_count(&rig, LEVEL, 0.001, 200, O3_DRIFT_EV_NONE);
    feed_and_count(&rig, 0.6 * LEVEL, 0.001, 50, O3_DRIFT_EV_NONE);
    /* 1 % off is 10 sd here, yet within half the minimum effect; 4 % is not */
    assert_int_equal(feed_and_count(&rig, 0.96 * LEVEL, 0.001, 200, O3_DRIFT_EV_RECOVERED), 0);
    assert_int_equal(state_of(&rig), O3_DRIFT_CONFIRMED);
    assert_in_range(feed_until(&rig, 0.99 * LEVEL, 0.001, 50, O3_DRIFT_EV_RECOVERED), 4, 12);
    rig_done(&rig);
}

static void confirmed_changes_do_not_recover_by_chance(void **state) {
    (void)state;
    /* 40,000 samples; the one-sided test towards the reference alone would fire once in some 86,000. */
    uint64_t seed = o3_test_seed(12);
    int recovered = 0;
    for (uint64_t i = 0; i < 20; i++) {
        struct rig rig;
        rig_init(&rig, NULL, seed + i);
        feed_quiet(&rig, 0.05, 200);
        assert_true(feed_until(&rig, 0.9 * LEVEL, 0.05, 200, O3_DRIFT_EV_CONFIRMED) > 0);
        double reference = rig.last.reference;
        recovered += feed_and_count(&rig, 0.9 * LEVEL, 0.05, 2000, O3_DRIFT_EV_RECOVERED);
        struct o3_drift_view view;
        o3_drift_view(rig.d, &view);
        if (view.state == O3_DRIFT_CONFIRMED) {
            O3_ASSERT_NEAR(view.baseline, reference, 0); /* the old reference stays */
            O3_ASSERT_NEAR(view.change_ratio, -0.1, 0.06);
        }
        rig_done(&rig);
    }
    assert_in_range(recovered, 0, 3);
}

static void short_dips_go_away(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(13);
    int suspected = 0, went_away = 0, confirmed = 0;
    for (uint64_t i = 0; i < REPEATS; i++) {
        struct rig rig;
        rig_init(&rig, NULL, seed + i);
        feed_quiet(&rig, 0.05, 250);
        for (int j = 0; j < 6 + 60; j++) {
            enum o3_drift_event ev = feed(&rig, j < 6 ? 0.7 * LEVEL : LEVEL, 0.05);
            suspected += j < 6 && ev == O3_DRIFT_EV_SUSPECT;
            went_away += ev == O3_DRIFT_EV_WENT_AWAY;
            confirmed += ev == O3_DRIFT_EV_CONFIRMED;
        }
        rig_done(&rig);
    }
    assert_in_range(confirmed, 0, REPEATS / 10);
    assert_in_range(suspected, REPEATS * 9 / 10, REPEATS);
    assert_in_range(went_away, REPEATS * 8 / 10, REPEATS + 5);
}

static void worse_is_no_news_but_the_other_side_is(void **state) {
    (void)state;
    struct o3_drift_view view;
    struct rig rig;
    rig_init(&rig, NULL, o3_test_seed(14));
    feed_quiet(&rig, 0.03, 100);
    assert_true(feed_until(&rig, 0.85 * LEVEL, 0.03, 40, O3_DRIFT_EV_CONFIRMED) > 0);
    int64_t change_wall_ms = rig.last.change_wall_ms;
    assert_int_equal(feed_and_count(&rig, 0.5 * LEVEL, 0.03, 600, O3_DRIFT_EV_NONE), 600);
    o3_drift_view(rig.d, &view);
    O3_ASSERT_NEAR(view.change_ratio, -0.5, 0.03);
    assert_int_equal(view.change_wall_ms, change_wall_ms);
    assert_int_equal(feed_and_count(&rig, 0.8 * LEVEL, 0.03, 60, O3_DRIFT_EV_NONE), 60);
    assert_in_range(feed_until(&rig, 1.3 * LEVEL, 0.03, 40, O3_DRIFT_EV_CONFIRMED), 8, 15);
    assert_int_equal(rig.last.direction, 1);
    O3_ASSERT_NEAR(rig.last.change_ratio, 0.3, 0.08);
    rig_done(&rig);
}

static void small_changes_are_shown_but_not_alerted(void **state) {
    (void)state;
    struct o3_drift_view view;
    struct rig rig;
    rig_init(&rig, NULL, o3_test_seed(15));
    feed_and_count(&rig, LEVEL, 0.01, 100, O3_DRIFT_EV_NONE);
    assert_int_equal(feed_and_count(&rig, 0.97 * LEVEL, 0.01, 1000, O3_DRIFT_EV_NONE), 1000);
    o3_drift_view(rig.d, &view);
    assert_true(view.statistic >= view.threshold);
    O3_ASSERT_NEAR(view.baseline, LEVEL, 0.01 * LEVEL); /* not absorbed */
    assert_int_equal(view.state, O3_DRIFT_STABLE);
    /* ... and neither does a further one start from the shifted level. The median sees it when most samples have it. */
    assert_in_range(feed_until(&rig, 0.92 * LEVEL, 0.01, 100, O3_DRIFT_EV_CONFIRMED), 8, 100);
    O3_ASSERT_NEAR(rig.last.reference, LEVEL, 0.01 * LEVEL);
    rig_done(&rig);
}

static void quiet_series_rarely_alarm(void **state) {
    (void)state;
    /* 50 series of 4,000 samples: one suspicion per 9,400 in the first 300, then one per 44,000, without the minimum
     * effect (src/doc/drift.md). 5.8 are expected; P[Poisson(5.8) > 17] < 1e-4. */
    uint64_t seed = o3_test_seed(16);
    struct o3_drift_params ungated = o3_drift_params_default();
    int alarms = 0;
    ungated.min_effect = 0;
    for (uint64_t i = 0; i < 50; i++) {
        struct rig rig;
        rig_init(&rig, &ungated, seed + i);
        for (int j = 0; j < 4000; j++) {
            enum o3_drift_event ev = feed(&rig, LEVEL, 0.05);
            if (ev != O3_DRIFT_EV_SUSPECT && ev != O3_DRIFT_EV_CONFIRMED) continue;
            alarms++;
            o3_drift_reset(rig.d);
        }
        rig_done(&rig);
    }
    assert_in_range(alarms, 0, 17);
}

/* ---- invariance and restarts ---- */

#define SERIES 400
/* Quiet, then 15 % lower from 250 on, back at 330; with outliers, a rejected value and a gap. */
static void make_series(double v[SERIES], uint64_t seed) {
    struct o3_rand r;
    o3_rand_seed(&r, seed);
    for (int i = 0; i < SERIES; i++) {
        double level = i >= 250 && i < 330 ? 0.85 * LEVEL : LEVEL;
        v[i] = level * exp(0.05 * o3_rand_normal(&r) - (i % 37 == 36 ? 0.4 : 0));
    }
}

static double same(double x) {
    return x;
}

static double triple(double x) {
    return 3 * x;
}

static double inverse(double x) {
    return 1 / x;
}

static int events_of(const double *v, double (*map)(double), int events[SERIES], int directions[SERIES]) {
    struct rig rig;
    int n = 0;
    rig_init(&rig, NULL, 0);
    for (int i = 0; i < SERIES; i++) {
        enum o3_drift_event ev = feed_value(&rig, map(v[i]));
        events[i] = (int)ev;
        directions[i] = ev ? rig.last.direction : 0;
        n += ev != O3_DRIFT_EV_NONE;
    }
    rig_done(&rig);
    return n;
}

static void unit_and_direction_do_not_matter(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(17);
    for (uint64_t i = 0; i < 20; i++) {
        double v[SERIES];
        int events[3][SERIES], directions[3][SERIES];
        make_series(v, seed + i);
        assert_in_range(events_of(v, same, events[0], directions[0]), 2, 20);
        events_of(v, triple, events[1], directions[1]);
        events_of(v, inverse, events[2], directions[2]);
        assert_memory_equal(events[0], events[1], sizeof events[0]);
        assert_memory_equal(events[0], events[2], sizeof events[0]);
        assert_memory_equal(directions[0], directions[1], sizeof directions[0]);
        for (int j = 0; j < SERIES; j++)
            assert_int_equal(directions[0][j], -directions[2][j]);
    }
}

static void assert_same_state(const struct o3_drift *a, const struct o3_drift *b) {
    size_t n_a, n_b;
    char *text_a = encoded(a, &n_a), *text_b = encoded(b, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(text_a, text_b, n_a);
    free(text_a);
    free(text_b);
}

static void add_to(struct o3_drift *d, const double *v, int i, struct o3_drift_report *ret) {
    if (i == 120) o3_drift_mark_gap(d);
    if (i == 60) o3_drift_add(d, (double)NAN, START_MS, NULL);
    o3_drift_add(d, v[i], START_MS + STEP_MS * i, ret);
}

static void assert_same_report(const struct o3_drift_report *a, const struct o3_drift_report *b) {
    assert_int_equal(a->event, b->event);
    assert_int_equal(a->direction, b->direction);
    assert_int_equal(a->change_index, b->change_index);
    assert_int_equal(a->change_wall_ms, b->change_wall_ms);
    assert_memory_equal(&a->level, &b->level, sizeof a->level);
    assert_memory_equal(&a->statistic, &b->statistic, sizeof a->statistic);
    assert_memory_equal(&a->change_lo, &b->change_lo, sizeof a->change_lo);
}

static void restored_detector_is_identical_at_every_index(void **state) {
    (void)state;
    double v[SERIES];
    struct o3_drift_params p = o3_drift_params_default();
    make_series(v, o3_test_seed(18));
    struct o3_drift *whole = o3_drift_new(&p), *restarted = o3_drift_new(&p);
    for (int i = 0; i < SERIES; i++) { /* restarted before every sample */
        struct o3_drift_report a, b;
        struct o3_drift *next = copy_of(restarted);
        o3_drift_free(restarted);
        restarted = next;
        add_to(whole, v, i, &a);
        add_to(restarted, v, i, &b);
        assert_same_report(&a, &b);
        assert_same_state(whole, restarted);
    }
    o3_drift_free(whole);
    o3_drift_free(restarted);
}

static void full_ring_survives_a_restart(void **state) {
    (void)state;
    struct rig rig;
    double recent[O3_DRIFT_RING], restored[O3_DRIFT_RING];
    rig_init(&rig, NULL, o3_test_seed(19));
    feed_and_count(&rig, LEVEL, 0.05, 1300, O3_DRIFT_EV_NONE);
    feed_and_count(&rig, 1.4 * LEVEL, 0.05, 700, O3_DRIFT_EV_NONE); /* the change time has left the ring */
    struct o3_drift *copy = copy_of(rig.d);
    assert_same_state(rig.d, copy);
    assert_int_equal(o3_drift_recent(rig.d, recent, O3_DRIFT_RING), O3_DRIFT_RING);
    assert_int_equal(o3_drift_recent(copy, restored, O3_DRIFT_RING), O3_DRIFT_RING);
    assert_memory_equal(recent, restored, sizeof recent);
    assert_int_equal(state_of(&rig), O3_DRIFT_CONFIRMED);
    o3_drift_free(copy);
    rig_done(&rig);
}

static void damaged_state_is_refused(void **state) {
    (void)state;
    struct rig rig;
    struct o3_drift *d;
    struct o3_err e;
    size_t n;
    rig_init(&rig, NULL, o3_test_seed(20));
    feed_and_count(&rig, LEVEL, 0.05, 60, O3_DRIFT_EV_NONE);
    char *text = encoded(rig.d, &n);
    for (size_t cut = 0; cut + 1 < n; cut++) { /* only the last newline may be missing */
        char *part = malloc(cut + 1);          /* exact, so that ASan sees a read behind it */
        memcpy(part, text, cut);
        assert_int_equal(o3_drift_decode(part, cut, &d, &e), O3_E_PARSE);
        assert_null(d);
        free(part);
    }
    for (size_t i = 0; i < n; i++) { /* any other byte: refused, or a state that can be worked with */
        char was = text[i];
        text[i] = (char)(was ^ 5);
        if (o3_drift_decode(text, n, &d, &e) == 0) {
            for (int j = 0; j < 40; j++)
                o3_drift_add(d, 20 + j % 3, j, NULL);
            o3_drift_free(d);
        }
        text[i] = was;
    }
    free(text);
    assert_int_equal(o3_drift_decode("o3drift 4\n", 10, &d, &e), O3_E_STORE_NEWER);
    assert_int_equal(o3_drift_decode("o3drift 1\n", 10, &d, &e), O3_E_PARSE); /* never released */
    rig_done(&rig);
}

/* ---- odd input ---- */

static void constants_need_the_minimum_effect(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(feed_value(&rig, 5e9), i == 29 ? O3_DRIFT_EV_BASELINE : O3_DRIFT_EV_NONE);
    for (int i = 0; i < 200; i++)
        assert_int_equal(feed_value(&rig, 5.2e9), O3_DRIFT_EV_NONE);
    int events = 0;
    for (int i = 0; i < 200; i++)
        events += feed_value(&rig, 5.5e9) == O3_DRIFT_EV_CONFIRMED;
    assert_int_equal(events, 1);
    O3_ASSERT_NEAR(rig.last.reference, 5e9, 5e9 * 1e-3);
    rig_done(&rig);
}

static void two_values_are_a_noisy_series(void **state) {
    (void)state;
    static const int shares[] = {2, 3, 5, 10, 29};
    uint64_t seed = o3_test_seed(21);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        struct o3_rand r;
        struct rig rig;
        rig_init(&rig, NULL, 0);
        o3_rand_seed(&r, seed);
        int confirmed = 0;
        for (int j = 0; j < 3000; j++)
            confirmed += feed_value(&rig, o3_rand_below(&r, (uint64_t)shares[i]) ? 10 : 11) == O3_DRIFT_EV_CONFIRMED;
        assert_in_range(confirmed, 0, 10); /* long runs of one value do look like a change */
        rig_done(&rig);
    }
}

static void impossible_values_are_counted_and_ignored(void **state) {
    (void)state;
    static const double bad[] = {(double)NAN, HUGE_VAL, -HUGE_VAL, 0, -0.0, -1};
    struct o3_drift_params p = o3_drift_params_default();
    struct o3_drift *plain = o3_drift_new(&p), *mixed = o3_drift_new(&p);
    struct o3_drift_view view;
    double v[SERIES];
    make_series(v, o3_test_seed(22));
    for (int i = 0; i < SERIES; i++) {
        struct o3_drift_report a, b;
        assert_int_equal(o3_drift_add(mixed, bad[i % 6], START_MS, &b), O3_DRIFT_EV_NONE);
        o3_drift_add(plain, v[i], START_MS + i, &a);
        o3_drift_add(mixed, v[i], START_MS + i, &b);
        assert_same_report(&a, &b);
    }
    o3_drift_view(mixed, &view);
    assert_int_equal(view.n_rejected, SERIES);
    assert_int_equal(view.n_samples, SERIES);
    o3_drift_free(plain);
    o3_drift_free(mixed);
}

static void extreme_values_keep_everything_finite(void **state) {
    (void)state;
    static const double extremes[] = {1e-300, 1e300, 5e-324, 1.7e308, 1};
    struct o3_rand r;
    struct rig rig;
    rig_init(&rig, NULL, 0);
    o3_rand_seed(&r, o3_test_seed(23));
    for (int i = 0; i < 3000; i++) {
        size_t kinds = i < 100 ? 1 : 1 + (size_t)(i / 600); /* long constant, then wilder */
        struct o3_drift_view view;
        feed_value(&rig, extremes[o3_rand_below(&r, kinds)]);
        o3_drift_view(rig.d, &view);
        assert_true(isfinite(view.statistic) && isfinite(view.change_ratio) && isfinite(view.recent_median));
        assert_true(isfinite(rig.last.change_ratio) && isfinite(rig.last.change_lo) && isfinite(rig.last.change_hi));
        struct o3_drift *copy = copy_of(rig.d);
        o3_drift_free(copy);
    }
    rig_done(&rig);
}

static void gap_takes_away_the_predecessor(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, o3_test_seed(24));
    feed_and_count(&rig, LEVEL, 0.05, 100, O3_DRIFT_EV_NONE);
    assert_true(o3_drift_pair_at(rig.d, 99).has_before);
    o3_drift_mark_gap(rig.d);
    feed(&rig, LEVEL, 0.05);
    feed(&rig, LEVEL, 0.05);
    assert_false(o3_drift_pair_at(rig.d, 100).has_before);
    assert_true(o3_drift_pair_at(rig.d, 101).has_before);
    rig_done(&rig);
}

static void clock_jumps_are_gaps(void **state) {
    (void)state;
    struct o3_drift_params p = o3_drift_params_default();
    struct o3_drift *d = o3_drift_new(&p);
    double v[SERIES];
    make_series(v, o3_test_seed(25));
    struct rig rig;
    rig_init(&rig, NULL, 0);
    for (int i = 0; i < SERIES; i++) {
        int64_t wall_ms = i % 3 == 0 ? INT64_MIN : i % 3 == 1 ? INT64_MAX : 0;
        o3_drift_mark_gap(rig.d); /* each of them takes the predecessor away, and nothing more */
        assert_int_equal(o3_drift_add(d, v[i], wall_ms, NULL), feed_value(&rig, v[i]));
    }
    struct o3_drift *copy = copy_of(d);
    o3_drift_free(copy);
    o3_drift_free(d);
    rig_done(&rig);
}

static void reset_starts_a_new_epoch(void **state) {
    (void)state;
    struct o3_drift_view view;
    struct rig rig;
    double recent[4];
    rig_init(&rig, NULL, o3_test_seed(26));
    feed_and_count(&rig, LEVEL, 0.05, 100, O3_DRIFT_EV_NONE);
    o3_drift_reset(rig.d);
    assert_int_equal(o3_drift_recent(rig.d, recent, 4), 0);
    assert_int_equal(feed_until(&rig, 2 * LEVEL, 0.05, 100, O3_DRIFT_EV_BASELINE), 30);
    assert_int_equal(rig.last.index, 129);
    o3_drift_view(rig.d, &view);
    O3_ASSERT_NEAR(view.baseline, 2 * LEVEL, 0.05 * LEVEL);
    assert_int_equal(view.n_samples, 130);
    rig_done(&rig);
}

static void limits_and_names(void **state) {
    (void)state;
    struct o3_drift_params p = {.min_effect = (double)NAN, .arl0_samples = -1, .n0 = 100000, .confirm_samples = 0};
    p = o3_drift_params_clamp(p);
    O3_ASSERT_NEAR(p.min_effect, 0, 0);
    O3_ASSERT_NEAR(p.arl0_samples, 100, 0);
    assert_int_equal(p.n0, O3_DRIFT_N0_MAX);
    assert_int_equal(p.confirm_samples, 5);
    assert_int_equal(p.interval_ms, 1000);
    assert_int_equal(p.detector, O3_DRIFT_BY_CUSUM);
    p = o3_drift_params_default();
    assert_true(p.has_season && p.interval_ms == 60000);
    assert_in_range(o3_drift_size(), O3_DRIFT_RING * sizeof(double), 8191);
    assert_string_equal(o3_drift_state_name(O3_DRIFT_SUSPECT), "suspect");
    assert_string_equal(o3_drift_detector_name(O3_DRIFT_BY_CUSUM), "cusum");
    assert_string_equal(o3_drift_detector_name(O3_DRIFT_BY_RANK), "rank");
    assert_string_equal(o3_drift_event_name(O3_DRIFT_EV_RECOVERED), "recovered");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siegmund_is_inverted),
        cmocka_unit_test(thresholds_grow_with_arl0),
        cmocka_unit_test(plain_cusum_has_textbook_run_lengths),
        cmocka_unit_test(cusum_dates_its_last_zero),
        cmocka_unit_test(baseline_fit_resists_outliers),
        cmocka_unit_test(baseline_learns_autocorrelation),
        cmocka_unit_test(score_is_clipped_and_odd),
        cmocka_unit_test(baseline_after_n0),
        cmocka_unit_test(step_of_10_percent_is_found_and_dated),
        cmocka_unit_test(large_fall_right_after_the_baseline),
        cmocka_unit_test(recovery_is_reported_once),
        cmocka_unit_test(recovery_next_to_the_reference_counts),
        cmocka_unit_test(confirmed_changes_do_not_recover_by_chance),
        cmocka_unit_test(short_dips_go_away),
        cmocka_unit_test(worse_is_no_news_but_the_other_side_is),
        cmocka_unit_test(small_changes_are_shown_but_not_alerted),
        cmocka_unit_test(quiet_series_rarely_alarm),
        cmocka_unit_test(unit_and_direction_do_not_matter),
        cmocka_unit_test(restored_detector_is_identical_at_every_index),
        cmocka_unit_test(full_ring_survives_a_restart),
        cmocka_unit_test(damaged_state_is_refused),
        cmocka_unit_test(constants_need_the_minimum_effect),
        cmocka_unit_test(two_values_are_a_noisy_series),
        cmocka_unit_test(impossible_values_are_counted_and_ignored),
        cmocka_unit_test(extreme_values_keep_everything_finite),
        cmocka_unit_test(gap_takes_away_the_predecessor),
        cmocka_unit_test(clock_jumps_are_gaps),
        cmocka_unit_test(reset_starts_a_new_epoch),
        cmocka_unit_test(limits_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
