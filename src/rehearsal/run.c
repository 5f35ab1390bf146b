/* SPDX-License-Identifier: Apache-2.0 */
/* Runs added up. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "o3/err.h"
#include "o3/text.h"
#include "rehearsal/report.h"

bool o3_run_is_good(const struct o3_run *o) {
    return !o->n_broken && !o->n_torn_files && !o->n_induced_reloads;
}

void o3_run_init(struct o3_run *o) {
    memset(o, 0, sizeof *o);
    struct o3_spread *spreads[] = {&o->delay_seconds, &o->ttft,       &o->total,      &o->twin_ttft,
                                   &o->twin_total,    &o->added_ttft, &o->added_total};
    for (size_t i = 0; i < sizeof spreads / sizeof *spreads; i++)
        o3_spread_init(spreads[i]);
}

struct o3_runs *o3_runs_new(const char *scenario_name) {
    struct o3_runs *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    o3_str_copy(t->scenario_name, sizeof t->scenario_name, scenario_name ? scenario_name : "");
    o3_run_init(&t->sum);
    o3_spread_init(&t->size_error);
    return t;
}

void o3_runs_free(struct o3_runs *t) {
    if (!t) return;
    free(t->rows);
    free(t);
}

size_t o3_runs_count(const struct o3_runs *t) {
    return t->n;
}

size_t o3_runs_count_bad(const struct o3_runs *t) {
    return t->n_bad;
}

static int64_t count_told(const struct o3_run *o) {
    int64_t n = 0;
    for (int i = 0; i < o->n_changes; i++)
        n += o->changes[i].told_ns != INT64_MAX;
    return n;
}

static int64_t count_causes(const struct o3_run *o, bool only_right) {
    int64_t n = 0;
    for (int64_t i = 0; i < o->n_incidents && i < O3_RUN_INCIDENTS_MAX; i++)
        n += o->incidents[i].expected[0] && (!only_right || report_is_cause_right(&o->incidents[i]));
    return n;
}

static struct report_row row_of(const struct o3_run *o) {
    return (struct report_row){
        .seed = o->seed,
        .simulated_ns = o->simulated_ns,
        .wall_seconds = o->wall_seconds,
        .is_good = o3_run_is_good(o),
        .has_twin = o->has_twin,
        .n_alarms = o->n_alarms,
        .n_false_alarms = o->n_false_alarms,
        .n_incidents = o->n_incidents,
        .n_causes_named = count_causes(o, false),
        .n_causes_right = count_causes(o, true),
        .n_changes = o->n_changes,
        .n_told = count_told(o),
        .delay_median = o3_spread_quantile(&o->delay_seconds, 0.5),
        .busy_seconds = o->busy_seconds,
        .n_probes = o->n_probes,
        .n_failed_probes = o->n_failed_probes,
        .n_probe_tokens = o->n_probe_tokens,
        .n_induced_reloads = o->n_induced_reloads,
        .has_gpu = o->has_gpu,
        .n_spilled_loads = o->n_spilled_loads,
        .n_requests = o->n_requests,
        .n_failed_requests = o->n_failed_requests,
        .n_twin_failed_requests = o->n_twin_failed_requests,
        .n_prefixes_evicted = o->n_prefixes_evicted,
        .n_tokens_again = o->n_tokens_again,
        .added_ttft_mean = o3_spread_mean(&o->added_ttft),
        .added_ttft_p50 = o3_spread_quantile(&o->added_ttft, 0.5),
        .added_ttft_p99 = o3_spread_quantile(&o->added_ttft, 0.99),
        .added_total_mean = o3_spread_mean(&o->added_total),
        .added_total_p50 = o3_spread_quantile(&o->added_total, 0.5),
        .added_total_p99 = o3_spread_quantile(&o->added_total, 0.99),
        .n_preset_writes = o->n_preset_writes,
        .n_failed_writes = o->n_failed_writes,
        .n_torn_files = o->n_torn_files,
        .n_restarts = o->n_restarts,
        .n_expects = o->n_expects,
        .n_broken = o->n_broken,
    };
}

static void sum_counts(struct o3_run *sum, const struct o3_run *o) {
    sum->simulated_ns += o->simulated_ns;
    sum->wall_seconds += o->wall_seconds;
    sum->n_alarms += o->n_alarms;
    sum->n_false_alarms += o->n_false_alarms;
    sum->n_incidents += o->n_incidents;
    sum->n_changes += o->n_changes;
    sum->n_probes += o->n_probes;
    sum->n_failed_probes += o->n_failed_probes;
    sum->n_skipped_probes += o->n_skipped_probes;
    sum->n_probe_tokens += o->n_probe_tokens;
    sum->busy_seconds += o->busy_seconds;
    sum->n_induced_reloads += o->n_induced_reloads;
    sum->n_loads += o->n_loads;
    sum->n_user_reloads += o->n_user_reloads;
    sum->has_gpu |= o->has_gpu;
    sum->n_spilled_loads += o->n_spilled_loads;
    sum->has_twin |= o->has_twin;
    sum->n_requests += o->n_requests;
    sum->n_failed_requests += o->n_failed_requests;
    sum->n_twin_failed_requests += o->n_twin_failed_requests;
    sum->n_unpaired += o->n_unpaired;
    sum->n_prefixes_evicted += o->n_prefixes_evicted;
    sum->n_prefixes_swapped += o->n_prefixes_swapped;
    sum->n_tokens_again += o->n_tokens_again;
    sum->n_preset_writes += o->n_preset_writes;
    sum->n_failed_writes += o->n_failed_writes;
    sum->n_torn_files += o->n_torn_files;
    sum->n_restarts += o->n_restarts;
    sum->n_expects += o->n_expects;
    sum->n_broken += o->n_broken;
}

static void merge_spreads(struct o3_run *sum, const struct o3_run *o) {
    o3_spread_merge(&sum->delay_seconds, &o->delay_seconds);
    o3_spread_merge(&sum->ttft, &o->ttft);
    o3_spread_merge(&sum->total, &o->total);
    o3_spread_merge(&sum->twin_ttft, &o->twin_ttft);
    o3_spread_merge(&sum->twin_total, &o->twin_total);
    o3_spread_merge(&sum->added_ttft, &o->added_ttft);
    o3_spread_merge(&sum->added_total, &o->added_total);
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void add_size_errors(struct o3_runs *t, const struct o3_run *o) {
    for (int64_t i = 0; i < least(o->n_alarms, O3_RUN_ALARMS_MAX); i++)
        if (o->alarms[i].is_true) o3_spread_add(&t->size_error, fabs(o->alarms[i].ratio - o->alarms[i].true_ratio));
}

static void add_failure(struct o3_runs *t, const struct o3_run *o, int i) {
    size_t at = 0;
    while (at < t->n_failures &&
           (t->failures[at].line != o->failures[i].line || strcmp(t->failures[at].text, o->failures[i].text) != 0))
        at++;
    if (at == REPORT_FAILURES_MAX) return;
    struct report_failure *f = &t->failures[at];
    if (at == t->n_failures) {
        t->n_failures++;
        f->line = o->failures[i].line;
        f->first_seed = o->seed;
        o3_str_copy(f->text, sizeof f->text, o->failures[i].text);
        o3_str_copy(f->found, sizeof f->found, o->failures[i].found);
    }
    f->n_runs++;
}

static int add_row(struct o3_runs *t, const struct o3_run *o) {
    if (t->n == O3_RUNS_MAX) return O3_E_LIMIT;
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 16;
        struct report_row *rows = reallocarray(t->rows, cap, sizeof *rows);
        if (!rows) return O3_E_NOMEM;
        t->rows = rows;
        t->cap = cap;
    }
    t->rows[t->n++] = row_of(o);
    return 0;
}

int o3_runs_add(struct o3_runs *t, const struct o3_run *o) {
    int r = add_row(t, o);
    if (r < 0) return r;
    if (t->n == 1) t->first = *o;
    t->n_bad += !o3_run_is_good(o);
    t->n_told += count_told(o);
    t->n_causes_named += count_causes(o, false);
    t->n_causes_right += count_causes(o, true);
    sum_counts(&t->sum, o);
    merge_spreads(&t->sum, o);
    add_size_errors(t, o);
    for (int i = 0; i < o->n_broken && i < O3_RUN_FAILURES_MAX; i++)
        add_failure(t, o, i);
    return 0;
}
