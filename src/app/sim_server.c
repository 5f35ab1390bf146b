/* SPDX-License-Identifier: Apache-2.0 */
#include "app/sim_server.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/http_server.h"
#include "o3/buf.h"

enum { DEFAULT_MAX_BODY = 1024 * 1024, MAX_CONNECTIONS = 1024, TIMEOUT_S = 300, N_LISTS = 1024 };
static const size_t MAX_REPLY = (size_t)64 << 20;

/* A request that waits for the world. */
struct exchange {
    struct exchange *next;
    uint64_t id;
    struct o3_request *rq;
    bool is_streaming;
    int status; /* of a reply whose body is still to come */
    const char *content_type;
    struct o3_buf body;
};

struct o3_sim_server {
    struct o3_world *world;
    struct o3_server *http;
    double speed;
    int64_t start_ns;
    struct exchange *lists[N_LISTS]; /* by id, which counts up: one or two in each */
};

static struct exchange **list_of(struct o3_sim_server *s, uint64_t id) {
    return &s->lists[id % N_LISTS];
}

static int64_t world_ns(const struct o3_sim_server *s, int64_t mono_ns) {
    int64_t since = mono_ns - s->start_ns;
    return since < 0 ? 0 : s->speed == 1.0 ? since : (int64_t)((double)since * s->speed);
}

int64_t o3_sim_server_deadline_ns(const struct o3_sim_server *s) {
    int64_t next = o3_world_next_ns(s->world);
    if (next == INT64_MAX) return INT64_MAX;
    double real = ceil((double)next / s->speed) + 1; /* not before it, whatever the rounding */
    return real > 9e18 - (double)s->start_ns ? INT64_MAX : s->start_ns + (int64_t)real;
}

/* ---- requests in ---- */

static void end_exchange(struct o3_sim_server *s, struct exchange *x) {
    struct exchange **p = list_of(s, x->id);
    while (*p != x)
        p = &(*p)->next;
    *p = x->next;
    o3_buf_done(&x->body);
    free(x);
}

static void on_request(void *ctx, struct o3_request *rq) {
    struct o3_sim_server *s = ctx;
    struct exchange *x = calloc(1, sizeof *x);
    if (!x) {
        o3_request_abort(rq);
        return;
    }
    size_t n;
    const char *body = o3_request_body(rq, &n);
    x->rq = rq;
    o3_buf_init(&x->body, MAX_REPLY);
    x->id = o3_world_request(s->world, world_ns(s, o3_now_read().mono_ns), o3_request_method(rq), o3_request_path(rq),
                             body, n);
    struct exchange **list = list_of(s, x->id);
    x->next = *list;
    *list = x;
    o3_request_set_tag(rq, x);
}

static void on_gone(void *ctx, struct o3_request *rq, void *tag) {
    (void)rq;
    struct o3_sim_server *s = ctx;
    struct exchange *x = tag;
    if (!x) return;
    o3_world_disconnect(s->world, world_ns(s, o3_now_read().mono_ns), x->id);
    end_exchange(s, x);
}

/* ---- answers out ---- */

static struct exchange *find(struct o3_sim_server *s, uint64_t id) {
    struct exchange *x = *list_of(s, id);
    while (x && x->id != id)
        x = x->next;
    return x;
}

static void finish(struct o3_sim_server *s, struct exchange *x) {
    if (x->is_streaming) {
        o3_request_end(x->rq);
    } else {
        struct o3_header allow = {"Allow", "POST"};
        struct o3_reply r = {.status = x->status, .content_type = x->content_type, .bytes = o3_buf_str(&x->body)};
        r.n = x->body.len;
        r.headers = &allow;
        r.n_headers = x->status == 405;
        o3_request_reply(x->rq, &r);
    }
    end_exchange(s, x);
}

static void put(struct o3_sim_server *s, const struct o3_world_output *o) {
    struct exchange *x = find(s, o->id);
    if (!x) return;
    switch (o->kind) {
    case O3_WORLD_HEAD:
        x->status = o->status;
        x->content_type = o->content_type;
        x->is_streaming = o->is_chunked;
        if (o->is_chunked) o3_request_stream(x->rq, o->status, o->content_type);
        break;
    case O3_WORLD_DATA:
        if (x->is_streaming)
            o3_request_write(x->rq, o->bytes, o->n);
        else
            o3_buf_add(&x->body, o->bytes, o->n);
        break;
    case O3_WORLD_END:
        finish(s, x);
        break;
    case O3_WORLD_ABORT:
        o3_request_abort(x->rq);
        end_exchange(s, x);
        break;
    }
}

void o3_sim_server_turn(struct o3_sim_server *s, struct o3_now now) {
    struct o3_world_output o;
    while (o3_world_poll(s->world, world_ns(s, now.mono_ns), &o))
        put(s, &o);
}

/* ---- life ---- */

static int fill_world(struct o3_sim_server *s, const struct o3_sim_server_params *p, struct o3_err *e) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n_events; i++)
        r = o3_world_add_event(s->world, p->events[i], e);
    for (size_t i = 0; r == 0 && i < p->n_preloads; i++)
        r = o3_world_preload(s->world, p->preloads[i].model, p->preloads[i].num_ctx, 0, e);
    return r;
}

int o3_sim_server_new(struct o3_loop *l, const struct o3_sim_server_params *p, struct o3_sim_server **ret,
                      struct o3_err *e) {
    struct o3_now now = o3_now_read();
    struct o3_world_params world = p->world;
    if (world.start_wall_ms == 0) world.start_wall_ms = now.wall_ms;
    struct o3_sim_server *s = calloc(1, sizeof *s);
    if (s) s->world = o3_world_new(&world);
    if (!s || !s->world) {
        free(s);
        return o3_err_set(e, O3_E_NOMEM, "no memory for the simulated server");
    }
    s->speed = p->speed > 0 ? p->speed : 1;
    s->start_ns = now.mono_ns;
    struct o3_server_params http = {.listen = p->listen,
                                    .max_connections = MAX_CONNECTIONS,
                                    .timeout_s = TIMEOUT_S,
                                    .max_body = p->max_body ? p->max_body : DEFAULT_MAX_BODY,
                                    .handle = on_request,
                                    .on_gone = on_gone,
                                    .ctx = s};
    int r = fill_world(s, p, e);
    if (r == 0) r = o3_server_new(l, &http, &s->http, e);
    if (r < 0) {
        o3_sim_server_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void o3_sim_server_free(struct o3_sim_server *s) {
    if (!s) return;
    o3_server_free(s->http); /* tells on_gone of what is open */
    for (size_t i = 0; i < N_LISTS; i++)
        while (s->lists[i])
            end_exchange(s, s->lists[i]);
    o3_world_free(s->world);
    free(s);
}

uint16_t o3_sim_server_port(const struct o3_sim_server *s) {
    return o3_server_port(s->http);
}

struct o3_world *o3_sim_server_world(struct o3_sim_server *s) {
    return s->world;
}
