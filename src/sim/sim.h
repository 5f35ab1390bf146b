/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_SIM_H
#define O3_SIM_SIM_H
/* What the files of the simulated server share. Nothing here is seen outside src/sim; the public face is o3/world.h. */
#include "o3/rand.h"
#include "o3/world.h"
#include "sim/events.h"

#define O3_SIM_MAX_MODELS 64
#define O3_SIM_MAX_RUNNERS 16
#define O3_SIM_SPARE_REQUESTS 4
#define O3_SIM_SPARE_BYTES ((size_t)4096) /* of a reply, kept for the next */
#define O3_SIM_MAX_BLOBS 64
#define O3_SIM_MAX_REQUESTS 4096
#define O3_SIM_MAX_EVENTS 1024
#define O3_SIM_MAX_BODY ((size_t)4 << 20)
#define O3_SIM_MAX_REPLY ((size_t)64 << 20)
#define O3_SIM_MAX_SLOTS O3_WORLD_PARALLEL_MAX /* of one runner */
#define O3_SIM_MAX_CACHED 512                  /* states in the prompt cache of one runner */
#define O3_SIM_CACHE_BYTES (8 * O3_SIM_GIB)
#define O3_SIM_MAX_GROUPS 16        /* of users */
#define O3_SIM_MAX_CONVERSATIONS 64 /* of one group at once */
#define O3_SIM_MAX_SERVED 4096
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
    int sliding_window, global_layers; /* 0: every layer looks at the whole context */
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
    bool is_ctx_automatic, is_batch_automatic, is_mmap_automatic;
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

/* Lowers a context that nobody asked for to the next of the server's sizes; false when there is none. */
bool o3_sim_launch_lower(const struct o3_sim_launch_input *in, struct o3_sim_launch *l);

/* ---- memory (memory.c): what was measured on two builds of llama.cpp ---- */
struct o3_sim_memory_rules {
    double kv_bytes; /* of one element: f16 2, q8_0 34/32, q4_0 18/32 */
    bool no_flash_attention;
    /* Copies of the embedding beside the logits of a batch (1 CUDA, 2 CPU); 0: a build that keeps no logits. */
    int logits_copies;
};
struct o3_sim_memory_rules o3_sim_memory_rules(bool has_gpu);
int64_t o3_sim_kv_bytes(const struct o3_sim_memory_rules *u, const struct o3_sim_weights *m,
                        const struct o3_sim_launch *l, int parallel);
int64_t o3_sim_kv_token_bytes(const struct o3_sim_weights *m); /* f16, all layers */
int64_t o3_sim_compute_bytes(const struct o3_sim_memory_rules *u, const struct o3_sim_weights *m,
                             const struct o3_sim_launch *l);
/* What a load would take of the machine at t, beside what is loaded. */
struct o3_sim_fit {
    int64_t size_bytes, vram_bytes; /* as /api/ps shows them */
    int64_t overhead_bytes;         /* more of the device, not shown */
    bool is_full_gpu;               /* has all of the GPU that it wants */
    bool has_room;
};
void o3_sim_fit(const struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_launch *l, int64_t t,
                struct o3_sim_fit *ret);

/* Free where that is: on the GPU, or in RAM. */
int64_t o3_sim_free_bytes(const struct o3_world *w, bool is_vram, int64_t t);
struct o3_sim_runner;
int64_t o3_sim_shortage(const struct o3_world *w, int64_t t); /* RAM in use beyond what there is */
bool o3_sim_swaps(const struct o3_world *w, int64_t t);       /* for that reason, or for the container's limit */
double o3_sim_swapped_bytes(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t); /* of that runner */
#define O3_SIM_SWAP_BYTES_PER_S 0.5e9

/* ---- tokens (tokens.c) ---- */
struct o3_sim_tokens {
    uint32_t *v;
    size_t n, cap;
};
void o3_sim_tokens_done(struct o3_sim_tokens *t);
int o3_sim_tokens_reserve(struct o3_sim_tokens *t, size_t n); /* room for n more, and no more than that */
int o3_sim_tokens_add(struct o3_sim_tokens *t, uint32_t id);
int o3_sim_tokens_add_text(struct o3_sim_tokens *t, const char *s, size_t n);
/* Drops tokens so that `keep` stay at the start and the newest fill up to `total`. */
void o3_sim_tokens_shorten(struct o3_sim_tokens *t, size_t keep, size_t total);
size_t o3_sim_tokens_common(const struct o3_sim_tokens *a, const struct o3_sim_tokens *b);
uint64_t o3_sim_hash(uint64_t seed, const void *bytes, size_t n);
#define O3_SIM_WORD_SIZE 8
void o3_sim_word(struct o3_rand *r, char out[O3_SIM_WORD_SIZE]);
uint32_t o3_sim_token_id(const char *piece, size_t n);
int o3_sim_tokens_append(struct o3_sim_tokens *t, const uint32_t *v, size_t n);
/* Tokens first, first + 1, ... of a text that is nowhere spelt out. */
int o3_sim_tokens_add_made(struct o3_sim_tokens *t, uint64_t key, uint64_t first, size_t n);
/* A chat: beginning, messages, the header of the answer. */
int o3_sim_tokens_begin(struct o3_sim_tokens *t);
int o3_sim_tokens_add_header(struct o3_sim_tokens *t, const char *role);
int o3_sim_tokens_end(struct o3_sim_tokens *t); /* of a message */

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
/* The newest bodies as parsed: the same few are sent again and again. */
struct o3_sim_bodies {
    struct {
        char *bytes;
        size_t n;
        struct json_t *root;
    } v[4];
    size_t next; /* to be replaced */
};
void o3_sim_bodies_done(struct o3_sim_bodies *b);
/* known: NULL none. */
int o3_sim_body_decode(enum o3_sim_body_kind kind, const char *bytes, size_t n, struct o3_sim_bodies *known,
                       struct o3_sim_body *ret);
void o3_sim_body_done(struct o3_sim_body *b);

/* ---- runners and requests ---- */
/* A state of the KV cache: the tokens that need not be evaluated again. */
struct o3_sim_prefix {
    struct o3_sim_tokens tokens;
    uint64_t owner;    /* o3_sim_request.user of the request that left it */
    uint64_t head;     /* hash of its first tokens, set in the prompt cache */
    bool is_displaced; /* put into the prompt cache by a request from the API */
};
struct o3_sim_slot {
    struct o3_sim_prefix prefix; /* what the last request left; none while busy */
    bool is_busy;
    uint64_t used; /* order of last use */
};
struct o3_sim_runner {
    bool is_used, is_loading, is_dead, has_ended; /* has_ended: at least one request ended, so an expiry is set */
    struct o3_sim_model model;                    /* the name that loaded it */
    struct o3_sim_launch launch;
    int64_t size_bytes, vram_bytes; /* as /api/ps shows them */
    int64_t overhead_bytes;         /* more of the device, not shown */
    double load_factor;             /* of the speed, drawn by the load */
    int64_t n_begun;                /* requests since the load */
    int refs, busy_slots;
    int64_t session_ns;       /* INT64_MAX for ever */
    int64_t expires_ns;       /* mono; valid with has_ended; INT64_MAX for ever */
    int64_t ended_ns;         /* of the request that set it */
    int64_t expires_shift_ms; /* of the wall clock then */
    uint64_t serial;          /* order of loading */
    bool is_end_by_api;       /* a request from the API set its session time or wants its place */
    struct o3_sim_slot slots[O3_SIM_MAX_SLOTS];
    struct o3_sim_prefix *cached; /* oldest first */
    size_t n_cached;
};

/* All that the entry of a runner in /api/ps depends on, once a request of it has ended. */
struct o3_sim_listed {
    uint64_t serial; /* 0: not listed */
    int64_t ended_ns, expires_ns, vram_bytes;
};

/* An entry of /api/ps as text: what comes before its expiry, that (empty: write it again), and the rest. */
struct o3_sim_ps_entry {
    struct o3_buf head, expiry, tail;
};

/* How fast a request goes while nothing about the machine changes: seconds, alone and without chance. */
struct o3_sim_pace {
    int64_t from_ns, until_ns;
    double token_s;  /* a token with an empty cache = a pass over the weights */
    double depth_s;  /* more for each token in the cache */
    double prompt_s; /* a token of the prompt */
    double jitter_cv;
    size_t fill_limit; /* tokens in use beyond which the runner dies; SIZE_MAX none */
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
    uint64_t chance; /* the key of all that chance decides about it (physics.c) */
    uint64_t user;   /* the conversation it belongs to; 0: a request from the API */
    bool is_silent;  /* nobody listens: an event's load, or a client that left, or a user */
    bool has_queued; /* waited for a load or for its turn to load */
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
    bool has_body; /* which then has to be cleared */
    /* From here to `launch` a new request finds what the one before left: an empty reply and body, and a model that is
     * none before it is set as a whole with the work for a runner. */
    struct o3_buf reply;
    struct o3_sim_body body;
    struct o3_sim_model model;
    struct o3_sim_launch launch;
    struct o3_sim_options options;
    struct o3_sim_runner *runner;
    bool is_load_only, is_failing_load, has_slot, head_sent, has_reloaded, has_revived, has_loaded;
    bool has_oomed, is_evicting_all; /* its load ran out of memory; waits until nothing is loaded */
    char load_error[512];
    uint64_t queue_serial;
    int64_t start_ns, load_ns, prompt_start_ns, prompt_ns, first_ns, last_ns;
    struct o3_sim_tokens tokens; /* prompt, then what was generated */
    size_t n_prompt, n_cached;   /* cached: not evaluated */
    int slot;
    int64_t n_step;                                /* tokens that the step under way makes */
    int64_t n_limit, n_natural, n_thinking, n_out; /* tokens; n_limit and n_natural INT64_MAX: none */
    double speed;                                  /* of this request, around 1 */
    struct o3_sim_pace pace;
    struct o3_rand text, jitter;
    struct o3_buf collected, collected_thinking; /* not streamed */
    struct o3_sim_script script;
    enum o3_sim_dialect dialect;
    int openai_id; /* of the reply */
    const char *done_reason;
};

struct o3_sim_bytes {
    char *p;
    size_t size;
};
struct o3_sim_output {
    struct o3_world_output out;
    struct o3_sim_bytes owned;
};

enum { O3_SIM_CHANGE_COUNT = O3_SIM_CHANGE_SLOW_DISK + 1 };

struct o3_sim_heat { /* temperature of the device; followed while an event makes it throttle */
    int64_t at_ns;
    double celsius;
    bool is_busy;
};
struct o3_sim_host { /* counters of what slowed the machine down while it was busy */
    double heat, quota, swapped_bytes;
};
#define O3_SIM_MAX_WANDERS 8
struct o3_sim_wander { /* correlated noise of the machine: value at a point of its grid */
    int64_t first, at;
    double ar, value;
    double keep, fresh; /* shares of the value before and of chance in the next one */
    bool is_valid;
};

struct o3_sim_due { /* what happens next */
    int64_t at_ns;  /* INT64_MAX: nothing */
    size_t event;   /* index + 1, 0 none */
    size_t runner;  /* index + 1, 0 none */
    bool is_users;
    struct o3_sim_request *request;
};

struct o3_world {
    struct o3_world_params params;
    struct o3_sim_profile profile;
    char gpu_name[64]; /* as the machine shows it; "" when it has none */
    bool is_gpu_lost;
    int64_t now_ns;
    int64_t clock_shift_ms; /* of the wall clock, since the start; whole seconds */
    uint64_t last_id, last_serial, n_api_requests;

    struct o3_sim_model *models;
    size_t n_models;
    char blobs[O3_SIM_MAX_BLOBS][65]; /* digests of what was uploaded; the bytes are not kept */
    size_t n_blobs;

    struct o3_sim_runner runners[O3_SIM_MAX_RUNNERS];
    size_t runners_end;                  /* none behind was ever in use */
    struct o3_sim_request *in_scheduler; /* taken from the queue, not yet served */

    struct o3_sim_request **requests;
    size_t n_requests, cap_requests;
    struct o3_sim_request *spare_requests[O3_SIM_SPARE_REQUESTS];
    size_t n_spare_requests;
    struct o3_sim_bodies bodies;

    struct o3_sim_event *events;
    int64_t *event_next_ns; /* when the event acts by itself next; INT64_MAX never */
    size_t n_events;
    /* force[change]: the newest event in force, valid for force_from_ns <= t < force_until_ns. */
    const struct o3_sim_event *force[O3_SIM_CHANGE_COUNT];
    int64_t force_from_ns, force_until_ns;

    int64_t started_ns; /* the server process */
    int n_busy_runners;
    struct o3_sim_heat heat;
    struct o3_sim_host host;                          /* up to heat.at_ns */
    struct o3_sim_wander wanders[O3_SIM_MAX_WANDERS]; /* the ones asked for last */
    size_t next_wander;                               /* to be replaced */
    struct {
        const struct o3_sim_weights *weights;
        uint64_t n;
    } load_counts[O3_SIM_MAX_MODELS];

    /* The last answer of /api/ps, and the entry of each runner in it; empty: none to use again. */
    struct o3_sim_listed listed[O3_SIM_MAX_RUNNERS]; /* what the texts tell of */
    struct o3_buf ps_text;
    struct o3_sim_ps_entry ps_entries[O3_SIM_MAX_RUNNERS];
    struct o3_buf tags_text; /* of /api/tags; empty since the library or the version changed */

    struct o3_sim_output *outputs; /* ring */
    size_t first_output, n_outputs, cap_outputs;
    struct o3_sim_bytes lent;  /* of the output taken last */
    struct o3_sim_bytes spare; /* of one before, to be used again */
    struct o3_buf line;        /* of a stream, while it is made */

    struct o3_sim_users *users; /* NULL: none */
    int64_t users_next_ns;      /* when they do something next */

    struct o3_sim_due due; /* as long as it is known: nothing has happened since it was found */
    bool is_due_known;

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
/* The process dies while it loads: the request that waits for it fails at once. */
void o3_sim_sched_load_killed(struct o3_world *w, const struct o3_sim_runner *r, int64_t t);
void o3_sim_sched_release(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* done with its runner */
void o3_sim_sched_forget(struct o3_world *w, struct o3_sim_request *rq,
                         int64_t t); /* the client left before a runner */
void o3_sim_sched_run(struct o3_world *w, int64_t t);
void o3_sim_sched_expire(struct o3_world *w, struct o3_sim_runner *r, int64_t t); /* unload when idle */
struct o3_sim_runner *o3_sim_sched_find(struct o3_world *w, const struct o3_sim_model *m);
/* Loads at once; O3_E_LIMIT when there is no room. */
int o3_sim_sched_preload(struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_body *b, int64_t t);
void o3_sim_sched_drop(struct o3_world *w, struct o3_sim_runner *r); /* the process is gone and forgotten */
void o3_sim_launch_for(const struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_body *b,
                       struct o3_sim_options *options, struct o3_sim_launch *ret);

/* ---- chance.c ---- */

/* What is left to chance about a request. Every draw is fixed by the seed of the world, the key of the request and the
 * purpose, so that no request changes what chance brings to another. */
enum o3_sim_draw {
    O3_SIM_DRAW_START,
    O3_SIM_DRAW_REPLY,
    O3_SIM_DRAW_READY,
    O3_SIM_DRAW_BEFORE,
    O3_SIM_DRAW_TAIL,
    O3_SIM_DRAW_LOAD,
    O3_SIM_DRAW_SPEED,
    O3_SIM_DRAW_JITTER,
    O3_SIM_DRAW_TEXT
};
/* The n-th thing of that kind. */
uint64_t o3_sim_key(uint64_t seed, const char *kind, uint64_t n);
uint64_t o3_sim_draw(const struct o3_world *w, const struct o3_sim_request *rq, enum o3_sim_draw what);
/* Nanoseconds, whole microseconds. */
int64_t o3_sim_between(const struct o3_world *w, const struct o3_sim_request *rq, enum o3_sim_draw what, double low_ms,
                       double high_ms);
/* The factor of the noise in force for a request that begins at t; median 1. */
double o3_sim_noise(struct o3_world *w, const struct o3_sim_request *rq, int64_t t);
double o3_sim_noise_cv(const struct o3_world *w, const char *model, int64_t t);
/* The next load of that blob: its key, and that it happens. */
uint64_t o3_sim_load_key(const struct o3_world *w, const struct o3_sim_model *m);
void o3_sim_load_count(struct o3_world *w, const struct o3_sim_model *m);
double o3_sim_uniform_of(uint64_t key);
double o3_sim_normal_of(uint64_t key);

/* ---- physics.c: how long things take ---- */

/* Begins and ends the work of a request on its runner. */
void o3_sim_slot_take(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_slot_leave(struct o3_world *w, struct o3_sim_runner *r, int64_t t);
int64_t o3_sim_token_gap_ns(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
int64_t o3_sim_prompt_time_ns(struct o3_world *w, struct o3_sim_request *rq, int64_t n_tokens, int64_t t);
/* Whether the context in use is more than the machine bears now. */
bool o3_sim_fills_up(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
/* ms from the slot to the evaluation of the prompt: from low to high by chance, and what an event adds. */
void o3_sim_before_ms(const struct o3_world *w, const char *model, bool is_plain, int64_t t, double *ret_low,
                      double *ret_high);
int64_t o3_sim_load_time_ns(const struct o3_world *w, const struct o3_sim_request *rq, int64_t t);
double o3_sim_cpu_share(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t); /* of its layers */
double o3_sim_threads(const struct o3_world *w, const struct o3_sim_runner *r);
double o3_sim_load_factor(const struct o3_world *w, const struct o3_sim_model *m, int64_t t);

/* ---- heat.c ---- */
/* Brings the temperature up to t; to be called when the device becomes busy or idle. */
void o3_sim_heat_settle(struct o3_world *w, int64_t t);
double o3_sim_heat_celsius(const struct o3_world *w, int64_t t);
/* Share of the full speed that the temperature leaves, 0..1. */
double o3_sim_heat_factor(const struct o3_world *w, int64_t t);

/* ---- host.c: what the machine shows of itself ---- */
/* Counts on from heat.at_ns to t; to be called before the machine becomes busy or idle. */
void o3_sim_host_count(const struct o3_world *w, int64_t t, struct o3_sim_host *inout);
void o3_sim_name_gpu(struct o3_world *w);

/* ---- generate.c: what happens on a runner ---- */
void o3_sim_work_ready(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* has its runner */
void o3_sim_work_step(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_work_break(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* its runner died */
void o3_sim_work_slot_free(struct o3_world *w, struct o3_sim_runner *r, int64_t t);

/* ---- cache.c ---- */
int o3_sim_slots(const struct o3_world *w, const struct o3_sim_request *rq); /* requests at once */
/* Takes a free slot; returns the time that moving states to and from the prompt cache takes. */
int64_t o3_sim_cache_take(struct o3_world *w, struct o3_sim_request *rq);
void o3_sim_cache_give(struct o3_world *w, struct o3_sim_request *rq);
void o3_sim_cache_keep(struct o3_sim_request *rq); /* leaves the tokens of the request in its slot */
/* The client left while the prompt was being evaluated: the rest of it is not in the slot. */
void o3_sim_cache_cut(struct o3_sim_request *rq, int64_t t);
void o3_sim_cache_clear(struct o3_world *w, struct o3_sim_runner *r, bool is_by_api);

/* ---- users.c ---- */
void o3_sim_users_free(struct o3_world *w);
void o3_sim_users_step(struct o3_world *w, int64_t t);                    /* lets one thing happen that is due */
int o3_sim_users_prompt(struct o3_world *w, struct o3_sim_request *rq);   /* builds the tokens */
void o3_sim_users_started(struct o3_world *w, struct o3_sim_request *rq); /* has its slot */
void o3_sim_users_answered(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* with the last object */
void o3_sim_users_ended(struct o3_world *w, struct o3_sim_request *rq, int64_t t);    /* however */
void o3_sim_users_cut(struct o3_world *w, int64_t t);                                 /* all connections */
bool o3_sim_users_is_open(const struct o3_world *w, uint64_t user);                   /* the conversation goes on */
void o3_sim_users_lost(struct o3_world *w, uint64_t user, size_t n_tokens);

/* ---- prompt.c ---- */
struct o3_sim_refusal {
    int status;
    char text[320];
};
/* Builds rq->tokens and n_prompt; false: refused. */
bool o3_sim_prompt_build(struct o3_world *w, struct o3_sim_request *rq, struct o3_sim_refusal *ret);

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

/* ---- world.c ---- */
struct o3_sim_request *o3_sim_add_request(struct o3_world *w, int64_t t);    /* NULL: no place */
void o3_sim_leave(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* the client disconnects */
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
void o3_sim_kill_runner(struct o3_world *w, struct o3_sim_runner *r, int64_t t); /* the process dies */

/* ---- force.c: events in force ---- */
/* The newest event of that kind in force at t, or NULL; of any model, of that model. */
const struct o3_sim_event *o3_sim_in_force(const struct o3_world *w, enum o3_sim_change change, int64_t t);
const struct o3_sim_event *o3_sim_in_force_on(const struct o3_world *w, enum o3_sim_change change, const char *model,
                                              int64_t t);
/* The next time after t at which an event begins or ends; INT64_MAX none. */
int64_t o3_sim_next_edge(const struct o3_world *w, int64_t t);
void o3_sim_force_refresh(struct o3_world *w, int64_t t);
void o3_sim_events_changed(struct o3_world *w);
/* Whether `wanted`, a name as an event gives it, is that model; "" is every one. */
bool o3_sim_is_named(const char *wanted, const char *name);
/* Rate in force: base changed by the events up to t. */
double o3_sim_rate(const struct o3_world *w, enum o3_sim_change change, const char *model, double base, int64_t t);
bool o3_sim_is_gpu(const struct o3_world *w);

#define O3_SIM_JSON "application/json; charset=utf-8"
#define O3_SIM_JSON_PLAIN "application/json"
#define O3_SIM_NDJSON "application/x-ndjson"

#endif
