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

void o3_judge_find_causes(const struct o3_judge *j, struct o3_incident *i) {
    struct o3_cause_member member[O3_INCIDENT_MEMBERS_MAX];
    struct o3_circumstances before, since;
    const char *name = main_model(i);
    const struct model *m = o3_judge_find(j, name);
    size_t n = members_of(i, name, member), from = 0, to = 0;
    if (!n) return;
    /* What lies in the interval of the change time belongs to neither, but the change time itself is since. */
    while (m && from < m->n_trail && m->trail[from].wall_ms < i->since_lo_ms)
        from++;
    for (to = from; m && to < m->n_trail && m->trail[to].wall_ms < i->since_ms;)
        to++;
    o3_circumstances_of(m ? m->trail : NULL, from, &before);
    o3_circumstances_of(m && m->trail ? m->trail + to : NULL, m ? m->n_trail - to : 0, &since);
    i->n_causes = o3_cause_rank(member, n, &before, &since, i->cause);
}
