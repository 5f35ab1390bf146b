/* SPDX-License-Identifier: Apache-2.0 */
#include "app/daemon.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "app/daemon_internal.h"
#include "io/memory.h"
#include "io/file.h"
#include "o3/rand.h"

#define SERIES_PER_MODEL 300
#define NS_PER_MS 1000000LL
#define STOP_WITHIN_MS 900

void o3_daemon_event(struct o3_daemon *d, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    int64_t wall_ms = o3_now_read().wall_ms;
    o3_log_write(d->log, wall_ms, ev, f, n);
    if (d->params.on_event) d->params.on_event(d->params.ctx, wall_ms, ev, f, n);
    o3_daemon_store_event(d, wall_ms, ev, f, n);
    if (ev == O3_EV_OLLAMA_UP) o3_daemon_write_env(d, f[0].s);
}

static void on_sidecar_event(void *ctx, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    o3_daemon_event(ctx, ev, f, n);
}

/* ---- loop hooks ---- */

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t deadline_ns(void *ctx) {
    struct o3_daemon *d = ctx;
    int64_t t = d->state_until_ns ? d->state_until_ns : o3_sidecar_deadline_ns(d->sidecar);
    t = min64(t, o3_daemon_publish_deadline_ns(d));
    return min64(t, min64(min64(d->flush_at_ns, d->store_at_ns), d->check_file_at_ns));
}

static void turn(void *ctx, struct o3_now now) {
    struct o3_daemon *d = ctx;
    if (d->is_stopping) return;
    if (!o3_daemon_awaits_state(d, now.mono_ns)) o3_sidecar_turn(d->sidecar, now);
    o3_daemon_publish_turn(d, now);
    o3_daemon_flush_turn(d, now.mono_ns);
    o3_daemon_reload_turn(d, now.mono_ns);
}

static void on_signal(void *ctx, int signo) {
    struct o3_daemon *d = ctx;
    if (signo == SIGHUP) {
        o3_daemon_reload(d, "SIGHUP", false);
        return;
    }
    if (!d->is_stopping) O3_DAEMON_EVENT(d, O3_EV_STOPPING, O3_F_STR("signal", signo == SIGINT ? "SIGINT" : "SIGTERM"));
    d->is_stopping = true;
    o3_loop_stop(d->loop);
}

static void on_lag(void *ctx, int64_t lag_ns) {
    struct o3_daemon *d = ctx;
    if (!d->has_awaited_state) o3_sidecar_lag(d->sidecar, lag_ns);
    d->has_awaited_state = false;
}

/* ---- start ---- */

static uint64_t seed_from_system(void) {
    const char *given = getenv("O3_SEED");
    int64_t fixed;
    uint64_t seed = 0;
    if (given && o3_int_parse(given, &fixed)) return (uint64_t)fixed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint64_t)o3_now_read().mono_ns;
    return seed & 0xffffffffu; /* short enough to be typed again */
}

static enum o3_log_level log_level(const struct o3_daemon *d) {
    enum o3_log_level level = (enum o3_log_level)d->values->log_level;
    return d->params.is_log_silent ? O3_LOG_ERROR : level;
}

void o3_daemon_set_config(struct o3_daemon *d, struct o3_config *take_config, const char sha256[65], int64_t wall_ms) {
    d->config = take_config;
    d->values = o3_config_values(take_config);
    d->n_configs++;
    memcpy(d->config_sha256, sha256, sizeof d->config_sha256);
    if (d->log) o3_log_configure(d->log, (enum o3_log_format)d->values->log_format, log_level(d));
    o3_metric_set(d->metrics, O3_M_CONFIG_LAST_RELOAD_SUCCESSFUL, O3_NO_LABELS, 1);
    o3_metric_set(d->metrics, O3_M_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS, O3_NO_LABELS,
                  (double)wall_ms / 1000.0);
}

static int load_config(struct o3_daemon *d, struct o3_err *e) {
    O3_AUTO_BUF warnings;
    o3_buf_init(&warnings, 64 * 1024);
    struct o3_config *config = NULL;
    char sha256[65];
    const struct o3_config_args *a = d->params.args;
    int r = o3_config_source_load(a->file, a->flags, a->n_flags, o3_daemon_collect_warning, &warnings, &config, sha256,
                                  e);
    if (r < 0) return r;
    o3_daemon_set_config(d, config, sha256, o3_now_read().wall_ms);
    d->log = o3_log_new(STDERR_FILENO, (enum o3_log_format)d->values->log_format, log_level(d));
    if (!d->log) return o3_err_set(e, O3_E_NOMEM, "no memory for the log");
    o3_daemon_tell_warnings(d, &warnings);
    const char *file = o3_config_source_path(a->file);
    O3_DAEMON_EVENT(d, O3_EV_CONFIG_LOADED, O3_F_STR("file", file ? file : "built-in"));
    return 0;
}

static int start_server(struct o3_daemon *d, struct o3_err *e) {
    struct o3_server_params p = {.listen = d->values->web_listen,
                                 .max_connections = (int)d->values->web_max_connections,
                                 .timeout_s = (int)(d->values->web_timeout_ms / 1000),
                                 .handle = o3_daemon_handle,
                                 .on_gone = o3_daemon_request_gone,
                                 .ctx = d};
    int r = o3_auth_new(d, &d->auth, e);
    if (r == 0) r = o3_daemon_load_web(d, e);
    if (r < 0) return r;
    p.tls = d->web ? d->web->tls : NULL;
    return o3_server_new(d->loop, &p, &d->server, e);
}

static int start_sidecar(struct o3_daemon *d, uint64_t seed, struct o3_err *e) {
    struct o3_sidecar_params p = {.config = d->values, .metrics = d->metrics, .seed = seed};
    p.ops.ctx = d;
    p.ops.event = on_sidecar_event;
    o3_daemon_fill_ollama_ops(d, &p.ops);
    o3_daemon_fill_results_ops(d, &p.ops);
    o3_daemon_fill_publish_ops(&p.ops);
    int r = o3_sidecar_new(&p, o3_now_read(), &d->sidecar, e);
    if (r == 0) o3_daemon_restore(d);
    return r;
}

static void set_build_info(struct o3_daemon *d) {
#ifdef __clang__
    const char *compiler = "clang " __clang_version__;
#else
    const char *compiler = "gcc " __VERSION__;
#endif
    o3_metric_set(d->metrics, O3_M_BUILD_INFO, O3_L(O3_VERSION, O3_REVISION, compiler), 1);
}

static int start(struct o3_daemon *d, struct o3_err *e) {
    uint64_t seed = seed_from_system();
    struct o3_rand id;
    o3_rand_seed(&id, seed ^ (uint64_t)o3_now_read().wall_ms);
    snprintf(d->run_id, sizeof d->run_id, "%016llx", (unsigned long long)o3_rand_u64(&id));
    set_build_info(d);
    o3_daemon_set_paths(d);
    o3_daemon_set_ollama(d);
    int r = o3_loop_new(&d->loop, e);
    if (r == 0) r = start_server(d, e); /* before the store: a taken port is the usual sign of a second copy */
    if (r == 0) r = o3_http_new(d->loop, &d->http, e);
    if (r == 0) r = o3_daemon_open_store(d, e);
    if (r == 0) r = start_sidecar(d, seed, e);
    if (r < 0) return r;
    o3_daemon_show_web(d);
    o3_daemon_publish_start(d, seed);
    o3_daemon_watch_config(d);
    struct o3_loop_hooks hooks = {
        .deadline_ns = deadline_ns, .turn = turn, .on_signal = on_signal, .on_lag = on_lag, .ctx = d};
    o3_loop_set_hooks(d->loop, &hooks);
    char listen[300];
    const char *address = d->values->web_listen, *colon = strrchr(address, ':');
    snprintf(listen, sizeof listen, "%.*s:%u", colon ? (int)(colon - address) : 0, address,
             (unsigned)o3_server_port(d->server));
    O3_DAEMON_EVENT(d, O3_EV_STARTED, O3_F_STR("version", O3_VERSION), O3_F_STR("listen", listen),
                    O3_F_STR("ollama", d->values->ollama_url), O3_F_INT("seed", (int64_t)seed));
    return 0;
}

/* ---- stop: no new probes, cancel the running one, finish files, the server last so that readiness stays truthful ----
 */

static void stop(struct o3_daemon *d) {
    d->is_stopping = true;
    o3_auth_stop(d->auth);
    o3_store_hurry(d->store);
    if (d->sidecar) o3_sidecar_stop(d->sidecar, o3_now_read());
    if (d->sidecar) o3_daemon_flush(d);
    o3_daemon_publish_stop(d);
    o3_http_free(d->http);
    o3_server_free(d->server);
    if (d->watch) o3_loop_remove_fd(d->loop, o3_file_watch_fd(d->watch));
    if (d->web_watch) o3_loop_remove_fd(d->loop, o3_file_watch_fd(d->web_watch));
    o3_loop_free(d->loop); /* runs what is left of the jobs */
    o3_daemon_publish_free(d);
    o3_file_watch_free(d->watch);
    o3_daemon_free_web(d);
    o3_store_close(d->store);
    d->store = NULL;
    o3_sidecar_free(d->sidecar);
}

static void free_all(struct o3_daemon *d) {
    o3_log_free(d->log);
    o3_metrics_free(d->metrics);
    o3_config_free(d->config);
    o3_daemon_free_waiting(d);
    free(d->stems);
    free(d);
}

int o3_daemon_run(const struct o3_daemon_params *p, struct o3_err *e) {
    struct o3_daemon *d = calloc(1, sizeof *d);
    if (!d) return o3_err_set(e, O3_E_NOMEM, "no memory to start");
    d->params = *p;
    d->started_ns = o3_now_read().mono_ns;
    d->flush_at_ns = d->store_at_ns = d->check_file_at_ns = INT64_MAX;
    d->metrics = o3_metrics_new((size_t)256 * SERIES_PER_MODEL);
    int r = d->metrics ? load_config(d, e) : o3_err_set(e, O3_E_NOMEM, "no memory for metrics");
    if (r == 0) {
        r = start(d, e);
        if (r == 0) o3_memory_settle();
        if (r == 0) o3_loop_run(d->loop);
        int64_t since_ns = o3_now_read().mono_ns;
        if (r == 0) o3_loop_end_within(STOP_WITHIN_MS, 0);
        stop(d);
        o3_loop_end_within(0, 0);
        if (r == 0)
            O3_DAEMON_EVENT(d, O3_EV_STOPPED,
                            O3_F_DBL("seconds", (double)((o3_now_read().mono_ns - since_ns) / NS_PER_MS) / 1000.0));
        o3_log_flush(d->log);
    }
    free_all(d);
    return r;
}
