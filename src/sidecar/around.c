/* SPDX-License-Identifier: Apache-2.0 */
/* What a sample tells besides what its probe measured, and the samples of a server that was only looked at. */
#include <math.h>
#include <string.h>
#include "o3/cause.h"
#include "sidecar/internal.h"

#define GAP_INTERVALS 30 /* what lies further back tells nothing of the noise now */
#define LOOK_SLACK                                                                                                     \
    1.1 /* times probe.interval: a probe comes up to 5 % late by chance, and no look before it is wanted */

void o3_sc_note_load(struct model *m, struct o3_now now) {
    m->n_loads++;
    m->loaded_wall_ms = now.wall_ms;
    m->is_gap = true;
}

static int64_t preset_num_ctx(const struct model *m) {
    const struct o3_preset *p = &m->published.presets[O3_PRESET_MAX_CONTEXT];
    return m->has_published && p->is_set ? p->num_ctx : -1;
}

static double known_bandwidth(struct o3_sidecar *s, const char *gpu) {
    if (strcmp(gpu, s->gpu) != 0) {
        o3_str_copy(s->gpu, sizeof s->gpu, gpu);
        s->gpu_bandwidth = o3_gpu_bandwidth(gpu);
    }
    return s->gpu_bandwidth;
}

/* Of the memory that the weights should lie in. */
static double bandwidth(struct o3_sidecar *s, const struct model *m, const char *gpu) {
    double configured = s->config->ollama_memory_bandwidth;
    if (configured > 0) return configured * 1e9;
    return gpu[0] && m->ps.size_vram_bytes > 0 ? known_bandwidth(s, gpu) : (double)NAN;
}

static int64_t weight_bytes(const struct model *m) {
    bool is_known = m->library_digest[0] && !strcmp(m->library_digest, m->ps.digest) && m->show_state == SHOW_KNOWN;
    return is_known ? o3_active_weight_bytes(&m->show, m->library_bytes) : -1;
}

static int64_t other_vram_bytes(const struct o3_sidecar *s, const struct model *m) {
    int64_t sum = 0;
    for (int i = 0; i < s->n_models; i++) {
        const struct model *other = s->models[i];
        if (other != m && other->is_loaded && other->ps.size_vram_bytes > 0) sum += other->ps.size_vram_bytes;
    }
    return sum;
}

/* A pause of the probes is one for what they measure; what the list shows was looked at meanwhile. */
static bool is_after_pause(const struct o3_sidecar *s, const struct model *m, const struct o3_sample *sample) {
    int64_t last_ns = sample->kind == O3_PROBE_LOOK ? m->formed_ns : m->kind_formed_ns[sample->kind];
    int64_t interval_ms = sample->kind == O3_PROBE_PREFILL ? o3_sc_prefill_interval_ms(s, m) : m->interval_ms;
    return last_ns != INT64_MIN && sample->mono_ns - last_ns > GAP_INTERVALS * interval_ms * O3_NS_PER_MS;
}

void o3_sc_sense_host(struct o3_sidecar *s, struct o3_host_state *ret) {
    o3_host_state_init(ret);
    if (s->ops.sense_host) s->ops.sense_host(s->ops.ctx, ret);
}

/* The devices, the pressure, and what happened since the sample before. */
static void fill_host(struct o3_sidecar *s, struct model *m, struct o3_surroundings *a) {
    struct o3_host_state now;
    o3_sc_sense_host(s, &now);
    o3_host_state_fill(&now, &m->host, a);
    m->host = now;
}

/* What slowed the machine down during this probe is a state of its own, in which other speeds are normal. */
bool o3_sc_is_throttled(const struct o3_host_state *before, const struct o3_host_state *after) {
    struct o3_surroundings during;
    o3_surroundings_init(&during);
    o3_host_state_fill(after, before, &during);
    return during.n_throttled > 0;
}

void o3_sc_fill_around(struct o3_sidecar *s, struct model *m, struct o3_sample *sample) {
    enum o3_batch_source source;
    o3_str_copy(sample->model, sizeof sample->model, m->ps.name);
    o3_str_copy(sample->digest, sizeof sample->digest, m->ps.digest);
    sample->num_ctx = m->ps.context_length;
    sample->num_batch = o3_sc_effective_batch(s, m, &source);
    sample->size_bytes = m->ps.size_bytes;
    sample->vram_bytes = m->ps.size_vram_bytes;
    if (m->is_gap || is_after_pause(s, m, sample)) sample->flags |= O3_SAMPLE_AFTER_GAP;
    sample->acknowledged = m->acknowledged;
    struct o3_surroundings *a = &sample->around;
    o3_surroundings_init(a);
    o3_str_copy(a->version, sizeof a->version, s->version.text);
    if (m->has_runner && m->runner.parallel > 0) a->parallel = m->runner.parallel;
    a->preset_num_ctx = preset_num_ctx(m);
    a->loaded_wall_ms = m->loaded_wall_ms;
    a->weight_bytes = weight_bytes(m);
    fill_host(s, m, a);
    a->bandwidth_bytes_per_s = bandwidth(s, m, a->gpu);
    a->interval_ms = m->interval_ms;
    a->n_models = s->n_models;
    a->n_loads = m->n_loads;
    a->n_user_requests = m->n_user_requests;
    a->other_vram_bytes = other_vram_bytes(s, m);
}

void o3_sc_sample_formed(struct model *m, const struct o3_sample *sample, int64_t now_ns) {
    if (sample->outcome == O3_OUTCOME_OK) m->formed_ns = now_ns;
    m->kind_formed_ns[sample->kind] = now_ns;
    m->is_gap = false;
    m->acknowledged = 0;
    m->n_loads = m->n_user_requests = 0;
}

bool o3_sc_look_now(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    if (!m->is_loaded || m->show_state == SHOW_WANTED || s->pending == m || o3_sc_is_probed(s, m)) return false;
    struct o3_sample sample = {.wall_ms = now.wall_ms,
                               .mono_ns = now.mono_ns,
                               .kind = O3_PROBE_LOOK,
                               .outcome = O3_OUTCOME_OK,
                               .num_predict = -1,
                               .ttft_ns = -1,
                               .ttfc_ns = -1,
                               .wall_ns = -1,
                               .total_ns = -1,
                               .load_ns = -1,
                               .prompt_eval_ns = -1,
                               .eval_ns = -1,
                               .prompt_eval_count = -1,
                               .eval_count = -1,
                               .queue_ns = -1,
                               .decode_tps = (double)NAN,
                               .prefill_tps = (double)NAN,
                               .tpot_s = (double)NAN};
    o3_sc_fill_around(s, m, &sample);
    s->ops.sample(s->ops.ctx, &sample);
    o3_sc_judge(s, m, &sample, now);
    o3_sc_sample_formed(m, &sample, now.mono_ns);
    o3_sc_hasten(s, m, now);
    return true;
}

/* Where no probe could be sent for long, or none answered, the list of loaded models is evidence by itself. */
void o3_sc_look(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    double after_ns = (double)(s->config->probe_interval_ms * O3_NS_PER_MS) * LOOK_SLACK;
    if ((double)(now.mono_ns - m->formed_ns) >= after_ns) (void)o3_sc_look_now(s, m, now);
}
