/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_METRICS_H
#define O3_METRICS_H
/* The registry: series of the metrics in tables/metrics.def, and their exposition as Prometheus text 0.0.4 and
 * OpenMetrics 1.0.0. Label values outside a closed set are a bug (asserted); open ones are cut to
 * O3_LABEL_VALUE_MAX bytes, and invalid UTF-8 in them becomes '?'. No I/O, no clock. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"

enum o3_metric_kind { O3_COUNTER, O3_GAUGE, O3_HISTOGRAM, O3_INFO };
enum o3_metric {
#define O3_METRIC(sym, name, kind, labels, unit, buckets, scope, help) O3_M_##sym,
#include "o3/tables/metrics.def"
#undef O3_METRIC
    O3_METRIC_COUNT
};
#define O3_METRIC_MAX_LABELS 6
#define O3_LABEL_VALUE_MAX 128

struct o3_metric_row {
    const char *symbol, *name; /* full name as exposed in text format, with o3_ prefix and _total or _info */
    enum o3_metric_kind kind;
    int n_labels;
    const char *labels[O3_METRIC_MAX_LABELS + 1]; /* names in table order, then NULL */
    const char *unit, *help;
    const double *buckets; /* upper bounds without +Inf; histograms only */
    int n_buckets;
    bool is_later; /* in the table, but no capability of this version fills it */
};
const struct o3_metric_row *o3_metric_row(enum o3_metric m);
const char *o3_metric_kind_name(enum o3_metric_kind k); /* "counter" ... */
/* Closed set of a label of this metric, or NULL when open. */
const char *const *o3_label_values(enum o3_metric m, const char *label, size_t *ret_n);

struct o3_metrics;
/* max_series bounds the registry (a histogram counts as one); a new series over it is dropped and counted in
 * o3_metrics_dropped. */
struct o3_metrics *o3_metrics_new(size_t max_series);
void o3_metrics_free(struct o3_metrics *m);
uint64_t o3_metrics_dropped(const struct o3_metrics *m);
size_t o3_metrics_series(const struct o3_metrics *m);

/* Label values in table order. O3_L() builds the array: o3_metric_set(m, O3_M_MODEL_LOADED, O3_L(name), 1). */
#define O3_L(...) ((const char *const[]){__VA_ARGS__})
#define O3_NO_LABELS ((const char *const *)0)
/* Gauges; info (the value is always 1); counters that mirror one kept elsewhere (process_cpu_seconds_total). */
void o3_metric_set(struct o3_metrics *m, enum o3_metric id, const char *const *labels, double v);
void o3_metric_add(struct o3_metrics *m, enum o3_metric id, const char *const *labels,
                   double v); /* counters; 0 makes the series appear; v < 0 is ignored */
void o3_metric_observe(struct o3_metrics *m, enum o3_metric id, const char *const *labels,
                       double v); /* histograms; NaN and Inf are ignored */
void o3_metric_drop(struct o3_metrics *m, enum o3_metric id, const char *const *labels); /* absent series: no effect */
/* Drops every series of this metric whose first labels match the n given ones (NULL entries match all). */
void o3_metric_drop_matching(struct o3_metrics *m, enum o3_metric id, const char *const *labels, int n);
void o3_metrics_drop_label(struct o3_metrics *m, const char *label,
                           const char *value); /* in all metrics: a model went for good */
/* Current value, of a histogram the count (NaN when the series does not exist); for tests, status pages and sums. */
double o3_metric_get(const struct o3_metrics *m, enum o3_metric id, const char *const *labels);

enum o3_exposition { O3_TEXT_0_0_4, O3_OPENMETRICS_1_0_0 };
/* By Accept header (NULL allowed), q-values respected; default text. */
enum o3_exposition o3_exposition_negotiate(const char *accept);
const char *o3_exposition_content_type(enum o3_exposition f);
/* Families in table order, series sorted by labels: same state, same bytes. No _created lines: the registry has no
 * clock. */
int o3_metrics_render(const struct o3_metrics *m, enum o3_exposition f, struct o3_buf *out);

#endif
