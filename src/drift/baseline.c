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
#define FIT_ROUNDS 3
#define NU_MIN 3.0        /* degrees of freedom; Wallace's form is poor below */
#define NU_PER_SAMPLE 0.9 /* clipping and estimating rho cost about a tenth of the information on the variance */

/* Pairs that tell of the autocorrelation at one interval. */
#define LAG_MIN 0.5
#define LAG_MAX 1.5
#define CLOSE 0.75 /* intervals; samples nearer to each other are taken while a change is suspected */

static bool tells_of_rho(const struct o3_drift_pair *y) {
    return y->has_before && y->dt >= LAG_MIN && y->dt <= LAG_MAX;
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

void o3_drift_baseline_fit(struct o3_drift_baseline *b, const struct o3_drift_pair *y, size_t n) {
    double mean, sd, cov = 0, beyond = 0;
    first_guess(y, n, &mean, &sd);
    for (int i = 0; i < FIT_ROUNDS; i++)
        refit(y, n, &mean, &sd);
    double limit = O3_DRIFT_CLIP * sd;
    for (size_t i = 0; i < n; i++)
        if (tells_of_rho(&y[i])) cov += clip(y[i].now - mean, limit) * clip(y[i].before - mean, limit);
    for (size_t i = 0; i < n; i++)
        beyond += fabs(y[i].now - mean) > limit;
    *b = (struct o3_drift_baseline){
        .mean = mean, .var = sd * sd, .cov = cov / (double)n, .beyond = beyond / (double)n, .n = (int64_t)n};
}

double o3_drift_baseline_weight(const struct o3_drift_baseline *b) {
    return (double)(b->n < O3_DRIFT_MEMORY ? b->n : O3_DRIFT_MEMORY);
}

void o3_drift_baseline_learn(struct o3_drift_baseline *b, struct o3_drift_pair y) {
    double limit = O3_DRIFT_CLIP * sqrt(b->var);
    double r = clip(y.now - b->mean, limit), before = clip(y.before - b->mean, limit);
    b->n++;
    double gain = fmin(1, y.dt) / o3_drift_baseline_weight(b); /* samples close together know less each */
    b->beyond += gain * ((fabs(y.now - b->mean) > limit) - b->beyond);
    b->mean += gain * r;
    b->var += gain * (WINSOR_VAR * r * r - b->var);
    if (tells_of_rho(&y)) b->cov += gain * (r * before - b->cov);
    b->var = fmax(b->var, O3_DRIFT_SD_FLOOR * O3_DRIFT_SD_FLOOR);
}

double o3_drift_baseline_rho(const struct o3_drift_baseline *b) {
    double n = o3_drift_baseline_weight(b), found = fmin(RHO_MAX, fmax(-RHO_MAX, b->cov / b->var));
    return fmin(RHO_MAX, fmax(0, found + RHO_SE * sqrt((1 - found * found) / n) + RHO_BIAS / n));
}

double o3_drift_score(const struct o3_drift_baseline *b, struct o3_drift_pair y, double offset) {
    double n = o3_drift_baseline_weight(b), sd = sqrt(b->var), rho = o3_drift_baseline_rho(b);
    double centre = b->mean + offset, e = y.now - centre;
    double noise = 1, mean_error = (1 + rho) / (1 - rho) / n; /* variances in units of sd^2 */
    if (y.has_before) {
        double r = y.dt == 1 ? rho : o3_pow(rho, y.dt);
        double limit = O3_DRIFT_CLIP * sd;
        noise = 1 - r * r;
        if (y.dt < CLOSE) {
            /* The surplus of rho costs too much variance here to be left out, and an excursion of the noise lasts for
             * many samples: clipped, each of them would look like news. */
            double found = o3_pow(fmin(rho, fmax(0, b->cov / b->var)), y.dt);
            noise += 2 * r * (r - found);
            limit /= sqrt(y.dt);
        }
        e -= r * clip(y.before - centre, limit);
        mean_error *= (1 - r) * (1 - r); /* what whitening leaves of it */
    }
    double t = e / (sd * sqrt(noise + mean_error));
    return clip(o3_student_to_normal(t, fmax(NU_MIN, NU_PER_SAMPLE * n - 1)), O3_DRIFT_CLIP);
}
