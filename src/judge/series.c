/* SPDX-License-Identifier: Apache-2.0 */
/* One series: a detector of values, or for success one of shares, and its saved state. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "judge/parts.h"
#include "o3/num.h"
#include "o3/stat.h"

#define STATE_BYTES_MAX (64 * 1024)
#define STATE_BYTES_USUAL (15 * 1024)
#define N0_EXACT 10    /* exact readings, and loads, which are rare */
#define CONFIRM_RARE 5 /* loads */

static int min_int(int a, int b) {
    return a < b ? a : b;
}

static int64_t interval_of(const struct o3_judge *j, enum o3_signal sig, const struct o3_sample *s) {
    int64_t ms = s->around.interval_ms > 0 ? s->around.interval_ms : O3_JUDGE_INTERVAL_MS;
    return sig == O3_SIGNAL_PREFILL_RATE && j->p.prefill_interval_ms > ms ? j->p.prefill_interval_ms : ms;
}

static double arl0_of(const struct o3_judge *j, const struct o3_sample *s, int64_t interval_ms) {
    double n_models = s->around.n_models > 0 ? (double)s->around.n_models : 1;
    return n_models * (double)O3_SIGNAL_COUNT * j->p.budget_ms / (double)interval_ms;
}

static bool has_strata(enum o3_signal sig) {
    return sig == O3_SIGNAL_DECODE_RATE || sig == O3_SIGNAL_PREFILL_RATE || sig == O3_SIGNAL_TTFT;
}

static struct o3_drift_params drift_params(const struct o3_judge *j, enum o3_signal sig, const struct o3_sample *s) {
    bool is_rate = has_strata(sig);
    struct o3_drift_params p = o3_drift_params_default();
    p.detector = j->p.detector;
    p.has_season = j->p.has_season && is_rate;
    p.interval_ms = interval_of(j, sig, s);
    p.min_effect = j->p.min_effect;
    p.arl0_samples = arl0_of(j, s, p.interval_ms);
    p.n0 = is_rate ? j->p.n0 : min_int(j->p.n0, N0_EXACT);
    p.confirm_samples = sig == O3_SIGNAL_LOAD_TIME ? min_int(j->p.confirm_samples, CONFIRM_RARE) : j->p.confirm_samples;
    return p;
}

static struct o3_success_params success_params(const struct o3_judge *j, const struct o3_sample *s) {
    struct o3_success_params p = o3_success_params_default();
    p.arl0_samples = arl0_of(j, s, interval_of(j, O3_SIGNAL_SUCCESS, s));
    p.n0 = j->p.n0;
    p.confirm_samples = j->p.confirm_samples;
    return p;
}

/* The configuration of now and the number of models of now count, also for a series that began under others. */
static bool prepare(const struct o3_judge *j, struct series *x, enum o3_signal sig, const struct o3_sample *s) {
    if (sig == O3_SIGNAL_SUCCESS) {
        struct o3_success_params p = success_params(j, s);
        if (!x->success) return (x->success = o3_success_new(&p)) != NULL;
        o3_success_tune(x->success, &p);
        return true;
    }
    struct o3_drift_params p = drift_params(j, sig, s);
    if (!x->drift) return (x->drift = o3_drift_new(&p)) != NULL;
    o3_drift_tune(x->drift, &p);
    return true;
}

bool o3_series_exists(const struct series *x) {
    return x->drift || x->success;
}

bool o3_series_add(const struct o3_judge *j, struct series *x, const struct reading *r, const struct o3_sample *s,
                   struct o3_drift_report *ret) {
    if (!prepare(j, x, r->signal, s)) return false; /* without memory this sample is lost, and nothing else */
    x->n_unsaved++;
    enum o3_drift_event ev = x->success ? o3_success_add(x->success, r->value > 0, s->wall_ms, ret)
                                        : o3_drift_add(x->drift, r->value, s->wall_ms, ret);
    ret->event = ev;
    return ev != O3_DRIFT_EV_NONE;
}

void o3_series_view(const struct series *x, struct o3_drift_view *ret) {
    if (x->success)
        o3_success_view(x->success, ret);
    else
        o3_drift_view(x->drift, ret);
}

void o3_series_glance(const struct series *x, struct o3_drift_view *ret) {
    if (x->success)
        o3_success_view(x->success, ret);
    else
        o3_drift_glance(x->drift, ret);
}

bool o3_series_is_in(const struct series *x, enum o3_drift_state state) {
    if (x->success) return o3_success_state_of(x->success) == state;
    return x->drift && o3_drift_state_of(x->drift) == state;
}

bool o3_series_change(const struct series *x, enum o3_signal sig, struct o3_drift_report *ret) {
    if (!x->drift || !o3_series_is_in(x, O3_DRIFT_CONFIRMED)) return false;
    o3_drift_report_now(x->drift, ret);
    o3_shown_report(sig, ret);
    return true;
}

#define N_NEWEST 5

bool o3_series_is_returning(const struct series *x) {
    struct o3_drift_report told;
    double v[N_NEWEST];
    if (!x->drift || !o3_series_is_in(x, O3_DRIFT_CONFIRMED)) return false;
    size_t n = o3_drift_recent(x->drift, v, N_NEWEST);
    o3_drift_report_now(x->drift, &told);
    if (!n || !(told.reference > 0) || !(told.level > 0)) return false;
    double now = o3_log(o3_median(v, n) / told.reference), change = o3_log(told.level / told.reference);
    return now * change <= 0 || fabs(now) < 0.5 * fabs(change);
}

void o3_series_mark_gap(struct series *x) {
    if (x->drift) o3_drift_mark_gap(x->drift);
}

/* Of a share that goes on learning from the change: what it is so far. */
bool o3_series_acknowledge(struct series *x, double *ret_level) {
    struct o3_drift_view v;
    if (!o3_series_exists(x)) return false;
    o3_series_glance(x, &v);
    if (v.state == O3_DRIFT_LEARNING) return false;
    if (x->success)
        o3_success_acknowledge(x->success);
    else
        o3_drift_acknowledge(x->drift);
    x->n_unsaved++;
    double so_far = v.baseline + v.change_ratio;
    o3_series_glance(x, &v);
    *ret_level = v.state == O3_DRIFT_LEARNING ? so_far : v.baseline;
    return true;
}

/* Its state is written and read exactly. */
static bool copy(const struct series *x, struct series *ret) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, STATE_BYTES_MAX);
    struct o3_err e;
    int r = x->success ? o3_success_encode(x->success, &text) : o3_drift_encode(x->drift, &text);
    *ret = (struct series){0};
    if (r < 0) return false;
    return (x->success ? o3_success_decode(o3_buf_str(&text), text.len, &ret->success, &e)
                       : o3_drift_decode(o3_buf_str(&text), text.len, &ret->drift, &e)) == 0;
}

double o3_series_acceptable(const struct series *x) {
    struct series after;
    double level = (double)NAN;
    if (!o3_series_exists(x) || !copy(x, &after)) return level;
    (void)o3_series_acknowledge(&after, &level);
    o3_series_free(&after);
    return level;
}

void o3_series_free(struct series *x) {
    o3_drift_free(x->drift);
    o3_success_free(x->success);
    *x = (struct series){0};
}

/* ---- saved states ---- */

static void series_key(const struct model *m, const struct setting *g, enum o3_signal sig, enum o3_stratum st,
                       char *out, size_t size) {
    snprintf(out, size, "judge/series/%s/%" PRId64 "/%s/%s", m->hash, g->id, o3_signal_name(sig), o3_stratum_name(st));
}

void o3_series_save(const struct o3_judge *j, const struct model *m, struct setting *g, enum o3_signal sig,
                    enum o3_stratum st) {
    struct series *x = &g->series[sig][st];
    if (!o3_judge_saves(j) || !o3_series_exists(x)) return;
    O3_AUTO_BUF text;
    o3_buf_init(&text, STATE_BYTES_MAX);
    char key[160];
    series_key(m, g, sig, st, key, sizeof key);
    (void)o3_buf_reserve(&text, STATE_BYTES_USUAL);
    int r = x->success ? o3_success_encode(x->success, &text) : o3_drift_encode(x->drift, &text);
    if (r < 0) return;
    o3_judge_put(j, key, o3_buf_str(&text), text.len);
    x->n_unsaved = 0;
}

static void take_one(const struct o3_judge *j, struct model *m, struct setting *g, enum o3_signal sig,
                     enum o3_stratum st) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, STATE_BYTES_MAX);
    char key[160];
    struct o3_err e;
    struct series *x = &g->series[sig][st];
    series_key(m, g, sig, st, key, sizeof key);
    if (!j->ops.take(j->ops.ctx, key, &text)) return;
    int r = sig == O3_SIGNAL_SUCCESS ? o3_success_decode(o3_buf_str(&text), text.len, &x->success, &e)
                                     : o3_drift_decode(o3_buf_str(&text), text.len, &x->drift, &e);
    if (r == 0) return;
    *x = (struct series){0};
    snprintf(m->lost, sizeof m->lost, "%.150s (%s)", e.text, o3_signal_name(sig));
}

static bool has_series(const struct setting *g, enum o3_signal sig, enum o3_stratum st) {
    bool is_digest = g->key.num_ctx < 0, is_rate = has_strata(sig);
    bool is_any = !strcmp(g->key.digest, O3_JUDGE_ANY_DIGEST);
    if (is_any) return sig == O3_SIGNAL_SUCCESS && st == O3_STRATUM_IDLE;
    return o3_judge_by_digest(sig) == is_digest && (st == O3_STRATUM_IDLE || is_rate);
}

void o3_series_load(const struct o3_judge *j, struct model *m, struct setting *g) {
    for (int sig = 0; j->ops.take && !g->is_loaded && sig < O3_SIGNAL_COUNT; sig++)
        for (int st = 0; st < O3_STRATUM_COUNT; st++)
            if (has_series(g, (enum o3_signal)sig, (enum o3_stratum)st))
                take_one(j, m, g, (enum o3_signal)sig, (enum o3_stratum)st);
    g->is_loaded = true;
}

void o3_series_unload(struct o3_judge *j, const struct model *m, struct setting *g) {
    j->is_keeping = true;
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        for (int st = 0; st < O3_STRATUM_COUNT; st++) {
            o3_series_save(j, m, g, (enum o3_signal)sig, (enum o3_stratum)st);
            o3_series_free(&g->series[sig][st]);
        }
    j->is_keeping = g->is_loaded = false;
}

void o3_series_delete(const struct o3_judge *j, const struct model *m, const struct setting *g) {
    char key[160];
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        for (int st = 0; st < O3_STRATUM_COUNT; st++) {
            if (!has_series(g, (enum o3_signal)sig, (enum o3_stratum)st)) continue;
            series_key(m, g, (enum o3_signal)sig, (enum o3_stratum)st, key, sizeof key);
            o3_judge_put(j, key, NULL, 0);
        }
}

void o3_series_give_up(const struct o3_judge *j, const struct model *m, struct setting *g, enum o3_signal sig,
                       enum o3_stratum st) {
    char key[160];
    if (!o3_series_exists(&g->series[sig][st])) return;
    o3_series_free(&g->series[sig][st]);
    series_key(m, g, sig, st, key, sizeof key);
    o3_judge_put(j, key, NULL, 0);
}
