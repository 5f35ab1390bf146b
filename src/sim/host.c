/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine shows of itself in /proc and /sys. A GPU's heat and its neighbours do not show there. */
#include <math.h>
#include <string.h>
#include "o3/host.h"
#include "sim/sim.h"

/* Judgement: a hot processor counts one event a second. The kernel hands out quotas in periods of 100 ms. */
static const double HEAT_PER_S = 1, QUOTA_PER_S = 10;

static bool runs_out_of_quota(const struct o3_world *w, int64_t t) {
    const struct o3_sim_event *quota = o3_sim_in_force(w, O3_SIM_CHANGE_QUOTA, t);
    for (size_t i = 0; quota && i < w->runners_end; i++) {
        const struct o3_sim_runner *r = &w->runners[i];
        bool works = r->is_used && r->busy_slots > 0 && o3_sim_cpu_share(w, r, t) > 0;
        if (works && o3_sim_threads(w, r) > quota->value) return true;
    }
    return false;
}

static void count_span(const struct o3_world *w, int64_t from, int64_t to, struct o3_sim_host *c) {
    double s = (double)(to - from) / 1e9;
    if (runs_out_of_quota(w, from)) c->quota += s * QUOTA_PER_S;
    if (o3_sim_swaps(w, from)) c->swapped_bytes += s * O3_SIM_SWAP_BYTES_PER_S;
    bool can_be_hot = !w->params.has_gpu && o3_sim_in_force(w, O3_SIM_CHANGE_THERMAL, from);
    if (can_be_hot && o3_sim_heat_factor(w, to) < 1) c->heat += s * HEAT_PER_S;
}

void o3_sim_host_count(const struct o3_world *w, int64_t t, struct o3_sim_host *inout) {
    for (int64_t at = w->heat.at_ns; w->heat.is_busy && at < t;) {
        int64_t edge = o3_sim_next_edge(w, at), until = edge < t ? edge : t;
        count_span(w, at, until, inout);
        at = until;
    }
}

/* One with the published bandwidth that the scenario gave it, else a name that says nothing. */
void o3_sim_name_gpu(struct o3_world *w) {
    static const struct {
        double gb_per_s;
        const char *name;
    } GPUS[] = {{300, "NVIDIA L4"},
                {360, "NVIDIA GeForce RTX 3060"},
                {864, "NVIDIA L40S"},
                {936, "NVIDIA GeForce RTX 3090"},
                {1008, "NVIDIA GeForce RTX 4090"},
                {1792, "NVIDIA GeForce RTX 5090"},
                {2039, "NVIDIA A100-SXM4-80GB"},
                {3350, "NVIDIA H100 80GB HBM3"},
                {4800, "NVIDIA H200"}};
    const char *name = "Simulated GPU";
    for (size_t i = 0; i < sizeof GPUS / sizeof *GPUS; i++)
        if (fabs(w->params.bandwidth - GPUS[i].gb_per_s * 1e9) < 0.5e9) name = GPUS[i].name;
    if (w->params.has_gpu) o3_gpu_text(1, name, false, "550.54.15", w->gpu_name);
}

static void fill_pressure(const struct o3_world *w, int64_t t, struct o3_host_pressure p[O3_HOST_RESOURCE_COUNT]) {
    const struct o3_sim_event *other = o3_sim_in_force(w, O3_SIM_CHANGE_NEIGHBOUR, t);
    const struct o3_sim_event *disk = o3_sim_in_force(w, O3_SIM_CHANGE_SLOW_DISK, t);
    double io = disk ? 1 - 1 / disk->value : 0;
    bool is_short = o3_sim_swaps(w, t);
    p[O3_HOST_CPU] = (struct o3_host_pressure){other && !w->params.has_gpu ? other->value : 0, 0};
    p[O3_HOST_MEMORY] = (struct o3_host_pressure){is_short ? 0.5 : 0, is_short ? 0.3 : 0};
    p[O3_HOST_IO] = (struct o3_host_pressure){io, io / 2};
}

static int64_t whole(double count) {
    return count < 9e18 ? (int64_t)count : INT64_MAX;
}

void o3_world_host(const struct o3_world *w, int64_t mono_ns, struct o3_host_state *ret) {
    o3_host_state_init(ret);
    struct o3_sim_host c = w->host;
    o3_sim_host_count(w, mono_ns, &c);
    int64_t left = o3_sim_free_bytes(w, false, mono_ns);
    const struct o3_sim_event *quota = o3_sim_in_force(w, O3_SIM_CHANGE_QUOTA, mono_ns);
    const struct o3_sim_event *limit = o3_sim_in_force(w, O3_SIM_CHANGE_MEMORY_LIMIT, mono_ns);
    fill_pressure(w, mono_ns, ret->pressure);
    ret->memory_available_bytes = left > 0 ? left : 0;
    ret->swapped_in_bytes = whole(c.swapped_bytes);
    ret->n_heat = whole(c.heat);
    ret->n_quota = whole(c.quota);
    ret->quota_id = 1;
    ret->memory_limit_bytes = limit ? (int64_t)limit->value : INT64_MAX;
    ret->cpu_quota_cores = quota ? quota->value : (double)INFINITY;
    memcpy(ret->gpu, w->gpu_name, sizeof ret->gpu);
}
