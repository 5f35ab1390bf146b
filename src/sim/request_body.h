/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_REQUEST_BODY_H
#define O3_SIM_REQUEST_BODY_H
/* Request bodies as they are understood (body.c). */
#include "sim/model.h"

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

#endif
