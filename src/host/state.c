/* SPDX-License-Identifier: Apache-2.0 */
/* From two looks at a host to the surroundings of a sample. */
#include <math.h>
#include "o3/host.h"
#include "o3/sample.h"
#include "o3/text.h"

void o3_host_state_init(struct o3_host_state *s) {
    *s = (struct o3_host_state){.memory_available_bytes = -1,
                                .swapped_in_bytes = -1,
                                .n_heat = -1,
                                .n_quota = -1,
                                .memory_limit_bytes = -1,
                                .cpu_quota_cores = NAN};
    for (int i = 0; i < O3_HOST_RESOURCE_COUNT; i++)
        s->pressure[i] = (struct o3_host_pressure){NAN, NAN};
}

static int64_t since(int64_t now, int64_t before) {
    return now >= 0 && before >= 0 && now > before ? now - before : 0;
}

void o3_host_state_fill(const struct o3_host_state *now, const struct o3_host_state *before,
                        struct o3_surroundings *out) {
    struct o3_host_state none;
    o3_host_state_init(&none);
    if (!before) before = &none;
    out->pressure_cpu = now->pressure[O3_HOST_CPU].some;
    out->pressure_memory = now->pressure[O3_HOST_MEMORY].some;
    out->pressure_io = now->pressure[O3_HOST_IO].some;
    out->memory_available_bytes = now->memory_available_bytes;
    (void)o3_str_copy(out->gpu, sizeof out->gpu, now->gpu);
    out->swapped_bytes = since(now->swapped_in_bytes, before->swapped_in_bytes);
    out->n_quota = now->quota_id == before->quota_id ? since(now->n_quota, before->n_quota) : 0;
    int64_t n_heat = since(now->n_heat, before->n_heat);
    if (__builtin_add_overflow(n_heat, out->n_quota, &out->n_throttled)) out->n_throttled = INT64_MAX;
}
