/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_DRIFT_H
#define O3_DRIFT_H
/* One series (model x setting x signal): a self-starting baseline and a two-sided CUSUM bank on clipped,
 * AR(1)-whitened scores of log values (drift.md section 6). Fixed size, O(1) per sample, no allocation;
 * encode/decode round-trips exactly, and a restored detector gives bit-identical verdicts. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"

enum o3_drift_state { O3_DRIFT_LEARNING, O3_DRIFT_STABLE, O3_DRIFT_SUSPECT, O3_DRIFT_CONFIRMED };
enum o3_drift_event {
    O3_DRIFT_EV_NONE,
    O3_DRIFT_EV_BASELINE,  /* the baseline is established: LEARNING -> STABLE */
    O3_DRIFT_EV_SUSPECT,
    O3_DRIFT_EV_CONFIRMED,
    O3_DRIFT_EV_WENT_AWAY, /* a suspected change healed or proved smaller than the minimum effect */
    O3_DRIFT_EV_RECOVERED  /* the level of the old reference is back */
};
const char *o3_drift_state_name(enum o3_drift_state s);
const char *o3_drift_event_name(enum o3_drift_event e);

struct o3_drift_params {
    double min_effect;    /* relative, default 0.05: below it a change is exported, not alerted */
    double arl0_samples;  /* samples between false alarms of this series, default 43200 */
    int n0;               /* samples of the first baseline, default 30 */
    int confirm_samples;  /* default 10 */
};
struct o3_drift_params o3_drift_params_default(void);

/* The evidence of a verdict, valid for SUSPECT, CONFIRMED, WENT_AWAY, RECOVERED. */
struct o3_drift_report {
    enum o3_drift_event event;
    int direction;                   /* +1 value rose, -1 fell */
    double reference, level;         /* baseline centre and centre since the change, in the signal's unit */
    double change_ratio;             /* level / reference - 1 */
    double change_lo, change_hi;     /* 95 % interval of change_ratio */
    int64_t change_wall_ms;          /* estimated first changed sample */
    int64_t change_index, index;     /* counted from the first sample the detector ever took, 0-based */
    int n_since;                     /* samples since the change */
    double statistic, threshold;     /* largest CUSUM / its threshold: statistic >= 1 x threshold fired */
    int64_t baseline_n;
    double baseline_sd_ratio;        /* sd on the log scale = relative sd */
};

#define O3_DRIFT_RING 512
struct o3_drift; /* opaque, but of fixed size: */
size_t o3_drift_size(void); /* bytes; < 8 KiB */

struct o3_drift *o3_drift_new(const struct o3_drift_params *p); /* NULL on no memory */
void o3_drift_free(struct o3_drift *d);
/* value must be positive and finite, else it is counted and ignored (returns NONE). */
enum o3_drift_event o3_drift_add(struct o3_drift *d, double value, int64_t wall_ms, struct o3_drift_report *ret);
/* A gap, a restart of the runner or a clock jump: the next sample has no predecessor for the whitening. */
void o3_drift_mark_gap(struct o3_drift *d);
/* A new epoch (new digest, context, version ...): forget everything but the parameters. */
void o3_drift_reset(struct o3_drift *d);

struct o3_drift_view {
    enum o3_drift_state state;
    int64_t n_samples, n_rejected;
    int64_t baseline_n;              /* 0 while learning */
    double baseline, baseline_sd;    /* in the signal's unit; NaN while learning */
    int64_t established_wall_ms;     /* 0 while learning */
    double statistic, threshold;     /* max over the bank of S/h, and 1 x h scaled: threshold is constant for a series */
    double change_ratio;             /* signed, current estimate in SUSPECT/CONFIRMED; else 0 */
    int64_t change_wall_ms;          /* 0 unless SUSPECT/CONFIRMED */
    double recent_median;            /* of the last up to 30 admitted values; NaN when none */
    double robust_cv;                /* of the same values */
    int n_recent;
};
void o3_drift_view(const struct o3_drift *d, struct o3_drift_view *ret);
/* Values of the ring, newest last; returns how many were written. */
size_t o3_drift_recent(const struct o3_drift *d, double *out, size_t max);

int o3_drift_encode(const struct o3_drift *d, struct o3_buf *out); /* text, hex floats, versioned */
O3_MUST_CHECK int o3_drift_decode(const char *text, size_t n, struct o3_drift **ret, struct o3_err *e);

#endif
