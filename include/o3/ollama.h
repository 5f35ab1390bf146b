/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_OLLAMA_H
#define O3_OLLAMA_H
/* What Ollama's API says, as bounded C structs, and the request bodies we send. Bytes in, structs out: no I/O.
 * Replies are hostile input: every string is cut to its field (UTF-8 safe), lists stop at O3_OLLAMA_MAX_MODELS,
 * control characters are refused in names, numbers are range-checked. jansson objects do not leave src/ollama. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"

#define O3_MODEL_NAME_SIZE 129 /* 128 bytes + NUL: the label limit; a longer name is not probed */
#define O3_OLLAMA_MAX_MODELS 256

/* No machine has more: what a reply says beyond it counts as absent, so that sums of such figures cannot overflow. */
#define O3_OLLAMA_BYTES_MAX (INT64_C(1) << 50)
#define O3_OLLAMA_TOKENS_MAX ((int64_t)INT32_MAX)
#define O3_OLLAMA_NS_MAX (INT64_C(1) << 53) /* 104 days */
static inline int64_t o3_ollama_within(int64_t v, int64_t max) {
    return v <= max ? v : -1;
}

struct o3_ollama_version {
    char text[32]; /* as printed, for example "0.32.15" */
    int major, minor, patch;
    bool is_development;   /* "0.0.0" and unparsable: treated as the newest profile */
    bool has_child_server; /* >= 0.30: llama-server child, automatic batch rule, host prompt cache */
    bool has_think;        /* the `think` field is known (>= 0.9.0) */
};

/* One entry of /api/ps or /api/tags; a field that the reply lacks is 0, "" or -1 as noted. */
struct o3_ollama_model {
    char name[O3_MODEL_NAME_SIZE];
    char digest[65]; /* hex without "sha256:" */
    char family[33], parameter_size[17], quantization[17];
    int64_t size_bytes;       /* ps: in memory; tags: on disk; -1 absent */
    int64_t size_vram_bytes;  /* ps only; -1 absent */
    int64_t context_length;   /* ps: per slot; tags: trained; -1 absent */
    int64_t expires_at_ms;    /* ps only, wall clock; O3_TIME_NEVER_MS for year >= 2200; -1 absent */
    int64_t expires_stamp_ms; /* the same as listed: "for ever" is the end of the last request + the longest duration */
    bool is_remote;           /* remote_host/remote_model set, or the name ends in :cloud or -cloud */
    bool can_embed_only;      /* tags capabilities: embedding without completion */
    bool can_think;           /* tags/show capabilities */
    bool has_capabilities;    /* the reply carried a capabilities list */
};

struct o3_ollama_models {
    size_t n;
    size_t n_left_out; /* entries beyond the limit or with unusable names */
    struct o3_ollama_model *v;
};

/* Details of one model from /api/show (non-verbose is enough). */
struct o3_ollama_show {
    char architecture[33];
    char blob[65]; /* sha256 of the GGUF named by FROM in the modelfile: the runner's key; "" unknown */
    int64_t parameter_count, block_count, context_length, embedding_length, feed_forward_length,
        vocab_size;                               /* -1 absent */
    int64_t head_count, key_length, value_length; /* -1 absent */
    int64_t head_count_kv; /* sum over layers when an array, else value x block_count; -1 absent */
    int64_t expert_count, expert_used_count, expert_feed_forward_length; /* of a mixture of experts; -1 absent */
    int64_t parameter_num_ctx, parameter_num_batch, parameter_num_thread,
        parameter_num_gpu; /* PARAMETER lines of the Modelfile; -1 absent */
    bool can_embed_only, can_think, has_capabilities;
};

O3_MUST_CHECK int o3_ollama_parse_version(const char *body, size_t n, struct o3_ollama_version *ret, struct o3_err *e);
/* `ret` is allocated inside; free with o3_ollama_models_free (accepts NULL). Serves /api/ps and /api/tags. */
O3_MUST_CHECK int o3_ollama_parse_models(const char *body, size_t n, struct o3_ollama_models **ret, struct o3_err *e);
void o3_ollama_models_free(struct o3_ollama_models *m);
/* m was read from the n bytes `was`. When `now`, of the same length, differs from them in nothing but times of expiry,
 * takes these over and returns true: between two looks at /api/ps mostly no more has happened. False leaves m alone. */
bool o3_ollama_models_retime(struct o3_ollama_models *m, const char *was, const char *now, size_t n);
O3_MUST_CHECK int o3_ollama_parse_show(const char *body, size_t n, struct o3_ollama_show *ret, struct o3_err *e);
/* The text of {"error": "..."} (or of {"error":{"message":...}}); false when the body holds none. */
bool o3_ollama_parse_error(const char *body, size_t n, char *out, size_t size);
/* Result of a successful /api/embed reply: durations and counts (-1 absent). */
struct o3_ollama_embed {
    int64_t total_ns, load_ns, prompt_eval_count, dimensions;
};
O3_MUST_CHECK int o3_ollama_parse_embed(const char *body, size_t n, struct o3_ollama_embed *ret, struct o3_err *e);

/* Runner options to replay in a probe; -1 = leave out. num_gpu 0 is a value: absent is INT64_MIN. */
struct o3_runner_options {
    int64_t num_ctx, num_batch, num_thread;
};
#define O3_RUNNER_OPTIONS_NONE ((struct o3_runner_options){-1, -1, -1})

/* A generate, chat or embed body. Never writes keep_alive. */
struct o3_ollama_generate {
    const char *model, *prompt;
    bool is_raw;           /* generate only */
    bool is_chat;          /* body for /api/chat: prompt becomes one user message */
    bool send_think_false; /* adds "think": false */
    int64_t num_predict;   /* >= 2; asserted, because 0 means unlimited */
    int64_t seed;          /* -1 leave out; temperature is always 0 */
    struct o3_runner_options options;
};
int o3_ollama_write_generate(const struct o3_ollama_generate *g, struct o3_buf *out);
int o3_ollama_write_embed(const char *model, const char *input, const struct o3_runner_options *o, struct o3_buf *out);
int o3_ollama_write_show(const char *model, struct o3_buf *out);

/* Automatic num_batch by the rule of the server's generation (ollama.md section 4): generation >= 0.30:
 * num_ctx <= 4096 -> 512, <= 32768 -> 1024, above -> 2048; older: min(512, num_ctx). */
int64_t o3_ollama_automatic_batch(const struct o3_ollama_version *v, int64_t num_ctx);

#endif
