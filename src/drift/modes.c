/* SPDX-License-Identifier: Apache-2.0 */
/* Excursions that healed by themselves. When three or more are alike, that level is a known mode: its sojourns are
 * taken for geometric ones, whose excess over any moment has the same law, and a further one has to last until the
 * false-alarm budget says that it is none of them: rate of the suspicions x exp(-hazard x time) <= 1 / ARL0, with the
 * lower 95 % bound of the hazard. */
#include <math.h>
#include "drift/parts.h"
#include "o3/num.h"

#define TOLERANCE 0.4 /* of the larger of two depths that are alike; never less than one sd */
#define NOTICED 0.5   /* S/h from which on an excursion may be noticed */
#define NOTICED_MIN 3
#define CLEAR 2.0             /* standard errors */
#define MODE_MIN 3            /* excursions */
#define MEMORY 5000           /* samples; older ones are forgotten */
#define PERSISTENCE_MAX 240.0 /* intervals */
#define Z90 1.6448536         /* one-sided 95 % */

static bool alike(const struct o3_drift *d, double a, double b) {
    double tolerance = fmax(TOLERANCE * fmax(fabs(a), fabs(b)), sqrt(d->base.var));
    return a * b > 0 && fabs(a - b) <= tolerance;
}

static int held(const struct o3_drift_modes *m) {
    return m->n < O3_DRIFT_EXCURSIONS ? (int)m->n : O3_DRIFT_EXCURSIONS;
}

void o3_drift_modes_note(struct o3_drift *d, int direction, const struct o3_drift_change *c) {
    struct o3_drift_modes *m = &d->modes;
    if (m->direction != direction) {
        m->direction = direction;
        m->suspected = o3_drift_newest(d);
        m->depth = 0;
    }
    if (c->recent >= 0.5 * c->effect) m->depth = fmax(0, c->effect); /* not when its end blurs it */
}

void o3_drift_modes_end(struct o3_drift *d, int64_t end) {
    struct o3_drift_modes *m = &d->modes;
    int64_t oldest = o3_drift_oldest(d);
    int direction = m->direction;
    m->direction = 0;
    if (!direction || m->suspected < oldest) return;
    if (end < oldest) end = oldest;
    double excess = fmax(1, o3_drift_duration(d, m->suspected) - o3_drift_duration(d, end));
    if (excess > O3_DRIFT_EXCURSION_MAX || m->depth <= 0) return;
    m->ended = end;
    m->log[m->n++ % O3_DRIFT_EXCURSIONS] = (struct o3_drift_excursion){
        .index = m->suspected, .depth = (float)(direction * m->depth), .excess = (float)excess};
}

/* Only what is clearly beyond the minimum effect counts, or noise would fill the log. */
static bool is_clear(const struct o3_drift *d, const struct o3_drift_change *c) {
    return c->n >= NOTICED_MIN && c->index >= d->modes.ended && c->effect - CLEAR * c->error >= d->gate &&
           c->recent >= 0.5 * c->effect;
}

void o3_drift_modes_watch(struct o3_drift *d) {
    struct o3_drift_modes *m = &d->modes;
    for (int direction = -1; direction <= 1; direction += 2) {
        bool noticed = m->direction == direction;
        if (m->direction && !noticed) continue;
        double ratio = o3_drift_lead(d, direction).ratio;
        if (!noticed && (ratio < NOTICED || ratio >= 1)) continue; /* from 1 on it would be suspected, were it clear */
        struct o3_drift_change c = o3_drift_find_change(d, direction);
        if (noticed && (c.effect <= 0 || o3_drift_healed(d, direction, &c)))
            o3_drift_modes_end(d, o3_drift_newest(d) - 1);
        else if (noticed || is_clear(d, &c))
            o3_drift_modes_note(d, direction, &c);
    }
}

/* Lower bound of a hazard of n ends in a total time: chi-squared with 2 n degrees of freedom (Wilson & Hilferty). */
static double hazard_bound(int n, double total) {
    double v = 1.0 / (9 * n), root = 1 - v - Z90 * sqrt(v);
    return n * root * root * root / total;
}

/* The excursion that the present one is like: itself, or the deeper one that it is a mixture of with the old level. */
static double depth_of(const struct o3_drift *d) {
    const struct o3_drift_modes *m = &d->modes;
    double depth = m->direction * m->depth;
    for (int i = 0; i < held(m); i++) {
        double its = (double)m->log[i].depth;
        if (m->log[i].index >= d->change_index && its * depth > 0 && fabs(its) > fabs(depth)) depth = its;
    }
    return depth;
}

double o3_drift_modes_persistence(const struct o3_drift *d) {
    const struct o3_drift_modes *m = &d->modes;
    double total = 0, depth = depth_of(d);
    int64_t first = d->next;
    int n = 0;
    for (int i = 0; i < held(m); i++) {
        const struct o3_drift_excursion *e = &m->log[i];
        if (d->next - e->index > MEMORY || !alike(d, (double)e->depth, depth)) continue;
        total += (double)e->excess;
        if (e->index < first) first = e->index;
        n++;
    }
    if (n < MODE_MIN) return 0;
    double rate = n / (double)(d->next - first);
    double odds = o3_log(rate * d->params.arl0_samples);
    return fmin(PERSISTENCE_MAX, fmax(0, odds) / hazard_bound(n, total));
}

int o3_drift_modes_count(const struct o3_drift *d) {
    const struct o3_drift_modes *m = &d->modes;
    bool counted[O3_DRIFT_EXCURSIONS] = {false};
    int modes = 0;
    for (int i = 0; i < held(m); i++) {
        int n = 0;
        if (counted[i]) continue;
        for (int j = i; j < held(m); j++) {
            if (counted[j] || d->next - m->log[j].index > MEMORY) continue;
            if (!alike(d, (double)m->log[i].depth, (double)m->log[j].depth)) continue;
            counted[j] = true;
            n++;
        }
        modes += n >= MODE_MIN;
    }
    return modes;
}
