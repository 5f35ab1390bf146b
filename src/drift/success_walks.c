/* SPDX-License-Identifier: Apache-2.0 */
/* Reference, walks and ring of the detector of successes. */
#include <math.h>
#include "drift/success_parts.h"

#define SHARE_MIN 0.001   /* rarer events are tested as if they were this frequent */
#define CHANGE_MIN 0.05   /* the walks look for no smaller change */
#define REFRESH 1.05      /* the walks are made again when the odds of the reference moved by this factor */
#define DOUBT 1.0         /* standard errors of the reference that the walks allow for */
#define MEMBERS_PER_ARL 2 /* walks share the false alarms; they overlap, so that the four count for two */

/* Jeffreys' prior: half a failure and half a success. */
static double share(double mean, double n) {
    return (n * mean + 0.5) / (n + 1);
}

static double weight(int64_t n) {
    return (double)(n < O3_SUCCESS_MEMORY ? n : O3_SUCCESS_MEMORY);
}

double o3_success_reference(const struct o3_success *s) {
    return share(s->mean, weight(s->n));
}

/* The share of events that the walks of a side are made for: a standard error beyond the reference, because one that is
 * too small costs false alarms, one too large only time. */
static double tested_share(double mean, int64_t n, int side) {
    double q = share(mean, weight(n)), error = sqrt(q * (1 - q) / (weight(n) + 2));
    return fmax(SHARE_MIN, (side ? q : 1 - q) + DOUBT * error);
}

static struct o3_walk make_walk(double p0, double p1, double arl) {
    struct o3_walk none = {.up = 0}, w;
    if (p1 > 1 - SHARE_MIN) return none;
    w = o3_walk_steps(p0, p1);
    w.limit = o3_walk_limit(w, p0, arl);
    return w;
}

void o3_success_make_walks(struct o3_success *s) {
    double arl = s->params.arl0_samples * MEMBERS_PER_ARL, change = fmax(CHANGE_MIN, s->params.min_change);
    for (int side = 0; side < 2; side++) {
        double p = tested_share(s->walks_mean, s->walks_n, side), outage = 0.5 * (1 + p);
        s->side[side][0].walk = make_walk(p, p + change, arl);
        s->side[side][1].walk = outage > p + 1.5 * change ? make_walk(p, outage, arl) : (struct o3_walk){.up = 0};
    }
}

static double odds(double p) {
    return p / (1 - p);
}

/* The walks follow the reference in steps, because a limit is not computed in no time; sums keep their share of it. */
void o3_success_refresh_walks(struct o3_success *s) {
    bool moved = false;
    for (int side = 0; side < 2; side++) {
        double was = tested_share(s->walks_mean, s->walks_n, side), is = tested_share(s->mean, s->n, side);
        if (was >= 1 || is >= 1) {
            moved |= (was >= 1) != (is >= 1);
            continue;
        }
        double ratio = odds(is) / odds(was);
        moved |= ratio > REFRESH || ratio < 1 / REFRESH;
    }
    if (!moved) return;
    s->walks_mean = s->mean;
    s->walks_n = s->n;
    int before[2][O3_SUCCESS_BANK];
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_SUCCESS_BANK; i++)
            before[side][i] = s->side[side][i].walk.limit;
    o3_success_make_walks(s);
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_SUCCESS_BANK; i++) {
            struct o3_success_member *m = &s->side[side][i];
            m->sum = before[side][i] ? (int)((int64_t)m->sum * m->walk.limit / before[side][i]) : 0;
        }
}

struct o3_success_lead o3_success_lead(const struct o3_success *s, int direction) {
    const struct o3_success_member *m = s->side[direction < 0];
    struct o3_success_lead lead = {.ratio = 0, .start = s->next};
    for (int i = 0; i < O3_SUCCESS_BANK; i++) {
        double ratio = m[i].walk.limit ? (double)m[i].sum / m[i].walk.limit : 0;
        if (ratio > lead.ratio) lead = (struct o3_success_lead){.ratio = ratio, .start = m[i].start};
    }
    return lead;
}

struct o3_success_lead o3_success_lead_any(const struct o3_success *s) {
    struct o3_success_lead better = o3_success_lead(s, 1), worse = o3_success_lead(s, -1);
    return worse.ratio > better.ratio ? worse : better;
}

int64_t o3_success_oldest(const struct o3_success *s) {
    int64_t oldest = s->next - O3_SUCCESS_RING;
    return oldest > s->first ? oldest : s->first;
}

bool o3_success_failed_at(const struct o3_success *s, int64_t index) {
    size_t slot = (size_t)(index % O3_SUCCESS_RING);
    return s->failed[slot / 64] >> (slot % 64) & 1;
}

int64_t o3_success_wall_at(const struct o3_success *s, int64_t index) {
    int64_t wall_ms = s->last_wall_ms;
    for (int64_t i = s->next - 1; i > index; i--)
        wall_ms -= s->step_ms[i % O3_SUCCESS_RING] > 0 ? s->step_ms[i % O3_SUCCESS_RING] : 0;
    return wall_ms;
}

int64_t o3_success_failures_since(const struct o3_success *s, int64_t index) {
    int64_t n = 0;
    for (int64_t i = index; i < s->next; i++)
        n += o3_success_failed_at(s, i);
    return n;
}

enum o3_drift_state o3_success_state_of(const struct o3_success *s) {
    return s->state;
}

void o3_success_view(const struct o3_success *s, struct o3_drift_view *ret) {
    int64_t held = s->next - o3_success_oldest(s), n = held < 30 ? held : 30;
    *ret = (struct o3_drift_view){.state = s->state, .n_samples = s->next, .baseline_n = s->n, .threshold = 1};
    ret->established_wall_ms = s->established_wall_ms;
    ret->baseline = ret->baseline_sd = ret->recent_median = ret->robust_cv = (double)NAN;
    ret->n_recent = (int)n;
    if (n) ret->recent_median = 1 - (double)o3_success_failures_since(s, s->next - n) / (double)n;
    if (s->state == O3_DRIFT_LEARNING) return;
    double ref = o3_success_reference(s);
    ret->baseline = 1 - s->mean;
    ret->baseline_sd = sqrt(ref * (1 - ref));
    ret->statistic = o3_success_lead_any(s).ratio;
    if (!s->direction) return;
    ret->change_ratio = s->mean - (double)s->n_level_failures / (double)s->n_level;
    ret->change_wall_ms = s->change_wall_ms;
}
