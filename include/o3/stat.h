/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_STAT_H
#define O3_STAT_H
/* Small-sample statistics. Pure. NaN means "not enough", never 0. Values are finite; results carry the unit of the
 * input unless named a ratio. Sums run in index order, so equal input gives equal bits. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Middle order statistic, mean of the two middle ones for even n. Sorts v. n >= 1, else NaN. */
double o3_median(double *v, size_t n);
/* 1.4826 x median |x - median|: estimates the standard deviation of Gaussian data, breaks down at 50 % outliers
 * (Hampel 1974). n >= 1, else NaN; 0 when half of the values are equal. Overwrites v with sorted deviations. */
double o3_mad_sd(double *v, size_t n, double median);
/* Quantile q in [0, 1] by linear interpolation at rank q (n - 1) (Hyndman & Fan 1996, type 7). Sorts v. n >= 1, else
 * NaN. */
double o3_quantile(double *v, size_t n, double q);

struct o3_interval {
    double lo, hi;
    double level; /* achieved confidence; 0 when no interval of the asked level exists */
};
/* Order-statistic confidence interval of the median (distribution free, David & Nagaraja 2003, 7.1): the narrowest
 * symmetric pair of ranks [r, n + 1 - r] with coverage 1 - 2 P[Bin(n, 1/2) < r] >= level. Independent values.
 * Below the minimum n (6 for 95 %) no such pair exists: lo = hi = NaN, level 0. Sorts v. */
struct o3_interval o3_median_interval(double *v, size_t n, double level);
/* Wilson's score interval of a share (Wilson 1927); level is that of the two-sided normal quantile z. n = 0: [0,1]. */
struct o3_interval o3_wilson(size_t successes, size_t n, double z);
/* Exact interval of the mean of a Poisson count (Garwood 1936): lo with P[X >= count | lo] = alpha/2, 0 for a count of
 * 0; hi with P[X <= count | hi] = alpha/2; alpha = 1 - level, 0 < level < 1. By bisection on the sum of the tail; from
 * a million on by the cubic normal approximation (Wilson & Hilferty 1931), which is then exact to 1e-9. count >= 0.
 * Divide both ends by the exposure for a rate. */
struct o3_interval o3_poisson(int64_t count, double level);

/* Stability: share of all attempts that succeeded and lie within +-band (a ratio) of the median of the successes. */
struct o3_stability {
    size_t n, n_within; /* n counts the attempts */
    double ratio, median,
        robust_cv; /* NaN when n = 0; median and robust_cv also without a success. robust_cv = 1.4826 MAD / |median| */
    struct o3_interval wilson95; /* of ratio */
};
/* n_success <= n_attempts. Allocates for more than 256 values; without memory all numbers are NaN. */
struct o3_stability o3_stability_of(const double *success_values, size_t n_success, size_t n_attempts, double band);
/* Normal score with the same tail probability as Student's t with nu degrees of freedom, nu > 0; error below 1 % for
 * nu >= 3 (Wallace 1959): sign(t) (8 nu + 1)/(8 nu + 3) sqrt(nu ln(1 + t^2/nu)). */
double o3_student_to_normal(double t, double nu);

#endif
