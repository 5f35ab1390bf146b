/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include "io/gzip.h"
#include "io/http_server_internal.h"

enum {
    STREAM_BLOCK = 4096,
    MIN_GZIP = 512, /* below it the gzip frame and the work gain nothing */
    GZIP_LEVEL = 4,
    MAX_EVENTS = 32
};

/* --- suspended requests --- */

static void watch_client(struct o3_request *rq) {
    struct o3_server *s = rq->server;
    if (rq->is_watched) return;
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = rq};
    rq->is_watched = !epoll_ctl(s->gone_fd, EPOLL_CTL_ADD, rq->connection->fd, &ev);
}

void o3_hs_unwatch(struct o3_request *rq) {
    if (rq->is_watched) epoll_ctl(rq->server->gone_fd, EPOLL_CTL_DEL, rq->connection->fd, NULL);
    rq->is_watched = false;
}

void o3_hs_suspend(struct o3_request *rq) {
    watch_client(rq);
    MHD_suspend_connection(rq->mhd);
    rq->is_suspended = true;
}

void o3_hs_resume(struct o3_request *rq) {
    rq->server->needs_run = true;
    if (!rq->is_suspended) return;
    rq->is_suspended = false;
    MHD_resume_connection(rq->mhd);
}

/* Nothing is freed here: libmicrohttpd ends the request in its next run and tells on_completed. */
void o3_hs_on_client_gone(void *ctx, int fd) {
    (void)ctx;
    struct epoll_event events[MAX_EVENTS];
    int n = epoll_wait(fd, events, MAX_EVENTS, 0);
    for (int i = 0; i < n; i++) {
        struct o3_request *rq = events[i].data.ptr;
        if (rq->is_answered) continue; /* a half-closed client still gets what is ready */
        rq->is_cut = true;
        o3_buf_done(&rq->out);
        rq->out_from = 0;
        o3_hs_resume(rq);
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

enum MHD_Result o3_hs_queue(struct o3_request *rq) {
    if (!rq->reply) return MHD_NO;
    rq->is_queued = true;
    return MHD_queue_response(rq->mhd, (unsigned)rq->status, rq->reply);
}

void o3_hs_reply_error(struct o3_request *rq, int status, const char *json) {
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
    o3_hs_move(rq->server, rq->connection, SENDING);
    o3_hs_resume(rq);
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
    o3_hs_suspend(rq);
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
    o3_hs_resume(rq);
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
    o3_hs_resume(rq);
}

static void let_go(struct o3_request *rq) {
    if (rq->is_answered) return;
    rq->is_answered = true;
    o3_hs_move(rq->server, rq->connection, SENDING);
    o3_hs_resume(rq);
}

void o3_request_end(struct o3_request *rq) {
    if (rq->is_streaming) let_go(rq);
}

void o3_request_abort(struct o3_request *rq) {
    rq->is_cut = true;
    let_go(rq);
}
