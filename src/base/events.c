/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/events.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include "o3/err.h"
#include "o3/text.h"

static const struct o3_event_row ROWS[] = {
#define O3_EVENT(sym, name, level, fields, text) {#sym, name, fields, text, O3_LOG_##level},
#include "o3/tables/events.def"
#undef O3_EVENT
};

const struct o3_event_row *o3_event_row(enum o3_event_id ev) {
    O3_ASSERT((unsigned)ev < O3_EVENT_COUNT);
    return &ROWS[ev];
}

const char *o3_log_level_name(enum o3_log_level l) {
    static const char *const NAMES[] = {"error", "warn", "info", "debug"};
    return NAMES[l];
}

static bool has_field(const struct o3_field *f, size_t n, const char *name, size_t len) {
    for (size_t i = 0; i < n; i++)
        if (strlen(f[i].name) == len && !strncmp(f[i].name, name, len)) return true;
    return false;
}

static void assert_fields(const struct o3_event_row *row, const struct o3_field *f, size_t n) {
    for (const char *p = row->fields; *p;) {
        size_t len = strcspn(p, " ");
        O3_ASSERT(has_field(f, n, p, len));
        p += len;
        p += strspn(p, " ");
    }
    for (size_t i = 0; i < n; i++)
        O3_ASSERT(strcmp(f[i].name, "time") && strcmp(f[i].name, "level") && strcmp(f[i].name, "event") &&
                  strcmp(f[i].name, "msg"));
}

static bool is_bare(const char *s) {
    size_t left = strlen(s);
    if (!left) return false;
    for (size_t len; left; s += len, left -= len) {
        len = o3_utf8_sequence(s, left);
        if (!len || *s == ' ' || *s == '"' || *s == '=' || *s == '\\' || o3_utf8_control(s, len) >= 0) return false;
    }
    return true;
}

static void add_logfmt_field(struct o3_buf *b, const struct o3_field *f) {
    o3_buf_addf(b, " %s=", f->name);
    switch (f->type) {
    case O3_FIELD_STR:
        if (f->s && is_bare(f->s))
            o3_buf_adds(b, f->s);
        else
            o3_buf_add_quoted(b, f->s ? f->s : "");
        break;
    case O3_FIELD_INT:
        o3_buf_addf(b, "%lld", (long long)f->i);
        break;
    case O3_FIELD_DBL:
        o3_buf_add_double(b, f->d);
        break;
    }
}

static void add_json_field(struct o3_buf *b, const struct o3_field *f) {
    o3_buf_addf(b, ",\"%s\":", f->name);
    switch (f->type) {
    case O3_FIELD_STR:
        if (f->s)
            o3_buf_add_quoted(b, f->s);
        else
            o3_buf_adds(b, "null");
        break;
    case O3_FIELD_INT:
        o3_buf_addf(b, "%lld", (long long)f->i);
        break;
    case O3_FIELD_DBL:
        if (isfinite(f->d))
            o3_buf_add_double(b, f->d);
        else
            o3_buf_adds(b, "null");
        break;
    }
}

int o3_event_encode_logfmt(int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n,
                           struct o3_buf *out) {
    const struct o3_event_row *row = o3_event_row(ev);
    assert_fields(row, f, n);
    char time[32];
    o3_rfc3339_format(wall_ms, time, sizeof time);
    o3_buf_addf(out, "time=%s level=%s event=%s msg=", time, o3_log_level_name(row->level), row->name);
    o3_buf_add_quoted(out, row->text);
    for (size_t i = 0; i < n; i++)
        add_logfmt_field(out, &f[i]);
    return out->err;
}

int o3_event_encode_json(int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n, struct o3_buf *out) {
    const struct o3_event_row *row = o3_event_row(ev);
    assert_fields(row, f, n);
    char time[32];
    o3_rfc3339_format(wall_ms, time, sizeof time);
    o3_buf_addf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"msg\":", time, o3_log_level_name(row->level),
                row->name);
    o3_buf_add_quoted(out, row->text);
    for (size_t i = 0; i < n; i++)
        add_json_field(out, &f[i]);
    o3_buf_adds(out, "}");
    return out->err;
}
