/* SPDX-License-Identifier: Apache-2.0 */
#include "rehearsal/truth.h"
#include <math.h>
#include <string.h>
#include "o3/num.h"

static const char *const NAMES[O3_TRUTH_SIGNALS] = {"decode_rate", "ttft",      "prefill_rate",
                                                    "memory",      "gpu_ratio", "context"};
#define N_BASELINE_EXACT 10

int o3_truth_signal_of(const char *name) {
    for (int i = 0; i < O3_TRUTH_SIGNALS; i++)
        if (!strcmp(NAMES[i], name)) return i;
    return -1;
}

void o3_truth_init(struct o3_truth *t, const struct o3_world *w, double min_effect, int n_baseline) {
    memset(t, 0, sizeof *t); /* too large for a literal on the stack */
    t->world = w;
    t->min_effect = min_effect;
    t->n_baseline = n_baseline;
}

int o3_truth_model(struct o3_truth *t, struct o3_run *run, const char *name) {
    for (int i = 0; i < run->n_models; i++)
        if (!strcmp(run->models[i].name, name)) return i;
    if (run->n_models == O3_RUN_MODELS_MAX || strlen(name) >= sizeof run->models[0].name) return -1;
    int i = run->n_models++;
    o3_str_copy(run->models[i].name, sizeof run->models[i].name, name);
    const double short_prompt = 20;
    t->models[i].n_prompt = short_prompt;
    t->models[i].open_change = -1;
    o3_str_copy(t->models[i].name, sizeof t->models[i].name, name);
    for (int sig = 0; sig < O3_TRUTH_SIGNALS; sig++)
        t->models[i].across[sig].reference = (double)NAN;
    return i;
}

static void close_change(struct o3_truth_model *m, struct o3_run *run, int64_t now_ns) {
    if (m->open_change >= 0) run->changes[m->open_change].until_ns = now_ns;
    m->open_change = -1;
    m->is_lost = false;
}

/* The place of that setting, or of the one unused for longest. */
static struct o3_truth_setting *place_of(struct o3_truth_model *m, uint64_t key) {
    struct o3_truth_setting *oldest = &m->settings[0];
    for (int i = 0; i < O3_TRUTH_SETTINGS; i++) {
        struct o3_truth_setting *x = &m->settings[i];
        if (x->key == key) return x;
        if (oldest->key && (!x->key || x->used_ns < oldest->used_ns)) oldest = x;
    }
    memset(oldest, 0, sizeof *oldest);
    oldest->key = key;
    for (int s = 0; s < O3_TRUTH_SIGNALS; s++)
        oldest->series[s].reference = (double)NAN;
    return oldest;
}

/* The setting in force; NULL while the model was never loaded. */
static struct o3_truth_setting *enter(const struct o3_truth *t, struct o3_truth_model *m, struct o3_run *run,
                                      int64_t now_ns) {
    uint64_t key = o3_world_setting(t->world, m->name);
    if (key && (!m->now || m->now->key != key)) {
        close_change(m, run, now_ns);
        m->now = place_of(m, key);
    }
    if (m->now) m->now->used_ns = now_ns;
    return m->now;
}

/* Without any chance in it; NaN while the model is not loaded. A short prompt takes one step at least, as a step reads
 * all weights. */
static void expect(const struct o3_truth *t, const struct o3_truth_model *m, int64_t now_ns,
                   double ret[O3_TRUTH_EXPECTED]) {
    double decode = o3_world_expected(t->world, m->name, O3_WORLD_DECODE_RATE, now_ns);
    double prefill = o3_world_expected(t->world, m->name, O3_WORLD_PREFILL_RATE, now_ns);
    ret[O3_TRUTH_DECODE_RATE] = decode;
    ret[O3_TRUTH_PREFILL_RATE] = prefill;
    ret[O3_TRUTH_TTFT] = o3_world_expected(t->world, m->name, O3_WORLD_TTFT_OVERHEAD, now_ns) +
                         fmax(m->n_prompt / prefill, 1 / decode);
}

static void note(struct o3_truth_series *s, double value, int64_t now_ns) {
    if (!(value > 0) || !isfinite(value)) return;
    s->at_ns[s->next_ring] = now_ns;
    s->log_value[s->next_ring] = o3_log(value);
    s->next_ring = (s->next_ring + 1) % O3_TRUTH_RING;
    if (s->n_ring < O3_TRUTH_RING) s->n_ring++;
}

void o3_truth_sample(struct o3_truth *t, struct o3_run *run, const struct o3_sample *s) {
    int i = o3_truth_model(t, run, s->model);
    struct o3_truth_setting *x = i < 0 ? NULL : enter(t, &t->models[i], run, s->mono_ns);
    if (!x) return;
    struct o3_truth_model *m = &t->models[i];
    bool is_prefill = s->kind == O3_PROBE_PREFILL;
    double value[O3_TRUTH_EXPECTED];
    if (!is_prefill && s->prompt_eval_count > 0) m->n_prompt = (double)s->prompt_eval_count;
    expect(t, m, s->mono_ns, value);
    for (int sig = 0; sig < O3_TRUTH_EXPECTED; sig++)
        if ((sig == O3_TRUTH_PREFILL_RATE) == is_prefill) note(&x->series[sig], value[sig], s->mono_ns);
}

static struct o3_truth_series *series_of(struct o3_truth_model *m, struct o3_truth_setting *x, int sig) {
    return sig >= O3_TRUTH_GPU_RATIO ? &m->across[sig] : &x->series[sig];
}

void o3_truth_exact(struct o3_truth *t, struct o3_run *run, const struct o3_sample *s) {
    int i = o3_truth_model(t, run, s->model);
    struct o3_truth_setting *x = i < 0 ? NULL : enter(t, &t->models[i], run, s->mono_ns);
    if (!x || s->outcome != O3_OUTCOME_OK || s->size_bytes <= 0) return;
    struct o3_truth_model *m = &t->models[i];
    const double nothing = 0.01; /* as the judge reads a model that is not on the GPU at all */
    note(series_of(m, x, O3_TRUTH_MEMORY), (double)s->size_bytes, s->mono_ns);
    note(series_of(m, x, O3_TRUTH_GPU_RATIO), fmax(nothing, (double)s->vram_bytes / (double)s->size_bytes), s->mono_ns);
    note(series_of(m, x, O3_TRUTH_CONTEXT), (double)s->num_ctx, s->mono_ns);
}

static int newest_index(const struct o3_truth_series *s, int k) {
    return (s->next_ring - 1 - k + O3_TRUTH_RING) % O3_TRUTH_RING;
}

void o3_truth_baseline(struct o3_truth *t, struct o3_run *run, const char *model, const char *signal, int64_t now_ns) {
    int i = o3_truth_model(t, run, model), sig = o3_truth_signal_of(signal);
    struct o3_truth_setting *x = i < 0 || sig < 0 ? NULL : enter(t, &t->models[i], run, now_ns);
    if (!x) return;
    struct o3_truth_series *s = series_of(&t->models[i], x, sig);
    int wanted = sig < O3_TRUTH_EXPECTED || t->n_baseline < N_BASELINE_EXACT ? t->n_baseline : N_BASELINE_EXACT;
    int n = s->n_ring < wanted ? s->n_ring : wanted;
    double sum = 0;
    for (int k = 0; k < n; k++)
        sum += s->log_value[newest_index(s, k)];
    if (n > 0) s->reference = o3_exp(sum / n);
}

/* Mean of the expected values since that time, or the newest one; NaN when there is none. */
static double mean_since(const struct o3_truth_series *s, int64_t since_ns) {
    double sum = 0, newest = (double)NAN;
    int n = 0;
    for (int k = 0; k < s->n_ring; k++) {
        int i = newest_index(s, k);
        if (k == 0) newest = s->log_value[i];
        if (s->at_ns[i] < since_ns) break;
        sum += s->log_value[i];
        n++;
    }
    return n ? sum / n : newest;
}

static bool is_worse(int sig, double log_ratio) {
    return sig == O3_TRUTH_TTFT || sig == O3_TRUTH_MEMORY ? log_ratio > 0 : log_ratio < 0;
}

/* The first alarm in the direction of an open change tells it. */
static void tell_change(struct o3_truth_model *m, struct o3_run *run, int sig, double log_ratio, int64_t now_ns) {
    if (m->open_change < 0) return;
    struct o3_run_change *c = &run->changes[m->open_change];
    if (c->told_ns != INT64_MAX) return;
    if (is_worse(o3_truth_signal_of(c->signal), o3_log1p(c->ratio)) != is_worse(sig, log_ratio)) return;
    c->told_ns = now_ns;
    o3_spread_add(&run->delay_seconds, (double)(now_ns - c->at_ns) / 1e9);
}

void o3_truth_alarm(struct o3_truth *t, struct o3_run *run, const char *model, const char *signal, double ratio,
                    int64_t since_ns, int64_t now_ns) {
    int i = o3_truth_model(t, run, model), sig = o3_truth_signal_of(signal);
    if (sig < 0) return;
    struct o3_run_alarm a = {.at_ns = now_ns, .since_ns = since_ns, .model = i, .ratio = ratio};
    a.true_ratio = (double)NAN;
    o3_str_copy(a.signal, sizeof a.signal, signal);
    struct o3_truth_setting *x = i < 0 ? NULL : enter(t, &t->models[i], run, now_ns);
    if (x) {
        const struct o3_truth_series *s = series_of(&t->models[i], x, sig);
        double truth = mean_since(s, since_ns) - o3_log(s->reference), told = o3_log1p(ratio);
        a.true_ratio = o3_expm1(truth);
        a.is_true = truth * told > 0 && fabs(truth) >= o3_log1p(t->min_effect) / 2;
        if (a.is_true) tell_change(&t->models[i], run, sig, told, now_ns);
    }
    if (run->n_alarms < O3_RUN_ALARMS_MAX) run->alarms[run->n_alarms] = a;
    run->n_alarms++;
    run->n_false_alarms += !a.is_true;
}

/* The signal that moved most, and by how much on the log scale; -1 when there is no baseline or no model to look at. */
static int largest(const struct o3_truth *t, const struct o3_truth_model *m, int64_t now_ns, double *ret_log_ratio) {
    int best = -1;
    double value[O3_TRUTH_EXPECTED];
    *ret_log_ratio = 0;
    expect(t, m, now_ns, value);
    for (int s = 0; s < O3_TRUTH_EXPECTED; s++) {
        double reference = m->now->series[s].reference;
        if (!(value[s] > 0) || !(reference > 0)) continue;
        double x = o3_log(value[s] / reference);
        if (best < 0 || fabs(x) > fabs(*ret_log_ratio)) {
            best = s;
            *ret_log_ratio = x;
        }
    }
    return best;
}

static void open_change(struct o3_truth_model *m, struct o3_run *run, int model, int sig, double log_ratio,
                        int64_t now_ns) {
    if (run->n_changes == O3_RUN_CHANGES_MAX) {
        m->is_lost = true;
        return;
    }
    m->open_change = run->n_changes++;
    struct o3_run_change *c = &run->changes[m->open_change];
    *c = (struct o3_run_change){.at_ns = now_ns, .until_ns = INT64_MAX, .model = model, .told_ns = INT64_MAX};
    c->ratio = o3_expm1(log_ratio);
    o3_str_copy(c->signal, sizeof c->signal, NAMES[sig]);
}

void o3_truth_look(struct o3_truth *t, struct o3_run *run, int64_t now_ns) {
    double gate = o3_log1p(t->min_effect);
    for (int i = 0; i < run->n_models; i++) {
        struct o3_truth_model *m = &t->models[i];
        double x;
        if (!enter(t, m, run, now_ns)) continue;
        int sig = largest(t, m, now_ns, &x);
        if (sig < 0) continue;
        bool is_open = m->open_change >= 0 || m->is_lost;
        if (!is_open && fabs(x) >= gate)
            open_change(m, run, i, sig, x, now_ns);
        else if (is_open && fabs(x) < gate / 2)
            close_change(m, run, now_ns);
    }
}
