/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of /api/ps and /api/tags. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "o3/ollama.h"
#include "o3/text.h"
#include "base/json.h"
#include "base/uninitialized.h"
#include "ollama/fields.h"

/* 2200-01-01T00:00:00Z. Ollama writes "for ever" as a time in 2319. */
#define NEVER_FROM_MS 7258118400000LL
#define EXPIRY_SIZE 48

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), n_end = strlen(end);
    return n >= n_end && !strcmp(s + n - n_end, end);
}

static bool has_text(const json_t *o, const char *key) {
    size_t n;
    o3_json_text(o, key, &n);
    return n > 0;
}

static bool take_name(const json_t *entry, char out[O3_MODEL_NAME_SIZE]) {
    size_t n;
    const char *s = o3_json_text(entry, "name", &n);
    if (!n) s = o3_json_text(entry, "model", &n);
    if (!n || n >= O3_MODEL_NAME_SIZE || o3_text_has_control(s, n)) return false;
    return o3_str_copy_n(out, O3_MODEL_NAME_SIZE, s, n);
}

static void take_digest(const json_t *entry, char out[65]) {
    size_t n;
    const char *s = o3_json_text(entry, "digest", &n);
    static const char PREFIX[] = "sha256:";
    size_t n_prefix = sizeof PREFIX - 1;
    if (n > n_prefix && !memcmp(s, PREFIX, n_prefix)) {
        s += n_prefix;
        n -= n_prefix;
    }
    if (n < 65 && o3_is_hex(s, n)) o3_str_copy_n(out, 65, s, n);
}

static int64_t read_expiry_ms(const char *text) {
    int64_t ms;
    /* Go's zero time, year 1, means that none was set. */
    return o3_rfc3339_parse(text, &ms) && ms >= 0 ? ms : -1;
}

static void set_expiry(struct o3_ollama_model *m, int64_t ms) {
    m->expires_stamp_ms = ms;
    m->expires_at_ms = ms >= NEVER_FROM_MS ? O3_TIME_NEVER_MS : ms;
}

static void take_expiry(const json_t *entry, struct o3_ollama_model *m) {
    char text[EXPIRY_SIZE];
    o3_json_copy(entry, "expires_at", text, sizeof text);
    set_expiry(m, read_expiry_ms(text));
}

static int64_t take_context(const json_t *o) {
    return o3_ollama_within(o3_json_count(o, "context_length"), O3_OLLAMA_TOKENS_MAX);
}

static bool take_model(const json_t *entry, struct o3_ollama_model *m) {
    if (!take_name(entry, m->name)) return false;
    take_digest(entry, m->digest);
    const json_t *details = json_object_get(entry, "details");
    o3_json_copy(details, "family", m->family, sizeof m->family);
    o3_json_copy(details, "parameter_size", m->parameter_size, sizeof m->parameter_size);
    o3_json_copy(details, "quantization_level", m->quantization, sizeof m->quantization);
    m->size_bytes = o3_ollama_within(o3_json_count(entry, "size"), O3_OLLAMA_BYTES_MAX);
    m->size_vram_bytes = o3_ollama_within(o3_json_count(entry, "size_vram"), O3_OLLAMA_BYTES_MAX);
    m->context_length = take_context(entry);
    if (m->context_length < 0) m->context_length = take_context(details);
    take_expiry(entry, m);
    m->is_remote = has_text(entry, "remote_host") || has_text(entry, "remote_model") || ends_with(m->name, ":cloud") ||
                   ends_with(m->name, "-cloud");
    struct o3_capabilities c = o3_json_capabilities(entry);
    m->has_capabilities = c.is_listed;
    m->can_embed_only = c.can_embed_only;
    m->can_think = c.can_think;
    return true;
}

int o3_ollama_parse_models(const char *body, size_t n, struct o3_ollama_models **ret, struct o3_err *e) {
    O3_AUTO_JSON *root = NULL;
    int r = o3_json_load_object(body, n, &root, e);
    if (r < 0) return r;
    const json_t *list = json_object_get(root, "models");
    if (!json_is_array(list) && !json_is_null(list))
        return o3_err_set(e, O3_E_PARSE, "the reply holds no list of models");
    size_t n_listed = json_array_size(list);
    size_t n_room = n_listed < O3_OLLAMA_MAX_MODELS ? n_listed : O3_OLLAMA_MAX_MODELS;
    struct o3_ollama_models *m = calloc(1, sizeof *m);
    if (m) m->v = calloc(n_room ? n_room : 1, sizeof *m->v);
    if (!m || !m->v) {
        o3_ollama_models_free(m);
        return o3_err_set(e, O3_E_NOMEM, "no memory for a list of models");
    }
    for (size_t i = 0; i < n_listed; i++) {
        if (m->n < n_room && take_model(json_array_get(list, i), &m->v[m->n]))
            m->n++;
        else
            m->n_left_out++;
    }
    *ret = m;
    return 0;
}

static bool is_of_time(char c) {
    return (c >= '0' && c <= ':') || c == '-' || c == '.' || c == '+' || c == 'T' || c == 'Z';
}

/* A time and its closing quote; 0 when it is something else. */
static size_t expiry_length(const char *p, size_t n, int64_t *ret_ms) {
    char text[EXPIRY_SIZE];
    size_t length = 0;
    while (length < n && length < sizeof text - 1 && is_of_time(p[length]))
        length++;
    if (length == n || p[length] != '"') return 0;
    o3_str_copy_n(text, sizeof text, p, length);
    *ret_ms = read_expiry_ms(text);
    return length + 1;
}

/* The key cannot be a part of a name: a quote inside a string has a backslash before it. */
bool o3_ollama_models_retime(struct o3_ollama_models *m, const char *was, const char *now, size_t n) {
    static const char KEY[] = "\"expires_at\":\"";
    O3_UNINITIALIZED int64_t times[O3_OLLAMA_MAX_MODELS]; /* the first m->n of them count */
    size_t at = 0;
    if (m->n_left_out) return false;
    for (size_t i = 0; i < m->n; i++) {
        const char *key = memmem(was + at, n - at, KEY, sizeof KEY - 1);
        if (!key) return false;
        size_t begin = (size_t)(key - was) + sizeof KEY - 1;
        if (memcmp(was + at, now + at, begin - at) != 0) return false;
        int64_t was_ms;
        size_t length = expiry_length(was + begin, n - begin, &was_ms);
        if (!length || was_ms != m->v[i].expires_stamp_ms) return false;
        times[i] = was_ms;
        bool is_same = !memcmp(was + begin, now + begin, length);
        if (!is_same && expiry_length(now + begin, n - begin, &times[i]) != length) return false;
        at = begin + length;
    }
    if (memcmp(was + at, now + at, n - at) != 0) return false;
    for (size_t i = 0; i < m->n; i++)
        set_expiry(&m->v[i], times[i]);
    return true;
}

void o3_ollama_models_free(struct o3_ollama_models *m) {
    if (!m) return;
    free(m->v);
    free(m);
}
