/* SPDX-License-Identifier: Apache-2.0 */
/* 24 offsets, of the hours of the day: the median over the last days of (median of the hour - median of the day),
 * shrunk towards 0 by how well the days repeat each other. Between the middles of two hours it is interpolated. */
#include <math.h>
#include "drift/parts.h"
#include "o3/stat.h"

#define DAYS_MIN 3       /* complete days before a season is known */
#define HOURS_MIN 18     /* with samples, of a day that counts */
#define REBASE_ABOVE 0.2 /* sd; root mean square by which the offsets change before the baseline is fitted anew */
#define MEDIAN_VARIANCE 1.5707963
#define CELLS (O3_DRIFT_DAYS * O3_DRIFT_HOURS)

int16_t o3_drift_season_at(const struct o3_drift *d, int64_t wall_ms) {
    const int16_t *s = d->hours.season;
    if (!d->hours.season_known) return 0;
    int64_t day_ms = O3_DRIFT_HOURS * O3_DRIFT_HOUR_MS;
    int64_t in_day = ((wall_ms - O3_DRIFT_HOUR_MS / 2) % day_ms + day_ms) % day_ms; /* since the middle of hour 0 */
    int64_t hour = in_day / O3_DRIFT_HOUR_MS;
    double part = (double)(in_day % O3_DRIFT_HOUR_MS) / (double)O3_DRIFT_HOUR_MS;
    double from = s[hour], to = s[(hour + 1) % O3_DRIFT_HOURS];
    return o3_drift_rounded(from + part * (to - from));
}

/* Deviations of the hours from the median of their day; hours and days that do not count are NaN. Columns are hours
 * of the day. Returns the days that count. */
static int deviations(const struct o3_drift *d, double dev[O3_DRIFT_DAYS][O3_DRIFT_HOURS]) {
    const struct o3_drift_hours *h = &d->hours;
    int64_t shift = (h->day_0 % O3_DRIFT_HOURS + O3_DRIFT_HOURS) % O3_DRIFT_HOURS;
    int days = 0;
    for (int row = 0; row < O3_DRIFT_DAYS; row++) {
        double v[O3_DRIFT_HOURS];
        size_t n = 0;
        for (int i = 0; i < O3_DRIFT_HOURS; i++)
            if (h->day[row][i] != O3_DRIFT_UNKNOWN) v[n++] = h->day[row][i];
        bool counts = n >= HOURS_MIN;
        double level = o3_median(v, n);
        for (int i = 0; i < O3_DRIFT_HOURS; i++)
            dev[row][(i + shift) % O3_DRIFT_HOURS] = counts && h->day[row][i] != O3_DRIFT_UNKNOWN
                                                         ? h->day[row][i] - level
                                                         : (double)NAN;
        days += counts;
    }
    return days;
}

/* The profile, and the variance of one cell around it. */
static double profile(double dev[O3_DRIFT_DAYS][O3_DRIFT_HOURS], int days, double s[O3_DRIFT_HOURS]) {
    double rest[CELLS], sum = 0;
    size_t n_rest = 0;
    for (int i = 0; i < O3_DRIFT_HOURS; i++) {
        double v[O3_DRIFT_DAYS];
        size_t n = 0;
        for (int row = 0; row < O3_DRIFT_DAYS; row++)
            if (!isnan(dev[row][i])) v[n++] = dev[row][i];
        s[i] = n >= 2 ? o3_median(v, n) : 0;
        for (size_t j = 0; j < n; j++)
            rest[n_rest++] = v[j] - s[i];
        sum += s[i];
    }
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        s[i] -= sum / O3_DRIFT_HOURS;
    double sd = o3_mad_sd(rest, n_rest, 0);
    return sd * sd * days / (days - 1);
}

static void refit(struct o3_drift *d, int64_t from, int64_t to) {
    struct o3_drift_pair y[O3_DRIFT_N0_MAX];
    if (to - from > O3_DRIFT_N0_MAX) from = to - O3_DRIFT_N0_MAX;
    if (to - from < d->params.n0) return;
    for (int64_t i = from; i < to; i++)
        y[i - from] = o3_drift_pair_at(d, i);
    o3_drift_baseline_fit(&d->base, y, (size_t)(to - from));
}

/* Level of the frozen reference without its season; NaN when too few hours are known. */
static double reference_level(const struct o3_drift *d) {
    double v[O3_DRIFT_HOURS];
    size_t n = 0;
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        if (d->hours.reference[i] != O3_DRIFT_UNKNOWN) v[n++] = d->hours.reference[i] - d->hours.season[i];
    return n >= O3_DRIFT_HOURS / 2 ? O3_DRIFT_SEASON_UNIT * o3_median(v, n) : (double)NAN;
}

/* The baseline was learned with other offsets: learn it anew from the ring, but never from a confirmed change. */
static void rebase(struct o3_drift *d, int16_t was_at_change) {
    int64_t to = d->direction && d->change_index > o3_drift_oldest(d) ? d->change_index : d->next;
    double mean = d->base.mean;
    refit(d, o3_drift_oldest(d), to);
    if (d->state == O3_DRIFT_CONFIRMED) {
        double reference = reference_level(d);
        int16_t is = o3_drift_season_at(d, d->change_wall_ms);
        d->base.mean = isnan(reference) ? mean - O3_DRIFT_SEASON_UNIT * (is - was_at_change) : reference;
    }
    o3_drift_evidence_clear(d);
    d->floor = to < d->next ? d->change_index : d->next;
    d->learned = d->resumed = d->next;
}

static void apply(struct o3_drift *d, const int16_t season[O3_DRIFT_HOURS]) {
    double changed = 0, sd = sqrt(d->base.var) / O3_DRIFT_SEASON_UNIT;
    int16_t was_at_change = o3_drift_season_at(d, d->change_wall_ms);
    for (int i = 0; i < O3_DRIFT_HOURS; i++) {
        double by = season[i] - d->hours.season[i];
        changed += by * by / O3_DRIFT_HOURS;
        d->hours.season[i] = season[i];
    }
    d->hours.season_known = true;
    int64_t wall_ms = d->last_wall_ms;
    for (int64_t i = o3_drift_newest(d); i >= o3_drift_oldest(d); i--) {
        d->season_of[i % O3_DRIFT_RING] = o3_drift_season_at(d, wall_ms);
        wall_ms -= d->step_ms[i % O3_DRIFT_RING];
    }
    if (d->state != O3_DRIFT_LEARNING && sqrt(changed) > REBASE_ABOVE * sd) rebase(d, was_at_change);
}

void o3_drift_season_learn(struct o3_drift *d) {
    double dev[O3_DRIFT_DAYS][O3_DRIFT_HOURS], s[O3_DRIFT_HOURS], squares = 0;
    int16_t season[O3_DRIFT_HOURS];
    if (!d->params.has_season) return;
    int days = deviations(d, dev);
    if (days < DAYS_MIN) return;
    double error = MEDIAN_VARIANCE * profile(dev, days, s) / days;
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        squares += s[i] * s[i] / (O3_DRIFT_HOURS - 1);
    double keep = squares > 0 ? fmax(0, 1 - error / squares) : 0;
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        season[i] = o3_drift_rounded(keep * s[i]);
    apply(d, season);
}
