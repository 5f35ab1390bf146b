/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIDECAR_INTERNAL_H
#define O3_SIDECAR_INTERNAL_H
/* What the files of src/sidecar share. Flow: control.c, listed.c (what is loaded) -> schedule.c (whose turn, may we;
 * haste.c: sooner, on suspicion) -> probing.c (one probe) or around.c (what shows without one) -> judge.c (sample to
 * verdict) -> publish.c (verdict to preset); report.c tells, sidecar.c holds the ends together. */
#include "o3/gate.h"
#include "o3/judge.h"
#include "o3/plan.h"
#include "o3/probe.h"
#include "o3/rand.h"
#include "o3/sidecar.h"
#include "o3/stat.h"

#define O3_RESTORED_MAX 2048
#define O3_RESTORED_BYTES_MAX (16 * 1024 * 1024)
#define O3_RUNNERS_MAX 32
#define O3_EPOCHS_MAX 4 /* settings of one model that are remembered at the same time */
#define O3_ATTEMPTS_MAX 30
#define O3_STABILITY_ATTEMPTS_MIN 6             /* a preset tells no share of fewer */
#define SOCKETS_FRESH_NS (100LL * O3_NS_PER_MS) /* the list after a probe follows its end by a millisecond */

enum skip {
    SKIP_NONE,
    SKIP_PAUSED,
    SKIP_NOT_LOADED,
    SKIP_UPDATED,
    SKIP_OPTIONS_UNKNOWN,
    SKIP_IDLE,
    SKIP_EXPIRING,
    SKIP_BUDGET,
    SKIP_BUSY,
    SKIP_CONVERSATION, /* a user would miss its state */
    SKIP_OLLAMA_DOWN,
    SKIP_COUNT
};
extern const char *const SKIP_NAMES[SKIP_COUNT];

/* One setting of one model, as far as probing needs to know: what is judged together, o3/judge.h says. */
struct epoch {
    char digest[65], version[32];
    int64_t num_ctx, num_batch;
    int n_changed[O3_SIGNAL_COUNT];       /* samples behind the changed level of a confirmed change */
    int64_t decode_tokens, prefill_words; /* probe sizes; 0 until chosen, then constant */
    int64_t used_ns;
};

struct attempt {
    bool is_success;
    double value; /* decode rate, or 1 / latency of an embedding model */
    int64_t wall_ms;
};

enum show_state { SHOW_WANTED, SHOW_KNOWN, SHOW_FAILED };

/* Its name stands for something else now than what is loaded: found by the list, then asked for by /api/show. */
enum update {
    UPDATE_NONE,
    UPDATE_SUSPECTED,
    UPDATE_ASKED,
    UPDATE_SURE,
    UPDATE_HARMLESS
}; /* harmless: the runner that is loaded serves it too */

/* A probe loaded the model again: no further one until its options are known better than then. */
enum strike {
    STRIKE_NONE,
    STRIKE_BY_LIST,
    STRIKE_BY_RUNNER
}; /* the options were those of /api/ps; of the command line, too */

struct model {
    struct o3_ollama_model ps; /* as last listed; stays after an unload */
    bool is_loaded;
    int64_t unloaded_ns;
    enum show_state show_state;
    struct o3_ollama_show show;
    bool is_show_of_loaded;  /* `show` is about what is loaded: nothing else stood under the name then */
    char library_digest[65]; /* under its name in /api/tags; "" unknown */
    int64_t library_bytes;   /* size of that; -1 unknown */
    enum update update;
    bool has_runner; /* its command line was read */
    struct o3_runner_cmdline runner;
    bool is_runner_gone; /* its process ended, although the model is still listed: a probe would load it */
    bool runner_died;    /* possible since the last answered probe: a reload that follows is not ours */
    bool has_timed_out;  /* the last probe did: did it wait for a load? */

    /* user activity */
    bool is_in_use; /* at the last look it was loading, or served the first request after that */
    int64_t in_use_since_ns;
    int64_t listed_wall_ms;       /* when `ps` was read */
    int64_t expires_shift_ms;     /* jumps of the wall clock since Ollama stamped expires_at */
    int64_t session_ms;           /* keep-alive in force, inferred; -1 unknown */
    int64_t own_finished_wall_ms; /* our last probe's end, while its move of expires_at is still expected; 0 none */
    int64_t last_user_ns, last_user_wall_ms;
    int n_user_requests; /* seen to end since the last sample */
    int64_t probed_ns;   /* end of the last probe that was answered */
    int n_alike;         /* probes with the usual prompt since another one was served */
    bool is_reload_told; /* counted already, when the next look shows another size or process */

    /* cadence */
    int64_t due_ns, interval_ms; /* the interval of the usual cadence, whatever is suspected */
    int64_t base_due_ns;         /* the next probe of the usual cadence; what is due earlier is an extra one */
    int64_t haste_prefill_ns;    /* no extra prefill probe before */
    int64_t slot_ns;             /* when the probe that is due now was due first */
    bool is_displaced;           /* no user's conversation is in the runner's slot: a probe took it, or none is known */
    int64_t unprobed_from_ns;    /* the last probe, or the load */
    int n_unprobed;              /* requests of users since */
    bool has_waited;             /* the next probe did, for a user */
    int n_missed;                /* probes meanwhile that are caught up with */
    bool is_skip_counted;        /* this slot's skip is in the counter */
    enum skip paused_for;
    double probe_seconds;  /* moving average; < 0 unknown */
    double prompt_tokens;  /* moving average of those evaluated for a decode probe beyond the one of a cached prompt */
    bool is_after_prefill; /* our own long prompt was the last one: the next decode prompt is its cost, too */
    int n_since_load;      /* probes answered since the load */
    int64_t prefill_due_ns;
    int64_t last_sample_ns;

    /* for the next sample */
    int64_t formed_ns;                           /* the last good one, of any kind, or the load */
    int64_t kind_formed_ns[O3_PROBE_KIND_COUNT]; /* INT64_MIN none */
    bool is_gap;                                 /* it has no predecessor */
    int n_loads;                                 /* since the last one */
    struct o3_host_state host;                   /* at the last one */
    int n_queued;           /* probes in a row that waited before their prompt although nobody else was seen */
    int64_t loaded_wall_ms; /* when this runner was seen first */
    bool has_live_gauges;
    bool is_show_due, is_listing_due; /* the judge, the list say something else of it than the metrics do */

    enum strike strike;
    bool is_stuck;
    int n_silent; /* probes in a row that saw no token, though nobody was before them; the first was sent then: */
    int64_t silent_since_ns;
    struct attempt attempts[O3_ATTEMPTS_MAX]; /* of one level: none from before the last change */
    int n_attempts, next_attempt;

    struct epoch *epochs[O3_EPOCHS_MAX];
    struct epoch *epoch; /* the current one, NULL while not loaded */

    /* presets */
    struct o3_preset_doc published; /* on disk */
    struct o3_preset_doc wanted, writing;
    bool has_published, is_write_wanted, is_writing;
    char write_reason[320];
    bool is_held; /* a verdict that is published when no suspicion stands any more */
    char held_reason[320];
    uint32_t acknowledged; /* bits of signals for the next sample: a person accepted their level */
    bool is_ack_saved;
    uint64_t ticket;
    int n_write_failures;
    int64_t write_at_ns;
};

enum control { CONTROL_VERSION, CONTROL_PS, CONTROL_SHOW, CONTROL_TAGS };

struct control_call {
    uint64_t id; /* 0: none in flight */
    enum control kind;
    struct o3_buf body;
    char show_name[O3_MODEL_NAME_SIZE];
};

struct probe_run {
    uint64_t id; /* 0: none in flight */
    struct model *model;
    struct o3_probe_asked asked;
    struct o3_probe_reply reply;
    bool is_stuck_test, is_tainted, saw_user;
    struct o3_host_state host; /* at its start */
    bool is_extra;             /* because of a suspicion: from its own budget */
    int sockets_at_start;
    int64_t give_up_ns; /* of a test, which may have to queue; INT64_MAX: the request's own limit */
    int n_ahead,
        n_sockets_seen; /* users who were there before a test and did not leave since; sockets at the last look */
};

struct restored {
    char *key, *value;
    size_t n;
};

struct o3_sidecar {
    const struct o3_config_values *config;
    struct o3_judge_params judge_params; /* in force: some keys wait for a restart */
    struct o3_metrics *metrics;
    struct o3_sidecar_ops ops;
    struct o3_rand rand;
    int64_t started_ns;
    bool is_stopped;

    bool is_up, has_version, has_ps;
    int n_failures;
    char last_error[160];
    struct o3_ollama_version version;
    char version_body[128]; /* the answer that told it, when it was so short; "" */
    int64_t version_at_ns;  /* of the last good answer */
    int64_t version_due_ns, ps_due_ns, runners_due_ns;
    int64_t sockets_at_ns;                          /* of the last look at the sockets */
    uint16_t loopback_ports[O3_LOOPBACK_PORTS_MAX]; /* seen then */
    int n_loopback_ports;
    int64_t ports_at_ns;
    bool has_probed_since_ports;
    int64_t ps_at_ns; /* of the last good answer; INT64_MIN none */
    int64_t ps_at_wall_ms;
    bool is_none_told;
    bool is_offer_due;
    char offer_reason[320];
    int n_listed, n_over_limit;
    struct control_call control;
    struct o3_buf ps_text; /* the list of loaded models as it came last */
    struct o3_ollama_models *ps_list;
    bool has_namesakes;  /* in it, two models of one name */
    bool is_library_due; /* before the pending probe */
    int64_t library_not_before_ns;
    struct o3_buf library_text; /* the list of all models as it came last */

    char gpu[sizeof(((struct o3_surroundings *)0)->gpu)]; /* looked up last */
    double gpu_bandwidth;

    struct o3_gate gate;
    struct o3_token_budget budget;
    int64_t n_tokens_unsaved;
    struct o3_token_budget haste_tokens, haste_busy_ms; /* of the extra probes while a change is suspected */
    int64_t n_haste_unsaved;
    struct model **models;
    int n_models, max_models;
    struct model *pending; /* its probe waits for a fresh list of loaded models */
    bool is_pending_test;  /* it is the small probe through a gate that is busy for too long */
    struct probe_run probe;
    int64_t clock_offset_ms; /* wall - mono at the last turn */
    bool has_clock_offset;
    uint64_t next_ticket;

    struct o3_judge *judge;
    struct o3_now judged_at; /* while a sample is judged */
    bool has_resumed;        /* what was saved of incidents was taken up */
    bool is_show_due;        /* the judge may say something else than the metrics do */

    struct restored restored[O3_RESTORED_MAX];
    int n_restored;
    size_t restored_bytes;
};

/* sidecar.c */
void o3_sc_event(struct o3_sidecar *s, enum o3_event_id ev, const struct o3_field *f, size_t n);
#define O3_SC_EVENT(s, ev, ...)                                                                                        \
    o3_sc_event(s, ev, (const struct o3_field[]){__VA_ARGS__},                                                         \
                sizeof((const struct o3_field[]){__VA_ARGS__}) / sizeof(struct o3_field))
struct model *o3_sc_find_model(const struct o3_sidecar *s, const char *name);
void o3_sc_free_model(struct model *m);
bool o3_sc_is_probed(const struct o3_sidecar *s, const struct model *m); /* its probe is in flight */
bool o3_sc_take_restored(struct o3_sidecar *s, const char *key, struct o3_buf *ret);
void o3_sc_save_budget(struct o3_sidecar *s);
const char *o3_sc_find_restored(const struct o3_sidecar *s, const char *key); /* NULL none */
/* Saves a state whose owner leaves memory, or that is looked up again and again. */
void o3_sc_keep_state(struct o3_sidecar *s, const char *key, const char *value, size_t n);

/* control.c */
void o3_sc_control_turn(struct o3_sidecar *s, struct o3_now now);
void o3_sc_control_end(struct o3_sidecar *s, int status, int transport, const char *text, struct o3_now now);
void o3_sc_read_sockets(struct o3_sidecar *s, int64_t now_ns);
/* Another server may answer now: its version is asked for first of all, so that no sample is put down to the old one.
 */
void o3_sc_version_wanted(struct o3_sidecar *s, int64_t now_ns);
bool o3_sc_is_version_wanted(const struct o3_sidecar *s, int64_t now_ns);

/* listed.c */
void o3_sc_apply_list(struct o3_sidecar *s, const struct o3_ollama_models *list, struct o3_now now);
bool o3_sc_has_namesakes(const struct o3_ollama_models *list); /* two models under one name */
void o3_sc_match_runners(struct o3_sidecar *s, struct o3_now now);
void o3_sc_show_listed(struct o3_sidecar *s, struct model *m); /* as it was listed last, in the metrics */
/* NULL when there is no room. */
struct model *o3_sc_add_model(struct o3_sidecar *s, const struct o3_ollama_model *ps, struct o3_now now);

/* library.c */
void o3_sc_library_wanted(struct o3_sidecar *s, struct o3_now now); /* a look at /api/tags, before the next probe */
void o3_sc_forget_library(struct o3_sidecar *s, struct model *m);   /* something else was loaded under this name */
bool o3_sc_is_updated(const struct model *m);                       /* a probe would load it */
void o3_sc_library_answered(struct o3_sidecar *s, int status, int transport, struct o3_now now);
/* /api/show was asked what stands under the name now. */
void o3_sc_update_shown(struct o3_sidecar *s, struct model *m, bool is_answer);

/* schedule.c */
void o3_sc_schedule_turn(struct o3_sidecar *s, struct o3_now now);
void o3_sc_start_pending(struct o3_sidecar *s, struct o3_now now);          /* the list of loaded models is fresh */
int64_t o3_sc_linger_ms(const struct o3_sidecar *s, const struct model *m); /* INT64_MAX: no limit */
bool o3_sc_sockets_matter(const struct o3_sidecar *s, int64_t now_ns);
void o3_sc_new_interval(struct o3_sidecar *s, struct model *m);
int64_t o3_sc_prefill_interval_ms(const struct o3_sidecar *s, const struct model *m);
int64_t o3_sc_schedule_deadline(const struct o3_sidecar *s);
void o3_sc_schedule_first(struct o3_sidecar *s, struct model *m, struct o3_now now);
void o3_sc_set_paused(struct o3_sidecar *s, struct model *m, enum skip reason);
int o3_sc_n_loaded(const struct o3_sidecar *s); /* at least 1 */

/* conversation.c */
/* No probe before, so that a user who goes on finds his conversation in its slot; INT64_MIN: at any time. */
int64_t o3_sc_conversation_until_ns(const struct o3_sidecar *s, const struct model *m);
void o3_sc_conversation_seen(struct model *m);                 /* a user's request ended, or loaded it */
void o3_sc_conversation_none(struct model *m, int64_t now_ns); /* a probe ended, or nobody is known */
/* From the probe that begins now to the next one. */
int64_t o3_sc_after_conversation_ms(struct o3_sidecar *s, struct model *m, int64_t now_ns);

/* haste.c */
bool o3_sc_is_any_suspect(const struct o3_sidecar *s, const struct model *m);
int64_t o3_sc_quick_interval_ms(const struct o3_sidecar *s, const struct model *m);
bool o3_sc_is_suspect(const struct o3_sidecar *s, const struct model *m, enum o3_signal sig);
void o3_sc_hasten(struct o3_sidecar *s, struct model *m, struct o3_now now); /* a probe ended: is another due soon? */
bool o3_sc_is_extra(const struct model *m, int64_t now_ns);                  /* would a probe of now be an extra one? */
/* False: none may be sent. */
bool o3_sc_extra_kind(struct o3_sidecar *s, const struct model *m, struct o3_now now, enum o3_probe_kind *ret);
void o3_sc_spend_haste(struct o3_sidecar *s, struct model *m, enum o3_probe_kind kind, int64_t tokens, double busy_s,
                       struct o3_now now);
void o3_sc_save_haste(struct o3_sidecar *s);
bool o3_sc_restore_haste(struct o3_sidecar *s, const char *key, const char *value); /* false: not its key */

/* around.c */
void o3_sc_fill_around(struct o3_sidecar *s, struct model *m, struct o3_sample *sample);
void o3_sc_sample_formed(struct model *m, const struct o3_sample *sample, int64_t now_ns); /* it was told */
void o3_sc_sense_host(struct o3_sidecar *s, struct o3_host_state *ret);
bool o3_sc_is_throttled(const struct o3_host_state *before, const struct o3_host_state *after);
void o3_sc_note_load(struct model *m, struct o3_now now);
void o3_sc_look(struct o3_sidecar *s, struct model *m, struct o3_now now);     /* the list of loaded models is fresh */
bool o3_sc_look_now(struct o3_sidecar *s, struct model *m, struct o3_now now); /* false: not loaded, or a probe runs */

/* probing.c */
enum probe_purpose {
    PROBE_USUAL,
    PROBE_EXTRA, /* because of a suspicion, from its own budget */
    PROBE_TEST   /* of a runner that may be stuck */
};
bool o3_sc_probe_start(struct o3_sidecar *s, struct model *m, enum probe_purpose why, struct o3_now now);
void o3_sc_probe_end(struct o3_sidecar *s, int status, int transport, const char *text, struct o3_now now);
void o3_sc_probe_watch(struct o3_sidecar *s); /* sockets were read: did a user come meanwhile? */
void o3_sc_probe_cancel(struct o3_sidecar *s, struct o3_now now);
void o3_sc_probe_turn(struct o3_sidecar *s, struct o3_now now);
bool o3_sc_options_known(const struct model *m);
enum o3_probe_kind o3_sc_usual_kind(const struct model *m);
int64_t o3_sc_probe_cost(const struct o3_sidecar *s, const struct model *m, enum o3_probe_kind kind); /* in tokens */
int64_t o3_sc_probe_tokens(const struct o3_sidecar *s, const struct model *m,
                           struct o3_now now); /* the next probe of the usual cadence at most */
double o3_sc_decode_tokens_expected(const struct o3_sidecar *s, const struct model *m); /* of a decode probe */
bool o3_sc_may_prefill(const struct model *m); /* it has settled since the load */
void o3_sc_restore_strike(struct o3_sidecar *s, struct model *m);
void o3_sc_strike(struct o3_sidecar *s, struct model *m, int64_t load_ns);
void o3_sc_set_stuck(struct o3_sidecar *s, struct model *m, bool is_stuck);
void o3_sc_keep_sizes(struct o3_sidecar *s, const struct epoch *ep);
int64_t o3_sc_effective_batch(const struct o3_sidecar *s, const struct model *m, enum o3_batch_source *ret_source);

/* judge.c */
void o3_sc_judge(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample, struct o3_now now);
void o3_sc_enter_epoch(struct o3_sidecar *s, struct model *m, struct o3_now now);
struct o3_stability o3_sc_stability(const struct o3_sidecar *s, const struct model *m);
/* The level of this signal is another one since then: what was before counts no longer, if it is what attempts are
 * measured by. */
void o3_sc_level_changed(struct model *m, enum o3_signal sig, int64_t since_wall_ms);
void o3_sc_drop_live_gauges(struct o3_sidecar *s, struct model *m);

/* verdict.c */
int o3_sc_judge_new(struct o3_sidecar *s, struct o3_err *e);
void o3_sc_judge_configure(struct o3_sidecar *s);
void o3_sc_resume_incidents(struct o3_sidecar *s);
/* What presets tell of may just be changing: decode and prefill rate and time to first token, without users. */
bool o3_sc_is_unsure(const struct o3_sidecar *s, const struct model *m);
bool o3_sc_is_learning(const struct o3_sidecar *s, const struct model *m); /* what the frequent probes measure */
void o3_sc_show_series(struct o3_sidecar *s, struct model *m);             /* at the next o3_sidecar_show_metrics */
void o3_sc_drop_series(struct o3_sidecar *s, struct model *m);

/* recall.c */
void o3_sc_keep_acknowledged(struct o3_sidecar *s, struct model *m); /* until a sample carries it */
void o3_sc_acknowledged(struct o3_sidecar *s, struct model *m);      /* one does */
const char *o3_sc_acknowledged_model(const char *key);               /* NULL: it is another state */
void o3_sc_restore_acknowledged(struct model *m, const char *value);

/* publish.c */
void o3_sc_want_presets(struct o3_sidecar *s, struct model *m, const char *reason, struct o3_now now);
/* A preset that was written when there were too few attempts for a stability is written again with it. */
void o3_sc_complete_presets(struct o3_sidecar *s, struct model *m, struct o3_now now);
/* The levels of these signals (bits) are no longer a change: a person accepted them, or another setting began. */
void o3_sc_untell(struct o3_sidecar *s, const struct model *m, uint32_t signals);
void o3_sc_offer_soon(struct o3_sidecar *s, const char *reason); /* at the end of this turn */
void o3_sc_publish_turn(struct o3_sidecar *s, struct o3_now now);
int64_t o3_sc_publish_deadline(const struct o3_sidecar *s);
void o3_sc_restore_presets(struct o3_sidecar *s, struct model *m);
void o3_sc_restore_wanted(struct o3_sidecar *s, struct model *m, const char *text, size_t n, struct o3_now now);
void o3_sc_keep_presets(struct o3_sidecar *s, const struct model *m);

/* report.c */
int o3_sc_summary_json(const struct o3_sidecar *s, const struct model *m, int64_t wall_ms, struct o3_buf *out);

#endif
