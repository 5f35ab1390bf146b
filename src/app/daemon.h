/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_DAEMON_H
#define O3_APP_DAEMON_H
/* The sidecar as a process: the state machine of o3/sidecar.h on real sockets, files, clocks and signals. */
#include "app/config_source.h"
#include "o3/events.h"

struct o3_daemon_params {
    const struct o3_config_args *args; /* where the configuration comes from; kept for reloads */
    /* Sees every event as it happens, besides the log; NULL: nobody. For the screen of `o3 demo`. */
    void (*on_event)(void *ctx, int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n);
    void *ctx;
    bool is_log_silent; /* only errors reach the log, whatever log.level says */
};

/* Runs until SIGTERM or SIGINT. Returns 0, or an error that was not logged: the caller prints it. */
O3_MUST_CHECK int o3_daemon_run(const struct o3_daemon_params *p, struct o3_err *e);

#endif
