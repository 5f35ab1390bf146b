/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler: a request whose model is loaded with fitting options goes straight to its runner. Every other one
 * joins a queue that is served one request at a time: wait for what must be unloaded, unload, load, next. */
#include <stdio.h>
#include <string.h>
#include "sim/sim.h"

static bool is_same_blob(const struct o3_sim_model *a, const struct o3_sim_model *b) {
    return a->weights == b->weights && a->revision == b->revision;
}

static struct o3_sim_launch_input launch_input(const struct o3_world *w, const struct o3_sim_weights *m) {
    return (struct o3_sim_launch_input){.profile = &w->profile,
                                        .weights = m,
                                        .has_gpu = o3_sim_is_gpu(w),
                                        .vram_bytes = w->params.vram_bytes,
                                        .parallel = m->can_complete ? w->params.parallel : 1};
}

void o3_sim_launch_for(const struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_body *b,
                       struct o3_sim_options *options, struct o3_sim_launch *ret) {
    *options = m->options;
    o3_sim_options_merge(options, &b->options);
    struct o3_sim_launch_input in = launch_input(w, m->weights);
    in.options = options;
    in.shift = !b->no_shift;
    o3_sim_launch_decide(&in, ret);
}

struct o3_sim_runner *o3_sim_sched_find(struct o3_world *w, const struct o3_sim_model *m) {
    for (size_t i = 0; i < w->runners_end; i++)
        if (w->runners[i].is_used && is_same_blob(&w->runners[i].model, m)) return &w->runners[i];
    return NULL;
}

/* A runner for the launch, placed as fits at t. */
static struct o3_sim_runner *start(struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_launch *l,
                                   int64_t t) {
    struct o3_sim_runner *r = NULL;
    for (size_t i = O3_SIM_MAX_RUNNERS; i-- > 0;)
        if (!w->runners[i].is_used) r = &w->runners[i];
    O3_ASSERT(r); /* at most three are loaded */
    if (w->runners_end <= (size_t)(r - w->runners)) w->runners_end = (size_t)(r - w->runners) + 1;
    struct o3_sim_fit fit;
    o3_sim_fit(w, m, l, t, &fit);
    memset(r, 0, sizeof *r); /* no second runner on the stack */
    r->is_used = true;
    r->model = *m;
    r->launch = *l;
    r->serial = ++w->last_serial;
    r->session_ns = w->params.keep_alive_ms < 0 ? INT64_MAX : w->params.keep_alive_ms * O3_NS_PER_MS;
    r->size_bytes = fit.size_bytes;
    r->vram_bytes = fit.vram_bytes;
    r->overhead_bytes = fit.overhead_bytes;
    r->load_factor = o3_sim_load_factor(w, m, t);
    o3_sim_load_count(w, m);
    return r;
}

static void count_load(struct o3_world *w, const struct o3_sim_runner *r) {
    w->truth.n_loads++;
    w->truth.n_spilled_loads += o3_sim_is_gpu(w) && r->launch.num_gpu < 0 && r->vram_bytes < r->size_bytes;
}

void o3_sim_sched_drop(struct o3_world *w, struct o3_sim_runner *r) {
    if (!r->is_loading) w->truth.n_unloads++;
    if (r->busy_slots > 0) {
        o3_sim_heat_settle(w, w->now_ns);
        w->n_busy_runners--;
        o3_sim_heat_settle(w, w->now_ns);
    }
    o3_sim_cache_clear(w, r, r->is_end_by_api);
    *r = (struct o3_sim_runner){0};
}

static void set_session(const struct o3_sim_request *rq, struct o3_sim_runner *r) {
    if (!rq->body.has_keep_alive) return;
    r->session_ns = rq->body.keep_alive_ns;
    r->is_end_by_api = !rq->user;
}

static void use(struct o3_world *w, struct o3_sim_request *rq, struct o3_sim_runner *r, int64_t t) {
    r->refs++;
    rq->runner = r;
    set_session(rq, r);
    o3_sim_work_ready(w, rq, t);
}

static bool fits(const struct o3_world *w, const struct o3_sim_runner *r, const struct o3_sim_request *rq) {
    return !r->is_loading && !r->is_dead && !o3_sim_needs_reload(&r->launch, &rq->launch, &w->profile);
}

void o3_sim_sched_request(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_runner *r = o3_sim_sched_find(w, &rq->model);
    if (r && fits(w, r, rq)) {
        use(w, rq, r, t);
        return;
    }
    int n_waiting = 0;
    for (size_t i = 0; i < w->n_requests; i++)
        n_waiting += w->requests[i]->stage == O3_SIM_PENDING && w->requests[i] != w->in_scheduler;
    if (w->in_scheduler && n_waiting >= w->params.max_queue) {
        o3_sim_reply_error(w, rq, t, 503, "server busy, please try again.  maximum pending requests exceeded");
        return;
    }
    rq->stage = O3_SIM_PENDING;
    rq->has_queued = true;
    rq->next_ns = INT64_MAX;
    rq->queue_serial = ++w->last_serial;
    o3_sim_sched_run(w, t);
}

static struct o3_sim_request *take_pending(struct o3_world *w) {
    struct o3_sim_request *first = NULL;
    for (size_t i = 0; i < w->n_requests; i++) {
        struct o3_sim_request *rq = w->requests[i];
        if (rq->stage == O3_SIM_PENDING && (!first || rq->queue_serial < first->queue_serial)) first = rq;
    }
    return first;
}

/* Idle ones first, then the one whose session is the shortest. */
static struct o3_sim_runner *pick_victim(struct o3_world *w) {
    struct o3_sim_runner *best = NULL;
    for (size_t i = 0; i < w->runners_end; i++) {
        struct o3_sim_runner *r = &w->runners[i];
        if (!r->is_used) continue;
        bool better = !best || (r->refs == 0) > (best->refs == 0) ||
                      ((r->refs == 0) == (best->refs == 0) && r->session_ns < best->session_ns);
        if (better) best = r;
    }
    return best;
}

static int n_loaded(const struct o3_world *w) {
    int n = 0;
    for (size_t i = 0; i < w->runners_end; i++)
        n += w->runners[i].is_used;
    return n;
}

static void fail_out_of_memory(const struct o3_world *w, struct o3_sim_request *rq) {
    const struct o3_sim_weights *m = rq->model.weights;
    struct o3_sim_memory_rules u = o3_sim_memory_rules(o3_sim_is_gpu(w));
    int64_t kv = o3_sim_kv_bytes(&u, m, &rq->launch, m->can_complete ? w->params.parallel : 1);
    rq->is_failing_load = true;
    if (!w->profile.has_child_server) { /* it looks before it loads */
        struct o3_sim_fit fit;
        o3_sim_fit(w, &rq->model, &rq->launch, w->now_ns, &fit);
        snprintf(rq->load_error, sizeof rq->load_error,
                 "model requires more system memory (%.1f GiB) than is available (%.1f GiB)",
                 (double)fit.size_bytes / (double)O3_SIM_GIB, (double)w->params.ram_bytes / (double)O3_SIM_GIB);
        return;
    }
    snprintf(
        rq->load_error, sizeof rq->load_error,
        "llama-server process has terminated: exit status 1: ggml_aligned_malloc: insufficient memory (attempted to "
        "allocate %lld.%02lld MB)\nggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size "
        "%lld\nalloc_tensor_range: failed to allocate CPU buffer of size %lld\nllama_init_from_model: failed to "
        "initialize the context: failed to allocate buffer for kv cache",
        (long long)(kv / O3_SIM_MIB), (long long)(kv % O3_SIM_MIB * 100 / O3_SIM_MIB), (long long)kv, (long long)kv);
}

static void fail_by_batch(const struct o3_world *w, struct o3_sim_request *rq) {
    if (rq->launch.is_batch_automatic || !w->profile.has_child_server) return;
    const char *text = NULL;
    if (rq->launch.num_batch == 1)
        text = "llama-server process has terminated: GGML_ASSERT(n_tokens_all <= cparams.n_batch) failed: "
               "GGML_ASSERT(n_tokens_all <= cparams.n_batch) failed";
    else if (rq->launch.num_batch > INT32_MAX)
        text = "llama-server process has terminated: exit status 1";
    if (!text) return;
    rq->is_failing_load = true;
    o3_str_copy(rq->load_error, sizeof rq->load_error, text);
}

static void begin_load(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    fail_by_batch(w, rq);
    struct o3_sim_runner *r = start(w, &rq->model, &rq->launch, t);
    r->is_loading = true;
    set_session(rq, r);
    rq->runner = r;
    rq->has_loaded = true;
    rq->stage = O3_SIM_LOADING;
    rq->next_ns = t + o3_sim_load_time_ns(w, rq, t);
}

/* Marks the victim to go; true when it is gone. cause: NULL when its time is up. */
static bool evict(struct o3_world *w, struct o3_sim_runner *victim, const struct o3_sim_request *cause) {
    victim->session_ns = 0;
    if (cause) victim->is_end_by_api = !cause->user;
    if (victim->refs > 0) return false;
    o3_sim_sched_drop(w, victim);
    return true;
}

/* true when nothing is loaded any more. */
static bool evict_all(struct o3_world *w, const struct o3_sim_request *cause) {
    bool is_done = true;
    for (size_t i = 0; i < w->runners_end; i++)
        if (w->runners[i].is_used && !evict(w, &w->runners[i], cause)) is_done = false;
    return is_done;
}

static bool lower_context(const struct o3_world *w, struct o3_sim_request *rq) {
    struct o3_sim_launch_input in = launch_input(w, rq->model.weights);
    return o3_sim_launch_lower(&in, &rq->launch);
}

/* The load would run out of memory: the server unloads everything else, then lowers a context that nobody asked for,
 * then gives up. true when the load may begin. */
static bool out_of_memory(struct o3_world *w, struct o3_sim_request *rq) {
    rq->has_oomed = true;
    if (n_loaded(w) > 0) {
        rq->is_evicting_all = true;
        return false;
    }
    if (lower_context(w, rq)) return false;
    fail_out_of_memory(w, rq);
    return true;
}

/* Makes room for the request; true when it may load now, false when something must end first. */
static bool make_room(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const int max_loaded = 3;
    for (;;) {
        if (rq->is_evicting_all && !evict_all(w, rq)) return false;
        rq->is_evicting_all = false;
        struct o3_sim_runner *victim = o3_sim_sched_find(w, &rq->model);
        if (victim) rq->has_reloaded = true;
        if (victim && victim->is_dead)
            rq->has_revived = !o3_sim_needs_reload(&victim->launch, &rq->launch, &w->profile);
        struct o3_sim_fit fit;
        o3_sim_fit(w, &rq->model, &rq->launch, t, &fit);
        int n = n_loaded(w);
        if (!victim && (n >= max_loaded || (n > 0 && !fit.is_full_gpu))) victim = pick_victim(w);
        if (victim) {
            if (!evict(w, victim, rq)) return false;
        } else if (fit.has_room || out_of_memory(w, rq)) {
            return true;
        }
    }
}

void o3_sim_sched_run(struct o3_world *w, int64_t t) {
    while (!w->in_scheduler || w->in_scheduler->stage == O3_SIM_PENDING) {
        struct o3_sim_request *rq = w->in_scheduler ? w->in_scheduler : take_pending(w);
        if (!rq) return;
        w->in_scheduler = rq;
        struct o3_sim_runner *r = o3_sim_sched_find(w, &rq->model);
        if (r && fits(w, r, rq)) {
            w->in_scheduler = NULL;
            use(w, rq, r, t);
            continue;
        }
        if (!make_room(w, rq, t)) return;
        begin_load(w, rq, t);
    }
}

void o3_sim_sched_loaded(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_runner *r = rq->runner;
    w->in_scheduler = NULL;
    rq->runner = NULL;
    w->truth.n_ooms += rq->has_oomed;
    if (rq->is_failing_load) {
        o3_sim_sched_drop(w, r);
        o3_sim_reply_error(w, rq, t, 500, rq->load_error);
    } else {
        r->is_loading = false;
        count_load(w, r);
        w->truth.n_api_loads += !rq->is_silent;
        w->truth.n_api_revivals += !rq->is_silent && rq->has_revived;
        w->truth.n_reloads += rq->has_reloaded;
        use(w, rq, r, t);
    }
    o3_sim_sched_run(w, t);
}

void o3_sim_sched_load_killed(struct o3_world *w, const struct o3_sim_runner *r, int64_t t) {
    struct o3_sim_request *rq = w->in_scheduler;
    if (!rq || rq->runner != r || rq->stage != O3_SIM_LOADING) return;
    rq->is_failing_load = true;
    rq->next_ns = t;
    snprintf(rq->load_error, sizeof rq->load_error, "%s process has terminated: signal: killed",
             w->profile.has_child_server ? "llama-server" : "llama runner");
}

static int64_t later(int64_t t, int64_t by) {
    return by == INT64_MAX || t > INT64_MAX - by ? INT64_MAX : t + by;
}

void o3_sim_sched_release(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_runner *r = rq->runner;
    rq->runner = NULL;
    if (!r || --r->refs > 0) return;
    r->has_ended = true;
    r->ended_ns = t;
    if (r->session_ns <= 0) {
        o3_sim_sched_drop(w, r);
    } else {
        r->expires_ns = later(t, r->session_ns);
        r->expires_shift_ms = w->clock_shift_ms;
    }
    o3_sim_sched_run(w, t);
}

void o3_sim_sched_forget(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (rq->stage == O3_SIM_LOADING) {
        o3_sim_sched_drop(w, rq->runner);
        rq->runner = NULL;
    }
    rq->stage = O3_SIM_DRAIN;
    if (w->in_scheduler == rq) w->in_scheduler = NULL;
    o3_sim_sched_run(w, t);
}

void o3_sim_sched_expire(struct o3_world *w, struct o3_sim_runner *r, int64_t t) {
    if (r->is_loading || !evict(w, r, NULL)) return;
    o3_sim_sched_run(w, t);
}

int o3_sim_sched_preload(struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_body *b, int64_t t) {
    if (w->in_scheduler) return O3_E_LIMIT; /* a load is under way */
    struct o3_sim_request rq = {.model = *m};
    o3_sim_launch_for(w, m, b, &rq.options, &rq.launch);
    if (!make_room(w, &rq, t) || rq.is_failing_load) return O3_E_LIMIT;
    struct o3_sim_runner *r = start(w, m, &rq.launch, t);
    r->has_ended = true;
    r->ended_ns = t;
    r->expires_ns = later(t, r->session_ns);
    count_load(w, r);
    return 0;
}
