/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_PAIRS_H
#define O3_REHEARSAL_PAIRS_H
/* The same user's request in two worlds: what it waited with the sidecar and without. One side waits here for the
 * other; at most a few thousand do. */
#include "o3/run.h"
#include "o3/world.h"

struct o3_pairs;
struct o3_pairs *o3_pairs_new(void); /* NULL on no memory */
void o3_pairs_free(struct o3_pairs *p);
void o3_pairs_add(struct o3_pairs *p, struct o3_run *run, const struct o3_world_served *s, bool is_twin);
void o3_pairs_finish(struct o3_pairs *p, struct o3_run *run); /* those still waiting stay without a partner */

#endif
