/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/rand.h"
#include <math.h>
#include "o3/err.h"
#include "o3/num.h"

static uint64_t rotl(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

void o3_rand_seed(struct o3_rand *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        r->s[i] = z ^ (z >> 31);
    }
}

uint64_t o3_rand_u64(struct o3_rand *r) {
    uint64_t result = rotl(r->s[1] * 5, 7) * 9;
    uint64_t t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rotl(r->s[3], 45);
    return result;
}

double o3_rand_uniform(struct o3_rand *r) {
    return (double)(o3_rand_u64(r) >> 11) * 0x1.0p-53;
}

double o3_rand_normal(struct o3_rand *r) {
    double u = 1.0 - o3_rand_uniform(r); /* (0, 1]: the logarithm is finite */
    double v = o3_rand_uniform(r);
    return sqrt(-2.0 * o3_log(u)) * o3_cos(2.0 * M_PI * v);
}

uint64_t o3_rand_below(struct o3_rand *r, uint64_t n) {
    O3_ASSERT(n > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t x;
    do
        x = o3_rand_u64(r);
    while (x >= limit);
    return x % n;
}
