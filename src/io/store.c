/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
    MAX_EVENTS = 10000,
    MAX_STATES = 6000, /* 64 models, each with 84 series and a few more */
    MAX_VALUE_BYTES = 8 * 1024 * 1024
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

bool o3_store_is_refused(const struct o3_err *e) {
    int sys = e->sys & 0xff;
    return e->code == O3_E_STORE &&
           (sys == SQLITE_CONSTRAINT || sys == SQLITE_MISMATCH || sys == SQLITE_TOOBIG || sys == SQLITE_RANGE);
}

int o3_store_fail(struct o3_store *s, const char *what, struct o3_err *e) {
    int sys = sqlite3_extended_errcode(s->db);
    int r = o3_err_set(e, code_of(sys), "cannot %s the store: %.150s", what, sqlite3_errmsg(s->db));
    if (e) e->sys = sys;
    return r;
}

int o3_store_exec(struct o3_store *s, const char *sql, const char *what, struct o3_err *e) {
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : o3_store_fail(s, what, e);
}

void o3_store_finalize(sqlite3_stmt **p) {
    sqlite3_finalize(*p);
}

int o3_store_prepare(struct o3_store *s, const char *sql, sqlite3_stmt **ret, struct o3_err *e) {
    return sqlite3_prepare_v2(s->db, sql, -1, ret, NULL) == SQLITE_OK ? 0 : o3_store_fail(s, "ask", e);
}

int o3_store_run(struct o3_store *s, sqlite3_stmt *st, struct o3_err *e) {
    int r = sqlite3_step(st);
    int code = r == SQLITE_DONE || r == SQLITE_ROW ? 0 : o3_store_fail(s, "write to", e);
    sqlite3_reset(st);
    return code;
}

unsigned o3_store_bind_text(sqlite3_stmt *st, int i, const char *text) {
    return (unsigned)sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
}

static int read_number(struct o3_store *s, const char *sql, int64_t *ret, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s, sql, &st, e);
    if (r < 0) return r;
    if (sqlite3_step(st) != SQLITE_ROW) return o3_store_fail(s, "read", e);
    *ret = sqlite3_column_int64(st, 0);
    return 0;
}

int o3_store_end_transaction(struct o3_store *s, int r, struct o3_err *e) {
    if (!r) r = o3_store_exec(s, "COMMIT", "write to", e);
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
    if (r != SQLITE_OK) return o3_store_fail(s, "open", e);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_LOOKASIDE, NULL, LOOKASIDE_SIZE, LOOKASIDE_COUNT);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_busy_handler(s->db, on_busy, s);
    return o3_store_exec(
        s,
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
    int r = o3_store_exec(s, "BEGIN IMMEDIATE", "migrate", e);
    if (r) return r;
    r = o3_store_exec(s, MIGRATIONS[from], "migrate", e);
    if (!r) r = o3_store_exec(s, mark, "migrate", e);
    return o3_store_end_transaction(s, r, e);
}

static int migrate(struct o3_store *s, struct o3_err *e) {
    int64_t version = 0;
    int r = check_owner(s, &version, e);
    /* Only an empty file takes auto_vacuum; it lets a pruned store shrink a little at a time. */
    if (!r && version == 0) r = o3_store_exec(s, "PRAGMA auto_vacuum=INCREMENTAL", "set up", e);
    if (!r)
        r = o3_store_exec(s,
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
    return o3_store_exec(s, "PRAGMA query_only=ON; BEGIN", "read", e);
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

/* --- states --- */

int o3_store_put(struct o3_store *s, const char *key, const char *value, size_t n, int64_t wall_ms, struct o3_err *e) {
    if (n > MAX_VALUE_BYTES) return o3_err_set(e, O3_E_LIMIT, "the state %.60s has %zu bytes", key, n);
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s,
                             "INSERT INTO state (key, value, wall_ms) VALUES (?1, ?2, ?3)"
                             " ON CONFLICT (key) DO UPDATE SET value = ?2, wall_ms = ?3",
                             &st, e);
    if (r) return r;
    unsigned bad = o3_store_bind_text(st, 1, key) | (unsigned)sqlite3_bind_int64(st, 3, wall_ms);
    bad |= (unsigned)sqlite3_bind_blob64(st, 2, n ? value : "", n, SQLITE_STATIC);
    return bad ? o3_store_fail(s, "write to", e) : o3_store_run(s, st, e);
}

int o3_store_drop(struct o3_store *s, const char *key, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s, "DELETE FROM state WHERE key = ?", &st, e);
    if (r) return r;
    return o3_store_bind_text(st, 1, key) ? o3_store_fail(s, "write to", e) : o3_store_run(s, st, e);
}

int o3_store_get(struct o3_store *s, const char *key, struct o3_buf *out, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s, "SELECT value FROM state WHERE key = ?", &st, e);
    if (r) return r;
    if (o3_store_bind_text(st, 1, key)) return o3_store_fail(s, "read", e);
    int step = sqlite3_step(st);
    if (step == SQLITE_DONE) return o3_err_set(e, O3_E_NOT_FOUND, "the store has no state %.60s", key);
    if (step != SQLITE_ROW) return o3_store_fail(s, "read", e);
    const void *bytes = sqlite3_column_blob(st, 0);
    r = o3_buf_add(out, bytes, (size_t)sqlite3_column_bytes(st, 0));
    return r ? o3_err_set(e, r, "the state %.60s is too large", key) : 0;
}

int o3_store_each(struct o3_store *s, const char *key_prefix,
                  void (*fn)(void *ctx, const char *key, const char *value, size_t n), void *ctx, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s, "SELECT key, value FROM state WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key", &st,
                             e);
    if (r) return r;
    if (o3_store_bind_text(st, 1, key_prefix)) return o3_store_fail(s, "read", e);
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(st, 0);
        const char *value = sqlite3_column_blob(st, 1);
        if (key) fn(ctx, key, value ? value : "", (size_t)sqlite3_column_bytes(st, 1));
    }
    return step == SQLITE_DONE ? 0 : o3_store_fail(s, "read", e);
}

/* --- events --- */

int o3_store_add_event(struct o3_store *s, const struct o3_store_event *ev, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s, "INSERT INTO event (wall_ms, name, model, json) VALUES (?, ?, ?, ?)", &st, e);
    if (r) return r;
    unsigned bad = (unsigned)sqlite3_bind_int64(st, 1, ev->wall_ms) | o3_store_bind_text(st, 2, ev->name);
    bad |= o3_store_bind_text(st, 3, ev->model ? ev->model : "") |
           o3_store_bind_text(st, 4, ev->json ? ev->json : "{}");
    return bad ? o3_store_fail(s, "write to", e) : o3_store_run(s, st, e);
}

int o3_store_each_event(struct o3_store *s, int64_t since_ms, size_t max,
                        void (*fn)(void *ctx, const struct o3_store_event *ev), void *ctx, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s,
                             "SELECT wall_ms, name, model, json FROM event WHERE wall_ms >= ?"
                             " ORDER BY wall_ms DESC, id DESC LIMIT ?",
                             &st, e);
    if (r) return r;
    if (sqlite3_bind_int64(st, 1, since_ms) || sqlite3_bind_int64(st, 2, max > MAX_EVENTS ? MAX_EVENTS : (int64_t)max))
        return o3_store_fail(s, "read", e);
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        const struct o3_store_event ev = {sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1),
                                          (const char *)sqlite3_column_text(st, 2),
                                          (const char *)sqlite3_column_text(st, 3)};
        if (ev.name && ev.model && ev.json) fn(ctx, &ev);
    }
    return step == SQLITE_DONE ? 0 : o3_store_fail(s, "read", e);
}

/* --- prune --- */

/* Deletes batch by batch; `arg` is bound to ?1 and the batch size to ?2. */
static int delete_all(struct o3_store *s, const char *sql, int64_t arg, struct o3_err *e) {
    AUTO_STATEMENT *st = NULL;
    int r = o3_store_prepare(s, sql, &st, e);
    for (int i = 0; !r && i < MAX_PRUNE_BATCHES; i++) {
        if (sqlite3_bind_int64(st, 1, arg) || sqlite3_bind_int64(st, 2, PRUNE_BATCH))
            return o3_store_fail(s, "prune", e);
        r = o3_store_run(s, st, e);
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
    if (!r) r = o3_store_exec(s, "DELETE FROM model WHERE id NOT IN (SELECT model_id FROM sample)", "prune", e);
    if (!r) r = o3_store_exec(s, "PRAGMA incremental_vacuum; PRAGMA optimize", "prune", e);
    return r;
}
