/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/object.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"

void object_free(struct object *o) {
    o3_keys_free(&o->data);
    *o = (struct object){.generation = 0};
}

/* ---- read ---- */

/* "UID 2026-11-21T04:06:06.161Z" */
static void parse_writer(const char *text, struct object *ret) {
    const char *blank = strchr(text, ' ');
    if (!blank || !o3_rfc3339_parse(blank + 1, &ret->writer_ms)) ret->writer_ms = 0;
    size_t n = blank ? (size_t)(blank - text) : strlen(text);
    o3_str_copy_n(ret->writer, sizeof ret->writer, text, n);
}

static void read_annotations(const json_t *all, struct object *ret) {
    char text[O3_CONFIGMAP_WRITER_MAX + 48];
    o3_json_copy(all, O3_ANNOTATION_WRITER, text, sizeof text);
    parse_writer(text, ret);
    o3_json_copy(all, O3_ANNOTATION_GENERATION, text, sizeof text);
    bool is_count = o3_int_parse(text, &ret->generation) && ret->generation >= 0 && ret->generation < INT64_MAX / 2;
    if (!is_count) ret->generation = 0;
}

static int read_data(json_t *data, struct object *ret, struct o3_err *e) {
    const char *name;
    json_t *value;
    json_object_foreach(data, name, value) {
        if (!json_is_string(value)) return o3_err_set(e, O3_E_PARSE, "data holds what is not a text");
        int r = o3_keys_set(&ret->data, name, json_string_value(value), json_string_length(value));
        /* A name that no file could have is not ours, whoever wrote it. */
        if (r < 0 && r != O3_E_PARSE) return o3_err_set(e, r, "the object has too many keys or too much text");
    }
    return 0;
}

int object_parse(const char *body, size_t n, struct object *ret, struct o3_err *e) {
    O3_AUTO_JSON *o = NULL;
    *ret = (struct object){.generation = 0};
    int r = o3_json_load_object(body, n, &o, e);
    if (r < 0) return r;
    const json_t *meta = json_object_get(o, "metadata");
    char kind[32];
    o3_json_copy(o, "kind", kind, sizeof kind);
    o3_json_copy(meta, "resourceVersion", ret->version, sizeof ret->version);
    if (strcmp(kind, "ConfigMap") != 0 || !*ret->version)
        return o3_err_set(e, O3_E_PARSE, "the reply is not a ConfigMap with a resourceVersion");
    read_annotations(json_object_get(meta, "annotations"), ret);
    r = read_data(json_object_get(o, "data"), ret, e);
    if (r < 0) object_free(ret);
    return r;
}

void status_message(const char *body, size_t n, char *out, size_t size) {
    O3_AUTO_JSON *o = NULL;
    struct o3_err e;
    *out = '\0';
    if (o3_json_load_object(body, n, &o, &e) < 0) return;
    o3_json_copy(o, "message", out, size);
}

/* ---- written ---- */

static void add_text(struct o3_buf *out, const char *name, const char *value) {
    if (out->len && out->p[out->len - 1] != '{') o3_buf_add_char(out, ',');
    o3_buf_add_quoted(out, name);
    o3_buf_add_char(out, ':');
    if (value)
        o3_buf_add_quoted(out, value);
    else
        o3_buf_adds(out, "null");
}

static void add_writer(const struct patch *p, struct o3_buf *out) {
    char time[32], text[O3_CONFIGMAP_WRITER_MAX + 40];
    o3_rfc3339_format(p->wall_ms, time, sizeof time);
    snprintf(text, sizeof text, "%s %s", p->writer, time);
    add_text(out, O3_ANNOTATION_WRITER, *p->writer ? text : NULL);
}

static int add_change_annotations(const struct patch *p, struct o3_buf *out) {
    struct o3_keys after;
    char checksum[65], text[80];
    int r = o3_keys_merge(&p->have->data, p->want, &after);
    if (r == 0) r = o3_keys_checksum(&after, checksum);
    o3_keys_free(&after);
    if (r < 0) return r;
    add_text(out, O3_ANNOTATION_REASON, p->reason);
    snprintf(text, sizeof text, "%lld", (long long)p->have->generation + 1);
    add_text(out, O3_ANNOTATION_GENERATION, text);
    snprintf(text, sizeof text, "sha256:%s", checksum);
    add_text(out, O3_ANNOTATION_CHECKSUM, text);
    return 0;
}

/* Only what differs: a key that somebody else put there stays as it is. */
static void add_data(const struct patch *p, struct o3_buf *out) {
    o3_buf_adds(out, ",\"data\":{");
    if (p->state) add_text(out, O3_KEY_STATE, p->state);
    for (size_t i = 0; p->have && i < p->want->n; i++) {
        const struct o3_key *k = &p->want->v[i], *old = o3_keys_find(&p->have->data, k->name);
        bool is_same = old ? k->value && old->n == k->n && !memcmp(old->value, k->value, k->n) : !k->value;
        if (!is_same) add_text(out, k->name, k->value);
    }
    o3_buf_adds(out, "}");
}

int patch_encode(const struct patch *p, struct o3_buf *out) {
    o3_buf_adds(out, "{\"metadata\":{");
    add_text(out, "resourceVersion", p->version);
    o3_buf_adds(out, ",\"annotations\":{");
    add_writer(p, out);
    int r = p->have ? add_change_annotations(p, out) : 0;
    if (r < 0) return r;
    o3_buf_adds(out, "}}");
    if (p->have || p->state) add_data(p, out);
    return o3_buf_adds(out, "}");
}
