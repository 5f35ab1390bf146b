/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/history.h"
#include "o3/events.h"
#include "o3/reading.h"
#include "o3/stat.h"
#include "o3/text.h"

#define PARTS_MIN 8

/* ---- samples ---- */

static struct history_model *new_model(const char *name) {
    struct history_model *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    o3_str_copy(m->name, sizeof m->name, name);
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        for (int i = 0; i < HISTORY_WIDTH_MAX; i++)
            m->signals[sig].level[i] = (double)NAN;
    return m;
}

static struct history_model *model_of(struct history *h, const char *name) {
    int at = 0;
    while (at < h->n_models && strcmp(h->models[at]->name, name) < 0)
        at++;
    if (at < h->n_models && !strcmp(h->models[at]->name, name)) return h->models[at];
    if (h->n_models == HISTORY_MODELS_MAX) {
        h->n_models_left_out++;
        return NULL;
    }
    struct history_model *m = new_model(name);
    h->is_out_of_memory |= !m;
    if (!m) return NULL;
    memmove(h->models + at + 1, h->models + at, (size_t)(h->n_models - at) * sizeof(struct history_model *));
    h->n_models++;
    return h->models[at] = m;
}

static double mean(const double *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum / (double)n;
}

static void close_part(struct history_series *s, enum o3_signal sig) {
    if (!s->n_part) return;
    s->level[s->part_index] = sig == O3_SIGNAL_SUCCESS ? mean(s->part, s->n_part) : o3_median(s->part, s->n_part);
    s->n_part = 0;
}

static bool push(struct history_series *s, double value) {
    if (s->n_part == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        double *part = reallocarray(s->part, cap, sizeof *part);
        if (!part) return false;
        s->part = part;
        s->cap = cap;
    }
    s->part[s->n_part++] = value;
    s->newest[s->n++ % HISTORY_NOW] = value;
    return true;
}

/* A throttled probe has the speed that users get; whether that is usual there, the judge knows. */
static bool is_shown(const struct history_options *o, const struct o3_reading *r) {
    return r->stratum != O3_STRATUM_BUSY && (o->signal < 0 || r->signal == (enum o3_signal)o->signal);
}

static void add_sample(void *ctx, const struct o3_sample *v) {
    struct history *h = ctx;
    const struct history_options *o = h->options;
    struct o3_reading r[O3_SIGNAL_COUNT];
    size_t n = o3_sample_readings(v, r);
    struct history_model *m = n ? model_of(h, v->model) : NULL;
    double span_ms = (double)(o->now_ms - h->since_ms);
    int part = (int)((double)(v->wall_ms - h->since_ms) / span_ms * h->width);
    if (part >= h->width) part = h->width - 1;
    for (size_t i = 0; m && i < n; i++) {
        struct history_series *s = &m->signals[r[i].signal];
        if (!is_shown(o, &r[i])) continue;
        if (part != s->part_index) close_part(s, r[i].signal);
        s->part_index = part;
        h->is_out_of_memory |= !push(s, r[i].value);
    }
}

/* What there is, before it is divided into parts. */
static void look_at_sample(void *ctx, const struct o3_sample *v) {
    struct history *h = ctx;
    const struct history_options *o = h->options;
    struct o3_reading r[O3_SIGNAL_COUNT];
    size_t n = o3_sample_readings(v, r);
    for (size_t i = 0; i < n; i++) {
        struct history_model *m = is_shown(o, &r[i]) ? model_of(h, v->model) : NULL;
        if (!m) continue;
        m->signals[r[i].signal].n_seen++;
        if (!o->has_since && v->wall_ms < h->since_ms) h->since_ms = v->wall_ms;
    }
}

/* No more parts than the signal of every probe has samples: a curve of holes shows nothing. */
static int fitting_width(const struct history *h) {
    const struct history_options *o = h->options;
    int sig = o->signal >= 0 ? o->signal : O3_SIGNAL_TTFT;
    int64_t n = 0;
    for (int i = 0; i < h->n_models; i++)
        if (h->models[i]->signals[sig].n_seen > n) n = h->models[i]->signals[sig].n_seen;
    if (o->has_width || n == 0 || n > o->width) return o->width;
    return n < PARTS_MIN ? PARTS_MIN : (int)n;
}

static int read_samples(struct history *h, struct o3_store *store, struct o3_err *e) {
    const struct history_options *o = h->options;
    h->since_ms = o->has_since ? o->since_ms : o->now_ms;
    int r = o3_store_each_sample(store, o->model, o->since_ms, o->now_ms, look_at_sample, h, e);
    if (r < 0) return r;
    if (h->since_ms == o->now_ms) h->since_ms = o->since_ms; /* no sample */
    h->width = fitting_width(h);
    r = o3_store_each_sample(store, o->model, h->since_ms, o->now_ms, add_sample, h, e);
    for (int i = 0; i < h->n_models; i++)
        for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
            close_part(&h->models[i]->signals[sig], (enum o3_signal)sig);
    return r;
}

/* ---- what the sidecar makes of it ---- */

static bool take_state(void *ctx, const char *key, struct o3_buf *ret) {
    return o3_store_get(ctx, key, ret, NULL) == 0;
}

/* States are saved now and then: the samples are newer. A share of ones and zeros needs more of them. */
static void read_view(const struct o3_judge *j, const char *model, enum o3_signal sig, struct history_series *s) {
    o3_judge_view(j, model, sig, O3_STRATUM_IDLE, &s->view);
    double recent[HISTORY_NOW];
    size_t n = s->n < HISTORY_NOW ? (size_t)s->n : HISTORY_NOW;
    memcpy(recent, s->newest, n * sizeof *recent);
    if (!n) n = o3_judge_recent(j, model, sig, O3_STRATUM_IDLE, recent, HISTORY_NOW);
    s->now = sig == O3_SIGNAL_SUCCESS ? s->view.drift.recent_median : n ? o3_median(recent, n) : (double)NAN;
}

static int read_views(struct history *h, struct o3_store *store, struct o3_err *e) {
    struct o3_judge_ops ops = {.ctx = store, .take = take_state};
    struct o3_judge_params p = h->options->judge;
    p.max_models = HISTORY_MODELS_MAX;
    int r = o3_judge_new(&p, &ops, &h->judge, e);
    struct o3_judge *j = h->judge;
    if (r < 0) return r;
    h->n_incidents = o3_judge_incidents(j, h->incidents, O3_INCIDENTS_MAX);
    for (int i = 0; i < h->n_models; i++) {
        struct history_model *m = h->models[i];
        o3_judge_expect(j, m->name);
        for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
            read_view(j, m->name, (enum o3_signal)sig, &m->signals[sig]);
    }
    return 0;
}

/* ---- events ---- */

static bool is_told(const char *name) {
    static const enum o3_event_id IDS[] = {O3_EV_INCIDENT_OPENED,  O3_EV_INCIDENT_CHANGED,   O3_EV_INCIDENT_CLOSED,
                                           O3_EV_RELEASE_COMPARED, O3_EV_DRIFT_ACKNOWLEDGED, O3_EV_EPOCH_CHANGED,
                                           O3_EV_OLLAMA_DOWN,      O3_EV_PRESET_WRITTEN};
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++)
        if (!strcmp(o3_event_row(IDS[i])->name, name)) return true;
    return false;
}

static void add_event(void *ctx, const struct o3_store_event *ev) {
    struct history *h = ctx;
    const struct history_options *o = h->options;
    if (ev->wall_ms > o->now_ms || !is_told(ev->name)) return;
    if (o->model[0] && !history_concerns(h, ev, o->model)) return;
    h->has_own_events |= *ev->model || !o->model[0];
    if (h->n_events == h->events_cap) {
        size_t cap = h->events_cap ? 2 * h->events_cap : 64;
        struct history_event *v = reallocarray(h->events, cap, sizeof *v);
        h->is_out_of_memory |= !v;
        if (!v) return;
        h->events = v;
        h->events_cap = cap;
    }
    char *json = strdup(ev->json);
    h->is_out_of_memory |= !json;
    if (json) h->events[h->n_events++] = (struct history_event){.wall_ms = ev->wall_ms, .json = json};
}

static int read_events(struct history *h, struct o3_store *store, struct o3_err *e) {
    int r = o3_store_each_event(store, h->options->since_ms, HISTORY_EVENTS_MAX, add_event, h, e);
    for (size_t i = 0; i < h->n_events / 2; i++) {
        struct history_event t = h->events[i];
        h->events[i] = h->events[h->n_events - 1 - i];
        h->events[h->n_events - 1 - i] = t;
    }
    return r;
}

int history_read(struct history *h, struct o3_store *store, struct o3_err *e) {
    int r = read_samples(h, store, e);
    if (r == 0) r = read_views(h, store, e); /* the incidents, too: they say which events concern a model */
    if (r == 0) r = read_events(h, store, e);
    if (r == 0 && h->is_out_of_memory) r = o3_err_set(e, O3_E_NOMEM, "no memory for the history");
    return r;
}

void history_done(struct history *h) {
    for (int i = 0; i < h->n_models; i++) {
        for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
            free(h->models[i]->signals[sig].part);
        free(h->models[i]);
    }
    for (size_t i = 0; i < h->n_events; i++)
        free(h->events[i].json);
    free(h->events);
    o3_judge_free(h->judge);
}
