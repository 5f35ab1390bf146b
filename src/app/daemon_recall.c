/* SPDX-License-Identifier: Apache-2.0 */
/* What earlier processes knew: the saved states, and the samples stored since they were saved. At the start, before
 * the loop runs, so that no sample comes between. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "app/daemon_internal.h"
#include "base/json.h"

/* Bounds of the time until the sidecar is ready. */
#define SAMPLES_MAX 100000
#define WITHIN_NS (10LL * O3_NS_PER_S)
#define CLOCK_EVERY 256
#define EVENTS_MAX 10000
#define MODELS_MAX 256
#define TOLD_MAX 64

/* ---- states ---- */

static void restore_one(void *ctx, const char *key, const char *value, size_t n) {
    struct o3_daemon *d = ctx;
    d->n_restored++;
    o3_sidecar_restore(d->sidecar, key, value, n, o3_now_read());
}

static void restore_preset(void *ctx, const char *key, const char *value, size_t n) {
    struct o3_daemon *d = ctx;
    restore_one(d, key, value, n);
    const char *model = strchr(key, '/') + 1;
    bool has_file = false;
    for (int i = 0; i < d->n_stems; i++)
        has_file |= !strcmp(d->stems[i].model, model);
    if (!has_file) d->is_preset_missing = true;
}

/* ---- what was told of incidents ---- */

struct told {
    struct o3_judge_told t;
    char model[O3_MODEL_NAME_SIZE], text[640];
};
struct told_list {
    struct told v[TOLD_MAX];
    size_t n;
};

static bool take_time(const json_t *o, const char *key, int64_t *ret) {
    char text[48];
    o3_json_copy(o, key, text, sizeof text);
    return o3_rfc3339_parse(text, ret);
}

static uint32_t signals_of(const char *names) {
    uint32_t bits = 0;
    char name[32];
    for (const char *p = names; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        enum o3_signal sig;
        o3_str_copy_n(name, sizeof name, p, n);
        if (o3_signal_parse(name, &sig)) bits |= UINT32_C(1) << sig;
        p += n;
    }
    return bits;
}

static bool read_told(const struct o3_store_event *ev, struct told *ret) {
    O3_AUTO_JSON *o = NULL;
    struct o3_err e;
    char signals[160];
    *ret = (struct told){.t = {.opened_wall_ms = ev->wall_ms}};
    if (o3_json_load_object(ev->json, strlen(ev->json), &o, &e) < 0) return false;
    o3_json_copy(o, "model", ret->model, sizeof ret->model);
    o3_json_copy(o, "text", ret->text, sizeof ret->text);
    o3_json_copy(o, "signals", signals, sizeof signals);
    ret->t.id = o3_json_count(o, "id");
    ret->t.signals = signals_of(signals);
    return ret->t.id > 0 && take_time(o, "since", &ret->t.since_ms) && take_time(o, "since_lo", &ret->t.since_lo_ms) &&
           take_time(o, "since_hi", &ret->t.since_hi_ms);
}

/* Newest first: the first event of an incident that comes says how it is. */
static void add_told(void *ctx, const struct o3_store_event *ev) {
    struct told_list *l = ctx;
    struct told x;
    bool is_opened = !strcmp(ev->name, o3_event_row(O3_EV_INCIDENT_OPENED)->name);
    bool is_closed = !strcmp(ev->name, o3_event_row(O3_EV_INCIDENT_CLOSED)->name);
    bool is_incident = is_opened || is_closed || !strcmp(ev->name, o3_event_row(O3_EV_INCIDENT_CHANGED)->name);
    if (!is_incident || !read_told(ev, &x)) return;
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].t.id != x.t.id) continue;
        l->v[i].t.opened_wall_ms = ev->wall_ms;
        return;
    }
    x.t.is_open = !is_closed;
    if (l->n < TOLD_MAX) l->v[l->n++] = x;
}

static int compare_ids(const void *a, const void *b) {
    const struct told *x = a, *y = b;
    return (x->t.id > y->t.id) - (x->t.id < y->t.id);
}

static int recall_told(struct o3_daemon *d, struct o3_err *e) {
    struct told_list *l = calloc(1, sizeof *l);
    if (!l) return o3_err_set(e, O3_E_NOMEM, "no memory for what was told");
    int r = o3_store_each_event(d->store, 0, EVENTS_MAX, add_told, l, e);
    qsort(l->v, l->n, sizeof *l->v, compare_ids);
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        l->v[i].t.model = l->v[i].model;
        l->v[i].t.text = l->v[i].text;
        o3_sidecar_told_before(d->sidecar, &l->v[i].t);
    }
    free(l);
    return r;
}

/* ---- samples ---- */

struct recall {
    struct o3_daemon *daemon;
    struct recalled {
        char name[O3_MODEL_NAME_SIZE], lost[200];
        int64_t place; /* its state knows the samples up to here */
        int64_t n;     /* that were judged again */
    } v[MODELS_MAX];
    size_t n;
    int64_t n_samples, began_ns;
    bool is_late;
    struct o3_err err;
    int result;
};

static bool add_model(void *ctx, const char *name) {
    struct recall *c = ctx;
    struct o3_judge_recall r;
    if (!o3_sidecar_recall(c->daemon->sidecar, name, &r)) return false;
    struct recalled *x = &c->v[c->n++];
    *x = (struct recalled){.place = 0};
    o3_str_copy(x->name, sizeof x->name, name);
    o3_str_copy(x->lost, sizeof x->lost, r.lost);
    if (r.has_state) c->result = o3_store_place(c->daemon->store, name, r.wall_ms, r.mono_ns, &x->place, &c->err);
    return c->result == 0 && c->n < MODELS_MAX;
}

static struct recalled *find(struct recall *c, const char *name) {
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->v[i].name, name)) return &c->v[i];
    return NULL;
}

static bool add_sample(void *ctx, int64_t place, const struct o3_sample *v) {
    struct recall *c = ctx;
    struct recalled *x = find(c, v->model);
    if (!x || place <= x->place) return true;
    if (c->n_samples % CLOCK_EVERY == 0) c->is_late = o3_now_read().mono_ns - c->began_ns > WITHIN_NS;
    if (c->is_late) return false;
    o3_sidecar_relive(c->daemon->sidecar, v, o3_now_read());
    x->n++;
    c->n_samples++;
    return true;
}

static void tell(struct recall *c) {
    struct o3_daemon *d = c->daemon;
    int64_t n_models = 0, ms = (o3_now_read().mono_ns - c->began_ns) / O3_NS_PER_MS;
    for (size_t i = 0; i < c->n; i++) {
        n_models += c->v[i].n > 0;
        if (c->v[i].lost[0])
            O3_DAEMON_EVENT(d, O3_EV_STATE_DROPPED, O3_F_STR("model", c->v[i].name), O3_F_STR("reason", c->v[i].lost),
                            O3_F_INT("samples", c->v[i].n));
    }
    if (c->n_samples)
        O3_DAEMON_EVENT(d, O3_EV_SAMPLES_JUDGED_AGAIN, O3_F_INT("samples", c->n_samples), O3_F_INT("models", n_models),
                        O3_F_DBL("seconds", (double)ms / 1000.0));
    if (c->is_late) O3_DAEMON_EVENT(d, O3_EV_LIMIT_REACHED, O3_F_STR("what", "time to judge stored samples again"));
}

static int64_t first_place(const struct recall *c) {
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].place < first) first = c->v[i].place;
    return first;
}

static int recall_samples(struct recall *c, struct o3_err *e) {
    struct o3_daemon *d = c->daemon;
    int r = recall_told(d, e);
    if (r == 0) r = o3_store_each_model(d->store, add_model, c, e);
    if (r == 0 && c->result < 0) {
        *e = c->err;
        r = c->result;
    }
    if (r == 0 && c->n) r = o3_store_each_after(d->store, first_place(c), SAMPLES_MAX, add_sample, c, e);
    o3_sidecar_recalled(d->sidecar, o3_now_read());
    tell(c);
    return r;
}

/* ---- the whole ---- */

/* What is small and matters most comes first: the sidecar keeps a bounded amount. */
static int restore_states(struct o3_daemon *d, struct o3_err *e) {
    static const char *const PREFIXES[] = {"told/", "acknowledged/", "wanted/", "strike/", "sizes/", "judge/"};
    int r = o3_store_each(d->store, "preset/", restore_preset, d, e);
    for (size_t i = 0; r == 0 && i < sizeof PREFIXES / sizeof *PREFIXES; i++)
        r = o3_store_each(d->store, PREFIXES[i], restore_one, d, e);
    return r;
}

void o3_daemon_restore(struct o3_daemon *d) {
    struct o3_err e = {0};
    struct recall *c = d->store ? calloc(1, sizeof *c) : NULL;
    if (!d->store) return;
    o3_daemon_complete_logs(d);
    int r = c ? restore_states(d, &e) : o3_err_set(&e, O3_E_NOMEM, "no memory for what is saved");
    if (r == 0) {
        c->daemon = d;
        c->began_ns = o3_now_read().mono_ns;
        r = recall_samples(c, &e);
    }
    free(c);
    if (r < 0) o3_daemon_store_broken(d, &e);
    if (d->is_preset_missing) o3_sidecar_publish_again(d->sidecar, "the preset file was missing", o3_now_read());
}
