/* SPDX-License-Identifier: Apache-2.0 */
/* publish.folder, the keys as files of a folder that looks like a mounted ConfigMap, and publish.file, all documents in
 * one file. Both are compared first and replaced as a whole, by jobs. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "app/publisher.h"
#include "io/file.h"
#include "io/layout.h"
#include "o3/pace.h"

#define PATH_SIZE 4096

struct place {
    struct o3_publisher base; /* first */
    struct o3_paced paced;
    struct o3_keys want; /* of a file: one key, FILE_KEY */
    char path[PATH_SIZE], reason[320];
    bool is_stopped;
};

struct place_job {
    struct place *place;
    struct o3_keys want;
    char path[PATH_SIZE], reason[320];
    struct o3_configmap_news news;
};

#define FILE_KEY "presets.yaml"

/* ---- the work ---- */

static void conclude(struct place_job *j, int r, const struct o3_err *e) {
    j->news.outcome = j->news.n_changed ? O3_PUBLISH_WRITTEN : O3_PUBLISH_UNCHANGED;
    if (r == 0) return;
    j->news.outcome = O3_PUBLISH_FAILED;
    j->news.error = o3_publish_error_of_file(r, e->sys);
    o3_str_copy(j->news.text, sizeof j->news.text, e->text);
}

static int replace_folder(struct place_job *j, struct o3_keys *have, struct o3_err *e) {
    struct o3_keys after = {.n = 0};
    int r = o3_keys_merge(have, &j->want, &after);
    if (r < 0)
        (void)o3_err_set(e, r, "what is in %.150s and the presets are too much for one folder", j->path);
    else
        r = o3_layout_replace(j->path, &after, NULL, e);
    o3_keys_free(&after);
    return r;
}

static void run_folder(void *job) {
    struct place_job *j = job;
    struct o3_err e = {0};
    struct o3_keys have = {.n = 0};
    int r = o3_layout_read_within(j->path, &have, &e);
    if (r == O3_E_NOT_FOUND) r = 0;
    j->news.n_changed = r == 0 ? o3_keys_count_changes(&have, &j->want) : 0;
    if (r == 0 && !j->news.n_changed) j->news.n_changed = o3_layout_count_hidden(j->path, &j->want);
    if (r == 0 && j->news.n_changed) r = replace_folder(j, &have, &e);
    o3_keys_free(&have);
    conclude(j, r, &e);
}

/* What is no plain file is not read: a pipe would lose bytes. The replace says what it is. */
static bool is_file_equal(const char *path, const struct o3_key *want) {
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0 || (size_t)st.st_size != want->n) return false;
    O3_AUTO_BUF have;
    o3_buf_init(&have, O3_KEYS_BYTES_MAX);
    return o3_file_read(path, O3_KEYS_BYTES_MAX, &have, NULL) == 0 && have.len == want->n &&
           !memcmp(o3_buf_str(&have), want->value, want->n);
}

/* The folder of the configured file is the user's: it is never made. */
static void run_file(void *job) {
    struct place_job *j = job;
    struct o3_err e = {0};
    const struct o3_key *want = o3_keys_find(&j->want, FILE_KEY);
    if (want) j->news.n_changed = !is_file_equal(j->path, want);
    conclude(j, j->news.n_changed ? o3_file_replace(j->path, want->value, want->n, NULL, &e) : 0, &e);
}

static bool is_file(const struct o3_publisher *p);

static void free_job(struct place_job *j) {
    if (!j) return;
    o3_keys_free(&j->want);
    free(j);
}

static void done_place(void *job) {
    struct place_job *j = job;
    struct place *f = j->place;
    bool is_asked_for = !strcmp(j->path, f->path); /* still */
    o3_paced_end(&f->paced, is_asked_for ? j->news.outcome : O3_PUBLISH_UNCHANGED, o3_now_read().mono_ns);
    if (is_asked_for) o3_daemon_published(&f->base, &j->news, j->reason);
    free_job(j);
}

/* ---- as a publisher ---- */

static void take_want(struct place *f, const struct o3_keys *keys, const char *reason, struct o3_now now) {
    struct o3_keys copy;
    if (o3_keys_equal(&f->want, keys)) return;
    if (o3_keys_copy(keys, &copy) < 0) {
        O3_DAEMON_EVENT(f->base.daemon, O3_EV_LIMIT_REACHED, O3_F_STR("what", "memory for the presets to publish"));
        return;
    }
    o3_keys_free(&f->want);
    f->want = copy;
    o3_str_copy(f->reason, sizeof f->reason, reason);
    o3_paced_want(&f->paced, now.mono_ns);
}

static void folder_want(struct o3_publisher *p, const struct o3_publish_want *want, struct o3_now now) {
    if (want->keys) take_want((struct place *)p, want->keys, want->reason, now);
}

/* publish.file may be another one after a reload: then it is a new place, of which nothing is known. */
static void follow_setting(struct place *f) {
    const char *path = f->base.daemon->values->publish_file;
    if (!strcmp(path, f->path)) return;
    o3_str_copy(f->path, sizeof f->path, path);
    o3_publisher_set_name(&f->base, path);
    o3_keys_free(&f->want);
    o3_paced_forget(&f->paced);
}

static void file_want(struct o3_publisher *p, const struct o3_publish_want *want, struct o3_now now) {
    struct place *f = (struct place *)p;
    struct o3_keys keys = {.n = 0};
    follow_setting(f);
    if (!*f->path) return;
    if (want->all->err || o3_keys_set(&keys, FILE_KEY, o3_buf_str(want->all), want->all->len) < 0)
        O3_DAEMON_EVENT(p->daemon, O3_EV_LIMIT_REACHED, O3_F_STR("what", "the preset file of all models"));
    else
        take_want(f, &keys, want->reason, now);
    o3_keys_free(&keys);
}

static int64_t place_deadline_ns(const struct o3_publisher *p) {
    const struct place *f = (const struct place *)p;
    return f->is_stopped || !*f->path ? INT64_MAX : o3_paced_deadline_ns(&f->paced);
}

static void place_turn(struct o3_publisher *p, struct o3_now now) {
    struct place *f = (struct place *)p;
    if (place_deadline_ns(p) > now.mono_ns || !o3_paced_begin(&f->paced, now.mono_ns)) return;
    struct place_job *j = calloc(1, sizeof *j);
    if (j) {
        j->place = f;
        o3_str_copy(j->path, sizeof j->path, f->path);
        o3_str_copy(j->reason, sizeof j->reason, f->reason);
        if (o3_keys_copy(&f->want, &j->want) == 0 &&
            o3_loop_submit(p->daemon->loop, is_file(p) ? run_file : run_folder, done_place, j) == 0)
            return;
    }
    free_job(j);
    o3_paced_not_now(&f->paced, now.mono_ns);
}

static void place_view(const struct o3_publisher *p, struct o3_publisher_view *ret) {
    const struct place *f = (const struct place *)p;
    *ret = (struct o3_publisher_view){.is_configured = *f->path != '\0',
                                      .has_want = f->want.n > 0,
                                      .is_pending = f->paced.is_pending || f->paced.is_writing,
                                      .next_ns = place_deadline_ns(p),
                                      .generation = -1};
}

static void place_stop(struct o3_publisher *p) {
    ((struct place *)p)->is_stopped = true;
}

static void place_free(struct o3_publisher *p) {
    o3_keys_free(&((struct place *)p)->want);
    free(p);
}

static const struct o3_publisher_kind FOLDER = {.target = "folder",
                                                .want = folder_want,
                                                .deadline_ns = place_deadline_ns,
                                                .turn = place_turn,
                                                .view = place_view,
                                                .stop = place_stop,
                                                .free = place_free};
static const struct o3_publisher_kind FILE_OF_ALL = {.target = "file",
                                                     .want = file_want,
                                                     .deadline_ns = place_deadline_ns,
                                                     .turn = place_turn,
                                                     .view = place_view,
                                                     .stop = place_stop,
                                                     .free = place_free};

static bool is_file(const struct o3_publisher *p) {
    return p->kind == &FILE_OF_ALL;
}

static struct o3_publisher *place_new(struct o3_daemon *d, const struct o3_publisher_kind *kind, const char *path,
                                      uint64_t seed) {
    struct place *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->base = (struct o3_publisher){.kind = kind, .daemon = d};
    o3_str_copy(f->path, sizeof f->path, path);
    o3_publisher_set_name(&f->base, path);
    o3_paced_init(&f->paced, (int)d->values->publish_writes_per_hour, seed);
    return &f->base;
}

struct o3_publisher *o3_publisher_folder_new(struct o3_daemon *d, uint64_t seed) {
    return place_new(d, &FOLDER, d->values->publish_folder, seed);
}

struct o3_publisher *o3_publisher_file_new(struct o3_daemon *d, uint64_t seed) {
    return place_new(d, &FILE_OF_ALL, d->values->publish_file, seed);
}
