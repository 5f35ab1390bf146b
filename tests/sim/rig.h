/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TESTS_SIM_RIG_H
#define O3_TESTS_SIM_RIG_H
/* The coupling of rehearsals (sidecar and simulated Ollama on one virtual clock) for tests: it remembers what the
 * sidecar told, and lets a test act as the users of the server. */
#include "o3/config.h"
#include "o3/sidecar.h"
#include "o3/world.h"
#include "o3_test.h"
#include "rehearsal/coupling.h"

#define RIG_EVENTS_MAX 4096
#define RIG_USERS_MAX 64
#define RIG_MINUTE_MS 60000LL
#define RIG_HOUR_MS 3600000LL
#define RIG_START_WALL_MS 1795219200000LL /* 2026-11-21T00:00:00Z */

struct rig_event {
    enum o3_event_id id;
    int64_t mono_ns;
    char model[64], signal[32], reason[160];
    double change_ratio, value;
};
struct rig {
    struct o3_coupling *c;
    uint64_t users[RIG_USERS_MAX]; /* requests under way */
    int n_users;
    uint64_t show_id; /* of rig_show_runner */
    struct o3_ollama_show show;

    int n_offers;
    size_t n_offered;
    struct o3_preset_doc offered; /* the last document of the last offer */
    char offer_primary[O3_MODEL_NAME_SIZE], offer_reason[320];
    struct rig_event events[RIG_EVENTS_MAX];
    int n_events;
    struct o3_sample last_sample, last_look;
    int n_samples, n_flagged; /* of probes */
    int n_looks;
};

static inline struct o3_now rig_now(const struct rig *r) {
    return o3_coupling_now(r->c);
}

/* ---- what the sidecar tells ---- */

static inline void rig_on_event(void *ctx, struct o3_now now, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    struct rig *r = ctx;
    if (r->n_events == RIG_EVENTS_MAX) return;
    struct rig_event *e = &r->events[r->n_events++];
    *e = (struct rig_event){.id = ev, .mono_ns = now.mono_ns};
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(f[i].name, "model")) o3_str_copy(e->model, sizeof e->model, f[i].s);
        if (!strcmp(f[i].name, "signal") && f[i].type == O3_FIELD_STR) o3_str_copy(e->signal, sizeof e->signal, f[i].s);
        if (!strcmp(f[i].name, "reason")) o3_str_copy(e->reason, sizeof e->reason, f[i].s);
        if (!strcmp(f[i].name, "change_ratio")) e->change_ratio = f[i].d;
        if (!strcmp(f[i].name, "value")) e->value = f[i].d;
    }
    if (getenv("O3_TEST_VERBOSE")) {
        O3_AUTO_BUF line;
        o3_buf_init(&line, 4096);
        o3_event_encode_logfmt(now.wall_ms, ev, f, n, &line);
        print_message("%10.1f s  %s\n", (double)now.mono_ns / 1e9, o3_buf_str(&line));
    }
}

static inline void rig_on_sample(void *ctx, const struct o3_sample *s) {
    struct rig *r = ctx;
    if (s->kind == O3_PROBE_LOOK) {
        r->last_look = *s;
        r->n_looks++;
        return;
    }
    r->last_sample = *s;
    r->n_samples++;
    r->n_flagged += (s->flags & O3_SAMPLE_REJECTED) != 0;
}

static inline void rig_on_offer(void *ctx, const struct o3_sidecar_offer *o) {
    struct rig *r = ctx;
    assert_true(o->n >= 1 && o->n < 8 && o->primary < (int)o->n);
    r->n_offers++;
    r->n_offered = o->n;
    r->offered = *o->docs[o->n - 1];
    snprintf(r->offer_primary, sizeof r->offer_primary, "%s",
             o->primary >= 0          ? o->docs[o->primary]->model
             : o->has_primary_setting ? "unknown"
                                      : "");
    snprintf(r->offer_reason, sizeof r->offer_reason, "%s", o->reason);
}

/* Answers to the users and to rig_show_runner. */
static inline void rig_on_output(void *ctx, const struct o3_world_output *o) {
    struct rig *r = ctx;
    if (o->id == r->show_id && o->kind == O3_WORLD_DATA)
        assert_int_equal(o3_ollama_parse_show(o->bytes, o->n, &r->show, NULL), 0);
    if (o->kind != O3_WORLD_END && o->kind != O3_WORLD_ABORT) return;
    for (int i = 0; i < r->n_users; i++)
        if (r->users[i] == o->id) r->users[i--] = r->users[--r->n_users];
    r->c->n_foreign_sockets = r->n_users;
}

/* ---- life ---- */

/* config: YAML, NULL for the defaults. */
static inline struct rig *rig_new(const char *config, const struct o3_world_params *world) {
    struct rig *r = calloc(1, sizeof *r);
    struct o3_err e = {0};
    struct o3_config *values;
    struct o3_conf_sources src = {
        .file_name = "test", .file_text = config ? config : "", .file_len = config ? strlen(config) : 0};
    if (o3_config_load(&src, NULL, NULL, &values, &e) < 0) fail_msg("config: %s", e.text);
    struct o3_world_params wp = world ? *world : (struct o3_world_params){.seed = 1, .noise_cv = 0.03};
    wp.start_wall_ms = RIG_START_WALL_MS;
    struct o3_coupling_hooks hooks = {
        .ctx = r, .event = rig_on_event, .sample = rig_on_sample, .output = rig_on_output, .offer = rig_on_offer};
    assert_int_equal(o3_coupling_new(values, o3_world_new(&wp), 7, RIG_START_WALL_MS, &hooks, &r->c, &e), 0);
    return r;
}

static inline void rig_free(struct rig *r) {
    o3_coupling_free(r->c);
    free(r);
}

/* A new sidecar process: everything in memory is lost, the saved states come back. */
static inline void rig_restart_sidecar(struct rig *r) {
    struct o3_err e;
    o3_coupling_stop(r->c, false);
    assert_int_equal(o3_coupling_start(r->c, &e), 0);
}

static inline void rig_run_until(struct rig *r, int64_t mono_ms) {
    o3_coupling_run(r->c, mono_ms * 1000000);
}

/* ---- users ---- */

static inline uint64_t rig_user_generate(struct rig *r, const char *model, int num_predict, const char *options) {
    char body[512];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"prompt\":\"tell me a story\",\"options\":{\"num_predict\":%d%s%s}}", model,
             num_predict, options ? "," : "", options ? options : "");
    uint64_t id = o3_world_request(r->c->world, r->c->now_ns, "POST", "/api/generate", body, strlen(body));
    if (r->n_users == RIG_USERS_MAX) fail_msg("too many users");
    r->users[r->n_users++] = id;
    r->c->n_foreign_sockets = r->n_users;
    return id;
}

/* What a readable command line of that model's runner shows; batch and threads -1: not named. */
static inline void rig_show_runner(struct rig *r, const char *model, int64_t num_ctx, int64_t batch, int64_t port) {
    char body[200];
    snprintf(body, sizeof body, "{\"model\":\"%s\"}", model);
    r->show_id = o3_world_request(r->c->world, r->c->now_ns, "POST", "/api/show", body, strlen(body));
    o3_coupling_run(r->c, r->c->now_ns + 1000000);
    struct o3_runner_cmdline c = {
        .ctx_total = num_ctx, .parallel = 1, .batch = batch, .threads = -1, .gpu_layers = INT64_MIN, .port = port};
    o3_str_copy(c.blob, sizeof c.blob, r->show.blob);
    assert_true(c.blob[0]);
    r->c->runners[r->c->n_runners++] = c;
}

static inline void rig_preload(struct rig *r, const char *model, int64_t num_ctx) {
    struct o3_err e;
    if (o3_world_preload(r->c->world, model, num_ctx, r->c->now_ns, &e) < 0) fail_msg("preload: %s", e.text);
}

static inline void rig_world_event(struct rig *r, const char *line) {
    struct o3_err e;
    if (o3_world_add_event(r->c->world, line, &e) < 0) fail_msg("event \"%s\": %u:%u %s", line, e.line, e.col, e.text);
}

/* ---- looking ---- */

static inline int rig_count_events(const struct rig *r, enum o3_event_id id) {
    int n = 0;
    for (int i = 0; i < r->n_events; i++)
        n += r->events[i].id == id;
    return n;
}

static inline const struct rig_event *rig_find_event(const struct rig *r, enum o3_event_id id, const char *signal) {
    for (int i = 0; i < r->n_events; i++)
        if (r->events[i].id == id && (!signal || !strcmp(r->events[i].signal, signal))) return &r->events[i];
    return NULL;
}

static inline double rig_metric(const struct rig *r, enum o3_metric id, const char *const *labels) {
    if (r->c->sidecar) o3_sidecar_show_metrics(r->c->sidecar);
    return o3_metric_get(r->c->metrics, id, labels);
}

/* The document of one model; the file of all models. */
static inline const char *rig_preset(const struct rig *r, const char *model) {
    char path[200];
    snprintf(path, sizeof path, "defaults/%s.yaml", model);
    return o3_memory_files_read(r->c->files, path, NULL);
}

static inline const char *rig_preset_file(const struct rig *r) {
    return o3_memory_files_read(r->c->files, O3_COUPLING_PRESET_FILE, NULL);
}

#endif
