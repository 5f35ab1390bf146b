/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"
#include "o3/num.h"

/* Tuned to shifts of 2k sd; together within a sample or two of the best single CUSUM from 0.5 to 3 sd. */
const double o3_drift_k[O3_DRIFT_BANK] = {0.25, 0.5, 1.0};

#define SIEGMUND_OVERSHOOT 1.166 /* 2 x 0.583, the mean overshoot of a Gaussian walk at both boundaries */
#define H_MIN 2.0                /* below, Siegmund's approximation and the clipping do not fit each other */

/* True ARL0 -> factor to the nominal one, by tests/bench/calibrate_drift.c; see src/doc/drift.md. The six CUSUMs
 * overlap, so that fewer alarms come than a sum over them says: the factor is below 1. Interpolated in ln(ARL0). */
static const struct {
    double arl0, factor;
} FACTORS[] = {{1440, 0.334}, {10080, 0.345}, {43200, 0.298}, {525600, 0.255}};

void o3_cusum_add(struct o3_cusum *c, double z, double k, int64_t index) {
    c->sum += z - k;
    if (c->sum > 0) return;
    c->sum = 0;
    c->start = index + 1;
}

double o3_drift_siegmund_h(double k, double arl0_one_sided) {
    double lo = 0.1, hi = 80;
    for (int i = 0; i < 60; i++) {
        double b = 0.5 * (lo + hi);
        if ((o3_exp(b) - b - 1) / (2 * k * k) < arl0_one_sided)
            lo = b;
        else
            hi = b;
    }
    return hi / (2 * k) - SIEGMUND_OVERSHOOT;
}

void o3_drift_thresholds(double nominal_arl0, double h[O3_DRIFT_BANK]) {
    for (int i = 0; i < O3_DRIFT_BANK; i++)
        h[i] = fmax(H_MIN, o3_drift_siegmund_h(o3_drift_k[i], 2 * O3_DRIFT_BANK * nominal_arl0));
}

double o3_drift_nominal_arl0(double arl0) {
    size_t last = sizeof FACTORS / sizeof *FACTORS - 1, i = 1;
    while (i < last && arl0 > FACTORS[i].arl0)
        i++;
    double from = o3_log(FACTORS[i - 1].arl0), to = o3_log(FACTORS[i].arl0);
    double part = fmin(1, fmax(0, (o3_log(arl0) - from) / (to - from)));
    return arl0 * (FACTORS[i - 1].factor + part * (FACTORS[i].factor - FACTORS[i - 1].factor));
}

void o3_drift_bank_clear(struct o3_drift_bank *b, int64_t next) {
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_DRIFT_BANK; i++)
            b->side[side][i] = (struct o3_cusum){.start = next};
}

void o3_drift_bank_add(struct o3_drift_bank *b, const double h[2][O3_DRIFT_BANK], double cap, double z, int64_t index) {
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_DRIFT_BANK; i++) {
            struct o3_cusum *c = &b->side[side][i];
            o3_cusum_add(c, side ? -z : z, o3_drift_k[i], index);
            c->sum = fmin(c->sum, cap * h[side][i]);
        }
}

struct o3_drift_lead o3_drift_bank_lead(const struct o3_drift_bank *b, const double h[O3_DRIFT_BANK], int direction) {
    const struct o3_cusum *side = b->side[direction < 0];
    struct o3_drift_lead lead = {.ratio = side[0].sum / h[0], .start = side[0].start};
    for (int i = 1; i < O3_DRIFT_BANK; i++) {
        double ratio = side[i].sum / h[i];
        if (ratio > lead.ratio) lead = (struct o3_drift_lead){.ratio = ratio, .start = side[i].start};
    }
    return lead;
}
