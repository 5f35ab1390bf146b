/* SPDX-License-Identifier: Apache-2.0 */
/* The database and the logs of samples. What follows from a turn, samples, states and events, is written in one
 * transaction: whenever the process dies, what was told is there with the samples that it was told of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "app/daemon_internal.h"
#include "app/sample_log.h"

#define FLUSH_EVERY_NS (10LL * O3_NS_PER_S)
#define PRUNE_EVERY_NS (6LL * 3600 * O3_NS_PER_S)
#define REOPEN_EVERY_NS (30LL * O3_NS_PER_S)
#define LOGS_STATE "logs/last" /* what the samples written last append to the logs */
#define LOG_BATCH_MAX (1u << 20)
#define STATES_MAX 8192
#define STATES_BYTES_MAX (64u << 20)

/* ---- what waits ---- */

static void flush_later(struct o3_daemon *d) {
    d->flush_at_ns = o3_now_read().mono_ns + FLUSH_EVERY_NS;
    d->flush_by_ns = d->flush_at_ns + FLUSH_EVERY_NS;
}

/* At the end of this turn, with all that it brings. */
static void flush_soon(struct o3_daemon *d) {
    d->flush_at_ns = d->flush_by_ns = o3_now_read().mono_ns; /* a time long past would look like a loop that was late */
}

static void *grow(void *v, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return v;
    size_t more = *cap ? 2 * *cap : 16;
    void *bigger = reallocarray(v, more, size);
    if (bigger) *cap = more;
    return bigger;
}

static void free_state(struct o3_store_state *x) {
    free(x->key);
    free(x->value);
}

static void free_states(struct state_list *l) {
    for (size_t i = 0; i < l->n; i++)
        free_state(&l->v[i]);
    free(l->v);
    *l = (struct state_list){.n = 0};
}

void o3_daemon_free_waiting(struct o3_daemon *d) {
    free_states(&d->states);
    o3_event_list_free(&d->events);
    o3_backlog_clear(&d->backlog);
}

/* ---- the write ---- */

struct flush {
    struct o3_daemon *daemon;
    int64_t wall_ms;
    size_t n;
    struct o3_sample v[O3_DAEMON_SAMPLES_MAX];
    char log_folder[1100];
    struct o3_buf log; /* a batch of their lines */
    struct state_list states;
    struct o3_event_list events;
    struct o3_store *store; /* NULL: none could be opened yet */
    struct o3_err store_err, file_err;
    bool has_backlog; /* afterwards */
    int64_t n_lost;
};

/* The lines for the logs go with their samples. */
static int write_store(struct flush *j, struct o3_backlog *b, struct o3_err *e) {
    struct o3_store_state *states = calloc(j->states.n + 1, sizeof *states);
    o3_backlog_add(b, j->v, j->n, &j->events);
    if (!states) return o3_err_set(e, O3_E_NOMEM, "no memory to write to the store");
    if (j->states.n) memcpy(states, j->states.v, j->states.n * sizeof *states);
    char logs[] = LOGS_STATE;
    states[j->states.n] = (struct o3_store_state){.key = logs, .value = j->log.p, .n = j->log.len};
    int r = o3_backlog_write(b, j->store, states, j->states.n + (j->n > 0), j->wall_ms, e);
    free(states);
    return r;
}

static void run_flush(void *job) {
    struct flush *j = job;
    struct o3_backlog *b = &j->daemon->backlog;
    if (j->store && write_store(j, b, &j->store_err) == 0) j->store_err.code = 0;
    if (o3_sample_log_append(j->log_folder, j->log.p, j->log.len, &j->file_err) == 0) j->file_err.code = 0;
    j->has_backlog = b->n || b->events.n;
    j->n_lost = b->n_lost;
    b->n_lost = 0;
}

void o3_daemon_store_broken(struct o3_daemon *d, const struct o3_err *e) {
    if (o3_metric_get(d->metrics, O3_M_STORE_UP, O3_NO_LABELS) != 0)
        O3_DAEMON_EVENT(d, O3_EV_STORE_FAILED, O3_F_STR("error", e->text));
    o3_metric_set(d->metrics, O3_M_STORE_UP, O3_NO_LABELS, 0);
}

static void free_flush(struct flush *j) {
    free_states(&j->states);
    o3_event_list_free(&j->events);
    o3_buf_done(&j->log);
    free(j);
}

static bool put_state(struct o3_daemon *d, struct o3_store_state *take, bool is_newer) {
    struct state_list *l = &d->states;
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->v[i].key, take->key) != 0) continue;
        if (is_newer) {
            struct o3_store_state old = l->v[i];
            l->v[i] = *take;
            l->bytes += take->n - old.n;
            *take = old;
        }
        free_state(take);
        return true;
    }
    bool fits = l->n < STATES_MAX && l->bytes + take->n <= STATES_BYTES_MAX;
    struct o3_store_state *v = fits ? grow(l->v, l->n, &l->cap, sizeof *v) : NULL;
    if (!v) {
        free_state(take);
        return false;
    }
    l->v = v;
    l->v[l->n++] = *take;
    l->bytes += take->n;
    return true;
}

/* A state is written again with the next samples, unless there is a newer one: nobody else would. */
static void keep_states(struct o3_daemon *d, struct flush *j) {
    for (size_t i = 0; i < j->states.n; i++)
        (void)put_state(d, &j->states.v[i], false);
    j->states.n = 0;
}

/* The next sample tells the log its configuration again. */
static void forget_told(struct o3_daemon *d) {
    for (int i = 0; i < d->n_stems; i++)
        d->stems[i].n_configs_told = -1;
}

static void done_flush(void *job) {
    struct flush *j = job;
    struct o3_daemon *d = j->daemon;
    d->has_backlog = j->has_backlog;
    if (j->n_lost && !d->is_loss_told) { /* once: this event waits, too */
        d->is_loss_told = true;
        O3_DAEMON_EVENT(d, O3_EV_LIMIT_REACHED, O3_F_STR("what", "what waits for a store that cannot be used"));
    }
    if (!j->has_backlog) d->is_loss_told = false;
    if (j->file_err.code) {
        forget_told(d);
        O3_DAEMON_EVENT(d, O3_EV_FILE_FAILED, O3_F_STR("file", "logs"), O3_F_STR("error", j->file_err.text));
    }
    if (j->store_err.code) {
        keep_states(d, j);
        o3_daemon_store_broken(d, &j->store_err);
    } else if (j->store) {
        o3_metric_set(d->metrics, O3_M_STORE_UP, O3_NO_LABELS, 1);
    }
    if ((d->has_backlog || d->states.n) && d->flush_at_ns == INT64_MAX) flush_later(d);
    free_flush(j);
}

static void log_folder(const struct o3_daemon *d, char *ret, size_t size) {
    snprintf(ret, size, "%s/logs", d->results_path);
}

static void log_sample(struct o3_daemon *d, const struct o3_sample *v, struct o3_buf *batch) {
    struct stem unknown = {.n_configs_told = -1}, *s = o3_daemon_stem_of(d, v->model, &unknown);
    o3_sample_log_add(batch, s->stem, s->n_configs_told == d->n_configs, d->config, d->run_id, v);
    s->n_configs_told = d->n_configs;
}

static struct flush *new_flush(struct o3_daemon *d) {
    struct flush *j = calloc(1, sizeof *j);
    if (!j) return NULL;
    j->daemon = d;
    j->store = d->store;
    j->wall_ms = o3_now_read().wall_ms;
    j->n = d->n_pending;
    memcpy(j->v, d->pending, d->n_pending * sizeof *d->pending);
    log_folder(d, j->log_folder, sizeof j->log_folder);
    o3_buf_init(&j->log, LOG_BATCH_MAX);
    o3_sample_log_begin(&j->log, j->log_folder);
    for (size_t i = 0; i < j->n; i++)
        log_sample(d, &j->v[i], &j->log);
    j->states = d->states;
    j->events = d->events;
    return j;
}

void o3_daemon_flush(struct o3_daemon *d) {
    d->flush_at_ns = INT64_MAX;
    if (!d->n_pending && !d->states.n && !d->events.n && !d->has_backlog) return;
    struct flush *j = new_flush(d);
    if (j && !j->log.err && o3_loop_submit(d->loop, run_flush, done_flush, j) == 0) {
        d->n_pending = 0;
        d->states = (struct state_list){.n = 0};
        d->events = (struct o3_event_list){.n = 0};
        return;
    }
    if (j) {
        j->states = (struct state_list){.n = 0};
        j->events = (struct o3_event_list){.n = 0};
        free_flush(j);
    }
    forget_told(d);
    flush_later(d); /* they stay, and it is tried again */
}

/* ---- samples, states, events ---- */

static void add_sample(void *ctx, const struct o3_sample *s) {
    struct o3_daemon *d = ctx;
    if (d->n_pending == O3_DAEMON_SAMPLES_MAX) o3_daemon_flush(d);
    if (d->n_pending == O3_DAEMON_SAMPLES_MAX) {
        O3_DAEMON_EVENT(d, O3_EV_LIMIT_REACHED, O3_F_STR("what", "samples waiting to be stored"));
        return;
    }
    d->pending[d->n_pending++] = *s;
    if (d->flush_at_ns == INT64_MAX) flush_later(d);
}

void o3_daemon_save_state(void *ctx, const char *key, const char *value, size_t n) {
    struct o3_daemon *d = ctx;
    if (!d->store) return;
    struct o3_store_state x = {.key = strdup(key), .value = o3_daemon_copy_bytes(n ? value : "", n), .n = n};
    bool is_whole = x.key && x.value;
    if (!is_whole) free_state(&x);
    if (!is_whole || !put_state(d, &x, true))
        O3_DAEMON_EVENT(d, O3_EV_LIMIT_REACHED, O3_F_STR("what", "states waiting to be stored"));
    flush_soon(d);
}

/* State changes are kept for /api/v1/events; what is said for each probe is in the samples. */
void o3_daemon_store_event(struct o3_daemon *d, int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f,
                           size_t n) {
    const struct o3_event_row *row = o3_event_row(ev);
    if (!d->store || row->level == O3_LOG_DEBUG || ev == O3_EV_PROBE_FAILED || ev == O3_EV_STORE_FAILED) return;
    const char *model = "";
    for (size_t i = 0; i < n; i++)
        if (!strcmp(f[i].name, "model") && f[i].type == O3_FIELD_STR) model = f[i].s;
    struct o3_buf json;
    o3_buf_init(&json, 16 * 1024);
    struct o3_waiting_event x = {.wall_ms = wall_ms, .name = row->name, .model = strdup(model)};
    if (o3_event_encode_json(wall_ms, ev, f, n, &json) == 0) x.json = o3_buf_take(&json);
    o3_buf_done(&json);
    if (!x.model || !x.json || !o3_event_list_add(&d->events, &x, O3_BACKLOG_EVENTS_MAX)) {
        free(x.model);
        free(x.json);
    }
    flush_soon(d);
}

/* ---- pruning ---- */

struct prune_job {
    struct o3_daemon *daemon;
    int64_t before_ms;
    struct o3_err err;
};

static void run_prune(void *job) {
    struct prune_job *j = job;
    if (o3_store_prune(j->daemon->store, j->before_ms, &j->err) == 0) j->err.code = 0;
}

static void done_prune(void *job) {
    struct prune_job *j = job;
    if (j->err.code) o3_daemon_store_broken(j->daemon, &j->err);
    free(j);
}

static void prune(struct o3_daemon *d) {
    struct prune_job *j = calloc(1, sizeof *j);
    if (!j) return;
    *j = (struct prune_job){.daemon = d, .before_ms = o3_now_read().wall_ms - d->values->store_retention_ms};
    if (o3_loop_submit(d->loop, run_prune, done_prune, j) < 0) free(j);
}

/* ---- a store that could not be opened: a full disk gets room, a folder becomes writable ---- */

struct open_job {
    struct o3_daemon *daemon;
    struct o3_store *store;
    struct o3_err err;
};

static int open_store(const char *path, struct o3_store **ret, struct o3_err *e) {
    int r = o3_daemon_make_parent(path, e);
    return r < 0 ? r : o3_store_open(path, ret, e);
}

static void run_open(void *job) {
    struct open_job *j = job;
    if (open_store(j->daemon->store_path, &j->store, &j->err) < 0) j->store = NULL;
}

static void store_opened(struct o3_daemon *d) {
    o3_metric_set(d->metrics, O3_M_STORE_UP, O3_NO_LABELS, 1);
    O3_DAEMON_EVENT(d, O3_EV_STORE_OPENED, O3_F_STR("path", d->store_path));
    d->store_at_ns = o3_now_read().mono_ns + 60 * O3_NS_PER_S;
}

static void done_open(void *job) {
    struct open_job *j = job;
    j->daemon->store = j->store;
    if (j->store) store_opened(j->daemon);
    free(j);
}

static void reopen(struct o3_daemon *d) {
    struct open_job *j = calloc(1, sizeof *j);
    if (!j) return;
    j->daemon = d;
    if (o3_loop_submit(d->loop, run_open, done_open, j) < 0) free(j);
}

void o3_daemon_flush_turn(struct o3_daemon *d, int64_t now_ns) {
    /* Disk work waits while a probe streams, within reason. */
    if (now_ns >= d->flush_at_ns) {
        bool may_wait = o3_sidecar_is_probing(d->sidecar) && now_ns < d->flush_by_ns;
        if (may_wait)
            d->flush_at_ns = now_ns + O3_NS_PER_S;
        else
            o3_daemon_flush(d);
    }
    if (now_ns >= d->store_at_ns) {
        d->store_at_ns = now_ns + (d->store ? PRUNE_EVERY_NS : REOPEN_EVERY_NS);
        if (d->store)
            prune(d);
        else
            reopen(d);
    }
}

void o3_daemon_fill_results_ops(struct o3_daemon *d, struct o3_sidecar_ops *ops) {
    (void)d;
    ops->sample = add_sample;
    ops->write_presets = o3_daemon_write_presets;
    ops->save_state = o3_daemon_save_state;
}

void o3_daemon_complete_logs(struct o3_daemon *d) {
    char folder[1100];
    struct o3_err e = {0};
    int64_t n = 0;
    O3_AUTO_BUF batch;
    o3_buf_init(&batch, LOG_BATCH_MAX);
    if (o3_store_get(d->store, LOGS_STATE, &batch, &e) < 0) return;
    log_folder(d, folder, sizeof folder);
    int r = o3_sample_log_complete(folder, o3_buf_str(&batch), batch.len, &n, &e);
    if (r < 0) O3_DAEMON_EVENT(d, O3_EV_FILE_FAILED, O3_F_STR("file", "logs"), O3_F_STR("error", e.text));
    if (n) O3_DAEMON_EVENT(d, O3_EV_LOG_COMPLETED, O3_F_INT("samples", n));
}

int o3_daemon_open_store(struct o3_daemon *d, struct o3_err *e) {
    struct o3_err err = {0};
    int r = open_store(d->store_path, &d->store, &err);
    if (r == 0) {
        store_opened(d);
        return 0;
    }
    o3_metric_set(d->metrics, O3_M_STORE_UP, O3_NO_LABELS, 0);
    if (r == O3_E_LOCKED)
        return o3_err_set(e, r, "another o3 uses the store %s: stop it, or give this one another store.path",
                          d->store_path);
    d->store = NULL;
    d->store_at_ns = o3_now_read().mono_ns + REOPEN_EVERY_NS;
    O3_DAEMON_EVENT(d, O3_EV_STORE_FAILED, O3_F_STR("path", d->store_path), O3_F_STR("error", err.text));
    return 0;
}
