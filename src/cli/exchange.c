/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exchange.h"
#include <stdio.h>
#include <string.h>
#include "o3/text.h"

#define END_WITHIN_MS 900

static int64_t no_deadline(void *ctx) {
    (void)ctx;
    return INT64_MAX;
}

static void no_turn(void *ctx, struct o3_now now) {
    (void)ctx;
    (void)now;
}

static void on_signal(void *ctx, int signo) {
    struct o3_exchanger *x = ctx;
    x->signo = signo;
    o3_loop_end_within(END_WITHIN_MS, o3_error_row(O3_E_CANCELLED)->exit_status);
}

static void no_lag(void *ctx, int64_t lag_ns) {
    (void)ctx;
    (void)lag_ns;
}

int o3_exchanger_init(struct o3_exchanger *x, struct o3_err *e) {
    *x = (struct o3_exchanger){0};
    int r = o3_loop_new(&x->loop, e);
    if (r == 0) r = o3_http_new(x->loop, &x->http, e);
    if (r < 0) {
        o3_exchanger_done(x);
        return r;
    }
    struct o3_loop_hooks hooks = {
        .deadline_ns = no_deadline, .turn = no_turn, .on_signal = on_signal, .on_lag = no_lag, .ctx = x};
    o3_loop_set_hooks(x->loop, &hooks);
    return 0;
}

void o3_exchanger_done(struct o3_exchanger *x) {
    o3_http_free(x->http);
    o3_loop_free(x->loop);
    *x = (struct o3_exchanger){0};
}

struct running {
    struct o3_exchange *exchange;
    bool has_ended;
};

static void on_data(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns) {
    struct o3_exchange *e = ((struct running *)ctx)->exchange;
    if (e->on_data)
        e->on_data(e->ctx, status, bytes, n, mono_ns);
    else
        (void)o3_buf_add(&e->body, bytes, n);
}

static void on_end(void *ctx, const struct o3_http_result *r, int64_t mono_ns) {
    struct running *run = ctx;
    struct o3_exchange *e = run->exchange;
    e->status = r->status;
    e->transport = r->code;
    o3_str_copy(e->text, sizeof e->text, r->text);
    e->ended = (struct o3_now){.mono_ns = mono_ns, .wall_ms = o3_now_read().wall_ms};
    run->has_ended = true;
}

void o3_exchange_run(struct o3_exchanger *x, const struct o3_http_req *rq, struct o3_exchange *inout) {
    struct running run = {.exchange = inout};
    struct o3_http_cb cb = {.on_data = on_data, .on_end = on_end, .ctx = &run};
    struct o3_xfer *xfer = NULL;
    o3_buf_init(&inout->body, rq->max_bytes);
    inout->sent = o3_now_read();
    inout->transport = o3_http_start(x->http, rq, &cb, &xfer);
    if (inout->transport < 0) return;
    while (!run.has_ended && !x->signo)
        o3_loop_once(x->loop, 1000);
    if (run.has_ended) return;
    o3_xfer_cancel(xfer);
    inout->transport = O3_E_CANCELLED;
    inout->ended = o3_now_read();
}

void o3_exchanger_sleep(struct o3_exchanger *x, int64_t ms) {
    int64_t until_ns = o3_now_read().mono_ns + ms * O3_NS_PER_MS;
    for (int64_t left_ns; !x->signo && (left_ns = until_ns - o3_now_read().mono_ns) > 0;)
        o3_loop_once(x->loop, (int)(left_ns / O3_NS_PER_MS) + 1);
}

static void own_url(const char *listen, const char *scheme, const char *page, char *out, size_t size) {
    /* Listening on all addresses means: on loopback too. */
    const char *colon = strrchr(listen, ':');
    int n = colon ? (int)(colon - listen) : 0;
    bool is_any = n == 0 || !strncmp(listen, "0.0.0.0", 7) || !strncmp(listen, "[::]", 4);
    if (is_any)
        snprintf(out, size, "%s://127.0.0.1%s%s", scheme, colon ? colon : ":21434", page);
    else
        snprintf(out, size, "%s://%s%s", scheme, listen, page);
}

static const char *or_null(const char *text) {
    return *text ? text : NULL;
}

int o3_own_find(const struct o3_config_values *v, const char *page, struct o3_own *ret, struct o3_err *e) {
    *ret = (struct o3_own){0};
    int r = *v->web_config_file ? o3_web_find_peer(v->web_config_file, &ret->web, e) : 0;
    if (r < 0) return r;
    own_url(v->web_listen, ret->web.is_tls ? "https" : "http", page, ret->url, sizeof ret->url);
    if (!ret->web.is_tls) return 0;
    ret->peer.cert_file = or_null(ret->web.cert_file);
    if (ret->web.is_client_cert_required) {
        ret->peer.client_cert_file = or_null(ret->web.cert_file);
        ret->peer.client_key_file = or_null(ret->web.key_file);
    }
    ret->peer_or_null = &ret->peer;
    return 0;
}
