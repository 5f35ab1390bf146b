/* SPDX-License-Identifier: Apache-2.0 */
#include "drift/rank.h"
#include <math.h>
#include "o3/num.h"

const double o3_rank_shifts[O3_RANK_SHIFTS] = {0.4, 0.8, 1.3, 2.0};

/* Normal quantile of k / n (Abramowitz & Stegun 26.2.23, error below 4.5e-4; the e-values need no better one, because
 * neighbours share their limits). Exactly odd around 1/2. */
static double quantile(int k, int n) {
    if (2 * k == n) return 0;
    if (2 * k > n) return -quantile(n - k, n);
    double t = sqrt(-2 * o3_log((double)k / n));
    return (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
}

/* Normal distribution function (Page 1977, error below 2e-4). Any distribution function would keep the mean of 1. */
static double normal_below(double z) {
    return 1 / (1 + o3_exp(-1.5957691216 * z * (1 + 0.044715 * z * z)));
}

/* Likelihood ratio of N(shift, 1) against N(0, 1) for "the score lies between lo and hi", where they cut off
 * below / n and above / n. Sums over neighbours telescope to 1, so that ties and every n are covered without a table.
 */
static double e_value(double lo, double hi, int below, int above, int n, double shift) {
    double from = below == 0 ? 0 : normal_below(lo - shift), to = above == n ? 1 : normal_below(hi - shift);
    return (to - from) * n / (above - below);
}

static double limit_below(int below, int n) {
    return below == 0 ? 0 : quantile(below, n);
}

static double limit_above(int above, int n) {
    return above == n ? 0 : quantile(above, n);
}

double o3_rank_e_value(int below, int above, int n, double shift) {
    if (shift < 0) return o3_rank_e_value(n - above, n - below, n, -shift);
    return e_value(limit_below(below, n), limit_above(above, n), below, above, n, shift);
}

void o3_rank_clear(struct o3_rank *r, int64_t next) {
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_RANK_SHIFTS; i++)
            r->side[side][i] = (struct o3_rank_member){.start = next};
    r->changed = INT64_MAX;
    r->is_worn = false;
}

static void add(struct o3_rank_member *m, double e, double cap, int64_t index) {
    m->sum = fmin(cap, (m->sum + 1) * e);
    m->product = fmin(cap, (m->product > 1 ? m->product : 1) * e);
    if (m->product > 1) return;
    m->product = 1;
    m->start = index + 1;
}

void o3_rank_add(struct o3_rank *r, int below, int above, int n, double cap, int64_t index) {
    double lo = limit_below(below, n), hi = limit_above(above, n);
    for (int i = 0; i < O3_RANK_SHIFTS; i++) {
        double shift = o3_rank_shifts[i];
        add(&r->side[0][i], e_value(lo, hi, below, above, n, shift), cap, index);
        add(&r->side[1][i], e_value(-hi, -lo, n - above, n - below, n, shift), cap, index);
    }
}

double o3_rank_sum(const struct o3_rank *r, int direction) {
    const struct o3_rank_member *side = r->side[direction < 0];
    double sum = 0;
    for (int i = 0; i < O3_RANK_SHIFTS; i++)
        sum += side[i].sum;
    return sum / O3_RANK_SHIFTS;
}

int64_t o3_rank_start(const struct o3_rank *r, int direction) {
    const struct o3_rank_member *side = r->side[direction < 0], *best = side;
    for (int i = 1; i < O3_RANK_SHIFTS; i++) /* at the cap they are equal, and the larger shift dates more sharply */
        if (side[i].sum >= best->sum) best = &side[i];
    return best->start;
}
