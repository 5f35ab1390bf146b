/* SPDX-License-Identifier: Apache-2.0 */
/* Files and store: o3_results/{defaults,summaries,logs}, the configured preset file, and the database. All writing
 * is done in jobs; a job owns copies of what it writes. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "app/daemon_internal.h"
#include "app/places.h"
#include "io/file.h"

#define FLUSH_EVERY_NS (10LL * O3_NS_PER_S)
#define PRUNE_EVERY_NS (6LL * 3600 * O3_NS_PER_S)
#define REOPEN_EVERY_NS (30LL * O3_NS_PER_S)
#define LOG_BYTES_MAX (16u << 20)
#define LOGS_KEPT 4
#define PRESET_BYTES_MAX (64u * 1024)

/* ---- names of files ---- */

static bool is_stem_taken(void *ctx, const char *stem, const char *model) {
    const struct o3_daemon *d = ctx;
    for (int i = 0; i < d->n_stems; i++)
        if (!strcmp(d->stems[i].stem, stem) && strcmp(d->stems[i].model, model)) return true;
    return false;
}

static void remember_stem(struct o3_daemon *d, const char *model, const char *stem) {
    if (!d->stems || d->n_stems == O3_DAEMON_STEMS_MAX) return;
    struct stem *s = &d->stems[d->n_stems++];
    o3_str_copy(s->model, sizeof s->model, model);
    o3_str_copy(s->stem, sizeof s->stem, stem);
}

static void stem_of(struct o3_daemon *d, const char *model, char *out, size_t size) {
    for (int i = 0; i < d->n_stems; i++)
        if (!strcmp(d->stems[i].model, model)) {
            o3_str_copy(out, size, d->stems[i].stem);
            return;
        }
    o3_model_file_stem(model, is_stem_taken, d, out, size);
    remember_stem(d, model, out);
}

/* The files of earlier runs say which model each stem belongs to. */
static void learn_stems(struct o3_daemon *d) {
    char dir[1100];
    snprintf(dir, sizeof dir, "%s/defaults", d->results_path);
    DIR *handle = opendir(dir);
    if (!handle) return;
    for (struct dirent *entry; (entry = readdir(handle));) {
        char *dot = strrchr(entry->d_name, '.');
        if (entry->d_name[0] == '.' || !dot || strcmp(dot, ".yaml")) continue;
        char path[1400];
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        O3_AUTO_BUF text;
        o3_buf_init(&text, PRESET_BYTES_MAX);
        struct o3_preset_doc doc;
        if (o3_file_read(path, PRESET_BYTES_MAX, &text, NULL) < 0 ||
            o3_preset_doc_decode_yaml(o3_buf_str(&text), text.len, &doc, NULL) < 0)
            continue;
        *dot = '\0';
        remember_stem(d, doc.model, entry->d_name);
    }
    closedir(handle);
}

/* What a killed process left half written. */
static void sweep_temps(const struct o3_daemon *d) {
    static const char *const FOLDERS[] = {"defaults", "summaries", "env"};
    char dir[1400];
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
        snprintf(dir, sizeof dir, "%s/%s", d->results_path, FOLDERS[i]);
        (void)o3_file_sweep_temps(dir);
    }
    const char *file = d->values->publish_file, *slash = strrchr(file, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - file) + 1 : 1, slash ? file : ".");
    if (*file) (void)o3_file_sweep_temps(dir);
}

void o3_daemon_set_paths(struct o3_daemon *d) {
    o3_results_folder(d->values, d->results_path, sizeof d->results_path);
    o3_store_file(d->values, d->store_path, sizeof d->store_path);
    d->stems = calloc(O3_DAEMON_STEMS_MAX, sizeof *d->stems);
    sweep_temps(d);
    learn_stems(d);
}

/* ---- presets ---- */

struct preset_job {
    struct o3_daemon *daemon;
    uint64_t ticket;
    char doc_path[1400], summary_path[1400], file[1100];
    char *doc, *summary, *all;
    size_t doc_len, summary_len, all_len;
    bool has_defaults, has_file, has_summary_failed;
    struct o3_err err, summary_err;
};

static char *copy_bytes(const char *p, size_t n) {
    char *copy = p ? malloc(n + 1) : NULL;
    if (!copy) return NULL;
    memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

static int make_parent(const char *path, struct o3_err *e) {
    char dir[1400];
    o3_str_copy(dir, sizeof dir, path);
    char *slash = strrchr(dir, '/');
    if (!slash || slash == dir) return 0;
    *slash = '\0';
    return o3_file_make_dirs(dir, e);
}

int o3_daemon_replace_file(const char *path, const char *bytes, size_t n, struct o3_err *e) {
    int r = make_parent(path, e);
    return r < 0 ? r : o3_file_replace(path, bytes, n, NULL, e);
}

static void run_presets(void *job) {
    struct preset_job *j = job;
    j->has_defaults = o3_daemon_replace_file(j->doc_path, j->doc, j->doc_len, &j->err) == 0;
    if (j->summary && o3_daemon_replace_file(j->summary_path, j->summary, j->summary_len, &j->summary_err) < 0)
        j->has_summary_failed = true;
    if (!j->file[0]) return;
    if (!j->all) {
        o3_err_set(&j->err, O3_E_LIMIT, "the presets of all models do not fit into one file");
        return;
    }
    /* The directory of the configured file is the user's: it is never made. */
    struct o3_err err;
    j->has_file = o3_file_replace(j->file, j->all, j->all_len, NULL, &err) == 0;
    if (!j->has_file) j->err = err;
}

static void free_preset_job(struct preset_job *j) {
    free(j->doc);
    free(j->summary);
    free(j->all);
    free(j);
}

static void done_presets(void *job) {
    struct preset_job *j = job;
    struct o3_daemon *d = j->daemon;
    if (j->has_summary_failed)
        O3_DAEMON_EVENT(d, O3_EV_FILE_FAILED, O3_F_STR("file", j->summary_path),
                        O3_F_STR("error", j->summary_err.text));
    o3_sidecar_preset_written(d->sidecar, j->ticket, j->has_defaults, j->has_file, j->err.text, o3_now_read());
    free_preset_job(j);
}

static bool write_presets(void *ctx, const struct o3_sidecar_presets *w) {
    struct o3_daemon *d = ctx;
    struct preset_job *j = calloc(1, sizeof *j);
    if (j) {
        char stem[160];
        stem_of(d, w->model, stem, sizeof stem);
        *j = (struct preset_job){.daemon = d,
                                 .ticket = w->ticket,
                                 .doc_len = w->doc_len,
                                 .summary_len = w->summary_len,
                                 .all_len = w->all_len};
        snprintf(j->doc_path, sizeof j->doc_path, "%s/defaults/%s.yaml", d->results_path, stem);
        snprintf(j->summary_path, sizeof j->summary_path, "%s/summaries/%s.json", d->results_path, stem);
        o3_str_copy(j->file, sizeof j->file, d->values->publish_file);
        j->doc = copy_bytes(w->doc, w->doc_len);
        j->summary = copy_bytes(w->summary, w->summary_len);
        j->all = copy_bytes(w->all, w->all_len);
        if (j->doc && (j->summary || !w->summary) && o3_loop_submit(d->loop, run_presets, done_presets, j) == 0)
            return true;
        free_preset_job(j);
    }
    return false;
}

/* ---- samples ---- */

struct sample_line {
    char path[1400];
    size_t from, n; /* in `lines` */
};
struct samples_flush {
    struct o3_daemon *daemon;
    size_t n;
    struct o3_sample v[O3_DAEMON_SAMPLES_MAX];
    struct sample_line lines_of[O3_DAEMON_SAMPLES_MAX];
    struct o3_buf lines;
    struct o3_store *store; /* NULL: none could be opened yet */
    struct o3_err store_err, file_err;
};

static int append_lines(const struct samples_flush *j, struct o3_err *e) {
    int r = j->n ? make_parent(j->lines_of[0].path, e) : 0;
    for (size_t i = 0; r == 0 && i < j->n; i++) {
        const struct sample_line *l = &j->lines_of[i];
        r = o3_file_append_rotated(l->path, j->lines.p + l->from, l->n, LOG_BYTES_MAX, LOGS_KEPT, e);
    }
    return r;
}

static void run_flush(void *job) {
    struct samples_flush *j = job;
    if (append_lines(j, &j->file_err) == 0) j->file_err.code = 0;
    if (j->store && o3_store_add_samples(j->store, j->v, j->n, &j->store_err) == 0) j->store_err.code = 0;
}

static void store_failed(struct o3_daemon *d, const struct o3_err *e) {
    if (o3_metric_get(d->metrics, O3_M_STORE_UP, O3_NO_LABELS) != 0)
        O3_DAEMON_EVENT(d, O3_EV_STORE_FAILED, O3_F_STR("error", e->text));
    o3_metric_set(d->metrics, O3_M_STORE_UP, O3_NO_LABELS, 0);
}

static void done_flush(void *job) {
    struct samples_flush *j = job;
    struct o3_daemon *d = j->daemon;
    if (j->file_err.code)
        O3_DAEMON_EVENT(d, O3_EV_FILE_FAILED, O3_F_STR("file", "logs"), O3_F_STR("error", j->file_err.text));
    if (j->store_err.code)
        store_failed(d, &j->store_err);
    else if (j->store)
        o3_metric_set(d->metrics, O3_M_STORE_UP, O3_NO_LABELS, 1);
    o3_buf_done(&j->lines);
    free(j);
}

/* One append per model's file and flush: neighbours of the same model share a line block. */
static void add_lines(struct o3_daemon *d, struct samples_flush *j) {
    for (size_t i = 0; i < j->n; i++) {
        char stem[160];
        stem_of(d, j->v[i].model, stem, sizeof stem);
        struct sample_line *l = &j->lines_of[i];
        snprintf(l->path, sizeof l->path, "%s/logs/%s.jsonl", d->results_path, stem);
        l->from = j->lines.len;
        (void)o3_sample_encode_json(&j->v[i], d->run_id, &j->lines);
        o3_buf_adds(&j->lines, "\n");
        l->n = j->lines.len - l->from;
    }
}

static void flush_later(struct o3_daemon *d) {
    d->flush_at_ns = o3_now_read().mono_ns + FLUSH_EVERY_NS;
    d->flush_by_ns = d->flush_at_ns + FLUSH_EVERY_NS;
}

void o3_daemon_flush(struct o3_daemon *d) {
    d->flush_at_ns = INT64_MAX;
    if (!d->n_pending) return;
    struct samples_flush *j = calloc(1, sizeof *j);
    if (j) {
        j->daemon = d;
        j->store = d->store;
        j->n = d->n_pending;
        memcpy(j->v, d->pending, d->n_pending * sizeof *d->pending);
        o3_buf_init(&j->lines, 1u << 20);
        add_lines(d, j);
        if (!j->lines.err && o3_loop_submit(d->loop, run_flush, done_flush, j) == 0) {
            d->n_pending = 0;
            return;
        }
        o3_buf_done(&j->lines);
        free(j);
    }
    flush_later(d); /* they stay, and it is tried again */
}

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
    if (j->err.code) store_failed(j->daemon, &j->err);
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
    int r = make_parent(path, e);
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

/* ---- small states ---- */

struct state_job {
    struct o3_daemon *daemon;
    char *key, *value;
    size_t n;
    int64_t wall_ms;
    struct o3_err err;
};

static void run_state(void *job) {
    struct state_job *j = job;
    struct o3_store *store = j->daemon->store;
    int r = j->n ? o3_store_put(store, j->key, j->value, j->n, j->wall_ms, &j->err)
                 : o3_store_drop(store, j->key, &j->err);
    if (r == 0) j->err.code = 0;
}

static void free_state(struct state_job *j) {
    free(j->key);
    free(j->value);
    free(j);
}

static void done_state(void *job) {
    struct state_job *j = job;
    if (j->err.code) store_failed(j->daemon, &j->err);
    free_state(j);
}

static void save_state(void *ctx, const char *key, const char *value, size_t n) {
    struct o3_daemon *d = ctx;
    if (!d->store) return;
    struct state_job *j = calloc(1, sizeof *j);
    if (!j) return;
    *j = (struct state_job){.daemon = d,
                            .key = strdup(key),
                            .value = copy_bytes(n ? value : "", n),
                            .n = n,
                            .wall_ms = o3_now_read().wall_ms};
    if (!j->key || !j->value || o3_loop_submit(d->loop, run_state, done_state, j) < 0) {
        O3_DAEMON_EVENT(d, O3_EV_LIMIT_REACHED, O3_F_STR("what", "states waiting to be stored"));
        free_state(j);
    }
}

/* ---- events ---- */

struct event_job {
    struct o3_daemon *daemon;
    int64_t wall_ms;
    const char *name; /* static: of the table */
    char model[O3_MODEL_NAME_SIZE];
    struct o3_buf json;
    struct o3_err err;
};

static void run_event(void *job) {
    struct event_job *j = job;
    struct o3_store_event ev = {
        .wall_ms = j->wall_ms, .name = j->name, .model = j->model, .json = o3_buf_str(&j->json)};
    if (o3_store_add_event(j->daemon->store, &ev, &j->err) == 0) j->err.code = 0;
}

static void free_event(struct event_job *j) {
    o3_buf_done(&j->json);
    free(j);
}

static void done_event(void *job) {
    struct event_job *j = job;
    if (j->err.code) store_failed(j->daemon, &j->err);
    free_event(j);
}

/* State changes are kept for /api/v1/events; what is said for each probe is in the samples. */
void o3_daemon_store_event(struct o3_daemon *d, int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f,
                           size_t n) {
    const struct o3_event_row *row = o3_event_row(ev);
    if (!d->store || d->is_stopping || row->level == O3_LOG_DEBUG || ev == O3_EV_PROBE_FAILED ||
        ev == O3_EV_STORE_FAILED)
        return;
    struct event_job *j = calloc(1, sizeof *j);
    if (!j) return;
    j->daemon = d;
    j->wall_ms = wall_ms;
    j->name = row->name;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(f[i].name, "model") && f[i].type == O3_FIELD_STR) o3_str_copy(j->model, sizeof j->model, f[i].s);
    o3_buf_init(&j->json, 16 * 1024);
    if (o3_event_encode_json(wall_ms, ev, f, n, &j->json) < 0 || o3_loop_submit(d->loop, run_event, done_event, j) < 0)
        free_event(j);
}

void o3_daemon_fill_results_ops(struct o3_daemon *d, struct o3_sidecar_ops *ops) {
    (void)d;
    ops->sample = add_sample;
    ops->write_presets = write_presets;
    ops->save_state = save_state;
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

static void restore_one(void *ctx, const char *key, const char *value, size_t n) {
    struct o3_daemon *d = ctx;
    o3_sidecar_restore(d->sidecar, key, value, n, o3_now_read());
}

static void restore_preset(void *ctx, const char *key, const char *value, size_t n) {
    struct o3_daemon *d = ctx;
    restore_one(d, key, value, n);
    const char *model = strchr(key, '/') + 1;
    bool has_file = false;
    for (int i = 0; i < d->n_stems; i++)
        has_file |= !strcmp(d->stems[i].model, model);
    if (!has_file) d->is_preset_missing = true;
}

/* What is small and matters most comes first: the sidecar keeps a bounded amount. */
void o3_daemon_restore(struct o3_daemon *d) {
    static const char *const PREFIXES[] = {"wanted/", "strike/", "sizes/", "judge/"};
    if (!d->store) return;
    struct o3_err e;
    int r = o3_store_each(d->store, "preset/", restore_preset, d, &e);
    for (size_t i = 0; r == 0 && i < sizeof PREFIXES / sizeof *PREFIXES; i++)
        r = o3_store_each(d->store, PREFIXES[i], restore_one, d, &e);
    if (r < 0) store_failed(d, &e);
    const char *file = d->values->publish_file;
    if (d->is_preset_missing || (file[0] && access(file, F_OK) < 0))
        o3_sidecar_publish_again(d->sidecar, "the preset file was missing", o3_now_read());
}
