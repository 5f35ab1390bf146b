/* SPDX-License-Identifier: Apache-2.0 */
/* 24 offsets, of the hours of the day: the median over the last days of (median of the hour - median of the day),
 * shrunk towards 0 by how well the days repeat each other. Between the middles of two hours it is interpolated. With
 * it comes the frozen reference of each hour. */
#include <math.h>
#include "drift/parts.h"
#include "o3/stat.h"

#define DAYS_MIN 3    /* complete days before a season is known */
#define HOURS_MIN 6   /* with samples, of a day that counts */
#define SEGMENT_MIN 3 /* hours that tell of a level */
#define POLISH_ROUNDS 3
#define STEP_ERRORS 6.0  /* standard errors of a step that is believed */
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

/* Hours of the last days, oldest first; levels are NaN where an hour or its day does not count. A step among them
 * would look like a season on the day it happens: hours before it and from it on have levels of their own. */
struct cells {
    double v[CELLS];
    int slot[CELLS]; /* hour of the day */
    int n, days;     /* days that count */
    int split;       /* first cell after the step; n without one */
};

static void collect(const struct o3_drift *d, struct cells *c) {
    const struct o3_drift_hours *h = &d->hours;
    int64_t shift = (h->day_0 % O3_DRIFT_HOURS + O3_DRIFT_HOURS) % O3_DRIFT_HOURS;
    c->n = c->days = 0;
    for (int64_t day = h->n_days > O3_DRIFT_DAYS ? h->n_days - O3_DRIFT_DAYS : 0; day < h->n_days; day++) {
        const int16_t *row = h->day[day % O3_DRIFT_DAYS];
        int known = 0;
        for (int i = 0; i < O3_DRIFT_HOURS; i++)
            known += row[i] != O3_DRIFT_UNKNOWN;
        for (int i = 0; i < O3_DRIFT_HOURS; i++, c->n++) {
            c->v[c->n] = known >= HOURS_MIN && row[i] != O3_DRIFT_UNKNOWN ? row[i] : (double)NAN;
            c->slot[c->n] = (int)((i + shift) % O3_DRIFT_HOURS);
        }
        c->days += known >= HOURS_MIN;
    }
    c->split = c->n;
}

/* Median of v - season over the cells from..to - 1; NaN with too few. */
static double level_between(const struct cells *c, const double s[O3_DRIFT_HOURS], int from, int to) {
    double v[CELLS];
    size_t n = 0;
    for (int i = from; i < to; i++)
        if (!isnan(c->v[i]) && !isnan(s[c->slot[i]])) v[n++] = c->v[i] - s[c->slot[i]];
    return n >= SEGMENT_MIN ? o3_median(v, n) : (double)NAN;
}

/* Deviations from the level of the day, or of the part of it that the step leaves. */
static void deviations(const struct cells *c, const double s[O3_DRIFT_HOURS], double dev[CELLS]) {
    for (int from = 0; from < c->n;) {
        int to = from - from % O3_DRIFT_HOURS + O3_DRIFT_HOURS;
        if (from < c->split && c->split < to) to = c->split;
        double level = level_between(c, s, from, to);
        for (; from < to; from++)
            dev[from] = c->v[from] - level;
    }
}

/* Median polish (Tukey 1977) of hours and days. Hours that were seen once at most are NaN. Returns the variance of one
 * cell around the profile. */
static double profile(const struct cells *c, double s[O3_DRIFT_HOURS]) {
    double dev[CELLS], rest[CELLS];
    size_t n_rest = 0;
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        s[i] = 0;
    for (int round = 0; round < POLISH_ROUNDS; round++) {
        deviations(c, s, dev);
        n_rest = 0;
        for (int slot = 0; slot < O3_DRIFT_HOURS; slot++) {
            double v[O3_DRIFT_DAYS];
            size_t n = 0;
            for (int i = 0; i < c->n; i++)
                if (c->slot[i] == slot && !isnan(dev[i])) v[n++] = dev[i];
            s[slot] = n >= 2 ? o3_median(v, n) : (double)NAN;
            for (size_t j = 0; j < n && n >= 2; j++)
                rest[n_rest++] = v[j] - s[slot];
        }
    }
    double sd = o3_mad_sd(rest, n_rest, 0);
    return sd * sd * c->days / (c->days - 1);
}

/* Hours that were not seen are like the nearest that was; the mean becomes 0. Returns the hours seen. */
static int complete(double s[O3_DRIFT_HOURS], double *squares) {
    double seen[O3_DRIFT_HOURS], sum = 0;
    int n = 0;
    for (int i = 0; i < O3_DRIFT_HOURS; i++) {
        seen[i] = s[i];
        if (isnan(s[i])) continue;
        sum += s[i];
        n++;
    }
    *squares = 0;
    for (int i = 0; i < O3_DRIFT_HOURS; i++) {
        for (int far = 0; far <= O3_DRIFT_HOURS / 2 && isnan(s[i]); far++) {
            double before = seen[(i + O3_DRIFT_HOURS - far) % O3_DRIFT_HOURS], after = seen[(i + far) % O3_DRIFT_HOURS];
            s[i] = isnan(before) ? after : before;
        }
        s[i] = n ? s[i] - sum / n : 0;
        if (!isnan(seen[i])) *squares += s[i] * s[i];
    }
    *squares /= n > 1 ? n - 1 : 1;
    return n;
}

/* The step that explains most of what the profile leaves, when it is clear; else n. */
static int clear_step(const struct o3_drift *d, const struct cells *c, const double s[O3_DRIFT_HOURS]) {
    double x[CELLS], step[CELLS], total = 0, before = 0, best = 0, best_shift = 0;
    int at[CELLS], n = 0, split = 0;
    for (int i = 0; i < c->n; i++)
        if (!isnan(c->v[i]) && !isnan(s[c->slot[i]])) at[n] = i, x[n++] = c->v[i] - s[c->slot[i]];
    for (int i = 0; i < n; i++)
        total += x[i];
    for (int i = 1; i < n; i++)
        step[i - 1] = x[i] - x[i - 1];
    for (int i = 1; i < n; i++) {
        before += x[i - 1];
        double shift = (total - before) / (n - i) - before / i, gain = shift * shift * i * (n - i) / n;
        if (i < SEGMENT_MIN || n - i < SEGMENT_MIN || gain <= best) continue;
        best = gain;
        best_shift = shift;
        split = i;
    }
    if (!split) return c->n;
    double sd = o3_mad_sd(step, (size_t)n - 1, 0) / sqrt(2);
    bool clear = fabs(best_shift) * O3_DRIFT_SEASON_UNIT >= 0.5 * d->gate && sqrt(best) >= STEP_ERRORS * sd;
    return clear ? at[split] : c->n;
}

static void refit(struct o3_drift *d, int64_t from, int64_t to) {
    struct o3_drift_pair y[O3_DRIFT_N0_MAX];
    if (to - from > O3_DRIFT_N0_MAX) from = to - O3_DRIFT_N0_MAX;
    if (to - from < d->params.n0) return;
    for (int64_t i = from; i < to; i++)
        y[i - from] = o3_drift_pair_at(d, i);
    o3_drift_baseline_fit(&d->base, y, (size_t)(to - from));
}

double o3_drift_reference_level(const struct o3_drift *d) {
    double v[O3_DRIFT_HOURS];
    size_t n = 0;
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        if (d->hours.reference[i] != O3_DRIFT_UNKNOWN) v[n++] = d->hours.reference[i] - d->hours.season[i];
    return n >= HOURS_MIN ? O3_DRIFT_SEASON_UNIT * o3_median(v, n) : (double)NAN;
}

/* The first day, or what lies before the step, is the reference. Single hours of it were taken in the order of the
 * quiet ones, and may be of different levels, while the cycle alarmed. */
static void freeze(struct o3_drift *d, const struct cells *c, const double s[O3_DRIFT_HOURS]) {
    double level = (double)NAN;
    int first = 0;
    while (first < c->n && isnan(c->v[first]))
        first++;
    for (int to = first + O3_DRIFT_HOURS; isnan(level) && to <= c->n; to += O3_DRIFT_HOURS)
        level = level_between(c, s, first, to < c->split ? to : c->split);
    if (isnan(level)) return;
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        d->hours.reference[i] = isnan(s[i]) ? O3_DRIFT_UNKNOWN : o3_drift_rounded(level + s[i]);
    for (int i = c->n - O3_DRIFT_HOURS; i < c->n; i++) {
        int slot = c->slot[i];
        if (d->hours.difference[slot] != O3_DRIFT_UNKNOWN && !isnan(s[slot]) && !isnan(c->v[i]))
            d->hours.difference[slot] = o3_drift_rounded(c->v[i] - d->hours.reference[slot]);
    }
}

/* The baseline was learned with other offsets: learn it anew from the ring, but never from a confirmed change. */
static void rebase(struct o3_drift *d, int16_t was_at_change) {
    int64_t to = d->direction && d->change_index > o3_drift_oldest(d) ? d->change_index : d->next;
    double mean = d->base.mean;
    refit(d, o3_drift_oldest(d), to);
    if (d->state == O3_DRIFT_CONFIRMED) {
        double reference = o3_drift_reference_level(d);
        int16_t is = o3_drift_season_at(d, d->change_wall_ms);
        d->base.mean = isnan(reference) ? mean - O3_DRIFT_SEASON_UNIT * (is - was_at_change) : reference;
    }
    o3_drift_evidence_clear(d);
    o3_drift_evidence_weigh(d);
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
    double s[O3_DRIFT_HOURS], squares;
    int16_t season[O3_DRIFT_HOURS];
    struct cells c;
    if (!d->params.has_season) return;
    collect(d, &c);
    if (c.days < DAYS_MIN) return;
    double var = profile(&c, s);
    c.split = clear_step(d, &c, s);
    if (c.split < c.n) var = profile(&c, s);
    if (!d->hours.season_known) freeze(d, &c, s);
    int seen = complete(s, &squares);
    double error = MEDIAN_VARIANCE * var / c.days;
    double keep = seen && squares > 0 ? fmax(0, 1 - error / squares) : 0;
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        season[i] = o3_drift_rounded(keep * s[i]);
    apply(d, season);
}
