/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/uninitialized.h"
#include "metrics/registry_impl.h"
#include "o3/err.h"
#include "o3/text.h"

/* One series' label values in table order, each ended by NUL. */
struct key {
    size_t len;
    char bytes[O3_METRIC_MAX_LABELS * (O3_LABEL_VALUE_MAX + 1)];
};

static void replace_invalid_utf8(char *s, size_t left) {
    while (left) {
        size_t len = o3_utf8_sequence(s, left);
        if (!len) {
            *s = '?';
            len = 1;
        }
        s += len;
        left -= len;
    }
}

static bool is_ascii(const char *s, size_t n) {
    unsigned char all = 0;
    for (size_t i = 0; i < n; i++)
        all |= (unsigned char)s[i];
    return all < 0x80;
}

static void make_key(enum o3_metric id, const char *const *labels, struct key *ret) {
    int n = o3_metric_row(id)->n_labels;
    O3_ASSERT(n == 0 || labels);
    ret->len = 0;
    for (int i = 0; i < n; i++) {
        char *p = ret->bytes + ret->len;
        o3_str_copy(p, O3_LABEL_VALUE_MAX + 1, labels[i] ? labels[i] : "");
        size_t len = strlen(p);
        if (!is_ascii(p, len)) replace_invalid_utf8(p, len);
        ret->len += len + 1;
    }
}

/* The place of the key in its family: its index, or where it belongs when it is not there. */
static size_t find(const struct o3_metrics *m, enum o3_metric id, const struct key *k, bool *ret_is_there) {
    size_t lo = 0, hi = m->families[id].n;
    *ret_is_there = false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct o3_series *s = m->families[id].v[mid];
        int order = memcmp(s->key, k->bytes, s->key_len < k->len ? s->key_len : k->len);
        if (!order) { /* no key is a prefix of another one: each has the same number of NULs and ends with one */
            *ret_is_there = true;
            return mid;
        }
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool is_allowed(enum o3_metric id, int label, const char *value) {
    size_t n;
    const char *const *set = o3_label_values(id, o3_metric_row(id)->labels[label], &n);
    if (!set) return true;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(set[i], value)) return true;
    return false;
}

static void add_escaped(struct o3_buf *b, const char *s) {
    for (; *s; s++) {
        if (*s == '\n')
            o3_buf_adds(b, "\\n");
        else if (*s == '\\' || *s == '"')
            o3_buf_add(b, (const char[]){'\\', *s}, 2);
        else
            o3_buf_add(b, s, 1);
    }
}

static char *format_labels(enum o3_metric id, const struct key *k) {
    const struct o3_metric_row *row = o3_metric_row(id);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4 * sizeof k->bytes);
    const char *value = k->bytes;
    for (int i = 0; i < row->n_labels; i++, value += strlen(value) + 1) {
        O3_ASSERT(is_allowed(id, i, value));
        o3_buf_addf(&b, "%s%s=\"", i ? "," : "", row->labels[i]);
        add_escaped(&b, value);
        o3_buf_adds(&b, "\"");
    }
    return o3_buf_take(&b);
}

static void series_free(struct o3_series *s) {
    if (!s) return;
    free(s->labels);
    free(s->counts);
    free(s);
}

static struct o3_series *series_new(enum o3_metric id, const struct key *k) {
    const struct o3_metric_row *row = o3_metric_row(id);
    struct o3_series *s = calloc(1, sizeof *s + k->len);
    if (!s) return NULL;
    memcpy(s->key, k->bytes, k->len);
    s->key_len = k->len;
    s->labels = format_labels(id, k);
    if (row->kind == O3_HISTOGRAM) s->counts = calloc((size_t)row->n_buckets + 1, sizeof *s->counts);
    if (s->labels && (s->counts || row->kind != O3_HISTOGRAM)) return s;
    series_free(s);
    return NULL;
}

static bool make_room(struct o3_metrics *m, enum o3_metric id) {
    if (m->families[id].n < m->families[id].cap) return true;
    size_t cap = m->families[id].cap ? 2 * m->families[id].cap : 8;
    struct o3_series **v = reallocarray(m->families[id].v, cap, sizeof *v);
    if (!v) return false;
    m->families[id].v = v;
    m->families[id].cap = cap;
    return true;
}

/* The series, made when it is not there; NULL when the registry is full or memory ran out. */
static struct o3_series *obtain(struct o3_metrics *m, enum o3_metric id, const char *const *labels) {
    O3_UNINITIALIZED struct key k;
    make_key(id, labels, &k);
    bool is_there;
    size_t at = find(m, id, &k, &is_there);
    if (is_there) return m->families[id].v[at];
    struct o3_series *s = m->n_series < m->max_series && make_room(m, id) ? series_new(id, &k) : NULL;
    if (!s) {
        m->n_dropped++;
        return NULL;
    }
    struct o3_series **place = m->families[id].v + at;
    memmove(place + 1, place, (m->families[id].n - at) * sizeof *place);
    *place = s;
    m->families[id].n++;
    m->n_series++;
    return s;
}

static void drop_at(struct o3_metrics *m, enum o3_metric id, size_t at) {
    series_free(m->families[id].v[at]);
    m->families[id].n--;
    struct o3_series **place = m->families[id].v + at;
    memmove(place, place + 1, (m->families[id].n - at) * sizeof *place);
    m->n_series--;
}

struct o3_metrics *o3_metrics_new(size_t max_series) {
    struct o3_metrics *m = calloc(1, sizeof *m);
    if (m) m->max_series = max_series;
    return m;
}

void o3_metrics_free(struct o3_metrics *m) {
    if (!m) return;
    for (int id = 0; id < O3_METRIC_COUNT; id++) {
        for (size_t i = 0; i < m->families[id].n; i++)
            series_free(m->families[id].v[i]);
        free(m->families[id].v);
    }
    free(m);
}

uint64_t o3_metrics_dropped(const struct o3_metrics *m) {
    return m->n_dropped;
}

size_t o3_metrics_series(const struct o3_metrics *m) {
    return m->n_series;
}

void o3_metric_set(struct o3_metrics *m, enum o3_metric id, const char *const *labels, double v) {
    enum o3_metric_kind kind = o3_metric_row(id)->kind;
    O3_ASSERT(kind != O3_HISTOGRAM);
    if (kind == O3_COUNTER && !(isfinite(v) && v >= 0)) return;
    struct o3_series *s = obtain(m, id, labels);
    if (s) s->value = kind == O3_INFO ? 1 : v;
}

void o3_metric_add(struct o3_metrics *m, enum o3_metric id, const char *const *labels, double v) {
    O3_ASSERT(o3_metric_row(id)->kind == O3_COUNTER);
    if (!(isfinite(v) && v >= 0)) return;
    struct o3_series *s = obtain(m, id, labels);
    if (s) s->value += v;
}

void o3_metric_observe(struct o3_metrics *m, enum o3_metric id, const char *const *labels, double v) {
    const struct o3_metric_row *row = o3_metric_row(id);
    O3_ASSERT(row->kind == O3_HISTOGRAM);
    if (!isfinite(v)) return; /* it would poison the sum for ever */
    struct o3_series *s = obtain(m, id, labels);
    if (!s) return;
    int i = 0;
    while (i < row->n_buckets && v > row->buckets[i])
        i++;
    s->counts[i]++;
    s->n_observed++;
    s->value += v;
}

void o3_metric_drop(struct o3_metrics *m, enum o3_metric id, const char *const *labels) {
    struct key k;
    make_key(id, labels, &k);
    bool is_there;
    size_t at = find(m, id, &k, &is_there);
    if (is_there) drop_at(m, id, at);
}

static const char *value_at(const struct o3_series *s, int label) {
    const char *p = s->key;
    for (; label > 0; label--)
        p += strlen(p) + 1;
    return p;
}

static bool matches(const struct o3_series *s, const char *const *labels, int n) {
    for (int i = 0; i < n; i++)
        if (labels[i] && strcmp(value_at(s, i), labels[i]) != 0) return false;
    return true;
}

void o3_metric_drop_matching(struct o3_metrics *m, enum o3_metric id, const char *const *labels, int n) {
    O3_ASSERT(n >= 0 && n <= o3_metric_row(id)->n_labels);
    for (size_t i = m->families[id].n; i-- > 0;)
        if (matches(m->families[id].v[i], labels, n)) drop_at(m, id, i);
}

void o3_metrics_drop_label(struct o3_metrics *m, const char *label, const char *value) {
    for (int id = 0; id < O3_METRIC_COUNT; id++) {
        const struct o3_metric_row *row = o3_metric_row((enum o3_metric)id);
        const char *labels[O3_METRIC_MAX_LABELS] = {NULL};
        for (int i = 0; i < row->n_labels; i++) {
            if (strcmp(row->labels[i], label) != 0) continue;
            labels[i] = value;
            o3_metric_drop_matching(m, (enum o3_metric)id, labels, i + 1);
        }
    }
}

double o3_metric_get(const struct o3_metrics *m, enum o3_metric id, const char *const *labels) {
    struct key k;
    make_key(id, labels, &k);
    bool is_there;
    size_t at = find(m, id, &k, &is_there);
    if (!is_there) return NAN;
    const struct o3_series *s = m->families[id].v[at];
    return o3_metric_row(id)->kind == O3_HISTOGRAM ? (double)s->n_observed : s->value;
}
