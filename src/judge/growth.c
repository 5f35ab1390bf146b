/* SPDX-License-Identifier: Apache-2.0 */
/* Is a change that stands followed by another one of the same kind? By the trail of samples: the best split of a
 * signal since its change into two levels, where that explains it clearly better than one level, or a line, does. */
#include <math.h>
#include <string.h>
#include "judge/parts.h"
#include "o3/num.h"
#include "o3/stat.h"

#define LEFT_MIN 3 /* samples on a side of the split */
#define RIGHT_MIN 5
#define CLEAR_STEP 6  /* log likelihood against one level, of the best among many splits */
#define CLEAR_SHAPE 3 /* against a line */
#define SSE_MIN 1e-9  /* exact readings have no noise */

struct points {
    double t[O3_JUDGE_TRAIL], y[O3_JUDGE_TRAIL]; /* ms since the first, logarithm */
    int64_t wall_ms[O3_JUDGE_TRAIL];
    size_t n;
};

static bool is_comparable(const struct o3_sample *s, const struct o3_sample *newest, enum o3_signal sig) {
    return !strcmp(s->digest, newest->digest) && (o3_judge_by_digest(sig) || s->num_ctx == newest->num_ctx);
}

static void collect(const struct model *m, const struct setting *g, const struct o3_verdict *v, struct points *p) {
    bool has_two_speeds = o3_series_exists(&g->series[v->signal][O3_STRATUM_THROTTLED]);
    p->n = 0;
    for (size_t i = 0; i < m->n_trail && p->n < O3_JUDGE_TRAIL; i++) {
        const struct o3_sample *s = &m->trail[i];
        struct reading r[O3_SIGNAL_COUNT];
        if (s->wall_ms < v->report.change_wall_ms || !is_comparable(s, &m->trail[m->n_trail - 1], v->signal)) continue;
        size_t n = o3_judge_readings(s, r);
        for (size_t k = 0; k < n; k++) {
            bool is_merged = r[k].stratum == O3_STRATUM_THROTTLED && !has_two_speeds;
            if (is_merged) r[k].stratum = o3_judge_stratum(s->flags & ~(uint32_t)O3_SAMPLE_THROTTLED);
            if (r[k].signal != v->signal || r[k].stratum != v->stratum || !(r[k].value > 0)) continue;
            p->t[p->n] = (double)s->wall_ms - (double)v->report.change_wall_ms;
            p->y[p->n] = o3_log(r[k].value);
            p->wall_ms[p->n++] = s->wall_ms;
        }
    }
}

static double mean_of(const double *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum / (double)n;
}

/* What a line through all points explains of their sum of squares. */
static double explained_by_line(const struct points *p) {
    double mt = mean_of(p->t, p->n), my = mean_of(p->y, p->n), tt = 0, ty = 0;
    for (size_t i = 0; i < p->n; i++) {
        tt += (p->t[i] - mt) * (p->t[i] - mt);
        ty += (p->t[i] - mt) * (p->y[i] - my);
    }
    return tt > 0 ? ty * ty / tt : 0;
}

/* The first point of the second level, and what the two levels explain. */
static size_t best_split(const struct points *p, double *ret_explained) {
    double all = mean_of(p->y, p->n), sum = 0;
    size_t best = 0;
    *ret_explained = 0;
    for (size_t i = 0; i + RIGHT_MIN <= p->n; i++) {
        double left = (double)i, right = (double)(p->n - i);
        double explained = left > 0 ? sum * sum * (1 / left + 1 / right) : 0;
        sum += p->y[i] - all;
        if (i < LEFT_MIN || explained <= *ret_explained) continue;
        *ret_explained = explained;
        best = i;
    }
    return best;
}

static bool is_step(const struct points *p, double explained) {
    double total = 0, n = (double)p->n, mean = mean_of(p->y, p->n);
    for (size_t i = 0; i < p->n; i++)
        total += (p->y[i] - mean) * (p->y[i] - mean);
    double of_step = fmax(total - explained, SSE_MIN), of_line = fmax(total - explained_by_line(p), SSE_MIN);
    if (!(total > SSE_MIN)) return false;
    return 0.5 * n * o3_log(total / of_step) > CLEAR_STEP && 0.5 * n * o3_log(of_line / of_step) > CLEAR_SHAPE;
}

bool o3_judge_has_grown(const struct o3_judge *j, double told, double now) {
    double before = o3_log1p(fmax(told, -1 + 1e-9)), since = o3_log1p(fmax(now, -1 + 1e-9));
    double step = fmax(o3_log1p(j->p.min_effect), 0.5 * fabs(before));
    return before * since > 0 && fabs(since) >= fabs(before) + step;
}

bool o3_judge_growth(const struct o3_judge *j, const struct model *m, const struct o3_incident_member *x,
                     int64_t *ret_ms) {
    const struct o3_verdict *v = &x->verdict;
    const struct setting *g = o3_judge_setting(m, v->signal);
    struct points p;
    double explained;
    if (!g || g->id != x->setting || v->report.is_slow || !m->n_trail || v->signal == O3_SIGNAL_SUCCESS ||
        !(v->report.reference > 0))
        return false;
    collect(m, g, v, &p);
    if (p.n < LEFT_MIN + RIGHT_MIN) return false;
    size_t at = best_split(&p, &explained);
    if (!at || !is_step(&p, explained)) return false;
    double level = o3_median(p.y + at, p.n - at);
    *ret_ms = p.wall_ms[at];
    return o3_judge_has_grown(j, v->report.change_ratio, o3_exp(level) / v->report.reference - 1);
}
