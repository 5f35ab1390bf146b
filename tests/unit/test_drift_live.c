/* SPDX-License-Identifier: Apache-2.0 */
/* The detector over hours and days: spacing of samples, seasons, slow changes, known modes, acknowledgement. */
#include "o3_test.h"
#include "drift_state.h"
#include "drift/parts.h"
#include "o3/drift.h"
#include "o3/num.h"
#include "o3/rand.h"

#define LEVEL 40.0
#define START_MS INT64_C(1700000000000)
#define MINUTE_MS INT64_C(60000)
#define DAY 1440 /* minutes */
#define PI 3.14159265358979

struct rig {
    struct o3_drift *d;
    struct o3_rand rand;
    int64_t wall_ms;
    double ar; /* state of correlated noise */
    struct o3_drift_report last;
    int confirmed, suspected, slow;
};

static void rig_init(struct rig *rig, const struct o3_drift_params *p, uint64_t seed) {
    struct o3_drift_params plain = o3_drift_params_default();
    *rig = (struct rig){.d = o3_drift_new(p ? p : &plain), .wall_ms = START_MS};
    assert_non_null(rig->d);
    o3_rand_seed(&rig->rand, seed);
}

static enum o3_drift_event feed_value(struct rig *rig, double value, int64_t step_ms) {
    struct o3_drift_report r;
    rig->wall_ms += step_ms;
    enum o3_drift_event ev = o3_drift_add(rig->d, value, rig->wall_ms, &r);
    if (ev) rig->last = r;
    rig->suspected += ev == O3_DRIFT_EV_SUSPECT;
    rig->confirmed += ev == O3_DRIFT_EV_CONFIRMED;
    rig->slow += ev == O3_DRIFT_EV_CONFIRMED && r.is_slow;
    return ev;
}

static enum o3_drift_event feed(struct rig *rig, double level, double cv, int64_t step_ms) {
    return feed_value(rig, level * (1 + cv * o3_rand_normal(&rig->rand)), step_ms);
}

static struct o3_drift_view view_of(const struct rig *rig) {
    struct o3_drift_view v;
    o3_drift_view(rig->d, &v);
    return v;
}

/* ---- spacing ---- */

/* Series that alarm within 2,000 samples of noise with a memory of 0.6 a minute, taken every 15 s after 400 minutes and
 * told to be `said_ms` apart. */
static int alarming_at_15_s(uint64_t seed, int64_t said_ms) {
    int alarming = 0;
    for (uint64_t i = 0; i < 40; i++) {
        struct rig rig;
        bool alarm = false;
        rig_init(&rig, NULL, seed + i);
        for (int j = 0; j < 2400 && !alarm; j++) {
            bool fast = j >= 400;
            double rho = fast ? o3_pow(0.6, 0.25) : 0.6;
            rig.ar = rho * rig.ar + sqrt(1 - rho * rho) * o3_rand_normal(&rig.rand);
            enum o3_drift_event ev = feed_value(&rig, LEVEL * (1 + 0.05 * rig.ar), fast ? said_ms : MINUTE_MS);
            alarm = fast && (ev == O3_DRIFT_EV_SUSPECT || ev == O3_DRIFT_EV_CONFIRMED);
        }
        alarming += alarm;
        o3_drift_free(rig.d);
    }
    return alarming;
}

static void closer_samples_are_more_alike(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(1);
    assert_in_range(alarming_at_15_s(seed, MINUTE_MS / 4), 0, 10);
    assert_in_range(alarming_at_15_s(seed, MINUTE_MS), 20, 40);
}

/* Samples every 15 s while a change is suspected. Returns minutes from the change to the confirmation, 0 without. */
static double confirmed_after(struct rig *rig, double ratio, int dip_minutes) {
    for (int i = 0; i < 200 + (int)o3_rand_below(&rig->rand, 60); i++)
        feed(rig, LEVEL, 0.05, MINUTE_MS);
    int64_t changed_ms = rig->wall_ms;
    rig->confirmed = 0;
    while (rig->wall_ms < changed_ms + 40 * MINUTE_MS) {
        bool suspect = view_of(rig).state == O3_DRIFT_SUSPECT;
        int64_t step_ms = suspect ? MINUTE_MS / 4 : MINUTE_MS;
        bool changed = rig->wall_ms + step_ms <= changed_ms + dip_minutes * MINUTE_MS;
        if (feed(rig, changed ? ratio * LEVEL : LEVEL, 0.05, step_ms) == O3_DRIFT_EV_CONFIRMED)
            return (double)(rig->wall_ms - changed_ms) / MINUTE_MS;
    }
    return 0;
}

static void quicker_samples_confirm_sooner_but_no_dip(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(2);
    int dips = 0, late = 0;
    for (uint64_t i = 0; i < 60; i++) {
        struct rig rig;
        rig_init(&rig, NULL, seed + i);
        dips += confirmed_after(&rig, 0.7, 6) > 0;
        o3_drift_free(rig.d);
        rig_init(&rig, NULL, seed + i);
        double minutes = confirmed_after(&rig, 0.7, 1000);
        assert_true(minutes > 0);
        late += minutes > 8.5; /* ten samples a minute apart take ten */
        o3_drift_free(rig.d);
    }
    assert_in_range(dips, 0, 4);
    assert_in_range(late, 0, 6);
}

static void long_steps_and_backward_ones_are_gaps(void **state) {
    (void)state;
    static const struct {
        int64_t step_ms;
        bool has_before;
    } rows[] = {{60000, true},    {15000, true}, {180000, true},   {1800000, true},
                {1800001, false}, {0, false},    {-3600000, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig rig;
        rig_init(&rig, NULL, 3);
        for (int j = 0; j < 50; j++)
            feed(&rig, LEVEL, 0.05, MINUTE_MS);
        feed(&rig, LEVEL, 0.05, rows[i].step_ms);
        struct o3_drift_pair y = o3_drift_pair_at(rig.d, 50);
        assert_int_equal(y.has_before, rows[i].has_before);
        if (y.has_before) O3_ASSERT_NEAR(y.dt, (double)rows[i].step_ms / 60000, 1e-12);
        assert_true(o3_drift_wall_at(rig.d, 50) == rig.wall_ms);
        assert_true(o3_drift_wall_at(rig.d, 49) == rig.wall_ms - rows[i].step_ms);
        o3_drift_free(rig.d);
    }
}

/* ---- time of the change, acknowledgement ---- */

static void interval_of_the_change_time_covers_it(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(4);
    int covered = 0, found = 0;
    for (uint64_t i = 0; i < 200; i++) {
        struct rig rig;
        rig_init(&rig, NULL, seed + i);
        for (int j = 0; j < 250; j++)
            feed(&rig, LEVEL, 0.05, MINUTE_MS);
        int64_t first_changed_ms = rig.wall_ms + MINUTE_MS;
        if (view_of(&rig).state == O3_DRIFT_STABLE)
            for (int j = 0; j < 60; j++)
                if (feed(&rig, 0.92 * LEVEL, 0.05, MINUTE_MS) == O3_DRIFT_EV_CONFIRMED) {
                    found++;
                    assert_true(rig.last.change_lo_ms <= rig.last.change_wall_ms);
                    assert_true(rig.last.change_hi_ms >= rig.last.change_wall_ms);
                    covered += rig.last.change_lo_ms <= first_changed_ms && first_changed_ms <= rig.last.change_hi_ms;
                    break;
                }
        o3_drift_free(rig.d);
    }
    assert_in_range(found, 180, 200);
    assert_in_range(covered, found * 90 / 100, found);
}

/* Between two samples a sharp change may have happened at any time. */
static void interval_begins_at_the_last_sample_before(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, o3_test_seed(11));
    for (int i = 0; i < 300; i++)
        feed(&rig, LEVEL, 0.02, MINUTE_MS);
    int64_t last_before_ms = rig.wall_ms;
    for (int i = 0; i < 30 && rig.last.event != O3_DRIFT_EV_CONFIRMED; i++)
        feed(&rig, 0.6 * LEVEL, 0.02, MINUTE_MS);
    assert_int_equal(rig.last.event, O3_DRIFT_EV_CONFIRMED);
    /* One or two low samples before it may be taken along. */
    assert_in_range(rig.last.change_wall_ms, last_before_ms - MINUTE_MS, last_before_ms + MINUTE_MS);
    assert_in_range(rig.last.change_lo_ms, last_before_ms - 3 * MINUTE_MS, last_before_ms);
    assert_true(rig.last.change_lo_ms < rig.last.change_wall_ms);
    assert_in_range(rig.last.change_hi_ms, rig.last.change_wall_ms, last_before_ms + MINUTE_MS);
    o3_drift_free(rig.d);
}

static void acknowledged_level_is_the_reference(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, o3_test_seed(5));
    for (int i = 0; i < 20; i++)
        feed(&rig, LEVEL, 0.03, MINUTE_MS);
    o3_drift_acknowledge(rig.d);
    assert_int_equal(view_of(&rig).state, O3_DRIFT_LEARNING);
    for (int i = 0; i < 300; i++)
        feed(&rig, LEVEL, 0.03, MINUTE_MS);
    for (int i = 0; i < 100; i++)
        feed(&rig, 0.8 * LEVEL, 0.03, MINUTE_MS);
    struct o3_drift_view v = view_of(&rig);
    assert_int_equal(v.state, O3_DRIFT_CONFIRMED);
    o3_drift_acknowledge(rig.d);
    v = view_of(&rig);
    assert_int_equal(v.state, O3_DRIFT_STABLE);
    assert_true(v.established_wall_ms == rig.wall_ms && v.change_wall_ms == 0);
    O3_ASSERT_NEAR(v.baseline, 0.8 * LEVEL, 0.02 * LEVEL);
    O3_ASSERT_NEAR(v.baseline_sd / v.baseline, 0.03, 0.01); /* the noise was known */
    rig.confirmed = 0;
    for (int i = 0; i < 400; i++)
        feed(&rig, 0.8 * LEVEL, 0.03, MINUTE_MS);
    assert_int_equal(rig.confirmed, 0);
    for (int i = 0; i < 30; i++)
        feed(&rig, LEVEL, 0.03, MINUTE_MS);
    assert_int_equal(rig.confirmed, 1); /* the old level is the change now */
    assert_int_equal(rig.last.direction, 1);
    o3_drift_free(rig.d);
}

/* ---- days ---- */

static double daily(int64_t minute) {
    return 1 + 0.06 * o3_sin(2 * PI * (double)(minute % DAY) / DAY);
}

static void season_is_known_from_the_fourth_day(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(6);
    int early = 0, later = 0;
    for (uint64_t i = 0; i < 5; i++) {
        struct rig rig;
        rig_init(&rig, NULL, seed + i);
        for (int64_t m = 0; m < 9 * DAY; m++) {
            if (m == 3 * DAY - 60) { /* days begin with an hour */
                assert_false(view_of(&rig).season_known);
                early += rig.confirmed;
            }
            if (m == 4 * DAY) rig.confirmed = 0;
            feed(&rig, LEVEL * daily(m), 0.05, MINUTE_MS);
        }
        assert_true(view_of(&rig).season_known);
        later += rig.confirmed;
        o3_drift_free(rig.d);
    }
    assert_in_range(early, 5, 1000); /* the cycle alarms while it is not known, and is learned nevertheless */
    assert_in_range(later, 0, 6);    /* 36,000 samples; the target of 0.1 per 1,000 is 3.6 */
}

static void season_can_be_off(void **state) {
    (void)state;
    struct o3_drift_params p = o3_drift_params_default();
    struct rig rig;
    p.has_season = false;
    rig_init(&rig, &p, o3_test_seed(7));
    for (int64_t m = 0; m < 5 * DAY; m++)
        feed(&rig, LEVEL * daily(m), 0.05, MINUTE_MS);
    assert_false(view_of(&rig).season_known);
    o3_drift_free(rig.d);
}

static void step_in_a_seasonal_series_stays_confirmed(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(8);
    int found = 0, kept = 0;
    for (uint64_t i = 0; i < 5; i++) {
        struct rig rig;
        rig_init(&rig, NULL, seed + i);
        for (int64_t m = 0; m < 6 * DAY; m++)
            feed(&rig, LEVEL * daily(m), 0.03, MINUTE_MS);
        if (view_of(&rig).state == O3_DRIFT_STABLE) rig.confirmed = 0;
        for (int64_t m = 0; m < 30; m++)
            feed(&rig, 0.9 * LEVEL * daily(m), 0.03, MINUTE_MS);
        found += rig.confirmed == 1 && rig.last.direction == -1 && rig.last.season_known;
        for (int64_t m = 30; m < 3 * DAY; m++)
            feed(&rig, 0.9 * LEVEL * daily(m), 0.03, MINUTE_MS);
        kept += view_of(&rig).state == O3_DRIFT_CONFIRMED && rig.confirmed == 1;
        O3_ASSERT_NEAR(view_of(&rig).change_ratio, -0.1, 0.03);
        o3_drift_free(rig.d);
    }
    assert_in_range(found, 4, 5);
    assert_in_range(kept, 4, 5);
}

/* On each of the first days, at any time of the day. */
static void regression_is_not_absorbed_by_a_new_season(void **state) {
    (void)state;
    static const int AT[] = {600, 1100, 2000, 2700, 3500, 4000}; /* minutes */
    uint64_t seed = o3_test_seed(9);
    for (uint64_t i = 0; i < 5; i++)
        for (size_t j = 0; j < sizeof AT / sizeof *AT; j++) {
            struct rig rig;
            rig_init(&rig, NULL, seed + i);
            for (int64_t m = 0; m < 6 * DAY; m++)
                feed(&rig, (m < AT[j] ? 1 : 0.88) * LEVEL * daily(m), 0.02, MINUTE_MS);
            struct o3_drift_view v = view_of(&rig);
            assert_true(v.season_known);
            assert_int_equal(v.state, O3_DRIFT_CONFIRMED);
            O3_ASSERT_NEAR(v.change_ratio, -0.12, 0.02);
            o3_drift_free(rig.d);
        }
}

/* A model that is held from 08 to 18 h: its days have a season like any. */
static void season_of_part_of_the_day_is_learned(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(17);
    int later = 0;
    for (uint64_t i = 0; i < 5; i++) {
        struct rig rig;
        rig_init(&rig, NULL, seed + i);
        for (int64_t m = 0; m < 12 * DAY; m++) {
            bool is_held = m % DAY >= 8 * 60 && m % DAY < 18 * 60;
            if (m == 4 * DAY) rig.confirmed = 0;
            if (is_held) feed_value(&rig, LEVEL * daily(m) * (1 + 0.05 * o3_rand_normal(&rig.rand)), MINUTE_MS);
            if (!is_held) rig.wall_ms += MINUTE_MS;
        }
        assert_true(view_of(&rig).season_known);
        later += rig.confirmed;
        o3_drift_free(rig.d);
    }
    assert_in_range(later, 0, 4); /* of 40 days; each would have two without a season */
}

/* The false alarms of a year: the series of a sidecar share its budget, and none of them may tell the other side. */
static struct o3_drift_params yearly(void) {
    struct o3_drift_params p = o3_drift_params_default();
    p.arl0_samples = 525600;
    return p;
}

/* Slower than the self-starting baseline learns. */
static void slow_ramp_is_found_against_the_frozen_reference(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(10);
    struct o3_drift_params p = yearly();
    enum { SERIES = 10 };
    int slow = 0, wrong = 0, inside = 0;
    for (uint64_t i = 0; i < SERIES; i++) {
        struct rig rig;
        rig_init(&rig, &p, seed + i);
        for (int64_t m = 0; m < 2 * DAY; m++)
            feed(&rig, LEVEL, 0.05, MINUTE_MS);
        assert_int_equal(rig.slow, 0);
        rig.confirmed = 0;
        double at = 0;
        for (int64_t m = 0; m < 20 * DAY && !rig.confirmed; m++) {
            at = 1 - 0.1 * (double)m / (20 * DAY);
            feed(&rig, at * LEVEL, 0.05, MINUTE_MS);
        }
        assert_int_equal(rig.confirmed, 1);
        wrong += rig.last.direction != -1;
        if (rig.last.is_slow) {
            slow++;
            inside += rig.last.change_lo <= at - 1 && at - 1 <= rig.last.change_hi;
            O3_ASSERT_NEAR(rig.last.reference, LEVEL, 0.015 * LEVEL);
            O3_ASSERT_NEAR(rig.last.change_ratio, at - 1, 0.025);
            assert_true(rig.last.change_lo_ms <= rig.last.change_wall_ms);
            assert_true(rig.last.change_wall_ms <= rig.last.change_hi_ms && rig.last.change_hi_ms <= rig.wall_ms);
        }
        for (int64_t m = 0; m < 10 * DAY; m++)
            feed(&rig, 0.9 * LEVEL, 0.05, MINUTE_MS);
        assert_int_equal(view_of(&rig).state, O3_DRIFT_CONFIRMED);
        assert_int_equal(rig.last.direction, -1);
        O3_ASSERT_NEAR(view_of(&rig).change_ratio, -0.1, 0.045); /* of a median of 30: 5 sd, and the reference */
        o3_drift_free(rig.d);
    }
    assert_int_equal(wrong, 0);
    assert_in_range(slow, SERIES - 2, SERIES);
    assert_in_range(inside, slow - 1, slow);
}

/* Too small a slow change to be told takes the baseline along; its end leads back to the reference, and is no news. */
static void end_of_a_small_slow_change_is_no_change(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(18);
    struct o3_drift_params p = yearly();
    int stable = 0, news = 0;
    for (uint64_t i = 0; i < 8; i++) {
        struct rig rig;
        rig_init(&rig, &p, seed + i);
        for (int64_t m = 0; m < 20 * DAY; m++)
            feed(&rig, (1 - 0.045 * fmin(1, (double)m / (16 * DAY))) * LEVEL, 0.05, MINUTE_MS);
        bool was_stable = view_of(&rig).state == O3_DRIFT_STABLE && view_of(&rig).baseline < 0.97 * LEVEL;
        rig.confirmed = 0;
        for (int64_t m = 0; m < 2 * DAY; m++)
            feed(&rig, LEVEL, 0.05, MINUTE_MS);
        stable += was_stable;
        news += was_stable && rig.confirmed;
        o3_drift_free(rig.d);
    }
    assert_in_range(stable, 2, 8);
    assert_in_range(news, 0, stable / 4); /* the rise is near the minimum effect against the baseline */
}

/* Three hours a day are compared with their reference, too. */
static void slow_ramp_of_a_few_hours_a_day_is_found(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(19);
    struct o3_drift_params p = yearly();
    int slow = 0, wrong = 0;
    for (uint64_t i = 0; i < 8; i++) {
        struct rig rig;
        rig_init(&rig, &p, seed + i);
        for (int64_t day = 0; day < 60; day++)
            for (int j = 0; j < 180 && !rig.confirmed; j++)
                feed(&rig, (1 - 0.002 * (double)day) * LEVEL, 0.05, j ? MINUTE_MS : (21 * 60 + 1) * MINUTE_MS);
        assert_int_equal(rig.confirmed, 1);
        wrong += rig.last.direction != -1;
        slow += rig.last.is_slow;
        o3_drift_free(rig.d);
    }
    assert_in_range(slow, 1, 8);
    assert_in_range(wrong, 0, 1);
}

/* ---- modes ---- */

/* 12 % lower for a fifth of the time, in runs of 8 samples on average. */
static double sticky(struct rig *rig, bool *low) {
    double level = *low ? 0.88 * LEVEL : LEVEL;
    if (o3_rand_uniform(&rig->rand) < (*low ? 0.125 : 0.125 * 0.25)) *low = !*low;
    return level;
}

static void second_mode_is_learned(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(11);
    int early = 0, later = 0, known = 0;
    for (uint64_t i = 0; i < 10; i++) {
        struct rig rig;
        bool low = false;
        rig_init(&rig, NULL, seed + i);
        for (int j = 0; j < 4000; j++) {
            if (j == 1500) early += rig.confirmed, rig.confirmed = 0;
            feed(&rig, sticky(&rig, &low), 0.05, MINUTE_MS);
            if (j == 1500) known += view_of(&rig).n_modes > 0;
        }
        later += rig.confirmed;
        o3_drift_free(rig.d);
    }
    assert_in_range(known, 6, 10);
    assert_in_range(later, 0, 6); /* of 25,000 samples */
    assert_true(early > later);
}

static void known_mode_that_stays_is_confirmed(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(12);
    int confirmed = 0;
    for (uint64_t i = 0; i < 10; i++) {
        struct rig rig;
        bool low = false;
        rig_init(&rig, NULL, seed + i);
        for (int j = 0; j < 2500; j++)
            feed(&rig, sticky(&rig, &low), 0.05, MINUTE_MS);
        for (int j = 0; j < 400; j++)
            feed(&rig, 0.88 * LEVEL, 0.05, MINUTE_MS);
        confirmed += view_of(&rig).state == O3_DRIFT_CONFIRMED;
        o3_drift_free(rig.d);
    }
    assert_in_range(confirmed, 9, 10);
}

static void stable_noise_has_no_modes(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(13);
    int modes = 0;
    for (uint64_t i = 0; i < 10; i++) {
        struct rig rig;
        rig_init(&rig, NULL, seed + i);
        for (int j = 0; j < 8000; j++)
            feed(&rig, LEVEL, 0.05, MINUTE_MS);
        modes += view_of(&rig).n_modes;
        o3_drift_free(rig.d);
    }
    assert_in_range(modes, 0, 3);
}

/* ---- restarts ---- */

enum kind { PLAIN, CORRELATED, STICKY, CYCLE, KINDS };

/* One sample each 10 minutes: 900 of them are six days. A step of 15 % from 700 to 800. */
static double noisy(struct rig *rig, enum kind kind, int i, bool *low) {
    double z = o3_rand_normal(&rig->rand), level = i >= 700 && i < 800 ? 0.85 * LEVEL : LEVEL;
    rig->ar = 0.5 * rig->ar + sqrt(0.75) * z;
    if (kind == CORRELATED) return level * (1 + 0.05 * rig->ar);
    if (kind == STICKY) return level / LEVEL * sticky(rig, low) * (1 + 0.05 * z);
    if (kind == CYCLE) return level * daily(10 * i) * (1 + 0.03 * z);
    return level * (1 + 0.05 * z) * (o3_rand_below(&rig->rand, 40) ? 1 : 0.6);
}

static void assert_same(const struct o3_drift_report *a, const struct o3_drift_report *b) {
    assert_int_equal(a->event, b->event);
    assert_int_equal(a->direction, b->direction);
    assert_int_equal(a->is_slow, b->is_slow);
    assert_int_equal(a->season_known, b->season_known);
    assert_true(a->change_index == b->change_index && a->change_wall_ms == b->change_wall_ms);
    assert_true(a->change_lo_ms == b->change_lo_ms && a->change_hi_ms == b->change_hi_ms);
    assert_memory_equal(&a->level, &b->level, sizeof a->level);
    assert_memory_equal(&a->reference, &b->reference, sizeof a->reference);
    assert_memory_equal(&a->change_lo, &b->change_lo, sizeof a->change_lo);
    assert_memory_equal(&a->statistic, &b->statistic, sizeof a->statistic);
}

/* Restarted before every sample of several days, with changes, modes and a season. */
static void restart_at_any_sample_changes_nothing(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(14);
    for (int kind = 0; kind < KINDS; kind++) {
        struct o3_drift_params p = o3_drift_params_default();
        struct rig rig;
        bool low = false;
        int64_t wall_ms = START_MS;
        p.interval_ms = 10 * MINUTE_MS;
        rig_init(&rig, &p, seed + (uint64_t)kind);
        struct o3_drift *restarted = o3_drift_new(&p);
        for (int i = 0; i < 900; i++) {
            struct o3_drift_report a, b;
            struct o3_drift *next = copy_of(restarted);
            o3_drift_free(restarted);
            restarted = next;
            double value = noisy(&rig, (enum kind)kind, i, &low);
            wall_ms += i % 97 == 96 ? 50 * MINUTE_MS : i % 50 > 45 ? 5 * MINUTE_MS : 10 * MINUTE_MS;
            if (i == 850) o3_drift_acknowledge(rig.d), o3_drift_acknowledge(restarted);
            o3_drift_add(rig.d, value, wall_ms, &a);
            o3_drift_add(restarted, value, wall_ms, &b);
            assert_same(&a, &b);
        }
        size_t n_a, n_b;
        char *text_a = encoded(rig.d, &n_a), *text_b = encoded(restarted, &n_b);
        assert_int_equal(n_a, n_b);
        assert_memory_equal(text_a, text_b, n_a);
        assert_true(view_of(&rig).season_known);
        free(text_a);
        free(text_b);
        o3_drift_free(restarted);
        o3_drift_free(rig.d);
    }
}

/* Any byte of a state with a season, modes and a change: refused, or a state that can be worked with. */
static void damaged_rich_state_is_harmless(void **state) {
    (void)state;
    struct rig rig;
    struct o3_drift *d;
    bool low = false;
    size_t n;
    rig_init(&rig, NULL, o3_test_seed(15));
    for (int i = 0; i < 4 * DAY; i++)
        feed(&rig, sticky(&rig, &low), 0.05, MINUTE_MS);
    for (int i = 0; i < 8; i++)
        feed(&rig, 0.88 * LEVEL, 0.05, MINUTE_MS);
    char *text = encoded(rig.d, &n);
    for (size_t i = 0; i < n; i += i < 3500 ? 1 : 13) { /* the ring behind is all alike */
        char was = text[i];
        text[i] = (char)(was ^ (i % 2 ? 5 : 8));
        if (o3_drift_decode(text, n, &d, NULL) == 0) {
            for (int j = 0; j < 70; j++)
                o3_drift_add(d, 20 + j % 3, rig.wall_ms + j * 10 * MINUTE_MS, NULL);
            o3_drift_free(d);
        }
        text[i] = was;
    }
    free(text);
    o3_drift_free(rig.d);
}

/* x, 3x and 1/x over days, with a season: the same events at the same samples, mirrored for 1/x. */
static void unit_and_direction_do_not_matter_over_days(void **state) {
    (void)state;
    struct o3_drift_params p = o3_drift_params_default();
    struct rig rig;
    bool low = false;
    p.interval_ms = 10 * MINUTE_MS;
    rig_init(&rig, &p, o3_test_seed(16));
    struct o3_drift *triple = o3_drift_new(&p), *inverse = o3_drift_new(&p);
    int events = 0;
    for (int i = 0; i < 1500; i++) {
        struct o3_drift_report a, b, c;
        double value = noisy(&rig, i < 1000 ? CYCLE : STICKY, i, &low);
        int64_t wall_ms = START_MS + 10 * MINUTE_MS * i;
        o3_drift_add(rig.d, value, wall_ms, &a);
        o3_drift_add(triple, 3 * value, wall_ms, &b);
        o3_drift_add(inverse, 1 / value, wall_ms, &c);
        assert_int_equal(a.event, b.event);
        assert_int_equal(a.event, c.event);
        assert_int_equal(a.direction, b.direction);
        assert_int_equal(a.direction, -c.direction);
        assert_true(a.change_index == b.change_index && a.change_index == c.change_index);
        events += a.event != O3_DRIFT_EV_NONE;
    }
    assert_in_range(events, 3, 200);
    o3_drift_free(triple);
    o3_drift_free(inverse);
    o3_drift_free(rig.d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closer_samples_are_more_alike),
        cmocka_unit_test(quicker_samples_confirm_sooner_but_no_dip),
        cmocka_unit_test(long_steps_and_backward_ones_are_gaps),
        cmocka_unit_test(interval_of_the_change_time_covers_it),
        cmocka_unit_test(interval_begins_at_the_last_sample_before),
        cmocka_unit_test(acknowledged_level_is_the_reference),
        cmocka_unit_test(season_is_known_from_the_fourth_day),
        cmocka_unit_test(season_can_be_off),
        cmocka_unit_test(step_in_a_seasonal_series_stays_confirmed),
        cmocka_unit_test(regression_is_not_absorbed_by_a_new_season),
        cmocka_unit_test(season_of_part_of_the_day_is_learned),
        cmocka_unit_test(slow_ramp_is_found_against_the_frozen_reference),
        cmocka_unit_test(end_of_a_small_slow_change_is_no_change),
        cmocka_unit_test(slow_ramp_of_a_few_hours_a_day_is_found),
        cmocka_unit_test(second_mode_is_learned),
        cmocka_unit_test(known_mode_that_stays_is_confirmed),
        cmocka_unit_test(stable_noise_has_no_modes),
        cmocka_unit_test(restart_at_any_sample_changes_nothing),
        cmocka_unit_test(damaged_rich_state_is_harmless),
        cmocka_unit_test(unit_and_direction_do_not_matter_over_days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
