/* SPDX-License-Identifier: Apache-2.0 */
/* Reload: by SIGHUP, by POST /-/reload, or because the mounted file's content changed (a ConfigMap swaps a symlink). The file
 * is read as a job; the new configuration is swapped in whole, or the old one stays. A storm of requests becomes one reload. */
#include <stdlib.h>
#include <string.h>
#include "app/daemon_internal.h"
#include "io/file.h"

#define SETTLE_NS (200LL * O3_NS_PER_MS)
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

static void run_reload(void *job) {
    struct reload_job *j = job;
    const struct o3_config_args *a = j->daemon->params.args;
    j->result = o3_config_source_load(a->file, a->flags, a->n_flags, o3_daemon_collect_warning, &j->warnings, &j->config, j->sha256, &j->err);
}

static void answer_reloaders(struct o3_daemon *d, const char *error) {
    for (int i = 0; i < d->n_reloaders; i++)
        o3_daemon_reply_reload(d, d->reloaders[i], error);
    d->n_reloaders = 0;
}

static void accept_config(struct o3_daemon *d, struct reload_job *j) {
    struct o3_config *old = d->config;
    o3_config_each_restart(old, j->config, tell_restart, d);
    struct o3_now now = o3_now_read();
    o3_daemon_set_config(d, j->config, j->sha256, now.wall_ms);
    j->config = NULL;
    o3_sidecar_configure(d->sidecar, d->values, now);
    o3_config_free(old);
    o3_daemon_tell_warnings(d, &j->warnings);
    O3_DAEMON_EVENT(d, O3_EV_CONFIG_RELOADED, O3_F_STR("trigger", j->trigger));
    answer_reloaders(d, NULL);
}

static void reject_config(struct o3_daemon *d, const struct reload_job *j) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1024);
    (void)o3_config_format_error(o3_config_source_path(d->params.args->file), &j->err, &text);
    o3_metric_set(d->metrics, O3_M_CONFIG_LAST_RELOAD_SUCCESSFUL, O3_NO_LABELS, 0);
    O3_DAEMON_EVENT(d, O3_EV_CONFIG_REJECTED, O3_F_STR("error", o3_buf_str(&text)), O3_F_STR("trigger", j->trigger));
    answer_reloaders(d, o3_buf_str(&text));
}

static void done_reload(void *job) {
    struct reload_job *j = job;
    struct o3_daemon *d = j->daemon;
    d->is_reloading = false;
    bool was_bad = o3_metric_get(d->metrics, O3_M_CONFIG_LAST_RELOAD_SUCCESSFUL, O3_NO_LABELS) == 0;
    /* After a bad file, the old one put back is news. */
    bool is_same = j->only_if_changed && j->result == 0 && !was_bad && !strcmp(j->sha256, d->config_sha256);
    bool is_known_bad = j->only_if_changed && j->result < 0 && was_bad;
    if (!d->is_stopping && !is_same && !is_known_bad) {
        if (j->result == 0) accept_config(d, j);
        else reject_config(d, j);
    }
    o3_config_free(j->config);
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
        answer_reloaders(d, "too much work is waiting; try again");
        return;
    }
    d->is_reloading = true;
}

static void on_watch(void *ctx, int fd) {
    struct o3_daemon *d = ctx;
    (void)fd;
    o3_file_watch_drain(d->watch);
    d->check_file_at_ns = o3_now_read().mono_ns + SETTLE_NS; /* several notifications make one swap */
}

void o3_daemon_watch_config(struct o3_daemon *d) {
    const char *file = o3_config_source_path(d->params.args->file);
    if (!file) return;
    d->check_file_at_ns = o3_now_read().mono_ns + CHECK_EVERY_NS;
    if (o3_file_watch_new(file, &d->watch, NULL) < 0) return;
    if (o3_loop_add_fd(d->loop, o3_file_watch_fd(d->watch), on_watch, d) < 0) {
        o3_file_watch_free(d->watch);
        d->watch = NULL;
    }
}

void o3_daemon_reload_turn(struct o3_daemon *d, int64_t now_ns) {
    if (now_ns < d->check_file_at_ns) return;
    d->check_file_at_ns = now_ns + CHECK_EVERY_NS;
    o3_daemon_reload(d, "file_changed", true);
}
