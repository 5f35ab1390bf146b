/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"
#include "o3/num.h"
#include "o3/stat.h"

#define LOOK_BACK 30   /* samples before the CUSUM's last zero where the change may have begun */
#define SPLIT_CLIP 4.0 /* sd; wider than the score's clip, so that a large step is dated sharply */
#define SPLIT_DROP 6.0 /* twice the log likelihood ratio by which a date may be worse than the best; by simulation */
#define GATE_SLACK 1.3 /* standard errors by which the effect found may miss the minimum */
#define GATE_SLACK_MAX 0.25 /* of the minimum: much noise makes the gate no more lenient than that */
#define RECENT 5
#define TAIL 8
#define TAIL_HEALED 6.0 /* nats by which the newest samples have to speak for the old level */
#define HEALED_OF 15    /* samples whose level tells the same of a change too small for that */
#define SHARE_MIN 0.01
#define Z95 1.96
#define LEVEL_VARIANCE 1.05       /* of the robust mean over that of a mean */
#define MEDIAN_VARIANCE 1.5707963 /* pi / 2: variance of a median over that of a mean */

/* Variance of a mean over that of one of independent samples. */
static double spread_of_mean(const struct o3_drift *d) {
    double rho = o3_drift_baseline_rho(&d->base);
    return (1 + rho) / (1 - rho);
}

/* The same of the newest n, which tell less each where a suspicion made them come more often. */
static double spread_of_last(const struct o3_drift *d, int64_t n) {
    double usual = d->base.spacing * (double)(n - 1);
    double share = usual > 0 ? o3_drift_duration(d, d->next - n) / usual : 1;
    if (share >= 1) return spread_of_mean(d);
    double rho = o3_pow(o3_drift_baseline_rho(&d->base), fmax(SHARE_MIN, share));
    return (1 + rho) / (1 - rho);
}

static double clipped(double deviation, double limit) {
    return deviation > limit ? limit : deviation < -limit ? -limit : deviation;
}

/* The likelihood of a change at sample i grows with (sum of the deviations since) ^ 2 / count; compared without
 * division.
 */
int64_t o3_drift_best_split(const struct o3_drift *d, int64_t lo, double centre, int direction) {
    double limit = SPLIT_CLIP * sqrt(d->base.var), sum = 0, best_sum = 0, best_n = 1, n = 0;
    int64_t split = o3_drift_newest(d);
    for (int64_t i = split; i >= lo; i--) {
        sum += clipped(direction * (o3_drift_y(d, i) - centre), limit);
        n++;
        if (sum <= 0 || sum * sum * best_n < best_sum * best_sum * n) continue;
        best_sum = sum;
        best_n = n;
        split = i;
    }
    return split;
}

void o3_drift_split_interval(const struct o3_drift *d, int64_t from, double centre, int direction, int64_t split,
                             int64_t *lo, int64_t *hi) {
    double limit = SPLIT_CLIP * sqrt(d->base.var), sum = 0, sums[O3_DRIFT_RING];
    int64_t newest = o3_drift_newest(d);
    for (int64_t i = newest; i >= from; i--)
        sums[newest - i] = sum += clipped(direction * (o3_drift_y(d, i) - centre), limit);
    double best = sums[newest - split], drop = SPLIT_DROP * d->base.var * spread_of_mean(d);
    double enough = fmax(0, best) * best / (double)(newest - split + 1) - drop;
    *lo = *hi = split;
    for (int64_t i = from; i <= newest; i++) {
        double at = sums[newest - i];
        if (fmax(0, at) * at < enough * (double)(newest - i + 1)) continue;
        if (i < *lo) *lo = i;
        if (i > *hi) *hi = i;
    }
}

static double tail_of(const struct o3_drift *d, int direction, const struct o3_drift_change *c) {
    double sd = sqrt(d->base.var), size = c->effect / sd, sum = 0, lowest = 0;
    int64_t n = c->n < TAIL ? c->n : TAIL;
    for (int64_t i = o3_drift_newest(d); i > o3_drift_newest(d) - n; i--) {
        double z = direction * (o3_drift_y(d, i) - d->base.mean) / sd;
        sum += size * (fmin(size + O3_DRIFT_CLIP, fmax(-O3_DRIFT_CLIP, z)) - 0.5 * size);
        lowest = fmin(lowest, sum);
    }
    return lowest / spread_of_mean(d);
}

struct o3_drift_change o3_drift_find_change(const struct o3_drift *d, int direction) {
    int64_t lo = o3_drift_lead(d, direction).start - LOOK_BACK;
    if (lo < d->floor) lo = d->floor;
    if (lo < o3_drift_oldest(d)) lo = o3_drift_oldest(d);
    if (lo > o3_drift_newest(d)) lo = o3_drift_newest(d); /* the evidence was cleared with this sample */
    struct o3_drift_change c = {.from = lo, .index = o3_drift_best_split(d, lo, d->base.mean, direction)};
    c.n = d->next - c.index;
    c.level = o3_drift_level_of_last(d, c.n);
    c.effect = direction * (c.level - d->base.mean);
    int64_t n = c.n < O3_DRIFT_LEVEL_MAX ? c.n : O3_DRIFT_LEVEL_MAX;
    c.error = sqrt(d->base.var *
                   (spread_of_last(d, n) / (double)n + spread_of_mean(d) / o3_drift_baseline_weight(&d->base)));
    c.recent = direction * (o3_drift_median_of_last(d, c.n < RECENT ? c.n : RECENT) - d->base.mean);
    c.tail = tail_of(d, direction, &c);
    return c;
}

bool o3_drift_reaches_gate(const struct o3_drift *d, const struct o3_drift_change *c) {
    return c->effect > 0 && c->effect + fmin(GATE_SLACK * c->error, GATE_SLACK_MAX * d->gate) >= d->gate;
}

bool o3_drift_healed(const struct o3_drift *d, int direction, const struct o3_drift_change *c) {
    if (c->tail < -TAIL_HEALED) return true;
    if (c->n <= HEALED_OF) return c->recent < 0.5 * c->effect;
    return direction * (o3_drift_level_of_last(d, HEALED_OF) - d->base.mean) < 0.5 * c->effect;
}

double o3_drift_effect_error(const struct o3_drift *d, int64_t n, bool is_median) {
    double v[O3_DRIFT_LEVEL_MAX], var = d->base.var;
    if (n > O3_DRIFT_LEVEL_MAX) n = O3_DRIFT_LEVEL_MAX;
    for (int64_t i = 0; i < n; i++)
        v[i] = o3_drift_y(d, d->next - n + i);
    double median = o3_median(v, (size_t)n);
    /* The noise may have grown with the change; it is not believed to have shrunk. */
    double sd = o3_mad_sd(v, (size_t)n, median);
    double level_var = (is_median ? MEDIAN_VARIANCE : LEVEL_VARIANCE) * fmax(var, sd * sd) / (double)n;
    double base_var = spread_of_mean(d) * var / o3_drift_baseline_weight(&d->base);
    return Z95 * sqrt(spread_of_last(d, n) * level_var + base_var);
}
