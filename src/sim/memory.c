/* SPDX-License-Identifier: Apache-2.0 */
/* What a runner needs, by the formulas measured on llama.cpp, and what no formula knows: the allocator's noise, the
 * context of the device, a biased rest, another process. */
#include <math.h>
#include "sim/sim.h"

static int64_t pad256(int64_t n) {
    return (n + 255) / 256 * 256;
}

/* The CPU build that was measured keeps no logits of a batch; published figures of CUDA builds show that they do. */
struct o3_sim_memory_rules o3_sim_memory_rules(bool has_gpu) {
    return (struct o3_sim_memory_rules){.kv_bytes = 2, .logits_copies = has_gpu ? 1 : 0};
}

int64_t o3_sim_kv_bytes(const struct o3_sim_memory_rules *u, const struct o3_sim_weights *m,
                        const struct o3_sim_launch *l, int parallel) {
    int64_t n = pad256(l->num_ctx), near = pad256(m->sliding_window + o3_sim_ubatch(l));
    int64_t whole = m->sliding_window > 0 ? m->global_layers : m->layers;
    int64_t cells = whole * n + (m->layers - whole) * (near < n ? near : n);
    double of_cell = (double)m->heads_kv * 2 * m->head_size * u->kv_bytes;
    return (int64_t)(of_cell * (double)(cells * parallel) + 0.5);
}

int64_t o3_sim_kv_token_bytes(const struct o3_sim_weights *m) {
    return (int64_t)m->layers * m->heads_kv * 2 * m->head_size * 2;
}

static int64_t max(int64_t a, int64_t b) {
    return a > b ? a : b;
}

int64_t o3_sim_compute_bytes(const struct o3_sim_memory_rules *u, const struct o3_sim_weights *m,
                             const struct o3_sim_launch *l) {
    int64_t ub = o3_sim_ubatch(l), e = m->embedding, n = pad256(l->num_ctx);
    if (u->no_flash_attention) return ub * (22 * e + 4 * n * (1 + m->heads));
    if (u->logits_copies == 0) return ub * (4 * (3 * (int64_t)m->feed_forward + 4 * e) + 2 * l->num_ctx);
    return max(4 * ub * (m->vocabulary + u->logits_copies * e), ub * (36 * e + 2 * n));
}

static int parallel_of(const struct o3_world *w, const struct o3_sim_weights *m) {
    return m->can_complete ? w->params.parallel : 1;
}

static int64_t size_of(const struct o3_world *w, const struct o3_sim_model *model, const struct o3_sim_launch *l) {
    const struct o3_sim_weights *m = model->weights;
    int parallel = parallel_of(w, m);
    struct o3_sim_memory_rules u = o3_sim_memory_rules(o3_sim_is_gpu(w));
    int64_t output = 4 * (int64_t)m->vocabulary * parallel;
    int64_t kv = m->can_complete ? o3_sim_kv_bytes(&u, m, l, parallel) : 0;
    double noise = (double)w->params.memory_noise_bytes * (double)o3_sim_ubatch(l) / 512 *
                   o3_sim_uniform_of(o3_sim_load_key(w, model));
    double bias = w->params.memory_bias * (double)m->size_bytes;
    return m->size_bytes + kv + o3_sim_compute_bytes(&u, m, l) + output + (int64_t)(noise + bias);
}

static int64_t tenant_bytes(const struct o3_world *w, int64_t t) {
    const struct o3_sim_event *ev = o3_sim_in_force(w, O3_SIM_CHANGE_TENANT, t);
    return ev ? (int64_t)ev->value : 0;
}

int64_t o3_sim_free_bytes(const struct o3_world *w, bool is_vram, int64_t t) {
    int64_t left = is_vram ? w->params.vram_bytes : w->params.ram_bytes;
    if (is_vram == w->params.has_gpu) left -= tenant_bytes(w, t);
    for (size_t i = 0; i < w->runners_end; i++) {
        const struct o3_sim_runner *r = &w->runners[i];
        if (!r->is_used) continue;
        left -= is_vram ? r->vram_bytes : r->size_bytes - r->vram_bytes;
        if (is_vram == (r->vram_bytes > 0)) left -= r->overhead_bytes;
    }
    return left;
}

/* Layers that a GPU with that much room takes; the output layer is the last. An explicit number is not made to fit. */
static void place(const struct o3_sim_weights *m, const struct o3_sim_launch *l, int64_t room, struct o3_sim_fit *f) {
    const int64_t margin = O3_SIM_GIB;
    int64_t per_layer = f->size_bytes / (m->layers + 1);
    int64_t wanted = l->num_gpu >= 0 && l->num_gpu <= m->layers ? per_layer * l->num_gpu : f->size_bytes;
    f->vram_bytes = wanted;
    f->is_full_gpu = wanted == 0 || wanted <= room - margin;
    if (f->is_full_gpu) return;
    if (l->num_gpu >= 0)
        f->has_room = wanted <= room;
    else
        f->vram_bytes = room > margin ? (room - margin) / per_layer * per_layer : 0;
}

void o3_sim_fit(const struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_launch *l, int64_t t,
                struct o3_sim_fit *ret) {
    struct o3_sim_fit f = {.size_bytes = size_of(w, m, l), .is_full_gpu = true, .has_room = true};
    f.overhead_bytes = w->params.memory_overhead_bytes;
    if (o3_sim_is_gpu(w)) place(m->weights, l, o3_sim_free_bytes(w, true, t) - f.overhead_bytes, &f);
    int64_t in_ram = f.size_bytes - f.vram_bytes + (f.vram_bytes > 0 ? 0 : f.overhead_bytes);
    if (in_ram > o3_sim_free_bytes(w, false, t)) f.has_room = false;
    if (o3_sim_in_force_on(w, O3_SIM_CHANGE_OOM_LOAD, m->name, t)) f.has_room = false;
    *ret = f;
}

/* Only another process can take more than there is: a load that finds no room fails. */
int64_t o3_sim_shortage(const struct o3_world *w, int64_t t) {
    if (w->params.has_gpu || tenant_bytes(w, t) == 0) return 0;
    int64_t left = o3_sim_free_bytes(w, false, t);
    return left < 0 ? -left : 0;
}

/* RAM of all runners, of which the container allows a part only; the machine lacks none. */
static double share_over_limit(const struct o3_world *w, int64_t t) {
    const struct o3_sim_event *limit = o3_sim_in_force(w, O3_SIM_CHANGE_MEMORY_LIMIT, t);
    double held = 0;
    for (size_t i = 0; limit && i < O3_SIM_MAX_RUNNERS; i++)
        if (w->runners[i].is_used) held += (double)(w->runners[i].size_bytes - w->runners[i].vram_bytes);
    return limit && held > limit->value ? 1 - limit->value / held : 0;
}

/* What is missing is taken from everybody in proportion. */
double o3_sim_swapped_bytes(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t) {
    double missing = (double)o3_sim_shortage(w, t), held = (double)(r->size_bytes - r->vram_bytes);
    double of_machine = missing > 0 ? missing / ((double)w->params.ram_bytes + missing) : 0;
    return held * fmax(of_machine, share_over_limit(w, t));
}

bool o3_sim_swaps(const struct o3_world *w, int64_t t) {
    return o3_sim_shortage(w, t) > 0 || share_over_limit(w, t) > 0;
}
