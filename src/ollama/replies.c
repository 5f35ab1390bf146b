/* SPDX-License-Identifier: Apache-2.0 */
/* The small replies: version, error text, embed; and what follows from a version. */
#include <jansson.h>
#include <string.h>
#include "o3/ollama.h"
#include "o3/text.h"
#include "base/json.h"

/* Reads a decimal number of at most 6 digits at *s and moves on; -1 when there is none. */
static int take_number(const char **s) {
    int v = 0, n_digits = 0;
    for (; **s >= '0' && **s <= '9'; (*s)++) {
        if (++n_digits > 6) return -1;
        v = v * 10 + (**s - '0');
    }
    return n_digits ? v : -1;
}

/* "0.32.15", "v0.32.15", "0.32", "0.32.15-rc1+g1234". */
static bool take_version(const char *s, struct o3_ollama_version *v) {
    if (*s == 'v') s++;
    int major = take_number(&s);
    if (major < 0 || *s++ != '.') return false;
    int minor = take_number(&s), patch = 0;
    if (minor < 0) return false;
    if (*s == '.') {
        s++;
        patch = take_number(&s);
        if (patch < 0) return false;
    }
    if (*s && *s != '-' && *s != '+' && *s != ' ') return false;
    v->major = major;
    v->minor = minor;
    v->patch = patch;
    return true;
}

static bool is_at_least(const struct o3_ollama_version *v, int major, int minor) {
    return v->is_development || v->major > major || (v->major == major && v->minor >= minor);
}

int o3_ollama_parse_version(const char *body, size_t n, struct o3_ollama_version *ret, struct o3_err *e) {
    O3_AUTO_JSON *root = NULL;
    int r = o3_json_load_object(body, n, &root, e);
    if (r < 0) return r;
    size_t n_text;
    o3_json_text(root, "version", &n_text);
    if (!n_text) return o3_err_set(e, O3_E_PARSE, "the reply names no version");
    struct o3_ollama_version v = {0};
    o3_json_copy(root, "version", v.text, sizeof v.text);
    /* A build from source calls itself 0.0.0. */
    v.is_development = !take_version(v.text, &v) || (v.major == 0 && v.minor == 0 && v.patch == 0);
    v.has_child_server = is_at_least(&v, 0, 30);
    v.has_think = is_at_least(&v, 0, 9);
    *ret = v;
    return 0;
}

int64_t o3_ollama_automatic_batch(const struct o3_ollama_version *v, int64_t num_ctx) {
    if (!v->has_child_server) return num_ctx > 0 && num_ctx < 512 ? num_ctx : 512;
    if (num_ctx <= 4096) return 512;
    return num_ctx <= 32768 ? 1024 : 2048;
}

bool o3_ollama_parse_error(const char *body, size_t n, char *out, size_t size) {
    out[0] = '\0';
    O3_AUTO_JSON *root = NULL;
    if (o3_json_load_object(body, n, &root, NULL) < 0) return false;
    return o3_json_error(root, out, size);
}

int o3_ollama_parse_embed(const char *body, size_t n, struct o3_ollama_embed *ret, struct o3_err *e) {
    O3_AUTO_JSON *root = NULL;
    int r = o3_json_load_object(body, n, &root, e);
    if (r < 0) return r;
    const json_t *embeddings = json_object_get(root, "embeddings");
    if (!json_is_array(embeddings)) return o3_err_set(e, O3_E_PARSE, "the reply holds no embeddings");
    const json_t *first = json_array_get(embeddings, 0);
    *ret = (struct o3_ollama_embed){
        .total_ns = o3_ollama_within(o3_json_count(root, "total_duration"), O3_OLLAMA_NS_MAX),
        .load_ns = o3_ollama_within(o3_json_count(root, "load_duration"), O3_OLLAMA_NS_MAX),
        .prompt_eval_count = o3_ollama_within(o3_json_count(root, "prompt_eval_count"), O3_OLLAMA_TOKENS_MAX),
        .dimensions = json_is_array(first) ? (int64_t)json_array_size(first) : -1,
    };
    return 0;
}
