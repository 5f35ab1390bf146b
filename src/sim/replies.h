/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_REPLIES_H
#define O3_SIM_REPLIES_H
/* What the writers of replies share. */
#include "sim/sim.h"

struct json_t;
/* As Go's encoder writes it. Takes the value; NULL marks the buffer as failed. */
void o3_sim_write_json(struct json_t *root, struct o3_buf *out);
struct json_t *o3_sim_model_details(const struct o3_sim_model *m);
struct json_t *o3_sim_model_capabilities(const struct o3_sim_weights *x);
size_t o3_sim_models_sorted(const struct o3_world *w, const struct o3_sim_model *out[O3_SIM_MAX_MODELS]);
void o3_sim_format_wall_ms(int64_t wall_ms, char out[40]);

#endif
