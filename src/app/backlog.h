/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_BACKLOG_H
#define O3_APP_BACKLOG_H
/* Samples and events on their way into the store, in the order of measuring. What could not be written stays and goes
 * with what comes next, in one transaction. Bounded: the oldest goes first. One thread at a time. */
#include "io/store.h"

#define O3_BACKLOG_SAMPLES_MAX 256
#define O3_BACKLOG_EVENTS_MAX 1024

struct o3_waiting_event {
    int64_t wall_ms;
    const char *name; /* static: of the table */
    char *model, *json;
};
struct o3_event_list {
    struct o3_waiting_event *v;
    size_t n, cap;
};
/* Takes the strings; false: it is full or has no memory, and nothing was taken. */
bool o3_event_list_add(struct o3_event_list *l, const struct o3_waiting_event *take, size_t max);
void o3_event_list_free(struct o3_event_list *l);

struct o3_backlog {
    struct o3_sample *v;
    size_t n;
    struct o3_event_list events;
    int64_t n_lost; /* samples and events, since it was asked for last */
};
/* Takes the events' strings. */
void o3_backlog_add(struct o3_backlog *b, const struct o3_sample *v, size_t n, struct o3_event_list *take_events);
/* All of it and these states; afterwards it is empty, or after an error as it was, unless a later try could not help
 * either. */
O3_MUST_CHECK int o3_backlog_write(struct o3_backlog *b, struct o3_store *s, const struct o3_store_state *states,
                                   size_t n_states, int64_t wall_ms, struct o3_err *e);
void o3_backlog_clear(struct o3_backlog *b);

#endif
