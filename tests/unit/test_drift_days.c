/* SPDX-License-Identifier: Apache-2.0 */
/* The detector over days: what a recovery, a freak first value and a clock that is set do to the comparison of hours.
 */
#include "o3_test.h"
#include "drift/parts.h"
#include "o3/drift.h"
#include "o3/rand.h"

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
        assert_int_equal(rig.confirmed, 1);
        feed(&rig, 1, 12 * HOUR);
        assert_int_equal(rig.recovered, 1);
        assert_int_equal(rig.slow, 0);
        assert_int_equal(rig.confirmed, 1);
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

/* Where no sample has a predecessor each of them is worth a whole one, whatever the cadence was before. */
static void gaps_are_learned_from_in_full(void **state) {
    (void)state;
    struct o3_drift_baseline b = {.mean = 0, .var = 1, .spacing = 20, .n = 5000, .n_pairs = 5000};
    struct o3_drift_pair y = {.now = 1, .before = 1, .dt = 1, .has_before = false};
    o3_drift_baseline_learn(&b, y);
    O3_ASSERT_NEAR(b.mean, 1.0 / O3_DRIFT_MEMORY, 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recovery_is_not_followed_by_the_same_change),
        cmocka_unit_test(a_freak_first_value_hides_no_slow_change),
        cmocka_unit_test(a_step_after_a_slow_change_is_a_step),
        cmocka_unit_test(a_clock_set_back_leaves_the_interval_in_order),
        cmocka_unit_test(gaps_are_learned_from_in_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
