/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CLI_EXCHANGE_H
#define O3_CLI_EXCHANGE_H
/* One HTTP exchange at a time, for commands: drives its own loop until the answer is whole, the time is over or a
 * signal came. */
#include "app/web_source.h"
#include "io/http_client.h"
#include "o3/config.h"
#include "o3/buf.h"

struct o3_exchanger {
    struct o3_loop *loop;
    struct o3_http *http;
    int signo; /* of the signal that came; 0 none */
};
O3_MUST_CHECK int o3_exchanger_init(struct o3_exchanger *x, struct o3_err *e);
void o3_exchanger_done(struct o3_exchanger *x);

struct o3_exchange {
    int status;
    int transport; /* 0, or O3_E_*; O3_E_CANCELLED after a signal */
    char text[160];
    struct o3_now sent, ended;
    struct o3_buf body; /* bounded; the caller frees */
    /* Sees the bytes as they come; NULL: they gather in body. */
    void (*on_data)(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns);
    void *ctx;
};
void o3_exchange_run(struct o3_exchanger *x, const struct o3_http_req *rq, struct o3_exchange *inout);
/* Waits, or until a signal. */
void o3_exchanger_sleep(struct o3_exchanger *x, int64_t ms);
/* The sidecar of this machine with this configuration: its address, and how it is known when it speaks TLS. */
struct o3_own {
    char url[400]; /* of the page */
    struct o3_web_peer web;
    struct o3_http_peer peer;
    const struct o3_http_peer *peer_or_null; /* for struct o3_http_req */
};
O3_MUST_CHECK int o3_own_find(const struct o3_config_values *v, const char *page, struct o3_own *ret, struct o3_err *e);

#endif
