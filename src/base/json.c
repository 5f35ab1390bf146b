/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include <jansson.h>
#include <math.h>
#include <string.h>
#include "o3/text.h"

/* A generated token may hold a NUL character, so strings may too; names with one are refused where they are read. */
#define LOAD_FLAGS ((size_t)JSON_ALLOW_NUL)
/* Above it a double no longer tells neighbouring integers apart. */
#define MAX_EXACT_INTEGER 9007199254740992.0

void o3_json_freep(json_t **j) {
    json_decref(*j);
}

static json_t *load(const char *bytes, size_t n, size_t flags, json_error_t *error) {
    json_t *j = json_loadb(bytes, n, flags, error);
    if (!j && json_error_code(error) == json_error_numeric_overflow)
        j = json_loadb(bytes, n, flags | JSON_DECODE_INT_AS_REAL, error);
    return j;
}

json_t *o3_json_load_first(const char *bytes, size_t n, size_t *ret_used, json_error_t *error) {
    json_t *j = load(bytes, n, LOAD_FLAGS | JSON_DISABLE_EOF_CHECK, error);
    if (j && ret_used) *ret_used = (size_t)error->position;
    return j;
}

int o3_json_load_object(const char *body, size_t n, json_t **ret, struct o3_err *e) {
    json_error_t error;
    json_t *j = load(body, n, LOAD_FLAGS, &error);
    if (!j) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return o3_err_set(e, O3_E_NOMEM, "no memory for a reply");
        /* jansson's own text quotes the hostile bytes: the place is enough. */
        uint32_t line = error.line > 0 ? (uint32_t)error.line : 0;
        uint32_t col = error.column > 0 ? (uint32_t)error.column : 0;
        return o3_err_at(e, O3_E_PARSE, line, col, "the reply is not valid JSON");
    }
    if (!json_is_object(j)) {
        json_decref(j);
        return o3_err_set(e, O3_E_PARSE, "the reply is not a JSON object");
    }
    *ret = j;
    return 0;
}

int64_t o3_json_count_value(const json_t *v) {
    if (json_is_integer(v)) return json_integer_value(v) >= 0 ? (int64_t)json_integer_value(v) : -1;
    if (!json_is_real(v)) return -1;
    double real = json_real_value(v);
    return real >= 0 && real <= MAX_EXACT_INTEGER && real == floor(real) ? (int64_t)real : -1;
}

int64_t o3_json_count(const json_t *o, const char *key) {
    return o3_json_count_value(json_object_get(o, key));
}

static const char *text_of(const json_t *v, size_t *ret_n) {
    *ret_n = json_string_length(v);
    return *ret_n ? json_string_value(v) : "";
}

const char *o3_json_text(const json_t *o, const char *key, size_t *ret_n) {
    return text_of(json_object_get(o, key), ret_n);
}

void o3_json_copy(const json_t *o, const char *key, char *out, size_t size) {
    size_t n;
    const char *s = o3_json_text(o, key, &n);
    o3_text_clean(out, size, s, n);
}

static const char *message_of(const json_t *error, size_t *ret_n) {
    return json_is_object(error) ? o3_json_text(error, "message", ret_n) : text_of(error, ret_n);
}

bool o3_json_error(const json_t *o, char *out, size_t size) {
    const json_t *error = json_object_get(o, "error");
    if (!error || json_is_null(error) || json_is_false(error)) return false;
    size_t n;
    const char *s = message_of(error, &n);
    if (json_is_string(error) && !n) return false;
    O3_AUTO_JSON *inner = NULL;
    if (n && s[0] == '{') {
        /* Ollama passes some errors of its runner on as a string of JSON. */
        json_error_t ignored;
        inner = o3_json_load_first(s, n, NULL, &ignored);
        size_t n_inner;
        const char *s_inner = message_of(json_object_get(inner, "error"), &n_inner);
        if (n_inner) {
            s = s_inner;
            n = n_inner;
        }
    }
    if (!n) {
        s = "unknown error";
        n = strlen(s);
    }
    o3_text_clean(out, size, s, n);
    return true;
}

static int add_to_buf(const char *bytes, size_t n, void *ctx) {
    return o3_buf_add(ctx, bytes, n) < 0 ? -1 : 0;
}

int o3_json_write(const json_t *o, struct o3_buf *out) {
    if (out->err) return out->err;
    if (json_dump_callback(o, add_to_buf, out, JSON_COMPACT | JSON_REAL_PRECISION(17)) == 0) return 0;
    if (!out->err) out->err = O3_E_NOMEM;
    return out->err;
}

/* Length of the control character at s, 0 when there is none. C1 characters take two bytes in UTF-8: C2 80 to C2 9F. */
static size_t control_length(const char *s, size_t n) {
    unsigned char c = (unsigned char)s[0];
    if (c < 0x20 || c == 0x7f) return 1;
    return c == 0xc2 && n > 1 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] < 0xa0 ? 2 : 0;
}

bool o3_text_has_control(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (control_length(s + i, n - i)) return true;
    return false;
}

void o3_text_clean(char *dst, size_t size, const char *src, size_t n) {
    if (n >= size) {
        n = size - 1;
        while (n > 0 && ((unsigned char)src[n] & 0xc0) == 0x80) /* src[n] is the first byte left out */
            n--;
    }
    memcpy(dst, src, n);
    dst[n] = '\0';
    for (size_t i = 0; i < n;) {
        size_t len = control_length(dst + i, n - i);
        if (len) memset(dst + i, ' ', len);
        i += len ? len : 1;
    }
}
