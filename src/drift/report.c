/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "drift/parts.h"
#include "o3/num.h"

#define LEVEL_RATIO_MAX 700.0 /* e^700: a ratio stays finite */

static double ratio_of(double shift) {
    return o3_expm1(fmin(shift, LEVEL_RATIO_MAX));
}

static void fill_change(const struct o3_drift *d, enum o3_drift_event ev, struct o3_drift_report *ret) {
    int64_t n = d->next - d->change_index;
    double shift = d->level - d->base.mean;
    bool returned = ev == O3_DRIFT_EV_RECOVERED;
    double error = o3_drift_effect_error(d, returned ? d->params.confirm_samples : n, returned);
    ret->direction = d->direction;
    ret->level = o3_exp(d->anchor + d->level);
    ret->change_ratio = ratio_of(shift);
    ret->change_lo = ratio_of(shift - error);
    ret->change_hi = ratio_of(shift + error);
    ret->change_wall_ms = d->change_wall_ms;
    ret->change_lo_ms = d->change_lo_ms;
    ret->change_hi_ms = d->change_hi_ms;
    ret->change_index = d->change_index;
    ret->is_slow = d->is_slow;
    ret->n_since = (int)(n < INT32_MAX ? n : INT32_MAX);
}

void o3_drift_fill_report(const struct o3_drift *d, enum o3_drift_event ev, struct o3_drift_report *ret) {
    *ret = (struct o3_drift_report){.event = ev, .index = o3_drift_newest(d), .threshold = 1};
    if (!ev) return;
    ret->season_known = d->hours.season_known;
    ret->reference = o3_exp(d->anchor + d->base.mean);
    ret->level = ret->reference;
    ret->baseline_n = d->base.n;
    ret->baseline_sd_ratio = sqrt(d->base.var);
    ret->statistic = o3_drift_lead_any(d).ratio;
    if (ev != O3_DRIFT_EV_BASELINE) fill_change(d, ev, ret);
}

void o3_drift_report_now(const struct o3_drift *d, struct o3_drift_report *ret) {
    o3_drift_fill_report(d, d->state == O3_DRIFT_CONFIRMED ? O3_DRIFT_EV_CONFIRMED : O3_DRIFT_EV_NONE, ret);
}
