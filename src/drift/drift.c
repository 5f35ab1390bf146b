/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/drift.h"
#include <math.h>
#include <stdlib.h>
#include "drift/parts.h"
#include "o3/num.h"
#include "o3/stat.h"

#define CROSSING_MIN 3  /* samples after the change time before a change is suspected */
#define SMALL_AFTER 60  /* samples after which a suspected change below the minimum effect is given up */
#define QUIET 0.5       /* S/h below which a change is no longer in sight and learning goes on */
#define RETURN_ERRORS 5 /* standard errors of the level that make up the effect when a return is believed */
#define DEPTH_GAIN 0.01 /* what chance made of a change when it was confirmed is forgotten in a hundred samples */
#define NOISIER 2.0     /* times the variance of the reference */
#define SURE_EFFECT 0.8 /* of the minimum, for a confirmation */
#define SURE_SOON 42.0  /* samples since the change */
#define SURE_LATE 62.0
#define SURE_CORRELATED 0.6 /* more half widths, once late, from a correlation of SURE_RHO on */
#define SURE_RHO 0.4
#define SURE_RHO_RANGE 0.15
#define SURE_STRONG 0.4 /* more half widths from O3_DRIFT_STRONG_RHO on */
#define SURE_STRONG_RANGE 0.1
#define TAIL_DOUBT 2.0 /* nats by which the newest few samples may speak for the old level when a change confirms */
#define ANCHOR_FAR 1.0 /* natural logarithm, from the first value to the median of the first baseline */
#define INTERVAL_MIN_MS 1000
#define INTERVAL_MAX_MS (INT64_C(24) * 3600 * 1000)
/* A change must also last this share of confirm_samples intervals: while samples come more often than usual, ten of
 * them are soon there, and a dip of six intervals must not confirm. Ten usual ones take nine intervals. */
#define CONFIRM_DURATION (2.0 / 3)

static const char *const STATE_NAMES[] = {"learning", "stable", "suspect", "confirmed"};
static const char *const DETECTOR_NAMES[] = {"cusum", "rank"};
static const char *const EVENT_NAMES[] = {"none", "baseline", "suspect", "confirmed", "went_away", "recovered"};

const char *o3_drift_state_name(enum o3_drift_state s) {
    return STATE_NAMES[s];
}

const char *o3_drift_event_name(enum o3_drift_event e) {
    return EVENT_NAMES[e];
}

const char *o3_drift_detector_name(enum o3_drift_detector d) {
    return DETECTOR_NAMES[d];
}

struct o3_drift_params o3_drift_params_default(void) {
    return (struct o3_drift_params){.has_season = true,
                                    .interval_ms = 60000,
                                    .min_effect = 0.05,
                                    .arl0_samples = 43200,
                                    .n0 = 30,
                                    .confirm_samples = 10};
}

static double within(double x, double lo, double hi) {
    return x >= lo ? fmin(x, hi) : lo; /* NaN becomes lo */
}

static int int_within(int x, int lo, int hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

struct o3_drift_params o3_drift_params_clamp(struct o3_drift_params p) {
    if (p.detector != O3_DRIFT_BY_RANK) p.detector = O3_DRIFT_BY_CUSUM;
    p.interval_ms = p.interval_ms < INTERVAL_MIN_MS   ? INTERVAL_MIN_MS
                    : p.interval_ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS
                                                      : p.interval_ms;
    p.min_effect = within(p.min_effect, 0, 10);
    p.arl0_samples = within(p.arl0_samples, 100, 1e9);
    p.n0 = int_within(p.n0, 10, O3_DRIFT_N0_MAX);
    p.confirm_samples = int_within(p.confirm_samples, 5, O3_DRIFT_LEVEL_MAX);
    return p;
}

void o3_drift_derive(struct o3_drift *d) {
    d->gate = o3_log1p(d->params.min_effect);
    o3_drift_thresholds(o3_drift_nominal_arl0(d->params.arl0_samples), d->h);
}

size_t o3_drift_size(void) {
    _Static_assert(sizeof(struct o3_drift) < 8192, "a series costs less than 8 KiB");
    return sizeof(struct o3_drift);
}

struct o3_drift *o3_drift_new(const struct o3_drift_params *p) {
    struct o3_drift *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->params = o3_drift_params_clamp(*p);
    o3_drift_derive(d);
    o3_drift_reset(d);
    return d;
}

/* Beyond what comes from telling it at another interval. */
static bool is_other(double a, double b) {
    return fabs(a - b) > 1e-9 * fabs(b);
}

void o3_drift_tune(struct o3_drift *d, const struct o3_drift_params *p) {
    struct o3_drift_params to = d->params, wanted = o3_drift_params_clamp(*p);
    bool is_new = wanted.detector != to.detector;
    double arl0 = wanted.arl0_samples * (double)wanted.interval_ms / (double)to.interval_ms;
    to.detector = wanted.detector;
    to.min_effect = wanted.min_effect;
    to.confirm_samples = wanted.confirm_samples;
    if (is_other(arl0, to.arl0_samples)) to.arl0_samples = arl0;
    to = o3_drift_params_clamp(to);
    bool is_same = !is_new && to.confirm_samples == d->params.confirm_samples &&
                   !is_other(to.min_effect, d->params.min_effect) && !is_other(to.arl0_samples, d->params.arl0_samples);
    if (is_same) return;
    d->params = to;
    o3_drift_derive(d);
    o3_drift_evidence_weigh(d);
    if (!is_new) return;
    d->rank = (struct o3_rank){0};
    o3_drift_rank_clear(d);
}

void o3_drift_free(struct o3_drift *d) {
    free(d);
}

void o3_drift_mark_gap(struct o3_drift *d) {
    d->gap = true;
}

static void forget_change(struct o3_drift *d) {
    d->direction = 0;
    d->is_slow = false;
    d->modes.direction = 0;
    d->change_index = d->change_wall_ms = d->change_lo_ms = d->change_hi_ms = 0;
    d->level = 0;
}

void o3_drift_reset(struct o3_drift *d) {
    d->state = O3_DRIFT_LEARNING;
    d->first = d->learned = d->resumed = d->floor = d->next;
    d->base = (struct o3_drift_baseline){.spacing = 1};
    d->established_wall_ms = 0;
    d->gap = true;
    forget_change(d);
    o3_drift_hours_clear(d);
    d->modes = (struct o3_drift_modes){.suspected = d->next, .ended = d->next};
    for (int i = 0; i < O3_DRIFT_BANK; i++)
        d->back[i] = 0;
    o3_drift_evidence_clear(d);
}

/* A freak first value: the medians of the hours, which are kept as small integers, would not reach the others. */
static void leave_freak_anchor(struct o3_drift *d) {
    double median = o3_drift_median_of_last(d, d->params.n0);
    if (fabs(median) > ANCHOR_FAR) o3_drift_anchor(d, median);
}

static enum o3_drift_event learn_first(struct o3_drift *d) {
    struct o3_drift_pair y[O3_DRIFT_N0_MAX];
    int n0 = d->params.n0;
    if (d->next - d->first < n0) return O3_DRIFT_EV_NONE;
    leave_freak_anchor(d);
    for (int i = 0; i < n0; i++)
        y[i] = o3_drift_pair_at(d, d->first + i);
    o3_drift_baseline_fit(&d->base, y, (size_t)n0);
    d->established_wall_ms = d->last_wall_ms;
    d->learned = d->next;
    d->floor = d->first + n0 / 2; /* a change may have begun before the baseline was complete */
    o3_drift_evidence_clear(d);
    d->state = O3_DRIFT_STABLE;
    o3_drift_evidence_weigh(d);
    return O3_DRIFT_EV_BASELINE;
}

/* The sample O3_DRIFT_LAG ago joins the baseline, unless a change may have begun before it. */
static void learn_delayed(struct o3_drift *d) {
    struct o3_drift_lead lead = o3_drift_lead_any(d);
    /* After a long freeze the ring has lost the oldest ones. */
    if (d->learned < o3_drift_oldest(d)) d->learned = o3_drift_oldest(d);
    for (; d->learned <= o3_drift_newest(d) - O3_DRIFT_LAG; d->learned++) {
        if (lead.ratio >= QUIET && d->learned >= lead.start) break;
        struct o3_drift_pair y = o3_drift_pair_at(d, d->learned);
        if (d->learned <= d->resumed) y.has_before = false;
        o3_drift_baseline_learn(&d->base, y);
    }
    o3_drift_evidence_weigh(d);
}

/* What lies before the last few samples never joins the baseline. */
static void resume_learning(struct o3_drift *d) {
    int64_t from = o3_drift_newest(d) - 2;
    if (d->learned < from) d->learned = d->resumed = from;
}

static void date_change(struct o3_drift *d, int64_t from, double centre, int direction, int64_t index) {
    int64_t lo, hi;
    o3_drift_split_interval(d, from, centre, direction, index, &lo, &hi);
    if (lo > o3_drift_oldest(d)) lo--; /* it happened at some time after the last sample before it */
    d->change_index = index;
    int64_t wall_ms = o3_drift_wall_at(d, index), lo_ms = o3_drift_wall_at(d, lo), hi_ms = o3_drift_wall_at(d, hi);
    d->change_wall_ms = wall_ms;
    d->change_lo_ms = lo_ms < wall_ms ? lo_ms : wall_ms; /* the clock may have been set back in between */
    d->change_hi_ms = hi_ms > wall_ms ? hi_ms : wall_ms;
}

static void note_change(struct o3_drift *d, int direction, const struct o3_drift_change *c) {
    d->direction = direction;
    d->is_slow = false;
    date_change(d, c->from, d->base.mean, direction, c->index);
    d->level = c->level;
}

/* Times the half width of the interval. It is looked at again with each sample, and noise with a long memory makes
 * excursions of its own that last for an hour: what was not clear soon has to be clearer. */
static double sure_errors(const struct o3_drift *d, int64_t n) {
    double rho = o3_drift_baseline_rho(&d->base);
    double late = fmin(1, fmax(0, ((double)n - SURE_SOON) / (SURE_LATE - SURE_SOON)));
    return 1 + SURE_CORRELATED * fmin(1, fmax(0, (rho - SURE_RHO) / SURE_RHO_RANGE)) * late +
           SURE_STRONG * fmin(1, fmax(0, (rho - O3_DRIFT_STRONG_RHO) / SURE_STRONG_RANGE));
}

/* The effect is near the minimum at least, and the interval that will be reported lies well beyond half of it. */
static bool is_sure(const struct o3_drift *d, double effect, int64_t n) {
    if (effect < SURE_EFFECT * d->gate) return false;
    return effect - sure_errors(d, n) * o3_drift_effect_error(d, n, false) >= 0.5 * d->gate;
}

static bool lasts(const struct o3_drift *d, const struct o3_drift_change *c) {
    return c->n >= d->params.confirm_samples && o3_drift_reaches_gate(d, c) && c->recent >= 0.5 * c->effect &&
           c->tail >= -TAIL_DOUBT && o3_drift_duration(d, c->index) >= CONFIRM_DURATION * d->params.confirm_samples &&
           is_sure(d, c->effect, c->n);
}

/* It is a change against the frozen reference, too, which the baseline may have left with a slow change. */
static bool leaves_reference(const struct o3_drift *d, const struct o3_drift_change *c) {
    double reference = d->hours.season_known ? o3_drift_reference_level(d) : (double)NAN;
    return isnan(reference) || is_sure(d, d->direction * (c->level - reference), c->n);
}

/* It has lasted longer than the known excursions like it. */
static bool is_no_mode(const struct o3_drift *d) {
    double needed = o3_drift_modes_persistence(d);
    if (d->modes.suspected < o3_drift_oldest(d)) return true; /* as long as the ring can tell */
    return needed <= 0 || o3_drift_duration(d, d->modes.suspected) >= needed;
}

static enum o3_drift_event confirm(struct o3_drift *d) {
    d->state = O3_DRIFT_CONFIRMED;
    for (int i = 0; i < O3_DRIFT_BANK; i++)
        d->back[i] = 0;
    return O3_DRIFT_EV_CONFIRMED;
}

/* STABLE: a crossing whose effect is worth it. One that already lasted long enough needs no suspicion first. */
static enum o3_drift_event watch_side(struct o3_drift *d, int direction) {
    if (o3_drift_lead(d, direction).ratio < 1) return O3_DRIFT_EV_NONE;
    struct o3_drift_change c = o3_drift_find_change(d, direction);
    if (c.n < CROSSING_MIN || !o3_drift_reaches_gate(d, &c)) return O3_DRIFT_EV_NONE;
    note_change(d, direction, &c);
    o3_drift_modes_note(d, direction, &c);
    if (lasts(d, &c) && leaves_reference(d, &c) && is_no_mode(d)) return confirm(d);
    d->state = O3_DRIFT_SUSPECT;
    return O3_DRIFT_EV_SUSPECT;
}

static enum o3_drift_event watch(struct o3_drift *d) {
    enum o3_drift_event ev = watch_side(d, 1);
    if (!ev) ev = watch_side(d, -1);
    if (!ev) o3_drift_modes_watch(d);
    return ev;
}

/* STABLE, at the end of an hour: the last hours against the frozen reference. */
static enum o3_drift_event watch_hours(struct o3_drift *d) {
    struct o3_drift_slow_change c;
    if (!o3_drift_slow_find(d, &c)) return O3_DRIFT_EV_NONE;
    d->direction = c.direction;
    d->is_slow = true;
    d->modes.direction = 0; /* no excursion */
    d->modes.depth = fabs(c.effect);
    d->change_index = c.index;
    d->change_wall_ms = c.wall_ms;
    d->change_lo_ms = c.lo_ms;
    d->change_hi_ms = c.hi_ms;
    /* The baseline had followed the change. Without a season the reference of the newest samples is that of their
     * hours. */
    double reference = d->hours.season_known ? o3_drift_reference_level(d) : (double)NAN;
    d->base.mean = isnan(reference) ? o3_drift_level_of_last(d, O3_DRIFT_LEVEL_MAX) - c.effect : reference;
    d->level = d->base.mean + c.effect;
    o3_drift_evidence_clear(d);
    return confirm(d);
}

/* What lasts is the level of the frozen reference: the baseline had followed a slow change away from it. */
static enum o3_drift_event back_to_reference(struct o3_drift *d) {
    d->base.mean = o3_drift_reference_level(d);
    d->modes.direction = 0; /* no excursion */
    o3_drift_evidence_clear(d);
    return O3_DRIFT_EV_WENT_AWAY;
}

/* SUSPECT: does it last, did it heal, or is it too small after all? */
static enum o3_drift_event judge(struct o3_drift *d) {
    struct o3_drift_change c = o3_drift_find_change(d, d->direction);
    note_change(d, d->direction, &c);
    o3_drift_modes_note(d, d->direction, &c);
    if (lasts(d, &c)) {
        if (!leaves_reference(d, &c)) return back_to_reference(d);
        if (is_no_mode(d)) return confirm(d);
    }
    if (o3_drift_reaches_gate(d, &c)) {
        bool healed = c.n > CROSSING_MIN && o3_drift_healed(d, d->direction, &c);
        return healed ? O3_DRIFT_EV_WENT_AWAY : O3_DRIFT_EV_NONE;
    }
    bool in_sight = o3_drift_lead(d, d->direction).ratio >= QUIET;
    return in_sight && c.n < SMALL_AFTER ? O3_DRIFT_EV_NONE : O3_DRIFT_EV_WENT_AWAY;
}

/* The same test towards the reference: the hypothesis "still at least 2k sd beyond half the minimum effect" is given up
 * when a CUSUM of its shortfall crosses h. Only members of the bank that the change is large enough for may vote. */
static bool fires_back(struct o3_drift *d) {
    double band = 0.5 * d->gate, rho = o3_drift_baseline_rho(&d->base);
    double whitened_sd = sqrt(d->base.var * (1 + rho) / (1 - rho)); /* a lasting shift of this size scores 1 */
    double distance = (d->direction * (d->level - d->base.mean) - band) / whitened_sd;
    double z = d->direction * o3_drift_score(&d->base, o3_drift_pair_at(d, o3_drift_newest(d)), d->direction * band);
    bool fired = false;
    for (int i = 0; i < O3_DRIFT_BANK; i++) {
        d->back[i] = fmin(O3_DRIFT_CAP * d->h[i], fmax(0, d->back[i] + o3_drift_k[i] - z));
        if (i == 0 || 2 * o3_drift_k[i] <= distance) fired |= d->back[i] >= d->h[i];
    }
    return fired;
}

/* A change may have brought noise with it: what clearly exceeds that of the reference counts until it has left, too.
 * Told from the steps between neighbours, of which the return itself is only one. */
static double return_variance(const struct o3_drift *d, double rho) {
    double step[O3_DRIFT_FOLLOW];
    int64_t oldest = o3_drift_oldest(d) + 1, i = d->next - O3_DRIFT_FOLLOW;
    size_t n = 0;
    for (i = i > oldest ? i : oldest; i < d->next; i++)
        step[n++] = o3_drift_y(d, i) - o3_drift_y(d, i - 1);
    double sd = o3_mad_sd(step, n, 0), var = sd * sd / (2 * (1 - rho));
    return var > NOISIER * d->base.var ? var : d->base.var;
}

/* As many that chance alone does not move the level of the change back to the reference: a small change needs more. */
static int64_t return_samples(const struct o3_drift *d) {
    double rho = o3_drift_baseline_rho(&d->base), effect = fmax(d->modes.depth, d->gate);
    double n = RETURN_ERRORS * RETURN_ERRORS * return_variance(d, rho) * (1 + rho) / (1 - rho) /
               fmax(effect * effect, 1e-12);
    return (int64_t)fmin(O3_DRIFT_LEVEL_MAX, fmax(d->params.confirm_samples, n));
}

static bool is_back(const struct o3_drift *d) {
    double median = o3_drift_median_of_last(d, d->params.confirm_samples);
    double level = o3_drift_level_of_last(d, return_samples(d));
    return fmax(fabs(median - d->base.mean), fabs(level - d->base.mean)) <= 0.5 * d->gate;
}

/* CONFIRMED: the reference stays; the level follows the newest samples. A change to the other side of the reference is
 * news, one that gets worse or partly better is not. */
static enum o3_drift_event follow(struct o3_drift *d) {
    int64_t since = d->next - d->change_index;
    bool fired = fires_back(d);
    d->level = o3_drift_median_of_last(d, since < O3_DRIFT_FOLLOW ? since : O3_DRIFT_FOLLOW);
    d->modes.depth += DEPTH_GAIN * (fmax(0, d->direction * (d->level - d->base.mean)) - d->modes.depth);
    if (fired && is_back(d)) return O3_DRIFT_EV_RECOVERED;
    if (o3_drift_lead(d, -d->direction).ratio < 1) return O3_DRIFT_EV_NONE;
    struct o3_drift_change c = o3_drift_find_change(d, -d->direction);
    if (!lasts(d, &c)) return O3_DRIFT_EV_NONE;
    note_change(d, -d->direction, &c);
    o3_drift_modes_note(d, d->direction, &c);
    return confirm(d);
}

static enum o3_drift_event step(struct o3_drift *d) {
    if (d->state == O3_DRIFT_LEARNING) return learn_first(d);
    o3_drift_evidence_add(d);
    if (d->state == O3_DRIFT_SUSPECT) return judge(d);
    if (d->state == O3_DRIFT_CONFIRMED) return follow(d);
    return watch(d);
}

/* The report of a return dates it and shows the median that brought it; the direction stays that of the old change. */
static void note_return(struct o3_drift *d) {
    int64_t lo = d->change_index + 1;
    if (lo < o3_drift_oldest(d)) lo = o3_drift_oldest(d);
    double middle = 0.5 * (d->level + d->base.mean);
    date_change(d, lo, middle, -d->direction, o3_drift_best_split(d, lo, middle, -d->direction));
    d->level = o3_drift_median_of_last(d, d->params.confirm_samples);
}

/* After the report is written: what the end of a change means for what follows. */
static void close_change(struct o3_drift *d, enum o3_drift_event ev) {
    bool healed = ev == O3_DRIFT_EV_RECOVERED || d->direction * (d->level - d->base.mean) >= d->gate;
    if (ev == O3_DRIFT_EV_RECOVERED) {
        d->floor = d->change_index;
        o3_drift_hours_returned(d, d->change_index);
    }
    if (healed) o3_drift_modes_end(d, ev == O3_DRIFT_EV_RECOVERED ? d->change_index : o3_drift_newest(d) - 1);
    /* A lasting but small change keeps its evidence: it may grow. */
    if (healed) {
        o3_drift_rank_exclude(d, d->rank.changed, o3_drift_newest(d) - 2);
        o3_drift_evidence_clear(d);
        resume_learning(d);
    }
    d->state = O3_DRIFT_STABLE;
    forget_change(d);
}

void o3_drift_acknowledge(struct o3_drift *d) {
    if (d->state == O3_DRIFT_LEARNING) return;
    int64_t n = d->direction ? d->next - d->change_index : d->params.n0, held = d->next - o3_drift_oldest(d);
    if (n > held) n = held;
    double mean = o3_drift_level_of_last(d, n);
    double reference = d->hours.season_known ? o3_drift_reference_level(d) : (double)NAN;
    double shift = mean - (isnan(reference) ? d->base.mean : reference);
    o3_drift_hours_shift(d, d->direction ? d->change_wall_ms : d->last_wall_ms, shift);
    o3_drift_slow_shift(d, shift);
    d->base.mean = mean;
    if (d->base.n > n) d->base.n = n > 2 ? n : 2; /* the error of the new mean */
    d->established_wall_ms = d->last_wall_ms;
    d->learned = d->resumed = d->next;
    d->floor = d->next - n;
    d->state = O3_DRIFT_STABLE;
    o3_drift_rank_exclude(d, d->first, d->floor);
    forget_change(d);
    o3_drift_evidence_clear(d);
    o3_drift_evidence_weigh(d);
}

enum o3_drift_event o3_drift_add(struct o3_drift *d, double value, int64_t wall_ms, struct o3_drift_report *ret) {
    struct o3_drift_report unused;
    if (!ret) ret = &unused;
    if (!isfinite(value) || value <= 0) {
        d->rejected++;
        *ret = (struct o3_drift_report){.index = o3_drift_newest(d), .threshold = 1};
        return O3_DRIFT_EV_NONE;
    }
    o3_drift_push(d, o3_log(value), wall_ms);
    bool hour_ended = o3_drift_hours_add(d);
    enum o3_drift_event ev = step(d);
    if (!ev && hour_ended && d->state == O3_DRIFT_STABLE) ev = watch_hours(d);
    if (ev == O3_DRIFT_EV_RECOVERED) note_return(d);
    o3_drift_fill_report(d, ev, ret);
    if (ev == O3_DRIFT_EV_RECOVERED || ev == O3_DRIFT_EV_WENT_AWAY) close_change(d, ev);
    if (d->state == O3_DRIFT_STABLE) learn_delayed(d);
    return ev;
}
