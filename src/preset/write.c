/* SPDX-License-Identifier: Apache-2.0 */
/* Presets as text. The document is built once as a tree, whose keys keep their order, and written as YAML or JSON. */
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>
#include "o3/preset.h"
#include "o3/text.h"
#include "preset/round.h"

/* jansson objects are freed by scope. */
static void json_release(json_t **j) {
    json_decref(*j);
}
#define AUTO_JSON __attribute__((cleanup(json_release))) json_t

/* Puts a value that was just made; a NULL object or value (no memory) makes `*ok` false. */
static void put(json_t *o, const char *key, json_t *take_value, bool *ok) {
    if (json_object_set_new(o, key, take_value) < 0) *ok = false; /* takes the value, also when it fails */
}

static void put_time(json_t *o, const char *key, int64_t wall_ms, bool *ok) {
    char text[32];
    if (wall_ms == 0) return;
    o3_rfc3339_format(wall_ms, text, sizeof text);
    put(o, key, json_string(text), ok);
}

/* What is written can be read back: a figure out of its range is left out, as NaN is. */
static bool is_within(double v, double max) {
    return v >= 0 && v <= max;
}

static void put_performance(json_t *o, const char *key, const struct o3_performance *p, bool *ok) {
    if (!p->is_set) return;
    json_t *j = json_object();
    if (is_within(p->tokens_per_sec, O3_PRESET_RATE_MAX))
        put(j, "tokens_per_sec", json_real(o3_preset_round_rate(p->tokens_per_sec)), ok);
    if (is_within(p->ttft_ms, O3_PRESET_MS_MAX))
        put(j, "ttft_ms", json_integer((json_int_t)o3_preset_round_ms(p->ttft_ms)), ok);
    if (is_within(p->stability, 1)) put(j, "stability", json_real(o3_preset_round_share(p->stability)), ok);
    put(j, "n", json_integer(p->n), ok);
    put_time(j, "as_of", p->as_of_ms, ok);
    put(o, key, j, ok);
}

static void put_preset(json_t *o, const struct o3_preset *p, bool *ok) {
    put(o, "num_ctx", json_integer(p->num_ctx), ok);
    if (p->batch > 0) put(o, "batch", json_integer(p->batch), ok);
    put(o, "batch_source", json_string(o3_batch_source_name(p->batch_source)), ok);
    put(o, "f16_kv", json_boolean(p->f16_kv), ok);
    if (p->num_predict > 0) put(o, "num_predict", json_integer(p->num_predict), ok);
    put_performance(o, "performance", &p->performance, ok);
    put_performance(o, "previous", &p->previous, ok);
    put(o, "source", json_string(o3_preset_source_name(p->source)), ok);
    put_time(o, "as_of", p->as_of_ms, ok);
    if (*p->use_case) put(o, "use_case", json_string(p->use_case), ok);
}

static void put_model(json_t *o, const struct o3_preset_doc *d, bool *ok) {
    put(o, "model", json_string(d->model), ok);
    if (*d->digest) put(o, "digest", json_sprintf("sha256:%s", d->digest), ok);
}

static bool is_text(const struct o3_preset_doc *d) {
    if (!o3_utf8_valid(d->model, strlen(d->model)) || !o3_utf8_valid(d->digest, strlen(d->digest))) return false;
    for (int p = 0; p < O3_PRESET_COUNT; p++)
        if (!o3_utf8_valid(d->presets[p].use_case, strlen(d->presets[p].use_case))) return false;
    return true;
}

/* The whole document as a tree. */
static int build_doc(const struct o3_preset_doc *d, json_t **ret) {
    if (!is_text(d)) return O3_E_PARSE;
    bool ok = true;
    json_t *o = json_object();
    json_t *presets = json_object();
    put_model(o, d, &ok);
    for (int p = 0; p < O3_PRESET_COUNT; p++) {
        if (!d->presets[p].is_set) continue;
        json_t *one = json_object();
        put_preset(one, &d->presets[p], &ok);
        put(presets, o3_preset_name((enum o3_preset_name)p), one, &ok);
    }
    put(o, "presets", presets, &ok);
    if (ok) {
        *ret = o;
        return 0;
    }
    json_decref(o);
    return O3_E_NOMEM;
}

/* One preset as a tree, with its name and model in front. */
static int build_one(const struct o3_preset_doc *d, enum o3_preset_name p, json_t **ret) {
    if (!is_text(d)) return O3_E_PARSE;
    bool ok = true;
    json_t *o = json_object();
    put_model(o, d, &ok);
    put(o, "preset", json_string(o3_preset_name(p)), &ok);
    put_preset(o, &d->presets[p], &ok);
    if (ok) {
        *ret = o;
        return 0;
    }
    json_decref(o);
    return O3_E_NOMEM;
}

static int write_piece(const char *bytes, size_t n, void *out) {
    return o3_buf_add(out, bytes, n);
}

static int write_json(const json_t *j, size_t flags, struct o3_buf *out) {
    int r = json_dump_callback(j, write_piece, out, flags | JSON_REAL_PRECISION(15));
    if (r < 0) return out->err ? out->err : O3_E_NOMEM;
    return o3_buf_adds(out, "\n");
}

/* ---- YAML ---- */

static int write_yaml_piece(void *out, unsigned char *bytes, size_t n) {
    return o3_buf_add(out, bytes, n) == 0;
}

/* A plain scalar that every reader, of YAML 1.1 too, takes for a string. When in doubt it is quoted. */
static bool is_plain_string(const char *s) {
    static const char *const WORDS[] = {"y", "n", "yes", "no", "true", "false", "on", "off", "null", "nan", "inf"};
    bool is_letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');
    size_t n = strlen(s);
    if (!is_letter || s[n - 1] == ':') return false;
    if (strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/-") != n) return false;
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (!strcasecmp(s, WORDS[i])) return false;
    return true;
}

static bool emit(yaml_emitter_t *y, yaml_event_t *ev, int made) {
    return made && yaml_emitter_emit(y, ev); /* emitting takes the event, also when it fails */
}

static bool emit_scalar(yaml_emitter_t *y, const char *text, bool is_plain) {
    yaml_event_t ev;
    return emit(y, &ev,
                yaml_scalar_event_initialize(&ev, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), is_plain, 1,
                                             is_plain ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE));
}

static bool emit_number(yaml_emitter_t *y, const json_t *j) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 64);
    if (json_dump_callback(j, write_piece, &b, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)) < 0) return false;
    return emit_scalar(y, o3_buf_str(&b), true);
}

static bool emit_leaf(yaml_emitter_t *y, const json_t *j) {
    if (json_is_string(j)) {
        const char *s = json_string_value(j);
        return emit_scalar(y, s, is_plain_string(s));
    }
    return emit_number(y, j); /* booleans too: JSON spells them as YAML does */
}

static bool emit_mapping(yaml_emitter_t *y, json_t *o, yaml_mapping_style_t style) {
    yaml_event_t ev;
    if (!emit(y, &ev, yaml_mapping_start_event_initialize(&ev, NULL, NULL, 1, style))) return false;
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value) {
        /* Figures belong on one line. */
        bool is_figures = !strcmp(key, "performance") || !strcmp(key, "previous");
        bool ok = emit_scalar(y, key, true);
        if (json_is_object(value))
            ok = ok && emit_mapping(y, value, is_figures ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE);
        else
            ok = ok && emit_leaf(y, value);
        if (!ok) return false;
    }
    return emit(y, &ev, yaml_mapping_end_event_initialize(&ev));
}

static bool emit_document(yaml_emitter_t *y, json_t *o) {
    yaml_event_t ev;
    return emit(y, &ev, yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING)) &&
           emit(y, &ev, yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1)) &&
           emit_mapping(y, o, YAML_BLOCK_MAPPING_STYLE) && emit(y, &ev, yaml_document_end_event_initialize(&ev, 1)) &&
           emit(y, &ev, yaml_stream_end_event_initialize(&ev));
}

static int write_yaml(json_t *o, struct o3_buf *out) {
    yaml_emitter_t y;
    if (!yaml_emitter_initialize(&y)) return O3_E_NOMEM;
    yaml_emitter_set_output(&y, write_yaml_piece, out);
    yaml_emitter_set_unicode(&y, 1);
    yaml_emitter_set_width(&y, -1);
    yaml_emitter_set_break(&y, YAML_LN_BREAK);
    bool ok = emit_document(&y, o);
    yaml_emitter_delete(&y);
    if (ok) return out->err;
    return out->err ? out->err : O3_E_NOMEM;
}

int o3_preset_doc_encode_yaml(const struct o3_preset_doc *d, struct o3_buf *out) {
    AUTO_JSON *o = NULL;
    int r = build_doc(d, &o);
    return r < 0 ? r : write_yaml(o, out);
}

static void add_doc(const struct o3_preset_doc *d, struct o3_buf *out) {
    if (out->len) o3_buf_adds(out, "---\n");
    (void)o3_preset_doc_encode_yaml(d, out);
}

int o3_preset_docs_encode_yaml(const struct o3_preset_doc *const *docs, size_t n, int first, struct o3_buf *out) {
    if (first >= 0) add_doc(docs[first], out);
    for (size_t i = 0; i < n; i++)
        if ((int)i != first) add_doc(docs[i], out);
    return out->err;
}

int o3_preset_doc_encode_json(const struct o3_preset_doc *d, struct o3_buf *out) {
    AUTO_JSON *o = NULL;
    int r = build_doc(d, &o);
    return r < 0 ? r : write_json(o, JSON_INDENT(2), out);
}

/* ---- one preset ---- */

static int write_one_yaml(const struct o3_preset_doc *d, enum o3_preset_name p, struct o3_buf *out) {
    AUTO_JSON *o = NULL;
    int r = build_one(d, p, &o);
    return r < 0 ? r : write_yaml(o, out);
}

static int write_one_json(const struct o3_preset_doc *d, enum o3_preset_name p, struct o3_buf *out) {
    AUTO_JSON *o = NULL;
    int r = build_one(d, p, &o);
    return r < 0 ? r : write_json(o, JSON_INDENT(2), out);
}

/* Numbers only, so that a shell, `docker --env-file` and systemd read the same. */
static int write_one_env(const struct o3_preset_doc *d, enum o3_preset_name p, struct o3_buf *out) {
    o3_buf_addf(out, "O3_NUM_CTX=%lld\n", (long long)d->presets[p].num_ctx);
    if (d->presets[p].batch > 0) o3_buf_addf(out, "O3_NUM_BATCH=%lld\n", (long long)d->presets[p].batch);
    return out->err;
}

static int write_one_modelfile(const struct o3_preset_doc *d, enum o3_preset_name p, struct o3_buf *out) {
    o3_buf_addf(out, "PARAMETER num_ctx %lld\n", (long long)d->presets[p].num_ctx);
    if (d->presets[p].batch > 0) o3_buf_addf(out, "PARAMETER num_batch %lld\n", (long long)d->presets[p].batch);
    return out->err;
}

static int write_one_options(const struct o3_preset_doc *d, enum o3_preset_name p, struct o3_buf *out) {
    o3_buf_addf(out, "{\"num_ctx\":%lld", (long long)d->presets[p].num_ctx);
    if (d->presets[p].batch > 0) o3_buf_addf(out, ",\"num_batch\":%lld", (long long)d->presets[p].batch);
    return o3_buf_adds(out, "}\n");
}

int o3_preset_encode(const struct o3_preset_doc *d, enum o3_preset_name p, const char *format, struct o3_buf *out,
                     struct o3_err *e) {
    static const struct {
        const char *name;
        int (*write)(const struct o3_preset_doc *d, enum o3_preset_name p, struct o3_buf *out);
    } FORMATS[] = {{"yaml", write_one_yaml},
                   {"json", write_one_json},
                   {"env", write_one_env},
                   {"modelfile", write_one_modelfile},
                   {"ollama-options", write_one_options}};
    for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++) {
        if (strcmp(FORMATS[i].name, format) != 0) continue;
        if (!d->presets[p].is_set)
            return o3_err_set(e, O3_E_NOT_FOUND, "model %s has no preset %s", d->model, o3_preset_name(p));
        int r = FORMATS[i].write(d, p, out);
        return r < 0 ? o3_err_set(e, r, "preset %s of model %s cannot be written as %s", o3_preset_name(p), d->model,
                                  format)
                     : 0;
    }
    return o3_err_set(e, O3_E_USAGE, "unknown format '%.40s', expected yaml, json, env, modelfile or ollama-options",
                      format);
}
