/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_DRIFT_H
#define O3_DRIFT_H
/* One series (model x setting x signal): a self-starting baseline and a two-sided CUSUM bank (k = 1/4, 1/2, 1 sd) on
 * clipped, AR(1)-whitened scores of log values; src/doc/drift.md tells the method, its sources and its measured
 * figures. Pure. Fixed size, O(1) per sample, no allocation after new; encode/decode round-trips exactly, and a
 * restored detector gives bit-identical verdicts.
 *
 *   LEARNING --n0 samples--> STABLE --crossing, effect large enough--> SUSPECT --lasts--> CONFIRMED
 *   STABLE -> CONFIRMED at once when the change has already lasted at the crossing (slow changes).
 *   SUSPECT -> STABLE (WENT_AWAY): the newest samples speak for the old level, or the effect proves too small.
 *   STABLE -> CONFIRMED, is_slow: the last six hours lie beyond the minimum effect of the same hours of the first day.
 *   CONFIRMED -> STABLE (RECOVERED): the same test towards the reference fires, and the level of the newest samples
 *   (confirm_samples, more for a small change) lies within half the minimum effect of the reference.
 *
 * "Effect large enough": not significantly below min_effect (1.3 standard errors,
 * or a quarter of it). "Lasts": confirm_samples of them,
 * over at least two thirds of confirm_samples intervals, the newest ones bear it out, and the 95 % interval of the
 * effect lies beyond half of min_effect; longer when excursions like
 * it are known to heal by themselves.
 *
 * While CONFIRMED the reference stays as it was. The level follows the last 30 samples; getting worse, or partly
 * better, updates level and ratio and is no new event. Only a confirmed change to the other side of the reference is
 * one: CONFIRMED again, with the other direction. A new reference comes from o3_drift_reset and o3_drift_acknowledge
 * alone. When a season becomes known the reference is freed from it, but stays that of the time before the change.
 *
 * Assumes positive values and multiplicative noise with at most AR(1) memory. Daily cycles of more than the minimum
 * effect do alarm for the first three days; then their season is known. Fewer than n0 samples: LEARNING, and no
 * verdict.
 *
 * Time: the true spacing of two samples weighs them. A step of more than 30 intervals, one of 0 and one back in time
 * are gaps, as is o3_drift_mark_gap; of the time that a change lasted, a longer step counts as 3 intervals. Times are
 * told by the clock as it was then. A clock set back, or six days without a sample, start the count of days anew;
 * season and reference stay. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"

enum o3_drift_state { O3_DRIFT_LEARNING, O3_DRIFT_STABLE, O3_DRIFT_SUSPECT, O3_DRIFT_CONFIRMED };
enum o3_drift_event {
    O3_DRIFT_EV_NONE,
    O3_DRIFT_EV_BASELINE, /* the baseline is established: LEARNING -> STABLE */
    O3_DRIFT_EV_SUSPECT,
    O3_DRIFT_EV_CONFIRMED,
    O3_DRIFT_EV_WENT_AWAY, /* a suspected change healed or proved smaller than the minimum effect */
    O3_DRIFT_EV_RECOVERED, /* the level of the old reference is back */
};
const char *o3_drift_state_name(enum o3_drift_state s);
const char *o3_drift_event_name(enum o3_drift_event e);

/* CUSUM: the bank above. RANK: mixture Shiryaev-Roberts e-detector on ranks (Shin, Ramdas & Rinaldo 2022), whose ARL0
 * is proved for exchangeable noise of any shape instead of found by simulation; everything around it is the same. */
enum o3_drift_detector { O3_DRIFT_BY_CUSUM, O3_DRIFT_BY_RANK };
const char *o3_drift_detector_name(enum o3_drift_detector d);

/* Values outside the limits are moved to the nearest one. */
struct o3_drift_params {
    enum o3_drift_detector detector; /* default CUSUM */
    bool has_season;                 /* learn 24 hourly offsets of UTC wall time; default true */
    int64_t interval_ms; /* usual time between two samples, default 60000: samples closer together are correlated the
                          * more, rho^(dt / interval) */
    double min_effect;   /* ratio, default 0.05: below it a change is exported, not alerted. A rise of 5 % and a fall to
                          * 1/1.05 count the same. 0..10; at 0 everything is alerted, nothing ever RECOVERED, and slow
                          * changes are not looked for */
    double arl0_samples; /* samples between false alarms (SUSPECT) of this series without the minimum effect, default
                          * 43200; 100..1e9, calibrated for 1440..525600. With m series each needs m times the budget */
    int n0;              /* samples of the first baseline, default 30; 10..240 */
    int confirm_samples; /* after the change time, default 10; 5..60 */
};
struct o3_drift_params o3_drift_params_default(void);

/* The evidence of a verdict, valid for SUSPECT, CONFIRMED, WENT_AWAY, RECOVERED; BASELINE fills reference, level and
 * the baseline's fields; NONE fills event, index and threshold only. For RECOVERED, change_index, change_wall_ms and
 * n_since tell of the return, level is the median of the last confirm_samples, and direction stays that of the change
 * which is over. */
struct o3_drift_report {
    enum o3_drift_event event;
    int direction;                      /* +1 value rose, -1 fell */
    double reference;                   /* baseline centre, in the signal's unit */
    double level;                       /* median since the change, of the last 60 at most */
    double change_ratio;                /* level / reference - 1 */
    double change_lo, change_hi;        /* its 95 % interval: normal, on the log scale, inflated for autocorrelation */
    int64_t change_wall_ms;             /* estimated first changed sample */
    int64_t change_lo_ms, change_hi_ms; /* interval of that time */
    bool is_slow;      /* found by the comparison of hours with the frozen reference: it crept in, there was no step */
    bool season_known; /* false: a daily rhythm was not learned yet, and min_effect is not told from one */
    int64_t change_index, index; /* counted from the first sample the detector ever took, 0-based */
    int n_since;                 /* samples since the change */
    double statistic, threshold; /* as in the view */
    int64_t baseline_n;
    double baseline_sd_ratio; /* sd on the log scale = relative sd */
};

/* The ring holds this many samples, as floats relative to the first of the epoch. */
#define O3_DRIFT_RING 512
struct o3_drift;            /* opaque, but of fixed size: */
size_t o3_drift_size(void); /* bytes; < 8 KiB */

struct o3_drift *o3_drift_new(const struct o3_drift_params *p); /* NULL on no memory */
void o3_drift_free(struct o3_drift *d);
/* value must be positive and finite, else it is counted and ignored (returns NONE). ret may be NULL.
 * wall_ms labels the change time and tells the hour of the season; it may jump: a step of more than 30 intervals, or
 * back in time, counts as a gap. */
enum o3_drift_event o3_drift_add(struct o3_drift *d, double value, int64_t wall_ms, struct o3_drift_report *ret);
/* A gap, a restart of the runner or a clock jump: the next sample has no predecessor for the whitening. */
void o3_drift_mark_gap(struct o3_drift *d);
/* Another detector, minimum effect, ARL0 (told at p->interval_ms) or number of confirming samples from now on. What the
 * baseline was made with stays: interval, n0 and season. The same parameters change nothing. */
void o3_drift_tune(struct o3_drift *d, const struct o3_drift_params *p);
/* A person calls the present level normal: it becomes the reference, learned from the samples since the change (since
 * the newest n0 without one); what was learned of noise, season and modes stays. LEARNING: no effect. */
void o3_drift_acknowledge(struct o3_drift *d);
/* A new epoch (new digest, context, version ...): forget everything but the parameters and the two counters. */
void o3_drift_reset(struct o3_drift *d);

struct o3_drift_view {
    enum o3_drift_state state;
    int64_t n_samples, n_rejected; /* ever; a reset does not touch them */
    int64_t baseline_n;            /* 0 while learning */
    double baseline, baseline_sd;  /* in the signal's unit; NaN while learning */
    int64_t established_wall_ms;   /* 0 while learning */
    double statistic, threshold; /* largest S/h of the bank, 0..1.5, and 1: at statistic >= threshold the test fired */
    double change_ratio;         /* signed, current level / reference - 1 in SUSPECT/CONFIRMED; else 0 */
    int64_t change_wall_ms;      /* 0 unless SUSPECT/CONFIRMED */
    double recent_median;        /* of the last up to 30 values of this epoch; NaN when none */
    double robust_cv;            /* 1.4826 MAD / median of the same values */
    int n_recent;
    bool season_known;
    int n_modes; /* known excursions that heal by themselves */
};
void o3_drift_view(const struct o3_drift *d, struct o3_drift_view *ret);
/* The same without recent_median, robust_cv (NaN) and n_recent (0), which cost far more than the rest. */
void o3_drift_glance(const struct o3_drift *d, struct o3_drift_view *ret);
enum o3_drift_state o3_drift_state_of(const struct o3_drift *d);
/* The evidence of a confirmed change as it is now: getting worse is no event. CONFIRMED only; else event is NONE. */
void o3_drift_report_now(const struct o3_drift *d, struct o3_drift_report *ret);
/* Values of the ring, newest last; returns how many were written. */
size_t o3_drift_recent(const struct o3_drift *d, double *out, size_t max);

/* Text, hex floats, version 2; up to 24 KiB. Returns 0 or the buffer's error. */
int o3_drift_encode(const struct o3_drift *d, struct o3_buf *out);
/* PARSE on damage and on version 1 (never released: start over), STORE_NEWER on a later version. text needs no NUL. */
O3_MUST_CHECK int o3_drift_decode(const char *text, size_t n, struct o3_drift **ret, struct o3_err *e);

#endif
