/* SPDX-License-Identifier: Apache-2.0 */
/* publish.folder: the keys as files of a folder that looks like a mounted ConfigMap. */
#include <stdlib.h>
#include <string.h>
#include "app/publisher.h"
#include "io/layout.h"
#include "o3/pace.h"

#define SETTLE_NS (500 * O3_NS_PER_MS) /* several models become one swap */

struct folder {
    struct o3_publisher base; /* first */
    struct o3_pace pace;
    struct o3_keys want;
    char dir[1100], reason[320];
    bool is_pending, is_writing, is_stopped;
    int64_t at_ns;
};

struct folder_job {
    struct folder *folder;
    struct o3_keys want;
    struct o3_configmap_news news;
};

static void work(struct folder_job *j, struct o3_err *e) {
    const char *dir = j->folder->dir;
    struct o3_keys have = {.n = 0}, after = {.n = 0};
    int r = o3_layout_read(dir, &have, e);
    if (r == O3_E_NOT_FOUND) r = 0;
    j->news.n_changed = r == 0 ? o3_keys_count_changes(&have, &j->want) : 0;
    j->news.outcome = j->news.n_changed ? O3_PUBLISH_WRITTEN : O3_PUBLISH_UNCHANGED;
    if (r == 0 && j->news.n_changed) {
        r = o3_keys_merge(&have, &j->want, &after);
        if (r < 0) (void)o3_err_set(e, r, "what is in %.150s and the presets are too much for one folder", dir);
        if (r == 0) r = o3_layout_replace(dir, &after, NULL, e);
    }
    o3_keys_free(&have);
    o3_keys_free(&after);
    if (r == 0) return;
    j->news.outcome = O3_PUBLISH_FAILED;
    j->news.error = r == O3_E_LIMIT ? O3_PUBLISH_TOO_LARGE : O3_PUBLISH_IO;
}

static void run_folder(void *job) {
    struct folder_job *j = job;
    struct o3_err e = {0};
    work(j, &e);
    o3_str_copy(j->news.text, sizeof j->news.text, e.text);
}

static void free_job(struct folder_job *j) {
    o3_keys_free(&j->want);
    free(j);
}

static void done_folder(void *job) {
    struct folder_job *j = job;
    struct folder *f = j->folder;
    int64_t now_ns = o3_now_read().mono_ns;
    f->is_writing = false;
    if (j->news.outcome == O3_PUBLISH_FAILED) {
        f->is_pending = true;
        f->at_ns = now_ns + o3_pace_failed_ns(&f->pace);
    } else {
        if (j->news.outcome == O3_PUBLISH_WRITTEN) o3_pace_wrote(&f->pace, now_ns);
        f->pace.n_failures = 0;
        f->at_ns = f->is_pending ? now_ns + SETTLE_NS : INT64_MAX;
    }
    o3_daemon_published(&f->base, &j->news, f->reason);
    free_job(j);
}

static void folder_want(struct o3_publisher *p, const struct o3_keys *keys, const char *reason, struct o3_now now) {
    struct folder *f = (struct folder *)p;
    struct o3_keys copy;
    if (o3_keys_equal(&f->want, keys) || o3_keys_copy(keys, &copy) < 0) return;
    o3_keys_free(&f->want);
    f->want = copy;
    o3_str_copy(f->reason, sizeof f->reason, reason);
    f->is_pending = true;
    if (!f->pace.n_failures) f->at_ns = now.mono_ns + SETTLE_NS;
}

static int64_t folder_deadline_ns(const struct o3_publisher *p) {
    const struct folder *f = (const struct folder *)p;
    return f->is_pending && !f->is_writing && !f->is_stopped ? f->at_ns : INT64_MAX;
}

static void folder_turn(struct o3_publisher *p, struct o3_now now) {
    struct folder *f = (struct folder *)p;
    if (folder_deadline_ns(p) > now.mono_ns) return;
    int64_t free_ns = o3_pace_free_at_ns(&f->pace, now.mono_ns);
    f->at_ns = free_ns > now.mono_ns ? free_ns : now.mono_ns + O3_NS_PER_S;
    struct folder_job *j = free_ns > now.mono_ns ? NULL : calloc(1, sizeof *j);
    if (!j) return;
    j->folder = f;
    if (o3_keys_copy(&f->want, &j->want) < 0 || o3_loop_submit(p->daemon->loop, run_folder, done_folder, j) < 0) {
        free_job(j);
        return;
    }
    f->is_pending = false;
    f->is_writing = true;
}

static void folder_stop(struct o3_publisher *p) {
    ((struct folder *)p)->is_stopped = true;
}

static void folder_free(struct o3_publisher *p) {
    o3_keys_free(&((struct folder *)p)->want);
    free(p);
}

struct o3_publisher *o3_publisher_folder_new(struct o3_daemon *d, uint64_t seed) {
    static const struct o3_publisher_kind KIND = {.target = "folder",
                                                  .want = folder_want,
                                                  .deadline_ns = folder_deadline_ns,
                                                  .turn = folder_turn,
                                                  .stop = folder_stop,
                                                  .free = folder_free};
    struct folder *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->base = (struct o3_publisher){.kind = &KIND, .daemon = d};
    o3_str_copy(f->dir, sizeof f->dir, d->values->publish_folder);
    o3_str_copy(f->base.name, sizeof f->base.name, f->dir);
    o3_pace_init(&f->pace, (int)d->values->publish_writes_per_hour, seed);
    f->at_ns = INT64_MAX;
    return &f->base;
}
