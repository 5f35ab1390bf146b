/* SPDX-License-Identifier: Apache-2.0 */
/* A server whose replies hold numbers that no machine has: sums of them must not overflow, whatever is made of them. */
#include "o3/config.h"
#include "o3/sidecar.h"
#include "o3_test.h"

#define CALLS_MAX 4
#define START_WALL_MS 1795219200000LL
#define HUGE_SIZE "4611686018427387904"  /* 2^62 */
#define HUGE_COUNT "9223372036854775807" /* 2^63 - 1 */

struct call {
    uint64_t id;
    char path[64];
};
struct fake {
    struct o3_sidecar *sidecar;
    struct o3_metrics *metrics;
    struct o3_config *config;
    struct call calls[CALLS_MAX];
    int n_calls;
    uint64_t last_id;
    int64_t now_ns;
    const char *ps, *tags, *show, *generate; /* what it answers */
    struct o3_sample last;
    int n_probes, n_looks;
};

static struct o3_now now_of(const struct fake *f) {
    return (struct o3_now){.mono_ns = f->now_ns, .wall_ms = START_WALL_MS + f->now_ns / O3_NS_PER_MS};
}

static uint64_t call_start(void *ctx, const struct o3_sidecar_call *c, int64_t *ret_sent_mono_ns) {
    struct fake *f = ctx;
    *ret_sent_mono_ns = f->now_ns;
    if (f->n_calls == CALLS_MAX) fail_msg("too many calls at once");
    struct call *k = &f->calls[f->n_calls++];
    k->id = ++f->last_id;
    o3_str_copy(k->path, sizeof k->path, c->path);
    return k->id;
}

static void call_cancel(void *ctx, uint64_t id) {
    struct fake *f = ctx;
    for (int i = 0; i < f->n_calls; i++)
        if (f->calls[i].id == id) f->calls[i--] = f->calls[--f->n_calls];
}

static void sense_sockets(void *ctx, struct o3_sidecar_sockets *ret) {
    (void)ctx;
    *ret = (struct o3_sidecar_sockets){.is_readable = false};
}

static size_t sense_runners(void *ctx, bool is_thorough, struct o3_runner_cmdline *out, size_t max) {
    (void)ctx, (void)is_thorough, (void)out, (void)max;
    return 0;
}

static void on_event(void *ctx, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    (void)ctx, (void)ev, (void)f, (void)n;
}

static void on_sample(void *ctx, const struct o3_sample *s) {
    struct fake *f = ctx;
    f->last = *s;
    if (s->kind == O3_PROBE_LOOK)
        f->n_looks++;
    else
        f->n_probes++;
    /* Each of them is written down: it must come back as it was. */
    O3_AUTO_BUF line;
    struct o3_sample back;
    struct o3_err e = {0};
    o3_buf_init(&line, 1 << 16);
    assert_int_equal(o3_sample_encode_json(s, "test", &line), 0);
    if (o3_sample_decode_json(o3_buf_str(&line), line.len, &back, &e) < 0) fail_msg("%s", e.text);
}

static bool write_presets(void *ctx, const struct o3_sidecar_presets *w) {
    (void)ctx, (void)w;
    return false;
}

static void save_state(void *ctx, const char *key, const char *value, size_t n) {
    (void)ctx, (void)key, (void)value, (void)n;
}

static struct fake *fake_new(void) {
    static const char CONFIG[] = "probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d, "
                                 "keep_conversation: 0s}\n";
    struct fake *f = calloc(1, sizeof *f);
    struct o3_err e = {0};
    struct o3_conf_sources src = {.file_name = "test", .file_text = CONFIG, .file_len = sizeof CONFIG - 1};
    if (o3_config_load(&src, NULL, NULL, &f->config, &e) < 0) fail_msg("config: %s", e.text);
    f->metrics = o3_metrics_new(10000);
    f->tags = "{\"models\":[]}";
    f->show = "{\"details\":{},\"model_info\":{},\"capabilities\":[\"completion\"]}";
    struct o3_sidecar_params p = {.config = o3_config_values(f->config),
                                  .metrics = f->metrics,
                                  .seed = 7,
                                  .ops = {.ctx = f,
                                          .call_start = call_start,
                                          .call_cancel = call_cancel,
                                          .sense_sockets = sense_sockets,
                                          .sense_runners = sense_runners,
                                          .event = on_event,
                                          .sample = on_sample,
                                          .write_presets = write_presets,
                                          .save_state = save_state}};
    assert_int_equal(o3_sidecar_new(&p, now_of(f), &f->sidecar, &e), 0);
    return f;
}

static void fake_free(struct fake *f) {
    o3_sidecar_stop(f->sidecar, now_of(f));
    o3_sidecar_free(f->sidecar);
    o3_metrics_free(f->metrics);
    o3_config_free(f->config);
    free(f);
}

static const char *reply_to(const struct fake *f, const char *path) {
    if (!strcmp(path, "/api/version")) return "{\"version\":\"0.32.15\"}";
    if (!strcmp(path, "/api/ps")) return f->ps;
    if (!strcmp(path, "/api/tags")) return f->tags;
    if (!strcmp(path, "/api/show")) return f->show;
    f = f->generate ? f : NULL;
    assert_non_null(f);
    return f->generate;
}

/* A probe takes a second, of which the first token a tenth. */
static void answer(struct fake *f) {
    struct call k = f->calls[0];
    const char *reply = reply_to(f, k.path);
    bool is_probe = !strcmp(k.path, "/api/generate") || !strcmp(k.path, "/api/chat");
    if (is_probe) {
        static const char FIRST[] = "{\"response\":\"one\",\"done\":false}\n";
        f->now_ns += O3_NS_PER_S / 10;
        o3_sidecar_data(f->sidecar, k.id, 200, FIRST, sizeof FIRST - 1, f->now_ns);
        f->now_ns += O3_NS_PER_S - O3_NS_PER_S / 10;
    }
    f->now_ns += O3_NS_PER_MS;
    call_cancel(f, k.id);
    o3_sidecar_data(f->sidecar, k.id, 200, reply, strlen(reply), f->now_ns);
    o3_sidecar_end(f->sidecar, k.id, 200, 0, "", now_of(f));
}

static void fake_run(struct fake *f, int64_t seconds) {
    int64_t until_ns = f->now_ns + seconds * O3_NS_PER_S;
    while (f->now_ns < until_ns) {
        o3_sidecar_turn(f->sidecar, now_of(f));
        if (f->n_calls) {
            answer(f);
            continue;
        }
        int64_t due = o3_sidecar_deadline_ns(f->sidecar);
        f->now_ns = due > f->now_ns ? (due < until_ns ? due : until_ns) : f->now_ns + O3_NS_PER_MS;
    }
    O3_AUTO_BUF json;
    o3_buf_init(&json, 1 << 20);
    assert_int_equal(o3_sidecar_models_json(f->sidecar, now_of(f), &json), 0);
    o3_sidecar_show_metrics(f->sidecar);
}

#define MODEL(name, size, context)                                                                                     \
    "{\"name\":\"" name                                                                                                \
    "\",\"digest\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"size\":" size                \
    ",\"size_vram\":" size ",\"context_length\":" context ",\"expires_at\":\"2026-11-22T00:00:00Z\"}"
#define DONE(count, total, load, prompt, eval)                                                                         \
    "{\"response\":\"\",\"done\":true,\"done_reason\":\"length\",\"total_duration\":" total ",\"load_duration\":" load \
    ",\"prompt_eval_count\":" count ",\"prompt_eval_duration\":" prompt ",\"eval_count\":" count                       \
    ",\"eval_duration\":" eval "}\n"
#define DONE_COUNT(count) DONE(count, "990000000", "20000000", "60000000", "900000000")
#define GOOD DONE_COUNT("64")

static void sizes_of_other_models(void **state) {
    (void)state;
    struct fake *f = fake_new();
    f->ps = "{\"models\":[" MODEL("a:1", HUGE_SIZE, "4096") "," MODEL("b:1", HUGE_SIZE, "4096") "," MODEL(
        "c:1", HUGE_SIZE, "4096") "," MODEL("d:1", HUGE_COUNT, "4096") "]}";
    f->tags = "{\"models\":[" MODEL("a:1", HUGE_COUNT, "4096") "]}";
    f->generate = GOOD;
    fake_run(f, 120);
    if (f->n_probes < 5) fail_msg("%d probes, %d looks", f->n_probes, f->n_looks);
    assert_int_equal(f->last.size_bytes, -1); /* as if they were not listed */
    assert_int_equal(f->last.vram_bytes, -1);
    assert_int_equal(f->last.around.other_vram_bytes, 0);
    fake_free(f);
}

/* The largest that are believed: their sum is what it should be. */
static void large_sizes_are_summed(void **state) {
    (void)state;
    struct fake *f = fake_new();
    f->ps = "{\"models\":[" MODEL("a:1", "1125899906842624", "4096") "," MODEL(
        "b:1", "1125899906842624", "4096") "," MODEL("c:1", "1125899906842625", "4096") "]}";
    f->generate = GOOD;
    fake_run(f, 60);
    assert_true(f->n_probes >= 3);
    const char *kept = "a:1", *other = "b:1";
    assert_true(!strcmp(f->last.model, kept) || !strcmp(f->last.model, other) || !strcmp(f->last.model, "c:1"));
    assert_int_equal(f->last.around.other_vram_bytes,
                     strcmp(f->last.model, "c:1") ? INT64_C(1) << 50 : INT64_C(2) << 50);
    fake_free(f);
}

static void counts_of_tokens(void **state) {
    (void)state;
    struct fake *f = fake_new();
    f->ps = "{\"models\":[" MODEL("a:1", "1000", "4096") "]}";
    f->generate = DONE_COUNT(HUGE_SIZE);
    fake_run(f, 600);
    if (f->n_probes < 20) fail_msg("%d probes, %d looks", f->n_probes, f->n_looks);
    assert_true(f->last.eval_count < 0 && f->last.prompt_eval_count < 0);
    double tokens = o3_metric_get(f->metrics, O3_M_PROBE_TOKENS, (const char *const[]){"a:1", "output"});
    O3_ASSERT_NEAR(tokens, 0, 0);
    f->generate = DONE_COUNT(HUGE_COUNT);
    fake_run(f, 600);
    fake_free(f);
}

static void durations(void **state) {
    (void)state;
    struct fake *f = fake_new();
    f->ps = "{\"models\":[" MODEL("a:1", "1000", "4096") "]}";
    f->generate = DONE("64", HUGE_COUNT, HUGE_COUNT, HUGE_COUNT, HUGE_COUNT);
    fake_run(f, 600);
    if (f->n_probes < 20) fail_msg("%d probes, %d looks", f->n_probes, f->n_looks);
    assert_true(f->last.total_ns < 0 && f->last.load_ns < 0 && f->last.eval_ns < 0 && f->last.queue_ns < 0);
    fake_free(f);
}

/* The part of the weights that a token reads follows from the size in the library and figures of the description. */
static void sizes_in_the_library(void **state) {
    (void)state;
    struct fake *f = fake_new();
    f->ps = "{\"models\":[" MODEL("a:1", "1000", "4096") "]}";
    f->tags = "{\"models\":[" MODEL("a:1", HUGE_COUNT, "4096") "]}";
    f->show = "{\"details\":{},\"model_info\":{\"general.architecture\":\"q\",\"general.parameter_count\":" HUGE_COUNT
              ",\"q.block_count\":1,\"q.embedding_length\":1,\"q.feed_forward_length\":1,\"q.expert_count\":2,"
              "\"q.expert_used_count\":1},\"capabilities\":[\"completion\"]}";
    f->generate = GOOD;
    fake_run(f, 60);
    assert_int_equal(f->last.around.weight_bytes, -1);
    f->tags = "{\"models\":[" MODEL("a:1", "500", "4096") "]}";
    fake_run(f, 3600);
    assert_int_equal(f->last.around.weight_bytes, 500);
    fake_free(f);
}

static void contexts(void **state) {
    (void)state;
    struct fake *f = fake_new();
    f->ps = "{\"models\":[" MODEL("a:1", "1000", HUGE_COUNT) "," MODEL("b:1", "1000", "2147483647") "]}";
    f->generate = GOOD;
    fake_run(f, 120);
    if (f->n_probes < 5) fail_msg("%d probes, %d looks", f->n_probes, f->n_looks);
    assert_string_equal(f->last.model, "b:1"); /* as on an old server, which lists none */
    fake_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_of_other_models), cmocka_unit_test(large_sizes_are_summed),
        cmocka_unit_test(counts_of_tokens),      cmocka_unit_test(durations),
        cmocka_unit_test(sizes_in_the_library),  cmocka_unit_test(contexts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
