/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SCENARIO_H
#define O3_SCENARIO_H
/* A scenario: what the simulated world is, what befalls it and the sidecar, and what the sidecar must or must not do.
 * One statement a line; the grammar is in src/rehearsal/README.md. `o3 sim` plays the part that concerns the server,
 * `o3 simulate` all of it. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/err.h"
#include "o3/events.h"
#include "o3/world.h"

#define O3_SCENARIO_FILE_MAX ((size_t)256 * 1024)
#define O3_SCENARIO_LINES_MAX 1000
#define O3_SCENARIO_LOADS_MAX 8
#define O3_SCENARIO_USERS_MAX 16

struct o3_scenario_load {
    char model[129];
    int64_t num_ctx;    /* <= 0: automatic */
    uint32_t line, col; /* of the model */
};

/* What happens on the sidecar's side of the machine. */
enum o3_fault_kind {
    O3_FAULT_SIDECAR_KILLED,  /* kill -9, and a new process at once; with a step: at that step of the next preset write
                               */
    O3_FAULT_SIDECAR_STOPPED, /* SIGTERM; a new process after the duration */
    O3_FAULT_DISK_FULL,
    O3_FAULT_DISK_READ_ONLY,
    O3_FAULT_DISK_SLOW,   /* each step of a write takes value seconds */
    O3_FAULT_CLOCK_JUMP,  /* the wall clock, by value seconds */
    O3_FAULT_POOL,        /* value idle connections of clients stay open */
    O3_FAULT_FOREIGN_FILE /* another process overwrites the preset file */
};
struct o3_scenario_fault {
    int64_t at_ns, until_ns; /* INT64_MAX: for good */
    enum o3_fault_kind kind;
    double value;
    char step[16]; /* SIDECAR_KILLED, a name of o3/replace.h: "open", "write", "fsync", "rename", "fsync_dir",
                      "read_back"; "": none */
    uint32_t line;
};

/* What must, or must not, be seen. */
enum o3_expect_kind { O3_EXPECT_BY, O3_EXPECT_NEVER, O3_EXPECT_AT };
enum o3_expect_while { O3_WHILE_ALWAYS, O3_WHILE_UNSTABLE, O3_WHILE_DOWN, O3_WHILE_BUSY, O3_WHILE_STUCK };
struct o3_scenario_expect {
    enum o3_expect_kind kind;
    int64_t from_ns, to_ns; /* BY: seen within; NEVER: not seen within; AT: to_ns */
    /* BY and NEVER: an event of tables/events.def ("drift_confirmed", or "confirmed slower": an event and a direction)
     */
    enum o3_event_id event, also; /* also: another that is meant as well, else the same */
    int direction;                /* of a drift event: +1 faster (a rate rose, a latency fell), -1 slower; 0: either */
    char signal[32], cause[32], model[129], reason[64]; /* "": any; reason: a part of that field of the event */
    enum o3_expect_while during;                        /* NEVER */
    /* AT: a metric of the exposition compared with a number */
    char metric[256]; /* "o3_ollama_up" or with labels, as in the exposition */
    char op[3];       /* "=", "<", ">", "<=", ">=", "!="; "": the metric must be absent */
    double number;
    uint32_t line, model_col;
    char text[200]; /* the line, for reports */
};

struct o3_scenario_line {
    char *text; /* an event line for o3_world_add_event */
    int64_t at_ns;
    uint32_t number;
};
struct o3_scenario_pair {
    char *name, *value; /* a configuration key and its value, as a flag would give them */
    uint32_t line, col; /* of the value */
};
struct o3_scenario {
    char name[128];
    struct o3_world_params world;
    char version[32];    /* world.version points here, or is NULL */
    bool has_seed;       /* world.seed was named */
    int64_t duration_ns; /* "run for"; else the time of the last line and a quarter of an hour */
    uint32_t run_line;   /* 0: there is none */
    struct o3_scenario_load loads[O3_SCENARIO_LOADS_MAX];
    size_t n_loads;
    struct o3_world_users users[O3_SCENARIO_USERS_MAX];
    uint32_t users_lines[O3_SCENARIO_USERS_MAX], users_cols[O3_SCENARIO_USERS_MAX]; /* of the model */
    size_t n_users;
    struct o3_scenario_line *events;
    size_t n_events;
    struct o3_scenario_fault *faults; /* in order of time */
    size_t n_faults;
    struct o3_scenario_expect *expects;
    size_t n_expects;
    struct o3_scenario_pair *config;
    size_t n_config;
};
/* Errors carry line, column, and what was expected. text needs no NUL. */
O3_MUST_CHECK int o3_scenario_parse(const char *name, const char *text, size_t n, struct o3_scenario **ret,
                                    struct o3_err *e);
void o3_scenario_free(struct o3_scenario *s);
/* Gives a world what the scenario says of it: events, users, loads. The error names the scenario's line. */
O3_MUST_CHECK int o3_scenario_fill_world(const struct o3_scenario *s, struct o3_world *w, struct o3_err *e);
/* The month that `o3 simulate` plays when it is given no file: three models, users, nothing wrong. */
const char *o3_scenario_month(void);

/* ---- expectations while a rehearsal runs ---- */
struct o3_expect_seen { /* one event of the sidecar, as far as expectations look at it */
    int64_t mono_ns;
    enum o3_event_id event;
    const char *model, *signal, *reason, *cause; /* "" none; cause: NULL is none too */
    double change_ratio;
    bool is_unstable, is_down, is_busy, is_stuck; /* the state of things at that moment */
};
struct o3_expect_result {
    bool is_decided, is_met;
    int64_t at_ns;   /* when it was decided */
    char found[160]; /* what was seen instead, for people */
};
struct o3_expectations;
struct o3_expectations *o3_expectations_new(const struct o3_scenario *s); /* borrows s; NULL on no memory */
void o3_expectations_free(struct o3_expectations *x);
void o3_expectations_event(struct o3_expectations *x, const struct o3_expect_seen *seen);
/* The next moment at which an AT expectation wants to look at a metric; INT64_MAX none. */
int64_t o3_expectations_next_ns(const struct o3_expectations *x);
/* At that moment: exposition is the text of /metrics (format 0.0.4). */
void o3_expectations_look(struct o3_expectations *x, int64_t mono_ns, const char *exposition, size_t n);
/* The end: BY without a sighting are broken, NEVER without one are met. */
void o3_expectations_finish(struct o3_expectations *x, int64_t mono_ns);
const struct o3_expect_result *o3_expectations_result(const struct o3_expectations *x, size_t i); /* of expects[i] */

#endif
