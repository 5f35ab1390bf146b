/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"

#define WORN_QUIET 0.5 /* S/h at which a change that outlasted the ring is over */

/* Thresholds hold for Gaussian scores of a known baseline. They are raised by what makes large sums more likely than
 * that: the error of a young baseline, the more so the more the samples are correlated; what whitening leaves of the
 * correlation; tails. Found by simulation together with the factors of bank.c, see src/doc/drift.md. */
#define YOUNG 9.0
#define YOUNG_FOR 300.0 /* samples, and from then on the less */
#define YOUNG_CORRELATED 20.0
#define YOUNG_CORRELATED_FOR 90.0
#define CORRELATED 0.2
#define CORRELATED_MAX 0.3
#define STRONGLY_CORRELATED 2.0
#define TAILS 4.9
#define TAILS_MAX 0.0175 /* clipped scores have no longer tails than that */
#define BEYOND_GAUSS 0.0062
/* Strong whitening makes every lasting change small: there the member of the bank for small ones gets most of the
 * budget, the more so while the error of a young baseline hides changes. */
#define SMALL_FROM 0.5 /* correlation */
#define SMALL_TO 0.7
#define SMALL_NEW 60.0 /* samples; the first ones tell too little of the correlation */
#define SMALL_YOUNG 200.0
#define SMALL_AGING 400.0
#define SMALL_OLD 1500.0
static const double SMALL_SHARES[2][O3_DRIFT_BANK] = {{0.7, 1.1, 1.3}, {0.9, 1.1, 1.3}}; /* young, old */

/* What is believed of the correlation is cautious; only one that was found makes a baseline worth much less. */
static double young(double n, double rho, double found) {
    double independent = (1 - found) / (1 + found), old = n / YOUNG_CORRELATED_FOR;
    double weak = YOUNG * sqrt((1 + rho) / (1 - rho)) / (n * (1 + n / YOUNG_FOR));
    double strong = YOUNG_CORRELATED * (1 / (independent * sqrt(independent)) - 1) / (n * (1 + old * old));
    return fmax(weak, strong);
}

static double caution(const struct o3_drift_baseline *b, double rho) {
    double n = (double)(b->n > 1 ? b->n : 1), found = fmin(rho, fmax(0, b->cov / b->var));
    double correlated = CORRELATED * fmin(CORRELATED_MAX, found) +
                        STRONGLY_CORRELATED * fmax(0, rho - O3_DRIFT_STRONG_RHO);
    return 1 + young(n, rho, found) + correlated;
}

static double ramp(double x, double from, double to) {
    return fmin(1, fmax(0, (x - from) / (to - from)));
}

static double tail_of(const struct o3_drift_baseline *b, int side) {
    return fmax(0, b->beyond[side] - BEYOND_GAUSS);
}

#define GATE_NEAR 0.045 /* share of the thresholds */
#define GATE_SHORT 0.015
#define GATE_FAR 0.09
/* Where the minimum effect is large against the noise (as a lasting shift shows after whitening), chance hardly reaches
 * it, and less evidence will do; with long tails it does sooner. */
static double gate_helps(const struct o3_drift *d, double rho) {
    double gate = d->gate / sqrt(d->base.var * (1 + rho) / (1 - rho));
    double tail = fmax(tail_of(&d->base, 0), tail_of(&d->base, 1)), without_tail = 1 - ramp(tail, 0.004, 0.012);
    double short_tailed = GATE_SHORT * ramp(gate, 0.2, 0.7) + GATE_FAR * ramp(gate, 1.2, 1.6);
    return GATE_NEAR * ramp(gate, 0.75, 1) + without_tail * short_tailed;
}

void o3_drift_evidence_weigh(struct o3_drift *d) {
    if (d->state == O3_DRIFT_LEARNING) return;
    double rho = o3_drift_baseline_rho(&d->base), all = caution(&d->base, rho);
    double n = (double)d->base.n, old = ramp(n, SMALL_AGING, SMALL_OLD);
    double small = ramp(rho, SMALL_FROM, SMALL_TO) * ramp(n, SMALL_NEW, SMALL_YOUNG);
    all *= 1 - gate_helps(d, rho);
    for (int side = 0; side < 2; side++) {
        double tail = 1 + TAILS * fmin(TAILS_MAX, tail_of(&d->base, side));
        for (int i = 0; i < O3_DRIFT_BANK; i++) {
            double share = SMALL_SHARES[0][i] + old * (SMALL_SHARES[1][i] - SMALL_SHARES[0][i]);
            d->needed[side][i] = d->h[i] * fmin(O3_DRIFT_CAUTION_MAX, all * tail * (1 + small * (share - 1)));
        }
    }
}

void o3_drift_evidence_clear(struct o3_drift *d) {
    o3_drift_bank_clear(&d->bank, d->next);
    o3_drift_rank_clear(d);
}

void o3_drift_evidence_add(struct o3_drift *d) {
    double z = o3_drift_score(&d->base, o3_drift_pair_at(d, o3_drift_newest(d)), 0);
    o3_drift_bank_add(&d->bank, d->needed, O3_DRIFT_CAP, z, o3_drift_newest(d));
    if (d->params.detector != O3_DRIFT_BY_RANK) return;
    o3_drift_rank_add(d);
    /* Where a change outlasts the ring, ranks have nothing to compare with and the CUSUMs judge. */
    if (d->state == O3_DRIFT_STABLE && d->rank.is_worn && o3_drift_lead_any(d).ratio < WORN_QUIET)
        o3_drift_rank_restart(d);
}

struct o3_drift_lead o3_drift_lead(const struct o3_drift *d, int direction) {
    if (o3_drift_rank_judges(d)) return o3_drift_rank_lead(d, direction);
    struct o3_drift_lead lead = o3_drift_bank_lead(&d->bank, d->needed[direction < 0], direction);
    lead.ratio = fmin(O3_DRIFT_CAP, lead.ratio);
    return lead;
}

struct o3_drift_lead o3_drift_lead_any(const struct o3_drift *d) {
    struct o3_drift_lead up = o3_drift_lead(d, 1), down = o3_drift_lead(d, -1);
    return down.ratio > up.ratio ? down : up;
}
