/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_REPORT_H
#define O3_REHEARSAL_REPORT_H
/* What the three forms of the report share: the sums, the facts as words, and numbers for people. */
#include "o3/run.h"
#include "o3/stat.h"

#define REPORT_Z95 1.959963984540054 /* two-sided 95 % of a normal */
#define REPORT_FAILURES_MAX 64       /* different broken expectations that are kept */
#define REPORT_FACTS_MAX 64

/* One run without its series and spreads. */
struct report_row {
    uint64_t seed;
    int64_t simulated_ns;
    double wall_seconds;
    bool is_good, has_twin, has_gpu;
    int64_t n_alarms, n_false_alarms, n_incidents, n_causes_named, n_causes_right, n_changes, n_told;
    double delay_median, busy_seconds;
    int64_t n_probes, n_failed_probes, n_probe_tokens, n_induced_reloads, n_spilled_loads;
    int64_t n_requests, n_failed_requests, n_twin_failed_requests, n_prefixes_evicted, n_tokens_again;
    double added_ttft_mean, added_ttft_p50, added_ttft_p99; /* NaN: none */
    double added_total_mean, added_total_p50, added_total_p99;
    int64_t n_preset_writes, n_failed_writes, n_torn_files, n_restarts;
    int n_expects, n_broken;
};
struct report_failure {
    uint32_t line;
    char text[200], found[160]; /* found: in the first of the runs */
    int64_t n_runs;
    uint64_t first_seed;
};
struct o3_runs {
    char scenario_name[128];
    struct report_row *rows;
    size_t n, cap, n_bad;
    struct o3_run first;
    struct o3_run sum; /* counters, times and spreads of all; no lists, no series */
    int64_t n_told;
    int64_t n_causes_named, n_causes_right; /* incidents whose cause the scenario names; of them, told with it first */
    struct o3_spread size_error;            /* of true alarms: |told - true| of the change ratio */
    struct report_failure failures[REPORT_FAILURES_MAX];
    size_t n_failures;
};

/* A line of the table. value and detail are plain text in UTF-8; an empty detail is none. */
enum report_group { REPORT_VERDICTS, REPORT_COST, REPORT_USERS, REPORT_PRESETS, REPORT_SCENARIO, REPORT_N_GROUPS };
struct report_fact {
    enum report_group group;
    char label[32], value[40], detail[40];
    bool is_bad;
};
struct report_facts {
    struct report_fact v[REPORT_FACTS_MAX];
    size_t n;
};
/* Only what exists and was exercised. */
void report_facts(const struct o3_runs *t, bool has_wall_times, struct report_facts *ret);
const char *report_group_title(enum report_group g);

/* ---- numbers for people: no exponent, a unit, as many digits as the value deserves ---- */
void report_number(char *out, size_t size, double v, int digits);                 /* "1,234", "0.05" */
void report_count(char *out, size_t size, int64_t n);                             /* "43,200" */
void report_seconds(char *out, size_t size, double s, bool has_sign, int digits); /* "1.2 s", "+14 ms" */
void report_percent(char *out, size_t size, double ratio, int digits);
void report_change(char *out, size_t size, double ratio); /* "-12.3 %" */
void report_time(char *out, size_t size, int64_t ns);     /* "12d 03:14:15" */
/* ---- parts of a headline ---- */
void report_what(const struct o3_runs *t, char *out, size_t size);    /* "20 runs of 30 d, seeds 1 to 20" */
void report_verdict(const struct o3_runs *t, char *out, size_t size); /* why it is good, or not */
double report_days(const struct o3_runs *t);
struct o3_interval report_rate(int64_t count, double exposure); /* Poisson at 95 %, per unit of exposure */
/* The incident of an alarm; NULL: none that is kept. */
const struct o3_run_incident *report_incident(const struct o3_run *o, const struct o3_run_alarm *a);
bool report_is_cause_right(const struct o3_run_incident *i);
struct o3_interval report_share(int64_t k, int64_t n); /* Wilson at 95 % */

#endif
