/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HTTP_CLIENT_H
#define O3_IO_HTTP_CLIENT_H
/* HTTP requests on the loop by libcurl. Callbacks run on the loop; none after on_end or o3_xfer_cancel.
 * http and https only, no redirects, no proxies from the environment; at most two idle connections are kept.
 *
 * Names: addresses and localhost are used as they are; other names are looked up on the job thread, pinned, and looked
 * up again after a minute or a failed connect. A slow name service delays other jobs, never the loop. */
#include "io/loop.h"

struct o3_http;
struct o3_xfer;
O3_MUST_CHECK int o3_http_new(struct o3_loop *l, struct o3_http **ret, struct o3_err *e);
void o3_http_free(struct o3_http *h); /* cancels all; before the loop is freed, not from a callback */

/* TLS with a server that is known by its certificate, whatever address it is reached by. */
struct o3_http_peer {
    const char *cert_file;                          /* it must show this certificate; NULL: any, so send no secret */
    const char *client_cert_file, *client_key_file; /* to show to it; NULL: none */
};
struct o3_http_req {
    const char *method; /* "GET", "POST" */
    const char *url;
    const char *body;
    size_t body_len;                 /* copied; JSON */
    const char *bearer;              /* token of an Authorization header; NULL none */
    const struct o3_http_peer *peer; /* of a server whose name cannot be checked; borrowed for the call; NULL: by the
                                        authorities of the system */
    int64_t connect_timeout_ms;      /* 0: 5 s; also bounds the name lookup */
    int64_t first_byte_timeout_ms;   /* of the body, from the start; 0: none */
    int64_t total_timeout_ms;        /* 0: 10 min */
    size_t max_bytes;                /* of the reply body; more ends the transfer with O3_E_LIMIT */
};
struct o3_http_result {
    int code;   /* 0 complete; O3_E_UNREACHABLE (no connection, or none in time), O3_E_TIMEOUT, O3_E_LIMIT,
                   O3_E_HTTP (cut in the middle, or not HTTP), O3_E_NOMEM */
    int status; /* 0: no status line */
    char text[160];
};
struct o3_http_cb {
    void (*on_data)(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns);
    void (*on_end)(void *ctx, const struct o3_http_result *r, int64_t mono_ns);
    void *ctx;
};
/* 0, or O3_E_CONFIG (not a usable URL), O3_E_NOMEM, O3_E_LIMIT: then no callback comes. Callbacks come later, never
 * from inside this call. *ret is valid until on_end returns. Start and cancel are allowed inside callbacks. */
O3_MUST_CHECK int o3_http_start(struct o3_http *h, const struct o3_http_req *rq, const struct o3_http_cb *cb,
                                struct o3_xfer **ret);
void o3_xfer_cancel(struct o3_xfer *x); /* no callback after this returns; NULL allowed */
/* Local ports of the transfers' sockets now open: the idle gate leaves them out. Returns how many were written. */
size_t o3_http_local_ports(const struct o3_http *h, uint16_t *out, size_t max);

#endif
