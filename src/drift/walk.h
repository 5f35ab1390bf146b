/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_DRIFT_WALK_H
#define O3_SRC_DRIFT_WALK_H
/* Bernoulli CUSUM (Reynolds & Stoumbos 1999) as a walk on whole numbers: an event adds `up`, its absence takes `down`
 * away, and the sum does not fall below 0. Steps in the ratio of the log likelihood ratios of a share p1 against p0
 * make it the optimal test of p1 against p0; whole numbers make its run length exactly computable. */
#include <stdbool.h>

#define O3_WALK_STEPS_MAX 80    /* up + down */
#define O3_WALK_LIMIT_MAX 16384 /* of the threshold, in steps of 1 */

struct o3_walk {
    int up, down, limit; /* alarm at sum >= limit; 0: no test */
};

/* The smallest steps whose ratio fits; p0 < p1, both inside (0, 1). */
struct o3_walk o3_walk_steps(double p0, double p1);
/* Mean number of samples from sum 0 to an alarm, when the events come with probability p. Exact. */
double o3_walk_arl(struct o3_walk w, double p);
/* The smallest limit with which that number is at least `arl`. */
int o3_walk_limit(struct o3_walk w, double p, double arl);

#endif
