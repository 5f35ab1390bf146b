/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP surface. Everything is answered from memory within the loop turn, except stored samples (a job) and a
 * reload. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "app/daemon_internal.h"
#include "app/places.h"

#define METRICS_BYTES_MAX (32u << 20)
#define JSON_BYTES_MAX (16u << 20)
#define STORED_MAX 10000
#define STORED_DEFAULT 1000
#define JSON_TYPE "application/json; charset=utf-8"
#define TEXT_TYPE "text/plain; charset=utf-8"

typedef void handler_fn(struct o3_daemon *d, struct o3_request *rq);
struct route {
    const char *method, *path, *label;
    handler_fn *fn;
};

static const struct route *find_route(const char *path);

static void reply(struct o3_daemon *d, struct o3_request *rq, struct o3_reply r) {
    const struct route *route = find_route(o3_request_path(rq));
    char code[8];
    snprintf(code, sizeof code, "%d", r.status);
    o3_metric_add(d->metrics, O3_M_HTTP_REQUESTS, O3_L(route ? route->label : "other", code), 1);
    r.gzip = true;
    o3_request_reply(rq, &r);
}

static void reply_buf(struct o3_daemon *d, struct o3_request *rq, const char *type, const struct o3_buf *b) {
    reply(d, rq, (struct o3_reply){.status = 200, .content_type = type, .bytes = o3_buf_str(b), .n = b->len});
}

void o3_daemon_reply_json_error_with(struct o3_daemon *d, struct o3_request *rq, int status, const char *text,
                                     const struct o3_header *header) {
    json_t *root = json_pack("{s:s}", "error", text);
    char *body = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    const char *bytes = body ? body : "{}";
    reply(d, rq,
          (struct o3_reply){.status = status,
                            .content_type = JSON_TYPE,
                            .bytes = bytes,
                            .n = strlen(bytes),
                            .headers = header,
                            .n_headers = header ? 1 : 0});
    free(body);
}

void o3_daemon_reply_json_error(struct o3_daemon *d, struct o3_request *rq, int status, const char *text) {
    o3_daemon_reply_json_error_with(d, rq, status, text, NULL);
}

/* ---- pages from memory ---- */

static void get_index(struct o3_daemon *d, struct o3_request *rq) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, JSON_BYTES_MAX);
    if (o3_page_render(d, o3_now_read(), &b) < 0)
        o3_daemon_reply_json_error(d, rq, 500, "the page could not be rendered");
    else
        reply_buf(d, rq, "text/html; charset=utf-8", &b);
}

static void set_self_metrics(struct o3_daemon *d) {
    struct o3_host_self self;
    o3_host_read_self("/proc", &self);
    o3_metric_set(d->metrics, O3_M_PROCESS_CPU_SECONDS, O3_NO_LABELS, self.cpu_seconds);
    o3_metric_set(d->metrics, O3_M_PROCESS_RESIDENT_MEMORY_BYTES, O3_NO_LABELS, (double)self.rss_kib * 1024);
    o3_metric_set(d->metrics, O3_M_PROCESS_VIRTUAL_MEMORY_BYTES, O3_NO_LABELS, (double)self.virtual_kib * 1024);
    o3_metric_set(d->metrics, O3_M_PROCESS_OPEN_FDS, O3_NO_LABELS, (double)self.open_fds);
    o3_metric_set(d->metrics, O3_M_PROCESS_MAX_FDS, O3_NO_LABELS, (double)self.max_fds);
    o3_metric_set(d->metrics, O3_M_PROCESS_START_TIME_SECONDS, O3_NO_LABELS, self.start_time_s);
    o3_daemon_set_host_metrics(d);
}

static void get_metrics(struct o3_daemon *d, struct o3_request *rq) {
    set_self_metrics(d);
    o3_sidecar_show_metrics(d->sidecar);
    enum o3_exposition f = o3_exposition_negotiate(o3_request_header(rq, "Accept"));
    O3_AUTO_BUF b;
    o3_buf_init(&b, METRICS_BYTES_MAX);
    if (o3_metrics_render(d->metrics, f, &b) < 0)
        o3_daemon_reply_json_error(d, rq, 500, "the metrics do not fit into their limit");
    else
        reply_buf(d, rq, o3_exposition_content_type(f), &b);
}

static void get_fine(struct o3_daemon *d, struct o3_request *rq) {
    static const char TEXT[] = "ok\n";
    reply(d, rq, (struct o3_reply){.status = 200, .content_type = TEXT_TYPE, .bytes = TEXT, .n = sizeof TEXT - 1});
}

static void get_config(struct o3_daemon *d, struct o3_request *rq) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, JSON_BYTES_MAX);
    if (o3_config_dump(d->config, true, &b) < 0)
        o3_daemon_reply_json_error(d, rq, 500, "the configuration could not be printed");
    else
        reply_buf(d, rq, TEXT_TYPE, &b);
}

static void reply_json(struct o3_daemon *d, struct o3_request *rq, int result, const struct o3_buf *b) {
    if (result < 0)
        o3_daemon_reply_json_error(d, rq, 500, o3_error_row(result)->meaning);
    else
        reply_buf(d, rq, JSON_TYPE, b);
}

/* What the engine says of itself, and what became of its presets. */
static int add_publishing(struct o3_daemon *d, struct o3_now now, struct o3_buf *b) {
    json_t *root = json_loadb(o3_buf_str(b), b->len, 0, NULL);
    if (root) json_object_set_new(root, "publishing", o3_daemon_publishing_json(d, now));
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(root);
    if (!text) return O3_E_NOMEM;
    o3_buf_clear(b);
    o3_buf_adds(b, text);
    o3_buf_adds(b, "\n");
    free(text);
    return b->err;
}

static void get_status(struct o3_daemon *d, struct o3_request *rq) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, JSON_BYTES_MAX);
    struct o3_now now = o3_now_read();
    int r = o3_sidecar_status_json(d->sidecar, now, &b);
    if (r == 0) r = add_publishing(d, now, &b);
    reply_json(d, rq, r, &b);
}

static void get_models(struct o3_daemon *d, struct o3_request *rq) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, JSON_BYTES_MAX);
    int r = o3_sidecar_models_json(d->sidecar, o3_now_read(), &b);
    reply_json(d, rq, r, &b);
}

static void get_presets(struct o3_daemon *d, struct o3_request *rq) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, JSON_BYTES_MAX);
    int r = o3_sidecar_presets_json(d->sidecar, &b);
    reply_json(d, rq, r, &b);
}

static void get_preset(struct o3_daemon *d, struct o3_request *rq) {
    const char *model = o3_request_query(rq, "model"), *name = o3_request_query(rq, "name");
    enum o3_preset_name preset;
    if (!model || !name) {
        o3_daemon_reply_json_error(d, rq, 400, "expected ?model=MODEL&name=max_context|balanced|fast_response");
        return;
    }
    if (!o3_preset_name_parse(name, &preset)) {
        o3_daemon_reply_json_error(d, rq, 400, "unknown preset name; expected max_context, balanced or fast_response");
        return;
    }
    O3_AUTO_BUF b;
    o3_buf_init(&b, JSON_BYTES_MAX);
    int r = o3_sidecar_preset_json(d->sidecar, model, preset, &b);
    if (r == O3_E_NOT_FOUND)
        o3_daemon_reply_json_error(d, rq, 404, "no preset of this model yet");
    else
        reply_json(d, rq, r, &b);
}

static void get_incidents(struct o3_daemon *d, struct o3_request *rq) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, JSON_BYTES_MAX);
    int r = o3_sidecar_incidents_json(d->sidecar, &b);
    reply_json(d, rq, r, &b);
}

/* ---- what is stored ---- */

struct stored_job {
    struct o3_daemon *daemon;
    struct o3_request *rq;                    /* NULL once its client is gone */
    char model[O3_MODEL_NAME_SIZE], name[64]; /* "" all; name: of events */
    int64_t since_ms;
    size_t max, n;
    struct o3_buf json;
    struct o3_err err;
    int result;
};

static void run_samples(void *job) {
    struct stored_job *j = job;
    struct o3_sample *v = NULL;
    size_t n = 0;
    j->result = o3_store_samples(j->daemon->store, j->model, j->since_ms, j->max, &v, &n, &j->err);
    o3_buf_adds(&j->json, "{\"samples\":[");
    for (size_t i = 0; j->result == 0 && i < n; i++) {
        if (i) o3_buf_adds(&j->json, ",\n");
        (void)o3_sample_encode_json(&v[i], "", &j->json);
    }
    o3_buf_adds(&j->json, "]}\n");
    free(v);
}

static void add_event(void *ctx, const struct o3_store_event *ev) {
    struct stored_job *j = ctx;
    if (j->model[0] && strcmp(ev->model, j->model)) return;
    if ((j->name[0] && strcmp(ev->name, j->name)) || j->n == j->max) return;
    j->n++;
    if (j->json.p[j->json.len - 1] != '[') o3_buf_adds(&j->json, ",\n");
    o3_buf_adds(&j->json, ev->json);
}

static void run_events(void *job) {
    struct stored_job *j = job;
    o3_buf_adds(&j->json, "{\"events\":[");
    /* The newest of those that are meant: all are looked at. */
    j->result = o3_store_each_event(j->daemon->store, j->since_ms, STORED_MAX, add_event, j, &j->err);
    o3_buf_adds(&j->json, "]}\n");
}

static void done_stored(void *job) {
    struct stored_job *j = job;
    if (j->rq) {
        o3_request_set_tag(j->rq, NULL);
        if (j->result < 0)
            o3_daemon_reply_json_error(j->daemon, j->rq, 503, j->err.text);
        else
            reply_json(j->daemon, j->rq, j->json.err, &j->json);
    }
    o3_buf_done(&j->json);
    free(j);
}

/* Ollama prints "name:latest" for what people call "name". */
static void full_name(const char *model, char out[O3_MODEL_NAME_SIZE]) {
    snprintf(out, O3_MODEL_NAME_SIZE, "%s%s", model, strchr(model, ':') || !*model ? "" : ":latest");
}

static void get_stored(struct o3_daemon *d, struct o3_request *rq, o3_job_fn *run) {
    const char *model = o3_request_query(rq, "model"), *since = o3_request_query(rq, "since"),
               *limit = o3_request_query(rq, "limit"), *name = o3_request_query(rq, "name");
    int64_t since_ms = 0, max = STORED_DEFAULT;
    if (since && !o3_since_parse(since, o3_now_read().wall_ms, &since_ms)) {
        o3_daemon_reply_json_error(d, rq, 400,
                                   "since: expected Unix seconds, an RFC 3339 time, or a duration such as 1h");
        return;
    }
    if (limit && (!o3_int_parse(limit, &max) || max < 1 || max > STORED_MAX)) {
        o3_daemon_reply_json_error(d, rq, 400, "limit: expected a number from 1 to 10000");
        return;
    }
    if (!d->store) {
        o3_daemon_reply_json_error(d, rq, 503, "the store cannot be used; see the log");
        return;
    }
    o3_daemon_flush(d); /* what was measured a moment ago is part of the answer */
    struct stored_job *j = calloc(1, sizeof *j);
    if (j) {
        *j = (struct stored_job){.daemon = d, .rq = rq, .since_ms = since_ms, .max = (size_t)max};
        if (model) full_name(model, j->model);
        if (name) o3_str_copy(j->name, sizeof j->name, name);
        o3_buf_init(&j->json, JSON_BYTES_MAX);
    }
    if (!j || o3_loop_submit(d->loop, run, done_stored, j) < 0) {
        free(j);
        o3_daemon_reply_json_error(d, rq, 503, "too much work is waiting; try again");
        return;
    }
    o3_request_set_tag(rq, j);
}

static void get_samples(struct o3_daemon *d, struct o3_request *rq) {
    get_stored(d, rq, run_samples);
}

static bool is_event_name(const char *name) {
    for (int ev = 0; ev < O3_EVENT_COUNT; ev++)
        if (!strcmp(o3_event_row((enum o3_event_id)ev)->name, name)) return true;
    return false;
}

static void get_events(struct o3_daemon *d, struct o3_request *rq) {
    const char *name = o3_request_query(rq, "name");
    if (name && *name && !is_event_name(name))
        o3_daemon_reply_json_error(d, rq, 400, "name: expected the name of one event, for example drift_confirmed");
    else
        get_stored(d, rq, run_events);
}

/* ---- reload ---- */

static void post_reload(struct o3_daemon *d, struct o3_request *rq) {
    if (!o3_auth_token_admits(d->auth, rq)) return;
    if (d->n_reloaders == O3_DAEMON_RELOADERS_MAX) {
        o3_daemon_reply_json_error(d, rq, 503, "a reload is running; try again");
        return;
    }
    d->reloaders[d->n_reloaders++] = rq;
    o3_daemon_reload(d, "http", false);
}

/* ---- acknowledgements ---- */

static void post_ack(struct o3_daemon *d, struct o3_request *rq) {
    const char *model = o3_request_query(rq, "model"), *signal = o3_request_query(rq, "signal");
    if (!d->values->web_token[0]) {
        o3_daemon_reply_json_error(d, rq, 403, "off: set web.token (O3_WEB_TOKEN) to allow acknowledgements");
        return;
    }
    if (!o3_auth_token_admits(d->auth, rq)) return;
    if (!model || !*model) {
        o3_daemon_reply_json_error(d, rq, 400, "expected ?model=MODEL, and &signal=SIGNAL for one signal only");
        return;
    }
    char name[O3_MODEL_NAME_SIZE];
    struct o3_err e = {0};
    O3_AUTO_BUF b;
    o3_buf_init(&b, JSON_BYTES_MAX);
    full_name(model, name);
    int r = o3_sidecar_acknowledge(d->sidecar, name, signal && *signal ? signal : NULL, o3_now_read(), &b, &e);
    if (r == O3_E_NOT_FOUND || r == O3_E_NO_CHANGE || r == O3_E_USAGE)
        o3_daemon_reply_json_error(d, rq, r == O3_E_NOT_FOUND ? 404 : r == O3_E_NO_CHANGE ? 409 : 400, e.text);
    else
        reply_json(d, rq, r, &b);
}

void o3_daemon_reply_reload(struct o3_daemon *d, struct o3_request *rq, const char *error) {
    static const char TEXT[] = "reloaded\n";
    if (error)
        o3_daemon_reply_json_error(d, rq, 500, error);
    else
        reply(d, rq, (struct o3_reply){.status = 200, .content_type = TEXT_TYPE, .bytes = TEXT, .n = sizeof TEXT - 1});
}

static void forget_reloader(struct o3_daemon *d, int i) {
    if (i < d->n_served) d->n_served--;
    d->n_reloaders--;
    memmove(d->reloaders + i, d->reloaders + i + 1, (size_t)(d->n_reloaders - i) * sizeof *d->reloaders);
}

void o3_daemon_request_gone(void *daemon, struct o3_request *rq, void *tag) {
    struct o3_daemon *d = daemon;
    struct stored_job *j = tag;
    if (j) j->rq = NULL;
    o3_auth_request_gone(d->auth, rq);
    for (int i = 0; i < d->n_reloaders; i++)
        if (d->reloaders[i] == rq) forget_reloader(d, i--);
}

/* ---- routes ---- */

static const struct route ROUTES[] = {
    {"GET", "/", "index", get_index},
    {"GET", "/metrics", "metrics", get_metrics},
    {"GET", "/-/healthy", "healthy", get_fine},
    {"GET", "/-/ready", "ready", get_fine}, /* the listener is up and the configuration valid, or nobody would answer */
    {"POST", "/-/reload", "reload", post_reload},
    {"GET", "/config", "config", get_config},
    {"GET", "/api/v1/status", "api", get_status},
    {"GET", "/api/v1/models", "api", get_models},
    {"GET", "/api/v1/samples", "api", get_samples},
    {"GET", "/api/v1/events", "api", get_events},
    {"GET", "/api/v1/incidents", "api", get_incidents},
    {"POST", "/api/v1/ack", "api", post_ack},
    {"GET", "/api/v1/presets", "api", get_presets},
    {"GET", "/api/v1/preset", "api", get_preset},
};

static const struct route *find_route(const char *path) {
    for (size_t i = 0; i < sizeof ROUTES / sizeof *ROUTES; i++)
        if (!strcmp(ROUTES[i].path, path)) return &ROUTES[i];
    return NULL;
}

static void dispatch(struct o3_daemon *d, struct o3_request *rq, const struct route *route) {
    const char *method = o3_request_method(rq);
    if (!route) {
        o3_daemon_reply_json_error(d, rq, 404, "no such page; see /");
        return;
    }
    bool is_get = !strcmp(route->method, "GET");
    bool is_allowed = !strcmp(method, route->method) || (is_get && !strcmp(method, "HEAD"));
    if (is_allowed)
        route->fn(d, rq);
    else
        o3_daemon_reply_json_error_with(d, rq, 405, is_get ? "only GET and HEAD here" : "only POST here",
                                        &(struct o3_header){"Allow", is_get ? "GET, HEAD" : "POST"});
}

void o3_daemon_handle(void *daemon, struct o3_request *rq) {
    struct o3_daemon *d = daemon;
    const struct route *route = find_route(o3_request_path(rq));
    /* Health is asked for by what has no password (kubelet, load balancers, o3 healthcheck), and says only "ok". */
    bool is_open = route && route->fn == get_fine;
    if (is_open || o3_auth_admits(d->auth, rq)) dispatch(d, rq, route);
}
