/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <float.h>
#include <jansson.h>
#include "o3/rand.h"
#include "o3/sample.h"
#include "o3/signal.h"
#include "o3/text.h"

#define MS O3_NS_PER_MS
#define SENT_NS (500 * MS)

/* A clean decode probe: 16 tokens in 400 ms after 100 ms of everything else. */
static struct o3_probe_asked asked(void) {
    return (struct o3_probe_asked){.kind = O3_PROBE_DECODE,
                                   .num_predict = 16,
                                   .sent_mono_ns = SENT_NS,
                                   .sent_wall_ms = 1795233966161,
                                   .end_mono_ns = SENT_NS + 505 * MS,
                                   .http_status = 200};
}

static struct o3_stream_result answered(void) {
    return (struct o3_stream_result){.first_token_ns = SENT_NS + 102 * MS,
                                     .first_content_ns = SENT_NS + 103 * MS,
                                     .last_token_ns = SENT_NS + 500 * MS,
                                     .n_token_lines = 16,
                                     .is_done = true,
                                     .done_reason = "length",
                                     .total_ns = 500 * MS,
                                     .load_ns = 2 * MS,
                                     .prompt_eval_ns = 80 * MS,
                                     .eval_ns = 400 * MS,
                                     .prompt_eval_count = 12,
                                     .eval_count = 16};
}

static struct o3_stream_result nothing(void) {
    return (struct o3_stream_result){.first_token_ns = -1,
                                     .first_content_ns = -1,
                                     .last_token_ns = -1,
                                     .total_ns = -1,
                                     .load_ns = -1,
                                     .prompt_eval_ns = -1,
                                     .eval_ns = -1,
                                     .prompt_eval_count = -1,
                                     .eval_count = -1};
}

static struct o3_stream_result half_answered(void) {
    struct o3_stream_result r = nothing();
    r.first_token_ns = r.first_content_ns = SENT_NS + 102 * MS;
    r.last_token_ns = SENT_NS + 200 * MS;
    r.n_token_lines = 5;
    return r;
}

static struct o3_sample form(struct o3_probe_asked a, struct o3_stream_result r, const char *error_text) {
    struct o3_sample s = {.model = "m", .num_ctx = 4096, .num_batch = 512, .size_bytes = 9, .vram_bytes = 4};
    o3_sample_from_stream(&a, &r, error_text, &s);
    assert_string_equal(s.model, "m");
    assert_int_equal(s.num_ctx, 4096);
    assert_int_equal(s.vram_bytes, 4);
    return s;
}

static void names_are_a_closed_set(void **state) {
    (void)state;
    assert_string_equal(o3_probe_kind_name(O3_PROBE_DECODE), "decode");
    assert_string_equal(o3_probe_kind_name(O3_PROBE_PREFILL), "prefill");
    assert_string_equal(o3_probe_kind_name(O3_PROBE_EMBED), "embed");
    assert_string_equal(o3_probe_kind_name(O3_PROBE_LOOK), "look");
    for (int i = 0; i < O3_OUTCOME_COUNT; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(o3_outcome_name((enum o3_outcome)i), o3_outcome_name((enum o3_outcome)k));
    assert_false(o3_outcome_is_failure(O3_OUTCOME_OK));
    assert_false(o3_outcome_is_failure(O3_OUTCOME_INCOMPLETE));
    assert_true(o3_outcome_is_failure(O3_OUTCOME_NO_METRICS)); /* users get half an answer */
    assert_false(o3_outcome_is_failure(O3_OUTCOME_CANCELLED));
    assert_true(o3_outcome_is_failure(O3_OUTCOME_STREAM_ERROR));
    assert_true(o3_outcome_is_failure(O3_OUTCOME_BROKEN));
    assert_true(o3_outcome_is_failure(O3_OUTCOME_BUSY));
    assert_true(o3_outcome_is_failure(O3_OUTCOME_STUCK));
}

static void a_clean_probe(void **state) {
    (void)state;
    struct o3_sample s = form(asked(), answered(), NULL);
    assert_int_equal(s.outcome, O3_OUTCOME_OK);
    assert_int_equal(s.flags, 0);
    assert_int_equal(s.kind, O3_PROBE_DECODE);
    assert_int_equal(s.http_status, 200);
    assert_int_equal(s.wall_ms, 1795233966161);
    assert_int_equal(s.mono_ns, SENT_NS);
    assert_int_equal(s.num_predict, 16);
    assert_int_equal(s.ttft_ns, 102 * MS);
    assert_int_equal(s.ttfc_ns, 103 * MS);
    assert_int_equal(s.wall_ns, 505 * MS);
    assert_int_equal(s.queue_ns, 18 * MS);
    O3_ASSERT_NEAR(s.decode_tps, 15 / 0.4, 1e-9);
    O3_ASSERT_NEAR(s.tpot_s, 0.4 / 15, 1e-12);
    assert_true(isnan(s.prefill_tps));
    assert_string_equal(s.detail, "");
}

/* Numbers measured on a server: 1 token in 1 ns must not read as a rate, 2 tokens in 26.45 ms are 37.8 a second. */
static void the_rate_leaves_the_first_token_out(void **state) {
    (void)state;
    struct o3_probe_asked a = asked();
    struct o3_stream_result r = answered();
    a.num_predict = 2;
    r.eval_count = 2;
    r.eval_ns = 26450000;
    O3_ASSERT_NEAR(form(a, r, NULL).decode_tps, 37.8, 0.01);
    static const int64_t NO_RATE[][2] = {{1, 1}, {0, 5}, {2, 0}, {-1, 5}, {2, -1}};
    for (size_t i = 0; i < sizeof NO_RATE / sizeof *NO_RATE; i++) {
        r.eval_count = NO_RATE[i][0];
        r.eval_ns = NO_RATE[i][1];
        struct o3_sample s = form(a, r, NULL);
        assert_true(isnan(s.decode_tps) && isnan(s.tpot_s));
        assert_true(s.flags & O3_SAMPLE_INCOMPLETE);
    }
}

static void prefill(void **state) {
    (void)state;
    struct o3_probe_asked a = asked();
    struct o3_stream_result r = answered();
    a.kind = O3_PROBE_PREFILL;
    a.num_predict = r.eval_count = 2;
    r.eval_ns = 20 * MS;
    r.prompt_eval_count = 800;
    r.prompt_eval_ns = 400 * MS;
    a.n_prompt_min = 750;
    struct o3_sample s = form(a, r, NULL);
    O3_ASSERT_NEAR(s.prefill_tps, 2000, 1e-9);
    assert_int_equal(s.flags, 0);
    /* Ollama cuts a prompt beyond the context without a word. */
    r.prompt_eval_count = 259;
    assert_int_equal(form(a, r, NULL).flags, O3_SAMPLE_INCOMPLETE);
    r.prompt_eval_count = -1;
    s = form(a, r, NULL);
    assert_true(isnan(s.prefill_tps));
    assert_int_equal(s.flags, O3_SAMPLE_INCOMPLETE);
}

static void outcomes_of_the_transfer(void **state) {
    (void)state;
    static const struct {
        int status, transport;
        enum o3_outcome outcome;
    } ROWS[] = {
        {0, O3_E_UNREACHABLE, O3_OUTCOME_REFUSED},
        {0, O3_E_TIMEOUT, O3_OUTCOME_TIMEOUT},
        {200, O3_E_TIMEOUT, O3_OUTCOME_TIMEOUT},
        {0, O3_E_CANCELLED, O3_OUTCOME_CANCELLED},
        {200, O3_E_CANCELLED, O3_OUTCOME_CANCELLED},
        {200, O3_E_HTTP, O3_OUTCOME_BROKEN},
        {0, O3_E_HTTP, O3_OUTCOME_BROKEN},
        {0, 0, O3_OUTCOME_BROKEN},
        {404, 0, O3_OUTCOME_HTTP_ERROR},
        {500, O3_E_HTTP, O3_OUTCOME_HTTP_ERROR},
        {301, 0, O3_OUTCOME_HTTP_ERROR},
        {503, 0, O3_OUTCOME_BUSY},
        {503, O3_E_TIMEOUT, O3_OUTCOME_TIMEOUT},
        {200, O3_E_NOMEM, O3_OUTCOME_BROKEN},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct o3_probe_asked a = asked();
        a.http_status = ROWS[i].status;
        a.transport = ROWS[i].transport;
        assert_int_equal(form(a, nothing(), NULL).outcome, ROWS[i].outcome);
        struct o3_sample s = form(a, half_answered(), "some text");
        assert_int_equal(s.outcome, ROWS[i].outcome);
        assert_int_equal(s.ttft_ns, 102 * MS);
        assert_string_equal(s.detail, "some text");
        assert_true(isnan(s.decode_tps));
        assert_int_equal(s.queue_ns, -1);
    }
}

static void outcomes_of_the_stream(void **state) {
    (void)state;
    struct o3_stream_result r = half_answered();
    assert_int_equal(form(asked(), r, NULL).outcome, O3_OUTCOME_NO_METRICS);
    r.n_bad_lines = 1;
    assert_int_equal(form(asked(), r, NULL).outcome, O3_OUTCOME_BROKEN);
    r.n_bad_lines = 0;
    r.n_long_lines = 1;
    assert_int_equal(form(asked(), r, NULL).outcome, O3_OUTCOME_BROKEN);
    assert_int_equal(form(asked(), nothing(), NULL).outcome, O3_OUTCOME_BROKEN);
    r = half_answered();
    o3_str_copy(r.error, sizeof r.error, "unexpected EOF");
    struct o3_sample s = form(asked(), r, "other");
    assert_int_equal(s.outcome, O3_OUTCOME_STREAM_ERROR);
    assert_string_equal(s.detail, "unexpected EOF");
    struct o3_probe_asked cut = asked();
    cut.transport = O3_E_HTTP;
    assert_int_equal(form(cut, r, NULL).outcome, O3_OUTCOME_STREAM_ERROR);
    /* Cut after the done object: nothing is missing. */
    assert_int_equal(form(cut, answered(), NULL).outcome, O3_OUTCOME_OK);
    assert_int_equal(form(cut, half_answered(), NULL).outcome, O3_OUTCOME_BROKEN);
}

static void fewer_tokens_than_asked(void **state) {
    (void)state;
    struct o3_stream_result r = answered();
    r.eval_count = 15;
    o3_str_copy(r.done_reason, sizeof r.done_reason, "stop");
    struct o3_sample s = form(asked(), r, NULL);
    assert_int_equal(s.outcome, O3_OUTCOME_INCOMPLETE);
    assert_int_equal(s.flags, O3_SAMPLE_INCOMPLETE);
    O3_ASSERT_NEAR(s.decode_tps, 14 / 0.4, 1e-9);
    r.eval_count = r.eval_ns = -1;
    assert_int_equal(form(asked(), r, NULL).outcome, O3_OUTCOME_INCOMPLETE);
    r.eval_count = 17;
    r.eval_ns = 400 * MS;
    assert_int_equal(form(asked(), r, NULL).outcome, O3_OUTCOME_OK);
}

static void done_without_metrics(void **state) {
    (void)state;
    struct o3_stream_result r = half_answered();
    r.is_done = true;
    struct o3_sample s = form(asked(), r, NULL);
    assert_int_equal(s.outcome, O3_OUTCOME_NO_METRICS);
    assert_int_equal(s.flags, O3_SAMPLE_INCOMPLETE);
    assert_int_equal(s.ttft_ns, 102 * MS);
    r = answered();
    r.total_ns = -1;
    s = form(asked(), r, NULL);
    assert_int_equal(s.outcome, O3_OUTCOME_OK);
    assert_int_equal(s.flags, O3_SAMPLE_INCOMPLETE);
    assert_int_equal(s.queue_ns, -1);
}

static void an_answer_that_was_gathered_is_implausible(void **state) {
    (void)state;
    struct o3_stream_result r = answered();
    r.n_token_lines = 1;
    r.first_token_ns = r.first_content_ns = r.last_token_ns = SENT_NS + 501 * MS;
    assert_int_equal(form(asked(), r, NULL).flags, O3_SAMPLE_IMPLAUSIBLE);
    r.first_token_ns = SENT_NS + 499 * MS; /* 1.2 % before the end */
    assert_int_equal(form(asked(), r, NULL).flags, 0);
    /* Two quick tokens after a long prompt come together by nature. */
    r.first_token_ns = SENT_NS + 505 * MS;
    r.eval_ns = 40 * MS;
    r.prompt_eval_ns = 440 * MS;
    assert_int_equal(form(asked(), r, NULL).flags, 0);
    r.eval_ns = 51 * MS;
    assert_int_equal(form(asked(), r, NULL).flags, O3_SAMPLE_IMPLAUSIBLE);
}

static void times_that_contradict_are_implausible(void **state) {
    (void)state;
    struct o3_stream_result r = answered();
    r.prompt_eval_ns = 180 * MS; /* parts 582 of 500 */
    struct o3_sample s = form(asked(), r, NULL);
    assert_int_equal(s.flags, O3_SAMPLE_IMPLAUSIBLE);
    assert_int_equal(s.queue_ns, 0);
    r = answered();
    r.total_ns = 5000 * MS; /* ten times what we waited */
    assert_int_equal(form(asked(), r, NULL).flags, O3_SAMPLE_IMPLAUSIBLE);
    r.total_ns = r.load_ns = r.eval_ns = r.prompt_eval_ns = INT64_MAX;
    s = form(asked(), r, NULL);
    assert_int_equal(s.flags, O3_SAMPLE_IMPLAUSIBLE);
    assert_int_equal(s.queue_ns, 0);
}

static void unreadable_lines_keep_a_sample_out(void **state) {
    (void)state;
    struct o3_stream_result r = answered();
    r.n_bad_lines = 1;
    struct o3_sample s = form(asked(), r, NULL);
    assert_int_equal(s.outcome, O3_OUTCOME_OK);
    assert_int_equal(s.flags, O3_SAMPLE_INCOMPLETE);
}

static void other_flags_stay(void **state) {
    (void)state;
    struct o3_probe_asked a = asked();
    struct o3_stream_result r = answered();
    struct o3_sample s = {.flags = O3_SAMPLE_WARMUP | O3_SAMPLE_IMPLAUSIBLE};
    o3_sample_from_stream(&a, &r, NULL, &s);
    assert_int_equal(s.flags, O3_SAMPLE_WARMUP);
}

static void details_are_for_people(void **state) {
    (void)state;
    struct o3_probe_asked a = asked();
    a.http_status = 404;
    assert_string_equal(form(a, nothing(), "").detail, "HTTP status 404");
    assert_string_equal(form(a, nothing(), "line\nbreak").detail, "line break");
    char text[400];
    memset(text, 'e', sizeof text);
    text[399] = '\0';
    assert_int_equal(strlen(form(a, nothing(), text).detail), 119);
}

static void embed_probes(void **state) {
    (void)state;
    struct o3_probe_asked a = asked();
    a.kind = O3_PROBE_EMBED;
    struct o3_ollama_embed r = {.total_ns = 400 * MS, .load_ns = 2 * MS, .prompt_eval_count = 7, .dimensions = 128};
    struct o3_sample s = {.flags = 0};
    o3_sample_from_embed(&a, &r, NULL, &s);
    assert_int_equal(s.outcome, O3_OUTCOME_OK);
    assert_int_equal(s.flags, 0);
    assert_int_equal(s.kind, O3_PROBE_EMBED);
    assert_int_equal(s.wall_ns, 505 * MS);
    assert_int_equal(s.total_ns, 400 * MS);
    assert_int_equal(s.prompt_eval_count, 7);
    assert_int_equal(s.ttft_ns, -1);
    assert_int_equal(s.eval_count, -1);
    assert_true(isnan(s.decode_tps) && isnan(s.prefill_tps));
    r.total_ns = -1;
    o3_sample_from_embed(&a, &r, NULL, &s);
    assert_int_equal(s.flags, O3_SAMPLE_INCOMPLETE);
    o3_sample_from_embed(&a, NULL, NULL, &s);
    assert_int_equal(s.outcome, O3_OUTCOME_BROKEN);
    r.dimensions = -1;
    o3_sample_from_embed(&a, &r, NULL, &s);
    assert_int_equal(s.outcome, O3_OUTCOME_BROKEN);
    a.http_status = 501;
    o3_sample_from_embed(&a, NULL, "no embeddings", &s);
    assert_int_equal(s.outcome, O3_OUTCOME_HTTP_ERROR);
    assert_string_equal(s.detail, "no embeddings");
}

/* ---- JSON lines ---- */

static void assert_same_double(double a, double b) {
    if (isnan(a) && isnan(b)) return;
    assert_memory_equal(&a, &b, sizeof a);
}

static void assert_same_surroundings(const struct o3_surroundings *a, const struct o3_surroundings *b) {
    assert_string_equal(a->version, b->version);
    assert_string_equal(a->gpu, b->gpu);
    assert_int_equal(a->parallel, b->parallel);
    assert_int_equal(a->preset_num_ctx, b->preset_num_ctx);
    assert_int_equal(a->loaded_wall_ms, b->loaded_wall_ms);
    assert_int_equal(a->weight_bytes, b->weight_bytes);
    assert_same_double(a->bandwidth_bytes_per_s, b->bandwidth_bytes_per_s);
    assert_int_equal(a->interval_ms, b->interval_ms);
    assert_int_equal(a->n_models, b->n_models);
    assert_int_equal(a->n_loads, b->n_loads);
    assert_int_equal(a->n_user_requests, b->n_user_requests);
    assert_int_equal(a->swapped_bytes, b->swapped_bytes);
    assert_int_equal(a->n_throttled, b->n_throttled);
    assert_int_equal(a->n_quota, b->n_quota);
    assert_same_double(a->pressure_cpu, b->pressure_cpu);
    assert_same_double(a->pressure_memory, b->pressure_memory);
    assert_same_double(a->pressure_io, b->pressure_io);
    assert_int_equal(a->memory_available_bytes, b->memory_available_bytes);
    assert_int_equal(a->other_vram_bytes, b->other_vram_bytes);
}

static void assert_same_sample(const struct o3_sample *a, const struct o3_sample *b) {
    assert_int_equal(a->wall_ms, b->wall_ms);
    assert_int_equal(a->mono_ns, b->mono_ns);
    assert_string_equal(a->model, b->model);
    assert_string_equal(a->digest, b->digest);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->outcome, b->outcome);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->http_status, b->http_status);
    assert_int_equal(a->num_ctx, b->num_ctx);
    assert_int_equal(a->num_batch, b->num_batch);
    assert_int_equal(a->num_predict, b->num_predict);
    assert_int_equal(a->ttft_ns, b->ttft_ns);
    assert_int_equal(a->ttfc_ns, b->ttfc_ns);
    assert_int_equal(a->wall_ns, b->wall_ns);
    assert_int_equal(a->total_ns, b->total_ns);
    assert_int_equal(a->load_ns, b->load_ns);
    assert_int_equal(a->prompt_eval_ns, b->prompt_eval_ns);
    assert_int_equal(a->eval_ns, b->eval_ns);
    assert_int_equal(a->prompt_eval_count, b->prompt_eval_count);
    assert_int_equal(a->eval_count, b->eval_count);
    assert_int_equal(a->queue_ns, b->queue_ns);
    assert_same_double(a->decode_tps, b->decode_tps);
    assert_same_double(a->prefill_tps, b->prefill_tps);
    assert_same_double(a->tpot_s, b->tpot_s);
    assert_int_equal(a->size_bytes, b->size_bytes);
    assert_int_equal(a->vram_bytes, b->vram_bytes);
    assert_int_equal(a->acknowledged, b->acknowledged);
    assert_string_equal(a->detail, b->detail);
    assert_same_surroundings(&a->around, &b->around);
}

static void assert_round_trip(const struct o3_sample *s) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    assert_int_equal(o3_sample_encode_json(s, "run", &b), 0);
    assert_null(strchr(o3_buf_str(&b), '\n'));
    struct o3_sample again;
    assert_int_equal(o3_sample_decode_json(o3_buf_str(&b), b.len, &again, NULL), 0);
    assert_same_sample(s, &again);
}

static void the_line_says_what_people_look_for(void **state) {
    (void)state;
    struct o3_sample s = form(asked(), answered(), NULL);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    assert_int_equal(o3_sample_encode_json(&s, "r-1", &b), 0);
    json_t *j = json_loadb(o3_buf_str(&b), b.len, 0, NULL);
    assert_non_null(j);
    assert_int_equal(json_integer_value(json_object_get(j, "v")), 1);
    assert_string_equal(json_string_value(json_object_get(j, "timestamp")), "2026-11-21T04:06:06.161Z");
    assert_string_equal(json_string_value(json_object_get(j, "run_id")), "r-1");
    assert_string_equal(json_string_value(json_object_get(j, "model")), "m");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "config"), "num_ctx")), 4096);
    assert_true(json_is_true(json_object_get(j, "success")));
    O3_ASSERT_NEAR(json_number_value(json_object_get(j, "ttft_ms")), 102, 1e-12);
    O3_ASSERT_NEAR(json_number_value(json_object_get(j, "tokens_per_sec")), 37.5, 1e-9);
    assert_int_equal(json_integer_value(json_object_get(j, "ram_bytes")), 5);
    assert_int_equal(json_integer_value(json_object_get(j, "vram_bytes")), 4);
    assert_true(json_is_null(json_object_get(j, "prefill_tokens_per_sec")));
    json_decref(j);
    assert_round_trip(&s);
}

static void the_line_tells_what_was_around(void **state) {
    (void)state;
    struct o3_sample s = form(asked(), answered(), NULL);
    o3_surroundings_init(&s.around);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    assert_int_equal(o3_sample_encode_json(&s, "", &b), 0);
    assert_non_null(strstr(o3_buf_str(&b), "\"around\":{}"));
    assert_null(strstr(o3_buf_str(&b), "acknowledged"));
    assert_round_trip(&s);
    o3_str_copy(s.around.version, sizeof s.around.version, "0.33.0");
    s.around.n_models = 3;
    s.around.n_loads = 0;
    s.around.pressure_io = 0.25;
    s.flags = O3_SAMPLE_AFTER_GAP | O3_SAMPLE_THROTTLED;
    s.acknowledged = 1u << O3_SIGNAL_TTFT | 1u << O3_SIGNAL_SUCCESS;
    o3_buf_clear(&b);
    assert_int_equal(o3_sample_encode_json(&s, "", &b), 0);
    const char *line = o3_buf_str(&b);
    assert_non_null(strstr(line, "\"around\":{\"version\":\"0.33.0\",\"n_models\":3,\"pressure_io\":0.25}"));
    assert_non_null(strstr(line, "\"flags\":[\"after_gap\",\"throttled\"]"));
    assert_non_null(strstr(line, "\"acknowledged\":[\"ttft\",\"success\"]"));
    assert_round_trip(&s);
}

/* A line as version 0.1 wrote it. */
static void lines_without_surroundings_are_still_read(void **state) {
    (void)state;
    static const char OLD[] =
        "{\"v\":1,\"timestamp\":\"2026-11-21T04:06:06.161Z\",\"run_id\":\"r\",\"model\":\"m:latest\",\"digest\":\"\","
        "\"kind\":\"decode\",\"outcome\":\"ok\",\"success\":true,\"config\":{\"num_ctx\":4096,\"num_batch\":512,"
        "\"num_predict\":16},\"ttft_ms\":102.0,\"tokens_per_sec\":37.5,\"prefill_tokens_per_sec\":null,\"tpot_s\":0.02,"
        "\"ram_bytes\":5,\"vram_bytes\":4,\"flags\":[\"busy\"],\"http_status\":200,\"wall_ms\":1795233966161,"
        "\"mono_ns\":500000000,\"ttft_ns\":102000000}";
    struct o3_sample s;
    struct o3_surroundings unknown;
    o3_surroundings_init(&unknown);
    assert_int_equal(o3_sample_decode_json(OLD, sizeof OLD - 1, &s, NULL), 0);
    assert_int_equal(s.num_ctx, 4096);
    assert_int_equal(s.flags, O3_SAMPLE_BUSY);
    assert_int_equal(s.acknowledged, 0);
    assert_same_surroundings(&s.around, &unknown);
    assert_int_equal(s.around.parallel, -1);
    assert_int_equal(s.around.n_loads, 0);
    assert_true(isnan(s.around.pressure_cpu));
}

static void unknown_values_come_back_unknown(void **state) {
    (void)state;
    struct o3_probe_asked a = asked();
    a.http_status = 0;
    a.transport = O3_E_UNREACHABLE;
    a.end_mono_ns = -1;
    struct o3_sample s = form(a, nothing(), "refused \"x\"\\");
    s.num_ctx = s.num_batch = s.num_predict = s.size_bytes = s.vram_bytes = -1;
    assert_int_equal(s.wall_ns, -1);
    assert_round_trip(&s);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    assert_int_equal(o3_sample_encode_json(&s, NULL, &b), 0);
    assert_non_null(strstr(o3_buf_str(&b), "\"success\":false"));
    assert_non_null(strstr(o3_buf_str(&b), "\"ttft_ms\":null"));
    assert_null(strstr(o3_buf_str(&b), "\"ttft_ns\""));
    s.outcome = O3_OUTCOME_CANCELLED;
    o3_buf_clear(&b);
    assert_int_equal(o3_sample_encode_json(&s, NULL, &b), 0);
    assert_non_null(strstr(o3_buf_str(&b), "\"success\":null"));
}

static int64_t random_count(struct o3_rand *r) {
    return o3_rand_below(r, 4) == 0 ? -1 : (int64_t)(o3_rand_u64(r) >> (1 + o3_rand_below(r, 60)));
}

static double random_real(struct o3_rand *r) {
    if (o3_rand_below(r, 4) == 0) return (double)NAN;
    static const double ODD[] = {0, 1, 0.1, 1e300, DBL_MAX, DBL_MIN, 5e-324, 37.599999999999994, 1e22};
    if (o3_rand_below(r, 4) == 0) return ODD[o3_rand_below(r, sizeof ODD / sizeof *ODD)];
    return ldexp(o3_rand_uniform(r), (int)o3_rand_below(r, 200) - 100);
}

static void random_surroundings(struct o3_rand *r, struct o3_surroundings *s) {
    o3_surroundings_init(s);
    int64_t *integers[] = {&s->parallel,        &s->preset_num_ctx, &s->loaded_wall_ms, &s->weight_bytes,
                           &s->interval_ms,     &s->n_models,       &s->n_loads,        &s->n_user_requests,
                           &s->swapped_bytes,   &s->n_throttled,    &s->n_quota,        &s->memory_available_bytes,
                           &s->other_vram_bytes};
    double *reals[] = {&s->bandwidth_bytes_per_s, &s->pressure_cpu, &s->pressure_memory, &s->pressure_io};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        if (o3_rand_below(r, 3)) *integers[i] = o3_rand_below(r, 8) ? random_count(r) : -(int64_t)(o3_rand_u64(r) >> 1);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        *reals[i] = random_real(r);
    if (o3_rand_below(r, 2)) snprintf(s->version, sizeof s->version, "0.%d.\xc3\xa9", (int)o3_rand_below(r, 100));
    for (size_t i = 0, n = (size_t)o3_rand_below(r, sizeof s->gpu); i < n; i++)
        s->gpu[i] = (char)(' ' + o3_rand_below(r, 95));
}

static void any_sample_comes_back(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(99));
    for (int round = 0; round < 2000; round++) {
        struct o3_sample s = {
            .wall_ms = (int64_t)o3_rand_u64(&r),
            .mono_ns = (int64_t)o3_rand_u64(&r),
            .kind = (enum o3_probe_kind)o3_rand_below(&r, O3_PROBE_KIND_COUNT),
            .outcome = (enum o3_outcome)o3_rand_below(&r, O3_OUTCOME_COUNT),
            .flags = (uint32_t)o3_rand_below(&r, 2 * O3_SAMPLE_THROTTLED),
            .http_status = (int)o3_rand_below(&r, 600),
        };
        int64_t *counts[] = {&s.num_ctx,  &s.num_batch,  &s.num_predict, &s.ttft_ns,           &s.ttfc_ns,
                             &s.wall_ns,  &s.total_ns,   &s.load_ns,     &s.prompt_eval_ns,    &s.eval_ns,
                             &s.queue_ns, &s.eval_count, &s.size_bytes,  &s.prompt_eval_count, &s.vram_bytes};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            *counts[i] = random_count(&r);
        s.decode_tps = random_real(&r);
        s.prefill_tps = random_real(&r);
        s.tpot_s = random_real(&r);
        s.acknowledged = o3_rand_below(&r, 2) ? 0 : (uint32_t)o3_rand_below(&r, 1u << O3_SIGNAL_COUNT);
        random_surroundings(&r, &s.around);
        snprintf(s.model, sizeof s.model, "m%llu:\xc3\xa9", (unsigned long long)o3_rand_u64(&r));
        o3_sha256_hex(&s, sizeof s, s.digest);
        for (size_t i = 0, n = (size_t)o3_rand_below(&r, sizeof s.detail); i < n; i++)
            s.detail[i] = (char)(' ' + o3_rand_below(&r, 95));
        assert_round_trip(&s);
    }
}

static void text_that_is_not_utf8_does_not_cost_the_line(void **state) {
    (void)state;
    struct o3_sample s = form(asked(), answered(), NULL);
    o3_str_copy(s.detail, sizeof s.detail, "a\xff\xc3");
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    assert_int_equal(o3_sample_encode_json(&s, "\xff", &b), 0);
    struct o3_sample again;
    assert_int_equal(o3_sample_decode_json(o3_buf_str(&b), b.len, &again, NULL), 0);
    assert_string_equal(again.detail, "a??");
}

static void a_full_buffer_is_an_error(void **state) {
    (void)state;
    struct o3_sample s = form(asked(), answered(), NULL);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    assert_int_equal(o3_sample_encode_json(&s, "r", &b), O3_E_LIMIT);
    assert_int_equal(b.err, O3_E_LIMIT);
}

static void lines_that_are_no_samples(void **state) {
    (void)state;
#define REST "\"flags\":[],\"wall_ms\":1,\"mono_ns\":2}"
    static const char *const LINES[] = {
        "",
        "{}",
        "[]",
        "{\"v\":0,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\"," REST,
        "{\"v\":2,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\"," REST,
        "{\"v\":1,\"model\":\"m\",\"kind\":\"guess\",\"outcome\":\"ok\"," REST,
        "{\"v\":1,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"great\"," REST,
        "{\"v\":1,\"model\":\"m\",\"kind\":\"decode\"," REST,
        "{\"v\":1,\"model\":\"a\\nb\",\"kind\":\"decode\",\"outcome\":\"ok\"," REST,
        "{\"v\":1,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\",\"wall_ms\":1,\"mono_ns\":2}",
        "{\"v\":1,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\",\"flags\":[\"odd\"],\"wall_ms\":1,\"mono_ns\":"
        "2}",
        "{\"v\":1,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\",\"flags\":[7],\"wall_ms\":1,\"mono_ns\":2}",
        "{\"v\":1,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\",\"flags\":[],\"wall_ms\":1.5,\"mono_ns\":2}",
        "{\"v\":1,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\",\"flags\":[],\"wall_ms\":1}",
        "{\"v\":1,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\",\"acknowledged\":[\"odd\"]," REST,
        "{\"v\":1,\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\",\"acknowledged\":7," REST,
    };
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        struct o3_sample s = {.http_status = 77};
        assert_int_equal(o3_sample_decode_json(LINES[i], strlen(LINES[i]), &s, NULL), O3_E_PARSE);
        assert_int_equal(s.http_status, 77);
    }
    static const char BARE[] = "{\"v\":1,\"new\":[],\"model\":\"m\",\"kind\":\"decode\",\"outcome\":\"ok\"," REST;
    struct o3_sample s;
    assert_int_equal(o3_sample_decode_json(BARE, sizeof BARE - 1, &s, NULL), 0);
    assert_int_equal(s.ttft_ns, -1);
    assert_int_equal(s.num_ctx, -1);
    assert_true(isnan(s.decode_tps));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_a_closed_set),
        cmocka_unit_test(a_clean_probe),
        cmocka_unit_test(the_rate_leaves_the_first_token_out),
        cmocka_unit_test(prefill),
        cmocka_unit_test(outcomes_of_the_transfer),
        cmocka_unit_test(outcomes_of_the_stream),
        cmocka_unit_test(fewer_tokens_than_asked),
        cmocka_unit_test(done_without_metrics),
        cmocka_unit_test(an_answer_that_was_gathered_is_implausible),
        cmocka_unit_test(times_that_contradict_are_implausible),
        cmocka_unit_test(unreadable_lines_keep_a_sample_out),
        cmocka_unit_test(other_flags_stay),
        cmocka_unit_test(details_are_for_people),
        cmocka_unit_test(embed_probes),
        cmocka_unit_test(the_line_says_what_people_look_for),
        cmocka_unit_test(the_line_tells_what_was_around),
        cmocka_unit_test(lines_without_surroundings_are_still_read),
        cmocka_unit_test(unknown_values_come_back_unknown),
        cmocka_unit_test(any_sample_comes_back),
        cmocka_unit_test(text_that_is_not_utf8_does_not_cost_the_line),
        cmocka_unit_test(a_full_buffer_is_an_error),
        cmocka_unit_test(lines_that_are_no_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
