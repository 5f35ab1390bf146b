/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"

/* The error of a young baseline's mean and sd makes its scores too large, the more so the more they are correlated; so
 * its thresholds are raised. Found by simulation, see src/doc/drift.md. */
#define YOUNG 8.0

static double young_factor(const struct o3_drift *d) {
    double rho = o3_drift_baseline_rho(&d->base);
    return 1 + YOUNG * sqrt((1 + rho) / (1 - rho)) / (double)(d->base.n > 1 ? d->base.n : 1);
}

void o3_drift_evidence_clear(struct o3_drift *d) {
    o3_drift_bank_clear(&d->bank, d->next);
    o3_drift_rank_clear(d);
}

void o3_drift_evidence_add(struct o3_drift *d) {
    double z = o3_drift_score(&d->base, o3_drift_pair_at(d, o3_drift_newest(d)), 0);
    o3_drift_bank_add(&d->bank, d->h, z, o3_drift_newest(d));
    if (d->params.detector == O3_DRIFT_BY_RANK) o3_drift_rank_add(d);
}

struct o3_drift_lead o3_drift_lead(const struct o3_drift *d, int direction) {
    /* In a confirmed change the reference leaves the ring, so that there the CUSUMs judge in any case. */
    if (d->params.detector == O3_DRIFT_BY_RANK && d->state != O3_DRIFT_CONFIRMED)
        return o3_drift_rank_lead(d, direction);
    struct o3_drift_lead lead = o3_drift_bank_lead(&d->bank, d->h, direction);
    lead.ratio /= young_factor(d);
    return lead;
}

struct o3_drift_lead o3_drift_lead_any(const struct o3_drift *d) {
    struct o3_drift_lead up = o3_drift_lead(d, 1), down = o3_drift_lead(d, -1);
    return down.ratio > up.ratio ? down : up;
}
