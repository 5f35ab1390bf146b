/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_DRIFT_SUCCESS_PARTS_H
#define O3_SRC_DRIFT_SUCCESS_PARTS_H
/* The parts of the detector of the share of successes. side[0] looks for a better share, its events are successes;
 * side[1] for a worse one, its events are failures. */
#include "drift/walk.h"
#include "o3/success.h"

#define O3_SUCCESS_RING 320 /* attempts whose outcome and time are kept */
#define O3_SUCCESS_BANK 2   /* walks per direction: for the smallest change worth it, and for an outage */
#define O3_SUCCESS_CAP 1.5  /* sum / limit stops here */
#define O3_SUCCESS_N0_MAX 240
#define O3_SUCCESS_MEMORY 4096 /* weight of the past in the reference, attempts */

struct o3_success_member {
    struct o3_walk walk; /* derived from the reference */
    int sum;
    int64_t start; /* index of the first attempt after the sum was last 0 */
};

struct o3_success {
    struct o3_success_params params;
    enum o3_drift_state state;
    int64_t next, first; /* as in struct o3_drift */
    int64_t last_wall_ms;
    double mean; /* share of failures learned from, without the prior */
    int64_t n;   /* attempts learned from */
    int64_t established_wall_ms;
    int64_t learned, floor;
    double walks_mean; /* mean and n that the walks were made for */
    int64_t walks_n;
    struct o3_success_member side[2][O3_SUCCESS_BANK];
    int direction; /* of the change; 0 while there is none */
    int64_t change_index, change_wall_ms, change_lo_ms, change_hi_ms;
    int64_t n_level, n_level_failures; /* attempts since the change that the level is of, and failures among them */
    double back;                       /* evidence that the reference is back: a CUSUM of log likelihood ratios */
    int64_t back_start;                /* first attempt after it was last 0 */
    double back_from;                  /* share of failures before that */
    int32_t step_ms[O3_SUCCESS_RING];
    uint64_t failed[O3_SUCCESS_RING / 64];
};

struct o3_success_params o3_success_params_clamp(struct o3_success_params p);
double o3_success_reference(const struct o3_success *s); /* share of failures, Jeffreys' prior included */
void o3_success_make_walks(struct o3_success *s);        /* for walks_mean and walks_n */
void o3_success_refresh_walks(struct o3_success *s);     /* when the reference moved */
struct o3_success_lead {
    double ratio;
    int64_t start;
};
struct o3_success_lead o3_success_lead(const struct o3_success *s, int direction);
struct o3_success_lead o3_success_lead_any(const struct o3_success *s);
int64_t o3_success_oldest(const struct o3_success *s);
bool o3_success_failed_at(const struct o3_success *s, int64_t index);
int64_t o3_success_wall_at(const struct o3_success *s, int64_t index);
int64_t o3_success_failures_since(const struct o3_success *s, int64_t index);

#endif
