/* SPDX-License-Identifier: Apache-2.0 */
/* What the judge says, as metrics, events and presets, and the states it keeps. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "o3/judge_events.h"
#include "o3/judge_params.h"
#include "o3/reading.h"
#include "sidecar/internal.h"

/* Shares of ones and zeros have no ranks. */
static const char *detector_name(const struct o3_sidecar *s, enum o3_signal sig) {
    return o3_drift_detector_name(sig == O3_SIGNAL_SUCCESS ? O3_DRIFT_BY_CUSUM : s->judge_params.detector);
}

/* ---- metrics ---- */

void o3_sc_drop_series(struct o3_sidecar *s, struct model *m) {
    static const enum o3_metric IDS[] = {O3_M_BASELINE_VALUE,           O3_M_BASELINE_STDDEV,
                                         O3_M_BASELINE_SAMPLES,         O3_M_BASELINE_ESTABLISHED_TIMESTAMP_SECONDS,
                                         O3_M_DRIFT_STATISTIC,          O3_M_DRIFT_THRESHOLD,
                                         O3_M_DRIFT_CHANGE_RATIO,       O3_M_DRIFT_DETECTED,
                                         O3_M_DRIFT_SUSPECTED,          O3_M_DRIFT_CHANGE_TIMESTAMP_SECONDS,
                                         O3_M_ROOFLINE_EFFICIENCY_RATIO};
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++)
        o3_metric_drop_matching(s->metrics, IDS[i], O3_L(m->ps.name), 1);
    m->is_show_due = false;
}

static bool is_measured(enum o3_signal sig) { /* the others are exact readings, or a share */
    return sig == O3_SIGNAL_DECODE_RATE || sig == O3_SIGNAL_PREFILL_RATE || sig == O3_SIGNAL_TTFT ||
           sig == O3_SIGNAL_LOAD_TIME;
}

static void show_values(struct o3_sidecar *s, const char *const *l, const char *const *ld, bool has_spread,
                        const struct o3_drift_view *v) {
    o3_metric_set(s->metrics, O3_M_BASELINE_SAMPLES, l, (double)v->baseline_n);
    if (v->state == O3_DRIFT_LEARNING) return;
    o3_metric_set(s->metrics, O3_M_BASELINE_VALUE, l, v->baseline);
    if (has_spread) o3_metric_set(s->metrics, O3_M_BASELINE_STDDEV, l, v->baseline_sd);
    o3_metric_set(s->metrics, O3_M_BASELINE_ESTABLISHED_TIMESTAMP_SECONDS, l, (double)v->established_wall_ms / 1000.0);
    o3_metric_set(s->metrics, O3_M_DRIFT_STATISTIC, ld, v->statistic);
    o3_metric_set(s->metrics, O3_M_DRIFT_THRESHOLD, ld, v->threshold);
}

/* Values are those without users; a change counts under any conditions, and where only others have one it is theirs. */
static void show_signal(struct o3_sidecar *s, const struct model *m, enum o3_signal sig) {
    const char *const *l = O3_L(m->ps.name, o3_signal_name(sig));
    bool exists = false, is_suspect = false, is_confirmed = false;
    double change_ratio = (double)NAN;
    int64_t since_ms = 0;
    for (int st = O3_STRATUM_COUNT - 1; st >= 0; st--) {
        struct o3_series_view v;
        bool has_efficiency = sig == O3_SIGNAL_DECODE_RATE && st == O3_STRATUM_IDLE;
        if (has_efficiency)
            o3_judge_view(s->judge, m->ps.name, sig, (enum o3_stratum)st, &v);
        else
            o3_judge_glance(s->judge, m->ps.name, sig, (enum o3_stratum)st, &v);
        if (!v.exists) continue;
        exists = true;
        is_suspect |= v.drift.state == O3_DRIFT_SUSPECT;
        bool is_changed = v.drift.state == O3_DRIFT_CONFIRMED;
        bool is_level = st == O3_STRATUM_IDLE && v.drift.state != O3_DRIFT_LEARNING;
        if (is_changed || (is_level && !is_confirmed)) change_ratio = v.drift.change_ratio;
        is_confirmed |= is_changed;
        if (v.drift.change_wall_ms) since_ms = v.drift.change_wall_ms;
        if (st == O3_STRATUM_IDLE)
            show_values(s, l, O3_L(m->ps.name, o3_signal_name(sig), detector_name(s, sig)), is_measured(sig), &v.drift);
        if (has_efficiency && isfinite(v.efficiency))
            o3_metric_set(s->metrics, O3_M_ROOFLINE_EFFICIENCY_RATIO, O3_L(m->ps.name), v.efficiency);
    }
    if (!exists) return;
    if (isnan(change_ratio))
        o3_metric_drop(s->metrics, O3_M_DRIFT_CHANGE_RATIO, l);
    else
        o3_metric_set(s->metrics, O3_M_DRIFT_CHANGE_RATIO, l, change_ratio);
    const char *name = o3_signal_name(sig);
    /* From 0, so that a rate() sees the first one, too. */
    o3_metric_add(s->metrics, O3_M_DRIFT_EVENTS, O3_L(m->ps.name, name, "up"), 0);
    o3_metric_add(s->metrics, O3_M_DRIFT_EVENTS, O3_L(m->ps.name, name, "down"), 0);
    o3_metric_set(s->metrics, O3_M_DRIFT_DETECTED, l, is_confirmed);
    o3_metric_set(s->metrics, O3_M_DRIFT_SUSPECTED, l, is_suspect);
    if (is_suspect || is_confirmed)
        o3_metric_set(s->metrics, O3_M_DRIFT_CHANGE_TIMESTAMP_SECONDS, l, (double)since_ms / 1000.0);
    else
        o3_metric_drop(s->metrics, O3_M_DRIFT_CHANGE_TIMESTAMP_SECONDS, l);
}

/* The newest that came with other software or another device, as long as that is in force; else the newest setting that
 * somebody chose: one series a signal, and no setting takes the place of an upgrade. The others are in the events. */
static bool shown_release(const struct o3_sidecar *s, const struct model *m, enum o3_signal sig,
                          struct o3_release *ret) {
    bool any = false, has_release = false;
    for (int kind = 0; kind < O3_RELEASE_REASONS; kind++) {
        struct o3_release r;
        bool is_in_force;
        if (!o3_judge_release_of(s->judge, m->ps.name, sig, kind, &r, &is_in_force)) continue;
        bool is_release = is_in_force && !o3_release_is_setting(&r);
        bool is_newer = !any || r.wall_ms > ret->wall_ms;
        if (is_release == has_release ? !is_newer : has_release) continue;
        *ret = r;
        any = true;
        has_release = is_release;
    }
    return any;
}

static void show_releases(struct o3_sidecar *s, const struct model *m) {
    int64_t newest_ms = INT64_MIN;
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        struct o3_release r;
        bool is_in_force;
        const char *name = o3_signal_name((enum o3_signal)sig);
        if (!o3_judge_release(s->judge, m->ps.name, (enum o3_signal)sig, &r, &is_in_force)) continue;
        if (r.wall_ms > newest_ms) newest_ms = r.wall_ms;
        if (!shown_release(s, m, (enum o3_signal)sig, &r)) continue;
        o3_metric_drop_matching(s->metrics, O3_M_RELEASE_CHANGE_RATIO, O3_L(m->ps.name, name), 2);
        o3_metric_set(s->metrics, O3_M_RELEASE_CHANGE_RATIO, O3_L(m->ps.name, name, r.reason), r.change_ratio);
    }
    if (newest_ms != INT64_MIN)
        o3_metric_set(s->metrics, O3_M_RELEASE_TIMESTAMP_SECONDS, O3_L(m->ps.name), (double)newest_ms / 1000.0);
}

static void show_causes(struct o3_sidecar *s, const struct o3_incident *i, enum o3_stratum st) {
    for (int k = 0; i->is_open && i->n_causes && k < i->n_members; k++) {
        const struct o3_incident_member *x = &i->member[k];
        if (x->is_over || x->verdict.stratum != st) continue;
        const char *model = x->verdict.model, *signal = o3_signal_name(x->verdict.signal);
        o3_metric_drop_matching(s->metrics, O3_M_DRIFT_CAUSE_INFO, O3_L(model, signal), 2);
        o3_metric_set(s->metrics, O3_M_DRIFT_CAUSE_INFO,
                      O3_L(model, signal, o3_cause_name(i->cause[0].cause), o3_stratum_name(st)), 1);
    }
}

/* Of each open incident its likeliest cause, for every signal in it: one series a signal. What shows without users,
 * which comes last, takes the place of what shows beside them. */
static void show_incidents(struct o3_sidecar *s) {
    const struct o3_incident *v[O3_INCIDENTS_MAX];
    size_t n = o3_judge_incidents(s->judge, v, O3_INCIDENTS_MAX);
    int n_open = 0;
    for (size_t i = 0; i < n; i++)
        n_open += v[i]->is_open;
    o3_metric_drop_matching(s->metrics, O3_M_DRIFT_CAUSE_INFO, O3_NO_LABELS, 0);
    for (int st = O3_STRATUM_COUNT - 1; st >= 0; st--)
        for (size_t i = 0; i < n; i++)
            show_causes(s, v[i], (enum o3_stratum)st);
    o3_metric_set(s->metrics, O3_M_INCIDENTS_OPEN, O3_NO_LABELS, n_open);
}

void o3_sc_show_series(struct o3_sidecar *s, struct model *m) {
    m->is_show_due = true;
    s->is_show_due = true; /* a member of an incident may end without news of the incident */
}

static void show_model(struct o3_sidecar *s, struct model *m) {
    struct o3_stability st = o3_sc_stability(s, m);
    if (isfinite(st.ratio)) o3_metric_set(s->metrics, O3_M_STABILITY_RATIO, O3_L(m->ps.name), st.ratio);
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        show_signal(s, m, (enum o3_signal)sig);
    show_releases(s, m);
    m->is_show_due = false;
}

void o3_sidecar_show_metrics(struct o3_sidecar *s) {
    if (!s->is_show_due) return;
    for (int i = 0; i < s->n_models; i++) {
        if (s->models[i]->is_show_due) show_model(s, s->models[i]);
        if (s->models[i]->is_listing_due) o3_sc_show_listed(s, s->models[i]);
    }
    show_incidents(s);
    s->is_show_due = false;
}

/* ---- states of a model ---- */

static bool is_speed(enum o3_signal sig) {
    return sig == O3_SIGNAL_DECODE_RATE || sig == O3_SIGNAL_PREFILL_RATE || sig == O3_SIGNAL_TTFT;
}

static bool has_speed(const struct o3_sidecar *s, const struct model *m, enum o3_drift_state st) {
    uint32_t bits = o3_judge_signals_in_state(s->judge, m->ps.name, O3_STRATUM_IDLE, st);
    for (int sig = 0; bits >> sig; sig++)
        if (is_speed((enum o3_signal)sig) && (bits >> sig & 1)) return true;
    return false;
}

bool o3_sc_is_unsure(const struct o3_sidecar *s, const struct model *m) {
    return has_speed(s, m, O3_DRIFT_SUSPECT) && !has_speed(s, m, O3_DRIFT_CONFIRMED);
}

bool o3_sc_is_learning(const struct o3_sidecar *s, const struct model *m) {
    bool is_embedding = o3_sc_usual_kind(m) == O3_PROBE_EMBED;
    return o3_judge_is_learning(s->judge, m->ps.name, is_embedding ? O3_SIGNAL_TTFT : O3_SIGNAL_DECODE_RATE);
}

/* ---- what the judge says ---- */

static void tell(struct o3_sidecar *s, const struct o3_judge_event *e) {
    o3_sc_event(s, e->id, e->f, e->n);
}

/* Figures of a machine that may just be changing are not published: they wait for the end of the suspicion. */
static void publish_verdict(struct o3_sidecar *s, struct model *m, const struct o3_verdict *v, const char *text) {
    enum o3_drift_event ev = v->report.event;
    if (!is_speed(v->signal) || v->stratum != O3_STRATUM_IDLE || ev == O3_DRIFT_EV_SUSPECT) return;
    if (ev == O3_DRIFT_EV_BASELINE)
        snprintf(m->held_reason, sizeof m->held_reason, "%s baseline established", o3_signal_name(v->signal));
    else if (ev != O3_DRIFT_EV_WENT_AWAY)
        o3_str_copy(m->held_reason, sizeof m->held_reason, text);
    m->is_held |= ev != O3_DRIFT_EV_WENT_AWAY;
    if (!m->is_held || o3_sc_is_unsure(s, m)) return;
    o3_sc_want_presets(s, m, m->held_reason, s->judged_at);
    m->is_held = false;
}

static void on_verdict(void *ctx, const struct o3_verdict *v) {
    struct o3_sidecar *s = ctx;
    struct model *m = o3_sc_find_model(s, v->model);
    const struct o3_drift_report *r = &v->report;
    struct o3_judge_event e;
    o3_verdict_event(v, &e);
    if (r->event == O3_DRIFT_EV_CONFIRMED)
        o3_metric_add(s->metrics, O3_M_DRIFT_EVENTS,
                      O3_L(v->model, o3_signal_name(v->signal), r->direction > 0 ? "up" : "down"), 1);
    tell(s, &e);
    if (!m || !m->epoch) return;
    bool is_confirmed = r->event == O3_DRIFT_EV_CONFIRMED && v->stratum == O3_STRATUM_IDLE;
    bool is_over = r->event == O3_DRIFT_EV_RECOVERED && v->stratum == O3_STRATUM_IDLE;
    if (is_confirmed) m->epoch->n_changed[v->signal] = r->n_since;
    if (is_confirmed || is_over) o3_sc_level_changed(m, v->signal, r->change_hi_ms);
    publish_verdict(s, m, v, e.text);
}

static void on_incident(void *ctx, const struct o3_incident *i, enum o3_incident_change change) {
    struct o3_sidecar *s = ctx;
    struct o3_judge_event e;
    if (change == O3_INCIDENT_OPENED) o3_metric_add(s->metrics, O3_M_INCIDENTS, O3_NO_LABELS, 1);
    s->is_show_due = true;
    o3_incident_event(i, change, &e);
    tell(s, &e);
}

static void on_release(void *ctx, const struct o3_release *r) {
    struct o3_sidecar *s = ctx;
    struct o3_judge_event e;
    o3_release_event(r, &e);
    tell(s, &e);
}

static void on_epoch(void *ctx, const char *model, const char *reason) {
    struct o3_sidecar *s = ctx;
    struct model *m = o3_sc_find_model(s, model);
    struct o3_judge_event e;
    if (m) {
        o3_sc_drop_series(s, m);
        o3_sc_untell(s, m, UINT32_MAX);
    }
    o3_epoch_event(model, reason, &e);
    tell(s, &e);
}

static void on_acknowledged(void *ctx, const char *model, enum o3_signal signal, double level) {
    const struct model *m = o3_sc_find_model(ctx, model);
    struct o3_judge_event e;
    if (m) o3_sc_untell(ctx, m, UINT32_C(1) << signal);
    o3_acknowledged_event(model, signal, level, &e);
    tell(ctx, &e);
}

/* ---- what a person says ---- */

static int write_answer(const struct model *m, uint32_t bits, const double level[O3_SIGNAL_COUNT], bool is_done,
                        struct o3_buf *out) {
    o3_buf_adds(out, "{\"model\": ");
    o3_buf_add_quoted(out, m->ps.name);
    o3_buf_addf(out, ", \"accepted\": \"%s\", \"signals\": [", is_done ? "now" : "with the next sample");
    bool is_first = true;
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        if (!(bits & (UINT32_C(1) << sig))) continue;
        char text[64];
        o3_signal_value_text((enum o3_signal)sig, level[sig], text, sizeof text);
        o3_buf_addf(out, "%s{\"signal\": \"%s\", \"level\": ", is_first ? "" : ", ",
                    o3_signal_name((enum o3_signal)sig));
        o3_buf_add_json_number(out, level[sig]);
        o3_buf_addf(out, ", \"text\": \"%s\"}", text);
        is_first = false;
    }
    return o3_buf_adds(out, "]}\n");
}

int o3_sidecar_acknowledge(struct o3_sidecar *s, const char *model, const char *signal, struct o3_now now,
                           struct o3_buf *out, struct o3_err *e) {
    struct model *m = o3_sc_find_model(s, model);
    enum o3_signal sig = O3_SIGNAL_COUNT;
    if (!m) return o3_err_set(e, O3_E_NOT_FOUND, "no model \"%.128s\" is known", model);
    if (signal && !o3_signal_parse(signal, &sig))
        return o3_err_set(e, O3_E_USAGE, "no signal is called \"%.40s\"", signal);
    uint32_t bits = 0; /* only what has changed: a level that is judged normal needs no word */
    double level[O3_SIGNAL_COUNT];
    for (int i = 0; i < O3_SIGNAL_COUNT; i++) {
        level[i] = o3_judge_acceptable(s->judge, m->ps.name, (enum o3_signal)i);
        if (!isnan(level[i]) && (!signal || i == (int)sig)) bits |= UINT32_C(1) << i;
    }
    if (!bits)
        return o3_err_set(e, O3_E_NO_CHANGE, "no change of %s of %.128s is suspected or confirmed",
                          signal ? signal : "any signal", m->ps.name);
    m->acknowledged |= bits;
    bool is_done = o3_sc_look_now(s, m, now);
    if (!is_done) o3_sc_keep_acknowledged(s, m);
    return write_answer(m, bits, level, is_done, out);
}

/* ---- the judge itself ---- */

static void on_save(void *ctx, const char *key, const char *value, size_t n) {
    struct o3_sidecar *s = ctx;
    s->ops.save_state(s->ops.ctx, key, value, n);
}

static void on_keep(void *ctx, const char *key, const char *value, size_t n) {
    o3_sc_keep_state(ctx, key, value, n);
}

static bool on_take(void *ctx, const char *key, struct o3_buf *ret) {
    return o3_sc_take_restored(ctx, key, ret);
}

static void on_lost(void *ctx, const char *model, const char *reason) {
    O3_SC_EVENT((struct o3_sidecar *)ctx, O3_EV_STATE_DROPPED, O3_F_STR("model", model), O3_F_STR("reason", reason),
                O3_F_INT("samples", 0));
}

int o3_sc_judge_new(struct o3_sidecar *s, struct o3_err *e) {
    o3_judge_params_of(s->config, &s->judge_params);
    struct o3_judge_ops ops = {.ctx = s,
                               .verdict = on_verdict,
                               .incident = on_incident,
                               .release = on_release,
                               .epoch = on_epoch,
                               .acknowledged = on_acknowledged,
                               .save = on_save,
                               .take = on_take,
                               .keep = on_keep,
                               .lost = on_lost};
    o3_metric_set(s->metrics, O3_M_INCIDENTS_OPEN, O3_NO_LABELS, 0);
    o3_metric_add(s->metrics, O3_M_INCIDENTS, O3_NO_LABELS, 0);
    return o3_judge_new(&s->judge_params, &ops, &s->judge, e);
}

/* The other keys of drift wait for a restart, as the table says. */
void o3_sc_judge_configure(struct o3_sidecar *s) {
    struct o3_judge_params p;
    o3_judge_params_of(s->config, &p);
    s->judge_params.min_effect = p.min_effect;
    s->judge_params.confirm_samples = p.confirm_samples;
    s->judge_params.prefill_interval_ms = p.prefill_interval_ms;
    o3_judge_configure(s->judge, &s->judge_params);
}

void o3_sc_resume_incidents(struct o3_sidecar *s) {
    if (s->has_resumed) return;
    s->has_resumed = true;
    o3_judge_resume(s->judge);
    s->is_show_due = true;
}
