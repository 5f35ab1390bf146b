/* SPDX-License-Identifier: Apache-2.0 */
/* Excursions that healed by themselves. When three or more are alike, that level is a known mode: its sojourns are
 * taken for geometric ones, whose excess over any moment has the same law, and a further one has to last until the
 * false-alarm budget says that it is none of them: rate of the suspicions x exp(-hazard x time) <= 1 / ARL0, with the
 * lower 95 % bound of the hazard. */
#include <math.h>
#include "drift/parts.h"
#include "o3/num.h"

#define ALIKE 1.67            /* ratio of two depths */
#define MODE_MIN 3            /* excursions */
#define MEMORY 20000          /* samples; older ones are forgotten */
#define PERSISTENCE_MAX 240.0 /* intervals */
#define Z90 1.6448536         /* one-sided 95 % */

static bool alike(double a, double b) {
    return a * b > 0 && fabs(a) <= ALIKE * fabs(b) && fabs(b) <= ALIKE * fabs(a);
}

static int held(const struct o3_drift_modes *m) {
    return m->n < O3_DRIFT_EXCURSIONS ? (int)m->n : O3_DRIFT_EXCURSIONS;
}

void o3_drift_modes_begin(struct o3_drift *d) {
    d->modes.suspected = o3_drift_newest(d);
    d->modes.depth = 0;
}

void o3_drift_modes_deepen(struct o3_drift *d, double effect) {
    d->modes.depth = fmax(d->modes.depth, effect);
}

void o3_drift_modes_end(struct o3_drift *d, int64_t end) {
    struct o3_drift_modes *m = &d->modes;
    int64_t oldest = o3_drift_oldest(d);
    if (m->suspected < oldest) return;
    double excess = fmax(1, o3_drift_duration(d, m->suspected) - o3_drift_duration(d, end > oldest ? end : oldest));
    if (excess > O3_DRIFT_EXCURSION_MAX || m->depth <= 0) return;
    m->log[m->n++ % O3_DRIFT_EXCURSIONS] = (struct o3_drift_excursion){
        .index = m->suspected, .depth = (float)(d->direction * m->depth), .excess = (float)excess};
}

/* Lower bound of a hazard of n ends in a total time: chi-squared with 2 n degrees of freedom (Wilson & Hilferty). */
static double hazard_bound(int n, double total) {
    double v = 1.0 / (9 * n), root = 1 - v - Z90 * sqrt(v);
    return n * root * root * root / total;
}

double o3_drift_modes_persistence(const struct o3_drift *d, int direction) {
    const struct o3_drift_modes *m = &d->modes;
    double total = 0;
    int64_t first = d->next;
    int n = 0;
    for (int i = 0; i < held(m); i++) {
        const struct o3_drift_excursion *e = &m->log[i];
        if (d->next - e->index > MEMORY || !alike((double)e->depth, direction * m->depth)) continue;
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
            if (!alike((double)m->log[i].depth, (double)m->log[j].depth)) continue;
            counted[j] = true;
            n++;
        }
        modes += n >= MODE_MIN;
    }
    return modes;
}
