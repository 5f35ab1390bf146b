/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/uninitialized.h"
#include "judge/parts.h"
#include "o3/text.h"

/* ---- life ---- */

int o3_judge_new(const struct o3_judge_params *p, const struct o3_judge_ops *ops, struct o3_judge **ret,
                 struct o3_err *e) {
    struct o3_judge *j = calloc(1, sizeof *j);
    if (!j) return o3_err_set(e, O3_E_NOMEM, "no memory for the judge");
    j->p = *p;
    if (j->p.max_models < 1) j->p.max_models = 1;
    j->models = calloc((size_t)j->p.max_models, sizeof *j->models);
    if (!j->models) {
        free(j);
        return o3_err_set(e, O3_E_NOMEM, "no memory to judge %d models", p->max_models);
    }
    j->ops = *ops;
    j->next_incident = 1;
    o3_judge_take_incidents(j);
    *ret = j;
    return 0;
}

void o3_judge_free_settings(struct model *m) {
    for (int i = 0; i < O3_JUDGE_EPOCHS; i++)
        o3_judge_free_setting(m->epochs[i]);
    for (int i = 0; i < O3_JUDGE_DIGESTS; i++)
        o3_judge_free_setting(m->digests[i]);
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        for (int kind = 0; kind < O3_RELEASE_REASONS; kind++)
            free(m->releases[sig][kind]);
}

static void free_model(struct model *m) {
    o3_judge_free_settings(m);
    free(m->trail);
    free(m);
}

void o3_judge_free(struct o3_judge *j) {
    if (!j) return;
    for (int i = 0; i < j->n_models; i++)
        free_model(j->models[i]);
    for (int i = 0; i < j->n_incidents; i++)
        free(j->incidents[i]);
    free(j->models);
    free(j);
}

void o3_judge_resume(struct o3_judge *j) {
    if (!j->n_incidents) o3_judge_take_incidents(j);
}

void o3_judge_configure(struct o3_judge *j, const struct o3_judge_params *p) {
    int max_models = j->p.max_models;
    j->p = *p;
    j->p.max_models = max_models;
}

/* ---- models ---- */

struct model *o3_judge_find(const struct o3_judge *j, const char *name) {
    for (int i = 0; i < j->n_models; i++)
        if (!strcmp(j->models[i]->name, name)) return j->models[i];
    return NULL;
}

enum saving { SAVE_CHANGED, /* since it was saved */ SAVE_ALL };

static void save_setting(const struct o3_judge *j, const struct model *m, struct setting *g, enum saving how) {
    for (int sig = 0; g && sig < O3_SIGNAL_COUNT; sig++)
        for (int st = 0; st < O3_STRATUM_COUNT; st++)
            if (how == SAVE_ALL || g->series[sig][st].n_unsaved)
                o3_series_save(j, m, g, (enum o3_signal)sig, (enum o3_stratum)st);
}

static void save_model(const struct o3_judge *j, struct model *m, enum saving how) {
    for (int i = 0; i < O3_JUDGE_EPOCHS; i++)
        save_setting(j, m, m->epochs[i], how);
    for (int i = 0; i < O3_JUDGE_DIGESTS; i++)
        save_setting(j, m, m->digests[i], how);
    if (how == SAVE_ALL || m->is_unsaved || m->has_news || m->n_trail_unsaved) o3_judge_save_model(j, m);
    if (how == SAVE_ALL || m->n_trail_unsaved) o3_judge_save_trail(j, m);
}

void o3_judge_save(struct o3_judge *j) {
    for (int i = 0; i < j->n_models; i++)
        save_model(j, j->models[i], SAVE_CHANGED);
    o3_judge_save_seen(j, NULL);
}

static bool is_setting_unsettled(const struct setting *g) {
    bool is_it = false;
    for (int sig = 0; g && sig < O3_SIGNAL_COUNT; sig++)
        for (int st = 0; st < O3_STRATUM_COUNT; st++) {
            const struct series *x = &g->series[sig][st];
            is_it |= o3_series_exists(x) && !o3_series_is_in(x, O3_DRIFT_STABLE);
        }
    return is_it;
}

/* By time: what is written an hour does not depend on the cadence. A clock that is set back makes it due. */
static void save_if_due(const struct o3_judge *j, struct model *m, int64_t mono_ns) {
    int64_t every_ns = O3_JUDGE_SAVE_NS;
    if (!is_setting_unsettled(m->epoch) && !is_setting_unsettled(m->digest)) every_ns *= O3_JUDGE_SAVE_STABLE;
    bool is_due = mono_ns < m->saved_ns || mono_ns - m->saved_ns >= every_ns;
    if (!is_due && !m->has_news && !m->is_unsaved) return;
    if (is_due) m->saved_ns = mono_ns;
    save_model(j, m, SAVE_CHANGED);
    if (is_due) o3_judge_save_seen(j, m);
}

/* All of a model at once: what is saved of it is of one sample. With it go others of an incident that it changed. */
static void save_told(const struct o3_judge *j, struct model *m, int64_t mono_ns) {
    if (j->is_recalling) return;
    save_if_due(j, m, mono_ns);
    for (int i = 0; i < j->n_models; i++)
        if (j->models[i]->has_news) save_model(j, j->models[i], SAVE_CHANGED);
}

void o3_judge_forget(struct o3_judge *j, const char *name) {
    for (int i = 0; i < j->n_models; i++) {
        struct model *m = j->models[i];
        if (strcmp(m->name, name) != 0) continue;
        j->is_keeping = true;
        save_model(j, m, SAVE_ALL);
        j->is_keeping = false;
        free_model(m);
        j->models[i] = j->models[--j->n_models];
        return;
    }
}

static void make_room(struct o3_judge *j) {
    const struct model *oldest = j->models[0];
    for (int i = 1; i < j->n_models; i++)
        if (j->models[i]->used < oldest->used) oldest = j->models[i];
    o3_judge_forget(j, oldest->name);
}

struct model *o3_judge_model(struct o3_judge *j, const char *name) {
    struct model *m = o3_judge_find(j, name);
    if (m) return m;
    if (j->n_models == j->p.max_models) make_room(j);
    m = calloc(1, sizeof *m);
    if (!m) return NULL;
    char hash[65];
    o3_str_copy(m->name, sizeof m->name, name);
    o3_sha256_hex(m->name, strlen(m->name), hash);
    o3_str_copy_n(m->hash, sizeof m->hash, hash, sizeof m->hash - 1);
    m->next_id = 1;
    j->models[j->n_models++] = m;
    o3_judge_take_model(j, m);
    o3_judge_take_trail(j, m);
    return m;
}

void o3_judge_expect(struct o3_judge *j, const char *name) {
    if (!o3_judge_find(j, name) && j->n_models == j->p.max_models) return;
    (void)o3_judge_model(j, name);
}

/* ---- samples ---- */

/* Where a change is in sight; else the first that has a baseline. NULL: none. */
static const struct series *acknowledged_series(const struct setting *g, enum o3_signal sig, bool *ret_has_changed) {
    const struct series *first = NULL;
    *ret_has_changed = false;
    for (int st = 0; g && st < O3_STRATUM_COUNT; st++) {
        const struct series *x = &g->series[sig][st];
        *ret_has_changed = o3_series_is_in(x, O3_DRIFT_SUSPECT) || o3_series_is_in(x, O3_DRIFT_CONFIRMED);
        if (*ret_has_changed) return x;
        if (!first && o3_series_is_in(x, O3_DRIFT_STABLE)) first = x;
    }
    return first;
}

static void acknowledge_signal(struct o3_judge *j, struct model *m, enum o3_signal sig) {
    struct setting *g = o3_judge_setting(m, sig);
    bool has_changed;
    const struct series *told = acknowledged_series(g, sig, &has_changed);
    double level, told_level = (double)NAN;
    if (!told) return;
    for (int st = 0; st < O3_STRATUM_COUNT; st++)
        if (o3_series_acknowledge(&g->series[sig][st], &level) && &g->series[sig][st] == told) told_level = level;
    o3_judge_end_members(j, m, g->id, (int)sig, O3_MEMBER_ACKNOWLEDGED);
    if (j->ops.acknowledged && !j->is_muted)
        j->ops.acknowledged(j->ops.ctx, m->name, sig, o3_shown_value(sig, told_level));
}

double o3_judge_acceptable(const struct o3_judge *j, const char *model, enum o3_signal sig) {
    const struct model *m = o3_judge_find(j, model);
    bool has_changed = false;
    const struct series *x = m ? acknowledged_series(o3_judge_setting(m, sig), sig, &has_changed) : NULL;
    if (m && x && !has_changed) has_changed = o3_judge_has_unproven(j, m, sig);
    return has_changed ? o3_shown_value(sig, o3_series_acceptable(x)) : (double)NAN;
}

static void acknowledge(struct o3_judge *j, struct model *m, uint32_t bits) {
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        if (bits & (UINT32_C(1) << sig)) acknowledge_signal(j, m, (enum o3_signal)sig);
}

/* Before the incidents are, which then are closed by what is known of the series. */
static void save_acknowledged(const struct o3_judge *j, const struct model *m, uint32_t bits) {
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        struct setting *g = o3_judge_setting(m, (enum o3_signal)sig);
        for (int st = 0; (bits & (UINT32_C(1) << sig)) && g && st < O3_STRATUM_COUNT; st++)
            o3_series_save(j, m, g, (enum o3_signal)sig, (enum o3_stratum)st);
    }
}

static void feed_series(const struct o3_judge *j, const struct model *m, struct setting *g, const struct reading *r,
                        const struct o3_sample *s, struct news *news) {
    struct o3_verdict *v = &news->verdict[news->n];
    *v = (struct o3_verdict){.signal = r->signal, .stratum = r->stratum, .budget_ms = j->p.budget_ms};
    if (!o3_series_add(j, &g->series[r->signal][r->stratum], r, s, &v->report)) return;
    o3_shown_report(r->signal, &v->report);
    o3_str_copy(v->model, sizeof v->model, m->name);
    news->setting[news->n++] = g->id;
}

/* ---- throttling: one speed or two ---- */

static bool has_baseline(const struct series *x) {
    return o3_series_exists(x) && !o3_series_is_in(x, O3_DRIFT_LEARNING);
}

/* More of the probes that are kept than not. */
static bool is_mostly_throttled(const struct model *m) {
    size_t n_probes = 0, n_throttled = 0;
    for (size_t i = 0; i < m->n_trail; i++) {
        n_probes += m->trail[i].kind != O3_PROBE_LOOK;
        n_throttled += (m->trail[i].flags & O3_SAMPLE_THROTTLED) != 0;
    }
    return 2 * n_throttled > n_probes;
}

/* The signal that decides for all of them: an embedding model has the time of its whole answer alone. */
static enum o3_signal deciding_signal(const struct setting *g) {
    return o3_series_exists(&g->series[O3_SIGNAL_DECODE_RATE][O3_STRATUM_IDLE]) ? O3_SIGNAL_DECODE_RATE
                                                                                : O3_SIGNAL_TTFT;
}

/* Decided when the baseline stands; until then by what was seen so far. */
static bool has_two_speeds(const struct model *m, const struct setting *g) {
    const struct series *x = g->series[deciding_signal(g)];
    return has_baseline(&x[O3_STRATUM_IDLE]) ? o3_series_exists(&x[O3_STRATUM_THROTTLED]) : !is_mostly_throttled(m);
}

/* The baseline of sig stands: was the machine throttled often enough to call that usual? */
static void settle_speeds(const struct o3_judge *j, const struct model *m, struct setting *g, enum o3_signal sig) {
    struct o3_drift_view v = {.n_samples = 0};
    const struct series *x = &g->series[sig][O3_STRATUM_THROTTLED];
    if (sig != deciding_signal(g)) return;
    if (o3_series_exists(x)) o3_series_glance(x, &v);
    for (int i = 0; i < O3_SIGNAL_COUNT && 3 * v.n_samples < j->p.n0; i++)
        o3_series_give_up(j, m, g, (enum o3_signal)i, O3_STRATUM_THROTTLED);
}

/* Of the present setting, for the comparison with the one before; nothing is told of it. */
static void learn_success(const struct o3_judge *j, const struct model *m, const struct reading *r,
                          const struct o3_sample *s) {
    struct setting *g = o3_judge_compared_setting(m, r->signal);
    struct o3_drift_report unused;
    if (g) (void)o3_series_add(j, &g->series[r->signal][O3_STRATUM_IDLE], r, s, &unused);
}

static void feed(struct o3_judge *j, struct model *m, const struct o3_sample *s, struct news *news) {
    struct reading r[O3_SIGNAL_COUNT];
    size_t n = o3_judge_readings(s, r);
    bool is_usual = !(s->flags & O3_SAMPLE_THROTTLED) || !m->epoch || has_two_speeds(m, m->epoch);
    for (size_t i = 0; i < n; i++) {
        struct setting *g = o3_judge_setting(m, r[i].signal);
        if (!g || (r[i].signal == O3_SIGNAL_CONTEXT && o3_judge_is_known_context(j, m, r[i].value))) continue;
        bool is_throttled = r[i].stratum == O3_STRATUM_THROTTLED;
        if (is_throttled && !is_usual) r[i].stratum = o3_judge_stratum(s->flags & ~(uint32_t)O3_SAMPLE_THROTTLED);
        size_t n_before = news->n;
        feed_series(j, m, g, &r[i], s, news);
        if (r[i].signal == O3_SIGNAL_SUCCESS) learn_success(j, m, &r[i], s);
        bool is_baseline = news->n > n_before && news->verdict[n_before].report.event == O3_DRIFT_EV_BASELINE;
        if (is_baseline && r[i].stratum == O3_STRATUM_IDLE) settle_speeds(j, m, g, r[i].signal);
    }
}

static void note_seen(struct model *m, const struct o3_sample *s) {
    m->has_seen = true;
    m->seen_wall_ms = s->wall_ms;
    m->seen_mono_ns = s->mono_ns;
}

void o3_judge_pass(struct o3_judge *j, const struct o3_sample *s) {
    struct model *m = o3_judge_find(j, s->model);
    if (!m) return;
    note_seen(m, s);
    m->n_trail_unsaved++; /* the state is another one */
    save_if_due(j, m, s->mono_ns);
}

static void tell_lost(const struct o3_judge *j, struct model *m) {
    if (m->lost[0] && j->ops.lost) j->ops.lost(j->ops.ctx, m->name, m->lost);
    m->lost[0] = '\0';
}

void o3_judge_add(struct o3_judge *j, const struct o3_sample *s) {
    struct model *m = o3_judge_model(j, s->model);
    O3_UNINITIALIZED struct news news; /* the first n of it count */
    if (!m) return;
    news.n = 0;
    m->used = ++j->n_samples;
    note_seen(m, s);
    const char *reason = o3_judge_enter(j, m, s);
    tell_lost(j, m);
    if (reason && j->ops.epoch && !j->is_muted) j->ops.epoch(j->ops.ctx, m->name, reason);
    o3_trail_add(m, s);
    o3_judge_note_sample(j, m, s->wall_ms);
    acknowledge(j, m, s->acknowledged);
    feed(j, m, s, &news);
    m->has_news |= news.n > 0 || s->acknowledged;
    for (size_t i = 0; j->ops.verdict && !j->is_muted && i < news.n; i++)
        j->ops.verdict(j->ops.ctx, &news.verdict[i]);
    o3_judge_compare(j, m);
    o3_judge_follow_settings(j, m, s->wall_ms);
    o3_judge_note_verdicts(j, &news, s);
    o3_judge_rethink_incidents(j, m);
    save_acknowledged(j, m, s->acknowledged);
    o3_judge_tell_incidents(j, s->wall_ms);
    save_told(j, m, s->mono_ns);
}

/* ---- views ---- */

static const struct series *series_of(const struct o3_judge *j, const char *model, enum o3_signal sig,
                                      enum o3_stratum st) {
    const struct model *m = o3_judge_find(j, model);
    const struct setting *g = m ? o3_judge_setting(m, sig) : NULL;
    const struct series *x = g ? &g->series[sig][st] : NULL;
    return x && o3_series_exists(x) ? x : NULL;
}

/* Of the level now: the changed one while a change stands. */
static double efficiency(const struct model *m, const struct o3_drift_view *v) {
    const struct o3_sample *s = m && m->n_trail ? &m->trail[m->n_trail - 1] : NULL;
    if (!s || s->around.weight_bytes <= 0) return (double)NAN;
    return o3_roofline_efficiency(v->recent_median, (double)s->around.weight_bytes, s->around.bandwidth_bytes_per_s);
}

void o3_judge_view(const struct o3_judge *j, const char *model, enum o3_signal sig, enum o3_stratum st,
                   struct o3_series_view *ret) {
    const struct series *x = series_of(j, model, sig, st);
    *ret = (struct o3_series_view){.efficiency = (double)NAN};
    if (!x) return;
    ret->exists = true;
    o3_series_view(x, &ret->drift);
    o3_shown_view(sig, &ret->drift);
    if (sig == O3_SIGNAL_DECODE_RATE) ret->efficiency = efficiency(o3_judge_find(j, model), &ret->drift);
}

void o3_judge_glance(const struct o3_judge *j, const char *model, enum o3_signal sig, enum o3_stratum st,
                     struct o3_series_view *ret) {
    const struct series *x = series_of(j, model, sig, st);
    *ret = (struct o3_series_view){.exists = x != NULL, .efficiency = (double)NAN};
    if (!x) return;
    o3_series_glance(x, &ret->drift);
    o3_shown_view(sig, &ret->drift);
}

uint32_t o3_judge_signals_in_state(const struct o3_judge *j, const char *model, enum o3_stratum st,
                                   enum o3_drift_state state) {
    const struct model *m = o3_judge_find(j, model);
    uint32_t bits = 0;
    for (int sig = 0; m && sig < O3_SIGNAL_COUNT; sig++) {
        const struct setting *g = o3_judge_setting(m, (enum o3_signal)sig);
        if (g && o3_series_is_in(&g->series[sig][st], state)) bits |= UINT32_C(1) << sig;
    }
    return bits;
}

static int n_in_state(const struct o3_judge *j, const char *model, enum o3_drift_state state) {
    const struct model *m = o3_judge_find(j, model);
    int n = 0;
    for (int sig = 0; m && sig < O3_SIGNAL_COUNT; sig++) {
        const struct setting *g = o3_judge_setting(m, (enum o3_signal)sig);
        for (int st = 0; g && st < O3_STRATUM_COUNT; st++)
            n += o3_series_is_in(&g->series[sig][st], state);
    }
    return n;
}

int o3_judge_n_confirmed(const struct o3_judge *j, const char *model) {
    return n_in_state(j, model, O3_DRIFT_CONFIRMED);
}

bool o3_judge_is_learning(const struct o3_judge *j, const char *model, enum o3_signal sig) {
    const struct series *x = series_of(j, model, sig, O3_STRATUM_IDLE);
    return !x || o3_series_is_in(x, O3_DRIFT_LEARNING);
}

size_t o3_judge_recent(const struct o3_judge *j, const char *model, enum o3_signal sig, enum o3_stratum st, double *out,
                       size_t max) {
    const struct series *x = series_of(j, model, sig, st);
    size_t n = x && x->drift ? o3_drift_recent(x->drift, out, max) : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = o3_shown_value(sig, out[i]);
    return n;
}

size_t o3_judge_incidents(const struct o3_judge *j, const struct o3_incident **out, size_t max) {
    size_t n = 0;
    for (int i = j->n_incidents - 1; i >= 0 && n < max; i--)
        out[n++] = &j->incidents[i]->i;
    return n;
}
