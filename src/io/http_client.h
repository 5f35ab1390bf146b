/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HTTP_CLIENT_H
#define O3_IO_HTTP_CLIENT_H
/* HTTP requests on the loop by libcurl. Callbacks run on the loop; none after on_end or o3_xfer_cancel.
 * http and https only, no redirects, no proxies from the environment, no connection reuse beyond `keep_alive`. */
#include "io/loop.h"

struct o3_http;
struct o3_xfer;
O3_MUST_CHECK int o3_http_new(struct o3_loop *l, struct o3_http **ret, struct o3_err *e);
void o3_http_free(struct o3_http *h); /* cancels all */

struct o3_http_req {
    const char *method;               /* "GET", "POST" */
    const char *url;
    const char *body; size_t body_len; /* copied; JSON */
    int64_t connect_timeout_ms, first_byte_timeout_ms /* 0: none */, total_timeout_ms;
    size_t max_bytes;                 /* of the reply body; more ends the transfer with O3_E_LIMIT */
};
struct o3_http_result {
    int code;              /* 0 complete; O3_E_UNREACHABLE, O3_E_TIMEOUT, O3_E_LIMIT, O3_E_HTTP (cut in the middle, or not HTTP) */
    int status;            /* 0: no status line */
    char text[160];
};
struct o3_http_cb {
    void (*on_data)(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns);
    void (*on_end)(void *ctx, const struct o3_http_result *r, int64_t mono_ns);
    void *ctx;
};
O3_MUST_CHECK int o3_http_start(struct o3_http *h, const struct o3_http_req *rq, const struct o3_http_cb *cb, struct o3_xfer **ret);
void o3_xfer_cancel(struct o3_xfer *x); /* no callback after this returns; NULL allowed */
/* Local ports of the transfers' sockets now open: the idle gate leaves them out. Returns how many were written. */
size_t o3_http_local_ports(const struct o3_http *h, uint16_t *out, size_t max);

#endif
