/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/spread.h"
#include <math.h>
#include <string.h>
#include "o3/err.h"
#include "o3/num.h"

#define SMALLEST 1e-6
#define WIDTH 1.05

/* The bucket of a magnitude; -1: counts as 0. */
static int bucket_of(double magnitude) {
    if (magnitude < SMALLEST) return -1;
    double i = floor(o3_log(magnitude / SMALLEST) / o3_log(WIDTH));
    if (i < 0) return 0;
    return i < O3_SPREAD_BUCKETS ? (int)i : O3_SPREAD_BUCKETS - 1;
}

double o3_spread_bucket(int i) {
    O3_ASSERT(i >= 0 && i < O3_SPREAD_BUCKETS);
    return SMALLEST * o3_exp((i + 0.5) * o3_log(WIDTH));
}

void o3_spread_init(struct o3_spread *s) {
    memset(s, 0, sizeof *s);
    s->min = s->max = (double)NAN;
}

void o3_spread_add(struct o3_spread *s, double value) {
    if (isnan(value)) return;
    int i = bucket_of(fabs(value));
    if (i < 0)
        s->n_zero++;
    else
        (value < 0 ? s->negative : s->positive)[i]++;
    s->n++;
    s->sum += value;
    s->min = fmin(s->min, value); /* fmin and fmax pass a NaN over */
    s->max = fmax(s->max, value);
}

void o3_spread_merge(struct o3_spread *into, const struct o3_spread *from) {
    into->n += from->n;
    into->n_zero += from->n_zero;
    into->sum += from->sum;
    into->min = fmin(into->min, from->min);
    into->max = fmax(into->max, from->max);
    for (int i = 0; i < O3_SPREAD_BUCKETS; i++) {
        into->negative[i] += from->negative[i];
        into->positive[i] += from->positive[i];
    }
}

/* The value of that rank (from 0) by its bucket, from the most negative up. */
static double value_at(const struct o3_spread *s, int64_t rank) {
    for (int i = O3_SPREAD_BUCKETS; i-- > 0;) {
        rank -= s->negative[i];
        if (rank < 0) return -o3_spread_bucket(i);
    }
    rank -= s->n_zero;
    if (rank < 0) return 0;
    for (int i = 0; i < O3_SPREAD_BUCKETS; i++) {
        rank -= s->positive[i];
        if (rank < 0) return o3_spread_bucket(i);
    }
    return s->max;
}

double o3_spread_quantile(const struct o3_spread *s, double q) {
    O3_ASSERT(q >= 0 && q <= 1);
    if (!s->n) return (double)NAN;
    /* The ends are known exactly. */
    if (q <= 0) return s->min;
    if (q >= 1) return s->max;
    double v = value_at(s, (int64_t)floor(q * (double)(s->n - 1) + 0.5));
    return fmin(fmax(v, s->min), s->max);
}

double o3_spread_mean(const struct o3_spread *s) {
    return s->n ? s->sum / (double)s->n : (double)NAN;
}
