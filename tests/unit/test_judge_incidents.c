/* SPDX-License-Identifier: Apache-2.0 */
/* One fault is one incident, with the cause that it began with: while it ends, when it gets worse in a further step,
 * and when a signal is back for a moment only. */
#include "judge_rig.h"

struct told {
    int n_opened, n_changed, n_closed, n_recovered;
    struct o3_incident incident; /* the newest news */
    unsigned causes;             /* bits of all first ones that were told */
};

static void on_verdict(void *ctx, const struct o3_verdict *v) {
    struct told *t = ctx;
    t->n_recovered += v->report.event == O3_DRIFT_EV_RECOVERED;
}

static void on_incident(void *ctx, const struct o3_incident *i, enum o3_incident_change change) {
    struct told *t = ctx;
    t->n_opened += change == O3_INCIDENT_OPENED;
    t->n_changed += change == O3_INCIDENT_CHANGED;
    t->n_closed += change == O3_INCIDENT_CLOSED;
    t->incident = *i;
    if (i->n_causes) t->causes |= 1U << i->cause[0].cause;
}

struct source {
    struct o3_rand rand;
    int64_t n, n_loads;
    double tps, ttft_s, throttled;
};

static struct source source(uint64_t seed) {
    struct source w = {.tps = 300, .ttft_s = 0.02};
    o3_rand_seed(&w.rand, o3_test_seed(seed));
    return w;
}

static struct o3_judge *judge_new(struct told *t) {
    return judge_with(judge_params(), (struct o3_judge_ops){.ctx = t, .verdict = on_verdict, .incident = on_incident});
}

static void feed(struct o3_judge *j, struct source *w, int n) {
    for (int i = 0; i < n; i++) {
        struct o3_sample s = judge_sample(w->n++);
        s.size_bytes = s.vram_bytes = 3 * GIB;
        s.decode_tps = w->tps * judge_noise(&w->rand, 0.02);
        s.ttft_ns = (int64_t)(w->ttft_s * judge_noise(&w->rand, 0.02) * 1e9);
        s.around.weight_bytes = 2 * GIB;
        s.around.bandwidth_bytes_per_s = 1e12;
        s.around.n_loads = w->n_loads;
        s.around.n_throttled = (int64_t)w->throttled;
        s.around.n_quota = 0;
        w->n_loads = 0;
        o3_judge_add(j, &s);
    }
}

/* Reloads bring the GPU back; until the return is sure there are many loads and no slow samples any more. */
static void the_end_of_a_change_is_no_evidence_of_its_cause(void **state) {
    (void)state;
    for (int n_slow = 25; n_slow <= 65; n_slow += 4) {
        struct told t = {0};
        struct source w = source(20);
        struct o3_judge *j = judge_new(&t);
        feed(j, &w, 200);
        w.tps /= 6;
        w.ttft_s *= 1.8;
        feed(j, &w, n_slow);
        assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_CPU_FALLBACK);
        w.tps *= 6;
        for (int i = 0; i < 60; i++) {
            w.n_loads = i < 4;
            feed(j, &w, 1);
        }
        w.ttft_s /= 1.8;
        feed(j, &w, 60);
        assert_int_equal(t.causes, 1U << O3_CAUSE_CPU_FALLBACK);
        assert_int_equal(t.n_opened, 1);
        assert_int_equal(t.n_closed, 1);
        o3_judge_free(j);
    }
}

/* Throttled a little, and hours later on the processor: the first token tells it first. */
static void a_second_step_is_the_same_incident(void **state) {
    (void)state;
    static const int HOURS[] = {1, 2, 5, 10};
    for (size_t i = 0; i < sizeof HOURS / sizeof *HOURS; i++) {
        struct told t = {0};
        struct source w = source(21 + i);
        struct o3_judge *j = judge_new(&t);
        feed(j, &w, 300);
        int64_t began_ms = INT64_C(1790000000000) + w.n * 60000;
        w.tps *= 0.85;
        w.throttled = 3;
        feed(j, &w, 60 * HOURS[i]);
        assert_int_equal(t.n_opened, 1);
        assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_THROTTLING);
        assert_int_equal(t.incident.grown_ms, 0);
        int64_t grew_ms = INT64_C(1790000000000) + w.n * 60000;
        w.tps *= 0.2;
        w.ttft_s *= 2;
        feed(j, &w, 60);
        assert_int_equal(t.n_opened, 1);
        assert_true(t.n_changed >= 1 && t.n_changed <= 4);
        assert_int_equal(t.incident.n_members, 2);
        assert_int_equal(t.incident.since_ms, began_ms);
        assert_int_equal(t.incident.grown_ms, grew_ms);
        assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_CPU_FALLBACK);
        assert_true(t.incident.member[0].verdict.report.change_ratio < -0.75);
        assert_non_null(strstr(t.incident.text, ", further since "));
        o3_judge_free(j);
    }
}

/* Without another signal, the growth is told with the cause of the growth. */
static void the_cause_of_a_growth_is_told(void **state) {
    (void)state;
    struct told t = {0};
    struct source w = source(25);
    struct o3_judge *j = judge_new(&t);
    feed(j, &w, 300);
    w.tps *= 0.85;
    feed(j, &w, 120);
    assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_UNKNOWN);
    w.tps *= 0.6;
    w.throttled = 3;
    feed(j, &w, 60);
    assert_int_equal(t.n_opened, 1);
    assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_THROTTLING);
    o3_judge_free(j);
}

/* What has nothing to do with it stays another incident: nothing grew then. */
static void another_change_is_another_incident(void **state) {
    (void)state;
    struct told t = {0};
    struct source w = source(26);
    struct o3_judge *j = judge_new(&t);
    feed(j, &w, 300);
    w.tps *= 0.85;
    feed(j, &w, 120);
    w.ttft_s *= 2;
    feed(j, &w, 60);
    assert_int_equal(t.n_opened, 2);
    o3_judge_free(j);
}

/* Back for the time that a return takes to be sure, and changed again. */
static void back_for_a_moment(struct told *t, bool others_stand, int n_back) {
    struct source w = source(27);
    struct o3_judge *j = judge_new(t);
    feed(j, &w, 300);
    w.tps *= 0.7;
    if (others_stand) w.ttft_s *= 1.5;
    feed(j, &w, 60);
    assert_int_equal(t->n_opened, 1);
    w.tps /= 0.7;
    feed(j, &w, n_back);
    assert_int_equal(t->n_recovered, 1);
    assert_int_equal(t->n_closed, !others_stand);
    w.tps *= 0.7;
    feed(j, &w, 60);
    o3_judge_free(j);
}

static void a_short_return_ends_no_incident(void **state) {
    (void)state;
    for (int others_stand = 0; others_stand < 2; others_stand++) {
        struct told t = {0};
        back_for_a_moment(&t, others_stand, others_stand ? 40 : 18);
        assert_int_equal(t.n_opened, 1);
        assert_int_equal(t.incident.n_members, 1 + others_stand);
        assert_true(t.incident.is_open);
        for (int i = 0; i < t.incident.n_members; i++)
            assert_false(t.incident.member[i].is_over);
        assert_int_equal(t.incident.since_ms, INT64_C(1790000000000) + 300 * 60000);
    }
}

static void after_a_long_return_it_is_another(void **state) {
    (void)state;
    for (int others_stand = 0; others_stand < 2; others_stand++) {
        struct told t = {0};
        back_for_a_moment(&t, others_stand, 120);
        assert_int_equal(t.n_opened, 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_change_is_no_evidence_of_its_cause),
        cmocka_unit_test(a_second_step_is_the_same_incident),
        cmocka_unit_test(the_cause_of_a_growth_is_told),
        cmocka_unit_test(another_change_is_another_incident),
        cmocka_unit_test(a_short_return_ends_no_incident),
        cmocka_unit_test(after_a_long_return_it_is_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
