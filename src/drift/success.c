/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/success.h"
#include <math.h>
#include <stdlib.h>
#include "drift/success_parts.h"
#include "o3/num.h"
#include "o3/stat.h"

#define LAG 20            /* an attempt joins the reference this many later, when it is known to be clean */
#define EVENTS_MIN 3      /* failures (or successes) that a suspicion needs: two in a row have one cause too often */
#define EARLY_SAMPLES 5   /* attempts that confirm_ms needs */
#define SMALL_AFTER 60    /* attempts after which a suspected change below the minimum is given up */
#define QUIET 0.5         /* sum / limit below which a change is no longer in sight and learning goes on */
#define LOOK_BACK 30      /* attempts before the walk's last 0 where the change may have begun */
#define FOLLOW 30         /* attempts that the level follows while CONFIRMED */
#define DATE_DROP 4.0     /* log likelihood ratio below the best at the ends of the interval of the change time */
#define BACK_DOUBT 1.0986 /* ln 3: too much evidence of the return for a confirmation */
#define BACK_AWAY 2.9957  /* ln 20: a suspected change went away */
#define BACK_SURE 6.9078  /* ln 1000: a confirmed one is over; e^x is the mean run length to a false one */
#define BACK_CAP 10.36    /* 1.5 x that */
#define BACK_CHANGE 0.025 /* the return is tested against at least this much */
#define WALL_MAX_MS (INT64_C(1) << 60)
#define Z95 1.96

struct o3_success_params o3_success_params_default(void) {
    return (struct o3_success_params){
        .arl0_samples = 43200, .n0 = 30, .confirm_samples = 10, .min_change = 0.1, .confirm_ms = 15 * 60 * 1000};
}

static double within(double x, double lo, double hi) {
    return x >= lo ? fmin(x, hi) : lo; /* NaN becomes lo */
}

static int int_within(int x, int lo, int hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

struct o3_success_params o3_success_params_clamp(struct o3_success_params p) {
    p.arl0_samples = within(p.arl0_samples, 100, 1e9);
    p.n0 = int_within(p.n0, 10, O3_SUCCESS_N0_MAX);
    p.confirm_samples = int_within(p.confirm_samples, EARLY_SAMPLES, 60);
    p.min_change = within(p.min_change, 0, 0.9);
    p.confirm_ms = p.confirm_ms < 0 ? 0 : p.confirm_ms > WALL_MAX_MS ? WALL_MAX_MS : p.confirm_ms;
    return p;
}

size_t o3_success_size(void) {
    _Static_assert(sizeof(struct o3_success) < 2048, "the series of successes costs less than 2 KiB");
    return sizeof(struct o3_success);
}

struct o3_success *o3_success_new(const struct o3_success_params *p) {
    struct o3_success *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->params = o3_success_params_clamp(*p);
    o3_success_reset(s);
    return s;
}

void o3_success_tune(struct o3_success *s, const struct o3_success_params *p) {
    struct o3_success_params to = s->params;
    to.arl0_samples = p->arl0_samples;
    to.confirm_samples = p->confirm_samples;
    s->params = o3_success_params_clamp(to);
}

void o3_success_free(struct o3_success *s) {
    free(s);
}

static void clear_walks(struct o3_success *s) {
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_SUCCESS_BANK; i++) {
            s->side[side][i].sum = 0;
            s->side[side][i].start = s->next;
        }
}

static void forget_change(struct o3_success *s) {
    s->direction = 0;
    s->change_index = s->change_wall_ms = s->change_lo_ms = s->change_hi_ms = 0;
    s->n_level = s->n_level_failures = 0;
    s->back = s->back_from = 0;
    s->back_start = s->next;
}

/* LEARNING from this attempt on. */
static void start_learning(struct o3_success *s, int64_t from) {
    s->state = O3_DRIFT_LEARNING;
    s->first = s->floor = from;
    s->learned = s->next;
    s->mean = s->walks_mean = 0;
    s->n = s->walks_n = 0;
    s->established_wall_ms = 0;
    clear_walks(s);
    forget_change(s);
}

void o3_success_reset(struct o3_success *s) {
    start_learning(s, s->next);
}

static int64_t newest(const struct o3_success *s) {
    return s->next - 1;
}

static void push(struct o3_success *s, bool failed, int64_t wall_ms) {
    size_t slot = (size_t)(s->next % O3_SUCCESS_RING);
    uint64_t bit = UINT64_C(1) << (slot % 64);
    if (wall_ms > WALL_MAX_MS) wall_ms = WALL_MAX_MS;
    if (wall_ms < -WALL_MAX_MS) wall_ms = -WALL_MAX_MS;
    int64_t step_ms = wall_ms - s->last_wall_ms;
    s->step_ms[slot] = (int32_t)(step_ms > INT32_MAX ? INT32_MAX : step_ms < INT32_MIN ? INT32_MIN : step_ms);
    s->failed[slot / 64] = failed ? s->failed[slot / 64] | bit : s->failed[slot / 64] & ~bit;
    s->last_wall_ms = wall_ms;
    s->next++;
}

/* ---- the reference ---- */

static void establish(struct o3_success *s, int64_t from) {
    s->n = s->walks_n = s->next - from;
    s->mean = s->walks_mean = (double)o3_success_failures_since(s, from) / (double)s->n;
    s->established_wall_ms = s->last_wall_ms;
    s->learned = s->next;
    s->state = O3_DRIFT_STABLE;
    o3_success_make_walks(s);
    clear_walks(s);
    forget_change(s);
}

static enum o3_drift_event learn_first(struct o3_success *s) {
    if (s->next - s->first < s->params.n0) return O3_DRIFT_EV_NONE;
    establish(s, s->first);
    s->floor = s->first + s->params.n0 / 2; /* a change may have begun before the reference was complete */
    return O3_DRIFT_EV_BASELINE;
}

/* The attempt LAG ago joins the reference, unless a change may have begun before it. */
static void learn_delayed(struct o3_success *s) {
    struct o3_success_lead lead = o3_success_lead_any(s);
    /* After a long freeze the ring has lost the oldest ones. */
    if (s->learned < o3_success_oldest(s)) s->learned = o3_success_oldest(s);
    for (; s->learned <= newest(s) - LAG; s->learned++) {
        if (lead.ratio >= QUIET && s->learned >= lead.start) break;
        s->n++;
        s->mean += (o3_success_failed_at(s, s->learned) - s->mean) /
                   (double)(s->n < O3_SUCCESS_MEMORY ? s->n : O3_SUCCESS_MEMORY);
    }
}

/* ---- the change ---- */

/* Log likelihood ratio of k events in n, against the reference share p. Only an
 * excess of events counts. */
static double excess(double k, double n, double p) {
    if (k <= n * p) return 0;
    double sum = k * o3_log(k / (n * p));
    return k < n ? sum + (n - k) * o3_log((n - k) / (n * (1 - p))) : sum;
}

struct change {
    int64_t index, lo, hi; /* first changed attempt, and its interval */
    int64_t n, failures;   /* since */
};

/* Share of events of a direction: failures for -1, successes for +1. */
static double event_share(int direction, double failures) {
    return direction < 0 ? failures : 1 - failures;
}

/* Maximum likelihood for a known share before. Called at crossings and while SUSPECT only. */
static struct change find_change(const struct o3_success *s, int direction) {
    double p = event_share(direction, o3_success_reference(s)), best = -1, at[O3_SUCCESS_RING];
    int64_t lo = o3_success_lead(s, direction).start - LOOK_BACK, events = 0, failures = 0;
    if (lo < s->floor) lo = s->floor;
    if (lo < o3_success_oldest(s)) lo = o3_success_oldest(s);
    struct change c = {.index = newest(s)};
    for (int64_t i = newest(s); i >= lo; i--) {
        bool failed = o3_success_failed_at(s, i);
        failures += failed;
        events += failed == (direction < 0);
        at[i - lo] = excess((double)events, (double)(s->next - i), p);
        if (at[i - lo] < best) continue;
        best = at[i - lo];
        c = (struct change){.index = i, .n = s->next - i, .failures = failures};
    }
    c.lo = c.hi = c.index;
    for (int64_t i = newest(s); i >= lo; i--) {
        if (at[i - lo] < best - DATE_DROP) continue;
        c.lo = i < c.lo ? i : c.lo;
        c.hi = i > c.hi ? i : c.hi;
    }
    return c;
}

static double effect_of(const struct o3_success *s, int direction, int64_t n, int64_t failures) {
    return -direction * ((double)failures / (double)n - o3_success_reference(s));
}

static void note_change(struct o3_success *s, int direction, const struct change *c) {
    s->direction = direction;
    s->change_index = c->index;
    s->change_wall_ms = o3_success_wall_at(s, c->index);
    int64_t lo = c->lo > o3_success_oldest(s) ? c->lo - 1 : c->lo; /* after the last attempt before it */
    int64_t lo_ms = o3_success_wall_at(s, lo), hi_ms = o3_success_wall_at(s, c->hi);
    s->change_lo_ms = lo_ms < s->change_wall_ms ? lo_ms : s->change_wall_ms; /* the clock may have been set back */
    s->change_hi_ms = hi_ms > s->change_wall_ms ? hi_ms : s->change_wall_ms;
    s->n_level = c->n;
    s->n_level_failures = c->failures;
}

static double level(const struct o3_success *s) {
    return (double)s->n_level_failures / (double)s->n_level;
}

/* Starts the test of a return: up to now nothing speaks for one. */
static void start_back(struct o3_success *s) {
    s->back = 0;
    s->back_start = s->next;
    s->back_from = level(s);
}

/* Share of failures of the newest attempts since the change, up to FOLLOW of them. */
static void follow_level(struct o3_success *s) {
    int64_t from = s->next - FOLLOW;
    if (from < s->change_index) from = s->change_index;
    if (from < o3_success_oldest(s)) from = o3_success_oldest(s);
    s->n_level = s->next - from;
    s->n_level_failures = o3_success_failures_since(s, from);
}

/* CUSUM of the reference against a share halfway between it and the level that there was before the evidence. */
static void add_back(struct o3_success *s) {
    double ref = event_share(s->direction, o3_success_reference(s));
    double from = event_share(s->direction, s->back_from);
    double still = ref + fmax(0.5 * fmax(from - ref, s->params.min_change), BACK_CHANGE);
    still = fmin(still, 0.5 * (1 + ref));
    bool is_event = o3_success_failed_at(s, newest(s)) == (s->direction < 0);
    s->back += is_event ? o3_log(ref / still) : o3_log((1 - ref) / (1 - still));
    s->back = fmin(s->back, BACK_CAP);
    if (s->back > 0) return;
    s->back = 0;
    s->back_start = s->next;
    follow_level(s);
    s->back_from = level(s);
}

static bool lasted_long(const struct o3_success *s, const struct change *c) {
    if (c->n >= s->params.confirm_samples) return true;
    int64_t lasted_ms = s->last_wall_ms - o3_success_wall_at(s, c->index);
    return s->params.confirm_ms > 0 && c->n >= EARLY_SAMPLES && lasted_ms >= s->params.confirm_ms;
}

/* The change begins with an event because it was looked for there: for the gate that one does not count. */
static bool is_worth_it(const struct o3_success *s, int direction, const struct change *c) {
    int64_t events = direction < 0 ? c->failures : c->n - c->failures;
    if (events < EVENTS_MIN) return false;
    double ref = event_share(direction, o3_success_reference(s));
    return (double)(events - 1) / (double)(c->n - 1) - ref >= s->params.min_change;
}

static enum o3_drift_event watch_side(struct o3_success *s, int direction) {
    if (o3_success_lead(s, direction).ratio < 1) return O3_DRIFT_EV_NONE;
    struct change c = find_change(s, direction);
    if (!is_worth_it(s, direction, &c)) return O3_DRIFT_EV_NONE;
    if (s->direction && !lasted_long(s, &c)) return O3_DRIFT_EV_NONE; /* to the other side of the reference */
    note_change(s, direction, &c);
    start_back(s);
    s->state = lasted_long(s, &c) ? O3_DRIFT_CONFIRMED : O3_DRIFT_SUSPECT;
    return s->state == O3_DRIFT_CONFIRMED ? O3_DRIFT_EV_CONFIRMED : O3_DRIFT_EV_SUSPECT;
}

/* SUSPECT: does it last, did it heal, or is it too small after all? */
static enum o3_drift_event judge(struct o3_success *s) {
    struct change c = find_change(s, s->direction);
    note_change(s, s->direction, &c);
    add_back(s);
    if (s->back >= BACK_AWAY) return O3_DRIFT_EV_WENT_AWAY;
    if (is_worth_it(s, s->direction, &c)) {
        if (!lasted_long(s, &c) || s->back >= BACK_DOUBT) return O3_DRIFT_EV_NONE;
        s->state = O3_DRIFT_CONFIRMED;
        return O3_DRIFT_EV_CONFIRMED;
    }
    bool in_sight = o3_success_lead(s, s->direction).ratio >= QUIET;
    return in_sight && c.n < SMALL_AFTER ? O3_DRIFT_EV_NONE : O3_DRIFT_EV_WENT_AWAY;
}

/* CONFIRMED: the reference stays; the level follows the newest attempts. */
static enum o3_drift_event follow(struct o3_success *s) {
    add_back(s);
    follow_level(s);
    int64_t n = s->next - s->back_start;
    if (s->back >= BACK_SURE && n >= s->params.confirm_samples) {
        int64_t from = s->back_start < o3_success_oldest(s) ? o3_success_oldest(s) : s->back_start;
        double effect = effect_of(s, s->direction, s->next - from, o3_success_failures_since(s, from));
        if (effect <= 0.5 * s->params.min_change) return O3_DRIFT_EV_RECOVERED;
    }
    return watch_side(s, -s->direction);
}

static void add_walks(struct o3_success *s, bool failed) {
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_SUCCESS_BANK; i++) {
            struct o3_success_member *m = &s->side[side][i];
            int cap = (int)(O3_SUCCESS_CAP * m->walk.limit);
            m->sum += failed == (side == 1) ? m->walk.up : -m->walk.down;
            if (m->sum > cap) m->sum = cap;
            if (m->sum > 0) continue;
            m->sum = 0;
            m->start = s->next;
        }
}

static enum o3_drift_event step(struct o3_success *s, bool failed) {
    if (s->state == O3_DRIFT_LEARNING) return learn_first(s);
    add_walks(s, failed);
    if (s->state == O3_DRIFT_SUSPECT) return judge(s);
    if (s->state == O3_DRIFT_CONFIRMED) return follow(s);
    enum o3_drift_event ev = watch_side(s, -1);
    return ev ? ev : watch_side(s, 1);
}

/* ---- the report ---- */

/* Interval of a difference of two shares out of their own ones (Newcombe 1998, method 10). */
static void fill_interval(const struct o3_success *s, struct o3_drift_report *ret) {
    double now = 1 - level(s), ref = 1 - s->mean;
    int64_t weight = s->n < O3_SUCCESS_MEMORY ? s->n : O3_SUCCESS_MEMORY;
    struct o3_interval a = o3_wilson((size_t)(s->n_level - s->n_level_failures), (size_t)s->n_level, Z95);
    struct o3_interval b = o3_wilson((size_t)(ref * (double)weight + 0.5), (size_t)weight, Z95);
    double down = sqrt((now - a.lo) * (now - a.lo) + (b.hi - ref) * (b.hi - ref));
    double up = sqrt((a.hi - now) * (a.hi - now) + (ref - b.lo) * (ref - b.lo));
    ret->change_lo = fmax(-1, ret->change_ratio - down);
    ret->change_hi = fmin(1, ret->change_ratio + up);
}

static void fill_report(const struct o3_success *s, enum o3_drift_event ev, struct o3_drift_report *ret) {
    *ret = (struct o3_drift_report){.event = ev, .index = newest(s), .threshold = 1};
    if (!ev) return;
    double ref = o3_success_reference(s);
    ret->reference = ret->level = 1 - s->mean;
    ret->baseline_n = s->n;
    ret->baseline_sd_ratio = sqrt(ref * (1 - ref));
    ret->statistic = o3_success_lead_any(s).ratio;
    if (ev == O3_DRIFT_EV_BASELINE) return;
    int64_t n = s->next - s->change_index;
    ret->direction = s->direction;
    ret->level = 1 - level(s);
    ret->change_ratio = ret->level - ret->reference;
    fill_interval(s, ret);
    ret->change_wall_ms = s->change_wall_ms;
    ret->change_lo_ms = s->change_lo_ms;
    ret->change_hi_ms = s->change_hi_ms;
    ret->change_index = s->change_index;
    ret->n_since = (int)(n < INT32_MAX ? n : INT32_MAX);
}

/* The report of a return dates it: after the last attempt that spoke against it. */
static void note_return(struct o3_success *s) {
    int64_t from = s->back_start < o3_success_oldest(s) ? o3_success_oldest(s) : s->back_start;
    s->change_index = from;
    s->change_wall_ms = s->change_hi_ms = o3_success_wall_at(s, from);
    s->change_lo_ms = s->change_wall_ms;
    if (from > o3_success_oldest(s) && o3_success_wall_at(s, from - 1) < s->change_wall_ms)
        s->change_lo_ms = o3_success_wall_at(s, from - 1);
    s->n_level = s->next - from;
    s->n_level_failures = o3_success_failures_since(s, from);
}

/* After the report is written. A lasting but small change keeps its evidence: it may grow. */
static void close_change(struct o3_success *s, enum o3_drift_event ev) {
    if (ev == O3_DRIFT_EV_RECOVERED || s->back >= BACK_AWAY) {
        s->floor = s->back_start;
        s->learned = s->next;
        clear_walks(s);
    }
    s->state = O3_DRIFT_STABLE;
    forget_change(s);
}

enum o3_drift_event o3_success_add(struct o3_success *s, bool is_success, int64_t wall_ms,
                                   struct o3_drift_report *ret) {
    struct o3_drift_report unused;
    if (!ret) ret = &unused;
    push(s, !is_success, wall_ms);
    enum o3_drift_event ev = step(s, !is_success);
    if (ev == O3_DRIFT_EV_RECOVERED) note_return(s);
    fill_report(s, ev, ret);
    if (ev == O3_DRIFT_EV_RECOVERED || ev == O3_DRIFT_EV_WENT_AWAY) close_change(s, ev);
    if (s->state != O3_DRIFT_STABLE) return ev;
    learn_delayed(s);
    o3_success_refresh_walks(s);
    return ev;
}

void o3_success_acknowledge(struct o3_success *s) {
    if (s->state == O3_DRIFT_LEARNING) return;
    int64_t from = s->direction ? s->change_index : s->next - s->params.n0;
    if (from < o3_success_oldest(s)) from = o3_success_oldest(s);
    if (s->next - from < s->params.n0) {
        start_learning(s, from);
        return;
    }
    establish(s, from);
    s->floor = from;
}
