/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_TRUTH_H
#define O3_REHEARSAL_TRUTH_H
/* Alarms against the truth. For each model and signal it follows what the world would show without any chance, keeps
 * what that was while the sidecar learned its baseline, and so knows which changes should have been told and whether an
 * alarm is one of a change that there was. Fixed size. */
#include "o3/drift.h"
#include "o3/run.h"
#include "o3/sample.h"
#include "o3/world.h"

enum o3_truth_signal { O3_TRUTH_DECODE_RATE, O3_TRUTH_TTFT, O3_TRUTH_PREFILL_RATE, O3_TRUTH_SIGNALS };
#define O3_TRUTH_RING 128

struct o3_truth_series {
    double log_sum; /* of the expected values at the samples since the epoch began */
    int n;
    double reference; /* their mean once the baseline stands; NaN before */
    int64_t at_ns[O3_TRUTH_RING];
    double log_value[O3_TRUTH_RING];
    int n_ring, next_ring;
};
struct o3_truth_model {
    char name[64];
    double n_prompt; /* of the small probes */
    struct o3_truth_series series[O3_TRUTH_SIGNALS];
    int open_change; /* index into run.changes, -1 none */
    bool is_lost;    /* a change that found no room is open */
};
struct o3_truth {
    const struct o3_world *world;
    double min_effect;
    struct o3_truth_model models[O3_RUN_MODELS_MAX]; /* in step with run.models */
};

void o3_truth_init(struct o3_truth *t, const struct o3_world *w, double min_effect);
/* The index of that model in the run, added when it is new; -1: no room. */
int o3_truth_model(struct o3_truth *t, struct o3_run *run, const char *name);
/* A probe's sample was taken into account by the sidecar. */
void o3_truth_sample(struct o3_truth *t, struct o3_run *run, const struct o3_sample *s);
void o3_truth_baseline(struct o3_truth *t, struct o3_run *run, const char *model, const char *signal);
/* Another setting: what comes is compared with a new baseline. */
void o3_truth_epoch(struct o3_truth *t, struct o3_run *run, const char *model, int64_t now_ns);
void o3_truth_alarm(struct o3_truth *t, struct o3_run *run, const char *model, const char *signal, double ratio,
                    int64_t since_ns, int64_t now_ns);
/* Looks whether a change has begun or ended: call around every edge of the world's events, and now and then. */
void o3_truth_look(struct o3_truth *t, struct o3_run *run, int64_t now_ns);

#endif
