/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_DRIFT_RANK_H
#define O3_SRC_DRIFT_RANK_H
/* Mixture Shiryaev-Roberts e-detector on sequential ranks (Shin, Ramdas & Rinaldo 2022). Of n exchangeable values the
 * newest is equally likely to have each rank, and independently of the ranks before: whatever the distribution, a
 * function of the rank whose mean over all ranks is 1 is an e-value, M = (M + 1) e grows by 1 a sample in the mean, and
 * the first time that M reaches T comes after T samples or more in the mean. */
#include <stdint.h>
#include "o3/drift.h"

#define O3_RANK_SHIFTS 4 /* sizes of a shift that are mixed, per direction */
#define O3_RANK_WINDOW 400

struct o3_rank_member {
    double sum;     /* the Shiryaev-Roberts sum */
    double product; /* of the e-values since `start`: a CUSUM, which dates the change */
    int64_t start;
};

/* side[0] looks for a rise, side[1] for a fall. */
struct o3_rank {
    struct o3_rank_member side[2][O3_RANK_SHIFTS];
    int64_t changed;                      /* first sample of the change in sight; INT64_MAX without */
    bool is_worn;                         /* too little is left from before it to compare with */
    uint64_t foreign[O3_DRIFT_RING / 64]; /* bit of a sample that is no reference: it was part of a change */
};

/* Occupied ranks: below..above of n, 0 <= below < above <= n; more than one of them for a value with ties. The e-value
 * for a shift of the normal scores by `shift` sd (negative for a fall). Its mean over any partition of 0..n is 1. */
double o3_rank_e_value(int below, int above, int n, double shift);
extern const double o3_rank_shifts[O3_RANK_SHIFTS];

void o3_rank_clear(struct o3_rank *r, int64_t next);
/* Sums stop at cap, so that a long change does not need as long to be forgotten. */
void o3_rank_add(struct o3_rank *r, int below, int above, int n, double cap, int64_t index);
/* Mean of the sums of a side. */
double o3_rank_sum(const struct o3_rank *r, int direction);
int64_t o3_rank_start(const struct o3_rank *r, int direction); /* of the member with the largest sum */

#endif
