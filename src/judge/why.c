/* SPDX-License-Identifier: Apache-2.0 */
/* The newest samples of a model, kept for what they tell of its surroundings, and what they say about an incident. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "judge/evidence.h"
#include "judge/parts.h"
#include "o3/text.h"

/* What happened since the sample before goes to the next one that stays. */
static void merge_into(struct o3_sample *next, const struct o3_sample *gone) {
    int64_t *const to[] = {&next->around.n_loads, &next->around.n_user_requests, &next->around.swapped_bytes,
                           &next->around.n_throttled, &next->around.n_quota};
    const int64_t from[] = {gone->around.n_loads, gone->around.n_user_requests, gone->around.swapped_bytes,
                            gone->around.n_throttled, gone->around.n_quota};
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        if (from[i] > 0 && (*to[i] < 0 || __builtin_add_overflow(*to[i], from[i], to[i]))) *to[i] = from[i];
    next->flags |= gone->flags & O3_SAMPLE_THROTTLED;
}

/* Places in the trail that stay: samples are large, and are moved once. */
struct kept {
    const struct o3_sample *trail;
    size_t at[O3_JUDGE_TRAIL], n;
    double loss[O3_JUDGE_TRAIL]; /* of each that may go */
};

static double ms_at(const struct kept *k, size_t i) {
    return (double)k->trail[k->at[i]].wall_ms;
}

/* How little is lost without a sample: the time that its neighbours leave, relative to how long ago it was. */
static double loss_of(const struct kept *k, size_t i, int64_t now_ms) {
    return fmax(ms_at(k, i + 1) - ms_at(k, i - 1), 1) / fmax((double)now_ms - ms_at(k, i), 1);
}

static size_t least_of(const struct kept *k, int64_t now_ms) {
    double oldest_ms = (double)now_ms - ms_at(k, 0), loss = INFINITY;
    size_t least = 0;
    if (oldest_ms < 0 || oldest_ms > (double)O3_JUDGE_TRAIL_MS) return 0;
    for (size_t i = 1; i + O3_JUDGE_TRAIL_WHOLE < k->n; i++) {
        if (k->loss[i] >= loss) continue;
        loss = k->loss[i];
        least = i;
    }
    return least;
}

static void weigh(struct kept *k, size_t i, int64_t now_ms) {
    if (i > 0 && i + 1 < k->n) k->loss[i] = loss_of(k, i, now_ms);
}

/* Its neighbours are further apart from then on. */
static void leave_out(struct kept *k, size_t i, int64_t now_ms) {
    memmove(k->at + i, k->at + i + 1, (k->n - i - 1) * sizeof *k->at);
    memmove(k->loss + i, k->loss + i + 1, (k->n - i - 1) * sizeof *k->loss);
    k->n--;
    if (i > 0) weigh(k, i - 1, now_ms);
    weigh(k, i, now_ms);
}

/* The older, the fewer: a small change is found hours after it began, and needs a time before it. */
static void thin(struct model *m, int64_t now_ms) {
    struct kept k = {.trail = m->trail, .n = m->n_trail};
    for (size_t i = 0; i < k.n; i++)
        k.at[i] = i;
    for (size_t i = 0; i < k.n; i++)
        weigh(&k, i, now_ms);
    while (k.n > O3_JUDGE_TRAIL_KEPT) {
        size_t i = least_of(&k, now_ms);
        if (i > 0) merge_into(&m->trail[k.at[i + 1]], &m->trail[k.at[i]]);
        leave_out(&k, i, now_ms);
    }
    for (size_t i = 0; i < k.n; i++)
        if (k.at[i] != i) m->trail[i] = m->trail[k.at[i]];
    m->n_trail = k.n;
}

void o3_trail_add(struct model *m, const struct o3_sample *s) {
    if (!m->trail && !(m->trail = calloc(O3_JUDGE_TRAIL, sizeof *m->trail))) return;
    if (m->n_trail == O3_JUDGE_TRAIL) thin(m, s->wall_ms);
    m->trail[m->n_trail++] = *s;
    m->n_trail_unsaved++;
}

/* The model with the most members; the first of equals. */
static const char *main_model(const struct o3_incident *i) {
    int best = 0, best_n = 0;
    for (int a = 0; a < i->n_members; a++) {
        int n = 0;
        for (int b = 0; b < i->n_members; b++)
            n += !strcmp(i->member[a].verdict.model, i->member[b].verdict.model);
        if (n <= best_n) continue;
        best = a;
        best_n = n;
    }
    return i->member[best].verdict.model;
}

static size_t members_of(const struct o3_incident *i, const char *model, struct o3_cause_member *out) {
    size_t n = 0;
    for (int k = 0; k < i->n_members; k++) {
        const struct o3_verdict *v = &i->member[k].verdict;
        if (strcmp(v->model, model) != 0 || i->member[k].is_over) continue;
        out[n++] = (struct o3_cause_member){.signal = v->signal,
                                            .stratum = v->stratum,
                                            .direction = v->report.direction,
                                            .change_ratio = v->report.change_ratio,
                                            .is_slow = v->report.is_slow};
    }
    return n;
}

bool o3_judge_is_main(const struct o3_incident *i, const char *model) {
    return i->n_members && !strcmp(main_model(i), model);
}

/* What is told of server, model and device since a change is as it was when it began: what came later is no cause. */
static void take_then(const struct model *m, int64_t hi_ms, size_t to, struct o3_circumstances *since) {
    size_t at = to, n = m->n_trail;
    while (at + 1 < n && (m->trail[at].wall_ms <= hi_ms || at < to + O3_NEAR_INTERVALS))
        at++;
    struct o3_circumstances then;
    o3_circumstances_of(m->trail + to, at + 1 - to, &then);
    memcpy(since->version, then.version, sizeof since->version);
    memcpy(since->digest, then.digest, sizeof since->digest);
    memcpy(since->gpu, then.gpu, sizeof since->gpu);
}

static size_t first_since(const struct model *m, size_t from, int64_t wall_ms) {
    while (m && from < m->n_trail && m->trail[from].wall_ms < wall_ms)
        from++;
    return from;
}

/* What lies in the interval of the change time belongs to neither side, but the change time itself is since. Of one
 * that grew, the two sides are those of the growth. m: NULL is fine. */
static void take_before(const struct model *m, const struct o3_incident *i, struct o3_circumstances *ret) {
    size_t from = 0, end = first_since(m, 0, i->grown_ms ? i->grown_ms : i->since_lo_ms);
    if (i->grown_ms) from = first_since(m, 0, i->since_hi_ms);
    if (from >= end) from = 0;
    o3_circumstances_of(m && m->n_trail ? m->trail + from : NULL, end - from, ret);
}

static void take_since(const struct model *m, const struct o3_incident *i, struct o3_circumstances *ret) {
    size_t n = m ? m->n_trail : 0;
    size_t end = first_since(m, 0, i->grown_ms ? i->grown_ms : i->since_lo_ms);
    size_t to = first_since(m, end, i->grown_ms ? i->grown_ms : i->since_ms);
    o3_circumstances_of(n ? m->trail + to : NULL, n - to, ret);
    if (to < n) take_then(m, i->grown_ms ? i->grown_ms : i->since_hi_ms, to, ret);
    ret->day_log_change = o3_day_log_change(n ? m->trail : NULL, n);
}

static const struct o3_circumstances *kept_before(const struct kept_incident *k, const char *model) {
    for (int n = 0; n < k->n_before; n++)
        if (!strcmp(k->before[n].model, model)) return &k->before[n].around;
    return NULL;
}

/* As it is kept, where more samples tell of that than of what the trail still has. */
static void find_before(const struct o3_judge *j, const struct kept_incident *k, const char *model,
                        struct o3_circumstances *ret) {
    const struct o3_circumstances *kept = kept_before(k, model);
    take_before(o3_judge_find(j, model), &k->i, ret);
    if (kept && kept->n_samples > ret->n_samples) *ret = *kept;
}

static void keep_before(struct kept_incident *k, const char *model, const struct o3_circumstances *around) {
    int n = 0;
    while (n < k->n_before && strcmp(k->before[n].model, model) != 0)
        n++;
    if (n == O3_INCIDENT_MEMBERS_MAX || !around->n_samples) return;
    if (n == k->n_before) k->n_before++;
    o3_str_copy(k->before[n].model, sizeof k->before[n].model, model);
    k->before[n].around = *around;
}

bool o3_judge_creeps(const struct o3_judge *j, const struct kept_incident *k) {
    struct o3_circumstances before, since;
    const char *name = main_model(&k->i);
    for (int n = 0; n < k->i.n_members; n++)
        if (k->i.member[n].verdict.report.is_slow && !k->i.member[n].is_over) return true;
    find_before(j, k, name, &before);
    take_since(o3_judge_find(j, name), &k->i, &since);
    return o3_evidence_creeps(&before, &since);
}

/* Any of its models may be the main one later, when its trail has forgotten what was before. */
static void keep_all_before(const struct o3_judge *j, struct kept_incident *k) {
    for (int n = 0; n < k->i.n_members; n++) {
        const char *model = k->i.member[n].verdict.model;
        struct o3_circumstances before;
        if (n > 0 && !strcmp(model, k->i.member[n - 1].verdict.model)) continue;
        find_before(j, k, model, &before);
        keep_before(k, model, &before);
    }
}

static int rank(const struct o3_judge *j, struct kept_incident *k, struct o3_cause_found out[O3_CAUSES_MAX]) {
    struct o3_cause_member member[O3_INCIDENT_MEMBERS_MAX];
    struct o3_circumstances before, since;
    const char *name = main_model(&k->i);
    size_t n = members_of(&k->i, name, member);
    keep_all_before(j, k);
    if (!n) return 0;
    find_before(j, k, name, &before);
    take_since(o3_judge_find(j, name), &k->i, &since);
    return o3_cause_rank(member, n, &before, &since, out);
}

/* Something of it is back at its old level, or its newest values are nearer to that than to what was told: what is seen
 * since comes from the end of the change. */
static bool is_ending(const struct o3_judge *j, const struct o3_incident *i, const char *name) {
    const struct model *m = o3_judge_find(j, name);
    for (int n = 0; m && n < i->n_members; n++) {
        const struct o3_incident_member *x = &i->member[n];
        const struct setting *g = o3_judge_setting(m, x->verdict.signal);
        if (strcmp(x->verdict.model, name) != 0) continue;
        if (x->end == O3_MEMBER_RECOVERED) return true;
        if (x->is_over || !g || g->id != x->setting) continue;
        if (o3_series_is_returning(&g->series[x->verdict.signal][x->verdict.stratum])) return true;
    }
    return false;
}

void o3_judge_find_causes(const struct o3_judge *j, struct kept_incident *k) {
    struct o3_cause_found found[O3_CAUSES_MAX];
    int n = rank(j, k, found);
    bool is_known = k->i.n_causes && k->i.cause[0].cause != O3_CAUSE_UNKNOWN;
    if (!n || (is_known && found[0].cause == O3_CAUSE_UNKNOWN)) return;
    bool is_other = is_known && found[0].cause != k->i.cause[0].cause;
    if (is_other && !k->is_growing && is_ending(j, &k->i, main_model(&k->i))) return;
    memcpy(k->i.cause, found, sizeof *found * (size_t)n);
    k->i.n_causes = n;
}

static double weight_of(const struct o3_cause_found *v, int n, enum o3_cause cause) {
    for (int i = 0; i < n; i++)
        if (v[i].cause == cause) return v[i].weight;
    return 0;
}

bool o3_judge_rethink(const struct o3_judge *j, struct kept_incident *k) {
    const double clearly = 2; /* times likelier: two that are alike do not take turns */
    struct o3_cause_found found[O3_CAUSES_MAX];
    if (!k->i.n_causes) return false;
    enum o3_cause old = k->i.cause[0].cause;
    int n = rank(j, k, found);
    if (!n || found[0].cause == old || found[0].cause == O3_CAUSE_UNKNOWN) return false;
    bool is_better = old == O3_CAUSE_UNKNOWN || found[0].weight > k->i.cause[0].weight;
    if (!is_better || is_ending(j, &k->i, main_model(&k->i))) return false;
    return found[0].weight >= clearly * weight_of(found, n, old);
}
