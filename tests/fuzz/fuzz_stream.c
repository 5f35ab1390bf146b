/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes, fed whole and in pieces: both ways must see the same stream, and a sample can be formed from it. */
#include <stdlib.h>
#include <string.h>
#include "o3/err.h"
#include "o3/ollama.h"
#include "o3/sample.h"
#include "o3/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAX_LINE = 4096 };

static void feed(struct o3_stream *s, const char *bytes, size_t n, size_t piece) {
    for (size_t i = 0; i < n; i += piece)
        o3_stream_feed(s, bytes + i, n - i < piece ? n - i : piece, 1000);
    o3_stream_end(s, 1000);
}

/* Field by field: the bytes between the fields are nobody's. */
static bool is_same(const struct o3_stream_result *a, const struct o3_stream_result *b) {
    return a->first_token_ns == b->first_token_ns && a->first_content_ns == b->first_content_ns &&
           a->last_token_ns == b->last_token_ns && a->n_token_lines == b->n_token_lines && a->is_done == b->is_done &&
           !strcmp(a->done_reason, b->done_reason) && a->total_ns == b->total_ns && a->load_ns == b->load_ns &&
           a->prompt_eval_ns == b->prompt_eval_ns && a->eval_ns == b->eval_ns &&
           a->prompt_eval_count == b->prompt_eval_count && a->eval_count == b->eval_count &&
           !strcmp(a->error, b->error) && a->n_bad_lines == b->n_bad_lines && a->n_long_lines == b->n_long_lines &&
           a->n_bytes == b->n_bytes;
}

static void check_sample(const struct o3_stream_result *r) {
    struct o3_probe_asked asked = {.kind = O3_PROBE_DECODE, .num_predict = 16, .end_mono_ns = 2000, .http_status = 200};
    struct o3_sample sample = {.num_ctx = -1, .num_batch = -1, .size_bytes = -1, .vram_bytes = -1};
    struct o3_sample again;
    o3_sample_from_stream(&asked, r, NULL, &sample);
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1 << 16);
    O3_ASSERT(o3_sample_encode_json(&sample, "fuzz", &text) == 0);
    O3_ASSERT(o3_sample_decode_json(o3_buf_str(&text), text.len, &again, NULL) == 0);
    O3_ASSERT(again.outcome == sample.outcome && again.flags == sample.flags && again.eval_ns == sample.eval_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *bytes = (const char *)data;
    size_t piece = n ? 1 + data[0] % 7 : 1;
    struct o3_stream *whole = o3_stream_new(MAX_LINE), *pieces = o3_stream_new(MAX_LINE);
    O3_ASSERT(whole && pieces);
    feed(whole, bytes, n, n ? n : 1);
    feed(pieces, bytes, n, piece);
    const struct o3_stream_result *r = o3_stream_result(whole);
    O3_ASSERT(is_same(r, o3_stream_result(pieces)));
    O3_ASSERT(r->n_bytes == (int64_t)n && memchr(r->error, 0, sizeof r->error));
    O3_ASSERT(r->eval_count <= O3_OLLAMA_TOKENS_MAX && r->prompt_eval_count <= O3_OLLAMA_TOKENS_MAX);
    O3_ASSERT(r->total_ns <= O3_OLLAMA_NS_MAX && r->load_ns <= O3_OLLAMA_NS_MAX &&
              r->prompt_eval_ns <= O3_OLLAMA_NS_MAX && r->eval_ns <= O3_OLLAMA_NS_MAX);
    check_sample(r);
    o3_stream_free(whole);
    o3_stream_free(pieces);
    return 0;
}
