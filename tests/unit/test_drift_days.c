/* SPDX-License-Identifier: Apache-2.0 */
/* The detector over days: what a recovery, a freak first value and a clock that is set do to the comparison of hours.
 */
#include "o3_test.h"
#include "drift/parts.h"
#include "o3/drift.h"
#include "o3/rand.h"
#include "o3/success.h"

#define LEVEL 40.0
#define CV 0.03
#define START_MS (INT64_C(472222) * 3600000) /* a full hour */
#define MINUTE_MS INT64_C(60000)
#define HOUR 60 /* minutes */
#define DAY (24 * HOUR)

struct rig {
    struct o3_drift *d;
    struct o3_rand rand;
    int64_t wall_ms;
    struct o3_drift_report last;
    int confirmed, slow, recovered;
};

static void rig_init(struct rig *rig, uint64_t seed) {
    struct o3_drift_params p = o3_drift_params_default();
    p.arl0_samples = 1e9; /* no alarm by chance */
    *rig = (struct rig){.d = o3_drift_new(&p), .wall_ms = START_MS};
    assert_non_null(rig->d);
    o3_rand_seed(&rig->rand, seed);
}

static void feed_value(struct rig *rig, double value) {
    struct o3_drift_report r;
    enum o3_drift_event ev = o3_drift_add(rig->d, value, rig->wall_ms, &r);
    rig->wall_ms += MINUTE_MS;
    if (ev) rig->last = r;
    rig->confirmed += ev == O3_DRIFT_EV_CONFIRMED;
    rig->slow += ev == O3_DRIFT_EV_CONFIRMED && r.is_slow;
    rig->recovered += ev == O3_DRIFT_EV_RECOVERED;
}

static void feed(struct rig *rig, double ratio, int minutes) {
    for (int i = 0; i < minutes; i++)
        feed_value(rig, ratio * LEVEL * (1 + CV * o3_rand_normal(&rig->rand)));
}

/* 0.6 % a day, until it is found. */
static void creep(struct rig *rig) {
    for (int hour = 0; hour < 20 * 24 && !rig->confirmed; hour++)
        feed(rig, 1 - 0.00025 * hour, HOUR);
}

static void rig_done(struct rig *rig) {
    o3_drift_free(rig->d);
}

/* The hours before a return are those of the change: they say nothing about what comes after it. */
static void a_recovery_is_not_followed_by_the_same_change(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(1);
    for (int minute = 0; minute < HOUR; minute += 10) {
        struct rig rig;
        rig_init(&rig, seed + (uint64_t)minute);
        feed(&rig, 1, 30 * HOUR);
        feed(&rig, 0.8, 10 * HOUR + minute);
        assert_int_equal(o3_drift_state_of(rig.d), O3_DRIFT_CONFIRMED);
        rig.recovered = rig.slow = 0;
        feed(&rig, 1, 12 * HOUR);
        assert_in_range(rig.recovered, 1, 2);
        assert_int_equal(rig.slow, 0);
        rig_done(&rig);
    }
}

/* A cold first reading, fifty times the others, must not blind the comparison of hours. */
static void a_freak_first_value_hides_no_slow_change(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(2);
    static const double FREAKS[] = {1.0 / 50, 1, 50};
    for (size_t i = 0; i < sizeof FREAKS / sizeof *FREAKS; i++) {
        struct rig rig;
        rig_init(&rig, seed);
        feed_value(&rig, FREAKS[i] * LEVEL);
        feed(&rig, 1, 26 * HOUR);
        assert_int_equal(rig.confirmed, 0);
        creep(&rig);
        assert_int_equal(rig.slow, 1);
        O3_ASSERT_NEAR(rig.last.reference, LEVEL, 0.02 * LEVEL);
        rig_done(&rig);
    }
}

/* A step to the other side of the reference is none that crept in. */
static void a_step_after_a_slow_change_is_a_step(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, o3_test_seed(3));
    feed(&rig, 1, 26 * HOUR);
    creep(&rig);
    assert_int_equal(rig.slow, 1);
    feed(&rig, 1.2, 2 * HOUR);
    assert_int_equal(rig.confirmed, 2);
    assert_int_equal(rig.last.direction, 1);
    assert_false(rig.last.is_slow);
    rig_done(&rig);
}

/* The interval of the time of a change has its ends in order, and the time in it. */
static void a_clock_set_back_leaves_the_interval_in_order(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(4);
    for (uint64_t i = 0; i < 12; i++) {
        struct rig rig;
        rig_init(&rig, seed + i);
        feed(&rig, 1, 5 * HOUR);
        feed(&rig, 0.93, (int)i);
        rig.wall_ms -= HOUR * MINUTE_MS;
        feed(&rig, 0.93, 40);
        assert_int_equal(rig.confirmed, 1);
        assert_true(rig.last.change_lo_ms <= rig.last.change_wall_ms);
        assert_true(rig.last.change_wall_ms <= rig.last.change_hi_ms);
        rig_done(&rig);
    }
}

static void so_does_an_outage(void **state) {
    (void)state;
    struct o3_success_params p = o3_success_params_default();
    for (int before = -4; before < 8; before++) {
        struct o3_success *s = o3_success_new(&p);
        int64_t wall_ms = START_MS;
        int confirmed = 0;
        for (int i = 0; i < 100; i++) {
            struct o3_drift_report r;
            wall_ms += MINUTE_MS;
            if (i == 60 + before) wall_ms -= HOUR * MINUTE_MS;
            enum o3_drift_event ev = o3_success_add(s, i < 60 ? i % 20 != 17 : i % 3 == 0, wall_ms, &r);
            if (ev != O3_DRIFT_EV_CONFIRMED && ev != O3_DRIFT_EV_SUSPECT) continue;
            confirmed += ev == O3_DRIFT_EV_CONFIRMED;
            assert_true(r.change_lo_ms <= r.change_wall_ms && r.change_wall_ms <= r.change_hi_ms);
        }
        assert_int_equal(confirmed, 1);
        o3_success_free(s);
    }
}

/* A change that brings much noise does not come and go with it; and its real end is seen. */
static void noise_of_a_change_is_no_return(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(6);
    int recovered = 0;
    for (uint64_t i = 0; i < 8; i++) {
        struct rig rig;
        rig_init(&rig, seed + i);
        feed(&rig, 1, 26 * HOUR);
        for (int m = 0; m < 3 * DAY; m++)
            feed_value(&rig, 0.88 * LEVEL * (1 + 0.12 * o3_rand_normal(&rig.rand)));
        recovered += rig.recovered;
        if (o3_drift_state_of(rig.d) == O3_DRIFT_CONFIRMED) {
            rig.recovered = 0;
            feed(&rig, 1, 3 * HOUR);
            assert_int_equal(rig.recovered, 1);
        }
        rig_done(&rig);
    }
    assert_in_range(recovered, 0, 10);
}

/* Where no sample has a predecessor each of them is worth a whole one, whatever the cadence was before. */
static void gaps_are_learned_from_in_full(void **state) {
    (void)state;
    struct o3_drift_baseline b = {.mean = 0, .var = 1, .spacing = 20, .n = 5000, .n_pairs = 5000};
    struct o3_drift_pair y = {.now = 1, .before = 1, .dt = 1, .has_before = false};
    o3_drift_baseline_learn(&b, y);
    O3_ASSERT_NEAR(b.mean, 1.0 / O3_DRIFT_MEMORY, 1e-12);
}

static struct o3_drift *restarted(struct o3_drift *d) {
    struct o3_drift *copy;
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1 << 16);
    assert_int_equal(o3_drift_encode(d, &text), 0);
    assert_int_equal(o3_drift_decode(text.p, text.len, &copy, NULL), 0);
    o3_drift_free(d);
    return copy;
}

/* Of twelve days: a freak first value, a cycle, a slow change, its return, a clock that is set back, quicker samples.
 */
static double eventful(struct rig *rig, int i, int64_t *step_ms) {
    bool is_day = i / 72 % 2 == 0, is_over = i > 1400;
    double cycle = is_day ? 1.03 : 0.97, slow = i < 400 || is_over ? 1 : 1 - 0.00012 * (i - 400);
    *step_ms = i == 1100 ? -30 * MINUTE_MS : (i % 120 > 110 ? 2 : 10) * MINUTE_MS;
    double value = slow * cycle * LEVEL * (1 + CV * o3_rand_normal(&rig->rand));
    return i == 0 ? 40 * value : i % 200 > 190 ? 0.8 * value : value;
}

static void a_restart_between_any_days_changes_nothing(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(5);
    for (int kind = 0; kind < 2; kind++) {
        struct o3_drift_params p = o3_drift_params_default();
        struct rig rig;
        rig_init(&rig, seed);
        o3_drift_free(rig.d);
        p.detector = kind ? O3_DRIFT_BY_RANK : O3_DRIFT_BY_CUSUM;
        p.interval_ms = 10 * MINUTE_MS;
        struct o3_drift *whole = rig.d = o3_drift_new(&p), *cut = o3_drift_new(&p);
        O3_AUTO_BUF a;
        O3_AUTO_BUF b;
        int events = 0;
        for (int i = 0; i < 1800; i++) {
            int64_t step_ms;
            double value = eventful(&rig, i, &step_ms);
            rig.wall_ms += step_ms;
            if (i % 13 == 0) cut = restarted(cut);
            enum o3_drift_event ev = o3_drift_add(whole, value, rig.wall_ms, NULL);
            assert_int_equal(o3_drift_add(cut, value, rig.wall_ms, NULL), ev);
            events += ev == O3_DRIFT_EV_CONFIRMED || ev == O3_DRIFT_EV_RECOVERED || ev == O3_DRIFT_EV_WENT_AWAY;
        }
        o3_buf_init(&a, 1 << 16);
        o3_buf_init(&b, 1 << 16);
        assert_int_equal(o3_drift_encode(whole, &a), 0);
        assert_int_equal(o3_drift_encode(cut, &b), 0);
        assert_string_equal(a.p, b.p);
        assert_true(events >= 5);
        o3_drift_free(whole);
        o3_drift_free(cut);
    }
}

/* Of a strongly correlated level that was acknowledged after three samples little is known: the sums of its next change
 * go far before they say anything, and such a state is read again, too. */
static void a_state_acknowledged_at_once_is_read_again(void **state) {
    (void)state;
    struct o3_drift_params p = o3_drift_params_default();
    uint64_t seed = o3_test_seed(7);
    for (uint64_t i = 0; i < 8; i++) {
        struct rig rig = {.d = o3_drift_new(&p), .wall_ms = START_MS};
        double ar = 0, factor = 1;
        o3_rand_seed(&rig.rand, seed + i);
        for (int m = 0, left = 300; m < 5000 && left; m++) {
            ar = 0.97 * ar + 0.243 * o3_rand_normal(&rig.rand);
            feed_value(&rig, factor * LEVEL * (1 + CV * ar));
            enum o3_drift_state is = o3_drift_state_of(rig.d);
            if (factor > 1) rig.d = restarted(rig.d), left--;
            if (factor == 1 && m >= 1000 && is == O3_DRIFT_STABLE) factor = 0.5;
            if (factor == 1 || is != O3_DRIFT_SUSPECT) continue;
            o3_drift_acknowledge(rig.d);
            factor = 2;
        }
        rig_done(&rig);
    }
}

/* Once a person called it normal, neither the season that becomes known later nor the comparison of hours brings a
 * change back, wherever the slow change had taken the baseline. */
static void an_acknowledged_level_stays_normal(void **state) {
    (void)state;
    static const int ACKNOWLEDGED_AFTER[] = {7 * HOUR, 30 * HOUR, 40 * HOUR, 80 * HOUR, 5 * DAY};
    uint64_t seed = o3_test_seed(8);
    for (size_t i = 0; i < sizeof ACKNOWLEDGED_AFTER / sizeof *ACKNOWLEDGED_AFTER; i++)
        for (int is_slow = 0; is_slow < 2; is_slow++) {
            struct rig rig;
            int quiet = ACKNOWLEDGED_AFTER[i] - 2 * HOUR;
            rig_init(&rig, seed + i);
            for (int m = 0; m < quiet; m++)
                feed(&rig, is_slow ? 1 - 0.04 * m / quiet : 1, 1);
            feed(&rig, is_slow ? 0.96 : 0.88, 2 * HOUR);
            if (!is_slow) assert_int_equal(o3_drift_state_of(rig.d), O3_DRIFT_CONFIRMED);
            o3_drift_acknowledge(rig.d);
            rig.confirmed = 0;
            feed(&rig, is_slow ? 0.96 : 0.88, 8 * DAY);
            assert_int_equal(rig.confirmed, 0);
            rig_done(&rig);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recovery_is_not_followed_by_the_same_change),
        cmocka_unit_test(a_freak_first_value_hides_no_slow_change),
        cmocka_unit_test(a_step_after_a_slow_change_is_a_step),
        cmocka_unit_test(a_clock_set_back_leaves_the_interval_in_order),
        cmocka_unit_test(so_does_an_outage),
        cmocka_unit_test(noise_of_a_change_is_no_return),
        cmocka_unit_test(gaps_are_learned_from_in_full),
        cmocka_unit_test(a_restart_between_any_days_changes_nothing),
        cmocka_unit_test(a_state_acknowledged_at_once_is_read_again),
        cmocka_unit_test(an_acknowledged_level_stays_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
