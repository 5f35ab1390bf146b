/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/cause.h"
#include <math.h>
#include <string.h>
#include "judge/evidence.h"
#include "o3/text.h"

/* Directions that a hypothesis can explain, two bits a signal in the order of enum o3_signal. */
enum { UP = 1, DOWN = 2, BOTH = 3 };
#define EFFECTS(decode, prefill, ttft, load, memory, gpu, context, success)                                            \
    {decode, prefill, ttft, load, memory, gpu, context, success}

/* most: the score of evidence as clear as it can be. What the server itself says and what causes other hypotheses
 * stands above what follows from it: an upgrade that loses the GPU is an upgrade first. */
static const struct hypothesis {
    const char *name;
    o3_evidence_fn find;
    double most;
    unsigned char effects[O3_SIGNAL_COUNT];
} HYPOTHESES[O3_CAUSE_COUNT] = {
    [O3_CAUSE_GPU_SHARE_FELL] = {"gpu_share_fell", o3_evidence_gpu_share_fell, 40,
                                 EFFECTS(DOWN, DOWN, UP, 0, BOTH, DOWN, DOWN, DOWN)},
    [O3_CAUSE_CPU_FALLBACK] = {"cpu_fallback", o3_evidence_cpu_fallback, 30, EFFECTS(DOWN, DOWN, UP, 0, 0, 0, 0, DOWN)},
    [O3_CAUSE_MEMORY_NEIGHBOUR] = {"memory_neighbour", o3_evidence_memory_neighbour, 60,
                                   EFFECTS(DOWN, DOWN, UP, UP, BOTH, DOWN, DOWN, DOWN)},
    [O3_CAUSE_THROTTLING] = {"throttling", o3_evidence_throttling, 25, EFFECTS(DOWN, DOWN, UP, UP, 0, 0, 0, DOWN)},
    [O3_CAUSE_CPU_QUOTA] = {"cpu_quota", o3_evidence_cpu_quota, 25, EFFECTS(DOWN, DOWN, UP, UP, 0, 0, 0, DOWN)},
    [O3_CAUSE_HOST_PRESSURE] = {"host_pressure", o3_evidence_host_pressure, 20,
                                EFFECTS(DOWN, DOWN, UP, UP, 0, 0, 0, DOWN)},
    [O3_CAUSE_SWAPPING] = {"swapping", o3_evidence_swapping, 25, EFFECTS(DOWN, DOWN, UP, UP, 0, 0, 0, DOWN)},
    [O3_CAUSE_SERVER_VERSION] = {"server_version", o3_evidence_server_version, 100,
                                 EFFECTS(BOTH, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH)},
    [O3_CAUSE_MODEL_CHANGED] = {"model_changed", o3_evidence_model_changed, 120,
                                EFFECTS(BOTH, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH)},
    [O3_CAUSE_CONTEXT_CHANGED] = {"context_changed", o3_evidence_context_changed, 80,
                                  EFFECTS(DOWN, DOWN, UP, UP, UP, DOWN, UP, DOWN)},
    [O3_CAUSE_RELOAD_STORM] = {"reload_storm", o3_evidence_reload_storm, 60,
                               EFFECTS(0, 0, UP, BOTH, BOTH, BOTH, BOTH, DOWN)},
    [O3_CAUSE_QUEUEING] = {"queueing", o3_evidence_queueing, 15, EFFECTS(0, 0, UP, 0, 0, 0, 0, DOWN)},
    [O3_CAUSE_UPTIME] = {"uptime", o3_evidence_uptime, 8, EFFECTS(DOWN, DOWN, UP, 0, UP, 0, 0, DOWN)},
    [O3_CAUSE_GPU_SHARE_ROSE] = {"gpu_share_rose", o3_evidence_gpu_share_rose, 40,
                                 EFFECTS(UP, UP, DOWN, 0, BOTH, UP, UP, UP)},
    [O3_CAUSE_UNKNOWN] = {.name = "unknown"},
};

const char *o3_cause_name(enum o3_cause c) {
    return (unsigned)c < O3_CAUSE_COUNT ? HYPOTHESES[c].name : "unknown";
}

static unsigned direction_of(const struct o3_cause_member *m) {
    if (m->direction) return m->direction > 0 ? UP : DOWN;
    return m->change_ratio > 0 ? UP : m->change_ratio < 0 ? DOWN : 0;
}

static unsigned reversed(unsigned effect) {
    return (effect & UP ? DOWN : 0u) | (effect & DOWN ? UP : 0u);
}

static bool explains(const struct hypothesis *h, const struct o3_evidence *e, const struct o3_cause_member *m) {
    if ((unsigned)m->signal >= O3_SIGNAL_COUNT || (e->is_for_slow && !m->is_slow)) return false;
    unsigned effect = h->effects[m->signal];
    return ((e->sense < 0 ? reversed(effect) : effect) & direction_of(m)) != 0;
}

/* How many times better than chance. A member that it cannot explain counts against it. */
static double score_of(const struct hypothesis *h, const struct o3_evidence_input *in, struct o3_evidence *e) {
    const double unexplained = 0.15, least = 1e-9;
    h->find(in, e);
    if (!(e->strength > 0)) return 0;
    double score = h->most * e->strength;
    bool is_any = false;
    for (size_t i = 0; i < in->n_members; i++) {
        bool is_explained = explains(h, e, &in->m[i]);
        is_any |= is_explained;
        if (!is_explained && score > least) score *= unexplained;
    }
    return is_any ? score : 0;
}

/* Keeps the best ones in order; of equals the earlier one stands first. */
static int insert(struct o3_cause_found out[O3_CAUSES_MAX], int n, const struct o3_cause_found *f) {
    int at = n;
    while (at > 0 && out[at - 1].weight < f->weight)
        at--;
    if (at == O3_CAUSES_MAX) return n;
    int n_moved = (n < O3_CAUSES_MAX ? n : O3_CAUSES_MAX - 1) - at;
    memmove(out + at + 1, out + at, (size_t)n_moved * sizeof *out);
    out[at] = *f;
    return n < O3_CAUSES_MAX ? n + 1 : n;
}

static const struct o3_circumstances NOTHING_KNOWN = {
    .gpu_ratio = NAN,
    .num_ctx = NAN,
    .size_bytes = NAN,
    .preset_num_ctx = NAN,
    .other_vram_bytes = NAN,
    .memory_available_bytes = NAN,
    .pressure_cpu = NAN,
    .pressure_memory = NAN,
    .pressure_io = NAN,
    .queue_s = NAN,
    .loads_per_h = NAN,
    .user_requests_per_h = NAN,
    .swapped_bytes_per_s = NAN,
    .throttled_per_h = NAN,
    .quota_per_h = NAN,
    .efficiency = NAN,
    .decode_tps = NAN,
    .bytes_per_token = NAN,
    .day_log_change = NAN,
    .uptime_s = NAN,
};

/* A level that no machine has is not known. */
static void check(double *v) {
    if (!(*v >= 0 && *v <= 1e18)) *v = NAN;
}

static struct o3_circumstances checked(const struct o3_circumstances *c) {
    struct o3_circumstances r = c ? *c : NOTHING_KNOWN;
    double *const levels[] = {&r.gpu_ratio,
                              &r.num_ctx,
                              &r.size_bytes,
                              &r.preset_num_ctx,
                              &r.other_vram_bytes,
                              &r.memory_available_bytes,
                              &r.pressure_cpu,
                              &r.pressure_memory,
                              &r.pressure_io,
                              &r.queue_s,
                              &r.loads_per_h,
                              &r.user_requests_per_h,
                              &r.swapped_bytes_per_s,
                              &r.throttled_per_h,
                              &r.quota_per_h,
                              &r.efficiency,
                              &r.decode_tps,
                              &r.bytes_per_token,
                              &r.uptime_s};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        check(levels[i]);
    if (!(fabs(r.day_log_change) <= 100)) r.day_log_change = NAN;
    return r;
}

int o3_cause_rank(const struct o3_cause_member *m, size_t n_members, const struct o3_circumstances *before,
                  const struct o3_circumstances *since, struct o3_cause_found out[O3_CAUSES_MAX]) {
    const double chance = 1, least_shown = 0.02, least_unknown = 0.1;
    struct o3_circumstances b = checked(before), s = checked(since);
    struct o3_evidence_input in = {m, n_members, &b, &s};
    struct o3_cause_found all[O3_CAUSE_COUNT] = {0};
    double sum = chance;
    for (int i = 0; i < O3_CAUSE_COUNT; i++) {
        all[i].cause = (enum o3_cause)i;
        if (i == O3_CAUSE_UNKNOWN) continue;
        struct o3_evidence e = {0};
        all[i].weight = score_of(&HYPOTHESES[i], &in, &e);
        (void)o3_str_copy(all[i].evidence, sizeof all[i].evidence, e.text);
        sum += all[i].weight;
    }
    all[O3_CAUSE_UNKNOWN].weight = chance;
    o3_evidence_unknown(&in, all[O3_CAUSE_UNKNOWN].evidence);
    int n = 0;
    for (int i = 0; i < O3_CAUSE_COUNT; i++) {
        all[i].weight /= sum;
        if (all[i].weight >= (i == O3_CAUSE_UNKNOWN ? least_unknown : least_shown)) n = insert(out, n, &all[i]);
    }
    return n;
}
