/* SPDX-License-Identifier: Apache-2.0 */
/* Plays a scenario: world and sidecar coupled, a twin world beside them, faults at their times, and the record of the
 * run. */
#include "o3/rehearsal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "rehearsal/grammar.h"
#include "rehearsal/inner.h"

#define LOOK_EVERY_NS (60 * O3_NS_PER_S)

/* ---- samples ---- */

static int64_t step_ns(const struct o3_rehearsal *r) {
    return r->params.scenario->duration_ns / O3_RUN_POINTS_MAX + 1;
}

static void close_point(struct o3_rehearsal *r) {
    for (int i = 0; i < r->run.n_models; i++) {
        struct o3_run_series *s[TTFT_AND_DECODE] = {&r->run.models[i].ttft_seconds, &r->run.models[i].decode_rate};
        for (int k = 0; k < TTFT_AND_DECODE; k++) {
            s[k]->step_ns = step_ns(r);
            double mean = r->counts[i][k] ? r->sums[i][k] / r->counts[i][k] : (double)NAN;
            while (s[k]->n < r->point) /* a model that came later */
                s[k]->value[s[k]->n++] = NAN;
            s[k]->value[s[k]->n++] = (float)mean;
            r->sums[i][k] = 0;
            r->counts[i][k] = 0;
        }
    }
    r->point++;
}

static void follow_points(struct o3_rehearsal *r, int64_t t) {
    int64_t at = t / step_ns(r);
    while (r->point < at && r->point < O3_RUN_POINTS_MAX)
        close_point(r);
}

static void note_value(struct o3_rehearsal *r, int model, int which, double value) {
    if (!isfinite(value) || r->point >= O3_RUN_POINTS_MAX) return;
    r->sums[model][which] += value;
    r->counts[model][which]++;
}

static void on_sample(void *ctx, const struct o3_sample *s) {
    struct o3_rehearsal *r = ctx;
    struct o3_run *run = &r->run;
    o3_truth_exact(&r->truth, run, s);
    if (s->kind == O3_PROBE_LOOK) return;
    int i = o3_truth_model(&r->truth, run, s->model);
    bool is_failed = o3_outcome_is_failure(s->outcome);
    run->n_probes++;
    run->n_failed_probes += is_failed;
    if (s->wall_ns > 0) run->busy_seconds += (double)s->wall_ns / 1e9;
    if (i < 0) return;
    run->models[i].n_probes++;
    run->models[i].n_failed += is_failed;
    if (s->outcome != O3_OUTCOME_OK || s->flags & O3_SAMPLE_REJECTED) return;
    o3_truth_sample(&r->truth, run, s);
    follow_points(r, s->mono_ns);
    if (s->kind == O3_PROBE_PREFILL) return;
    note_value(r, i, 0, (double)s->ttft_ns / 1e9);
    note_value(r, i, 1, s->decode_tps);
}

/* What only the metrics of a sidecar know, before they go with it. */
static int64_t sum_of(const struct o3_rehearsal *r, enum o3_metric metric, const char *label) {
    size_t n;
    const char *const *values = o3_label_values(metric, label, &n);
    int64_t sum = 0;
    for (int m = 0; m < r->run.n_models; m++)
        for (size_t i = 0; i < n; i++) {
            double v = o3_metric_get(r->coupling->metrics, metric, O3_L(r->run.models[m].name, values[i]));
            if (isfinite(v)) sum += (int64_t)v;
        }
    return sum;
}

static void take_counters(struct o3_rehearsal *r) {
    r->run.n_skipped_probes += sum_of(r, O3_M_PROBES_SKIPPED, "reason");
    r->run.n_probe_tokens += sum_of(r, O3_M_PROBE_TOKENS, "type");
}

/* What it held for true goes with it; suspicions and verdicts are saved. */
static void before_restart(void *ctx) {
    struct o3_rehearsal *r = ctx;
    take_counters(r);
    r->state.is_down = false;
    r->state.n_stuck = 0;
}

/* ---- faults ---- */

static void restart_now(struct o3_rehearsal *r) {
    struct o3_err e;
    r->restart_ns = INT64_MAX;
    if (!r->coupling->sidecar && o3_coupling_start(r->coupling, &e) == 0) r->run.n_restarts++;
}

static void kill_sidecar(struct o3_rehearsal *r, const struct o3_scenario_fault *f) {
    for (int s = 0; f->step[0] && s < O3_REPLACE_STEP_COUNT; s++)
        if (!strcmp(O3_REPLACE_STEP_NAMES[s], f->step)) {
            r->coupling->kill_at = (enum o3_replace_step)s;
            return;
        }
    if (!r->coupling->sidecar) return; /* stopped: there is nothing to kill */
    o3_coupling_stop(r->coupling, true);
    restart_now(r);
}

static void stop_sidecar(struct o3_rehearsal *r, int64_t until_ns) {
    o3_coupling_stop(r->coupling, false);
    if (r->restart_ns == INT64_MAX || until_ns > r->restart_ns) r->restart_ns = until_ns;
}

/* What happens once; what lasts is set by set_lasting. */
static void begin(struct o3_rehearsal *r, const struct o3_scenario_fault *f) {
    struct o3_coupling *c = r->coupling;
    switch (f->kind) {
    case O3_FAULT_SIDECAR_KILLED:
        kill_sidecar(r, f);
        break;
    case O3_FAULT_SIDECAR_STOPPED:
        stop_sidecar(r, f->until_ns);
        break;
    case O3_FAULT_CLOCK_JUMP:
        c->wall_shift_ms += (int64_t)(f->value * 1e3);
        o3_world_jump_clock(c->world, c->now_ns, (int64_t)(f->value * 1e3));
        break;
    case O3_FAULT_FOREIGN_FILE:
        o3_memory_files_overwrite(c->files, O3_COUPLING_PRESET_FILE, "foreign\n", 8);
        break;
    case O3_FAULT_DISK_FULL:
    case O3_FAULT_DISK_READ_ONLY:
    case O3_FAULT_DISK_SLOW:
    case O3_FAULT_POOL:
        break;
    }
}

/* The newest fault of that kind that has begun and not ended; NULL none. */
static const struct o3_scenario_fault *in_force(const struct o3_rehearsal *r, enum o3_fault_kind kind, int64_t t) {
    const struct o3_scenario *s = r->params.scenario;
    for (size_t i = r->next_fault; i-- > 0;)
        if (s->faults[i].kind == kind && t < s->faults[i].until_ns) return &s->faults[i];
    return NULL;
}

static void set_lasting(struct o3_rehearsal *r, int64_t t) {
    struct o3_coupling *c = r->coupling;
    const struct o3_scenario_fault *slow = in_force(r, O3_FAULT_DISK_SLOW, t), *pool = in_force(r, O3_FAULT_POOL, t);
    o3_memory_files_set_full(c->files, in_force(r, O3_FAULT_DISK_FULL, t));
    o3_memory_files_set_read_only(c->files, in_force(r, O3_FAULT_DISK_READ_ONLY, t));
    c->write_step_ns = slow ? (int64_t)(slow->value * 1e9) : 0;
    c->n_pooled_sockets = pool ? (int)pool->value : 0;
}

static int64_t next_fault_ns(const struct o3_rehearsal *r) {
    const struct o3_scenario *s = r->params.scenario;
    int64_t t = r->restart_ns;
    if (r->next_fault < s->n_faults && s->faults[r->next_fault].at_ns < t) t = s->faults[r->next_fault].at_ns;
    for (size_t i = 0; i < r->next_fault; i++)
        if (s->faults[i].until_ns > r->faults_ns && s->faults[i].until_ns < t) t = s->faults[i].until_ns;
    return t;
}

static void play_faults(struct o3_rehearsal *r, int64_t t) {
    const struct o3_scenario *s = r->params.scenario;
    r->faults_ns = t;
    if (r->restart_ns <= t) restart_now(r);
    while (r->next_fault < s->n_faults && s->faults[r->next_fault].at_ns <= t)
        begin(r, &s->faults[r->next_fault++]);
    set_lasting(r, t);
}

/* ---- time ---- */

static void drain_users(struct o3_rehearsal *r, int64_t t) {
    struct o3_world_served s;
    while (o3_world_take_served(r->coupling->world, &s))
        o3_pairs_add(r->pairs, &r->run, &s, false);
    if (!r->twin) return;
    struct o3_world_output o;
    while (o3_world_poll(r->twin, t, &o))
        ; /* nobody asks this world anything */
    while (o3_world_take_served(r->twin, &s))
        o3_pairs_add(r->pairs, &r->run, &s, true);
}

static void look_at_metrics(struct o3_rehearsal *r, int64_t t) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 4u << 20);
    if (r->coupling->sidecar) o3_sidecar_show_metrics(r->coupling->sidecar);
    if (r->coupling->metrics) (void)o3_metrics_render(r->coupling->metrics, O3_TEXT_0_0_4, &text);
    o3_expectations_look(r->expectations, t, o3_buf_str(&text), text.len);
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* A look at the truth before and after each edge of the world's events finds the moment of a change. */
static void look_at_truth(struct o3_rehearsal *r, int64_t t) {
    o3_truth_look(&r->truth, &r->run, t);
    if (t >= r->next_look_ns) r->next_look_ns = t + LOOK_EVERY_NS;
    if (t >= r->next_edge_ns) r->next_edge_ns = o3_world_next_edge_ns(r->coupling->world, t);
}

void o3_rehearsal_run(struct o3_rehearsal *r, int64_t until_ns) {
    struct o3_coupling *c = r->coupling;
    while (c->now_ns < until_ns) {
        int64_t expect_ns = o3_expectations_next_ns(r->expectations), fault_ns = next_fault_ns(r);
        int64_t t = min64(min64(min64(fault_ns, expect_ns), min64(r->next_look_ns, r->next_edge_ns)), until_ns);
        if (t <= c->now_ns) t = c->now_ns + 1;
        o3_coupling_run(c, t);
        if (fault_ns <= t) play_faults(r, t);
        if (expect_ns <= t) look_at_metrics(r, t);
        look_at_truth(r, t);
        drain_users(r, t);
        follow_points(r, t);
    }
}

/* ---- life ---- */

static int make_world(const struct o3_rehearsal_params *p, struct o3_world **ret, struct o3_err *e) {
    const struct o3_scenario *s = p->scenario;
    struct o3_world_params w = s->world;
    if (!s->has_seed) w.seed = p->seed;
    if (w.start_wall_ms == 0) w.start_wall_ms = O3_REHEARSAL_START_WALL_MS;
    *ret = o3_world_new(&w);
    if (!*ret) return o3_err_set(e, O3_E_NOMEM, "no memory for the simulated world");
    return o3_scenario_fill_world(s, *ret, e);
}

static int couple(struct o3_rehearsal *r, struct o3_err *e) {
    struct o3_world *world = NULL;
    struct o3_config *config = NULL;
    const struct o3_scenario *s = r->params.scenario;
    int code = make_world(&r->params, &world, e);
    if (code == 0) code = o3_scenario_load_config(s->config, s->n_config, &config, e);
    if (code < 0) {
        o3_world_free(world);
        return code;
    }
    r->run.seed = s->has_seed ? s->world.seed : r->params.seed;
    int64_t start_ms = s->world.start_wall_ms ? s->world.start_wall_ms : O3_REHEARSAL_START_WALL_MS;
    const struct o3_config_values *v = o3_config_values(config);
    o3_truth_init(&r->truth, world, v->drift_min_effect, (int)v->drift_baseline_samples);
    struct o3_coupling_hooks hooks = {
        .ctx = r, .event = o3_rehearsal_hear, .sample = on_sample, .before_restart = before_restart};
    return o3_coupling_new(config, world, r->run.seed, start_ms, &hooks, &r->coupling, e);
}

int o3_rehearsal_new(const struct o3_rehearsal_params *p, struct o3_rehearsal **ret, struct o3_err *e) {
    struct o3_rehearsal *r = calloc(1, sizeof *r);
    if (!r) return o3_err_set(e, O3_E_NOMEM, "no memory for the rehearsal");
    r->params = *p;
    r->restart_ns = INT64_MAX;
    o3_run_init(&r->run);
    r->expectations = o3_expectations_new(p->scenario);
    r->pairs = o3_pairs_new();
    int code = r->expectations && r->pairs ? 0 : o3_err_set(e, O3_E_NOMEM, "no memory for the rehearsal");
    if (code == 0 && p->has_twin) code = make_world(p, &r->twin, e);
    if (code == 0) code = couple(r, e);
    if (code < 0) {
        o3_rehearsal_free(r);
        return code;
    }
    r->run.has_twin = p->has_twin && p->scenario->n_users > 0;
    *ret = r;
    return 0;
}

void o3_rehearsal_free(struct o3_rehearsal *r) {
    if (!r) return;
    o3_coupling_free(r->coupling);
    o3_world_free(r->twin);
    o3_expectations_free(r->expectations);
    o3_pairs_free(r->pairs);
    free(r);
}

static void note_expectations(struct o3_rehearsal *r) {
    const struct o3_scenario *s = r->params.scenario;
    struct o3_run *run = &r->run;
    for (size_t i = 0; i < s->n_expects; i++) {
        const struct o3_expect_result *x = o3_expectations_result(r->expectations, i);
        run->n_expects++;
        if (x->is_met) continue;
        if (run->n_broken < O3_RUN_FAILURES_MAX) {
            run->failures[run->n_broken].line = s->expects[i].line;
            o3_str_copy(run->failures[run->n_broken].text, sizeof run->failures[0].text, s->expects[i].text);
            o3_str_copy(run->failures[run->n_broken].found, sizeof run->failures[0].found, x->found);
        }
        run->n_broken++;
    }
}

const struct o3_run *o3_rehearsal_finish(struct o3_rehearsal *r) {
    struct o3_coupling *c = r->coupling;
    struct o3_run *run = &r->run;
    drain_users(r, c->now_ns);
    if (r->point < O3_RUN_POINTS_MAX) close_point(r);
    o3_pairs_finish(r->pairs, run);
    o3_expectations_finish(r->expectations, c->now_ns);
    note_expectations(r);
    if (c->metrics) take_counters(r);
    struct o3_world_truth t;
    o3_world_truth(c->world, c->now_ns, &t);
    run->simulated_ns = c->now_ns;
    run->n_induced_reloads = t.n_api_loads - t.n_api_revivals;
    run->n_loads = t.n_loads;
    run->n_user_reloads = t.n_reloads;
    run->has_gpu = r->params.scenario->world.has_gpu;
    run->n_spilled_loads = t.n_spilled_loads;
    run->n_prefixes_evicted = t.n_prefixes_evicted;
    run->n_prefixes_swapped = t.n_prefixes_swapped;
    run->n_tokens_again = t.n_tokens_again;
    run->n_preset_writes = c->n_writes;
    run->n_failed_writes = c->n_failed_writes;
    run->n_torn_files = o3_memory_files_torn(c->files);
    run->n_restarts += c->n_killed_in_write;
    return run;
}
