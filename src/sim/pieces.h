/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_PIECES_H
#define O3_SIM_PIECES_H
/* What is said of work: pieces of an answer, vectors, progress; in the words of either API. */
#include "sim/request.h"

/* ---- replies.c: bodies ---- */
void o3_sim_json_version(const struct o3_world *w, struct o3_buf *out);
void o3_sim_json_tags(const struct o3_world *w, struct o3_buf *out);
/* The entries that are empty are made, the others used as they are. */
void o3_sim_json_ps(struct o3_world *w, int64_t t, struct o3_buf *out);
void o3_sim_json_error(const char *text, struct o3_buf *out);
void o3_sim_json_status(const char *text, struct o3_buf *out);
struct o3_sim_piece {
    const char *model;
    bool is_chat, is_done;
    int64_t wall_s, wall_ns;
    const char *text, *thinking; /* thinking: NULL or "" leaves the field out */
    const char *tool_calls;      /* JSON array, NULL: none */
    const char *logprobs;        /* JSON objects separated by commas, NULL: none */
    const char *done_reason;
    bool has_counts;
    const struct o3_sim_tokens *context; /* NULL: none */
    int64_t total_ns, load_ns, prompt_count, prompt_ns, eval_count, eval_ns;
};
void o3_sim_json_piece(const struct o3_sim_piece *p, struct o3_buf *out);
struct o3_sim_vectors {
    const char *model;
    bool is_legacy;
    const double *v; /* n x dimensions */
    size_t n, dimensions;
    bool has_counts;
    int64_t total_ns, load_ns, prompt_count;
};
void o3_sim_json_vectors(const struct o3_sim_vectors *v, struct o3_buf *out);

struct o3_sim_progress {
    const char *status, *digest; /* digest: hex, NULL: none */
    int64_t total, completed;
};
void o3_sim_json_progress(const struct o3_sim_progress *p, struct o3_buf *out);

/* ---- show.c ---- */
void o3_sim_json_show(const struct o3_world *w, const struct o3_sim_model *m, bool is_verbose, struct o3_buf *out);

/* ---- dialect.c: the same replies, as the request's API writes them ---- */
void o3_sim_write_piece(const struct o3_sim_request *rq, const struct o3_sim_piece *p, struct o3_buf *out);
void o3_sim_write_stream_error(const struct o3_sim_request *rq, const char *text, struct o3_buf *out);
void o3_sim_write_whole(struct o3_sim_request *rq, const struct o3_sim_piece *p);
void o3_sim_write_vectors(struct o3_sim_request *rq, const struct o3_sim_vectors *v);
const char *o3_sim_stream_type(const struct o3_sim_request *rq);
const char *o3_sim_whole_type(const struct o3_sim_request *rq);
/* Returns the content type. */
const char *o3_sim_write_error(const struct o3_sim_request *rq, int status, const char *text, struct o3_buf *out);

/* ---- openai.c ---- */
void o3_sim_openai_piece(const struct o3_sim_request *rq, const struct o3_sim_piece *p, struct o3_buf *out);
void o3_sim_openai_whole(const struct o3_sim_request *rq, const struct o3_sim_piece *p, struct o3_buf *out);
void o3_sim_openai_vectors(const struct o3_sim_request *rq, const struct o3_sim_vectors *v, struct o3_buf *out);
void o3_sim_openai_models(const struct o3_world *w, struct o3_buf *out);
void o3_sim_openai_model(const struct o3_sim_model *m, const char *name, struct o3_buf *out);
void o3_sim_openai_error(int status, const char *text, struct o3_buf *out);

#define O3_SIM_JSON "application/json; charset=utf-8"
#define O3_SIM_JSON_PLAIN "application/json"
#define O3_SIM_NDJSON "application/x-ndjson"

#endif
