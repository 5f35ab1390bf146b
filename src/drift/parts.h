/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_DRIFT_PARTS_H
#define O3_SRC_DRIFT_PARTS_H
/* The parts of a drift detector. All values are natural logarithms of the signal: a relative change is a shift.
 * Sample indices count from the first sample the detector ever took; the ring keeps the newest O3_DRIFT_RING of them.
 */
#include "drift/rank.h"
#include "o3/drift.h"

#define O3_DRIFT_BANK 3        /* CUSUMs per direction */
#define O3_DRIFT_CLIP 2.5      /* scores and learned residuals, in sd: a freak sample counts as no more than this */
#define O3_DRIFT_SD_FLOOR 1e-6 /* relative; a constant series is judged by the minimum effect alone */
#define O3_DRIFT_CAP 1.5     /* the statistic stops here, so that a long change does not need as long to be forgotten */
#define O3_DRIFT_MEMORY 1000 /* weight of the past in the baseline, samples */
#define O3_DRIFT_LAG 20      /* a sample joins the baseline this many samples late, when it is known to be clean */
#define O3_DRIFT_LEVEL_MAX 60 /* newest samples of a change that its level is the median of */
#define O3_DRIFT_FOLLOW 30    /* the same while CONFIRMED; also those of view.recent_median */
#define O3_DRIFT_N0_MAX 240
#define O3_DRIFT_LEVEL_CLIP 1.5  /* sd; a level is a median, corrected by the deviations clipped here (Huber) */
#define O3_DRIFT_GAP_INTERVALS 3 /* a longer step tells of no more time than this */
#define O3_DRIFT_FORGET_INTERVALS                                                                                      \
    30 /* a longer step, or one back in time, takes the predecessor away: until then what is left                      \
        * of a strong correlation would count as news a second time */
#define O3_DRIFT_CAUTION_MAX 5.0  /* by which evidence.c raises thresholds, at most */
#define O3_DRIFT_STRONG_RHO 0.74  /* correlation from which on excursions of the noise look like changes */
#define O3_DRIFT_SEASON_UNIT 1e-4 /* of the offsets kept with the samples */

/* One one-sided CUSUM (Page 1954): S = max(0, S + z - k). z is a standard normal score. */
struct o3_cusum {
    double sum;
    int64_t start; /* index of the first sample after the sum was last 0 */
};
void o3_cusum_add(struct o3_cusum *c, double z, double k, int64_t index);

extern const double o3_drift_k[O3_DRIFT_BANK]; /* reference values, in sd */
/* Threshold h of a one-sided CUSUM: ARL0 = (e^b - b - 1) / (2 k^2), b = 2k (h + 1.166) (Siegmund 1985). */
double o3_drift_siegmund_h(double k, double arl0_one_sided);
/* Thresholds of the bank for a nominal ARL0 shared by its 2 x O3_DRIFT_BANK CUSUMs. */
void o3_drift_thresholds(double nominal_arl0, double h[O3_DRIFT_BANK]);
/* The nominal ARL0 at which the whole detector has the true one asked for; found by simulation. */
double o3_drift_nominal_arl0(double arl0);

/* Two-sided bank. side[0] looks for a rise, side[1] for a fall. */
struct o3_drift_bank {
    struct o3_cusum side[2][O3_DRIFT_BANK];
};
struct o3_drift_lead {
    double ratio;  /* largest S/h */
    int64_t start; /* of that CUSUM */
};
void o3_drift_bank_clear(struct o3_drift_bank *b, int64_t next);
/* S/h stops at cap. */
void o3_drift_bank_add(struct o3_drift_bank *b, const double h[2][O3_DRIFT_BANK], double cap, double z, int64_t index);
struct o3_drift_lead o3_drift_bank_lead(const struct o3_drift_bank *b, const double h[O3_DRIFT_BANK], int direction);

/* A value and its predecessor, which a gap takes away. */
struct o3_drift_pair {
    double now, before;
    double dt; /* time between them, in intervals; 1 without a predecessor */
    bool has_before;
};
/* Winsorised mean, variance and lag-1 covariance. Residuals are clipped at O3_DRIFT_CLIP sd and the variance made
 * consistent again for Gaussian data. */
struct o3_drift_baseline {
    double mean, var, cov;
    double beyond[2];   /* share of the residuals that were clipped above and below; of Gaussian ones 0.0062 each */
    double spacing;     /* usual time between two samples, in intervals; cov is that of samples so far apart */
    int64_t n, n_pairs; /* samples; those of them that told of the covariance */
};
/* y[i].before is y[i - 1].now where there is one. n in 2..O3_DRIFT_N0_MAX. */
void o3_drift_baseline_fit(struct o3_drift_baseline *b, const struct o3_drift_pair *y, size_t n);
void o3_drift_baseline_learn(struct o3_drift_baseline *b, struct o3_drift_pair y);
double o3_drift_baseline_weight(const struct o3_drift_baseline *b); /* samples the baseline is worth */
/* lag-1 autocorrelation plus one standard error, in [0, 0.9] */
double o3_drift_baseline_rho(const struct o3_drift_baseline *b);
/* Standard normal score, clipped, of y against the baseline's mean + offset: AR(1)-whitened, and corrected for the
 * error of the mean and for the few degrees of freedom of the variance. */
double o3_drift_predecessor_limit(const struct o3_drift_baseline *b); /* of a predecessor's residual, not in sd */
double o3_drift_score(const struct o3_drift_baseline *b, struct o3_drift_pair y, double offset);

#define O3_DRIFT_DAYS 7
#define O3_DRIFT_HOURS 24
#define O3_DRIFT_UNKNOWN INT16_MIN
/* Medians of the UTC hours, relative to the anchor and with their season, and what is made of them; in
 * O3_DRIFT_SEASON_UNIT. Tables are indexed by hour of the day. */
struct o3_drift_hours {
    int64_t now;                                /* number of the hour that the newest sample lies in */
    int64_t from;                               /* first sample of that hour */
    int64_t day_0;                              /* hour at which the first day began; days are 24 hours from there */
    int64_t n_days;                             /* complete ones */
    bool season_known;                          /* enough complete days were seen; the offsets may still be 0 */
    int16_t day[O3_DRIFT_DAYS][O3_DRIFT_HOURS]; /* ring of days */
    int16_t season[O3_DRIFT_HOURS];             /* offset at the middle of each hour */
    int16_t reference[O3_DRIFT_HOURS];          /* the first quiet median of each hour, frozen */
    int16_t difference[O3_DRIFT_HOURS];         /* of the last 24 hours to the reference */
    uint16_t n[O3_DRIFT_HOURS];                 /* samples of the last 24 hours */
};

#define O3_DRIFT_EXCURSIONS 16
#define O3_DRIFT_EXCURSION_MAX 60 /* intervals after the suspicion; a longer one is an incident, not a habit */
struct o3_drift_excursion {
    int64_t index; /* where it was suspected */
    float depth;   /* signed */
    float excess;  /* how long it lasted after the suspicion, intervals */
};
/* The newest excursions that healed by themselves; a ring. */
struct o3_drift_modes {
    struct o3_drift_excursion log[O3_DRIFT_EXCURSIONS];
    int64_t n;         /* ever */
    int direction;     /* of the present excursion; 0 without one */
    int64_t suspected; /* sample at which it was noticed */
    int64_t ended;     /* first sample after the newest that was logged */
    double depth;      /* of the present one so far, positive */
};

struct o3_drift {
    struct o3_drift_params params;
    double gate;                     /* ln(1 + min_effect): the smallest shift worth an alert */
    double h[O3_DRIFT_BANK];         /* for a known baseline and Gaussian noise */
    double needed[2][O3_DRIFT_BANK]; /* for a rise and a fall, with the baseline as it is; not before there is one */
    enum o3_drift_state state;
    int64_t next; /* index of the next sample = samples ever taken */
    int64_t rejected;
    int64_t first; /* first sample of this epoch */
    int64_t last_wall_ms;
    double anchor; /* log of the epoch's first value; y, base.mean and level are relative to it */
    bool gap;      /* the next sample has no predecessor */
    struct o3_drift_baseline base;
    int64_t established_wall_ms;
    int64_t learned; /* next sample to join the baseline */
    int64_t resumed; /* samples before it are no predecessors for learning */
    int64_t floor;   /* no change is dated before this sample */
    struct o3_drift_bank bank;
    struct o3_rank rank;        /* used by detector RANK alone */
    double back[O3_DRIFT_BANK]; /* one-sided CUSUMs towards the reference, while CONFIRMED */
    int direction;              /* of the change; 0 while there is none */
    bool is_slow;
    int64_t change_index, change_wall_ms, change_lo_ms, change_hi_ms;
    double level; /* since the change */
    struct o3_drift_hours hours;
    struct o3_drift_modes modes;
    float y[O3_DRIFT_RING];
    int32_t step_ms[O3_DRIFT_RING];    /* wall time since the sample before, saturating */
    int16_t season_of[O3_DRIFT_RING];  /* offset of its time of the day, in O3_DRIFT_SEASON_UNIT */
    uint64_t gaps[O3_DRIFT_RING / 64]; /* bit: no predecessor */
};

/* ---- ring.c: the samples, without their season, relative to the anchor ---- */
void o3_drift_push(struct o3_drift *d, double log_value, int64_t wall_ms);
/* Moves the anchor; what was learned of the hours starts anew. LEARNING only. */
void o3_drift_anchor(struct o3_drift *d, double shift);
int64_t o3_drift_newest(const struct o3_drift *d);
int64_t o3_drift_oldest(const struct o3_drift *d); /* index of the oldest sample of this epoch in the ring */
static inline size_t o3_drift_slot(int64_t index) {
    return (size_t)index % O3_DRIFT_RING;
}
static inline double o3_drift_y(const struct o3_drift *d, int64_t index) {
    size_t slot = o3_drift_slot(index);
    return (double)d->y[slot] - O3_DRIFT_SEASON_UNIT * d->season_of[slot];
}
struct o3_drift_pair o3_drift_pair_at(const struct o3_drift *d, int64_t index);
/* By the clock as it was then; after a step of more than 24 days too late by the rest of it. */
int64_t o3_drift_wall_at(const struct o3_drift *d, int64_t index);
/* Time from a sample to the newest, in intervals. A gap counts as O3_DRIFT_GAP_INTERVALS at most, a step back in time
 * as one interval. Reckoned from the oldest sample in the ring when the index is older. */
double o3_drift_duration(const struct o3_drift *d, int64_t index);
/* Median and robust mean. n is cut to what the ring holds and to O3_DRIFT_LEVEL_MAX. */
double o3_drift_median_of_last(const struct o3_drift *d, int64_t n);
double o3_drift_level_of_last(const struct o3_drift *d, int64_t n);

/* ---- evidence.c: the one place that knows which statistic decides ---- */
void o3_drift_evidence_clear(struct o3_drift *d);                            /* the next sample starts anew */
void o3_drift_evidence_weigh(struct o3_drift *d);                            /* after the baseline has changed */
void o3_drift_evidence_add(struct o3_drift *d);                              /* the newest sample */
struct o3_drift_lead o3_drift_lead(const struct o3_drift *d, int direction); /* fires at ratio >= 1 */
struct o3_drift_lead o3_drift_lead_any(const struct o3_drift *d);

/* ---- rank_series.c: what evidence.c, the codec and the end of a change ask of detector RANK ---- */
struct o3_state_reader;
void o3_drift_rank_clear(struct o3_drift *d);
void o3_drift_rank_add(struct o3_drift *d);
struct o3_drift_lead o3_drift_rank_lead(const struct o3_drift *d, int direction);
bool o3_drift_rank_judges(const struct o3_drift *d);
void o3_drift_rank_restart(struct o3_drift *d);                           /* the change in sight is over */
void o3_drift_rank_exclude(struct o3_drift *d, int64_t from, int64_t to); /* these are no reference */
void o3_drift_rank_put(const struct o3_drift *d, struct o3_buf *out);
void o3_drift_rank_read(struct o3_state_reader *r, struct o3_drift *d);

/* ---- drift.c, report.c ---- */
void o3_drift_derive(struct o3_drift *d); /* gate and h from params */
struct o3_drift_params o3_drift_params_clamp(struct o3_drift_params p);
void o3_drift_fill_report(const struct o3_drift *d, enum o3_drift_event ev, struct o3_drift_report *ret);

/* ---- change.c: where a change in a direction began, and what it amounts to ---- */
struct o3_drift_change {
    int64_t from;  /* where the search began */
    int64_t index; /* first changed sample */
    int64_t n;     /* samples since */
    double level;  /* robust mean since */
    double effect; /* level - baseline mean, positive in the direction asked for */
    double error;  /* standard error of the effect */
    double recent; /* effect of the median of the last 5 */
    double tail;   /* smallest log likelihood ratio, change against none, of the newest 1, 2 .. 8 samples: very
                    * negative when the old level is back */
};
struct o3_drift_change o3_drift_find_change(const struct o3_drift *d, int direction);
bool o3_drift_reaches_gate(const struct o3_drift *d, const struct o3_drift_change *c);
bool o3_drift_healed(const struct o3_drift *d, int direction, const struct o3_drift_change *c);
/* First index in [lo, newest] from which on the values lie `direction` of `centre`: the split with the largest
 * (sum of winsorised deviations) / sqrt(count), which is the maximum likelihood one for a known mean before. */
int64_t o3_drift_best_split(const struct o3_drift *d, int64_t lo, double centre, int direction);
/* Profile likelihood interval of that split: all splits from `from` on that are not much less likely. */
void o3_drift_split_interval(const struct o3_drift *d, int64_t from, double centre, int direction, int64_t split,
                             int64_t *lo, int64_t *hi);
/* 95 % half width of level - mean for a level, or a median, of n samples. */
double o3_drift_effect_error(const struct o3_drift *d, int64_t n, bool is_median);

/* ---- hours.c ---- */
int16_t o3_drift_rounded(double units); /* half away from 0, saturating, never O3_DRIFT_UNKNOWN */
void o3_drift_hours_clear(struct o3_drift *d);
void o3_drift_hours_anchored(struct o3_drift *d); /* the anchor was moved */
bool o3_drift_hours_add(struct o3_drift *d);      /* the newest sample; true when it is the first of another hour */
/* The level of the reference is back since this sample: what was before it is no sign of a slow change. */
void o3_drift_hours_returned(struct o3_drift *d, int64_t index);

/* The level moved at this time, and that is normal: the medians of the days count as if it always had been there. */
void o3_drift_hours_shift(struct o3_drift *d, int64_t wall_ms, double shift);

/* ---- season.c ---- */
#define O3_DRIFT_HOUR_MS INT64_C(3600000)
int16_t o3_drift_season_at(const struct o3_drift *d, int64_t wall_ms); /* in O3_DRIFT_SEASON_UNIT */
void o3_drift_season_learn(struct o3_drift *d);                        /* a day is complete */
/* Of the frozen reference, without its season; NaN when too few hours are known. */
double o3_drift_reference_level(const struct o3_drift *d);

/* ---- modes.c ---- */
/* The newest sample is part of an excursion in this direction, which may be known already. */
void o3_drift_modes_note(struct o3_drift *d, int direction, const struct o3_drift_change *c);
void o3_drift_modes_end(struct o3_drift *d, int64_t end); /* it healed; `end` is the first sample after it */
void o3_drift_modes_watch(struct o3_drift *d); /* STABLE: notes and ends excursions too short for a suspicion */
/* Intervals that a change like the present one has to last after it was noticed; 0 when it is no known mode. */
double o3_drift_modes_persistence(const struct o3_drift *d);
int o3_drift_modes_count(const struct o3_drift *d);

/* ---- slow.c ---- */
struct o3_drift_slow_change {
    int direction;
    double effect; /* signed */
    int64_t index, wall_ms, lo_ms, hi_ms;
};
void o3_drift_slow_add(struct o3_drift *d, int64_t hour, int16_t median, int64_t n); /* an hour that ended */
bool o3_drift_slow_find(const struct o3_drift *d, struct o3_drift_slow_change *ret);
void o3_drift_slow_shift(struct o3_drift *d, double shift); /* moves the reference */

#endif
