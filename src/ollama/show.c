/* SPDX-License-Identifier: Apache-2.0 */
/* Details of one model: keys of the GGUF file, and the Modelfile's FROM and PARAMETER lines. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "o3/ollama.h"
#include "o3/text.h"
#include "ollama/fields.h"
#include "base/json.h"

struct slice {
    const char *p;
    size_t n;
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* Takes the next line off `rest`, without its end; false when nothing is left. */
static bool take_line(struct slice *rest, struct slice *ret) {
    if (!rest->n) return false;
    const char *end = memchr(rest->p, '\n', rest->n);
    *ret = (struct slice){rest->p, end ? (size_t)(end - rest->p) : rest->n};
    size_t n_used = ret->n + (end != NULL);
    rest->p += n_used;
    rest->n -= n_used;
    return true;
}

/* Takes the next word off `rest`; empty when none is left. */
static struct slice take_word(struct slice *rest) {
    while (rest->n && is_blank(*rest->p)) {
        rest->p++;
        rest->n--;
    }
    struct slice word = {rest->p, 0};
    while (rest->n && !is_blank(*rest->p)) {
        rest->p++;
        rest->n--;
        word.n++;
    }
    return word;
}

static bool is_word(struct slice s, const char *word) {
    return s.n == strlen(word) && !memcmp(s.p, word, s.n);
}

/* ".../blobs/sha256-<64 hex digits>", also "sha256:". */
static void take_blob(struct slice path, char out[65]) {
    enum { N_HEX = 64, N_PREFIX = 7 };
    if (path.n < N_HEX + N_PREFIX) return;
    const char *hex = path.p + path.n - N_HEX;
    const char *prefix = hex - N_PREFIX;
    if (memcmp(prefix, "sha256-", N_PREFIX) != 0 && memcmp(prefix, "sha256:", N_PREFIX) != 0) return;
    if (o3_is_hex(hex, N_HEX)) o3_str_copy_n(out, 65, hex, N_HEX);
}

/* "8192", also "4096.7": Ollama takes the integer part. Everything else leaves *ret as it is. */
static void take_number(struct slice word, int64_t *ret) {
    char text[32];
    if (word.n >= sizeof text) return;
    o3_str_copy_n(text, sizeof text, word.p, word.n);
    int64_t whole;
    double real;
    if (o3_int_parse(text, &whole))
        *ret = whole < 0 ? -1 : whole;
    else if (o3_double_parse(text, &real) && real >= 0 && real < 9e15)
        *ret = (int64_t)real;
}

/* "num_ctx    8192": the rest of a PARAMETER line, or a line of the reply's "parameters". The last one counts. */
static void take_parameter(struct slice line, struct o3_ollama_show *s) {
    struct slice key = take_word(&line), value = take_word(&line);
    if (is_word(key, "num_ctx")) take_number(value, &s->parameter_num_ctx);
    if (is_word(key, "num_batch")) take_number(value, &s->parameter_num_batch);
    if (is_word(key, "num_thread")) take_number(value, &s->parameter_num_thread);
    if (is_word(key, "num_gpu")) take_number(value, &s->parameter_num_gpu);
}

static size_t count_triple_quotes(struct slice line) {
    size_t n = 0;
    for (size_t i = 0; i + 3 <= line.n;) {
        bool is_quote = !memcmp(line.p + i, "\"\"\"", 3);
        n += is_quote;
        i += is_quote ? 3 : 1;
    }
    return n;
}

/* A quoted template or system text may hold lines that look like instructions: they are passed over. */
static void take_modelfile(struct slice text, struct o3_ollama_show *s) {
    bool is_quoted = false, has_from = false;
    for (struct slice line; take_line(&text, &line);) {
        bool was_quoted = is_quoted;
        if (count_triple_quotes(line) % 2) is_quoted = !is_quoted;
        if (was_quoted) continue;
        struct slice rest = line;
        struct slice instruction = take_word(&rest);
        if (is_word(instruction, "FROM") && !has_from) {
            /* Further FROM lines name projectors. A path may hold blanks. */
            has_from = true;
            while (rest.n && is_blank(rest.p[rest.n - 1]))
                rest.n--;
            take_blob(rest, s->blob);
        } else if (is_word(instruction, "PARAMETER")) {
            take_parameter(rest, s);
        }
    }
}

static void take_parameters(struct slice text, struct o3_ollama_show *s) {
    for (struct slice line; take_line(&text, &line);)
        take_parameter(line, s);
}

/* The value of "<architecture>.<key>"; NULL when absent. */
static const json_t *get_key(const json_t *info, const char *architecture, const char *key) {
    char full[96];
    int n = snprintf(full, sizeof full, "%s.%s", architecture, key);
    return n > 0 && (size_t)n < sizeof full ? json_object_get(info, full) : NULL;
}

/* A number, or the largest of an array with one number per layer; -1 when absent. */
static int64_t get_count(const json_t *info, const char *architecture, const char *key) {
    const json_t *v = get_key(info, architecture, key);
    if (!json_is_array(v)) return o3_json_count_value(v);
    int64_t max = -1;
    for (size_t i = 0; i < json_array_size(v); i++) {
        int64_t one = o3_json_count_value(json_array_get(v, i));
        if (one > max) max = one;
    }
    return max;
}

static int64_t get_kv_heads(const json_t *info, const char *architecture, int64_t block_count) {
    const json_t *v = get_key(info, architecture, "attention.head_count_kv");
    int64_t sum = 0;
    if (!json_is_array(v)) {
        int64_t per_layer = o3_json_count_value(v);
        if (per_layer < 0 || block_count < 0 || __builtin_mul_overflow(per_layer, block_count, &sum)) return -1;
        return sum;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        int64_t one = o3_json_count_value(json_array_get(v, i));
        if (one < 0 || __builtin_add_overflow(sum, one, &sum)) return -1;
    }
    return json_array_size(v) ? sum : -1;
}

static void take_info(const json_t *info, struct o3_ollama_show *s) {
    o3_json_copy(info, "general.architecture", s->architecture, sizeof s->architecture);
    const char *a = s->architecture;
    s->parameter_count = o3_json_count(info, "general.parameter_count");
    s->block_count = get_count(info, a, "block_count");
    s->context_length = get_count(info, a, "context_length");
    s->embedding_length = get_count(info, a, "embedding_length");
    s->feed_forward_length = get_count(info, a, "feed_forward_length");
    s->expert_count = get_count(info, a, "expert_count");
    s->expert_used_count = get_count(info, a, "expert_used_count");
    s->expert_feed_forward_length = get_count(info, a, "expert_feed_forward_length");
    s->vocab_size = get_count(info, a, "vocab_size");
    s->head_count = get_count(info, a, "attention.head_count");
    s->key_length = get_count(info, a, "attention.key_length");
    s->value_length = get_count(info, a, "attention.value_length");
    s->head_count_kv = get_kv_heads(info, a, s->block_count);
}

int o3_ollama_parse_show(const char *body, size_t n, struct o3_ollama_show *ret, struct o3_err *e) {
    O3_AUTO_JSON *root = NULL;
    int r = o3_json_load_object(body, n, &root, e);
    if (r < 0) return r;
    const json_t *info = json_object_get(root, "model_info");
    /* Without model_info (remote models) the numbers are just unknown. */
    if (!json_is_object(info) && !json_is_object(json_object_get(root, "details")))
        return o3_err_set(e, O3_E_PARSE, "the reply does not describe a model");
    struct o3_ollama_show s = {
        .parameter_num_ctx = -1, .parameter_num_batch = -1, .parameter_num_thread = -1, .parameter_num_gpu = -1};
    take_info(info, &s);
    struct slice text;
    text.p = o3_json_text(root, "modelfile", &text.n);
    take_modelfile(text, &s);
    text.p = o3_json_text(root, "parameters", &text.n);
    take_parameters(text, &s);
    struct o3_capabilities c = o3_json_capabilities(root);
    s.has_capabilities = c.is_listed;
    s.can_embed_only = c.can_embed_only;
    s.can_think = c.can_think;
    *ret = s;
    return 0;
}
