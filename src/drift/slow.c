/* SPDX-License-Identifier: Apache-2.0 */
/* What the self-starting baseline would follow: the last hours against the same hours of the first day. */
#include <math.h>
#include "drift/parts.h"
#include "o3/stat.h"

#define COMPARED 6 /* hours; the smallest and the largest of 6 are a 96.9 % interval of their median */
#define WITHIN 9   /* ... found in the last ones */
#define FEWEST 3   /* where the last day has no six: all of them, with the noise of single samples as their interval */
#define PAIRS (COMPARED * (COMPARED + 1) / 2)
#define MEDIAN_VARIANCE 1.5707963
#define Z95 1.96

static int slot_of(int64_t hour) {
    return (int)((hour % O3_DRIFT_HOURS + O3_DRIFT_HOURS) % O3_DRIFT_HOURS);
}

void o3_drift_slow_add(struct o3_drift *d, int64_t hour, int16_t median, int64_t n) {
    struct o3_drift_hours *h = &d->hours;
    int slot = slot_of(hour);
    bool quiet = d->state == O3_DRIFT_STABLE || d->state == O3_DRIFT_LEARNING;
    h->difference[slot] = O3_DRIFT_UNKNOWN;
    h->n[slot] = (uint16_t)n;
    if (h->reference[slot] != O3_DRIFT_UNKNOWN)
        h->difference[slot] = o3_drift_rounded(median - h->reference[slot]);
    else if (quiet)
        h->reference[slot] = median;
}

void o3_drift_slow_shift(struct o3_drift *d, double shift) {
    int16_t *reference = d->hours.reference;
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        if (reference[i] != O3_DRIFT_UNKNOWN)
            reference[i] = o3_drift_rounded(reference[i] + shift / O3_DRIFT_SEASON_UNIT);
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        d->hours.difference[i] = O3_DRIFT_UNKNOWN;
}

/* Hodges & Lehmann (1963): the median of the means of all pairs. */
static double pseudo_median(const double *v, int n_v) {
    double pairs[PAIRS];
    size_t n = 0;
    for (int i = 0; i < n_v; i++)
        for (int j = i; j < n_v; j++)
            pairs[n++] = 0.5 * (v[i] + v[j]);
    return o3_median(pairs, n);
}

/* Half width that the noise of single samples gives a mean of the differences, at least. */
static double noise_of(const struct o3_drift *d, double samples) {
    double rho = o3_drift_baseline_rho(&d->base);
    return Z95 * sqrt(2 * MEDIAN_VARIANCE * d->base.var * (1 + rho) / (1 - rho) / fmax(1, samples));
}

/* Walks back from the newest hour: the change is dated to the first of the hours that lie beyond half the effect, at
 * the latest to the first beyond the minimum effect, at the earliest after the last that is not beyond 0. */
static void date(const struct o3_drift *d, struct o3_drift_slow_change *c) {
    const struct o3_drift_hours *h = &d->hours;
    double half = 0.5 * fabs(c->effect);
    int64_t at = h->now, hi = h->now, lo = h->now, index = h->from, samples = h->from;
    bool whole = true;
    for (int64_t hour = h->now - 1; hour > h->now - O3_DRIFT_HOURS; hour--) {
        double v = c->direction * O3_DRIFT_SEASON_UNIT * h->difference[slot_of(hour)];
        if (h->difference[slot_of(hour)] == O3_DRIFT_UNKNOWN || v <= 0) break;
        samples -= h->n[slot_of(hour)];
        whole = whole && v >= half;
        if (whole) at = hour, index = samples;
        if (v >= d->gate) hi = hour;
        lo = hour;
    }
    c->index = index > d->first ? index : d->first;
    c->wall_ms = at * O3_DRIFT_HOUR_MS;
    c->lo_ms = (lo < at ? lo : at) * O3_DRIFT_HOUR_MS;
    c->hi_ms = (hi > at ? hi : at) * O3_DRIFT_HOUR_MS;
}

/* The newest differences, newest first, and the samples they are made of. */
static int newest_hours(const struct o3_drift *d, int within, double v[COMPARED], double *samples) {
    const struct o3_drift_hours *h = &d->hours;
    int n = 0;
    *samples = 0;
    /* the hour before `now` is the newest that ended */
    for (int64_t hour = h->now - 1; hour >= h->now - within && n < COMPARED; hour--) {
        if (h->difference[slot_of(hour)] == O3_DRIFT_UNKNOWN) continue;
        v[n++] = O3_DRIFT_SEASON_UNIT * h->difference[slot_of(hour)];
        *samples += h->n[slot_of(hour)];
    }
    return n;
}

bool o3_drift_slow_find(const struct o3_drift *d, struct o3_drift_slow_change *ret) {
    double v[COMPARED], samples, lo = HUGE_VAL, hi = -HUGE_VAL;
    if (d->gate <= 0) return false; /* nothing tells a slow change from the error of the reference */
    int n = newest_hours(d, WITHIN, v, &samples);
    if (n < COMPARED) n = newest_hours(d, O3_DRIFT_HOURS, v, &samples);
    if (n < FEWEST) return false;
    for (int i = 0; i < n; i++) {
        lo = fmin(lo, v[i]);
        hi = fmax(hi, v[i]);
    }
    double effect = pseudo_median(v, n), noise = noise_of(d, samples);
    lo = fmin(lo, effect - noise);
    hi = fmax(hi, effect + noise);
    if (lo < d->gate && hi > -d->gate) return false;
    *ret = (struct o3_drift_slow_change){.direction = effect > 0 ? 1 : -1, .effect = effect};
    date(d, ret);
    return true;
}
