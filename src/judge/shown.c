/* SPDX-License-Identifier: Apache-2.0 */
/* What people are shown of a level. A detector judges logarithms: exact readings come back from them with a tail of
 * digits, and nothing at all on the GPU stands for the floor there. */
#include <math.h>
#include "judge/parts.h"

#define FLOOR_SEEN (O3_JUDGE_SHARE_FLOOR * 1.0001) /* kept as a float */

static bool is_nothing(enum o3_signal sig, double v) {
    return sig == O3_SIGNAL_GPU_RATIO && v <= FLOOR_SEEN;
}

double o3_shown_value(enum o3_signal sig, double v) {
    if (is_nothing(sig, v)) return 0;
    if (sig == O3_SIGNAL_MEMORY || sig == O3_SIGNAL_CONTEXT) return floor(v + 0.5);
    return sig == O3_SIGNAL_GPU_RATIO ? floor(v * 1e6 + 0.5) / 1e6 : v;
}

double o3_shown_ratio(enum o3_signal sig, double reference, double ratio) {
    return !is_nothing(sig, reference) && is_nothing(sig, reference * (1 + ratio)) ? -1 : ratio;
}

void o3_shown_view(enum o3_signal sig, struct o3_drift_view *v) {
    v->change_ratio = o3_shown_ratio(sig, v->baseline, v->change_ratio);
    v->baseline = o3_shown_value(sig, v->baseline);
    v->recent_median = o3_shown_value(sig, v->recent_median);
}

void o3_shown_report(enum o3_signal sig, struct o3_drift_report *r) {
    r->change_ratio = o3_shown_ratio(sig, r->reference, r->change_ratio);
    r->change_lo = o3_shown_ratio(sig, r->reference, r->change_lo);
    r->change_hi = o3_shown_ratio(sig, r->reference, r->change_hi);
    r->reference = o3_shown_value(sig, r->reference);
    r->level = o3_shown_value(sig, r->level);
}
