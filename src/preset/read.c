/* SPDX-License-Identifier: Apache-2.0 */
/* A preset document from YAML. The file may have been written by anyone: it is read event by event, without building
 * a tree; aliases are refused, so that nothing can expand, and nesting and size are bounded. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>
#include "o3/preset.h"
#include "o3/text.h"
#include "preset/round.h"

enum {
    DEPTH_MAX = 8,
    KEY_SIZE = 64, /* a longer key is none of ours */
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t ev;
    bool has_event;
    int depth;
    struct o3_err *e;
};

static int fail_here(const struct reader *r, const char *what) {
    return o3_err_at(r->e, O3_E_PARSE, (uint32_t)r->ev.start_mark.line + 1, (uint32_t)r->ev.start_mark.column + 1, "%s",
                     what);
}

static int fail_key(const struct reader *r, const char *key, const char *expected) {
    return o3_err_at(r->e, O3_E_PARSE, (uint32_t)r->ev.start_mark.line + 1, (uint32_t)r->ev.start_mark.column + 1,
                     "'%s': expected %s", key, expected);
}

static int next(struct reader *r) {
    if (r->has_event) yaml_event_delete(&r->ev);
    r->has_event = false;
    if (!yaml_parser_parse(&r->parser, &r->ev)) {
        const yaml_mark_t *at = &r->parser.problem_mark;
        int code = r->parser.error == YAML_MEMORY_ERROR ? O3_E_NOMEM : O3_E_PARSE;
        return o3_err_at(r->e, code, (uint32_t)at->line + 1, (uint32_t)at->column + 1, "%s",
                         r->parser.problem ? r->parser.problem : "not YAML");
    }
    r->has_event = true;
    if (r->ev.type == YAML_ALIAS_EVENT) return fail_here(r, "aliases are not allowed");
    return 0;
}

static int enter(struct reader *r) {
    return ++r->depth > DEPTH_MAX ? fail_here(r, "nested too deeply") : 0;
}

/* The current event begins a value: goes on to the value's last event. */
static int skip_value(struct reader *r) {
    int level = 0, n;
    do {
        if (r->ev.type == YAML_MAPPING_START_EVENT || r->ev.type == YAML_SEQUENCE_START_EVENT) {
            if ((n = enter(r)) < 0) return n;
            level++;
        } else if (r->ev.type == YAML_MAPPING_END_EVENT || r->ev.type == YAML_SEQUENCE_END_EVENT) {
            r->depth--;
            level--;
        }
        if (level && (n = next(r)) < 0) return n;
    } while (level);
    return 0;
}

static const char *text_of(const struct reader *r) {
    return (const char *)r->ev.data.scalar.value;
}

static bool is_scalar(const struct reader *r) {
    return r->ev.type == YAML_SCALAR_EVENT && strlen(text_of(r)) == r->ev.data.scalar.length; /* no NUL within */
}

static bool is_plain(const struct reader *r) {
    return is_scalar(r) && r->ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null(const struct reader *r) {
    return is_plain(r) && (!*text_of(r) || !strcmp(text_of(r), "~") || !strcmp(text_of(r), "null"));
}

/* C0, DEL and C1: names are printed on terminals. */
static bool has_control(const char *s) {
    for (; *s; s++) {
        unsigned char c = (unsigned char)s[0], next_c = (unsigned char)s[1];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next_c < 0xa0)) return true;
    }
    return false;
}

static int read_string(struct reader *r, const char *key, char *out, size_t size, bool may_cut) {
    if (!is_scalar(r)) return fail_key(r, key, "a string");
    if (has_control(text_of(r))) return fail_key(r, key, "a string without control characters");
    if (!o3_str_copy(out, size, text_of(r)) && !may_cut) return fail_key(r, key, "a shorter string");
    return 0;
}

static int read_int(struct reader *r, const char *key, int64_t min, int64_t max, int64_t *ret) {
    int64_t v;
    if (!is_plain(r) || !o3_int_parse(text_of(r), &v)) return fail_key(r, key, "a whole number");
    if (v < min || v > max) return fail_key(r, key, "a number in its range");
    *ret = v;
    return 0;
}

static int read_number(struct reader *r, const char *key, double max, double *ret) {
    double v;
    if (!is_plain(r) || !o3_double_parse(text_of(r), &v)) return fail_key(r, key, "a number");
    if (!(v >= 0 && v <= max)) return fail_key(r, key, "a number in its range");
    *ret = v;
    return 0;
}

static int read_bool(struct reader *r, const char *key, bool *ret) {
    if (!is_plain(r) || (strcmp(text_of(r), "true") != 0 && strcmp(text_of(r), "false") != 0))
        return fail_key(r, key, "true or false");
    *ret = *text_of(r) == 't';
    return 0;
}

static int read_time(struct reader *r, const char *key, int64_t *ret_wall_ms) {
    int64_t v;
    if (!is_scalar(r) || !o3_rfc3339_parse(text_of(r), &v)) return fail_key(r, key, "a time as 2026-11-21T04:06:06Z");
    *ret_wall_ms = v;
    return 0;
}

/* Calls `read` for every key of the mapping that begins here, with the value as the current event; `read` goes on to
 * the value's last event. A value that is null counts as absent. At the return the mapping's end is the current event.
 */
typedef int read_fn(struct reader *r, void *ctx, const char *key);
static int read_mapping(struct reader *r, const char *name, read_fn *read, void *ctx) {
    if (r->ev.type != YAML_MAPPING_START_EVENT) return fail_key(r, name, "a mapping");
    int n = enter(r);
    while (n == 0 && (n = next(r)) == 0 && r->ev.type != YAML_MAPPING_END_EVENT) {
        if (!is_scalar(r)) return fail_here(r, "a key must be a plain word");
        char key[KEY_SIZE];
        if (!o3_str_copy(key, sizeof key, text_of(r))) key[0] = '\0';
        if ((n = next(r)) < 0) return n;
        n = is_null(r) || !*key ? skip_value(r) : read(r, ctx, key);
    }
    r->depth--;
    return n;
}

static int read_performance_key(struct reader *r, void *ctx, const char *key) {
    struct o3_performance *p = ctx;
    if (!strcmp(key, "tokens_per_sec")) return read_number(r, key, O3_PRESET_RATE_MAX, &p->tokens_per_sec);
    if (!strcmp(key, "ttft_ms")) return read_number(r, key, O3_PRESET_MS_MAX, &p->ttft_ms);
    if (!strcmp(key, "stability")) return read_number(r, key, 1, &p->stability);
    if (!strcmp(key, "n")) return read_int(r, key, 0, INT64_MAX, &p->n);
    if (!strcmp(key, "as_of")) return read_time(r, key, &p->as_of_ms);
    return skip_value(r);
}

static int read_performance(struct reader *r, const char *key, struct o3_performance *ret) {
    *ret = (struct o3_performance){.is_set = true, .tokens_per_sec = NAN, .ttft_ms = NAN, .stability = NAN};
    return read_mapping(r, key, read_performance_key, ret);
}

static int read_source(struct reader *r, const char *key, enum o3_preset_source *ret) {
    for (int s = 0; s <= O3_SOURCE_VERIFIED && is_scalar(r); s++) {
        if (strcmp(text_of(r), o3_preset_source_name((enum o3_preset_source)s)) != 0) continue;
        *ret = (enum o3_preset_source)s;
        return 0;
    }
    return fail_key(r, key, "observed, predicted or verified");
}

static int read_batch_source(struct reader *r, const char *key, enum o3_batch_source *ret) {
    for (int s = 0; s <= O3_BATCH_PRESET && is_scalar(r); s++) {
        if (strcmp(text_of(r), o3_batch_source_name((enum o3_batch_source)s)) != 0) continue;
        *ret = (enum o3_batch_source)s;
        return 0;
    }
    return fail_key(r, key, "assumed, runner or preset");
}

static int read_preset_key(struct reader *r, void *ctx, const char *key) {
    struct o3_preset *p = ctx;
    if (!strcmp(key, "num_ctx")) return read_int(r, key, 1, INT32_MAX, &p->num_ctx);
    if (!strcmp(key, "batch")) return read_int(r, key, 1, INT32_MAX, &p->batch);
    if (!strcmp(key, "batch_source")) return read_batch_source(r, key, &p->batch_source);
    if (!strcmp(key, "f16_kv")) return read_bool(r, key, &p->f16_kv);
    if (!strcmp(key, "num_predict")) return read_int(r, key, INT32_MIN, INT32_MAX, &p->num_predict);
    if (!strcmp(key, "performance")) return read_performance(r, key, &p->performance);
    if (!strcmp(key, "previous")) return read_performance(r, key, &p->previous);
    if (!strcmp(key, "source")) return read_source(r, key, &p->source);
    if (!strcmp(key, "as_of")) return read_time(r, key, &p->as_of_ms);
    if (!strcmp(key, "use_case")) return read_string(r, key, p->use_case, sizeof p->use_case, true);
    return skip_value(r);
}

static int read_presets_key(struct reader *r, void *ctx, const char *key) {
    struct o3_preset_doc *d = ctx;
    enum o3_preset_name name;
    if (!o3_preset_name_parse(key, &name)) return skip_value(r);
    d->presets[name] = (struct o3_preset){.is_set = true};
    int n = read_mapping(r, key, read_preset_key, &d->presets[name]);
    if (n < 0) return n;
    return d->presets[name].num_ctx > 0 ? 0 : fail_key(r, key, "a mapping with num_ctx");
}

static int read_digest(struct reader *r, const char *key, char out[65]) {
    static const char PREFIX[] = "sha256:";
    char text[sizeof PREFIX + 64];
    int n = read_string(r, key, text, sizeof text, false);
    if (n < 0) return n;
    const char *hex = !strncmp(text, PREFIX, strlen(PREFIX)) ? text + strlen(PREFIX) : text;
    if (strspn(hex, "0123456789abcdef") != strlen(hex) || strlen(hex) > 64)
        return fail_key(r, key, "sha256: and hexadecimal digits");
    o3_str_copy(out, 65, hex);
    return 0;
}

static int read_doc_key(struct reader *r, void *ctx, const char *key) {
    struct o3_preset_doc *d = ctx;
    if (!strcmp(key, "model")) return read_string(r, key, d->model, sizeof d->model, false);
    if (!strcmp(key, "digest")) return read_digest(r, key, d->digest);
    if (!strcmp(key, "presets")) return read_mapping(r, key, read_presets_key, d);
    return skip_value(r);
}

static int expect(struct reader *r, yaml_event_type_t type, const char *what) {
    int n = next(r);
    if (n < 0) return n;
    return r->ev.type == type ? 0 : fail_here(r, what);
}

static int read_stream(struct reader *r, struct o3_preset_doc *d) {
    int n = expect(r, YAML_STREAM_START_EVENT, "not YAML");
    if (n == 0) n = expect(r, YAML_DOCUMENT_START_EVENT, "the file is empty");
    if (n == 0) n = next(r);
    if (n == 0) n = read_mapping(r, "document", read_doc_key, d);
    if (n == 0 && !*d->model) n = fail_here(r, "'model' is missing");
    if (n == 0) n = expect(r, YAML_DOCUMENT_END_EVENT, "unexpected text after the document");
    if (n == 0) n = expect(r, YAML_STREAM_END_EVENT, "one document expected");
    return n;
}

int o3_preset_doc_decode_yaml(const char *text, size_t n, struct o3_preset_doc *ret, struct o3_err *e) {
    if (n > O3_PRESET_DOC_MAX)
        return o3_err_set(e, O3_E_LIMIT, "a preset file has at most %d bytes", O3_PRESET_DOC_MAX);
    struct reader r = {.e = e};
    if (!yaml_parser_initialize(&r.parser)) return o3_err_set(e, O3_E_NOMEM, "no memory");
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    struct o3_preset_doc d = {0};
    int code = read_stream(&r, &d);
    if (r.has_event) yaml_event_delete(&r.ev);
    yaml_parser_delete(&r.parser);
    if (code == 0) *ret = d;
    return code;
}
