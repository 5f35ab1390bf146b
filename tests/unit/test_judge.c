/* SPDX-License-Identifier: Apache-2.0 */
/* From samples to verdicts: what is told, in which order, and that a restart changes none of it. */
#include "judge_rig.h"

/* ---- what was told ---- */

struct told {
    struct judge_states states;
    struct o3_buf log;
    int n_verdicts[O3_DRIFT_EV_RECOVERED + 1], n_incidents[3], n_releases, n_epochs, n_acknowledged;
    double acknowledged;
    struct o3_verdict last;
    struct o3_release releases[64];
    struct o3_incident incident;
    size_t longest_key;
};

static void on_save(void *ctx, const char *key, const char *value, size_t n) {
    struct told *t = ctx;
    if (strlen(key) > t->longest_key) t->longest_key = strlen(key);
    judge_states_save(&t->states, key, value, n);
}

static bool on_take(void *ctx, const char *key, struct o3_buf *ret) {
    const struct told *t = ctx;
    return judge_states_take(&t->states, key, ret);
}

static void on_verdict(void *ctx, const struct o3_verdict *v) {
    struct told *t = ctx;
    judge_log_verdict(&t->log, v);
    t->n_verdicts[v->report.event]++;
    t->last = *v;
}

static void on_incident(void *ctx, const struct o3_incident *i, enum o3_incident_change change) {
    struct told *t = ctx;
    judge_log_incident(&t->log, i, change);
    t->n_incidents[change]++;
    t->incident = *i;
}

static void on_release(void *ctx, const struct o3_release *r) {
    struct told *t = ctx;
    judge_log_release(&t->log, r);
    if (t->n_releases < 64) t->releases[t->n_releases] = *r;
    t->n_releases++;
}

static void on_epoch(void *ctx, const char *model, const char *reason) {
    struct told *t = ctx;
    judge_log_epoch(&t->log, model, reason);
    t->n_epochs++;
}

static void on_acknowledged(void *ctx, const char *model, enum o3_signal signal, double level) {
    struct told *t = ctx;
    judge_log_acknowledged(&t->log, model, signal, level);
    t->n_acknowledged++;
    t->acknowledged = level;
}

static struct told *told_new(void) {
    struct told *t = calloc(1, sizeof *t);
    o3_buf_init(&t->log, 16 * 1024 * 1024);
    return t;
}

static void told_free(struct told *t) {
    judge_states_free(&t->states);
    o3_buf_done(&t->log);
    free(t);
}

static struct o3_judge *judge_new(struct told *t, struct o3_judge_params p) {
    return judge_with(p, (struct o3_judge_ops){t, on_verdict, on_incident, on_release, on_epoch, on_acknowledged,
                                               on_save, on_take, on_save, NULL});
}

/* ---- samples ---- */

struct world {
    double tps, ttft_s, noise;
    int64_t num_ctx, size, vram;
    const char *version, *digest, *model;
    struct o3_rand rand;
    int64_t n;
};

static struct world world(void) {
    struct world w = {.tps = 45,
                      .ttft_s = 0.2,
                      .noise = 0.02,
                      .num_ctx = 4096,
                      .size = 6 * GIB,
                      .vram = 6 * GIB,
                      .version = "0.30.1",
                      .digest = "aaaa",
                      .model = MODEL};
    o3_rand_seed(&w.rand, 7);
    return w;
}

static double wobble(struct world *w) {
    return judge_noise(&w->rand, w->noise);
}

static struct o3_sample sample_of(struct world *w) {
    struct o3_sample s = judge_sample(w->n++);
    s.num_ctx = w->num_ctx;
    s.size_bytes = w->size;
    s.vram_bytes = w->vram;
    s.decode_tps = w->tps * wobble(w);
    s.ttft_ns = (int64_t)(w->ttft_s * wobble(w) * 1e9);
    o3_str_copy(s.model, sizeof s.model, w->model);
    o3_str_copy(s.digest, sizeof s.digest, w->digest);
    o3_str_copy(s.around.version, sizeof s.around.version, w->version);
    s.around.parallel = 1;
    return s;
}

static void feed(struct o3_judge *j, struct world *w, int n) {
    for (int i = 0; i < n; i++) {
        struct o3_sample s = sample_of(w);
        o3_judge_add(j, &s);
    }
}

/* ---- tests ---- */

static void test_names(void **state) {
    (void)state;
    for (int i = 0; i < O3_SIGNAL_COUNT; i++) {
        enum o3_signal sig;
        assert_true(o3_signal_parse(o3_signal_name((enum o3_signal)i), &sig));
        assert_int_equal(sig, i);
    }
    enum o3_signal sig;
    assert_false(o3_signal_parse("decode", &sig));
    assert_int_equal(o3_signal_good_direction(O3_SIGNAL_MEMORY), -1);
    assert_int_equal(o3_signal_good_direction(O3_SIGNAL_DECODE_RATE), 1);
    assert_string_equal(o3_stratum_name(O3_STRATUM_THROTTLED), "throttled");
}

static struct o3_series_view view_of(const struct o3_judge *j, const struct world *w, enum o3_signal sig) {
    struct o3_series_view v;
    o3_judge_view(j, w->model, sig, O3_STRATUM_IDLE, &v);
    return v;
}

static void test_a_quiet_server_is_quiet(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 600);
    assert_int_equal(t->n_verdicts[O3_DRIFT_EV_CONFIRMED], 0);
    assert_int_equal(t->n_verdicts[O3_DRIFT_EV_BASELINE], 6); /* decode, ttft, memory, gpu share, context, success */
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 0);
    assert_int_equal(t->n_releases + t->n_epochs, 0);
    O3_ASSERT_NEAR(view_of(j, &w, O3_SIGNAL_DECODE_RATE).drift.baseline, 45, 0.5);
    O3_ASSERT_NEAR(view_of(j, &w, O3_SIGNAL_SUCCESS).drift.baseline, 1, 0.01);
    assert_int_equal((int)view_of(j, &w, O3_SIGNAL_GPU_RATIO).drift.baseline, 1);
    assert_false(view_of(j, &w, O3_SIGNAL_PREFILL_RATE).exists);
    assert_false(o3_judge_is_learning(j, w.model, O3_SIGNAL_DECODE_RATE));
    assert_true(o3_judge_is_learning(j, "another", O3_SIGNAL_DECODE_RATE));
    double recent[8];
    assert_int_equal(o3_judge_recent(j, w.model, O3_SIGNAL_DECODE_RATE, O3_STRATUM_IDLE, recent, 8), 8);
    o3_judge_free(j);
    told_free(t);
}

static void test_one_incident_of_several_signals(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    int64_t changed_ms = T0 + w.n * STEP_MS;
    w.tps *= 0.6;
    w.ttft_s *= 1.5;
    w.vram /= 2;
    feed(j, &w, 40);
    assert_int_equal(t->n_verdicts[O3_DRIFT_EV_CONFIRMED], 3);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
    assert_int_equal(t->incident.n_members, 3);
    assert_true(t->incident.is_open);
    assert_int_equal(t->incident.since_ms, changed_ms);
    assert_true(t->incident.n_causes >= 1);
    assert_int_equal(t->incident.cause[0].cause, O3_CAUSE_GPU_SHARE_FELL);
    assert_int_equal(o3_judge_n_confirmed(j, w.model), 3);
    const struct o3_incident *list[4];
    assert_int_equal(o3_judge_incidents(j, list, 4), 1);
    assert_int_equal(list[0]->id, 1);
    w.tps /= 0.6;
    w.ttft_s /= 1.5;
    w.vram *= 2;
    feed(j, &w, 60);
    assert_int_equal(t->n_verdicts[O3_DRIFT_EV_RECOVERED], 3);
    assert_int_equal(t->n_incidents[O3_INCIDENT_CLOSED], 1);
    assert_false(t->incident.is_open);
    assert_non_null(strstr(t->incident.text, "the old level is back"));
    assert_int_equal(o3_judge_n_confirmed(j, w.model), 0);
    o3_judge_free(j);
    told_free(t);
}

static void test_changes_far_apart_are_two_incidents(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    w.tps *= 0.6;
    feed(j, &w, 100);
    w.ttft_s *= 1.5;
    feed(j, &w, 100);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 2);
    assert_int_equal(t->incident.id, 2);
    o3_judge_free(j);
    told_free(t);
}

/* Falls evenly by the logarithm given, in so many samples. */
static void feed_falling(struct o3_judge *j, struct world *w, int n, double log_fall, double *level) {
    for (int i = 0; i < n; i++) {
        *level *= exp(log_fall / n);
        feed(j, w, 1);
    }
}

/* One fall is noticed in one signal after the other; what is told of it follows. */
static void test_a_slow_fall_is_one_incident_that_grows(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    feed_falling(j, &w, 240, -0.15, &w.tps);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
    double told = t->incident.member[0].verdict.report.change_ratio;
    w.ttft_s *= 1.3; /* while it goes on */
    feed_falling(j, &w, 240, -0.15, &w.tps);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
    assert_int_equal(t->incident.n_members, 2);
    assert_true(t->n_incidents[O3_INCIDENT_CHANGED] >= 3 && t->n_incidents[O3_INCIDENT_CHANGED] <= 8);
    assert_true(t->incident.member[0].verdict.report.change_ratio < told - 0.08);
    assert_int_equal(t->incident.member[0].verdict.report.event, O3_DRIFT_EV_CONFIRMED);
    /* What gets better meanwhile is something else. */
    w.size = w.vram = 4 * GIB;
    feed_falling(j, &w, 60, -0.05, &w.tps);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 2);
    o3_judge_free(j);
    told_free(t);
}

static void test_acknowledge(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    w.tps *= 0.6;
    feed(j, &w, 60);
    assert_int_equal(o3_judge_n_confirmed(j, w.model), 1);
    struct o3_sample s = sample_of(&w);
    s.kind = O3_PROBE_LOOK;
    s.acknowledged = 1u << O3_SIGNAL_DECODE_RATE;
    o3_judge_add(j, &s);
    assert_int_equal(t->n_acknowledged, 1);
    assert_int_equal(o3_judge_n_confirmed(j, w.model), 0);
    O3_ASSERT_NEAR(view_of(j, &w, O3_SIGNAL_DECODE_RATE).drift.baseline, 27, 0.7);
    assert_int_equal(t->n_incidents[O3_INCIDENT_CLOSED], 1);
    assert_int_equal(t->incident.member[0].end, O3_MEMBER_ACKNOWLEDGED);
    assert_non_null(strstr(t->incident.text, "accepted as the normal level"));
    feed(j, &w, 300);
    assert_int_equal(t->n_verdicts[O3_DRIFT_EV_CONFIRMED], 1);
    o3_judge_free(j);
    told_free(t);
}

static void acknowledge_now(struct o3_judge *j, struct world *w, uint32_t bits) {
    struct o3_sample s = sample_of(w);
    s.kind = O3_PROBE_LOOK;
    s.acknowledged = bits;
    o3_judge_add(j, &s);
}

/* What is answered, told, and shown from then on. */
static void test_the_accepted_level_is_one_value(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    assert_true(isnan(o3_judge_acceptable(j, w.model, O3_SIGNAL_TTFT)));
    assert_true(isnan(o3_judge_acceptable(j, "another", O3_SIGNAL_TTFT)));
    w.ttft_s *= 1.5;
    for (int n = 12; n < 60; n += 11) {
        feed(j, &w, 11);
        double level = o3_judge_acceptable(j, w.model, O3_SIGNAL_TTFT);
        O3_ASSERT_NEAR(level, w.ttft_s, 0.01);
    }
    double level = o3_judge_acceptable(j, w.model, O3_SIGNAL_TTFT);
    acknowledge_now(j, &w, 1u << O3_SIGNAL_TTFT);
    O3_ASSERT_NEAR(t->acknowledged, level, 0);
    O3_ASSERT_NEAR(view_of(j, &w, O3_SIGNAL_TTFT).drift.baseline, level, 0);
    o3_judge_free(j);
    told_free(t);
}

/* Nothing is saved on purpose: the process is killed in the minute after a person spoke. */
static void test_a_killed_process_knows_what_was_accepted(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    w.tps *= 0.6;
    feed(j, &w, 60);
    acknowledge_now(j, &w, 1u << O3_SIGNAL_DECODE_RATE);
    double level = view_of(j, &w, O3_SIGNAL_DECODE_RATE).drift.baseline;
    o3_judge_free(j);
    j = judge_new(t, judge_params());
    o3_judge_expect(j, w.model);
    O3_ASSERT_NEAR(view_of(j, &w, O3_SIGNAL_DECODE_RATE).drift.baseline, level, 0);
    assert_int_equal(o3_judge_n_confirmed(j, w.model), 0);
    const struct o3_incident *list[1];
    assert_int_equal(o3_judge_incidents(j, list, 1), 1);
    assert_false(list[0]->is_open);
    o3_judge_free(j);
    told_free(t);
}

/* Killed between the two: the series is saved first, and closes the incident. */
static void test_killed_between_series_and_incident(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    w.tps *= 0.6;
    feed(j, &w, 60);
    struct o3_buf incident;
    o3_buf_init(&incident, 65536);
    assert_true(on_take(t, "judge/incident/01", &incident));
    acknowledge_now(j, &w, 1u << O3_SIGNAL_DECODE_RATE);
    o3_judge_free(j);
    on_save(t, "judge/incident/01", o3_buf_str(&incident), incident.len);
    o3_buf_done(&incident);
    j = judge_new(t, judge_params());
    const struct o3_incident *list[1];
    assert_int_equal(o3_judge_incidents(j, list, 1), 1);
    assert_true(list[0]->is_open);
    feed(j, &w, 1);
    assert_false(list[0]->is_open);
    assert_int_equal(list[0]->member[0].end, O3_MEMBER_ACKNOWLEDGED);
    o3_judge_free(j);
    told_free(t);
}

static void test_a_partly_accepted_incident(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    w.tps *= 0.6;
    w.ttft_s *= 1.5;
    feed(j, &w, 60);
    assert_int_equal(t->incident.n_members, 2);
    acknowledge_now(j, &w, 1u << O3_SIGNAL_DECODE_RATE);
    const struct o3_incident *list[1];
    assert_int_equal(o3_judge_incidents(j, list, 1), 1);
    assert_true(list[0]->is_open);
    assert_int_equal(strncmp(list[0]->text, "ttft of qwen3:8b rose", 21), 0);
    const char *at = strstr(list[0]->text, "; decode_rate 4");
    assert_non_null(at);
    const char *end = strstr(at, " tokens/s (accepted)");
    assert_true(end && end < at + 40);
    w.ttft_s /= 1.5;
    feed(j, &w, 60);
    assert_false(t->incident.is_open);
    assert_int_equal(strncmp(t->incident.text, "decode_rate of ", 15), 0);
    assert_non_null(strstr(t->incident.text, " ms (back)"));
    assert_null(strstr(t->incident.text, "(accepted)")); /* the first one's end is told of the incident */
    assert_non_null(strstr(t->incident.text, ": accepted as the normal level"));
    o3_judge_free(j);
    told_free(t);
}

static void test_what_matters_stands_first(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    w.tps = 4;
    w.ttft_s = 2;
    w.vram = 0;
    w.size = w.size * 9 / 10;
    feed(j, &w, 60);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
    assert_int_equal(t->incident.n_members, 4);
    const char *text = t->incident.text;
    assert_int_equal(strncmp(text, "gpu_ratio of qwen3:8b fell by 100.0 %, ", 39), 0);
    const char *decode = strstr(text, "; decode_rate "), *ttft = strstr(text, "; ttft "),
               *memory = strstr(text, "; memory ");
    assert_true(decode && ttft && memory && decode < ttft && ttft < memory);
    o3_judge_free(j);
    told_free(t);
}

/* The one signal is back before the other: what is seen then speaks against the cause, and does not take it away. */
static void test_a_closed_incident_keeps_its_cause(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    w.tps *= 0.6;
    w.ttft_s *= 1.5;
    w.vram /= 2;
    feed(j, &w, 15);
    assert_int_equal(t->incident.n_members, 3);
    assert_int_equal(t->incident.cause[0].cause, O3_CAUSE_GPU_SHARE_FELL);
    char evidence[160];
    o3_str_copy(evidence, sizeof evidence, t->incident.cause[0].evidence);
    w.vram *= 2;
    feed(j, &w, 40);
    w.tps /= 0.6;
    feed(j, &w, 40);
    const struct o3_incident *list[1];
    assert_int_equal(o3_judge_incidents(j, list, 1), 1);
    assert_true(list[0]->is_open);
    w.ttft_s /= 1.5;
    feed(j, &w, 60);
    assert_false(t->incident.is_open);
    assert_int_equal(t->incident.cause[0].cause, O3_CAUSE_GPU_SHARE_FELL);
    assert_string_equal(t->incident.cause[0].evidence, evidence);
    assert_non_null(strstr(t->incident.text, "probably gpu_share_fell"));
    assert_non_null(strstr(t->incident.text, evidence));
    o3_judge_free(j);
    told_free(t);
}

enum { DAY = 24 * 60 };
static void feed_other(struct o3_judge *j, struct world *other, const struct world *w, int64_t n, int64_t every) {
    for (int64_t i = 0; i < n; i += every) {
        other->n = w->n + i;
        struct o3_sample s = sample_of(other);
        s.around.interval_ms = every * STEP_MS;
        o3_judge_add(j, &s);
    }
}

static void test_an_incident_of_a_model_that_is_gone(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world(), other = world();
    other.model = "other";
    feed(j, &w, 200);
    w.tps *= 0.6;
    feed(j, &w, 60);
    int64_t seen_ms = T0 + (w.n - 1) * STEP_MS;
    feed_other(j, &other, &w, 3 * DAY, 10);
    o3_judge_save(j);
    o3_judge_free(j);
    j = judge_new(t, judge_params());
    const struct o3_incident *list[1];
    feed_other(j, &other, &w, 7 * DAY, 10);
    assert_int_equal(o3_judge_incidents(j, list, 1), 1);
    assert_true(list[0]->is_open);
    struct world later = w;
    later.n += 7 * DAY;
    feed_other(j, &other, &later, 30, 10);
    assert_int_equal(o3_judge_incidents(j, list, 1), 1);
    assert_false(list[0]->is_open);
    assert_false(t->incident.is_open);
    assert_int_equal(list[0]->member[0].end, O3_MEMBER_UNSEEN);
    assert_int_equal(list[0]->member[0].seen_ms, seen_ms);
    char text[64], time[40];
    o3_rfc3339_format(seen_ms, time, sizeof time);
    snprintf(text, sizeof text, ": not measured since %.19sZ", time);
    assert_non_null(strstr(list[0]->text, text));
    assert_int_equal(t->n_incidents[O3_INCIDENT_CLOSED], 1);
    later.n += 60; /* it is back, and not healed */
    feed(j, &later, 1);
    assert_int_equal(o3_judge_incidents(j, list, 1), 1);
    assert_true(list[0]->is_open);
    o3_judge_free(j);
    told_free(t);
}

static const struct o3_release *release_of(const struct told *t, enum o3_signal sig) {
    for (int i = t->n_releases - 1; i >= 0; i--)
        if (t->releases[i].signal == sig) return &t->releases[i];
    return NULL;
}

static void test_release_comparison(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 300);
    w.version = "0.31.0";
    w.tps *= 0.8;
    int64_t entered_ms = T0 + w.n * STEP_MS;
    feed(j, &w, 100);
    assert_int_equal(t->n_epochs, 1);
    assert_int_equal(t->n_verdicts[O3_DRIFT_EV_CONFIRMED], 0); /* never drift */
    assert_int_equal(t->n_releases, 4);                        /* decode_rate, ttft, memory, success */
    const struct o3_release *r = release_of(t, O3_SIGNAL_DECODE_RATE);
    assert_non_null(r);
    assert_string_equal(r->reason, "server_version");
    assert_string_equal(r->from, "0.30.1");
    assert_string_equal(r->to, "0.31.0");
    assert_int_equal(r->wall_ms, entered_ms);
    O3_ASSERT_NEAR(r->change_ratio, -0.2, 0.02);
    assert_true(r->change_lo < -0.2 && r->change_hi > -0.2);
    assert_true(r->change_hi - r->change_lo < 0.06);
    assert_false(r->is_ours);
    r = release_of(t, O3_SIGNAL_MEMORY);
    O3_ASSERT_NEAR(r->change_ratio, 0, 1e-9);
    r = release_of(t, O3_SIGNAL_SUCCESS);
    O3_ASSERT_NEAR(r->change_ratio, 0, 0.02);
    assert_true(r->change_lo < 0 && r->change_hi > 0);
    o3_judge_free(j);
    told_free(t);
}

static void expect_texts(const struct told *t, enum o3_signal sig, const char *reason, const char *words) {
    const struct o3_release *r = release_of(t, sig);
    char text[640];
    assert_non_null(r);
    assert_string_equal(r->reason, reason);
    assert_string_equal(r->reasons, words);
    o3_release_text(r, text, sizeof text);
    if (!strstr(text, words)) fail_msg("%s is not in: %s", words, text);
}

/* Another one before the baseline of the one between: both have changed since what is compared. */
static void test_every_reason_is_named(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 100);
    w.version = "0.31.0";
    feed(j, &w, 5);
    w.digest = "sha256:bbbbbbbbbbbbbbbb";
    w.tps *= 0.8;
    feed(j, &w, 60);
    const char *both = "digest aaaa to bbbbbbbbbbbb and server_version 0.30.1 to 0.31.0";
    expect_texts(t, O3_SIGNAL_DECODE_RATE, "digest", both);
    expect_texts(t, O3_SIGNAL_SUCCESS, "digest", both);
    expect_texts(t, O3_SIGNAL_GPU_RATIO, "digest", "digest aaaa to bbbbbbbbbbbb"); /* left later: with the digest */
    w.version = "0.32.0";
    w.digest = "cccc";
    w.num_ctx = 8192;
    feed(j, &w, 60);
    const char *all = "digest bbbbbbbbbbbb to cccc, server_version 0.31.0 to 0.32.0 and num_ctx 4096 to 8192";
    expect_texts(t, O3_SIGNAL_DECODE_RATE, "digest", all);
    expect_texts(t, O3_SIGNAL_GPU_RATIO, "digest", all);
    o3_judge_free(j);
    told_free(t);
}

static void test_the_last_comparison_is_kept(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    struct o3_release r;
    bool is_in_force;
    feed(j, &w, 100);
    assert_false(o3_judge_release(j, w.model, O3_SIGNAL_DECODE_RATE, &r, &is_in_force));
    assert_false(o3_judge_release(j, "another", O3_SIGNAL_DECODE_RATE, &r, &is_in_force));
    w.version = "0.31.0";
    w.tps *= 0.75;
    feed(j, &w, 60);
    o3_judge_free(j); /* killed */
    j = judge_new(t, judge_params());
    o3_judge_expect(j, w.model);
    assert_true(o3_judge_release(j, w.model, O3_SIGNAL_DECODE_RATE, &r, &is_in_force));
    assert_true(is_in_force);
    struct o3_release told = *release_of(t, O3_SIGNAL_DECODE_RATE);
    assert_string_equal(r.model, w.model);
    assert_int_equal(r.signal, O3_SIGNAL_DECODE_RATE);
    assert_string_equal(r.reason, "server_version");
    assert_string_equal(r.reasons, "server_version 0.30.1 to 0.31.0");
    assert_string_equal(r.to, told.to);
    O3_ASSERT_NEAR(r.change_ratio, told.change_ratio, 0);
    O3_ASSERT_NEAR(r.change_lo, told.change_lo, 0);
    assert_int_equal(r.wall_ms, told.wall_ms);
    assert_true(isnan(r.drifted));
    /* A change of another kind has a place of its own, and leaves the version as it was. */
    w.num_ctx = 8192;
    w.tps *= 1.1;
    feed(j, &w, 60);
    o3_judge_free(j);
    j = judge_new(t, judge_params());
    o3_judge_expect(j, w.model);
    assert_true(o3_judge_release(j, w.model, O3_SIGNAL_DECODE_RATE, &r, &is_in_force));
    assert_true(is_in_force);
    assert_string_equal(r.reason, "num_ctx");
    assert_string_equal(o3_release_reason(1), "server_version");
    assert_true(o3_judge_release_of(j, w.model, O3_SIGNAL_DECODE_RATE, 1, &r, &is_in_force));
    assert_true(is_in_force);
    O3_ASSERT_NEAR(r.change_ratio, told.change_ratio, 0);
    assert_false(o3_judge_release_of(j, w.model, O3_SIGNAL_DECODE_RATE, 0, &r, &is_in_force));
    w.version = "0.30.1";
    feed(j, &w, 2);
    assert_true(o3_judge_release_of(j, w.model, O3_SIGNAL_DECODE_RATE, 1, &r, &is_in_force));
    assert_false(is_in_force);
    o3_judge_free(j);
    told_free(t);
}

static void test_release_from_a_changed_level_compares_the_healthy_one(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    w.tps *= 0.6;
    feed(j, &w, 50);
    w.tps /= 0.6;
    w.digest = "bbbb";
    feed(j, &w, 60);
    const struct o3_release *r = release_of(t, O3_SIGNAL_DECODE_RATE);
    assert_string_equal(r->reason, "digest");
    O3_ASSERT_NEAR(r->change_ratio, 0, 0.02);
    O3_ASSERT_NEAR(r->drifted, 27, 0.7);
    assert_non_null(release_of(t, O3_SIGNAL_GPU_RATIO)); /* a digest has its own */
    assert_int_equal(t->n_incidents[O3_INCIDENT_CLOSED], 1);
    assert_int_equal(t->incident.member[0].end, O3_MEMBER_LEFT);
    o3_judge_free(j);
    told_free(t);
}

static void test_switching_back_and_forth_compares_once(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge_params p = judge_params();
    struct o3_judge *j = judge_new(t, p);
    struct world w = world();
    for (int i = 0; i < 20; i++) {
        w.num_ctx = i % 2 ? 8192 : 4096;
        w.size = i % 2 ? 7 * GIB : 6 * GIB;
        w.vram = w.size;
        w.tps = i % 2 ? 40 : 45;
        feed(j, &w, 45);
    }
    int n[O3_SIGNAL_COUNT] = {0};
    for (int i = 0; i < t->n_releases; i++)
        n[t->releases[i].signal]++;
    assert_int_equal(n[O3_SIGNAL_DECODE_RATE], 2); /* there, and back */
    assert_int_equal(n[O3_SIGNAL_MEMORY], 2);
    assert_int_equal(t->n_epochs, 19);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1); /* another context: the first time */
    assert_int_equal(t->n_incidents[O3_INCIDENT_CLOSED], 1);
    assert_int_equal(t->n_verdicts[O3_DRIFT_EV_CONFIRMED], 1);
    O3_ASSERT_NEAR(release_of(t, O3_SIGNAL_DECODE_RATE)->change_ratio, 45.0 / 40 - 1, 0.02); /* the way back */
    o3_judge_free(j);
    told_free(t);
}

/* The GPU is lost: the automatic context shrinks, and with it begins another epoch. It is told all the same. */
static void test_a_lost_gpu_is_not_absorbed(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    w.num_ctx = 32768;
    feed(j, &w, 200);
    w.num_ctx = 4096;
    w.vram = 0;
    w.tps = 4;
    w.ttft_s = 2;
    feed(j, &w, 60);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
    bool has_gpu = false;
    for (int i = 0; i < t->incident.n_members; i++)
        has_gpu |= t->incident.member[i].verdict.signal == O3_SIGNAL_GPU_RATIO;
    assert_true(has_gpu);
    assert_true(t->incident.is_open);
    assert_non_null(strstr(t->incident.text, "100 to 0 %"));
    const struct o3_release *r = release_of(t, O3_SIGNAL_DECODE_RATE);
    O3_ASSERT_NEAR(r->change_ratio, 4.0 / 45 - 1, 0.02);
    o3_judge_free(j);
    told_free(t);
}

static void test_nothing_on_the_gpu_is_0(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 100);
    w.vram = 0;
    feed(j, &w, 30);
    assert_int_equal(t->last.signal, O3_SIGNAL_GPU_RATIO);
    assert_int_equal(t->last.report.event, O3_DRIFT_EV_CONFIRMED);
    O3_ASSERT_NEAR(t->last.report.reference, 1, 0);
    O3_ASSERT_NEAR(t->last.report.level, 0, 0);
    O3_ASSERT_NEAR(t->last.report.change_ratio, -1, 0);
    assert_non_null(strstr(t->incident.text, "gpu_ratio of qwen3:8b fell by 100.0 %, 100 to 0 %, since"));
    struct o3_series_view v = view_of(j, &w, O3_SIGNAL_GPU_RATIO);
    O3_ASSERT_NEAR(v.drift.change_ratio, -1, 0);
    double recent[4];
    assert_int_equal(o3_judge_recent(j, w.model, O3_SIGNAL_GPU_RATIO, O3_STRATUM_IDLE, recent, 4), 4);
    O3_ASSERT_NEAR(recent[3], 0, 0);
    w.digest = "bbbb"; /* learned without it, found again */
    feed(j, &w, 60);
    const struct o3_release *r = release_of(t, O3_SIGNAL_GPU_RATIO);
    O3_ASSERT_NEAR(r->after, 0, 0);
    O3_ASSERT_NEAR(r->change_ratio, -1, 0);
    O3_ASSERT_NEAR(view_of(j, &w, O3_SIGNAL_GPU_RATIO).drift.baseline, 0, 0);
    w.vram = w.size;
    feed(j, &w, 30);
    assert_int_equal(t->last.report.event, O3_DRIFT_EV_CONFIRMED);
    assert_non_null(strstr(t->incident.text, "gpu_ratio of qwen3:8b rose, 0 to 100 %, since"));
    o3_judge_free(j);
    told_free(t);
}

static void test_exact_readings_are_whole(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    w.size = w.vram = INT64_C(3497333984);
    w.num_ctx = 40960;
    feed(j, &w, 60);
    O3_ASSERT_NEAR(view_of(j, &w, O3_SIGNAL_MEMORY).drift.baseline, 3497333984.0, 0);
    O3_ASSERT_NEAR(view_of(j, &w, O3_SIGNAL_MEMORY).drift.recent_median, 3497333984.0, 0);
    O3_ASSERT_NEAR(view_of(j, &w, O3_SIGNAL_CONTEXT).drift.baseline, 40960, 0);
    w.size = w.vram = INT64_C(4497333983);
    feed(j, &w, 30);
    assert_int_equal(t->last.signal, O3_SIGNAL_MEMORY);
    O3_ASSERT_NEAR(t->last.report.reference, 3497333984.0, 0);
    O3_ASSERT_NEAR(t->last.report.level - floor(t->last.report.level), 0, 0);
    O3_ASSERT_NEAR(t->last.report.level, 4497333983.0, 500); /* kept as a float, relative to the first one */
    o3_judge_free(j);
    told_free(t);
}

static void test_never_failing_is_100_percent(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 30);
    assert_non_null(strstr(o3_buf_str(&t->log), "success of qwen3:8b: normal level 100 %, of 30 samples"));
    feed(j, &w, 300);
    w.version = "0.31.0";
    feed(j, &w, 40);
    const struct o3_release *r = release_of(t, O3_SIGNAL_SUCCESS);
    O3_ASSERT_NEAR(r->before, 1, 0);
    O3_ASSERT_NEAR(r->after, 1, 0);
    O3_ASSERT_NEAR(r->change_ratio, 0, 0);
    assert_non_null(strstr(o3_buf_str(&t->log), "release success of qwen3:8b unchanged at 100 % (95 % interval"));
    o3_judge_free(j);
    told_free(t);
}

/* A setting that alternates does not open and close an incident each time. */
static void test_a_change_in_one_of_two_settings(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    w.tps *= 0.6;
    feed(j, &w, 30);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
    w.version = "0.31.0";
    feed(j, &w, 5);
    w.version = "0.30.1";
    feed(j, &w, 5);
    assert_int_equal(t->n_incidents[O3_INCIDENT_CLOSED], 0);
    w.version = "0.31.0";
    feed(j, &w, 15);
    assert_int_equal(t->n_incidents[O3_INCIDENT_CLOSED], 1);
    assert_non_null(strstr(t->incident.text, "runs with another setting now"));
    w.version = "0.30.1"; /* back, and not healed */
    feed(j, &w, 1);
    assert_true(t->incident.is_open);
    assert_int_equal(t->incident.id, 1);
    o3_judge_free(j);
    told_free(t);
}

static void test_our_own_setting_is_no_drift(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 100);
    w.num_ctx = 16384;
    for (int i = 0; i < 100; i++) {
        struct o3_sample s = sample_of(&w);
        s.around.preset_num_ctx = 16384;
        o3_judge_add(j, &s);
    }
    assert_int_equal(t->n_verdicts[O3_DRIFT_EV_CONFIRMED], 0);
    assert_true(release_of(t, O3_SIGNAL_DECODE_RATE)->is_ours);
    o3_judge_free(j);
    told_free(t);
}

static void test_an_unknown_property_is_no_new_epoch(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    for (int i = 0; i < 60; i++) {
        struct o3_sample s = sample_of(&w);
        if (i < 20) s.around.version[0] = '\0';
        if (i >= 10) o3_str_copy(s.around.gpu, sizeof s.around.gpu, "RTX 4090 550.54");
        if (i % 3 == 0) s.around.parallel = s.num_batch = -1;
        o3_judge_add(j, &s);
    }
    assert_int_equal(t->n_epochs, 0);
    assert_int_equal(t->n_verdicts[O3_DRIFT_EV_BASELINE], 6);
    o3_judge_free(j);
    told_free(t);
}

/* Which samples reach which series. */
static void test_strata_and_flags(void **state) {
    (void)state;
    static const struct {
        uint32_t flags;
        int n_idle, n_busy, n_throttled, n_ttft;
    } CASES[] = {
        {0, 1, 0, 0, 1},
        {O3_SAMPLE_BUSY, 0, 1, 0, 0},
        {O3_SAMPLE_BUSY | O3_SAMPLE_AFTER_OTHER, 0, 1, 0, 0},
        {O3_SAMPLE_BUSY | O3_SAMPLE_THROTTLED, 0, 1, 0, 0}, /* it knows no other speed */
        {O3_SAMPLE_THROTTLED, 1, 0, 0, 1},
        {O3_SAMPLE_AFTER_OTHER, 1, 0, 0, 0},
        {O3_SAMPLE_WARMUP, 0, 0, 0, 0},
        {O3_SAMPLE_TAINTED, 0, 0, 0, 0},
        {O3_SAMPLE_IMPLAUSIBLE | O3_SAMPLE_BUSY, 0, 0, 0, 0},
        {O3_SAMPLE_INCOMPLETE, 0, 0, 0, 0},
        {O3_SAMPLE_AFTER_GAP, 1, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct told *t = told_new();
        struct o3_judge *j = judge_new(t, judge_params());
        struct world w = world();
        struct o3_sample s = sample_of(&w);
        s.flags = CASES[i].flags;
        o3_judge_add(j, &s);
        const int wanted[] = {CASES[i].n_idle, CASES[i].n_busy, CASES[i].n_throttled};
        for (int st = 0; st < O3_STRATUM_COUNT; st++) {
            struct o3_series_view v;
            o3_judge_view(j, w.model, O3_SIGNAL_DECODE_RATE, (enum o3_stratum)st, &v);
            assert_int_equal(v.exists ? (int)v.drift.n_samples : 0, wanted[st]);
        }
        assert_int_equal(view_of(j, &w, O3_SIGNAL_TTFT).exists, CASES[i].n_ttft);
        assert_true(view_of(j, &w, O3_SIGNAL_MEMORY).exists);
        assert_true(view_of(j, &w, O3_SIGNAL_SUCCESS).exists);
        o3_judge_free(j);
        told_free(t);
    }
}

/* A stream that ends without its last object is half an answer. */
static void test_truncated_answers_are_failures(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    for (int i = 0; i < 12; i++) {
        struct o3_sample s = sample_of(&w);
        s.outcome = O3_OUTCOME_NO_METRICS;
        s.flags |= O3_SAMPLE_INCOMPLETE;
        o3_judge_add(j, &s);
    }
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
    assert_int_equal(t->last.signal, O3_SIGNAL_SUCCESS);
    assert_int_equal(t->last.report.direction, -1);
    o3_judge_free(j);
    told_free(t);
}

static void test_failures_and_looks(void **state) {
    (void)state;
    static const struct {
        enum o3_probe_kind kind;
        enum o3_outcome outcome;
        uint32_t flags;
        int n_success, n_exact;
    } CASES[] = {
        {O3_PROBE_DECODE, O3_OUTCOME_TIMEOUT, 0, 1, 0},
        {O3_PROBE_DECODE, O3_OUTCOME_TIMEOUT, O3_SAMPLE_BUSY, 0, 0},
        {O3_PROBE_DECODE, O3_OUTCOME_TIMEOUT, O3_SAMPLE_TAINTED, 0, 0},
        {O3_PROBE_DECODE, O3_OUTCOME_HTTP_ERROR, O3_SAMPLE_BUSY, 1, 0},
        {O3_PROBE_DECODE, O3_OUTCOME_CANCELLED, 0, 0, 0},
        {O3_PROBE_DECODE, O3_OUTCOME_INCOMPLETE, 0, 1, 0},
        {O3_PROBE_LOOK, O3_OUTCOME_OK, 0, 0, 1},
        {O3_PROBE_PREFILL, O3_OUTCOME_OK, 0, 1, 1},
        {O3_PROBE_EMBED, O3_OUTCOME_OK, 0, 1, 1},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct told *t = told_new();
        struct o3_judge *j = judge_new(t, judge_params());
        struct world w = world();
        struct o3_sample s = sample_of(&w);
        s.kind = CASES[i].kind;
        s.outcome = CASES[i].outcome;
        s.flags = CASES[i].flags;
        if (s.kind == O3_PROBE_PREFILL) s.prefill_tps = 1000;
        s.load_ns = 4 * O3_NS_PER_S;
        o3_judge_add(j, &s);
        assert_int_equal(view_of(j, &w, O3_SIGNAL_SUCCESS).exists, CASES[i].n_success);
        assert_int_equal(view_of(j, &w, O3_SIGNAL_MEMORY).exists, CASES[i].n_exact);
        bool is_probe = s.outcome == O3_OUTCOME_OK && s.kind != O3_PROBE_LOOK;
        assert_int_equal(view_of(j, &w, O3_SIGNAL_LOAD_TIME).exists, is_probe);
        assert_int_equal(view_of(j, &w, O3_SIGNAL_PREFILL_RATE).exists, s.kind == O3_PROBE_PREFILL);
        assert_int_equal(view_of(j, &w, O3_SIGNAL_TTFT).exists, s.kind == O3_PROBE_EMBED);
        o3_judge_free(j);
        told_free(t);
    }
}

/* Who waits beside users waits for them, whatever was said before. */
static void test_waits_beside_users_count(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    struct o3_series_view v;
    for (int i = 0; i < 160; i++) {
        struct o3_sample s = sample_of(&w);
        s.flags |= O3_SAMPLE_BUSY | O3_SAMPLE_AFTER_OTHER;
        s.queue_ns = (i < 80 ? 2 : 20) * s.ttft_ns;
        s.ttft_ns += s.queue_ns;
        s.around.n_user_requests = i < 80 ? 2 : 8;
        o3_judge_add(j, &s);
    }
    o3_judge_view(j, w.model, O3_SIGNAL_TTFT, O3_STRATUM_BUSY, &v);
    assert_true(v.exists);
    assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
    assert_int_equal(t->incident.cause[0].cause, O3_CAUSE_QUEUEING);
    o3_judge_free(j);
    told_free(t);
}

static void feed_outcome(struct o3_judge *j, struct world *w, enum o3_outcome outcome, int n) {
    for (int i = 0; i < n; i++) {
        struct o3_sample s = sample_of(w);
        s.outcome = outcome;
        o3_judge_add(j, &s);
    }
}

/* A new version or a new model that fails is told, and why; it does not learn that failing is normal. */
static void test_an_update_is_no_excuse_for_failing(void **state) {
    (void)state;
    for (int is_version = 0; is_version < 2; is_version++) {
        struct told *t = told_new();
        struct o3_judge *j = judge_new(t, judge_params());
        struct world w = world();
        feed(j, &w, 200);
        if (is_version)
            w.version = "0.31.0";
        else
            w.digest = "bbbb";
        feed_outcome(j, &w, O3_OUTCOME_STREAM_ERROR, 60);
        assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
        assert_true(t->incident.is_open);
        assert_int_equal(t->incident.cause[0].cause, is_version ? O3_CAUSE_SERVER_VERSION : O3_CAUSE_MODEL_CHANGED);
        w.version = "0.32.0"; /* another setting heals nothing */
        feed_outcome(j, &w, O3_OUTCOME_STREAM_ERROR, 60);
        assert_int_equal(t->n_incidents[O3_INCIDENT_CLOSED], 0);
        feed(j, &w, 100);
        assert_int_equal(t->n_incidents[O3_INCIDENT_CLOSED], 1);
        assert_int_equal(t->n_incidents[O3_INCIDENT_OPENED], 1);
        o3_judge_free(j);
        told_free(t);
    }
}

/* What was changed an hour after it began has not caused it. */
static void test_what_came_later_is_no_cause(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 200);
    feed_outcome(j, &w, O3_OUTCOME_STREAM_ERROR, 60);
    assert_int_equal(t->incident.cause[0].cause, O3_CAUSE_UNKNOWN);
    w.version = "0.31.0";
    w.digest = "bbbb";
    feed_outcome(j, &w, O3_OUTCOME_STREAM_ERROR, 120);
    assert_true(t->incident.is_open);
    assert_int_equal(t->incident.cause[0].cause, O3_CAUSE_UNKNOWN);
    o3_judge_free(j);
    told_free(t);
}

/* A life with everything in it. */
static struct o3_sample scripted(struct world *w, int i) {
    if (i == 70) w->tps *= 0.7, w->ttft_s *= 1.4, w->vram = w->size / 2;
    if (i == 110) w->tps /= 0.7, w->ttft_s /= 1.4, w->vram = w->size;
    if (i == 150) w->version = "0.31.0", w->tps *= 1.1;
    if (i == 200) w->num_ctx = 8192;
    if (i == 206) w->num_ctx = 4096;
    if (i == 215) w->tps *= 0.5;
    struct o3_sample s = sample_of(w);
    if (i == 245) s.acknowledged = 0xff;
    if (i % 10 == 3) s.kind = O3_PROBE_LOOK;
    if (i % 10 == 7) s.kind = O3_PROBE_PREFILL, s.prefill_tps = s.decode_tps * 30;
    if (i % 9 == 4) s.flags |= O3_SAMPLE_BUSY;
    if (i % 31 == 0) s.flags |= O3_SAMPLE_AFTER_GAP;
    if (i % 37 == 5) s.load_ns = 2 * O3_NS_PER_S + i, s.flags |= O3_SAMPLE_WARMUP, s.around.n_loads = 1;
    if (i > 225 && i < 237) s.outcome = O3_OUTCOME_TIMEOUT;
    return s;
}
enum { LIFE = 270 };

static char *life(int restart_at) {
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    for (int i = 0; i < LIFE; i++) {
        if (i == restart_at) {
            o3_judge_save(j);
            o3_judge_free(j);
            j = judge_new(t, judge_params());
            o3_judge_expect(j, w.model);
        }
        struct o3_sample s = scripted(&w, i);
        o3_judge_add(j, &s);
    }
    const struct o3_incident *list[O3_INCIDENTS_MAX];
    size_t n = o3_judge_incidents(j, list, O3_INCIDENTS_MAX);
    for (size_t i = 0; i < n; i++)
        o3_buf_addf(&t->log, "kept %lld %s\n", (long long)list[i]->id, list[i]->text);
    o3_judge_free(j);
    char *log = o3_buf_take(&t->log);
    told_free(t);
    return log;
}

static void test_restart_at_every_index(void **state) {
    (void)state;
    char *whole = life(-1);
    assert_non_null(strstr(whole, "incident 1 opened"));
    assert_non_null(strstr(whole, "incident 1 closed"));
    assert_non_null(strstr(whole, "acknowledged qwen3:8b decode_rate"));
    assert_non_null(strstr(whole, "release decode_rate"));
    assert_non_null(strstr(whole, "verdict confirmed idle success"));
    for (int i = 0; i < LIFE; i++) {
        char *other = life(i);
        size_t at = 0;
        while (whole[at] && whole[at] == other[at])
            at++;
        if (whole[at] || other[at])
            fail_msg("a restart before sample %d tells %.300s, not %.300s", i, other + at, whole + at);
        free(other);
    }
    free(whole);
}

/* Nothing is saved on purpose. Samples that a process forgets which is killed after so many minutes. */
static int64_t forgotten_after(int minutes) {
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    w.n = 100 * 60; /* of the clock: the machine has been up for long */
    feed(j, &w, minutes);
    int64_t n = view_of(j, &w, O3_SIGNAL_DECODE_RATE).drift.n_samples;
    o3_judge_free(j);
    j = judge_new(t, judge_params());
    o3_judge_expect(j, w.model);
    n -= view_of(j, &w, O3_SIGNAL_DECODE_RATE).drift.n_samples;
    o3_judge_free(j);
    told_free(t);
    return n;
}

static void test_a_killed_process_forgets_little(void **state) {
    (void)state;
    for (int minutes = 1; minutes <= 30; minutes++) /* the baseline stands at the 30th, and is saved */
        assert_in_range(forgotten_after(minutes), 0, minutes < 30 ? minutes : 0);
    int64_t most = 0;
    for (int minutes = 31; minutes < 1000; minutes += 7) {
        int64_t n = forgotten_after(minutes);
        assert_in_range(n, 0, 240);
        if (n > most) most = n;
    }
    assert_true(most > 60); /* it is not written all the time either */
}

static void test_a_settings_number_is_saved_at_once(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 31);  /* its baseline stands, and is saved */
    o3_judge_free(j); /* killed */
    j = judge_new(t, judge_params());
    w.num_ctx = 16384;
    feed(j, &w, 1);
    assert_int_equal(view_of(j, &w, O3_SIGNAL_DECODE_RATE).drift.n_samples, 1);
    w.num_ctx = 4096;
    feed(j, &w, 1);
    assert_int_equal(view_of(j, &w, O3_SIGNAL_DECODE_RATE).drift.n_samples, 31);
    o3_judge_free(j);
    told_free(t);
}

static void test_bounds(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge_params p = judge_params();
    p.max_models = 64;
    struct o3_judge *j = judge_new(t, p);
    struct world w = world();
    char name[O3_MODEL_NAME_SIZE];
    w.model = name;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 65; i++) {
            memset(name, 'x', sizeof name - 1);
            name[sizeof name - 1] = '\0';
            snprintf(name, 16, "m/../%%s\n\"%d", i);
            name[strlen(name)] = i % 2 ? '\0' : '\x01';
            struct o3_sample s = sample_of(&w);
            o3_judge_add(j, &s);
        }
    /* The 65th made room for itself, and each came back to what it was. */
    struct o3_series_view v = view_of(j, &w, O3_SIGNAL_DECODE_RATE);
    assert_true(v.exists);
    assert_int_equal(v.drift.n_samples, 3);
    assert_true(t->longest_key < 160);
    o3_judge_free(j);
    told_free(t);
}

static void test_settings_are_bounded(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    for (int i = 0; i < 400; i++) {
        w.num_ctx = 1024 + i;
        w.digest = i % 3 ? i % 2 ? "a" : "b" : "c";
        feed(j, &w, 2);
    }
    o3_judge_save(j);
    assert_true(t->states.n <= 16 * 4 + 4 * 2 + 2); /* settings x series, digests x series, the model and its trail */
    o3_judge_free(j);
    told_free(t);
}

static void test_incidents_are_bounded(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    w.noise = 0.005;
    feed(j, &w, 100);
    for (int i = 0; i < 40; i++) {
        w.size = w.vram = (i % 2 ? 6 : 7) * GIB;
        feed(j, &w, 40);
    }
    const struct o3_incident *list[O3_INCIDENTS_MAX + 1];
    size_t n = o3_judge_incidents(j, list, O3_INCIDENTS_MAX + 1);
    assert_true(n > 0 && n <= O3_INCIDENTS_MAX);
    for (size_t i = 1; i < n; i++)
        assert_true(list[i]->id < list[i - 1]->id);
    int64_t newest = list[0]->id;
    o3_judge_free(j);
    j = judge_new(t, judge_params());
    assert_int_equal(o3_judge_incidents(j, list, O3_INCIDENTS_MAX + 1), n);
    assert_int_equal(list[0]->id, newest);
    o3_judge_free(j);
    told_free(t);
}

static void test_damaged_states_are_none(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t, judge_params());
    struct world w = world();
    feed(j, &w, 100);
    w.tps *= 0.5;
    feed(j, &w, 40);
    o3_judge_save(j);
    o3_judge_free(j);
    struct o3_rand rand;
    o3_rand_seed(&rand, o3_test_seed(3));
    for (int round = 0; round < 30; round++) {
        struct told *u = told_new();
        for (size_t i = 0; i < t->states.n; i++) {
            on_save(u, t->states.v[i].key, t->states.v[i].value, t->states.v[i].n);
            char *value = u->states.v[u->states.n - 1].value;
            size_t *n = &u->states.v[u->states.n - 1].n;
            if (round % 3 == 0) *n = (size_t)o3_rand_below(&rand, *n);
            for (int k = 0; round % 3 && k < 3; k++)
                value[o3_rand_below(&rand, *n)] = (char)o3_rand_below(&rand, 256);
        }
        struct world again = w;
        j = judge_new(u, judge_params());
        feed(j, &again, 50);
        o3_judge_free(j);
        told_free(u);
    }
    told_free(t);
}

static void test_texts(void **state) {
    (void)state;
    struct o3_verdict v = {.model = "qwen3:8b",
                           .signal = O3_SIGNAL_DECODE_RATE,
                           .budget_ms = 30 * 86400e3,
                           .report = {.event = O3_DRIFT_EV_CONFIRMED,
                                      .direction = -1,
                                      .reference = 45.2,
                                      .level = 28.0,
                                      .change_ratio = -0.3805,
                                      .change_lo = -0.402,
                                      .change_hi = -0.358,
                                      .change_wall_ms = 1790000000000,
                                      .change_lo_ms = 1789999940000,
                                      .change_hi_ms = 1790000060000,
                                      .n_since = 10}};
    char text[640];
    o3_verdict_text(&v, text, sizeof text);
    assert_string_equal(text,
                        "decode_rate of qwen3:8b fell by 38.0 % (95 % interval 35.8 to 40.2 %), 45.2 to 28.0 tokens/s, "
                        "since 2026-09-21T14:13:20Z (2026-09-21T14:12:20Z to 2026-09-21T14:14:20Z), confirmed by "
                        "10 samples; this sidecar expects one false alarm in 30d");
    v.signal = O3_SIGNAL_GPU_RATIO;
    v.report.reference = 1;
    v.report.level = 0;
    v.report.change_ratio = v.report.change_lo = v.report.change_hi = -1;
    v.report.change_lo_ms = v.report.change_hi_ms = 0;
    v.stratum = O3_STRATUM_BUSY;
    o3_verdict_text(&v, text, sizeof text);
    assert_non_null(strstr(text, "gpu_ratio of qwen3:8b beside users fell by 100.0 %, 100 to 0 %"));
    assert_non_null(strstr(text, ", 100 to 0 %, since"));
    char cut[20];
    o3_verdict_text(&v, cut, sizeof cut);
    assert_int_equal(strlen(cut), 19);

    struct o3_release r = {.model = "qwen3:8b",
                           .signal = O3_SIGNAL_TTFT,
                           .reason = "server_version",
                           .from = "0.30.1",
                           .to = "0.31.0",
                           .wall_ms = 1790000000000,
                           .before = 0.2,
                           .after = 0.202,
                           .change_ratio = 0.01,
                           .change_lo = -0.02,
                           .change_hi = 0.04,
                           .n_before = 300,
                           .n_after = 30,
                           .drifted = (double)NAN};
    o3_release_text(&r, text, sizeof text);
    assert_string_equal(text, "ttft of qwen3:8b rose by 1.0 % (95 % interval -2.0 to 4.0 %), 200 to 202 ms, with "
                              "server_version 0.30.1 to 0.31.0, since 2026-09-21T14:13:20Z, 300 samples before and 30 "
                              "after; this may be chance");
}

static void expect_release_text(enum o3_signal sig, double before, double after, double change, double half,
                                const char *want) {
    struct o3_release r = {.model = "m",
                           .signal = sig,
                           .reason = "digest",
                           .before = before,
                           .after = after,
                           .change_ratio = change,
                           .change_lo = change - half,
                           .change_hi = change + half,
                           .drifted = (double)NAN};
    char text[640];
    o3_release_text(&r, text, sizeof text);
    if (!strstr(text, want)) fail_msg("%s is not in: %s", want, text);
    if (change == 0) assert_null(strstr(text, "chance"));
    assert_null(strstr(text, "-0.0"));
}

static void test_texts_of_what_is_equal(void **state) {
    (void)state;
    expect_release_text(O3_SIGNAL_SUCCESS, 1, 1, 0, 0, "success of m unchanged at 100 %, with");
    expect_release_text(O3_SIGNAL_SUCCESS, 1, 1, 0, 0.114,
                        "m unchanged at 100 % (95 % interval -11.4 to 11.4 points), ");
    expect_release_text(O3_SIGNAL_GPU_RATIO, 1, 1, -1e-9, 1e-9, "gpu_ratio of m unchanged at 100 %, with");
    expect_release_text(O3_SIGNAL_CONTEXT, 4096, 4096, 0, 0, "context of m unchanged at 4096 tokens, with");
    expect_release_text(O3_SIGNAL_MEMORY, 2e9, 2.212e9, 0.106, 0, "memory of m rose by 10.6 %, 1.86 to 2.06 GiB, with");
    expect_release_text(O3_SIGNAL_DECODE_RATE, 45, 45, 0.0002, 0.01,
                        "unchanged at 45.0 tokens/s (95 % interval -1.0 to ");
    expect_release_text(O3_SIGNAL_GPU_RATIO, 0, 1, 99, 0, "gpu_ratio of m rose, 0 to 100 %, with");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_a_quiet_server_is_quiet),
        cmocka_unit_test(test_one_incident_of_several_signals),
        cmocka_unit_test(test_changes_far_apart_are_two_incidents),
        cmocka_unit_test(test_a_slow_fall_is_one_incident_that_grows),
        cmocka_unit_test(test_acknowledge),
        cmocka_unit_test(test_the_accepted_level_is_one_value),
        cmocka_unit_test(test_a_killed_process_knows_what_was_accepted),
        cmocka_unit_test(test_killed_between_series_and_incident),
        cmocka_unit_test(test_a_partly_accepted_incident),
        cmocka_unit_test(test_what_matters_stands_first),
        cmocka_unit_test(test_a_closed_incident_keeps_its_cause),
        cmocka_unit_test(test_an_incident_of_a_model_that_is_gone),
        cmocka_unit_test(test_release_comparison),
        cmocka_unit_test(test_release_from_a_changed_level_compares_the_healthy_one),
        cmocka_unit_test(test_switching_back_and_forth_compares_once),
        cmocka_unit_test(test_a_lost_gpu_is_not_absorbed),
        cmocka_unit_test(test_a_change_in_one_of_two_settings),
        cmocka_unit_test(test_our_own_setting_is_no_drift),
        cmocka_unit_test(test_an_unknown_property_is_no_new_epoch),
        cmocka_unit_test(test_strata_and_flags),
        cmocka_unit_test(test_failures_and_looks),
        cmocka_unit_test(test_truncated_answers_are_failures),
        cmocka_unit_test(test_waits_beside_users_count),
        cmocka_unit_test(test_an_update_is_no_excuse_for_failing),
        cmocka_unit_test(test_what_came_later_is_no_cause),
        cmocka_unit_test(test_restart_at_every_index),
        cmocka_unit_test(test_a_killed_process_forgets_little),
        cmocka_unit_test(test_a_settings_number_is_saved_at_once),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_settings_are_bounded),
        cmocka_unit_test(test_incidents_are_bounded),
        cmocka_unit_test(test_damaged_states_are_none),
        cmocka_unit_test(test_every_reason_is_named),
        cmocka_unit_test(test_the_last_comparison_is_kept),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_texts_of_what_is_equal),
        cmocka_unit_test(test_nothing_on_the_gpu_is_0),
        cmocka_unit_test(test_exact_readings_are_whole),
        cmocka_unit_test(test_never_failing_is_100_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
