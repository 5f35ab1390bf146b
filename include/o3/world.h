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

#define O3_WORLD_PARALLEL_MAX 64
#define O3_WORLD_USERS_TOKENS_MAX 65536 /* of a prompt or an answer, mean */
#define O3_WORLD_USERS_PAUSE_MAX_MS (7 * 86400 * INT64_C(1000))

struct o3_world;
struct o3_world_params {
    uint64_t seed;
    const char *version;   /* NULL: "0.32.15"; below 0.30 gives the older scheduler's semantics */
    int64_t start_wall_ms; /* wall clock at mono 0 */
    bool has_gpu;
    int64_t vram_bytes, ram_bytes; /* 0: defaults */
    double noise_cv;               /* < 0: default 0.03 */
    int parallel;                  /* OLLAMA_NUM_PARALLEL, default 1; more than the limit: the limit */
    int max_queue;                 /* OLLAMA_MAX_QUEUE, default 512 */
    int64_t keep_alive_ms;         /* OLLAMA_KEEP_ALIVE, default 5 minutes; < 0: for ever */
    bool has_recorded_models;      /* adds the models of the recorded exchanges: o3-tiny, o3-small, o3-embed, o3-loop,
                                      o3-bigctx */
    double bandwidth;              /* bytes per second of the memory that holds the weights; 0: such that the library's
                                      rates hold. Rates scale with it */
    int cores;                     /* of the machine, default 8; runners use that many threads unless told otherwise */
    /* What no predictor knows of the memory of a runner; all 0: the formulas alone. */
    int64_t memory_noise_bytes;    /* allocator: 0 to this much x num_batch / 512, drawn for each load */
    int64_t memory_overhead_bytes; /* of the device context; seen by the device, not in /api/ps */
    double memory_bias;            /* of the part that does not grow with the context, as a share of the weights */
};
/* The world starts with a small library of models (a 3B-like "sim-small:latest", an 8B-like "sim-medium:latest", a
 * thinking model "sim-think:latest", an embedding model "sim-embed:latest", one that sees images "sim-vision:latest",
 * one that fills gaps "sim-code:latest", a remote "sim-remote:cloud"); none is loaded. */
struct o3_world *o3_world_new(const struct o3_world_params *p);
void o3_world_free(struct o3_world *w);
/* Loads a model as a user's request with these options would (num_ctx <= 0: automatic), at once. */
int o3_world_preload(struct o3_world *w, const char *model, int64_t num_ctx, int64_t mono_ns, struct o3_err *e);
/* An event line, "at 2m decode -40 %" (grammar in src/rehearsal/README.md); error names line and column. */
O3_MUST_CHECK int o3_world_add_event(struct o3_world *w, const char *line, struct o3_err *e);
/* The grammar alone, without a world; `number` is the line to name in an error. ret_at_ns may be NULL. */
/* Whether there is such a model; the error names the nearest one. */
O3_MUST_CHECK int o3_world_check_model(const struct o3_world *w, const char *name, struct o3_err *e);
O3_MUST_CHECK int o3_world_check_event(const char *line, uint32_t number, int64_t *ret_at_ns, struct o3_err *e);

/* Users of the server: conversations begin by chance, their turns follow each other, the prompt grows by what was said
 * before. All that chance decides about a request (its time, length, noise) is fixed by the seed, the group and its
 * number, so that two worlds of one seed give the same users, whatever else happens in them. */
struct o3_world_users {
    char model[129];
    double conversations_per_hour; /* > 0 */
    double burst;                  /* mean conversations that begin together; 1: Poisson */
    double daily;                  /* 0..1: share by which traffic falls at night (02:00 UTC) against the day (14:00) */
    int turns;                     /* mean number of turns, >= 1 */
    int prompt_tokens, answer_tokens; /* mean of one turn */
    int64_t pause_ms;                 /* mean time between having read an answer and the next turn */
    int64_t num_ctx;                  /* option sent with each request; <= 0: none */
};
struct o3_world_users o3_world_users_default(void); /* 12 single-group conversations an hour, 4 turns, 300/200 tokens */
O3_MUST_CHECK int o3_world_add_users(struct o3_world *w, const struct o3_world_users *u, struct o3_err *e);
/* A user's request that ended. ttft_ns and total_ns count from the moment the user sent it; ttft_ns is -1 when no token
 * came. */
struct o3_world_served {
    int group;                   /* order of o3_world_add_users */
    uint32_t conversation, turn; /* from 0; the same request in two worlds of one seed has the same three numbers */
    int64_t sent_ns, ttft_ns, total_ns;
    bool is_good;                            /* a complete answer */
    int64_t n_prompt, n_evaluated, n_answer; /* tokens; evaluated: prompt tokens that no cache held */
    bool has_loaded;                         /* waited for a load */
};
/* Takes the next one, oldest first. At most 4096 wait to be taken; older ones are dropped and counted in the truth. */
bool o3_world_take_served(struct o3_world *w, struct o3_world_served *ret);

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
/* Lets what is due by then happen, up to the first output; true: there is one. */
bool o3_world_advance(struct o3_world *w, int64_t mono_ns);
/* Advances to now and takes the next output in time order; false when none is left up to now. */
bool o3_world_poll(struct o3_world *w, int64_t mono_ns, struct o3_world_output *ret);
/* Time of the next thing that will happen by itself, O3_TIME_NEVER_MS (INT64_MAX) when nothing will. */
int64_t o3_world_next_ns(const struct o3_world *w);

/* Somebody sets the wall clock of the machine, by so many whole seconds. Timers do not care, times in replies do. */
void o3_world_jump_clock(struct o3_world *w, int64_t mono_ns, int64_t by_ms);

/* The truth, for tests and reports. */
struct o3_world_truth {
    int64_t n_loads, n_reloads, n_unloads, n_requests, n_generated_tokens;
    int n_loaded, n_active_requests;
    double decode_factor; /* product of the events in force */
    int64_t n_spilled_loads, n_ooms;
    int64_t n_api_loads;    /* of n_loads: caused by a request from the API, not by a user or an event */
    int64_t n_api_revivals; /* of n_api_loads: the runner that fitted had died, so that whoever came first caused one */
    int64_t n_users_active; /* user requests under way now */
    int64_t n_users_served, n_served_dropped;
    int64_t n_conversations_dropped; /* did not begin because too many of the group were open */
    /* Of conversations that go on: */
    int64_t n_prefixes_evicted; /* a user's cached prefix was lost because of a request from the API */
    int64_t n_prefixes_swapped; /* moved to the runner's prompt cache because of one, and not lost there later */
    int64_t n_tokens_again;     /* prompt tokens that users had to have evaluated again because of such losses */
};
/* What a signal of a raw request on an idle server would be now, without any chance in it: events, machine, memory,
 * temperature and the effect of the load included, the slowness of the first requests after a load left out. Decode:
 * tokens/s at a depth of 128 tokens. Prefill: tokens/s of a prompt of 128, none of them cached. TTFT overhead: seconds
 * from the arrival to the evaluation of the prompt. `model` as /api/ps shows it; NaN when that is not loaded. */
enum o3_world_signal { O3_WORLD_DECODE_RATE, O3_WORLD_PREFILL_RATE, O3_WORLD_TTFT_OVERHEAD };
double o3_world_expected(const struct o3_world *w, const char *model, enum o3_world_signal signal, int64_t mono_ns);
/* What a sidecar keeps one baseline for: the model's digest, its context and the server's version, as one number; 0
 * when that model is not loaded. Of two that are loaded under one name the newer one counts, here and above. */
uint64_t o3_world_setting(const struct o3_world *w, const char *model);
/* The ports that the living runners listen on, as the machine's table of sockets would show them; how many. */
size_t o3_world_runner_ports(const struct o3_world *w, uint16_t *out, size_t max);
/* What a sidecar on that machine would read in /proc and /sys: src/sim/README.md. Looking changes nothing. */
struct o3_host_state;
void o3_world_host(const struct o3_world *w, int64_t mono_ns, struct o3_host_state *ret);
/* The next moment after mono_ns at which an event begins or ends; INT64_MAX none. */
int64_t o3_world_next_edge_ns(const struct o3_world *w, int64_t mono_ns);
void o3_world_truth(const struct o3_world *w, int64_t mono_ns, struct o3_world_truth *ret);

#endif
