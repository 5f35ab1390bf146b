/* SPDX-License-Identifier: Apache-2.0 */
/* The newest samples of a model, kept for what they tell of its surroundings, and what they say about an incident. */
#include <stdlib.h>
#include <string.h>
#include "judge/parts.h"

void o3_trail_add(struct model *m, const struct o3_sample *s) {
    if (!m->trail && !(m->trail = calloc(O3_JUDGE_TRAIL, sizeof *m->trail))) return;
    if (m->n_trail == O3_JUDGE_TRAIL) {
        memmove(m->trail, m->trail + (O3_JUDGE_TRAIL - O3_JUDGE_TRAIL_KEPT), O3_JUDGE_TRAIL_KEPT * sizeof *m->trail);
        m->n_trail = O3_JUDGE_TRAIL_KEPT;
    }
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

/* What lies in the interval of the change time belongs to neither side, but the change time itself is since. */
static void split(const struct model *m, const struct o3_incident *i, struct o3_circumstances *before,
                  struct o3_circumstances *since) {
    size_t n = m ? m->n_trail : 0, from = 0, to;
    while (from < n && m->trail[from].wall_ms < i->since_lo_ms)
        from++;
    for (to = from; to < n && m->trail[to].wall_ms < i->since_ms;)
        to++;
    o3_circumstances_of(n ? m->trail : NULL, from, before);
    o3_circumstances_of(n ? m->trail + to : NULL, n - to, since);
}

static int rank(const struct o3_judge *j, struct kept_incident *k, struct o3_cause_found out[O3_CAUSES_MAX]) {
    struct o3_cause_member member[O3_INCIDENT_MEMBERS_MAX];
    struct o3_circumstances before, since;
    const char *name = main_model(&k->i);
    size_t n = members_of(&k->i, name, member);
    if (!n) return 0;
    split(o3_judge_find(j, name), &k->i, &before, &since);
    if (before.n_samples >= k->before.n_samples) k->before = before;
    return o3_cause_rank(member, n, &k->before, &since, out);
}

void o3_judge_find_causes(const struct o3_judge *j, struct kept_incident *k) {
    struct o3_cause_found found[O3_CAUSES_MAX];
    int n = rank(j, k, found);
    if (!n) return;
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
    return found[0].weight >= clearly * weight_of(found, n, old);
}
