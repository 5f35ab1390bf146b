/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_H
#define O3_REHEARSAL_H
/* The simulated world and the whole sidecar on one virtual clock: no socket, no file, no waiting. With a twin, a second
 * world of the same seed and the same users runs beside, without a sidecar: the difference is the disturbance. Pure. */
#include "o3/config.h"
#include "o3/metrics.h"
#include "o3/run.h"
#include "o3/scenario.h"
#include "o3/sidecar.h"
#include "o3/world.h"

#define O3_REHEARSAL_START_WALL_MS 1795219200000LL /* 2026-11-21T00:00:00Z */

struct o3_rehearsal;
struct o3_rehearsal_params {
    const struct o3_scenario *scenario; /* borrowed for the life of the rehearsal */
    uint64_t seed;                      /* of world and sidecar; the scenario's own stands above it */
    bool has_twin;
    /* May be NULL: every event of the sidecar, as it happens. */
    void (*on_event)(void *ctx, struct o3_now now, enum o3_event_id ev, const struct o3_field *f, size_t n);
    void *ctx;
};
O3_MUST_CHECK int o3_rehearsal_new(const struct o3_rehearsal_params *p, struct o3_rehearsal **ret, struct o3_err *e);
void o3_rehearsal_free(struct o3_rehearsal *r);
/* Runs to that time of the virtual clock. May be called again for more. */
void o3_rehearsal_run(struct o3_rehearsal *r, int64_t until_ns);
/* Ends it: the last verdicts and expectations. The record stays valid until free. */
const struct o3_run *o3_rehearsal_finish(struct o3_rehearsal *r);

#endif
