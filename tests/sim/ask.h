/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TESTS_SIM_ASK_H
#define O3_TESTS_SIM_ASK_H
/* Requests to a simulated server and what becomes of them. */
#include "o3_test.h"
#include <jansson.h>
#include "o3/world.h"

#define O3_ASK __attribute__((unused)) /* a test program need not call all of them */
#define S O3_NS_PER_S
#define MS O3_NS_PER_MS

O3_ASK static struct o3_world *world_with(struct o3_world_params p) {
    if (!p.seed) p.seed = 7;
    p.start_wall_ms = 1795233966161;
    struct o3_world *w = o3_world_new(&p);
    assert_non_null(w);
    return w;
}

/* No noise, the models of the recordings too. */
O3_ASK static struct o3_world *quiet(void) {
    return world_with((struct o3_world_params){.noise_cv = 0, .has_recorded_models = true});
}

struct answer {
    int status, n_data;
    const char *type;
    bool is_chunked, is_ended, is_cut;
    int64_t head_ns, end_ns, data_ns[32];
    char *body; /* all data, joined */
    size_t n;
};

O3_ASK static void take(struct answer *a, const struct o3_world_output *o) {
    switch (o->kind) {
    case O3_WORLD_HEAD:
        a->status = o->status;
        a->type = o->content_type;
        a->is_chunked = o->is_chunked;
        a->head_ns = o->mono_ns;
        break;
    case O3_WORLD_DATA:
        if (a->n_data < 32) a->data_ns[a->n_data] = o->mono_ns;
        a->n_data++;
        a->body = realloc(a->body, a->n + o->n + 1);
        memcpy(a->body + a->n, o->bytes, o->n);
        a->n += o->n;
        a->body[a->n] = '\0';
        break;
    case O3_WORLD_END:
    case O3_WORLD_ABORT:
        a->is_ended = true;
        a->is_cut = o->kind == O3_WORLD_ABORT;
        a->end_ns = o->mono_ns;
        break;
    }
}

O3_ASK static void done(struct answer *a) {
    free(a->body);
    *a = (struct answer){0};
}

/* Runs up to `until`, handing the outputs of request `first + i` to answers[i]. */
O3_ASK static void run(struct o3_world *w, int64_t until, uint64_t first, struct answer *answers, size_t n) {
    struct o3_world_output o;
    int64_t last = -1;
    while (o3_world_poll(w, until, &o)) {
        assert_true(o.mono_ns >= last && o.mono_ns <= until);
        last = o.mono_ns;
        if (o.id >= first && o.id < first + n) take(&answers[o.id - first], &o);
    }
}

O3_ASK static uint64_t post(struct o3_world *w, int64_t t, const char *path, const char *body) {
    return o3_world_request(w, t, "POST", path, body, strlen(body));
}

O3_ASK static struct answer ask_as(struct o3_world *w, int64_t t, const char *method, const char *path,
                                   const char *body) {
    struct answer a = {0};
    uint64_t id = o3_world_request(w, t, method, path, body, body ? strlen(body) : 0);
    while (!a.is_ended) {
        int64_t next = o3_world_next_ns(w);
        if (next == INT64_MAX) fail_msg("%s %s is never answered: %s", method, path, body ? body : "");
        run(w, next, id, &a, 1);
    }
    if (!a.body) a.body = calloc(1, 1);
    return a;
}

O3_ASK static struct answer ask(struct o3_world *w, int64_t t, const char *path, const char *body) {
    return ask_as(w, t, body ? "POST" : "GET", path, body);
}

/* The last line of the body as JSON. */
O3_ASK static json_t *last(const struct answer *a) {
    const char *p = a->body + a->n;
    if (p > a->body && p[-1] == '\n') p--;
    while (p > a->body && p[-1] != '\n')
        p--;
    json_t *v = json_loads(p, 0, NULL);
    if (!v) fail_msg("not JSON: %s", p);
    return v;
}

O3_ASK static int64_t number(const json_t *o, const char *name) {
    const json_t *v = json_object_get(o, name);
    if (!json_is_integer(v)) fail_msg("no number \"%s\"", name);
    return json_integer_value(v);
}

O3_ASK static const char *text(const json_t *o, const char *name) {
    const json_t *v = json_object_get(o, name);
    if (!json_is_string(v)) fail_msg("no text \"%s\"", name);
    return json_string_value(v);
}

O3_ASK static void expect(struct o3_world *w, int64_t t, const char *path, const char *body, int status,
                          const char *reply) {
    struct answer a = ask(w, t, path, body);
    if (a.status != status || strcmp(a.body, reply) != 0)
        fail_msg("%s %s\n answered %d %s\n expected %d %s", path, body ? body : "", a.status, a.body, status, reply);
    done(&a);
}

O3_ASK static void expect_error(struct o3_world *w, int64_t t, const char *path, const char *body, int status,
                                const char *what) {
    struct answer a = ask(w, t, path, body);
    json_t *v = last(&a);
    if (a.status != status || !strstr(text(v, "error"), what))
        fail_msg("%s %s\n answered %d %s\n expected %d %s", path, body, a.status, a.body, status, what);
    assert_string_equal(a.type, "application/json; charset=utf-8");
    json_decref(v);
    done(&a);
}

O3_ASK static struct o3_world_truth truth(struct o3_world *w) {
    struct o3_world_truth t;
    o3_world_truth(w, 0, &t);
    return t;
}

#endif
