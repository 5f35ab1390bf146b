/* SPDX-License-Identifier: Apache-2.0 */
/* The figures that presets carry through a change and back: `performance` is of one level, `previous` tells what was
 * before, also when several signals change and return one after the other. */
#include "sim/rig.h"

#define MODEL "sim-small:latest"
#define FAST "probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d, keep_conversation: 0s}\n"
#define DOCS_MAX 32
#define STEP_MS 500

struct history {
    struct rig *r;
    int n;
    struct o3_preset p[DOCS_MAX]; /* each document that was offered, oldest first */
};

static void history_start(struct history *h, const char *const *events, const char *config) {
    *h = (struct history){.r = rig_new(config ? config : FAST, NULL)};
    for (; *events; events++)
        rig_world_event(h->r, *events);
    rig_preload(h->r, MODEL, 8192);
}

static bool is_news(const struct history *h, const struct o3_preset *p) {
    return h->n == 0 || h->p[h->n - 1].as_of_ms != p->as_of_ms;
}

static void history_until(struct history *h, int64_t mono_ms) {
    for (int64_t t = h->r->c->now_ns / O3_NS_PER_MS + STEP_MS; t <= mono_ms; t += STEP_MS) {
        rig_run_until(h->r, t);
        const struct o3_preset *p = &h->r->offered.presets[O3_PRESET_BALANCED];
        if (!h->r->n_offers || !is_news(h, p)) continue;
        if (h->n == DOCS_MAX) fail_msg("too many documents");
        h->p[h->n++] = *p;
        if (!getenv("O3_TEST_VERBOSE")) continue;
        print_message("%6lld s  %.2f %.0f stable %.3f n %lld | previous %.2f %.0f stable %.3f\n", (long long)(t / 1000),
                      p->performance.tokens_per_sec, p->performance.ttft_ms, p->performance.stability,
                      (long long)p->performance.n, p->previous.tokens_per_sec, p->previous.ttft_ms,
                      p->previous.stability);
    }
}

static const struct o3_preset *newest(const struct history *h) {
    assert_true(h->n > 0);
    return &h->p[h->n - 1];
}

static void assert_figures(const struct o3_performance *p, double tps, double ttft_ms) {
    assert_true(p->is_set);
    O3_ASSERT_NEAR(p->tokens_per_sec, tps, 0.05 * tps);
    O3_ASSERT_NEAR(p->ttft_ms, ttft_ms, 0.1 * ttft_ms);
}

static int count(const struct history *h, enum o3_event_id id, const char *signal) {
    int n = 0;
    for (int i = 0; i < h->r->n_events; i++)
        n += h->r->events[i].id == id && !strcmp(h->r->events[i].signal, signal);
    return n;
}

/* A slower decode is a later first token, too: both change, and both return, decode first. */
static void previous_after_a_recovery_of_two(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 30m decode -40 % for 30m", NULL};
    struct history h;
    history_start(&h, EVENTS, NULL);
    history_until(&h, 29 * RIG_MINUTE_MS);
    struct o3_performance healthy = newest(&h)->performance;
    history_until(&h, 59 * RIG_MINUTE_MS);
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "decode_rate"), 1);
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "ttft"), 1);
    struct o3_performance changed = newest(&h)->performance;
    assert_true(changed.tokens_per_sec < 0.65 * healthy.tokens_per_sec && changed.ttft_ms > 1.2 * healthy.ttft_ms);
    assert_figures(&newest(&h)->previous, healthy.tokens_per_sec, healthy.ttft_ms);
    history_until(&h, 90 * RIG_MINUTE_MS);
    assert_int_equal(count(&h, O3_EV_DRIFT_RECOVERED, "decode_rate"), 1);
    assert_int_equal(count(&h, O3_EV_DRIFT_RECOVERED, "ttft"), 1);
    assert_figures(&newest(&h)->performance, healthy.tokens_per_sec, healthy.ttft_ms);
    assert_figures(&newest(&h)->previous, changed.tokens_per_sec, changed.ttft_ms);
    rig_free(h.r);
}

/* Decode returns, changes again and returns, while the first token stays late: `previous` is always what was published
 * before the levels went that way. */
static void previous_while_one_of_two_stays(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 30m decode -40 % for 30m", "at 30m ttft +200ms for 100m",
                                         "at 75m decode -40 % for 30m", NULL};
    struct history h;
    history_start(&h, EVENTS, NULL);
    history_until(&h, 59 * RIG_MINUTE_MS);
    struct o3_performance both = newest(&h)->performance, healthy = newest(&h)->previous;
    assert_true(healthy.is_set && both.tokens_per_sec < 0.65 * healthy.tokens_per_sec);
    assert_true(both.ttft_ms > 5 * healthy.ttft_ms);
    history_until(&h, 74 * RIG_MINUTE_MS);
    struct o3_performance late = newest(&h)->performance;
    assert_figures(&late, healthy.tokens_per_sec, both.ttft_ms);
    assert_figures(&newest(&h)->previous, both.tokens_per_sec, both.ttft_ms);
    history_until(&h, 104 * RIG_MINUTE_MS);
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "decode_rate"), 2);
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "ttft"), 1);
    assert_figures(&newest(&h)->performance, both.tokens_per_sec, both.ttft_ms);
    assert_figures(&newest(&h)->previous, late.tokens_per_sec, late.ttft_ms);
    history_until(&h, 129 * RIG_MINUTE_MS);
    assert_figures(&newest(&h)->performance, healthy.tokens_per_sec, late.ttft_ms);
    assert_figures(&newest(&h)->previous, both.tokens_per_sec, both.ttft_ms);
    history_until(&h, 150 * RIG_MINUTE_MS);
    assert_int_equal(count(&h, O3_EV_DRIFT_RECOVERED, "ttft"), 1);
    assert_figures(&newest(&h)->performance, healthy.tokens_per_sec, healthy.ttft_ms);
    assert_figures(&newest(&h)->previous, both.tokens_per_sec, both.ttft_ms);
    rig_free(h.r);
}

/* Until that event has come. */
static void history_until_event(struct history *h, enum o3_event_id id, const char *signal) {
    for (int i = 0; i < 600 && !count(h, id, signal); i++)
        history_until(h, h->r->c->now_ns / O3_NS_PER_MS + RIG_MINUTE_MS / 60);
    assert_int_equal(count(h, id, signal), 1);
}

/* A process that ends between the two of a change, and between the two of its return. */
static void previous_outlives_a_restart(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 30m decode -40 % for 30m", NULL};
    struct history h;
    history_start(&h, EVENTS, NULL);
    history_until(&h, 30 * RIG_MINUTE_MS);
    struct o3_performance healthy = newest(&h)->performance;
    history_until_event(&h, O3_EV_DRIFT_CONFIRMED, "decode_rate");
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "ttft"), 0);
    rig_restart_sidecar(h.r);
    history_until(&h, 60 * RIG_MINUTE_MS);
    struct o3_performance changed = newest(&h)->performance;
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "ttft"), 1);
    assert_true(changed.ttft_ms > 1.2 * healthy.ttft_ms);
    assert_figures(&newest(&h)->previous, healthy.tokens_per_sec, healthy.ttft_ms);
    history_until_event(&h, O3_EV_DRIFT_RECOVERED, "decode_rate");
    assert_int_equal(count(&h, O3_EV_DRIFT_RECOVERED, "ttft"), 0);
    rig_restart_sidecar(h.r);
    history_until(&h, 90 * RIG_MINUTE_MS);
    assert_int_equal(count(&h, O3_EV_DRIFT_RECOVERED, "ttft"), 1);
    assert_figures(&newest(&h)->performance, healthy.tokens_per_sec, healthy.ttft_ms);
    assert_figures(&newest(&h)->previous, changed.tokens_per_sec, changed.ttft_ms);
    rig_free(h.r);
}

static void acknowledge(struct history *h) {
    O3_AUTO_BUF answer;
    struct o3_err e = {0};
    o3_buf_init(&answer, 1 << 16);
    assert_int_equal(o3_sidecar_acknowledge(h->r->c->sidecar, MODEL, NULL, rig_now(h->r), &answer, &e), 0);
}

/* What was accepted is the normal level of the next change and its return. */
static void previous_after_an_acknowledgement(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 30m decode -40 %", "at 70m decode -30 % for 30m", NULL};
    struct history h;
    history_start(&h, EVENTS, NULL);
    history_until(&h, 50 * RIG_MINUTE_MS);
    struct o3_performance first = newest(&h)->performance, healthy = newest(&h)->previous;
    acknowledge(&h);
    history_until(&h, 69 * RIG_MINUTE_MS);
    assert_int_equal(count(&h, O3_EV_DRIFT_ACKNOWLEDGED, "decode_rate"), 1);
    assert_figures(&newest(&h)->performance, first.tokens_per_sec, first.ttft_ms);
    assert_figures(&newest(&h)->previous, healthy.tokens_per_sec, healthy.ttft_ms);
    history_until(&h, 99 * RIG_MINUTE_MS);
    struct o3_performance second = newest(&h)->performance;
    assert_true(second.tokens_per_sec < 0.75 * first.tokens_per_sec);
    assert_figures(&newest(&h)->previous, first.tokens_per_sec, first.ttft_ms);
    history_until(&h, 130 * RIG_MINUTE_MS);
    assert_figures(&newest(&h)->performance, first.tokens_per_sec, first.ttft_ms);
    assert_figures(&newest(&h)->previous, second.tokens_per_sec, second.ttft_ms);
    rig_free(h.r);
}

/* Presets carry no prefill rate: its change leaves nothing in them that could have been another figure before. */
static void prefill_alone_has_no_previous(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 90m prefill -40 %", NULL};
    struct history h;
    history_start(&h, EVENTS,
                  "probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d, "
                  "keep_conversation: 0s, prefill_interval: 1m}\n");
    history_until(&h, 150 * RIG_MINUTE_MS);
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "prefill_rate"), 1);
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "decode_rate"), 0);
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "ttft"), 0);
    assert_false(newest(&h)->previous.is_set);
    rig_free(h.r);
}

/* ---- stability ---- */

static double metric_stability(const struct history *h) {
    return rig_metric(h->r, O3_M_STABILITY_RATIO, O3_L(MODEL));
}

/* Both levels are as steady as can be; a share over attempts of both of them would be 0.6 to 0.8. */
static void stability_is_of_one_level(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 30m decode -40 % for 30m", NULL};
    struct history h;
    history_start(&h, EVENTS, NULL);
    history_until(&h, 30 * RIG_MINUTE_MS);
    history_until_event(&h, O3_EV_DRIFT_CONFIRMED, "decode_rate");
    O3_ASSERT_NEAR(metric_stability(&h), newest(&h)->performance.stability, 0.0005);
    O3_AUTO_BUF json;
    o3_buf_init(&json, 1 << 20);
    assert_int_equal(o3_sidecar_models_json(h.r->c->sidecar, rig_now(h.r), &json), 0);
    assert_non_null(strstr(o3_buf_str(&json), "\"stability\": {\n        \"ratio\": 1.0,\n        \"n\": 10,"));
    history_until(&h, 60 * RIG_MINUTE_MS);
    history_until_event(&h, O3_EV_DRIFT_RECOVERED, "decode_rate");
    O3_ASSERT_NEAR(metric_stability(&h), newest(&h)->performance.stability, 0.0005);
    history_until(&h, 90 * RIG_MINUTE_MS);
    assert_true(h.n >= 5);
    for (int i = 0; i < h.n; i++)
        if (!(h.p[i].performance.stability >= 0.95))
            fail_msg("document %d: stability %.3f", i, h.p[i].performance.stability);
    rig_free(h.r);
}

/* Only what came after the change counts, but all of that: half the answers of the slow server are errors. */
static void stability_counts_failures_since_the_change(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 30m decode -40 %", "at 31m truncate-stream for 100s", NULL};
    struct history h;
    history_start(&h, EVENTS, NULL);
    history_until(&h, 30 * RIG_MINUTE_MS);
    history_until_event(&h, O3_EV_DRIFT_CONFIRMED, "decode_rate");
    O3_ASSERT_NEAR(newest(&h)->performance.stability, 0.5, 0.06); /* 10 of each */
    O3_ASSERT_NEAR(metric_stability(&h), newest(&h)->performance.stability, 0.0005);
    rig_free(h.r);
}

/* A level that a person accepts while it is suspected is one level, too. */
static void stability_of_an_accepted_level(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 30m decode -40 %", NULL};
    struct history h;
    history_start(&h, EVENTS, NULL);
    history_until(&h, 30 * RIG_MINUTE_MS);
    history_until_event(&h, O3_EV_DRIFT_SUSPECT, "decode_rate");
    assert_true(metric_stability(&h) < 0.95);
    acknowledge(&h);
    history_until_event(&h, O3_EV_DRIFT_ACKNOWLEDGED, "decode_rate");
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "decode_rate"), 0);
    O3_ASSERT_NEAR(metric_stability(&h), 1, 0);
    rig_free(h.r);
}

/* A share of two attempts is none: it is left out, and comes with a second write once there are enough of them. */
static void stability_of_few_attempts_waits(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 30m decode -40 %", NULL};
    struct history h;
    history_start(&h, EVENTS, NULL);
    history_until(&h, 30 * RIG_MINUTE_MS);
    history_until_event(&h, O3_EV_DRIFT_CONFIRMED, "decode_rate");
    int n = h.n;
    assert_int_equal(count(&h, O3_EV_DRIFT_CONFIRMED, "ttft"), 0);
    rig_restart_sidecar(h.r);
    history_until_event(&h, O3_EV_DRIFT_CONFIRMED, "ttft");
    assert_int_equal(h.n, n + 1);
    assert_true(newest(&h)->performance.is_set && isnan(newest(&h)->performance.stability));
    struct o3_preset before = *newest(&h);
    history_until(&h, 60 * RIG_MINUTE_MS);
    assert_int_equal(h.n, n + 2);
    assert_true(newest(&h)->performance.stability >= 0.95);
    assert_figures(&newest(&h)->previous, before.previous.tokens_per_sec, before.previous.ttft_ms);
    rig_free(h.r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(previous_after_a_recovery_of_two),
        cmocka_unit_test(previous_while_one_of_two_stays),
        cmocka_unit_test(previous_outlives_a_restart),
        cmocka_unit_test(previous_after_an_acknowledgement),
        cmocka_unit_test(prefill_alone_has_no_previous),
        cmocka_unit_test(stability_is_of_one_level),
        cmocka_unit_test(stability_counts_failures_since_the_change),
        cmocka_unit_test(stability_of_an_accepted_level),
        cmocka_unit_test(stability_of_few_attempts_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
