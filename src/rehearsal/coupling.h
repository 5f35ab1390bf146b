/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_COUPLING_H
#define O3_REHEARSAL_COUPLING_H
/* The sidecar coupled to a simulated world on one virtual clock: carries bytes between them, ends calls that take too
 * long, keeps in memory what the sidecar writes and saves, and lets it be killed and started again. What goes wrong on
 * the sidecar's side of the machine is set by the fields marked as such, at any time. */
#include "o3/config.h"
#include "o3/pace.h"
#include "o3/replace.h"
#include "o3/sidecar.h"
#include "o3/world.h"
#include "rehearsal/memory_files.h"

#define O3_COUPLING_CALLS_MAX 64
#define O3_COUPLING_STATES_MAX 512
#define O3_COUPLING_STATE_BYTES_MAX (64u * 1024)
#define O3_COUPLING_TICKETS_MAX 64
#define O3_COUPLING_RUNNERS_MAX 8
#define O3_COUPLING_PRESET_FILE "preset.yaml"

struct o3_coupling_hooks { /* each may be NULL */
    void *ctx;
    void (*event)(void *ctx, struct o3_now now, enum o3_event_id ev, const struct o3_field *f, size_t n);
    void (*sample)(void *ctx, const struct o3_sample *s);
    /* An answer of the world to a request that is not the sidecar's. */
    void (*output)(void *ctx, const struct o3_world_output *o);
    void (*offer)(void *ctx, const struct o3_sidecar_offer *o);
    /* A sidecar is about to go, with its metrics. */
    void (*before_restart)(void *ctx);
};

struct o3_coupling_call {
    uint64_t id;
    int status;
    int64_t deadline_ns; /* the shell ends a call that takes too long */
    int failure;         /* ends with this code without having reached the server */
};
struct o3_coupling_state {
    char key[256];
    char *value;
    size_t n;
};
struct o3_coupling_ticket {
    uint64_t ticket;
    int64_t at_ns; /* when the answer comes */
    int code;
    char error[160];
};

struct o3_coupling {
    struct o3_coupling_hooks hooks;
    struct o3_config *config;
    struct o3_metrics *metrics;
    struct o3_world *world;
    struct o3_sidecar *sidecar; /* NULL while stopped */
    struct o3_memory_files *files;
    uint64_t seed;
    int64_t start_wall_ms;
    int64_t now_ns;
    uint64_t last_local_id;

    /* set by the owner, at any time */
    int64_t wall_shift_ms; /* of the wall clock */
    int n_pooled_sockets;  /* idle connections of clients */
    int n_foreign_sockets; /* connections of the owner's own requests */
    bool sockets_unreadable, host_unreadable;
    struct o3_runner_cmdline runners[O3_COUPLING_RUNNERS_MAX]; /* as the sidecar would read them in /proc */
    size_t n_runners;
    bool is_server_gone;       /* connections are refused before they reach the world */
    const char *too_long_path; /* what it answers there ends at the limit of bytes; NULL none */
    bool writes_refused;       /* no write can even begin */
    int64_t write_step_ns;     /* each step of a write takes so long */
    enum o3_replace_step
        kill_at; /* the next write dies at that step, and the sidecar with it; O3_REPLACE_STEP_COUNT: not */

    struct o3_coupling_call calls[O3_COUPLING_CALLS_MAX];
    int n_calls;
    struct o3_coupling_ticket tickets[O3_COUPLING_TICKETS_MAX];
    int n_tickets;
    struct o3_coupling_state states[O3_COUPLING_STATES_MAX];
    int n_states;
    bool is_killed; /* by a write: what it does up to the end of the turn has no effect, then it starts again */
    int64_t n_writes, n_failed_writes, n_starts, n_killed_in_write;

    /* the preset file of all models, written as publish.file is */
    struct o3_paced paced;
    struct o3_buf all;
    int64_t n_file_writes;
};

/* Takes over `world` (also on failure) and `config`. */
O3_MUST_CHECK int o3_coupling_new(struct o3_config *config, struct o3_world *world, uint64_t seed,
                                  int64_t start_wall_ms, const struct o3_coupling_hooks *hooks,
                                  struct o3_coupling **ret, struct o3_err *e);
void o3_coupling_free(struct o3_coupling *c);
struct o3_now o3_coupling_now(const struct o3_coupling *c);
/* Lets everything up to that time happen. */
void o3_coupling_run(struct o3_coupling *c, int64_t until_ns);
/* SIGTERM, or kill -9: what is in memory is lost, without a chance to save. */
void o3_coupling_stop(struct o3_coupling *c, bool is_killed);
/* A new process with the saved states. */
O3_MUST_CHECK int o3_coupling_start(struct o3_coupling *c, struct o3_err *e);

#endif
