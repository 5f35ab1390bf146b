/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_server_internal.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "io/client.h"
#include "io/listen.h"
#include "o3/buf.h"
#include "o3/text.h"

enum {
    DEFAULT_CONNECTIONS = 128,
    DEFAULT_TIMEOUT_S = 10,
    DEFAULT_MAX_BODY = 64 * 1024,
    SEND_TIMEOUTS = 6,
    SPARE_CONNECTIONS = 32,        /* libmicrohttpd's own limit lies above ours: pushed-out ones need a turn to close */
    CONNECTION_MEMORY = 16 * 1024, /* request line and headers; over it 414 or 431 */
    MAX_UNREAD = 4 * 1024 * 1024,
    DISCARD_BODIES = 16, /* an oversized chunked body is read and thrown away up to so many times the limit */
    MAX_RUNS = 8
};

/* --- connections --- */

void o3_hs_move(struct o3_server *s, struct connection *c, enum connection_state to) {
    TAILQ_REMOVE(&s->lists[c->state], c, link);
    c->state = to;
    c->since_ns = o3_now_read().mono_ns;
    TAILQ_INSERT_TAIL(&s->lists[to], c, link);
}

/* libmicrohttpd sees the end of the connection in its next run and cleans up in its own order. */
static void cut_connection(struct o3_server *s, struct connection *c) {
    shutdown(c->fd, SHUT_RDWR);
    c->since_ns = INT64_MAX; /* once is enough */
    s->needs_run = true;
}

static enum MHD_Result on_accept(void *ctx, const struct sockaddr *addr, socklen_t n) {
    (void)addr, (void)n;
    struct o3_server *s = ctx;
    if (s->stats.n_connections < s->p.max_connections) return MHD_YES;
    struct connection *oldest;
    TAILQ_FOREACH(oldest, &s->lists[WAITING], link)
    if (oldest->since_ns != INT64_MAX) break;
    if (!oldest) {
        s->stats.n_refused++;
        return MHD_NO;
    }
    s->stats.n_evicted++;
    cut_connection(s, oldest);
    return MHD_YES;
}

/* Before the first byte of the handshake. Without our rules it fails: libmicrohttpd itself has no certificate. */
static void begin_tls(struct o3_server *s, struct MHD_Connection *mhd, struct connection *c) {
    if (!s->tls) return;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info && info->tls_session) c->tls = o3_tls_link_new(s->tls, info->tls_session, c->fd);
    if (!c->tls) cut_connection(s, c);
}

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **slot,
                          enum MHD_ConnectionNotificationCode what) {
    struct o3_server *s = ctx;
    struct connection *c = *slot;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        s->stats.n_connections++;
        c = calloc(1, sizeof *c);
        if (!c) return; /* its requests are refused */
        c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->since_ns = o3_now_read().mono_ns;
        TAILQ_INSERT_TAIL(&s->lists[WAITING], c, link);
        *slot = c;
        begin_tls(s, mhd, c);
        return;
    }
    s->stats.n_connections--;
    if (!c) return;
    TAILQ_REMOVE(&s->lists[c->state], c, link);
    o3_tls_link_free(c->tls);
    free(c);
    *slot = NULL;
}

/* Milliseconds until the next of a list is late, after cutting those that are. -1: none. */
static int cut_late(struct o3_server *s, enum connection_state state, int64_t allowed_ns) {
    int64_t now_ns = o3_now_read().mono_ns;
    struct connection *c;
    TAILQ_FOREACH(c, &s->lists[state], link) {
        if (c->since_ns == INT64_MAX) continue;
        int64_t left_ns = c->since_ns + allowed_ns - now_ns;
        if (left_ns > 0) return (int)(left_ns / O3_NS_PER_MS) + 1;
        cut_connection(s, c);
    }
    return -1;
}

/* --- requests --- */

static enum MHD_Result begin_request(struct o3_server *s, struct MHD_Connection *mhd, const char *method,
                                     const char *path, void **slot) {
    struct connection *c = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct o3_request *rq = c ? calloc(1, sizeof *rq) : NULL;
    if (!rq) return MHD_NO;
    *rq = (struct o3_request){.server = s, .mhd = mhd, .connection = c, .method = method, .path = path};
    o3_buf_init(&rq->body, s->p.max_body);
    o3_buf_init(&rq->out, MAX_UNREAD);
    TAILQ_INSERT_TAIL(&s->requests, rq, link);
    *slot = rq;
    const char *length = o3_request_header(rq, MHD_HTTP_HEADER_CONTENT_LENGTH);
    int64_t n;
    if (!length || (o3_int_parse(length, &n) && n >= 0 && (uint64_t)n <= s->p.max_body)) return MHD_YES;
    /* Answered before the body is sent: libmicrohttpd then closes the connection and reads none of it. */
    o3_hs_reply_error(rq, MHD_HTTP_CONTENT_TOO_LARGE, "{\"error\":\"the request body is over the limit\"}\n");
    return o3_hs_queue(rq);
}

static enum MHD_Result take_body(struct o3_request *rq, const char *bytes, size_t *n) {
    if (!rq->is_body_too_large && o3_buf_add(&rq->body, bytes, *n) < 0) {
        rq->is_body_too_large = true;
        o3_buf_done(&rq->body);
    }
    if (rq->is_body_too_large) rq->n_discarded += *n;
    *n = 0;
    return rq->n_discarded / DISCARD_BODIES > rq->server->p.max_body ? MHD_NO : MHD_YES;
}

static enum MHD_Result answer(struct o3_request *rq) {
    if (rq->is_queued) return MHD_YES;
    if (rq->reply) return o3_hs_queue(rq);
    if (rq->is_cut) return MHD_NO;
    o3_hs_suspend(rq);
    return MHD_YES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *n_upload, void **slot) {
    (void)version;
    struct o3_server *s = ctx;
    struct o3_request *rq = *slot;
    if (!rq) return begin_request(s, mhd, method, url, slot);
    if (*n_upload) return take_body(rq, upload, n_upload);
    if (rq->is_handled || rq->is_answered) return answer(rq);
    if (rq->is_body_too_large) {
        o3_hs_reply_error(rq, MHD_HTTP_CONTENT_TOO_LARGE, "{\"error\":\"the request body is over the limit\"}\n");
        return answer(rq);
    }
    rq->is_handled = true;
    o3_hs_move(s, rq->connection, SERVED);
    s->p.handle(s->p.ctx, rq);
    return answer(rq);
}

static void on_completed(void *ctx, struct MHD_Connection *mhd, void **slot, enum MHD_RequestTerminationCode why) {
    (void)mhd, (void)why;
    struct o3_server *s = ctx;
    struct o3_request *rq = *slot;
    if (!rq) return;
    *slot = NULL;
    o3_hs_unwatch(rq);
    TAILQ_REMOVE(&s->requests, rq, link);
    o3_hs_move(s, rq->connection, WAITING);
    if (rq->is_handled && !rq->is_answered && s->p.on_gone) s->p.on_gone(s->p.ctx, rq, rq->tag);
    if (rq->reply) MHD_destroy_response(rq->reply);
    o3_buf_done(&rq->body);
    o3_buf_done(&rq->out);
    free(rq);
}

const char *o3_request_method(const struct o3_request *rq) {
    return rq->method;
}

const char *o3_request_path(const struct o3_request *rq) {
    return rq->path;
}

const char *o3_request_query(const struct o3_request *rq, const char *name) {
    return MHD_lookup_connection_value(rq->mhd, MHD_GET_ARGUMENT_KIND, name);
}

const char *o3_request_header(const struct o3_request *rq, const char *name) {
    return MHD_lookup_connection_value(rq->mhd, MHD_HEADER_KIND, name);
}

const char *o3_request_body(const struct o3_request *rq, size_t *ret_n) {
    *ret_n = rq->body.len;
    return o3_buf_str(&rq->body);
}

void o3_request_client(const struct o3_request *rq, struct o3_client *ret) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(rq->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    o3_client_of(info ? info->client_addr : NULL, ret);
}

void o3_request_set_tag(struct o3_request *rq, void *tag) {
    rq->tag = tag;
}

/* --- the server --- */

static int daemon_timeout_ms(const struct o3_server *s) {
    MHD_UNSIGNED_LONG_LONG ms;
    if (MHD_get_timeout(s->daemon, &ms) != MHD_YES) return -1;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

static void run(struct o3_server *s) {
    for (int i = 0; i < MAX_RUNS; i++) {
        s->needs_run = false;
        MHD_run(s->daemon);
        if (!s->needs_run && daemon_timeout_ms(s) != 0) return;
    }
}

static void on_readable(void *ctx, int fd) {
    (void)fd;
    run(ctx);
}

static int shorter_wait(int a_ms, int b_ms) {
    if (a_ms < 0) return b_ms;
    return b_ms < 0 || a_ms < b_ms ? a_ms : b_ms;
}

static int on_wait(void *ctx) {
    struct o3_server *s = ctx;
    int64_t timeout_ns = s->p.timeout_s * O3_NS_PER_S;
    int waiting_ms = cut_late(s, WAITING, timeout_ns);
    int sending_ms = cut_late(s, SENDING, SEND_TIMEOUTS * timeout_ns);
    if (s->needs_run || daemon_timeout_ms(s) == 0) run(s);
    return shorter_wait(s->needs_run ? 0 : daemon_timeout_ms(s), shorter_wait(waiting_ms, sending_ms));
}

/* A "%00" must not end a name early: "/config%00x" is not "/config". */
static size_t unescape(void *ctx, struct MHD_Connection *mhd, char *text) {
    (void)ctx, (void)mhd;
    size_t n = MHD_http_unescape(text);
    for (size_t i = 0; i < n; i++)
        if (!text[i]) text[i] = '\1';
    return n;
}

/* Every session gets its certificate from o3_tls_link_new; this one is never asked, but allows us to start without. */
typedef int cert_fn(void *session, const void *ca_rdn, int n_ca_rdn, const void *algorithms, int n_algorithms,
                    void *ret_chain, unsigned *ret_n, void *ret_key);
static int no_certificate(void *session, const void *ca_rdn, int n_ca_rdn, const void *algorithms, int n_algorithms,
                          void *ret_chain, unsigned *ret_n, void *ret_key) {
    (void)session, (void)ca_rdn, (void)n_ca_rdn, (void)algorithms, (void)n_algorithms, (void)ret_chain, (void)ret_n,
        (void)ret_key;
    return -1;
}

static int start_daemon(struct o3_server *s, struct o3_err *e) {
    int listen_fd;
    int r = o3_listen_open(s->p.listen, &listen_fd, &s->port, e);
    if (r < 0) return r;
    const unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (s->tls ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {{MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}};
    union {
        cert_fn *fn;
        void *ptr;
    } cert = {.fn = no_certificate};
    if (s->tls) tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0, cert.ptr};
    s->daemon = MHD_start_daemon(
        flags, 0, on_accept, s, on_request, s, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(s->p.max_connections + SPARE_CONNECTIONS), MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->p.timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    if (s->daemon) return 0;
    close(listen_fd);
    return o3_err_set(e, O3_E_IO, "the web server could not be started on %.120s", s->p.listen);
}

static int attach(struct o3_server *s, struct o3_err *e) {
    s->epoll_fd = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    s->gone_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->gone_fd < 0) return o3_err_set(e, O3_E_IO, "epoll: %s", strerror(errno));
    int r = o3_loop_add_fd(s->loop, s->epoll_fd, on_readable, s);
    if (!r) r = o3_loop_add_fd(s->loop, s->gone_fd, o3_hs_on_client_gone, s);
    if (!r) r = o3_loop_add_wait(s->loop, on_wait, s);
    return r ? o3_err_set(e, r, "the loop has no room for another server") : 0;
}

int o3_server_new(struct o3_loop *l, const struct o3_server_params *p, struct o3_server **ret, struct o3_err *e) {
    struct o3_server *s = calloc(1, sizeof *s);
    if (!s) return o3_err_set(e, O3_E_NOMEM, "no memory for the web server");
    s->loop = l;
    s->p = *p;
    s->epoll_fd = s->gone_fd = -1;
    o3_server_set_tls(s, p->tls);
    if (s->p.max_connections <= 0) s->p.max_connections = DEFAULT_CONNECTIONS;
    if (s->p.timeout_s <= 0) s->p.timeout_s = DEFAULT_TIMEOUT_S;
    if (!s->p.max_body) s->p.max_body = DEFAULT_MAX_BODY;
    for (size_t i = 0; i < sizeof s->lists / sizeof *s->lists; i++)
        TAILQ_INIT(&s->lists[i]);
    TAILQ_INIT(&s->requests);
    int r = start_daemon(s, e);
    if (!r) r = attach(s, e);
    if (r < 0) {
        o3_server_free(s);
        return r;
    }
    s->p.listen = NULL; /* borrowed for this call only */
    *ret = s;
    return 0;
}

void o3_server_free(struct o3_server *s) {
    if (!s) return;
    o3_loop_remove_wait(s->loop, s);
    o3_loop_remove_fd(s->loop, s->epoll_fd);
    o3_loop_remove_fd(s->loop, s->gone_fd);
    /* libmicrohttpd must not be stopped with suspended connections. */
    struct o3_request *rq;
    TAILQ_FOREACH(rq, &s->requests, link) {
        rq->is_cut = true;
        o3_hs_resume(rq);
    }
    if (s->daemon) MHD_stop_daemon(s->daemon);
    if (s->gone_fd >= 0) close(s->gone_fd);
    o3_tls_unref(s->tls);
    free(s);
}

void o3_server_set_tls(struct o3_server *s, struct o3_tls *tls) {
    if (tls) o3_tls_ref(tls);
    o3_tls_unref(s->tls);
    s->tls = tls;
}

void o3_server_set_headers(struct o3_server *s, const struct o3_web_header *headers, size_t n) {
    s->headers = headers;
    s->n_headers = n;
}

uint16_t o3_server_port(const struct o3_server *s) {
    return s->port;
}

void o3_server_stats(const struct o3_server *s, struct o3_server_stats *ret) {
    *ret = s->stats;
}
