/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HTTP_SERVER_H
#define O3_IO_HTTP_SERVER_H
/* HTTP server by libmicrohttpd in external-epoll mode on the loop. Used by the sidecar's pages and by the simulator.
 * Limits: connections, seconds a connection may be idle, request body. Over the body limit: 413; a bad request: 400. */
#include "io/loop.h"

struct o3_server;
struct o3_request;
struct o3_server_params {
    const char *listen;      /* "127.0.0.1:21434", "[::1]:21434", ":21434" (all addresses); port 0 picks one */
    int max_connections;     /* 0: 128 */
    int timeout_s;           /* 0: 10 */
    size_t max_body;         /* 0: 64 KiB */
    void (*handle)(void *ctx, struct o3_request *rq);         /* must answer now, or begin a stream, or answer later */
    void (*on_gone)(void *ctx, struct o3_request *rq, void *tag); /* an unanswered or streaming request's client went away; rq is dead after this */
    void *ctx;
};
O3_MUST_CHECK int o3_server_new(struct o3_loop *l, const struct o3_server_params *p, struct o3_server **ret, struct o3_err *e);
void o3_server_free(struct o3_server *s);
uint16_t o3_server_port(const struct o3_server *s);

const char *o3_request_method(const struct o3_request *rq);
const char *o3_request_path(const struct o3_request *rq);                     /* without the query */
const char *o3_request_query(const struct o3_request *rq, const char *name);  /* decoded; NULL absent */
const char *o3_request_header(const struct o3_request *rq, const char *name); /* NULL absent */
const char *o3_request_body(const struct o3_request *rq, size_t *ret_n);
void o3_request_set_tag(struct o3_request *rq, void *tag);
void *o3_request_tag(const struct o3_request *rq);

struct o3_header { const char *name, *value; };
/* Answers at once; bytes are copied. content_type may be NULL. HEAD gets the headers only. gzip when `gzip` is set and the client accepts it. */
struct o3_reply {
    int status;
    const char *content_type;
    const char *bytes; size_t n;
    bool gzip;
    const struct o3_header *headers; size_t n_headers;
};
void o3_request_reply(struct o3_request *rq, const struct o3_reply *r);
/* Chunked answers, piece by piece; the request stays alive until end or abort (or on_gone). */
void o3_request_stream(struct o3_request *rq, int status, const char *content_type);
void o3_request_write(struct o3_request *rq, const char *bytes, size_t n);
void o3_request_end(struct o3_request *rq);
void o3_request_abort(struct o3_request *rq); /* cuts the connection without the last chunk */

#endif
