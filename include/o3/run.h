/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_RUN_H
#define O3_RUN_H
/* What a rehearsal came to: the truth of the simulated world against what the sidecar did and said. One record a run
 * (one seed); records of several seeds are reported together with intervals. Of fixed size: it can be sent from a
 * worker process as bytes. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/scenario.h"
#include "o3/spread.h"

#define O3_RUN_ALARMS_MAX 128
#define O3_RUN_CHANGES_MAX 32
#define O3_RUN_INCIDENTS_MAX 64
#define O3_RUN_FAILURES_MAX 8
#define O3_RUN_MODELS_MAX 8
#define O3_RUN_POINTS_MAX 720

/* A confirmed change. */
struct o3_run_alarm {
    int64_t at_ns, since_ns; /* told; the change time it estimates */
    int model;               /* index into models; -1 none */
    char signal[16];
    double ratio;      /* as told: level / reference - 1 */
    double true_ratio; /* of the signal without chance: at the alarm against the baseline's time */
    bool is_true;
    int64_t incident; /* that it is part of; 0 none */
};
/* Alarms that are one incident, as told last. */
struct o3_run_incident {
    int64_t id;
    int64_t opened_ns, closed_ns; /* INT64_MAX: open at the end */
    char cause[24], evidence[160];
    double weight;     /* of the cause, 0..1 */
    char expected[24]; /* cause that the scenario names: of its next expectation of one; "" none */
};
/* A change of the world that the sidecar should tell: at least drift.min_effect in a signal of a loaded model. */
struct o3_run_change {
    int64_t at_ns, until_ns;
    int model;
    char signal[16];
    double ratio;
    int64_t told_ns; /* INT64_MAX: missed */
};
/* A series for the plots, thinned to at most O3_RUN_POINTS_MAX means over equal times. */
struct o3_run_series {
    int64_t step_ns; /* width of one point */
    int n;
    float value[O3_RUN_POINTS_MAX]; /* NaN: nothing in it */
};
struct o3_run_model {
    char name[64];
    int64_t n_probes, n_failed;
    struct o3_run_series decode_rate, ttft_seconds;
};
struct o3_run {
    uint64_t seed;
    int64_t simulated_ns;
    double wall_seconds; /* that the run took; not part of what must repeat */
    struct o3_run_model models[O3_RUN_MODELS_MAX];
    int n_models;
    /* verdicts */
    struct o3_run_alarm alarms[O3_RUN_ALARMS_MAX];
    int64_t n_alarms, n_false_alarms; /* counted beyond the array, too */
    struct o3_run_change changes[O3_RUN_CHANGES_MAX];
    int n_changes;
    struct o3_run_incident incidents[O3_RUN_INCIDENTS_MAX];
    int64_t n_incidents;            /* counted beyond the array, too */
    struct o3_spread delay_seconds; /* from the change to the alarm, of those told */
    /* cost */
    int64_t n_probes, n_failed_probes, n_skipped_probes, n_probe_tokens;
    double busy_seconds;
    int64_t n_induced_reloads, n_loads, n_user_reloads;
    bool has_gpu;
    int64_t n_spilled_loads; /* that did not get all of the GPU they wanted; only with a GPU */
    /* users; in seconds. added: with the sidecar minus without, of the same request; only with a twin world */
    bool has_twin;
    int64_t n_requests, n_failed_requests, n_twin_failed_requests, n_unpaired;
    struct o3_spread ttft, total, twin_ttft, twin_total, added_ttft, added_total;
    int64_t n_prefixes_evicted, n_prefixes_swapped, n_tokens_again;
    /* presets */
    int64_t n_preset_writes, n_failed_writes;
    int64_t n_torn_files; /* a reader could have seen neither the whole old nor the whole new file */
    int64_t n_restarts;   /* of the sidecar */
    /* expectations of the scenario */
    int n_expects, n_broken;
    struct {
        uint32_t line;
        char text[200], found[160];
    } failures[O3_RUN_FAILURES_MAX];
};

/* An empty record. */
void o3_run_init(struct o3_run *o);
/* A run is good when no expectation is broken, no file was torn and no probe reloaded a model. */
bool o3_run_is_good(const struct o3_run *o);

/* Many runs, added one after the other in the order of their seeds and not kept: sums and spreads of all, a row of
 * each, and the first one whole (its alarms, changes and series). A good part of a megabyte, and 300 bytes a run. */
#define O3_RUNS_MAX 10000
struct o3_runs;
struct o3_runs *o3_runs_new(const char *scenario_name); /* NULL on no memory */
void o3_runs_free(struct o3_runs *t);
O3_MUST_CHECK int o3_runs_add(struct o3_runs *t, const struct o3_run *o); /* O3_E_NOMEM, O3_E_LIMIT */
size_t o3_runs_count(const struct o3_runs *t);
size_t o3_runs_count_bad(const struct o3_runs *t); /* those that are not good */
/* Reports of at least one run; the fields are described in src/rehearsal/REPORT.md. What was not exercised is absent.
 * wall times are left out unless asked for, so that the same seeds give the same bytes. 0 or the buffer's error. */
int o3_runs_text(const struct o3_runs *t, bool has_wall_times, struct o3_buf *out); /* 80 columns */
int o3_runs_json(const struct o3_runs *t, bool has_wall_times, struct o3_buf *out); /* one object and a newline */
int o3_runs_html(const struct o3_runs *t, bool has_wall_times, struct o3_buf *out); /* self-contained, with plots */

#endif
