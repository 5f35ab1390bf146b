/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TESTS_SIM_RIG_H
#define O3_TESTS_SIM_RIG_H
/* The whole sidecar and the simulated Ollama on one virtual clock: no socket, no file, no waiting. A rig owns both,
 * carries bytes between them, keeps what the sidecar wrote in memory, and lets a test act as the users of the server.
 */
#include "o3/config.h"
#include "o3/sidecar.h"
#include "o3/world.h"
#include "o3_test.h"

#define RIG_CALLS_MAX 64
#define RIG_EVENTS_MAX 4096
#define RIG_STATES_MAX 256
#define RIG_MINUTE_MS 60000LL
#define RIG_HOUR_MS 3600000LL
#define RIG_START_WALL_MS 1795219200000LL /* 2026-11-21T00:00:00Z */

struct rig_call {
    uint64_t world_id;
    bool is_user;
    int status;
    int64_t deadline_ns; /* the shell ends a call that takes too long */
};
struct rig_event {
    enum o3_event_id id;
    int64_t mono_ns;
    char model[64], signal[32], reason[160];
    double change_ratio;
};
struct rig_state {
    char key[256];
    char *value;
    size_t n;
};
struct rig {
    struct o3_config *config;
    struct o3_metrics *metrics;
    struct o3_world *world;
    struct o3_sidecar *sidecar;
    int64_t now_ns, wall_shift_ms;
    struct rig_call calls[RIG_CALLS_MAX];
    int n_calls;
    int n_pooled_sockets; /* idle connections of clients */
    bool sockets_unreadable;
    struct o3_runner_cmdline runners[8];
    size_t n_runners;
    bool is_server_gone;   /* connections are refused */
    bool is_show_too_long; /* /api/show ends at the limit of bytes */
    struct {
        uint64_t id;
        int code;
    } failed[8]; /* calls that end without reaching the server */
    uint64_t next_local_id;
    int n_failed;

    struct rig_event events[RIG_EVENTS_MAX];
    int n_events;
    struct o3_sample last_sample;
    int n_samples, n_flagged;
    uint64_t tickets[64];
    int n_tickets, n_writes;
    bool writes_fail, writes_refused;
    char *preset;      /* the last document written */
    char *all_presets; /* and the file of all models with it */
    struct rig_state states[RIG_STATES_MAX];
    int n_states;
};

static inline struct o3_now rig_now(const struct rig *r) {
    return (struct o3_now){.mono_ns = r->now_ns, .wall_ms = RIG_START_WALL_MS + r->now_ns / 1000000 + r->wall_shift_ms};
}

/* ---- the sidecar's ops ---- */

static inline void rig_add_call(struct rig *r, uint64_t world_id, bool is_user) {
    if (r->n_calls == RIG_CALLS_MAX) fail_msg("too many calls in flight");
    r->calls[r->n_calls++] = (struct rig_call){.world_id = world_id, .is_user = is_user};
}

static inline uint64_t rig_call_start(void *ctx, const struct o3_sidecar_call *c, int64_t *ret_sent_mono_ns) {
    struct rig *r = ctx;
    *ret_sent_mono_ns = r->now_ns;
    int code = r->is_server_gone                                      ? O3_E_UNREACHABLE
               : r->is_show_too_long && !strcmp(c->path, "/api/show") ? O3_E_LIMIT
                                                                      : 0;
    if (code) {
        uint64_t id = UINT64_MAX - r->next_local_id++;
        r->failed[r->n_failed].id = id;
        r->failed[r->n_failed++].code = code;
        return id;
    }
    uint64_t id = o3_world_request(r->world, r->now_ns, c->method, c->path, c->body, c->body_len);
    rig_add_call(r, id, false);
    r->calls[r->n_calls - 1].deadline_ns = r->now_ns + c->total_timeout_ms * 1000000;
    return id;
}

static inline void rig_forget_call(struct rig *r, uint64_t id) {
    for (int i = 0; i < r->n_calls; i++)
        if (r->calls[i].world_id == id) r->calls[i--] = r->calls[--r->n_calls];
}

static inline void rig_call_cancel(void *ctx, uint64_t id) {
    struct rig *r = ctx;
    o3_world_disconnect(r->world, r->now_ns, id);
    rig_forget_call(r, id);
}

static inline void rig_sense_sockets(void *ctx, struct o3_sidecar_sockets *ret) {
    struct rig *r = ctx;
    int n = r->n_pooled_sockets;
    for (int i = 0; i < r->n_calls; i++)
        n += r->calls[i].is_user;
    *ret = (struct o3_sidecar_sockets){.is_readable = !r->sockets_unreadable, .n_established = n};
}

static inline size_t rig_sense_runners(void *ctx, bool is_thorough, struct o3_runner_cmdline *out, size_t max) {
    (void)is_thorough;
    struct rig *r = ctx;
    size_t n = r->n_runners < max ? r->n_runners : max;
    memcpy(out, r->runners, n * sizeof *out);
    return n;
}

static inline void rig_on_event(void *ctx, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    struct rig *r = ctx;
    if (r->n_events == RIG_EVENTS_MAX) return;
    struct rig_event *e = &r->events[r->n_events++];
    *e = (struct rig_event){.id = ev, .mono_ns = r->now_ns};
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(f[i].name, "model")) o3_str_copy(e->model, sizeof e->model, f[i].s);
        if (!strcmp(f[i].name, "signal") && f[i].type == O3_FIELD_STR) o3_str_copy(e->signal, sizeof e->signal, f[i].s);
        if (!strcmp(f[i].name, "reason")) o3_str_copy(e->reason, sizeof e->reason, f[i].s);
        if (!strcmp(f[i].name, "change_ratio")) e->change_ratio = f[i].d;
    }
    if (getenv("O3_TEST_VERBOSE")) {
        O3_AUTO_BUF line;
        o3_buf_init(&line, 4096);
        o3_event_encode_logfmt(rig_now(r).wall_ms, ev, f, n, &line);
        print_message("%10.1f s  %s\n", (double)r->now_ns / 1e9, o3_buf_str(&line));
    }
}

static inline void rig_on_sample(void *ctx, const struct o3_sample *s) {
    struct rig *r = ctx;
    r->last_sample = *s;
    r->n_samples++;
    r->n_flagged += s->flags != 0;
}

static inline bool rig_write_presets(void *ctx, const struct o3_sidecar_presets *w) {
    struct rig *r = ctx;
    if (r->writes_refused) return false;
    free(r->preset);
    free(r->all_presets);
    r->all_presets = strndup(w->all, w->all_len);
    r->preset = strndup(w->doc, w->doc_len);
    r->n_writes++;
    r->tickets[r->n_tickets++ % 64] = w->ticket;
    return true;
}

static inline void rig_save_state(void *ctx, const char *key, const char *value, size_t n) {
    struct rig *r = ctx;
    struct rig_state *st = NULL;
    for (int i = 0; i < r->n_states; i++)
        if (!strcmp(r->states[i].key, key)) st = &r->states[i];
    if (!st) {
        if (r->n_states == RIG_STATES_MAX) fail_msg("too many states");
        st = &r->states[r->n_states++];
        o3_str_copy(st->key, sizeof st->key, key);
    }
    free(st->value);
    st->value = malloc(n + 1);
    memcpy(st->value, value, n);
    st->value[n] = '\0';
    st->n = n;
}

/* ---- life ---- */

static inline void rig_start_sidecar(struct rig *r) {
    struct o3_err e;
    struct o3_sidecar_params p = {.config = o3_config_values(r->config), .metrics = r->metrics, .seed = 7};
    p.ops = (struct o3_sidecar_ops){r,
                                    rig_call_start,
                                    rig_call_cancel,
                                    rig_sense_sockets,
                                    rig_sense_runners,
                                    rig_on_event,
                                    rig_on_sample,
                                    rig_write_presets,
                                    rig_save_state};
    assert_int_equal(o3_sidecar_new(&p, rig_now(r), &r->sidecar, &e), 0);
    for (int i = 0; i < r->n_states; i++)
        o3_sidecar_restore(r->sidecar, r->states[i].key, r->states[i].value, r->states[i].n, rig_now(r));
}

/* config: YAML, NULL for the defaults. */
static inline struct rig *rig_new(const char *config, const struct o3_world_params *world) {
    struct rig *r = calloc(1, sizeof *r);
    struct o3_err e = {0};
    struct o3_conf_sources src = {
        .file_name = "test", .file_text = config ? config : "", .file_len = config ? strlen(config) : 0};
    if (o3_config_load(&src, NULL, NULL, &r->config, &e) < 0) fail_msg("config: %s", e.text);
    struct o3_world_params wp = world ? *world : (struct o3_world_params){.seed = 1, .noise_cv = 0.03};
    wp.start_wall_ms = RIG_START_WALL_MS;
    r->world = o3_world_new(&wp);
    r->metrics = o3_metrics_new(10000);
    rig_start_sidecar(r);
    return r;
}

static inline void rig_free(struct rig *r) {
    o3_sidecar_stop(r->sidecar, rig_now(r));
    o3_sidecar_free(r->sidecar);
    o3_metrics_free(r->metrics);
    o3_world_free(r->world);
    o3_config_free(r->config);
    for (int i = 0; i < r->n_states; i++)
        free(r->states[i].value);
    free(r->preset);
    free(r->all_presets);
    free(r);
}

/* A new sidecar process: everything in memory is lost, the saved states come back. */
static inline void rig_restart_sidecar(struct rig *r) {
    o3_sidecar_stop(r->sidecar, rig_now(r));
    o3_sidecar_free(r->sidecar);
    o3_metrics_free(r->metrics);
    r->metrics = o3_metrics_new(10000);
    rig_start_sidecar(r);
}

static inline struct rig_call *rig_find_call(struct rig *r, uint64_t id) {
    for (int i = 0; i < r->n_calls; i++)
        if (r->calls[i].world_id == id) return &r->calls[i];
    return NULL;
}

static inline void rig_take_output(struct rig *r, const struct o3_world_output *o) {
    struct rig_call *c = rig_find_call(r, o->id);
    if (!c) return;
    bool is_user = c->is_user;
    int status = c->status;
    switch (o->kind) {
    case O3_WORLD_HEAD:
        c->status = o->status;
        break;
    case O3_WORLD_DATA:
        if (!is_user) o3_sidecar_data(r->sidecar, o->id, status, o->bytes, o->n, o->mono_ns);
        break;
    case O3_WORLD_END:
    case O3_WORLD_ABORT:
        rig_forget_call(r, o->id);
        if (!is_user)
            o3_sidecar_end(r->sidecar, o->id, status, o->kind == O3_WORLD_ABORT ? O3_E_HTTP : 0, "", rig_now(r));
        break;
    }
}

static inline int64_t rig_next_timeout(const struct rig *r) {
    int64_t t = INT64_MAX;
    for (int i = 0; i < r->n_calls; i++)
        if (!r->calls[i].is_user && r->calls[i].deadline_ns < t) t = r->calls[i].deadline_ns;
    return t;
}

static inline void rig_end_late_calls(struct rig *r) {
    for (int i = 0; i < r->n_calls; i++) {
        struct rig_call c = r->calls[i];
        if (c.is_user || c.deadline_ns > r->now_ns) continue;
        rig_call_cancel(r, c.world_id);
        i--;
        o3_sidecar_end(r->sidecar, c.world_id, c.status, O3_E_TIMEOUT, "timeout", rig_now(r));
    }
}

static inline void rig_step(struct rig *r) {
    struct o3_world_output o;
    while (o3_world_poll(r->world, r->now_ns, &o))
        rig_take_output(r, &o);
    rig_end_late_calls(r);
    for (int i = 0; i < r->n_failed; i++)
        o3_sidecar_end(r->sidecar, r->failed[i].id, 0, r->failed[i].code, "failed", rig_now(r));
    r->n_failed = 0;
    o3_sidecar_turn(r->sidecar, rig_now(r));
    while (r->n_tickets > 0)
        o3_sidecar_preset_written(r->sidecar, r->tickets[--r->n_tickets], !r->writes_fail, !r->writes_fail,
                                  r->writes_fail ? "disk full" : NULL, rig_now(r));
}

static inline void rig_run_until(struct rig *r, int64_t mono_ms) {
    int64_t end_ns = mono_ms * 1000000;
    for (;;) {
        rig_step(r);
        int64_t next = o3_world_next_ns(r->world), own = o3_sidecar_deadline_ns(r->sidecar);
        if (own < next) next = own;
        if (rig_next_timeout(r) < next) next = rig_next_timeout(r);
        if (r->n_failed) next = r->now_ns + 1000000;
        if (next > end_ns) break;
        r->now_ns = next > r->now_ns ? next : r->now_ns + 1000; /* two things at the same moment are two steps */
    }
    r->now_ns = end_ns;
    rig_step(r);
}

/* ---- users ---- */

static inline uint64_t rig_user_generate(struct rig *r, const char *model, int num_predict, const char *options) {
    char body[512];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"prompt\":\"tell me a story\",\"options\":{\"num_predict\":%d%s%s}}", model,
             num_predict, options ? "," : "", options ? options : "");
    uint64_t id = o3_world_request(r->world, r->now_ns, "POST", "/api/generate", body, strlen(body));
    rig_add_call(r, id, true);
    return id;
}

/* What a readable command line of that model's runner shows; batch and threads -1: not named. */
static inline void rig_show_runner(struct rig *r, const char *model, int64_t num_ctx, int64_t batch, int64_t port) {
    char body[200];
    snprintf(body, sizeof body, "{\"model\":\"%s\"}", model);
    uint64_t id = o3_world_request(r->world, r->now_ns, "POST", "/api/show", body, strlen(body));
    struct o3_world_output o;
    struct o3_ollama_show show = {0};
    while (o3_world_poll(r->world, r->now_ns + 1000000, &o)) {
        if (o.id == id && o.kind == O3_WORLD_DATA)
            assert_int_equal(o3_ollama_parse_show(o.bytes, o.n, &show, NULL), 0);
        else
            rig_take_output(r, &o);
    }
    struct o3_runner_cmdline c = {
        .ctx_total = num_ctx, .parallel = 1, .batch = batch, .threads = -1, .gpu_layers = INT64_MIN, .port = port};
    o3_str_copy(c.blob, sizeof c.blob, show.blob);
    r->runners[r->n_runners++] = c;
}

static inline void rig_preload(struct rig *r, const char *model, int64_t num_ctx) {
    struct o3_err e;
    if (o3_world_preload(r->world, model, num_ctx, r->now_ns, &e) < 0) fail_msg("preload: %s", e.text);
}

static inline void rig_world_event(struct rig *r, const char *line) {
    struct o3_err e;
    if (o3_world_add_event(r->world, line, &e) < 0) fail_msg("event \"%s\": %u:%u %s", line, e.line, e.col, e.text);
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
    return o3_metric_get(r->metrics, id, labels);
}

#endif
