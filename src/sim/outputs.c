/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out, as a queue: replies in pieces, each at its time. */
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

static struct o3_sim_output *push(struct o3_world *w) {
    if (w->n_outputs == w->cap_outputs) {
        size_t cap = w->cap_outputs ? w->cap_outputs * 2 : 64;
        struct o3_sim_output *v = calloc(cap, sizeof *v);
        if (!v) return NULL;
        for (size_t i = 0; i < w->n_outputs; i++)
            v[i] = w->outputs[(w->first_output + i) % w->cap_outputs];
        free(w->outputs);
        w->outputs = v;
        w->cap_outputs = cap;
        w->first_output = 0;
    }
    struct o3_sim_output *o = &w->outputs[(w->first_output + w->n_outputs++) % w->cap_outputs];
    *o = (struct o3_sim_output){0};
    return o;
}

static struct o3_sim_output *emit(struct o3_world *w, const struct o3_sim_request *rq, int64_t t,
                                  enum o3_world_output_kind kind) {
    if (rq->is_silent) return NULL;
    struct o3_sim_output *o = push(w);
    if (o) o->out = (struct o3_world_output){.id = rq->id, .kind = kind, .mono_ns = t};
    return o;
}

void o3_sim_emit_head(struct o3_world *w, const struct o3_sim_request *rq, int64_t t, int status, const char *type,
                      bool chunked) {
    struct o3_sim_output *o = emit(w, rq, t, O3_WORLD_HEAD);
    if (!o) return;
    o->out.status = status;
    o->out.content_type = type;
    o->out.is_chunked = chunked;
}

/* Outputs come by the million, mostly one at a time: the bytes of one are used for the next. */
static struct o3_sim_bytes room_for(struct o3_world *w, size_t n) {
    if (n <= w->spare.size) {
        struct o3_sim_bytes spare = w->spare;
        w->spare = (struct o3_sim_bytes){0};
        return spare;
    }
    bool is_alone = w->n_outputs == 1;
    size_t size = is_alone && n < O3_SIM_SPARE_BYTES ? O3_SIM_SPARE_BYTES : n;
    return (struct o3_sim_bytes){.p = malloc(size), .size = size};
}

/* The bytes that the last poll lent are no longer read. */
void o3_sim_outputs_give_back(struct o3_world *w) {
    if (w->lent.p && !w->spare.p && w->lent.size == O3_SIM_SPARE_BYTES)
        w->spare = w->lent;
    else
        free(w->lent.p);
    w->lent = (struct o3_sim_bytes){0};
}

void o3_sim_emit_data(struct o3_world *w, const struct o3_sim_request *rq, int64_t t, const char *bytes, size_t n) {
    /* Malformed: half of it, a streamed line still ending as one. */
    bool is_bad = n > 8 && o3_sim_in_force(w, O3_SIM_CHANGE_MALFORMED, t);
    bool is_line = n > 0 && bytes[n - 1] == '\n';
    struct o3_sim_output *o = n ? emit(w, rq, t, O3_WORLD_DATA) : NULL;
    if (!o) return;
    if (is_bad) n /= 2;
    o->owned = room_for(w, n);
    if (!o->owned.p) return;
    memcpy(o->owned.p, bytes, n);
    if (is_bad && is_line) o->owned.p[n - 1] = '\n';
    o->out.bytes = o->owned.p;
    o->out.n = n;
}

void o3_sim_emit_end(struct o3_world *w, const struct o3_sim_request *rq, int64_t t, bool is_cut) {
    emit(w, rq, t, is_cut ? O3_WORLD_ABORT : O3_WORLD_END);
}

void o3_sim_outputs_forget(struct o3_world *w, uint64_t id) {
    size_t kept = 0;
    for (size_t i = 0; i < w->n_outputs; i++) {
        struct o3_sim_output o = w->outputs[(w->first_output + i) % w->cap_outputs];
        if (o.out.id == id)
            free(o.owned.p);
        else
            w->outputs[(w->first_output + kept++) % w->cap_outputs] = o;
    }
    w->n_outputs = kept;
}

bool o3_sim_outputs_take(struct o3_world *w, struct o3_world_output *ret) {
    if (w->n_outputs == 0) return false;
    struct o3_sim_output o = w->outputs[w->first_output];
    w->first_output = (w->first_output + 1) % w->cap_outputs;
    w->n_outputs--;
    w->lent = o.owned;
    *ret = o.out;
    return true;
}

void o3_sim_outputs_free(struct o3_world *w) {
    for (size_t i = 0; i < w->n_outputs; i++)
        free(w->outputs[(w->first_output + i) % w->cap_outputs].owned.p);
    free(w->outputs);
    free(w->lent.p);
    free(w->spare.p);
}
