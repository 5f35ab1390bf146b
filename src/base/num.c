/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/num.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "base/num_tables.h"

/* Every function takes its argument to a small one by a table or an exact subtraction, then sums the Taylor series. The
 * order of operations is part of the result: no term may be moved. NaN is always the constant, for its sign would be
 * printed. */

_Static_assert(FLT_EVAL_METHOD == 0, "doubles are computed as doubles, without excess precision");

/* A value and what its rounding lost. */
struct sum {
    double hi, lo;
};

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 2^k for a normal result: k in -1022..1023. */
static double power_of_2(int64_t k) {
    return double_of((uint64_t)(k + 1023) << 52);
}

/* The integer next to x, for |x| < 2^51, without the call that rint is on older processors. */
static double nearest(double x) {
    return (x + 0x1.8p52) - 0x1.8p52;
}

/* e^r - 1 - r for |r| < 0.011. */
static double exp_rest(double r) {
    double r2 = r * r;
    return r2 * ((0.5 + r * (1.0 / 6)) + r2 * ((1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040))));
}

/* x = n ln2/32 + r: the steps n, and r with its rest. */
static int64_t exp_reduce(double x, struct sum *ret_r) {
    double n = nearest(x * EXP_STEPS_PER_UNIT);
    double near = x - n * EXP_STEP[0], far = n * EXP_STEP[1]; /* both exact, but for far's last bit */
    ret_r->hi = near - far;
    ret_r->lo = (near - ret_r->hi) - far;
    return (int64_t)n;
}

/* e^(x + tail) for |tail| far below one step. */
static double exp_sum(double x, double tail) {
    if (isnan(x)) return NAN;
    if (x > 710) return INFINITY;
    if (x < -746) return 0;
    struct sum r;
    int64_t n = exp_reduce(x, &r);
    int64_t j = n & (EXP_STEPS - 1), k = (n - j) / EXP_STEPS;
    double p = r.hi + ((r.lo + tail) + exp_rest(r.hi));
    double y = EXP_TABLE[j][0] + (EXP_TABLE[j][1] + EXP_TABLE[j][0] * p);
    if (k > -1000 && k < 1000) return y * power_of_2(k);
    /* One rounding, at the end, when the result overflows or is subnormal. */
    return k < 0 ? y * power_of_2(k + 200) * 0x1p-200 : y * power_of_2(k - 200) * 0x1p200;
}

double o3_exp(double x) {
    return exp_sum(x, 0);
}

double o3_expm1(double x) {
    if (isnan(x)) return NAN;
    if (x == 0) return x; /* -0 stays */
    if (x > 40) return o3_exp(x);
    if (x < -40) return -1;
    struct sum r;
    int64_t n = exp_reduce(x, &r);
    if (n == 0) return x + exp_rest(x);
    int64_t j = n & (EXP_STEPS - 1), k = (n - j) / EXP_STEPS;
    double scale = power_of_2(k), t = scale * EXP_TABLE[j][0];
    double d = t - 1, lost = t > 1 ? (t - d) - 1 : t - (d + 1);
    double rest = lost + (scale * EXP_TABLE[j][1] + t * (r.lo + exp_rest(r.hi)));
    return d + (t * r.hi + rest);
}

/* ln(1+r) - r for |r| <= 1/64. */
static double log_rest(double r) {
    double r2 = r * r, r4 = r2 * r2;
    double first = (-1.0 / 2 + r * (1.0 / 3)) + r2 * (-1.0 / 4 + r * (1.0 / 5));
    double second = (-1.0 / 6 + r * (1.0 / 7)) + r2 * (-1.0 / 8 + r * (1.0 / 9));
    return r2 * (first + r4 * (second + r4 * (-1.0 / 10)));
}

/* ln(x (1 + tail)) for finite x > 0 and |tail| <= 2^-53, with a relative error near 2^-60. */
static struct sum log_sum(double x, double tail) {
    int64_t k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t bits = bits_of(x), fraction = bits & 0xfffffffffffff;
    uint64_t i = fraction >> 46;
    bool is_halved = i >= LOG_TURN;
    k += (int64_t)(bits >> 52) - 1023 + is_halved;
    uint64_t exponent = (uint64_t)(1023 - is_halved) << 52;
    double m = double_of(exponent | fraction), top = double_of(exponent | (fraction & ~(uint64_t)0xffffffff));
    /* m c - 1: two exact products of few bits each */
    double a = top * LOG_TABLE[i][0] - 1, b = (m - top) * LOG_TABLE[i][0];
    double r = a + b, r_lost = (a - r) + b;
    double w = (double)k * LN2[0] + LOG_TABLE[i][1]; /* exact: both on the grid of 2^-42 */
    double w_lost = (double)k * LN2[1] + LOG_TABLE[i][2];
    double hi = w + r, lost = (w - hi) + r;
    double lo = lost + (w_lost + ((r_lost + tail) + log_rest(r)));
    double sum = hi + lo;
    return (struct sum){sum, (hi - sum) + lo};
}

double o3_log(double x) {
    if (isnan(x) || x < 0) return NAN;
    if (x == 0) return -INFINITY;
    if (isinf(x)) return x;
    return log_sum(x, 0).hi;
}

double o3_log1p(double x) {
    if (isnan(x) || x < -1) return NAN;
    if (x == -1) return -INFINITY;
    if (isinf(x)) return x;
    if (fabs(x) < 1.0 / 64) return x + log_rest(x);
    double u = 1 + x, lost = x > 1 ? 1 - (u - x) : x - (u - 1);
    return log_sum(u, lost / u).hi;
}

/* a b, for factors whose halves do not overflow (Dekker 1971). */
static struct sum product(double a, double b) {
    double ca = a * 0x1.0000002p27, cb = b * 0x1.0000002p27;
    double ah = ca - (ca - a), bh = cb - (cb - b), al = a - ah, bl = b - bh;
    double hi = a * b;
    return (struct sum){hi, ((ah * bh - hi) + ah * bl + al * bh) + al * bl};
}

static bool is_odd(double y) {
    return fabs(y) < 0x1p53 && fmod(y, 2) != 0 && floor(y) == y;
}

static double pow_positive(double x, double y) {
    if (x == 1 || y == 0) return 1;
    if (x == 0 || isinf(x) || fabs(y) > 0x1p80) return (x > 1) == (y > 0) ? INFINITY : 0;
    struct sum l = log_sum(x, 0), p = product(y, l.hi);
    return exp_sum(p.hi, p.lo + y * l.lo);
}

double o3_pow(double x, double y) {
    if (x == 1 || y == 0) return 1;
    if (isnan(x) || isnan(y)) return NAN;
    double size = pow_positive(fabs(x), y);
    if (!signbit(x)) return size;
    if (x < 0 && !isinf(x) && floor(y) != y) return NAN;
    return is_odd(y) ? -size : size;
}

/* x = n pi/2 + r, with r's rest; the quadrant. */
static int64_t quadrant_of(double x, struct sum *ret_r) {
    double n = nearest(x * QUADRANTS_PER_UNIT);
    double near = x - n * QUADRANT[0], far = n * QUADRANT[1];
    double hi = near - far, lost = ((near - hi) - far) - n * QUADRANT[2];
    ret_r->hi = hi + lost;
    ret_r->lo = (hi - ret_r->hi) + lost;
    return (int64_t)n & 3;
}

/* |r| <= pi/4 */
static double sin_small(struct sum r) {
    double x = r.hi, x2 = x * x, x4 = x2 * x2;
    double low = (-1.0 / 6 + x2 * (1.0 / 120)) + x4 * (-1.0 / 5040 + x2 * (1.0 / 362880));
    double high = (-1.0 / 39916800 + x2 * (1.0 / 6227020800)) +
                  x4 * (-1.0 / 1307674368000 + x2 * (1.0 / 355687428096000));
    double rest = x * x2 * (low + x4 * x4 * high);
    return x + (rest + r.lo * (1 - 0.5 * x2));
}

static double cos_small(struct sum r) {
    double x = r.hi, x2 = x * x, x4 = x2 * x2;
    double low = (1.0 / 24 + x2 * (-1.0 / 720)) + x4 * (1.0 / 40320 + x2 * (-1.0 / 3628800));
    double high = (1.0 / 479001600 + x2 * (-1.0 / 87178291200)) + x4 * (1.0 / 20922789888000);
    double half = 0.5 * x2, first = 1 - half, lost = (1 - first) - half;
    return first + (lost + (x4 * (low + x4 * x4 * high) - x * r.lo));
}

/* sin(x + shift pi/2) */
static double sin_shifted(double x, int64_t shift) {
    if (!(fabs(x) <= 1e6)) return NAN;
    struct sum r;
    int64_t quadrant = (quadrant_of(x, &r) + shift) & 3;
    double y = quadrant & 1 ? cos_small(r) : sin_small(r);
    return quadrant & 2 ? -y : y;
}

double o3_sin(double x) {
    return x == 0 ? x : sin_shifted(x, 0);
}

double o3_cos(double x) {
    return sin_shifted(x, 1);
}

/* Taylor at the table's next point c. With g = erf', g' = -2x g: (n+1) g[n+1] = -2 (c g[n] + g[n-1]). */
double o3_erf(double x) {
    enum { TERMS = 14 };
    if (isnan(x)) return NAN;
    double size = fabs(x);
    if (size >= ERF_END) return x < 0 ? -1 : 1;
    int j = (int)nearest(size * ERF_STEPS);
    double c = (double)j / ERF_STEPS, h = size - c;
    double g[TERMS];
    g[0] = ERF_SLOPE * o3_exp(-c * c);
    g[1] = -2 * c * g[0];
    for (int n = 1; n + 1 < TERMS; n++)
        g[n + 1] = -2 * (c * g[n] + g[n - 1]) / (n + 1);
    double sum = 0;
    for (int n = TERMS; n-- > 0;)
        sum = g[n] / (n + 1) + h * sum;
    double y = ERF_TABLE[j] + h * sum;
    return signbit(x) ? -y : y;
}
