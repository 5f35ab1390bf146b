/* SPDX-License-Identifier: Apache-2.0 */
/* The temperature of the device: one thermal resistance, one capacity, and a controller that slows the device around
 * its limit. Between two changes the law is linear in three ranges, so every step is solved exactly. */
#include <math.h>
#include "o3/num.h"
#include "sim/sim.h"

/* Judgement: a card of 60 K rise at full load that needs some minutes to warm up. */
static const double AMBIENT = 25, RISE = 60, TAU_S = 180;
/* The controller leaves full speed up to 1 K below its limit, then less by half a K^-1, a quarter at least. */
static const double BAND = 1, SLOPE = 0.5, SLOWEST = 0.25;

static double speed_at(double celsius, double limit) {
    double f = (limit + BAND - celsius) * SLOPE;
    return f > 1 ? 1 : f < SLOWEST ? SLOWEST : f;
}

/* One range of the law dT/dt = (target - T) x rate, and where it ends. */
struct range {
    double target, rate, low, high;
};

static struct range range_of(double celsius, double limit, double ambient) {
    double warm = limit - BAND, hot = limit + BAND - SLOWEST / SLOPE;
    double drift = ambient + RISE * speed_at(celsius, limit) - celsius;
    bool rises = drift > 0;
    if (celsius < warm || (celsius <= warm && !rises))
        return (struct range){ambient + RISE, 1 / TAU_S, -INFINITY, warm};
    if (celsius > hot || (celsius >= hot && rises))
        return (struct range){ambient + RISE * SLOWEST, 1 / TAU_S, hot, INFINITY};
    double pull = 1 + RISE * SLOPE;
    return (struct range){(ambient + RISE * SLOPE * (limit + BAND)) / pull, pull / TAU_S, warm, hot};
}

static double cooled(double celsius, double target, double rate, double s) {
    return target + (celsius - target) * o3_exp(-rate * s);
}

static double after(double celsius, double s, bool is_busy, double limit, double ambient) {
    if (!is_busy) return cooled(celsius, ambient, 1 / TAU_S, s);
    for (int i = 0; i < 4 && s > 0; i++) {
        struct range x = range_of(celsius, limit, ambient);
        bool leaves = x.target > x.high || x.target < x.low;
        double edge = x.target > x.high ? x.high : x.low;
        double crossing_s = leaves ? o3_log((x.target - celsius) / (x.target - edge)) / x.rate : s;
        if (crossing_s >= s) return cooled(celsius, x.target, x.rate, s);
        celsius = edge;
        s -= crossing_s > 0 ? crossing_s : 0;
    }
    return celsius;
}

static double value_of(const struct o3_world *w, enum o3_sim_change change, double fallback, int64_t t) {
    const struct o3_sim_event *ev = o3_sim_in_force(w, change, t);
    return ev ? ev->value : fallback;
}

static bool is_followed(const struct o3_world *w) {
    for (size_t i = 0; i < w->n_events; i++)
        if (w->events[i].change == O3_SIM_CHANGE_THERMAL) return true;
    return false;
}

double o3_sim_heat_celsius(const struct o3_world *w, int64_t t) {
    double celsius = w->heat.celsius > 0 ? w->heat.celsius : value_of(w, O3_SIM_CHANGE_AMBIENT, AMBIENT, w->heat.at_ns);
    for (int64_t at = w->heat.at_ns; at < t;) {
        int64_t edge = o3_sim_next_edge(w, at), until = edge < t ? edge : t;
        celsius = after(celsius, (double)(until - at) / 1e9, w->heat.is_busy,
                        value_of(w, O3_SIM_CHANGE_THERMAL, 1000, at), value_of(w, O3_SIM_CHANGE_AMBIENT, AMBIENT, at));
        at = until;
    }
    return celsius;
}

void o3_sim_heat_settle(struct o3_world *w, int64_t t) {
    o3_sim_host_count(w, t, &w->host);
    if (is_followed(w)) w->heat.celsius = o3_sim_heat_celsius(w, t);
    w->heat.at_ns = t;
    w->heat.is_busy = w->n_busy_runners > 0;
}

double o3_sim_heat_factor(const struct o3_world *w, int64_t t) {
    const struct o3_sim_event *limit = o3_sim_in_force(w, O3_SIM_CHANGE_THERMAL, t);
    return limit ? speed_at(o3_sim_heat_celsius(w, t), limit->value) : 1;
}
