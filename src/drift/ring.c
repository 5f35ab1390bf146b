/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"
#include "o3/stat.h"

#define WALL_MAX_MS (INT64_C(1) << 60)
#define DT_MIN 0.05 /* intervals; samples are not believed to be closer */

int64_t o3_drift_newest(const struct o3_drift *d) {
    return d->next - 1;
}

int64_t o3_drift_oldest(const struct o3_drift *d) {
    int64_t oldest = d->next - O3_DRIFT_RING;
    return oldest > d->first ? oldest : d->first;
}

void o3_drift_push(struct o3_drift *d, double log_value, int64_t wall_ms) {
    size_t slot = o3_drift_slot(d->next);
    uint64_t bit = UINT64_C(1) << (slot % 64);
    wall_ms = wall_ms > WALL_MAX_MS ? WALL_MAX_MS : wall_ms < -WALL_MAX_MS ? -WALL_MAX_MS : wall_ms;
    int64_t step_ms = wall_ms - d->last_wall_ms;
    if (d->next == d->first) d->anchor = log_value;
    if (step_ms <= 0 || step_ms > O3_DRIFT_FORGET_INTERVALS * d->params.interval_ms) d->gap = true;
    d->y[slot] = (float)(log_value - d->anchor);
    d->season_of[slot] = o3_drift_season_at(d, wall_ms);
    d->step_ms[slot] = (int32_t)(step_ms > INT32_MAX ? INT32_MAX : step_ms < INT32_MIN ? INT32_MIN : step_ms);
    d->gaps[slot / 64] = d->gap ? d->gaps[slot / 64] | bit : d->gaps[slot / 64] & ~bit;
    d->gap = false;
    d->last_wall_ms = wall_ms;
    d->next++;
}

void o3_drift_anchor(struct o3_drift *d, double shift) {
    d->anchor += shift;
    for (int64_t i = o3_drift_oldest(d); i < d->next; i++) {
        float *y = &d->y[o3_drift_slot(i)];
        *y = (float)((double)*y - shift);
        d->season_of[o3_drift_slot(i)] = 0;
    }
    o3_drift_hours_anchored(d);
}

struct o3_drift_pair o3_drift_pair_at(const struct o3_drift *d, int64_t index) {
    size_t slot = o3_drift_slot(index);
    bool gap = d->gaps[slot / 64] >> (slot % 64) & 1;
    struct o3_drift_pair y = {.now = o3_drift_y(d, index), .dt = 1, .has_before = !gap && index > o3_drift_oldest(d)};
    y.before = y.now;
    if (!y.has_before) return y;
    y.before = o3_drift_y(d, index - 1);
    y.dt = fmax(DT_MIN, d->step_ms[slot] / (double)d->params.interval_ms);
    return y;
}

int64_t o3_drift_wall_at(const struct o3_drift *d, int64_t index) {
    int64_t wall_ms = d->last_wall_ms;
    for (int64_t i = d->next - 1; i > index; i--) {
        int32_t step_ms = d->step_ms[o3_drift_slot(i)];
        wall_ms -= step_ms >= 0 ? step_ms : d->params.interval_ms;
    }
    return wall_ms;
}

double o3_drift_duration(const struct o3_drift *d, int64_t index) {
    double interval_ms = (double)d->params.interval_ms, sum = 0;
    if (index < o3_drift_oldest(d)) index = o3_drift_oldest(d);
    for (int64_t i = d->next - 1; i > index; i--) {
        double step = d->step_ms[o3_drift_slot(i)] / interval_ms;
        sum += step <= 0 ? 1 : fmin(step, O3_DRIFT_GAP_INTERVALS);
    }
    return sum;
}

static size_t newest_values(const struct o3_drift *d, int64_t n, double v[O3_DRIFT_LEVEL_MAX]) {
    int64_t held = d->next - o3_drift_oldest(d);
    if (n > held) n = held;
    if (n > O3_DRIFT_LEVEL_MAX) n = O3_DRIFT_LEVEL_MAX;
    for (int64_t i = 0; i < n; i++)
        v[i] = o3_drift_y(d, d->next - n + i);
    return (size_t)n;
}

double o3_drift_median_of_last(const struct o3_drift *d, int64_t n) {
    double v[O3_DRIFT_LEVEL_MAX];
    size_t held = newest_values(d, n, v);
    return o3_median(v, held);
}

double o3_drift_level_of_last(const struct o3_drift *d, int64_t n) {
    double v[O3_DRIFT_LEVEL_MAX], limit = O3_DRIFT_LEVEL_CLIP * sqrt(d->base.var), sum = 0;
    size_t held = newest_values(d, n, v);
    double median = o3_median(v, held);
    for (size_t i = 0; i < held; i++)
        sum += fmin(limit, fmax(-limit, v[i] - median));
    return median + sum / (double)held;
}
