/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated server against what was measured on a real one. */
#include "sim/ask.h"

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

/* ---- what reloads ---- */

static bool reloads_at(const char *path, const char *first, const char *second, struct o3_world_params p) {
    p.has_recorded_models = true;
    struct o3_world *w = world_with(p);
    struct answer a = ask(w, 0, path, first);
    assert_int_equal(a.status, 200);
    json_t *v = last(&a);
    assert_true(number(v, "load_duration") >= 250 * MS);
    json_decref(v);
    done(&a);
    int64_t before = truth(w).n_loads;
    a = ask(w, 60 * S, path, second);
    if (a.status != 200) fail_msg("%s", a.body);
    v = last(&a);
    bool is_reload = truth(w).n_loads > before;
    assert_int_equal(truth(w).n_reloads, is_reload);
    assert_int_equal(number(v, "load_duration") >= 250 * MS, is_reload);
    assert_int_equal(number(v, "load_duration") <= 6 * MS, !is_reload);
    json_decref(v);
    done(&a);
    o3_world_free(w);
    return is_reload;
}

static bool reloads(const char *first, const char *second, struct o3_world_params p) {
    return reloads_at("/api/generate", first, second, p);
}

#define TINY(fields) "{\"model\":\"o3-tiny\",\"prompt\":\"hello\"," fields "}"
#define WITH(options) TINY("\"options\":{\"num_predict\":2" options "}")
#define EXPLICIT ",\"num_ctx\":4096,\"num_batch\":512"

static void reload_rules(void **state) {
    (void)state;
    static const struct {
        const char *first, *second;
        bool is_reload;
    } rows[] = {
        {WITH(EXPLICIT), WITH(EXPLICIT), false},
        {WITH(EXPLICIT), WITH(",\"num_ctx\":8192,\"num_batch\":512"), true},
        {WITH(EXPLICIT), WITH(",\"num_ctx\":4095,\"num_batch\":512"), true},
        {WITH(EXPLICIT), WITH(",\"num_ctx\":4096,\"num_batch\":256"), true},
        {WITH(EXPLICIT), WITH(EXPLICIT ",\"num_thread\":2"), true},
        {WITH(EXPLICIT), WITH(EXPLICIT ",\"num_gpu\":0"), true},
        {WITH(EXPLICIT), WITH(EXPLICIT ",\"num_gpu\":1"), true},
        {WITH(EXPLICIT), WITH(EXPLICIT ",\"num_gpu\":-1"), false},
        {WITH(EXPLICIT), WITH(EXPLICIT ",\"main_gpu\":1"), true},
        {WITH(EXPLICIT), WITH(EXPLICIT ",\"use_mmap\":true"), true},
        {WITH(EXPLICIT), WITH(EXPLICIT ",\"use_mmap\":false"), false},
        {WITH(EXPLICIT), WITH(EXPLICIT ",\"draft_num_predict\":4"), true},
        {WITH(EXPLICIT), TINY("\"shift\":false,\"options\":{\"num_predict\":2" EXPLICIT "}"), true},
        {WITH(EXPLICIT),
         TINY("\"options\":{\"num_predict\":2" EXPLICIT "},\"raw\":true,\"keep_alive\":60,\"think\":false"), false},
        {WITH(EXPLICIT), WITH(EXPLICIT ",\"temperature\":0,\"seed\":1,\"num_keep\":9,\"top_k\":3,\"stop\":[\"x\"]"),
         false},
        {WITH(EXPLICIT),
         WITH(EXPLICIT ",\"use_mlock\":true,\"low_vram\":true,\"f16_kv\":false,\"numa\":true,\"no_such\":[]"), false},
        {WITH(EXPLICIT), WITH(",\"num_ctx\":null"), false}, /* 4096 and 512 are the automatic values here */
        {WITH(",\"num_ctx\":8192,\"num_batch\":512"), WITH(""), true},
        {WITH(EXPLICIT), WITH(",\"num_batch\":512"), false},
        {WITH(",\"num_ctx\":4096,\"num_batch\":256"), WITH(",\"num_ctx\":4096"), true},
        /* automatic equals automatic; explicit compares with what was chosen */
        {WITH(""), WITH(""), false},
        {WITH(",\"num_ctx\":8192"), WITH(",\"num_ctx\":8192"), false},
        {WITH(",\"num_ctx\":8192"), WITH(",\"num_ctx\":8192,\"num_batch\":512"), true},
        {WITH(",\"num_ctx\":8192"), WITH(",\"num_ctx\":8192,\"num_batch\":1024"), false},
        {WITH(",\"num_ctx\":8192"), WITH(""), true},
        /* values are clamped before they are compared */
        {WITH(",\"num_ctx\":200000"), WITH(",\"num_ctx\":131072"), false},
        {WITH(",\"num_ctx\":1e12"), WITH(",\"num_ctx\":131072"), false},
        {WITH(",\"num_ctx\":4096.7"), WITH(",\"num_ctx\":4096"), false},
        {WITH(EXPLICIT),
         "{\"model\":\"o3-tiny\",\"messages\":[],\"prompt\":\"x\",\"options\":{\"num_predict\":1" EXPLICIT "}}", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (reloads(rows[i].first, rows[i].second, (struct o3_world_params){0}) != rows[i].is_reload)
            fail_msg("row %zu: %s\n then %s\n expected %d", i, rows[i].first, rows[i].second, rows[i].is_reload);
    /* Before 0.30 num_batch is 512 whatever the context. */
    struct o3_world_params old = {.version = "0.24.0"};
    assert_false(reloads(WITH(",\"num_ctx\":8192"), WITH(",\"num_ctx\":8192,\"num_batch\":512"), old));
    assert_true(reloads(WITH(",\"num_ctx\":8192"), WITH(",\"num_ctx\":8192,\"num_batch\":1024"), old));
}

static int64_t ps_number(struct o3_world *w, int64_t t, const char *name) {
    struct answer a = ask(w, t, "/api/ps", NULL);
    json_t *v = last(&a);
    const json_t *m = json_array_get(json_object_get(v, "models"), 0);
    if (!m) fail_msg("nothing is loaded");
    const json_t *n = json_object_get(m, name);
    int64_t value = n ? json_integer_value(n) : -1;
    json_decref(v);
    done(&a);
    return value;
}

static void values_accepted(void **state) {
    (void)state;
    static const struct {
        const char *options;
        int64_t num_ctx;
    } rows[] = {
        {WITH(",\"num_ctx\":-1"), 4},        {WITH(",\"num_ctx\":0"), 4},         {WITH(",\"num_ctx\":1"), 4},
        {WITH(",\"num_ctx\":3"), 4},         {WITH(",\"num_ctx\":1e12"), 131072}, {WITH(",\"num_ctx\":2000"), 2000},
        {WITH(",\"num_ctx\":4096.7"), 4096}, {WITH(",\"num_ctx\":null"), 4096},   {WITH(",\"num_batch\":0"), 4096},
        {WITH(",\"num_batch\":-1"), 4096},   {WITH(",\"num_batch\":8"), 4096},    {WITH(",\"num_batch\":33"), 4096},
        {WITH(",\"num_batch\":9000"), 4096}, {WITH(",\"num_thread\":-1"), 4096},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct o3_world *w = quiet();
        struct answer a = ask(w, 0, "/api/generate", rows[i].options);
        if (a.status != 200 && rows[i].num_ctx > 4) fail_msg("%s: %s", rows[i].options, a.body);
        done(&a);
        assert_int_equal(ps_number(w, 20 * S, "context_length"), rows[i].num_ctx);
        o3_world_free(w);
    }
    struct o3_world *w = quiet();
    expect_error(w, 0, "/api/generate", WITH(",\"num_batch\":1"), 500,
                 "GGML_ASSERT(n_tokens_all <= cparams.n_batch) failed");
    expect_error(w, 20 * S, "/api/generate", WITH(",\"num_batch\":1e12"), 500,
                 "llama-server process has terminated: exit status 1");
    expect(w, 40 * S, "/api/ps", NULL, 200, "{\"models\":[]}");
    struct answer a = ask(w, 50 * S, "/api/generate", WITH(",\"num_batch\":1"));
    assert_non_null(strstr(a.body, "\\u003c=")); /* as a Go server escapes it */
    done(&a);
    o3_world_free(w);
}

/* ---- memory ---- */

static void sizes_are_the_measured_ones(void **state) {
    (void)state;
    static const struct {
        int num_ctx, num_batch;
        double mib;
    } rows[] = {{2048, 8, 270.64},   {2048, 64, 274.04},  {2048, 512, 301.17},  {8192, 512, 403.17},
                {32768, 64, 757.79}, {65536, 8, 1263.61}, {65536, 512, 1355.17}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct o3_world *w = quiet();
        char body[200];
        snprintf(body, sizeof body, "{\"model\":\"o3-small\",\"options\":{\"num_ctx\":%d,\"num_batch\":%d}}",
                 rows[i].num_ctx, rows[i].num_batch);
        struct answer a = ask(w, 0, "/api/generate", body);
        assert_int_equal(a.status, 200);
        done(&a);
        O3_ASSERT_NEAR((double)ps_number(w, 10 * S, "size") / 1048576, rows[i].mib, 0.3);
        assert_int_equal(ps_number(w, 10 * S, "size_vram"), 0);
        o3_world_free(w);
    }
}

static double decode_tps(struct o3_world *w, int64_t t, const char *body) {
    struct answer a = ask(w, t, "/api/generate", body);
    if (a.status != 200) fail_msg("%s", a.body);
    json_t *v = last(&a);
    double tps = (double)(number(v, "eval_count") - 1) * 1e9 / (double)number(v, "eval_duration");
    json_decref(v);
    done(&a);
    return tps;
}

#define MEDIUM(options)                                                                                                \
    "{\"model\":\"sim-medium\",\"prompt\":\"hello\",\"raw\":true,\"stream\":false,\"options\":{\"num_predict\":"       \
    "32" options "}}"

static void a_gpu_spills_and_slows(void **state) {
    (void)state;
    struct o3_world *w = world_with((struct o3_world_params){.has_gpu = true, .vram_bytes = (int64_t)8 << 30});
    double full = decode_tps(w, 0, MEDIUM(",\"num_ctx\":4096"));
    O3_ASSERT_NEAR(full, 22, 0.5);
    assert_int_equal(ps_number(w, 20 * S, "size"), ps_number(w, 20 * S, "size_vram"));
    double spilled = decode_tps(w, 30 * S, MEDIUM(",\"num_ctx\":65536"));
    int64_t size = ps_number(w, 60 * S, "size"), vram = ps_number(w, 60 * S, "size_vram");
    assert_true(vram < size && vram > (int64_t)6 << 30);
    assert_true(spilled < full * 0.6);
    double on_cpu = decode_tps(w, 90 * S, MEDIUM(",\"num_ctx\":4096,\"num_gpu\":0"));
    assert_int_equal(ps_number(w, 120 * S, "size_vram"), 0);
    O3_ASSERT_NEAR(on_cpu, full / 6, 0.2);
    o3_world_free(w);
    /* The automatic context follows the memory of the GPU. */
    w = world_with((struct o3_world_params){.has_gpu = true});
    decode_tps(w, 0, MEDIUM(""));
    assert_int_equal(ps_number(w, 20 * S, "context_length"), 32768);
    o3_world_free(w);
}

static void too_large_a_load_evicts_and_fails(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    assert_int_equal(o3_world_preload(w, "o3-tiny", 4096, 0, NULL), 0);
    struct answer a = ask(
        w, S, "/api/generate",
        "{\"model\":\"o3-bigctx\",\"prompt\":\"hi\",\"options\":{\"num_ctx\":33554432,\"num_batch\":64}}");
    assert_int_equal(a.status, 500);
    assert_non_null(strstr(a.body, "failed to allocate buffer of size 68719476736\\nalloc_tensor_range"));
    assert_non_null(strstr(a.body, "attempted to allocate 65536.00 MB"));
    assert_true(a.end_ns - S >= 3500 * MS && a.end_ns - S <= 9100 * MS);
    done(&a);
    expect(w, 20 * S, "/api/ps", NULL, 200, "{\"models\":[]}");
    o3_world_free(w);
}

static void at_most_three_are_loaded(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    decode_tps(w, 0, WITH(""));
    decode_tps(w, 20 * S, "{\"model\":\"o3-small\",\"prompt\":\"x\",\"options\":{\"num_predict\":2}}");
    decode_tps(w, 40 * S, "{\"model\":\"sim-small\",\"prompt\":\"x\",\"options\":{\"num_predict\":2}}");
    assert_int_equal(truth(w).n_loaded, 3);
    decode_tps(w, 60 * S, MEDIUM(""));
    assert_int_equal(truth(w).n_loaded, 3);
    assert_int_equal(truth(w).n_unloads, 1);
    o3_world_free(w);
}

/* ---- keep-alive ---- */

/* Seconds from t to expires_at of the first model; -1: nothing loaded. */
static double left_s(struct o3_world *w, int64_t t) {
    struct answer a = ask(w, t, "/api/ps", NULL);
    json_t *v = last(&a);
    const json_t *m = json_array_get(json_object_get(v, "models"), 0);
    int64_t at_ms = 0;
    double left = -1;
    if (m) {
        assert_true(o3_rfc3339_parse(text(m, "expires_at"), &at_ms));
        left = (double)(at_ms - 1795233966161 - t / MS) / 1000;
    }
    json_decref(v);
    done(&a);
    return left;
}

static void keep_alive_rules(void **state) {
    (void)state;
    static const struct {
        const char *field;
        double seconds;
    } rows[] = {{"\"30s\"", 30}, {"45", 45},         {"1.5", 1.5},       {"\"1h30m\"", 5400},    {"\"250ms\"", 0.25},
                {"null", 300},   {"\"1.5h\"", 5400}, {"-1", 9223372036}, {"\"-1m\"", 9223372036}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct o3_world *w = quiet();
        char body[160];
        snprintf(body, sizeof body,
                 "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"keep_alive\":%s,\"options\":{\"num_predict\":2}}",
                 rows[i].field);
        struct answer a = ask(w, 0, "/api/generate", body);
        int64_t end = a.end_ns;
        done(&a);
        O3_ASSERT_NEAR(left_s(w, end + MS), rows[i].seconds, 0.1);
        o3_world_free(w);
    }
}

static void keep_alive_is_remembered(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/generate", TINY("\"options\":{\"num_predict\":2}"));
    done(&a);
    O3_ASSERT_NEAR(left_s(w, 10 * S), 290, 1);
    a = ask(w, 20 * S, "/api/generate", TINY("\"keep_alive\":\"40s\",\"options\":{\"num_predict\":2}"));
    done(&a);
    a = ask(w, 50 * S, "/api/generate", TINY("\"options\":{\"num_predict\":2}"));
    done(&a);
    O3_ASSERT_NEAR(left_s(w, 51 * S), 39, 1); /* not five minutes */
    /* A load-only request sets it back. */
    a = ask(w, 60 * S, "/api/generate", "{\"model\":\"o3-tiny\",\"keep_alive\":\"5m\"}");
    assert_non_null(strstr(a.body, "\"done_reason\":\"load\""));
    done(&a);
    O3_ASSERT_NEAR(left_s(w, 61 * S), 299, 1);
    /* It goes by itself when the time is over. */
    O3_ASSERT_NEAR(left_s(w, 359 * S), 1, 1);
    O3_ASSERT_NEAR(left_s(w, 362 * S), -1, 0);
    assert_int_equal(truth(w).n_unloads, 1);
    o3_world_free(w);
}

static void expiry_is_stale_while_busy(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/generate", WITH(""));
    done(&a);
    double before = left_s(w, 10 * S);
    post(w, 10 * S, "/api/generate", TINY("\"keep_alive\":3600,\"options\":{\"num_predict\":20000}"));
    O3_ASSERT_NEAR(left_s(w, 30 * S), before - 20, 0.1);
    o3_world_free(w);
}

static void unloading(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/generate", TINY("\"keep_alive\":0,\"options\":{\"num_predict\":4}"));
    assert_int_equal(a.n_data, 5);
    done(&a);
    O3_ASSERT_NEAR(left_s(w, 10 * S), -1, 0);
    a = ask(w, 20 * S, "/api/generate", WITH(""));
    done(&a);
    a = ask(w, 30 * S, "/api/generate", "{\"model\":\"o3-tiny\",\"keep_alive\":0}");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"response\":\"\",\"done\":true,\"done_reason\":\"unload\"}"));
    done(&a);
    O3_ASSERT_NEAR(left_s(w, 31 * S), -1, 0);
    /* Unloading what is not loaded is fine. */
    a = ask(w, 40 * S, "/api/generate", "{\"model\":\"o3-tiny\",\"keep_alive\":\"0s\"}");
    assert_int_equal(a.status, 200);
    done(&a);
    a = ask(w, 41 * S, "/api/chat", "{\"model\":\"o3-tiny\",\"keep_alive\":0}");
    assert_non_null(strstr(
        a.body, "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"unload\""));
    done(&a);
    o3_world_free(w);
}

static void ps_is_empty_while_a_model_loads(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    post(w, 0, "/api/generate", "{\"model\":\"sim-medium\",\"prompt\":\"x\",\"options\":{\"num_predict\":2}}");
    expect(w, S, "/api/ps", NULL, 200, "{\"models\":[]}");
    assert_int_equal(ps_number(w, 15 * S, "context_length"), 4096);
    o3_world_free(w);
}

/* ---- prompts ---- */

struct figures {
    int64_t count, prompt_ns, rest_ns;
};

static struct figures prompt_figures(struct o3_world *w, int64_t t, const char *prefix, const char *suffix) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    o3_buf_addf(&b,
                "{\"model\":\"o3-small\",\"raw\":true,\"stream\":false,\"options\":{\"num_predict\":2},\"prompt\":\"%s",
                prefix);
    for (int i = 0; i < 780; i++)
        o3_buf_adds(&b, " word");
    o3_buf_addf(&b, "%s\"}", suffix);
    struct answer a = ask(w, t, "/api/generate", o3_buf_str(&b));
    json_t *v = last(&a);
    struct figures f = {number(v, "prompt_eval_count"), number(v, "prompt_eval_duration"), 0};
    f.rest_ns = number(v, "total_duration") - number(v, "load_duration") - f.prompt_ns - number(v, "eval_duration");
    json_decref(v);
    done(&a);
    return f;
}

static void the_prompt_cache_hides_what_it_saves(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct figures first = prompt_figures(w, 0, "", "");
    assert_int_equal(first.count, 781);
    O3_ASSERT_NEAR(781e9 / (double)first.prompt_ns, 152, 12);
    assert_true(first.rest_ns >= 8 * MS && first.rest_ns <= 20 * MS);
    struct figures again = prompt_figures(w, 20 * S, "", "");
    assert_int_equal(again.count, 781);
    assert_true(again.prompt_ns < 40 * MS);
    struct figures nonce = prompt_figures(w, 40 * S, "x7", "");
    assert_int_equal(nonce.count, 782);
    assert_true(nonce.prompt_ns > 4500 * MS);
    struct figures at_end = prompt_figures(w, 60 * S, "", " x7 x8 x9");
    assert_true(at_end.prompt_ns < 200 * MS);
    /* After another prompt the first is still there: the host's prompt cache. */
    assert_true(prompt_figures(w, 80 * S, "", "").prompt_ns < 200 * MS);
    o3_world_free(w);
    /* Before 0.30 a slot remembers the last prompt only. */
    w = world_with((struct o3_world_params){.version = "0.24.0", .has_recorded_models = true});
    prompt_figures(w, 0, "", "");
    assert_true(prompt_figures(w, 20 * S, "", "").prompt_ns < 40 * MS);
    prompt_figures(w, 40 * S, "x7", "");
    assert_true(prompt_figures(w, 60 * S, "", "").prompt_ns > 4500 * MS);
    o3_world_free(w);
}

static void a_conversation_finds_its_prefix(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    for (int i = 0; i < 400; i++)
        o3_buf_adds(&b, " word");
    json_t *rq = json_pack("{s:s,s:b,s:[{s:s,s:s}],s:{s:i}}", "model", "o3-small", "stream", 0, "messages", "role",
                           "user", "content", o3_buf_str(&b), "options", "num_predict", 20);
    char *body = json_dumps(rq, 0);
    struct answer a = ask(w, 0, "/api/chat", body);
    json_t *v = last(&a);
    int64_t first_ns = number(v, "prompt_eval_duration"), first_n = number(v, "prompt_eval_count");
    json_array_append(json_object_get(rq, "messages"), json_object_get(v, "message"));
    json_array_append_new(json_object_get(rq, "messages"), json_pack("{s:s,s:s}", "role", "user", "content", "more"));
    free(body);
    json_decref(v);
    done(&a);
    body = json_dumps(rq, 0);
    a = ask(w, 30 * S, "/api/chat", body);
    v = last(&a);
    assert_true(number(v, "prompt_eval_count") > first_n + 20);
    assert_true(number(v, "prompt_eval_duration") < first_ns / 10);
    assert_null(json_object_get(v, "context"));
    free(body);
    json_decref(v);
    json_decref(rq);
    done(&a);
    o3_world_free(w);
}

static void long_prompts(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    O3_AUTO_BUF words, b;
    o3_buf_init(&words, 1 << 20);
    o3_buf_init(&b, 1 << 20);
    for (int i = 0; i < 600; i++)
        o3_buf_adds(&words, " bada");
#define LONG                                                                                                           \
    "{\"model\":\"o3-tiny\",%s\"stream\":false,\"prompt\":\"%s\",\"options\":{\"num_ctx\":512,\"num_predict\":2}}"
    o3_buf_addf(&b, LONG, "", o3_buf_str(&words));
    struct answer a = ask(w, 0, "/api/generate", o3_buf_str(&b));
    json_t *v = last(&a);
    assert_int_equal(number(v, "prompt_eval_count"), 259);
    json_decref(v);
    done(&a);
    o3_buf_clear(&b);
    o3_buf_addf(&b, LONG, "\"truncate\":false,", o3_buf_str(&words));
    a = ask(w, 20 * S, "/api/generate", o3_buf_str(&b));
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(
        a.body,
        "{\"error\":\"{\\\"error\\\":{\\\"code\\\":400,\\\"message\\\":\\\"request (610 tokens) exceeds the "
        "available context size (512 tokens), try increasing it\\\",\\\"type\\\":\\\"exceed_context_size_error\\\","
        "\\\"n_prompt_tokens\\\":610,\\\"n_ctx\\\":512}}\"}"));
    done(&a);
    o3_buf_clear(&b);
    o3_buf_addf(&b, LONG, "\"shift\":false,", o3_buf_str(&words));
    expect_error(w, 40 * S, "/api/generate", o3_buf_str(&b), 400, "the prompt is longer than the context length");
    o3_world_free(w);
}

static int64_t eval_count(struct o3_world *w, int64_t t, const char *body, const char *reason) {
    struct answer a = ask(w, t, "/api/generate", body);
    json_t *v = last(&a);
    int64_t n = number(v, "eval_count");
    assert_string_equal(text(v, "done_reason"), reason);
    json_decref(v);
    done(&a);
    return n;
}

static void limits_of_generation(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    assert_int_equal(
        eval_count(w, 0, TINY("\"stream\":false,\"options\":{\"num_ctx\":64,\"num_predict\":-2}"), "length"), 640);
    assert_int_equal(
        eval_count(w, 20 * S, TINY("\"stream\":false,\"options\":{\"num_ctx\":64,\"num_predict\":100000}"), "length"),
        640);
    assert_int_equal(eval_count(w, 40 * S, TINY("\"stream\":false,\"options\":{\"num_ctx\":64}"), "length"), 640);
    assert_int_equal(
        eval_count(w, 60 * S, TINY("\"stream\":false,\"shift\":false,\"options\":{\"num_ctx\":64}"), "length"), 52);
    /* A real answer ends by itself, but never before 96 tokens. */
    int64_t n = eval_count(w, 80 * S, "{\"model\":\"sim-small\",\"prompt\":\"x\",\"stream\":false}", "stop");
    assert_true(n >= 96 && n < 2000);
    /* 0 is unlimited: nothing but the client ends it. */
    uint64_t id = post(w, 200 * S, "/api/generate", TINY("\"options\":{\"num_ctx\":64,\"num_predict\":0}"));
    struct answer a = {0};
    run(w, 230 * S, id, &a, 1);
    assert_true(a.n_data > 5000 && !a.is_ended);
    done(&a);
    o3_world_free(w);
}

static void repeated_tokens_end_a_stream(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/generate",
                          "{\"model\":\"o3-loop\",\"prompt\":\"bada\",\"options\":{\"num_predict\":100}}");
    assert_int_equal(a.status, 200);
    assert_int_equal(a.n_data, 31);
    assert_null(strstr(a.body, "\"done\":true"));
    assert_false(a.is_cut);
    done(&a);
    a = ask(w, 10 * S, "/api/chat",
            "{\"model\":\"o3-loop\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"options\":{\"num_predict\":"
            "100}}");
    assert_int_equal(a.n_data, 101);
    done(&a);
    o3_world_free(w);
}

static void texts_repeat_and_differ(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    static const char fixed[] =
        "{\"model\":\"o3-tiny\",\"prompt\":\"a\",\"stream\":false,\"options\":{\"num_predict\":8,\"temperature\":0}}";
    struct answer a = ask(w, 0, "/api/generate", fixed), b = ask(w, 10 * S, "/api/generate", fixed);
    json_t *x = last(&a), *y = last(&b);
    assert_string_equal(text(x, "response"), text(y, "response"));
    json_decref(y);
    done(&b);
    b = ask(
        w, 20 * S, "/api/generate",
        "{\"model\":\"o3-tiny\",\"prompt\":\"b\",\"stream\":false,\"options\":{\"num_predict\":8,\"temperature\":0}}");
    y = last(&b);
    assert_string_not_equal(text(x, "response"), text(y, "response"));
    json_decref(x);
    json_decref(y);
    done(&a);
    done(&b);
    o3_world_free(w);
}

/* ---- thinking, embeddings, the library ---- */

static void thinking(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/generate",
                          "{\"model\":\"sim-think\",\"prompt\":\"x\",\"options\":{\"num_predict\":8}}");
    assert_non_null(strstr(a.body, "\"response\":\"\",\"thinking\":\" "));
    done(&a);
    a = ask(w, 20 * S, "/api/chat",
            "{\"model\":\"sim-think\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"options\":{\"num_"
            "predict\":200}}");
    char *thought = strstr(a.body, "\"content\":\"\",\"thinking\":\""), *said = strstr(a.body, "\"content\":\" ");
    assert_true(thought && said && thought < said);
    done(&a);
    a = ask(w, 60 * S, "/api/generate",
            "{\"model\":\"sim-think\",\"prompt\":\"x\",\"think\":false,\"options\":{\"num_predict\":8}}");
    assert_null(strstr(a.body, "thinking"));
    done(&a);
    o3_world_free(w);
    /* An older server does not know the field. */
    w = world_with((struct o3_world_params){.version = "0.8.0"});
    a = ask(w, 0, "/api/generate",
            "{\"model\":\"sim-small\",\"prompt\":\"x\",\"think\":true,\"options\":{\"num_predict\":2}}");
    assert_int_equal(a.status, 200);
    done(&a);
    assert_int_equal(ps_number(w, 20 * S, "context_length"), -1);
    o3_world_free(w);
}

static void embeddings(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/embed", "{\"model\":\"o3-embed\",\"input\":[\"hello world\",\"second\"]}");
    assert_int_equal(a.status, 200);
    json_t *v = last(&a);
    const json_t *list = json_object_get(v, "embeddings");
    assert_int_equal(json_array_size(list), 2);
    double square = 0;
    for (size_t i = 0; i < 128; i++)
        square += pow(json_real_value(json_array_get(json_array_get(list, 0), i)), 2);
    O3_ASSERT_NEAR(square, 1, 1e-6);
    assert_true(number(v, "prompt_eval_count") > 4);
    assert_true(number(v, "total_duration") > number(v, "load_duration"));
    assert_null(json_object_get(v, "eval_count"));
    json_decref(v);
    done(&a);
    assert_int_equal(ps_number(w, 10 * S, "context_length"), 512);
    expect(w, 20 * S, "/api/embed", "{\"model\":\"o3-embed\",\"input\":\"\"}", 200,
           "{\"model\":\"o3-embed\",\"embeddings\":[]}");
    o3_world_free(w);
}

#define EMBED(options) "{\"model\":\"o3-embed\",\"input\":\"hello\",\"options\":{" options "}}"

/* Every pair was tried on a real 0.32.15 with a model of context length 512. */
static void embedding_reload_rules(void **state) {
    (void)state;
    static const char *const FIRST[] = {EMBED(""), EMBED("\"num_ctx\":512"), EMBED("\"num_ctx\":256"),
                                        EMBED("\"num_ctx\":512,\"num_batch\":256")};
    static const char *const SECOND[] = {EMBED(""),
                                         EMBED("\"num_ctx\":512"),
                                         EMBED("\"num_ctx\":512,\"num_batch\":512"),
                                         EMBED("\"num_batch\":512"),
                                         EMBED("\"num_ctx\":256"),
                                         EMBED("\"num_ctx\":256,\"num_batch\":256"),
                                         EMBED("\"num_ctx\":512,\"num_batch\":256")};
    static const char *const KEPT[] = {"1000000", "0111000", "0000110", "0000001"}; /* 1: not loaded again */
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 7; k++)
            if (reloads_at("/api/embed", FIRST[i], SECOND[k], (struct o3_world_params){0}) != (KEPT[i][k] == '0'))
                fail_msg("%s\n then %s\n expected %s", FIRST[i], SECOND[k], KEPT[i][k] == '0' ? "a reload" : "none");
}

static void derived_models_share_the_runner(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(
        w, 0, "/api/create",
        "{\"model\":\"tuned\",\"from\":\"o3-small\",\"parameters\":{\"num_ctx\":8192,\"num_batch\":256}}");
    assert_string_equal(a.type, "application/x-ndjson");
    assert_int_equal(a.n_data, 4);
    assert_non_null(strstr(a.body, "{\"status\":\"writing manifest\"}\n{\"status\":\"success\"}\n"));
    done(&a);
    a = ask(w, 0, "/api/show", "{\"model\":\"tuned\"}");
    assert_non_null(
        strstr(a.body, "\"parameters\":\"num_batch                      256\\nnum_ctx                        8192\""));
    assert_non_null(strstr(a.body, "PARAMETER num_ctx 8192\\n"));
    assert_non_null(strstr(a.body, "\"parent_model\":\"o3-small:latest\""));
    done(&a);
    decode_tps(w, S, "{\"model\":\"tuned\",\"prompt\":\"x\",\"options\":{\"num_predict\":2}}");
    assert_int_equal(ps_number(w, 10 * S, "context_length"), 8192);
    /* The base with its defaults takes the place... */
    decode_tps(w, 20 * S, "{\"model\":\"o3-small\",\"prompt\":\"x\",\"options\":{\"num_predict\":2}}");
    assert_int_equal(truth(w).n_reloads, 1);
    assert_int_equal(truth(w).n_loaded, 1);
    /* ...and with equal options they share, under the name that loaded it. */
    decode_tps(
        w, 40 * S,
        "{\"model\":\"tuned\",\"prompt\":\"x\",\"options\":{\"num_predict\":2,\"num_ctx\":4096,\"num_batch\":512}}");
    assert_int_equal(truth(w).n_reloads, 1);
    a = ask(w, 50 * S, "/api/ps", NULL);
    assert_non_null(strstr(a.body, "\"name\":\"o3-small:latest\""));
    done(&a);
    expect(w, 60 * S, "/api/create",
           "{\"model\":\"bad\",\"from\":\"o3-tiny\",\"parameters\":{\"num_ctx\":\"abc\"},\"stream\":false}", 200,
           "{\"status\":\"success\"}");
    expect_error(w, 61 * S, "/api/generate", "{\"model\":\"bad\",\"prompt\":\"x\"}", 500,
                 "option \"num_ctx\" must be of type integer");
    a = ask_as(w, 62 * S, "DELETE", "/api/delete", "{\"model\":\"bad\"}");
    assert_int_equal(a.status, 200);
    assert_null(a.type);
    assert_int_equal(a.n, 0);
    done(&a);
    expect_error(w, 63 * S, "/api/generate", "{\"model\":\"bad\",\"prompt\":\"x\"}", 404, "model 'bad' not found");
    a = ask(w, 64 * S, "/api/create", "{\"model\":\"x1\",\"from\":\"nope\"}");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "{\"status\":\"pulling manifest\"}\n{\"error\":\"pull model manifest:"));
    done(&a);
    o3_world_free(w);
}

/* ---- busy ---- */

static void requests_wait_for_the_slot(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    assert_int_equal(o3_world_preload(w, "sim-small", 4096, 0, NULL), 0);
    static const char body[] = "{\"model\":\"sim-small\",\"prompt\":\"x\",\"raw\":true,\"stream\":false,\"options\":{"
                               "\"num_ctx\":4096,\"num_predict\":80}}";
    uint64_t first = post(w, S, "/api/generate", body);
    post(w, S + 100 * MS, "/api/generate", body);
    struct answer a[2] = {{0}};
    run(w, 60 * S, first, a, 2);
    assert_true(a[0].is_ended && a[1].is_ended);
    json_t *v = last(&a[1]);
    int64_t wait = number(v, "total_duration") - number(v, "load_duration") - number(v, "prompt_eval_duration") -
                   number(v, "eval_duration");
    assert_true(wait > 1700 * MS && wait < 2100 * MS);
    O3_ASSERT_NEAR((double)(number(v, "eval_count") - 1) * 1e9 / (double)number(v, "eval_duration"), 40, 0.5);
    assert_true(number(v, "load_duration") < 6 * MS); /* the wait for a slot is not in it */
    json_decref(v);
    done(&a[0]);
    done(&a[1]);
    o3_world_free(w);
    /* Two slots share the machine. */
    w = world_with((struct o3_world_params){.parallel = 2});
    assert_int_equal(o3_world_preload(w, "sim-small", 4096, 0, NULL), 0);
    first = post(w, S, "/api/generate", body);
    post(w, S, "/api/generate", body);
    run(w, 60 * S, first, a, 2);
    v = last(&a[1]);
    O3_ASSERT_NEAR((double)(number(v, "eval_count") - 1) * 1e9 / (double)number(v, "eval_duration"), 40 / 1.56, 1.5);
    json_decref(v);
    done(&a[0]);
    done(&a[1]);
    o3_world_free(w);
}

static int n_with_status(const struct answer *a, size_t n, int status) {
    int count = 0;
    for (size_t i = 0; i < n; i++)
        count += a[i].is_ended && a[i].status == status;
    return count;
}

static void the_queue_bounds_loads_only(void **state) {
    (void)state;
    struct o3_world *w = world_with((struct o3_world_params){.max_queue = 1, .has_recorded_models = true});
    struct answer a[12] = {{0}};
    uint64_t first = 0;
    for (int i = 0; i < 12; i++) { /* cold */
        uint64_t id = post(w, i * MS, "/api/generate", WITH(""));
        if (i == 0) first = id;
    }
    run(w, 60 * S, first, a, 12);
    assert_int_equal(n_with_status(a, 12, 200), 2);
    assert_int_equal(n_with_status(a, 12, 503), 10);
    assert_string_equal(a[11].body,
                        "{\"error\":\"server busy, please try again.  maximum pending requests exceeded\"}");
    for (int i = 0; i < 12; i++)
        done(&a[i]);
    for (int i = 0; i < 12; i++) { /* loaded, fitting options */
        uint64_t id = post(w, 70 * S + i * MS, "/api/generate", WITH(""));
        if (i == 0) first = id;
    }
    run(w, 120 * S, first, a, 12);
    assert_int_equal(n_with_status(a, 12, 200), 12);
    for (int i = 0; i < 12; i++)
        done(&a[i]);
    for (int i = 0; i < 12; i++) { /* each wants another context */
        char body[120];
        snprintf(body, sizeof body,
                 "{\"model\":\"o3-tiny\",\"prompt\":\"x\",\"options\":{\"num_predict\":5,\"num_ctx\":%d}}", 9000 + i);
        uint64_t id = post(w, 130 * S + i * MS, "/api/generate", body);
        if (i == 0) first = id;
    }
    run(w, 180 * S, first, a, 12);
    assert_int_equal(n_with_status(a, 12, 200), 2);
    assert_int_equal(n_with_status(a, 12, 503), 10);
    for (int i = 0; i < 12; i++)
        done(&a[i]);
    o3_world_free(w);
}

static void a_reload_waits_for_the_running(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    assert_int_equal(o3_world_preload(w, "sim-small", 4096, 0, NULL), 0);
    uint64_t first = post(
        w, S, "/api/generate",
        "{\"model\":\"sim-small\",\"prompt\":\"x\",\"options\":{\"num_ctx\":4096,\"num_predict\":80}}");
    post(w, S + 500 * MS, "/api/generate",
         "{\"model\":\"sim-small\",\"prompt\":\"x\",\"options\":{\"num_ctx\":8192,\"num_predict\":4}}");
    struct answer a[2] = {{0}};
    run(w, 60 * S, first, a, 2);
    assert_int_equal(a[0].n_data, 81);
    json_t *v = last(&a[1]);
    /* load_duration holds the wait for the running request and the load of 2 GB. */
    assert_true(number(v, "load_duration") > 5 * S);
    assert_true(a[1].head_ns > a[0].end_ns);
    json_decref(v);
    done(&a[0]);
    done(&a[1]);
    o3_world_free(w);
}

static void clients_that_leave(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    assert_int_equal(o3_world_preload(w, "sim-small", 4096, 0, NULL), 0);
    static const char body[] =
        "{\"model\":\"sim-small\",\"prompt\":\"x\",\"options\":{\"num_ctx\":4096,\"num_predict\":80}}";
    uint64_t first = post(w, S, "/api/generate", body);
    uint64_t waiting = post(w, S + 10 * MS, "/api/generate", body); /* which of one moment is first is chance */
    uint64_t third = post(w, S + 20 * MS, "/api/generate", body);
    struct answer a[3] = {{0}};
    run(w, 2 * S, first, a, 3);
    o3_world_disconnect(w, 2 * S, waiting);
    o3_world_disconnect(w, 2 * S, first);
    run(w, 30 * S, first, a, 3);
    assert_false(a[0].is_ended);
    assert_int_equal(a[1].n_data, 0);
    assert_true(a[2].is_ended);
    assert_true(a[2].head_ns > 2130 * MS && a[2].head_ns < 2300 * MS); /* the slot was free 130 ms later */
    (void)third;
    for (int i = 0; i < 3; i++)
        done(&a[i]);
    /* During a load: it is given up. */
    uint64_t id = post(w, 40 * S, "/api/generate", "{\"model\":\"sim-medium\",\"prompt\":\"x\"}");
    run(w, 42 * S, id, a, 1);
    o3_world_disconnect(w, 42 * S, id);
    run(w, 80 * S, id, a, 1);
    assert_int_equal(truth(w).n_loaded, 1);
    assert_int_equal(truth(w).n_active_requests, 0);
    o3_world_free(w);
}

/* ---- events ---- */

static struct o3_world *eventful(const char *line) {
    struct o3_world *w = quiet();
    struct o3_err e = {0};
    if (o3_world_add_event(w, line, &e) < 0) fail_msg("%s: %s", line, e.text);
    assert_int_equal(o3_world_preload(w, "sim-small", 4096, 0, NULL), 0);
    return w;
}

#define SMALL                                                                                                          \
    "{\"model\":\"sim-small\",\"prompt\":\"x\",\"raw\":true,\"options\":{\"num_ctx\":4096,\"num_predict\":40}}"

#define LARGE                                                                                                          \
    "{\"model\":\"sim-small\",\"prompt\":\"x\",\"raw\":true,\"options\":{\"num_ctx\":8192,\"num_predict\":40}}"

static void events_change_rates(void **state) {
    (void)state;
    struct o3_world *w = eventful("at 1m decode -40 %");
    assert_int_equal(o3_world_add_event(w, "at 2m decode 10 tok/s for 1m", NULL), 0);
    assert_int_equal(o3_world_add_event(w, "at 2m decode +50 % model=sim-medium", NULL), 0);
    O3_ASSERT_NEAR(decode_tps(w, 10 * S, SMALL), 40, 0.5);
    O3_ASSERT_NEAR(decode_tps(w, 70 * S, SMALL), 24, 0.5);
    O3_ASSERT_NEAR(decode_tps(w, 130 * S, SMALL), 10, 0.3);
    O3_ASSERT_NEAR(decode_tps(w, 190 * S, SMALL), 24, 0.5);
    struct o3_world_truth t;
    o3_world_truth(w, 200 * S, &t);
    O3_ASSERT_NEAR(t.decode_factor, 0.6, 1e-9);
    struct o3_err e = {0};
    assert_true(o3_world_add_event(w, "at 2m load nope", &e) < 0);
    assert_non_null(strstr(e.text, "nope"));
    assert_true(o3_world_add_event(w, "at 2m decode", &e) < 0);
    assert_int_equal(e.col, 13);
    o3_world_free(w);
    w = eventful("at 30s ttft +200ms for 30s");
    struct answer a = ask(w, 10 * S, "/api/generate", SMALL), b = ask(w, 40 * S, "/api/generate", SMALL);
    O3_ASSERT_NEAR((double)((b.head_ns - 40 * S) - (a.head_ns - 10 * S)) / 1e6, 200, 36);
    done(&a);
    done(&b);
    o3_world_free(w);
}

static void events_break_the_server(void **state) {
    (void)state;
    struct o3_world *w = eventful("at 1m http 503 for 10m");
    expect_error(w, 90 * S, "/api/version", "", 503, "trouble");
    struct answer a = ask(w, 700 * S, "/api/version", NULL);
    assert_int_equal(a.status, 200);
    done(&a);
    o3_world_free(w);

    w = eventful("at 1m refuse for 30s");
    uint64_t id = post(w, 59 * S, "/api/generate", SMALL);
    struct answer both[2] = {{0}};
    run(w, 61 * S, id, both, 2);
    assert_true(both[0].is_cut && both[0].n_data > 10 && both[0].end_ns == 60 * S);
    done(&both[0]);
    a = ask(w, 70 * S, "/api/version", NULL);
    assert_true(a.is_cut);
    done(&a);
    expect(w, 100 * S, "/api/version", NULL, 200, "{\"version\":\"0.32.15\"}");
    o3_world_free(w);

    w = eventful("at 1m hang for 30s");
    id = post(w, 59 * S + 500 * MS, "/api/generate", SMALL);
    run(w, 89 * S, id, both, 1);
    assert_true(both[0].n_data > 5 && both[0].n_data < 40);
    expect(w, 89 * S, "/api/version", NULL, 200, "{\"version\":\"0.32.15\"}");
    run(w, 95 * S, id, both, 1);
    assert_true(both[0].is_ended && both[0].n_data == 41);
    done(&both[0]);
    o3_world_free(w);

    w = eventful("at 1m freeze for 30s");
    a = ask(w, 70 * S, "/api/version", NULL);
    assert_true(a.end_ns >= 90 * S);
    done(&a);
    o3_world_free(w);

    w = eventful("at 1m truncate-stream for 30s");
    a = ask(w, 70 * S, "/api/generate", SMALL);
    assert_int_equal(a.n_data, 20);
    assert_null(strstr(a.body, "\"done\":true"));
    done(&a);
    o3_world_free(w);

    w = eventful("at 1m malformed for 30s");
    a = ask(w, 70 * S, "/api/version", NULL);
    assert_null(json_loads(a.body, 0, NULL));
    done(&a);
    a = ask(w, 71 * S, "/api/generate", SMALL);
    assert_int_equal(a.n_data, 41);
    assert_int_equal(a.body[a.n - 1], '\n');
    assert_null(json_loads(a.body, JSON_DISABLE_EOF_CHECK, NULL));
    done(&a);
    o3_world_free(w);
}

static void events_load_and_unload(void **state) {
    (void)state;
    struct o3_world *w = eventful("at 1m unload");
    assert_int_equal(o3_world_add_event(w, "at 2m load sim-small ctx 8192", NULL), 0);
    assert_int_equal(o3_world_next_ns(w), 60 * S);
    O3_ASSERT_NEAR(left_s(w, 61 * S), -1, 0);
    assert_int_equal(ps_number(w, 130 * S, "context_length"), 8192);
    o3_world_free(w);

    w = eventful("at 1m runner killed");
    uint64_t id = post(w, 59 * S + 500 * MS, "/api/generate", SMALL);
    struct answer a = {0};
    run(w, 61 * S, id, &a, 1);
    assert_true(a.is_ended && a.status == 200);
    static const char error[] = "{\"error\":\"an error was encountered while running the model: unexpected EOF\"}\n";
    assert_string_equal(a.body + a.n - strlen(error), error);
    done(&a);
    O3_ASSERT_NEAR(left_s(w, 62 * S), 298, 1); /* a dead runner is still listed... */
    decode_tps(w, 70 * S, SMALL);              /* ...and quietly loaded again */
    assert_int_equal(truth(w).n_reloads, 1);
    o3_world_free(w);

    w = eventful("at 1m version 0.33.0");
    id = post(w, 59 * S + 500 * MS, "/api/generate", SMALL);
    run(w, 61 * S, id, &a, 1);
    assert_true(a.is_cut);
    done(&a);
    expect(w, 62 * S, "/api/version", NULL, 200, "{\"version\":\"0.33.0\"}");
    expect(w, 62 * S, "/api/ps", NULL, 200, "{\"models\":[]}");
    o3_world_free(w);

    w = eventful("at 1m update sim-small");
    a = ask(w, 61 * S, "/api/tags", NULL);
    struct answer b = ask(w, 30 * S, "/api/ps", NULL);
    done(&a);
    done(&b);
    decode_tps(w, 70 * S, SMALL);
    assert_int_equal(truth(w).n_loads, 2);
    o3_world_free(w);

    w = world_with((struct o3_world_params){.has_gpu = true});
    assert_int_equal(o3_world_add_event(w, "at 1m gpu lost for 1m", NULL), 0);
    O3_ASSERT_NEAR(decode_tps(w, 0, SMALL), 40, 0.5);
    O3_ASSERT_NEAR(decode_tps(w, 70 * S, SMALL), 40.0 / 6, 0.2);
    assert_int_equal(ps_number(w, 90 * S, "size_vram"), 0);
    /* A GPU that is back is taken by the next load; what runs stays where it is. */
    int64_t n_loads = truth(w).n_loads;
    assert_int_equal(truth(w).n_api_revivals, 1);
    O3_ASSERT_NEAR(decode_tps(w, 150 * S, SMALL), 40.0 / 6, 0.2);
    assert_int_equal(truth(w).n_loads, n_loads);
    o3_world_free(w);

    /* A runner that died is one thing, other options are another. */
    w = eventful("at 1m runner killed");
    assert_int_equal(truth(w).n_api_loads, 0);
    (void)decode_tps(w, 70 * S, SMALL);
    assert_true(truth(w).n_api_loads == 1 && truth(w).n_api_revivals == 1);
    assert_int_equal(o3_world_add_event(w, "at 2m runner killed", NULL), 0);
    (void)decode_tps(w, 130 * S, LARGE);
    assert_true(truth(w).n_api_loads == 2 && truth(w).n_api_revivals == 1);
    (void)decode_tps(w, 140 * S, SMALL);
    assert_true(truth(w).n_api_loads == 3 && truth(w).n_api_revivals == 1);
    o3_world_free(w);
}

/* ---- the whole ---- */

static uint64_t hash_of_a_day(uint64_t seed) {
    struct o3_world *w = world_with((struct o3_world_params){.seed = seed, .noise_cv = 0.05});
    assert_int_equal(o3_world_add_event(w, "at 18h decode -12 %", NULL), 0);
    assert_int_equal(o3_world_add_event(w, "at 19h http 503 for 10m", NULL), 0);
    uint64_t h = 0xcbf29ce484222325u;
    struct o3_world_output o;
    for (int minute = 0; minute < 24 * 60; minute++) {
        int64_t t = minute * 60 * S;
        char body[160];
        snprintf(body, sizeof body,
                 "{\"model\":\"sim-small\",\"prompt\":\"%d "
                 "hello\",\"raw\":true,\"options\":{\"num_predict\":32,\"temperature\":0}}",
                 minute);
        post(w, t, "/api/generate", body);
        while (o3_world_poll(w, t + 60 * S, &o)) {
            for (size_t i = 0; i < o.n; i++)
                h = (h ^ (unsigned char)o.bytes[i]) * 0x100000001b3u;
            h = (h ^ (uint64_t)o.mono_ns) * 0x100000001b3u;
        }
    }
    struct o3_world_truth t = truth(w);
    assert_int_equal(t.n_loads, 2); /* ten minutes of refusals let it expire once */
    assert_int_equal(t.n_generated_tokens, (24 * 60 - 10) * 32);
    o3_world_free(w);
    return h;
}

static void a_day_repeats_byte_by_byte(void **state) {
    (void)state;
    uint64_t a = hash_of_a_day(11);
    assert_true(a == hash_of_a_day(11));
    assert_true(a != hash_of_a_day(12));
}

static void noise_has_the_size_asked_for(void **state) {
    (void)state;
    struct o3_world *w = world_with((struct o3_world_params){.seed = o3_test_seed(3), .noise_cv = 0.05});
    const int n = 400;
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++) {
        double x = log(decode_tps(w, i * 60 * S, SMALL));
        sum += x;
        square += x * x;
    }
    double mean = sum / n, sd = sqrt(square / n - mean * mean);
    O3_ASSERT_NEAR(exp(mean), 40, 0.6);
    O3_ASSERT_NEAR(sd, 0.05, 0.01);
    o3_world_free(w);
}

/* Whatever comes, it is answered or cut, and the world goes on. */
static void hostile_requests(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    static const char *const bodies[] = {
        "",
        "{",
        "null",
        "7",
        "\"x\"",
        "[]",
        "{\"model\":null}",
        "{\"model\":\"\\u0000\"}",
        "{\"model\":{}}",
        "{\"model\":\"o3-tiny\",\"options\":[]}",
        "{\"model\":\"o3-tiny\",\"options\":{\"stop\":[7]},\"prompt\":\"x\"}",
        "{\"model\":\"o3-tiny\",\"options\":{\"num_ctx\":1e308},\"prompt\":\"x\"}",
        "{\"model\":\"o3-tiny\",\"options\":{\"num_ctx\":-1e308,\"num_keep\":-5},\"prompt\":\"x y z a b c\"}",
        "{\"model\":\"o3-tiny\",\"options\":{\"num_ctx\":8,\"num_keep\":1e15},\"prompt\":\"a b c d e f g h\"}",
        "{\"model\":\"o3-tiny\",\"keep_alive\":1e300,\"prompt\":\"x\",\"options\":{\"num_predict\":1}}",
        "{\"model\":\"o3-tiny\",\"keep_alive\":\"1e9h\"}",
        "{\"model\":\"o3-tiny\",\"keep_alive\":[]}",
        "{\"model\":\"o3-tiny\",\"prompt\":\"\xff\xfe\"}",
        "{\"model\":\"o3-tiny\",\"think\":7}",
        "{\"model\":\"o3-tiny\",\"prompt\":\"\\u0000\\u0000\",\"options\":{\"num_predict\":1}}",
        "{\"model\":\"o3-tiny\",\"messages\":[7]}",
        "{\"model\":\"o3-tiny\",\"messages\":[{\"role\":7}]}",
        "{\"model\":\"o3-embed\",\"input\":[7]}",
        "{\"model\":\"o3-embed\",\"input\":[\"\",\"\\u0000\"],\"dimensions\":-3}",
        "{\"model\":\"../../x\",\"from\":\"o3-tiny\"}",
        "{\"model\":\"x\",\"from\":\"o3-tiny\",\"parameters\":{\"\":{}}}",
        "{\"source\":\"o3-tiny\",\"destination\":\":\"}",
        "{\"model\":\"o3-tiny\",\"context\":[1,2,\"x\"],\"prompt\":\"x\",\"options\":{\"num_predict\":1}}",
    };
    static const char *const paths[] = {"/api/generate",
                                        "/api/chat",
                                        "/api/embed",
                                        "/api/embeddings",
                                        "/api/show",
                                        "/api/create",
                                        "/api/copy",
                                        "/api/delete",
                                        "/api/ps",
                                        "/%00",
                                        ""};
    static const char *const methods[] = {"POST", "GET", "DELETE", "HEAD", "PROPFIND-AND-MORE"};
    int64_t t = 0;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (size_t k = 0; k < sizeof paths / sizeof *paths; k++)
            for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
                struct answer a = {0};
                uint64_t id = o3_world_request(w, t, methods[m], paths[k], bodies[i], strlen(bodies[i]));
                t += 30 * S;
                run(w, t, id, &a, 1);
                assert_true(a.is_ended);
                assert_true(a.is_cut || (a.status >= 200 && a.status <= 501));
                done(&a);
            }
    char *deep = calloc(1, 200001);
    memset(deep, '[', 200000);
    struct answer a = ask(w, t, "/api/generate", deep);
    assert_int_equal(a.status, 400);
    done(&a);
    free(deep);
    size_t n = (size_t)5 << 20;
    char *large = calloc(1, n + 1);
    memset(large, ' ', n);
    a = ask(w, t, "/api/generate", large);
    assert_int_equal(a.status, 413);
    done(&a);
    free(large);
    assert_int_equal(truth(w).n_active_requests, 0);
    o3_world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_answers),
        cmocka_unit_test(refusals),
        cmocka_unit_test(stream_is_what_it_says),
        cmocka_unit_test(rates_without_noise),
        cmocka_unit_test(one_token_has_no_rate),
        cmocka_unit_test(reload_rules),
        cmocka_unit_test(values_accepted),
        cmocka_unit_test(sizes_are_the_measured_ones),
        cmocka_unit_test(a_gpu_spills_and_slows),
        cmocka_unit_test(too_large_a_load_evicts_and_fails),
        cmocka_unit_test(at_most_three_are_loaded),
        cmocka_unit_test(keep_alive_rules),
        cmocka_unit_test(keep_alive_is_remembered),
        cmocka_unit_test(expiry_is_stale_while_busy),
        cmocka_unit_test(unloading),
        cmocka_unit_test(ps_is_empty_while_a_model_loads),
        cmocka_unit_test(the_prompt_cache_hides_what_it_saves),
        cmocka_unit_test(a_conversation_finds_its_prefix),
        cmocka_unit_test(long_prompts),
        cmocka_unit_test(limits_of_generation),
        cmocka_unit_test(repeated_tokens_end_a_stream),
        cmocka_unit_test(texts_repeat_and_differ),
        cmocka_unit_test(thinking),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(embedding_reload_rules),
        cmocka_unit_test(derived_models_share_the_runner),
        cmocka_unit_test(requests_wait_for_the_slot),
        cmocka_unit_test(the_queue_bounds_loads_only),
        cmocka_unit_test(a_reload_waits_for_the_running),
        cmocka_unit_test(clients_that_leave),
        cmocka_unit_test(events_change_rates),
        cmocka_unit_test(events_break_the_server),
        cmocka_unit_test(events_load_and_unload),
        cmocka_unit_test(a_day_repeats_byte_by_byte),
        cmocka_unit_test(noise_has_the_size_asked_for),
        cmocka_unit_test(hostile_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
