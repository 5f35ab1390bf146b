/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_SIM_SERVER_H
#define O3_APP_SIM_SERVER_H
/* The simulated Ollama (o3/world.h) behind a real socket, in real or scaled time. Loop thread only.
 *
 * The owner's hooks ask for the deadline and call the turn, so that it can share a loop with other things:
 *     int64_t deadline_ns(void *ctx) { return o3_sim_server_deadline_ns(ctx); }
 *     void turn(void *ctx, struct o3_now now) { o3_sim_server_turn(ctx, now); } */
#include "io/loop.h"
#include "o3/world.h"

struct o3_sim_server;
struct o3_sim_preload {
    const char *model;
    int64_t num_ctx; /* <= 0: automatic */
};
struct o3_sim_server_params {
    const char *listen;           /* "127.0.0.1:11434"; port 0 picks one */
    struct o3_world_params world; /* start_wall_ms 0: the time of the start */
    double speed;                 /* world time = speed x real time; <= 0: 1 */
    const char *const *events;    /* lines of the event grammar; times count from the start */
    size_t n_events;
    const struct o3_sim_preload *preloads;
    size_t n_preloads;
    size_t max_body; /* 0: 1 MiB */
};
O3_MUST_CHECK int o3_sim_server_new(struct o3_loop *l, const struct o3_sim_server_params *p, struct o3_sim_server **ret,
                                    struct o3_err *e);
void o3_sim_server_free(struct o3_sim_server *s);
uint16_t o3_sim_server_port(const struct o3_sim_server *s);
struct o3_world *o3_sim_server_world(struct o3_sim_server *s); /* borrowed; for more events and for the truth */
/* Mono time at which the world has something to do next, INT64_MAX none. */
int64_t o3_sim_server_deadline_ns(const struct o3_sim_server *s);
/* Lets the world come up to now and sends what it says. */
void o3_sim_server_turn(struct o3_sim_server *s, struct o3_now now);

#endif
