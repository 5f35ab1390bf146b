/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_REQUEST_H
#define O3_SIM_REQUEST_H
/* Runners with their slots, requests on their way through them, and what goes out. */
#include "o3/rand.h"
#include "sim/request_body.h"
#include "sim/tokens.h"

#define O3_SIM_MAX_SLOTS O3_WORLD_PARALLEL_MAX /* of one runner */
#define O3_SIM_MAX_CACHED 512                  /* states in the prompt cache of one runner */

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

#endif
