/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SPREAD_H
#define O3_SPREAD_H
/* How values of either sign are spread: a histogram with logarithmic buckets of 5 % width from 1e-6 to 1e6 (smaller
 * ones count as 0, larger ones as the largest), fixed size, exact count, sum, minimum and maximum. Merging two gives
 * what adding all values to one would have. */
#include <stdint.h>

#define O3_SPREAD_BUCKETS 567 /* of each sign */
struct o3_spread {
    int64_t n, n_zero;
    double sum, min, max; /* min and max are NaN while empty */
    uint32_t negative[O3_SPREAD_BUCKETS], positive[O3_SPREAD_BUCKETS];
};
void o3_spread_init(struct o3_spread *s);
void o3_spread_add(struct o3_spread *s, double value); /* NaN is ignored */
void o3_spread_merge(struct o3_spread *into, const struct o3_spread *from);
/* 0 <= q <= 1; the bucket's geometric middle, kept within min and max; NaN while empty. */
double o3_spread_quantile(const struct o3_spread *s, double q);
double o3_spread_bucket(int i);                   /* the geometric middle of a bucket, 0 <= i < O3_SPREAD_BUCKETS */
double o3_spread_mean(const struct o3_spread *s); /* NaN while empty */

#endif
