/* SPDX-License-Identifier: Apache-2.0 */
/* Events that act by themselves at their time: restarts, loads, kills, updates. */
#include <string.h>
#include "sim/sim.h"

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

void o3_sim_act(struct o3_world *w, size_t i, int64_t t) {
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
