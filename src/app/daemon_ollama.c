/* SPDX-License-Identifier: Apache-2.0 */
/* The sidecar's exchanges with Ollama on real sockets, and what its host shows of users and runners. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "app/daemon_internal.h"

#define PROC_ROOT "/proc"
#define OWN_PORTS_MAX 16
#define ALL_SOCKETS_EVERY_NS (30LL * O3_NS_PER_S)

static void on_data(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns) {
    struct ollama_call *c = ctx;
    o3_sidecar_data(c->daemon->sidecar, c->id, status, bytes, n, mono_ns);
}

static void on_end(void *ctx, const struct o3_http_result *r, int64_t mono_ns) {
    struct ollama_call *c = ctx;
    uint64_t id = c->id;
    c->id = 0;
    c->xfer = NULL;
    struct o3_now now = {.mono_ns = mono_ns, .wall_ms = o3_now_read().wall_ms};
    o3_sidecar_end(c->daemon->sidecar, id, r->status, r->code, r->text, now);
}

static struct ollama_call *free_call(struct o3_daemon *d) {
    for (int i = 0; i < O3_DAEMON_CALLS_MAX; i++)
        if (!d->calls[i].id) return &d->calls[i];
    return NULL;
}

static uint64_t call_start(void *ctx, const struct o3_sidecar_call *call, int64_t *ret_sent_mono_ns) {
    struct o3_daemon *d = ctx;
    struct ollama_call *c = free_call(d);
    if (!c) return 0;
    char url[1200];
    snprintf(url, sizeof url, "%s%s", d->values->ollama_url, call->path);
    struct o3_http_req rq = {.method = call->method,
                             .url = url,
                             .body = call->body,
                             .body_len = call->body_len,
                             .connect_timeout_ms = call->connect_timeout_ms,
                             .first_byte_timeout_ms = call->first_byte_timeout_ms,
                             .total_timeout_ms = call->total_timeout_ms,
                             .max_bytes = call->max_bytes};
    struct o3_http_cb cb = {.on_data = on_data, .on_end = on_end, .ctx = c};
    *c = (struct ollama_call){.daemon = d, .id = ++d->next_call_id};
    *ret_sent_mono_ns = o3_now_read().mono_ns;
    if (o3_http_start(d->http, &rq, &cb, &c->xfer) < 0) {
        c->id = 0;
        return 0;
    }
    return c->id;
}

static void call_cancel(void *ctx, uint64_t id) {
    struct o3_daemon *d = ctx;
    for (int i = 0; i < O3_DAEMON_CALLS_MAX; i++) {
        struct ollama_call *c = &d->calls[i];
        if (c->id != id) continue;
        o3_xfer_cancel(c->xfer);
        *c = (struct ollama_call){0};
    }
}

static void sense_sockets(void *ctx, struct o3_sidecar_sockets *ret) {
    struct o3_daemon *d = ctx;
    *ret = (struct o3_sidecar_sockets){0};
    if (!d->is_ollama_local) return;
    uint16_t own[OWN_PORTS_MAX];
    size_t n_own = o3_http_local_ports(d->http, own, OWN_PORTS_MAX);
    /* Each table costs the kernel a walk over all its buckets: between two full looks only those where Ollama listens.
     */
    int64_t now_ns = o3_now_read().mono_ns;
    bool is_full = now_ns >= d->all_sockets_at_ns || !d->listening_families;
    if (is_full) d->all_sockets_at_ns = now_ns + ALL_SOCKETS_EVERY_NS;
    struct o3_host_sockets seen = {0};
    o3_host_read_sockets(PROC_ROOT, d->ollama_port, own, n_own,
                         is_full ? O3_HOST_TCP | O3_HOST_TCP6 : d->listening_families, &seen);
    d->listening_families = seen.listening_families;
    /* Without a listener here the server is in another network namespace, and the counts say nothing about it. */
    *ret = (struct o3_sidecar_sockets){.is_readable = seen.listening_families != 0,
                                       .n_established = seen.count.n_established,
                                       .n_with_bytes = seen.count.n_with_bytes,
                                       .n_loopback_ports = seen.count.n_loopback_ports};
    memcpy(ret->loopback_ports, seen.count.loopback_ports, sizeof ret->loopback_ports);
}

static bool are_runners_alive(const struct o3_daemon *d) {
    for (size_t i = 0; i < d->n_runners; i++)
        if (!o3_host_is_runner_alive(PROC_ROOT, &d->runners[i])) return false;
    return true;
}

static size_t sense_runners(void *ctx, bool is_thorough, struct o3_runner_cmdline *out, size_t max) {
    struct o3_daemon *d = ctx;
    if (!d->is_ollama_local) return 0;
    if (is_thorough || !are_runners_alive(d))
        d->n_runners = o3_host_read_runners(PROC_ROOT, d->runners, O3_DAEMON_RUNNERS_MAX);
    size_t n = d->n_runners < max ? d->n_runners : max;
    memcpy(out, d->runners, n * sizeof *out);
    return n;
}

/* Limits and quota are those of the runner that was found first: runners share the server's control group. */
const struct o3_host_state *o3_daemon_host(struct o3_daemon *d, int64_t max_age_ns) {
    static const struct o3_host_roots ROOTS = {PROC_ROOT, "/sys"};
    int64_t now_ns = o3_now_read().mono_ns;
    if (d->host_at_ns && now_ns - d->host_at_ns < max_age_ns) return &d->host;
    o3_host_read_state(&ROOTS, d->n_runners ? d->runners[0].pid : 0, now_ns, &d->host_rest, &d->host);
    d->host_at_ns = now_ns;
    return &d->host;
}

/* A server elsewhere has another host. */
static void sense_host(void *ctx, struct o3_host_state *ret) {
    struct o3_daemon *d = ctx;
    if (d->is_ollama_local)
        *ret = *o3_daemon_host(d, 0);
    else
        o3_host_state_init(ret);
}

void o3_daemon_fill_ollama_ops(struct o3_daemon *d, struct o3_sidecar_ops *ops) {
    (void)d;
    ops->call_start = call_start;
    ops->call_cancel = call_cancel;
    ops->sense_sockets = sense_sockets;
    ops->sense_runners = sense_runners;
    ops->sense_host = sense_host;
}

/* Sockets and processes tell about Ollama only when it runs on this host's network: a loopback address. */
void o3_daemon_set_ollama(struct o3_daemon *d) {
    const char *url = d->values->ollama_url;
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    static const char *const LOCAL[] = {"127.", "localhost", "[::1]"};
    d->is_ollama_local = false;
    for (size_t i = 0; i < sizeof LOCAL / sizeof *LOCAL; i++)
        d->is_ollama_local |= !strncmp(host, LOCAL[i], strlen(LOCAL[i]));
    const char *after = *host == '[' ? strchr(host, ']') : host;
    const char *colon = after ? strchr(after, ':') : NULL;
    int64_t port = !strncmp(url, "https:", 6) ? 443 : 80;
    if (colon) port = strtol(colon + 1, NULL, 10);
    d->ollama_port = (uint16_t)port;
}
