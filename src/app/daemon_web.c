/* SPDX-License-Identifier: Apache-2.0 */
/* The web configuration in the daemon: read at the start, and again with each reload; swapped in as a whole for the
 * connections and requests that come, or the old one stays. */
#include <string.h>
#include "app/daemon_internal.h"
#include "io/file.h"
#include "o3/text.h"

int o3_daemon_load_web(struct o3_daemon *d, struct o3_err *e) {
    const char *path = d->values->web_config_file;
    struct o3_err why = {0};
    if (!*path) return 0;
    if (!o3_str_copy(d->web_path, sizeof d->web_path, path))
        return o3_err_set(e, O3_E_CONFIG, "web.config_file: the name is too long");
    int r = o3_web_load(d->web_path, &d->web, &why);
    if (r == 0) return 0;
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1024);
    o3_config_format_error(d->web_path, &why, &text);
    return o3_err_set(e, r, "%s", o3_buf_str(&text));
}

static void on_watch(void *ctx, int fd) {
    struct o3_daemon *d = ctx;
    (void)fd;
    o3_file_watch_drain(d->web_watch);
    o3_daemon_files_changed(d);
}

/* The folders of all files that were read; where one cannot be watched, the look every half minute remains. */
static void watch(struct o3_daemon *d) {
    if (d->web_watch) o3_loop_remove_fd(d->loop, o3_file_watch_fd(d->web_watch));
    o3_file_watch_free(d->web_watch);
    d->web_watch = NULL;
    if (o3_file_watch_new(d->web->watched[0], &d->web_watch, NULL) < 0) return;
    for (size_t i = 1; i < sizeof d->web->watched / sizeof *d->web->watched; i++)
        if (d->web->watched[i][0] && o3_file_watch_add(d->web_watch, d->web->watched[i], NULL) < 0) continue;
    if (o3_loop_add_fd(d->loop, o3_file_watch_fd(d->web_watch), on_watch, d) < 0) {
        o3_file_watch_free(d->web_watch);
        d->web_watch = NULL;
    }
}

static void warn_of_cost(struct o3_daemon *d, const struct o3_web_user *u) {
    char text[400];
    if (o3_web_cost_warning(u, text, sizeof text)) O3_DAEMON_EVENT(d, O3_EV_CONFIG_WARNING, O3_F_STR("text", text));
}

static void put_in_force(struct o3_daemon *d) {
    const struct o3_web *w = d->web;
    o3_server_set_headers(d->server, w->config->headers, w->config->n_headers);
    if (w->tls) {
        o3_server_set_tls(d->server, w->tls);
        o3_metric_set(d->metrics, O3_M_WEB_CERTIFICATE_START_TIMESTAMP_SECONDS, O3_NO_LABELS,
                      (double)o3_tls_not_before_s(w->tls));
        o3_metric_set(d->metrics, O3_M_WEB_CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS, O3_NO_LABELS,
                      (double)o3_tls_not_after_s(w->tls));
    }
    o3_metric_set(d->metrics, O3_M_WEB_CONFIG_LAST_RELOAD_SUCCESSFUL, O3_NO_LABELS, 1);
    o3_metric_set(d->metrics, O3_M_WEB_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS, O3_NO_LABELS,
                  (double)o3_now_read().wall_ms / 1000.0);
    for (size_t i = 0; i < w->config->n_users; i++)
        warn_of_cost(d, &w->config->users[i]);
    if (w->config->is_http2_asked)
        O3_DAEMON_EVENT(d, O3_EV_CONFIG_WARNING,
                        O3_F_STR("text", "http_server_config.http2: HTTP/1.1 is what this server speaks"));
    watch(d);
}

void o3_daemon_show_web(struct o3_daemon *d) {
    if (!d->web) return;
    put_in_force(d);
    O3_DAEMON_EVENT(d, O3_EV_WEB_CONFIG_LOADED, O3_F_STR("file", d->web_path),
                    O3_F_STR("tls", d->web->tls ? "on" : "off"), O3_F_INT("users", (int64_t)d->web->config->n_users));
}

void o3_daemon_free_web(struct o3_daemon *d) {
    o3_file_watch_free(d->web_watch);
    o3_auth_free(d->auth);
    o3_web_free(d->web);
    d->web_watch = NULL;
    d->auth = NULL;
    d->web = NULL;
}

void o3_daemon_read_web(const struct o3_daemon *d, struct o3_web_reading *ret) {
    *ret = (struct o3_web_reading){0};
    if (!*d->web_path) return;
    ret->result = o3_web_load(d->web_path, &ret->web, &ret->err);
}

bool o3_daemon_is_web_news(const struct o3_daemon *d, const struct o3_web_reading *r) {
    const struct o3_err *a = &r->err, *b = &d->web_rejected;
    if (r->result == 0) return b->code || strcmp(r->web->sha256, d->web->sha256);
    return !b->code || a->line != b->line || a->col != b->col || strcmp(a->text, b->text);
}

bool o3_daemon_take_web(struct o3_daemon *d, struct o3_web_reading *r, const char *trigger, struct o3_buf *why) {
    if (r->result == 0 && !r->web->tls != !d->web->tls)
        r->result = o3_err_at(&r->err, O3_E_CONFIG, 1, 1, "TLS cannot be switched %s without a restart",
                              r->web->tls ? "on" : "off");
    if (r->result < 0) {
        o3_config_format_error(d->web_path, &r->err, why);
        d->web_rejected = r->err;
        o3_metric_set(d->metrics, O3_M_WEB_CONFIG_LAST_RELOAD_SUCCESSFUL, O3_NO_LABELS, 0);
        O3_DAEMON_EVENT(d, O3_EV_WEB_CONFIG_REJECTED, O3_F_STR("error", o3_buf_str(why)), O3_F_STR("trigger", trigger));
        return false;
    }
    struct o3_web *old = d->web;
    d->web = r->web;
    r->web = NULL;
    d->web_rejected.code = 0;
    put_in_force(d);
    o3_web_free(old);
    O3_DAEMON_EVENT(d, O3_EV_WEB_CONFIG_RELOADED, O3_F_STR("trigger", trigger),
                    O3_F_STR("tls", d->web->tls ? "on" : "off"), O3_F_INT("users", (int64_t)d->web->config->n_users));
    return true;
}
