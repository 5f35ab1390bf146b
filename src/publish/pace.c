/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/pace.h"
#include <string.h>
#include "o3/text.h"

#define HOUR_NS (3600 * O3_NS_PER_S)
#define FIRST_NS (5 * O3_NS_PER_S)
#define LONGEST_NS (600 * O3_NS_PER_S)
#define SETTLE_NS (500 * O3_NS_PER_MS)

void o3_pace_init(struct o3_pace *p, int per_hour, uint64_t seed) {
    memset(p, 0, sizeof *p);
    p->per_hour = per_hour < 1 ? 1 : per_hour > O3_PACE_WRITES_MAX ? O3_PACE_WRITES_MAX : per_hour;
    o3_rand_seed(&p->rand, seed);
}

int64_t o3_pace_free_at_ns(const struct o3_pace *p, int64_t now_ns) {
    if (p->n_written < p->per_hour) return now_ns;
    int64_t free_ns = p->written_ns[p->n_written - p->per_hour] + HOUR_NS;
    return free_ns > now_ns ? free_ns : now_ns;
}

void o3_pace_wrote(struct o3_pace *p, int64_t now_ns) {
    if (p->n_written == O3_PACE_WRITES_MAX) {
        p->n_written--;
        memmove(p->written_ns, p->written_ns + 1, (size_t)p->n_written * sizeof *p->written_ns);
    }
    p->written_ns[p->n_written++] = now_ns;
    p->n_failures = 0;
}

int64_t o3_pace_jitter_ns(struct o3_pace *p, int64_t span_ns) {
    return (int64_t)(o3_rand_uniform(&p->rand) * (double)span_ns);
}

int64_t o3_pace_failed_ns(struct o3_pace *p) {
    int64_t wait = FIRST_NS << p->n_failures;
    if (wait > LONGEST_NS)
        wait = LONGEST_NS;
    else
        p->n_failures++;
    return wait - o3_pace_jitter_ns(p, wait / 2);
}

/* ---- a place ---- */

void o3_paced_init(struct o3_paced *p, int per_hour, uint64_t seed) {
    *p = (struct o3_paced){.at_ns = INT64_MAX};
    o3_pace_init(&p->pace, per_hour, seed);
}

/* What fails is not tried sooner because there is more to write, and one change after the other holds nothing up. */
void o3_paced_want(struct o3_paced *p, int64_t now_ns) {
    if (!p->is_pending) p->at_ns = now_ns + SETTLE_NS;
    p->is_pending = true;
}

int64_t o3_paced_deadline_ns(const struct o3_paced *p) {
    return p->is_pending && !p->is_writing ? p->at_ns : INT64_MAX;
}

bool o3_paced_begin(struct o3_paced *p, int64_t now_ns) {
    if (o3_paced_deadline_ns(p) > now_ns) return false;
    int64_t free_ns = o3_pace_free_at_ns(&p->pace, now_ns);
    p->is_writing = free_ns <= now_ns;
    p->is_pending = !p->is_writing;
    p->at_ns = free_ns;
    return p->is_writing;
}

void o3_paced_end(struct o3_paced *p, enum o3_publish_outcome outcome, int64_t now_ns) {
    p->is_writing = false;
    if (outcome == O3_PUBLISH_FAILED) {
        p->is_pending = true;
        p->at_ns = now_ns + o3_pace_failed_ns(&p->pace);
        return;
    }
    if (outcome == O3_PUBLISH_WRITTEN) o3_pace_wrote(&p->pace, now_ns);
    p->pace.n_failures = 0;
    if (p->is_pending) p->at_ns = now_ns + SETTLE_NS;
}

void o3_paced_not_now(struct o3_paced *p, int64_t now_ns) {
    p->is_writing = false;
    p->is_pending = true;
    p->at_ns = now_ns + O3_NS_PER_S;
}

void o3_paced_forget(struct o3_paced *p) {
    p->is_pending = false;
    p->pace.n_failures = 0;
}
