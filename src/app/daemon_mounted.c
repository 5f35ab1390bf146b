/* SPDX-License-Identifier: Apache-2.0 */
/* The mounted copy: what programs that read the published presets see, which for a ConfigMap lags by a minute or two.
 * It is read when its folder changes (the swap of ..data), and every minute for file systems that do not tell. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "app/publisher.h"
#include "io/file.h"
#include "io/layout.h"

#define CHECK_EVERY_NS (60 * O3_NS_PER_S)
#define CHECK_UNWATCHED_NS (5 * O3_NS_PER_S) /* while there is no folder to watch */
#define SETTLE_NS (200 * O3_NS_PER_MS)
#define LATE_NS (3 * CHECK_EVERY_NS) /* no kubelet needs as long */

struct decided {
    struct o3_preset_doc doc;
    char stem[160];
    bool is_seen[O3_PRESET_COUNT];
};

struct o3_mounted {
    char dir[1100];
    int64_t behind_since_ns; /* 0: all is seen, or nothing is decided */
    bool is_behind_told;
    struct o3_file_watch *watch;
    struct decided *v;
    size_t n;
    uint64_t n_offers;
    bool is_reading, is_stopped, is_told, is_compared; /* compared: is_seen of `v` is known */
    int64_t at_ns;
};

struct mounted_job {
    struct o3_daemon *daemon;
    char dir[1100];
    struct decided *v;
    size_t n;
    uint64_t n_offers;
};

/* ---- the comparison ---- */

/* What a client acts on; how fast it was is not among it. */
static bool is_same(const struct o3_preset *a, const struct o3_preset *b) {
    return a->is_set == b->is_set && a->num_ctx == b->num_ctx && a->batch == b->batch &&
           a->num_predict == b->num_predict && a->f16_kv == b->f16_kv;
}

static void look_at(struct decided *x, const struct o3_keys *keys) {
    char name[O3_KEY_NAME_MAX + 1];
    struct o3_preset_doc seen;
    snprintf(name, sizeof name, "%s.yaml", x->stem);
    const struct o3_key *k = o3_keys_find(keys, name);
    if (!k || o3_preset_doc_decode_yaml(k->value, k->n, &seen, NULL) < 0 || strcmp(seen.model, x->doc.model) != 0)
        return;
    for (int i = 0; i < O3_PRESET_COUNT; i++)
        x->is_seen[i] = is_same(&seen.presets[i], &x->doc.presets[i]);
}

static void run_mounted(void *job) {
    struct mounted_job *j = job;
    struct o3_keys keys;
    struct o3_err e;
    if (o3_layout_read(j->dir, &keys, &e) < 0) return; /* nobody sees anything there */
    for (size_t i = 0; i < j->n; i++)
        look_at(&j->v[i], &keys);
    o3_keys_free(&keys);
}

/* ---- what is told ---- */

static void tell_behind(struct o3_daemon *d, const char *model, int preset, int64_t now_ns) {
    struct o3_mounted *m = d->mounted;
    if (!m->behind_since_ns) m->behind_since_ns = now_ns;
    int64_t behind_ns = now_ns - m->behind_since_ns;
    if (m->is_behind_told || behind_ns < LATE_NS) return;
    m->is_behind_told = true;
    O3_DAEMON_EVENT(d, O3_EV_PRESET_NOT_IN_EFFECT, O3_F_STR("folder", m->dir), O3_F_STR("model", model),
                    O3_F_STR("preset", o3_preset_name((enum o3_preset_name)preset)),
                    O3_F_INT("seconds", behind_ns / O3_NS_PER_S));
}

/* A copy that does not follow is told once, by the first preset that is missing in it. */
static void watch_lag(struct o3_daemon *d, const struct mounted_job *j, int64_t now_ns) {
    for (size_t i = 0; i < j->n; i++)
        for (int p = 0; p < O3_PRESET_COUNT; p++)
            if (j->v[i].doc.presets[p].is_set && !j->v[i].is_seen[p]) {
                tell_behind(d, j->v[i].doc.model, p, now_ns);
                return;
            }
    d->mounted->behind_since_ns = 0;
    d->mounted->is_behind_told = false;
}

static void show(struct o3_daemon *d, const struct mounted_job *j) {
    struct o3_mounted *m = d->mounted;
    bool is_all_seen = j->n > 0;
    memcpy(m->v, j->v, j->n * sizeof *j->v);
    m->is_compared = true;
    o3_metric_drop_matching(d->metrics, O3_M_PRESET_IN_EFFECT, NULL, 0);
    for (size_t i = 0; i < j->n; i++)
        for (int p = 0; p < O3_PRESET_COUNT; p++) {
            if (!j->v[i].doc.presets[p].is_set) continue;
            is_all_seen &= j->v[i].is_seen[p];
            o3_metric_set(d->metrics, O3_M_PRESET_IN_EFFECT,
                          O3_L(j->v[i].doc.model, o3_preset_name((enum o3_preset_name)p)), j->v[i].is_seen[p]);
        }
    if (is_all_seen && !m->is_told)
        O3_DAEMON_EVENT(d, O3_EV_PRESET_IN_EFFECT, O3_F_STR("folder", m->dir), O3_F_INT("models", (int64_t)j->n));
    m->is_told = is_all_seen;
}

static void done_mounted(void *job) {
    struct mounted_job *j = job;
    struct o3_mounted *m = j->daemon->mounted;
    int64_t now_ns = o3_now_read().mono_ns;
    m->is_reading = false;
    if (m->at_ns < now_ns) m->at_ns = now_ns; /* a time long past would look like a late loop */
    if (j->n_offers == m->n_offers) {         /* else it is about what is not decided any more: the next look is near */
        show(j->daemon, j);
        watch_lag(j->daemon, j, now_ns);
    }
    free(j->v);
    free(j);
}

json_t *o3_daemon_mounted_json(const struct o3_daemon *d) {
    const struct o3_mounted *m = d->mounted;
    if (!m) return json_null();
    json_t *list = json_array();
    for (size_t i = 0; m->is_compared && i < m->n; i++)
        for (int p = 0; p < O3_PRESET_COUNT; p++)
            if (m->v[i].doc.presets[p].is_set)
                json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "model", m->v[i].doc.model, "preset",
                                                      o3_preset_name((enum o3_preset_name)p), "in_effect",
                                                      (int)m->v[i].is_seen[p]));
    return json_pack("{s:s, s:o}", "folder", m->dir, "presets", list);
}

/* ---- when ---- */

static void look_soon(struct o3_mounted *m) {
    int64_t soon_ns = o3_now_read().mono_ns + SETTLE_NS;
    if (soon_ns < m->at_ns) m->at_ns = soon_ns;
}

static void on_watch(void *ctx, int fd) {
    struct o3_daemon *d = ctx;
    (void)fd;
    o3_file_watch_drain(d->mounted->watch);
    look_soon(d->mounted);
}

static void unwatch(struct o3_daemon *d) {
    struct o3_mounted *m = d->mounted;
    if (!m->watch) return;
    o3_loop_remove_fd(d->loop, o3_file_watch_fd(m->watch));
    o3_file_watch_free(m->watch);
    m->watch = NULL;
}

/* The folder may come later than we do, and may be replaced: each look tries again. */
static void watch(struct o3_daemon *d) {
    struct o3_mounted *m = d->mounted;
    char path[1200];
    snprintf(path, sizeof path, "%s/..data", m->dir);
    unwatch(d);
    if (o3_file_watch_new(path, &m->watch, NULL) < 0) return;
    if (o3_loop_add_fd(d->loop, o3_file_watch_fd(m->watch), on_watch, d) == 0) return;
    o3_file_watch_free(m->watch);
    m->watch = NULL;
}

static bool submit(struct o3_daemon *d) {
    struct o3_mounted *m = d->mounted;
    struct mounted_job *j = calloc(1, sizeof *j);
    if (!j) return false;
    *j = (struct mounted_job){.daemon = d, .n = m->n, .n_offers = m->n_offers};
    o3_str_copy(j->dir, sizeof j->dir, m->dir);
    j->v = calloc(m->n + 1, sizeof *j->v);
    if (j->v) memcpy(j->v, m->v, m->n * sizeof *j->v);
    if (j->v && o3_loop_submit(d->loop, run_mounted, done_mounted, j) == 0) return true;
    free(j->v);
    free(j);
    return false;
}

int64_t o3_daemon_mounted_deadline_ns(const struct o3_daemon *d) {
    const struct o3_mounted *m = d->mounted;
    return m && m->n && !m->is_reading && !m->is_stopped ? m->at_ns : INT64_MAX;
}

void o3_daemon_mounted_turn(struct o3_daemon *d, int64_t now_ns) {
    if (o3_daemon_mounted_deadline_ns(d) > now_ns) return;
    watch(d); /* before the look: a swap after it is told */
    d->mounted->at_ns = now_ns + (d->mounted->watch ? CHECK_EVERY_NS : CHECK_UNWATCHED_NS);
    d->mounted->is_reading = submit(d);
}

void o3_daemon_mounted_offer(struct o3_daemon *d, const struct o3_sidecar_offer *o) {
    struct o3_mounted *m = d->mounted;
    struct decided *v = m ? calloc(o->n + 1, sizeof *v) : NULL;
    if (!v) return;
    for (size_t i = 0; i < o->n; i++) {
        struct stem spare;
        v[i].doc = *o->docs[i];
        o3_str_copy(v[i].stem, sizeof v[i].stem, o3_daemon_stem_of(d, o->docs[i]->model, &spare)->stem);
    }
    free(m->v);
    m->v = v;
    m->n = o->n;
    m->is_compared = false;
    m->n_offers++;
    look_soon(m);
}

/* ---- life ---- */

void o3_daemon_mounted_start(struct o3_daemon *d) {
    const char *dir = *d->values->publish_mounted ? d->values->publish_mounted : d->values->publish_folder;
    if (!*dir) return;
    d->mounted = calloc(1, sizeof *d->mounted);
    if (!d->mounted) return;
    o3_str_copy(d->mounted->dir, sizeof d->mounted->dir, dir);
    d->mounted->at_ns = INT64_MAX;
}

void o3_daemon_mounted_stop(struct o3_daemon *d) {
    if (!d->mounted) return;
    d->mounted->is_stopped = true;
    unwatch(d);
}

void o3_daemon_mounted_free(struct o3_daemon *d) {
    if (!d->mounted) return;
    free(d->mounted->v);
    free(d->mounted);
    d->mounted = NULL;
}
