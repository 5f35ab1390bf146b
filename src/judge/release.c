/* SPDX-License-Identifier: Apache-2.0 */
/* Before and after a change of epoch. Two means on the log scale, their difference with a 95 % interval: Welch's
 * approximation of Student's t, each standard error widened for AR(1) noise by sqrt((1 + rho) / (1 - rho)). Shares of
 * success: Newcombe's hybrid of Wilson's intervals (Newcombe 1998, method 10). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "judge/parts.h"
#include "o3/num.h"
#include "o3/stat.h"
#include "o3/text.h"

#define Z 1.959963984540054 /* of 95 % */
#define RHO_MAX 0.9
#define N_MAX 1000 /* the baseline forgets what is older */
#define CLIP 2.5

/* Lag-1 autocorrelation of clipped deviations; at least 0. */
static double autocorrelation(const struct series *x, double mean, double sd) {
    double v[O3_DRIFT_RING], sum = 0, squares = 0;
    size_t n = x->drift && sd > 0 ? o3_drift_recent(x->drift, v, O3_DRIFT_RING) : 0;
    for (size_t i = 0; i < n; i++)
        v[i] = fmin(CLIP, fmax(-CLIP, (o3_log(v[i]) - mean) / sd));
    for (size_t i = 1; i < n; i++) {
        sum += v[i] * v[i - 1];
        squares += v[i] * v[i];
    }
    return squares > 0 ? fmin(RHO_MAX, fmax(0, sum / squares)) : 0;
}

/* The reference, which is the healthy level also when the present one is a confirmed change. */
static bool level_of(const struct setting *g, enum o3_signal sig, struct level *ret) {
    const struct series *x = &g->series[sig][O3_STRATUM_IDLE];
    struct o3_drift_view v;
    if (!o3_series_exists(x)) return false;
    o3_series_glance(x, &v);
    if (v.state == O3_DRIFT_LEARNING) return false;
    *ret = (struct level){.drifted = (double)NAN, .n = v.baseline_n < N_MAX ? v.baseline_n : N_MAX};
    bool is_drifted = v.state == O3_DRIFT_CONFIRMED;
    if (x->success) {
        ret->mean = v.baseline;
        if (is_drifted) ret->drifted = v.baseline + v.change_ratio;
        return true;
    }
    ret->mean = o3_log(v.baseline);
    ret->sd = v.baseline_sd / v.baseline;
    ret->rho = autocorrelation(x, ret->mean, ret->sd);
    if (is_drifted) ret->drifted = o3_shown_value(sig, v.baseline * (1 + v.change_ratio));
    return true;
}

static bool has_compared(const struct setting *g, enum o3_signal sig, int64_t from_id) {
    for (int i = 0; i < O3_JUDGE_COMPARED; i++)
        if (g->compared[sig][i] == from_id) return true;
    return false;
}

static void note_compared(struct setting *g, enum o3_signal sig, int64_t from_id) {
    for (int i = O3_JUDGE_COMPARED - 1; i > 0; i--)
        g->compared[sig][i] = g->compared[sig][i - 1];
    g->compared[sig][0] = from_id;
}

void o3_judge_leave(struct model *m, const struct setting *from, const struct identity *whole, bool is_ours,
                    int64_t wall_ms) {
    bool is_digest = from->key.num_ctx < 0;
    for (int i = 0; i < O3_SIGNAL_COUNT; i++) {
        struct pending *p = &m->pending[i];
        if (o3_judge_by_digest((enum o3_signal)i) != is_digest) continue;
        const struct setting *to = o3_judge_compared_setting(m, (enum o3_signal)i);
        struct level before;
        if (level_of(from, (enum o3_signal)i, &before))
            *p = (struct pending){.is_set = true,
                                  .is_ours = is_ours,
                                  .from_id = from->id,
                                  .wall_ms = wall_ms,
                                  .from = *whole,
                                  .before = before};
        /* An epoch too short for a baseline is passed over: what lies before it waits on. */
        if (p->is_set && (!to || p->from_id == to->id || has_compared(to, (enum o3_signal)i, p->from_id)))
            p->is_set = false;
    }
    m->is_unsaved = true;
}

static double standard_error(const struct level *l, double rho) {
    return l->sd * sqrt((1 + rho) / (1 - rho) / (double)l->n);
}

static void compare_means(const struct level *a, const struct level *b, struct o3_release *r) {
    /* The short side cannot tell its memory well: the larger of the two holds for both. */
    double rho = fmax(a->rho, b->rho);
    double ea = standard_error(a, rho), eb = standard_error(b, rho), var = ea * ea + eb * eb;
    double spread = ea * ea * ea * ea / (double)(a->n - 1) + eb * eb * eb * eb / (double)(b->n - 1);
    double nu = spread > 0 ? var * var / spread : HUGE_VAL;
    /* First terms of Student's quantile around the normal one (Peizer; Abramowitz & Stegun 26.7.5). */
    double t = Z + (Z * Z * Z + Z) / (4 * nu) + (5 * Z * Z * Z * Z * Z + 16 * Z * Z * Z + 3 * Z) / (96 * nu * nu);
    double shift = b->mean - a->mean, half = t * sqrt(var);
    double before = o3_exp(a->mean);
    r->before = o3_shown_value(r->signal, before);
    r->after = o3_shown_value(r->signal, o3_exp(b->mean));
    r->change_ratio = o3_shown_ratio(r->signal, before, o3_expm1(shift));
    r->change_lo = o3_shown_ratio(r->signal, before, o3_expm1(shift - half));
    r->change_hi = o3_shown_ratio(r->signal, before, o3_expm1(shift + half));
}

static struct o3_interval share_interval(const struct level *l) {
    double successes = floor(l->mean * (double)l->n + 0.5);
    return o3_wilson((size_t)fmin(fmax(successes, 0), (double)l->n), (size_t)l->n, Z);
}

static void compare_shares(const struct level *a, const struct level *b, struct o3_release *r) {
    struct o3_interval ia = share_interval(a), ib = share_interval(b);
    double low = (b->mean - ib.lo) * (b->mean - ib.lo) + (ia.hi - a->mean) * (ia.hi - a->mean);
    double high = (ib.hi - b->mean) * (ib.hi - b->mean) + (a->mean - ia.lo) * (a->mean - ia.lo);
    r->before = a->mean;
    r->after = b->mean;
    r->change_ratio = b->mean - a->mean;
    r->change_lo = r->change_ratio - sqrt(low);
    r->change_hi = r->change_ratio + sqrt(high);
}

/* The value that differs, for people. */
static void put_value(const struct identity *k, const char *reason, char *out, size_t size) {
    if (!strcmp(reason, "digest")) {
        const char *hex = strchr(k->digest, ':') ? strchr(k->digest, ':') + 1 : k->digest;
        o3_str_copy_n(out, size, hex, strlen(hex) < 12 ? strlen(hex) : 12);
    } else if (!strcmp(reason, "server_version")) {
        o3_str_copy(out, size, k->version);
    } else if (!strcmp(reason, "gpu")) {
        o3_str_copy(out, size, k->gpu);
    } else {
        int64_t v = !strcmp(reason, "num_ctx") ? k->num_ctx : !strcmp(reason, "num_batch") ? k->num_batch : k->parallel;
        snprintf(out, size, "%" PRId64, v);
    }
}

/* "digest a to b, server_version c to d and num_ctx e to f" */
static void put_reasons(const struct identity *from, const struct identity *to, char *out, size_t size) {
    char before[96], after[96];
    int n_left = 0;
    size_t len = 0;
    for (int i = 0; i < O3_RELEASE_REASONS; i++)
        n_left += o3_judge_differs(from, to, i);
    for (int i = 0; i < O3_RELEASE_REASONS && len < size; i++) {
        if (!o3_judge_differs(from, to, i)) continue;
        n_left--;
        put_value(from, o3_release_reason(i), before, sizeof before);
        put_value(to, o3_release_reason(i), after, sizeof after);
        int n = snprintf(out + len, size - len, "%s %s to %s%s", o3_release_reason(i), before, after,
                         n_left > 1    ? ", "
                         : n_left == 1 ? " and "
                                       : "");
        if (n > 0) len += (size_t)n;
    }
}

static int kind_of(const char *reason) {
    int kind = 0;
    while (kind + 1 < O3_RELEASE_REASONS && strcmp(reason, o3_release_reason(kind)) != 0)
        kind++;
    return kind;
}

/* Without memory the one before stays. */
static void keep(struct model *m, const struct o3_release *r) {
    struct o3_release **kept = &m->releases[r->signal][kind_of(r->reason)];
    if (!*kept) *kept = calloc(1, sizeof **kept);
    if (*kept) **kept = *r;
}

static void tell(struct o3_judge *j, struct model *m, enum o3_signal sig, const struct pending *p,
                 const struct setting *to, const struct level *after) {
    const struct identity *is = m->epoch ? &m->epoch->key : &to->key;
    struct o3_release r = {.signal = sig,
                           .wall_ms = p->wall_ms,
                           .n_before = p->before.n,
                           .n_after = after->n,
                           .drifted = p->before.drifted,
                           .is_ours = p->is_ours,
                           .reason = o3_judge_difference(&p->from, is)};
    if (!r.reason) return; /* what differed was forgotten since */
    o3_str_copy(r.model, sizeof r.model, m->name);
    put_value(&p->from, r.reason, r.from, sizeof r.from);
    put_value(is, r.reason, r.to, sizeof r.to);
    put_reasons(&p->from, is, r.reasons, sizeof r.reasons);
    if (sig == O3_SIGNAL_SUCCESS)
        compare_shares(&p->before, after, &r);
    else
        compare_means(&p->before, after, &r);
    keep(m, &r);
    if (j->ops.release && !j->is_muted) j->ops.release(j->ops.ctx, &r);
}

void o3_judge_compare(struct o3_judge *j, struct model *m) {
    for (int i = 0; i < O3_SIGNAL_COUNT; i++) {
        enum o3_signal sig = (enum o3_signal)i;
        struct pending *p = &m->pending[i];
        struct setting *to = o3_judge_compared_setting(m, sig);
        struct level after;
        if (!p->is_set || !to || !level_of(to, sig, &after)) continue;
        tell(j, m, sig, p, to, &after);
        note_compared(to, sig, p->from_id);
        p->is_set = false;
        m->is_unsaved = true;
    }
}

bool o3_release_is_setting(const struct o3_release *r) {
    return strcmp(r->reason, "digest") != 0 && strcmp(r->reason, "server_version") != 0 &&
           strcmp(r->reason, "gpu") != 0;
}

static bool is_in_force(const struct model *m, const struct o3_release *r) {
    const struct setting *present = m->epoch ? m->epoch : o3_judge_compared_setting(m, r->signal);
    char is[sizeof r->to];
    if (!present) return false;
    put_value(&present->key, r->reason, is, sizeof is);
    return !strcmp(is, r->to);
}

bool o3_judge_release_of(const struct o3_judge *j, const char *model, enum o3_signal sig, int kind,
                         struct o3_release *ret, bool *ret_in_force) {
    const struct model *m = o3_judge_find(j, model);
    const struct o3_release *r = m ? m->releases[sig][kind] : NULL;
    if (!r) return false;
    *ret = *r;
    *ret_in_force = is_in_force(m, r);
    return true;
}

bool o3_judge_release(const struct o3_judge *j, const char *model, enum o3_signal sig, struct o3_release *ret,
                      bool *ret_in_force) {
    const struct model *m = o3_judge_find(j, model);
    int newest = -1;
    for (int kind = 0; m && kind < O3_RELEASE_REASONS; kind++) {
        const struct o3_release *r = m->releases[sig][kind];
        if (r && (newest < 0 || r->wall_ms > m->releases[sig][newest]->wall_ms)) newest = kind;
    }
    return newest >= 0 && o3_judge_release_of(j, model, sig, newest, ret, ret_in_force);
}
