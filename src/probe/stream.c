/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/stream.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "o3/buf.h"
#include "o3/ollama.h"
#include "base/json.h"
#include "probe/word_line.h"

struct o3_stream {
    struct o3_buf line; /* the part of a line that came in earlier pieces */
    size_t max_line;
    bool is_skipping; /* the rest of a line that was too long */
    struct o3_stream_result result;
};

struct o3_stream *o3_stream_new(size_t max_line) {
    struct o3_stream *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    o3_buf_init(&s->line, max_line);
    s->max_line = max_line;
    s->result = (struct o3_stream_result){
        .first_token_ns = -1,
        .first_content_ns = -1,
        .last_token_ns = -1,
        .total_ns = -1,
        .load_ns = -1,
        .prompt_eval_ns = -1,
        .eval_ns = -1,
        .prompt_eval_count = -1,
        .eval_count = -1,
    };
    return s;
}

void o3_stream_free(struct o3_stream *s) {
    if (!s) return;
    o3_buf_done(&s->line);
    free(s);
}

const struct o3_stream_result *o3_stream_result(const struct o3_stream *s) {
    return &s->result;
}

static bool has_text(const json_t *o, const char *key) {
    size_t n;
    o3_json_text(o, key, &n);
    return n > 0;
}

static void note_token(struct o3_stream_result *r, bool has_content, bool has_thinking, int64_t mono_ns) {
    if (!has_content && !has_thinking) return;
    if (r->first_token_ns < 0) r->first_token_ns = mono_ns;
    if (has_content && r->first_content_ns < 0) r->first_content_ns = mono_ns;
    r->last_token_ns = mono_ns;
    r->n_token_lines++;
}

static void take_tokens(struct o3_stream_result *r, const json_t *o, int64_t mono_ns) {
    const json_t *message = json_object_get(o, "message");
    bool has_content = has_text(o, "response") || has_text(message, "content");
    bool has_thinking = has_text(o, "thinking") || has_text(message, "thinking");
    note_token(r, has_content, has_thinking, mono_ns);
}

static void leave_out_absurd(struct o3_stream_result *r) {
    int64_t *const times[] = {&r->total_ns, &r->load_ns, &r->prompt_eval_ns, &r->eval_ns};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        *times[i] = o3_ollama_within(*times[i], O3_OLLAMA_NS_MAX);
    r->prompt_eval_count = o3_ollama_within(r->prompt_eval_count, O3_OLLAMA_TOKENS_MAX);
    r->eval_count = o3_ollama_within(r->eval_count, O3_OLLAMA_TOKENS_MAX);
}

static void take_done(struct o3_stream_result *r, const json_t *o) {
    r->is_done = true;
    o3_json_copy(o, "done_reason", r->done_reason, sizeof r->done_reason);
    r->total_ns = o3_json_count(o, "total_duration");
    r->load_ns = o3_json_count(o, "load_duration");
    r->prompt_eval_ns = o3_json_count(o, "prompt_eval_duration");
    r->eval_ns = o3_json_count(o, "eval_duration");
    r->prompt_eval_count = o3_json_count(o, "prompt_eval_count");
    r->eval_count = o3_json_count(o, "eval_count");
    leave_out_absurd(r);
}

static void take_object(struct o3_stream_result *r, const json_t *o, int64_t mono_ns) {
    /* The answer is over: what follows can only spoil it. */
    if (r->is_done || r->error[0]) return;
    o3_json_error(o, r->error, sizeof r->error);
    take_tokens(r, o, mono_ns);
    if (json_is_true(json_object_get(o, "done"))) take_done(r, o);
}

static void take_word(struct o3_stream_result *r, const struct o3_word_line *w, int64_t mono_ns) {
    if (r->is_done || r->error[0]) return;
    note_token(r, w->has_content, w->has_thinking, mono_ns);
    if (!w->is_done) return;
    r->is_done = true;
    o3_text_clean(r->done_reason, sizeof r->done_reason, w->done_reason ? w->done_reason : "", w->n_done_reason);
    r->total_ns = w->figure[O3_WORD_TOTAL_DURATION];
    r->load_ns = w->figure[O3_WORD_LOAD_DURATION];
    r->prompt_eval_ns = w->figure[O3_WORD_PROMPT_EVAL_DURATION];
    r->eval_ns = w->figure[O3_WORD_EVAL_DURATION];
    r->prompt_eval_count = w->figure[O3_WORD_PROMPT_EVAL_COUNT];
    r->eval_count = w->figure[O3_WORD_EVAL_COUNT];
    leave_out_absurd(r);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* One object, but more than one are understood too. */
static void take_line(struct o3_stream_result *r, const char *p, size_t n, int64_t mono_ns) {
    struct o3_word_line word;
    if (o3_word_line_read(p, n, &word)) {
        take_word(r, &word, mono_ns);
        return;
    }
    for (;;) {
        while (n && is_blank(*p)) {
            p++;
            n--;
        }
        if (!n) return;
        json_error_t ignored;
        size_t n_used = 0;
        O3_AUTO_JSON *o = o3_json_load_first(p, n, &n_used, &ignored);
        if (!json_is_object(o) || n_used == 0 || n_used > n) {
            r->n_bad_lines++;
            return;
        }
        take_object(r, o, mono_ns);
        p += n_used;
        n -= n_used;
    }
}

/* Keeps the start of a line whose end is yet to come. No memory counts as too long: the stream goes on without it. */
static void keep(struct o3_stream *s, const char *bytes, size_t n) {
    if (s->is_skipping || o3_buf_add(&s->line, bytes, n) == 0) return;
    s->is_skipping = true;
    s->result.n_long_lines++;
    o3_buf_clear(&s->line);
}

static void end_line(struct o3_stream *s, int64_t mono_ns) {
    if (!s->is_skipping) take_line(&s->result, o3_buf_str(&s->line), s->line.len, mono_ns);
    s->is_skipping = false;
    o3_buf_clear(&s->line);
}

void o3_stream_feed(struct o3_stream *s, const char *bytes, size_t n, int64_t mono_ns) {
    s->result.n_bytes += (int64_t)n;
    while (n) {
        const char *newline = memchr(bytes, '\n', n);
        size_t n_line = newline ? (size_t)(newline - bytes) : n;
        bool is_whole = newline && !s->line.len && !s->is_skipping && n_line <= s->max_line;
        if (is_whole) {
            take_line(&s->result, bytes, n_line, mono_ns);
        } else {
            keep(s, bytes, n_line);
            if (newline) end_line(s, mono_ns);
        }
        size_t n_used = n_line + (newline != NULL);
        bytes += n_used;
        n -= n_used;
    }
}

void o3_stream_end(struct o3_stream *s, int64_t mono_ns) {
    end_line(s, mono_ns);
}
