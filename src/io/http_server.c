/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_server.h"
#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>
#include "io/client.h"
#include "io/gzip.h"
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
    STREAM_BLOCK = 4096,
    MIN_GZIP = 512, /* below it the gzip frame and the work gain nothing */
    GZIP_LEVEL = 4,
    MAX_RUNS = 8,
    MAX_EVENTS = 32
};

enum connection_state { WAITING, SERVED, SENDING };

/* One TCP connection: waiting for a whole request, being served, or sending a reply. */
struct connection {
    TAILQ_ENTRY(connection) link;
    enum connection_state state;
    int fd;
    int64_t since_ns;        /* in this state */
    struct o3_tls_link *tls; /* NULL: plain */
};
TAILQ_HEAD(connection_list, connection);

struct o3_request {
    TAILQ_ENTRY(o3_request) link;
    struct o3_server *server;
    struct MHD_Connection *mhd;
    struct connection *connection;
    const char *method, *path;
    void *tag;
    struct o3_buf body;
    size_t n_discarded;
    int status;
    struct MHD_Response *reply; /* ready to be queued */
    struct o3_buf out;          /* stream: bytes not yet taken by libmicrohttpd start at out_from */
    size_t out_from;
    bool is_handled;   /* the handler was called */
    bool is_queued;    /* libmicrohttpd has the response */
    bool is_streaming; /* o3_request_stream was called */
    bool is_answered;  /* reply, end or abort was called: the handler's owner has let go of it */
    bool is_cut;
    bool is_suspended;
    bool is_watched;
    bool is_body_too_large;
};
TAILQ_HEAD(request_list, o3_request);

struct o3_server {
    struct o3_loop *loop;
    struct o3_server_params p;
    struct MHD_Daemon *daemon;
    int epoll_fd;
    int gone_fd; /* epoll over the sockets of suspended requests, which libmicrohttpd does not watch; -1 until needed */
    uint16_t port;
    struct o3_tls *tls; /* of new connections; NULL: plain HTTP */
    const struct o3_web_header *headers;
    size_t n_headers;
    struct connection_list lists[3]; /* by enum connection_state, oldest first */
    struct request_list requests;
    struct o3_server_stats stats;
    bool needs_run;
};

static int64_t mono_ns(void) {
    return o3_now_read().mono_ns;
}

/* --- connections --- */

static void move_connection(struct o3_server *s, struct connection *c, enum connection_state to) {
    TAILQ_REMOVE(&s->lists[c->state], c, link);
    c->state = to;
    c->since_ns = mono_ns();
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
        c->since_ns = mono_ns();
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
    int64_t now_ns = mono_ns();
    struct connection *c;
    TAILQ_FOREACH(c, &s->lists[state], link) {
        if (c->since_ns == INT64_MAX) continue;
        int64_t left_ns = c->since_ns + allowed_ns - now_ns;
        if (left_ns > 0) return (int)(left_ns / O3_NS_PER_MS) + 1;
        cut_connection(s, c);
    }
    return -1;
}

/* --- suspended requests --- */

static void watch_client(struct o3_request *rq) {
    struct o3_server *s = rq->server;
    if (rq->is_watched) return;
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = rq};
    rq->is_watched = !epoll_ctl(s->gone_fd, EPOLL_CTL_ADD, rq->connection->fd, &ev);
}

static void unwatch_client(struct o3_request *rq) {
    if (rq->is_watched) epoll_ctl(rq->server->gone_fd, EPOLL_CTL_DEL, rq->connection->fd, NULL);
    rq->is_watched = false;
}

static void suspend(struct o3_request *rq) {
    watch_client(rq);
    MHD_suspend_connection(rq->mhd);
    rq->is_suspended = true;
}

static void resume(struct o3_request *rq) {
    rq->server->needs_run = true;
    if (!rq->is_suspended) return;
    rq->is_suspended = false;
    MHD_resume_connection(rq->mhd);
}

/* Nothing is freed here: libmicrohttpd ends the request in its next run and tells on_completed. */
static void on_client_gone(void *ctx, int fd) {
    (void)ctx;
    struct epoll_event events[MAX_EVENTS];
    int n = epoll_wait(fd, events, MAX_EVENTS, 0);
    for (int i = 0; i < n; i++) {
        struct o3_request *rq = events[i].data.ptr;
        if (rq->is_answered) continue; /* a half-closed client still gets what is ready */
        rq->is_cut = true;
        o3_buf_done(&rq->out);
        rq->out_from = 0;
        resume(rq);
    }
}

/* --- replies --- */

static void add_common_headers(const struct o3_server *s, struct MHD_Response *m) {
    for (size_t i = 0; i < s->n_headers; i++)
        MHD_add_response_header(m, s->headers[i].name, s->headers[i].value);
}

static void add_headers(struct MHD_Response *m, const struct o3_reply *r, bool is_gzip) {
    if (r->content_type) MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE, r->content_type);
    if (r->gzip) MHD_add_response_header(m, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    if (is_gzip) MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    for (size_t i = 0; i < r->n_headers; i++)
        MHD_add_response_header(m, r->headers[i].name, r->headers[i].value);
}

/* NULL when it cannot or need not be compressed; plain is always an answer. */
static struct MHD_Response *compressed(const struct o3_request *rq, const struct o3_reply *r) {
    if (!r->gzip || r->n < MIN_GZIP || !o3_gzip_is_accepted(o3_request_header(rq, MHD_HTTP_HEADER_ACCEPT_ENCODING)))
        return NULL;
    O3_AUTO_BUF b;
    o3_buf_init(&b, r->n); /* larger than plain is no gain */
    if (o3_gzip_encode(r->bytes, r->n, GZIP_LEVEL, &b) < 0) return NULL;
    size_t n = b.len;
    char *bytes = o3_buf_take(&b);
    struct MHD_Response *m = bytes ? MHD_create_response_from_buffer(n, bytes, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!m) free(bytes);
    return m;
}

static struct MHD_Response *plain(const struct o3_reply *r) {
    if (!r->n) return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    /* libmicrohttpd takes a void * and, told to copy, only reads. */
    union {
        const void *in;
        void *out;
    } bytes = {.in = r->bytes};
    return MHD_create_response_from_buffer(r->n, bytes.out, MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result queue_reply(struct o3_request *rq) {
    if (!rq->reply) return MHD_NO;
    rq->is_queued = true;
    return MHD_queue_response(rq->mhd, (unsigned)rq->status, rq->reply);
}

static void reply_error(struct o3_request *rq, int status, const char *json) {
    const struct o3_reply r = {.status = status, .content_type = "application/json", .bytes = json, .n = strlen(json)};
    o3_request_reply(rq, &r);
}

void o3_request_reply(struct o3_request *rq, const struct o3_reply *r) {
    if (rq->is_answered || rq->is_streaming) return;
    struct MHD_Response *m = compressed(rq, r);
    bool is_gzip = m;
    if (!m) m = plain(r);
    if (m) add_headers(m, r, is_gzip);
    if (m) add_common_headers(rq->server, m);
    rq->status = r->status;
    rq->reply = m;
    rq->is_answered = true;
    rq->is_cut = !m;
    move_connection(rq->server, rq->connection, SENDING);
    resume(rq);
}

/* --- streams --- */

static ssize_t read_stream(void *ctx, uint64_t pos, char *to, size_t max) {
    (void)pos;
    struct o3_request *rq = ctx;
    size_t n = rq->out.len - rq->out_from;
    if (n > max) n = max;
    if (n) {
        memcpy(to, rq->out.p + rq->out_from, n);
        rq->out_from += n;
        return (ssize_t)n;
    }
    if (rq->is_cut) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (rq->is_answered) return MHD_CONTENT_READER_END_OF_STREAM;
    suspend(rq);
    return 0;
}

void o3_request_stream(struct o3_request *rq, int status, const char *content_type) {
    if (rq->is_answered || rq->is_streaming) return;
    rq->is_streaming = true;
    rq->status = status;
    rq->reply = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, rq, NULL);
    if (rq->reply && content_type) MHD_add_response_header(rq->reply, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    if (rq->reply) add_common_headers(rq->server, rq->reply);
    rq->is_cut = !rq->reply;
    resume(rq);
}

static void drop_sent(struct o3_request *rq) {
    if (rq->out_from < rq->out.len / 2 || !rq->out_from) return;
    rq->out.len -= rq->out_from;
    memmove(rq->out.p, rq->out.p + rq->out_from, rq->out.len);
    rq->out_from = 0;
}

void o3_request_write(struct o3_request *rq, const char *bytes, size_t n) {
    if (!rq->is_streaming || rq->is_answered || rq->is_cut) return;
    drop_sent(rq);
    if (o3_buf_add(&rq->out, bytes, n) < 0) rq->is_cut = true;
    resume(rq);
}

static void let_go(struct o3_request *rq) {
    if (rq->is_answered) return;
    rq->is_answered = true;
    move_connection(rq->server, rq->connection, SENDING);
    resume(rq);
}

void o3_request_end(struct o3_request *rq) {
    if (rq->is_streaming) let_go(rq);
}

void o3_request_abort(struct o3_request *rq) {
    rq->is_cut = true;
    let_go(rq);
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
    reply_error(rq, MHD_HTTP_CONTENT_TOO_LARGE, "{\"error\":\"the request body is over the limit\"}\n");
    return queue_reply(rq);
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
    if (rq->reply) return queue_reply(rq);
    if (rq->is_cut) return MHD_NO;
    suspend(rq);
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
        reply_error(rq, MHD_HTTP_CONTENT_TOO_LARGE, "{\"error\":\"the request body is over the limit\"}\n");
        return answer(rq);
    }
    rq->is_handled = true;
    move_connection(s, rq->connection, SERVED);
    s->p.handle(s->p.ctx, rq);
    return answer(rq);
}

static void on_completed(void *ctx, struct MHD_Connection *mhd, void **slot, enum MHD_RequestTerminationCode why) {
    (void)mhd, (void)why;
    struct o3_server *s = ctx;
    struct o3_request *rq = *slot;
    if (!rq) return;
    *slot = NULL;
    unwatch_client(rq);
    TAILQ_REMOVE(&s->requests, rq, link);
    move_connection(s, rq->connection, WAITING);
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
    if (!r) r = o3_loop_add_fd(s->loop, s->gone_fd, on_client_gone, s);
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
        resume(rq);
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
