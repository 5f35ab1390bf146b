/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PACE_H
#define O3_PACE_H
/* How often something may be written, and when it is tried again after a failure. Pure. */
#include <stdbool.h>
#include <stdint.h>
#include "o3/rand.h"

#define O3_PACE_WRITES_MAX 60

struct o3_pace {
    struct o3_rand rand;
    int per_hour; /* 1..O3_PACE_WRITES_MAX */
    int64_t written_ns[O3_PACE_WRITES_MAX];
    int n_written;
    int n_failures; /* in a row */
};

void o3_pace_init(struct o3_pace *p, int per_hour, uint64_t seed);
/* The moment from which one more write is within the budget: now, or later. */
int64_t o3_pace_free_at_ns(const struct o3_pace *p, int64_t now_ns);
void o3_pace_wrote(struct o3_pace *p, int64_t now_ns); /* also ends a row of failures */
/* The wait before the next attempt: 5 s, doubled with each failure in a row up to 10 min, of which chance takes away up
 * to a half, so that many sidecars do not come back together. */
int64_t o3_pace_failed_ns(struct o3_pace *p);
int64_t o3_pace_jitter_ns(struct o3_pace *p, int64_t span_ns); /* 0 .. span */

#endif
