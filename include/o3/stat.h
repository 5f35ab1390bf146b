/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_STAT_H
#define O3_STAT_H
/* Small-sample statistics. Pure. NaN means "not enough", never 0. Sources in src/stat. */
#include <stdbool.h>
#include <stddef.h>

double o3_median(double *v, size_t n);                 /* sorts v; NaN for n = 0 */
double o3_mad_sd(double *v, size_t n, double median);  /* 1.4826 x median |x - median|; sorts v's deviations in place (v is overwritten) */
double o3_quantile(double *v, size_t n, double q);     /* sorts v; linear interpolation (type 7) */
struct o3_interval {
    double lo, hi;
    double level; /* achieved confidence; 0 when no interval of the asked level exists */
};
/* Order-statistic confidence interval of the median (distribution free, tuning.md 4): narrowest symmetric pair of ranks with coverage >= level. */
struct o3_interval o3_median_interval(double *v, size_t n, double level);
struct o3_interval o3_wilson(size_t successes, size_t n, double z); /* n = 0: [0,1] */
/* Stability (product.md): share of all attempts that succeeded and lie within +-band of the median of the successes. */
struct o3_stability {
    size_t n, n_within;
    double ratio, median, robust_cv; /* NaN when n = 0 */
    struct o3_interval wilson95;
};
struct o3_stability o3_stability_of(const double *success_values, size_t n_success, size_t n_attempts, double band);
double o3_student_to_normal(double t, double nu);      /* Wallace's closed form */

#endif
