/* SPDX-License-Identifier: Apache-2.0 */
/* A changed configuration reaches the series that are judged already, live and from saved states. */
#include "judge_rig.h"

struct told {
    struct judge_states states;
    int n_confirmed, n_models;
    struct o3_rand rand;
    int64_t n;
};

static void on_save(void *ctx, const char *key, const char *value, size_t n) {
    struct told *t = ctx;
    judge_states_save(&t->states, key, value, n);
}

static bool on_take(void *ctx, const char *key, struct o3_buf *ret) {
    const struct told *t = ctx;
    return judge_states_take(&t->states, key, ret);
}

static void on_verdict(void *ctx, const struct o3_verdict *v) {
    struct told *t = ctx;
    t->n_confirmed += v->report.event == O3_DRIFT_EV_CONFIRMED;
}

static struct told *told_new(void) {
    struct told *t = calloc(1, sizeof *t);
    o3_rand_seed(&t->rand, 11);
    t->n_models = 1;
    return t;
}

static void told_free(struct told *t) {
    judge_states_free(&t->states);
    free(t);
}

static struct o3_judge *judge_new(struct told *t, struct o3_judge_params p) {
    return judge_with(
        p, (struct o3_judge_ops){.ctx = t, .verdict = on_verdict, .save = on_save, .take = on_take, .keep = on_save});
}

static void feed(struct told *t, struct o3_judge *j, double tps, int n) {
    for (int i = 0; i < n; i++) {
        struct o3_sample s = judge_sample(t->n++);
        s.decode_tps = tps * (1 + 0.02 * o3_rand_normal(&t->rand));
        s.around.n_models = t->n_models;
        o3_judge_add(j, &s);
    }
}

static struct o3_drift_view view_of(const struct o3_judge *j, enum o3_signal sig) {
    struct o3_series_view v;
    o3_judge_view(j, MODEL, sig, O3_STRATUM_IDLE, &v);
    assert_true(v.exists);
    return v.drift;
}

static void test_the_least_effect_is_live(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge_params p = judge_params();
    struct o3_judge *j = judge_new(t, p);
    feed(t, j, 45, 200);
    p.min_effect = 0.3;
    o3_judge_configure(j, &p);
    feed(t, j, 36, 40); /* 20 % lower */
    assert_int_equal(t->n_confirmed, 0);
    p.min_effect = 0.1;
    o3_judge_configure(j, &p);
    feed(t, j, 36, 30);
    assert_int_equal(t->n_confirmed, 1);
    o3_judge_free(j);
    told_free(t);
}

static void test_the_least_effect_reaches_saved_series(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge_params p = judge_params();
    struct o3_judge *j = judge_new(t, p);
    feed(t, j, 45, 200);
    o3_judge_save(j);
    o3_judge_free(j);
    p.min_effect = 0.3;
    j = judge_new(t, p);
    o3_judge_expect(j, MODEL);
    feed(t, j, 36, 40);
    assert_int_equal(t->n_confirmed, 0);
    o3_judge_free(j);
    told_free(t);
}

/* Statistics are shown as parts of their threshold: more false alarms make the same evidence count for more. */
static double statistic_with(double budget_ms, int n_models) {
    struct told *t = told_new();
    struct o3_judge_params p = judge_params();
    struct o3_judge *j = judge_new(t, p);
    feed(t, j, 45, 200);
    p.budget_ms = budget_ms;
    t->n_models = n_models;
    o3_judge_configure(j, &p);
    feed(t, j, 44, 2);
    double s = view_of(j, O3_SIGNAL_DECODE_RATE).statistic;
    o3_judge_free(j);
    told_free(t);
    return s;
}

static void test_false_alarms_reach_what_is_judged(void **state) {
    (void)state;
    double month = statistic_with(30 * 86400e3, 1), hour = statistic_with(3600e3, 1);
    if (!(hour > 1.2 * month && month > 0)) fail_msg("%g in a month, %g in an hour", month, hour);
    double shared = statistic_with(30 * 86400e3, 8); /* one budget for all models, also for those that come later */
    if (!(shared < 0.95 * month && shared > 0)) fail_msg("%g alone, %g beside seven models", month, shared);
}

/* Live and from a saved state the other detector begins at the same sample. */
static void test_another_detector_takes_over(void **state) {
    (void)state;
    struct told *t = told_new(), *u = told_new();
    struct o3_judge_params p = judge_params();
    struct o3_judge *live = judge_new(t, p), *stays = judge_new(u, p);
    feed(t, live, 45, 200);
    feed(u, stays, 45, 200);
    o3_judge_save(live);
    p.detector = O3_DRIFT_BY_RANK;
    o3_judge_configure(live, &p);
    struct told *again = told_new();
    for (size_t i = 0; i < t->states.n; i++)
        on_save(again, t->states.v[i].key, t->states.v[i].value, t->states.v[i].n);
    again->rand = t->rand;
    again->n = t->n;
    struct o3_judge *restored = judge_new(again, p);
    o3_judge_expect(restored, MODEL);
    for (int i = 0; i < 100; i++) {
        double tps = i < 60 ? 45 : 36;
        feed(t, live, tps, 1);
        feed(u, stays, tps, 1);
        feed(again, restored, tps, 1);
        double a = view_of(live, O3_SIGNAL_DECODE_RATE).statistic;
        double b = view_of(restored, O3_SIGNAL_DECODE_RATE).statistic;
        assert_true(a == b);
        if (i == 61) assert_true(a != view_of(stays, O3_SIGNAL_DECODE_RATE).statistic);
    }
    assert_int_equal(t->n_confirmed, 1);
    assert_int_equal(again->n_confirmed, 1);
    o3_judge_free(live);
    o3_judge_free(stays);
    o3_judge_free(restored);
    told_free(t);
    told_free(u);
    told_free(again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_effect_is_live),
        cmocka_unit_test(test_the_least_effect_reaches_saved_series),
        cmocka_unit_test(test_false_alarms_reach_what_is_judged),
        cmocka_unit_test(test_another_detector_takes_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
