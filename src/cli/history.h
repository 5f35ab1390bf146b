/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CLI_HISTORY_H
#define O3_CLI_HISTORY_H
/* What the parts of `o3 history` share: cmd_history.c reads the command line, history_read.c the store;
 * history_print.c, history_events.c and history_json.c show it. */
#include "io/store.h"
#include "o3/judge.h"

#define HISTORY_MODELS_MAX 256
#define HISTORY_WIDTH_MAX 240
#define HISTORY_EVENTS_MAX 10000
#define HISTORY_NOW 5 /* samples that say how it is now */

struct history_options {
    char model[O3_MODEL_NAME_SIZE]; /* "" all */
    int signal;                     /* -1 all */
    int64_t since_ms, now_ms;
    bool has_since, has_width; /* said by the user: else both fit what there is */
    int width;                 /* of the curves at most, in characters */
    int columns;               /* where text wraps; 0: nowhere, as programs like it */
    bool is_ascii, is_json;
    struct o3_judge_params judge;
};

/* One signal of one model over the span; only undisturbed samples. */
struct history_series {
    int64_t n;                       /* samples in the span */
    int64_t n_seen;                  /* the same, found before the parts are known */
    double level[HISTORY_WIDTH_MAX]; /* median of each part of the span, of success the mean; NaN: no sample */
    double *part;                    /* values of the part that is being read */
    size_t n_part, cap;
    int part_index;
    double newest[HISTORY_NOW]; /* sample number i of the span at i % HISTORY_NOW */
    struct o3_series_view view; /* as the sidecar saved it last */
    double now;                 /* median of its newest samples */
};

struct history_model {
    char name[O3_MODEL_NAME_SIZE];
    struct history_series signals[O3_SIGNAL_COUNT];
};

struct history_event {
    int64_t wall_ms;
    char *json;
};

struct history {
    const struct history_options *options;
    struct history_model *models[HISTORY_MODELS_MAX]; /* by name */
    int n_models, n_models_left_out;
    int64_t since_ms; /* where the curves begin */
    int width;        /* parts of a curve */
    struct o3_judge *judge;
    const struct o3_incident *incidents[O3_INCIDENTS_MAX]; /* the judge's, newest first */
    size_t n_incidents;
    struct history_event *events; /* oldest first */
    size_t n_events, events_cap;
    bool has_own_events; /* of the model that was asked for, not only of the server */
    bool is_out_of_memory;
};

O3_MUST_CHECK int history_read(struct history *h, struct o3_store *store, struct o3_err *e);
void history_done(struct history *h);
int history_print_text(const struct history *h);
int history_print_json(const struct history *h);
void history_print_events(const struct history *h);
/* An event of the model, of the server, or of an incident that the model has a part in. */
bool history_concerns(const struct history *h, const struct o3_store_event *ev, const char *model);

/* An incident that a signal changed with, and its member that tells of the signal. next: from *at on, 0 at first, the
 * newest first; standing: the one that is not over. */
struct history_mark {
    const struct o3_incident *incident;
    const struct o3_incident_member *member;
};
bool history_next_mark(const struct history *h, const char *model, enum o3_signal sig, size_t *at,
                       struct history_mark *ret);
bool history_standing(const struct history *h, const char *model, enum o3_signal sig, struct history_mark *ret);
/* The words of the verdict on a signal that may have changed or has; "" otherwise. */
void history_verdict(const struct history *h, const char *model, enum o3_signal sig, const struct o3_series_view *v,
                     char *out, size_t size);
/* To the second; hostile times are named as what they are. */
void history_time(int64_t wall_ms, char out[40]);
/* A paragraph: wrapped at the columns of the terminal, lines behind the first one indented. */
void history_print_wrapped(const struct history *h, int first_indent, int indent, const char *text);

#endif
