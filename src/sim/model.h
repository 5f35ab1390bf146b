/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_MODEL_H
#define O3_SIM_MODEL_H
/* A model, the options in force for it, and the memory it takes. */
#include "o3/world.h"

#define O3_SIM_NAME_SIZE 257
#define O3_SIM_MIB ((int64_t)1 << 20)
#define O3_SIM_GIB ((int64_t)1 << 30)

struct o3_sim_runner;

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
int64_t o3_sim_shortage(const struct o3_world *w, int64_t t); /* RAM in use beyond what there is */
bool o3_sim_swaps(const struct o3_world *w, int64_t t);       /* for that reason, or for the container's limit */
double o3_sim_swapped_bytes(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t); /* of that runner */
#define O3_SIM_SWAP_BYTES_PER_S 0.5e9

#endif
