/* SPDX-License-Identifier: Apache-2.0 */
/* Chance: everything is drawn from the seed of the world and the key of the thing, nothing from a common stream. */
#include <math.h>
#include <string.h>
#include "o3/num.h"
#include "sim/sim.h"

static uint64_t mix(uint64_t key, uint64_t n) {
    uint64_t z = key + (n + 1) * 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t o3_sim_key(uint64_t seed, const char *kind, uint64_t n) {
    return mix(mix(o3_sim_hash(0, kind, strlen(kind)), seed), n);
}

double o3_sim_uniform_of(uint64_t key) {
    return (double)(mix(key, 0) >> 11) * 0x1.0p-53;
}

double o3_sim_normal_of(uint64_t key) {
    struct o3_rand r;
    o3_rand_seed(&r, key);
    return o3_rand_normal(&r);
}

uint64_t o3_sim_draw(const struct o3_world *w, const struct o3_sim_request *rq, enum o3_sim_draw what) {
    return mix(mix(rq->chance, w->params.seed), what);
}

int64_t o3_sim_between(const struct o3_world *w, const struct o3_sim_request *rq, enum o3_sim_draw what, double low_ms,
                       double high_ms) {
    double uniform = o3_sim_uniform_of(o3_sim_draw(w, rq, what));
    return (int64_t)((low_ms + (high_ms - low_ms) * uniform) * 1e3) * 1000;
}

/* ---- noise ---- */

#define GRID_NS (10 * O3_NS_PER_S)
enum { BLOCK = 30000 }; /* points after which the start of the process is forgotten, whatever its correlation */

/* The process that began there with that correlation, as far as it was followed; models may have different ones. */
static struct o3_sim_wander *find_wander(struct o3_world *w, int64_t first, double ar) {
    for (size_t i = 0; i < O3_SIM_MAX_WANDERS; i++) {
        struct o3_sim_wander *x = &w->wanders[i];
        if (x->is_valid && x->first == first && !(x->ar < ar || x->ar > ar)) return x;
    }
    struct o3_sim_wander *x = &w->wanders[w->next_wander++ % O3_SIM_MAX_WANDERS];
    x->is_valid = false;
    return x;
}

/* A stationary autoregressive process on a grid of 10 s, with the correlation given over five minutes. Its value
 * depends on the seed, the event and the time alone: it is followed from a start that depends on them too. */
static double wander(struct o3_world *w, const struct o3_sim_event *ev, int64_t t) {
    int64_t from = ev->at_ns / GRID_NS, at = t / GRID_NS, block = (at / BLOCK - 1) * BLOCK;
    if (block > from) from = block;
    struct o3_sim_wander *x = find_wander(w, from, ev->ar);
    if (!x->is_valid || x->at > at) {
        const double steps = 300e9 / (double)GRID_NS;
        *x = (struct o3_sim_wander){.first = from, .at = from, .ar = ev->ar, .is_valid = true};
        x->keep = o3_exp(o3_log(ev->ar) / steps);
        x->fresh = sqrt(1 - x->keep * x->keep);
        x->value = o3_sim_normal_of(o3_sim_key(w->params.seed, "noise", (uint64_t)from));
    }
    while (x->at < at)
        x->value = x->keep * x->value +
                   x->fresh * o3_sim_normal_of(o3_sim_key(w->params.seed, "noise", (uint64_t)++x->at));
    return x->value;
}

double o3_sim_noise_cv(const struct o3_world *w, const char *model, int64_t t) {
    const struct o3_sim_event *ev = o3_sim_in_force_on(w, O3_SIM_CHANGE_NOISE, model, t);
    return ev ? ev->value : w->params.noise_cv;
}

double o3_sim_noise(struct o3_world *w, const struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_event *ev = o3_sim_in_force_on(w, O3_SIM_CHANGE_NOISE, rq->model.name, t);
    double cv = ev ? ev->value : w->params.noise_cv;
    if (cv <= 0) return 1;
    double z = ev && ev->ar > 0 ? wander(w, ev, t) : o3_sim_normal_of(o3_sim_draw(w, rq, O3_SIM_DRAW_SPEED));
    return o3_exp(sqrt(o3_log1p(cv * cv)) * z);
}

/* ---- loads ---- */

static size_t load_count_at(const struct o3_world *w, const struct o3_sim_model *m) {
    size_t i = 0;
    while (i + 1 < O3_SIM_MAX_MODELS && w->load_counts[i].weights && w->load_counts[i].weights != m->weights)
        i++;
    return i;
}

uint64_t o3_sim_load_key(const struct o3_world *w, const struct o3_sim_model *m) {
    uint64_t blob = o3_sim_hash((uint64_t)m->revision, m->weights->name, strlen(m->weights->name));
    return o3_sim_key(w->params.seed ^ blob, "load", w->load_counts[load_count_at(w, m)].n);
}

void o3_sim_load_count(struct o3_world *w, const struct o3_sim_model *m) {
    size_t i = load_count_at(w, m);
    w->load_counts[i].weights = m->weights;
    w->load_counts[i].n++;
}
