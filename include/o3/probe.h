/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PROBE_H
#define O3_PROBE_H
/* One probe: the body of its request, the reply as it comes in, and the sample that both give. Pure; the sidecar and
 * `o3 probe` measure by the same code. */
#include "o3/host.h"
#include "o3/sample.h"

struct o3_probe_spec {
    enum o3_probe_kind kind;
    const char *model;     /* as /api/ps prints it */
    int64_t num_predict;   /* generate: >= 2 */
    int64_t prefill_words; /* prefill: length of the prompt */
    uint64_t nonce;        /* prefill: fresh each time, so that no cached prefix serves it */
    bool send_think_false;
    int64_t context_length;                 /* in force, as /api/ps shows it */
    int64_t trained_context_length;         /* the model's own; <= 0 unknown */
    const struct o3_runner_cmdline *runner; /* NULL: not readable */
};
const char *o3_probe_path(enum o3_probe_kind kind); /* "/api/generate" or "/api/embed" */
int o3_probe_write(const struct o3_probe_spec *p, struct o3_buf *body);

struct o3_probe_reply {
    struct o3_stream *stream; /* generate */
    struct o3_buf rest;       /* an embedding, or the body of an error status */
};
O3_MUST_CHECK int o3_probe_reply_init(struct o3_probe_reply *r, enum o3_probe_kind kind);
void o3_probe_reply_done(struct o3_probe_reply *r); /* may be called again, and on zeroes */
void o3_probe_reply_data(struct o3_probe_reply *r, int status, const char *bytes, size_t n, int64_t mono_ns);
/* The exchange is over: `asked` tells how. text: the transport's own words, for an error without a body. An embedding
 * that cannot be understood counts as broken. */
void o3_probe_reply_sample(struct o3_probe_reply *r, const struct o3_probe_asked *asked, const char *text,
                           struct o3_sample *ret);

#endif
