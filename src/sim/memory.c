/* SPDX-License-Identifier: Apache-2.0 */
/* What a runner needs, by the formulas measured on llama.cpp: KV cache exact, compute buffer within 0.2 % for the dense
 * llama architecture with flash attention on. */
#include "sim/sim.h"

static int64_t pad256(int64_t n) {
    return (n + 255) / 256 * 256;
}

int64_t o3_sim_kv_bytes(const struct o3_sim_weights *m, int64_t num_ctx, int parallel) {
    const int64_t bytes_f16 = 2;
    return pad256(num_ctx) * parallel * m->layers * m->heads_kv * 2 * m->head_size * bytes_f16;
}

static int64_t compute_bytes(const struct o3_sim_weights *m, const struct o3_sim_launch *l) {
    int64_t per_token = 4 * (3 * (int64_t)m->feed_forward + 4 * (int64_t)m->embedding) + 2 * l->num_ctx;
    return o3_sim_ubatch(l) * per_token;
}

int64_t o3_sim_runner_bytes(const struct o3_sim_weights *m, const struct o3_sim_launch *l, int parallel) {
    int64_t output = 4 * (int64_t)m->vocabulary * parallel;
    int64_t kv = m->can_complete ? o3_sim_kv_bytes(m, l->num_ctx, parallel) : 0;
    return m->size_bytes + kv + compute_bytes(m, l) + output;
}

int64_t o3_sim_vram_bytes(const struct o3_sim_weights *m, const struct o3_sim_launch *l, int64_t size,
                          int64_t vram_free) {
    const int64_t margin = 512 * O3_SIM_MIB;
    int64_t room = vram_free > margin ? vram_free - margin : 0;
    int64_t wanted = size;
    /* num_gpu counts layers, the output layer being the last. */
    if (l->num_gpu >= 0 && l->num_gpu <= m->layers) wanted = size / (m->layers + 1) * l->num_gpu;
    if (wanted <= room) return wanted;
    int64_t per_layer = size / (m->layers + 1);
    return room / per_layer * per_layer;
}
