/* SPDX-License-Identifier: Apache-2.0 */
/* The e-detector on the whitened residuals of a series. */
#include <math.h>
#include "drift/parts.h"
#include "base/state_text.h"
#include "o3/num.h"

#define FROZEN_MIN 30 /* samples before a change that are enough to compare with */
#define STEPS_PER_INTERVAL 8
#define STEPS (O3_DRIFT_GAP_INTERVALS * STEPS_PER_INTERVAL)

/* Alarm at a mean sum of 2 x ARL0 on one side: the mean over both sides is then ARL0 or more. */
static double threshold(const struct o3_drift *d) {
    return 2 * d->params.arl0_samples;
}

void o3_drift_rank_clear(struct o3_drift *d) {
    o3_rank_clear(&d->rank, d->next);
    if (d->state != O3_DRIFT_LEARNING) return;
    for (size_t i = 0; i < sizeof d->rank.foreign / sizeof *d->rank.foreign; i++)
        d->rank.foreign[i] = 0;
}

static bool is_foreign(const struct o3_drift *d, int64_t index) {
    size_t slot = (size_t)(index % O3_DRIFT_RING);
    return d->rank.foreign[slot / 64] >> (slot % 64) & 1;
}

static int n_foreign(const struct o3_drift *d) {
    int n = 0;
    for (size_t i = 0; i < sizeof d->rank.foreign / sizeof *d->rank.foreign; i++)
        for (uint64_t bits = d->rank.foreign[i]; bits; bits &= bits - 1)
            n++;
    return n;
}

void o3_drift_rank_exclude(struct o3_drift *d, int64_t from, int64_t to) {
    if (from < o3_drift_oldest(d)) from = o3_drift_oldest(d);
    for (; from < to && from < d->next; from++) {
        size_t slot = (size_t)(from % O3_DRIFT_RING);
        d->rank.foreign[slot / 64] |= UINT64_C(1) << (slot % 64);
    }
}

bool o3_drift_rank_judges(const struct o3_drift *d) {
    return d->params.detector == O3_DRIFT_BY_RANK && d->state != O3_DRIFT_CONFIRMED && !d->rank.is_worn;
}

void o3_drift_rank_restart(struct o3_drift *d) {
    o3_drift_rank_exclude(d, d->rank.changed, o3_drift_newest(d) - 2);
    o3_drift_rank_clear(d);
}

/* rho^dt and 1 / sqrt(1 - rho^(2 dt)) for dt in steps of 1 / STEPS_PER_INTERVAL, to be interpolated: hundreds of
 * residuals are made again for each sample. */
struct whitening {
    double power[STEPS + 2], scale[STEPS + 2], steps_per_ms, rho;
};

static struct whitening make_whitening(const struct o3_drift *d) {
    struct whitening w = {.steps_per_ms = STEPS_PER_INTERVAL / ((double)d->params.interval_ms * d->base.spacing),
                          .rho = o3_drift_baseline_rho(&d->base)};
    double root = sqrt(sqrt(sqrt(w.rho))); /* rho^(1/8) */
    double power = 1;
    for (int i = 0; i < STEPS + 2; i++, power *= root) {
        w.power[i] = power;
        w.scale[i] = i ? 1 / sqrt(1 - power * power) : 0;
    }
    w.scale[0] = 2 * w.scale[1];
    return w;
}

/* For a step that differs from the one before: most are alike. */
static void find_step(const struct whitening *w, int32_t step_ms, double *power, double *scale) {
    double at = step_ms * w->steps_per_ms;
    if (at > STEPS) { /* rare */
        *power = o3_pow(w->rho, at / STEPS_PER_INTERVAL);
        *scale = 1 / sqrt(1 - *power * *power);
        return;
    }
    at = at > 0 ? at : 0;
    int step = (int)at;
    double part = at - step;
    *power = w->power[step] + part * (w->power[step + 1] - w->power[step]);
    *scale = w->scale[step] + part * (w->scale[step + 1] - w->scale[step]);
}

/* Residuals of the samples from `first` to the newest; the oldest of the ring has no predecessor. */
static void residuals(const struct o3_drift *d, int64_t first, double *ret) {
    struct whitening w = make_whitening(d);
    double mean = d->base.mean, limit = o3_drift_predecessor_limit(&d->base), before = 0, power = 0, scale = 1;
    bool is_oldest = first == o3_drift_oldest(d);
    size_t slot = (size_t)(first % O3_DRIFT_RING), n = (size_t)(d->next - first);
    int32_t step_ms = -1;
    if (!is_oldest) before = fmin(limit, fmax(-limit, o3_drift_y(d, first - 1) - mean));
    for (size_t i = 0; i < n; i++, slot = slot + 1 < O3_DRIFT_RING ? slot + 1 : 0) {
        double now = (double)d->y[slot] - O3_DRIFT_SEASON_UNIT * d->season_of[slot] - mean;
        if ((i == 0 && is_oldest) || d->gaps[slot / 64] >> (slot % 64) & 1) {
            ret[i] = now;
        } else {
            if (d->step_ms[slot] != step_ms) find_step(&w, step_ms = d->step_ms[slot], &power, &scale);
            ret[i] = (now - power * before) * scale;
        }
        before = now > limit ? limit : now < -limit ? -limit : now;
    }
}

/* The window ends before the change that is in sight. Only after a crossing: before, independence of the ranks needs
 * all samples. */
static int64_t window_end(const struct o3_drift *d, int64_t newest) {
    return d->rank.changed < newest ? d->rank.changed : newest;
}

/* What was before the change left the ring, or there was little of it. */
static bool is_worn(const struct o3_drift *d) {
    int64_t n = 0;
    if (d->rank.changed == INT64_MAX) return false;
    for (int64_t i = o3_drift_oldest(d); i < d->rank.changed; i++)
        n += !is_foreign(d, i);
    return n < FROZEN_MIN;
}

static void note_changed(struct o3_drift *d) {
    int64_t at = INT64_MAX;
    if (d->direction)
        at = d->change_index;
    else
        for (int direction = -1; direction <= 1; direction += 2)
            if (o3_rank_sum(&d->rank, direction) >= threshold(d)) at = o3_rank_start(&d->rank, direction);
    if (at == INT64_MAX || at < d->rank.changed) d->rank.changed = at;
}

void o3_drift_rank_add(struct o3_drift *d) {
    int64_t newest = o3_drift_newest(d);
    size_t slot = (size_t)(newest % O3_DRIFT_RING);
    d->rank.foreign[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    note_changed(d);
    d->rank.is_worn = is_worn(d);
    if (d->state == O3_DRIFT_CONFIRMED || d->rank.is_worn) return;
    int64_t end = window_end(d, newest), first = end - O3_RANK_WINDOW - n_foreign(d);
    if (first < o3_drift_oldest(d)) first = o3_drift_oldest(d);
    double e[O3_DRIFT_RING];
    int less = 0, equal = 0, n = 0;
    residuals(d, first, e);
    double now = e[newest - first];
    for (int64_t i = end - 1; i >= first && n < O3_RANK_WINDOW; i--) {
        size_t at = (size_t)i % O3_DRIFT_RING;
        int is_reference = !(d->rank.foreign[at / 64] >> (at % 64) & 1);
        double then = e[i - first];
        less += is_reference & (then < now);
        equal += is_reference & (then == now);
        n += is_reference;
    }
    if (equal == n) return; /* nothing to compare with, or all the same: no news, and the sums need not grow */
    double cap = 2 * O3_RANK_SHIFTS * threshold(d) * sqrt(threshold(d)); /* beyond a ratio of O3_DRIFT_CAP */
    o3_rank_add(&d->rank, less, less + equal + 1, n + 1, cap, newest);
}

struct o3_drift_lead o3_drift_rank_lead(const struct o3_drift *d, int direction) {
    double sum = o3_rank_sum(&d->rank, direction), full = threshold(d);
    double ratio = sum >= full ? fmax(1, o3_log1p(sum) / o3_log1p(full))
                               : fmin(0.999999, o3_log1p(sum) / o3_log1p(full));
    return (struct o3_drift_lead){.ratio = fmin(O3_DRIFT_CAP, ratio), .start = o3_rank_start(&d->rank, direction)};
}

void o3_drift_rank_put(const struct o3_drift *d, struct o3_buf *out) {
    if (d->params.detector != O3_DRIFT_BY_RANK) return;
    o3_buf_adds(out, "\nrank");
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_RANK_SHIFTS; i++) {
            o3_state_put_double(out, d->rank.side[side][i].sum);
            o3_state_put_double(out, d->rank.side[side][i].product);
            o3_state_put_int(out, d->rank.side[side][i].start);
        }
    o3_state_put_int(out, d->rank.changed);
    o3_state_put_int(out, d->rank.is_worn);
    for (size_t i = 0; i < sizeof d->rank.foreign / sizeof *d->rank.foreign; i++)
        o3_state_put_int(out, (int64_t)d->rank.foreign[i]);
}

void o3_drift_rank_read(struct o3_state_reader *r, struct o3_drift *d) {
    if (d->params.detector != O3_DRIFT_BY_RANK) return;
    o3_state_read_name(r, "rank");
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_RANK_SHIFTS; i++) {
            d->rank.side[side][i].sum = o3_state_read_double(r, 0, 1e20);
            d->rank.side[side][i].product = o3_state_read_double(r, 0, 1e20);
            d->rank.side[side][i].start = o3_state_read_int(r, d->first, d->next);
        }
    d->rank.changed = o3_state_read_int(r, d->first, INT64_MAX);
    d->rank.is_worn = o3_state_read_int(r, 0, 1);
    for (size_t i = 0; i < sizeof d->rank.foreign / sizeof *d->rank.foreign; i++)
        d->rank.foreign[i] = (uint64_t)o3_state_read_int(r, INT64_MIN, INT64_MAX);
}
