/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text format 0.0.4 and OpenMetrics 1.0.0. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "metrics/registry_impl.h"
#include "o3/err.h"

/* Most values are counts: they are written without a search for the shortest decimal. */
static void add_value(struct o3_buf *b, double v) {
    if (v >= 0 && v < 1e15 && v == floor(v)) {
        char text[24];
        int n = snprintf(text, sizeof text, "%llu", (unsigned long long)v);
        o3_buf_add(b, text, (size_t)n);
    } else {
        o3_buf_add_double(b, v);
    }
}

static void add_count(struct o3_buf *b, uint64_t v) {
    char text[24];
    size_t at = sizeof text;
    do
        text[--at] = (char)('0' + v % 10);
    while (v /= 10);
    o3_buf_add(b, text + at, sizeof text - at);
}

/* OpenMetrics wants the canonical form of a bound, "1.0"; the text format has always had "1". */
static void format_bound(double bound, enum o3_exposition f, char *out, size_t size) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 64);
    o3_buf_add_double(&b, bound);
    bool needs_point = f == O3_OPENMETRICS_1_0_0 && !strpbrk(o3_buf_str(&b), ".eI");
    snprintf(out, size, "%s%s", o3_buf_str(&b), needs_point ? ".0" : "");
}

/* One family being written: what its lines have in common. */
struct writer {
    const struct o3_metric_row *row;
    enum o3_exposition format;
    struct o3_buf *out;
    char bounds[32][24]; /* of a histogram, with +Inf */
};

static void add_sample_name(struct writer *w, const char *suffix, const struct o3_series *s, const char *bound) {
    struct o3_buf *b = w->out;
    o3_buf_adds(b, w->row->name);
    o3_buf_adds(b, suffix);
    if (*s->labels || bound) {
        o3_buf_add(b, "{", 1);
        o3_buf_adds(b, s->labels);
        if (bound) {
            o3_buf_adds(b, *s->labels ? ",le=\"" : "le=\"");
            o3_buf_adds(b, bound);
            o3_buf_add(b, "\"", 1);
        }
        o3_buf_add(b, "}", 1);
    }
    o3_buf_add(b, " ", 1);
}

static void add_histogram(struct writer *w, const struct o3_series *s) {
    uint64_t n = 0;
    for (int i = 0; i <= w->row->n_buckets; i++) {
        n += s->counts[i];
        add_sample_name(w, "_bucket", s, w->bounds[i]);
        add_count(w->out, n);
        o3_buf_add(w->out, "\n", 1);
    }
    add_sample_name(w, "_sum", s, NULL);
    add_value(w->out, s->value);
    o3_buf_add(w->out, "\n", 1);
    add_sample_name(w, "_count", s, NULL);
    add_count(w->out, n);
    o3_buf_add(w->out, "\n", 1);
}

static void add_help(struct writer *w) {
    for (const char *p = w->row->help; *p; p++) {
        if (*p == '\n')
            o3_buf_adds(w->out, "\\n");
        else if (*p == '\\' || (*p == '"' && w->format == O3_OPENMETRICS_1_0_0))
            o3_buf_addf(w->out, "\\%c", *p);
        else
            o3_buf_add(w->out, p, 1);
    }
    o3_buf_add(w->out, "\n", 1);
}

static void add_head(struct writer *w) {
    const struct o3_metric_row *row = w->row;
    bool is_openmetrics = w->format == O3_OPENMETRICS_1_0_0;
    const char *suffix = row->kind == O3_COUNTER ? "_total" : row->kind == O3_INFO ? "_info" : "";
    size_t len = strlen(row->name) - (is_openmetrics ? strlen(suffix) : 0); /* the family's name is without it */
    /* The text format knows no info type. */
    const char *type = row->kind == O3_INFO && !is_openmetrics ? "gauge" : o3_metric_kind_name(row->kind);
    o3_buf_addf(w->out, "# HELP %.*s ", (int)len, row->name);
    add_help(w);
    o3_buf_addf(w->out, "# TYPE %.*s %s\n", (int)len, row->name, type);
    if (is_openmetrics && *row->unit) o3_buf_addf(w->out, "# UNIT %.*s %s\n", (int)len, row->name, row->unit);
}

static void format_bounds(struct writer *w) {
    O3_ASSERT(w->row->n_buckets < (int)(sizeof w->bounds / sizeof *w->bounds));
    for (int i = 0; i < w->row->n_buckets; i++)
        format_bound(w->row->buckets[i], w->format, w->bounds[i], sizeof *w->bounds);
    format_bound(INFINITY, w->format, w->bounds[w->row->n_buckets], sizeof *w->bounds);
}

static void add_family(struct writer *w, struct o3_series *const *v, size_t n) {
    add_head(w);
    if (w->row->kind == O3_HISTOGRAM) format_bounds(w);
    for (size_t i = 0; i < n; i++) {
        if (w->row->kind == O3_HISTOGRAM) {
            add_histogram(w, v[i]);
            continue;
        }
        add_sample_name(w, "", v[i], NULL);
        add_value(w->out, v[i]->value);
        o3_buf_add(w->out, "\n", 1);
    }
}

int o3_metrics_render(const struct o3_metrics *m, enum o3_exposition f, struct o3_buf *out) {
    /* The registry's own counter is not a series in it: a full registry must still be able to say so. */
    struct o3_series dropped = {.labels = (char[]){""}, .value = (double)m->n_dropped};
    for (int id = 0; id < O3_METRIC_COUNT; id++) {
        struct writer w = {.row = o3_metric_row((enum o3_metric)id), .format = f, .out = out};
        if (id == O3_M_SERIES_DROPPED)
            add_family(&w, (struct o3_series *[]){&dropped}, 1);
        else if (m->families[id].n)
            add_family(&w, m->families[id].v, m->families[id].n);
    }
    if (f == O3_OPENMETRICS_1_0_0) o3_buf_adds(out, "# EOF\n");
    return out->err;
}

const char *o3_exposition_content_type(enum o3_exposition f) {
    return f == O3_OPENMETRICS_1_0_0
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
               : "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
}
