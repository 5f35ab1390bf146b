/* SPDX-License-Identifier: Apache-2.0 */
/* Samples, and what is written together with them. */
#include <stdlib.h>
#include <string.h>
#include "io/store_internal.h"
#include "io/store_schema.h"
#include "o3/text.h"

static int64_t *int_at(struct o3_sample *v, size_t offset) {
    return (int64_t *)(void *)((char *)v + offset);
}

static double *real_at(struct o3_sample *v, size_t offset) {
    return (double *)(void *)((char *)v + offset);
}

static unsigned bind_int(sqlite3_stmt *st, int at, int64_t value, bool is_null) {
    return (unsigned)(is_null ? sqlite3_bind_null(st, at) : sqlite3_bind_int64(st, at, value));
}

/* `v` must outlive the statement's run. */
static unsigned bind_columns(sqlite3_stmt *st, int at, struct o3_sample *v) {
    struct o3_sample unknown;
    o3_surroundings_init(&unknown.around);
    unsigned bad = 0;
    for (size_t i = 0; i < N_INTS; i++, at++) {
        int64_t value = *int_at(v, INT_OFFSETS[i]);
        bad |= bind_int(st, at, value, value < 0);
    }
    for (size_t i = 0; i < N_REALS; i++, at++)
        bad |= (unsigned)sqlite3_bind_double(st, at, *real_at(v, REAL_OFFSETS[i])); /* SQLite stores NaN as NULL */
    for (size_t i = 0; i < N_AROUND_INTS; i++, at++) {
        int64_t value = *int_at(v, AROUND_INT_OFFSETS[i]);
        bad |= bind_int(st, at, value, value == *int_at(&unknown, AROUND_INT_OFFSETS[i]));
    }
    for (size_t i = 0; i < N_AROUND_TEXTS; i++, at++) {
        const char *text = (const char *)v + AROUND_TEXTS[i].offset;
        bad |= *text ? o3_store_bind_text(st, at, text) : (unsigned)sqlite3_bind_null(st, at);
    }
    return bad;
}

static int add_sample(struct o3_store *s, sqlite3_stmt *model, sqlite3_stmt *sample, const struct o3_sample *v,
                      struct o3_err *e) {
    struct o3_sample copy = *v;
    unsigned bad = o3_store_bind_text(model, 1, v->model) | o3_store_bind_text(model, 2, v->digest);
    bad |= o3_store_bind_text(sample, 1, v->model) | o3_store_bind_text(sample, 2, v->digest) |
           o3_store_bind_text(sample, 9, v->detail);
    const int64_t fixed[] = {v->wall_ms, v->mono_ns, v->kind, v->outcome, v->flags, v->http_status};
    for (int i = 0; i < (int)(sizeof fixed / sizeof *fixed); i++)
        bad |= (unsigned)sqlite3_bind_int64(sample, 3 + i, fixed[i]);
    bad |= (unsigned)sqlite3_bind_int64(sample, 10, v->acknowledged);
    bad |= bind_columns(sample, 11, &copy);
    if (bad) return o3_store_fail(s, "write to", e);
    int r = o3_store_run(s, model, e);
    return r ? r : o3_store_run(s, sample, e);
}

static int add_samples(struct o3_store *s, const struct o3_sample *v, size_t n, struct o3_err *e) {
    if (!n) return 0;
    AUTO_STATEMENT *model = NULL, *sample = NULL;
    int r = o3_store_prepare(s, INSERT_MODEL, &model, e);
    if (!r) r = o3_store_prepare(s, INSERT_SAMPLE, &sample, e);
    for (size_t i = 0; i < n && !r; i++)
        r = add_sample(s, model, sample, &v[i], e);
    return r;
}

int o3_store_write(struct o3_store *s, const struct o3_store_batch *b, struct o3_err *e) {
    int r = o3_store_exec(s, "BEGIN IMMEDIATE", "write to", e);
    if (r) return r;
    r = add_samples(s, b->samples, b->n_samples, e);
    for (size_t i = 0; i < b->n_states && !r; i++) {
        const struct o3_store_state *x = &b->states[i];
        r = x->n ? o3_store_put(s, x->key, x->value, x->n, b->wall_ms, e) : o3_store_drop(s, x->key, e);
    }
    for (size_t i = 0; i < b->n_events && !r; i++)
        r = o3_store_add_event(s, &b->events[i], e);
    return o3_store_end_transaction(s, r, e);
}

int o3_store_add_samples(struct o3_store *s, const struct o3_sample *v, size_t n, struct o3_err *e) {
    return n ? o3_store_write(s, &(struct o3_store_batch){.samples = v, .n_samples = n}, e) : 0;
}

static void column_text(sqlite3_stmt *st, int i, char *out, size_t size) {
    const char *text = (const char *)sqlite3_column_text(st, i);
    o3_str_copy(out, size, text ? text : "");
}

static void read_columns(sqlite3_stmt *st, int at, struct o3_sample *v) {
    o3_surroundings_init(&v->around);
    for (size_t i = 0; i < N_INTS; i++, at++)
        *int_at(v, INT_OFFSETS[i]) = sqlite3_column_type(st, at) == SQLITE_NULL ? -1 : sqlite3_column_int64(st, at);
    for (size_t i = 0; i < N_REALS; i++, at++)
        *real_at(v, REAL_OFFSETS[i]) = sqlite3_column_type(st, at) == SQLITE_NULL ? __builtin_nan("")
                                                                                  : sqlite3_column_double(st, at);
    for (size_t i = 0; i < N_AROUND_INTS; i++, at++)
        if (sqlite3_column_type(st, at) != SQLITE_NULL)
            *int_at(v, AROUND_INT_OFFSETS[i]) = sqlite3_column_int64(st, at);
    for (size_t i = 0; i < N_AROUND_TEXTS; i++, at++)
        column_text(st, at, (char *)v + AROUND_TEXTS[i].offset, AROUND_TEXTS[i].size);
}

/* The file may have been edited: what no sample can hold is refused, not believed. */
static bool read_sample(sqlite3_stmt *st, struct o3_sample *v) {
    *v = (struct o3_sample){0};
    column_text(st, 0, v->model, sizeof v->model);
    column_text(st, 1, v->digest, sizeof v->digest);
    int64_t kind = sqlite3_column_int64(st, 4), outcome = sqlite3_column_int64(st, 5);
    if (kind < 0 || kind >= O3_PROBE_KIND_COUNT || outcome < 0 || outcome >= O3_OUTCOME_COUNT) return false;
    v->wall_ms = sqlite3_column_int64(st, 2);
    v->mono_ns = sqlite3_column_int64(st, 3);
    v->kind = (enum o3_probe_kind)kind;
    v->outcome = (enum o3_outcome)outcome;
    v->flags = (uint32_t)sqlite3_column_int64(st, 6);
    v->http_status = sqlite3_column_int(st, 7);
    column_text(st, 8, v->detail, sizeof v->detail);
    v->acknowledged = (uint32_t)sqlite3_column_int64(st, 9);
    read_columns(st, 10, v);
    return true;
}

int o3_store_each_sample(struct o3_store *s, const char *model, int64_t since_ms, int64_t until_ms,
                         void (*fn)(void *ctx, const struct o3_sample *v), void *ctx, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s, SELECT_IN_TIME, &st, e);
    if (r) return r;
    unsigned bad = (unsigned)sqlite3_bind_int64(st, 1, since_ms) | o3_store_bind_text(st, 2, model);
    bad |= (unsigned)sqlite3_bind_int64(st, 3, until_ms) | (unsigned)sqlite3_bind_int64(st, 4, MAX_SAMPLES);
    if (bad) return o3_store_fail(s, "read", e);
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        struct o3_sample v;
        if (read_sample(st, &v)) fn(ctx, &v);
    }
    return step == SQLITE_DONE ? 0 : o3_store_fail(s, "read", e);
}

static void reverse(struct o3_sample *v, size_t n) {
    for (size_t i = 0; i < n / 2; i++) {
        struct o3_sample t = v[i];
        v[i] = v[n - 1 - i];
        v[n - 1 - i] = t;
    }
}

struct sample_list {
    struct o3_sample *v;
    size_t n, cap;
};

static struct o3_sample *next_place(struct sample_list *l) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct o3_sample *v = reallocarray(l->v, cap, sizeof *v);
        if (!v) return NULL;
        l->v = v;
        l->cap = cap;
    }
    return &l->v[l->n];
}

static int read_samples(struct o3_store *s, sqlite3_stmt *st, struct sample_list *l, struct o3_err *e) {
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        struct o3_sample *v = next_place(l);
        if (!v) return o3_err_set(e, O3_E_NOMEM, "no memory for %zu samples", l->n);
        l->n += read_sample(st, v);
    }
    return step == SQLITE_DONE ? 0 : o3_store_fail(s, "read", e);
}

int o3_store_samples(struct o3_store *s, const char *model, int64_t since_ms, size_t max, struct o3_sample **ret,
                     size_t *ret_n, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s, SELECT_SAMPLES, &st, e);
    if (r) return r;
    unsigned bad = (unsigned)sqlite3_bind_int64(st, 1, since_ms) | o3_store_bind_text(st, 2, model);
    bad |= (unsigned)sqlite3_bind_int64(st, 3, max > MAX_SAMPLES ? MAX_SAMPLES : (int64_t)max);
    if (bad) return o3_store_fail(s, "read", e);
    struct sample_list l = {0};
    r = read_samples(s, st, &l, e);
    if (r) {
        free(l.v);
        return r;
    }
    if (!l.n) {
        free(l.v);
        l.v = NULL;
    }
    reverse(l.v, l.n);
    *ret = l.v;
    *ret_n = l.n;
    return 0;
}

int o3_store_each_model(struct o3_store *s, bool (*fn)(void *ctx, const char *model), void *ctx, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(
        s,
        "SELECT name, max((SELECT max(wall_ms) FROM sample WHERE model_id = model.id)) AS last FROM model"
        " GROUP BY name HAVING last IS NOT NULL ORDER BY last DESC, name",
        &st, e);
    if (r) return r;
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        char name[O3_MODEL_NAME_SIZE];
        column_text(st, 0, name, sizeof name);
        if (!fn(ctx, name)) return 0;
    }
    return step == SQLITE_DONE ? 0 : o3_store_fail(s, "read", e);
}

int o3_store_place(struct o3_store *s, const char *model, int64_t wall_ms, int64_t mono_ns, int64_t *ret,
                   struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(
        s,
        "SELECT coalesce((SELECT max(sample.id) FROM sample JOIN model ON model.id = model_id"
        " WHERE name = ?1 AND wall_ms = ?2 AND mono_ns = ?3),"
        " (SELECT max(sample.id) FROM sample JOIN model ON model.id = model_id WHERE name = ?1 AND wall_ms <= ?2), 0)",
        &st, e);
    if (r) return r;
    unsigned bad = o3_store_bind_text(st, 1, model) | (unsigned)sqlite3_bind_int64(st, 2, wall_ms);
    bad |= (unsigned)sqlite3_bind_int64(st, 3, mono_ns);
    if (bad || sqlite3_step(st) != SQLITE_ROW) return o3_store_fail(s, "read", e);
    *ret = sqlite3_column_int64(st, 0);
    return 0;
}

int o3_store_each_after(struct o3_store *s, int64_t place, size_t max,
                        bool (*fn)(void *ctx, int64_t place, const struct o3_sample *v), void *ctx, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s, SELECT_AFTER, &st, e);
    if (r) return r;
    int64_t most = max > MAX_SAMPLES ? MAX_SAMPLES : (int64_t)max;
    if (sqlite3_bind_int64(st, 1, place) || sqlite3_bind_int64(st, 2, most)) return o3_store_fail(s, "read", e);
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        struct o3_sample v;
        if (read_sample(st, &v) && !fn(ctx, sqlite3_column_int64(st, N_COLUMNS), &v)) return 0;
    }
    return step == SQLITE_DONE ? 0 : o3_store_fail(s, "read", e);
}
