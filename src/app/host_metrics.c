/* SPDX-License-Identifier: Apache-2.0 */
/* Gauges of the host that Ollama shares with us. What is not known is absent. */
#include <math.h>
#include "app/daemon_internal.h"

#define MAX_AGE_NS (5LL * O3_NS_PER_S) /* of the look: the pressure is that of ten seconds anyway */

static void set_known(struct o3_daemon *d, enum o3_metric id, const char *const *labels, bool is_known, double v) {
    if (is_known)
        o3_metric_set(d->metrics, id, labels, v);
    else
        o3_metric_drop(d->metrics, id, labels);
}

void o3_daemon_set_host_metrics(struct o3_daemon *d) {
    const struct o3_host_state *h = o3_daemon_host(d, MAX_AGE_NS);
    set_known(d, O3_M_HOST_MEMORY_AVAILABLE_BYTES, O3_NO_LABELS, h->memory_available_bytes >= 0,
              (double)h->memory_available_bytes);
    for (int i = 0; i < O3_HOST_RESOURCE_COUNT; i++) {
        const char *resource = o3_host_resource_name((enum o3_host_resource)i);
        const struct o3_host_pressure *p = &h->pressure[i];
        set_known(d, O3_M_HOST_PRESSURE_RATIO, O3_L(resource, "some"), !isnan(p->some), p->some);
        set_known(d, O3_M_HOST_PRESSURE_RATIO, O3_L(resource, "full"), !isnan(p->full), p->full);
    }
    int64_t limit = h->memory_limit_bytes;
    set_known(d, O3_M_CONTAINER_MEMORY_LIMIT_BYTES, O3_NO_LABELS, limit >= 0 && limit != INT64_MAX, (double)limit);
    set_known(d, O3_M_CONTAINER_CPU_QUOTA_CORES, O3_NO_LABELS, isfinite(h->cpu_quota_cores), h->cpu_quota_cores);
}
