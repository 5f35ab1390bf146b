/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HTTP_SERVER_INTERNAL_H
#define O3_IO_HTTP_SERVER_INTERNAL_H
/* What the files of the server share. http_server.c: connections, requests and the life of the server; http_replies.c:
 * what is answered, at once or as a stream, and requests that wait for it. */
#include <microhttpd.h>
#include <sys/queue.h>
#include "io/http_server.h"
#include "o3/buf.h"

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

void o3_hs_move(struct o3_server *s, struct connection *c, enum connection_state to);
void o3_hs_suspend(struct o3_request *rq); /* until there is something to send; its client's end is seen meanwhile */
void o3_hs_resume(struct o3_request *rq);
void o3_hs_unwatch(struct o3_request *rq);
void o3_hs_on_client_gone(void *ctx, int fd); /* of gone_fd */
enum MHD_Result o3_hs_queue(struct o3_request *rq);
void o3_hs_reply_error(struct o3_request *rq, int status, const char *json);

#endif
