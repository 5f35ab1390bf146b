/* SPDX-License-Identifier: Apache-2.0 */
/* The public face: time, and what happens next. */
#include "o3/world.h"
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

/* ---- small helpers ---- */

void o3_sim_wall(const struct o3_world *w, int64_t t, int64_t *ret_s, int64_t *ret_ns) {
    int64_t s = (w->params.start_wall_ms + w->clock_shift_ms) / O3_MS_PER_S + t / O3_NS_PER_S;
    int64_t ns = w->params.start_wall_ms % O3_MS_PER_S * O3_NS_PER_MS + t % O3_NS_PER_S;
    if (ns < 0) {
        s--;
        ns += O3_NS_PER_S;
    }
    *ret_s = s + ns / O3_NS_PER_S;
    *ret_ns = ns % O3_NS_PER_S;
}

bool o3_sim_is_gpu(const struct o3_world *w) {
    return w->params.has_gpu && !w->is_gpu_lost;
}

/* ---- one thing after the other ---- */

static void arrive(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    w->truth.n_requests++;
    if (o3_sim_in_force(w, O3_SIM_CHANGE_REFUSE, t)) {
        o3_sim_emit_end(w, rq, t, true);
        o3_sim_remove(w, rq);
        return;
    }
    const struct o3_sim_event *http = o3_sim_in_force(w, O3_SIM_CHANGE_HTTP, t);
    if (http) {
        o3_sim_reply_error(w, rq, t, (int)http->value, "the simulated server is in trouble");
        return;
    }
    if (rq->n_bytes > O3_SIM_MAX_BODY) {
        o3_sim_reply_error(w, rq, t, 413, "http: request body too large");
        return;
    }
    o3_sim_route(w, rq, t);
}

static bool is_on_runner(const struct o3_sim_request *rq) {
    return rq->stage != O3_SIM_ARRIVED && rq->stage != O3_SIM_REPLYING && rq->stage != O3_SIM_DRAIN;
}

/* While something hangs, what is due waits for its end. */
static bool is_held(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_event *ev = o3_sim_in_force(w, O3_SIM_CHANGE_FREEZE, t);
    if (!ev && is_on_runner(rq)) ev = o3_sim_in_force(w, O3_SIM_CHANGE_HANG, t);
    if (!ev) return false;
    rq->next_ns = ev->until_ns;
    return true;
}

static void step_request(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (is_held(w, rq, t)) return;
    if (rq->stage == O3_SIM_ARRIVED)
        arrive(w, rq, t);
    else if (rq->stage == O3_SIM_REPLYING)
        o3_sim_answer(w, rq, t, rq->status, rq->content_type);
    else if (rq->stage == O3_SIM_LOADING)
        o3_sim_sched_loaded(w, rq, t);
    else
        o3_sim_work_step(w, rq, t);
}

static int64_t expiry_of(const struct o3_sim_runner *r) {
    return r->is_used && !r->is_loading && r->refs == 0 && r->has_ended ? r->expires_ns : INT64_MAX;
}

/* Of things at one moment events come first, then expiries, then what users do, then requests in order of arrival. */
static struct o3_sim_due find_due(const struct o3_world *w) {
    struct o3_sim_due d = {.at_ns = INT64_MAX};
    for (size_t i = 0; i < w->n_events; i++)
        if (w->event_next_ns[i] < d.at_ns) d = (struct o3_sim_due){.at_ns = w->event_next_ns[i], .event = i + 1};
    for (size_t i = 0; i < w->runners_end; i++) {
        int64_t t = expiry_of(&w->runners[i]);
        if (t < d.at_ns) d = (struct o3_sim_due){.at_ns = t, .runner = i + 1};
    }
    if (w->users && w->users_next_ns < d.at_ns) d = (struct o3_sim_due){.at_ns = w->users_next_ns, .is_users = true};
    for (size_t i = 0; i < w->n_requests; i++)
        if (w->requests[i]->next_ns < d.at_ns)
            d = (struct o3_sim_due){.at_ns = w->requests[i]->next_ns, .request = w->requests[i]};
    return d;
}

/* Lets the next thing happen if it is due by `limit_ns`. */
static bool step(struct o3_world *w, int64_t limit_ns) {
    if (!w->is_due_known) w->due = find_due(w);
    w->is_due_known = w->due.at_ns == INT64_MAX || w->due.at_ns > limit_ns;
    if (w->is_due_known) return false;
    struct o3_sim_due d = w->due;
    if (d.at_ns > w->now_ns) w->now_ns = d.at_ns;
    o3_sim_force_refresh(w, d.at_ns);
    if (d.event)
        o3_sim_act(w, d.event - 1, d.at_ns);
    else if (d.runner)
        o3_sim_sched_expire(w, &w->runners[d.runner - 1], d.at_ns);
    else if (d.is_users)
        o3_sim_users_step(w, d.at_ns);
    else
        step_request(w, d.request, d.at_ns);
    return true;
}

static void advance(struct o3_world *w, int64_t t) {
    while (step(w, t))
        ;
    if (t > w->now_ns) w->now_ns = t;
}

/* ---- public ---- */

static void set_defaults(struct o3_world_params *p) {
    if (p->vram_bytes <= 0) p->vram_bytes = 24 * O3_SIM_GIB;
    if (p->ram_bytes <= 0) p->ram_bytes = 32 * O3_SIM_GIB;
    if (p->noise_cv < 0) p->noise_cv = 0.03;
    if (p->parallel <= 0) p->parallel = 1;
    if (p->cores <= 0) p->cores = 8;
    if (p->parallel > O3_SIM_MAX_SLOTS) p->parallel = O3_SIM_MAX_SLOTS;
    if (p->max_queue <= 0) p->max_queue = 512;
    if (p->keep_alive_ms == 0) p->keep_alive_ms = 5 * 60 * O3_MS_PER_S;
    if (p->keep_alive_ms > INT64_MAX / O3_NS_PER_MS) p->keep_alive_ms = -1;
}

struct o3_world *o3_world_new(const struct o3_world_params *p) {
    struct o3_world *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->params = *p;
    o3_buf_init(&w->line, O3_SIM_MAX_REPLY);
    set_defaults(&w->params);
    o3_buf_init(&w->ps_text, O3_SIM_MAX_REPLY);
    o3_buf_init(&w->tags_text, O3_SIM_MAX_REPLY);
    for (size_t i = 0; i < O3_SIM_MAX_RUNNERS; i++) {
        o3_buf_init(&w->ps_entries[i].head, O3_SIM_MAX_REPLY);
        o3_buf_init(&w->ps_entries[i].expiry, O3_SIM_MAX_REPLY);
        o3_buf_init(&w->ps_entries[i].tail, O3_SIM_MAX_REPLY);
    }
    o3_sim_profile_set(&w->profile, p->version ? p->version : "0.32.15");
    w->params.version = NULL; /* the caller's */
    o3_sim_name_gpu(w);
    w->events = calloc(O3_SIM_MAX_EVENTS, sizeof *w->events);
    w->event_next_ns = calloc(O3_SIM_MAX_EVENTS, sizeof *w->event_next_ns);
    if (!w->events || !w->event_next_ns || o3_sim_library_fill(w, p->has_recorded_models) < 0) {
        o3_world_free(w);
        return NULL;
    }
    return w;
}

void o3_world_free(struct o3_world *w) {
    if (!w) return;
    o3_sim_requests_free(w);
    for (size_t i = 0; i < w->runners_end; i++)
        if (w->runners[i].is_used) o3_sim_sched_drop(w, &w->runners[i]);
    o3_sim_outputs_free(w);
    o3_sim_bodies_done(&w->bodies);
    o3_sim_users_free(w);
    free(w->events);
    free(w->event_next_ns);
    free(w->models);
    o3_buf_done(&w->ps_text);
    o3_buf_done(&w->tags_text);
    o3_buf_done(&w->line);
    for (size_t i = 0; i < w->runners_end; i++) {
        o3_buf_done(&w->ps_entries[i].head);
        o3_buf_done(&w->ps_entries[i].expiry);
        o3_buf_done(&w->ps_entries[i].tail);
    }
    free(w);
}

int o3_world_preload(struct o3_world *w, const char *model, int64_t num_ctx, int64_t mono_ns, struct o3_err *e) {
    advance(w, mono_ns);
    int r = o3_world_check_model(w, model, e);
    if (r < 0) return r;
    const struct o3_sim_model *m = o3_sim_library_find(w, model);
    if (m->weights->remote_host)
        return o3_err_set(e, O3_E_CONFIG, "model \"%s\" runs elsewhere and is never loaded", model);
    struct o3_sim_body body = {0};
    body.options.has[O3_SIM_NUM_CTX] = num_ctx > 0;
    body.options.number[O3_SIM_NUM_CTX] = (double)num_ctx;
    r = o3_sim_sched_preload(w, m, &body, w->now_ns);
    w->is_due_known = false;
    return r < 0 ? o3_err_set(e, r, "model \"%s\" does not fit into the memory of the simulated machine", model) : 0;
}

/* No place for one more. */
static void turn_away(struct o3_world *w, uint64_t id, int64_t t) {
    struct o3_sim_request none = {.id = id};
    o3_sim_emit_end(w, &none, t, true);
}

uint64_t o3_world_request(struct o3_world *w, int64_t mono_ns, const char *method, const char *path, const char *body,
                          size_t n) {
    uint64_t id = ++w->last_id;
    int64_t t = mono_ns > w->now_ns ? mono_ns : w->now_ns;
    struct o3_sim_request *rq = o3_sim_add_request(w, t);
    if (!rq) {
        turn_away(w, id, t);
        return id;
    }
    rq->id = id;
    rq->chance = o3_sim_key(w->params.seed, "api", ++w->n_api_requests);
    bool fits = o3_str_copy(rq->method, sizeof rq->method, method) && o3_str_copy(rq->path, sizeof rq->path, path);
    if (!fits) o3_str_copy(rq->path, sizeof rq->path, "?"); /* none of ours */
    rq->n_bytes = body ? n : 0;
    if (rq->n_bytes == 0 || rq->n_bytes > O3_SIM_MAX_BODY) return id;
    rq->bytes = malloc(rq->n_bytes);
    if (rq->bytes)
        memcpy(rq->bytes, body, rq->n_bytes);
    else
        rq->n_bytes = 0;
    return id;
}

void o3_world_disconnect(struct o3_world *w, int64_t mono_ns, uint64_t id) {
    advance(w, mono_ns);
    o3_sim_outputs_forget(w, id);
    for (size_t i = 0; i < w->n_requests; i++)
        if (w->requests[i]->id == id) {
            o3_sim_leave(w, w->requests[i], w->now_ns);
            return;
        }
}

bool o3_world_advance(struct o3_world *w, int64_t mono_ns) {
    while (w->n_outputs == 0 && step(w, mono_ns))
        ;
    if (w->n_outputs == 0 && mono_ns > w->now_ns) w->now_ns = mono_ns;
    return w->n_outputs > 0;
}

bool o3_world_poll(struct o3_world *w, int64_t mono_ns, struct o3_world_output *ret) {
    o3_sim_outputs_give_back(w);
    return o3_world_advance(w, mono_ns) && o3_sim_outputs_take(w, ret);
}

int64_t o3_world_next_ns(const struct o3_world *w) {
    if (w->n_outputs > 0) return w->outputs[w->first_output].out.mono_ns;
    return w->is_due_known ? w->due.at_ns : find_due(w).at_ns;
}

void o3_world_jump_clock(struct o3_world *w, int64_t mono_ns, int64_t by_ms) {
    advance(w, mono_ns);
    w->clock_shift_ms += by_ms / O3_MS_PER_S * O3_MS_PER_S;
}

size_t o3_world_runner_ports(const struct o3_world *w, uint16_t *out, size_t max) {
    enum { FIRST = 40000, N = 20000 };
    size_t n = 0;
    for (size_t i = 0; i < w->runners_end && n < max; i++)
        if (w->runners[i].is_used && !w->runners[i].is_dead) out[n++] = (uint16_t)(FIRST + w->runners[i].serial % N);
    return n;
}

int64_t o3_world_next_edge_ns(const struct o3_world *w, int64_t mono_ns) {
    return o3_sim_next_edge(w, mono_ns);
}

void o3_world_truth(const struct o3_world *w, int64_t mono_ns, struct o3_world_truth *ret) {
    *ret = w->truth;
    ret->n_loaded = 0;
    for (size_t i = 0; i < w->runners_end; i++)
        ret->n_loaded += w->runners[i].is_used && !w->runners[i].is_loading;
    ret->n_active_requests = (int)w->n_requests;
    ret->decode_factor = o3_sim_rate(w, O3_SIM_CHANGE_DECODE, "", 1, mono_ns);
}
