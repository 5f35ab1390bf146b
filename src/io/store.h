/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_STORE_H
#define O3_IO_STORE_H
/* The SQLite store: one file, WAL, one connection, numbered migrations, user_version checked (newer: O3_E_STORE_NEWER).
 * Blocking: every call runs as a job (one thread at a time). A lock file beside it (flock on <path>.lock) keeps a
 * second sidecar out: O3_E_LOCKED. A broken store is an error the daemon survives: it keeps measuring without history.
 */
#include "o3/sample.h"

struct o3_store;
O3_MUST_CHECK int o3_store_open(const char *path, struct o3_store **ret, struct o3_err *e);
/* Only to read, also while a sidecar writes: no lock, no migration, and what is read is of one moment. NOT_FOUND: no
 * such file; STORE: not a store, or one that has yet to be migrated; STORE_NEWER. */
O3_MUST_CHECK int o3_store_open_read(const char *path, struct o3_store **ret, struct o3_err *e);
void o3_store_close(struct o3_store *s);
/* From any thread, also while a call runs: from now on another program's lock is hardly waited for. NULL is allowed. */
void o3_store_hurry(struct o3_store *s);
/* One transaction for all n. */
O3_MUST_CHECK int o3_store_add_samples(struct o3_store *s, const struct o3_sample *v, size_t n, struct o3_err *e);
/* Samples, states and events that belong together: all of them or, after an error, none. */
struct o3_store_state {
    char *key, *value;
    size_t n; /* 0: it is deleted */
};
struct o3_store_event {
    int64_t wall_ms;
    const char *name, *model, *json;
};
struct o3_store_batch {
    const struct o3_sample *samples;
    const struct o3_store_state *states;
    const struct o3_store_event *events;
    size_t n_samples, n_states, n_events;
    int64_t wall_ms; /* of the states */
};
O3_MUST_CHECK int o3_store_write(struct o3_store *s, const struct o3_store_batch *b, struct o3_err *e);
/* Of an error of a write: what was written is refused itself, and would be every time. */
bool o3_store_is_refused(const struct o3_err *e);
/* The newest `max` with wall_ms >= since_ms, newest last; model "" = all. *ret is malloc'ed; NULL when there is none.
 */
O3_MUST_CHECK int o3_store_samples(struct o3_store *s, const char *model, int64_t since_ms, size_t max,
                                   struct o3_sample **ret, size_t *ret_n, struct o3_err *e);
/* Those with since_ms <= wall_ms < until_ms, oldest first, without holding them all; at most
 * a million. Model "" = all. */
O3_MUST_CHECK int o3_store_each_sample(struct o3_store *s, const char *model, int64_t since_ms, int64_t until_ms,
                                       void (*fn)(void *ctx, const struct o3_sample *v), void *ctx, struct o3_err *e);
/* Models with samples, the one measured last first. fn: false ends it. */
O3_MUST_CHECK int o3_store_each_model(struct o3_store *s, bool (*fn)(void *ctx, const char *model), void *ctx,
                                      struct o3_err *e);
/* The place of a sample in the order of storing: of the one with both times; if it is not there, of the last one of the
 * model that is no younger. 0: none. */
O3_MUST_CHECK int o3_store_place(struct o3_store *s, const char *model, int64_t wall_ms, int64_t mono_ns, int64_t *ret,
                                 struct o3_err *e);
/* Samples behind that place in the order of storing, of these the newest `max`. fn: false ends it. */
O3_MUST_CHECK int o3_store_each_after(struct o3_store *s, int64_t place, size_t max,
                                      bool (*fn)(void *ctx, int64_t place, const struct o3_sample *v), void *ctx,
                                      struct o3_err *e);
/* Small named states (detectors, reload strikes, presets): whole old or whole new. */
O3_MUST_CHECK int o3_store_put(struct o3_store *s, const char *key, const char *value, size_t n, int64_t wall_ms,
                               struct o3_err *e);
O3_MUST_CHECK int o3_store_drop(struct o3_store *s, const char *key, struct o3_err *e); /* no such state: 0 */
O3_MUST_CHECK int o3_store_get(struct o3_store *s, const char *key, struct o3_buf *out,
                               struct o3_err *e); /* NOT_FOUND */
O3_MUST_CHECK int o3_store_each(struct o3_store *s, const char *key_prefix,
                                void (*fn)(void *ctx, const char *key, const char *value, size_t n), void *ctx,
                                struct o3_err *e);
O3_MUST_CHECK int o3_store_add_event(struct o3_store *s, const struct o3_store_event *ev, struct o3_err *e);
/* Events from `since_ms` on, the newest `max`, newest first. The strings are borrowed for the call. */
O3_MUST_CHECK int o3_store_each_event(struct o3_store *s, int64_t since_ms, size_t max,
                                      void (*fn)(void *ctx, const struct o3_store_event *ev), void *ctx,
                                      struct o3_err *e);
/* Deletes samples older than before_ms and keeps the file bounded: a million samples, ten thousand
 * events, the six thousand states written last. */
O3_MUST_CHECK int o3_store_prune(struct o3_store *s, int64_t before_ms, struct o3_err *e);

#endif
