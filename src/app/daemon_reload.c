/* SPDX-License-Identifier: Apache-2.0 */
/* Reload: by SIGHUP, by POST /-/reload, or because the mounted file's content changed (a ConfigMap swaps a symlink).
 * The file is read as a job; the new configuration is swapped in whole, or the old one stays. A storm of requests
 * becomes one reload. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "app/daemon_internal.h"
#include "io/file.h"

#define SETTLE_NS (200LL * O3_NS_PER_MS)
#define SETTLE_MAX_NS O3_NS_PER_S           /* in a folder where something changes all the time */
#define CHECK_EVERY_NS (30LL * O3_NS_PER_S) /* for file systems that send no notifications */

struct reload_job {
    struct o3_daemon *daemon;
    const char *trigger;
    bool only_if_changed;
    struct o3_config *config;
    char sha256[65];
    struct o3_buf warnings;
    struct o3_err err;
    int result;
    struct o3_web_reading web;
};

void o3_daemon_collect_warning(void *buf, const char *text) {
    struct o3_buf *b = buf;
    o3_buf_adds(b, text);
    o3_buf_adds(b, "\n");
}

static void tell_unused(void *ctx, const char *key) {
    O3_DAEMON_EVENT((struct o3_daemon *)ctx, O3_EV_CONFIG_UNUSED, O3_F_STR("key", key));
}

static void tell_restart(void *ctx, const char *key) {
    O3_DAEMON_EVENT((struct o3_daemon *)ctx, O3_EV_CONFIG_RESTART, O3_F_STR("key", key));
}

void o3_daemon_tell_warnings(struct o3_daemon *d, const struct o3_buf *lines) {
    char line[400];
    for (const char *p = o3_buf_str(lines); *p;) {
        size_t n = strcspn(p, "\n");
        o3_str_copy_n(line, sizeof line, p, n);
        O3_DAEMON_EVENT(d, O3_EV_CONFIG_WARNING, O3_F_STR("text", line));
        p += n + (p[n] == '\n');
    }
    o3_config_each_unused(d->config, tell_unused, d);
}

/* What came through a pipe at the start is gone: reading it again would find nothing, or wait. */
static bool is_pipe(const char *path) {
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

static void run_reload(void *job) {
    struct reload_job *j = job;
    o3_daemon_read_web(j->daemon, &j->web);
    const struct o3_config_args *a = j->daemon->params.args;
    const char *path = o3_config_source_path(a->file);
    if (is_pipe(path)) {
        j->result = o3_err_set(&j->err, O3_E_CONFIG, "%.120s: a pipe is read only once, at the start", path);
        return;
    }
    j->result = o3_config_source_load(a->file, a->flags, a->n_flags, o3_daemon_collect_warning, &j->warnings,
                                      &j->config, j->sha256, &j->err);
}

static void answer_reloaders(struct o3_daemon *d, const char *error) {
    for (int i = 0; i < d->n_served; i++)
        o3_daemon_reply_reload(d, d->reloaders[i], error);
    d->n_reloaders -= d->n_served;
    memmove(d->reloaders, d->reloaders + d->n_served, (size_t)d->n_reloaders * sizeof *d->reloaders);
    d->n_served = 0;
}

static void accept_config(struct o3_daemon *d, struct reload_job *j) {
    struct o3_config *old = d->config;
    o3_config_each_restart(old, j->config, tell_restart, d);
    struct o3_now now = o3_now_read();
    o3_daemon_set_config(d, j->config, j->sha256, now.wall_ms);
    j->config = NULL;
    d->rejected.code = 0;
    o3_sidecar_configure(d->sidecar, d->values, now);
    o3_config_free(old);
    o3_daemon_tell_warnings(d, &j->warnings);
    O3_DAEMON_EVENT(d, O3_EV_CONFIG_RELOADED, O3_F_STR("trigger", j->trigger));
}

static void reject_config(struct o3_daemon *d, const struct reload_job *j, struct o3_buf *text) {
    (void)o3_config_format_error(o3_config_source_path(d->params.args->file), &j->err, text);
    d->rejected = j->err;
    o3_metric_set(d->metrics, O3_M_CONFIG_LAST_RELOAD_SUCCESSFUL, O3_NO_LABELS, 0);
    O3_DAEMON_EVENT(d, O3_EV_CONFIG_REJECTED, O3_F_STR("error", o3_buf_str(text)), O3_F_STR("trigger", j->trigger));
}

/* The file says what is in force, or is wrong in the way that was told already. The good old file put back after a bad
 * one is news. */
static bool is_no_news(const struct o3_daemon *d, const struct reload_job *j) {
    if (j->result == 0) return !d->rejected.code && !strcmp(j->sha256, d->config_sha256);
    const struct o3_err *a = &j->err, *b = &d->rejected;
    return b->code && a->line == b->line && a->col == b->col && !strcmp(a->text, b->text);
}

/* The two are taken or refused one without the other: a bad certificate does not hold back a setting. */
static void take(struct o3_daemon *d, struct reload_job *j) {
    O3_AUTO_BUF why, web_why;
    o3_buf_init(&why, 1024);
    o3_buf_init(&web_why, 1024);
    bool is_good = j->result == 0, is_news = !j->only_if_changed || !is_no_news(d, j), is_web_good = true;
    if (is_news && is_good) accept_config(d, j);
    if (is_news && !is_good) reject_config(d, j, &why);
    if (d->web && (!j->only_if_changed || o3_daemon_is_web_news(d, &j->web)))
        is_web_good = o3_daemon_take_web(d, &j->web, j->trigger, &web_why);
    answer_reloaders(d, !is_good ? o3_buf_str(&why) : is_web_good ? NULL : o3_buf_str(&web_why));
}

static void done_reload(void *job) {
    struct reload_job *j = job;
    struct o3_daemon *d = j->daemon;
    d->is_reloading = false;
    if (!d->is_stopping) take(d, j);
    o3_config_free(j->config);
    o3_web_free(j->web.web);
    o3_buf_done(&j->warnings);
    free(j);
    if (d->is_reload_again && !d->is_stopping) {
        d->is_reload_again = false;
        o3_daemon_reload(d, "repeated", false);
    }
}

void o3_daemon_reload(struct o3_daemon *d, const char *trigger, bool only_if_changed) {
    if (d->is_reloading) {
        d->is_reload_again |= !only_if_changed;
        return;
    }
    struct reload_job *j = calloc(1, sizeof *j);
    if (!j) {
        answer_reloaders(d, "no memory; try again");
        return;
    }
    j->daemon = d;
    j->trigger = trigger;
    j->only_if_changed = only_if_changed;
    o3_buf_init(&j->warnings, 64 * 1024);
    if (o3_loop_submit(d->loop, run_reload, done_reload, j) < 0) {
        free(j);
        d->n_served = d->n_reloaders;
        answer_reloaders(d, "too much work is waiting; try again");
        return;
    }
    d->is_reloading = true;
    d->n_served = d->n_reloaders;
}

void o3_daemon_files_changed(struct o3_daemon *d) {
    int64_t now_ns = o3_now_read().mono_ns;
    if (!d->changed_at_ns) d->changed_at_ns = now_ns;
    d->check_file_at_ns = now_ns + SETTLE_NS; /* several notifications make one swap */
    if (d->check_file_at_ns > d->changed_at_ns + SETTLE_MAX_NS) d->check_file_at_ns = d->changed_at_ns + SETTLE_MAX_NS;
}

static void on_watch(void *ctx, int fd) {
    struct o3_daemon *d = ctx;
    (void)fd;
    o3_file_watch_drain(d->watch);
    o3_daemon_files_changed(d);
}

void o3_daemon_watch_config(struct o3_daemon *d) {
    const char *file = o3_config_source_path(d->params.args->file);
    bool is_watched = file && !is_pipe(file);
    if (is_watched || d->web) d->check_file_at_ns = o3_now_read().mono_ns + CHECK_EVERY_NS;
    if (!is_watched) return;
    if (o3_file_watch_new(file, &d->watch, NULL) < 0) return;
    if (o3_loop_add_fd(d->loop, o3_file_watch_fd(d->watch), on_watch, d) < 0) {
        o3_file_watch_free(d->watch);
        d->watch = NULL;
    }
}

void o3_daemon_reload_turn(struct o3_daemon *d, int64_t now_ns) {
    if (now_ns < d->check_file_at_ns) return;
    d->check_file_at_ns = now_ns + CHECK_EVERY_NS;
    d->changed_at_ns = 0;
    o3_daemon_reload(d, "file_changed", true);
}
