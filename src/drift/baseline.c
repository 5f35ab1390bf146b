/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"
#include "o3/num.h"
#include "o3/stat.h"

#define WINSOR_SD 1.013 /* sd of Gaussian data / sd after clipping at 2.5 sd */
#define WINSOR_VAR 1.026
#define RHO_MAX 0.9
#define RHO_BIAS 3.0 /* the estimate is too small by (1 + 3 rho) / n (Marriott & Pope 1954) */
#define RHO_SE 1.3   /* standard errors added: too small a rho costs false alarms, too large a one a little delay */
/* Where rho is large, each bit more of it hides more of a change: there less is added, down to a share. */
#define RHO_SE_FULL_TO 0.4
#define RHO_SE_SLOPE 3.0
#define RHO_SE_LEAST 0.2
#define FIT_ROUNDS 3
#define NU_MIN 3.0        /* degrees of freedom; Wallace's form is poor below */
#define NU_PER_SAMPLE 0.9 /* clipping and estimating rho cost about a tenth of the information on the variance */

/* Pairs that tell of the autocorrelation at the usual spacing: their times, relative to it. */
#define LAG_MIN 0.34
#define LAG_MAX 3.0
#define RHO_TELLS 0.05    /* below, rho^dt tells hardly more than rho */
#define SPACING_MEMORY 50 /* pairs; the cadence may change */
#define SPACING_MIN 0.05
#define AS_USUAL 0.02       /* relative difference of a step that needs no power */
#define CLIP_GROWS_FROM 0.6 /* autocorrelation, and sd for each 1 of it beyond */
#define CLIP_GROWTH 6.0
#define CLIP_GROWS_IN 1500.0 /* samples */
#define CLOSE 0.75 /* of the usual spacing; samples nearer to each other are taken while a change is suspected */

static bool tells_of_rho(const struct o3_drift_pair *y, double spacing) {
    return y->has_before && y->dt >= LAG_MIN * spacing && y->dt <= LAG_MAX * spacing;
}

/* rho^(dt / spacing) */
static double rho_after(double rho, double dt, double spacing) {
    double steps = dt / spacing;
    return fabs(steps - 1) <= AS_USUAL ? rho : o3_pow(rho, steps);
}

static double median_step(const struct o3_drift_pair *y, size_t n) {
    double v[O3_DRIFT_N0_MAX];
    size_t n_steps = 0;
    for (size_t i = 0; i < n; i++)
        if (y[i].has_before) v[n_steps++] = y[i].dt;
    return n_steps ? fmax(SPACING_MIN, o3_median(v, n_steps)) : 1;
}

static double clip(double x, double limit) {
    return fmin(limit, fmax(-limit, x));
}

/* Plain sd where more than half of the values are equal and the MAD says nothing. */
static double plain_sd(const struct o3_drift_pair *y, size_t n, double mean) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (y[i].now - mean) * (y[i].now - mean);
    return sqrt(sum / (double)(n - 1));
}

static void first_guess(const struct o3_drift_pair *y, size_t n, double *ret_mean, double *ret_sd) {
    double v[O3_DRIFT_N0_MAX];
    for (size_t i = 0; i < n; i++)
        v[i] = y[i].now;
    *ret_mean = o3_median(v, n);
    *ret_sd = o3_mad_sd(v, n, *ret_mean);
    if (*ret_sd < O3_DRIFT_SD_FLOOR) *ret_sd = fmax(O3_DRIFT_SD_FLOOR, plain_sd(y, n, *ret_mean));
}

static void refit(const struct o3_drift_pair *y, size_t n, double *mean, double *sd) {
    double limit = O3_DRIFT_CLIP * *sd, centre = *mean, sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += clip(y[i].now - centre, limit);
    double shift = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double r = clip(y[i].now - centre, limit) - shift;
        squares += r * r;
    }
    *mean = centre + shift;
    *sd = fmax(O3_DRIFT_SD_FLOOR, WINSOR_SD * sqrt(squares / (double)(n - 1)));
}

/* What a product of residuals says against the covariance known, in units of it: of rho^dt the slope is dt rho^(dt -
 * 1).
 */
static double innovation(const struct o3_drift_baseline *b, double product, double dt) {
    double rho = b->cov / b->var, steps = dt / b->spacing;
    if (rho < RHO_TELLS || rho >= 1 || fabs(steps - 1) <= AS_USUAL) return product - b->cov;
    double expected = o3_pow(rho, steps);
    return (product - b->var * expected) * steps * expected / rho;
}

/* Pairs at other times apart than usual count for what they tell of the usual one. */
static void fit_correlation(struct o3_drift_baseline *b, const struct o3_drift_pair *y, size_t n) {
    double limit = O3_DRIFT_CLIP * sqrt(b->var);
    for (int round = 0; round <= FIT_ROUNDS; round++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            if (!tells_of_rho(&y[i], b->spacing)) continue;
            double product = clip(y[i].now - b->mean, limit) * clip(y[i].before - b->mean, limit);
            sum += round ? innovation(b, product, y[i].dt) : product;
        }
        b->cov += b->n_pairs ? sum / (double)b->n_pairs : 0;
    }
}

void o3_drift_baseline_fit(struct o3_drift_baseline *b, const struct o3_drift_pair *y, size_t n) {
    double mean, sd, above = 0, below = 0;
    first_guess(y, n, &mean, &sd);
    for (int i = 0; i < FIT_ROUNDS; i++)
        refit(y, n, &mean, &sd);
    double spacing = median_step(y, n);
    int64_t n_pairs = 0;
    for (size_t i = 0; i < n; i++) {
        n_pairs += tells_of_rho(&y[i], spacing);
        above += y[i].now - mean > O3_DRIFT_CLIP * sd;
        below += mean - y[i].now > O3_DRIFT_CLIP * sd;
    }
    *b = (struct o3_drift_baseline){.mean = mean,
                                    .var = sd * sd,
                                    .beyond = {above / (double)n, below / (double)n},
                                    .spacing = spacing,
                                    .n = (int64_t)n,
                                    .n_pairs = n_pairs};
    fit_correlation(b, y, n);
}

static double at_most_memory(int64_t n) {
    return (double)(n < O3_DRIFT_MEMORY ? n : O3_DRIFT_MEMORY);
}

double o3_drift_baseline_weight(const struct o3_drift_baseline *b) {
    return at_most_memory(b->n);
}

/* The usual spacing follows the cadence; what is known of the correlation goes with it. Each step is small: none may be
 * left out, or the larger ones to one side would not be undone by those to the other. */
static void follow_cadence(struct o3_drift_baseline *b, double dt) {
    double n = fmin((double)b->n_pairs, SPACING_MEMORY), before = b->spacing;
    b->spacing = fmax(SPACING_MIN, before + (dt - before) / n);
    if (b->cov > 0 && b->cov < b->var) b->cov = b->var * o3_pow(b->cov / b->var, b->spacing / before);
}

static void learn_pair(struct o3_drift_baseline *b, double product, const struct o3_drift_pair *y) {
    if (!y->has_before || y->dt < LAG_MIN * b->spacing) return; /* in haste, while a change is suspected */
    b->n_pairs++;
    follow_cadence(b, fmin(y->dt, LAG_MAX * b->spacing));
    if (tells_of_rho(y, b->spacing)) b->cov += innovation(b, product, y->dt) / at_most_memory(b->n_pairs);
}

void o3_drift_baseline_learn(struct o3_drift_baseline *b, struct o3_drift_pair y) {
    double limit = O3_DRIFT_CLIP * sqrt(b->var);
    double r = clip(y.now - b->mean, limit), before = clip(y.before - b->mean, limit);
    b->n++;
    double share = y.has_before ? fmin(1, y.dt / b->spacing) : 1; /* close together they know less each */
    double gain = share / o3_drift_baseline_weight(b);
    b->beyond[0] += gain * ((y.now - b->mean > limit) - b->beyond[0]);
    b->beyond[1] += gain * ((b->mean - y.now > limit) - b->beyond[1]);
    b->mean += gain * r;
    b->var += gain * (WINSOR_VAR * r * r - b->var);
    learn_pair(b, r * before, &y);
    b->var = fmax(b->var, O3_DRIFT_SD_FLOOR * O3_DRIFT_SD_FLOOR);
}

double o3_drift_baseline_rho(const struct o3_drift_baseline *b) {
    double n = fmax(at_most_memory(b->n_pairs), 0.5 * o3_drift_baseline_weight(b)); /* others are far apart */
    double found = fmin(RHO_MAX, fmax(-RHO_MAX, b->cov / b->var));
    double errors = RHO_SE * fmax(RHO_SE_LEAST, 1 - RHO_SE_SLOPE * fmax(0, found - RHO_SE_FULL_TO));
    return fmin(RHO_MAX, fmax(0, found + errors * sqrt((1 - found * found) / n) + RHO_BIAS / n));
}

/* A freak predecessor must not make the sample after it look like a change to the other side. Where samples are
 * strongly correlated a predecessor far out is no freak but the middle of an excursion, which the clipped part would
 * make last: at a correlation of 0.8 that costs ten times the false alarms asked for. */
double o3_drift_predecessor_limit(const struct o3_drift_baseline *b) {
    double known = fmin(1, (double)b->n / CLIP_GROWS_IN); /* a young estimate of rho is no reason to miss a change */
    double growth = CLIP_GROWTH * known * fmax(0, o3_drift_baseline_rho(b) - CLIP_GROWS_FROM);
    return (O3_DRIFT_CLIP + growth) * sqrt(b->var);
}

double o3_drift_score(const struct o3_drift_baseline *b, struct o3_drift_pair y, double offset) {
    double n = o3_drift_baseline_weight(b), sd = sqrt(b->var), rho = o3_drift_baseline_rho(b);
    double centre = b->mean + offset, e = y.now - centre;
    double noise = 1, mean_error = (1 + rho) / (1 - rho) / n; /* variances in units of sd^2 */
    if (y.has_before) {
        double r = rho_after(rho, y.dt, b->spacing);
        double limit = o3_drift_predecessor_limit(b);
        noise = 1 - r * r;
        if (y.dt < CLOSE * b->spacing) {
            /* The surplus of rho costs too much variance here to be left out, and an excursion of the noise lasts for
             * many samples: clipped, each of them would look like news. */
            double found = o3_pow(fmin(rho, fmax(0, b->cov / b->var)), y.dt / b->spacing);
            noise += 2 * r * (r - found);
            limit /= sqrt(y.dt / b->spacing);
        }
        e -= r * clip(y.before - centre, limit);
        mean_error *= (1 - r) * (1 - r); /* what whitening leaves of it */
    }
    double t = e / (sd * sqrt(noise + mean_error));
    return clip(o3_student_to_normal(t, fmax(NU_MIN, NU_PER_SAMPLE * n - 1)), O3_DRIFT_CLIP);
}
