/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_SIM_H
#define O3_SIM_SIM_H
/* What the files of the simulated server share. Nothing here is seen outside src/sim; the public face is o3/world.h. */
#include "o3/rand.h"
#include "o3/world.h"
#include "sim/events.h"

#define O3_SIM_MAX_MODELS 64
#define O3_SIM_MAX_RUNNERS 16
#define O3_SIM_MAX_BLOBS 64
#define O3_SIM_MAX_REQUESTS 4096
#define O3_SIM_MAX_EVENTS 1024
#define O3_SIM_MAX_BODY ((size_t)4 << 20)
#define O3_SIM_MAX_REPLY ((size_t)64 << 20)
#define O3_SIM_CACHED_PROMPTS 8
#define O3_SIM_NAME_SIZE 257
#define O3_SIM_MIB ((int64_t)1 << 20)
#define O3_SIM_GIB ((int64_t)1 << 30)

/* ---- what a model is ---- */

/* The contents of a GGUF blob and how fast the machine of the simulation runs it. */
struct o3_sim_weights {
    const char *name, *architecture, *parameter_size, *quantization, *template_text;
    const char *remote_host, *remote_model; /* NULL: runs here */
    int64_t parameter_count, size_bytes, context_length;
    int file_type;
    int layers, heads, heads_kv, head_size, embedding, feed_forward, vocabulary;
    bool can_complete, can_embed, can_think, can_use_tools, can_see, can_insert;
    bool repeats_itself; /* every token is the same one */
    double decode_tps, prefill_tps;
    int natural_tokens;    /* typical length of an answer; 0: never stops by itself */
    bool is_recorded_only; /* part of the library of the recordings, not of the default one */
};

enum o3_sim_option {
    O3_SIM_NUM_CTX,
    O3_SIM_NUM_BATCH,
    O3_SIM_NUM_GPU,
    O3_SIM_MAIN_GPU,
    O3_SIM_NUM_THREAD,
    O3_SIM_USE_MMAP,
    O3_SIM_DRAFT_NUM_PREDICT,
    O3_SIM_NUM_KEEP,
    O3_SIM_SEED,
    O3_SIM_NUM_PREDICT,
    O3_SIM_TOP_K,
    O3_SIM_REPEAT_LAST_N,
    O3_SIM_TEMPERATURE,
    O3_SIM_TOP_P,
    O3_SIM_MIN_P,
    O3_SIM_TYPICAL_P,
    O3_SIM_REPEAT_PENALTY,
    O3_SIM_PRESENCE_PENALTY,
    O3_SIM_FREQUENCY_PENALTY,
    O3_SIM_STOP,
    O3_SIM_OPTION_COUNT
};
#define O3_SIM_MAX_STOPS 8

/* Options as a request or a Modelfile gives them. A wrong type is remembered and becomes the answer of later requests.
 */
struct o3_sim_options {
    bool has[O3_SIM_OPTION_COUNT];
    double number[O3_SIM_OPTION_COUNT]; /* whole where the option is an integer */
    char stop[O3_SIM_MAX_STOPS][32];
    int n_stop;
    char error[96];
};

struct o3_sim_model {
    const struct o3_sim_weights *weights;
    int revision;                /* of the weights; an update counts it up */
    char name[O3_SIM_NAME_SIZE]; /* with tag */
    char parent[O3_SIM_NAME_SIZE];
    char digest[65];
    int64_t modified_wall_ms;
    struct o3_sim_options options;
    char parameters[1024]; /* lines of "name value", as /api/show prints them */
    char system[2048];
    char template_text[2048]; /* "": that of the weights */
};

/* ---- options: decided values (options.c) ---- */

/* Everything that decides whether a loaded runner fits a request. */
struct o3_sim_launch {
    int64_t num_ctx, num_batch;
    bool is_ctx_automatic, is_batch_automatic;
    int64_t num_thread, num_gpu, main_gpu, draft_num_predict;
    bool use_mmap, shift;
};

struct o3_sim_profile { /* what the version decides */
    char text[32];
    bool has_child_server; /* >= 0.30 */
    bool has_think;        /* >= 0.9 */
    bool has_ps_context;   /* >= 0.11 */
};
void o3_sim_profile_set(struct o3_sim_profile *p, const char *version);

void o3_sim_options_merge(struct o3_sim_options *base, const struct o3_sim_options *over);
double o3_sim_option(const struct o3_sim_options *o, enum o3_sim_option which, double fallback);
struct o3_sim_launch_input {
    const struct o3_sim_profile *profile;
    const struct o3_sim_weights *weights;
    const struct o3_sim_options *options; /* merged */
    bool shift, has_gpu;
    int64_t vram_bytes;
    int parallel;
};
void o3_sim_launch_decide(const struct o3_sim_launch_input *in, struct o3_sim_launch *ret);
bool o3_sim_needs_reload(const struct o3_sim_launch *loaded, const struct o3_sim_launch *wanted,
                         const struct o3_sim_profile *profile);
/* Tokens in one batch as llama.cpp processes them. */
int64_t o3_sim_ubatch(const struct o3_sim_launch *l);

/* ---- memory (memory.c): ollama.md section 3 ---- */
int64_t o3_sim_kv_bytes(const struct o3_sim_weights *m, int64_t num_ctx, int parallel);
int64_t o3_sim_runner_bytes(const struct o3_sim_weights *m, const struct o3_sim_launch *l, int parallel);
/* Share of the bytes that a GPU with so much free memory takes, 0..1, and the bytes there. */
int64_t o3_sim_vram_bytes(const struct o3_sim_weights *m, const struct o3_sim_launch *l, int64_t size,
                          int64_t vram_free);

/* ---- tokens (tokens.c) ---- */
struct o3_sim_tokens {
    uint32_t *v;
    size_t n, cap;
};
void o3_sim_tokens_done(struct o3_sim_tokens *t);
int o3_sim_tokens_add(struct o3_sim_tokens *t, uint32_t id);
int o3_sim_tokens_add_text(struct o3_sim_tokens *t, const char *s, size_t n);
/* Drops tokens so that `keep` stay at the start and the newest fill up to `total`. */
void o3_sim_tokens_shorten(struct o3_sim_tokens *t, size_t keep, size_t total);
size_t o3_sim_tokens_common(const struct o3_sim_tokens *a, const struct o3_sim_tokens *b);
uint64_t o3_sim_hash(uint64_t seed, const void *bytes, size_t n);
#define O3_SIM_WORD_SIZE 8
void o3_sim_word(struct o3_rand *r, char out[O3_SIM_WORD_SIZE]);
uint32_t o3_sim_token_id(const char *piece, size_t n);

/* ---- request bodies (body.c) ---- */
enum o3_sim_body_kind {
    O3_SIM_BODY_GENERATE,
    O3_SIM_BODY_CHAT,
    O3_SIM_BODY_EMBED,
    O3_SIM_BODY_EMBEDDINGS,
    O3_SIM_BODY_SHOW,
    O3_SIM_BODY_CREATE,
    O3_SIM_BODY_DELETE,
    O3_SIM_BODY_COPY,
    O3_SIM_BODY_PULL,
    O3_SIM_BODY_PUSH,
    O3_SIM_BODY_V1_CHAT, /* these become bodies of the native API */
    O3_SIM_BODY_V1_COMPLETION,
    O3_SIM_BODY_V1_EMBEDDINGS
};
struct o3_sim_images {
    int n;
    uint64_t hash;
};
struct o3_sim_message {
    char role[16];
    char *content, *calls; /* calls: JSON text of its tool calls */
    size_t n, n_calls;
    struct o3_sim_images images;
};
struct o3_sim_body {
    char model[O3_SIM_NAME_SIZE], name[O3_SIM_NAME_SIZE], from[O3_SIM_NAME_SIZE];
    char source[O3_SIM_NAME_SIZE], destination[O3_SIM_NAME_SIZE];
    char file_digest[80]; /* create: "sha256:<hex>" of the first file */
    char *prompt, *suffix, *system, *template_text;
    size_t prompt_n, suffix_n, system_n, template_n;
    char *format, *tools; /* JSON text */
    size_t format_n, tools_n;
    struct o3_sim_images images; /* of a prompt */
    int n_images;                /* in all */
    struct o3_sim_message *messages;
    size_t n_messages;
    char **inputs; /* embed */
    size_t n_inputs;
    int64_t context_n; /* tokens of the `context` field */
    int64_t dimensions;
    bool no_stream, raw, no_truncate, no_shift, has_think, think, has_keep_alive, has_files;
    bool has_logprobs, is_verbose;
    char think_level;          /* 'l', 'm', 'h'; 0: none */
    int64_t top_logprobs;      /* 0..20 */
    bool has_usage, is_base64; /* OpenAI: usage at the end of a stream; vectors as base64 */
    int64_t keep_alive_ns;     /* INT64_MAX for ever */
    struct o3_sim_options options;
    char parameters[1024]; /* create */
    bool has_parameters;
    int status; /* not 0: refuse with this status and text */
    char error[512];
};
int o3_sim_body_decode(enum o3_sim_body_kind kind, const char *bytes, size_t n, struct o3_sim_body *ret);
void o3_sim_body_done(struct o3_sim_body *b);

/* ---- runners and requests ---- */
struct o3_sim_runner {
    bool is_used, is_loading, is_dead, has_ended; /* has_ended: at least one request ended, so an expiry is set */
    struct o3_sim_model model;                    /* the name that loaded it */
    struct o3_sim_launch launch;
    int64_t size_bytes, vram_bytes;
    int refs, busy_slots;
    int64_t session_ns; /* INT64_MAX for ever */
    int64_t expires_ns; /* mono; valid with has_ended; INT64_MAX for ever */
    uint64_t serial;    /* order of loading */
    struct o3_sim_tokens cached[O3_SIM_CACHED_PROMPTS];
    int n_cached;
};

enum o3_sim_stage {
    O3_SIM_ARRIVED,
    O3_SIM_REPLYING,
    O3_SIM_PENDING,
    O3_SIM_LOADING,
    O3_SIM_READY,
    O3_SIM_WAITING,
    O3_SIM_PROMPT,
    O3_SIM_DECODE,
    O3_SIM_TAIL,
    O3_SIM_DRAIN
};
/* What is said instead of words (script.c). */
struct o3_sim_script {
    char *text;
    size_t n, at;
    char *calls;            /* the text is a tool call, held back until it is whole; JSON as the reply has it */
    struct o3_buf logprobs; /* JSON objects, of a reply that is not streamed */
};
enum o3_sim_dialect { O3_SIM_NATIVE, O3_SIM_OPENAI };

enum o3_sim_kind { O3_SIM_PLAIN, O3_SIM_GENERATE, O3_SIM_CHAT, O3_SIM_EMBED, O3_SIM_EMBEDDINGS };

struct o3_sim_request {
    uint64_t id;
    bool is_silent; /* nobody listens: an event's load, or a client that left */
    enum o3_sim_kind kind;
    enum o3_sim_stage stage;
    int64_t next_ns;
    char method[8], path[O3_SIM_NAME_SIZE + 16];
    const char *argument; /* the last part of the path, where it is one */
    char *bytes;
    size_t n_bytes;
    /* a ready reply */
    int status;
    const char *content_type;
    bool is_stream_reply;
    struct o3_buf reply;
    /* work for a runner */
    struct o3_sim_body body;
    struct o3_sim_model model;
    struct o3_sim_launch launch;
    struct o3_sim_options options;
    struct o3_sim_runner *runner;
    bool is_load_only, is_failing_load, has_slot, head_sent, has_reloaded, has_loaded, has_oomed;
    char load_error[512];
    uint64_t queue_serial;
    int64_t start_ns, load_ns, prompt_start_ns, prompt_ns, first_ns, last_ns;
    struct o3_sim_tokens tokens; /* prompt, then what was generated */
    size_t n_prompt;
    int64_t n_limit, n_natural, n_thinking, n_out; /* tokens; n_limit and n_natural INT64_MAX: none */
    double speed;                                  /* of this request, around 1 */
    struct o3_rand text;
    struct o3_buf collected, collected_thinking; /* not streamed */
    struct o3_sim_script script;
    enum o3_sim_dialect dialect;
    int openai_id; /* of the reply */
    const char *done_reason;
};

struct o3_sim_output {
    struct o3_world_output out;
    char *owned;
};

struct o3_world {
    struct o3_world_params params;
    struct o3_sim_profile profile;
    bool is_gpu_lost;
    struct o3_rand rand;
    int64_t now_ns;
    uint64_t last_id, last_serial;

    struct o3_sim_model *models;
    size_t n_models;
    char blobs[O3_SIM_MAX_BLOBS][65]; /* digests of what was uploaded; the bytes are not kept */
    size_t n_blobs;

    struct o3_sim_runner runners[O3_SIM_MAX_RUNNERS];
    struct o3_sim_request *in_scheduler; /* taken from the queue, not yet served */

    struct o3_sim_request **requests;
    size_t n_requests, cap_requests;

    struct o3_sim_event *events;
    int64_t *event_next_ns; /* when the event acts by itself next; INT64_MAX never */
    size_t n_events;

    struct o3_sim_output *outputs; /* ring */
    size_t first_output, n_outputs, cap_outputs;
    char *lent; /* bytes of the output taken last */

    struct o3_world_truth truth;
};

/* ---- library.c ---- */
int o3_sim_library_fill(struct o3_world *w, bool recorded);
struct o3_sim_model *o3_sim_library_find(struct o3_world *w, const char *name);
/* "x" -> "x:latest"; false when the name cannot be one. */
bool o3_sim_full_name(const char *name, char out[O3_SIM_NAME_SIZE]);
int o3_sim_library_put(struct o3_world *w, const struct o3_sim_model *m); /* replaces one of the same name */
bool o3_sim_library_remove(struct o3_world *w, const char *name);
/* Puts a model of the first library back that was removed; NULL: there was none of that full name. */
const struct o3_sim_model *o3_sim_library_restore(struct o3_world *w, const char *full_name, int64_t t);
void o3_sim_blob(const struct o3_sim_model *m, char out[65]);
void o3_sim_model_redigest(struct o3_sim_model *m);

/* ---- sched.c ---- */
void o3_sim_sched_request(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* wants a runner */
void o3_sim_sched_loaded(struct o3_world *w, struct o3_sim_request *rq, int64_t t);  /* its load ended */
void o3_sim_sched_release(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* done with its runner */
void o3_sim_sched_forget(struct o3_world *w, struct o3_sim_request *rq,
                         int64_t t); /* the client left before a runner */
void o3_sim_sched_run(struct o3_world *w, int64_t t);
void o3_sim_sched_expire(struct o3_world *w, struct o3_sim_runner *r, int64_t t); /* unload when idle */
struct o3_sim_runner *o3_sim_sched_find(struct o3_world *w, const struct o3_sim_model *m);
struct o3_sim_runner *o3_sim_sched_start(struct o3_world *w, const struct o3_sim_model *m,
                                         const struct o3_sim_launch *l);
/* Loads at once; O3_E_LIMIT when there is no room. */
int o3_sim_sched_preload(struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_body *b, int64_t t);
void o3_sim_sched_drop(struct o3_world *w, struct o3_sim_runner *r); /* the process is gone and forgotten */
void o3_sim_launch_for(const struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_body *b,
                       struct o3_sim_options *options, struct o3_sim_launch *ret);

/* ---- generate.c: what happens on a runner ---- */
void o3_sim_work_ready(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* has its runner */
void o3_sim_work_step(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_work_break(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* its runner died */
void o3_sim_work_slot_free(struct o3_world *w, struct o3_sim_runner *r, int64_t t);

/* ---- prompt.c ---- */
struct o3_sim_refusal {
    int status;
    char text[320];
};
/* Builds rq->tokens and n_prompt; false: refused. */
bool o3_sim_prompt_build(struct o3_sim_request *rq, bool has_child_server, struct o3_sim_refusal *ret);

/* ---- script.c ---- */
bool o3_sim_format_is_known(const struct o3_sim_body *b);
int o3_sim_script_write(struct o3_sim_request *rq); /* after n_thinking is known; sets n_natural */
bool o3_sim_script_next(struct o3_sim_request *rq, char out[O3_SIM_WORD_SIZE]); /* false: a word is to be said */
bool o3_sim_script_is_held(const struct o3_sim_request *rq);      /* the piece taken last belongs to a tool call */
const char *o3_sim_script_calls(const struct o3_sim_request *rq); /* JSON, once the call is whole; else NULL */
const char *o3_sim_script_rest(struct o3_sim_request *rq);        /* at the end: a call that did not become whole */
void o3_sim_script_logprobs(const struct o3_sim_request *rq, const char *word, struct o3_buf *out);
void o3_sim_script_done(struct o3_sim_script *s);

/* ---- routes.c ---- */
void o3_sim_route(struct o3_world *w, struct o3_sim_request *rq, int64_t t);

/* ---- registry.c ---- */
void o3_sim_pull(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_push(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_create_by_pull(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* its base is not here */
/* Whose weights have that digest ("sha256:<hex>"); NULL: nobody's. */
const struct o3_sim_model *o3_sim_model_of_blob(const struct o3_world *w, const char *digest);
void o3_sim_head_blob(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_post_blob(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_status_line(struct o3_sim_request *rq, const char *text); /* of a stream of progress */
/* Ends such a stream well, or with an error; as one object when no stream is wanted. */
void o3_sim_progress_end(struct o3_world *w, struct o3_sim_request *rq, int64_t t, const char *error);

/* ---- replies.c: bodies ---- */
void o3_sim_json_version(const struct o3_world *w, struct o3_buf *out);
void o3_sim_json_tags(const struct o3_world *w, struct o3_buf *out);
void o3_sim_json_ps(const struct o3_world *w, int64_t t, struct o3_buf *out);
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

/* ---- world.c ---- */
void o3_sim_emit_head(struct o3_world *w, const struct o3_sim_request *rq, int64_t t, int status, const char *type,
                      bool chunked);
void o3_sim_emit_data(struct o3_world *w, const struct o3_sim_request *rq, int64_t t, const char *bytes, size_t n);
void o3_sim_emit_end(struct o3_world *w, const struct o3_sim_request *rq, int64_t t, bool is_cut);
void o3_sim_remove(struct o3_world *w, struct o3_sim_request *rq);
/* Sends rq->reply now and forgets the request. */
void o3_sim_answer(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *type);
/* Turns the request into a reply of rq->status, content_type, reply after a short while. */
void o3_sim_reply(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *type);
void o3_sim_reply_error(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *text);
void o3_sim_wall(const struct o3_world *w, int64_t t, int64_t *ret_s, int64_t *ret_ns);
/* The newest event of that kind in force at t, or NULL. */
const struct o3_sim_event *o3_sim_in_force(const struct o3_world *w, enum o3_sim_change change, int64_t t);
/* Rate in force: base changed by the events up to t. */
double o3_sim_rate(const struct o3_world *w, enum o3_sim_change change, const char *model, double base, int64_t t);
bool o3_sim_is_gpu(const struct o3_world *w);
int64_t o3_sim_between(struct o3_world *w, double low_ms, double high_ms); /* ns, whole microseconds */

#define O3_SIM_JSON "application/json; charset=utf-8"
#define O3_SIM_JSON_PLAIN "application/json"
#define O3_SIM_NDJSON "application/x-ndjson"

#endif
