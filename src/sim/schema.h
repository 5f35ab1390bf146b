/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_SCHEMA_H
#define O3_SIM_SCHEMA_H
#include "sim/sim.h"

struct json_t;
/* A new value that fits the schema; bounded in depth and size whatever the schema says. */
struct json_t *o3_sim_schema_value(const struct json_t *schema, struct o3_rand *rand);

#endif
