/* SPDX-License-Identifier: Apache-2.0 */
#include "app/backlog.h"
#include <stdlib.h>
#include <string.h>

/* ---- events ---- */

static void free_event(struct o3_waiting_event *x) {
    free(x->model);
    free(x->json);
}

bool o3_event_list_add(struct o3_event_list *l, const struct o3_waiting_event *take, size_t max) {
    if (l->n >= max) return false;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct o3_waiting_event *v = reallocarray(l->v, cap, sizeof *v);
        if (!v) return false;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = *take;
    return true;
}

void o3_event_list_free(struct o3_event_list *l) {
    for (size_t i = 0; i < l->n; i++)
        free_event(&l->v[i]);
    free(l->v);
    *l = (struct o3_event_list){.n = 0};
}

static void drop_first_events(struct o3_event_list *l, size_t n) {
    for (size_t i = 0; i < n; i++)
        free_event(&l->v[i]);
    l->n -= n;
    memmove(l->v, l->v + n, l->n * sizeof *l->v);
}

/* ---- both ---- */

static void add_samples(struct o3_backlog *b, const struct o3_sample *v, size_t n) {
    struct o3_sample *all = reallocarray(b->v, b->n + n, sizeof *all);
    if (!all) {
        b->n_lost += (int64_t)n;
        return;
    }
    b->v = all;
    memcpy(all + b->n, v, n * sizeof *v);
    b->n += n;
    size_t over = b->n > O3_BACKLOG_SAMPLES_MAX ? b->n - O3_BACKLOG_SAMPLES_MAX : 0;
    b->n_lost += (int64_t)over;
    b->n -= over;
    if (over) memmove(all, all + over, b->n * sizeof *all);
}

void o3_backlog_add(struct o3_backlog *b, const struct o3_sample *v, size_t n, struct o3_event_list *take_events) {
    if (n) add_samples(b, v, n);
    size_t sum = b->events.n + take_events->n, over = sum > O3_BACKLOG_EVENTS_MAX ? sum - O3_BACKLOG_EVENTS_MAX : 0,
           old = over < b->events.n ? over : b->events.n;
    if (old) drop_first_events(&b->events, old);
    b->n_lost += (int64_t)old;
    for (size_t i = 0; i < take_events->n; i++) {
        if (o3_event_list_add(&b->events, &take_events->v[i], O3_BACKLOG_EVENTS_MAX)) continue;
        free_event(&take_events->v[i]);
        b->n_lost++;
    }
    take_events->n = 0;
    o3_event_list_free(take_events);
}

int o3_backlog_write(struct o3_backlog *b, struct o3_store *s, const struct o3_store_state *states, size_t n_states,
                     int64_t wall_ms, struct o3_err *e) {
    struct o3_store_event *events = calloc(b->events.n + 1, sizeof *events);
    if (!events) return o3_err_set(e, O3_E_NOMEM, "no memory to write to the store");
    for (size_t i = 0; i < b->events.n; i++) {
        const struct o3_waiting_event *x = &b->events.v[i];
        events[i] = (struct o3_store_event){.wall_ms = x->wall_ms, .name = x->name, .model = x->model, .json = x->json};
    }
    struct o3_store_batch all = {.samples = b->v,
                                 .states = states,
                                 .events = events,
                                 .n_samples = b->n,
                                 .n_states = n_states,
                                 .n_events = b->events.n,
                                 .wall_ms = wall_ms};
    int r = o3_store_write(s, &all, e);
    free(events);
    if (r < 0 && !o3_store_is_refused(e)) return r;
    if (r < 0) b->n_lost += (int64_t)(b->n + b->events.n);
    o3_backlog_clear(b);
    return r;
}

void o3_backlog_clear(struct o3_backlog *b) {
    free(b->v);
    b->v = NULL;
    b->n = 0;
    o3_event_list_free(&b->events);
}
