/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/probe.h"
#include "o3/plan.h"
#include "o3/text.h"

#define LINE_BYTES_MAX (1u << 20)
#define REST_BYTES_MAX (1u << 20)
#define PROMPT_BYTES_MAX (64u * 1024)
#define SEED 42 /* with temperature 0: every decode probe does the same work */

const char *o3_probe_path(enum o3_probe_kind kind) {
    return kind == O3_PROBE_EMBED ? "/api/embed" : "/api/generate";
}

static int write_generate(const struct o3_probe_spec *p, struct o3_buf *body) {
    O3_AUTO_BUF prompt;
    o3_buf_init(&prompt, PROMPT_BYTES_MAX);
    if (p->kind == O3_PROBE_PREFILL)
        (void)o3_prefill_prompt(p->nonce, p->prefill_words, &prompt);
    else
        o3_buf_adds(&prompt, o3_decode_prompt());
    if (prompt.err) return prompt.err;
    struct o3_ollama_generate g = {.model = p->model,
                                   .prompt = o3_buf_str(&prompt),
                                   .is_raw = true,
                                   .send_think_false = p->send_think_false,
                                   .num_predict = p->num_predict,
                                   .seed = SEED,
                                   .options = o3_options_in_force(p->context_length, p->runner)};
    return o3_ollama_write_generate(&g, body);
}

int o3_probe_write(const struct o3_probe_spec *p, struct o3_buf *body) {
    if (p->kind != O3_PROBE_EMBED) return write_generate(p, body);
    struct o3_runner_options options = o3_embed_options_in_force(p->context_length, p->trained_context_length,
                                                                 p->runner);
    return o3_ollama_write_embed(p->model, o3_decode_prompt(), &options, body);
}

int o3_probe_reply_init(struct o3_probe_reply *r, enum o3_probe_kind kind) {
    *r = (struct o3_probe_reply){0};
    o3_buf_init(&r->rest, REST_BYTES_MAX);
    if (kind == O3_PROBE_EMBED) return 0;
    r->stream = o3_stream_new(LINE_BYTES_MAX);
    return r->stream ? 0 : O3_E_NOMEM;
}

void o3_probe_reply_done(struct o3_probe_reply *r) {
    o3_stream_free(r->stream);
    o3_buf_done(&r->rest);
    *r = (struct o3_probe_reply){0};
}

void o3_probe_reply_data(struct o3_probe_reply *r, int status, const char *bytes, size_t n, int64_t mono_ns) {
    if (r->stream && status == 200)
        o3_stream_feed(r->stream, bytes, n, mono_ns);
    else
        (void)o3_buf_add(&r->rest, bytes, n);
}

static void embed_sample(const struct o3_probe_reply *r, const struct o3_probe_asked *asked, char error[200],
                         struct o3_sample *ret) {
    struct o3_probe_asked how = *asked;
    struct o3_ollama_embed embed = {-1, -1, -1, -1};
    struct o3_err e;
    bool is_whole = how.transport == 0 && how.http_status == 200;
    if (is_whole && o3_ollama_parse_embed(o3_buf_str(&r->rest), r->rest.len, &embed, &e) < 0) {
        how.transport = O3_E_HTTP;
        o3_str_copy(error, 200, e.text);
    }
    o3_sample_from_embed(&how, &embed, error, ret);
}

void o3_probe_reply_sample(struct o3_probe_reply *r, const struct o3_probe_asked *asked, const char *text,
                           struct o3_sample *ret) {
    char error[200] = "";
    bool has_words = r->rest.len && o3_ollama_parse_error(o3_buf_str(&r->rest), r->rest.len, error, sizeof error);
    if (asked->http_status != 200 && !has_words) o3_str_copy(error, sizeof error, text ? text : "");
    if (!r->stream) {
        embed_sample(r, asked, error, ret);
        return;
    }
    o3_stream_end(r->stream, asked->end_mono_ns);
    o3_sample_from_stream(asked, o3_stream_result(r->stream), error, ret);
}
