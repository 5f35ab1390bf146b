/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/stat.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "o3/err.h"
#include "o3/num.h"

#define MAD_TO_SD 1.4826 /* 1 / normal quantile of 3/4 */

static void sift_down(double *v, size_t root, size_t n) {
    double x = v[root];
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && v[child + 1] > v[child]) child++;
        if (v[child] <= x) break;
        v[root] = v[child];
    }
    v[root] = x;
}

/* Heapsort: in place, never quadratic, and unlike qsort() it never allocates. */
static void sort(double *v, size_t n) {
    for (size_t i = n / 2; i-- > 0;)
        sift_down(v, i, n);
    for (size_t end = n; end-- > 1;) {
        double top = v[0];
        v[0] = v[end];
        v[end] = top;
        sift_down(v, 0, end);
    }
}

double o3_median(double *v, size_t n) {
    if (!n) return (double)NAN;
    sort(v, n);
    /* Halves first: the sum of two huge values must not overflow. */
    return n % 2 ? v[n / 2] : 0.5 * v[n / 2 - 1] + 0.5 * v[n / 2];
}

double o3_mad_sd(double *v, size_t n, double median) {
    for (size_t i = 0; i < n; i++)
        v[i] = fabs(v[i] - median);
    return MAD_TO_SD * o3_median(v, n);
}

double o3_quantile(double *v, size_t n, double q) {
    O3_ASSERT(q >= 0 && q <= 1);
    if (!n) return (double)NAN;
    sort(v, n);
    double rank = q * (double)(n - 1);
    size_t low = (size_t)rank;
    if (low + 1 >= n) return v[n - 1];
    double part = rank - (double)low;
    return (1 - part) * v[low] + part * v[low + 1];
}

/* Largest r with coverage of [r, n + 1 - r] >= level, and that coverage; 0 when even [1, n] is not enough. */
static size_t median_ranks(size_t n, double level, double *ret_coverage) {
    double log_term = -(double)n * M_LN2; /* ln P[Bin(n, 1/2) = i]; the logarithm keeps large n from underflowing */
    double tail = 0;
    size_t r = 0;
    for (size_t i = 0; i < n / 2; i++) {
        tail += o3_exp(log_term);
        double coverage = 1 - 2 * tail;
        if (coverage < level) break;
        r = i + 1;
        *ret_coverage = coverage;
        log_term += o3_log((double)(n - i) / (double)(i + 1));
    }
    return r;
}

struct o3_interval o3_median_interval(double *v, size_t n, double level) {
    struct o3_interval ci = {.lo = (double)NAN, .hi = (double)NAN};
    size_t r = median_ranks(n, level, &ci.level);
    if (!r) return ci;
    sort(v, n);
    ci.lo = v[r - 1];
    ci.hi = v[n - r];
    return ci;
}

struct o3_interval o3_wilson(size_t successes, size_t n, double z) {
    O3_ASSERT(successes <= n);
    struct o3_interval ci = {.lo = 0, .hi = 1, .level = o3_erf(z * M_SQRT1_2)};
    if (!n) return ci;
    double count = (double)n, p = (double)successes / count, z2 = z * z;
    double scale = 1 / (1 + z2 / count);
    double centre = scale * (p + z2 / (2 * count));
    double half = scale * z * sqrt(p * (1 - p) / count + z2 / (4 * count * count));
    /* Exactly 0 and 1 at the ends, where the formula is so but for rounding. */
    ci.lo = successes ? fmax(0, centre - half) : 0;
    ci.hi = successes < n ? fmin(1, centre + half) : 1;
    return ci;
}

static size_t count_within(const double *v, size_t n, double centre, double band) {
    size_t within = 0;
    for (size_t i = 0; i < n; i++)
        within += fabs(v[i] - centre) <= band * fabs(centre);
    return within;
}

struct o3_stability o3_stability_of(const double *success_values, size_t n_success, size_t n_attempts, double band) {
    O3_ASSERT(n_success <= n_attempts);
    struct o3_stability s = {.n = n_attempts, .ratio = (double)NAN, .median = (double)NAN, .robust_cv = (double)NAN};
    double small[256], *copy = small;
    s.wilson95 = (struct o3_interval){.lo = (double)NAN, .hi = (double)NAN};
    if (n_success > sizeof small / sizeof *small) copy = malloc(n_success * sizeof *copy);
    if (!copy) return s;
    if (n_success) {
        memcpy(copy, success_values, n_success * sizeof *copy);
        s.median = o3_median(copy, n_success);
        s.robust_cv = o3_mad_sd(copy, n_success, s.median) / fabs(s.median);
        s.n_within = count_within(success_values, n_success, s.median, band);
    }
    if (copy != small) free(copy);
    if (n_attempts) s.ratio = (double)s.n_within / (double)n_attempts;
    s.wilson95 = o3_wilson(s.n_within, n_attempts, 1.959963984540054);
    return s;
}

double o3_student_to_normal(double t, double nu) {
    double z = (8 * nu + 1) / (8 * nu + 3) * sqrt(nu * o3_log1p(t * t / nu));
    return copysign(z, t);
}
