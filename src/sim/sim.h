/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_SIM_H
#define O3_SIM_SIM_H
/* What the files of the simulated server share. Nothing here is seen outside src/sim; the public face is o3/world.h. */
#include "o3/rand.h"
#include "o3/world.h"
#include "sim/events.h"
#include "sim/model.h"
#include "sim/pieces.h"
#include "sim/request.h"
#include "sim/tokens.h"

#define O3_SIM_MAX_MODELS 64
#define O3_SIM_MAX_RUNNERS 16
#define O3_SIM_SPARE_REQUESTS 4
#define O3_SIM_SPARE_BYTES ((size_t)4096) /* of a reply, kept for the next */
#define O3_SIM_MAX_BLOBS 64
#define O3_SIM_MAX_REQUESTS 4096
#define O3_SIM_MAX_EVENTS 1024
#define O3_SIM_MAX_BODY ((size_t)4 << 20)
#define O3_SIM_MAX_REPLY ((size_t)64 << 20)
#define O3_SIM_CACHE_BYTES (8 * O3_SIM_GIB)
#define O3_SIM_MAX_GROUPS 16        /* of users */
#define O3_SIM_MAX_CONVERSATIONS 64 /* of one group at once */
#define O3_SIM_MAX_SERVED 4096

enum { O3_SIM_CHANGE_COUNT = O3_SIM_CHANGE_SLOW_DISK + 1 };

struct o3_sim_heat { /* temperature of the device; followed while an event makes it throttle */
    int64_t at_ns;
    double celsius;
    bool is_busy;
};
struct o3_sim_host { /* counters of what slowed the machine down while it was busy */
    double heat, quota, swapped_bytes;
};
#define O3_SIM_MAX_WANDERS 8
struct o3_sim_wander { /* correlated noise of the machine: value at a point of its grid */
    int64_t first, at;
    double ar, value;
    double keep, fresh; /* shares of the value before and of chance in the next one */
    bool is_valid;
};

struct o3_sim_due { /* what happens next */
    int64_t at_ns;  /* INT64_MAX: nothing */
    size_t event;   /* index + 1, 0 none */
    size_t runner;  /* index + 1, 0 none */
    bool is_users;
    struct o3_sim_request *request;
};

struct o3_world {
    struct o3_world_params params;
    struct o3_sim_profile profile;
    char gpu_name[64]; /* as the machine shows it; "" when it has none */
    bool is_gpu_lost;
    int64_t now_ns;
    int64_t clock_shift_ms; /* of the wall clock, since the start; whole seconds */
    uint64_t last_id, last_serial, n_api_requests;

    struct o3_sim_model *models;
    size_t n_models;
    char blobs[O3_SIM_MAX_BLOBS][65]; /* digests of what was uploaded; the bytes are not kept */
    size_t n_blobs;

    struct o3_sim_runner runners[O3_SIM_MAX_RUNNERS];
    size_t runners_end;                  /* none behind was ever in use */
    struct o3_sim_request *in_scheduler; /* taken from the queue, not yet served */

    struct o3_sim_request **requests;
    size_t n_requests, cap_requests;
    struct o3_sim_request *spare_requests[O3_SIM_SPARE_REQUESTS];
    size_t n_spare_requests;
    struct o3_sim_bodies bodies;

    struct o3_sim_event *events;
    int64_t *event_next_ns; /* when the event acts by itself next; INT64_MAX never */
    size_t n_events;
    /* force[change]: the newest event in force, valid for force_from_ns <= t < force_until_ns. */
    const struct o3_sim_event *force[O3_SIM_CHANGE_COUNT];
    int64_t force_from_ns, force_until_ns;

    int64_t started_ns; /* the server process */
    int n_busy_runners;
    struct o3_sim_heat heat;
    struct o3_sim_host host;                          /* up to heat.at_ns */
    struct o3_sim_wander wanders[O3_SIM_MAX_WANDERS]; /* the ones asked for last */
    size_t next_wander;                               /* to be replaced */
    struct {
        const struct o3_sim_weights *weights;
        uint64_t n;
    } load_counts[O3_SIM_MAX_MODELS];

    /* The last answer of /api/ps, and the entry of each runner in it; empty: none to use again. */
    struct o3_sim_listed listed[O3_SIM_MAX_RUNNERS]; /* what the texts tell of */
    struct o3_buf ps_text;
    struct o3_sim_ps_entry ps_entries[O3_SIM_MAX_RUNNERS];
    struct o3_buf tags_text; /* of /api/tags; empty since the library or the version changed */

    struct o3_sim_output *outputs; /* ring */
    size_t first_output, n_outputs, cap_outputs;
    struct o3_sim_bytes lent;  /* of the output taken last */
    struct o3_sim_bytes spare; /* of one before, to be used again */
    struct o3_buf line;        /* of a stream, while it is made */

    struct o3_sim_users *users; /* NULL: none */
    int64_t users_next_ns;      /* when they do something next */

    struct o3_sim_due due; /* as long as it is known: nothing has happened since it was found */
    bool is_due_known;

    struct o3_world_truth truth;
};

/* ---- library.c ---- */
int o3_sim_library_fill(struct o3_world *w, bool recorded);
struct o3_sim_model *o3_sim_library_find(struct o3_world *w, const char *name);
/* "x" -> "x:latest"; false when the name cannot be one. */
bool o3_sim_full_name(const char *name, char out[O3_SIM_NAME_SIZE]);
int o3_sim_library_put(struct o3_world *w, const struct o3_sim_model *m); /* replaces one of the same name */
bool o3_sim_library_remove(struct o3_world *w, const char *name);
/* Puts a model of the first library back that was removed; NULL: there was none of that full name. */
const struct o3_sim_model *o3_sim_library_restore(struct o3_world *w, const char *full_name, int64_t t);
void o3_sim_blob(const struct o3_sim_model *m, char out[65]);
void o3_sim_model_redigest(struct o3_sim_model *m);

/* ---- sched.c ---- */
void o3_sim_sched_request(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* wants a runner */
void o3_sim_sched_loaded(struct o3_world *w, struct o3_sim_request *rq, int64_t t);  /* its load ended */
/* The process dies while it loads: the request that waits for it fails at once. */
void o3_sim_sched_load_killed(struct o3_world *w, const struct o3_sim_runner *r, int64_t t);
void o3_sim_sched_release(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* done with its runner */
void o3_sim_sched_forget(struct o3_world *w, struct o3_sim_request *rq,
                         int64_t t); /* the client left before a runner */
void o3_sim_sched_run(struct o3_world *w, int64_t t);
void o3_sim_sched_expire(struct o3_world *w, struct o3_sim_runner *r, int64_t t); /* unload when idle */
struct o3_sim_runner *o3_sim_sched_find(struct o3_world *w, const struct o3_sim_model *m);
/* Loads at once; O3_E_LIMIT when there is no room. */
int o3_sim_sched_preload(struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_body *b, int64_t t);
void o3_sim_sched_drop(struct o3_world *w, struct o3_sim_runner *r); /* the process is gone and forgotten */
void o3_sim_launch_for(const struct o3_world *w, const struct o3_sim_model *m, const struct o3_sim_body *b,
                       struct o3_sim_options *options, struct o3_sim_launch *ret);

/* ---- chance.c ---- */

/* What is left to chance about a request. Every draw is fixed by the seed of the world, the key of the request and the
 * purpose, so that no request changes what chance brings to another. */
enum o3_sim_draw {
    O3_SIM_DRAW_START,
    O3_SIM_DRAW_REPLY,
    O3_SIM_DRAW_READY,
    O3_SIM_DRAW_BEFORE,
    O3_SIM_DRAW_TAIL,
    O3_SIM_DRAW_LOAD,
    O3_SIM_DRAW_SPEED,
    O3_SIM_DRAW_JITTER,
    O3_SIM_DRAW_TEXT
};
/* The n-th thing of that kind. */
uint64_t o3_sim_key(uint64_t seed, const char *kind, uint64_t n);
uint64_t o3_sim_draw(const struct o3_world *w, const struct o3_sim_request *rq, enum o3_sim_draw what);
/* Nanoseconds, whole microseconds. */
int64_t o3_sim_between(const struct o3_world *w, const struct o3_sim_request *rq, enum o3_sim_draw what, double low_ms,
                       double high_ms);
/* The factor of the noise in force for a request that begins at t; median 1. */
double o3_sim_noise(struct o3_world *w, const struct o3_sim_request *rq, int64_t t);
double o3_sim_noise_cv(const struct o3_world *w, const char *model, int64_t t);
/* The next load of that blob: its key, and that it happens. */
uint64_t o3_sim_load_key(const struct o3_world *w, const struct o3_sim_model *m);
void o3_sim_load_count(struct o3_world *w, const struct o3_sim_model *m);
double o3_sim_uniform_of(uint64_t key);
double o3_sim_normal_of(uint64_t key);

/* ---- physics.c: how long things take ---- */

/* Begins and ends the work of a request on its runner. */
void o3_sim_slot_take(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_slot_leave(struct o3_world *w, struct o3_sim_runner *r, int64_t t);
int64_t o3_sim_token_gap_ns(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
int64_t o3_sim_prompt_time_ns(struct o3_world *w, struct o3_sim_request *rq, int64_t n_tokens, int64_t t);
/* Whether the context in use is more than the machine bears now. */
bool o3_sim_fills_up(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
/* ms from the slot to the evaluation of the prompt: from low to high by chance, and what an event adds. */
void o3_sim_before_ms(const struct o3_world *w, const char *model, bool is_plain, int64_t t, double *ret_low,
                      double *ret_high);
int64_t o3_sim_load_time_ns(const struct o3_world *w, const struct o3_sim_request *rq, int64_t t);
double o3_sim_cpu_share(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t); /* of its layers */
double o3_sim_threads(const struct o3_world *w, const struct o3_sim_runner *r);
double o3_sim_load_factor(const struct o3_world *w, const struct o3_sim_model *m, int64_t t);

/* ---- heat.c ---- */
/* Brings the temperature up to t; to be called when the device becomes busy or idle. */
void o3_sim_heat_settle(struct o3_world *w, int64_t t);
double o3_sim_heat_celsius(const struct o3_world *w, int64_t t);
/* Share of the full speed that the temperature leaves, 0..1. */
double o3_sim_heat_factor(const struct o3_world *w, int64_t t);

/* ---- host.c: what the machine shows of itself ---- */
/* Counts on from heat.at_ns to t; to be called before the machine becomes busy or idle. */
void o3_sim_host_count(const struct o3_world *w, int64_t t, struct o3_sim_host *inout);
void o3_sim_name_gpu(struct o3_world *w);

/* ---- generate.c: what happens on a runner ---- */
void o3_sim_work_ready(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* has its runner */
void o3_sim_work_step(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_work_break(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* its runner died */
void o3_sim_work_slot_free(struct o3_world *w, struct o3_sim_runner *r, int64_t t);

/* ---- cache.c ---- */
int o3_sim_slots(const struct o3_world *w, const struct o3_sim_request *rq); /* requests at once */
/* Takes a free slot; returns the time that moving states to and from the prompt cache takes. */
int64_t o3_sim_cache_take(struct o3_world *w, struct o3_sim_request *rq);
void o3_sim_cache_give(struct o3_world *w, struct o3_sim_request *rq);
void o3_sim_cache_keep(struct o3_sim_request *rq); /* leaves the tokens of the request in its slot */
/* The client left while the prompt was being evaluated: the rest of it is not in the slot. */
void o3_sim_cache_cut(struct o3_sim_request *rq, int64_t t);
void o3_sim_cache_clear(struct o3_world *w, struct o3_sim_runner *r, bool is_by_api);

/* ---- users.c ---- */
void o3_sim_users_free(struct o3_world *w);
void o3_sim_users_step(struct o3_world *w, int64_t t);                    /* lets one thing happen that is due */
int o3_sim_users_prompt(struct o3_world *w, struct o3_sim_request *rq);   /* builds the tokens */
void o3_sim_users_started(struct o3_world *w, struct o3_sim_request *rq); /* has its slot */
void o3_sim_users_answered(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* with the last object */
void o3_sim_users_ended(struct o3_world *w, struct o3_sim_request *rq, int64_t t);    /* however */
void o3_sim_users_cut(struct o3_world *w, int64_t t);                                 /* all connections */
bool o3_sim_users_is_open(const struct o3_world *w, uint64_t user);                   /* the conversation goes on */
void o3_sim_users_lost(struct o3_world *w, uint64_t user, size_t n_tokens);

/* ---- prompt.c ---- */
struct o3_sim_refusal {
    int status;
    char text[320];
};
/* Builds rq->tokens and n_prompt; false: refused. */
bool o3_sim_prompt_build(struct o3_world *w, struct o3_sim_request *rq, struct o3_sim_refusal *ret);

/* ---- script.c ---- */
bool o3_sim_format_is_known(const struct o3_sim_body *b);
int o3_sim_script_write(struct o3_sim_request *rq); /* after n_thinking is known; sets n_natural */
bool o3_sim_script_next(struct o3_sim_request *rq, char out[O3_SIM_WORD_SIZE]); /* false: a word is to be said */
bool o3_sim_script_is_held(const struct o3_sim_request *rq);      /* the piece taken last belongs to a tool call */
const char *o3_sim_script_calls(const struct o3_sim_request *rq); /* JSON, once the call is whole; else NULL */
const char *o3_sim_script_rest(struct o3_sim_request *rq);        /* at the end: a call that did not become whole */
void o3_sim_script_logprobs(const struct o3_sim_request *rq, const char *word, struct o3_buf *out);
void o3_sim_script_done(struct o3_sim_script *s);

/* ---- routes.c ---- */
void o3_sim_route(struct o3_world *w, struct o3_sim_request *rq, int64_t t);

/* ---- registry.c ---- */
void o3_sim_pull(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_push(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_create_by_pull(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* its base is not here */
/* Whose weights have that digest ("sha256:<hex>"); NULL: nobody's. */
const struct o3_sim_model *o3_sim_model_of_blob(const struct o3_world *w, const char *digest);
void o3_sim_head_blob(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_post_blob(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
void o3_sim_status_line(struct o3_sim_request *rq, const char *text); /* of a stream of progress */
/* Ends such a stream well, or with an error; as one object when no stream is wanted. */
void o3_sim_progress_end(struct o3_world *w, struct o3_sim_request *rq, int64_t t, const char *error);

/* ---- outputs.c ---- */
void o3_sim_emit_head(struct o3_world *w, const struct o3_sim_request *rq, int64_t t, int status, const char *type,
                      bool chunked);
void o3_sim_emit_data(struct o3_world *w, const struct o3_sim_request *rq, int64_t t, const char *bytes, size_t n);
void o3_sim_emit_end(struct o3_world *w, const struct o3_sim_request *rq, int64_t t, bool is_cut);
bool o3_sim_outputs_take(struct o3_world *w, struct o3_world_output *ret); /* the oldest; its bytes are lent */
void o3_sim_outputs_give_back(struct o3_world *w);
void o3_sim_outputs_forget(struct o3_world *w, uint64_t id); /* of that request */
void o3_sim_outputs_free(struct o3_world *w);

/* ---- requests.c ---- */
struct o3_sim_request *o3_sim_add_request(struct o3_world *w, int64_t t);    /* NULL: no place */
void o3_sim_leave(struct o3_world *w, struct o3_sim_request *rq, int64_t t); /* the client disconnects */
void o3_sim_remove(struct o3_world *w, struct o3_sim_request *rq);
/* Sends rq->reply now and forgets the request. */
void o3_sim_answer(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *type);
/* Turns the request into a reply of rq->status, content_type, reply after a short while. */
void o3_sim_reply(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *type);
void o3_sim_reply_error(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *text);
void o3_sim_requests_free(struct o3_world *w);

/* ---- act.c ---- */
void o3_sim_act(struct o3_world *w, size_t i, int64_t t); /* the event of that index, at its time */
void o3_sim_kill_runner(struct o3_world *w, struct o3_sim_runner *r, int64_t t); /* the process dies */

/* ---- world.c ---- */
void o3_sim_wall(const struct o3_world *w, int64_t t, int64_t *ret_s, int64_t *ret_ns);

/* ---- force.c: events in force ---- */
/* The newest event of that kind in force at t, or NULL; of any model, of that model. */
const struct o3_sim_event *o3_sim_in_force(const struct o3_world *w, enum o3_sim_change change, int64_t t);
const struct o3_sim_event *o3_sim_in_force_on(const struct o3_world *w, enum o3_sim_change change, const char *model,
                                              int64_t t);
/* The next time after t at which an event begins or ends; INT64_MAX none. */
int64_t o3_sim_next_edge(const struct o3_world *w, int64_t t);
void o3_sim_force_refresh(struct o3_world *w, int64_t t);
void o3_sim_events_changed(struct o3_world *w);
/* Whether `wanted`, a name as an event gives it, is that model; "" is every one. */
bool o3_sim_is_named(const char *wanted, const char *name);
/* Rate in force: base changed by the events up to t. */
double o3_sim_rate(const struct o3_world *w, enum o3_sim_change change, const char *model, double base, int64_t t);
bool o3_sim_is_gpu(const struct o3_world *w);

#endif
