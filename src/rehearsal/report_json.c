/* SPDX-License-Identifier: Apache-2.0 */
/* The report for programs; the fields are described in REPORT.md. A number that is not known is left out. */
#include <math.h>
#include <string.h>
#include "rehearsal/report.h"

/* ---- writing: the comma is set by what stands before ---- */

static void put_comma(struct o3_buf *out) {
    char last = out->len ? out->p[out->len - 1] : '{';
    if (!strchr("{[:", last)) o3_buf_adds(out, ",");
}

static void put_key(struct o3_buf *out, const char *key) {
    put_comma(out);
    if (key) o3_buf_addf(out, "\"%s\":", key);
}

static void open_object(struct o3_buf *out, const char *key) {
    put_key(out, key);
    o3_buf_adds(out, "{");
}

static void open_array(struct o3_buf *out, const char *key) {
    put_key(out, key);
    o3_buf_adds(out, "[");
}

static void put_int(struct o3_buf *out, const char *key, int64_t v) {
    put_key(out, key);
    o3_buf_addf(out, "%lld", (long long)v);
}

static void put_seed(struct o3_buf *out, const char *key, uint64_t seed) {
    put_key(out, key);
    o3_buf_addf(out, "%llu", (unsigned long long)seed);
}

static void put_bool(struct o3_buf *out, const char *key, bool v) {
    put_key(out, key);
    o3_buf_adds(out, v ? "true" : "false");
}

static void put_text(struct o3_buf *out, const char *key, const char *v) {
    put_key(out, key);
    o3_buf_add_quoted(out, v);
}

static void put_number(struct o3_buf *out, const char *key, double v) {
    if (!isfinite(v)) return;
    put_key(out, key);
    o3_buf_add_double(out, v);
}

static void put_time(struct o3_buf *out, const char *key, int64_t ns) {
    if (ns != INT64_MAX) put_number(out, key, (double)ns / 1e9);
}

static void put_interval(struct o3_buf *out, struct o3_interval ci) {
    put_number(out, "lo95", ci.lo);
    put_number(out, "hi95", ci.hi);
}

static void put_share(struct o3_buf *out, const char *key, int64_t k, int64_t n) {
    open_object(out, key);
    put_int(out, "count", k);
    if (n) {
        put_number(out, "ratio", (double)k / (double)n);
        put_interval(out, report_share(k, n));
    }
    o3_buf_adds(out, "}");
}

static void put_rate(struct o3_buf *out, const char *key, const char *rate, int64_t count, double exposure) {
    open_object(out, key);
    put_int(out, "count", count);
    if (exposure > 0) {
        put_number(out, rate, (double)count / exposure);
        put_interval(out, report_rate(count, exposure));
    }
    o3_buf_adds(out, "}");
}

static void put_spread(struct o3_buf *out, const char *key, const struct o3_spread *s) {
    if (!s->n) return;
    open_object(out, key);
    put_int(out, "count", s->n);
    put_number(out, "mean", o3_spread_mean(s));
    put_number(out, "min", s->min);
    put_number(out, "p50", o3_spread_quantile(s, 0.5));
    put_number(out, "p90", o3_spread_quantile(s, 0.9));
    put_number(out, "p99", o3_spread_quantile(s, 0.99));
    put_number(out, "max", s->max);
    o3_buf_adds(out, "}");
}

/* ---- all runs together ---- */

static void put_verdicts(const struct o3_runs *t, struct o3_buf *out) {
    const struct o3_run *s = &t->sum;
    if (s->n_probes) {
        put_rate(out, "false_alarms", "per_30_days", s->n_false_alarms, report_days(t) / 30);
        put_int(out, "true_alarms", s->n_alarms - s->n_false_alarms);
    }
    if (s->n_incidents) put_int(out, "incidents", s->n_incidents);
    if (t->n_causes_named) put_share(out, "causes_right", t->n_causes_right, t->n_causes_named);
    if (s->n_changes) {
        put_int(out, "changes", s->n_changes);
        put_share(out, "changes_told", t->n_told, s->n_changes);
        put_share(out, "changes_missed", s->n_changes - t->n_told, s->n_changes);
    }
    put_spread(out, "detection_delay_seconds", &s->delay_seconds);
    put_spread(out, "size_error_ratio", &t->size_error);
}

static void put_cost(const struct o3_runs *t, struct o3_buf *out) {
    const struct o3_run *s = &t->sum;
    put_int(out, "probes", s->n_probes);
    put_int(out, "skipped_probes", s->n_skipped_probes);
    if (s->n_probes) {
        put_share(out, "failed_probes", s->n_failed_probes, s->n_probes);
        put_int(out, "probe_tokens", s->n_probe_tokens);
        put_number(out, "probe_tokens_per_day", (double)s->n_probe_tokens / report_days(t));
        put_number(out, "busy_seconds", s->busy_seconds);
        put_number(out, "busy_ratio", s->busy_seconds / ((double)s->simulated_ns / 1e9));
        put_rate(out, "induced_reloads", "per_day", s->n_induced_reloads, report_days(t));
    }
    put_int(out, "model_loads", s->n_loads);
    put_int(out, "user_reloads", s->n_user_reloads);
    if (s->has_gpu) put_share(out, "spilled_loads", s->n_spilled_loads, s->n_loads);
}

static void put_users(const struct o3_run *s, struct o3_buf *out) {
    if (!s->n_requests) return;
    open_object(out, "users");
    put_int(out, "requests", s->n_requests);
    put_share(out, "failed", s->n_failed_requests, s->n_requests);
    put_spread(out, "ttft_seconds", &s->ttft);
    put_spread(out, "total_seconds", &s->total);
    put_int(out, "prefixes_evicted", s->n_prefixes_evicted);
    put_int(out, "prefixes_swapped", s->n_prefixes_swapped);
    put_int(out, "tokens_evaluated_again", s->n_tokens_again);
    if (s->has_twin) {
        open_object(out, "without_sidecar");
        put_int(out, "failed", s->n_twin_failed_requests);
        put_spread(out, "ttft_seconds", &s->twin_ttft);
        put_spread(out, "total_seconds", &s->twin_total);
        o3_buf_adds(out, "}");
        put_spread(out, "added_ttft_seconds", &s->added_ttft);
        put_spread(out, "added_total_seconds", &s->added_total);
        put_int(out, "unpaired_requests", s->n_unpaired);
    }
    o3_buf_adds(out, "}");
}

static void put_summary(const struct o3_runs *t, bool has_wall_times, struct o3_buf *out) {
    const struct o3_run *s = &t->sum;
    open_object(out, "summary");
    put_time(out, "simulated_seconds", s->simulated_ns);
    if (has_wall_times) put_number(out, "wall_seconds", s->wall_seconds);
    put_share(out, "good_runs", (int64_t)(t->n - t->n_bad), (int64_t)t->n);
    put_verdicts(t, out);
    put_cost(t, out);
    put_users(s, out);
    if (s->n_preset_writes || s->n_failed_writes || s->n_torn_files) {
        open_object(out, "presets");
        put_int(out, "writes", s->n_preset_writes);
        put_int(out, "failed_writes", s->n_failed_writes);
        put_int(out, "torn_files", s->n_torn_files);
        o3_buf_adds(out, "}");
    }
    if (s->n_restarts) put_int(out, "restarts", s->n_restarts);
    if (s->n_expects) {
        open_object(out, "expectations");
        put_int(out, "count", s->n_expects);
        put_int(out, "met", s->n_expects - s->n_broken);
        put_int(out, "broken", s->n_broken);
        o3_buf_adds(out, "}");
    }
    o3_buf_adds(out, "}");
}

static void put_failures(const struct o3_runs *t, struct o3_buf *out) {
    if (!t->sum.n_expects) return;
    open_array(out, "broken_expectations");
    for (size_t i = 0; i < t->n_failures; i++) {
        const struct report_failure *f = &t->failures[i];
        open_object(out, NULL);
        put_int(out, "line", f->line);
        put_text(out, "text", f->text);
        put_text(out, "found", f->found);
        put_int(out, "runs", f->n_runs);
        put_seed(out, "first_seed", f->first_seed);
        o3_buf_adds(out, "}");
    }
    o3_buf_adds(out, "]");
}

/* ---- each run ---- */

static void put_row_users(const struct report_row *r, struct o3_buf *out) {
    if (!r->n_requests) return;
    put_int(out, "requests", r->n_requests);
    put_int(out, "failed_requests", r->n_failed_requests);
    put_int(out, "prefixes_evicted", r->n_prefixes_evicted);
    put_int(out, "tokens_evaluated_again", r->n_tokens_again);
    if (!r->has_twin) return;
    put_int(out, "failed_requests_without_sidecar", r->n_twin_failed_requests);
    put_number(out, "added_ttft_mean_seconds", r->added_ttft_mean);
    put_number(out, "added_ttft_p50_seconds", r->added_ttft_p50);
    put_number(out, "added_ttft_p99_seconds", r->added_ttft_p99);
    put_number(out, "added_total_mean_seconds", r->added_total_mean);
    put_number(out, "added_total_p50_seconds", r->added_total_p50);
    put_number(out, "added_total_p99_seconds", r->added_total_p99);
}

static void put_row(const struct report_row *r, bool has_wall_times, struct o3_buf *out) {
    open_object(out, NULL);
    put_seed(out, "seed", r->seed);
    put_bool(out, "is_good", r->is_good);
    put_time(out, "simulated_seconds", r->simulated_ns);
    if (has_wall_times) put_number(out, "wall_seconds", r->wall_seconds);
    put_int(out, "probes", r->n_probes);
    if (r->n_probes) {
        put_int(out, "false_alarms", r->n_false_alarms);
        put_int(out, "true_alarms", r->n_alarms - r->n_false_alarms);
        put_int(out, "failed_probes", r->n_failed_probes);
        put_int(out, "probe_tokens", r->n_probe_tokens);
        put_number(out, "busy_seconds", r->busy_seconds);
        put_int(out, "induced_reloads", r->n_induced_reloads);
    }
    if (r->n_incidents) put_int(out, "incidents", r->n_incidents);
    if (r->n_causes_named) {
        put_int(out, "causes_named", r->n_causes_named);
        put_int(out, "causes_right", r->n_causes_right);
    }
    if (r->has_gpu) put_int(out, "spilled_loads", r->n_spilled_loads);
    if (r->n_changes) {
        put_int(out, "changes", r->n_changes);
        put_int(out, "changes_told", r->n_told);
        put_number(out, "detection_delay_p50_seconds", r->delay_median);
    }
    put_row_users(r, out);
    if (r->n_preset_writes || r->n_failed_writes || r->n_torn_files) {
        put_int(out, "preset_writes", r->n_preset_writes);
        put_int(out, "failed_preset_writes", r->n_failed_writes);
        put_int(out, "torn_files", r->n_torn_files);
    }
    if (r->n_restarts) put_int(out, "restarts", r->n_restarts);
    if (r->n_expects) {
        put_int(out, "expectations", r->n_expects);
        put_int(out, "broken_expectations", r->n_broken);
    }
    o3_buf_adds(out, "}");
}

static void put_model_of(const struct o3_run *o, int model, struct o3_buf *out) {
    if (model >= 0 && model < o->n_models) put_text(out, "model", o->models[model].name);
}

static void put_lists(const struct o3_run *o, struct o3_buf *out) {
    open_array(out, "changes");
    for (int i = 0; i < o->n_changes; i++) {
        const struct o3_run_change *c = &o->changes[i];
        open_object(out, NULL);
        put_time(out, "at_seconds", c->at_ns);
        put_time(out, "until_seconds", c->until_ns);
        put_model_of(o, c->model, out);
        put_text(out, "signal", c->signal);
        put_number(out, "change_ratio", c->ratio);
        put_time(out, "told_at_seconds", c->told_ns);
        o3_buf_adds(out, "}");
    }
    o3_buf_adds(out, "]");
    open_array(out, "alarms");
    for (int i = 0; i < o->n_alarms && i < O3_RUN_ALARMS_MAX; i++) {
        const struct o3_run_alarm *a = &o->alarms[i];
        open_object(out, NULL);
        put_time(out, "at_seconds", a->at_ns);
        put_time(out, "since_seconds", a->since_ns);
        put_model_of(o, a->model, out);
        put_text(out, "signal", a->signal);
        put_number(out, "change_ratio", a->ratio);
        put_number(out, "true_change_ratio", a->true_ratio);
        put_bool(out, "is_true", a->is_true);
        if (a->incident) put_int(out, "incident", a->incident);
        o3_buf_adds(out, "}");
    }
    o3_buf_adds(out, "]");
}

static void put_incidents(const struct o3_run *o, struct o3_buf *out) {
    open_array(out, "incidents");
    for (int64_t i = 0; i < o->n_incidents && i < O3_RUN_INCIDENTS_MAX; i++) {
        const struct o3_run_incident *x = &o->incidents[i];
        open_object(out, NULL);
        put_int(out, "id", x->id);
        put_time(out, "opened_seconds", x->opened_ns);
        put_time(out, "closed_seconds", x->closed_ns);
        put_text(out, "cause", x->cause);
        put_number(out, "weight", x->weight);
        put_text(out, "evidence", x->evidence);
        if (x->expected[0]) put_text(out, "expected_cause", x->expected);
        o3_buf_adds(out, "}");
    }
    o3_buf_adds(out, "]");
}

static void put_first_run(const struct o3_run *o, struct o3_buf *out) {
    open_object(out, "first_run");
    put_seed(out, "seed", o->seed);
    open_array(out, "models");
    for (int i = 0; i < o->n_models; i++) {
        open_object(out, NULL);
        put_text(out, "model", o->models[i].name);
        put_int(out, "probes", o->models[i].n_probes);
        put_int(out, "failed_probes", o->models[i].n_failed);
        o3_buf_adds(out, "}");
    }
    o3_buf_adds(out, "]");
    put_lists(o, out);
    put_incidents(o, out);
    o3_buf_adds(out, "}");
}

static void put_failing_seeds(const struct o3_runs *t, struct o3_buf *out) {
    open_array(out, "failing_seeds");
    for (size_t i = 0; i < t->n; i++)
        if (!t->rows[i].is_good) put_seed(out, NULL, t->rows[i].seed);
    o3_buf_adds(out, "]");
}

int o3_runs_json(const struct o3_runs *t, bool has_wall_times, struct o3_buf *out) {
    char verdict[200];
    O3_ASSERT(t->n >= 1);
    report_verdict(t, verdict, sizeof verdict);
    o3_buf_adds(out, "{");
    put_int(out, "format_version", 1);
    put_text(out, "scenario", t->scenario_name);
    put_bool(out, "is_good", !t->n_bad);
    put_text(out, "verdict", verdict);
    put_failing_seeds(t, out);
    put_summary(t, has_wall_times, out);
    put_failures(t, out);
    open_array(out, "runs");
    for (size_t i = 0; i < t->n; i++)
        put_row(&t->rows[i], has_wall_times, out);
    o3_buf_adds(out, "]");
    put_first_run(&t->first, out);
    o3_buf_adds(out, "}\n");
    return out->err;
}
