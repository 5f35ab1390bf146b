/* SPDX-License-Identifier: Apache-2.0 */
/* The facts of a report as lines of words: the one list that the table on the terminal and the page both show. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "o3/text.h"
#include "rehearsal/report.h"

#define SECONDS_PER_DAY 86400.0
#define NUMBER 24 /* bytes of a number in words */

const char *report_group_title(enum report_group g) {
    static const char *const TITLES[REPORT_N_GROUPS] = {"Verdicts", "Cost of probing", "Users", "Presets", "Scenario"};
    return TITLES[g];
}

double report_days(const struct o3_runs *t) {
    return (double)t->sum.simulated_ns / 1e9 / SECONDS_PER_DAY;
}

struct o3_interval report_rate(int64_t count, double exposure) {
    struct o3_interval ci = o3_poisson(count, 0.95);
    ci.lo /= exposure;
    ci.hi /= exposure;
    return ci;
}

struct o3_interval report_share(int64_t k, int64_t n) {
    return o3_wilson((size_t)k, (size_t)n, REPORT_Z95);
}

/* ---- one line ---- */

static struct report_fact *add(struct report_facts *f, enum report_group group, const char *label) {
    struct report_fact *x = &f->v[f->n < REPORT_FACTS_MAX - 1 ? f->n++ : f->n];
    *x = (struct report_fact){.group = group};
    o3_str_copy(x->label, sizeof x->label, label);
    return x;
}

static struct report_fact *add_count(struct report_facts *f, enum report_group group, const char *label, int64_t n) {
    struct report_fact *x = add(f, group, label);
    report_count(x->value, sizeof x->value, n);
    return x;
}

/* Two of them share a column. */
static void count_shortly(char *out, size_t size, int64_t n) {
    char number[12];
    if (n < 10000000) {
        report_count(out, size, n);
        return;
    }
    report_number(number, sizeof number, (double)n / 1e6, 4);
    snprintf(out, size, "%.10s M", number);
}

/* "19 of 20" and Wilson's interval */
static struct report_fact *add_share(struct report_facts *f, enum report_group group, const char *label, int64_t k,
                                     int64_t n) {
    struct report_fact *x = add(f, group, label);
    struct o3_interval ci = report_share(k, n);
    char count[16], of[16], lo[NUMBER], hi[NUMBER];
    count_shortly(count, sizeof count, k);
    count_shortly(of, sizeof of, n);
    snprintf(x->value, sizeof x->value, "%s of %s", count, of);
    report_number(lo, sizeof lo, ci.lo * 100, 2);
    report_number(hi, sizeof hi, ci.hi * 100, 2);
    snprintf(x->detail, sizeof x->detail, "95 %%: %.10s to %.10s %%", lo, hi);
    return x;
}

static void tell_interval(struct report_fact *x, struct o3_interval ci, const char *after) {
    char lo[NUMBER], hi[NUMBER];
    report_number(lo, sizeof lo, ci.lo, 2);
    report_number(hi, sizeof hi, ci.hi, 2);
    snprintf(x->detail, sizeof x->detail, "95 %%: %.10s to %.10s%s", lo, hi, after);
}

/* "1.2 s" with or without the sidecar; the twin's stands in the detail. */
static void add_seconds(struct report_facts *f, const char *label, double with, double without) {
    if (isnan(with)) return;
    struct report_fact *x = add(f, REPORT_USERS, label);
    report_seconds(x->value, sizeof x->value, with, false, 2);
    if (!isnan(without)) report_seconds(x->detail, sizeof x->detail, without, false, 2);
}

static void add_signed(struct report_facts *f, const char *label, double seconds, int digits) {
    if (isnan(seconds)) return;
    struct report_fact *x = add(f, REPORT_USERS, label);
    report_seconds(x->value, sizeof x->value, seconds, true, digits);
}

/* ---- groups ---- */

static void add_changes(struct report_facts *f, const struct o3_runs *t) {
    const struct o3_spread *delay = &t->sum.delay_seconds;
    char number[NUMBER];
    if (t->sum.n_changes) {
        add_share(f, REPORT_VERDICTS, "Changes told", t->n_told, t->sum.n_changes);
        add_count(f, REPORT_VERDICTS, "Changes missed", t->sum.n_changes - t->n_told);
    }
    if (delay->n) {
        struct report_fact *x = add(f, REPORT_VERDICTS, "Detection delay, median");
        report_seconds(x->value, sizeof x->value, o3_spread_quantile(delay, 0.5), false, 2);
        report_seconds(number, sizeof number, o3_spread_quantile(delay, 0.9), false, 2);
        snprintf(x->detail, sizeof x->detail, "p90 %s", number);
    }
    if (t->size_error.n) {
        struct report_fact *x = add(f, REPORT_VERDICTS, "Size error of true alarms");
        report_number(number, sizeof number, o3_spread_quantile(&t->size_error, 0.5) * 100, 2);
        snprintf(x->value, sizeof x->value, "median %.10s points", number);
        report_number(number, sizeof number, o3_spread_quantile(&t->size_error, 0.9) * 100, 2);
        snprintf(x->detail, sizeof x->detail, "p90 %.10s percentage points", number);
    }
}

const struct o3_run_incident *report_incident(const struct o3_run *o, const struct o3_run_alarm *a) {
    for (int64_t i = 0; i < o->n_incidents && i < O3_RUN_INCIDENTS_MAX; i++)
        if (a->incident && o->incidents[i].id == a->incident) return &o->incidents[i];
    return NULL;
}

bool report_is_cause_right(const struct o3_run_incident *i) {
    return !strcmp(i->expected, i->cause);
}

static void add_incidents(struct report_facts *f, const struct o3_runs *t) {
    if (!t->sum.n_incidents) return;
    add_count(f, REPORT_VERDICTS, "Incidents", t->sum.n_incidents);
    if (t->n_causes_named)
        add_share(f, REPORT_VERDICTS, "  told with the named cause", t->n_causes_right, t->n_causes_named);
}

static void add_verdicts(struct report_facts *f, const struct o3_runs *t) {
    double months = report_days(t) / 30;
    if (t->sum.n_probes && months > 0) {
        struct report_fact *x = add_count(f, REPORT_VERDICTS, "False alarms", t->sum.n_false_alarms);
        x = add(f, REPORT_VERDICTS, "  per 30 days");
        report_number(x->value, sizeof x->value, (double)t->sum.n_false_alarms / months, 2);
        tell_interval(x, report_rate(t->sum.n_false_alarms, months), "");
    }
    if (t->sum.n_alarms) add_count(f, REPORT_VERDICTS, "True alarms", t->sum.n_alarms - t->sum.n_false_alarms);
    add_incidents(f, t);
    add_changes(f, t);
}

static void add_reloads(struct report_facts *f, const struct o3_runs *t) {
    struct report_fact *x = add_count(f, REPORT_COST, "Reloads by probes", t->sum.n_induced_reloads);
    x->is_bad = t->sum.n_induced_reloads > 0;
    x = add(f, REPORT_COST, "  per day");
    report_number(x->value, sizeof x->value, (double)t->sum.n_induced_reloads / report_days(t), 2);
    tell_interval(x, report_rate(t->sum.n_induced_reloads, report_days(t)), "");
}

static void add_cost(struct report_facts *f, const struct o3_runs *t) {
    const struct o3_run *s = &t->sum;
    char number[NUMBER];
    struct report_fact *x = add_count(f, REPORT_COST, "Probes", s->n_probes);
    if (s->n_skipped_probes) {
        report_count(number, sizeof number, s->n_skipped_probes);
        snprintf(x->detail, sizeof x->detail, "%s left out", number);
    }
    if (s->n_probes && s->simulated_ns > 0) {
        add_share(f, REPORT_COST, "Probes failed", s->n_failed_probes, s->n_probes);
        x = add(f, REPORT_COST, "Share of time busy by probes");
        report_percent(x->value, sizeof x->value, s->busy_seconds / ((double)s->simulated_ns / 1e9), 2);
        x = add(f, REPORT_COST, "Probe tokens per day");
        report_number(x->value, sizeof x->value, (double)s->n_probe_tokens / report_days(t), 3);
        add_reloads(f, t);
    }
    x = add_count(f, REPORT_COST, "Model loads in all", s->n_loads);
    if (s->n_user_reloads) {
        report_count(number, sizeof number, s->n_user_reloads);
        snprintf(x->detail, sizeof x->detail, "%.12s by users' options", number);
    }
    if (s->has_gpu && s->n_loads) add_share(f, REPORT_COST, "Loads spilled to the CPU", s->n_spilled_loads, s->n_loads);
}

static void add_failures(struct report_facts *f, const struct o3_run *s) {
    struct report_fact *x = add_share(f, REPORT_USERS, "Requests failed", s->n_failed_requests, s->n_requests);
    if (s->has_twin) report_count(x->detail, sizeof x->detail, s->n_twin_failed_requests);
}

static void add_waits(struct report_facts *f, const struct o3_run *s) {
    static const double QUANTILES[] = {0.5, 0.99};
    static const char *const TTFT[] = {"First token after, p50", "First token after, p99"};
    static const char *const TOTAL[] = {"Whole answer after, p50", "Whole answer after, p99"};
    for (int i = 0; i < 2; i++)
        add_seconds(f, TTFT[i], o3_spread_quantile(&s->ttft, QUANTILES[i]),
                    o3_spread_quantile(&s->twin_ttft, QUANTILES[i]));
    for (int i = 0; i < 2; i++)
        add_seconds(f, TOTAL[i], o3_spread_quantile(&s->total, QUANTILES[i]),
                    o3_spread_quantile(&s->twin_total, QUANTILES[i]));
}

static void add_added(struct report_facts *f, const char *const labels[3], const struct o3_spread *added) {
    add_signed(f, labels[0], o3_spread_mean(added), 3);
    add_signed(f, labels[1], o3_spread_quantile(added, 0.5), 2);
    add_signed(f, labels[2], o3_spread_quantile(added, 0.99), 2);
}

static void add_users(struct report_facts *f, const struct o3_run *s) {
    static const char *const ADDED_TTFT[] = {"Added to first token, mean", "Added to first token, p50",
                                             "Added to first token, p99"};
    static const char *const ADDED_TOTAL[] = {"Added to whole answer, mean", "Added to whole answer, p50",
                                              "Added to whole answer, p99"};
    if (!s->n_requests) return;
    add_count(f, REPORT_USERS, "Requests", s->n_requests);
    add_failures(f, s);
    add_waits(f, s);
    if (s->has_twin) {
        add_added(f, ADDED_TTFT, &s->added_ttft);
        add_added(f, ADDED_TOTAL, &s->added_total);
        if (s->n_unpaired) add_count(f, REPORT_USERS, "Requests without a pair", s->n_unpaired);
    }
    add_count(f, REPORT_USERS, "Cached prefixes lost", s->n_prefixes_evicted);
    add_count(f, REPORT_USERS, "Cached prefixes swapped", s->n_prefixes_swapped);
    add_count(f, REPORT_USERS, "Tokens evaluated again", s->n_tokens_again);
}

static void add_presets(struct report_facts *f, const struct o3_run *s) {
    if (s->n_preset_writes || s->n_failed_writes || s->n_torn_files) {
        add_count(f, REPORT_PRESETS, "Preset files written", s->n_preset_writes);
        add_count(f, REPORT_PRESETS, "Writes failed", s->n_failed_writes);
        add_count(f, REPORT_PRESETS, "Torn files", s->n_torn_files)->is_bad = s->n_torn_files > 0;
    }
}

static void add_scenario(struct report_facts *f, const struct o3_runs *t, bool has_wall_times) {
    const struct o3_run *s = &t->sum;
    if (s->n_restarts) add_count(f, REPORT_SCENARIO, "Restarts of the sidecar", s->n_restarts);
    if (s->n_expects) {
        add_share(f, REPORT_SCENARIO, "Expectations met", s->n_expects - s->n_broken, s->n_expects)->detail[0] = '\0';
        add_count(f, REPORT_SCENARIO, "Expectations broken", s->n_broken)->is_bad = s->n_broken > 0;
    }
    if (t->n > 1) add_share(f, REPORT_SCENARIO, "Runs good", (int64_t)(t->n - t->n_bad), (int64_t)t->n);
    if (has_wall_times) {
        struct report_fact *x = add(f, REPORT_SCENARIO, "Time to compute");
        report_seconds(x->value, sizeof x->value, s->wall_seconds, false, 3);
    }
}

void report_facts(const struct o3_runs *t, bool has_wall_times, struct report_facts *ret) {
    *ret = (struct report_facts){0};
    add_verdicts(ret, t);
    add_cost(ret, t);
    add_users(ret, &t->sum);
    add_presets(ret, &t->sum);
    add_scenario(ret, t, has_wall_times);
}

/* ---- headline ---- */

void report_what(const struct o3_runs *t, char *out, size_t size) {
    char time[NUMBER], count[NUMBER];
    report_seconds(time, sizeof time, (double)t->first.simulated_ns / 1e9, false, 3);
    report_count(count, sizeof count, (int64_t)t->n);
    unsigned long long first = t->rows[0].seed, last = t->rows[t->n - 1].seed;
    if (t->n == 1)
        snprintf(out, size, "%s, seed %llu", time, first);
    else
        snprintf(out, size, "%s runs of %s, seeds %llu to %llu", count, time, first, last);
}

static void append(char *out, size_t size, int64_t n, const char *what) {
    size_t at = strlen(out);
    char count[NUMBER];
    if (!n) return;
    report_count(count, sizeof count, n);
    snprintf(out + at, size - at, "%s%s %s", at ? ", " : "", count, what);
}

void report_verdict(const struct o3_runs *t, char *out, size_t size) {
    const struct o3_run *s = &t->sum;
    out[0] = '\0';
    append(out, size, s->n_broken, s->n_broken == 1 ? "broken expectation" : "broken expectations");
    append(out, size, s->n_torn_files, s->n_torn_files == 1 ? "torn file" : "torn files");
    append(out, size, s->n_induced_reloads, s->n_induced_reloads == 1 ? "reload by a probe" : "reloads by probes");
    if (*out) return;
    o3_str_copy(out, size,
                s->n_expects ? "every expectation met, no file torn, no reload by a probe"
                             : "no file torn, no reload by a probe");
}
