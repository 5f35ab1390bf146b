/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"
#include "o3/stat.h"

#define MEDIAN_OF 61 /* samples of an hour, evenly taken */

int16_t o3_drift_rounded(double units) {
    double nearest = units < 0 ? -floor(0.5 - units) : floor(units + 0.5);
    return (int16_t)fmin(INT16_MAX, fmax(-INT16_MAX, nearest));
}

static int64_t hour_of(int64_t wall_ms) {
    return wall_ms >= 0 ? wall_ms / O3_DRIFT_HOUR_MS : -((-wall_ms + O3_DRIFT_HOUR_MS - 1) / O3_DRIFT_HOUR_MS);
}

static void fill_unknown(int16_t *v, int n) {
    for (int i = 0; i < n; i++)
        v[i] = O3_DRIFT_UNKNOWN;
}

static void start_days(struct o3_drift *d, int64_t hour) {
    struct o3_drift_hours *h = &d->hours;
    h->day_0 = hour;
    h->n_days = 0;
    fill_unknown(h->day[0], O3_DRIFT_DAYS * O3_DRIFT_HOURS);
}

void o3_drift_hours_clear(struct o3_drift *d) {
    d->hours = (struct o3_drift_hours){.from = d->next};
    start_days(d, 0);
    fill_unknown(d->hours.reference, O3_DRIFT_HOURS);
    fill_unknown(d->hours.difference, O3_DRIFT_HOURS);
}

void o3_drift_hours_anchored(struct o3_drift *d) {
    int64_t now = d->hours.now, from = d->hours.from;
    o3_drift_hours_clear(d);
    start_days(d, now);
    d->hours.now = now;
    d->hours.from = from;
}

/* Median of the samples from..to - 1, with their season. */
static int16_t median_of(const struct o3_drift *d, int64_t from, int64_t to) {
    double v[MEDIAN_OF];
    int64_t n = to - from, taken = n < MEDIAN_OF ? n : MEDIAN_OF;
    for (int64_t i = 0; i < taken; i++)
        v[i] = (double)d->y[(from + i * n / taken) % O3_DRIFT_RING];
    return o3_drift_rounded(o3_median(v, (size_t)taken) / O3_DRIFT_SEASON_UNIT);
}

static void end_hour(struct o3_drift *d, int64_t to) {
    struct o3_drift_hours *h = &d->hours;
    int64_t from = h->from > o3_drift_oldest(d) ? h->from : o3_drift_oldest(d);
    if (from >= to) return;
    int16_t median = median_of(d, from, to);
    int64_t age = h->now - h->day_0;
    h->day[age / O3_DRIFT_HOURS % O3_DRIFT_DAYS][age % O3_DRIFT_HOURS] = median;
    o3_drift_slow_add(d, h->now, median, to - from);
}

/* Hours without samples, up to but without `hour`. */
static void skip_hours(struct o3_drift *d, int64_t hour) {
    struct o3_drift_hours *h = &d->hours;
    for (int64_t i = h->now + 1; i < hour && i <= h->now + O3_DRIFT_HOURS; i++) {
        int64_t slot = (i % O3_DRIFT_HOURS + O3_DRIFT_HOURS) % O3_DRIFT_HOURS;
        h->difference[slot] = O3_DRIFT_UNKNOWN;
        h->n[slot] = 0;
    }
}

/* Days that became complete, of which only the first may have samples. */
static void end_days(struct o3_drift *d, int64_t hour) {
    struct o3_drift_hours *h = &d->hours;
    int64_t days = (hour - h->day_0) / O3_DRIFT_HOURS;
    bool ended = days > h->n_days;
    while (h->n_days < days) {
        h->n_days++;
        if (h->n_days == days && ended) o3_drift_season_learn(d);
        fill_unknown(h->day[h->n_days % O3_DRIFT_DAYS], O3_DRIFT_HOURS);
    }
}

void o3_drift_hours_shift(struct o3_drift *d, int64_t wall_ms, double shift) {
    struct o3_drift_hours *h = &d->hours;
    int64_t hour = hour_of(wall_ms);
    for (int64_t day = h->n_days; day >= 0 && day > h->n_days - O3_DRIFT_DAYS; day--)
        for (int i = 0; i < O3_DRIFT_HOURS; i++) {
            int64_t at = h->day_0 + day * O3_DRIFT_HOURS + i;
            int16_t *median = &h->day[day % O3_DRIFT_DAYS][i];
            if (*median == O3_DRIFT_UNKNOWN || at > hour) continue;
            *median = at < hour ? o3_drift_rounded(*median + shift / O3_DRIFT_SEASON_UNIT) : O3_DRIFT_UNKNOWN;
        }
}

void o3_drift_hours_returned(struct o3_drift *d, int64_t index) {
    fill_unknown(d->hours.difference, O3_DRIFT_HOURS);
    if (d->hours.from < index) d->hours.from = index;
}

bool o3_drift_hours_add(struct o3_drift *d) {
    struct o3_drift_hours *h = &d->hours;
    int64_t hour = hour_of(d->last_wall_ms), newest = o3_drift_newest(d);
    if (newest == d->first) {
        h->now = hour;
        start_days(d, hour);
        return false;
    }
    if (hour == h->now) return false;
    end_hour(d, newest);
    /* A clock that was set, or a long time without samples: days are counted anew, what is known stays. */
    if (hour < h->now || hour - h->now > (O3_DRIFT_DAYS - 1) * O3_DRIFT_HOURS) {
        start_days(d, hour);
        fill_unknown(h->difference, O3_DRIFT_HOURS);
    } else {
        skip_hours(d, hour);
        end_days(d, hour);
    }
    h->now = hour;
    h->from = newest;
    return true;
}
