/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_STREAM_H
#define O3_STREAM_H
/* Parser of the NDJSON stream of /api/generate and /api/chat. Survives any split of the bytes, blank lines,
 * CRLF, unknown and missing fields, 64-bit durations, invalid UTF-8, lines over the limit, error objects in
 * mid-stream, data after `done`, a stream that just ends. It never fails: what it saw is the result, and bad
 * input is counted. Feed it the monotonic time of the arrival of each piece. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct o3_stream;

struct o3_stream_result {
    int64_t first_token_ns;   /* mono time of the first token of any channel (response, thinking, content); -1 none */
    int64_t first_content_ns; /* first non-empty response/content text; -1 none */
    int64_t last_token_ns;    /* -1 none */
    int64_t n_token_lines;    /* objects that carried a token (chunks <= eval_count) */
    bool is_done;             /* an object with done:true was seen */
    char done_reason[17];
    /* from the done object; -1 when absent, negative or not an integer */
    int64_t total_ns, load_ns, prompt_eval_ns, eval_ns, prompt_eval_count, eval_count;
    char error[200];       /* text of an error object; "" none */
    uint32_t n_bad_lines;  /* not JSON, not an object, or invalid UTF-8 */
    uint32_t n_long_lines; /* over the limit, skipped to the next newline */
    int64_t n_bytes;
};

/* max_line: bytes kept of one line (the done object of a non-raw reply carries the whole context: 1 MiB is ample). NULL
 * on no memory. */
struct o3_stream *o3_stream_new(size_t max_line);
void o3_stream_free(struct o3_stream *s);
void o3_stream_feed(struct o3_stream *s, const char *bytes, size_t n, int64_t mono_ns);
void o3_stream_end(struct o3_stream *s, int64_t mono_ns); /* the transport ended: a last line without newline counts */
const struct o3_stream_result *o3_stream_result(const struct o3_stream *s); /* borrowed */

#endif
