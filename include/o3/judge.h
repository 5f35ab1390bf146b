/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_JUDGE_H
#define O3_JUDGE_H
/* From samples to verdicts: which series a sample feeds, what the detectors say, which verdicts are one incident and
 * probably why, and what a new epoch did to the level. Verdicts are a function of the parameters and the sequence of
 * samples alone, so that `o3 replay` of a log gives what was given live. Pure; owns all detectors; bounded by
 * `max_models`. One thread.
 *
 * Series: model x signal x stratum. decode_rate, prefill_rate, ttft, load_time and memory belong to an epoch:
 * digest, server version, num_ctx, num_batch, parallel, GPU and driver. gpu_ratio and context are judged across epochs
 * of one digest, because a GPU that is lost changes the automatic context and so the epoch; success across
 * all of a model's name, because no update and no setting is an excuse for failing. Entering an epoch that has
 * no baseline yet starts one; once it stands, it is compared with the epoch before (release). Going back to a known
 * epoch takes its baseline up again.
 *
 * Throttling: a machine that slowed itself down now and then while its idle baseline was learned (a third of n0
 * samples, less than half of all) has two usual speeds, and throttled samples have a stratum of their own. On any other
 * one they are like the rest: a machine that begins to slow itself down has changed, for good or now and then, and one
 * that always does so knows no other speed.
 *
 * A sample of outcome OK feeds the signals it can; failures feed success only; LOOK feeds memory, gpu_ratio, context.
 * Nothing but a sample is evidence: pauses are no sign of health.
 *
 * A context that was in force before, in a setting that is remembered, is no news when it comes back.
 *
 * Strata apply to decode_rate, prefill_rate and ttft; everything else is judged under `idle` whatever went on. Samples
 * of warm-up, tainted, incomplete or implausible ones never reach a rate; a load is measured in the warm-up all the
 * same. memory, gpu_ratio and context are read exactly, and a load is rare: their baselines need 10 samples at most.
 *
 * False-alarm budget: one false alarm (CONFIRMED that is none) per budget_ms for all series together. A series created
 * when n_models share the budget gets ARL0 = n_models x O3_SIGNAL_COUNT x budget_ms / interval_ms samples, with the
 * interval at which this signal is measured; where it is rarer than said (loads), there are fewer false alarms. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/cause.h"
#include "o3/drift.h"
#include "o3/err.h"
#include "o3/sample.h"
#include "o3/signal.h"

struct o3_judge_params {
    double min_effect;
    double budget_ms; /* mean time between false alarms of the whole sidecar */
    int confirm_samples, n0;
    enum o3_drift_detector detector;
    bool has_season;
    int max_models;              /* beyond it the one without samples for longest is saved and given up */
    int64_t prefill_interval_ms; /* between two prefill samples; 0: as the others */
};

struct o3_verdict {
    char model[O3_MODEL_NAME_SIZE];
    enum o3_signal signal;
    enum o3_stratum stratum;
    struct o3_drift_report report; /* event, level, change, when */
    double budget_ms;              /* one false alarm is expected in this time */
};

/* Confirmed changes whose change times agree: within 3 intervals, or with overlapping intervals. A fall that goes on is
 * noticed in one signal hours after the other: while the speed of the model of an open incident goes on changing, what
 * changes for the worse as its members did (or as they for the better) joins it. A change that grows by half, and by
 * the minimum effect at least, is told as CHANGED; when it does so in a step, what changes with that joins, and the
 * causes are those of the step. A member that is confirmed again soon after it was over stands again. */
#define O3_INCIDENT_MEMBERS_MAX 16
#define O3_INCIDENT_UNSEEN_MS (7 * INT64_C(86400000)) /* by the clock of the samples */
enum o3_member_end {
    O3_MEMBER_STANDS,
    O3_MEMBER_RECOVERED,
    O3_MEMBER_ACKNOWLEDGED,
    O3_MEMBER_LEFT,  /* another setting runs since confirm_samples samples; that heals nothing, and the member stands
                      * again when its setting is back */
    O3_MEMBER_UNSEEN /* other models were measured for O3_INCIDENT_UNSEEN_MS, this one was not: it may be gone. It
                      * stands again when it is back as it was */
};
struct o3_incident_member {
    struct o3_verdict verdict; /* the newest of the series that confirmed a change */
    bool is_over;              /* end is not STANDS */
    enum o3_member_end end;
    int64_t setting;  /* number of the epoch, or of the digest, among those of the model; 0: not known any more */
    int64_t seen_ms;  /* newest sample of the model while it stands */
    bool is_unproven; /* what was known of its series was lost, and the stored samples do not reach back to the change:
                       * it stands until a person accepts the level, or the setting is left */
};
enum o3_incident_change { O3_INCIDENT_OPENED, O3_INCIDENT_CHANGED, O3_INCIDENT_CLOSED };
struct o3_incident {
    int64_t id; /* 1, 2, ... of this sidecar */
    bool is_open;
    int64_t opened_wall_ms, closed_wall_ms;     /* 0 while open */
    int64_t since_ms, since_lo_ms, since_hi_ms; /* change time with its interval, of the member with the sharpest */
    int64_t grown_ms;                           /* when a further step made it clearly larger, the last time; 0 never */
    int n_members;
    int n_left_out; /* members beyond the limit */
    struct o3_incident_member member[O3_INCIDENT_MEMBERS_MAX];
    int n_causes; /* as they were while it was open: the end of a change is no evidence of its cause */
    struct o3_cause_found cause[O3_CAUSES_MAX];
    char text[640]; /* what changed, since when, by how much, how sure, probably why */
};

/* The level before and after a change of epoch; one for each signal that both have. Kinds, by `reason`: a closed set.
 */
#define O3_RELEASE_REASONS 6
const char *o3_release_reason(int kind);
struct o3_release;
/* num_ctx, num_batch or parallel: what somebody chose. */
bool o3_release_is_setting(const struct o3_release *r);
struct o3_release {
    char model[O3_MODEL_NAME_SIZE];
    enum o3_signal signal;
    const char *reason;    /* digest, server_version, num_ctx, num_batch, parallel, gpu; the first that differs */
    char from[96], to[96]; /* of that reason, for people */
    char reasons[320];     /* all that differ, with their values: "digest a15ecc to ca3bb4 and num_ctx 4096 to 8192" */
    int64_t wall_ms;       /* when the new epoch was entered */
    double before, after;  /* in the signal's unit */
    double change_ratio, change_lo, change_hi; /* 95 % */
    int64_t n_before, n_after;
    double drifted; /* before, at the end: a confirmed change away from `before`, the reference; NaN else */
    bool is_ours;   /* we changed the setting (tuning) */
};

/* None may change the judge; its views may be asked. */
struct o3_judge_ops {
    void *ctx;                                              /* any of these may be NULL */
    void (*verdict)(void *ctx, const struct o3_verdict *v); /* every event but NONE */
    void (*incident)(void *ctx, const struct o3_incident *i, enum o3_incident_change change);
    void (*release)(void *ctx, const struct o3_release *r);
    /* A new epoch was entered; reason as in o3_release. */
    void (*epoch)(void *ctx, const char *model, const char *reason);
    void (*acknowledged)(void *ctx, const char *model, enum o3_signal signal, double level);
    /* Small named states, their names begin with "judge/". take: false when there is none; it is then owned by the
     * judge and may be dropped there. */
    void (*save)(void *ctx, const char *key, const char *value, size_t n); /* n = 0 deletes */
    bool (*take)(void *ctx, const char *key, struct o3_buf *ret);
    /* As save, of what leaves the judge's memory and is taken again later by the same judge. NULL: save is enough. */
    void (*keep)(void *ctx, const char *key, const char *value, size_t n);
    /* A saved state that does not fit was left out, and nothing replaces it. */
    void (*lost)(void *ctx, const char *model, const char *reason);
};

struct o3_judge;
O3_MUST_CHECK int o3_judge_new(const struct o3_judge_params *p, const struct o3_judge_ops *ops, struct o3_judge **ret,
                               struct o3_err *e);
void o3_judge_free(struct o3_judge *j);
/* Takes up the saved incidents, as new does, where there was nothing to take up yet when the judge was made. */
void o3_judge_resume(struct o3_judge *j);
/* Takes effect on what exists where that is possible (min_effect, confirm_samples); the rest on new series. */
void o3_judge_configure(struct o3_judge *j, const struct o3_judge_params *p);
/* Feeds one sample; calls ops for what follows from it, in a fixed order: epoch, acknowledged, verdicts, releases,
 * incidents. */
void o3_judge_add(struct o3_judge *j, const struct o3_sample *s);
/* A sample that is not to be judged: it is passed over after a restart, too. */
void o3_judge_pass(struct o3_judge *j, const struct o3_sample *s);
/* Takes up what was saved of a model before its first sample, so that the views tell of it: of the epoch it had last.
 */
void o3_judge_expect(struct o3_judge *j, const char *model);

/* A process that was killed, or a state that does not fit: before the first sample of its own the judge is given those
 * stored since the state. What is saved of a model is of one sample, its newest; with all that the judge tells of a
 * sample the model is saved, too. Who keeps sample, states and events of a sample together, or none of them, therefore
 * finds that the samples since give no news, and that nothing was told of one that is not stored.
 *
 *     for each model: o3_judge_recall(j, model, &r);     from where on are its samples wanted?
 *     o3_judge_told_before(j, &incident);                where the states of incidents are lost
 *     for each sample: o3_judge_relive(j, &sample);      in the order in which they were judged
 *     o3_judge_recalled(j, now_wall_ms);
 *
 * A model without a usable state is judged again from all samples that there are, without telling: what was told is
 * told. Incidents stay as they were, and their changes are found again by their times; at the end it is told which of
 * them are over and which others are open. Nothing else is saved in between. */
struct o3_judge_recall {
    bool has_state;
    int64_t wall_ms, mono_ns; /* of the newest sample it knows */
    char lost[200];           /* why what was saved is not used; "": it is, or there was nothing */
};
/* False: no room for another model. */
bool o3_judge_recall(struct o3_judge *j, const char *model, struct o3_judge_recall *ret);
/* An incident as events told it. Without effect where one with this id, or a newer one, is known. */
struct o3_judge_told {
    int64_t id, opened_wall_ms, since_ms, since_lo_ms, since_hi_ms;
    bool is_open; /* else it only takes its number */
    const char *model, *text;
    uint32_t signals; /* bits */
};
void o3_judge_told_before(struct o3_judge *j, const struct o3_judge_told *t);
void o3_judge_relive(struct o3_judge *j, const struct o3_sample *s);
void o3_judge_recalled(struct o3_judge *j, int64_t now_wall_ms);

/* Saves what has changed since it was saved. Without this call a model is saved with everything that is told of it,
 * once in an hour while it learns or has a change in sight, and else every four hours. */
void o3_judge_save(struct o3_judge *j);
/* The model left memory of its owner: its series are saved and given up. */
void o3_judge_forget(struct o3_judge *j, const char *model);

struct o3_series_view {
    bool exists; /* false: no sample yet in this epoch */
    struct o3_drift_view drift;
    double efficiency;
};
/* Of the present epoch, which is that of the newest sample. */
void o3_judge_view(const struct o3_judge *j, const char *model, enum o3_signal sig, enum o3_stratum st,
                   struct o3_series_view *ret);
/* The same without what takes the newest values: efficiency, and of drift recent_median, robust_cv and n_recent. */
void o3_judge_glance(const struct o3_judge *j, const char *model, enum o3_signal sig, enum o3_stratum st,
                     struct o3_series_view *ret);
/* Bits of the signals whose series of that stratum is in that state. */
uint32_t o3_judge_signals_in_state(const struct o3_judge *j, const char *model, enum o3_stratum st,
                                   enum o3_drift_state state);
int o3_judge_n_confirmed(const struct o3_judge *j, const char *model);                      /* series */
bool o3_judge_is_learning(const struct o3_judge *j, const char *model, enum o3_signal sig); /* idle stratum */
size_t o3_judge_recent(const struct o3_judge *j, const char *model, enum o3_signal sig, enum o3_stratum st, double *out,
                       size_t max);
/* The last comparison of this signal with this kind of reason, saved; false: none. ret_in_force: what changed then is
 * still as it was after it, whatever else has changed since. */
bool o3_judge_release_of(const struct o3_judge *j, const char *model, enum o3_signal sig, int kind,
                         struct o3_release *ret, bool *ret_in_force);
/* The newest of all kinds. */
bool o3_judge_release(const struct o3_judge *j, const char *model, enum o3_signal sig, struct o3_release *ret,
                      bool *ret_in_force);
/* The level that an acknowledgement with the next sample would make the reference; NaN: nothing has changed. */
double o3_judge_acceptable(const struct o3_judge *j, const char *model, enum o3_signal sig);
/* Newest first; open and closed, the last O3_INCIDENTS_MAX are kept (and saved). */
#define O3_INCIDENTS_MAX 32
size_t o3_judge_incidents(const struct o3_judge *j, const struct o3_incident **out, size_t max);
/* One line for people, the same words for events, API, history and replay. */
void o3_verdict_text(const struct o3_verdict *v, char *out, size_t size);
void o3_release_text(const struct o3_release *r, char *out, size_t size);

#endif
