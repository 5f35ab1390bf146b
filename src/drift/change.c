/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"
#include "o3/stat.h"

#define LOOK_BACK 30   /* samples before the CUSUM's last zero where the change may have begun */
#define SPLIT_CLIP 4.0 /* sd; wider than the score's clip, so that a large step is dated sharply */
#define RECENT 5
#define Z95 1.96
#define MEDIAN_VARIANCE 1.5707963 /* pi / 2: variance of a median over that of a mean */

static double at(const struct o3_drift *d, int64_t index) {
    return d->y[index % O3_DRIFT_RING];
}

int64_t o3_drift_oldest(const struct o3_drift *d) {
    int64_t oldest = d->next - O3_DRIFT_RING;
    return oldest > d->first ? oldest : d->first;
}

struct o3_drift_pair o3_drift_pair_at(const struct o3_drift *d, int64_t index) {
    size_t slot = (size_t)(index % O3_DRIFT_RING);
    bool gap = d->gaps[slot / 64] >> (slot % 64) & 1;
    struct o3_drift_pair y = {.now = d->y[slot], .has_before = !gap && index > o3_drift_oldest(d)};
    y.before = y.has_before ? at(d, index - 1) : y.now;
    return y;
}

int64_t o3_drift_wall_at(const struct o3_drift *d, int64_t index) {
    int64_t wall_ms = d->last_wall_ms;
    for (int64_t i = d->next - 1; i > index; i--)
        wall_ms -= d->step_ms[i % O3_DRIFT_RING];
    return wall_ms;
}

double o3_drift_median_of_last(const struct o3_drift *d, int64_t n) {
    double v[O3_DRIFT_LEVEL_MAX];
    int64_t held = d->next - o3_drift_oldest(d);
    if (n > held) n = held;
    if (n > O3_DRIFT_LEVEL_MAX) n = O3_DRIFT_LEVEL_MAX;
    for (int64_t i = 0; i < n; i++)
        v[i] = at(d, d->next - n + i);
    return o3_median(v, (size_t)n);
}

int64_t o3_drift_best_split(const struct o3_drift *d, int64_t lo, double centre, int direction) {
    double limit = SPLIT_CLIP * sqrt(d->base.var), sum = 0, best_sum = 0, best_n = 1;
    int64_t split = d->next - 1;
    for (int64_t i = d->next - 1; i >= lo; i--) {
        double n = (double)(d->next - i);
        double deviation = direction * (at(d, i) - centre);
        sum += deviation > limit ? limit : deviation < -limit ? -limit : deviation;
        /* sum / sqrt(n) against the best one, without the division and the root */
        if (sum <= 0 || sum * sum * best_n < best_sum * best_sum * n) continue;
        best_sum = sum;
        best_n = n;
        split = i;
    }
    return split;
}

struct o3_drift_change o3_drift_find_change(const struct o3_drift *d, int direction) {
    int64_t lo = o3_drift_bank_lead(&d->bank, d->h, direction).start - LOOK_BACK;
    if (lo < d->floor) lo = d->floor;
    if (lo < o3_drift_oldest(d)) lo = o3_drift_oldest(d);
    struct o3_drift_change c = {.index = o3_drift_best_split(d, lo, d->base.mean, direction)};
    c.n = d->next - c.index;
    c.level = o3_drift_median_of_last(d, c.n);
    c.effect = direction * (c.level - d->base.mean);
    c.recent = direction * (o3_drift_median_of_last(d, c.n < RECENT ? c.n : RECENT) - d->base.mean);
    return c;
}

double o3_drift_effect_error(const struct o3_drift *d, int64_t n) {
    double v[O3_DRIFT_LEVEL_MAX], var = d->base.var;
    if (n > O3_DRIFT_LEVEL_MAX) n = O3_DRIFT_LEVEL_MAX;
    for (int64_t i = 0; i < n; i++)
        v[i] = at(d, d->next - n + i);
    double median = o3_median(v, (size_t)n);
    /* The noise may have grown with the change; it is not believed to have shrunk. */
    double sd = o3_mad_sd(v, (size_t)n, median);
    double rho = o3_drift_baseline_rho(&d->base), inflation = (1 + rho) / (1 - rho);
    double level_var = MEDIAN_VARIANCE * fmax(var, sd * sd) / (double)n;
    return Z95 * sqrt(inflation * (level_var + var / o3_drift_baseline_weight(&d->base)));
}
