/* SPDX-License-Identifier: Apache-2.0 */
/* After a process that was killed, or with states that do not fit: the samples that were stored since are judged
 * again. What was told before is found again by model, signal and time of the change. */
#include <stdlib.h>
#include <string.h>
#include "judge/parts.h"
#include "o3/text.h"

#define SLACK_MS (3 * O3_JUDGE_INTERVAL_MS)

/* ---- from where on ---- */

static void begin(struct o3_judge *j) {
    if (j->is_recalling) return;
    j->is_recalling = true;
    j->next_told = j->next_incident;
    for (int n = 0; n < j->n_incidents; n++)
        j->incidents[n]->was_open = j->incidents[n]->i.is_open;
}

/* Its settings get new numbers. */
static void detach_members(const struct o3_judge *j, const struct model *m) {
    for (int n = 0; n < j->n_incidents; n++)
        for (int i = 0; i < j->incidents[n]->i.n_members; i++) {
            struct o3_incident_member *x = &j->incidents[n]->i.member[i];
            if (!strcmp(x->verdict.model, m->name)) x->setting = 0;
        }
}

static void start_over(const struct o3_judge *j, struct model *m) {
    o3_judge_free_settings(m);
    o3_judge_forget_settings(m);
    m->n_trail = 0;
    m->has_lost_state = m->is_relived = true;
    detach_members(j, m);
}

bool o3_judge_recall(struct o3_judge *j, const char *name, struct o3_judge_recall *ret) {
    *ret = (struct o3_judge_recall){.has_state = false};
    begin(j);
    if (!o3_judge_find(j, name) && j->n_models == j->p.max_models) return false;
    struct model *m = o3_judge_model(j, name);
    if (!m) return false;
    o3_str_copy(ret->lost, sizeof ret->lost, m->lost);
    m->lost[0] = '\0';
    if (ret->lost[0] || !m->has_seen) start_over(j, m);
    ret->has_state = m->has_seen;
    ret->wall_ms = m->seen_wall_ms;
    ret->mono_ns = m->seen_mono_ns;
    return true;
}

/* ---- what was told ---- */

static void add_told_members(struct o3_incident *i, const struct o3_judge_told *t) {
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        if (!(t->signals >> sig & 1) || i->n_members == O3_INCIDENT_MEMBERS_MAX) continue;
        struct o3_incident_member *x = &i->member[i->n_members++];
        *x = (struct o3_incident_member){.verdict = {.signal = (enum o3_signal)sig}, .seen_ms = t->opened_wall_ms};
        o3_str_copy(x->verdict.model, sizeof x->verdict.model, t->model);
        x->verdict.report = (struct o3_drift_report){.event = O3_DRIFT_EV_CONFIRMED,
                                                     .change_wall_ms = t->since_ms,
                                                     .change_lo_ms = t->since_lo_ms,
                                                     .change_hi_ms = t->since_hi_ms};
    }
}

void o3_judge_told_before(struct o3_judge *j, const struct o3_judge_told *t) {
    begin(j);
    if (t->id < j->next_incident) return;
    j->next_incident = j->next_told = t->id + 1;
    struct kept_incident *k = t->is_open && j->n_incidents < O3_INCIDENTS_MAX ? calloc(1, sizeof *k) : NULL;
    if (!k) return;
    k->was_open = k->is_by_words = true;
    k->i = (struct o3_incident){.id = t->id,
                                .is_open = true,
                                .opened_wall_ms = t->opened_wall_ms,
                                .since_ms = t->since_ms,
                                .since_lo_ms = t->since_lo_ms,
                                .since_hi_ms = t->since_hi_ms};
    o3_str_copy(k->i.text, sizeof k->i.text, t->text);
    add_told_members(&k->i, t);
    if (k->i.n_members)
        j->incidents[j->n_incidents++] = k;
    else
        free(k);
}

/* The same series, as far as it is known. */
static bool is_same_series(const struct kept_incident *k, const struct o3_incident_member *x,
                           const struct o3_verdict *v) {
    bool is_stratum = k->is_by_words || x->verdict.stratum == v->stratum;
    return is_stratum && x->verdict.signal == v->signal && !strcmp(x->verdict.model, v->model);
}

/* Of words alone nothing is known but the time; that stays as it was told. */
static void take_place(const struct kept_incident *k, struct o3_incident_member *x, const struct o3_verdict *v,
                       int64_t setting) {
    x->setting = setting;
    if (!k->is_by_words) return;
    struct o3_drift_report told = x->verdict.report;
    x->verdict = *v;
    x->verdict.report.change_wall_ms = told.change_wall_ms;
    x->verdict.report.change_lo_ms = told.change_lo_ms;
    x->verdict.report.change_hi_ms = told.change_hi_ms;
}

bool o3_judge_is_told(struct o3_judge *j, const struct o3_verdict *v, int64_t setting, int64_t slack_ms) {
    for (int n = j->n_incidents - 1; n >= 0; n--) {
        struct kept_incident *k = j->incidents[n];
        for (int i = 0; !k->is_relived && i < k->i.n_members; i++) {
            struct o3_incident_member *x = &k->i.member[i];
            bool is_free = x->setting == 0 || x->setting == setting;
            if (!is_free || !is_same_series(k, x, v)) continue;
            if (!o3_judge_is_near(&x->verdict.report, &v->report, slack_ms)) continue;
            take_place(k, x, v, setting);
            return true;
        }
    }
    return false;
}

/* ---- the samples ---- */

void o3_judge_relive(struct o3_judge *j, const struct o3_sample *s) {
    const struct model *m = o3_judge_find(j, s->model);
    j->is_muted = m && m->is_relived;
    o3_judge_add(j, s);
    j->is_muted = false;
}

/* ---- the end ---- */

static bool is_settled(const struct o3_incident *i) {
    bool is_it = !i->is_open;
    for (int n = 0; n < i->n_members; n++)
        is_it &= i->member[n].end == O3_MEMBER_RECOVERED || i->member[n].end == O3_MEMBER_ACKNOWLEDGED;
    return is_it;
}

static void remove_member(struct o3_incident *i, int at) {
    i->n_members--;
    memmove(i->member + at, i->member + at + 1, (size_t)(i->n_members - at) * sizeof *i->member);
}

/* The same change of the same series, which is dated otherwise now: it stays with the one that was told. */
static bool find_again(struct o3_judge *j, const struct kept_incident *old, struct o3_incident_member *x) {
    for (int n = 0; n < j->n_incidents; n++) {
        struct kept_incident *k = j->incidents[n];
        for (int i = 0; k->is_relived && i < k->i.n_members; i++) {
            struct o3_incident_member *y = &k->i.member[i];
            if (y->is_over || !is_same_series(old, x, &y->verdict)) continue;
            take_place(old, x, &y->verdict, y->setting);
            remove_member(&k->i, i);
            return true;
        }
    }
    return false;
}

void o3_judge_attach(const struct model *m, struct o3_incident_member *x) {
    const struct setting *g = o3_judge_setting(m, x->verdict.signal);
    x->setting = g ? g->id : 0;
}

/* What is not found again is not over: the samples do not reach back so far. It is for a person to say. */
static void settle_told(struct o3_judge *j, struct kept_incident *k) {
    for (int i = 0; k->i.is_open && i < k->i.n_members; i++) {
        struct o3_incident_member *x = &k->i.member[i];
        const struct model *m = o3_judge_find(j, x->verdict.model);
        if (x->is_over || x->setting || !m || !m->is_relived || find_again(j, k, x)) continue;
        x->is_unproven = true;
        o3_judge_attach(m, x);
        if (x->verdict.budget_ms > 0) o3_incident_text(&k->i, k->i.text, sizeof k->i.text);
    }
}

/* Of changes that nobody was told of, those that are over are no news. */
static void drop_settled(struct o3_judge *j) {
    for (int n = j->n_incidents - 1; n >= 0; n--) {
        const struct kept_incident *k = j->incidents[n];
        if (k->is_relived && (!k->i.n_members || is_settled(&k->i))) o3_judge_drop_incident(j, n);
    }
}

static void number(struct o3_judge *j) {
    int64_t next = j->next_told;
    for (int n = 0; n < j->n_incidents; n++)
        if (!j->incidents[n]->is_relived && j->incidents[n]->i.id >= next) next = j->incidents[n]->i.id + 1;
    for (int n = 0; n < j->n_incidents; n++)
        if (j->incidents[n]->is_relived) j->incidents[n]->i.id = next++;
    j->next_incident = next;
}

static void tell_members(const struct o3_judge *j, const struct o3_incident *i) {
    for (int n = 0; j->ops.verdict && n < i->n_members; n++)
        if (!i->member[n].is_over) j->ops.verdict(j->ops.ctx, &i->member[n].verdict);
}

static void tell(const struct o3_judge *j, struct kept_incident *k) {
    bool is_opened = k->is_relived && k->i.is_open;
    if (is_opened) tell_members(j, &k->i);
    if (!j->ops.incident || k->was_open == k->i.is_open) return;
    j->ops.incident(j->ops.ctx, &k->i,
                    is_opened      ? O3_INCIDENT_OPENED
                    : k->i.is_open ? O3_INCIDENT_CHANGED
                                   : O3_INCIDENT_CLOSED);
}

void o3_judge_recalled(struct o3_judge *j, int64_t now_wall_ms) {
    bool is_any_relived = false;
    if (!j->is_recalling) return;
    for (int i = 0; i < j->n_models; i++)
        is_any_relived |= j->models[i]->is_relived;
    for (int n = 0; n < j->n_incidents; n++)
        if (!j->incidents[n]->is_relived) settle_told(j, j->incidents[n]);
    drop_settled(j);
    number(j);
    for (int n = 0; n < j->n_incidents; n++) {
        struct kept_incident *k = j->incidents[n];
        k->is_seen_unsaved |= is_any_relived;
        if (k->is_relived && k->i.is_open) k->i.opened_wall_ms = now_wall_ms;
        tell(j, k);
        k->is_relived = k->was_open = false;
    }
    j->is_recalling = false;
    for (int i = 0; i < j->n_models; i++)
        j->models[i]->is_relived = false;
    o3_judge_save(j);
}

bool o3_judge_has_unproven(const struct o3_judge *j, const struct model *m, enum o3_signal sig) {
    bool has = false;
    for (int n = 0; n < j->n_incidents; n++)
        for (int i = 0; i < j->incidents[n]->i.n_members; i++) {
            const struct o3_incident_member *x = &j->incidents[n]->i.member[i];
            has |= x->is_unproven && !x->is_over && x->verdict.signal == sig && !strcmp(x->verdict.model, m->name);
        }
    return has;
}
