/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated server against what was measured on a real one. */
#include "o3_test.h"
#include <jansson.h>
#include "o3/world.h"

#define S O3_NS_PER_S
#define MS O3_NS_PER_MS

static struct o3_world *world_with(struct o3_world_params p) {
    if (!p.seed) p.seed = 7;
    p.start_wall_ms = 1795233966161;
    struct o3_world *w = o3_world_new(&p);
    assert_non_null(w);
    return w;
}

/* No noise, the models of the recordings too. */
static struct o3_world *quiet(void) {
    return world_with((struct o3_world_params){.noise_cv = 0, .has_recorded_models = true});
}

struct answer {
    int status, n_data;
    const char *type;
    bool is_chunked, is_ended, is_cut;
    int64_t head_ns, end_ns, data_ns[256];
    char *body; /* all data, joined */
    size_t n;
};

static void take(struct answer *a, const struct o3_world_output *o) {
    switch (o->kind) {
    case O3_WORLD_HEAD:
        a->status = o->status;
        a->type = o->content_type;
        a->is_chunked = o->is_chunked;
        a->head_ns = o->mono_ns;
        break;
    case O3_WORLD_DATA:
        if (a->n_data < 256) a->data_ns[a->n_data] = o->mono_ns;
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

static void done(struct answer *a) {
    free(a->body);
    *a = (struct answer){0};
}

/* Runs up to `until`, handing the outputs of request `first + i` to answers[i]. */
static void run(struct o3_world *w, int64_t until, uint64_t first, struct answer *answers, size_t n) {
    struct o3_world_output o;
    int64_t last = -1;
    while (o3_world_poll(w, until, &o)) {
        assert_true(o.mono_ns >= last && o.mono_ns <= until);
        last = o.mono_ns;
        if (o.id >= first && o.id < first + n) take(&answers[o.id - first], &o);
    }
}

static __attribute__((unused)) uint64_t post(struct o3_world *w, int64_t t, const char *path, const char *body) {
    return o3_world_request(w, t, "POST", path, body, strlen(body));
}

static struct answer ask_as(struct o3_world *w, int64_t t, const char *method, const char *path, const char *body) {
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

static struct answer ask(struct o3_world *w, int64_t t, const char *path, const char *body) {
    return ask_as(w, t, body ? "POST" : "GET", path, body);
}

/* The last line of the body as JSON. */
static json_t *last(const struct answer *a) {
    const char *p = a->body + a->n;
    if (p > a->body && p[-1] == '\n') p--;
    while (p > a->body && p[-1] != '\n')
        p--;
    json_t *v = json_loads(p, 0, NULL);
    if (!v) fail_msg("not JSON: %s", p);
    return v;
}

static int64_t number(const json_t *o, const char *name) {
    const json_t *v = json_object_get(o, name);
    if (!json_is_integer(v)) fail_msg("no number \"%s\"", name);
    return json_integer_value(v);
}

static const char *text(const json_t *o, const char *name) {
    const json_t *v = json_object_get(o, name);
    if (!json_is_string(v)) fail_msg("no text \"%s\"", name);
    return json_string_value(v);
}

static void expect(struct o3_world *w, int64_t t, const char *path, const char *body, int status, const char *reply) {
    struct answer a = ask(w, t, path, body);
    if (a.status != status || strcmp(a.body, reply) != 0)
        fail_msg("%s %s\n answered %d %s\n expected %d %s", path, body ? body : "", a.status, a.body, status, reply);
    done(&a);
}

static void expect_error(struct o3_world *w, int64_t t, const char *path, const char *body, int status,
                         const char *what) {
    struct answer a = ask(w, t, path, body);
    json_t *v = last(&a);
    if (a.status != status || !strstr(text(v, "error"), what))
        fail_msg("%s %s\n answered %d %s\n expected %d %s", path, body, a.status, a.body, status, what);
    assert_string_equal(a.type, "application/json; charset=utf-8");
    json_decref(v);
    done(&a);
}

static struct o3_world_truth truth(struct o3_world *w) {
    struct o3_world_truth t;
    o3_world_truth(w, 0, &t);
    return t;
}

/* ---- fixed answers ---- */

static void plain_answers(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    expect(w, 0, "/", NULL, 200, "Ollama is running");
    expect(w, 0, "/api/version", NULL, 200, "{\"version\":\"0.32.15\"}");
    expect(w, 0, "/api/ps", NULL, 200, "{\"models\":[]}");
    expect(w, 0, "/metrics", NULL, 404, "404 page not found");
    expect(w, 0, "/api/generate", NULL, 405, "405 method not allowed");
    expect(w, 0, "/api/status", NULL, 200, "{\"cloud\":{\"disabled\":true,\"source\":\"env\"}}");
    struct answer a = ask(w, 0, "/", NULL);
    assert_string_equal(a.type, "text/plain; charset=utf-8");
    assert_false(a.is_chunked);
    done(&a);
    a = ask(w, 0, "/metrics", NULL);
    assert_string_equal(a.type, "text/plain");
    done(&a);
    o3_world_free(w);
}

static void refusals(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    static const struct {
        const char *path, *body;
        int status;
        const char *error;
    } rows[] = {
        {"/api/generate", "{\"model\":\"nope\",\"prompt\":\"hi\"}", 404, "model 'nope' not found"},
        {"/api/generate", "{\"prompt\":\"x\"}", 404, "model '' not found"},
        {"/api/generate", "{\"model\":\"o3-tiny\",", 400, "unexpected EOF"},
        {"/api/generate", "", 400, "missing request body"},
        {"/api/generate", "{\"model\":\"o3-tiny\",\"prompt\":7}", 400,
         "json: cannot unmarshal number into Go struct field GenerateRequest.prompt of type string"},
        {"/api/chat", "{\"model\":\"o3-tiny\",\"messages\":\"x\"}", 400,
         "json: cannot unmarshal string into Go struct field ChatRequest.messages of type []api.Message"},
        {"/api/generate", "[1]", 400, "json: cannot unmarshal array into Go value of type api.GenerateRequest"},
        {"/api/generate", "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"options\":{\"num_ctx\":\"4096\"}}", 500,
         "option \"num_ctx\" must be of type integer"},
        {"/api/generate", "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"options\":{\"num_ctx\":true}}", 500,
         "option \"num_ctx\" must be of type integer"},
        {"/api/generate", "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"options\":{\"temperature\":\"0\"}}", 500,
         "option \"temperature\" must be of type float32"},
        {"/api/generate", "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"keep_alive\":\"5\"}", 400,
         "time: missing unit in duration \"5\""},
        {"/api/generate", "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"keep_alive\":\"5x\"}", 400,
         "time: unknown unit \"x\" in duration \"5x\""},
        {"/api/generate", "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"keep_alive\":true}", 400,
         "Unsupported type: 'bool'"},
        {"/api/generate", "{\"model\":\"o3-embed\",\"prompt\":\"x\"}", 400, "\"o3-embed\" does not support generate"},
        {"/api/chat", "{\"model\":\"o3-embed\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", 400,
         "\"o3-embed\" does not support chat"},
        {"/api/generate", "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"think\":true}", 400,
         "\"o3-tiny\" does not support thinking"},
        {"/api/show", "{\"model\":\"nope\"}", 404, "model 'nope:latest' not found"},
        {"/api/show", "{}", 400, "model is required"},
        {"/api/embed", "{\"model\":\"o3-tiny\",\"input\":\"x\"}", 501,
         "This server does not support embeddings. Start it with `--embeddings`"},
        {"/api/embed", "{\"model\":\"o3-embed\",\"input\":7}", 400, "invalid input type"},
        {"/api/generate", "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"raw\":true,\"system\":\"y\"}", 400,
         "raw mode does not support template, system, or context"},
        {"/api/generate", "{\"model\":\"sim-remote:cloud\",\"prompt\":\"x\"}", 401, "unauthorized"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_error(w, 0, rows[i].path, rows[i].body, rows[i].status, rows[i].error);
    o3_world_free(w);
}

/* ---- figures ---- */

#define GENERATE(model, options) "{\"model\":\"" model "\",\"prompt\":\"hello\",\"options\":{" options "}}"

static void stream_is_what_it_says(void **state) {
    (void)state;
    struct o3_world *w = world_with((struct o3_world_params){.noise_cv = 0.05});
    assert_int_equal(o3_world_preload(w, "sim-small", 4096, 0, NULL), 0);
    struct answer a = ask(w, S, "/api/generate", GENERATE("sim-small", "\"num_ctx\":4096,\"num_predict\":12"));
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "application/x-ndjson");
    assert_true(a.is_chunked);
    assert_int_equal(a.n_data, 13);
    assert_int_equal(a.head_ns, a.data_ns[0]); /* headers come with the first token */
    json_t *v = last(&a);
    assert_int_equal(number(v, "eval_count"), 12);
    assert_int_equal(number(v, "prompt_eval_count"), 12);
    assert_int_equal(number(v, "eval_duration"), a.data_ns[11] - a.data_ns[0]);
    assert_string_equal(text(v, "done_reason"), "length");
    assert_int_equal(json_array_size(json_object_get(v, "context")), 24);
    int64_t load = number(v, "load_duration"), total = number(v, "total_duration");
    int64_t rest = total - load - number(v, "prompt_eval_duration") - number(v, "eval_duration");
    assert_true(load >= 1300000 && load <= 6000000);
    assert_true(rest >= 30 * MS && rest <= 60 * MS);
    assert_true(a.end_ns - S - total > 0 && a.end_ns - S - total < 10 * MS);
    assert_int_equal(truth(w).n_loads, 1);
    json_decref(v);
    done(&a);
    o3_world_free(w);
}

static void rates_without_noise(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    assert_int_equal(o3_world_preload(w, "sim-small", 4096, 0, NULL), 0);
    struct answer a = ask(w, S, "/api/generate",
                          "{\"model\":\"sim-small\",\"prompt\":\"hello\",\"raw\":true,\"stream\":false,"
                          "\"options\":{\"num_ctx\":4096,\"num_predict\":64}}");
    assert_string_equal(a.type, "application/json; charset=utf-8");
    assert_false(a.is_chunked);
    json_t *v = last(&a);
    O3_ASSERT_NEAR(63e9 / (double)number(v, "eval_duration"), 40, 0.3);
    assert_null(json_object_get(v, "context"));
    assert_int_equal(number(v, "prompt_eval_count"), 3);
    json_decref(v);
    done(&a);
    o3_world_free(w);
}

static void one_token_has_no_rate(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/generate", GENERATE("o3-tiny", "\"num_predict\":1"));
    json_t *v = last(&a);
    assert_int_equal(number(v, "eval_count"), 1);
    assert_int_equal(number(v, "eval_duration"), 1);
    json_decref(v);
    done(&a);
    o3_world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_answers),          cmocka_unit_test(refusals),
        cmocka_unit_test(stream_is_what_it_says), cmocka_unit_test(rates_without_noise),
        cmocka_unit_test(one_token_has_no_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
