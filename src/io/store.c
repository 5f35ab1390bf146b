/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include "o3/buf.h"
#include "io/store_schema.h"
#include "o3/text.h"

enum {
    APPLICATION_ID = 0x6f335343, /* "o3SC" */
    BUSY_TIMEOUT_MS = 2000,      /* a person's sqlite3 shell may hold the file for a moment */
    HURRIED_TIMEOUT_MS = 100,
    BUSY_STEP_MS = 10,
    HEAP_BYTES = 1024 * 1024,
    LOOKASIDE_SIZE = 256,
    LOOKASIDE_COUNT = 64,
    PRUNE_BATCH = 5000, /* rows per transaction: bounds the write-ahead log */
    MAX_PRUNE_BATCHES = 1000,
    MAX_SAMPLES = 1000000,
    MAX_EVENTS = 10000,
    MAX_STATES = 6000, /* 64 models, each with 84 series and a few more */
    MAX_VALUE_BYTES = 8 * 1024 * 1024
};

struct o3_store {
    sqlite3 *db;
    int lock_fd;
    atomic_bool is_hurried;
};

/* --- errors and statements --- */

static int code_of(int sqlite_code) {
    switch (sqlite_code & 0xff) {
    case SQLITE_NOMEM:
        return O3_E_NOMEM;
    case SQLITE_FULL:
        return O3_E_DISK_FULL;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return O3_E_READ_ONLY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return O3_E_LOCKED;
    default:
        return O3_E_STORE;
    }
}

static int fail(struct o3_store *s, const char *what, struct o3_err *e) {
    int sys = sqlite3_extended_errcode(s->db);
    int r = o3_err_set(e, code_of(sys), "cannot %s the store: %.150s", what, sqlite3_errmsg(s->db));
    if (e) e->sys = sys;
    return r;
}

static int exec(struct o3_store *s, const char *sql, const char *what, struct o3_err *e) {
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, what, e);
}

static void finalize(sqlite3_stmt **p) {
    sqlite3_finalize(*p);
}
#define AUTO_STATEMENT __attribute__((cleanup(finalize))) sqlite3_stmt

static int prepare(struct o3_store *s, const char *sql, sqlite3_stmt **ret, struct o3_err *e) {
    return sqlite3_prepare_v2(s->db, sql, -1, ret, NULL) == SQLITE_OK ? 0 : fail(s, "ask", e);
}

/* Runs a statement that gives no rows, and makes it ready for the next. */
static int run(struct o3_store *s, sqlite3_stmt *st, struct o3_err *e) {
    int r = sqlite3_step(st);
    int code = r == SQLITE_DONE || r == SQLITE_ROW ? 0 : fail(s, "write to", e);
    sqlite3_reset(st);
    return code;
}

static unsigned bind_text(sqlite3_stmt *st, int i, const char *text) {
    return (unsigned)sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
}

static int read_number(struct o3_store *s, const char *sql, int64_t *ret, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s, sql, &st, e);
    if (r < 0) return r;
    if (sqlite3_step(st) != SQLITE_ROW) return fail(s, "read", e);
    *ret = sqlite3_column_int64(st, 0);
    return 0;
}

/* Ends the transaction: commits when all went well so far. The first error is the one that counts. */
static int end_transaction(struct o3_store *s, int r, struct o3_err *e) {
    if (!r) r = exec(s, "COMMIT", "write to", e);
    if (r) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

/* --- open --- */

static int take_lock(struct o3_store *s, const char *path, struct o3_err *e) {
    char name[PATH_MAX];
    if ((size_t)snprintf(name, sizeof name, "%s.lock", path) >= sizeof name)
        return o3_err_set(e, O3_E_IO, "the name of the store is too long");
    s->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->lock_fd < 0) {
        int code = errno == ENOENT || errno == ENOTDIR  ? O3_E_NOT_FOUND
                   : errno == EROFS || errno == EACCES  ? O3_E_READ_ONLY
                   : errno == ENOSPC || errno == EDQUOT ? O3_E_DISK_FULL
                                                        : O3_E_IO;
        return o3_err_set(e, code, "cannot open %.150s: %s", name, strerror(errno));
    }
    if (!flock(s->lock_fd, LOCK_EX | LOCK_NB)) return 0;
    return o3_err_set(e, O3_E_LOCKED, "another sidecar uses %.150s", path);
}

static int on_busy(void *ctx, int n_before) {
    struct o3_store *s = ctx;
    int limit_ms = atomic_load(&s->is_hurried) ? HURRIED_TIMEOUT_MS : BUSY_TIMEOUT_MS;
    if (n_before * BUSY_STEP_MS >= limit_ms) return 0;
    nanosleep(&(struct timespec){.tv_nsec = BUSY_STEP_MS * O3_NS_PER_MS}, NULL);
    return 1;
}

void o3_store_hurry(struct o3_store *s) {
    if (s) atomic_store(&s->is_hurried, true);
}

static int open_db(struct o3_store *s, const char *path, int flags, struct o3_err *e) {
    /* Process-wide, and known before the first connection is made: the daemon as a whole stays within a few MiB. */
    sqlite3_soft_heap_limit64(HEAP_BYTES);
    int r = sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (!s->db) return o3_err_set(e, O3_E_NOMEM, "no memory for the store");
    if (r != SQLITE_OK) return fail(s, "open", e);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_LOOKASIDE, NULL, LOOKASIDE_SIZE, LOOKASIDE_COUNT);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_busy_handler(s->db, on_busy, s);
    return exec(s,
                "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA cache_size=-256;"
                "PRAGMA temp_store=MEMORY",
                "set up", e);
}

static int check_owner(struct o3_store *s, int64_t *version, struct o3_err *e) {
    int64_t id = 0, n_tables = 0;
    int r = read_number(s, "PRAGMA user_version", version, e);
    if (!r) r = read_number(s, "PRAGMA application_id", &id, e);
    if (!r) r = read_number(s, "SELECT count(*) FROM sqlite_schema", &n_tables, e);
    if (r) return r;
    if (id != APPLICATION_ID && (id || *version || n_tables))
        return o3_err_set(e, O3_E_STORE, "the file is a database of another program");
    if (*version <= O3_STORE_VERSION && *version >= 0) return 0;
    return o3_err_set(e, O3_E_STORE_NEWER, "the store has version %lld, this program knows up to %d",
                      (long long)*version, (int)O3_STORE_VERSION);
}

static int migrate_one(struct o3_store *s, int64_t from, struct o3_err *e) {
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id=%d; PRAGMA user_version=%lld", (int)APPLICATION_ID,
             (long long)from + 1);
    int r = exec(s, "BEGIN IMMEDIATE", "migrate", e);
    if (r) return r;
    r = exec(s, MIGRATIONS[from], "migrate", e);
    if (!r) r = exec(s, mark, "migrate", e);
    return end_transaction(s, r, e);
}

static int migrate(struct o3_store *s, struct o3_err *e) {
    int64_t version = 0;
    int r = check_owner(s, &version, e);
    /* Only an empty file takes auto_vacuum; it lets a pruned store shrink a little at a time. */
    if (!r && version == 0) r = exec(s, "PRAGMA auto_vacuum=INCREMENTAL", "set up", e);
    if (!r)
        r = exec(s,
                 "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=128;"
                 "PRAGMA journal_size_limit=1048576; PRAGMA foreign_keys=ON",
                 "set up", e);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL); /* a migration may rewrite the schema's text */
    for (; !r && version < O3_STORE_VERSION; version++)
        r = migrate_one(s, version, e);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return r;
}

static struct o3_store *new_store(struct o3_err *e) {
    struct o3_store *s = calloc(1, sizeof *s);
    if (s)
        s->lock_fd = -1;
    else
        o3_err_set(e, O3_E_NOMEM, "no memory for the store");
    return s;
}

static int hand_over(struct o3_store *s, int r, struct o3_store **ret) {
    if (r)
        o3_store_close(s);
    else
        *ret = s;
    return r;
}

int o3_store_open(const char *path, struct o3_store **ret, struct o3_err *e) {
    struct o3_err unused;
    if (!e) e = &unused;
    struct o3_store *s = new_store(e);
    if (!s) return O3_E_NOMEM;
    int r = take_lock(s, path, e);
    if (!r) r = open_db(s, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, e);
    if (!r) r = migrate(s, e);
    return hand_over(s, r, ret);
}

/* --- open for reading --- */

/* The path as SQLite's URI of a file that nobody changes: for a store in a folder that cannot be written to, where
 * SQLite cannot make the files it reads a live one with. */
static bool immutable_uri(const char *path, char *out, size_t size) {
    static const char HEX[] = "0123456789abcdef";
    size_t n = (size_t)snprintf(out, size, "file:");
    for (const unsigned char *p = (const unsigned char *)path; *p && n + 20 < size; p++) {
        bool is_plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
                        strchr("/._-", *p);
        if (is_plain) {
            out[n++] = (char)*p;
            continue;
        }
        out[n++] = '%';
        out[n++] = HEX[*p >> 4];
        out[n++] = HEX[*p & 15];
    }
    return (size_t)snprintf(out + n, size - n, "?immutable=1") < size - n && n + 20 < size;
}

/* Somebody writes, or was killed while writing. */
static bool has_log(const char *path) {
    char name[PATH_MAX];
    return (size_t)snprintf(name, sizeof name, "%s-wal", path) >= sizeof name || access(name, F_OK) == 0;
}

static int check_readable(struct o3_store *s, struct o3_err *e) {
    int64_t version = 0;
    int r = check_owner(s, &version, e);
    if (r) return r;
    if (version < O3_STORE_VERSION)
        return o3_err_set(
            e, O3_E_STORE,
            "the store has version %lld, this program needs %d: the next start of \"o3 serve\" migrates it",
            (long long)version, (int)O3_STORE_VERSION);
    /* One look at everything: what is read later belongs together. */
    return exec(s, "PRAGMA query_only=ON; BEGIN", "read", e);
}

static int open_unwritable(struct o3_store *s, const char *path, struct o3_err *e) {
    char uri[4096];
    if (!immutable_uri(path, uri, sizeof uri)) return o3_err_set(e, O3_E_IO, "the name of the store is too long");
    sqlite3_close_v2(s->db);
    s->db = NULL;
    int r = open_db(s, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, e);
    return r ? r : check_readable(s, e);
}

int o3_store_open_read(const char *path, struct o3_store **ret, struct o3_err *e) {
    struct o3_err unused;
    if (!e) e = &unused;
    if (access(path, R_OK) < 0)
        return o3_err_set(e, errno == ENOENT || errno == ENOTDIR ? O3_E_NOT_FOUND : O3_E_IO, "cannot read %.150s: %s",
                          path, strerror(errno));
    struct o3_store *s = new_store(e);
    if (!s) return O3_E_NOMEM;
    int r = open_db(s, path, SQLITE_OPEN_READONLY, e);
    if (!r) r = check_readable(s, e);
    bool is_unwritable = r && ((e->sys & 0xff) == SQLITE_CANTOPEN || (e->sys & 0xff) == SQLITE_READONLY);
    if (is_unwritable && !has_log(path)) r = open_unwritable(s, path, e);
    return hand_over(s, r, ret);
}

void o3_store_close(struct o3_store *s) {
    if (!s) return;
    sqlite3_close_v2(s->db);
    /* The lock file stays: removing it could pull it from under the next owner. */
    if (s->lock_fd >= 0) close(s->lock_fd);
    free(s);
}

/* --- samples --- */

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
        bad |= *text ? bind_text(st, at, text) : (unsigned)sqlite3_bind_null(st, at);
    }
    return bad;
}

static int add_sample(struct o3_store *s, sqlite3_stmt *model, sqlite3_stmt *sample, const struct o3_sample *v,
                      struct o3_err *e) {
    struct o3_sample copy = *v;
    unsigned bad = bind_text(model, 1, v->model) | bind_text(model, 2, v->digest);
    bad |= bind_text(sample, 1, v->model) | bind_text(sample, 2, v->digest) | bind_text(sample, 9, v->detail);
    const int64_t fixed[] = {v->wall_ms, v->mono_ns, v->kind, v->outcome, v->flags, v->http_status};
    for (int i = 0; i < (int)(sizeof fixed / sizeof *fixed); i++)
        bad |= (unsigned)sqlite3_bind_int64(sample, 3 + i, fixed[i]);
    bad |= (unsigned)sqlite3_bind_int64(sample, 10, v->acknowledged);
    bad |= bind_columns(sample, 11, &copy);
    if (bad) return fail(s, "write to", e);
    int r = run(s, model, e);
    return r ? r : run(s, sample, e);
}

static int add_samples(struct o3_store *s, const struct o3_sample *v, size_t n, struct o3_err *e) {
    if (!n) return 0;
    AUTO_STATEMENT *model = NULL, *sample = NULL;
    int r = prepare(s, INSERT_MODEL, &model, e);
    if (!r) r = prepare(s, INSERT_SAMPLE, &sample, e);
    for (size_t i = 0; i < n && !r; i++)
        r = add_sample(s, model, sample, &v[i], e);
    return r;
}

int o3_store_write(struct o3_store *s, const struct o3_store_batch *b, struct o3_err *e) {
    int r = exec(s, "BEGIN IMMEDIATE", "write to", e);
    if (r) return r;
    r = add_samples(s, b->samples, b->n_samples, e);
    for (size_t i = 0; i < b->n_states && !r; i++) {
        const struct o3_store_state *x = &b->states[i];
        r = x->n ? o3_store_put(s, x->key, x->value, x->n, b->wall_ms, e) : o3_store_drop(s, x->key, e);
    }
    for (size_t i = 0; i < b->n_events && !r; i++)
        r = o3_store_add_event(s, &b->events[i], e);
    return end_transaction(s, r, e);
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
    int r = prepare(s, SELECT_IN_TIME, &st, e);
    if (r) return r;
    unsigned bad = (unsigned)sqlite3_bind_int64(st, 1, since_ms) | bind_text(st, 2, model);
    bad |= (unsigned)sqlite3_bind_int64(st, 3, until_ms) | (unsigned)sqlite3_bind_int64(st, 4, MAX_SAMPLES);
    if (bad) return fail(s, "read", e);
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        struct o3_sample v;
        if (read_sample(st, &v)) fn(ctx, &v);
    }
    return step == SQLITE_DONE ? 0 : fail(s, "read", e);
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
    return step == SQLITE_DONE ? 0 : fail(s, "read", e);
}

int o3_store_samples(struct o3_store *s, const char *model, int64_t since_ms, size_t max, struct o3_sample **ret,
                     size_t *ret_n, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s, SELECT_SAMPLES, &st, e);
    if (r) return r;
    unsigned bad = (unsigned)sqlite3_bind_int64(st, 1, since_ms) | bind_text(st, 2, model);
    bad |= (unsigned)sqlite3_bind_int64(st, 3, max > MAX_SAMPLES ? MAX_SAMPLES : (int64_t)max);
    if (bad) return fail(s, "read", e);
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
    int r = prepare(s,
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
    return step == SQLITE_DONE ? 0 : fail(s, "read", e);
}

int o3_store_place(struct o3_store *s, const char *model, int64_t wall_ms, int64_t mono_ns, int64_t *ret,
                   struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(
        s,
        "SELECT coalesce((SELECT max(sample.id) FROM sample JOIN model ON model.id = model_id"
        " WHERE name = ?1 AND wall_ms = ?2 AND mono_ns = ?3),"
        " (SELECT max(sample.id) FROM sample JOIN model ON model.id = model_id WHERE name = ?1 AND wall_ms <= ?2), 0)",
        &st, e);
    if (r) return r;
    unsigned bad = bind_text(st, 1, model) | (unsigned)sqlite3_bind_int64(st, 2, wall_ms);
    bad |= (unsigned)sqlite3_bind_int64(st, 3, mono_ns);
    if (bad || sqlite3_step(st) != SQLITE_ROW) return fail(s, "read", e);
    *ret = sqlite3_column_int64(st, 0);
    return 0;
}

int o3_store_each_after(struct o3_store *s, int64_t place, size_t max,
                        bool (*fn)(void *ctx, int64_t place, const struct o3_sample *v), void *ctx, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s, SELECT_AFTER, &st, e);
    if (r) return r;
    int64_t most = max > MAX_SAMPLES ? MAX_SAMPLES : (int64_t)max;
    if (sqlite3_bind_int64(st, 1, place) || sqlite3_bind_int64(st, 2, most)) return fail(s, "read", e);
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        struct o3_sample v;
        if (read_sample(st, &v) && !fn(ctx, sqlite3_column_int64(st, N_COLUMNS), &v)) return 0;
    }
    return step == SQLITE_DONE ? 0 : fail(s, "read", e);
}

/* --- states --- */

int o3_store_put(struct o3_store *s, const char *key, const char *value, size_t n, int64_t wall_ms, struct o3_err *e) {
    if (n > MAX_VALUE_BYTES) return o3_err_set(e, O3_E_LIMIT, "the state %.60s has %zu bytes", key, n);
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s,
                    "INSERT INTO state (key, value, wall_ms) VALUES (?1, ?2, ?3)"
                    " ON CONFLICT (key) DO UPDATE SET value = ?2, wall_ms = ?3",
                    &st, e);
    if (r) return r;
    unsigned bad = bind_text(st, 1, key) | (unsigned)sqlite3_bind_int64(st, 3, wall_ms);
    bad |= (unsigned)sqlite3_bind_blob64(st, 2, n ? value : "", n, SQLITE_STATIC);
    return bad ? fail(s, "write to", e) : run(s, st, e);
}

int o3_store_drop(struct o3_store *s, const char *key, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s, "DELETE FROM state WHERE key = ?", &st, e);
    if (r) return r;
    return bind_text(st, 1, key) ? fail(s, "write to", e) : run(s, st, e);
}

int o3_store_get(struct o3_store *s, const char *key, struct o3_buf *out, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s, "SELECT value FROM state WHERE key = ?", &st, e);
    if (r) return r;
    if (bind_text(st, 1, key)) return fail(s, "read", e);
    int step = sqlite3_step(st);
    if (step == SQLITE_DONE) return o3_err_set(e, O3_E_NOT_FOUND, "the store has no state %.60s", key);
    if (step != SQLITE_ROW) return fail(s, "read", e);
    const void *bytes = sqlite3_column_blob(st, 0);
    r = o3_buf_add(out, bytes, (size_t)sqlite3_column_bytes(st, 0));
    return r ? o3_err_set(e, r, "the state %.60s is too large", key) : 0;
}

int o3_store_each(struct o3_store *s, const char *key_prefix,
                  void (*fn)(void *ctx, const char *key, const char *value, size_t n), void *ctx, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s, "SELECT key, value FROM state WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key", &st, e);
    if (r) return r;
    if (bind_text(st, 1, key_prefix)) return fail(s, "read", e);
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(st, 0);
        const char *value = sqlite3_column_blob(st, 1);
        if (key) fn(ctx, key, value ? value : "", (size_t)sqlite3_column_bytes(st, 1));
    }
    return step == SQLITE_DONE ? 0 : fail(s, "read", e);
}

/* --- events --- */

int o3_store_add_event(struct o3_store *s, const struct o3_store_event *ev, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s, "INSERT INTO event (wall_ms, name, model, json) VALUES (?, ?, ?, ?)", &st, e);
    if (r) return r;
    unsigned bad = (unsigned)sqlite3_bind_int64(st, 1, ev->wall_ms) | bind_text(st, 2, ev->name);
    bad |= bind_text(st, 3, ev->model ? ev->model : "") | bind_text(st, 4, ev->json ? ev->json : "{}");
    return bad ? fail(s, "write to", e) : run(s, st, e);
}

int o3_store_each_event(struct o3_store *s, int64_t since_ms, size_t max,
                        void (*fn)(void *ctx, const struct o3_store_event *ev), void *ctx, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s,
                    "SELECT wall_ms, name, model, json FROM event WHERE wall_ms >= ?"
                    " ORDER BY wall_ms DESC, id DESC LIMIT ?",
                    &st, e);
    if (r) return r;
    if (sqlite3_bind_int64(st, 1, since_ms) || sqlite3_bind_int64(st, 2, max > MAX_EVENTS ? MAX_EVENTS : (int64_t)max))
        return fail(s, "read", e);
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        const struct o3_store_event ev = {sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1),
                                          (const char *)sqlite3_column_text(st, 2),
                                          (const char *)sqlite3_column_text(st, 3)};
        if (ev.name && ev.model && ev.json) fn(ctx, &ev);
    }
    return step == SQLITE_DONE ? 0 : fail(s, "read", e);
}

/* --- prune --- */

/* Deletes batch by batch; `arg` is bound to ?1 and the batch size to ?2. */
static int delete_all(struct o3_store *s, const char *sql, int64_t arg, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = prepare(s, sql, &st, e);
    for (int i = 0; !r && i < MAX_PRUNE_BATCHES; i++) {
        if (sqlite3_bind_int64(st, 1, arg) || sqlite3_bind_int64(st, 2, PRUNE_BATCH)) return fail(s, "prune", e);
        r = run(s, st, e);
        if (sqlite3_changes(s->db) < PRUNE_BATCH) break;
    }
    return r;
}

int o3_store_prune(struct o3_store *s, int64_t before_ms, struct o3_err *e) {
    int r = delete_all(
        s, "DELETE FROM sample WHERE id IN (SELECT id FROM sample WHERE wall_ms < ?1 ORDER BY wall_ms LIMIT ?2)",
        before_ms, e);
    if (!r)
        r = delete_all(
            s,
            "DELETE FROM sample WHERE id IN (SELECT id FROM sample WHERE id <= (SELECT max(id) FROM sample) - ?1"
            " ORDER BY id LIMIT ?2)",
            MAX_SAMPLES, e);
    if (!r)
        r = delete_all(
            s,
            "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id <= (SELECT max(id) FROM event) - ?1"
            " ORDER BY id LIMIT ?2)",
            MAX_EVENTS, e);
    if (!r)
        r = delete_all(
            s,
            "DELETE FROM state WHERE key IN (SELECT key FROM (SELECT key, wall_ms FROM state ORDER BY wall_ms DESC"
            " LIMIT -1 OFFSET ?1) ORDER BY wall_ms LIMIT ?2)",
            MAX_STATES, e);
    if (!r) r = exec(s, "DELETE FROM model WHERE id NOT IN (SELECT model_id FROM sample)", "prune", e);
    if (!r) r = exec(s, "PRAGMA incremental_vacuum; PRAGMA optimize", "prune", e);
    return r;
}
