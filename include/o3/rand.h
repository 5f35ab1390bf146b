/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_RAND_H
#define O3_RAND_H
/* Seeded chance as a value: xoshiro256** (Blackman & Vigna 2018), seeded by splitmix64. Same seed, same numbers. */
#include <stdint.h>

struct o3_rand {
    uint64_t s[4];
};

void o3_rand_seed(struct o3_rand *r, uint64_t seed);
uint64_t o3_rand_u64(struct o3_rand *r);
double o3_rand_uniform(struct o3_rand *r);             /* [0, 1) with 53 bits */
double o3_rand_normal(struct o3_rand *r);              /* mean 0, sd 1 (Box-Muller, one value per call) */
uint64_t o3_rand_below(struct o3_rand *r, uint64_t n); /* 0..n-1, unbiased; n > 0 */

#endif
