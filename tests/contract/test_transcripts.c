/* SPDX-License-Identifier: Apache-2.0 */
/* Every recorded reply through the parsers it is meant for, and through all others without harm. */
#include "contract/transcript.h"
#include <dirent.h>
#include <jansson.h>
#include "o3/ollama.h"
#include "o3/sample.h"
#include "o3/stream.h"
#include "o3/text.h"

#define MS O3_NS_PER_MS
#define START_NS (1000 * MS)

struct check_case {
    const char *file;
    int status;
    void (*check)(const struct transcript *t, const struct check_case *c);
    const char *text; /* what the check compares */
    int64_t n;
};

/* ---- helpers ---- */

/* Feeds line k (from 1) at START + k ms. */
static struct o3_stream_result stream_of(const struct transcript *t) {
    struct o3_stream *s = o3_stream_new(1 << 20);
    assert_non_null(s);
    int64_t now_ns = START_NS;
    for (const char *p = t->body; *p;) {
        const char *newline = strchr(p, '\n');
        size_t n = newline ? (size_t)(newline + 1 - p) : strlen(p);
        now_ns += MS;
        o3_stream_feed(s, p, n, now_ns);
        p += n;
    }
    o3_stream_end(s, now_ns);
    struct o3_stream_result r = *o3_stream_result(s);
    o3_stream_free(s);
    return r;
}

static struct o3_sample sample_of(const struct transcript *t, int64_t num_predict) {
    struct o3_stream_result r = stream_of(t);
    char error[120];
    o3_ollama_parse_error(t->body, strlen(t->body), error, sizeof error);
    struct o3_probe_asked asked = {.kind = O3_PROBE_DECODE,
                                   .num_predict = num_predict,
                                   .sent_mono_ns = START_NS,
                                   .sent_wall_ms = 1795233966000,
                                   .end_mono_ns = START_NS + 2000 * MS,
                                   .http_status = t->status};
    struct o3_sample s = {.num_ctx = -1, .num_batch = -1, .size_bytes = -1, .vram_bytes = -1};
    o3_sample_from_stream(&asked, &r, error, &s);
    return s;
}

static struct o3_ollama_models *models_of(const struct transcript *t) {
    struct o3_ollama_models *m = NULL;
    assert_int_equal(o3_ollama_parse_models(t->body, strlen(t->body), &m, NULL), 0);
    return m;
}

/* The parsers that accept the body, as letters: version, models, show, embed, error, sample. */
static void accepted_by(const char *body, char out[8]) {
    size_t n = strlen(body), k = 0;
    struct o3_ollama_version version;
    struct o3_ollama_models *models = NULL;
    struct o3_ollama_show show;
    struct o3_ollama_embed embed;
    struct o3_sample sample;
    char text[64];
    if (o3_ollama_parse_version(body, n, &version, NULL) == 0) out[k++] = 'v';
    if (o3_ollama_parse_models(body, n, &models, NULL) == 0) out[k++] = 'm';
    if (o3_ollama_parse_show(body, n, &show, NULL) == 0) out[k++] = 's';
    if (o3_ollama_parse_embed(body, n, &embed, NULL) == 0) out[k++] = 'e';
    if (o3_ollama_parse_error(body, n, text, sizeof text)) out[k++] = 'x';
    if (o3_sample_decode_json(body, n, &sample, NULL) == 0) out[k++] = 'j';
    out[k] = '\0';
    o3_ollama_models_free(models);
}

/* ---- checks ---- */

static void check_version(const struct transcript *t, const struct check_case *c) {
    struct o3_ollama_version v;
    assert_int_equal(o3_ollama_parse_version(t->body, strlen(t->body), &v, NULL), 0);
    assert_string_equal(v.text, c->text);
    assert_int_equal(v.major, 0);
    assert_int_equal(v.minor, 32);
    assert_int_equal(v.patch, 15);
    assert_true(v.has_child_server && v.has_think && !v.is_development);
}

static void check_tags(const struct transcript *t, const struct check_case *c) {
    (void)c;
    struct o3_ollama_models *m = models_of(t);
    assert_int_equal(m->n, 5);
    assert_int_equal(m->n_left_out, 0);
    assert_string_equal(m->v[0].name, "o3-bigctx:latest");
    assert_int_equal(m->v[0].context_length, 67108864);
    assert_string_equal(m->v[2].digest, "8688ae0e5a3be06218cf7e4364a9b82b2785ef54cedfb8fd5c3ecc13dec2365d");
    assert_string_equal(m->v[2].parameter_size, "234.91M");
    assert_string_equal(m->v[2].quantization, "Q8_0");
    assert_int_equal(m->v[2].size_bytes, 249880952);
    assert_int_equal(m->v[2].size_vram_bytes, -1);
    assert_int_equal(m->v[2].expires_at_ms, -1);
    for (size_t i = 0; i < m->n; i++) {
        assert_int_equal(m->v[i].can_embed_only, !strcmp(m->v[i].name, "o3-embed:latest"));
        assert_true(m->v[i].has_capabilities && !m->v[i].can_think && !m->v[i].is_remote);
    }
    o3_ollama_models_free(m);
}

static void check_ps_empty(const struct transcript *t, const struct check_case *c) {
    (void)c;
    struct o3_ollama_models *m = models_of(t);
    assert_int_equal(m->n, 0);
    o3_ollama_models_free(m);
}

static void check_ps_tiny(const struct o3_ollama_model *m, const char *expires_at) {
    assert_string_equal(m->name, "o3-tiny:latest");
    assert_string_equal(m->digest, "1b3ac84fd36066e541bb669327599134581b4a04bf866c71b04c9566b2e49201");
    assert_string_equal(m->family, "llama");
    assert_string_equal(m->parameter_size, "5.05M");
    assert_string_equal(m->quantization, "F16");
    assert_int_equal(m->size_bytes, 29139925);
    assert_int_equal(m->size_vram_bytes, 0);
    assert_int_equal(m->context_length, 4096);
    int64_t expires_at_ms;
    assert_true(o3_rfc3339_parse(expires_at, &expires_at_ms));
    assert_int_equal(m->expires_at_ms, expires_at_ms);
    assert_false(m->has_capabilities);
}

static void check_ps_loaded(const struct transcript *t, const struct check_case *c) {
    struct o3_ollama_models *m = models_of(t);
    assert_int_equal(m->n, 1);
    check_ps_tiny(&m->v[0], c->text);
    o3_ollama_models_free(m);
}

static void check_ps_two(const struct transcript *t, const struct check_case *c) {
    struct o3_ollama_models *m = models_of(t);
    assert_int_equal(m->n, 2);
    check_ps_tiny(&m->v[0], c->text);
    assert_string_equal(m->v[1].name, "o3-embed:latest");
    assert_string_equal(m->v[1].family, "bert");
    assert_int_equal(m->v[1].size_bytes, 3638557);
    assert_int_equal(m->v[1].context_length, 512);
    o3_ollama_models_free(m);
}

static struct o3_ollama_show show_of(const struct transcript *t, size_t n_tensors) {
    json_t *root = json_loads(t->body, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(root, "tensors")), n_tensors);
    json_decref(root);
    struct o3_ollama_show s;
    assert_int_equal(o3_ollama_parse_show(t->body, strlen(t->body), &s, NULL), 0);
    return s;
}

static void check_show(const struct transcript *t, const struct check_case *c) {
    struct o3_ollama_show s = show_of(t, (size_t)c->n);
    assert_string_equal(s.architecture, "llama");
    assert_string_equal(s.blob, c->text);
    assert_int_equal(s.parameter_count, 234914816);
    assert_int_equal(s.block_count, 16);
    assert_int_equal(s.context_length, 131072);
    assert_int_equal(s.embedding_length, 1024);
    assert_int_equal(s.feed_forward_length, 3584);
    assert_int_equal(s.vocab_size, 8192);
    assert_int_equal(s.expert_count, -1); /* no mixture of experts */
    assert_int_equal(s.expert_used_count, -1);
    assert_int_equal(s.expert_feed_forward_length, -1);
    assert_int_equal(s.head_count, 16);
    assert_int_equal(s.head_count_kv, 4 * 16);
    assert_int_equal(s.key_length, 64);
    assert_int_equal(s.value_length, 64);
    assert_int_equal(s.parameter_num_ctx, -1);
    assert_int_equal(s.parameter_num_gpu, -1);
    assert_true(s.has_capabilities && !s.can_embed_only && !s.can_think);
}

static void check_show_embed(const struct transcript *t, const struct check_case *c) {
    struct o3_ollama_show s = show_of(t, (size_t)c->n);
    assert_string_equal(s.architecture, "bert");
    assert_string_equal(s.blob, c->text);
    assert_int_equal(s.block_count, 2);
    assert_int_equal(s.context_length, 512);
    assert_int_equal(s.head_count, 4);
    assert_int_equal(s.head_count_kv, -1);
    assert_int_equal(s.key_length, -1);
    assert_int_equal(s.vocab_size, 817);
    assert_true(s.has_capabilities && s.can_embed_only);
}

/* An error reply: its text, the same text in the stream parser, and the outcome of a probe. */
static void check_error(const struct transcript *t, const struct check_case *c) {
    char text[1024];
    assert_true(o3_ollama_parse_error(t->body, strlen(t->body), text, sizeof text));
    assert_string_equal(text, c->text);
    struct o3_stream_result r = stream_of(t);
    assert_int_equal(strncmp(r.error, c->text, sizeof r.error - 1), 0);
    assert_false(r.is_done);
    struct o3_sample s = sample_of(t, 16);
    assert_int_equal(s.outcome, t->status == 503 ? O3_OUTCOME_BUSY : O3_OUTCOME_HTTP_ERROR);
    assert_true(o3_outcome_is_failure(s.outcome));
    assert_int_equal(strncmp(s.detail, c->text, sizeof s.detail - 1), 0);
}

/* A page that is no reply of the parsers' kind; `text` lists those that take it all the same. */
static void check_harmless(const struct transcript *t, const struct check_case *c) {
    char letters[8];
    accepted_by(t->body, letters);
    assert_string_equal(letters, c->text);
    struct o3_stream_result r = stream_of(t);
    assert_int_equal(r.n_token_lines, 0);
    assert_false(r.is_done);
    assert_true(o3_outcome_is_failure(sample_of(t, 16).outcome));
}

static void check_runner_models(const struct transcript *t, const struct check_case *c) {
    check_harmless(t, c);
    struct o3_ollama_models *m = models_of(t);
    assert_int_equal(m->n, 1);
    assert_string_equal(m->v[0].digest, "");
    assert_int_equal(m->v[0].size_bytes, -1);
    o3_ollama_models_free(m);
}

static void check_create_error(const struct transcript *t, const struct check_case *c) {
    struct o3_stream_result r = stream_of(t);
    assert_string_equal(r.error, c->text);
    assert_int_equal(r.n_bad_lines, 0);
    assert_int_equal(sample_of(t, 16).outcome, O3_OUTCOME_STREAM_ERROR);
}

/* Load and unload: done, but nothing was generated. */
static void check_done_only(const struct transcript *t, const struct check_case *c) {
    struct o3_stream_result r = stream_of(t);
    assert_true(r.is_done);
    assert_string_equal(r.done_reason, c->text);
    assert_int_equal(r.n_token_lines, 0);
    assert_int_equal(r.eval_count, -1);
    assert_int_equal(r.total_ns, -1);
    struct o3_sample s = sample_of(t, 16);
    assert_int_equal(s.outcome, O3_OUTCOME_NO_METRICS);
    assert_int_equal(s.flags, O3_SAMPLE_INCOMPLETE);
    assert_true(isnan(s.decode_tps));
    assert_int_equal(s.queue_ns, -1);
}

/* eval_count, eval_duration, prompt_eval_count, prompt_eval_duration, load_duration, total_duration */
struct metrics {
    const char *file;
    int64_t eval_count, eval_ns, prompt_eval_count, prompt_eval_ns, load_ns, total_ns;
};
static const struct metrics METRICS[] = {
    {"32-generate-stream.txt", 5, 6039000, 12, 3687000, 1883522, 42446822},
    {"33-generate-nonstream.txt", 5, 6299000, 12, 2826000, 1677048, 29682282},
    {"34-generate-raw.txt", 5, 7419000, 3, 2466000, 1570830, 16881377},
    {"35-chat-stream.txt", 4, 6666000, 12, 2183000, 1911256, 43095702},
    {"38-think-false.txt", 2, 1880000, 12, 4626000, 1651145, 35641471},
    {"55-prompt-too-long-default.txt", 2, 2000000, 259, 60000000, 1900000, 98000000},
    {"57-num-predict-2-negative.txt", 640, 1190000000, 12, 5000000, 270000000, 1479000000},
};

static const struct metrics *metrics_of(const char *file) {
    for (size_t i = 0; i < sizeof METRICS / sizeof *METRICS; i++)
        if (!strcmp(METRICS[i].file, file)) return &METRICS[i];
    fail_msg("no metrics for %s", file);
    return NULL;
}

/* A complete answer in c->n pieces that carry text. */
static void check_answer(const struct transcript *t, const struct check_case *c) {
    const struct metrics *m = metrics_of(c->file);
    struct o3_stream_result r = stream_of(t);
    assert_true(r.is_done);
    assert_string_equal(r.done_reason, "length");
    assert_string_equal(r.error, "");
    assert_int_equal(r.n_bad_lines, 0);
    assert_int_equal(r.n_token_lines, c->n);
    assert_int_equal(r.first_token_ns, START_NS + MS);
    assert_int_equal(r.first_content_ns, START_NS + MS);
    assert_int_equal(r.last_token_ns, START_NS + c->n * MS);
    assert_int_equal(r.eval_count, m->eval_count);
    assert_int_equal(r.eval_ns, m->eval_ns);
    assert_int_equal(r.prompt_eval_count, m->prompt_eval_count);
    assert_int_equal(r.prompt_eval_ns, m->prompt_eval_ns);
    assert_int_equal(r.load_ns, m->load_ns);
    assert_int_equal(r.total_ns, m->total_ns);
    struct o3_sample s = sample_of(t, m->eval_count);
    assert_int_equal(s.outcome, O3_OUTCOME_OK);
    assert_int_equal(s.flags, 0);
    assert_int_equal(s.ttft_ns, MS);
    O3_ASSERT_NEAR(s.decode_tps, (double)(m->eval_count - 1) / ((double)m->eval_ns * 1e-9), 1e-6);
    O3_ASSERT_NEAR(s.decode_tps * s.tpot_s, 1, 1e-12);
    assert_int_equal(s.queue_ns, m->total_ns - m->load_ns - m->prompt_eval_ns - m->eval_ns);
    assert_int_equal(sample_of(t, m->eval_count + 1).outcome, O3_OUTCOME_INCOMPLETE);
}

static void check_embed(const struct transcript *t, const struct check_case *c) {
    struct o3_ollama_embed r;
    assert_int_equal(o3_ollama_parse_embed(t->body, strlen(t->body), &r, NULL), 0);
    assert_int_equal(r.dimensions, c->n);
    assert_int_equal(r.prompt_eval_count, 7);
    assert_int_equal(r.total_ns, 274000000);
    assert_int_equal(r.load_ns, 262000000);
}

/* The stream ends cleanly without a done object: no metrics, and half an answer, whoever cut it off. */
static void check_no_done(const struct transcript *t, const struct check_case *c) {
    struct o3_stream_result r = stream_of(t);
    assert_false(r.is_done);
    assert_int_equal(r.n_token_lines, c->n);
    assert_int_equal(r.n_bad_lines, 0);
    struct o3_sample s = sample_of(t, 100);
    assert_int_equal(s.outcome, O3_OUTCOME_NO_METRICS);
    assert_true(o3_outcome_is_failure(s.outcome));
    assert_int_equal(s.flags, O3_SAMPLE_INCOMPLETE);
    assert_int_equal(s.ttft_ns, MS);
}

static void check_midstream_error(const struct transcript *t, const struct check_case *c) {
    struct o3_stream_result r = stream_of(t);
    assert_false(r.is_done);
    assert_int_equal(r.n_token_lines, c->n);
    assert_string_equal(r.error, c->text);
    struct o3_sample s = sample_of(t, 20000);
    assert_int_equal(s.outcome, O3_OUTCOME_STREAM_ERROR);
    assert_string_equal(s.detail, c->text);
}

/* OpenAI's event stream is not NDJSON: six lines, none understood. */
static void check_event_stream(const struct transcript *t, const struct check_case *c) {
    struct o3_stream_result r = stream_of(t);
    assert_int_equal(r.n_bad_lines, c->n);
    check_harmless(t, c);
}

/* ---- cases: every file once ---- */

#define NO_RUNNER                                                                                                      \
    "error starting llama-server: llama-server binary not found (checked: <install>/llama-server, "                    \
    "<install>/llama-server, <install>/llama-server, <install>/llama-server, <install>/llama-server, "                 \
    "<install>/llama-server, <install>/llama-server, <install>/llama-server). Run 'cmake -S llama/server --preset "    \
    "cpu && cmake --build --preset cpu' first "
#define OUT_OF_MEMORY                                                                                                  \
    "llama-server process has terminated: exit status 1: ggml_aligned_malloc: insufficient memory (attempted to "      \
    "allocate 65536.00 MB) ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 68719476736 "  \
    "alloc_tensor_range: failed to allocate CPU buffer of size 68719476736 llama_init_from_model: failed to "          \
    "initialize the context: failed to allocate buffer for kv cache"
#define BATCH_1                                                                                                        \
    "llama-server process has terminated: GGML_ASSERT(n_tokens_all <= cparams.n_batch) failed: "                       \
    "GGML_ASSERT(n_tokens_all <= cparams.n_batch) failed"
#define TOO_LONG "request (1211 tokens) exceeds the available context size (512 tokens), try increasing it"
#define NO_REGISTRY                                                                                                    \
    "pull model manifest: Get \"https://registry.ollama.ai/v2/library/nope/manifests/latest\": dial tcp: lookup "      \
    "registry.ollama.ai on <dns>:53: no such host"

static const struct check_case CASES[] = {
    {"01-version.txt", 200, check_version, "0.32.15", 0},
    {"02-tags.txt", 200, check_tags, NULL, 0},
    {"03-ps-empty.txt", 200, check_ps_empty, NULL, 0},
    {"04-root.txt", 200, check_harmless, "", 0},
    {"05-metrics-404.txt", 404, check_harmless, "", 0},
    {"05b-pprof-404.txt", 404, check_harmless, "", 0},
    {"06-show.txt", 200, check_show, "bfd1b22b819a80ee0fe1f0dcb7329dada0316e82ed03948fa5ed7099677caa49", 147},
    {"06b-show-embed.txt", 200, check_show_embed, "ef73f34abae1399789930a6319ffd7f3c9c400d1892b6082c17bfd217a9af9ac",
     37},
    {"07-status.txt", 200, check_harmless, "", 0},
    {"08-err-unknown-model.txt", 404, check_error, "model 'nope' not found", 0},
    {"09-err-malformed-json.txt", 400, check_error, "unexpected EOF", 0},
    {"10-err-empty-body.txt", 400, check_error, "missing request body", 0},
    {"11-err-no-model.txt", 404, check_error, "model '' not found", 0},
    {"12-err-option-type.txt", 500, check_error, "option \"num_ctx\" must be of type integer", 0},
    {"13-err-field-type.txt", 400, check_error,
     "json: cannot unmarshal number into Go struct field GenerateRequest.prompt of type string", 0},
    {"14-err-keepalive-type.txt", 400, check_error, "time: missing unit in duration \"5\"", 0},
    {"15-err-generate-on-embedding.txt", 400, check_error, "\"o3-embed\" does not support generate", 0},
    {"16-err-think.txt", 400, check_error, "\"o3-tiny\" does not support thinking", 0},
    {"17-err-method.txt", 405, check_harmless, "", 0},
    {"18-err-no-runner.txt", 500, check_error, NO_RUNNER, 0},
    {"19-err-show-unknown.txt", 404, check_error, "model 'nope:latest' not found", 0},
    {"20-create-derived.txt", 200, check_harmless, "", 0},
    {"22-create-again-nonstream.txt", 200, check_harmless, "", 0},
    {"23-create-bad-from.txt", 200, check_create_error, NO_REGISTRY, 0},
    {"24-create-bad-param.txt", 200, check_harmless, "", 0},
    {"24b-generate-with-bad-param.txt", 500, check_error, "option \"num_ctx\" must be of type integer", 0},
    {"25-delete.txt", 200, check_harmless, "", 0},
    {"30-load-only.txt", 200, check_done_only, "load", 0},
    {"31-ps-loaded.txt", 200, check_ps_loaded, "2026-11-21T04:11:06.161588035Z", 0},
    {"32-generate-stream.txt", 200, check_answer, NULL, 5},
    {"33-generate-nonstream.txt", 200, check_answer, NULL, 1},
    {"34-generate-raw.txt", 200, check_answer, NULL, 1},
    {"35-chat-stream.txt", 200, check_answer, NULL, 4},
    {"36-embed.txt", 200, check_embed, NULL, 128},
    {"36b-ps-two.txt", 200, check_ps_two, "2026-11-21T04:11:07.413529602Z", 0},
    {"37-err-embed-on-generation-model.txt", 501, check_error,
     "This server does not support embeddings. Start it with `--embeddings`", 0},
    {"38-think-false.txt", 200, check_answer, NULL, 1},
    {"40-runner-health.txt", 200, check_harmless, "", 0},
    {"41-runner-slots.txt", 200, check_harmless, "", 0},
    {"42-runner-props.txt", 200, check_harmless, "", 0},
    {"43-runner-metrics.txt", 200, check_harmless, "", 0},
    {"44-runner-v1models.txt", 200, check_runner_models, "m", 0},
    {"50-v1-chat-usage.txt", 200, check_event_stream, "", 6},
    {"51-token-repeat-abort.txt", 200, check_no_done, NULL, 31},
    {"52-oom-load.txt", 500, check_error, OUT_OF_MEMORY, 0},
    {"53-num-batch-1.txt", 500, check_error, BATCH_1, 0},
    {"54-prompt-too-long-truncate-false.txt", 400, check_error, TOO_LONG, 0},
    {"55-prompt-too-long-default.txt", 200, check_answer, NULL, 1},
    {"56-unload.txt", 200, check_done_only, "unload", 0},
    {"57-num-predict-2-negative.txt", 200, check_answer, NULL, 1},
    {"60-err-busy-503.txt", 503, check_error, "server busy, please try again.  maximum pending requests exceeded", 0},
    {"61-midstream-error.txt", 200, check_midstream_error,
     "an error was encountered while running the model: unexpected EOF", 285},
};
enum { N_CASES = sizeof CASES / sizeof *CASES };

static void check_request(const struct transcript *t, const char *file) {
    assert_true(!strcmp(t->method, "GET") || !strcmp(t->method, "POST") || !strcmp(t->method, "DELETE"));
    assert_int_equal(t->path[0], '/');
    if (!t->request_body[0] || !strcmp(file, "09-err-malformed-json.txt")) return;
    json_t *j = json_loads(t->request_body, 0, NULL);
    if (!j) fail_msg("the request is not JSON: %s", t->request_body);
    json_decref(j);
}

static void run_case(void **state) {
    const struct check_case *c = *state;
    struct transcript t = transcript_read(c->file);
    check_request(&t, c->file);
    assert_int_equal(t.status, c->status);
    c->check(&t, c);
    transcript_done(&t);
}

static bool is_claimed(const char *file) {
    for (size_t i = 0; i < N_CASES; i++)
        if (!strcmp(CASES[i].file, file)) return true;
    return false;
}

static void every_file_is_claimed(void **state) {
    (void)state;
    DIR *d = opendir(O3_SOURCE_DIR "/" O3_TRANSCRIPT_DIR);
    assert_non_null(d);
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "README.md")) continue;
        if (!is_claimed(entry->d_name)) fail_msg("%s: no case reads it", entry->d_name);
        n++;
    }
    closedir(d);
    assert_int_equal(n, N_CASES);
}

int main(void) {
    struct CMUnitTest tests[N_CASES + 1] = {cmocka_unit_test(every_file_is_claimed)};
    for (size_t i = 0; i < N_CASES; i++)
        tests[i + 1] = (struct CMUnitTest){
            .name = CASES[i].file, .test_func = run_case, .initial_state = (void *)(uintptr_t)&CASES[i]};
    return cmocka_run_group_tests_name("transcripts", tests, NULL, NULL);
}
