/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_INNER_H
#define O3_REHEARSAL_INNER_H
/* A rehearsal under way, and what is heard of the sidecar meanwhile. */
#include "o3/rehearsal.h"
#include "rehearsal/coupling.h"
#include "rehearsal/pairs.h"
#include "rehearsal/truth.h"

#define TTFT_AND_DECODE 2

struct state_of_things { /* as the sidecar's events tell it */
    bool is_down;
    int n_stuck;
    char suspects[O3_RUN_MODELS_MAX][O3_TRUTH_SIGNALS + 1]; /* by model: 's' suspected, 'c' confirmed; by signal */
};

struct o3_rehearsal {
    struct o3_rehearsal_params params;
    struct o3_coupling *coupling;
    struct o3_world *twin; /* NULL none */
    struct o3_expectations *expectations;
    struct o3_truth truth;
    struct o3_pairs *pairs;
    struct state_of_things state;
    size_t next_fault;  /* to begin */
    int64_t faults_ns;  /* up to when they were played */
    int64_t restart_ns; /* of a stopped sidecar; INT64_MAX none */
    int64_t next_look_ns, next_edge_ns;
    double sums[O3_RUN_MODELS_MAX][TTFT_AND_DECODE]; /* of the point of the series that is being filled */
    int counts[O3_RUN_MODELS_MAX][TTFT_AND_DECODE];
    int point;
    struct o3_run run;
};

/* hear.c: an event of the sidecar; ctx is the rehearsal. */
void o3_rehearsal_hear(void *ctx, struct o3_now now, enum o3_event_id ev, const struct o3_field *f, size_t n);

#endif
