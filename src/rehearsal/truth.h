/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_TRUTH_H
#define O3_REHEARSAL_TRUTH_H
/* Alarms against the truth. For each model and signal it follows what the world would show without any chance, keeps
 * what that was while the sidecar learned its baseline, and so knows which changes should have been told and whether an
 * alarm is one of a change that there was. A setting that returns is compared with its own baseline again, as the
 * sidecar does. Fixed size. */
#include "o3/drift.h"
#include "o3/run.h"
#include "o3/sample.h"
#include "o3/signal.h"
#include "o3/world.h"

/* The first are known of the world; the others are read exactly, and a sample that shows them is the truth. Alarms of
 * further signals (load_time, success) are not judged. */
enum o3_truth_signal {
    O3_TRUTH_DECODE_RATE,
    O3_TRUTH_TTFT,
    O3_TRUTH_PREFILL_RATE,
    O3_TRUTH_EXPECTED, /* how many */
    O3_TRUTH_MEMORY = O3_TRUTH_EXPECTED,
    O3_TRUTH_GPU_RATIO, /* this and the next are judged across settings */
    O3_TRUTH_CONTEXT,
    O3_TRUTH_SIGNALS
};
#define O3_TRUTH_RING 256
#define O3_TRUTH_SETTINGS 4 /* of a model, that are remembered */

struct o3_truth_series {
    double reference; /* mean of the expected values that the baseline was learned from; NaN before it stands */
    int64_t at_ns[O3_TRUTH_RING];
    double log_value[O3_TRUTH_RING]; /* expected, at the samples */
    int n_ring, next_ring;
};
struct o3_truth_setting {
    uint64_t key; /* of o3_world_setting; 0 free */
    int64_t used_ns;
    struct o3_truth_series series[O3_TRUTH_SIGNALS];
};
struct o3_truth_model {
    char name[64];
    double n_prompt; /* of the small probes */
    struct o3_truth_setting settings[O3_TRUTH_SETTINGS];
    struct o3_truth_series across[O3_TRUTH_SIGNALS]; /* of the signals that are judged so */
    struct o3_truth_setting *now;                    /* in force, or until the model was unloaded */
    int open_change;                                 /* index into run.changes, -1 none */
    bool is_lost;                                    /* a change that found no room is open */
};
struct o3_truth {
    const struct o3_world *world;
    double min_effect;
    int n_baseline;                                  /* samples that a baseline is learned from */
    struct o3_truth_model models[O3_RUN_MODELS_MAX]; /* in step with run.models */
};

/* The name of a signal as the sidecar tells it; -1: another one. */
int o3_truth_signal_of(const char *name);
void o3_truth_init(struct o3_truth *t, const struct o3_world *w, double min_effect, int n_baseline);
/* The index of that model in the run, added when it is new; -1: no room. */
int o3_truth_model(struct o3_truth *t, struct o3_run *run, const char *name);
/* What the list of loaded models showed with this sample. */
void o3_truth_exact(struct o3_truth *t, struct o3_run *run, const struct o3_sample *s);
/* A probe's sample was taken into account by the sidecar. */
void o3_truth_sample(struct o3_truth *t, struct o3_run *run, const struct o3_sample *s);
void o3_truth_baseline(struct o3_truth *t, struct o3_run *run, const char *model, const char *signal, int64_t now_ns);
void o3_truth_alarm(struct o3_truth *t, struct o3_run *run, const char *model, const char *signal, double ratio,
                    int64_t since_ns, int64_t now_ns);
/* Looks whether a change has begun or ended: call around every edge of the world's events, and now and then. */
void o3_truth_look(struct o3_truth *t, struct o3_run *run, int64_t now_ns);

#endif
