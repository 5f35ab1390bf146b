/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "o3/err.h"
#include "o3/num.h"
#include "o3/stat.h"

#define MANY 1000000 /* from here on the tails are those of a normal to all digits that matter */

/* ln k! by Stirling's series (Abramowitz & Stegun 6.1.41), below 16 by the product. */
static double log_factorial(double k) {
    if (k < 16) {
        double product = 1;
        for (int i = 2; i <= (int)k; i++)
            product *= i;
        return o3_log(product);
    }
    double k2 = k * k;
    double series = 1 / (12 * k) * (1 - 1 / (30 * k2) * (1 - 2 / (7 * k2)));
    return k * o3_log(k) - k + 0.5 * o3_log(2 * M_PI * k) + series;
}

static double term(double k, double mean) {
    return o3_exp(k * o3_log(mean) - mean - log_factorial(k));
}

/* P[X <= k] for mean >= k: terms fall from k downward. */
static double lower_tail(double k, double mean) {
    double t = term(k, mean), sum = 0;
    for (double i = k; i >= 0 && t > sum * 1e-17; i--) {
        sum += t;
        t *= i / mean;
    }
    return sum;
}

/* P[X >= k] for mean <= k: terms fall from k upward. */
static double upper_tail(double k, double mean) {
    if (!(mean > 0)) return k > 0 ? 0 : 1;
    double t = term(k, mean), sum = 0;
    for (double i = k; t > sum * 1e-17; i++) {
        sum += t;
        t *= mean / (i + 1);
    }
    return sum;
}

/* Where a monotonous tail takes the value alpha; lo and hi lie on its two sides. */
static double bisect(double (*tail)(double k, double mean), double k, double alpha, double lo, double hi,
                     bool is_rising) {
    for (int i = 0; i < 200; i++) {
        double mid = 0.5 * (lo + hi);
        if (!(mid > lo && mid < hi)) break;
        if ((tail(k, mid) < alpha) == is_rising)
            lo = mid;
        else
            hi = mid;
    }
    return 0.5 * (lo + hi);
}

/* z with P[|Z| <= z] = level */
static double normal_quantile(double level) {
    double lo = 0, hi = 10;
    for (int i = 0; i < 100; i++) {
        double mid = 0.5 * (lo + hi);
        if (o3_erf(mid * M_SQRT1_2) < level)
            lo = mid;
        else
            hi = mid;
    }
    return 0.5 * (lo + hi);
}

static double cubic(double k, double z) {
    double base = 1 - 1 / (9 * k) + z / (3 * sqrt(k));
    return k * base * base * base;
}

struct o3_interval o3_poisson(int64_t count, double level) {
    O3_ASSERT(count >= 0 && level > 0 && level < 1);
    double k = (double)count, alpha = (1 - level) / 2;
    struct o3_interval ci = {.level = level};
    if (count >= MANY) {
        double z = normal_quantile(level);
        ci.lo = cubic(k, -z);
        ci.hi = cubic(k + 1, z);
        return ci;
    }
    if (count > 0) ci.lo = bisect(upper_tail, k, alpha, 0, k, true);
    double above = k + 10;
    while (lower_tail(k, above) > alpha)
        above += above;
    ci.hi = bisect(lower_tail, k, alpha, k, above, false);
    return ci;
}
