/* SPDX-License-Identifier: Apache-2.0 */
/* Requests from their arrival to their end, and replies that are made at once. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

/* They are large, and come and go by the million: the room of some is used again. */
static void put_back(struct o3_world *w, struct o3_sim_request *rq) {
    if (w->n_spare_requests == O3_SIM_SPARE_REQUESTS || rq->reply.cap > O3_SIM_SPARE_BYTES) o3_buf_done(&rq->reply);
    o3_buf_clear(&rq->reply);
    if (w->n_spare_requests < O3_SIM_SPARE_REQUESTS)
        w->spare_requests[w->n_spare_requests++] = rq;
    else
        free(rq);
}

static struct o3_sim_request *new_request(struct o3_world *w) {
    if (w->n_spare_requests == 0) return calloc(1, sizeof(struct o3_sim_request));
    struct o3_sim_request *rq = w->spare_requests[--w->n_spare_requests];
    enum { KEPT = offsetof(struct o3_sim_request, reply), AFTER = offsetof(struct o3_sim_request, launch) };
    memset(rq, 0, KEPT);
    memset((char *)rq + AFTER, 0, sizeof *rq - AFTER);
    return rq;
}

static void free_request(struct o3_world *w, struct o3_sim_request *rq) {
    free(rq->bytes);
    o3_buf_done(&rq->collected);
    o3_buf_done(&rq->collected_thinking);
    if (rq->has_body) o3_sim_body_done(&rq->body);
    o3_sim_tokens_done(&rq->tokens);
    o3_sim_script_done(&rq->script);
    put_back(w, rq);
}

void o3_sim_remove(struct o3_world *w, struct o3_sim_request *rq) {
    for (size_t i = 0; i < w->n_requests; i++)
        if (w->requests[i] == rq) {
            memmove(&w->requests[i], &w->requests[i + 1], (w->n_requests - i - 1) * sizeof *w->requests);
            w->n_requests--;
            break;
        }
    if (rq->user) o3_sim_users_ended(w, rq, w->now_ns);
    free_request(w, rq);
}

struct o3_sim_request *o3_sim_add_request(struct o3_world *w, int64_t t) {
    if (w->n_requests == O3_SIM_MAX_REQUESTS) return NULL;
    if (w->n_requests == w->cap_requests) {
        size_t cap = w->cap_requests ? w->cap_requests * 2 : 16;
        struct o3_sim_request **v = reallocarray(w->requests, cap, sizeof *v);
        if (!v) return NULL;
        w->requests = v;
        w->cap_requests = cap;
    }
    struct o3_sim_request *rq = new_request(w);
    if (!rq) return NULL;
    rq->stage = O3_SIM_ARRIVED;
    rq->next_ns = rq->start_ns = t;
    rq->reply.max = O3_SIM_MAX_REPLY;
    o3_buf_init(&rq->collected, O3_SIM_MAX_REPLY);
    o3_buf_init(&rq->collected_thinking, O3_SIM_MAX_REPLY);
    o3_buf_init(&rq->script.logprobs, O3_SIM_MAX_REPLY);
    w->requests[w->n_requests++] = rq;
    w->is_due_known = false;
    return rq;
}

void o3_sim_reply(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *type) {
    rq->status = status;
    rq->content_type = type;
    rq->stage = O3_SIM_REPLYING;
    rq->next_ns = t + o3_sim_between(w, rq, O3_SIM_DRAW_REPLY, 0.3, 1);
}

void o3_sim_reply_error(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *text) {
    o3_buf_clear(&rq->reply);
    const char *type = o3_sim_write_error(rq, status, text, &rq->reply);
    o3_sim_reply(w, rq, t, status, type);
}

void o3_sim_answer(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *type) {
    o3_sim_emit_head(w, rq, t, status, type, rq->is_stream_reply);
    const char *p = o3_buf_str(&rq->reply), *end = p + rq->reply.len;
    while (p < end) {
        const char *newline = rq->is_stream_reply ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        size_t n = newline ? (size_t)(newline + 1 - p) : (size_t)(end - p);
        o3_sim_emit_data(w, rq, t, p, n);
        p += n;
    }
    o3_sim_emit_end(w, rq, t, false);
    o3_sim_remove(w, rq);
}

void o3_sim_leave(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    w->is_due_known = false;
    const int64_t cancel_ns = 130 * O3_NS_PER_MS; /* seen until the slot is idle again */
    rq->is_silent = true;
    if (rq->stage == O3_SIM_PROMPT) o3_sim_cache_cut(rq, t);
    switch (rq->stage) {
    case O3_SIM_PENDING:
    case O3_SIM_LOADING:
        o3_sim_sched_forget(w, rq, t);
        o3_sim_remove(w, rq);
        break;
    case O3_SIM_READY:
    case O3_SIM_WAITING:
        rq->stage = O3_SIM_DRAIN;
        o3_sim_work_step(w, rq, t);
        break;
    case O3_SIM_PROMPT:
    case O3_SIM_DECODE:
    case O3_SIM_TAIL:
        rq->stage = O3_SIM_DRAIN;
        rq->next_ns = t + cancel_ns;
        break;
    case O3_SIM_ARRIVED:
    case O3_SIM_REPLYING:
        o3_sim_remove(w, rq);
        break;
    case O3_SIM_DRAIN:
        break;
    }
}

void o3_sim_requests_free(struct o3_world *w) {
    for (size_t i = 0; i < w->n_requests; i++)
        free_request(w, w->requests[i]);
    for (size_t i = 0; i < w->n_spare_requests; i++) {
        o3_buf_done(&w->spare_requests[i]->reply);
        free(w->spare_requests[i]);
    }
    free(w->requests);
}
