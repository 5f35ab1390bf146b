/* SPDX-License-Identifier: Apache-2.0 */
/* The public face: time, what happens next, the output queue, and the events in force. */
#include "o3/world.h"
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

/* ---- outputs ---- */

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
static void give_back(struct o3_world *w) {
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

/* ---- requests ---- */

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

/* ---- events ---- */

void o3_sim_kill_runner(struct o3_world *w, struct o3_sim_runner *r, int64_t t) {
    r->is_dead = true;
    o3_sim_cache_clear(w, r, false);
    for (size_t i = 0; i < w->n_requests;) {
        struct o3_sim_request *rq = w->requests[i];
        if (rq->runner == r && rq->stage != O3_SIM_LOADING) {
            o3_sim_work_break(w, rq, t);
            i = 0; /* the end of one may have started others */
        } else {
            i++;
        }
    }
}

static void kill_runners(struct o3_world *w, const char *model, int64_t t) {
    for (size_t i = 0; i < w->runners_end; i++) {
        struct o3_sim_runner *r = &w->runners[i];
        if (!r->is_used || !o3_sim_is_named(model, r->model.name)) continue;
        if (r->is_loading)
            o3_sim_sched_load_killed(w, r, t);
        else
            o3_sim_kill_runner(w, r, t);
    }
}

static void unload(struct o3_world *w, const char *model, int64_t t) {
    for (size_t i = 0; i < w->runners_end; i++) {
        struct o3_sim_runner *r = &w->runners[i];
        if (r->is_used && o3_sim_is_named(model, r->model.name)) o3_sim_sched_expire(w, r, t);
    }
}

/* A request may be known before the moment at which it comes. */
static bool is_there(const struct o3_sim_request *rq, int64_t t) {
    return rq->stage != O3_SIM_ARRIVED || rq->start_ns <= t;
}

static void restart(struct o3_world *w, int64_t t) {
    w->in_scheduler = NULL;
    for (size_t i = 0; i < w->n_requests;) {
        if (!is_there(w->requests[i], t)) {
            i++;
            continue;
        }
        o3_sim_emit_end(w, w->requests[i], t, true);
        o3_sim_remove(w, w->requests[i]);
    }
    for (size_t i = 0; i < w->runners_end; i++) {
        w->runners[i].is_end_by_api = false; /* whatever a request said about its end before */
        if (w->runners[i].is_used) o3_sim_sched_drop(w, &w->runners[i]);
    }
    w->started_ns = t;
}

static void cut_all(struct o3_world *w, int64_t t) {
    o3_sim_users_cut(w, t);
    for (size_t i = 0; i < w->n_requests; i++) {
        if (!is_there(w->requests[i], t)) continue;
        o3_sim_emit_end(w, w->requests[i], t, true);
        w->requests[i]->is_silent = true; /* what runs goes on until the runner notices */
    }
}

static void load_as_user(struct o3_world *w, const struct o3_sim_event *ev, int64_t t) {
    const struct o3_sim_model *m = o3_sim_library_find(w, ev->model);
    struct o3_sim_request *rq = m ? o3_sim_add_request(w, t) : NULL;
    if (!rq) return;
    rq->is_silent = true;
    rq->kind = O3_SIM_GENERATE;
    rq->is_load_only = true;
    rq->chance = o3_sim_key(w->params.seed, "load event", (uint64_t)ev->at_ns);
    rq->model = *m;
    rq->start_ns = t;
    rq->has_body = true;
    o3_str_copy(rq->body.model, sizeof rq->body.model, ev->model);
    rq->body.options.has[O3_SIM_NUM_CTX] = ev->num_ctx > 0;
    rq->body.options.number[O3_SIM_NUM_CTX] = (double)ev->num_ctx;
    rq->body.options.has[O3_SIM_NUM_BATCH] = ev->num_batch > 0;
    rq->body.options.number[O3_SIM_NUM_BATCH] = (double)ev->num_batch;
    o3_sim_launch_for(w, m, &rq->body, &rq->options, &rq->launch);
    o3_sim_sched_request(w, rq, t);
}

static void update_model(struct o3_world *w, const char *name, int64_t t) {
    struct o3_sim_model *m = o3_sim_library_find(w, name);
    if (!m) return;
    m->revision++;
    m->modified_wall_ms = w->params.start_wall_ms + t / O3_NS_PER_MS;
    o3_sim_model_redigest(m);
    o3_buf_clear(&w->tags_text);
}

/* Lost while any event says so. One that is not seen is looked up when it matters. */
static void settle_gpu(struct o3_world *w, int64_t t) {
    bool is_lost = false;
    for (size_t i = 0; i < w->n_events; i++) {
        const struct o3_sim_event *ev = &w->events[i];
        is_lost |= ev->change == O3_SIM_CHANGE_GPU_LOST && !ev->is_unseen && ev->at_ns <= t && t < ev->until_ns;
    }
    if (w->is_gpu_lost == is_lost) return;
    w->is_gpu_lost = is_lost;
    if (is_lost) kill_runners(w, "", t);
}

static void act(struct o3_world *w, size_t i, int64_t t) {
    const struct o3_sim_event *ev = &w->events[i];
    w->event_next_ns[i] = INT64_MAX;
    switch (ev->change) {
    case O3_SIM_CHANGE_REFUSE:
        cut_all(w, t);
        break;
    case O3_SIM_CHANGE_UNLOAD:
        unload(w, ev->model, t);
        break;
    case O3_SIM_CHANGE_LOAD:
        load_as_user(w, ev, t);
        break;
    case O3_SIM_CHANGE_UPDATE:
        update_model(w, ev->model, t);
        break;
    case O3_SIM_CHANGE_RUNNER_KILLED:
        kill_runners(w, ev->model, t);
        break;
    case O3_SIM_CHANGE_GPU_LOST:
        settle_gpu(w, t);
        if (t < ev->until_ns) w->event_next_ns[i] = ev->until_ns;
        break;
    case O3_SIM_CHANGE_VERSION:
        o3_sim_profile_set(&w->profile, ev->version);
        o3_buf_clear(&w->tags_text);
        restart(w, t);
        break;
    case O3_SIM_CHANGE_RESTART:
        restart(w, t);
        break;
    case O3_SIM_CHANGE_DECODE:
    case O3_SIM_CHANGE_PREFILL:
    case O3_SIM_CHANGE_LOAD_TIME:
    case O3_SIM_CHANGE_TTFT:
    case O3_SIM_CHANGE_NOISE:
    case O3_SIM_CHANGE_HTTP:
    case O3_SIM_CHANGE_HANG:
    case O3_SIM_CHANGE_FREEZE:
    case O3_SIM_CHANGE_TRUNCATE:
    case O3_SIM_CHANGE_MALFORMED:
    case O3_SIM_CHANGE_LOAD_EFFECT:
    case O3_SIM_CHANGE_WARM_UP:
    case O3_SIM_CHANGE_DAILY:
    case O3_SIM_CHANGE_DECAY:
    case O3_SIM_CHANGE_THERMAL:
    case O3_SIM_CHANGE_AMBIENT:
    case O3_SIM_CHANGE_QUOTA:
    case O3_SIM_CHANGE_NEIGHBOUR:
    case O3_SIM_CHANGE_TENANT:
    case O3_SIM_CHANGE_MEMORY_LIMIT:
    case O3_SIM_CHANGE_OOM_LOAD:
    case O3_SIM_CHANGE_OOM_FILL:
    case O3_SIM_CHANGE_SLOW_DISK:
        break; /* looked up when they matter */
    }
}

static bool acts_by_itself(enum o3_sim_change c) {
    return c == O3_SIM_CHANGE_REFUSE || c == O3_SIM_CHANGE_UNLOAD || c == O3_SIM_CHANGE_LOAD ||
           c == O3_SIM_CHANGE_UPDATE || c == O3_SIM_CHANGE_RUNNER_KILLED || c == O3_SIM_CHANGE_GPU_LOST ||
           c == O3_SIM_CHANGE_VERSION || c == O3_SIM_CHANGE_RESTART;
}

/* The column of the last word that ends so: a model may be called like what happens to it. */
static uint32_t column_of(const char *line, const char *name) {
    const char *last = NULL;
    for (const char *p = line; (p = strstr(p, name)); p++)
        last = p;
    return last ? (uint32_t)(last - line) + 1 : 1;
}

int o3_world_add_event(struct o3_world *w, const char *line, struct o3_err *e) {
    struct o3_sim_event ev;
    int r = o3_sim_event_parse(line, 1, &ev, e);
    if (r < 0) return r;
    if (w->n_events == O3_SIM_MAX_EVENTS) return o3_err_set(e, O3_E_LIMIT, "more than %d events", O3_SIM_MAX_EVENTS);
    if (ev.model[0] && (r = o3_world_check_model(w, ev.model, e)) < 0) {
        if (e) e->line = 1;
        if (e) e->col = column_of(line, ev.model);
        return r;
    }
    /* In order of time, those of one moment in the order given: percentages apply one after another. */
    size_t at = w->n_events++;
    for (; at > 0 && w->events[at - 1].at_ns > ev.at_ns; at--) {
        w->events[at] = w->events[at - 1];
        w->event_next_ns[at] = w->event_next_ns[at - 1];
    }
    w->events[at] = ev;
    w->event_next_ns[at] = acts_by_itself(ev.change) ? ev.at_ns : INT64_MAX;
    o3_sim_events_changed(w);
    return 0;
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
        act(w, d.event - 1, d.at_ns);
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
    for (size_t i = 0; i < w->n_requests; i++)
        free_request(w, w->requests[i]);
    for (size_t i = 0; i < w->n_spare_requests; i++) {
        o3_buf_done(&w->spare_requests[i]->reply);
        free(w->spare_requests[i]);
    }
    for (size_t i = 0; i < w->runners_end; i++)
        if (w->runners[i].is_used) o3_sim_sched_drop(w, &w->runners[i]);
    for (size_t i = 0; i < w->n_outputs; i++)
        free(w->outputs[(w->first_output + i) % w->cap_outputs].owned.p);
    o3_sim_bodies_done(&w->bodies);
    o3_sim_users_free(w);
    free(w->outputs);
    free(w->requests);
    free(w->events);
    free(w->event_next_ns);
    free(w->models);
    free(w->lent.p);
    free(w->spare.p);
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

static void forget_outputs(struct o3_world *w, uint64_t id) {
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

void o3_world_disconnect(struct o3_world *w, int64_t mono_ns, uint64_t id) {
    advance(w, mono_ns);
    forget_outputs(w, id);
    for (size_t i = 0; i < w->n_requests; i++)
        if (w->requests[i]->id == id) {
            o3_sim_leave(w, w->requests[i], w->now_ns);
            return;
        }
}

bool o3_world_poll(struct o3_world *w, int64_t mono_ns, struct o3_world_output *ret) {
    give_back(w);
    while (w->n_outputs == 0 && step(w, mono_ns))
        ;
    if (w->n_outputs == 0) {
        if (mono_ns > w->now_ns) w->now_ns = mono_ns;
        return false;
    }
    struct o3_sim_output o = w->outputs[w->first_output];
    w->first_output = (w->first_output + 1) % w->cap_outputs;
    w->n_outputs--;
    w->lent = o.owned;
    *ret = o.out;
    return true;
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
