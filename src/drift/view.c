/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"
#include "o3/num.h"
#include "o3/stat.h"

size_t o3_drift_recent(const struct o3_drift *d, double *out, size_t max) {
    int64_t held = d->next - o3_drift_oldest(d);
    size_t n = (size_t)held < max ? (size_t)held : max;
    for (size_t i = 0; i < n; i++)
        out[i] = o3_exp(d->anchor + (double)d->y[(d->next - (int64_t)(n - i)) % O3_DRIFT_RING]);
    return n;
}

static void view_baseline(const struct o3_drift *d, struct o3_drift_view *ret) {
    ret->baseline = ret->baseline_sd = (double)NAN;
    if (d->state == O3_DRIFT_LEARNING) return;
    ret->baseline_n = d->base.n;
    ret->baseline = o3_exp(d->anchor + d->base.mean);
    ret->baseline_sd = ret->baseline * sqrt(d->base.var);
    ret->established_wall_ms = d->established_wall_ms;
}

static void view_change(const struct o3_drift *d, struct o3_drift_view *ret) {
    ret->statistic = o3_drift_lead_any(d).ratio;
    ret->threshold = 1;
    if (!d->direction) return;
    ret->change_ratio = o3_expm1(fmin(d->level - d->base.mean, 700));
    ret->change_wall_ms = d->change_wall_ms;
}

static void view_recent(const struct o3_drift *d, struct o3_drift_view *ret) {
    double v[O3_DRIFT_FOLLOW];
    size_t n = o3_drift_recent(d, v, O3_DRIFT_FOLLOW);
    ret->n_recent = (int)n;
    ret->recent_median = o3_median(v, n);
    ret->robust_cv = o3_mad_sd(v, n, ret->recent_median) / ret->recent_median;
}

enum o3_drift_state o3_drift_state_of(const struct o3_drift *d) {
    return d->state;
}

void o3_drift_glance(const struct o3_drift *d, struct o3_drift_view *ret) {
    *ret = (struct o3_drift_view){.state = d->state, .n_samples = d->next, .n_rejected = d->rejected};
    ret->recent_median = ret->robust_cv = (double)NAN;
    ret->season_known = d->hours.season_known;
    ret->n_modes = o3_drift_modes_count(d);
    view_baseline(d, ret);
    view_change(d, ret);
}

void o3_drift_view(const struct o3_drift *d, struct o3_drift_view *ret) {
    o3_drift_glance(d, ret);
    view_recent(d, ret);
}
