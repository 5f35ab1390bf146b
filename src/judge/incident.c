/* SPDX-License-Identifier: Apache-2.0 */
/* Confirmed changes that began together are one incident. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "judge/parts.h"
#include "o3/text.h"

#define TIME_MAX_MS (INT64_C(1) << 60)

/* The interval of the change time; the point alone where the detector gives none. */
static void when(const struct o3_drift_report *r, int64_t *lo, int64_t *hi) {
    bool has = r->change_lo_ms || r->change_hi_ms;
    *lo = has && r->change_lo_ms <= r->change_wall_ms ? r->change_lo_ms : r->change_wall_ms;
    *hi = has && r->change_hi_ms >= r->change_wall_ms ? r->change_hi_ms : r->change_wall_ms;
}

bool o3_judge_is_near(const struct o3_drift_report *a, const struct o3_drift_report *b, int64_t slack_ms) {
    int64_t lo, hi, other_lo, other_hi;
    when(a, &lo, &hi);
    when(b, &other_lo, &other_hi);
    bool is_beyond = lo < -TIME_MAX_MS || hi > TIME_MAX_MS || other_lo < -TIME_MAX_MS || other_hi > TIME_MAX_MS;
    return !is_beyond && lo <= other_hi + slack_ms && hi >= other_lo - slack_ms;
}

static bool is_near(const struct o3_incident *i, const struct o3_drift_report *r, int64_t slack_ms) {
    int64_t lo, hi;
    when(r, &lo, &hi);
    if (lo < -TIME_MAX_MS || hi > TIME_MAX_MS) return false;
    if (i->grown_ms && lo <= i->grown_ms + slack_ms && hi >= i->grown_ms - slack_ms) return true;
    return lo <= i->since_hi_ms + slack_ms && hi >= i->since_lo_ms - slack_ms;
}

static void touch(struct kept_incident *k, enum o3_incident_change change) {
    if (!k->is_touched) k->change = change;
    if (k->is_touched && change == O3_INCIDENT_CLOSED && k->change != O3_INCIDENT_OPENED) k->change = change;
    k->is_touched = true;
}

/* It changed when the incident grew, not when it began. */
static bool is_of_growth(const struct o3_incident *i, const struct o3_incident_member *x) {
    double at = (double)x->verdict.report.change_wall_ms;
    return i->grown_ms && fabs(at - (double)i->grown_ms) < fabs(at - (double)i->since_ms);
}

/* Change time of the member that tells it sharpest, of those that stand if any does. */
static void set_since(struct o3_incident *i) {
    int64_t best = INT64_MAX;
    bool any_stands = false, any_began = false, of_growth[O3_INCIDENT_MEMBERS_MAX];
    for (int n = 0; n < i->n_members; n++) {
        of_growth[n] = is_of_growth(i, &i->member[n]);
        any_stands |= !i->member[n].is_over;
        any_began |= !i->member[n].is_over && !of_growth[n];
    }
    for (int n = 0; n < i->n_members; n++) {
        const struct o3_incident_member *x = &i->member[n];
        if ((any_stands && x->is_over) || (any_began && of_growth[n])) continue;
        int64_t lo, hi;
        when(&x->verdict.report, &lo, &hi);
        if (hi - lo >= best) continue;
        best = hi - lo;
        i->since_ms = x->verdict.report.change_wall_ms;
        i->since_lo_ms = lo;
        i->since_hi_ms = hi;
    }
}

static bool is_of(const struct o3_incident_member *x, const struct o3_verdict *v, int64_t setting) {
    return x->setting == setting && x->verdict.signal == v->signal && x->verdict.stratum == v->stratum &&
           !strcmp(x->verdict.model, v->model);
}

/* The series' place in the newest open incident; NULL: it is in none. */
static struct o3_incident_member *find_member(struct o3_judge *j, const struct o3_verdict *v, int64_t setting,
                                              struct kept_incident **ret) {
    for (int n = j->n_incidents - 1; n >= 0; n--) {
        struct o3_incident *i = &j->incidents[n]->i;
        for (int k = 0; i->is_open && k < i->n_members; k++)
            if (is_of(&i->member[k], v, setting)) {
                *ret = j->incidents[n];
                return &i->member[k];
            }
    }
    return NULL;
}

void o3_judge_drop_incident(struct o3_judge *j, int n) {
    free(j->incidents[n]);
    j->n_incidents--;
    memmove(j->incidents + n, j->incidents + n + 1, (size_t)(j->n_incidents - n) * sizeof *j->incidents);
}

static struct kept_incident *open_incident(struct o3_judge *j, const struct o3_verdict *v, int64_t wall_ms) {
    if (j->is_muted && j->n_incidents == O3_INCIDENTS_MAX) return NULL; /* what was told is not given up for it */
    struct kept_incident *k = calloc(1, sizeof *k);
    if (!k) return NULL;
    if (j->n_incidents == O3_INCIDENTS_MAX) o3_judge_drop_incident(j, 0);
    k->i = (struct o3_incident){.id = j->next_incident++, .is_open = true, .opened_wall_ms = wall_ms};
    k->i.since_ms = v->report.change_wall_ms;
    when(&v->report, &k->i.since_lo_ms, &k->i.since_hi_ms);
    j->incidents[j->n_incidents++] = k;
    k->is_relived = j->is_muted;
    touch(k, O3_INCIDENT_OPENED);
    return k;
}

static struct kept_incident *near_incident(struct o3_judge *j, const struct o3_verdict *v, int64_t slack_ms) {
    for (int n = j->n_incidents - 1; n >= 0; n--)
        if (j->incidents[n]->i.is_open && is_near(&j->incidents[n]->i, &v->report, slack_ms)) return j->incidents[n];
    return NULL;
}

static bool is_worse(const struct o3_verdict *v) {
    return v->report.direction * o3_signal_good_direction(v->signal) < 0;
}

/* What falls for hours is noticed in one signal sooner than in the other, and dated differently in each. */
static struct kept_incident *creeping_incident(const struct o3_judge *j, const struct o3_verdict *v) {
    for (int n = j->n_incidents - 1; n >= 0; n--) {
        struct kept_incident *k = j->incidents[n];
        bool is_alike = k->i.is_open && o3_judge_is_main(&k->i, v->model);
        for (int m = 0; m < k->i.n_members; m++)
            is_alike = is_alike && (k->i.member[m].is_over || is_worse(&k->i.member[m].verdict) == is_worse(v));
        if (is_alike && o3_judge_creeps(j, k)) return k;
    }
    return NULL;
}

/* It got clearly larger at that time: what it was before is the past that explains it. */
static void note_growth(struct kept_incident *k, int64_t wall_ms) {
    k->i.grown_ms = wall_ms;
    k->n_before = 0;
    k->has_evidence = k->is_growing = true;
}

/* A change that stands has become larger just when this one began: in another signal the second step may be the first
 * that can be told. */
static struct kept_incident *grown_incident(const struct o3_judge *j, const struct o3_verdict *v, int64_t slack_ms) {
    const struct model *model = o3_judge_find(j, v->model);
    for (int n = j->n_incidents - 1; model && n >= 0; n--) {
        struct kept_incident *k = j->incidents[n];
        if (!k->i.is_open || !o3_judge_is_main(&k->i, v->model)) continue;
        for (int m = 0; m < k->i.n_members; m++) {
            const struct o3_incident_member *x = &k->i.member[m];
            struct o3_drift_report grown = {.change_wall_ms = 0};
            if (x->is_over || strcmp(x->verdict.model, v->model) != 0 || is_worse(&x->verdict) != is_worse(v)) continue;
            if (!o3_judge_growth(j, model, x, &grown.change_wall_ms)) continue;
            if (!o3_judge_is_near(&grown, &v->report, slack_ms)) continue;
            note_growth(k, grown.change_wall_ms);
            return k;
        }
    }
    return NULL;
}

/* The level was back, and soon afterwards it is not: by chance, or for a moment. */
static struct o3_incident_member *find_recovered(const struct o3_judge *j, const struct o3_verdict *v, int64_t setting,
                                                 int64_t interval_ms, struct kept_incident **ret) {
    for (int n = j->n_incidents - 1; n >= 0; n--) {
        struct o3_incident *i = &j->incidents[n]->i;
        double soon_ms = (double)interval_ms * (i->is_open ? O3_REJOIN_OPEN_INTERVALS : O3_REJOIN_INTERVALS);
        for (int k = 0; k < i->n_members; k++) {
            struct o3_incident_member *x = &i->member[k];
            bool is_it = is_of(x, v, setting) && x->end == O3_MEMBER_RECOVERED &&
                         x->verdict.report.direction == v->report.direction;
            if (!is_it || fabs((double)v->report.change_wall_ms - (double)x->seen_ms) > soon_ms) continue;
            *ret = j->incidents[n];
            return x;
        }
    }
    return NULL;
}

/* It is the same change, which began when it did. */
static void rejoin(struct kept_incident *k, struct o3_incident_member *x, const struct o3_verdict *v, int64_t wall_ms) {
    struct o3_drift_report r = v->report;
    r.change_wall_ms = x->verdict.report.change_wall_ms;
    r.change_lo_ms = x->verdict.report.change_lo_ms;
    r.change_hi_ms = x->verdict.report.change_hi_ms;
    x->verdict = *v;
    x->verdict.report = r;
    x->is_over = false;
    x->end = O3_MEMBER_STANDS;
    x->seen_ms = wall_ms;
    k->i.is_open = true;
    k->i.closed_wall_ms = 0;
    touch(k, O3_INCIDENT_CHANGED);
}

static void join(struct kept_incident *k, const struct o3_verdict *v, int64_t setting, int64_t wall_ms) {
    struct o3_incident *i = &k->i;
    touch(k, O3_INCIDENT_CHANGED);
    k->has_evidence = true;
    if (i->n_members == O3_INCIDENT_MEMBERS_MAX)
        i->n_left_out++;
    else
        i->member[i->n_members++] = (struct o3_incident_member){.verdict = *v, .setting = setting, .seen_ms = wall_ms};
}

static void confirmed(struct o3_judge *j, const struct o3_verdict *v, int64_t setting, const struct o3_sample *s) {
    struct kept_incident *k = NULL;
    int64_t interval_ms = s->around.interval_ms > 0 ? s->around.interval_ms : O3_JUDGE_INTERVAL_MS;
    int64_t slack_ms = interval_ms < TIME_MAX_MS / 8 ? O3_NEAR_INTERVALS * interval_ms : TIME_MAX_MS;
    if (j->is_muted && o3_judge_is_told(j, v, setting, slack_ms)) return;
    struct o3_incident_member *x = find_member(j, v, setting, &k);
    if (x && (!x->is_over || is_near(&k->i, &v->report, slack_ms))) {
        *x = (struct o3_incident_member){.verdict = *v, .setting = setting, .seen_ms = s->wall_ms};
        touch(k, O3_INCIDENT_CHANGED);
        k->has_evidence = true;
        return;
    }
    if ((x = find_recovered(j, v, setting, interval_ms, &k))) {
        rejoin(k, x, v, s->wall_ms);
        return;
    }
    k = near_incident(j, v, slack_ms);
    if (!k) k = grown_incident(j, v, slack_ms);
    if (!k) k = creeping_incident(j, v);
    if (!k) k = open_incident(j, v, s->wall_ms);
    if (k) join(k, v, setting, s->wall_ms);
}

static void end_member(struct kept_incident *k, struct o3_incident_member *x, enum o3_member_end why) {
    x->is_over = true;
    x->end = why;
    k->is_unsaved = true;
    bool any_stands = false;
    for (int n = 0; n < k->i.n_members; n++)
        any_stands |= !k->i.member[n].is_over;
    if (!any_stands) touch(k, O3_INCIDENT_CLOSED);
}

static void recovered(struct o3_judge *j, const struct o3_verdict *v, int64_t setting) {
    struct kept_incident *k = NULL;
    struct o3_incident_member *x = find_member(j, v, setting, &k);
    if (x && !x->is_over) end_member(k, x, O3_MEMBER_RECOVERED);
}

void o3_judge_note_verdicts(struct o3_judge *j, const struct news *news, const struct o3_sample *s) {
    for (size_t i = 0; i < news->n; i++) {
        enum o3_drift_event ev = news->verdict[i].report.event;
        if (ev == O3_DRIFT_EV_CONFIRMED) confirmed(j, &news->verdict[i], news->setting[i], s);
        if (ev == O3_DRIFT_EV_RECOVERED) recovered(j, &news->verdict[i], news->setting[i]);
    }
}

void o3_judge_end_members(struct o3_judge *j, const struct model *m, int64_t setting, int sig, enum o3_member_end why) {
    for (int n = 0; n < j->n_incidents; n++) {
        struct o3_incident *i = &j->incidents[n]->i;
        for (int k = 0; i->is_open && k < i->n_members; k++) {
            struct o3_incident_member *x = &i->member[k];
            bool is_meant = x->setting == setting && (sig < 0 || (int)x->verdict.signal == sig) &&
                            !strcmp(x->verdict.model, m->name);
            if (is_meant && !x->is_over) end_member(j->incidents[n], x, why);
        }
    }
}

static bool is_unseen(int64_t seen_ms, int64_t now_ms) {
    int64_t ms;
    return !__builtin_sub_overflow(now_ms, seen_ms, &ms) && ms > O3_INCIDENT_UNSEEN_MS;
}

/* Its series has a reference that is newer than the change: a person accepted the level, and the process died before
 * the incident was saved. */
static bool was_accepted(const struct model *m, const struct o3_incident_member *x) {
    const struct setting *g = o3_judge_setting(m, x->verdict.signal);
    const struct series *series = g ? &g->series[x->verdict.signal][x->verdict.stratum] : NULL;
    struct o3_drift_view v;
    if (!g || g->id != x->setting || x->is_unproven || !o3_series_is_in(series, O3_DRIFT_STABLE)) return false;
    o3_series_glance(series, &v);
    return v.established_wall_ms > x->verdict.report.change_wall_ms;
}

static void note_member(struct kept_incident *k, struct o3_incident_member *x, const struct model *m, int64_t wall_ms) {
    bool is_its = !strcmp(x->verdict.model, m->name);
    if (!is_its && is_unseen(x->seen_ms, wall_ms)) end_member(k, x, O3_MEMBER_UNSEEN);
    if (is_its && was_accepted(m, x)) end_member(k, x, O3_MEMBER_ACKNOWLEDGED);
    if (!is_its && x->seen_ms <= wall_ms) return;
    x->seen_ms = wall_ms; /* of another one: the clock was set back */
    k->is_seen_unsaved = true;
}

void o3_judge_note_sample(struct o3_judge *j, const struct model *m, int64_t wall_ms) {
    for (int n = 0; n < j->n_incidents; n++) {
        struct o3_incident *i = &j->incidents[n]->i;
        for (int k = 0; i->is_open && k < i->n_members; k++) {
            bool is_past = j->is_recalling && wall_ms < i->member[k].seen_ms; /* it was noted then */
            if (!i->member[k].is_over && !is_past) note_member(j->incidents[n], &i->member[k], m, wall_ms);
        }
    }
}

static bool is_present(const struct model *m, int64_t setting) {
    const struct setting *any = o3_judge_setting(m, O3_SIGNAL_SUCCESS);
    return (m->epoch && m->epoch->id == setting) || (m->digest && m->digest->id == setting) ||
           (any && any->id == setting);
}

static bool stands_again(const struct model *m, const struct o3_incident_member *x) {
    const struct setting *g = o3_judge_setting(m, x->verdict.signal);
    bool may_be_back = x->end == O3_MEMBER_LEFT || x->end == O3_MEMBER_UNSEEN;
    if (!may_be_back || !g || g->id != x->setting) return false;
    return o3_series_is_in(&g->series[x->verdict.signal][x->verdict.stratum], O3_DRIFT_CONFIRMED);
}

void o3_judge_follow_settings(struct o3_judge *j, const struct model *m, int64_t wall_ms) {
    bool is_long = m->n_here >= j->p.confirm_samples;
    for (int n = 0; n < j->n_incidents; n++) {
        struct kept_incident *k = j->incidents[n];
        for (int i = 0; i < k->i.n_members; i++) {
            struct o3_incident_member *x = &k->i.member[i];
            if (strcmp(x->verdict.model, m->name) != 0) continue;
            if (x->is_unproven && !x->setting) o3_judge_attach(m, x);
            if (!x->setting) continue;
            if (!x->is_over && is_long && !is_present(m, x->setting)) end_member(k, x, O3_MEMBER_LEFT);
            if (!stands_again(m, x)) continue;
            x->is_over = false;
            x->end = O3_MEMBER_STANDS;
            x->seen_ms = wall_ms;
            k->i.is_open = true;
            k->i.closed_wall_ms = 0;
            touch(k, O3_INCIDENT_CHANGED);
        }
    }
}

/* A change that grows is the same change: what is told of it follows. */
static bool follow_growth(const struct o3_judge *j, const struct model *m, struct kept_incident *k) {
    bool any = false;
    for (int n = 0; n < k->i.n_members; n++) {
        struct o3_incident_member *x = &k->i.member[n];
        struct o3_verdict *v = &x->verdict;
        const struct setting *g = o3_judge_setting(m, v->signal);
        struct o3_drift_report now;
        int64_t at_ms;
        bool is_its = !x->is_over && !strcmp(v->model, m->name) && g && g->id == x->setting;
        if (!is_its || !o3_series_change(&g->series[v->signal][v->stratum], v->signal, &now)) continue;
        if (now.direction != v->report.direction || !o3_judge_has_grown(j, v->report.change_ratio, now.change_ratio))
            continue;
        if (o3_judge_growth(j, m, x, &at_ms)) note_growth(k, at_ms);
        v->report = now;
        any = true;
    }
    return any;
}

void o3_judge_rethink_incidents(struct o3_judge *j, const struct model *m) {
    if (m->n_here % O3_JUDGE_RETHINK || j->is_muted) return;
    for (int n = 0; n < j->n_incidents; n++) {
        struct kept_incident *k = j->incidents[n];
        if (k->i.is_open && follow_growth(j, m, k)) touch(k, O3_INCIDENT_CHANGED);
        bool is_due = k->i.is_open && !k->is_touched && o3_judge_is_main(&k->i, m->name);
        if (!is_due || !o3_judge_rethink(j, k)) continue;
        touch(k, O3_INCIDENT_CHANGED);
        k->has_evidence = true;
    }
}

/* Of one that is made of what events told some figures are not known: their words stay. */
static bool is_in_figures(const struct o3_incident *i) {
    bool is_it = true;
    for (int n = 0; n < i->n_members; n++)
        is_it &= i->member[n].verdict.budget_ms > 0;
    return is_it;
}

/* Brings up to date what follows from the members. */
static void settle(struct o3_judge *j, struct kept_incident *k, int64_t wall_ms) {
    struct o3_incident *i = &k->i;
    bool is_open = false;
    for (int n = 0; n < i->n_members; n++)
        is_open |= !i->member[n].is_over;
    i->is_open = is_open;
    i->closed_wall_ms = is_open ? 0 : wall_ms;
    set_since(i);
    if (is_open && k->has_evidence) o3_judge_find_causes(j, k);
    k->has_evidence = k->is_growing = false;
    if (is_in_figures(i)) o3_incident_text(i, i->text, sizeof i->text);
}

/* What is saved of them is to be of the same sample as the incident. */
static void mark_members(const struct o3_judge *j, const struct o3_incident *i) {
    for (int n = 0; n < i->n_members; n++) {
        struct model *m = o3_judge_find(j, i->member[n].verdict.model);
        if (m) m->has_news = true;
    }
}

void o3_judge_tell_incidents(struct o3_judge *j, int64_t wall_ms) {
    for (int n = 0; n < j->n_incidents; n++) {
        struct kept_incident *k = j->incidents[n];
        if (!k->is_touched && !k->is_unsaved) continue;
        bool is_news = k->is_touched;
        k->is_touched = k->is_unsaved = false;
        settle(j, k, wall_ms);
        mark_members(j, &k->i);
        o3_judge_save_incident(j, k);
        k->is_seen_unsaved |= j->is_recalling;
        if (j->is_muted) continue;
        k->was_open = k->i.is_open;
        if (is_news && j->ops.incident) j->ops.incident(j->ops.ctx, &k->i, k->change);
    }
}
