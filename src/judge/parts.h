/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_JUDGE_PARTS_H
#define O3_SRC_JUDGE_PARTS_H
/* What the files of src/judge share. Flow of a sample: judge.c -> epoch.c (which setting) -> feed.c (which signals) ->
 * series.c (the detectors) -> release.c (before and after) -> incident.c, why.c (what belongs together, and why);
 * text.c words it, state.c writes and reads what is kept;
 * recall.c takes it up again after a process that was killed. */
#include "o3/judge.h"
#include "o3/success.h"

#define O3_JUDGE_EPOCHS 16      /* settings of one model that are remembered, */
#define O3_JUDGE_LOADED 4       /* and of them those whose series are in memory; the others are saved */
#define O3_JUDGE_DIGESTS 5      /* the same for what is judged across the settings of a digest, or of all */
#define O3_JUDGE_ANY_DIGEST "*" /* key of the one that no digest leaves */
#define O3_JUDGE_COMPARED 8     /* settings that one was compared with, newest first */
#define O3_JUDGE_TRAIL 160      /* samples of a model, kept for their surroundings: the older, the fewer */
#define O3_JUDGE_TRAIL_KEPT 128 /* of them when it is full, */
#define O3_JUDGE_TRAIL_WHOLE 64 /* the newest without a gap, */
#define O3_JUDGE_TRAIL_MS (3 * INT64_C(86400000))     /* and none that is older */
#define O3_JUDGE_SAVE_NS (3600 * INT64_C(1000000000)) /* what a process that is killed forgets, at most, */
#define O3_JUDGE_SAVE_STABLE 4                        /* times as much of what is stable, and of the trail */
#define O3_JUDGE_INTERVAL_MS 60000
#define O3_JUDGE_SHARE_FLOOR 0.01   /* a detector judges logarithms: nothing on the GPU counts as 1 % */
#define O3_NEAR_INTERVALS 3         /* changes that are no further apart began together */
#define O3_REJOIN_INTERVALS 15      /* a change that is confirmed again so soon after it was over is the same one, */
#define O3_REJOIN_OPEN_INTERVALS 60 /* and while others of its incident stand */
#define O3_JUDGE_RETHINK 10         /* samples after which the causes of an open incident are looked at again */

/* What must be equal for two samples to be comparable; "" and -1 are unknown and equal to everything. */
struct identity {
    char digest[65], version[32], gpu[64];
    int64_t num_ctx, num_batch, parallel;
};

/* One of the two; or none before its first sample. */
struct series {
    struct o3_drift *drift;
    struct o3_success *success;
    int n_unsaved;
};

/* An epoch, or a digest for the signals that are judged across epochs. */
struct setting {
    int64_t id;   /* of this model, never used again */
    int64_t used; /* number of the switch that entered or left it last */
    struct identity key;
    bool is_loaded; /* its series are in memory, as far as it has any */
    struct series series[O3_SIGNAL_COUNT][O3_STRATUM_COUNT];
    int64_t compared[O3_SIGNAL_COUNT][O3_JUDGE_COMPARED]; /* ids that it was compared with already; 0 free */
};

/* A level as a release comparison needs it: on the log scale, but for success. */
struct level {
    double mean, sd, rho;
    double drifted; /* the level at the end, where it was a confirmed change; NaN else */
    int64_t n;
};

/* The level before, waiting until the epoch after it has a baseline. */
struct pending {
    bool is_set, is_ours;
    int64_t from_id, wall_ms;
    struct identity from;
    struct level before;
};

struct model {
    char name[O3_MODEL_NAME_SIZE], hash[33];
    int64_t used;    /* number of its last sample among all */
    int64_t next_id; /* of a setting */
    int64_t n_switches;
    int64_t n_here;     /* samples since the switch */
    bool has_come_back; /* by that switch, to a setting that was known */
    bool is_unsaved;
    bool has_lost_state; /* it was damaged: saved series may carry the numbers of new settings */
    char lost[200];      /* why something saved was not taken up; "" */
    bool is_relived;     /* it is judged again from stored samples, and nothing is told */
    bool has_news;       /* something was told of it since it was saved */
    bool has_seen;
    int64_t seen_wall_ms, seen_mono_ns; /* its newest sample */
    int n_trail_unsaved;
    int64_t saved_ns; /* on the clock of the samples */
    struct setting *epochs[O3_JUDGE_EPOCHS], *digests[O3_JUDGE_DIGESTS];
    struct setting *epoch, *digest; /* the present ones; NULL before the first sample that tells */
    struct pending pending[O3_SIGNAL_COUNT];
    struct o3_release *releases[O3_SIGNAL_COUNT][O3_RELEASE_REASONS]; /* the last of each kind; NULL: none */
    struct o3_sample *trail;                                          /* oldest first */
    size_t n_trail;
};

/* How it was around a model of an incident before the change; kept, because the trail forgets it. */
struct kept_before {
    char model[O3_MODEL_NAME_SIZE];
    struct o3_circumstances around;
};

struct kept_incident {
    struct o3_incident i;
    struct kept_before before[O3_INCIDENT_MEMBERS_MAX]; /* of each model: any of them may come to lead it */
    int n_before;
    bool is_unsaved;      /* changed by this sample */
    bool is_seen_unsaved; /* when its models were measured last */
    bool is_growing;      /* this sample showed a further step */
    bool has_evidence;    /* this sample brought a member, or a reason to think again */
    bool is_touched;      /* the same, and it is news: it is told at the end */
    enum o3_incident_change change;
    bool is_relived;  /* opened while nothing was told */
    bool is_by_words; /* made of what events told: signals, but no strata */
    bool was_open;    /* before stored samples were judged again */
};

struct o3_judge {
    struct o3_judge_params p;
    struct o3_judge_ops ops;
    bool is_keeping;   /* what is saved leaves memory */
    bool is_recalling; /* stored samples are judged: nothing is saved but what leaves memory, */
    bool is_muted;     /* and this one is of a model of which nothing is told */
    int64_t n_samples, next_incident;
    int64_t next_told;                                 /* of incidents, before stored samples were judged again */
    struct kept_incident *incidents[O3_INCIDENTS_MAX]; /* newest last */
    int n_incidents;
    int n_models;
    struct model **models;
};

/* What follows from one sample, told in the order of o3_judge_add. */
#define O3_JUDGE_NEWS_MAX O3_SIGNAL_COUNT
struct news {
    struct o3_verdict verdict[O3_JUDGE_NEWS_MAX];
    int64_t setting[O3_JUDGE_NEWS_MAX];
    size_t n;
};

/* judge.c */
struct model *o3_judge_find(const struct o3_judge *j, const char *name);
struct model *o3_judge_model(struct o3_judge *j, const char *name); /* with what was saved; NULL: no memory */
void o3_judge_free_settings(struct model *m);

/* epoch.c */
bool o3_judge_by_digest(enum o3_signal sig); /* judged across the epochs of a digest */
/* The present one, in which it is judged, and the one whose level is compared with that before; may be NULL. */
struct setting *o3_judge_setting(const struct model *m, enum o3_signal sig);
struct setting *o3_judge_compared_setting(const struct model *m, enum o3_signal sig);
/* NULL, or the reason: a new or another epoch was entered. */
const char *o3_judge_enter(struct o3_judge *j, struct model *m, const struct o3_sample *s);
bool o3_judge_differs(const struct identity *from, const struct identity *to, int reason);
const char *o3_judge_difference(const struct identity *from, const struct identity *to); /* the first; NULL: none */
void o3_judge_free_setting(struct setting *g);

/* feed.c */
struct reading {
    enum o3_signal signal;
    enum o3_stratum stratum;
    double value; /* success: 1 or 0 */
};
enum o3_stratum o3_judge_stratum(uint32_t flags); /* on a machine with two usual speeds */
size_t o3_judge_readings(const struct o3_sample *s, struct reading out[O3_SIGNAL_COUNT]);

bool o3_judge_is_known_context(const struct o3_judge *j, const struct model *m, double num_ctx);

/* shown.c */
double o3_shown_value(enum o3_signal sig, double v);
double o3_shown_ratio(enum o3_signal sig, double reference, double ratio); /* reference: as it is judged */
void o3_shown_view(enum o3_signal sig, struct o3_drift_view *v);
void o3_shown_report(enum o3_signal sig, struct o3_drift_report *r);

/* series.c */
/* False: nothing to tell. */
bool o3_series_add(const struct o3_judge *j, struct series *x, const struct reading *r, const struct o3_sample *s,
                   struct o3_drift_report *ret);
bool o3_series_exists(const struct series *x);
/* As it is judged; shown.c makes of it what people see. */
void o3_series_view(const struct series *x, struct o3_drift_view *ret);
void o3_series_glance(const struct series *x, struct o3_drift_view *ret); /* without the newest values */
bool o3_series_is_in(const struct series *x, enum o3_drift_state state);
/* A confirmed change as it is now, for people; false: there is none, or none that can be told. */
bool o3_series_change(const struct series *x, enum o3_signal sig, struct o3_drift_report *ret);
/* A confirmed change whose newest values are nearer to the reference than to the level that it has had. */
bool o3_series_is_returning(const struct series *x);
void o3_series_mark_gap(struct series *x);
bool o3_series_acknowledge(struct series *x, double *ret_level); /* false: it has no baseline yet */
double o3_series_acceptable(const struct series *x);             /* the level that would make; NaN: none */
void o3_series_free(struct series *x);
void o3_series_save(const struct o3_judge *j, const struct model *m, struct setting *g, enum o3_signal sig,
                    enum o3_stratum st);
void o3_series_load(const struct o3_judge *j, struct model *m, struct setting *g);
void o3_series_unload(struct o3_judge *j, const struct model *m, struct setting *g);
/* Their saved states, whether they are in memory or not. */
void o3_series_delete(const struct o3_judge *j, const struct model *m, const struct setting *g);
void o3_series_give_up(const struct o3_judge *j, const struct model *m, struct setting *g, enum o3_signal sig,
                       enum o3_stratum st);

/* release.c */
/* This setting is left for another one, and with it the epoch whose identity is `whole`. */
void o3_judge_leave(struct model *m, const struct setting *from, const struct identity *whole, bool is_ours,
                    int64_t wall_ms);
/* Tells every comparison whose two levels are known now. */
void o3_judge_compare(struct o3_judge *j, struct model *m);

/* incident.c */
/* What the arrival of a sample tells: which models are still there, and what a person accepted when the process died.
 */
void o3_judge_note_sample(struct o3_judge *j, const struct model *m, int64_t wall_ms);
void o3_judge_note_verdicts(struct o3_judge *j, const struct news *news, const struct o3_sample *s);
/* Members of the model in this setting; sig < 0: of every signal. */
void o3_judge_end_members(struct o3_judge *j, const struct model *m, int64_t setting, int sig, enum o3_member_end why);
/* Members whose setting has been left for long are over; those whose setting is back stand again. */
void o3_judge_follow_settings(struct o3_judge *j, const struct model *m, int64_t wall_ms);
void o3_judge_rethink_incidents(struct o3_judge *j, const struct model *m);
void o3_judge_tell_incidents(struct o3_judge *j, int64_t wall_ms);
void o3_judge_drop_incident(struct o3_judge *j, int n);
bool o3_judge_is_near(const struct o3_drift_report *a, const struct o3_drift_report *b, int64_t slack_ms);

/* growth.c */
/* By as much as is worth an alarm, and by half of what was told. */
bool o3_judge_has_grown(const struct o3_judge *j, double told, double now);
/* A further step in the same direction since the change; ret_ms: its first sample. */
bool o3_judge_growth(const struct o3_judge *j, const struct model *m, const struct o3_incident_member *x,
                     int64_t *ret_ms);

/* recall.c */
/* A change that was told before: its member of an incident has its setting again. */
bool o3_judge_is_told(struct o3_judge *j, const struct o3_verdict *v, int64_t setting, int64_t slack_ms);
void o3_judge_attach(const struct model *m, struct o3_incident_member *x); /* to the present setting */
/* Members of the model whose change nobody can look at any more: sig. */
bool o3_judge_has_unproven(const struct o3_judge *j, const struct model *m, enum o3_signal sig);

/* why.c */
/* It goes on: what begins later may be the same. */
bool o3_judge_creeps(const struct o3_judge *j, const struct kept_incident *k);
bool o3_judge_is_main(const struct o3_incident *i, const char *model); /* the one whose surroundings tell the causes */
/* Keeps what is known rather than not to know. */
void o3_judge_find_causes(const struct o3_judge *j, struct kept_incident *k);
/* Evidence came in since: true when another cause is clearly likelier now. */
bool o3_judge_rethink(const struct o3_judge *j, struct kept_incident *k);
void o3_trail_add(struct model *m, const struct o3_sample *s);

/* text.c */
void o3_incident_text(const struct o3_incident *i, char *out, size_t size);

/* state.c */
bool o3_judge_saves(const struct o3_judge *j);
void o3_judge_put(const struct o3_judge *j, const char *key, const char *value, size_t n); /* n = 0 deletes */
void o3_judge_save_model(const struct o3_judge *j, struct model *m);
void o3_judge_take_model(const struct o3_judge *j, struct model *m);
void o3_judge_forget_settings(struct model *m); /* they were freed */
void o3_judge_save_trail(const struct o3_judge *j, struct model *m);
void o3_judge_take_trail(const struct o3_judge *j, struct model *m);
/* Incidents whose models were measured since; m: those with this one, NULL all. */
void o3_judge_save_seen(const struct o3_judge *j, const struct model *m);
void o3_judge_save_incident(const struct o3_judge *j, struct kept_incident *k);
void o3_judge_take_incidents(struct o3_judge *j);

#endif
