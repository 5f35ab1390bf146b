/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_METRICS_REGISTRY_IMPL_H
#define O3_METRICS_REGISTRY_IMPL_H
/* The registry's insides, shared by registry.c (state) and exposition.c (text). */
#include "o3/metrics.h"

struct o3_series {
    char *labels;        /* as exposed, escaped and without braces: model="x",kind="decode"; "" none */
    double value;        /* histograms: the sum of what was observed */
    uint64_t n_observed; /* histograms only */
    uint64_t *counts;    /* histograms only: per bucket, not cumulative; the last one is +Inf */
    size_t key_len;
    char key[]; /* label values in table order, each ended by NUL: the sort order */
};

struct o3_metrics {
    struct {
        struct o3_series **v; /* sorted by key */
        size_t n, cap;
    } families[O3_METRIC_COUNT];
    size_t n_series, max_series;
    uint64_t n_dropped;
};

#endif
