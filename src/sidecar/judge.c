/* SPDX-License-Identifier: Apache-2.0 */
/* Sample to verdict: what a sample shows in the metrics, whether it may enter a baseline, and what the detectors say.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sidecar/internal.h"

#define SAVE_EVERY_SAMPLES 20
#define DETECTOR "cusum"

/* ---- epochs ---- */

static bool is_epoch(const struct epoch *ep, const struct model *m, const char *version, int64_t batch) {
    return !strcmp(ep->digest, m->ps.digest) && !strcmp(ep->version, version) && ep->num_ctx == m->ps.context_length &&
           ep->num_batch == batch;
}

static void series_key(const struct epoch *ep, enum signal sig, char *out, size_t size) {
    snprintf(out, size, "series/%s/%s/%lld/%lld/%s", SIGNAL_NAMES[sig], ep->digest, (long long)ep->num_ctx,
             (long long)ep->num_batch, ep->version);
}

static void save_one(struct o3_sidecar *s, struct epoch *ep, enum signal sig) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 64 * 1024);
    char key[220];
    series_key(ep, sig, key, sizeof key);
    if (o3_drift_encode(ep->series[sig], &text) < 0) return;
    s->ops.save_state(s->ops.ctx, key, o3_buf_str(&text), text.len);
    ep->n_unsaved[sig] = 0;
}

void o3_sc_save_series(struct o3_sidecar *s, struct model *m, bool all) {
    for (int i = 0; i < O3_EPOCHS_MAX; i++)
        for (int sig = 0; m->epochs[i] && sig < SIGNAL_COUNT; sig++)
            if (m->epochs[i]->series[sig] && m->epochs[i]->n_unsaved[sig] >= (all ? 1 : SAVE_EVERY_SAMPLES))
                save_one(s, m->epochs[i], (enum signal)sig);
}

/* Sizes are kept in memory, too: few bytes, and a model that comes back under an old setting is probed as before. */
void o3_sc_keep_sizes(struct o3_sidecar *s, const struct epoch *ep) {
    char key[200], value[64];
    snprintf(key, sizeof key, "sizes/%s/%lld/%lld/%s", ep->digest, (long long)ep->num_ctx, (long long)ep->num_batch,
             ep->version);
    int n = snprintf(value, sizeof value, "%lld %lld", (long long)ep->decode_tokens, (long long)ep->prefill_words);
    o3_sc_keep_state(s, key, value, (size_t)n);
}

static void drop_series(struct o3_sidecar *s, struct epoch *ep) {
    for (int sig = 0; sig < SIGNAL_COUNT; sig++) {
        O3_AUTO_BUF text;
        o3_buf_init(&text, 64 * 1024);
        char key[220];
        series_key(ep, (enum signal)sig, key, sizeof key);
        if (ep->series[sig] && o3_drift_encode(ep->series[sig], &text) == 0)
            o3_sc_keep_state(s, key, o3_buf_str(&text), text.len);
        o3_drift_free(ep->series[sig]);
        ep->series[sig] = NULL;
    }
}

static struct epoch *new_epoch(struct o3_sidecar *s, struct model *m, int64_t batch) {
    int slot = 0;
    for (int i = 0; i < O3_EPOCHS_MAX; i++) {
        if (!m->epochs[i]) {
            slot = i;
            break;
        }
        if (m->epochs[i]->used_ns < m->epochs[slot]->used_ns) slot = i;
    }
    struct epoch *ep = m->epochs[slot];
    if (ep)
        drop_series(s, ep);
    else if (!(ep = m->epochs[slot] = malloc(sizeof *ep)))
        return NULL;
    *ep = (struct epoch){.num_ctx = m->ps.context_length, .num_batch = batch};
    o3_str_copy(ep->digest, sizeof ep->digest, m->ps.digest);
    o3_str_copy(ep->version, sizeof ep->version, s->version.text);
    return ep;
}

static void restore_sizes(struct o3_sidecar *s, struct epoch *ep) {
    char key[200];
    snprintf(key, sizeof key, "sizes/%s/%lld/%lld/%s", ep->digest, (long long)ep->num_ctx, (long long)ep->num_batch,
             ep->version);
    const char *value = o3_sc_find_restored(s, key);
    long long decode = 0, prefill = 0;
    if (!value || sscanf(value, "%lld %lld", &decode, &prefill) != 2) return;
    if (decode >= O3_DECODE_TOKENS_MIN && decode <= O3_DECODE_TOKENS_MAX) ep->decode_tokens = decode;
    if (prefill >= O3_PREFILL_WORDS_MIN && prefill <= s->config->probe_prefill_tokens) ep->prefill_words = prefill;
}

static void restore_series(struct o3_sidecar *s, struct epoch *ep) {
    for (int sig = 0; sig < SIGNAL_COUNT; sig++) {
        char key[220];
        series_key(ep, (enum signal)sig, key, sizeof key);
        O3_AUTO_BUF text;
        o3_buf_init(&text, 64 * 1024);
        struct o3_err e;
        if (o3_sc_take_restored(s, key, &text) &&
            o3_drift_decode(o3_buf_str(&text), text.len, &ep->series[sig], &e) == 0)
            o3_drift_mark_gap(ep->series[sig]);
    }
}

static void show_series(struct o3_sidecar *s, const struct model *m, enum signal sig);
static void drop_series_metrics(struct o3_sidecar *s, const struct model *m);

void o3_sc_enter_epoch(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    if (!m->is_loaded || m->show_state == SHOW_WANTED || m->ps.context_length <= 0) return;
    enum o3_batch_source source;
    int64_t batch = o3_sc_effective_batch(s, m, &source);
    struct epoch *before = m->epoch;
    if (before && is_epoch(before, m, s->version.text, batch)) return;
    m->epoch = NULL;
    for (int i = 0; i < O3_EPOCHS_MAX; i++)
        if (m->epochs[i] && is_epoch(m->epochs[i], m, s->version.text, batch)) m->epoch = m->epochs[i];
    if (!m->epoch) {
        m->epoch = new_epoch(s, m, batch);
        if (!m->epoch) return;
        restore_sizes(s, m->epoch);
        restore_series(s, m->epoch);
    }
    o3_sc_restore_strike(s, m);
    m->epoch->used_ns = now.mono_ns;
    m->n_attempts = m->next_attempt = 0;
    m->is_gap = true;
    drop_series_metrics(s, m);
    for (int sig = 0; sig < SIGNAL_COUNT; sig++)
        if (m->epoch->series[sig]) show_series(s, m, (enum signal)sig);
    if (before) {
        const char *reason = strcmp(before->digest, m->ps.digest)       ? "digest"
                             : strcmp(before->version, s->version.text) ? "server_version"
                             : before->num_ctx != m->ps.context_length  ? "num_ctx"
                                                                        : "num_batch";
        O3_SC_EVENT(s, O3_EV_EPOCH_CHANGED, O3_F_STR("model", m->ps.name), O3_F_STR("reason", reason));
    }
}

void o3_sc_keep_series(struct o3_sidecar *s, struct model *m) {
    for (int i = 0; i < O3_EPOCHS_MAX; i++)
        if (m->epochs[i]) drop_series(s, m->epochs[i]);
}

static void mark_gap(struct model *m) {
    for (int sig = 0; m->epoch && sig < SIGNAL_COUNT; sig++)
        if (m->epoch->series[sig]) o3_drift_mark_gap(m->epoch->series[sig]);
}

/* ---- metrics ---- */

static void drop_series_metrics(struct o3_sidecar *s, const struct model *m) {
    static const enum o3_metric IDS[] = {O3_M_BASELINE_VALUE,     O3_M_BASELINE_STDDEV,
                                         O3_M_BASELINE_SAMPLES,   O3_M_BASELINE_ESTABLISHED_TIMESTAMP_SECONDS,
                                         O3_M_DRIFT_STATISTIC,    O3_M_DRIFT_THRESHOLD,
                                         O3_M_DRIFT_CHANGE_RATIO, O3_M_DRIFT_DETECTED};
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++)
        o3_metric_drop_matching(s->metrics, IDS[i], O3_L(m->ps.name), 1);
}

static void show_series(struct o3_sidecar *s, const struct model *m, enum signal sig) {
    struct o3_drift_view v;
    o3_drift_view(m->epoch->series[sig], &v);
    const char *const *l = O3_L(m->ps.name, SIGNAL_NAMES[sig]);
    const char *const *ld = O3_L(m->ps.name, SIGNAL_NAMES[sig], DETECTOR);
    o3_metric_set(s->metrics, O3_M_BASELINE_SAMPLES, l, (double)v.baseline_n);
    o3_metric_set(s->metrics, O3_M_DRIFT_DETECTED, l, v.state == O3_DRIFT_CONFIRMED);
    if (v.state == O3_DRIFT_LEARNING) return;
    o3_metric_set(s->metrics, O3_M_BASELINE_VALUE, l, v.baseline);
    o3_metric_set(s->metrics, O3_M_BASELINE_STDDEV, l, v.baseline_sd);
    o3_metric_set(s->metrics, O3_M_BASELINE_ESTABLISHED_TIMESTAMP_SECONDS, l, (double)v.established_wall_ms / 1000.0);
    o3_metric_set(s->metrics, O3_M_DRIFT_STATISTIC, ld, v.statistic);
    o3_metric_set(s->metrics, O3_M_DRIFT_THRESHOLD, ld, v.threshold);
    o3_metric_set(s->metrics, O3_M_DRIFT_CHANGE_RATIO, l, v.change_ratio);
}

void o3_sc_drop_live_gauges(struct o3_sidecar *s, struct model *m) {
    static const enum o3_metric IDS[] = {O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_M_PROBE_PREFILL_TOKENS_PER_SECOND,
                                         O3_M_PROBE_SUCCESS};
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++)
        o3_metric_drop_matching(s->metrics, IDS[i], O3_L(m->ps.name), 1);
    m->has_live_gauges = false;
}

static void show_sample(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample) {
    const char *name = m->ps.name, *kind = o3_probe_kind_name(sample->kind);
    o3_metric_add(s->metrics, O3_M_PROBES, O3_L(name, kind, o3_outcome_name(sample->outcome)), 1);
    if (sample->outcome == O3_OUTCOME_CANCELLED) return;
    m->last_sample_ns = sample->mono_ns;
    m->has_live_gauges = true;
    o3_metric_set(s->metrics, O3_M_PROBE_SUCCESS, O3_L(name), !o3_outcome_is_failure(sample->outcome));
    o3_metric_observe(s->metrics, O3_M_PROBE_DURATION_SECONDS, O3_L(name, kind), (double)sample->wall_ns / 1e9);
    if (o3_outcome_is_failure(sample->outcome) || sample->flags & O3_SAMPLE_IMPLAUSIBLE) return;
    o3_metric_set(s->metrics, O3_M_PROBE_LAST_SUCCESS_TIMESTAMP_SECONDS, O3_L(name),
                  (double)(sample->wall_ms + sample->wall_ns / O3_NS_PER_MS) / 1000.0);
    if (sample->ttft_ns >= 0)
        o3_metric_observe(s->metrics, O3_M_PROBE_TIME_TO_FIRST_TOKEN_SECONDS, O3_L(name, kind),
                          (double)sample->ttft_ns / 1e9);
    if (sample->ttfc_ns >= 0)
        o3_metric_observe(s->metrics, O3_M_PROBE_TIME_TO_FIRST_CONTENT_SECONDS, O3_L(name),
                          (double)sample->ttfc_ns / 1e9);
    if (sample->load_ns >= O3_RELOAD_NS)
        o3_metric_observe(s->metrics, O3_M_PROBE_LOAD_DURATION_SECONDS, O3_L(name), (double)sample->load_ns / 1e9);
    if (sample->kind == O3_PROBE_DECODE && isfinite(sample->decode_tps)) {
        o3_metric_set(s->metrics, O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_L(name), sample->decode_tps);
        o3_metric_observe(s->metrics, O3_M_PROBE_TIME_PER_OUTPUT_TOKEN_SECONDS, O3_L(name), sample->tpot_s);
    }
    if (isfinite(sample->prefill_tps))
        o3_metric_set(s->metrics, O3_M_PROBE_PREFILL_TOKENS_PER_SECOND, O3_L(name), sample->prefill_tps);
}

/* ---- stability ---- */

static void note_attempt(struct model *m, const struct o3_sample *sample) {
    if (sample->outcome == O3_OUTCOME_CANCELLED || sample->kind == O3_PROBE_PREFILL) return;
    bool is_success = sample->outcome == O3_OUTCOME_OK;
    if (is_success && sample->flags & O3_SAMPLE_REJECTED)
        return; /* disturbed: says nothing about the server's own stability */
    double value = sample->kind == O3_PROBE_DECODE ? sample->decode_tps : 1e9 / (double)sample->wall_ns;
    if (is_success && !isfinite(value)) return;
    m->attempts[m->next_attempt] = (struct attempt){.is_success = is_success, .value = value};
    m->next_attempt = (m->next_attempt + 1) % O3_ATTEMPTS_MAX;
    if (m->n_attempts < O3_ATTEMPTS_MAX) m->n_attempts++;
}

struct o3_stability o3_sc_stability(const struct o3_sidecar *s, const struct model *m) {
    double values[O3_ATTEMPTS_MAX];
    size_t n = 0;
    for (int i = 0; i < m->n_attempts; i++)
        if (m->attempts[i].is_success) values[n++] = m->attempts[i].value;
    return o3_stability_of(values, n, (size_t)m->n_attempts, s->config->statistics_max_variation);
}

/* ---- verdicts ---- */

static struct o3_drift *series_of(struct o3_sidecar *s, struct model *m, enum signal sig) {
    if (m->epoch->series[sig]) return m->epoch->series[sig];
    struct o3_drift_params p = o3_drift_params_default();
    p.min_effect = s->config->drift_min_effect;
    p.confirm_samples = (int)s->config->drift_confirm_samples;
    p.n0 = (int)s->config->drift_baseline_samples;
    /* The false-alarm budget is the sidecar's: each of its series gets an equal share of it. */
    double budget_ms;
    int64_t interval_ms = sig == SIGNAL_PREFILL_RATE ? s->config->probe_prefill_interval_ms : m->interval_ms;
    if (o3_false_alarms_parse(s->config->drift_false_alarms, &budget_ms))
        p.arl0_samples = (double)(s->n_models * SIGNAL_COUNT) * budget_ms / (double)interval_ms;
    return m->epoch->series[sig] = o3_drift_new(&p);
}

bool o3_sc_is_learning(const struct model *m) {
    enum signal usual = o3_sc_usual_kind(m) == O3_PROBE_EMBED ? SIGNAL_TTFT : SIGNAL_DECODE_RATE;
    const struct o3_drift *d = m->epoch ? m->epoch->series[usual] : NULL;
    struct o3_drift_view v;
    if (!d) return true;
    o3_drift_view(d, &v);
    return v.state == O3_DRIFT_LEARNING;
}

static int n_in_state(const struct model *m, enum o3_drift_state state) {
    int n = 0;
    for (int sig = 0; m->epoch && sig < SIGNAL_COUNT; sig++) {
        if (!m->epoch->series[sig]) continue;
        struct o3_drift_view v;
        o3_drift_view(m->epoch->series[sig], &v);
        n += v.state == state;
    }
    return n;
}

int o3_sc_n_drifted(const struct model *m) {
    return n_in_state(m, O3_DRIFT_CONFIRMED);
}

static void describe(const struct o3_drift_report *r, enum signal sig, char *out, size_t size) {
    char since[40];
    o3_rfc3339_format(r->change_wall_ms, since, sizeof since);
    snprintf(out, size, "%s %s: %.4g to %.4g (%+.1f %%, 95 %% interval %+.1f to %+.1f), since %s, n=%d",
             SIGNAL_NAMES[sig], o3_drift_event_name(r->event), r->reference, r->level, r->change_ratio * 100,
             r->change_lo * 100, r->change_hi * 100, since, r->n_since);
}

static void tell_verdict(struct o3_sidecar *s, const struct model *m, enum signal sig, const struct o3_drift_report *r,
                         double baseline) {
    struct o3_field model = O3_F_STR("model", m->ps.name), signal = O3_F_STR("signal", SIGNAL_NAMES[sig]);
    char since[40];
    o3_rfc3339_format(r->change_wall_ms, since, sizeof since);
    switch (r->event) {
    case O3_DRIFT_EV_BASELINE:
        O3_SC_EVENT(s, O3_EV_BASELINE_SET, model, signal, O3_F_DBL("value", baseline));
        break;
    case O3_DRIFT_EV_SUSPECT:
        O3_SC_EVENT(s, O3_EV_DRIFT_SUSPECT, model, signal, O3_F_DBL("change_ratio", r->change_ratio));
        break;
    case O3_DRIFT_EV_CONFIRMED:
        o3_metric_add(s->metrics, O3_M_DRIFT_EVENTS,
                      O3_L(m->ps.name, SIGNAL_NAMES[sig], r->direction > 0 ? "up" : "down"), 1);
        O3_SC_EVENT(s, O3_EV_DRIFT_CONFIRMED, model, signal, O3_F_DBL("from", r->reference), O3_F_DBL("to", r->level),
                    O3_F_DBL("change_ratio", r->change_ratio), O3_F_STR("since", since),
                    O3_F_DBL("change_lo", r->change_lo), O3_F_DBL("change_hi", r->change_hi),
                    O3_F_INT("n", r->n_since));
        break;
    case O3_DRIFT_EV_WENT_AWAY:
        O3_SC_EVENT(s, O3_EV_DRIFT_WENT_AWAY, model, signal);
        break;
    case O3_DRIFT_EV_RECOVERED:
        O3_SC_EVENT(s, O3_EV_DRIFT_RECOVERED, model, signal);
        break;
    case O3_DRIFT_EV_NONE:
        break;
    }
}

/* Figures of a machine that may just be changing are not published: they wait for the end of the suspicion. */
static void publish_verdict(struct o3_sidecar *s, struct model *m, enum signal sig, const struct o3_drift_report *r,
                            struct o3_now now) {
    if (r->event == O3_DRIFT_EV_SUSPECT) return;
    if (r->event == O3_DRIFT_EV_BASELINE)
        snprintf(m->held_reason, sizeof m->held_reason, "%s baseline established", SIGNAL_NAMES[sig]);
    else if (r->event != O3_DRIFT_EV_WENT_AWAY)
        describe(r, sig, m->held_reason, sizeof m->held_reason);
    if (r->event != O3_DRIFT_EV_WENT_AWAY) m->held = r->event;
    bool is_unsure = n_in_state(m, O3_DRIFT_SUSPECT) > 0 && n_in_state(m, O3_DRIFT_CONFIRMED) == 0;
    if (m->held == O3_DRIFT_EV_NONE || is_unsure) return;
    o3_sc_want_presets(s, m, m->held, m->held_reason, now);
    m->held = O3_DRIFT_EV_NONE;
}

static void feed(struct o3_sidecar *s, struct model *m, enum signal sig, double value, const struct o3_sample *sample,
                 struct o3_now now) {
    if (!(value > 0) || !isfinite(value)) return;
    struct o3_drift *d = series_of(s, m, sig);
    if (!d) return;
    struct o3_drift_report r = {0};
    enum o3_drift_event ev = o3_drift_add(d, value, sample->wall_ms, &r);
    m->epoch->n_unsaved[sig]++;
    show_series(s, m, sig);
    if (ev == O3_DRIFT_EV_NONE) return;
    struct o3_drift_view v;
    o3_drift_view(d, &v);
    r.event = ev;
    if (ev == O3_DRIFT_EV_CONFIRMED) m->epoch->n_changed[sig] = r.n_since;
    tell_verdict(s, m, sig, &r, v.baseline);
    publish_verdict(s, m, sig, &r, now);
    save_one(s, m->epoch, sig); /* after what follows from it: a verdict that is saved is never told again */
}

static void count_rejected(struct o3_sidecar *s, const struct o3_sample *sample) {
    static const struct {
        uint32_t flag;
        const char *name;
    } FLAGS[] = {{O3_SAMPLE_WARMUP, "warmup"},
                 {O3_SAMPLE_BUSY, "busy"},
                 {O3_SAMPLE_TAINTED, "tainted"},
                 {O3_SAMPLE_INCOMPLETE, "incomplete"},
                 {O3_SAMPLE_IMPLAUSIBLE, "implausible"}};
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++)
        if (sample->flags & FLAGS[i].flag) o3_metric_add(s->metrics, O3_M_SAMPLES_REJECTED, O3_L(FLAGS[i].name), 1);
}

void o3_sc_judge(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample, struct o3_now now) {
    if (sample->flags & O3_SAMPLE_AFTER_GAP) mark_gap(m);
    if (sample->kind == O3_PROBE_LOOK) return;
    show_sample(s, m, sample);
    count_rejected(s, sample);
    note_attempt(m, sample);
    struct o3_stability st = o3_sc_stability(s, m);
    if (isfinite(st.ratio)) o3_metric_set(s->metrics, O3_M_STABILITY_RATIO, O3_L(m->ps.name), st.ratio);
    if (!s->config->drift_enabled || !m->epoch || sample->outcome != O3_OUTCOME_OK ||
        sample->flags & O3_SAMPLE_REJECTED)
        return;
    if (sample->kind == O3_PROBE_DECODE) {
        feed(s, m, SIGNAL_DECODE_RATE, sample->decode_tps, sample, now);
        if (!(sample->flags & O3_SAMPLE_AFTER_OTHER))
            feed(s, m, SIGNAL_TTFT, (double)sample->ttft_ns / 1e9, sample, now);
    } else if (sample->kind == O3_PROBE_EMBED) {
        feed(s, m, SIGNAL_TTFT, (double)sample->wall_ns / 1e9, sample, now);
    } else {
        feed(s, m, SIGNAL_PREFILL_RATE, sample->prefill_tps, sample, now);
    }
    o3_sc_save_series(s, m, false);
}
