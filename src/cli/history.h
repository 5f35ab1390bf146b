/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CLI_HISTORY_H
#define O3_CLI_HISTORY_H
/* What the parts of `o3 history` share: cmd_history.c reads the command line, history_read.c the store, history_print.c
 * shows it. */
#include "io/store.h"
#include "o3/judge.h"

#define HISTORY_MODELS_MAX 256
#define HISTORY_WIDTH_MAX 240
#define HISTORY_EVENTS_MAX 10000

struct history_options {
    char model[O3_MODEL_NAME_SIZE]; /* "" all */
    int signal;                     /* -1 all */
    int64_t since_ms, now_ms;
    int width; /* of the curves, in characters */
    bool is_ascii, is_json;
    struct o3_judge_params judge;
};

/* One signal of one model over the span; only undisturbed samples. */
struct history_series {
    int64_t n;                       /* samples in the span */
    double level[HISTORY_WIDTH_MAX]; /* median of each part of the span, of success the mean; NaN: no sample */
    double *part;                    /* values of the part that is being read */
    size_t n_part, cap;
    int part_index;
    struct o3_series_view view; /* as the sidecar saved it last */
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
    struct history_event *events; /* oldest first */
    size_t n_events, events_cap;
    bool is_out_of_memory;
};

O3_MUST_CHECK int history_read(struct history *h, struct o3_store *store, struct o3_err *e);
void history_done(struct history *h);
int history_print_text(const struct history *h);
int history_print_json(const struct history *h);

#endif
