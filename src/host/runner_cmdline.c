/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "o3/host.h"
#include "o3/text.h"

struct argument {
    const char *s;
    size_t n;
};

static bool is_word(struct argument a, const char *word) {
    return strlen(word) == a.n && !memcmp(a.s, word, a.n);
}

static bool is_any(struct argument a, const char *const *words) {
    for (; *words; words++)
        if (is_word(a, *words)) return true;
    return false;
}

/* The argument at *p; moves on. False at the end. */
static bool next_argument(const char **p, const char *end, struct argument *ret) {
    if (*p >= end) return false;
    const char *nul = memchr(*p, '\0', (size_t)(end - *p));
    *ret = (struct argument){*p, (size_t)((nul ? nul : end) - *p)};
    *p = nul ? nul + 1 : end;
    return true;
}

static struct argument base_name(struct argument a) {
    const char *slash = memrchr(a.s, '/', a.n);
    if (!slash) return a;
    return (struct argument){slash + 1, (size_t)(a.s + a.n - slash - 1)};
}

/* "ollama" is the server and the command line too: only with "runner" it is one. */
static bool is_runner_program(struct argument program, struct argument first) {
    struct argument name = base_name(program);
    if (is_word(name, "llama-server") || is_word(name, "ollama_llama_server")) return true;
    return is_word(name, "ollama") && is_word(first, "runner");
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* ".../blobs/sha256-<64 hex digits>"; a model at any other place has no digest in its name. */
static void take_blob(struct argument path, char out[65]) {
    static const char prefix[] = "sha256-";
    const size_t n_prefix = sizeof prefix - 1;
    struct argument name = base_name(path);
    if (name.n != n_prefix + 64 || memcmp(name.s, prefix, n_prefix) != 0) return;
    for (size_t i = 0; i < 64; i++)
        if (!is_hex(name.s[n_prefix + i])) return;
    memcpy(out, name.s + n_prefix, 64);
    out[64] = '\0';
}

static void take_number(struct argument a, int64_t min, int64_t max, int64_t *ret) {
    char text[24];
    int64_t v;
    if (a.n >= sizeof text) return;
    memcpy(text, a.s, a.n);
    text[a.n] = '\0';
    if (o3_int_parse(text, &v) && v >= min && v <= max) *ret = v;
}

static const char *const MODEL[] = {"--model", "-m", NULL};
static const char *const CTX[] = {"-c", "--ctx-size", NULL};
static const char *const PARALLEL[] = {"-np", "--parallel", NULL};
static const char *const BATCH[] = {"-b", "--batch-size", NULL};
static const char *const THREADS[] = {"-t", "--threads", NULL};
static const char *const GPU_LAYERS[] = {"-ngl", "--n-gpu-layers", "--gpu-layers", NULL};
static const char *const PORT[] = {"--port", NULL};
static const char *const KV_TYPE[] = {"--cache-type-k", "-ctk", "--kv-cache-type", NULL};
static const char *const F16[] = {"f16", NULL};
static const char *const EMBEDDING[] = {"--embedding", "--embeddings", NULL};

static void take_option(struct argument name, struct argument value, struct o3_runner_cmdline *c) {
    if (is_any(name, CTX)) take_number(value, 0, INT64_MAX, &c->ctx_total);
    if (is_any(name, PARALLEL)) take_number(value, 1, INT32_MAX, &c->parallel);
    if (is_any(name, BATCH)) take_number(value, 1, INT64_MAX, &c->batch);
    if (is_any(name, THREADS)) take_number(value, 1, INT32_MAX, &c->threads);
    if (is_any(name, GPU_LAYERS)) take_number(value, INT32_MIN, INT32_MAX, &c->gpu_layers);
    if (is_any(name, PORT)) take_number(value, 1, UINT16_MAX, &c->port);
    if (is_any(name, KV_TYPE)) c->has_other_kv_type = !is_any(value, F16);
}

bool o3_runner_cmdline_parse(const char *bytes, size_t n, struct o3_runner_cmdline *ret) {
    const char *p = bytes, *end = bytes + n;
    struct argument program, name;
    if (!next_argument(&p, end, &program) || !next_argument(&p, end, &name) || !is_runner_program(program, name))
        return false;
    struct o3_runner_cmdline c = {
        .ctx_total = -1, .parallel = -1, .batch = -1, .threads = -1, .gpu_layers = INT64_MIN, .port = -1};
    bool has_model = false, more = true;
    while (more) {
        struct argument value = {"", 0};
        more = next_argument(&p, end, &value);
        if (is_any(name, EMBEDDING)) c.is_embedding = true;
        if (more && is_any(name, MODEL)) {
            has_model = true;
            take_blob(value, c.blob);
        }
        if (more) take_option(name, value, &c);
        name = value;
    }
    if (has_model) *ret = c;
    return has_model;
}
