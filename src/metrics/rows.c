/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of metrics and label sets, as arrays. */
#include <string.h>
#include "o3/err.h"
#include "o3/metrics.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* OTel's and vLLM's bounds from 10 ms on, so that sums across servers work. */
static const double TTFT[] = {0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1,
                              2.5,  5,    7.5,  10,   20,   40,  80,   160, 640};
static const double TPOT[] = {0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.05, 0.075,
                              0.1,    0.15,  0.2,    0.3,  0.4,   0.5,  0.75,  1,    2.5};
static const double SECONDS[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
static const double LAG[] = {0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1};

#define BUCKETS_NONE NULL, 0
#define BUCKETS_TTFT TTFT, COUNT(TTFT)
#define BUCKETS_TPOT TPOT, COUNT(TPOT)
#define BUCKETS_SECONDS SECONDS, COUNT(SECONDS)
#define BUCKETS_LAG LAG, COUNT(LAG)
#define SCOPE_NOW false
#define SCOPE_LATER true
/* Each list ends with NULL, which its length leaves out. */
#define LABELS(...) {__VA_ARGS__, NULL}
#define NO_LABELS {NULL}

static const struct o3_metric_row ROWS[O3_METRIC_COUNT] = {
#define O3_METRIC(sym, name, kind, labels, unit, buckets, scope, help)                                                 \
    {#sym,         name, O3_##kind, COUNT(((const char *const[])labels)) - 1, labels, unit, help, BUCKETS_##buckets,   \
     SCOPE_##scope},
#include "o3/tables/metrics.def"
#undef O3_METRIC
};

enum { O3_M_ANY = O3_METRIC_COUNT };
static const struct {
    int metric;
    const char *label;
    const char *const *values;
    int n;
} SETS[] = {
#define O3_LABEL(sym, label, ...)                                                                                      \
    {O3_M_##sym, label, (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__}))},
#include "o3/tables/labels.def"
#undef O3_LABEL
};

const struct o3_metric_row *o3_metric_row(enum o3_metric m) {
    O3_ASSERT((unsigned)m < O3_METRIC_COUNT);
    return &ROWS[m];
}

const char *o3_metric_kind_name(enum o3_metric_kind k) {
    static const char *const NAMES[] = {"counter", "gauge", "histogram", "info"};
    return NAMES[k];
}

const char *const *o3_label_values(enum o3_metric m, const char *label, size_t *ret_n) {
    for (int i = 0; i < COUNT(SETS); i++) {
        if ((SETS[i].metric != (int)m && SETS[i].metric != O3_M_ANY) || strcmp(SETS[i].label, label) != 0) continue;
        if (ret_n) *ret_n = (size_t)SETS[i].n;
        return SETS[i].values;
    }
    if (ret_n) *ret_n = 0;
    return NULL;
}
