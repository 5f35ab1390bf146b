/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_JUDGE_PARAMS_H
#define O3_JUDGE_PARAMS_H
#include "o3/config.h"
#include "o3/judge.h"

/* The keys that shape verdicts. */
#define O3_JUDGE_KEYS 8
extern const char *const o3_judge_keys[O3_JUDGE_KEYS];

/* How the judge works under a configuration: the same live and in a replay. */
void o3_judge_params_of(const struct o3_config_values *config, struct o3_judge_params *ret);

#endif
