/* SPDX-License-Identifier: Apache-2.0 */
/* The events in force. What hot paths ask for is kept until the next event begins or ends. */
#include <string.h>
#include "sim/sim.h"

static bool is_short_for(const char *wanted, const char *name) {
    char full[O3_SIM_NAME_SIZE];
    return o3_sim_full_name(wanted, full) && !strcmp(full, name);
}

bool o3_sim_is_named(const char *wanted, const char *name) {
    size_t n = 0;
    while (wanted[n] && wanted[n] == name[n])
        n++;
    if (wanted[n]) return false; /* a full name only adds to the end */
    return n == 0 || !name[n] || is_short_for(wanted, name);
}

static bool is_in_force(const struct o3_sim_event *ev, enum o3_sim_change change, int64_t t) {
    return ev->change == change && ev->at_ns <= t && t < ev->until_ns;
}

const struct o3_sim_event *o3_sim_in_force(const struct o3_world *w, enum o3_sim_change change, int64_t t) {
    if (t >= w->force_from_ns && t < w->force_until_ns) return w->force[change];
    const struct o3_sim_event *newest = NULL;
    for (size_t i = 0; i < w->n_events; i++)
        if (is_in_force(&w->events[i], change, t)) newest = &w->events[i];
    return newest;
}

const struct o3_sim_event *o3_sim_in_force_on(const struct o3_world *w, enum o3_sim_change change, const char *model,
                                              int64_t t) {
    if (!o3_sim_in_force(w, change, t)) return NULL;
    for (size_t i = w->n_events; i-- > 0;)
        if (is_in_force(&w->events[i], change, t) && o3_sim_is_named(w->events[i].model, model)) return &w->events[i];
    return NULL;
}

int64_t o3_sim_next_edge(const struct o3_world *w, int64_t t) {
    if (t >= w->force_from_ns && t < w->force_until_ns) return w->force_until_ns;
    int64_t edge = INT64_MAX;
    for (size_t i = 0; i < w->n_events; i++) {
        const struct o3_sim_event *ev = &w->events[i];
        if (ev->at_ns > t && ev->at_ns < edge) edge = ev->at_ns;
        if (ev->until_ns > t && ev->until_ns < edge) edge = ev->until_ns;
    }
    return edge;
}

void o3_sim_force_refresh(struct o3_world *w, int64_t t) {
    if (t >= w->force_from_ns && t < w->force_until_ns) return;
    w->force_from_ns = w->force_until_ns = 0;
    w->force_until_ns = o3_sim_next_edge(w, t);
    w->force_from_ns = t;
    memset(w->force, 0, sizeof w->force);
    for (size_t i = 0; i < w->n_events; i++)
        if (is_in_force(&w->events[i], w->events[i].change, t)) w->force[w->events[i].change] = &w->events[i];
}

void o3_sim_events_changed(struct o3_world *w) {
    w->force_from_ns = w->force_until_ns = 0;
    w->is_due_known = false;
    for (size_t i = 0; i < w->n_requests; i++)
        w->requests[i]->pace.until_ns = 0;
}

double o3_sim_rate(const struct o3_world *w, enum o3_sim_change change, const char *model, double base, int64_t t) {
    for (size_t i = 0; i < w->n_events; i++) {
        const struct o3_sim_event *ev = &w->events[i];
        if (!is_in_force(ev, change, t) || !o3_sim_is_named(ev->model, model)) continue;
        base = ev->is_absolute ? ev->value : base * ev->value;
    }
    return base;
}
