/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HTTP_SERVER_H
#define O3_IO_HTTP_SERVER_H
/* HTTP server by libmicrohttpd in external-epoll mode on the loop. Used by the sidecar's pages and by the simulator.
 * Limits: connections, time, request body. Over the body limit: 413; a bad request: 400; too long an address or header:
 * 414, 431; all by themselves, the handler never sees them.
 *
 * Slow and idle clients cannot keep others out:
 * - a whole request must arrive within timeout_s of the connect (or of the end of the last reply), however it trickles;
 * - a reply must be taken within SEND_TIMEOUTS x timeout_s;
 * - at max_connections a new client pushes out the one that has waited longest without sending a whole request; when
 *   all are being served, the new one is closed at once.
 * A client that ends its side of the connection before its answer is complete counts as gone. */
#include "io/client.h"
#include "io/loop.h"
#include "io/tls.h"

struct o3_header {
    const char *name, *value;
};
struct o3_server;
struct o3_request;
struct o3_server_params {
    const char
        *listen; /* "127.0.0.1:21434", "[::1]:21434", "localhost:21434", ":21434" (all addresses); port 0 picks one */
    int max_connections;                              /* 0: 128 */
    int timeout_s;                                    /* 0: 10 */
    size_t max_body;                                  /* 0: 64 KiB */
    void (*handle)(void *ctx, struct o3_request *rq); /* must answer now, or begin a stream, or answer later */
    void (*on_gone)(void *ctx, struct o3_request *rq,
                    void *tag); /* an unanswered or streaming request's client went away; rq is dead after this.
                                   Also called from o3_server_free. NULL allowed */
    void *ctx;
    struct o3_tls *tls; /* NULL: plain HTTP; else a reference of its own is taken */
};
struct o3_server_stats {
    int n_connections;
    int64_t n_evicted, n_refused; /* pushed out to make room; closed at once because all others were being served */
};
O3_MUST_CHECK int o3_server_new(struct o3_loop *l, const struct o3_server_params *p, struct o3_server **ret,
                                struct o3_err *e);
void o3_server_free(struct o3_server *s);
uint16_t o3_server_port(const struct o3_server *s);
/* For the connections that begin from now on. Whether there is TLS at all is decided when the server starts. */
void o3_server_set_tls(struct o3_server *s, struct o3_tls *tls);
/* Added to every answer of the handler from now on; borrowed until the next call. */
void o3_server_set_headers(struct o3_server *s, const struct o3_web_header *headers, size_t n);
void o3_server_stats(const struct o3_server *s, struct o3_server_stats *ret);

const char *o3_request_method(const struct o3_request *rq);
const char *o3_request_path(const struct o3_request *rq);                     /* without the query */
const char *o3_request_query(const struct o3_request *rq, const char *name);  /* decoded; NULL absent */
const char *o3_request_header(const struct o3_request *rq, const char *name); /* NULL absent */
const char *o3_request_body(const struct o3_request *rq, size_t *ret_n);
void o3_request_client(const struct o3_request *rq, struct o3_client *ret);
void o3_request_set_tag(struct o3_request *rq, void *tag);

/* Answers at once; bytes are copied. content_type may be NULL. HEAD gets the headers only. gzip when `gzip` is set and
 * the client accepts it. */
struct o3_reply {
    int status;
    const char *content_type;
    const char *bytes;
    size_t n;
    bool gzip;
    const struct o3_header *headers;
    size_t n_headers;
};
void o3_request_reply(struct o3_request *rq, const struct o3_reply *r);
/* Chunked answers, piece by piece; the request stays alive until end or abort (or on_gone). */
void o3_request_stream(struct o3_request *rq, int status, const char *content_type);
void o3_request_write(struct o3_request *rq, const char *bytes,
                      size_t n); /* a client that leaves 4 MiB unread is cut off */
void o3_request_end(struct o3_request *rq);
void o3_request_abort(
    struct o3_request *rq); /* what was written is sent, then the connection is cut without the last chunk */

#endif
