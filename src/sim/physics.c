/* SPDX-License-Identifier: Apache-2.0 */
/* How long things take on the simulated machine. */
#include <math.h>
#include <string.h>
#include "o3/num.h"
#include "sim/sim.h"

#define US 1000LL

/* ---- chance ---- */

static uint64_t mix(uint64_t key, uint64_t n) {
    uint64_t z = key + (n + 1) * 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t o3_sim_key(uint64_t seed, const char *kind, uint64_t n) {
    return mix(mix(o3_sim_hash(0, kind, strlen(kind)), seed), n);
}

uint64_t o3_sim_draw(const struct o3_world *w, const struct o3_sim_request *rq, enum o3_sim_draw what) {
    return mix(mix(rq->chance, w->params.seed), what);
}

int64_t o3_sim_between(const struct o3_world *w, const struct o3_sim_request *rq, enum o3_sim_draw what, double low_ms,
                       double high_ms) {
    double uniform = (double)(o3_sim_draw(w, rq, what) >> 11) * 0x1.0p-53;
    return (int64_t)((low_ms + (high_ms - low_ms) * uniform) * 1e3) * US;
}

/* Log-normal with median 1. */
static double log_normal(struct o3_rand *r, double cv) {
    return cv <= 0 ? 1 : o3_exp(sqrt(o3_log1p(cv * cv)) * o3_rand_normal(r));
}

static double noise_cv(const struct o3_world *w, int64_t t) {
    const struct o3_sim_event *ev = o3_sim_in_force(w, O3_SIM_CHANGE_NOISE, t);
    return ev ? ev->value : w->params.noise_cv;
}

/* ---- slots ---- */

void o3_sim_slot_take(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    rq->runner->busy_slots++;
    struct o3_rand r;
    o3_rand_seed(&r, o3_sim_draw(w, rq, O3_SIM_DRAW_SPEED));
    rq->speed = log_normal(&r, noise_cv(w, t));
    o3_rand_seed(&rq->jitter, o3_sim_draw(w, rq, O3_SIM_DRAW_JITTER));
}

void o3_sim_slot_leave(struct o3_world *w, struct o3_sim_runner *r, int64_t t) {
    (void)w;
    (void)t;
    r->busy_slots--;
}

/* ---- rates ---- */

static int64_t whole_us(double ns) {
    int64_t v = (int64_t)(ns / 1e3 + 0.5) * US;
    return v > US ? v : US;
}

/* A spilled model takes as long as its shares do; layers in RAM run at a sixth of the speed. */
static double placement(const struct o3_world *w, const struct o3_sim_runner *r) {
    const double cpu_slowness = 6;
    if (!w->params.has_gpu || r->launch.num_gpu == 0)
        return r->launch.num_gpu == 0 && w->params.has_gpu ? cpu_slowness : 1;
    double on_gpu = (double)r->vram_bytes / (double)r->size_bytes;
    return on_gpu + (1 - on_gpu) * cpu_slowness;
}

/* Measured: two at once get 25 tok/s each where one gets 39. */
static double sharing(const struct o3_sim_runner *r) {
    return 1 + 0.56 * (r->busy_slots > 1 ? r->busy_slots - 1 : 0);
}

int64_t o3_sim_token_gap_ns(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_weights *m = rq->model.weights;
    const struct o3_sim_runner *r = rq->runner;
    double tps = o3_sim_rate(w, O3_SIM_CHANGE_DECODE, rq->model.name, m->decode_tps, t) * rq->speed;
    /* A step reads the weights and the cache filled so far. */
    double cache = (double)(m->layers * m->heads_kv * m->head_size) * 4 * (double)rq->tokens.n;
    double ns = 1e9 / tps * (1 + cache / (double)m->size_bytes) * placement(w, r) * sharing(r);
    double cv = noise_cv(w, t);
    return whole_us(ns * log_normal(&rq->jitter, cv < 0.02 ? cv : 0.02));
}

/* Measured on CPU: a batch of 8 gives 0.76 of the rate at 512. */
static double batch_efficiency(int64_t ubatch) {
    return (1 - 0.24 * sqrt(8.0 / (double)(ubatch > 8 ? ubatch : 8))) / (1 - 0.24 * sqrt(8.0 / 512));
}

int64_t o3_sim_prompt_time_ns(struct o3_world *w, struct o3_sim_request *rq, int64_t n_tokens, int64_t t) {
    const struct o3_sim_weights *m = rq->model.weights;
    int64_t ub = o3_sim_ubatch(&rq->runner->launch);
    double tps = o3_sim_rate(w, O3_SIM_CHANGE_PREFILL, rq->model.name, m->prefill_tps, t) * rq->speed *
                 batch_efficiency(ub);
    double step_s = 1 / (o3_sim_rate(w, O3_SIM_CHANGE_DECODE, rq->model.name, m->decode_tps, t) * rq->speed), s = 0;
    for (int64_t left = n_tokens; left > 0; left -= ub) {
        double batch_s = (double)(left < ub ? left : ub) / tps;
        s += batch_s > step_s ? batch_s : step_s; /* the weights are read once for each batch */
    }
    return whole_us(s * 1e9 * placement(w, rq->runner) * sharing(rq->runner));
}
