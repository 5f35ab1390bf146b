/* SPDX-License-Identifier: Apache-2.0 */
/* Which setting a sample belongs to. Few settings of a model are remembered, and the one that was left longest ago
 * gives way to a new one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "judge/parts.h"
#include "o3/text.h"

bool o3_judge_by_digest(enum o3_signal sig) {
    return sig == O3_SIGNAL_GPU_RATIO || sig == O3_SIGNAL_CONTEXT;
}

static struct setting *of_any_digest(const struct model *m) {
    for (int i = 0; i < O3_JUDGE_DIGESTS; i++)
        if (m->digests[i] && !strcmp(m->digests[i]->key.digest, O3_JUDGE_ANY_DIGEST)) return m->digests[i];
    return NULL;
}

struct setting *o3_judge_compared_setting(const struct model *m, enum o3_signal sig) {
    return o3_judge_by_digest(sig) ? m->digest : m->epoch;
}

struct setting *o3_judge_setting(const struct model *m, enum o3_signal sig) {
    return sig == O3_SIGNAL_SUCCESS ? of_any_digest(m) : o3_judge_compared_setting(m, sig);
}

void o3_judge_free_setting(struct setting *g) {
    for (int sig = 0; g && sig < O3_SIGNAL_COUNT; sig++)
        for (int st = 0; st < O3_STRATUM_COUNT; st++)
            o3_series_free(&g->series[sig][st]);
    free(g);
}

static struct identity identity_of(const struct o3_sample *s) {
    struct identity k = {.num_ctx = s->num_ctx, .num_batch = s->num_batch, .parallel = s->around.parallel};
    o3_str_copy(k.digest, sizeof k.digest, s->digest);
    o3_str_copy(k.version, sizeof k.version, s->around.version);
    o3_str_copy(k.gpu, sizeof k.gpu, s->around.gpu);
    return k;
}

static struct identity digest_identity(const struct o3_sample *s) {
    struct identity k = {.num_ctx = -1, .num_batch = -1, .parallel = -1};
    o3_str_copy(k.digest, sizeof k.digest, s->digest);
    return k;
}

static bool texts_differ(const char *a, const char *b) {
    return a[0] && b[0] && strcmp(a, b) != 0;
}

static bool numbers_differ(int64_t a, int64_t b) {
    return a >= 0 && b >= 0 && a != b;
}

static const char *const REASONS[O3_RELEASE_REASONS] = {"digest",    "server_version", "num_ctx",
                                                        "num_batch", "parallel",       "gpu"};

const char *o3_release_reason(int kind) {
    return (unsigned)kind < O3_RELEASE_REASONS ? REASONS[kind] : "";
}

bool o3_judge_differs(const struct identity *from, const struct identity *to, int reason) {
    switch (reason) {
    case 0:
        return texts_differ(from->digest, to->digest);
    case 1:
        return texts_differ(from->version, to->version);
    case 2:
        return numbers_differ(from->num_ctx, to->num_ctx);
    case 3:
        return numbers_differ(from->num_batch, to->num_batch);
    case 4:
        return numbers_differ(from->parallel, to->parallel);
    default:
        return texts_differ(from->gpu, to->gpu);
    }
}

const char *o3_judge_difference(const struct identity *from, const struct identity *to) {
    for (int i = 0; i < O3_RELEASE_REASONS; i++)
        if (o3_judge_differs(from, to, i)) return REASONS[i];
    return NULL;
}

static bool adopt_text(char *known, size_t size, const char *seen) {
    return !known[0] && seen[0] && o3_str_copy(known, size, seen);
}

static bool adopt_number(int64_t *known, int64_t seen) {
    if (*known >= 0 || seen < 0) return false;
    *known = seen;
    return true;
}

/* What was not known of a setting when it began is learned later. */
static bool adopt(struct identity *k, const struct identity *seen) {
    bool is_new = adopt_text(k->version, sizeof k->version, seen->version);
    is_new |= adopt_text(k->gpu, sizeof k->gpu, seen->gpu);
    is_new |= adopt_number(&k->num_batch, seen->num_batch);
    is_new |= adopt_number(&k->parallel, seen->parallel);
    return is_new;
}

/* The one used last among those that fit. */
static struct setting *find(struct setting *const *v, int n, const struct identity *k) {
    struct setting *found = NULL;
    for (int i = 0; i < n; i++)
        if (v[i] && !o3_judge_difference(&v[i]->key, k) && (!found || v[i]->used > found->used)) found = v[i];
    return found;
}

static void drop(struct o3_judge *j, struct model *m, struct setting *g) {
    o3_series_delete(j, m, g);
    o3_judge_end_members(j, m, g->id, -1, O3_MEMBER_LEFT);
    o3_judge_free_setting(g);
}

static struct setting *add(struct o3_judge *j, struct model *m, struct setting **v, int n,
                           const struct setting *present, const struct identity *k) {
    struct setting *g = calloc(1, sizeof *g);
    int slot = -1;
    if (!g) return NULL;
    for (int i = 0; i < n && (slot < 0 || v[slot]); i++)
        if (!v[i] || (v[i] != present && (slot < 0 || v[i]->used < v[slot]->used))) slot = i;
    if (v[slot]) drop(j, m, v[slot]);
    v[slot] = g;
    g->id = m->next_id++;
    g->key = *k;
    if (m->has_lost_state) o3_series_delete(j, m, g);
    g->is_loaded = true;
    return g;
}

static void mark_gap(struct setting *g) {
    for (int sig = 0; g && sig < O3_SIGNAL_COUNT; sig++)
        for (int st = 0; st < O3_STRATUM_COUNT; st++)
            o3_series_mark_gap(&g->series[sig][st]);
}

/* The series of a few settings stay in memory: of those left last. */
static void unload_old(struct o3_judge *j, const struct model *m, struct setting *const *v, int n,
                       const struct setting *present) {
    struct setting *oldest = NULL;
    int n_loaded = 0;
    for (int i = 0; i < n; i++) {
        if (!v[i] || !v[i]->is_loaded) continue;
        n_loaded++;
        if (v[i] != present && (!oldest || v[i]->used < oldest->used)) oldest = v[i];
    }
    if (n_loaded > O3_JUDGE_LOADED && oldest) o3_series_unload(j, m, oldest);
}

/* Makes the setting that fits the present one. False: it is already. */
static bool move(struct o3_judge *j, struct model *m, struct setting **v, int n, struct setting **present,
                 const struct identity *k) {
    struct setting *from = *present;
    if (from && !o3_judge_difference(&from->key, k)) {
        m->is_unsaved |= adopt(&from->key, k);
        return false;
    }
    struct setting *to = find(v, n, k);
    m->has_come_back = to != NULL; /* the epoch moves last, and it is what counts */
    if (!to) to = add(j, m, v, n, from, k);
    m->n_switches++;
    if (from) from->used = m->n_switches;
    if (to) {
        (void)adopt(&to->key, k);
        to->used = m->n_switches;
        o3_series_load(j, m, to);
        unload_old(j, m, v, n, to);
        mark_gap(to);
    }
    *present = to;
    m->is_unsaved = true;
    return true;
}

static struct series *context_series(const struct model *m) {
    return m->digest ? &m->digest->series[O3_SIGNAL_CONTEXT][O3_STRATUM_IDLE] : NULL;
}

static bool is_context_far(const struct o3_judge *j, const struct o3_drift_view *v, double num_ctx) {
    return v->state != O3_DRIFT_LEARNING && fabs(v->baseline - num_ctx) > j->p.min_effect * num_ctx;
}

static bool has_baseline(const struct series *x) {
    return o3_series_exists(x) && !o3_series_is_in(x, O3_DRIFT_LEARNING);
}

/* Its speed is known: it is not there for the first time. */
static bool is_settled(const struct setting *g) {
    return g && (has_baseline(&g->series[O3_SIGNAL_DECODE_RATE][O3_STRATUM_IDLE]) ||
                 has_baseline(&g->series[O3_SIGNAL_TTFT][O3_STRATUM_IDLE]));
}

/* Users who ask with different contexts make them take turns: the first time is news, the next ones are not. What is
 * back at the reference is told to the detector all the same. */
bool o3_judge_is_known_context(const struct o3_judge *j, const struct model *m, double num_ctx) {
    const struct series *x = context_series(m);
    struct o3_drift_view v;
    if (!m->has_come_back || !is_settled(m->epoch) || !x || !o3_series_exists(x)) return false;
    o3_series_glance(x, &v);
    return is_context_far(j, &v, num_ctx);
}

/* A context that is the published preset's is what we asked for: it starts anew instead of being a change. So does one
 * that changes before it was known: the middle of two is none. */
static void expect_context(struct o3_judge *j, const struct model *m, double num_ctx, bool is_ours) {
    struct series *x = context_series(m);
    struct o3_drift_view v;
    if (!x || !o3_series_exists(x)) return;
    o3_series_glance(x, &v);
    if (v.state != O3_DRIFT_LEARNING && !(is_ours && is_context_far(j, &v, num_ctx))) return;
    o3_drift_reset(x->drift);
    x->n_unsaved++;
    o3_judge_end_members(j, m, m->digest->id, O3_SIGNAL_CONTEXT, O3_MEMBER_LEFT);
}

/* It is there from the first sample on, and the others give way to each other before it does. */
static void add_any_digest(struct o3_judge *j, struct model *m) {
    struct identity k = {.digest = O3_JUDGE_ANY_DIGEST, .num_ctx = -1, .num_batch = -1, .parallel = -1};
    struct setting *g = of_any_digest(m) ? NULL : add(j, m, m->digests, O3_JUDGE_DIGESTS, m->digest, &k);
    if (!g) return;
    g->used = INT64_C(1) << 60;
    m->is_unsaved = true;
}

const char *o3_judge_enter(struct o3_judge *j, struct model *m, const struct o3_sample *s) {
    if (!s->digest[0] || s->num_ctx <= 0) return NULL;
    struct identity k = identity_of(s), d = digest_identity(s);
    struct setting *from = m->epoch, *from_digest = m->digest;
    m->n_here++;
    bool has_digest_changed = move(j, m, m->digests, O3_JUDGE_DIGESTS, &m->digest, &d);
    bool has_changed = move(j, m, m->epochs, O3_JUDGE_EPOCHS, &m->epoch, &k);
    add_any_digest(j, m);
    if (s->flags & O3_SAMPLE_AFTER_GAP) {
        mark_gap(m->epoch);
        mark_gap(m->digest);
    }
    if (!has_changed && !has_digest_changed) return NULL;
    m->n_here = 1;
    if (!from || !m->epoch) return NULL;
    const char *reason = o3_judge_difference(&from->key, &m->epoch->key);
    bool is_context = reason && !strcmp(reason, "num_ctx");
    bool is_ours = is_context && s->around.preset_num_ctx == s->num_ctx;
    if (is_context) expect_context(j, m, (double)s->num_ctx, is_ours);
    o3_judge_leave(m, from, &from->key, is_ours, s->wall_ms);
    if (has_digest_changed && from_digest) o3_judge_leave(m, from_digest, &from->key, false, s->wall_ms);
    return reason;
}
