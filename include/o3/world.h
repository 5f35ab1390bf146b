/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_WORLD_H
#define O3_WORLD_H
/* A simulated Ollama server and its machine on a virtual clock, speaking the bytes of the HTTP API. Pure and seeded:
 * same seed and same calls, same bytes. app/sim_server gives it sockets; tests and `o3 simulate` drive it directly. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"
#include "o3/text.h"

struct o3_world;
struct o3_world_params {
    uint64_t seed;
    const char *version;   /* NULL: "0.32.15"; below 0.30 gives the older scheduler's semantics */
    int64_t start_wall_ms; /* wall clock at mono 0 */
    bool has_gpu;
    int64_t vram_bytes, ram_bytes; /* 0: defaults */
    double noise_cv;               /* < 0: default 0.03 */
    int parallel;                  /* OLLAMA_NUM_PARALLEL, default 1 */
    int max_queue;                 /* OLLAMA_MAX_QUEUE, default 512 */
    int64_t keep_alive_ms;         /* OLLAMA_KEEP_ALIVE, default 5 minutes; < 0: for ever */
    bool has_recorded_models;      /* adds the models of the recorded exchanges: o3-tiny, o3-small, o3-embed, o3-loop,
                                      o3-bigctx */
};
/* The world starts with a small library of models (a 3B-like "sim-small:latest", an 8B-like "sim-medium:latest", a
 * thinking model "sim-think:latest", an embedding model "sim-embed:latest", a remote "sim-remote:cloud"); none is
 * loaded. */
struct o3_world *o3_world_new(const struct o3_world_params *p);
void o3_world_free(struct o3_world *w);
/* Loads a model as a user's request with these options would (num_ctx <= 0: automatic), at once. */
int o3_world_preload(struct o3_world *w, const char *model, int64_t num_ctx, int64_t mono_ns, struct o3_err *e);
/* An event line, "at 2m decode -40 %" (grammar in src/sim/README.md); error names line and column. */
O3_MUST_CHECK int o3_world_add_event(struct o3_world *w, const char *line, struct o3_err *e);

/* A request. Returns its id (> 0). Answers come from o3_world_poll. body may be NULL. */
uint64_t o3_world_request(struct o3_world *w, int64_t mono_ns, const char *method, const char *path, const char *body,
                          size_t n);
void o3_world_disconnect(struct o3_world *w, int64_t mono_ns, uint64_t id); /* the client went away */

enum o3_world_output_kind {
    O3_WORLD_HEAD,
    O3_WORLD_DATA,
    O3_WORLD_END,
    O3_WORLD_ABORT
}; /* ABORT: the connection is cut */
struct o3_world_output {
    uint64_t id;
    enum o3_world_output_kind kind;
    int64_t mono_ns;          /* when it happened, <= the now given */
    int status;               /* HEAD */
    const char *content_type; /* HEAD; static text, NULL none */
    bool is_chunked;          /* HEAD: streamed; else the body follows in one DATA */
    const char *bytes;
    size_t n; /* DATA; borrowed until the next call on the world */
};
/* Advances to now and takes the next output in time order; false when none is left up to now. */
bool o3_world_poll(struct o3_world *w, int64_t mono_ns, struct o3_world_output *ret);
/* Time of the next thing that will happen by itself, O3_TIME_NEVER_MS (INT64_MAX) when nothing will. */
int64_t o3_world_next_ns(const struct o3_world *w);

/* The truth, for tests and reports. */
struct o3_world_truth {
    int64_t n_loads, n_reloads, n_unloads, n_requests, n_generated_tokens;
    int n_loaded, n_active_requests;
    double decode_factor; /* product of the events in force */
};
void o3_world_truth(const struct o3_world *w, int64_t mono_ns, struct o3_world_truth *ret);

#endif
