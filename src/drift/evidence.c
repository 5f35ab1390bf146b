/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"

#define WORN_QUIET 0.5 /* S/h at which a change that outlasted the ring is over */

/* Thresholds hold for Gaussian scores of a known baseline. They are raised by what makes large sums more likely than
 * that: the error of a young baseline, the more so the more the samples are correlated; what whitening leaves of the
 * correlation; tails. Found by simulation together with the factors of bank.c, see src/doc/drift.md. */
#define YOUNG 9.0
#define YOUNG_FOR 300.0 /* samples, and from then on the less */
#define CORRELATED 0.2
#define CORRELATED_MAX 0.3
#define TAILS 3.3
#define BEYOND_GAUSS 0.0124

static double caution(const struct o3_drift_baseline *b) {
    double rho = o3_drift_baseline_rho(b), n = (double)(b->n > 1 ? b->n : 1);
    double young = YOUNG * sqrt((1 + rho) / (1 - rho)) / (n * (1 + n / YOUNG_FOR));
    double correlated = CORRELATED * fmin(CORRELATED_MAX, fmax(0, b->cov / b->var));
    return 1 + young + correlated + TAILS * fmax(0, b->beyond - BEYOND_GAUSS);
}

void o3_drift_evidence_clear(struct o3_drift *d) {
    o3_drift_bank_clear(&d->bank, d->next);
    o3_drift_rank_clear(d);
}

void o3_drift_evidence_add(struct o3_drift *d) {
    double z = o3_drift_score(&d->base, o3_drift_pair_at(d, o3_drift_newest(d)), 0);
    o3_drift_bank_add(&d->bank, d->h, O3_DRIFT_CAP * caution(&d->base), z, o3_drift_newest(d));
    if (d->params.detector != O3_DRIFT_BY_RANK) return;
    o3_drift_rank_add(d);
    /* Where a change outlasts the ring, ranks have nothing to compare with and the CUSUMs judge. */
    if (d->state == O3_DRIFT_STABLE && d->rank.is_worn && o3_drift_lead_any(d).ratio < WORN_QUIET)
        o3_drift_rank_restart(d);
}

struct o3_drift_lead o3_drift_lead(const struct o3_drift *d, int direction) {
    if (o3_drift_rank_judges(d)) return o3_drift_rank_lead(d, direction);
    struct o3_drift_lead lead = o3_drift_bank_lead(&d->bank, d->h, direction);
    lead.ratio = fmin(O3_DRIFT_CAP, lead.ratio / caution(&d->base));
    return lead;
}

struct o3_drift_lead o3_drift_lead_any(const struct o3_drift *d) {
    struct o3_drift_lead up = o3_drift_lead(d, 1), down = o3_drift_lead(d, -1);
    return down.ratio > up.ratio ? down : up;
}
