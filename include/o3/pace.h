/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PACE_H
#define O3_PACE_H
/* How often something may be written, and when it is tried again after a failure. Pure. */
#include <stdbool.h>
#include <stdint.h>
#include "o3/publish.h"
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

/* A place that is written as a whole, by somebody else: what is newest waits half a second, so that several changes
 * become one, and for the budget; what fails is tried until it is there.
 *
 *     o3_paced_want(p, now);
 *     at o3_paced_deadline_ns(p): if (o3_paced_begin(p, now)) write; when that ended: o3_paced_end(p, outcome, now); */
struct o3_paced {
    struct o3_pace pace;
    bool is_pending; /* something newer than what is written */
    bool is_writing;
    int64_t at_ns; /* of the next attempt */
};
void o3_paced_init(struct o3_paced *p, int per_hour, uint64_t seed);
void o3_paced_want(struct o3_paced *p, int64_t now_ns);
int64_t o3_paced_deadline_ns(const struct o3_paced *p);  /* INT64_MAX: nothing is pending, or it is being written */
bool o3_paced_begin(struct o3_paced *p, int64_t now_ns); /* false: not yet */
void o3_paced_end(struct o3_paced *p, enum o3_publish_outcome outcome, int64_t now_ns);
void o3_paced_not_now(struct o3_paced *p, int64_t now_ns); /* what began could not even be tried */
void o3_paced_forget(struct o3_paced *p);                  /* nothing is wanted any more; the budget stays spent */

#endif
