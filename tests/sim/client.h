/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TESTS_SIM_CLIENT_H
#define O3_TESTS_SIM_CLIENT_H
/* A client of the simulated server: one request at a time, and the figures of its answer. */
#include <jansson.h>
#include "o3/world.h"
#include "o3_test.h"

#define S O3_NS_PER_S
#define MS O3_NS_PER_MS
#define MIN (60 * S)
#define HOUR (3600 * S)

struct figures {
    int status;
    bool is_cut, is_done; /* done: the last line says so */
    int64_t head_ns, end_ns, total_ns, load_ns, prompt_ns, eval_ns, n_prompt, n_eval;
    int64_t second_ns, last_piece_ns; /* when the second and the last piece came */
    char error[512];
};

static inline struct o3_world *client_world(struct o3_world_params p) {
    if (!p.seed) p.seed = 7;
    if (!p.start_wall_ms) p.start_wall_ms = 1795219200000LL; /* 2026-11-21T00:00:00Z */
    p.has_recorded_models = true;
    struct o3_world *w = o3_world_new(&p);
    assert_non_null(w);
    return w;
}

static inline void client_event(struct o3_world *w, const char *line) {
    struct o3_err e = {0};
    if (o3_world_add_event(w, line, &e) < 0) fail_msg("%s: %u %s", line, e.col, e.text);
}

static inline int64_t client_number(const json_t *v, const char *name) {
    return json_integer_value(json_object_get(v, name));
}

static inline void client_read_last(const char *line, size_t n, struct figures *f) {
    json_t *v = json_loadb(line, n, 0, NULL);
    f->is_done = json_is_true(json_object_get(v, "done"));
    f->total_ns = client_number(v, "total_duration");
    f->load_ns = client_number(v, "load_duration");
    f->prompt_ns = client_number(v, "prompt_eval_duration");
    f->eval_ns = client_number(v, "eval_duration");
    f->n_prompt = client_number(v, "prompt_eval_count");
    f->n_eval = client_number(v, "eval_count");
    const char *error = json_string_value(json_object_get(v, "error"));
    o3_str_copy(f->error, sizeof f->error, error ? error : "");
    json_decref(v);
}

static inline struct figures client_ask(struct o3_world *w, int64_t t, const char *path, const char *body) {
    struct figures f = {0};
    uint64_t id = o3_world_request(w, t, "POST", path, body, strlen(body));
    for (int n = 0;;) {
        struct o3_world_output o;
        int64_t next = o3_world_next_ns(w);
        if (next == INT64_MAX) fail_msg("never answered: %s", body);
        if (!o3_world_poll(w, next, &o) || o.id != id) continue;
        if (o.kind == O3_WORLD_HEAD) {
            f.status = o.status;
            f.head_ns = o.mono_ns;
        } else if (o.kind == O3_WORLD_DATA) {
            client_read_last(o.bytes, o.n, &f);
            if (++n == 2) f.second_ns = o.mono_ns;
            if (!f.is_done) f.last_piece_ns = o.mono_ns;
        } else {
            f.is_cut = o.kind == O3_WORLD_ABORT;
            f.end_ns = o.mono_ns;
            return f;
        }
    }
}

/* A raw prompt of about so many tokens that begins with `nonce`, and so many tokens of an answer. */
static inline struct figures client_generate(struct o3_world *w, int64_t t, const char *model, int n_prompt,
                                             const char *nonce, int n_answer, const char *options) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    o3_buf_addf(&b, "{\"model\":\"%s\",\"raw\":true,\"options\":{\"num_predict\":%d%s%s},\"prompt\":\"%s", model,
                n_answer, *options ? "," : "", options, nonce);
    for (int i = 0; i < n_prompt; i++)
        o3_buf_adds(&b, " word");
    o3_buf_adds(&b, "\"}");
    struct figures f = client_ask(w, t, "/api/generate", o3_buf_str(&b));
    return f;
}

static inline double client_decode_tps(const struct figures *f) {
    if (f->status != 200 || !f->is_done) fail_msg("status %d: %s", f->status, f->error);
    return (double)(f->n_eval - 1) * 1e9 / (double)f->eval_ns;
}

/* What /api/ps says of the first model; -1 when there is none. */
static inline int64_t client_ps(struct o3_world *w, int64_t t, const char *field) {
    uint64_t id = o3_world_request(w, t, "GET", "/api/ps", NULL, 0);
    int64_t v = -1;
    struct o3_world_output o;
    for (bool is_over = false; !is_over;) {
        if (!o3_world_poll(w, o3_world_next_ns(w), &o) || o.id != id) continue;
        is_over = o.kind == O3_WORLD_END;
        if (o.kind != O3_WORLD_DATA) continue;
        json_t *ps = json_loadb(o.bytes, o.n, 0, NULL), *first = json_array_get(json_object_get(ps, "models"), 0);
        if (first) v = client_number(first, field);
        json_decref(ps);
    }
    return v;
}

static inline struct o3_world_truth client_truth(const struct o3_world *w, int64_t t) {
    struct o3_world_truth v;
    o3_world_truth(w, t, &v);
    return v;
}

#endif
