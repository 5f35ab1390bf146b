/* SPDX-License-Identifier: Apache-2.0 */
/* How long things take on the simulated machine. Decoding follows the bytes that a step reads, prefill the arithmetic;
 * where the two tell a runner's speed from the machine's, the figures of the library hold for a whole, cool,
 * undisturbed machine. */
#include <math.h>
#include <string.h>
#include "o3/num.h"
#include "sim/sim.h"

#define US 1000LL
#define DAY_S 86400.0

/* Nothing takes longer than 30 years, however many events multiply. */
static double bounded(double s) {
    const double most = 1e9;
    return s < most ? s : most;
}

static int64_t whole_us(double s) {
    s = bounded(s);
    int64_t v = (int64_t)(s * 1e6 + 0.5) * US;
    return v > US ? v : US;
}

/* ---- the processor ---- */

/* Threads that wait for each other at every step: with a core too few all wait for the slowest. Measured: 8 threads on
 * a quota of 4 cores ran at 1/45 of the speed of 4 threads; beside neighbours that took half of each core 1/38 of a
 * small and 1/275 of a tiny model was left. */
static double convoy(double threads, double usable_cores) {
    const double log_45 = 3.8066624897703196, most = 1.5;
    double excess = threads / usable_cores - 1;
    if (excess <= 1e-9) return 1;
    return o3_exp(-log_45 * (excess < most ? excess : most));
}

double o3_sim_threads(const struct o3_world *w, const struct o3_sim_runner *r) {
    return r->launch.num_thread > 0 ? (double)r->launch.num_thread : (double)w->params.cores;
}

struct cpu_speed {
    double decode, prefill;
};

/* Decoding is bound by the memory, which half of the cores exhaust; prefill by all the arithmetic there is. */
static struct cpu_speed cpu_speed(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t) {
    double cores = w->params.cores, usable = cores;
    double threads = o3_sim_threads(w, r);
    const struct o3_sim_event *quota = o3_sim_in_force(w, O3_SIM_CHANGE_QUOTA, t);
    if (quota && quota->value < usable) usable = quota->value;
    const struct o3_sim_event *other = o3_sim_in_force(w, O3_SIM_CHANGE_NEIGHBOUR, t);
    if (other && !w->params.has_gpu) usable *= 1 - other->value;
    double c = convoy(threads, usable);
    return (struct cpu_speed){fmin(1, threads / (cores / 2)) * c, fmin(1, threads / cores) * c};
}

/* ---- where the layers are ---- */

/* Published: one layer of 49 off the GPU took decoding from 85.5 to 52.0 tok/s, that is 0.64 of a whole step more, of
 * which that layer at a sixth of the speed explains 5/49. The rest is the price of going to the CPU and back. */
static const double CPU_SLOWNESS = 6, SPLIT_COST = 85.5 / 52.0 - 1 - 5.0 / 49;

static double on_gpu(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t) {
    const struct o3_sim_event *lost = o3_sim_in_force(w, O3_SIM_CHANGE_GPU_LOST, t);
    if (lost && lost->is_unseen) return 0;
    return (double)r->vram_bytes / (double)r->size_bytes;
}

double o3_sim_cpu_share(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t) {
    return w->params.has_gpu ? 1 - on_gpu(w, r, t) : 1;
}

/* Factors on the time of a step. */
static void placement(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t, double *ret_decode,
                      double *ret_prefill) {
    struct cpu_speed cpu = cpu_speed(w, r, t);
    *ret_decode = 1 / cpu.decode;
    *ret_prefill = 1 / cpu.prefill;
    if (!w->params.has_gpu) return;
    double gpu = on_gpu(w, r, t), split = gpu > 0 && gpu < 1 ? SPLIT_COST : 0;
    const struct o3_sim_event *other = o3_sim_in_force(w, O3_SIM_CHANGE_NEIGHBOUR, t);
    double left = other ? 1 - other->value : 1; /* a GPU is shared by time slices */
    *ret_decode = gpu / left + (1 - gpu) * CPU_SLOWNESS / cpu.decode + split;
    *ret_prefill = gpu / left + (1 - gpu) * CPU_SLOWNESS / cpu.prefill + split;
}

/* ---- the machine's day ---- */

static double daily(const struct o3_world *w, int64_t t) {
    const double turn = 6.283185307179586, slowest_h = 14;
    const struct o3_sim_event *ev = o3_sim_in_force(w, O3_SIM_CHANGE_DAILY, t);
    if (!ev) return 1;
    int64_t s, ns;
    o3_sim_wall(w, t, &s, &ns);
    double h = ((double)(s % 86400) + (double)ns / 1e9) / 3600;
    return 1 - ev->value * (1 + o3_cos(turn * (h - slowest_h) / 24)) / 2;
}

static double decay(const struct o3_world *w, int64_t t) {
    const struct o3_sim_event *ev = o3_sim_in_force(w, O3_SIM_CHANGE_DECAY, t);
    if (!ev) return 1;
    int64_t since = w->started_ns > ev->at_ns ? w->started_ns : ev->at_ns;
    return o3_exp(o3_log1p(-ev->value) * (double)(t - since) / 1e9 / DAY_S);
}

/* What moves all the time is followed in steps: slow things in steps of 10 s, the throttle in steps of 1 s. */
static int64_t pace_end(const struct o3_world *w, int64_t t) {
    int64_t edge = o3_sim_next_edge(w, t), step = 0;
    if (o3_sim_in_force(w, O3_SIM_CHANGE_DAILY, t) || o3_sim_in_force(w, O3_SIM_CHANGE_DECAY, t))
        step = 10 * O3_NS_PER_S;
    if (o3_sim_in_force(w, O3_SIM_CHANGE_THERMAL, t)) step = O3_NS_PER_S;
    if (step == 0 || t / step + 1 >= edge / step) return edge;
    return (t / step + 1) * step;
}

/* ---- the pace of a request ---- */

static void pace_at(const struct o3_world *w, const struct o3_sim_runner *r, const char *model, int64_t t,
                    struct o3_sim_pace *ret) {
    const double library_bandwidth = 120e9; /* of the machine that the library's rates are those of */
    const struct o3_sim_weights *m = r->model.weights;
    double machine = daily(w, t) * decay(w, t) * o3_sim_heat_factor(w, t) * r->load_factor;
    double bandwidth = w->params.bandwidth > 0 ? w->params.bandwidth / library_bandwidth : 1;
    double decode, prefill;
    placement(w, r, t, &decode, &prefill);
    ret->from_ns = t;
    ret->until_ns = pace_end(w, t);
    ret->token_s = decode / machine / o3_sim_rate(w, O3_SIM_CHANGE_DECODE, model, m->decode_tps * bandwidth, t);
    ret->depth_s = ret->token_s * (double)o3_sim_kv_token_bytes(m) / (double)m->size_bytes;
    /* A step reads all weights: what lies in swap is read back each time. */
    ret->token_s += o3_sim_swapped_bytes(w, r, t) / O3_SIM_SWAP_BYTES_PER_S;
    ret->prompt_s = prefill / machine / o3_sim_rate(w, O3_SIM_CHANGE_PREFILL, model, m->prefill_tps, t);
    ret->jitter_cv = fmin(0.02, fmax(0, o3_sim_noise_cv(w, model, t)));
    ret->fill_limit = SIZE_MAX;
    if (o3_sim_in_force_on(w, O3_SIM_CHANGE_OOM_FILL, model, t)) ret->fill_limit = (size_t)r->launch.num_ctx / 2;
}

static const struct o3_sim_pace *pace(const struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (t < rq->pace.from_ns || t >= rq->pace.until_ns) pace_at(w, rq->runner, rq->model.name, t, &rq->pace);
    return &rq->pace;
}

/* Measured: two at once on a runner get 25 tok/s each where one gets 39, as they read the weights together. Runners
 * take turns. */
static double sharing(const struct o3_world *w, const struct o3_sim_runner *r) {
    double batch = 1 + 0.56 * (r->busy_slots > 1 ? r->busy_slots - 1 : 0);
    return batch * (w->n_busy_runners > 1 ? w->n_busy_runners : 1);
}

/* One token's own deviation: mean 1, of that CV, bounded; the sum of three uniform numbers. */
static double jitter(struct o3_rand *r, double cv) {
    if (cv <= 0) return 1;
    const uint64_t mask = ((uint64_t)1 << 21) - 1;
    uint64_t u = o3_rand_u64(r);
    double sum = (double)((u & mask) + ((u >> 21) & mask) + (u >> 42 & mask)) / (double)(mask + 1);
    return 1 + 2 * cv * (sum - 1.5);
}

int64_t o3_sim_token_gap_ns(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_pace *p = pace(w, rq, t);
    double s = (p->token_s + p->depth_s * (double)rq->tokens.n) * sharing(w, rq->runner) / rq->speed;
    return whole_us(s * jitter(&rq->jitter, p->jitter_cv));
}

/* Measured on CPU with 251 tokens in batches of 8 to 512: the rate falls by 7 % of the best with each factor e. */
static double batch_efficiency(int64_t n) {
    const double best = 512, least = 8, per_e = 0.0662;
    if (n >= 512) return 1;
    double x = n < 8 ? least : (double)n;
    return 1 - per_e * o3_log(best / x);
}

/* A batch takes as long as its arithmetic, and at least one pass over the weights. */
static double batch_s(const struct o3_sim_pace *p, int64_t n) {
    return n > 0 ? fmax((double)n * p->prompt_s / batch_efficiency(n), p->token_s) : 0;
}

static double prompt_s(const struct o3_sim_pace *p, const struct o3_sim_runner *r, int64_t n_tokens) {
    int64_t ub = o3_sim_ubatch(&r->launch), n_full = n_tokens / ub;
    return (n_full > 0 ? (double)n_full * batch_s(p, ub) : 0) + batch_s(p, n_tokens % ub);
}

int64_t o3_sim_prompt_time_ns(struct o3_world *w, struct o3_sim_request *rq, int64_t n_tokens, int64_t t) {
    return whole_us(prompt_s(pace(w, rq, t), rq->runner, n_tokens) * sharing(w, rq->runner) / rq->speed);
}

bool o3_sim_fills_up(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    return rq->tokens.n > pace(w, rq, t)->fill_limit;
}

void o3_sim_before_ms(const struct o3_world *w, const char *model, bool is_plain, int64_t t, double *ret_low,
                      double *ret_high) {
    const struct o3_sim_event *ev = o3_sim_in_force_on(w, O3_SIM_CHANGE_TTFT, model, t);
    double more = ev ? ev->value / 1e6 : 0;
    *ret_low = (is_plain ? 8 : 30) + more; /* seen: 13 raw, 35 to 60 with a template, the end of the request included */
    *ret_high = (is_plain ? 14 : 45) + more;
}

/* ---- slots ---- */

/* The first requests after a load are slower: the first by 30 %, then less and less. */
static double warm_up(const struct o3_world *w, const struct o3_sim_runner *r, const char *model, int64_t t) {
    const double first = 0.30;
    const struct o3_sim_event *ev = o3_sim_in_force_on(w, O3_SIM_CHANGE_WARM_UP, model, t);
    if (!ev || (double)r->n_begun >= ev->value) return 1;
    return 1 / (1 + first * (1 - (double)r->n_begun / ev->value));
}

void o3_sim_slot_take(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_runner *r = rq->runner;
    rq->speed = o3_sim_noise(w, rq, t) * warm_up(w, r, rq->model.name, t);
    o3_rand_seed(&rq->jitter, o3_sim_draw(w, rq, O3_SIM_DRAW_JITTER));
    r->n_begun++;
    if (r->busy_slots > 0) {
        r->busy_slots++;
        return;
    }
    o3_sim_heat_settle(w, t); /* what was, with those who were busy then */
    r->busy_slots = 1;
    w->n_busy_runners++;
    o3_sim_heat_settle(w, t);
}

void o3_sim_slot_leave(struct o3_world *w, struct o3_sim_runner *r, int64_t t) {
    if (r->busy_slots == 1) o3_sim_heat_settle(w, t);
    if (--r->busy_slots > 0) return;
    w->n_busy_runners--;
    o3_sim_heat_settle(w, t);
}

/* ---- loads ---- */

double o3_sim_load_factor(const struct o3_world *w, const struct o3_sim_model *m, int64_t t) {
    const struct o3_sim_event *ev = o3_sim_in_force_on(w, O3_SIM_CHANGE_LOAD_EFFECT, m->name, t);
    return ev ? o3_exp(ev->value * o3_sim_normal_of(o3_sim_load_key(w, m))) : 1;
}

/* Reading the weights dominates; readiness is polled each 250 ms. */
int64_t o3_sim_load_time_ns(const struct o3_world *w, const struct o3_sim_request *rq, int64_t t) {
    if (rq->is_failing_load) return o3_sim_between(w, rq, O3_SIM_DRAW_LOAD, 3500, 9000);
    const double bytes_per_s = 0.55e9, start_s = 0.1, poll_s = 0.25, first_try_s = 3.5;
    const struct o3_sim_event *disk = o3_sim_in_force(w, O3_SIM_CHANGE_SLOW_DISK, t);
    double s = start_s + (double)rq->model.weights->size_bytes / bytes_per_s * (disk ? disk->value : 1);
    s = o3_sim_rate(w, O3_SIM_CHANGE_LOAD_TIME, rq->model.name, s, t);
    if (rq->has_oomed) s += first_try_s; /* in vain */
    s = bounded(s);
    return (int64_t)(ceil(s / poll_s) * poll_s * 1e9) + o3_sim_between(w, rq, O3_SIM_DRAW_LOAD, 5, 25);
}

/* ---- the truth ---- */

/* After an update the old blob and the new one may be loaded under one name: requests go to the newer. */
static const struct o3_sim_runner *loaded_as(const struct o3_world *w, const char *model) {
    const struct o3_sim_runner *newest = NULL;
    for (size_t i = 0; *model && i < w->runners_end; i++) {
        const struct o3_sim_runner *r = &w->runners[i];
        if (!r->is_used || r->is_loading || r->is_dead || !o3_sim_is_named(model, r->model.name)) continue;
        if (!newest || r->serial > newest->serial) newest = r;
    }
    return newest;
}

uint64_t o3_world_setting(const struct o3_world *w, const char *model) {
    const struct o3_sim_runner *r = loaded_as(w, model);
    if (!r) return 0;
    uint64_t key = o3_sim_hash((uint64_t)r->launch.num_ctx, r->model.digest, strlen(r->model.digest));
    return o3_sim_hash(key, w->profile.text, strlen(w->profile.text)) | 1;
}

double o3_world_expected(const struct o3_world *w, const char *model, enum o3_world_signal signal, int64_t mono_ns) {
    enum { DEPTH = 128 };
    const double start_ms = 0.6, ready_ms = 3.65; /* the middles of what requests draw */
    const struct o3_sim_runner *r = loaded_as(w, model);
    if (!r) return NAN;
    if (signal == O3_WORLD_TTFT_OVERHEAD) {
        double low, high;
        o3_sim_before_ms(w, r->model.name, true, mono_ns, &low, &high);
        return (start_ms + ready_ms + (low + high) / 2) / 1e3;
    }
    struct o3_sim_pace p;
    pace_at(w, r, r->model.name, mono_ns, &p);
    if (signal == O3_WORLD_DECODE_RATE) return 1 / (p.token_s + p.depth_s * (double)DEPTH);
    return (double)DEPTH / prompt_s(&p, r, DEPTH);
}
