/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_BODY_H
#define O3_SIM_BODY_H
/* What the readers of request bodies share. Readers return 0 or O3_E_NOMEM; a refusal is noted in the body itself. */
#include "sim/sim.h"

struct json_t;

/* The first refusal counts. Returns 0. */
int o3_sim_refuse(struct o3_sim_body *b, int status, const char *fmt, ...) O3_PRINTF(3, 4);
const char *o3_sim_go_kind(const struct json_t *v);
int o3_sim_copy_text(const struct json_t *v, char **ret, size_t *ret_n);
int o3_sim_copy_json(const struct json_t *v, char **ret, size_t *ret_n); /* as compact text */

/* An object of the native API. */
int o3_sim_body_read(enum o3_sim_body_kind kind, struct json_t *root, struct o3_sim_body *b);

void o3_sim_read_options(struct o3_sim_options *o, struct json_t *object);
int o3_sim_read_parameters(struct o3_sim_body *b, struct json_t *object);
int o3_sim_read_keep_alive(struct o3_sim_body *b, const struct json_t *v);
int o3_sim_read_messages(struct o3_sim_body *b, const struct json_t *v);
int o3_sim_read_input(struct o3_sim_body *b, const struct json_t *v);
int o3_sim_read_think(struct o3_sim_body *b, const struct json_t *v);
int o3_sim_read_format(struct o3_sim_body *b, const struct json_t *v);
int o3_sim_read_tools(struct o3_sim_body *b, const struct json_t *v);
/* Base64 strings; only how many and a hash of them are kept. */
int o3_sim_read_images(struct o3_sim_body *b, const struct json_t *v, struct o3_sim_images *ret);
void o3_sim_read_files(struct o3_sim_body *b, struct json_t *v);

/* The body of an OpenAI endpoint as one of the native API, or a refusal noted in b. *ret is NULL then. */
int o3_sim_openai_translate(enum o3_sim_body_kind kind, struct json_t *root, struct o3_sim_body *b,
                            struct json_t **ret);

#endif
